//! `logdump`: the log's transactions, one line each, or what they come to.
//!
//! A log of any length is read in the memory of one segment; `source` reads Ringkeeper's logs and those of Apache
//! ZooKeeper, record by record, and here nothing is known of the difference.

mod lines;
mod source;
pub mod stats;

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Parser;
use ringkeeper::wire::show;
use ringkeeper::wire::txn::{Change, Txn, TxnHeader};
use storage::log::LogItem;

use self::stats::Stats;
use super::filter::Filters;
use super::output::{Output, count};
use super::progress::Progress;
use super::{STATUSES, Verdict};

/// The transactions that there are.
const CODES: [i32; 13] = [1, 2, 5, 7, 13, 14, 15, 19, 20, 21, -1, -10, -11];

/// The most records without sense that are told one by one.
const PROBLEMS_MAX: usize = 20;

const KEYS: &str = "\
Types are ZooKeeper's names: create (without a Stat, as old clients send it), create2, createContainer, createTTL,
delete, deleteContainer, setData, setACL, check, multi, createSession, closeSession, error. --type and --path also
match inside a multi; --path matches the paths that a closeSession removes.

Keys of the JSON lines:
  every line  file offset zxid session cxid time (ms since 1970) type; digest, of the tree after it, if it was kept
  create*     path dataLength acl[scheme id perms] parentCversion; ephemeral (of create and create2) or ttl (ms)
  delete*     path
  setData     path dataLength version
  setACL      path acl[scheme id perms] version
  check       path version
  multi       changes: a list of objects with type and the keys above
  createSession timeout (ms); closeSession paths (null if not listed); error code
With --data also data (base64) wherever there is dataLength; both are null where there are no data. 64-bit ids are
hexadecimal text.";

const COST: &str = "\
Memory: one segment of a log (64 MiB as a rule), with --stats also --memory; what needs more for the sums of very many
sessions goes to a temporary file in TMPDIR. Apache ZooKeeper's logs are read where Ringkeeper's are, and found in
version-2 directories; of a gap between their records, which Apache ZooKeeper passes over, it is told as corruption.";

/// Prints the transactions of a log, and checks every seal and checksum in it.
#[derive(Parser, Debug)]
#[command(
    name = "logdump",
    version,
    after_help = STATUSES,
    after_long_help = format!("{KEYS}\n\n{}\n\n{COST}\n\n{STATUSES}", stats::KEYS)
)]
pub struct Arguments {
    /// Log segments, or log directories: of those every segment, and that each continues the one before.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// What the transactions come to: per second, per type, per session, and their sizes.
    #[arg(long, conflicts_with = "data")]
    stats: bool,
    /// With --stats: how many sessions are told.
    #[arg(long, value_name = "ROWS", default_value_t = 20)]
    top: usize,
    /// JSON, one object a line.
    #[arg(long)]
    json: bool,
    /// The data too.
    #[arg(long)]
    data: bool,
    /// Only check, print nothing.
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    filters: Filters,
    /// With --stats: MiB for the sums of sessions; what is more goes to a temporary file.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    memory: u32,
    /// No progress bar on the terminal.
    #[arg(long)]
    no_progress: bool,
}

