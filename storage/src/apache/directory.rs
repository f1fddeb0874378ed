//! Directories of Apache ZooKeeper: which files are there, how they are opened, and the logs as one history.
//!
//! `dataDir` and `dataLogDir` each have a `version-2` in them; either that or the directory above may be named. Nothing
//! is ever written here.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::log::{self, End, Record};
use super::{Compression, FileError, ReadError, follows, snapshot};
use crate::Zxid;

/// The directory in each of the two that are configured.
pub const VERSION_DIRECTORY: &str = "version-2";

/// A snapshot, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// The zxid in its name.
    pub zxid: Zxid,
    /// How it is packed, by its name.
    pub compression: Compression,
    /// Where it is.
    pub path: PathBuf,
}

/// A log, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// The zxid in its name: its first record's.
    pub zxid: Zxid,
    /// Where it is.
    pub path: PathBuf,
}

/// `snapshot.` and the zxid in hexadecimal, with the suffix of its packing.
pub fn snapshot_name(zxid: Zxid, compression: Compression) -> String {
    format!("snapshot.{:x}{}", zxid.0, compression.suffix())
}

/// `log.` and the zxid in hexadecimal.
pub fn log_name(zxid: Zxid) -> String {
    format!("log.{:x}", zxid.0)
}

/// What a snapshot's name says. Java takes any further suffix for a plain snapshot (`snapshot.7.tmp`); here it is a
/// stranger.
pub fn parse_snapshot_name(name: &str) -> Option<(Zxid, Compression)> {
    let rest = name.strip_prefix("snapshot.")?;
    let packed = [Compression::Gzip, Compression::Snappy]
        .into_iter()
        .find_map(|form| Some((parse_zxid(rest.strip_suffix(form.suffix())?)?, form)));
    packed.or_else(|| Some((parse_zxid(rest)?, Compression::None)))
}

/// What a log's name says.
pub fn parse_log_name(name: &str) -> Option<Zxid> {
    parse_zxid(name.strip_prefix("log.")?)
}

fn parse_zxid(digits: &str) -> Option<Zxid> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    // Java reads a signed number, so that there is none above.
    let zxid = u64::from_str_radix(digits, 16).ok().filter(|_| plain)?;
    (zxid <= i64::MAX as u64).then_some(Zxid(zxid))
}

/// The files of one server, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Where its snapshots are.
    pub snapshot_dir: PathBuf,
    /// Where its logs are.
    pub log_dir: PathBuf,
    /// Its snapshots.
    pub snapshots: Vec<SnapshotFile>,
    /// Its logs.
    pub logs: Vec<LogFile>,
    /// Files whose names begin like those and go on otherwise; nothing reads them.
    pub strangers: Vec<PathBuf>,
}

impl Directory {
    /// Looks at what is there; both may be the same. A directory that is not there has no files.
    ///
    /// # Errors
    /// What the operating system said, with the directory.
    pub fn list(data_dir: &Path, log_dir: &Path) -> io::Result<Directory> {
        let mut found = Directory {
            snapshot_dir: version_directory(data_dir),
            log_dir: version_directory(log_dir),
            ..Directory::default()
        };
        let mut places = vec![found.snapshot_dir.clone()];
        if found.log_dir != found.snapshot_dir {
            places.push(found.log_dir.clone());
        }
        for place in places {
            found.add(&place)?;
        }
        found
            .snapshots
            .sort_by(|a, b| (a.zxid, &a.path).cmp(&(b.zxid, &b.path)));
        found.logs.sort_by(|a, b| (a.zxid, &a.path).cmp(&(b.zxid, &b.path)));
        found.strangers.sort();
        Ok(found)
    }

    fn add(&mut self, place: &Path) -> io::Result<()> {
        let in_place = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", place.display()));
        let entries = match fs::read_dir(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(in_place)?,
        };
        for entry in entries {
            let path = entry.map_err(in_place)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Some((zxid, compression)) = parse_snapshot_name(&name) {
                self.snapshots.push(SnapshotFile {
                    zxid,
                    compression,
                    path,
                });
            } else if let Some(zxid) = parse_log_name(&name) {
                self.logs.push(LogFile { zxid, path });
            } else if name.starts_with("snapshot.") || name.starts_with("log.") {
                self.strangers.push(path);
            }
        }
        Ok(())
    }

