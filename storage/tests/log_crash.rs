//! Power cuts: the life of a server on the simulated disk, cut at every operation, in every way in which the disk can
//! lose what was not synced (`log_common/cuts.rs`). Each image must open; hold all that was acknowledged, nothing that
//! was not appended, nothing out of order; and take new records that are there after the next start. Recovery is cut
//! in the same ways, and so is what a server does after it recovered from a cut.

mod log_common;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use log_common::cuts::{Bounds, Known, Plan, Trace, walk};
use log_common::server::{Layout, Server, append};
use log_common::{Seen, entries, payload};
use storage::Zxid;
use storage::engine::{Engine, Report};
use storage::log::Log;
use storage::sim::{Crash, Image, Op, SimDisk};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seven lives of a server: ended in order, killed, cut; with batches of one record and of many, records larger than a
/// segment, snapshots of one write and of several, taken while the log stands still and while it goes on, and purges.
fn workload(layout: Layout) -> Trace {
    let disk = SimDisk::default();
    let start = || {
        let (server, report, _) = Server::start(&disk, layout).unwrap();
        assert_eq!(report.torn, None);
        server
    };
    let mut server = start();
    for round in 0..3 {
        server.append_to((round + 1) * 50, &[5, 4, 5, 9, 5]);
        server.snapshot();
        server.append(2);
    }
    server.stop();

    let mut server = start();
    server.append_to(190, &[5, 5, 4, 5]);
    server.kill();

    let mut server = start();
    server.append_to(220, &[2, 5]);
    server.snapshot_while_writing(1);
    server.snapshot();
    server.append_to(260, &[4, 5]);
    server.snapshot();
    server.append(1);
    server.snapshot_while_writing(2);
    server.stop();

    start().stop();

    let mut server = start();
    server.append_to(300, &[1, 3]);
    server.snapshot();
    server.append(1);
    server.snapshot();
    server.kill();

    let mut server = start();
    server.append_to(420, &[5, 13, 4, 4]);
    server.stop();

    let mut server = start();
    server.append_to(500, &[5, 5, 9]);
    server.snapshot();
    server.append_to(560, &[5, 3]);
    server.kill();
    disk.trace()
}

#[derive(Default, Debug)]
struct Counts {
    images: AtomicU64,
    torn: AtomicU64,
    of_recovery: AtomicU64,
    of_second_lives: AtomicU64,
    exhaustive_points: AtomicU64,
    sampled_points: AtomicU64,
}

/// One sweep over a workload.
struct Sweep {
    layout: Layout,
    known: Known,
    counts: Counts,
    /// What recoveries do, and how many did so.
    recoveries: Mutex<HashMap<String, u64>>,
}

/// Of the recoveries that do the same operations, so many are cut; of all of them, each so many-th.
const RECOVERIES_ALIKE: u64 = 3;
const RECOVERIES_EVERY: u64 = 149;
/// Of the images, each so many-th lives on and is cut again.
const SECOND_LIVES_EVERY: u64 = 61;

impl Sweep {
    fn run(layout: Layout, random: u64) -> Counts {
        let sweep = Sweep {
            layout,
            known: Known::default(),
            counts: Counts::default(),
            recoveries: Mutex::default(),
        };
        let trace = workload(layout);
        let started = Instant::now();
        let walkers = std::thread::available_parallelism().map_or(2, |count| count.get());
        std::thread::scope(|scope| {
            for walker in 0..walkers {
                let (sweep, trace) = (&sweep, &trace);
                scope.spawn(move || sweep.walk(trace, (walker, walkers), random));
            }
        });
        let seconds = started.elapsed().as_secs_f64();
        let counts = &sweep.counts;
        let all = counts.all();
        println!(
            "{layout:?}: {} operations, {counts:?}; {all} different images, each recovered, in {seconds:.1} s: {:.0}/s",
            trace.1.len(),
            all as f64 / seconds
        );
        sweep.counts
    }

