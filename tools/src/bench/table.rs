//! Every load that Ringkeeper must do well in, against Apache ZooKeeper, in one command and one Markdown table.
//!
//! A round starts each product once and runs the loads one after the other on it, so that ZooKeeper's JVM is as warm
//! as it gets; sessions, a million znodes, and a start without data have servers of their own. What a round measured
//! is a map from `server/load/figure` to a number; [`targets`] are quotients of such numbers, taken round by round, and
//! the median of a target's quotients decides.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringkeeper::io::Engine;
use serde_json::json;

use super::args::Step;
use super::command;
use super::compare::{CPU, Figures, RESIDENT, START, Spread, THROUGHPUT, measure, of, short};
use super::fill;
use super::floor;
use super::host::{heap_mib, machine};
use super::keys::{Layout, Skew};
use super::mix::Mix;
use super::plan::{Load, Plan};
use super::report;
use super::servers::Running;
use super::syncs::{self, Syncs};
use super::targets::{Target, targets};

/// `zk-bench table`'s arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct TableArgs {
    /// Starts Ringkeeper: the zk-server next to this program
    #[arg(long, default_value = "ringkeeper")]
    pub ringkeeper: String,
    /// Starts Apache ZooKeeper 3.9.5, fetched by Maven on the first call ever; needs a JDK 17
    #[arg(long, default_value = "zookeeper")]
    pub zookeeper: String,
    /// Alternations
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Seconds measured per load; 6 and 5 rounds take about 30 minutes
    #[arg(long, default_value_t = 6.0)]
    pub duration: f64,
    /// Only loads whose name contains this
    #[arg(long)]
    pub only: Option<String>,
    /// Where the servers' directories are made; syncs go to this disk
    #[arg(long, default_value = ".")]
    pub below: PathBuf,
    /// Write what each round measured into this file, after each round
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// One short round with few sessions and znodes, to see that everything runs: the figures mean nothing
    #[arg(long)]
    pub quick: bool,
}

/// What a round measured.
pub type Measured = BTreeMap<String, f64>;

/// The sizes of everything.
struct Scale {
    rounds: u32,
    /// On a new server before its first load.
    heat: f64,
    warm_up: f64,
    duration: f64,
    idle: f64,
    sessions: usize,
    watch: (usize, usize),
    znodes: u32,
}

impl Scale {
    fn of(args: &TableArgs) -> Scale {
        if args.quick {
            return Scale {
                rounds: 1,
                heat: 0.2,
                warm_up: 0.1,
                duration: 0.4,
                idle: 0.5,
                sessions: 200,
                watch: (1000, 10),
                znodes: 20_000,
            };
        }
        Scale {
            rounds: args.rounds,
            heat: 8.0,
            warm_up: 1.5,
            duration: args.duration,
            // A ping of each session.
            idle: 10.0,
            sessions: 5000,
            watch: (10_000, 100),
            znodes: 1_000_000,
        }
    }
}

const PRODUCTS: [&str; 2] = ["ringkeeper", "zookeeper"];
/// Requests per second of the reads beside which writes run.
const PROBE_RATE: u32 = 2000;
const BESIDE: &str = "reads beside writes";
const WRITES: &str = "writes 32×8";

/// `zk-bench table`.
pub fn run(args: &TableArgs) -> Result<(), String> {
    let scale = Scale::of(args);
    let mut bench = Bench {
        args,
        scale,
        rounds: Vec::new(),
        troubles: Vec::new(),
        syncs: Vec::new(),
        now: Measured::new(),
    };
    let started = Instant::now();
    for number in 1..=bench.scale.rounds {
        bench.round(number);
        if let Some(path) = &args.json {
            fs::write(path, bench.json().to_string()).map_err(|error| format!("--json {}: {error}", path.display()))?;
        }
        let minutes = started.elapsed().as_secs_f64() / 60.0;
        eprintln!(
            "zk-bench: round {number} of {} done after {minutes:.1} minutes",
            bench.scale.rounds
        );
    }
    print!("{}", bench.markdown());
    match bench.troubles.len() {
        0 => Ok(()),
        count => Err(format!("{count} loads could not be measured")),
    }
}

