//! `tools/kafka.sh`, as a person types it: it starts everything, says what to type, and leaves no process behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::kafka::jars::classpath;
use crate::peers::{Process, wait_until};

fn script(directory: &Path) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/kafka.sh"));
    command.env("RINGKEEPER_SERVER", env!("CARGO_BIN_EXE_zk-server"));
    command.env("RINGKEEPER_KAFKA_DIR", directory).stdin(Stdio::null());
    command
}

/// Processes with this directory in their command line.
fn of_directory(directory: &Path) -> Vec<PathBuf> {
    let name = directory.display().to_string();
    let is_one = |path: &PathBuf| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&name)
    };
    let all = fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .map(|entry| entry.path());
    all.filter(is_one).collect()
}

/// Ends what a command that was ended itself has started: it lives in sessions of its own.
struct Leftovers<'d>(&'d Path);

impl Drop for Leftovers<'_> {
    fn drop(&mut self) {
        for process in of_directory(self.0) {
            let pid = process.file_name().unwrap_or_default();
            // It may have ended by itself since.
            let _ = Command::new("kill").arg("-KILL").arg(pid).status();
        }
        wait_until(Duration::from_secs(10), || of_directory(self.0).is_empty());
    }
}

/// Ctrl-C, or SIGTERM where whoever started this test made it deaf to Ctrl-C: a shell cannot undo that.
fn interrupt() -> &'static str {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    if ignored & 0b10 == 0 { "INT" } else { "TERM" }
}

fn said(output: Output) -> String {
    let text = [output.stdout, output.stderr].concat();
    format!("{}\n{}", output.status, String::from_utf8_lossy(&text))
}

#[test]
fn the_command_starts_kafka_and_leaves_nothing_behind() {
    // The jars: under the same lock.
    classpath();
    let home = TempDir::with_prefix("kafka-command-").expect("temporary directory");
    let directory = home.path().join("cluster");
    let _left = Leftovers(&directory);
    for life in 1..=2 {
        let output = home.path().join(format!("said-{life}"));
        let mut process = Process::spawn(&mut script(&directory), &output);
        let greeting = || {
            fs::read_to_string(&output)
                .unwrap_or_default()
                .contains("Ctrl-C here ends everything")
        };
        process.wait_ready(Duration::from_secs(120), greeting);
        assert_eq!(of_directory(&directory).len(), 5, "three servers, two brokers");
        if life == 1 {
            let second = said(script(&directory).output().expect("a second start"));
            assert!(
                second.starts_with("exit status: 1") && second.contains("tools/kafka.sh stop ends it"),
                "{second}"
            );
            let run = |words: &[&str]| said(script(&directory).args(words).output().expect("a word"));
            let made = run(&["topics", "--create", "--topic", "greetings", "--partitions", "10"]);
            assert!(made.contains("Created topic greetings"), "{made}");
            let text = home.path().join("text");
            fs::write(&text, "hello\n").expect("text");
            let sent = script(&directory)
                .args(["produce", "greetings"])
                .stdin(fs::File::open(&text).expect("text"))
                .output();
            let sent = said(sent.expect("produce"));
            assert!(sent.starts_with("exit status: 0"), "{sent}");
        }
        // The second life has what the first one got.
        let words = ["consume", "greetings", "--max-messages", "1", "--timeout-ms", "60000"];
        let got = said(script(&directory).args(words).output().expect("consume"));
        assert!(got.contains("\nhello\n"), "{got}");
        match life {
            1 => process.signal(interrupt()),
            _ => drop(said(script(&directory).arg("stop").output().expect("stop"))),
        }
        assert!(
            wait_until(Duration::from_secs(90), || process.ended().is_some()),
            "the command does not end: {}",
            process.output()
        );
        let left = of_directory(&directory);
        assert!(left.is_empty(), "processes that are left: {left:?}");
        assert!(process.output().contains("All stopped"), "{}", process.output());
    }
    let usage = said(script(&directory).arg("help").output().expect("usage"));
    assert!(
        usage.starts_with("exit status: 0") && usage.contains("Usage: tools/kafka.sh"),
        "{usage}"
    );
    let wrong = said(script(&directory).arg("nonsense").output().expect("usage"));
    assert!(wrong.starts_with("exit status: 2"), "{wrong}");
    let none = said(
        script(&directory)
            .args(["topics", "--list"])
            .output()
            .expect("no cluster"),
    );
    assert!(none.contains("no cluster runs in"), "{none}");
}
