//! What `logdump` and `snapdump` share: filters, lines, and what the exit status says.
//!
//! Both read files that no server has open for writing, or that one has: they never change anything. Both check every
//! checksum on the way, whatever the filters leave out, and say on stderr in one line per file what they found.
//! What they print is either for people, one line each, or (`--json`) one JSON object a line. 64-bit ids (zxids,
//! sessions, digests) are hexadecimal text in both, because JSON's numbers lose their low bits in many readers.

pub mod contents;
pub mod filter;
pub mod output;
pub mod snapshot;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

/// What was found, best first; of many files the worst counts. The numbers are exit statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Verdict {
    /// Everything was read and is right.
    Clean = 0,
    /// A log whose last batch was never finished: a crash leaves this, recovery cuts it.
    Torn = 1,
    /// Bytes that are not those that were written, or that say what cannot be.
    Corrupt = 2,
    /// A wrong command line, or a file that could not be read at all.
    Unusable = 3,
}

/// For `--help`: the statuses in words.
pub const STATUSES: &str = "Exit status: 0 all clean, 1 a log with a torn tail, 2 corruption, 3 wrong usage or a file \
                            that cannot be read; with several files the highest of theirs.";

/// Parses a command line and runs the tool. A reader that closes the pipe early is content: that is success.
pub fn main<Arguments: Parser>(
    arguments: impl IntoIterator<Item = OsString>,
    run: impl FnOnce(&Arguments) -> io::Result<Verdict>,
) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing is left to do about a closed stderr.
            let _ = error.print();
            let status = if error.use_stderr() {
                Verdict::Unusable
            } else {
                Verdict::Clean
            };
            return ExitCode::from(status as u8);
        }
    };
    match run(&arguments) {
        Ok(verdict) => ExitCode::from(verdict as u8),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write the output: {error}");
            ExitCode::from(Verdict::Unusable as u8)
        }
    }
}

/// The directory below a data or log directory that holds the files themselves.
const INNER: &str = "ringkeeper-1";

/// The files of a directory (or of the `ringkeeper-1` in it) whose name says a zxid, in the order of those.
pub fn files_of(dir: &Path, zxid_of: impl Fn(&str) -> Option<storage::Zxid>) -> io::Result<Vec<PathBuf>> {
    let inner = dir.join(INNER);
    let dir = if inner.is_dir() { inner } else { dir.to_owned() };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(zxid) = entry.file_name().to_str().and_then(&zxid_of) {
            found.push((zxid, entry.path()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The zxid in a file's name: sixteen hexadecimal digits behind a prefix.
fn zxid_in(name: &str, prefix: &str) -> Option<storage::Zxid> {
    let digits = name.strip_prefix(prefix).filter(|digits| digits.len() == 16)?;
    let lower = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    lower
        .then(|| u64::from_str_radix(digits, 16).ok().map(storage::Zxid))
        .flatten()
}
