//! The codec alone: requests decoded, replies and transactions encoded and decoded, with 1 KB of data.
//!
//! `cargo bench --bench codec`; `-- --test` runs each once. Instruction counts, which no other load disturbs, are in
//! `instructions`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringkeeper::server::socketless::request;
use ringkeeper::wire::acl::{Acl, write_list};
use ringkeeper::wire::frame::{Front, front};
use ringkeeper::wire::jute::Writer;
use ringkeeper::wire::reply::{OpResult, ReplyHeader, WriteReply, write_data};
use ringkeeper::wire::request::{Op, Request, RequestHeader};
use ringkeeper::wire::stat::Stat;
use ringkeeper::wire::txn::{Change, Txn, TxnHeader};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PATH: &str = "/bench/a-parent-of-some-length/node-000042";
const DATA: [u8; 1024] = [b'x'; 1024];

fn set(w: &mut Writer<'_>) {
    w.text(PATH);
    w.buffer(Some(&DATA));
    w.int(-1);
}

/// Frames as clients send them.
fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let look = |op| {
        request(1, op, |w| {
            w.text(PATH);
            w.bool(false);
        })
    };
    let create = request(1, Op::Create, |w| {
        w.text(PATH);
        w.buffer(Some(&DATA));
        write_list(w, &[Acl::anyone(31)]);
        w.int(0);
    });
    let multi = request(1, Op::Multi, |w| {
        for _ in 0..10 {
            w.int(Op::SetData as i32);
            w.bool(false);
            w.int(-1);
            set(w);
        }
        w.int(-1);
        w.bool(true);
        w.int(-1);
    });
    vec![
        ("ping", request(-2, Op::Ping, |_| ())),
        ("getData", look(Op::GetData)),
        ("setData", request(1, Op::SetData, set)),
        ("create", create),
        ("multi of 10 sets", multi),
    ]
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/decode");
    for (name, frame) in requests() {
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let Front::Whole { frame, .. } = front(black_box(&frame), 1 << 20) else {
                    panic!("the frame is whole")
                };
                let (header, body) = RequestHeader::split(frame).expect("it has a header");
                let op = Op::from_code(header.code).expect("it is known");
                black_box(Request::read(op, body).expect("it is well formed"));
            })
        });
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/encode");
    let mut out = Vec::with_capacity(64 << 10);
    let stat = Stat::default();
    group.bench_function("getData's reply", |bench| {
        bench.iter(|| {
            out.clear();
            let header = ReplyHeader {
                xid: 1,
                zxid: 1,
                err: 0,
            };
            header.append(&mut out, |w| write_data(w, Some(black_box(&DATA)), &stat))
        })
    });
    let multi = WriteReply::Multi(vec![OpResult::SetData(stat); 10]);
    for (name, reply) in [
        ("setData's reply", WriteReply::Stat(stat)),
        ("the reply to a multi of 10 sets", multi),
    ] {
        group.bench_function(name, |bench| {
            bench.iter(|| {
                out.clear();
                black_box(&reply).append(&mut out, 1, 1)
            })
        });
    }
    group.finish();
}

fn transactions(c: &mut Criterion) {
    let header = TxnHeader {
        session: 1,
        cxid: 2,
        zxid: 3,
        time_ms: 4,
    };
    let set = Change::SetData {
        path: PATH.into(),
        data: Some(DATA.to_vec()),
        version: 1,
    };
    let mut group = c.benchmark_group("codec/transaction");
    for (name, txn) in [
        ("setData", Txn::Change(set.clone())),
        ("multi of 10 sets", Txn::Multi(vec![set; 10])),
    ] {
        let mut out = Vec::with_capacity(64 << 10);
        txn.append(&header, Some(7), &mut out);
        group.throughput(Throughput::Bytes(out.len() as u64));
        let bytes = out.clone();
        group.bench_function(format!("encode {name}"), |bench| {
            bench.iter(|| {
                out.clear();
                black_box(&txn).append(&header, Some(7), &mut out);
            })
        });
        group.bench_function(format!("decode {name}"), |bench| {
            bench.iter(|| black_box(Txn::read(black_box(&bytes)).expect("it was just written")))
        });
    }
    group.finish();
}

criterion_group!(benches, decode, encode, transactions);
criterion_main!(benches);
