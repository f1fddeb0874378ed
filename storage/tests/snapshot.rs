//! Snapshots as the engine and the tools see them: what was written comes back in order, and nothing else ever does.
//!
//! "Refused" always means: an error whose offset names the damaged bytes, from `open` or from `load`.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use storage::Zxid;
use storage::snapshot::format::{self, put_u32, put_u64, u32_at, u64_at};
use storage::snapshot::{Reader, SnapshotError, map, write};

type Entry = (Vec<u8>, Vec<u8>);

const ZXID: Zxid = Zxid(0x5_0000_0007);

fn write_at(zxid: Zxid, meta: &[u8], entries: &[Entry]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut iterator = entries.iter().map(|(key, value)| (&key[..], &value[..]));
    let summary = write(&mut file, zxid, 77, meta, &mut iterator, None).unwrap();
    assert_eq!(summary.file_bytes, file.len() as u64);
    assert_eq!(summary.entries, entries.len() as u64);
    file
}

fn read(file: &[u8], threads: usize) -> Result<Vec<Entry>, SnapshotError> {
    let mut entries = Vec::new();
    Reader::open(file)?.load(threads, &mut |key, value| {
        entries.push((key.to_vec(), value.to_vec()));
        Ok(())
    })?;
    Ok(entries)
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let step = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(step).take(length).collect()
}

/// Three blocks in a file so short that every byte of it can be tried.
fn small() -> Vec<u8> {
    let large = |n: u8| (vec![b'k', n], [n, 7, 7].repeat(90_000));
    let mut entries = vec![large(0), large(1), (b"noise".to_vec(), noise(2000))];
    entries.extend((0..20u8).map(|n| (vec![b'n', n], vec![n; usize::from(n)])));
    let file = write_at(ZXID, b"meta bytes", &entries);
    assert_eq!(Reader::open(&file).unwrap().block_count(), 3);
    assert_eq!(read(&file, 1).unwrap(), entries);
    file
}

/// The bytes of the file that an error accuses.
fn accused(error: &SnapshotError, file: &[u8]) -> std::ops::RangeInclusive<u64> {
    let offset = error.offset().expect("damage has an offset");
    match error {
        SnapshotError::Damaged { length, .. } => offset..=offset + length.max(&1) - 1,
        SnapshotError::Foreign { begins } => offset..=offset + begins.len() as u64 - 1,
        // No trailer where one must end the file: the file's last bytes are wrong, or no longer there.
        SnapshotError::Truncated { .. } => file.len().saturating_sub(format::trailer::BYTES) as u64..=offset,
        _ => offset..=offset,
    }
}

#[test]
fn a_snapshot_round_trips_with_its_facts() {
    let entries: Vec<Entry> = (0..40_000u32)
        .map(|n| (n.to_be_bytes().to_vec(), format!("value {n} ").repeat(3).into_bytes()))
        .collect();
    let file = write_at(ZXID, b"m", &entries);
    let reader = Reader::open(&file).unwrap();
    assert_eq!((reader.zxid(), reader.seed(), reader.meta()), (ZXID, 77, &b"m"[..]));
    assert_eq!(reader.entry_count(), 40_000);
    assert!(reader.block_count() > 4, "{} blocks", reader.block_count());
    for threads in [0, 1, 2, 3, 16] {
        assert!(
            read(&file, threads).unwrap() == entries,
            "in order on {threads} threads"
        );
    }
}

#[test]
fn an_empty_tree_is_a_whole_snapshot() {
    let file = write_at(Zxid::ZERO, b"", &[]);
    assert_eq!(file.len(), format::header::BYTES + format::trailer::BYTES);
    assert_eq!(Reader::open(&file).unwrap().entry_count(), 0);
    assert_eq!(read(&file, 4).unwrap(), vec![]);
}

#[test]
fn golden_bytes() {
    let entries = [(b"n".to_vec(), b"root".to_vec()), (b"n/a".to_vec(), vec![])];
    let file = write_at(Zxid::new(1, 2), b"M", &entries);
    let hex: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
    let golden = [
        // header: magic, version, meta length, zxid, seed, meta crc, crc; meta
        "524b736e61700d0a 01000000 01000000 0200000001000000 4d00000000000000 3e022eac d75dae96 4d",
        // block: number, entries, raw length, stored length, raw crc, crc
        "00000000 02000000 18000000 21000000 ecd0ee77 c094ae55",
        // zstd: magic, a single segment of 24 bytes, the last block, stored as it is
        "28b52ffd 20 18 c10000",
        // entry: "n" = "root"; entry: "n/a" = ""
        "01000000 04000000 6e 726f6f74 03000000 00000000 6e2f61",
        // index: entries, raw length, stored length, crc
        "02000000 18000000 21000000 c094ae55",
        // trailer: blocks, entries, raw bytes, file bytes, index crc, magic, crc
        "0100000000000000 0200000000000000 1800000000000000 a200000000000000 8fe7613e 524b736e61704f4b 4d0ec1a6",
    ];
    let golden: String = golden.concat().split(' ').collect();
    assert_eq!(hex, golden);
}

