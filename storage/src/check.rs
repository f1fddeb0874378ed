//! A store looked at without opening it: every file read and verified, and what a start would do.
//!
//! What a start would do is not worked out here: it is recovery itself (`recover`), on a disk that refuses every
//! change (`ReadOnly`), into a target that may do no more than count. Added is only what a start does not read:
//! older snapshots and older segments.
//! Invariant: not a byte is changed, not even the lock's file; a store that a server has open is not looked at, because
//! half a write of it would look like damage.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Zxid;
use crate::disk::{Access, Bytes, Disk, DiskFile, Lock, LockError};
use crate::engine::{DIRECTORY, Recover};
use crate::error::{OpenError, Remains};
use crate::manifest::{ListedSegment, Manifest};
use crate::reader::{LogItem, LogReader, Stop};
use crate::recover::{self, BadHeader, Places, Recovered, check_header, first_needed, load_one};
use crate::remains::{Before, Known, Nobody};
use crate::report::{Report, TornEnd};
use crate::store::LOCK;

/// What was found.
#[derive(Debug)]
pub struct Check {
    /// Where snapshots and manifest are.
    pub data: PathBuf,
    /// Where the log is.
    pub log: PathBuf,
    /// What must exist, if that could be read.
    pub manifest: Option<Manifest>,
    /// Every listed snapshot, oldest first.
    pub snapshots: Vec<CheckedSnapshot>,
    /// Every listed segment, oldest first.
    pub segments: Vec<CheckedSegment>,
    /// What a start would do.
    pub start: Start,
}

/// What a start would do.
#[derive(Debug)]
pub enum Start {
    /// There is nothing: it would begin with an empty tree.
    Empty,
    /// It would open the store, and put in order what the report says.
    Opens(Report),
    /// It would refuse, and change nothing.
    Refused(OpenError),
}

/// A verdict in one word, the better one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Every file is whole, and a start would change none of them.
    Clean,
    /// A start would open the store, but something was not in order.
    Repairs,
    /// A start would refuse.
    Refused,
}

/// A listed snapshot.
#[derive(Clone, Debug)]
pub struct CheckedSnapshot {
    /// Its zxid.
    pub zxid: Zxid,
    /// Its file.
    pub path: PathBuf,
    /// Bytes of the file.
    pub bytes: u64,
    /// Its entries, every one of them read; or what is wrong, and where.
    pub entries: Result<u64, String>,
    /// Where the log leads from it, and whether that is the end of the log.
    pub leads_to: Option<(Zxid, bool)>,
}

/// A listed segment.
#[derive(Clone, Debug)]
pub struct CheckedSegment {
    /// As it is listed.
    pub listed: ListedSegment,
    /// Its file.
    pub path: PathBuf,
    /// Bytes of the file.
    pub bytes: u64,
    /// Transactions in it, as far as it could be read.
    pub records: u64,
    /// The first one and the last one.
    pub zxids: Option<(Zxid, Zxid)>,
    /// How it ends.
    pub end: SegmentEnd,
    /// Whether a start reads it.
    pub is_needed: bool,
}

/// How a segment ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentEnd {
    /// Every seal, checksum and link is right.
    Clean,
    /// The last write did not arrive as a whole.
    Torn(TornEnd),
    /// It is not as it was written.
    Damaged {
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The file is not there.
    Missing,
}

/// How far a check is, for who watches it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes that will be read, as far as the manifest tells.
    pub bytes_total: AtomicU64,
    /// Bytes of files read so far.
    pub bytes: AtomicU64,
    /// Entries of snapshots verified so far.
    pub entries: AtomicU64,
    /// Transactions verified so far.
    pub records: AtomicU64,
}

impl Check {
    /// The verdict on all of it.
    pub fn verdict(&self) -> Verdict {
        match &self.start {
            Start::Refused(_) => Verdict::Refused,
            Start::Empty => Verdict::Repairs,
            Start::Opens(report) => {
                let snapshots = self.snapshots.iter().all(|snapshot| snapshot.entries.is_ok());
                let segments = self.segments.iter().all(|segment| segment.end == SegmentEnd::Clean);
                match snapshots && segments && report.lines(crate::report::Tense::Would).is_empty() {
                    true => Verdict::Clean,
                    false => Verdict::Repairs,
                }
            }
        }
    }
}

