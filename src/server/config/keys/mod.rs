//! The table of every key that a ZooKeeper 3.9.5 server reads, and of Ringkeeper's own: how it may be set, what its
//! value may be, and what happens with it here. One line of [`Key`] is all there is to say about a key; reading,
//! checking, warning and the tests all go by it.
//!
//! Invariant: every key has exactly one [`Fate`]; a key that deployments rely on ([`Mark::Must`]) is never ignored
//! without a word, unless ZooKeeper, too, would not use it in a standalone server ([`Fate::Idle`]).

mod admin;
mod auth;
mod core;
mod ensemble;
mod own;
mod pipeline;
mod storage;
mod tls;

use std::collections::HashMap;
use std::sync::LazyLock;

/// Where a key may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Only in the file; ZooKeeper itself checks its value (`QuorumPeerConfig#parseProperties`).
    Direct,
    /// In the file, which wins, or as `-Dzookeeper.<name>`.
    Passed,
    /// Only as `-D<name>`.
    Raw,
    /// Ringkeeper's: in the file, which wins, or as `-D<name>`.
    Own,
}

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Kind {
    /// A whole number in this range.
    Int(i64, i64),
    Real,
    Bool,
    /// `yes` or `no`, in lower case.
    YesNo,
    /// One of these words, in any case.
    Word(&'static [&'static str]),
    Path,
    Host,
    /// A number in hexadecimal digits.
    Hex,
    Text,
    /// Text that no message may repeat.
    Secret,
}

/// How much deployments rely on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Set by real deployments: acts, or its use is refused with the reason.
    Must,
    /// Documented: acts, or its use is warned about.
    Should,
    /// About Java, Netty or ZooKeeper's own tests.
    Internal,
}

/// What happens with a key here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It does what it does in ZooKeeper.
    Acts,
    /// Checked and, as in ZooKeeper, without effect unless this holds.
    Idle(&'static str),
    /// A value other than the default stops the start, for this reason.
    Refused(&'static str),
    /// A value other than the default is warned about, for this reason.
    Ignored(&'static str),
    /// There is nothing here it could be about: said once for all of them.
    Jvm,
}

/// All about a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Key {
    /// How it may be written.
    pub set: Set,
    /// As in the manual; `server.N` and the like stand for a family.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// ZooKeeper's default as text, empty if it has none that can be written.
    pub default: &'static str,
    /// Its weight.
    pub mark: Mark,
    /// What happens.
    pub fate: Fate,
}

const fn key(set: Set, name: &'static str, kind: Kind, default: &'static str, mark: Mark, fate: Fate) -> Key {
    Key {
        set,
        name,
        kind,
        default,
        mark,
        fate,
    }
}

const INT_MAX: i64 = i32::MAX as i64;
const LONG_MAX: i64 = i64::MAX;
/// A Java `int`.
const I32: Kind = Kind::Int(i32::MIN as i64, INT_MAX);
/// A Java `long`.
const I64: Kind = Kind::Int(i64::MIN, LONG_MAX);
const PORT: Kind = Kind::Int(0, 65535);
/// Java divides by it, so 0 fails there; see `meant`.
const SNAP_KB: Kind = Kind::Int(-(1 << 50), 1 << 50);
const STORE: Kind = Kind::Word(&["JKS", "PEM", "PKCS12", "BCFKS", ""]);

const AMONG_SERVERS: &str = "this server is one of an ensemble";
const WITH_PROMETHEUS: &str = "metricsProvider.className names the Prometheus provider";
const NO_TLS: &str = "TLS is not built yet, and a plaintext server must not look like an encrypted one";
const NO_SASL: &str = "SASL, Kerberos and X.509 authentication are not built yet";
const NO_RESTORE: &str = "the admin command restore is not built yet, and is answered as disabled";
const NO_FORWARDED: &str =
    "whose request it is tells the connection's own address, never a header that anybody can write";
const NO_THROTTLE: &str = "this throttle is not built yet; globalOutstandingLimit, maxCnxns and maxClientCnxns act";
const NO_RESPONSE_CACHE: &str = "replies are made from the tree without a cache of serialised ones";
const BATCHES: &str = "a batch ends when the disk is free for it, never by a timer";
const ONE_FORM: &str = "Ringkeeper's log and snapshots have one form";

/// ZooKeeper's tables, section by section.
const TABLES: [&[Key]; 7] = [
    core::KEYS,
    ensemble::KEYS,
    storage::KEYS,
    tls::KEYS,
    auth::KEYS,
    admin::KEYS,
    pipeline::KEYS,
];

/// Every key of ZooKeeper 3.9.5.
pub fn zookeeper() -> impl Iterator<Item = &'static Key> {
    TABLES.into_iter().flatten()
}

