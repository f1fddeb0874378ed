//! Recovery under a stopwatch: what the start's metrics tell afterwards, and what a long start says while it lasts.
//!
//! A start that takes longer than a second writes a line of progress for each second that has gone by: how far
//! it is, how fast, and about how long the rest takes. The work itself is `replica::recover`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use storage::Zxid;
use storage::engine::{Inspect, Recover};
use storage::trie::Trie;

use super::metrics::StartNumbers;
use crate::io::{Clock, allow_huge_pages};
use crate::replica::recover::Recovery;
use crate::tree::key::Kind;
use crate::tree::snapshot::read_meta;
use crate::tree::{Totals, Tree};
use crate::zab::Proposal;

/// Time between two lines of progress.
const TELL_EVERY_MS: u64 = 1000;

/// Recovery, its times, and its progress.
pub struct Timed {
    recovery: Recovery,
    clock: Clock,
    begun_ms: u64,
    snapshot_begun_ms: u64,
    snapshot_ms: Option<u64>,
    first_record_ms: Option<u64>,
    znodes: Arc<Progress>,
    segments: Progress,
}

impl Timed {
    /// Starts the stopwatch.
    pub fn new(recovery: Recovery, clock: Clock) -> Timed {
        Timed {
            recovery,
            begun_ms: clock.ms(),
            snapshot_begun_ms: 0,
            snapshot_ms: None,
            first_record_ms: None,
            znodes: Arc::new(Progress::new(clock, 0)),
            segments: Progress::new(clock, 0),
            clock,
        }
    }

    /// The times so far.
    pub fn numbers(&self) -> StartNumbers {
        let now_ms = self.clock.ms();
        StartNumbers {
            init_ms: now_ms - self.begun_ms,
            snapshot_ms: self.snapshot_ms,
            replay_ms: self.first_record_ms.map_or(0, |first_ms| now_ms - first_ms),
            replayed: self.recovery.replayed,
        }
    }

    /// What the recovery forgave, for people.
    pub fn doubt(&self) -> Option<String> {
        self.recovery.doubt()
    }

    /// The recovered tree.
    pub fn finish(self) -> Tree {
        let tree = self.recovery.finish();
        mind_pages(tree.totals());
        tree
    }

    /// For a member: the tree without the last transactions, its zxid, and those transactions.
    pub fn finish_member(self) -> (Tree, Zxid, Vec<Proposal>) {
        let (tree, base, entries) = self.recovery.finish_member();
        mind_pages(tree.totals());
        (tree, base, entries)
    }
}

impl Recover for Timed {
    fn begin_snapshot(&mut self, zxid: Zxid, seed: u64, meta: &[u8]) -> Result<(), String> {
        self.snapshot_begun_ms = self.clock.ms();
        let totals = read_meta(meta).unwrap_or_default();
        self.znodes = Arc::new(Progress::new(self.clock, totals.nodes));
        self.recovery.begin_snapshot(zxid, seed, meta)
    }

    fn inspector(&self) -> Option<Arc<dyn Inspect>> {
        let inspector = self.recovery.inspector()?;
        let progress = Arc::clone(&self.znodes);
        Some(Arc::new(Telling { inspector, progress }))
    }

    fn trie(&mut self, trie: Trie) -> Result<(), String> {
        self.recovery.trie(trie)
    }

    fn end_snapshot(&mut self) -> Result<(), String> {
        self.recovery.end_snapshot()?;
        self.snapshot_ms = Some(self.clock.ms() - self.snapshot_begun_ms);
        Ok(())
    }

    fn segment(&mut self, read: usize, of: usize) {
        match read {
            0 => self.segments = Progress::new(self.clock, of as u64),
            _ => self.segments.done.store(read as u64, Ordering::Relaxed),
        }
    }

    fn record(&mut self, zxid: Zxid, payload: &[u8]) -> Result<(), String> {
        let now_ms = self.clock.ms();
        self.first_record_ms.get_or_insert(now_ms);
        self.recovery.record(zxid, payload)?;
        if self.segments.is_due(now_ms) {
            let replayed = self.recovery.replayed;
            tracing::info!(replayed, %zxid, "replaying the log: {}", self.segments.tell("segments", now_ms));
        }
        Ok(())
    }
}

