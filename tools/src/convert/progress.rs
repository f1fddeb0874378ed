//! One line on a terminal that says how far it is; nothing where nobody looks.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line changes.
const EVERY: Duration = Duration::from_millis(100);

/// The line.
pub struct Line {
    shown: bool,
    started: Instant,
    last: Option<Instant>,
}

impl Line {
    /// On standard error, if that is a terminal.
    pub fn new() -> Line {
        Line {
            shown: std::io::stderr().is_terminal(),
            started: Instant::now(),
            last: None,
        }
    }

    /// Since it began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Shows a text with a rate, if it is time to. `fraction` tells what is left.
    pub fn show(&mut self, what: &str, count: u64, fraction: Option<f64>) {
        if !self.shown || self.last.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        let line = line(what, count, fraction, self.started.elapsed().as_secs_f64());
        let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.last.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, count: u64, fraction: Option<f64>, seconds: f64) -> String {
    let rate = count as f64 / seconds.max(0.001);
    let left = match fraction {
        Some(done) if done > 0.0 => {
            let left = seconds * (1.0 - done).max(0.0) / done;
            format!(", {:.0}%, {left:.0} s left", done * 100.0)
        }
        _ => String::new(),
    };
    format!("{count} {what}, {rate:.0} a second{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_rate_and_rest() {
        assert_eq!(
            line("nodes read", 500, Some(0.25), 2.0),
            "500 nodes read, 250 a second, 25%, 6 s left"
        );
        assert_eq!(line("nodes read", 500, None, 2.0), "500 nodes read, 250 a second");
    }
}
