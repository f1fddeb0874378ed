//! Fast leader election (`FastLeaderElection#lookForLeader`): every voter proposes itself, adopts what is better, and
//! is done when a quorum proposes the same.
//!
//! Notifications may be stale, repeated or lost; nothing is ever waited for twice. A wrong winner costs time, never
//! safety: it must still win a quorum's promises as a leader. Two sets of votes are kept apart. `votes` are of this
//! round. `settled` are of servers that have a leader: joining one takes a quorum of them that agree, and the leader's
//! own word that it leads (traps.md T-62 to T-64). Unlike Java, the wait for a better vote ends when every voter was
//! heard in this round or is known to be gone.

use std::collections::BTreeMap;

use super::common::Common;
use super::event::{Event, Why};
use super::joining::Joining;
use super::leading::Leading;
use super::node::Role;
use super::vote::{Notification, State, UNTRUSTED_ZXID, Vote};
use crate::base::ServerId;

/// Without a leader.
#[derive(Debug)]
pub struct Looking {
    own: Vote,
    proposal: Vote,
    votes: BTreeMap<ServerId, Notification>,
    settled: BTreeMap<ServerId, Notification>,
    repeat_ms: u64,
    interval_ms: u64,
    decide_ms: Option<u64>,
    since_ms: u64,
}

impl Looking {
    /// Begins a round.
    pub fn start(common: &mut Common, why: Why, now_ms: u64) -> Role {
        common.round += 1;
        let round = common.round;
        common.tell(Event::Looking { round, why });
        let votes = common.settings.votes();
        let own = if votes {
            common.ledger.vote(common.settings.me)
        } else {
            Vote::NOBODY
        };
        let interval_ms = common.settings.notification_ms_min;
        let looking = Looking {
            own,
            proposal: own,
            votes: BTreeMap::new(),
            settled: BTreeMap::new(),
            repeat_ms: now_ms + interval_ms,
            interval_ms,
            decide_ms: None,
            since_ms: now_ms,
        };
        looking.notify_all(common);
        looking.settle(common, now_ms)
    }

    /// What it says.
    pub fn notification(&self, common: &Common) -> Notification {
        Notification::new(State::Looking, self.proposal, common.round)
    }

    /// When time alone changes something.
    pub fn deadline_ms(&self) -> u64 {
        self.decide_ms.unwrap_or(u64::MAX).min(self.repeat_ms)
    }

    /// Time passed.
    pub fn tick(mut self, common: &mut Common, now_ms: u64) -> Role {
        if self.decide_ms.is_some_and(|at| at <= now_ms) {
            return self.decided(common, now_ms);
        }
        if self.repeat_ms <= now_ms {
            self.interval_ms = (self.interval_ms * 2).min(common.settings.notification_ms_max);
            self.repeat_ms = now_ms + self.interval_ms;
            self.notify_all(common);
        }
        Role::Looking(self)
    }

    /// A server cannot be reached: nothing better will come from it.
    pub fn gone(self, common: &mut Common, now_ms: u64) -> Role {
        self.settle(common, now_ms)
    }

    /// A notification came.
    pub fn hear(self, common: &mut Common, from: ServerId, heard: Notification, now_ms: u64) -> Role {
        if !common.settings.quorum.is_voter(from) {
            common.notify(from, self.notification(common));
            return Role::Looking(self);
        }
        if heard.state == State::Looking && heard.round < common.round {
            common.notify(from, self.notification(common));
        }
        if !common.settings.quorum.is_voter(heard.vote.leader) {
            return Role::Looking(self);
        }
        match heard.state {
            State::Looking => self.hear_proposal(common, from, heard, now_ms),
            State::Following | State::Leading => self.hear_settled(common, from, heard, now_ms),
            State::Observing => Role::Looking(self),
        }
    }

