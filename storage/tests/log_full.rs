//! A disk that fills up: the level follows the mark and the reserve, the log goes on through the reserve to the last
//! byte of it and then says what failed, and whenever it is cut, all that was acknowledged is there afterwards.

mod log_common;

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log_common::{Seen, entries, payload};
use parking_lot::Mutex;
use storage::Zxid;
use storage::disk::{Disk, RealDisk, is_full};
use storage::engine::{Engine, Level, Options};
use storage::log::Log;
use storage::sim::{Crash, Image, Op, SimDisk};

const BLOCK: u64 = 4096;
const FIRST: u64 = 32 << 10;
const MARK: u64 = 256 << 10;

fn options() -> Options {
    Options {
        data_dir: PathBuf::from("/data"),
        log_dir: PathBuf::from("/log"),
        segment_bytes: 128 << 10,
        segment_bytes_first: FIRST,
        background: false,
        load_threads: 1,
        low_water: MARK,
        ..Options::default()
    }
}

struct Store {
    engine: Engine,
    log: Log,
    seen: Seen,
    levels: Arc<Mutex<Vec<Level>>>,
}

impl Store {
    fn open(disk: &SimDisk) -> Store {
        Store::open_with(disk, options())
    }

    fn open_with(disk: &SimDisk, options: Options) -> Store {
        let mut seen = Seen::default();
        let opened = Engine::open_on(Arc::new(disk.clone()), options, &mut seen);
        let (engine, log, _) = opened.unwrap_or_else(|error| panic!("{error}"));
        let levels = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&levels);
        engine.listen(Box::new(move |room| heard.lock().push(room.level)));
        Store {
            engine,
            log,
            seen,
            levels,
        }
    }

    /// One batch of so many records; then the thread's look.
    fn append(&mut self, count: u64) -> std::io::Result<()> {
        for _ in 0..count {
            let zxid = self.log.appended().next();
            self.log.append(zxid, &[&payload(zxid)]);
        }
        let write = self.log.next_write().expect("a batch");
        let write = write.perform()?;
        self.log.written(write);
        self.engine.look();
        Ok(())
    }

    fn snapshot(&self) -> Result<(), String> {
        let all = entries(self.log.durable());
        let mut all = all.iter().map(|(key, value)| (&key[..], &value[..]));
        let taken = self
            .engine
            .write_snapshot(self.log.durable(), 1, b"meta", &mut all, None);
        taken.map(drop).map_err(|error| error.to_string())
    }

    fn level(&self) -> Level {
        self.engine.room().level
    }
}

/// A store with its reserve, on a disk that others then fill to the last byte.
fn on_a_full_disk() -> (SimDisk, Store) {
    let disk = SimDisk::default();
    disk.set_capacity(Some(4 << 20));
    let mut store = Store::open(&disk);
    store.engine.look();
    store.append(1).unwrap();
    assert_eq!(store.level(), Level::Enough, "{}", store.engine.room());
    disk.set_capacity(Some(disk.used()));
    store.engine.look();
    assert_eq!(store.level(), Level::Low, "{}", store.engine.room());
    (disk, store)
}

#[test]
fn the_level_follows_what_is_free() {
    let disk = SimDisk::default();
    disk.set_capacity(Some(2 << 20));
    let mut store = Store::open(&disk);
    store.engine.look();
    assert_eq!(store.engine.room().reserve, 2);
    // The log itself fills the disk.
    while store.level() == Level::Enough {
        store.append(20).unwrap();
    }
    let room = store.engine.room();
    assert!(
        room.log_free.unwrap() < MARK && room.log_free.unwrap() > MARK - (192 << 10),
        "{room}"
    );
    assert!(store.append(1).is_ok(), "what cannot be refused is still taken");
    disk.set_capacity(Some(disk.used() + MARK + MARK / 8));
    store.engine.look();
    assert_eq!(
        store.level(),
        Level::Low,
        "a little above the mark is not enough to leave"
    );
    disk.set_capacity(Some(disk.used() + MARK + MARK / 4));
    store.engine.look();
    store.append(20).unwrap();
    assert_eq!(*store.levels.lock(), [Level::Enough, Level::Low, Level::Enough]);
}