    fn walk(&self, trace: &Trace, share: (usize, usize), random: u64) {
        let plan = Plan {
            random,
            share,
            known: &self.known,
        };
        let walked = walk(trace, plan, Bounds::NONE, &mut |image, bounds, what| {
            let nth = self.counts.images.fetch_add(1, Relaxed);
            if nth.is_multiple_of(SECOND_LIVES_EVERY) {
                self.cut_second_life(&image, bounds, what);
            }
            let recovery = self.check(image, bounds, what);
            self.cut_recovery(&recovery, bounds, what);
        });
        self.counts.exhaustive_points.fetch_add(walked.exhaustive, Relaxed);
        self.counts.sampled_points.fetch_add(walked.sampled, Relaxed);
    }

    /// Opens an image, checks it, and goes on with it; gives what recovery did to the disk.
    fn check(&self, image: Image, bounds: Bounds, what: &dyn Fn() -> String) -> Trace {
        let disk = SimDisk::new(image);
        let opened = Server::start(&disk, self.layout);
        let (mut server, report, seen) = opened.unwrap_or_else(|error| panic!("{}: refused: {error}", what()));
        let recovery = disk.trace();
        let state = seen.state();
        let range = bounds.acknowledged..=bounds.appended;
        assert!(
            range.contains(&state.0),
            "{}: state {state}, {bounds:?}, {report}",
            what()
        );
        assert_eq!(server.log.durable(), state);
        self.counts.torn.fetch_add(u64::from(report.torn.is_some()), Relaxed);
        server.append(3);
        server.stop();
        let opened = Server::start(&disk, self.layout);
        let (_, report, seen) = opened.unwrap_or_else(|error| panic!("{}: then {error}", what()));
        assert_eq!(seen.state().0, state.0 + 3, "{}: then {report}", what());
        assert_eq!(report.torn, None, "{}: once cut, a torn end is gone", what());
        recovery
    }

    /// The recovery is cut too, if it does what few others did.
    fn cut_recovery(&self, recovery: &Trace, bounds: Bounds, what: &dyn Fn() -> String) {
        let alike = {
            let mut recoveries = self.recoveries.lock().expect("no walker panicked");
            let count = recoveries.entry(shape(&recovery.1)).or_default();
            *count += 1;
            *count
        };
        if alike > RECOVERIES_ALIKE && !alike.is_multiple_of(RECOVERIES_EVERY) {
            return;
        }
        walk(recovery, self.inner(), bounds, &mut |image, bounds, inside| {
            self.counts.of_recovery.fetch_add(1, Relaxed);
            let what = || format!("{}, then recovery cut at {}", what(), inside());
            self.check(image, bounds, &what);
        });
    }

    /// A server that recovered goes on for a while, and is cut as well.
    fn cut_second_life(&self, image: &Image, bounds: Bounds, what: &dyn Fn() -> String) {
        let disk = SimDisk::new(image.clone());
        let (mut server, ..) = Server::start(&disk, self.layout).unwrap_or_else(|error| panic!("{}: {error}", what()));
        server.append(5);
        server.snapshot();
        server.append(1);
        server.kill();
        walk(&disk.trace(), self.inner(), bounds, &mut |image, bounds, inside| {
            self.counts.of_second_lives.fetch_add(1, Relaxed);
            let what = || format!("{}, then a second life cut at {}", what(), inside());
            self.check(image, bounds, &what);
        });
    }

    fn inner(&self) -> Plan<'_> {
        Plan {
            random: 2,
            share: (0, 1),
            known: &self.known,
        }
    }
}

impl Counts {
    fn all(&self) -> u64 {
        let parts = [&self.images, &self.of_recovery, &self.of_second_lives];
        parts.into_iter().map(|part| part.load(Relaxed)).sum()
    }
}

/// What a recovery does, without the bytes.
fn shape(ops: &[Op]) -> String {
    let one = |op: &Op| match op {
        Op::Create(path, _) => format!("create {}", path.display()),
        Op::Write { bytes, .. } => format!("write {}", bytes.len()),
        Op::Sync(_) => "sync".into(),
        Op::Rename(from, to, _) => format!("rename {} {}", from.display(), to.display()),
        Op::Remove(path) => format!("remove {}", path.display()),
        Op::SyncDir(path) => format!("sync {}", path.display()),
        Op::Mark(_) => String::new(),
    };
    ops.iter().map(one).collect::<Vec<_>>().join(";")
}

fn open(disk: &SimDisk, direct: bool) -> Result<(Engine, Log, Report, Seen), String> {
    let layout = if direct { Layout::DIRECT } else { Layout::SYNCED };
    let (server, report, seen) = Server::start(disk, layout)?;
    Ok((server.engine, server.log, report, seen))
}

