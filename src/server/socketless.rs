//! The request path in one hand: a core, its writer and one connection, without sockets, loops or threads of their own.
//!
//! Bytes go in and reply bytes come out through the very code that a socket would feed; a write's batch is made durable
//! with blocking calls. For benches, for counting instructions and allocations, and for tests of the path itself. What a
//! socket, a ring and a wake-up cost is deliberately not here: `zk-bench floor` measures that.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use storage::engine::Engine as Storage;
use storage::log::Log;

use super::config;
use super::conn::{Conn, Stage};
use super::core::Core;
use super::options::Options;
use super::serve::{Prepared, ServeError};
use super::shared::Shared;
use super::writer::Writer;
use crate::io::{Engine, Stream};
use crate::replica::Replica;
use crate::wire::frame;
use crate::wire::jute;
use crate::wire::request::Op;

/// A server for one connection.
pub struct Socketless {
    core: Rc<Core>,
    conn: Rc<Conn>,
    writer: Writer,
    input: Vec<u8>,
}

impl Socketless {
    /// A server with [`quiet_options`], and the session of its one connection.
    pub fn below(directory: &Path) -> Result<Socketless, ServeError> {
        let server = Prepared::new(quiet_options(directory))?.without_sockets();
        server.map_err(|error| ServeError::System("the log's device", error))
    }

    pub(super) fn new(
        shared: Arc<Shared>,
        storage: Arc<Storage>,
        replica: Replica,
        log: Log,
    ) -> std::io::Result<Socketless> {
        let core = Core::new(0, Arc::clone(&shared), replica.view());
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let place = shared.doors.enter(&peer, 0, 0).expect("nobody else is there");
        let conn = core.take_on(Stream::to_nobody(), peer, place);
        conn.is_sent_by_hand();
        let mut server = Socketless {
            core,
            conn,
            writer: Writer::new(shared, storage, replica, log)?,
            input: Vec::new(),
        };
        server.connect();
        Ok(server)
    }

    fn connect(&mut self) {
        self.feed(&connect_request());
        self.commit();
        assert_eq!(self.conn.stage(), Stage::Open, "the session is there");
        self.replies(|_| ());
    }

    /// What a socket has read: whole frames, or parts of them. Reads are answered, writes lie with the writer.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.core.turn();
        self.core.feed(&self.conn, &mut self.input);
    }

    /// Every write so far is prepared, logged, published and answered.
    pub fn commit(&mut self) {
        self.writer.work_off();
        self.core.turn();
    }

    /// Takes the reply bytes that are there.
    pub fn replies<T>(&mut self, take: impl FnOnce(&[u8]) -> T) -> T {
        let mut out = self.conn.out.borrow_mut();
        let taken = take(&out);
        out.clear();
        taken
    }

    /// One request and its reply's error code; for what a measurement needs laid out.
    pub fn ask(&mut self, op: Op, body: impl FnOnce(&mut jute::Writer<'_>)) -> i32 {
        self.feed(&request(1, op, body));
        self.commit();
        self.replies(|reply| i32::from_be_bytes(reply[16..20].try_into().expect("a reply has a header")))
    }
}

/// The built-in configuration with data below `directory`, which is never synced, on one core and a loopback port.
pub fn quiet_options(directory: &Path) -> Options {
    let config = config::from_bytes(config::EMBEDDED_NAME, config::EMBEDDED.as_bytes(), &[], || Ok(()));
    let mut options = config.expect("the built-in configuration is right").options;
    (options.data_dir, options.log_dir) = (directory.join("data"), directory.join("log"));
    options.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    (options.admin, options.cores, options.engine) = (None, 1, Engine::Uring);
    options.force_sync = false;
    options
}

/// A ConnectRequest's frame, for a new session of 30 seconds.
pub fn connect_request() -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::append(&mut bytes, |out| {
        let mut w = jute::Writer::new(out);
        w.int(0);
        w.long(0);
        w.int(30_000);
        w.long(0);
        w.buffer(Some(&[0; 16]));
    });
    bytes
}

/// A request's frame.
pub fn request(xid: i32, op: Op, body: impl FnOnce(&mut jute::Writer<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::append(&mut bytes, |out| {
        let mut w = jute::Writer::new(out);
        w.int(xid);
        w.int(op as i32);
        body(&mut w);
    });
    bytes
}
