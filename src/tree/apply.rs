//! A transaction becomes the next head (`DataTree#processTxn`): total and deterministic.
//!
//! Nothing here decides whether a change is allowed; that was decided before it became a transaction. A change
//! that finds the tree otherwise than its author did reports it and leaves the rest alone, so that replaying a
//! log over a state that already holds some of it never stops.

use std::sync::Arc;

use super::key::{Key, Kind};
use super::node::{CONTAINER_OWNER, Node, Owner, Payload, Persisted};
use super::quota::{self, Track, stats_path};
use super::session::SessionRecord;
use super::set::Set;
use super::{digest, read, tree::Tree};
use crate::base::Zxid;
use crate::base::path::{self, shown};
use crate::wire::acl::Acl;
use crate::wire::error::ErrorCode;
use crate::wire::stat::Stat;
use crate::wire::txn::{Change, CreateTxn, Txn, TxnHeader};

/// Something that watchers may want to hear of, with the ACLs that say who may.
#[derive(Clone, Debug)]
pub struct Fired {
    /// The transaction.
    pub zxid: i64,
    /// What happened at `path`.
    pub what: What,
    /// The node.
    pub path: Box<str>,
    /// The node's ACL when it happened; `None` is open to everybody.
    pub acl: Option<Arc<[Acl]>>,
    /// The parent's.
    pub parent_acl: Option<Arc<[Acl]>>,
}

/// The kinds of change that watchers hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum What {
    Created,
    Deleted,
    DataChanged,
}

/// What a change did, for the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Outcome {
    Created(String, Stat),
    Deleted,
    DataSet(Stat),
    AclSet(Stat),
    Checked,
    Error(i32),
}

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Applied {
    One(Outcome),
    Multi(Vec<Outcome>),
    Session,
    Error(i32),
}

impl Tree {
    /// Applies a transaction to the head and appends to `fired` what happened, in the order in which it is told.
    pub fn apply(&mut self, header: &TxnHeader, txn: &Txn, fired: &mut Vec<Fired>) -> Applied {
        let applied = match txn {
            Txn::Change(change) => Applied::One(self.apply_change(header, change, fired)),
            Txn::Multi(changes) => Applied::Multi(self.apply_multi(header, changes, fired)),
            Txn::CreateSession { timeout_ms } => {
                self.open_session(header.session, *timeout_ms);
                Applied::Session
            }
            Txn::CloseSession { paths } => {
                self.close_session(header, paths.as_deref().unwrap_or_default(), fired);
                Applied::Session
            }
            Txn::Error(code) => Applied::Error(*code),
        };
        self.finish(header.zxid);
        applied
    }

    /// Makes `zxid` the newest transaction of the head.
    pub fn finish(&mut self, zxid: i64) {
        let zxid = Zxid(zxid as u64);
        if zxid > self.totals.zxid {
            self.totals.zxid = zxid;
            self.log_digest();
        }
    }

    /// A multi with an error in it changes nothing; what stands before the first error reports 0.
    fn apply_multi(&mut self, header: &TxnHeader, changes: &[Change], fired: &mut Vec<Fired>) -> Vec<Outcome> {
        if !changes.iter().any(|change| matches!(change, Change::Error(_))) {
            return changes
                .iter()
                .map(|change| self.apply_change(header, change, fired))
                .collect();
        }
        let mut failed = false;
        let outcome = |change: &Change| match change {
            Change::Error(code) => {
                failed = true;
                Outcome::Error(*code)
            }
            _ if failed => Outcome::Error(ErrorCode::RuntimeInconsistency.code()),
            _ => Outcome::Error(0),
        };
        changes.iter().map(outcome).collect()
    }

