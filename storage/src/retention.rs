//! What may go after a snapshot: all but the newest snapshots, and the segments that not even the oldest of them needs.
//!
//! As long as there are fewer snapshots than are to be kept, the empty tree counts as the oldest: the whole log stays,
//! so that damage to a snapshot always leaves a way back. The last segment always stays.

use std::fmt;

use crate::Zxid;
use crate::disk::Disk;
use crate::format::snapshot_name;
use crate::manifest::{ListedSegment, Manifest};
use crate::store::Store;

/// What a purge freed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Snapshots removed.
    pub snapshots: Vec<Zxid>,
    /// First zxids of segments removed or kept for later use.
    pub segments: Vec<Zxid>,
    /// Bytes of both.
    pub bytes: u64,
    /// Files that could not be removed, and why; the next start removes them.
    pub failed: Vec<String>,
}

impl fmt::Display for Purged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (snapshots, segments) = (self.snapshots.len(), self.segments.len());
        write!(
            f,
            "purged {snapshots} snapshots and {segments} log segments, {} bytes",
            self.bytes
        )?;
        self.failed.iter().try_for_each(|text| write!(f, "; {text}"))
    }
}

/// Splits off what is not needed: snapshots and segments, oldest first.
pub(crate) fn split(manifest: &mut Manifest, retain: usize) -> (Vec<Zxid>, Vec<ListedSegment>) {
    let retain = retain.max(1);
    let Some(surplus) = manifest.snapshots.len().checked_sub(retain) else {
        return Default::default();
    };
    let snapshots: Vec<Zxid> = manifest.snapshots.drain(..surplus).collect();
    let oldest = manifest.snapshots[0];
    // A segment is needed up to the state that the next one begins from.
    let bases = manifest.segments.iter().skip(1).map(|next| next.base);
    let unneeded = bases.take_while(|base| *base <= oldest).count();
    (snapshots, manifest.segments.drain(..unneeded).collect())
}

/// Takes the surplus off the manifest, then off the disk.
pub(crate) fn purge(store: &Store, retain: usize) -> std::io::Result<Purged> {
    let mut surplus = split(&mut store.manifest.lock().clone(), retain);
    if surplus.0.is_empty() && surplus.1.is_empty() {
        return Ok(Purged::default());
    }
    store.update(|manifest| surplus = split(manifest, retain))?;
    let mut purged = Purged::default();
    for zxid in surplus.0 {
        let path = store.data.join(snapshot_name(zxid));
        let bytes = store.disk.length(&path).unwrap_or(0);
        match store.disk.remove(&path) {
            Ok(()) => {
                purged.bytes += bytes;
                purged.snapshots.push(zxid);
            }
            Err(error) => purged.failed.push(format!("cannot remove {}: {error}", path.display())),
        }
    }
    for segment in surplus.1 {
        let path = store.log.join(segment.name());
        let bytes = store.disk.length(&path).unwrap_or(0);
        match store.ahead.retire(&path, bytes) {
            Ok(()) => {
                purged.bytes += bytes;
                purged.segments.push(segment.first);
            }
            Err(error) => purged.failed.push(format!("cannot remove {}: {error}", path.display())),
        }
    }
    sync_dirs(&*store.disk, store)?;
    Ok(purged)
}

fn sync_dirs(disk: &dyn Disk, store: &Store) -> std::io::Result<()> {
    disk.sync_dir(&store.data)?;
    disk.sync_dir(&store.log)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(snapshots: &[u64], bases: &[u64]) -> Manifest {
        let mut manifest = Manifest::new(1);
        manifest.snapshots = snapshots.iter().map(|zxid| Zxid(*zxid)).collect();
        let segment = |(index, base): (usize, &u64)| ListedSegment {
            number: index as u64 + 1,
            first: Zxid(base + 1),
            base: Zxid(*base),
        };
        manifest.segments = bases.iter().enumerate().map(segment).collect();
        manifest
    }

    #[test]
    fn keeps_what_the_oldest_kept_snapshot_needs() {
        // (snapshots, bases of segments, kept) → (snapshots, segments) that go
        for (snapshots, bases, retain, want) in [
            (&[][..], &[0, 10, 20][..], 3, (0, 0)),
            (&[15], &[0, 10, 20], 3, (0, 0)),
            (&[15], &[0, 10, 20], 1, (0, 1)),
            (&[20], &[0, 10, 20], 1, (0, 2)),
            (&[19], &[0, 10, 20], 1, (0, 1)),
            (&[5, 25, 30], &[0, 10, 20], 2, (1, 2)),
            (&[5, 25, 30], &[0, 10, 20], 3, (0, 0)),
            (&[12, 25, 30], &[0, 10, 20], 3, (0, 1)),
            (&[99], &[0], 1, (0, 0)),
            (&[99], &[0], 0, (0, 0)),
            (&[98, 99], &[], 1, (1, 0)),
        ] {
            let mut left = manifest(snapshots, bases);
            let (gone_snapshots, gone_segments) = split(&mut left, retain);
            let got = (gone_snapshots.len(), gone_segments.len());
            assert_eq!(got, want, "{snapshots:?} {bases:?} {retain}");
            assert_eq!(left.snapshots.len() + got.0, snapshots.len());
            assert_eq!(left.segments.len() + got.1, bases.len());
        }
    }
}
