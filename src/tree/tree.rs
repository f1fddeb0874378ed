//! The writer's head, its published versions, and what a core reads.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use storage::trie::{self, Trie};

use super::key::{Key, Kind, Look};
use super::node::{AclId, Node, Payload, Persisted};
use super::quota::QuotaPaths;
use super::session::SessionRecord;
use super::snapshot::Found;
use super::{acl, digest};
use crate::base::Zxid;
use crate::base::limits::{DIGEST_LOG_INTERVAL, DIGEST_LOG_MAX};
use crate::base::path::{self, CONFIG, QUOTA, ZOOKEEPER};
use crate::wire::acl::{Acl, READ, read_list, write_list};
use crate::wire::jute::{Reader as JuteReader, Writer as JuteWriter};

/// From so many ACLs on it is worth while to look for those that nobody has.
const SWEEP_AT: usize = if cfg!(test) { 4 } else { 1024 };

/// Configuration that decides how transactions apply; equal on all servers of an ensemble.
#[derive(Clone, Default)]
pub struct Features {
    /// TTL nodes.
    pub extended_types: bool,
    /// Whether digests are kept.
    pub digest: bool,
    /// Who may do what.
    pub policy: acl::Policy,
}

/// Counts and sums of a version: everything about it that is not in the trie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Totals {
    /// The last transaction applied.
    pub zxid: Zxid,
    /// Nodes, the root included.
    pub nodes: u64,
    /// Path and data bytes (`DataTree#approximateDataSize`).
    pub bytes: u64,
    /// Sessions.
    pub sessions: u32,
    /// Ephemeral nodes.
    pub ephemerals: u32,
    /// Containers.
    pub containers: u32,
    /// TTL nodes.
    pub ttls: u32,
    /// The newest ACL number.
    pub acl_newest: u32,
    /// The tree's digest.
    pub digest: u64,
}

/// A published version: a sealed trie and its totals.
#[derive(Clone)]
pub struct Version {
    /// The trie's part.
    pub trie: trie::Version,
    /// The rest.
    pub totals: Totals,
}

/// What one core (or a snapshot) reads: a pinned version.
#[derive(Clone)]
pub struct View {
    pub(super) reader: trie::Reader,
    pub(super) totals: Totals,
    pub(super) extended_types: bool,
}

impl View {
    /// Moves to a newer version; what the old one alone held may now be freed.
    pub fn advance(&mut self, to: &Version) {
        assert!(
            to.totals.zxid >= self.totals.zxid,
            "a view went back from {} to {}",
            self.totals.zxid,
            to.totals.zxid
        );
        self.reader.advance(&to.trie);
        self.totals = to.totals;
    }

    /// Stays at this version from now on, so that less is kept for it: a snapshot's.
    pub fn freeze(self) -> View {
        let reader = self.reader.freeze();
        View { reader, ..self }
    }

    /// The counts of this version.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Every key and value, in trie order.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.reader.iter()
    }

    /// The seed that the order of entries rests on.
    pub fn seed(&self) -> u64 {
        self.reader.seed()
    }
}

/// The writer's head.
pub struct Tree {
    pub(super) trie: Trie,
    pub(super) totals: Totals,
    pub(super) features: Features,
    pub(super) quotas: QuotaPaths,
    /// Numbers of ACLs; entries may be stale after a roll-back and are checked against the trie.
    acl_ids: HashMap<Arc<[Acl]>, AclId>,
    acls: HashMap<AclId, Arc<[Acl]>>,
    open_acl: Arc<[Acl]>,
    /// The sessions that live. No multi opens or closes one, so that its roll-back never concerns it.
    pub(super) session_ids: BTreeSet<i64>,
    /// Quota paths added (true) or removed since the checkpoint.
    quota_undo: Vec<(String, bool)>,
    scratch: Vec<u8>,
    /// For the four-letter word `hash`.
    digests: VecDeque<(i64, u64)>,
}

