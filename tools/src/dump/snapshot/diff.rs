//! What changed between two snapshots.
//!
//! Both are brought into the order of their paths (in temporary files, if they do not fit `--memory`) and then read
//! side by side, so the seeds, the orders and the formats of the two files do not matter, and what is found is exact.
//! Data are compared by a hash of 128 bits under keys of this very run, unless `--data` carries them anyway. ACLs are
//! compared by what they say, not by their numbers. What an ephemeral's session is called is compared by its id.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::PathBuf;

use ringkeeper::base::path::shown;
use ringkeeper::tree::node::{AclId, Owner, Payload};
use ringkeeper::tree::session::SessionRecord;
use ringkeeper::wire::acl::Acl;
use ringkeeper::wire::show::{AclText, Escaped};
use serde_json::{Map, Value};

use super::listing::{length_text, node_object, node_text, session_object, session_text};
use super::nodes::{Carried, Gather, InOrder, Kept};
use super::read::{self, Item, Snapshot, type_of};
use super::{Arguments, InTurn, judge};
use crate::dump::Verdict;
use crate::dump::output::{Object, Output, acl, data, hex, quoted, time};

/// Every type of line.
pub const TYPES: &[&str] = &[
    "created",
    "deleted",
    "recreated",
    "data",
    "acl",
    "stat",
    "sessionCreated",
    "sessionClosed",
    "sessionChanged",
    "diff",
];

/// For `--help`.
pub const KEYS: &str = "\
With --diff one line for each node that is not the same in both, in the order of their paths, then sessions, then diff:
  created, deleted      path node (an object as above)
  recreated             (deleted and created again: its czxid differs), and
  data                  (was set: bytes, version, mzxid or mtime differ), and
  acl                   (entries or aversion differ, data do not), and
  stat                  (only the rest of the Stat: children came or went):
                        path changed (a list of data, acl, stat) from to: objects with the keys that differ, of
                        dataLength acl children version cversion aversion czxid mzxid pzxid ctime mtime owner ttl type;
                        sameBytes: whether the data are equal; with --data also data
  sessionCreated, sessionClosed, sessionChanged   session timeout ephemerals; timeoutBefore
  diff                  from[file zxid] to[file zxid] and the count of each type
--type also matches what `changed` lists. --zxid, --session and --path hold for a node as it was or as it is.";

/// Of the memory for sorting, what each snapshot's nodes get: a quarter is the readers' own.
const fn share(memory: usize) -> usize {
    memory / 8 * 3
}

/// Reads two snapshots and prints what changed; nothing if one of them is damaged.
///
/// # Errors
/// What the output or a temporary file returned.
pub fn print(
    files: [&PathBuf; 2],
    arguments: &Arguments,
    reading: &mut InTurn<'_>,
    output: &mut Output<'_>,
    err: &mut dyn Write,
) -> io::Result<Verdict> {
    let carried = Carried {
        bytes: arguments.data,
        hash: Some((rand::random(), rand::random())),
    };
    let (mut sides, mut worst) = (Vec::new(), Verdict::Clean);
    for file in files {
        reading.next(file);
        let mut gather = Gather::new(share(reading.means.memory), carried);
        let filters = &arguments.filters;
        let wanted = |item: &Item<'_>| filters.wants_path([item.path()].into_iter());
        let read = read::read(file, reading.means, &mut |item, _| match wanted(&item) {
            true => gather.push(&item),
            false => Ok(()),
        })?;
        reading.means.progress.end();
        let (verdict, summary) = judge(&read);
        writeln!(err, "{}: {summary}", file.display())?;
        worst = worst.max(verdict);
        if let Ok(snapshot) = read {
            sides.push((snapshot, gather));
        }
    }
    // A snapshot whose contents cannot be is told as it is, but there is no telling what changed in it.
    let Ok([(from, from_nodes), (to, to_nodes)]) = <[(Snapshot, Gather); 2]>::try_from(sides) else {
        return Ok(worst);
    };
    if worst != Verdict::Clean {
        return Ok(worst);
    }
    let mut comparison = Comparison {
        meanings: meanings([&from, &to]),
        snapshots: [&from, &to],
        arguments,
        output,
        counts: BTreeMap::new(),
    };
    comparison.nodes(from_nodes.finish()?, to_nodes.finish()?)?;
    comparison.sessions()?;
    comparison.end(files)?;
    let differ = comparison.counts.values().any(|count| *count > 0);
    let counts: Vec<String> = comparison
        .counts
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    match differ {
        true => writeln!(err, "they differ: {}", counts.join(", "))?,
        false => writeln!(err, "they do not differ")?,
    }
    Ok(if differ { Verdict::Different } else { Verdict::Clean })
}

