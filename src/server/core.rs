//! One event loop: its connections, their watches, and its view of the tree.
//!
//! A turn (design.md 2): take the published batches, fire watches, queue answers, move the view; decode what the
//! sockets brought; write. Everything here belongs to one thread; the `RefCell`s are never borrowed across an await.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::conn::{self, Conn, Stage};
use super::doors::Place;
use super::message::{CoreReport, ToCore, ToWriter, Want, WatchReport};
use super::metrics::CoreNumbers;
use super::shared::Shared;
use super::stats::Done;
use crate::io::{Stream, breathe};
use crate::replica::Origin;
use crate::tree::View;
use crate::tree::watch::Watches;
use crate::wire::four_letter::Connection;

/// A core's own things.
pub struct Core {
    /// Its number.
    pub index: u16,
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// The version this core answers from.
    pub view: RefCell<View>,
    /// The watches of its connections.
    pub watches: RefCell<Watches>,
    /// What this core counts; never borrowed across a call.
    pub numbers: RefCell<CoreNumbers>,
    connections: RefCell<Vec<Option<Rc<Conn>>>>,
    free: RefCell<Vec<u32>>,
    generation: Cell<u32>,
    /// A batch that was taken out before it was published.
    held: RefCell<Option<super::message::Batch>>,
}

impl Core {
    /// A core without connections.
    pub fn new(index: u16, shared: Arc<Shared>, view: View) -> Rc<Core> {
        Rc::new(Core {
            index,
            shared,
            view: RefCell::new(view),
            watches: RefCell::default(),
            numbers: RefCell::default(),
            connections: RefCell::default(),
            free: RefCell::default(),
            generation: Cell::new(0),
            held: RefCell::new(None),
        })
    }

    /// The loop: looks into the inbox whenever the bell rings, and once a second at connections without a session.
    pub async fn run(self: Rc<Core>) {
        tokio::task::spawn_local(Rc::clone(&self).sweep());
        loop {
            self.port().inbox.rung().await;
            self.turn();
            breathe().await;
        }
    }

    pub(super) fn port(&self) -> &super::shared::CorePort {
        &self.shared.cores[self.index as usize]
    }

    /// Empties the inbox up to what is published.
    pub fn turn(self: &Rc<Core>) {
        let handed = self.shared.handed();
        if let Some(batch) = self.held.borrow_mut().take_if(|batch| batch.number <= handed) {
            self.deliver(batch);
        }
        if self.held.borrow().is_some() {
            return;
        }
        while let Some(message) = self.port().inbox.pop() {
            match message {
                ToCore::Batch(batch) if batch.number > self.shared.handed() => {
                    // Pushed, not yet published: the writer rings when it is.
                    *self.held.borrow_mut() = Some(batch);
                    return;
                }
                ToCore::Batch(batch) => self.deliver(batch),
                ToCore::Answer(answered) => self.answer_alone(answered),
                ToCore::Accepted { socket, peer, place } => self.accept(socket, peer, place),
                ToCore::Attached {
                    origin,
                    session,
                    timeout_ms,
                    accepted,
                } => {
                    if let Some(conn) = self.find(origin) {
                        self.attached(&conn, session, timeout_ms, accepted);
                    }
                }
                ToCore::Displace(origin) => {
                    if let Some(conn) = self.find(origin) {
                        conn::displace(&conn);
                    }
                }
                ToCore::HangUp => self.hang_up(),
                ToCore::Replace(view) => self.replace(view),
                ToCore::Report(want, answer) => drop(answer.send(self.report(want))),
                ToCore::Admin(command, mask, answer) => {
                    let core = Rc::clone(self);
                    // Nobody may be waiting any more.
                    tokio::task::spawn_local(async move {
                        let _ = answer.send(core.answer_admin(command, mask).await);
                    });
                }
                ToCore::MayDoAll(ids, answer) => drop(answer.send(self.may_do_all(&ids))),
                ToCore::ResetNumbers => drop(self.numbers.take()),
                ToCore::ResetConnections => self.reset_connections(),
            }
        }
    }

