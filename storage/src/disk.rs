//! The seam below the engine: every file operation it does, and the real disk behind it.
//!
//! A promise rests on an operation only once it is synced: bytes by [`DiskFile::sync`] (or by a handle that syncs
//! each write), names by [`Disk::sync_dir`]. `sim` has the other disk, which forgets what was not synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::format::{BLOCK, used};

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A new file, through the page cache; one that is there is an error.
    Create,
    /// A file that is there, through the page cache.
    Update,
    /// A file that is filled with whole blocks before its use, around the page cache where that is possible: one that is
    /// not there yet, or one that is.
    LayOut {
        /// Which.
        new: bool,
    },
    /// A file that is there, for the log: around the page cache and durable with each write, where that is possible.
    Log {
        /// Try O_DIRECT and O_DSYNC.
        direct: bool,
        /// False: no write is ever synced (`forceSync=no`).
        sync: bool,
    },
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Writes all bytes at the offset.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Sends what was written there on its way to the device, and promises nothing: what goes wrong, [`DiskFile::sync`] tells.
    fn start_out(&self, _offset: u64, _bytes: u64) {}
    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;
    /// False if each write is durable when it returns, or never needs to be.
    fn needs_sync(&self) -> bool;
    /// The file of the operating system, for who wants to write through a ring.
    fn os_file(&self) -> Option<&File>;
}

/// Why a directory's lock was not had.
#[derive(Debug)]
pub enum LockError {
    /// Another process has it; its id, if it left one.
    Held(Option<u32>),
    /// The operating system's reason.
    Io(io::Error),
}

/// A lock that is held until it is dropped.
pub type Lock = Box<dyn Send + Sync>;

/// Bytes of a whole file.
pub type Bytes = Box<dyn Deref<Target = [u8]> + Send + Sync>;

