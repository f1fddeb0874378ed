//! One client's connection: its buffers, its state, and the order of its answers.
//!
//! Requests are answered strictly in the order in which they came. A read that comes behind an unanswered write
//! waits in [`Conn`]'s queue, and so does every read behind it. A write waits for nobody: it goes to the writer and says
//! that reads wait before it, and the writer ends a version there. So the reads find a view that holds every write
//! before them and none behind them, and a client that alternates the two pays no sync for each write.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::core::Core;
use super::doors::Place;
use super::stats::ConnStats;
use crate::base::limits::UNSENT_BYTES_HARD;
use crate::io::{Clock, Stream};
use crate::replica::Origin;
use crate::replica::session::Heart;
use crate::wire::acl::Id;
use crate::wire::request::Op;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing but bytes so far.
    Fresh,
    /// It asked with a four-letter word; nothing is read any more.
    Asked,
    /// Its ConnectRequest is with the writer; nothing is decoded until the answer.
    Connecting,
    /// It has a session.
    Open,
    /// Its last bytes are on the way; nothing is read any more.
    Ending,
    /// Over.
    Dead,
}

/// A request that waits behind a write.
pub struct Waiting {
    /// Its number.
    pub xid: i32,
    /// Its opcode, if it is one.
    pub op: Option<Op>,
    /// Its record.
    pub body: Bytes,
    /// The identities when it came.
    pub ids: Arc<[Id]>,
    /// When it was read, monotonic ms.
    pub read_ms: u64,
    /// How many writes of this connection were sent before it: it is due when so many are answered.
    pub behind: u64,
}

/// A write that the writer has.
#[derive(Clone, Copy, Debug)]
pub struct InFlight {
    /// What it is.
    pub op: Op,
    /// When it was read, monotonic ms.
    pub read_ms: u64,
}

/// One client's connection.
pub struct Conn {
    /// Its address inside the server.
    pub origin: Origin,
    /// The client's address.
    pub peer: SocketAddr,
    /// When it was accepted, or the answer to its four-letter word was queued; monotonic ms.
    pub touched_ms: Cell<u64>,
    /// When its session was last heard of.
    pub heart: Heart,
    stream: Rc<Stream>,
    stage: Cell<Stage>,
    session: Cell<Option<i64>>,
    /// The session that its ConnectRequest asked for, 0 for a new one.
    pub wanted: Cell<Option<i64>>,
    /// What it has done.
    pub stats: ConnStats,
    /// When its ConnectRequest was read, monotonic ms.
    pub connect_ms: Cell<u64>,
    /// Held while it lives.
    place: Cell<Option<Place>>,
    /// The negotiated timeout, ms.
    pub timeout_ms: Cell<i32>,
    /// Whether the ConnectRequest carried the readOnly byte.
    pub read_only: Cell<Option<bool>>,
    ids: RefCell<Arc<[Id]>>,
    /// Bytes to be sent.
    pub out: RefCell<Vec<u8>>,
    spare: RefCell<Vec<u8>>,
    sending: Cell<bool>,
    /// A task that will send was spawned and has not begun.
    send_is_due: Cell<bool>,
    /// Whether the batch that is being handed out has something for it.
    pub is_touched: Cell<bool>,
    /// Writes without an answer, oldest first: they are answered in this order.
    in_flight: RefCell<VecDeque<InFlight>>,
    writes_sent: Cell<u64>,
    writes_answered: Cell<u64>,
    queue: RefCell<VecDeque<Waiting>>,
    resume: Notify,
    sent: Notify,
}

