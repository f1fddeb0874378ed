//! What the configuration can say of an ensemble, in servers that run with it: who may lead and who decides, on which
//! addresses members listen and are dialled, and names that come to mean something else.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::servers::{Client, Ensemble, SOON, word};
use crate::peers::wait_until;
use crate::{SESSION_MS, all_addresses, read_at, write_somewhere};

/// A time in which an election would be long over.
const A_WHILE: Duration = Duration::from_millis(2500);

/// Whether a server serves nobody, now and for a while.
fn serves_nobody(ensemble: &Ensemble, id: usize) -> bool {
    let quiet = || ensemble.mode(id) == "none";
    wait_until(SOON, quiet) && !wait_until(A_WHILE, || !quiet())
}

/// Server 2 weighs nothing, so servers 1 and 3 stand for a group each, and both are needed.
#[test]
fn groups_and_weights_say_who_leads_and_who_decides() {
    let mut ensemble = Ensemble::launch(3, 0, "group.1=1:2\ngroup.2=3\nweight.2=0");
    let mut client = Client::open(ensemble.server(1).client, SESSION_MS);
    client.create("/a", b"0", false);
    // Two of three servers are there, and no quorum.
    ensemble.kill9(3);
    assert!(
        serves_nobody(&ensemble, 1) && serves_nobody(&ensemble, 2),
        "group 1 alone decides nothing"
    );
    ensemble.start(3);
    let leader = ensemble.wait_serving(&[1, 2, 3]);
    assert_ne!(leader, 2, "it weighs nothing");
    // Whatever becomes of server 2, the other two go on.
    ensemble.kill9(2);
    client.reconnect(&all_addresses(&ensemble, &[2]));
    client.set("/a", b"1");
    // A leader is killed, and the weightless one never takes its place.
    ensemble.start(2);
    let leader = ensemble.wait_serving(&[1, 2, 3]);
    ensemble.kill9(leader);
    let other = if leader == 1 { 3 } else { 1 };
    assert!(serves_nobody(&ensemble, other) && serves_nobody(&ensemble, 2));
    ensemble.start(leader);
    assert_ne!(ensemble.wait_serving(&[1, 2, 3]), 2);
    client.reconnect(&[ensemble.server(2).client]);
    client.sync();
    assert_eq!(client.get("/a"), Some(b"1".to_vec()));
}

#[test]
fn one_heavy_voter_is_a_quorum_by_itself() {
    let mut ensemble = Ensemble::launch(3, 0, "group.1=1:2:3\nweight.3=3");
    let mut client = Client::open(ensemble.server(3).client, SESSION_MS);
    client.create("/a", b"0", false);
    ensemble.kill9(1);
    ensemble.kill9(2);
    write_somewhere(&mut client, &[ensemble.server(3).client], "/a", b"1");
    assert_eq!(ensemble.wait_serving(&[3]), 3);
    ensemble.start(1);
    ensemble.start(2);
    ensemble.wait_serving(&[1, 2, 3]);
    ensemble.kill9(3);
    assert!(
        serves_nobody(&ensemble, 1) && serves_nobody(&ensemble, 2),
        "two of three, and two fifths of the weight"
    );
    ensemble.start(3);
    ensemble.wait_serving(&[1, 2, 3]);
    client.reconnect(&[ensemble.server(1).client]);
    client.sync();
    assert_eq!(client.get("/a"), Some(b"1".to_vec()));
}

