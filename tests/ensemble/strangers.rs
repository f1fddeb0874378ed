//! Whoever comes to the quorum and election ports without being a member in order: noise, impossible lengths, wrong
//! numbers, a member's own number, a second server with a member's number, and valid conversations with mistakes in them.
//! Each is told of in one line and costs nobody else anything.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ringkeeper::wire::election::{Address, InitialMessage, Notification, SenderState};
use ringkeeper::wire::quorum::{FromLearner, LearnerInfo, PROTOCOL_VERSION, Touch};
use socket2::{Domain, Socket, Type};

use super::servers::{Client, Ensemble, SOON, metric};
use crate::peers::jute::Out;
use crate::peers::wait_until;
use crate::random::Random;
use crate::{SESSION_MS, all_addresses, read_at, write_somewhere};

#[test]
fn strangers_at_the_ports_between_servers_cost_nobody_anything() {
    let mut ensemble = Ensemble::launch(3, 0, "");
    ensemble.wait_serving(&[1, 2, 3]);
    let mut client = Client::open(ensemble.server(1).client, SESSION_MS);
    client.create("/a", b"", false);
    let long = |number: i64| number.to_be_bytes().to_vec();
    let intro = |id: i64, length: i32, text: &str| {
        [
            long(-65536),
            long(id),
            length.to_be_bytes().to_vec(),
            text.as_bytes().to_vec(),
        ]
        .concat()
    };
    let noise: Vec<u8> = (0..4096u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let hello = "127.0.0.1:1";
    let election: Vec<Vec<u8>> = vec![
        noise.clone(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        long(-65534),
        intro(1, i32::MAX, hello),
        intro(1, -5, hello),
        intro(77, hello.len() as i32, hello),
        intro(1, hello.len() as i32, hello),
        intro(2, hello.len() as i32, hello),
        intro(3, hello.len() as i32, hello),
        intro(-1, hello.len() as i32, hello),
        intro(i64::MAX, hello.len() as i32, hello),
        vec![0xff],
    ];
    let quorum: Vec<Vec<u8>> = vec![
        noise.clone(),
        [11i32.to_be_bytes().to_vec(), long(0), i32::MAX.to_be_bytes().to_vec()].concat(),
        [3i32.to_be_bytes().to_vec(), long(0), vec![0xff; 8]].concat(),
        info(77),
        info(-4),
        // Members' own numbers, the leader's among them.
        info(1),
        info(2),
        info(3),
        vec![1],
    ];
    let before = elections(&ensemble);
    let mut held = Vec::new();
    let begun = Instant::now();
    for round in 0..30 {
        for server in &ensemble.servers {
            for (port, attacks) in [(server.election, &election), (server.quorum, &quorum)] {
                for attack in attacks {
                    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(2)) else {
                        panic!("port {port} does not answer");
                    };
                    let _ = stream.write_all(attack);
                    // Some stay and say nothing more, most go.
                    if round == 0 {
                        held.push(stream);
                    }
                }
            }
        }
        client.set("/a", format!("{round}").as_bytes());
    }
    println!("{} writes under fire in {:?}", 30, begun.elapsed());
    for id in 1..=3 {
        assert_eq!(read_at(&ensemble, id, "/a"), Some(b"29".to_vec()), "server {id}");
        let log = ensemble.output(id);
        let lines = log
            .lines()
            .filter(|line| line.contains("about a connection from"))
            .count();
        assert!((1..40).contains(&lines), "{lines} lines about strangers:\n{log}");
        let all = log.lines().count();
        assert!(
            all < 100,
            "{all} lines after {held} strangers:\n{log}",
            held = held.len()
        );
        assert!(!log.contains("panicked"), "{log}");
    }
    // Nobody was pushed out of office, and an election still works.
    assert_eq!(elections(&ensemble), before);
    let leader = ensemble.wait_serving(&[1, 2, 3]);
    drop(held);
    ensemble.kill9(leader);
    let left = all_addresses(&ensemble, &[leader]);
    write_somewhere(&mut client, &left, "/a", b"end");
}

/// Whoever says nothing is hung up on in the end, and a half-sent message too.
#[test]
fn who_does_not_introduce_himself_is_hung_up_on() {
    let ensemble = Ensemble::launch(3, 0, "");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ensemble.server(2).election));
    let mut silent = TcpStream::connect(address).unwrap();
    silent.write_all(&[0xff; 6]).unwrap();
    silent.set_read_timeout(Some(SOON)).unwrap();
    let begun = Instant::now();
    assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0);
    // tickTime times syncLimit.
    assert!(
        (2000..9000).contains(&begun.elapsed().as_millis()),
        "{:?}",
        begun.elapsed()
    );
}

