//! What a Kafka broker in ZooKeeper mode does, over the wire: start, election, topic creation, failover. Each server
//! must give exactly the results written here: Ringkeeper on both engines, and Apache ZooKeeper 3.9.5.

mod peers;

use std::time::Duration;

use peers::jute::{In, Out};
use peers::{Attach, Engine, JavaServer, Packet, Peer, RawClient, RingServer};

const LINES: &[&str] = &["tickTime=200", "maxSessionTimeout=60000"];

#[test]
fn a_broker_lives_on_the_ring() {
    broker_lives(&RingServer::launch(Engine::Uring, LINES));
}

#[test]
fn a_broker_lives_on_epoll() {
    broker_lives(&RingServer::launch(Engine::Epoll, LINES));
}

#[test]
fn a_broker_lives_on_apache_zookeeper() {
    broker_lives(&JavaServer::launch(LINES, &[]));
}

/// A broker's connection: numbers its requests and keeps its events.
struct Broker {
    client: RawClient,
    session: i64,
    xid: i32,
    events: Vec<Packet>,
}

impl Broker {
    fn connect(peer: &dyn Peer, timeout_ms: i32) -> Self {
        let (client, opened) = RawClient::open(
            peer.address(),
            &Attach {
                timeout_ms,
                ..Attach::default()
            },
        );
        Self {
            client,
            session: opened.session,
            xid: 0,
            events: Vec::new(),
        }
    }

    fn call(&mut self, op: i32, body: Out) -> Packet {
        self.xid += 1;
        self.client.call(self.xid, op, &body.0, &mut self.events)
    }

    fn create(&mut self, path: &str, data: &str, flags: i32) -> Packet {
        self.call(1, create(path, data, flags))
    }

    fn data(&mut self, path: &str, watch: bool) -> (i32, Option<(String, peers::jute::Stat)>) {
        let reply = self.call(4, Out::new().string(path).bool(watch));
        let mut input = In::new(&reply.body);
        (reply.err, input.string().and_then(|data| Some((data, input.stat()?))))
    }

    /// Events so far as (type, path), after a ping that makes sure none is on the way.
    fn events(&mut self) -> Vec<(i32, String)> {
        self.client.call(-2, 11, &[], &mut self.events);
        let read = |event: Packet| {
            let mut input = In::new(&event.body);
            let (kind, _state, path) = (input.int().expect("type"), input.int(), input.string().expect("path"));
            (kind, path)
        };
        std::mem::take(&mut self.events).into_iter().map(read).collect()
    }
}

fn create(path: &str, data: &str, flags: i32) -> Out {
    Out::new()
        .string(path)
        .buffer(data.as_bytes())
        .acls(&[(31, "world", "anyone")])
        .int(flags)
}

/// A multi of sub-operations given as opcode and record.
fn multi(ops: &[(i32, Out)]) -> Out {
    let each = |out: Out, (op, body): &(i32, Out)| out.int(*op).bool(false).int(-1).raw(&body.0);
    ops.iter().fold(Out::new(), each).int(-1).bool(true).int(-1)
}

/// The error codes of a MultiResponse that failed.
fn failures(reply: &Packet) -> Vec<i32> {
    let (mut input, mut codes) = (In::new(&reply.body), Vec::new());
    while let (Some(-1), Some(false), Some(_)) = (input.int(), input.bool(), input.int()) {
        codes.push(input.int().expect("code"));
    }
    codes
}

/// createOp of /controller and check-and-set of /controller_epoch in one (KafkaZkClient#registerController…).
fn elect(broker: &mut Broker, id: &str, epoch: &str, version: i32) -> Packet {
    let epoch = Out::new()
        .string("/controller_epoch")
        .buffer(epoch.as_bytes())
        .int(version);
    broker.call(14, multi(&[(1, create("/controller", id, 1)), (5, epoch)]))
}

fn broker_lives(peer: &dyn Peer) {
    let (mut first, mut second) = (Broker::connect(peer, 4000), Broker::connect(peer, 30_000));
    let roots = [
        "/brokers",
        "/brokers/ids",
        "/brokers/topics",
        "/config",
        "/config/changes",
        "/isr_change_notification",
    ];
    for root in roots {
        assert_eq!(first.create(root, "", 0).err, 0, "{root}");
        assert_eq!(second.create(root, "", 0).err, -110, "{root}");
    }
    registration(&mut first, &mut second);
    election(&mut first, &mut second);
    notifications(&mut first, &mut second);
    topic_and_pipelined_reads(&mut second);
    failover(first, &mut second, peer);
}

/// The broker's id is made with the /brokers/ids epoch: multi of an ephemeral and a setData.
fn registration(first: &mut Broker, second: &mut Broker) {
    let set = Out::new().string("/brokers/ids").buffer(b"epoch").int(-1);
    let reply = first.call(14, multi(&[(1, create("/brokers/ids/1", "one", 1)), (5, set)]));
    assert_eq!((reply.err, failures(&reply)), (0, vec![]));
    let (_, found) = second.data("/brokers/ids/1", false);
    let (data, stat) = found.expect("the broker's node");
    assert_eq!(
        (data.as_str(), stat.ephemeral_owner, stat.czxid),
        ("one", first.session, reply.zxid)
    );
    assert_eq!(
        second.create("/brokers/ids/1", "two", 1).err,
        -110,
        "an id that is taken"
    );
    let own = first.call(103, Out::new().string("/brokers/ids"));
    assert_eq!(In::new(&own.body).strings(), Some(vec!["/brokers/ids/1".into()]));
    let none = second.call(103, Out::new().string("/brokers/ids"));
    assert_eq!(In::new(&none.body).strings(), Some(vec![]));
    assert_eq!(
        first.create("/brokers/ids/1/x", "", 0).err,
        -108,
        "a child of an ephemeral"
    );
}

