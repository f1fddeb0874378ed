//! The steps of the scenario in which servers and brokers are killed, stopped and restarted. What holds after each of
//! them: every acknowledged record is there once, all replicas are in step, and the controller is who it must be.

use std::time::Duration;

use super::broker::Broker;
use super::cluster::{SESSION_MS, SOON};
use super::scenario::{Play, everything_is_there, stop};
use crate::parts::ensemble::Return;
use crate::peers::{Make, Member, wait_until};

/// Something happens to the servers while records are sent: none is lost, all are in step again, and the controller stays,
/// for no broker lost its session.
fn while_producing(play: &mut Play, (count, rate): (usize, usize), what: &str, trouble: impl FnOnce(&mut Play)) {
    let controller = |play: &Play| (play.cluster.controller(), play.cluster.controller_epoch());
    let before = controller(play);
    play.produce(count, rate);
    trouble(play);
    play.produced(count);
    play.consume_all();
    play.cluster.wait_whole(what);
    assert_eq!(controller(play), before, "{what}: the controller stays");
}

/// Sessions are kept by whoever leads next, and so is the controller.
pub fn kill_the_leader(play: &mut Play) {
    while_producing(play, (12_000, 4_000), "after the leader was killed", |play| {
        std::thread::sleep(Duration::from_millis(700));
        let ensemble = &mut play.cluster.ensemble;
        let leader = ensemble.wait_all("a leader to kill");
        ensemble.members[leader].kill9();
        ensemble.wait_all("another leader");
        // Something that needs the controller and the servers, while one of them is away.
        play.cluster.driver.ask(&["create", "meanwhile", "1", "10", "2"]);
        play.cluster.ensemble.members[leader].start();
        play.cluster.ensemble.wait_all("the killed leader is back");
    });
}

/// What an upgrade does.
pub fn restart_servers(play: &mut Play) {
    while_producing(play, (24_000, 4_000), "after the servers were restarted", |play| {
        for index in 0..3 {
            let ensemble = &mut play.cluster.ensemble;
            ensemble.members[index].end_in_order();
            ensemble.wait_all("the other two");
            ensemble.members[index].start();
            ensemble.wait_all("all three");
        }
    });
}

/// A power cut of the machine room: sessions go on when the servers are back within their timeout.
pub fn kill_all_servers(play: &mut Play) {
    while_producing(play, (8_000, 4_000), "after all servers were killed", |play| {
        let ensemble = &mut play.cluster.ensemble;
        ensemble.members.iter_mut().for_each(Member::kill9);
        ensemble.members.iter_mut().for_each(Member::start);
        ensemble.wait_all("all three");
    });
}

/// Its session ends by itself, and the other broker leads everything.
pub fn kill_the_controller(play: &mut Play) {
    let (old, epoch) = (
        play.cluster.controller().expect("a controller"),
        play.cluster.controller_epoch(),
    );
    play.produce(8_000, 1_000);
    play.cluster.brokers[old as usize - 1].kill9();
    let new = play.cluster.wait_other_controller(old);
    assert_eq!(play.cluster.controller_epoch(), epoch + 1, "the next epoch");
    play.cluster.wait_leaders("the survivor leads", |said| {
        !said.contains("-1=") && !said.contains(&format!("{old}=")) && said.contains(&format!("{new}="))
    });
    assert_eq!(play.cluster.node(&format!("/brokers/ids/{old}")), None);
    play.produced(8_000);
    play.cluster.brokers[old as usize - 1].start();
    play.cluster.brokers[old as usize - 1].wait_started();
    play.cluster.wait_whole("the killed broker is back");
    play.consume_all();
    assert_eq!(
        play.cluster.controller_epoch(),
        epoch + 1,
        "it stays with the new controller"
    );
}

