//! What a load saw: latencies by operation, errors by code, answers per interval, bytes on the wire.
//!
//! Only answers without an error count as operations and have a latency: a server that refuses fast must not look
//! fast. Every thread keeps a [`Seen`] of its own and passes a summary to the [`super::stage::Stage`] ten times a
//! second.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::mix::Kind;

/// Latencies are kept in microseconds with three digits, up to a minute.
const LATENCY_US_MAX: u64 = 60_000_000;

/// The length of one interval of the time series.
pub const INTERVAL_MS: u64 = 100;

/// Requests whose connection ended before their answer came: ZooKeeper's clients call it so.
pub const CONNECTION_LOSS: i32 = -4;

/// The frames of one kind of operation, length fields included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// Answers.
    pub count: u64,
    /// Bytes of their requests.
    pub request_bytes: u64,
    /// Bytes of the answers.
    pub reply_bytes: u64,
}

/// One thread's, or all threads', observations.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    latencies: BTreeMap<Kind, Histogram<u64>>,
    /// Answers with an error code, by operation and code.
    pub errors: BTreeMap<(Kind, i32), u64>,
    /// Answers in each interval of [`INTERVAL_MS`] since the measured time began.
    pub intervals: Vec<u64>,
    /// Frames of the measured answers, by operation.
    pub frames: BTreeMap<Kind, Frames>,
    /// Every request sent to the servers by this load, warm-up and sessions included; pings and layout are not.
    pub sent_in_all: BTreeMap<Kind, u64>,
    /// Connections that ended before the load did.
    pub lost_connections: u64,
    /// Connections made again after that.
    pub reconnected: u64,
    /// Attempts to connect that failed.
    pub failed_connects: u64,
    /// Requests of an open loop that were due and not even sent when the time was up.
    pub behind: u64,
    /// Znodes made that stay when the load has ended.
    pub left_behind: u64,
    /// CPU time of each generator thread in the measured time, in microseconds.
    pub thread_cpu_us: Vec<u64>,
    /// Whole rounds of loads that work in rounds (a change until its last event), and what a round is.
    pub rounds: Option<(&'static str, Histogram<u64>)>,
    /// Figures that only one load has, unit included.
    pub extra: Vec<(&'static str, f64)>,
}

/// An answer in the measured time.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// The operation.
    pub kind: Kind,
    /// From the moment it was due.
    pub latency_us: u64,
    /// Its error code.
    pub err: i32,
    /// Since the measured time began.
    pub at_ms: u64,
    /// The request's frame.
    pub request_bytes: usize,
    /// The answer's frame.
    pub reply_bytes: usize,
}

impl Seen {
    /// Notes an answer.
    pub fn answer(&mut self, answer: Measured) {
        if answer.err != 0 {
            *self.errors.entry((answer.kind, answer.err)).or_default() += 1;
            return;
        }
        self.latencies
            .entry(answer.kind)
            .or_insert_with(new_histogram)
            .record(in_bounds(answer.latency_us))
            .expect("it is inside the bounds");
        let frames = self.frames.entry(answer.kind).or_default();
        frames.count += 1;
        frames.request_bytes += answer.request_bytes as u64;
        frames.reply_bytes += answer.reply_bytes as u64;
        let index = (answer.at_ms / INTERVAL_MS) as usize;
        if self.intervals.len() <= index {
            self.intervals.resize(index + 1, 0);
        }
        self.intervals[index] += 1;
    }

    /// Notes a request that was sent, measured or not.
    pub fn sent(&mut self, kind: Kind) {
        *self.sent_in_all.entry(kind).or_default() += 1;
    }

    /// Notes a whole round.
    pub fn round(&mut self, name: &'static str, us: u64) {
        let (_, histogram) = self.rounds.get_or_insert_with(|| (name, new_histogram()));
        histogram.record(in_bounds(us)).expect("it is inside the bounds");
    }

    /// Takes in what another thread saw.
    pub fn merge(&mut self, other: Seen) {
        for (kind, histogram) in other.latencies {
            let mine = self.latencies.entry(kind).or_insert_with(new_histogram);
            mine.add(histogram).expect("bounds are equal");
        }
        for (key, count) in other.errors {
            *self.errors.entry(key).or_default() += count;
        }
        for (kind, frames) in other.frames {
            let mine = self.frames.entry(kind).or_default();
            mine.count += frames.count;
            mine.request_bytes += frames.request_bytes;
            mine.reply_bytes += frames.reply_bytes;
        }
        for (kind, count) in other.sent_in_all {
            *self.sent_in_all.entry(kind).or_default() += count;
        }
        if self.intervals.len() < other.intervals.len() {
            self.intervals.resize(other.intervals.len(), 0);
        }
        let pairs = self.intervals.iter_mut().zip(other.intervals);
        pairs.for_each(|(mine, theirs)| *mine += theirs);
        self.lost_connections += other.lost_connections;
        self.reconnected += other.reconnected;
        self.failed_connects += other.failed_connects;
        self.behind += other.behind;
        self.left_behind += other.left_behind;
        self.thread_cpu_us.extend(other.thread_cpu_us);
        if let Some((name, histogram)) = other.rounds {
            let (_, mine) = self.rounds.get_or_insert_with(|| (name, new_histogram()));
            mine.add(histogram).expect("bounds are equal");
        }
        self.extra.extend(other.extra);
    }

    /// Latencies by operation.
    pub fn by_kind(&self) -> impl Iterator<Item = (Kind, &Histogram<u64>)> {
        self.latencies.iter().map(|(kind, histogram)| (*kind, histogram))
    }

    /// The latencies of one operation.
    pub fn of(&self, kind: Kind) -> Option<&Histogram<u64>> {
        self.latencies.get(&kind)
    }

    /// All latencies together.
    pub fn all(&self) -> Histogram<u64> {
        let mut all = new_histogram();
        for histogram in self.latencies.values() {
            all.add(histogram).expect("bounds are equal");
        }
        all
    }

    /// Answers in all.
    pub fn count(&self) -> u64 {
        self.latencies.values().map(Histogram::len).sum()
    }

    /// Answers with an error in all.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

fn in_bounds(us: u64) -> u64 {
    us.clamp(1, LATENCY_US_MAX)
}

/// An empty one with the bounds that all share.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are fixed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: Kind, latency_us: u64, err: i32, at_ms: u64) -> Measured {
        Measured {
            kind,
            latency_us,
            err,
            at_ms,
            request_bytes: 10,
            reply_bytes: 20,
        }
    }

    #[test]
    fn threads_merge_and_errors_are_no_operations() {
        let mut one = Seen::default();
        one.answer(answer(Kind::Get, 100, 0, 0));
        one.sent(Kind::Get);
        let mut two = Seen::default();
        two.answer(answer(Kind::Get, 300, -101, 250));
        two.answer(answer(Kind::Set, 0, 0, 250));
        two.sent(Kind::Get);
        two.round("round", 5);
        one.merge(two);
        assert_eq!((one.count(), one.error_count()), (2, 1));
        assert_eq!(one.intervals, [1, 0, 1]);
        assert_eq!(one.errors[&(Kind::Get, -101)], 1);
        assert_eq!(one.sent_in_all[&Kind::Get], 2);
        assert_eq!(one.all().len(), 2);
        assert_eq!(one.frames[&Kind::Set].reply_bytes, 20);
        assert_eq!(one.rounds.expect("one round").1.len(), 1);
    }
}
