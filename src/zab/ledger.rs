//! What this server has logged, promised and learned to be decided, and how much of it is on its disk.
//!
//! `base ≤ shown ≤ delivered ≤ last`, where `delivered` is how far the tree is: all that is known to be decided, or what
//! the base's snapshot holds; and `shown` how much of it clients see yet. `durable` follows on its own: a quorum may be faster than this disk. Nothing that is known
//! to be decided is ever given up. What is stored is remembered until it is durable, so that the disk's image is known.

use std::collections::VecDeque;

use super::history::{History, Proposal, follows};
use super::output::{Mark, Outbox, Output, Store};
use super::vote::{UNTRUSTED_ZXID, Vote};
use crate::base::{Epoch, ServerId, Zxid};

/// What a server finds on its disk when it starts.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The newest epoch promised.
    pub accepted: Epoch,
    /// The epoch whose history is there.
    pub current: Epoch,
    /// The zxid of the snapshot that was loaded.
    pub base: Zxid,
    /// What the log holds behind it.
    pub entries: Vec<Proposal>,
    /// False for an empty directory that nobody declared to be a new member's: such a server follows, but neither
    /// votes nor counts until it has a leader's history (traps.md T-51).
    pub trusted: bool,
}

/// Why what was found cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// `acceptedEpoch < currentEpoch`.
    PromiseBehindHistory {
        /// What was promised.
        accepted: Epoch,
        /// What is there.
        current: Epoch,
    },
    /// The log has transactions of an epoch that was never promised.
    LogBeyondPromise {
        /// The last in the log.
        last: Zxid,
        /// What was promised.
        accepted: Epoch,
    },
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::PromiseBehindHistory { accepted, current } => write!(
                f,
                "acceptedEpoch holds {accepted} but currentEpoch {current}: one of the files is not this server's last"
            ),
            StartError::LogBeyondPromise { last, accepted } => write!(
                f,
                "the log ends at {last} but acceptedEpoch holds {accepted}: the file is not this server's last"
            ),
        }
    }
}

impl std::error::Error for StartError {}

/// What is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    /// The end of the log.
    pub last: Zxid,
    /// The promise.
    pub accepted: Epoch,
    /// The epoch whose history is there.
    pub current: Epoch,
}

/// How an operation changes the disk's image.
#[derive(Clone, Copy, Debug)]
enum Change {
    Last(Zxid),
    Accepted(Epoch),
    Current(Epoch),
}

/// Logged, promised, decided, durable.
#[derive(Debug)]
pub struct Ledger {
    history: History,
    accepted: Epoch,
    current: Epoch,
    trusted: bool,
    committed: Zxid,
    shown: Zxid,
    durable: Durable,
    changes: VecDeque<(Mark, Change)>,
    kept_count: usize,
}

impl Ledger {
    /// Starts from what was found; `kept_count` decided proposals are kept for learners that lack only those.
    pub fn recover(found: Recovered, kept_count: usize) -> Result<Ledger, StartError> {
        let (accepted, current) = (found.accepted, found.current);
        let mut history = History::starting_at(found.base);
        found.entries.into_iter().for_each(|entry| history.push(entry));
        let last = history.last();
        if accepted < current {
            return Err(StartError::PromiseBehindHistory { accepted, current });
        }
        if last.epoch() > accepted.0 {
            return Err(StartError::LogBeyondPromise { last, accepted });
        }
        Ok(Ledger {
            history,
            accepted,
            current,
            trusted: found.trusted,
            committed: Zxid::ZERO,
            shown: found.base,
            durable: Durable {
                last,
                accepted,
                current,
            },
            changes: VecDeque::new(),
            kept_count,
        })
    }

    /// What is in memory.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The last zxid logged, durable or not.
    pub fn last(&self) -> Zxid {
        self.history.last()
    }

    /// How far the tree is.
    pub fn delivered(&self) -> Zxid {
        self.committed.max(self.history.base())
    }

    /// How far clients see it.
    pub fn shown(&self) -> Zxid {
        self.shown
    }

    /// Clients see it so far.
    pub fn show(&mut self, zxid: Zxid) {
        let delivered = self.delivered();
        assert!(
            self.shown <= zxid && zxid <= delivered,
            "shown {} ≤ {zxid} ≤ delivered {delivered}",
            self.shown
        );
        self.shown = zxid;
        self.trim();
    }

    /// The newest epoch promised.
    pub fn accepted(&self) -> Epoch {
        self.accepted
    }

