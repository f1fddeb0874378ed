//! Sends a script to one server and writes down what comes back, free of everything that may differ by right:
//! times, session ids and passwords, absolute zxids.
//!
//! Session ids become `S` and the step and answer that gave them out. Zxids become `@step.n-back`: the
//! step's n-th answer that first showed the server at or past it, and its distance from the zxid shown; how many zxids a
//! step took is a line of its own. Both names survive a server that takes one zxid more, so one difference does not breed others.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::peers::jute::{In, Out};
use crate::peers::{Attach, Opened, Packet, RawClient, Received, framed};

use super::read;
use super::script::{Body, Password, Piece, Request, Step, Zxid};

/// The super user both servers know.
pub const SUPER: &str = "super:secret";
/// Its `DigestAuthenticationProvider.superDigest`.
pub const SUPER_DIGEST: &str = "super:lK75jTNcA+U9vtVEw5vB51mj/w4=";
/// How many connections a script may use.
pub const SLOTS: usize = 4;

/// One thing that a server did, in words that both servers can share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A ConnectResponse.
    Opened(String),
    /// A reply: xid, err, where its header's zxid stands, and the body's fields.
    Reply {
        xid: i32,
        err: i32,
        zxid: String,
        body: String,
    },
    /// An event.
    Event { zxid: String, text: String },
    /// The connection was closed by the server.
    Closed,
    /// Nothing came for 5 s.
    Silence,
    /// The server takes no connections any more.
    Gone,
    /// So many zxids were taken since the step before.
    Taken(i64),
}

#[derive(Default)]
struct Slot {
    client: Option<RawClient>,
    session: Option<Opened>,
}

/// One server under the scripts, with the names given so far.
pub struct Runner {
    address: SocketAddr,
    slots: Vec<Slot>,
    names: Names,
    /// Sessions that were opened and not seen closed.
    alive: Vec<Opened>,
    seen: Vec<Seen>,
}

/// The names that stand for what a server chose.
#[derive(Default)]
pub struct Names {
    step: u64,
    zxid_last: i64,
    zxids: HashMap<i64, String>,
    /// How many times zxids were named within the step.
    named: usize,
    /// `zxid_last` after each step.
    history: Vec<i64>,
    sessions: HashMap<i64, String>,
}

impl Names {
    /// Where a zxid stands; positive zxids past the last known one are named now.
    pub fn zxid(&mut self, zxid: i64) -> String {
        if zxid <= 0 {
            return zxid.to_string();
        }
        if zxid > self.zxid_last {
            let first = if self.zxid_last == 0 { zxid } else { self.zxid_last + 1 };
            assert!(
                zxid - first < 10_000,
                "a zxid out of nowhere: {zxid:#x} after {:#x}",
                self.zxid_last
            );
            for each in first..=zxid {
                self.zxids
                    .insert(each, format!("@{}.{}-{}", self.step, self.named, zxid - each));
            }
            self.named += 1;
            self.zxid_last = zxid;
        }
        self.zxids
            .get(&zxid)
            .cloned()
            .unwrap_or_else(|| format!("unknown {zxid:#x}"))
    }

    /// How far a reply's zxid is past the last known one. Says nothing absolute: a server that took one zxid more
    /// differs in the reply that shows it, and not in every later one.
    pub fn advance(&mut self, zxid: i64) -> String {
        if zxid <= 0 || self.zxid_last == 0 {
            self.zxid(zxid);
            return zxid.min(0).to_string();
        }
        let text = format!("{:+}", zxid - self.zxid_last);
        self.zxid(zxid);
        text
    }

    /// A session's name; 0 stays 0, and ids that were never given out stay as they are.
    pub fn session(&self, id: i64) -> String {
        match self.sessions.get(&id) {
            Some(name) => name.clone(),
            None => format!("{id:#x}"),
        }
    }

    /// A time: only whether there is one.
    pub fn time(&self, ms: i64) -> String {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("a clock after 1970");
        let age = now.as_millis() as i64 - ms;
        if (-1000..3_600_000).contains(&age) {
            "now".into()
        } else {
            ms.to_string()
        }
    }
}

