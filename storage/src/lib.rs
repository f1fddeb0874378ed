//! The storage engine: a versioned trie in memory, a group-commit log and snapshots on disk.
//! It never opens a socket, reads a clock or starts an event loop.

pub mod zxid;
pub use zxid::Zxid;
pub mod engine;
pub mod log;
pub mod snapshot;
pub mod trie;