    /// The epoch whose first history is here.
    pub fn current(&self) -> Epoch {
        self.current
    }

    /// What is on the disk.
    pub fn durable(&self) -> Durable {
        self.durable
    }

    /// The last zxid as a leader is told it: nothing, if it is nothing to go by.
    pub fn claim(&self) -> Option<Zxid> {
        self.trusted.then(|| self.last())
    }

    /// What this server proposes first: itself.
    pub fn vote(&self, me: ServerId) -> Vote {
        Vote {
            leader: me,
            zxid: self.claim().map_or(UNTRUSTED_ZXID, |last| last.0 as i64),
            peer_epoch: self.current.0 as i64,
        }
    }

    /// Whether a proposal may be appended.
    pub fn continues_with(&self, zxid: Zxid) -> bool {
        follows(self.last(), zxid)
    }

    /// Logs a proposal.
    pub fn append(&mut self, proposal: Proposal, out: &mut Outbox) {
        self.history.push(proposal.clone());
        self.change(Change::Last(proposal.zxid), Store::Append(proposal), out);
    }

    /// Forgets what follows a zxid; false if it is not here exactly, or if what follows was delivered (T-41, T-42).
    #[must_use]
    pub fn truncate(&mut self, zxid: Zxid, out: &mut Outbox) -> bool {
        if zxid < self.delivered() || !self.history.holds(zxid) {
            return false;
        }
        if zxid < self.last() {
            self.history.truncate(zxid);
            self.change(Change::Last(zxid), Store::Truncate(zxid), out);
        }
        true
    }

    /// Takes a leader's whole state; false if it is older than what is known to be decided. A snapshot here may be
    /// newer all the same: it came from a leader that never had its quorum.
    #[must_use]
    pub fn install(&mut self, zxid: Zxid, out: &mut Outbox) -> bool {
        if zxid < self.committed {
            return false;
        }
        self.history = History::starting_at(zxid);
        self.shown = zxid;
        self.change(Change::Last(zxid), Store::Install(zxid), out);
        self.trusted = true;
        true
    }

    /// Promises an epoch.
    pub fn promise(&mut self, epoch: Epoch, out: &mut Outbox) {
        assert!(epoch > self.accepted, "{epoch} is newer than {}", self.accepted);
        self.accepted = epoch;
        self.change(Change::Accepted(epoch), Store::AcceptedEpoch(epoch), out);
    }

    /// The history that a promised epoch begins with is logged.
    pub fn enter(&mut self, epoch: Epoch, out: &mut Outbox) {
        assert!(
            self.current <= epoch && epoch <= self.accepted,
            "{} ≤ {epoch} ≤ {}",
            self.current,
            self.accepted
        );
        if epoch > self.current {
            self.current = epoch;
            self.change(Change::Current(epoch), Store::CurrentEpoch(epoch), out);
        }
    }

    /// Everything up to a zxid is decided: it is delivered, in order.
    pub fn commit(&mut self, through: Zxid, out: &mut Outbox) {
        let delivered = self.delivered();
        assert!(through <= self.last(), "committed {through} ≤ last {}", self.last());
        if through <= delivered {
            return;
        }
        let decided = self.history.after(delivered).take_while(|entry| entry.zxid <= through);
        decided.for_each(|entry| out.push(Output::Deliver(entry.clone())));
        self.committed = through;
        self.trim();
    }

    /// Lets go of what has been of use long enough; what a snapshot would lack stays.
    fn trim(&mut self) {
        self.history.trim(self.committed.min(self.shown), self.kept_count);
    }

    /// The zxid that is decided next.
    pub fn next_undecided(&self) -> Option<Zxid> {
        self.history.after(self.delivered()).next().map(|entry| entry.zxid)
    }

    /// Everything up to `mark` is on the disk.
    pub fn is_durable(&mut self, mark: Mark) {
        while let Some((_, change)) = self.changes.pop_front_if(|(of, _)| *of <= mark) {
            match change {
                Change::Last(zxid) => self.durable.last = zxid,
                Change::Accepted(epoch) => self.durable.accepted = epoch,
                Change::Current(epoch) => self.durable.current = epoch,
            }
        }
    }

