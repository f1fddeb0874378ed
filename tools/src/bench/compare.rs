//! Two servers under the same load in turn, A B A B, so that a drifting machine hurts both alike.
//!
//! Each round starts one server with a fresh directory, lays the znodes out, loads it, and stops it with SIGTERM.
//! Ratios are taken between neighbours in time and reported as median and quartiles.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::measure::Seen;
use super::plan::Plan;
use super::process::Usage;
use super::{drive, fill, report};

/// One measured round.
pub struct Round {
    /// Operations per second.
    pub throughput: f64,
    /// Microseconds of the server's CPU per operation.
    pub cpu_us: f64,
    /// Latencies in microseconds: median, 99th and 99.9th percentile, largest.
    pub latency_us: [u64; 4],
    /// Memory at the end.
    pub resident_mib: f64,
    /// From the start of the process to the first answered session, ms.
    pub start_ms: f64,
}

/// How a figure is read from a round.
type Figure = fn(&Round) -> f64;

/// The figures of a round, by name; a smaller one is better except for throughput.
pub const FIGURES: [(&str, Figure); 8] = [
    ("operations per second", |round| round.throughput),
    ("CPU µs per operation", |round| round.cpu_us),
    ("p50 µs", |round| round.latency_us[0] as f64),
    ("p99 µs", |round| round.latency_us[1] as f64),
    ("p99.9 µs", |round| round.latency_us[2] as f64),
    ("max µs", |round| round.latency_us[3] as f64),
    ("resident MiB", |round| round.resident_mib),
    ("start to first session ms", |round| round.start_ms),
];

/// A started server; stopped when dropped.
pub struct Running {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// How long it took to answer a first session.
    pub start_ms: f64,
    _directory: tempfile::TempDir,
}

/// Servers get so long to answer.
const START_MAX: Duration = Duration::from_secs(60);

impl Running {
    /// Runs `command` by the shell; `{port}` becomes a free loopback port and `{dir}` a fresh directory below `below`.
    pub fn start(command: &str, below: &Path) -> io::Result<Running> {
        let directory = tempfile::Builder::new().prefix("zk-bench-").tempdir_in(below)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let text = command
            .replace("{port}", &port.to_string())
            .replace("{dir}", &directory.path().display().to_string());
        let log = std::fs::File::create(directory.path().join("server.log"))?;
        let started = Instant::now();
        let child = Command::new("sh")
            .args(["-c", &format!("exec {text}")])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut running = Running {
            child,
            address,
            start_ms: 0.0,
            _directory: directory,
        };
        running.wait(&text, started)?;
        Ok(running)
    }

    fn wait(&mut self, text: &str, started: Instant) -> io::Result<()> {
        while started.elapsed() < START_MAX {
            if TcpStream::connect(self.address).is_ok()
                && super::conn::Conn::open(self.address, 0, Duration::from_secs(5)).is_ok()
            {
                self.start_ms = started.elapsed().as_secs_f64() * 1000.0;
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                let log = std::fs::read_to_string(self._directory.path().join("server.log")).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                return Err(io::Error::other(format!(
                    "'{text}' ended with {status}:\n{}",
                    tail.join("\n")
                )));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(io::Error::other(format!(
            "'{text}' did not answer on {} within {START_MAX:?}",
            self.address
        )))
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(&pid).status();
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(10) {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Loads a server and measures it from measuring's begin to its end.
pub fn load(plan: &Plan, pid: Option<u32>) -> Result<report::Result, String> {
    let meter = pid.map(|pid| {
        let (warm_up, duration) = (plan.warm_up, plan.duration);
        std::thread::spawn(move || {
            std::thread::sleep(warm_up);
            let before = Usage::of(pid)?;
            std::thread::sleep(duration);
            Ok::<_, String>((before, Usage::of(pid)?))
        })
    });
    let seen: Seen = drive::run(plan).map_err(|error| error.to_string())?;
    let usage = meter
        .map(|meter| meter.join().expect("the meter does not panic"))
        .transpose()?;
    Ok(report::Result { seen, usage })
}

/// One round with one server.
pub fn round(plan: &Plan, command: &str, below: &Path) -> Result<Round, String> {
    let running = Running::start(command, below).map_err(|error| error.to_string())?;
    let plan = Plan {
        addresses: vec![running.address],
        ..plan.clone()
    };
    fill::fill(running.address, &plan.layout, &plan.data, |_| {}).map_err(|error| error.to_string())?;
    let result = load(&plan, Some(running.pid()))?;
    if !result.seen.errors.is_empty() || result.seen.lost_connections > 0 {
        return Err(format!(
            "'{command}' answered with errors:\n{}",
            report::table(&plan, &result)
        ));
    }
    let cost = report::cost(&result).expect("the process was measured");
    let all = result.seen.all();
    Ok(Round {
        throughput: result.seen.count() as f64 / plan.duration.as_secs_f64(),
        cpu_us: cost.cpu_us_per_op,
        latency_us: [50.0, 99.0, 99.9, 100.0].map(|percentile| all.value_at_percentile(percentile)),
        resident_mib: cost.resident_mib,
        start_ms: running.start_ms,
    })
}

/// Median and quartiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// A quarter lies below.
    pub low: f64,
    /// Half lies below.
    pub median: f64,
    /// Three quarters lie below.
    pub high: f64,
}

impl Spread {
    /// Of at least one value.
    pub fn of(mut values: Vec<f64>) -> Spread {
        assert!(!values.is_empty(), "a spread needs values");
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (values.len() - 1) as f64;
            let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Spread {
            low: at(0.25),
            median: at(0.5),
            high: at(0.75),
        }
    }
}

/// The table of a comparison: medians of both and the spread of the neighbours' ratios A to B.
pub fn table(a: &[Round], b: &[Round]) -> String {
    let mut text = format!("{:<28}{:>12}{:>12}{:>10}   quartiles\n", "median", "A", "B", "A / B");
    for (name, figure) in FIGURES {
        let (of_a, of_b): (Vec<f64>, Vec<f64>) = (a.iter().map(figure).collect(), b.iter().map(figure).collect());
        let ratios = Spread::of(
            of_a.iter()
                .zip(&of_b)
                .map(|(a, b)| a / b.max(f64::MIN_POSITIVE))
                .collect(),
        );
        let (a, b) = (Spread::of(of_a).median, Spread::of(of_b).median);
        text.push_str(&format!(
            "{name:<28}{a:>12.1}{b:>12.1}{:>10.3}   {:.3} to {:.3}\n",
            ratios.median, ratios.low, ratios.high
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles() {
        assert_eq!(
            Spread::of(vec![3.0, 1.0, 2.0, 5.0, 4.0]),
            Spread {
                low: 2.0,
                median: 3.0,
                high: 4.0
            }
        );
        assert_eq!(Spread::of(vec![1.0, 2.0]).median, 1.5);
    }

    #[test]
    fn a_command_that_ends_is_named() {
        let error = Running::start("echo no such thing; exit 3", Path::new("/tmp"))
            .err()
            .expect("it ends");
        assert!(error.to_string().contains("ended with exit status: "), "{error}");
    }
}