impl Runner {
    /// A runner that has sent nothing yet.
    pub fn new(address: SocketAddr) -> Self {
        let slots = (0..SLOTS).map(|_| Slot::default()).collect();
        Self {
            address,
            slots,
            names: Names::default(),
            alive: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Runs the steps; what was seen, step by step.
    pub fn run(&mut self, steps: &[Step]) -> Vec<Vec<Seen>> {
        steps.iter().map(|step| self.step(step)).collect()
    }

    fn step(&mut self, step: &Step) -> Vec<Seen> {
        self.names.step += 1;
        self.names.named = 0;
        let before = self.names.zxid_last;
        match step {
            Step::Open {
                slot,
                timeout_ms,
                password,
                read_only,
                last_zxid,
            } => {
                let attach = Attach {
                    last_zxid: self.value(*last_zxid),
                    timeout_ms: *timeout_ms,
                    password: password.clone(),
                    read_only: *read_only,
                    ..Attach::default()
                };
                self.attach(*slot, &attach);
            }
            Step::Attach {
                slot,
                of,
                password,
                timeout_ms,
                last_zxid,
            } => {
                self.re_attach(*slot, *of, *password, *timeout_ms, *last_zxid);
            }
            Step::HangUp { slot } => self.hang_up(*slot),
            Step::Requests { slot, requests } => self.requests(*slot, requests),
            Step::Garbage { slot, fresh, bytes } => self.garbage(*slot, *fresh, bytes),
            Step::Expire { slot, via, path } => self.expire(*slot, *via, path),
            Step::Clean => self.clean(),
        }
        let taken = self.names.zxid_last - before;
        if taken != 0 && before != 0 {
            self.seen.push(Seen::Taken(taken));
        }
        self.names.history.push(self.names.zxid_last);
        std::mem::take(&mut self.seen)
    }

    fn value(&self, zxid: Zxid) -> i64 {
        match zxid {
            Zxid::Zero => 0,
            Zxid::Future => i64::MAX,
            Zxid::Ago(steps) => {
                let history = &self.names.history;
                history.len().checked_sub(1 + steps).map_or(0, |index| history[index])
            }
        }
    }

    fn attach(&mut self, slot: usize, attach: &Attach) -> Option<Opened> {
        self.hang_up(slot);
        let Ok(mut client) = RawClient::dial(self.address) else {
            self.seen.push(Seen::Gone);
            self.slots[slot] = Slot::default();
            return None;
        };
        client.patience(Duration::from_secs(5));
        let answer = client.handshake(attach);
        let Received::Got(opened) = answer else {
            self.seen.push(if answer == Received::Closed {
                Seen::Closed
            } else {
                Seen::Silence
            });
            self.slots[slot] = Slot::default();
            return None;
        };
        if opened.session != 0 && !self.names.sessions.contains_key(&opened.session) {
            let name = format!("S{}.{}", self.names.step, self.seen.len());
            self.names.sessions.insert(opened.session, name);
            self.alive.push(opened.clone());
        }
        let zeros = opened.password.iter().all(|byte| *byte == 0);
        self.seen.push(Seen::Opened(format!(
            "protocol={} timeout={} session={} password={} bytes, zero={zeros} readOnly={:?}",
            opened.protocol,
            opened.timeout_ms,
            self.names.session(opened.session),
            opened.password.len(),
            opened.read_only
        )));
        if opened.timeout_ms == 0 {
            self.await_close(&mut client);
            self.slots[slot] = Slot::default();
            return None;
        }
        self.slots[slot] = Slot {
            client: Some(client),
            session: Some(opened.clone()),
        };
        Some(opened)
    }

    fn re_attach(&mut self, slot: usize, of: usize, password: Password, timeout_ms: i32, last_zxid: Zxid) {
        let Some(session) = self.slots[of].session.clone() else {
            return;
        };
        let password = match password {
            Password::Right => Some(session.password.clone()),
            Password::Wrong => {
                let mut wrong = session.password.clone();
                wrong[3] ^= 4;
                Some(wrong)
            }
            Password::Empty => Some(Vec::new()),
            Password::Null => None,
        };
        let last_zxid = self.value(last_zxid);
        let attach = Attach {
            session: session.session,
            password,
            timeout_ms,
            last_zxid,
            ..Attach::default()
        };
        let moved = self.attach(slot, &attach).is_some();
        if moved && of != slot {
            // The server closes the older connection: wait for it, so that later steps meet the same state.
            if let Some(mut client) = self.slots[of].client.take() {
                self.await_close(&mut client);
            }
            self.slots[of] = Slot::default();
        }
    }

    fn hang_up(&mut self, slot: usize) {
        if let Some(client) = self.slots[slot].client.take() {
            client.hang_up();
        }
    }

    /// Takes what still comes until the server closes the connection.
    fn await_close(&mut self, client: &mut RawClient) {
        client.patience(Duration::from_secs(2));
        loop {
            match client.packet() {
                Received::Got(packet) => self.packet(packet, None),
                Received::Closed => return self.seen.push(Seen::Closed),
                Received::Silence => return self.seen.push(Seen::Silence),
            }
        }
    }

    /// A slot that lost its connection gets a new session first.
    fn client(&mut self, slot: usize) -> Option<RawClient> {
        if self.slots[slot].client.is_none() {
            self.attach(slot, &Attach::default());
        }
        self.slots[slot].client.take()
    }

    fn requests(&mut self, slot: usize, requests: &[Request]) {
        let Some(mut client) = self.client(slot) else { return };
        let framed = |request: &Request| framed(request.xid, request.op, &self.body(&request.body));
        client.send_bytes(&requests.iter().flat_map(framed).collect::<Vec<u8>>());
        for request in requests {
            match self.reply(&mut client, request.op) {
                Ending::Open => {}
                Ending::Closing => {
                    self.await_close(&mut client);
                    if request.op == -11 {
                        self.forget(slot);
                    }
                    return;
                }
                Ending::Over => return,
            }
        }
        self.slots[slot].client = Some(client);
    }

    fn body(&self, body: &Body) -> Vec<u8> {
        let piece = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.clone(),
            Piece::Zxid(zxid) => self.value(*zxid).to_be_bytes().to_vec(),
        };
        body.0.iter().flat_map(piece).collect()
    }

    /// The session of a slot is closed: nothing to clean up later.
    fn forget(&mut self, slot: usize) {
        if let Some(session) = self.slots[slot].session.take() {
            self.alive.retain(|other| other.session != session.session);
        }
    }

    /// Takes events until the reply came.
    fn reply(&mut self, client: &mut RawClient, op: i32) -> Ending {
        loop {
            match client.packet() {
                Received::Got(packet) => {
                    let (event, err, zxid) = (packet.xid == -1, packet.err, packet.zxid);
                    self.packet(packet, Some(op));
                    if !event {
                        let refused = matches!(err, -115 | -124 | -118) || (err == -6 && zxid == -1);
                        return if refused || (op == -11 && err == 0) {
                            Ending::Closing
                        } else {
                            Ending::Open
                        };
                    }
                }
                Received::Closed => {
                    self.seen.push(Seen::Closed);
                    return Ending::Over;
                }
                Received::Silence => {
                    self.seen.push(Seen::Silence);
                    return Ending::Over;
                }
            }
        }
    }

    fn packet(&mut self, packet: Packet, op: Option<i32>) {
        let seen = if packet.xid == -1 {
            let zxid = self.names.zxid(packet.zxid);
            Seen::Event {
                zxid,
                text: read::event(&packet),
            }
        } else {
            let zxid = self.names.advance(packet.zxid);
            let body = read::body(op, &packet, &mut self.names);
            Seen::Reply {
                xid: packet.xid,
                err: packet.err,
                zxid,
                body,
            }
        };
        self.seen.push(seen);
    }

    fn garbage(&mut self, slot: usize, fresh: bool, bytes: &[u8]) {
        let client = if fresh {
            self.hang_up(slot);
            RawClient::dial(self.address).ok()
        } else {
            self.client(slot)
        };
        let Some(mut client) = client else { return };
        client.send_bytes(bytes);
        self.await_close(&mut client);
        client.hang_up();
    }

    fn expire(&mut self, slot: usize, via: usize, path: &str) {
        assert_ne!(slot, via, "a session cannot watch itself expire");
        self.hang_up(slot);
        self.forget(slot);
        let Some(mut client) = self.client(via) else { return };
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let before = self.seen.len();
            client.send(7777, 3, &Out::new().string(path).bool(false).0);
            if self.reply(&mut client, 3) != Ending::Open {
                return;
            }
            let present = matches!(self.seen.last(), Some(Seen::Reply { err: 0, .. }));
            if !present || Instant::now() > deadline {
                break;
            }
            // Only the last look is compared; how often one must look is the clock's business.
            let last = self.seen.pop();
            assert!(self.seen.len() >= before && last.is_some());
            thread::sleep(Duration::from_millis(20));
        }
        self.slots[via].client = Some(client);
    }