/// Numbers for ACLs that are equal where the ACLs are, though each snapshot has its own.
fn meanings(snapshots: [&Snapshot; 2]) -> [HashMap<AclId, usize>; 2] {
    let mut known: HashMap<Vec<Acl>, usize> = HashMap::new();
    snapshots.map(|snapshot| {
        let ids = std::iter::once(AclId(0)).chain(snapshot.acls.keys().copied().map(AclId));
        let numbered = ids.map(|id| {
            let next = known.len();
            (id, *known.entry(snapshot.acl(id)).or_insert(next))
        });
        numbered.collect()
    })
}

struct Comparison<'a, 'w> {
    snapshots: [&'a Snapshot; 2],
    /// What each side's ACLs mean.
    meanings: [HashMap<AclId, usize>; 2],
    arguments: &'a Arguments,
    output: &'a mut Output<'w>,
    /// How many lines of each type.
    counts: BTreeMap<&'static str, u64>,
}

impl Comparison<'_, '_> {
    fn nodes(&mut self, mut from: InOrder, mut to: InOrder) -> io::Result<()> {
        let (mut old, mut new) = (from.next()?, to.next()?);
        loop {
            let order = match (&old, &new) {
                (None, None) => return Ok(()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(old), Some(new)) => old.path.split('/').cmp(new.path.split('/')),
            };
            if order.is_eq() {
                if let (Some(old), Some(new)) = (&old, &new) {
                    self.both(old, new)?;
                }
            } else if let Some(gone) = old.as_ref().filter(|_| order.is_lt()) {
                self.one("deleted", 0, gone)?;
            } else if let Some(come) = new.as_ref().filter(|_| order.is_gt()) {
                self.one("created", 1, come)?;
            }
            if order.is_le() {
                old = from.next()?;
            }
            if order.is_ge() {
                new = to.next()?;
            }
        }
    }

    /// A node that only one side has.
    fn one(&mut self, word: &'static str, side: usize, kept: &Kept) -> io::Result<()> {
        if !self.arguments.filters.wants_type(&[word]) || !self.wants(side, kept) {
            return Ok(());
        }
        let (snapshot, with_data) = (self.snapshots[side], self.arguments.data);
        let text = || format!("{word} {}", node_text(snapshot, kept, with_data));
        let object = || {
            Object::of_type(word)
                .with("path", shown(&kept.path))
                .with("node", node_object(snapshot, kept, with_data))
        };
        self.line(word, text, object)
    }

    /// A node that both sides have.
    fn both(&mut self, old: &Kept, new: &Kept) -> io::Result<()> {
        let (a, b) = (old.node(), new.node());
        let null = |payload| payload == Payload::Null;
        let same_bytes =
            old.hash == new.hash && a.payload.length() == b.payload.length() && null(a.payload) == null(b.payload);
        let same_acl = self.meanings[0].get(&a.acl) == self.meanings[1].get(&b.acl);
        if same_bytes && same_acl && a.stat == b.stat && a.children == b.children {
            return Ok(());
        }
        let set = |stat: &ringkeeper::tree::node::Persisted| (stat.version, stat.mzxid, stat.mtime);
        let data_changed = !same_bytes || set(&a.stat) != set(&b.stat);
        let acl_changed = !same_acl || a.stat.aversion != b.stat.aversion;
        let rest =
            |stat: &ringkeeper::tree::node::Persisted| (stat.czxid, stat.ctime, stat.cversion, stat.pzxid, stat.owner);
        let stat_changed = rest(&a.stat) != rest(&b.stat) || a.children != b.children;
        let changed: Vec<&'static str> = [("data", data_changed), ("acl", acl_changed), ("stat", stat_changed)]
            .into_iter()
            .filter_map(|(word, changed)| changed.then_some(word))
            .collect();
        let word = if a.stat.czxid == b.stat.czxid {
            changed[0]
        } else {
            "recreated"
        };
        let filters = &self.arguments.filters;
        let of_type = filters.wants_type(&[word]) || filters.wants_type(&changed);
        if !of_type || !(self.wants(0, old) || self.wants(1, new)) {
            return Ok(());
        }
        let fields = self.fields(old, new, same_bytes, same_acl);
        let text = || changed_text(word, &new.path, &fields, data_changed && same_bytes);
        let object = || changed_object(word, &new.path, &changed, &fields, same_bytes);
        self.line(word, text, object)
    }

