//! Which files an argument means, of which format they are, and how their reading ended.
//!
//! Apache ZooKeeper's logs are held against each other as Ringkeeper's are: within an epoch no zxid is missing and none
//! comes twice, whatever the file. Its torn end is one only in the newest file: any other is what a kill left, and the
//! next file goes on where it ended.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use storage::Zxid;
use storage::apache::directory::{self, parse_log_name};
use storage::apache::log::{End, MAGIC, Reader};
use storage::apache::{ReadError, follows};
use storage::disk::RealDisk;
use storage::format::parse_segment_name;
use storage::log::{LogItem, LogReader, Verdict as Found};

use crate::dump::Verdict;
use crate::dump::output::count;
use crate::dump::progress::Progress;

/// Files that are one log.
pub struct Log {
    files: Vec<PathBuf>,
    is_apache: bool,
}

/// How a reading ended.
pub struct Read {
    found: io::Result<Option<Found>>,
    is_apache: bool,
}

/// The log that an argument means.
///
/// # Errors
/// There is none; why, in words.
pub fn find(given: &Path) -> Result<Log, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    let place = crate::dump::inner(given).map_err(cannot)?;
    let files = match place.is_dir() {
        true => {
            let zxid_of = |name: &str| parse_segment_name(name).or_else(|| parse_log_name(name));
            crate::dump::files_of(&place, zxid_of).map_err(cannot)?
        }
        false => vec![place],
    };
    let Some(first) = files.first() else {
        return Err("no log segment in this directory".into());
    };
    let is_apache = is_apache(first).map_err(cannot)?;
    Ok(Log { files, is_apache })
}

/// Whether a file is one of Apache ZooKeeper's; by its name, if it has no first bytes. In Ringkeeper's own directory
/// none is: whatever lies there under a segment's name should be a segment.
fn is_apache(file: &Path) -> io::Result<bool> {
    let place = file.parent().and_then(Path::file_name);
    if place.is_some_and(|name| name == storage::engine::DIRECTORY) {
        return Ok(false);
    }
    let begins = crate::dump::begins(file)?;
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok(match begins.is_empty() {
        true => parse_segment_name(name).is_none() && parse_log_name(name).is_some(),
        false => begins.starts_with(MAGIC),
    })
}

/// Takes records, until it breaks off.
type Each<'e> = dyn FnMut(LogItem<'_>) -> ControlFlow<()> + 'e;

impl Log {
    /// Reads every record, until `each` breaks off.
    pub fn read(&self, progress: &Progress, each: &mut Each<'_>) -> Read {
        let lengths: Vec<u64> = self
            .files
            .iter()
            .map(|file| file.metadata().map_or(0, |metadata| metadata.len()))
            .collect();
        progress.begin(lengths.iter().sum());
        let (mut number, mut before) = (0, 0);
        let mut begin = |file: &Path| {
            progress.file(file, number + 1, self.files.len(), before);
            before += lengths[number];
            number += 1;
        };
        let mut each = |item: LogItem<'_>| {
            progress.at(item.offset);
            each(item)
        };
        let found = match self.is_apache {
            true => read_apache(&self.files, &mut begin, &mut each),
            false => LogReader::read_files(&RealDisk, &self.files, &mut begin, &mut each),
        };
        Read {
            found,
            is_apache: self.is_apache,
        }
    }
}

/// Apache ZooKeeper's logs as one history.
struct History {
    last: Option<Zxid>,
    records: u64,
    /// How the last file ended, if that was torn.
    torn: Option<Found>,
}

/// Why a file is not read to its end.
enum Stop {
    Taken,
    At(ReadError),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Stop {
        Stop::At(error)
    }
}

fn read_apache(files: &[PathBuf], begin: &mut dyn FnMut(&Path), each: &mut Each<'_>) -> io::Result<Option<Found>> {
    let mut history = History {
        last: None,
        records: 0,
        torn: None,
    };
    for file in files {
        begin(file);
        match history.file(file, each) {
            Ok(()) => {}
            Err(Stop::Taken) => return Ok(None),
            Err(Stop::At(ReadError::Io { error, .. })) => return Err(error),
            Err(Stop::At(error)) => {
                let (file, offset) = (file.clone(), error.offset());
                let reason = format!("the log {error}");
                return Ok(Some(Found::Corrupt { file, offset, reason }));
            }
        }
    }
    Ok(Some(history.torn.unwrap_or(Found::Clean {
        records: history.records,
        last: history.last.unwrap_or(Zxid::ZERO),
    })))
}

impl History {
    fn file(&mut self, file: &Path, each: &mut Each<'_>) -> Result<(), Stop> {
        let opened = directory::open(file).map_err(|error| ReadError::Io { offset: 0, error })?;
        let mut reader = Reader::open(opened.reader)?;
        while let Some(record) = reader.next()? {
            let (offset, zxid) = (record.offset, Zxid(record.header.zxid as u64));
            if let Some(last) = self.last.filter(|last| !follows(*last, zxid)) {
                let why = format!("the record of zxid {zxid} stands behind that of {last} and does not follow it");
                let after = Some(last);
                return Err(Stop::At(ReadError::Damaged { offset, after, why }));
            }
            (self.last, self.records) = (Some(zxid), self.records + 1);
            let payload = record.payload;
            let item = LogItem {
                file,
                offset,
                zxid,
                payload,
            };
            if each(item).is_break() {
                return Err(Stop::Taken);
            }
        }
        self.torn = match reader.end() {
            Some(End::Torn { offset, bytes, .. }) => Some(Found::Torn {
                file: file.to_owned(),
                offset: *offset,
                bytes: *bytes,
                zxids: None,
            }),
            _ => None,
        };
        Ok(())
    }
}

impl Read {
    /// The verdict, and a sentence that goes on from the count of transactions.
    pub fn verdict(self) -> (Verdict, String) {
        let whose = if self.is_apache { " (Apache ZooKeeper's)" } else { "" };
        match self.found {
            Err(error) => (Verdict::Unusable, format!(": cannot be read: {error}")),
            Ok(None) => (Verdict::Unusable, ": not read to the end".into()),
            Ok(Some(Found::Clean { last, .. })) => (Verdict::Clean, format!(", the last is {last}{whose}: clean")),
            Ok(Some(Found::Torn {
                file,
                offset,
                bytes,
                zxids,
            })) => {
                let of = zxids.map_or_else(String::new, |(first, last)| format!(" of zxids {first} to {last}"));
                let (file, bytes) = (file.display(), count(bytes, "byte"));
                let tail =
                    format!("{whose}: TORN tail{of}: {bytes} of {file} from offset {offset} on; recovery cuts it");
                (Verdict::Torn, tail)
            }
            Ok(Some(Found::Corrupt { file, offset, reason })) => {
                let corrupt = format!("{whose}: CORRUPT: {} at offset {offset}: {reason}", file.display());
                (Verdict::Corrupt, corrupt)
            }
        }
    }
}
