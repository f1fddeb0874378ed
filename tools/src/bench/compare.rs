//! Two servers under the same load in turn, A B A B, so that a drifting machine hurts both alike.
//!
//! Each round starts one server with a fresh directory, runs every step of the load, and stops it with SIGTERM.
//! Ratios are taken between neighbours in time and reported as median and quartiles.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::args::Step;
use super::figures::Point;
use super::report;
use super::servers::{self, Running};
use super::stage::Outcome;
use super::syncs::{self, Syncs};

/// Figures of one measured load, by name with the unit.
pub type Figures = Vec<(String, f64)>;

/// Operations per second.
pub const THROUGHPUT: &str = "operations per second";
/// Of the server, or of all members together.
pub const CPU: &str = "CPU µs per operation";
/// Of the server, where the load is sessions.
pub const SESSION_CPU: &str = "CPU µs per session and second";
/// At the end of the load.
pub const RESIDENT: &str = "resident MiB";
/// From the start of the process to the first answered session.
pub const START: &str = "start to first reply ms";

/// One server's round.
pub struct Round {
    /// What was measured.
    pub figures: Figures,
    /// The places of a sweep.
    pub points: Vec<Point>,
    /// Whether the server syncs.
    pub syncs: Syncs,
    /// What a reader must know.
    pub warnings: Vec<String>,
}

/// One round with one server, or with an ensemble of so many members.
pub fn round(steps: &[Step], command: &str, below: &Path, members: u32) -> Result<Round, String> {
    let running = servers::start_all(command, below, members).map_err(|error| error.to_string())?;
    let addresses: Vec<SocketAddr> = running.iter().map(|server| server.address).collect();
    let pids: Vec<u32> = running.iter().map(Running::pid).collect();
    let syncs = syncs::judge(&addresses, &pids);
    let (mut figures, mut points, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    for step in steps {
        let (step, outcome) = measure_all(step, &running)?;
        warnings.extend(report::warnings(&step, &outcome));
        let named = |(name, value): (String, f64)| {
            if step.name.is_empty() {
                (name, value)
            } else {
                (format!("{}: {name}", step.name), value)
            }
        };
        figures.extend(of(&step, &outcome).into_iter().map(named));
        if step.read_percent.is_some() {
            points.push(super::figures::point(&step, &outcome));
        }
    }
    let start_ms = running.iter().map(|server| server.start_ms).fold(0.0, f64::max);
    figures.push((START.into(), start_ms));
    Ok(Round {
        figures,
        points,
        syncs,
        warnings,
    })
}

/// Lays out and runs one step on a started server. Errors fail it: figures of a load that was refused say nothing.
pub fn measure(step: &Step, running: &Running) -> Result<(Step, Outcome), String> {
    measure_all(step, std::slice::from_ref(running))
}

/// The same on all members of an ensemble, connections spread over them.
fn measure_all(step: &Step, running: &[Running]) -> Result<(Step, Outcome), String> {
    let mut step = step.clone();
    step.plan.addresses = running.iter().map(|server| server.address).collect();
    step.plan.fill(|_| {})?;
    let pids: Vec<u32> = running.iter().map(Running::pid).collect();
    let outcome = step.plan.run(&pids, false)?;
    if !outcome.seen.errors.is_empty() || outcome.seen.lost_connections > 0 {
        return Err(format!(
            "the server answered with errors:\n{}",
            report::table(&step, &outcome)
        ));
    }
    Ok((step, outcome))
}

/// The figures of one load.
pub fn of(step: &Step, outcome: &Outcome) -> Figures {
    let (seen, all) = (&outcome.seen, outcome.seen.all());
    let ms = |us: u64| us as f64 / 1000.0;
    let mut figures = vec![(THROUGHPUT.to_owned(), all.len() as f64 / outcome.seconds)];
    // Of all servers together.
    let costs = report::costs(step, outcome);
    if !costs.is_empty() {
        figures.push((CPU.into(), costs.iter().map(|cost| cost.cpu_us_per_op).sum()));
    }
    let per_session: Option<f64> = costs.iter().map(|cost| cost.cpu_us_per_session_s).sum();
    figures.extend(
        per_session
            .filter(|_| !costs.is_empty())
            .map(|us| (SESSION_CPU.to_owned(), us)),
    );
    for (name, percentile) in report::PERCENTILES {
        figures.push((format!("{name} ms"), ms(all.value_at_percentile(percentile))));
    }
    if seen.by_kind().count() > 1 {
        for (kind, histogram) in seen.by_kind() {
            for (name, percentile) in [("p50", 50.0), ("p99", 99.0)] {
                let value = ms(histogram.value_at_percentile(percentile));
                figures.push((format!("{} {name} ms", kind.word()), value));
            }
        }
    }
    if let Some((what, rounds)) = &seen.rounds {
        for (name, percentile) in [("p50", 50.0), ("p99", 99.0), ("max", 100.0)] {
            figures.push((format!("{what} {name} ms"), ms(rounds.value_at_percentile(percentile))));
        }
    }
    figures.extend(seen.extra.iter().map(|(name, value)| ((*name).to_owned(), *value)));
    if !costs.is_empty() {
        figures.push((RESIDENT.into(), costs.iter().map(|cost| cost.resident_mib).sum()));
    }
    figures
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

    fn json(self) -> Value {
        json!({"quartile_1": self.low, "median": self.median, "quartile_3": self.high})
    }
}

/// One figure over all rounds.
pub struct Compared {
    /// With its unit.
    pub name: String,
    /// Of A.
    pub a: Spread,
    /// Of B.
    pub b: Spread,
    /// Of the neighbours' quotients A / B.
    pub ratio: Spread,
}

/// Every figure that all rounds of both have.
pub fn compared(a: &[Round], b: &[Round]) -> Vec<Compared> {
    let values = |rounds: &[Round], name: &str| -> Option<Vec<f64>> {
        let value = |round: &Round| {
            round
                .figures
                .iter()
                .find(|(mine, _)| mine == name)
                .map(|(_, value)| *value)
        };
        rounds.iter().map(value).collect()
    };
    let names = a.first().into_iter().flat_map(|round| &round.figures);
    names
        .filter_map(|(name, _)| {
            let (of_a, of_b) = (values(a, name)?, values(b, name)?);
            let quotients = of_a.iter().zip(&of_b).map(|(a, b)| a / b.max(f64::MIN_POSITIVE));
            Some(Compared {
                name: name.clone(),
                ratio: Spread::of(quotients.collect()),
                a: Spread::of(of_a),
                b: Spread::of(of_b),
            })
        })
        .collect()
}

/// For people.
pub fn table<'c>(compared: impl Iterator<Item = &'c Compared> + Clone) -> String {
    let width = compared
        .clone()
        .map(|one| one.name.chars().count())
        .max()
        .unwrap_or(0)
        .max(24)
        + 2;
    let head = |name: &str| format!("{name:>11} {:>19}", "quartiles");
    let mut text = format!("{:<width$}{}{}{}\n", "median of", head("A"), head("B"), head("A / B"));
    let cell = |spread: &Spread| {
        format!(
            "{:>11} {:>19}",
            short(spread.median),
            format!("{} … {}", short(spread.low), short(spread.high))
        )
    };
    for one in compared {
        text.push_str(&format!(
            "{:<width$}{}{}{}\n",
            one.name,
            cell(&one.a),
            cell(&one.b),
            cell(&one.ratio)
        ));
    }
    text
}

