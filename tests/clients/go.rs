//! go-zookeeper 1.0.4 (github.com/go-zookeeper/zk).

use std::process::Command;

use crate::cache::{built, need, run, source};
use crate::scenario::{COMMON, play};

/// What only this client has, in the scenario's order.
const GO: &[&str] = &[
    "containers-and-ttl",
    "lock",
    "protected-create",
    "sync",
    "four-letter-words",
];

#[test]
fn go_zookeeper() {
    need("go", "Go 1.22 or newer (https://go.dev/dl)");
    let binary = built("go").join("scenario");
    run(Command::new("go")
        .args(["build", "-mod=readonly", "-o"])
        .arg(&binary)
        .current_dir(source("go")));
    play("go-zookeeper 1.0.4", &[COMMON, GO].concat(), || Command::new(&binary));
}
