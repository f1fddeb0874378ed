//! A whole ensemble in one process and one seed: real members, with disks that forget what was not synced, a network
//! that cuts, delays and loses, pauses, crashes, and clients with sessions, on any server.
//!
//! Each seed first breaks things, then heals them and demands agreement. A failing seed prints the command that replays
//! it; `RINGKEEPER_SEED` runs one seed alone and tells every step, `RINGKEEPER_SEEDS` says how many are run,
//! `RINGKEEPER_SEED_FIRST` from which on.
//!
//! What breaks (`simulation/faults.rs`, alone or several at once): servers are killed, one or all, with or without a
//! word to their peers, and back after a while or at once, with any beginning of what was not synced lost
//! (`disk.rs`; records torn in their middle are `storage/tests/log_crash.rs`, a level below); they stand still; their
//! disks are slow; connections break, hang half-open, are reset or made twice; the network is cut for one server or
//! some pairs, in one direction or both; it is slow, loses election mail, or hands it in again long after
//! (`network.rs`).
//!
//! Where the notes' invariants are checked. As it happens, in `check.rs` unless another file is named:
//!
//! | | |
//! |---|---|
//! | Z1, Z4 | `proposes`, `decide` |
//! | Z2 | `delivers`, `shows`; Z3 follows from it and Z5 |
//! | Z5, Z10 | `decide` |
//! | Z6 | `begins`, `leads` |
//! | Z7 | `proposes`, `leads` |
//! | Z8 | `begins`, `leads`, `removes` |
//! | Z9 | `promises`, `acknowledges`, `recovers` |
//! | Z11 | `digests`; `Output::Mismatch` in `world.rs`; every replay in `disk.rs`; at rest in `faults.rs` |
//! | Z12 | `converge` in `faults.rs` |
//! | C1 | `reply` in `client.rs`, `tell` in `core.rs`, `judge_txn` in `history.rs` |
//! | C2, C5 | `hears` in `history.rs`; C2's replay in `judge_txn` |
//! | C4 | `sees` in `client.rs` |
//! | C12 | `expiry.rs`; that no session outlives its client in `faults.rs` |
//!
//! From the record, when a seed is over (`history.rs`, by the model in `model.rs`):
//!
//! | | |
//! |---|---|
//! | C3, C6, C7, C16 | `judged` |
//! | C8, C9, C10 | `judge_watches`: one-shot data watches of one connection; C10's reads are C3's |
//! | C11 | `judge_close` |
//! | C13, C14, C15 | `judge_txn`: names, multis and versions are the model's |

mod random;
mod reason;

mod simulation {
    pub mod bug;
    pub mod check;
    pub mod client;
    pub mod core;
    pub mod disk;
    pub mod expiry;
    pub mod faults;
    pub mod history;
    pub mod model;
    pub mod network;
    pub mod server;
    pub mod trace;
    pub mod traffic;
    pub mod world;

    use super::random;
}

use std::cell::Cell;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Instant;

use reason::reason;
use simulation::bug::Bug;
use simulation::world::{Tally, World};

/// Things break for so many ticks; a seed's tick is 200, 500 or 2000 ms.
const TICKS_BROKEN: u64 = 300;

/// Seeds that CI runs, each of them twice.
const SEEDS: u64 = 1_950;

/// Seeds after which a bug that was put back counts as missed.
const SEEDS_PER_BUG: u64 = 2000;

/// Into the log of a run, of one that is green too: what `println!` says is shown only where a test fails.
macro_rules! say {
    ($($what:tt)*) => {
        writeln!(io::stdout().lock(), $($what)*).expect("somebody reads it")
    };
}

/// As in the server: a seed is made of small pieces.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One history, from the seed.
fn history(seed: u64, bug: Option<Bug>, loud: bool) -> World {
    let mut world = World::new(seed, bug);
    world.loud = loud;
    let broken_ms = world.tick_ms * TICKS_BROKEN;
    world.disturb(broken_ms);
    world.converge();
    world
}

thread_local! {
    /// Whether a panic of this thread is a verdict, which needs no report of its own.
    static JUDGING: Cell<bool> = const { Cell::new(false) };
}

/// What comes of it, with a violation as a value.
fn verdict<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !JUDGING.get() {
                usual(panic);
            }
        }));
    });
    JUDGING.set(true);
    let judged = catch_unwind(AssertUnwindSafe(run));
    JUDGING.set(false);
    judged.map_err(|panic| reason(&*panic))
}

