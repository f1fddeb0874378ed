//! When snapshots are taken (`SyncRequestProcessor#shouldSnapshot`) and the thread that takes one.

use std::sync::Arc;

use storage::engine::Engine as Storage;

use super::message::ToWriter;
use super::shared::Shared;
use crate::tree::{Totals, View};

/// Counts towards the next snapshot. Both limits are drawn anew after each, between half and all of what is
/// configured, so that the servers of an ensemble do not all snapshot at once.
pub struct Trigger {
    count_max: u64,
    bytes_max: Option<u64>,
    random: u64,
    count_now: u64,
    bytes_now: u64,
    count_limit: u64,
    bytes_limit: u64,
    running: bool,
    /// When one that could not be taken is tried again.
    again_ms: Option<u64>,
}

/// How long after a snapshot that could not be taken the next one is tried.
const AGAIN_MS: u64 = 60_000;

impl Trigger {
    /// `seed` draws the first limits.
    pub fn new(count_max: u64, bytes_max: Option<u64>, seed: u64) -> Trigger {
        let (count_limit, bytes_limit) = (0, 0);
        let mut trigger = Trigger {
            count_max,
            bytes_max,
            random: seed | 1,
            count_now: 0,
            bytes_now: 0,
            count_limit,
            bytes_limit,
            running: false,
            again_ms: None,
        };
        trigger.draw();
        trigger
    }

    fn draw(&mut self) {
        // xorshift64: the jitter needs no better.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.count_limit = jittered(self.count_max, self.random);
        self.bytes_limit = self.bytes_max.map_or(u64::MAX, |max| jittered(max, self.random));
        (self.count_now, self.bytes_now) = (0, 0);
    }

    /// Notes what went to the log. True if a snapshot is due; it is then taken to be running.
    pub fn logged(&mut self, count: u64, bytes: u64) -> bool {
        self.count_now += count;
        self.bytes_now += bytes;
        let due = !self.running && (self.count_now >= self.count_limit || self.bytes_now >= self.bytes_limit);
        if due {
            self.begin();
        }
        due
    }

    /// A snapshot is taken to be running.
    pub fn begin(&mut self) {
        self.running = true;
        self.draw();
    }

    /// Whether one is.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// The snapshot that was running is done.
    pub fn done(&mut self) {
        (self.running, self.again_ms) = (false, None);
    }

    /// It could not be taken: another is tried by and by, whatever comes to the log until then.
    pub fn failed(&mut self, now_ms: u64) {
        (self.running, self.again_ms) = (false, Some(now_ms + AGAIN_MS));
    }

    /// Whether the last one could not be taken.
    pub fn is_put_off(&self) -> bool {
        self.again_ms.is_some()
    }

    /// True if one that could not be taken is due again; it is then taken to be running.
    pub fn is_due_again(&mut self, now_ms: u64) -> bool {
        let due = !self.running && self.again_ms.is_some_and(|again_ms| again_ms <= now_ms);
        if due {
            self.begin();
        }
        due
    }
}

/// Between half and all of `max`.
fn jittered(max: u64, random: u64) -> u64 {
    max / 2 + 1 + random % (max / 2).max(1)
}

/// More than a snapshot of that tree takes: its paths and data as they are, and what stands beside them in each node.
pub fn bytes_at_most(totals: &Totals) -> u64 {
    const NODE_BYTES: u64 = 64;
    totals.bytes + totals.nodes * NODE_BYTES
}

/// How far the snapshot's thread stands back: it takes what the event loops leave, and a tenth of a core where they
/// leave nothing, so that a version is never held for long.
const NICE: i32 = 10;

/// Writes a version to the disk on a thread of its own, and tells the writer.
pub fn take(storage: Arc<Storage>, shared: Arc<Shared>, view: View) -> std::io::Result<()> {
    let rate = shared.options.snap_rate;
    let work = move || {
        // Of this thread alone: that is what Linux means by the calling process here. Refused, it is as before.
        let _ = rustix::process::setpriority_process(None, NICE);
        let started = std::time::Instant::now();
        let zxid = view.totals().zxid;
        let taken = storage.write_snapshot(zxid, view.seed(), &view.meta(), &mut view.entries(), rate);
        let took_ms = match taken {
            Ok(info) => {
                let ms = started.elapsed().as_millis() as u64;
                tracing::info!(%zxid, nodes = view.totals().nodes, ms, "snapshot taken: {info}");
                Some(ms)
            }
            Err(error) => {
                tracing::error!(%zxid, %error, "taking a snapshot failed; the log keeps everything since the last one");
                None
            }
        };
        drop(view);
        shared.writer.send(ToWriter::SnapshotDone(took_ms));
    };
    std::thread::Builder::new()
        .name("snapshot".into())
        .spawn(work)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_lie_between_half_and_all() {
        let mut trigger = Trigger::new(100, Some(1000), 42);
        for _ in 0..50 {
            let mut count = 0;
            while !trigger.logged(1, 1) {
                count += 1;
            }
            assert!((50..=100).contains(&count), "{count}");
            assert!(!trigger.logged(1000, 1000), "one at a time");
            trigger.done();
            trigger.draw();
        }
        assert!(Trigger::new(1_000_000, Some(1000), 1).logged(1, 1001));
    }

    #[test]
    fn one_that_failed_is_tried_again() {
        let mut trigger = Trigger::new(100, None, 42);
        assert!(!trigger.is_due_again(u64::MAX));
        trigger.begin();
        trigger.failed(1000);
        assert!(trigger.is_put_off() && !trigger.is_running());
        assert!(!trigger.is_due_again(1000 + AGAIN_MS - 1));
        assert!(trigger.is_due_again(1000 + AGAIN_MS) && trigger.is_running());
        assert!(!trigger.is_due_again(u64::MAX), "one at a time");
        trigger.done();
        assert!(!trigger.is_put_off() && !trigger.is_due_again(u64::MAX));
    }
}
