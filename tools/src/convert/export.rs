//! From Ringkeeper to Apache ZooKeeper: a snapshot with all its seals, the epochs, and the log if it is asked for.
//!
//! Everything is written into `version-2.tmp` and synced; the last step gives the directory its name. Where the log goes
//! elsewhere, its directory comes first: logs without a snapshot are refused by ZooKeeper, so that a crash between the
//! two is seen.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ringkeeper::replica::recover::Recovery;
use ringkeeper::tree::{Features, View, apache as tree_apache};
use storage::Zxid;
use storage::apache::directory::{VERSION_DIRECTORY, log_name, snapshot_name};
use storage::apache::log::Writer as LogWriter;
use storage::apache::snapshot::{DIGEST_VERSION, Digest, Writer as SnapshotWriter};
use storage::apache::{Compression, directory};
use storage::engine::{Engine, Options, Recover};

use super::progress::Line;
use super::{Places, random};

/// What is to be done.
#[derive(Args, Clone, Debug)]
pub struct Export {
    #[command(flatten)]
    places: Places,
    /// How the snapshot is packed (snapshot.compression.method)
    #[arg(long, value_enum, default_value = "none")]
    compression: Packing,
    /// Write the log behind Ringkeeper's newest snapshot too; ZooKeeper does not need it
    #[arg(long)]
    with_log: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Packing {
    None,
    Gz,
    Snappy,
}

impl From<Packing> for Compression {
    fn from(packing: Packing) -> Compression {
        match packing {
            Packing::None => Compression::None,
            Packing::Gz => Compression::Gzip,
            Packing::Snappy => Compression::Snappy,
        }
    }
}

impl Export {
    /// Does it; what is to be told, or why not.
    pub fn run(&self) -> Result<String, String> {
        let places = &self.places;
        places.check_from()?;
        let stage = Stage::new(&places.to, places.log_made())?;
        let options = Options {
            data_dir: places.from.clone(),
            log_dir: places.log_read().to_owned(),
            ..Options::default()
        };
        let mut line = Line::new();
        let features = Features {
            extended_types: true,
            digest: true,
            ..Features::default()
        };
        let mut reading = Reading {
            recovery: Recovery::new(features, random()?).of_store(&options),
            log: self.with_log.then(|| LogTail::new(&stage.log)),
            entries: 0,
            line: &mut line,
        };
        let read = Engine::read(&options, &mut reading).map_err(|error| error.to_string())?;
        let Reading { recovery, log, .. } = reading;
        let tail = log.map(LogTail::finish).transpose()?.flatten();
        let doubt = recovery
            .doubt()
            .map_or(String::new(), |doubt| format!("\ncare     {doubt}"));
        let mut tree = recovery.finish();
        let view = tree.view();
        let (name, bytes) = self.snapshot(&view, &stage, &mut line)?;
        stage.epochs(view.totals().zxid.epoch())?;
        stage.settle()?;
        let took = line.elapsed().as_secs_f64();
        let snapshot = stage.data.target.join(name);
        let tail = tail.map_or(String::new(), |(zxid, count)| {
            format!(
                "\n         {}, {count} transactions",
                stage.log.target.join(log_name(zxid)).display()
            )
        });
        let totals = view.totals();
        Ok(format!(
            "read     {read}\nwrote    {}, {bytes} bytes unpacked: zxid {}, {} nodes, {} sessions, digest {:x}{tail}{doubt}\n\
             took     {took:.1} s",
            snapshot.display(),
            totals.zxid,
            totals.nodes,
            totals.sessions,
            tree_apache::digest_of(&view)
        ))
    }

    fn snapshot(&self, view: &View, stage: &Stage, line: &mut Line) -> Result<(String, u64), String> {
        let (zxid, packing) = (view.totals().zxid, Compression::from(self.compression));
        let name = snapshot_name(zxid, packing);
        let path = stage.data.staged.join(&name);
        let failed = |error: io::Error| format!("cannot write {}: {error}", path.display());
        let digest = Digest {
            zxid: zxid.0 as i64,
            version: DIGEST_VERSION,
            digest: tree_apache::digest_of(view),
        };
        let mut write = || -> io::Result<u64> {
            let out = BufWriter::with_capacity(256 << 10, File::create_new(&path)?);
            let packer = packing.writer(out)?;
            let total = view.totals().nodes;
            let mut told = |nodes: u64| line.show("nodes written", nodes, Some(nodes as f64 / total.max(1) as f64));
            let writer = tree_apache::write(view, |sessions| SnapshotWriter::file(packer, sessions), &mut told)?;
            let (packer, bytes) = writer.finish(&digest, zxid.0 as i64)?;
            let file = packer.finish()?.into_inner().map_err(io::Error::from)?;
            file.sync_all()?;
            Ok(bytes)
        };
        write().map(|bytes| (name, bytes)).map_err(failed)
    }
}

/// The directories that are made, aside first.
struct Stage {
    data: Place,
    log: Place,
}

#[derive(Clone, PartialEq, Eq)]
struct Place {
    above: PathBuf,
    staged: PathBuf,
    target: PathBuf,
}

impl Stage {
    fn new(to: &Path, to_log: &Path) -> Result<Stage, String> {
        let stage = Stage {
            data: Place::new(to),
            log: Place::new(to_log),
        };
        for place in stage.places() {
            place.begin()?;
        }
        Ok(stage)
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        let other = (self.log != self.data).then_some(&self.log);
        // The log's directory first, see above.
        other.into_iter().chain([&self.data])
    }

