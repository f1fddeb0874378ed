//! `snapdump`: a snapshot's nodes, sessions and ACLs.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Parser;
use ringkeeper::tree::Totals;
use ringkeeper::tree::node::{Node, Owner, Payload};
use ringkeeper::tree::session::SessionRecord;
use ringkeeper::wire::acl::Acl;
use ringkeeper::wire::show::{AclText, Escaped};
use storage::snapshot::Reader;

use super::contents::{Contents, Kept, Wanted};
use super::filter::Filters;
use super::output::{Object, Output, acl, count, data, hex, quoted, time};
use super::{STATUSES, Verdict};

/// Every type of line.
const TYPES: &[&str] = &[
    "snapshot",
    "persistent",
    "ephemeral",
    "container",
    "ttl",
    "session",
    "acl",
];

const KEYS: &str = "\
Types of lines: snapshot, then nodes (persistent, ephemeral, container, ttl) in the order of their paths, session, acl.
--zxid holds for nodes: one of their czxid, mzxid and pzxid must match. --session holds for ephemerals and sessions.
A filter hides what it cannot match: with --path there are no sessions and no ACLs.

Keys of the JSON lines, by type:
  snapshot    file zxid nodes sessions ephemerals containers ttls dataBytes digest
  (a node)    path dataLength acl[scheme id perms] aclId children version cversion aversion czxid mzxid pzxid
              ctime mtime (ms since 1970); of an ephemeral owner, of a ttl node ttl (ms); with --data data (base64)
  session     session timeout (ms) ephemerals
  acl         aclId users acl[scheme id perms]
dataLength and data of a node without data are null. 64-bit ids are hexadecimal text.";

/// Prints what a Ringkeeper snapshot holds, and checks every checksum, count and digest in it.
#[derive(Parser, Debug)]
#[command(name = "snapdump", version, after_help = STATUSES, after_long_help = format!("{KEYS}\n\n{STATUSES}"))]
pub struct Arguments {
    /// Snapshot files, or data directories: of those the newest snapshot.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Of a directory every snapshot, oldest first.
    #[arg(long)]
    all: bool,
    /// JSON, one object a line.
    #[arg(long)]
    json: bool,
    /// The nodes' data too.
    #[arg(long)]
    data: bool,
    /// Only check, print nothing.
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    filters: Filters,
}

