//! Keeps a snapshot's writes below a rate, so that they do not disturb the log on the same device.

use std::time::{Duration, Instant};

/// Time ahead of the rate that is let pass: sleeping is no finer than this.
const AHEAD: Duration = Duration::from_millis(2);

/// Time that may be made up for by a burst: what compressing a few blocks takes.
const CREDIT: Duration = Duration::from_millis(50);

/// Bytes written against time gone by: never more than the rate allows for the time since the start, plus [`CREDIT`].
pub struct Pace {
    bytes_per_second: Option<u64>,
    /// When the bytes written so far are due.
    due: Instant,
}

impl Pace {
    /// Starts now. Without a rate it never waits.
    pub fn new(bytes_per_second: Option<u64>) -> Pace {
        Pace {
            bytes_per_second,
            due: Instant::now(),
        }
    }

    /// Waits until `bytes` more that were just written fit the rate.
    pub fn wrote(&mut self, bytes: u64) {
        let Some(rate) = self.bytes_per_second else { return };
        let now = Instant::now();
        let earliest = now.checked_sub(CREDIT).unwrap_or(now);
        self.due = self.due.max(earliest) + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        let ahead = self.due.saturating_duration_since(now);
        if ahead > AHEAD {
            std::thread::sleep(ahead);
        }
    }
}
