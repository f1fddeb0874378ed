//! A version becomes the entries of a snapshot, and back.
//!
//! The entries are the trie's own keys and values in trie order, of which the storage engine builds the trie again on
//! several threads; here they are looked at on the way. The totals travel in the snapshot's meta bytes.

use parking_lot::Mutex;
use storage::trie::Trie;

use super::key::Kind;
use super::node::Node;
use super::tree::{Features, Totals, Tree, View};
use crate::base::Zxid;

/// The meta bytes' own version.
const META_VERSION: u8 = 1;
const META_BYTES: usize = 1 + 4 * 8 + 5 * 4;

/// The totals, as a snapshot's meta bytes.
pub fn meta(totals: &Totals) -> Vec<u8> {
    let mut bytes = vec![META_VERSION];
    for long in [totals.zxid.0, totals.nodes, totals.bytes, totals.digest] {
        bytes.extend_from_slice(&long.to_be_bytes());
    }
    for int in [
        totals.sessions,
        totals.ephemerals,
        totals.containers,
        totals.ttls,
        totals.acl_newest,
    ] {
        bytes.extend_from_slice(&int.to_be_bytes());
    }
    assert_eq!(bytes.len(), META_BYTES);
    bytes
}

/// Reads meta bytes; `None` if they are of another version or not whole.
pub fn read_meta(bytes: &[u8]) -> Option<Totals> {
    if bytes.len() != META_BYTES || bytes[0] != META_VERSION {
        return None;
    }
    let long = |index: usize| u64::from_be_bytes(bytes[1 + index * 8..][..8].try_into().expect("eight bytes"));
    let int = |index: usize| u32::from_be_bytes(bytes[33 + index * 4..][..4].try_into().expect("four bytes"));
    Some(Totals {
        zxid: Zxid(long(0)),
        nodes: long(1),
        bytes: long(2),
        digest: long(3),
        sessions: int(0),
        ephemerals: int(1),
        containers: int(2),
        ttls: int(3),
        acl_newest: int(4),
    })
}

impl View {
    /// This version's meta bytes.
    pub fn meta(&self) -> Vec<u8> {
        meta(self.totals())
    }
}

/// What is counted and collected of a snapshot's entries while its trie is built.
#[derive(Default)]
pub struct Inspector {
    found: Mutex<Found>,
}

/// Nodes counted; live sessions and ACL numbers collected.
#[derive(Default)]
pub(super) struct Found {
    nodes: u64,
    pub sessions: Vec<i64>,
    pub acls: Vec<u32>,
}

impl Inspector {
    /// Looks at some entries: each must be what it says it is. Called on several threads.
    pub fn inspect(&self, entries: &[(&[u8], &[u8])]) -> Result<(), String> {
        let mut found = Found::default();
        entries.iter().try_for_each(|(key, value)| found.entry(key, value))?;
        let mut all = self.found.lock();
        all.nodes += found.nodes;
        all.sessions.append(&mut found.sessions);
        all.acls.append(&mut found.acls);
        Ok(())
    }
}

impl Found {
    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let (kind, name) = key.split_first().ok_or("an entry without a key")?;
        match Kind::of(*kind) {
            Some(Kind::Node) => {
                Node::try_decode(value)
                    .ok_or_else(|| format!("node {} is not whole", String::from_utf8_lossy(name)))?;
                self.nodes += 1;
            }
            Some(Kind::Session) => {
                let record = super::session::SessionRecord::decode(value).ok_or("a session is not whole")?;
                let id = name.try_into().map_err(|_| "a session without an id")?;
                if record.timeout_ms > 0 {
                    self.sessions.push(i64::from_be_bytes(id));
                }
            }
            Some(Kind::Acl) => {
                let number = name.try_into().map_err(|_| "an ACL without a number")?;
                self.acls.push(u32::from_be_bytes(number));
            }
            Some(_) => {}
            None => return Err(format!("an entry of the unknown kind {kind:#04x}")),
        }
        Ok(())
    }
}

