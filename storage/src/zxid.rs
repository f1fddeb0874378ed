//! The transaction id: epoch in the high 32 bits, counter in the low 32.

use std::fmt;

/// A transaction id. Ordered; `Zxid::ZERO` is the empty tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zxid(pub u64);

impl Zxid {
    /// Before the first transaction.
    pub const ZERO: Zxid = Zxid(0);

    /// Builds from epoch and counter.
    pub const fn new(epoch: u32, counter: u32) -> Zxid {
        Zxid((epoch as u64) << 32 | counter as u64)
    }

    /// The leader's epoch.
    pub const fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The position inside the epoch.
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The next id. Running out of counters does not reach the epoch in a standalone server's
    /// life (2^32 transactions); it carries over, as `ZooKeeperServer#getNextZxid` does.
    #[must_use]
    pub const fn next(self) -> Zxid {
        Zxid(self.0 + 1)
    }

    /// Whether it is the next one of `last`, which a damaged file may claim to be the last number there is.
    pub fn is_right_behind(self, last: Zxid) -> bool {
        last.0.checked_add(1) == Some(self.0)
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}
