//! What each admin command answers (`Commands.*Command#runGet`), from what the four-letter words gather.
//!
//! Keys and their order are those of ZooKeeper's standalone server. Two have fewer, where there is nothing to tell: `monitor`
//! has the metrics that `mntr` has here, and `system_properties` only those that are the machine's, not a JVM's.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::command::Command;
use super::json::{Fields, Json};
use crate::server::core::Core;
use crate::server::host;
use crate::server::shared::Mode;
use crate::server::words::{self, CONNECTIONS, NUMBERS};
use crate::wire::four_letter::{Connection, Monitor, Served, VERSION, environment_entries, java_double, java_socket};

/// The error while there is nothing to serve.
pub const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

/// `DigestCalculator#DIGEST_VERSION`.
const DIGEST_VERSION: i32 = 2;

fn field(key: impl Into<String>, value: Json) -> (String, Json) {
    (key.into(), value)
}

fn error(text: impl Into<String>) -> Fields {
    vec![field("error", Json::text(text))]
}

impl Core {
    /// Everything but `command`, and `error` where there is none. `mask` is `set_trace_mask`'s parameter.
    pub async fn answer_admin(self: &Rc<Core>, command: Command, mask: Option<String>) -> Fields {
        match command {
            Command::Configuration => self.configuration(),
            Command::ConnectionStatReset => {
                self.reset_all_connections();
                Vec::new()
            }
            Command::Connections => {
                let rows = words::connections(self.ask(CONNECTIONS).await);
                connection_lists(&rows, false)
            }
            Command::Dirs => {
                let (data, log) = self.directory_bytes();
                vec![
                    field("datadir_size", Json::int(data)),
                    field("logdir_size", Json::int(log)),
                ]
            }
            Command::Dump => self.dump().await,
            Command::Environment => {
                let entries = environment_entries(&host::environment());
                let entries = entries.into_iter().map(|(key, value)| field(key, Json::text(value)));
                entries.collect()
            }
            Command::GetTraceMask => vec![field("tracemask", self.trace_mask())],
            Command::SetTraceMask => self.set_trace_mask(mask),
            Command::Hash => {
                let digests = self.ask_writer().await.map(|writer| writer.digests).unwrap_or_default();
                vec![field("digests", Json::list(digests.iter().map(digest)))]
            }
            Command::InitialConfiguration => {
                let admin = self.shared.options.admin.as_ref();
                let file = admin.map_or(Json::Null, |admin| Json::text(&admin.file));
                vec![field("initial_configuration", file)]
            }
            Command::IsReadOnly => vec![field("read_only", Json::Bool(self.shared.mode() == Mode::ReadOnly))],
            Command::LastSnapshot => last_snapshot(&self.shared.opened.data_path),
            Command::Leader => self.leader().await,
            Command::Monitor => match self.ask_writer().await {
                Some(writer) => monitor(&self.monitor(&self.ask(NUMBERS).await, &writer)),
                None => error(NOT_SERVING),
            },
            Command::Observers => self.observers().await,
            // Nothing to be said, or a server alone has none.
            Command::Ruok | Command::ObserverConnectionStatReset => Vec::new(),
            Command::ServerStats => self.server_stats().await,
            Command::StatReset => {
                self.reset_numbers();
                Vec::new()
            }
            Command::Stats => {
                let mut fields = self.server_stats().await;
                let rows = words::connections(self.ask(CONNECTIONS).await);
                fields.extend(connection_lists(&rows, true));
                fields
            }
            Command::SystemProperties => system_properties(),
            Command::VotingView => self.voting_view(),
            Command::WatchSummary => watch_summary(&self.data_watches().await),
            Command::Watches => {
                let watches = self.data_watches().await;
                vec![field("session_id_to_watched_paths", paths_by_session(&watches))]
            }
            Command::WatchesByPath => {
                let by_path = sessions_by_path(&self.data_watches().await);
                vec![field("path_to_session_ids", by_path)]
            }
            Command::Zabstate => self.zab_state().await,
            Command::Snapshot | Command::Restore => unreachable!("they are answered without a core"),
        }
    }

