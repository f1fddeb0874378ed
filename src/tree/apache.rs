//! A tree from a snapshot of Apache ZooKeeper, and back (`DataTree#deserialize`, `#serialize`).
//!
//! Works on the items of a snapshot, wherever they come from: a file, or the stream between a leader and a learner. A
//! snapshot that Java writes while transactions go on is not the state at its zxid until the log behind it has been
//! applied ([`Tree::apply`] never stops at what it finds done already); until then a node may even name an ACL that the
//! snapshot lacks. So [`Building`] takes such a node, and [`missing_acl`] tells afterwards whether one is left.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, BufRead, Write};

use storage::apache::snapshot::{self, Item};
use storage::apache::{self, OPEN_ACL, ReadError};

use super::key::Kind;
use super::node::{AclId, Owner, Persisted};
use super::read::walk;
use super::tree::{Features, Tree, View};
use super::{digest, quota};
use crate::base::Zxid;
use crate::base::path::{self, ZOOKEEPER, shown};
use crate::wire::acl::{ALL, Acl, Id};

/// Stands in an ACL that a snapshot names and lacks. No scheme has such a name.
const MISSING: &str = "\0missing";

/// Replaced pieces of the tree are freed, and progress is told, after so many nodes.
const RECLAIM_EVERY: u64 = 1024;

/// A tree while a snapshot's items are put into it.
pub struct Building {
    tree: Tree,
    table: HashMap<i64, Vec<Acl>>,
    /// Numbers that were given to ACLs, and how many nodes have each.
    given: HashMap<i64, AclId>,
    uses: HashMap<AclId, (u32, Vec<Acl>)>,
    /// Nodes whose children are being counted: the last one, and those above it.
    open: Vec<Open>,
    newest: Zxid,
}

struct Open {
    path: String,
    children: u32,
}

impl Building {
    /// Nothing yet. `seed` is for the order of the trie.
    pub fn new(seed: u64, features: Features) -> Building {
        Building {
            tree: Tree::bare(seed, features),
            table: HashMap::new(),
            given: HashMap::new(),
            uses: HashMap::new(),
            open: Vec::new(),
            newest: Zxid::ZERO,
        }
    }

    /// Takes all items of a snapshot; `told` hears of the progress now and then.
    ///
    /// # Errors
    /// What the reader found, or an item that no tree can hold.
    pub fn read<R: BufRead>(
        &mut self,
        reader: &mut snapshot::Reader<R>,
        zxid: Zxid,
        told: &mut dyn FnMut(u64),
    ) -> Result<(), ReadError> {
        loop {
            let offset = reader.offset();
            if reader.nodes() % RECLAIM_EVERY == 1 {
                told(reader.nodes());
            }
            let Some(item) = reader.next()? else { return Ok(()) };
            self.item(item)
                .map_err(|why| ReadError::Refused { offset, zxid, why })?;
        }
    }

    /// Takes one item.
    ///
    /// # Errors
    /// Why no tree can hold it.
    pub fn item(&mut self, item: Item<'_>) -> Result<(), String> {
        match item {
            Item::Session { id, timeout_ms } => self.session(id, timeout_ms),
            Item::Acl { id, entries } => self.acl(id, entries),
            Item::Node(node) => self.node(&node),
        }
    }

    fn session(&mut self, id: i64, timeout_ms: i32) -> Result<(), String> {
        if timeout_ms <= 0 {
            return Err(format!("session 0x{id:x} has a timeout of {timeout_ms} ms"));
        }
        if self.tree.session(id).is_some() {
            return Err(format!("session 0x{id:x} stands there twice"));
        }
        self.tree.open_session(id, timeout_ms);
        Ok(())
    }

    fn acl(&mut self, id: i64, entries: Vec<apache::Acl>) -> Result<(), String> {
        let entry = |apache::Acl { perms, scheme, id }| Acl {
            perms,
            id: Id::new(scheme.unwrap_or_default(), id.unwrap_or_default()),
        };
        match self.table.insert(id, entries.into_iter().map(entry).collect()) {
            None => Ok(()),
            Some(_) => Err(format!("the ACL of number {id} stands there twice")),
        }
    }

