//! Scripts from a seed: every opcode a client may send, and what no client should.

use crate::peers::jute::Out;

use super::random::Random;
use super::run::SLOTS;
use super::script::{Body, Password, Piece, Request, Step, Zxid};
use super::words;

/// What a script may hold; the servers' configuration decides it.
#[derive(Clone, Copy, Debug)]
pub struct Taste {
    /// Steps before the cleaning.
    pub steps: usize,
    /// Sessions are let expire (the servers tick fast).
    pub expiry: bool,
    /// Several requests may be sent at once. Not where hard quotas are enforced: they look at what is applied, so
    /// pipelined writes may or may not overshoot.
    pub pipelines: bool,
}

/// The script of a seed. It ends with `Step::Clean`.
pub fn script(seed: u64, taste: Taste) -> Vec<Step> {
    let mut maker = Maker {
        random: Random::new(seed),
        xid: 0,
        taste,
        marks: 0,
    };
    let mut steps = Vec::new();
    maker.groundwork(&mut steps);
    while steps.len() < taste.steps {
        maker.step(&mut steps);
    }
    steps.push(Step::Clean);
    steps
}

struct Maker {
    random: Random,
    xid: i32,
    taste: Taste,
    marks: usize,
}

impl Maker {
    /// Most scripts begin with a few nodes, so that what follows meets something.
    fn groundwork(&mut self, steps: &mut Vec<Step>) {
        if self.random.chance(15) {
            return;
        }
        for path in ["/d", "/d/a", "/q", "/q/a", "/zookeeper/quota/d"] {
            if self.random.chance(85) {
                let open = Out::new().acls(&[(31, "world", "anyone")]).0;
                let body = Out::new().string(path).buffer(b"0").raw(&open).int(0).0;
                let request = self.request(1, body, format!("create {path}"));
                steps.push(Step::Requests {
                    slot: 0,
                    requests: vec![request],
                });
            }
        }
    }

    fn step(&mut self, steps: &mut Vec<Step>) {
        let slot = self.random.below(SLOTS);
        let step = match self.random.below(1000) {
            0..=14 => self.open(slot),
            15..=44 => self.attach(slot),
            45..=54 => Step::HangUp { slot },
            55..=62 => self.garbage(slot),
            63..=68 if self.taste.expiry => return self.expire(slot, steps),
            63..=103 if self.taste.pipelines => {
                let count = 2 + self.random.below(12);
                let requests = (0..count).map(|_| self.any_in_a_row()).collect();
                Step::Requests { slot, requests }
            }
            _ => Step::Requests {
                slot,
                requests: vec![self.any()],
            },
        };
        steps.push(step);
    }

    fn open(&mut self, slot: usize) -> Step {
        Step::Open {
            slot,
            timeout_ms: self.timeout(),
            password: self
                .random
                .of(&[Some(16), Some(0), Some(3), None])
                .map(|count| vec![7; count]),
            read_only: self.random.of(&[None, Some(false), Some(false), Some(true)]),
            last_zxid: self
                .random
                .of(&[Zxid::Zero, Zxid::Zero, Zxid::Ago(0), Zxid::Ago(3), Zxid::Future]),
        }
    }

    fn attach(&mut self, slot: usize) -> Step {
        let password = self.random.of(&[
            Password::Right,
            Password::Right,
            Password::Right,
            Password::Right,
            Password::Wrong,
            Password::Empty,
            Password::Null,
        ]);
        // A wrong password shown while another connection holds the session is a case of its own (differential.rs).
        let other = matches!(password, Password::Right) && self.random.chance(50);
        let of = if other { self.random.below(SLOTS) } else { slot };
        let last_zxid = self
            .random
            .of(&[Zxid::Zero, Zxid::Ago(0), Zxid::Ago(0), Zxid::Ago(5), Zxid::Future]);
        let last_zxid = if other { Zxid::Zero } else { last_zxid };
        Step::Attach {
            slot,
            of,
            password,
            timeout_ms: self.timeout(),
            last_zxid,
        }
    }

    /// Long enough for a whole script even on a busy machine; the servers' minimum is 15 s, their maximum 60 s.
    fn timeout(&mut self) -> i32 {
        if self.taste.expiry {
            // There the minimum is short, and no session but the chosen one may expire.
            return self.random.of(&[30_000, 40_000, 60_000, 60_001, i32::MAX]);
        }
        self.random.of(&[
            30_000,
            30_000,
            20_000,
            15_000,
            60_000,
            60_001,
            i32::MAX,
            0,
            -1,
            1,
            14_999,
        ])
    }

