//! The servers that black-box tests talk to, and the client they talk with.
//!
//! `RingServer` is this workspace's `zk-server`, `JavaServer` is Apache ZooKeeper 3.9.5; both are child processes on
//! loopback with a directory of their own, and both die with their guard. `Member` is either as a server of an ensemble. `RawClient` writes frames byte by byte with
//! an encoder of its own (`jute`), so that a fault in the server's codec cannot hide behind the same fault here.
// Each test binary is compiled with the whole module and uses a part of it.
#![allow(dead_code, unused_imports)]

mod cache;
pub mod fill;
mod java;
pub mod jute;
mod member;
mod process;
mod raw;
mod ring;

use std::net::SocketAddr;

pub use cache::cache_dir;
pub use java::{JavaServer, java_command, zookeeper_jars};
pub use member::{Make, Member, Place, four_letter};
pub use process::{Process, free_port, last_lines, wait_until};
pub use raw::{Attach, Opened, Packet, RawClient, Received, framed};
pub use ring::{Engine, RingServer};

/// A ZooKeeper server under test, whoever wrote it.
pub trait Peer: Send {
    /// Where clients connect.
    fn address(&self) -> SocketAddr;
    /// A short name for traces: `ringkeeper/io_uring`, `apache-3.9.5`.
    fn name(&self) -> String;
    /// The directory that holds its configuration, data and output.
    fn directory(&self) -> &std::path::Path;
    /// Ends the process as a power cut of the process would (SIGKILL), and waits for it.
    fn kill9(&mut self);
    /// Asks the process to end (SIGTERM), waits up to 10 s, and gives its exit code.
    fn terminate(&mut self) -> Option<i32>;
    /// Starts it again on the same directory and port, and waits until it serves.
    fn start(&mut self);
    /// The process id, while it runs.
    fn pid(&self) -> u32;
    /// What it wrote to its output so far.
    fn output(&self) -> String;
}
