//! What is heavy in a snapshot: its subtrees, nodes, parents, ACLs and sessions.
//!
//! All figures are exact, in bounded memory: a node adds to the deepest subtree that is told apart, those sums lie in
//! a `Tally`, and at the end they are rolled up to the root in the order of their paths. Of all else the largest few
//! are kept. A node counts with the bytes of its path and its data, as `zk_approximate_data_size` does.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use hdrhistogram::Histogram;
use ringkeeper::base::path::{canonical, shown};
use ringkeeper::tree::node::{AclId, Node, Owner, Payload};
use ringkeeper::wire::show::{AclText, Escaped};
use serde_json::{Value, json};

use super::Arguments;
use super::nodes::{order_key, path_of};
use super::read::{self, Item, Kinds, Means, Refused, Snapshot};
use crate::dump::output::{Extent, Object, Output, Table, acl, hex, percent, percentiles};
use crate::dump::tally::{Sum, Tally, Top};

/// For `--help`.
pub const KEYS: &str = "\
With --summary one line of JSON for each file, over the nodes that the filters leave:
  summary     file zxid nodes persistent ephemerals containers ttls dataBytes pathBytes depthMax
              dataLength[mean p50 p90 p99 p99.9 max] nullData emptyContainers ttlMin ttlMax (ms)
              sessions sessionsWithEphemerals orphans (ephemerals of sessions that are not in the snapshot) acls
              subtreesByNodes, subtreesByBytes: lists of path nodes bytes
              largestNodes[path dataLength] mostChildren[path children]
              topAcls[aclId nodes acl] topSessions[session timeout ephemerals]
Subtrees are told apart down to --depth levels below --path (or the root); bytes are those of paths and data.";

/// Reads a snapshot and tells what is heavy in it; nothing of one that is damaged.
///
/// # Errors
/// What the output or a temporary file returned.
pub fn print(
    file: &Path,
    arguments: &Arguments,
    means: &Means<'_>,
    output: &mut Output<'_>,
) -> io::Result<Result<Snapshot, Refused>> {
    let mut sums = Sums::new(arguments, means.memory / 2);
    let filters = &arguments.filters;
    let read = read::read(file, means, &mut |item, kinds| match item {
        Item::Node(path, node) if filters.wants_node(path, &node, kinds.owner(&node)) => sums.node(path, &node, kinds),
        _ => Ok(()),
    })?;
    means.progress.end();
    let snapshot = match read {
        Ok(snapshot) => snapshot,
        Err(refused) => return Ok(Err(refused)),
    };
    if !arguments.quiet {
        let summary = sums.finish(&snapshot)?;
        output.line(|| summary.text(file), || summary.object(file))?;
    }
    Ok(Ok(snapshot))
}

/// A subtree's weight.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    nodes: u64,
    bytes: u64,
}

impl Sum for Weight {
    fn add(&mut self, other: Weight) {
        self.nodes += other.nodes;
        self.bytes += other.bytes;
    }