    fn garbage(&mut self, slot: usize) -> Step {
        let header = Out::new().int(1).int(4).0;
        let bytes = match self.random.below(9) {
            0 => Out::new().int(-1).0,
            1 => Out::new().int(0).0,
            2 => Out::new().int(i32::MIN).0,
            3 => Out::new().int(1_048_576).raw(&header).0,
            4 => Out::new().int(i32::MAX).0,
            5 => Out::new().buffer(&header[..7]).0,
            6 => Out::new().buffer(&header[..4]).0,
            7 => Out::new().buffer(&[0]).0,
            _ => Out::new()
                .int(100)
                .string("digest")
                .0
                .into_iter()
                .chain([0xff; 4])
                .collect(),
        };
        let fresh = self.random.chance(40);
        // The last one is a whole auth packet that does not decode.
        let auth = Out::new()
            .buffer(&Out::new().int(-4).int(100).int(0).int(50).raw(b"short").0)
            .0;
        let bytes = if bytes.len() > 12 && !fresh && bytes[3] == 100 {
            auth
        } else {
            bytes
        };
        // Short frames on a fresh connection are waited for or refused by their length alone.
        let bytes = if fresh && bytes.len() > 12 {
            Out::new().int(-5).0
        } else {
            bytes
        };
        Step::Garbage { slot, fresh, bytes }
    }

    fn expire(&mut self, slot: usize, steps: &mut Vec<Step>) {
        let via = (slot + 1 + self.random.below(SLOTS - 1)) % SLOTS;
        self.marks += 1;
        let path = format!("/mark{}", self.marks);
        steps.push(Step::Open {
            slot,
            timeout_ms: 1,
            password: Some(vec![0; 16]),
            read_only: Some(false),
            last_zxid: Zxid::Zero,
        });
        let open = Out::new().acls(&[(31, "world", "anyone")]).0;
        let extra = 1 + self.random.below(2);
        for path in [path.clone(), words::path(&mut self.random)].iter().take(extra) {
            let body = Out::new().string(path).buffer(b"e").raw(&open).int(1).0;
            let request = self.request(1, body, format!("create {path:?} ephemeral"));
            steps.push(Step::Requests {
                slot,
                requests: vec![request],
            });
        }
        steps.push(Step::Expire { slot, via, path });
    }

    fn request(&mut self, op: i32, body: impl Into<Body>, note: String) -> Request {
        self.xid += 1;
        let odd = self.random.chance(1);
        let xid = if odd {
            self.random.of(&[0, -7, -3, i32::MIN, i32::MAX])
        } else {
            self.xid
        };
        Request {
            xid,
            op,
            body: body.into(),
            note,
        }
    }

    /// A request that may stand among others on the wire: credentials are read out of turn (auth and sasl are answered
    /// where they are received), and what follows the end of a connection may or may not be answered.
    fn any_in_a_row(&mut self) -> Request {
        loop {
            let request = self.any();
            let known = matches!(request.op, 1..=9 | 11 | 12 | 14..=19 | 21 | 22 | 101 | 103..=107);
            // An undecodable multi takes a zxid in Java (accepted.rs): alone in its step it disturbs no other answer.
            let odd = [
                "not for a multi",
                "cut to",
                "flags=5",
                "flags=6",
                "flags=7",
                "flags=99",
                "flags=-1",
                "null",
            ];
            let doubtful = request.op == 14 && odd.iter().any(|each| request.note.contains(each));
            if known && !doubtful {
                return request;
            }
        }
    }

    fn any(&mut self) -> Request {
        let mut request = match self.random.below(1000) {
            0..=199 => self.create(),
            200..=279 => self.delete(),
            280..=379 => self.set_data(),
            380..=429 => self.set_acl(),
            430..=549 => self.multi(),
            550..=589 => self.multi_read(),
            590..=799 => self.read(),
            800..=869 => self.watch(),
            870..=894 => self.set_watches(),
            895..=929 => self.auth(),
            930..=937 => self.request(-11, vec![], "closeSession".into()),
            938..=943 => self.reconfig(),
            944..=949 => self.sasl(),
            950..=957 => self.unknown(),
            _ => self.small(),
        };
        if self.random.chance(3) {
            self.spoil(&mut request);
        }
        request
    }

    /// Cuts the body short, or adds bytes that must be ignored.
    fn spoil(&mut self, request: &mut Request) {
        // An auth packet that does not decode closes the connection and is among the garbage; -11 has no body.
        let [Piece::Bytes(bytes)] = request.body.0.as_mut_slice() else {
            return;
        };
        if bytes.is_empty() || matches!(request.op, 100 | 102) {
            return;
        }
        if self.random.chance(30) {
            bytes.extend_from_slice(b"trailing");
            request.note += " + trailing bytes";
        } else {
            let kept = self.random.below(bytes.len());
            bytes.truncate(kept);
            request.note += &format!(" cut to {kept} bytes");
        }
    }

