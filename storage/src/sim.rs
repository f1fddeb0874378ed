//! A disk in memory that remembers what a power cut may take back.
//!
//! Every operation is written to a trace. From the trace, [`Crash`] makes the images that a power cut at any point can
//! leave: what was synced is there; of what was not, each write is absent, whole, or there in any of its 512-byte
//! sectors; names keep any part of what was not synced with their directory. An [`Image`] can then be damaged, and made
//! a disk again. Invariant: the live files are what all operations of the trace, applied in order, give.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Access, Bytes, Disk, DiskFile, Lock, LockError};
use crate::format::SECTOR;

/// Files by name, as they lie on a disk after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Their bytes.
    pub files: BTreeMap<PathBuf, Arc<Vec<u8>>>,
}

impl Image {
    /// The bytes of a file, to be damaged.
    pub fn bytes_mut(&mut self, path: &Path) -> &mut Vec<u8> {
        Arc::make_mut(self.files.get_mut(path).expect("a file of the image"))
    }
}

/// One thing that was done to the disk.
#[derive(Clone, Debug)]
pub enum Op {
    /// A name for a new, empty file.
    Create(PathBuf, usize),
    /// Bytes at an offset; durable when done if the file was opened so.
    Write {
        /// Which file.
        file: usize,
        /// Where.
        offset: usize,
        /// What.
        bytes: Vec<u8>,
        /// Whether it needs no sync.
        durable: bool,
    },
    /// All bytes of a file became durable.
    Sync(usize),
    /// Another name for a file.
    Rename(PathBuf, PathBuf, usize),
    /// A name less.
    Remove(PathBuf),
    /// All names in a directory became durable.
    SyncDir(PathBuf),
    /// Nothing; the caller's note.
    Mark(u64),
}

/// The disk.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    start: Image,
    names: BTreeMap<PathBuf, usize>,
    files: Vec<Arc<Vec<u8>>>,
    trace: Vec<Op>,
    locked: BTreeSet<PathBuf>,
    fails_after: Option<usize>,
    capacity: Option<u64>,
    unreadable: BTreeSet<PathBuf>,
    random: Option<u64>,
}

impl SimDisk {
    /// A disk with these files, all durable.
    pub fn new(start: Image) -> SimDisk {
        let mut state = State::default();
        for (path, bytes) in &start.files {
            state.names.insert(path.clone(), state.files.len());
            state.files.push(Arc::clone(bytes));
        }
        state.start = start;
        SimDisk(Arc::new(Mutex::new(state)))
    }

    /// Notes a number in the trace, such as what was acknowledged.
    pub fn mark(&self, note: u64) {
        self.0.lock().trace.push(Op::Mark(note));
    }

    /// After so many more changes, every change fails with EIO.
    pub fn fail_after(&self, changes: usize) {
        self.0.lock().fails_after = Some(changes);
    }

    /// From now on the disk has so many bytes, or all there are: what would make its files longer in sum fails with
    /// ENOSPC, after as many sectors as there is room for. Bytes that a file has can always be written over.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity = bytes;
    }

    /// Bytes of all files.
    pub fn used(&self) -> u64 {
        self.0.lock().used()
    }

    /// Reading this file, or listing this directory, fails with EIO from now on.
    pub fn fail_reads_of(&self, path: &Path) {
        self.0.lock().unreadable.insert(path.to_path_buf());
    }

    /// What [`Disk::random`] gives; a constant if this is never called.
    pub fn set_random(&self, random: u64) {
        self.0.lock().random = Some(random);
    }

    /// The process that had the disk was killed: its locks are gone, its unsynced writes may still arrive.
    pub fn process_killed(&self) {
        self.0.lock().locked.clear();
    }

    /// What the disk held at first, and all that was done since.
    pub fn trace(&self) -> (Image, Vec<Op>) {
        let state = self.0.lock();
        (state.start.clone(), state.trace.clone())
    }

    /// The files as a process that goes on would see them.
    pub fn live(&self) -> Image {
        let state = self.0.lock();
        let files = state
            .names
            .iter()
            .map(|(path, file)| (path.clone(), Arc::clone(&state.files[*file])));
        Image { files: files.collect() }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.lock();
        match &mut state.fails_after {
            Some(0) => return Err(io::Error::from_raw_os_error(libc::EIO)),
            Some(left) => *left -= 1,
            None => {}
        }
        change(&mut state)
    }
}

