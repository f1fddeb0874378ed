//! The leader (`Leader#lead`, `LearnerHandler#run`): from the election's result to a quorum, and from proposals to
//! commits.
//!
//! Four stages. *Gathering*: voters come, until a quorum knows a number larger than every promise among them.
//! *Proposing*: that epoch is promised by a quorum; whoever has more history ends this leadership. *Awaiting*:
//! learners get the whole history here, which is what the epoch begins with, and a quorum has it on its disks.
//! *Serving*: that history is decided, and proposals are. The leader's own disk is one vote like another's: its
//! promise, its history and its proposals count when they are durable (T-76), and a quorum without it is enough.
//!
//! `epoch's zxid ≤ committed ≤ last`, and what is committed is on the disks of a quorum.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::common::Common;
use super::event::{Event, Why};
use super::history::Proposal;
use super::looking::Looking;
use super::message::{FromLeader, FromLearner, Link};
use super::node::Role;
use super::output::{Output, Serving};
use super::progress::{Phase, Progress, UNKNOWN};
use super::sync::{self, How};
use super::vote::{Notification, State};
use crate::base::{Epoch, ServerId, Zxid};

/// Elected.
#[derive(Debug)]
pub struct Leading {
    stage: Stage,
    learners: BTreeMap<Link, Progress>,
    /// A stage but the last must be over by then.
    deadline_ms: u64,
    beat_ms: u64,
    beat_count: u64,
    /// Whether the last beat came in time. Until one does, it is not known who left meanwhile.
    is_awake: bool,
    /// Who is told when everything up to this zxid is committed.
    syncs: VecDeque<(Zxid, Link)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Gathering,
    Proposing(Epoch),
    Awaiting(Epoch),
    Serving(Epoch),
}

impl Stage {
    fn epoch(self) -> Option<Epoch> {
        match self {
            Stage::Gathering => None,
            Stage::Proposing(epoch) | Stage::Awaiting(epoch) | Stage::Serving(epoch) => Some(epoch),
        }
    }
}

/// A step goes on, or the leader gives up.
type Step = Result<(), Why>;

impl Leading {
    /// Waits for learners.
    pub fn start(common: &mut Common, now_ms: u64) -> Role {
        let mut leading = Leading {
            stage: Stage::Gathering,
            learners: BTreeMap::new(),
            deadline_ms: now_ms + common.settings.init_ms(),
            beat_ms: now_ms + common.settings.tick_ms / 2,
            beat_count: 0,
            is_awake: true,
            syncs: VecDeque::new(),
        };
        let step = leading.gather(common, now_ms);
        leading.after(step, common, now_ms)
    }

    /// When time alone changes something.
    pub fn deadline_ms(&self) -> u64 {
        match self.stage {
            Stage::Serving(_) => self.beat_ms,
            _ => self.beat_ms.min(self.deadline_ms),
        }
    }

    /// Time passed.
    pub fn tick(mut self, common: &mut Common, now_ms: u64) -> Role {
        let mut step = Ok(());
        if !matches!(self.stage, Stage::Serving(_)) && self.deadline_ms <= now_ms {
            step = Err(Why::NoQuorum);
        } else if self.beat_ms <= now_ms {
            step = self.beat(common, now_ms);
        }
        self.after(step, common, now_ms)
    }

    /// Somebody dialled.
    pub fn accepted(mut self, common: &mut Common, link: Link, now_ms: u64) -> Role {
        let before = self
            .learners
            .insert(link, Progress::new(link, now_ms + common.settings.init_ms()));
        assert!(before.is_none(), "{link:?} was given twice");
        Role::Leading(self)
    }

    /// A connection broke. Whether a quorum is left is asked at the next beat.
    pub fn closed(mut self, common: &mut Common, link: Link) -> Role {
        self.learners.remove(&link);
        self.syncs.retain(|(_, waiting)| *waiting != link);
        common.out.forget(link);
        Role::Leading(self)
    }

