//! The trie at a million znodes: a get, sixteen gets side by side, a set with its share of a publish.
//!
//! 41-byte keys (a kind and a 40-byte path), 141-byte values (a full Stat and 100 bytes of data), mimalloc as in the
//! server. Bytes a znode: `cargo run --release -p ringkeeper-storage --example trie_figures`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use storage::trie::Trie;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ZNODES: usize = 1_000_000;
const VALUE: [u8; 141] = [7; 141];
const SIDE_BY_SIDE: usize = 16;
const SETS_PER_PUBLISH: usize = 100;

fn key(number: usize) -> Vec<u8> {
    format!("n/services/production/region-a/{number:010}").into_bytes()
}

/// Numbers in an order that no cache likes, the same in every run.
struct Scattered(usize);

impl Scattered {
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_add(1);
        (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % ZNODES
    }
}

fn trie(c: &mut Criterion) {
    let keys: Vec<Vec<u8>> = (0..ZNODES).map(key).collect();
    assert_eq!(keys[0].len(), 41);
    let mut trie = Trie::new(42);
    keys.iter().for_each(|key| trie.put(key, &[&VALUE]));
    let mut reader = trie.reader();
    let mut scattered = Scattered(0);

    let mut group = c.benchmark_group("trie/1M");
    group.measurement_time(Duration::from_secs(4)).sample_size(20);
    group.throughput(Throughput::Elements(1));
    group.bench_function("get", |bench| {
        bench.iter(|| {
            reader
                .get(black_box(&keys[scattered.next()]))
                .expect("it is there")
                .len()
        })
    });
    group.throughput(Throughput::Elements(SIDE_BY_SIDE as u64));
    group.bench_function("get_many/16", |bench| {
        bench.iter(|| {
            let asked: [&[u8]; SIDE_BY_SIDE] = std::array::from_fn(|_| &keys[scattered.next()][..]);
            let mut bytes = 0;
            reader.get_many(&asked, |_, value| bytes += value.expect("it is there").len());
            bytes
        })
    });
    group.throughput(Throughput::Elements(SETS_PER_PUBLISH as u64));
    group.bench_function("100 sets and a publish", |bench| {
        bench.iter(|| {
            for _ in 0..SETS_PER_PUBLISH {
                trie.put(&keys[scattered.next()], &[&VALUE]);
            }
            let version = trie.seal();
            reader.advance(&version);
            trie.reclaim(usize::MAX)
        })
    });
    group.finish();
}

criterion_group!(benches, trie);
criterion_main!(benches);
