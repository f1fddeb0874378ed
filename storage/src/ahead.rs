//! Segments made ahead: zero-filled and synced before the log needs them, on a thread of their own.
//!
//! Zero-filling is what makes a batch cheap (dependencies.md 2: the file neither grows nor has unwritten extents, so a
//! sync writes no metadata), and what makes "all zero" mean "never written". A retired segment is filled with zeros
//! again before it is used: no old record is left in it to be taken for a new one.
//! Invariant: a file is handed out only when it is all zero on the disk.
//!
//! Behind the next segment stands the reserve (`reserve`), which the log falls back on when no other can be made, and
//! the same thread looks once a second how much room there is (`room`). That a spare could not be made is no error of
//! the log: nothing was promised about it. It ends new writes long before it ends the log.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::disk::{Access, Disk, context};
use crate::reserve::Reserve;
use crate::room::{Level, Room};

/// Bytes written at a time when filling. With 128 KiB a log of 340 MB/s outran it (p99.9 of multis of ten sets 29 to 44 ms,
/// with this 8), and it cost a tenth of the server's CPU more; with 1 MiB writes wait longer behind it.
const FILL: usize = 512 << 10;

/// On a page's boundary, for writes around the page cache: those cost a fifth of the CPU of writes through it, which was
/// a sixth of what a server spends that only writes. It is only read, so it takes no memory.
#[repr(align(4096))]
struct Zeros([u8; FILL]);
static ZEROS: Zeros = Zeros([0; FILL]);

const NEW: Access = Access::LayOut { new: true };
const OLD: Access = Access::LayOut { new: false };

/// Retired files kept for later use; more are removed.
const RETIRED_MAX: usize = 1;

/// How often the room is looked at: soon enough to be ahead of who fills a disk, and a few µs each time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What stays free when a segment is made that could also be done without.
const LEFT_FREE: u64 = 1 << 20;

/// A file of zeros under a name of its own.
#[derive(Clone, Debug)]
pub(crate) struct Spare {
    pub path: PathBuf,
    pub bytes: u64,
}

/// Where, and how much.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub data: PathBuf,
    pub log: PathBuf,
    /// Whether files are synced.
    pub sync: bool,
    /// Bytes of a segment in reserve.
    pub reserve_bytes: u64,
    /// The low-water mark.
    pub low_water: u64,
}

/// Is told of each change of the level.
pub type Listener = Box<dyn Fn(&Room) + Send + Sync>;

/// The store of spares and who makes them.
pub(crate) struct Ahead {
    maker: Arc<Maker>,
    thread: Option<JoinHandle<()>>,
}

struct Maker {
    disk: Arc<dyn Disk>,
    plan: Plan,
    state: Mutex<State>,
    changed: Condvar,
    /// Held while it is told, so that it hears of levels in their order.
    listener: Mutex<Option<Listener>>,
    /// One at a time lays out the reserve: its files have fixed names.
    completing: Mutex<()>,
}

#[derive(Default)]
struct State {
    ready: Option<Spare>,
    wanted: Option<u64>,
    making: bool,
    retired: VecDeque<Spare>,
    reserve: Reserve,
    room: Room,
    serial: u64,
    stop: bool,
}

impl Ahead {
    /// Without `background`, spares are made when they are taken, and the room is looked at when asked.
    pub fn new(disk: Arc<dyn Disk>, plan: Plan, background: bool) -> io::Result<Ahead> {
        let maker = Arc::new(Maker {
            disk,
            plan,
            state: Mutex::default(),
            changed: Condvar::new(),
            listener: Mutex::default(),
            completing: Mutex::default(),
        });
        maker.judge(None, |room, _| room.judge_free());
        let thread = background.then(|| {
            let maker = Arc::clone(&maker);
            let thread = std::thread::Builder::new().name("log-ahead".into());
            thread.spawn(move || maker.work())
        });
        let thread = thread.transpose()?;
        Ok(Ahead { maker, thread })
    }

    /// Asks for a spare of that size to be made by and by. Where room is low the reserve is all that is made.
    pub fn want(&self, bytes: u64) {
        if self.thread.is_none() {
            return;
        }
        let mut state = self.maker.state.lock();
        let enough = state.ready.as_ref().is_some_and(|spare| spare.bytes >= bytes);
        if !enough && !state.making && state.wanted.is_none() && state.room.level == Level::Enough {
            state.wanted = Some(bytes);
            self.maker.changed.notify_all();
        }
    }