#[test]
fn every_flipped_byte_is_refused_with_its_place() {
    let file = small();
    for at in 0..file.len() {
        for flip in [1 << (at % 8), 0xFF] {
            let mut bad = file.clone();
            bad[at] ^= flip;
            let error = read(&bad, 1).expect_err(&format!("byte {at} flipped by {flip:x} was accepted"));
            assert!(accused(&error, &bad).contains(&(at as u64)), "byte {at}: {error}");
            assert!(error.to_string().contains("offset"), "{error}");
        }
    }
}

#[test]
fn every_zeroed_sector_is_refused_with_its_place() {
    let file = small();
    for start in (0..file.len()).step_by(512) {
        let end = (start + 512).min(file.len());
        let mut bad = file.clone();
        bad[start..end].fill(0);
        assert_ne!(bad, file, "the sector at {start} held something");
        let error = read(&bad, 2).expect_err(&format!("sector {start} zeroed was accepted"));
        let accused = accused(&error, &bad);
        assert!(
            *accused.start() < end as u64 && *accused.end() >= start as u64,
            "sector {start}: {error}"
        );
    }
}

#[test]
fn every_truncation_is_refused_with_its_place() {
    let file = small();
    for length in 0..file.len() {
        let error =
            Reader::open(&file[..length]).expect_err(&format!("{length} bytes of {} were accepted", file.len()));
        match error {
            SnapshotError::Empty => assert_eq!(length, 0),
            SnapshotError::Truncated { offset, .. } => assert_eq!(offset, length as u64),
            other => panic!("{length} bytes: {other}"),
        }
    }
}

#[test]
fn bytes_that_were_added_or_moved_are_refused() {
    let file = small();
    for added in [
        vec![0],
        vec![0; 512],
        file.clone(),
        file[file.len() - format::trailer::BYTES..].to_vec(),
    ] {
        let grown = [file.clone(), added].concat();
        read(&grown, 1).expect_err("a file that grew");
    }
    // A block, an index and a trailer of another snapshot, each of them whole and of the right length.
    let other = write_at(ZXID.next(), b"meta bytes", &read(&file, 1).unwrap());
    assert_eq!(other.len(), file.len(), "alike but for the zxid");
    for cut in [
        format::header::BYTES,
        file.len() - format::trailer::BYTES,
        file.len() - format::trailer::BYTES - 3 * format::index::BYTES,
    ] {
        let mixed = [&file[..cut], &other[cut..]].concat();
        read(&mixed, 1).expect_err("half of one, half of another");
    }
}

#[test]
fn foreign_files_are_named() {
    let said = |bytes: &[u8]| Reader::open(bytes).unwrap_err().to_string();
    assert!(said(b"").contains("empty"));
    assert!(said(b"ZKSN\0\0\0\x02\0\0\0\0").contains("Apache ZooKeeper's own format"));
    assert!(said(b"\x1f\x8bgzip or whatever").contains("not a Ringkeeper snapshot"));
    assert!(said(&[0; 4096]).contains("begins with \"\\x00\\x00"));
    let mut newer = small();
    put_u32(&mut newer, format::header::VERSION, 2);
    sign_header(&mut newer);
    assert_eq!(Reader::open(&newer).unwrap_err(), SnapshotError::Version(2));
    assert!(said(&newer).contains("version 2 (offset 8)"));
}

fn sign_header(file: &mut [u8]) {
    let crc = crc32c::crc32c(&file[..format::header::CRC.start]);
    put_u32(file, format::header::CRC, crc);
}

