//! A version becomes the entries of a snapshot, and back.
//!
//! The entries are the trie's own keys and values in trie order, so that loading is plain insertion in an order
//! that is kind to the cache; the totals travel in the snapshot's meta bytes.

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

/// A tree while it is being loaded.
pub struct Loading {
    tree: Tree,
    totals: Totals,
    nodes: u64,
    sessions: u32,
}

impl Loading {
    /// Starts with a snapshot's seed and meta bytes.
    pub fn new(seed: u64, meta: &[u8], features: Features) -> Result<Loading, String> {
        let totals = read_meta(meta).ok_or("the snapshot's totals are of an unknown version or not whole")?;
        Ok(Loading {
            tree: Tree::bare(seed, features),
            totals,
            nodes: 0,
            sessions: 0,
        })
    }

    /// Takes one entry.
    pub fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        match key.first() {
            Some(kind) if *kind == Kind::Node as u8 => {
                Node::try_decode(value)
                    .ok_or_else(|| format!("node {} is not whole", String::from_utf8_lossy(&key[1..])))?;
                self.nodes += 1;
            }
            Some(kind) if *kind == Kind::Session as u8 => {
                let record = super::session::SessionRecord::decode(value).ok_or("a session is not whole")?;
                self.sessions += (record.timeout_ms > 0) as u32;
            }
            Some(_) => {}
            None => return Err("an entry without a key".into()),
        }
        self.tree.trie.put(key, &[value]);
        Ok(())
    }

    /// Checks the counts and gives the tree.
    pub fn finish(mut self) -> Result<Tree, String> {
        if (self.nodes, self.sessions) != (self.totals.nodes, self.totals.sessions) {
            return Err(format!(
                "the snapshot says {} nodes and {} sessions but holds {} and {}",
                self.totals.nodes, self.totals.sessions, self.nodes, self.sessions
            ));
        }
        self.tree.totals = self.totals;
        self.tree.derive();
        Ok(self.tree)
    }
}

#[cfg(test)]
mod tests {
    use super::super::apply::Fired;
    use super::*;
    use crate::wire::acl::{Acl, Id};
    use crate::wire::txn::{Change, CreateTxn, Txn, TxnHeader};

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
        let mut loading = Loading::new(view.seed(), &view.meta(), features).unwrap();
        view.entries()
            .for_each(|(key, value)| loading.entry(key, value).unwrap());
        let mut loaded = loading.finish().unwrap();
        assert_eq!(loaded.totals(), tree.totals());
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
        let mut loading = Loading::new(view.seed(), &view.meta(), Features::default()).unwrap();
        view.entries()
            .skip(1)
            .for_each(|(key, value)| loading.entry(key, value).unwrap());
        let dropped_a_node = view.entries().next().unwrap().0[0] == Kind::Node as u8;
        assert_eq!(loading.finish().is_err(), dropped_a_node);
        assert!(Loading::new(1, &[9; 40], Features::default()).is_err());
    }
}
