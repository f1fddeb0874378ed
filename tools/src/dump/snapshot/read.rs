//! What any snapshot gives: nodes as they come in the file, and at the end everything that is not nodes.
//!
//! Both formats are told in the words of our tree, so that listing, summary and comparison know one kind of snapshot:
//! `own` reads Ringkeeper's files, `apache` those of Apache ZooKeeper. Nodes are handed on, never gathered; the tables
//! of sessions and ACLs are held (some 60 bytes for each session, and the entries of each ACL).

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ringkeeper::tree::Totals;
use ringkeeper::tree::node::{AclId, Node, Owner};
use ringkeeper::tree::session::SessionRecord;
use ringkeeper::wire::acl::{ALL, Acl};

use super::{apache, own};
use crate::dump::Verdict;
use crate::dump::progress::Progress;

/// The most problems that are told; one damaged entry often shows in several ways.
const PROBLEMS_MAX: usize = 20;

/// A piece of a node, as it comes.
pub enum Item<'a> {
    /// A node, perhaps with its data.
    Node(&'a str, Node<'a>),
    /// The data of a node whose payload says that they lie apart; before or behind it.
    Data(&'a str, &'a [u8]),
}

impl Item<'_> {
    /// The node's path; the root's is empty.
    pub fn path(&self) -> &str {
        match self {
            Item::Node(path, _) | Item::Data(path, _) => path,
        }
    }
}

/// Takes pieces of nodes. An error ends the reading.
pub type Take<'t> = dyn FnMut(Item<'_>, Kinds) -> io::Result<()> + 't;

/// What owner fields mean in a snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kinds {
    /// Whether there can be TTL nodes: they exist only where the server was told so.
    pub extended: bool,
}

impl Kinds {
    /// Reads an owner field.
    pub fn owner(self, node: &Node<'_>) -> Owner {
        Owner::of(node.stat.owner, self.extended)
    }
}

/// The name of a node's type.
pub fn type_of(owner: Owner) -> &'static str {
    match owner {
        Owner::Nobody => "persistent",
        Owner::Session(_) => "ephemeral",
        Owner::Container => "container",
        Owner::Ttl(_) => "ttl",
    }
}

/// An ACL and how many nodes have it.
#[derive(Clone, Debug)]
pub struct AclRow {
    /// Its number in the file.
    pub id: i64,
    /// Nodes with it.
    pub users: u32,
    /// What it says.
    pub entries: Vec<Acl>,
}

/// A snapshot that was read to its end, but for the nodes.
#[derive(Default)]
pub struct Snapshot {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Counts, digest and zxid.
    pub totals: Totals,
    /// What its owner fields mean.
    pub kinds: Kinds,
    /// Every session.
    pub sessions: BTreeMap<i64, SessionRecord>,
    /// Every ACL but the open one, by the number that the nodes have here.
    pub acls: BTreeMap<u32, AclRow>,
    /// What else is to be known of it, for the summary.
    pub remarks: Vec<String>,
    /// What is wrong, in sentences.
    pub problems: Vec<String>,
}

impl Snapshot {
    /// An ACL's entries; none if the snapshot lacks it, which is told as a problem.
    pub fn acl(&self, id: AclId) -> Vec<Acl> {
        match id {
            AclId(0) => vec![Acl::anyone(ALL)],
            AclId(id) => self.acls.get(&id).map(|row| row.entries.clone()).unwrap_or_default(),
        }
    }

    /// An ACL's number in the file.
    pub fn acl_number(&self, id: AclId) -> i64 {
        self.acls.get(&id.0).map_or(i64::from(id.0), |row| row.id)
    }

    /// Sessions that have a timeout; a record without one only holds ephemerals of a session that is not known.
    pub fn live_sessions(&self) -> impl Iterator<Item = (i64, &SessionRecord)> {
        let sessions = self.sessions.iter().map(|(id, record)| (*id, record));
        sessions.filter(|(_, record)| record.timeout_ms > 0)
    }

    /// Adds a problem, unless there are enough.
    pub fn problem(&mut self, problem: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem.into());
        }
    }
}

/// The verdict on a snapshot of which there is nothing to tell, and why.
pub type Refused = (Verdict, String);

/// Why a reading ended early.
pub enum Failure {
    /// It cannot be read.
    Unreadable(String),
    /// Its bytes are wrong.
    Corrupt(String),
    /// What took the nodes failed; a temporary file, most likely.
    Taking(io::Error),
}

/// What reading may use, and whom it tells how far it is.
pub struct Means<'p> {
    /// Threads that decode.
    pub threads: usize,
    /// Bytes for sorting.
    pub memory: usize,
    /// The bar.
    pub progress: &'p Progress,
}

/// Reads a snapshot of either format to its end. What makes its contents worthless is an inner error: a verdict with a
/// sentence; what is wrong with their meaning is in [`Snapshot::problems`].
///
/// # Errors
/// What `take` returned, or a temporary file.
pub fn read(file: &Path, means: &Means<'_>, take: &mut Take<'_>) -> io::Result<Result<Snapshot, Refused>> {
    let read = match apache::packing(file) {
        Some(packing) => apache::read(file, packing, means, take),
        None => own::read(file, means, take),
    };
    match read {
        Ok(snapshot) => Ok(Ok(snapshot)),
        Err(Failure::Taking(error)) => Err(error),
        Err(Failure::Unreadable(why)) => Ok(Err((Verdict::Unusable, why))),
        Err(Failure::Corrupt(why)) => Ok(Err((Verdict::Corrupt, why))),
    }
}
