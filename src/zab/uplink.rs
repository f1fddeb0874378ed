//! A learner's connection to a leader that has its quorum: who, over what, and how long it may stay silent.

use super::common::Common;
use super::event::Why;
use super::looking::Looking;
use super::message::{FromLearner, Link};
use super::node::Role;
use crate::base::ServerId;

/// The connection.
#[derive(Debug)]
pub struct Uplink {
    leader: ServerId,
    link: Link,
    deadline_ms: u64,
}

impl Uplink {
    /// As long as the leader speaks.
    pub fn new(common: &Common, leader: ServerId, link: Link, now_ms: u64) -> Uplink {
        Uplink {
            leader,
            link,
            deadline_ms: now_ms + common.settings.sync_ms(),
        }
    }

    /// Its number.
    pub fn link(&self) -> Link {
        self.link
    }

    /// When the leader has been silent for too long.
    pub fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// Any message counts.
    pub fn heard(&mut self, common: &Common, now_ms: u64) {
        self.deadline_ms = now_ms + common.settings.sync_ms();
    }

    /// Asks the leader for something.
    pub fn ask(&self, common: &mut Common, what: FromLearner) {
        common.out.send_now(self.link, what);
    }

    /// The leader was silent.
    pub fn silent(self, common: &mut Common, now_ms: u64) -> Role {
        let why = Why::Silent(self.leader);
        self.end(common, why, now_ms)
    }

    /// The connection broke.
    pub fn broke(self, common: &mut Common, now_ms: u64) -> Role {
        common.out.forget(self.link);
        common.leave([]);
        Looking::start(common, Why::Disconnected(self.leader), now_ms)
    }

    /// Hangs up and looks for a leader.
    pub fn end(self, common: &mut Common, why: Why, now_ms: u64) -> Role {
        common.leave([self.link]);
        Looking::start(common, why, now_ms)
    }
}
