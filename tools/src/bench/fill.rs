//! Lays out the znodes of a load, and removes them again. Pipelined over one connection, waiting in between.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use ringkeeper::wire::jute::{Reader, Writer};

use super::conn::{Conn, Incoming, Session};
use super::keys::Layout;
use super::mix::Kind;
use super::requests::{write_create, write_set};

const NODE_EXISTS: i32 = -110;
const NO_NODE: i32 = -101;
/// Requests on their way at once.
const IN_FLIGHT_MAX: usize = 1000;
/// A server that says nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer's error code and what stands behind its header.
pub type Reply = (i32, Vec<u8>);

/// A connection for work that is not measured.
pub struct Errands {
    conn: Conn,
    poll: Poll,
    scratch: Vec<u8>,
}

impl Errands {
    /// Opens a session.
    pub fn open(address: SocketAddr) -> io::Result<Errands> {
        let mut conn = Conn::open(address, Session::new(30_000), Duration::from_secs(30))?;
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut conn.socket, Token(0), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Errands {
            conn,
            poll,
            scratch: Vec::new(),
        })
    }

    /// One request and its answer.
    pub fn call(&mut self, opcode: i32, body: impl FnOnce(&mut Writer<'_>)) -> io::Result<Reply> {
        self.conn.request(opcode, Kind::Set, 0, false, body);
        let mut reply = None;
        self.drain(0, |_, err, body| reply = Some((err, body.to_vec())))?;
        reply.ok_or_else(|| io::Error::other("no answer"))
    }

    /// Sends one request; [`Errands::drain`] waits for its answer.
    pub fn send(&mut self, opcode: i32, body: impl FnOnce(&mut Writer<'_>)) -> io::Result<()> {
        self.conn.request(opcode, Kind::Set, 0, false, body);
        let mut events = Events::with_capacity(4);
        while self.conn.flush()? {
            self.poll.poll(&mut events, Some(Duration::from_millis(10)))?;
        }
        Ok(())
    }

    /// Ends the session.
    pub fn close(mut self) -> io::Result<()> {
        self.call(-11, |_| {}).map(drop)
    }

    /// Sends, and waits until at most `left` requests are on their way; `each` is told what was asked (the number
    /// given as its due time), the error code and the body.
    pub fn drain(&mut self, left: usize, mut each: impl FnMut(u64, i32, &[u8])) -> io::Result<()> {
        let mut events = Events::with_capacity(4);
        let mut heard = Instant::now();
        self.conn.flush()?;
        while self.conn.in_flight() > left {
            self.poll.poll(&mut events, Some(Duration::from_millis(100)))?;
            self.conn.receive(&mut self.scratch, |incoming| {
                if let Incoming::Answer(answer) = incoming {
                    heard = Instant::now();
                    each(answer.request.due_us, answer.err, answer.body);
                }
            })?;
            self.conn.flush()?;
            if heard.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("no answer within {PATIENCE:?}")));
            }
        }
        Ok(())
    }
}

/// Creates every parent and leaf that is not there, and gives leaves that are there their data again.
pub fn fill(address: SocketAddr, layout: &Layout, data: &[u8], mut progress: impl FnMut(u64)) -> io::Result<()> {
    let mut errands = Errands::open(address)?;
    for parent in layout.parents() {
        let ends = parent.match_indices('/').map(|(at, _)| at).skip(1);
        for end in ends.chain([parent.len()]) {
            match errands.call(1, |w| write_create(w, &parent[..end], b"", 0))?.0 {
                0 | NODE_EXISTS => {}
                code => return Err(refused(code)),
            }
        }
    }
    let mut failed = None;
    let mut there = Vec::new();
    for index in 0..layout.count {
        let write = |w: &mut Writer<'_>| write_create(w, &layout.leaf(index), data, 0);
        errands.conn.request(1, Kind::Create, index.into(), false, write);
        let is_last = index + 1 == layout.count;
        if errands.conn.in_flight() >= IN_FLIGHT_MAX || is_last {
            errands.drain(if is_last { 0 } else { IN_FLIGHT_MAX / 2 }, |asked, err, _| match err {
                0 => {}
                NODE_EXISTS => there.push(asked as u32),
                code => failed = Some(code),
            })?;
            progress(index.into());
        }
        if let Some(code) = failed {
            return Err(refused(code));
        }
    }
    for index in there {
        let write = |w: &mut Writer<'_>| write_set(w, &layout.leaf(index), data);
        errands.conn.request(5, Kind::Set, 0, false, write);
        if errands.conn.in_flight() >= IN_FLIGHT_MAX {
            errands.drain(IN_FLIGHT_MAX / 2, |_, _, _| {})?;
        }
    }
    errands.drain(0, |_, _, _| {})?;
    progress(layout.count.into());
    errands.close()
}

fn refused(code: i32) -> io::Error {
    io::Error::other(format!("laying out the znodes failed with error code {code}"))
}

/// Deletes `root` and everything below it; gives how many nodes there were.
pub fn clean(address: SocketAddr, root: &str) -> io::Result<u64> {
    let mut errands = Errands::open(address)?;
    let mut count = 0;
    // A node is visited before its children and deleted after them.
    let mut stack = vec![(root.to_owned(), false)];
    while let Some((path, is_empty)) = stack.pop() {
        if is_empty {
            let (err, _) = errands.call(2, |w| write_delete(w, &path))?;
            count += u64::from(err == 0);
            continue;
        }
        let names = children(&mut errands, &path)?;
        stack.push((path.clone(), true));
        let (mut leaves, mut failed) = (Vec::new(), Vec::new());
        for name in names {
            let child = format!("{path}/{name}");
            let asked = leaves.len() as u64;
            errands
                .conn
                .request(2, Kind::Delete, asked, false, |w| write_delete(w, &child));
            leaves.push(child);
            if errands.conn.in_flight() >= IN_FLIGHT_MAX {
                errands.drain(IN_FLIGHT_MAX / 2, |asked, err, _| failed.push((asked, err)))?;
            }
        }
        errands.drain(0, |asked, err, _| failed.push((asked, err)))?;
        for (asked, err) in failed {
            match err {
                0 => count += 1,
                NO_NODE => {}
                // It has children of its own.
                -111 => stack.push((leaves[asked as usize].clone(), false)),
                code => return Err(io::Error::other(format!("deleting failed with error code {code}"))),
            }
        }
    }
    errands.close()?;
    Ok(count)
}

fn write_delete(w: &mut Writer<'_>, path: &str) {
    w.text(path);
    w.int(-1);
}

fn children(errands: &mut Errands, path: &str) -> io::Result<Vec<String>> {
    let (err, body) = errands.call(8, |w| {
        w.text(path);
        w.bool(false);
    })?;
    if err != 0 {
        return Ok(Vec::new());
    }
    let text = |r: &mut Reader<'_>| Ok(String::from_utf8_lossy(r.buffer()?.unwrap_or_default()).into_owned());
    let names = Reader::new(&body).vector(text);
    let names = names.map_err(|error| io::Error::other(format!("the children of {path}: {error:?}")))?;
    Ok(names.unwrap_or_default())
}