    /// Whether there is neither a snapshot nor a log.
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.logs.is_empty()
    }

    /// The logs that hold what follows a state: the newest that begins at the next transaction or before it, and all
    /// later ones.
    pub fn logs_behind(&self, state: Zxid) -> &[LogFile] {
        let first = self.logs.iter().rposition(|log| log.zxid <= state.next());
        &self.logs[first.unwrap_or(0)..]
    }

    /// Hands over every record behind a state, in order, as far as the logs go. A torn end is passed over where the
    /// history goes on without it; a gap, a step back, and everything that a log's reader calls damage is an error.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn replay(
        &self,
        state: Zxid,
        take: &mut dyn FnMut(&Record<'_>) -> Result<(), String>,
    ) -> Result<Replayed, FileError> {
        let mut replayed = Replayed {
            last: state,
            ..Replayed::default()
        };
        for file in self.logs_behind(state) {
            replayed.one(file, take).map_err(|error| error.of(&file.path))?;
            replayed.files += 1;
        }
        // A header that did not arrive is how a kill may leave the newest file; any other lost its records.
        let torn = replayed
            .torn
            .iter()
            .rev()
            .skip_while(|torn| torn.is_newest(self))
            .find(|torn| torn.is_bare());
        if let Some(TornLog { path, end }) = torn {
            return Err(ReadError::damaged(0, format!("{end}, and newer logs are there")).of(path));
        }
        Ok(replayed)
    }
}

/// What replaying found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// The last transaction, or the state if there was none behind it.
    pub last: Zxid,
    /// Transactions handed over.
    pub records: u64,
    /// Files read.
    pub files: u64,
    /// Ends of which a part did not arrive.
    pub torn: Vec<TornLog>,
    /// The last record that was read, handed over or not.
    seen: Option<Zxid>,
}

/// A log that ends torn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornLog {
    /// The file.
    pub path: PathBuf,
    /// How it ends.
    pub end: End,
}

impl TornLog {
    fn is_newest(&self, directory: &Directory) -> bool {
        directory.logs.last().is_some_and(|newest| newest.path == self.path)
    }

    fn is_bare(&self) -> bool {
        self.end.offset() < log::HEADER_BYTES as u64
    }
}

impl fmt::Display for TornLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.end)
    }
}

impl Replayed {
    fn one(
        &mut self,
        file: &LogFile,
        take: &mut dyn FnMut(&Record<'_>) -> Result<(), String>,
    ) -> Result<(), ReadError> {
        let bytes = open(&file.path).map_err(|error| ReadError::Io { offset: 0, error })?;
        let mut reader = log::Reader::open(bytes.reader)?;
        let mut is_first = true;
        while let Some(record) = reader.next()? {
            self.record(file, &record, is_first, take)?;
            is_first = false;
        }
        match reader.end().expect("it was read to its end") {
            end @ End::Torn { .. } => self.torn.push(TornLog {
                path: file.path.clone(),
                end: end.clone(),
            }),
            End::Clean { .. } | End::Preallocated { .. } => {}
        }
        Ok(())
    }

    fn record(
        &mut self,
        file: &LogFile,
        record: &Record<'_>,
        is_first: bool,
        take: &mut dyn FnMut(&Record<'_>) -> Result<(), String>,
    ) -> Result<(), ReadError> {
        let (zxid, offset) = (Zxid(record.header.zxid as u64), record.offset);
        let damaged = |after, why| Err(ReadError::Damaged { offset, after, why });
        if is_first && zxid != file.zxid {
            let why = format!("its first record is zxid {zxid}, which its name does not say: it was renamed");
            return damaged(self.seen, why);
        }
        // The first record that is read may lie anywhere before the state; from then on there must be no gap.
        let follows_what = self.seen.unwrap_or(self.last);
        let begins_before = self.seen.is_none() && zxid <= self.last;
        if !begins_before && !follows(follows_what, zxid) {
            let why = if zxid <= follows_what {
                format!("the record of zxid {zxid} stands behind that of {follows_what}: the log goes back")
            } else {
                format!(
                    "the record of zxid {zxid} does not follow {follows_what}: what was logged between is missing. Put \
                     back the log files that hold it"
                )
            };
            return damaged(Some(follows_what), why);
        }
        self.seen = Some(zxid);
        if zxid <= self.last {
            return Ok(());
        }
        take(record).map_err(|why| ReadError::Refused { offset, zxid, why })?;
        self.last = zxid;
        self.records += 1;
        Ok(())
    }
}

/// `version-2` in a directory, or the directory itself if it is one.
fn version_directory(directory: &Path) -> PathBuf {
    let inside = directory.join(VERSION_DIRECTORY);
    let is_one = !inside.is_dir()
        && (directory.file_name().is_some_and(|name| name == VERSION_DIRECTORY) || holds_files(directory));
    if is_one { directory.to_owned() } else { inside }
}

fn holds_files(directory: &Path) -> bool {
    let names = fs::read_dir(directory).into_iter().flatten().flatten();
    names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .any(|name| parse_snapshot_name(&name).is_some() || parse_log_name(&name).is_some())
}

/// A file that is being read.
pub struct OpenFile {
    /// Its bytes.
    pub reader: Metered<BufReader<File>>,
    /// How many they are.
    pub length: u64,
    /// How many were read so far, for whoever shows it.
    pub read: Arc<AtomicU64>,
}

/// Bytes gathered from a file at a time.
const READ_BYTES: usize = 256 << 10;

/// Opens a file.
///
/// # Errors
/// What the operating system said.
pub fn open(path: &Path) -> io::Result<OpenFile> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let read = Arc::new(AtomicU64::new(0));
    let reader = Metered {
        inner: BufReader::with_capacity(READ_BYTES, file),
        read: Arc::clone(&read),
    };
    Ok(OpenFile { reader, length, read })
}

/// A snapshot that is being read.
pub struct OpenSnapshot {
    /// Its items.
    pub reader: snapshot::Reader<Box<dyn BufRead>>,
    /// Bytes of the file, packed.
    pub length: u64,
    /// How many of them were read so far.
    pub read: Arc<AtomicU64>,
}

impl SnapshotFile {
    /// Opens it.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn open(&self) -> Result<OpenSnapshot, FileError> {
        let fail = |error: ReadError| error.of(&self.path);
        let OpenFile { reader, length, read } =
            open(&self.path).map_err(|error| fail(ReadError::Io { offset: 0, error }))?;
        let unpacked = self
            .compression
            .reader(reader)
            .map_err(|error| fail(ReadError::from_io(0, error, "the head of the packing")))?;
        let reader = snapshot::Reader::open(unpacked).map_err(fail)?;
        Ok(OpenSnapshot { reader, length, read })
    }