    fn node(&mut self, node: &snapshot::Node<'_>) -> Result<(), String> {
        let path = node.path;
        if self.tree.node(path).is_some() {
            return Err(format!("the node {} stands there twice", shown(path)));
        }
        if let Some(parent) = path::parent(path) {
            self.descend_to(parent, path)?;
            let siblings = self.open.last_mut().expect("just descended to");
            let set = self.tree.children_of(parent, siblings.children);
            set.as_set().insert(&mut self.tree.trie, path::name(path).as_bytes());
            siblings.children += 1;
        }
        let acl = self.acl_id(node.acl);
        let stat = Persisted::from(node.stat);
        self.check_owner(path, &stat)?;
        self.tree.put_node(path, acl, &stat, 0, node.data);
        self.tree.count_node(path, node.data.unwrap_or_default(), &stat, 1);
        self.tree.enlist(path, stat.owner);
        self.open.push(Open {
            path: path.to_owned(),
            children: 0,
        });
        for zxid in [stat.czxid, stat.mzxid, stat.pzxid] {
            self.newest = self.newest.max(Zxid(zxid.max(0) as u64));
        }
        if self.tree.totals.nodes.is_multiple_of(RECLAIM_EVERY) {
            self.tree.reclaim(usize::MAX);
        }
        Ok(())
    }

    /// Makes the parent the last of the open nodes.
    fn descend_to(&mut self, parent: &str, path: &str) -> Result<(), String> {
        while let Some(last) = self.open.pop() {
            if last.path == parent {
                self.open.push(last);
                return Ok(());
            }
            self.close(last);
        }
        // Java writes depth first and never comes here, but a reader of its format must.
        let Some(found) = self.tree.node(parent) else {
            return Err(format!("the node {path} has no parent: {} is not there", shown(parent)));
        };
        let children = found.children;
        self.open.push(Open {
            path: parent.to_owned(),
            children,
        });
        Ok(())
    }

    fn close(&mut self, Open { path, children }: Open) {
        if children > 0 {
            self.tree.amend(&path, |node| node.children = children);
        }
    }

    /// Our number for one of theirs. What no node names is dropped, as in `ReferenceCountedACLCache#purgeUnused`.
    fn acl_id(&mut self, theirs: i64) -> AclId {
        if theirs == OPEN_ACL {
            return AclId(0);
        }
        let mine = match self.given.get(&theirs) {
            Some(mine) => *mine,
            None => {
                let mine = self.give(theirs);
                self.given.insert(theirs, mine);
                mine
            }
        };
        if let Some((users, _)) = self.uses.get_mut(&mine) {
            *users += 1;
        }
        mine
    }

    fn give(&mut self, theirs: i64) -> AclId {
        let entries = match self.table.get(&theirs) {
            Some(entries) => entries.clone(),
            None => vec![Acl {
                perms: 0,
                id: Id::new(MISSING, theirs.to_string()),
            }],
        };
        if entries == [Acl::anyone(ALL)] {
            return AclId(0);
        }
        // Two of their numbers may mean the same.
        if let Some((same, _)) = self.uses.iter().find(|(_, (_, known))| *known == entries) {
            return *same;
        }
        self.tree.totals.acl_newest += 1;
        let mine = AclId(self.tree.totals.acl_newest);
        self.uses.insert(mine, (0, entries));
        mine
    }

    /// With TTL nodes switched off, Java takes them for ephemerals of dead sessions and removes them at start.
    fn check_owner(&self, path: &str, stat: &Persisted) -> Result<(), String> {
        let with_types = matches!(Owner::of(stat.owner, true), Owner::Ttl(_));
        if with_types && !self.tree.features.extended_types {
            return Err(format!(
                "the node {path} has a time to live; set zookeeper.extendedTypesEnabled=true, as it was where the node \
                 was made"
            ));
        }
        Ok(())
    }