/// A point to which the head can go back.
pub struct Checkpoint {
    trie: trie::Checkpoint,
    totals: Totals,
}

impl Tree {
    /// A new tree with its built-in nodes (`DataTree#DataTree`).
    pub fn new(seed: u64, features: Features) -> Tree {
        let mut tree = Tree::bare(seed, features);
        let zero = Persisted::default();
        for (path, children) in [("", 1), (ZOOKEEPER, 2), (QUOTA, 0), (CONFIG, 0)] {
            tree.put_node(path, AclId(0), &zero, children, Some(b""));
            tree.totals.nodes += 1;
        }
        tree.totals.bytes = [ZOOKEEPER, QUOTA, CONFIG].iter().map(|path| path.len() as u64).sum();
        let (root, reserved) = (tree.children_of("", 0), tree.children_of(ZOOKEEPER, 0));
        for (set, name) in [(root, "zookeeper"), (reserved.clone(), "quota")] {
            set.as_set().insert(&mut tree.trie, name.as_bytes());
        }
        ChildrenOf { count: 1, ..reserved }
            .as_set()
            .insert(&mut tree.trie, b"config");
        let readable = tree.intern(&[Acl::anyone(READ)]);
        tree.put_node(CONFIG, readable, &Persisted { aversion: -1, ..zero }, 0, Some(b""));
        if tree.features.digest {
            tree.totals.digest = digest::node("", b"", &zero).wrapping_add(digest::node(ZOOKEEPER, b"", &zero));
        }
        tree
    }

    /// The tree of a snapshot's trie and totals, and of the ACL numbers and live sessions in it.
    pub(super) fn loaded(trie: Trie, totals: Totals, found: Found, features: Features) -> Tree {
        let mut tree = Tree {
            trie,
            totals,
            session_ids: found.sessions.into_iter().collect(),
            ..Tree::bare(0, features)
        };
        tree.derive(&found.acls);
        tree
    }

    /// A tree with nothing in it.
    pub(super) fn bare(seed: u64, features: Features) -> Tree {
        Tree {
            trie: Trie::new(seed),
            totals: Totals::default(),
            features,
            quotas: QuotaPaths::default(),
            acl_ids: HashMap::new(),
            acls: HashMap::new(),
            open_acl: Arc::new([Acl::anyone(crate::wire::acl::ALL)]),
            session_ids: BTreeSet::new(),
            quota_undo: Vec::new(),
            scratch: Vec::new(),
            digests: VecDeque::new(),
        }
    }

    /// The head's counts.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Puts the membership into `/zookeeper/config`, without a transaction: no digest counts that node.
    pub fn set_config(&mut self, text: &str, wall_ms: i64) {
        let Some(node) = self.node(CONFIG).filter(|_| !text.is_empty()) else {
            return;
        };
        let (acl, children, length) = (node.acl, node.children, node.payload.length() as u64);
        let was_large = matches!(node.payload, Payload::Large(_));
        let stat = Persisted {
            version: -1,
            mzxid: 0,
            mtime: wall_ms,
            ..node.stat
        };
        if was_large && !matches!(Payload::of(Some(text.as_bytes())), Payload::Large(_)) {
            self.trie.remove(Key::new(Kind::Data, CONFIG.as_bytes()).bytes());
        }
        self.put_node(CONFIG, acl, &stat, children, Some(text.as_bytes()));
        self.totals.bytes = self.totals.bytes.wrapping_sub(length).wrapping_add(text.len() as u64);
    }

    /// From now on there are no digests: a tree that was read with them goes to a server that keeps none.
    pub fn keep_no_digest(&mut self) {
        self.features.digest = false;
        self.totals.digest = 0;
        self.digests.clear();
    }

    /// The configuration it was made with.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Paths that have a quota.
    pub fn quotas(&self) -> &QuotaPaths {
        &self.quotas
    }