impl State {
    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].len() as u64).sum()
    }

    fn free(&self) -> Option<u64> {
        self.capacity.map(|capacity| capacity.saturating_sub(self.used()))
    }

    /// How many of so many bytes at an offset of a file there is room for.
    fn room(&self, file: usize, offset: usize, bytes: usize) -> usize {
        let growth = (offset + bytes).saturating_sub(self.files[file].len());
        let lacking = self.free().map_or(0, |free| (growth as u64).saturating_sub(free)) as usize;
        match lacking {
            0 => bytes,
            _ => (bytes - lacking) / SECTOR * SECTOR,
        }
    }

    fn check_readable(&self, path: &Path) -> io::Result<()> {
        match self.unreadable.contains(path) {
            true => Err(io::Error::from_raw_os_error(libc::EIO)),
            false => Ok(()),
        }
    }

    fn readable(&self, path: &Path) -> io::Result<&Arc<Vec<u8>>> {
        self.check_readable(path)?;
        Ok(&self.files[self.find(path)?])
    }
}

fn put(file: &mut Arc<Vec<u8>>, offset: usize, bytes: &[u8]) {
    let file = Arc::make_mut(file);
    let length = file.len().max(offset + bytes.len());
    file.resize(length, 0);
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

struct SimFile {
    disk: SimDisk,
    file: usize,
    durable: bool,
    needs_sync: bool,
}

impl DiskFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.change(|state| {
            let room = state.room(self.file, offset as usize, bytes.len());
            let (bytes, is_full) = (&bytes[..room], room < bytes.len());
            put(&mut state.files[self.file], offset as usize, bytes);
            state.trace.push(Op::Write {
                file: self.file,
                offset: offset as usize,
                bytes: bytes.to_vec(),
                durable: self.durable && !is_full,
            });
            if is_full {
                Err(io::Error::from_raw_os_error(libc::ENOSPC))
            } else {
                Ok(())
            }
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.change(|state| {
            state.trace.push(Op::Sync(self.file));
            Ok(())
        })
    }

    fn needs_sync(&self) -> bool {
        self.needs_sync
    }

    fn os_file(&self) -> Option<&File> {
        None
    }
}

struct SimLock(SimDisk, PathBuf);

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.0.lock().locked.remove(&self.1);
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        state.check_readable(directory)?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(directory));
        Ok(inside
            .filter_map(|path| path.file_name()?.to_str().map(String::from))
            .collect())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.0.lock();
        Ok(state.readable(path)?.to_vec())
    }

    fn read_head(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let state = self.0.lock();
        let file = state.readable(path)?;
        Ok(file[..limit.min(file.len())].to_vec())
    }

    fn map(&self, path: &Path) -> io::Result<Bytes> {
        Ok(Box::new(self.read(path)?))
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        let state = self.0.lock();
        Ok(state.files[state.find(path)?].len() as u64)
    }

    fn modified_s(&self, path: &Path) -> io::Result<u64> {
        // Files have no times here; who tests ages does it on a real disk.
        self.length(path).map(|_| 0)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let (durable, needs_sync) = match access {
            Access::Create | Access::Update | Access::LayOut { .. } => (false, true),
            Access::Log { direct, sync } => (direct && sync, sync && !direct),
        };
        let disk = self.clone();
        let file = match access {
            Access::Create | Access::LayOut { new: true } => self.change(|state| {
                if state.names.contains_key(path) {
                    return Err(io::Error::from_raw_os_error(libc::EEXIST));
                }
                let file = state.files.len();
                state.files.push(Arc::default());
                state.names.insert(path.to_path_buf(), file);
                state.trace.push(Op::Create(path.to_path_buf(), file));
                Ok(file)
            })?,
            _ => self.0.lock().find(path)?,
        };
        Ok(Arc::new(SimFile {
            disk,
            file,
            durable,
            needs_sync,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        assert_eq!(from.parent(), to.parent(), "renames stay in their directory");
        self.change(|state| {
            let file = state.find(from)?;
            state.names.remove(from);
            state.names.insert(to.to_path_buf(), file);
            state.trace.push(Op::Rename(from.to_path_buf(), to.to_path_buf(), file));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            state.find(path)?;
            state.names.remove(path);
            state.trace.push(Op::Remove(path.to_path_buf()));
            Ok(())
        })
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.change(|state| {
            state.trace.push(Op::SyncDir(directory.to_path_buf()));
            Ok(())
        })
    }

    fn lock(&self, path: &Path) -> Result<Lock, LockError> {
        match self.0.lock().locked.insert(path.to_path_buf()) {
            true => Ok(Box::new(SimLock(self.clone(), path.to_path_buf()))),
            false => Err(LockError::Held(Some(1))),
        }
    }

    fn lock_shared(&self, path: &Path) -> Result<Option<Lock>, LockError> {
        self.lock(path).map(Some)
    }

    fn random(&self) -> io::Result<u64> {
        Ok(self.0.lock().random.unwrap_or(0x5eed))
    }

    fn free(&self, _directory: &Path) -> io::Result<Option<u64>> {
        Ok(self.0.lock().free())
    }
}

/// A walk along a trace: after each operation, the images that a power cut there may leave.
pub struct Crash {
    names: BTreeMap<PathBuf, usize>,
    files: Vec<Arc<Vec<u8>>>,
    writes: Vec<Pending>,
    name_ops: Vec<Op>,
}

/// A write that may be lost.
#[derive(Clone, Debug)]
pub struct Pending {
    file: usize,
    offset: usize,
    bytes: Vec<u8>,
}

impl Pending {
    /// How many sectors it touches.
    pub fn sectors(&self) -> usize {
        (self.offset + self.bytes.len()).div_ceil(SECTOR) - self.offset / SECTOR
    }

    /// Whether it fills a new file with zeros, from its begin.
    pub fn fills(&self) -> bool {
        self.offset == 0 && self.bytes.iter().all(|byte| *byte == 0)
    }

    fn apply(&self, file: &mut Arc<Vec<u8>>, arrived: &dyn Fn(usize) -> bool) {
        let first = self.offset / SECTOR;
        for sector in (0..self.sectors()).filter(|sector| arrived(*sector)) {
            let from = ((first + sector) * SECTOR).max(self.offset);
            let to = ((first + sector + 1) * SECTOR).min(self.offset + self.bytes.len());
            put(file, from, &self.bytes[from - self.offset..to - self.offset]);
        }
    }
}

impl Crash {
    /// At the begin of the trace.
    pub fn new(start: &Image) -> Crash {
        let names = start.files.keys().cloned().enumerate().map(|(file, path)| (path, file));
        Crash {
            names: names.collect(),
            files: start.files.values().cloned().collect(),
            writes: Vec::new(),
            name_ops: Vec::new(),
        }
    }

    /// The operation is under way: a power cut now may leave it done, not done, or done in part.
    pub fn begin(&mut self, op: &Op) {
        match op {
            Op::Write {
                file, offset, bytes, ..
            } => self.writes.push(Pending {
                file: *file,
                offset: *offset,
                bytes: bytes.clone(),
            }),
            Op::Create(_, file) => {
                self.files.resize(self.files.len().max(file + 1), Arc::default());
                self.name_ops.push(op.clone());
            }
            Op::Rename(..) | Op::Remove(_) => self.name_ops.push(op.clone()),
            Op::Sync(_) | Op::SyncDir(_) | Op::Mark(_) => {}
        }
    }

    /// The operation has returned.
    pub fn end(&mut self, op: &Op) {
        match op {
            Op::Write { durable: true, .. } => {
                let write = self.writes.pop().expect("the write that began");
                write.apply(&mut self.files[write.file], &|_| true);
            }
            Op::Sync(file) => {
                let (synced, rest) = std::mem::take(&mut self.writes)
                    .into_iter()
                    .partition(|write| write.file == *file);
                self.writes = rest;
                let synced: Vec<Pending> = synced;
                synced
                    .iter()
                    .for_each(|write| write.apply(&mut self.files[*file], &|_| true));
            }
            Op::SyncDir(directory) => {
                let inside = |op: &Op| {
                    matches!(op, Op::Create(path, _) | Op::Rename(path, ..) | Op::Remove(path)
                    if path.parent() == Some(directory))
                };
                let (synced, rest): (Vec<Op>, Vec<Op>) =
                    std::mem::take(&mut self.name_ops).into_iter().partition(inside);
                self.name_ops = rest;
                synced.iter().for_each(|op| apply_name(&mut self.names, op));
            }
            _ => {}
        }
    }

    /// Writes that may be lost, in order.
    pub fn writes(&self) -> &[Pending] {
        &self.writes
    }

    /// How many changes of names may be lost.
    pub fn name_count(&self) -> usize {
        self.name_ops.len()
    }

    /// The image in which those sectors of those writes, and those changes of names, arrived.
    pub fn image(&self, sector: &dyn Fn(usize, usize) -> bool, name: &dyn Fn(usize) -> bool) -> Image {
        let mut files = self.files.clone();
        for (index, write) in self.writes.iter().enumerate() {
            write.apply(&mut files[write.file], &|at| sector(index, at));
        }
        let mut names = self.names.clone();
        let kept = self.name_ops.iter().enumerate().filter(|(index, _)| name(*index));
        kept.for_each(|(_, op)| apply_name(&mut names, op));
        let files = names.into_iter().map(|(path, file)| (path, Arc::clone(&files[file])));
        Image { files: files.collect() }
    }
}

fn apply_name(names: &mut BTreeMap<PathBuf, usize>, op: &Op) {
    match op {
        Op::Create(path, file) => drop(names.insert(path.clone(), *file)),
        Op::Rename(from, to, file) => {
            names.remove(from);
            names.insert(to.clone(), *file);
        }
        Op::Remove(path) => drop(names.remove(path)),
        _ => {}
    }
}
