//! A run's result, for people and for programs.

use std::fmt::Write;

use hdrhistogram::Histogram;
use ringkeeper::wire::error::ErrorCode;
use serde_json::{Value, json};

use super::measure::Seen;
use super::plan::Plan;
use super::process::Usage;

/// What a run gave.
pub struct Result {
    /// What was seen.
    pub seen: Seen,
    /// The server's counters at the beginning and the end of the whole load, warm-up included, if it is local.
    pub usage: Option<(Usage, Usage)>,
}

const PERCENTILES: [(&str, f64); 5] = [
    ("p50", 50.0),
    ("p90", 90.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("max", 100.0),
];

fn error_name(code: i32) -> String {
    ErrorCode::from_code(code).map_or_else(|| code.to_string(), |known| known.java_name().to_owned())
}

/// The table.
pub fn table(plan: &Plan, result: &Result) -> String {
    let seconds = plan.duration.as_secs_f64();
    let mut text = format!("{:<12}{:>12}{:>12}", "operation", "count", "per second");
    PERCENTILES
        .iter()
        .for_each(|(name, _)| write!(text, "{:>10}", format!("{name} ms")).expect("a String takes it"));
    text.push('\n');
    let mut line = |name: &str, histogram: &Histogram<u64>| {
        write!(
            text,
            "{name:<12}{:>12}{:>12.0}",
            histogram.len(),
            histogram.len() as f64 / seconds
        )
        .expect("a String takes it");
        for (_, percentile) in PERCENTILES {
            write!(
                text,
                "{:>10.3}",
                histogram.value_at_percentile(percentile) as f64 / 1000.0
            )
            .expect("a String takes it");
        }
        text.push('\n');
    };
    result
        .seen
        .by_kind()
        .for_each(|(kind, histogram)| line(kind.word(), histogram));
    line("all", &result.seen.all());
    for ((kind, code), count) in &result.seen.errors {
        writeln!(text, "errors: {count} × {} at {}", error_name(*code), kind.word()).expect("a String takes it");
    }
    if result.seen.lost_connections > 0 {
        writeln!(text, "lost connections: {}", result.seen.lost_connections).expect("a String takes it");
    }
    if let Some(cost) = cost(result) {
        writeln!(
            text,
            "server: {:.2} µs CPU per operation, {:.1} MiB resident, {:.0} bytes written per operation",
            cost.cpu_us_per_op, cost.resident_mib, cost.written_per_op
        )
        .expect("a String takes it");
    }
    text
}

/// The server's cost.
pub struct Cost {
    /// CPU time per operation.
    pub cpu_us_per_op: f64,
    /// Memory at the end.
    pub resident_mib: f64,
    /// To the disk.
    pub written_per_op: f64,
}

/// Only operations of the measured time are counted, so the counters must have been read around that.
pub fn cost(result: &Result) -> Option<Cost> {
    let (before, after) = result.usage?;
    let operations = result.seen.count().max(1) as f64;
    Some(Cost {
        cpu_us_per_op: (after.cpu_us - before.cpu_us) as f64 / operations,
        resident_mib: after.resident_bytes as f64 / (1 << 20) as f64,
        written_per_op: (after.written_bytes - before.written_bytes) as f64 / operations,
    })
}

/// The JSON object.
pub fn json(plan: &Plan, result: &Result) -> Value {
    let seconds = plan.duration.as_secs_f64();
    let latencies = |histogram: &Histogram<u64>| {
        let mut object = json!({"count": histogram.len(), "per_second": histogram.len() as f64 / seconds, "mean_us": histogram.mean()});
        for (name, percentile) in PERCENTILES {
            object[format!("{}_us", name.replace('.', "_"))] = histogram.value_at_percentile(percentile).into();
        }
        object
    };
    let operations: serde_json::Map<String, Value> = result
        .seen
        .by_kind()
        .map(|(kind, histogram)| (kind.word().to_owned(), latencies(histogram)))
        .collect();
    let errors: Vec<Value> = result
        .seen
        .errors
        .iter()
        .map(|((kind, code), count)| json!({"operation": kind.word(), "code": code, "name": error_name(*code), "count": count}))
        .collect();
    let server = cost(result).map(|cost| {
        json!({"cpu_us_per_operation": cost.cpu_us_per_op, "resident_mib": cost.resident_mib, "written_bytes_per_operation": cost.written_per_op})
    });
    json!({
        "load": {"connections": plan.connections, "in_flight": plan.in_flight, "threads": plan.threads, "mix": plan.mix.to_string(),
                 "nodes": plan.layout.count, "depth": plan.layout.depth, "size": plan.data.len(), "rate": plan.rate, "seconds": seconds, "seed": plan.seed},
        "all": latencies(&result.seen.all()),
        "operations": operations,
        "errors": errors,
        "lost_connections": result.seen.lost_connections,
        "intervals_100ms": result.seen.intervals,
        "server": server,
    })
}
