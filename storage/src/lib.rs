//! The storage engine: a versioned trie in memory, a group-commit log and snapshots on disk.
//! It never opens a socket or starts an event loop, and time only paces the writing of snapshots.

pub mod zxid;
pub use zxid::Zxid;
pub mod engine;
mod error;
pub mod log;
mod record;
mod segment;
mod ahead;
mod store;
mod buffer;
pub mod recover;
pub mod scan;
mod reader;
mod report;
mod retention;
pub mod snapshot;
pub mod manifest;
pub mod format;
pub mod disk;
pub mod trie;