#[test]
fn the_log_goes_on_through_the_reserve_and_then_says_what_failed() {
    let (disk, mut store) = on_a_full_disk();
    let before = store.log.durable().0;
    let error = loop {
        if let Err(error) = store.append(1) {
            break error;
        }
    };
    let reached = store.log.durable();
    // What is left of the first segment, and both of the reserve, each but for its header.
    let batches = reached.0 - before;
    let most = 3 * (FIRST / BLOCK - 1) - 1;
    assert!(
        batches > 2 * (FIRST / BLOCK - 1) && batches <= most,
        "{batches} of {most}"
    );
    assert_eq!(*store.levels.lock(), [Level::Enough, Level::Low, Level::Last]);
    assert!(is_full(&error), "{error:?}");
    assert!(error.to_string().contains("/log/ringkeeper-1/ahead."), "{error}");
    println!("{batches} batches through the reserve, then: {error}");
    std::mem::forget((store.engine, store.log));

    // Killed, and started again on the full disk: all is there, and nothing new is taken.
    let again = SimDisk::new(disk.live());
    again.set_capacity(Some(again.used()));
    let store = Store::open(&again);
    assert_eq!(store.seen.state(), reached, "acknowledged is acknowledged");
    assert_eq!(store.level(), Level::Low);
    drop(store);
    again.set_capacity(None);
    let mut store = Store::open(&again);
    store.engine.look();
    store.append(50).unwrap();
    assert_eq!((store.level(), store.log.durable().0), (Level::Enough, reached.0 + 50));
}

#[test]
fn the_reserve_outlives_a_kill() {
    let (disk, mut store) = on_a_full_disk();
    store.append(1).unwrap();
    let reached = store.log.durable();
    std::mem::forget((store.engine, store.log));
    let mut image = disk.live();
    // One that cannot be laid out again must not hide those that are there.
    image
        .files
        .remove(Path::new("/data/ringkeeper-1/reserve.manifest.1"))
        .unwrap();
    let again = SimDisk::new(image);
    again.set_capacity(Some(again.used()));
    let mut store = Store::open(&again);
    // No look yet: who needs the reserve finds it.
    let mut batches = 0;
    while batches < 2 * (FIRST / BLOCK - 1) {
        let zxid = store.log.appended().next();
        store.log.append(zxid, &[&payload(zxid)]);
        let write = store.log.next_write().unwrap().perform().unwrap();
        store.log.written(write);
        batches += 1;
    }
    assert_eq!(store.log.durable().0, reached.0 + batches);
}

/// The thread that lays the reserve out anew must not touch what was just taken from it.
#[test]
fn what_is_taken_from_the_reserve_is_left_alone() {
    let (disk, store) = on_a_full_disk();
    std::mem::forget((store.engine, store.log));
    for round in 0..100 {
        let again = SimDisk::new(disk.live());
        again.set_capacity(Some(again.used()));
        let with_thread = Options {
            background: true,
            ..options()
        };
        let mut store = Store::open_with(&again, with_thread);
        let reached = loop {
            let reached = store.log.durable();
            if store.append(1).is_err() {
                break reached;
            }
        };
        assert!(reached.0 > 2 * (FIRST / BLOCK - 1), "{reached}");
        std::mem::forget((store.engine, store.log));
        let store = Store::open(&SimDisk::new(again.live()));
        assert_eq!(store.seen.state(), reached, "round {round}");
    }
}

/// A kill or a power cut at every operation of the way from a full disk to its end.
#[test]
fn wherever_a_full_disk_is_cut_nothing_acknowledged_is_lost() {
    let (disk, mut store) = on_a_full_disk();
    let begin = disk.trace().1.len();
    loop {
        let durable = store.log.durable();
        disk.mark(durable.0);
        if store.append(3).is_err() {
            break;
        }
    }
    std::mem::forget((store.engine, store.log));
    let (start, trace) = disk.trace();
    let (mut crash, mut acknowledged, mut images) = (Crash::new(&start), 0, 0);
    let mut check = |image: Image, acknowledged: u64, at: usize| {
        let disk = SimDisk::new(image);
        disk.set_capacity(Some(disk.used()));
        let store = Store::open(&disk);
        assert!(
            store.seen.state().0 >= acknowledged,
            "operation {at}: {} < {acknowledged}",
            store.seen.state()
        );
        images += 1;
    };
    for (at, op) in trace.iter().enumerate() {
        crash.begin(op);
        if at >= begin {
            check(crash.image(&|_, _| true, &|_| true), acknowledged, at);
            check(crash.image(&|_, _| false, &|_| false), acknowledged, at);
            for odd in [0, 1] {
                check(
                    crash.image(&|_, sector| sector % 2 == odd, &|name| name % 2 == odd),
                    acknowledged,
                    at,
                );
            }
        }
        crash.end(op);
        if let Op::Mark(durable) = op {
            acknowledged = *durable;
        }
    }
    println!("{images} images");
    assert!(
        images > 200 && acknowledged > 20,
        "{images} images, {acknowledged} acknowledged"
    );
}