struct Bench<'a> {
    args: &'a TableArgs,
    scale: Scale,
    rounds: Vec<Measured>,
    troubles: Vec<String>,
    syncs: Vec<(String, Syncs)>,
    now: Measured,
}

impl Bench<'_> {
    fn command(&self, product: &str) -> &str {
        if product == PRODUCTS[0] {
            &self.args.ringkeeper
        } else {
            &self.args.zookeeper
        }
    }

    fn wants(&self, load: &str) -> bool {
        self.args.only.as_ref().is_none_or(|only| load.contains(only.as_str()))
    }

    /// One alternation: each part for Ringkeeper, then for ZooKeeper.
    fn round(&mut self, number: u32) {
        self.now.clear();
        self.attempt("sync", |bench| bench.disk());
        for product in PRODUCTS {
            self.attempt(&format!("{product}: requests"), |bench| bench.requests(product));
        }
        self.attempt("echo", |bench| bench.echo());
        for part in ["idle sessions", "memory", "start"] {
            for product in PRODUCTS.into_iter().filter(|_| self.wants(part)).collect::<Vec<_>>() {
                eprintln!("zk-bench: round {number}: {part}, {product}");
                self.attempt(&format!("{product}: {part}"), |bench| match part {
                    "memory" => bench.memory(product),
                    "start" => bench.start(product),
                    _ => bench.idle(product),
                });
            }
        }
        self.rounds.push(std::mem::take(&mut self.now));
    }

    /// A load that fails must not cost the rest of the half hour.
    fn attempt(&mut self, name: &str, part: impl FnOnce(&mut Self) -> Result<(), String>) {
        if let Err(error) = part(self) {
            eprintln!("zk-bench: {name}: {error}");
            self.troubles.push(format!("{name}: {error}"));
        }
    }

    fn put(&mut self, product: &str, load: &str, figures: &Figures) {
        for (name, value) in figures {
            self.now.insert(format!("{product}/{load}/{name}"), *value);
        }
    }

    fn disk(&mut self) -> Result<(), String> {
        let time = Duration::from_secs_f64(self.scale.warm_up);
        let syncs = floor::syncs(&self.args.below, time).map_err(|error| error.to_string())?;
        for (name, histogram) in syncs {
            let figures = vec![("p50 ms".to_owned(), histogram.value_at_quantile(0.5) as f64 / 1000.0)];
            self.put("disk", name, &figures);
        }
        Ok(())
    }

    fn start_server(&mut self, product: &str) -> Result<Running, String> {
        let running =
            Running::start(self.command(product), &self.args.below, None).map_err(|error| error.to_string())?;
        if !self.syncs.iter().any(|(mine, _)| mine == product) {
            let verdict = syncs::judge(&[running.address], &[running.pid()]);
            println!("{product}: {}", verdict.line());
            self.syncs.push((product.to_owned(), verdict));
        }
        Ok(running)
    }

    /// All loads of requests on one server.
    fn requests(&mut self, product: &str) -> Result<(), String> {
        let loads: Vec<(&str, Plan)> = self.loads().into_iter().filter(|(name, _)| self.wants(name)).collect();
        if loads.is_empty() && !self.wants(BESIDE) {
            return Ok(());
        }
        let running = self.start_server(product)?;
        let mut heat = self.plan(32, 8, Mix::reads(90));
        heat.duration = Duration::from_secs_f64(self.scale.heat);
        measure(&step(heat), &running)?;
        for (name, plan) in loads {
            self.load(product, name, plan, &running);
        }
        if product == PRODUCTS[0] && self.wants(BESIDE) {
            self.beside(product, &running)?;
        }
        Ok(())
    }

    fn load(&mut self, product: &str, name: &str, plan: Plan, running: &Running) {
        self.attempt(&format!("{product}: {name}"), |bench| {
            let (step, outcome) = measure(&step(plan), running)?;
            for warning in report::warnings(&step, &outcome) {
                eprintln!("zk-bench: {product}: {name}: WARNING: {warning}");
            }
            let figures = of(&step, &outcome);
            let value = |wanted: &str| {
                figures
                    .iter()
                    .find(|(name, _)| name == wanted)
                    .map_or(0.0, |(_, value)| *value)
            };
            eprintln!(
                "zk-bench: {product}: {name}: {}/s, {} µs CPU, p99 {} ms, generator {:.0} % busy",
                short(value(THROUGHPUT)),
                short(value(CPU)),
                short(value("p99 ms")),
                outcome.busiest_thread * 100.0
            );
            bench.put(product, name, &figures);
            bench.put(product, name, &vec![("generator busy".into(), outcome.busiest_thread)]);
            Ok(())
        });
    }

    /// Reads at a low rate alone, and beside writes at half of what this server did in this round.
    fn beside(&mut self, product: &str, running: &Running) -> Result<(), String> {
        let mut alone = self.plan(32, 256, Mix::reads(100));
        alone.rate = Some(PROBE_RATE);
        let most = match self.now.get(&format!("{product}/{WRITES}/{THROUGHPUT}")) {
            Some(most) => *most,
            None => {
                let (step, outcome) = measure(&step(self.plan(32, 8, Mix::reads(0))), running)?;
                of(&step, &outcome)[0].1
            }
        };
        let mut beside = alone.clone();
        beside.writes_beside = Some((most / 2.0).max(1.0) as u32);
        self.load(product, "reads alone", alone, running);
        self.load(product, BESIDE, beside, running);
        Ok(())
    }

    fn echo(&mut self) -> Result<(), String> {
        // Ringkeeper's own choice of engine.
        let engine = if Engine::probe().is_ok() {
            Engine::Uring
        } else {
            Engine::Epoll
        };
        for name in ["reads 32×1", "reads 32×16"] {
            let plan = self
                .loads()
                .into_iter()
                .find(|(mine, _)| *mine == name)
                .expect("it is one")
                .1;
            if self.wants(name) {
                let (step, outcome) = command::echo(&step(plan), engine, &self.args.below)?;
                self.put("echo", name, &of(&step, &outcome));
            }
        }
        Ok(())
    }

    fn idle(&mut self, product: &str) -> Result<(), String> {
        let running = self.start_server(product)?;
        let mut plan = self.plan(self.scale.sessions, 1, Mix::reads(100));
        plan.load = Load::Idle;
        plan.duration = Duration::from_secs_f64(self.scale.idle);
        let (step, outcome) = measure(&step(plan), &running)?;
        self.put(product, "idle sessions", &of(&step, &outcome));
        Ok(())
    }

    fn memory(&mut self, product: &str) -> Result<(), String> {
        let running = self.start_server(product)?;
        let layout = Layout {
            root: "/zk-bench".into(),
            count: self.scale.znodes,
            depth: 3,
        };
        fill::fill(running.address, &layout, &Plan::data(100), |_| {}).map_err(|error| error.to_string())?;
        std::thread::sleep(Duration::from_secs_f64(self.scale.warm_up));
        let resident = resident_mib(&running)?;
        let mut figures = vec![(RESIDENT.to_owned(), resident)];
        if product == PRODUCTS[1] {
            figures.push(("heap MiB".into(), heap_mib(running.pid())?));
        }
        self.put(product, "memory", &figures);
        Ok(())
    }

    fn start(&mut self, product: &str) -> Result<(), String> {
        let running = self.start_server(product)?;
        std::thread::sleep(Duration::from_millis(500));
        let figures = vec![
            (START.to_owned(), running.start_ms),
            (RESIDENT.to_owned(), resident_mib(&running)?),
        ];
        self.put(product, "start", &figures);
        Ok(())
    }

    fn plan(&self, connections: usize, in_flight: usize, mix: Mix) -> Plan {
        Plan {
            addresses: vec![],
            load: Load::Mix,
            connections,
            in_flight,
            threads: 1,
            mix,
            multi: 10,
            layout: Layout {
                root: "/zk-bench".into(),
                count: 1000,
                depth: 1,
            },
            skew: Skew::Uniform,
            data: Plan::data(1024),
            rate: None,
            writes_beside: None,
            session_timeout_ms: 30_000,
            warm_up: Duration::from_secs_f64(self.scale.warm_up),
            duration: Duration::from_secs_f64(self.scale.duration),
            seed: 1,
            is_failover: false,
        }
    }

    /// The loads that share a server, by the names that targets use.
    fn loads(&self) -> Vec<(&'static str, Plan)> {
        let mix = |text: &str| text.parse::<Mix>().expect("it is one");
        let plan = |connections, in_flight, text: &str| self.plan(connections, in_flight, mix(text));
        let (watchers, connections) = self.scale.watch;
        vec![
            ("reads 32×1", plan(32, 1, "get")),
            ("reads 32×16", plan(32, 16, "get")),
            ("mix 32×8", plan(32, 8, "get=10,set=1")),
            (WRITES, plan(32, 8, "set")),
            (
                "churn 32×8",
                Plan {
                    data: Plan::data(100),
                    ..plan(32, 8, "churn")
                },
            ),
            ("write 1×1", plan(1, 1, "set")),
            ("mix 256×4", plan(256, 4, "get=10,set=1")),
            ("multi 32×2", plan(32, 2, "multi")),
            (
                "watch",
                Plan {
                    load: Load::Watch(watchers),
                    data: Plan::data(100),
                    ..plan(connections, 1, "get")
                },
            ),
        ]
    }

    fn json(&self) -> serde_json::Value {
        let syncs = self
            .syncs
            .iter()
            .map(|(product, syncs)| json!({"server": product, "syncs": syncs.word()}));
        json!({"quick": self.args.quick, "machine": machine(), "syncs": syncs.collect::<Vec<_>>(), "rounds": self.rounds, "troubles": self.troubles})
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        if self.args.quick {
            text.push_str("**A quick run: these figures show that everything runs, and nothing else.**\n\n");
        }
        text.push_str(&format!(
            "{}. {} alternations, {} s measured per load, 1 generator thread on the same machine, 1 KB data and 1,000 \
             znodes where nothing else is said. Ringkeeper {} against Apache ZooKeeper 3.9.5 (JDK 17, -Xmx2g, its \
             defaults). Medians; quotients are taken round by round, their quartiles in brackets.\n\n",
            machine(),
            self.rounds.len(),
            self.scale.duration,
            env!("CARGO_PKG_VERSION")
        ));
        text.push_str(
            "| Load | Figure | Target | Ringkeeper | Against | Quotient | |\n|---|---|---|---|---|---|---|\n",
        );
        for target in targets() {
            if self.wants(target.key) {
                text.push_str(&self.line(&target));
            }
        }
        for trouble in &self.troubles {
            text.push_str(&format!(
                "\nNot measured: {}\n",
                trouble.lines().next().unwrap_or_default()
            ));
        }
        text
    }

    fn line(&self, target: &Target) -> String {
        let verdict = target.judge(&self.rounds);
        let head = format!("| {} | {} | {} |", target.load, target.figure, target.wanted());
        match verdict {
            None => format!("{head} – | – | – | not measured |\n"),
            Some(verdict) => {
                let Spread { low, median, high } = verdict.quotient;
                format!(
                    "{head} {} | {} | {} ({} … {}) | {} |\n",
                    short(verdict.ours),
                    short(verdict.against),
                    short(median),
                    short(low),
                    short(high),
                    if verdict.passes { "pass" } else { "**miss**" }
                )
            }
        }
    }
}

fn step(plan: Plan) -> Step {
    Step {
        name: String::new(),
        read_percent: None,
        plan,
    }
}

fn resident_mib(running: &Running) -> Result<f64, String> {
    let usage = super::process::Usage::of(running.pid())?;
    Ok(usage.resident_bytes as f64 / (1 << 20) as f64)
}
