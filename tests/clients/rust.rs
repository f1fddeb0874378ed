//! zookeeper-client 0.11.2 (crates.io), a client in Rust that shares no code with the server.

use std::process::Command;

use crate::cache::{built, run, source};
use crate::scenario::{COMMON, play};

/// What only this client has, in the scenario's order.
const RUST: &[&str] = &[
    "session-handed-over",
    "containers-and-ttl",
    "persistent-watches",
    "multi-read",
    "chroot",
    "counts-and-lists",
    "lock",
    "lock-fences-writes",
    "sync",
];

#[test]
fn zookeeper_client_in_rust() {
    let target = built("rust");
    // The cargo that built this test: nothing more to install. It builds for this machine, whatever the test is for.
    run(Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--target-dir"])
        .arg(&target)
        .env_remove("CARGO_BUILD_TARGET")
        .current_dir(source("rust")));
    let binary = target.join("debug/scenario");
    play("zookeeper-client 0.11.2", &[COMMON, RUST].concat(), || {
        Command::new(&binary)
    });
}
