//! The files of Apache ZooKeeper: its snapshots and transaction logs, read and written.
//!
//! Pure formats: what the bytes say, not what they mean for a tree. A reader works on anything that is [`BufRead`], so
//! that the same code reads a file, a compressed file, and the stream that a leader sends to a learner; `directory`
//! alone knows names and the file system. The facts are those of Apache ZooKeeper 3.9.5 (`FileSnap`, `SnapStream`,
//! `FileTxnLog`); every length is bounded before anything is allocated for it, and memory grows only with bytes that
//! really came.
//!
//! Where this is stricter than Java, on purpose: Java ends a log silently at a record of zeros, at a wrong trailer byte
//! and at the end of the file, and goes on with the next file; here each of these is told apart ([`log::End`]), and a
//! gap between zxids is an error of the directory. Java refuses a start for a checksum error in the very last record;
//! here that is a torn end if the record shows the marks of one.
//!
//! [`BufRead`]: std::io::BufRead

pub mod compression;
pub mod directory;
mod error;
mod input;
pub mod log;
pub mod snapshot;
mod text;

pub use compression::Compression;
pub use directory::Directory;
pub use error::{FileError, ReadError};
pub use text::{decode as decode_text, encode as encode_text};

use crate::Zxid;

/// The Stat as both formats keep it (`StatPersisted`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Stat {
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    /// Counts creations of children only.
    pub cversion: i32,
    pub aversion: i32,
    /// A session, or one of the marks of containers and TTL nodes.
    pub owner: i64,
    pub pzxid: i64,
}

/// One entry of an ACL. Null texts are kept apart from empty ones.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Acl {
    pub perms: i32,
    pub scheme: Option<String>,
    pub id: Option<String>,
}

/// The number that stands for world:anyone with all permissions and is in no table.
pub const OPEN_ACL: i64 = -1;

/// The most that one buffer or record may claim, ours and Java's: `jute.maxbuffer` is 1 MiB unless raised.
pub const BUFFER_BYTES_MAX: usize = 256 << 20;

/// Whether a transaction may stand right behind another in a history: the next number, or the first of a later epoch.
/// A leader counts from 1 in each epoch and its log misses none.
pub fn follows(last: Zxid, next: Zxid) -> bool {
    next.is_right_behind(last) || (next.epoch() > last.epoch() && next.counter() <= 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_follow() {
        assert!(follows(Zxid(5), Zxid(6)));
        assert!(follows(Zxid::ZERO, Zxid(1)));
        assert!(follows(Zxid::new(1, 9), Zxid::new(3, 1)));
        assert!(follows(Zxid::new(2, 0), Zxid::new(2, 1)));
        assert!(!follows(Zxid(5), Zxid(5)));
        assert!(!follows(Zxid(5), Zxid(7)));
        assert!(!follows(Zxid::new(1, 9), Zxid::new(2, 2)));
        assert!(!follows(Zxid::new(2, 1), Zxid::new(1, 1)));
    }
}
