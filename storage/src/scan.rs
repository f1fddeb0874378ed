//! One segment read from front to back, and what its end is: clean, torn, or damaged.
//!
//! What the verdicts rest on:
//!
//! 1. A disk writes 512-byte sectors whole or not at all; nothing else is assumed of the order or number in which the
//!    sectors of one write arrive.
//! 2. The segment was all zero on the disk before its header was written (`ahead`).
//! 3. One batch at a time: a batch was written only after the one before it was durable, a segment begun only after
//!    the last batch of the one before it was.
//!
//! So a crash leaves whole batches, then at most one batch in which some sectors are zero, then zeros. Where the batch
//! at an offset is not whole:
//!
//! | found | says | because |
//! |---|---|---|
//! | a sector neither zero nor sealed | corrupt | 1: no crash leaves it |
//! | a zero sector, and a later batch (or segment) | corrupt | 3: the batch was durable, perhaps acknowledged |
//! | zero sectors, other sealed sectors of that batch, nothing later | torn | it was never durable as a whole |
//! | nothing but zeros to the end of the file | clean | 2 |
//!
//! One case stays open to doubt: a durable last batch that later loses a *whole sector to zeros* looks torn. The log
//! narrows it to a process that was killed: an orderly end leaves a close mark, which is a later batch. A torn end is
//! never silent: it carries offset, length and, if the batch's head is there, the transactions that are gone.

use crate::Zxid;
use crate::format::{BATCHES, BLOCK, BatchHeader, SECTOR, SECTOR_DATA, Sealer, SegmentHeader, ZERO_SECTOR, file_bytes};
use crate::record::Batch;

/// Reads the batches of one segment.
pub struct SegmentScan<'a> {
    bytes: &'a [u8],
    length: u64,
    sealer: Sealer,
    offset: u64,
    index: u32,
    last: Zxid,
    chain: u32,
}

/// What comes next in a segment.
#[derive(Debug)]
pub enum Step {
    /// A whole batch that continues the one before.
    Batch(Batch),
    /// The end; nothing comes behind it.
    End(End),
}

/// How a segment ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Behind the last batch there are only zeros.
    Clean,
    /// The last write did not arrive as a whole.
    Torn(Torn),
    /// Something that was written is not there any more.
    Corrupt {
        /// Where in the file.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
}

/// A batch that did not arrive as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Where it begins.
    pub offset: u64,
    /// Bytes from there to the last one of it that arrived.
    pub bytes: u64,
    /// Its transactions, first and last, if its head arrived.
    pub zxids: Option<(Zxid, Zxid)>,
}

impl<'a> SegmentScan<'a> {
    /// Begins at the first batch. The header is the one decoded from these bytes, which are a file's as
    /// [`Disk::read_used`](crate::disk::Disk::read_used) has them: up to the length that the header tells, zeros follow.
    pub fn new(bytes: &'a [u8], header: &SegmentHeader) -> SegmentScan<'a> {
        SegmentScan {
            bytes,
            length: header.bytes,
            sealer: header.sealer(),
            offset: BATCHES,
            index: 0,
            last: header.base,
            chain: header.chain,
        }
    }

    /// Where the next batch would begin.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Batches so far, close marks included.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The last zxid so far; the segment's base before the first record.
    pub fn last(&self) -> Zxid {
        self.last
    }

    /// The crc of the last record so far.
    pub fn chain(&self) -> u32 {
        self.chain
    }

    /// The next batch, or how it ends. After an end, the same end again.
    pub fn step(&mut self) -> Step {
        match self.batch() {
            Ok(batch) => {
                self.offset = batch.end();
                self.index += 1;
                self.last = batch.header.last;
                self.chain = batch.header.chain_after;
                Step::Batch(batch)
            }
            Err(end) => Step::End(end),
        }
    }

    fn batch(&self) -> Result<Batch, End> {
        let Some(head) = self.sector(self.offset) else {
            return Err(if self.offset >= self.bytes.len() as u64 {
                End::Clean
            } else {
                corrupt(self.offset, "the file is not made of whole blocks")
            });
        };
        if head == ZERO_SECTOR {
            return Err(self.survey(self.offset, None));
        }
        if !self.sealer.is_sealed(head, self.offset, true) {
            return Err(corrupt(self.offset, "a batch's first sector does not match its seal"));
        }
        let header = BatchHeader::decode(head).map_err(|reason| corrupt(self.offset, reason))?;
        if header.index != self.index {
            let reason = format!("batch {} where batch {} belongs", header.index, self.index);
            return Err(corrupt(self.offset, reason));
        }
        let end = self.offset + file_bytes(header.bytes as u64);
        if end > self.length {
            return Err(corrupt(self.offset, "the batch reaches beyond the file"));
        }
        let length = (header.bytes as usize).div_ceil(SECTOR_DATA) * SECTOR;
        let rest = &self.bytes[self.offset as usize..];
        let sectors = &rest[..length.min(rest.len())];
        self.check_sectors(sectors, length, &header)?;
        let batch = Batch::new(header, self.offset, sectors);
        batch
            .check(self.last, self.chain)
            .map_err(|(offset, reason)| corrupt(offset, reason))?;
        Ok(batch)
    }

    /// Those sectors of a batch of `length` bytes that are there; the others are zeros behind the last one in use.
    fn check_sectors(&self, sectors: &[u8], length: usize, header: &BatchHeader) -> Result<(), End> {
        let mut missing = sectors.len() < length;
        for (at, sector) in sectors.chunks_exact(SECTOR).enumerate() {
            let offset = self.offset + (at * SECTOR) as u64;
            if sector == ZERO_SECTOR {
                missing = true;
            } else if !self.sealer.is_sealed(sector, offset, at == 0) {
                return Err(corrupt(offset, "the sector does not match its seal"));
            }
        }
        if missing {
            // From the end of its data on: a crash leaves the padding zero, too.
            return Err(self.survey(self.offset + length as u64, Some(header)));
        }
        Ok(())
    }

    /// Looks at all sectors from `from` on for what tells torn from clean and from corrupt.
    fn survey(&self, from: u64, torn: Option<&BatchHeader>) -> End {
        let mut arrived = torn.map(|_| from);
        let (from, sectors) = (from, self.bytes.get(from as usize..).unwrap_or_default());
        for (at, sector) in sectors.chunks(SECTOR).enumerate() {
            let offset = from + (at * SECTOR) as u64;
            if sector == &ZERO_SECTOR[..sector.len()] {
                continue;
            }
            let whole = sector.len() == SECTOR;
            if whole && offset.is_multiple_of(BLOCK as u64) && self.sealer.is_sealed(sector, offset, true) {
                let reason = format!("a batch is missing here that was durable: a later one begins at offset {offset}");
                return corrupt(self.offset, reason);
            }
            if torn.is_some() || !whole || !self.sealer.is_sealed(sector, offset, false) {
                return corrupt(offset, "the sector is neither zero nor one that was written here");
            }
            arrived = Some(offset + SECTOR as u64);
        }
        match arrived {
            None => End::Clean,
            Some(end) => End::Torn(Torn {
                offset: self.offset,
                bytes: end - self.offset,
                zxids: torn.map(|header| (header.first, header.last)),
            }),
        }
    }

    fn sector(&self, offset: u64) -> Option<&'a [u8]> {
        self.bytes.get(offset as usize..offset as usize + SECTOR)
    }
}

fn corrupt(offset: u64, reason: impl Into<String>) -> End {
    End::Corrupt {
        offset,
        reason: reason.into(),
    }
}
