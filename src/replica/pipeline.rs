//! Answers that wait for the disk: one queue of versions with cursors. What goes to the disk at once may be several
//! versions: one ends where reads wait between two writes of a connection.
//!
//! `published ≤ sealed ≤ prepared`, and a batch is published only when its last zxid is durable; in an ensemble: decided.

use std::collections::VecDeque;

use super::input::{Answered, Published};
use crate::base::Zxid;
use crate::tree::Version;
use crate::tree::apply::Fired;

struct Sealed {
    last: Zxid,
    count: usize,
    version: Version,
    fired: Vec<Fired>,
    answers: Vec<Answered>,
}

/// The queue between the head and the published version.
#[derive(Default)]
pub struct Pipeline {
    open_fired: Vec<Fired>,
    open_answers: Vec<Answered>,
    open_count: usize,
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
        self.decided_elsewhere(zxid, answer);
    }

    /// The same of a transaction of another server's, which may begin an epoch.
    pub fn decided_elsewhere(&mut self, zxid: Zxid, answer: Option<Answered>) {
        assert!(zxid > self.prepared, "{zxid} is behind {}", self.prepared);
        self.prepared = zxid;
        self.open_count += 1;
        self.open_answers.extend(answer);
    }

    /// An epoch begins: what is prepared next is its first transaction. Everything before it is visible, and so is
    /// this.
    pub fn begin(&mut self, epoch: Zxid) {
        assert!(self.sealed.is_empty() && !self.has_open() && self.prepared < epoch);
        (self.prepared, self.published) = (epoch, epoch);
    }

    /// An answer to something that is not logged: it comes behind the answers of all that was. Given back if there are
    /// none to come.
    pub fn answer_in_turn(&mut self, answer: Answered) -> Option<Answered> {
        if self.has_open() {
            self.open_answers.push(answer);
        } else if let Some(batch) = self.sealed.back_mut() {
            batch.answers.push(answer);
        } else {
            return Some(answer);
        }
        None
    }

    /// The same, with the next version that is sealed.
    pub fn answer_next(&mut self, answer: Answered) {
        self.open_answers.push(answer);
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
        self.sealed.iter().map(|batch| batch.count).sum::<usize>() + self.open_count
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
            count: std::mem::take(&mut self.open_count),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::input::{Answer, Origin};
    use crate::tree::{Features, Tree};
    use crate::wire::reply::WriteReply;
    use crate::wire::txn::{Txn, TxnHeader};

    fn answered(xid: i32, zxid: u64) -> Answered {
        let origin = Origin {
            core: 0,
            connection: 0,
            generation: 0,
        };
        let reply = WriteReply::Nothing;
        Answered {
            origin,
            zxid: zxid as i64,
            answer: Answer::Reply { xid, reply },
        }
    }

    fn xids(answers: &[Answered]) -> Vec<i32> {
        let xid = |answered: &Answered| match answered.answer {
            Answer::Reply { xid, .. } => xid,
            _ => panic!("{answered:?}"),
        };
        answers.iter().map(xid).collect()
    }

    #[test]
    fn an_answer_without_a_transaction_waits_for_those_before_it() {
        let (mut pipeline, mut tree) = (Pipeline::default(), Tree::new(1, Features::default()));
        let log = |pipeline: &mut Pipeline, tree: &mut Tree, xid, zxid: u64| {
            let header = TxnHeader {
                session: 1,
                cxid: xid,
                zxid: zxid as i64,
                time_ms: 1,
            };
            tree.apply(&header, &Txn::Error(-101), &mut Vec::new());
            tree.finish(header.zxid);
            pipeline.prepared(Zxid(zxid), Some(answered(xid, zxid)));
        };
        assert!(pipeline.answer_in_turn(answered(1, 0)).is_some(), "nothing to wait for");
        log(&mut pipeline, &mut tree, 2, 1);
        assert!(
            pipeline.answer_in_turn(answered(3, 1)).is_none(),
            "behind the open batch"
        );
        pipeline.seal(tree.seal());
        assert!(
            pipeline.answer_in_turn(answered(4, 1)).is_none(),
            "behind the sealed batch"
        );
        log(&mut pipeline, &mut tree, 5, 2);
        assert!(pipeline.answer_in_turn(answered(6, 2)).is_none());
        let published = pipeline.durable(Zxid(1)).expect("the first batch");
        assert_eq!(xids(&published.answers), [2, 3, 4]);
        pipeline.seal(tree.seal());
        assert_eq!(xids(&pipeline.durable(Zxid(2)).expect("the second").answers), [5, 6]);
        assert!(pipeline.answer_in_turn(answered(7, 2)).is_some(), "all are out");
    }
}