/// The figures that a line of [`steps_table`] has room for.
const OF_A_STEP: [&str; 5] = [THROUGHPUT, CPU, "p50 ms", "p99 ms", "p99.9 ms"];

/// For people, where the load has several steps: a line for each, with medians of both and of the quotients.
pub fn steps_table(steps: &[Step], compared: &[Compared]) -> String {
    let mut text = format!(
        "{:<14}{:>12}{:>12}   quotients A / B: {:>9}{:>9}{:>9}{:>9}{:>9}\n",
        "operations/s", "A", "B", "rate", "CPU", "p50", "p99", "p99.9"
    );
    for step in steps {
        let find = |figure: &str| {
            let name = format!("{}: {figure}", step.name);
            compared.iter().find(|one| one.name == name)
        };
        let Some(rate) = find(THROUGHPUT) else {
            continue;
        };
        text.push_str(&format!(
            "{:<14}{:>12.0}{:>12.0}{:20}",
            step.name, rate.a.median, rate.b.median, ""
        ));
        for figure in OF_A_STEP {
            let quotient = find(figure).map_or("-".to_owned(), |one| short(one.ratio.median));
            text.push_str(&format!("{quotient:>9}"));
        }
        text.push('\n');
    }
    text
}

/// Three or more digits that say something.
pub fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// For programs.
pub fn json(commands: [&str; 2], a: &[Round], b: &[Round], compared: &[Compared]) -> Value {
    let side = |command: &str, rounds: &[Round]| {
        let figures = |round: &Round| -> Map<String, Value> {
            let values = round.figures.iter();
            values.map(|(name, value)| (name.clone(), json!(value))).collect()
        };
        let syncs = rounds.first().map(|round| round.syncs.word());
        json!({"command": command, "syncs": syncs, "rounds": rounds.iter().map(figures).collect::<Vec<_>>()})
    };
    let figures: Map<String, Value> = compared
        .iter()
        .map(|one| {
            let spreads = json!({"a": one.a.json(), "b": one.b.json(), "ratio": one.ratio.json()});
            (one.name.clone(), spreads)
        })
        .collect();
    json!({"a": side(commands[0], a), "b": side(commands[1], b), "figures": figures})
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
    fn ratios_are_of_neighbours() {
        let round = |value: f64| Round {
            figures: vec![(CPU.into(), value)],
            points: vec![],
            syncs: Syncs::On(String::new()),
            warnings: vec![],
        };
        // The machine slows down: the medians drift, the quotients do not.
        let (a, b) = ([1.0, 2.0, 3.0].map(round), [4.0, 8.0, 12.0].map(round));
        let found = compared(&a, &b);
        assert_eq!((found.len(), found[0].a.median, found[0].b.median), (1, 2.0, 8.0));
        let quarter = Spread {
            low: 0.25,
            median: 0.25,
            high: 0.25,
        };
        assert_eq!(found[0].ratio, quarter);
    }
}
