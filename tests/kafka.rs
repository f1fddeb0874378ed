//! Apache Kafka 3.9 with its metadata in three Ringkeeper servers, and the same in three Apache ZooKeeper 3.9.5
//! servers in the same run: a real cluster, used through Kafka's own clients and tools, while servers and brokers are
//! killed, stopped and restarted.
//!
//! No record that was acknowledged may be lost, no broker may end by itself, controllers' epochs go up by one, and no kind
//! of trouble with the metadata's servers may be in the logs on Ringkeeper alone, but for what `kafka/logs.rs` explains.
//! Kafka comes by its Maven coordinates (`tools/apache-kafka.pom.xml`); a JDK or a Maven that is missing fails the test by
//! name.

#[path = "clients/cache.rs"]
#[allow(dead_code)]
mod cache;
#[path = "mixed/mod.rs"]
mod parts;
mod peers;
mod reason;

mod kafka {
    pub mod broker;
    pub mod cluster;
    mod command;
    pub mod driver;
    pub mod jars;
    pub mod logs;
    pub mod migration;
    pub mod rounds;
    pub mod scale;
    pub mod scenario;
    pub mod trouble;
    pub mod wire;
}

use std::thread;

use kafka::logs;
use kafka::rounds::rounds;
use kafka::scale::{failover, fitting};
use kafka::scenario::play;
use peers::Make;
use reason::reason;

#[test]
fn a_kafka_cluster_lives_on_ringkeeper_as_on_zookeeper() {
    let plays = thread::scope(|scope| {
        [Make::Ringkeeper, Make::Apache]
            .map(|make| scope.spawn(move || play(make)))
            .map(|play| play.join())
    });
    // Why a play failed is said last, behind all that its processes wrote.
    let [ours, theirs] = plays.map(|play| play.map_err(|panic| reason(&*panic)));
    let (Ok(ours), Ok(theirs)) = (&ours, &theirs) else {
        let why = |play: Result<_, String>| play.err().unwrap_or_else(|| "went through".into());
        panic!("on Ringkeeper: {}\non ZooKeeper: {}", why(ours), why(theirs));
    };
    let wrong = logs::compare(&ours.kinds, &theirs.kinds);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the coordination server may take of ZooKeeper's part in a controller's failover.
const SHARE: f64 = 0.25;

#[test]
#[ignore = "takes about six minutes and 5 GB: cargo test --release --test kafka failover_of_a_controller -- --ignored --nocapture \
            (RINGKEEPER_KAFKA_TOPICS=2000, of 10 partitions each)"]
fn failover_of_a_controller_at_scale() {
    let topics = std::env::var("RINGKEEPER_KAFKA_TOPICS").map_or(2000, |text| text.parse().expect("a number"));
    let topics = fitting(topics);
    let ours = failover(Make::Ringkeeper, topics, None);
    let theirs = failover(Make::Apache, topics, Some(&ours.requests));
    println!(
        "{topics} topics of 10 partitions, {} requests of the new controller (ZooKeeper's: {})",
        ours.requests.len(),
        theirs.requests.len()
    );
    for (name, one) in [("Ringkeeper", &ours), ("ZooKeeper", &theirs)] {
        println!(
            "{name:>10}: {:.2} s from the kill to the last new leader, {:.2} s of it from the new controller's election",
            one.whole.as_secs_f64(),
            one.elected.as_secs_f64()
        );
        for replay in &one.replays {
            println!(
                "            replayed in {:.0} ms, {:.0} ms of the servers' processors; error codes {:?}",
                replay.wall.as_secs_f64() * 1000.0,
                replay.cpu_us as f64 / 1000.0,
                replay.errors
            );
        }
    }
    assert!(
        ours.requests.len() > topics * 11,
        "a controller reads every topic and partition"
    );
    // The first one finds the servers as a failover does; the best one is without what else the machine does.
    for (name, pick) in [("first", 0), ("best", 1)] {
        let of = |one: &kafka::scale::Failover| match pick {
            0 => (one.replays[0].cpu_us as f64, one.replays[0].wall.as_secs_f64()),
            _ => (
                one.replays.iter().map(|replay| replay.cpu_us).min().expect("replays") as f64,
                one.replays
                    .iter()
                    .map(|replay| replay.wall.as_secs_f64())
                    .fold(f64::MAX, f64::min),
            ),
        };
        let ((our_cpu, our_wall), (their_cpu, their_wall)) = (of(&ours), of(&theirs));
        println!(
            "{name} replay: {:.3} of ZooKeeper's processor time, {:.3} of its time",
            our_cpu / their_cpu,
            our_wall / their_wall
        );
        assert!(
            our_cpu / their_cpu <= SHARE && our_wall / their_wall <= SHARE,
            "{name} replay: more than {SHARE} of what ZooKeeper takes"
        );
    }
}

#[test]
#[ignore = "two minutes for 12 rounds: RINGKEEPER_ROUNDS=12 cargo test --release --test kafka kafka_survives -- --ignored --nocapture"]
fn kafka_survives_round_after_round() {
    rounds(std::env::var("RINGKEEPER_ROUNDS").map_or(12, |text| text.parse().expect("a number")));
}
