//! The server as a value: it is handed one input and a time, and gives what the host is to do.
//!
//! Its role is a type of its own with its own state; a step consumes the role and gives the next one, so nothing of
//! an ended role can linger. Time, disk and network are arguments: the same `step` runs in production and in the
//! simulator (design.md D6).

use bytes::Bytes;

use super::common::{Common, Settings};
use super::event::Why;
use super::following::Following;
use super::joining::Joining;
use super::leading::Leading;
use super::ledger::{Ledger, Recovered, StartError};
use super::looking::Looking;
use super::message::{FromLeader, FromLearner, Link};
use super::observing::Observing;
use super::output::{Mark, Output, Serving};
use super::vote::{Notification, State};
use crate::base::{ServerId, Zxid};

/// Everything that can happen to a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// The time of [`Node::deadline_ms`] has come. Too early does no harm.
    Tick,
    /// A notification came to the election port, from this server.
    Notified(ServerId, Notification),
    /// This server's election port refuses connections: it is down.
    Gone(ServerId),
    /// A server answered [`Output::Connect`].
    Connected(ServerId, Link),
    /// It did not.
    NotConnected(ServerId),
    /// Somebody dialled the quorum port.
    Accepted(Link),
    /// A connection broke, other than by [`Output::Close`].
    Closed(Link),
    /// A packet of a leader.
    FromLeader(Link, FromLeader),
    /// A packet of a learner.
    FromLearner(Link, FromLearner),
    /// Every disk operation up to this one is durable.
    Durable(Mark),
    /// As a leader with a quorum: a transaction with the next zxid.
    Propose(Zxid, Bytes),
    /// As a learner that serves: a client's write for the leader.
    Forward(Bytes),
    /// As a learner that serves: a client's sync.
    Sync(Bytes),
}

/// A server of an ensemble.
#[derive(Debug)]
pub struct Node {
    common: Common,
    role: Option<Role>,
}

/// What a server is.
#[derive(Debug)]
pub enum Role {
    /// Without a leader.
    Looking(Looking),
    /// With a leader, but without its history.
    Joining(Joining),
    /// A voter in step with its leader.
    Following(Following),
    /// A server without a vote in step with its leader.
    Observing(Observing),
    /// Elected.
    Leading(Leading),
}

impl Node {
    /// Starts with what the disk holds.
    pub fn start(settings: Settings, found: Recovered, now_ms: u64) -> Result<(Node, Vec<Output>), StartError> {
        let ledger = Ledger::recover(found, settings.kept_count)?;
        let mut common = Common::new(settings, ledger);
        let role = Some(Looking::start(&mut common, Why::Started, now_ms));
        let outputs = common.out.take();
        Ok((Node { common, role }, outputs))
    }

    /// Something happened.
    pub fn step(&mut self, input: Input, now_ms: u64) -> Vec<Output> {
        let role = self.role.take().expect("the last step ended");
        self.role = Some(role.step(&mut self.common, input, now_ms));
        self.common.out.take()
    }

    /// Clients see everything up to this one: a serving leader's SNAP is made of that.
    pub fn show(&mut self, zxid: Zxid) {
        self.common.ledger.show(zxid);
    }

    /// When [`Input::Tick`] is due.
    pub fn deadline_ms(&self) -> u64 {
        match self.role() {
            Role::Looking(looking) => looking.deadline_ms(),
            Role::Joining(joining) => joining.deadline_ms(),
            Role::Following(Following(uplink)) | Role::Observing(Observing(uplink)) => uplink.deadline_ms(),
            Role::Leading(leading) => leading.deadline_ms(),
        }
    }

    /// What it tells its peers that it is doing.
    pub fn state(&self) -> State {
        self.role().state(&self.common)
    }

    /// What it would tell a voter who asked.
    pub fn notification(&self) -> Notification {
        match self.role() {
            Role::Looking(looking) => looking.notification(&self.common),
            role => self.common.elected(role.state(&self.common)),
        }
    }

    /// Who can be served.
    pub fn serving(&self) -> Serving {
        self.common.serving()
    }

    /// Logged, promised, decided, durable.
    pub fn ledger(&self) -> &Ledger {
        &self.common.ledger
    }

    /// The connection to the leader, once in step with it.
    pub fn uplink(&self) -> Option<Link> {
        match self.role() {
            Role::Following(Following(uplink)) | Role::Observing(Observing(uplink)) => Some(uplink.link()),
            _ => None,
        }
    }

    fn role(&self) -> &Role {
        self.role.as_ref().expect("the last step ended")
    }
}