    /// Applies one change of the tree; the head's zxid moves only with [`Tree::finish`].
    pub fn apply_change(&mut self, header: &TxnHeader, change: &Change, fired: &mut Vec<Fired>) -> Outcome {
        let done = match change {
            Change::Create {
                path,
                data,
                acl,
                kind,
                parent_cversion,
            } => self.create(header, path, data.as_deref(), acl, *kind, *parent_cversion, fired),
            Change::Delete { path } | Change::DeleteContainer { path } => self.delete(header.zxid, path, fired),
            Change::SetData { path, data, version } => self.set_data(header, path, data.as_deref(), *version, fired),
            Change::SetAcl { path, acl, version } => self.set_acl(path, acl, *version),
            Change::Check { .. } => Ok(Outcome::Checked),
            Change::Error(code) => Ok(Outcome::Error(*code)),
        };
        done.unwrap_or_else(|error| Outcome::Error(error.code()))
    }

    #[allow(clippy::too_many_arguments)]
    fn create(
        &mut self,
        header: &TxnHeader,
        path: &str,
        data: Option<&[u8]>,
        acl: &[Acl],
        kind: CreateTxn,
        parent_cversion: i32,
        fired: &mut Vec<Fired>,
    ) -> Result<Outcome, ErrorCode> {
        let parent = path::parent(path).ok_or(ErrorCode::NoNode)?;
        let found = self.node(parent).ok_or(ErrorCode::NoNode)?;
        let (siblings, parent_acl, parent_has) = (found.children, found.acl, found.stat.cversion);
        let cversion = if parent_cversion == -1 {
            parent_has.wrapping_add(1)
        } else {
            parent_cversion
        };
        let acl = self.intern(acl);
        if let Some(existing) = self.node(path) {
            let replaced = existing.acl;
            self.amend(path, |node| node.acl = acl);
            self.release(replaced);
            if let CreateTxn::Plain { .. } = kind {
                self.raise_cversion(parent, cversion, header.zxid);
            }
            return Err(ErrorCode::NodeExists);
        }
        let owner = match kind {
            CreateTxn::Plain { ephemeral: true } | CreateTxn::WithStat { ephemeral: true } => header.session,
            CreateTxn::Plain { .. } | CreateTxn::WithStat { .. } => 0,
            CreateTxn::Container => CONTAINER_OWNER,
            CreateTxn::Ttl(ttl) => Owner::ttl_field(ttl),
        };
        let stat = Persisted::created(header.zxid, header.time_ms, owner);
        self.children_of(parent, siblings)
            .as_set()
            .insert(&mut self.trie, path::name(path).as_bytes());
        self.amend(parent, |node| {
            node.children += 1;
            if cversion > node.stat.cversion {
                (node.stat.cversion, node.stat.pzxid) = (cversion, header.zxid);
            }
        });
        self.put_node(path, acl, &stat, 0, data);
        self.count_node(path, data.unwrap_or_default(), &stat, 1);
        self.enlist(path, owner);
        self.quota_created(path, data.map_or(0, <[u8]>::len));
        fired.push(self.fired(header.zxid, What::Created, path, acl, Some(parent_acl)));
        let node = Node {
            acl,
            stat,
            children: 0,
            payload: Payload::of(data),
        };
        Ok(Outcome::Created(
            path.to_owned(),
            node.client_stat(self.features.extended_types),
        ))
    }

    /// `DataTree#setCversionPzxid`: only forwards.
    fn raise_cversion(&mut self, path: &str, cversion: i32, zxid: i64) {
        self.amend(path, |node| {
            if cversion > node.stat.cversion {
                (node.stat.cversion, node.stat.pzxid) = (cversion, zxid);
            }
        });
    }

