//! What a snapshot says, read whole and checked: its bytes against their checksums, its entries against each other.
//!
//! Beyond the checksums, what is checked is what a server rests on: every entry decodes, the totals are those of the
//! entries, every node's ACL and large data are there, as many children are listed as there are, and the digest over
//! all nodes is the one that was kept with every transaction. Only what is asked for is kept in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ringkeeper::tree::key::Kind;
use ringkeeper::tree::node::{AclId, Node, Owner, Payload, Persisted};
use ringkeeper::tree::session::SessionRecord;
use ringkeeper::tree::{Totals, digest, set, snapshot, tree};
use ringkeeper::wire::acl::{ALL, Acl};
use storage::snapshot::{Reader, SnapshotError};

/// The most problems that are told; one damaged entry often shows in several ways.
const PROBLEMS_MAX: usize = 20;

/// A node that was asked for.
pub struct Kept {
    /// Its path; the root's is empty.
    pub path: String,
    value: Box<[u8]>,
}

impl Kept {
    /// What the snapshot holds of it.
    pub fn node(&self) -> Node<'_> {
        Node::decode(&self.value)
    }
}

/// A snapshot's contents.
#[derive(Default)]
pub struct Contents {
    /// What its meta bytes say.
    pub totals: Totals,
    /// The nodes that were asked for, in the order of their paths.
    pub nodes: Vec<Kept>,
    /// The data of nodes that is stored apart, if it was asked for.
    pub large_data: HashMap<String, Vec<u8>>,
    /// Every session.
    pub sessions: BTreeMap<i64, SessionRecord>,
    /// Every ACL but the open one: its count of users and its entries.
    pub acls: BTreeMap<u32, (u32, Vec<Acl>)>,
    /// What is wrong, in sentences.
    pub problems: Vec<String>,
}

/// Which nodes to keep, and whether their data too.
pub struct Wanted<'f> {
    /// Decides on a path and its node.
    pub node: &'f dyn Fn(&str, &Node<'_>, &Totals) -> bool,
    /// Whether data that is stored apart is kept.
    pub data: bool,
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
    acls_used: BTreeSet<AclId>,
    /// Nodes whose data is stored apart, until both were met.
    large: HashMap<String, Large>,
}

#[derive(Default)]
struct Large {
    stat: Option<(Persisted, u32)>,
    data: Option<Vec<u8>>,
    kept: bool,
}

impl Contents {
    /// Reads a snapshot to its end on `threads` threads.
    ///
    /// # Errors
    /// What the reader found wrong with the bytes. What is wrong with their meaning is in [`Contents::problems`].
    pub fn read(reader: &Reader<'_>, threads: usize, wanted: &Wanted<'_>) -> Result<Contents, SnapshotError> {
        let mut contents = Contents::default();
        let mut sums = Sums::default();
        match snapshot::read_meta(reader.meta()) {
            Some(totals) => contents.totals = totals,
            None => contents.problem("its totals are of an unknown version or not whole"),
        }
        if contents.totals.zxid != reader.zxid() {
            let (header, totals) = (reader.zxid(), contents.totals.zxid);
            contents.problem(format!("its header says zxid {header}, its totals {totals}"));
        }
        reader.load(threads, &mut |key, value| {
            if let Err(problem) = contents.entry(key, value, &mut sums, wanted) {
                contents.problem(problem);
            }
            Ok(())
        })?;
        contents.hold_against_totals(sums);
        contents
            .nodes
            .sort_unstable_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
        Ok(contents)
    }

    /// An ACL's entries; `None` if the snapshot lacks them.
    pub fn acl(&self, id: AclId) -> Option<Vec<Acl>> {
        match id {
            AclId(0) => Some(vec![Acl::anyone(ALL)]),
            AclId(id) => self.acls.get(&id).map(|(_, entries)| entries.clone()),
        }
    }

    /// What an owner field means here: TTL nodes exist only where the server was told so.
    pub fn owner(&self, field: i64) -> Owner {
        Owner::of(field, self.totals.ttls > 0)
    }

