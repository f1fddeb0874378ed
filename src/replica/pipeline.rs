//! Answers that wait for the disk: one queue of versions with cursors. What goes to the disk at once may be several
//! versions: one ends where reads wait between two writes of a connection.
//!
//! `published ≤ sealed ≤ prepared`, and a batch is published only when the log says `durable ≥` its last zxid.

use std::collections::VecDeque;

use super::input::{Answered, Published};
use crate::base::Zxid;
use crate::tree::Version;
use crate::tree::apply::Fired;

struct Sealed {
    last: Zxid,
    version: Version,
    fired: Vec<Fired>,
    answers: Vec<Answered>,
}

/// The queue between the head and the published version.
#[derive(Default)]
pub struct Pipeline {
    open_fired: Vec<Fired>,
    open_answers: Vec<Answered>,
    prepared: Zxid,
    sealed: VecDeque<Sealed>,
    published: Zxid,
}

impl Pipeline {
    /// Starts after recovery: everything up to `zxid` is published.
    pub fn starting_at(zxid: Zxid) -> Pipeline {
        Pipeline {
            prepared: zxid,
            published: zxid,
            ..Pipeline::default()
        }
    }

    /// Where a transaction's changes are to be appended.
    pub fn fired(&mut self) -> &mut Vec<Fired> {
        &mut self.open_fired
    }

    /// Notes that a transaction was prepared, and its answer if somebody waits for one.
    pub fn prepared(&mut self, zxid: Zxid, answer: Option<Answered>) {
        assert!(zxid == self.prepared.next(), "{zxid} follows {}", self.prepared);
        self.prepared = zxid;
        self.open_answers.extend(answer);
    }

    /// The newest transaction given out.
    pub fn last_prepared(&self) -> Zxid {
        self.prepared
    }

    /// The newest transaction that clients can see.
    pub fn last_published(&self) -> Zxid {
        self.published
    }

    /// Transactions that nobody may see yet.
    pub fn waiting(&self) -> usize {
        (self.prepared.0 - self.published.0) as usize
    }

    /// Closes what is open: it becomes visible as `version`.
    pub fn seal(&mut self, version: Version) {
        let (fired, answers) = (
            std::mem::take(&mut self.open_fired),
            std::mem::take(&mut self.open_answers),
        );
        assert_eq!(
            version.totals.zxid, self.prepared,
            "a version is sealed at the last transaction"
        );
        self.sealed.push_back(Sealed {
            last: self.prepared,
            version,
            fired,
            answers,
        });
    }

    /// Whether transactions were prepared since the last version was sealed.
    pub fn has_open(&self) -> bool {
        self.sealed.back().map_or(self.published, |batch| batch.last) < self.prepared
    }

    /// Gives the next version that is durable.
    pub fn durable(&mut self, zxid: Zxid) -> Option<Published> {
        assert!(zxid <= self.prepared, "durable {zxid} ≤ prepared {}", self.prepared);
        let batch = self.sealed.pop_front_if(|batch| batch.last <= zxid)?;
        self.published = batch.last;
        Some(Published {
            version: batch.version,
            fired: batch.fired,
            answers: batch.answers,
        })
    }
}
