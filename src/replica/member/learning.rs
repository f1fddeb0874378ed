//! The clients of a member, and what a learner does for them (`CommitProcessor`, `LearnerSessionTracker`).
//!
//! A write that was sent on waits in its session's queue; the transaction that has the session and the number of the
//! oldest one there is its answer. A leader sends exactly one for each, in the order in which they came to it. Whatever
//! else is decided is somebody else's, and only applied.
//!
//! A session is a connection's only after the leader has said so. What its client says keeps it alive through the PINGs.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::super::desk::Now;
use super::super::input::{Answer, Answered, Origin, WriteRequest};
use super::super::role::{CREATE_SESSION, Decoded, is_moved};
use super::super::session::Heart;
use super::{Member, Output, Packet, request};
use crate::wire::quorum::Touch;
use crate::wire::reply::WriteReply;
use crate::wire::request::Op;
use crate::wire::txn::{Txn, TxnHeader};
use crate::zab::{self, Link, Serving};

/// What waits for the leader.
#[derive(Default)]
pub struct Learning {
    /// The sessions of connections here.
    local: HashMap<i64, Local>,
    /// Sent on, by session.
    pending: HashMap<i64, VecDeque<Pending>>,
    /// Connections with sessions that the leader was asked about.
    asked: HashMap<i64, VecDeque<Asked>>,
    /// Syncs sent on: the leader answers them in order.
    syncs: VecDeque<Sync>,
    pinged_ms: u64,
}

struct Local {
    origin: Origin,
    timeout_ms: i32,
    heart: Heart,
}

struct Pending {
    origin: Origin,
    cxid: i32,
    what: What,
    behind_reads: bool,
}

enum What {
    Write,
    Open { timeout_ms: i32, heart: Heart },
    Close,
}

struct Asked {
    origin: Origin,
    timeout_ms: i32,
    heart: Heart,
}

struct Sync {
    origin: Origin,
    xid: i32,
    path: Bytes,
    behind_reads: bool,
}

impl Learning {
    /// A leader was found.
    pub fn begin(&mut self, now: Now) {
        self.pinged_ms = now.ms;
    }

    /// The sessions whose clients were heard of since the last call.
    pub fn touched(&mut self, now: Now) -> Vec<Touch> {
        let since_ms = std::mem::replace(&mut self.pinged_ms, now.ms);
        let heard = self.local.iter().filter(|(_, local)| local.heart.last() >= since_ms);
        let touch = |(session, local): (&i64, &Local)| Touch {
            session: *session,
            timeout_ms: local.timeout_ms,
        };
        let mut touched: Vec<Touch> = heard.map(touch).collect();
        touched.sort_unstable_by_key(|touch| touch.session);
        touched
    }

    fn is_local(&self, session: i64, origin: Origin) -> bool {
        self.local.get(&session).is_some_and(|local| local.origin == origin)
    }

    /// The request that a transaction answers, if it is one of here.
    fn answered_by(&mut self, header: &TxnHeader, txn: &Txn) -> Option<Pending> {
        let queue = self.pending.get_mut(&header.session)?;
        // The leader ends sessions by itself, with the number 0.
        let fits = |pending: &Pending| match pending.what {
            What::Close => matches!(txn, Txn::CloseSession { .. } | Txn::Error(_)),
            What::Open { .. } => matches!(txn, Txn::CreateSession { .. } | Txn::Error(_)),
            What::Write => !matches!(txn, Txn::CloseSession { .. } | Txn::CreateSession { .. }),
        };
        let found = queue.pop_front_if(|pending| pending.cxid == header.cxid && fits(pending));
        if queue.is_empty() {
            self.pending.remove(&header.session);
        }
        found
    }
}

impl Member {
    // What is decided.

