//! Why a file of Apache ZooKeeper is not used: what, where, after which transaction, and the way out.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::Zxid;

/// What is wrong with the bytes of a file or a stream. Offsets count uncompressed bytes from the beginning.
#[derive(Debug)]
pub enum ReadError {
    /// The operating system refused to read.
    Io {
        /// After so many bytes.
        offset: u64,
        /// Its reason.
        error: io::Error,
    },
    /// The bytes end too early.
    Ends {
        /// Where they end.
        offset: u64,
        /// What was being read.
        inside: &'static str,
    },
    /// The bytes do not begin as such a file does.
    Foreign {
        /// What they should be.
        wanted: &'static str,
        /// The first of them, at most eight.
        begins: Vec<u8>,
    },
    /// The bytes are not those that were written.
    Damaged {
        /// Where.
        offset: u64,
        /// The last good transaction before, if one was read.
        after: Option<Zxid>,
        /// How it shows.
        why: String,
    },
    /// The bytes are right, but who takes them cannot use them.
    Refused {
        /// Where the record or item begins.
        offset: u64,
        /// The transaction, or the snapshot's.
        zxid: Zxid,
        /// Their reason.
        why: String,
    },
}

impl ReadError {
    pub(super) fn damaged(offset: u64, why: impl Into<String>) -> ReadError {
        ReadError::Damaged {
            offset,
            after: None,
            why: why.into(),
        }
    }

    /// A decompressor tells of bad bytes in the words of the operating system: those are damage.
    pub(super) fn from_io(offset: u64, error: io::Error, inside: &'static str) -> ReadError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::Ends { offset, inside },
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                ReadError::damaged(offset, format!("{error} (while reading {inside})"))
            }
            _ => ReadError::Io { offset, error },
        }
    }

    /// Where it is wrong.
    pub fn offset(&self) -> u64 {
        match self {
            ReadError::Foreign { .. } => 0,
            ReadError::Io { offset, .. }
            | ReadError::Ends { offset, .. }
            | ReadError::Damaged { offset, .. }
            | ReadError::Refused { offset, .. } => *offset,
        }
    }

    /// Names the file.
    pub fn of(self, file: &Path) -> FileError {
        FileError {
            file: file.to_path_buf(),
            error: self,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io { offset, error } => write!(f, "cannot be read at offset {offset}: {error}"),
            ReadError::Ends { offset, inside } => write!(f, "ends at offset {offset}, inside {inside}"),
            ReadError::Foreign { wanted, begins } => {
                write!(f, "is no {wanted}: it begins with \"{}\"", begins.escape_ascii())
            }
            ReadError::Damaged {
                offset,
                after: Some(after),
                why,
            } => write!(f, "is damaged at offset {offset} (behind zxid {after}): {why}"),
            ReadError::Damaged { offset, why, .. } => write!(f, "is damaged at offset {offset}: {why}"),
            ReadError::Refused { offset, zxid, why } => {
                write!(
                    f,
                    "offset {offset}, zxid {zxid}: it is whole, but cannot be used: {why}"
                )
            }
        }
    }
}

impl std::error::Error for ReadError {}

/// A file and what is wrong with it.
#[derive(Debug)]
pub struct FileError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub error: ReadError,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.file.display(), self.error)
    }
}

impl std::error::Error for FileError {}
