//! From the first byte to a session: four-letter words, ConnectRequest, new and returning sessions
//! (`ZooKeeperServer#processConnectRequest`).

use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::conn::{Conn, Stage, send_soon};
use super::core::Core;
use super::message::ToWriter;
use super::shared::Mode;
use crate::base::id::SessionId;
use crate::wire::connect::{ConnectRequest, ConnectResponse};

impl Core {
    /// A connection's first frame.
    pub(super) fn connect(self: &Rc<Core>, conn: &Rc<Conn>, frame: &[u8]) {
        let Ok(request) = ConnectRequest::read(frame) else {
            return conn.abort();
        };
        let options = &self.shared.options;
        self.numbers.borrow_mut().connection_requests += 1;
        if !self.shared.is_welcome() {
            // Without a leader nobody is served here (`NIOServerCnxn#readConnectRequest`).
            self.numbers.borrow_mut().unserved += 1;
            return conn.abort();
        }
        conn.wanted.set(Some(request.session_id));
        if request.last_zxid_seen > self.view.borrow().totals().zxid.0 as i64 {
            // The client has seen more than we have: it must find a server that is further. An epoch's zxid, which no
            // transaction has, is shown by everybody who serves in that epoch.
            tracing::info!(peer = %conn.peer, seen = format!("0x{:x}", request.last_zxid_seen), "a client from the future was refused");
            return conn.abort();
        }
        let (min, max) = options.session_timeout_ms;
        let timeout_ms = request.timeout_ms.min(max).max(min);
        conn.read_only.set(request.read_only);
        conn.timeout_ms.set(timeout_ms);
        if self.shared.mode() == Mode::ReadOnly {
            return self.connect_read_only(conn, &request);
        }
        let origin = conn.origin;
        if request.session_id == 0 {
            conn.set_stage(Stage::Connecting);
            self.shared.writer.send(ToWriter::Open {
                origin,
                timeout_ms,
                heart: conn.heart.clone(),
            });
            return;
        }
        let session = SessionId(request.session_id);
        self.numbers.borrow_mut().revalidations += 1;
        if !self.shared.keys.accepts(session, request.password.unwrap_or_default()) {
            return self.refuse(conn);
        }
        conn.set_stage(Stage::Connecting);
        let heart = conn.heart.clone();
        self.shared.writer.send(ToWriter::Attach {
            origin,
            session: session.0,
            timeout_ms,
            heart,
        });
    }

    /// Without a leader only who asked for it is served, with a session that nobody else knows; one of the ensemble's
    /// must wait for a leader (`ReadOnlyZooKeeperServer`).
    fn connect_read_only(self: &Rc<Core>, conn: &Rc<Conn>, request: &ConnectRequest<'_>) {
        conn.wanted.set(None);
        if request.read_only != Some(true) || request.session_id != 0 {
            tracing::info!(peer = %conn.peer, "a client that wants more than to read is refused in read-only mode");
            return conn.abort();
        }
        let options = &self.shared.options;
        let nth = self.shared.local_sessions.fetch_add(1, Ordering::Relaxed);
        let first = SessionId::first(options.desk.server_id, self.shared.clock.wall_ms());
        self.establish(conn, first.0 + nth, conn.timeout_ms.get());
        send_soon(conn);
    }

    /// The writer has answered an attachment.
    pub(super) fn attached(self: &Rc<Core>, conn: &Rc<Conn>, session: i64, timeout_ms: i32, accepted: bool) {
        if conn.stage() != Stage::Connecting {
            return;
        }
        if accepted {
            self.establish(conn, session, timeout_ms);
        } else {
            self.refuse(conn);
        }
        send_soon(conn);
    }

    /// The session is the connection's; the client is told.
    pub(super) fn establish(self: &Rc<Core>, conn: &Rc<Conn>, session: i64, timeout_ms: i32) {
        conn.set_session(session);
        conn.heart.beat(self.shared.clock.ms());
        let password = self.shared.keys.password(SessionId(session));
        let is_read_only = self.shared.mode() == Mode::ReadOnly;
        let read_only = conn.read_only.get().map(|_| is_read_only);
        ConnectResponse {
            timeout_ms,
            session_id: session,
            password,
            read_only,
        }
        .append(&mut conn.out.borrow_mut());
        self.note_handshake(conn);
        conn.set_stage(Stage::Open);
    }

    /// A ConnectResponse is a packet, but no response whose size counts.
    fn note_handshake(&self, conn: &Conn) {
        conn.stats.note_sent(1);
        self.numbers.borrow_mut().sent += 1;
    }

    /// Nothing tells an unknown session from a wrong password.
    fn refuse(&self, conn: &Rc<Conn>) {
        ConnectResponse::refused(conn.read_only.get()).append(&mut conn.out.borrow_mut());
        self.note_handshake(conn);
        conn.set_stage(Stage::Ending);
    }
}
