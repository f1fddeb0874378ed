//! Ensembles of real processes: Apache ZooKeeper 3.9.5, Ringkeeper, and both together, under the load of three kinds of
//! clients, with histories checked.
//!
//! The first test is the control: what holds for three Java servers must hold for every mixture. `RINGKEEPER_SEED`
//! changes the random choices and `RINGKEEPER_ROUNDS` the number of rounds; failures name the seed. Every server listens
//! on loopback or in a namespace of its own and ends with its test.

#[path = "clients/cache.rs"]
#[allow(dead_code)]
mod cache;
#[path = "mixed/mod.rs"]
mod parts;
mod peers;

use std::time::{Duration, Instant};

use parts::check::{End, Promise, summary, violations};
use parts::ensemble::{Ensemble, Plan};
use parts::load::{Crowd, Load};
use parts::walk::walk_all;
use peers::Make::{self, Apache};

/// Three kinds of clients; sessions outlive every kill and restart.
const CROWD: Crowd = Crowd {
    writers: 3,
    kazoo: 2,
    java: 2,
    timeout_ms: 15_000,
    pause: Duration::from_millis(3),
};

/// Nothing may be lost, sessions included, and a sync reads everything.
const ALL: Promise = Promise {
    keeps_sessions: true,
    syncs: true,
};

/// Writes must go on within this time after a fault was healed.
const GO_ON_MAX: Duration = Duration::from_secs(30);

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(otherwise, |text| text.parse().expect(name))
}

/// Ends the load, compares all trees, and holds the history against them.
fn judge(ensemble: &Ensemble, mut load: Load, promise: Promise, what: &str) {
    load.quiet();
    let walked = walk_all(&ensemble.addresses());
    let complaints = ensemble.complaints();
    let history = load.end();
    let walked = walked.unwrap_or_else(|fault| panic!("{what}: {fault}\n{}", ensemble.keep_logs()));
    let end = End {
        from_us: walked.from_us,
        until_us: walked.until_us,
        tree: &walked.tree,
    };
    let mut wrong = violations(&history, &end, promise);
    wrong.extend(complaints);
    assert!(
        wrong.is_empty(),
        "{what}: {}\n{}\n{}",
        summary(&history),
        wrong.join("\n"),
        ensemble.keep_logs()
    );
    println!(
        "{what}: {}; {} nodes equal on {} servers at zxid {:#x}",
        summary(&history),
        walked.tree.nodes.len(),
        ensemble.members.len(),
        walked.tree.zxid
    );
}

/// Kills each of these once and starts it again, with writes before, meanwhile and after.
fn kill_in_turn(ensemble: &mut Ensemble, load: &Load, order: &[usize], what: &str) {
    for index in order {
        writes_go_on(ensemble, load, 50, what);
        ensemble.members[*index].kill9();
        let name = ensemble.members[*index].name();
        writes_go_on(ensemble, load, 50, &format!("{what}: without {name}"));
        ensemble.members[*index].start();
        ensemble.wait_all(&format!("{what}: {name} is back"));
    }
    writes_go_on(ensemble, load, 50, what);
}

fn writes_go_on(ensemble: &Ensemble, load: &Load, writes: u64, what: &str) -> Duration {
    load.goes_on(writes, GO_ON_MAX).unwrap_or_else(|| {
        panic!(
            "{}",
            ensemble.state(&format!("{what}: {writes} writes within {GO_ON_MAX:?}"))
        )
    })
}

fn plan(makes: &[Make]) -> Plan<'_> {
    Plan {
        makes,
        observers: &[],
        lines: &[],
        places: Vec::new(),
    }
}

#[test]
fn three_java_servers_are_the_control() {
    let what = "three Java servers";
    let begun = Instant::now();
    let mut ensemble = Ensemble::launch(&plan(&[Apache; 3]));
    let load = Load::begin(&ensemble.addresses(), CROWD, number("RINGKEEPER_SEED", 1));
    for _ in 0..number("RINGKEEPER_ROUNDS", 1) {
        kill_in_turn(&mut ensemble, &load, &[0, 1, 2], what);
    }
    judge(&ensemble, load, ALL, what);
    println!("{what}: {:.1} s", begun.elapsed().as_secs_f64());
}