    /// A learner said something.
    pub fn hear(mut self, common: &mut Common, link: Link, message: FromLearner, now_ms: u64) -> Role {
        let Some(learner) = self.learners.get_mut(&link) else {
            return Role::Leading(self);
        };
        learner.heard(now_ms, common.settings.sync_ms());
        let step = match (learner.phase, message) {
            (
                Phase::Greeted,
                FromLearner::Info {
                    server,
                    observer,
                    accepted,
                },
            ) => {
                learner.enter(Phase::Introduced, None);
                (learner.server, learner.observer, learner.accepted) = (server, observer, accepted);
                self.introduced(common, link, now_ms)
            }
            (Phase::Informed, FromLearner::AckEpoch { current, last }) => {
                self.promised(common, link, (current, last), now_ms)
            }
            (Phase::Syncing, FromLearner::Ack(zxid)) => self.synced(common, link, zxid, now_ms),
            (Phase::Synced | Phase::Active, FromLearner::Ack(zxid)) => self.acked(common, link, zxid),
            (Phase::Active, FromLearner::Request(request)) => {
                common.out.push(Output::Request { link, request });
                Ok(())
            }
            (Phase::Active, FromLearner::SyncRequest(_)) => {
                self.sync_asked(common, link);
                Ok(())
            }
            (Phase::Active, FromLearner::Ping) => Ok(()),
            _ => {
                self.drop_learner(common, link, "it spoke out of turn");
                Ok(())
            }
        };
        self.after(step, common, now_ms)
    }

    /// A transaction was prepared here.
    pub fn propose(mut self, common: &mut Common, zxid: Zxid, txn: Bytes, now_ms: u64) -> Role {
        let Stage::Serving(epoch) = self.stage else {
            panic!("{zxid} is proposed without a quorum, in {:?}", self.stage);
        };
        if zxid.counter() == u32::MAX {
            return self.give_up(common, Why::Rollover, now_ms);
        }
        let expected = common.ledger.last().max(epoch.zxid()).next();
        assert!(zxid == expected, "{zxid} is proposed in place of {expected}");
        let proposal = Proposal { zxid, txn };
        common.ledger.append(proposal.clone(), &mut common.out);
        for learner in self.registered().filter(|learner| !learner.observer) {
            common
                .out
                .send_now(learner.link, FromLeader::Proposal(proposal.clone()));
            learner.proposed(zxid, now_ms);
        }
        Role::Leading(self)
    }

    /// The leader's own disk is further: it votes with it.
    pub fn durable(mut self, common: &mut Common, now_ms: u64) -> Role {
        match self.stage {
            Stage::Awaiting(epoch) => self.establish(common, epoch, now_ms),
            Stage::Serving(_) => self.commit(common),
            _ => {}
        }
        Role::Leading(self)
    }

    fn after(self, step: Step, common: &mut Common, now_ms: u64) -> Role {
        match step {
            Ok(()) => Role::Leading(self),
            Err(why) => self.give_up(common, why, now_ms),
        }
    }

    /// Whether a voter that was to follow has found a better candidate since, in this very election. It won its vote
    /// before that one could be reached; while nobody leads yet another election costs less than to wait in vain for
    /// learners. A candidate that only votes for itself is no reason: whoever comes late joins.
    pub fn is_outvoted(&self, common: &Common, from: ServerId, heard: &Notification) -> bool {
        let quorum = &common.settings.quorum;
        let (vote, round) = common.elected;
        self.stage == Stage::Gathering
            && heard.state == State::Looking
            && heard.round == round
            && heard.vote.beats(&vote, quorum)
            && heard.vote.leader != from
            && quorum.is_voter(from)
            && self.learners.values().all(|learner| learner.server != from)
    }

    /// Looks for a leader again.
    pub fn give_up(self, common: &mut Common, why: Why, now_ms: u64) -> Role {
        common.leave(self.learners.into_keys());
        Looking::start(common, why, now_ms)
    }

    // Gathering: LEADERINFO.

    fn introduced(&mut self, common: &mut Common, link: Link, now_ms: u64) -> Step {
        let server = self.learners[&link].server;
        if server == common.settings.me {
            self.drop_learner(common, link, "it has this server's own number");
            return Ok(());
        }
        // A server that dials again has given its older connection up, even if that has not been noticed here. It takes
        // its acknowledgements along: the server may be told to forget what it acknowledged and is not decided. But who
        // dials while that connection is alive is another one with the same number.
        let older = self
            .learners
            .values()
            .find(|other| other.server == server && other.link != link);
        if let Some(older) = older {
            if older.was_heard_within(common.settings.tick_ms, now_ms) {
                common.tell(Event::SecondOne { server, link });
                self.remove_learner(common, link);
                return Ok(());
            }
            let older = older.link;
            self.drop_learner(common, older, "it connected again");
        }
        match self.stage.epoch() {
            None => self.gather(common, now_ms),
            Some(epoch) => self.inform(common, link, epoch, now_ms),
        }
    }

