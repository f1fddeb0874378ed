//! Damage at rest: single flipped bits, zeroed sectors, misdirected blocks and cut files, in log, manifest and
//! snapshots. Each is harmless (the whole state is there) or refused, with file and offset; what was acknowledged is
//! never gone without a word. And a check foresees it: the same report, or the same refusal word for word.

mod log_common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log_common::{Seen, entries, payload};
use storage::Zxid;
use storage::check::{self, Progress, SegmentEnd, Start, Verdict};
use storage::engine::{Engine, OpenError, Options, Report};
use storage::format::{BLOCK, SECTOR, file_offset};
use storage::log::Log;
use storage::sim::{Image, SimDisk};

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

fn open(disk: &SimDisk) -> Result<(Engine, Log, Report, Seen), OpenError> {
    let mut seen = Seen::default();
    let (engine, log, report) = Engine::open_on(Arc::new(disk.clone()), options(), &mut seen)?;
    Ok((engine, log, report, seen))
}

fn append(log: &mut Log, count: u64) {
    (0..count).for_each(|_| {
        let zxid = log.appended().next();
        log.append(zxid, &[&payload(zxid)]);
    });
    let write = log.next_write().unwrap();
    log.written(write.perform().unwrap());
}

/// What a check says of an image, which it must leave as it is.
fn foresee(image: &Image) -> check::Check {
    let disk = SimDisk::new(image.clone());
    let dirs = (Path::new("/data"), Path::new("/log"));
    let check = check::check(&disk, dirs, 1, &mut Seen::default(), &Progress::default());
    assert_eq!(disk.live(), *image, "a check changes nothing");
    check.expect("nobody has it, and everything can be read")
}

/// A store that ended in order or by a kill, and its state.
fn store(killed: bool, snapshots: u64) -> (Image, u64) {
    let disk = SimDisk::default();
    let (engine, mut log, ..) = open(&disk).unwrap();
    for round in 0..4 {
        (1..5).for_each(|count| append(&mut log, count * 2));
        if round < snapshots {
            let all = entries(log.durable());
            let mut all = all.iter().map(|(key, value)| (&key[..], &value[..]));
            engine
                .write_snapshot(log.durable(), 1, b"meta", &mut all, None)
                .unwrap();
        }
    }
    let state = log.durable().0;
    match killed {
        true => std::mem::forget((engine, log)),
        false => drop((engine, log)),
    }
    (disk.live(), state)
}

/// What became of damaged images.
#[derive(Default)]
struct Verdicts {
    counts: BTreeMap<&'static str, u64>,
    judged: u64,
    /// Outcomes that a check foresaw, and those of damage that no start reads, which only a check sees.
    foreseen: u64,
    unread: u64,
}

impl Verdicts {
    fn count(&mut self, verdict: &'static str) {
        *self.counts.entry(verdict).or_default() += 1;
    }

    fn of(&self, verdict: &str) -> u64 {
        self.counts.get(verdict).copied().unwrap_or(0)
    }

    fn told(&self) -> String {
        assert!(self.foreseen > 0, "no check was asked");
        let (foreseen, unread) = (self.foreseen, self.unread);
        format!(
            "{:?}, {foreseen} foreseen, {unread} in what a start does not read",
            self.counts
        )
    }

    fn foreseen_harmless(&mut self, check: &check::Check, report: &Report, damaged: &Path, what: &str) {
        let Start::Opens(foreseen) = &check.start else {
            panic!("{what}: {:?}", check.start)
        };
        assert_eq!(foreseen, report, "{what}");
        self.foreseen += 1;
        let segments = check.segments.iter().filter(|segment| segment.end != SegmentEnd::Clean);
        let mut segments = segments.filter(|segment| !matches!(segment.end, SegmentEnd::Torn(_)));
        let mut snapshots = check.snapshots.iter().filter(|snapshot| snapshot.entries.is_err());
        if report.damaged.is_empty() && (segments.any(|_| true) || snapshots.any(|_| true)) {
            assert_eq!(check.verdict(), Verdict::Repairs, "{what}");
            assert!(damaged.to_string_lossy().contains("ringkeeper-1/"), "{what}");
            self.unread += 1;
        }
    }