    fn configuration(&self) -> Fields {
        let lines = self.conf_lines();
        let (min, max) = lines.session_timeout_ms;
        vec![
            field("client_port", Json::int(lines.client_port)),
            field("data_dir", Json::text(lines.data_dir)),
            field("data_log_dir", Json::text(lines.log_dir)),
            field("tick_time", Json::int(lines.tick_ms)),
            field("max_client_cnxns", Json::int(lines.max_client_cnxns)),
            field("min_session_timeout", Json::int(min)),
            field("max_session_timeout", Json::int(max)),
            field("server_id", Json::int(lines.server_id)),
            field("client_port_listen_backlog", Json::int(lines.backlog)),
        ]
    }

    async fn dump(self: &Rc<Core>) -> Fields {
        let lines = self.dump_lines().await;
        let due = lines
            .sessions
            .iter()
            .map(|(wall_ms, sessions)| field(wall_ms.to_string(), ids(sessions)));
        vec![
            field("expiry_time_to_session_ids", Json::Map(due.collect())),
            field("session_id_to_ephemeral_paths", paths_by_session(&lines.ephemerals)),
        ]
    }

    fn trace_mask(&self) -> Json {
        Json::int(self.shared.trace_mask.load(Ordering::Relaxed))
    }

    fn set_trace_mask(&self, mask: Option<String>) -> Fields {
        const REQUIRED: &str = "setTraceMask requires long traceMask argument";
        let Some(text) = mask else { return error(REQUIRED) };
        let Ok(mask) = text.parse::<i64>() else {
            return error(format!("{REQUIRED}, got {text}"));
        };
        self.shared.trace_mask.store(mask, Ordering::Relaxed);
        vec![field("tracemask", Json::int(mask))]
    }

    async fn server_stats(self: &Rc<Core>) -> Fields {
        let reports = self.ask(NUMBERS).await;
        let slow_syncs = self.ask_writer().await.map_or(0, |writer| writer.numbers.slow_syncs);
        let member = self.ask_member().await;
        let lines = self.server_lines(&reports, member.as_ref());
        let [last, min, max] = words::merged(&reports).response_sizes();
        let sizes = Json::Map(vec![
            field("last_buffer_size", Json::int(last)),
            field("min_buffer_size", Json::int(min)),
            field("max_buffer_size", Json::int(max)),
        ]);
        let (data, log) = self.directory_bytes();
        let stats = vec![
            field("packets_sent", Json::int(lines.sent)),
            field("packets_received", Json::int(lines.received)),
            field("fsync_threshold_exceed_count", Json::int(slow_syncs)),
            field("client_response_stats", sizes.clone()),
            field("data_dir_size", Json::int(data)),
            field("log_dir_size", Json::int(log)),
            field("provider_null", Json::Bool(false)),
            field("last_processed_zxid", Json::int(lines.zxid)),
            field("outstanding_requests", Json::int(lines.outstanding as u64)),
            field("server_state", Json::text(lines.mode)),
            field("avg_latency", Json::Number(java_double(lines.latency.average()))),
            field("max_latency", Json::int(lines.latency.max())),
            field("min_latency", Json::int(lines.latency.min())),
            field("num_alive_client_connections", Json::int(lines.connections as u64)),
            field("uptime", Json::int(self.shared.clock.ms())),
            // No TLS and no scheme that could fail: see `Gauges`.
            field("auth_failed_count", Json::int(0)),
            field("non_mtlsremote_conn_count", Json::int(0)),
            field("non_mtlslocal_conn_count", Json::int(0)),
        ];
        let mut fields = vec![
            field("version", Json::text(VERSION)),
            field("read_only", Json::Bool(self.shared.mode() == Mode::ReadOnly)),
            field("server_stats", Json::Map(stats)),
            field("client_response", sizes),
        ];
        if let Some([last, min, max]) = lines.proposals {
            let sizes = vec![
                field("last_buffer_size", Json::int(last)),
                field("min_buffer_size", Json::int(min)),
                field("max_buffer_size", Json::int(max)),
            ];
            fields.push(field("proposal_stats", Json::Map(sizes)));
        }
        fields.push(field("node_count", Json::int(lines.nodes)));
        fields
    }
}

fn ids(sessions: &[i64]) -> Json {
    Json::list(sessions.iter().map(|session| Json::int(*session)))
}

fn digest((zxid, digest): &(i64, u64)) -> Json {
    Json::Map(vec![
        field("zxid", Json::int(*zxid)),
        field("digest", Json::int(*digest as i64)),
        field("digest_version", Json::int(DIGEST_VERSION)),
    ])
}

