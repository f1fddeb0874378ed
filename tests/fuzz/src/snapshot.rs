//! A snapshot: opened, and all of its entries taken.

use storage::Zxid;
use storage::snapshot::format::{self, put_u32, put_u64, u32_at, u64_at};
use storage::snapshot::{Reader, write};

/// Reads the bytes as they are and mended.
pub fn read_any(bytes: &[u8]) {
    check(bytes);
    if let Some(mended) = mended(bytes) {
        check(&mended);
    }
}

fn check(bytes: &[u8]) {
    let reader = match Reader::open(bytes) {
        Ok(reader) => reader,
        Err(error) => {
            let offset = error.offset().expect("damage has its place");
            return assert!(offset <= bytes.len() as u64, "{error}");
        }
    };
    let mut entries = Vec::new();
    let mut raw_bytes = 0;
    let loaded = reader.load(1, &mut |key, value| {
        raw_bytes += (format::entry::BYTES + key.len() + value.len()) as u64;
        entries.push((key.to_vec(), value.to_vec()));
        Ok(())
    });
    match loaded {
        Ok(()) => {
            assert_eq!(reader.entry_count(), entries.len() as u64);
            assert_eq!(reader.raw_bytes(), raw_bytes);
            again(reader.zxid(), reader.seed(), reader.meta(), &entries);
        }
        Err(error) => assert!(
            error.offset().is_some_and(|offset| offset <= bytes.len() as u64),
            "{error}"
        ),
    }
}

/// What was read is written, and read again as the same.
fn again(zxid: Zxid, seed: u64, meta: &[u8], entries: &[(Vec<u8>, Vec<u8>)]) {
    let mut file = Vec::new();
    let mut all = entries.iter().map(|(key, value)| (&key[..], &value[..]));
    write(&mut file, zxid, seed, meta, &mut all, None).expect("memory takes all");
    let reader = Reader::open(&file).expect("a snapshot just written");
    let mut index = 0;
    let same = reader.load(1, &mut |key, value| {
        assert_eq!((key, value), (&entries[index].0[..], &entries[index].1[..]));
        index += 1;
        Ok(())
    });
    assert!(same.is_ok() && index == entries.len());
}

/// The bytes with every checksum made right, and the file's length in its trailer.
fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    let trailer_at = bytes.len().checked_sub(format::trailer::BYTES)?;
    let meta_at = format::header::BYTES;
    let meta_length = u32_at(bytes.get(..meta_at)?, format::header::META_LENGTH) as usize;
    let blocks_at = meta_at.checked_add(meta_length).filter(|at| *at <= trailer_at)?;
    bytes[format::header::MAGIC].copy_from_slice(format::MAGIC);
    let crc = crc32c::crc32c(&bytes[meta_at..blocks_at]);
    put_u32(&mut bytes, format::header::META_CRC, crc);
    let header_crc = crc32c::crc32c(&bytes[..format::header::CRC.start]);
    put_u32(&mut bytes, format::header::CRC, header_crc);

    let blocks = u64_at(&bytes[trailer_at..], format::trailer::BLOCKS);
    let index_bytes = usize::try_from(blocks).ok()?.checked_mul(format::index::BYTES)?;
    let index_at = trailer_at.checked_sub(index_bytes).filter(|at| *at >= blocks_at)?;
    let mut block_at = blocks_at;
    for row_at in (index_at..trailer_at).step_by(format::index::BYTES) {
        let stored = u32_at(&bytes[row_at..], format::index::STORED_LENGTH) as usize;
        let block_end = block_at + format::block::BYTES + stored;
        if block_end > index_at {
            break;
        }
        let crc = mend_block(&mut bytes[block_at..block_end], header_crc);
        put_u32(&mut bytes[row_at..], format::index::CRC, crc);
        block_at = block_end;
    }
    let index_crc = crc32c::crc32c_append(header_crc, &bytes[index_at..trailer_at]);
    let length = bytes.len() as u64;
    let trailer = &mut bytes[trailer_at..];
    put_u32(trailer, format::trailer::INDEX_CRC, index_crc);
    put_u64(trailer, format::trailer::FILE_BYTES, length);
    trailer[format::trailer::MAGIC].copy_from_slice(format::END_MAGIC);
    let crc = crc32c::crc32c_append(header_crc, &trailer[..format::trailer::CRC.start]);
    put_u32(trailer, format::trailer::CRC, crc);
    Some(bytes)
}

/// What a block of a fuzzer's file may decode to.
const RAW_MAX: usize = 1 << 20;

fn mend_block(block: &mut [u8], header_crc: u32) -> u32 {
    let (head, frame) = block.split_at_mut(format::block::BYTES);
    if let Ok(raw) = zstd::bulk::decompress(frame, RAW_MAX) {
        put_u32(head, format::block::RAW_CRC, crc32c::crc32c_append(header_crc, &raw));
    }
    let crc = format::block_crc(header_crc, head, frame);
    put_u32(head, format::block::CRC, crc);
    crc
}
