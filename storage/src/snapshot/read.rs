//! A snapshot's bytes become entries again: everything is checked before it is believed.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use zstd::bulk::Decompressor;

use super::error::SnapshotError;
use super::format::{self, u32_at, u64_at};
use crate::Zxid;

/// Blocks that a thread has decoded ahead of the caller.
const BLOCKS_AHEAD: usize = 1;

/// A snapshot whose header, meta, index and trailer are right; its blocks are checked as they are loaded.
#[derive(Debug)]
pub struct Reader<'b> {
    bytes: &'b [u8],
    zxid: Zxid,
    seed: u64,
    meta: &'b [u8],
    header_crc: u32,
    blocks: Vec<BlockRow>,
    entries: u64,
    raw_bytes: u64,
    sum: u32,
}

/// A block as the index has it.
#[derive(Clone, Copy, Debug)]
struct BlockRow {
    offset: usize,
    entries: u32,
    raw_length: u32,
    stored_length: u32,
    crc: u32,
}

impl BlockRow {
    fn length(&self) -> usize {
        format::block::BYTES + self.stored_length as usize
    }

    fn end(&self) -> usize {
        self.offset + self.length()
    }
}

/// Takes an entry's key and value.
type Take<'t> = dyn FnMut(&[u8], &[u8]) -> Result<(), String> + 't;
type Checked<T> = Result<T, SnapshotError>;

fn damaged(offset: usize, length: usize, part: impl Into<String>, why: impl Into<String>) -> SnapshotError {
    SnapshotError::Damaged {
        offset: offset as u64,
        length: length as u64,
        part: part.into(),
        why: why.into(),
    }
}

fn check_crc(offset: usize, length: usize, part: &str, found: u32, expected: u32) -> Checked<()> {
    if found == expected {
        return Ok(());
    }
    Err(damaged(
        offset,
        length,
        part,
        format!("crc32c is {found:08x}, {expected:08x} was written"),
    ))
}

impl<'b> Reader<'b> {
    /// Checks everything but the blocks.
    ///
    /// # Errors
    /// Every [`SnapshotError`] but [`SnapshotError::Refused`].
    pub fn open(bytes: &'b [u8]) -> Checked<Reader<'b>> {
        let (header, meta) = check_header(bytes)?;
        let header_crc = u32_at(header, format::header::CRC);
        let blocks_at = format::header::BYTES + meta.len();
        let (trailer, trailer_at) = check_trailer(bytes, header_crc, blocks_at)?;
        let index_length = u64_at(trailer, format::trailer::BLOCKS)
            .checked_mul(format::index::BYTES as u64)
            .and_then(|length| usize::try_from(length).ok())
            .filter(|length| *length <= trailer_at - blocks_at)
            .ok_or_else(|| {
                damaged(
                    trailer_at,
                    format::trailer::BYTES,
                    "the trailer",
                    "more blocks than fit the file",
                )
            })?;
        let index_at = trailer_at - index_length;
        let index = &bytes[index_at..trailer_at];
        let crc = crc32c::crc32c_append(header_crc, index);
        let expected = u32_at(trailer, format::trailer::INDEX_CRC);
        check_crc(index_at, index_length, "the index", crc, expected)?;
        let blocks = rows(index, blocks_at, index_at)?;
        let reader = Reader {
            bytes,
            zxid: Zxid(u64_at(header, format::header::ZXID)),
            seed: u64_at(header, format::header::SEED),
            meta,
            header_crc,
            entries: blocks.iter().map(|row| u64::from(row.entries)).sum(),
            raw_bytes: blocks.iter().map(|row| u64::from(row.raw_length)).sum(),
            sum: u32_at(trailer, format::trailer::CRC),
            blocks,
        };
        let said = (
            u64_at(trailer, format::trailer::ENTRIES),
            u64_at(trailer, format::trailer::RAW_BYTES),
        );
        if said != (reader.entries, reader.raw_bytes) {
            let why = "its totals are not those of the index";
            return Err(damaged(trailer_at, format::trailer::BYTES, "the trailer", why));
        }
        Ok(reader)
    }

    /// The transaction whose state this is.
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// The seed that the order of the entries rests on.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The meta bytes.
    pub fn meta(&self) -> &'b [u8] {
        self.meta
    }

