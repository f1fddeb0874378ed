//! The promise about memory: a million znodes with 40-byte paths and 100 bytes of data cost at most 330 bytes each of
//! resident memory, path and data included.
//!
//! `cargo test --release --test memory -- --nocapture` prints the figure of the README's table.

mod peers;

use std::time::Duration;

use peers::fill::{fill, leaf};
use peers::jute::Out;
use peers::{Attach, Engine, Peer, RawClient, RingServer};

const NODES: u32 = 1_000_000;
const BYTES_PER_NODE_MAX: u64 = 330;
const PARENT: &str = "/ringkeeper-memory-figure-012345";

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc is mounted");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("VmRSS");
    line.split_whitespace()
        .next()
        .expect("a number")
        .parse::<u64>()
        .expect("a number")
        * 1024
}

/// The process's memory once it rests: the allocator gives pages back some seconds after a load or a start.
fn settled_bytes(pid: u32) -> u64 {
    let mut last = resident_bytes(pid);
    for _ in 0..10 {
        std::thread::sleep(Duration::from_secs(3));
        let now = resident_bytes(pid);
        if now.abs_diff(last) < last / 200 {
            return now;
        }
        last = now;
    }
    last
}

#[test]
fn a_million_znodes_are_small() {
    let mut server = RingServer::launch(Engine::Uring, &[]);
    let empty = resident_bytes(server.pid());
    assert_eq!(leaf(PARENT, 0).len(), 40);
    fill(server.address(), PARENT, NODES, &[b'd'; 100]);
    let each = |bytes: u64| (bytes - empty) / NODES as u64;
    let filled = each(settled_bytes(server.pid()));
    assert_eq!(server.terminate(), Some(0));
    server.start();
    let (mut client, _) = RawClient::open(server.address(), &Attach::default());
    let path = leaf(PARENT, NODES - 1);
    assert_eq!(
        client
            .call(1, 3, &Out::new().string(&path).bool(false).0, &mut Vec::new())
            .err,
        0
    );
    let restarted = each(settled_bytes(server.pid()));
    println!(
        "resident bytes per znode: {filled} after filling, {restarted} after a restart; server without data {empty}"
    );
    assert!(
        filled <= BYTES_PER_NODE_MAX && restarted <= BYTES_PER_NODE_MAX,
        "{filled} and {restarted}"
    );
}
