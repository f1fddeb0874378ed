//! A server's disk: what is durable, and what is on its way there, in order.
//!
//! Operations become durable in batches, log records many at a time, epoch files and snapshots one by one. A crash
//! keeps what was durable and any beginning of what was on its way: the contract that the log engine keeps after its
//! recovery (`storage/tests/log_crash.rs` proves that part). What a restart finds goes through the real recovery.

use std::collections::VecDeque;

use ringkeeper::base::{Epoch, Zxid};
use ringkeeper::replica::member::Store;
use ringkeeper::replica::recover::Recovery;
use ringkeeper::tree::{Tree, View};
use ringkeeper::zab::{Mark, Proposal, Recovered};
use storage::engine::Recover;

use super::bug::Bug;
use super::check::{Applied, id_of};
use super::random::Random;
use super::server::features;

/// What a restart finds.
#[derive(Clone)]
pub struct Image {
    pub accepted: Epoch,
    pub current: Epoch,
    /// The snapshot: the state at its zxid, and what it is to clients.
    pub base: Applied,
    state: Option<View>,
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
            state: None,
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

    /// What a server makes of it, holding so many records back.
    pub fn recovered(&self, held: usize) -> (Tree, Recovered) {
        let mut recovery = Recovery::new(features(), 7).holding_back(held, 1 << 20);
        if let Some(view) = &self.state {
            let begun = recovery.begin_snapshot(view.totals().zxid, view.seed(), &view.meta());
            begun.expect("a snapshot of ours");
            for (key, value) in view.entries() {
                recovery.entry(key, value).expect("its entries");
            }
            recovery.end_snapshot().expect("all of them");
        }
        for entry in &self.log {
            let read = recovery.record(entry.zxid, &entry.txn);
            read.unwrap_or_else(|why| panic!("Z11: {} does not go on from what is there: {why}", entry.zxid));
        }
        let (tree, base, entries) = recovery.finish_member();
        let found = Recovered {
            accepted: self.accepted,
            current: self.current,
            base,
            entries,
            trusted: self.trusted,
        };
        (tree, found)
    }

    /// Takes a snapshot of the state that clients see, and lets the log before it go.
    pub fn snapshot(&mut self, applied: Applied, view: View) {
        if applied.zxid > self.base.zxid && applied.zxid <= self.last() {
            self.log.retain(|entry| entry.zxid > applied.zxid);
            (self.base, self.state) = (applied, Some(view));
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
            Store::Install(_, view) => {
                self.base = store.installed.expect("the stream came with the packet");
                self.state = Some(view.clone());
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
    replaced: Option<Image>,
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

    /// What the log will hold between two places.
    pub fn between(&self, after: Zxid, through: Zxid) -> Vec<Proposal> {
        let log = &self.image.log;
        let from = log.partition_point(|entry| entry.zxid <= after);
        let mut entries = log[from..].to_vec();
        for store in &self.waiting {
            match &store.what {
                Store::Append(proposal) if proposal.zxid > after => entries.push(proposal.clone()),
                Store::Truncate(zxid) => entries.retain(|entry| entry.zxid <= *zxid),
                Store::Install(..) => entries.clear(),
                _ => {}
            }
        }
        entries.retain(|entry| entry.zxid <= through);
        entries
    }

    /// How much a loss of power could take.
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
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
            if self.bug == Some(Bug::SnapshotNotSynced) && matches!(store.what, Store::Install(..)) {
                self.replaced = Some(self.image.clone());
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
        if let Some(mut replaced) = self.replaced.take()
            && random.chance(50)
        {
            replaced.log.append(&mut self.image.log);
            (self.image.base, self.image.state, self.image.log) = (replaced.base, replaced.state, replaced.log);
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
