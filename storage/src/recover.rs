//! From two directories back to a state: the newest snapshot that is whole, then the log behind it.
//!
//! What a crash can leave, file by file, and what becomes of it (bytes inside a segment: see `scan`; the steps that
//! begin a segment: see `segment`):
//!
//! | left behind | by a crash while | becomes |
//! |---|---|---|
//! | `*.tmp` | a segment, snapshot or manifest was made, or an import ended | removed |
//! | segment without a batch, newest | a segment was begun | removed |
//! | unlisted segment older than all listed ones | purging | removed |
//! | unlisted snapshot | a snapshot was about to be listed, or purging | renamed to `*.unlisted`, removed by the next start |
//! | torn last batch | a batch was written | overwritten with zeros, and reported |
//! | anything unlisted, while the manifest says `sweeping` | a truncation or installation (`rewind`) | what was begun is ended |
//!
//! Everything else is damage and refused, naming file, offset and the way out that fits (`remains`): a listed file that
//! is missing, an unlisted segment with batches in it, a segment that does not continue the one before, and what `scan`
//! calls corrupt. A damaged snapshot is passed over only if the log from the one before (or from the beginning) is
//! there in full.
//! Invariant: nothing on the disk is changed before all of it was found good; `check` is this same code and no more.

use std::path::{Path, PathBuf};

use crate::Zxid;
use crate::disk::Disk;
use crate::engine::{Inspect, Recover};
use crate::error::{OpenError, WayOut};
use crate::format::{BLOCK, SegmentHeader, follows, parse_segment_name, parse_snapshot_name, snapshot_name};
use crate::import::MARK;
use crate::manifest::{ListedSegment, MANIFEST, Manifest};
use crate::reader::{Before, LogItem, LogReader, Stop};
use crate::remains::Known;
use crate::report::{LoadedSnapshot, Report, TornEnd};
use crate::snapshot;
use crate::store::LOCK;
use crate::trie::{Bulk, Part, Trie};

/// Where a store's files are.
#[derive(Clone, Copy)]
pub(crate) struct Places<'a> {
    pub disk: &'a dyn Disk,
    pub data: &'a Path,
    pub log: &'a Path,
}

impl Places<'_> {
    /// Where a listed snapshot lies: one that was just installed may still have its first name.
    pub(crate) fn snapshot(&self, manifest: &Manifest, zxid: Zxid) -> PathBuf {
        let installed = self.data.join(installed_name(zxid));
        match manifest.sweeping && self.disk.length(&installed).is_ok() {
            true => installed,
            false => self.data.join(snapshot_name(zxid)),
        }
    }
}

/// The name of a snapshot that came from elsewhere, until the manifest lists it and nothing else.
pub(crate) fn installed_name(zxid: Zxid) -> String {
    format!("{}.installed", snapshot_name(zxid))
}

/// What was found, and in its report what is to be done about it.
#[derive(Default)]
pub(crate) struct Recovered {
    pub state: Zxid,
    /// The last listed segment, if it can be gone on in or its end matters.
    pub last: Option<Before>,
    pub report: Report,
    /// Snapshots that are listed and damaged, and passed over.
    pub damaged: Vec<Zxid>,
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
                way_out: Box::new(WayOut::Manifest),
            });
    }
    if names.iter().any(|name| name == MARK) {
        return Err(OpenError::Missing {
            file: path,
            because: format!("an import was interrupted before it was whole ({MARK} says so); begin it again"),
            way_out: Box::new(WayOut::Manifest),
        });
    }
    let in_log = places.disk.list(places.log).map_err(io(places.log))?;
    let data = names.iter().find(|name| is_of_a_store(name));
    let log = in_log.iter().find(|name| is_of_a_store(name));
    let found = data
        .map(|name| places.data.join(name))
        .or(log.map(|name| places.log.join(name)));
    found.map_or(Ok(None), |found| {
        Err(OpenError::Missing {
            file: path,
            because: format!("{} is there, so there was a store", found.display()),
            way_out: Box::new(WayOut::Manifest),
        })
    })
}

/// Whether a file tells that there was a store once. The manifest is the first that a store makes after its lock: a
/// server that was killed before leaves no other file. What the file system or the network puts there does not count.
fn is_of_a_store(name: &str) -> bool {
    let foreign = name == "lost+found" || name.starts_with('.');
    !foreign && name != LOCK && name.strip_suffix(".tmp") != Some(MANIFEST)
}