fn paths_by_session(paths: &BTreeMap<i64, Vec<String>>) -> Json {
    let listed = |paths: &Vec<String>| Json::list(paths.iter().map(Json::text));
    let fields = paths
        .iter()
        .map(|(session, paths)| field(session.to_string(), listed(paths)));
    Json::Map(fields.collect())
}

fn sessions_by_path(watches: &BTreeMap<i64, Vec<String>>) -> Json {
    let mut by_path: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (session, paths) in watches {
        paths
            .iter()
            .for_each(|path| by_path.entry(path).or_default().push(*session));
    }
    let fields = by_path.into_iter().map(|(path, sessions)| field(path, ids(&sessions)));
    Json::Map(fields.collect())
}

fn watch_summary(watches: &BTreeMap<i64, Vec<String>>) -> Fields {
    let paths: std::collections::HashSet<&String> = watches.values().flatten().collect();
    let total: usize = watches.values().map(Vec::len).sum();
    vec![
        field("num_connections", Json::int(watches.len() as u64)),
        field("num_paths", Json::int(paths.len() as u64)),
        field("num_total_watches", Json::int(total as u64)),
    ]
}

fn connection_lists(rows: &[Connection], is_brief: bool) -> Fields {
    vec![
        field(
            "connections",
            Json::list(rows.iter().map(|row| connection(row, is_brief))),
        ),
        field("secure_connections", Json::list([])),
    ]
}

/// `ServerCnxn#getConnectionInfo`.
fn connection(row: &Connection, is_brief: bool) -> Json {
    let peer = java_socket(&row.peer);
    let mut fields = vec![
        field("remote_socket_address", Json::text(peer.trim_start_matches('/'))),
        field("interest_ops", Json::int(u8::from(row.reading))),
        field("outstanding_requests", Json::int(row.queued as u64)),
        field("packets_received", Json::int(row.received)),
        field("packets_sent", Json::int(row.sent)),
    ];
    if !is_brief {
        fields.extend(session(&row.served));
    }
    Json::Map(fields)
}

fn session(served: &Served) -> Fields {
    let latency = &served.latency;
    vec![
        field("session_id", Json::int(served.session)),
        field("last_operation", Json::text(served.last_op)),
        field("established", Json::int(served.established_ms)),
        field("session_timeout", Json::int(served.timeout_ms)),
        field("last_cxid", Json::int(served.last_cxid)),
        field("last_zxid", Json::int(served.last_zxid)),
        field("last_response_time", Json::int(served.last_response_ms)),
        field("last_latency", Json::int(served.last_latency_ms)),
        field("min_latency", Json::int(latency.min())),
        field("avg_latency", Json::int(latency.whole_average())),
        field("max_latency", Json::int(latency.max())),
    ]
}

/// Version and state are texts, all else is a number.
fn monitor(monitor: &Monitor) -> Fields {
    let is_text = |name: &str| matches!(name, "version" | "server_state" | "peer_state");
    let entries = monitor.entries().into_iter().map(|(name, value)| {
        let value = if is_text(&name) {
            Json::text(value)
        } else {
            Json::Number(value)
        };
        (name, value)
    });
    entries.collect()
}

/// The newest snapshot there is (`FileTxnSnapLog#getLastSnapshotInfo`): −1 for both if there is none yet.
fn last_snapshot(directory: &Path) -> Fields {
    let zxid = |entry: &std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        i64::from_str_radix(name.strip_prefix("snapshot.")?, 16).ok()
    };
    let seconds = |entry: std::fs::DirEntry| {
        let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok()?;
        let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(since.as_secs() as i64)
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let newest = entries
        .filter_map(|entry| Some((zxid(&entry)?, seconds(entry)?)))
        .max()
        .unwrap_or((-1, -1));
    vec![
        field("zxid", Json::text(format!("{:x}", newest.0))),
        field("timestamp", Json::int(newest.1)),
    ]
}

fn system_properties() -> Fields {
    const SHARED: [&str; 7] = [
        "java.io.tmpdir",
        "os.arch",
        "os.name",
        "os.version",
        "user.dir",
        "user.home",
        "user.name",
    ];
    let entries = environment_entries(&host::environment());
    let value = |name: &str| entries.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
    let fields = SHARED
        .into_iter()
        .map(|name| field(name, value(name).map_or(Json::Null, Json::text)));
    fields.collect()
}
