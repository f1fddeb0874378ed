//! Segments made ahead: zero-filled and synced before the log needs them, on a thread of their own.
//!
//! Zero-filling is what makes a batch cheap (dependencies.md 2: the file neither grows nor has unwritten extents, so a
//! sync writes no metadata), and what makes "all zero" mean "never written". A retired segment is filled with zeros
//! again before it is used: no old record is left in it to be taken for a new one.
//! Invariant: a file is handed out only when it is all zero on the disk.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::disk::{Access, Disk, context};

/// Bytes written at a time when filling.
const FILL: usize = 1 << 20;

/// Retired files kept for later use; more are removed.
const RETIRED_MAX: usize = 1;

/// A file of zeros under a temporary name.
pub(crate) struct Spare {
    pub path: PathBuf,
    pub bytes: u64,
}

/// The store of spares and who makes them.
pub(crate) struct Ahead {
    maker: Arc<Maker>,
    thread: Option<JoinHandle<()>>,
}

struct Maker {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    sync: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ready: Option<Spare>,
    wanted: Option<u64>,
    making: bool,
    retired: VecDeque<Spare>,
    serial: u64,
    stop: bool,
}

impl Ahead {
    /// Without `background`, spares are made when they are taken.
    pub fn new(disk: Arc<dyn Disk>, directory: PathBuf, sync: bool, background: bool) -> io::Result<Ahead> {
        let maker = Arc::new(Maker {
            disk,
            directory,
            sync,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let thread = background.then(|| {
            let maker = Arc::clone(&maker);
            let thread = std::thread::Builder::new().name("log-ahead".into());
            thread.spawn(move || maker.work())
        });
        let thread = thread.transpose()?;
        Ok(Ahead { maker, thread })
    }

    /// Asks for a spare of that size to be made by and by.
    pub fn want(&self, bytes: u64) {
        if self.thread.is_none() {
            return;
        }
        let mut state = self.maker.state.lock();
        let enough = state.ready.as_ref().is_some_and(|spare| spare.bytes >= bytes);
        if !enough && !state.making && state.wanted.is_none() {
            state.wanted = Some(bytes);
            self.maker.changed.notify_all();
        }
    }

    /// Gives a spare of at least that size; waits for the one in the making, or makes one.
    pub fn take(&self, bytes: u64) -> io::Result<Spare> {
        let mut state = self.maker.state.lock();
        while self.thread.is_some() && (state.making || state.wanted.is_some()) {
            self.maker.changed.wait(&mut state);
        }
        if let Some(spare) = state.ready.take_if(|spare| spare.bytes >= bytes) {
            return Ok(spare);
        }
        drop(state);
        self.maker.make(bytes)
    }

    /// Takes a segment that nobody needs any more: for later use, or to remove it. It must be off the manifest.
    pub fn retire(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let temporary = {
            let mut state = self.maker.state.lock();
            if state.retired.len() >= RETIRED_MAX {
                drop(state);
                return self.maker.disk.remove(path);
            }
            state.serial += 1;
            self.maker.name(state.serial)
        };
        self.maker.disk.rename(path, &temporary)?;
        let spare = Spare { path: temporary, bytes };
        self.maker.state.lock().retired.push_back(spare);
        Ok(())
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.maker.state.lock().stop = true;
        self.maker.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It says by itself why it could not make a spare; a panic of it is not worth another.
            let _ = thread.join();
        }
        let mut state = self.maker.state.lock();
        let left = state.ready.take().into_iter().chain(std::mem::take(&mut state.retired));
        for spare in left {
            // What stays is removed by the next start.
            let _ = self.maker.disk.remove(&spare.path);
        }
    }
}

impl Maker {
    fn name(&self, serial: u64) -> PathBuf {
        self.directory.join(format!("ahead.{serial}.tmp"))
    }

    fn work(&self) {
        let mut state = self.state.lock();
        while !state.stop {
            let Some(bytes) = state.wanted.take() else {
                self.changed.wait(&mut state);
                continue;
            };
            state.making = true;
            drop(state);
            let made = self.make(bytes);
            state = self.state.lock();
            state.making = false;
            // Who takes one next makes it, and meets the error where it can be told.
            state.ready = made.ok().or(state.ready.take());
            self.changed.notify_all();
        }
    }

    fn make(&self, bytes: u64) -> io::Result<Spare> {
        let retired = {
            let mut state = self.state.lock();
            let index = state.retired.iter().position(|spare| spare.bytes >= bytes);
            index.and_then(|index| state.retired.remove(index))
        };
        let (path, bytes, access) = match retired {
            Some(spare) => (spare.path, spare.bytes, Access::Update),
            None => {
                let mut state = self.state.lock();
                state.serial += 1;
                (self.name(state.serial), bytes, Access::Create)
            }
        };
        let filled = self.fill(&path, bytes, access);
        if let Err(error) = filled {
            let _ = self.disk.remove(&path);
            return Err(context("cannot make a log segment ahead,", &path)(error));
        }
        Ok(Spare { path, bytes })
    }

    fn fill(&self, path: &Path, bytes: u64, access: Access) -> io::Result<()> {
        let file = self.disk.open(path, access)?;
        let zeros = vec![0; FILL.min(bytes as usize)];
        let mut offset = 0;
        while offset < bytes {
            if self.state.lock().stop {
                return Err(io::Error::other("the log is being closed"));
            }
            let now = zeros.len().min((bytes - offset) as usize);
            file.write_at(&zeros[..now], offset)?;
            offset += now as u64;
        }
        if self.sync { file.sync() } else { Ok(()) }
    }
}
