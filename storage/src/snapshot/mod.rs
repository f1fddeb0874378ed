//! Snapshots: the whole state at exactly one zxid as a file of compressed, checksummed blocks.
//!
//! This room knows a snapshot's bytes ([`mod@format`] is their only description) and nothing of names, directories,
//! syncs or retention: the engine gives [`write()`] something to write to, and [`Reader::open`] the bytes of a file.
//!
//! What a crash can leave, and what becomes of it. The engine writes under a temporary name, syncs, renames, and
//! syncs the directory:
//!
//! * before the rename: a temporary file of any length. It is never opened as a snapshot, and removed.
//! * after the rename, directory not yet synced: the old name or the new one. The new one names a file that was whole
//!   on the disk before the rename began.
//! * nothing else. So a snapshot under its final name that is not whole was damaged later, or copied badly: it is
//!   refused with the offset, never repaired or read in part.
//!
//! A reader takes no byte's word before its checksum: header, trailer and index when it opens, each block when it is
//! loaded. Lengths are bounded before anything is allocated for them. Entries reach the caller in the order of the
//! file; a caller that must not see half of a damaged file builds aside and keeps what it built only after
//! [`Reader::load`] has returned.

mod error;
pub mod format;
mod map;
mod pace;
mod read;
mod write;

pub use error::SnapshotError;
pub use map::{EXIT_MAP_LOST, Mapped, map};
pub use read::Reader;
pub use write::{Summary, write};