    /// The connection of an origin, if it is still the same one.
    pub fn find(&self, origin: Origin) -> Option<Rc<Conn>> {
        assert_eq!(origin.core, self.index, "a message for another core");
        let connections = self.connections.borrow();
        connections
            .get(origin.connection as usize)?
            .as_ref()
            .filter(|conn| conn.origin == origin)
            .cloned()
    }

    /// The connection of a watcher.
    pub fn watcher(&self, connection: u32) -> Option<Rc<Conn>> {
        self.connections.borrow().get(connection as usize).cloned().flatten()
    }

    fn accept(self: &Rc<Core>, socket: std::net::TcpStream, peer: SocketAddr, place: Place) {
        let stream = match Stream::adopt(self.shared.options.engine, socket) {
            Ok(stream) => stream,
            Err(error) => {
                self.port().connections.fetch_sub(1, Ordering::Relaxed);
                return tracing::warn!(%peer, %error, "taking over a connection failed");
            }
        };
        let conn = self.take_on(stream, peer, place);
        tokio::task::spawn_local(conn::serve(Rc::clone(self), conn));
    }

    /// A new connection in the list.
    pub(super) fn take_on(&self, stream: Stream, peer: SocketAddr, place: Place) -> Rc<Conn> {
        self.generation.set(self.generation.get().wrapping_add(1));
        let connection = self.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut connections = self.connections.borrow_mut();
            connections.push(None);
            connections.len() as u32 - 1
        });
        let origin = Origin {
            core: self.index,
            connection,
            generation: self.generation.get(),
        };
        let conn = Rc::new(Conn::new(origin, stream, peer, place, &self.shared.clock));
        self.connections.borrow_mut()[connection as usize] = Some(Rc::clone(&conn));
        conn
    }

    /// Forgets a connection: its watches go, its session lives on.
    pub fn forget(&self, conn: &Conn) {
        let origin = conn.origin;
        let taken = self.connections.borrow_mut()[origin.connection as usize].take();
        assert!(
            taken.is_some_and(|taken| taken.origin == origin),
            "a connection is forgotten once"
        );
        self.free.borrow_mut().push(origin.connection);
        self.port().connections.fetch_sub(1, Ordering::Relaxed);
        self.watches.borrow_mut().close(origin.connection);
        self.note_watching();
        self.port().note_outstanding(-(conn.outstanding() as isize));
        let session = match self.shared.options.ensemble {
            None => conn.session(),
            // A member may still be asking its leader about it.
            Some(_) => conn.session().or(conn.wanted.get()),
        };
        if let Some(session) = session {
            self.shared.writer.send(ToWriter::Detach { origin, session });
        }
    }

    /// Who has a session, or asked for one, must find another server.
    fn hang_up(&self) {
        let connections: Vec<Rc<Conn>> = self.connections.borrow().iter().flatten().cloned().collect();
        let served = |conn: &&Rc<Conn>| matches!(conn.stage(), Stage::Connecting | Stage::Open);
        connections.iter().filter(served).for_each(|conn| conn.abort());
    }

    /// A leader's state takes the place of this server's.
    fn replace(&self, view: View) {
        self.hang_up();
        *self.watches.borrow_mut() = Watches::default();
        self.note_watching();
        *self.view.borrow_mut() = view;
    }

    /// Tells the writer whether changes must wake this core.
    pub fn note_watching(&self) {
        let watching = !self.watches.borrow().is_empty();
        // Stored before the view is used for the registration's own answer; the writer looks after it pushed. Nobody
        // else stores it, so that the second watch of a core disturbs no one.
        if self.port().watching.load(Ordering::Relaxed) != watching {
            self.port().watching.store(watching, Ordering::SeqCst);
        }
    }

    async fn sweep(self: Rc<Core>) {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            let oldest = self
                .shared
                .clock
                .ms()
                .saturating_sub(self.shared.options.sessionless_ms);
            let connections: Vec<Rc<Conn>> = self.connections.borrow().iter().flatten().cloned().collect();
            for conn in connections
                .iter()
                .filter(|conn| conn.is_sessionless() && conn.touched_ms.get() < oldest)
            {
                self.numbers.borrow_mut().sessionless_expired += 1;
                conn.abort();
            }
            // A core that nobody woke for a while must not hold old versions back.
            self.turn();
        }
    }

    /// The client's side ended a connection.
    pub fn note_drop(&self, conn: &Conn) {
        if matches!(conn.stage(), Stage::Fresh | Stage::Open) {
            self.numbers.borrow_mut().drops += 1;
        }
    }

    /// A reply or an event of so many bytes, its length field not counted, lies in a connection's buffer.
    pub fn note_sent(&self, conn: &Conn, bytes: usize, now_ms: u64) {
        conn.stats.note_sent(1);
        self.numbers.borrow_mut().note_sent(bytes, now_ms);
    }

    /// A request was answered with so many bytes.
    pub fn note_done(&self, conn: &Conn, bytes: usize, done: &Done, is_update: bool) {
        conn.stats.note_done(done);
        conn.stats.note_sent(1);
        let mut numbers = self.numbers.borrow_mut();
        numbers.note_sent(bytes, done.answered_ms);
        numbers.note_done(done, is_update);
        if done.op != "PING" {
            numbers.response_bytes += bytes as u64;
        }
    }

    /// Forgets what the connections have done.
    pub fn reset_connections(&self) {
        self.connections
            .borrow()
            .iter()
            .flatten()
            .for_each(|conn| conn.stats.reset());
    }

    /// What a four-letter word wants to know.
    pub fn report(&self, want: Want) -> CoreReport {
        CoreReport {
            numbers: if want.numbers {
                self.numbers.borrow().clone()
            } else {
                CoreNumbers::default()
            },
            watch_count: self.watches.borrow().count(),
            connections: if want.connections {
                self.report_connections()
            } else {
                Vec::new()
            },
            watches: if want.watches {
                self.report_watches()
            } else {
                Vec::new()
            },
        }
    }

    fn report_connections(&self) -> Vec<(u64, Connection)> {
        let connections = self.connections.borrow();
        connections
            .iter()
            .flatten()
            .map(|conn| (self.due_ms(conn), self.row(conn)))
            .collect()
    }

    /// When a connection would be dropped (`NIOServerCnxnFactory#touchCnxn`): buckets are as wide as the time that a
    /// connection may stay without a session.
    fn due_ms(&self, conn: &Conn) -> u64 {
        let sessionless_ms = self.shared.options.sessionless_ms.max(1);
        let due_ms = match conn.session() {
            Some(_) => conn.heart.last() + conn.timeout_ms.get().max(0) as u64,
            None => conn.touched_ms.get() + sessionless_ms,
        };
        (due_ms / sessionless_ms + 1) * sessionless_ms
    }

    fn row(&self, conn: &Conn) -> Connection {
        let (received, sent) = conn.stats.packets();
        Connection {
            peer: conn.peer,
            reading: !conn.is_paused(self),
            queued: conn.outstanding(),
            received,
            sent,
            served: conn.stats.served(conn.session().unwrap_or(0), conn.timeout_ms.get()),
        }
    }

    fn report_watches(&self) -> Vec<WatchReport> {
        let watches = self.watches.borrow();
        let report = |(watcher, paths): (u32, _)| -> Option<WatchReport> {
            let paths = Iterator::map(paths, str::to_owned).collect();
            Some(WatchReport {
                session: self.watcher(watcher)?.session().unwrap_or(0),
                paths,
            })
        };
        watches.data_by_watcher().filter_map(report).collect()
    }
}
