//! The engine on real files: with and without O_DIRECT, through restarts, segment rolls, snapshots, locks, lost files.

mod log_common;

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log_common::{Seen, payload};
use storage::Zxid;
use storage::disk::{Access, Disk, RealDisk};
use storage::engine::{Engine, OpenError, Options, Report};
use storage::log::{Log, LogReader, Verdict};

fn options(dir: &Path) -> Options {
    Options {
        data_dir: dir.join("data"),
        log_dir: dir.join("log"),
        segment_bytes: 256 << 10,
        segment_bytes_first: 64 << 10,
        ..Options::default()
    }
}

fn open(options: Options) -> Result<(Engine, Log, Report, Seen), OpenError> {
    let mut seen = Seen::default();
    let (engine, log, report) = Engine::open(options, &mut seen)?;
    Ok((engine, log, report, seen))
}

/// Appends `count` records, `batch` to a write.
fn append(log: &mut Log, count: u64, batch: u64) {
    for nth in 1..=count {
        let zxid = log.appended().next();
        log.append(zxid, &[&payload(zxid)]);
        if nth % batch == 0 || nth == count {
            let write = log.next_write().expect("there is something to write");
            assert!(log.next_write().is_none(), "one write at a time");
            log.written(write.perform().unwrap());
        }
    }
    assert_eq!(log.durable(), log.appended());
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let path = dir.join("log/ringkeeper-1");
    let names = RealDisk.list(&path).unwrap();
    names
        .iter()
        .filter(|name| name.starts_with("log."))
        .map(|name| path.join(name))
        .collect()
}

/// Whether this file system takes O_DIRECT, and with it writes that need no sync.
fn takes_direct(dir: &Path) -> bool {
    let path = dir.join("probe");
    std::fs::write(&path, [0; 4096]).unwrap();
    !RealDisk
        .open(
            &path,
            Access::Log {
                direct: true,
                sync: true,
            },
        )
        .unwrap()
        .needs_sync()
}

#[test]
fn what_was_durable_is_there_after_a_restart() {
    for (direct, fsync) in [(true, true), (false, true), (false, false), (true, false)] {
        // Beside the build, which lies on a real file system more often than /tmp does.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let options = || Options {
            direct,
            fsync,
            ..options(dir.path())
        };
        let mut expected = 0;
        for round in 0..6 {
            let (_engine, mut log, report, seen) = open(options()).unwrap();
            seen.assert_is(expected);
            assert_eq!(
                (report.zxid, log.durable()),
                (Zxid(expected), Zxid(expected)),
                "{report}"
            );
            assert_eq!(report.torn, None);
            append(&mut log, 500, 1 + 7 * round);
            expected += 500;
            let zxid = log.appended().next();
            log.append(zxid, &[b"large"]);
            let write = log.next_write().unwrap();
            write.file.prepare().unwrap();
            assert_eq!(write.file.needs_sync(), fsync && !(direct && takes_direct(dir.path())));
            assert_eq!(write.offset % 4096, 0);
            assert_eq!(write.buffer.as_ptr().align_offset(4096), 0);
        }
        let (_engine, _log, report, seen) = open(options()).unwrap();
        seen.assert_is(expected);
        assert!(report.segments > 1, "the log rolled: {report}");
        println!("direct {direct}, fsync {fsync}: {report}");
    }
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_of_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let big = vec![7u8; 5 << 20];
    let (engine, mut log, ..) = open(options(dir.path())).unwrap();
    append(&mut log, 3, 1);
    log.append(Zxid(4), &[&big, b"x"]);
    let write = log.next_write().unwrap();
    log.written(write.perform().unwrap());
    append(&mut log, 3, 1);
    drop((engine, log));
    let (_engine, _log, _, seen) = open(options(dir.path())).unwrap();
    assert_eq!(seen.records.len(), 7);
    assert_eq!(seen.records[3].1.len(), big.len() + 1);
}

#[test]
fn a_segment_is_not_begun_on_the_event_loop() {
    let dir = tempfile::tempdir().unwrap();
    let (_engine, mut log, ..) = open(options(dir.path())).unwrap();
    log.append(Zxid(1), &[b"x"]);
    let write = log.next_write().unwrap();
    assert!(!write.file.is_prepared());
    assert!(segments(dir.path()).is_empty());
    assert!(
        format!("{write}").contains("log.0000000000000001, offset 4096, 4096 bytes, zxid 0x1 to 0x1"),
        "{write}"
    );
    log.written(write.perform().unwrap());
    assert_eq!(segments(dir.path()).len(), 1);
}

