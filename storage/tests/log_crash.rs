//! Power cuts: a workload of batches, segment rolls, snapshots and purges, cut at every operation, in every way the
//! simulated disk can lose what was not synced. Each image must open; hold all that was acknowledged, nothing that was
//! not appended, nothing out of order; and take new records that are there after the next start.

mod log_common;

use std::path::PathBuf;
use std::sync::Arc;

use log_common::{Seen, entries, payload};
use storage::Zxid;
use storage::engine::{Engine, Options, Report};
use storage::log::Log;
use storage::sim::{Crash, Image, Op, SimDisk};

fn options(direct: bool) -> Options {
    Options {
        data_dir: PathBuf::from("/data"),
        log_dir: PathBuf::from("/log"),
        segment_bytes: 40 << 10,
        segment_bytes_first: 12 << 10,
        direct,
        retain_snapshots: 2,
        background: false,
        load_threads: 1,
        ..Options::default()
    }
}

fn open(disk: &SimDisk, direct: bool) -> Result<(Engine, Log, Report, Seen), String> {
    let mut seen = Seen::default();
    let opened = Engine::open_on(Arc::new(disk.clone()), options(direct), &mut seen);
    let (engine, log, report) = opened.map_err(|error| error.to_string())?;
    Ok((engine, log, report, seen))
}

/// What the marks in a trace mean.
const APPENDED: u64 = 1 << 63;

fn append(disk: &SimDisk, log: &mut Log, count: u64) {
    for _ in 0..count {
        let zxid = log.appended().next();
        log.append(zxid, &[&payload(zxid)]);
    }
    disk.mark(APPENDED | log.appended().0);
    let write = log.next_write().expect("a batch");
    let durable = log.written(write.perform().expect("the simulated disk writes"));
    disk.mark(durable.0);
}

/// Three runs of a server: the first two end in order, the last is cut.
fn workload(direct: bool) -> (Image, Vec<Op>) {
    let disk = SimDisk::default();
    for run in 0..3 {
        let (engine, mut log, report, _) = open(&disk, direct).unwrap();
        assert_eq!(report.torn, None);
        for round in 0..3 {
            for batch in 0..6u64 {
                append(&disk, &mut log, 1 + (batch * 7 + round * 3 + run) % 11);
            }
            let all = entries(log.durable());
            let mut all = all.iter().map(|(key, value)| (&key[..], &value[..]));
            engine
                .write_snapshot(log.durable(), 1, b"meta", &mut all, None)
                .unwrap();
            append(&disk, &mut log, 2);
        }
        if run == 2 {
            std::mem::forget((engine, log));
        }
    }
    disk.trace()
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[derive(Default, Debug)]
struct Counts {
    images: u64,
    torn: u64,
    crashes_of_recovery: u64,
}

/// What the disk must hold at a point of the trace.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    acknowledged: u64,
    appended: u64,
}

/// Opens an image, checks it, and goes on with it.
fn check(image: Image, direct: bool, bounds: Bounds, what: &dyn Fn() -> String, counts: &mut Counts) {
    counts.images += 1;
    let disk = SimDisk::new(image);
    let opened = open(&disk, direct);
    let (engine, mut log, report, seen) = opened.unwrap_or_else(|error| panic!("{}: refused: {error}", what()));
    let state = seen.state();
    let range = bounds.acknowledged..=bounds.appended;
    assert!(
        range.contains(&state.0),
        "{}: state {state}, {bounds:?}, {report}",
        what()
    );
    assert_eq!(log.durable(), state);
    counts.torn += u64::from(report.torn.is_some());
    append(&disk, &mut log, 3);
    drop((engine, log));
    let (_engine, _log, report, seen) = open(&disk, direct).unwrap_or_else(|error| panic!("{}: then {error}", what()));
    assert_eq!(seen.state().0, state.0 + 3, "{}: then {report}", what());
    assert_eq!(report.torn, None, "{}: once cut, a torn end is gone", what());
}

/// All images at one point: everything and nothing arrived, each cut and each single sector of the last write, each
/// number of name changes, and so many random ones.
fn images(crash: &Crash, random: &mut Random, random_count: u64, each: &mut dyn FnMut(Image, String)) {
    each(crash.image(&|_, _| true, &|_| true), "all".into());
    let unsure = crash.writes().len();
    if unsure + crash.name_count() == 0 {
        return;
    }
    each(crash.image(&|_, _| false, &|_| false), "nothing".into());
    for names in 0..crash.name_count() {
        each(
            crash.image(&|_, _| false, &|index| index < names),
            format!("{names} names"),
        );
        each(
            crash.image(&|_, _| true, &|index| index < names),
            format!("{names} names, all bytes"),
        );
        each(
            crash.image(&|_, _| true, &|index| index != names),
            format!("all but name {names}"),
        );
        each(
            crash.image(&|_, _| true, &|index| index == names),
            format!("only name {names}"),
        );
    }
    if let Some(last) = crash.writes().last() {
        for cut in 0..last.sectors() {
            let of_last =
                |sector: &dyn Fn(usize) -> bool| crash.image(&|write, at| write + 1 < unsure || sector(at), &|_| true);
            each(of_last(&|at| at < cut), format!("sectors before {cut}"));
            each(of_last(&|at| at > cut), format!("sectors behind {cut}"));
            each(of_last(&|at| at != cut), format!("all sectors but {cut}"));
            each(of_last(&|at| at == cut), format!("sector {cut} alone"));
        }
    }
    for _ in 0..random_count {
        let seed = random.next();
        let coin = |write: usize, sector: usize| {
            // splitmix64's finish, of which every bit depends on every bit.
            let mut mixed = seed ^ ((write as u64) << 32 | sector as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ mixed >> 31).is_multiple_of(2)
        };
        each(
            crash.image(&coin, &|index| coin(index, u32::MAX as usize)),
            format!("seed {seed:x}"),
        );
    }
}

