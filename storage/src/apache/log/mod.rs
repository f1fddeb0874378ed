//! A transaction log of Apache ZooKeeper (`FileTxnLog`); all numbers big-endian.
//!
//! ```text
//! header   "ZKLG" · version i32 = 2 · dbid i64 = 0
//! record   Adler-32 of the payload, as i64 · length n i32 · payload n bytes · 42
//! payload  session i64 · cxid i32 · zxid i64 · time ms i64 · type i32 · the transaction's own record [· digest]
//! ```
//! The file is extended by 64 MiB of zeros at a time, which stay. Its name is the zxid of its first record.

mod read;
mod write;

pub use read::Reader;
pub use write::Writer;

use std::fmt;

/// How a log begins (`FileTxnLog#TXNLOG_MAGIC`).
pub const MAGIC: &[u8; 4] = b"ZKLG";
/// The version written. Java does not look at it.
pub const VERSION: i32 = 2;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 16;
/// Bytes of a record before its payload.
pub const RECORD_HEAD_BYTES: usize = 12;
/// The byte behind each payload.
pub const TRAILER: u8 = 0x42;
/// Bytes of the part of a payload that is the same for all types.
pub const TXN_HEADER_BYTES: usize = 32;

/// The part of a payload that is the same for all types (`TxnHeader`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TxnHeader {
    pub session: i64,
    pub cxid: i32,
    pub zxid: i64,
    pub time_ms: i64,
    pub kind: i32,
}

impl TxnHeader {
    /// Reads it; `None` if the payload is shorter.
    pub fn of(payload: &[u8]) -> Option<TxnHeader> {
        let bytes: &[u8; TXN_HEADER_BYTES] = payload.first_chunk()?;
        let long = |at: usize| i64::from_be_bytes(*bytes[at..].first_chunk().expect("eight bytes"));
        let int = |at: usize| i32::from_be_bytes(*bytes[at..].first_chunk().expect("four bytes"));
        Some(TxnHeader {
            session: long(0),
            cxid: int(8),
            zxid: long(12),
            time_ms: long(20),
            kind: int(28),
        })
    }
}

/// A whole record whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it begins in the file.
    pub offset: u64,
    /// The beginning of its payload.
    pub header: TxnHeader,
    /// All of its payload.
    pub payload: &'a [u8],
}

/// How a log ends. Whatever is neither of these is an error with the offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Right behind the last record.
    Clean {
        /// Where.
        offset: u64,
    },
    /// With space that was never written.
    Preallocated {
        /// Where it begins.
        offset: u64,
        /// Its zeros.
        bytes: u64,
    },
    /// With a last write of which a part did not arrive. Java passes it over without a word, or refuses to start.
    Torn {
        /// Where the write begins.
        offset: u64,
        /// Bytes from there to the last one that is not zero.
        bytes: u64,
        /// What shows it.
        why: String,
    },
}

impl End {
    /// Behind the last whole record.
    pub fn offset(&self) -> u64 {
        match self {
            End::Clean { offset } | End::Preallocated { offset, .. } | End::Torn { offset, .. } => *offset,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Clean { offset } => write!(f, "ends clean at offset {offset}"),
            End::Preallocated { offset, bytes } => {
                write!(f, "ends clean at offset {offset}, {bytes} bytes were never written")
            }
            End::Torn { offset, bytes, why } => {
                write!(f, "ends torn at offset {offset} ({bytes} bytes of a last write): {why}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
