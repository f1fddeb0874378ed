//! What one request costs without sockets and disks: decoding, a read from a view, a write through the desk.
//!
//! `cargo bench --bench requests`. The tree holds 100,000 znodes with 40-byte paths and 100 bytes of data.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ringkeeper::base::Zxid;
use ringkeeper::replica::{Log, Now, Origin, Replica, Settings, WriteRequest, reap::ReapSettings};
use ringkeeper::tree::{Features, Tree};
use ringkeeper::wire::acl::write_list;
use ringkeeper::wire::acl::{Acl, Id};
use ringkeeper::wire::jute::Writer;
use ringkeeper::wire::reply::{ReplyHeader, write_data};
use ringkeeper::wire::request::{Op, Request, RequestHeader};

const NODES: u32 = 100_000;
const NOW: Now = Now {
    ms: 1,
    wall_ms: 1_700_000_000_000,
};

/// A log that is durable at once.
#[derive(Default)]
struct Nowhere(Zxid);

impl Log for Nowhere {
    fn append(&mut self, zxid: Zxid, payload: &[u8]) {
        black_box(payload);
        self.0 = zxid;
    }
}

fn path(index: u32) -> String {
    format!("/bench/a-parent-of-some-length/node-{index:06}")
}

fn body(fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    fill(&mut Writer::new(&mut bytes));
    bytes
}

fn create(path: &str, data: &[u8]) -> Vec<u8> {
    body(|w| {
        w.text(path);
        w.buffer(Some(data));
        write_list(w, &[Acl::anyone(31)]);
        w.int(0);
    })
}

fn set(path: &str, data: &[u8]) -> Vec<u8> {
    body(|w| {
        w.text(path);
        w.buffer(Some(data));
        w.int(-1);
    })
}

struct Desk {
    replica: Replica,
    log: Nowhere,
    session: i64,
    ids: Arc<[Id]>,
}

const ORIGIN: Origin = Origin {
    core: 0,
    connection: 0,
    generation: 0,
};

impl Desk {
    fn filled() -> Desk {
        let settings = Settings {
            tick_ms: 2000,
            enforce_quota: false,
            reconfig_enabled: false,
            reap: ReapSettings {
                interval_ms: 60_000,
                per_minute_max: 10_000,
                never_used_ms: 0,
            },
            server_id: 1,
        };
        let tree = Tree::new(
            7,
            Features {
                digest: true,
                ..Features::default()
            },
        );
        let mut desk = Desk {
            replica: Replica::new(tree, settings, NOW),
            log: Nowhere::default(),
            session: 0,
            ids: Arc::new([Id::new("ip", "127.0.0.1")]),
        };
        desk.replica
            .open_session(ORIGIN, 30_000, Default::default(), NOW, &mut desk.log);
        desk.publish();
        desk.session = desk
            .replica
            .sessions()
            .due()
            .into_iter()
            .next()
            .expect("an open session")
            .1[0];
        for parent in ["/bench", "/bench/a-parent-of-some-length"] {
            desk.write(Op::Create, create(parent, b""));
        }
        for index in 0..NODES {
            desk.write(Op::Create, create(&path(index), &[b'x'; 100]));
            if index % 100 == 0 {
                desk.publish();
            }
        }
        desk.publish();
        desk
    }

    fn write(&mut self, op: Op, body: Vec<u8>) {
        let ids = Arc::clone(&self.ids);
        let request = WriteRequest {
            origin: ORIGIN,
            session: self.session,
            xid: 1,
            op,
            body: body.into(),
            ids,
            behind_reads: false,
        };
        self.replica.write(&request, NOW, &mut self.log);
    }

    fn publish(&mut self) {
        self.replica.seal();
        black_box(self.replica.durable(self.log.0));
        self.replica.reclaim(10_000);
    }
}

fn requests(c: &mut Criterion) {
    let mut desk = Desk::filled();
    let view = desk.replica.view();
    assert!(view.totals().nodes > NODES as u64, "the benchmark's tree is filled");
    let mut index = 0;
    let mut next = || {
        index = (index + 7919) % NODES;
        path(index)
    };

    let frame = {
        let mut frame = body(|w| {
            w.int(1);
            w.int(Op::GetData as i32);
        });
        frame.extend(body(|w| {
            w.text(&path(5));
            w.bool(false);
        }));
        frame
    };
    c.bench_function("decode getData", |b| {
        b.iter(|| {
            let (header, body) = RequestHeader::split(black_box(&frame)).unwrap();
            black_box(Request::read(Op::from_code(header.code).unwrap(), body).unwrap());
        })
    });

    let mut out = Vec::with_capacity(4096);
    c.bench_function("answer getData", |b| {
        b.iter_batched(
            &mut next,
            |path| {
                out.clear();
                let node = view.node(&path).unwrap();
                ReplyHeader {
                    xid: 1,
                    zxid: 1,
                    err: 0,
                }
                .append(&mut out, |w| write_data(w, view.data(&path, &node), &view.stat(&node)));
                black_box(out.len())
            },
            BatchSize::SmallInput,
        )
    });
    drop(view);

    c.bench_function("100 setData and publish", |b| {
        b.iter_batched(
            || (0..100).map(|_| set(&next(), &[b'y'; 100])).collect::<Vec<_>>(),
            |bodies| {
                for body in bodies {
                    desk.write(Op::SetData, body);
                }
                desk.publish();
            },
            BatchSize::SmallInput,
        )
    });
}

criterion_group!(benches, requests);
criterion_main!(benches);
