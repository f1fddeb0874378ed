//! The reserve: files with real blocks under fixed names, so that the log can go on where nothing new can be made.
//!
//! Two segments, each as large as a store's first one (4 MiB unless configured smaller: a fresh store has 12 MiB on
//! the disk, and each of them takes about a thousand sessions that close one at a time, or thirty thousand that expire
//! together); and for each segment that may then be begun, and the one being written, a small file for the manifest
//! that lists it. Zeros are written, not only promised by fallocate: unwritten extents need metadata, and some file
//! systems take such promises back. One that copies on write (btrfs, a deduplicating array) promises nothing at all.
//!
//! The files stay over a restart, because the disk may be full by then. What is found is filled anew before it counts,
//! since a crash may have left a header in it. `ahead` lays them out and hands them out.
//!
//! Invariant: a fixed name that is not in the lists belongs to nobody. So a file loses its name in the same step in
//! which it leaves the list; whoever lays out the next one would otherwise fill a segment in use with zeros.

use std::path::Path;

use crate::ahead::{Plan, Spare};
use crate::disk::Disk;
use crate::room::RESERVE_SEGMENTS;

/// One for each reserved segment, and one for the segment that was about to begin when the disk filled up.
const RESERVE_MANIFESTS: usize = RESERVE_SEGMENTS + 1;

/// Room for some 1,400 lines of a manifest.
pub(crate) const MANIFEST_BYTES: u64 = 64 << 10;

const SEGMENT: &str = "reserve.";
const FOR_MANIFEST: &str = "reserve.manifest.";

/// What is laid out and not used.
#[derive(Debug, Default)]
pub(crate) struct Reserve {
    segments: Vec<Spare>,
    manifests: Vec<Spare>,
}

impl Reserve {
    /// Whether an earlier run left one.
    pub fn is_there(disk: &dyn Disk, plan: &Plan) -> bool {
        disk.length(&segment(plan, 1).path).is_ok()
    }

    /// Whether a file is one of the reserve's.
    pub fn is_its(path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(SEGMENT)
    }

    /// How many segments are laid out.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// What should be there and is not. Manifests first: they are small, and no segment is begun without one.
    pub fn missing(&self, plan: &Plan) -> Vec<Spare> {
        let manifests = (1..=RESERVE_MANIFESTS).map(|nth| manifest(plan, nth));
        let segments = (1..=RESERVE_SEGMENTS).map(|nth| segment(plan, nth));
        let is_in = |spare: &Spare| {
            let mut lists = self.manifests.iter().chain(&self.segments);
            lists.any(|other| other.path == spare.path)
        };
        manifests.chain(segments).filter(|spare| !is_in(spare)).collect()
    }

    /// One more is laid out.
    pub fn put(&mut self, spare: Spare) {
        let name = spare.path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(FOR_MANIFEST) {
            self.manifests.push(spare);
        } else {
            self.segments.push(spare);
        }
        assert!(self.segments.len() <= RESERVE_SEGMENTS && self.manifests.len() <= RESERVE_MANIFESTS);
    }

    /// Gives a segment of at least that size away, under another name.
    pub fn take_segment(&mut self, disk: &dyn Disk, to: &Path, least: u64) -> Option<Spare> {
        let index = self.segments.iter().position(|spare| spare.bytes >= least)?;
        take(&mut self.segments, index, disk, to)
    }

    /// Gives a file for the manifest away, under another name.
    pub fn take_manifest(&mut self, disk: &dyn Disk, to: &Path) -> Option<Spare> {
        let last = self.manifests.len().checked_sub(1)?;
        take(&mut self.manifests, last, disk, to)
    }
}

fn take(list: &mut Vec<Spare>, index: usize, disk: &dyn Disk, to: &Path) -> Option<Spare> {
    // A file that cannot be renamed could not become a segment either.
    disk.rename(&list[index].path, to).ok()?;
    let Spare { bytes, .. } = list.remove(index);
    let path = to.to_path_buf();
    Some(Spare { path, bytes })
}

fn segment(plan: &Plan, nth: usize) -> Spare {
    Spare {
        path: plan.log.join(format!("{SEGMENT}{nth}")),
        bytes: plan.reserve_bytes,
    }
}

fn manifest(plan: &Plan, nth: usize) -> Spare {
    Spare {
        path: plan.data.join(format!("{FOR_MANIFEST}{nth}")),
        bytes: MANIFEST_BYTES,
    }
}