#[test]
fn snapshots_purge_what_nobody_needs_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options {
        retain_snapshots: 2,
        ..options(dir.path())
    };
    let mut freed = 0;
    let mut expected = 0;
    for round in 1..=5u64 {
        let (engine, mut log, report, seen) = open(options()).unwrap();
        seen.assert_is(expected);
        assert_eq!(report.snapshot.is_some(), round > 1);
        append(&mut log, 2000, 10);
        expected += 2000;
        let entries = log_common::entries(log.durable());
        let mut entries = entries.iter().map(|(key, value)| (&key[..], &value[..]));
        let info = engine
            .write_snapshot(log.durable(), 99, b"meta", &mut entries, None)
            .unwrap();
        println!("{info}");
        freed += info.purged.segments.len();
        assert_eq!(info.purged.snapshots.len(), usize::from(round > 2));
        assert_eq!(info.purged.failed, Vec::<String>::new());
        let again = engine
            .write_snapshot(log.durable(), 99, b"meta", &mut std::iter::empty(), None)
            .unwrap();
        assert_eq!(again.summary, None);
        append(&mut log, 30, 1);
        expected += 30;
    }
    assert!(freed > 5, "{freed} segments freed");
    assert!(segments(dir.path()).len() < 12, "{:?}", segments(dir.path()));
    // The newest snapshot is damaged: the one before it and the log between are enough, and the report says so.
    let data = dir.path().join("data/ringkeeper-1");
    let names = RealDisk.list(&data).unwrap();
    let newest = names.iter().rfind(|name| name.starts_with("snapshot.")).unwrap();
    flip(&data.join(newest), 100);
    let (_engine, _log, report, seen) = open(options()).unwrap();
    seen.assert_is(expected);
    assert!(
        report
            .to_string()
            .contains(&format!("{newest}: the snapshot is damaged at offset")),
        "{report}"
    );
    assert!(RealDisk.list(&data).unwrap().contains(&format!("{newest}.damaged")));
    drop((_engine, _log));
    // And the older one too: now a part of the history is gone, and nobody says otherwise.
    let older = names.iter().find(|name| name.starts_with("snapshot.")).unwrap();
    flip(&data.join(older), 100);
    let error = open(options()).err().expect("refused").to_string();
    assert!(
        error.contains(older) && error.contains("damaged at offset") && error.contains("restore"),
        "{error}"
    );
}

fn flip(path: &Path, offset: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

#[test]
fn a_second_process_is_told_who_has_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let held = open(options(dir.path())).unwrap();
    let error = open(options(dir.path())).err().expect("refused").to_string();
    assert!(
        error.contains(&format!("in use by process {}", std::process::id())),
        "{error}"
    );
    // Sharing only one of the two directories is no better.
    for half in ["data", "log"] {
        let other = tempfile::tempdir().unwrap();
        let mut options = options(other.path());
        match half {
            "data" => options.data_dir = dir.path().join("data"),
            _ => options.log_dir = dir.path().join("log"),
        }
        let error = open(options).err().expect("refused").to_string();
        assert!(error.contains("in use by process"), "{half}: {error}");
    }
    drop(held);
    open(options(dir.path())).unwrap();
}

#[test]
fn each_missing_file_is_named_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (engine, mut log, ..) = open(options(dir.path())).unwrap();
        append(&mut log, 1000, 3);
        let entries = log_common::entries(log.durable());
        let mut entries = entries.iter().map(|(key, value)| (&key[..], &value[..]));
        engine
            .write_snapshot(log.durable(), 1, b"", &mut entries, None)
            .unwrap();
        append(&mut log, 1000, 3);
    }
    let mut cases = 0;
    for half in ["data", "log"] {
        let path = dir.path().join(half).join("ringkeeper-1");
        for name in RealDisk.list(&path).unwrap() {
            // What nothing rests on: the reserve is laid out anew.
            if name == "lock" || name.starts_with("reserve.") {
                continue;
            }
            let (file, aside) = (path.join(&name), dir.path().join("aside"));
            std::fs::rename(&file, &aside).unwrap();
            let before = (
                RealDisk.list(&dir.path().join("data/ringkeeper-1")).unwrap(),
                segments(dir.path()),
            );
            let error = open(options(dir.path()))
                .err()
                .unwrap_or_else(|| panic!("{name}: not refused"))
                .to_string();
            assert!(
                error.contains(&format!("{} is missing", file.display())),
                "{name}: {error}"
            );
            let after = (
                RealDisk.list(&dir.path().join("data/ringkeeper-1")).unwrap(),
                segments(dir.path()),
            );
            assert_eq!(before, after);
            std::fs::rename(&aside, &file).unwrap();
            cases += 1;
        }
    }
    open(options(dir.path())).unwrap().3.assert_is(2000);
    assert!(cases > 5, "{cases}");
    println!("{cases} missing files named");
}

