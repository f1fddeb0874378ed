//! Two servers' answers to one script, step by step: equal, different for a reason that stands in `ACCEPTED`, or
//! different.

use std::collections::BTreeMap;

use super::run::{Runner, Seen};
use super::script::Step;

/// A difference that we know and keep: its name, why, and how it is recognised (Ringkeeper's side first).
pub struct Accepted {
    /// A short name for the count.
    pub name: &'static str,
    /// Why the servers may differ here.
    pub reason: &'static str,
    /// Whether this difference is that one.
    pub matches: fn(&Step, &[Seen], &[Seen]) -> bool,
}

/// How a whole comparison went.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests and handshakes that were sent to each server.
    pub operations: usize,
    /// Replies, events and closings that were compared.
    pub compared: usize,
    /// How often each accepted difference was met.
    pub accepted: BTreeMap<&'static str, usize>,
}

/// The first difference that nothing explains.
pub struct Difference {
    /// Where.
    pub step: usize,
    /// What the first server did.
    pub ours: Vec<Seen>,
    /// What the second server did.
    pub theirs: Vec<Seen>,
}

/// Runs the script on both servers at the same time and compares.
pub fn compare(
    pair: &mut [Runner; 2],
    steps: &[Step],
    accepted: &[Accepted],
    tally: &mut Tally,
) -> Result<(), Difference> {
    let [ours, theirs] = pair;
    let (ours, theirs) = std::thread::scope(|scope| {
        let other = scope.spawn(|| theirs.run(steps));
        (ours.run(steps), other.join().expect("the runner of the second server"))
    });
    for (index, step) in steps.iter().enumerate() {
        let gone = |seen: &[Vec<Seen>]| seen[index].contains(&Seen::Gone);
        if gone(&ours) || gone(&theirs) {
            return Err(Difference {
                step: index,
                ours: ours[index].clone(),
                theirs: theirs[index].clone(),
            });
        }
        tally.operations += operations(step, &ours[index]);
        tally.compared += ours[index].len();
        if ours[index] == theirs[index] {
            continue;
        }
        match accepted
            .iter()
            .find(|each| (each.matches)(step, &ours[index], &theirs[index]))
        {
            Some(each) => *tally.accepted.entry(each.name).or_default() += 1,
            None => {
                let (ours, theirs) = (ours[index].clone(), theirs[index].clone());
                return Err(Difference {
                    step: index,
                    ours,
                    theirs,
                });
            }
        }
    }
    Ok(())
}

/// Cleaning is compared and not counted: the figure is that of the generated operations.
fn operations(step: &Step, seen: &[Seen]) -> usize {
    match step {
        Step::Requests { requests, .. } => requests.len(),
        Step::Clean | Step::HangUp { .. } => 0,
        _ => usize::from(!seen.is_empty()),
    }
}

/// Events of one transaction in any order, everything else in place: what remains when only that order differs.
pub fn events_unordered(seen: &[Seen]) -> Vec<Seen> {
    let mut seen = seen.to_vec();
    let mut start = 0;
    while start < seen.len() {
        let end = (start..seen.len())
            .take_while(|index| same_transaction(&seen[start], &seen[*index]))
            .count()
            + start;
        seen[start..end].sort_by_key(|each| format!("{each:?}"));
        start = end.max(start + 1);
    }
    seen
}

fn same_transaction(first: &Seen, other: &Seen) -> bool {
    matches!((first, other), (Seen::Event { zxid: a, .. }, Seen::Event { zxid: b, .. }) if a == b)
}
