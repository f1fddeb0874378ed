//! Whether a history and the final trees keep ZooKeeper's promises.
//!
//! All checks are linear in the history but for sorting. What is not known (an operation whose connection ended) may have
//! happened once or not at all; what is known may not be contradicted by anything that anybody was shown. The names C1 to
//! C16 are those of the project's list of client-visible invariants.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::history::{Op, Outcome, Record};
use super::walk::Tree;
use super::worker::same_write;

/// What was promised beside the invariants.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// No fault lasted as long as a session's timeout: no session may be lost.
    pub keeps_sessions: bool,
    /// A leader that was stopped or cut off finds out before it answers anybody: what was acknowledged elsewhere is seen
    /// after a sync, and nobody is told that a session lives that is about to be given up. Java promises neither.
    pub leaders_know: bool,
}

/// The end of a history: when the trees were read, and what was there.
pub struct End<'t> {
    /// Before the trees were read.
    pub from_us: u64,
    /// After.
    pub until_us: u64,
    /// The tree that all servers had.
    pub tree: &'t Tree,
}

/// So many of each kind are told.
const TOLD: usize = 12;
/// A client's clock and the server's differ by what a request is on its way and a thread waits for a processor.
const SLACK_US: u64 = 100_000;

/// Everything that is wrong, as sentences.
pub fn violations(history: &[Record], end: &End, promise: Promise) -> Vec<String> {
    let mut checker = Checker {
        history,
        end,
        promise,
        found: Vec::new(),
    };
    checker.sessions();
    checker.real_time();
    checker.registers();
    checker.sequentials();
    checker.ephemerals();
    checker.multis();
    let more = checker.found.len().saturating_sub(TOLD);
    checker.found.truncate(TOLD);
    if more > 0 {
        checker.found.push(format!("and {more} more"));
    }
    checker.found
}

struct Checker<'h> {
    history: &'h [Record],
    end: &'h End<'h>,
    promise: Promise,
    found: Vec<String>,
}

/// What one version of a register holds, and who says so.
struct Version<'h> {
    value: &'h str,
    zxid: i64,
    by: &'h Record,
}

impl<'h> Checker<'h> {
    fn wrong(&mut self, what: String) {
        self.found.push(what);
    }

    fn of(&self, op: Op) -> impl Iterator<Item = &'h Record> + use<'h> {
        self.history.iter().filter(move |record| record.op == op)
    }

    /// C4: zxids and versions never go back within a session, whichever server answers. C12: no session ends early.
    fn sessions(&mut self) {
        let mut sessions: BTreeMap<i64, Vec<&Record>> = BTreeMap::new();
        for record in self.history.iter().filter(|record| record.session != 0) {
            sessions.entry(record.session).or_default().push(record);
        }
        for (session, mut records) in sessions {
            records.sort_by_key(|record| (record.invoked_us, record.returned_us));
            self.never_back(session, &records);
            self.not_early(session, &records);
        }
    }

    fn never_back(&mut self, session: i64, records: &[&Record]) {
        let mut header: Option<&Record> = None;
        let mut versions: HashMap<&str, &Record> = HashMap::new();
        for record in records {
            if record.header > 0 {
                if let Some(before) = header.filter(|before| before.header > record.header) {
                    self.wrong(format!(
                        "C4: session {session:#x} was shown zxid {:#x} and then {:#x}: {before} | {record}",
                        before.header, record.header
                    ));
                }
                header = Some(record);
            }
            let has_version = matches!(record.op, Op::Set | Op::Get | Op::SyncGet | Op::Pair | Op::PairRead);
            if record.is_ok() && has_version && record.version >= 0 {
                let before = versions.insert(&record.path, record);
                if let Some(before) = before.filter(|before| before.version > record.version) {
                    self.wrong(format!(
                        "C4: session {session:#x} saw {} go back: {before} | {record}",
                        record.path
                    ));
                }
            }
        }
    }