    /// Applies a transaction, and answers who asked for it.
    pub(super) fn apply(&mut self, decoded: &Decoded, now: Now) {
        let (header, txn, digest) = decoded;
        let pending = self.learning.answered_by(header, txn);
        if pending.as_ref().is_some_and(|pending| pending.behind_reads) {
            self.desk.seal_open();
        }
        let zxid = header.zxid;
        let (learning, session) = (&mut self.learning, header.session);
        let answered = |origin, answer| Some(Answered { origin, zxid, answer });
        let differs = self.desk.apply(decoded, |reply| match (pending, txn) {
            (
                Some(Pending {
                    origin,
                    what,
                    cxid: xid,
                    ..
                }),
                _,
            ) => answered(origin, learning.answer((origin, xid), what, session, reply, now)),
            // It expired, or its client closed it from elsewhere.
            (None, Txn::CloseSession { .. }) => {
                let local = learning.local.remove(&session)?;
                answered(local.origin, Answer::Expired)
            }
            (None, _) => None,
        });
        if let Some(there) = *digest {
            // A Java leader writes its snapshot while it goes on: until everything before UPTODATE is applied, the state
            // here may be ahead of the transactions that come (traps.md T-49). Only what differs in the end does.
            self.doubt = differs.map(|here| (zxid, here, there));
            if self.serving != Serving::Nobody {
                self.tell_doubt();
            }
        }
    }

    pub(super) fn tell_doubt(&mut self) {
        if let Some((zxid, here, there)) = self.doubt.take() {
            self.mismatches += 1;
            self.outputs.push(Output::Mismatch { zxid, here, there });
        }
    }

    /// The oldest sync has everything before it.
    pub(super) fn synced(&mut self) {
        // A leader that answers what nobody asked is none of our clients' business.
        let Some(sync) = self.learning.syncs.pop_front() else {
            return;
        };
        let Sync {
            origin,
            xid,
            path,
            behind_reads,
        } = sync;
        let answer = Answer::Synced { xid, path };
        self.desk.answer_without_a_transaction(origin, answer, behind_reads);
    }

    // Clients.

    /// A client's write or sync goes to the leader.
    pub(super) fn forward(&mut self, asked: &WriteRequest, now: Now) {
        // Of a connection that has lost its session since, or was closed with the last leader.
        if !self.serves_as_learner() || !self.learning.is_local(asked.session, asked.origin) {
            return;
        }
        let WriteRequest {
            origin,
            session,
            xid,
            op,
            ref body,
            ref ids,
            behind_reads,
        } = *asked;
        let packet = request::write(session, xid, op as i32, body, ids);
        if op == Op::Sync {
            let path = body.clone();
            self.learning.syncs.push_back(Sync {
                origin,
                xid,
                path,
                behind_reads,
            });
            return self.feed(zab::Input::Sync(packet), now);
        }
        let what = match op {
            Op::CloseSession => What::Close,
            _ => What::Write,
        };
        self.wait(session, origin, xid, what, behind_reads);
        self.feed(zab::Input::Forward(packet), now);
    }

    /// A connection wants a new session.
    pub(super) fn open(&mut self, origin: Origin, timeout_ms: i32, heart: Heart, now: Now) {
        if self.leads() {
            if !self.desk.takes_sessions() {
                return self.outputs.push(Output::Displace(origin));
            }
            let mut prepared = super::Prepared::default();
            self.desk.open_session(origin, timeout_ms, heart, now, &mut prepared);
            return self.propose(prepared, now);
        }
        if !self.serves_as_learner() {
            return;
        }
        let session = self.desk.new_session_id();
        let packet = request::write(session, 0, CREATE_SESSION, &timeout_ms.to_be_bytes(), &[]);
        self.wait(session, origin, 0, What::Open { timeout_ms, heart }, false);
        self.feed(zab::Input::Forward(packet), now);
    }