/// Runs the tool; lines go to `out`, one summary for each argument to `err`.
///
/// # Errors
/// What `out`, `err` or a temporary file returned.
pub fn run(arguments: &Arguments, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Verdict> {
    if let Err(error) = arguments.filters.check_types(&CODES.map(show::type_name)) {
        writeln!(err, "{error}")?;
        return Ok(Verdict::Unusable);
    }
    let mut output = Output::new(out, arguments.json);
    // Lines on a terminal are progress enough, and a bar would be drawn into them.
    let lines_seen = !arguments.quiet && !arguments.stats && io::stdout().is_terminal();
    let progress = Progress::new(!arguments.no_progress && !lines_seen);
    let mut worst = Verdict::Clean;
    for given in &arguments.files {
        let (verdict, summary) = dump(given, arguments, &progress, &mut output)?;
        progress.end();
        writeln!(err, "{}: {summary}", given.display())?;
        worst = worst.max(verdict);
    }
    output.finish()?;
    Ok(worst)
}

/// Reads one segment or directory, and gives the verdict on it with a sentence.
fn dump(
    given: &Path,
    arguments: &Arguments,
    progress: &Progress,
    output: &mut Output<'_>,
) -> io::Result<(Verdict, String)> {
    let log = match source::find(given) {
        Ok(log) => log,
        Err(error) => return Ok((Verdict::Unusable, error)),
    };
    let memory = arguments.memory as usize * (1 << 20);
    let mut reading = Reading {
        arguments,
        stats: arguments.stats.then(|| Stats::new(arguments.top, memory)),
        output,
        records: 0,
        matched: 0,
        first: None,
        problems: Vec::new(),
        failed: None,
    };
    let read = log.read(progress, &mut |item| reading.record(&item));
    if let Some(error) = reading.failed {
        return Err(error);
    }
    progress.end();
    if let Some(stats) = reading.stats.take().filter(|_| !arguments.quiet) {
        let (told, name) = (stats.finish()?, given.display().to_string());
        reading.output.line(|| told.text(&name), || told.object(&name))?;
    }
    Ok(reading.verdict(read))
}

/// One argument while it is read.
struct Reading<'a, 'w> {
    arguments: &'a Arguments,
    /// Where transactions are counted, if they are not printed.
    stats: Option<Stats>,
    output: &'a mut Output<'w>,
    records: u64,
    matched: u64,
    first: Option<storage::Zxid>,
    problems: Vec<String>,
    /// The output's first error; nothing is read after it.
    failed: Option<io::Error>,
}

impl Reading<'_, '_> {
    fn record(&mut self, item: &LogItem<'_>) -> ControlFlow<()> {
        self.records += 1;
        self.first.get_or_insert(item.zxid);
        let taken = match decode(item) {
            Ok(decoded) => self.take(item, decoded),
            Err(reason) => {
                if self.problems.len() < PROBLEMS_MAX {
                    self.problems
                        .push(format!("{} at offset {}: {reason}", item.file.display(), item.offset));
                }
                Ok(())
            }
        };
        match taken {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn take(&mut self, item: &LogItem<'_>, (header, txn, digest): Decoded) -> io::Result<()> {
        if self.arguments.quiet || !wants(&self.arguments.filters, &header, &txn) {
            return Ok(());
        }
        self.matched += 1;
        if let Some(stats) = &mut self.stats {
            return stats.add(&header, &txn, item.payload.len() as u64);
        }
        let with_data = self.arguments.data;
        self.output.line(
            || lines::line_text(&header, &txn, with_data),
            || lines::line_object(item, &header, &txn, digest, with_data),
        )
    }

    /// What the reader found, and what this found in the records' meaning.
    fn verdict(self, read: source::Read) -> (Verdict, String) {
        let what = if self.arguments.stats { "counted" } else { "printed" };
        let matched = match self.matched == self.records || self.arguments.quiet {
            true => String::new(),
            false => format!(" ({} {what})", self.matched),
        };
        let from = self
            .first
            .map_or_else(String::new, |first| format!(" from zxid {first}"));
        let summary = format!("{}{from}{matched}", count(self.records, "transaction"));
        let (verdict, found) = read.verdict();
        let summary = format!("{summary}{found}");
        match self.problems.is_empty() {
            true => (verdict, summary),
            false => {
                let problems = self.problems.join("; ");
                (verdict.max(Verdict::Corrupt), format!("{summary}; CORRUPT: {problems}"))
            }
        }
    }
}

type Decoded = (TxnHeader, Txn, Option<u64>);

fn decode(item: &LogItem<'_>) -> Result<Decoded, String> {
    let decoded = Txn::read(item.payload).map_err(|error| format!("the transaction does not decode: {error}"))?;
    match decoded.0.zxid as u64 == item.zxid.0 {
        true => Ok(decoded),
        false => Err(format!(
            "the record says {}, the transaction in it 0x{:x}",
            item.zxid, decoded.0.zxid
        )),
    }
}

/// The changes inside a transaction: one, those of a multi, or none.
fn changes(txn: &Txn) -> &[Change] {
    match txn {
        Txn::Change(change) => std::slice::from_ref(change),
        Txn::Multi(changes) => changes,
        Txn::CreateSession { .. } | Txn::CloseSession { .. } | Txn::Error(_) => &[],
    }
}

fn wants(filters: &Filters, header: &TxnHeader, txn: &Txn) -> bool {
    let names: Vec<&str> = changes(txn)
        .iter()
        .map(|change| show::type_name(change.code()))
        .collect();
    let closed = match txn {
        Txn::CloseSession { paths } => paths.as_deref().unwrap_or_default(),
        _ => &[],
    };
    let paths = changes(txn)
        .iter()
        .filter_map(Change::path)
        .chain(closed.iter().map(String::as_str));
    filters.wants_zxid(&[header.zxid])
        && filters.wants_session(header.session)
        && (filters.wants_type(&[show::type_name(txn.code())]) || filters.wants_type(&names))
        && filters.wants_path(paths)
}