    /// The tree at a zxid, with what is derived; to be followed by the log if the snapshot was written meanwhile.
    ///
    /// # Errors
    /// What every tree has is not there.
    pub fn finish(mut self, zxid: Zxid) -> Result<Built, String> {
        while let Some(last) = self.open.pop() {
            self.close(last);
        }
        for path in ["", ZOOKEEPER] {
            if self.tree.node(path).is_none() {
                return Err(format!("the node {} is not there", shown(path)));
            }
        }
        for (id, (users, entries)) in &self.uses {
            self.tree.put_acl(*id, *users, entries);
        }
        let acls: Vec<u32> = self.uses.keys().map(|id| id.0).collect();
        let mut tree = self.tree;
        tree.totals.zxid = zxid;
        tree.derive(&acls);
        count_usage(&mut tree);
        tree.reclaim(usize::MAX);
        Ok(Built {
            tree,
            newest: self.newest,
        })
    }
}

/// What a snapshot made.
pub struct Built {
    /// The tree.
    pub tree: Tree,
    /// The newest transaction that left a trace in a node: later than the snapshot's own if it was written meanwhile.
    pub newest: Zxid,
}

/// Java counts what quotas rule anew when it loads a snapshot (`DataTree#setupQuota`).
fn count_usage(tree: &mut Tree) {
    let subjects: Vec<String> = tree.quotas().iter().map(str::to_owned).collect();
    for subject in subjects {
        let (count, bytes) = super::read::usage(&tree.trie, &subject);
        tree.put_usage(&quota::stats_path(&subject), &quota::Track::usage(count, bytes));
    }
}

impl From<apache::Stat> for Persisted {
    fn from(stat: apache::Stat) -> Persisted {
        Persisted {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            version: stat.version,
            cversion: stat.cversion,
            aversion: stat.aversion,
            owner: stat.owner,
            pzxid: stat.pzxid,
        }
    }
}

impl From<Persisted> for apache::Stat {
    fn from(stat: Persisted) -> apache::Stat {
        apache::Stat {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            version: stat.version,
            cversion: stat.cversion,
            aversion: stat.aversion,
            owner: stat.owner,
            pzxid: stat.pzxid,
        }
    }
}

/// A node whose ACL the snapshot lacked and no transaction brought, and the number it named.
pub fn missing_acl(view: &View) -> Option<(String, String)> {
    let (missing, number) = view.acls().find_map(|(id, entries)| match &entries[..] {
        [Acl { id: whose, .. }] if whose.scheme == MISSING => Some((id, whose.id.clone())),
        _ => None,
    })?;
    let mut holder = String::new();
    walk(&view.reader, "", |path, node| {
        if node.acl == missing && holder.is_empty() {
            holder = shown(path).to_owned();
        }
    });
    Some((holder, number))
}

/// Sessions that own ephemerals and are not there any more: Java removes what they own when it starts
/// (`ZooKeeperServer#loadData`).
pub fn dead_sessions(view: &View) -> Vec<i64> {
    let dead = view.sessions().into_iter().filter(|(_, record)| record.timeout_ms <= 0);
    dead.map(|(id, _)| id).collect()
}

/// The digest that a JVM gives a tree whose paths it turns into bytes of one-byte charsets: ASCII, or Latin-1. Java
/// digests paths in its default charset, which in the C locale is not UTF-8. `None` if all paths are ASCII: they are the
/// same bytes in every charset.
pub fn digests_in_other_charsets(view: &View) -> Option<[u64; 2]> {
    let (mut sums, mut differ) = ([0u64; 2], false);
    walk(&view.reader, "", |path, node| {
        differ |= !path.is_ascii();
        let data = super::tree::data_of(&view.reader, path, node);
        for (sum, last) in sums.iter_mut().zip([0x7Fu32, 0xFF]) {
            let one = |character: char| match u32::from(character) {
                code if code <= last => code as u8,
                _ => b'?',
            };
            let bytes: Vec<u8> = path.chars().map(one).collect();
            *sum = sum.wrapping_add(digest::node_of_bytes(path, &bytes, data, &node.stat));
        }
    });
    differ.then_some(sums)
}

