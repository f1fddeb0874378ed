//! What all threads of the server share: configuration, inboxes, and a few counters.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use crossbeam::utils::CachePadded;

use super::doors::Doors;
use super::message::{ToCore, ToWriter};
use super::metrics::StartNumbers;
use super::options::Options;
use super::secret::SessionKeys;
use crate::base::Zxid;
use crate::io::{Clock, Inbox};
use crate::wire::four_letter::{TRACE_MASK, Whitelist};

/// One core's mailbox and what others must know of the core. A read of a client writes to none of it.
#[derive(Default)]
pub struct CorePort {
    /// Its mailbox.
    pub inbox: Inbox<ToCore>,
    /// Whether any of its connections watches anything: only then must it be woken for changes.
    pub watching: AtomicBool,
    /// Connections that were given to it and are not forgotten.
    pub connections: AtomicUsize,
    /// Its clients' requests that wait: writes, and what came behind them. Only the core itself changes it.
    outstanding: CachePadded<AtomicUsize>,
}

impl CorePort {
    /// So many of the core's requests more wait, or fewer. For the core alone: a load and a store, no locked exchange.
    pub fn note_outstanding(&self, change: isize) {
        let before = self.outstanding.load(Ordering::Relaxed);
        let now = before.checked_add_signed(change).expect("what waits was counted");
        self.outstanding.store(now, Ordering::Relaxed);
    }
}

/// What was found when the storage was opened.
pub struct Opened {
    /// Where snapshots lie.
    pub data_path: PathBuf,
    /// Where the log lies.
    pub log_path: PathBuf,
    /// The newest durable transaction.
    pub durable: Zxid,
    /// Transactions behind the snapshot that was loaded, and bytes of them.
    pub replayed: (u64, u64),
    /// What it took.
    pub start: StartNumbers,
}

/// Shared by every thread. What a read looks at here is never written, but for `published`, which has a line of its own;
/// what is written lies apart (`tests/read_path.rs` lets reads run while all of this is write-protected).
pub struct Shared {
    /// The configuration.
    pub options: Options,
    /// The clocks.
    pub clock: Clock,
    /// Passwords.
    pub keys: SessionKeys,
    /// The writer's mailbox.
    pub writer: Inbox<ToWriter>,
    /// The cores' mailboxes.
    pub cores: Vec<CachePadded<CorePort>>,
    /// Who may connect.
    pub doors: Arc<Doors>,
    /// The four-letter words that are answered.
    pub words: Whitelist,
    /// The trace mask of `gtmk` and `stmk`, which nothing looks at: what is logged is RUST_LOG's business.
    pub trace_mask: AtomicI64,
    /// What was found on the disk.
    pub opened: Opened,
    published: CachePadded<AtomicU64>,
}

impl Shared {
    /// Puts it together.
    pub fn new(options: Options, keys: SessionKeys, clock: Clock, opened: Opened) -> Arc<Shared> {
        let cores = (0..options.cores).map(|_| CachePadded::default()).collect();
        let writer = Inbox::default();
        let words = Whitelist::new(options.words.as_deref(), options.read_only_mode);
        Arc::new(Shared {
            options,
            clock,
            keys,
            writer,
            cores,
            doors: Arc::default(),
            words,
            trace_mask: AtomicI64::new(TRACE_MASK),
            published: CachePadded::new(AtomicU64::new(opened.durable.0)),
            opened,
        })
    }

    /// Requests that were read and not answered (`ZooKeeperServer#getInProcess`): those that wait. What is answered in
    /// the turn that read it is in process for less than anybody could tell.
    pub fn outstanding(&self) -> usize {
        let of = |port: &CachePadded<CorePort>| port.outstanding.load(Ordering::Relaxed);
        self.cores.iter().map(of).sum()
    }

    /// The newest transaction that a client may see. A batch lies in every inbox before this moves: a core that
    /// empties its inbox up to here is never behind an answer that another core gave.
    pub fn published(&self) -> Zxid {
        Zxid(self.published.load(Ordering::Acquire))
    }

    /// Moves it; the writer's right alone.
    pub fn publish(&self, zxid: Zxid) {
        let before = self.published.swap(zxid.0, Ordering::AcqRel);
        assert!(before <= zxid.0, "published went back from {before:x} to {zxid}");
    }
}