/// Looks at the store in the two configured directories; what a start would read goes to the target too.
///
/// # Errors
/// [`OpenError::Locked`] while a server has the store, [`OpenError::Io`] for a file that cannot be read.
pub fn check(
    disk: &dyn Disk,
    dirs: (&Path, &Path),
    threads: usize,
    target: &mut dyn Recover,
    progress: &Progress,
) -> Result<Check, OpenError> {
    let (data, log) = (dirs.0.join(DIRECTORY), dirs.1.join(DIRECTORY));
    let _locks = lock(disk, &data, &log)?;
    let disk = &ReadOnly { disk, progress };
    let places = Places {
        disk,
        data: &data,
        log: &log,
    };
    let manifest = match recover::read_manifest(places) {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return Ok(without_manifest(data, log, Start::Empty)),
        Err(error @ OpenError::Io { .. }) => return Err(error),
        Err(error) => return Ok(without_manifest(data, log, Start::Refused(error))),
    };
    let known = Known {
        places,
        manifest: &manifest,
        threads,
    };
    progress.bytes_total.store(known.bytes(), Relaxed);
    let mut segments = known.segments(progress)?;
    let mut counting = Counting { target, progress };
    let mut recovered = Recovered::default();
    let start = match recover::recover(places, &manifest, threads, &mut counting, &mut recovered) {
        Ok(()) => Start::Opens(recovered.report.clone()),
        Err(error @ OpenError::Io { .. }) => return Err(error),
        Err(error) => Start::Refused(error),
    };
    let needed = first_needed(&manifest, recovered.state_of_snapshot());
    segments
        .iter_mut()
        .enumerate()
        .for_each(|(index, segment)| segment.is_needed = needed.is_none_or(|first| index >= first));
    let snapshots = known.snapshots(&recovered, &segments, progress);
    Ok(Check {
        snapshots,
        segments,
        start,
        manifest: Some(manifest),
        data,
        log,
    })
}

/// Hands what is left of a store to the target: the newest whole snapshot and the log behind it, up to the first damage.
/// With `before`, only what is older than that zxid. For a store that a start refuses.
///
/// # Errors
/// [`OpenError::Locked`] while a server has the store; any other if the manifest cannot be read, without which nothing
/// tells what belongs together.
pub fn salvage(
    disk: &dyn Disk,
    dirs: (&Path, &Path),
    threads: usize,
    before: Option<Zxid>,
    target: &mut dyn Recover,
) -> Result<Option<Remains>, OpenError> {
    let (data, log) = (dirs.0.join(DIRECTORY), dirs.1.join(DIRECTORY));
    let _locks = lock(disk, &data, &log)?;
    let progress = &Progress::default();
    let disk = &ReadOnly { disk, progress };
    let places = Places {
        disk,
        data: &data,
        log: &log,
    };
    let Some(manifest) = recover::read_manifest(places)? else {
        return Ok(None);
    };
    let known = Known {
        places,
        manifest: &manifest,
        threads,
    };
    Ok(Some(match before {
        None => known.gather(target),
        Some(zxid) => known.gather(&mut Before { zxid, target }),
    }))
}

fn lock(disk: &dyn Disk, data: &Path, log: &Path) -> Result<Vec<Lock>, OpenError> {
    let mut locks = Vec::new();
    for directory in [data, log] {
        if directory == log && data == log && !locks.is_empty() {
            break;
        }
        let path = directory.join(LOCK);
        let lock = disk.lock_shared(&path).map_err(|error| match error {
            LockError::Held(pid) => OpenError::Locked { path, pid },
            LockError::Io(error) => OpenError::Io {
                what: "lock",
                path,
                error,
            },
        })?;
        locks.extend(lock);
    }
    Ok(locks)
}

fn without_manifest(data: PathBuf, log: PathBuf, start: Start) -> Check {
    Check {
        data,
        log,
        start,
        manifest: None,
        snapshots: Vec::new(),
        segments: Vec::new(),
    }
}

impl Recovered {
    /// Where the log was to go on from.
    fn state_of_snapshot(&self) -> Zxid {
        self.report.snapshot.as_ref().map_or(Zxid::ZERO, |loaded| loaded.zxid)
    }
}