    /// Makes the head a version that never changes again.
    pub fn seal(&mut self) -> Version {
        Version {
            trie: self.trie.seal(),
            totals: self.totals,
        }
    }

    /// A view that is pinned at the head as it is now.
    pub fn view(&mut self) -> View {
        View {
            reader: self.trie.reader(),
            totals: self.totals,
            extended_types: self.features.extended_types,
        }
    }

    /// Frees some of what no view can reach any more.
    pub fn reclaim(&mut self, budget: usize) -> usize {
        self.trie.reclaim(budget)
    }

    /// Keeps the digest of every 128th transaction (`DataTree#logZxidDigest`).
    pub(super) fn log_digest(&mut self) {
        if !self.features.digest || !self.totals.zxid.0.is_multiple_of(DIGEST_LOG_INTERVAL) {
            return;
        }
        if self.digests.len() == DIGEST_LOG_MAX {
            self.digests.pop_front();
        }
        self.digests.push_back((self.totals.zxid.0 as i64, self.totals.digest));
    }

    /// Zxids and digests that were kept, oldest first. The newest may not be published yet.
    pub fn digests(&self) -> impl Iterator<Item = (i64, u64)> {
        self.digests.iter().copied()
    }

    /// Replaced pieces that are not freed yet.
    pub fn retired(&self) -> usize {
        self.trie.retired_len()
    }

    /// Marks a point to go back to; one at a time.
    pub fn checkpoint(&mut self) -> Checkpoint {
        self.quota_undo.clear();
        Checkpoint {
            trie: self.trie.checkpoint(),
            totals: self.totals,
        }
    }

    /// Drops everything since the checkpoint.
    pub fn roll_back(&mut self, to: Checkpoint) {
        self.trie.rollback(to.trie);
        self.totals = to.totals;
        for (path, added) in std::mem::take(&mut self.quota_undo).into_iter().rev() {
            if added {
                self.quotas.remove(&path)
            } else {
                self.quotas.add(&path)
            };
        }
    }

    /// Makes the head what a view shows, whatever has become of it since. `sessions` are those that were opened or closed
    /// since.
    pub fn return_to(&mut self, view: &View, sessions: impl IntoIterator<Item = i64>) {
        self.trie.return_to(&view.reader);
        self.totals = view.totals;
        for id in sessions {
            match self.session(id).is_some_and(|record| record.timeout_ms > 0) {
                true => self.session_ids.insert(id),
                false => self.session_ids.remove(&id),
            };
        }
        let newest = self.totals.zxid.0 as i64;
        while self.digests.pop_back_if(|(zxid, _)| *zxid > newest).is_some() {}
        self.quotas = QuotaPaths::default();
        self.derive_quotas();
        // An ACL that was given up since and taken again has its old number back.
        for (id, entries) in &self.acls {
            if self
                .trie
                .get(Key::new(Kind::Acl, &id.0.to_be_bytes()).bytes())
                .is_some()
            {
                self.acl_ids.insert(Arc::clone(entries), *id);
            }
        }
    }

    /// Keeps everything since the checkpoint.
    pub fn keep(&mut self, checkpoint: Checkpoint) {
        self.trie.commit(checkpoint.trie);
        self.quota_undo.clear();
    }

    pub(super) fn note_quota(&mut self, path: &str, added: bool) {
        let changed = if added {
            self.quotas.add(path)
        } else {
            self.quotas.remove(path)
        };
        if changed {
            self.quota_undo.push((path.to_owned(), added));
        }
    }

    /// Stores a node with its data.
    pub(super) fn put_node(&mut self, path: &str, acl: AclId, stat: &Persisted, children: u32, data: Option<&[u8]>) {
        let payload = Payload::of(data);
        if let (Payload::Large(_), Some(bytes)) = (payload, data) {
            self.trie
                .put(Key::new(Kind::Data, path::canonical(path).as_bytes()).bytes(), &[bytes]);
        }
        let (header, inline) = Node {
            acl,
            stat: *stat,
            children,
            payload,
        }
        .encode();
        self.trie.put(Key::node(path).bytes(), &[header.bytes(), inline]);
    }