    fn clean(&mut self) {
        for slot in 0..SLOTS {
            if let Some(mut client) = self.slots[slot].client.take() {
                // What was sent to this connection and not read yet ends with the answer to a ping.
                client.send(-2, 11, &[]);
                self.reply(&mut client, 11);
                client.hang_up();
            }
            self.slots[slot] = Slot::default();
        }
        for session in std::mem::take(&mut self.alive) {
            let attach = Attach {
                session: session.session,
                password: Some(session.password.clone()),
                ..Attach::default()
            };
            if self.attach(0, &attach).is_some() {
                let close = Request {
                    xid: 1,
                    op: -11,
                    body: Body::default(),
                    note: String::new(),
                };
                self.requests(0, &[close]);
            }
        }
        self.empty_tree();
    }

    /// As super: everything that a fresh server does not have goes, and "/" gets its data and ACL back.
    fn empty_tree(&mut self) {
        let Some(mut client) = self.client(0) else { return };
        let auth = Out::new().int(0).string("digest").buffer(SUPER.as_bytes()).0;
        let mut calls = Calls {
            runner: self,
            client: &mut client,
        };
        calls.send(100, &auth);
        calls.empty("/");
        calls.send(5, &Out::new().string("/").buffer(b"").int(-1).0);
        calls.send(7, &Out::new().string("/").acls(&[(31, "world", "anyone")]).int(-1).0);
        calls.send(5, &Out::new().string("/zookeeper").buffer(b"").int(-1).0);
        calls.send(
            7,
            &Out::new()
                .string("/zookeeper")
                .acls(&[(31, "world", "anyone")])
                .int(-1)
                .0,
        );
        calls.send(-11, &[]);
        self.await_close(&mut client);
        self.forget(0);
        self.slots[0] = Slot::default();
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Open,
    Closing,
    Over,
}

/// The cleaning session's requests; their replies are compared like all others.
struct Calls<'a> {
    runner: &'a mut Runner,
    client: &'a mut RawClient,
}

impl Calls<'_> {
    fn send(&mut self, op: i32, body: &[u8]) -> Packet {
        let xid = if op == 100 { -4 } else { 1 };
        let packet = self.client.call(xid, op, body, &mut Vec::new());
        self.runner.packet(packet.clone(), Some(op));
        packet
    }

    fn empty(&mut self, path: &str) {
        let listed = self.send(8, &Out::new().string(path).bool(false).0);
        let mut children = In::new(&listed.body).strings().unwrap_or_default();
        children.sort();
        for child in children {
            let path = format!("{}/{child}", path.trim_end_matches('/'));
            self.empty(&path);
            if !["/zookeeper", "/zookeeper/quota", "/zookeeper/config"].contains(&path.as_str()) {
                self.send(2, &Out::new().string(&path).int(-1).0);
            }
        }
    }
}