    /// The last checksum, as [`super::Summary::sum`].
    pub fn sum(&self) -> u32 {
        self.sum
    }

    /// How many entries there are.
    pub fn entry_count(&self) -> u64 {
        self.entries
    }

    /// How many blocks there are.
    pub fn block_count(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// Bytes of the entries before compression.
    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// Gives every entry to `take`, in order, decoding and checking blocks on `threads` threads (with 0 or 1, on the
    /// calling one). Holds at most three decoded blocks for each thread.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] when a block is met that is; entries before it were given. [`SnapshotError::Refused`]
    /// with what `take` returned, after which it is not called again.
    pub fn load(&self, threads: usize, take: &mut Take<'_>) -> Checked<()> {
        self.load_telling(threads, take, &mut |_| {})
    }

    /// The same, and tells after each block where in the file it ended: no byte before that is looked at again.
    ///
    /// # Errors
    /// As [`Reader::load`].
    pub fn load_telling(&self, threads: usize, take: &mut Take<'_>, tell: &mut dyn FnMut(usize)) -> Checked<()> {
        let decode = |_: usize, raw: &mut Vec<u8>| Ok(std::mem::take(raw));
        self.blocks(threads, &decode, &mut |number, raw| {
            for entry in self.entries(number, &raw) {
                let (key, value) = entry?;
                take(key, value).map_err(SnapshotError::Refused)?;
            }
            tell(self.blocks[number].end());
            Ok(Some(raw))
        })
    }

    /// Has `make` turn each block's entries into something on one of `threads` threads (with 0 or 1, on the calling
    /// one), and gives that to `take` in the blocks' order.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] when a block is met that is; [`SnapshotError::Refused`] with what `make` or `take`
    /// returned. Blocks before it were taken.
    pub fn load_made<T: Send>(
        &self,
        threads: usize,
        make: &(impl Fn(&[(&[u8], &[u8])]) -> Result<T, String> + Sync),
        take: &mut impl FnMut(T) -> Result<(), String>,
    ) -> Checked<()> {
        let make = |number: usize, raw: &mut Vec<u8>| {
            let entries: Vec<_> = self.entries(number, raw).collect::<Checked<_>>()?;
            make(&entries).map_err(SnapshotError::Refused)
        };
        self.blocks(threads, &make, &mut |_, made| {
            take(made).map_err(SnapshotError::Refused)?;
            Ok(None)
        })
    }

    /// Decodes every block, makes something of it, and takes that in order; a buffer that `take` gives back is used
    /// again.
    fn blocks<T: Send>(
        &self,
        threads: usize,
        make: &(impl Fn(usize, &mut Vec<u8>) -> Checked<T> + Sync),
        take: &mut impl FnMut(usize, T) -> Checked<Option<Vec<u8>>>,
    ) -> Checked<()> {
        let threads = threads.min(self.blocks.len());
        if threads > 1 {
            return self.blocks_on(threads, make, take);
        }
        let mut decoder = Decoder::new();
        for number in 0..self.blocks.len() {
            self.decode(number, &mut decoder)?;
            let made = make(number, &mut decoder.raw)?;
            if let Some(raw) = take(number, made)? {
                decoder.raw = raw;
            }
        }
        Ok(())
    }

    /// Thread `t` decodes every block whose number is `t` modulo the threads; the caller takes from them in turn.
    fn blocks_on<T: Send>(
        &self,
        threads: usize,
        make: &(impl Fn(usize, &mut Vec<u8>) -> Checked<T> + Sync),
        take: &mut impl FnMut(usize, T) -> Checked<Option<Vec<u8>>>,
    ) -> Checked<()> {
        std::thread::scope(|scope| {
            // The lanes die with this closure, before the scope joins: a thread that still sends is told so.
            let mut lanes = Vec::with_capacity(threads);
            for first in 0..threads {
                let (full, made) = sync_channel(BLOCKS_AHEAD);
                let (empty, returned) = sync_channel(BLOCKS_AHEAD + 2);
                scope.spawn(move || self.work((first, threads), make, &full, &returned));
                lanes.push((made, empty));
            }
            for number in 0..self.blocks.len() {
                let (made, empty) = &lanes[number % threads];
                let made = made.recv().expect("a thread works until it failed or all was taken")?;
                if let Some(raw) = take(number, made)? {
                    // Full or closed: the buffer is freed instead of used again.
                    let _ = empty.try_send(raw);
                }
            }
            Ok(())
        })
    }

    /// What one thread does.
    fn work<T>(
        &self,
        (first, step): (usize, usize),
        make: &impl Fn(usize, &mut Vec<u8>) -> Checked<T>,
        full: &SyncSender<Checked<T>>,
        returned: &Receiver<Vec<u8>>,
    ) {
        let mut decoder = Decoder::new();
        for number in (first..self.blocks.len()).step_by(step) {
            if let Ok(raw) = returned.try_recv() {
                decoder.raw = raw;
            }
            let decoded = self.decode(number, &mut decoder);
            let made = decoded.and_then(|()| make(number, &mut decoder.raw));
            let failed = made.is_err();
            let sent = full.send(made);
            if failed || sent.is_err() {
                return;
            }
        }
    }

    /// Checks a block and leaves its entries in `decoder.raw`.
    fn decode(&self, number: usize, decoder: &mut Decoder) -> Checked<()> {
        use format::block::*;
        let row = &self.blocks[number];
        let part = format!("block {number}");
        let bad = |why: String| damaged(row.offset, row.length(), part.clone(), why);
        let (head, frame) = self.bytes[row.offset..][..row.length()].split_at(BYTES);
        let crc = format::block_crc(self.header_crc, head, frame);
        check_crc(row.offset, row.length(), &part, crc, row.crc)?;
        let fields = [NUMBER, ENTRIES, RAW_LENGTH, STORED_LENGTH, CRC].map(|field| u32_at(head, field));
        if fields != [number as u32, row.entries, row.raw_length, row.stored_length, row.crc] {
            return Err(bad("its head is not what the index says".into()));
        }
        decoder
            .decode(frame, row.raw_length as usize)
            .map_err(|why| bad(format!("its zstd frame {why}")))?;
        let raw_crc = crc32c::crc32c_append(self.header_crc, &decoder.raw);
        check_crc(row.offset, row.length(), &part, raw_crc, u32_at(head, RAW_CRC))
    }

    /// The entries of a decoded block, and an error in the place of the first that is not right.
    fn entries<'r>(&self, number: usize, raw: &'r [u8]) -> impl Iterator<Item = Checked<(&'r [u8], &'r [u8])>> {
        let row = self.blocks[number];
        let bad = move |why: String| damaged(row.offset, row.length(), format!("block {number}"), why);
        let (mut rest, mut index) = (raw, 0);
        std::iter::from_fn(move || {
            if index < row.entries {
                let split = split_entry(rest);
                // Behind an entry that is too long there is nothing to be found.
                rest = split.map_or(&[][..], |(.., after)| after);
                let entry = split.map(|(key, value, _)| (key, value));
                let entry = entry.ok_or_else(|| bad(format!("its entry {index} is longer than the block")));
                index = if entry.is_ok() { index + 1 } else { row.entries };
                return Some(entry);
            }
            let left = std::mem::take(&mut rest).len();
            (left > 0).then(|| Err(bad(format!("{left} bytes follow its last entry"))))
        })
    }
}

