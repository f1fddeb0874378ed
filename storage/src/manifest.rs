//! Which files must exist: the store's id, its snapshots, its log segments. A missing one is never an empty tree.
//!
//! A text file in the data directory, replaced as a whole (written aside, synced, renamed, directory synced). A segment
//! is listed before the first batch is written to it; a snapshot is listed after it is whole; both are taken off the
//! list before they are removed. So an unlisted file is what an interrupted step left, and holds nothing acknowledged.
//! Also here: which snapshot is meant (its sum), and how far the log led when it was last closed in order, so that an
//! older copy of its last segment is seen; where the log was cut (`rewind`); and a member's two epochs.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::Zxid;
use crate::format::{segment_name, snapshot_name, used};

/// Its name in the data directory.
pub const MANIFEST: &str = "manifest";

const FIRST_LINE: &str = "ringkeeper manifest 1";

/// A listed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedSegment {
    /// Counts the store's segments from 1.
    pub number: u64,
    /// Names the file.
    pub first: Zxid,
    /// The state that its first record is applied to.
    pub base: Zxid,
}

impl ListedSegment {
    /// Its file in the log directory.
    pub fn name(&self) -> String {
        segment_name(self.first)
    }
}

/// What must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The store, in each of its segments.
    pub store: u64,
    /// Counts the manifest's own versions.
    pub generation: u64,
    /// Snapshots, oldest first.
    pub snapshots: Vec<Zxid>,
    /// The sums of the listed snapshots, as [`crate::snapshot::Summary::sum`]; others may be left from before.
    pub sums: BTreeMap<Zxid, u32>,
    /// How far the log led when it was last closed in order: it never leads less far again.
    pub reached: Zxid,
    /// Segments, oldest first, their numbers without a gap. What a segment holds behind the next one's base is void.
    pub segments: Vec<ListedSegment>,
    /// What the last segment holds behind this is void, too.
    pub cut: Option<Zxid>,
    /// Files were taken off the list by `rewind` and are not removed yet: nothing that is not listed is worth anything.
    pub sweeping: bool,
    /// The newest epoch that this member of an ensemble promised to follow, 0 before the first.
    pub accepted_epoch: u32,
    /// The epoch whose first history is here, 0 before the first.
    pub current_epoch: u32,
}

impl Manifest {
    /// Of a store that holds nothing yet.
    pub fn new(store: u64) -> Manifest {
        Manifest {
            store,
            generation: 0,
            snapshots: Vec::new(),
            sums: BTreeMap::new(),
            reached: Zxid::ZERO,
            segments: Vec::new(),
            cut: None,
            sweeping: false,
            accepted_epoch: 0,
            current_epoch: 0,
        }
    }

