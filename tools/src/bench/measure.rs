//! What a load saw: latencies by operation, errors by code, answers per interval.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::mix::Kind;

/// Latencies are kept in microseconds with three digits, up to a minute.
const LATENCY_US_MAX: u64 = 60_000_000;

/// One thread's, or all threads', observations.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    latencies: BTreeMap<Kind, Histogram<u64>>,
    /// Answers with an error code, by operation and code.
    pub errors: BTreeMap<(Kind, i32), u64>,
    /// Answers in each interval of [`INTERVAL_MS`] since the measured time began.
    pub intervals: Vec<u64>,
    /// Connections that ended before the load did.
    pub lost_connections: u64,
}

/// The length of one interval of the time series.
pub const INTERVAL_MS: u64 = 100;

impl Seen {
    /// Notes an answer that came `at_ms` into the measured time.
    pub fn answer(&mut self, kind: Kind, latency_us: u64, err: i32, at_ms: u64) {
        let histogram = self.latencies.entry(kind).or_insert_with(new_histogram);
        histogram
            .record(latency_us.clamp(1, LATENCY_US_MAX))
            .expect("it is inside the bounds");
        if err != 0 {
            *self.errors.entry((kind, err)).or_default() += 1;
        }
        let index = (at_ms / INTERVAL_MS) as usize;
        if self.intervals.len() <= index {
            self.intervals.resize(index + 1, 0);
        }
        self.intervals[index] += 1;
    }

    /// Takes in what another thread saw.
    pub fn merge(&mut self, other: Seen) {
        for (kind, histogram) in other.latencies {
            self.latencies
                .entry(kind)
                .or_insert_with(new_histogram)
                .add(histogram)
                .expect("bounds are equal");
        }
        for (key, count) in other.errors {
            *self.errors.entry(key).or_default() += count;
        }
        if self.intervals.len() < other.intervals.len() {
            self.intervals.resize(other.intervals.len(), 0);
        }
        self.intervals
            .iter_mut()
            .zip(other.intervals)
            .for_each(|(mine, theirs)| *mine += theirs);
        self.lost_connections += other.lost_connections;
    }

    /// Latencies by operation.
    pub fn by_kind(&self) -> impl Iterator<Item = (Kind, &Histogram<u64>)> {
        self.latencies.iter().map(|(kind, histogram)| (*kind, histogram))
    }

    /// All latencies together.
    pub fn all(&self) -> Histogram<u64> {
        let mut all = new_histogram();
        self.latencies
            .values()
            .for_each(|histogram| all.add(histogram).expect("bounds are equal"));
        all
    }

    /// Answers in all.
    pub fn count(&self) -> u64 {
        self.latencies.values().map(|histogram| histogram.len()).sum()
    }
}

fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are fixed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_merge() {
        let mut one = Seen::default();
        one.answer(Kind::Get, 100, 0, 0);
        let mut two = Seen::default();
        two.answer(Kind::Get, 300, -101, 250);
        two.answer(Kind::Set, 0, 0, 250);
        one.merge(two);
        assert_eq!(one.count(), 3);
        assert_eq!(one.intervals, [1, 0, 2]);
        assert_eq!(one.errors[&(Kind::Get, -101)], 1);
        assert_eq!(one.all().len(), 3);
    }
}
