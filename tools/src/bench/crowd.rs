//! Connections on one event loop, for loads with a script of their own: watchers, a storm, idle sessions, a controller.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

use super::conn::{Conn, Incoming, Session};

/// Handshakes on their way at once while a crowd gathers.
const OPENING_MAX: usize = 64;
/// Silence for so long ends a load.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Connections by number, and the loop they are on.
pub struct Crowd {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    conns: Vec<Option<Conn>>,
}

/// A connection that ended, and why.
pub type Lost = (usize, io::Error);

impl Crowd {
    /// Without connections.
    pub fn new() -> io::Result<Crowd> {
        Ok(Crowd {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            scratch: Vec::new(),
            conns: Vec::new(),
        })
    }

    /// Opens `count` sessions, spread over the servers, and waits until all are there.
    pub fn gather(addresses: &[SocketAddr], count: usize, session: &Session) -> io::Result<Crowd> {
        let mut crowd = Crowd::new()?;
        let (mut begun, mut opened) = (0, 0);
        while opened < count {
            while begun < count && begun - opened < OPENING_MAX {
                crowd.begin(begun, addresses[begun % addresses.len()], session.clone())?;
                begun += 1;
            }
            let before = opened;
            let lost = crowd.turn(PATIENCE, |_, incoming| {
                opened += usize::from(matches!(incoming, Incoming::Opened));
            })?;
            if let Some((number, error)) = lost.into_iter().next() {
                let address = addresses[number % addresses.len()];
                return Err(io::Error::other(format!(
                    "{address}: session {number} of {count}: {error} (maxClientCnxns allows 60 from one address by \
                     default)"
                )));
            }
            if opened == before && crowd.events.is_empty() {
                return Err(io::Error::other(format!("no session was opened for {PATIENCE:?}")));
            }
        }
        Ok(crowd)
    }

    /// How many places for connections there are.
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// A connection that stands.
    pub fn conn(&mut self, number: usize) -> Option<&mut Conn> {
        self.conns[number].as_mut()
    }

    /// Begins to connect as `number`, which is free or the next.
    pub fn begin(&mut self, number: usize, address: SocketAddr, session: Session) -> io::Result<()> {
        let mut conn = Conn::begin(address, session)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut conn.socket, Token(number), interest)?;
        if number == self.conns.len() {
            self.conns.push(None);
        }
        self.conns[number] = Some(conn);
        Ok(())
    }

    /// Drops a connection.
    pub fn drop_conn(&mut self, number: usize) {
        if let Some(mut conn) = self.conns[number].take() {
            let _ = self.poll.registry().deregister(&mut conn.socket);
        }
    }

    /// Sends what a connection has to send; what the socket does not take now goes when it can.
    pub fn flush(&mut self, number: usize) -> io::Result<()> {
        match &mut self.conns[number] {
            Some(conn) => conn.flush().map(drop),
            None => Ok(()),
        }
    }

    /// Waits for something and hands it out; gives the connections that ended.
    pub fn turn(&mut self, timeout: Duration, mut each: impl FnMut(usize, Incoming<'_>)) -> io::Result<Vec<Lost>> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Vec::new()),
            result => result?,
        }
        let mut lost = Vec::new();
        for event in self.events.iter() {
            let number = event.token().0;
            let Some(conn) = &mut self.conns[number] else {
                continue;
            };
            let result = conn
                .flush()
                .and_then(|_| conn.receive(&mut self.scratch, |incoming| each(number, incoming)));
            if let Err(error) = result {
                if let Some(mut conn) = self.conns[number].take() {
                    let _ = self.poll.registry().deregister(&mut conn.socket);
                }
                lost.push((number, error));
            }
        }
        Ok(lost)
    }

    /// The same for loads that cannot go on without one of their connections.
    pub fn turn_whole(&mut self, timeout: Duration, each: impl FnMut(usize, Incoming<'_>)) -> io::Result<()> {
        match self.turn(timeout, each)?.into_iter().next() {
            Some((number, error)) => Err(io::Error::other(format!("connection {number} was lost: {error}"))),
            None => Ok(()),
        }
    }

    /// Closes every session and waits for the answers.
    pub fn close(mut self) -> io::Result<()> {
        let mut left = 0;
        for conn in self.conns.iter_mut().flatten() {
            conn.request(-11, super::mix::Kind::Close, 0, false, |_| {});
            conn.flush()?;
            left += 1;
        }
        while left > 0 {
            let mut answered = 0;
            let lost = self.turn(PATIENCE, |_, incoming| {
                answered += usize::from(matches!(
                    incoming,
                    Incoming::Answer(answer) if answer.request.kind == super::mix::Kind::Close
                ));
            })?;
            if answered == 0 && lost.is_empty() && self.events.is_empty() {
                return Err(io::Error::other("sessions were not closed in time"));
            }
            // A connection may end right behind its answer; then it counts in neither turn twice.
            left = self.conns.iter().flatten().filter(|conn| conn.in_flight() > 0).count();
        }
        Ok(())
    }
}
