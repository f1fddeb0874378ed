//! One session of this test's own client, and what it does all the while.
//!
//! Every operation becomes a record, whatever happens to it. A session that the servers have forgotten is noted as such
//! and another one takes its place; whether it might be forgotten is for the checker to say.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use super::history::{Op, Outcome, Record, now_us};
use super::load::{Crowd, Signals};
use super::random::Random;
use super::session::{Answer, Found, Session};
use super::words::*;
use crate::peers::Packet;
use crate::peers::jute::Stat;

/// What a worker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Writes and reads everything.
    Writer,
    /// Holds an ephemeral and pings.
    Idle,
    /// Opens a session, creates ephemerals, closes it, and begins again.
    Comer,
    /// Lists the children of the busy parents after a sync.
    Looker,
}

/// A worker.
pub struct Worker<'s> {
    kind: Kind,
    name: String,
    addresses: Vec<SocketAddr>,
    timeout_ms: i32,
    pause: Duration,
    session: Session,
    signals: &'s Signals,
    records: Vec<Record>,
    random: Random,
    /// Of values.
    count: u32,
    sequentials: Vec<String>,
    ephemerals: Vec<String>,
}

/// A server must be found within this time; no fault of these tests lasts nearly as long.
const FIND_MAX: Duration = Duration::from_secs(120);
/// How many own sequential nodes stay.
const SEQUENTIALS: usize = 20;
/// How many own ephemerals there are at a time.
const EPHEMERALS: usize = 4;

impl<'s> Worker<'s> {
    /// A worker that has not begun.
    pub fn new(
        kind: Kind,
        number: usize,
        addresses: &[SocketAddr],
        crowd: &Crowd,
        seed: u64,
        signals: &'s Signals,
    ) -> Self {
        Self {
            kind,
            name: format!("{kind:?}{number}").to_lowercase(),
            addresses: addresses.to_vec(),
            timeout_ms: crowd.timeout_ms,
            pause: crowd.pause,
            session: Session::new(addresses, number, crowd.timeout_ms),
            signals,
            records: Vec::new(),
            random: Random::new(seed << 16 | number as u64),
            count: 0,
            sequentials: Vec::new(),
            ephemerals: Vec::new(),
        }
    }

    /// Operations until it is time to be quiet.
    pub fn work(&mut self) {
        while !self.signals.quiet.load(SeqCst) {
            if !self.attached() {
                continue;
            }
            match self.kind {
                Kind::Writer => self.one(),
                Kind::Idle => self.idle(),
                Kind::Comer => self.come_and_go(),
                Kind::Looker => self.look(),
            }
            thread::sleep(self.pause);
        }
    }

