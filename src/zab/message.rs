//! What goes over a connection between a leader and a learner, as far as agreement is concerned.
//!
//! The host turns these into packets and back. What it adds or handles by itself: the membership text of NEWLEADER,
//! the stream behind SNAP (the state at exactly that zxid, taken when the output is handled), the touched sessions in
//! a learner's PING, and REVALIDATE, which never comes here. Requests are not looked into.

use bytes::Bytes;

use super::history::Proposal;
use crate::base::{Epoch, ServerId, Zxid};

/// A connection on the quorum port; the host never gives a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link(pub u64);

/// From a leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FromLeader {
    /// LEADERINFO: the epoch proposed.
    Info(Epoch),
    /// Nothing is to be forgotten.
    Diff(Zxid),
    /// What follows this zxid is to be forgotten.
    Trunc(Zxid),
    /// The state at this zxid replaces everything. A learner is given this when the whole stream has arrived.
    Snap(Zxid),
    /// To be logged and acknowledged.
    Proposal(Proposal),
    /// Decided.
    Commit(Zxid),
    /// Logged and decided in one, for observers.
    Inform(Proposal),
    /// The end of what the learner lacked.
    NewLeader(Epoch),
    /// A quorum follows; what was sent before NEWLEADER is decided.
    UpToDate,
    /// With the last proposed zxid.
    Ping(Zxid),
    /// Everything decided before the learner's oldest open sync has been sent.
    Sync,
}

/// From a learner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FromLearner {
    /// FOLLOWERINFO or OBSERVERINFO.
    Info {
        /// Who.
        server: ServerId,
        /// Whether it only observes.
        observer: bool,
        /// The newest epoch it promised to follow.
        accepted: Epoch,
    },
    /// The promise.
    AckEpoch {
        /// The epoch whose history it has; `None` when it had promised before, and is not to be counted.
        current: Option<Epoch>,
        /// What it logged last; `None` when it has nothing to go by.
        last: Option<Zxid>,
    },
    /// Everything up to this zxid is on its disk; with an epoch's zxid: that epoch and its first history.
    Ack(Zxid),
    /// A sign of life.
    Ping,
    /// A client's write, as its packet travels.
    Request(Bytes),
    /// A client's sync, likewise.
    SyncRequest(Bytes),
}

/// Either.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Message {
    FromLeader(FromLeader),
    FromLearner(FromLearner),
}

impl From<FromLeader> for Message {
    fn from(message: FromLeader) -> Message {
        Message::FromLeader(message)
    }
}

impl From<FromLearner> for Message {
    fn from(message: FromLearner) -> Message {
        Message::FromLearner(message)
    }
}
