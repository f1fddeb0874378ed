//! A server's life on the simulated disk: it starts, appends, takes snapshots, ends in order or is killed.
//! What it appended and what it acknowledged are marks in the disk's trace.

use std::path::PathBuf;
use std::sync::Arc;

use storage::Zxid;
use storage::engine::{Engine, Options, Report};
use storage::log::Log;
use storage::sim::SimDisk;

use super::{Seen, entries, payload};

/// A mark with this bit says what was appended; one without, what was acknowledged.
pub const APPENDED: u64 = 1 << 63;

/// How a store lies on the disk and is written.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Log writes are durable one by one; else each is followed by a sync.
    pub direct: bool,
    /// Log and snapshots share a directory.
    pub one_directory: bool,
    /// False is `forceSync=no`.
    pub fsync: bool,
}

impl Layout {
    /// Writes durable one by one, on two devices.
    pub const DIRECT: Layout = Layout {
        direct: true,
        one_directory: false,
        fsync: true,
    };
    /// Writes and syncs, on one device.
    pub const SYNCED: Layout = Layout {
        direct: false,
        one_directory: true,
        fsync: true,
    };

    fn options(self) -> Options {
        let log = if self.one_directory { "/data" } else { "/log" };
        Options {
            data_dir: PathBuf::from("/data"),
            log_dir: PathBuf::from(log),
            segment_bytes: 32 << 10,
            segment_bytes_first: 12 << 10,
            direct: self.direct,
            fsync: self.fsync,
            retain_snapshots: 2,
            background: false,
            load_threads: 1,
            ..Options::default()
        }
    }
}

/// A store that is open.
pub struct Server {
    pub disk: SimDisk,
    pub engine: Engine,
    pub log: Log,
}

impl Server {
    /// Opens what the disk holds; an error is its text.
    pub fn start(disk: &SimDisk, layout: Layout) -> Result<(Server, Report, Seen), String> {
        let mut seen = Seen::default();
        let opened = Engine::open_on(Arc::new(disk.clone()), layout.options(), &mut seen);
        let (engine, log, report) = opened.map_err(|error| error.to_string())?;
        let server = Server {
            disk: disk.clone(),
            engine,
            log,
        };
        Ok((server, report, seen))
    }

    /// One batch of so many records, made durable and acknowledged.
    pub fn append(&mut self, count: u64) {
        append(&self.disk, &mut self.log, count);
    }

    /// Batches of `sizes`, again and again, until `zxid` is durable.
    pub fn append_to(&mut self, zxid: u64, sizes: &[u64]) {
        for size in sizes.iter().cycle() {
            let left = zxid - self.log.durable().0;
            if left == 0 {
                return;
            }
            self.append(left.min(*size));
        }
    }

    /// The state so far, as a snapshot.
    pub fn snapshot(&mut self) {
        self.snapshot_at(self.log.durable());
    }

    /// A snapshot of that zxid, whatever the log has.
    pub fn snapshot_at(&mut self, zxid: Zxid) {
        let all = entries(zxid);
        let mut all = all.iter().map(|(key, value)| (&key[..], &value[..]));
        let written = self.engine.write_snapshot(zxid, 1, b"meta", &mut all, None);
        written.expect("the simulated disk writes");
    }

    /// The state so far as a snapshot, while the log goes on: a batch is written between each two entries.
    pub fn snapshot_while_writing(&mut self, batch: u64) {
        let (zxid, Server { disk, engine, log }) = (self.log.durable(), self);
        let all = entries(zxid);
        let mut all = all.iter().map(|(key, value)| {
            append(disk, log, batch);
            (&key[..], &value[..])
        });
        let written = engine.write_snapshot(zxid, 1, b"meta", &mut all, None);
        written.expect("the simulated disk writes");
    }

    /// Ends in order, with a close mark.
    pub fn stop(self) {
        drop(self);
    }

    /// kill -9.
    pub fn kill(self) {
        self.disk.process_killed();
        std::mem::forget((self.engine, self.log));
    }
}

/// One batch of so many records, made durable and acknowledged.
pub fn append(disk: &SimDisk, log: &mut Log, count: u64) {
    for _ in 0..count {
        let zxid = log.appended().next();
        log.append(zxid, &[&payload(zxid)]);
    }
    disk.mark(APPENDED | log.appended().0);
    let write = log.next_write().expect("a batch");
    let durable = log.written(write.perform().expect("the simulated disk writes"));
    disk.mark(durable.0);
}
