//! What a server keeps through all its roles: its settings, its ledger, its outbox, its round and its vote.
//!
//! Also how it answers notifications while it is not looking for a leader itself, which every role does alike.

use std::collections::BTreeSet;

use super::event::{Event, Why};
use super::ledger::Ledger;
use super::message::FromLearner;
use super::message::Link;
use super::output::{Outbox, Output, Serving};
use super::quorum::Quorum;
use super::vote::{Notification, State, Vote};
use crate::base::ServerId;

/// What does not change while the server runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This server.
    pub me: ServerId,
    /// Who votes.
    pub quorum: Quorum,
    /// `tickTime`.
    pub tick_ms: u64,
    /// `initLimit`: ticks to connect and be synchronised in.
    pub init_limit: u64,
    /// `syncLimit`: ticks a leader or a learner may be silent.
    pub sync_limit: u64,
    /// How long the winner of an election is waited for to be beaten, unless every voter has spoken
    /// (`FastLeaderElection#finalizeWait`).
    pub finalize_ms: u64,
    /// Notifications are repeated after so long, then twice as long, and so on.
    pub notification_ms_min: u64,
    /// Up to this.
    pub notification_ms_max: u64,
    /// How often a leader is dialled that does not answer.
    pub dial_count_max: u32,
    /// And how long apart (`leaderConnectDelayDuringRetryMs`).
    pub dial_again_ms: u64,
    /// Decided proposals kept in memory for learners that lack only those (`commitLogCount`).
    pub kept_count: usize,
}

impl Settings {
    /// Java's defaults.
    pub fn new(me: ServerId, quorum: Quorum) -> Settings {
        Settings {
            me,
            quorum,
            tick_ms: 2000,
            init_limit: 10,
            sync_limit: 5,
            finalize_ms: 200,
            notification_ms_min: 200,
            notification_ms_max: 60_000,
            dial_count_max: 5,
            dial_again_ms: 100,
            kept_count: 500,
        }
    }

    /// Time to connect and be synchronised in.
    pub fn init_ms(&self) -> u64 {
        self.tick_ms * self.init_limit
    }

    /// Time a peer may be silent.
    pub fn sync_ms(&self) -> u64 {
        self.tick_ms * self.sync_limit
    }

    /// Whether this server votes.
    pub fn votes(&self) -> bool {
        self.quorum.is_voter(self.me)
    }
}

/// What every role works with.
#[derive(Debug)]
pub struct Common {
    /// As configured.
    pub settings: Settings,
    /// Logged, promised, decided.
    pub ledger: Ledger,
    /// What this step gives.
    pub out: Outbox,
    /// The newest election round this server was in (`logicalclock`); forgotten when the process ends.
    pub round: i64,
    /// Whom the last election made leader, and in which round.
    pub elected: (Vote, i64),
    /// Servers that cannot be reached, as far as is known. An election port may be found closed before the connection
    /// to the leader breaks, so this is known before an election begins.
    pub gone: BTreeSet<ServerId>,
    /// Whether to ask the next leader for a snapshot: the last one's stream did not fit this history.
    pub wants_snapshot: bool,
    serving: Serving,
}

impl Common {
    /// At start.
    pub fn new(settings: Settings, ledger: Ledger) -> Common {
        Common {
            settings,
            ledger,
            out: Outbox::default(),
            round: 0,
            elected: (Vote::NOBODY, 0),
            gone: BTreeSet::new(),
            wants_snapshot: false,
            serving: Serving::Nobody,
        }
    }

    /// Says who can be served, if that changed.
    pub fn serve(&mut self, serving: Serving) {
        if self.serving != serving {
            self.serving = serving;
            self.out.push(Output::Serving(serving));
        }
    }

    /// Who can be served.
    pub fn serving(&self) -> Serving {
        self.serving
    }

    /// A learner is told what its leader must know of it.
    pub fn ack_epoch(&self, counted: bool) -> FromLearner {
        FromLearner::AckEpoch {
            current: counted.then(|| self.ledger.current()),
            last: self.ledger.claim().filter(|_| !self.wants_snapshot),
        }
    }

    /// What the last election gave, said in this state.
    pub fn elected(&self, state: State) -> Notification {
        let (vote, round) = self.elected;
        Notification::new(state, vote, round)
    }

    /// Tells one server a vote.
    pub fn notify(&mut self, to: ServerId, notification: Notification) {
        self.out.push(Output::Notify { to, notification });
    }

    /// Answers somebody who looks for a leader while this server has one. A voter is told the round of that election,
    /// others this server's own (`FastLeaderElection.Messenger.WorkerReceiver#run`).
    pub fn answer(&mut self, from: ServerId, heard: &Notification, state: State) {
        let elected = self.elected(state);
        if !self.settings.quorum.is_voter(from) {
            let round = self.round;
            self.notify(from, Notification { round, ..elected });
        } else if heard.state == State::Looking {
            self.notify(from, elected);
        }
    }

    /// After synchronisation the vote names the epoch that was established (ZOOKEEPER-1732), and this history is a
    /// leader's.
    pub fn established(&mut self) {
        self.wants_snapshot = false;
        self.elected.0.peer_epoch = self.ledger.current().0 as i64;
    }

    /// A line for the operator.
    pub fn tell(&mut self, event: Event) {
        self.out.push(Output::Event(event));
    }

    /// Gives a role up: its connections close, and what waits to leave over them never leaves.
    pub fn leave(&mut self, links: impl IntoIterator<Item = Link>) {
        links.into_iter().for_each(|link| self.out.close(link));
        self.serve(Serving::Nobody);
    }

    /// Notes that a leader's stream does not fit, so that the next attempt asks for everything.
    pub fn distrust(&mut self, why: Why) -> Why {
        self.wants_snapshot = true;
        why
    }
}
