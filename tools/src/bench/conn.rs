//! One connection of a load: a socket, a session, and the requests that are on their way.
//!
//! Answers come in the order of the requests, so a queue is all the bookkeeping there is; an answer with another
//! xid than the queue's front ends the run, because then the server broke the protocol. An idle connection owns no
//! buffer: ten thousand of them must not cost the generator a gigabyte.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use ringkeeper::wire::frame::{self, Front};
use ringkeeper::wire::jute::{Reader, Writer};

use super::mix::Kind;

/// Answers larger than this are not believed.
const FRAME_BYTES_MAX: usize = 64 << 20;
/// Bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// A session as the server gave it; id 0 asks for a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: i64,
    /// What proves that it is ours.
    pub password: Vec<u8>,
    /// Wished for at first, then the server's.
    pub timeout_ms: i32,
    /// The newest zxid seen.
    pub last_zxid: i64,
}

impl Session {
    /// A wish for a new one.
    pub fn new(timeout_ms: i32) -> Session {
        Session {
            timeout_ms,
            ..Session::default()
        }
    }
}

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    xid: i32,
    bytes: u32,
    /// What it is.
    pub kind: Kind,
    /// When it was due, in microseconds of the run's clock.
    pub due_us: u64,
    /// Whether it is one of the load's operations; pings that keep a session and clearing up are not.
    pub counted: bool,
}

/// Something that came.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// The session is open; with a timeout of 0 the server does not know it any more.
    Opened,
    /// An answer.
    Answer(Answer<'a>),
    /// A watch event.
    Event(Event<'a>),
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The request.
    pub request: Pending,
    /// Its error code.
    pub err: i32,
    /// What stands behind the header.
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// The request's frame, length field included.
    pub fn request_bytes(&self) -> usize {
        self.request.bytes as usize
    }

    /// This answer's frame, length field and header included.
    pub fn reply_bytes(&self) -> usize {
        4 + 16 + self.body.len()
    }
}

/// A watch event.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Its record: type, state, path.
    pub body: &'a [u8],
}

/// A connection and its session.
pub struct Conn {
    /// For registering with a poll.
    pub socket: TcpStream,
    /// The session it has, or asked for.
    pub session: Session,
    out: Vec<u8>,
    sent: usize,
    /// The front of an answer that is not whole yet.
    partial: Vec<u8>,
    pending: VecDeque<Pending>,
    next_xid: i32,
    is_open: bool,
}