/// What a server says first on the election port.
fn introduction(server: i64) -> Vec<u8> {
    let (host, port) = ("127.0.0.1".into(), 1);
    let mut out = Vec::new();
    InitialMessage {
        server,
        addresses: vec![Address { host, port }],
    }
    .append(&mut out);
    out
}

/// What a learner says first on the quorum port.
fn info(server: i64) -> Vec<u8> {
    learner(&FromLearner::Info {
        observer: false,
        accepted_epoch: 0,
        info: LearnerInfo {
            server,
            version: PROTOCOL_VERSION,
            config_version: 0,
        },
    })
}

fn learner(message: &FromLearner<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.append(&mut out);
    out
}

/// A connection from another address of this machine: lines are told apart by where strangers come from.
fn from_address(last: u8, port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let bind = SocketAddr::from((Ipv4Addr::new(127, 0, 9, last), 0));
    socket.bind(&bind.into()).expect("an address of loopback");
    socket
        .connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())
        .expect("the port");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON)).expect("a limit");
    stream
}

#[test]
fn each_stranger_is_told_of_in_one_clear_line() {
    let mut ensemble = Ensemble::launch(3, 0, "");
    let leader = ensemble.wait_serving(&[1, 2, 3]);
    let follower = (leader % 3 + 1) as i64;
    let before = elections(&ensemble);
    let long = |number: i64| number.to_be_bytes().to_vec();
    let with_length = |length: i32| [long(-65536), long(1), length.to_be_bytes().to_vec()].concat();
    let election: &[(Vec<u8>, &str)] = &[
        (long(-65534), "no server begins with -65534"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "which no server.N line names"),
        (with_length(i32::MAX), "2147483647 bytes of addresses, allowed are 1 to"),
        (with_length(-5), "-5 bytes of addresses, allowed are 1 to"),
        ([with_length(4), b"host".to_vec()].concat(), "\"host\" is not host:port"),
        (
            introduction(77),
            "it calls itself server 77, which no server.N line names",
        ),
        (
            introduction(2),
            "it calls itself server 2, which is this server's own number (myid)",
        ),
        (
            introduction(3),
            "it calls itself server 3 at 127.0.0.1:1, and server 3 is connected: no two servers may have one number",
        ),
        (
            introduction(1),
            "it calls itself server 1 at 127.0.0.1:1, and server 1 is connected: no two servers may have one number",
        ),
    ];
    // Said as a server that is not there now.
    let alone: &[(Vec<u8>, &str)] = &[(
        [introduction(3), i32::MAX.to_be_bytes().to_vec()].concat(),
        "server 3 sends a frame of 2147483647 bytes",
    )];
    let claim = |length: i32| [11i32.to_be_bytes().to_vec(), long(0), length.to_be_bytes().to_vec()].concat();
    let of_other_version = |version, config_version| {
        learner(&FromLearner::Info {
            observer: false,
            accepted_epoch: 0,
            info: LearnerInfo {
                server: follower,
                version,
                config_version,
            },
        })
    };
    let quorum: &[(Vec<u8>, &str)] = &[
        (claim(i32::MAX), "data length of 2147483647 is outside"),
        (claim(-7), "data length of -7 is outside"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "is outside"),
        (
            info(77),
            "a learner calls itself server 77, which no server.N line names",
        ),
        (info(leader as i64), "which is this server's own number (myid)"),
        (
            info(follower),
            "which is connected and alive: no two servers may have one number (myid)",
        ),
        (of_other_version(1, 0), "speaks protocol 0x1, and 0x10000 is needed"),
        // A server of an ensemble that was reconfigured since.
        (of_other_version(PROTOCOL_VERSION, 5), "knows a membership of version 5"),
        (learner(&FromLearner::Ack(1)), "it spoke out of turn"),
    ];
    // An election port of a server with a smaller number and one with a larger, and the leader's quorum port.
    let count = each_is_told_of(&ensemble, 2, ensemble.server(2).election, election, 1)
        + each_is_told_of(&ensemble, leader, ensemble.server(leader).quorum, quorum, 101);
    assert_eq!(elections(&ensemble), before);
    ensemble.kill9(3);
    ensemble.wait_serving(&[1, 2]);
    let count = count + each_is_told_of(&ensemble, 2, ensemble.server(2).election, alone, 201);
    println!("{count} strangers, a line each");
}

