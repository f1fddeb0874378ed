//! A learner on its way: from the election to UPTODATE (`Learner#connectToLeader`, `#registerWithLeader`,
//! `#syncWithLeader`).
//!
//! Dialling, promising the epoch, taking over the leader's history, acknowledging it. Every proposal is logged when it
//! comes, so the log is always a beginning of the leader's history; the current epoch is stored behind it, and the
//! ACK of NEWLEADER waits for both. Nothing is delivered before UPTODATE: until then the leader has no quorum, and
//! what it calls committed may still be lost. Proposals are acknowledged after UPTODATE only (traps.md T-04 to T-07).

use super::common::Common;
use super::event::Why;
use super::following::Following;
use super::history::Proposal;
use super::looking::Looking;
use super::message::{FromLeader, FromLearner, Link};
use super::node::Role;
use super::observing::Observing;
use super::output::Output;
use crate::base::{Epoch, ServerId, Zxid};

/// With a leader, but without its history.
#[derive(Debug)]
pub struct Joining {
    leader: ServerId,
    stage: Stage,
    dial_count: u32,
    deadline_ms: u64,
}

#[derive(Debug)]
enum Stage {
    /// Dial again at that time, if the last try has failed.
    Dialling { again_ms: Option<u64> },
    /// FOLLOWERINFO is out.
    Introduced(Link),
    /// ACKEPOCH is out, or waits for the disk.
    Promised(Link, Epoch),
    /// The leader's history comes in.
    Catching(Link, Catching),
    /// NEWLEADER came; its ACK is out, or waits for the disk.
    Caught(Link, Catching),
}

/// What is known of the leader's history.
#[derive(Debug)]
struct Catching {
    epoch: Epoch,
    /// Everything up to here is in a snapshot that was received: what the leader sends of it again is passed over
    /// (T-24).
    installed: Zxid,
    /// The leader called everything up to here committed.
    committed: Zxid,
    /// Logged and to be acknowledged once the leader has its quorum.
    unacknowledged: Vec<Zxid>,
}

/// A step's result: the same stage goes on, or an election begins.
type Step = Result<Stage, Why>;

impl Joining {
    /// Dials the elected leader.
    pub fn start(common: &mut Common, leader: ServerId, now_ms: u64) -> Role {
        common.out.push(Output::Connect(leader));
        Role::Joining(Joining {
            leader,
            stage: Stage::Dialling { again_ms: None },
            dial_count: 1,
            deadline_ms: now_ms + common.settings.init_ms(),
        })
    }

    /// When time alone changes something.
    pub fn deadline_ms(&self) -> u64 {
        match self.stage {
            Stage::Dialling {
                again_ms: Some(again_ms),
            } => again_ms.min(self.deadline_ms),
            _ => self.deadline_ms,
        }
    }

    /// Time passed.
    pub fn tick(mut self, common: &mut Common, now_ms: u64) -> Role {
        if self.deadline_ms <= now_ms {
            let why = match self.stage {
                Stage::Dialling { .. } => Why::Unreachable(self.leader),
                _ => Why::Silent(self.leader),
            };
            return self.fail(common, why, now_ms);
        }
        if let Stage::Dialling { again_ms } = &mut self.stage
            && again_ms.is_some_and(|at| at <= now_ms)
        {
            *again_ms = None;
            self.dial_count += 1;
            common.out.push(Output::Connect(self.leader));
        }
        Role::Joining(self)
    }

    /// A server did not answer.
    pub fn not_connected(self, common: &mut Common, server: ServerId, now_ms: u64) -> Role {
        match self.stage {
            Stage::Dialling { again_ms: None } if server == self.leader => self.dial_again(common, now_ms),
            _ => Role::Joining(self),
        }
    }

    fn dial_again(mut self, common: &mut Common, now_ms: u64) -> Role {
        if self.dial_count >= common.settings.dial_count_max {
            let why = Why::Unreachable(self.leader);
            return self.fail(common, why, now_ms);
        }
        let again_ms = Some(now_ms + common.settings.dial_again_ms);
        self.stage = Stage::Dialling { again_ms };
        Role::Joining(self)
    }