    /// Opens a damaged image. `last_batch` is where a batch begins that may look torn.
    fn judge(&mut self, image: Image, damaged: &Path, state: u64, last_batch: Option<(PathBuf, u64)>, what: &str) {
        let what = format!("{}, {what}", damaged.display());
        // Twice the time for each: every third is enough.
        self.judged += 1;
        let foreseen = self.judged.is_multiple_of(3).then(|| foresee(&image));
        match open(&SimDisk::new(image)) {
            Ok((_, _, report, seen)) => {
                if let Some(check) = &foreseen {
                    self.foreseen_harmless(check, &report, damaged, &what);
                }
                let got = seen.state().0;
                if !report.damaged.is_empty() {
                    let text = report.to_string();
                    assert_eq!(got, state, "{what}: {text}");
                    assert!(
                        text.contains(&damaged.display().to_string()) && text.contains("offset"),
                        "{what}: {text}"
                    );
                    self.count("snapshot passed over");
                } else if let Some(torn) = &report.torn {
                    let (file, offset) = last_batch.unwrap_or_else(|| panic!("{what}: {report}"));
                    assert_eq!((&torn.path, torn.offset), (&file, offset), "{what}: {report}");
                    assert!(report.to_string().contains("torn end cut"), "{what}: {report}");
                    self.count(match got == state {
                        true => "last batch torn, reported, in a snapshot",
                        false => "last batch torn, reported",
                    });
                } else if last_batch.is_some() && got < state {
                    self.count("last batch of one sector gone");
                } else {
                    assert_eq!(got, state, "{what}: {report}");
                    self.count("harmless");
                }
            }
            Err(error) => {
                let text = error.to_string();
                if let Some(check) = &foreseen {
                    assert_eq!(check.verdict(), Verdict::Refused, "{what}: {text}");
                    let Start::Refused(same) = &check.start else {
                        panic!("{what}")
                    };
                    assert_eq!(same.to_string(), text, "{what}");
                    self.foreseen += 1;
                }
                let named = text.contains(&damaged.display().to_string());
                let neighbour = matches!(&error, OpenError::Corrupt { .. }) && damaged.starts_with("/log");
                assert!(named || neighbour, "{what}: {text}");
                let offset = text.contains("offset") || matches!(error, OpenError::Missing { .. });
                assert!(offset && text.contains("restore dataDir"), "{what}: {text}");
                self.count("refused");
            }
        }
    }
}

/// The file that is written last, and where its last batch begins: known from what the store would cut.
fn last_batch(image: &Image, state: u64) -> (PathBuf, u64, u64) {
    let segment = |path: &&PathBuf| path.starts_with("/log") && path.to_string_lossy().contains("/log.");
    let path = image.files.keys().rfind(segment).unwrap().clone();
    let mut begin = None;
    let read = |item: storage::log::LogItem<'_>| {
        if item.zxid == Zxid(state) {
            begin = Some(item.offset);
        }
    };
    let mut read = read;
    storage::log::LogReader::read_on(&SimDisk::new(image.clone()), &path, &mut read).unwrap();
    // Back from the last record to the head of its batch.
    let bytes = &image.files[&path];
    let mut offset = begin.expect("the last record") / BLOCK as u64 * BLOCK as u64;
    while !bytes[offset as usize..].starts_with(b"RKB1") {
        offset -= BLOCK as u64;
    }
    let length = u32::from_le_bytes(bytes[offset as usize + 8..][..4].try_into().unwrap());
    (path, offset, offset + file_offset(length as u64))
}

fn files(image: &Image) -> Vec<PathBuf> {
    let files = image.files.keys().filter(|path| !path.ends_with("lock"));
    files.cloned().collect()
}

#[test]
fn every_flipped_byte_is_harmless_or_refused() {
    let mut total = 0;
    for (killed, snapshots) in [(false, 4), (true, 4), (true, 0)] {
        let (image, state) = store(killed, snapshots);
        let mut verdicts = Verdicts::default();
        for path in files(&image) {
            for at in 0..image.files[&path].len() {
                let bit = (at * 5 + at / 8) % 8;
                // Long stretches that were never written: every 61st byte and those at their edges.
                let around = &image.files[&path][at.saturating_sub(8)..(at + 8).min(image.files[&path].len())];
                if at % 61 != 0 && around.iter().all(|byte| *byte == 0) {
                    continue;
                }
                let mut damaged = image.clone();
                damaged.bytes_mut(&path)[at] ^= 1 << bit;
                verdicts.judge(damaged, &path, state, None, &format!("bit {bit} of byte {at}"));
                total += 1;
            }
        }
        println!(
            "killed {killed}, {snapshots} snapshots, bits flipped: {}",
            verdicts.told()
        );
        assert!(verdicts.of("refused") > 1000);
        assert_eq!(verdicts.of("snapshot passed over") > 0, snapshots > 0);
    }
    println!("{total} flipped bits");
}