impl Conn {
    /// A connection that has just been accepted.
    pub fn new(origin: Origin, stream: Stream, peer: SocketAddr, place: Place, clock: &Clock) -> Conn {
        Conn {
            origin,
            peer,
            touched_ms: Cell::new(clock.ms()),
            stats: ConnStats::new(clock.wall_ms()),
            connect_ms: Cell::new(0),
            place: Cell::new(Some(place)),
            heart: Heart::default(),
            stream: Rc::new(stream),
            stage: Cell::new(Stage::Fresh),
            session: Cell::new(None),
            wanted: Cell::new(None),
            timeout_ms: Cell::new(0),
            read_only: Cell::new(None),
            ids: RefCell::new(Arc::new([Id::new("ip", java_address(&peer))])),
            out: RefCell::default(),
            spare: RefCell::default(),
            sending: Cell::new(false),
            send_is_due: Cell::new(false),
            is_touched: Cell::new(false),
            in_flight: RefCell::default(),
            writes_sent: Cell::new(0),
            writes_answered: Cell::new(0),
            queue: RefCell::default(),
            resume: Notify::new(),
            sent: Notify::new(),
        }
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Whether it has no session and none is being made: it may not stay for long, even if it does not read the
    /// answer to its four-letter word.
    pub fn is_sessionless(&self) -> bool {
        matches!(self.stage.get(), Stage::Fresh | Stage::Ending) && self.session.get().is_none()
    }

    /// Moves on; never back.
    pub fn set_stage(&self, stage: Stage) {
        let rank = |stage| match stage {
            Stage::Fresh => 0,
            Stage::Asked => 1,
            Stage::Connecting => 2,
            Stage::Open => 3,
            Stage::Ending => 4,
            Stage::Dead => 5,
        };
        if rank(stage) >= rank(self.stage.get()) {
            self.stage.set(stage);
            self.resume.notify_one();
        }
    }

    /// Its session.
    pub fn session(&self) -> Option<i64> {
        self.session.get()
    }

    /// Gives it its session.
    pub fn set_session(&self, session: i64) {
        self.session.set(Some(session));
    }

    /// Its identities.
    pub fn ids(&self) -> Arc<[Id]> {
        Arc::clone(&self.ids.borrow())
    }

    /// Lets its identities be looked at, without counting one more who has them.
    pub fn with_ids<T>(&self, look: impl FnOnce(&[Id]) -> T) -> T {
        look(&self.ids.borrow())
    }

    /// Adds identities; each at most once.
    pub fn add_ids(&self, new: Vec<Id>) {
        let mut ids = self.ids.borrow().to_vec();
        for id in new {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        *self.ids.borrow_mut() = ids.into();
    }

    /// Ends it at once, without sending what is left.
    pub fn abort(&self) {
        self.set_stage(Stage::Dead);
        self.stream.shutdown();
    }

    /// From now on somebody else takes what is to be sent, out of `out`.
    pub(super) fn is_sent_by_hand(&self) {
        self.sending.set(true);
    }

    /// Requests that were read and not answered.
    pub fn outstanding(&self) -> usize {
        self.in_flight.borrow().len() + self.queue.borrow().len()
    }

    /// A write went to the writer.
    pub fn write_sent(&self, write: InFlight) {
        self.in_flight.borrow_mut().push_back(write);
        self.writes_sent.set(self.writes_sent.get() + 1);
    }

    /// Writes that went to the writer so far.
    pub fn writes_sent(&self) -> u64 {
        self.writes_sent.get()
    }

    /// The oldest write was answered: what it was.
    pub fn write_answered(&self) -> InFlight {
        let oldest = self.in_flight.borrow_mut().pop_front();
        let oldest = oldest.expect("an answer belongs to a write");
        self.writes_answered.set(self.writes_answered.get() + 1);
        self.resume.notify_one();
        oldest
    }

    /// Whether a request that waited behind a write may go on now.
    pub fn has_due(&self) -> bool {
        self.queue.borrow().front().is_some_and(|next| self.is_due(next))
    }

    /// Whether every write before it is answered.
    fn is_due(&self, waiting: &Waiting) -> bool {
        assert!(
            waiting.behind <= self.writes_sent.get(),
            "it came behind writes that were sent"
        );
        waiting.behind <= self.writes_answered.get()
    }

    /// Whether requests wait behind a write.
    pub fn has_waiting(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    /// Whether what is no write must wait.
    pub fn must_queue(&self) -> bool {
        self.has_waiting() || self.writes_answered.get() < self.writes_sent.get()
    }

    /// Puts a request behind the others.
    pub fn enqueue(&self, waiting: Waiting) {
        self.queue.borrow_mut().push_back(waiting);
    }

    /// Takes the next request that may go on now.
    pub fn dequeue(&self) -> Option<Waiting> {
        self.queue.borrow_mut().pop_front_if(|waiting| self.is_due(waiting))
    }

    /// Drops everything that waits; the connection is ending. Gives how many there were.
    pub fn drop_queue(&self) -> usize {
        std::mem::take(&mut *self.queue.borrow_mut()).len()
    }

    /// Whether no bytes should be read for now.
    pub fn is_paused(&self, core: &Core) -> bool {
        match self.stage.get() {
            Stage::Asked | Stage::Connecting => true,
            Stage::Open => self.outstanding() > 0 && core.shared.outstanding() > core.shared.options.outstanding_max,
            Stage::Fresh | Stage::Ending | Stage::Dead => false,
        }
    }
}

/// The text that Java shows and matches for an address (`InetAddress#getHostAddress`).
pub fn java_address(peer: &SocketAddr) -> String {
    match peer.ip().to_canonical() {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => {
            let segments: Vec<String> = address
                .segments()
                .iter()
                .map(|segment| format!("{segment:x}"))
                .collect();
            segments.join(":")
        }
    }
}

/// A connection's first buffer: a ConnectRequest, a ping, and most requests fit. Sessions that only ping are many, and
/// this buffer would be half of what they cost.
const INPUT_BYTES: usize = 512;
/// A buffer that one read fills is made four times as large, up to this: who pipelines gets more with each read.
const INPUT_BYTES_PIPELINED: usize = 16 * 1024;
/// What a buffer that was grown for a large frame shrinks back to.
const INPUT_BYTES_KEPT: usize = 64 * 1024;

/// Serves a connection to its end.
pub async fn serve(core: Rc<Core>, conn: Rc<Conn>) {
    let mut input = Vec::with_capacity(INPUT_BYTES);
    let mut filled = false;
    loop {
        let needed = core.feed(&conn, &mut input);
        send(&conn).await;
        match conn.stage() {
            Stage::Ending => {
                finish_sending(&conn).await;
                break;
            }
            Stage::Dead => break,
            _ if conn.is_paused(&core) => {
                conn.resume.notified().await;
                continue;
            }
            _ => {}
        }
        if input.is_empty() && input.capacity() > INPUT_BYTES_KEPT {
            input = Vec::with_capacity(INPUT_BYTES);
        }
        let mut room = needed.saturating_sub(input.len()).max(INPUT_BYTES / 2);
        if filled && input.capacity() < INPUT_BYTES_PIPELINED {
            room = room.max(4 * input.capacity());
        }
        input.reserve(room);
        let result;
        (result, input) = conn.stream.read(input).await;
        match result {
            Ok(0) | Err(_) => {
                core.note_drop(&conn);
                break;
            }
            // What others published first: a request must not be answered from before it was sent.
            Ok(_) => core.turn(),
        }
        filled = input.len() == input.capacity();
    }
    conn.set_stage(Stage::Dead);
    // Forgotten first: a client that sees its connection closed finds its place free.
    core.forget(&conn);
    conn.place.take();
    conn.stream.shutdown();
}

/// Sends what is there, and what comes meanwhile. One task at a time does this for a connection.
pub async fn send(conn: &Rc<Conn>) {
    if conn.sending.replace(true) {
        return;
    }
    loop {
        let buffer = conn.out.replace(conn.spare.take());
        if buffer.is_empty() || conn.stage() == Stage::Dead {
            conn.spare.replace(buffer);
            break;
        }
        let (result, mut buffer) = conn.stream.write_all(buffer).await;
        if result.is_err() {
            conn.abort();
        }
        if buffer.capacity() <= INPUT_BYTES_KEPT {
            buffer.clear();
            conn.spare.replace(buffer);
        }
    }
    conn.sending.set(false);
    // A bell of its own: the permit of `resume` would keep a paused connection's loop from ever waiting.
    conn.sent.notify_one();
}

/// Waits until another task's sending is done, and sends what it left.
async fn finish_sending(conn: &Rc<Conn>) {
    while conn.sending.get() {
        conn.sent.notified().await;
    }
    send(conn).await;
}

/// How long a connection whose session went elsewhere may take for what it was told before.
const DISPLACED_PATIENCE: Duration = Duration::from_secs(1);

/// The session is another connection's now: this one hears what was queued for it, and ends
/// (`NIOServerCnxn#close` behind `#sendBuffer`, which has mostly written by then).
pub fn displace(conn: &Rc<Conn>) {
    conn.set_stage(Stage::Ending);
    send_soon(conn);
    let conn = Rc::clone(conn);
    tokio::task::spawn_local(async move {
        tokio::time::sleep(DISPLACED_PATIENCE).await;
        // A client that does not read does not stay for that.
        conn.abort();
    });
}

/// Sends soon, from outside the connection's own task.
pub fn send_soon(conn: &Rc<Conn>) {
    if conn.out.borrow().len() > UNSENT_BYTES_HARD {
        tracing::warn!(peer = %conn.peer, "a client does not read its events; its connection is closed");
        return conn.abort();
    }
    if !conn.sending.get() && !conn.send_is_due.replace(true) {
        let conn = Rc::clone(conn);
        tokio::task::spawn_local(async move {
            conn.send_is_due.set(false);
            send(&conn).await;
            if conn.stage() == Stage::Ending {
                // Another task may still be sending: a shutdown now would cut off the last words.
                finish_sending(&conn).await;
                // The connection's own task may be waiting in a read that nothing else will end.
                conn.stream.shutdown();
            }
        });
    }
}
