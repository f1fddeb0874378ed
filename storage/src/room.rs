//! How much room the disks have, and what may still go to the log because of it.
//!
//! Three levels, judged once a second and after every segment that was taken or made, never for a request:
//!
//! | level | when | what may go to the log |
//! |---|---|---|
//! | [`Level::Enough`] | the reserve is whole and both file systems are above the low-water mark | everything |
//! | [`Level::Low`] | a file system is below the mark, or the reserve could not be made whole | what ends things |
//! | [`Level::Last`] | nothing is left behind the segment that is being written | what cannot be refused |
//!
//! What the words of the last column mean is for who owns the log to decide; here they are only levels. A store leaves
//! `Low` when the reserve is whole again and a quarter more than the mark is free, so that it does not go to and fro.
//! The reserve itself is `ahead`'s.

use std::fmt;

/// Segments that are kept in reserve.
pub const RESERVE_SEGMENTS: usize = 2;

/// How much room there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// For everything.
    #[default]
    Enough,
    /// For what ends things.
    Low,
    /// For what cannot be refused.
    Last,
}

/// What was found at the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// The verdict.
    pub level: Level,
    /// Bytes free where the log lies, if that is known.
    pub log_free: Option<u64>,
    /// Bytes free where snapshots and manifest lie, if that is known.
    pub data_free: Option<u64>,
    /// The mark, in bytes; 0 is none.
    pub low_water: u64,
    /// Segments in reserve.
    pub reserve: usize,
    /// Why the reserve is not whole.
    pub trouble: Option<String>,
}

impl Room {
    /// The least that is free anywhere.
    fn free(&self) -> Option<u64> {
        match (self.log_free, self.data_free) {
            (Some(log), Some(data)) => Some(log.min(data)),
            (log, data) => log.or(data),
        }
    }

    /// The verdict by free bytes alone: what is known before the reserve was looked at.
    pub(crate) fn judge_free(&self) -> Level {
        let mark = match self.level {
            Level::Enough => self.low_water,
            Level::Low | Level::Last => self.low_water + self.low_water / 4,
        };
        match self.free() {
            Some(free) if free < mark => Level::Low,
            // Some file systems do not say what they have; there the reserve alone speaks.
            _ => Level::Enough,
        }
    }

    /// The verdict; `level` is still the one before. `spares` counts the segments behind the one being written, those
    /// in reserve included.
    pub(crate) fn judge(&self, spares: usize) -> Level {
        match (spares, self.reserve) {
            (0, _) => Level::Last,
            (_, reserve) if reserve < RESERVE_SEGMENTS => Level::Low,
            _ => self.judge_free(),
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let free = |bytes: Option<u64>| bytes.map_or("an unknown size".into(), megabytes);
        write!(
            f,
            "{} free for the log, {} for snapshots, low-water mark {}, {} of {RESERVE_SEGMENTS} log segments in reserve",
            free(self.log_free),
            free(self.data_free),
            megabytes(self.low_water),
            self.reserve
        )?;
        self.trouble.iter().try_for_each(|text| write!(f, " ({text})"))
    }
}

/// For people: MB with one digit.
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / (1 << 20) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(level: Level, log_free: u64, data_free: u64, reserve: usize) -> Room {
        Room {
            level,
            log_free: Some(log_free),
            data_free: Some(data_free),
            low_water: 100,
            reserve,
            trouble: None,
        }
    }

    #[test]
    fn levels_follow_the_mark_and_the_reserve() {
        use Level::*;
        // (before, free for the log, for snapshots, in reserve, spares) → verdict
        for (before, log, data, reserve, spares, want) in [
            (Enough, 100, 100, 2, 2, Enough),
            (Enough, 99, 500, 2, 3, Low),
            (Enough, 500, 99, 2, 2, Low),
            (Low, 124, 500, 2, 2, Low),
            (Low, 125, 125, 2, 2, Enough),
            (Last, 124, 500, 2, 2, Low),
            (Enough, 500, 500, 1, 2, Low),
            (Enough, 500, 500, 0, 1, Low),
            (Enough, 500, 500, 0, 0, Last),
            (Last, 500, 500, 2, 2, Enough),
        ] {
            assert_eq!(
                room(before, log, data, reserve).judge(spares),
                want,
                "{before:?} {log} {data} {reserve}"
            );
        }
        let silent = Room {
            reserve: 2,
            low_water: 100,
            ..Room::default()
        };
        assert_eq!(silent.judge(2), Enough, "a file system that does not say what it has");
    }

    #[test]
    fn tells_numbers() {
        let text = Room {
            trouble: Some("cannot make reserve.2".into()),
            low_water: 128 << 20,
            ..room(Level::Low, 100 << 20, 5 << 19, 1)
        };
        assert_eq!(
            text.to_string(),
            "100.0 MB free for the log, 2.5 MB for snapshots, low-water mark 128.0 MB, 1 of 2 log segments in reserve \
             (cannot make reserve.2)"
        );
    }
}
