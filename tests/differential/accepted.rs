//! The one list of differences between Ringkeeper and Apache ZooKeeper 3.9.5 that are known and kept.

use super::compare::{Accepted, events_unordered};
use super::run::Seen;
use super::script::Step;

/// Every kept difference with its reason.
pub const ACCEPTED: &[Accepted] = &[
    Accepted {
        name: "order of one transaction's events",
        reason: "closing a session removes its ephemerals in hash order in Java (PrepRequestProcessor, closeSession: a \
                 HashSet), so clients cannot rest on an order between them; the events are the same",
        matches: |_, ours, theirs| {
            // What a close takes away: deletions, and the parents' news of them. Everything else keeps its place.
            let gone = |seen: &Seen| matches!(seen, Seen::Event { text, .. } if text.starts_with("type=2") || text.starts_with("type=4"));
            let moved = ours.iter().zip(theirs).filter(|(mine, other)| mine != other);
            events_unordered(ours) == events_unordered(theirs)
                && moved.into_iter().all(|(mine, other)| gone(mine) && gone(other))
        },
    },
    Accepted {
        name: "zxid of an undecodable multi",
        reason: "Java gives a multi its zxid before it reads it (PrepRequestProcessor#pRequest) and logs an error \
                 transaction for one that does not decode; ours is refused before it touches anything shared",
        matches: |step, ours, theirs| {
            let Step::Requests { requests, .. } = step else {
                return false;
            };
            let multis: Vec<i32> = requests
                .iter()
                .filter(|each| each.op == 14)
                .map(|each| each.xid)
                .collect();
            let undecodable = ours
                .iter()
                .any(|seen| matches!(seen, Seen::Reply { err: -5, xid, .. } if multis.contains(xid)));
            undecodable && without_zxids(ours) == without_zxids(theirs)
        },
    },
    Accepted {
        name: "addWatch with a null path",
        reason: "Java registers the watch under null, where nothing ever fires (FinalRequestProcessor); ours refuses \
                 what cannot be meant (-5)",
        matches: |step, ours, theirs| {
            let Step::Requests { requests, .. } = step else {
                return false;
            };
            let nulls = |seen: &&Seen, code: i32| {
                let Seen::Reply { xid, err, .. } = seen else {
                    return false;
                };
                *err == code && requests.iter().any(|each| each.op == 106 && each.xid == *xid)
            };
            let null = requests
                .iter()
                .any(|each| each.op == 106 && each.note.starts_with("null path"));
            let pairs = || ours.iter().zip(theirs).filter(|(mine, other)| mine != other);
            null && ours.len() == theirs.len() && pairs().all(|(mine, other)| nulls(&mine, -5) && nulls(&other, 0))
        },
    },
    Accepted {
        name: "replay of what may not be read",
        reason: "setWatches of a Java server tells of changes to nodes that the client may not read (DataTree#setWatches \
                 checks no ACL, though live events are filtered since 3.9.2); ours filters both (reliability.md 0.6)",
        matches: |_, ours, theirs| {
            let mut rest = ours.iter().peekable();
            let replay = |seen: &Seen| matches!(seen, Seen::Event { zxid, .. } if zxid == "-1");
            theirs
                .iter()
                .all(|seen| rest.next_if_eq(&seen).is_some() || replay(seen))
                && rest.peek().is_none()
        },
    },
];

/// The same without how far replies advanced.
fn without_zxids(seen: &[Seen]) -> Vec<Seen> {
    let mut seen = seen.to_vec();
    seen.retain(|each| !matches!(each, Seen::Taken(_)));
    for each in &mut seen {
        if let Seen::Reply { zxid, .. } = each {
            zxid.clear();
        }
    }
    seen
}
