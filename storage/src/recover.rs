//! From two directories back to a state: the newest snapshot that is whole, then the log behind it.
//!
//! What a crash can leave, file by file, and what becomes of it (bytes inside a segment: see `scan`; the steps that
//! begin a segment: see `segment`):
//!
//! | left behind | by a crash while | becomes |
//! |---|---|---|
//! | `*.tmp` | a segment, snapshot or manifest was made, or an import ended | removed |
//! | unlisted segment without a batch, newest | a segment was begun | removed |
//! | unlisted segment older than all listed ones | purging | removed |
//! | unlisted snapshot | a snapshot was about to be listed, or purging | renamed to `*.unlisted`, removed by the next start |
//! | torn last batch | a batch was written | overwritten with zeros, and reported |
//!
//! Everything else is damage and refused, naming file and offset: a listed file that is missing, an unlisted segment
//! with batches in it, a segment that does not continue the one before, and what `scan` calls corrupt. A damaged
//! snapshot is passed over only if the log from the one before (or from the beginning) is there in full.
//! Invariant: nothing on the disk is changed before all of it was found good.

use std::path::{Path, PathBuf};

use crate::Zxid;
use crate::disk::Disk;
use crate::engine::Recover;
use crate::error::OpenError;
use crate::format::{BLOCK, SegmentHeader, follows, parse_segment_name, parse_snapshot_name, snapshot_name};
use crate::import::MARK;
use crate::manifest::{ListedSegment, MANIFEST, Manifest};
use crate::reader::{Before, LogItem, LogReader, Stop};
use crate::report::{LoadedSnapshot, Report, TornEnd};
use crate::snapshot;

/// Where a store's files are.
#[derive(Clone, Copy)]
pub(crate) struct Places<'a> {
    pub disk: &'a dyn Disk,
    pub data: &'a Path,
    pub log: &'a Path,
}

/// What was found, and what is to be done about it.
pub(crate) struct Recovered {
    pub state: Zxid,
    /// The last listed segment, if it can be gone on in or its end matters.
    pub last: Option<Before>,
    pub report: Report,
    /// Snapshots that are listed and damaged, and passed over.
    pub damaged: Vec<Zxid>,
    pub leftovers: Leftovers,
}

/// Files of interrupted steps.
#[derive(Default)]
pub(crate) struct Leftovers {
    pub remove: Vec<PathBuf>,
    pub set_aside: Vec<PathBuf>,
}

/// Reads the manifest; `None` if there has never been a store here.
pub(crate) fn read_manifest(places: Places<'_>) -> Result<Option<Manifest>, OpenError> {
    let path = places.data.join(MANIFEST);
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |error| OpenError::Io {
            what: "read",
            path,
            error,
        }
    };
    let names = places.disk.list(places.data).map_err(io(places.data))?;
    if names.iter().any(|name| name == MANIFEST) {
        let bytes = places.disk.read(&path).map_err(io(&path))?;
        return Manifest::decode(&bytes)
            .map(Some)
            .map_err(|(offset, reason)| OpenError::Corrupt {
                file: path,
                offset: offset as u64,
                after: None,
                reason: reason.into(),
            });
    }
    if names.iter().any(|name| name == MARK) {
        return Err(OpenError::Missing {
            file: path,
            because: format!("an import was interrupted before it was whole ({MARK} says so); begin it again"),
        });
    }
    let segments = places.disk.list(places.log).map_err(io(places.log))?;
    let snapshot = names.iter().find(|name| parse_snapshot_name(name).is_some());
    let segment = segments.iter().find(|name| parse_segment_name(name).is_some());
    let found = snapshot
        .map(|name| places.data.join(name))
        .or(segment.map(|name| places.log.join(name)));
    found.map_or(Ok(None), |found| {
        Err(OpenError::Missing {
            file: path,
            because: format!("{} is there, so there was a store", found.display()),
        })
    })
}

/// Reads everything that is listed into the target, and finds what is not.
pub(crate) fn recover(
    places: Places<'_>,
    manifest: &Manifest,
    threads: usize,
    target: &mut dyn Recover,
) -> Result<Recovered, OpenError> {
    let headers = check_listed(places, manifest)?;
    let leftovers = find_leftovers(places, manifest)?;
    let mut recovered = Recovered {
        state: Zxid::ZERO,
        last: None,
        report: Report::default(),
        damaged: Vec::new(),
        leftovers,
    };
    load_snapshot(places, manifest, threads, target, &mut recovered)?;
    replay(places, manifest, &headers, target, &mut recovered)?;
    let newest = manifest.snapshots.last().copied().unwrap_or(Zxid::ZERO);
    if recovered.state < newest {
        // Only a snapshot that was passed over can be newer than the state, and the log does not reach it.
        return Err(damaged_snapshot(places, newest, &recovered));
    }
    recovered.report.zxid = recovered.state;
    Ok(recovered)
}