    fn problem(&mut self, problem: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem.into());
        }
    }

    fn entry(&mut self, key: &[u8], value: &[u8], sums: &mut Sums, wanted: &Wanted<'_>) -> Result<(), String> {
        let (kind, name) = key.split_first().ok_or("an entry has no key")?;
        let odd = || format!("an entry {} is of no known kind", key.escape_ascii());
        match Kind::of(*kind).ok_or_else(odd)? {
            Kind::Node => self.node(text(name)?, value, sums, wanted),
            Kind::Data => self.data(text(name)?, value, sums, wanted),
            Kind::Children => {
                sums.names += set::names(value).count() as u64;
                Ok(())
            }
            Kind::Acl => {
                let id = name.try_into().map(u32::from_be_bytes).map_err(|_| odd())?;
                let acl = tree::decode_acl(value).ok_or_else(|| format!("ACL {id} is not whole"))?;
                self.acls.insert(id, acl);
                Ok(())
            }
            Kind::Session => {
                let id = name.try_into().map(i64::from_be_bytes).map_err(|_| odd())?;
                let record = SessionRecord::decode(value).ok_or_else(|| format!("session 0x{id:x} is not whole"))?;
                // A record without a timeout only holds the ephemerals of a session that this server never met.
                sums.sessions += u32::from(record.timeout_ms > 0);
                self.sessions.insert(id, record);
                Ok(())
            }
            // What these list is told by the nodes.
            Kind::Ephemerals | Kind::Containers | Kind::Ttls => Ok(()),
        }
    }

    fn node(&mut self, path: &str, value: &[u8], sums: &mut Sums, wanted: &Wanted<'_>) -> Result<(), String> {
        let node = Node::try_decode(value).ok_or_else(|| format!("node {path} is not whole"))?;
        sums.nodes += 1;
        sums.children += u64::from(node.children);
        sums.acls_used.insert(node.acl);
        match self.owner(node.stat.owner) {
            Owner::Nobody => {}
            Owner::Session(_) => sums.ephemerals += 1,
            Owner::Container => sums.containers += 1,
            Owner::Ttl(_) => sums.ttls += 1,
        }
        let keep = (wanted.node)(path, &node, &self.totals);
        if keep {
            self.nodes.push(Kept {
                path: path.to_owned(),
                value: value.into(),
            });
        }
        match node.payload {
            Payload::Large(length) => {
                let large = sums.large.entry(path.to_owned()).or_default();
                large.stat = Some((node.stat, length));
                large.kept = keep;
                return self.pair(path, sums, wanted);
            }
            Payload::Inline(data) => sums.digest = sums.digest.wrapping_add(digest::node(path, data, &node.stat)),
            Payload::Null => sums.digest = sums.digest.wrapping_add(digest::node(path, b"", &node.stat)),
        }
        Ok(())
    }

    fn data(&mut self, path: &str, value: &[u8], sums: &mut Sums, wanted: &Wanted<'_>) -> Result<(), String> {
        sums.large.entry(path.to_owned()).or_default().data = Some(value.to_vec());
        self.pair(path, sums, wanted)
    }

    /// When a node and its data have both come: counts them, and lets the data go if nobody wants it.
    fn pair(&mut self, path: &str, sums: &mut Sums, wanted: &Wanted<'_>) -> Result<(), String> {
        let Large {
            stat: Some((stat, length)),
            data: Some(data),
            kept,
        } = &sums.large[path]
        else {
            return Ok(());
        };
        sums.digest = sums.digest.wrapping_add(digest::node(path, data, stat));
        let (length, found, kept) = (*length as usize, data.len(), *kept);
        let large = sums.large.remove(path).expect("it was just there");
        if kept && wanted.data {
            self.large_data.extend(large.data.map(|data| (path.to_owned(), data)));
        }
        if found == length {
            return Ok(());
        }
        Err(format!(
            "node {path} should have {length} bytes of data, {found} are there"
        ))
    }

    fn hold_against_totals(&mut self, sums: Sums) {
        let totals = self.totals;
        let counts = [
            ("nodes", sums.nodes, totals.nodes),
            ("sessions", sums.sessions.into(), totals.sessions.into()),
            ("ephemerals", sums.ephemerals.into(), totals.ephemerals.into()),
            ("containers", sums.containers.into(), totals.containers.into()),
            ("TTL nodes", sums.ttls.into(), totals.ttls.into()),
            (
                "nodes below others (by their parents' counts)",
                sums.children,
                totals.nodes.saturating_sub(1),
            ),
            (
                "nodes below others (by their parents' lists)",
                sums.names,
                totals.nodes.saturating_sub(1),
            ),
        ];
        for (what, found, said) in counts {
            if found != said {
                self.problem(format!("its totals say {said} {what}, its entries {found}"));
            }
        }
        // A server that keeps no digests says 0.
        if totals.digest != 0 && totals.digest != sums.digest {
            let (said, found) = (totals.digest, sums.digest);
            self.problem(format!("its digest should be {said:x}, its nodes give {found:x}"));
        }
        for id in sums.acls_used {
            if id.0 != 0 && !self.acls.contains_key(&id.0) {
                self.problem(format!("ACL {} is used by a node and not there", id.0));
            }
        }
        for (path, large) in sums.large {
            let (there, missing) = if large.data.is_some() {
                ("data", "node")
            } else {
                ("a node", "data")
            };
            self.problem(format!("{path} has {there} but no {missing}"));
        }
    }
}

fn text(name: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(name).map_err(|_| format!("the path {} is not UTF-8", name.escape_ascii()))
}