    fn encode(&self) -> Vec<u8> {
        [self.nodes.to_le_bytes(), self.bytes.to_le_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Weight {
        let long = |at: usize| u64::from_le_bytes(bytes[at..][..8].try_into().expect("eight bytes"));
        Weight {
            nodes: long(0),
            bytes: long(8),
        }
    }
}

/// What is gathered while nodes come.
struct Sums {
    /// Where subtrees begin: the root, or what `--path` says.
    base: String,
    depth: usize,
    top: usize,
    subtrees: Tally<Weight>,
    key: Vec<u8>,
    summary: Summary,
    acls: HashMap<AclId, u64>,
    owners: HashMap<i64, u64>,
}

/// Everything that will be told.
struct Summary {
    kinds: BTreeMap<&'static str, u64>,
    path_bytes: u64,
    data_bytes: u64,
    depth_max: usize,
    lengths: Histogram<u64>,
    largest_bytes: u64,
    null_data: u64,
    empty_containers: u64,
    ttl: Option<(i64, i64)>,
    by_nodes: Top<(String, u64)>,
    by_bytes: Top<(String, u64)>,
    largest: Top<String>,
    most_children: Top<String>,
    acls: Vec<(i64, u64, Vec<ringkeeper::wire::acl::Acl>)>,
    acl_count: usize,
    sessions: Top<(i64, i32)>,
    session_count: usize,
    owner_count: usize,
    orphans: u64,
    zxid: i64,
    depth: usize,
}

impl Sums {
    fn new(arguments: &Arguments, memory: usize) -> Sums {
        let top = arguments.top;
        let base = arguments.filters.path.clone().unwrap_or_default();
        Sums {
            base: canonical(&base).to_owned(),
            depth: arguments.depth,
            top,
            subtrees: Tally::new(memory),
            key: Vec::new(),
            summary: Summary {
                kinds: BTreeMap::new(),
                path_bytes: 0,
                data_bytes: 0,
                depth_max: 0,
                lengths: Histogram::new(3).expect("three digits"),
                largest_bytes: 0,
                null_data: 0,
                empty_containers: 0,
                ttl: None,
                by_nodes: Top::new(top),
                by_bytes: Top::new(top),
                largest: Top::new(top),
                most_children: Top::new(top),
                acls: Vec::new(),
                acl_count: 0,
                sessions: Top::new(top),
                session_count: 0,
                owner_count: 0,
                orphans: 0,
                zxid: 0,
                depth: arguments.depth,
            },
            acls: HashMap::new(),
            owners: HashMap::new(),
        }
    }

    fn node(&mut self, path: &str, node: &Node<'_>, kinds: Kinds) -> io::Result<()> {
        let (summary, owner, length) = (&mut self.summary, kinds.owner(node), node.payload.length() as u64);
        *summary.kinds.entry(read::type_of(owner)).or_default() += 1;
        summary.path_bytes += path.len() as u64;
        summary.data_bytes += length;
        summary.depth_max = summary.depth_max.max(path.matches('/').count());
        summary.lengths.record(length).expect("it grows with what comes");
        summary.largest_bytes = summary.largest_bytes.max(length);
        summary.null_data += u64::from(node.payload == Payload::Null);
        if length > 0 {
            summary.largest.offer(length, || shown(path).to_owned());
        }
        if node.children > 0 {
            summary
                .most_children
                .offer(node.children.into(), || shown(path).to_owned());
        }
        match owner {
            Owner::Nobody => {}
            Owner::Session(session) => *self.owners.entry(session).or_default() += 1,
            Owner::Container => summary.empty_containers += u64::from(node.children == 0),
            Owner::Ttl(ttl) => {
                let (least, most) = summary.ttl.unwrap_or((ttl, ttl));
                summary.ttl = Some((least.min(ttl), most.max(ttl)));
            }
        }
        *self.acls.entry(node.acl).or_default() += 1;
        let weight = Weight {
            nodes: 1,
            bytes: path.len() as u64 + length,
        };
        order_key(subtree_of(path, self.base.len(), self.depth), &mut self.key);
        self.subtrees.add(&self.key, weight)
    }

    /// Rolls the subtrees up, and looks up what the tables of the snapshot say.
    fn finish(self, snapshot: &Snapshot) -> io::Result<Summary> {
        let (mut summary, mut open) = (self.summary, Open::default());
        let mut close = |key: &[u8], weight: Weight| {
            // Above the base there is nothing else.
            if key.len() >= self.base.len() {
                let name = || shown(&path_of(key)).to_owned();
                summary.by_nodes.offer(weight.nodes, || (name(), weight.bytes));
                summary.by_bytes.offer(weight.bytes, || (name(), weight.nodes));
            }
        };
        self.subtrees.finish(&mut |key, weight| {
            open.add(key, weight, &mut close);
            Ok(())
        })?;
        open.close_to(0, &mut close);
        summary.zxid = snapshot.totals.zxid.0 as i64;
        summary.acl_count = self.acls.len();
        let mut acls = Top::new(self.top);
        for (id, nodes) in self.acls {
            acls.offer(nodes, || id);
        }
        let row = |(nodes, id): (u64, &AclId)| (snapshot.acl_number(*id), nodes, snapshot.acl(*id));
        summary.acls = acls.rows().map(row).collect();
        summary.session_count = snapshot.live_sessions().count();
        summary.owner_count = self.owners.len();
        for (session, ephemerals) in self.owners {
            let timeout = snapshot.sessions.get(&session).map_or(0, |record| record.timeout_ms);
            if timeout <= 0 {
                summary.orphans += ephemerals;
            }
            summary.sessions.offer(ephemerals, || (session, timeout));
        }
        Ok(summary)
    }
}

/// The subtree that a node adds to: its own, or the one `depth` levels below the base.
fn subtree_of(path: &str, base: usize, depth: usize) -> &str {
    let below = &path[base..];
    match below.match_indices('/').nth(depth) {
        Some((at, _)) => &path[..base + at],
        None => path,
    }
}

/// The subtrees from the root to the one that was met last, each with what was added to it so far.
#[derive(Default)]
struct Open {
    key: Vec<u8>,
    /// Where each one's key ends in `key`.
    levels: Vec<(usize, Weight)>,
}

impl Open {
    /// Adds to a subtree; keys come in order, so those that are not above it are complete.
    fn add(&mut self, key: &[u8], weight: Weight, close: &mut dyn FnMut(&[u8], Weight)) {
        let is_above =
            |end: usize, open: &[u8]| key.starts_with(&open[..end]) && matches!(key.get(end), None | Some(0));
        let stays = self
            .levels
            .iter()
            .take_while(|(end, _)| is_above(*end, &self.key))
            .count();
        self.close_to(stays, close);
        let mut from = self.levels.last().map_or(0, |(end, _)| *end);
        if self.levels.is_empty() {
            self.levels.push((0, Weight::default()));
        }
        self.key.truncate(from);
        // Those between, of which no node came (filters hide them).
        while from < key.len() {
            let name = key[from + 1..].iter().position(|byte| *byte == 0);
            let end = name.map_or(key.len(), |length| from + 1 + length);
            self.levels.push((end, Weight::default()));
            from = end;
        }
        self.key = key.to_vec();
        self.levels.last_mut().expect("the root at least").1.add(weight);
    }

    /// Closes all but so many levels.
    fn close_to(&mut self, stays: usize, close: &mut dyn FnMut(&[u8], Weight)) {
        while self.levels.len() > stays {
            let (end, weight) = self.levels.pop().expect("more than none");
            close(&self.key[..end], weight);
            if let Some((_, above)) = self.levels.last_mut() {
                above.add(weight);
            }
        }
    }
}

impl Summary {
    fn kind(&self, name: &str) -> u64 {
        self.kinds.get(name).copied().unwrap_or_default()
    }

    fn nodes(&self) -> u64 {
        self.kinds.values().sum()
    }

    fn extent(&self) -> Extent {
        Extent {
            sum: self.data_bytes,
            max: self.largest_bytes,
        }
    }

    fn bytes(&self) -> u64 {
        self.path_bytes + self.data_bytes
    }

    fn text(&self, file: &Path) -> String {
        let [persistent, ephemeral, container, ttl] =
            ["persistent", "ephemeral", "container", "ttl"].map(|name| self.kind(name));
        let mut text = format!(
            "summary {} zxid={}\nznodes {} ({persistent} persistent, {ephemeral} ephemeral, {container} container, {ttl} \
             ttl), {} levels deep\nbytes {} ({} of data, {} of paths)\ndata of a znode {}; {} null\n",
            file.display(),
            hex(self.zxid),
            self.nodes(),
            self.depth_max,
            self.bytes(),
            self.data_bytes,
            self.path_bytes,
            percentiles(&self.lengths, &self.extent()).0,
            self.null_data,
        );
        text.push_str(&format!(
            "sessions {}, ephemerals of {} sessions, {} of sessions that are not there; containers without children {}",
            self.session_count, self.owner_count, self.orphans, self.empty_containers
        ));
        if let Some((least, most)) = self.ttl {
            text.push_str(&format!("; ttl {least}ms to {most}ms"));
        }
        for table in self.tables() {
            text.push_str(&format!("\n\n{table}"));
        }
        text
    }

    fn tables(&self) -> Vec<Table> {
        let quoted = |path: &String| Escaped(path).to_string();
        let by_nodes = Table::new(
            format!("subtrees by znodes, to level {}", self.depth),
            &["znodes", "share", "bytes", "path"],
            self.by_nodes.rows().map(|(nodes, (path, bytes))| {
                vec![
                    nodes.to_string(),
                    percent(nodes, self.nodes()),
                    bytes.to_string(),
                    quoted(path),
                ]
            }),
        );
        let by_bytes = Table::new(
            format!("subtrees by bytes, to level {}", self.depth),
            &["bytes", "share", "znodes", "path"],
            self.by_bytes.rows().map(|(bytes, (path, nodes))| {
                vec![
                    bytes.to_string(),
                    percent(bytes, self.bytes()),
                    nodes.to_string(),
                    quoted(path),
                ]
            }),
        );
        let pairs = |title: &str, what: &str, top: &Top<String>| {
            let rows = top.rows().map(|(size, path)| vec![size.to_string(), quoted(path)]);
            Table::new(title.to_owned(), &[what, "path"], rows)
        };
        let acls = Table::new(
            format!("ACLs by znodes, of {}", self.acl_count),
            &["znodes", "id", "acl"],
            self.acls
                .iter()
                .map(|(id, nodes, entries)| vec![nodes.to_string(), id.to_string(), AclText(entries).to_string()]),
        );
        let sessions = Table::new(
            format!("sessions by ephemerals, of {}", self.owner_count),
            &["ephemerals", "timeout", "session"],
            self.sessions.rows().map(|(ephemerals, (session, timeout))| {
                let timeout = if *timeout > 0 {
                    format!("{timeout}ms")
                } else {
                    "gone".into()
                };
                vec![ephemerals.to_string(), timeout, hex(*session)]
            }),
        );
        vec![
            by_nodes,
            by_bytes,
            pairs("largest znodes", "data bytes", &self.largest),
            pairs("most children", "children", &self.most_children),
            acls,
            sessions,
        ]
    }

    fn object(&self, file: &Path) -> Object {
        let subtrees = |top: &Top<(String, u64)>, size: &str, other: &str| -> Value {
            top.rows()
                .map(|(weight, (path, rest))| json!({"path": path, size: weight, other: rest}))
                .collect()
        };
        let pairs = |top: &Top<String>, what: &str| -> Value {
            top.rows()
                .map(|(size, path)| json!({"path": path, what: size}))
                .collect()
        };
        let acls: Value = self
            .acls
            .iter()
            .map(|(id, nodes, entries)| json!({"aclId": id, "nodes": nodes, "acl": acl(entries)}))
            .collect();
        let sessions: Value = self
            .sessions
            .rows()
            .map(|(ephemerals, (session, timeout))| {
                let timeout = (*timeout > 0).then_some(timeout);
                json!({"session": hex(*session), "timeout": timeout, "ephemerals": ephemerals})
            })
            .collect();
        Object::of_type("summary")
            .with("file", file.display().to_string())
            .with_id("zxid", self.zxid)
            .with("nodes", self.nodes())
            .with("persistent", self.kind("persistent"))
            .with("ephemerals", self.kind("ephemeral"))
            .with("containers", self.kind("container"))
            .with("ttls", self.kind("ttl"))
            .with("dataBytes", self.data_bytes)
            .with("pathBytes", self.path_bytes)
            .with("depthMax", self.depth_max)
            .with("dataLength", percentiles(&self.lengths, &self.extent()).1)
            .with("nullData", self.null_data)
            .with("emptyContainers", self.empty_containers)
            .with("ttlMin", self.ttl.map(|(least, _)| least))
            .with("ttlMax", self.ttl.map(|(_, most)| most))
            .with("sessions", self.session_count)
            .with("sessionsWithEphemerals", self.owner_count)
            .with("orphans", self.orphans)
            .with("acls", self.acl_count)
            .with("subtreesByNodes", subtrees(&self.by_nodes, "nodes", "bytes"))
            .with("subtreesByBytes", subtrees(&self.by_bytes, "bytes", "nodes"))
            .with("largestNodes", pairs(&self.largest, "dataLength"))
            .with("mostChildren", pairs(&self.most_children, "children"))
            .with("topAcls", acls)
            .with("topSessions", sessions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_add_to_the_deepest_subtree_that_is_told_apart() {
        for (path, depth, wanted) in [
            ("", 3, ""),
            ("/a", 0, ""),
            ("/a", 1, "/a"),
            ("/a/b/c", 2, "/a/b"),
            ("/a/b/c", 9, "/a/b/c"),
        ] {
            assert_eq!(subtree_of(path, 0, depth), wanted, "{path} {depth}");
        }
        assert_eq!(subtree_of("/a/b/c/d", 4, 1), "/a/b/c");
        assert_eq!(subtree_of("/a/b", 4, 0), "/a/b");
    }

    #[test]
    fn subtrees_are_rolled_up_even_through_levels_without_a_node() {
        let mut tally = Tally::new(1 << 20);
        let mut key = Vec::new();
        for (path, bytes) in [
            ("/a/b/c", 1),
            ("", 10),
            ("/a/b/d", 100),
            ("/a-b", 1000),
            ("/z/y", 10_000),
        ] {
            order_key(path, &mut key);
            tally.add(&key, Weight { nodes: 1, bytes }).unwrap();
        }
        let (mut open, mut found) = (Open::default(), Vec::new());
        let mut close = |key: &[u8], weight: Weight| found.push((path_of(key), weight.nodes, weight.bytes));
        tally
            .finish(&mut |key, weight| {
                open.add(key, weight, &mut close);
                Ok(())
            })
            .unwrap();
        open.close_to(0, &mut close);
        let wanted = [
            ("/a/b/c", 1, 1),
            ("/a/b/d", 1, 100),
            ("/a/b", 2, 101),
            ("/a", 2, 101),
            ("/a-b", 1, 1000),
            ("/z/y", 1, 10_000),
            ("/z", 1, 10_000),
            ("", 5, 11_111),
        ];
        assert_eq!(
            found,
            wanted.map(|(path, nodes, bytes)| (path.to_owned(), nodes, bytes))
        );
    }
}