/// Every listed file is there, and each segment is the one that was listed.
fn check_listed(places: Places<'_>, manifest: &Manifest) -> Result<Vec<SegmentHeader>, OpenError> {
    let listed = || format!("{} lists it", places.data.join(MANIFEST).display());
    for name in manifest.snapshot_names() {
        let file = places.data.join(name);
        if places.disk.length(&file).is_err() {
            return Err(OpenError::Missing {
                file,
                because: listed(),
            });
        }
    }
    let mut headers: Vec<SegmentHeader> = Vec::new();
    for segment in &manifest.segments {
        let file = places.log.join(segment.name());
        let head = match places.disk.read_head(&file, BLOCK) {
            Ok(head) => head,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(OpenError::Missing {
                    file,
                    because: listed(),
                });
            }
            Err(error) => {
                return Err(OpenError::Io {
                    what: "read",
                    path: file,
                    error,
                });
            }
        };
        let corrupt = |reason: String| OpenError::Corrupt {
            file: file.clone(),
            offset: 0,
            after: Some(segment.base),
            reason,
        };
        let header = SegmentHeader::decode(&head).map_err(|reason| corrupt(reason.into()))?;
        let ListedSegment { number, first, base } = *segment;
        if (header.store, header.number, header.first, header.base) != (manifest.store, number, first, base) {
            let reason = format!(
                "it is segment {} of store {:x} from zxid {}; the manifest has segment {number} of store {:x} from \
                 zxid {first}",
                header.number, header.store, header.first, manifest.store
            );
            return Err(corrupt(reason));
        }
        headers.push(header);
    }
    Ok(headers)
}

fn find_leftovers(places: Places<'_>, manifest: &Manifest) -> Result<Leftovers, OpenError> {
    let mut leftovers = Leftovers::default();
    let list = |path: &Path| {
        let io = |error| OpenError::Io {
            what: "list",
            path: path.to_path_buf(),
            error,
        };
        places.disk.list(path).map_err(io)
    };
    for name in list(places.data)? {
        let unlisted = |zxid| !manifest.snapshots.contains(&zxid);
        if is_temporary(&name) {
            leftovers.remove.push(places.data.join(name));
        } else if parse_snapshot_name(&name).is_some_and(unlisted) {
            leftovers.set_aside.push(places.data.join(name));
        }
    }
    for name in list(places.log)? {
        let Some(first) = parse_segment_name(&name) else {
            let path = places.log.join(&name);
            if is_temporary(&name) && !leftovers.remove.contains(&path) {
                leftovers.remove.push(path);
            }
            continue;
        };
        let path = places.log.join(name);
        if manifest.segments.iter().all(|segment| segment.first != first) {
            check_unlisted(places, manifest, first, &path)?;
            leftovers.remove.push(path);
        }
    }
    Ok(leftovers)
}

/// A temporary file of ours; others may have theirs here.
fn is_temporary(name: &str) -> bool {
    // What one start set aside, the next one removes: a server that is killed again and again does not fill its disk.
    if let Some(name) = name.strip_suffix(".unlisted") {
        return parse_snapshot_name(name).is_some();
    }
    let Some(name) = name.strip_suffix(".tmp") else {
        return false;
    };
    name == MANIFEST || name == "import" || name.starts_with("ahead.") || parse_snapshot_name(name).is_some()
}

/// An unlisted segment may go only if it is older than all that is needed, or never held a batch.
fn check_unlisted(places: Places<'_>, manifest: &Manifest, first: Zxid, path: &Path) -> Result<(), OpenError> {
    if manifest.segments.first().is_some_and(|oldest| first < oldest.first) {
        return Ok(());
    }
    let read = places.disk.read(path);
    let bytes = read.map_err(|error| OpenError::Io {
        what: "read",
        path: path.to_path_buf(),
        error,
    })?;
    let used = bytes.iter().skip(BLOCK).position(|byte| *byte != 0);
    match used {
        None => Ok(()),
        Some(at) => Err(OpenError::Corrupt {
            file: path.to_path_buf(),
            offset: (BLOCK + at) as u64,
            after: None,
            reason: format!(
                "the segment holds records, but {} does not list it: the manifest is older than the log",
                places.data.join(MANIFEST).display()
            ),
        }),
    }
}

