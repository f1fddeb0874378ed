//! What was asked for on the command line, and what it means.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::keys::{Layout, Skew};
use super::mix::Mix;

/// `zk-bench run`'s arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// Servers, separated by commas; connections are spread over them in turn
    #[arg(long, default_value = "127.0.0.1:2181")]
    pub hosts: String,
    /// Connections, each with a session of its own
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub connections: u32,
    /// Requests on their way per connection (closed loop), or at most (open loop)
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub in_flight: u32,
    /// Generator threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// Operations and weights, such as get=10,set=1; known: get, exists, children, set, churn, ephemeral, sequential, multi, ping
    #[arg(long, conflicts_with = "read_percent")]
    pub mix: Option<Mix>,
    /// Percentage of getData, the rest being setData
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub read_percent: Option<u32>,
    /// Operations in a multi
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub multi: u32,
    /// Znodes to work on
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub nodes: u32,
    /// Levels of parents above each znode
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=6))]
    pub depth: u32,
    /// Bytes of data per znode
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub size: u32,
    /// uniform, zipf or zipf:EXPONENT
    #[arg(long, default_value = "uniform")]
    pub keys: Skew,
    /// Requests per second in all: an open loop, latency counted from when each was due. Without it, a closed loop
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Seconds before measuring begins
    #[arg(long, default_value_t = 2.0)]
    pub warm_up: f64,
    /// Seconds measured
    #[arg(long, default_value_t = 10.0)]
    pub duration: f64,
    /// Process of a local server: CPU per operation, memory and bytes written are reported too
    #[arg(long)]
    pub pid: Option<u32>,
    /// The node below which the load works
    #[arg(long, default_value = "/zk-bench")]
    pub root: String,
    /// The znodes are there already
    #[arg(long)]
    pub no_fill: bool,
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
    /// Seed of all random choices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// A load, ready to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The servers.
    pub addresses: Vec<SocketAddr>,
    /// Sessions.
    pub connections: usize,
    /// Per connection.
    pub in_flight: usize,
    /// Generator threads.
    pub threads: usize,
    /// What is done.
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
    /// Unmeasured time.
    pub warm_up: Duration,
    /// Measured time.
    pub duration: Duration,
    /// Of all random choices.
    pub seed: u64,
}

/// Compresses about as well as configuration does, and no better.
const TEXT: &[u8] = b"{\"host\":\"broker-17.example\",\"port\":9092}";

impl RunArgs {
    /// Checks what was said and finds the addresses.
    pub fn plan(&self) -> Result<Plan, String> {
        let mut addresses = Vec::new();
        for host in self.hosts.split(',').map(str::trim).filter(|host| !host.is_empty()) {
            let named = if host.contains(':') {
                host.to_owned()
            } else {
                format!("{host}:2181")
            };
            let mut found = named
                .to_socket_addrs()
                .map_err(|error| format!("--hosts: {named}: {error}"))?;
            addresses.push(found.next().ok_or_else(|| format!("--hosts: {named} has no address"))?);
        }
        if addresses.is_empty() {
            return Err("--hosts names no server; write HOST:PORT[,HOST:PORT]".into());
        }
        let seconds = |name: &str, value: f64| {
            Duration::try_from_secs_f64(value).map_err(|_| format!("{name}: {value} is no number of seconds"))
        };
        if !self.root.starts_with('/') || self.root.len() < 2 || self.root.ends_with('/') {
            return Err(format!("--root: '{}' is not a path below /", self.root));
        }
        let mix = match (&self.mix, self.read_percent) {
            (Some(mix), _) => mix.clone(),
            (None, percent) => Mix::reads(percent.unwrap_or(90)),
        };
        Ok(Plan {
            addresses,
            connections: self.connections as usize,
            in_flight: self.in_flight as usize,
            threads: (self.threads as usize).min(self.connections as usize),
            mix,
            multi: self.multi,
            layout: Layout {
                root: self.root.clone(),
                count: self.nodes,
                depth: self.depth,
            },
            skew: self.keys,
            data: TEXT.iter().copied().cycle().take(self.size as usize).collect(),
            rate: self.rate,
            warm_up: seconds("--warm-up", self.warm_up)?,
            duration: seconds("--duration", self.duration)?,
            seed: self.seed,
        })
    }
}
