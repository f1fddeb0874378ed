//! The tree alone, with 100,000 znodes of 100 bytes: reads from a view, and changes of the head with their publish.
//!
//! `cargo bench --bench tree`; `-- --test` runs each once. The map below it has a bench of its own, `trie`, at a million
//! znodes.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringkeeper::tree::{Features, Tree, View};
use ringkeeper::wire::acl::Acl;
use ringkeeper::wire::jute::Writer;
use ringkeeper::wire::txn::{Change, CreateTxn, Txn, TxnHeader};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ZNODES: usize = 100_000;
const PER_PUBLISH: usize = 100;

/// Numbers in an order that no cache likes, the same in every run.
fn scattered(step: &mut usize) -> usize {
    *step = step.wrapping_add(1);
    (step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % ZNODES
}

fn path(number: usize) -> String {
    format!("/bench/a-parent-of-some-length/node-{number:06}")
}

fn create(path: String, data: &[u8]) -> Change {
    Change::Create {
        path,
        data: Some(data.to_vec()),
        acl: vec![Acl::anyone(31)],
        kind: CreateTxn::Plain { ephemeral: false },
        parent_cversion: -1,
    }
}

fn set(path: String) -> Change {
    Change::SetData {
        path,
        data: Some(vec![b'y'; 100]),
        version: 1,
    }
}

/// A head with its zxid, and a view as a core has it.
struct Head {
    tree: Tree,
    view: View,
    zxid: i64,
}

impl Head {
    fn filled() -> Head {
        let features = Features {
            digest: true,
            ..Features::default()
        };
        let mut tree = Tree::new(7, features);
        let view = tree.view();
        let mut head = Head { tree, view, zxid: 0 };
        ["/bench", "/bench/a-parent-of-some-length", "/family"]
            .into_iter()
            .for_each(|parent| head.apply(create(parent.into(), b"")));
        (0..100).for_each(|child| head.apply(create(format!("/family/child-{child:04}"), b"")));
        (0..ZNODES).for_each(|number| head.apply(create(path(number), &[b'x'; 100])));
        head.publish();
        assert_eq!(head.view.totals().nodes as usize, ZNODES + 4 + 3 + 100, "all are there");
        head
    }

    fn apply(&mut self, change: Change) {
        self.zxid += 1;
        let header = TxnHeader {
            session: 1,
            cxid: 1,
            zxid: self.zxid,
            time_ms: 1_700_000_000_000,
        };
        let mut fired = Vec::new();
        black_box(self.tree.apply(&header, &Txn::Change(change), &mut fired));
        assert_eq!(fired.len(), 1, "something happened");
    }

    fn publish(&mut self) {
        let version = self.tree.seal();
        self.view.advance(&version);
        self.tree.reclaim(usize::MAX);
    }
}

fn reads(c: &mut Criterion, head: &Head) {
    let paths: Vec<String> = (0..ZNODES).map(path).collect();
    let (view, mut step) = (&head.view, 0);
    let mut group = c.benchmark_group("tree/100k");
    group.bench_function("a node, its data and Stat", |bench| {
        bench.iter(|| {
            let path = &paths[scattered(&mut step)];
            let node = view.node(black_box(path)).expect("it is there");
            (view.data(path, &node).map(<[u8]>::len), view.stat(&node))
        })
    });
    let mut out = Vec::with_capacity(4096);
    group.throughput(Throughput::Elements(100));
    group.bench_function("100 children", |bench| {
        bench.iter(|| {
            out.clear();
            let node = view.node("/family").expect("it is there");
            view.write_children("/family", &node, &mut Writer::new(&mut out));
            out.len()
        })
    });
    group.finish();
}

fn changes(c: &mut Criterion, head: &mut Head) {
    let mut step = 0;
    let mut group = c.benchmark_group("tree/100k");
    group.throughput(Throughput::Elements(PER_PUBLISH as u64));
    group.bench_function("100 setData and a publish", |bench| {
        bench.iter(|| {
            (0..PER_PUBLISH).for_each(|_| head.apply(set(path(scattered(&mut step)))));
            head.publish();
        })
    });
    group.bench_function("50 creates, 50 deletes and a publish", |bench| {
        bench.iter(|| {
            let new = |number| format!("/bench/new-{number:06}");
            (0..PER_PUBLISH / 2).for_each(|number| head.apply(create(new(number), b"")));
            (0..PER_PUBLISH / 2).for_each(|number| head.apply(Change::Delete { path: new(number) }));
            head.publish();
        })
    });
    group.bench_function("100 setData taken back", |bench| {
        bench.iter(|| {
            let checkpoint = head.tree.checkpoint();
            (0..PER_PUBLISH).for_each(|_| head.apply(set(path(scattered(&mut step)))));
            head.tree.roll_back(checkpoint);
        })
    });
    group.finish();
}

fn tree(c: &mut Criterion) {
    let mut head = Head::filled();
    reads(c, &head);
    changes(c, &mut head);
}

criterion_group!(benches, tree);
criterion_main!(benches);