/// Takes an image, what it must hold, and how it came about.
type Each<'e> = dyn FnMut(Image, Bounds, &dyn Fn() -> String) + 'e;

/// Walks along a trace and gives every image with what it must hold.
fn walk((start, trace): &(Image, Vec<Op>), random_count: u64, mut bounds: Bounds, each: &mut Each<'_>) {
    let mut crash = Crash::new(start);
    let mut random = Random(0x5eed_cafe);
    for (point, op) in trace.iter().enumerate() {
        match op {
            Op::Mark(note) if note & APPENDED != 0 => bounds.appended = note & !APPENDED,
            Op::Mark(note) => bounds.acknowledged = *note,
            _ => {}
        }
        crash.begin(op);
        images(&crash, &mut random, random_count, &mut |image, how| {
            each(image, bounds, &|| {
                format!("operation {point} of {}, {how}", trace.len())
            });
        });
        crash.end(op);
    }
}

fn sweep(direct: bool, random_count: u64) -> Counts {
    let trace = workload(direct);
    let mut counts = Counts::default();
    let none = Bounds {
        acknowledged: 0,
        appended: 0,
    };
    walk(&trace, random_count, none, &mut |image, bounds, what| {
        // Of some, the recovery itself is cut too.
        if counts.images % 97 == 0 {
            recovery_cut(image.clone(), direct, bounds, what, &mut counts);
        }
        check(image, direct, bounds, what, &mut counts);
    });
    println!("direct {direct}: {} operations, {counts:?}", trace.1.len());
    counts
}

fn recovery_cut(image: Image, direct: bool, bounds: Bounds, what: &dyn Fn() -> String, counts: &mut Counts) {
    let disk = SimDisk::new(image);
    std::mem::forget(open(&disk, direct).unwrap_or_else(|error| panic!("{}: {error}", what())));
    let mut inner = Counts::default();
    walk(&disk.trace(), 2, bounds, &mut |image, bounds, inside| {
        let both = || format!("{}, then recovery cut at {}", what(), inside());
        check(image, direct, bounds, &both, &mut inner);
    });
    counts.crashes_of_recovery += inner.images;
}

