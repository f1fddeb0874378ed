//! Why a store was not opened: which file, where in it, and the way out.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::Zxid;

/// Why a store was not opened. Nothing on the disk was changed.
#[derive(Debug)]
pub enum OpenError {
    /// The operating system refused something.
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Its reason.
        error: io::Error,
    },
    /// Another process has the directory.
    Locked {
        /// The lock's file.
        path: PathBuf,
        /// The other process, if it left its id.
        pid: Option<u32>,
    },
    /// A file that must be there is not.
    Missing {
        /// The file.
        file: PathBuf,
        /// Why it must be there.
        because: String,
    },
    /// A file is not as it was written.
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// The last transaction that was read before, if it is known.
        after: Option<Zxid>,
        /// What is wrong.
        reason: String,
    },
    /// The newest snapshots are damaged, and the log does not reach back behind them.
    Snapshot {
        /// The newest one.
        file: PathBuf,
        /// Each damaged one's file, offset and damage.
        reasons: Vec<String>,
        /// How far state and log reach without them.
        reached: Zxid,
    },
    /// The bytes are right, but who takes them cannot use them.
    Refused {
        /// The file.
        file: PathBuf,
        /// Where the record begins; 0 for a snapshot.
        offset: u64,
        /// The transaction, or the snapshot's.
        zxid: Zxid,
        /// Their reason.
        reason: String,
    },
}

const WAY_OUT: &str = "Nothing was changed. Put the file back as it was, or restore dataDir and dataLogDir together \
                       from one backup; or, to begin with an empty tree, move the ringkeeper-1 directories of both \
                       away";

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Io { what, path, error } => write!(f, "cannot {what} {}: {error}", path.display()),
            OpenError::Locked { path, pid } => {
                let directory = path.parent().unwrap_or(path).display();
                match pid {
                    Some(pid) => write!(f, "{directory} is in use by process {pid}")?,
                    None => write!(f, "{directory} is in use by another process")?,
                }
                write!(
                    f,
                    " (it holds the lock {}); stop it, or use another directory",
                    path.display()
                )
            }
            OpenError::Missing { file, because } => {
                write!(f, "{} is missing: {because}. {WAY_OUT}.", file.display())
            }
            OpenError::Corrupt {
                file,
                offset,
                after,
                reason,
            } => {
                write!(f, "{} is damaged at offset {offset}", file.display())?;
                if let Some(after) = after {
                    write!(f, " (behind zxid {after})")?;
                }
                write!(f, ": {reason}. {WAY_OUT}.")
            }
            OpenError::Snapshot { file, reasons, reached } => {
                let path = file.display();
                write!(
                    f,
                    "{path} is damaged, and without it the log reaches only zxid {reached}: "
                )?;
                write!(f, "{}. {WAY_OUT}.", reasons.join("; "))
            }
            OpenError::Refused {
                file,
                offset,
                zxid,
                reason,
            } => write!(
                f,
                "{}, offset {offset}, zxid {zxid}: its checksums are right, but it cannot be applied: {reason}. \
                 {WAY_OUT}.",
                file.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {}