/// Reads everything that is listed into the target, and finds what is not. On an error, `recovered` has what was good.
pub(crate) fn recover(
    places: Places<'_>,
    manifest: &Manifest,
    threads: usize,
    target: &mut dyn Recover,
    recovered: &mut Recovered,
) -> Result<(), OpenError> {
    let known = Known {
        places,
        manifest,
        threads,
    };
    let headers = check_listed(&known)?;
    find_leftovers(places, manifest, &mut recovered.report)?;
    load_snapshot(&known, target, recovered)?;
    replay(&known, &headers, target, recovered)?;
    let newest = manifest.snapshots.last().copied().unwrap_or(Zxid::ZERO);
    if recovered.state < newest {
        // Only a snapshot that was passed over can be newer than the state, and the log does not reach it.
        return Err(damaged_snapshot(&known, newest, recovered));
    }
    if recovered.state < manifest.reached {
        return Err(fallen_short(&known, recovered));
    }
    if let Some(last) = &recovered.last {
        // An epoch begins with a zxid that no transaction has, and a snapshot may be taken there.
        let begun = recovered.state.counter() == 0 && last.logged.epoch() < recovered.state.epoch();
        recovered.report.log_behind = Some(last.logged).filter(|logged| *logged < recovered.state && !begun);
        recovered.report.dropped = is_useless(last).then(|| last.path.clone());
    }
    recovered.report.zxid = recovered.state;
    Ok(())
}

/// A segment that was begun for a batch that never came: it goes, and the next one continues its predecessor. Going on
/// in it would end the log where the next batch is larger than it: the segment for that one would need the same name.
pub(crate) fn is_useless(last: &Before) -> bool {
    last.batches == 0
}

/// Every listed file is there, and each segment is the one that was listed.
fn check_listed(known: &Known<'_>) -> Result<Vec<SegmentHeader>, OpenError> {
    let Known { places, manifest, .. } = *known;
    for zxid in &manifest.snapshots {
        let file = places.snapshot(manifest, *zxid);
        if places.disk.length(&file).is_err() {
            return Err(missing(places, file, WayOut::Snapshot(known.remains(None))));
        }
    }
    let mut headers: Vec<SegmentHeader> = Vec::new();
    for segment in &manifest.segments {
        let path = places.log.join(segment.name());
        let header = check_header(places, manifest, segment);
        headers.push(header.map_err(|bad| match bad {
            BadHeader::Missing => missing(places, path, WayOut::Log(known.remains(Some(segment.first)))),
            BadHeader::Io(error) => OpenError::Io {
                what: "read",
                path,
                error,
            },
            BadHeader::Damaged(reason) => OpenError::Corrupt {
                file: path,
                offset: 0,
                after: Some(segment.base),
                reason,
                way_out: Box::new(WayOut::Log(known.remains(Some(segment.first)))),
            },
            BadHeader::Foreign(reason) => OpenError::Corrupt {
                file: path,
                offset: 0,
                after: Some(segment.base),
                reason,
                way_out: Box::new(WayOut::Misplaced(known.remains(Some(segment.first)))),
            },
        })?);
    }
    Ok(headers)
}

fn missing(places: Places<'_>, file: PathBuf, way_out: WayOut) -> OpenError {
    let way_out = Box::new(way_out);
    OpenError::Missing {
        file,
        because: format!("{} lists it", places.data.join(MANIFEST).display()),
        way_out,
    }
}

/// Why a segment is not the one that is listed.
pub(crate) enum BadHeader {
    Missing,
    Io(std::io::Error),
    Damaged(String),
    Foreign(String),
}

/// Reads a listed segment's header; it is the one that the manifest means.
pub(crate) fn check_header(
    places: Places<'_>,
    manifest: &Manifest,
    segment: &ListedSegment,
) -> Result<SegmentHeader, BadHeader> {
    let head = match places.disk.read_head(&places.log.join(segment.name()), BLOCK) {
        Ok(head) => head,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(BadHeader::Missing),
        Err(error) => return Err(BadHeader::Io(error)),
    };
    let header = SegmentHeader::decode(&head).map_err(|reason| BadHeader::Damaged(reason.into()))?;
    let ListedSegment { number, first, base } = *segment;
    if (header.store, header.number, header.first, header.base) != (manifest.store, number, first, base) {
        return Err(BadHeader::Foreign(format!(
            "it is segment {} of store {:x} from zxid {}; the manifest has segment {number} of store {:x} from zxid \
             {first}",
            header.number, header.store, header.first, manifest.store
        )));
    }
    Ok(header)
}