impl Role {
    fn state(&self, common: &Common) -> State {
        match self {
            Role::Looking(_) => State::Looking,
            Role::Joining(_) if common.settings.votes() => State::Following,
            Role::Joining(_) | Role::Observing(_) => State::Observing,
            Role::Following(_) => State::Following,
            Role::Leading(_) => State::Leading,
        }
    }

    fn step(self, common: &mut Common, input: Input, now_ms: u64) -> Role {
        match (self, input) {
            (role, Input::Durable(mark)) => role.durable(common, mark, now_ms),
            (role, Input::Tick) => role.tick(common, now_ms),
            (role, Input::Notified(from, heard)) => {
                common.gone.remove(&from);
                role.notified(common, from, heard, now_ms)
            }
            (role, Input::Gone(server)) => {
                common.gone.insert(server);
                match role {
                    Role::Looking(looking) => looking.gone(common, now_ms),
                    role => role,
                }
            }
            (Role::Joining(joining), Input::Connected(server, link)) => joining.connected(common, server, link, now_ms),
            (Role::Joining(joining), Input::NotConnected(server)) => joining.not_connected(common, server, now_ms),
            (Role::Leading(leading), Input::Accepted(link)) => leading.accepted(common, link, now_ms),
            (role, Input::Connected(_, link) | Input::Accepted(link)) => {
                common.out.close(link);
                role
            }
            (role, Input::Closed(link)) => role.closed(common, link, now_ms),
            (role, Input::FromLeader(link, message)) => role.hear_leader(common, link, message, now_ms),
            (Role::Leading(leading), Input::FromLearner(link, message)) => leading.hear(common, link, message, now_ms),
            (Role::Leading(leading), Input::Propose(zxid, txn)) => leading.propose(common, zxid, txn, now_ms),
            (role, Input::Propose(zxid, _)) => panic!("{zxid} is proposed as {:?}", role.state(common)),
            (role, Input::Forward(request)) => role.ask(common, FromLearner::Request(request)),
            (role, Input::Sync(request)) => role.ask(common, FromLearner::SyncRequest(request)),

            // News of what this server no longer takes part in.
            (role, Input::NotConnected(_) | Input::FromLearner(..)) => role,
        }
    }

    fn notified(self, common: &mut Common, from: ServerId, heard: Notification, now_ms: u64) -> Role {
        match self {
            Role::Looking(looking) => looking.hear(common, from, heard, now_ms),
            Role::Leading(leading) if leading.is_outvoted(common, from, &heard) => {
                leading.give_up(common, Why::Outvoted(from), now_ms)
            }
            role => {
                common.answer(from, &heard, role.state(common));
                role
            }
        }
    }

    fn tick(self, common: &mut Common, now_ms: u64) -> Role {
        match self {
            Role::Looking(looking) => looking.tick(common, now_ms),
            Role::Joining(joining) => joining.tick(common, now_ms),
            Role::Following(Following(uplink)) if uplink.deadline_ms() <= now_ms => uplink.silent(common, now_ms),
            Role::Observing(Observing(uplink)) if uplink.deadline_ms() <= now_ms => uplink.silent(common, now_ms),
            Role::Leading(leading) => leading.tick(common, now_ms),
            role => role,
        }
    }

    fn durable(self, common: &mut Common, mark: Mark, now_ms: u64) -> Role {
        common.ledger.is_durable(mark);
        common.out.durable(mark);
        match self {
            Role::Leading(leading) => leading.durable(common, now_ms),
            role => role,
        }
    }

    fn closed(self, common: &mut Common, link: Link, now_ms: u64) -> Role {
        match self {
            Role::Joining(joining) => joining.closed(common, link, now_ms),
            Role::Following(Following(uplink)) | Role::Observing(Observing(uplink)) if uplink.link() == link => {
                uplink.broke(common, now_ms)
            }
            Role::Leading(leading) => leading.closed(common, link),
            role => role,
        }
    }

    fn hear_leader(self, common: &mut Common, link: Link, message: FromLeader, now_ms: u64) -> Role {
        match self {
            Role::Joining(joining) => joining.hear(common, link, message, now_ms),
            Role::Following(following) if following.0.link() == link => following.hear(common, message, now_ms),
            Role::Observing(observing) if observing.0.link() == link => observing.hear(common, message, now_ms),
            // A connection of a role that ended.
            role => role,
        }
    }

    /// Asks the leader for something; without one nobody is served, so nobody waits for an answer.
    fn ask(self, common: &mut Common, what: FromLearner) -> Role {
        if let Role::Following(Following(uplink)) | Role::Observing(Observing(uplink)) = &self {
            uplink.ask(common, what);
        }
        self
    }
}