/// A file of one block whose head, frame and totals are as told, with every checksum right.
fn forged(frame: &[u8], raw: &[u8], entries: u32, raw_length: u32) -> Vec<u8> {
    let mut file = write_at(ZXID, b"", &[]);
    file.truncate(format::header::BYTES);
    let header_crc = u32_at(&file, format::header::CRC);
    let mut head = [0; format::block::BYTES];
    put_u32(&mut head, format::block::ENTRIES, entries);
    put_u32(&mut head, format::block::RAW_LENGTH, raw_length);
    put_u32(&mut head, format::block::STORED_LENGTH, frame.len() as u32);
    put_u32(
        &mut head,
        format::block::RAW_CRC,
        crc32c::crc32c_append(header_crc, raw),
    );
    let crc = format::block_crc(header_crc, &head, frame);
    put_u32(&mut head, format::block::CRC, crc);
    let mut index = Vec::new();
    for field in [
        format::block::ENTRIES,
        format::block::RAW_LENGTH,
        format::block::STORED_LENGTH,
        format::block::CRC,
    ] {
        index.extend_from_slice(&head[field]);
    }
    file.extend([&head[..], frame, &index].concat());
    let mut trailer = [0; format::trailer::BYTES];
    put_u64(&mut trailer, format::trailer::BLOCKS, 1);
    put_u64(&mut trailer, format::trailer::ENTRIES, u64::from(entries));
    put_u64(&mut trailer, format::trailer::RAW_BYTES, u64::from(raw_length));
    put_u64(
        &mut trailer,
        format::trailer::FILE_BYTES,
        (file.len() + format::trailer::BYTES) as u64,
    );
    put_u32(
        &mut trailer,
        format::trailer::INDEX_CRC,
        crc32c::crc32c_append(header_crc, &index),
    );
    trailer[format::trailer::MAGIC].copy_from_slice(format::END_MAGIC);
    let crc = crc32c::crc32c_append(header_crc, &trailer[..format::trailer::CRC.start]);
    put_u32(&mut trailer, format::trailer::CRC, crc);
    file.extend_from_slice(&trailer);
    file
}

#[test]
fn right_checksums_do_not_make_a_lie_true() {
    let raw = [&[1, 0, 0, 0, 2, 0, 0, 0][..], b"kvv"].concat();
    let frame = zstd::bulk::compress(&raw, 1).unwrap();
    let length = raw.len() as u32;
    assert_eq!(
        read(&forged(&frame, &raw, 1, length), 1).unwrap(),
        [(b"k".to_vec(), b"vv".to_vec())]
    );

    let why = |file: Vec<u8>| read(&file, 1).expect_err("a lie").to_string();
    assert!(why(forged(&frame, &raw, 2, length)).contains("entry 1 is longer than the block"));
    assert!(why(forged(&frame, &raw, 0, length)).contains("11 bytes follow its last entry"));
    assert!(why(forged(&frame, &raw, 1, length + 1)).contains("holds 11 bytes instead of 12"));
    assert!(why(forged(&frame, &raw, 1, u32::MAX)).contains("larger than it can be"));
    assert!(why(forged(b"no frame", &raw, 1, length)).contains("does not decode"));
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    assert!(
        why(forged(&bomb, &raw, 1, length)).contains("does not decode"),
        "64 MiB in a frame of {}",
        bomb.len()
    );
    let greedy = [&u32::MAX.to_be_bytes()[..], &[0; 7]].concat();
    let frame = zstd::bulk::compress(&greedy, 1).unwrap();
    assert!(why(forged(&frame, &greedy, 1, length)).contains("entry 0 is longer than the block"));

    let mut more_blocks = small();
    let trailer_at = more_blocks.len() - format::trailer::BYTES;
    for blocks in [u64::MAX, u64::MAX / 16 + 2, 1 << 40] {
        let header_crc = u32_at(&more_blocks, format::header::CRC);
        let trailer = &mut more_blocks[trailer_at..];
        assert_ne!(u64_at(trailer, format::trailer::BLOCKS), blocks);
        put_u64(trailer, format::trailer::BLOCKS, blocks);
        let crc = crc32c::crc32c_append(header_crc, &trailer[..format::trailer::CRC.start]);
        put_u32(trailer, format::trailer::CRC, crc);
        assert!(why(more_blocks.clone()).contains("more blocks than fit"));
    }
}

#[test]
fn a_refused_entry_ends_the_load_with_the_callers_words() {
    let file = write_at(
        ZXID,
        b"",
        &(0..60_000u32)
            .map(|n| (n.to_be_bytes().to_vec(), vec![1; 20]))
            .collect::<Vec<_>>(),
    );
    for threads in [1, 3] {
        let mut taken = 0;
        let result = Reader::open(&file).unwrap().load(threads, &mut |key, _| {
            taken += 1;
            if key == 30_000u32.to_be_bytes() {
                Err("node /x is not whole".into())
            } else {
                Ok(())
            }
        });
        assert_eq!(result, Err(SnapshotError::Refused("node /x is not whole".into())));
        assert_eq!(result.unwrap_err().to_string(), "node /x is not whole");
        assert_eq!(taken, 30_001, "not called again");
    }
}

