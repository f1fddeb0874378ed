//! What surrounds every load: the measured time and what processes cost in it, samples over time, the live line.
//!
//! A load calls [`Stage::begin`] and [`Stage::end`] at the edges of its measured time, and both read the counters of
//! the servers, of this process and of the machine there and then: CPU is charged over exactly the time in which
//! operations are counted. Loads pass a [`Pulse`] of what they saw about ten times a second.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::measure::Seen;
use super::process::{Machine, Usage};

/// A sample is taken and the live line written so often.
const SAMPLE: Duration = Duration::from_millis(250);
/// A generator thread that is busy for this share of the time is the bottleneck.
const SATURATED: f64 = 0.92;

/// What a load saw since its last pulse.
#[derive(Clone, Debug)]
pub struct Pulse {
    /// Answers without an error.
    pub answers: u64,
    /// Answers with one.
    pub errors: u64,
    /// Their latencies, µs, with two digits.
    pub latencies: Histogram<u64>,
}

impl Default for Pulse {
    fn default() -> Pulse {
        Pulse {
            answers: 0,
            errors: 0,
            latencies: Histogram::new_with_bounds(1, 60_000_000, 2).expect("the bounds are fixed"),
        }
    }
}

impl Pulse {
    /// Notes an answer.
    pub fn answer(&mut self, latency_us: u64, err: i32) {
        if err == 0 {
            self.answers += 1;
            self.latencies.saturating_record(latency_us.max(1));
        } else {
            self.errors += 1;
        }
    }
}

/// Throughput and latency in a piece of the measured time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The end of the piece, in seconds since measuring began.
    pub at_s: f64,
    /// Answers per second.
    pub per_second: f64,
    /// The median and the 99th percentile, in microseconds; 0 without answers.
    pub p50_us: u64,
    /// See there.
    pub p99_us: u64,
}

struct Reading {
    at: Instant,
    servers: Vec<Usage>,
    own: Usage,
    machine: Machine,
}

#[derive(Default)]
struct State {
    pulse: Pulse,
    answers: u64,
    errors: u64,
    sampled: Option<Instant>,
    samples: Vec<Sample>,
    begin: Option<Reading>,
    end: Option<Reading>,
}

/// The surroundings of one load.
pub struct Stage {
    pids: Vec<u32>,
    live: bool,
    warm_up: Duration,
    duration: Duration,
    started: Instant,
    ended: AtomicBool,
    state: Mutex<State>,
}

/// What a load gave.
#[derive(Debug)]
pub struct Outcome {
    /// What was seen.
    pub seen: Seen,
    /// The length of the measured time.
    pub seconds: f64,
    /// Each local server's process and its counters at both ends of that time.
    pub servers: Vec<(u32, Usage, Usage)>,
    /// Over that time.
    pub samples: Vec<Sample>,
    /// CPU of this process in that time, µs.
    pub generator_cpu_us: u64,
    /// The share of that time in which the busiest generator thread was on a processor.
    pub busiest_thread: f64,
    /// The share of the machine's processor time that nobody used.
    pub machine_idle: f64,
    /// The share that its host took away.
    pub machine_stolen: f64,
}

/// Runs a load on its stage.
pub fn conduct(
    pids: &[u32],
    (warm_up, duration): (Duration, Duration),
    live: bool,
    load: impl FnOnce(&Stage) -> Result<Seen, String>,
) -> Result<Outcome, String> {
    let stage = Stage {
        pids: pids.to_vec(),
        live: live && io::stderr().is_terminal(),
        warm_up,
        duration,
        started: Instant::now(),
        ended: AtomicBool::new(false),
        state: Mutex::default(),
    };
    let seen = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| stage.sample_and_show());
        let seen = load(&stage);
        stage.ended.store(true, Ordering::Relaxed);
        sampler.thread().unpark();
        seen
    })?;
    stage.outcome(seen)
}

impl Stage {
    /// The measured time begins.
    pub fn begin(&self) -> Result<(), String> {
        let reading = self.read()?;
        let mut state = self.state();
        // What came before is warm-up.
        state.pulse = Pulse::default();
        (state.answers, state.errors) = (0, 0);
        state.sampled = Some(reading.at);
        state.begin = Some(reading);
        Ok(())
    }

    /// The measured time ends.
    pub fn end(&self) -> Result<(), String> {
        let reading = self.read()?;
        let mut state = self.state();
        state.sample(reading.at);
        state.end = Some(reading);
        Ok(())
    }

    /// Takes in what was seen since the last time, and empties it.
    pub fn pulse(&self, pulse: &mut Pulse) {
        let mut state = self.state();
        state.pulse.answers += pulse.answers;
        state.pulse.errors += pulse.errors;
        state.answers += pulse.answers;
        state.errors += pulse.errors;
        state.pulse.latencies.add(&pulse.latencies).expect("bounds are equal");
        drop(state);
        (pulse.answers, pulse.errors) = (0, 0);
        pulse.latencies.reset();
    }

    /// When the measured time began, if it did.
    pub fn begun(&self) -> Option<Instant> {
        self.state().begin.as_ref().map(|begin| begin.at)
    }

