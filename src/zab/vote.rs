//! Votes, how they are ordered, and when two of them count as the same (`FastLeaderElection`, `Vote`).
//!
//! Zxids and epochs are signed here as they are on the wire: a server that may not be elected proposes `i64::MIN`,
//! and −1 is the zxid of one that has nothing it could go by.

use super::quorum::Quorum;
use crate::base::ServerId;

/// What a server is doing, as it tells its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum State {
    Looking,
    Following,
    Leading,
    Observing,
}

/// A proposal of a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vote {
    /// Who should lead.
    pub leader: ServerId,
    /// That server's last logged zxid.
    pub zxid: i64,
    /// That server's current epoch.
    pub peer_epoch: i64,
}

/// The last logged zxid of a server that found nothing it could trust.
pub const UNTRUSTED_ZXID: i64 = -1;

/// The form of notifications that carries a peer epoch one can rely on.
pub const NOTIFICATION_VERSION: i32 = 2;

impl Vote {
    /// What a server proposes that cannot be elected itself.
    pub const NOBODY: Vote = Vote {
        leader: ServerId(i64::MIN),
        zxid: i64::MIN,
        peer_epoch: i64::MIN,
    };

    /// Whether this one is better: epoch, then zxid, then number; whoever has no weight never wins
    /// (`FastLeaderElection#totalOrderPredicate`).
    pub fn beats(&self, other: &Vote, quorum: &Quorum) -> bool {
        let rank = |vote: &Vote| (vote.peer_epoch, vote.zxid, vote.leader);
        quorum.is_eligible(self.leader) && rank(self) > rank(other)
    }
}

/// A vote as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Notification {
    /// What the sender is doing.
    pub state: State,
    /// Whom it proposes or has.
    pub vote: Vote,
    /// In which round (`electionEpoch`).
    pub round: i64,
    /// The form it came in; 0 from old servers.
    pub version: i32,
}

impl Notification {
    /// In the form that is sent today.
    pub fn new(state: State, vote: Vote, round: i64) -> Notification {
        let version = NOTIFICATION_VERSION;
        Notification {
            state,
            vote,
            round,
            version,
        }
    }

    /// Whether two notifications support the same leader (`Vote#equals`). Votes of an election under way must agree
    /// in everything; settled ones may differ in zxid and round (ZOOKEEPER-1732, -1805, -1818).
    pub fn agrees(&self, other: &Notification) -> bool {
        if self.state == State::Looking || other.state == State::Looking {
            return self.vote == other.vote && self.round == other.round;
        }
        let one_is_old = (self.version == 0) != (other.version == 0);
        self.vote.leader == other.vote.leader && (one_is_old || self.vote.peer_epoch == other.vote.peer_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(peer_epoch: i64, zxid: i64, leader: i64) -> Vote {
        Vote {
            leader: ServerId(leader),
            zxid,
            peer_epoch,
        }
    }

    #[test]
    fn epoch_then_zxid_then_number() {
        let quorum = Quorum::majority([1, 2, 3].map(ServerId));
        let better = [vote(2, 0, 1), vote(1, 9, 1), vote(1, 8, 3), vote(1, 8, 2), Vote::NOBODY];
        for pair in better.windows(2) {
            assert!(pair[0].beats(&pair[1], &quorum), "{pair:?}");
            assert!(!pair[1].beats(&pair[0], &quorum), "{pair:?}");
            assert!(!pair[0].beats(&pair[0], &quorum), "{pair:?}");
        }
        assert!(!vote(9, 9, 4).beats(&vote(1, 1, 1), &quorum), "only voters are elected");
    }

    #[test]
    fn when_votes_agree() {
        let said = |state, zxid, peer_epoch, round, version| Notification {
            state,
            vote: vote(peer_epoch, zxid, 1),
            round,
            version,
        };
        let looking = said(State::Looking, 5, 1, 3, 0);
        assert!(looking.agrees(&looking));
        for other in [
            said(State::Looking, 6, 1, 3, 0),
            said(State::Looking, 5, 1, 4, 0),
            said(State::Leading, 5, 2, 3, 2),
        ] {
            assert!(!looking.agrees(&other) && !other.agrees(&looking), "{other:?}");
        }
        // Settled: zxid and round may differ; the peer epoch may only where one of the two is an old server's.
        let settled = said(State::Following, 5, 1, 3, 2);
        assert!(settled.agrees(&said(State::Leading, 9, 1, 8, 2)));
        assert!(!settled.agrees(&said(State::Leading, 5, 2, 3, 2)));
        assert!(settled.agrees(&said(State::Leading, 5, 2, 3, 0)));
    }
}
