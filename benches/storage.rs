//! The storage engine on this machine's disk, each figure with its limit beside it.
//!
//! | bench | its limit |
//! |---|---|
//! | append, no disk | crc32c, and memcpy, of equal bytes |
//! | a batch of 1, 10, 100, 1,000 transactions made durable | a write of equal bytes and fdatasync, on a file laid out ahead |
//! | replay of 100,000 transactions | crc32c of the log's bytes |
//! | a snapshot of 200,000 entries written, and loaded | zstd of equal bytes, packed and unpacked |
//!
//! `cargo bench --bench storage`; `-- --test` runs each once. The directory is `RINGKEEPER_BENCH_DIR`, or a temporary
//! one below `target/`: never a memory file system by accident.

use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement};
use storage::Zxid;
use storage::engine::{Engine, Options, Recover};
use storage::log::Log;
use storage::snapshot;
use tempfile::TempDir;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Group<'c> = BenchmarkGroup<'c, measurement::WallTime>;

/// A create of a 40-byte path with 100 bytes of data: session, cxid, zxid, time, type, path, data, ACL, digest.
const PAYLOAD: [u8; 230] = [7; 230];
const HEADER_BYTES: u64 = 16;
const RECORD_BYTES: u64 = PAYLOAD.len() as u64 + HEADER_BYTES;
const REPLAYED: u64 = 100_000;
const ENTRIES: u32 = 200_000;

struct Count(u64);

