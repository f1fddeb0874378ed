//! `mntr`: every number that has a meaning here, under the name that ZooKeeper gives it (`MonitorCommand`,
//! `DefaultMetricsProvider#dump`).
//!
//! Each of the names that release 3.9.5 prints on a standalone server is in exactly one of three places: a line of
//! [`Monitor`] that was measured, [`ALONE`] (things of an ensemble, printed as 0 because on a server alone none has
//! happened), or [`NOT_MEASURED`] (left out, with the reason). Names that begin with `ringkeeper_` are ours alone.

use std::fmt::{Display, Write};

use super::{VERSION, java_double};

/// Count, sum, least and most of a series (`AvgMinMaxCounter`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many values there were.
    pub count: u64,
    /// All together.
    pub sum: u64,
    least: u64,
    most: u64,
}

impl Summary {
    /// One value more.
    pub fn add(&mut self, value: u64) {
        self.least = if self.count == 0 { value } else { self.least.min(value) };
        self.most = self.most.max(value);
        self.count += 1;
        self.sum += value;
    }

    /// Another series, seen elsewhere.
    pub fn merge(&mut self, other: &Summary) {
        if other.count > 0 {
            self.least = if self.count == 0 {
                other.least
            } else {
                self.least.min(other.least)
            };
            self.most = self.most.max(other.most);
            self.count += other.count;
            self.sum += other.sum;
        }
    }

    /// The least value; 0 without any.
    pub fn min(&self) -> u64 {
        self.least
    }

    /// The greatest value; 0 without any.
    pub fn max(&self) -> u64 {
        self.most
    }

    /// The average with four decimals, a half rounded up; 0 without any value (`AvgMinMaxCounter#getAvg`).
    pub fn average(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        // So many digits hold the quotient's exact value as far as a half could lie: the fifth decides.
        let digits = format!("{:.60}", self.sum as f64 / self.count as f64);
        let (whole, decimals) = digits.split_once('.').expect("it was printed with decimals");
        let kept: u64 = format!("{whole}{}", &decimals[..4]).parse().unwrap_or(u64::MAX);
        let rounded = kept.saturating_add((decimals.as_bytes()[4] >= b'5') as u64);
        rounded as f64 / 10_000.0
    }

    /// The average without decimals; 0 without any value (`ServerCnxn#getAvgLatency`).
    pub fn whole_average(&self) -> u64 {
        self.sum.checked_div(self.count).unwrap_or(0)
    }
}

/// A series with its percentiles (`AvgMinMaxPercentileCounter`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Quantiles {
    pub summary: Summary,
    pub p50: u64,
    pub p95: u64,
    pub p99: u64,
    pub p999: u64,
}

/// What can be read off at any moment.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Gauges {
    pub approximate_data_size: u64,
    pub ephemerals: u64,
    pub global_sessions: u64,
    pub latency: Summary,
    /// Bytes of the last, smallest and largest reply; −1 before the first.
    pub response_sizes: [i64; 3],
    pub alive_connections: u64,
    pub open_files: u64,
    pub open_files_max: u64,
    pub outstanding: u64,
    pub received: u64,
    pub sent: u64,
    pub uptime_ms: u64,
    pub watches: u64,
    pub nodes: u64,
}

