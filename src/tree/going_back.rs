//! Sentences about a head that goes back to what clients see: it is the tree as if nothing had been done since, with
//! everything that only the writer keeps beside the trie.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::tree::{Features, Tree};
use crate::wire::acl::{Acl, Id};
use crate::wire::txn::{Change, CreateTxn, Txn, TxnHeader};

#[derive(Clone, Debug)]
enum Step {
    Apply(u8, u8, u8),
    Publish,
    Return,
    Sweep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => any::<(u8, u8, u8)>().prop_map(|(what, which, size)| Step::Apply(what, which, size)),
        2 => Just(Step::Publish),
        1 => Just(Step::Return),
        1 => Just(Step::Sweep),
    ];
    prop::collection::vec(step, 0..200)
}

fn features() -> Features {
    Features {
        digest: true,
        extended_types: true,
        ..Features::default()
    }
}

/// A transaction out of three numbers: every kind, on a few paths and sessions, with a few ACLs.
fn txn(what: u8, which: u8, size: u8) -> Txn {
    let paths = ["/a", "/b", "/a/c", "/a/d", "/b/e", "/a/c/f"];
    let quotas = [
        "/zookeeper/quota/a",
        "/zookeeper/quota/a/zookeeper_limits",
        "/zookeeper/quota/a/zookeeper_stats",
    ];
    let path = paths[which as usize % paths.len()].to_owned();
    let quota = quotas[which as usize % quotas.len()].to_owned();
    let acl = match which % 4 {
        0 => vec![Acl::anyone(crate::wire::acl::ALL)],
        number => vec![Acl {
            perms: 31,
            id: Id::new("digest", format!("user{}:{number}", size % 8)),
        }],
    };
    let data = Some(vec![what; size as usize * if what.is_multiple_of(5) { 200 } else { 1 }]);
    let create = |path, kind| Change::Create {
        path,
        data: data.clone(),
        acl: acl.clone(),
        kind,
        parent_cversion: -1,
    };
    let change = match what % 12 {
        0..3 => create(
            path,
            CreateTxn::Plain {
                ephemeral: size.is_multiple_of(2),
            },
        ),
        3 => create(path, CreateTxn::Container),
        4 => create(path, CreateTxn::Ttl(1 + i64::from(size))),
        5 => Change::Delete { path },
        6 => Change::SetData { path, data, version: 1 },
        7 => Change::SetAcl { path, acl, version: 1 },
        8 => create(quota, CreateTxn::Plain { ephemeral: false }),
        9 => Change::Delete { path: quota },
        10 => return Txn::CreateSession { timeout_ms: 1000 },
        _ => return Txn::CloseSession { paths: None },
    };
    Txn::Change(change)
}

fn replayed(log: &[(TxnHeader, Txn)]) -> Tree {
    let mut tree = Tree::new(3, features());
    log.iter().for_each(|(header, txn)| {
        tree.apply(header, txn, &mut Vec::new());
    });
    tree
}

fn assert_same(tree: &mut Tree, log: &[(TxnHeader, Txn)]) {
    let mut other = replayed(log);
    let (mine, theirs) = (tree.view(), other.view());
    assert_eq!(mine.totals(), theirs.totals());
    assert!(
        mine.entries().eq(theirs.entries()),
        "the same entries in the same order"
    );
    assert!(tree.sessions().eq(other.sessions()));
    assert!(tree.digests().eq(other.digests()));
    let quotas = |tree: &Tree| tree.quotas().iter().map(str::to_owned).collect::<BTreeSet<String>>();
    assert_eq!(quotas(tree), quotas(&other));
    for (id, entries) in mine.acls() {
        assert_eq!(**tree.acl(id), *entries, "the writer's table of ACLs");
    }
}

type Logged = Vec<(TxnHeader, Txn)>;

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// What clients see is gone back to as if nothing had been done since.
    #[test]
    fn a_head_that_goes_back_is_the_tree_that_was_published(steps in steps()) {
        let (mut tree, mut zxid) = (Tree::new(3, features()), 0);
        let mut published = tree.view();
        let (mut log, mut since): (Logged, Logged) = (Vec::new(), Vec::new());
        for step in steps.into_iter().chain([Step::Return]) {
            match step {
                Step::Apply(what, which, size) => {
                    // Often enough, one whose digest is kept.
                    zxid += if size % 16 == 0 { 128 - zxid % 128 } else { 1 };
                    let session = 1 + i64::from(which % 3);
                    let header = TxnHeader { session, cxid: 0, zxid, time_ms: zxid };
                    let txn = txn(what, which, size);
                    if let Txn::Change(Change::Delete { path }) = &txn
                        && tree.node(path).is_some_and(|node| node.children > 0)
                    {
                        // Nobody makes such a transaction.
                        continue;
                    }
                    tree.apply(&header, &txn, &mut Vec::new());
                    since.push((header, txn));
                }
                Step::Publish => {
                    let version = tree.seal();
                    published.advance(&version);
                    log.append(&mut since);
                    tree.reclaim(usize::MAX);
                }
                Step::Return => {
                    tree.return_to(&published, since.drain(..).map(|(header, _)| header.session));
                    assert_same(&mut tree, &log);
                    zxid = tree.totals().zxid.0 as i64;
                }
                Step::Sweep => tree.sweep_acls(&published),
            }
        }
    }
}
