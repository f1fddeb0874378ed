//! go-zookeeper 1.0.4 (github.com/go-zookeeper/zk).
//!
//! Its own integration tests are not run: they start every server themselves (`zkServer.sh` below
//! `ZOOKEEPER_BIN_PATH`) and wait until its `srvr` shows a build date as `MM/DD/YYYY`. ZooKeeper 3.9.5 writes
//! `YYYY-MM-DD`, and so does Ringkeeper, so that each of them ends with "unable to verify health of servers".

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
