//! Drives a mix: one event loop per generator thread, which keeps its connections busy, or on schedule.
//!
//! All threads share one clock, so the measured time is the same for all. A connection that is lost is made again,
//! with its session, at the next server, as ZooKeeper's clients do; what was on its way then counts as an error.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::conn::{Answer, Conn, Incoming, Session};
use super::keys::Paths;
use super::measure::{CONNECTION_LOSS, Measured, Seen};
use super::mix::Kind;
use super::plan::Plan;
use super::process::thread_cpu_us;
use super::requests::{Composer, Own};
use super::stage::{Pulse, Stage};
use super::timer::Timer;

/// How long a new connection may take, and the last answers.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between attempts to connect again.
const RETRY_US: u64 = 50_000;
/// A thread passes on what it saw so often.
const PULSE_US: u64 = 100_000;
/// An idle connection sends a ping of its own so often, to keep its session.
const KEEP_ALIVE_US: u64 = 8_000_000;
/// Above one request in so long an open loop gathers what becomes due in that time, and a connection sends up to so many
/// of it with one call: otherwise the generator spends five calls of the kernel on each. Latency counts from when a
/// request was due, so this is in it.
const GRAIN_US: u64 = 50;
const AT_ONCE: usize = 8;

/// The timer of an open loop.
const TIMER: Token = Token(usize::MAX);

/// Runs the plan's mix, and the writes beside it, and gives what all threads saw.
pub fn run(plan: &Plan, stage: &Stage) -> Result<Seen, String> {
    let beside = plan.beside();
    let plans: Vec<&Plan> = [plan].into_iter().chain(beside.as_ref()).collect();
    let paths = Paths::new(&plan.layout);
    let mut threads = open(&plans, &paths)?;
    let clock = Instant::now();
    let at = |since: Duration| std::thread::sleep(since.saturating_sub(clock.elapsed()));
    std::thread::scope(|scope| {
        let running: Vec<_> = threads
            .drain(..)
            .map(|thread| scope.spawn(move || thread.run(clock, stage)))
            .collect();
        at(plan.warm_up);
        stage.begin()?;
        at(plan.warm_up + plan.duration);
        stage.end()?;
        let mut all = Seen::default();
        for thread in running {
            let seen = thread.join().expect("a generator thread does not panic");
            all.merge(seen.map_err(|error| error.to_string())?);
        }
        Ok(all)
    })
}

/// Opens every connection, the threads side by side.
fn open<'a>(plans: &[&'a Plan], paths: &'a Paths) -> Result<Vec<Thread<'a>>, String> {
    std::thread::scope(|scope| {
        let each = plans.iter().flat_map(|plan| (0..plan.threads).map(move |i| (*plan, i)));
        let opening: Vec<_> = each
            .map(|(plan, index)| scope.spawn(move || Thread::open(plan, paths, index)))
            .collect();
        let joined = opening
            .into_iter()
            .map(|thread| thread.join().expect("opening does not panic"));
        joined.collect()
    })
}

/// A place for a connection, whether it stands or not.
struct Slot {
    conn: Option<Conn>,
    /// Kept while the connection is away.
    session: Session,
    own: Own,
    /// Which of the servers it uses, or tries next.
    address: usize,
    /// When the last connection was begun or lost.
    since_us: u64,
    last_sent_us: u64,
    writable_wanted: bool,
}

struct Thread<'a> {
    plan: &'a Plan,
    composer: Composer<'a>,
    poll: Poll,
    timer: Option<Timer>,
    slots: Vec<Slot>,
    seen: Seen,
    pulse: Pulse,
    scratch: Vec<u8>,
    clock: Instant,
    warm_us: u64,
    end_us: u64,
    /// Microseconds between this thread's requests in an open loop.
    gap_us: Option<f64>,
    /// An open loop's shortest sleep, and how many of what became due meanwhile a connection takes with one call.
    least_us: u64,
    at_once: usize,
    scheduled: u64,
    /// Requests that are due and found no free connection.
    overdue: VecDeque<u64>,
    next_slot: usize,
}

