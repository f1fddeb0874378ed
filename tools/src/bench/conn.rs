//! One connection of a load: a socket, a session, and the requests that are on their way.
//!
//! Answers come in the order of the requests, so a queue is all the bookkeeping there is; an answer with another
//! xid than the queue's front ends the run, because then the server broke the protocol.

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

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    xid: i32,
    /// What it is.
    pub kind: Kind,
    /// When it was due, in microseconds of the run's clock.
    pub due_us: u64,
    /// Whether its latency counts; the second half of a churn pair counts too, set-up requests do not.
    pub counted: bool,
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The request.
    pub request: Pending,
    /// Its error code.
    pub err: i32,
}

/// A connected session.
pub struct Conn {
    /// For registering with a poll.
    pub socket: TcpStream,
    out: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    pending: VecDeque<Pending>,
    next_xid: i32,
    /// Names this connection's own nodes.
    pub index: usize,
    /// Whether its own churn node is there.
    pub own_node: bool,
}

impl Conn {
    /// Connects and opens a session, waiting for both.
    pub fn open(address: SocketAddr, index: usize, timeout: Duration) -> io::Result<Conn> {
        let mut socket = std::net::TcpStream::connect_timeout(&address, timeout)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(timeout))?;
        let mut request = Vec::new();
        frame::append(&mut request, |out| {
            let mut w = Writer::new(out);
            w.int(0);
            w.long(0);
            w.int(30_000);
            w.long(0);
            w.buffer(Some(&[0; 16]));
            w.bool(false);
        });
        socket.write_all(&request)?;
        let mut length = [0; 4];
        socket.read_exact(&mut length)?;
        let mut answer = vec![0; u32::from_be_bytes(length).min(1024) as usize];
        socket.read_exact(&mut answer)?;
        socket.set_nonblocking(true)?;
        Ok(Conn {
            socket: TcpStream::from_std(socket),
            out: Vec::with_capacity(64 * 1024),
            sent: 0,
            input: Vec::with_capacity(64 * 1024),
            pending: VecDeque::new(),
            next_xid: 1,
            index,
            own_node: false,
        })
    }

    /// Requests on their way.
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Appends a request; [`Conn::flush`] sends it.
    pub fn request(&mut self, opcode: i32, kind: Kind, due_us: u64, counted: bool, body: impl FnOnce(&mut Writer<'_>)) {
        // A ping has no number of its own.
        let xid = if kind == Kind::Ping { -2 } else { self.next_xid };
        self.next_xid = self.next_xid.checked_add(1).unwrap_or(1);
        frame::append(&mut self.out, |out| {
            let mut w = Writer::new(out);
            w.int(xid);
            w.int(opcode);
            body(&mut w);
        });
        self.pending.push_back(Pending {
            xid,
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
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(false)
    }

    /// Takes in what came and hands out the answers.
    pub fn receive(&mut self, mut each: impl FnMut(Answer)) -> io::Result<()> {
        loop {
            let filled = self.input.len();
            self.input.resize(filled + 64 * 1024, 0);
            let result = self.socket.read(&mut self.input[filled..]);
            self.input.truncate(filled + result.as_ref().copied().unwrap_or(0));
            match result {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.take_answers(&mut each)?;
                    if count < 64 * 1024 {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take_answers(&mut self, each: &mut impl FnMut(Answer)) -> io::Result<()> {
        let mut done = 0;
        loop {
            match frame::front(&self.input[done..], FRAME_BYTES_MAX) {
                Front::Whole { frame, consumed } => {
                    let wrong = |_| io::Error::other("an answer has no whole header");
                    let mut r = Reader::new(frame);
                    let xid = r.int().map_err(wrong)?;
                    let _zxid = r.long().map_err(wrong)?;
                    let err = r.int().map_err(wrong)?;
                    // −1 is a watch event.
                    if xid != -1 {
                        let request = self.pending.pop_front().filter(|request| request.xid == xid);
                        let request =
                            request.ok_or_else(|| io::Error::other(format!("an answer to {xid} out of turn")))?;
                        each(Answer { request, err });
                    }
                    done += consumed;
                }
                Front::Partial { .. } => break,
                Front::Impossible(length) => return Err(io::Error::other(format!("an answer of {length} bytes"))),
            }
        }
        self.input.drain(..done);
        Ok(())
    }
}
