//! What the server counts. Every core has its own numbers and so has the writer; they are put together only when
//! somebody asks (`mntr`, `srvr`, `stat`), so that counting costs a read neither an atomic nor a shared line.

use hdrhistogram::Histogram;

use super::stats::Done;
use crate::wire::event::EventType;
use crate::wire::four_letter::{Quantiles, Summary};

/// An hour: what takes longer is counted as so long in the percentiles.
const SERIES_MS_MAX: u64 = 3_600_000;

/// Milliseconds with percentiles: exact up to 255 ms, then within one per cent. (The Java server draws a sample of
/// 4096 values instead.)
#[derive(Clone, Debug)]
pub struct Series {
    summary: Summary,
    histogram: Histogram<u64>,
}

impl Default for Series {
    fn default() -> Series {
        Series {
            summary: Summary::default(),
            histogram: Histogram::new_with_max(SERIES_MS_MAX, 2).expect("the bounds are sound"),
        }
    }
}

impl Series {
    /// One value more.
    pub fn add(&mut self, ms: u64) {
        self.summary.add(ms);
        self.histogram.saturating_record(ms);
    }

    fn merge(&mut self, other: &Series) {
        self.summary.merge(&other.summary);
        self.histogram.add(&other.histogram).expect("all have the same bounds");
    }

    /// For people.
    pub fn quantiles(&self) -> Quantiles {
        let at = |quantile| self.histogram.value_at_quantile(quantile).min(self.summary.max());
        Quantiles {
            summary: self.summary,
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
        }
    }
}

/// Bytes of replies and events (`BufferStats`).
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    last_ms: u64,
    last: usize,
    least: usize,
    most: usize,
}

/// What a core counts.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct CoreNumbers {
    pub received: u64,
    pub sent: u64,
    pub bytes_received: u64,
    pub response_bytes: u64,
    pub watch_bytes: u64,
    /// ConnectRequests.
    pub connection_requests: u64,
    /// ConnectRequests that name a session.
    pub revalidations: u64,
    /// Connections that ended because the client's side did.
    pub drops: u64,
    /// ConnectRequests that came while nobody was served.
    pub unserved: u64,
    pub sessionless_expired: u64,
    pub latency: Summary,
    pub reads: Series,
    pub updates: Series,
    /// Connections told by one change: created, deleted, data changed, children changed.
    pub told: [Summary; 4],
    sizes: Option<Sizes>,
}

impl CoreNumbers {
    /// A packet of so many bytes came.
    pub fn note_received(&mut self, bytes: usize) {
        self.received += 1;
        self.bytes_received += bytes as u64;
    }

    /// A reply or an event of so many bytes was queued.
    pub fn note_sent(&mut self, bytes: usize, now_ms: u64) {
        self.sent += 1;
        let sizes = self.sizes.get_or_insert(Sizes {
            last_ms: now_ms,
            last: bytes,
            least: bytes,
            most: bytes,
        });
        let (least, most) = (sizes.least.min(bytes), sizes.most.max(bytes));
        *sizes = Sizes {
            last_ms: now_ms,
            last: bytes,
            least,
            most,
        };
    }

    /// A request was answered.
    pub fn note_done(&mut self, done: &Done, is_update: bool) {
        let ms = done.latency_ms();
        self.latency.add(ms);
        if is_update {
            self.updates.add(ms)
        } else {
            self.reads.add(ms)
        }
    }

    /// A change was told to so many connections.
    pub fn note_told(&mut self, event: EventType, connections: usize) {
        if connections > 0 {
            self.told[event as usize - 1].add(connections as u64);
        }
    }

    /// Puts another core's numbers to these.
    pub fn merge(&mut self, other: &CoreNumbers) {
        let CoreNumbers {
            latency,
            reads,
            updates,
            told,
            sizes,
            ..
        } = other;
        let counts = |of: &CoreNumbers| {
            [
                of.received,
                of.sent,
                of.bytes_received,
                of.response_bytes,
                of.watch_bytes,
                of.connection_requests,
            ]
        };
        let [received, sent, bytes_received, response_bytes, watch_bytes, requests] = counts(other);
        self.received += received;
        self.sent += sent;
        self.bytes_received += bytes_received;
        self.response_bytes += response_bytes;
        self.watch_bytes += watch_bytes;
        self.connection_requests += requests;
        self.revalidations += other.revalidations;
        self.drops += other.drops;
        self.unserved += other.unserved;
        self.sessionless_expired += other.sessionless_expired;
        self.latency.merge(latency);
        self.reads.merge(reads);
        self.updates.merge(updates);
        self.told
            .iter_mut()
            .zip(told)
            .for_each(|(mine, theirs)| mine.merge(theirs));
        self.sizes = match (self.sizes, *sizes) {
            (Some(a), Some(b)) => {
                let newest = if a.last_ms >= b.last_ms { a } else { b };
                Some(Sizes {
                    least: a.least.min(b.least),
                    most: a.most.max(b.most),
                    ..newest
                })
            }
            (a, b) => a.or(b),
        };
    }