#[test]
fn a_killed_process_leaves_no_close_mark_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (engine, mut log, ..) = open(options(dir.path())).unwrap();
        append(&mut log, 100, 9);
        // As after SIGKILL: no destructor runs. The lock must go all the same, or nothing could be opened again.
        std::fs::write(dir.path().join("log/ringkeeper-1/ahead.9.tmp"), "half a segment").unwrap();
        let (log_path, lock) = (
            dir.path().join("log/ringkeeper-1"),
            dir.path().join("data/ringkeeper-1/lock"),
        );
        std::mem::forget((engine, log));
        std::fs::remove_file(lock).unwrap();
        std::fs::remove_file(log_path.join("lock")).unwrap();
    }
    let (_engine, _log, report, seen) = open(options(dir.path())).unwrap();
    seen.assert_is(100);
    assert!(
        report.removed.iter().any(|path| path.ends_with("ahead.9.tmp")),
        "{report}"
    );
}

#[test]
fn the_reader_for_tools_tells_records_and_verdict() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (_engine, mut log, ..) = open(options(dir.path())).unwrap();
        append(&mut log, 1000, 3);
    }
    let path = dir.path().join("log/ringkeeper-1");
    let mut zxids = Vec::new();
    let verdict = LogReader::read(&path, &mut |item| {
        assert_eq!(item.payload, payload(item.zxid));
        zxids.push(item.zxid.0);
    });
    assert_eq!(
        verdict.unwrap(),
        Verdict::Clean {
            records: 1000,
            last: Zxid(1000)
        }
    );
    assert!(zxids.into_iter().eq(1..=1000));
    let files = segments(dir.path());
    let one = LogReader::read(&files[1], &mut |_| {}).unwrap();
    assert!(matches!(one, Verdict::Clean { records, .. } if records > 1), "{one:?}");
    flip(&files[1], 4096 + 700);
    let verdict = LogReader::read(&path, &mut |_| {}).unwrap();
    let Verdict::Corrupt { file, offset, .. } = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!((file, offset), (files[1].clone(), 4096 + 512));
    std::fs::remove_file(&files[1]).unwrap();
    assert!(
        matches!(LogReader::read(&path, &mut |_| {}).unwrap(), Verdict::Corrupt { .. }),
        "a hole"
    );
}

#[test]
fn a_segment_of_another_store_is_refused() {
    let (mine, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&mine, &theirs] {
        let (_engine, mut log, ..) = open(options(dir.path())).unwrap();
        append(&mut log, 10, 3);
    }
    std::fs::copy(&segments(theirs.path())[0], &segments(mine.path())[0]).unwrap();
    let error = open(options(mine.path())).err().expect("refused").to_string();
    assert!(
        error.contains("log.0000000000000001") && error.contains("of store"),
        "{error}"
    );
}

#[test]
#[should_panic(expected = "appended behind")]
fn a_hole_in_the_zxids_is_not_appended() {
    let dir = tempfile::tempdir().unwrap();
    let (_engine, mut log, ..) = open(options(dir.path())).unwrap();
    log.append(Zxid(1), &[b"x"]);
    log.append(Zxid(3), &[b"x"]);
}

#[test]
fn a_log_on_memory_works_too() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let (engine, mut log, ..) = open(options(dir.path())).unwrap();
    append(&mut log, 1000, 3);
    drop((engine, log));
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut seen = Seen::default();
    Engine::open_on(disk, options(dir.path()), &mut seen).unwrap();
    seen.assert_is(1000);
}
