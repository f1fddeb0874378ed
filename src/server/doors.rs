//! Who may connect: the limits on connections, in all and from one address (`NIOServerCnxnFactory#doAccept`).
//!
//! A [`Place`] is held for as long as its connection lives. The lock is taken when a connection comes and when it
//! goes, never for a request.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// The counts.
#[derive(Debug, Default)]
pub struct Doors {
    held: Mutex<Held>,
    rejected: AtomicU64,
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One connection's place; given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    doors: Arc<Doors>,
    address: IpAddr,
}

/// Why a connection was closed at once. The texts are Java's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Refused {
    /// `maxCnxns`.
    Total { max: usize },
    /// `maxClientCnxns`.
    Address { address: IpAddr, max: usize },
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::Total { max } => write!(f, "Too many connections max allowed is {max}"),
            Refused::Address { address, max } => write!(f, "Too many connections from /{address} - max is {max}"),
        }
    }
}

impl Doors {
    /// A place for a connection from `peer`; a limit of 0 is none.
    pub fn enter(self: &Arc<Doors>, peer: &SocketAddr, total_max: usize, per_ip_max: usize) -> Result<Place, Refused> {
        let address = peer.ip().to_canonical();
        let mut held = self.held.lock();
        let from_there = held.by_address.get(&address).copied().unwrap_or(0);
        let refused = if total_max > 0 && held.total >= total_max {
            Some(Refused::Total { max: total_max })
        } else if per_ip_max > 0 && from_there >= per_ip_max {
            Some(Refused::Address {
                address,
                max: per_ip_max,
            })
        } else {
            None
        };
        if let Some(refused) = refused {
            self.rejected.fetch_add(1, Ordering::Relaxed);
            return Err(refused);
        }
        held.total += 1;
        held.by_address.insert(address, from_there + 1);
        Ok(Place {
            doors: Arc::clone(self),
            address,
        })
    }

    /// How many were refused since the start or the last reset.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Forgets the refusals (`srst`).
    pub fn reset(&self) {
        self.rejected.store(0, Ordering::Relaxed);
    }

    /// Connections that are alive.
    pub fn alive(&self) -> usize {
        self.held.lock().total
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.doors.held.lock();
        held.total -= 1;
        let from_there = held.by_address.get_mut(&self.address).expect("a place is counted");
        *from_there -= 1;
        if *from_there == 0 {
            held.by_address.remove(&self.address);
        }
    }
}

/// Says the same thing at most ten times a second, and how often it happened meanwhile (`RateLogger`).
#[derive(Debug, Default)]
pub struct Repeated {
    last: Option<Refused>,
    last_ms: u64,
    unsaid: u64,
}

/// Between two lines that say the same.
const REPEAT_MS: u64 = 100;

impl Repeated {
    /// Notes a refusal. The line to be logged now, if one is due.
    pub fn note(&mut self, refused: Refused, now_ms: u64) -> Option<String> {
        if self.last == Some(refused) && now_ms.saturating_sub(self.last_ms) < REPEAT_MS {
            self.unsaid += 1;
            return None;
        }
        let line = match self.unsaid {
            0 => format!("Error accepting new connection: {refused}"),
            unsaid => format!("Error accepting new connection: {refused} [{} times]", unsaid + 1),
        };
        *self = Repeated {
            last: Some(refused),
            last_ms: now_ms,
            unsaid: 0,
        };
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let doors = Arc::new(Doors::default());
        let (here, mapped, there) = (
            "127.0.0.1:1".parse().unwrap(),
            "[::ffff:127.0.0.1]:2".parse().unwrap(),
            "10.0.0.1:3".parse().unwrap(),
        );
        let first = doors.enter(&here, 3, 2).unwrap();
        let _second = doors.enter(&mapped, 3, 2).unwrap();
        let refused = doors.enter(&here, 3, 2).unwrap_err();
        assert_eq!(refused.to_string(), "Too many connections from /127.0.0.1 - max is 2");
        let _third = doors.enter(&there, 3, 2).unwrap();
        let refused = doors.enter(&there, 3, 2).unwrap_err();
        assert_eq!(refused.to_string(), "Too many connections max allowed is 3");
        assert_eq!((doors.alive(), doors.rejected()), (3, 2));
        drop(first);
        doors.reset();
        let _again = doors.enter(&here, 3, 2).unwrap();
        assert_eq!((doors.alive(), doors.rejected()), (3, 0));
        assert!(doors.enter(&here, 0, 0).is_ok(), "0 is no limit");
    }

    #[test]
    fn a_flood_of_refusals_is_a_few_lines() {
        let refused = Refused::Total { max: 1 };
        let mut repeated = Repeated::default();
        let lines: Vec<String> = (1000..1250).filter_map(|ms| repeated.note(refused, ms)).collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(
            lines[1],
            "Error accepting new connection: Too many connections max allowed is 1 [100 times]"
        );
        assert!(
            repeated.note(Refused::Total { max: 2 }, 1250).is_some(),
            "something else is said at once"
        );
    }
}
