//! What Ringkeeper must reach, as data: quotients of what a round measured, and their bounds.

use super::compare::{CPU, RESIDENT, SESSION_CPU, START, Spread, THROUGHPUT};
use super::floor::FDATASYNC;
use super::table::Measured;
use super::{idle, watch};

/// One line of the table.
pub struct Target {
    /// The load, for people.
    pub load: &'static str,
    /// The load's name in a round's map.
    pub key: &'static str,
    /// The figure, for people.
    pub figure: &'static str,
    /// Of Ringkeeper.
    ours: fn(&Round<'_>) -> Option<f64>,
    /// Of ZooKeeper, the floor or the limit.
    against: fn(&Round<'_>) -> Option<f64>,
    /// What `against` is.
    against_name: &'static str,
    bound: Bound,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// How a target came out.
pub struct Verdict {
    /// Median.
    pub ours: f64,
    /// Median.
    pub against: f64,
    /// Of each round.
    pub quotient: Spread,
    /// Whether its median keeps the bound.
    pub passes: bool,
}

/// A round's map, asked for one load.
pub struct Round<'a> {
    measured: &'a Measured,
    key: &'a str,
}

impl Round<'_> {
    fn at(&self, server: &str, load: &str, figure: &str) -> Option<f64> {
        self.measured.get(&format!("{server}/{load}/{figure}")).copied()
    }

    fn ours(&self, figure: &str) -> Option<f64> {
        self.at("ringkeeper", self.key, figure)
    }

    fn theirs(&self, figure: &str) -> Option<f64> {
        self.at("zookeeper", self.key, figure)
    }
}

impl Target {
    /// Its bound, for people.
    pub fn wanted(&self) -> String {
        let times = match self.against_name {
            "" => String::new(),
            name => format!(" × {name}"),
        };
        match self.bound {
            Bound::AtMost(bound) => format!("≤ {}{times}", fraction(bound)),
            Bound::AtLeast(bound) => format!("≥ {}{times}", fraction(bound)),
        }
    }

