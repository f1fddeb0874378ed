//! What fills a server: random nodes of every kind in a pipeline, from a seed.

use std::net::SocketAddr;

use super::peers::jute::Out;
use super::peers::{Attach, Packet, RawClient, Received};

const CREATE: i32 = 1;
const DELETE: i32 = 2;
const SET_DATA: i32 = 5;
const SET_ACL: i32 = 7;
const MULTI: i32 = 14;
const CREATE2: i32 = 15;
const CREATE_CONTAINER: i32 = 19;
const CREATE_TTL: i32 = 21;
const CLOSE: i32 = -11;

/// Requests on their way at most.
const WINDOW: usize = 2000;

/// xorshift64*.
pub struct Random(pub u64);

impl Random {
    /// Below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % end
    }
}

/// One session that sends more than it awaits.
pub struct Load {
    client: RawClient,
    xid: i32,
    waiting: usize,
    random: Random,
    /// Nodes that children may go below.
    parents: Vec<String>,
    /// Others, to be changed and deleted.
    leaves: Vec<String>,
    /// Answers without an error.
    pub done: usize,
    /// The server is gone.
    pub broken: bool,
}

impl Load {
    /// Opens a session, which outlives its connection by five minutes.
    pub fn new(address: SocketAddr, seed: u64, top: &str) -> Load {
        let attach = Attach {
            timeout_ms: 300_000,
            ..Attach::default()
        };
        let (client, _) = RawClient::open(address, &attach);
        let mut load = Load {
            client,
            xid: 0,
            waiting: 0,
            random: Random(seed),
            parents: Vec::new(),
            leaves: Vec::new(),
            done: 0,
            broken: false,
        };
        load.send(CREATE, &create(top, Some(b"top"), &[(31, "world", "anyone")], 0));
        load.parents.push(top.to_owned());
        load.drain();
        load
    }

    fn send(&mut self, op: i32, body: &[u8]) {
        self.xid += 1;
        self.client.send(self.xid, op, body);
        self.waiting += 1;
        while self.waiting >= WINDOW && !self.broken {
            self.take();
        }
    }

    fn take(&mut self) {
        match self.client.packet() {
            Received::Got(Packet { xid: -1, .. }) => {}
            Received::Got(packet) => {
                self.waiting -= 1;
                self.done += usize::from(packet.err == 0);
            }
            Received::Closed => self.broken = true,
            Received::Silence => panic!("the server fell silent"),
        }
    }

    /// Awaits all answers.
    pub fn drain(&mut self) {
        while self.waiting > 0 && !self.broken {
            self.take();
        }
    }

    /// One random step: mostly a create, of any kind.
    pub fn step(&mut self) {
        match self.random.below(100) {
            0..72 => self.create(),
            72..80 => self.set_data(),
            80..85 => self.set_acl(),
            85..90 => self.delete(),
            90..94 => self.multi(),
            _ => self.sequential(),
        }
    }

    fn path(&mut self) -> String {
        // One parent has a fifth of all nodes.
        let index = match self.random.below(5) {
            0 => 0,
            _ => self.random.below(self.parents.len() as u64) as usize,
        };
        let name = match self.random.below(12) {
            0 => "имя",
            1 => "名前",
            2 => "añ€",
            _ => "node",
        };
        format!("{}/{name}-{:x}", self.parents[index], self.random.below(1 << 40))
    }

    fn data(&mut self) -> Option<Vec<u8>> {
        let length = match self.random.below(1000) {
            0..50 => return None,
            50..100 => 0,
            100..990 => self.random.below(200),
            990..999 => self.random.below(9000),
            _ => 100_000,
        };
        Some((0..length).map(|n| (n * 7 + length) as u8).collect())
    }

    fn acl(&mut self) -> Vec<(i32, String, String)> {
        let user = |n: u64| (((n % 31) + 1) as i32, "digest".to_owned(), format!("user{n}:имя{n}"));
        match self.random.below(4) {
            0 => vec![user(self.random.below(150))],
            1 => vec![
                (31, "world".to_owned(), "anyone".to_owned()),
                user(self.random.below(20)),
                (1, "ip".to_owned(), "10.0.0.0/8".to_owned()),
            ],
            _ => vec![(31, "world".to_owned(), "anyone".to_owned())],
        }
    }

    fn create(&mut self) {
        let (path, data, acl) = (self.path(), self.data(), self.acl());
        let acl: Vec<(i32, &str, &str)> = acl.iter().map(|(p, s, i)| (*p, s.as_str(), i.as_str())).collect();
        let data = data.as_deref();
        match self.random.below(20) {
            0 => self.send(CREATE, &create(&path, data, &acl, 1)),
            1 => self.send(CREATE_CONTAINER, &create(&path, data, &acl, 4)),
            2 => {
                let body = create(&path, data, &acl, 5);
                self.send(CREATE_TTL, &[&body[..], &3_600_000i64.to_be_bytes()].concat());
            }
            3..6 => self.send(CREATE2, &create(&path, data, &acl, 0)),
            _ => self.send(CREATE, &create(&path, data, &acl, 0)),
        }
        if self.random.below(30) == 0 && path.matches('/').count() < 8 {
            // It may be an ephemeral: then what is put below it fails, which is a transaction too.
            self.parents.push(path);
        } else {
            self.leaves.push(path);
        }
    }

    fn leaf(&mut self) -> String {
        match self.leaves.len() as u64 {
            0 => self.parents[0].clone(),
            count => self.leaves[self.random.below(count) as usize].clone(),
        }
    }

    fn set_data(&mut self) {
        let (path, data) = (self.leaf(), self.data());
        self.send(SET_DATA, &set_data(&path, data.as_deref()));
    }

    fn set_acl(&mut self) {
        let (path, acl) = (self.leaf(), self.acl());
        let acl: Vec<(i32, &str, &str)> = acl.iter().map(|(p, s, i)| (*p, s.as_str(), i.as_str())).collect();
        self.send(SET_ACL, &Out::new().string(&path).acls(&acl).int(-1).0);
    }

    fn delete(&mut self) {
        let path = self.leaf();
        self.send(DELETE, &Out::new().string(&path).int(-1).0);
    }

    fn sequential(&mut self) {
        let path = self.path();
        let open = [(31, "world", "anyone")];
        self.send(CREATE, &create(&path, Some(b"s"), &open, 2));
    }

    /// Two creates and a change of the first; one in three fails as a whole.
    fn multi(&mut self) {
        let (first, second) = (self.path(), self.path());
        let open = [(31, "world", "anyone")];
        let fails = self.random.below(3) == 0;
        let third = if fails { "/no/such/node" } else { &first };
        let header = |out: Out, op: i32| out.int(op).bool(false).int(-1);
        let mut out = header(Out::new(), CREATE).raw(&create(&first, None, &open, 0));
        out = header(out, CREATE2).raw(&create(&second, Some(b"2"), &open, 0));
        out = header(out, SET_DATA).raw(&set_data(third, Some(b"3")));
        self.send(MULTI, &out.int(-1).bool(true).int(-1).0);
        if !fails {
            self.leaves.extend([first, second]);
        }
    }

    /// Ends the session: its ephemerals go.
    pub fn close(mut self) {
        self.send(CLOSE, &[]);
        self.drain();
    }
}

fn create(path: &str, data: Option<&[u8]>, acl: &[(i32, &str, &str)], flags: i32) -> Vec<u8> {
    Out::new().string(path).buffer_or_null(data).acls(acl).int(flags).0
}

fn set_data(path: &str, data: Option<&[u8]>) -> Vec<u8> {
    Out::new().string(path).buffer_or_null(data).int(-1).0
}
