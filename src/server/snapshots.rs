//! When snapshots are taken (`SyncRequestProcessor#shouldSnapshot`), the thread that takes one, and the one that removes
//! what is old (`DatadirCleanupManager`).

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use storage::Zxid;
use storage::engine::Engine as Storage;
use tokio::sync::oneshot;

use super::message::ToWriter;
use super::shared::Shared;
use crate::tree::{Totals, View};

/// Counts towards the next snapshot. Both limits are drawn anew after each, between half and all of what is
/// configured, so that the servers of an ensemble do not all snapshot at once.
///
/// Two differences from Java, which counts from zero after a start because it takes a snapshot at every start, and
/// which forgets a snapshot that is due while another is running: here what was replayed counts, so that a server that
/// is restarted often does not replay more each time, and what is due is taken once the other is done.
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
    asked: bool,
    /// Who is told of the next one.
    waiting: Vec<Asked>,
}

/// How long after a snapshot that could not be taken the next one is tried.
const AGAIN_MS: u64 = 60_000;

impl Trigger {
    /// Of a server that has just started.
    pub fn of(shared: &Shared) -> Trigger {
        let seed = shared.clock.wall_ms() as u64;
        let mut trigger = Trigger::new(shared.options.snap_count, shared.options.snap_bytes, seed);
        let (count, bytes) = shared.opened.replayed;
        trigger.replayed(count, bytes);
        trigger
    }

