//! Controller failover at scale: the controller of a cluster with thousands of partitions is killed, and what the
//! servers had to do for it is replayed.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use super::broker::Broker;
use super::cluster::{Cluster, SESSION_MS};
use super::wire::{Recorder, Replayed, Request, any_version, replay};
use crate::peers::{Make, Member};

/// Partitions of each topic.
const PARTITIONS: usize = 10;
/// Topics that are created with one request.
const AT_ONCE: usize = 100;
const REPLAYS: usize = 5;
/// Files that a broker has open beside those of partitions.
const FILES_BESIDE: usize = 1_500;

/// One failover.
#[derive(Debug)]
pub struct Failover {
    /// From the kill to the last partition's new leader.
    pub whole: Duration,
    /// The same from the moment at which the new controller began.
    pub elected: Duration,
    /// What the new controller sent to its server.
    pub requests: Vec<Request>,
    /// The replays of the given recording, or of this failover's own, in their order.
    pub replays: Vec<Replayed>,
}

/// Fills a cluster, kills its controller, and replays `recording` (or what it recorded itself) on its servers.
pub fn failover(make: Make, topics: usize, recording: Option<&[Request]>) -> Failover {
    let since = Instant::now();
    let told = |what: &str| println!("{:>6.1} s {make:?}: {what}", since.elapsed().as_secs_f64());
    let mut recorder = None;
    let mut cluster = Cluster::launch_through(
        make,
        |servers| recorder.insert(Recorder::start(servers)).addresses.clone(),
        |member| {
            member.heap_megabytes = 512;
            member.starts_quickly = false;
        },
        |broker| broker.heap_megabytes = 384 + topics as u32 * 3 / 5,
    );
    let recorder = recorder.expect("proxies");
    told("started");
    for first in (0..topics).step_by(AT_ONCE) {
        let count = AT_ONCE.min(topics - first).to_string();
        cluster
            .driver
            .ask(&["create", &format!("many-{first}"), &count, &PARTITIONS.to_string(), "2"]);
    }
    told("topics created");
    cluster.wait_whole("all topics");
    told("all partitions have leaders");
    let old = cluster.controller().expect("a controller");
    let killed = Instant::now();
    let killed_ms = ms_of_day();
    cluster.brokers[old as usize - 1].kill9();
    let new = cluster.wait_other_controller(old);
    let said = cluster.wait_leaders("the survivor leads all", |said| {
        !said.contains("-1=") && !said.contains(&format!("{old}="))
    });
    told(&said);
    let survivor = &cluster.brokers[new as usize - 1];
    let (whole, elected) = times(survivor, killed_ms);
    let requests = recorder.busiest_since(killed);
    stop(&mut cluster);
    told("brokers stopped");
    let kept: Vec<Request> = recording.unwrap_or(&requests).iter().map(any_version).collect();
    let pids: Vec<u32> = cluster.ensemble.members.iter().map(Member::pid).collect();
    let address = cluster.ensemble.members[0].address();
    let replays = (0..REPLAYS).map(|_| replay(&kept, address, &pids)).collect();
    told("replayed");
    Failover {
        whole,
        elected,
        requests,
        replays,
    }
}

/// How many of the topics fit: a broker has a file of each partition open, and this machine may not allow so many.
pub fn fitting(topics: usize) -> usize {
    let prlimit = |arguments: &[&str]| {
        let mut command = Command::new("prlimit");
        let output = command
            .args(["--pid", &std::process::id().to_string()])
            .args(arguments)
            .output();
        output.unwrap_or_else(|error| panic!("prlimit: {error}; apt-get install util-linux"))
    };
    let wanted = topics * PARTITIONS + FILES_BESIDE;
    if prlimit(&[&format!("--nofile={wanted}:{wanted}")]).status.success() {
        return topics;
    }
    let said = prlimit(&["--nofile", "--noheadings", "--output=HARD"]).stdout;
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    let allowed = said.parse::<usize>().unwrap_or_else(|_| panic!("prlimit: {said:?}"));
    let fit = topics.min(allowed.saturating_sub(FILES_BESIDE) / PARTITIONS);
    if fit < topics {
        println!("{fit} topics instead of {topics}: a process may have {allowed} files open here, not {wanted}");
    }
    fit
}

/// Only the servers are needed from here on: there is nothing to be gained by handing twenty thousand partitions over.
fn stop(cluster: &mut Cluster) {
    for broker in cluster.brokers.iter_mut().filter(|broker| broker.is_up()) {
        broker.kill9();
    }
    let expired = Duration::from_millis(SESSION_MS + 2_000);
    let is_gone = || cluster.node("/controller").is_none();
    assert!(
        crate::peers::wait_until(expired * 2, is_gone),
        "the killed broker's session stays"
    );
}

/// From the kill, and from the election of the new controller, to the last partition that the survivor began to lead.
fn times(survivor: &Broker, killed_ms: u64) -> (Duration, Duration) {
    let output = survivor.output();
    let since_kill = |line: &str| (ms_of_line(line) + DAY_MS - killed_ms) % DAY_MS;
    let elected = output
        .lines()
        .rfind(|line| line.contains("successfully elected as the controller"));
    let elected = since_kill(elected.expect("the new controller says so"));
    let is_leader = |line: &&str| line.contains("[Broker id=") && line.contains("] Leader ");
    let last = output
        .lines()
        .rfind(is_leader)
        .map(since_kill)
        .expect("it leads something");
    assert!(
        elected <= last && last < DAY_MS / 2,
        "elected {elected} ms and led all {last} ms after the kill"
    );
    (Duration::from_millis(last), Duration::from_millis(last - elected))
}

const DAY_MS: u64 = 86_400_000;

fn ms_of_day() -> u64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a clock after 1970");
    now.as_millis() as u64 % DAY_MS
}

/// `2026-11-25 17:34:42,585 ...`, in UTC.
fn ms_of_line(line: &str) -> u64 {
    let part = |from: usize, to: usize| {
        line.get(from..to)
            .and_then(|text| text.parse::<u64>().ok())
            .expect("a time")
    };
    ((part(11, 13) * 60 + part(14, 16)) * 60 + part(17, 19)) * 1000 + part(20, 23)
}

#[test]
fn times_of_lines() {
    assert_eq!(ms_of_line("2026-11-25 01:02:03,004 INFO x"), 3_723_004);
}