    /// Changes a node's Stat, ACL or count of children and leaves its data alone. False if it is not there.
    pub(super) fn amend(&mut self, path: &str, change: impl FnOnce(&mut Node<'_>)) -> bool {
        let key = Key::node(path);
        let Some(value) = self.trie.get(key.bytes()) else {
            return false;
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(value);
        let mut node = Node::decode(&scratch);
        let before = node;
        change(&mut node);
        if self.features.digest && node.stat != before.stat {
            let data = self.data_of(path, &before);
            let (old, new) = (
                digest::node(path, data, &before.stat),
                digest::node(path, data, &node.stat),
            );
            self.totals.digest = self.totals.digest.wrapping_sub(old).wrapping_add(new);
        }
        let (header, inline) = node.encode();
        self.trie.put(key.bytes(), &[header.bytes(), inline]);
        self.scratch = scratch;
        true
    }

    /// A node of the head.
    pub fn node(&self, path: &str) -> Option<Node<'_>> {
        self.trie.get(Key::node(path).bytes()).map(Node::decode)
    }

    /// A node's bytes; none for null data.
    pub fn data_of<'t>(&'t self, path: &str, node: &Node<'t>) -> &'t [u8] {
        data_of(&self.trie, path, node)
    }

    /// A session's ephemerals in the head, sorted.
    pub fn ephemerals(&self, session: i64) -> Vec<String> {
        super::read::ephemerals(&self.trie, session)
    }

    /// A session of the head.
    pub fn session(&self, id: i64) -> Option<SessionRecord> {
        self.trie
            .get(Key::new(Kind::Session, &id.to_be_bytes()).bytes())
            .and_then(SessionRecord::decode)
    }

    /// Every live session.
    pub fn sessions(&self) -> impl Iterator<Item = (i64, SessionRecord)> {
        let with_record = |id: &i64| Some((*id, self.session(*id)?));
        self.session_ids.iter().filter_map(with_record)
    }

    pub(super) fn put_session(&mut self, id: i64, record: SessionRecord) {
        self.trie
            .put(Key::new(Kind::Session, &id.to_be_bytes()).bytes(), &[&record.encode()]);
    }

    pub(super) fn children_of<'p>(&self, path: &'p str, count: u32) -> ChildrenOf<'p> {
        ChildrenOf {
            path: path::canonical(path),
            count,
        }
    }

    /// The entries of an ACL number.
    pub fn acl(&self, id: AclId) -> &Arc<[Acl]> {
        if id == AclId(0) {
            &self.open_acl
        } else {
            self.acls.get(&id).expect("a node's ACL is interned")
        }
    }

    /// The number of an ACL, with one more user of it (`ReferenceCountedACLCache`).
    pub(super) fn intern(&mut self, acl: &[Acl]) -> AclId {
        if acl == &*self.open_acl {
            return AclId(0);
        }
        if let Some(&id) = self.acl_ids.get(acl) {
            let current = self.acls.get(&id).is_some_and(|entries| **entries == *acl);
            if let (true, Some((users, _))) = (current, read_acl(&self.trie, id)) {
                self.put_acl(id, users + 1, acl);
                return id;
            }
        }
        self.totals.acl_newest += 1;
        let id = AclId(self.totals.acl_newest);
        self.put_acl(id, 1, acl);
        let entries: Arc<[Acl]> = acl.into();
        self.acl_ids.insert(Arc::clone(&entries), id);
        self.acls.insert(id, entries);
        id
    }

    /// One user less.
    pub(super) fn release(&mut self, id: AclId) {
        let Some((users, acl)) = read_acl(&self.trie, id) else {
            return;
        };
        match users {
            // The entries stay in the writer's table: a roll-back may bring the number back.
            0 | 1 => drop(self.trie.remove(Key::new(Kind::Acl, &id.0.to_be_bytes()).bytes())),
            _ => self.put_acl(id, users - 1, &acl),
        }
    }

    pub(super) fn put_acl(&mut self, id: AclId, users: u32, acl: &[Acl]) {
        let mut value = users.to_be_bytes().to_vec();
        write_list(&mut JuteWriter::new(&mut value), acl);
        self.trie
            .put(Key::new(Kind::Acl, &id.0.to_be_bytes()).bytes(), &[&value]);
    }

    /// Rebuilds what is derived from the trie.
    pub(super) fn derive(&mut self, acls: &[u32]) {
        for &number in acls {
            let id = AclId(number);
            let Some((_, acl)) = read_acl(&self.trie, id) else {
                continue;
            };
            let entries: Arc<[Acl]> = acl.into();
            self.acl_ids.insert(Arc::clone(&entries), id);
            self.acls.insert(id, entries);
        }
        self.derive_quotas();
    }

    fn derive_quotas(&mut self) {
        let limits: Vec<String> = super::read::subtree(&self.trie, QUOTA)
            .into_iter()
            .filter_map(|path| super::quota::subject(&path, super::quota::LIMITS).map(str::to_owned))
            .collect();
        for path in &limits {
            self.quotas.add(path);
        }
    }

    /// Forgets ACL entries that neither the trie nor any roll-back can ask for, not even one to what clients see; called
    /// between transactions.
    pub fn sweep_acls(&mut self, published: &View) {
        if self.acls.len() < SWEEP_AT || self.acls.len() < 2 * self.live_acls() {
            return;
        }
        let (trie, reader) = (&self.trie, &published.reader);
        self.acls.retain(|id, _| {
            let number = id.0.to_be_bytes();
            let key = Key::new(Kind::Acl, &number);
            trie.get(key.bytes()).is_some() || reader.get(key.bytes()).is_some()
        });
        let acls = &self.acls;
        self.acl_ids.retain(|_, id| acls.contains_key(id));
    }

    fn live_acls(&self) -> usize {
        self.acls
            .keys()
            .filter(|id| {
                self.trie
                    .get(Key::new(Kind::Acl, &id.0.to_be_bytes()).bytes())
                    .is_some()
            })
            .count()
    }
}

