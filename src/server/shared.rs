//! What all threads of the server share: configuration, inboxes, and a few counters.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};

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
    /// Sessions that this server alone knows, in read-only mode.
    pub local_sessions: AtomicI64,
    handed: CachePadded<AtomicU64>,
    serving: AtomicU8,
    welcome: AtomicBool,
}

/// As what this server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// It has no leader.
    Nobody,
    /// Alone.
    Standalone,
    /// As the leader of an ensemble.
    Leader,
    /// With a vote.
    Follower,
    /// Without one.
    Observer,
    /// Without a leader, for those who only want to read (`readonlymode.enabled`).
    ReadOnly,
}

impl Mode {
    const ALL: [Mode; 6] = [
        Mode::Nobody,
        Mode::Standalone,
        Mode::Leader,
        Mode::Follower,
        Mode::Observer,
        Mode::ReadOnly,
    ];

    /// As the four-letter words say it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Nobody => "looking",
            Mode::Standalone => "standalone",
            Mode::Leader => "leader",
            Mode::Follower => "follower",
            Mode::Observer => "observer",
            Mode::ReadOnly => "read-only",
        }
    }
}

impl Shared {
    /// Puts it together.
    pub fn new(options: Options, keys: SessionKeys, clock: Clock, opened: Opened) -> Arc<Shared> {
        let cores = (0..options.cores).map(|_| CachePadded::default()).collect();
        let writer = Inbox::default();
        let alone = match options.ensemble {
            None => Mode::Standalone,
            Some(_) => Mode::Nobody,
        };
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
            local_sessions: AtomicI64::new(0),
            handed: CachePadded::default(),
            serving: AtomicU8::new(alone as u8),
            welcome: AtomicBool::new(alone == Mode::Standalone),
            opened,
        })
    }

    /// Requests that were read and not answered (`ZooKeeperServer#getInProcess`): those that wait. What is answered in
    /// the turn that read it is in process for less than anybody could tell.
    pub fn outstanding(&self) -> usize {
        let of = |port: &CachePadded<CorePort>| port.outstanding.load(Ordering::Relaxed);
        self.cores.iter().map(of).sum()
    }

    /// The newest batch that a client may see. It lies in every inbox before this moves: a core that empties its inbox
    /// up to here is never behind an answer that another core gave. Counted, since the zxid of a member of an ensemble
    /// may go back when a leader's state takes the place of its own.
    pub fn handed(&self) -> u64 {
        self.handed.load(Ordering::Acquire)
    }

    /// Moves it by one batch; the writer's right alone.
    pub fn hand(&self, number: u64) {
        let before = self.handed.swap(number, Ordering::AcqRel);
        assert_eq!(before + 1, number, "batches are handed out one by one");
    }

    /// As what this server serves now.
    pub fn mode(&self) -> Mode {
        Mode::ALL[self.serving.load(Ordering::Acquire) as usize]
    }

    /// Whether clients are taken (`leaderServes`).
    pub fn is_welcome(&self) -> bool {
        self.welcome.load(Ordering::Acquire)
    }

    /// From now on; the writer's right alone.
    pub fn set_mode(&self, mode: Mode, welcome: bool) {
        self.serving.store(mode as u8, Ordering::Release);
        self.welcome.store(welcome, Ordering::Release);
    }
}