/// What interrupted steps left, into the report.
fn find_leftovers(places: Places<'_>, manifest: &Manifest, report: &mut Report) -> Result<(), OpenError> {
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
        let is_over = is_temporary(&name) && !is_awaited(&name, manifest);
        if is_over || manifest.sweeping && is_void(&name, manifest) {
            report.removed.push(places.data.join(name));
        } else if parse_snapshot_name(&name).is_some_and(unlisted) {
            report.set_aside.push(places.data.join(name));
        }
    }
    for name in list(places.log)? {
        let Some(first) = parse_segment_name(&name) else {
            let path = places.log.join(&name);
            if is_temporary(&name) && !is_awaited(&name, manifest) && !report.removed.contains(&path) {
                report.removed.push(path);
            }
            continue;
        };
        let path = places.log.join(name);
        if manifest.segments.iter().all(|segment| segment.first != first) {
            if !manifest.sweeping {
                check_unlisted(places, manifest, first, &path)?;
            }
            report.removed.push(path);
        }
    }
    Ok(())
}

/// A temporary file of ours; others may have theirs here.
fn is_temporary(name: &str) -> bool {
    // What one start set aside, the next one removes: a server that is killed again and again does not fill its disk.
    if let Some(name) = name.strip_suffix(".unlisted") {
        return parse_snapshot_name(name).is_some();
    }
    if let Some(name) = name.strip_suffix(".installed") {
        return parse_snapshot_name(name).is_some();
    }
    let Some(name) = name.strip_suffix(".tmp") else {
        return false;
    };
    name == MANIFEST || name == "import" || name.starts_with("ahead.") || parse_snapshot_name(name).is_some()
}

/// Whether an installed snapshot only waits for its name.
fn is_awaited(name: &str, manifest: &Manifest) -> bool {
    let zxid = name.strip_suffix(".installed").and_then(parse_snapshot_name);
    manifest.sweeping && zxid.is_some_and(|zxid| manifest.snapshots.contains(&zxid))
}

/// Whether a file is a snapshot that a truncation or an installation took off the list.
fn is_void(name: &str, manifest: &Manifest) -> bool {
    parse_snapshot_name(name).is_some_and(|zxid| !manifest.snapshots.contains(&zxid))
}

/// An unlisted segment may go only if it is older than all that is needed, or never held a batch.
fn check_unlisted(places: Places<'_>, manifest: &Manifest, first: Zxid, path: &Path) -> Result<(), OpenError> {
    if manifest.segments.first().is_some_and(|oldest| first < oldest.first) {
        return Ok(());
    }
    let read = places.disk.read_used(path);
    let (bytes, _) = read.map_err(|error| OpenError::Io {
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
            way_out: Box::new(WayOut::OlderManifest),
        }),
    }
}