/// Sends each of these three times to a port of this server, each from an address of its own; it is hung up on every time,
/// and told of once. Gives their number.
fn each_is_told_of(ensemble: &Ensemble, server: usize, port: u16, attacks: &[(Vec<u8>, &str)], from: u8) -> usize {
    let told = |from: u8| -> Vec<String> {
        let address = format!("about a connection from 127.0.9.{from}:");
        let log = ensemble.output(server);
        log.lines()
            .filter(|line| line.contains(&address))
            .map(str::to_owned)
            .collect()
    };
    for ((bytes, why), from) in attacks.iter().zip(from..) {
        for _ in 0..3 {
            let mut stream = from_address(from, port);
            stream.write_all(bytes).expect("it takes what comes");
            let mut answer = Vec::new();
            if let Err(error) = stream.read_to_end(&mut answer) {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{why}");
            }
        }
        assert!(
            wait_until(SOON, || !told(from).is_empty()),
            "nothing of {why:?}:\n{}",
            ensemble.output(server)
        );
        let lines = told(from);
        assert!(lines.len() == 1 && lines[0].contains(why), "{why:?}: {lines:?}");
    }
    attacks.len()
}

/// How often each of the voters has looked for a leader.
fn elections(ensemble: &Ensemble) -> [Option<String>; 3] {
    [1, 2, 3].map(|id| metric(ensemble.server(id).client, "looking_count"))
}

/// Kills leaders until this one leads.
fn make_lead(ensemble: &mut Ensemble, id: usize) {
    for _ in 0..20 {
        let leader = ensemble.wait_serving(&[1, 2, 3]);
        if leader == id {
            return;
        }
        ensemble.kill9(leader);
        ensemble.wait_serving(&(1..=3).filter(|id| *id != leader).collect::<Vec<_>>());
        ensemble.start(leader);
    }
    panic!("server {id} never leads");
}

/// Two servers with one number: the one that is there stays, nobody looks for a leader because of the other, and an election
/// beside it is as quick as without.
#[test]
fn a_second_server_with_a_number_is_refused_as_long_as_the_first_one_lives() {
    let mut ensemble = Ensemble::launch(3, 0, "");
    for of in [1, 3] {
        let mut took: Vec<Duration> = (0..3)
            .map(|round| beside_a_second_server(&mut ensemble, of, round))
            .collect();
        took.sort();
        println!("beside a second server {of}: the next leader's first write after {took:?}");
        assert!(took[1] < Duration::from_millis(150), "{took:?}");
    }
}

