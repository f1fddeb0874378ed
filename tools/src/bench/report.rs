//! A load's result, for people and for programs.

use std::fmt::Write;

use hdrhistogram::Histogram;
use ringkeeper::wire::error::ErrorCode;
use serde_json::{Map, Value, json};

use super::args::Step;
use super::measure::{CONNECTION_LOSS, INTERVAL_MS};
use super::plan::Load;
use super::stage::Outcome;
use super::syncs::Syncs;

/// The percentiles of every table.
pub const PERCENTILES: [(&str, f64); 5] = [
    ("p50", 50.0),
    ("p90", 90.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("max", 100.0),
];

fn error_name(code: i32) -> String {
    if code == CONNECTION_LOSS {
        return "ConnectionLoss".into();
    }
    ErrorCode::from_code(code).map_or_else(|| code.to_string(), |known| known.java_name().to_owned())
}

/// The tables of one load.
pub fn table(step: &Step, outcome: &Outcome) -> String {
    let mut text = String::new();
    // A String takes everything.
    let _ = write_table(&mut text, step, outcome);
    text
}

fn write_table(text: &mut String, step: &Step, outcome: &Outcome) -> std::fmt::Result {
    let seen = &outcome.seen;
    if !step.name.is_empty() {
        writeln!(text, "{}", step.name)?;
    }
    writeln!(text, "{}; {:.1} s measured", step.plan.line(), outcome.seconds)?;
    write!(text, "{:<12}{:>12}{:>12}", "operation", "count", "per second")?;
    for (name, _) in PERCENTILES {
        write!(text, "{:>10}", format!("{name} ms"))?;
    }
    text.push('\n');
    for (kind, histogram) in seen.by_kind() {
        write_line(text, kind.word(), histogram, outcome.seconds)?;
    }
    if seen.by_kind().count() != 1 {
        write_line(text, "all", &seen.all(), outcome.seconds)?;
    }
    if let Some((name, rounds)) = &seen.rounds {
        write_line(text, name, rounds, outcome.seconds)?;
    }
    for (name, value) in &seen.extra {
        writeln!(text, "{name}: {value:.1}")?;
    }
    for ((kind, code), count) in &seen.errors {
        writeln!(text, "errors: {count} × {} at {}", error_name(*code), kind.word())?;
    }
    if seen.errors.is_empty() {
        writeln!(text, "errors: none")?;
    }
    if seen.lost_connections > 0 {
        writeln!(
            text,
            "lost connections: {} ({} made again, {} attempts failed)",
            seen.lost_connections, seen.reconnected, seen.failed_connects
        )?;
    }
    for cost in costs(step, outcome) {
        writeln!(text, "{}", cost.line())?;
    }
    writeln!(
        text,
        "generator: {:.2} processors, its busiest thread {:.0} % busy; machine {:.0} % idle",
        outcome.generator_cpu_us as f64 / 1e6 / outcome.seconds,
        outcome.busiest_thread * 100.0,
        outcome.machine_idle * 100.0
    )?;
    for warning in warnings(step, outcome) {
        writeln!(text, "WARNING: {warning}")?;
    }
    if seen.left_behind > 0 {
        writeln!(
            text,
            "{} znodes stay below {}: `zk-bench clean` removes them",
            seen.left_behind,
            step.plan.layout.own()
        )?;
    }
    Ok(())
}

fn write_line(text: &mut String, name: &str, histogram: &Histogram<u64>, seconds: f64) -> std::fmt::Result {
    let per_second = histogram.len() as f64 / seconds;
    write!(text, "{name:<12}{:>12}{per_second:>12.1}", histogram.len())?;
    for (_, percentile) in PERCENTILES {
        let ms = histogram.value_at_percentile(percentile) as f64 / 1000.0;
        write!(text, "{ms:>10.3}")?;
    }
    text.push('\n');
    Ok(())
}

/// What a reader must know before believing the figures.
pub fn warnings(step: &Step, outcome: &Outcome) -> Vec<String> {
    let mut all = outcome.warnings();
    let behind = outcome.seen.behind;
    if behind > 0 {
        let rates = [step.plan.rate, step.plan.writes_beside];
        let rates: Vec<String> = rates.into_iter().flatten().map(|rate| rate.to_string()).collect();
        all.push(format!(
            "{behind} requests were due and not even sent when the time was up: the servers (or the generator) do not \
             keep up with {} per second, and latencies grow with the duration",
            rates.join(" and ")
        ));
    }
    all
}

/// What a local server's process cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Its process.
    pub pid: u32,
    /// In the measured time, µs.
    pub cpu_us: u64,
    /// Of that, per operation of the load; 0 without any.
    pub cpu_us_per_op: f64,
    /// Per session and second, where the load is sessions.
    pub cpu_us_per_session_s: Option<f64>,
    /// Processors kept busy.
    pub processors: f64,
    /// Memory at the end.
    pub resident_mib: f64,
    /// To the disk.
    pub written_per_op: f64,
    /// To the disk, in all.
    pub written_bytes: u64,
}