    fn not_early(&mut self, session: i64, records: &[&Record]) {
        let Some(expired) = records.iter().find(|record| record.op == Op::Expired) else {
            return;
        };
        let opened = records
            .iter()
            .find(|record| matches!(record.op, Op::Open | Op::Attach) && record.version > 0);
        let Some(timeout_us) = opened.map(|opened| opened.version as u64 * 1000) else {
            self.wrong(format!("session {session:#x} expired and was never opened: {expired}"));
            return;
        };
        let answered = records.iter().filter(|record| record.outcome != Outcome::Unknown);
        let last = answered.map(|record| record.invoked_us).max().unwrap_or(0);
        let silent_us = expired.returned_us.saturating_sub(last);
        let is_early = silent_us + SLACK_US < timeout_us;
        if is_early && self.promise.leaders_know {
            self.wrong(format!(
                "C12: session {session:#x} of {} expired {silent_us} µs after a request that was answered, its timeout is {timeout_us} µs: {expired}",
                expired.client
            ));
        } else if self.promise.keeps_sessions {
            self.wrong(format!(
                "session {session:#x} of {} was lost although no fault lasted as long as its timeout ({silent_us} µs silent): {expired}",
                expired.client
            ));
        }
    }

    /// C2: what was acknowledged before a write began has a lower zxid. C5: and is seen by whoever syncs first.
    fn real_time(&mut self) {
        let is_write = |record: &&Record| {
            record.is_ok()
                && record.zxid > 0
                && matches!(
                    record.op,
                    Op::Set | Op::Pair | Op::Sequential | Op::Ephemeral | Op::Delete
                )
        };
        let writes: Vec<&Record> = self.history.iter().filter(is_write).collect();
        let mut owner: HashMap<i64, &Record> = HashMap::new();
        for write in &writes {
            if let Some(other) = owner.insert(write.zxid, write) {
                self.wrong(format!("C2: one zxid for two writes: {other} | {write}"));
            }
        }
        let mut returned = writes.clone();
        returned.sort_by_key(|record| record.returned_us);
        let is_synced = |record: &&Record| {
            self.promise.leaders_know
                && record.is_ok()
                && record.header > 0
                && matches!(record.op, Op::SyncGet | Op::List)
        };
        let synced: Vec<&Record> = self.history.iter().filter(is_synced).collect();
        let mut begun: Vec<(&Record, i64)> = writes.iter().map(|record| (*record, record.zxid)).collect();
        begun.extend(synced.iter().map(|record| (*record, record.header + 1)));
        begun.sort_by_key(|(record, _)| record.invoked_us);
        let mut acknowledged = returned.into_iter().peekable();
        let mut highest: Option<&Record> = None;
        for (record, zxid) in begun {
            while let Some(before) = acknowledged.next_if(|before| before.returned_us < record.invoked_us) {
                if highest.is_none_or(|highest| before.zxid > highest.zxid) {
                    highest = Some(before);
                }
            }
            if let Some(before) = highest.filter(|before| before.zxid >= zxid) {
                self.wrong(format!(
                    "C2/C5: acknowledged before the other began, and not before it: {before} | {record}"
                ));
            }
        }
    }

    /// C6, C7, C15, C16 of registers, counters and pairs: each version was made by exactly one write, no acknowledged
    /// one is missing at the end, nobody read a value that was refused or never written.
    fn registers(&mut self) {
        let mut paths: BTreeSet<String> = BTreeSet::new();
        for record in self
            .history
            .iter()
            .filter(|record| matches!(record.op, Op::Set | Op::Get | Op::SyncGet))
        {
            paths.insert(record.path.clone());
        }
        for record in self
            .history
            .iter()
            .filter(|record| matches!(record.op, Op::Pair | Op::PairRead))
        {
            paths.insert(record.path.clone());
        }
        for path in paths {
            self.register(&path);
        }
    }