    /// Whether the filters but those of type and path want a node as it is on one side.
    fn wants(&self, side: usize, kept: &Kept) -> bool {
        let (filters, node) = (&self.arguments.filters, kept.node());
        let of_session = match self.snapshots[side].kinds.owner(&node) {
            Owner::Session(session) => filters.wants_session(session),
            _ => filters.session.is_none(),
        };
        of_session && filters.wants_zxid(&[node.stat.czxid, node.stat.mzxid, node.stat.pzxid])
    }

    /// What differs in a node, by the keys of its line.
    fn fields(&self, old: &Kept, new: &Kept, same_bytes: bool, same_acl: bool) -> Vec<Field> {
        let [was, is] = [(0, old), (1, new)].map(|(side, kept)| self.all_fields(side, kept));
        let differs = |was: &Field, is: &Field| match was.name {
            // Bytes may change and their count not.
            "data" | "dataLength" => !same_bytes,
            "acl" => !same_acl,
            _ => was.from != is.from,
        };
        was.into_iter()
            .zip(is)
            .filter(|(was, is)| differs(was, is))
            .map(|(was, is)| Field { to: is.from, ..was })
            .collect()
    }

    /// Every key of a node on one side, as `from`.
    fn all_fields(&self, side: usize, kept: &Kept) -> Vec<Field> {
        let (snapshot, node) = (self.snapshots[side], kept.node());
        let (owner, stat) = (snapshot.kinds.owner(&node), node.client_stat(snapshot.kinds.extended));
        let length = (node.payload != Payload::Null).then(|| node.payload.length());
        let entries = snapshot.acl(node.acl);
        let number = |name, number: i64| Field::new(name, number.to_string(), number.into());
        let id = |name, id: i64| Field::new(name, hex(id), hex(id).into());
        let at = |name, ms: i64| Field::new(name, time(ms), ms.into());
        let (session, ttl) = match owner {
            Owner::Session(session) => (Some(session), None),
            Owner::Ttl(ttl) => (None, Some(ttl)),
            Owner::Nobody | Owner::Container => (None, None),
        };
        let none = || "none".to_owned();
        let mut fields = vec![
            Field::new("type", type_of(owner).to_owned(), type_of(owner).into()),
            number("version", stat.version.into()),
            Field::new("dataLength", length_text(&node), length.into()),
            Field::new("acl", AclText(&entries).to_string(), acl(&entries)),
            number("aversion", stat.aversion.into()),
            number("children", stat.num_children.into()),
            number("cversion", stat.cversion.into()),
            id("czxid", stat.czxid),
            id("mzxid", stat.mzxid),
            id("pzxid", stat.pzxid),
            at("ctime", stat.ctime),
            at("mtime", stat.mtime),
            Field::new("owner", session.map_or_else(none, hex), session.map(hex).into()),
            Field::new("ttl", ttl.map_or_else(none, |ttl| format!("{ttl}ms")), ttl.into()),
        ];
        if self.arguments.data {
            let bytes = kept.data();
            fields.push(Field::new(
                "data",
                bytes.map_or_else(|| "null".into(), quoted),
                data(bytes),
            ));
        }
        fields
    }

