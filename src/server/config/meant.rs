//! What a configuration means: [`Options`] and a few things that only the launcher needs.
//!
//! Every rule that looks at more than one key is here, with the method of ZooKeeper that has it. A value that was
//! already refused counts as its default, so that one run tells all problems.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use super::Refusal;
use super::ensemble::Members;
use super::keys::Fate;
use super::notes::Notes;
use super::written::Written;
use crate::io::Engine;
use crate::replica::{Settings, reap::ReapSettings};
use crate::server::options::{Options, Shown};
use crate::tree::{Features, acl::DigestAlgorithm, acl::Policy};

/// A configuration that a server can run with.
pub struct Config {
    /// The server's part.
    pub options: Options,
    /// How its engine was chosen.
    pub engine: EngineChoice,
    /// `datadir.autocreate`.
    pub autocreate: bool,
    /// `ringkeeper.log`.
    pub log: Option<String>,
    /// Warnings and remarks; no problems.
    pub notes: Notes,
}

/// What the event loops stand on, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineChoice {
    /// What was chosen.
    pub engine: Engine,
    /// Why it is not io_uring, if that was refused.
    pub refused: Option<String>,
}

/// Decides about everything that was written.
pub fn config(written: &Written, mut notes: Notes, probe: fn() -> std::io::Result<()>) -> Result<Config, Refusal> {
    judge(written, &mut notes);
    let members = Members::read(written, &mut notes);
    let engine = engine(written, probe, &mut notes);
    let options = options(written, &members, engine.engine, &mut notes);
    notes.finish();
    match options {
        Some(options) if notes.problems.is_empty() => Ok(Config {
            options,
            engine,
            autocreate: written.is("datadir.autocreate"),
            log: written.get("ringkeeper.log").map(|setting| setting.value.clone()),
            notes,
        }),
        _ => {
            assert!(!notes.problems.is_empty(), "options are missing for a reason");
            Err(Refusal {
                problems: notes.problems,
            })
        }
    }
}

/// Applies each key's fate.
fn judge(written: &Written, notes: &mut Notes) {
    let no_admin = written
        .get("admin.enableServer")
        .is_some_and(|it| it.key.is_default(&it.value));
    for setting in written.all() {
        let idle = no_admin && setting.name.starts_with("admin.");
        let asks = !setting.key.is_default(&setting.value) && !idle;
        match setting.key.fate {
            Fate::Refused(why) if asks => notes.problem(format!("{}: {}: {why}", setting.place, setting.shown())),
            Fate::Ignored(why) if asks => {
                notes.warn(format!("{}: {} has no effect: {why}", setting.place, setting.shown()));
            }
            Fate::Jvm => notes.jvm(&setting.name),
            Fate::Acts | Fate::Idle(_) | Fate::Refused(_) | Fate::Ignored(_) => {}
        }
    }
    classes(written, notes);
}

/// Java classes by name: those whose work is built in, and no others.
fn classes(written: &Written, notes: &mut Notes) {
    const SERVER: &str = "org.apache.zookeeper.server.";
    const METRICS: &str = "org.apache.zookeeper.metrics.";
    let known = |name: &str, prefix: &str, known: &[&str]| {
        known
            .iter()
            .any(|class| name == *class || name.strip_prefix(prefix) == Some(class))
    };
    for setting in written.all() {
        let value = setting.value.as_str();
        let why = match setting.key.name {
            "serverCnxnFactory" if !known(value, SERVER, &["NIOServerCnxnFactory", "NettyServerCnxnFactory"]) => {
                "there is one way to serve connections here; allowed are NIOServerCnxnFactory and \
                 NettyServerCnxnFactory, which mean the same"
            }
            "authProvider.N"
                if !known(
                    value,
                    SERVER,
                    &["auth.DigestAuthenticationProvider", "auth.IPAuthenticationProvider"],
                ) =>
            {
                "no Java class can be loaded here, and SASL and X.509 are not built yet; the schemes digest and ip are \
                 always there"
            }
            "metricsProvider.className" if value.contains(".prometheus.") => {
                "the Prometheus exporter is not built yet; the four-letter word mntr tells the same figures"
            }
            "metricsProvider.className"
                if !known(
                    value,
                    METRICS,
                    &["impl.DefaultMetricsProvider", "impl.NullMetricsProvider"],
                ) =>
            {
                "no Java class can be loaded here; allowed is org.apache.zookeeper.metrics.impl.DefaultMetricsProvider"
            }
            _ => continue,
        };
        notes.problem(format!("{}: {}: {why}", setting.place, setting.shown()));
    }
}