    /// `Leader#getEpochToPropose`: only voters count, but every promise does (T-19).
    fn gather(&mut self, common: &mut Common, now_ms: u64) -> Step {
        let here = |learner: &Progress| learner.phase == Phase::Introduced && !learner.observer;
        if !self.is_quorum(common, true, here) {
            return Ok(());
        }
        let promises = self.learners.values().map(|learner| learner.accepted);
        let epoch = promises.fold(common.ledger.accepted(), Epoch::max).next();
        common.ledger.promise(epoch, &mut common.out);
        self.stage = Stage::Proposing(epoch);
        self.deadline_ms = now_ms + common.settings.init_ms();
        for link in self.in_phase(Phase::Introduced) {
            self.inform(common, link, epoch, now_ms)?;
        }
        // A leader that is a quorum by itself has promised already.
        self.promises(common, epoch, now_ms);
        Ok(())
    }

    /// LEADERINFO leaves when the leader's own promise is durable (T-15).
    fn inform(&mut self, common: &mut Common, link: Link, epoch: Epoch, now_ms: u64) -> Step {
        let learner = self.learners.get_mut(&link).expect("it was just heard");
        if learner.accepted > epoch && common.settings.quorum.is_voter(learner.server) {
            return Err(Why::PromisedMore(learner.server));
        }
        learner.enter(Phase::Informed, Some(now_ms + common.settings.init_ms()));
        common.out.send_when_durable(link, FromLeader::Info(epoch));
        Ok(())
    }

    // Proposing: ACKEPOCH.

    fn promised(&mut self, common: &mut Common, link: Link, said: (Option<Epoch>, Option<Zxid>), now_ms: u64) -> Step {
        let learner = self.learners.get_mut(&link).expect("it was just heard");
        let (current, last) = said;
        learner.promise = (current.is_some() && last.is_some(), last);
        learner.enter(Phase::Promised, None);
        match self.stage {
            Stage::Proposing(epoch) => {
                // Only who can be elected in this server's place is given way to: an observer may hold what a leader
                // without a quorum handed out, and nobody else does.
                let eligible = common.settings.quorum.is_eligible(learner.server);
                let ahead = (current, last) > (Some(common.ledger.current()), common.ledger.claim());
                if current.is_some() && eligible && ahead {
                    return Err(Why::Ahead(learner.server));
                }
                self.promises(common, epoch, now_ms);
            }
            Stage::Awaiting(epoch) | Stage::Serving(epoch) => self.synchronise(common, link, epoch, now_ms),
            Stage::Gathering => unreachable!("nobody is informed while learners gather"),
        }
        Ok(())
    }

    /// `Leader#waitForEpochAck`: with a quorum of promises the epoch's history is fixed, and can be handed out.
    fn promises(&mut self, common: &mut Common, epoch: Epoch, now_ms: u64) {
        let promised = |learner: &Progress| learner.phase == Phase::Promised && learner.promise.0 && !learner.observer;
        if !self.is_quorum(common, true, promised) {
            return;
        }
        common.ledger.enter(epoch, &mut common.out);
        self.stage = Stage::Awaiting(epoch);
        self.deadline_ms = now_ms + common.settings.init_ms();
        for link in self.in_phase(Phase::Promised) {
            self.synchronise(common, link, epoch, now_ms);
        }
    }

    // Awaiting: DIFF, TRUNC or SNAP, NEWLEADER, ACK.