    fn hear_proposal(mut self, common: &mut Common, from: ServerId, heard: Notification, now_ms: u64) -> Role {
        // Who has nothing to go by neither wins nor judges.
        let untrusted = self.own.zxid == UNTRUSTED_ZXID || heard.vote.zxid == UNTRUSTED_ZXID;
        if untrusted || heard.round < common.round {
            return Role::Looking(self);
        }
        let quorum = &common.settings.quorum;
        if heard.round > common.round {
            common.round = heard.round;
            self.votes.clear();
            let better = heard.vote.beats(&self.own, quorum);
            self.adopt(common, if better { heard.vote } else { self.own });
        } else if heard.vote.beats(&self.proposal, quorum) {
            self.adopt(common, heard.vote);
        } else if self.proposal.beats(&heard.vote, quorum) {
            // It may not know ours: it may have begun after it was told. Java waits until the next notification is due.
            common.notify(from, self.notification(common));
        }
        self.votes.insert(from, heard);
        self.settle(common, now_ms)
    }

    fn adopt(&mut self, common: &mut Common, vote: Vote) {
        self.proposal = vote;
        self.decide_ms = None;
        self.notify_all(common);
    }

    /// Somebody has a leader already: the same round's votes may complete a quorum, or a settled ensemble is joined.
    fn hear_settled(mut self, common: &mut Common, from: ServerId, heard: Notification, now_ms: u64) -> Role {
        if heard.round == common.round {
            // Kept without its version, so that only the leader has to match (`Vote#equals`).
            let version = 0;
            self.votes.insert(from, Notification { version, ..heard });
            if Looking::is_decided(common, &self.votes, &heard) {
                self.proposal = heard.vote;
                return self.decided(common, now_ms);
            }
        }
        self.settled.insert(from, heard);
        if Looking::is_decided(common, &self.settled, &heard) {
            common.round = heard.round;
            self.proposal = heard.vote;
            return self.decided(common, now_ms);
        }
        self.settle(common, now_ms)
    }

    /// Whether a quorum agrees with this vote, and its leader says itself that it leads
    /// (`FastLeaderElection#checkLeader`).
    fn is_decided(common: &Common, votes: &BTreeMap<ServerId, Notification>, heard: &Notification) -> bool {
        let agrees = |id| votes.get(&id).is_some_and(|vote| vote.agrees(heard));
        let leader = heard.vote.leader;
        let leads = if leader == common.settings.me {
            heard.round == common.round
        } else {
            votes.get(&leader).is_some_and(|vote| vote.state == State::Leading)
        };
        leads && common.settings.quorum.decides(agrees)
    }

    /// Counts who proposes the same as this server, and starts or ends the wait for something better.
    fn settle(mut self, common: &mut Common, now_ms: u64) -> Role {
        let mine = self.notification(common);
        let me = common.settings.me;
        let supports = |id| id == me || self.votes.get(&id).is_some_and(|vote| vote.agrees(&mine));
        let nominated = self.proposal != Vote::NOBODY && self.proposal.zxid != UNTRUSTED_ZXID;
        if !nominated || !common.settings.quorum.decides(supports) {
            self.decide_ms = None;
            return Role::Looking(self);
        }
        let heard = |id| id == me || self.votes.contains_key(&id) || common.gone.contains(&id);
        if common.settings.quorum.voters().all(heard) {
            return self.decided(common, now_ms);
        }
        self.decide_ms.get_or_insert(now_ms + common.settings.finalize_ms);
        Role::Looking(self)
    }

    fn decided(self, common: &mut Common, now_ms: u64) -> Role {
        let (vote, round) = (self.proposal, common.round);
        common.elected = (vote, round);
        let took_ms = now_ms - self.since_ms;
        common.tell(Event::Elected { vote, round, took_ms });
        if vote.leader == common.settings.me {
            Leading::start(common, now_ms)
        } else {
            Joining::start(common, vote.leader, now_ms)
        }
    }

    fn notify_all(&self, common: &mut Common) {
        let me = common.settings.me;
        let voters: Vec<ServerId> = common.settings.quorum.voters().filter(|id| *id != me).collect();
        for voter in voters {
            common.notify(voter, self.notification(common));
        }
    }
}
