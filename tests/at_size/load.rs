//! A steady load of writes, sent when they are due whether the server keeps up or not, and what it felt like.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::peers::fill::leaf;
use crate::peers::jute::Out;
use crate::peers::{Attach, RawClient};

const SET_DATA: i32 = 5;

/// So many writes a second, over so many connections, on so many znodes.
pub struct Load<'a> {
    pub address: SocketAddr,
    pub parent: &'a str,
    pub nodes: u32,
    pub data: &'a [u8],
    pub rate: u32,
    pub connections: u32,
    pub duration: Duration,
}

/// One write: when it was due, from the load's start, and how long its answer took from then.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub due: Duration,
    pub took: Duration,
}

/// A time in which something went on, from the load's start, and the server's memory in it.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub from: Duration,
    pub to: Duration,
    pub resident_before: u64,
    pub resident_max: u64,
}

impl Load<'_> {
    /// Runs it, and notes each time in which a snapshot was being written into the directory. Memory is that of `pid`.
    pub fn run(&self, directory: &Path, pid: u32) -> (Vec<Sample>, Vec<Window>) {
        let start = Instant::now() + Duration::from_millis(50);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let windows = scope.spawn(|| watch(directory, pid, start, &over));
            let connections: Vec<_> = (0..self.connections)
                .map(|number| scope.spawn(move || self.connection(number, start)))
                .collect();
            let samples = connections
                .into_iter()
                .flat_map(|connection| connection.join().expect("a connection"));
            let samples = samples.collect();
            over.store(true, Ordering::Relaxed);
            (samples, windows.join().expect("the watcher"))
        })
    }

    fn connection(&self, number: u32, start: Instant) -> Vec<Sample> {
        let (mut client, _) = RawClient::open(self.address, &Attach::default());
        let mut writer = client.duplicate();
        let interval = Duration::from_secs(1) * self.connections / self.rate;
        let offset = interval * number / self.connections;
        let count = (self.duration.as_nanos() / interval.as_nanos()) as u32;
        thread::scope(|scope| {
            scope.spawn(move || {
                for index in 0..count {
                    let due = start + offset + interval * index;
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    // A walk that no cache likes.
                    let node = (index.wrapping_mul(0x9e37_79b9) ^ number.wrapping_mul(0x85eb_ca6b)) % self.nodes;
                    let body = Out::new().string(&leaf(self.parent, node)).buffer(self.data).int(-1).0;
                    writer.send(1 + index as i32, SET_DATA, &body);
                }
            });
            let each = |index: u32| {
                let reply = client.packet().expect("a reply");
                assert_eq!((reply.xid, reply.err), (1 + index as i32, 0));
                let due = offset + interval * index;
                let took = Instant::now().saturating_duration_since(start + due);
                Sample { due, took }
            };
            (0..count).map(each).collect()
        })
    }
}

/// Looks for a snapshot's temporary file until it is over.
fn watch(directory: &Path, pid: u32, start: Instant, over: &AtomicBool) -> Vec<Window> {
    let mut windows: Vec<Window> = Vec::new();
    let mut resident = resident_bytes(pid);
    let mut open = false;
    while !over.load(Ordering::Relaxed) {
        let writing = snapshot_is_written(directory);
        let now = Instant::now().saturating_duration_since(start);
        if writing && !open {
            windows.push(Window {
                from: now,
                to: now,
                resident_before: resident,
                resident_max: resident,
            });
        }
        resident = resident_bytes(pid);
        if let Some(window) = windows.last_mut().filter(|_| writing || open) {
            window.to = now;
            window.resident_max = window.resident_max.max(resident);
        }
        open = writing;
        thread::sleep(Duration::from_millis(2));
    }
    windows
}

fn snapshot_is_written(directory: &Path) -> bool {
    let names = std::fs::read_dir(directory).expect("the data directory");
    let is_written = |name: &str| name.starts_with("snapshot.") && name.ends_with(".tmp");
    names
        .flatten()
        .any(|entry| entry.file_name().to_str().is_some_and(is_written))
}

/// Waits until no snapshot has been written for half a second.
pub fn settle(directory: &Path) {
    let mut quiet_since = Instant::now();
    while quiet_since.elapsed() < Duration::from_millis(500) {
        if snapshot_is_written(directory) {
            quiet_since = Instant::now();
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A process's resident memory, bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc is mounted");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("VmRSS");
    let number = line.split_whitespace().next().expect("a number");
    number.parse::<u64>().expect("a number") * 1024
}
