//! Which files an argument means, of which format they are, and how their reading ended.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use storage::disk::RealDisk;
use storage::log::{LogItem, LogReader, Verdict as Found};

use crate::dump::Verdict;
use crate::dump::progress::Progress;

/// Files that are one log.
pub struct Log {
    files: Vec<PathBuf>,
}

/// How a reading ended.
pub struct Read {
    found: io::Result<Option<Found>>,
}

/// The log that an argument means.
///
/// # Errors
/// There is none; why, in words.
pub fn find(given: &Path) -> Result<Log, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    let place = crate::dump::inner(given).map_err(cannot)?;
    if !place.is_dir() {
        return Ok(Log { files: vec![place] });
    }
    let files = crate::dump::files_of(&place, storage::format::parse_segment_name).map_err(cannot)?;
    match files.is_empty() {
        true => Err("no log segment in this directory".into()),
        false => Ok(Log { files }),
    }
}

impl Log {
    /// Reads every record, until `each` breaks off.
    pub fn read(&self, progress: &Progress, each: &mut dyn FnMut(LogItem<'_>) -> ControlFlow<()>) -> Read {
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
        Read {
            found: LogReader::read_files(&RealDisk, &self.files, &mut begin, &mut each),
        }
    }
}

impl Read {
    /// The verdict, and a sentence that goes on from the count of transactions.
    pub fn verdict(self) -> (Verdict, String) {
        match self.found {
            Err(error) => (Verdict::Unusable, format!(": cannot be read: {error}")),
            Ok(None) => (Verdict::Unusable, ": not read to the end".into()),
            Ok(Some(Found::Clean { last, .. })) => (Verdict::Clean, format!(", the last is {last}: clean")),
            Ok(Some(Found::Torn {
                file,
                offset,
                bytes,
                zxids,
            })) => {
                let of = zxids.map_or_else(String::new, |(first, last)| format!(" of zxids {first} to {last}"));
                let (file, bytes) = (file.display(), crate::dump::output::count(bytes, "byte"));
                let tail = format!(": TORN tail{of}: {bytes} of {file} from offset {offset} on; recovery cuts it");
                (Verdict::Torn, tail)
            }
            Ok(Some(Found::Corrupt { file, offset, reason })) => {
                let corrupt = format!(": CORRUPT: {} at offset {offset}: {reason}", file.display());
                (Verdict::Corrupt, corrupt)
            }
        }
    }
}
