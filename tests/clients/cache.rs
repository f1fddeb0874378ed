//! What the clients are made of: pinned packages in the cache of `peers`, sources of this directory, and a place for
//! what is compiled.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::peers::cache_dir;

/// The cached directory of a package, filled once for each text of its manifest (`pins`).
pub fn filled(name: &str, pins: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    pins.hash(&mut hasher);
    cache_dir(&format!("{name}-{:08x}", hasher.finish() as u32), fill)
}

/// Fails, naming what to install, unless `program` can be started.
pub fn need(program: &str, install: &str) {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    assert!(found, "'{program}' is missing: install {install}");
}

/// Runs a tool that must succeed; its output is shown when it does not.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The scenario sources below `tests/clients`.
pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(path)
}

/// A directory below cargo's own temporary directory, for what is built rather than fetched.
pub fn built(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients").join(name);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// The classpath of the Java packages of `java/pom.xml`: Apache ZooKeeper's client, and Curator.
pub fn jars() -> PathBuf {
    need("java", "a JDK 17 (Debian: openjdk-17-jdk-headless)");
    need("mvn", "Maven 3 (Debian: maven)");
    let pom = source("java/pom.xml");
    let pin = fs::read_to_string(&pom).unwrap();
    let dir = filled("curator-5.9.0", &pin, |dir| {
        run(Command::new("mvn")
            .args([
                "--quiet",
                "--batch-mode",
                "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies",
            ])
            .arg(format!("-DoutputDirectory={}", dir.join("lib").display()))
            .arg("--file")
            .arg(&pom));
    });
    dir.join("lib/*")
}