#[test]
fn a_leader_that_does_not_serve_hangs_up_on_clients_and_leads() {
    let mut ensemble = Ensemble::launch(3, 1, "leaderServes=no");
    let mut leader = ensemble.wait_serving(&[1, 2, 3, 4]);
    let mut client = Client::open(ensemble.server(4).client, SESSION_MS);
    client.create("/a", b"0", false);
    let session = client.session();
    for round in 0..2 {
        let others = all_addresses(&ensemble, &[leader]);
        assert!(
            !client.connect(ensemble.server(leader).client),
            "the leader takes nobody"
        );
        for address in &others {
            assert!(client.connect(*address), "everybody else does");
            client.set("/a", format!("{round}").as_bytes());
            client.sync();
        }
        assert_eq!(client.session(), session);
        // Everybody who was at the next leader has to go.
        let mut everywhere: Vec<Client> = others
            .iter()
            .map(|address| Client::open(*address, SESSION_MS))
            .collect();
        ensemble.kill9(leader);
        ensemble.start(leader);
        leader = ensemble.wait_serving(&[1, 2, 3, 4]);
        let gone = ensemble.server(leader).client;
        let left = all_addresses(&ensemble, &[leader]);
        for one in &mut everywhere {
            one.reconnect(&left);
            assert_eq!(one.get("/a"), Some(format!("{round}").into_bytes()));
        }
        assert!(!client.connect(gone));
        client.reconnect(&left);
    }
}

/// Every server is known to the others by two addresses, of which the first is nobody's.
#[test]
fn of_several_addresses_the_one_that_answers_is_used() {
    let place = |server: &super::servers::Server| {
        let (quorum, election) = (server.quorum, server.election);
        format!("127.0.0.1:{quorum}:{election}|127.0.0.3:{quorum}:{election}")
    };
    let mut ensemble = Ensemble::prepare_at(3, 0, "multiAddress.enabled=true", place);
    for server in &ensemble.servers {
        let file = server.directory.join("zoo.cfg");
        let of_another =
            |line: &str| line.starts_with("server.") && !line.starts_with(&format!("server.{}=", server.id));
        let text = fs::read_to_string(&file).expect("zoo.cfg");
        let text: String = text
            .lines()
            .map(|line| match of_another(line) {
                true => format!("{}\n", line.replace("=127.0.0.1:", "=127.0.0.77:")),
                false => format!("{line}\n"),
            })
            .collect();
        assert_eq!(text.matches("127.0.0.77:").count(), 2, "{text}");
        fs::write(&file, text).expect("zoo.cfg");
    }
    (1..=3).for_each(|id| ensemble.start(id));
    let leader = ensemble.wait_serving(&[1, 2, 3]);
    // It listens on both of its own.
    for host in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 3)] {
        for port in [ensemble.server(leader).quorum, ensemble.server(leader).election] {
            TcpStream::connect((host, port)).unwrap_or_else(|error| panic!("{host}:{port}: {error}"));
        }
    }
    let mut client = Client::open(ensemble.server(leader).client, SESSION_MS);
    client.create("/a", b"0", false);
    ensemble.kill9(leader);
    write_somewhere(&mut client, &all_addresses(&ensemble, &[leader]), "/a", b"1");
    ensemble.start(leader);
    ensemble.wait_serving(&[1, 2, 3]);
}

#[test]
fn quorum_listen_on_all_ips_means_all() {
    for (lines, elsewhere) in [("", false), ("quorumListenOnAllIPs=true", true)] {
        let ensemble = Ensemble::launch(1, 0, &format!("standaloneEnabled=false\n{lines}"));
        let server = ensemble.server(1);
        for port in [server.quorum, server.election] {
            assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
            let other = TcpStream::connect((Ipv4Addr::new(127, 0, 0, 5), port));
            assert_eq!(other.is_ok(), elsewhere, "{lines:?}: {other:?}");
        }
    }
}

#[test]
fn a_port_that_is_taken_is_tried_again_as_often_as_said() {
    let mut ensemble = Ensemble::prepare(3, 0, "electionPortBindRetry=4");
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let taken = TcpListener::bind(at(ensemble.server(3).election)).expect("a free port");
    // Given up: the process ends, and says which address it wants.
    ensemble.start(3);
    let mut ended = None;
    assert!(wait_until(SOON, || {
        ended = ensemble.ended(3);
        ended.is_some()
    }));
    let log = ensemble.output(3);
    assert!(
        ended != Some(Some(0)) && log.contains(&at(ensemble.server(3).election).to_string()),
        "{ended:?}\n{log}"
    );
    assert_eq!(log.matches("it is tried again").count(), 3, "{log}");
    // Freed at the first of three times: it goes on.
    (1..=3).for_each(|id| ensemble.start(id));
    let tried = || ensemble.output(3).matches("it is tried again").count() >= 4;
    assert!(wait_until(SOON, tried), "{}", ensemble.output(3));
    drop(taken);
    ensemble.wait_serving(&[1, 2, 3]);
}

