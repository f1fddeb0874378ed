//! One generator thread: an event loop over its connections that keeps them busy, or on schedule.

use std::collections::VecDeque;
use std::io;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::conn::Conn;
use super::fill::write_create;
use super::keys::Chooser;
use super::measure::Seen;
use super::mix::Kind;
use super::plan::Plan;

/// Runs the whole load and gives what all threads saw.
pub fn run(plan: &Plan) -> io::Result<Seen> {
    let started = Barrier::new(plan.threads);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.threads)
            .map(|index| {
                scope.spawn({
                    let started = &started;
                    move || Thread::open(plan, index).and_then(|thread| thread.run(started))
                })
            })
            .collect();
        let mut all = Seen::default();
        for thread in threads {
            all.merge(thread.join().expect("a generator thread does not panic")?);
        }
        Ok(all)
    })
}

struct Thread<'a> {
    plan: &'a Plan,
    poll: Poll,
    connections: Vec<Option<Conn>>,
    writable_wanted: Vec<bool>,
    random: SmallRng,
    chooser: Chooser,
    seen: Seen,
    clock: Instant,
    /// Microseconds between this thread's requests in an open loop.
    gap_us: Option<f64>,
    /// Requests that are due and found no free connection.
    overdue: VecDeque<u64>,
}