/// Loads the newest snapshot that is whole, if any.
fn load_snapshot(known: &Known<'_>, target: &mut dyn Recover, recovered: &mut Recovered) -> Result<(), OpenError> {
    let Known {
        places,
        manifest,
        threads,
    } = *known;
    for zxid in manifest.snapshots.iter().rev() {
        let path = places.snapshot(manifest, *zxid);
        let bytes = places.disk.map(&path);
        let bytes = bytes.map_err(|error| OpenError::Io {
            what: "map",
            path: path.clone(),
            error,
        })?;
        match load_one(&bytes, manifest, *zxid, threads, target) {
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
                    way_out: Box::new(WayOut::Program(known.remains_before(*zxid))),
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

/// One snapshot's bytes into the target; gives the count of its entries.
pub(crate) fn load_one(
    bytes: &[u8],
    manifest: &Manifest,
    zxid: Zxid,
    threads: usize,
    target: &mut dyn Recover,
) -> Result<u64, snapshot::SnapshotError> {
    let reader = snapshot::Reader::open(bytes)?;
    let another = |why: String| snapshot::SnapshotError::Damaged {
        offset: 0,
        length: bytes.len() as u64,
        part: "the file".into(),
        why,
    };
    if reader.zxid() != zxid {
        let why = format!("it is the snapshot of zxid {}, under the name of {zxid}", reader.zxid());
        return Err(another(why));
    }
    if manifest.sums.get(&zxid).is_some_and(|sum| *sum != reader.sum()) {
        return Err(another(
            "it is whole, but not the one that was listed: another server's".into(),
        ));
    }
    let refused = snapshot::SnapshotError::Refused;
    target
        .begin_snapshot(zxid, reader.seed(), reader.meta())
        .map_err(refused)?;
    match target.inspector() {
        Some(inspector) => {
            let trie = build(&reader, threads, &*inspector)?;
            target.trie(trie).map_err(refused)?;
        }
        None => reader.load(threads, &mut |key, value| target.entry(key, value))?,
    }
    target.end_snapshot().map_err(refused)?;
    Ok(reader.entry_count())
}

/// The trie of a snapshot's entries, block by block on the threads; the calling one only joins.
fn build(
    reader: &snapshot::Reader<'_>,
    threads: usize,
    inspector: &dyn Inspect,
) -> Result<Trie, snapshot::SnapshotError> {
    let seed = reader.seed();
    let disorder = |_| "its entries are not in the order of its seed".to_owned();
    let mut bulk = Bulk::new(seed);
    let make = |entries: &[(&[u8], &[u8])]| {
        inspector.inspect(entries)?;
        Part::new(seed, entries.iter().copied()).map_err(disorder)
    };
    reader.load_made(threads, &make, &mut |part| bulk.push(part).map_err(disorder))?;
    Ok(bulk.finish())
}

/// The first segment that a state needs: the last one that begins at or before it. What is older is not read.
pub(crate) fn first_needed(manifest: &Manifest, state: Zxid) -> Option<usize> {
    manifest.segments.iter().rposition(|segment| segment.base <= state)
}

/// Hands over every record behind the snapshot. `headers` are those of all listed segments.
fn replay(
    known: &Known<'_>,
    headers: &[SegmentHeader],
    target: &mut dyn Recover,
    recovered: &mut Recovered,
) -> Result<(), OpenError> {
    let Some(start) = first_needed(known.manifest, recovered.state) else {
        return match headers.first() {
            Some(oldest) => Err(incomplete(known, oldest, recovered)),
            None => Ok(()),
        };
    };
    let mut reader = LogReader::new(known.places.disk);
    let segments = known.manifest.segments.iter().zip(headers).skip(start);
    for (read, (segment, header)) in segments.enumerate() {
        target.segment(read, headers.len() - start);
        let through = known.manifest.valid_through(start + read);
        let path = known.places.log.join(segment.name());
        reader
            .check_continues(&path, header)
            .map_err(|stop| stopped(stop, &path, known, recovered.state))?;
        if header.base > recovered.state {
            return Err(incomplete(known, header, recovered));
        }
        replay_segment(&mut reader, &path, through, target, recovered)
            .map_err(|stop| stopped(stop, &path, known, recovered.state))?;
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

/// Hands over the records of one segment that are behind the state, and moves the state. What lies behind `through`
/// was cut off.
pub(crate) fn replay_segment(
    reader: &mut LogReader<'_>,
    path: &Path,
    through: Zxid,
    target: &mut dyn Recover,
    recovered: &mut Recovered,
) -> Result<(), Stop> {
    let mut take = |item: LogItem<'_>| {
        if item.zxid <= recovered.state || item.zxid > through {
            return Ok(());
        }
        if !follows(recovered.state, item.zxid) {
            return Err(format!("it does not follow zxid {}", recovered.state));
        }
        target.record(item.zxid, item.payload)?;
        recovered.state = item.zxid;
        recovered.report.replayed += 1;
        recovered.report.replayed_bytes += item.payload.len() as u64;
        Ok(())
    };
    reader.segment(path, &mut take)?;
    recovered.report.segments += 1;
    Ok(())
}

fn stopped(stop: Stop, path: &Path, known: &Known<'_>, state: Zxid) -> OpenError {
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
            way_out: Box::new(WayOut::Program(known.remains_before(zxid))),
        },
        Stop::Corrupt { file, offset, reason } => OpenError::Corrupt {
            file,
            offset,
            after: Some(state),
            reason,
            way_out: Box::new(WayOut::Log(known.remains(Some(state.next())))),
        },
    }
}

/// The log leads less far than when it was closed in order.
fn fallen_short(known: &Known<'_>, recovered: &Recovered) -> OpenError {
    let reached = known.manifest.reached;
    let (file, offset) = match &recovered.last {
        Some(last) => (last.path.clone(), last.end),
        None => (known.places.data.join(MANIFEST), 0),
    };
    OpenError::Corrupt {
        file,
        offset,
        after: Some(recovered.state),
        reason: format!(
            "the log led to zxid {reached} when it was closed, and ends here now: its end is gone, or an older copy of \
             the file was put back"
        ),
        way_out: Box::new(WayOut::Log(known.remains(Some(reached)))),
    }
}

/// The log begins behind the state: a snapshot that was passed over would be needed.
fn incomplete(known: &Known<'_>, header: &SegmentHeader, recovered: &Recovered) -> OpenError {
    match recovered.damaged.first() {
        Some(zxid) => damaged_snapshot(known, *zxid, recovered),
        None => OpenError::Missing {
            file: known.places.data.join(snapshot_name(header.base)),
            because: format!("the log begins behind zxid {} and no snapshot reaches it", header.base),
            way_out: Box::new(WayOut::Snapshot(known.remains(None))),
        },
    }
}

fn damaged_snapshot(known: &Known<'_>, zxid: Zxid, recovered: &Recovered) -> OpenError {
    OpenError::Snapshot {
        file: known.places.data.join(snapshot_name(zxid)),
        reasons: recovered.report.damaged.clone(),
        reached: recovered.state,
        way_out: Box::new(WayOut::Snapshot(known.remains(None))),
    }
}
