//! A snapshot file's bytes. Numbers are little-endian, as in the log; offsets in a row count from the start of its part.
//!
//! ```text
//! file     header · meta · block × n · index row × n · trailer
//!
//! header   MAGIC           0..8   "RKsnap\r\n": text-mode copies break it
//! header   VERSION         8..12  1
//! header   META_LENGTH    12..16  bytes of meta behind the header
//! header   ZXID           16..24  the one transaction whose state this is
//! header   SEED           24..32  the seed that the order of the entries rests on
//! header   META_CRC       32..36  crc32c of the meta bytes
//! header   CRC            36..40  crc32c of the bytes above; seeds every other checksum of the file
//!
//! block    NUMBER          0..4   from 0
//! block    ENTRIES         4..8   entries in the block
//! block    RAW_LENGTH      8..12  bytes before compression
//! block    STORED_LENGTH  12..16  bytes of the zstd frame behind this head
//! block    RAW_CRC        16..20  crc32c of the bytes before compression
//! block    CRC            20..24  crc32c of the bytes above and of the zstd frame
//!
//! entry    KEY_LENGTH      0..4   bytes of the key
//! entry    VALUE_LENGTH    4..8   bytes of the value; key and value follow
//!
//! index    ENTRIES         0..4   as in the block
//! index    RAW_LENGTH      4..8   as in the block
//! index    STORED_LENGTH   8..12  as in the block; block offsets are sums of these
//! index    CRC            12..16  as in the block
//!
//! trailer  BLOCKS          0..8   blocks, and rows in the index
//! trailer  ENTRIES         8..16  entries in the file
//! trailer  RAW_BYTES      16..24  bytes before compression
//! trailer  FILE_BYTES     24..32  bytes of the file, this trailer included
//! trailer  INDEX_CRC      32..36  crc32c of the index
//! trailer  MAGIC          36..44  "RKsnapOK": the last bytes written but for their checksum
//! trailer  CRC            44..48  crc32c of the bytes above
//! ```
//!
//! Every byte lies under a checksum. All but the header's two start from the header's CRC instead of zero, so that a
//! block, an index or a trailer of another snapshot is as wrong as a damaged one. An entry never spans blocks.

use std::ops::Range;

/// One field of a part: its name, where it is, what it holds.
pub type Row = (&'static str, Range<usize>, &'static str);

