//! Reads between the writes of one connection: each sees the writes before it and none behind it, and all of them
//! together wait for a few syncs, not for one each.

mod peers;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use peers::fill::create;
use peers::jute::{In, Out};
use peers::{Attach, Engine, Peer, RawClient, RingServer, framed};

const CREATE: i32 = 1;
const EXISTS: i32 = 3;
const GET: i32 = 4;
const SET: i32 = 5;
const CHILDREN: i32 = 8;
const ROUNDS: i32 = 200;
const NODE_EXISTS: i32 = -110;
const MARSHALLING: i32 = -5;

/// A number of `mntr`.
fn number(address: SocketAddr, name: &str) -> u64 {
    let mut stream = TcpStream::connect(address).expect("the client port");
    stream.write_all(b"mntr").expect("a word");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
    let value = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
    value.parse::<f64>().expect(name) as u64
}

fn alternate(engine: Engine) {
    let server = RingServer::launch(engine, &["4lw.commands.whitelist=mntr"]);
    let (mut client, _) = RawClient::open(server.address(), &Attach::default());
    let mut events = Vec::new();
    assert_eq!(client.call(1, CREATE, &create("/a", b""), &mut events).err, 0);
    let syncs = || number(server.address(), "zk_cnt_sync_processor_batch_size");
    let before = syncs();
    let mut burst = Vec::new();
    let mut request = |xid: i32, op: i32, body: Vec<u8>| {
        burst.extend(framed(xid, op, &body));
    };
    for round in 0..ROUNDS {
        let xid = 10 * round + 2;
        let path = |path: &str| Out::new().string(path).bool(false).0;
        request(xid, SET, Out::new().string("/a").buffer(&round.to_be_bytes()).int(-1).0);
        request(xid + 1, GET, path("/a"));
        request(xid + 2, CREATE, create(&format!("/a/{round}"), b""));
        request(xid + 3, CHILDREN, path("/a"));
        request(xid + 4, EXISTS, path(&format!("/a/{}", round + 1)));
        // A write that fails and one that does not decode are answered in their turn too.
        request(xid + 5, CREATE, create("/a", b""));
        request(xid + 6, CREATE, b"no request".to_vec());
    }
    client.send_bytes(&burst);
    let mut zxid = 0;
    for round in 0..ROUNDS {
        let xid = 10 * round + 2;
        let mut next = |xid: i32| {
            let reply = client.packet().expect("a reply");
            assert_eq!(reply.xid, xid, "replies come in the order of requests");
            assert!(reply.zxid >= zxid, "{} behind {zxid}", reply.zxid);
            zxid = reply.zxid;
            reply
        };
        let set = next(xid);
        assert_eq!(set.err, 0);
        let got = next(xid + 1);
        let data = In::new(&got.body).buffer().flatten().map(<[u8]>::to_vec);
        assert_eq!(data, Some(round.to_be_bytes().to_vec()), "the data of its own round");
        assert_eq!(got.zxid, set.zxid, "a read tells the version that it was computed from");
        assert_eq!(next(xid + 2).err, 0);
        let children = In::new(&next(xid + 3).body).int();
        assert_eq!(children, Some(round + 1), "the children so far, and no later one");
        assert_eq!(next(xid + 4).err, -101, "the next round's node is not there yet");
        assert_eq!(next(xid + 5).err, NODE_EXISTS);
        assert_eq!(next(xid + 6).err, MARSHALLING);
    }
    let syncs = syncs() - before;
    println!(
        "{}: {} writes with reads between them took {syncs} syncs",
        server.name(),
        3 * ROUNDS
    );
    assert!(syncs < ROUNDS as u64 / 4, "{syncs} syncs");
}

#[test]
fn reads_between_writes_cost_no_syncs_on_the_ring() {
    alternate(Engine::Uring);
}

#[test]
fn reads_between_writes_cost_no_syncs_on_epoll() {
    alternate(Engine::Epoll);
}