impl Conn {
    /// Begins to connect; the handshake is sent as soon as the socket takes it.
    pub fn begin(address: SocketAddr, session: Session) -> io::Result<Conn> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let mut conn = Conn {
            socket,
            session,
            out: Vec::new(),
            sent: 0,
            partial: Vec::new(),
            pending: VecDeque::new(),
            next_xid: 1,
            is_open: false,
        };
        frame::append(&mut conn.out, |out| write_handshake(out, &conn.session));
        Ok(conn)
    }

    /// Connects and opens a session, waiting for both.
    pub fn open(address: SocketAddr, session: Session, timeout: Duration) -> io::Result<Conn> {
        let mut socket = std::net::TcpStream::connect_timeout(&address, timeout)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(timeout))?;
        let mut request = Vec::new();
        frame::append(&mut request, |out| write_handshake(out, &session));
        socket.write_all(&request)?;
        let mut length = [0; 4];
        socket.read_exact(&mut length)?;
        let mut answer = vec![0; u32::from_be_bytes(length).min(1024) as usize];
        socket.read_exact(&mut answer)?;
        socket.set_nonblocking(true)?;
        Ok(Conn {
            socket: TcpStream::from_std(socket),
            session: read_handshake(&answer, &session)?,
            out: Vec::new(),
            sent: 0,
            partial: Vec::new(),
            pending: VecDeque::new(),
            next_xid: 1,
            is_open: true,
        })
    }

    /// Requests on their way.
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Whether the server gave a session.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Requests that will get no answer, because the connection is gone.
    pub fn unanswered(&mut self) -> impl Iterator<Item = Pending> {
        self.pending.drain(..)
    }

    /// Appends a request; [`Conn::flush`] sends it.
    pub fn request(&mut self, opcode: i32, kind: Kind, due_us: u64, counted: bool, body: impl FnOnce(&mut Writer<'_>)) {
        // A ping has no number of its own.
        let xid = if kind == Kind::Ping { -2 } else { self.next_xid };
        self.next_xid = self.next_xid.checked_add(1).unwrap_or(1);
        let length = frame::append(&mut self.out, |out| {
            let mut w = Writer::new(out);
            w.int(xid);
            w.int(opcode);
            body(&mut w);
        });
        self.pending.push_back(Pending {
            xid,
            bytes: 4 + length as u32,
            kind,
            due_us,
            counted,
        });
    }

    /// Sends what the socket takes. True when something is left.
    pub fn flush(&mut self) -> io::Result<bool> {
        while self.sent < self.out.len() {
            match self.socket.write(&self.out[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.sent = 0;
        if self.pending.is_empty() {
            self.out = Vec::new();
        }
        Ok(false)
    }

    /// Takes in what came and hands it out. `scratch` is the thread's receive buffer, the same for all connections.
    pub fn receive(&mut self, scratch: &mut Vec<u8>, mut each: impl FnMut(Incoming<'_>)) -> io::Result<()> {
        loop {
            let kept = self.partial.len();
            if scratch.len() < kept + CHUNK_BYTES {
                scratch.resize(kept + CHUNK_BYTES, 0);
            }
            scratch[..kept].copy_from_slice(&self.partial);
            match self.socket.read(&mut scratch[kept..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    let is_all = kept + count < scratch.len();
                    let done = self.take(&scratch[..kept + count], &mut each)?;
                    self.partial.clear();
                    self.partial.extend_from_slice(&scratch[done..kept + count]);
                    if self.partial.is_empty() && self.pending.is_empty() {
                        self.partial = Vec::new();
                    }
                    if is_all {
                        return Ok(());
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands out whole frames and gives the bytes that they took.
    fn take(&mut self, bytes: &[u8], each: &mut impl FnMut(Incoming<'_>)) -> io::Result<usize> {
        let mut done = 0;
        loop {
            match frame::front(&bytes[done..], FRAME_BYTES_MAX) {
                Front::Whole { frame, consumed } => {
                    let incoming = if self.is_open {
                        self.answer_or_event(frame)?
                    } else {
                        self.session = read_handshake(frame, &self.session)?;
                        self.is_open = true;
                        Some(Incoming::Opened)
                    };
                    if let Some(incoming) = incoming {
                        each(incoming);
                    }
                    done += consumed;
                }
                Front::Partial { .. } => return Ok(done),
                Front::Impossible(length) => return Err(io::Error::other(format!("an answer of {length} bytes"))),
            }
        }
    }

    fn answer_or_event<'a>(&mut self, frame: &'a [u8]) -> io::Result<Option<Incoming<'a>>> {
        let wrong = |_| io::Error::other("an answer has no whole header");
        let mut r = Reader::new(frame);
        let xid = r.int().map_err(wrong)?;
        let zxid = r.long().map_err(wrong)?;
        let err = r.int().map_err(wrong)?;
        if xid == -1 {
            return Ok(Some(Incoming::Event(Event { body: r.rest() })));
        }
        self.session.last_zxid = self.session.last_zxid.max(zxid);
        let request = self.pending.pop_front().filter(|request| request.xid == xid);
        let request = request.ok_or_else(|| io::Error::other(format!("an answer to {xid} out of turn")))?;
        Ok(Some(Incoming::Answer(Answer {
            request,
            err,
            body: r.rest(),
        })))
    }
}

fn write_handshake(out: &mut Vec<u8>, session: &Session) {
    let mut w = Writer::new(out);
    w.int(0);
    w.long(session.last_zxid);
    w.int(session.timeout_ms);
    w.long(session.id);
    if session.password.is_empty() {
        w.buffer(Some(&[0; 16]));
    } else {
        w.buffer(Some(&session.password));
    }
    w.bool(false);
}

fn read_handshake(frame: &[u8], asked: &Session) -> io::Result<Session> {
    let wrong = |_| io::Error::other("the answer to the handshake is not whole");
    let mut r = Reader::new(frame);
    let _version = r.int().map_err(wrong)?;
    Ok(Session {
        timeout_ms: r.int().map_err(wrong)?,
        id: r.long().map_err(wrong)?,
        password: r.buffer().map_err(wrong)?.unwrap_or_default().to_vec(),
        last_zxid: asked.last_zxid,
    })
}
