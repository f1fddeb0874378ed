//! The tree: ZooKeeper's whole replicated state as one versioned value (design.md D2).
//!
//! Everything that a snapshot must hold lies in one `storage::trie`: nodes, their children, large data, ACLs,
//! sessions, their ephemerals, containers and TTL nodes, each under a key of its own [`key::Kind`]. So a version
//! of the trie plus its [`Totals`] *is* the state at one zxid; a snapshot is a walk over it, and a failed multi
//! or a lost leadership only drops a head.
//!
//! [`Tree`] is the writer's head; a [`View`] is what one core reads. What can be told from the trie at any time
//! (the reverse table of ACLs, the quota paths) is derived and kept only by the writer.
//!
//! Pure: no socket, clock, thread or file.

pub mod acl;
pub mod apache;
pub mod apply;
pub mod digest;
pub mod key;
pub mod node;
pub mod quota;
pub mod read;
pub mod session;
pub mod set;
pub mod snapshot;
#[allow(clippy::module_inception)]
pub mod tree;
pub mod watch;

pub use tree::{Features, Totals, Tree, Version, View};

#[cfg(test)]
mod going_back;
