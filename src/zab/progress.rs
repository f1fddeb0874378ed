//! What a leader knows of one learner (`LearnerHandler`): who it is, how far it got, and until when it must speak.
//!
//! `acked` only grows, and speaks for everything before it: a learner logs in order.

use super::message::Link;
use crate::base::{Epoch, ServerId, Zxid};

/// How far a learner got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connected; its INFO is awaited.
    Greeted,
    /// Waits for LEADERINFO, until a quorum is here.
    Introduced,
    /// Was told the epoch; its ACKEPOCH is awaited.
    Informed,
    /// Promised; waits for a quorum of promises.
    Promised,
    /// Gets what it lacks, and from here on everything new; its ACK of NEWLEADER is awaited.
    Syncing,
    /// Has the first history of the epoch; waits for a quorum of those.
    Synced,
    /// Up to date.
    Active,
}

/// One learner.
#[derive(Debug)]
pub struct Progress {
    /// Its connection.
    pub link: Link,
    /// Who it says it is.
    pub server: ServerId,
    /// Whether it takes INFORM in place of PROPOSAL and COMMIT.
    pub observer: bool,
    /// The newest epoch it promised before it came.
    pub accepted: Epoch,
    /// Its ACKEPOCH: whether it counts, and what it logged last.
    pub promise: (bool, Option<Zxid>),
    /// How far it is.
    pub phase: Phase,
    /// Everything up to here is on its disk.
    pub acked: Zxid,
    heard_ms: u64,
    deadline_ms: Option<u64>,
    oldest: Option<(Zxid, u64)>,
    newest: Option<(Zxid, u64)>,
}

/// Nobody yet.
pub const UNKNOWN: ServerId = ServerId(i64::MIN);

impl Progress {
    /// A connection came in.
    pub fn new(link: Link, deadline_ms: u64) -> Progress {
        Progress {
            link,
            server: UNKNOWN,
            observer: false,
            accepted: Epoch(0),
            promise: (false, None),
            phase: Phase::Greeted,
            acked: Zxid::ZERO,
            heard_ms: 0,
            deadline_ms: Some(deadline_ms),
            oldest: None,
            newest: None,
        }
    }

    /// Goes on; the learner must speak until then, unless it waits for the leader.
    pub fn enter(&mut self, phase: Phase, deadline_ms: Option<u64>) {
        assert!(phase > self.phase, "{phase:?} comes after {:?}", self.phase);
        self.phase = phase;
        self.deadline_ms = deadline_ms;
    }

    /// Any message of a learner that is up to date counts as a sign of life, for so long.
    pub fn heard(&mut self, now_ms: u64, sync_ms: u64) {
        self.heard_ms = now_ms;
        if self.phase == Phase::Active {
            self.deadline_ms = Some(now_ms + sync_ms);
        }
    }

    /// Whether it spoke within this time. One that is up to date answers two PINGs in every tick.
    pub fn was_heard_within(&self, ms: u64, now_ms: u64) -> bool {
        now_ms < self.heard_ms + ms
    }

    /// A proposal was sent. The oldest one that waits for its ACK is timed, and then the newest at that moment
    /// (`LearnerHandler.SyncLimitCheck`).
    pub fn proposed(&mut self, zxid: Zxid, now_ms: u64) {
        if self.oldest.is_none() {
            self.oldest = Some((zxid, now_ms));
        } else {
            self.newest = Some((zxid, now_ms));
        }
    }

    /// An ACK came.
    pub fn acked(&mut self, zxid: Zxid) {
        self.acked = self.acked.max(zxid);
        if self.oldest.is_some_and(|(oldest, _)| oldest <= zxid) {
            self.oldest = self.newest.take().filter(|(newest, _)| *newest > zxid);
        }
    }

    /// Why this learner must go, if it must.
    pub fn overdue(&self, now_ms: u64, sync_ms: u64) -> Option<&'static str> {
        if self.deadline_ms.is_some_and(|at| at <= now_ms) {
            return Some("it was silent for too long");
        }
        let slow = self.phase == Phase::Active && self.oldest.is_some_and(|(_, since)| since + sync_ms <= now_ms);
        slow.then_some("a proposal waited too long for its acknowledgement")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(now_ms: u64) -> Progress {
        let mut progress = Progress::new(Link(1), 10);
        progress.enter(Phase::Active, Some(now_ms));
        progress
    }

    #[test]
    fn who_waits_for_the_leader_has_no_deadline() {
        let mut progress = Progress::new(Link(1), 10);
        progress.heard(9, 90);
        assert!(progress.overdue(9, 100).is_none() && progress.overdue(10, 100).is_some());
        progress.enter(Phase::Introduced, None);
        assert!(progress.overdue(1000, 100).is_none());
        let mut progress = active(20);
        progress.heard(10, 20);
        assert!(progress.overdue(29, 100).is_none() && progress.overdue(30, 100).is_some());
        assert!(progress.was_heard_within(5, 14) && !progress.was_heard_within(5, 15));
    }

    #[test]
    fn the_oldest_proposal_is_timed() {
        let z = |counter| Zxid::new(1, counter);
        let mut progress = active(1000);
        for (counter, now_ms) in [(1, 0), (2, 10), (3, 20)] {
            progress.proposed(z(counter), now_ms);
        }
        assert!(progress.overdue(99, 100).is_none() && progress.overdue(100, 100).is_some());
        progress.acked(z(2));
        assert!(progress.overdue(119, 100).is_none() && progress.overdue(120, 100).is_some());
        progress.acked(z(3));
        assert!(progress.overdue(999, 100).is_none());
        progress.acked(z(1));
        assert_eq!(progress.acked, z(3));
    }
}
