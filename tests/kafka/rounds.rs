//! Round after round something happens to a server or a broker, while records are sent and topics come and go.

use std::time::Duration;

use super::scenario::{Play, RECORDS, stop};
use crate::peers::{Make, Member, wait_until};

const EACH: usize = 3_000;

/// Plays so many rounds on Ringkeeper; which fault is whose turn follows from the round alone.
pub fn rounds(count: usize) {
    let mut play = Play::begin(Make::Ringkeeper);
    play.cluster.driver.ask(&["create", RECORDS, "1", "20", "2"]);
    play.cluster.wait_whole("a new topic");
    for round in 0..count {
        let epoch = play.cluster.controller_epoch();
        play.produce(EACH, 2_000);
        let (what, is_of_broker) = fault(&mut play, round);
        let topic = format!("round-{round}");
        play.cluster
            .driver
            .ask(&["config", RECORDS, "max.message.bytes", &format!("{}", 800_000 + round)]);
        if round > 0 {
            play.cluster.driver.ask(&["delete", &format!("round-{}", round - 1)]);
        }
        play.cluster.ensemble.wait_all(what);
        play.produced(EACH);
        play.cluster.wait_whole(what);
        play.cluster.driver.ask(&["create", &topic, "1", "5", "2"]);
        play.cluster.wait_whole(what);
        play.told(&format!("round {round}: {what}"));
        if !is_of_broker {
            assert_eq!(play.cluster.controller_epoch(), epoch, "{what}: the controller stays");
        }
        if round > 0 {
            let gone = format!("/brokers/topics/round-{}", round - 1);
            let is_gone = || play.cluster.node(&gone).is_none();
            assert!(wait_until(Duration::from_secs(30), is_gone), "{what}: {gone} stays");
        }
        let (text, _) = play
            .cluster
            .node(&format!("/config/topics/{RECORDS}"))
            .expect("a configuration");
        assert!(text.contains(&format!("{}", 800_000 + round)), "{what}: {text}");
    }
    play.consume_all();
    stop(&mut play.cluster);
}

/// What happened, and whether to a broker.
fn fault(play: &mut Play, round: usize) -> (&'static str, bool) {
    std::thread::sleep(Duration::from_millis(300));
    let ensemble = &mut play.cluster.ensemble;
    let leader = ensemble.wait_all("a leader");
    let other = (leader + 1 + round % 2) % 3;
    match round % 6 {
        0 => {
            ensemble.members[leader].kill9();
            ensemble.wait_all("the next leader");
            ensemble.members[leader].start();
            ("the leader was killed", false)
        }
        1 => {
            ensemble.members[other].kill9();
            std::thread::sleep(Duration::from_millis(500));
            ensemble.members[other].start();
            ("a follower was killed", false)
        }
        2 => {
            ensemble.members[leader].signal("STOP");
            std::thread::sleep(Duration::from_secs(3));
            ensemble.members[leader].signal("CONT");
            ("the leader stood still for 3 s", false)
        }
        3 => {
            ensemble.members.iter_mut().for_each(Member::kill9);
            ensemble.members.iter_mut().for_each(Member::start);
            ("all servers were killed", false)
        }
        4 => {
            let index = round / 6 % 2;
            play.cluster.brokers[index].kill9();
            // A broker that finds its own registration from before does not start; Kafka waits for nobody.
            let registration = format!("/brokers/ids/{}", index + 1);
            let is_gone = || play.cluster.node(&registration).is_none();
            assert!(wait_until(Duration::from_secs(30), is_gone), "{registration} stays");
            play.cluster.brokers[index].start();
            play.cluster.brokers[index].wait_started();
            ("a broker was killed", true)
        }
        _ => {
            ensemble.members[other].signal("STOP");
            std::thread::sleep(Duration::from_secs(3));
            ensemble.members[other].signal("CONT");
            ("a follower stood still for 3 s", false)
        }
    }
}
