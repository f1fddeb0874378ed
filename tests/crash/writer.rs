//! One client under load: it keeps a window of unanswered writes until the server is gone.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::peers::jute::Out;
use crate::peers::{Attach, RawClient, Received};

use super::ledger::{Ledger, Write};

/// Unanswered writes at a time.
const WINDOW: usize = 16;
/// Names in play; few, so that creates, sets and deletes meet.
const NAMES: u32 = 40;

/// A writer and its log.
pub struct Writer {
    address: SocketAddr,
    ledger: Ledger,
    random: u64,
}

impl Writer {
    /// A writer that goes on where the ledger stands.
    pub fn new(address: SocketAddr, ledger: Ledger, seed: u64) -> Self {
        Self {
            address,
            ledger,
            random: seed | 1,
        }
    }

    /// Writes until the connection ends; the ledger then says what was sent and acknowledged.
    pub fn run(mut self) -> Ledger {
        let Ok(mut client) = RawClient::dial(self.address) else {
            return self.ledger;
        };
        let attach = Attach {
            timeout_ms: 400,
            ..Attach::default()
        };
        if !matches!(client.handshake(&attach), Received::Got(_)) {
            return self.ledger;
        }
        if !self.prepare(&mut client) {
            return self.ledger;
        }
        loop {
            while self.ledger.sent.len() < self.ledger.acknowledged + WINDOW {
                let write = self.choose();
                let (op, body) = request(&self.ledger.root(), &write);
                client.send(self.ledger.sent.len() as i32 + 1, op, &body);
                self.ledger.sent.push(write);
            }
            match client.packet() {
                Received::Got(reply) => {
                    self.ledger.acknowledged += 1;
                    assert_eq!(reply.xid as usize, self.ledger.acknowledged, "a reply out of order");
                    self.ledger.note_zxid(reply.zxid);
                }
                Received::Closed => return self.ledger,
                Received::Silence => panic!("10 s without an answer from a live server"),
            }
        }
    }

    /// The session's ephemeral, and once the nodes that multis touch. False when the server went first; then what is
    /// there is found again in the next round.
    fn prepare(&mut self, client: &mut RawClient) -> bool {
        let root = self.ledger.root();
        let mut paths = vec![(self.ledger.ephemeral(), 1)];
        if !self.ledger.prepared {
            paths.extend([
                (root.clone(), 0),
                (format!("{root}/left"), 0),
                (format!("{root}/right"), 0),
            ]);
        }
        for (path, flags) in paths {
            client.send(-9, 1, &create(&path, b"0", flags));
            let Received::Got(reply) = client.packet() else {
                return false;
            };
            assert!(matches!(reply.err, 0 | -110), "create {path}: {}", reply.err);
            self.ledger.note_zxid(reply.zxid);
        }
        if !self.ledger.prepared {
            let zero = || ("0".to_string(), 0);
            self.ledger
                .found(BTreeMap::from([("left".into(), zero()), ("right".into(), zero())]));
        }
        true
    }

    fn below(&mut self, end: u32) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 20) as u32 % end
    }

    fn choose(&mut self) -> Write {
        let (number, value) = (self.below(NAMES), self.below(1_000_000));
        // Sequential nodes are never deleted: a few hundred of them are enough for a test.
        let crowded = self.ledger.nodes().len() > 600;
        match self.below(100) {
            0..=29 => Write::Create(number),
            30..=54 => Write::Set(number, value),
            55..=69 => Write::Delete(number),
            70..=74 if !crowded => Write::Sequential,
            75..=94 => Write::Both(value),
            _ => Write::Failing,
        }
    }
}

fn create(path: &str, data: &[u8], flags: i32) -> Vec<u8> {
    Out::new()
        .string(path)
        .buffer(data)
        .acls(&[(31, "world", "anyone")])
        .int(flags)
        .0
}

/// Opcode and body of a write.
fn request(root: &str, write: &Write) -> (i32, Vec<u8>) {
    let name = |number: &u32| format!("{root}/n{number}");
    let set = |out: Out, path: &str, data: &str| {
        out.int(5)
            .bool(false)
            .int(-1)
            .string(path)
            .buffer(data.as_bytes())
            .int(-1)
    };
    let end = |out: Out| out.int(-1).bool(true).int(-1).0;
    match write {
        Write::Create(number) => (1, create(&name(number), number.to_string().as_bytes(), 0)),
        Write::Set(number, value) => (
            5,
            Out::new()
                .string(&name(number))
                .buffer(value.to_string().as_bytes())
                .int(-1)
                .0,
        ),
        Write::Delete(number) => (2, Out::new().string(&name(number)).int(-1).0),
        Write::Sequential => (1, create(&format!("{root}/q-"), b"", 2)),
        Write::Both(value) => {
            let left = set(Out::new(), &format!("{root}/left"), &value.to_string());
            (14, end(set(left, &format!("{root}/right"), &value.to_string())))
        }
        Write::Failing => {
            let left = set(Out::new(), &format!("{root}/left"), "never");
            (
                14,
                end(left.int(13).bool(false).int(-1).string(&format!("{root}/none")).int(0)),
            )
        }
    }
}