#[test]
fn a_snapshot_that_finds_no_room_leaves_nothing_and_is_taken_later() {
    let disk = SimDisk::default();
    disk.set_capacity(Some(4 << 20));
    let mut store = Store::open(&disk);
    store.append(30).unwrap();
    store.snapshot().unwrap();
    store.append(30).unwrap();
    let before = disk.live();
    disk.set_capacity(Some(disk.used() + 100));
    let refused = store.engine.has_room_for_snapshot(1 << 20).unwrap_err();
    assert!(refused.contains("bytes are free in /data/ringkeeper-1"), "{refused}");
    let error = store.snapshot().unwrap_err();
    assert!(
        error.starts_with("cannot write /data/ringkeeper-1/snapshot."),
        "{error}"
    );
    assert!(error.contains("No space left"), "{error}");
    assert_eq!(disk.live(), before, "the disk is as it was");
    disk.set_capacity(Some(4 << 20));
    assert_eq!(store.engine.has_room_for_snapshot(1 << 20), Ok(()));
    store.snapshot().unwrap();
    drop(store);
    let store = Store::open(&disk);
    assert_eq!(store.seen.snapshot, Some(Zxid(60)));
}

fn real(dir: &Path) -> Options {
    Options {
        data_dir: dir.join("data"),
        log_dir: dir.join("log"),
        background: false,
        ..Options::default()
    }
}

#[test]
fn a_fresh_store_is_small_and_its_reserve_has_blocks_and_stays() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = |half: &str, name: &str| dir.path().join(half).join("ringkeeper-1").join(name);
    let reserve = [
        path("log", "reserve.1"),
        path("log", "reserve.2"),
        path("data", "reserve.manifest.1"),
    ];
    {
        let (engine, mut log, _) = Engine::open(real(dir.path()), &mut Seen::default()).unwrap();
        log.append(Zxid(1), &[&payload(Zxid(1))]);
        let write = log.next_write().unwrap().perform().unwrap();
        log.written(write);
        engine.look();
        assert_eq!(engine.room().reserve, 2);
    }
    let mut bytes = 0;
    for half in ["data", "log"] {
        for name in RealDisk.list(&path(half, "")).unwrap() {
            let blocks = std::fs::metadata(path(half, &name)).unwrap().blocks();
            bytes += blocks * 512;
        }
    }
    println!("a fresh store has {bytes} bytes on the disk");
    assert!(bytes < 13 << 20, "{bytes}");
    for file in &reserve {
        let found = std::fs::metadata(file).unwrap();
        assert!(
            found.blocks() * 512 >= found.len(),
            "{} has all of its blocks",
            file.display()
        );
    }
    // A crash can leave a header in it.
    std::fs::write(&reserve[1], "short").unwrap();
    let mut bytes = std::fs::read(&reserve[0]).unwrap();
    bytes[..4].copy_from_slice(b"RKSG");
    std::fs::write(&reserve[0], bytes).unwrap();
    let (engine, ..) = Engine::open(real(dir.path()), &mut Seen::default()).unwrap();
    engine.look();
    for file in &reserve[..2] {
        let bytes = std::fs::read(file).unwrap();
        assert!(
            bytes.len() == 4 << 20 && bytes.iter().all(|byte| *byte == 0),
            "{}",
            file.display()
        );
    }
}

#[test]
fn a_real_disk_says_what_is_free_and_is_probed_without_a_trace() {
    // /dev/full fails every write with ENOSPC.
    let error = std::fs::write("/dev/full", "x").unwrap_err();
    assert!(error.kind() == ErrorKind::StorageFull && is_full(&error), "{error:?}");
    let dir = tempfile::tempdir().unwrap();
    assert!(RealDisk.probe(dir.path()).is_ok());
    assert!(RealDisk.free(dir.path()).unwrap().unwrap() > 0);
    assert_eq!(RealDisk.list(dir.path()).unwrap(), [""; 0], "the probe leaves nothing");
}