/// A seed's history, which must be the same each time. All that clients heard is in the trace: where that is the same,
/// what they were told need not be judged again.
fn run_twice(seed: u64) -> Result<Tally, String> {
    let tally = verdict(|| history(seed, None, false).finish())?;
    let first = (tally.trace, tally.virtual_ms, tally.steps);
    let second = verdict(|| history(seed, None, false).so_far())?;
    if first != second {
        return Err(format!(
            "not the same history when run again: {first:x?} and {second:x?}"
        ));
    }
    Ok(tally)
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Runs `job` for each number below `count`, on two threads.
fn on_two_threads(count: u64, job: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let taken = next.fetch_add(1, Ordering::Relaxed);
                    if taken >= count {
                        return;
                    }
                    job(taken);
                }
            });
        }
    });
}

/// A job that panics says so by itself.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn an_ensemble_survives_what_breaks_and_finds_together() {
    if let Some(seed) = number("RINGKEEPER_SEED") {
        println!("{:#?}", history(seed, None, true).finish());
        return;
    }
    let count = number("RINGKEEPER_SEEDS").unwrap_or(SEEDS);
    let first_seed = number("RINGKEEPER_SEED_FIRST").unwrap_or(0);
    let started = Instant::now();
    let tallies = Mutex::new(Vec::new());
    let failures = Mutex::new(Vec::new());
    on_two_threads(count, |index| match run_twice(first_seed + index) {
        Ok(tally) => lock(&tallies).push(tally),
        Err(why) => lock(&failures).push((first_seed + index, why)),
    });
    let failures = lock(&failures);
    for (seed, why) in failures.iter() {
        say!(
            "seed {seed}: {why}\n  RINGKEEPER_SEED={seed} cargo test --release --test simulation an_ensemble -- --nocapture"
        );
    }
    report(&lock(&tallies), started.elapsed().as_secs_f64());
    assert!(failures.is_empty(), "{} of {count} seeds failed", failures.len());
}

fn report(tallies: &[Tally], took_s: f64) {
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let hours = sum(|tally| tally.virtual_ms) as f64 / 3.6e6;
    say!(
        "{} seeds twice in {took_s:.0} s: {hours:.1} cluster-hours each time, {:.0} times as fast as time",
        tallies.len(),
        2.0 * hours * 3600.0 / took_s
    );
    say!(
        "{} steps, {} decided, {} acknowledged, {} epochs with a quorum, {} crashes, {} DIFF, {} TRUNC, {} SNAP",
        sum(|tally| tally.steps),
        sum(|tally| tally.decided as u64),
        sum(|tally| tally.acknowledged as u64),
        sum(|tally| tally.epochs as u64),
        sum(|tally| tally.crashes as u64),
        sum(|tally| tally.diffs as u64),
        sum(|tally| tally.truncs as u64),
        sum(|tally| tally.snaps as u64),
    );
    say!(
        "{} reads, {} watches fired, {} sessions expired, {} requests of sessions that had moved",
        sum(|tally| tally.reads as u64),
        sum(|tally| tally.events as u64),
        sum(|tally| tally.sessions_expired as u64),
        sum(|tally| tally.moved as u64),
    );
    let overtaken = sum(|tally| tally.overtaken as u64);
    say!("{overtaken} leaders began to serve when a later epoch had begun without their knowing");
    let slowest = tallies.iter().map(|tally| tally.converged_ms).max().unwrap_or(0);
    say!("after healing: in step and ten writes later in at most {slowest} ms of virtual time");
}

#[test]
fn every_bug_that_is_put_back_is_caught() {
    let missed = Mutex::new(Vec::new());
    on_two_threads(Bug::ALL.len() as u64, |index| {
        let bug = Bug::ALL[index as usize];
        match (0..SEEDS_PER_BUG).find_map(|seed| {
            let judged = verdict(|| history(seed, Some(bug), false).finish());
            judged.err().map(|why| (seed, why))
        }) {
            Some((seed, why)) => {
                let why = why.lines().next().unwrap_or_default();
                say!("{bug:?}: caught after {} seeds: {why}", seed + 1);
            }
            None => lock(&missed).push(bug),
        }
    });
    let missed = lock(&missed);
    assert!(missed.is_empty(), "not caught in {SEEDS_PER_BUG} seeds: {missed:?}");
}
