//! Watch fan-out: one change, many watchers, and how long each event takes.
//!
//! A connection has one watch per znode, however many of its callers wait for it. So W watchers on C connections are
//! W/C znodes, each watched by every connection, and the one change is one transaction: a setData, or a multi of a
//! setData on each of these znodes. Watches fire once; arming them again lies between the rounds, and its cost on the
//! server counts into its CPU per event.

use std::io;
use std::time::Instant;

use super::conn::{Incoming, Session};
use super::crowd::{Crowd, PATIENCE};
use super::fill::{Errands, fill};
use super::keys::Layout;
use super::measure::{Measured, Seen};
use super::mix::Kind;
use super::plan::Plan;
use super::process::thread_cpu_us;
use super::requests::{write_set, write_sets};
use super::stage::{Pulse, Stage};

/// The name of a round in reports.
pub const ROUND: &str = "last event";
/// A multi of more may be larger than a server's jute.maxbuffer.
pub const PER_CONNECTION_MAX: usize = 1000;

/// Znodes that each connection watches.
pub fn znodes(watchers: usize, connections: usize) -> usize {
    watchers.div_ceil(connections)
}

/// The layout that `watchers` need.
fn layout(plan: &Plan, watchers: usize) -> Layout {
    Layout {
        root: plan.layout.root.clone(),
        count: znodes(watchers, plan.connections) as u32,
        depth: 1,
    }
}

/// Runs rounds for the planned time.
pub fn run(plan: &Plan, watchers: usize, stage: &Stage) -> Result<Seen, String> {
    rounds(plan, watchers, stage).map_err(|error| format!("watch fan-out: {error}"))
}

fn rounds(plan: &Plan, watchers: usize, stage: &Stage) -> io::Result<Seen> {
    let layout = layout(plan, watchers);
    fill(plan.addresses[0], &layout, &plan.data, |_| {})?;
    let paths: Vec<String> = (0..layout.count).map(|index| layout.leaf(index)).collect();
    let mut changer = Errands::open(plan.addresses[0])?;
    let session = Session::new(plan.session_timeout_ms);
    let mut crowd = Crowd::gather(&plan.addresses, plan.connections, &session)?;
    let mut seen = Seen::default();
    let (clock, mut begun) = (Instant::now(), None);
    let (mut cpu_us, mut pulse) = (0, Pulse::default());
    loop {
        if begun.is_none() && clock.elapsed() >= plan.warm_up {
            stage.begin().map_err(io::Error::other)?;
            begun = Some(Instant::now());
            cpu_us = thread_cpu_us();
        }
        if begun.is_some_and(|begun| begun.elapsed() >= plan.duration) {
            break;
        }
        arm(&mut crowd, &paths)?;
        let latencies = change(&mut changer, &mut crowd, &paths, plan)?;
        for &latency_us in &latencies {
            pulse.answer(latency_us, 0);
            if let Some(begun) = begun {
                seen.answer(Measured {
                    kind: Kind::Event,
                    latency_us,
                    err: 0,
                    at_ms: begun.elapsed().as_millis() as u64,
                    request_bytes: 0,
                    reply_bytes: 0,
                });
            }
        }
        if begun.is_some() {
            seen.round(ROUND, latencies.into_iter().max().unwrap_or(0));
        }
        stage.pulse(&mut pulse);
    }
    seen.thread_cpu_us.push(thread_cpu_us().saturating_sub(cpu_us));
    stage.end().map_err(io::Error::other)?;
    changer.close()?;
    crowd.close()?;
    Ok(seen)
}

/// Every connection watches every path.
fn arm(crowd: &mut Crowd, paths: &[String]) -> io::Result<()> {
    for number in 0..crowd.len() {
        let conn = crowd.conn(number).expect("nobody left");
        for path in paths {
            conn.request(4, Kind::Get, 0, false, |w| {
                w.text(path);
                w.bool(true);
            });
        }
        crowd.flush(number)?;
    }
    let (mut left, mut refused) = (crowd.len() * paths.len(), 0);
    let asked = Instant::now();
    while left > 0 {
        crowd.turn_whole(PATIENCE, |_, incoming| {
            if let Incoming::Answer(answer) = incoming {
                left -= 1;
                refused = if answer.err == 0 { refused } else { answer.err };
            }
        })?;
        if refused != 0 || asked.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("watches were not set: error code {refused}")));
        }
    }
    Ok(())
}

/// Makes the change; the latency of each event.
fn change(changer: &mut Errands, crowd: &mut Crowd, paths: &[String], plan: &Plan) -> io::Result<Vec<u64>> {
    let expected = crowd.len() * paths.len();
    let mut latencies = Vec::with_capacity(expected);
    let sent = Instant::now();
    match paths {
        [path] => changer.send(5, |w| write_set(w, path, &plan.data))?,
        paths => changer.send(14, |w| write_sets(w, paths.iter().map(String::as_str), &plan.data))?,
    }
    while latencies.len() < expected {
        crowd.turn_whole(PATIENCE, |_, incoming| {
            if let Incoming::Event(_) = incoming {
                latencies.push(sent.elapsed().as_micros() as u64);
            }
        })?;
        if sent.elapsed() > PATIENCE {
            return Err(io::Error::other(format!(
                "{} of {expected} events came within {PATIENCE:?}",
                latencies.len()
            )));
        }
    }
    let mut refused = 0;
    changer.drain(0, |_, err, _| refused = err)?;
    if refused != 0 {
        return Err(io::Error::other(format!(
            "the change was refused: error code {refused}"
        )));
    }
    Ok(latencies)
}
