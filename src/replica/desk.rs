//! The desk itself: requests in, transactions to the log, published batches out.
//!
//! Where the disk is nearly full ([`Level`]) it refuses what would only add: such an answer costs no zxid and no byte
//! of the log, and still comes in the session's order.

use storage::Zxid;
use storage::engine::Level;

use super::input::{Answer, Answered, Origin, Published, WriteRequest};
use super::pipeline::Pipeline;
use super::prepare::{Caller, QuotaRules, prepare, usage_before};
use super::reap::{ReapSettings, Reaper, is_due};
use super::role::is_moved;
use super::session::{Heart, Place, Sessions};
use crate::base::id::SessionId;
use crate::tree::apply::Outcome;
use crate::tree::{Tree, View};
use crate::wire::acl::Id;
use crate::wire::error::ErrorCode;
use crate::wire::reply::{OpResult, WriteReply};
use crate::wire::request::{CreateKind, Op, Request, WriteOp};
use crate::wire::txn::{Change, Txn, TxnHeader};

/// Configuration of the desk.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `tickTime`.
    pub tick_ms: u64,
    /// `enforceQuota`.
    pub enforce_quota: bool,
    /// Whether reconfiguration is asked about at all: a standalone server has none.
    pub reconfig_enabled: bool,
    /// The reaper's.
    pub reap: ReapSettings,
    /// This server's number.
    pub server_id: u8,
}

/// The writing desk.
pub struct Replica {
    pub(super) tree: Tree,
    pub(super) published: View,
    pub(super) sessions: Sessions,
    pub(super) reaper: Reaper,
    pub(super) pipeline: Pipeline,
    next_session: SessionId,
    pub(super) settings: Settings,
    record: Vec<u8>,
    pub(super) level: Level,
    pub(super) unlogged: Vec<Answered>,
}

/// Who asks for a write, as far as the transaction is concerned.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub session: i64,
    pub xid: i32,
    pub ids: &'a [Id],
    /// Who is answered, if it is somebody here.
    pub origin: Option<Origin>,
}

/// Where transactions go to become durable.
pub trait Log {
    /// Takes one transaction's bytes.
    fn append(&mut self, zxid: Zxid, payload: &[u8]);
}

/// Now, in both of the clocks that matter.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic: sessions and timers.
    pub ms: u64,
    /// Wall clock: ctime and mtime.
    pub wall_ms: i64,
}

impl Replica {
    /// Starts with a recovered tree; its sessions get a full timeout each.
    pub fn new(tree: Tree, settings: Settings, now: Now) -> Replica {
        let mut replica = Replica::without_sessions(tree, settings, now);
        replica.track_all(now);
        replica
    }

    /// Starts with a recovered tree, for a server of which others know who is alive.
    pub(super) fn without_sessions(mut tree: Tree, settings: Settings, now: Now) -> Replica {
        let published = tree.view();
        let zxid = tree.totals().zxid;
        Replica {
            published,
            sessions: Sessions::new(settings.tick_ms, now.ms),
            reaper: Reaper::new(settings.reap, now.ms),
            pipeline: Pipeline::starting_at(zxid),
            next_session: SessionId::first(settings.server_id, now.wall_ms),
            settings,
            tree,
            record: Vec::new(),
            level: Level::Enough,
            unlogged: Vec::new(),
        }
    }

    /// Tracks every session there is, each with its full timeout, as if nothing had been known of any.
    pub(super) fn track_all(&mut self, now: Now) {
        self.sessions = Sessions::new(self.settings.tick_ms, now.ms);
        for (id, record) in self.tree.sessions() {
            self.sessions
                .open(id, record.timeout_ms, Heart::default(), None, now.ms);
        }
    }

    /// A view pinned at the published version, for a core or a snapshot.
    pub fn view(&self) -> View {
        self.published.clone()
    }

    /// The live sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Paths that have a quota.
    pub fn quota_paths(&self) -> Vec<String> {
        self.tree.quotas().iter().map(str::to_owned).collect()
    }

    /// The tree's digest after every 128th transaction that clients can see, oldest first.
    pub fn digests(&self) -> Vec<(i64, u64)> {
        let visible = self.pipeline.last_published().0 as i64;
        self.tree.digests().filter(|(zxid, _)| *zxid <= visible).collect()
    }

    /// Transactions that are not visible yet.
    pub fn waiting(&self) -> usize {
        self.pipeline.waiting()
    }

    /// How much room the disk has from now on.
    pub fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    /// Whether there is room for sessions that do not exist yet. A refused one has no answer but its connection's end:
    /// a ConnectResponse can only say that a session is over, and clients would take it for their own.
    pub fn takes_sessions(&self) -> bool {
        self.level != Level::Last
    }