    fn register(&mut self, path: &str) {
        let is_pair = path.starts_with("/load/pair/");
        let (writing, reading): (&[Op], &[Op]) = match is_pair {
            true => (&[Op::Pair], &[Op::PairRead]),
            false => (&[Op::Set], &[Op::Get, Op::SyncGet]),
        };
        let here: Vec<&'h Record> = self.history.iter().filter(|record| record.path == path).collect();
        let writes: Vec<&'h Record> = here
            .iter()
            .copied()
            .filter(|record| writing.contains(&record.op))
            .collect();
        let mut unknown: HashMap<&'h str, &'h Record> = HashMap::new();
        let mut refused: HashMap<&'h str, &'h Record> = HashMap::new();
        let mut versions: BTreeMap<i32, Version<'h>> = BTreeMap::new();
        for write in writes {
            match write.outcome {
                Outcome::Unknown => drop(unknown.insert(&write.value, write)),
                Outcome::Failed(_) => drop(refused.insert(&write.value, write)),
                Outcome::Ok => {
                    if write.expected >= 0 && write.version != write.expected + 1 {
                        self.wrong(format!(
                            "C15: set at version {} made version {}: {write}",
                            write.expected, write.version
                        ));
                    }
                    let made = Version {
                        value: &write.value,
                        zxid: write.zxid,
                        by: write,
                    };
                    if let Some(other) = versions.insert(write.version, made) {
                        self.wrong(format!(
                            "C6: version {} of {path} was acknowledged twice: {} | {write}",
                            write.version, other.by
                        ));
                    }
                }
            }
        }
        let reads = here
            .iter()
            .copied()
            .filter(|record| record.is_ok() && reading.contains(&record.op));
        for read in reads.filter(|read| read.version > 0) {
            self.seen(
                path,
                read.version,
                &read.value,
                read.zxid,
                read,
                &mut versions,
                &unknown,
                &refused,
            );
        }
        self.synced_reads(path, &here);
        self.register_at_end(path, is_pair, &mut versions, &unknown, &refused);
        self.versions_grow(path, &versions);
    }

    #[allow(clippy::too_many_arguments)]
    fn seen(
        &mut self,
        path: &str,
        version: i32,
        value: &'h str,
        zxid: i64,
        by: &'h Record,
        versions: &mut BTreeMap<i32, Version<'h>>,
        unknown: &HashMap<&'h str, &'h Record>,
        refused: &HashMap<&'h str, &'h Record>,
    ) {
        if let Some(refusal) = refused.get(value) {
            self.wrong(format!(
                "C14/C15: a value that was refused was read at {path}: {refusal} | {by}"
            ));
        }
        match versions.get(&version) {
            Some(known) if known.value == value && known.zxid == zxid => {}
            Some(known) => self.wrong(format!(
                "C3: version {version} of {path} is two things: {} | {by}",
                known.by
            )),
            None if unknown.contains_key(value) => {
                versions.insert(version, Version { value, zxid, by });
            }
            None => self.wrong(format!("C6: nobody wrote what was read at {path}: {by}")),
        }
    }

    /// C5, also for clients that do not tell the reply header's zxid.
    fn synced_reads(&mut self, path: &str, here: &[&Record]) {
        if !self.promise.leaders_know {
            return;
        }
        let mut writes: Vec<&Record> = here
            .iter()
            .copied()
            .filter(|record| record.is_ok() && record.op == Op::Set)
            .collect();
        writes.sort_by_key(|record| record.returned_us);
        let mut reads: Vec<&Record> = here
            .iter()
            .copied()
            .filter(|record| record.is_ok() && record.op == Op::SyncGet)
            .collect();
        reads.sort_by_key(|record| record.invoked_us);
        let mut writes = writes.into_iter().peekable();
        let mut highest: Option<&Record> = None;
        for read in reads {
            while let Some(write) = writes.next_if(|write| write.returned_us < read.invoked_us) {
                if highest.is_none_or(|highest| write.version > highest.version) {
                    highest = Some(write);
                }
            }
            if let Some(write) = highest.filter(|write| write.version > read.version) {
                self.wrong(format!(
                    "C5: {path} was read after a sync without what was acknowledged before: {write} | {read}"
                ));
            }
        }
    }

