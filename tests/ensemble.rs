//! Several servers as one: real processes on loopback that elect a leader, lose it, come back, and never lose what they
//! acknowledged; sessions that move with their ephemerals. Who else comes to the ports between servers is in `strangers`.

mod ensemble {
    pub mod servers;
    mod settings;
    mod strangers;
}
mod peers;
#[allow(dead_code)]
mod random;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use ensemble::servers::{Client, Ensemble, SOON, metric, word};
use peers::wait_until;

const SESSION_MS: i32 = 8000;

fn all_addresses(ensemble: &Ensemble, but: &[usize]) -> Vec<SocketAddr> {
    let left = ensemble.servers.iter().filter(|server| !but.contains(&server.id));
    left.map(|server| server.client).collect()
}

/// Writes until it is acknowledged, wherever.
#[track_caller]
fn write_somewhere(client: &mut Client, addresses: &[SocketAddr], path: &str, data: &[u8]) -> Duration {
    let begun = Instant::now();
    while !client.try_set(path, data) {
        assert!(begun.elapsed() < SOON, "nobody takes the write");
        client.reconnect(addresses);
    }
    begun.elapsed()
}

/// What a new client of this server reads after a sync.
fn read_at(ensemble: &Ensemble, id: usize, path: &str) -> Option<Vec<u8>> {
    let mut client = Client::open(ensemble.server(id).client, SESSION_MS);
    client.sync();
    client.get(path)
}

#[test]
fn every_leader_in_turn_is_killed_and_nothing_is_lost() {
    let mut ensemble = Ensemble::launch(3, 0, "");
    let everybody = all_addresses(&ensemble, &[]);
    let leader = ensemble.wait_serving(&[1, 2, 3]);
    let follower = leader % 3 + 1;
    let mut client = Client::open(ensemble.server(follower).client, SESSION_MS);
    let session = client.session();
    client.create("/kept", b"0", false);
    client.create("/here", b"", true);
    let mut times = Vec::new();
    for round in 1..=6 {
        let leader = ensemble.wait_serving(&[1, 2, 3]);
        client.reconnect(&all_addresses(&ensemble, &[leader]));
        for step in 0..20 {
            client.set("/kept", format!("{round} {step}").as_bytes());
        }
        ensemble.kill9(leader);
        let data = format!("{round} after");
        let took = write_somewhere(
            &mut client,
            &all_addresses(&ensemble, &[leader]),
            "/kept",
            data.as_bytes(),
        );
        times.push(took.as_millis());
        assert_eq!(client.session(), session);
        assert_eq!(
            client.get("/here"),
            Some(vec![]),
            "the ephemeral of a session that lives"
        );
        ensemble.start(leader);
        ensemble.wait_serving(&[1, 2, 3]);
        for address in &everybody {
            let mut other = Client::open(*address, SESSION_MS);
            other.sync();
            assert_eq!(other.get("/kept"), Some(data.clone().into_bytes()));
            assert_eq!(other.get("/here"), Some(vec![]));
            other.close();
        }
    }
    times.sort_unstable();
    println!("from kill -9 of the leader to the next acknowledged write, ms: {times:?}");
    client.close();
    let mut other = Client::open(everybody[0], SESSION_MS);
    other.sync();
    assert_eq!(other.get("/here"), None, "it went with its session");
    // All of them at once, and back.
    for id in 1..=3 {
        ensemble.kill9(id);
    }
    for id in 1..=3 {
        ensemble.start(id);
    }
    ensemble.wait_serving(&[1, 2, 3]);
    other.reconnect(&everybody);
    other.sync();
    assert_eq!(other.get("/kept"), Some(b"6 after".to_vec()));
    for id in 1..=3 {
        ensemble.terminate(id);
    }
}

