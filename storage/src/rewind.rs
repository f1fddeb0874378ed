//! Going back: a log cut behind a zxid, a whole state from elsewhere in the place of everything; and a member's epochs.
//!
//! A member of an ensemble may have logged what was never decided, and is then told to forget it. Nothing of the log is
//! written over for that. One new manifest decides; what stood behind it is only tidying up, which the next start does
//! if a crash comes first:
//!
//! | step | a crash behind it leaves | recovery |
//! |---|---|---|
//! | truncate: manifest with the cut, `sweeping`, without what lies behind it | files that are not listed | removes them |
//! | install: the snapshot under a name of its own, synced | a file that is not listed | removes it: nothing has changed |
//! | install: manifest with that snapshot alone, `sweeping` | files that are not listed | removes them, renames it |
//! | both: files removed and renamed, directories synced | a manifest that says `sweeping` | says it no more |
//!
//! Records behind the cut stay in the last segment, and are void: first because the manifest names the cut, later
//! because the next segment, which is begun in any case, says with its base where it goes on.

use std::io;
use std::path::PathBuf;

use crate::Zxid;
use crate::engine::{Engine, write_durably};
use crate::error::OpenError;
use crate::format::{parse_segment_name, parse_snapshot_name, snapshot_name};
use crate::log::{Log, Tail};
use crate::manifest::Manifest;
use crate::reader::LogReader;
use crate::recover::installed_name;
use crate::snapshot::{self, Summary};
use crate::store::Store;

/// A state that was written whole, and counts for nothing until it is installed.
#[derive(Debug)]
pub struct Received {
    zxid: Zxid,
    /// What was written.
    pub summary: Summary,
    /// Where it will lie.
    pub path: PathBuf,
}

impl Engine {
    /// The newest epoch promised, and the epoch whose first history is here.
    pub fn epochs(&self) -> (u32, u32) {
        let manifest = self.store().manifest.lock();
        (manifest.accepted_epoch, manifest.current_epoch)
    }

    /// Notes both, durably; neither ever goes back. Blocks.
    ///
    /// # Errors
    /// The manifest cannot be written; then neither was noted.
    pub fn set_epochs(&self, accepted: u32, current: u32) -> io::Result<()> {
        let (accepted_before, current_before) = self.epochs();
        assert!(
            accepted_before <= accepted && current_before <= current && current <= accepted,
            "epochs {accepted_before} and {current_before} become {accepted} and {current}"
        );
        self.store().update_in_need(|manifest| {
            manifest.accepted_epoch = accepted;
            manifest.current_epoch = current;
        })
    }

    /// Removes everything behind `zxid` from the log, and the snapshots behind it. The log must be idle. Blocks. On an
    /// error the log must not be written to again.
    ///
    /// # Errors
    /// The zxid is not in the log, or the disk fails.
    pub fn truncate(&self, log: &mut Log, zxid: Zxid) -> io::Result<()> {
        assert!(log.is_idle() && zxid <= log.durable(), "{zxid} ≤ {}", log.durable());
        if zxid == log.durable() {
            return Ok(());
        }
        let _one = self.snapshotting().lock();
        let store = self.store();
        let before = store.manifest.lock().clone();
        let after = cut(&before, zxid);
        let tail = store.tail_at(&after, zxid)?;
        store.update_in_need(|manifest| *manifest = after)?;
        store.end_sweep()?;
        log.resume(tail);
        Ok(())
    }

    /// Writes a state that came from elsewhere, without touching what is here. Blocks; made for a thread of its own.
    ///
    /// # Errors
    /// The disk fails; nothing has changed then.
    pub fn receive<'a>(
        &self,
        zxid: Zxid,
        seed: u64,
        meta: &[u8],
        entries: &mut dyn Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> io::Result<Received> {
        let store = self.store();
        let path = store.data.join(installed_name(zxid));
        if store.disk.length(&path).is_ok() {
            store.disk.remove(&path)?;
        }
        let write = |out: &mut dyn io::Write| snapshot::write(out, zxid, seed, meta, entries, None);
        let written = write_durably(&*store.disk, &path, write);
        if written.is_err() {
            // Most often the disk is full: the log needs what this took.
            let _ = store.disk.remove(&path);
        }
        let summary = written?;
        store.disk.sync_dir(&store.data)?;
        let path = store.data.join(snapshot_name(zxid));
        Ok(Received { zxid, summary, path })
    }

