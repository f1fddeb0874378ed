//! What may go: snapshots beyond a count, an age or a sum of bytes, and the segments that not even the oldest kept
//! snapshot needs.
//!
//! Invariant: the newest snapshot always stays, and from each snapshot that stays the whole log behind it. As long as
//! there are fewer snapshots than are to be kept, the empty tree counts as the oldest: the whole log stays, so that
//! damage to a snapshot always leaves a way back, unless the bytes say that it cannot. The last segment always stays.

use std::fmt;
use std::path::PathBuf;

use crate::Zxid;
use crate::format::{parse_snapshot_name, snapshot_name};
use crate::manifest::{ListedSegment, Manifest};
use crate::store::Store;

/// What is kept. A file goes if any of the three says so; one snapshot and what it needs stays whatever they say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retain {
    /// Snapshots at most; 0 is taken as 1.
    pub snapshots: usize,
    /// Seconds since a snapshot was written, at most.
    pub age_s: Option<u64>,
    /// Bytes of all snapshots and segments, at most.
    pub bytes: Option<u64>,
    /// Seconds of the wall clock, for the age: the engine has no clock.
    pub now_s: fn() -> u64,
}

impl Default for Retain {
    fn default() -> Retain {
        Retain {
            snapshots: 3,
            age_s: None,
            bytes: None,
            now_s: || 0,
        }
    }
}

/// What a purge freed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Snapshots removed.
    pub snapshots: Vec<Zxid>,
    /// First zxids of segments removed or kept for later use.
    pub segments: Vec<Zxid>,
    /// The transactions in those segments: the first one, and the last one.
    pub zxids: Option<(Zxid, Zxid)>,
    /// Snapshots removed that a start had set aside as damaged.
    pub damaged: Vec<PathBuf>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Files that could not be removed, and why; the next start removes them.
    pub failed: Vec<String>,
}

impl Purged {
    /// Whether there was nothing to do.
    pub fn is_empty(&self) -> bool {
        self.files() == 0 && self.failed.is_empty()
    }

    /// How many files went.
    pub fn files(&self) -> usize {
        self.snapshots.len() + self.segments.len() + self.damaged.len()
    }
}

impl fmt::Display for Purged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing to purge");
        }
        let (snapshots, segments) = (self.snapshots.len(), self.segments.len());
        write!(
            f,
            "purged {} files, {} bytes: {snapshots} snapshots",
            self.files(),
            self.bytes
        )?;
        if !self.snapshots.is_empty() {
            let zxids: Vec<String> = self.snapshots.iter().map(Zxid::to_string).collect();
            write!(f, " (zxid {})", zxids.join(", "))?;
        }
        write!(f, ", {segments} log segments")?;
        if let Some((first, last)) = self.zxids {
            write!(f, " (zxid {first} to {last})")?;
        }
        if !self.damaged.is_empty() {
            write!(f, ", {} damaged snapshots", self.damaged.len())?;
        }
        self.failed.iter().try_for_each(|text| write!(f, "; {text}"))
    }
}

/// What the listed files are like, in the manifest's order.
#[derive(Clone, Debug, Default)]
struct Files {
    /// Bytes and age in seconds.
    snapshots: Vec<(u64, u64)>,
    /// Bytes.
    segments: Vec<u64>,
}

/// What goes: so many of the oldest snapshots, and of the oldest segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Surplus {
    snapshots: usize,
    segments: usize,
}

fn surplus(manifest: &Manifest, files: &Files, retain: &Retain) -> Surplus {
    let Some(others) = manifest.snapshots.len().checked_sub(1) else {
        return Surplus::default();
    };
    let kept = retain.snapshots.max(1);
    let is_old = |(_, age_s): &&(u64, u64)| retain.age_s.is_some_and(|max| *age_s > max);
    let old = files.snapshots.iter().take_while(is_old).count();
    let snapshots = manifest.snapshots.len().saturating_sub(kept).max(old).min(others);
    // The empty tree is the oldest of all as long as nothing was to go.
    let whole_log = snapshots == 0 && manifest.snapshots.len() < kept;
    let mut choice = Surplus {
        snapshots,
        segments: if whole_log { 0 } else { unneeded(manifest, snapshots) },
    };
    let bytes_max = retain.bytes.unwrap_or(u64::MAX);
    while files.bytes_without(choice) > bytes_max {
        if choice.segments == unneeded(manifest, choice.snapshots) {
            if choice.snapshots == others {
                break;
            }
            choice.snapshots += 1;
        }
        choice.segments = unneeded(manifest, choice.snapshots);
    }
    choice
}

