//! The stores that are damaged: how they came about, what they hold, and what they were earlier.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::Zxid;
use storage::engine::{Engine, OpenError, Options, Report};
use storage::format::{BLOCK, file_offset};
use storage::log::{LogItem, LogReader};
use storage::sim::{Image, SimDisk};

use crate::log_common::{Seen, entries, payload};

/// How a store came to be as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No snapshot yet, the log ended in order.
    LogOnly,
    /// Four snapshots were taken and two kept; ended in order.
    Closed,
    /// The same, killed: the end of the log has no close mark.
    Killed,
    /// Killed before the first snapshot.
    KilledLogOnly,
    /// The newest snapshot is ahead of the log, as after `forceSync=no` or from a leader: nothing but it leads there.
    Ahead,
}

impl Stage {
    /// All of them.
    pub const ALL: [Stage; 5] = [
        Stage::LogOnly,
        Stage::Closed,
        Stage::Killed,
        Stage::KilledLogOnly,
        Stage::Ahead,
    ];

    fn snapshots(self) -> u64 {
        match self {
            Stage::LogOnly | Stage::KilledLogOnly => 0,
            _ => 4,
        }
    }

    fn is_killed(self) -> bool {
        matches!(self, Stage::Killed | Stage::KilledLogOnly)
    }
}

/// A store at rest.
pub struct Stored {
    pub name: String,
    pub image: Image,
    /// The last acknowledged transaction.
    pub state: u64,
    /// Of a killed server: the file and the bytes of its last batch.
    pub last_batch: Option<(PathBuf, Range<usize>)>,
    /// What the disk held earlier, after each round.
    pub older: Vec<Image>,
}

fn options() -> Options {
    Options {
        data_dir: PathBuf::from("/data"),
        log_dir: PathBuf::from("/log"),
        segment_bytes: 24 << 10,
        segment_bytes_first: 16 << 10,
        retain_snapshots: 2,
        background: false,
        load_threads: 1,
        ..Options::default()
    }
}

fn open(disk: &SimDisk) -> Result<(Engine, storage::log::Log, Report, Seen), OpenError> {
    let mut seen = Seen::default();
    let (engine, log, report) = Engine::open_on(Arc::new(disk.clone()), options(), &mut seen)?;
    Ok((engine, log, report, seen))
}

impl Stored {
    /// A store in that stage; servers differ in what they drew at random.
    pub fn new(stage: Stage, server: u64) -> Stored {
        let disk = SimDisk::default();
        disk.set_random(server << 32 | 0x5eed);
        let (engine, mut log, ..) = open(&disk).expect("a sound disk opens");
        let mut older = Vec::new();
        for round in 0..4 {
            for count in 1..5u64 {
                (0..count * 2).for_each(|_| {
                    let zxid = log.appended().next();
                    log.append(zxid, &[&payload(zxid)]);
                });
                let write = log.next_write().expect("a batch");
                log.written(write.perform().expect("the simulated disk writes"));
            }
            if round < stage.snapshots() {
                snapshot(&engine, log.durable());
            }
            older.push(disk.live());
        }
        // The last batch is behind every snapshot.
        let zxid = log.appended().next();
        (zxid.0..zxid.0 + 3)
            .map(Zxid)
            .for_each(|zxid| log.append(zxid, &[&payload(zxid)]));
        let write = log.next_write().expect("a batch");
        log.written(write.perform().expect("the simulated disk writes"));
        let mut state = log.durable().0;
        if stage == Stage::Ahead {
            state += 20;
            snapshot(&engine, Zxid(state));
        }
        match stage.is_killed() {
            true => std::mem::forget((engine, log)),
            false => drop((engine, log)),
        }
        let image = disk.live();
        Stored {
            name: format!("{stage:?}"),
            last_batch: stage.is_killed().then(|| last_batch(&image, state)),
            image,
            state,
            older,
        }
    }

    /// Opens what is on a disk as this server would.
    pub fn open(&self, disk: &SimDisk) -> Result<(Report, Seen), OpenError> {
        disk.process_killed();
        let (_engine, _log, report, seen) = open(disk)?;
        Ok((report, seen))
    }

    /// Its files, but for the lock and what a killed server left under temporary names.
    pub fn files(&self) -> Vec<PathBuf> {
        let passing = |path: &Path| path.ends_with("lock") || path.extension().is_some_and(|ending| ending == "tmp");
        let files = self.image.files.keys().filter(|path| !passing(path));
        files.cloned().collect()
    }

    /// Whether a range of a file holds all of the last batch of a killed server.
    pub fn covers_last_batch(&self, path: &Path, range: &Range<usize>) -> bool {
        let covers = |(file, batch): &(PathBuf, Range<usize>)| {
            file == path && range.start <= batch.start && range.end >= batch.end
        };
        self.last_batch.as_ref().is_some_and(covers)
    }

    /// Whether a range of a file touches the last batch of a killed server.
    pub fn touches_last_batch(&self, path: &Path, range: &Range<usize>) -> bool {
        let touches = |(file, batch): &(PathBuf, Range<usize>)| {
            file == path && range.start < batch.end && range.end > batch.start
        };
        self.last_batch.as_ref().is_some_and(touches)
    }
}

fn snapshot(engine: &Engine, zxid: Zxid) {
    let all = entries(zxid);
    let mut all = all.iter().map(|(key, value)| (&key[..], &value[..]));
    let written = engine.write_snapshot(zxid, 1, b"meta", &mut all, None);
    written.expect("the simulated disk writes");
}

/// The file that was written last, and where its last batch lies: back from the last record to the batch's head.
fn last_batch(image: &Image, state: u64) -> (PathBuf, Range<usize>) {
    let segment = |path: &&PathBuf| path.starts_with("/log") && path.to_string_lossy().contains("/log.");
    let path = image.files.keys().rfind(segment).expect("a segment").clone();
    let mut record = None;
    let mut read = |item: LogItem<'_>| {
        if item.zxid == Zxid(state) {
            record = Some(item.offset);
        }
    };
    LogReader::read_on(&SimDisk::new(image.clone()), &path, &mut read).expect("a sound segment");
    let bytes = &image.files[&path];
    let mut offset = record.expect("the last record") as usize / BLOCK * BLOCK;
    while !bytes[offset..].starts_with(b"RKB1") {
        offset -= BLOCK;
    }
    let length = u32::from_le_bytes(bytes[offset + 8..][..4].try_into().expect("four bytes"));
    (path, offset..offset + file_offset(u64::from(length)) as usize)
}
