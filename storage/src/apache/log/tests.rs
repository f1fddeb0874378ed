//! A golden record of Apache ZooKeeper's, and how each kind of damage is told from an end.

use super::*;
use crate::Zxid;
use crate::apache::ReadError;

/// Written by Apache ZooKeeper 3.9.5's own classes: an error of zxid 5.
const GOLDEN: &[u8] = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0\
    \0\0\0\0\x24\x30\x07\x9d\0\0\0\x24\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0\x05\
    \0\0\0\0\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\x9b\x42";

fn read(bytes: &[u8]) -> Result<(Vec<u64>, End), ReadError> {
    let mut reader = Reader::open(bytes)?;
    let mut zxids = Vec::new();
    while let Some(record) = reader.next()? {
        zxids.push(record.header.zxid as u64);
        assert_eq!(
            bytes[record.offset as usize + RECORD_HEAD_BYTES..][..record.payload.len()],
            *record.payload
        );
    }
    Ok((zxids, reader.end().unwrap().clone()))
}

fn payload(zxid: u64, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8 | 1).collect();
    bytes[12..20].copy_from_slice(&zxid.to_be_bytes());
    bytes
}

/// A log of five records, zxid 1 to 5, and where each begins.
fn sample() -> (Vec<u8>, Vec<usize>) {
    let mut writer = Writer::new(Vec::new()).unwrap();
    let mut begins = vec![HEADER_BYTES];
    for zxid in 1..=5u64 {
        let length = 40 + zxid as usize * 400;
        writer.append(&payload(zxid, length)).unwrap();
        begins.push(begins[begins.len() - 1] + RECORD_HEAD_BYTES + length + 1);
    }
    (writer.into_inner(), begins)
}

#[test]
fn the_golden_record_is_read_and_written_to_the_byte() {
    let (zxids, end) = read(GOLDEN).unwrap();
    assert_eq!((zxids, end), (vec![5], End::Clean { offset: 65 }));
    let mut reader = Reader::open(GOLDEN).unwrap();
    let record = reader.next().unwrap().unwrap();
    let want = TxnHeader {
        session: 1,
        cxid: 1,
        zxid: 5,
        time_ms: 1,
        kind: -1,
    };
    assert_eq!((record.offset, record.header), (16, want));
    let mut writer = Writer::new(Vec::new()).unwrap();
    writer.append(record.payload).unwrap();
    assert_eq!(writer.into_inner(), GOLDEN);
}

#[test]
fn space_ahead_is_a_clean_end() {
    let (mut bytes, begins) = sample();
    for zeros in [1, 11, 12, 13, 5000] {
        bytes.truncate(begins[5]);
        bytes.resize(begins[5] + zeros, 0);
        let (zxids, end) = read(&bytes).unwrap();
        let (offset, bytes) = (begins[5] as u64, zeros as u64);
        assert_eq!((zxids.len(), end), (5, End::Preallocated { offset, bytes }));
    }
}

#[test]
fn a_cut_is_a_torn_end() {
    let (bytes, begins) = sample();
    for end in 0..bytes.len() {
        let (zxids, told) = read(&bytes[..end]).unwrap();
        let whole = begins[1..].iter().filter(|begin| **begin <= end).count();
        assert_eq!(zxids.len(), whole, "cut at {end}");
        let clean = begins.contains(&end);
        assert_eq!(matches!(told, End::Clean { .. }), clean, "cut at {end}: {told}");
    }
}

/// What did not arrive of the last write reads as zeros, from any byte on.
#[test]
fn a_last_write_that_did_not_arrive_is_a_torn_end() {
    let (bytes, begins) = sample();
    for from in begins[4]..begins[5] {
        let mut torn = bytes.clone();
        torn[from..].fill(0);
        torn.resize(bytes.len() + 100_000, 0);
        let (zxids, end) = read(&torn).unwrap_or_else(|error| panic!("zeros from {from}: {error}"));
        assert_eq!(zxids, [1, 2, 3, 4], "zeros from {from}: {end}");
        assert_eq!(end.offset(), begins[4] as u64);
    }
}

#[test]
fn a_lost_sector_of_the_last_write_is_a_torn_end() {
    let (bytes, begins) = sample();
    for sector in (begins[4]..begins[5]).filter(|at| at % 512 == 0 && at + 512 < begins[5]) {
        let mut torn = bytes.clone();
        torn[sector..sector + 512].fill(0);
        let (zxids, end) = read(&torn).unwrap();
        assert_eq!(zxids, [1, 2, 3, 4], "sector at {sector}");
        assert!(matches!(end, End::Torn { .. }), "{end}");
        // The same in the middle of the log is no torn write.
        let mut middle = bytes.clone();
        middle[begins[3] + 100..begins[3] + 1200].fill(0);
        assert!(read(&middle).is_err());
    }
}

/// Java ends the file at each of these without a word.
#[test]
fn what_java_hides_is_damage() {
    let (bytes, begins) = sample();
    let told = |damage: &dyn Fn(&mut [u8])| {
        let mut damaged = bytes.clone();
        damage(&mut damaged);
        let error = read(&damaged).unwrap_err();
        let ReadError::Damaged { offset, after, .. } = error else {
            panic!("{error}")
        };
        assert_eq!((offset, after), (begins[2] as u64, Some(Zxid(2))), "{error}");
        error.to_string()
    };
    let hole = told(&|bytes| bytes[begins[2]..begins[3]].fill(0));
    assert!(
        hole.contains(&format!("at offset {} the record of zxid 0x4", begins[3])),
        "{hole}"
    );
    assert!(told(&|bytes| bytes[begins[3] - 1] = 0x41).contains("ends with 41"));
    assert!(told(&|bytes| bytes[begins[3] - 1] = 0).contains("ends with 00"));
    assert!(told(&|bytes| bytes[begins[2] + 8..][..4].fill(0)).contains("length of a record is 0"));
    assert!(told(&|bytes| bytes[begins[2] + 8..][..4].fill(0xFF)).contains("no record begins with"));
    assert!(told(&|bytes| bytes[begins[2]] = 1).contains("no record begins with"));
    assert!(told(&|bytes| bytes[begins[2] + 50] ^= 1).contains("should have Adler-32"));
}

#[test]
fn no_flipped_bit_is_read_as_it_were_none() {
    let mut bytes = GOLDEN.to_vec();
    bytes.extend_from_slice(&GOLDEN[HEADER_BYTES..]);
    let whole = read(&bytes).unwrap();
    for bit in HEADER_BYTES * 8..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        match read(&damaged) {
            Ok(read) => assert_ne!(read, whole, "bit {bit}"),
            Err(error) => assert!(matches!(error, ReadError::Damaged { .. }), "bit {bit}: {error}"),
        }
    }
}

#[test]
fn files_that_are_no_log() {
    for bytes in [&b"ZKSN\0\0\0\x02aaaaaaaa"[..], b"X", b"RKlog and more of it"] {
        assert!(matches!(read(bytes), Err(ReadError::Foreign { .. })));
    }
}

#[test]
fn what_java_could_not_read_is_not_written() {
    let mut writer = Writer::new(Vec::new()).unwrap();
    assert!(writer.append(&[0; 31]).is_err());
    assert!(writer.append(&payload(1, write::PAYLOAD_BYTES_MAX + 1)).is_err());
    writer.append(&payload(2, 40)).unwrap();
    for zxid in [1, 2] {
        assert!(writer.append(&payload(zxid, 40)).is_err(), "{zxid}");
    }
}
