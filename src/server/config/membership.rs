//! What `server.N` lines mean for a server that is one of several: who it is, who votes, how long others are waited for.
//!
//! `myid` says which line is this server's (`QuorumPeerConfig#setupMyId`). The text of the membership is what Java
//! writes (`QuorumMaj#toString`, `QuorumHierarchical#toString`): it travels with notifications and NEWLEADER, and is
//! the data of `/zookeeper/config`. Its version is the suffix of the dynamic file's name, or 0: there is no
//! reconfiguration here that could change it.

use std::collections::BTreeMap;
use std::path::Path;

use super::ensemble::{Member, Members, PeerAddress};
use super::notes::Notes;
use super::written::Written;
use crate::base::ServerId;
use crate::server::options::{Ensemble, PeerMember};
use crate::zab::Quorum;

/// The largest number of a server: it is the first byte of its session ids.
const ID_MAX: i64 = 255;
/// With TTL nodes, whose owners' first byte is 255 (`EphemeralType#validateServerId`).
const ID_MAX_EXTENDED: i64 = 254;

/// `None` for a standalone server, or if something is wrong, which is noted.
pub(super) fn ensemble(
    written: &Written,
    members: &Members,
    data_dir: Option<&Path>,
    notes: &mut Notes,
) -> Option<Ensemble> {
    if !members.is_ensemble(written) {
        return None;
    }
    limits(written, notes);
    unbuilt(written, notes);
    let quorum = quorum(written, members, notes);
    let me = own_number(written, members, data_dir?, notes);
    let (me, quorum) = (me?, quorum?);
    let version = version(written);
    let kept = |name: &str| written.int(name).max(0) as u64;
    let sync_limit = kept("syncLimit");
    let tick_ms = kept("tickTime");
    let introduction_ms = match written.int("quorumCnxnTimeoutMs") {
        ms if ms > 0 => ms as u64,
        _ => tick_ms * sync_limit,
    };
    Some(Ensemble {
        me,
        members: members.all.iter().map(peer).collect(),
        config_text: text(members, version),
        config_version: version,
        quorum,
        tick_ms,
        init_limit: kept("initLimit"),
        sync_limit,
        connect_ms: kept("cnxTimeout").max(1),
        introduction_ms,
        bind_retries: kept("electionPortBindRetry"),
        everywhere: written.is("quorumListenOnAllIPs"),
        keep_alive: written.is("tcpKeepAlive"),
        leader_serves: written.text("leaderServes") != "no",
        several: written.is("multiAddress.enabled"),
        trust_empty: written.is("db.autocreate"),
        // `ZKDatabase#commitLogCount`: never fewer.
        kept_count: kept("commitLogCount").max(500) as usize,
        notification_ms: (
            kept("fastleader.minNotificationInterval").max(1),
            kept("fastleader.maxNotificationInterval").max(1),
        ),
    })
}

/// `QuorumPeerConfig#parseProperties`: an ensemble has both.
fn limits(written: &Written, notes: &mut Notes) {
    for name in ["initLimit", "syncLimit"] {
        if written.get(name).is_none() {
            notes.problem(format!(
                "{}: {name} is not set, and a server of an ensemble needs it",
                written.file
            ));
        } else if written.int(name) <= 0 {
            notes.problem(format!("{}: must be 1 or more", written.at(name)));
        }
    }
}

/// What would mean something in an ensemble of Java servers.
fn unbuilt(written: &Written, notes: &mut Notes) {
    const NO_EFFECT: [&str; 11] = [
        "connectToLearnerMasterLimit",
        "syncEnabled",
        "observerMasterPort",
        "leader.maxTimeToWaitForEpoch",
        "leader.maxConcurrentSnapSyncs",
        "leader.maxConcurrentDiffSyncs",
        "observer.reconnectDelayMs",
        "observer.election.DelayMs",
        "multiAddress.reachabilityCheckTimeoutMs",
        "multiAddress.reachabilityCheckEnabled",
        "quorum.cnxn.threads.size",
    ];
    let set = |name: &str| {
        written
            .get(name)
            .is_some_and(|setting| !setting.key.is_default(&setting.value))
    };
    for name in NO_EFFECT.into_iter().filter(|name| set(name)) {
        notes.warn(format!("{} has no effect: it is not built yet", written.at(name)));
    }
    if set("oraclePath") {
        notes.problem(format!(
            "{}: an oracle for two voters is not built yet",
            written.at("oraclePath")
        ));
    }
}