macro_rules! layout {
    ($(#[$doc:meta])* $part:ident { $($field:ident $start:literal .. $end:literal $text:literal)+ }) => {
        $(#[$doc])*
        pub mod $part {
            use std::ops::Range;
            $(#[doc = $text] pub const $field: Range<usize> = $start..$end;)+
            /// Every field, in order.
            pub const ROWS: &[super::Row] = &[$((stringify!($field), $field, $text)),+];
            /// The part's length.
            pub const BYTES: usize = super::length(ROWS);
        }
    };
}

/// The length of a part whose fields lie end to end; anything else does not compile.
const fn length(rows: &[Row]) -> usize {
    let (mut at, mut index) = (0, 0);
    while index < rows.len() {
        assert!(rows[index].1.start == at, "fields lie end to end");
        at = rows[index].1.end;
        index += 1;
    }
    at
}

layout! {
    /// The first bytes of the file.
    header {
        MAGIC 0..8 "\"RKsnap\\r\\n\": text-mode copies break it"
        VERSION 8..12 "1"
        META_LENGTH 12..16 "bytes of meta behind the header"
        ZXID 16..24 "the one transaction whose state this is"
        SEED 24..32 "the seed that the order of the entries rests on"
        META_CRC 32..36 "crc32c of the meta bytes"
        CRC 36..40 "crc32c of the bytes above; seeds every other checksum of the file"
    }
}

layout! {
    /// The head of a block; a zstd frame follows.
    block {
        NUMBER 0..4 "from 0"
        ENTRIES 4..8 "entries in the block"
        RAW_LENGTH 8..12 "bytes before compression"
        STORED_LENGTH 12..16 "bytes of the zstd frame behind this head"
        RAW_CRC 16..20 "crc32c of the bytes before compression"
        CRC 20..24 "crc32c of the bytes above and of the zstd frame"
    }
}

layout! {
    /// The head of an entry; key and value follow.
    entry {
        KEY_LENGTH 0..4 "bytes of the key"
        VALUE_LENGTH 4..8 "bytes of the value; key and value follow"
    }
}

layout! {
    /// One block's row in the index.
    index {
        ENTRIES 0..4 "as in the block"
        RAW_LENGTH 4..8 "as in the block"
        STORED_LENGTH 8..12 "as in the block; block offsets are sums of these"
        CRC 12..16 "as in the block"
    }
}

layout! {
    /// The last bytes of the file.
    trailer {
        BLOCKS 0..8 "blocks, and rows in the index"
        ENTRIES 8..16 "entries in the file"
        RAW_BYTES 16..24 "bytes before compression"
        FILE_BYTES 24..32 "bytes of the file, this trailer included"
        INDEX_CRC 32..36 "crc32c of the index"
        MAGIC 36..44 "\"RKsnapOK\": the last bytes written but for their checksum"
        CRC 44..48 "crc32c of the bytes above"
    }
}

/// The parts that have fields, in the order of the file.
pub const PARTS: &[(&str, &[Row])] = &[
    ("header", header::ROWS),
    ("block", block::ROWS),
    ("entry", entry::ROWS),
    ("index", index::ROWS),
    ("trailer", trailer::ROWS),
];

/// How a snapshot begins.
pub const MAGIC: &[u8; 8] = b"RKsnap\r\n";
/// How a finished snapshot ends, but for the last checksum.
pub const END_MAGIC: &[u8; 8] = b"RKsnapOK";
/// How a snapshot of Apache ZooKeeper's own begins (`FileSnap.SNAP_MAGIC`).
pub const APACHE_MAGIC: &[u8; 4] = b"ZKSN";
/// The version written, and the only one read.
pub const VERSION: u32 = 1;
/// zstd's level: 4.7 times smaller at 207 MB/s; level 3 gains 4 % and costs more (dependencies.md, 4).
pub const ZSTD_LEVEL: i32 = 1;
/// A block is closed when its entries reach this; 1 MiB is no faster (dependencies.md, 4).
pub const BLOCK_RAW_BYTES: usize = 256 << 10;
/// The largest entry, head included: what a length may claim before anything is allocated for it. A znode's data is
/// bound by `jute.maxbuffer`, 1 MiB unless an operator raised it.
pub const ENTRY_BYTES_MAX: usize = 256 << 20;
/// The largest block: one that was a byte short of its goal and then took the largest entry.
pub const BLOCK_RAW_BYTES_MAX: usize = BLOCK_RAW_BYTES + ENTRY_BYTES_MAX;
/// The most meta bytes; the tree's totals need 53.
pub const META_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(header::BYTES == 40 && block::BYTES == 24 && entry::BYTES == 8);
const _: () = assert!(index::BYTES == 16 && trailer::BYTES == 48);
const _: () = assert!(
    BLOCK_RAW_BYTES_MAX < u32::MAX as usize / 2,
    "lengths and zstd's bound of them fit 32 bits"
);

/// Writes a four-byte field.
pub fn put_u32(part: &mut [u8], field: Range<usize>, value: u32) {
    part[field].copy_from_slice(&value.to_le_bytes());
}

/// Writes an eight-byte field.
pub fn put_u64(part: &mut [u8], field: Range<usize>, value: u64) {
    part[field].copy_from_slice(&value.to_le_bytes());
}

/// Reads a four-byte field of a part that is known to be whole.
pub fn u32_at(part: &[u8], field: Range<usize>) -> u32 {
    u32::from_le_bytes(part[field].try_into().expect("a field of four bytes"))
}

/// Reads an eight-byte field of a part that is known to be whole.
pub fn u64_at(part: &[u8], field: Range<usize>) -> u64 {
    u64::from_le_bytes(part[field].try_into().expect("a field of eight bytes"))
}

/// The checksum of a block: its head up to the checksum, then its zstd frame.
pub fn block_crc(header_crc: u32, head: &[u8], frame: &[u8]) -> u32 {
    let head_crc = crc32c::crc32c_append(header_crc, &head[..block::CRC.start]);
    crc32c::crc32c_append(head_crc, frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table that people read is the list that the code uses.
    #[test]
    fn the_documented_table_is_the_code() {
        let mut printed = Vec::new();
        for (part, rows) in PARTS {
            for (field, range, text) in *rows {
                let range = format!("{:>2}..{}", range.start, range.end);
                printed.push(format!("{part:<8} {field:<14} {range:<8}{text}"));
            }
        }
        let is_row = |line: &&str| PARTS.iter().any(|(part, _)| line.starts_with(&format!("{part} ")));
        let source = include_str!("format.rs")
            .lines()
            .take_while(|line| line.starts_with("//!"));
        let documented: Vec<&str> = source
            .map(|line| line.trim_start_matches("//!").trim_start())
            .filter(is_row)
            .collect();
        assert_eq!(documented, printed, "print:\n{}", printed.join("\n"));
    }
}
