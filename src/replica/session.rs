//! Which sessions are alive (`SessionTrackerImpl`, `ExpiryQueue`).
//!
//! A session's cores write the time they last heard of it into its [`Heart`]; nobody sends a message for a ping.
//! Expiry runs in buckets aligned to the tick: when a bucket is due, each of its sessions is looked at once and
//! either moves to a later bucket or ends. Times are plain milliseconds of a monotonic clock.
//!
//! A leader tracks the sessions of all servers, and knows for each which server it is on ([`Place`]): that of its first
//! request after the election, or of its last attachment. From anywhere else it is refused (`SessionMovedException`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::input::Origin;
use crate::wire::error::ErrorCode;
use crate::zab::Link;

/// When a session was last heard of, written by the core that serves it.
#[derive(Clone, Debug, Default)]
pub struct Heart(Arc<AtomicU64>);

impl Heart {
    /// Notes that the session was heard of.
    pub fn beat(&self, now_ms: u64) {
        // Relaxed: the number is all there is, and a late look only means a later expiry.
        self.0.store(now_ms, Ordering::Relaxed);
    }

    /// That time, monotonic ms.
    pub fn last(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The server that a session is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// This one.
    Here,
    /// A learner, as long as it has this connection.
    Learner(Link),
}

#[derive(Debug)]
struct Tracked {
    timeout_ms: u64,
    heart: Heart,
    bucket_ms: u64,
    owner: Option<Origin>,
    place: Option<Place>,
    closing: bool,
}

/// All live sessions.
#[derive(Debug)]
pub struct Sessions {
    tick_ms: u64,
    tracked: HashMap<i64, Tracked>,
    buckets: BTreeMap<u64, BTreeSet<i64>>,
    last_tick_ms: u64,
}

impl Sessions {
    /// None yet.
    pub fn new(tick_ms: u64, now_ms: u64) -> Sessions {
        assert!(tick_ms > 0, "a tick has a length");
        Sessions {
            tick_ms,
            tracked: HashMap::new(),
            buckets: BTreeMap::new(),
            last_tick_ms: now_ms,
        }
    }

    /// Tracks a session from now on.
    pub fn open(&mut self, id: i64, timeout_ms: i32, heart: Heart, owner: Option<Origin>, now_ms: u64) {
        let place = owner.map(|_| Place::Here);
        heart.beat(now_ms);
        let timeout_ms = timeout_ms.max(0) as u64;
        let bucket_ms = self.bucket(now_ms + timeout_ms);
        self.buckets.entry(bucket_ms).or_default().insert(id);
        let old = self.tracked.insert(
            id,
            Tracked {
                timeout_ms,
                heart,
                bucket_ms,
                owner,
                place,
                closing: false,
            },
        );
        assert!(old.is_none(), "session 0x{id:x} was opened twice");
    }

    /// Whether a session may act (`SessionTracker#checkSession`).
    pub fn check(&self, id: i64) -> Result<(), ErrorCode> {
        match self.tracked.get(&id) {
            Some(session) if !session.closing => Ok(()),
            _ => Err(ErrorCode::SessionExpired),
        }
    }

    /// The same for a request that comes from a server.
    pub fn check_at(&mut self, id: i64, place: Place) -> Result<(), ErrorCode> {
        self.check(id)?;
        let session = self.tracked.get_mut(&id).expect("it was just checked");
        match *session.place.get_or_insert(place) == place {
            true => Ok(()),
            false => Err(ErrorCode::SessionMoved),
        }
    }

    /// The connection of a session that is here.
    pub fn owner(&self, id: i64) -> Option<Origin> {
        self.tracked.get(&id)?.owner
    }

    /// A learner tells of a session. False if it is over.
    pub fn touch(&mut self, id: i64, timeout_ms: i32, now_ms: u64) -> bool {
        let Some(session) = self.tracked.get_mut(&id).filter(|session| !session.closing) else {
            return false;
        };
        session.timeout_ms = timeout_ms.max(0) as u64;
        session.heart.beat(now_ms);
        true
    }

