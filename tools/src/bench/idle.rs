//! Idle sessions: many clients that only ping, each after a third of its session's timeout as ZooKeeper's clients do.
//!
//! Memory per session is what the servers' resident memory grew by while the sessions were opened; a JVM that had
//! spare heap shows less than it uses.

use std::io;
use std::time::{Duration, Instant};

use super::conn::{Incoming, Session};
use super::crowd::Crowd;
use super::drive::measured;
use super::measure::Seen;
use super::mix::Kind;
use super::plan::Plan;
use super::process::{Usage, thread_cpu_us};
use super::stage::{Pulse, Stage};

/// The name of the figure.
pub const MEMORY: &str = "KiB per session";

/// Opens the sessions, waits and pings.
pub fn run(plan: &Plan, stage: &Stage) -> Result<Seen, String> {
    let resident = || -> Result<u64, String> {
        let each = stage.pids().iter().map(|pid| Usage::of(*pid));
        each.map(|usage| usage.map(|usage| usage.resident_bytes)).sum()
    };
    let before = resident()?;
    let opening = Instant::now();
    let session = Session::new(plan.session_timeout_ms);
    let crowd = Crowd::gather(&plan.addresses, plan.connections, &session).map_err(|error| error.to_string())?;
    let opened_s = opening.elapsed().as_secs_f64();
    let mut seen = ping(plan, crowd, stage).map_err(|error| format!("idle sessions: {error}"))?;
    let count = plan.connections as f64;
    if !stage.pids().is_empty() {
        let grown = stage.resident_at_end().saturating_sub(before) as f64;
        seen.extra.push((MEMORY, grown / 1024.0 / count));
    }
    seen.extra
        .push(("sessions opened per second", count / opened_s.max(1e-9)));
    Ok(seen)
}

fn ping(plan: &Plan, mut crowd: Crowd, stage: &Stage) -> io::Result<Seen> {
    let mut seen = Seen::default();
    let count = crowd.len() as u64;
    let granted_ms = crowd.conn(0).map_or(0, |conn| conn.session.timeout_ms).max(3);
    let period_us = granted_ms as u64 * 1000 / 3;
    let clock = Instant::now();
    let warm_us = plan.warm_up.as_micros() as u64;
    let end_us = warm_us + plan.duration.as_micros() as u64;
    let (mut next, mut begun, mut cpu_us) = (0u64, false, 0);
    let mut pulse = Pulse::default();
    // The n-th ping in all is due at n / count of a period, by session n % count: spread evenly.
    let due_us = |n: u64| n * period_us / count;
    loop {
        let now_us = clock.elapsed().as_micros() as u64;
        if now_us >= warm_us && !begun {
            stage.begin().map_err(io::Error::other)?;
            (begun, cpu_us) = (true, thread_cpu_us());
        }
        if now_us >= end_us {
            break;
        }
        while due_us(next) <= now_us {
            let number = (next % count) as usize;
            if let Some(conn) = crowd.conn(number) {
                conn.request(11, Kind::Ping, due_us(next), true, |_| {});
                seen.sent(Kind::Ping);
            }
            crowd.flush(number)?;
            next += 1;
        }
        let wait_us = due_us(next).min(end_us).saturating_sub(now_us).clamp(1, 100_000);
        crowd.turn_whole(Duration::from_micros(wait_us), |_, incoming| {
            if let Incoming::Answer(answer) = incoming {
                let now_us = clock.elapsed().as_micros() as u64;
                let latency_us = now_us.saturating_sub(answer.request.due_us);
                pulse.answer(latency_us, answer.err);
                if begun {
                    seen.answer(measured(&answer, latency_us, (now_us - warm_us) / 1000));
                }
            }
        })?;
        stage.pulse(&mut pulse);
    }
    seen.thread_cpu_us.push(thread_cpu_us().saturating_sub(cpu_us));
    stage.end().map_err(io::Error::other)?;
    crowd.close()?;
    Ok(seen)
}