/// Segments that the oldest snapshot does not need once so many are gone: each that ends where a later one begins, at
/// or before it.
fn unneeded(manifest: &Manifest, gone: usize) -> usize {
    let oldest = manifest.snapshots[gone];
    let bases = manifest.segments.iter().skip(1).map(|next| next.base);
    bases.take_while(|base| *base <= oldest).count()
}

impl Files {
    fn bytes_without(&self, gone: Surplus) -> u64 {
        let snapshots = self.snapshots.iter().skip(gone.snapshots).map(|(bytes, _)| bytes);
        snapshots.chain(self.segments.iter().skip(gone.segments)).sum()
    }
}

impl Store {
    /// Takes the surplus off the manifest, then off the disk. One at a time, and never beside a snapshot.
    pub(crate) fn purge(&self, retain: &Retain) -> std::io::Result<Purged> {
        let manifest = self.manifest.lock().clone();
        let files = self.files(&manifest, retain);
        let choice = surplus(&manifest, &files, retain);
        let mut purged = Purged::default();
        if choice != Surplus::default() {
            // The log may list another segment meanwhile, but only behind all of these.
            self.update(|manifest| {
                manifest.snapshots.drain(..choice.snapshots);
                manifest.segments.drain(..choice.segments);
            })?;
            let gone = &manifest.segments[..choice.segments];
            purged.zxids = gone
                .first()
                .map(|first| first.first)
                .zip(next_base(&manifest, choice.segments));
            self.remove_snapshots(&manifest.snapshots[..choice.snapshots], &mut purged);
            self.remove_segments(gone, &mut purged);
        }
        self.remove_damaged(retain, &mut purged)?;
        if purged.files() > 0 {
            self.disk.sync_dir(&self.data)?;
            self.disk.sync_dir(&self.log)?;
        }
        Ok(purged)
    }

    /// Lengths and ages, where they decide anything.
    fn files(&self, manifest: &Manifest, retain: &Retain) -> Files {
        let now_s = (retain.now_s)();
        let length = |path: PathBuf| self.disk.length(&path).unwrap_or(0);
        let snapshots = manifest.snapshot_names().map(|name| {
            let path = self.data.join(name);
            // A file whose time cannot be told is young.
            let age_s = self.disk.modified_s(&path).map_or(0, |at| now_s.saturating_sub(at));
            (length(path), age_s)
        });
        let segments = manifest
            .segments
            .iter()
            .map(|segment| length(self.log.join(segment.name())));
        Files {
            snapshots: snapshots.collect(),
            segments: segments.collect(),
        }
    }

    fn remove_snapshots(&self, zxids: &[Zxid], purged: &mut Purged) {
        for zxid in zxids {
            let path = self.data.join(snapshot_name(*zxid));
            let bytes = self.disk.length(&path).unwrap_or(0);
            match self.disk.discard(&path) {
                Ok(()) => {
                    purged.bytes += bytes;
                    purged.snapshots.push(*zxid);
                }
                Err(error) => purged.failed.push(format!("cannot remove {}: {error}", path.display())),
            }
        }
    }

    fn remove_segments(&self, segments: &[ListedSegment], purged: &mut Purged) {
        for segment in segments {
            let path = self.log.join(segment.name());
            let bytes = self.disk.length(&path).unwrap_or(0);
            match self.ahead.retire(&path, bytes) {
                Ok(()) => {
                    purged.bytes += bytes;
                    purged.segments.push(segment.first);
                }
                Err(error) => purged.failed.push(format!("cannot remove {}: {error}", path.display())),
            }
        }
    }

    /// A damaged snapshot is kept for who wants to look into it, until as many whole ones as are kept are newer.
    fn remove_damaged(&self, retain: &Retain, purged: &mut Purged) -> std::io::Result<()> {
        let newest_first = self.manifest.lock().snapshots.iter().rev().copied().collect::<Vec<_>>();
        let Some(oldest) = newest_first.get(retain.snapshots.max(1) - 1).copied() else {
            return Ok(());
        };
        for name in self.disk.list(&self.data)? {
            let zxid = name.strip_suffix(".damaged").and_then(parse_snapshot_name);
            if zxid.is_none_or(|zxid| zxid >= oldest) {
                continue;
            }
            let path = self.data.join(name);
            let bytes = self.disk.length(&path).unwrap_or(0);
            match self.disk.discard(&path) {
                Ok(()) => {
                    purged.bytes += bytes;
                    purged.damaged.push(path);
                }
                Err(error) => purged.failed.push(format!("cannot remove {}: {error}", path.display())),
            }
        }
        Ok(())
    }
}

