//! The desk of a member of an ensemble: it applies what others decided, takes a leader's part, and gives it up.
//!
//! A leader's head runs ahead of what is decided, as a lone server's runs ahead of its disk. When the part is lost, the
//! head goes back to what clients see, and nothing is read from the disk for it. Sessions are the leader's business:
//! at a learner nobody is tracked, and a new leader begins with all of them, each with its full timeout.

use super::desk::{Asker, Log, Now, Replica};
use super::input::{Answer, Answered, Origin, WriteRequest};
use super::pipeline::Pipeline;
use super::reap::Reaper;
use super::session::{Place, Sessions};
use crate::base::{Epoch, Zxid};
use crate::tree::apply::{Applied, Outcome};
use crate::tree::{Tree, Version, View};
use crate::wire::acl::Id;
use crate::wire::error::ErrorCode;
use crate::wire::reply::{OpResult, WriteReply};
use crate::wire::request::{Op, Request};
use crate::wire::txn::{Change, Txn, TxnHeader};
use crate::zab::Link;

/// A transaction with its header and its author's digest.
pub type Decoded = (TxnHeader, Txn, Option<u64>);

/// A learner's request for its client.
pub struct Forwarded<'a> {
    /// The session.
    pub session: i64,
    /// The request's number.
    pub cxid: i32,
    /// What it is.
    pub opcode: i32,
    /// The record.
    pub body: &'a [u8],
    /// The connection's identities.
    pub ids: &'a [Id],
}

/// createSession among servers; closeSession is [`Op::CloseSession`].
pub const CREATE_SESSION: i32 = -10;

impl Replica {
    /// Applies what was decided elsewhere. `answer` is for somebody here who waits for it: it is given the reply. Gives
    /// the digest here if it is not the author's.
    pub fn apply(&mut self, decided: &Decoded, answer: impl FnOnce(WriteReply) -> Option<Answered>) -> Option<u64> {
        let (header, txn, digest) = decided;
        let applied = self.tree.apply(header, txn, self.pipeline.fired());
        let answer = answer(reply(txn, applied));
        self.pipeline.decided_elsewhere(Zxid(header.zxid as u64), answer);
        let here = self.tree.totals().digest;
        let differs = digest.is_some_and(|there| there != here) && self.tree.features().digest;
        differs.then_some(here)
    }

    /// What is open ends as a version, if anything is.
    pub fn seal_open(&mut self) {
        if self.pipeline.has_open() {
            self.seal();
        }
    }

    /// The newest transaction of the head.
    pub fn last_prepared(&self) -> Zxid {
        self.pipeline.last_prepared()
    }

    /// The newest transaction that clients see.
    pub fn last_published(&self) -> Zxid {
        self.pipeline.last_published()
    }

    /// Takes a leader's part. Everything before is visible; the next transaction is the epoch's first. Gives the version
    /// that says so: clients see the epoch's zxid (`Leader#startZkServer`).
    pub fn lead(&mut self, epoch: Epoch, now: Now) -> Version {
        let version = self.begin(epoch);
        self.track_all(now);
        self.reaper = Reaper::new(self.settings.reap, now.ms);
        version
    }

    /// Follows in an epoch: everything that its leader began it with is visible. Clients see the epoch's zxid as they do
    /// at the leader, or who comes from there would see zxids go back. Gives the version that says so, if it is news.
    pub fn follow(&mut self, epoch: Epoch) -> Option<Version> {
        (self.pipeline.last_prepared() < epoch.zxid()).then(|| self.begin(epoch))
    }

    fn begin(&mut self, epoch: Epoch) -> Version {
        let zxid = epoch.zxid();
        self.tree.finish(zxid.0 as i64);
        let version = self.tree.seal();
        self.pipeline.begin(zxid);
        self.published.advance(&version);
        version
    }

    /// Gives a leader's part up: what was prepared and is not visible is undone. `sessions` are those that it opened or
    /// closed. Nobody hears of it: the connections are closed.
    pub fn give_up(&mut self, sessions: impl IntoIterator<Item = i64>, now: Now) {
        self.tree.return_to(&self.published, sessions);
        self.pipeline = Pipeline::starting_at(self.pipeline.last_published());
        self.unlogged.clear();
        self.sessions = Sessions::new(self.settings.tick_ms, now.ms);
    }

    /// A leader's whole state takes the place of everything here. Gives the view of it.
    pub fn install(&mut self, mut tree: Tree) -> View {
        self.published = tree.view();
        self.pipeline = Pipeline::starting_at(tree.totals().zxid);
        self.unlogged.clear();
        self.tree = tree;
        self.view()
    }