    fn delete(&mut self, zxid: i64, path: &str, fired: &mut Vec<Fired>) -> Result<Outcome, ErrorCode> {
        let parent = path::parent(path).ok_or(ErrorCode::NoNode)?;
        let found = self.node(parent).ok_or(ErrorCode::NoNode)?;
        let (siblings, parent_acl) = (found.children, found.acl);
        let removed = self
            .children_of(parent, siblings)
            .as_set()
            .remove(&mut self.trie, path::name(path).as_bytes());
        // Even if the node is gone already (ZOOKEEPER-3125).
        self.amend(parent, |node| {
            node.children -= removed as u32;
            node.stat.pzxid = node.stat.pzxid.max(zxid);
        });
        let node = self.node(path).ok_or(ErrorCode::NoNode)?;
        let (acl, stat, length) = (node.acl, node.stat, node.payload.length());
        let data = self.data_of(path, &node).to_vec();
        let large = matches!(node.payload, Payload::Large(_));
        let acl_then = self.guard(acl);
        self.trie.remove(Key::node(path).bytes());
        if large {
            self.trie.remove(Key::new(Kind::Data, path.as_bytes()).bytes());
        }
        self.count_node(path, &data, &stat, -1);
        self.release(acl);
        self.delist(path, stat.owner);
        if let Some(subject) = quota::subject(path, quota::LIMITS) {
            self.note_quota(subject, false);
        }
        self.quota_used(path, -1, -(length as i64));
        let parent_acl = self.guard(parent_acl);
        fired.push(Fired {
            zxid,
            what: What::Deleted,
            path: path.into(),
            acl: acl_then,
            parent_acl,
        });
        Ok(Outcome::Deleted)
    }

    fn set_data(
        &mut self,
        header: &TxnHeader,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
        fired: &mut Vec<Fired>,
    ) -> Result<Outcome, ErrorCode> {
        let node = self.node(path).ok_or(ErrorCode::NoNode)?;
        let (acl, old, children) = (node.acl, node.stat, node.children);
        let (was_large, old_length) = (matches!(node.payload, Payload::Large(_)), node.payload.length());
        let stat = Persisted {
            version,
            mzxid: header.zxid,
            mtime: header.time_ms,
            ..old
        };
        if self.features.digest {
            let before = digest::node(path, self.data_of(path, &node), &old);
            let after = digest::node(path, data.unwrap_or_default(), &stat);
            self.totals.digest = self.totals.digest.wrapping_sub(before).wrapping_add(after);
        }
        let payload = Payload::of(data);
        if was_large && !matches!(payload, Payload::Large(_)) {
            self.trie
                .remove(Key::new(Kind::Data, path::canonical(path).as_bytes()).bytes());
        }
        self.put_node(path, acl, &stat, children, data);
        self.totals.bytes = self
            .totals
            .bytes
            .wrapping_add(payload.length() as u64)
            .wrapping_sub(old_length as u64);
        self.quota_used(path, 0, payload.length() as i64 - old_length as i64);
        fired.push(self.fired(header.zxid, What::DataChanged, path, acl, None));
        Ok(Outcome::DataSet(
            Node {
                acl,
                stat,
                children,
                payload,
            }
            .client_stat(self.features.extended_types),
        ))
    }

    fn set_acl(&mut self, path: &str, acl: &[Acl], version: i32) -> Result<Outcome, ErrorCode> {
        let old = self.node(path).ok_or(ErrorCode::NoNode)?.acl;
        // Interned before the old one goes: they may be the same.
        let new = self.intern(acl);
        self.release(old);
        self.amend(path, |node| (node.acl, node.stat.aversion) = (new, version));
        let node = self.node(path).expect("it was just amended");
        Ok(Outcome::AclSet(node.client_stat(self.features.extended_types)))
    }

    fn open_session(&mut self, id: i64, timeout_ms: i32) {
        let ephemerals = self.session(id).map_or(0, |record| record.ephemerals);
        if self.session(id).is_none_or(|record| record.timeout_ms <= 0) {
            self.totals.sessions += 1;
        }
        self.put_session(id, SessionRecord { timeout_ms, ephemerals });
        if timeout_ms > 0 {
            self.session_ids.insert(id);
        }
    }

    /// The listed paths go first, then whatever the session still owns (`DataTree#killSession`).
    fn close_session(&mut self, header: &TxnHeader, paths: &[String], fired: &mut Vec<Fired>) {
        for path in paths {
            // A path that is gone already is no trouble.
            let _ = self.delete(header.zxid, path, fired);
        }
        for path in read::ephemerals(&self.trie, header.session) {
            let _ = self.delete(header.zxid, &path, fired);
        }
        if let Some(record) = self.session(header.session) {
            self.totals.sessions -= (record.timeout_ms > 0) as u32;
            self.trie
                .remove(Key::new(Kind::Session, &header.session.to_be_bytes()).bytes());
        }
        self.session_ids.remove(&header.session);
    }