/// Writes beside a second server with this number, then kills the leader; gives how long the next one's first write took.
fn beside_a_second_server(ensemble: &mut Ensemble, of: usize, round: u32) -> Duration {
    make_lead(ensemble, 2);
    let line = format!("and server {of} is connected: no two servers may have one number (myid)");
    let told = |ensemble: &Ensemble| -> Vec<usize> {
        let count = |id| ensemble.output(id).lines().filter(|told| told.contains(&line)).count();
        (1..=3).filter(|id| *id != of).map(count).collect()
    };
    let (told_before, before) = (told(ensemble), elections(ensemble));
    let path = format!("/{of}-{round}");
    let mut client = Client::open(ensemble.server(of).client, SESSION_MS);
    client.create(&path, b"", false);
    let (mut double, output) = ensemble.start_double(of);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        // Over the connection that it has: nobody is hung up on.
        client.set(&path, b"beside");
        std::thread::sleep(Duration::from_millis(2));
    }
    let said = std::fs::read_to_string(&output).unwrap_or_default();
    let told_after = told(ensemble);
    // A line each, from either of the others; for the next ones that minute they only count.
    assert!(
        told_after.iter().all(|lines| *lines > 0)
            && told_after.iter().zip(&told_before).all(|(now, then)| now - then <= 1),
        "lines about a second server {of}: {told_before:?}, then {told_after:?}; it said:\n{said}"
    );
    assert_eq!(
        elections(ensemble),
        before,
        "nobody looked for a leader; the second server {of} said:\n{said}"
    );
    assert!(double.ended().is_none(), "{said}");
    ensemble.kill9(2);
    let left = all_addresses(ensemble, &[2]);
    let took = write_somewhere(&mut client, &left, &path, b"end");
    double.kill9();
    ensemble.start(2);
    client.reconnect(&all_addresses(ensemble, &[]));
    client.sync();
    assert_eq!(client.get(&path), Some(b"end".to_vec()));
    took
}

/// A learner's whole life, packet by packet, as server 4; the epoch is the first.
fn learner_life() -> Vec<Vec<u8>> {
    let request = |cxid, opcode, body| {
        learner(&FromLearner::Request {
            session: 0x0400_0000_0000_0001,
            cxid,
            opcode,
            body,
            ids: Vec::new(),
        })
    };
    let create = Out::new()
        .string("/from-a-stranger")
        .buffer(b"data")
        .acls(&[(31, "world", "anyone")])
        .int(0)
        .0;
    let delete = Out::new().string("/from-a-stranger").int(-1).0;
    let (session, timeout_ms) = (0x0400_0000_0000_0001, 4000);
    let touched = vec![Touch { session, timeout_ms }];
    vec![
        info(4),
        learner(&FromLearner::AckEpoch {
            last_zxid: 0,
            current_epoch: 0,
        }),
        learner(&FromLearner::Ack(1 << 32)),
        learner(&FromLearner::Ping { zxid: 1 << 32, touched }),
        request(0, -10, &4000i32.to_be_bytes()),
        learner(&FromLearner::Revalidate { session, timeout_ms }),
        request(1, 1, &create),
        request(2, 9, &Out::new().string("/").0),
        request(3, 2, &delete),
        request(4, -11, &[]),
    ]
}

/// A server's life on the election port.
fn voter_life(random: &mut Random) -> Vec<Vec<u8>> {
    let states = [
        SenderState::Looking,
        SenderState::Following,
        SenderState::Leading,
        SenderState::Observing,
    ];
    let mut all = vec![introduction(1 + random.below(4) as i64)];
    for _ in 0..1 + random.below(3) {
        let mut out = Vec::new();
        let notification = Notification {
            state: states[random.below(4)],
            leader: random.below(5) as i64,
            zxid: [0, 1 << 32, i64::MAX, -1][random.below(4)],
            round: random.below(3) as i64,
            peer_epoch: random.below(3) as i64,
            version: 2,
            config: None,
        };
        notification.append("version=0", &mut out);
        all.push(out);
    }
    all
}