    /// Whether a request must not be logged for want of room. Closes go on to the end: they are what frees locks. A
    /// delete does too while there is room at all, since it releases a lock, or makes the next snapshot smaller. A
    /// multi is refused as a whole, whatever it holds.
    pub(super) fn is_refused(&self, request: &Request<'_>) -> bool {
        match self.level {
            Level::Enough => false,
            Level::Low => !matches!(request, Request::CloseSession | Request::Write(WriteOp::Delete { .. })),
            Level::Last => !matches!(request, Request::CloseSession),
        }
    }

    /// Answers as Java does where a request fails as a whole, multi included: an error in the header, and no record
    /// (`FinalRequestProcessor#processRequest` with a throttled request).
    fn refuse(&mut self, request: &WriteRequest, code: ErrorCode) {
        let answer = Answer::Reply {
            xid: request.xid,
            reply: WriteReply::Error(code),
        };
        self.answer_without_a_transaction(request.origin, answer, request.behind_reads);
    }

    /// Answers in the connection's order.
    pub(super) fn answer_without_a_transaction(&mut self, origin: Origin, answer: Answer, behind_reads: bool) {
        let answered = Answered {
            origin,
            zxid: self.pipeline.last_prepared().0 as i64,
            answer,
        };
        if behind_reads && self.pipeline.waiting() > 0 {
            // Handed out with the version before it, it would overtake those reads: a version of its own, without news.
            self.pipeline.answer_next(answered);
            return self.seal();
        }
        self.unlogged.extend(self.pipeline.answer_in_turn(answered));
    }

    /// Answers that no transaction carries and nothing is to be waited for. Reads may wait between any two.
    pub fn take_unlogged(&mut self) -> Vec<Answered> {
        std::mem::take(&mut self.unlogged)
    }

    /// A session's write. False if it was refused for want of room, and nothing was logged.
    pub fn write(&mut self, request: &WriteRequest, now: Now, log: &mut impl Log) -> bool {
        if request.behind_reads && self.pipeline.has_open() {
            self.seal();
        }
        let decoded = Request::read(request.op, &request.body).expect("the connection decoded it before");
        let session = self.sessions.check_at(request.session, Place::Here);
        if self.is_refused(&decoded) {
            self.refuse(request, session.err().unwrap_or(ErrorCode::SystemError));
            return false;
        }
        let asker = Asker {
            session: request.session,
            xid: request.xid,
            ids: &request.ids,
            origin: Some(request.origin),
        };
        self.log_request(&asker, &decoded, session, now, log);
        true
    }

    /// A well-formed write becomes a transaction, whatever comes of it.
    pub(super) fn log_request(
        &mut self,
        asker: &Asker<'_>,
        request: &Request<'_>,
        session: Result<(), ErrorCode>,
        now: Now,
        log: &mut impl Log,
    ) {
        let (txn, reply) = match request {
            Request::Write(op) => self.single(asker, op, session, now),
            Request::Multi(ops) => self.multi(asker, ops, session, now),
            Request::Reconfig => {
                // Switched off comes first, then the session, then "standalone servers have none" (`PrepRequestProcessor`).
                let code = match session {
                    _ if !self.settings.reconfig_enabled => ErrorCode::ReconfigDisabled,
                    Err(code) => code,
                    Ok(()) => ErrorCode::Unimplemented,
                };
                (Txn::Error(code.code()), WriteReply::Error(code))
            }
            Request::CloseSession => return self.close(asker.session, asker.xid, asker.origin, now, log),
            other => unreachable!("{other:?} is no write"),
        };
        let answer = match reply {
            reply if is_moved(&reply) => Answer::Expired,
            reply => Answer::Reply { xid: asker.xid, reply },
        };
        let answer = asker.origin.map(|origin| (origin, answer));
        self.log_txn(asker.session, asker.xid, &txn, now, answer, log);
    }

    /// An error becomes a transaction.
    pub(super) fn log_error(&mut self, session: i64, xid: i32, code: ErrorCode, now: Now, log: &mut impl Log) {
        self.log_txn(session, xid, &Txn::Error(code.code()), now, None, log);
    }