    fn count_node(&mut self, path: &str, data: &[u8], stat: &Persisted, sign: i64) {
        let bytes = (path.len() + data.len()) as u64;
        let (nodes, bytes) = (sign as u64, if sign > 0 { bytes } else { bytes.wrapping_neg() });
        self.totals.nodes = self.totals.nodes.wrapping_add(nodes);
        self.totals.bytes = self.totals.bytes.wrapping_add(bytes);
        if self.features.digest {
            let share = digest::node(path, data, stat);
            let share = if sign > 0 { share } else { share.wrapping_neg() };
            self.totals.digest = self.totals.digest.wrapping_add(share);
        }
    }

    /// Puts a node on the list that its owner field asks for.
    fn enlist(&mut self, path: &str, owner: i64) {
        let name = path.as_bytes();
        match Owner::of(owner, self.features.extended_types) {
            Owner::Nobody => {}
            Owner::Container => {
                let set = Set {
                    kind: Kind::Containers,
                    owner: b"",
                    count: self.totals.containers,
                };
                self.totals.containers += set.insert(&mut self.trie, name) as u32;
            }
            Owner::Ttl(_) => {
                let set = Set {
                    kind: Kind::Ttls,
                    owner: b"",
                    count: self.totals.ttls,
                };
                self.totals.ttls += set.insert(&mut self.trie, name) as u32;
            }
            Owner::Session(id) => {
                let mut record = self.session(id).unwrap_or(SessionRecord {
                    timeout_ms: 0,
                    ephemerals: 0,
                });
                let set = Set {
                    kind: Kind::Ephemerals,
                    owner: &id.to_be_bytes(),
                    count: record.ephemerals,
                };
                if set.insert(&mut self.trie, name) {
                    record.ephemerals += 1;
                    self.totals.ephemerals += 1;
                }
                self.put_session(id, record);
            }
        }
    }

    fn delist(&mut self, path: &str, owner: i64) {
        let name = path.as_bytes();
        match Owner::of(owner, self.features.extended_types) {
            Owner::Nobody => {}
            Owner::Container => {
                let set = Set {
                    kind: Kind::Containers,
                    owner: b"",
                    count: self.totals.containers,
                };
                self.totals.containers -= set.remove(&mut self.trie, name) as u32;
            }
            Owner::Ttl(_) => {
                let set = Set {
                    kind: Kind::Ttls,
                    owner: b"",
                    count: self.totals.ttls,
                };
                self.totals.ttls -= set.remove(&mut self.trie, name) as u32;
            }
            Owner::Session(id) => {
                let Some(mut record) = self.session(id) else { return };
                let set = Set {
                    kind: Kind::Ephemerals,
                    owner: &id.to_be_bytes(),
                    count: record.ephemerals,
                };
                if set.remove(&mut self.trie, name) {
                    record.ephemerals -= 1;
                    self.totals.ephemerals -= 1;
                }
                if record.timeout_ms == 0 && record.ephemerals == 0 {
                    self.trie.remove(Key::new(Kind::Session, &id.to_be_bytes()).bytes());
                } else {
                    self.put_session(id, record);
                }
            }
        }
    }

    fn quota_created(&mut self, path: &str, bytes: usize) {
        if let Some(subject) = quota::subject(path, quota::LIMITS) {
            self.note_quota(subject, true);
        }
        if let Some(subject) = quota::subject(path, quota::STATS) {
            let (count, bytes) = read::usage(&self.trie, subject);
            self.put_usage(&stats_path(subject), &Track::usage(count, bytes));
        }
        self.quota_used(path, 1, bytes as i64);
    }

    /// Adds to the usage of the quota that rules `path`, in place: no version, no zxid, no watch.
    fn quota_used(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(prefix) = self.quotas.over(path) else { return };
        let stats = stats_path(prefix);
        let Some(node) = self.node(&stats) else { return };
        let Some(mut track) = Track::parse(self.data_of(&stats, &node)) else {
            return;
        };
        track.add(count, bytes);
        self.put_usage(&stats, &track);
    }