impl<'a> Thread<'a> {
    fn open(plan: &'a Plan, index: usize) -> io::Result<Thread<'a>> {
        let poll = Poll::new()?;
        let mut connections = Vec::new();
        for connection in (index..plan.connections).step_by(plan.threads) {
            let address = plan.addresses[connection % plan.addresses.len()];
            let mut conn = Conn::open(address, connection, Duration::from_secs(30))?;
            poll.registry()
                .register(&mut conn.socket, Token(connections.len()), Interest::READABLE)?;
            connections.push(Some(conn));
        }
        Ok(Thread {
            plan,
            poll,
            writable_wanted: vec![false; connections.len()],
            connections,
            random: SmallRng::seed_from_u64(plan.seed.wrapping_mul(1_000_003) + index as u64),
            chooser: Chooser::new(plan.skew, plan.layout.count),
            seen: Seen::default(),
            clock: Instant::now(),
            gap_us: plan.rate.map(|rate| 1e6 * plan.threads as f64 / rate as f64),
            overdue: VecDeque::new(),
        })
    }

    fn run(mut self, started: &Barrier) -> io::Result<Seen> {
        started.wait();
        self.clock = Instant::now();
        let warm_us = self.plan.warm_up.as_micros() as u64;
        let end_us = warm_us + self.plan.duration.as_micros() as u64;
        let mut events = Events::with_capacity(1024);
        let mut scheduled = 0u64;
        if self.gap_us.is_none() {
            (0..self.connections.len()).for_each(|token| self.top_up(token));
        }
        loop {
            let now_us = self.now_us();
            if now_us >= end_us {
                break;
            }
            let timeout = match self.gap_us {
                None => Duration::from_micros(end_us - now_us).min(Duration::from_millis(100)),
                Some(gap_us) => {
                    while scheduled as f64 * gap_us <= now_us as f64 {
                        self.overdue.push_back((scheduled as f64 * gap_us) as u64);
                        scheduled += 1;
                    }
                    self.send_overdue();
                    let next_us = (scheduled as f64 * gap_us) as u64;
                    Duration::from_micros(next_us.saturating_sub(self.now_us()).max(1))
                }
            };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            let ready: Vec<usize> = events.iter().map(|event| event.token().0).collect();
            for token in ready {
                self.serve(token, warm_us, end_us);
            }
            if self.connections.iter().all(Option::is_none) {
                return Err(io::Error::other("every connection was lost"));
            }
        }
        Ok(self.seen)
    }

    fn now_us(&self) -> u64 {
        self.clock.elapsed().as_micros() as u64
    }

    /// Takes a connection's answers and gives it new requests.
    fn serve(&mut self, token: usize, warm_us: u64, end_us: u64) {
        let now_us = self.now_us();
        let seen = &mut self.seen;
        let Some(conn) = &mut self.connections[token] else {
            return;
        };
        let result = conn.receive(|answer| {
            if answer.request.counted && now_us >= warm_us && now_us < end_us {
                let latency_us = now_us.saturating_sub(answer.request.due_us);
                seen.answer(answer.request.kind, latency_us, answer.err, (now_us - warm_us) / 1000);
            }
        });
        match result {
            Err(error) => self.lose(token, &error),
            Ok(()) if self.gap_us.is_none() => self.top_up(token),
            Ok(()) => {
                self.send_overdue();
                self.flush(token);
            }
        }
    }

    fn lose(&mut self, token: usize, error: &io::Error) {
        if let Some(mut conn) = self.connections[token].take() {
            eprintln!("zk-bench: connection {} was lost: {error}", conn.index);
            let _ = self.poll.registry().deregister(&mut conn.socket);
            self.seen.lost_connections += 1;
        }
    }

    /// Fills a connection up to its number of requests in flight.
    fn top_up(&mut self, token: usize) {
        let now_us = self.now_us();
        while self.connections[token]
            .as_ref()
            .is_some_and(|conn| conn.in_flight() < self.plan.in_flight)
        {
            self.issue(token, now_us);
        }
        self.flush(token);
    }

    /// Gives due requests to the connections with room, in turn.
    fn send_overdue(&mut self) {
        let count = self.connections.len();
        let mut token = 0;
        let mut full = 0;
        while full < count && !self.overdue.is_empty() {
            let has_room = self.connections[token]
                .as_ref()
                .is_some_and(|conn| conn.in_flight() < self.plan.in_flight);
            if has_room {
                let due_us = self.overdue.pop_front().expect("it is not empty");
                self.issue(token, due_us);
                self.flush(token);
                full = 0;
            } else {
                full += 1;
            }
            token = (token + 1) % count;
        }
    }

    fn flush(&mut self, token: usize) {
        let Some(conn) = &mut self.connections[token] else {
            return;
        };
        match conn.flush() {
            Err(error) => self.lose(token, &error),
            Ok(wanted) if wanted != self.writable_wanted[token] => {
                let interest = if wanted {
                    Interest::READABLE | Interest::WRITABLE
                } else {
                    Interest::READABLE
                };
                let result = self
                    .poll
                    .registry()
                    .reregister(&mut conn.socket, Token(token), interest);
                self.writable_wanted[token] = wanted;
                if let Err(error) = result {
                    self.lose(token, &error);
                }
            }
            Ok(_) => {}
        }
    }

    /// Appends one request of the mix.
    fn issue(&mut self, token: usize, due_us: u64) {
        let (kind, key) = (
            self.plan.mix.pick(&mut self.random),
            self.chooser.next(&mut self.random),
        );
        let (plan, layout) = (self.plan, &self.plan.layout);
        let others: Vec<u32> = match kind {
            Kind::Multi => (1..plan.multi).map(|_| self.chooser.next(&mut self.random)).collect(),
            _ => Vec::new(),
        };
        let Some(conn) = &mut self.connections[token] else {
            return;
        };
        match kind {
            Kind::Ping => conn.request(11, kind, due_us, true, |_| {}),
            Kind::Get | Kind::Exists => {
                let opcode = if kind == Kind::Get { 4 } else { 3 };
                conn.request(opcode, kind, due_us, true, |w| {
                    w.text(&layout.leaf(key));
                    w.bool(false);
                });
            }
            Kind::Children => conn.request(12, kind, due_us, true, |w| {
                w.text(&layout.parent(key));
                w.bool(false);
            }),
            Kind::Set => conn.request(5, kind, due_us, true, |w| {
                w.text(&layout.leaf(key));
                w.buffer(Some(&plan.data));
                w.int(-1);
            }),
            Kind::Churn | Kind::Ephemeral => {
                let path = format!("{}/own-{}", layout.root, conn.index);
                let there = conn.own_node;
                conn.own_node = !there;
                if there {
                    conn.request(2, kind, due_us, true, |w| {
                        w.text(&path);
                        w.int(-1);
                    });
                } else {
                    let flags = if kind == Kind::Ephemeral { 1 } else { 0 };
                    conn.request(1, kind, due_us, true, |w| write_create(w, &path, &plan.data, flags));
                }
            }
            Kind::Sequential => {
                let path = format!("{}/seq-{}-", layout.root, conn.index);
                conn.request(1, kind, due_us, true, |w| write_create(w, &path, &plan.data, 3));
            }
            Kind::Multi => conn.request(14, kind, due_us, true, |w| {
                for key in [key].into_iter().chain(others) {
                    w.int(5);
                    w.bool(false);
                    w.int(-1);
                    w.text(&layout.leaf(key));
                    w.buffer(Some(&plan.data));
                    w.int(-1);
                }
                w.int(-1);
                w.bool(true);
                w.int(-1);
            }),
        }
    }
}
