//! Why a snapshot is refused: what, where, and what to do about it.

use std::fmt;

/// What becomes of a snapshot that cannot be read. Offsets count from the start of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// The file has no bytes.
    Empty,
    /// The file does not begin as a snapshot does.
    Foreign {
        /// Its first bytes, at most eight.
        begins: Vec<u8>,
    },
    /// A snapshot of a version that this program does not read.
    Version(u32),
    /// The file ends before the snapshot does.
    Truncated {
        /// Where the file ends.
        offset: u64,
        /// What should have been there.
        missing: &'static str,
    },
    /// Bytes that are not those that were written.
    Damaged {
        /// Where the damaged part begins.
        offset: u64,
        /// The part's length in bytes: the damage is in these.
        length: u64,
        /// The part.
        part: String,
        /// How the damage shows.
        why: String,
    },
    /// The bytes are right, but whoever takes the entries refused one; the reason is theirs.
    Refused(String),
}

const REPLACE: &str = "do not use it: bring the file back from a copy";

impl SnapshotError {
    /// Where the file is wrong; `None` if its bytes are right.
    pub fn offset(&self) -> Option<u64> {
        match self {
            SnapshotError::Empty | SnapshotError::Foreign { .. } => Some(0),
            SnapshotError::Version(_) => Some(super::format::header::VERSION.start as u64),
            SnapshotError::Truncated { offset, .. } | SnapshotError::Damaged { offset, .. } => Some(*offset),
            SnapshotError::Refused(_) => None,
        }
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Empty => write!(f, "the snapshot is empty (0 bytes, damage at offset 0); {REPLACE}"),
            SnapshotError::Foreign { begins } if begins.starts_with(super::format::APACHE_MAGIC) => write!(
                f,
                "this is a snapshot of Apache ZooKeeper's own format (offset 0 says ZKSN), not one of Ringkeeper's; \
                 move it out of the directory"
            ),
            SnapshotError::Foreign { begins } => write!(
                f,
                "this is not a Ringkeeper snapshot: offset 0 begins with \"{}\"; if it once was one, {REPLACE}, \
                 else move it out of the directory",
                begins.escape_ascii()
            ),
            SnapshotError::Version(version) => write!(
                f,
                "the snapshot is of format version {version} (offset 8), this program reads version {}; read it with \
                 the release that wrote it",
                super::format::VERSION
            ),
            SnapshotError::Truncated { offset, missing } => {
                write!(f, "the snapshot ends at offset {offset} without {missing}; {REPLACE}")
            }
            SnapshotError::Damaged {
                offset,
                length,
                part,
                why,
            } => write!(
                f,
                "the snapshot is damaged at offset {offset}, in the {length} bytes of {part}: {why}; {REPLACE}"
            ),
            SnapshotError::Refused(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for SnapshotError {}
