//! Agreement: who leads, and in which order everybody logs, as ZooKeeper 3.9 does it (Zab 1.0).
//!
//! A server is a value, [`Node`]: `step(input, now) → outputs`. No clock, socket, file, thread or random choice is in
//! here; transactions are opaque bytes. Read on from `node`: `looking` elects, `joining` brings a learner to its
//! leader's history, `following` and `observing` keep it in step, `leading` collects promises and acknowledgements
//! with one `progress` for each learner, `sync` decides what a learner lacks, `ledger` holds what is logged, promised
//! and decided, `output` makes messages wait for the disk.
//!
//! What must hold, and who sees to it:
//! * Every epoch has at most one leader with a quorum: voters promise an epoch once (`joining::promise`, `ledger`).
//! * That leader has everything decided before: it gives up when a promise tells of more (`leading::promised`).
//! * `ACK(zxid)` leaves only when the log is durable up to it; the ACK of NEWLEADER only when first the history and then
//!   the epoch are (`output::Outbox::send_when_durable`).
//! * `base ≤ delivered ≤ last`; delivered means decided, and is never truncated (`ledger`).
//! * Inside an epoch the counters follow each other, in memory, in the log and on every stream (`history::follows`).
//!
//! The host's part of the bargain, for whoever drives this: disk operations are made durable in the order given;
//! messages on a connection stay in order; a SNAP is the state at exactly its zxid ([`Node::show`] of a leader that
//! serves, otherwise the one with the whole log applied) and is handed over only when its whole stream has come; after
//! [`Serving::Nobody`] no client is served and nothing is proposed.
//!
//! Not here yet: reconfiguration (COMMITANDACTIVATE, two quorums at once), log files on the disk as a source of DIFF,
//! observer masters, the oracle, an observer's random delay before it looks for a leader again.

mod common;
mod event;
mod following;
mod history;
mod joining;
mod leading;
mod ledger;
mod looking;
mod message;
mod node;
mod observing;
mod output;
mod progress;
mod quorum;
mod sync;
mod uplink;
mod vote;

#[cfg(test)]
mod tests;

pub use common::Settings;
pub use event::{Event, Why};
pub use history::Proposal;
pub use ledger::{Durable, Ledger, Recovered, StartError};
pub use message::{FromLeader, FromLearner, Link, Message};
pub use node::{Input, Node};
pub use output::{Mark, Output, Serving, Store};
pub use quorum::{Quorum, QuorumError};
pub use sync::How;
pub use vote::{Notification, State, Vote};