    /// From the rounds that have both numbers; `None` without any.
    pub fn judge(&self, rounds: &[Measured]) -> Option<Verdict> {
        let of_round = |measured| {
            let round = Round {
                measured,
                key: self.key,
            };
            Some(((self.ours)(&round)?, (self.against)(&round)?))
        };
        let pairs: Vec<(f64, f64)> = rounds.iter().filter_map(of_round).collect();
        if pairs.is_empty() {
            return None;
        }
        let median = |side: fn(&(f64, f64)) -> f64| Spread::of(pairs.iter().map(side).collect()).median;
        let quotients = pairs
            .iter()
            .map(|(ours, against)| ours / against.max(f64::MIN_POSITIVE));
        let quotient = Spread::of(quotients.collect());
        Some(Verdict {
            ours: median(|pair| pair.0),
            against: median(|pair| pair.1),
            passes: match self.bound {
                Bound::AtMost(bound) => quotient.median <= bound,
                Bound::AtLeast(bound) => quotient.median >= bound,
            },
            quotient,
        })
    }
}

/// 1/7 says more than its digits.
fn fraction(bound: f64) -> String {
    let whole = 1.0 / bound;
    if whole > 1.5 && (whole - whole.round()).abs() < 1e-9 {
        format!("1/{whole:.0}")
    } else {
        bound.to_string()
    }
}

/// The table of the project's goals, in its order.
pub fn targets() -> Vec<Target> {
    let mut all = Vec::new();
    for (load, key, figures) in AGAINST_ZOOKEEPER {
        all.extend(
            figures
                .iter()
                .map(|(figure, bound)| against_zookeeper(load, key, *figure, *bound)),
        );
    }
    all.extend(others());
    all
}

type Row = (&'static str, &'static str, &'static [(Figure, Bound)]);

const AGAINST_ZOOKEEPER: &[Row] = &[
    (
        "reads, 32 connections, 1 in flight",
        "reads 32×1",
        &[
            (Figure::Cpu, Bound::AtMost(0.2)),
            (Figure::Throughput, Bound::AtLeast(3.0)),
            (Figure::P99, Bound::AtMost(0.25)),
        ],
    ),
    (
        "reads, 32 connections, 16 in flight",
        "reads 32×16",
        &[(Figure::Cpu, Bound::AtMost(0.1))],
    ),
    (
        "10:1 mix, 32 connections, 8 in flight",
        "mix 32×8",
        &[
            (Figure::Cpu, Bound::AtMost(1.0 / 7.0)),
            (Figure::P99, Bound::AtMost(0.25)),
        ],
    ),
    (
        "writes, 32 connections, 8 in flight",
        "writes 32×8",
        &[
            (Figure::Cpu, Bound::AtMost(0.2)),
            (Figure::Throughput, Bound::AtLeast(3.0)),
            (Figure::P99, Bound::AtMost(1.0 / 3.0)),
        ],
    ),
    (
        "create/delete churn, 100 B, 32 connections, 8 in flight",
        "churn 32×8",
        &[(Figure::Throughput, Bound::AtLeast(3.0))],
    ),
    (
        "1 connection, 1 write in flight",
        "write 1×1",
        &[(Figure::P50, Bound::AtMost(1.0))],
    ),
    (
        "256 connections, 4 in flight, 10:1",
        "mix 256×4",
        &[(Figure::P999, Bound::AtMost(0.25))],
    ),
    (
        "multi of 10 sets, 32 connections, 2 in flight",
        "multi 32×2",
        // Five times the operations per CPU-second are a fifth of the CPU per operation.
        &[(Figure::Cpu, Bound::AtMost(0.2))],
    ),
    (
        "one change, 10,000 watchers on 100 connections",
        "watch",
        &[(Figure::LastEvent, Bound::AtMost(0.25))],
    ),
    (
        "5,000 idle sessions pinging",
        "idle sessions",
        &[
            (Figure::SessionCpu, Bound::AtMost(0.2)),
            (Figure::SessionMemory, Bound::AtMost(0.2)),
        ],
    ),
    (
        "1 million znodes of 100 B",
        "memory",
        &[(Figure::Resident, Bound::AtMost(0.25))],
    ),
];

#[derive(Clone, Copy)]
enum Figure {
    Cpu,
    Throughput,
    P50,
    P99,
    P999,
    LastEvent,
    SessionCpu,
    SessionMemory,
    Resident,
}

/// The same figure of both.
fn against_zookeeper(load: &'static str, key: &'static str, figure: Figure, bound: Bound) -> Target {
    macro_rules! target {
        ($name:literal, $figure:expr) => {
            Target {
                load,
                key,
                figure: $name,
                ours: |round| round.ours($figure),
                against: |round| round.theirs($figure),
                against_name: "ZooKeeper",
                bound,
            }
        };
    }
    match figure {
        Figure::Cpu => target!("CPU per operation, µs", CPU),
        Figure::Throughput => target!("operations per second", THROUGHPUT),
        Figure::P50 => target!("p50, ms", "p50 ms"),
        Figure::P99 => target!("p99, ms", "p99 ms"),
        Figure::P999 => target!("p99.9, ms", "p99.9 ms"),
        Figure::LastEvent => target!("last event, median, ms", &format!("{} p50 ms", watch::ROUND)),
        Figure::SessionCpu => target!("CPU per session and second, µs", SESSION_CPU),
        Figure::SessionMemory => target!("memory per session, KiB", idle::MEMORY),
        Figure::Resident => target!("resident memory, MiB", RESIDENT),
    }
}

/// What is not one figure of both servers.
fn others() -> Vec<Target> {
    vec![
        Target {
            load: "1 million znodes of 100 B",
            key: "memory",
            figure: "resident memory against ZooKeeper's heap after a full collection, MiB",
            ours: |round| round.ours(RESIDENT),
            against: |round| round.theirs("heap MiB"),
            against_name: "its heap",
            bound: Bound::AtMost(0.65),
        },
        Target {
            load: "1 connection, 1 write in flight",
            key: "write 1×1",
            figure: "p50 against 1.25 × fdatasync + 60 µs, ms",
            ours: |round| round.ours("p50 ms"),
            against: |round| Some(1.25 * round.at("disk", FDATASYNC, "p50 ms")? + 0.06),
            against_name: "the limit",
            bound: Bound::AtMost(1.0),
        },
        Target {
            load: "server without data",
            key: "start",
            figure: "resident memory, MiB",
            ours: |round| round.ours(RESIDENT),
            against: |_| Some(15.0),
            against_name: "15 MiB",
            bound: Bound::AtMost(1.0),
        },
        Target {
            load: "start without data",
            key: "start",
            figure: "to the first reply, ms",
            ours: |round| round.ours(START),
            against: |_| Some(50.0),
            against_name: "50 ms",
            bound: Bound::AtMost(1.0),
        },
        echo("reads, 1 in flight, against the echo", "reads 32×1", 1.5),
        echo("reads, 16 in flight, against the echo", "reads 32×16", 4.0),
        Target {
            load: "2,000 reads/s beside writes at half of their maximum",
            key: "reads beside writes",
            figure: "p99 of reads against 1.3 × alone + one sync, ms",
            ours: |round| round.ours("get p99 ms"),
            against: |round| {
                let alone = round.at("ringkeeper", "reads alone", "p99 ms")?;
                Some(1.3 * alone + round.at("disk", FDATASYNC, "p50 ms")?)
            },
            against_name: "the limit",
            bound: Bound::AtMost(1.0),
        },
    ]
}

fn echo(load: &'static str, key: &'static str, bound: f64) -> Target {
    Target {
        load,
        key,
        figure: "CPU per operation, µs",
        ours: |round| round.ours(CPU),
        against: |round| round.at("echo", round.key, CPU),
        against_name: "the echo",
        bound: Bound::AtMost(bound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(values: &[(&str, f64)]) -> Vec<Measured> {
        let round: Measured = values.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
        vec![round.clone(), round]
    }

    #[test]
    fn bounds_decide() {
        let verdict = |cpu: f64| {
            let measured = rounds(&[
                ("ringkeeper/reads 32×1/CPU µs per operation", cpu),
                ("zookeeper/reads 32×1/CPU µs per operation", 10.0),
            ]);
            targets()[0].judge(&measured)
        };
        assert!(verdict(1.9).is_some_and(|verdict| verdict.passes && verdict.quotient.median == 0.19));
        assert!(verdict(2.1).is_some_and(|verdict| !verdict.passes));
        assert!(targets()[0].judge(&rounds(&[])).is_none());
        assert_eq!(targets()[0].wanted(), "≤ 1/5 × ZooKeeper");
        assert_eq!((fraction(3.0), fraction(0.65)), ("3".into(), "0.65".into()));
    }

    #[test]
    fn a_lone_write_is_held_against_the_disk() {
        let target = targets()
            .into_iter()
            .find(|target| target.against_name == "the limit")
            .expect("one");
        let measured = rounds(&[
            ("ringkeeper/write 1×1/p50 ms", 1.0),
            ("disk/write and fdatasync/p50 ms", 0.8),
        ]);
        let verdict = target.judge(&measured).expect("both are there");
        assert!(verdict.passes && (verdict.against - 1.06).abs() < 1e-9);
    }
}
