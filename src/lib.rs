//! Ringkeeper: a coordination server that speaks Apache ZooKeeper 3.9's protocols.
//!
//! The rooms, bottom up (imports point down only; `tests/floors.rs` holds them):
//! [`base`] and `storage` know nobody, [`wire`] and [`io`] are words and pipes, [`tree`] is memory,
//! [`replica`] the writing desk, [`server`] the threads and connections.

pub mod base;
pub mod io;
pub mod replica;
pub mod server;
pub mod tree;
pub mod wire;