/// Loads the newest snapshot that is whole, if any.
fn load_snapshot(
    places: Places<'_>,
    manifest: &Manifest,
    threads: usize,
    target: &mut dyn Recover,
    recovered: &mut Recovered,
) -> Result<(), OpenError> {
    for zxid in manifest.snapshots.iter().rev() {
        let path = places.data.join(snapshot_name(*zxid));
        let bytes = places.disk.map(&path);
        let bytes = bytes.map_err(|error| OpenError::Io {
            what: "map",
            path: path.clone(),
            error,
        })?;
        match load_one(&bytes, *zxid, threads, target) {
            Ok(entries) => {
                recovered.state = *zxid;
                recovered.report.snapshot = Some(LoadedSnapshot {
                    zxid: *zxid,
                    path,
                    entries,
                });
                return Ok(());
            }
            Err(snapshot::SnapshotError::Refused(reason)) => {
                return Err(OpenError::Refused {
                    file: path,
                    offset: 0,
                    zxid: *zxid,
                    reason,
                });
            }
            Err(error) => {
                recovered.damaged.push(*zxid);
                recovered.report.damaged.push(format!("{}: {error}", path.display()));
            }
        }
    }
    Ok(())
}

fn load_one(
    bytes: &[u8],
    zxid: Zxid,
    threads: usize,
    target: &mut dyn Recover,
) -> Result<u64, snapshot::SnapshotError> {
    let reader = snapshot::Reader::open(bytes)?;
    if reader.zxid() != zxid {
        return Err(snapshot::SnapshotError::Damaged {
            offset: 0,
            length: bytes.len() as u64,
            part: "the file".into(),
            why: format!("it is the snapshot of zxid {}, under the name of {zxid}", reader.zxid()),
        });
    }
    let refused = snapshot::SnapshotError::Refused;
    target
        .begin_snapshot(zxid, reader.seed(), reader.meta())
        .map_err(refused)?;
    reader.load(threads, &mut |key, value| target.entry(key, value))?;
    target.end_snapshot().map_err(refused)?;
    Ok(reader.entry_count())
}

/// Hands over every record behind the snapshot.
fn replay(
    places: Places<'_>,
    manifest: &Manifest,
    headers: &[SegmentHeader],
    target: &mut dyn Recover,
    recovered: &mut Recovered,
) -> Result<(), OpenError> {
    // The last segment that begins at or before the state has the next record; what is older is not needed.
    let start = headers.iter().rposition(|header| header.base <= recovered.state);
    let Some(start) = start else {
        return match headers.first() {
            Some(oldest) => Err(incomplete(places, oldest, recovered)),
            None => Ok(()),
        };
    };
    let mut reader = LogReader::new(places.disk);
    for (segment, header) in manifest.segments.iter().zip(headers).skip(start) {
        let path = places.log.join(segment.name());
        reader
            .check_continues(&path, header)
            .map_err(|stop| stopped(stop, &path, recovered.state))?;
        if header.base > recovered.state {
            return Err(incomplete(places, header, recovered));
        }
        let mut take = |item: LogItem<'_>| {
            if item.zxid <= recovered.state {
                return Ok(());
            }
            if !follows(recovered.state, item.zxid) {
                return Err(format!("it does not follow zxid {}", recovered.state));
            }
            target.record(item.zxid, item.payload)?;
            recovered.state = item.zxid;
            recovered.report.replayed += 1;
            Ok(())
        };
        let read = reader.segment(&path, &mut take);
        read.map_err(|stop| stopped(stop, &path, recovered.state))?;
        recovered.report.segments += 1;
    }
    recovered.last = reader.before().cloned();
    recovered.report.torn = recovered.last.as_ref().and_then(|last| {
        let torn = last.torn?;
        let (path, zxids) = (last.path.clone(), torn.zxids);
        Some(TornEnd {
            path,
            offset: torn.offset,
            bytes: torn.bytes,
            zxids,
        })
    });
    Ok(())
}

fn stopped(stop: Stop, path: &Path, state: Zxid) -> OpenError {
    match stop {
        Stop::Io(error) => OpenError::Io {
            what: "read",
            path: path.to_path_buf(),
            error,
        },
        Stop::Refused { offset, zxid, reason } => OpenError::Refused {
            file: path.to_path_buf(),
            offset,
            zxid,
            reason,
        },
        Stop::Corrupt { file, offset, reason } => OpenError::Corrupt {
            file,
            offset,
            after: Some(state),
            reason,
        },
    }
}

/// The log begins behind the state: a snapshot that was passed over would be needed.
fn incomplete(places: Places<'_>, header: &SegmentHeader, recovered: &Recovered) -> OpenError {
    match recovered.damaged.first() {
        Some(zxid) => damaged_snapshot(places, *zxid, recovered),
        None => OpenError::Missing {
            file: places.data.join(snapshot_name(header.base)),
            because: format!("the log begins behind zxid {} and no snapshot reaches it", header.base),
        },
    }
}

fn damaged_snapshot(places: Places<'_>, zxid: Zxid, recovered: &Recovered) -> OpenError {
    OpenError::Snapshot {
        file: places.data.join(snapshot_name(zxid)),
        reasons: recovered.report.damaged.clone(),
        reached: recovered.state,
    }
}