/// The sum of all nodes' digests, whether the server that made the version kept one or not.
pub fn digest_of(view: &View) -> u64 {
    let mut sum = 0u64;
    walk(&view.reader, "", |path, node| {
        let data = super::tree::data_of(&view.reader, path, node);
        sum = sum.wrapping_add(digest::node(path, data, &node.stat));
    });
    sum
}

/// Writes a version as the items of a snapshot: sessions, ACLs, nodes. `told` hears of the progress now and then.
///
/// # Errors
/// What the output returned.
pub fn write<W: Write>(
    view: &View,
    begin: impl FnOnce(usize) -> io::Result<snapshot::Writer<W>>,
    told: &mut dyn FnMut(u64),
) -> io::Result<snapshot::Writer<W>> {
    let mut sessions = view.sessions();
    sessions.retain(|(_, record)| record.timeout_ms > 0);
    let mut writer = begin(sessions.len())?;
    for (id, record) in sessions {
        writer.session(id, record.timeout_ms)?;
    }
    let acls: Vec<(AclId, Vec<Acl>)> = view.acls().collect();
    writer.begin_acls(acls.len())?;
    for (AclId(id), entries) in acls {
        let entry = |Acl {
                         perms,
                         id: Id { scheme, id },
                     }| apache::Acl {
            perms,
            scheme: Some(scheme),
            id: Some(id),
        };
        let entries: Vec<apache::Acl> = entries.into_iter().map(entry).collect();
        writer.acl(i64::from(id), &entries)?;
    }
    let (mut written, mut count) = (Ok(()), 0u64);
    walk(&view.reader, "", |path, node| {
        count += 1;
        if count % RECLAIM_EVERY == 1 {
            told(count);
        }
        if written.is_ok() {
            written = writer.node(&snapshot::Node {
                path,
                data: view.data(path, node),
                acl: if node.acl.0 == 0 {
                    OPEN_ACL
                } else {
                    i64::from(node.acl.0)
                },
                stat: node.stat.into(),
            });
        }
    });
    written.map(|()| writer)
}

