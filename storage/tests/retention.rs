//! Whatever is logged, snapshotted, purged and restarted, in any order and under any limits: the store opens, has every
//! transaction, and from each snapshot that is kept the whole log is there.

mod log_common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use log_common::{Seen, entries, payload};
use proptest::prelude::*;
use storage::Zxid;
use storage::check::{Progress, SegmentEnd, Start, check};
use storage::disk::{Disk, RealDisk};
use storage::engine::{Engine, Options};
use storage::log::Log;
use storage::sim::SimDisk;

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    Snapshot,
    Purge,
    /// In order, or by a kill.
    Restart(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u64..20).prop_map(Step::Append),
        3 => Just(Step::Snapshot),
        2 => Just(Step::Purge),
        1 => any::<bool>().prop_map(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

fn options(retain_snapshots: usize, retain_bytes: Option<u64>) -> Options {
    Options {
        data_dir: PathBuf::from("/data"),
        log_dir: PathBuf::from("/log"),
        segment_bytes: 24 << 10,
        segment_bytes_first: 16 << 10,
        background: false,
        load_threads: 1,
        retain_snapshots,
        retain_bytes,
        ..Options::default()
    }
}

fn open(disk: Arc<dyn Disk>, options: &Options) -> (Engine, Log, Seen) {
    let mut seen = Seen::default();
    let (engine, log, _) = Engine::open_on(disk, options.clone(), &mut seen).expect("it opens");
    (engine, log, seen)
}

fn append(log: &mut Log, count: u64) {
    (0..count).for_each(|_| {
        let zxid = log.appended().next();
        log.append(zxid, &[&payload(zxid)]);
    });
    if let Some(write) = log.next_write() {
        log.written(write.perform().expect("written"));
    }
}

fn snapshot(engine: &Engine, zxid: Zxid) -> storage::engine::SnapshotInfo {
    let all = entries(zxid);
    let mut all = all.iter().map(|(key, value)| (&key[..], &value[..]));
    engine
        .write_snapshot(zxid, 1, b"meta", &mut all, None)
        .expect("a snapshot")
}

/// Every kept snapshot is whole and has its log, and a start would have everything.
fn assert_whole(disk: &dyn Disk, dirs: (&Path, &Path), zxid: Zxid) {
    let found = check(disk, dirs, 1, &mut Seen::default(), &Progress::default()).expect("nobody has it");
    let Start::Opens(report) = &found.start else {
        panic!("{found:?}")
    };
    assert_eq!(report.zxid, zxid);
    for snapshot in &found.snapshots {
        assert!(snapshot.entries.is_ok(), "{found:?}");
        // A snapshot may be newer than a log that is empty.
        assert_eq!(snapshot.leads_to, Some((zxid, true)), "{found:?}");
    }
    assert!(found.segments.iter().all(|segment| segment.end == SegmentEnd::Clean));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_what_is_needed(
        steps in steps(),
        keep in 0_usize..4,
        bytes in prop::option::of(0_u64..200_000),
    ) {
        let mut disk = SimDisk::default();
        let options = options(keep, bytes);
        let (mut engine, mut log, _) = open(Arc::new(disk.clone()), &options);
        let dirs = (Path::new("/data"), Path::new("/log"));
        for step in steps {
            match step {
                Step::Append(count) => append(&mut log, count),
                Step::Snapshot => drop(snapshot(&engine, log.durable())),
                Step::Purge => drop(engine.purge().expect("purged")),
                Step::Restart(killed) => {
                    let state = log.durable();
                    match killed {
                        true => std::mem::forget((engine, log)),
                        false => drop((engine, log)),
                    }
                    // Without the lock that a killed process would not hold any more.
                    disk = SimDisk::new(disk.live());
                    let seen;
                    (engine, log, seen) = open(Arc::new(disk.clone()), &options);
                    seen.assert_is(state.0);
                }
            }
            assert_whole(&SimDisk::new(disk.live()), dirs, log.durable());
        }
    }
}

/// On a real disk, whose files have times.
#[test]
fn what_is_too_old_goes_and_is_told_and_the_newest_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options {
        data_dir: dir.path().into(),
        log_dir: dir.path().into(),
        retain_age_s: Some(3600),
        wall_s: || 1_000_000_000,
        retain_snapshots: 10,
        ..options(10, None)
    };
    let (engine, mut log, _) = open(Arc::new(RealDisk), &options);
    let mut taken = Vec::new();
    for _ in 0..4 {
        append(&mut log, 40);
        taken.push(snapshot(&engine, log.durable()));
    }
    let date = |index: usize, age_s: u64| {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 - age_s);
        let file = std::fs::File::options().write(true).open(&taken[index].path);
        file.and_then(|file| file.set_modified(at)).expect("dated");
    };
    assert!(
        engine.purge().expect("purged").is_empty(),
        "files from the future are young"
    );
    (0..4).for_each(|index| date(index, 3600));
    assert!(engine.purge().expect("purged").is_empty(), "as old as is allowed");
    date(0, 9000);
    date(1, 4000);
    let purged = engine.purge().expect("purged");
    assert_eq!(purged.snapshots, [taken[0].zxid, taken[1].zxid]);
    let text = purged.to_string();
    assert!(text.contains("2 snapshots (zxid 0x28, 0x50)"), "{text}");
    assert!(text.contains("log segments (zxid 0x1 to 0x"), "{text}");
    assert!(purged.bytes > 0 && !taken[0].path.exists() && taken[2].path.exists());
    date(2, 5000);
    date(3, 5000);
    assert_eq!(
        engine.purge().expect("purged").snapshots,
        [taken[2].zxid],
        "the newest stays"
    );
    assert!(engine.purge().expect("purged").is_empty());
    let state = log.durable();
    drop((engine, log));
    assert_whole(&RealDisk, (dir.path(), dir.path()), state);
}

/// A snapshot that a start set aside as damaged stays until as many as are kept are newer.
#[test]
fn damaged_snapshots_are_purged_at_last() {
    let disk = SimDisk::default();
    let options = options(2, None);
    let (engine, mut log, _) = open(Arc::new(disk.clone()), &options);
    append(&mut log, 5);
    let path = snapshot(&engine, log.durable()).path;
    append(&mut log, 5);
    drop((engine, log));
    let mut image = disk.live();
    image.bytes_mut(&path)[60] ^= 1;
    let disk = SimDisk::new(image);
    let (engine, mut log, _) = open(Arc::new(disk.clone()), &options);
    let aside = PathBuf::from(format!("{}.damaged", path.display()));
    for purged in [false, true, true] {
        assert!(disk.length(&aside).is_ok());
        append(&mut log, 5);
        let info = snapshot(&engine, log.durable());
        assert_eq!(!info.purged.damaged.is_empty(), purged, "{info}");
        if purged {
            break;
        }
    }
    assert!(disk.length(&aside).is_err());
}