    fn sessions(&mut self) -> io::Result<()> {
        let filters = &self.arguments.filters;
        if !filters.wants_tables() {
            return Ok(());
        }
        let [old, new] = self
            .snapshots
            .map(|snapshot| snapshot.live_sessions().collect::<BTreeMap<_, _>>());
        let mut all: Vec<i64> = old.keys().chain(new.keys()).copied().collect();
        all.sort_unstable();
        all.dedup();
        for id in all.into_iter().filter(|id| filters.wants_session(*id)) {
            let (word, record) = match (old.get(&id), new.get(&id)) {
                (Some(was), Some(is)) if was.timeout_ms != is.timeout_ms => ("sessionChanged", *is),
                (Some(was), None) => ("sessionClosed", *was),
                (None, Some(is)) => ("sessionCreated", *is),
                _ => continue,
            };
            if filters.wants_type(&[word]) {
                self.session(
                    word,
                    id,
                    record,
                    old.get(&id).filter(|_| word == "sessionChanged").copied(),
                )?;
            }
        }
        Ok(())
    }

    fn session(
        &mut self,
        word: &'static str,
        id: i64,
        record: &SessionRecord,
        before: Option<&SessionRecord>,
    ) -> io::Result<()> {
        let text = || match before {
            Some(before) => format!(
                "{word} 0x{id:x} timeout={}ms->{}ms",
                before.timeout_ms, record.timeout_ms
            ),
            None => session_text(word, id, record),
        };
        let object = || match before {
            Some(before) => session_object(word, id, record).with("timeoutBefore", before.timeout_ms),
            None => session_object(word, id, record),
        };
        self.line(word, text, object)
    }

    fn line(
        &mut self,
        word: &'static str,
        text: impl FnOnce() -> String,
        object: impl FnOnce() -> Object,
    ) -> io::Result<()> {
        *self.counts.entry(word).or_default() += 1;
        match self.arguments.quiet {
            true => Ok(()),
            false => self.output.line(text, object),
        }
    }

    /// The last line: what was compared, and the counts.
    fn end(&mut self, files: [&PathBuf; 2]) -> io::Result<()> {
        if self.arguments.quiet || !self.arguments.filters.wants_type(&["diff"]) {
            return Ok(());
        }
        let sides = [0, 1].map(|side| (files[side], self.snapshots[side].totals.zxid));
        let counted = TYPES.iter().filter(|word| **word != "diff");
        let counts: Vec<(&str, u64)> = counted
            .map(|word| (*word, self.counts.get(word).copied().unwrap_or_default()))
            .collect();
        let text = || {
            let [from, to] = sides.map(|(file, zxid)| format!("{} zxid={zxid}", file.display()));
            let counts: Vec<String> = counts.iter().map(|(word, count)| format!("{word}={count}")).collect();
            format!("diff {from} {to} {}", counts.join(" "))
        };
        let object = || {
            let [from, to] = sides.map(|(file, zxid)| {
                Object::default()
                    .with("file", file.display().to_string())
                    .with_id("zxid", zxid.0 as i64)
            });
            let object = Object::of_type("diff").with("from", from).with("to", to);
            counts
                .iter()
                .fold(object, |object, (word, count)| object.with(word, *count))
        };
        self.output.line(text, object)
    }
}

/// A key whose value differs; a side's text and JSON.
struct Field {
    name: &'static str,
    from: (String, Value),
    to: (String, Value),
}

impl Field {
    fn new(name: &'static str, text: String, value: Value) -> Field {
        Field {
            name,
            from: (text, value),
            to: Default::default(),
        }
    }
}

fn changed_text(word: &str, path: &str, fields: &[Field], same_bytes: bool) -> String {
    let mut text = format!("{word} {}", Escaped(shown(path)));
    for field in fields {
        text.push_str(&format!(" {}={}->{}", field.name, field.from.0, field.to.0));
    }
    if same_bytes {
        text.push_str(" (the same bytes)");
    }
    text
}

fn changed_object(word: &str, path: &str, changed: &[&str], fields: &[Field], same_bytes: bool) -> Object {
    let (mut from, mut to) = (Map::new(), Map::new());
    for field in fields {
        from.insert(field.name.to_owned(), field.from.1.clone());
        to.insert(field.name.to_owned(), field.to.1.clone());
    }
    Object::of_type(word)
        .with("path", shown(path))
        .with("changed", changed.to_vec())
        .with("sameBytes", same_bytes)
        .with("from", from)
        .with("to", to)
}