fn own_number(written: &Written, members: &Members, data_dir: &Path, notes: &mut Notes) -> Option<ServerId> {
    let path = data_dir.join("myid");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let numbers: Vec<String> = members.all.iter().map(|member| member.id.to_string()).collect();
            notes.problem(format!(
                "{}: server.N lines make this one of several servers, and {} says which: {error}. If it is server {}: \
                 mkdir -p {} && echo {} > {}   (the numbers here are {})",
                written.file,
                path.display(),
                numbers[0],
                data_dir.display(),
                numbers[0],
                path.display(),
                numbers.join(", ")
            ));
            return None;
        }
    };
    // What is no number is told where the client's port is looked for.
    let id: i64 = text.lines().next().unwrap_or("").trim().parse().ok()?;
    let max = match written.is("extendedTypesEnabled") {
        true => ID_MAX_EXTENDED,
        false => ID_MAX,
    };
    if !(1..=max).contains(&id) {
        notes.problem(format!("{}, line 1: {id} is outside 1..{max}", path.display()));
        return None;
    }
    if members.get(id).is_none() {
        notes.problem(format!(
            "{}: My id {id} not in the peer list: {} says that this is server {id}, and there is no line server.{id}",
            written.file,
            path.display()
        ));
        return None;
    }
    let line_says = members.get(id).is_some_and(|member| member.participant);
    let key = written
        .get("peerType")
        .map(|setting| setting.value.eq_ignore_ascii_case("participant"));
    if key.is_some_and(|participant| participant != line_says) {
        notes.warn(format!(
            "{}: the line server.{id} says something else, and counts",
            written.at("peerType")
        ));
    }
    Some(ServerId(id))
}

fn quorum(written: &Written, members: &Members, notes: &mut Notes) -> Option<Quorum> {
    let voters = members
        .all
        .iter()
        .filter(|member| member.participant)
        .map(|member| ServerId(member.id));
    if members.groups.is_empty() {
        if !members.weights.is_empty() {
            notes.warn(format!("{}: weight.N has no effect without group.X", written.file));
        }
        return Some(Quorum::majority(voters));
    }
    let groups: Vec<Vec<ServerId>> = members
        .groups
        .values()
        .map(|group| group.iter().copied().map(ServerId).collect())
        .collect();
    let stranger = groups
        .iter()
        .flatten()
        .find(|id| members.get(id.0).is_none_or(|member| !member.participant));
    if let Some(id) = stranger {
        notes.problem(format!("{}: {id} is in a group and is no participant", written.file));
        return None;
    }
    if let Some(id) = voters
        .clone()
        .find(|id| !groups.iter().flatten().any(|grouped| grouped == id))
    {
        notes.problem(format!("{}: Server {} is not in a group", written.file, id.0));
        return None;
    }
    let weights: BTreeMap<ServerId, u64> = members
        .weights
        .iter()
        .filter(|(id, _)| members.get(**id).is_none_or(|member| member.participant))
        .map(|(id, weight)| (ServerId(*id), *weight))
        .collect();
    match Quorum::groups(&groups, &weights) {
        Ok(quorum) => Some(quorum),
        Err(error) => {
            notes.problem(format!("{}: {error}", written.file));
            None
        }
    }
}

fn peer(member: &Member) -> PeerMember {
    PeerMember {
        id: ServerId(member.id),
        participant: member.participant,
        addresses: member.addresses.clone(),
        client: member.client.clone(),
    }
}

/// `QuorumPeerConfig#getVersionFromFilename`.
fn version(written: &Written) -> i64 {
    let suffix = written
        .text("dynamicConfigFile")
        .rsplit_once('.')
        .map(|(_, suffix)| suffix);
    suffix
        .and_then(|suffix| i64::from_str_radix(suffix, 16).ok())
        .unwrap_or(0)
}

/// Without a line feed at its end.
fn text(members: &Members, version: i64) -> String {
    let mut lines: Vec<String> = members.all.iter().map(line).collect();
    lines.sort();
    for (name, group) in &members.groups {
        let numbers: Vec<String> = group.iter().map(i64::to_string).collect();
        lines.push(format!("{name}={}", numbers.join(":")));
    }
    if !members.groups.is_empty() {
        lines.extend(
            members
                .weights
                .iter()
                .map(|(id, weight)| format!("weight.{id}={weight}")),
        );
    }
    lines.push(format!("version={version:x}"));
    lines.join("\n")
}

fn line(member: &Member) -> String {
    let address =
        |PeerAddress { host, quorum, election }: &PeerAddress| format!("{}:{quorum}:{election}", bracketed(host));
    let addresses: Vec<String> = member.addresses.iter().map(address).collect();
    let role = if member.participant { "participant" } else { "observer" };
    let client = member.client.as_ref();
    let client = client
        .map(|(host, port)| format!(";{}:{port}", bracketed(host)))
        .unwrap_or_default();
    format!("server.{}={}:{role}{client}", member.id, addresses.join("|"))
}

fn bracketed(host: &str) -> String {
    match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}