    /// Puts a received state in the place of every snapshot and of the whole log. The log must be idle. Blocks. On an
    /// error the log must not be written to again.
    ///
    /// # Errors
    /// The disk fails; the next start finds either what was there before, or the new state.
    pub fn install(&self, log: &mut Log, received: &Received) -> io::Result<()> {
        assert!(log.is_idle(), "the log is idle");
        let _one = self.snapshotting().lock();
        let store = self.store();
        store.update_in_need(|manifest| {
            manifest.snapshots = vec![received.zxid];
            manifest.sums.insert(received.zxid, received.summary.sum);
            manifest.segments.clear();
            manifest.reached = Zxid::ZERO;
            manifest.cut = None;
            manifest.sweeping = true;
        })?;
        store.end_sweep()?;
        log.resume(Tail::beginning(received.zxid));
        Ok(())
    }
}

/// What is listed afterwards.
fn cut(before: &Manifest, zxid: Zxid) -> Manifest {
    let mut after = before.clone();
    after.snapshots.retain(|snapshot| *snapshot <= zxid);
    after.segments.retain(|segment| segment.first <= zxid);
    after.reached = after.reached.min(zxid);
    after.cut = after.segments.last().map(|_| zxid);
    after.sweeping = true;
    after
}

impl Store {
    /// Where the log goes on behind the cut: at the end of what stays of it, in a segment of its own.
    fn tail_at(&self, manifest: &Manifest, zxid: Zxid) -> io::Result<Tail> {
        let newest = manifest.snapshots.last().copied().unwrap_or(Zxid::ZERO);
        let Some(last) = manifest.segments.last() else {
            return match newest == zxid {
                true => Ok(Tail::beginning(zxid)),
                false => Err(absent(zxid)),
            };
        };
        let path = self.log.join(last.name());
        let mut is_there = newest == zxid || last.base == zxid;
        let mut reader = LogReader::new(&*self.disk);
        reader
            .segment(&path, &mut |item| {
                is_there |= item.zxid == zxid;
                Ok(())
            })
            .map_err(|stop| io::Error::other(format!("{}: {stop:?}", path.display())))?;
        if !is_there {
            return Err(absent(zxid));
        }
        let end = reader.before().expect("a segment was read");
        Ok(Tail {
            segment: None,
            offset: end.end,
            index: end.batches,
            number: last.number,
            logged: end.logged,
            chain: end.chain,
            state: zxid,
        })
    }

    /// Ends what `truncate` or `install` began: removes what is not listed any more.
    pub(crate) fn end_sweep(&self) -> io::Result<()> {
        let manifest = self.manifest.lock().clone();
        if !manifest.sweeping {
            return Ok(());
        }
        for name in self.disk.list(&self.data)? {
            let path = self.data.join(&name);
            let installed = name.strip_suffix(".installed");
            let Some(zxid) = parse_snapshot_name(installed.unwrap_or(&name)) else {
                continue;
            };
            match (installed, manifest.snapshots.contains(&zxid)) {
                (Some(last_name), true) => self.disk.rename(&path, &self.data.join(last_name))?,
                (None, true) => {}
                (_, false) => self.disk.remove(&path)?,
            }
        }
        for name in self.disk.list(&self.log)? {
            let listed = |first| manifest.segments.iter().any(|segment| segment.first == first);
            if parse_segment_name(&name).is_some_and(|first| !listed(first)) {
                self.disk.remove(&self.log.join(name))?;
            }
        }
        self.disk.sync_dir(&self.data)?;
        self.disk.sync_dir(&self.log)?;
        self.update_in_need(|manifest| {
            manifest.sweeping = false;
            let listed = &manifest.snapshots;
            manifest.sums.retain(|zxid, _| listed.contains(zxid));
        })
    }
}

impl Tail {
    /// Of a store that has a snapshot and no log.
    pub(crate) fn beginning(state: Zxid) -> Tail {
        Tail {
            segment: None,
            offset: 0,
            index: 0,
            number: 0,
            logged: Zxid::ZERO,
            chain: 0,
            state,
        }
    }
}

fn absent(zxid: Zxid) -> io::Error {
    io::Error::other(format!(
        "the log cannot be cut behind zxid {zxid}: that transaction is not in it"
    ))
}

/// Reads back what a member promised, without opening the store: 0 and 0 if there is none.
///
/// # Errors
/// As reading the manifest.
pub fn epochs(options: &crate::engine::Options) -> Result<(u32, u32), OpenError> {
    let (data, log) = (
        options.data_dir.join(crate::engine::DIRECTORY),
        options.log_dir.join(crate::engine::DIRECTORY),
    );
    let places = crate::recover::Places {
        disk: &crate::disk::RealDisk,
        data: &data,
        log: &log,
    };
    let manifest = crate::recover::read_manifest(places)?;
    Ok(manifest.map_or((0, 0), |manifest| (manifest.accepted_epoch, manifest.current_epoch)))
}
