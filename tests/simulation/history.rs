//! What clients asked, when, and what they were told: C1 to C11 and C13 to C16 of the notes on reliability, judged
//! from the record and the log when a run is over.
//!
//! The log is replayed in the reference model (`model.rs`): every transaction must be somebody's request, every answer
//! the one that the model gives at its zxid, and every read the model's state at its zxid. What goes backwards for a
//! client is seen as it happens. Where Java is weaker (a sync that a leader without a quorum answers), so are we.

use std::collections::{BTreeMap, BTreeSet};

use ringkeeper::base::Zxid;
use ringkeeper::wire::error::ErrorCode;
use ringkeeper::wire::reply::{OpResult, WriteReply};
use ringkeeper::wire::txn::{Change, Txn, TxnHeader};
use ringkeeper::zab::Proposal;

use super::model::{Ask, Model, Said, Turn};

/// One request.
struct Op {
    who: usize,
    cxid: i32,
    ask: Ask,
    /// The newest write acknowledged to anybody when it was sent.
    after: Zxid,
    reply: Option<(Zxid, Said)>,
}

/// One data watch on one connection.
struct Watch {
    who: usize,
    path: String,
    since: Zxid,
    /// When it was left again: what may not be told spends it all the same, and its client does not know.
    again: Vec<Zxid>,
    fired: Option<Zxid>,
    /// The newest zxid of anything that was said on the connection before it fired.
    overtaken: Zxid,
}

/// Everything that clients did and heard.
#[derive(Default)]
pub struct History {
    ops: Vec<Op>,
    by_request: BTreeMap<(i64, i32), usize>,
    watches: Vec<Watch>,
    acknowledged: Zxid,
    pub acknowledged_count: usize,
    pub reads: usize,
    pub events: usize,
    pub expired: usize,
    pub moved: usize,
}

impl History {
    /// Nothing yet, and room for what a seed usually brings.
    pub fn new() -> History {
        History {
            ops: Vec::with_capacity(1 << 14),
            ..History::default()
        }
    }

    /// A request is sent. Gives its number.
    pub fn asks(&mut self, who: usize, session: i64, cxid: i32, ask: Ask) -> usize {
        let index = self.ops.len();
        let before = self.by_request.insert((session, cxid), index);
        assert!(before.is_none(), "a client numbers its requests once");
        self.ops.push(Op {
            who,
            cxid,
            ask,
            after: self.acknowledged,
            reply: None,
        });
        index
    }

    /// What was asked.
    pub fn ask(&self, index: usize) -> &Ask {
        &self.ops[index].ask
    }

    /// It is answered.
    pub fn hears(&mut self, index: usize, zxid: Zxid, said: Said) {
        let op = &mut self.ops[index];
        match &said {
            Said::Write(_) => {
                // C2: what was acknowledged before it was asked for comes before it.
                assert!(
                    zxid > op.after,
                    "C2: {zxid} was asked for after {} was acknowledged",
                    op.after
                );
                self.acknowledged = self.acknowledged.max(zxid);
                self.acknowledged_count += 1;
            }
            // C5: a leader that has lost its quorum without knowing answers from its own epoch.
            Said::Synced => assert!(
                zxid >= op.after || op.after.epoch() > zxid.epoch(),
                "C5: a sync shows {zxid}, and {} was acknowledged before it",
                op.after
            ),
            _ => self.reads += 1,
        }
        op.reply = Some((zxid, said));
    }

    /// A data watch was left by the client that asked. Gives its number.
    pub fn watches(&mut self, asked: usize, path: &str, since: Zxid) -> usize {
        self.watches.push(Watch {
            who: self.ops[asked].who,
            path: path.to_owned(),
            since,
            again: Vec::new(),
            fired: None,
            overtaken: Zxid::ZERO,
        });
        self.watches.len() - 1
    }

    /// It was left once more, as far as its client knows.
    pub fn watches_again(&mut self, watch: usize, since: Zxid) {
        self.watches[watch].again.push(since);
    }

    /// Something with this zxid was said on the connection of a watch that has not fired.
    pub fn passes(&mut self, watch: usize, zxid: Zxid) {
        let watch = &mut self.watches[watch];
        watch.overtaken = watch.overtaken.max(zxid);
    }