    fn single(
        &mut self,
        asker: &Asker<'_>,
        op: &WriteOp<'_>,
        session: Result<(), ErrorCode>,
        now: Now,
    ) -> (Txn, WriteReply) {
        let caller = Caller {
            session,
            ids: asker.ids,
        };
        let quotas = QuotaRules {
            enforced: self.settings.enforce_quota,
            ..QuotaRules::default()
        };
        match prepare(&self.tree, &caller, &quotas, op) {
            Err(code) => (Txn::Error(code.code()), WriteReply::Error(code)),
            Ok(change) => {
                let header = self.header(asker.session, asker.xid, now);
                let outcome = self.tree.apply_change(&header, &change, self.pipeline.fired());
                let reply = match (outcome, &change) {
                    (Outcome::Created(path, stat), _) => match op {
                        WriteOp::Create(create) if create.kind == CreateKind::Plain => WriteReply::Path(path),
                        _ => WriteReply::PathAndStat(path, stat),
                    },
                    (Outcome::DataSet(stat) | Outcome::AclSet(stat), _) => WriteReply::Stat(stat),
                    (Outcome::Deleted | Outcome::Checked, _) => WriteReply::Nothing,
                    (Outcome::Error(code), change) => unreachable!("{change} was checked and failed with {code}"),
                };
                (Txn::Change(change), reply)
            }
        }
    }