    /// `seed` draws the first limits.
    fn new(count_max: u64, bytes_max: Option<u64>, seed: u64) -> Trigger {
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
            asked: false,
            waiting: Vec::new(),
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

    /// What is in the log behind the snapshot that was loaded.
    fn replayed(&mut self, count: u64, bytes: u64) {
        self.count_now += count;
        self.bytes_now += bytes;
    }

    /// Notes what went to the log. True if a snapshot is due; it is then taken to be running.
    pub fn logged(&mut self, count: u64, bytes: u64) -> bool {
        self.count_now += count;
        self.bytes_now += bytes;
        self.is_due() && self.begin()
    }

    fn is_due(&self) -> bool {
        self.count_now >= self.count_limit || self.bytes_now >= self.bytes_limit
    }

    /// Somebody wants one, and perhaps to be told of it. True as above; if one is running, the next begins when it is done.
    pub fn ask_for(&mut self, asked: Option<Asked>) -> bool {
        self.waiting.extend(asked);
        self.ask()
    }

    fn ask(&mut self) -> bool {
        self.asked = true;
        self.begin()
    }

    /// One is taken to be running from now on; false if one is already.
    pub fn begin(&mut self) -> bool {
        if self.running {
            return false;
        }
        (self.running, self.asked) = (true, false);
        self.draw();
        true
    }

    /// Whether one is.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// The snapshot that was running is done, or failed. True if another was asked for or became due meanwhile, and is
    /// taken to be running.
    pub fn ended(&mut self, took_ms: Option<u64>, now_ms: u64) -> bool {
        match took_ms {
            Some(_) => self.done(),
            None => self.failed(now_ms),
        }
    }

    fn done(&mut self) -> bool {
        (self.running, self.again_ms) = (false, None);
        (self.asked || self.is_due()) && self.begin()
    }

    /// It could not be taken: another is tried by and by, whatever comes to the log until then. True as above.
    fn failed(&mut self, now_ms: u64) -> bool {
        (self.running, self.again_ms) = (false, Some(now_ms + AGAIN_MS));
        self.asked && self.begin()
    }

    /// Whether somebody waits for it.
    pub fn is_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the last one could not be taken.
    pub fn is_put_off(&self) -> bool {
        self.again_ms.is_some()
    }

    /// The one that was to run cannot: who waits for it is told why, and it is tried again by and by.
    pub fn put_off(&mut self, why: &str, now_ms: u64) {
        for asked in self.waiting.drain(..) {
            // Nobody may be waiting any more.
            let _ = asked.send(Err(why.to_owned()));
        }
        self.failed(now_ms);
    }

    /// Takes the one that is to run, of this view.
    pub fn take(&mut self, storage: &Arc<Storage>, shared: &Arc<Shared>, view: View) {
        if let Err(why) = storage.has_room_for_snapshot(bytes_at_most(view.totals())) {
            if !self.is_put_off() {
                tracing::warn!("no snapshot is taken until there is room for it; the log keeps everything: {why}");
            }
            return self.put_off(&format!("there is no room for a snapshot: {why}"), shared.clock.ms());
        }
        let waiting = std::mem::take(&mut self.waiting);
        if let Err(error) = take(Arc::clone(storage), Arc::clone(shared), view, waiting) {
            tracing::error!(%error, "no thread for a snapshot");
            self.failed(shared.clock.ms());
        }
    }

    /// True if one that could not be taken is due again; it is then taken to be running.
    pub fn is_due_again(&mut self, now_ms: u64) -> bool {
        self.again_ms.is_some_and(|again_ms| again_ms <= now_ms) && self.begin()
    }
}

/// Between half and all of `max`.
fn jittered(max: u64, random: u64) -> u64 {
    max / 2 + 1 + random % (max / 2).max(1)
}

/// More than a snapshot of that tree takes: its paths and data as they are, and what stands beside them in each node.
fn bytes_at_most(totals: &Totals) -> u64 {
    const NODE_BYTES: u64 = 64;
    totals.bytes + totals.nodes * NODE_BYTES
}

/// A snapshot that somebody asked for.
pub struct Taken {
    /// Its zxid.
    pub zxid: Zxid,
    /// Bytes of its file.
    pub bytes: u64,
    /// The file, open: a purge cannot take it away.
    pub file: File,
}

/// Who is told of a snapshot, or why there is none.
pub type Asked = oneshot::Sender<Result<Taken, String>>;

/// How far the snapshot's thread stands back. Not far: where the event loops leave nothing it must still be done soon,
/// or the version that it holds costs memory (at 10, on a loaded machine, 331 bytes a znode instead of 314). Turns of 100 µs
/// for it (`sched_setattr`) disturb more than its long ones: the p99 of 2,000 writes a second beside snapshots of a million
/// znodes was 1.5 to 3.2 times that between them, and is 1.1 to 1.5 times (four alternations, the log on a device of its own).
const NICE: i32 = 2;

/// Writes a version to the disk on a thread of its own, tells who asked for it, and the writer.
fn take(storage: Arc<Storage>, shared: Arc<Shared>, view: View, asked: Vec<Asked>) -> std::io::Result<()> {
    let rate = shared.options.snap_rate;
    let view = view.freeze();
    let work = move || {
        crate::io::processor::unpin();
        // Of this thread alone: that is what Linux means by the calling process here. Refused, it is as before.
        let _ = rustix::process::setpriority_process(None, NICE);
        let started = std::time::Instant::now();
        let zxid = view.totals().zxid;
        let taken = storage.write_snapshot(zxid, view.seed(), &view.meta(), &mut polite(view.entries()), rate);
        let took_ms = match &taken {
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
        let told = taken.map_err(|error| error.to_string());
        for answer in asked {
            let one = told.as_ref().map_err(String::clone);
            // Whoever asked may be gone.
            let _ = answer.send(one.and_then(|info| open(info.zxid, &info.path)));
        }
        // The engine goes before the writer hears of it: after the last message nobody holds it back.
        drop(storage);
        shared.writer.send(ToWriter::SnapshotDone(took_ms));
    };
    std::thread::Builder::new()
        .name("snapshot".into())
        .spawn(work)
        .map(drop)
}

/// Entries between two moments at which the snapshot's thread lets others go first: some 30 µs.
const POLITE: u32 = 64;

/// The same entries, while whoever waits for this processor gets it. Nobody would for a whole slice of the scheduler's
/// (3 ms), several times on the way of one write.
fn polite<T>(entries: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let mut count = 0;
    entries.inspect(move |_| {
        count += 1;
        if count % POLITE == 0 {
            std::thread::yield_now();
        }
    })
}

fn open(zxid: Zxid, path: &Path) -> Result<Taken, String> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (bytes, file) = opened.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Taken { zxid, bytes, file })
}

