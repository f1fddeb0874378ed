//! The server: threads, connections and the operator's surface, on top of the pure rooms.
//!
//! One [`core::Core`] per event loop owns its connections, their sessions' order, their watches and a view of the
//! tree. One writer ([`writer`]) owns the replica and the log: on machines with up to two cores as a guest on the
//! first loop, otherwise on a thread of its own. They exchange messages ([`message`]), never locks.

pub mod admin;
pub mod body;
pub mod config;
pub mod conn;
pub mod core;
pub mod delivery;
pub mod doors;
pub mod handshake;
pub mod host;
pub mod import;
pub mod launch;
pub mod member;
pub mod message;
pub mod metrics;
pub mod options;
pub mod peers;
pub mod publish;
pub mod reads;
pub mod requests;
pub mod secret;
pub mod serve;
pub mod shared;
pub mod snapshots;
pub mod socketless;
pub mod start;
pub mod stats;
pub mod words;
pub mod writer;