    /// Sends what a learner lacks and registers it for everything new, in one step (T-14). Before there is a quorum,
    /// the whole history here is what the epoch begins with.
    fn synchronise(&mut self, common: &mut Common, link: Link, epoch: Epoch, now_ms: u64) {
        let learner = self.learners.get_mut(&link).expect("it was just heard");
        let (ledger, out) = (&common.ledger, &mut common.out);
        // A serving leader's state runs ahead of what is decided, and behind it in what clients see.
        let (decided, shown) = match self.stage {
            Stage::Serving(_) => (ledger.delivered(), ledger.shown()),
            _ => (ledger.last(), ledger.last()),
        };
        let sync = sync::decide(learner.promise.1, ledger.history(), (shown, decided), epoch);
        out.send_now(
            link,
            match sync.how {
                How::Diff => FromLeader::Diff(decided),
                How::Trunc(zxid) => FromLeader::Trunc(zxid),
                How::Snap => FromLeader::Snap(sync.from),
            },
        );
        let mut proposal_count = 0;
        for proposal in ledger.history().after(sync.from) {
            let zxid = proposal.zxid;
            if zxid <= decided {
                out.send_now(link, FromLeader::Proposal(proposal.clone()));
                out.send_now(link, FromLeader::Commit(zxid));
            } else if !learner.observer {
                out.send_now(link, FromLeader::Proposal(proposal.clone()));
                learner.proposed(zxid, now_ms);
            }
            proposal_count += 1;
        }
        out.send_now(link, FromLeader::NewLeader(epoch));
        learner.enter(Phase::Syncing, Some(now_ms + common.settings.init_ms()));
        let (server, how) = (learner.server, sync.how);
        common.tell(Event::Synchronising {
            server,
            how,
            proposal_count,
        });
    }

    fn synced(&mut self, common: &mut Common, link: Link, zxid: Zxid, now_ms: u64) -> Step {
        let epoch = self.stage.epoch().expect("somebody is synchronised");
        if zxid != epoch.zxid() {
            self.drop_learner(common, link, "its first acknowledgement is not of NEWLEADER");
            return Ok(());
        }
        let learner = self.learners.get_mut(&link).expect("it was just heard");
        learner.enter(Phase::Synced, None);
        learner.acked(zxid);
        match self.stage {
            Stage::Serving(_) => {
                self.activate(common, link, now_ms);
                self.commit(common);
            }
            _ => self.establish(common, epoch, now_ms),
        }
        Ok(())
    }

    /// A quorum has the epoch's first history on its disks: all of it is decided.
    fn establish(&mut self, common: &mut Common, epoch: Epoch, now_ms: u64) {
        let itself = common.ledger.durable().current == epoch;
        let synced = |learner: &Progress| learner.phase >= Phase::Synced && !learner.observer;
        if !self.is_awake || !self.is_quorum(common, itself, synced) {
            return;
        }
        self.stage = Stage::Serving(epoch);
        common.established();
        common.ledger.commit(common.ledger.last(), &mut common.out);
        common.serve(Serving::AsLeader(epoch));
        for link in self.in_phase(Phase::Synced) {
            self.activate(common, link, now_ms);
        }
    }

    fn activate(&mut self, common: &mut Common, link: Link, now_ms: u64) {
        let learner = self.learners.get_mut(&link).expect("it was just heard");
        learner.enter(Phase::Active, Some(now_ms + common.settings.sync_ms()));
        common.out.send_now(link, FromLeader::UpToDate);
    }

    // Serving: ACK, COMMIT.

    fn acked(&mut self, common: &mut Common, link: Link, zxid: Zxid) -> Step {
        if zxid > common.ledger.last().max(zxid_of(self.stage)) {
            self.drop_learner(common, link, "it acknowledged what was not proposed");
            return Ok(());
        }
        self.learners.get_mut(&link).expect("it was just heard").acked(zxid);
        if let Stage::Serving(_) = self.stage {
            self.commit(common);
        }
        Ok(())
    }

    /// Commits as far as a quorum has it.
    fn commit(&mut self, common: &mut Common) {
        let delivered = common.ledger.delivered();
        let Some(through) = self.agreed(common).filter(|through| *through > delivered) else {
            return;
        };
        let undecided = common.ledger.history().after(delivered);
        let decided = undecided.take_while(|proposal| proposal.zxid <= through).cloned();
        for proposal in decided.collect::<Vec<Proposal>>() {
            for learner in self.registered() {
                let message = match learner.observer {
                    true => FromLeader::Inform(proposal.clone()),
                    false => FromLeader::Commit(proposal.zxid),
                };
                common.out.send_now(learner.link, message);
            }
            // Right behind what it waits for: the learner's client may have written again since it asked.
            while let Some((_, link)) = self.syncs.pop_front_if(|(zxid, _)| *zxid <= proposal.zxid) {
                common.out.send_now(link, FromLeader::Sync);
            }
        }
        common.ledger.commit(through, &mut common.out);
    }

