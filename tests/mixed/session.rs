//! A session that moves from server to server as ZooKeeper's own clients do: one request at a time, two thirds of its
//! timeout without an answer and it goes to the next server with its id, password and the last zxid it saw.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::words::{CLOSE, PING};
use crate::peers::{Attach, Packet, RawClient, Received};

/// How a request ended.
#[derive(Debug)]
pub enum Answer {
    /// The reply.
    Reply(Packet),
    /// The connection ended, or stayed silent for too long: it may have been done or not.
    Lost,
    /// The session is gone. A request that says so was not done.
    Expired,
}

/// How finding a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The session is attached.
    Attached,
    /// No server knows it any more.
    Expired,
    /// The time is up.
    Nobody,
}

/// An open session.
pub struct Session {
    addresses: Vec<SocketAddr>,
    /// The server to try next.
    next: usize,
    attach: Attach,
    /// Negotiated, ms.
    pub timeout_ms: i32,
    connection: Option<RawClient>,
    xid: i32,
}

/// A server that says so has no such session, or it is another's.
const SESSION_EXPIRED: i32 = -112;
const SESSION_MOVED: i32 = -118;

impl Session {
    /// A session that is not opened yet, with its first server.
    pub fn new(addresses: &[SocketAddr], first: usize, timeout_ms: i32) -> Self {
        Self {
            addresses: addresses.to_vec(),
            next: first % addresses.len(),
            attach: Attach {
                timeout_ms,
                ..Attach::default()
            },
            timeout_ms,
            connection: None,
            xid: 0,
        }
    }

    /// Its id, 0 before it is opened.
    pub fn id(&self) -> i64 {
        self.attach.session
    }

    /// Whether it has a connection.
    pub fn is_attached(&self) -> bool {
        self.connection.is_some()
    }

    /// Opens it, or attaches it again, at the first server that takes it.
    pub fn find_server(&mut self, until: Instant, is_over: impl Fn() -> bool) -> Found {
        while Instant::now() < until && !is_over() {
            let address = self.addresses[self.next];
            self.next = (self.next + 1) % self.addresses.len();
            let limit = Duration::from_millis(self.timeout_ms as u64) / self.addresses.len() as u32;
            let Ok(mut client) = RawClient::dial_within(address, limit) else {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            };
            match client.handshake(&self.attach) {
                Received::Got(opened) if opened.timeout_ms > 0 => {
                    self.attach.session = opened.session;
                    self.attach.password = Some(opened.password);
                    self.timeout_ms = opened.timeout_ms;
                    client.patience(Duration::from_millis(opened.timeout_ms as u64 * 2 / 3));
                    self.connection = Some(client);
                    return Found::Attached;
                }
                // A session of 0 cannot be refused for being gone.
                Received::Got(_) if self.attach.session != 0 => return Found::Expired,
                // It does not serve, or is behind what this session saw.
                Received::Got(_) | Received::Closed | Received::Silence => {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        }
        Found::Nobody
    }

    /// Sends a request and waits for its answer; without a connection it is lost at once.
    pub fn call(&mut self, op: i32, body: &[u8]) -> Answer {
        self.xid += 1;
        let xid = if op == PING { -2 } else { self.xid };
        let Some(client) = &mut self.connection else {
            return Answer::Lost;
        };
        client.send(xid, op, body);
        loop {
            match client.packet() {
                // Nobody watches here.
                Received::Got(packet) if packet.xid == -1 => {}
                Received::Got(packet) => {
                    assert_eq!(
                        packet.xid, xid,
                        "session {:#x}: a reply out of order: {packet:?}",
                        self.attach.session
                    );
                    if packet.zxid > 0 {
                        self.attach.last_zxid = self.attach.last_zxid.max(packet.zxid);
                    }
                    if matches!(packet.err, SESSION_EXPIRED | SESSION_MOVED) {
                        self.drop_connection();
                        return if packet.err == SESSION_EXPIRED {
                            Answer::Expired
                        } else {
                            Answer::Lost
                        };
                    }
                    return Answer::Reply(packet);
                }
                Received::Closed | Received::Silence => {
                    self.drop_connection();
                    return Answer::Lost;
                }
            }
        }
    }

    /// closeSession; whether it was acknowledged.
    pub fn close(&mut self) -> bool {
        matches!(self.call(CLOSE, &[]), Answer::Reply(packet) if packet.err == 0)
    }

    fn drop_connection(&mut self) {
        if let Some(client) = self.connection.take() {
            client.hang_up();
        }
    }
}
