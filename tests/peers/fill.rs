//! Many znodes, quickly: creates pipelined over one connection, with a window so that neither side's buffers grow.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use super::Attach;
use super::jute::Out;
use super::raw::RawClient;

/// Answers that the sender waits for at a time, and how far it may be ahead of them.
const STEP: u32 = 1000;
const AHEAD: u32 = 2000;

const CREATE: i32 = 1;

/// A create request's record: a persistent node that anyone may do anything with.
pub fn create(path: &str, data: &[u8]) -> Vec<u8> {
    Out::new()
        .string(path)
        .buffer(data)
        .acls(&[(31, "world", "anyone")])
        .int(0)
        .0
}

/// The path of a filled znode; under a parent of 32 bytes it has 40.
pub fn leaf(parent: &str, number: u32) -> String {
    match number {
        0..1_000_000 => format!("{parent}/n{number:06}"),
        _ => format!("{parent}/{number:07}"),
    }
}

/// Creates the parent, and `count` znodes with that data below it.
pub fn fill(address: SocketAddr, parent: &str, count: u32, data: &[u8]) {
    let (mut client, _) = RawClient::open(address, &Attach::default());
    assert_eq!(client.call(1, CREATE, &create(parent, b""), &mut Vec::new()).err, 0);
    let mut writer = client.duplicate();
    let (answered, window) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..count {
                writer.send(2 + number as i32, CREATE, &create(&leaf(parent, number), data));
                if number % STEP == STEP - 1 && number >= AHEAD {
                    window.recv().expect("the reader lives");
                }
            }
        });
        for number in 0..count {
            let reply = client.packet().expect("a reply");
            assert_eq!((reply.xid, reply.err), (2 + number as i32, 0));
            if number % STEP == STEP - 1 {
                // The sender does not wait for the last ones.
                let _ = answered.send(());
            }
        }
    });
}