impl Known<'_> {
    /// Bytes that a check reads: every file, and what a start needs of the log once more.
    fn bytes(&self) -> u64 {
        let length = |path: PathBuf| self.places.disk.length(&path).unwrap_or(0);
        let snapshots = self.manifest.snapshot_names();
        let snapshots: u64 = snapshots.map(|name| length(self.places.data.join(name))).sum();
        let newest = self.manifest.snapshots.last().copied().unwrap_or_default();
        let needed = first_needed(self.manifest, newest).unwrap_or(0);
        let segments = self.manifest.segments.iter().enumerate();
        let segment = |(index, segment): (usize, &ListedSegment)| {
            length(self.places.log.join(segment.name())) * (1 + u64::from(index >= needed))
        };
        snapshots + segments.map(segment).sum::<u64>()
    }

    /// Reads every listed segment; after damage the next one is read by itself.
    fn segments(&self, progress: &Progress) -> Result<Vec<CheckedSegment>, OpenError> {
        let mut all: Vec<CheckedSegment> = Vec::new();
        let mut reader = LogReader::new(self.places.disk);
        for listed in &self.manifest.segments {
            let path = self.places.log.join(listed.name());
            let mut segment = CheckedSegment {
                listed: *listed,
                bytes: self.places.disk.length(&path).unwrap_or(0),
                path,
                records: 0,
                zxids: None,
                end: SegmentEnd::Clean,
                is_needed: false,
            };
            segment.end = match check_header(self.places, self.manifest, listed) {
                Err(BadHeader::Missing) => SegmentEnd::Missing,
                Err(BadHeader::Io(error)) => return Err(unreadable(&segment.path, error)),
                Err(BadHeader::Damaged(reason) | BadHeader::Foreign(reason)) => {
                    SegmentEnd::Damaged { offset: 0, reason }
                }
                Ok(header) => {
                    if let Err(Stop::Corrupt { offset, reason, .. }) = reader.check_continues(&segment.path, &header) {
                        // What is missing is missing at the end of the one before.
                        let before = all.last_mut().expect("there is one before");
                        before.end = SegmentEnd::Damaged { offset, reason };
                        reader = LogReader::new(self.places.disk);
                    }
                    self.read(&mut reader, &mut segment, progress)?
                }
            };
            if matches!(segment.end, SegmentEnd::Damaged { .. } | SegmentEnd::Missing) {
                reader = LogReader::new(self.places.disk);
            }
            all.push(segment);
        }
        Ok(all)
    }

    fn read(
        &self,
        reader: &mut LogReader<'_>,
        segment: &mut CheckedSegment,
        progress: &Progress,
    ) -> Result<SegmentEnd, OpenError> {
        let (mut records, mut zxids) = (0, None);
        let mut take = |item: LogItem<'_>| {
            records += 1;
            zxids = Some((zxids.map_or(item.zxid, |(first, _)| first), item.zxid));
            progress.records.fetch_add(1, Relaxed);
            Ok(())
        };
        let read = reader.segment(&segment.path, &mut take);
        (segment.records, segment.zxids) = (records, zxids);
        match read {
            Ok(()) => Ok(match reader.before().and_then(|before| before.torn) {
                None => SegmentEnd::Clean,
                Some(torn) => SegmentEnd::Torn(TornEnd {
                    path: segment.path.clone(),
                    offset: torn.offset,
                    bytes: torn.bytes,
                    zxids: torn.zxids,
                }),
            }),
            Err(Stop::Corrupt { offset, reason, .. }) => Ok(SegmentEnd::Damaged { offset, reason }),
            Err(Stop::Io(error)) => Err(unreadable(&segment.path, error)),
            Err(Stop::Refused { .. }) => unreachable!("everything is taken"),
        }
    }

    /// Every listed snapshot; what recovery read is not read again.
    fn snapshots(
        &self,
        recovered: &Recovered,
        segments: &[CheckedSegment],
        progress: &Progress,
    ) -> Vec<CheckedSnapshot> {
        let loaded = recovered.report.snapshot.as_ref();
        let one = |zxid: Zxid| {
            let path = self.places.snapshot(self.manifest, zxid);
            let tried = recovered.damaged.iter().position(|damaged| *damaged == zxid);
            let entries = match (loaded, tried) {
                (Some(loaded), _) if loaded.zxid == zxid => Ok(loaded.entries),
                (_, Some(index)) => Err(recovered.report.damaged[index].clone()),
                _ => self.verify(zxid, &path, progress),
            };
            CheckedSnapshot {
                zxid,
                bytes: self.places.disk.length(&path).unwrap_or(0),
                leads_to: entries.is_ok().then(|| self.leads_to(zxid, segments)),
                path,
                entries,
            }
        };
        self.manifest.snapshots.iter().copied().map(one).collect()
    }

    fn verify(&self, zxid: Zxid, path: &Path, progress: &Progress) -> Result<u64, String> {
        let bytes = self.places.disk.map(path);
        let bytes = bytes.map_err(|error| format!("{}: {error}", path.display()))?;
        let mut counting = Counting {
            target: &mut Nobody,
            progress,
        };
        load_one(&bytes, self.manifest, zxid, self.threads, &mut counting)
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Where the log leads from a state, and whether that is as far as the log goes.
    fn leads_to(&self, from: Zxid, segments: &[CheckedSegment]) -> (Zxid, bool) {
        let mut state = from;
        let Some(start) = first_needed(self.manifest, from) else {
            return (state, segments.is_empty());
        };
        for (index, segment) in segments.iter().enumerate().skip(start) {
            if segment.listed.base > state || segment.end == SegmentEnd::Missing {
                return (state, false);
            }
            let through = self.manifest.valid_through(index);
            state = segment.zxids.map_or(state, |(_, last)| last.min(through).max(state));
            if let SegmentEnd::Damaged { .. } = segment.end {
                return (state, false);
            }
        }
        (state, true)
    }
}

