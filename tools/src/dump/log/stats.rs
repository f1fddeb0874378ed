//! What a log is made of: transactions per second, per type, per session, and their sizes.
//!
//! Times are the log's own, the leader's clock in each transaction's header. Memory is bounded: sessions are summed in
//! a `Tally`; of the seconds only the last 4096 are open (a clock that is set back by more than an hour makes a second
//! count as two); the intervals grow with the span, so that there are never more than forty of them.

use std::collections::BTreeMap;
use std::io;

use hdrhistogram::Histogram;
use ringkeeper::wire::show;
use ringkeeper::wire::txn::{Txn, TxnHeader};
use serde_json::{Value, json};

use super::changes;
use crate::dump::output::{Extent, Object, Table, hex, percent, percentiles, time};
use crate::dump::tally::{Sum, Tally, Top};

/// For `--help`.
pub const KEYS: &str = "\
With --stats one line of JSON for each argument, over the transactions that the filters leave:
  stats       file transactions bytes (header, record and digest, without the log's own frame) zxidFirst zxidLast
              epochs timeFirst timeLast spanMs (times ms since 1970) perSecond[mean peak peakTime]
              bytesPerTransaction[mean p50 p90 p99 p99.9 max] types[name count bytes share (%)]
              changesInMultis[name count] errors[code count]
              sessions topSessions[session count bytes zxidFirst zxidLast timeFirst timeLast]
              intervalMs intervals[time count bytes]
The mean is over the span, of one second at least.";

/// Seconds that are still counted.
const SECONDS_OPEN: usize = 4096;
/// Intervals that are told.
const INTERVALS_MAX: i64 = 40;
/// How long an interval is, in seconds: each a multiple of the one before. Behind the last, ten times that, and so on.
const INTERVALS: [i64; 15] = [
    1, 2, 10, 30, 60, 120, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400, 172_800, 604_800,
];
/// The longest bar of the histogram for people.
const BAR_COLUMNS: u64 = 40;

/// A count of transactions and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    count: u64,
    bytes: u64,
}

impl Load {
    fn add(&mut self, other: Load) {
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

/// A session's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OfSession {
    load: Load,
    /// Zxid and time.
    first: (i64, i64),
    last: (i64, i64),
}

impl Sum for OfSession {
    fn add(&mut self, other: OfSession) {
        self.load.add(other.load);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }

    fn encode(&self) -> Vec<u8> {
        let signed = [self.first.0, self.first.1, self.last.0, self.last.1];
        let unsigned = [self.load.count, self.load.bytes];
        let signed = signed.iter().flat_map(|long| long.to_le_bytes());
        signed
            .chain(unsigned.iter().flat_map(|long| long.to_le_bytes()))
            .collect()
    }

    fn decode(bytes: &[u8]) -> OfSession {
        let long = |index: usize| i64::from_le_bytes(bytes[index * 8..][..8].try_into().expect("eight bytes"));
        OfSession {
            first: (long(0), long(1)),
            last: (long(2), long(3)),
            load: Load {
                count: long(4) as u64,
                bytes: long(5) as u64,
            },
        }
    }
}

/// Everything that is gathered.
pub struct Stats {
    total: Load,
    zxids: Option<(i64, i64)>,
    times: Option<(i64, i64)>,
    epochs: u64,
    epoch_last: Option<i64>,
    sizes: Histogram<u64>,
    size_max: u64,
    types: BTreeMap<&'static str, Load>,
    in_multis: BTreeMap<&'static str, u64>,
    errors: BTreeMap<i32, u64>,
    sessions: Tally<OfSession>,
    seconds: Seconds,
    intervals: Intervals,
    top: usize,
}

impl Stats {
    /// Counts nothing yet; tells the `top` busiest sessions, and sums them in so much memory.
    pub fn new(top: usize, memory: usize) -> Stats {
        Stats {
            total: Load::default(),
            zxids: None,
            times: None,
            epochs: 0,
            epoch_last: None,
            sizes: Histogram::new(3).expect("three digits"),
            size_max: 0,
            types: BTreeMap::new(),
            in_multis: BTreeMap::new(),
            errors: BTreeMap::new(),
            sessions: Tally::new(memory),
            seconds: Seconds::default(),
            intervals: Intervals::default(),
            top,
        }
    }