    /// Gives a spare of `ideal` bytes, or of `least` where room is low or the other cannot be made: the one in the
    /// making, a new one, or one of the reserve.
    pub fn take(&self, ideal: u64, least: u64) -> io::Result<Spare> {
        let mut state = self.maker.state.lock();
        while self.thread.is_some() && state.making {
            self.maker.changed.wait(&mut state);
        }
        // What was not begun is made here and now.
        state.wanted = None;
        let is_low = state.room.level != Level::Enough;
        let enough = if is_low { least } else { ideal };
        let ready = state.ready.take_if(|spare| spare.bytes >= enough);
        drop(state);
        let spare = match ready {
            Some(spare) => Ok(spare),
            None if is_low => self
                .maker
                .take_reserved(least)
                .map_or_else(|| self.maker.make(least), Ok),
            None => match self.maker.make(ideal) {
                Err(error) => self.maker.take_reserved(least).ok_or(error),
                made => made,
            },
        };
        // The thread makes the reserve whole again, and says how much room is left.
        self.maker.changed.notify_all();
        spare
    }

    /// A file of the data directory laid out for the manifest, under the name `to` from now on. A start comes here
    /// before anything was looked at: then those are taken over that the last run left.
    pub fn take_manifest(&self, to: &Path) -> Option<Spare> {
        let take = || self.maker.state.lock().reserve.take_manifest(&*self.maker.disk, to);
        let taken = take().or_else(|| {
            // No verdict on the room here: the caller holds the manifest, which whoever listens may want.
            let _ = self.maker.complete_reserve();
            take()
        });
        self.maker.changed.notify_all();
        taken
    }

    /// Takes a segment that nobody needs any more: for later use, or to remove it. It must be off the manifest.
    pub fn retire(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let temporary = {
            let mut state = self.maker.state.lock();
            if state.retired.len() >= RETIRED_MAX || state.room.level != Level::Enough {
                drop(state);
                return self.maker.disk.discard(path);
            }
            state.serial += 1;
            self.maker.name(state.serial)
        };
        self.maker.disk.rename(path, &temporary)?;
        let spare = Spare { path: temporary, bytes };
        self.maker.state.lock().retired.push_back(spare);
        Ok(())
    }

    /// Makes the reserve whole if it can be, and judges the room: what the thread does once a second.
    pub fn look(&self) {
        self.maker.look();
    }

    /// What the last look found.
    pub fn room(&self) -> Room {
        self.maker.state.lock().room.clone()
    }

    /// Has each change of the level told, and the level as it is.
    pub fn listen(&self, listener: Listener) {
        let mut place = self.maker.listener.lock();
        listener(&self.room());
        *place = Some(listener);
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
            // What stays is removed by the next start. The reserve stays for it: the disk may be full by then.
            let _ = self.maker.disk.remove(&spare.path);
        }
    }
}

impl Maker {
    fn name(&self, serial: u64) -> PathBuf {
        self.plan.log.join(format!("ahead.{serial}.tmp"))
    }

    fn work(&self) {
        // A store that is opened has better to do than to lay out a reserve; one whose disk may be full needs it.
        let mut is_due = Reserve::is_there(&*self.disk, &self.plan) || self.state.lock().room.level != Level::Enough;
        let mut state = self.state.lock();
        while !state.stop {
            if let Some(bytes) = state.wanted.take() {
                state.making = true;
                drop(state);
                let made = self.make(bytes);
                state = self.state.lock();
                state.making = false;
                // Who takes one next makes it, or falls back on the reserve.
                state.ready = made.ok().or(state.ready.take());
                self.changed.notify_all();
                continue;
            }
            if is_due {
                drop(state);
                self.look();
                state = self.state.lock();
            }
            if !state.stop && state.wanted.is_none() {
                let waited = self.changed.wait_for(&mut state, LOOK_EVERY);
                is_due = is_due || waited.timed_out();
            }
        }
    }

    fn look(&self) {
        let whole = self.complete_reserve();
        self.judge(whole.err(), Room::judge);
    }

    /// Notes what is free, and what `verdict` says to it and to the number of spares; tells who listens.
    fn judge(&self, trouble: Option<io::Error>, verdict: impl FnOnce(&Room, usize) -> Level) {
        let listener = self.listener.lock();
        let free = |directory: &Path| self.disk.free(directory).ok().flatten();
        let (log_free, data_free) = (free(&self.plan.log), free(&self.plan.data));
        let (room, is_news) = {
            let mut state = self.state.lock();
            if state.stop {
                return;
            }
            let before = state.room.level;
            state.room = Room {
                level: before,
                log_free,
                data_free,
                low_water: self.plan.low_water,
                reserve: state.reserve.segments(),
                trouble: trouble.map(|error| error.to_string()),
            };
            let spares = state.room.reserve + usize::from(state.ready.is_some());
            state.room.level = verdict(&state.room, spares);
            (state.room.clone(), state.room.level != before)
        };
        if let (true, Some(listener)) = (is_news, &*listener) {
            listener(&room);
        }
    }