    /// The state with some transactions behind it that nobody sees yet.
    pub fn view_with<'t>(&mut self, behind: impl Iterator<Item = &'t Decoded>) -> View {
        assert_eq!(self.pipeline.waiting(), 0, "clients see all that was applied");
        let mut sessions = Vec::new();
        for (header, txn, _) in behind {
            self.tree.apply(header, txn, &mut Vec::new());
            sessions.push(header.session);
        }
        let view = self.tree.view();
        self.tree.return_to(&self.published, sessions);
        view
    }

    /// Forgets ACLs that nobody can ask for any more.
    pub fn sweep(&mut self) {
        self.tree.sweep_acls(&self.published);
    }

    // As a leader.

    /// A sync of a client here: answered when everything before it is visible.
    pub fn sync(&mut self, request: &WriteRequest) {
        let answer = Answer::Synced {
            xid: request.xid,
            path: request.body.clone(),
        };
        self.answer_without_a_transaction(request.origin, answer, request.behind_reads);
    }

    /// A learner's request becomes a transaction, whatever comes of it: nothing else is an answer to a learner.
    pub fn write_for(&mut self, link: Link, request: &Forwarded<'_>, now: Now, log: &mut impl Log) {
        let (id, cxid) = (request.session, request.cxid);
        if request.opcode == CREATE_SESSION {
            return self.open_for(link, request, now, log);
        }
        let op = Op::from_code(request.opcode).filter(|op| op.is_write());
        let decoded = op.map(|op| Request::read(op, request.body));
        let Some(Ok(decoded)) = decoded else {
            return self.log_error(id, cxid, ErrorCode::MarshallingError, now, log);
        };
        let session = match decoded {
            Request::CloseSession => Ok(()),
            _ => self.sessions.check_at(id, Place::Learner(link)),
        };
        if self.is_refused(&decoded) {
            let code = session.err().unwrap_or(ErrorCode::SystemError);
            return self.log_error(id, cxid, code, now, log);
        }
        let asker = Asker {
            session: id,
            xid: cxid,
            ids: request.ids,
            origin: None,
        };
        self.log_request(&asker, &decoded, session, now, log);
    }

    fn open_for(&mut self, link: Link, request: &Forwarded<'_>, now: Now, log: &mut impl Log) {
        let timeout = request.body.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
        let Some(timeout_ms) = timeout.filter(|timeout_ms| *timeout_ms > 0) else {
            return self.log_error(request.session, request.cxid, ErrorCode::MarshallingError, now, log);
        };
        if !self.takes_sessions() {
            return self.log_error(request.session, request.cxid, ErrorCode::SystemError, now, log);
        }
        let id = request.session;
        if self.sessions.check(id).is_err() {
            // One that is closing is over, whoever asks for it again.
            self.sessions.remove(id);
            self.sessions.open(id, timeout_ms, Default::default(), None, now.ms);
        }
        // A session begins where it was asked for.
        let _ = self.sessions.move_to_learner(id, timeout_ms, link, now.ms);
        self.log_session(id, request.cxid, timeout_ms, None, now, log);
    }

    /// A learner tells of its clients' sessions.
    pub fn touch(&mut self, session: i64, timeout_ms: i32, now: Now) {
        self.sessions.touch(session, timeout_ms, now.ms);
    }

    /// A client came to a learner with a session. Gives whether it is alive, and the connection here that it left.
    pub fn revalidate(&mut self, link: Link, session: i64, timeout_ms: i32, now: Now) -> (bool, Option<Origin>) {
        match self.sessions.move_to_learner(session, timeout_ms, link, now.ms) {
            Ok(left) => (true, left),
            Err(_) => (false, None),
        }
    }
}

/// Whether a reply says that the session is on another server: its connection here ends, or the client would go on with
/// both.
pub(super) fn is_moved(reply: &WriteReply) -> bool {
    let moved = ErrorCode::SessionMoved;
    match reply {
        WriteReply::Error(code) => *code == moved,
        WriteReply::Multi(results) => results.first() == Some(&OpResult::Error(moved.code())),
        _ => false,
    }
}

/// What the client that asked for a transaction is told (`FinalRequestProcessor#processRequest`).
fn reply(txn: &Txn, applied: Applied) -> WriteReply {
    match (txn, applied) {
        (Txn::Error(code), _) => error(*code),
        (Txn::Change(change), Applied::One(outcome)) => match outcome {
            Outcome::Created(path, _) if change.code() == Op::Create as i32 => WriteReply::Path(path),
            Outcome::Created(path, stat) => WriteReply::PathAndStat(path, stat),
            Outcome::DataSet(stat) | Outcome::AclSet(stat) => WriteReply::Stat(stat),
            Outcome::Deleted | Outcome::Checked => WriteReply::Nothing,
            Outcome::Error(code) => error(code),
        },
        (Txn::Multi(changes), Applied::Multi(outcomes)) => {
            let results = changes.iter().zip(outcomes);
            WriteReply::Multi(results.map(|(change, outcome)| result(change, outcome)).collect())
        }
        _ => WriteReply::Nothing,
    }
}

fn error(code: i32) -> WriteReply {
    // Every code of a server of 3.9 is in the list; another tells the client at least that it failed.
    WriteReply::Error(ErrorCode::from_code(code).unwrap_or(ErrorCode::SystemError))
}

fn result(change: &Change, outcome: Outcome) -> OpResult {
    match outcome {
        Outcome::Error(code) => OpResult::Error(code),
        outcome => super::desk::op_result(change, outcome),
    }
}
