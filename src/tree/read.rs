//! Reads: pure functions of a version. Paths are looked up as they come; an odd one is simply not there.

use std::borrow::Cow;
use std::sync::Arc;

use super::acl::{Policy, authorize};
use super::key::{Key, Kind, Look};
use super::node::{AclId, Node};
use super::session::SessionRecord;
use super::set::Set;
use super::tree::{ChildrenOf, View, data_of, read_acl};
use crate::base::path;
use crate::wire::acl::{Acl, Id};
use crate::wire::jute::Writer;
use crate::wire::stat::Stat;

impl View {
    /// The node at a path.
    pub fn node(&self, path: &str) -> Option<Node<'_>> {
        node(&self.reader, path)
    }

    /// Its Stat.
    pub fn stat(&self, node: &Node<'_>) -> Stat {
        node.client_stat(self.extended_types)
    }

    /// Its data; `None` when that is null.
    pub fn data<'v>(&'v self, path: &str, node: &Node<'v>) -> Option<&'v [u8]> {
        (node.payload != super::node::Payload::Null).then(|| data_of(&self.reader, path, node))
    }

    /// Whether `ids` may do `perm` with a node of this ACL.
    pub fn allows(&self, policy: &Policy, acl: AclId, perm: i32, ids: &[Id]) -> bool {
        acl.0 == 0 || authorize(policy, &self.acl(acl), perm, ids)
    }

    /// The entries of an ACL.
    pub fn acl(&self, id: AclId) -> Cow<'static, [Acl]> {
        if id.0 == 0 {
            return Cow::Owned(vec![Acl::anyone(crate::wire::acl::ALL)]);
        }
        let (_, entries) = read_acl(&self.reader, id).expect("a version holds the ACLs of its nodes");
        Cow::Owned(entries)
    }

    /// The ACL that guards a node against watchers; `None` when it is open.
    pub fn guard(&self, node: &Node<'_>) -> Option<Arc<[Acl]>> {
        (node.acl.0 != 0).then(|| self.acl(node.acl).into())
    }

    /// Appends a node's children as the wire wants them: a count, then names.
    pub fn write_children(&self, path: &str, node: &Node<'_>, w: &mut Writer<'_>) {
        w.int(node.children as i32);
        let children = ChildrenOf {
            path: path::canonical(path),
            count: node.children,
        };
        children.as_set().for_each_bucket(&self.reader, |bucket| w.raw(bucket));
    }

    /// All descendants, the node itself not counted (`DataTree#getAllChildrenNumber`).
    pub fn all_children_number(&self, path: &str) -> u64 {
        match path {
            "/" => self.totals.nodes - 1,
            // Java keeps the root under two names, and one of them starts with the other.
            "" => self.totals.nodes,
            _ => count_below(&self.reader, path),
        }
    }

    /// A session's ephemerals.
    pub fn ephemerals(&self, session: i64) -> Vec<String> {
        ephemerals(&self.reader, session)
    }

    /// Containers and TTL nodes, candidates for the reaper.
    pub fn reapable(&self) -> Vec<String> {
        let mut paths = Vec::new();
        for (kind, count) in [
            (Kind::Containers, self.totals.containers),
            (Kind::Ttls, self.totals.ttls),
        ] {
            let set = Set {
                kind,
                owner: b"",
                count,
            };
            set.for_each(&self.reader, |path| {
                paths.push(String::from_utf8_lossy(path).into_owned())
            });
        }
        paths
    }
}

/// The node at a path of anything that can be looked at.
pub(super) fn node<'t>(look: &'t impl Look, path: &str) -> Option<Node<'t>> {
    look.look(Key::node(path).bytes()).map(Node::decode)
}

/// A session's ephemerals, sorted.
pub(super) fn ephemerals(look: &impl Look, session: i64) -> Vec<String> {
    let id = session.to_be_bytes();
    let Some(record) = look
        .look(Key::new(Kind::Session, &id).bytes())
        .and_then(SessionRecord::decode)
    else {
        return vec![];
    };
    let set = Set {
        kind: Kind::Ephemerals,
        owner: &id,
        count: record.ephemerals,
    };
    let mut paths = Vec::with_capacity(record.ephemerals as usize);
    set.for_each(look, |path| paths.push(String::from_utf8_lossy(path).into_owned()));
    paths.sort_unstable();
    paths
}

/// Visits a node and all below it; its own children are looked up only when it has some.
fn walk<'t>(look: &'t impl Look, top: &str, mut visit: impl FnMut(&str, &Node<'t>)) {
    let mut waiting = vec![path::canonical(top).to_owned()];
    while let Some(path) = waiting.pop() {
        let Some(found) = node(look, &path) else { continue };
        visit(&path, &found);
        let children = ChildrenOf {
            path: &path,
            count: found.children,
        };
        children.as_set().for_each(look, |name| {
            waiting.push(format!("{path}/{}", String::from_utf8_lossy(name)))
        });
    }
}

/// Paths of a node and all below it.
pub(super) fn subtree(look: &impl Look, top: &str) -> Vec<String> {
    let mut paths = Vec::new();
    walk(look, top, |path, _| paths.push(path.to_owned()));
    paths
}

fn count_below(look: &impl Look, top: &str) -> u64 {
    let mut count = 0u64;
    walk(look, top, |_, _| count += 1);
    count.saturating_sub(1)
}

/// Nodes and data bytes of a subtree, for quotas (`DataTree#getCounts`).
pub(super) fn usage(look: &impl Look, top: &str) -> (i64, i64) {
    let (mut count, mut bytes) = (0, 0);
    walk(look, top, |_, node| {
        count += 1;
        bytes += node.payload.length() as i64;
    });
    (count, bytes)
}
