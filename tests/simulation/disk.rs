//! A server's disk: what is durable, and what is on its way there, in order.
//!
//! Operations become durable in batches, log records many at a time, epoch files and snapshots one by one. A crash
//! keeps what was durable and any beginning of what was on its way: the contract that the log engine keeps after its
//! recovery (`storage/tests/log_crash.rs` proves that part).

use std::collections::VecDeque;

use ringkeeper::base::{Epoch, Zxid};
use ringkeeper::zab::{Mark, Proposal, Recovered, Store};

use super::bug::Bug;
use super::check::{Applied, id_of};
use super::random::Random;

/// What a restart finds.
#[derive(Clone, Debug)]
pub struct Image {
    pub accepted: Epoch,
    pub current: Epoch,
    /// The snapshot: the state at its zxid.
    pub base: Applied,
    /// The log behind it.
    pub log: Vec<Proposal>,
    /// False after the directory was lost, until a leader's state is in it.
    pub trusted: bool,
}

impl Image {
    pub fn new() -> Image {
        Image {
            accepted: Epoch(0),
            current: Epoch(0),
            base: Applied::default(),
            log: Vec::new(),
            trusted: true,
        }
    }

    pub fn last(&self) -> Zxid {
        self.log.last().map_or(self.base.zxid, |entry| entry.zxid)
    }

    /// Whether a transaction is here, as itself or in the snapshot.
    pub fn holds(&self, zxid: Zxid, id: u64) -> bool {
        match self.log.binary_search_by_key(&zxid, |entry| entry.zxid) {
            Ok(index) => id_of(&self.log[index]) == id,
            Err(_) => zxid <= self.base.zxid,
        }
    }

    pub fn recovered(&self) -> Recovered {
        Recovered {
            accepted: self.accepted,
            current: self.current,
            base: self.base.zxid,
            entries: self.log.clone(),
            trusted: self.trusted,
        }
    }

    /// Takes a snapshot of the state that clients see, and lets the log before it go.
    pub fn snapshot(&mut self, applied: Applied) {
        if applied.zxid > self.base.zxid && applied.zxid <= self.last() {
            self.log.retain(|entry| entry.zxid > applied.zxid);
            self.base = applied;
        }
    }

    fn apply(&mut self, store: &Stored, bug: Option<Bug>) {
        match &store.what {
            Store::Append(proposal) => self.log.push(proposal.clone()),
            Store::Truncate(_) if bug == Some(Bug::TruncateSkipped) => {}
            Store::Truncate(zxid) => {
                self.log.retain(|entry| entry.zxid <= *zxid);
                if bug == Some(Bug::TruncatesTooMuch) {
                    self.log.pop();
                }
            }
            Store::Install(_) => {
                self.base = store.installed.expect("the stream came with the packet");
                self.log.clear();
                self.trusted = true;
            }
            Store::AcceptedEpoch(_) if bug == Some(Bug::PromiseNotStored) => {}
            Store::AcceptedEpoch(epoch) => self.accepted = *epoch,
            Store::CurrentEpoch(_) if bug == Some(Bug::EpochNotStored) => {}
            Store::CurrentEpoch(epoch) => self.current = *epoch,
        }
    }
}

/// An operation on its way.
#[derive(Clone, Debug)]
pub struct Stored {
    pub mark: Mark,
    pub what: Store,
    /// The state that a snapshot brings.
    pub installed: Option<Applied>,
}

pub struct Disk {
    pub image: Image,
    waiting: VecDeque<Stored>,
    /// How many of the waiting ones the sync under way covers.
    in_sync: usize,
    /// How long syncs take, in ms.
    pub slow_ms: u64,
    /// With the bug of that name: what a received snapshot replaced, as long as it is not on the disk by chance.
    replaced: Option<(Applied, Vec<Proposal>)>,
    bug: Option<Bug>,
}

impl Disk {
    pub fn new(bug: Option<Bug>) -> Disk {
        Disk {
            image: Image::new(),
            waiting: VecDeque::new(),
            in_sync: 0,
            slow_ms: 0,
            replaced: None,
            bug,
        }
    }

    /// What the log will be when everything on its way is there.
    pub fn to_be(&self) -> Image {
        let mut image = self.image.clone();
        self.waiting.iter().for_each(|store| image.apply(store, self.bug));
        image
    }

    pub fn submit(&mut self, store: Stored) {
        let overtakes = self.bug == Some(Bug::EpochBeforeTransactions);
        if overtakes && matches!(store.what, Store::CurrentEpoch(_)) {
            self.image.apply(&store, self.bug);
        }
        self.waiting.push_back(store);
    }

    /// Begins a sync, unless one is under way or there is nothing to do; gives how long it takes.
    pub fn sync(&mut self, random: &mut Random) -> Option<u64> {
        if self.in_sync > 0 || self.waiting.is_empty() {
            return None;
        }
        let is_record = |store: &Stored| matches!(store.what, Store::Append(_));
        self.in_sync = self.waiting.iter().take_while(|store| is_record(store)).count().max(1);
        Some(1 + random.below(3) as u64 + self.slow_ms)
    }

    /// The sync under way is done; gives how far the disk is.
    pub fn synced(&mut self) -> Mark {
        let mut mark = Mark(0);
        for store in self.waiting.drain(..self.in_sync) {
            if self.bug == Some(Bug::SnapshotNotSynced) && matches!(store.what, Store::Install(_)) {
                self.replaced = Some((self.image.base, self.image.log.clone()));
            }
            self.image.apply(&store, self.bug);
            mark = store.mark;
        }
        self.in_sync = 0;
        mark
    }

    /// Power is lost: any beginning of what was on its way may be there.
    pub fn crash(&mut self, random: &mut Random) {
        let survivors = random.below(self.waiting.len() + 1);
        for store in self.waiting.drain(..survivors) {
            self.image.apply(&store, self.bug);
        }
        self.waiting.clear();
        self.in_sync = 0;
        if let Some((base, mut log)) = self.replaced.take()
            && random.chance(50)
        {
            log.append(&mut self.image.log);
            (self.image.base, self.image.log) = (base, log);
        }
        match self.bug {
            Some(Bug::Amnesia) if random.chance(30) => self.image = Image::new(),
            Some(Bug::TailDropped) => {
                let kept = self.image.log.len().saturating_sub(1 + random.below(3));
                self.image.log.truncate(kept);
            }
            _ => {}
        }
    }
}
