//! kill -9 under load, again and again: what was acknowledged is there afterwards, and nothing is half there.
//!
//! A round: several writers pipeline creates, sets, sequential creates, deletes and two-node multis against a server
//! that is killed at a random moment; it is started again on the same directory, and every node is read back and held
//! against each writer's log of sent and acknowledged operations. `RINGKEEPER_CRASH_ROUNDS` and `RINGKEEPER_SEED`
//! change what is run; a failure names the seed and the round.

mod peers;

mod crash {
    pub mod ledger;
    pub mod writer;
}

use std::thread;
use std::time::{Duration, Instant};

use crash::ledger::Ledger;
use crash::writer::Writer;
use peers::jute::Out;
use peers::{Attach, Engine, Peer, RawClient, RingServer};

/// Writers at a time; each owns the subtree `/w<number>`.
const WRITERS: usize = 4;

#[test]
fn acknowledged_writes_survive_kill_9_on_the_ring() {
    rounds(Engine::Uring, &["dataLogDir={dir}/log"], 0x51, 15);
}

#[test]
fn acknowledged_writes_survive_kill_9_on_epoll() {
    rounds(Engine::Epoll, &[], 0x52, 10);
}

#[test]
fn acknowledged_writes_survive_kill_9_while_snapshots_are_taken_and_purged() {
    let lines = [
        "snapCount=300",
        "autopurge.snapRetainCount=3",
        "autopurge.purgeInterval=1",
    ];
    rounds(Engine::Uring, &lines, 0x53, 15);
    rounds(
        Engine::Epoll,
        &[&lines[..], &["dataLogDir={dir}/log"]].concat(),
        0x54,
        10,
    );
}

fn rounds(engine: Engine, lines: &[&str], seed: u64, count: usize) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let count = number("RINGKEEPER_CRASH_ROUNDS").map_or(count, |rounds| rounds as usize);
    let mut random = number("RINGKEEPER_SEED").unwrap_or(seed);
    println!("{} {lines:?}: seed {random}", engine.key());
    let lines: Vec<&str> = lines
        .iter()
        .chain(&["tickTime=200", "minSessionTimeout=400"])
        .copied()
        .collect();
    let mut server = RingServer::launch(engine, &lines);
    let mut ledgers: Vec<Ledger> = (0..WRITERS).map(Ledger::new).collect();
    let (mut highest, mut acknowledged) = (0, 0);
    for round in 0..count {
        // xorshift: the moment of the kill, and what the writers choose.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let load = Duration::from_millis(20 + random % 400);
        ledgers = under_load(&mut server, ledgers, random, load);
        let before = ledgers.iter().map(Ledger::highest_zxid).max().expect("writers");
        server.start();
        let what = format!("{} seed {seed} round {round}", engine.key());
        let (mut reader, _) = RawClient::open(server.address(), &Attach::default());
        for ledger in &mut ledgers {
            acknowledged += ledger.check(&mut reader, &what);
        }
        highest = assert_zxids_go_on(&mut reader, before.max(highest), &what);
        for ledger in &ledgers {
            assert_ephemerals_go(&mut reader, ledger, &what);
        }
        reader.send(9, -11, &[]);
    }
    println!(
        "{} {lines:?}: {count} rounds, {acknowledged} acknowledged writes checked, none lost",
        engine.key()
    );
    assert!(
        acknowledged > count * 10,
        "the writers hardly wrote: {acknowledged} writes in {count} rounds"
    );
}

/// Lets every writer write, kills the server after `load`, and gives the ledgers back.
fn under_load(server: &mut RingServer, ledgers: Vec<Ledger>, seed: u64, load: Duration) -> Vec<Ledger> {
    let address = server.address();
    let started = Instant::now();
    let threads: Vec<_> = ledgers
        .into_iter()
        .enumerate()
        .map(|(index, ledger)| thread::spawn(move || Writer::new(address, ledger, seed ^ index as u64).run()))
        .collect();
    thread::sleep(load.saturating_sub(started.elapsed()));
    server.kill9();
    threads
        .into_iter()
        .map(|thread| thread.join().expect("a writer"))
        .collect()
}

/// A write after the restart gets a zxid beyond all that anybody was shown.
fn assert_zxids_go_on(reader: &mut RawClient, before: i64, what: &str) -> i64 {
    let body = Out::new().string("/").buffer(b"").int(-1).0;
    let reply = reader.call(1, 5, &body, &mut Vec::new());
    assert_eq!(reply.err, 0, "{what}: setData /");
    assert!(
        reply.zxid > before,
        "{what}: zxid {:#x} after {before:#x} was shown",
        reply.zxid
    );
    reply.zxid
}

/// The writers' sessions have ended with their connections: after their 400 ms their ephemerals are gone.
fn assert_ephemerals_go(reader: &mut RawClient, ledger: &Ledger, what: &str) {
    let path = ledger.ephemeral();
    let body = Out::new().string(&path).bool(false).0;
    let gone = peers::wait_until(Duration::from_secs(5), || {
        reader.call(2, 3, &body, &mut Vec::new()).err == -101
    });
    assert!(gone, "{what}: {path} outlives its session by 5 s");
}
