//! The address that clients connect to: from `clientPort` and `clientPortAddress`, or from this server's own `server.N`
//! line, which must not contradict them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;

use super::ensemble::Members;
use super::notes::Notes;
use super::written::Written;
use crate::server::admin::AdminOptions;

/// Where clients connect (`QuorumPeerConfig#parseProperties`, `#setupClientPort`).
pub(super) fn listen(
    written: &Written,
    members: &Members,
    data_dir: Option<&Path>,
    notes: &mut Notes,
) -> Option<SocketAddr> {
    let own = own_id(data_dir, notes)
        .and_then(|id| members.get(id))
        .and_then(|member| member.client.clone());
    let port = written.get("clientPort").map(|_| written.int("clientPort") as u16);
    let host = written.get("clientPortAddress").map(|setting| setting.value.as_str());
    match (host, port, own) {
        (Some(_), None, _) => {
            notes.problem(format!("{}: clientPort is not set", written.at("clientPortAddress")));
            None
        }
        (None, None, None) => {
            notes.problem(format!(
                "{}: clientPort is not set, so no client could connect",
                written.file
            ));
            None
        }
        (None, None, Some((host, port))) => resolve(&host, port, "server.N", notes),
        (None, Some(port), None) => Some(wildcard(port)),
        (Some(host), Some(port), None) => resolve(host, port, &written.at("clientPortAddress"), notes),
        (host, Some(port), Some((own_host, own_port))) => {
            let own = resolve(&own_host, own_port, "server.N", notes)?;
            let fixed = match host {
                Some(host) => Some(resolve(host, port, &written.at("clientPortAddress"), notes)?),
                None => None,
            };
            if port != own_port || fixed.is_some_and(|fixed| !fixed.ip().is_unspecified() && fixed != own) {
                notes.problem(format!(
                    "{}: this server's server.N line says {own}; the two must agree",
                    written.at("clientPort")
                ));
            }
            Some(own)
        }
    }
}

/// `dataDir/myid`, if it is there (`QuorumPeerConfig#setupMyId`).
fn own_id(data_dir: Option<&Path>, notes: &mut Notes) -> Option<i64> {
    let path = data_dir?.join("myid");
    let text = std::fs::read_to_string(&path).ok()?;
    let first = text.lines().next().unwrap_or("");
    let id = first.parse().ok();
    if id.is_none() {
        notes.problem(format!("{}, line 1: {first:?} is not a number", path.display()));
    }
    id
}

fn resolve(host: &str, port: u16, at: &str, notes: &mut Notes) -> Option<SocketAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = (bare, port).to_socket_addrs().map(|mut addresses| addresses.next());
    match found {
        Ok(Some(address)) => Some(address),
        Ok(None) => {
            notes.problem(format!("{at}: the host has no address"));
            None
        }
        Err(error) => {
            notes.problem(format!(
                "{at}: allowed is a host name or an address that can be resolved: {error}"
            ));
            None
        }
    }
}

/// Where the admin server listens, what its commands' URL is and how long it waits for a request; `None` unless
/// `admin.enableServer=true` is written (`AdminServerFactory#createAdminServer`, whose default is true).
pub(super) fn admin(written: &Written, notes: &mut Notes) -> Option<AdminOptions> {
    if !(written.get("admin.enableServer").is_some() && written.is("admin.enableServer")) {
        return None;
    }
    let port = written.int("admin.serverPort") as u16;
    let at = written.at("admin.serverAddress");
    let listen = resolve(written.text("admin.serverAddress"), port, &at, notes);
    let url = written.text("admin.commandURL").trim_end_matches('/');
    if !url.starts_with('/') {
        notes.problem(format!(
            "{}: must begin with / and be longer",
            written.at("admin.commandURL")
        ));
    }
    let idle = u64::try_from(written.int("admin.idleTimeout"))
        .ok()
        .filter(|ms| *ms > 0);
    // ZooKeeper 3.9.5 counts this key in microseconds where it limits snapshots (`Commands.SnapshotCommand`).
    let interval_us = written.int("admin.rateLimiterIntervalInMS").max(0) as u64;
    let snapshots = written.is("admin.snapshot.enabled");
    Some(AdminOptions {
        snapshot_every: snapshots.then(|| std::time::Duration::from_millis(interval_us / 1000)),
        listen: listen?,
        url: url.into(),
        idle: idle.map(std::time::Duration::from_millis),
        file: String::new(),
    })
}

/// All addresses of this machine: as Java, IPv6's wildcard, which takes IPv4 too, unless the machine has no IPv6.
fn wildcard(port: u16) -> SocketAddr {
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let any = match std::net::UdpSocket::bind(six) {
        Ok(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Err(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    SocketAddr::new(any, port)
}