fn election(first: &mut Broker, second: &mut Broker) {
    assert_eq!(first.create("/controller_epoch", "0", 0).err, 0);
    assert_eq!(second.call(3, Out::new().string("/controller").bool(true)).err, -101);
    assert_eq!(failures(&elect(first, "1", "1", 0)), vec![]);
    assert_eq!(failures(&elect(second, "2", "1", 0)), vec![-110, -2], "the loser");
    assert_eq!(second.events(), vec![(1, "/controller".into())]);
    let (_, found) = second.data("/controller_epoch", false);
    let (epoch, stat) = found.expect("the epoch");
    assert_eq!((epoch.as_str(), stat.version), ("1", 1));
    let fenced = Out::new().string("/controller_epoch").int(0);
    let late = second.call(14, multi(&[(13, fenced), (1, create("/brokers/topics/stale", "", 0))]));
    assert_eq!(failures(&late), vec![-103, -2], "a controller of an old epoch");
    assert_eq!(second.data("/brokers/topics/stale", false).0, -101);
    assert_eq!(second.data("/controller", true).0, 0);
}

/// Sequential notification nodes, read and deleted by the controller's child watch.
fn notifications(first: &mut Broker, second: &mut Broker) {
    for (parent, prefix) in [
        ("/isr_change_notification", "isr_change_"),
        ("/config/changes", "config_change_"),
    ] {
        let watched = first.call(12, Out::new().string(parent).bool(true));
        assert_eq!(watched.err, 0);
        for number in 0..3 {
            let reply = second.create(&format!("{parent}/{prefix}"), "{}", 2);
            assert_eq!(
                In::new(&reply.body).string(),
                Some(format!("{parent}/{prefix}{number:010}"))
            );
        }
        assert_eq!(
            first.events(),
            vec![(4, parent.to_string())],
            "one event for three changes"
        );
        let listed = first.call(8, Out::new().string(parent).bool(false));
        let names = In::new(&listed.body).strings().expect("names");
        assert_eq!(names.len(), 3);
        for name in names {
            assert_eq!(
                first
                    .call(2, Out::new().string(&format!("{parent}/{name}")).int(-1))
                    .err,
                0
            );
        }
    }
    let acl = Out::new()
        .string("/config")
        .acls(&[(31, "world", "anyone"), (1, "ip", "127.0.0.1")])
        .int(-1);
    let set = first.call(7, acl);
    assert_eq!(
        In::new(&set.body).stat().map(|stat| (stat.version, stat.aversion)),
        Some((0, 1))
    );
}

/// Thousands of reads and writes on the wire at once: answers in xid order, each read after the write before it.
fn topic_and_pipelined_reads(broker: &mut Broker) {
    const PARTITIONS: i32 = 1000;
    assert_eq!(broker.create("/brokers/topics/t", "{}", 0).err, 0);
    let mut bytes = Vec::new();
    for partition in 0..PARTITIONS {
        let path = format!("/brokers/topics/t/{partition}");
        for (xid, op, body) in [
            (2 * partition, 1, create(&path, &partition.to_string(), 0)),
            (2 * partition + 1, 4, Out::new().string(&path).bool(true)),
        ] {
            let frame = Out::new().int(10_000 + xid).int(op).raw(&body.0);
            bytes.extend(Out::new().buffer(&frame.0).0);
        }
    }
    let mut writer = broker.client.duplicate();
    let sender = std::thread::spawn(move || writer.send_bytes(&bytes));
    let mut last_zxid = 0;
    for xid in 0..2 * PARTITIONS {
        let reply = broker.client.packet().expect("a reply");
        assert_eq!((reply.xid, reply.err), (10_000 + xid, 0), "pipelined");
        assert!(reply.zxid >= last_zxid, "zxids go back: {reply:?}");
        last_zxid = reply.zxid;
        if xid % 2 == 1 {
            assert_eq!(In::new(&reply.body).string(), Some((xid / 2).to_string()));
        }
    }
    sender.join().expect("the sender");
}

/// The first broker's process is gone: its session expires, the watch fires, the second is elected.
fn failover(first: Broker, second: &mut Broker, peer: &dyn Peer) {
    let session = first.session;
    first.client.hang_up();
    let gone = peers::wait_until(Duration::from_secs(10), || {
        second.data("/brokers/ids/1", false).0 == -101
    });
    assert!(gone, "the session of a broker that is gone does not expire");
    assert_eq!(second.events(), vec![(2, "/controller".into())]);
    assert_eq!(failures(&elect(second, "2", "2", 1)), vec![]);
    let (_, found) = second.data("/controller", false);
    assert_eq!(found.expect("the controller").1.ephemeral_owner, second.session);
    // The expired session cannot come back; the broker registers anew.
    let attach = Attach {
        session,
        password: Some(vec![0; 16]),
        ..Attach::default()
    };
    let mut old = RawClient::dial(peer.address()).expect("a connection");
    assert_eq!(old.handshake(&attach).expect("a refusal").timeout_ms, 0);
    let mut again = Broker::connect(peer, 30_000);
    assert_eq!(again.create("/brokers/ids/1", "one again", 1).err, 0);
    assert_eq!(again.call(1, create("/controller", "1", 1)).err, -110);
}