fn engine(written: &Written, probe: fn() -> std::io::Result<()>, notes: &mut Notes) -> EngineChoice {
    let wish = written.text("ringkeeper.engine").to_ascii_lowercase();
    let refused = if wish == "epoll" {
        None
    } else {
        probe().err().map(|error| error.to_string())
    };
    if let (Some(why), "io_uring") = (&refused, wish.as_str()) {
        notes.problem(format!(
            "{}: the kernel refuses io_uring ({why}); allowed here is auto or epoll",
            written.at("ringkeeper.engine")
        ));
    }
    let engine = if wish == "epoll" || refused.is_some() {
        Engine::Epoll
    } else {
        Engine::Uring
    };
    EngineChoice { engine, refused }
}

fn options(written: &Written, members: &Members, engine: Engine, notes: &mut Notes) -> Option<Options> {
    let (data_dir, log_dir) = directories(written, notes);
    let listen = listen(written, members, data_dir.as_deref(), notes);
    let timeouts = timeouts(written, notes);
    let (purge, retain) = purge(written, notes);
    let backlog = written.int("clientPortListenBacklog") as i32;
    let required_schemes = required_schemes(written, notes);
    let snap_kb = snap_kb(written, notes);
    let tick_ms = written.int("tickTime");
    let listen = listen?;
    Some(Options {
        listen,
        backlog: if backlog <= 0 { BACKLOG } else { backlog },
        keep_alive: written.is("clientTcpKeepAlive"),
        cores: cores(written),
        engine,
        data_dir: data_dir?,
        log_dir: log_dir?,
        segment_bytes: segment_bytes(written, notes),
        force_sync: written.text("forceSync") != "no",
        sync_warning_ms: written.int("fsync.warningthresholdms") as u64,
        retain_snapshots: retain,
        purge,
        snap_count: snap_count(written, notes),
        snap_bytes: snap_kb.map(|kb| kb.saturating_mul(1024)),
        snap_rate: Some(written.int("ringkeeper.snapshotBytesPerSecond") as u64).filter(|rate| *rate > 0),
        batch_max: written.int("maxBatchSize") as usize,
        features: features(written),
        desk: desk(written),
        session_timeout_ms: timeouts,
        frame_bytes_max: written.int("jute.maxbuffer") as usize,
        per_ip_max: written.int("maxClientCnxns").max(0) as usize,
        connections_max: written.int("maxCnxns").max(0) as usize,
        outstanding_max: written.int("globalOutstandingLimit") as usize,
        sessionless_ms: written.int("nio.sessionlessCnxnTimeout") as u64,
        required_schemes,
        words: written
            .get("4lw.commands.whitelist")
            .map(|setting| setting.value.clone()),
        read_only_mode: written.is("readonlymode.enabled"),
        shown: Shown {
            client_port: i32::from(listen.port()),
            tick_ms: tick_ms as i32,
            max_client_cnxns: written.int("maxClientCnxns") as i32,
            backlog,
            // A standalone server's, whatever its myid says.
            server_id: 0,
        },
    })
}

/// `java.net.ServerSocket`'s, where `clientPortListenBacklog` names none.
const BACKLOG: i32 = 50;