/// Random images per operation: RINGKEEPER_CRASH_IMAGES raises it for long runs.
fn random_count() -> u64 {
    let default = if cfg!(debug_assertions) { 2 } else { 48 };
    std::env::var("RINGKEEPER_CRASH_IMAGES").map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn every_power_cut_recovers() {
    let started = Instant::now();
    let sweeps = [Layout::DIRECT, Layout::SYNCED].map(|layout| Sweep::run(layout, random_count()));
    let all: u64 = sweeps.iter().map(Counts::all).sum();
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{all} images of power cuts recovered, 0 violations, {:.0}/s",
        all as f64 / seconds
    );
    for counts in &sweeps {
        let of = |count: &AtomicU64| count.load(Relaxed);
        assert!(
            of(&counts.exhaustive_points) > 9 * of(&counts.sampled_points),
            "{counts:?}"
        );
        assert!(of(&counts.torn) > 1000 && of(&counts.of_recovery) > 1000, "{counts:?}");
        assert!(of(&counts.of_second_lives) > 1000, "{counts:?}");
    }
    assert!(cfg!(debug_assertions) || all >= 100_000, "{all} images");
}

/// Operations that are enough to catch a lying disk.
const LYING: usize = 120;

/// The harness is worth something only if it catches a disk that lies: here directory syncs do nothing.
#[test]
fn a_disk_that_forgets_directory_syncs_is_caught() {
    let caught = caught(Layout::DIRECT, |op| matches!(op, Op::SyncDir(_)));
    assert!(caught > 100, "{caught}");
}

/// The same for a disk whose syncs of bytes come too late.
#[test]
fn a_disk_that_forgets_byte_syncs_is_caught() {
    let caught = caught(Layout::SYNCED, |op| matches!(op, Op::Sync(_)));
    assert!(caught > 100, "{caught}");
}

/// Images in which something acknowledged is gone, if the disk leaves out those operations.
fn caught(layout: Layout, left_out: fn(&Op) -> bool) -> u64 {
    let (start, mut trace) = workload(layout);
    trace.truncate(LYING);
    trace.retain(|op| !left_out(op));
    let plan = Plan {
        random: 0,
        share: (0, 1),
        known: &Known::default(),
    };
    let mut caught = 0;
    walk(&(start, trace), plan, Bounds::NONE, &mut |image, bounds, _| {
        let opened = Server::start(&SimDisk::new(image), layout);
        caught += u64::from(!opened.is_ok_and(|(.., seen)| seen.state().0 >= bounds.acknowledged));
    });
    caught
}

/// `forceSync=no` promises less, and that: a killed process loses nothing; a power cut leaves a state that the server
/// had, or a refusal that names a file and a place. Never something else.
#[test]
fn without_syncs_a_kill_loses_nothing_and_a_power_cut_never_makes_a_state_up() {
    let layout = Layout {
        fsync: false,
        ..Layout::SYNCED
    };
    let trace = workload(layout);
    let known = Known::default();
    // Nothing is ever synced, so that a late point has thousands of sectors in doubt: each so many-th is enough.
    let plan = Plan {
        random: 8,
        share: (0, 61),
        known: &known,
    };
    let (mut lost, mut whole, mut refused) = (0, 0, 0);
    walk(
        &trace,
        plan,
        Bounds::NONE,
        &mut |image, bounds, what| match Server::start(&SimDisk::new(image), layout) {
            Ok((_, _, seen)) => {
                let state = seen.state().0;
                assert!(state <= bounds.appended, "{}: state {state}, {bounds:?}", what());
                match state < bounds.acknowledged {
                    true => lost += 1,
                    false => whole += 1,
                }
            }
            Err(error) => {
                let named = error.contains("/data/ringkeeper-1/") && error.contains("restore dataDir");
                assert!(
                    named && (error.contains("offset") || error.contains("is missing")),
                    "{}: {error}",
                    what()
                );
                refused += 1;
            }
        },
    );
    println!("forceSync=no, power cuts: {whole} whole, {lost} with an older state, {refused} refused");
    assert!(whole > 100 && lost > 100, "{whole} {lost}");
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
