//! The words of the wire: what every byte between a client and the server means.
//!
//! Pure functions over bytes. Reading borrows from the frame; nothing here knows sockets, trees or sessions.
//! The source of every layout is `zookeeper.jute` of release 3.9.5.

pub mod acl;
pub mod connect;
pub mod election;
pub mod error;
pub mod event;
pub mod four_letter;
pub mod frame;
pub mod jute;
pub mod quorum;
pub mod reply;
pub mod request;
pub mod show;
pub mod stat;
pub mod txn;