    /// Counts a transaction of so many bytes.
    ///
    /// # Errors
    /// What writing a temporary file met.
    pub fn add(&mut self, header: &TxnHeader, txn: &Txn, bytes: u64) -> io::Result<()> {
        let load = Load { count: 1, bytes };
        self.total.add(load);
        let (zxid, now) = (header.zxid, header.time_ms);
        self.zxids = Some(self.zxids.map_or((zxid, zxid), |(first, _)| (first, zxid)));
        let times = self
            .times
            .map_or((now, now), |(first, last)| (first.min(now), last.max(now)));
        self.times = Some(times);
        let epoch = Some(zxid >> 32);
        self.epochs += u64::from(self.epoch_last != epoch);
        self.epoch_last = epoch;
        self.sizes.record(bytes).expect("it grows with what comes");
        self.size_max = self.size_max.max(bytes);
        self.types.entry(show::type_name(txn.code())).or_default().add(load);
        match txn {
            Txn::Multi(_) => {
                for change in changes(txn) {
                    *self.in_multis.entry(show::type_name(change.code())).or_default() += 1;
                }
            }
            Txn::Error(code) => *self.errors.entry(*code).or_default() += 1,
            _ => {}
        }
        self.seconds.add(now.div_euclid(1000));
        self.intervals.add(now.div_euclid(1000), load);
        let of_session = OfSession {
            load,
            first: (zxid, now),
            last: (zxid, now),
        };
        self.sessions.add(&header.session.to_be_bytes(), of_session)
    }

    /// Everything was counted.
    ///
    /// # Errors
    /// What a temporary file met.
    pub fn finish(mut self) -> io::Result<Told> {
        let sessions = std::mem::replace(&mut self.sessions, Tally::new(0));
        let (mut count, mut top) = (0, Top::new(self.top));
        sessions.finish(&mut |session, sum| {
            count += 1;
            let session = i64::from_be_bytes(session.try_into().expect("eight bytes"));
            top.offer(sum.load.count, || (session, sum.load.bytes, sum.first, sum.last));
            Ok(())
        })?;
        self.seconds.close_all();
        Ok(Told {
            stats: self,
            session_count: count,
            sessions: top,
        })
    }
}

/// A session, its bytes, and zxid and time of its first and last transaction.
type Row = (i64, u64, (i64, i64), (i64, i64));

/// What will be told.
pub struct Told {
    stats: Stats,
    session_count: u64,
    sessions: Top<Row>,
}

impl Told {
    fn span_ms(&self) -> u64 {
        self.stats.times.map_or(0, |(first, last)| last.abs_diff(first))
    }

    fn mean(&self) -> f64 {
        self.stats.total.count as f64 * 1000.0 / self.span_ms().max(1000) as f64
    }

    fn extent(&self) -> Extent {
        Extent {
            sum: self.stats.total.bytes,
            max: self.stats.size_max,
        }
    }

    /// For people.
    pub fn text(&self, file: &str) -> String {
        let stats = &self.stats;
        let mut text = format!(
            "stats {file}\ntransactions {}, {} bytes",
            stats.total.count, stats.total.bytes
        );
        let (Some(zxids), Some(times)) = (stats.zxids, stats.times) else {
            return text;
        };
        text.push_str(&format!(
            "\nzxids {} to {}, {} epoch{}\ntime {} to {}, {} s\nper second mean {:.1}, peak {} at {}\nbytes of a \
             transaction {}",
            hex(zxids.0),
            hex(zxids.1),
            stats.epochs,
            if stats.epochs == 1 { "" } else { "s" },
            time(times.0),
            time(times.1),
            self.span_ms() as f64 / 1000.0,
            self.mean(),
            stats.seconds.peak.0,
            time(stats.seconds.peak.1.saturating_mul(1000)),
            percentiles(&stats.sizes, &self.extent()).0
        ));
        for table in self.tables() {
            text.push_str(&format!("\n\n{table}"));
        }
        text
    }