impl<'a> Thread<'a> {
    fn open(plan: &'a Plan, paths: &'a Paths, index: usize) -> Result<Thread<'a>, String> {
        let no_poll = |error: io::Error| format!("an event loop: {error}");
        let poll = Poll::new().map_err(no_poll)?;
        let mut slots = Vec::new();
        let mut seen = Seen::default();
        for connection in (index..plan.connections).step_by(plan.threads) {
            let address = connection % plan.addresses.len();
            let wish = Session::new(plan.session_timeout_ms);
            let mut conn = Conn::open(plan.addresses[address], wish, PATIENCE)
                .map_err(|error| format!("{}: {error}", plan.addresses[address]))?;
            seen.sent(Kind::Connect);
            poll.registry()
                .register(&mut conn.socket, Token(slots.len()), Interest::READABLE)
                .map_err(no_poll)?;
            slots.push(Slot {
                session: conn.session.clone(),
                conn: Some(conn),
                own: Own::default(),
                address,
                since_us: 0,
                last_sent_us: 0,
                writable_wanted: false,
            });
        }
        let gap_us = plan.rate.map(|rate| 1e6 * plan.threads as f64 / rate as f64);
        let (least_us, at_once) = match gap_us {
            Some(gap_us) if gap_us < GRAIN_US as f64 => (GRAIN_US, AT_ONCE),
            _ => (1, 1),
        };
        let timer = gap_us.map(|_| Timer::new(poll.registry(), TIMER)).transpose();
        let warm_us = plan.warm_up.as_micros() as u64;
        Ok(Thread {
            plan,
            composer: Composer::new(plan, paths, index),
            timer: timer.map_err(no_poll)?,
            poll,
            slots,
            seen,
            pulse: Pulse::default(),
            scratch: Vec::new(),
            clock: Instant::now(),
            warm_us,
            end_us: warm_us + plan.duration.as_micros() as u64,
            gap_us,
            least_us,
            at_once,
            scheduled: 0,
            overdue: VecDeque::new(),
            next_slot: 0,
        })
    }

    fn run(mut self, clock: Instant, stage: &Stage) -> io::Result<Seen> {
        self.clock = clock;
        let mut events = Events::with_capacity(1024);
        let mut cpu_at_begin = None;
        let mut next_pulse_us = PULSE_US;
        if self.gap_us.is_none() {
            (0..self.slots.len()).for_each(|token| self.top_up(token));
        }
        loop {
            let now_us = self.now_us();
            if now_us >= self.warm_us && cpu_at_begin.is_none() {
                // What was seen before is warm-up; the stage drops it at its own begin.
                cpu_at_begin = Some(thread_cpu_us());
            }
            if now_us >= self.end_us {
                break;
            }
            if now_us >= next_pulse_us {
                stage.pulse(&mut self.pulse);
                next_pulse_us = now_us + PULSE_US;
                self.look_after_slots(now_us);
            }
            self.keep_schedule(now_us)?;
            let until_us = self.end_us.min(next_pulse_us).saturating_sub(self.now_us());
            self.turn(&mut events, Duration::from_micros(until_us.max(1)))?;
        }
        let cpu_us = thread_cpu_us().saturating_sub(cpu_at_begin.unwrap_or(0));
        self.seen.thread_cpu_us.push(cpu_us);
        stage.pulse(&mut self.pulse);
        self.seen.behind = self.overdue.len() as u64;
        self.wind_down(&mut events)?;
        Ok(self.seen)
    }

    fn now_us(&self) -> u64 {
        self.clock.elapsed().as_micros() as u64
    }

    /// Waits for events and handles them.
    fn turn(&mut self, events: &mut Events, timeout: Duration) -> io::Result<()> {
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in events.iter() {
            if event.token() == TIMER {
                self.timer.as_ref().expect("its token came").acknowledge();
            } else {
                self.serve(event.token().0);
            }
        }
        Ok(())
    }

    /// Open loop: what became due is sent, and the timer set for the next.
    fn keep_schedule(&mut self, now_us: u64) -> io::Result<()> {
        let (Some(gap_us), Some(timer)) = (self.gap_us, &self.timer) else {
            return Ok(());
        };
        while self.scheduled as f64 * gap_us <= now_us as f64 {
            self.overdue.push_back((self.scheduled as f64 * gap_us) as u64);
            self.scheduled += 1;
        }
        let next_us = (self.scheduled as f64 * gap_us) as u64;
        timer.set(Duration::from_micros(next_us.saturating_sub(now_us).max(self.least_us)))?;
        self.send_overdue();
        Ok(())
    }

    /// Takes a connection's answers and gives it new requests.
    fn serve(&mut self, token: usize) {
        let now_us = self.now_us();
        let is_measured = now_us >= self.warm_us && now_us < self.end_us;
        let at_ms = now_us.saturating_sub(self.warm_us) / 1000;
        let (seen, pulse) = (&mut self.seen, &mut self.pulse);
        let Slot { conn, own, session, .. } = &mut self.slots[token];
        let Some(conn) = conn else {
            return;
        };
        let was_open = conn.is_open();
        let result = conn.receive(&mut self.scratch, |incoming| {
            if let Incoming::Answer(answer) = incoming
                && answer.request.counted
            {
                own.note(&answer);
                let latency_us = now_us.saturating_sub(answer.request.due_us);
                pulse.answer(latency_us, answer.err);
                if is_measured {
                    seen.answer(measured(&answer, latency_us, at_ms));
                }
            }
        });
        if !was_open && conn.is_open() {
            *session = conn.session.clone();
            if session.timeout_ms == 0 {
                *session = Session::new(self.plan.session_timeout_ms);
                return self.lose(token, "its session had expired");
            }
            self.seen.reconnected += 1;
        }
        match result {
            Err(error) => self.lose(token, &error.to_string()),
            Ok(()) if self.gap_us.is_none() => self.top_up(token),
            Ok(()) => {
                self.send_overdue();
                self.flush(token);
            }
        }
    }

    /// The connection is gone; it is tried again at the next server.
    fn lose(&mut self, token: usize, why: &str) {
        let now_us = self.now_us();
        let is_measured = now_us >= self.warm_us && now_us < self.end_us;
        let slot = &mut self.slots[token];
        let Some(mut conn) = slot.conn.take() else {
            return;
        };
        let _ = self.poll.registry().deregister(&mut conn.socket);
        if conn.is_open() {
            if self.seen.lost_connections == 0 && !self.plan.is_failover && now_us < self.end_us {
                eprintln!(
                    "zk-bench: {}: a connection was lost: {why}",
                    self.plan.addresses[slot.address]
                );
            }
            self.seen.lost_connections += 1;
            self.seen.left_behind += slot.own.forget() as u64;
            slot.session.last_zxid = slot.session.last_zxid.max(conn.session.last_zxid);
        } else {
            self.seen.failed_connects += 1;
        }
        for request in conn.unanswered().filter(|request| request.counted && is_measured) {
            self.pulse.errors += 1;
            *self.seen.errors.entry((request.kind, CONNECTION_LOSS)).or_default() += 1;
        }
        slot.address = (slot.address + 1) % self.plan.addresses.len();
        slot.since_us = now_us;
        slot.writable_wanted = false;
    }

    /// Connections that are away are tried again; idle ones keep their session.
    fn look_after_slots(&mut self, now_us: u64) {
        for token in 0..self.slots.len() {
            let slot = &mut self.slots[token];
            match &mut slot.conn {
                None if now_us >= slot.since_us + RETRY_US => self.begin(token, now_us),
                Some(conn) if !conn.is_open() && now_us > slot.since_us + PATIENCE.as_micros() as u64 => {
                    self.lose(token, "no answer to the handshake");
                }
                Some(conn) if conn.is_open() && now_us > slot.last_sent_us + KEEP_ALIVE_US => {
                    conn.request(11, Kind::Ping, now_us, false, |_| {});
                    slot.last_sent_us = now_us;
                    self.flush(token);
                }
                _ => {}
            }
        }
    }

    fn begin(&mut self, token: usize, now_us: u64) {
        let slot = &mut self.slots[token];
        slot.since_us = now_us;
        let address = self.plan.addresses[slot.address];
        let interest = Interest::READABLE | Interest::WRITABLE;
        let begun = Conn::begin(address, slot.session.clone()).and_then(|mut conn| {
            let registry = self.poll.registry();
            registry.register(&mut conn.socket, Token(token), interest)?;
            Ok(conn)
        });
        match begun {
            Ok(conn) => {
                self.seen.sent(Kind::Connect);
                slot.conn = Some(conn);
                slot.writable_wanted = true;
                self.flush(token);
            }
            Err(_) => {
                self.seen.failed_connects += 1;
                slot.address = (slot.address + 1) % self.plan.addresses.len();
            }
        }
    }

    fn has_room(&self, token: usize) -> bool {
        let conn = self.slots[token].conn.as_ref();
        conn.is_some_and(|conn| conn.is_open() && conn.in_flight() < self.plan.in_flight)
    }

    /// Fills a connection up to its number of requests in flight.
    fn top_up(&mut self, token: usize) {
        let now_us = self.now_us();
        if now_us < self.end_us {
            while self.has_room(token) {
                self.issue(token, now_us, now_us);
            }
        }
        self.flush(token);
    }

    /// Gives due requests to the connections with room, in turn; a connection takes some at once when many are due.
    fn send_overdue(&mut self) {
        let (count, now_us) = (self.slots.len(), self.now_us());
        let mut full = 0;
        while full < count && !self.overdue.is_empty() && now_us < self.end_us {
            let token = self.next_slot;
            self.next_slot = (token + 1) % count;
            let mut taken = 0;
            while taken < self.at_once && self.has_room(token) {
                let Some(due_us) = self.overdue.pop_front() else { break };
                self.issue(token, due_us, now_us);
                taken += 1;
            }
            if taken > 0 {
                self.flush(token);
                full = 0;
            } else {
                full += 1;
            }
        }
    }

    fn issue(&mut self, token: usize, due_us: u64, now_us: u64) {
        let slot = &mut self.slots[token];
        let conn = slot.conn.as_mut().expect("it has room");
        let kind = self.composer.issue(conn, &mut slot.own, due_us);
        slot.last_sent_us = now_us;
        self.seen.sent(kind);
    }

    fn flush(&mut self, token: usize) {
        let slot = &mut self.slots[token];
        let Some(conn) = &mut slot.conn else {
            return;
        };
        match conn.flush() {
            Err(error) => self.lose(token, &error.to_string()),
            Ok(wanted) if wanted != slot.writable_wanted => {
                let interest = if wanted {
                    Interest::READABLE | Interest::WRITABLE
                } else {
                    Interest::READABLE
                };
                slot.writable_wanted = wanted;
                let registry = self.poll.registry();
                if let Err(error) = registry.reregister(&mut conn.socket, Token(token), interest) {
                    self.lose(token, &error.to_string());
                }
            }
            Ok(_) => {}
        }
    }

    /// Waits for the last answers, deletes what a churn left, and closes the sessions.
    fn wind_down(&mut self, events: &mut Events) -> io::Result<()> {
        self.settle(events)?;
        for token in 0..self.slots.len() {
            let Slot { conn, own, .. } = &mut self.slots[token];
            let Some(conn) = conn.as_mut().filter(|conn| conn.is_open()) else {
                continue;
            };
            let before = conn.in_flight();
            self.composer.clear_up(conn, own);
            (before..conn.in_flight()).for_each(|_| self.seen.sent(Kind::Delete));
            self.seen.left_behind += own.plain_count() as u64;
            conn.request(-11, Kind::Close, 0, false, |_| {});
            self.seen.sent(Kind::Close);
            // A server that closes the connection behind its answer loses nobody.
            self.flush(token);
        }
        let before = (self.seen.lost_connections, self.seen.failed_connects);
        self.settle(events)?;
        (self.seen.lost_connections, self.seen.failed_connects) = before;
        Ok(())
    }

    fn settle(&mut self, events: &mut Events) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let waits = |slot: &Slot| {
            slot.conn
                .as_ref()
                .is_some_and(|conn| conn.is_open() && conn.in_flight() > 0)
        };
        while self.slots.iter().any(waits) {
            if Instant::now() > deadline {
                return Err(io::Error::other(format!(
                    "requests were not answered within {PATIENCE:?}"
                )));
            }
            self.turn(events, Duration::from_millis(50))?;
        }
        Ok(())
    }
}

/// What is noted of an answer.
pub fn measured(answer: &Answer<'_>, latency_us: u64, at_ms: u64) -> Measured {
    Measured {
        kind: answer.request.kind,
        latency_us,
        err: answer.err,
        at_ms,
        request_bytes: answer.request_bytes(),
        reply_bytes: answer.reply_bytes(),
    }
}
