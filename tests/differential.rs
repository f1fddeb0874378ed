//! Ringkeeper against Apache ZooKeeper 3.9.5: the same requests, the same replies and events.
//!
//! Scripts of random requests (`generate`) go to both servers; what comes back is compared field by field after
//! times, session ids and absolute zxids were replaced by names (`run`). What may differ stands in one list
//! (`accepted`). `RINGKEEPER_SEED` runs one seed, `RINGKEEPER_DIFFERENTIAL_OPS` sets the number of operations; a
//! failure prints the seed and a shortened script with both servers' answers.

mod peers;
mod random;

mod differential {
    pub mod accepted;
    pub mod compare;
    pub mod generate;
    pub mod read;
    pub mod run;
    pub mod script;
    pub mod shrink;
    pub mod words;

    use super::random;
}

use std::time::{Duration, Instant};

use differential::accepted::ACCEPTED;
use differential::compare::{Accepted, Difference, Tally, compare};
use differential::generate::{Taste, script};
use differential::run::{Runner, SUPER_DIGEST, Seen};
use differential::script::Step;
use differential::shrink::shrink;
use peers::{Engine, JavaServer, Peer, RingServer};

/// What both servers are told.
fn lines(more: &[&str]) -> Vec<String> {
    let mut lines = vec![
        format!("DigestAuthenticationProvider.superDigest={SUPER_DIGEST}"),
        "minSessionTimeout=15000".into(),
        "maxSessionTimeout=60000".into(),
    ];
    lines.extend(more.iter().map(|line| line.to_string()));
    lines
}

fn java(more: &[&str]) -> Box<dyn Peer> {
    let lines = lines(more);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    // No fsync: nothing is killed here. No reaping of containers: its moment cannot be the same on both servers.
    Box::new(JavaServer::launch(
        &lines,
        &["zookeeper.forceSync=no", "znode.container.checkIntervalMs=86400000"],
    ))
}

fn ring(engine: Engine, more: &[&str]) -> Box<dyn Peer> {
    let lines = lines(more);
    let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    lines.push("znode.container.checkIntervalMs=86400000");
    Box::new(RingServer::launch(engine, &lines))
}

const EXTENDED: &str = "extendedTypesEnabled=true";
const QUOTAS: &str = "enforceQuota=true";
/// Sessions of 1 ms become sessions of 400 ms; those of the other slots outlive the script.
const FAST: &[&str] = &[EXTENDED, "tickTime=200", "minSessionTimeout=400"];

const PLAIN: Taste = Taste {
    steps: 120,
    expiry: false,
    pipelines: true,
};

#[test]
fn two_apache_servers_differ_nowhere() {
    hunt(
        "two Apache servers",
        [java(&[EXTENDED]), java(&[EXTENDED])],
        1,
        3000,
        PLAIN,
        ACCEPTED,
    );
}

#[test]
fn a_server_configured_otherwise_is_found_out() {
    let servers = [java(&[EXTENDED]), java(&[])];
    let mut pair = runners(&servers);
    let found = (1..20).any(|seed| compare(&mut pair, &script(seed, PLAIN), ACCEPTED, &mut Tally::default()).is_err());
    assert!(found, "TTL nodes on one server only, and no script saw a difference");
}

#[test]
fn ringkeeper_answers_as_apache_does_on_the_ring() {
    let servers = [ring(Engine::Uring, &[EXTENDED]), java(&[EXTENDED])];
    hunt("io_uring", servers, 1_000, 12_000, PLAIN, ACCEPTED);
}

#[test]
fn ringkeeper_answers_as_apache_does_without_extended_types_and_with_hard_quotas() {
    let servers = [ring(Engine::Uring, &[QUOTAS]), java(&[QUOTAS])];
    hunt(
        "io_uring, quotas",
        servers,
        200_000,
        4000,
        Taste {
            pipelines: false,
            ..PLAIN
        },
        ACCEPTED,
    );
}