    fn tables(&self) -> Vec<Table> {
        let stats = &self.stats;
        let types = self.types().map(|(name, load)| {
            let shares = [
                percent(load.count, stats.total.count),
                percent(load.bytes, stats.total.bytes),
            ];
            let [of_count, of_bytes] = shares;
            vec![
                load.count.to_string(),
                of_count,
                load.bytes.to_string(),
                of_bytes,
                name.to_owned(),
            ]
        });
        let mut tables = vec![Table::new(
            "by type".into(),
            &["count", "share", "bytes", "share", "type"],
            types,
        )];
        if !stats.in_multis.is_empty() {
            let rows = stats
                .in_multis
                .iter()
                .map(|(name, count)| vec![count.to_string(), (*name).to_owned()]);
            tables.push(Table::new("changes in multis".into(), &["count", "type"], rows));
        }
        if !stats.errors.is_empty() {
            let rows = stats
                .errors
                .iter()
                .map(|(code, count)| vec![count.to_string(), code.to_string()]);
            tables.push(Table::new("errors".into(), &["count", "code"], rows));
        }
        let heads = ["count", "bytes", "first", "last", "session"];
        let sessions = self.sessions.rows().map(|(count, (session, bytes, first, last))| {
            vec![
                count.to_string(),
                bytes.to_string(),
                time(first.1),
                time(last.1),
                hex(*session),
            ]
        });
        tables.push(Table::new(
            format!("by session, of {}", self.session_count),
            &heads,
            sessions,
        ));
        let most = stats
            .intervals
            .rows()
            .map(|(_, load)| load.count)
            .max()
            .unwrap_or_default();
        let intervals = stats.intervals.rows().map(|(second, load)| {
            let bar = "#".repeat((load.count * BAR_COLUMNS).div_ceil(most.max(1)) as usize);
            let rate = load.count as f64 / stats.intervals.length() as f64;
            vec![
                time(second.saturating_mul(1000)),
                load.count.to_string(),
                format!("{rate:.1}"),
                load.bytes.to_string(),
                bar,
            ]
        });
        let title = format!("by interval of {} s", stats.intervals.length());
        tables.push(Table::new(
            title,
            &["from", "count", "per second", "bytes", ""],
            intervals,
        ));
        tables
    }

    /// By count, most first.
    fn types(&self) -> impl Iterator<Item = (&'static str, Load)> {
        let mut types: Vec<_> = self.stats.types.iter().map(|(name, load)| (*name, *load)).collect();
        types.sort_by_key(|(name, load)| (std::cmp::Reverse(load.count), *name));
        types.into_iter()
    }

    /// For programs.
    pub fn object(&self, file: &str) -> Object {
        let stats = &self.stats;
        let share = |load: Load| (load.count as f64 * 1000.0 / stats.total.count as f64).round() / 10.0;
        let types: Value = self
            .types()
            .map(|(name, load)| json!({"name": name, "count": load.count, "bytes": load.bytes, "share": share(load)}))
            .collect();
        let in_multis: Value = stats
            .in_multis
            .iter()
            .map(|(name, count)| json!({"name": name, "count": count}))
            .collect();
        let errors: Value = stats
            .errors
            .iter()
            .map(|(code, count)| json!({"code": code, "count": count}))
            .collect();
        let sessions: Value = self
            .sessions
            .rows()
            .map(|(count, (session, bytes, first, last))| {
                json!({
                    "session": hex(*session), "count": count, "bytes": bytes,
                    "zxidFirst": hex(first.0), "zxidLast": hex(last.0), "timeFirst": first.1, "timeLast": last.1,
                })
            })
            .collect();
        let intervals: Value = stats
            .intervals
            .rows()
            .map(
                |(second, load)| json!({"time": second.saturating_mul(1000), "count": load.count, "bytes": load.bytes}),
            )
            .collect();
        let (peak, peak_second) = stats.seconds.peak;
        let rate = json!({
            "mean": (self.mean() * 10.0).round() / 10.0,
            "peak": peak,
            "peakTime": stats.times.map(|_| peak_second.saturating_mul(1000)),
        });
        Object::of_type("stats")
            .with("file", file)
            .with("transactions", stats.total.count)
            .with("bytes", stats.total.bytes)
            .with("zxidFirst", stats.zxids.map(|(first, _)| hex(first)))
            .with("zxidLast", stats.zxids.map(|(_, last)| hex(last)))
            .with("epochs", stats.epochs)
            .with("timeFirst", stats.times.map(|(first, _)| first))
            .with("timeLast", stats.times.map(|(_, last)| last))
            .with("spanMs", self.span_ms())
            .with("perSecond", rate)
            .with("bytesPerTransaction", percentiles(&stats.sizes, &self.extent()).1)
            .with("types", types)
            .with("changesInMultis", in_multis)
            .with("errors", errors)
            .with("sessions", self.session_count)
            .with("topSessions", sessions)
            .with("intervalMs", stats.intervals.length().saturating_mul(1000))
            .with("intervals", intervals)
    }
}

/// The busiest second.
#[derive(Default)]
struct Seconds {
    open: BTreeMap<i64, u64>,
    /// A count, and its second.
    peak: (u64, i64),
}

impl Seconds {
    fn add(&mut self, second: i64) {
        *self.open.entry(second).or_default() += 1;
        if self.open.len() > SECONDS_OPEN {
            self.close_first();
        }
    }

