//! A transaction log of Apache ZooKeeper.

use storage::Zxid;
use storage::apache::log::{End, HEADER_BYTES, MAGIC, RECORD_HEAD_BYTES, Reader, TRAILER};

/// Reads the bytes as they are and mended.
pub fn read_any(bytes: &[u8]) {
    check(bytes);
    if let Some(mended) = mended(bytes) {
        check(&mended);
    }
}

fn check(bytes: &[u8]) {
    let length = bytes.len() as u64;
    let mut reader = match Reader::open(bytes) {
        Ok(reader) => reader,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let (mut payload, mut last) = (0, 0);
    loop {
        match reader.next() {
            Ok(Some(record)) => {
                assert!(
                    record.offset >= last && record.offset < length,
                    "{} of {length}",
                    record.offset
                );
                last = record.offset;
                payload += record.payload.len() as u64;
                let _ = Zxid(record.header.zxid as u64).to_string();
            }
            Ok(None) => break,
            Err(error) => return assert!(!error.to_string().is_empty()),
        }
    }
    assert!(payload <= length, "{payload} bytes of records in {length} of file");
    let end = reader.end().expect("a log that was read ends somehow");
    assert!(end.offset() <= length, "{end}");
    if let End::Preallocated { offset, bytes } | End::Torn { offset, bytes, .. } = end {
        assert!(offset + bytes <= length, "{end}");
    }
}

/// The bytes with every record's sum and trailer made right; lengths and zxids stay as they are.
fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    bytes.get_mut(..HEADER_BYTES)?[..4].copy_from_slice(MAGIC);
    let mut at = HEADER_BYTES;
    while let Some(head) = bytes.get(at..at + RECORD_HEAD_BYTES) {
        let length = i32::from_be_bytes(head[8..].try_into().expect("four bytes"));
        let begin = at + RECORD_HEAD_BYTES;
        let Some(end) = usize::try_from(length).ok().map(|length| begin + length) else {
            break;
        };
        if length == 0 || end >= bytes.len() {
            break;
        }
        let sum = u64::from(simd_adler32::adler32(&&bytes[begin..end]));
        bytes[at..at + 8].copy_from_slice(&sum.to_be_bytes());
        bytes[end] = TRAILER;
        at = end + 1;
    }
    Some(bytes)
}
