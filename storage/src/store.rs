//! What engine, log and helper threads share: the disk, the two directories, the manifest, the segments made ahead.
//! Invariant: the manifest in memory is never ahead of the one on the disk.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::ahead::Ahead;
use crate::disk::{Access, Disk, Lock, context, replace};
use crate::manifest::{MANIFEST, Manifest};

/// The lock's file, in each of the two directories.
pub(crate) const LOCK: &str = "lock";

/// How the log's files are made and written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogOptions {
    /// Bytes of a full-grown segment.
    pub segment_bytes: u64,
    /// Bytes of the store's first segment; each next one is four times as large, up to `segment_bytes`.
    pub segment_bytes_first: u64,
    /// How segments are opened.
    pub access: Access,
    /// Mixed into the salts.
    pub salt: u64,
}

/// Shared by the engine, the log and each of its segments.
pub(crate) struct Store {
    pub disk: Arc<dyn Disk>,
    pub data: PathBuf,
    pub log: PathBuf,
    pub options: LogOptions,
    pub ahead: Ahead,
    pub store: u64,
    pub manifest: Mutex<Manifest>,
    /// Held as long as anything of the store is.
    pub _locks: Vec<Lock>,
}

impl Store {
    /// Changes the manifest: on the disk first, then in memory.
    pub fn update(&self, change: impl FnOnce(&mut Manifest)) -> io::Result<()> {
        let mut manifest = self.manifest.lock();
        let mut next = manifest.clone();
        change(&mut next);
        next.generation += 1;
        replace(&*self.disk, &self.data, MANIFEST, &next.encode())
            .map_err(context("cannot write", &self.data.join(MANIFEST)))?;
        *manifest = next;
        Ok(())
    }

    /// How large the segment of that number is made, if nothing larger is needed.
    pub fn segment_bytes(&self, number: u64) -> u64 {
        let growth = 1u64 << (2 * (number - 1).min(20));
        let LogOptions {
            segment_bytes,
            segment_bytes_first,
            ..
        } = self.options;
        segment_bytes_first.saturating_mul(growth).min(segment_bytes)
    }

    /// A salt of its own for each segment number and run.
    pub fn salt(&self, number: u64) -> u64 {
        // splitmix64's step: neighbours in number are far apart.
        let mut mixed = self
            .options
            .salt
            .wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}
