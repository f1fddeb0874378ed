//! The load generator behind `zk-bench`: speaks the client protocol to any server, ours or not.
//!
//! A run is a [`plan::Plan`]; [`fill`] lays the znodes out, [`drive`] runs one event loop per thread over its
//! [`conn::Conn`]s, [`measure`] holds what each thread saw, and [`report`] prints it. Latency is measured from the
//! moment a request is due: in a closed loop when it is sent, in an open loop when its turn in the schedule came,
//! so that a server's pause is charged to every request it delayed (no coordinated omission).

pub mod compare;
pub mod conn;
pub mod drive;
pub mod fill;
pub mod floor;
pub mod keys;
pub mod measure;
pub mod mix;
pub mod plan;
pub mod process;
pub mod report;