/// Random images per operation: RINGKEEPER_CRASH_IMAGES raises it for long runs.
fn random_count() -> u64 {
    let default = if cfg!(debug_assertions) { 2 } else { 48 };
    std::env::var("RINGKEEPER_CRASH_IMAGES").map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn every_power_cut_recovers_writes_durable_one_by_one() {
    let counts = sweep(true, random_count());
    assert!(
        counts.images > 5000 && counts.torn > 2000 + 20 * random_count() && counts.crashes_of_recovery > 100,
        "{counts:?}"
    );
}

#[test]
fn every_power_cut_recovers_writes_synced_afterwards() {
    let counts = sweep(false, random_count());
    assert!(
        counts.images > 5000 && counts.torn > 2000 + 20 * random_count() && counts.crashes_of_recovery > 100,
        "{counts:?}"
    );
}

/// Operations that are enough to catch a lying disk.
const LYING: usize = 120;

/// The harness is worth something only if it catches a disk that lies: here directory syncs do nothing.
#[test]
fn a_disk_that_forgets_directory_syncs_is_caught() {
    let (start, mut trace) = workload(true);
    trace.truncate(LYING);
    trace.retain(|op| !matches!(op, Op::SyncDir(_)));
    let mut caught = 0;
    let none = Bounds {
        acknowledged: 0,
        appended: 0,
    };
    walk(&(start, trace), 0, none, &mut |image, bounds, _| {
        let opened = open(&SimDisk::new(image), true);
        caught += u64::from(opened.is_err() || opened.is_ok_and(|(.., seen)| seen.state().0 < bounds.acknowledged));
    });
    assert!(caught > 100, "{caught}");
}

/// The same for a disk whose syncs of bytes come too late.
#[test]
fn a_disk_that_forgets_byte_syncs_is_caught() {
    let (start, mut trace) = workload(false);
    trace.truncate(LYING);
    trace.retain(|op| !matches!(op, Op::Sync(_)));
    let mut caught = 0;
    let none = Bounds {
        acknowledged: 0,
        appended: 0,
    };
    walk(&(start, trace), 0, none, &mut |image, bounds, _| {
        let opened = open(&SimDisk::new(image), true);
        caught += u64::from(opened.is_err() || opened.is_ok_and(|(.., seen)| seen.state().0 < bounds.acknowledged));
    });
    assert!(caught > 100, "{caught}");
}

/// Every change of the disk fails once, and all behind it: nothing that was acknowledged is gone.
#[test]
fn every_failing_operation_loses_nothing_acknowledged() {
    for direct in [true, false] {
        let mut cases = 0;
        for changes in 0.. {
            let disk = SimDisk::default();
            let mut acknowledged = 0;
            let opened = open(&disk, direct);
            let Ok((engine, mut log, ..)) = opened else {
                panic!("a sound disk opens")
            };
            disk.fail_after(changes);
            let mut failed = None;
            for _ in 0..12 {
                (0..5).for_each(|_| {
                    let zxid = log.appended().next();
                    log.append(zxid, &[&payload(zxid)]);
                });
                let write = log.next_write().unwrap();
                let described = write.to_string();
                match write.perform() {
                    Ok(write) => acknowledged = log.written(write).0,
                    Err(error) => {
                        failed = Some(format!("{described}: {error}"));
                        break;
                    }
                }
                let all = entries(Zxid(acknowledged));
                let mut all = all.iter().map(|(key, value)| (&key[..], &value[..]));
                if let Err(error) = engine.write_snapshot(Zxid(acknowledged), 1, b"", &mut all, None) {
                    assert!(
                        error.to_string().contains("snapshot.") || error.to_string().contains("manifest"),
                        "{error}"
                    );
                }
            }
            drop((engine, log));
            // The process ends; the next one finds the disk repaired, with what the cache held or without.
            let (start, trace) = disk.trace();
            let mut crash = Crash::new(&start);
            trace.iter().for_each(|op| {
                crash.begin(op);
                crash.end(op);
            });
            for image in [disk.live(), crash.image(&|_, _| false, &|_| false)] {
                let (.., seen) =
                    open(&SimDisk::new(image), direct).unwrap_or_else(|error| panic!("{changes}: {error}"));
                assert!(
                    seen.state().0 >= acknowledged,
                    "{changes}: {} of {acknowledged}",
                    seen.state()
                );
                cases += 1;
            }
            match failed {
                Some(text) => assert!(
                    text.contains("log.") && text.contains("zxid") && text.contains("os error 5"),
                    "{text}"
                ),
                None => break,
            }
        }
        println!("direct {direct}: {cases} failing disks");
        assert!(cases > 50, "{cases}");
    }
}

/// A snapshot may be ahead of the log: `forceSync=no` lost the log's end, or a leader sent the snapshot. The log then
/// goes on behind it, in a segment of its own, also if the last one was begun and never written to.
#[test]
fn the_log_goes_on_behind_a_snapshot_that_is_ahead_of_it() {
    for begun_in_vain in [false, true] {
        let disk = SimDisk::default();
        let (engine, mut log, ..) = open(&disk, true).unwrap();
        while log.appended() < Zxid(40) {
            append(&disk, &mut log, 5);
        }
        if begun_in_vain {
            // As large as a segment, so that it needs a new one.
            log.append(Zxid(41), &[&[7; 40 << 10]]);
            log.next_write().unwrap().file.prepare().unwrap();
        }
        let snapshot = |engine: &Engine, zxid| {
            let all = entries(zxid);
            let mut all = all.iter().map(|(key, value)| (&key[..], &value[..]));
            engine.write_snapshot(zxid, 1, b"", &mut all, None).unwrap();
        };
        snapshot(&engine, Zxid(100));
        let mut expected = 100;
        std::mem::forget((engine, log));
        for round in 0..3 {
            let disk = SimDisk::new(disk.live());
            let (engine, mut log, report, seen) = open(&disk, true).unwrap();
            assert_eq!(seen.state(), Zxid(100), "{report}");
            append(&disk, &mut log, 5 + round);
            drop((engine, log));
            let (engine, mut log, report, seen) = open(&disk, true).unwrap();
            assert_eq!(seen.state(), Zxid(105 + round), "{report}");
            append(&disk, &mut log, 3);
            expected = 108 + round;
            drop((engine, log));
            assert_eq!(open(&disk, true).unwrap().3.state(), Zxid(expected));
            // Without the snapshot there is no way over the gap.
            let mut image = disk.live();
            let path = PathBuf::from("/data/ringkeeper-1/snapshot.0000000000000064");
            image.bytes_mut(&path)[40] ^= 1;
            let error = open(&SimDisk::new(image), true).err().expect("refused");
            assert!(error.contains("snapshot.0000000000000064 is damaged"), "{error}");
        }
        assert!(expected > 108);
    }
}