    fn register_at_end(
        &mut self,
        path: &str,
        is_pair: bool,
        versions: &mut BTreeMap<i32, Version<'h>>,
        unknown: &HashMap<&'h str, &'h Record>,
        refused: &HashMap<&'h str, &'h Record>,
    ) {
        let tree = self.end.tree;
        let node = |name: &str| tree.nodes.get(name);
        let left = if is_pair {
            node(&format!("{path}/left"))
        } else {
            node(path)
        };
        let Some(left) = left else {
            self.wrong(format!("C6: {path} is not there at the end"));
            return;
        };
        if is_pair {
            match node(&format!("{path}/right")) {
                Some(right) if right.data == left.data && same_write(left.stat, right.stat) => {}
                right => self.wrong(format!("C14: at the end {path}/left is {left:?} and right {right:?}")),
            }
        }
        let (last, count) = (left.stat.version, left.stat.version as usize);
        if let Some((version, lost)) = versions.iter().next_back().filter(|(version, _)| **version > last) {
            let text = format!(
                "C6/C7: {path} ends at version {last}, and version {version} was shown to somebody: {}",
                lost.by
            );
            self.wrong(text);
        }
        if refused.contains_key(left.data.as_str()) {
            self.wrong(format!("C15: {path} ends with a value that was refused: {left:?}"));
        }
        match versions.get(&last) {
            Some(known) if known.value == left.data && known.zxid == left.stat.mzxid => {}
            Some(known) => {
                let text = format!(
                    "C6: version {last} of {path} is {left:?} at the end, and was {}",
                    known.by
                );
                self.wrong(text);
            }
            None if last == 0 || unknown.contains_key(left.data.as_str()) => {}
            None => self.wrong(format!("C6: nobody wrote what {path} holds at the end: {left:?}")),
        }
        // Each of the other versions needs a write whose outcome nobody knows, and each of those makes one at most.
        let explained: HashSet<&str> = versions.values().map(|version| version.value).collect();
        let spare = unknown.keys().filter(|value| !explained.contains(*value)).count();
        let made = versions.range(1..=last).count();
        if count - made > spare {
            self.wrong(format!("C16: {path} has {count} versions, {made} are accounted for and only {spare} writes have an unknown outcome"));
        }
        if path.starts_with("/load/counter/") && !left.data.starts_with(&format!("{last}.")) {
            self.wrong(format!(
                "C16: {path} counted to {:?} in {last} conditional sets",
                left.data
            ));
        }
    }

    fn versions_grow(&mut self, path: &str, versions: &BTreeMap<i32, Version<'h>>) {
        let mut values: HashMap<&str, i32> = HashMap::new();
        let mut before: Option<(i32, &Version)> = None;
        for (version, made) in versions {
            if let Some(other) = values.insert(made.value, *version) {
                self.wrong(format!(
                    "C16: {:?} of {path} is version {other} and {version}: {}",
                    made.value, made.by
                ));
            }
            if let Some((_, earlier)) = before.filter(|(_, earlier)| earlier.zxid >= made.zxid) {
                self.wrong(format!(
                    "C15: versions of {path} grow and zxids do not: {} | {}",
                    earlier.by, made.by
                ));
            }
            before = Some((*version, made));
        }
    }

