//! Why a store was not opened: which file, where in it, and the way out that fits the case.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::Zxid;
use crate::format::snapshot_name;

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
        /// What can be done.
        way_out: Box<WayOut>,
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
        /// What can be done.
        way_out: Box<WayOut>,
    },
    /// The newest snapshots are damaged, and the log does not reach back behind them.
    Snapshot {
        /// The newest one.
        file: PathBuf,
        /// Each damaged one's file, offset and damage.
        reasons: Vec<String>,
        /// How far state and log reach without them.
        reached: Zxid,
        /// What can be done.
        way_out: Box<WayOut>,
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
        /// What can be done.
        way_out: Box<WayOut>,
    },
}

/// What can be done about a file that is damaged or missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WayOut {
    /// The manifest is gone or damaged: nothing else says which files must exist.
    Manifest,
    /// The manifest was taken from an older copy.
    OlderManifest,
    /// A snapshot is gone or damaged.
    Snapshot(Remains),
    /// A log segment is gone or damaged.
    Log(Remains),
    /// A segment's name carries another segment, of this store or of another.
    Misplaced(Remains),
    /// The bytes are right: another program wrote them, or this one is wrong.
    Program(Remains),
}

/// How far the files reach without the one that is damaged or missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// The newest snapshot that is whole.
    pub snapshot: Option<Zxid>,
    /// The state that it and the log behind it lead to; zero if there is neither.
    pub reached: Zxid,
    /// Where the log goes on behind `reached`, if a stretch of it is missing there.
    pub resumes: Option<Zxid>,
    /// The newest transaction that any of the files names.
    pub known: Zxid,
}

impl Remains {
    /// Whether nothing that the files know of is missing.
    pub fn is_all(&self) -> bool {
        self.reached >= self.known && self.resumes.is_none()
    }
}

impl fmt::Display for Remains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Remains {
            snapshot,
            reached,
            resumes,
            known,
        } = self;
        match snapshot {
            Some(zxid) => write!(f, "Without it, {} is the newest whole snapshot", snapshot_name(*zxid))?,
            None => write!(f, "Without it there is no whole snapshot")?,
        }
        if *reached == Zxid::ZERO {
            write!(f, ", and no log from the beginning")?;
        } else {
            write!(f, ", and the log leads to zxid {reached}")?;
        }
        if let Some(base) = resumes {
            write!(f, "; it goes on only behind zxid {base}")?;
        }
        if self.is_all() {
            return write!(f, ": nothing that the files know of would be lost");
        }
        let first = Zxid(reached.0.saturating_add(1));
        match first < *known {
            true => write!(f, ": zxid {first} to {known} or more would be lost"),
            false => write!(f, ": zxid {first} or more would be lost"),
        }
    }
}

const BACKUP: &str = "restore dataDir and dataLogDir together from one backup";
const EMPTY: &str = "to begin with an empty tree, move the ringkeeper-1 directories of both away";

impl fmt::Display for WayOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nothing was changed. ")?;
        match self {
            WayOut::Manifest => write!(
                f,
                "Put the newest manifest back (it is a text file of a few lines), or {BACKUP}; or, {EMPTY}."
            ),
            WayOut::OlderManifest => write!(
                f,
                "Put back the manifest that was there last: this one is from an older copy of dataDir; or {BACKUP}; \
                 or, {EMPTY}."
            ),
            WayOut::Snapshot(remains) if remains.is_all() => write!(
                f,
                "{remains}. Put the file back as it was, or, if it is lost for good, put an empty file in its place: a \
                 damaged snapshot is passed over where an older state and the log suffice; or {BACKUP}."
            ),
            WayOut::Snapshot(remains) | WayOut::Log(remains) => write!(
                f,
                "{remains}. Put the file back as it was, or {BACKUP}{}; or, {EMPTY}.",
                salvage(remains)
            ),
            WayOut::Misplaced(remains) => write!(
                f,
                "Some other file was put in its place. {remains}. Put the right file back, or {BACKUP}{}; or, {EMPTY}.",
                salvage(remains)
            ),
            WayOut::Program(remains) => write!(
                f,
                "{remains}. Start the release that wrote it, or {BACKUP}{}; or, {EMPTY}.",
                salvage(remains)
            ),
        }
    }
}

/// The way on with what there is.
fn salvage(remains: &Remains) -> String {
    let and_lose = if remains.is_all() { "" } else { " and lose the rest" };
    match remains.reached {
        Zxid::ZERO => String::new(),
        reached => format!(
            "; to go on with the state at zxid {reached}{and_lose}, write it to a new directory with zk-server salvage"
        ),
    }
}

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
            OpenError::Missing { file, because, way_out } => {
                write!(f, "{} is missing: {because}. {way_out}", file.display())
            }
            OpenError::Corrupt {
                file,
                offset,
                after,
                reason,
                way_out,
            } => {
                write!(f, "{} is damaged at offset {offset}", file.display())?;
                if let Some(after) = after {
                    write!(f, " (behind zxid {after})")?;
                }
                write!(f, ": {reason}. {way_out}")
            }
            OpenError::Snapshot {
                file,
                reasons,
                reached,
                way_out,
            } => {
                let path = file.display();
                write!(
                    f,
                    "{path} is damaged, and without it the log reaches only zxid {reached}: "
                )?;
                write!(f, "{}. {way_out}", reasons.join("; "))
            }
            OpenError::Refused {
                file,
                offset,
                zxid,
                reason,
                way_out,
            } => write!(
                f,
                "{}, offset {offset}, zxid {zxid}: its checksums are right, but it cannot be applied: {reason}. {way_out}",
                file.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {}