/// A node's children, as a set that can be counted and listed.
#[derive(Clone)]
pub(super) struct ChildrenOf<'p> {
    pub path: &'p str,
    pub count: u32,
}

impl ChildrenOf<'_> {
    pub fn as_set(&self) -> super::set::Set<'_> {
        super::set::Set {
            kind: Kind::Children,
            owner: self.path.as_bytes(),
            count: self.count,
        }
    }
}

/// A node's bytes; none for null data.
pub(super) fn data_of<'t>(look: &'t impl Look, path: &str, node: &Node<'t>) -> &'t [u8] {
    match node.payload {
        Payload::Null => &[],
        Payload::Inline(bytes) => bytes,
        Payload::Large(length) => {
            let bytes = look
                .look(Key::new(Kind::Data, path::canonical(path).as_bytes()).bytes())
                .unwrap_or_default();
            assert_eq!(bytes.len(), length as usize, "large data of {path}");
            bytes
        }
    }
}

/// An ACL's count of users and its entries.
pub(super) fn read_acl(look: &impl Look, id: AclId) -> Option<(u32, Vec<Acl>)> {
    decode_acl(look.look(Key::new(Kind::Acl, &id.0.to_be_bytes()).bytes())?)
}

/// The value under an ACL's number: its count of users and its entries. `None` if it is not whole.
pub fn decode_acl(value: &[u8]) -> Option<(u32, Vec<Acl>)> {
    let (users, entries) = value.split_first_chunk::<4>()?;
    Some((
        u32::from_be_bytes(*users),
        read_list(&mut JuteReader::new(entries)).ok()?,
    ))
}