    fn create_body(&mut self, op: i32) -> (Vec<u8>, String) {
        let flags = match (op, self.random.below(100)) {
            (21, 0..=79) => self.random.of(&[5, 6]),
            (19, 0..=79) => 4,
            (_, 0..=89) => self.random.of(&[0, 0, 0, 0, 1, 1, 1, 2, 2, 3]),
            _ => self.random.of(&[0, 4, 5, 6, 7, 99, -1]),
        };
        let path = words::path_to_create(&mut self.random, flags);
        let data = words::data(&mut self.random, &path);
        let (acl, acl_text) = words::acl(&mut self.random);
        let mut out = Out::new()
            .string(&path)
            .buffer_or_null(data.as_deref())
            .raw(&acl)
            .int(flags);
        let mut note = format!(
            "create {path:?} data={} flags={flags} acl={acl_text}",
            shown(data.as_deref())
        );
        if op == 21 {
            let ttl = self
                .random
                .of(&[60_000_000, 1 << 39, (1 << 40) - 1, 1 << 40, 0, -1, i64::MIN, i64::MAX]);
            // Java takes a plain flag with a negative ttl for what it says (EphemeralType#validateTTL looks at TTL modes
            // only) and makes a node that was asked for as TTL node without one; ours refuses (-8). Not generated, as the
            // node would disturb all that follows.
            let ttl = if matches!(flags, 5 | 6) { ttl } else { ttl.max(0) };
            out = out.long(ttl);
            note += &format!(" ttl={ttl}");
        }
        (out.0, note)
    }

    fn create(&mut self) -> Request {
        let op = self.random.of(&[1, 1, 1, 1, 15, 15, 15, 19, 21]);
        let (body, note) = self.create_body(op);
        self.request(op, body, note)
    }

    fn delete_body(&mut self) -> (Vec<u8>, String) {
        let (path, version) = (words::path(&mut self.random), words::version(&mut self.random));
        (
            Out::new().string(&path).int(version).0,
            format!("delete {path:?} version={version}"),
        )
    }

    fn delete(&mut self) -> Request {
        let (body, note) = self.delete_body();
        self.request(2, body, note)
    }

    fn set_data_body(&mut self) -> (Vec<u8>, String) {
        let path = words::path(&mut self.random);
        let (data, version) = (words::data(&mut self.random, &path), words::version(&mut self.random));
        let note = format!("setData {path:?} data={} version={version}", shown(data.as_deref()));
        (
            Out::new().string(&path).buffer_or_null(data.as_deref()).int(version).0,
            note,
        )
    }

    fn set_data(&mut self) -> Request {
        let (body, note) = self.set_data_body();
        self.request(5, body, note)
    }

    fn set_acl(&mut self) -> Request {
        let (path, version) = (words::path(&mut self.random), words::version(&mut self.random));
        let (acl, text) = words::acl(&mut self.random);
        let body = Out::new().string(&path).raw(&acl).int(version).0;
        self.request(7, body, format!("setACL {path:?} acl={text} version={version}"))
    }

    fn multi(&mut self) -> Request {
        let count = self.random.of(&[0, 1, 1, 2, 2, 3, 3, 4, 6]);
        let (mut out, mut notes) = (Out::new(), Vec::new());
        for _ in 0..count {
            let op = match self.random.below(100) {
                0..=96 => self.random.of(&[1, 1, 1, 15, 19, 21, 2, 2, 5, 5, 5, 13, 13]),
                _ => self.random.of(&[7, 9, 3, 4, 20, 16, 99, 0]),
            };
            let (body, note) = match op {
                1 | 15 | 19 | 21 => self.create_body(op),
                2 => self.delete_body(),
                5 => self.set_data_body(),
                13 => {
                    let (body, note) = self.delete_body();
                    (body, note.replace("delete", "check"))
                }
                _ => (Out::new().string("/d").bool(false).0, "not for a multi".into()),
            };
            out = out.int(op).bool(false).int(-1).raw(&body);
            notes.push(format!("{op}: {note}"));
        }
        let body = out.int(-1).bool(true).int(-1).0;
        self.request(14, body, format!("multi [{}]", notes.join(", ")))
    }

    fn multi_read(&mut self) -> Request {
        let count = self.random.of(&[0, 1, 2, 3, 5]);
        let (mut out, mut notes) = (Out::new(), Vec::new());
        for _ in 0..count {
            let op = self.random.of(&[4, 8]);
            let (path, watch) = (words::path(&mut self.random), self.random.chance(30));
            out = out.int(op).bool(false).int(-1).string(&path).bool(watch);
            notes.push(format!("{op}: {path:?} watch={watch}"));
        }
        let body = out.int(-1).bool(true).int(-1).0;
        self.request(22, body, format!("multiRead [{}]", notes.join(", ")))
    }

