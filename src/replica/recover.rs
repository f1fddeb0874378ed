//! From the disk back to a tree: a snapshot's entries, then the log's transactions behind it.
//!
//! A member of an ensemble holds the end of the log back ([`Recovery::holding_back`]): its leader may tell it to forget
//! some of that, and learners may lack it.
//!
//! A digest that differs ends the replay, with one exception. A snapshot that came from a Java leader is ahead of its zxid by
//! what that leader applied while it wrote, so digests differ behind it until the log has caught up (traps.md T-49). So a
//! member's store is forgiven what differs before the first digest that is equal, and nothing after it
//! ([`Recovery::of_store`]); where none is equal until the end, that is told ([`Recovery::doubt`]).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use storage::Zxid;
use storage::engine::{Inspect, Options};
use storage::rewind;
use storage::trie::Trie;

use crate::tree::snapshot::{self, Inspector};
use crate::tree::{Features, Tree};
use crate::wire::txn::{Txn, TxnHeader};
use crate::zab::Proposal;

/// Replaced pieces of the tree are freed after so many transactions.
const RECLAIM_EVERY: u64 = 1024;

/// Builds a tree from what the storage engine hands over.
pub struct Recovery {
    features: Features,
    fresh_seed: u64,
    loading: Option<Loading>,
    tree: Option<Tree>,
    held: VecDeque<Proposal>,
    held_bytes: usize,
    held_max: (usize, usize),
    forgives: bool,
    /// Whether a digest was found equal since the snapshot.
    proven: bool,
    /// The last transaction that was forgiven.
    doubted: Option<Zxid>,
    /// Transactions replayed.
    pub replayed: u64,
}

impl Recovery {
    /// `fresh_seed` is for a tree that no snapshot brings one for.
    pub fn new(features: Features, fresh_seed: u64) -> Recovery {
        Recovery {
            features,
            fresh_seed,
            loading: None,
            tree: None,
            held: VecDeque::new(),
            held_bytes: 0,
            held_max: (0, 0),
            forgives: false,
            proven: false,
            doubted: None,
            replayed: 0,
        }
    }

    /// The last transactions, up to this count and so many bytes, stay out of the tree.
    #[must_use]
    pub fn holding_back(mut self, count: usize, bytes: usize) -> Recovery {
        self.held_max = (count, bytes);
        self
    }

    /// Of this store: if it ever was a member's, its snapshot may be a Java leader's. What is wrong with its manifest is
    /// for who opens it to tell.
    #[must_use]
    pub fn of_store(mut self, options: &Options) -> Recovery {
        self.forgives = matches!(rewind::epochs(options), Ok(epochs) if epochs != (0, 0));
        self
    }

    /// What was forgiven and never made good, for people.
    pub fn doubt(&self) -> Option<String> {
        let zxid = self.doubted.filter(|_| !self.proven)?;
        Some(format!(
            "no digest since the snapshot is its author's, the last one of transaction {zxid}: right behind a snapshot of \
             Apache ZooKeeper that is to be expected; else the tree differs from the other servers'"
        ))
    }

    /// The tree, its last transaction, and what was held back, which follows that.
    pub fn finish_member(self) -> (Tree, Zxid, Vec<Proposal>) {
        let (seed, features) = (self.fresh_seed, self.features);
        let tree = self.tree.unwrap_or_else(|| Tree::new(seed, features));
        let base = tree.totals().zxid;
        (tree, base, self.held.into())
    }

    /// Whether the tree has taken in more than the transactions up to that one.
    pub fn is_beyond(&self, zxid: Zxid) -> bool {
        self.tree.as_ref().is_some_and(|tree| tree.totals().zxid > zxid)
    }

    /// The tree, empty if the disk held nothing.
    pub fn finish(self) -> Tree {
        assert!(self.held.is_empty(), "what is held back is lost here");
        self.tree.unwrap_or_else(|| Tree::new(self.fresh_seed, self.features))
    }

    fn tree(&mut self) -> &mut Tree {
        let (seed, features) = (self.fresh_seed, &self.features);
        self.tree.get_or_insert_with(|| Tree::new(seed, features.clone()))
    }

    /// Takes one record of the log. What does not decode, or leads to another digest than its author's, is no history
    /// to build on.
    pub fn replay(&mut self, zxid: Zxid, payload: &[u8]) -> Result<(), String> {
        if self.held_max == (0, 0) {
            return self.apply(zxid, payload);
        }
        decode(zxid, payload)?;
        self.held_bytes += payload.len();
        let txn = Bytes::copy_from_slice(payload);
        self.held.push_back(Proposal { zxid, txn });
        while self.held.len() > self.held_max.0 || self.held_bytes > self.held_max.1 {
            let Proposal { zxid, txn } = self.held.pop_front().expect("too many are held");
            self.held_bytes -= txn.len();
            self.apply(zxid, &txn)?;
        }
        Ok(())
    }

    fn apply(&mut self, zxid: Zxid, payload: &[u8]) -> Result<(), String> {
        let (header, txn, digest) = decode(zxid, payload)?;
        let tree = self.tree();
        tree.apply(&header, &txn, &mut Vec::new());
        let mine = tree.totals().digest;
        if let Some(digest) = digest.filter(|_| tree.features().digest) {
            if digest != mine && (self.proven || !self.forgives) {
                return Err(format!(
                    "the tree's digest is {mine:x}, the transaction ({txn}) was logged with {digest:x}"
                ));
            }
            match digest == mine {
                true => self.proven = true,
                false => self.doubted = Some(zxid),
            }
        }
        self.replayed += 1;
        if self.replayed.is_multiple_of(RECLAIM_EVERY) {
            // Nobody reads yet: what the replay replaced goes at once, or a long log would need twice its tree.
            self.tree().reclaim(usize::MAX);
        }
        Ok(())
    }
}