#[test]
fn a_minority_serves_nobody_and_five_survive_two() {
    let mut ensemble = Ensemble::launch(5, 0, "");
    let leader = ensemble.wait_serving(&[1, 2, 3, 4, 5]);
    let others: Vec<usize> = (1..=5).filter(|id| *id != leader).collect();
    let mut client = Client::open(ensemble.server(others[0]).client, SESSION_MS);
    client.create("/a", b"1", false);
    ensemble.kill9(leader);
    ensemble.kill9(others[3]);
    let left = [others[0], others[1], others[2]];
    let addresses = all_addresses(&ensemble, &[leader, others[3]]);
    write_somewhere(&mut client, &addresses, "/a", b"2");
    let second = ensemble.wait_serving(&left);
    // One more: no quorum is left. Clients are hung up on, and told nothing that is old.
    ensemble.kill9(second);
    let stay: Vec<usize> = left.iter().copied().filter(|id| *id != second).collect();
    for id in &stay {
        let address = ensemble.server(*id).client;
        let quiet = || word(address, "srvr").is_some_and(|answer| answer.contains("not currently serving"));
        assert!(wait_until(SOON, quiet), "{:?}", word(address, "srvr"));
        assert_eq!(word(address, "ruok").as_deref(), Some("imok"));
        assert_eq!(word(address, "isro").as_deref(), Some("null"));
        assert!(!client.connect(address), "without a leader nobody is served");
    }
    ensemble.start(leader);
    ensemble.wait_serving(&[stay[0], stay[1], leader]);
    client.reconnect(&[ensemble.server(leader).client]);
    assert_eq!(
        client.get("/a"),
        Some(b"2".to_vec()),
        "the one that missed it has it now"
    );
    ensemble.start(second);
    ensemble.start(others[3]);
    ensemble.wait_serving(&[1, 2, 3, 4, 5]);
    client.reconnect(&[ensemble.server(others[3]).client]);
    client.sync();
    assert_eq!(client.get("/a"), Some(b"2".to_vec()));
}

#[test]
fn a_leader_that_stood_still_finds_itself_replaced() {
    let mut ensemble = Ensemble::launch(3, 0, "");
    let leader = ensemble.wait_serving(&[1, 2, 3]);
    let others = all_addresses(&ensemble, &[leader]);
    let mut elsewhere = Client::open(others[0], SESSION_MS);
    elsewhere.create("/x", b"0", false);
    elsewhere.create("/x/elsewhere", b"", true);
    let mut here = Client::open(ensemble.server(leader).client, 3000);
    here.create("/x/here", b"", true);
    ensemble.signal(leader, "STOP");
    let took = write_somewhere(&mut elsewhere, &others, "/x", b"1");
    println!("a leader stands still, the next write is acknowledged after {took:?}");
    // Its client does not come back, so its session ends, by the new leader's clock.
    let begun = Instant::now();
    while elsewhere.children("/x") != ["elsewhere"] {
        assert!(begun.elapsed() < SOON, "{:?}", elsewhere.children("/x"));
        std::thread::sleep(Duration::from_millis(50));
    }
    ensemble.signal(leader, "CONT");
    ensemble.wait_serving(&[1, 2, 3]);
    assert_eq!(ensemble.mode(leader), "follower");
    elsewhere.reconnect(&[ensemble.server(leader).client]);
    elsewhere.sync();
    assert_eq!(elsewhere.get("/x"), Some(b"1".to_vec()));
    assert_eq!(elsewhere.children("/x"), ["elsewhere"]);
    // And a follower.
    let follower = (1..=3)
        .find(|id| ensemble.mode(*id) == "follower" && *id != leader)
        .expect("another");
    ensemble.signal(follower, "STOP");
    for step in 0..50 {
        elsewhere.set("/x", format!("2 {step}").as_bytes());
    }
    std::thread::sleep(Duration::from_secs(5));
    elsewhere.set("/x", b"3");
    ensemble.signal(follower, "CONT");
    ensemble.wait_serving(&[1, 2, 3]);
    assert_eq!(read_at(&ensemble, follower, "/x"), Some(b"3".to_vec()));
}

