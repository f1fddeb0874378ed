//! The charts of results: throughput and latency over time, percentiles, and sweeps.

use hdrhistogram::Histogram;

use super::args::Step;
use super::failover::Act;
use super::measure::INTERVAL_MS;
use super::plot::{Axis, Chart, Mark, Panel, Scale, Series};
use super::stage::Outcome;

/// Points of a line over time; more would only be noise.
const POINTS_MAX: usize = 300;

const SECONDS: Axis = Axis {
    label: "seconds",
    scale: Scale::Linear,
    starts_at_zero: true,
};
const PER_SECOND: Axis = Axis {
    label: "operations per second",
    scale: Scale::Linear,
    starts_at_zero: true,
};
const MILLISECONDS: Axis = Axis {
    label: "latency, ms",
    scale: Scale::Log,
    starts_at_zero: false,
};
const READS: Axis = Axis {
    label: "reads, % (the rest are writes)",
    scale: Scale::Linear,
    starts_at_zero: true,
};

/// The chart of a run. Several steps with a percentage of reads are a sweep.
pub fn of_run(results: &[(Step, Outcome)], acts: &[Act], subtitle: String) -> Chart {
    let is_sweep = results.len() > 1 && results.iter().all(|(step, _)| step.read_percent.is_some());
    let panels = if is_sweep {
        sweep(&[("", results.iter().map(|(step, outcome)| point(step, outcome)).collect())])
    } else {
        vec![
            over_time(results, acts),
            latency_over_time(results, acts),
            percentiles(results),
        ]
    };
    Chart {
        title: "zk-bench".into(),
        subtitle,
        panels,
    }
}

/// A place of a sweep.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Percentage of reads.
    pub read_percent: f64,
    /// Operations per second.
    pub per_second: f64,
    /// Latencies in ms.
    pub p50_ms: f64,
    /// See there.
    pub p99_ms: f64,
}

/// Where a step of a sweep came out.
pub fn point(step: &Step, outcome: &Outcome) -> Point {
    let all = outcome.seen.all();
    let ms = |percentile| all.value_at_percentile(percentile) as f64 / 1000.0;
    Point {
        read_percent: step.read_percent.unwrap_or(0).into(),
        per_second: all.len() as f64 / outcome.seconds,
        p50_ms: ms(50.0),
        p99_ms: ms(99.0),
    }
}

/// Throughput and latency by the share of reads, for each of some servers.
pub fn sweep(servers: &[(&str, Vec<Point>)]) -> Vec<Panel> {
    let line = |name: String, points: &[Point], value: fn(&Point) -> f64| Series {
        name,
        points: points.iter().map(|point| (point.read_percent, value(point))).collect(),
    };
    let named = |server: &str, what: &str| format!("{server} {what}").trim().to_owned();
    let throughput = servers.iter().map(|(server, points)| {
        line(
            named(server, if server.is_empty() { "throughput" } else { "" }),
            points,
            |p| p.per_second,
        )
    });
    let latency = servers.iter().flat_map(|(server, points)| {
        [
            line(named(server, "p50"), points, |p| p.p50_ms),
            line(named(server, "p99"), points, |p| p.p99_ms),
        ]
    });
    vec![
        Panel {
            title: "Throughput by share of reads".into(),
            x: READS,
            y: PER_SECOND,
            series: throughput.collect(),
            marks: vec![],
        },
        Panel {
            title: "Latency by share of reads".into(),
            x: READS,
            y: MILLISECONDS,
            series: latency.collect(),
            marks: vec![],
        },
    ]
}

fn over_time(results: &[(Step, Outcome)], acts: &[Act]) -> Panel {
    let line = |(step, outcome): &(Step, Outcome)| {
        // After the last answer there are no intervals, but there is time.
        let count = (outcome.seconds * 1000.0 / INTERVAL_MS as f64) as usize;
        let mut counts = outcome.seen.intervals.clone();
        counts.resize(count.max(1), 0);
        let group = counts
            .len()
            .div_ceil(POINTS_MAX)
            .max(if acts.is_empty() { 2 } else { 1 });
        let point = |(index, group_counts): (usize, &[u64])| {
            let seconds = group_counts.len() as f64 * INTERVAL_MS as f64 / 1000.0;
            let middle = (index * group) as f64 * INTERVAL_MS as f64 / 1000.0 + seconds / 2.0;
            (middle, group_counts.iter().sum::<u64>() as f64 / seconds)
        };
        Series {
            name: name_or(step, "throughput"),
            points: counts.chunks(group).enumerate().map(point).collect(),
        }
    };
    Panel {
        title: "Throughput over time".into(),
        x: SECONDS,
        y: PER_SECOND,
        series: results.iter().map(line).collect(),
        marks: marks(acts),
    }
}

fn latency_over_time(results: &[(Step, Outcome)], acts: &[Act]) -> Panel {
    let lines = |(step, outcome): &(Step, Outcome)| {
        let line = |name: &str, value: fn(&super::stage::Sample) -> u64| Series {
            name: format!("{} {name}", step.name).trim().to_owned(),
            points: outcome
                .samples
                .iter()
                .map(|sample| (sample.at_s, value(sample) as f64 / 1000.0))
                .collect(),
        };
        [line("p50", |sample| sample.p50_us), line("p99", |sample| sample.p99_us)]
    };
    Panel {
        title: "Latency over time, by quarters of a second".into(),
        x: SECONDS,
        y: MILLISECONDS,
        series: results.iter().flat_map(lines).collect(),
        marks: marks(acts),
    }
}

fn percentiles(results: &[(Step, Outcome)]) -> Panel {
    let lines = |(step, outcome): &(Step, Outcome)| -> Vec<Series> {
        let kinds = outcome.seen.by_kind();
        let of_kind = |name: &str, histogram: &Histogram<u64>| Series {
            name: format!("{} {name}", step.name).trim().to_owned(),
            points: by_percentile(histogram),
        };
        let mut all: Vec<Series> = kinds.map(|(kind, histogram)| of_kind(kind.word(), histogram)).collect();
        if let Some((name, rounds)) = &outcome.seen.rounds {
            all.push(of_kind(name, rounds));
        }
        all
    };
    Panel {
        title: "Latency by percentile".into(),
        x: Axis {
            label: "percentile of operations",
            scale: Scale::Percentile,
            starts_at_zero: true,
        },
        y: MILLISECONDS,
        series: results.iter().flat_map(lines).collect(),
        marks: vec![],
    }
}

/// Up to the percentile that the number of values can show.
fn by_percentile(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let nines = (histogram.len().max(1) as f64).log10();
    let steps = (1..=(nines.min(5.0) * 12.0) as u32).map(|step| 100.0 * (1.0 - 10f64.powf(-f64::from(step) / 12.0)));
    steps
        .map(|percentile| (percentile, histogram.value_at_percentile(percentile) as f64 / 1000.0))
        .collect()
}

fn marks(acts: &[Act]) -> Vec<Mark> {
    let mark = |act: &Act| Mark {
        x: act.at_s,
        label: format!("{} {}", if act.is_kill { "kill" } else { "start" }, act.server),
        is_bad: act.is_kill,
    };
    acts.iter().map(mark).collect()
}

fn name_or(step: &Step, otherwise: &str) -> String {
    if step.name.is_empty() {
        otherwise.to_owned()
    } else {
        step.name.clone()
    }
}
