//! kazoo 2.10.0 (Python): the scenario with all of its recipes, and kazoo's own test suite pointed at our server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::{filled, need, run, source};
use crate::scenario::{COMMON, play};

/// kazoo's recipes, in the scenario's order.
const RECIPES: &[&str] = &[
    "lock",
    "read-write-locks",
    "semaphore",
    "election",
    "queues",
    "data-and-children-watches",
    "tree-cache",
    "counter",
    "barriers",
    "party",
    "partitioner",
    "lease",
    "four-letter-words",
    "close",
];

#[test]
fn kazoo_and_its_recipes() {
    let python = python();
    play("kazoo 2.10.0", &[COMMON, RECIPES].concat(), || {
        let mut command = Command::new(&python);
        command
            .arg(source("kazoo/scenario.py"))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    });
}

/// The interpreter of a virtual environment with the pinned packages.
fn python() -> PathBuf {
    need("python3", "Python 3.9 or newer with venv (Debian: python3-venv)");
    let requirements = source("kazoo/requirements.txt");
    let pin = fs::read_to_string(&requirements).unwrap();
    let dir = filled("kazoo-2.10.0", &pin, |dir| {
        run(Command::new("python3").args(["-m", "venv"]).arg(dir));
        run(Command::new(bin(dir))
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(&requirements));
    });
    bin(&dir)
}

fn bin(dir: &Path) -> PathBuf {
    dir.join("bin/python")
}
