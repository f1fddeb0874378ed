//! What a learner lacks: one decision, made from its last zxid and the leader's history (`LearnerHandler#syncFollower`).
//!
//! Equal zxids mean equal histories before them: one leader proposed both. So a learner whose last zxid we hold needs
//! what follows it. One that has more of an epoch than we must forget the rest, but only where it is certain to hold
//! the point we name: Java compares no epochs here (traps.md T-21) and cuts at the wrong record (T-42). Everything
//! else gets a snapshot. Log files on the disk are not read for a DIFF: memory holds what `history` holds.

use super::history::History;
use crate::base::{Epoch, Zxid};

/// How a learner is brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// It lacks only the end.
    Diff,
    /// It must first forget what follows this zxid.
    Trunc(Zxid),
    /// It gets everything.
    Snap,
}

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sync {
    /// What is said first.
    pub how: How,
    /// Every proposal behind this zxid is sent.
    pub from: Zxid,
}

/// Decides. `learner` is what it logged last, `None` when it has nothing to go by; `committed` is how far the history
/// is decided, and `shown` how much of that a snapshot holds; `epoch` is the leader's own.
pub fn decide(learner: Option<Zxid>, history: &History, (shown, committed): (Zxid, Zxid), epoch: Epoch) -> Sync {
    assert!(
        history.base() <= shown && shown <= committed && committed <= history.last(),
        "{} ≤ {shown} ≤ {committed} ≤ {}",
        history.base(),
        history.last()
    );
    let snap = Sync {
        how: How::Snap,
        from: shown,
    };
    let Some(last) = learner else { return snap };
    let reach = history.base()..=committed;
    // An epoch's zxid belongs to a learner that got its leader's whole state when that epoch began.
    if reach.contains(&last) && (history.holds(last) || last.counter() == 0) {
        return Sync {
            how: How::Diff,
            from: last,
        };
    }
    // The largest decided zxid before it; one whose epoch the learner shares, or that it got from us in this epoch.
    let kept = history.before(last).map(|before| before.min(committed));
    match kept {
        Some(kept) if kept.counter() > 0 && (kept.epoch() == last.epoch() || last.epoch() == epoch.0) => Sync {
            how: How::Trunc(kept),
            from: kept,
        },
        _ => snap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zab::history::tests::history;

    const EPOCH: Epoch = Epoch(4);

    #[track_caller]
    fn check(learner: Option<(u32, u32)>, expect: How, from: (u32, u32)) {
        let history = history((1, 2), &[(1, 3), (1, 4), (3, 1), (3, 2), (4, 1), (4, 2)]);
        let learner = learner.map(|(epoch, counter)| Zxid::new(epoch, counter));
        let decided = decide(learner, &history, (Zxid::new(3, 2), Zxid::new(4, 1)), EPOCH);
        let from = Zxid::new(from.0, from.1);
        assert_eq!(decided, Sync { how: expect, from }, "{learner:?}");
    }

    #[test]
    fn what_it_holds_too_is_where_a_diff_begins() {
        check(Some((4, 1)), How::Diff, (4, 1));
        check(Some((3, 1)), How::Diff, (3, 1));
        check(Some((1, 2)), How::Diff, (1, 2));
        // From a snapshot at the beginning of an epoch that is within reach.
        check(Some((3, 0)), How::Diff, (3, 0));
        check(Some((4, 0)), How::Diff, (4, 0));
    }

    #[test]
    fn what_was_never_decided_is_forgotten_within_its_epoch() {
        check(Some((1, 9)), How::Trunc(Zxid::new(1, 4)), (1, 4));
        check(Some((3, 7)), How::Trunc(Zxid::new(3, 2)), (3, 2));
        // Proposed by us, and not decided yet: it is sent again.
        check(Some((4, 2)), How::Trunc(Zxid::new(4, 1)), (4, 1));
    }

    #[test]
    fn a_learner_of_our_own_epoch_has_our_first_history() {
        let history = history((1, 2), &[(1, 3), (3, 2 - 1), (4, 1)]);
        let decided = decide(
            Some(Zxid::new(4, 1)),
            &history,
            (Zxid::new(3, 1), Zxid::new(3, 1)),
            EPOCH,
        );
        let kept = Zxid::new(3, 1);
        assert_eq!(
            decided,
            Sync {
                how: How::Trunc(kept),
                from: kept
            }
        );
    }

    #[test]
    fn everything_else_gets_a_snapshot() {
        check(None, How::Snap, (3, 2));
        check(Some((1, 1)), How::Snap, (3, 2));
        check(Some((0, 0)), How::Snap, (3, 2));
        // T-21: (2,5) is no point in our history, and (1,4) need not be one in the learner's.
        check(Some((2, 5)), How::Snap, (3, 2));
        // A promise beyond ours says nothing of the history before it.
        check(Some((9, 0)), How::Snap, (3, 2));
    }

    #[test]
    fn a_cut_to_nothing_is_no_cut() {
        // T-42: a truncation below the first record keeps that record in Java.
        let history = history((0, 0), &[(4, 1)]);
        let decided = decide(Some(Zxid::new(4, 1)), &history, (Zxid::ZERO, Zxid::ZERO), EPOCH);
        assert_eq!(decided.how, How::Snap);
    }

    #[test]
    fn an_empty_learner_of_a_young_ensemble_gets_it_all() {
        let history = history((0, 0), &[(4, 1), (4, 2)]);
        let decided = decide(Some(Zxid::ZERO), &history, (Zxid::ZERO, Zxid::new(4, 2)), EPOCH);
        assert_eq!(
            decided,
            Sync {
                how: How::Diff,
                from: Zxid::ZERO
            }
        );
    }
}