impl Cost {
    fn line(&self) -> String {
        let session = self.cpu_us_per_session_s;
        let session = session.map(|us| format!(", {us:.2} µs CPU per session and second"));
        format!(
            "server {}: {:.2} µs CPU per operation ({:.2} processors){}, {:.1} MiB resident, {:.0} bytes written per operation",
            self.pid,
            self.cpu_us_per_op,
            self.processors,
            session.unwrap_or_default(),
            self.resident_mib,
            self.written_per_op
        )
    }
}

/// Of every local server. Operations are all of the load's, whichever server answered.
pub fn costs(step: &Step, outcome: &Outcome) -> Vec<Cost> {
    let operations = outcome.seen.count();
    let per_op = |value: u64| {
        if operations == 0 {
            0.0
        } else {
            value as f64 / operations as f64
        }
    };
    let sessions = (step.plan.load == Load::Idle).then_some(step.plan.connections as f64);
    let cost = |(pid, before, after): &(u32, super::process::Usage, super::process::Usage)| {
        let cpu_us = after.cpu_us_since(before);
        let written_bytes = after.written_bytes.saturating_sub(before.written_bytes);
        Cost {
            pid: *pid,
            cpu_us,
            cpu_us_per_op: per_op(cpu_us),
            cpu_us_per_session_s: sessions.map(|count| cpu_us as f64 / count / outcome.seconds),
            processors: cpu_us as f64 / 1e6 / outcome.seconds,
            resident_mib: after.resident_bytes as f64 / (1 << 20) as f64,
            written_per_op: per_op(written_bytes),
            written_bytes,
        }
    };
    outcome.servers.iter().map(cost).collect()
}

/// The JSON object of one load.
pub fn json(step: &Step, outcome: &Outcome, syncs: &Syncs) -> Value {
    let (plan, seen) = (&step.plan, &outcome.seen);
    let latencies = |histogram: &Histogram<u64>| {
        let mut object = json!({"count": histogram.len(), "per_second": histogram.len() as f64 / outcome.seconds, "mean_us": histogram.mean()});
        for (name, percentile) in PERCENTILES {
            object[format!("{}_us", name.replace('.', "_"))] = histogram.value_at_percentile(percentile).into();
        }
        object
    };
    let by_kind = seen.by_kind();
    let operations: Map<String, Value> = by_kind
        .map(|(kind, histogram)| (kind.word().to_owned(), latencies(histogram)))
        .collect();
    let errors: Vec<Value> = seen
        .errors
        .iter()
        .map(|((kind, code), count)| json!({"operation": kind.word(), "code": code, "name": error_name(*code), "count": count}))
        .collect();
    let sent: Map<String, Value> = seen
        .sent_in_all
        .iter()
        .map(|(kind, count)| (kind.word().to_owned(), (*count).into()))
        .collect();
    let frames: Map<String, Value> = seen
        .frames
        .iter()
        .map(|(kind, frames)| {
            let bytes = json!({"request_bytes": frames.request_bytes / frames.count, "reply_bytes": frames.reply_bytes / frames.count});
            (kind.word().to_owned(), bytes)
        })
        .collect();
    let servers: Vec<Value> = costs(step, outcome)
        .iter()
        .map(|cost| {
            json!({"pid": cost.pid, "cpu_us": cost.cpu_us, "cpu_us_per_operation": cost.cpu_us_per_op, "processors": cost.processors,
                   "cpu_us_per_session_and_second": cost.cpu_us_per_session_s, "resident_mib": cost.resident_mib,
                   "written_bytes": cost.written_bytes, "written_bytes_per_operation": cost.written_per_op})
        })
        .collect();
    let samples: Vec<Value> = outcome
        .samples
        .iter()
        .map(|sample| json!({"at_s": sample.at_s, "per_second": sample.per_second, "p50_us": sample.p50_us, "p99_us": sample.p99_us}))
        .collect();
    json!({
        "name": step.name,
        "syncs": syncs.word(),
        "syncs_known_from": syncs.line(),
        "load": {"line": plan.line(), "connections": plan.connections, "in_flight": plan.in_flight, "threads": plan.threads, "mix": plan.mix.to_string(),
                 "read_percent": step.read_percent, "nodes": plan.layout.count, "depth": plan.layout.depth, "size": plan.data.len(), "rate": plan.rate,
                 "writes_beside": plan.writes_beside, "seed": plan.seed},
        "seconds": outcome.seconds,
        "all": latencies(&seen.all()),
        "operations": operations,
        "rounds": seen.rounds.as_ref().map(|(name, rounds)| json!({"what": name, "latency": latencies(rounds)})),
        "extra": seen.extra.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<Map<_, _>>(),
        "errors": errors,
        "lost_connections": seen.lost_connections,
        "behind": seen.behind,
        "sent_in_all": sent,
        "frames": frames,
        "interval_ms": INTERVAL_MS,
        "intervals": seen.intervals,
        "samples": samples,
        "servers": servers,
        "generator": {"processors": outcome.generator_cpu_us as f64 / 1e6 / outcome.seconds, "busiest_thread": outcome.busiest_thread},
        "machine": {"idle": outcome.machine_idle, "stolen": outcome.machine_stolen},
        "warnings": warnings(step, outcome),
    })
}