impl View {
    /// Every ACL but the open one, in the order of their numbers.
    pub fn acls(&self) -> impl Iterator<Item = (AclId, Vec<Acl>)> + '_ {
        let numbers: BTreeSet<u32> = self
            .entries()
            .filter(|(key, _)| key.first() == Some(&(Kind::Acl as u8)))
            .filter_map(|(key, _)| Some(u32::from_be_bytes(*key[1..].first_chunk()?)))
            .collect();
        numbers.into_iter().map(|number| {
            let id = AclId(number);
            (id, self.acl(id).into_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::txn::{Change, CreateTxn, Txn, TxnHeader};

    fn features() -> Features {
        Features {
            digest: true,
            extended_types: true,
            ..Features::default()
        }
    }

    fn header(zxid: i64) -> TxnHeader {
        TxnHeader {
            session: 0x77,
            cxid: 0,
            zxid,
            time_ms: 1000 + zxid,
        }
    }

    fn create(path: &str, data: Option<&[u8]>, acl: Vec<Acl>, kind: CreateTxn) -> Txn {
        Txn::Change(Change::Create {
            path: path.into(),
            data: data.map(<[u8]>::to_vec),
            acl,
            kind,
            parent_cversion: -1,
        })
    }

    fn private(id: &str) -> Vec<Acl> {
        vec![Acl {
            perms: 3,
            id: Id::new("digest", id),
        }]
    }

    /// A tree with every kind of node, and a quota.
    fn sample() -> Tree {
        let mut tree = Tree::new(3, features());
        let plain = CreateTxn::Plain { ephemeral: false };
        let open = || vec![Acl::anyone(ALL)];
        let mut txns = vec![
            Txn::CreateSession { timeout_ms: 4000 },
            create("/a", None, open(), plain),
            create("/a/empty", Some(b""), private("u:h"), plain),
            create("/a/large", Some(&[7; 50_000]), private("u:h"), plain),
            create(
                "/a/e",
                Some(b"e"),
                vec![Acl::anyone(1)],
                CreateTxn::WithStat { ephemeral: true },
            ),
            create("/añ€", Some(b"x"), private("😀:h"), CreateTxn::Container),
            create("/ttl", Some(b"x"), open(), CreateTxn::Ttl(5000)),
            create("/zookeeper/quota/a", None, open(), plain),
            create(
                "/zookeeper/quota/a/zookeeper_limits",
                Some(b"count=9,bytes=-1"),
                open(),
                plain,
            ),
            create(
                "/zookeeper/quota/a/zookeeper_stats",
                Some(b"count=0,bytes=0"),
                open(),
                plain,
            ),
        ];
        txns.extend((0..300).map(|n| create(&format!("/a/c{n}"), Some(&[n as u8; 9]), private("u:h"), plain)));
        txns.push(Txn::Change(Change::Delete { path: "/a/c7".into() }));
        for (index, txn) in txns.iter().enumerate() {
            tree.apply(&header(index as i64 + 1), txn, &mut vec![]);
        }
        tree
    }

    fn file(view: &View) -> Vec<u8> {
        let writer = write(
            view,
            |sessions| snapshot::Writer::file(Vec::new(), sessions),
            &mut |_| {},
        )
        .unwrap();
        let digest = snapshot::Digest {
            zxid: view.totals().zxid.0 as i64,
            version: 2,
            digest: view.totals().digest,
        };
        writer.finish(&digest, view.totals().zxid.0 as i64).unwrap().0
    }

    fn build(bytes: &[u8], zxid: Zxid) -> Result<Built, String> {
        let mut reader = snapshot::Reader::open(bytes).unwrap();
        let mut building = Building::new(9, features());
        building
            .read(&mut reader, zxid, &mut |_| {})
            .map_err(|error| error.to_string())?;
        reader.finish().unwrap();
        building.finish(zxid)
    }

    /// Everything of a version that clients or transactions can see, whatever the numbers of its ACLs.
    fn seen(view: &View) -> Vec<String> {
        let mut all = vec![format!("{:?}", view.sessions())];
        walk(&view.reader, "", |path, node| {
            let data = view.data(path, node).map(<[u8]>::to_vec);
            all.push(format!(
                "{path} {:?} {:?} {} {data:?}",
                node.stat,
                view.acl(node.acl),
                node.children
            ));
        });
        all.sort();
        all.extend(
            view.sessions()
                .iter()
                .map(|(id, _)| format!("{:?}", view.ephemerals(*id))),
        );
        let mut reapable = view.reapable();
        reapable.sort();
        all.extend(reapable);
        all
    }

    #[test]
    fn there_and_back_nothing_is_lost() {
        let mut tree = sample();
        let view = tree.view();
        let Built {
            tree: mut again,
            newest,
        } = build(&file(&view), view.totals().zxid).unwrap();
        assert_eq!(newest, view.totals().zxid);
        let mut totals = *again.totals();
        totals.acl_newest = view.totals().acl_newest;
        // A quota's usage that grew in place is counted only when a snapshot is loaded, in Java too.
        assert_eq!(
            totals.bytes,
            view.totals().bytes + "304".len() as u64 - 1 + "52705".len() as u64 - 1
        );
        totals.bytes = view.totals().bytes;
        assert_eq!(totals, *view.totals());
        assert_eq!(seen(&again.view()), seen(&view));
        assert_eq!(missing_acl(&again.view()), None);
        // What is derived works on: the quota counts, an ACL that is known is not stored twice.
        let before = again.totals().acl_newest;
        let plain = CreateTxn::Plain { ephemeral: false };
        for tree in [&mut again, &mut tree] {
            tree.apply(
                &header(900),
                &create("/a/more", None, private("u:h"), plain),
                &mut vec![],
            );
            tree.apply(&header(901), &Txn::CloseSession { paths: None }, &mut vec![]);
        }
        assert_eq!(again.totals().acl_newest, before);
        assert_eq!(seen(&again.view()), seen(&tree.view()));
    }

    #[test]
    fn the_order_of_nodes_is_free_but_parents_come_first() {
        let mut tree = sample();
        let view = tree.view();
        let mut nodes = Vec::new();
        walk(&view.reader, "", |path, _| nodes.push(path.to_owned()));
        nodes.sort_by_key(|path| (path.matches('/').count(), path.len() % 3));
        let mut building = Building::new(9, features());
        let stat = apache::Stat::default();
        for path in &nodes {
            let node = snapshot::Node {
                path,
                data: None,
                acl: OPEN_ACL,
                stat,
            };
            building.item(Item::Node(node)).unwrap();
        }
        let mut built = building.finish(Zxid(5)).unwrap();
        let mut again = Vec::new();
        walk(&built.tree.view().reader, "", |path, _| again.push(path.to_owned()));
        let (mut want, mut have) = (nodes, again);
        want.sort();
        have.sort();
        assert_eq!(have, want);
    }

    #[test]
    fn what_no_tree_can_hold_is_refused() {
        let node = |path: &'static str, owner| {
            Item::Node(snapshot::Node {
                path,
                data: None,
                acl: OPEN_ACL,
                stat: apache::Stat {
                    owner,
                    ..apache::Stat::default()
                },
            })
        };
        let session = || Item::Session { id: 1, timeout_ms: 5 };
        let acl = || Item::Acl { id: 1, entries: vec![] };
        let told = |items: Vec<Item<'_>>, features: Features| {
            let mut building = Building::new(9, features);
            let mut items = items.into_iter();
            let why = items.find_map(|item| building.item(item).err());
            why.or_else(|| building.finish(Zxid(1)).err()).unwrap()
        };
        assert!(told(vec![node("", 0), node("", 0)], features()).contains("/ stands there twice"));
        assert!(told(vec![node("", 0), node("/a/b", 0)], features()).contains("has no parent: /a"));
        assert!(told(vec![node("/a", 0)], features()).contains("has no parent: /"));
        assert!(told(vec![session(), session()], features()).contains("twice"));
        assert!(told(vec![Item::Session { id: 1, timeout_ms: 0 }], features()).contains("timeout of 0"));
        assert!(told(vec![acl(), acl()], features()).contains("twice"));
        assert!(told(vec![node("", 0)], features()).contains("/zookeeper is not there"));
        let ttl = vec![node("", 0), node("/t", Owner::ttl_field(5))];
        assert!(told(ttl, Features::default()).contains("extendedTypesEnabled"));
    }

    #[test]
    fn a_missing_acl_may_come_with_the_log_and_is_named_if_not() {
        let node = |path: &'static str, acl| {
            Item::Node(snapshot::Node {
                path,
                data: None,
                acl,
                stat: apache::Stat::default(),
            })
        };
        let mut building = Building::new(9, features());
        let unused = Item::Acl { id: 4, entries: vec![] };
        for item in [unused, node("", -1), node("/zookeeper", -1), node("/x", 17)] {
            building.item(item).unwrap();
        }
        let mut built = building.finish(Zxid(1)).unwrap();
        assert_eq!(missing_acl(&built.tree.view()), Some(("/x".into(), "17".into())));
        assert_eq!(built.tree.view().acls().count(), 1, "what no node names is dropped");
        let plain = CreateTxn::Plain { ephemeral: false };
        built
            .tree
            .apply(&header(2), &create("/x", None, private("u:h"), plain), &mut vec![]);
        assert_eq!(missing_acl(&built.tree.view()), None);
        let view = built.tree.view();
        assert_eq!(view.acl(view.node("/x").unwrap().acl)[..], private("u:h"));
    }
}
