//! What one writer sent and what was acknowledged, and whether the server's tree agrees.
//!
//! A writer has one connection, so its writes are applied in the order they were sent: the tree must be what the
//! first n operations make, with n at least the number acknowledged and at most the number sent.

use std::collections::BTreeMap;

use crate::peers::RawClient;
use crate::peers::jute::{In, Out};

/// A write of a writer; names are relative to its subtree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// create `n<number>` with its number as data.
    Create(u32),
    /// setData `n<number>`.
    Set(u32, u32),
    /// delete `n<number>`.
    Delete(u32),
    /// create `q-` sequential.
    Sequential,
    /// multi: setData `left` and `right` to the same text.
    Both(u32),
    /// multi that fails at its second operation: setData `left`, check `n<none>`.
    Failing,
}

/// A node as the writer expects it: data and version.
type Nodes = BTreeMap<String, (String, i32)>;

/// One writer's log over all rounds.
pub struct Ledger {
    number: usize,
    /// The tree that all rounds before this one left.
    base: Nodes,
    /// Creations under the subtree so far: the next sequential number.
    created: u32,
    /// This round's operations in the order they were sent.
    pub sent: Vec<Write>,
    /// The first so many of them were acknowledged.
    pub acknowledged: usize,
    highest: i64,
    /// Whether the subtree's root and its two halves are there.
    pub prepared: bool,
}

impl Ledger {
    /// The log of a writer that has written nothing.
    pub fn new(number: usize) -> Self {
        Self {
            number,
            base: Nodes::new(),
            created: 0,
            sent: Vec::new(),
            acknowledged: 0,
            highest: 0,
            prepared: false,
        }
    }

    /// The subtree's root.
    pub fn root(&self) -> String {
        format!("/w{}", self.number)
    }

    /// The ephemeral that stands for the writer's session.
    pub fn ephemeral(&self) -> String {
        format!("/e{}", self.number)
    }

    /// Notes a reply's zxid: on one connection they never go back, and a kill must not make them.
    pub fn note_zxid(&mut self, zxid: i64) {
        assert!(
            zxid >= self.highest,
            "writer {}: zxid {zxid:#x} after {:#x}",
            self.number,
            self.highest
        );
        self.highest = zxid;
    }

    /// The highest zxid that this writer was shown.
    pub fn highest_zxid(&self) -> i64 {
        self.highest
    }

    /// The state that a new round starts from.
    pub fn nodes(&self) -> &Nodes {
        &self.base
    }

    /// What is known before the first round: the nodes that `Writer` makes while nothing is killed.
    pub fn found(&mut self, nodes: Nodes) {
        self.created = nodes.len() as u32;
        self.base = nodes;
        self.prepared = true;
    }

    /// Reads the subtree back, fails unless it is what a prefix of the sent operations makes that holds all
    /// acknowledged ones, takes it as the base of the next round, and gives the number of acknowledged ones.
    pub fn check(&mut self, reader: &mut RawClient, what: &str) -> usize {
        if !self.prepared {
            return 0;
        }
        let (there, created_there) = self.read(reader);
        let (mut nodes, mut created) = (self.base.clone(), self.created);
        let mut matching = None;
        for applied in 0..=self.sent.len() {
            // The parent's count of creations tells prefixes apart that differ by a create and its delete.
            if applied >= self.acknowledged && nodes == there && created == created_there {
                matching = Some(applied);
            }
            if let Some(write) = self.sent.get(applied) {
                apply(write, &mut nodes, &mut created);
            }
        }
        if matching.is_none() {
            self.fail(&there, what)
        }
        let acknowledged = self.acknowledged;
        self.base = there;
        self.created = created_there;
        self.sent.clear();
        self.acknowledged = 0;
        acknowledged
    }

    /// The children with data and version, and how many were ever created.
    fn read(&self, reader: &mut RawClient) -> (Nodes, u32) {
        let root = self.root();
        let listed = reader.call(3, 12, &Out::new().string(&root).bool(false).0, &mut Vec::new());
        let mut input = In::new(&listed.body);
        let names = input.strings().expect("the children");
        let parent = input.stat().expect("the parent's Stat");
        // Shown is twice the creations less the children (`DataNode#copyStat`).
        let created = (parent.cversion + parent.num_children) / 2;
        let node = |name: &String| {
            let path = format!("{root}/{name}");
            let reply = reader.call(4, 4, &Out::new().string(&path).bool(false).0, &mut Vec::new());
            let mut input = In::new(&reply.body);
            let data = input.string().expect("data");
            let stat = input.stat().expect("a Stat");
            assert_eq!(stat.data_length as usize, data.len(), "{path}");
            assert!(stat.czxid <= stat.mzxid, "{path}: {stat:?}");
            (name.clone(), (data, stat.version))
        };
        (names.iter().map(node).collect(), created as u32)
    }

    /// Says what is missing or too much against the acknowledged state.
    fn fail(&self, there: &Nodes, what: &str) -> ! {
        let (mut nodes, mut created) = (self.base.clone(), self.created);
        self.sent[..self.acknowledged]
            .iter()
            .for_each(|write| apply(write, &mut nodes, &mut created));
        let mut differences: Vec<String> = nodes
            .iter()
            .filter(|(name, node)| there.get(*name) != Some(node))
            .map(|(name, node)| format!("{name}: acknowledged {node:?}, there {:?}", there.get(name)))
            .collect();
        differences.extend(
            there
                .iter()
                .filter(|(name, _)| !nodes.contains_key(*name))
                .map(|(name, node)| format!("{name}: extra {node:?}")),
        );
        let unanswered: Vec<_> = self.sent[self.acknowledged..].iter().take(20).collect();
        panic!(
            "{what}: the tree of writer {} is no prefix of what it sent ({} acknowledged, {} sent, unanswered \
             {unanswered:?}); against the acknowledged state:\n{}",
            self.number,
            self.acknowledged,
            self.sent.len(),
            differences.join("\n")
        );
    }
}

/// The model of the operations, failures included.
fn apply(write: &Write, nodes: &mut Nodes, created: &mut u32) {
    let set = |nodes: &mut Nodes, name: &str, data: String| {
        if let Some(node) = nodes.get_mut(name) {
            *node = (data, node.1.wrapping_add(1));
        }
    };
    match write {
        Write::Create(number) => {
            let name = format!("n{number}");
            nodes.entry(name).or_insert_with(|| {
                *created += 1;
                (number.to_string(), 0)
            });
        }
        Write::Set(number, value) => set(nodes, &format!("n{number}"), value.to_string()),
        Write::Delete(number) => {
            nodes.remove(&format!("n{number}"));
        }
        Write::Sequential => {
            nodes.insert(format!("q-{created:010}"), (String::new(), 0));
            *created += 1;
        }
        Write::Both(value) => {
            set(nodes, "left", value.to_string());
            set(nodes, "right", value.to_string());
        }
        Write::Failing => {}
    }
}
