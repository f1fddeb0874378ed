//! What one connection has done (`ServerCnxn`'s statistics), for `stat` and `cons`.
//!
//! Plain cells: only the core that owns the connection touches them.

use std::cell::Cell;

use crate::wire::four_letter::{Served, Summary};

/// One connection's statistics.
pub struct ConnStats {
    established_ms: i64,
    received: Cell<u64>,
    sent: Cell<u64>,
    last_op: Cell<&'static str>,
    last_cxid: Cell<i64>,
    last_zxid: Cell<i64>,
    last_response_ms: Cell<u64>,
    last_latency_ms: Cell<u64>,
    latency: Cell<Summary>,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Its word in `cons`.
    pub op: &'static str,
    /// Its number; negative ones are not a client's own requests.
    pub xid: i32,
    /// The zxid of its reply.
    pub zxid: i64,
    /// When it was read, monotonic ms.
    pub read_ms: u64,
    /// When its reply was queued, monotonic ms.
    pub answered_ms: u64,
}

impl Done {
    /// From the bytes being there to the reply being queued (`ServerStats#updateLatency`).
    pub fn latency_ms(&self) -> u64 {
        self.answered_ms.saturating_sub(self.read_ms)
    }
}

impl ConnStats {
    /// Nothing yet; `wall_ms` is now.
    pub fn new(wall_ms: i64) -> ConnStats {
        ConnStats {
            established_ms: wall_ms,
            received: Cell::new(0),
            sent: Cell::new(0),
            last_op: Cell::new("NA"),
            last_cxid: Cell::new(-1),
            last_zxid: Cell::new(-1),
            last_response_ms: Cell::new(0),
            last_latency_ms: Cell::new(0),
            latency: Cell::default(),
        }
    }

    /// A packet came.
    pub fn note_received(&self) {
        self.received.set(self.received.get() + 1);
    }

    /// Packets were queued.
    pub fn note_sent(&self, packets: u64) {
        self.sent.set(self.sent.get() + packets);
    }

    /// A request was answered (`ServerCnxn#updateStatsForResponse`).
    pub fn note_done(&self, done: &Done) {
        if done.xid >= 0 {
            self.last_cxid.set(done.xid.into());
        }
        self.last_op.set(done.op);
        self.last_zxid.set(done.zxid);
        self.last_response_ms.set(done.answered_ms);
        self.last_latency_ms.set(done.latency_ms());
        let mut latency = self.latency.get();
        latency.add(done.latency_ms());
        self.latency.set(latency);
    }

    /// Forgets everything but when the connection was made (`ServerCnxn#resetStats`).
    pub fn reset(&self) {
        let ConnStats {
            established_ms: _,
            received,
            sent,
            last_op,
            last_cxid,
            last_zxid,
            last_response_ms,
            last_latency_ms,
            latency,
        } = self;
        for cell in [received, sent, last_response_ms, last_latency_ms] {
            cell.set(0);
        }
        last_op.set("NA");
        for cell in [last_cxid, last_zxid] {
            cell.set(-1);
        }
        latency.take();
    }

    /// Packets received and sent.
    pub fn packets(&self) -> (u64, u64) {
        (self.received.get(), self.sent.get())
    }

    /// For `cons`.
    pub fn served(&self, session: i64, timeout_ms: i32) -> Served {
        Served {
            session,
            last_op: self.last_op.get(),
            established_ms: self.established_ms,
            timeout_ms,
            last_cxid: self.last_cxid.get(),
            last_zxid: self.last_zxid.get(),
            last_response_ms: self.last_response_ms.get(),
            last_latency_ms: self.last_latency_ms.get(),
            latency: self.latency.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_is_not_the_last_request() {
        let stats = ConnStats::new(5);
        let done = |op, xid, zxid, read_ms, answered_ms| Done {
            op,
            xid,
            zxid,
            read_ms,
            answered_ms,
        };
        stats.note_received();
        stats.note_done(&done("GETD", 7, 3, 10, 14));
        stats.note_done(&done("PING", -2, 4, 20, 20));
        stats.note_sent(2);
        let served = stats.served(1, 4000);
        assert_eq!((served.last_op, served.last_cxid, served.last_zxid), ("PING", 7, 4));
        assert_eq!(
            (served.last_latency_ms, served.latency.max(), served.last_response_ms),
            (0, 4, 20)
        );
        assert_eq!(stats.packets(), (1, 2));
        stats.reset();
        let served = stats.served(1, 4000);
        assert_eq!((served.last_op, served.last_cxid, served.established_ms), ("NA", -1, 5));
        assert_eq!((stats.packets(), served.latency), ((0, 0), Summary::default()));
    }
}
