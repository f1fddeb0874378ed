//! Playing a scenario to both servers at once, and judging what it printed.
//!
//! Invariant: a scenario passes when its program ends with status 0 and the `ok` lines are exactly the steps asked
//! for, in their order. A program that dies early, skips a step or hangs fails with what it said and the server's log.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::stage::{Kind, Stage};

/// The steps every client shows, in this order, before those of its own recipes.
pub const COMMON: &[&str] = &[
    "connect",
    "create-kinds",
    "versions",
    "children",
    "watches-in-order",
    "ephemeral-vanishes",
    "sequential",
    "multi-succeeds",
    "multi-fails-whole",
    "errors-are-mapped",
    "auth-and-acl",
    "large-data",
    "pipelined",
    "cut-keeps-session",
    "cut-resets-watches",
    "restart-keeps-session",
    "session-expires",
];

/// How long one scenario may run; the longest takes about a quarter of it on an idle machine.
const RUN_MAX: Duration = Duration::from_secs(240);

/// Plays the program that `command` makes to Apache ZooKeeper and to Ringkeeper; both must show `steps`.
///
/// The scenarios rest on session timeouts of seconds, and other people's clients on threads being scheduled within
/// them; on a busy machine either server loses such a race now and then. So a failure is shown and played once more,
/// and only a second one fails the test.
pub fn play(name: &str, steps: &[&str], command: impl Fn() -> Command + Sync) {
    let first = play_once(steps, &command);
    if first.is_empty() {
        return;
    }
    eprintln!(
        "{name} failed and is played once more; the first time:\n{}",
        first.join("\n")
    );
    let second = play_once(steps, &command);
    assert!(second.is_empty(), "{name}, twice:\n{}", second.join("\n"));
}

fn play_once(steps: &[&str], command: &(impl Fn() -> Command + Sync)) -> Vec<String> {
    thread::scope(|scope| {
        let plays =
            [Kind::Apache, Kind::Ringkeeper].map(|kind| scope.spawn(move || play_to(kind, steps, command()).err()));
        plays
            .into_iter()
            .filter_map(|play| play.join().unwrap_or_else(|_| Some("panicked, see above".into())))
            .collect()
    })
}

fn play_to(kind: Kind, steps: &[&str], command: Command) -> Result<(), String> {
    run_against(kind, command, |said| {
        let shown: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("ok ")).collect();
        let missing: Vec<_> = steps.iter().filter(|step| !shown.contains(step)).collect();
        if shown == steps {
            return Ok(());
        }
        Err(format!("steps not shown: {missing:?}"))
    })
    .map(drop)
}

/// Runs a program against a fresh server of this kind, and gives what it said. It fails with the server's log when its
/// status is not 0, or when `judge` finds fault with what it said.
pub fn run_against(
    kind: Kind,
    mut command: Command,
    judge: impl Fn(&str) -> Result<(), String>,
) -> Result<String, String> {
    let stage = Stage::set(kind);
    let dir = tempfile::tempdir().unwrap();
    let said = dir.path().join("said");
    let out = File::create(&said).unwrap();
    command.envs(stage.environment()).env("ZK_KIND", format!("{kind:?}"));
    command
        .stdin(Stdio::null())
        .stderr(out.try_clone().unwrap())
        .stdout(out);
    let end = run_for_a_while(&mut command)?;
    let said = read_lossy(&said);
    let verdict = judge(&said);
    if end == "exit status: 0" && verdict.is_ok() {
        return Ok(said);
    }
    let fault = verdict.err().unwrap_or_default();
    Err(format!(
        "=== against {kind:?}: {end}, {fault}\n--- the server's log ends:\n{}\n--- it said:\n{said}",
        stage.last_words()
    ))
}

fn run_for_a_while(command: &mut Command) -> Result<String, String> {
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let since = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Ok(status.to_string());
        }
        if since.elapsed() > RUN_MAX {
            let _ = child.kill();
            let _ = child.wait();
            return Ok(format!("killed after {RUN_MAX:?}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}