#[test]
fn every_zeroed_sector_is_harmless_or_told() {
    for (killed, snapshots) in [(false, 4), (true, 4), (false, 0), (true, 0)] {
        let (image, state) = store(killed, snapshots);
        let (last_path, begin, end) = last_batch(&image, state);
        let mut verdicts = Verdicts::default();
        for path in files(&image) {
            for (size, step) in [(SECTOR, SECTOR), (BLOCK, BLOCK)] {
                for at in (0..image.files[&path].len()).step_by(step) {
                    let mut damaged = image.clone();
                    let bytes = damaged.bytes_mut(&path);
                    let to = (at + size).min(bytes.len());
                    bytes[at..to].fill(0);
                    // Without a close mark, a lost sector of the last batch looks like a write that never arrived.
                    let doubtful = killed && path == last_path && (at as u64) < end && to as u64 > begin;
                    let doubtful = doubtful.then(|| (path.clone(), begin));
                    verdicts.judge(damaged, &path, state, doubtful, &format!("{size} bytes zeroed at {at}"));
                }
            }
        }
        println!(
            "killed {killed}, {snapshots} snapshots, sectors and blocks zeroed: {}",
            verdicts.told()
        );
        assert!(verdicts.of("refused") > if snapshots == 0 { 40 } else { 10 });
        let torn = verdicts.of("last batch torn, reported") + verdicts.of("last batch torn, reported, in a snapshot");
        assert_eq!(torn > 0, killed);
        assert_eq!(
            verdicts.of("last batch of one sector gone"),
            0,
            "the last batch is longer"
        );
    }
}

#[test]
fn every_misdirected_block_and_every_cut_is_harmless_or_refused() {
    for (killed, snapshots) in [(false, 4), (true, 4), (false, 0), (true, 0)] {
        let (image, state) = store(killed, snapshots);
        let (last_path, begin, end) = last_batch(&image, state);
        let mut verdicts = Verdicts::default();
        let logs: Vec<_> = files(&image)
            .into_iter()
            .filter(|path| path.starts_with("/log"))
            .collect();
        for from in &logs {
            for to in &logs {
                for (source, target) in (0..6).flat_map(|source| (0..6).map(move |target| (source, target))) {
                    let mut damaged = image.clone();
                    let Some(block) = image.files[from].get(source * BLOCK..(source + 1) * BLOCK) else {
                        continue;
                    };
                    if target * BLOCK >= image.files[to].len() {
                        continue;
                    }
                    damaged.bytes_mut(to)[target * BLOCK..][..BLOCK].copy_from_slice(block);
                    let at = (target * BLOCK) as u64;
                    // A block of zeros over the last batch is the doubtful case of the test above.
                    let doubtful = killed && *to == last_path && at < end && at + BLOCK as u64 > begin;
                    let doubtful = doubtful.then(|| (to.clone(), begin));
                    let what = format!("block {source} of {} over block {target}", from.display());
                    verdicts.judge(damaged, to, state, doubtful, &what);
                }
            }
        }
        for path in files(&image) {
            let length = image.files[&path].len();
            for at in (0..length).step_by(if length > 8192 { SECTOR } else { 7 }) {
                let mut damaged = image.clone();
                damaged.bytes_mut(&path).truncate(at);
                verdicts.judge(damaged, &path, state, None, &format!("cut to {at}"));
            }
        }
        println!(
            "killed {killed}, {snapshots} snapshots, blocks misdirected and files cut: {}",
            verdicts.told()
        );
        assert!(verdicts.of("refused") > if snapshots == 0 { 400 } else { 100 });
    }
}

#[test]
fn an_old_manifest_over_a_newer_log_is_refused() {
    let disk = SimDisk::default();
    let (engine, mut log, ..) = open(&disk).unwrap();
    append(&mut log, 3);
    let path = Path::new("/data/ringkeeper-1/manifest");
    let old = disk.live().files[path].clone();
    (0..6).for_each(|_| append(&mut log, 8));
    drop((engine, log));
    let mut image = disk.live();
    *image.bytes_mut(path) = old.to_vec();
    let error = open(&SimDisk::new(image)).err().expect("refused").to_string();
    assert!(
        error.contains("the manifest is older than the log") && error.contains("/log/ringkeeper-1/log."),
        "{error}"
    );
}

#[test]
fn a_refused_start_changes_nothing() {
    let (image, _) = store(true, 2);
    let path = files(&image).into_iter().find(|path| path.starts_with("/log")).unwrap();
    let mut damaged = image.clone();
    damaged.bytes_mut(&path)[BLOCK + 3] ^= 1;
    let manifest = PathBuf::from("/data/ringkeeper-1/manifest.tmp");
    damaged.files.insert(manifest, Arc::new(b"left by a crash".to_vec()));
    for _ in 0..2 {
        let disk = SimDisk::new(damaged.clone());
        let opened = open(&disk);
        if opened.is_err() {
            assert_eq!(disk.live(), damaged);
        } else {
            // The oldest segment is not needed behind the snapshots; then the damage is no news. Damage them all.
            for path in files(&damaged).iter().filter(|path| path.starts_with("/log")) {
                damaged.bytes_mut(path)[BLOCK + 3] ^= 3;
            }
            assert!(open(&SimDisk::new(damaged.clone())).is_err());
        }
    }
}
