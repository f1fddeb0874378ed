//! The storage engine: a versioned trie in memory, a group-commit log and snapshots on disk.
//! It never opens a socket or starts an event loop, and time only paces the writing of snapshots and the looks at the
//! room that the disks have.

pub mod zxid;
pub use zxid::Zxid;
mod ahead;
pub mod apache;
mod buffer;
pub mod check;
pub mod disk;
pub mod engine;
pub mod error;
pub mod format;
pub mod import;
pub mod log;
pub mod manifest;
mod reader;
mod record;
pub mod recover;
mod remains;
pub mod report;
mod reserve;
mod retention;
pub mod rewind;
pub mod room;
pub mod scan;
mod segment;
pub mod sim;
pub mod snapshot;
mod store;
pub mod trie;
