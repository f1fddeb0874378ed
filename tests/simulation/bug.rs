//! Bugs that ZooKeeper and its relatives had, to be put back one at a time.
//!
//! The core tells everything it does and learns everything it knows through its inputs and outputs, so each bug is a
//! host, a disk or a wire that does at that seam what the buggy server did inside. The member itself stays as it is
//! released. Numbers are ZOOKEEPER issues; T-numbers and others stand in the notes on traps.

use ringkeeper::base::Epoch;
use ringkeeper::replica::member::{Output, Packet};
use ringkeeper::zab::{FromLeader, FromLearner, Message};

use super::world::World;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A follower acknowledges proposals before they are durable.
    AckBeforeDurable,
    /// The leader counts its own log before it is durable (T-76, etcd 14370).
    SelfAckBeforeDurable,
    /// NEWLEADER is acknowledged while the log is still being flushed (3023, 4646).
    NewLeaderAckBeforeDurable,
    /// A received snapshot is not synced, but the log behind it is (2872).
    SnapshotNotSynced,
    /// `currentEpoch` reaches the disk before the transactions of DIFF do (4643, 4785).
    EpochBeforeTransactions,
    /// `currentEpoch` changes in memory only (1653, 2307).
    EpochNotStored,
    /// `acceptedEpoch` changes in memory only: two leaders can get one epoch (335, 1291).
    PromiseNotStored,
    /// A commit needs one voter less than a quorum.
    QuorumTooSmall,
    /// A failed truncation is taken for a success (3701).
    TruncateSkipped,
    /// Truncation takes one record too many (1156).
    TruncatesTooMuch,
    /// The first transaction of a DIFF is left out (2418, 3911, 4925).
    HoleInDiff,
    /// NEWLEADER overtakes the queued transactions of a DIFF (3104).
    NewLeaderOvertakes,
    /// UPTODATE is sent before a quorum has the history (1282).
    UpToDateEarly,
    /// The leader does not see that a follower has more history than itself (T-18).
    AheadIgnored,
    /// A bad record at the end of the log makes recovery drop good ones before it (T-83, ClickHouse Keeper 56670).
    TailDropped,
    /// A server that lost its disk votes as if it had never had anything (T-51).
    Amnesia,
    /// A learner sends a client's request twice (T-85).
    RequestTwice,
    /// A learner answers a sync without asking its leader (T-29).
    SyncAnsweredHere,
    /// The answer to a write overtakes the event of the change (guarantees W2).
    EventLate,
    /// An event names a node that its watcher may not read (CVE-2024-23944).
    EventUnchecked,
    /// A read is answered before the write that its connection sent first (T-29).
    ReadOvertakes,
}

impl Bug {
    pub const ALL: &[Bug] = &[
        Bug::AckBeforeDurable,
        Bug::SelfAckBeforeDurable,
        Bug::NewLeaderAckBeforeDurable,
        Bug::SnapshotNotSynced,
        Bug::EpochBeforeTransactions,
        Bug::EpochNotStored,
        Bug::PromiseNotStored,
        Bug::QuorumTooSmall,
        Bug::TruncateSkipped,
        Bug::TruncatesTooMuch,
        Bug::HoleInDiff,
        Bug::NewLeaderOvertakes,
        Bug::UpToDateEarly,
        Bug::AheadIgnored,
        Bug::TailDropped,
        Bug::Amnesia,
        Bug::RequestTwice,
        Bug::SyncAnsweredHere,
        Bug::EventLate,
        Bug::EventUnchecked,
        Bug::ReadOvertakes,
    ];
}

impl World {
    /// What the buggy leader hears in place of what was said.
    pub fn learner_says(&self, message: FromLearner) -> FromLearner {
        match message {
            FromLearner::AckEpoch { current: Some(_), last } if self.bug == Some(Bug::AheadIgnored) => {
                let current = Some(Epoch(0));
                FromLearner::AckEpoch { current, last }
            }
            message => message,
        }
    }

    /// What the buggy server says in place of what the core says.
    pub fn twist(&self, mut outputs: Vec<Output>) -> Vec<Output> {
        let position = |outputs: &[Output], is: fn(&FromLeader) -> bool| {
            outputs.iter().position(|output| match output {
                Output::Send {
                    packet: Packet::Zab(Message::FromLeader(message)),
                    ..
                } => is(message),
                _ => false,
            })
        };
        match self.bug {
            Some(Bug::UpToDateEarly) => {
                outputs.retain(|output| {
                    let Output::Send {
                        packet: Packet::Zab(message),
                        ..
                    } = output
                    else {
                        return true;
                    };
                    *message != Message::FromLeader(FromLeader::UpToDate)
                });
                if let Some(index) = position(&outputs, |message| matches!(message, FromLeader::NewLeader(_)))
                    && let Output::Send { link, .. } = outputs[index]
                {
                    let packet = Packet::Zab(FromLeader::UpToDate.into());
                    outputs.insert(index + 1, Output::Send { link, packet });
                }
            }
            Some(Bug::HoleInDiff) => {
                if let Some(index) = position(&outputs, |message| matches!(message, FromLeader::Diff(_)))
                    && position(&outputs, |message| matches!(message, FromLeader::Proposal(_))) == Some(index + 1)
                {
                    outputs.drain(index + 1..index + 3);
                }
            }
            Some(Bug::NewLeaderOvertakes) => {
                let diff = position(&outputs, |message| matches!(message, FromLeader::Diff(_)));
                let end = position(&outputs, |message| matches!(message, FromLeader::NewLeader(_)));
                if let (Some(diff), Some(end)) = (diff, end)
                    && diff < end
                {
                    let output = outputs.remove(end);
                    outputs.insert(diff + 1, output);
                }
            }
            Some(Bug::RequestTwice) => {
                let request = outputs.iter().find_map(|output| match output {
                    Output::Send {
                        link,
                        packet: Packet::Zab(message @ Message::FromLearner(FromLearner::Request(_))),
                    } => Some((*link, message.clone())),
                    _ => None,
                });
                let again = request.filter(|_| self.now_ms.is_multiple_of(50));
                outputs.extend(again.map(|(link, message)| Output::Send {
                    link,
                    packet: Packet::Zab(message),
                }));
            }
            _ => {}
        }
        outputs
    }
}