    /// A watch fired.
    pub fn fires(&mut self, watch: usize, zxid: Zxid) {
        let watch = &mut self.watches[watch];
        assert_eq!(watch.fired, None, "C9: a watch on {} fired twice", watch.path);
        watch.fired = Some(zxid);
        self.events += 1;
    }

    /// Judges it all by what was decided.
    pub fn judge(&mut self, decided: &[Proposal]) {
        (self.expired, self.moved) = self.judged(decided);
    }

    /// Gives how many sessions expired, and how many requests came from where a session was not.
    fn judged(&self, decided: &[Proposal]) -> (usize, usize) {
        let (mut expired, mut moved) = (0, 0);
        let mut model = Model::new();
        let mut reads: Vec<&Op> = self
            .ops
            .iter()
            .filter(|op| !op.ask.is_write() && op.reply.is_some())
            .collect();
        let shown = |op: &Op| op.reply.as_ref().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        reads.sort_by_key(|op| shown(op));
        let mut reads = reads.into_iter().peekable();
        let mut done = BTreeSet::new();
        let mut last_cxid: BTreeMap<i64, i32> = BTreeMap::new();
        let mut judge_reads = |model: &Model, before: Zxid| {
            while let Some(op) = reads.next_if(|op| shown(op) < before) {
                let (zxid, said) = op.reply.as_ref().expect("it was answered");
                if op.ask != Ask::Sync {
                    assert_eq!(*said, model.read(op.who, &op.ask), "C3: {:?} at {zxid}", op.ask);
                }
            }
        };
        for proposal in decided {
            judge_reads(&model, proposal.zxid);
            let (header, txn, _) = Txn::read(&proposal.txn).expect("what is decided can be read");
            assert_eq!(header.zxid as u64, proposal.zxid.0);
            moved += is_moved(&txn) as usize;
            match self.judge_txn(&mut model, &header, &txn, &mut last_cxid) {
                Some(index) => assert!(done.insert(index), "C16: {:?} was decided twice", self.ops[index].ask),
                None => expired += matches!(txn, Txn::CloseSession { .. }) as usize,
            }
        }
        let end = Zxid(decided.last().map_or(0, |last| last.zxid.0) + 1);
        judge_reads(&model, end);
        // C7: what is left was shown at the beginning of an epoch in which nothing was decided.
        for op in self.ops.iter().filter(|op| shown(op) >= end) {
            assert_eq!(shown(op).counter(), 0, "C7: {:?} shows what was not decided", op.ask);
        }
        judge_reads(&model, Zxid(u64::MAX));
        for (index, op) in self.ops.iter().enumerate() {
            let acknowledged = op.ask.is_write() && op.reply.is_some();
            assert!(
                !acknowledged || done.contains(&index),
                "C6: {:?} was acknowledged and is not there",
                op.ask
            );
        }
        self.judge_watches(&model);
        (expired, moved)
    }