#[test]
fn whoever_was_away_for_long_gets_a_snapshot() {
    let mut ensemble = Ensemble::launch(3, 1, "snapCount=400");
    assert_eq!(ensemble.mode(4), "observer");
    let leader = ensemble.wait_serving(&[1, 2, 3, 4]);
    let behind = leader % 3 + 1;
    ensemble.kill9(behind);
    ensemble.kill9(4);
    let mut client = Client::open(ensemble.server(leader).client, SESSION_MS);
    client.create("/many", b"", false);
    for number in 0..1500 {
        client.create(
            &format!("/many/{number:04}"),
            format!("data {number}").as_bytes(),
            false,
        );
    }
    client.create("/many/mine", b"", true);
    let names = client.children("/many");
    // One comes back with what it had, one with nothing but its number.
    let data = ensemble.server(4).directory.join("data/ringkeeper-1");
    std::fs::remove_dir_all(data).expect("its data");
    std::fs::remove_dir_all(ensemble.server(4).directory.join("log")).expect("its log");
    ensemble.start(behind);
    ensemble.start(4);
    ensemble.wait_serving(&[1, 2, 3, 4]);
    for id in [behind, 4] {
        let mut there = Client::open(ensemble.server(id).client, SESSION_MS);
        there.sync();
        assert_eq!(there.children("/many"), names, "server {id}");
        assert_eq!(there.get("/many/0777"), Some(b"data 777".to_vec()));
        there.close();
        let log = ensemble.output(id);
        assert!(log.contains("a snapshot was received"), "server {id}:\n{log}");
    }
    let log = ensemble.output(leader);
    assert!(
        log.contains("server 4 gets SNAP") && log.contains("a snapshot was sent"),
        "{log}"
    );
    // What was installed is there after a kill, and the log goes on behind it.
    let mut there = Client::open(ensemble.server(4).client, SESSION_MS);
    there.create("/through-the-observer", b"yes", false);
    for id in [behind, 4] {
        ensemble.kill9(id);
        ensemble.start(id);
    }
    ensemble.wait_serving(&[1, 2, 3, 4]);
    for id in [behind, 4] {
        there.reconnect(&[ensemble.server(id).client]);
        there.sync();
        assert_eq!(there.children("/many"), names, "server {id}");
        assert_eq!(there.get("/through-the-observer"), Some(b"yes".to_vec()));
    }
    for id in 1..=4 {
        ensemble.terminate(id);
        let server = ensemble.server(id);
        let check = std::process::Command::new(env!("CARGO_BIN_EXE_zk-server"))
            .arg("check")
            .arg(server.directory.join("data"))
            .arg(server.directory.join("log"))
            .output()
            .expect("a check");
        assert_eq!(
            check.status.code(),
            Some(0),
            "server {id}: {}",
            String::from_utf8_lossy(&check.stdout)
        );
    }
}

