//! Apache ZooKeeper's snapshots, told in the words of our tree.
//!
//! What their files do not say is counted here: how many children a node has (the nodes above the one that is read are
//! held until they are passed: Java writes depth first), how many nodes an ACL or a session has, and the digest. Java
//! writes while transactions go on. Such a snapshot is told to be fuzzy: what lacks in it may stand in the log.
//!
//! TTL nodes are told by their mark, which no session's id has whose server has a number below 255.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use ringkeeper::base::path::parent;
use ringkeeper::tree::digest;
use ringkeeper::tree::node::{AclId, Node, Owner, Payload, Persisted};
use ringkeeper::tree::session::SessionRecord;
use ringkeeper::wire::acl::{Acl, Id};
use storage::Zxid;
use storage::apache::directory::{SnapshotFile, parse_snapshot_name};
use storage::apache::snapshot::{self as format, DIGEST_VERSION, Trailer};
use storage::apache::{self, Compression, OPEN_ACL, ReadError};

use super::read::{AclRow, Failure, Item, Kinds, Means, Snapshot, Take};

const KINDS: Kinds = Kinds { extended: true };

/// How a file is packed, if it begins as one of Apache ZooKeeper's does, packed or not.
pub fn packing(file: &Path) -> Option<Compression> {
    let begins = crate::dump::begins(file).ok()?;
    match &begins[..] {
        [b'Z', b'K', b'S', b'N', ..] => Some(Compression::None),
        [0x1f, 0x8b, ..] => Some(Compression::Gzip),
        [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0] => Some(Compression::Snappy),
        _ => None,
    }
}

/// Reads a snapshot.
pub fn read(file: &Path, packing: Compression, means: &Means<'_>, take: &mut Take<'_>) -> Result<Snapshot, Failure> {
    let named = file.file_name().and_then(|name| parse_snapshot_name(name.to_str()?));
    let opened = SnapshotFile {
        zxid: named.map_or(Zxid::ZERO, |(zxid, _)| zxid),
        compression: packing,
        path: file.to_owned(),
    };
    let mut open = opened.open().map_err(|error| failure(error.error))?;
    let mut reading = Reading {
        snapshot: Snapshot {
            file_bytes: open.length,
            kinds: KINDS,
            ..Snapshot::default()
        },
        numbers: HashMap::from([(OPEN_ACL, AclId(0))]),
        missing: Vec::new(),
        above: Vec::new(),
        deep: true,
        newest: 0,
        ascii: true,
        take,
    };
    while let Some(item) = open.reader.next().map_err(failure)? {
        match item {
            format::Item::Session { id, timeout_ms } => reading.session(id, timeout_ms),
            format::Item::Acl { id, entries } => reading.acl(id, entries),
            format::Item::Node(node) => {
                reading.node(&node).map_err(Failure::Taking)?;
                means.progress.at(open.read.load(Ordering::Relaxed));
            }
        }
    }
    let trailer = open.reader.finish().map_err(failure)?;
    reading.pass(0).map_err(Failure::Taking)?;
    Ok(reading.finish(named.map(|(zxid, _)| zxid), &trailer))
}

fn failure(error: ReadError) -> Failure {
    match error {
        ReadError::Io { .. } => Failure::Unreadable(error.to_string()),
        _ => Failure::Corrupt(format!("the snapshot {error}")),
    }
}

struct Reading<'t, 'k> {
    snapshot: Snapshot,
    /// Our numbers of their ACLs.
    numbers: HashMap<i64, AclId>,
    /// ACLs that nodes name and the table lacks.
    missing: Vec<i64>,
    /// The last node and those above it, not yet handed on.
    above: Vec<Above>,
    /// Whether every node stood behind its parent and what is below that.
    deep: bool,
    /// The newest transaction that left a trace in a node.
    newest: i64,
    /// Whether every path is ASCII, and so digested alike by every JVM.
    ascii: bool,
    take: &'t mut Take<'k>,
}

struct Above {
    path: String,
    acl: AclId,
    stat: Persisted,
    data: Option<Vec<u8>>,
    children: u32,
}

impl Reading<'_, '_> {
    fn session(&mut self, id: i64, timeout_ms: i32) {
        self.snapshot.totals.sessions += 1;
        let record = SessionRecord {
            timeout_ms,
            ephemerals: 0,
        };
        if self.snapshot.sessions.insert(id, record).is_some() {
            self.snapshot.problem(format!("session 0x{id:x} stands there twice"));
        }
    }

    fn acl(&mut self, id: i64, entries: Vec<apache::Acl>) {
        let entry = |apache::Acl { perms, scheme, id }| Acl {
            perms,
            id: Id::new(scheme.unwrap_or_default(), id.unwrap_or_default()),
        };
        let entries = entries.into_iter().map(entry).collect();
        if !self.number(id, entries) {
            self.snapshot.problem(format!("ACL {id} stands there twice"));
        }
    }