fn unreadable(path: &Path, error: io::Error) -> OpenError {
    OpenError::Io {
        what: "read",
        path: path.to_path_buf(),
        error,
    }
}

/// Counts what goes by.
struct Counting<'a> {
    target: &'a mut dyn Recover,
    progress: &'a Progress,
}

impl Recover for Counting<'_> {
    fn begin_snapshot(&mut self, zxid: Zxid, seed: u64, meta: &[u8]) -> Result<(), String> {
        self.target.begin_snapshot(zxid, seed, meta)
    }

    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.progress.entries.fetch_add(1, Relaxed);
        self.target.entry(key, value)
    }

    fn end_snapshot(&mut self) -> Result<(), String> {
        self.target.end_snapshot()
    }

    fn record(&mut self, zxid: Zxid, payload: &[u8]) -> Result<(), String> {
        self.progress.records.fetch_add(1, Relaxed);
        self.target.record(zxid, payload)
    }
}

/// A disk on which nothing can be changed, whatever the code above it believes.
struct ReadOnly<'d> {
    disk: &'d dyn Disk,
    progress: &'d Progress,
}

impl ReadOnly<'_> {
    fn count(&self, bytes: usize) {
        self.progress.bytes.fetch_add(bytes as u64, Relaxed);
    }
}

fn refuse<T>() -> io::Result<T> {
    Err(io::Error::new(
        io::ErrorKind::ReadOnlyFilesystem,
        "a check changes nothing",
    ))
}

impl Disk for ReadOnly<'_> {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        refuse()
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let bytes = self.disk.read(path)?;
        self.count(bytes.len());
        Ok(bytes)
    }

    fn read_used(&self, path: &Path) -> io::Result<(Vec<u8>, u64)> {
        let (bytes, length) = self.disk.read_used(path)?;
        self.count(length as usize);
        Ok((bytes, length))
    }

    fn read_head(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        self.disk.read_head(path, limit)
    }

    fn map(&self, path: &Path) -> io::Result<Bytes> {
        let bytes = self.disk.map(path)?;
        self.count(bytes.len());
        Ok(bytes)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        self.disk.length(path)
    }

    fn modified_s(&self, path: &Path) -> io::Result<u64> {
        self.disk.modified_s(path)
    }

    fn open(&self, _path: &Path, _access: Access) -> io::Result<Arc<dyn DiskFile>> {
        refuse()
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        refuse()
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        refuse()
    }

    fn sync_dir(&self, _directory: &Path) -> io::Result<()> {
        refuse()
    }

    fn lock(&self, _path: &Path) -> Result<Lock, LockError> {
        refuse().map_err(LockError::Io)
    }

    fn lock_shared(&self, path: &Path) -> Result<Option<Lock>, LockError> {
        self.disk.lock_shared(path)
    }

    fn random(&self) -> io::Result<u64> {
        self.disk.random()
    }
}