/// A leader logs what it proposes before anybody else has it. If nobody else ever does, it is told to forget it.
#[test]
fn what_only_a_dead_leader_had_is_forgotten() {
    let mut ensemble = Ensemble::launch(3, 0, "");
    for round in 0..3 {
        let leader = ensemble.wait_serving(&[1, 2, 3]);
        let others: Vec<usize> = (1..=3).filter(|id| *id != leader).collect();
        let mut client = Client::open(ensemble.server(leader).client, SESSION_MS);
        let path = format!("/round{round}");
        client.create(&path, b"decided", false);
        others.iter().for_each(|id| ensemble.kill9(*id));
        for number in 0..5 {
            client.send_create(&format!("{path}/lost{number}"), &vec![number; 3000]);
        }
        std::thread::sleep(Duration::from_millis(150));
        ensemble.kill9(leader);
        others.iter().for_each(|id| ensemble.start(*id));
        ensemble.wait_serving(&others);
        let mut client = Client::open(ensemble.server(others[0]).client, SESSION_MS);
        client.create(&format!("{path}/found"), b"", false);
        assert_eq!(client.children(&path), ["found"]);
        ensemble.start(leader);
        ensemble.wait_serving(&[1, 2, 3]);
        client.reconnect(&[ensemble.server(leader).client]);
        client.sync();
        assert_eq!(client.children(&path), ["found"], "{}", ensemble.output(leader));
        let log = ensemble.output(leader);
        assert!(log.contains("the log was cut behind what the leader has"), "{log}");
        // And once more from its disk.
        ensemble.kill9(leader);
        ensemble.start(leader);
        ensemble.wait_serving(&[1, 2, 3]);
        client.reconnect(&[ensemble.server(leader).client]);
        client.sync();
        assert_eq!(client.children(&path), ["found"]);
    }
}

#[test]
fn a_server_that_is_behind_refuses_a_client_that_is_ahead() {
    let ensemble = Ensemble::launch(3, 0, "");
    let mut client = Client::open(ensemble.server(1).client, SESSION_MS);
    client.create("/a", b"", false);
    let seen = client.last_zxid();
    client.pretend(seen + 1_000_000);
    assert!(!client.connect(ensemble.server(2).client));
    client.pretend(seen);
    client.reconnect(&[ensemble.server(2).client]);
    assert_eq!(client.get("/a"), Some(vec![]));
}

#[test]
fn words_tell_what_each_server_is() {
    let mut ensemble = Ensemble::launch(3, 1, "admin.enableServer=false");
    let leader = ensemble.wait_serving(&[1, 2, 3, 4]);
    let follower = leader % 3 + 1;
    let mut client = Client::open(ensemble.server(follower).client, SESSION_MS);
    client.create("/a", b"", false);
    let at = |id: usize| ensemble.server(id).client;
    let of = |id: usize, name: &str| metric(at(id), name).unwrap_or_default();
    assert_eq!(of(leader, "server_state"), "leader");
    assert_eq!(of(leader, "peer_state"), "leading - broadcast");
    assert_eq!(of(leader, "learners"), "3");
    assert_eq!(of(leader, "synced_followers"), "2");
    assert_eq!(of(leader, "synced_observers"), "1");
    assert_eq!(of(leader, "quorum_size"), "3");
    assert_eq!(of(leader, "proposal_count"), "2");
    assert_eq!(of(follower, "peer_state"), "following - broadcast");
    assert_eq!(of(follower, "learners"), "");
    assert_eq!(of(4, "peer_state"), "observing - broadcast");
    assert!(
        word(at(leader), "srvr")
            .unwrap()
            .contains("Proposal sizes last/min/max: ")
    );
    assert!(!word(at(follower), "srvr").unwrap().contains("Proposal sizes"));
    assert_eq!(word(at(follower), "isro").as_deref(), Some("rw"));
    let conf = word(at(4), "conf").unwrap();
    assert!(
        conf.contains("serverId=4\ninitLimit=10\nsyncLimit=3\nelectionAlg=3\n"),
        "{conf}"
    );
    assert!(
        conf.contains("peerType=1\nmembership: \nserver.1=127.0.0.1:") && conf.ends_with("version=0"),
        "{conf}"
    );
    let config = client.get("/zookeeper/config").expect("the membership");
    let config = String::from_utf8(config).unwrap();
    assert!(conf.ends_with(&config), "{config}");
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_zk-server"))
        .arg("status")
        .arg(ensemble.server(leader).directory.join("zoo.cfg"))
        .output()
        .expect("a status");
    let text = String::from_utf8_lossy(&status.stdout);
    assert!(status.status.success() && text.contains("Mode: leader"), "{text}");
    let log = ensemble.output(leader);
    for line in [
        "looking for a leader in round 1: it has just started",
        "is to lead, elected in round",
    ] {
        assert!(log.contains(line), "{log}");
    }
}

