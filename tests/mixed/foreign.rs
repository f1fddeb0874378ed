//! The clients that others wrote: how their part of the load is started.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cache::{built, filled, jars, need, run, source};

/// Milliseconds between two operations of one of their sessions.
const PAUSE_MS: u64 = 8;

/// `load.py` on the pinned kazoo, the same that `tests/clients` runs.
pub fn kazoo(hosts: &str, timeout_ms: i32, count: usize, history: &Path) -> Command {
    need("python3", "Python 3.9 or newer with venv (Debian: python3-venv)");
    let requirements = source("kazoo/requirements.txt");
    let pins = fs::read_to_string(&requirements).expect("requirements.txt");
    let venv = filled("kazoo-2.10.0", &pins, |dir| {
        run(Command::new("python3").args(["-m", "venv"]).arg(dir));
        run(Command::new(dir.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(&requirements));
    });
    let mut command = Command::new(venv.join("bin/python"));
    command
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(own("load.py"))
        .args([
            hosts,
            &(f64::from(timeout_ms) / 1000.0).to_string(),
            "kazoo",
            &count.to_string(),
        ])
        .arg(history)
        .arg((PAUSE_MS as f64 / 1000.0).to_string());
    command
}

/// `Load.java` on Apache's own client.
pub fn java(hosts: &str, timeout_ms: i32, count: usize, history: &Path) -> Command {
    need("javac", "a JDK 17 (Debian: openjdk-17-jdk-headless)");
    let classes = built("mixed");
    run(Command::new("javac")
        .args(["-encoding", "UTF-8", "-proc:none", "-cp"])
        .arg(jars())
        .arg("-d")
        .arg(&classes)
        .arg(own("Load.java")));
    let mut command = Command::new("java");
    command
        .args([
            "-Xmx128m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dfile.encoding=UTF-8",
        ])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
        .arg("-cp")
        .arg(format!("{}:{}", classes.display(), jars().display()))
        .args(["Load", hosts, &timeout_ms.to_string(), "java", &count.to_string()])
        .arg(history)
        .arg(PAUSE_MS.to_string());
    command
}

fn own(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mixed").join(name)
}
