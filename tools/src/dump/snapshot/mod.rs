//! `snapdump`: a snapshot's nodes, sessions and ACLs; what is heavy in it; what changed between two.
//!
//! Every reading checks the whole file, whatever is printed of it. Memory is bounded by `--memory` and the tables of
//! sessions and ACLs, not by the count of nodes: what must be put in order is sorted in temporary files (`sort`).

pub mod apache;
pub mod diff;
pub mod listing;
pub mod nodes;
pub mod own;
pub mod read;
pub mod summary;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Parser;

use self::read::{Means, Refused, Snapshot};
use super::filter::Filters;
use super::output::{Output, count};
use super::progress::Progress;
use super::{STATUSES, Verdict};

/// Every type of line that a listing has.
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

const COST: &str = "\
Memory: --memory and some 60 bytes for each session, however many nodes there are. What must be put in order and is
more than that goes to a temporary file in TMPDIR: of each node its path and some 110 bytes, with --data also its data;
--diff does so for both snapshots. --summary needs one only for more subtrees than fit. Apache ZooKeeper's snapshots are
read where Ringkeeper's are: plain, .gz and .snappy, found in version-2 directories.";

/// Prints what a snapshot holds, and checks every checksum, count and digest in it.
#[derive(Parser, Debug)]
#[command(
    name = "snapdump",
    version,
    after_help = statuses(),
    after_long_help = format!("{KEYS}\n\n{}\n\n{}\n\n{COST}\n\n{}", summary::KEYS, diff::KEYS, statuses())
)]
pub struct Arguments {
    /// Snapshot files, or data directories: of those the newest snapshot.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Of a directory every snapshot, oldest first.
    #[arg(long)]
    all: bool,
    /// What is heavy: subtrees, nodes, parents, ACLs, sessions.
    #[arg(long, conflicts_with_all = ["diff", "data"])]
    summary: bool,
    /// With --summary: how deep subtrees are told apart, counted from --path.
    #[arg(long, value_name = "LEVELS", default_value_t = 3)]
    depth: usize,
    /// With --summary: rows of each table.
    #[arg(long, value_name = "ROWS", default_value_t = 20)]
    top: usize,
    /// What changed from the first file (or directory) to the second.
    #[arg(long, conflicts_with = "all")]
    diff: bool,
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
    /// MiB for sorting; what is more goes to a temporary file.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    memory: u32,
    /// No progress bar on the terminal.
    #[arg(long)]
    no_progress: bool,
}

fn statuses() -> String {
    format!("{STATUSES} --diff of two clean snapshots: 0 nothing differs, 4 something does.")
}

/// Runs the tool; lines go to `out`, one summary for each file to `err`.
///
/// # Errors
/// What `out`, `err` or a temporary file returned.
pub fn run(arguments: &Arguments, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Verdict> {
    let types = if arguments.diff { diff::TYPES } else { TYPES };
    if let Err(error) = arguments.filters.check_types(types) {
        writeln!(err, "{error}")?;
        return Ok(Verdict::Unusable);
    }
    if arguments.diff && arguments.files.len() != 2 {
        writeln!(
            err,
            "--diff compares two snapshots, {} are given",
            arguments.files.len()
        )?;
        return Ok(Verdict::Unusable);
    }
    let (files, mut worst) = find_all(arguments, err)?;
    let progress = Progress::new(!arguments.no_progress);
    let means = Means {
        threads: std::thread::available_parallelism().map_or(1, |threads| threads.get()),
        memory: arguments.memory as usize * (1 << 20),
        progress: &progress,
    };
    let mut output = Output::new(out, arguments.json);
    let mut reading = InTurn::new(&files, &means);
    if arguments.diff {
        if let [from, to] = &files[..] {
            worst = diff::print([from, to], arguments, &mut reading, &mut output, err)?;
        }
    } else {
        for file in &files {
            reading.next(file);
            let read = match arguments.summary {
                true => summary::print(file, arguments, &means, &mut output)?,
                false => listing::print(file, arguments, &means, &mut output)?,
            };
            let (verdict, summary) = judge(&read);
            writeln!(err, "{}: {summary}", file.display())?;
            worst = worst.max(verdict);
        }
    }
    output.finish()?;
    Ok(worst)
}

/// The snapshots that all arguments mean; what cannot be found is told.
fn find_all(arguments: &Arguments, err: &mut dyn Write) -> io::Result<(Vec<PathBuf>, Verdict)> {
    let (mut files, mut worst) = (Vec::new(), Verdict::Clean);
    for given in &arguments.files {
        match find(given, arguments.all) {
            Ok(found) => files.extend(found),
            Err(error) => {
                writeln!(err, "{}: {error}", given.display())?;
                worst = Verdict::Unusable;
            }
        }
    }
    Ok((files, worst))
}

/// The snapshots that an argument means.
fn find(given: &Path, all: bool) -> Result<Vec<PathBuf>, String> {
    let metadata = given.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_dir() {
        return Ok(vec![given.to_owned()]);
    }
    let zxid_of = |name: &str| {
        let apache = || storage::apache::directory::parse_snapshot_name(name).map(|(zxid, _)| zxid);
        storage::format::parse_snapshot_name(name).or_else(apache)
    };
    let mut found = super::files_of(given, zxid_of).map_err(|error| error.to_string())?;
    let newest = found.pop().ok_or("no snapshot in this directory")?;
    if !all {
        found.clear();
    }
    found.push(newest);
    Ok(found)
}

/// Files that are read one after the other, for the progress bar.
pub struct InTurn<'a> {
    /// What each reading may use.
    pub means: &'a Means<'a>,
    count: usize,
    number: usize,
    bytes: u64,
}

impl<'a> InTurn<'a> {
    fn new(files: &[PathBuf], means: &'a Means<'a>) -> InTurn<'a> {
        means.progress.begin(files.iter().map(|file| length(file)).sum());
        InTurn {
            means,
            count: files.len(),
            number: 0,
            bytes: 0,
        }
    }

    /// The next file begins.
    pub fn next(&mut self, file: &Path) {
        self.number += 1;
        self.means.progress.file(file, self.number, self.count, self.bytes);
        self.bytes += length(file);
    }
}

/// Bytes of a file; that it is not there will be told when it is read.
fn length(file: &Path) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}

/// The verdict on a reading, with a sentence.
fn judge(read: &Result<Snapshot, Refused>) -> (Verdict, String) {
    let snapshot = match read {
        Ok(snapshot) => snapshot,
        Err((verdict, why)) => return (*verdict, why.clone()),
    };
    let totals = &snapshot.totals;
    let mut summary = format!(
        "zxid {}, {}, {}, {}, {} in the file",
        totals.zxid,
        count(totals.nodes, "node"),
        count(totals.sessions.into(), "session"),
        count(snapshot.acls.len() as u64, "ACL"),
        count(snapshot.file_bytes, "byte")
    );
    for remark in &snapshot.remarks {
        summary.push_str(", ");
        summary.push_str(remark);
    }
    match snapshot.problems.as_slice() {
        [] => (Verdict::Clean, format!("{summary}: clean")),
        problems => (Verdict::Corrupt, format!("{summary}: CORRUPT: {}", problems.join("; "))),
    }
}