    /// Lays out what is missing of the reserve, as far as it can be; the first error is given.
    fn complete_reserve(&self) -> io::Result<()> {
        let _one = self.completing.lock();
        let missing = self.state.lock().reserve.missing(&self.plan);
        let mut result = Ok(());
        for spare in missing {
            // One that cannot be made says nothing about the next, which may lie there since the last run.
            let laid_out = self.lay_out_in_reserve(&spare);
            if laid_out.is_ok() {
                self.state.lock().reserve.put(spare);
            }
            result = result.and(laid_out);
        }
        result
    }

    fn lay_out_in_reserve(&self, spare: &Spare) -> io::Result<()> {
        let access = match self.disk.length(&spare.path) {
            Ok(bytes) if bytes == spare.bytes => OLD,
            Ok(_) => {
                self.disk.remove(&spare.path)?;
                NEW
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => NEW,
            Err(error) => return Err(context("cannot look at", &spare.path)(error)),
        };
        self.lay_out(spare, access, 0)
    }

    /// One of the reserve that is large enough. After a start nothing may have been looked at yet.
    fn take_reserved(&self, least: u64) -> Option<Spare> {
        let take = || {
            let mut state = self.state.lock();
            state.serial += 1;
            let to = self.name(state.serial);
            state.reserve.take_segment(&*self.disk, &to, least)
        };
        take().or_else(|| {
            self.look();
            take()
        })
    }

    fn make(&self, bytes: u64) -> io::Result<Spare> {
        let (spare, access) = {
            let mut state = self.state.lock();
            let index = state.retired.iter().position(|spare| spare.bytes >= bytes);
            match index.and_then(|index| state.retired.remove(index)) {
                Some(spare) => (spare, OLD),
                None => {
                    state.serial += 1;
                    let path = self.name(state.serial);
                    (Spare { path, bytes }, NEW)
                }
            }
        };
        self.lay_out(&spare, access, LEFT_FREE)?;
        Ok(spare)
    }

    /// Fills a file with zeros. A new one that cannot be filled is removed again, and not begun at all if there is no
    /// room for it: a disk must not be filled to the brim only to find that it is full.
    fn lay_out(&self, spare: &Spare, access: Access, left_free: u64) -> io::Result<()> {
        let Spare { path, bytes } = spare;
        let filled = match access {
            NEW => self.check_free(path, bytes + left_free),
            _ => Ok(()),
        };
        let filled = filled.and_then(|()| self.fill(path, *bytes, access));
        if filled.is_err() && access == NEW {
            let _ = self.disk.remove(path);
        }
        filled.map_err(context("cannot lay out", path))
    }

    fn check_free(&self, path: &Path, needed: u64) -> io::Result<()> {
        match self.disk.free(path.parent().expect("a file in a directory")) {
            Ok(Some(free)) if free < needed => {
                let full = io::Error::from_raw_os_error(libc::ENOSPC);
                let text = format!("{full}: {free} bytes are free there, and {needed} are needed");
                Err(io::Error::new(full.kind(), text))
            }
            // What nobody knows is found out by writing.
            _ => Ok(()),
        }
    }

    fn fill(&self, path: &Path, bytes: u64, access: Access) -> io::Result<()> {
        let mut file = self.disk.open(path, access)?;
        let mut offset = 0;
        while offset < bytes {
            if self.state.lock().stop {
                return Err(io::Error::other("the log is being closed"));
            }
            let now = FILL.min((bytes - offset) as usize);
            match file.write_at(&ZEROS.0[..now], offset) {
                // Some file systems take O_DIRECT when a file is opened, and refuse it when it is written.
                Err(error) if offset == 0 && error.raw_os_error() == Some(libc::EINVAL) => {
                    file = self.disk.open(path, Access::Update)?;
                    file.write_at(&ZEROS.0[..now], offset)?;
                }
                written => written?,
            }
            offset += now as u64;
        }
        // A reserve that was not synced may have no blocks yet.
        let must_sync = self.plan.sync || Reserve::is_its(path);
        if must_sync { file.sync() } else { Ok(()) }
    }
}