    /// Whether the load is over.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed) || self.state().end.is_some()
    }

    /// The local servers' processes.
    pub fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// Their resident memory when the measured time ended.
    pub fn resident_at_end(&self) -> u64 {
        let state = self.state();
        let end = state.end.as_ref().into_iter();
        end.flat_map(|end| &end.servers).map(|usage| usage.resident_bytes).sum()
    }

    fn read(&self) -> Result<Reading, String> {
        Ok(Reading {
            at: Instant::now(),
            servers: self.pids.iter().map(|pid| Usage::of(*pid)).collect::<Result<_, _>>()?,
            own: Usage::of(std::process::id())?,
            machine: Machine::now(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with it")
    }

    fn sample_and_show(&self) {
        while !self.ended.load(Ordering::Relaxed) {
            std::thread::park_timeout(SAMPLE);
            let mut state = self.state();
            let measures = state.begin.is_some() && state.end.is_none();
            if measures {
                state.sample(Instant::now());
            }
            if self.live {
                let line = self.line(&mut state, measures);
                drop(state);
                // The line is for eyes only: a terminal that went away must not end the run.
                let _ = write!(io::stderr(), "\r\x1b[K{line}");
            }
        }
        if self.live {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    fn line(&self, state: &mut State, measures: bool) -> String {
        let all = self.warm_up + self.duration;
        let left = all.saturating_sub(self.started.elapsed()).as_secs_f64().ceil();
        match (&state.begin, state.samples.last()) {
            (Some(_), Some(sample)) if measures => live_line(sample, state.errors, left),
            (Some(_), _) if !measures => "waiting for the last answers".into(),
            _ => {
                let answers = std::mem::take(&mut state.pulse.answers);
                format!(
                    "warming up: {:.0}/s, {left:.0} s left",
                    answers as f64 / SAMPLE.as_secs_f64()
                )
            }
        }
    }

    fn outcome(self, seen: Seen) -> Result<Outcome, String> {
        let state = self.state.into_inner().expect("no thread panics with it");
        let (Some(begin), Some(end)) = (state.begin, state.end) else {
            return Err("the load ended before anything was measured".into());
        };
        let seconds = end.at.duration_since(begin.at).as_secs_f64();
        let busiest = seen.thread_cpu_us.iter().copied().max().unwrap_or(0);
        let (machine_idle, machine_stolen) = end.machine.shares_since(&begin.machine);
        let pairs = begin.servers.into_iter().zip(end.servers);
        Ok(Outcome {
            seconds,
            servers: self
                .pids
                .iter()
                .zip(pairs)
                .map(|(pid, (before, after))| (*pid, before, after))
                .collect(),
            samples: state.samples,
            generator_cpu_us: end.own.cpu_us_since(&begin.own),
            busiest_thread: busiest as f64 / 1e6 / seconds.max(1e-3),
            machine_idle,
            machine_stolen,
            seen,
        })
    }
}

impl State {
    /// Closes a sample, unless the last one ended just now.
    fn sample(&mut self, now: Instant) {
        let (Some(begin), Some(since)) = (&self.begin, self.sampled) else {
            return;
        };
        let seconds = now.duration_since(since).as_secs_f64();
        if seconds < SAMPLE.as_secs_f64() / 2.0 {
            return;
        }
        self.samples.push(Sample {
            at_s: now.duration_since(begin.at).as_secs_f64(),
            per_second: self.pulse.answers as f64 / seconds,
            p50_us: self.pulse.latencies.value_at_quantile(0.5),
            p99_us: self.pulse.latencies.value_at_quantile(0.99),
        });
        self.sampled = Some(now);
        self.pulse = Pulse::default();
    }
}

fn live_line(sample: &Sample, errors: u64, left_s: f64) -> String {
    format!(
        "{:.0}/s, p99 {:.2} ms, {errors} errors, {left_s:.0} s left",
        sample.per_second,
        sample.p99_us as f64 / 1000.0
    )
}

impl Outcome {
    /// What a reader must know before believing the figures.
    pub fn warnings(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.busiest_thread >= SATURATED {
            all.push(format!(
                "a generator thread was busy {:.0} % of the time: throughput and latencies are the generator's limit, \
                 not the server's; give it more --threads (and processors)",
                self.busiest_thread * 100.0
            ));
        }
        if self.machine_stolen > 0.05 {
            all.push(format!(
                "the machine's host took {:.0} % of its processor time away: wall-clock figures are worth little",
                self.machine_stolen * 100.0
            ));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_line() {
        let sample = Sample {
            at_s: 1.0,
            per_second: 45_210.4,
            p50_us: 300,
            p99_us: 1_234,
        };
        assert_eq!(live_line(&sample, 2, 18.0), "45210/s, p99 1.23 ms, 2 errors, 18 s left");
    }

    #[test]
    fn only_the_measured_time_is_sampled() {
        let second = Duration::from_millis(600);
        let outcome = conduct(&[std::process::id()], (second, second), false, |stage| {
            let mut pulse = Pulse::default();
            (0..1000).for_each(|_| pulse.answer(100, 0));
            stage.pulse(&mut pulse);
            stage.begin()?;
            (0..600).for_each(|_| pulse.answer(200, 0));
            pulse.answer(1, -101);
            stage.pulse(&mut pulse);
            std::thread::sleep(second);
            stage.end()?;
            Ok(Seen::default())
        })
        .unwrap();
        let answers: f64 = outcome.samples.iter().map(|sample| sample.per_second).sum::<f64>() * 0.25;
        assert!((300.0..900.0).contains(&answers), "{:?}", outcome.samples);
        assert!(outcome.seconds >= 0.6 && outcome.servers.len() == 1);
        assert_eq!(outcome.samples[0].p99_us, 200);
    }

    #[test]
    fn a_busy_generator_is_told() {
        let mut outcome = conduct(&[], (Duration::ZERO, Duration::ZERO), false, |stage| {
            stage.begin()?;
            stage.end()?;
            Ok(Seen::default())
        })
        .unwrap();
        outcome.machine_stolen = 0.0;
        assert!(outcome.warnings().is_empty());
        outcome.busiest_thread = 0.97;
        assert!(outcome.warnings()[0].contains("busy 97 %"), "{:?}", outcome.warnings());
    }
}
