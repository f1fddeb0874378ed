//! What an operator wants to read: one line for each turn of an election and each synchronised learner.

use std::fmt;

use super::message::Link;
use super::sync::How;
use super::vote::Vote;
use crate::base::{Epoch, ServerId, Zxid};

/// Why a server looks for a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// It has just started.
    Started,
    /// The leader could not be reached.
    Unreachable(ServerId),
    /// The connection to the leader broke.
    Disconnected(ServerId),
    /// The leader was silent for too long.
    Silent(ServerId),
    /// The leader proposes an epoch that is older than one promised.
    OldEpoch(Epoch),
    /// The leader's stream does not continue this history.
    Gap {
        /// The last zxid here.
        last: Zxid,
        /// What came.
        next: Zxid,
    },
    /// The leader wants something forgotten that cannot be.
    CannotTruncate(Zxid),
    /// The leader said something that makes no sense now.
    Protocol(&'static str),
    /// As a leader: no quorum came, promised or followed in time.
    NoQuorum,
    /// As a leader: this voter has chosen somebody else since, before anybody followed.
    Outvoted(ServerId),
    /// As a leader: the quorum is gone.
    LostQuorum,
    /// As a leader: this server has more history.
    Ahead(ServerId),
    /// As a leader: this voter promised a newer epoch and could never follow (traps.md T-22).
    PromisedMore(ServerId),
    /// As a leader: the epoch's counters are used up (T-25).
    Rollover,
}

/// Something worth a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// An election begins.
    Looking {
        /// Its round.
        round: i64,
        /// Why.
        why: Why,
    },
    /// An election was decided.
    Elected {
        /// With this vote.
        vote: Vote,
        /// In this round.
        round: i64,
        /// After so long.
        took_ms: u64,
    },
    /// As a leader: a learner is being synchronised.
    Synchronising {
        /// Who.
        server: ServerId,
        /// How.
        how: How,
        /// How many proposals are sent.
        proposal_count: usize,
    },
    /// As a leader: a learner was dropped.
    Dropped {
        /// Who.
        server: ServerId,
        /// Why.
        why: &'static str,
    },
    /// As a leader: somebody has the number of a learner that is connected and alive. The connection is closed.
    SecondOne {
        /// Whose number.
        server: ServerId,
        /// Over which connection.
        link: Link,
    },
    /// As a leader: somebody who has not said who it is was hung up on.
    Stranger {
        /// Over which connection.
        link: Link,
        /// Why.
        why: &'static str,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Started => write!(f, "it has just started"),
            Why::Unreachable(id) => write!(f, "{id}, which should lead, cannot be reached"),
            Why::Disconnected(id) => write!(f, "the connection to {id}, the leader, broke"),
            Why::Silent(id) => write!(f, "{id}, the leader, was silent for too long"),
            Why::OldEpoch(epoch) => write!(f, "the leader proposes {epoch}, and a newer one was promised"),
            Why::Gap { last, next } => write!(f, "the leader sent {next} behind {last}"),
            Why::CannotTruncate(zxid) => write!(f, "the log cannot be cut behind {zxid}, as the leader wants"),
            Why::Protocol(what) => write!(f, "the leader broke the protocol: {what}"),
            Why::NoQuorum => write!(f, "no quorum followed in time"),
            Why::Outvoted(id) => write!(f, "{id} has chosen another leader meanwhile"),
            Why::LostQuorum => write!(f, "the quorum is gone"),
            Why::Ahead(id) => write!(f, "{id} has more history"),
            Why::PromisedMore(id) => write!(f, "{id} promised a newer epoch"),
            Why::Rollover => write!(f, "the counter of this epoch is used up"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Looking { round, why } => write!(f, "looking for a leader in round {round}: {why}"),
            Event::Elected { vote, round, took_ms } => write!(
                f,
                "{} is to lead, elected in round {round} with epoch {} and zxid 0x{:x} after {took_ms} ms",
                vote.leader, vote.peer_epoch, vote.zxid
            ),
            Event::Synchronising {
                server,
                how,
                proposal_count,
            } => match how {
                How::Diff => write!(f, "{server} gets DIFF and {proposal_count} proposals"),
                How::Trunc(zxid) => write!(f, "{server} gets TRUNC to {zxid} and {proposal_count} proposals"),
                How::Snap => write!(f, "{server} gets SNAP and {proposal_count} proposals"),
            },
            Event::Dropped { server, why } => write!(f, "{server} is dropped: {why}"),
            Event::Stranger { why, .. } => write!(f, "{why}"),
            Event::SecondOne { server, .. } => write!(
                f,
                "it calls itself {server}, which is connected and alive: no two servers may have one number (myid)"
            ),
        }
    }
}