/// `dataDir` and `dataLogDir`, neither `~` nor variables expanded, as in ZooKeeper.
fn directories(written: &Written, notes: &mut Notes) -> (Option<PathBuf>, Option<PathBuf>) {
    for name in ["dataDir", "dataLogDir"] {
        let text = written.text(name);
        if text.starts_with('~') || text.contains('$') {
            notes.warn(format!(
                "{}: is taken as it stands: nothing is expanded, as in ZooKeeper",
                written.at(name)
            ));
        } else if !text.is_empty() && !text.starts_with('/') && !text.starts_with("./") {
            notes.warn(format!(
                "{}: is below the directory the server is started in; write ./{text} to say that you mean it",
                written.at(name)
            ));
        }
    }
    if written.get("dataDir").is_none() {
        notes.problem(format!("{}: dataDir is not set", written.file));
    }
    let path = |name: &str| {
        Some(written.text(name))
            .filter(|text| !text.is_empty())
            .map(PathBuf::from)
    };
    (path("dataDir"), path("dataLogDir").or_else(|| path("dataDir")))
}

/// Where clients connect (`QuorumPeerConfig#parseProperties`, `#setupClientPort`).
fn listen(written: &Written, members: &Members, data_dir: Option<&Path>, notes: &mut Notes) -> Option<SocketAddr> {
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

/// All addresses of this machine: as Java, IPv6's wildcard, which takes IPv4 too, unless the machine has no IPv6.
fn wildcard(port: u16) -> SocketAddr {
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let any = match std::net::UdpSocket::bind(six) {
        Ok(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Err(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    SocketAddr::new(any, port)
}

/// `minSessionTimeout` and `maxSessionTimeout`, which follow `tickTime` unless they are set.
fn timeouts(written: &Written, notes: &mut Notes) -> (i32, i32) {
    let tick = written.int("tickTime");
    let or_ticks = |name: &str, ticks: i64| match written.int(name) {
        -1 => (tick * ticks).min(i64::from(i32::MAX)),
        ms => ms,
    };
    let (min, max) = (or_ticks("minSessionTimeout", 2), or_ticks("maxSessionTimeout", 20));
    if min > max {
        let at = ["minSessionTimeout", "maxSessionTimeout", "tickTime"]
            .into_iter()
            .find(|name| written.get(name).is_some());
        notes.problem(format!(
            "{}: minSessionTimeout must not be larger than maxSessionTimeout, but {min} > {max}",
            written.at(at.unwrap_or("tickTime"))
        ));
    }
    (min as i32, max as i32)
}

/// Whether old files are removed and how many snapshots stay. On unless somebody said no: a disk that fills up ends
/// the service, and ZooKeeper's default (off) is what its operators are warned about most.
fn purge(written: &Written, notes: &mut Notes) -> (bool, usize) {
    let retain = written.int("autopurge.snapRetainCount");
    if retain < RETAIN_MIN {
        notes.warn(format!(
            "{}: at least {RETAIN_MIN} snapshots are kept, as in ZooKeeper",
            written.at("autopurge.snapRetainCount")
        ));
    }
    let retain = retain.max(RETAIN_MIN);
    let off = written.get("autopurge.purgeInterval").is_some() && written.int("autopurge.purgeInterval") <= 0;
    let on = match written.get("ringkeeper.purge") {
        Some(_) => written.is("ringkeeper.purge"),
        None => !off,
    };
    match (on, off) {
        (true, _) => notes.info(format!(
            "old snapshots and logs are removed after each snapshot; {retain} stay"
        )),
        (false, true) => notes.warn(format!(
            "{}: nothing is ever removed, so the disk will fill up; leave the key out for Ringkeeper's default",
            written.at("autopurge.purgeInterval")
        )),
        (false, false) => notes.warn(format!(
            "{}: nothing is ever removed, so the disk will fill up",
            written.at("ringkeeper.purge")
        )),
    }
    (on, retain as usize)
}

/// `QuorumPeerConfig#MIN_SNAP_RETAIN_COUNT`.
const RETAIN_MIN: i64 = 3;

fn cores(written: &Written) -> usize {
    match written.int("ringkeeper.cores") {
        0 => std::thread::available_parallelism().map_or(1, usize::from).min(256),
        cores => cores as usize,
    }
}

/// `ZooKeeperServer#getSnapCount`.
fn snap_count(written: &Written, notes: &mut Notes) -> u64 {
    let count = written.int("snapCount");
    if count < 2 {
        notes.warn(format!("{}: is taken as 2, as in ZooKeeper", written.at("snapCount")));
    }
    count.max(2) as u64
}

/// `None` is no limit (`ZooKeeperServer#getSnapSizeInBytes`).
fn snap_kb(written: &Written, notes: &mut Notes) -> Option<u64> {
    let kb = written.int("snapSizeLimitInKb");
    if kb == 0 {
        notes.problem(format!(
            "{}: is not allowed; allowed is a number of KB, or a negative one for no limit",
            written.at("snapSizeLimitInKb")
        ));
    }
    u64::try_from(kb).ok()
}

const MIB: i64 = 1 << 20;

/// A segment of the log is what ZooKeeper preallocates at a time, and never larger than its log files may become.
fn segment_bytes(written: &Written, notes: &mut Notes) -> u64 {
    if written.get("ringkeeper.segmentMegabytes").is_some() {
        return (written.int("ringkeeper.segmentMegabytes") * MIB) as u64;
    }
    let asked = match (written.int("preAllocSize") * 1024, written.int("txnLogSizeLimitInKb")) {
        (block, limit) if limit > 0 => block.min(limit.saturating_mul(1024)),
        (block, _) => block,
    };
    let bytes = (asked / MIB * MIB).clamp(MIB, 1024 * MIB);
    if bytes != asked {
        let name = if written.get("preAllocSize").is_some() {
            "preAllocSize"
        } else {
            "txnLogSizeLimitInKb"
        };
        notes.info(format!(
            "{}: a segment of the log has {} MB here",
            written.at(name),
            bytes / MIB
        ));
    }
    bytes as u64
}

fn features(written: &Written) -> Features {
    let algorithm = match written
        .text("DigestAuthenticationProvider.digestAlg")
        .replace('-', "")
        .to_uppercase()
        .as_str()
    {
        "SHA256" => DigestAlgorithm::Sha256,
        "SHA512" => DigestAlgorithm::Sha512,
        _ => DigestAlgorithm::Sha1,
    };
    Features {
        extended_types: written.is("extendedTypesEnabled"),
        digest: written.is("digest.enabled"),
        policy: Policy {
            skip_acl: written.text("skipACL") == "yes",
            digest_disabled: !written.is("DigestAuthenticationProvider.enabled"),
            digest_algorithm: algorithm,
            super_digest: written
                .get("DigestAuthenticationProvider.superDigest")
                .map(|setting| setting.value.clone()),
        },
    }
}

fn desk(written: &Written) -> Settings {
    Settings {
        tick_ms: written.int("tickTime") as u64,
        enforce_quota: written.is("enforceQuota"),
        reconfig_enabled: written.is("reconfigEnabled"),
        reap: ReapSettings {
            interval_ms: written.int("znode.container.checkIntervalMs") as u64,
            per_minute_max: written.int("znode.container.maxPerMinute") as u32,
            never_used_ms: written.int("znode.container.maxNeverUsedIntervalMs") as u64,
        },
        // A standalone server's session ids begin with 1 (`ZooKeeperServer#createSessionTracker`).
        server_id: 1,
    }
}

/// `AuthenticationHelper#initConfigurations`.
fn required_schemes(written: &Written, notes: &mut Notes) -> Vec<String> {
    if !written.is("enforce.auth.enabled") {
        return Vec::new();
    }
    let schemes: Vec<String> = written
        .text("enforce.auth.schemes")
        .split(',')
        .map(|scheme| scheme.trim().to_owned())
        .collect();
    if written.text("enforce.auth.schemes").is_empty() {
        notes.problem(format!(
            "{}: enforce.auth.schemes must be set too",
            written.at("enforce.auth.enabled")
        ));
    }
    let mut there = vec!["ip"];
    there.extend(written.is("DigestAuthenticationProvider.enabled").then_some("digest"));
    if let Some(other) = schemes
        .iter()
        .find(|scheme| !there.contains(&scheme.as_str()) && !scheme.is_empty())
    {
        notes.problem(format!(
            "{}: the scheme {other} is not available; allowed is a list of {}",
            written.at("enforce.auth.schemes"),
            there.join(" and ")
        ));
    }
    schemes
}