/// Runs the tool; lines go to `out`, one summary for each file to `err`.
///
/// # Errors
/// What `out` or `err` returned.
pub fn run(arguments: &Arguments, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Verdict> {
    if let Err(error) = arguments.filters.check_types(TYPES) {
        writeln!(err, "{error}")?;
        return Ok(Verdict::Unusable);
    }
    let mut output = Output::new(out, arguments.json);
    let mut worst = Verdict::Clean;
    for given in &arguments.files {
        let found = find(given, arguments.all);
        let files = match found {
            Ok(files) => files,
            Err(error) => {
                writeln!(err, "{}: {error}", given.display())?;
                worst = worst.max(Verdict::Unusable);
                continue;
            }
        };
        for file in files {
            let (verdict, summary) = dump(&file, arguments, &mut output)?;
            writeln!(err, "{}: {summary}", file.display())?;
            worst = worst.max(verdict);
        }
    }
    output.finish()?;
    Ok(worst)
}

/// The snapshots that an argument means.
fn find(given: &Path, all: bool) -> Result<Vec<PathBuf>, String> {
    let metadata = given.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_dir() {
        return Ok(vec![given.to_owned()]);
    }
    let mut found = super::files_of(given, storage::format::parse_snapshot_name).map_err(|error| error.to_string())?;
    let newest = found.pop().ok_or("no snapshot in this directory")?;
    if !all {
        found.clear();
    }
    found.push(newest);
    Ok(found)
}

/// Prints one snapshot, and gives the verdict on it with a sentence.
fn dump(file: &Path, arguments: &Arguments, output: &mut Output<'_>) -> io::Result<(Verdict, String)> {
    let mapped = match storage::snapshot::map(file) {
        Ok(mapped) => mapped,
        Err(error) => return Ok((Verdict::Unusable, format!("cannot be read: {error}"))),
    };
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let wanted = Wanted {
        node: &|path, node, totals| !arguments.quiet && wants_node(&arguments.filters, path, node, totals),
        data: arguments.data,
    };
    let read = Reader::open(&mapped).and_then(|reader| Contents::read(&reader, threads, &wanted));
    let contents = match read {
        Ok(contents) => contents,
        Err(error) => return Ok((Verdict::Corrupt, error.to_string())),
    };
    if !arguments.quiet {
        Lines {
            contents: &contents,
            arguments,
            file,
        }
        .print(output)?;
    }
    let totals = &contents.totals;
    let summary = format!(
        "zxid {}, {}, {}, {}, {} in the file",
        totals.zxid,
        count(totals.nodes, "node"),
        count(totals.sessions.into(), "session"),
        count(contents.acls.len() as u64, "ACL"),
        count(mapped.len() as u64, "byte")
    );
    match contents.problems.as_slice() {
        [] => Ok((Verdict::Clean, format!("{summary}: clean"))),
        problems => Ok((Verdict::Corrupt, format!("{summary}: CORRUPT: {}", problems.join("; ")))),
    }
}

fn wants_node(filters: &Filters, path: &str, node: &Node<'_>, totals: &Totals) -> bool {
    let owner = Owner::of(node.stat.owner, totals.ttls > 0);
    let of_session = match owner {
        Owner::Session(session) => filters.wants_session(session),
        _ => filters.session.is_none(),
    };
    of_session
        && filters.wants_type(&[type_of(owner)])
        && filters.wants_zxid(&[node.stat.czxid, node.stat.mzxid, node.stat.pzxid])
        && filters.wants_path([path].into_iter())
}

fn type_of(owner: Owner) -> &'static str {
    match owner {
        Owner::Nobody => "persistent",
        Owner::Session(_) => "ephemeral",
        Owner::Container => "container",
        Owner::Ttl(_) => "ttl",
    }
}

/// The lines of one snapshot.
struct Lines<'a> {
    contents: &'a Contents,
    arguments: &'a Arguments,
    file: &'a Path,
}

