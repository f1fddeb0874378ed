//! The whole request path without sockets: bytes in, reply bytes out, a write's batch logged to a file that is not
//! synced. A thousand znodes of 1 KB, as `zk-bench` lays out.
//!
//! `cargo bench --bench requests`; `-- --test` runs each once. The same loads are counted in instructions by
//! `instructions`; over sockets and with syncs they are `zk-bench run`'s.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringkeeper::server::socketless::{Socketless, request};
use ringkeeper::wire::acl::{Acl, write_list};
use ringkeeper::wire::jute::Writer;
use ringkeeper::wire::request::Op;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ZNODES: usize = 1000;
const DATA: [u8; 1024] = [b'x'; 1024];

fn path(number: usize) -> String {
    format!("/bench/znode-{:07}", number % ZNODES)
}

fn create(w: &mut Writer<'_>, path: &str, data: &[u8]) {
    w.text(path);
    w.buffer(Some(data));
    write_list(w, &[Acl::anyone(31)]);
    w.int(0);
}

fn set(w: &mut Writer<'_>, number: usize) {
    w.text(&path(number * 7));
    w.buffer(Some(&DATA));
    w.int(-1);
}

fn look(op: Op, path: &str) -> Vec<u8> {
    request(1, op, |w| {
        w.text(path);
        w.bool(false);
    })
}

fn laid_out(server: &mut Socketless) {
    let mut lay_out = |path: &str, data: &[u8]| assert_eq!(server.ask(Op::Create, |w| create(w, path, data)), 0);
    lay_out("/bench", b"");
    (0..ZNODES).for_each(|number| lay_out(&path(number), &DATA));
    lay_out("/family", b"");
    (0..100).for_each(|number| lay_out(&format!("/family/child-{number:04}"), b""));
}

fn reads(c: &mut Criterion, server: &mut Socketless) {
    let mut group = c.benchmark_group("requests/read");
    let pipelined: Vec<u8> = (0..16)
        .flat_map(|number| look(Op::GetData, &path(number * 61)))
        .collect();
    for (name, count, frames) in [
        ("ping", 1, request(-2, Op::Ping, |_| ())),
        ("exists", 1, look(Op::Exists, &path(500))),
        ("getData 1 KB", 1, look(Op::GetData, &path(500))),
        ("getData 1 KB, 16 at a time", 16, pipelined),
        ("getChildren of 100", 1, look(Op::GetChildren, "/family")),
        ("getChildren2 of 100", 1, look(Op::GetChildren2, "/family")),
    ] {
        group.throughput(Throughput::Elements(count));
        group.bench_function(name, |bench| {
            bench.iter(|| {
                server.feed(black_box(&frames));
                server.replies(|replies| black_box(replies).len())
            })
        });
    }
    group.finish();
}

fn writes(c: &mut Criterion, server: &mut Socketless) {
    let sets = |count: usize| -> Vec<u8> {
        let one = |number| request(1, Op::SetData, |w| set(w, number));
        (0..count).flat_map(one).collect()
    };
    let multi = request(1, Op::Multi, |w| {
        for number in 0..10 {
            w.int(Op::SetData as i32);
            w.bool(false);
            w.int(-1);
            set(w, number);
        }
        w.int(-1);
        w.bool(true);
        w.int(-1);
    });
    let churn: Vec<u8> = (0..16)
        .flat_map(|number| {
            let path = format!("/bench/new-{number:06}");
            let delete = request(1, Op::Delete, |w| {
                w.text(&path);
                w.int(-1);
            });
            [request(1, Op::Create, |w| create(w, &path, &DATA[..100])), delete]
        })
        .flatten()
        .collect();
    let mut group = c.benchmark_group("requests/write");
    for (name, count, frames) in [
        ("setData 1 KB, alone", 1, sets(1)),
        ("setData 1 KB, 32 at a time", 32, sets(32)),
        ("create and delete 100 B, 32 at a time", 32, churn),
        ("multi of 10 sets of 1 KB, 4 at a time", 4, multi.repeat(4)),
    ] {
        group.throughput(Throughput::Elements(count));
        group.sample_size(20).bench_function(name, |bench| {
            bench.iter(|| {
                server.feed(black_box(&frames));
                server.commit();
                server.replies(|replies| {
                    assert_eq!(replies[16..20], [0; 4], "the first of them is no error");
                    black_box(replies).len()
                })
            })
        });
    }
    group.finish();
}

fn requests(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut server = Socketless::below(directory.path()).expect("a server");
    laid_out(&mut server);
    reads(c, &mut server);
    writes(c, &mut server);
}

criterion_group!(benches, requests);
criterion_main!(benches);