/// A namespace's quota or usage: metric, namespace, number.
pub type QuotaLine = (&'static str, String, i64);

/// Names and values as they print.
pub type Entries = Vec<(String, String)>;

/// Everything that `mntr` prints.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Monitor {
    pub mode: &'static str,
    /// Of a server of an ensemble: what it does, and how far it is.
    pub peer_state: Option<String>,
    /// What only an ensemble has, or its leader.
    pub member_gauges: Vec<(&'static str, i64)>,
    pub gauges: Gauges,
    pub quotas: Vec<QuotaLine>,
    /// What ZooKeeper has no name for; printed with `ringkeeper_` before it.
    pub own: Vec<(&'static str, u64)>,
    pub counters: Vec<(&'static str, u64)>,
    pub summaries: Vec<(&'static str, Summary)>,
    pub quantiles: Vec<(&'static str, Quantiles)>,
}

/// How a metric prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Counter,
    Summary,
    Quantiles,
}

/// What only an ensemble counts. A standalone server prints them, as 0, and so does a member what it does not count.
pub const ALONE: [(Kind, &str); 25] = [
    (Kind::Counter, "commit_count"),
    (Kind::Counter, "diff_count"),
    (Kind::Counter, "learner_commit_received_count"),
    (Kind::Counter, "learner_proposal_received_count"),
    (Kind::Counter, "looking_count"),
    (Kind::Counter, "proposal_count"),
    (Kind::Counter, "quit_leading_due_to_disloyal_voter"),
    (Kind::Counter, "revalidate_count"),
    (Kind::Counter, "skip_learner_request_to_next_processor_count"),
    (Kind::Counter, "snap_count"),
    (Kind::Summary, "election_time"),
    (Kind::Summary, "follower_sync_time"),
    (Kind::Summary, "inflight_diff_count"),
    (Kind::Summary, "inflight_snap_count"),
    (Kind::Summary, "leader_unavailable_time"),
    (Kind::Summary, "learner_request_processor_queue_size"),
    (Kind::Summary, "observer_sync_time"),
    (Kind::Summary, "socket_closing_time"),
    (Kind::Summary, "unavailable_time"),
    (Kind::Quantiles, "commit_propagation_latency"),
    (Kind::Quantiles, "om_commit_process_time_ms"),
    (Kind::Quantiles, "om_proposal_process_time_ms"),
    (Kind::Quantiles, "proposal_ack_creation_latency"),
    (Kind::Quantiles, "proposal_latency"),
    (Kind::Quantiles, "quorum_ack_latency"),
];

const NO_COMMIT_STAGE: &str = "a stage of the Java server: reads wait for nothing but their own session's writes";
const NO_THROTTLE: &str = "there is no request throttler";
const NO_CACHE: &str = "replies are made from the tree, not from a cache";
const NO_CLEANER: &str = "watches of closed connections go at once";
const NO_TLS: &str = "no TLS on the client port yet";
const NO_ADMIN: &str = "an admin command that is not there yet";
const NOT_COUNTED: &str = "told in the log, not counted yet";
const NO_SCHEME: &str = "the ensemble authentication scheme is not there";
const NO_SIDE_TABLE: &str = "the head of the tree takes the place of outstanding changes";
const ONE_DESK: &str = "a queue between stages of the Java server; here one desk does both at once";
const READ_PATH: &str = "would cost every read a look-up";

/// What release 3.9.5 prints and this server does not, and why.
pub const NOT_MEASURED: [(&str, &str); 68] = [
    ("add_dead_watcher_stall_time", NO_CLEANER),
    ("close_session_prep_time", ONE_DESK),
    ("commit_commit_proc_req_queued", NO_COMMIT_STAGE),
    ("commit_process_time", NO_COMMIT_STAGE),
    ("concurrent_request_processing_in_commit_processor", NO_COMMIT_STAGE),
    ("connection_token_deficit", NO_THROTTLE),
    ("dead_watchers_cleaner_latency", NO_CLEANER),
    ("dead_watchers_cleared", NO_CLEANER),
    ("dead_watchers_queued", NO_CLEANER),
    ("ensemble_auth_fail", NO_SCHEME),
    ("ensemble_auth_skip", NO_SCHEME),
    ("ensemble_auth_success", NO_SCHEME),
    ("insecure_admin_count", NO_ADMIN),
    ("jvm_pause_time_ms", "there is no JVM"),
    ("large_requests_rejected", NO_THROTTLE),
    ("local_write_committed_time_ms", NO_COMMIT_STAGE),
    ("netty_queued_buffer_capacity", "there is no Netty"),
    ("outstanding_changes_queued", NO_SIDE_TABLE),
    ("outstanding_changes_removed", NO_SIDE_TABLE),
    ("pending_session_queue_size", NO_COMMIT_STAGE),
    ("prep_processor_queue_size", ONE_DESK),
    ("prep_processor_queue_time_ms", ONE_DESK),
    (
        "propagation_latency",
        "on one server it is updatelatency without the way in",
    ),
    ("proposal_process_time", ONE_DESK),
    ("quota_exceeded_error_per_namespace", "not counted by namespace yet"),
    ("read_commit_proc_issued", NO_COMMIT_STAGE),
    ("read_commit_proc_req_queued", NO_COMMIT_STAGE),
    ("read_commitproc_time_ms", NO_COMMIT_STAGE),
    ("read_final_proc_time_ms", "a read has one stage: see readlatency"),
    ("read_per_namespace", READ_PATH),
    ("reads_after_write_in_session_queue", NO_COMMIT_STAGE),
    ("reads_issued_from_session_queue", NO_COMMIT_STAGE),
    ("request_commit_queued", NO_COMMIT_STAGE),
    ("request_throttle_queue_time_ms", NO_THROTTLE),
    ("request_throttle_wait_count", NO_THROTTLE),
    ("requests_in_session_queue", NO_COMMIT_STAGE),
    ("requests_not_forwarded_to_commit_processor", NO_COMMIT_STAGE),
    ("response_packet_cache_hits", NO_CACHE),
    ("response_packet_cache_misses", NO_CACHE),
    ("response_packet_get_children_cache_hits", NO_CACHE),
    ("response_packet_get_children_cache_misses", NO_CACHE),
    ("restore_error_count", NO_ADMIN),
    ("restore_rate_limited_count", NO_ADMIN),
    ("restore_time", NO_ADMIN),
    ("server_write_committed_time_ms", NO_COMMIT_STAGE),
    ("session_queues_drained", NO_COMMIT_STAGE),
    ("snapshot_error_count", NOT_COUNTED),
    ("snapshot_rate_limited_count", NOT_COUNTED),
    ("stale_replies", NO_THROTTLE),
    ("stale_requests", NO_THROTTLE),
    ("stale_requests_dropped", NO_THROTTLE),
    ("sync_process_time", ONE_DESK),
    ("sync_processor_queue_and_flush_time_ms", ONE_DESK),
    ("sync_processor_queue_size", ONE_DESK),
    ("sync_processor_queue_time_ms", ONE_DESK),
    ("throttled_ops", NO_THROTTLE),
    ("time_waiting_empty_pool_in_commit_processor_read_ms", NO_COMMIT_STAGE),
    ("tls_handshake_exceeded", NO_TLS),
    ("unsuccessful_handshake", NO_TLS),
    ("write_batch_time_in_commit_processor", NO_COMMIT_STAGE),
    ("write_commit_proc_issued", NO_COMMIT_STAGE),
    ("write_commit_proc_req_queued", NO_COMMIT_STAGE),
    ("write_commitproc_time_ms", NO_COMMIT_STAGE),
    ("write_final_proc_time_ms", ONE_DESK),
    ("write_per_namespace", "not counted by namespace yet"),
    ("ack_latency", "an ensemble's, one line set for each follower"),
    (
        "learner_handler_qp_size",
        "an ensemble's, one line set for each follower",
    ),
    (
        "learner_handler_qp_time_ms",
        "an ensemble's, one line set for each follower",
    ),
];

impl Monitor {
    /// The answer.
    pub fn append(&self, out: &mut String) {
        for (name, value) in self.entries() {
            let _ = writeln!(out, "zk_{name}\t{value}");
        }
    }

    /// Names, without `zk_`, and values, in order.
    pub fn entries(&self) -> Entries {
        let out = &mut Entries::new();
        line(out, "version", VERSION);
        line(out, "server_state", self.mode);
        self.peer_state.iter().for_each(|state| line(out, "peer_state", state));
        self.gauges.append(out);
        for (name, value) in &self.member_gauges {
            line(out, name, value);
        }
        for (metric, namespace, number) in &self.quotas {
            line(out, format_args!("{namespace}_{metric}"), number);
        }
        let counted = |name: &str| {
            let counters = self.counters.iter().map(|(name, _)| *name);
            counters
                .chain(self.summaries.iter().map(|(name, _)| *name))
                .any(|of| of == name)
        };
        let alone = |kind| {
            ALONE
                .into_iter()
                .filter(move |(of, name)| *of == kind && !counted(name))
                .map(|(_, name)| name)
        };
        for (name, number) in &self.own {
            line(out, format_args!("ringkeeper_{name}"), number);
        }
        self.counters.iter().for_each(|(name, count)| line(out, name, count));
        alone(Kind::Counter).for_each(|name| line(out, name, 0));
        self.summaries
            .iter()
            .for_each(|(name, summary)| summary_lines(out, name, summary));
        alone(Kind::Summary).for_each(|name| summary_lines(out, name, &Summary::default()));
        self.quantiles
            .iter()
            .for_each(|(name, quantiles)| quantile_lines(out, name, quantiles));
        alone(Kind::Quantiles).for_each(|name| quantile_lines(out, name, &Quantiles::default()));
        std::mem::take(out)
    }
}

impl Gauges {
    fn append(&self, out: &mut Entries) {
        let [last, min, max] = self.response_sizes;
        let least = [
            ("min_latency", self.latency.min()),
            ("max_latency", self.latency.max()),
            ("packets_received", self.received),
            ("packets_sent", self.sent),
            ("num_alive_connections", self.alive_connections),
            ("outstanding_requests", self.outstanding),
            ("uptime", self.uptime_ms),
            ("znode_count", self.nodes),
            ("watch_count", self.watches),
            ("ephemerals_count", self.ephemerals),
            ("approximate_data_size", self.approximate_data_size),
            ("global_sessions", self.global_sessions),
            // No sessions but global ones, no throttle, no TLS: nothing of the next six has happened.
            ("local_sessions", 0),
            ("outstanding_tls_handshake", 0),
            ("auth_failed_count", 0),
            ("non_mtls_local_conn_count", 0),
            ("non_mtls_remote_conn_count", 0),
            ("open_file_descriptor_count", self.open_files),
            ("max_file_descriptor_count", self.open_files_max),
        ];
        line(out, "avg_latency", java_double(self.latency.average()));
        line(out, "connection_drop_probability", java_double(0.0));
        least.into_iter().for_each(|(name, value)| line(out, name, value));
        let sizes = [("last", last), ("min", min), ("max", max)];
        sizes
            .into_iter()
            .for_each(|(which, bytes)| line(out, format_args!("{which}_client_response_size"), bytes));
    }
}

fn line(out: &mut Entries, name: impl Display, value: impl Display) {
    out.push((name.to_string(), value.to_string()));
}

fn summary_lines(out: &mut Entries, name: &str, summary: &Summary) {
    line(out, format_args!("avg_{name}"), java_double(summary.average()));
    line(out, format_args!("min_{name}"), summary.min());
    line(out, format_args!("max_{name}"), summary.max());
    line(out, format_args!("cnt_{name}"), summary.count);
    line(out, format_args!("sum_{name}"), summary.sum);
}

fn quantile_lines(out: &mut Entries, name: &str, quantiles: &Quantiles) {
    summary_lines(out, name, &quantiles.summary);
    line(out, format_args!("p50_{name}"), quantiles.p50);
    line(out, format_args!("p95_{name}"), quantiles.p95);
    line(out, format_args!("p99_{name}"), quantiles.p99);
    line(out, format_args!("p999_{name}"), quantiles.p999);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> Summary {
        let mut summary = Summary::default();
        values.iter().for_each(|value| summary.add(*value));
        summary
    }

    #[test]
    fn averages_round_a_half_up() {
        assert_eq!(of(&[]).average(), 0.0);
        assert_eq!(of(&[1, 2, 2]).average(), 1.6667);
        // 1/32 is 0.03125 exactly: to the even neighbour it would be 0.0312.
        let mut halves = of(&[1]);
        (0..31).for_each(|_| halves.add(0));
        assert_eq!(halves.average(), 0.0313);
        assert_eq!(of(&[3, 4]).whole_average(), 3);
        assert_eq!(of(&[]).whole_average(), 0);
    }

    #[test]
    fn merged_series_are_one_series() {
        let mut merged = of(&[]);
        merged.merge(&of(&[5, 9]));
        merged.merge(&of(&[]));
        merged.merge(&of(&[7]));
        assert_eq!(merged, of(&[5, 9, 7]));
        assert_eq!((merged.min(), merged.max(), of(&[]).min()), (5, 9, 0));
    }

    #[test]
    fn lines() {
        let monitor = Monitor {
            mode: "standalone",
            peer_state: None,
            member_gauges: Vec::new(),
            gauges: Gauges {
                response_sizes: [-1; 3],
                nodes: 5,
                ..Gauges::default()
            },
            quotas: vec![("quota_count_limit_per_namespace", "app".into(), 10)],
            own: vec![("room_level", 1)],
            counters: vec![("connection_rejected", 2)],
            summaries: vec![("fsynctime", of(&[1, 2]))],
            quantiles: vec![(
                "readlatency",
                Quantiles {
                    summary: of(&[3]),
                    p50: 3,
                    p95: 3,
                    p99: 3,
                    p999: 4,
                },
            )],
        };
        let mut out = String::new();
        monitor.append(&mut out);
        let start = format!("zk_version\t{VERSION}\nzk_server_state\tstandalone\nzk_avg_latency\t0.0\n");
        assert!(out.starts_with(&start), "{out}");
        for expected in [
            "\nzk_znode_count\t5\n",
            "\nzk_min_client_response_size\t-1\n",
            "\nzk_app_quota_count_limit_per_namespace\t10\n",
            "\nzk_ringkeeper_room_level\t1\n",
            "\nzk_connection_rejected\t2\n",
            "\nzk_looking_count\t0\n",
            "\nzk_avg_fsynctime\t1.5\nzk_min_fsynctime\t1\nzk_max_fsynctime\t2\nzk_cnt_fsynctime\t2\nzk_sum_fsynctime\t3\n",
            "\nzk_sum_readlatency\t3\nzk_p50_readlatency\t3\nzk_p95_readlatency\t3\nzk_p99_readlatency\t3\nzk_p999_readlatency\t4\n",
        ] {
            assert!(out.contains(expected), "{expected} in {out}");
        }
        let mut keys: Vec<&str> = out
            .lines()
            .map(|line| line.split_once('\t').expect("key and value").0)
            .collect();
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count, "each key once");
    }
}