    /// Gives an ACL a number of ours; false if it has one.
    fn number(&mut self, id: i64, entries: Vec<Acl>) -> bool {
        let mine = AclId(self.numbers.len() as u32);
        let is_new = *self.numbers.entry(id).or_insert(mine) == mine;
        if is_new {
            let users = 0;
            self.snapshot.acls.insert(mine.0, AclRow { id, users, entries });
        }
        is_new
    }

    fn node(&mut self, node: &format::Node<'_>) -> io::Result<()> {
        let is_above = |open: &&Above| {
            let below = node.path.strip_prefix(&open.path[..]);
            below.is_some_and(|below| below.starts_with('/'))
        };
        self.pass(self.above.iter().take_while(is_above).count())?;
        match (parent(node.path), self.above.last_mut()) {
            (Some(parent), Some(last)) if last.path == parent => last.children += 1,
            (None, None) => {}
            _ => self.deep = false,
        }
        self.ascii &= node.path.is_ascii();
        let stat = Persisted::from(node.stat);
        self.newest = self.newest.max(stat.czxid).max(stat.mzxid).max(stat.pzxid);
        if !self.numbers.contains_key(&node.acl) {
            self.missing.push(node.acl);
            self.number(node.acl, Vec::new());
        }
        let acl = self.numbers[&node.acl];
        if let Some(row) = self.snapshot.acls.get_mut(&acl.0) {
            row.users += 1;
        }
        let data = node.data.unwrap_or_default();
        let totals = &mut self.snapshot.totals;
        totals.nodes += 1;
        totals.bytes += (node.path.len() + data.len()) as u64;
        totals.digest = totals.digest.wrapping_add(digest::node(node.path, data, &stat));
        match Owner::of(stat.owner, KINDS.extended) {
            Owner::Nobody => {}
            Owner::Container => totals.containers += 1,
            Owner::Ttl(_) => totals.ttls += 1,
            Owner::Session(session) => {
                totals.ephemerals += 1;
                let gone = SessionRecord {
                    timeout_ms: 0,
                    ephemerals: 0,
                };
                self.snapshot.sessions.entry(session).or_insert(gone).ephemerals += 1;
            }
        }
        self.above.push(Above {
            path: node.path.to_owned(),
            acl,
            stat,
            data: node.data.map(<[u8]>::to_vec),
            children: 0,
        });
        Ok(())
    }

    /// Hands on all nodes that are open, but so many from the root: their children have all come.
    fn pass(&mut self, stay: usize) -> io::Result<()> {
        for passed in self.above.drain(stay..).rev() {
            let node = Node {
                acl: passed.acl,
                stat: passed.stat,
                children: passed.children,
                payload: passed.data.as_deref().map_or(Payload::Null, Payload::Inline),
            };
            (self.take)(Item::Node(&passed.path, node), KINDS)?;
        }
        Ok(())
    }

    fn finish(mut self, named: Option<Zxid>, trailer: &Trailer) -> Snapshot {
        let last = trailer.last_zxid.unwrap_or(0);
        let zxid = named.unwrap_or(Zxid(last as u64));
        self.snapshot.totals.zxid = zxid;
        let digested = trailer.digest.map_or(0, |digest| digest.zxid);
        let reached = Zxid(self.newest.max(last).max(digested) as u64);
        let fuzzy = reached > zxid;
        let mut remarks = vec!["Apache ZooKeeper's".to_owned()];
        if named.is_none() {
            remarks.push("no zxid in its name".into());
        }
        if fuzzy {
            let from = zxid.next();
            remarks.push(format!(
                "fuzzy: written while transactions up to {reached} went on, whole only with the log from {from} on"
            ));
        }
        if !self.deep {
            remarks.push("not written depth first: counts of children may be too low".into());
        }
        self.missing.sort_unstable();
        for id in std::mem::take(&mut self.missing) {
            let why = format!("ACL {id} is used by a node and not there");
            match fuzzy {
                true => remarks.push(why),
                false => self.snapshot.problem(why),
            }
        }
        if self.snapshot.totals.nodes == 0 {
            self.snapshot.problem("there is no node, not even the root");
        }
        self.hold_against_digest(zxid, trailer, fuzzy, &mut remarks);
        self.snapshot.remarks = remarks;
        self.snapshot
    }

    fn hold_against_digest(&mut self, zxid: Zxid, trailer: &Trailer, fuzzy: bool, remarks: &mut Vec<String>) {
        let Some(said) = trailer.digest.filter(|said| said.version == DIGEST_VERSION) else {
            return;
        };
        let found = self.snapshot.totals.digest;
        // Of any other moment than the snapshot's it says nothing of these nodes.
        if fuzzy || said.zxid as u64 != zxid.0 || zxid == Zxid::ZERO || said.digest == found {
            return;
        }
        let why = format!("its digest should be {:x}, its nodes give {found:x}", said.digest);
        match self.ascii {
            true => self.snapshot.problem(why),
            false => remarks.push(format!("{why}, as a JVM does whose charset is not UTF-8")),
        }
    }
}