    /// C13: names are unique and grow with the zxid; what was acknowledged and not deleted is there, nothing else is.
    fn sequentials(&mut self) {
        let mut made: Vec<&Record> = self.of(Op::Sequential).filter(|record| record.is_ok()).collect();
        made.sort_by_key(|record| record.zxid);
        for pair in made.windows(2) {
            if number(&pair[0].path) >= number(&pair[1].path) {
                self.wrong(format!("C13: {} | {}", pair[0], pair[1]));
            }
        }
        let unknown: HashSet<&str> = self
            .of(Op::Sequential)
            .filter(|record| record.outcome == Outcome::Unknown)
            .map(|record| record.value.as_str())
            .collect();
        self.children("/load/seq/", &made, |name, node, known| match known {
            Some(record) if record.value == node.data && record.zxid == node.stat.czxid => None,
            Some(record) => Some(format!("C6: {name} is {node:?} and was {record}")),
            None if unknown.contains(node.data.as_str()) => None,
            None => Some(format!("C6: nobody created {name}: {node:?}")),
        });
    }

    /// C11: an ephemeral lives as long as its session.
    fn ephemerals(&mut self) {
        let made: Vec<&Record> = self.of(Op::Ephemeral).filter(|record| record.is_ok()).collect();
        let unknown: HashMap<&str, &Record> = self
            .of(Op::Ephemeral)
            .filter(|record| record.outcome == Outcome::Unknown)
            .map(|record| (record.path.as_str(), record))
            .collect();
        let closed: HashMap<i64, &Record> = self
            .of(Op::Close)
            .filter(|record| record.is_ok())
            .map(|record| (record.session, record))
            .collect();
        let from_us = self.end.from_us;
        self.children("/load/eph/", &made, |name, node, known| {
            let Some(record) = known.or(unknown.get(name).copied()) else {
                return Some(format!("C6: nobody created {name}: {node:?}"));
            };
            if record.session != node.stat.ephemeral_owner {
                return Some(format!(
                    "C11: {name} belongs to {:#x}: {record}",
                    node.stat.ephemeral_owner
                ));
            }
            let gone = closed
                .get(&record.session)
                .filter(|close| close.returned_us < from_us)?;
            Some(format!("C11: {name} outlives its session: {gone}"))
        });
    }