    /// Bytes of the last, smallest and largest reply; −1 before the first.
    pub fn response_sizes(&self) -> [i64; 3] {
        self.sizes.map_or([-1; 3], |sizes| {
            [sizes.last, sizes.least, sizes.most].map(|bytes| bytes as i64)
        })
    }
}

/// What starting took.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct StartNumbers {
    pub init_ms: u64,
    /// `None` if there was no snapshot.
    pub snapshot_ms: Option<u64>,
    pub replay_ms: u64,
    pub replayed: u64,
}

/// What the writer counts.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct WriterNumbers {
    /// Requests that came to the writing desk.
    pub asked: u64,
    /// Transactions that went to the log.
    pub logged: u64,
    pub sessions_expired: u64,
    /// Writes and new sessions that were refused for want of room on the disk.
    pub refused: u64,
    /// Batches that took longer than `fsync.warningthresholdms`.
    pub slow_syncs: u64,
    /// Transactions in a batch.
    pub batches: Summary,
    /// Making a batch durable, ms.
    pub syncs: Series,
    /// Checking and applying one request, ms.
    pub prepares: Summary,
    pub snapshots: Summary,
    pub init: Summary,
    pub snapshot_loads: Summary,
    pub replays: Summary,
    pub replayed: Summary,
}

impl WriterNumbers {
    /// Those of a server that has just started.
    pub fn new(start: &StartNumbers) -> WriterNumbers {
        let mut numbers = WriterNumbers::default();
        numbers.init.add(start.init_ms);
        start
            .snapshot_ms
            .into_iter()
            .for_each(|ms| numbers.snapshot_loads.add(ms));
        numbers.replays.add(start.replay_ms);
        numbers.replayed.add(start.replayed);
        numbers
    }

    /// A batch of the log took so long; too long is worth a line.
    pub fn note_sync(&mut self, took_ms: u64, warning_ms: u64) {
        self.syncs.add(took_ms);
        if took_ms > warning_ms {
            self.slow_syncs += 1;
            tracing::warn!(
                took_ms,
                "making a log batch durable took longer than fsync.warningthresholdms"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_merged_series() {
        let (mut low, mut high) = (Series::default(), Series::default());
        (0..99).for_each(|_| low.add(2));
        high.add(250);
        low.merge(&high);
        let quantiles = low.quantiles();
        assert_eq!(
            (quantiles.p50, quantiles.p95, quantiles.p99, quantiles.p999),
            (2, 2, 2, 250)
        );
        assert_eq!(quantiles.summary.count, 100);
        assert_eq!(Series::default().quantiles(), Quantiles::default());
        high.add(u64::from(u32::MAX));
        assert!(
            high.quantiles().p999 >= SERIES_MS_MAX,
            "longer than the histogram reaches"
        );
    }

    #[test]
    fn cores_add_up() {
        let (mut one, mut two) = (CoreNumbers::default(), CoreNumbers::default());
        assert_eq!(one.response_sizes(), [-1; 3]);
        one.note_sent(20, 5);
        one.note_sent(100, 6);
        two.note_sent(16, 9);
        two.note_received(12);
        two.note_told(EventType::ChildrenChanged, 3);
        two.note_told(EventType::Created, 0);
        one.merge(&two);
        assert_eq!(one.response_sizes(), [16, 16, 100]);
        assert_eq!((one.sent, one.received, one.bytes_received), (3, 1, 12));
        assert_eq!((one.told[3].sum, one.told[0].count), (3, 0));
        let done = Done {
            op: "GETD",
            xid: 1,
            zxid: 1,
            read_ms: 3,
            answered_ms: 8,
        };
        one.note_done(&done, false);
        assert_eq!(
            (
                one.reads.quantiles().p50,
                one.updates.quantiles().p50,
                one.latency.max()
            ),
            (5, 0, 5)
        );
    }
}