    fn read(&mut self) -> Request {
        let op = self.random.of(&[3, 3, 3, 4, 4, 4, 8, 8, 12, 12, 6, 104, 103]);
        let path = words::path(&mut self.random);
        let out = Out::new().string(&path);
        match op {
            6 => self.request(6, out.0, format!("getACL {path:?}")),
            104 => self.request(104, out.0, format!("getAllChildrenNumber {path:?}")),
            103 => {
                let prefix = self.random.of(&["/", "", "/d", "/q", " ", "/d/a", "x"]);
                self.request(103, Out::new().string(prefix).0, format!("getEphemerals {prefix:?}"))
            }
            _ => {
                let watch = self.random.chance(50);
                let name = match op {
                    3 => "exists",
                    4 => "getData",
                    8 => "getChildren",
                    _ => "getChildren2",
                };
                self.request(op, out.bool(watch).0, format!("{name} {path:?} watch={watch}"))
            }
        }
    }

    fn watch(&mut self) -> Request {
        let path = words::path(&mut self.random);
        let op = self.random.of(&[106, 106, 106, 17, 17, 18, 18]);
        let number = match op {
            106 => self.random.of(&[0, 0, 0, 1, 1, 1, 2, -1]),
            _ => self.random.of(&[1, 2, 3, 3, 4, 5, 0, 6]),
        };
        let name = match op {
            106 => "addWatch mode",
            17 => "checkWatches type",
            _ => "removeWatches type",
        };
        self.request(
            op,
            Out::new().string(&path).int(number).0,
            format!("{name}={number} {path:?}"),
        )
    }

    fn set_watches(&mut self) -> Request {
        let (op, lists) = self.random.of(&[(101, 3), (105, 5)]);
        let zxid = self.random.of(&[
            Zxid::Zero,
            Zxid::Ago(0),
            Zxid::Ago(2),
            Zxid::Ago(8),
            Zxid::Ago(20),
            Zxid::Future,
        ]);
        let mut out = Out::new();
        let mut notes = Vec::new();
        for index in 0..lists {
            // Java reads a null list only when it comes to it (DataTree#setWatches), so that lists before it are
            // registered and the answer is an error. Ours refuses the whole; only a null in front is the same.
            if index == 0 && self.random.chance(4) {
                out = out.null();
                notes.push("null".into());
                continue;
            }
            let count = self.random.of(&[0, 0, 1, 1, 2, 3]);
            let paths: Vec<String> = (0..count).map(|_| words::path(&mut self.random)).collect();
            out = out.strings(&paths);
            notes.push(format!("{paths:?}"));
        }
        let body = Body(vec![Piece::Zxid(zxid), Piece::Bytes(out.0)]);
        let mut request = self.request(op, body, format!("setWatches since {zxid:?} {}", notes.join(" ")));
        request.xid = -8;
        request
    }

    fn auth(&mut self) -> Request {
        let (scheme, auth) = words::credentials(&mut self.random);
        let body = Out::new().int(0).string(scheme).buffer_or_null(auth.as_deref()).0;
        let mut request = self.request(100, body, format!("auth {scheme} {}", shown(auth.as_deref())));
        request.xid = -4;
        request
    }

    fn reconfig(&mut self) -> Request {
        let body = Out::new().string("server.2=127.0.0.1:1:2;3").null().null().long(-1).0;
        self.request(16, body, "reconfig".into())
    }

    fn sasl(&mut self) -> Request {
        self.request(102, Out::new().buffer(b"token").0, "sasl".into())
    }

    fn unknown(&mut self) -> Request {
        let op = self
            .random
            .of(&[10, 23, 99, 108, 1000, -2, i32::MAX, i32::MIN, 0, -1, 13]);
        self.request(op, Out::new().string("/d").int(-1).0, "no such request".into())
    }

    fn small(&mut self) -> Request {
        match self.random.below(4) {
            0 => {
                let mut ping = self.request(11, vec![], "ping".into());
                ping.xid = self.random.of(&[-2, -2, 5]);
                ping
            }
            1 => self.request(107, vec![], "whoAmI".into()),
            2 => {
                let path = words::path(&mut self.random);
                self.request(9, Out::new().string(&path).0, format!("sync {path:?}"))
            }
            _ => {
                let op = self.random.of(&[3, 4, 6, 8, 9, 12, 103, 104, 1, 2, 5, 7, 106, 17, 18]);
                self.request(op, Out::new().null().int(0).int(0).int(0).0, "null path".into())
            }
        }
    }
}

fn shown(data: Option<&[u8]>) -> String {
    match data {
        None => "null".into(),
        Some(data) if data.len() <= 80 => format!("{:?}", String::from_utf8_lossy(data)),
        Some(data) => format!("{} bytes", data.len()),
    }
}