    fn put_usage(&mut self, path: &str, track: &Track) {
        let Some(node) = self.node(path) else { return };
        let (acl, stat, children) = (node.acl, node.stat, node.children);
        self.put_node(path, acl, &stat, children, Some(track.text().as_bytes()));
    }

    /// The entries that decide who hears of a change; `None` when everybody may.
    fn guard(&self, id: super::node::AclId) -> Option<Arc<[Acl]>> {
        (id.0 != 0).then(|| Arc::clone(self.acl(id)))
    }

    fn fired(
        &self,
        zxid: i64,
        what: What,
        path: &str,
        acl: super::node::AclId,
        parent: Option<super::node::AclId>,
    ) -> Fired {
        let parent_acl = parent.and_then(|id| self.guard(id));
        Fired {
            zxid,
            what,
            path: shown(path).into(),
            acl: self.guard(acl),
            parent_acl,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::Features;
    use super::*;

    fn tree() -> Tree {
        Tree::new(
            1,
            Features {
                extended_types: true,
                digest: true,
                ..Features::default()
            },
        )
    }

    fn header(zxid: i64) -> TxnHeader {
        TxnHeader {
            session: 9,
            cxid: 1,
            zxid,
            time_ms: 1000,
        }
    }

    fn create(path: &str, data: &[u8], kind: CreateTxn) -> Change {
        Change::Create {
            path: path.into(),
            data: Some(data.into()),
            acl: vec![Acl::anyone(31)],
            kind,
            parent_cversion: -1,
        }
    }

    const PLAIN: CreateTxn = CreateTxn::Plain { ephemeral: false };

    #[test]
    fn the_empty_tree_and_its_first_node_have_javas_digests() {
        let mut tree = tree();
        assert_eq!(tree.totals().digest, 0x51C6_D660);
        assert_eq!(tree.totals().nodes, 4);
        tree.apply(&header(7), &Txn::Change(create("/x", b"v", PLAIN)), &mut vec![]);
        assert_eq!(tree.totals().digest, 0x1_C388_185C);
        tree.apply(
            &header(8),
            &Txn::Change(Change::Delete { path: "/x".into() }),
            &mut vec![],
        );
        assert_eq!(
            tree.node("").unwrap().client_stat(true).cversion,
            1,
            "one creation, one deletion, zookeeper made before"
        );
    }

    #[test]
    fn sessions_own_ephemerals_and_take_them_along() {
        let mut tree = tree();
        let before = tree.totals().digest;
        tree.apply(&header(1), &Txn::CreateSession { timeout_ms: 4000 }, &mut vec![]);
        let nodes = [
            create("/e", b"", CreateTxn::Plain { ephemeral: true }),
            create("/c", b"", CreateTxn::Container),
            create("/t", b"", CreateTxn::Ttl(5)),
        ];
        tree.apply(&header(2), &Txn::Multi(nodes.to_vec()), &mut vec![]);
        let t = *tree.totals();
        assert_eq!(
            (t.ephemerals, t.containers, t.ttls, t.sessions, t.nodes),
            (1, 1, 1, 1, 7)
        );
        assert_eq!(read::ephemerals(&tree.trie, 9), ["/e"]);
        let mut fired = vec![];
        tree.apply(
            &header(3),
            &Txn::CloseSession {
                paths: Some(vec!["/e".into(), "/gone".into()]),
            },
            &mut fired,
        );
        assert_eq!(fired.len(), 1);
        for path in ["/c", "/t"] {
            tree.apply(
                &header(4),
                &Txn::Change(Change::DeleteContainer { path: path.into() }),
                &mut fired,
            );
        }
        let t = *tree.totals();
        assert_eq!(
            (t.ephemerals, t.containers, t.ttls, t.sessions, t.nodes),
            (0, 0, 0, 0, 4)
        );
        assert_ne!(t.digest, before, "the root's cversion and pzxid moved on");
    }

    #[test]
    fn a_failed_multi_changes_nothing() {
        let mut tree = tree();
        let multi = Txn::Multi(vec![create("/a", b"", PLAIN), Change::Error(-101), Change::Error(-2)]);
        let applied = tree.apply(&header(1), &multi, &mut vec![]);
        assert_eq!(
            applied,
            Applied::Multi(vec![Outcome::Error(0), Outcome::Error(-101), Outcome::Error(-2)])
        );
        assert!(tree.node("/a").is_none());
        assert_eq!(tree.totals().zxid, Zxid(1));
    }

    #[test]
    fn large_data_moves_in_and_out_of_its_own_key() {
        let mut tree = tree();
        tree.apply(&header(1), &Txn::Change(create("/a", b"s", PLAIN)), &mut vec![]);
        for length in [10, 5000, 7000, 10, 5000] {
            let data = vec![7; length];
            let set = Change::SetData {
                path: "/a".into(),
                data: Some(data.clone()),
                version: 1,
            };
            tree.apply(&header(2), &Txn::Change(set), &mut vec![]);
            let node = tree.node("/a").unwrap();
            assert_eq!(tree.data_of("/a", &node), data);
        }
        let entries = tree.trie.len();
        tree.apply(
            &header(3),
            &Txn::Change(Change::Delete { path: "/a".into() }),
            &mut vec![],
        );
        assert_eq!(
            tree.trie.len(),
            entries - 2,
            "the node and its large data; its name shared a bucket"
        );
    }

    #[test]
    fn acls_are_counted() {
        let mut tree = tree();
        let start = tree.trie.len();
        let acl = vec![Acl {
            perms: 1,
            id: crate::wire::acl::Id::new("digest", "a:b"),
        }];
        for (zxid, path) in [(1, "/a"), (2, "/b")] {
            let change = Change::Create {
                path: path.into(),
                data: None,
                acl: acl.clone(),
                kind: PLAIN,
                parent_cversion: -1,
            };
            tree.apply(&header(zxid), &Txn::Change(change), &mut vec![]);
        }
        assert_eq!(tree.node("/a").unwrap().acl, tree.node("/b").unwrap().acl);
        tree.apply(
            &header(3),
            &Txn::Change(Change::SetAcl {
                path: "/a".into(),
                acl: vec![Acl::anyone(31)],
                version: 1,
            }),
            &mut vec![],
        );
        tree.apply(
            &header(4),
            &Txn::Change(Change::Delete { path: "/b".into() }),
            &mut vec![],
        );
        tree.apply(
            &header(5),
            &Txn::Change(Change::Delete { path: "/a".into() }),
            &mut vec![],
        );
        assert_eq!(tree.trie.len(), start);
    }

    #[test]
    fn usage_follows_the_nodes_under_a_quota() {
        let mut tree = tree();
        let mut zxid = 0;
        let mut apply = |tree: &mut Tree, change: Change| {
            zxid += 1;
            tree.apply(&header(zxid), &Txn::Change(change), &mut vec![]);
        };
        apply(&mut tree, create("/a", b"12", PLAIN));
        apply(&mut tree, create("/zookeeper/quota/a", b"", PLAIN));
        apply(
            &mut tree,
            create("/zookeeper/quota/a/zookeeper_limits", b"count=5,bytes=-1", PLAIN),
        );
        apply(
            &mut tree,
            create("/zookeeper/quota/a/zookeeper_stats", b"count=0,bytes=0", PLAIN),
        );
        let usage = |tree: &Tree| {
            String::from_utf8(
                tree.data_of(&stats_path("/a"), &tree.node(&stats_path("/a")).unwrap())
                    .to_vec(),
            )
            .unwrap()
        };
        assert_eq!(usage(&tree), "count=1,bytes=2");
        apply(&mut tree, create("/a/b", b"345", PLAIN));
        apply(
            &mut tree,
            Change::SetData {
                path: "/a/b".into(),
                data: None,
                version: 1,
            },
        );
        assert_eq!(usage(&tree), "count=2,bytes=2");
        apply(&mut tree, Change::Delete { path: "/a/b".into() });
        assert_eq!(usage(&tree), "count=1,bytes=2");
    }
}
