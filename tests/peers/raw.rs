//! `RawClient`: one blocking connection that sends any bytes and reads what comes back, frame by frame.
//!
//! It knows framing, the handshake and the reply header; the rest is the caller's. Every wait has a limit, and every
//! way a wait can end is a value, so that a test can say which one it expects.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::jute::{In, Out};

/// The default limit of every wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection.
pub struct RawClient {
    stream: TcpStream,
    /// Bytes read and not yet given out.
    buffer: Vec<u8>,
}

/// What the handshake asks for. The default is a new session of 30 s from a client that speaks the readOnly byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// protocolVersion; servers never look at it.
    pub protocol: i32,
    /// lastZxidSeen.
    pub last_zxid: i64,
    /// timeOut, ms.
    pub timeout_ms: i32,
    /// 0 for a new session.
    pub session: i64,
    /// passwd; `None` is a null buffer.
    pub password: Option<Vec<u8>>,
    /// The optional last byte.
    pub read_only: Option<bool>,
}

impl Default for Attach {
    fn default() -> Self {
        Self {
            protocol: 0,
            last_zxid: 0,
            timeout_ms: 30_000,
            session: 0,
            password: Some(vec![0; 16]),
            read_only: Some(false),
        }
    }
}

/// The server's ConnectResponse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// protocolVersion.
    pub protocol: i32,
    /// The negotiated timeout in ms; 0 says the session is refused.
    pub timeout_ms: i32,
    /// The session's id.
    pub session: i64,
    /// Its password, 16 bytes.
    pub password: Vec<u8>,
    /// The optional last byte.
    pub read_only: Option<bool>,
}

/// A reply or an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The request's xid, or -1 for an event.
    pub xid: i32,
    /// The header's zxid.
    pub zxid: i64,
    /// The header's error code.
    pub err: i32,
    /// What follows the header.
    pub body: Vec<u8>,
}

/// How a wait for a frame ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// It came.
    Got(T),
    /// The server closed (or reset) the connection first.
    Closed,
    /// Nothing whole came within the limit.
    Silence,
}

impl<T> Received<T> {
    /// The value, or a failure that says what was awaited.
    #[track_caller]
    pub fn expect(self, what: &str) -> T {
        match self {
            Received::Got(value) => value,
            Received::Closed => panic!("the server closed the connection instead of {what}"),
            Received::Silence => panic!("the server stayed silent instead of {what}"),
        }
    }
}

impl RawClient {
    /// A TCP connection; no byte is sent yet.
    pub fn dial(address: SocketAddr) -> std::io::Result<Self> {
        Self::dial_within(address, PATIENCE)
    }

    /// The same with another limit, for the connection and for every wait on it.
    pub fn dial_within(address: SocketAddr, limit: Duration) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(limit))?;
        stream.set_read_timeout(Some(limit))?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// A connection with a session on it.
    #[track_caller]
    pub fn open(address: SocketAddr, attach: &Attach) -> (Self, Opened) {
        let mut client = Self::dial(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        let opened = client.handshake(attach).expect("an answer to the handshake");
        (client, opened)
    }

    /// Changes the limit of later waits.
    pub fn patience(&mut self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).expect("read timeout");
    }

    /// Sends a ConnectRequest and awaits the answer.
    pub fn handshake(&mut self, attach: &Attach) -> Received<Opened> {
        let mut out = Out::new()
            .int(attach.protocol)
            .long(attach.last_zxid)
            .int(attach.timeout_ms)
            .long(attach.session)
            .buffer_or_null(attach.password.as_deref());
        if let Some(read_only) = attach.read_only {
            out = out.bool(read_only);
        }
        self.send_frame(&out.0);
        match self.frame() {
            Received::Got(frame) => Received::Got(opened(&frame)),
            Received::Closed => Received::Closed,
            Received::Silence => Received::Silence,
        }
    }

    /// Sends a request. A broken connection is not an error here: the next read tells.
    pub fn send(&mut self, xid: i32, op: i32, body: &[u8]) {
        self.send_bytes(&framed(xid, op, body));
    }

    /// Sends one frame with its true length in front.
    pub fn send_frame(&mut self, frame: &[u8]) {
        self.send_bytes(&Out::new().buffer(frame).0);
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next reply or event.
    pub fn packet(&mut self) -> Received<Packet> {
        match self.frame() {
            Received::Got(frame) => Received::Got(packet(&frame)),
            Received::Closed => Received::Closed,
            Received::Silence => Received::Silence,
        }
    }

    /// Sends a request and gives its reply; events that come first are put into `events`.
    #[track_caller]
    pub fn call(&mut self, xid: i32, op: i32, body: &[u8], events: &mut Vec<Packet>) -> Packet {
        self.send(xid, op, body);
        loop {
            let packet = self.packet().expect("a reply");
            if packet.xid != -1 {
                assert_eq!(packet.xid, xid, "a reply out of order: {packet:?}");
                return packet;
            }
            events.push(packet);
        }
    }

    /// Bytes of the next whole frame without its length, if it has come already.
    fn come(&self) -> Option<usize> {
        let (length, rest) = self.buffer.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).expect("a server never sends a negative length");
        (rest.len() >= length).then_some(length)
    }

    /// Whether [`RawClient::packet`] would not wait.
    pub fn has_packet(&self) -> bool {
        self.come().is_some()
    }

    /// The next whole frame, without its length.
    pub fn frame(&mut self) -> Received<Vec<u8>> {
        loop {
            if let Some(length) = self.come() {
                let frame = self.buffer[4..][..length].to_vec();
                self.buffer.drain(..4 + length);
                return Received::Got(frame);
            }
            let mut chunk = [0; 65_536];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Received::Closed,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Received::Silence;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Received::Closed,
            }
        }
    }

    /// Closes both directions without a closeSession.
    pub fn hang_up(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// A second handle on the connection, for a thread that only reads or only writes.
    pub fn duplicate(&self) -> Self {
        Self {
            stream: self.stream.try_clone().expect("a second handle on a socket"),
            buffer: Vec::new(),
        }
    }
}

/// A request as it is sent.
pub fn framed(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    Out::new().buffer(&Out::new().int(xid).int(op).raw(body).0).0
}

#[track_caller]
fn opened(frame: &[u8]) -> Opened {
    let parse = || {
        let mut input = In::new(frame);
        Some(Opened {
            protocol: input.int()?,
            timeout_ms: input.int()?,
            session: input.long()?,
            password: input.buffer()??.to_vec(),
            read_only: if input.rest().is_empty() { None } else { input.bool() },
        })
    };
    parse().unwrap_or_else(|| panic!("not a ConnectResponse: {frame:02x?}"))
}

#[track_caller]
fn packet(frame: &[u8]) -> Packet {
    let mut input = In::new(frame);
    let parse = |input: &mut In| {
        Some(Packet {
            xid: input.int()?,
            zxid: input.long()?,
            err: input.int()?,
            body: input.rest().to_vec(),
        })
    };
    parse(&mut input).unwrap_or_else(|| panic!("not a ReplyHeader: {frame:02x?}"))
}