    /// A connection comes with a session.
    pub(super) fn attach(&mut self, origin: Origin, session: i64, timeout_ms: i32, heart: Heart, now: Now) {
        if self.leads() {
            let attached = self.desk.attach(session, timeout_ms, heart, origin, now);
            if let Ok(Some(left)) = attached {
                self.outputs.push(Output::Displace(left));
            }
            let accepted = attached.is_ok();
            return self.attached(origin, session, timeout_ms, accepted);
        }
        if let Some(link) = self.node.uplink() {
            // From here on its old connection's words are late: they must not come to the leader behind the question.
            if let Some(left) = self.learning.local.remove(&session) {
                self.outputs.push(Output::Displace(left.origin));
            }
            let asked = Asked {
                origin,
                timeout_ms,
                heart,
            };
            self.learning.asked.entry(session).or_default().push_back(asked);
            let packet = Packet::Revalidate(Touch { session, timeout_ms });
            self.outputs.push(Output::Send { link, packet });
        }
    }

    fn attached(&mut self, origin: Origin, session: i64, timeout_ms: i32, accepted: bool) {
        self.outputs.push(Output::Attached {
            origin,
            session,
            timeout_ms,
            accepted,
        });
    }

    /// The leader has said whether a session is alive.
    pub(super) fn revalidated(&mut self, link: Link, session: i64, valid: bool) {
        if self.node.uplink() != Some(link) {
            return;
        }
        let Some(queue) = self.learning.asked.get_mut(&session) else {
            return;
        };
        let asked = queue.pop_front();
        if queue.is_empty() {
            self.learning.asked.remove(&session);
        }
        let Some(Asked {
            origin,
            timeout_ms,
            heart,
        }) = asked
        else {
            return;
        };
        if valid {
            let local = Local {
                origin,
                timeout_ms,
                heart,
            };
            let left = self.learning.local.insert(session, local);
            // Two connections asked for it, one behind the other.
            if let Some(left) = left {
                self.outputs.push(Output::Displace(left.origin));
            }
        }
        self.attached(origin, session, timeout_ms, valid);
    }

    /// A connection is gone; its session lives on until it expires.
    pub(super) fn detach(&mut self, origin: Origin, session: i64) {
        if self.leads() {
            return self.desk.detach(session, origin);
        }
        let learning = &mut self.learning;
        if learning.is_local(session, origin) {
            learning.local.remove(&session);
        }
        // A connection whose answer is on its way stays in its queue, or the next answer would be taken for it.
    }

    /// As a leader: a client came to a learner with a session.
    pub(super) fn revalidate(&mut self, link: Link, touch: Touch, now: Now) {
        if !self.leads() {
            return;
        }
        let Touch { session, timeout_ms } = touch;
        let (valid, left) = self.desk.revalidate(link, session, timeout_ms, now);
        if let Some(left) = left {
            self.outputs.push(Output::Displace(left));
        }
        let packet = Packet::Revalidated { session, valid };
        self.outputs.push(Output::Send { link, packet });
    }

    fn serves_as_learner(&self) -> bool {
        matches!(self.serving, Serving::AsFollower(_) | Serving::AsObserver(_))
    }

    fn wait(&mut self, session: i64, origin: Origin, cxid: i32, what: What, behind_reads: bool) {
        let queue = self.learning.pending.entry(session).or_default();
        queue.push_back(Pending {
            origin,
            cxid,
            what,
            behind_reads,
        });
    }
}

impl Learning {
    fn answer(
        &mut self,
        (origin, xid): (Origin, i32),
        what: What,
        session: i64,
        reply: WriteReply,
        now: Now,
    ) -> Answer {
        let failed = matches!(reply, WriteReply::Error(_));
        match what {
            What::Open { timeout_ms, heart } if !failed => {
                heart.beat(now.ms);
                let local = Local {
                    origin,
                    timeout_ms,
                    heart,
                };
                self.local.insert(session, local);
                Answer::Opened { session }
            }
            What::Open { .. } => Answer::Expired,
            What::Close if !failed => {
                self.local.remove(&session);
                Answer::Closed { xid }
            }
            What::Close | What::Write if is_moved(&reply) => Answer::Expired,
            What::Close | What::Write => Answer::Reply { xid, reply },
        }
    }
}