    /// One transaction: whose it is, and whether it is what that client's request leads to.
    fn judge_txn(
        &self,
        model: &mut Model,
        header: &TxnHeader,
        txn: &Txn,
        last_cxid: &mut BTreeMap<i64, i32>,
    ) -> Option<usize> {
        let (session, zxid) = (header.session, header.zxid);
        match txn {
            Txn::CreateSession { .. } => {
                assert!(model.sessions.insert(session), "session 0x{session:x} begins twice");
                return None;
            }
            Txn::CloseSession { paths } if header.cxid == 0 => {
                self.judge_close(model, session, zxid, paths.as_deref());
                return None;
            }
            _ => {}
        }
        let Some(index) = self.by_request.get(&(session, header.cxid)).copied() else {
            panic!("C6: nobody asked for 0x{zxid:x} (0x{session:x}, {})", header.cxid);
        };
        let op = &self.ops[index];
        // Which server a session is on is no part of the state. Nobody waits for the answer of an old connection.
        if is_moved(txn) {
            assert!(op.reply.is_none(), "a client hears nothing of a move");
            return Some(index);
        }
        // What comes when the session is over finds nothing to be in order with: a server may have slept with it.
        if model.sessions.contains(&session) {
            let before = last_cxid.insert(session, op.cxid);
            assert!(
                before.is_none_or(|before| before < op.cxid),
                "C1: 0x{session:x} {} is late",
                op.cxid
            );
        }
        assert!(
            Zxid(zxid as u64) > op.after,
            "C2: 0x{zxid:x} was asked for after {}",
            op.after
        );
        let expected = match (txn, &op.ask) {
            (Txn::CloseSession { paths }, Ask::Close) => {
                self.judge_close(model, session, zxid, paths.as_deref());
                WriteReply::Nothing
            }
            (_, ask) => {
                let turn = Turn {
                    who: op.who,
                    session,
                    zxid,
                    time_ms: header.time_ms,
                };
                let expected = model.write(turn, ask);
                let (fails, failed) = (is_failure(&expected), is_error(txn));
                assert_eq!(
                    fails, failed,
                    "C15: {ask:?} at 0x{zxid:x} is {txn}, and {expected:?} is right"
                );
                expected
            }
        };
        let op = &self.ops[index];
        if let Some((at, said)) = &op.reply {
            assert_eq!(at.0 as i64, zxid, "C6: {:?} was acknowledged with another zxid", op.ask);
            assert_eq!(*said, Said::Write(expected), "C2: {:?} at 0x{zxid:x}", op.ask);
        }
        Some(index)
    }

    /// C11: what a session leaves goes with it, and nothing else does.
    fn judge_close(&self, model: &mut Model, session: i64, zxid: i64, paths: Option<&[String]>) {
        let ephemerals = model.ephemerals(session);
        assert_eq!(
            paths,
            Some(&ephemerals[..]),
            "C11: what 0x{session:x} leaves at 0x{zxid:x}"
        );
        model.close(session, zxid);
    }

    /// C8 to C10: each fires at the first change behind it, before anything newer is said, unless its client may not
    /// know of that change; then it is spent.
    fn judge_watches(&self, model: &Model) {
        for watch in &self.watches {
            let news = model.news.get(&watch.path).map_or(&[][..], |news| news);
            let behind = |since: Zxid| {
                let change = news.iter().find(|(zxid, _)| *zxid as u64 > since.0)?;
                Some((Zxid(change.0 as u64), change.1.may_read(watch.who)))
            };
            let mut change = behind(watch.since);
            while let Some((spent, false)) = change {
                let again = watch.again.iter().find(|since| **since >= spent);
                change = again.and_then(|since| behind(*since));
            }
            let first = change.map(|(zxid, _)| zxid);
            let may_know = |fired: Zxid| {
                news.iter()
                    .any(|(zxid, guard)| *zxid as u64 == fired.0 && guard.may_read(watch.who))
            };
            assert!(
                watch.fired.is_none_or(may_know),
                "C10: client {} was told of a change of {} at {:?} that it may not know of",
                watch.who,
                watch.path,
                watch.fired
            );
            let (path, since, over) = (&watch.path, watch.since, watch.overtaken);
            assert!(
                watch.fired.is_none_or(|fired| Some(fired) == first),
                "C9: a watch on {path} since {since} fired at {:?}, not {first:?}",
                watch.fired
            );
            assert!(
                first.is_none_or(|first| over < first),
                "C8: {over} was told before the change of {path} at {first:?}"
            );
        }
    }
}

fn is_failure(reply: &WriteReply) -> bool {
    match reply {
        WriteReply::Error(_) => true,
        WriteReply::Multi(results) => results.iter().any(|result| matches!(result, OpResult::Error(_))),
        _ => false,
    }
}

fn is_error(txn: &Txn) -> bool {
    match txn {
        Txn::Error(_) => true,
        Txn::Multi(changes) => changes.iter().any(|change| matches!(change, Change::Error(_))),
        _ => false,
    }
}

fn is_moved(txn: &Txn) -> bool {
    let moved = ErrorCode::SessionMoved.code();
    match txn {
        Txn::Error(code) => *code == moved,
        Txn::Multi(changes) => matches!(changes.first(), Some(Change::Error(code)) if *code == moved),
        _ => false,
    }
}