impl Lines<'_> {
    fn print(&self, output: &mut Output<'_>) -> io::Result<()> {
        let filters = &self.arguments.filters;
        let about_nodes = filters.zxid.is_some() || filters.path.is_some();
        if filters.wants_type(&["snapshot"]) {
            output.line(|| self.head_text(), || self.head_object())?;
        }
        for kept in &self.contents.nodes {
            output.line(|| self.node_text(kept), || self.node_object(kept))?;
        }
        if !about_nodes && filters.wants_type(&["session"]) {
            for (id, record) in self
                .contents
                .sessions
                .iter()
                .filter(|(id, _)| filters.wants_session(**id))
            {
                output.line(|| session_text(*id, record), || session_object(*id, record))?;
            }
        }
        if !about_nodes && filters.session.is_none() && filters.wants_type(&["acl"]) {
            for (id, (users, entries)) in &self.contents.acls {
                let text = || format!("acl {id} users={users} {}", AclText(entries));
                let object = || {
                    Object::of_type("acl")
                        .with("aclId", *id)
                        .with("users", *users)
                        .with("acl", acl(entries))
                };
                output.line(text, object)?;
            }
        }
        Ok(())
    }

    fn head_text(&self) -> String {
        let Totals {
            zxid,
            nodes,
            sessions,
            ephemerals,
            containers,
            ttls,
            bytes,
            digest,
            ..
        } = self.contents.totals;
        format!(
            "snapshot {} zxid={zxid} nodes={nodes} sessions={sessions} ephemerals={ephemerals} containers={containers} \
             ttls={ttls} dataBytes={bytes} digest=0x{digest:x}",
            self.file.display()
        )
    }

    fn head_object(&self) -> Object {
        let totals = &self.contents.totals;
        Object::of_type("snapshot")
            .with("file", self.file.display().to_string())
            .with_id("zxid", totals.zxid.0 as i64)
            .with("nodes", totals.nodes)
            .with("sessions", totals.sessions)
            .with("ephemerals", totals.ephemerals)
            .with("containers", totals.containers)
            .with("ttls", totals.ttls)
            .with("dataBytes", totals.bytes)
            .with_id("digest", totals.digest as i64)
    }

    fn acl_of(&self, node: &Node<'_>) -> Vec<Acl> {
        // One that is not there is told as a problem.
        self.contents.acl(node.acl).unwrap_or_default()
    }

    fn data_of<'n>(&'n self, kept: &'n Kept, node: &Node<'n>) -> Option<&'n [u8]> {
        match node.payload {
            Payload::Null => None,
            Payload::Inline(bytes) => Some(bytes),
            Payload::Large(_) => self.contents.large_data.get(&kept.path).map(Vec::as_slice),
        }
    }

    fn node_text(&self, kept: &Kept) -> String {
        let node = kept.node();
        let (owner, stat) = (self.contents.owner(node.stat.owner), node.client_stat(true));
        let length = match node.payload {
            Payload::Null => "null".to_owned(),
            payload => format!("{} bytes", payload.length()),
        };
        let mut text = format!(
            "{} {} data={length} acl={} children={} version={} cversion={} aversion={} czxid={} mzxid={} pzxid={} \
             ctime={} mtime={}",
            type_of(owner),
            Escaped(ringkeeper::base::path::shown(&kept.path)),
            AclText(&self.acl_of(&node)),
            stat.num_children,
            stat.version,
            stat.cversion,
            stat.aversion,
            hex(stat.czxid),
            hex(stat.mzxid),
            hex(stat.pzxid),
            time(stat.ctime),
            time(stat.mtime)
        );
        match owner {
            Owner::Session(session) => text.push_str(&format!(" owner=0x{session:x}")),
            Owner::Ttl(ttl) => text.push_str(&format!(" ttl={ttl}ms")),
            Owner::Nobody | Owner::Container => {}
        }
        if let Some(bytes) = self.data_of(kept, &node).filter(|_| self.arguments.data) {
            text.push(' ');
            text.push_str(&quoted(bytes));
        }
        text
    }

    fn node_object(&self, kept: &Kept) -> Object {
        let node = kept.node();
        let (owner, stat) = (self.contents.owner(node.stat.owner), node.client_stat(true));
        let length = (node.payload != Payload::Null).then(|| node.payload.length());
        let object = Object::of_type(type_of(owner))
            .with("path", ringkeeper::base::path::shown(&kept.path))
            .with("dataLength", length)
            .with("acl", acl(&self.acl_of(&node)))
            .with("aclId", node.acl.0)
            .with("children", stat.num_children)
            .with("version", stat.version)
            .with("cversion", stat.cversion)
            .with("aversion", stat.aversion)
            .with_id("czxid", stat.czxid)
            .with_id("mzxid", stat.mzxid)
            .with_id("pzxid", stat.pzxid)
            .with("ctime", stat.ctime)
            .with("mtime", stat.mtime);
        let object = match owner {
            Owner::Session(session) => object.with_id("owner", session),
            Owner::Ttl(ttl) => object.with("ttl", ttl),
            Owner::Nobody | Owner::Container => object,
        };
        match self.arguments.data {
            true => object.with("data", data(self.data_of(kept, &node))),
            false => object,
        }
    }
}

fn session_text(id: i64, record: &SessionRecord) -> String {
    format!(
        "session 0x{id:x} timeout={}ms ephemerals={}",
        record.timeout_ms, record.ephemerals
    )
}

fn session_object(id: i64, record: &SessionRecord) -> Object {
    Object::of_type("session")
        .with_id("session", id)
        .with("timeout", record.timeout_ms)
        .with("ephemerals", record.ephemerals)
}