/// It does not know that it is none any more when it goes on.
pub fn expire_the_controller(play: &mut Play) {
    let (old, epoch) = (
        play.cluster.controller().expect("a controller"),
        play.cluster.controller_epoch(),
    );
    let stopped = old as usize - 1;
    let registration = play
        .cluster
        .node(&format!("/brokers/ids/{old}"))
        .expect("a registered broker");
    play.produce(8_000, 800);
    play.cluster.brokers[stopped].signal("STOP");
    let new = play.cluster.wait_other_controller(old);
    assert_eq!(play.cluster.node(&format!("/brokers/ids/{old}")), None);
    play.cluster.brokers[stopped].signal("CONT");
    play.cluster.brokers[stopped].wait_said("Session expired", Duration::from_millis(4 * SESSION_MS));
    let is_back = || {
        play.cluster
            .node(&format!("/brokers/ids/{old}"))
            .is_some_and(|(text, _)| text != registration.0)
    };
    assert!(wait_until(SOON, is_back), "broker {old} does not register again");
    play.produced(8_000);
    play.cluster.wait_whole("the expired broker is back");
    play.consume_all();
    assert_eq!(play.cluster.controller(), Some(new));
    assert_eq!(play.cluster.controller_epoch(), epoch + 1, "one epoch more");
}

/// Everything is on disks.
pub fn stop_all_and_start(play: &mut Play) {
    let epoch = play.cluster.controller_epoch();
    stop(&mut play.cluster);
    let cluster = &mut play.cluster;
    cluster.ensemble.members.iter_mut().for_each(|member| member.start());
    cluster.ensemble.wait_all("the second start");
    cluster.brokers.iter_mut().for_each(Broker::start);
    cluster.brokers.iter_mut().for_each(Broker::wait_started);
    cluster.wait_whole("the second start");
    // Stopping the controller made the other one the controller for a moment.
    assert!(
        (epoch + 1..=epoch + 2).contains(&cluster.controller_epoch()),
        "epoch {epoch} was the last one"
    );
    everything_is_there(play);
}

/// Every controller had the epoch after that of the one before, as the brokers' logs say with their times.
pub fn controllers_in_order(play: &mut Play) {
    let logs: Vec<String> = play.cluster.brokers.iter().map(Broker::output).collect();
    let mut elected: Vec<(&str, u32)> = Vec::new();
    for line in logs.iter().flat_map(|log| log.lines()) {
        if let Some((_, rest)) = line.split_once("successfully elected as the controller. Epoch incremented to ") {
            let epoch = rest.split(' ').next().and_then(|word| word.parse().ok());
            elected.push((&line[..23], epoch.unwrap_or_else(|| panic!("{line}"))));
        }
    }
    elected.sort();
    let epochs: Vec<u32> = elected.iter().map(|(_, epoch)| *epoch).collect();
    let expected: Vec<u32> = (1..=epochs.len() as u32).collect();
    assert!(
        epochs.len() >= 4 && epochs == expected,
        "epochs of controllers: {elected:?}"
    );
}

/// Kafka's ZooKeeper servers become Ringkeeper servers under it, one by one, the leader last, each on its own data:
/// what the README says of taking over.
pub fn take_over(play: &mut Play) {
    while_producing(play, (16_000, 2_000), "after the take-over", |play| {
        let leader = play.cluster.ensemble.wait_all("servers to take over");
        for index in [(leader + 1) % 3, (leader + 2) % 3, leader] {
            let ensemble = &mut play.cluster.ensemble;
            let others = ensemble.members.len() - 1;
            let leader = ensemble.wait_all("a leader that knows who is in step");
            let in_step = || {
                let said = ensemble.members[leader].mntr();
                said.get("zk_synced_followers")
                    .is_some_and(|count| *count == others.to_string())
            };
            assert!(wait_until(SOON, in_step), "not all followers are in step");
            ensemble.members[index].end_in_order();
            ensemble.turn(index, Make::Ringkeeper, Return::Empty);
            ensemble.members[index].start();
            ensemble.wait_all("a server that was taken over");
        }
    });
    play.cluster.driver.ask(&["create", "taken-over", "1", "6", "2"]);
    play.cluster.wait_whole("a topic that was created after the take-over");
    everything_is_there(play);
}