/// Who asked for it may read while there is no leader, and nothing else (`readonlymode.enabled`).
#[test]
fn a_minority_lets_those_read_who_asked_for_it() {
    let mut ensemble = Ensemble::prepare(3, 0, "");
    ensemble.flags("-Dreadonlymode.enabled=true");
    (1..=3).for_each(|id| ensemble.start(id));
    let leader = ensemble.wait_serving(&[1, 2, 3]);
    let mut client = Client::open(ensemble.server(leader).client, SESSION_MS);
    client.create("/a", b"1", false);
    let stays = leader % 3 + 1;
    ensemble.kill9(leader);
    ensemble.kill9(stays % 3 + 1);
    let address = ensemble.server(stays).client;
    assert!(wait_until(SOON, || word(address, "isro").as_deref() == Some("ro")));
    let srvr = word(address, "srvr").unwrap();
    assert!(
        srvr.contains("READ-ONLY mode") && srvr.contains("Mode: read-only"),
        "{srvr}"
    );
    assert!(!client.connect(address), "a session of the ensemble waits for a leader");
    let mut reader = Client::open_read_only(address, SESSION_MS);
    assert_eq!(reader.get("/a"), Some(b"1".to_vec()));
    assert_eq!(reader.try_set_error("/a", b"2"), -119);
    reader.close();
    ensemble.start(leader);
    ensemble.wait_serving(&[stays, leader]);
    assert_eq!(word(address, "isro").as_deref(), Some("rw"));
    client.reconnect(&[address]);
    client.set("/a", b"2");
}

/// The three samples, on other ports, each started with one command from the same directory.
#[test]
fn the_samples_are_an_ensemble() {
    let directory = tempfile::TempDir::with_prefix("ringkeeper-samples-").unwrap();
    let ports: Vec<(u16, u16)> = [2181, 2182, 2183, 2888, 2889, 2890, 3888, 3889, 3890]
        .into_iter()
        .map(|port| (port, peers::free_port()))
        .collect();
    let mut processes = Vec::new();
    for id in 1..=3 {
        let sample = format!("{}/conf/zoo{id}.cfg", env!("CARGO_MANIFEST_DIR"));
        let mut text = std::fs::read_to_string(sample).unwrap();
        for (theirs, ours) in &ports {
            text = text.replace(&format!(":{theirs}"), &format!(":{ours}"));
            text = text.replace(&format!("clientPort={theirs}\n"), &format!("clientPort={ours}\n"));
        }
        let file = format!("zoo{id}.cfg");
        std::fs::write(directory.path().join(&file), text).unwrap();
        let run = || {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_zk-server"));
            command.arg("start-foreground").arg(&file).current_dir(directory.path());
            command
        };
        if id == 1 {
            // Without myid it says what to do.
            let refused = run().output().unwrap();
            let told = String::from_utf8_lossy(&refused.stderr);
            let advice = "mkdir -p ./ringkeeper-ensemble/1/data && echo 1 > ./ringkeeper-ensemble/1/data/myid";
            assert!(refused.status.code() == Some(2) && told.contains(advice), "{told}");
        }
        let data = directory.path().join(format!("ringkeeper-ensemble/{id}/data"));
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(data.join("myid"), format!("{id}\n")).unwrap();
        processes.push(peers::Process::spawn(
            &mut run(),
            &directory.path().join(format!("{id}.log")),
        ));
    }
    let mut client = Client::open((Ipv4Addr::LOCALHOST, ports[0].1).into(), SESSION_MS);
    client.create("/sample", b"1", false);
    client.reconnect(&[(Ipv4Addr::LOCALHOST, ports[2].1).into()]);
    client.sync();
    assert_eq!(client.get("/sample"), Some(b"1".to_vec()));
}