    /// A session came to a learner, or begins on one. Gives the connection here that it had, or that it is over.
    pub fn move_to_learner(
        &mut self,
        id: i64,
        timeout_ms: i32,
        link: Link,
        now_ms: u64,
    ) -> Result<Option<Origin>, ErrorCode> {
        self.check(id)?;
        let session = self.tracked.get_mut(&id).expect("it was just checked");
        // A heart of its own: a connection that was left behind keeps nobody alive.
        session.heart = Heart::default();
        session.place = Some(Place::Learner(link));
        let owner = session.owner.take();
        self.touch(id, timeout_ms, now_ms);
        Ok(owner)
    }

    /// Gives a session to another connection, with a new timeout. The connection that had it is returned.
    pub fn attach(
        &mut self,
        id: i64,
        timeout_ms: i32,
        heart: Heart,
        owner: Origin,
        now_ms: u64,
    ) -> Result<Option<Origin>, ErrorCode> {
        self.check(id)?;
        heart.beat(now_ms);
        let bucket_ms = self.bucket(now_ms + timeout_ms.max(0) as u64);
        let session = self.tracked.get_mut(&id).expect("it was just checked");
        session.timeout_ms = timeout_ms.max(0) as u64;
        session.heart = heart;
        let from = std::mem::replace(&mut session.bucket_ms, bucket_ms);
        session.place = Some(Place::Here);
        let old = session.owner.replace(owner);
        self.move_to(id, from, bucket_ms);
        Ok(old.filter(|old| *old != owner))
    }

    /// A connection is gone; its session lives on until it expires.
    pub fn detach(&mut self, id: i64, owner: Origin) {
        if let Some(session) = self.tracked.get_mut(&id).filter(|session| session.owner == Some(owner)) {
            session.owner = None;
        }
    }

    /// Marks a session as closing: it may do nothing more. Gives its connection.
    pub fn set_closing(&mut self, id: i64) -> Option<Origin> {
        let session = self.tracked.get_mut(&id)?;
        session.closing = true;
        session.owner
    }

    /// Forgets a session.
    pub fn remove(&mut self, id: i64) {
        if let Some(session) = self.tracked.remove(&id) {
            self.leave(id, session.bucket_ms);
        }
    }

    /// The sessions whose time is over. Each is marked closing and given once.
    pub fn expired(&mut self, now_ms: u64) -> Vec<i64> {
        self.forgive_pause(now_ms);
        let mut expired = Vec::new();
        while let Some((&bucket_ms, _)) = self.buckets.first_key_value().filter(|(bucket, _)| **bucket <= now_ms) {
            for id in self.buckets.remove(&bucket_ms).expect("it was just seen") {
                let tick_ms = self.tick_ms;
                let session = self.tracked.get_mut(&id).expect("a bucket holds tracked sessions");
                let due_ms = round_up(session.heart.last() + session.timeout_ms, tick_ms);
                if session.closing {
                    // Its closing transaction is on the way; nothing more to do.
                    session.bucket_ms = 0;
                } else if due_ms > now_ms {
                    session.bucket_ms = due_ms;
                    self.buckets.entry(due_ms).or_default().insert(id);
                } else {
                    session.closing = true;
                    session.bucket_ms = 0;
                    expired.push(id);
                }
            }
        }
        expired
    }

    /// When the server itself stood still (SIGSTOP, a suspended machine) its sessions could not be heard of:
    /// the pause is given back to all of them.
    fn forgive_pause(&mut self, now_ms: u64) {
        let pause_ms = now_ms.saturating_sub(self.last_tick_ms);
        self.last_tick_ms = now_ms;
        if pause_ms > 2 * self.tick_ms {
            for session in self.tracked.values() {
                session.heart.beat((session.heart.last() + pause_ms).min(now_ms));
            }
        }
    }

    /// When [`Sessions::expired`] wants to be called next: at the first bucket, and at least once a tick.
    pub fn next_check_ms(&self, now_ms: u64) -> u64 {
        // From the last check, not from now: a check that is always a tick away is never made, and the time without
        // one would be taken for a pause and forgiven.
        let regular = self.last_tick_ms + self.tick_ms;
        self.buckets
            .first_key_value()
            .map_or(regular, |(bucket, _)| regular.min(*bucket))
            .max(now_ms)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.tracked.len()
    }

