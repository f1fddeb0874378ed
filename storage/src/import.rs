//! A store that begins with a state from elsewhere, made whole or not at all.
//!
//! In order: the directories and their locks, a mark that an import is under way, the snapshot (aside, synced, renamed,
//! directory synced), the manifest that lists it, the mark's removal. What a crash leaves: before the manifest, a mark,
//! which says that nothing here is a store yet and all of it may be made anew; after it, a whole store, of which the mark
//! is a leftover that the next start removes. A store that is there is never touched.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::Zxid;
use crate::disk::{Access, Disk, RealDisk};
use crate::engine::{DIRECTORY, Options, lock_directories, write_durably};
use crate::error::OpenError;
use crate::format::{parse_segment_name, parse_snapshot_name, snapshot_name};
use crate::manifest::{MANIFEST, Manifest};
use crate::snapshot::{self, Summary};

/// Says that an import is under way. Temporary files of ours are removed at start.
pub(crate) const MARK: &str = "import.tmp";

/// A state as a snapshot has it: its zxid, the seed of its order, its meta bytes, its entries.
pub struct State<'i, 'a> {
    /// The state's zxid.
    pub zxid: Zxid,
    /// The seed of the entries' order.
    pub seed: u64,
    /// What goes before them.
    pub meta: &'i [u8],
    /// The entries.
    pub entries: &'i mut dyn Iterator<Item = (&'a [u8], &'a [u8])>,
}

/// What an import wrote.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The snapshot's file.
    pub path: PathBuf,
    /// What is in it.
    pub summary: Summary,
}