    /// All or nothing: each operation is checked against the head that holds the ones before it, and at the
    /// first failure the head goes back to where the multi began.
    fn multi(
        &mut self,
        asker: &Asker<'_>,
        ops: &[WriteOp<'_>],
        session: Result<(), ErrorCode>,
        now: Now,
    ) -> (Txn, WriteReply) {
        let caller = Caller {
            session,
            ids: asker.ids,
        };
        let enforced = self.settings.enforce_quota;
        let before = if enforced {
            usage_before(&self.tree, ops)
        } else {
            Default::default()
        };
        let quotas = QuotaRules { enforced, before };
        let header = self.header(asker.session, asker.xid, now);
        let checkpoint = self.tree.checkpoint();
        let fired_before = self.pipeline.fired().len();
        let (mut changes, mut results) = (Vec::with_capacity(ops.len()), Vec::with_capacity(ops.len()));
        for op in ops {
            match prepare(&self.tree, &caller, &quotas, op) {
                Ok(change) => {
                    let outcome = self.tree.apply_change(&header, &change, self.pipeline.fired());
                    results.push(op_result(&change, outcome));
                    changes.push(change);
                }
                Err(code) => {
                    self.tree.roll_back(checkpoint);
                    self.pipeline.fired().truncate(fired_before);
                    // Where Java's code throws something of its own, a null in a path or an ACL, no operation has
                    // failed but the whole request (`PrepRequestProcessor#pRequest`, catch of Exception).
                    if code == ErrorCode::MarshallingError {
                        return (Txn::Error(code.code()), WriteReply::Error(code));
                    }
                    return failed_multi(changes, code, ops.len());
                }
            }
        }
        self.tree.keep(checkpoint);
        (Txn::Multi(changes), WriteReply::Multi(results))
    }

    /// A new session; its connection hears of it when the session is durable.
    pub fn open_session(&mut self, origin: Origin, timeout_ms: i32, heart: Heart, now: Now, log: &mut impl Log) {
        let id = self.new_session_id();
        self.sessions.open(id, timeout_ms, heart, Some(origin), now.ms);
        let answer = Some((origin, Answer::Opened { session: id }));
        self.log_session(id, 0, timeout_ms, answer, now, log);
    }

    /// An id that no session has had.
    pub(super) fn new_session_id(&mut self) -> i64 {
        let id = self.next_session;
        self.next_session = id.next();
        id.0
    }

    pub(super) fn log_session(
        &mut self,
        id: i64,
        cxid: i32,
        timeout_ms: i32,
        answer: Option<(Origin, Answer)>,
        now: Now,
        log: &mut impl Log,
    ) {
        let txn = Txn::CreateSession { timeout_ms };
        let header = self.header(id, cxid, now);
        self.tree.apply(&header, &txn, &mut Vec::new());
        self.log_txn(id, cxid, &txn, now, answer, log);
    }

    /// A session comes back on another connection. Gives the connection that has to go.
    pub fn attach(
        &mut self,
        id: i64,
        timeout_ms: i32,
        heart: Heart,
        origin: Origin,
        now: Now,
    ) -> Result<Option<Origin>, ErrorCode> {
        self.sessions.attach(id, timeout_ms, heart, origin, now.ms)
    }

    /// A connection is gone.
    pub fn detach(&mut self, id: i64, origin: Origin) {
        self.sessions.detach(id, origin);
    }

    fn close(&mut self, id: i64, cxid: i32, asked: Option<Origin>, now: Now, log: &mut impl Log) {
        let owner = self.sessions.set_closing(id);
        let paths = self.tree.ephemerals(id);
        let txn = Txn::CloseSession { paths: Some(paths) };
        let header = self.header(id, cxid, now);
        self.tree.apply(&header, &txn, self.pipeline.fired());
        self.sessions.remove(id);
        let answer = match asked {
            Some(origin) => Some((origin, Answer::Closed { xid: cxid })),
            None => owner.map(|origin| (origin, Answer::Expired)),
        };
        self.log_txn(id, cxid, &txn, now, answer, log);
    }

    /// Time passes: sessions expire, containers and TTL nodes go. Gives the number of sessions that expired. What can
    /// wait, waits for room.
    pub fn tick(&mut self, now: Now, log: &mut impl Log) -> usize {
        let expired = self.sessions.expired(now.ms);
        for id in &expired {
            self.close(*id, 0, None, now, log);
        }
        let due = match self.level {
            Level::Enough => self.reaper.due(&self.published, &self.tree, now.ms, now.wall_ms),
            Level::Low | Level::Last => Vec::new(),
        };
        for path in due {
            if is_due(&self.tree, &path, now.wall_ms, self.reaper.settings().never_used_ms) {
                let change = Change::DeleteContainer { path };
                let header = self.header(0, 0, now);
                self.tree.apply_change(&header, &change, self.pipeline.fired());
                self.log_txn(0, 0, &Txn::Change(change), now, None, log);
            }
        }
        self.tree.sweep_acls(&self.published);
        expired.len()
    }

    /// When [`Replica::tick`] is due next.
    pub fn next_tick_ms(&self, now_ms: u64) -> u64 {
        let reaping = match self.level {
            Level::Enough => self.reaper.next_ms(),
            Level::Low | Level::Last => u64::MAX,
        };
        self.sessions.next_check_ms(now_ms).min(reaping).max(now_ms)
    }

    /// What is open ends as a version.
    pub fn seal(&mut self) {
        let version = self.tree.seal();
        self.pipeline.seal(version);
    }

    /// The log is durable up to `zxid`: the next version that may be seen now.
    pub fn durable(&mut self, zxid: Zxid) -> Option<Published> {
        let published = self.pipeline.durable(zxid)?;
        self.published.advance(&published.version);
        Some(published)
    }

    /// Pieces of old versions that wait for the last core to move on.
    pub fn retired(&self) -> usize {
        self.tree.retired()
    }

    /// Frees what no core can see any more.
    pub fn reclaim(&mut self, budget: usize) -> usize {
        self.tree.reclaim(budget)
    }

    fn header(&self, session: i64, cxid: i32, now: Now) -> TxnHeader {
        let zxid = self.pipeline.last_prepared().next().0 as i64;
        TxnHeader {
            session,
            cxid,
            zxid,
            time_ms: now.wall_ms,
        }
    }

    fn log_txn(
        &mut self,
        session: i64,
        cxid: i32,
        txn: &Txn,
        now: Now,
        answer: Option<(Origin, Answer)>,
        log: &mut impl Log,
    ) {
        let header = self.header(session, cxid, now);
        self.tree.finish(header.zxid);
        let zxid = Zxid(header.zxid as u64);
        let digest = self.tree.features().digest.then_some(self.tree.totals().digest);
        self.record.clear();
        txn.append(&header, digest, &mut self.record);
        log.append(zxid, &self.record);
        self.pipeline.prepared(
            zxid,
            answer.map(|(origin, answer)| Answered {
                origin,
                zxid: header.zxid,
                answer,
            }),
        );
    }
}

pub(super) fn op_result(change: &Change, outcome: Outcome) -> OpResult {
    match outcome {
        Outcome::Created(path, _) if change.code() == Op::Create as i32 => OpResult::Create(path),
        Outcome::Created(path, stat) => OpResult::Create2(path, stat),
        Outcome::Deleted => OpResult::Delete,
        Outcome::DataSet(stat) | Outcome::AclSet(stat) => OpResult::SetData(stat),
        Outcome::Checked => OpResult::Check,
        Outcome::Error(code) => unreachable!("{change} was checked and failed with {code}"),
    }
}

/// The changes before the failure stand in the log as they were, so that every server answers alike.
fn failed_multi(mut changes: Vec<Change>, code: ErrorCode, count: usize) -> (Txn, WriteReply) {
    let mut results = vec![OpResult::Error(0); changes.len()];
    changes.push(Change::Error(code.code()));
    changes.resize(count, Change::Error(ErrorCode::RuntimeInconsistency.code()));
    results.push(OpResult::Error(code.code()));
    results.resize(count, OpResult::Error(ErrorCode::RuntimeInconsistency.code()));
    (Txn::Multi(changes), WriteReply::Multi(results))
}
