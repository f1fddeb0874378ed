//! A connect storm: clients that connect, get a session, close it and begin again, as after a partition.
//!
//! An operation is a session that the server gave, its latency the time from the first packet to the answer of the
//! handshake.

use std::io;
use std::time::{Duration, Instant};

use super::conn::{Incoming, Session};
use super::crowd::Crowd;
use super::measure::{CONNECTION_LOSS, Measured, Seen};
use super::mix::Kind;
use super::plan::Plan;
use super::process::thread_cpu_us;
use super::stage::{Pulse, Stage};

/// The last sessions get so long to close.
const PATIENCE: Duration = Duration::from_secs(30);

struct Storm<'a> {
    plan: &'a Plan,
    crowd: Crowd,
    clock: Instant,
    begun_us: Vec<u64>,
    seen: Seen,
    pulse: Pulse,
    /// From here on answers count.
    measured_from_us: Option<u64>,
}

/// Runs the storm.
pub fn run(plan: &Plan, stage: &Stage) -> Result<Seen, String> {
    let storm = || -> io::Result<Seen> {
        let mut storm = Storm {
            plan,
            crowd: Crowd::new()?,
            clock: Instant::now(),
            begun_us: vec![0; plan.connections],
            seen: Seen::default(),
            pulse: Pulse::default(),
            measured_from_us: None,
        };
        storm.rage(stage)?;
        Ok(storm.seen)
    };
    storm().map_err(|error| format!("connect storm: {error}"))
}

impl Storm<'_> {
    fn rage(&mut self, stage: &Stage) -> io::Result<()> {
        for number in 0..self.plan.connections {
            self.connect(number)?;
        }
        let mut cpu_us = 0;
        let mut pulsed = Instant::now();
        loop {
            if self.measured_from_us.is_none() && self.clock.elapsed() >= self.plan.warm_up {
                stage.begin().map_err(io::Error::other)?;
                self.measured_from_us = Some(self.now_us());
                cpu_us = thread_cpu_us();
            }
            let measured_us = self.measured_from_us.map(|from_us| self.now_us() - from_us);
            if measured_us.is_some_and(|us| us >= self.plan.duration.as_micros() as u64) {
                break;
            }
            self.turn(true)?;
            if pulsed.elapsed() > Duration::from_millis(100) {
                stage.pulse(&mut self.pulse);
                pulsed = Instant::now();
            }
        }
        self.seen.thread_cpu_us.push(thread_cpu_us().saturating_sub(cpu_us));
        stage.pulse(&mut self.pulse);
        stage.end().map_err(io::Error::other)?;
        self.measured_from_us = None;
        let ended = Instant::now();
        while (0..self.crowd.len()).any(|number| self.crowd.conn(number).is_some()) {
            self.turn(false)?;
            if ended.elapsed() > PATIENCE {
                return Err(io::Error::other(format!(
                    "sessions were not closed within {PATIENCE:?}"
                )));
            }
        }
        Ok(())
    }

    fn now_us(&self) -> u64 {
        self.clock.elapsed().as_micros() as u64
    }

    fn connect(&mut self, number: usize) -> io::Result<()> {
        let address = self.plan.addresses[number % self.plan.addresses.len()];
        self.begun_us[number] = self.now_us();
        let wish = Session::new(self.plan.session_timeout_ms);
        self.seen.sent(Kind::Connect);
        self.crowd.begin(number, address, wish)
    }

    fn turn(&mut self, again: bool) -> io::Result<()> {
        let (mut opened, mut closed) = (Vec::new(), Vec::new());
        let lost = self
            .crowd
            .turn(Duration::from_millis(20), |number, incoming| match incoming {
                Incoming::Opened => opened.push(number),
                Incoming::Answer(_) => closed.push(number),
                Incoming::Event(_) => {}
            })?;
        let now_us = self.now_us();
        for number in opened {
            self.note(number, now_us, 0);
            if let Some(conn) = self.crowd.conn(number) {
                conn.request(-11, Kind::Close, now_us, false, |_| {});
                self.seen.sent(Kind::Close);
                // A connection that ends now shows itself in the next turn.
                let _ = self.crowd.flush(number);
            }
        }
        for (number, _) in lost {
            if !closed.contains(&number) {
                self.note(number, now_us, CONNECTION_LOSS);
                closed.push(number);
            }
        }
        for number in closed {
            self.crowd.drop_conn(number);
            if again {
                self.connect(number)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, number: usize, now_us: u64, err: i32) {
        let latency_us = now_us - self.begun_us[number];
        self.pulse.answer(latency_us, err);
        if let Some(from_us) = self.measured_from_us {
            self.seen.answer(Measured {
                kind: Kind::Connect,
                latency_us,
                err,
                at_ms: (now_us - from_us) / 1000,
                request_bytes: 0,
                reply_bytes: 0,
            });
        }
    }
}
