//! What the server needs to know to run, already checked: `config` makes it from a `zoo.cfg`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::admin::AdminOptions;
use super::config::ensemble::PeerAddress;
use crate::base::ServerId;
use crate::io::Engine;
use crate::replica::Settings;
use crate::tree::Features;
use crate::zab::{self, Quorum};

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
    /// The other servers; `None` for a standalone server.
    pub ensemble: Option<Arc<Ensemble>>,
}

/// A server that is one of several.
#[derive(Clone, Debug)]
pub struct Ensemble {
    /// This one.
    pub me: ServerId,
    /// All of them, this one too.
    pub members: Vec<PeerMember>,
    /// As Java writes it.
    pub config_text: String,
    /// The version in it.
    pub config_version: i64,
    /// Who votes.
    pub quorum: Quorum,
    /// `tickTime`.
    pub tick_ms: u64,
    /// `initLimit`.
    pub init_limit: u64,
    /// `syncLimit`.
    pub sync_limit: u64,
    /// `cnxTimeout`.
    pub connect_ms: u64,
    /// How long a server may take to say who it is.
    pub introduction_ms: u64,
    /// `electionPortBindRetry`; 0 is for ever.
    pub bind_retries: u64,
    /// `quorumListenOnAllIPs`.
    pub everywhere: bool,
    /// `tcpKeepAlive`.
    pub keep_alive: bool,
    /// `leaderServes`.
    pub leader_serves: bool,
    /// `multiAddress.enabled`.
    pub several: bool,
    /// `db.autocreate`: an empty directory is taken for a new ensemble's.
    pub trust_empty: bool,
    /// `commitLogCount`.
    pub kept_count: usize,
    /// `fastleader.minNotificationInterval` and `maxNotificationInterval`.
    pub notification_ms: (u64, u64),
}

/// One server of an ensemble.
#[derive(Clone, Debug)]
pub struct PeerMember {
    /// Its number.
    pub id: ServerId,
    /// Whether it votes.
    pub participant: bool,
    /// Where it is.
    pub addresses: Vec<PeerAddress>,
    /// Where its clients connect, if its line says so.
    pub client: Option<(String, u16)>,
}

impl PeerMember {
    /// Where it takes notifications.
    pub fn election_hosts(&self) -> Vec<(String, u16)> {
        let host = |address: &PeerAddress| (address.host.clone(), address.election);
        self.addresses.iter().map(host).collect()
    }

    /// Where it takes learners.
    pub fn quorum_hosts(&self) -> Vec<(String, u16)> {
        let host = |address: &PeerAddress| (address.host.clone(), address.quorum);
        self.addresses.iter().map(host).collect()
    }
}

impl Ensemble {
    /// The member with this number, if there is one.
    pub fn find(&self, id: ServerId) -> Option<&PeerMember> {
        self.members.iter().find(|member| member.id == id)
    }

    /// A member that is known to be there.
    pub fn member(&self, id: ServerId) -> &PeerMember {
        self.find(id).expect("the configuration was checked")
    }

    /// What agreement is told.
    pub fn settings(&self) -> zab::Settings {
        zab::Settings {
            tick_ms: self.tick_ms,
            init_limit: self.init_limit,
            sync_limit: self.sync_limit,
            notification_ms_min: self.notification_ms.0,
            notification_ms_max: self.notification_ms.1,
            kept_count: self.kept_count,
            ..zab::Settings::new(self.me, self.quorum.clone())
        }
    }
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