/// The largest number makes sessions whose ids are negative.
#[test]
fn server_255_is_a_server_like_others() {
    let mut ensemble = Ensemble::prepare(1, 0, "standaloneEnabled=false");
    let server = ensemble.server(1);
    let file = server.directory.join("zoo.cfg");
    let text = fs::read_to_string(&file)
        .expect("zoo.cfg")
        .replace("server.1=", "server.255=");
    fs::write(&file, text).expect("zoo.cfg");
    fs::write(server.directory.join("data/myid"), "255\n").expect("myid");
    ensemble.start(1);
    let address = ensemble.server(1).client;
    let mut client = Client::open(address, SESSION_MS);
    assert!(client.session() < 0, "0x{:x}", client.session());
    client.create("/e", b"mine", true);
    ensemble.kill9(1);
    ensemble.start(1);
    client.reconnect(&[address]);
    assert_eq!(client.get("/e"), Some(b"mine".to_vec()));
    client.close();
    let mut other = Client::open(address, SESSION_MS);
    assert_eq!(other.get("/e"), None, "it went with its session");
}

/// Server 3 moves to another address while the others run: its name means that address from then on.
#[test]
fn names_are_resolved_again_at_every_attempt() {
    let place = |server: &super::servers::Server| {
        let host = if server.id == 3 {
            "three.ringkeeper.test"
        } else {
            "127.0.0.1"
        };
        format!("{host}:{}:{}", server.quorum, server.election)
    };
    let mut ensemble = Ensemble::prepare_at(3, 0, "", place);
    let hosts = ensemble.directory().join("hosts");
    let says = |address: &str| {
        // In place: the file is mounted.
        fs::write(
            &hosts,
            format!("127.0.0.1 localhost\n{address} three.ringkeeper.test\n"),
        )
        .expect("hosts");
    };
    says("127.0.0.21");
    let mount = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
    let inside = ["unshare", "--mount", "sh", "-c", &mount, "sh"];
    let permitted = std::process::Command::new("unshare")
        .args(["--mount", "true"])
        .output()
        .expect("unshare (Debian: util-linux)");
    if !permitted.status.success() {
        let reason = String::from_utf8_lossy(&permitted.stderr).trim().to_owned();
        println!("not shown, no /etc/hosts of a test's own is permitted here: {reason}");
        return;
    }
    (1..=3).for_each(|id| ensemble.start_by(id, &inside));
    ensemble.wait_serving(&[1, 2, 3]);
    let mut client = Client::open(ensemble.server(1).client, SESSION_MS);
    client.create("/a", b"0", false);
    ensemble.kill9(3);
    says("127.0.0.22");
    ensemble.start_by(3, &inside);
    ensemble.wait_serving(&[1, 2, 3]);
    for id in 1..=3 {
        assert_eq!(read_at(&ensemble, id, "/a"), Some(b"0".to_vec()), "server {id}");
    }
    // It must be dialled to be followed: the others give way to the largest number among equals.
    for id in [1, 2] {
        ensemble.kill9(id);
    }
    ensemble.start_by(1, &inside);
    assert_eq!(ensemble.wait_serving(&[1, 3]), 3, "{}", ensemble.output(1));
    ensemble.kill9(3);
    says("127.0.0.23");
    ensemble.start_by(3, &inside);
    // Server 1 has run all the while, and saw three addresses under one name.
    ensemble.wait_serving(&[1, 3]);
    let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 23), ensemble.server(3).election));
    assert!(TcpStream::connect(address).is_ok(), "server 3 is where its name says");
    client.reconnect(&[ensemble.server(1).client]);
    write_somewhere(&mut client, &[ensemble.server(1).client], "/a", b"1");
    assert_eq!(word(ensemble.server(1).client, "ruok").as_deref(), Some("imok"));
}
