//! The house keeps its floors: imports point down only, pure rooms touch no machine, `unsafe` stays in its rooms.
//!
//! The rules are data (design.md 3); a violation fails with file and line. A file is read up to its `#[cfg(test)]`:
//! tests may look anywhere.

use std::fs;
use std::path::{Path, PathBuf};

/// A room of the server crate, and the rooms it may name.
const ROOMS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("wire", &["base"]),
    ("io", &["base"]),
    ("tree", &["base", "wire"]),
    ("zab", &["base"]),
    ("replica", &["base", "wire", "tree", "zab"]),
    ("server", &["base", "wire", "io", "tree", "zab", "replica"]),
];

/// Names that no pure room may write: sockets, files, threads, clocks, event loops.
const MACHINE: &[&str] = &[
    "std::net::Tcp",
    "std::fs",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
    "tokio",
    "socket2",
];

/// The rooms that are pure. `server` and `io` are not; `storage` is looked at by its own files.
const PURE: &[&str] = &["base", "wire", "tree", "zab", "replica"];

/// The only places of the ring's crate and of `unsafe`.
const RING: &[&str] = &["src/io/"];
const UNSAFE: &[&str] = &[
    "src/io/",
    "storage/src/trie/",
    "storage/src/snapshot/map.rs",
    "storage/src/disk.rs",
];

struct Source {
    path: String,
    lines: Vec<(usize, String)>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// The code lines of every file below `dir`, comments and tests left out.
fn sources(dir: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut todo = vec![root().join(dir)];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(source(&path));
            }
        }
    }
    assert!(!found.is_empty(), "{dir} has no source file");
    found
}

fn source(path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let lines = text
        .lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line.to_owned()))
        .collect();
    Source {
        path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(),
        lines,
    }
}

/// The room names that a line reaches through `crate::`.
fn rooms_named(line: &str) -> Vec<String> {
    let names = line.split("crate::").skip(1);
    names
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}

fn violations(sources: &[Source], wrong: impl Fn(&Source, &str) -> Option<String>) -> Vec<String> {
    let mut all = Vec::new();
    for source in sources {
        for (number, line) in &source.lines {
            all.extend(wrong(source, line).map(|why| format!("{}:{number}: {why}\n    {}", source.path, line.trim())));
        }
    }
    all
}

fn expect_none(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

#[test]
fn imports_point_down_only() {
    for (room, below) in ROOMS {
        let found = violations(&sources(&format!("src/{room}")), |_, line| {
            let above = rooms_named(line).into_iter().find(|name| {
                name != room && ROOMS.iter().any(|(other, _)| other == name) && !below.contains(&&**name)
            })?;
            Some(format!("{room} may not know {above}"))
        });
        expect_none("imports point down only", found);
    }
}

#[test]
fn every_room_is_on_the_plan() {
    let mut rooms: Vec<String> = fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut planned: Vec<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    rooms.sort();
    planned.sort();
    assert_eq!(rooms, planned, "src/ and the plan in tests/floors.rs");
}

#[test]
fn pure_rooms_touch_no_machine() {
    for room in PURE {
        let found = violations(&sources(&format!("src/{room}")), |_, line| {
            let name = MACHINE.iter().find(|name| line.contains(**name))?;
            Some(format!("{room} is pure and names {name}"))
        });
        expect_none("pure rooms", found);
    }
}

#[test]
fn the_engine_knows_nobody() {
    let found = violations(&sources("storage/src"), |source, line| {
        // Pacing a snapshot's bytes is the one use of time.
        if source.path == "storage/src/snapshot/pace.rs" {
            return None;
        }
        let name = ["ringkeeper::", "tokio", "Instant::now", "SystemTime::now", "std::net"]
            .into_iter()
            .find(|name| line.contains(name))?;
        Some(format!("storage names {name}"))
    });
    expect_none("storage is usable alone", found);
}

#[test]
fn the_ring_and_unsafe_stay_in_their_rooms() {
    for dir in ["src", "storage/src", "tools/src"] {
        let found = violations(&sources(dir), |source, line| {
            let inside = |places: &[&str]| places.iter().any(|place| source.path.starts_with(place));
            let code = line.split("//").next().unwrap_or("");
            if code.contains("tokio_uring") && !inside(RING) {
                return Some("only src/io names the ring".into());
            }
            let has_unsafe = code
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| word == "unsafe");
            (has_unsafe && !inside(UNSAFE)).then(|| "unsafe outside its rooms".into())
        });
        expect_none("containment", found);
    }
}

#[test]
fn every_file_opens_with_its_subject() {
    for dir in ["src", "storage/src", "tools/src", "tests", "benches"] {
        for source in sources(dir) {
            let text = fs::read_to_string(root().join(&source.path)).unwrap();
            assert!(
                text.starts_with("//!"),
                "{} does not open with //! and its subject",
                source.path
            );
        }
    }
}

#[test]
fn every_unsafe_block_is_argued() {
    for dir in ["src", "storage/src"] {
        for entry in sources(dir) {
            let text = fs::read_to_string(root().join(&entry.path)).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            for (number, _) in entry
                .lines
                .iter()
                .filter(|(_, line)| line.contains("unsafe {") || line.contains("unsafe impl"))
            {
                let argued = lines[number.saturating_sub(8)..*number]
                    .iter()
                    .any(|line| line.contains("SAFETY"));
                assert!(
                    argued,
                    "{}:{number}: an unsafe block without its SAFETY argument",
                    entry.path
                );
            }
        }
    }
}

#[test]
fn the_checks_themselves_can_fail() {
    let planted = Source {
        path: "src/tree/planted.rs".into(),
        lines: vec![
            (1, "use crate::server::core::Core;".into()),
            (2, "let now = std::time::Instant::now();".into()),
        ],
    };
    assert_eq!(rooms_named(&planted.lines[0].1), ["server"]);
    let found = violations(&[planted], |_, line| {
        MACHINE
            .iter()
            .find(|name| line.contains(**name))
            .map(|name| name.to_string())
    });
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("src/tree/planted.rs:2: Instant::now"), "{found:?}");
}
