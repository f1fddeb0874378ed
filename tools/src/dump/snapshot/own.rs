//! Ringkeeper's snapshots: their bytes against their checksums, their entries against each other.
//!
//! Beyond the checksums, what is checked is what a server rests on: every entry decodes, the totals are those of the
//! entries, every node's ACL and large data are there, as many children are listed as there are, and the digest over
//! all nodes is the one that was kept with every transaction. A node and its large data come at any distance in the
//! file; what must be kept of the one until the other comes goes through a [`Sorter`], so memory stays bounded.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ringkeeper::tree::digest::Named;
use ringkeeper::tree::key::Kind;
use ringkeeper::tree::node::{AclId, Node, Owner, Payload};
use ringkeeper::tree::session::SessionRecord;
use ringkeeper::tree::{digest, set, snapshot, tree};
use storage::snapshot::{Reader, SnapshotError};

use super::read::{AclRow, Failure, Item, Kinds, Means, Snapshot, Take};
use crate::dump::sort::Sorter;

/// Mapped pages are given back in steps of so many bytes.
const RELEASE_BYTES: usize = 4 << 20;
/// Of the memory for sorting, the share that nodes with large data get.
const PAIRS_SHARE: usize = 4;

/// Reads a snapshot.
pub fn read(file: &Path, means: &Means<'_>, take: &mut Take<'_>) -> Result<Snapshot, Failure> {
    let mapped =
        storage::snapshot::map(file).map_err(|error| Failure::Unreadable(format!("cannot be read: {error}")))?;
    let corrupt = |error: SnapshotError| Failure::Corrupt(error.to_string());
    let reader = Reader::open(&mapped).map_err(corrupt)?;
    let mut reading = Reading::new(&reader, means, take);
    reading.snapshot.file_bytes = mapped.len() as u64;
    let mut released = 0;
    let mut tell = |offset| {
        means.progress.at(offset as u64);
        if offset >= released + RELEASE_BYTES {
            released = offset;
            mapped.release(offset);
        }
    };
    let loaded = reader.load_telling(means.threads, &mut |key, value| reading.entry(key, value), &mut tell);
    if let Some(error) = reading.failed {
        return Err(Failure::Taking(error));
    }
    loaded.map_err(corrupt)?;
    reading.finish().map_err(Failure::Taking)
}

struct Reading<'t, 'k> {
    snapshot: Snapshot,
    sums: Sums,
    /// Nodes with large data and those data, as far as the digest needs them.
    pairs: Sorter,
    take: &'t mut Take<'k>,
    failed: Option<io::Error>,
}

/// Sums over the entries, to be held against the totals.
#[derive(Default)]
struct Sums {
    nodes: u64,
    ephemerals: u32,
    containers: u32,
    ttls: u32,
    sessions: u32,
    /// What the nodes say of their children, and how many names are listed.
    children: u64,
    names: u64,
    digest: u64,
    acl_users: BTreeMap<AclId, u64>,
}

/// Why an entry is not taken.
enum Refusal {
    Problem(String),
    Taking(io::Error),
}

impl From<String> for Refusal {
    fn from(problem: String) -> Refusal {
        Refusal::Problem(problem)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Taking(error)
    }
}

impl<'t, 'k> Reading<'t, 'k> {
    fn new(reader: &Reader<'_>, means: &Means<'_>, take: &'t mut Take<'k>) -> Reading<'t, 'k> {
        let mut snapshot = Snapshot::default();
        match snapshot::read_meta(reader.meta()) {
            Some(totals) => snapshot.totals = totals,
            None => snapshot.problem("its totals are of an unknown version or not whole"),
        }
        if snapshot.totals.zxid != reader.zxid() {
            let (header, totals) = (reader.zxid(), snapshot.totals.zxid);
            snapshot.problem(format!("its header says zxid {header}, its totals {totals}"));
        }
        snapshot.kinds = Kinds {
            extended: snapshot.totals.ttls > 0,
        };
        Reading {
            snapshot,
            sums: Sums::default(),
            pairs: Sorter::new(means.memory / PAIRS_SHARE),
            take,
            failed: None,
        }
    }

