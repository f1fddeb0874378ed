//! What comes out of a step, and the two outboxes: what may leave now, and what waits for the disk.
//!
//! The disk's operations are numbered in the order in which they come out, and the host makes them durable in that
//! order: none begins before the one before it is durable (a log and an epoch file do not overtake each other).
//! Invariant: a message that waits leaves only when everything that was stored before it is durable. So the order
//! "transactions, then epoch, then ACK" (traps.md T-05, T-06) is the order in which they are written down here.

use std::collections::VecDeque;

use bytes::Bytes;

use super::event::Event;
use super::history::Proposal;
use super::message::{Link, Message};
use super::vote::Notification;
use crate::base::{Epoch, ServerId, Zxid};

/// The number of a disk operation, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub u64);

/// Something for the disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Store {
    /// Behind the last record of the log.
    Append(Proposal),
    /// Every record behind this zxid is removed; the zxid itself is there. Snapshots behind it are removed as well
    /// (T-20).
    Truncate(Zxid),
    /// The state that was received takes the place of log and snapshots, or nothing changes (T-09, T-10).
    Install(Zxid),
    /// The promise not to follow an older leader.
    AcceptedEpoch(Epoch),
    /// The epoch whose first history is in the log.
    CurrentEpoch(Epoch),
}

/// Whether clients can be served, and in which part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Serving {
    /// No leader is known.
    Nobody,
    /// Writes are proposed here; the next has this epoch and the counter behind the last one's.
    AsLeader(Epoch),
    /// Writes go to the leader.
    AsFollower(Epoch),
    /// The same, without a vote.
    AsObserver(Epoch),
}

/// What the host is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// A notification for another server's election port; it takes the place of one that has not left yet.
    Notify {
        /// To whom.
        to: ServerId,
        /// What.
        notification: Notification,
    },
    /// Dial this server's quorum port.
    Connect(ServerId),
    /// Close this connection; nothing more is expected of it.
    Close(Link),
    /// A message, behind those sent on the same connection before.
    Send {
        /// Over which connection.
        link: Link,
        /// What.
        message: Message,
    },
    /// Something for the disk.
    Store {
        /// Its number.
        mark: Mark,
        /// What.
        store: Store,
    },
    /// Decided: applied to what clients see, in this order.
    Deliver(Proposal),
    /// From here on.
    Serving(Serving),
    /// A learner's client wrote: to be checked, numbered and proposed.
    Request {
        /// Over which connection it came.
        link: Link,
        /// What.
        request: Bytes,
    },
    /// The oldest open sync of this server's clients can be answered.
    Synced,
    /// For the log and the metrics.
    Event(Event),
}

/// What a step collects.
#[derive(Debug, Default)]
pub struct Outbox {
    ready: Vec<Output>,
    waiting: VecDeque<(Mark, Link, Message)>,
    stored: Mark,
    durable: Mark,
}

impl Outbox {
    /// Everything that came out.
    pub fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.ready)
    }

    /// Anything but a message or a disk operation.
    pub fn push(&mut self, output: Output) {
        self.ready.push(output);
    }

    /// A message that rests on nothing.
    pub fn send_now(&mut self, link: Link, message: impl Into<Message>) {
        let message = message.into();
        self.ready.push(Output::Send { link, message });
    }

    /// A message that rests on everything stored so far.
    pub fn send_when_durable(&mut self, link: Link, message: impl Into<Message>) {
        if self.stored == self.durable {
            self.send_now(link, message);
        } else {
            self.waiting.push_back((self.stored, link, message.into()));
        }
    }

    /// Something for the disk; gives its number.
    pub fn store(&mut self, store: Store) -> Mark {
        self.stored.0 += 1;
        let mark = self.stored;
        self.ready.push(Output::Store { mark, store });
        mark
    }

    /// Everything up to `mark` is durable: what waited for it leaves.
    pub fn durable(&mut self, mark: Mark) {
        assert!(
            self.durable <= mark && mark <= self.stored,
            "durable {:?} ≤ {mark:?} ≤ stored {:?}",
            self.durable,
            self.stored
        );
        self.durable = mark;
        while let Some((_, link, message)) = self.waiting.pop_front_if(|(needs, ..)| *needs <= mark) {
            self.ready.push(Output::Send { link, message });
        }
    }

    /// A connection is gone, with everything that waits to leave over it.
    pub fn forget(&mut self, link: Link) {
        self.waiting.retain(|(_, to, _)| *to != link);
    }

    /// Closes a connection.
    pub fn close(&mut self, link: Link) {
        self.forget(link);
        self.push(Output::Close(link));
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::FromLearner;
    use super::*;

    fn sent(outbox: &mut Outbox) -> Vec<(Link, Message)> {
        let sends = outbox.take().into_iter().filter_map(|output| match output {
            Output::Send { link, message } => Some((link, message)),
            _ => None,
        });
        sends.collect()
    }

    #[test]
    fn messages_wait_for_what_was_stored_before_them() {
        let (link, other) = (Link(1), Link(2));
        let ack = |counter| FromLearner::Ack(Zxid::new(1, counter));
        let mut outbox = Outbox::default();
        outbox.send_when_durable(link, FromLearner::Ping);
        assert_eq!(sent(&mut outbox).len(), 1, "nothing was stored");

        outbox.store(Store::CurrentEpoch(Epoch(1)));
        outbox.send_when_durable(link, ack(1));
        outbox.store(Store::AcceptedEpoch(Epoch(2)));
        outbox.send_when_durable(link, ack(2));
        outbox.send_when_durable(other, ack(3));
        outbox.send_now(link, FromLearner::Ping);
        assert_eq!(sent(&mut outbox), [(link, FromLearner::Ping.into())]);
        outbox.durable(Mark(1));
        assert_eq!(sent(&mut outbox), [(link, ack(1).into())]);
        outbox.forget(link);
        outbox.durable(Mark(2));
        assert_eq!(sent(&mut outbox), [(other, ack(3).into())]);
    }

    #[test]
    #[should_panic(expected = "stored Mark(0)")]
    fn nothing_is_durable_before_it_is_stored() {
        Outbox::default().durable(Mark(1));
    }
}
