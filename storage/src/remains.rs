//! How far a store's files reach when one of them is damaged or missing: what a person must know to choose a way out,
//! and what `zk-server salvage` writes to a new directory.
//!
//! Runs only once recovery was refused, so it may read everything again. It goes the same way as recovery (the newest
//! whole snapshot, the log behind it, segment by segment), but ends where recovery would refuse.

use crate::Zxid;
use crate::engine::Recover;
use crate::error::Remains;
use crate::format::{BATCHES, BLOCK, BatchHeader, SECTOR, SegmentHeader};
use crate::manifest::Manifest;
use crate::reader::LogReader;
use crate::recover::{Places, Recovered, check_header, first_needed, load_one, replay_segment};

/// What is known of a store before its files are read.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub places: Places<'a>,
    pub manifest: &'a Manifest,
    pub threads: usize,
}

/// Takes everything and keeps nothing.
pub(crate) struct Nobody;

impl Recover for Nobody {
    fn begin_snapshot(&mut self, _zxid: Zxid, _seed: u64, _meta: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn entry(&mut self, _key: &[u8], _value: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn end_snapshot(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn record(&mut self, _zxid: Zxid, _payload: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// Hands on what is older than a zxid, and refuses the rest.
pub(crate) struct Before<'t> {
    pub zxid: Zxid,
    pub target: &'t mut dyn Recover,
}

impl Before<'_> {
    fn check(&self, zxid: Zxid) -> Result<(), String> {
        match zxid < self.zxid {
            true => Ok(()),
            false => Err(format!("zxid {} and what follows is left out", self.zxid)),
        }
    }
}

impl Recover for Before<'_> {
    fn begin_snapshot(&mut self, zxid: Zxid, seed: u64, meta: &[u8]) -> Result<(), String> {
        self.check(zxid)?;
        self.target.begin_snapshot(zxid, seed, meta)
    }

    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.target.entry(key, value)
    }

    fn end_snapshot(&mut self) -> Result<(), String> {
        self.target.end_snapshot()
    }

    fn record(&mut self, zxid: Zxid, payload: &[u8]) -> Result<(), String> {
        self.check(zxid)?;
        self.target.record(zxid, payload)
    }
}

impl Known<'_> {
    /// What there is without the file that is damaged or missing, which holds `lost` if that is given.
    pub fn remains(&self, lost: Option<Zxid>) -> Remains {
        let mut remains = self.gather(&mut Nobody);
        remains.known = remains.known.max(lost.unwrap_or_default());
        remains
    }

    /// What there is before a transaction, or a snapshot, that cannot be used.
    pub fn remains_before(&self, zxid: Zxid) -> Remains {
        let target = &mut Nobody;
        let mut remains = self.gather(&mut Before { zxid, target });
        remains.known = remains.known.max(zxid);
        remains
    }

    /// Hands over the newest whole snapshot that the target takes, and the log behind it up to the first damage.
    pub fn gather(&self, target: &mut dyn Recover) -> Remains {
        let mut recovered = Recovered::default();
        let snapshots = self.manifest.snapshots.iter().rev();
        let mut whole = snapshots.filter(|zxid| self.load(**zxid, target));
        let snapshot = whole.next().copied();
        recovered.state = snapshot.unwrap_or_default();
        let ended = self.follow(target, &mut recovered);
        let behind = self.manifest.segments.iter().skip(ended);
        let reached = recovered.state;
        Remains {
            snapshot,
            reached,
            resumes: behind.map(|segment| segment.base).find(|base| *base > reached),
            known: self.newest(),
        }
    }

    fn load(&self, zxid: Zxid, target: &mut dyn Recover) -> bool {
        let bytes = self.places.disk.map(&self.places.snapshot(self.manifest, zxid));
        bytes.is_ok_and(|bytes| load_one(&bytes, self.manifest, zxid, self.threads, target).is_ok())
    }

    /// Goes on from the state as far as the log leads; gives how many listed segments were passed.
    fn follow(&self, target: &mut dyn Recover, recovered: &mut Recovered) -> usize {
        let start = first_needed(self.manifest, recovered.state).unwrap_or(0);
        let mut reader = LogReader::new(self.places.disk);
        for (index, segment) in self.manifest.segments.iter().enumerate().skip(start) {
            let path = self.places.log.join(segment.name());
            let continues = |header: &SegmentHeader| reader.check_continues(&path, header).is_ok();
            let header = check_header(self.places, self.manifest, segment).ok().filter(continues);
            let leads_on = header.is_some_and(|header| header.base <= recovered.state);
            let through = self.manifest.valid_through(index);
            if !leads_on || replay_segment(&mut reader, &path, through, target, recovered).is_err() {
                return index;
            }
        }
        self.manifest.segments.len()
    }

    /// The newest transaction that a name, a header or a batch tells of.
    fn newest(&self) -> Zxid {
        let snapshots = self.manifest.snapshots.iter().copied();
        let bases = self.manifest.segments.iter().map(|segment| segment.base);
        let listed = snapshots.chain(bases).max().unwrap_or_default();
        let mut newest_first = self.manifest.segments.iter().rev();
        let logged = newest_first.find_map(|segment| {
            let (bytes, _) = self.places.disk.read_used(&self.places.log.join(segment.name())).ok()?;
            let header = SegmentHeader::decode(&bytes).ok()?;
            newest_batch(&bytes, &header)
        });
        // What was cut off is no transaction any more.
        let logged = logged
            .unwrap_or_default()
            .min(self.manifest.cut.unwrap_or(Zxid(u64::MAX)));
        listed.max(logged)
    }
}

/// The last transaction of any batch whose first sector is whole, wherever it lies.
fn newest_batch(bytes: &[u8], header: &SegmentHeader) -> Option<Zxid> {
    let sealer = header.sealer();
    let batches = (BATCHES as usize..bytes.len()).step_by(BLOCK).filter_map(|at| {
        let sector = bytes.get(at..at + SECTOR)?;
        let sealed = sealer.is_sealed(sector, at as u64, true);
        let batch = sealed.then(|| BatchHeader::decode(sector).ok()).flatten()?;
        Some(batch.last)
    });
    batches.max()
}