impl Recover for Count {
    fn begin_snapshot(&mut self, _: Zxid, _: u64, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
    fn entry(&mut self, _: &[u8], _: &[u8]) -> Result<(), String> {
        Ok(())
    }
    fn end_snapshot(&mut self) -> Result<(), String> {
        Ok(())
    }
    fn record(&mut self, _: Zxid, payload: &[u8]) -> Result<(), String> {
        self.0 += 1;
        black_box(payload);
        Ok(())
    }
}

fn directory() -> TempDir {
    let parent = std::env::var_os("RINGKEEPER_BENCH_DIR").map(Into::into);
    let parent = parent.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    fs::create_dir_all(&parent).expect("the directory for benches");
    TempDir::with_prefix_in("bench-storage-", parent).expect("a directory")
}

fn options(directory: &Path) -> Options {
    Options {
        data_dir: directory.join("data"),
        log_dir: directory.join("log"),
        ..Options::default()
    }
}

fn open(options: Options) -> (Engine, Log, u64) {
    let mut count = Count(0);
    let (engine, log, _) = Engine::open(options, &mut count).expect("a store");
    (engine, log, count.0)
}

fn append_some(log: &mut Log, count: u64) {
    for _ in 0..count {
        let zxid = log.appended().next();
        log.append(zxid, &[black_box(&PAYLOAD)]);
    }
}

fn make_durable(log: &mut Log) {
    let write = log.next_write().expect("something was appended");
    log.written(write.perform().expect("the disk writes"));
}

fn noise(length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}

/// Appending alone: the write of each thousand is not part of it.
fn append(c: &mut Criterion) {
    let directory = directory();
    let (_engine, mut log, _) = open(Options {
        fsync: false,
        direct: false,
        ..options(directory.path())
    });
    let mut group = c.benchmark_group("storage/append 1000");
    group.throughput(Throughput::Bytes(1000 * RECORD_BYTES)).sample_size(20);
    group.bench_function("append", |bench| {
        bench.iter_custom(|rounds| {
            let mut took = Duration::ZERO;
            for _ in 0..rounds {
                let begun = std::time::Instant::now();
                append_some(&mut log, 1000);
                took += begun.elapsed();
                make_durable(&mut log);
            }
            took
        })
    });
    let bytes = noise(1000 * RECORD_BYTES as usize);
    limit_crc(&mut group, &bytes);
    let mut copy = vec![0; bytes.len()];
    group.bench_function("limit: memcpy", |bench| {
        bench.iter(|| copy.copy_from_slice(black_box(&bytes)))
    });
    group.finish();
}

fn limit_crc(group: &mut Group<'_>, bytes: &[u8]) {
    group.bench_function("limit: crc32c", |bench| bench.iter(|| crc32c::crc32c(black_box(bytes))));
}

/// A batch appended and made durable, and the disk's own write and sync of as many bytes.
fn sync(c: &mut Criterion) {
    for count in [1, 10, 100, 1000] {
        let directory = directory();
        let (_engine, mut log, _) = open(options(directory.path()));
        let mut group = c.benchmark_group(format!("storage/sync {count}"));
        group.throughput(Throughput::Elements(count)).sample_size(20);
        group.bench_function("batch", |bench| {
            bench.iter(|| {
                append_some(&mut log, count);
                make_durable(&mut log);
            })
        });
        let bytes = noise(storage::format::file_bytes(40 + count * RECORD_BYTES) as usize);
        let (file, length) = laid_out(directory.path());
        let mut offset = 0;
        group.bench_function("limit: write and fdatasync", |bench| {
            bench.iter(|| {
                if offset + bytes.len() as u64 > length {
                    offset = 0;
                }
                file.write_all_at(&bytes, offset).expect("the disk writes");
                file.sync_data().expect("the disk syncs");
                offset += bytes.len() as u64;
            })
        });
        group.finish();
    }
}

/// A file filled with zeros and synced, as log segments are.
fn laid_out(directory: &Path) -> (File, u64) {
    const BYTES: u64 = 16 << 20;
    let file = File::create(directory.join("limit")).expect("a file");
    let zeros = vec![0; 1 << 20];
    (0..BYTES)
        .step_by(zeros.len())
        .for_each(|at| file.write_all_at(&zeros, at).expect("the disk writes"));
    file.sync_all().expect("the disk syncs");
    (file, BYTES)
}

/// Opening a store of nothing but log.
fn replay(c: &mut Criterion) {
    let directory = directory();
    let (engine, mut log, _) = open(options(directory.path()));
    for _ in 0..REPLAYED / 1000 {
        append_some(&mut log, 1000);
        make_durable(&mut log);
    }
    drop((engine, log));
    let mut group = c.benchmark_group("storage/replay 100k");
    group
        .throughput(Throughput::Bytes(REPLAYED * RECORD_BYTES))
        .sample_size(10);
    group.bench_function("open", |bench| {
        bench.iter(|| {
            let (engine, log, count) = open(options(directory.path()));
            assert_eq!(count, REPLAYED);
            (engine, log)
        })
    });
    limit_crc(&mut group, &noise((REPLAYED * RECORD_BYTES) as usize));
    group.finish();
}

/// Entries as a tree of znodes has them: paths that resemble one another, Stats, data that is text.
fn entries() -> Vec<(Vec<u8>, Vec<u8>)> {
    let entry = |number: u32| {
        let mut value = noise(41);
        value[..4].copy_from_slice(&number.to_be_bytes());
        value.extend(
            format!(
                "{{\"host\":\"10.0.{}.{}\",\"port\":2181}}",
                number / 256 % 256,
                number % 256
            )
            .bytes(),
        );
        value.resize(141, b' ');
        (
            format!("n/services/production/region-a/{number:010}").into_bytes(),
            value,
        )
    };
    (0..ENTRIES).map(entry).collect()
}

fn write_snapshot(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut all = entries.iter().map(|(key, value)| (&key[..], &value[..]));
    snapshot::write(&mut file, Zxid(1), 1, b"", &mut all, None).expect("memory takes all");
    file
}

/// Writing and loading a snapshot in memory: what a disk adds is its own speed.
fn snapshots(c: &mut Criterion) {
    let entries = entries();
    let file = write_snapshot(&entries);
    let raw: Vec<u8> = entries
        .iter()
        .flat_map(|(key, value)| [&[0; 8][..], key, value].concat())
        .collect();
    let blocks: Vec<&[u8]> = raw.chunks(snapshot::format::BLOCK_RAW_BYTES).collect();
    let pack = |block: &&[u8]| zstd::bulk::compress(block, snapshot::format::ZSTD_LEVEL).expect("zstd packs");
    let packed: Vec<Vec<u8>> = blocks.iter().map(pack).collect();

    let mut group = c.benchmark_group("storage/snapshot 200k");
    group.throughput(Throughput::Bytes(raw.len() as u64)).sample_size(10);
    group.bench_function("write", |bench| {
        bench.iter(|| write_snapshot(black_box(&entries)).len())
    });
    group.bench_function("limit: zstd packs", |bench| {
        bench.iter(|| blocks.iter().map(|block| pack(block).len()).sum::<usize>())
    });
    for threads in [1, 2] {
        group.bench_function(format!("load on {threads}"), |bench| {
            bench.iter(|| {
                let reader = snapshot::Reader::open(black_box(&file)).expect("a snapshot just written");
                let mut count = 0;
                let mut take = |key: &[u8], value: &[u8]| {
                    count += key.len() + value.len();
                    Ok(())
                };
                reader.load(threads, &mut take).expect("a snapshot just written");
                count
            })
        });
    }
    let unpack =
        |block: &Vec<u8>| zstd::bulk::decompress(block, snapshot::format::BLOCK_RAW_BYTES).expect("zstd unpacks");
    group.bench_function("limit: zstd unpacks", |bench| {
        bench.iter_batched(
            || (),
            |()| packed.iter().map(|block| unpack(block).len()).sum::<usize>(),
            BatchSize::PerIteration,
        )
    });
    group.bench_function("limit: crc32c", |bench| bench.iter(|| crc32c::crc32c(black_box(&raw))));
    group.finish();
}

criterion_group!(benches, append, sync, replay, snapshots);
criterion_main!(benches);
