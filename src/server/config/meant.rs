//! What a configuration means: [`Options`] and a few things that only the launcher needs.
//!
//! Every rule that looks at more than one key is here, with the method of ZooKeeper that has it. A value that was
//! already refused counts as its default, so that one run tells all problems.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Refusal;
use super::ensemble::Members;
use super::judge::judge;
use super::listen::{admin, listen};
use super::membership;
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
    let (purge_every, retain) = purge(written, notes);
    let backlog = written.int("clientPortListenBacklog") as i32;
    let required_schemes = required_schemes(written, notes);
    let snap_kb = snap_kb(written, notes);
    let tick_ms = written.int("tickTime");
    let admin = admin(written, notes);
    let ensemble = membership::ensemble(written, members, data_dir.as_deref(), notes).map(Arc::new);
    let listen = listen?;
    let me = ensemble.as_ref().map(|ensemble| ensemble.me.0);
    Some(Options {
        listen,
        backlog: if backlog <= 0 { BACKLOG } else { backlog },
        keep_alive: written.is("clientTcpKeepAlive"),
        cores: cores(written),
        pin_cores: written.is("ringkeeper.pinCores"),
        engine,
        data_dir: data_dir?,
        log_dir: log_dir?,
        segment_bytes: segment_bytes(written, notes),
        low_water: (written.int("ringkeeper.lowWaterMegabytes") * MIB) as u64,
        force_sync: written.text("forceSync") != "no",
        sync_warning_ms: written.int("fsync.warningthresholdms") as u64,
        retain_snapshots: retain,
        retain_age_s: limit(written, "ringkeeper.retainHours", 3600),
        retain_bytes: limit(written, "ringkeeper.retainMegabytes", MIB as u64),
        purge_every,
        trust_empty: written.is("snapshot.trust.empty"),
        snap_count: snap_count(written, notes),
        snap_bytes: snap_kb.map(|kb| kb.saturating_mul(1024)),
        snap_rate: Some(written.int("ringkeeper.snapshotBytesPerSecond") as u64).filter(|rate| *rate > 0),
        batch_max: written.int("maxBatchSize") as usize,
        features: features(written),
        desk: Settings {
            // A session's id begins with its server's number.
            server_id: me.map_or(STANDALONE_ID, |id| id as u8),
            ..desk(written)
        },
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
        admin,
        read_only_mode: written.is("readonlymode.enabled"),
        shown: Shown {
            client_port: i32::from(listen.port()),
            tick_ms: tick_ms as i32,
            max_client_cnxns: written.int("maxClientCnxns") as i32,
            backlog,
            // A standalone server's, whatever its myid says.
            server_id: me.unwrap_or(0),
        },
        ensemble,
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

/// A limit in the key's unit; 0 is none.
fn limit(written: &Written, name: &str, unit: u64) -> Option<u64> {
    let number = u64::try_from(written.int(name)).ok().filter(|number| *number > 0);
    number.map(|number| number.saturating_mul(unit))
}

/// How often old files are removed, if at all, and how many snapshots stay. On unless somebody said no: a disk that fills up ends
/// the service, and ZooKeeper's default (off) is what its operators are warned about most.
fn purge(written: &Written, notes: &mut Notes) -> (Option<Duration>, usize) {
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
            "old snapshots and logs are removed after each snapshot; {retain} snapshots stay, with the log they need"
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
    let hours = match written.int("autopurge.purgeInterval") {
        hours if hours > 0 => hours as u64,
        _ => PURGE_HOURS,
    };
    (on.then(|| Duration::from_secs(hours * 3600)), retain as usize)
}

/// How often, where nobody says how often: only an age limit can have come true meanwhile.
const PURGE_HOURS: u64 = 1;

/// `QuorumPeerConfig#MIN_SNAP_RETAIN_COUNT`.
const RETAIN_MIN: i64 = 3;

/// One processor is left for the writer, which has a core of its own where there are more than two; where there are
/// two, for the log's helpers and the kernel: one loop reads 197,000 times a second there with 1 request in flight on
/// each of 32 connections, at 4.9 µs each, and two loops 140,000 times at 7.2 µs (its clients on the same machine).
fn cores(written: &Written) -> usize {
    match written.int("ringkeeper.cores") {
        0 => std::thread::available_parallelism().map_or(1, |processors| (processors.get() - 1).clamp(1, 256)),
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

/// A standalone server's session ids begin with 1 (`ZooKeeperServer#createSessionTracker`).
const STANDALONE_ID: u8 = 1;

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
        server_id: STANDALONE_ID,
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