    /// A server answered; it may be one that was dialled in an earlier attempt.
    pub fn connected(mut self, common: &mut Common, server: ServerId, link: Link, now_ms: u64) -> Role {
        if server != self.leader || !matches!(self.stage, Stage::Dialling { .. }) {
            common.out.close(link);
            return Role::Joining(self);
        }
        let info = FromLearner::Info {
            server: common.settings.me,
            observer: !common.settings.votes(),
            accepted: common.ledger.accepted(),
        };
        common.out.send_now(link, info);
        self.stage = Stage::Introduced(link);
        self.deadline_ms = now_ms + common.settings.init_ms();
        Role::Joining(self)
    }

    /// The connection broke.
    pub fn closed(self, common: &mut Common, link: Link, now_ms: u64) -> Role {
        if self.stage.link() != Some(link) {
            return Role::Joining(self);
        }
        common.out.forget(link);
        // A server that was elected may take a moment to lead; until then it closes what comes.
        if let Stage::Introduced(_) = self.stage {
            return self.dial_again(common, now_ms);
        }
        common.leave([]);
        Looking::start(common, Why::Disconnected(self.leader), now_ms)
    }

    /// The leader said something.
    pub fn hear(mut self, common: &mut Common, link: Link, message: FromLeader, now_ms: u64) -> Role {
        if self.stage.link() != Some(link) {
            return Role::Joining(self);
        }
        let caught = matches!(self.stage, Stage::Caught(..));
        if let (Stage::Caught(_, catching), FromLeader::UpToDate) = (&self.stage, &message) {
            return finish(common, self.leader, link, catching, now_ms);
        }
        let limit_ms = if caught {
            common.settings.sync_ms()
        } else {
            common.settings.init_ms()
        };
        self.deadline_ms = now_ms + limit_ms;
        match self.stage.hear(common, message) {
            Ok(stage) => Role::Joining(Joining { stage, ..self }),
            Err(why) => {
                common.leave([link]);
                Looking::start(common, why, now_ms)
            }
        }
    }

    fn fail(self, common: &mut Common, why: Why, now_ms: u64) -> Role {
        common.leave(self.stage.link());
        Looking::start(common, why, now_ms)
    }
}

impl Stage {
    fn link(&self) -> Option<Link> {
        match self {
            Stage::Dialling { .. } => None,
            Stage::Introduced(link) | Stage::Promised(link, _) | Stage::Catching(link, _) | Stage::Caught(link, _) => {
                Some(*link)
            }
        }
    }

    fn hear(self, common: &mut Common, message: FromLeader) -> Step {
        match (self, message) {
            // A learner says nothing before it is up to date.
            (stage, FromLeader::Ping(_)) => Ok(stage),
            (Stage::Introduced(link), FromLeader::Info(epoch)) => promise(common, link, epoch),
            (Stage::Promised(link, epoch), message) => {
                begin(common, epoch, message).map(|catching| Stage::Catching(link, catching))
            }
            (Stage::Catching(link, catching), FromLeader::NewLeader(epoch)) => {
                acknowledge(common, link, catching, epoch)
            }
            (Stage::Catching(link, mut catching), message) => {
                catching.hear(common, message)?;
                Ok(Stage::Catching(link, catching))
            }
            (Stage::Caught(link, mut catching), message) => {
                catching.hear(common, message)?;
                Ok(Stage::Caught(link, catching))
            }
            _ => Err(Why::Protocol("LEADERINFO comes first")),
        }
    }
}

/// LEADERINFO: the promise is stored, then given. Who promised this epoch before is not counted again.
fn promise(common: &mut Common, link: Link, epoch: Epoch) -> Step {
    let accepted = common.ledger.accepted();
    if epoch < accepted {
        return Err(Why::OldEpoch(epoch));
    }
    let ack = common.ack_epoch(epoch > accepted);
    if epoch > accepted {
        common.ledger.promise(epoch, &mut common.out);
    }
    common.out.send_when_durable(link, ack);
    Ok(Stage::Promised(link, epoch))
}

