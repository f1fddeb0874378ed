//! What the server needs to know to run, already checked: `config` makes it from a `zoo.cfg`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::admin::AdminOptions;
use crate::io::Engine;
use crate::replica::Settings;
use crate::tree::Features;

/// Everything that was decided before the first thread started. Has no `Debug`: it holds the super digest.
#[derive(Clone)]
pub struct Options {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// `clientPortListenBacklog`, already resolved.
    pub backlog: i32,
    /// `clientTcpKeepAlive`.
    pub keep_alive: bool,
    /// Event loops for clients.
    pub cores: usize,
    /// Whether each of them stays on one processor.
    pub pin_cores: bool,
    /// What they stand on.
    pub engine: Engine,
    /// `dataDir`.
    pub data_dir: PathBuf,
    /// `dataLogDir`.
    pub log_dir: PathBuf,
    /// Bytes of a log segment.
    pub segment_bytes: u64,
    /// Free bytes below which no new writes are taken.
    pub low_water: u64,
    /// `forceSync`.
    pub force_sync: bool,
    /// `fsync.warningthresholdms`.
    pub sync_warning_ms: u64,
    /// Snapshots kept.
    pub retain_snapshots: usize,
    /// Seconds after which a snapshot goes too.
    pub retain_age_s: Option<u64>,
    /// Bytes of snapshots and log above which the oldest go too.
    pub retain_bytes: Option<u64>,
    /// How often old snapshots and logs are removed, beside after each snapshot; `None` is never at all.
    pub purge_every: Option<Duration>,
    /// `snapshot.trust.empty`: ZooKeeper's logs without a snapshot are taken for a whole history.
    pub trust_empty: bool,
    /// Transactions between snapshots, before jitter.
    pub snap_count: u64,
    /// Log bytes between snapshots, before jitter; `None` is no limit.
    pub snap_bytes: Option<u64>,
    /// Snapshot bytes written per second at most.
    pub snap_rate: Option<u64>,
    /// Transactions in one batch at most.
    pub batch_max: usize,
    /// How the tree applies transactions.
    pub features: Features,
    /// The writing desk's.
    pub desk: Settings,
    /// Session timeouts granted, ms.
    pub session_timeout_ms: (i32, i32),
    /// The largest request frame.
    pub frame_bytes_max: usize,
    /// Connections from one address; 0 is no limit.
    pub per_ip_max: usize,
    /// Connections in all; 0 is no limit.
    pub connections_max: usize,
    /// Requests in process at which reading pauses.
    pub outstanding_max: usize,
    /// How long a connection may stay without a session, ms.
    pub sessionless_ms: u64,
    /// Schemes of which a connection must have one; empty asks for nothing.
    pub required_schemes: Vec<String>,
    /// The four-letter words that are answered, as configured.
    pub words: Option<String>,
    /// `readonlymode.enabled`, which only decides about `isro` here.
    pub read_only_mode: bool,
    /// The admin HTTP server; `None` is none.
    pub admin: Option<AdminOptions>,
    /// The lines of the four-letter word `conf` that are not known from elsewhere.
    pub shown: Shown,
}

/// Values that are only shown.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Shown {
    pub client_port: i32,
    pub tick_ms: i32,
    pub max_client_cnxns: i32,
    pub backlog: i32,
    pub server_id: i64,
}