    /// The file.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!(
            "{FIRST_LINE}\nstore {:016x}\ngeneration {}\n",
            self.store, self.generation
        );
        for zxid in &self.snapshots {
            let sum = self.sums.get(zxid).map(|sum| format!(" {sum:08x}")).unwrap_or_default();
            writeln!(text, "snapshot {:016x}{sum}", zxid.0).expect("a string takes all");
        }
        if self.reached > Zxid::ZERO {
            writeln!(text, "reached {:016x}", self.reached.0).expect("a string takes all");
        }
        for segment in &self.segments {
            let ListedSegment { number, first, base } = segment;
            writeln!(text, "segment {number} {:016x} {:016x}", first.0, base.0).expect("a string takes all");
        }
        if let Some(cut) = self.cut {
            writeln!(text, "cut {:016x}", cut.0).expect("a string takes all");
        }
        if self.sweeping {
            text.push_str("sweeping\n");
        }
        if self.accepted_epoch > 0 {
            let (accepted, current) = (self.accepted_epoch, self.current_epoch);
            writeln!(text, "epochs {accepted:08x} {current:08x}").expect("a string takes all");
        }
        let crc = crc32c::crc32c(text.as_bytes());
        writeln!(text, "crc32c {crc:08x}").expect("a string takes all");
        text.into_bytes()
    }

    /// Reads it back; an error is an offset and what is wrong there.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, (usize, &'static str)> {
        // One that was written over a file laid out in reserve ends in what is left of that: zeros.
        let bytes = &bytes[..used(bytes)];
        let text = std::str::from_utf8(bytes).map_err(|error| (error.valid_up_to(), "not text"))?;
        let trailer = "crc32c 01234567\n".len();
        let body_end = bytes.len().checked_sub(trailer).ok_or((bytes.len(), "cut short"))?;
        let (Some(body), Some(line)) = (text.get(..body_end), text.get(body_end..)) else {
            return Err((body_end, "no checksum at the end"));
        };
        if line != format!("crc32c {:08x}\n", crc32c::crc32c(body.as_bytes())) {
            return Err((body_end, "the checksum at the end does not match"));
        }
        let mut lines = body.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err((0, "not a manifest of this version"));
        }
        let mut manifest = Manifest::new(0);
        for line in lines {
            let at = line.as_ptr() as usize - text.as_ptr() as usize;
            manifest.take(line).ok_or((at, "a line nobody writes"))?;
        }
        Ok(manifest)
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let hex = |digits: &str| u64::from_str_radix(digits, 16).ok();
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["store", store] => self.store = hex(store)?,
            ["generation", generation] => self.generation = generation.parse().ok()?,
            ["snapshot", zxid] => self.snapshots.push(Zxid(hex(zxid)?)),
            ["snapshot", zxid, sum] => {
                let zxid = Zxid(hex(zxid)?);
                self.snapshots.push(zxid);
                self.sums.insert(zxid, u32::from_str_radix(sum, 16).ok()?);
            }
            ["reached", zxid] => self.reached = Zxid(hex(zxid)?),
            ["cut", zxid] => self.cut = Some(Zxid(hex(zxid)?)),
            ["sweeping"] => self.sweeping = true,
            ["epochs", accepted, current] => {
                // Before the first promise there is no such line.
                self.accepted_epoch = u32::from_str_radix(accepted, 16).ok().filter(|epoch| *epoch > 0)?;
                self.current_epoch = u32::from_str_radix(current, 16).ok()?;
            }
            ["segment", number, first, base] => {
                let (first, base) = (Zxid(hex(first)?), Zxid(hex(base)?));
                let number = number.parse().ok()?;
                self.segments.push(ListedSegment { number, first, base });
            }
            _ => return None,
        }
        Some(())
    }

    /// Where the records of a segment of the list end that are still worth something.
    pub(crate) fn valid_through(&self, index: usize) -> Zxid {
        let next = self.segments.get(index + 1).map(|next| next.base);
        next.or(self.cut).unwrap_or(Zxid(u64::MAX))
    }

    /// Names of the listed snapshots, oldest first.
    pub fn snapshot_names(&self) -> impl Iterator<Item = String> {
        self.snapshots.iter().map(|zxid| snapshot_name(*zxid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let segment = |number, first, base| ListedSegment { number, first, base };
        Manifest {
            store: 0xabc,
            generation: 12,
            snapshots: vec![Zxid(5), Zxid::new(1, 2)],
            sums: BTreeMap::from([(Zxid::new(1, 2), 0x0a)]),
            reached: Zxid::new(1, 7),
            segments: vec![segment(3, Zxid(4), Zxid(3)), segment(4, Zxid::new(1, 1), Zxid(9))],
            ..Manifest::new(0)
        }
    }

    #[test]
    fn golden_bytes() {
        let text = String::from_utf8(sample().encode()).unwrap();
        let (body, crc) = text.split_at(text.len() - 16);
        let want = "ringkeeper manifest 1\nstore 0000000000000abc\ngeneration 12\nsnapshot 0000000000000005\n\
                    snapshot 0000000100000002 0000000a\nreached 0000000100000007\nsegment 3 0000000000000004 0000000000000003\n\
                    segment 4 0000000100000001 0000000000000009\n";
        assert_eq!(body, want);
        assert_eq!(crc, "crc32c 45d2633d\n");
        assert_eq!(Manifest::decode(text.as_bytes()), Ok(sample()));
    }

    #[test]
    fn a_member_has_more_lines() {
        let member = Manifest {
            cut: Some(Zxid::new(1, 6)),
            sweeping: true,
            accepted_epoch: 3,
            current_epoch: 2,
            ..sample()
        };
        let text = String::from_utf8(member.encode()).unwrap();
        assert!(
            text.contains("\ncut 0000000100000006\nsweeping\nepochs 00000003 00000002\ncrc32c"),
            "{text}"
        );
        assert_eq!(Manifest::decode(text.as_bytes()), Ok(member));
    }

    /// As the fuzzer found: it was read, and lost when it was written again.
    #[test]
    fn an_epoch_without_a_promise_is_no_line_of_ours() {
        let body = format!("{FIRST_LINE}\nepochs 00000000 00000002\n");
        let text = format!("{body}crc32c {:08x}\n", crc32c::crc32c(body.as_bytes()));
        assert_eq!(
            Manifest::decode(text.as_bytes()),
            Err((FIRST_LINE.len() + 1, "a line nobody writes"))
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let bytes = sample().encode();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&damaged).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