/// The tree of a snapshot's meta bytes and its entries, which were inspected.
pub fn load(meta: &[u8], trie: Trie, inspector: &Inspector, features: Features) -> Result<Tree, String> {
    let totals = read_meta(meta).ok_or("the snapshot's totals are of an unknown version or not whole")?;
    let found = std::mem::take(&mut *inspector.found.lock());
    let counts = (found.nodes, found.sessions.len());
    if counts != (totals.nodes, totals.sessions as usize) {
        return Err(format!(
            "the snapshot says {} nodes and {} sessions but holds {} and {}",
            totals.nodes, totals.sessions, counts.0, counts.1
        ));
    }
    Ok(Tree::loaded(trie, totals, found, features))
}

#[cfg(test)]
mod tests {
    use storage::trie::{Bulk, Part};

    use super::super::apply::Fired;
    use super::*;
    use crate::wire::acl::{Acl, Id};
    use crate::wire::txn::{Change, CreateTxn, Txn, TxnHeader};

    /// What a snapshot of the view brings back, without its first entries.
    fn reload(view: &View, skipped: usize, features: Features) -> Result<Tree, String> {
        let inspector = Inspector::default();
        let entries: Vec<_> = view.entries().skip(skipped).collect();
        let mut bulk = Bulk::new(view.seed());
        for entries in entries.chunks(50) {
            inspector.inspect(entries)?;
            bulk.push(Part::new(view.seed(), entries.iter().copied()).unwrap())
                .unwrap();
        }
        load(&view.meta(), bulk.finish(), &inspector, features)
    }

    #[test]
    fn a_tree_survives_its_snapshot() {
        let features = Features {
            digest: true,
            ..Features::default()
        };
        let mut tree = Tree::new(3, features.clone());
        let mut fired: Vec<Fired> = vec![];
        let header = |zxid| TxnHeader {
            session: 5,
            cxid: 0,
            zxid,
            time_ms: 1,
        };
        tree.apply(&header(1), &Txn::CreateSession { timeout_ms: 4000 }, &mut fired);
        for n in 0..200 {
            let acl = vec![if n % 2 == 0 {
                Acl::anyone(31)
            } else {
                Acl {
                    perms: 3,
                    id: Id::new("ip", "10.0.0.0/8"),
                }
            }];
            let kind = CreateTxn::Plain { ephemeral: n % 3 == 0 };
            let data = Some(vec![n as u8; n * 50]);
            let change = Change::Create {
                path: format!("/n{n}"),
                data,
                acl,
                kind,
                parent_cversion: -1,
            };
            tree.apply(&header(2 + n as i64), &Txn::Change(change), &mut fired);
        }
        let view = tree.view();
        let mut loaded = reload(&view, 0, features).unwrap();
        assert_eq!(loaded.totals(), tree.totals());
        assert_eq!(
            loaded.sessions().collect::<Vec<_>>(),
            tree.sessions().collect::<Vec<_>>()
        );
        let again = loaded.view();
        assert_eq!(again.entries().count(), view.entries().count());
        for (mine, theirs) in again.entries().zip(view.entries()) {
            assert_eq!(mine, theirs);
        }
        assert_eq!(again.ephemerals(5), view.ephemerals(5));
        // The next creation finds the ACL that the snapshot brought.
        let acl = vec![Acl {
            perms: 3,
            id: Id::new("ip", "10.0.0.0/8"),
        }];
        let change = Change::Create {
            path: "/z".into(),
            data: None,
            acl,
            kind: CreateTxn::Container,
            parent_cversion: -1,
        };
        loaded.apply(&header(999), &Txn::Change(change), &mut fired);
        assert_eq!(loaded.node("/z").unwrap().acl, loaded.node("/n1").unwrap().acl);
    }

    #[test]
    fn a_snapshot_that_lies_is_refused() {
        let mut tree = Tree::new(3, Features::default());
        let view = tree.view();
        let is_node = |(key, _): (&[u8], &[u8])| key[0] == Kind::Node as u8;
        let kept = view.entries().position(is_node).expect("a new tree has nodes");
        assert!(reload(&view, kept, Features::default()).is_ok(), "no node is dropped");
        let error = reload(&view, kept + 1, Features::default()).err().expect("one is");
        assert!(error.contains("says 4 nodes"), "{error}");
        let (inspector, trie) = (Inspector::default(), Trie::new(1));
        assert!(load(&[9; 40], trie, &inspector, Features::default()).is_err());
        let error = inspector.inspect(&[(b"?", b"")]).unwrap_err();
        assert!(error.contains("unknown kind 0x3f"), "{error}");
    }
}
