//! The two clocks: monotonic for sessions and timers, wall for what nodes show.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock whose monotonic side starts with the process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock { start: Instant::now() }
    }
}

impl Clock {
    /// Monotonic milliseconds. Never 0, so that 0 can mean "never".
    pub fn ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64 + 1
    }

    /// Monotonic microseconds, for latencies.
    pub fn us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// Milliseconds since 1970.
    pub fn wall_ms(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as i64)
    }

    /// The moment at which [`Clock::ms`] will read `ms`.
    pub fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms.saturating_sub(1))
    }
}
