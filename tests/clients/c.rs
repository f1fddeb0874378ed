//! The C client, libzookeeper-mt, as Debian packages it.

use std::path::Path;
use std::process::Command;

use crate::cache::{built, need, run, source};
use crate::scenario::{COMMON, play};

const PACKAGE: &str = "libzookeeper-mt-dev";
const HEADER: &str = "/usr/include/zookeeper/zookeeper.h";

/// What is the C client's own, in the scenario's order.
const C: &[&str] = &["containers-and-ttl", "remove-watches"];

#[test]
fn c_client() {
    need("gcc", "a C compiler (Debian: gcc)");
    need_library();
    let binary = built("c").join("scenario");
    run(Command::new("gcc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-o"])
        .arg(&binary)
        .arg(source("c/scenario.c"))
        .args(["-lzookeeper_mt", "-lpthread"]));
    play("the C client", &[COMMON, C].concat(), || Command::new(&binary));
}

/// Installs the library where that is allowed, and names it where it is not.
fn need_library() {
    if !Path::new(HEADER).exists() {
        for arguments in [&["update", "-qq"][..], &["install", "-y", "-qq", PACKAGE]] {
            // The check below tells whether it worked; without root it cannot.
            let _ = Command::new("apt-get").args(arguments).output();
        }
    }
    assert!(
        Path::new(HEADER).exists(),
        "{HEADER} is missing: install the C client (Debian: {PACKAGE})"
    );
}