    /// The epochs that the state is of (`QuorumPeer`): digits, no newline.
    fn epochs(&self, epoch: u32) -> Result<(), String> {
        for name in ["acceptedEpoch", "currentEpoch"] {
            let path = self.data.staged.join(name);
            let write = || {
                let mut file = File::create_new(&path)?;
                file.write_all(epoch.to_string().as_bytes())?;
                file.sync_all()
            };
            write().map_err(|error: io::Error| format!("cannot write {}: {error}", path.display()))?;
        }
        Ok(())
    }

    fn settle(&self) -> Result<(), String> {
        self.places().try_for_each(Place::settle)
    }
}

impl Place {
    fn new(above: &Path) -> Place {
        Place {
            above: above.to_owned(),
            staged: above.join(format!("{VERSION_DIRECTORY}.tmp")),
            target: above.join(VERSION_DIRECTORY),
        }
    }

    /// Refuses to overwrite, and begins anew what a crash interrupted.
    fn begin(&self) -> Result<(), String> {
        let failed = |what: &str, error: io::Error| format!("cannot {what} {}: {error}", self.staged.display());
        let found = directory::Directory::list(&self.above, &self.above).map_err(|error| error.to_string())?;
        let mut files = found.snapshots.iter().map(|file| &file.path);
        let file = files.next().or(found.logs.first().map(|file| &file.path));
        let other = || Some(&self.target).filter(|target| target.exists());
        if let Some(there) = file.or_else(other) {
            return Err(format!(
                "{} is there: a data directory is not overwritten. Use another one, or move this {VERSION_DIRECTORY} away",
                there.display()
            ));
        }
        match fs::remove_dir_all(&self.staged) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", error)),
            _ => {}
        }
        fs::create_dir_all(&self.staged).map_err(|error| failed("make", error))
    }

    fn settle(&self) -> Result<(), String> {
        let work = || {
            sync_dir(&self.staged)?;
            fs::rename(&self.staged, &self.target)?;
            sync_dir(&self.above)
        };
        work().map_err(|error: io::Error| format!("cannot give {} its name: {error}", self.target.display()))
    }
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Takes what the store holds, and passes the log on.
struct Reading<'l> {
    recovery: Recovery,
    log: Option<LogTail>,
    entries: u64,
    line: &'l mut Line,
}

impl Recover for Reading<'_> {
    fn begin_snapshot(&mut self, zxid: Zxid, seed: u64, meta: &[u8]) -> Result<(), String> {
        self.recovery.begin_snapshot(zxid, seed, meta)
    }

    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.entries += 1;
        self.line.show("entries read", self.entries, None);
        self.recovery.entry(key, value)
    }

    fn end_snapshot(&mut self) -> Result<(), String> {
        self.recovery.end_snapshot()
    }

    fn record(&mut self, zxid: Zxid, payload: &[u8]) -> Result<(), String> {
        self.recovery.record(zxid, payload)?;
        self.line.show("transactions replayed", self.recovery.replayed, None);
        match &mut self.log {
            Some(log) => log.append(zxid, payload),
            None => Ok(()),
        }
    }
}

/// The log behind the snapshot, as one file of ZooKeeper's.
struct LogTail {
    directory: PathBuf,
    file: Option<(Zxid, LogWriter<BufWriter<File>>)>,
    count: u64,
}

impl LogTail {
    fn new(place: &Place) -> LogTail {
        LogTail {
            directory: place.staged.clone(),
            file: None,
            count: 0,
        }
    }

    fn append(&mut self, zxid: Zxid, payload: &[u8]) -> Result<(), String> {
        let first = self.file.as_ref().map_or(zxid, |(first, _)| *first);
        let path = self.directory.join(log_name(first));
        let mut write = || {
            if self.file.is_none() {
                let file = BufWriter::with_capacity(256 << 10, File::create_new(&path)?);
                self.file = Some((zxid, LogWriter::new(file)?));
            }
            let (_, writer) = self.file.as_mut().expect("just made");
            writer.append(payload)
        };
        write().map_err(|error: io::Error| format!("cannot write {}: {error}", path.display()))?;
        self.count += 1;
        Ok(())
    }

    fn finish(self) -> Result<Option<(Zxid, u64)>, String> {
        let Some((first, writer)) = self.file else {
            return Ok(None);
        };
        let sync = || writer.into_inner().into_inner().map_err(io::Error::from)?.sync_all();
        sync().map_err(|error| {
            format!(
                "cannot write {}: {error}",
                self.directory.join(log_name(first)).display()
            )
        })?;
        Ok(Some((first, self.count)))
    }
}
