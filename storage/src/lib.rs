//! The storage engine: a versioned trie in memory, a group-commit log and snapshots on disk.
//! It never opens a socket or starts an event loop, and time only paces the writing of snapshots.

pub mod zxid;
pub use zxid::Zxid;
pub mod engine;
pub mod log;
pub mod snapshot;
pub mod trie;