/// Gives the header, and the meta bytes behind it.
fn check_header(bytes: &[u8]) -> Checked<(&[u8], &[u8])> {
    use format::header::*;
    if bytes.is_empty() {
        return Err(SnapshotError::Empty);
    }
    let begins = &bytes[..bytes.len().min(format::MAGIC.len())];
    if !format::MAGIC.starts_with(begins) {
        return Err(SnapshotError::Foreign {
            begins: begins.to_vec(),
        });
    }
    let truncated = |missing| SnapshotError::Truncated {
        offset: bytes.len() as u64,
        missing,
    };
    let (header, behind) = bytes.split_at_checked(BYTES).ok_or(truncated("a whole header"))?;
    check_crc(
        0,
        BYTES,
        "the header",
        crc32c::crc32c(&header[..CRC.start]),
        u32_at(header, CRC),
    )?;
    let version = u32_at(header, VERSION);
    if version != format::VERSION {
        return Err(SnapshotError::Version(version));
    }
    let length = u32_at(header, META_LENGTH) as usize;
    if length > format::META_BYTES_MAX {
        return Err(damaged(0, BYTES, "the header", format!("{length} bytes of meta")));
    }
    let meta = behind.get(..length).ok_or(truncated("all of its meta bytes"))?;
    check_crc(
        BYTES,
        length,
        "the meta bytes",
        crc32c::crc32c(meta),
        u32_at(header, META_CRC),
    )?;
    Ok((header, meta))
}