/// Bytes changed, left out, said twice; lengths at their limits; packets in another order.
fn spoil(mut packets: Vec<Vec<u8>>, random: &mut Random) -> Vec<u8> {
    if random.below(4) == 0 {
        let (one, other) = (random.below(packets.len()), random.below(packets.len()));
        packets.swap(one, other);
    }
    if random.below(4) == 0 {
        packets.remove(random.below(packets.len()));
    }
    let mut bytes = packets.concat();
    for _ in 0..random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 0x7f, 0x80, 0xff][random.below(4)],
            2 => bytes.truncate(at),
            3 => drop(bytes.splice(at..at, vec![random.below(256) as u8; 1 + random.below(9)])),
            _ => {
                let number = [i32::MAX, i32::MIN, -1, 0, 1 << 20][random.below(5)].to_be_bytes();
                let end = bytes.len().min(at + 4);
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
        }
    }
    bytes
}

/// Server 4 is a member that does not run: whoever says that it is server 4 gets as far as a learner can.
#[test]
fn conversations_with_mistakes_in_them_cost_nobody_anything() {
    let seed: u64 = std::env::var("RINGKEEPER_SEED").map_or(1, |text| text.parse().expect("RINGKEEPER_SEED"));
    let seconds = std::env::var("RINGKEEPER_FUZZ_SECONDS").map_or(5, |text| text.parse().expect("a number of seconds"));
    let mut ensemble = Ensemble::prepare(3, 1, "");
    (1..=3).for_each(|id| ensemble.start(id));
    let leader = ensemble.wait_serving(&[1, 2, 3]);
    let mut client = Client::open(ensemble.server(leader % 3 + 1).client, SESSION_MS);
    client.create("/a", b"", false);
    let before = elections(&ensemble);
    let mut random = Random::new(seed);
    let (begun, mut count) = (Instant::now(), 0u32);
    while begun.elapsed() < Duration::from_secs(seconds) {
        let server = 1 + random.below(3);
        let (port, bytes) = match random.below(2) {
            0 => (ensemble.server(server).election, {
                let life = voter_life(&mut random);
                spoil(life, &mut random)
            }),
            // The leader's, mostly: nobody else takes learners.
            _ => {
                let server = if random.below(8) == 0 { server } else { leader };
                (ensemble.server(server).quorum, spoil(learner_life(), &mut random))
            }
        };
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the port answers");
        stream
            .set_read_timeout(Some(Duration::from_millis(5)))
            .expect("a limit");
        let cut = random.below(bytes.len() + 1);
        let _ = stream.write_all(&bytes[..cut]);
        // Some wait for what the leader has to say to that.
        if random.below(2) == 0 {
            let _ = stream.read(&mut [0; 4096]);
        }
        let _ = stream.write_all(&bytes[cut..]);
        if random.below(4) == 0 {
            let _ = stream.read(&mut [0; 4096]);
        }
        count += 1;
        if count.is_multiple_of(16) {
            client.set("/a", format!("{count}").as_bytes());
        }
    }
    client.set("/a", b"end");
    println!(
        "{count} conversations with mistakes (seed {seed}) in {:?}",
        begun.elapsed()
    );
    assert!(count > 100, "{count} conversations are no test");
    for id in 1..=3 {
        let log = ensemble.output(id);
        assert!(!log.contains("panicked"), "server {id}, seed {seed}:\n{log}");
        assert_eq!(elections(&ensemble), before, "server {id}, seed {seed}:\n{log}");
        assert_eq!(read_at(&ensemble, id, "/a"), Some(b"end".to_vec()), "server {id}");
    }
    // The real one is taken in, by this leader and by the next.
    ensemble.start(4);
    ensemble.wait_serving(&[1, 2, 3, 4]);
    ensemble.kill9(leader);
    let left = all_addresses(&ensemble, &[leader]);
    write_somewhere(&mut client, &left, "/a", b"after");
    ensemble.start(leader);
    ensemble.wait_serving(&[1, 2, 3, 4]);
    assert_eq!(read_at(&ensemble, 4, "/a"), Some(b"after".to_vec()));
}
