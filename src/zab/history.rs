//! The proposals a server has in memory: the newest part of its log, without gaps.
//!
//! `base < first entry ≤ … ≤ last`, each entry following the one before it: the counter goes up by one, or a later
//! epoch begins at 1. What was before `base` is on the disk only. An entry in the middle is never replaced.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::base::Zxid;

/// A transaction and its place in the order of all of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// Its place.
    pub zxid: Zxid,
    /// Header, record and digest; not looked at here.
    pub txn: Bytes,
}

/// Whether `next` may stand right behind `last` (traps.md T-03: no gap is ever let in).
pub fn follows(last: Zxid, next: Zxid) -> bool {
    if next.epoch() == last.epoch() {
        next.0 == last.0 + 1
    } else {
        next.epoch() > last.epoch() && next.counter() == 1
    }
}

/// The entries behind a base.
#[derive(Clone, Debug)]
pub struct History {
    base: Zxid,
    entries: VecDeque<Proposal>,
}

impl History {
    /// Nothing in memory; everything up to `base` is on the disk.
    pub fn starting_at(base: Zxid) -> History {
        History {
            base,
            entries: VecDeque::new(),
        }
    }

    /// The zxid before the first entry.
    pub fn base(&self) -> Zxid {
        self.base
    }

    /// The zxid of the last entry, or the base.
    pub fn last(&self) -> Zxid {
        self.entries.back().map_or(self.base, |entry| entry.zxid)
    }

    /// Appends.
    pub fn push(&mut self, entry: Proposal) {
        assert!(
            follows(self.last(), entry.zxid),
            "{} follows {}",
            entry.zxid,
            self.last()
        );
        self.entries.push_back(entry);
    }

    /// Whether this very zxid is an entry or the base.
    pub fn holds(&self, zxid: Zxid) -> bool {
        zxid == self.base || self.entries.binary_search_by_key(&zxid, |entry| entry.zxid).is_ok()
    }

    /// The largest zxid held that is smaller than this one.
    pub fn before(&self, zxid: Zxid) -> Option<Zxid> {
        match self.entries.partition_point(|entry| entry.zxid < zxid) {
            0 => (self.base < zxid).then_some(self.base),
            index => Some(self.entries[index - 1].zxid),
        }
    }

    /// The entries behind a zxid, in order.
    pub fn after(&self, zxid: Zxid) -> impl Iterator<Item = &Proposal> {
        let index = self.entries.partition_point(|entry| entry.zxid <= zxid);
        self.entries.range(index..)
    }

    /// Forgets what stands behind a zxid that is held.
    pub fn truncate(&mut self, zxid: Zxid) {
        assert!(
            self.holds(zxid),
            "{zxid} is held, between {} and {}",
            self.base,
            self.last()
        );
        self.entries
            .truncate(self.entries.partition_point(|entry| entry.zxid <= zxid));
    }

    /// Lets go of the oldest entries, all of them up to `through`, until at most `count_max` are left.
    pub fn trim(&mut self, through: Zxid, count_max: usize) {
        while self.entries.len() > count_max && self.entries.front().is_some_and(|entry| entry.zxid <= through) {
            self.base = self.entries.pop_front().expect("there is a front").zxid;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A history from `(epoch, counter)` pairs, behind a base.
    pub fn history(base: (u32, u32), entries: &[(u32, u32)]) -> History {
        let mut history = History::starting_at(Zxid::new(base.0, base.1));
        for (epoch, counter) in entries {
            history.push(Proposal {
                zxid: Zxid::new(*epoch, *counter),
                txn: Bytes::new(),
            });
        }
        history
    }

    #[test]
    fn what_may_follow() {
        let may = |last: (u32, u32), next: (u32, u32)| follows(Zxid::new(last.0, last.1), Zxid::new(next.0, next.1));
        assert!(may((0, 0), (0, 1)) && may((0, 0), (1, 1)) && may((1, 4), (1, 5)) && may((1, 4), (3, 1)));
        assert!(
            may((2, 0), (2, 1)),
            "behind a snapshot taken at the beginning of an epoch"
        );
        assert!(!may((1, 4), (1, 6)) && !may((1, 4), (1, 4)) && !may((1, 4), (2, 2)) && !may((2, 1), (1, 2)));
        assert!(!may((1, 4), (2, 0)));
    }

    #[test]
    fn looking_around() {
        let history = history((1, 1), &[(1, 2), (1, 3), (3, 1)]);
        let z = Zxid::new;
        assert_eq!((history.base(), history.last()), (z(1, 1), z(3, 1)));
        assert!(history.holds(z(1, 1)) && history.holds(z(3, 1)) && !history.holds(z(2, 0)));
        assert_eq!(history.before(z(1, 1)), None);
        assert_eq!(history.before(z(1, 2)), Some(z(1, 1)));
        assert_eq!(history.before(z(2, 7)), Some(z(1, 3)));
        assert_eq!(history.after(z(1, 3)).count(), 1);
        assert_eq!(history.after(z(0, 0)).count(), 3);
    }

    #[test]
    fn both_ends_give_way() {
        let mut both = history((1, 1), &[(1, 2), (1, 3), (3, 1)]);
        both.trim(Zxid::new(1, 2), 0);
        assert_eq!((both.base(), both.after(Zxid::ZERO).count()), (Zxid::new(1, 2), 2));
        both.truncate(Zxid::new(1, 3));
        assert_eq!(both.last(), Zxid::new(1, 3));
        both.truncate(Zxid::new(1, 2));
        assert_eq!(both.last(), both.base());
    }

    #[test]
    #[should_panic(expected = "0x100000004 follows 0x100000002")]
    fn a_gap_is_never_let_in() {
        history((1, 1), &[(1, 2), (1, 4)]);
    }
}
