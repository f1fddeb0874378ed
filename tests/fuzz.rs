//! Any bytes for every reader of files: the log, snapshots, the manifest, Apache ZooKeeper's logs and snapshots, `zoo.cfg`;
//! and for both ports between servers.
//!
//! The targets are a project of their own (`tests/fuzz/`), built here with libFuzzer, coverage counters and the address
//! sanitizer; stable rustc does that with `RUSTC_BOOTSTRAP=1`. Each runs for `RINGKEEPER_FUZZ_SECONDS` (60 by default), as
//! many at a time as there are cores, from the seeds in `tests/fuzz/seeds/` and from what earlier runs found, which is kept
//! in `target/fuzz-corpus/`. A crash, an input that takes more than a second, or 512 MiB of memory fails the test and
//! names the input's file. `cargo run --release --bin seeds -- seeds` in `tests/fuzz/` writes the seeds anew.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::{env, fs, thread};

/// Each target, and the longest input that it is given: of the log, the header's block and three more.
const TARGETS: &[(&str, usize)] = &[
    ("log", 16 << 10),
    ("snapshot", 4 << 10),
    ("manifest", 1 << 10),
    ("apache_log", 4 << 10),
    ("apache_snapshot", 4 << 10),
    ("config", 4 << 10),
    ("quorum", 4 << 10),
    ("election", 1 << 10),
];

/// A counter for each edge, where it is, and what is compared with what: as cargo-fuzz has it.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
                     -Zsanitizer=address";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// Builds every target; gives the directory they are in.
fn build() -> PathBuf {
    // A named target keeps the flags away from build scripts and macros.
    let triple = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let directory = root().join("target/fuzz");
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root().join("tests/fuzz"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", FLAGS)
        .env("CARGO_TARGET_DIR", &directory)
        .env_remove("CARGO_PROFILE_RELEASE_PANIC")
        .args(["build", "--release", "--locked", "--target", &triple]);
    for (target, _) in TARGETS {
        command.args(["--bin", target]);
    }
    let built = command.output().expect("cargo");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(
        built.status.success(),
        "the fuzz targets do not build (they need a C++ compiler, Debian: g++):\n{said}"
    );
    directory.join(triple).join("release")
}

fn seconds() -> u64 {
    env::var("RINGKEEPER_FUZZ_SECONDS").map_or(60, |text| text.parse().expect("a number of seconds"))
}

/// The path of an input that a target failed on, if it says so.
fn failed_input(said: &str) -> Option<PathBuf> {
    let line = said.lines().find(|line| line.contains("Test unit written to "))?;
    line.rsplit(' ').next().map(PathBuf::from)
}

fn fuzz(program: &Path, target: &str, bytes_max: usize) -> Output {
    let corpus = root().join("target/fuzz-corpus").join(target);
    let failures = root().join("target/fuzz-failures").join(target);
    for directory in [&corpus, &failures] {
        fs::create_dir_all(directory).expect("a directory below target");
    }
    let seeds = root().join("tests/fuzz/seeds").join(target);
    assert!(seeds.is_dir(), "{} is missing", seeds.display());
    let output = Command::new(program)
        .arg(format!("-max_total_time={}", seconds()))
        .args([
            "-timeout=1",
            "-rss_limit_mb=512",
            "-print_final_stats=1",
            "-print_funcs=0",
        ])
        .arg(format!("-max_len={bytes_max}"))
        .arg(format!("-artifact_prefix={}/", failures.display()))
        .args([&corpus, &seeds])
        // What was freed lately is kept to catch its use: little of it, or it would count as the reader's memory.
        .env("ASAN_OPTIONS", "quarantine_size_mb=16")
        // An assertion's own text is enough.
        .env("RUST_BACKTRACE", "0")
        .output();
    output.unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

/// What libFuzzer says at its end under that name.
fn figure<'t>(said: &'t str, name: &str) -> &'t str {
    let line = said.lines().rfind(|line| line.contains(name));
    let rest = line.and_then(|line| line.split(name).nth(1));
    rest.and_then(|rest| rest.split_whitespace().next()).unwrap_or("?")
}

/// One target's run: its line for the table, or why it failed.
fn run(program: &Path, target: &str, bytes_max: usize) -> Result<(u64, String), String> {
    let output = fuzz(program, target, bytes_max);
    let said = String::from_utf8_lossy(&output.stderr);
    let executions = figure(&said, "stat::number_of_executed_units:");
    let line = format!(
        "{target:<16}{executions:>12} executions, {:>8}/s, {:>6} edges, {:>6} features, {:>4} MiB",
        figure(&said, "stat::average_exec_per_sec:"),
        figure(&said, "cov: "),
        figure(&said, "ft: "),
        figure(&said, "stat::peak_rss_mb:"),
    );
    if output.status.success() {
        let executions = executions
            .parse()
            .map_err(|_| format!("{target}: no figures:\n{said}"))?;
        return Ok((executions, line));
    }
    let input = failed_input(&said);
    // On a machine that does something else meanwhile a second is soon over: an input that is slow is slow again.
    let was_slow = said.contains("ERROR: libFuzzer: timeout");
    if let Some(input) = input.as_ref().filter(|_| was_slow) {
        let again = || {
            Command::new(program)
                .args(["-timeout=1"])
                .arg(input)
                .output()
                .expect("a target that ran")
        };
        if (0..3).any(|_| again().status.success()) {
            return Ok((
                1,
                format!("{line} (ended early: {} was slow once and not again)", input.display()),
            ));
        }
    }
    let tail: Vec<&str> = said.lines().rev().take(40).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    Err(format!(
        "{target} failed on {}; run {} on it\n{}",
        input.map_or("no input".into(), |path| path.display().to_string()),
        program.display(),
        tail.join("\n")
    ))
}

#[test]
fn no_bytes_break_a_reader() {
    let programs = build();
    let next = Mutex::new(TARGETS.iter());
    let failures = Mutex::new(Vec::new());
    let total = Mutex::new(0);
    let workers = thread::available_parallelism().map_or(2, |count| count.get());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some((target, bytes_max)) = next.lock().unwrap().next() else {
                        return;
                    };
                    match run(&programs.join(target), target, *bytes_max) {
                        Ok((executions, line)) => {
                            println!("{line}");
                            *total.lock().unwrap() += executions;
                        }
                        Err(failure) => failures.lock().unwrap().push(failure),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let total = total.into_inner().unwrap();
    println!(
        "{} readers, {} s each, {total} executions, 0 failures",
        TARGETS.len(),
        seconds()
    );
    assert!(total > 100 * TARGETS.len() as u64, "{total} executions are no fuzzing");
}
