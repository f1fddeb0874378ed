//! What was asked for on the command line, and the plans that it means.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use super::keys::{Layout, Skew};
use super::mix::Mix;
use super::plan::{Load, Plan};
use super::preset::{Preset, Shape};
use super::watch;

/// The arguments of a load. What a preset decides is left open here.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// Servers, separated by commas; connections are spread over them in turn
    #[arg(long, default_value = "127.0.0.1:2181")]
    pub hosts: String,
    /// A load that is known by name; every other option changes it
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// Connections, each with a session of its own [default: 32]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub connections: Option<u32>,
    /// Requests on their way per connection (closed loop), or at most (open loop) [default: 1; open loop: 256]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub in_flight: Option<u32>,
    /// Generator threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// Operations and weights, such as get=10,set=1; known: get, exists, children, set, create, delete, churn, ephemeral, sequential, multi, ping
    #[arg(long, conflicts_with = "read_percent")]
    pub mix: Option<Mix>,
    /// Percentage of getData, the rest being setData [default: 90]
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub read_percent: Option<u32>,
    /// Operations in a multi
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub multi: u32,
    /// Znodes to work on; partitions of the kafka preset [default: 1000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub nodes: Option<u32>,
    /// Levels of parents above each znode
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=6))]
    pub depth: u32,
    /// Bytes of data per znode [default: 1024]
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub size: Option<u32>,
    /// uniform, zipf or zipf:EXPONENT
    #[arg(long, default_value = "uniform")]
    pub keys: Skew,
    /// Watchers of the watch preset, spread over the connections
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub watchers: u32,
    /// Requests per second in all: an open loop, latency counted from when each was due. Without it, a closed loop
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Beside the load, so many setData per second on 32 connections of their own
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub writes_beside: Option<u32>,
    /// Session timeout that is asked for, in ms
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(i32).range(1..))]
    pub session_timeout: i32,
    /// Seconds before measuring begins [default: 2]
    #[arg(long)]
    pub warm_up: Option<f64>,
    /// Seconds measured [default: 10]
    #[arg(long)]
    pub duration: Option<f64>,
    /// Processes of local servers: CPU per operation, memory and bytes written are reported too
    #[arg(long, value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// The node below which the load works
    #[arg(long, default_value = "/zk-bench")]
    pub root: String,
    /// The znodes are there already
    #[arg(long)]
    pub no_fill: bool,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
    /// Draw throughput over time and latency percentiles into this SVG file
    #[arg(long)]
    pub plot: Option<PathBuf>,
    /// Seed of all random choices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// failover: starts a server; {port} and {dir} stay the same when it is started again. Once per server; without
    /// {port} the servers are those of --hosts, in order. floor: is measured beside the echo
    #[arg(long)]
    pub server: Vec<String>,
    /// failover: seconds between kills
    #[arg(long, default_value_t = 8.0)]
    pub kill_every: f64,
    /// failover: seconds that a killed server stays away
    #[arg(long, default_value_t = 2.0)]
    pub down: f64,
}

/// One load of what was asked for; a preset may have several.
#[derive(Clone, Debug)]
pub struct Step {
    /// Empty when there is only one.
    pub name: String,
    /// Where it stands in a sweep: the percentage of reads.
    pub read_percent: Option<u32>,
    /// The load.
    pub plan: Plan,
}

impl RunArgs {
    /// Checks what was said and finds the addresses.
    pub fn steps(&self) -> Result<Vec<Step>, String> {
        let addresses = self.addresses()?;
        let shapes = match self.preset {
            Some(preset) => preset.shapes(self.watchers as usize),
            None => vec![Shape::default()],
        };
        if shapes.len() > 1 && (self.mix.is_some() || self.read_percent.is_some()) {
            return Err("this preset has several mixes of its own; leave out --mix and --read-percent".into());
        }
        let step = |shape: &Shape| {
            Ok(Step {
                name: shape.name.clone(),
                read_percent: shape.read_percent,
                plan: self.plan(shape, &addresses)?,
            })
        };
        shapes.iter().map(step).collect()
    }

    fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
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
        Ok(addresses)
    }

    fn plan(&self, shape: &Shape, addresses: &[SocketAddr]) -> Result<Plan, String> {
        if !self.root.starts_with('/') || self.root.len() < 2 || self.root.ends_with('/') {
            return Err(format!("--root: '{}' is not a path below /", self.root));
        }
        let connections = self.connections.unwrap_or(shape.connections) as usize;
        if let Load::Watch(watchers) = shape.load
            && watch::znodes(watchers, connections) > watch::PER_CONNECTION_MAX
        {
            return Err(format!(
                "--watchers: {watchers} on {connections} connections are more than {} on each; use more --connections",
                watch::PER_CONNECTION_MAX
            ));
        }
        if (self.rate.is_some() || self.writes_beside.is_some()) && shape.load != Load::Mix {
            return Err("--rate and --writes-beside belong to a mix; this preset has its own pace".into());
        }
        let in_flight = match self.rate {
            Some(_) => self.in_flight.unwrap_or(256),
            None => self.in_flight.unwrap_or(shape.in_flight),
        };
        let mix = match (&self.mix, self.read_percent) {
            (Some(mix), _) => mix.clone(),
            (None, Some(percent)) => Mix::reads(percent),
            (None, None) => shape.mix.clone(),
        };
        Ok(Plan {
            addresses: addresses.to_vec(),
            load: shape.load.clone(),
            connections,
            in_flight: in_flight as usize,
            threads: (self.threads as usize).min(connections),
            mix,
            multi: self.multi,
            layout: Layout {
                root: self.root.clone(),
                count: self.nodes.unwrap_or(shape.nodes),
                depth: self.depth,
            },
            skew: self.keys,
            data: Plan::data(self.size.unwrap_or(shape.size) as usize),
            rate: self.rate,
            writes_beside: self.writes_beside,
            session_timeout_ms: self.session_timeout,
            warm_up: seconds("--warm-up", self.warm_up.unwrap_or(shape.warm_up))?,
            duration: seconds("--duration", self.duration.unwrap_or(shape.duration))?,
            seed: self.seed,
            is_failover: self.preset == Some(Preset::Failover),
        })
    }
}

/// A number of seconds that was given for `name`.
pub fn seconds(name: &str, value: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(value).map_err(|_| format!("{name}: {value} is no number of seconds"))
}