/// A tree of so many bytes is large enough for huge pages.
const LARGE_TREE_BYTES: u64 = 32 << 20;
/// What a node takes besides its path and data.
const NODE_BYTES: u64 = 150;

/// Gives a tree that has grown large its huge pages: on a slow machine, reads of a million znodes took 1.74 to 1.95 µs of
/// processor time with them and 2.29 to 2.81 µs without; on a quick one 1.20 and 1.25 to 1.35.
///
/// A tree that is being loaded gets them afterwards. Where a hypervisor takes memory back that is not used (free page
/// reporting: whole huge pages), the first start of a while waits for each: a million znodes in 0.81 to 1.27 s, and in 0.43
/// to 0.55 s with small pages (the slow machine). The kernel's own collector did not get to a loaded tree within a minute,
/// so `io::memory` does its work.
pub fn mind_pages(totals: &Totals) {
    if totals.bytes + totals.nodes * NODE_BYTES > LARGE_TREE_BYTES {
        allow_huge_pages(true);
    }
}

/// An inspector that counts for the progress.
struct Telling {
    inspector: Arc<dyn Inspect>,
    progress: Arc<Progress>,
}

impl Inspect for Telling {
    fn inspect(&self, entries: &[(&[u8], &[u8])]) -> Result<(), String> {
        self.inspector.inspect(entries)?;
        let is_node = |(key, _): &&(&[u8], &[u8])| key.first() == Some(&(Kind::Node as u8));
        let nodes = entries.iter().filter(is_node).count() as u64;
        self.progress.done.fetch_add(nodes, Ordering::Relaxed);
        let now_ms = self.progress.clock.ms();
        if self.progress.is_due(now_ms) {
            tracing::info!("loading the snapshot: {}", self.progress.tell("znodes", now_ms));
        }
        Ok(())
    }
}

/// How far something is, shared by those who do it.
struct Progress {
    clock: Clock,
    begun_ms: u64,
    told_ms: AtomicU64,
    done: AtomicU64,
    all: u64,
}

impl Progress {
    fn new(clock: Clock, all: u64) -> Progress {
        let begun_ms = clock.ms();
        Progress {
            clock,
            begun_ms,
            told_ms: AtomicU64::new(begun_ms),
            done: AtomicU64::new(0),
            all,
        }
    }

    /// Whether it is time for a line; true for one of those who ask at the same time.
    fn is_due(&self, now_ms: u64) -> bool {
        let told_ms = self.told_ms.load(Ordering::Relaxed);
        now_ms.saturating_sub(told_ms) >= TELL_EVERY_MS
            && self
                .told_ms
                .compare_exchange(told_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    fn tell(&self, what: &str, now_ms: u64) -> String {
        line(
            what,
            self.done.load(Ordering::Relaxed),
            self.all,
            now_ms - self.begun_ms,
        )
    }
}

/// How far, how fast, how long still.
fn line(what: &str, done: u64, all: u64, elapsed_ms: u64) -> String {
    let rate = done as f64 * 1000.0 / elapsed_ms.max(1) as f64;
    let left = all.saturating_sub(done);
    let rest = match rate > 0.0 {
        true => format!("{:.1} s left", left as f64 / rate),
        false => "the rest is not known yet".to_owned(),
    };
    let rate = if rate < 100.0 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    };
    format!("{done} of {all} {what}, {rate} a second, {rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_far_how_fast_and_how_long_still() {
        let text = line("znodes", 1_500_000, 5_000_000, 1000);
        assert_eq!(text, "1500000 of 5000000 znodes, 1500000 a second, 2.3 s left");
        assert_eq!(
            line("segments", 3, 7, 2000),
            "3 of 7 segments, 1.5 a second, 2.7 s left"
        );
        let text = line("segments", 0, 7, 1000);
        assert_eq!(text, "0 of 7 segments, 0.0 a second, the rest is not known yet");
    }

    #[test]
    fn lines_come_one_at_a_time() {
        let progress = Progress::new(Clock::default(), 10);
        let begun_ms = progress.begun_ms;
        assert!(!progress.is_due(begun_ms + TELL_EVERY_MS - 1));
        assert!(progress.is_due(begun_ms + TELL_EVERY_MS));
        assert!(!progress.is_due(begun_ms + TELL_EVERY_MS + 1));
        assert!(progress.is_due(begun_ms + 2 * TELL_EVERY_MS));
    }
}
