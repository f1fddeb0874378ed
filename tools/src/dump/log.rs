//! `logdump`: the log's transactions, one line each.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Parser;
use ringkeeper::wire::show;
use ringkeeper::wire::txn::{Change, CreateTxn, Txn, TxnHeader};
use serde_json::Value;
use storage::log::{LogItem, LogReader};

use super::filter::Filters;
use super::output::{Object, Output, acl, count, data, quoted, time};
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

/// Prints the transactions of Ringkeeper's log, and checks every seal and checksum in it.
#[derive(Parser, Debug)]
#[command(name = "logdump", version, after_help = STATUSES, after_long_help = format!("{KEYS}\n\n{STATUSES}"))]
pub struct Arguments {
    /// Log segments, or log directories: of those every segment, and that each continues the one before.
    #[arg(required = true)]
    files: Vec<PathBuf>,
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
}

/// Runs the tool; lines go to `out`, one summary for each argument to `err`.
///
/// # Errors
/// What `out` or `err` returned.
pub fn run(arguments: &Arguments, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Verdict> {
    if let Err(error) = arguments.filters.check_types(&CODES.map(show::type_name)) {
        writeln!(err, "{error}")?;
        return Ok(Verdict::Unusable);
    }
    let mut output = Output::new(out, arguments.json);
    let mut worst = Verdict::Clean;
    for given in &arguments.files {
        let (verdict, summary) = dump(given, arguments, &mut output)?;
        writeln!(err, "{}: {summary}", given.display())?;
        worst = worst.max(verdict);
    }
    output.finish()?;
    Ok(worst)
}

/// Prints one segment or directory, and gives the verdict on it with a sentence.
fn dump(given: &Path, arguments: &Arguments, output: &mut Output<'_>) -> io::Result<(Verdict, String)> {
    let place = match super::inner(given) {
        Ok(place) => place,
        Err(error) => return Ok((Verdict::Unusable, format!("cannot be read: {error}"))),
    };
    if place.is_dir() {
        match super::files_of(&place, storage::format::parse_segment_name) {
            Ok(files) if files.is_empty() => {
                return Ok((Verdict::Unusable, "no log segment in this directory".into()));
            }
            Ok(_) => {}
            Err(error) => return Ok((Verdict::Unusable, format!("cannot be read: {error}"))),
        }
    }
    let mut lines = Lines {
        arguments,
        output,
        records: 0,
        printed: 0,
        first: None,
        problems: Vec::new(),
        failed: None,
    };
    let read = LogReader::read(&place, &mut |item| lines.record(&item));
    lines.verdict(read)
}

/// The lines of one argument.
struct Lines<'a, 'w> {
    arguments: &'a Arguments,
    output: &'a mut Output<'w>,
    records: u64,
    printed: u64,
    first: Option<storage::Zxid>,
    problems: Vec<String>,
    /// The output's first error; nothing is printed after it.
    failed: Option<io::Error>,
}

impl Lines<'_, '_> {
    fn record(&mut self, item: &LogItem<'_>) {
        self.records += 1;
        self.first.get_or_insert(item.zxid);
        if self.failed.is_some() {
            return;
        }
        let (header, txn, digest) = match decode(item) {
            Ok(decoded) => decoded,
            Err(reason) => {
                if self.problems.len() < PROBLEMS_MAX {
                    self.problems
                        .push(format!("{} at offset {}: {reason}", item.file.display(), item.offset));
                }
                return;
            }
        };
        if self.arguments.quiet || !wants(&self.arguments.filters, &header, &txn) {
            return;
        }
        self.printed += 1;
        let with_data = self.arguments.data;
        let line = self.output.line(
            || line_text(&header, &txn, with_data),
            || line_object(item, &header, &txn, digest, with_data),
        );
        self.failed = line.err();
    }

    /// What the reader found, and what this found in the records' meaning.
    fn verdict(self, read: io::Result<storage::log::Verdict>) -> io::Result<(Verdict, String)> {
        use storage::log::Verdict as Found;
        if let Some(error) = self.failed {
            return Err(error);
        }
        let printed = match self.printed == self.records || self.arguments.quiet {
            true => String::new(),
            false => format!(" ({} printed)", self.printed),
        };
        let from = self
            .first
            .map_or_else(String::new, |first| format!(" from zxid {first}"));
        let summary = format!("{}{from}{printed}", count(self.records, "transaction"));
        let (verdict, summary) = match read {
            Err(error) => (Verdict::Unusable, format!("{summary}: cannot be read: {error}")),
            Ok(Found::Clean { last, .. }) => (Verdict::Clean, format!("{summary}, the last is {last}: clean")),
            Ok(Found::Torn {
                file,
                offset,
                bytes,
                zxids,
            }) => {
                let of = zxids.map_or_else(String::new, |(first, last)| format!(" of zxids {first} to {last}"));
                let (file, bytes) = (file.display(), count(bytes, "byte"));
                let tail = format!("TORN tail{of}: {bytes} of {file} from offset {offset} on; recovery cuts it");
                (Verdict::Torn, format!("{summary}: {tail}"))
            }
            Ok(Found::Corrupt { file, offset, reason }) => (
                Verdict::Corrupt,
                format!("{summary}: CORRUPT: {} at offset {offset}: {reason}", file.display()),
            ),
        };
        match self.problems.is_empty() {
            true => Ok((verdict, summary)),
            false => {
                let problems = self.problems.join("; ");
                Ok((verdict.max(Verdict::Corrupt), format!("{summary}; CORRUPT: {problems}")))
            }
        }
    }
}

fn decode(item: &LogItem<'_>) -> Result<(TxnHeader, Txn, Option<u64>), String> {
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

fn line_text(header: &TxnHeader, txn: &Txn, with_data: bool) -> String {
    let mut text = format!(
        "{} zxid=0x{:x} session=0x{:x} cxid=0x{:x} {txn}",
        time(header.time_ms),
        header.zxid,
        header.session,
        header.cxid
    );
    if with_data {
        for bytes in changes(txn).iter().filter_map(data_of).flatten() {
            text.push(' ');
            text.push_str(&quoted(bytes));
        }
    }
    text
}

/// A change's data, if it is one that has them; they may be null.
fn data_of(change: &Change) -> Option<Option<&[u8]>> {
    match change {
        Change::Create { data, .. } | Change::SetData { data, .. } => Some(data.as_deref()),
        _ => None,
    }
}

fn line_object(item: &LogItem<'_>, header: &TxnHeader, txn: &Txn, digest: Option<u64>, with_data: bool) -> Object {
    let object = match txn {
        Txn::Change(change) => change_object(change, with_data),
        Txn::Multi(changes) => {
            let changes: Vec<Value> = changes
                .iter()
                .map(|change| change_object(change, with_data).into())
                .collect();
            Object::of_type("multi").with("changes", changes)
        }
        Txn::CreateSession { timeout_ms } => Object::of_type("createSession").with("timeout", *timeout_ms),
        Txn::CloseSession { paths } => Object::of_type("closeSession").with("paths", paths.clone()),
        Txn::Error(code) => Object::of_type("error").with("code", *code),
    };
    let object = object
        .with("file", item.file.display().to_string())
        .with("offset", item.offset)
        .with_id("zxid", header.zxid)
        .with_id("session", header.session)
        .with("cxid", header.cxid)
        .with("time", header.time_ms);
    match digest {
        Some(digest) => object.with_id("digest", digest as i64),
        None => object,
    }
}

fn change_object(change: &Change, with_data: bool) -> Object {
    let mut object = Object::of_type(show::type_name(change.code()));
    if let Some(path) = change.path() {
        object = object.with("path", path);
    }
    if let Some(bytes) = data_of(change) {
        object = object.with("dataLength", bytes.map(<[u8]>::len));
        if with_data {
            object = object.with("data", data(bytes));
        }
    }
    match change {
        Change::Create {
            acl: entries,
            kind,
            parent_cversion,
            ..
        } => {
            let object = object
                .with("acl", acl(entries))
                .with("parentCversion", *parent_cversion);
            match kind {
                CreateTxn::Plain { ephemeral } | CreateTxn::WithStat { ephemeral } => {
                    object.with("ephemeral", *ephemeral)
                }
                CreateTxn::Ttl(ttl) => object.with("ttl", *ttl),
                CreateTxn::Container => object,
            }
        }
        Change::SetData { version, .. } | Change::Check { version, .. } => object.with("version", *version),
        Change::SetAcl {
            acl: entries, version, ..
        } => object.with("acl", acl(entries)).with("version", *version),
        Change::Error(code) => object.with("code", *code),
        Change::Delete { .. } | Change::DeleteContainer { .. } => object,
    }
}
