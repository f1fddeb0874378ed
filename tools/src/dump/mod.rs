//! What `logdump` and `snapdump` share: filters, lines, and what the exit status says.
//!
//! Both read files that no server has open for writing, or that one has: they never change anything. Both check every
//! checksum on the way, whatever the filters leave out, and say on stderr in one line per file what they found.
//! What they print is either for people, one line each, or (`--json`) one JSON object a line. 64-bit ids (zxids,
//! sessions, digests) are hexadecimal text in both, because JSON's numbers lose their low bits in many readers.

pub mod filter;
pub mod log;
pub mod output;
pub mod progress;
pub mod snapshot;
pub mod sort;
pub mod tally;

use std::ffi::OsString;
use std::io::{self, Read};
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
    /// Two snapshots, both clean, that are not the same.
    Different = 4,
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
            eprintln!("cannot go on: {error}");
            ExitCode::from(Verdict::Unusable as u8)
        }
    }
}

/// What an argument means: a file, a directory, or below that the store's own directory or Apache ZooKeeper's.
///
/// # Errors
/// There is nothing of that name, or it may not be seen.
pub fn inner(given: &Path) -> io::Result<PathBuf> {
    given.metadata()?;
    // A server that began with Apache ZooKeeper's files leaves them where they are and goes on in its own.
    let names = [
        storage::engine::DIRECTORY,
        storage::apache::directory::VERSION_DIRECTORY,
    ];
    let inner = names
        .map(|name| given.join(name))
        .into_iter()
        .find(|inner| inner.is_dir());
    Ok(inner.unwrap_or_else(|| given.to_owned()))
}

/// The files of a directory (or of the one below it that is meant) whose name says a zxid, in the order of those.
///
/// # Errors
/// What listing the directory met.
pub fn files_of(dir: &Path, zxid_of: impl Fn(&str) -> Option<storage::Zxid>) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(inner(dir)?)? {
        let entry = entry?;
        if let Some(zxid) = entry.file_name().to_str().and_then(&zxid_of) {
            found.push((zxid, entry.path()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// How a file begins: its first bytes, eight at most.
///
/// # Errors
/// What reading them met.
pub fn begins(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(8).read_to_end(&mut bytes)?;
    Ok(bytes)
}