/// Gives the trailer, and where it is.
fn check_trailer(bytes: &[u8], header_crc: u32, blocks_at: usize) -> Checked<(&[u8], usize)> {
    use format::trailer::*;
    let truncated = SnapshotError::Truncated {
        offset: bytes.len() as u64,
        missing: "a trailer",
    };
    let Some(at) = bytes.len().checked_sub(BYTES).filter(|at| *at >= blocks_at) else {
        return Err(truncated);
    };
    let trailer = &bytes[at..];
    let crc = crc32c::crc32c_append(header_crc, &trailer[..CRC.start]);
    if crc != u32_at(trailer, CRC) {
        // A trailer with a wrong bit is damage; no trailer at all is a file that was cut, or that grew.
        let looks_like_one = trailer[MAGIC] == *format::END_MAGIC || u64_at(trailer, FILE_BYTES) == bytes.len() as u64;
        return match looks_like_one {
            true => check_crc(at, BYTES, "the trailer", crc, u32_at(trailer, CRC)).map(|()| (trailer, at)),
            false => Err(truncated),
        };
    }
    if trailer[MAGIC] != *format::END_MAGIC || u64_at(trailer, FILE_BYTES) != bytes.len() as u64 {
        return Err(damaged(
            at,
            BYTES,
            "the trailer",
            "it is that of a file of another length",
        ));
    }
    Ok((trailer, at))
}

/// Reads the index of the blocks that lie between two offsets.
fn rows(index: &[u8], blocks_at: usize, index_at: usize) -> Checked<Vec<BlockRow>> {
    use format::index::*;
    let bad = |why: String| damaged(index_at, index.len(), "the index", why);
    let mut offset = blocks_at;
    let mut rows = Vec::with_capacity(index.len() / BYTES);
    for (number, bytes) in index.chunks_exact(BYTES).enumerate() {
        let row = BlockRow {
            offset,
            entries: u32_at(bytes, ENTRIES),
            raw_length: u32_at(bytes, RAW_LENGTH),
            stored_length: u32_at(bytes, STORED_LENGTH),
            crc: u32_at(bytes, CRC),
        };
        if row.raw_length as usize > format::BLOCK_RAW_BYTES_MAX || row.length() > index_at - offset {
            return Err(bad(format!("block {number} is said to be larger than it can be")));
        }
        offset += row.length();
        rows.push(row);
    }
    if offset == index_at {
        return Ok(rows);
    }
    Err(bad(format!(
        "its blocks end at offset {offset}, the index begins at {index_at}"
    )))
}

fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(format::entry::BYTES)?;
    let (key, rest) = rest.split_at_checked(u32_at(head, format::entry::KEY_LENGTH) as usize)?;
    let (value, rest) = rest.split_at_checked(u32_at(head, format::entry::VALUE_LENGTH) as usize)?;
    Some((key, value, rest))
}

/// A thread's decompressor and the block that it decoded last.
struct Decoder {
    zstd: Decompressor<'static>,
    raw: Vec<u8>,
}

impl Decoder {
    fn new() -> Decoder {
        Decoder {
            zstd: Decompressor::new().expect("zstd's context is some hundred KiB of memory"),
            raw: Vec::new(),
        }
    }

    /// Decodes a frame of exactly so many bytes. zstd fills the buffer's room and no more, whatever the frame says.
    fn decode(&mut self, frame: &[u8], raw_length: usize) -> Result<(), String> {
        self.raw.clear();
        // A buffer that a huge block once needed is not kept for the small ones.
        self.raw.shrink_to(raw_length.max(2 * format::BLOCK_RAW_BYTES));
        self.raw.reserve_exact(raw_length);
        let length = self
            .zstd
            .decompress_to_buffer(frame, &mut self.raw)
            .map_err(|error| format!("does not decode: {error}"))?;
        if length == raw_length {
            return Ok(());
        }
        Err(format!("holds {length} bytes instead of {raw_length}"))
    }
}
