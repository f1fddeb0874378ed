//! What all threads of the server share: configuration, inboxes, and a few counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::message::{ToCore, ToWriter};
use super::options::Options;
use super::secret::SessionKeys;
use crate::base::Zxid;
use crate::io::{Clock, Inbox};

/// One core's mailbox and what others must know of the core.
#[derive(Default)]
pub struct CorePort {
    /// Its mailbox.
    pub inbox: Inbox<ToCore>,
    /// Whether any of its connections watches anything: only then must it be woken for changes.
    pub watching: AtomicBool,
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
    /// Requests that were read and not answered (`ZooKeeperServer#getInProcess`).
    pub outstanding: AtomicUsize,
    published: AtomicU64,
}

impl Shared {
    /// Puts it together.
    pub fn new(options: Options, keys: SessionKeys, clock: Clock, published: Zxid) -> Arc<Shared> {
        let cores = (0..options.cores).map(|_| CorePort::default()).collect();
        let (writer, outstanding) = (Inbox::default(), AtomicUsize::new(0));
        Arc::new(Shared {
            options,
            clock,
            keys,
            writer,
            cores,
            outstanding,
            published: AtomicU64::new(published.0),
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