    fn change(&mut self, change: Change, store: Store, out: &mut Outbox) {
        let mark = out.store(store);
        self.changes.push_back((mark, change));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn proposal(epoch: u32, counter: u32) -> Proposal {
        Proposal {
            zxid: Zxid::new(epoch, counter),
            txn: Bytes::new(),
        }
    }

    fn found(accepted: u32, current: u32, entries: &[(u32, u32)]) -> Recovered {
        Recovered {
            accepted: Epoch(accepted),
            current: Epoch(current),
            base: Zxid::ZERO,
            entries: entries
                .iter()
                .map(|(epoch, counter)| proposal(*epoch, *counter))
                .collect(),
            trusted: true,
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |found| Ledger::recover(found, 10).unwrap_err();
        let (accepted, current) = (Epoch(1), Epoch(2));
        assert_eq!(
            refused(found(1, 2, &[])),
            StartError::PromiseBehindHistory { accepted, current }
        );
        let last = Zxid::new(2, 1);
        assert_eq!(
            refused(found(1, 1, &[(2, 1)])),
            StartError::LogBeyondPromise { last, accepted }
        );
        assert!(
            Ledger::recover(found(2, 1, &[(2, 1)]), 10).is_ok(),
            "a crash between log and epoch file"
        );
    }

    #[test]
    fn the_disk_follows_in_order() {
        let mut out = Outbox::default();
        let mut ledger = Ledger::recover(found(1, 1, &[(1, 1), (1, 2)]), 10).unwrap();
        ledger.promise(Epoch(2), &mut out);
        assert!(ledger.truncate(Zxid::new(1, 1), &mut out));
        ledger.append(proposal(2, 1), &mut out);
        ledger.enter(Epoch(2), &mut out);
        let image = |last: (u32, u32), accepted, current| Durable {
            last: Zxid::new(last.0, last.1),
            accepted: Epoch(accepted),
            current: Epoch(current),
        };
        let images = [
            image((1, 2), 1, 1),
            image((1, 2), 2, 1),
            image((1, 1), 2, 1),
            image((2, 1), 2, 1),
            image((2, 1), 2, 2),
        ];
        for (mark, image) in images.into_iter().enumerate() {
            ledger.is_durable(Mark(mark as u64));
            assert_eq!(ledger.durable(), image, "after {mark}");
        }
    }

    #[test]
    fn what_was_delivered_stays() {
        let mut out = Outbox::default();
        let mut ledger = Ledger::recover(found(1, 1, &[(1, 1), (1, 2), (1, 3)]), 1).unwrap();
        assert_eq!(ledger.next_undecided(), Some(Zxid::new(1, 1)));
        ledger.commit(Zxid::new(1, 2), &mut out);
        let delivered = [Output::Deliver(proposal(1, 1)), Output::Deliver(proposal(1, 2))];
        assert_eq!(out.take(), delivered);
        assert_eq!(ledger.history().base(), Zxid::ZERO, "a snapshot would lack it");
        ledger.show(Zxid::new(1, 2));
        assert_eq!(
            ledger.history().base(),
            Zxid::new(1, 2),
            "one is kept, and that is not decided"
        );
        assert!(!ledger.truncate(Zxid::new(1, 1), &mut out));
        assert!(!ledger.install(Zxid::new(1, 1), &mut out));
        assert!(ledger.truncate(Zxid::new(1, 2), &mut out));
        assert_eq!(ledger.last(), ledger.delivered());
        assert!(ledger.install(Zxid::new(1, 9), &mut out));
        assert!(
            ledger.install(Zxid::new(1, 5), &mut out),
            "a snapshot is not known to be decided"
        );
    }

    #[test]
    fn a_point_that_is_not_there_is_no_place_to_cut() {
        let mut out = Outbox::default();
        let mut ledger = Ledger::recover(found(3, 3, &[(1, 1), (3, 1)]), 10).unwrap();
        assert!(!ledger.truncate(Zxid::new(2, 1), &mut out));
        assert!(!ledger.truncate(Zxid::new(3, 2), &mut out));
        assert!(ledger.truncate(Zxid::new(3, 1), &mut out), "nothing to cut");
        assert_eq!(out.take(), []);
    }

    #[test]
    fn an_empty_directory_is_no_empty_history() {
        let mut ledger = Ledger::recover(
            Recovered {
                trusted: false,
                ..found(0, 0, &[])
            },
            10,
        )
        .unwrap();
        assert_eq!((ledger.claim(), ledger.vote(ServerId(1)).zxid), (None, UNTRUSTED_ZXID));
        assert!(ledger.install(Zxid::new(0, 5), &mut Outbox::default()));
        assert_eq!(ledger.claim(), Some(Zxid::new(0, 5)));
    }
}
