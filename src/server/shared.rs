//! What all threads of the server share: configuration, inboxes, and a few counters.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use super::doors::Doors;
use super::message::{ToCore, ToWriter};
use super::metrics::StartNumbers;
use super::options::Options;
use super::secret::SessionKeys;
use crate::base::Zxid;
use crate::io::{Clock, Inbox};
use crate::wire::four_letter::{TRACE_MASK, Whitelist};

/// One core's mailbox and what others must know of the core.
#[derive(Default)]
pub struct CorePort {
    /// Its mailbox.
    pub inbox: Inbox<ToCore>,
    /// Whether any of its connections watches anything: only then must it be woken for changes.
    pub watching: AtomicBool,
    /// Connections that were given to it and are not forgotten.
    pub connections: AtomicUsize,
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

/// Shared by every thread.
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
    pub cores: Vec<CorePort>,
    /// Who may connect.
    pub doors: Arc<Doors>,
    /// The four-letter words that are answered.
    pub words: Whitelist,
    /// The trace mask of `gtmk` and `stmk`, which nothing looks at: what is logged is RUST_LOG's business.
    pub trace_mask: AtomicI64,
    /// What was found on the disk.
    pub opened: Opened,
    /// Requests that were read and not answered (`ZooKeeperServer#getInProcess`).
    pub outstanding: AtomicUsize,
    published: AtomicU64,
}

impl Shared {
    /// Puts it together.
    pub fn new(options: Options, keys: SessionKeys, clock: Clock, opened: Opened) -> Arc<Shared> {
        let cores = (0..options.cores).map(|_| CorePort::default()).collect();
        let (writer, outstanding) = (Inbox::default(), AtomicUsize::new(0));
        let words = Whitelist::new(options.words.as_deref(), options.read_only_mode);
        Arc::new(Shared {
            options,
            clock,
            keys,
            writer,
            cores,
            outstanding,
            doors: Arc::default(),
            words,
            trace_mask: AtomicI64::new(TRACE_MASK),
            published: AtomicU64::new(opened.durable.0),
            opened,
        })
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