#[test]
fn damage_behind_good_blocks_is_met_in_order() {
    let entries: Vec<Entry> = (0..60_000u32)
        .map(|n| (n.to_be_bytes().to_vec(), vec![1; 20]))
        .collect();
    let mut file = write_at(ZXID, b"", &entries);
    let middle = file.len() / 2;
    file[middle] ^= 4;
    let mut counts = Vec::new();
    for threads in [1, 4] {
        let mut taken = 0u32;
        let result = Reader::open(&file).unwrap().load(threads, &mut |key, _| {
            assert_eq!(key, taken.to_be_bytes());
            taken += 1;
            Ok(())
        });
        assert!(matches!(result, Err(SnapshotError::Damaged { .. })), "{result:?}");
        counts.push(taken);
    }
    assert!(counts[0] > 0 && counts[0] == counts[1], "{counts:?}");
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_written() {
    let mut out = Vec::new();
    let meta = vec![0; format::META_BYTES_MAX + 1];
    let error = write(&mut out, ZXID, 0, &meta, &mut std::iter::empty(), None).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(out.is_empty());
    let large = vec![0; format::ENTRY_BYTES_MAX];
    let mut entries = [(&b""[..], &large[..])].into_iter();
    let error = write(&mut out, ZXID, 0, b"", &mut entries, None).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("268435464 bytes"), "{error}");
}

struct FailsAfter(usize);

impl Write for FailsAfter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.checked_sub(bytes.len()) {
            Some(left) => self.0 = left,
            None => return Err(io::Error::from(io::ErrorKind::StorageFull)),
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_told_wherever_it_is_met() {
    let entries: Vec<Entry> = read(&small(), 1).unwrap();
    for room in [0, 39, 40, 49, 100, small().len() - 1] {
        let mut iterator = entries.iter().map(|(key, value)| (&key[..], &value[..]));
        let result = write(&mut FailsAfter(room), ZXID, 77, b"meta bytes", &mut iterator, None);
        assert_eq!(
            result.unwrap_err().kind(),
            io::ErrorKind::StorageFull,
            "after {room} bytes"
        );
    }
}

/// Notes when how many bytes had come.
struct Stopwatch {
    started: Instant,
    bytes: u64,
    log: Vec<(Duration, u64)>,
}

impl Write for Stopwatch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        self.log.push((self.started.elapsed(), self.bytes));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_rate_is_kept_at_every_moment() {
    const RATE: u64 = 8_000_000;
    let noise = noise(4_000_000);
    let mut out = Stopwatch {
        started: Instant::now(),
        bytes: 0,
        log: vec![],
    };
    let mut entries = noise.chunks(1000).map(|chunk| (&chunk[..10], &chunk[10..]));
    write(&mut out, ZXID, 0, b"", &mut entries, Some(RATE)).unwrap();
    let block = format::BLOCK_RAW_BYTES as f64 * 1.05;
    for (time, bytes) in &out.log {
        let allowed = (time.as_secs_f64() + 0.052) * RATE as f64 + block;
        assert!(
            *bytes as f64 <= allowed,
            "{bytes} bytes after {time:?}, at most {allowed:.0} by the rate"
        );
    }
    let (time, bytes) = *out.log.last().unwrap();
    assert!(bytes > 3_900_000, "noise does not compress: {bytes}");
    assert!(time < Duration::from_secs(10), "half a second's worth took {time:?}");
}

#[test]
fn a_mapped_file_reads_as_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot.5");
    std::fs::write(&path, small()).unwrap();
    let mapped = map(&path).unwrap();
    assert_eq!(read(&mapped, 2).unwrap().len(), 23);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(read(&mapped, 2).unwrap().len(), 23, "retention may remove it meanwhile");
    assert_eq!(map(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    std::fs::write(&path, b"").unwrap();
    assert_eq!(Reader::open(&map(&path).unwrap()).unwrap_err(), SnapshotError::Empty);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_is_read(
        zxid: u64,
        meta in proptest::collection::vec(any::<u8>(), 0..100),
        entries in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..50), any::<u8>(), 0..100_000usize), 0..20),
        threads in 0..5usize,
    ) {
        let entries: Vec<Entry> = entries.into_iter().map(|(key, byte, length)| (key, vec![byte; length])).collect();
        let file = write_at(Zxid(zxid), &meta, &entries);
        let reader = Reader::open(&file).unwrap();
        prop_assert_eq!((reader.zxid(), reader.meta()), (Zxid(zxid), &meta[..]));
        prop_assert!(read(&file, threads).unwrap() == entries);
    }

    #[test]
    fn no_bytes_are_taken_on_trust(begin in 0..=8usize, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let file = [&format::MAGIC[..begin], &bytes].concat();
        prop_assert!(read(&file, 1).is_err());
    }
}
