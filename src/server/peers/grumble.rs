//! One line for what strangers and broken peers do, not one for each time they do it.
//!
//! Lines are told apart by where they come from; the same place is heard once in `EVERY_MS`, with a count of what was
//! not said. The table is bounded, so that a flood from everywhere costs no memory.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

use crate::io::Clock;

/// Between two lines about one address.
const EVERY_MS: u64 = 10_000;
/// Addresses remembered at most.
const PLACES_MAX: usize = 256;

/// What was said, and when.
pub struct Grumble {
    port: &'static str,
    clock: Clock,
    said: RefCell<HashMap<IpAddr, Said>>,
}

struct Said {
    at_ms: u64,
    unsaid: u64,
}

impl Grumble {
    /// About one port.
    pub fn new(port: &'static str, clock: Clock) -> Grumble {
        Grumble {
            port,
            clock,
            said: RefCell::default(),
        }
    }

    /// Something is wrong with a connection from there.
    pub fn say(&self, from: IpAddr, why: &dyn std::fmt::Display) {
        let now_ms = self.clock.ms();
        if let Some(line) = self.note(from, now_ms, why) {
            tracing::warn!("{line}");
        }
    }

    fn note(&self, from: IpAddr, now_ms: u64, why: &dyn std::fmt::Display) -> Option<String> {
        let mut said = self.said.borrow_mut();
        let unsaid = match said.get_mut(&from) {
            Some(said) if now_ms < said.at_ms + EVERY_MS => {
                said.unsaid += 1;
                return None;
            }
            Some(said) => said.unsaid,
            None => 0,
        };
        if said.len() >= PLACES_MAX {
            said.retain(|_, said| now_ms < said.at_ms + EVERY_MS);
        }
        if said.len() < PLACES_MAX {
            let (at_ms, unsaid) = (now_ms, 0);
            said.insert(from, Said { at_ms, unsaid });
        }
        let port = self.port;
        Some(match unsaid {
            0 => format!("{port}: about a connection from {from}: {why}"),
            more => format!("{port}: about a connection from {from}: {why} [and {more} before it]"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_and_a_count() {
        let grumble = Grumble::new("election port", Clock::default());
        let (here, there) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let lines: Vec<String> = (0..30_000)
            .step_by(1000)
            .filter_map(|ms| grumble.note(here, ms, &"nonsense"))
            .collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(
            lines[1],
            "election port: about a connection from 10.0.0.1: nonsense [and 9 before it]"
        );
        assert!(grumble.note(there, 29_500, &"other").is_some());
        let many = (0..2000u32).filter(|n| grumble.note(IpAddr::from(n.to_be_bytes()), 29_600, &"x").is_some());
        assert_eq!(many.count(), 2000, "what is not remembered is said");
        assert!(grumble.said.borrow().len() <= PLACES_MAX);
    }
}