/// Why there was no import.
#[derive(Debug)]
pub enum ImportError {
    /// There is a store already.
    There(PathBuf),
    /// The directories cannot be had or written.
    Open(OpenError),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImportError::There(found) => write!(
                f,
                "{} is there: a store is not overwritten. Use other directories, or move the {DIRECTORY} directories of \
                 this one away",
                found.display()
            ),
            ImportError::Open(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ImportError {}

/// Whether there is a store in the directories, or what is left of one; what a crash left of an import is none.
///
/// # Errors
/// What the operating system said.
pub fn find_store(disk: &dyn Disk, options: &Options) -> io::Result<Option<PathBuf>> {
    let (data, log) = directories(options);
    let in_data = disk.list(&data)?;
    if in_data.iter().any(|name| name == MANIFEST) {
        return Ok(Some(data.join(MANIFEST)));
    }
    let mut in_log = disk.list(&log)?.into_iter();
    if let Some(segment) = in_log.find(|name| parse_segment_name(name).is_some()) {
        return Ok(Some(log.join(segment)));
    }
    if in_data.iter().any(|name| name == MARK) {
        return Ok(None);
    }
    let snapshot = in_data.iter().find(|name| parse_snapshot_name(name).is_some());
    Ok(snapshot.map(|name| data.join(name)))
}

fn directories(options: &Options) -> (PathBuf, PathBuf) {
    (options.data_dir.join(DIRECTORY), options.log_dir.join(DIRECTORY))
}

/// Makes a store with one snapshot and no log. Blocks, and writes at most `bytes_per_second` if that is given.
///
/// # Errors
/// [`ImportError`]; there is no store then.
pub fn import(options: &Options, state: State<'_, '_>, bytes_per_second: Option<u64>) -> Result<Imported, ImportError> {
    import_on(&RealDisk, options, state, bytes_per_second)
}

/// The same on any disk.
///
/// # Errors
/// As [`import`].
pub fn import_on(
    disk: &dyn Disk,
    options: &Options,
    state: State<'_, '_>,
    bytes_per_second: Option<u64>,
) -> Result<Imported, ImportError> {
    let (data, log) = directories(options);
    let failed = |what, path: &Path| {
        let path = path.to_path_buf();
        move |error| ImportError::Open(OpenError::Io { what, path, error })
    };
    if let Some(found) = find_store(disk, options).map_err(failed("list", &data))? {
        return Err(ImportError::There(found));
    }
    let _locks = lock_directories(disk, &data, &log).map_err(ImportError::Open)?;
    // Once more, now that nobody else can make one.
    if let Some(found) = find_store(disk, options).map_err(failed("list", &data))? {
        return Err(ImportError::There(found));
    }
    let mark = data.join(MARK);
    set_mark(disk, &data, &mark).map_err(failed("write", &mark))?;
    let path = data.join(snapshot_name(state.zxid));
    let temporary = data.join(format!("{}.tmp", snapshot_name(state.zxid)));
    let State {
        zxid,
        seed,
        meta,
        entries,
    } = state;
    let summary = write_durably(disk, &temporary, |out| {
        snapshot::write(out, zxid, seed, meta, entries, bytes_per_second)
    });
    let summary = summary.map_err(failed("write", &temporary))?;
    disk.rename(&temporary, &path)
        .and_then(|()| disk.sync_dir(&data))
        .map_err(failed("rename to", &path))?;
    let store = disk.random().map_err(failed("read", Path::new("/dev/urandom")))?;
    let manifest = Manifest {
        generation: 1,
        snapshots: vec![zxid],
        ..Manifest::new(store)
    };
    let manifest_path = data.join(MANIFEST);
    crate::disk::replace(disk, &data, MANIFEST, &manifest.encode()).map_err(failed("write", &manifest_path))?;
    disk.remove(&mark)
        .and_then(|()| disk.sync_dir(&data))
        .map_err(failed("remove", &mark))?;
    Ok(Imported { path, summary })
}

/// Marks the directory, durably, and removes what an import before left there.
fn set_mark(disk: &dyn Disk, data: &Path, mark: &Path) -> io::Result<()> {
    let names = disk.list(data)?;
    if names.iter().all(|name| name != MARK) {
        disk.open(mark, Access::Create)?.sync()?;
        disk.sync_dir(data)?;
    }
    let stem = |name: &str| name.strip_suffix(".tmp").unwrap_or(name).to_owned();
    for name in names {
        if parse_snapshot_name(&stem(&name)).is_some() {
            disk.remove(&data.join(name))?;
        }
    }
    disk.sync_dir(data)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::{Engine, Recover};
    use crate::sim::{Crash, SimDisk};

    fn options() -> Options {
        Options {
            data_dir: "/d".into(),
            log_dir: "/l".into(),
            background: false,
            load_threads: 1,
            ..Options::default()
        }
    }

    #[derive(Default)]
    struct Entries(Vec<(Vec<u8>, Vec<u8>)>);

    impl Recover for Entries {
        fn begin_snapshot(&mut self, zxid: Zxid, seed: u64, meta: &[u8]) -> Result<(), String> {
            assert_eq!((zxid, seed, meta), (Zxid(77), 5, &b"meta"[..]));
            Ok(())
        }
        fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
            self.0.push((key.to_vec(), value.to_vec()));
            Ok(())
        }
        fn end_snapshot(&mut self) -> Result<(), String> {
            Ok(())
        }
        fn record(&mut self, _: Zxid, _: &[u8]) -> Result<(), String> {
            panic!("an imported store has no log")
        }
    }

    fn state_of(entries: &[(Vec<u8>, Vec<u8>)], disk: &dyn Disk) -> Result<Imported, ImportError> {
        let mut entries = entries.iter().map(|(key, value)| (&key[..], &value[..]));
        let state = State {
            zxid: Zxid(77),
            seed: 5,
            meta: b"meta",
            entries: &mut entries,
        };
        import_on(disk, &options(), state, None)
    }

    fn sample() -> Vec<(Vec<u8>, Vec<u8>)> {
        (0..50u8).map(|n| (vec![n], vec![n; 30])).collect()
    }

    fn opened(disk: SimDisk) -> (Entries, Zxid) {
        let mut target = Entries::default();
        let (_, log, report) = Engine::open_on(Arc::new(disk), options(), &mut target).unwrap();
        assert_eq!(report.zxid, log.durable());
        (target, report.zxid)
    }

    #[test]
    fn what_was_imported_is_opened_and_never_overwritten() {
        let disk = SimDisk::default();
        let imported = state_of(&sample(), &disk).unwrap();
        assert_eq!(imported.summary.entries, 50);
        assert!(matches!(state_of(&sample(), &disk), Err(ImportError::There(_))));
        let (target, zxid) = opened(disk);
        assert_eq!((target.0, zxid), (sample(), Zxid(77)));
    }

    /// Every image that a power cut can leave is either no store at all, and then importing works, or a whole one.
    #[test]
    fn every_crash_leaves_all_or_nothing() {
        let disk = SimDisk::default();
        state_of(&sample(), &disk).unwrap();
        let (start, trace) = disk.trace();
        let (mut none, mut whole) = (0, 0);
        let mut seen = std::collections::BTreeSet::new();
        let mut crash = Crash::new(&start);
        for (point, op) in trace.iter().enumerate() {
            crash.begin(op);
            let names = 1usize << crash.name_count();
            for (arrived, kept) in (0..3usize).flat_map(|arrived| (0..names).map(move |kept| (arrived, kept))) {
                // Of what was written: nothing, all, every other sector.
                let sector = |_, at: usize| arrived == 1 || arrived == 2 && at.is_multiple_of(2);
                let image = crash.image(&sector, &|name| kept >> name & 1 == 1);
                if !seen.insert(format!("{:?}", image.files)) {
                    continue;
                }
                let disk = SimDisk::new(image);
                match find_store(&disk, &options()).unwrap() {
                    Some(_) => whole += 1,
                    None => {
                        none += 1;
                        state_of(&sample(), &disk).unwrap();
                    }
                }
                let (target, zxid) = opened(disk);
                assert_eq!(
                    (target.0, zxid),
                    (sample(), Zxid(77)),
                    "cut in {point} of {}",
                    trace.len()
                );
            }
            crash.end(op);
        }
        println!("{none} images without a store, {whole} with one");
        assert!(none >= 7 && whole >= 2, "{none} and {whole}");
        // Who opens what a crash left of an import does not get an empty store.
        let disk = SimDisk::default();
        disk.open(Path::new("/d/ringkeeper-1/import.tmp"), Access::Create)
            .unwrap();
        let told = Engine::open_on(Arc::new(disk), options(), &mut Entries::default())
            .err()
            .unwrap();
        assert!(told.to_string().contains("an import was interrupted"), "{told}");
    }
}