    /// For the four-letter word `dump`: due time and sessions. A session stays in its bucket until that is looked
    /// at; what is told here is when it really expires.
    pub fn due(&self) -> BTreeMap<u64, Vec<i64>> {
        let mut due: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
        for (id, session) in self.tracked.iter().filter(|(_, session)| !session.closing) {
            let due_ms = self.bucket(session.heart.last() + session.timeout_ms);
            due.entry(due_ms).or_default().push(*id);
        }
        due.values_mut().for_each(|ids| ids.sort_unstable());
        due
    }

    fn bucket(&self, due_ms: u64) -> u64 {
        round_up(due_ms, self.tick_ms)
    }

    fn move_to(&mut self, id: i64, from: u64, to: u64) {
        if from != to {
            self.leave(id, from);
            self.buckets.entry(to).or_default().insert(id);
        }
    }

    fn leave(&mut self, id: i64, bucket_ms: u64) {
        if let Some(ids) = self.buckets.get_mut(&bucket_ms) {
            ids.remove(&id);
            if ids.is_empty() {
                self.buckets.remove(&bucket_ms);
            }
        }
    }
}

/// `ExpiryQueue#roundToNextInterval`: always strictly later.
fn round_up(time_ms: u64, tick_ms: u64) -> u64 {
    (time_ms / tick_ms + 1) * tick_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Origin = Origin {
        core: 0,
        connection: 1,
        generation: 1,
    };
    const THERE: Origin = Origin {
        core: 1,
        connection: 1,
        generation: 1,
    };

    fn run(sessions: &mut Sessions, from_ms: u64, to_ms: u64) -> Vec<(u64, i64)> {
        let times = (from_ms..to_ms).step_by(10);
        times
            .flat_map(|now| {
                sessions
                    .expired(now)
                    .into_iter()
                    .map(move |id| (now, id))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn never_early_and_at_most_a_tick_late() {
        let mut sessions = Sessions::new(100, 0);
        let heart = Heart::default();
        sessions.open(1, 250, heart.clone(), Some(HERE), 0);
        assert_eq!(run(&mut sessions, 0, 200), []);
        heart.beat(190);
        let ended = run(&mut sessions, 200, 1000);
        assert_eq!(ended.len(), 1);
        let (when, id) = ended[0];
        assert_eq!(id, 1);
        assert!((190 + 250..=190 + 250 + 100).contains(&when), "{when}");
        assert_eq!(sessions.check(1), Err(ErrorCode::SessionExpired));
        sessions.remove(1);
        assert_eq!((sessions.count(), sessions.buckets.len()), (0, 0));
    }

    #[test]
    fn a_caller_that_asks_when_to_come_expires_a_session_of_many_ticks() {
        let mut sessions = Sessions::new(500, 0);
        sessions.open(1, 2000, Heart::default(), None, 100);
        let mut expired = Vec::new();
        for now_ms in (0..=3000).step_by(10) {
            if now_ms >= sessions.next_check_ms(now_ms) {
                expired.extend(sessions.expired(now_ms).into_iter().map(|id| (now_ms, id)));
            }
        }
        assert_eq!(expired, [(2500, 1)]);
    }

    #[test]
    fn a_pause_of_the_server_expires_nobody() {
        let mut sessions = Sessions::new(100, 0);
        sessions.open(1, 300, Heart::default(), None, 0);
        assert_eq!(run(&mut sessions, 0, 100), []);
        assert_eq!(sessions.expired(60_000), [], "the server stood still for a minute");
        assert_eq!(run(&mut sessions, 60_000, 61_000).len(), 1);
    }

    #[test]
    fn a_session_has_one_connection() {
        let mut sessions = Sessions::new(100, 0);
        sessions.open(1, 300, Heart::default(), Some(HERE), 0);
        assert_eq!(sessions.attach(1, 500, Heart::default(), THERE, 50), Ok(Some(HERE)));
        sessions.detach(1, HERE);
        assert_eq!(
            sessions.set_closing(1),
            Some(THERE),
            "the old connection's end changed nothing"
        );
        assert_eq!(
            sessions.attach(1, 500, Heart::default(), HERE, 60),
            Err(ErrorCode::SessionExpired)
        );
        assert_eq!(
            sessions.attach(2, 500, Heart::default(), HERE, 60),
            Err(ErrorCode::SessionExpired)
        );
        assert_eq!(run(&mut sessions, 0, 5000), [], "closing already");
    }
}