/// A transaction, if it is the one that it should be.
pub(super) fn decode(zxid: Zxid, payload: &[u8]) -> Result<(TxnHeader, Txn, Option<u64>), String> {
    let (header, txn, digest) =
        Txn::read(payload).map_err(|error| format!("the transaction does not decode: {error}"))?;
    if header.zxid as u64 != zxid.0 {
        return Err(format!(
            "the record says {zxid}, the transaction in it 0x{:x}",
            header.zxid
        ));
    }
    Ok((header, txn, digest))
}

/// A snapshot that is not whole yet.
struct Loading {
    meta: Vec<u8>,
    inspector: Arc<Inspector>,
    /// The entries, where they come one by one.
    entries: Trie,
}

impl storage::engine::Recover for Recovery {
    fn begin_snapshot(&mut self, _zxid: Zxid, seed: u64, meta: &[u8]) -> Result<(), String> {
        self.loading = Some(Loading {
            meta: meta.to_vec(),
            inspector: Arc::default(),
            entries: Trie::new(seed),
        });
        Ok(())
    }

    fn inspector(&self) -> Option<Arc<dyn Inspect>> {
        let loading = self.loading.as_ref().expect("a snapshot has begun");
        Some(Arc::clone(&loading.inspector) as Arc<dyn Inspect>)
    }

    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let loading = self.loading.as_mut().expect("a snapshot has begun");
        loading.inspector.inspect(&[(key, value)])?;
        loading.entries.put(key, &[value]);
        Ok(())
    }

    fn trie(&mut self, trie: Trie) -> Result<(), String> {
        let Loading { meta, inspector, .. } = self.loading.take().expect("a snapshot has begun");
        self.tree = Some(snapshot::load(&meta, trie, &inspector, self.features.clone())?);
        Ok(())
    }

    fn end_snapshot(&mut self) -> Result<(), String> {
        let one_by_one = self
            .loading
            .as_mut()
            .map(|loading| std::mem::replace(&mut loading.entries, Trie::new(0)));
        one_by_one.map_or(Ok(()), |trie| self.trie(trie))
    }

    fn record(&mut self, zxid: Zxid, payload: &[u8]) -> Result<(), String> {
        self.replay(zxid, payload)
    }
}

impl Inspect for Inspector {
    fn inspect(&self, entries: &[(&[u8], &[u8])]) -> Result<(), String> {
        Inspector::inspect(self, entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::acl::{ALL, Acl};
    use crate::wire::txn::{Change, CreateTxn};

    fn features() -> Features {
        Features {
            digest: true,
            ..Features::default()
        }
    }

    /// Creates of a node each, as their author logged them.
    fn log(names: &[&str]) -> Vec<(Zxid, Vec<u8>)> {
        let mut tree = Tree::new(1, features());
        let record = |(name, zxid): (&&str, i64)| {
            let header = TxnHeader {
                session: 1,
                cxid: 0,
                zxid,
                time_ms: 1,
            };
            let txn = Txn::Change(Change::Create {
                path: (*name).into(),
                data: Some(name.as_bytes().to_vec()),
                acl: vec![Acl::anyone(ALL)],
                kind: CreateTxn::Plain { ephemeral: false },
                parent_cversion: zxid as i32,
            });
            tree.apply(&header, &txn, &mut Vec::new());
            let mut payload = Vec::new();
            txn.append(&header, Some(tree.totals().digest), &mut payload);
            (Zxid(zxid as u64), payload)
        };
        names.iter().zip(1..).map(record).collect()
    }

    /// A tree at zxid 1 that holds what follows up to `ahead` already, as a Java leader's snapshot may.
    fn fuzzy(log: &[(Zxid, Vec<u8>)], ahead: usize) -> Tree {
        let mut tree = Tree::new(1, features());
        for (zxid, payload) in &log[..ahead] {
            let (header, txn, _) = decode(*zxid, payload).unwrap();
            tree.apply(&header, &txn, &mut Vec::new());
        }
        tree.finish(1);
        tree
    }

    fn replay(recovery: Recovery, tree: Tree, log: &[(Zxid, Vec<u8>)]) -> Result<u64, String> {
        let mut recovery = recovery;
        recovery.tree = Some(tree);
        for (zxid, payload) in &log[1..] {
            recovery.apply(*zxid, payload)?;
        }
        Ok(recovery.tree().totals().digest)
    }

    #[test]
    fn a_snapshot_that_is_ahead_of_itself_is_caught_up_with() {
        let log = log(&["/a", "/b", "/c", "/d", "/e"]);
        let exact = replay(Recovery::new(features(), 1), fuzzy(&log, 1), &log).unwrap();
        let member = || Recovery {
            forgives: true,
            ..Recovery::new(features(), 1)
        };
        assert_eq!(replay(member(), fuzzy(&log, 4), &log), Ok(exact));
        let refused = replay(Recovery::new(features(), 1), fuzzy(&log, 4), &log).unwrap_err();
        assert!(
            refused.contains("was logged with"),
            "a lone server has no such snapshot: {refused}"
        );
        // Once it has caught up nothing is forgiven.
        let mut spoiled = log.clone();
        let last = spoiled.last_mut().unwrap();
        *last.1.last_mut().unwrap() ^= 1;
        assert!(replay(member(), fuzzy(&log, 3), &spoiled).is_err());
    }
}