/// Ringkeeper's own.
pub fn own() -> impl Iterator<Item = &'static Key> {
    own::KEYS.iter()
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Key> {
    zookeeper().chain(own())
}

/// The key that a name in the file stands for, members of families included. `Raw` ones are found too.
pub fn in_file(name: &str) -> Option<&'static Key> {
    static BY_NAME: LazyLock<HashMap<&str, &Key>> = LazyLock::new(|| all().map(|key| (key.name, key)).collect());
    static FAMILIES: LazyLock<Vec<(&str, &Key)>> =
        LazyLock::new(|| all().filter_map(|key| Some((key.family()?, key))).collect());
    let member = || FAMILIES.iter().find(|(prefix, _)| is_member(name, prefix));
    BY_NAME.get(name).copied().or_else(|| member().map(|(_, key)| *key))
}

/// The key that a `-D` property stands for.
pub fn as_property(property: &str) -> Option<&'static Key> {
    if let Some((_, name)) = PROPERTIES_READ_TOO.iter().find(|(other, _)| *other == property) {
        return in_file(name);
    }
    in_file(property)
        .filter(|key| matches!(key.set, Set::Raw | Set::Own))
        .or_else(|| in_file(property.strip_prefix("zookeeper.")?).filter(|key| key.set == Set::Passed))
}

/// Properties that ZooKeeper reads under another name than the key's with its prefix.
const PROPERTIES_READ_TOO: &[(&str, &str)] = &[
    ("fsync.warningthresholdms", "fsync.warningthresholdms"),
    ("leader.closeSocketAsync", "leader.closeSocketAsync"),
    ("learner.closeSocketAsync", "learner.closeSocketAsync"),
    ("learner.asyncSending", "learner.asyncSending"),
    ("zookeeper.observer.syncEnabled", "syncEnabled"),
    ("zookeeper.multiAddress.enabled", "multiAddress.enabled"),
    (
        "zookeeper.multiAddress.reachabilityCheckTimeoutMs",
        "multiAddress.reachabilityCheckTimeoutMs",
    ),
    (
        "zookeeper.multiAddress.reachabilityCheckEnabled",
        "multiAddress.reachabilityCheckEnabled",
    ),
];

/// Names that the manual uses but the server does not read, or that old guides use, and the name to write instead.
pub const MISNAMED: &[(&str, &str)] = &[
    ("connectionMaxTokens", "connection_throttle_tokens"),
    ("connectionTokenFillTime", "connection_throttle_fill_time"),
    ("connectionTokenFillCount", "connection_throttle_fill_count"),
    ("connectionFreezeTime", "connection_throttle_freeze_time"),
    ("connectionDropIncrease", "connection_throttle_drop_increase"),
    ("connectionDropDecrease", "connection_throttle_drop_decrease"),
    ("connectionDecreaseRatio", "connection_throttle_decrease_ratio"),
    ("requestThrottleLimit", "request_throttle_max_requests"),
    ("requestThrottleStallTime", "request_throttle_stall_time"),
    ("requestThrottleDropStale", "request_throttle_drop_stale"),
    ("requestStaleLatencyCheck", "request_stale_latency_check"),
    ("requestStaleConnectionCheck", "request_stale_connection_check"),
    ("advancedFlowControlEnabled", "netty.advancedFlowControl.enabled"),
    ("maxConcurrentSnapSyncs", "leader.maxConcurrentSnapSyncs"),
    ("maxConcurrentDiffSyncs", "leader.maxConcurrentDiffSyncs"),
    ("maxTimeToWaitForEpoch", "leader.maxTimeToWaitForEpoch"),
    ("throttledOpWaitTime", "throttled_op_wait_time"),
    ("outstandingHandshake.limit", "netty.server.outstandingHandshake.limit"),
];

