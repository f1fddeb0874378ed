//! A snapshot of Apache ZooKeeper, unpacked (`FileSnap`, `DataTree#serialize`); all numbers big-endian.
//!
//! ```text
//! header    "ZKSN" · version i32 = 2 · dbid i64 = −1
//! sessions  count i32 · { id i64 · timeout ms i32 } × count
//! ACLs      count i32 · { id i64 · count i32 · { perms i32 · scheme text · id text } × count } × count
//! nodes     { path text · data buffer · ACL id i64 · Stat 60 bytes } × n · text "/"
//! seal      Adler-32 of all bytes before it, as i64 · text "/"
//! digest    zxid i64 · version i32 · digest i64 (text in hexadecimal before version 2) · seal
//! zxid      last processed zxid i64 · seal
//! ```
//! The last two parts are there or not, and only the end of the file tells: a reader must try. The root's path is the
//! empty text; a parent stands before its children. Java writes a snapshot while transactions go on: one of zxid z holds
//! everything up to z and any part of what came until its writing ended, so that it is worth something only with the log
//! behind it. The stream to a learner is sessions, ACLs and nodes alone.

mod read;
mod write;

pub use read::Reader;
pub use write::Writer;

use super::{Acl, Stat};

/// How a snapshot begins (`FileSnap#SNAP_MAGIC`).
pub const MAGIC: &[u8; 4] = b"ZKSN";
/// The only version.
pub const VERSION: i32 = 2;
/// The dbid of every snapshot.
pub const DBID: i64 = -1;
/// The version of the digests since 3.6, the first that are numbers.
pub const DIGEST_VERSION: i32 = 2;
/// A snapshot ends with this text, and so does each of its parts.
pub const END: &str = "/";

/// What stands in a snapshot before its seals, in order: sessions, then ACLs, then nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A session.
    Session {
        /// Its id.
        id: i64,
        /// Its timeout.
        timeout_ms: i32,
    },
    /// An entry of the table of ACLs.
    Acl {
        /// The number that nodes name.
        id: i64,
        /// What it says.
        entries: Vec<Acl>,
    },
    /// A node.
    Node(Node<'a>),
}

/// A node as it stands in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node<'a> {
    /// Its path; empty for the root.
    pub path: &'a str,
    /// Its data; null is not empty.
    pub data: Option<&'a [u8]>,
    /// The number of its ACL, [`super::OPEN_ACL`] for the open one.
    pub acl: i64,
    /// The rest.
    pub stat: Stat,
}

/// The tree's digest, as it was when the snapshot's nodes were all written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// After this transaction; 0 if there never was one.
    pub zxid: i64,
    /// How it was computed.
    pub version: i32,
    /// The sum.
    pub digest: u64,
}

/// What stands behind the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trailer {
    /// The digest, if the writer kept one.
    pub digest: Option<Digest>,
    /// The last transaction processed when the writing ended; since 3.9.
    pub last_zxid: Option<i64>,
    /// Seals that were verified.
    pub seals: u8,
}

#[cfg(test)]
mod tests;
