//! From bytes to requests, and where each one goes.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::body::{Body, Keeper};
use super::conn::{Conn, InFlight, Stage, Waiting};
use super::core::Core;
use super::message::ToWriter;
use super::shared::Mode;
use super::stats::Done;
use crate::base::limits::CONNECT_BYTES_MAX;
use crate::replica::WriteRequest;
use crate::wire::acl::Id;
use crate::wire::error::ErrorCode;
use crate::wire::frame::{Front, front};
use crate::wire::jute::Reader;
use crate::wire::reply::ReplyHeader;
use crate::wire::request::{Op, Request, RequestHeader};

impl Core {
    /// Handles every whole frame at the front of `input` and drops it there. Gives the buffer length that is
    /// needed to go on.
    pub(super) fn feed(self: &Rc<Core>, conn: &Rc<Conn>, input: &mut Vec<u8>) -> usize {
        let mut done = 0;
        let now_ms = self.shared.clock.ms();
        let keeper = Keeper::new(input);
        let needed = loop {
            let rest = &input[done..];
            if conn.stage() == Stage::Fresh
                && let Some(needed) = self.try_word(conn, rest)
            {
                break needed;
            }
            let frame_bytes_max = match conn.stage() {
                Stage::Fresh => CONNECT_BYTES_MAX.min(self.shared.options.frame_bytes_max),
                Stage::Open => self.shared.options.frame_bytes_max,
                Stage::Asked | Stage::Connecting | Stage::Ending | Stage::Dead => break 4,
            };
            match front(rest, frame_bytes_max) {
                Front::Whole { frame, consumed } => {
                    conn.stats.note_received();
                    self.numbers.borrow_mut().note_received(consumed);
                    if conn.stage() == Stage::Fresh {
                        conn.connect_ms.set(now_ms);
                        self.connect(conn, frame);
                    } else {
                        self.request(conn, frame, &keeper, now_ms);
                    }
                    done += consumed;
                }
                Front::Partial { needed } => break needed,
                Front::Impossible(_) => {
                    conn.abort();
                    break 4;
                }
            }
        };
        input.drain(..done);
        needed
    }

    fn request(self: &Rc<Core>, conn: &Rc<Conn>, frame: &[u8], keeper: &Keeper<'_>, read_ms: u64) {
        let Ok((header, body)) = RequestHeader::split(frame) else {
            return conn.abort();
        };
        conn.heart.beat(read_ms);
        let op = Op::from_code(header.code);
        match op {
            Some(Op::Auth) => return self.authenticate(conn, header.xid, body),
            Some(Op::Sasl) => return self.sasl(conn, header.xid, body),
            _ => {}
        }
        let required = &self.shared.options.required_schemes;
        if !required.is_empty() && !conn.with_ids(|ids| ids.iter().any(|id| required.contains(&id.scheme))) {
            let err = ErrorCode::SessionClosedRequireAuth.code();
            self.reply_header(conn, header.xid, 0, err);
            return conn.set_stage(Stage::Ending);
        }
        let body = Body::new(body, keeper);
        if self.shared.options.ensemble.is_some() && self.shared.mode() == Mode::ReadOnly {
            return self.request_read_only(conn, header.xid, op, &body, read_ms);
        }
        // A member's sync goes to its leader.
        let is_asked = |op: Op| op.is_write() || op == Op::Sync && self.shared.options.ensemble.is_some();
        match op.filter(|op| is_asked(*op) && Request::read(*op, &body).is_ok()) {
            Some(op) => self.send_write(conn, header.xid, InFlight { op, read_ms }, body.keep(), conn.ids()),
            // What does not decode too: answered at once, its error would overtake the answers before it.
            None if conn.must_queue() => {
                self.port().note_outstanding(1);
                conn.enqueue(Waiting {
                    xid: header.xid,
                    op,
                    body: body.keep(),
                    ids: conn.ids(),
                    read_ms,
                    behind: conn.writes_sent(),
                })
            }
            None => conn.with_ids(|ids| self.handle(conn, header.xid, op, &body, ids, read_ms)),
        }
    }

    /// Without a leader nothing is written, and nothing waits.
    fn request_read_only(self: &Rc<Core>, conn: &Rc<Conn>, xid: i32, op: Option<Op>, body: &[u8], read_ms: u64) {
        match op {
            Some(Op::CloseSession) => {
                let zxid = self.view.borrow().totals().zxid.0 as i64;
                self.reply_header(conn, xid, zxid, 0);
                conn.set_stage(Stage::Ending);
            }
            Some(op) if op.is_write() || op == Op::Sync => {
                self.reply_error(conn, xid, ErrorCode::NotReadOnly, InFlight { op, read_ms });
            }
            op => conn.with_ids(|ids| self.handle(conn, xid, op, body, ids, read_ms)),
        }
    }