/// Written by guides for old releases and read by none since: `requireClientAuthScheme`, `jaasLoginRenew`.
pub const FORGOTTEN: &[&str] = &["requireClientAuthScheme", "jaasLoginRenew"];

fn is_member(name: &str, prefix: &str) -> bool {
    name.len() > prefix.len() && name.starts_with(prefix)
}

impl Key {
    /// The beginning that all members of a family share; `None` for a single key.
    pub fn family(&self) -> Option<&'static str> {
        match self.name {
            "server.N" => Some("server."),
            // ZooKeeper takes any name that begins so (`QuorumPeerConfig#parseDynamicConfig`).
            "group.X" => Some("group"),
            "weight.N" => Some("weight"),
            "authProvider.N" => Some("authProvider."),
            "metricsProvider.*" => Some("metricsProvider."),
            "superUser" => Some("superUser."),
            "zookeeper.log.*" => Some("zookeeper.log."),
            _ => None,
        }
    }

    /// Whether a value asks for nothing but what happens anyway.
    pub fn is_default(&self, value: &str) -> bool {
        // ZooKeeper's admin server is on by default; here it is off.
        let default = if self.name == "admin.enableServer" {
            "false"
        } else {
            self.default
        };
        value.eq_ignore_ascii_case(default)
    }

    /// Whether a value that cannot be understood stops the start. ZooKeeper does so for the keys that it parses
    /// itself; for others it silently takes the default, which is no kindness where the key acts.
    pub fn is_strict(&self) -> bool {
        matches!(self.set, Set::Direct | Set::Own) || self.fate == Fate::Acts
    }

    /// How the key is set where the file cannot.
    pub fn property(&self) -> String {
        match self.set {
            Set::Passed => format!("zookeeper.{}", self.name),
            _ => self.name.to_owned(),
        }
    }
}

impl Kind {
    /// `Err` says what is allowed instead.
    pub fn check(&self, value: &str) -> Result<(), String> {
        let fits = match self {
            Kind::Int(min, max) => int(value).is_some_and(|number| (*min..=*max).contains(&number)),
            Kind::Real => value.parse::<f64>().is_ok(),
            Kind::Bool => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
            Kind::YesNo => value == "yes" || value == "no",
            Kind::Word(words) => words.iter().any(|word| word.eq_ignore_ascii_case(value)),
            Kind::Hex => i64::from_str_radix(value, 16).is_ok(),
            Kind::Path | Kind::Host => !value.is_empty(),
            Kind::Text | Kind::Secret => true,
        };
        if fits { Ok(()) } else { Err(self.allowed()) }
    }

    /// What is allowed, for people.
    pub fn allowed(&self) -> String {
        match self {
            Kind::Int(min, max) if min == max => format!("only {min}"),
            Kind::Int(min, max) => format!("a whole number from {min} to {max}"),
            Kind::Real => "a number".into(),
            Kind::Bool => "true or false".into(),
            Kind::YesNo => "yes or no, in lower case".into(),
            Kind::Word(words) => {
                let words: Vec<_> = words.iter().filter(|word| !word.is_empty()).copied().collect();
                format!("one of {}", words.join(", "))
            }
            Kind::Path => "a path".into(),
            Kind::Host => "a host name or an address".into(),
            Kind::Hex => "a number in hexadecimal digits".into(),
            Kind::Text | Kind::Secret => "any text".into(),
        }
    }
}

/// A whole number as Java reads it: `Integer#parseInt` and, wider, `Long#decode` with its `0x` and `#`. A leading 0
/// is decimal: ZooKeeper's two ways disagree about it, and nobody means octal.
pub fn int(value: &str) -> Option<i64> {
    let (sign, digits) = match value.as_bytes().first()? {
        b'-' => ("-", &value[1..]),
        b'+' => ("", &value[1..]),
        _ => ("", value),
    };
    let hex = ["0x", "0X", "#"].iter().find_map(|prefix| digits.strip_prefix(prefix));
    let (radix, digits) = hex.map_or((10, digits), |digits| (16, digits));
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}
