//! A load, ready to run, and how it runs: lay the znodes out, then measure.

use std::net::SocketAddr;
use std::time::Duration;

use super::keys::{Layout, Skew};
use super::mix::Mix;
use super::stage::{self, Outcome};
use super::{drive, fill, idle, kafka, storm, watch};

/// What is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    /// Operations of the mix.
    Mix,
    /// One change, so many watchers.
    Watch(usize),
    /// Sessions opened and closed.
    Storm,
    /// Sessions that only ping.
    Idle,
    /// Failovers of a Kafka controller.
    Kafka,
}

/// A load, ready to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The servers.
    pub addresses: Vec<SocketAddr>,
    /// What is done.
    pub load: Load,
    /// Sessions.
    pub connections: usize,
    /// Per connection.
    pub in_flight: usize,
    /// Generator threads.
    pub threads: usize,
    /// The operations of [`Load::Mix`].
    pub mix: Mix,
    /// Operations in a multi.
    pub multi: u32,
    /// On what.
    pub layout: Layout,
    /// Chosen how.
    pub skew: Skew,
    /// The data written.
    pub data: Vec<u8>,
    /// Requests per second; `None` is a closed loop.
    pub rate: Option<u32>,
    /// So many setData per second on connections of their own, beside the mix.
    pub writes_beside: Option<u32>,
    /// What sessions ask for.
    pub session_timeout_ms: i32,
    /// Unmeasured time.
    pub warm_up: Duration,
    /// Measured time.
    pub duration: Duration,
    /// Of all random choices.
    pub seed: u64,
    /// Whether servers are killed meanwhile, so that lost connections are no news.
    pub is_failover: bool,
}

/// Connections of the writes beside a load.
const BESIDE_CONNECTIONS: usize = 32;
/// Compresses about as well as configuration does, and no better.
const TEXT: &[u8] = b"{\"host\":\"broker-17.example\",\"port\":9092}";

impl Plan {
    /// Data of so many bytes.
    pub fn data(bytes: usize) -> Vec<u8> {
        TEXT.iter().copied().cycle().take(bytes).collect()
    }

    /// The second load, if there is one: an open loop of setData.
    pub fn beside(&self) -> Option<Plan> {
        Some(Plan {
            rate: Some(self.writes_beside?),
            writes_beside: None,
            mix: Mix::reads(0),
            connections: BESIDE_CONNECTIONS,
            in_flight: 256,
            threads: 1,
            ..self.clone()
        })
    }

    /// Lays out the znodes that the load works on. Loads with znodes of their own do it themselves.
    pub fn fill(&self, progress: impl FnMut(u64)) -> Result<(), String> {
        match self.load {
            Load::Mix => fill::fill(self.addresses[0], &self.layout, &self.data, progress)
                .map_err(|error| format!("{}: {error}", self.addresses[0])),
            Load::Watch(_) | Load::Storm | Load::Idle | Load::Kafka => Ok(()),
        }
    }

    /// Runs it and measures; `pids` are the servers' processes, if they are local.
    pub fn run(&self, pids: &[u32], live: bool) -> Result<Outcome, String> {
        stage::conduct(pids, (self.warm_up, self.duration), live, |stage| match self.load {
            Load::Mix => drive::run(self, stage),
            Load::Watch(watchers) => watch::run(self, watchers, stage),
            Load::Storm => storm::run(self, stage),
            Load::Idle => idle::run(self, stage),
            Load::Kafka => kafka::run(self, stage),
        })
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let (connections, bytes) = (self.connections, self.data.len());
        match self.load {
            Load::Mix => {
                let pace = match self.rate {
                    Some(rate) => format!("{rate} requests per second, at most {} in flight each", self.in_flight),
                    None => format!("{} in flight each", self.in_flight),
                };
                let beside = self
                    .writes_beside
                    .map(|rate| format!(", beside {rate} writes per second"));
                format!(
                    "{connections} connections, {pace}, {}, {bytes} bytes, {} znodes{}",
                    self.mix,
                    self.layout.count,
                    beside.unwrap_or_default()
                )
            }
            Load::Watch(watchers) => {
                let znodes = watch::znodes(watchers, connections);
                format!(
                    "watch fan-out: one change of {znodes} znodes, {} watchers on {connections} connections, {bytes} bytes",
                    znodes * connections
                )
            }
            Load::Storm => format!("connect storm: {connections} clients open a session, close it and begin again"),
            Load::Idle => format!(
                "{connections} idle sessions that ask for a timeout of {} ms and ping",
                self.session_timeout_ms
            ),
            Load::Kafka => format!(
                "controller failovers of Kafka: {} partitions, {} requests in flight, {bytes} bytes",
                self.layout.count, self.in_flight
            ),
        }
    }
}