/// DIFF, TRUNC or SNAP.
fn begin(common: &mut Common, epoch: Epoch, message: FromLeader) -> Result<Catching, Why> {
    let mut installed = Zxid::ZERO;
    match message {
        FromLeader::Diff(_) if common.ledger.claim().is_none() || common.wants_snapshot => {
            return Err(Why::Protocol("DIFF, but this server has nothing to go by"));
        }
        FromLeader::Diff(_) => {}
        FromLeader::Trunc(zxid) => {
            if !common.ledger.truncate(zxid, &mut common.out) {
                return Err(common.distrust(Why::CannotTruncate(zxid)));
            }
        }
        FromLeader::Snap(zxid) => {
            if !common.ledger.install(zxid, &mut common.out) {
                return Err(Why::CannotTruncate(zxid));
            }
            common.wants_snapshot = false;
            installed = zxid;
        }
        _ => return Err(Why::Protocol("DIFF, TRUNC or SNAP comes first")),
    }
    Ok(Catching {
        epoch,
        installed,
        // What the leader did not ask to forget, it has decided.
        committed: common.ledger.last(),
        unacknowledged: Vec::new(),
    })
}

impl Catching {
    fn hear(&mut self, common: &mut Common, message: FromLeader) -> Result<(), Why> {
        match message {
            FromLeader::Proposal(proposal) => self.log(common, proposal),
            FromLeader::Commit(zxid) => self.commit(common, zxid),
            FromLeader::Inform(proposal) => {
                let zxid = proposal.zxid;
                self.log(common, proposal)?;
                self.commit(common, zxid)
            }
            // Nobody here has a sync open.
            FromLeader::Sync => Ok(()),
            _ => Err(Why::Protocol("only proposals and commits follow DIFF, TRUNC and SNAP")),
        }
    }

    fn log(&mut self, common: &mut Common, proposal: Proposal) -> Result<(), Why> {
        let (last, next) = (common.ledger.last(), proposal.zxid);
        if next <= self.installed {
            return Ok(());
        }
        if !common.ledger.continues_with(next) {
            return Err(common.distrust(Why::Gap { last, next }));
        }
        self.unacknowledged.push(next);
        common.ledger.append(proposal, &mut common.out);
        Ok(())
    }

    fn commit(&mut self, common: &Common, zxid: Zxid) -> Result<(), Why> {
        if zxid > self.installed && !common.ledger.history().holds(zxid) {
            return Err(Why::Protocol("COMMIT of what was not proposed"));
        }
        self.committed = self.committed.max(zxid);
        Ok(())
    }
}

/// NEWLEADER: what was sent is logged, so the epoch is entered; both are on the disk before the ACK leaves.
fn acknowledge(common: &mut Common, link: Link, mut catching: Catching, epoch: Epoch) -> Step {
    if epoch != catching.epoch {
        return Err(Why::Protocol("NEWLEADER with another epoch than LEADERINFO"));
    }
    common.ledger.enter(epoch, &mut common.out);
    common.out.send_when_durable(link, FromLearner::Ack(epoch.zxid()));
    // That ACK covers what was decided before it; the rest gets its own.
    catching.unacknowledged.retain(|zxid| *zxid > catching.committed);
    Ok(Stage::Caught(link, catching))
}

/// UPTODATE: the leader has its quorum, so what it decided is delivered, and proposals are acknowledged from now on.
fn finish(common: &mut Common, leader: ServerId, link: Link, catching: &Catching, now_ms: u64) -> Role {
    common.established();
    common.ledger.commit(catching.committed, &mut common.out);
    common
        .out
        .send_when_durable(link, FromLearner::Ack(catching.epoch.zxid()));
    if !common.settings.votes() {
        return Observing::start(common, leader, link, now_ms);
    }
    for zxid in &catching.unacknowledged {
        common.out.send_when_durable(link, FromLearner::Ack(*zxid));
    }
    Following::start(common, leader, link, now_ms)
}