    /// Holds the session.
    pub fn hold(&mut self) {
        while !self.signals.end.load(SeqCst) {
            if self.attached() {
                self.ping();
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Closes it, and gives the records.
    pub fn finish(mut self) -> Vec<Record> {
        if self.session.id() != 0 {
            self.close();
        }
        self.records
    }

    fn close(&mut self) {
        let mut record = self.begun(Op::Close, "");
        if self.session.close() {
            record.outcome = Outcome::Ok;
        }
        self.done(record);
    }

    /// Whether there is a connection, after looking for one.
    fn attached(&mut self) -> bool {
        if self.session.is_attached() {
            return true;
        }
        let op = if self.session.id() == 0 { Op::Open } else { Op::Attach };
        let mut record = self.begun(op, "");
        let signals = self.signals;
        match self
            .session
            .find_server(Instant::now() + FIND_MAX, || signals.end.load(SeqCst))
        {
            Found::Attached => {
                record.outcome = Outcome::Ok;
                record.session = self.session.id();
                record.version = self.session.timeout_ms;
                self.done(record);
                true
            }
            Found::Expired => {
                self.expired();
                false
            }
            Found::Nobody => {
                assert!(
                    self.signals.end.load(SeqCst),
                    "{}: no server took session {:#x} for {FIND_MAX:?}",
                    self.name,
                    self.session.id()
                );
                false
            }
        }
    }

    fn expired(&mut self) {
        let record = self.begun(Op::Expired, "");
        self.done(record);
        self.ephemerals.clear();
        self.session = Session::new(&self.addresses, self.count as usize, self.timeout_ms);
    }

    fn begun(&self, op: Op, path: &str) -> Record {
        Record::begun(&self.name, self.session.id(), op, path)
    }

    fn done(&mut self, mut record: Record) {
        record.returned_us = now_us();
        let is_write = !matches!(
            record.op,
            Op::Get | Op::SyncGet | Op::PairRead | Op::List | Op::Open | Op::Attach
        );
        if record.is_ok() && is_write {
            self.signals.acknowledged.fetch_add(1, SeqCst);
        }
        self.records.push(record);
    }

    /// Sends a request, notes how it ended, and lets `told` take what a success says.
    fn call(
        &mut self,
        mut record: Record,
        op: i32,
        body: &[u8],
        told: impl FnOnce(&mut Record, &Packet) -> Option<()>,
    ) -> bool {
        let answer = self.session.call(op, body);
        let is_gone = matches!(answer, Answer::Expired);
        if let Answer::Reply(packet) = answer {
            record.header = packet.zxid;
            record.outcome = Outcome::Failed(packet.err);
            if packet.err == 0 {
                record.outcome = Outcome::Ok;
                told(&mut record, &packet)
                    .unwrap_or_else(|| panic!("{}: {:?} has no such body: {packet:?}", self.name, record.op));
            }
        }
        let is_ok = record.is_ok();
        self.done(record);
        if is_gone {
            self.expired();
        }
        is_ok
    }

    fn ping(&mut self) {
        let record = self.begun(Op::Attach, "");
        if let Answer::Reply(packet) = self.session.call(PING, &[]) {
            // A ping's answer keeps the session, and its zxid never goes back either.
            let header = packet.zxid;
            self.done(Record {
                header,
                outcome: Outcome::Ok,
                version: self.session.timeout_ms,
                ..record
            });
        }
    }

    fn value(&mut self) -> String {
        self.count += 1;
        format!("{}.{}", self.name, self.count)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random.below(end as usize) as u64
    }

    fn one(&mut self) {
        let key = self.below(4);
        match self.below(100) {
            0..25 => {
                let value = self.value();
                self.set(&format!("/load/reg/{key}"), value, -1);
            }
            25..42 => self.count_up(&format!("/load/counter/{}", key % 2)),
            42..50 => drop(self.get(Op::Get, &format!("/load/reg/{key}"))),
            50..58 => self.synced_get(&format!("/load/reg/{key}")),
            58..68 => self.pair(&format!("/load/pair/{}", key % 2)),
            68..76 => self.pair_read(&format!("/load/pair/{}", key % 2)),
            76..80 => self.failing(&format!("/load/pair/{}", key % 2)),
            80..92 => self.sequential(),
            _ => self.ephemeral(),
        }
    }

    fn set(&mut self, path: &str, value: String, expected: i32) {
        let mut record = self.begun(Op::Set, path);
        let body = set(path, &value, expected);
        (record.value, record.expected) = (value, expected);
        self.call(record, SET, &body, |record, packet| {
            let stat = crate::peers::jute::In::new(&packet.body).stat()?;
            (record.zxid, record.version) = (stat.mzxid, stat.version);
            Some(())
        });
    }

    /// Reads, and gives the version that was read.
    fn get(&mut self, op: Op, path: &str) -> Option<i32> {
        let record = self.begun(op, path);
        self.call(record, GET, &read(path), |record, packet| {
            let (data, stat) = data_and_stat(&packet.body)?;
            (record.value, record.zxid, record.version) = (data, stat.mzxid, stat.version);
            Some(())
        });
        self.records
            .last()
            .filter(|last| last.is_ok() && last.op == op)
            .map(|last| last.version)
    }

    fn synced(&mut self, path: &str) -> bool {
        matches!(self.session.call(SYNC, &path_only(path)), Answer::Reply(packet) if packet.err == 0)
    }

    fn synced_get(&mut self, path: &str) {
        let begun = now_us();
        if self.synced(path) && self.get(Op::SyncGet, path).is_some() {
            let last = self.records.last_mut().expect("just noted");
            last.invoked_us = begun;
        }
    }

    fn count_up(&mut self, path: &str) {
        if let Some(version) = self.get(Op::Get, path) {
            let value = format!("{}.{}", version + 1, self.value());
            self.set(path, value, version);
        }
    }

    fn pair(&mut self, base: &str) {
        let mut record = self.begun(Op::Pair, base);
        record.value = self.value();
        let part = |side: &str| (SET, set(&format!("{base}/{side}"), &record.value, -1));
        let body = multi(&[part("left"), part("right")]);
        self.call(record, MULTI, &body, |record, packet| {
            let stats = stats_of_sets(&packet.body)?;
            let [left, right] = stats[..] else { return None };
            let is_one = same_write(left, right);
            (record.zxid, record.version) = (left.mzxid, if is_one { left.version } else { -2 });
            Some(())
        });
    }

    fn pair_read(&mut self, base: &str) {
        let record = self.begun(Op::PairRead, base);
        let part = |side: &str| (GET, read(&format!("{base}/{side}")));
        let body = multi(&[part("left"), part("right")]);
        self.call(record, MULTI_READ, &body, |record, packet| {
            let reads = multi_reads(&packet.body)?;
            let [(data, left), (other, right)] = &reads[..] else {
                return None;
            };
            let is_one = data == other && same_write(*left, *right);
            (record.value, record.zxid) = (data.clone(), left.mzxid);
            record.version = if is_one { left.version } else { -2 };
            Some(())
        });
    }

    /// The multi's reply says nothing of its failure but in its body, so the header's code is of no use.
    fn failing(&mut self, base: &str) {
        let mut record = self.begun(Op::Failing, base);
        record.value = format!("never.{}", self.value());
        let parts = [
            (SET, set(&format!("{base}/left"), &record.value, -1)),
            (CHECK, delete(&format!("{base}/none"), 0)),
        ];
        self.call(record, MULTI, &multi(&parts), |record, packet| {
            record.outcome = match stats_of_sets(&packet.body) {
                None => Outcome::Failed(NO_NODE),
                Some(_) => Outcome::Ok,
            };
            Some(())
        });
    }

    fn sequential(&mut self) {
        if self.sequentials.len() > SEQUENTIALS {
            let path = self.sequentials.remove(0);
            self.delete(&path);
            return;
        }
        let value = self.value();
        if let Some(path) = self.create(Op::Sequential, "/load/seq/s-", &value, SEQUENTIAL) {
            self.sequentials.push(path);
        }
    }

    fn ephemeral(&mut self) {
        if self.ephemerals.len() >= EPHEMERALS {
            let path = self.ephemerals.remove(0);
            self.delete(&path);
            return;
        }
        let path = format!("/load/eph/{}", self.value());
        if let Some(path) = self.create(Op::Ephemeral, &path, "e", EPHEMERAL) {
            self.ephemerals.push(path);
        }
    }

    fn create(&mut self, op: Op, path: &str, value: &str, flags: i32) -> Option<String> {
        let mut record = self.begun(op, path);
        record.value = value.into();
        let is_ok = self.call(record, CREATE2, &create(path, value, flags), |record, packet| {
            let (name, stat) = path_and_stat(&packet.body)?;
            (record.path, record.zxid, record.version) = (name, stat.czxid, 0);
            Some(())
        });
        is_ok.then(|| self.records.last().expect("just noted").path.clone())
    }

    fn delete(&mut self, path: &str) {
        let record = self.begun(Op::Delete, path);
        self.call(record, DELETE, &delete(path, -1), |record, packet| {
            record.zxid = packet.zxid;
            Some(())
        });
    }

    fn idle(&mut self) {
        if self.ephemerals.is_empty() {
            self.ephemeral();
        }
        self.ping();
        // As a client library does it: a third of the timeout.
        let until = Instant::now() + Duration::from_millis(self.timeout_ms as u64 / 3);
        while Instant::now() < until && !self.signals.quiet.load(SeqCst) {
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn come_and_go(&mut self) {
        for _ in 0..2 {
            self.ephemeral();
        }
        thread::sleep(self.pause * 20);
        if self.session.is_attached() {
            self.close();
            self.ephemerals.clear();
            self.session = Session::new(&self.addresses, self.count as usize, self.timeout_ms);
        }
    }

    fn look(&mut self) {
        for parent in ["/load/eph", "/load/seq"] {
            let mut record = self.begun(Op::List, parent);
            if !self.synced(parent) {
                return;
            }
            record.path = parent.into();
            self.call(record, CHILDREN, &read(parent), |record, packet| {
                let (names, _) = names_and_stat(&packet.body)?;
                record.value = names.join(",");
                Some(())
            });
        }
        thread::sleep(Duration::from_millis(150));
    }
}

/// Whether two nodes were last set by one transaction; those that were never set were created by two.
pub fn same_write(left: Stat, right: Stat) -> bool {
    left.version == right.version && (left.mzxid == right.mzxid || left.version == 0)
}