    fn close_first(&mut self) {
        if let Some((second, count)) = self.open.pop_first()
            && count > self.peak.0
        {
            self.peak = (count, second);
        }
    }

    fn close_all(&mut self) {
        while !self.open.is_empty() {
            self.close_first();
        }
    }
}

/// Loads by interval; the intervals grow with what lies between the first and the last.
#[derive(Default)]
struct Intervals {
    /// Which of the lengths.
    step: u32,
    loads: BTreeMap<i64, Load>,
}

impl Intervals {
    /// Seconds of an interval.
    fn length(&self) -> i64 {
        let last = INTERVALS.len() - 1;
        match INTERVALS.get(self.step as usize) {
            Some(length) => *length,
            // Forty of 10^12 weeks are more than all milliseconds of 64 bits.
            None => INTERVALS[last].saturating_mul(10i64.saturating_pow(self.step - last as u32)),
        }
    }

    fn add(&mut self, second: i64, load: Load) {
        self.put(second, load);
        while self.count() > INTERVALS_MAX {
            self.step += 1;
            for (second, load) in std::mem::take(&mut self.loads) {
                self.put(second, load);
            }
        }
    }

    fn put(&mut self, second: i64, load: Load) {
        let length = self.length();
        let begin = second.div_euclid(length) * length;
        self.loads.entry(begin).or_default().add(load);
    }

    /// From the first to the last, those without a transaction included.
    fn count(&self) -> i64 {
        match (self.loads.first_key_value(), self.loads.last_key_value()) {
            (Some((first, _)), Some((last, _))) => (last - first) / self.length() + 1,
            _ => 0,
        }
    }

    fn rows(&self) -> impl Iterator<Item = (i64, Load)> {
        let first = self.loads.first_key_value().map_or(0, |(first, _)| *first);
        let begins = (0..self.count()).map(move |index| first + index * self.length());
        begins.map(|begin| (begin, self.loads.get(&begin).copied().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_grow_with_the_span_and_lose_nothing() {
        let one = Load { count: 1, bytes: 3 };
        for (span, length) in [
            (0, 1),
            (39, 1),
            (40, 2),
            (79, 2),
            (80, 10),
            (3 * 86_400, 7200),
            (i64::MAX / 2000, 604_800_000_000_000),
        ] {
            let mut intervals = Intervals::default();
            for second in [0, span / 3, span / 2, span] {
                intervals.add(second, one);
            }
            assert_eq!(intervals.length(), length, "{span}");
            let rows: Vec<_> = intervals.rows().collect();
            assert!(rows.len() as i64 <= INTERVALS_MAX);
            let count: u64 = rows.iter().map(|(_, load)| load.count).sum();
            assert_eq!(count, 4, "{span}");
            assert!(rows[0].1.count > 0 && rows.last().unwrap().1.count > 0);
        }
        let mut far = Intervals::default();
        for second in [i64::MIN / 1000, 0, i64::MAX / 1000] {
            far.add(second, one);
        }
        assert_eq!(far.rows().map(|(_, load)| load.count).sum::<u64>(), 3);
    }

    #[test]
    fn the_busiest_second_is_found_though_clocks_go_back() {
        let mut seconds = Seconds::default();
        for second in (0..10_000).chain([9_000, 9_000, 9_999]) {
            seconds.add(second);
        }
        seconds.close_all();
        assert_eq!(seconds.peak, (3, 9_000));
    }

    #[test]
    fn a_sessions_sum_survives_its_bytes() {
        let sum = OfSession {
            load: Load {
                count: 7,
                bytes: 1 << 40,
            },
            first: (-5, i64::MIN),
            last: (9, i64::MAX),
        };
        assert_eq!(OfSession::decode(&sum.encode()), sum);
    }
}