    /// A request whose turn it is; no write, but for one that does not decode.
    fn handle(self: &Rc<Core>, conn: &Rc<Conn>, xid: i32, op: Option<Op>, body: &[u8], ids: &[Id], read_ms: u64) {
        let Some(op) = op else {
            self.reply_header(conn, xid, -1, ErrorCode::Unimplemented.code());
            return conn.set_stage(Stage::Ending);
        };
        match Request::read(op, body) {
            Ok(request) => self.read(conn, xid, &request, ids, InFlight { op, read_ms }),
            Err(error) => {
                tracing::debug!(peer = %conn.peer, ?op, %error, "a request does not decode");
                self.reply_error(conn, xid, ErrorCode::MarshallingError, InFlight { op, read_ms });
            }
        }
    }

    fn send_write(&self, conn: &Conn, xid: i32, write: InFlight, body: Bytes, ids: Arc<[Id]>) {
        let session = conn.session().expect("an open connection has a session");
        conn.write_sent(write);
        self.port().note_outstanding(1);
        let behind_reads = conn.has_waiting();
        let request = WriteRequest {
            origin: conn.origin,
            session,
            xid,
            op: write.op,
            body,
            ids,
            behind_reads,
        };
        self.shared.writer.send(ToWriter::Write(request));
    }

    /// One request less that waits.
    pub(super) fn answered(&self, _conn: &Conn) {
        self.port().note_outstanding(-1);
    }

    /// Handles what waited behind writes that are answered now.
    pub(super) fn resume(self: &Rc<Core>, conn: &Rc<Conn>) {
        while conn.stage() == Stage::Open {
            let Some(waiting) = conn.dequeue() else { break };
            self.answered(conn);
            self.handle(
                conn,
                waiting.xid,
                waiting.op,
                &waiting.body,
                &waiting.ids,
                waiting.read_ms,
            );
        }
    }

    /// Answers a request that cannot be served with an error.
    fn reply_error(&self, conn: &Conn, xid: i32, code: ErrorCode, request: InFlight) {
        let zxid = self.view.borrow().totals().zxid.0 as i64;
        let header = ReplyHeader {
            xid,
            zxid,
            err: code.code(),
        };
        let bytes = header.append(&mut conn.out.borrow_mut(), |_| {});
        self.done(conn, xid, zxid, bytes, request);
    }

    /// Counts a request of this core as answered.
    pub(super) fn done(&self, conn: &Conn, xid: i32, zxid: i64, bytes: usize, request: InFlight) {
        let done = Done {
            op: request.op.last_op(),
            xid,
            zxid,
            read_ms: request.read_ms,
            answered_ms: self.shared.clock.ms(),
        };
        self.note_done(conn, bytes, &done, false);
    }

    /// Appends a reply without a record to something that no latency is measured of.
    fn reply_header(&self, conn: &Conn, xid: i32, zxid: i64, err: i32) {
        let bytes = ReplyHeader { xid, zxid, err }.append(&mut conn.out.borrow_mut(), |_| {});
        self.note_sent(conn, bytes, self.shared.clock.ms());
    }

    /// Credentials are judged where they arrive and their answer waits for nothing.
    fn authenticate(&self, conn: &Conn, xid: i32, body: &[u8]) {
        let Ok(Request::Auth { scheme, auth }) = Request::read(Op::Auth, body) else {
            return conn.abort();
        };
        let peer = super::conn::java_address(&conn.peer);
        let policy = &self.shared.options.features.policy;
        let ids = scheme
            .as_deref()
            .and_then(|scheme| policy.authenticate(scheme, auth, &peer));
        let err = if ids.is_some() { 0 } else { ErrorCode::AuthFailed.code() };
        self.reply_header(conn, xid, 0, err);
        match ids {
            Some(ids) => conn.add_ids(ids),
            None => conn.set_stage(Stage::Ending),
        }
    }

    /// Without a SASL configuration a token is answered with none, and proves nothing.
    fn sasl(&self, conn: &Conn, xid: i32, body: &[u8]) {
        match Reader::new(body).buffer() {
            Ok(Some(_)) => {
                let header = ReplyHeader { xid, zxid: 0, err: 0 };
                let bytes = header.append(&mut conn.out.borrow_mut(), |w| w.buffer(None));
                self.note_sent(conn, bytes, self.shared.clock.ms());
            }
            Ok(None) | Err(_) => conn.abort(),
        }
    }
}
