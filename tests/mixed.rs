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

use std::time::Duration;

use parts::check::{End, Promise, summary, violations};
use parts::ensemble::{Ensemble, Plan, Return};
use parts::faults::{Fault, Rounds};
use parts::load::{Crowd, Load};
use parts::mount::Mount;
use parts::net::Net;
use parts::walk::walk_all;
use peers::Make::{self, Apache, Ringkeeper};

/// Three kinds of clients; sessions outlive every kill and restart.
const CROWD: Crowd = Crowd {
    writers: 3,
    kazoo: 2,
    java: 2,
    timeout_ms: 15_000,
    pause: Duration::from_millis(3),
};

/// Nothing may be lost, sessions included.
const ALL: Promise = Promise {
    keeps_sessions: true,
    leaders_know: true,
};

/// Writes must go on within this time after a fault was healed.
const GO_ON_MAX: Duration = Duration::from_secs(30);

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(otherwise, |text| text.parse().expect(name))
}

fn seed() -> u64 {
    number("RINGKEEPER_SEED", 1)
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
        "{what}: {}; {} nodes equal on {} servers at zxid {:#x}; {}",
        summary(&history),
        walked.tree.nodes.len(),
        ensemble.members.len(),
        walked.tree.zxid,
        ensemble.syncs()
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

/// What holds here must hold for every mixture.
#[test]
fn three_java_servers_are_the_control() {
    let what = "three Java servers";
    let mut ensemble = Ensemble::launch(&plan(&[Apache; 3]));
    let load = Load::begin(&ensemble.addresses(), CROWD, seed());
    for _ in 0..number("RINGKEEPER_ROUNDS", 1) {
        kill_in_turn(&mut ensemble, &load, &[0, 1, 2], what);
    }
    judge(&ensemble, load, ALL, what);
}

/// Java leads; two followers and an observer are ours. At the end the leader goes, and one of ours takes over.
#[test]
fn java_leads_and_ours_follow_and_observe() {
    let what = "Java leads ours";
    let mut ensemble = Ensemble::launch_led_by_last_voter(&Plan {
        observers: &[4],
        ..plan(&[Ringkeeper, Ringkeeper, Apache, Ringkeeper])
    });
    let load = Load::begin(&ensemble.addresses(), CROWD, seed());
    kill_in_turn(&mut ensemble, &load, &[0, 1, 3], what);
    assert_eq!(
        ensemble.leader(),
        Some(2),
        "{}",
        ensemble.state("the Java server leads still")
    );
    kill_in_turn(&mut ensemble, &load, &[2], what);
    judge(&ensemble, load, ALL, what);
}

/// Ours leads; two followers and an observer are Java's. At the end the leader goes, and a Java server takes over.
#[test]
fn ours_leads_and_java_follows_and_observes() {
    let what = "ours leads Java";
    let mut ensemble = Ensemble::launch_led_by_last_voter(&Plan {
        observers: &[4],
        ..plan(&[Apache, Apache, Ringkeeper, Apache])
    });
    let load = Load::begin(&ensemble.addresses(), CROWD, seed());
    kill_in_turn(&mut ensemble, &load, &[0, 1, 3], what);
    assert_eq!(
        ensemble.leader(),
        Some(2),
        "{}",
        ensemble.state("our server leads still")
    );
    let digests = ensemble.digests_logged(0) + ensemble.digests_logged(1);
    assert!(
        digests > 100,
        "{what}: {digests} transactions with a digest reached Java's followers"
    );
    kill_in_turn(&mut ensemble, &load, &[2], what);
    judge(&ensemble, load, ALL, what);
}

/// The procedure of the README: a running ensemble is taken over server by server, and given back.
#[test]
fn a_running_ensemble_is_taken_over_and_given_back() {
    let what = "taken over and given back";
    let mut ensemble = Ensemble::launch(&plan(&[Apache; 3]));
    let load = Load::begin(&ensemble.addresses(), CROWD, seed());
    for (make, hows) in [
        (Ringkeeper, [Return::Empty; 3]),
        (Apache, [Return::Empty, Return::Exported, Return::Empty]),
    ] {
        // The leader last, so that there is one change of leadership only.
        let leader = ensemble.wait_all(what);
        let mut order: Vec<usize> = (0..3).filter(|index| *index != leader).collect();
        order.push(leader);
        for (index, how) in order.into_iter().zip(hows) {
            writes_go_on(&ensemble, &load, 50, what);
            ensemble.members[index].end_in_order();
            ensemble.turn(index, make, how);
            ensemble.members[index].start();
            let name = ensemble.members[index].name();
            ensemble.wait_all(&format!("{what}: {name} is there"));
            let complaints = ensemble.complaints();
            assert!(
                complaints.is_empty(),
                "{what}: {name}: {complaints:?}\n{}",
                ensemble.keep_logs()
            );
        }
        kill_in_turn(&mut ensemble, &load, &[0], what);
    }
    judge(&ensemble, load, ALL, what);
}

#[test]
fn three_of_ours_are_killed_again_and_again() {
    kills(&[Ringkeeper; 3], "three of ours", 36);
}

/// Every pair of makes as leader and follower, in both directions, with what a killed leader leaves behind.
#[test]
fn mixed_ensembles_are_killed_again_and_again() {
    kills(&[Ringkeeper, Apache, Ringkeeper], "two of ours, one Java", 5);
    kills(&[Apache, Ringkeeper, Apache], "one of ours, two Java", 5);
}

#[test]
fn five_of_ours_are_killed_again_and_again() {
    kills(&[Ringkeeper; 5], "five of ours", 14);
}

/// Only this test's own clients: what they see of each reply is the strictest, and they are the fastest.
const OWN: Crowd = Crowd {
    writers: 4,
    kazoo: 0,
    java: 0,
    timeout_ms: 15_000,
    pause: Duration::from_millis(2),
};

/// Short ticks: a leader that stopped is left after a second.
const QUICK: &[&str] = &["tickTime=250", "maxSessionTimeout=60000"];

fn kills(makes: &[Make], what: &str, count: u64) {
    let ensemble = Ensemble::launch(&Plan {
        lines: QUICK,
        ..plan(makes)
    });
    let load = Load::begin(&ensemble.addresses(), OWN, seed());
    let faults = [
        Fault::KillLeader,
        Fault::KillFollower,
        Fault::KillLeader,
        Fault::KillMajority,
        Fault::KillAll,
    ];
    play(Rounds::of(what, &faults, seed()), count, ensemble, load, ALL);
}

fn play(mut rounds: Rounds, count: u64, mut ensemble: Ensemble, load: Load, promise: Promise) {
    let what = rounds.what;
    let played = rounds.play(number("RINGKEEPER_ROUNDS", count), &mut ensemble, &load);
    println!("{what}: {played}; {} servers ended by themselves", rounds.ended);
    judge(&ensemble, load, promise, what);
}

/// Sessions shorter than the faults: some may be lost, none early, and everything else holds.
const BRIEF: Crowd = Crowd {
    timeout_ms: 2_000,
    ..OWN
};
const LASTING: Duration = Duration::from_millis(2_600);
/// Faults outlast sessions: some may be lost.
fn brief_promise(makes: &[Make]) -> Promise {
    Promise {
        keeps_sessions: false,
        leaders_know: !makes.contains(&Apache),
    }
}

#[test]
fn three_of_ours_are_stopped_for_longer_than_a_session() {
    pauses(&[Ringkeeper; 3], "three of ours stopped", 8);
}

fn pauses(makes: &[Make], what: &str, count: u64) {
    let ensemble = Ensemble::launch(&Plan {
        lines: QUICK,
        ..plan(makes)
    });
    let load = Load::begin(&ensemble.addresses(), BRIEF, seed());
    let rounds = Rounds {
        lasting: LASTING,
        ..Rounds::of(what, &[Fault::PauseLeader, Fault::PauseFollower], seed())
    };
    play(rounds, count, ensemble, load, brief_promise(makes));
}

#[test]
fn three_of_ours_are_cut_off_from_each_other() {
    let faults = [
        Fault::IsolateLeader,
        Fault::MuteLeader,
        Fault::Split,
        Fault::IsolateFollower,
        Fault::CutPair,
    ];
    partitions(&[Ringkeeper; 3], "three of ours cut off", &faults, 5);
}

#[test]
fn five_of_ours_are_cut_off_from_each_other() {
    let faults = [Fault::Split, Fault::CutPair, Fault::IsolateLeader, Fault::MuteLeader];
    partitions(&[Ringkeeper; 5], "five of ours cut off", &faults, 4);
}

fn partitions(makes: &[Make], what: &str, faults: &[Fault], count: u64) {
    let net = match Net::new(makes.len()) {
        Ok(net) => net,
        Err(reason) => {
            println!("{what}: not shown, no network of its own is permitted here: {reason}");
            return;
        }
    };
    let ensemble = Ensemble::launch(&Plan {
        lines: QUICK,
        places: net.places(),
        ..plan(makes)
    });
    let load = Load::begin(&ensemble.addresses(), BRIEF, seed());
    let rounds = Rounds {
        lasting: LASTING,
        net: Some(net),
        ..Rounds::of(what, faults, seed())
    };
    play(rounds, count, ensemble, load, brief_promise(makes));
}

/// Full to the last byte, the leader or a follower: what is acknowledged stays, and it passes when there is room.
#[test]
fn disks_of_three_of_ours_are_full() {
    let what = "three of ours with full disks";
    let disks: Result<Vec<Mount>, String> = (0..3).map(|_| Mount::tmpfs(48)).collect();
    let disks = match disks {
        Ok(disks) => disks,
        Err(reason) => {
            println!("{what}: not shown, no file system of its own is permitted here: {reason}");
            return;
        }
    };
    // Snapshots often enough that what they need of the log is no more than half of a disk: only ballast fills it.
    let lines = [
        QUICK,
        &[
            "ringkeeper.segmentMegabytes=1",
            "ringkeeper.lowWaterMegabytes=8",
            "snapCount=1500",
        ],
    ]
    .concat();
    let mut ensemble = Ensemble::lay_out(&Plan {
        lines: &lines,
        ..plan(&[Ringkeeper; 3])
    });
    for (member, disk) in ensemble.members.iter_mut().zip(&disks) {
        member.move_data(&disk.path().join("data"));
        member.start();
    }
    ensemble.wait_all("the first start");
    let load = Load::begin(&ensemble.addresses(), OWN, seed());
    let rounds = Rounds {
        lasting: LASTING,
        disks,
        ..Rounds::of(what, &[Fault::FillFollower, Fault::FillLeader], seed())
    };
    play(rounds, 6, ensemble, load, ALL);
}

/// The same rounds on Java servers: whoever doubts a failure of ours runs these.
#[test]
#[ignore = "the control of the rounds takes minutes; --ignored runs it"]
fn java_servers_in_the_same_rounds() {
    kills(&[Apache; 3], "three Java servers", 5);
    pauses(&[Apache; 3], "three Java servers stopped", 4);
    let faults = [
        Fault::IsolateLeader,
        Fault::MuteLeader,
        Fault::Split,
        Fault::IsolateFollower,
        Fault::CutPair,
    ];
    partitions(&[Apache; 3], "three Java servers cut off", &faults, 5);
}