    /// What a parent holds at the end and in every list that was read after a sync: everything acknowledged that was not
    /// on its way out, nothing that was acknowledged as gone. `judge` says what is wrong with a child of the end.
    fn children(
        &mut self,
        parent: &str,
        made: &[&'h Record],
        judge: impl Fn(&str, &super::walk::Node, Option<&'h Record>) -> Option<String>,
    ) {
        let ends = self.session_ends();
        let mut by_path: HashMap<&str, &'h Record> = HashMap::new();
        for record in made {
            if let Some(other) = by_path.insert(&record.path, record) {
                self.wrong(format!("C13: created twice: {other} | {record}"));
            }
        }
        let deletes: HashMap<&str, &'h Record> = self
            .of(Op::Delete)
            .map(|record| (record.path.as_str(), record))
            .collect();
        // When a child may begin to be gone, and when it must be.
        let going = |record: &Record| -> (u64, u64) {
            let mut times = deletes
                .get(record.path.as_str())
                .map_or((u64::MAX, u64::MAX), |delete| {
                    (
                        delete.invoked_us,
                        if delete.is_ok() { delete.returned_us } else { u64::MAX },
                    )
                });
            if record.op == Op::Ephemeral
                && let Some((from, by)) = ends.get(&record.session)
            {
                times = (times.0.min(*from), times.1.min(*by));
            }
            times
        };
        for (name, node) in self
            .end
            .tree
            .nodes
            .range(parent.to_owned()..)
            .take_while(|(name, _)| name.starts_with(parent))
        {
            let known = by_path.get(name.as_str()).copied();
            let fault = judge(name, node, known).or_else(|| {
                let record = known.filter(|record| going(record).1 < self.end.from_us)?;
                Some(format!(
                    "C6: {name} is there at the end and was acknowledged as gone: {record}"
                ))
            });
            fault.into_iter().for_each(|fault| self.wrong(fault));
        }
        for record in made {
            if going(record).0 > self.end.until_us && !self.end.tree.nodes.contains_key(&record.path) {
                self.wrong(format!("C6: acknowledged and not there at the end: {record}"));
            }
        }
        let lists: Vec<&Record> = self
            .of(Op::List)
            .filter(|list| list.is_ok() && format!("{}/", list.path) == parent)
            .collect();
        if !self.promise.leaders_know {
            return;
        }
        for list in lists {
            let names: HashSet<&str> = list.value.split(',').collect();
            for record in made {
                let (gone_from, gone_by) = going(record);
                let is_there = names.contains(&record.path[parent.len()..]);
                if !is_there && record.returned_us < list.invoked_us && gone_from > list.returned_us {
                    self.wrong(format!(
                        "C5: acknowledged before a sync and not seen after it: {record} | list at {}",
                        list.invoked_us
                    ));
                }
                if is_there && gone_by < list.invoked_us {
                    self.wrong(format!(
                        "C5: acknowledged as gone before a sync and seen after it: {record} | list at {}",
                        list.invoked_us
                    ));
                }
            }
        }
    }

    /// When a session may have begun to end, and when it had ended for sure.
    fn session_ends(&self) -> HashMap<i64, (u64, u64)> {
        let mut ends = HashMap::new();
        for record in self.history {
            match record.op {
                Op::Close => {
                    let by = if record.is_ok() { record.returned_us } else { u64::MAX };
                    ends.insert(record.session, (record.invoked_us, by));
                }
                // It ended some time before the client was told.
                Op::Expired => drop(ends.insert(record.session, (0, record.returned_us))),
                _ => {}
            }
        }
        ends
    }

    /// C14: nobody saw half a multi, and none that had to fail was acknowledged.
    fn multis(&mut self) {
        let torn =
            |record: &&Record| matches!(record.op, Op::Pair | Op::PairRead) && record.is_ok() && record.version == -2;
        let torn: Vec<&Record> = self.history.iter().filter(torn).collect();
        torn.into_iter()
            .for_each(|record| self.wrong(format!("C14: half a multi: {record}")));
        let done: Vec<&Record> = self.of(Op::Failing).filter(|record| record.is_ok()).collect();
        done.into_iter()
            .for_each(|record| self.wrong(format!("C14: a multi that must fail did not: {record}")));
        let never = |(_, node): &(&String, &super::walk::Node)| node.data.starts_with("never.");
        if let Some((name, _)) = self.end.tree.nodes.iter().find(never) {
            self.wrong(format!("C14: {name} holds what a failed multi wrote"));
        }
    }
}

/// The number that ends a sequential node's name.
fn number(path: &str) -> Option<u32> {
    path.get(path.len().checked_sub(10)?..)?.parse().ok()
}

/// What a run showed, for its one line of output.
pub fn summary(history: &[Record]) -> String {
    let acknowledged = history.iter().filter(|record| record.is_ok()).count();
    let unknown = history.iter().filter(|record| {
        record.outcome == Outcome::Unknown && !matches!(record.op, Op::Close | Op::Attach | Op::Expired)
    });
    let sessions: BTreeSet<i64> = history.iter().map(|record| record.session).collect();
    let expired = history.iter().filter(|record| record.op == Op::Expired).count();
    format!(
        "{acknowledged} acknowledged operations of {} sessions, {} of unknown outcome, {expired} sessions expired",
        sessions.len(),
        unknown.count()
    )
}

#[cfg(test)]
mod tests {
    //! A history that is in order, and what the checker says to each way of spoiling it.

    use super::super::walk::Node;
    use super::*;
    use crate::peers::jute::Stat;

    fn record(client: &str, session: i64, op: Op, path: &str, at: u64, zxid: i64, version: i32) -> Record {
        Record {
            invoked_us: at,
            returned_us: at + 5,
            outcome: Outcome::Ok,
            zxid,
            header: zxid,
            version,
            ..Record::begun(client, session, op, path)
        }
    }

    fn valued(mut record: Record, value: &str) -> Record {
        record.value = value.into();
        record
    }

    fn node(data: &str, mzxid: i64, version: i32, owner: i64) -> Node {
        let stat = Stat {
            czxid: mzxid,
            mzxid,
            ctime: 0,
            mtime: 0,
            version,
            cversion: 0,
            aversion: 0,
            ephemeral_owner: owner,
            data_length: data.len() as i32,
            num_children: 0,
            pzxid: 0,
        };
        Node {
            data: data.into(),
            stat,
            acl: Vec::new(),
        }
    }

    const COUNTER: &str = "/load/counter/0";
    const REGISTER: &str = "/load/reg/0";
    const PAIR: &str = "/load/pair/0";

    fn history() -> Vec<Record> {
        let mut conditional = valued(record("a", 1, Op::Set, COUNTER, 70, 17, 1), "1.a.4");
        conditional.expected = 0;
        let mut unknown = valued(record("b", 2, Op::Set, REGISTER, 80, 0, -1), "b.2");
        (unknown.outcome, unknown.header) = (Outcome::Unknown, 0);
        let mut failing = valued(record("a", 1, Op::Failing, PAIR, 75, 0, -1), "never.a.9");
        (failing.outcome, failing.header) = (Outcome::Failed(-101), 18);
        vec![
            record("a", 1, Op::Open, "", 1, 0, 10),
            record("b", 2, Op::Open, "", 2, 0, 10),
            valued(record("a", 1, Op::Set, REGISTER, 10, 11, 1), "a.1"),
            valued(record("b", 2, Op::Set, REGISTER, 20, 12, 2), "b.1"),
            valued(record("a", 1, Op::SyncGet, REGISTER, 30, 12, 2), "b.1"),
            valued(
                record("a", 1, Op::Sequential, "/load/seq/s-0000000000", 40, 14, 0),
                "a.2",
            ),
            valued(
                record("b", 2, Op::Sequential, "/load/seq/s-0000000001", 50, 15, 0),
                "b.3",
            ),
            record("b", 2, Op::Ephemeral, "/load/eph/b.4", 60, 16, 0),
            valued(record("a", 1, Op::List, "/load/eph", 66, 16, 0), "b.4"),
            conditional,
            failing,
            unknown,
            valued(record("a", 1, Op::Pair, PAIR, 90, 20, 1), "a.5"),
            valued(record("a", 1, Op::PairRead, PAIR, 96, 20, 1), "a.5"),
        ]
    }

    fn tree() -> Tree {
        let nodes = [
            (REGISTER.to_owned(), node("b.2", 19, 3, 0)),
            (COUNTER.to_owned(), node("1.a.4", 17, 1, 0)),
            (format!("{PAIR}/left"), node("a.5", 20, 1, 0)),
            (format!("{PAIR}/right"), node("a.5", 20, 1, 0)),
            ("/load/seq/s-0000000000".to_owned(), node("a.2", 14, 0, 0)),
            ("/load/seq/s-0000000001".to_owned(), node("b.3", 15, 0, 0)),
            ("/load/eph/b.4".to_owned(), node("e", 16, 0, 2)),
        ];
        Tree {
            zxid: 20,
            nodes: nodes.into(),
        }
    }

    const ALL: Promise = Promise {
        keeps_sessions: true,
        leaders_know: true,
    };

    fn judged(history: &[Record], tree: &Tree, promise: Promise) -> String {
        let end = End {
            from_us: 1000,
            until_us: 1100,
            tree,
        };
        violations(history, &end, promise).join("\n")
    }

    /// Spoils the history or the tree, and expects to be told.
    fn told(word: &str, spoil: impl Fn(&mut Vec<Record>, &mut Tree)) {
        let (mut history, mut tree) = (history(), tree());
        spoil(&mut history, &mut tree);
        let said = judged(&history, &tree, ALL);
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }

    #[test]
    fn what_is_in_order_is_left_alone() {
        assert_eq!(judged(&history(), &tree(), ALL), "");
        // The unknown write may as well not have happened.
        let mut other = tree();
        other.nodes.insert(REGISTER.into(), node("b.1", 12, 2, 0));
        assert_eq!(judged(&history(), &other, ALL), "");
    }

    #[test]
    fn every_broken_promise_is_told() {
        told("C6/C7", |_, tree| {
            drop(tree.nodes.insert(REGISTER.into(), node("a.1", 11, 1, 0)))
        });
        told("nobody wrote", |_, tree| {
            drop(tree.nodes.insert(REGISTER.into(), node("x.1", 19, 3, 0)))
        });
        told("C16", |_, tree| {
            drop(tree.nodes.insert(REGISTER.into(), node("b.2", 19, 4, 0)))
        });
        told("acknowledged twice", |history, _| history[3].version = 1);
        told("C2/C5", |history, _| (history[3].zxid, history[3].header) = (10, 10));
        told("one zxid for two", |history, _| history[3].zxid = 11);
        told("C4", |history, _| history[4].header = 3);
        told("go back", |history, _| history[4].version = 0);
        told("C5", |history, _| {
            (history[4].version, history[4].zxid, history[4].value) = (1, 11, "a.1".into())
        });
        told("two things", |history, _| history[4].value = "a.1".into());
        told("nobody wrote", |history, _| {
            (history[4].version, history[4].value) = (7, "x.9".into())
        });
        told("C13", |history, _| history[6].path = "/load/seq/s-0000000000".into());
        told("not there at the end", |_, tree| {
            drop(tree.nodes.remove("/load/seq/s-0000000001"))
        });
        told("nobody created", |_, tree| {
            drop(tree.nodes.insert("/load/seq/s-0000000009".into(), node("x", 18, 0, 0)))
        });
        told("not there at the end", |_, tree| {
            drop(tree.nodes.remove("/load/eph/b.4"))
        });
        told("not seen after it", |history, _| history[8].value = String::new());
        told("belongs to", |_, tree| {
            drop(tree.nodes.insert("/load/eph/b.4".into(), node("e", 16, 0, 1)))
        });
        told("C15: set at version", |history, _| history[9].version = 3);
        told("counted to", |_, tree| {
            drop(tree.nodes.insert(COUNTER.into(), node("2.a.4", 17, 1, 0)))
        });
        told("was refused", |history, _| history[11].outcome = Outcome::Failed(-103));
        told("must fail", |history, _| history[10].outcome = Outcome::Ok);
        told("half a multi", |history, _| history[13].version = -2);
        told("C14: at the end", |_, tree| {
            drop(tree.nodes.insert(format!("{PAIR}/right"), node("a.5", 20, 2, 0)))
        });
        told("failed multi wrote", |_, tree| {
            drop(tree.nodes.insert("/load/reg/9".into(), node("never.a.9", 18, 1, 0)))
        });
    }

    #[test]
    fn sessions_end_when_they_may() {
        let close = record("b", 2, Op::Close, "", 100, 21, -1);
        let mut closed = history();
        closed.push(close);
        assert!(judged(&closed, &tree(), ALL).contains("outlives its session"));
        let mut gone = tree();
        gone.nodes.remove("/load/eph/b.4");
        assert_eq!(judged(&closed, &gone, ALL), "");
        // The timeout is 10 ms; its last answer was asked for at 60 µs.
        let expired = |at: u64| {
            let mut record = record("b", 2, Op::Expired, "", at, 0, -1);
            (record.outcome, record.header) = (Outcome::Unknown, 0);
            let mut lost = history();
            lost.push(record);
            lost
        };
        let may = Promise {
            keeps_sessions: false,
            leaders_know: true,
        };
        assert!(judged(&expired(120_000), &gone, ALL).contains("was lost although"));
        assert_eq!(judged(&expired(120_000), &gone, may), "");
        let mut early = expired(120_000);
        early
            .iter_mut()
            .filter(|record| record.op == Op::Open)
            .for_each(|open| open.version = 1000);
        assert!(judged(&early, &gone, may).contains("C12"));
    }
}
