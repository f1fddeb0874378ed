//! A log segment, read as the only one of a directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::Zxid;
use storage::format::{
    BATCH_HEADER, BATCHES, BLOCK, BatchHeader, RECORD_HEADER, RecordHeader, SECTOR, SECTOR_DATA, Sealer, SegmentHeader,
    ZERO_SECTOR, chain, file_bytes, file_offset, follows,
};
use storage::log::{LogReader, Verdict};
use storage::sim::{Image, SimDisk};

/// Reads the bytes as they are and mended.
pub fn read_any(bytes: &[u8]) {
    check(bytes.to_vec());
    if let Some(mended) = mended(bytes) {
        check(mended);
    }
}

fn check(bytes: Vec<u8>) {
    let length = bytes.len() as u64;
    let path = PathBuf::from("/log/log.0000000000000001");
    let mut image = Image::default();
    image.files.insert(path.clone(), Arc::new(bytes));
    let disk = SimDisk::new(image);
    let (mut count, mut last, mut payload) = (0, None, 0);
    let mut each = |item: storage::log::LogItem<'_>| {
        assert!(item.offset < length, "offset {} of {length}", item.offset);
        if let Some(last) = last {
            assert!(follows(last, item.zxid), "{} behind {last}", item.zxid);
        }
        last = Some(item.zxid);
        count += 1;
        payload += item.payload.len() as u64;
    };
    let verdict = LogReader::read_on(&disk, Path::new(&path), &mut each).expect("the file is there");
    assert!(payload <= length, "{payload} bytes of records in {length} of file");
    match verdict {
        Verdict::Clean { records, last: told } => {
            assert_eq!((records, told), (count, last.unwrap_or(Zxid::ZERO)));
        }
        Verdict::Torn { offset, bytes, .. } => assert!(offset + bytes <= length),
        Verdict::Corrupt { offset, reason, .. } => assert!(offset <= length && !reason.is_empty()),
    }
}

/// The bytes with seals, chains and counts of bytes made right; lengths, counts and zxids stay as they are.
fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    bytes.truncate(bytes.len() / BLOCK * BLOCK);
    bytes.get(..BLOCK)?;
    let length = bytes.len() as u64;
    bytes[..8].copy_from_slice(b"RKLOG001");
    bytes[48..56].copy_from_slice(&length.to_le_bytes());
    Sealer::header().seal(&mut bytes[..SECTOR], 0, true);
    let header = SegmentHeader::decode(&bytes).expect("a header that was just sealed");
    let mut crc = header.chain;
    let mut offset = BATCHES as usize;
    while offset < bytes.len() {
        offset = mend_batch(&mut bytes, offset, header.sealer(), &mut crc);
    }
    Some(bytes)
}

/// Mends what begins at a block, and gives where the next thing begins.
fn mend_batch(bytes: &mut [u8], offset: usize, sealer: Sealer, crc: &mut u32) -> usize {
    let block_end = offset + BLOCK;
    let Ok(header) = BatchHeader::decode(&bytes[offset..]) else {
        seal_sectors(&mut bytes[offset..block_end], offset, sealer);
        return block_end;
    };
    let end = offset + file_bytes(u64::from(header.bytes)) as usize;
    if end > bytes.len() {
        seal_sectors(&mut bytes[offset..block_end], offset, sealer);
        return block_end;
    }
    let batch = &mut bytes[offset..end];
    let mut data = Vec::with_capacity(batch.len());
    batch
        .chunks_exact(SECTOR)
        .for_each(|sector| data.extend_from_slice(&sector[..SECTOR_DATA]));
    data.truncate(header.bytes as usize);
    let before = *crc;
    let mut at = BATCH_HEADER;
    while let Some(head) = data.get(at..at + RECORD_HEADER).map(RecordHeader::decode) {
        let Some(payload) = data
            .get(at + RECORD_HEADER..)
            .and_then(|rest| rest.get(..head.length as usize))
        else {
            break;
        };
        *crc = chain(*crc, head.zxid, head.length, &[payload]);
        let right = RecordHeader { crc: *crc, ..head }.encode();
        put(batch, at, &right);
        at += RECORD_HEADER + head.length as usize;
    }
    let right = BatchHeader {
        chain_before: before,
        chain_after: *crc,
        ..header
    };
    put(batch, 0, &right.encode());
    seal_sectors(batch, offset, sealer);
    end
}

/// Writes data between the seals.
fn put(batch: &mut [u8], at: usize, data: &[u8]) {
    for (index, byte) in data.iter().enumerate() {
        batch[file_offset((at + index) as u64) as usize] = *byte;
    }
}

/// Seals every sector that is not all zero.
fn seal_sectors(sectors: &mut [u8], offset: usize, sealer: Sealer) {
    for (index, sector) in sectors.chunks_exact_mut(SECTOR).enumerate() {
        if sector[..SECTOR_DATA] != ZERO_SECTOR[..SECTOR_DATA] {
            sealer.seal(sector, (offset + index * SECTOR) as u64, index == 0);
        }
    }
}
