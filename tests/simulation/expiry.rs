//! C12: a session ends by itself when its leader has not been told of it for as long as was agreed, and soon after.
//!
//! What a leader was told is noted where it is told: by a learner's PING, by an attachment, by the client itself. Time
//! that the leader's own machine stood still counts for nobody.

use std::collections::BTreeMap;

use ringkeeper::zab::Proposal;

/// What a leader was told of sessions, and when.
#[derive(Default)]
pub struct Told {
    since_ms: u64,
    /// By session: when, and whether its client is on this server.
    sessions: BTreeMap<i64, (u64, bool)>,
    /// What pauses may give besides: when they ended, and how much.
    doubtful: Vec<(u64, u64)>,
}

impl Told {
    /// It leads from now on, and gives everybody its full time.
    pub fn begin(&mut self, now_ms: u64) {
        self.since_ms = now_ms;
        self.sessions.clear();
        self.doubtful.clear();
    }

    /// A learner says that it heard of a session.
    pub fn touch(&mut self, session: i64, now_ms: u64) {
        self.sessions.entry(session).or_default().0 = now_ms;
    }

    /// A session begins, or comes to another connection, here or at a learner.
    pub fn attach(&mut self, session: i64, is_here: bool, now_ms: u64) {
        self.sessions.insert(session, (now_ms, is_here));
    }

    /// The connection that a session began on is one of here.
    pub fn is_here(&mut self, session: i64) {
        self.sessions.entry(session).or_default().1 = true;
    }

    /// A client says something; a connection that its session has left behind keeps nobody alive.
    pub fn client(&mut self, session: i64, now_ms: u64) {
        if let Some((at_ms, true)) = self.sessions.get_mut(&session) {
            *at_ms = now_ms;
        }
    }

    /// The server itself stood still. It counts from its last check, up to a tick more.
    pub fn stood_still(&mut self, ms: u64, tick_ms: u64, now_ms: u64) {
        self.doubtful.push((now_ms, tick_ms));
        self.since_ms += ms;
        self.sessions.values_mut().for_each(|(at_ms, _)| *at_ms += ms);
    }

    /// It stood still for so short a time that it may have noticed, or not.
    pub fn stumbled(&mut self, ms: u64, now_ms: u64) {
        self.doubtful.push((now_ms, ms));
    }

    /// A session ends because its time is over.
    pub fn expires(&mut self, session: i64, timeout_ms: u64, tick_ms: u64, now_ms: u64) {
        let told_ms = self.sessions.remove(&session).map_or(0, |(at_ms, _)| at_ms);
        let told_ms = told_ms.max(self.since_ms);
        let idle_ms = now_ms - told_ms;
        // A pause moved what was told before it by its length, which is at most to its own end.
        let doubtful = self.doubtful.iter().filter(|(ended_ms, _)| *ended_ms >= told_ms);
        let doubtful_ms: u64 = doubtful.map(|(_, ms)| ms).sum();
        assert!(
            idle_ms >= timeout_ms,
            "C12: session 0x{session:x} expires after {idle_ms} of {timeout_ms} ms"
        );
        // Up to a tick's end, and one check may come before it; pauses may give more.
        assert!(
            idle_ms <= timeout_ms + 4 * tick_ms + doubtful_ms,
            "C12: session 0x{session:x} expires only after {idle_ms} ms, {timeout_ms} were agreed"
        );
    }
}

/// A transaction that begins or ends a session.
pub enum Turn {
    Begins(i64, u64),
    /// By itself: nobody asked for it.
    Expires(i64),
}

/// Whether a transaction is one, as its first bytes say.
pub fn turn(proposal: &Proposal) -> Option<Turn> {
    let long = |at: usize| i64::from_be_bytes(proposal.txn[at..at + 8].try_into().expect("eight bytes"));
    let int = |at: usize| i32::from_be_bytes(proposal.txn[at..at + 4].try_into().expect("four bytes"));
    match (int(28), int(8)) {
        (-10, _) => Some(Turn::Begins(long(0), int(32) as u64)),
        (-11, 0) => Some(Turn::Expires(long(0))),
        _ => None,
    }
}