/// Where the segment begins that stays as the oldest: the last transaction of those that go.
fn next_base(manifest: &Manifest, gone: usize) -> Option<Zxid> {
    manifest.segments.get(gone).map(|next| next.base)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    /// Ten bytes for each file; snapshots of the given ages.
    fn files(manifest: &Manifest, ages: &[u64]) -> Files {
        let age = |index| ages.get(index).copied().unwrap_or(0);
        Files {
            snapshots: (0..manifest.snapshots.len()).map(|index| (10, age(index))).collect(),
            segments: vec![10; manifest.segments.len()],
        }
    }

    fn check(snapshots: &[u64], bases: &[u64], ages: &[u64], retain: Retain, want: (usize, usize)) {
        let manifest = manifest(snapshots, bases);
        let got = surplus(&manifest, &files(&manifest, ages), &retain);
        assert_eq!(
            (got.snapshots, got.segments),
            want,
            "{snapshots:?} {bases:?} {ages:?} {retain:?}"
        );
    }

    fn count(snapshots: usize) -> Retain {
        Retain {
            snapshots,
            ..Retain::default()
        }
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
            check(snapshots, bases, &[], count(retain), want);
        }
    }

    #[test]
    fn what_is_too_old_goes_but_never_the_newest() {
        let age = |age_s| Retain {
            age_s: Some(age_s),
            ..Retain::default()
        };
        check(&[5, 15, 25], &[0, 10, 20], &[90, 50, 10], age(60), (1, 1));
        check(&[5, 15, 25], &[0, 10, 20], &[90, 50, 10], age(90), (0, 0));
        check(&[5, 15, 25], &[0, 10, 20], &[90, 50, 10], age(5), (2, 2));
        check(&[5, 15], &[0, 10, 20], &[90, 50], age(60), (1, 1));
        check(&[5], &[0, 10, 20], &[90], age(60), (0, 0));
    }

    #[test]
    fn too_many_bytes_cost_the_old_log_first_then_old_snapshots_but_never_the_newest() {
        let bytes = |bytes| Retain {
            bytes: Some(bytes),
            ..Retain::default()
        };
        // Two snapshots of three: the log from the beginning is kept while there is room.
        check(&[15, 25], &[0, 10, 20], &[], bytes(50), (0, 0));
        check(&[15, 25], &[0, 10, 20], &[], bytes(49), (0, 1));
        check(&[15, 25], &[0, 10, 20], &[], bytes(39), (1, 2));
        check(&[15, 25], &[0, 10, 20], &[], bytes(0), (1, 2));
        check(&[], &[0, 10, 20], &[], bytes(0), (0, 0));
    }

    proptest! {
        /// Whatever the limits: the newest snapshot stays, each kept one has its log, nothing needless is kept by a
        /// count alone, and bytes above the limit mean that nothing more could go.
        #[test]
        fn any_choice_keeps_what_is_needed(
            mut snapshots in prop::collection::btree_set(0u64..60, 0..6),
            mut bases in prop::collection::btree_set(1u64..60, 0..6),
            ages in prop::collection::vec(0u64..100, 6),
            keep in 0usize..5,
            age_s in prop::option::of(0u64..100),
            bytes in prop::option::of(0u64..130),
        ) {
            bases.insert(0);
            let (snapshots, bases): (Vec<u64>, Vec<u64>) =
                (std::mem::take(&mut snapshots).into_iter().collect(), std::mem::take(&mut bases).into_iter().collect());
            let manifest = manifest(&snapshots, &bases);
            let files = files(&manifest, &ages);
            let retain = Retain { snapshots: keep, age_s, bytes, ..Retain::default() };
            let gone = surplus(&manifest, &files, &retain);
            let kept = &snapshots[gone.snapshots..];
            prop_assert_eq!(kept.is_empty(), snapshots.is_empty());
            prop_assert!(gone.segments < bases.len());
            let log_from = bases[gone.segments];
            prop_assert!(kept.iter().all(|zxid| log_from <= *zxid), "{:?}", gone);
            prop_assert!(kept.len() <= keep.max(1));
            if let Some(bytes) = bytes.filter(|bytes| files.bytes_without(gone) > *bytes) {
                let least = !snapshots.is_empty() && kept.len() > 1;
                prop_assert!(!least, "{} bytes allowed, {:?}", bytes, gone);
            }
        }
    }
}