/// A place for files.
pub trait Disk: Send + Sync {
    /// Makes a directory and those above it, durably.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Names of the files in a directory, sorted; empty if there is no such directory.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// All bytes of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// All bytes of a file, but blocks of zeros at its end may be left out, if not the first; and how many it has with them.
    fn read_used(&self, path: &Path) -> io::Result<(Vec<u8>, u64)> {
        let mut bytes = self.read(path)?;
        let length = bytes.len();
        bytes.truncate(used(&bytes).max(1).next_multiple_of(BLOCK).min(length));
        Ok((bytes, length as u64))
    }
    /// The first bytes of a file, `limit` at most.
    fn read_head(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;
    /// All bytes of a file, mapped if possible. The file must not be changed while they are in use.
    fn map(&self, path: &Path) -> io::Result<Bytes>;
    /// Bytes a file has.
    fn length(&self, path: &Path) -> io::Result<u64>;
    /// Seconds of the wall clock at which a file was last written.
    fn modified_s(&self, path: &Path) -> io::Result<u64>;
    /// Opens or creates a file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file a new name, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a file that may be large, in such a way that who writes beside it is not held up. Who reads it goes on.
    fn discard(&self, path: &Path) -> io::Result<()> {
        self.remove(path)
    }
    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;
    /// Takes the lock whose file that is, for this process.
    fn lock(&self, path: &Path) -> Result<Lock, LockError>;
    /// Keeps others from taking the lock, and changes nothing; `None` if there is no such file.
    fn lock_shared(&self, path: &Path) -> Result<Option<Lock>, LockError>;
    /// A number nobody can foresee, for salts and names of stores.
    fn random(&self) -> io::Result<u64>;
    /// Bytes that may still be written in the file system of a directory, if it says so.
    fn free(&self, _directory: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }
    /// Does to a file in the directory what a server does to its own: create, write, sync, remove. A full disk is no
    /// failure here: what is already there can be served.
    fn probe(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

struct RealFile {
    file: File,
    needs_sync: bool,
}

impl DiskFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn start_out(&self, offset: u64, bytes: u64) {
        let (offset, bytes) = (offset as libc::off64_t, bytes as libc::off64_t);
        // SAFETY: the descriptor is open as long as `self` is borrowed, and the call touches no memory of this process.
        unsafe { libc::sync_file_range(self.file.as_raw_fd(), offset, bytes, libc::SYNC_FILE_RANGE_WRITE) };
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn needs_sync(&self) -> bool {
        self.needs_sync
    }

    fn os_file(&self) -> Option<&File> {
        Some(&self.file)
    }
}

/// What a file is cut by when it is discarded, and the pause behind each cut, which takes some 0.25 ms. Where freed blocks
/// are discarded on the device, a removal of 64 MB at once held a batch of the log up for 11 to 14 ms, this 0.6.
const CUT: u64 = 1 << 20;
const PAUSE: Duration = Duration::from_micros(750);

/// Cuts a file that has no name any more down, if nobody else has it: not under another name, and not open.
fn free_slowly(file: &File) -> io::Result<()> {
    let metadata = file.metadata()?;
    let mut bytes = metadata.len();
    while bytes > CUT && metadata.nlink() == 0 && is_opened_once(file) {
        bytes -= CUT;
        file.set_len(bytes)?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Whether this is the only place where a file is open or mapped, in any process: what a write lease is given for
/// (fcntl_locking(2)). False also where the file system has none.
fn is_opened_once(file: &File) -> bool {
    // SAFETY: the descriptor is open as long as `file` is borrowed, and the call touches no memory of this process.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) == 0 }
}

/// Bytes that [`RealDisk`] reads at once of a file whose end is zeros: whole blocks. A segment of 64 MiB with little in it
/// takes 16,000 pages less so, and its zeros are looked at once: of a start with a million znodes, 110 ms went there.
const PIECE: usize = 256 << 10;
static ZEROS: [u8; PIECE] = [0; PIECE];

/// Owner only: the data is as secret as the ACLs in it say.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            self.create_dir(parent)?;
        }
        match std::fs::DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.sync_dir(parent.unwrap_or(Path::new(".")))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn read_used(&self, path: &Path) -> io::Result<(Vec<u8>, u64)> {
        let mut file = File::open(path)?;
        // Only what is used of it becomes memory.
        let mut bytes = Vec::with_capacity(file.metadata()?.len() as usize);
        let (mut piece, mut length) = (Vec::with_capacity(PIECE), 0);
        loop {
            piece.clear();
            if (&mut file).take(PIECE as u64).read_to_end(&mut piece)? == 0 {
                return Ok((bytes, length as u64));
            }
            if length == 0 || piece != ZEROS[..piece.len()] {
                bytes.resize(length, 0);
                bytes.extend_from_slice(&piece);
            }
            length += piece.len();
        }
    }

    fn read_head(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn map(&self, path: &Path) -> io::Result<Bytes> {
        // Argued there: nothing writes to a whole snapshot again.
        Ok(Box::new(crate::snapshot::map(path)?))
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        std::fs::metadata(path).map(|metadata| metadata.len())
    }

    fn modified_s(&self, path: &Path) -> io::Result<u64> {
        let modified = std::fs::metadata(path)?.modified()?;
        let since = modified.duration_since(std::time::UNIX_EPOCH);
        Ok(since.map_or(0, |since| since.as_secs()))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(FILE_MODE);
        let (flags, sync) = match access {
            Access::Create | Access::Update => (0, true),
            Access::LayOut { .. } => (libc::O_DIRECT, true),
            Access::Log {
                direct: true,
                sync: true,
            } => (libc::O_DIRECT | libc::O_DSYNC, true),
            Access::Log { sync, .. } => (0, sync),
        };
        let is_new = matches!(access, Access::Create | Access::LayOut { new: true });
        // A file is made first and opened around the page cache then: where the file system refuses that, it is made all
        // the same.
        let made = options.clone().create_new(is_new).open(path)?;
        if flags != 0 {
            match options.custom_flags(flags).open(path) {
                Ok(file) => {
                    let needs_sync = flags & libc::O_DSYNC == 0;
                    return Ok(Arc::new(RealFile { file, needs_sync }));
                }
                // The file system does not know O_DIRECT.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Arc::new(RealFile {
            file: made,
            needs_sync: sync,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn discard(&self, path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path);
        self.remove(path)?;
        // It is gone whatever becomes of what it held.
        file.and_then(|file| free_slowly(&file)).or(Ok(()))
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn lock(&self, path: &Path) -> Result<Lock, LockError> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE);
        let mut file = options.open(path).map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(LockError::Held(holder(&mut file))),
            Err(std::fs::TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        // The id is for people; the lock is the file's, and ends with the process. A full disk must not keep a server
        // from its data: what is there is written over before it is cut, and where that fails the id is left out.
        let id = format!("{}\n", std::process::id());
        match file.write_all_at(id.as_bytes(), 0) {
            Err(error) if !is_full(&error) => return Err(LockError::Io(error)),
            _ => file.set_len(id.len() as u64).map_err(LockError::Io)?,
        }
        Ok(Box::new(file))
    }

    fn lock_shared(&self, path: &Path) -> Result<Option<Lock>, LockError> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LockError::Io(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(std::fs::TryLockError::WouldBlock) => Err(LockError::Held(holder(&mut file))),
            Err(std::fs::TryLockError::Error(error)) => Err(LockError::Io(error)),
        }
    }

    fn random(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn free(&self, directory: &Path) -> io::Result<Option<u64>> {
        let found = rustix::fs::statvfs(directory)?;
        // Some network and user-space file systems answer with zeros.
        Ok((found.f_blocks > 0).then(|| found.f_bavail.saturating_mul(found.f_frsize)))
    }

    fn probe(&self, directory: &Path) -> io::Result<()> {
        // A name that recovery removes if this process is killed here, and no other process uses.
        let path = directory.join(format!("ahead.probe-{}.tmp", std::process::id()));
        let _ = self.remove(&path);
        let written = self.open(&path, Access::Create).and_then(|file| {
            file.write_at(&[0; 4096], 0)?;
            file.sync()
        });
        match written {
            Err(error) if !is_full(&error) => {
                let _ = self.remove(&path);
                return Err(error);
            }
            _ => {}
        }
        match self.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.sync_dir(directory)
    }
}

/// Whether an error says that there is no room: on the disk, or in what one user may take of it.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Who holds a lock: the id that its file has, unless it is left from a process that ended (a check holds the lock
/// without writing its own).
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    let pid = text.trim().parse().ok()?;
    Path::new(&format!("/proc/{pid}")).exists().then_some(pid)
}

/// Writes a small file durably under its name: what had the name before is there until the new one is whole.
pub fn replace(disk: &dyn Disk, directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (path, temporary) = (directory.join(name), directory.join(format!("{name}.tmp")));
    match disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(&temporary, Access::Create)?;
    let written = file.write_at(bytes, 0).and_then(|()| file.sync());
    if written.is_err() {
        // A full disk is to get back what it gave; who was told of the error needs no second one.
        let _ = disk.remove(&temporary);
    }
    written?;
    disk.rename(&temporary, &path)?;
    disk.sync_dir(directory)
}

/// Adds what was being done, and to which file, to an error.
pub fn context(what: &str, path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_names_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = RealDisk.lock(&path).unwrap();
        match RealDisk.lock(&path) {
            Err(LockError::Held(Some(pid))) => assert_eq!(pid, std::process::id()),
            other => panic!("{:?}", other.err()),
        }
        assert!(matches!(RealDisk.lock_shared(&path), Err(LockError::Held(Some(_)))));
        drop(held);
        let shared = [
            RealDisk.lock_shared(&path).unwrap(),
            RealDisk.lock_shared(&path).unwrap(),
        ];
        assert!(shared.iter().all(Option::is_some));
        assert!(matches!(RealDisk.lock(&path), Err(LockError::Held(_))));
        drop(shared);
        assert!(RealDisk.lock(&path).is_ok());
        assert!(matches!(RealDisk.lock_shared(&dir.path().join("none")), Ok(None)));
    }

    #[test]
    fn zeros_at_the_end_are_left_out_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let whole = |length: usize, ones: &[usize]| {
            let mut bytes = vec![0; length];
            ones.iter().for_each(|at| bytes[*at] = 1);
            bytes
        };
        let files = [
            whole(0, &[]),
            whole(4 * PIECE, &[]),
            whole(5, &[4]),
            whole(3 * PIECE + 7, &[3 * PIECE + 6]),
            whole(4 * PIECE, &[0, 2 * PIECE, 3 * PIECE - 1]),
            whole(4 * PIECE, &[PIECE]),
        ];
        for file in files {
            std::fs::write(&path, &file).unwrap();
            let (bytes, length) = RealDisk.read_used(&path).unwrap();
            assert_eq!(length, file.len() as u64);
            assert_eq!(bytes, file[..bytes.len()]);
            assert!(file[bytes.len()..].iter().all(|byte| *byte == 0));
            let used = file.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            assert!(bytes.len() % BLOCK == 0 || bytes.len() == file.len());
            assert!(bytes.len() >= BLOCK.min(file.len()));
            assert!(bytes.len() - used <= PIECE, "{} bytes for {used}", bytes.len());
        }
    }

    #[test]
    fn a_discarded_file_stays_with_those_who_have_it() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("f"), dir.path().join("other"));
        let bytes = vec![7; 3 * CUT as usize];
        let whole = bytes.len() as u64;
        // Nobody has it.
        std::fs::write(&path, &bytes).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        free_slowly(&file).unwrap();
        assert_eq!(file.metadata().unwrap().len(), CUT);
        // Somebody has it mapped.
        std::fs::write(&path, &bytes).unwrap();
        let mapped = RealDisk.map(&path).unwrap();
        RealDisk.discard(&path).unwrap();
        assert!(!path.exists() && mapped[..] == bytes);
        // Somebody gave it another name.
        std::fs::write(&path, &bytes).unwrap();
        std::fs::hard_link(&path, &other).unwrap();
        RealDisk.discard(&path).unwrap();
        assert_eq!(
            (path.exists(), std::fs::metadata(&other).unwrap().len()),
            (false, whole)
        );
        assert!(RealDisk.discard(&path).is_err(), "there is none");
    }

    #[test]
    fn replaces_whole_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in [&b"one"[..], b"three"] {
            std::fs::write(dir.path().join("f.tmp"), "left by a crash").unwrap();
            replace(&RealDisk, dir.path(), "f", bytes).unwrap();
            assert_eq!(RealDisk.read(&dir.path().join("f")).unwrap(), bytes);
            assert_eq!(RealDisk.list(dir.path()).unwrap(), ["f"]);
        }
    }
}
