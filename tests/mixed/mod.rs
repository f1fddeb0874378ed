//! What the tests of ensembles are made of: members of either make, a load with a history, a checker, and faults.
// `mixed.rs` and `failover.rs` are compiled with the whole module, and each uses a part of it.
#![allow(dead_code)]

pub mod check;
pub mod ensemble;
pub mod faults;
mod foreign;
pub mod history;
pub mod load;
#[path = "../full_disk/mount.rs"]
pub mod mount;
pub mod net;
#[path = "../random/mod.rs"]
mod random;
pub mod session;
pub mod walk;
pub mod words;
mod worker;
