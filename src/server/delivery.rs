//! A published batch reaches a core: events and answers in zxid order, then the view moves.
//!
//! The event of a change comes before the answer to the write that made it, and both before any answer that would
//! show the new state (guarantees.md W1 to W3).

use std::rc::Rc;

use super::conn::{Conn, Stage, send_soon};
use super::core::Core;
use super::message::Batch;
use super::stats::Done;
use crate::base::path;
use crate::replica::{Answer, Answered};
use crate::tree::acl::authorize;
use crate::tree::apply::{Fired, What};
use crate::wire::acl::{Acl, READ};
use crate::wire::event::{self, EventType};
use crate::wire::reply::{ReplyHeader, WriteReply};

/// The connections that a batch has touched, each once however much it is told.
struct Touched {
    conns: Vec<Rc<Conn>>,
    /// When the batch came; one look at the clock for all that it brings.
    now_ms: u64,
}

impl Touched {
    fn note(&mut self, conn: &Rc<Conn>) {
        if !conn.is_touched.replace(true) {
            self.conns.push(Rc::clone(conn));
        }
    }
}

impl Core {
    /// Hands a batch out.
    pub(super) fn deliver(self: &Rc<Core>, batch: Batch) {
        let mut touched = self.touched();
        let mut fired = batch.fired.iter().peekable();
        let watching = !self.watches.borrow().is_empty();
        for answered in batch.answers {
            while let Some(change) = fired.next_if(|change| watching && change.zxid <= answered.zxid) {
                self.fire(change, &mut touched);
            }
            self.answer(answered, &mut touched);
        }
        if watching {
            fired.for_each(|change| self.fire(change, &mut touched));
            self.note_watching();
        }
        self.view.borrow_mut().advance(&batch.version);
        self.go_on(touched);
    }

    /// Answers what was refused without a transaction: nothing has changed, so there is nothing to be told first.
    pub(super) fn answer_alone(self: &Rc<Core>, answered: Answered) {
        let mut touched = self.touched();
        self.answer(answered, &mut touched);
        self.go_on(touched);
    }

    fn touched(&self) -> Touched {
        Touched {
            conns: Vec::new(),
            now_ms: self.shared.clock.ms(),
        }
    }

    fn go_on(self: &Rc<Core>, touched: Touched) {
        for conn in touched.conns {
            conn.is_touched.set(false);
            if conn.has_due() {
                self.resume(&conn);
            }
            send_soon(&conn);
        }
    }

    fn fire(&self, change: &Fired, touched: &mut Touched) {
        let parent = path::parent(&change.path).map(path::shown).unwrap_or("/");
        let here = |event| (event, &*change.path, change.acl.as_deref());
        let above = (EventType::ChildrenChanged, parent, change.parent_acl.as_deref());
        match change.what {
            What::Created => {
                self.tell(change.zxid, here(EventType::Created), touched);
                self.tell(change.zxid, above, touched);
            }
            What::Deleted => {
                self.tell(change.zxid, here(EventType::Deleted), touched);
                self.tell(change.zxid, above, touched);
            }
            What::DataChanged => self.tell(change.zxid, here(EventType::DataChanged), touched),
        }
    }

    fn tell(&self, zxid: i64, (event, path, acl): (EventType, &str, Option<&[Acl]>), touched: &mut Touched) {
        let told = self.watches.borrow_mut().fire(path, event).0;
        self.numbers.borrow_mut().note_told(event, told.len());
        let policy = &self.shared.options.features.policy;
        for watcher in told {
            let Some(conn) = self.watcher(watcher) else { continue };
            // The registration is spent even where the news may not be told.
            if acl.is_none_or(|acl| authorize(policy, acl, READ, &conn.ids())) && conn.stage() == Stage::Open {
                let bytes = event::append(&mut conn.out.borrow_mut(), zxid, event, path);
                self.note_sent(&conn, bytes, touched.now_ms);
                self.numbers.borrow_mut().watch_bytes += bytes as u64;
                touched.note(&conn);
            }
        }
    }

    fn answer(self: &Rc<Core>, Answered { origin, zxid, answer }: Answered, touched: &mut Touched) {
        let Some(conn) = self.find(origin) else { return };
        match answer {
            Answer::Reply { xid, reply } => {
                self.answered(&conn);
                let write = conn.write_answered();
                let bytes = reply.append(&mut conn.out.borrow_mut(), xid, zxid);
                // What failed has no name in Java's statistics.
                let op = if matches!(reply, WriteReply::Error(_)) {
                    "NA"
                } else {
                    write.op.last_op()
                };
                self.updated(&conn, bytes, update(touched, (op, xid, zxid, write.read_ms)));
                touched.note(&conn);
            }
            Answer::Closed { xid } => {
                self.answered(&conn);
                let write = conn.write_answered();
                let bytes = WriteReply::Nothing.append(&mut conn.out.borrow_mut(), xid, zxid);
                self.updated(&conn, bytes, update(touched, ("CLOS", xid, zxid, write.read_ms)));
                conn.set_stage(Stage::Ending);
                touched.note(&conn);
            }
            Answer::Opened { session } => {
                let done = update(touched, ("SESS", 0, zxid, conn.connect_ms.get()));
                conn.stats.note_done(&done);
                self.numbers.borrow_mut().note_done(&done, true);
                self.establish(&conn, session, conn.timeout_ms.get());
                touched.note(&conn);
            }
            Answer::Expired => conn.abort(),
            Answer::Synced { xid, path } => {
                self.answered(&conn);
                let sync = conn.write_answered();
                let header = ReplyHeader { xid, zxid, err: 0 };
                let bytes = header.append(&mut conn.out.borrow_mut(), |w| w.raw(&path));
                self.done(&conn, xid, zxid, bytes, sync);
                touched.note(&conn);
            }
        }
    }

    /// Counts a write as answered with so many bytes.
    fn updated(&self, conn: &Conn, bytes: usize, done: Done) {
        self.note_done(conn, bytes, &done, true);
    }
}

fn update(touched: &Touched, (op, xid, zxid, read_ms): (&'static str, i32, i64, u64)) -> Done {
    Done {
        op,
        xid,
        zxid,
        read_ms,
        answered_ms: touched.now_ms,
    }
}