    /// Whether its last bytes say that its writing was ended (`SnapStream#isValidSnapshot`): Java writes under the final
    /// name, and leaves half a file when it is killed. Of a packed one only reading tells.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn is_whole(&self) -> io::Result<bool> {
        use std::os::unix::fs::FileExt;
        const LAST: [u8; 5] = [0, 0, 0, 1, b'/'];
        if self.compression != Compression::None {
            return Ok(true);
        }
        let file = File::open(&self.path)?;
        let Some(at) = file.metadata()?.len().checked_sub(LAST.len() as u64) else {
            return Ok(false);
        };
        let mut last = [0; LAST.len()];
        file.read_exact_at(&mut last, at)?;
        Ok(last == LAST)
    }
}

/// Counts what is read through it.
pub struct Metered<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: BufRead> Read for Metered<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Metered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        self.inner.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::Writer;
    use super::*;

    fn payload(zxid: u64) -> Vec<u8> {
        let mut bytes = vec![0; 36];
        bytes[12..20].copy_from_slice(&zxid.to_be_bytes());
        bytes[31] = 0xFF;
        bytes
    }

    fn write_log(place: &Path, zxids: &[u64]) -> PathBuf {
        let mut writer = Writer::new(Vec::new()).unwrap();
        zxids.iter().for_each(|zxid| writer.append(&payload(*zxid)).unwrap());
        let path = place.join(log_name(Zxid(zxids[0])));
        fs::write(&path, writer.into_inner()).unwrap();
        path
    }

    fn replay(place: &Path, state: u64) -> Result<(Vec<u64>, Replayed), FileError> {
        let directory = Directory::list(place, place).unwrap();
        let mut zxids = Vec::new();
        let replayed = directory.replay(Zxid(state), &mut |record| {
            zxids.push(record.header.zxid as u64);
            Ok(())
        })?;
        Ok((zxids, replayed))
    }

    #[test]
    fn names() {
        assert_eq!(
            parse_snapshot_name("snapshot.1f.gz"),
            Some((Zxid(0x1f), Compression::Gzip))
        );
        assert_eq!(
            parse_snapshot_name("snapshot.0.snappy"),
            Some((Zxid(0), Compression::Snappy))
        );
        assert_eq!(
            parse_snapshot_name("snapshot.2000000000001"),
            Some((Zxid(0x2000000000001), Compression::None))
        );
        for bad in [
            "snapshot.",
            "snapshot.7.tmp",
            "snapshot.+7",
            "snapshot.ffffffffffffffff",
            "snap.7",
            "snapshot.x",
        ] {
            assert_eq!(parse_snapshot_name(bad), None, "{bad}");
        }
        for form in Compression::ALL {
            let name = snapshot_name(Zxid(0xabc), form);
            assert_eq!(parse_snapshot_name(&name), Some((Zxid(0xabc), form)));
        }
        assert_eq!(
            parse_log_name(&log_name(Zxid(0x1_0000_0001))),
            Some(Zxid(0x1_0000_0001))
        );
        assert_eq!(parse_log_name("log.5.fixed"), None);
    }

    #[test]
    fn either_directory_may_be_named() {
        let dir = tempfile::tempdir().unwrap();
        let version = dir.path().join(VERSION_DIRECTORY);
        fs::create_dir(&version).unwrap();
        write_log(&version, &[1, 2]);
        fs::write(version.join("snapshot.0"), b"").unwrap();
        fs::write(version.join("snapshot.9.tmp"), b"").unwrap();
        for named in [dir.path(), &version] {
            let found = Directory::list(named, named).unwrap();
            assert_eq!(
                (found.snapshots.len(), found.logs.len(), found.strangers.len()),
                (1, 1, 1)
            );
        }
        let elsewhere = dir.path().join("copied");
        fs::rename(&version, &elsewhere).unwrap();
        assert_eq!(Directory::list(&elsewhere, &elsewhere).unwrap().logs.len(), 1);
        assert!(Directory::list(dir.path(), dir.path()).unwrap().is_empty());
    }

    #[test]
    fn logs_are_one_history() {
        let dir = tempfile::tempdir().unwrap();
        let epoch = 1 << 32;
        write_log(dir.path(), &[1, 2, 3]);
        write_log(dir.path(), &[4, 5, 6]);
        write_log(dir.path(), &[epoch + 1, epoch + 2]);
        for state in 0..7 {
            let (zxids, replayed) = replay(dir.path(), state).unwrap();
            let all = [1, 2, 3, 4, 5, 6, epoch + 1, epoch + 2];
            assert_eq!(zxids, all[state as usize..]);
            assert_eq!(replayed.last, Zxid(epoch + 2));
            assert_eq!(replayed.files, if state < 3 { 3 } else { 2 });
        }
        assert_eq!(replay(dir.path(), epoch + 2).unwrap().1.records, 0);
    }

    #[test]
    fn gaps_steps_back_and_renamed_files_are_refused() {
        let told = |files: &[&[u64]], state: u64| {
            let dir = tempfile::tempdir().unwrap();
            files.iter().for_each(|zxids| drop(write_log(dir.path(), zxids)));
            replay(dir.path(), state).unwrap_err().to_string()
        };
        assert!(told(&[&[1, 2], &[4, 5]], 0).contains("0x4 does not follow 0x2"));
        assert!(told(&[&[5, 6]], 3).contains("0x5 does not follow 0x3"));
        assert!(
            told(&[&[1, 2, 3, 4], &[3]], 0).contains("goes back"),
            "a file inside another"
        );
        assert!(told(&[&[1, 2], &[(1 << 32) + 2]], 0).contains("does not follow 0x2"));
        let dir = tempfile::tempdir().unwrap();
        let path = write_log(dir.path(), &[1, 2]);
        fs::rename(path, dir.path().join("log.2")).unwrap();
        assert!(replay(dir.path(), 1).unwrap_err().to_string().contains("renamed"));
    }

    #[test]
    fn a_torn_end_is_passed_over_where_the_history_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let torn = write_log(dir.path(), &[1, 2, 3]);
        let bytes = fs::read(&torn).unwrap();
        fs::write(&torn, &bytes[..bytes.len() - 5]).unwrap();
        let (zxids, replayed) = replay(dir.path(), 0).unwrap();
        assert_eq!((zxids, replayed.torn.len()), (vec![1, 2], 1));
        // The server was started again: what did not arrive had its number given to another.
        write_log(dir.path(), &[3, 4]);
        assert_eq!(replay(dir.path(), 0).unwrap().0, [1, 2, 3, 4]);
        fs::remove_file(dir.path().join("log.3")).unwrap();
        write_log(dir.path(), &[4]);
        assert!(
            replay(dir.path(), 0)
                .unwrap_err()
                .to_string()
                .contains("does not follow 0x2")
        );
    }

    #[test]
    fn a_file_without_header_may_only_be_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        write_log(dir.path(), &[1, 2]);
        for bytes in [&b""[..], b"ZKL", &[0; 4096]] {
            fs::write(dir.path().join("log.3"), bytes).unwrap();
            let (zxids, replayed) = replay(dir.path(), 0).unwrap();
            assert_eq!((zxids, replayed.torn.len()), (vec![1, 2], 1));
            write_log(dir.path(), &[(1 << 32) + 1]);
            assert!(replay(dir.path(), 0).unwrap_err().to_string().contains("newer logs"));
            fs::remove_file(dir.path().join("log.100000001")).unwrap();
        }
    }
}