    /// The largest zxid of this epoch that a quorum has on its disks.
    fn agreed(&self, common: &Common) -> Option<Zxid> {
        let first = zxid_of(self.stage);
        let own = common.ledger.durable().last;
        let voters = self
            .learners
            .values()
            .filter(|learner| !learner.observer && learner.phase >= Phase::Synced);
        let mut reached: Vec<Zxid> = voters
            .map(|learner| learner.acked)
            .chain([own])
            .filter(|zxid| *zxid > first)
            .collect();
        reached.sort_unstable_by(|a, b| b.cmp(a));
        reached.into_iter().find(|zxid| {
            let has =
                |learner: &Progress| learner.phase >= Phase::Synced && !learner.observer && learner.acked >= *zxid;
            self.is_quorum(common, own >= *zxid, has)
        })
    }

    fn sync_asked(&mut self, common: &mut Common, link: Link) {
        let last = common.ledger.last();
        if last <= common.ledger.delivered() {
            common.out.send_now(link, FromLeader::Sync);
        } else {
            self.syncs.push_back((last, link));
        }
    }

    // All stages.

    /// Every half tick: signs of life, and every tick the question whether a quorum is left (`Leader#lead`). Who has
    /// missed a beat has slept, and asks at once: others may have a leader by now. Before there is a quorum, learners
    /// say nothing after their acknowledgement, and so it is not known which of them still wait: who has slept for as
    /// long as they do gives up, and who has for less hears first, until the next beat, who has left.
    fn beat(&mut self, common: &mut Common, now_ms: u64) -> Step {
        let silent_ms = now_ms - self.beat_ms + common.settings.tick_ms / 2;
        let slept = silent_ms >= common.settings.tick_ms;
        self.is_awake = !slept;
        self.beat_ms = now_ms + common.settings.tick_ms / 2;
        self.beat_count += 1;
        let sync_ms = common.settings.sync_ms();
        if !matches!(self.stage, Stage::Serving(_)) && silent_ms >= sync_ms {
            return Err(Why::NoQuorum);
        }
        let overdue = self
            .learners
            .values()
            .filter_map(|learner| Some((learner.link, learner.overdue(now_ms, sync_ms)?)));
        for (link, why) in overdue.collect::<Vec<_>>() {
            self.drop_learner(common, link, why);
        }
        let last = common.ledger.last().max(zxid_of(self.stage));
        for learner in self.registered() {
            common.out.send_now(learner.link, FromLeader::Ping(last));
        }
        let asked = matches!(self.stage, Stage::Serving(_)) && (slept || self.beat_count.is_multiple_of(2));
        let in_step = |learner: &Progress| learner.phase == Phase::Active && !learner.observer;
        if asked && !self.is_quorum(common, true, in_step) {
            return Err(Why::LostQuorum);
        }
        if let Stage::Awaiting(epoch) = self.stage {
            self.establish(common, epoch, now_ms);
        }
        Ok(())
    }

    fn remove_learner(&mut self, common: &mut Common, link: Link) {
        self.learners.remove(&link).expect("it is one of the learners");
        self.syncs.retain(|(_, waiting)| *waiting != link);
        common.out.close(link);
    }

    fn drop_learner(&mut self, common: &mut Common, link: Link, why: &'static str) {
        let server = self.learners[&link].server;
        common.tell(match server {
            UNKNOWN => Event::Stranger { link, why },
            server => Event::Dropped { server, why },
        });
        self.remove_learner(common, link);
    }

    /// Those that get everything new.
    fn registered(&mut self) -> impl Iterator<Item = &mut Progress> {
        self.learners
            .values_mut()
            .filter(|learner| learner.phase >= Phase::Syncing)
    }

    fn in_phase(&self, phase: Phase) -> Vec<Link> {
        let there = self.learners.values().filter(|learner| learner.phase == phase);
        there.map(|learner| learner.link).collect()
    }

    /// Whether the voters among the learners for which something holds are a quorum, with this server or without.
    fn is_quorum(&self, common: &Common, itself: bool, holds: impl Fn(&Progress) -> bool) -> bool {
        let learners = || self.learners.values();
        let me = common.settings.me;
        common.settings.quorum.decides(|id| match id == me {
            true => itself,
            false => learners().any(|learner| learner.server == id && holds(learner)),
        })
    }
}

/// The zxid that the stage's epoch begins with.
fn zxid_of(stage: Stage) -> Zxid {
    stage.epoch().map_or(Zxid::ZERO, Epoch::zxid)
}