    /// Takes an entry; an error stops the reader, and is kept in `failed`.
    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        match self.kind_of_entry(key, value) {
            Ok(()) => {}
            Err(Refusal::Problem(problem)) => self.snapshot.problem(problem),
            Err(Refusal::Taking(error)) => {
                self.failed = Some(error);
                return Err("nobody takes the entries any more".into());
            }
        }
        Ok(())
    }

    fn kind_of_entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), Refusal> {
        let (kind, name) = key.split_first().ok_or_else(|| "an entry has no key".to_owned())?;
        let odd = || format!("an entry {} is of no known kind", key.escape_ascii());
        match Kind::of(*kind).ok_or_else(odd)? {
            Kind::Node => return self.node(text(name)?, value),
            Kind::Data => return self.data(text(name)?, value),
            Kind::Children => self.sums.names += set::names(value).count() as u64,
            Kind::Acl => {
                let id = name.try_into().map(u32::from_be_bytes).map_err(|_| odd())?;
                let (users, entries) = tree::decode_acl(value).ok_or_else(|| format!("ACL {id} is not whole"))?;
                let row = AclRow {
                    id: id.into(),
                    users,
                    entries,
                };
                self.snapshot.acls.insert(id, row);
            }
            Kind::Session => {
                let id = name.try_into().map(i64::from_be_bytes).map_err(|_| odd())?;
                let record = SessionRecord::decode(value).ok_or_else(|| format!("session 0x{id:x} is not whole"))?;
                // A record without a timeout only holds the ephemerals of a session that this server never met.
                self.sums.sessions += u32::from(record.timeout_ms > 0);
                self.snapshot.sessions.insert(id, record);
            }
            // What these list is told by the nodes.
            Kind::Ephemerals | Kind::Containers | Kind::Ttls => {}
        }
        Ok(())
    }

    fn node(&mut self, path: &str, value: &[u8]) -> Result<(), Refusal> {
        let node = Node::try_decode(value).ok_or_else(|| format!("node {path} is not whole"))?;
        let (sums, kinds) = (&mut self.sums, self.snapshot.kinds);
        sums.nodes += 1;
        sums.children += u64::from(node.children);
        *sums.acl_users.entry(node.acl).or_default() += 1;
        match kinds.owner(&node) {
            Owner::Nobody => {}
            Owner::Session(_) => sums.ephemerals += 1,
            Owner::Container => sums.containers += 1,
            Owner::Ttl(_) => sums.ttls += 1,
        }
        match node.payload {
            Payload::Large(_) => self.pairs.push(path.as_bytes(), &[&[NODE], value])?,
            Payload::Inline(data) => sums.digest = sums.digest.wrapping_add(digest::node(path, data, &node.stat)),
            Payload::Null => sums.digest = sums.digest.wrapping_add(digest::node(path, b"", &node.stat)),
        }
        (self.take)(Item::Node(path, node), kinds)?;
        Ok(())
    }

    fn data(&mut self, path: &str, value: &[u8]) -> Result<(), Refusal> {
        let named = Named::new(path, value);
        let (crc, bytes) = (named.crc.to_be_bytes(), named.bytes.to_be_bytes());
        self.pairs.push(path.as_bytes(), &[&[DATA], &crc, &bytes])?;
        (self.take)(Item::Data(path, value), self.snapshot.kinds)?;
        Ok(())
    }

    fn finish(mut self) -> io::Result<Snapshot> {
        let (mut digest, mut problems) = (self.sums.digest, Vec::new());
        meet(self.pairs, &mut |pair| match pair {
            Ok(share) => digest = digest.wrapping_add(share),
            Err(problem) => problems.push(problem),
        })?;
        self.sums.digest = digest;
        hold_against_totals(&mut self.snapshot, &self.sums);
        problems
            .into_iter()
            .for_each(|problem: String| self.snapshot.problem(problem));
        Ok(self.snapshot)
    }
}

/// What the first byte of a record in `pairs` says.
const NODE: u8 = 0;
const DATA: u8 = 1;

/// Brings nodes and their data together; gives each node's share of the digest, or what is wrong with it.
fn meet(pairs: Sorter, each: &mut dyn FnMut(Result<u64, String>)) -> io::Result<()> {
    let mut sorted = pairs.finish()?;
    let mut first: Option<(String, Vec<u8>)> = None;
    while let Some((path, half)) = sorted.next()? {
        let path = std::str::from_utf8(path).expect("it was text when it came");
        match first.take() {
            Some((before, other)) if before == path && other[0] != half[0] => {
                let (node, data) = if half[0] == DATA {
                    (&other[..], half)
                } else {
                    (half, &other[..])
                };
                each(share(path, &node[1..], &data[1..]));
            }
            alone => {
                if let Some((before, half)) = alone {
                    each(Err(widowed(&before, &half)));
                }
                first = Some((path.to_owned(), half.to_vec()));
            }
        }
    }
    if let Some((before, half)) = first {
        each(Err(widowed(&before, &half)));
    }
    Ok(())
}

fn share(path: &str, node: &[u8], data: &[u8]) -> Result<u64, String> {
    let node = Node::decode(node);
    let (crc, bytes) = data.split_first_chunk().expect("as it was pushed");
    let named = Named {
        crc: u32::from_be_bytes(*crc),
        bytes: u64::from_be_bytes(bytes.try_into().expect("as it was pushed")),
    };
    let (length, found) = (node.payload.length() as u64, named.bytes - path.len() as u64);
    match found == length {
        true => Ok(named.node(path, &node.stat)),
        false => Err(format!(
            "node {path} should have {length} bytes of data, {found} are there"
        )),
    }
}

fn widowed(path: &str, half: &[u8]) -> String {
    let (there, missing) = match half[0] {
        DATA => ("data", "node"),
        _ => ("a node", "data"),
    };
    format!("{path} has {there} but no {missing}")
}

fn hold_against_totals(snapshot: &mut Snapshot, sums: &Sums) {
    let totals = snapshot.totals;
    let below = totals.nodes.saturating_sub(1);
    let counts = [
        ("nodes", sums.nodes, totals.nodes),
        ("sessions", sums.sessions.into(), totals.sessions.into()),
        ("ephemerals", sums.ephemerals.into(), totals.ephemerals.into()),
        ("containers", sums.containers.into(), totals.containers.into()),
        ("TTL nodes", sums.ttls.into(), totals.ttls.into()),
        ("nodes below others (by their parents' counts)", sums.children, below),
        ("nodes below others (by their parents' lists)", sums.names, below),
    ];
    for (what, found, said) in counts {
        if found != said {
            snapshot.problem(format!("its totals say {said} {what}, its entries {found}"));
        }
    }
    // A server that keeps no digests says 0.
    if totals.digest != 0 && totals.digest != sums.digest {
        let (said, found) = (totals.digest, sums.digest);
        snapshot.problem(format!("its digest should be {said:x}, its nodes give {found:x}"));
    }
    for id in sums.acl_users.keys() {
        if id.0 != 0 && !snapshot.acls.contains_key(&id.0) {
            snapshot.problem(format!("ACL {} is used by a node and not there", id.0));
        }
    }
}

fn text(name: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(name).map_err(|_| format!("the path {} is not UTF-8", name.escape_ascii()))
}
