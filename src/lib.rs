//! Ringkeeper: a coordination server that speaks Apache ZooKeeper 3.9's protocols.
//!
//! The rooms, bottom up (imports point down only; `tests/floors.rs` holds them):
//! [`base`] and `storage` know nobody, [`wire`] and [`io`] are words and pipes, [`tree`] is memory and [`zab`]
//! agreement, [`replica`] the writing desk, [`server`] the threads and connections.
//!
//! The positions, asserted where they move:
//! `published ≤ durable ≤ appended ≤ prepared`, and a core's view is never ahead of `published`.
//!
//! Where the code departs from the plan (design.md), and why:
//! * Everything that a snapshot holds (nodes, children, ACLs, sessions) lies in one trie, so a snapshot is a walk
//!   and a failed multi drops a head. Children are name buckets of about 32 in the same trie: 11 bytes a child.
//! * A batch always begins on a fresh 4 KiB block, so that no write ever touches durable bytes again.
//! * One acceptor hands sockets to the cores in turn; ports are bound without SO_REUSEPORT, so that a second
//!   server on a port fails.
//! * A sleeping core holds back old versions; it is woken when those are many. Without that, a million creates
//!   cost 400 bytes a znode instead of 257.

pub mod base;
pub mod io;
pub mod replica;
pub mod server;
pub mod tree;
pub mod wire;
pub mod zab;