/// Removes old snapshots and logs now and then, on a thread of its own, for as long as the engine is there.
pub fn purge_every(interval: Duration, storage: Weak<Storage>) -> std::io::Result<()> {
    let work = move || {
        while let Some(engine) = storage.upgrade() {
            match engine.purge() {
                Ok(purged) if purged.is_empty() => {}
                Ok(purged) => tracing::info!("{purged}"),
                Err(error) => tracing::error!(%error, "old snapshots and logs could not be removed"),
            }
            drop(engine);
            std::thread::sleep(interval);
        }
    };
    std::thread::Builder::new().name("purge".into()).spawn(work).map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Instant;

    use storage::engine::Options;

    use super::*;
    use crate::replica::recover::Recovery;
    use crate::tree::Features;

    /// A server that takes no snapshots any more still lets the old ones go when their time has come, and the thread that
    /// does it keeps no engine open.
    #[test]
    fn old_snapshots_go_while_no_new_ones_are_taken() {
        static NOW_S: AtomicU64 = AtomicU64::new(0);
        let directory = tempfile::tempdir().expect("a directory");
        let wall_s = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
        NOW_S.store(wall_s, Ordering::Relaxed);
        let options = Options {
            data_dir: directory.path().into(),
            log_dir: directory.path().into(),
            retain_age_s: Some(3600),
            wall_s: || NOW_S.load(Ordering::Relaxed),
            background: false,
            ..Options::default()
        };
        let open = || Storage::open(options.clone(), &mut Recovery::new(Features::default(), 1));
        let (engine, log, _) = open().unwrap_or_else(|error| panic!("{error}"));
        let engine = Arc::new(engine);
        let mut tree = crate::tree::Tree::new(1, Features::default());
        let taken = [1, 2].map(|zxid| {
            let view = tree.view();
            let taken = engine.write_snapshot(Zxid(zxid), 1, &view.meta(), &mut view.entries(), None);
            taken.unwrap_or_else(|error| panic!("{error}")).path
        });
        purge_every(Duration::from_millis(5), Arc::downgrade(&engine)).expect("a thread");
        std::thread::sleep(Duration::from_millis(100));
        assert!(taken.iter().all(|path| path.exists()), "both are young");
        NOW_S.store(wall_s + 7200, Ordering::Relaxed);
        let until = |what: &dyn Fn() -> bool| {
            let began = Instant::now();
            while !what() {
                assert!(began.elapsed() < Duration::from_secs(10), "it was never so");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        until(&|| !taken[0].exists());
        assert!(taken[1].exists(), "the newest stays, however old");
        drop((engine, log));
        until(&|| open().is_ok());
    }

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
            assert!(trigger.done(), "what became due meanwhile is taken then");
            assert!(!trigger.done());
        }
        assert!(Trigger::new(1_000_000, Some(1000), 1).logged(1, 1001));
    }

    #[test]
    fn one_that_failed_is_tried_again() {
        let mut trigger = Trigger::new(100, None, 42);
        assert!(!trigger.is_due_again(u64::MAX));
        trigger.begin();
        assert!(!trigger.failed(1000), "nobody asked for another");
        assert!(trigger.is_put_off() && !trigger.is_running());
        assert!(!trigger.is_due_again(1000 + AGAIN_MS - 1));
        assert!(trigger.is_due_again(1000 + AGAIN_MS) && trigger.is_running());
        assert!(!trigger.is_due_again(u64::MAX), "one at a time");
        trigger.done();
        assert!(!trigger.is_put_off() && !trigger.is_due_again(u64::MAX));
        trigger.begin();
        assert!(!trigger.ask());
        assert!(trigger.failed(1000), "somebody did");
    }

    #[test]
    fn what_was_replayed_counts_and_what_is_asked_for_waits_for_the_one_that_runs() {
        let mut trigger = Trigger::new(100, None, 42);
        trigger.replayed(99, 0);
        assert!(trigger.logged(1, 1), "a hundred are due whatever was drawn");
        assert!(!trigger.ask(), "one at a time");
        assert!(trigger.done(), "then the one that was asked for");
        assert!(!trigger.done());
        assert!(trigger.ask());
    }
}