#[test]
fn ringkeeper_answers_as_apache_does_on_epoll() {
    let servers = [ring(Engine::Epoll, &[EXTENDED]), java(&[EXTENDED])];
    hunt("epoll", servers, 300_000, 4000, PLAIN, ACCEPTED);
}

#[test]
fn ringkeeper_expires_sessions_as_apache_does() {
    let servers = [ring(Engine::Uring, FAST), java(FAST)];
    hunt(
        "expiry",
        servers,
        400_000,
        2000,
        Taste { expiry: true, ..PLAIN },
        ACCEPTED,
    );
}

fn runners(servers: &[Box<dyn Peer>; 2]) -> [Runner; 2] {
    [Runner::new(servers[0].address()), Runner::new(servers[1].address())]
}

/// Compares script after script until `operations` were sent; fails with a short script on the first difference.
fn hunt(what: &str, servers: [Box<dyn Peer>; 2], first: u64, operations: usize, taste: Taste, accepted: &[Accepted]) {
    let started = Instant::now();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let only = number("RINGKEEPER_SEED");
    let operations = number("RINGKEEPER_DIFFERENTIAL_OPS").map_or(operations, |count| count as usize);
    let mut pair = runners(&servers);
    let mut tally = Tally::default();
    let mut seed = only.unwrap_or(first);
    while tally.operations < operations {
        let steps = script(seed, taste);
        if let Err(difference) = compare(&mut pair, &steps, accepted, &mut tally) {
            let text = explain(&servers, &mut pair, seed, &steps, difference, accepted);
            panic!("{what}: {text}");
        }
        if only.is_some() {
            break;
        }
        seed += 1;
    }
    println!(
        "{what}: {} operations, {} answers compared, seeds {}..{seed}, {:.1} s;",
        tally.operations,
        tally.compared,
        only.unwrap_or(first),
        started.elapsed().as_secs_f64()
    );
    for each in accepted {
        println!(
            "    accepted {} times: {}: {}",
            tally.accepted.get(each.name).unwrap_or(&0),
            each.name,
            each.reason
        );
    }
}

/// The difference, and the shortest script that still shows one.
fn explain(
    servers: &[Box<dyn Peer>; 2],
    pair: &mut [Runner; 2],
    seed: u64,
    steps: &[Step],
    first: Difference,
    accepted: &[Accepted],
) -> String {
    let names = [servers[0].name(), servers[1].name()];
    let mut last = None;
    let mut fails = |script: &[Step]| match compare(pair, script, accepted, &mut Tally::default()) {
        Ok(()) => false,
        // Shrinking must keep the kind of the difference: the same opcodes in the differing step.
        Err(found) if kind(&script[found.step]) == kind(&steps[first.step]) => {
            last = Some((script.to_vec(), found));
            true
        }
        Err(_) => false,
    };
    if ![&first.ours, &first.theirs]
        .iter()
        .any(|seen| seen.contains(&Seen::Gone))
    {
        shrink(steps, Duration::from_secs(8), &mut fails);
    }
    let (script, found, shrunk) = match last {
        Some((script, found)) => (script, found, "shortened"),
        None => (steps.to_vec(), first, "whole (it did not fail again)"),
    };
    let mut text = format!("the servers differ; RINGKEEPER_SEED={seed}; the {shrunk} script:\n");
    for (index, step) in script.iter().enumerate().take(found.step + 1) {
        text += &format!("  {index}. {step}\n");
    }
    for (name, seen) in names.iter().zip([&found.ours, &found.theirs]) {
        text += &format!("{name}:\n");
        for each in seen {
            text += &format!("    {each:?}\n");
        }
    }
    text
}

/// What a step is, for telling one difference from another.
fn kind(step: &Step) -> (std::mem::Discriminant<Step>, Vec<i32>) {
    let opcodes = match step {
        Step::Requests { requests, .. } => requests.iter().map(|request| request.op).collect(),
        _ => Vec::new(),
    };
    (std::mem::discriminant(step), opcodes)
}
