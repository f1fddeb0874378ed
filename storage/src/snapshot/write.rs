//! Entries become a snapshot file, one block in memory at a time.

use std::fmt;
use std::io::{self, Write};

use zstd::bulk::Compressor;

use super::format::{self, put_u32, put_u64};
use super::pace::Pace;
use crate::Zxid;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries.
    pub entries: u64,
    /// Bytes of the entries before compression, eight for each included.
    pub raw_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Blocks.
    pub blocks: u64,
    /// The last checksum, which all others of the file go into: tells the snapshot from every other.
    pub sum: u32,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} entries, {} bytes in {} blocks, {} bytes on disk ({:.1}:1)",
            self.entries,
            self.raw_bytes,
            self.blocks,
            self.file_bytes,
            self.raw_bytes as f64 / self.file_bytes.max(1) as f64
        )
    }
}

/// Writes the state at `zxid`: `meta` as it is, then every entry in the order given, which loading will keep.
/// Writes at most `bytes_per_second` (of the file) if that is given, by sleeping on the calling thread. Does not sync.
///
/// # Errors
/// What `out` returned; [`io::ErrorKind::InvalidInput`] for meta bytes or an entry above the format's limits. What
/// was written until then is no snapshot.
pub fn write<'a>(
    out: &mut dyn Write,
    zxid: Zxid,
    seed: u64,
    meta: &[u8],
    entries: &mut dyn Iterator<Item = (&'a [u8], &'a [u8])>,
    bytes_per_second: Option<u64>,
) -> io::Result<Summary> {
    let header = header(zxid, seed, meta)?;
    let mut writer = Writer {
        out,
        pace: Pace::new(bytes_per_second),
        header_crc: format::u32_at(&header, format::header::CRC),
        summary: Summary::default(),
        index: Vec::new(),
        compressor: Compressor::new(format::ZSTD_LEVEL)?,
        frame: Vec::new(),
    };
    writer.put(&header)?;
    writer.put(meta)?;
    let mut block = Block::default();
    for (key, value) in entries {
        block.push(key, value)?;
        if block.raw.len() >= format::BLOCK_RAW_BYTES {
            writer.block(&mut block)?;
        }
    }
    if block.entries > 0 {
        writer.block(&mut block)?;
    }
    writer.finish()
}

fn header(zxid: Zxid, seed: u64, meta: &[u8]) -> io::Result<[u8; format::header::BYTES]> {
    use format::header::*;
    if meta.len() > format::META_BYTES_MAX {
        return Err(too_large("meta", meta.len(), format::META_BYTES_MAX));
    }
    let mut header = [0; BYTES];
    header[MAGIC].copy_from_slice(format::MAGIC);
    put_u32(&mut header, VERSION, format::VERSION);
    put_u32(&mut header, META_LENGTH, meta.len() as u32);
    put_u64(&mut header, ZXID, zxid.0);
    put_u64(&mut header, SEED, seed);
    put_u32(&mut header, META_CRC, crc32c::crc32c(meta));
    let crc = crc32c::crc32c(&header[..CRC.start]);
    put_u32(&mut header, CRC, crc);
    Ok(header)
}

fn too_large(what: &str, bytes: usize, bytes_max: usize) -> io::Error {
    let text = format!("a snapshot's {what} of {bytes} bytes is above the format's limit of {bytes_max}");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// The block that is being filled.
#[derive(Default)]
struct Block {
    raw: Vec<u8>,
    entries: u32,
}

impl Block {
    fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let bytes = format::entry::BYTES
            .saturating_add(key.len())
            .saturating_add(value.len());
        if bytes > format::ENTRY_BYTES_MAX {
            return Err(too_large("entry", bytes, format::ENTRY_BYTES_MAX));
        }
        let mut head = [0; format::entry::BYTES];
        put_u32(&mut head, format::entry::KEY_LENGTH, key.len() as u32);
        put_u32(&mut head, format::entry::VALUE_LENGTH, value.len() as u32);
        self.raw.extend_from_slice(&head);
        self.raw.extend_from_slice(key);
        self.raw.extend_from_slice(value);
        self.entries += 1;
        Ok(())
    }
}

struct Writer<'o> {
    out: &'o mut dyn Write,
    pace: Pace,
    header_crc: u32,
    summary: Summary,
    index: Vec<u8>,
    compressor: Compressor<'static>,
    frame: Vec<u8>,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.summary.file_bytes += bytes.len() as u64;
        self.pace.wrote(bytes.len() as u64);
        Ok(())
    }

    /// Writes a full block, and empties it.
    fn block(&mut self, block: &mut Block) -> io::Result<()> {
        use format::block::*;
        self.frame.clear();
        self.frame.reserve(zstd::zstd_safe::compress_bound(block.raw.len()));
        self.compressor.compress_to_buffer(&block.raw, &mut self.frame)?;
        let number = u32::try_from(self.summary.blocks)
            .map_err(|_| too_large("count of blocks", usize::MAX, u32::MAX as usize))?;
        let mut head = [0; BYTES];
        put_u32(&mut head, NUMBER, number);
        put_u32(&mut head, ENTRIES, block.entries);
        put_u32(&mut head, RAW_LENGTH, block.raw.len() as u32);
        put_u32(&mut head, STORED_LENGTH, self.frame.len() as u32);
        put_u32(&mut head, RAW_CRC, crc32c::crc32c_append(self.header_crc, &block.raw));
        let crc = format::block_crc(self.header_crc, &head, &self.frame);
        put_u32(&mut head, CRC, crc);
        for field in [ENTRIES, RAW_LENGTH, STORED_LENGTH, CRC] {
            self.index.extend_from_slice(&head[field]);
        }
        let frame = std::mem::take(&mut self.frame);
        self.put(&head)?;
        self.put(&frame)?;
        self.frame = frame;
        self.summary.blocks += 1;
        self.summary.entries += u64::from(block.entries);
        self.summary.raw_bytes += block.raw.len() as u64;
        // One entry of 200 MB must not pin 200 MB until the end.
        block.raw.clear();
        block.raw.shrink_to(2 * format::BLOCK_RAW_BYTES);
        self.frame.clear();
        self.frame.shrink_to(2 * format::BLOCK_RAW_BYTES);
        block.entries = 0;
        Ok(())
    }

    fn finish(mut self) -> io::Result<Summary> {
        use format::trailer::*;
        let index = std::mem::take(&mut self.index);
        self.put(&index)?;
        let mut trailer = [0; BYTES];
        put_u64(&mut trailer, BLOCKS, self.summary.blocks);
        put_u64(&mut trailer, ENTRIES, self.summary.entries);
        put_u64(&mut trailer, RAW_BYTES, self.summary.raw_bytes);
        put_u64(&mut trailer, FILE_BYTES, self.summary.file_bytes + BYTES as u64);
        put_u32(&mut trailer, INDEX_CRC, crc32c::crc32c_append(self.header_crc, &index));
        trailer[MAGIC].copy_from_slice(format::END_MAGIC);
        let crc = crc32c::crc32c_append(self.header_crc, &trailer[..CRC.start]);
        put_u32(&mut trailer, CRC, crc);
        self.put(&trailer)?;
        self.out.flush()?;
        self.summary.sum = crc;
        Ok(self.summary)
    }
}
