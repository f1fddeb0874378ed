//! What opening a store found, for people and for metrics: the same text of what is done and of what would be done.

use std::fmt;
use std::path::{Path, PathBuf};

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
    /// Bytes of their payloads.
    pub replayed_bytes: u64,
    /// The torn end of the log that was cut, if there was one.
    pub torn: Option<TornEnd>,
    /// The last transaction in the log, where the snapshot has more than the log.
    pub log_behind: Option<Zxid>,
    /// Files of interrupted steps that were removed.
    pub removed: Vec<PathBuf>,
    /// A listed segment that holds nothing and leads nowhere, removed too.
    pub dropped: Option<PathBuf>,
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

impl fmt::Display for TornEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TornEnd {
            path, offset, bytes, ..
        } = self;
        let path = path.display();
        write!(
            f,
            "{path}, offset {offset}, {bytes} bytes of a last write of which a part is missing"
        )?;
        match self.zxids {
            Some((first, last)) => write!(
                f,
                " (zxid {first} to {last}; if no crash explains it, the disk lost what it had)"
            ),
            None => Ok(()),
        }
    }
}

/// Whether something is told that was done, or that would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tense {
    /// By a start.
    Done,
    /// Of a start, by a check.
    Would,
}

/// How much a line deserves to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// What any crash leaves.
    Info,
    /// What a disk or a person did.
    Warn,
}

impl Report {
    /// One line for each thing that was not in order, the gravest first; none after an orderly end.
    pub fn lines(&self, tense: Tense) -> Vec<(Weight, String)> {
        let was = match tense {
            Tense::Done => "was",
            Tense::Would => "would be",
        };
        let mut lines = Vec::new();
        if let Some(torn) = &self.torn {
            lines.push((Weight::Warn, format!("the torn end of the log {was} cut: {torn}")));
        }
        if let Some(end) = self.log_behind {
            let text = format!(
                "the log ends with zxid {end}, before the snapshot's {}: unless a power cut with forceSync=no \
                 explains it, dataLogDir is an older copy, and what was logged behind the snapshot is missing",
                self.zxid
            );
            lines.push((Weight::Warn, text));
        }
        for text in &self.damaged {
            lines.push((
                Weight::Warn,
                format!("a damaged snapshot {was} passed over and renamed to *.damaged: {text}"),
            ));
        }
        for path in &self.set_aside {
            let text = format!(
                "{}: a snapshot that the manifest does not list, left by an interrupted start, purge or snapshot, \
                 {was} renamed to *.unlisted",
                path.display()
            );
            lines.push((Weight::Info, text));
        }
        for path in self.removed.iter().chain(&self.dropped) {
            lines.push((
                Weight::Info,
                format!("{}: {}, {was} removed", path.display(), origin(path)),
            ));
        }
        lines
    }
}

/// How a leftover came to be, by its name.
fn origin(path: &Path) -> &'static str {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match () {
        () if name.ends_with(".unlisted") => "a snapshot that an earlier start set aside",
        () if name.starts_with("ahead.") => "a log segment that was made ahead",
        () if name.ends_with(".tmp") => "a file that was half written when the server ended",
        () => "a log segment that was begun without a transaction, or was being purged, when the server ended",
    }
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
            Some(torn) => write!(f, "; torn end cut: {torn}")?,
        }
        self.damaged
            .iter()
            .try_for_each(|text| write!(f, "; damaged snapshot passed over: {text}"))?;
        match self.removed.len() + self.set_aside.len() {
            0 => Ok(()),
            count => write!(f, "; {count} leftover files removed or set aside"),
        }
    }
}
