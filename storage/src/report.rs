//! What opening a store found, for people and for metrics.

use std::fmt;
use std::path::PathBuf;

use crate::Zxid;

/// What opening a store found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The state's zxid.
    pub zxid: Zxid,
    /// The snapshot it began from.
    pub snapshot: Option<LoadedSnapshot>,
    /// Damaged snapshots that were passed over, each with file, offset and damage. They were renamed to `*.damaged`.
    pub damaged: Vec<String>,
    /// Segments read.
    pub segments: u64,
    /// Transactions replayed.
    pub replayed: u64,
    /// The torn end of the log that was cut, if there was one.
    pub torn: Option<TornEnd>,
    /// Files of interrupted steps that were removed.
    pub removed: Vec<PathBuf>,
    /// Snapshots that no manifest lists, renamed to `*.unlisted`.
    pub set_aside: Vec<PathBuf>,
}

/// The snapshot that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedSnapshot {
    /// Its zxid.
    pub zxid: Zxid,
    /// Its file.
    pub path: PathBuf,
    /// Its entries.
    pub entries: u64,
}

/// The end of the log that did not arrive as a whole, and was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornEnd {
    /// In which file.
    pub path: PathBuf,
    /// Where the write began.
    pub offset: u64,
    /// Bytes from there to the last one of it that arrived.
    pub bytes: u64,
    /// Its transactions, first and last, if its head arrived.
    pub zxids: Option<(Zxid, Zxid)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "state at zxid {}: ", self.zxid)?;
        match &self.snapshot {
            Some(LoadedSnapshot { path, entries, .. }) => write!(f, "{} ({entries} entries)", path.display())?,
            None => write!(f, "no snapshot")?,
        }
        let (replayed, segments) = (self.replayed, self.segments);
        write!(f, ", {replayed} transactions from {segments} log segments")?;
        match &self.torn {
            None => write!(f, "; the log ends clean")?,
            Some(TornEnd {
                path,
                offset,
                bytes,
                zxids,
            }) => {
                let path = path.display();
                write!(
                    f,
                    "; torn end cut: {path}, offset {offset}, {bytes} bytes of a last write of which a part is missing"
                )?;
                if let Some((first, last)) = zxids {
                    write!(
                        f,
                        " (zxid {first} to {last}; if no crash explains it, the disk lost what it had)"
                    )?;
                }
            }
        }
        self.damaged
            .iter()
            .try_for_each(|text| write!(f, "; damaged snapshot passed over: {text}"))?;
        let removed = self.removed.iter().map(|path| ("left by a crash and removed", path));
        let aside = self
            .set_aside
            .iter()
            .map(|path| ("listed nowhere and renamed to *.unlisted", path));
        removed
            .chain(aside)
            .try_for_each(|(what, path)| write!(f, "; {what}: {}", path.display()))
    }
}
