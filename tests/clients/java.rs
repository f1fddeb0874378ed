//! Apache's Java client 3.9.5, and Curator 5.9.0 with its recipes on top of it.

use std::path::PathBuf;
use std::process::Command;

use crate::cache::{built, jars, need, run, source};
use crate::scenario::{COMMON, play};

/// What only Apache's own client has, in the scenario's order.
const JAVA: &[&str] = &[
    "containers-and-ttl",
    "persistent-watches",
    "remove-watches",
    "multi-read",
    "all-children-number-and-ephemerals",
    "who-am-i",
    "sync-and-config",
];

/// Curator's recipes.
const CURATOR: &[&str] = &[
    "connect",
    "mutex",
    "read-write-lock",
    "semaphore",
    "leader-latch",
    "leader-selector",
    "node-cache",
    "curator-cache",
    "tree-cache",
    "persistent-ttl-node",
    "persistent-node-survives-expiry",
    "transactions",
    "shared-counter",
    "distributed-atomic-long",
    "barriers",
    "group-membership",
    "queue",
    "persistent-watcher",
    "protected-create-survives-cut",
    "close",
];

#[test]
fn curator_and_its_recipes() {
    let classes = compiled("curator", &["java/Stage.java", "curator/Recipes.java"]);
    play("Curator 5.9.0", CURATOR, || java(&classes, "Recipes"));
}

#[test]
fn apache_java_client() {
    let classes = compiled("java", &["java/Stage.java", "java/Scenario.java"]);
    play("Apache's Java client 3.9.5", &[COMMON, JAVA].concat(), || {
        java(&classes, "Scenario")
    });
}

/// Compiles these sources into a directory of their own.
fn compiled(name: &str, sources: &[&str]) -> PathBuf {
    need("javac", "a JDK 17 (Debian: openjdk-17-jdk-headless)");
    let classes = built(name);
    run(Command::new("javac")
        .args(["-encoding", "UTF-8", "-proc:none", "-cp"])
        .arg(jars())
        .arg("-d")
        .arg(&classes)
        .args(sources.iter().map(|path| source(path))));
    classes
}

fn java(classes: &std::path::Path, main: &str) -> Command {
    let mut command = Command::new("java");
    command
        .args([
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dfile.encoding=UTF-8",
        ])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
        .arg("-cp")
        .arg(format!("{}:{}", classes.display(), jars().display()))
        .arg(main);
    command
}
