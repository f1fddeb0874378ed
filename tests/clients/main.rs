//! Clients nobody here wrote, each running a real scenario against Ringkeeper, and the same scenario against Apache
//! ZooKeeper 3.9.5 in the same run: the second proves that the scenario itself is right.
//!
//! A scenario is a program in the client's own language. It prints `ok STEP` a line and ends with a status other than
//! 0 at its first failure; [`scenario::play`] holds what it printed against the list of steps the client must show.
//! Every server listens on loopback, in a directory of its own, and ends with its test. A tool that is missing fails
//! the test by name.

mod cache;
#[path = "../peers/mod.rs"]
mod peers;
mod scenario;
mod stage;

mod c;
mod go;
mod java;
mod kazoo;
mod node;
mod rust;
