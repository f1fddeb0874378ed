//! What the trie costs: bytes of memory a znode, and ns a get, a batch of gets, a set with its share of a publish.
//!
//! `cargo run --release -p ringkeeper-storage --example trie_figures [znodes]`: 40-byte paths under one byte of
//! kind, 141-byte values (a full Stat and 100 bytes of data), mimalloc, resident memory as the kernel counts it.

use std::time::Instant;

use storage::trie::Trie;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const VALUE: [u8; 141] = [7; 141];
const SETS_PER_PUBLISH: usize = 100;
/// While a snapshot runs: the load is steady, not a flood.
const SETS_PER_PUBLISH_HELD: usize = 10;
/// As the server's writer.
const RECLAIM_MIN: usize = 256;
const RECLAIM_SHARE: usize = 4;

fn key(number: usize) -> [u8; 41] {
    let mut key = *b"n/services/production/region-a/000000000\0";
    for (place, byte) in key[31..].iter_mut().enumerate() {
        *byte = b'0' + (number / 10usize.pow(9 - place as u32) % 10) as u8;
    }
    key
}

/// A cheap full-period walk over `count` numbers in an order that no cache likes.
fn scattered(step: usize, count: usize) -> usize {
    (step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % count
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc");
    let pages: usize = pages
        .split(' ')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .expect("resident pages");
    pages * 4096
}

fn main() {
    let count: usize = std::env::args()
        .nth(1)
        .map_or(1_000_000, |text| text.parse().expect("a count of znodes"));
    let before = resident_bytes();
    let mut trie = Trie::new(42);
    let start = Instant::now();
    (0..count).for_each(|number| trie.put(&key(number), &[&VALUE]));
    let each = |start: Instant, count: usize| start.elapsed().as_nanos() as f64 / count as f64;
    println!("put, new key        {:7.0} ns", each(start, count));
    let (resident, asked) = ((resident_bytes() - before) / count, trie.bytes() / count);
    println!("memory              {resident:7} B a znode resident, {asked} B asked for");

    let mut reader = trie.reader();
    let start = Instant::now();
    let found = (0..count)
        .filter(|step| reader.get(&key(scattered(*step, count))).is_some())
        .count();
    println!("get, scattered      {:7.0} ns", each(start, count));
    assert_eq!(found, count);

    let keys: Vec<_> = (0..count).map(|step| key(scattered(step, count))).collect();
    let start = Instant::now();
    let mut bytes = 0usize;
    for batch in keys.chunks(16) {
        let batch: Vec<&[u8]> = batch.iter().map(|key| &key[..]).collect();
        reader.get_many(&batch, |_, value| bytes += value.expect("every key is there").len());
    }
    println!("get_many, 16 a time {:7.0} ns", each(start, count));
    assert_eq!(bytes, count * VALUE.len());

    let start = Instant::now();
    for (step, key) in keys.iter().enumerate() {
        trie.put(key, &[&VALUE]);
        if step % SETS_PER_PUBLISH == 0 {
            let version = trie.seal();
            reader.advance(&version);
            trie.reclaim(16 * SETS_PER_PUBLISH);
        }
    }
    println!("set with publish    {:7.0} ns", each(start, count));

    for (held, frozen) in [("frozen", true), ("movable", false)] {
        let version = if frozen {
            reader.clone().freeze()
        } else {
            reader.clone()
        };
        let (sets, before) = (count / 10, trie.bytes());
        let start = Instant::now();
        for (step, key) in keys[..sets].iter().enumerate() {
            trie.put(key, &[&VALUE]);
            if step % SETS_PER_PUBLISH_HELD == 0 {
                let version = trie.seal();
                reader.advance(&version);
                trie.reclaim(RECLAIM_MIN + trie.retired_len() / RECLAIM_SHARE);
            }
        }
        let (took, grown) = (each(start, sets), trie.bytes() - before);
        println!(
            "set beside a version that is held, {held:7} {took:5.0} ns and {:4} B a set",
            grown / sets
        );
        let start = Instant::now();
        drop(version);
        trie.reclaim(usize::MAX);
        println!("let it go           {:7.0} ns a set", each(start, sets));
    }

    let start = Instant::now();
    let entries: Vec<_> = reader.iter().collect();
    println!("walk                {:7.0} ns", each(start, count));
    let start = Instant::now();
    let mut loaded = Trie::new(trie.seed());
    entries.iter().for_each(|(key, value)| loaded.put(key, &[value]));
    println!("load in trie order  {:7.0} ns", each(start, count));
    let start = Instant::now();
    drop((reader, trie));
    println!("drop                {:7.0} ns", each(start, count));
}
