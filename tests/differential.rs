//! Ringkeeper against Apache ZooKeeper 3.9.5: the same requests, the same replies and events.

mod peers;

use peers::{Attach, Engine, JavaServer, Peer, RawClient, RingServer};

#[test]
fn both_servers_open_a_session_and_answer_a_ping() {
    let peers: [Box<dyn Peer>; 2] = [
        Box::new(RingServer::launch(Engine::Uring, &[])),
        Box::new(JavaServer::launch(&[], &[])),
    ];
    for peer in peers {
        let (mut client, opened) = RawClient::open(peer.address(), &Attach::default());
        assert_eq!(opened.timeout_ms, 30_000, "{}", peer.name());
        let reply = client.call(-2, 11, &[], &mut Vec::new());
        assert_eq!((reply.xid, reply.err, reply.body.len()), (-2, 0, 0), "{}", peer.name());
    }
}
