//! A batch while it is filled, and the records of one that was read.
//!
//! Invariant of [`OpenBatch`]: its buffer holds the data so far at its final place between the seals, room for the
//! header in front, zeros behind; the chain has taken in every record. Seals need the batch's place and come last.

use crate::Zxid;
use crate::buffer::AlignedBuffer;
use crate::format::{
    self, BATCH_HEADER, BatchHeader, PAYLOAD_MAX, RECORD_HEADER, RecordHeader, SECTOR, SECTOR_DATA, Sealer, chain,
    file_offset,
};

/// Records on their way into one write.
pub struct OpenBatch {
    buffer: AlignedBuffer,
    data: usize,
    records: u32,
    first: Zxid,
    last: Zxid,
    chain_before: u32,
    chain: u32,
}

impl OpenBatch {
    /// Continues behind a record of `last`, whose crc is `chain`.
    pub fn new(mut buffer: AlignedBuffer, last: Zxid, chain: u32) -> OpenBatch {
        buffer.clear();
        OpenBatch {
            buffer,
            data: BATCH_HEADER,
            records: 0,
            first: last,
            last,
            chain_before: chain,
            chain,
        }
    }

    /// True if it holds no record.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The zxids it spans; those of the record before if it is empty.
    pub fn zxids(&self) -> (Zxid, Zxid) {
        (self.first, self.last)
    }

    /// The crc of the last record.
    pub fn chain(&self) -> u32 {
        self.chain
    }

    /// Bytes of its records, heads included: what was logged, without seals and padding.
    pub fn record_bytes(&self) -> u64 {
        (self.data - BATCH_HEADER) as u64
    }

    /// Bytes it takes in the file.
    pub fn file_bytes(&self) -> u64 {
        format::file_bytes(self.data as u64)
    }

    /// Adds a record; the payload is the parts, one after the other.
    pub fn append(&mut self, zxid: Zxid, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        assert!(length <= PAYLOAD_MAX, "a record of {length} bytes, {zxid}");
        assert!(
            self.data + RECORD_HEADER + length <= u32::MAX as usize,
            "a batch of {} bytes is full",
            self.data
        );
        self.chain = chain(self.chain, zxid, length as u32, parts);
        if self.records == 0 {
            self.first = zxid;
        }
        self.last = zxid;
        self.records += 1;
        let header = RecordHeader {
            length: length as u32,
            crc: self.chain,
            zxid,
        };
        self.buffer
            .grow(format::file_bytes((self.data + RECORD_HEADER + length) as u64) as usize);
        self.put(&header.encode());
        parts.iter().for_each(|part| self.put(part));
    }

    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = SECTOR_DATA - self.data % SECTOR_DATA;
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            let at = file_offset(self.data as u64) as usize;
            self.buffer[at..at + now.len()].copy_from_slice(now);
            self.data += now.len();
            bytes = rest;
        }
    }

    /// Ends the batch as the segment's `index`th, at `offset`. An empty one becomes a close mark.
    pub fn seal(mut self, sealer: Sealer, index: u32, offset: u64) -> AlignedBuffer {
        self.buffer.grow(self.file_bytes() as usize);
        let header = BatchHeader {
            index,
            bytes: self.data as u32,
            records: self.records,
            first: self.first,
            last: self.last,
            chain_before: self.chain_before,
            chain_after: self.chain,
        };
        self.buffer[..BATCH_HEADER].copy_from_slice(&header.encode());
        let sectors = self.data.div_ceil(SECTOR_DATA);
        for (at, sector) in self.buffer.chunks_exact_mut(SECTOR).take(sectors).enumerate() {
            sealer.seal(sector, offset + (at * SECTOR) as u64, at == 0);
        }
        self.buffer
    }
}

/// A whole batch, read back, its seals already checked.
#[derive(Debug)]
pub struct Batch {
    /// Its head.
    pub header: BatchHeader,
    /// Where it begins in the file.
    pub offset: u64,
    data: Vec<u8>,
}

impl Batch {
    /// From the sectors that hold its data.
    pub fn new(header: BatchHeader, offset: u64, sectors: &[u8]) -> Batch {
        let mut data = Vec::with_capacity(sectors.len());
        sectors
            .chunks_exact(SECTOR)
            .for_each(|sector| data.extend_from_slice(&sector[..SECTOR_DATA]));
        data.truncate(header.bytes as usize);
        Batch { header, offset, data }
    }

    /// Where the next batch begins.
    pub fn end(&self) -> u64 {
        self.offset + format::file_bytes(self.header.bytes as u64)
    }

    /// Checks count, lengths, zxids and the chain behind a record of `last` with `chain`.
    /// On failure: the file offset, and what is wrong.
    pub fn check(&self, mut last: Zxid, mut crc: u32) -> Result<(), (u64, String)> {
        if self.header.chain_before != crc {
            return Err((self.offset, "the batch does not continue the record before it".into()));
        }
        let mut count = 0;
        for record in self.records() {
            let record = record?;
            crc = chain(crc, record.zxid, record.payload.len() as u32, &[record.payload]);
            if crc != record.crc {
                return Err((record.offset, "the record does not match its checksum".into()));
            }
            if !format::follows(last, record.zxid) {
                return Err((record.offset, format!("zxid {} behind {last}", record.zxid)));
            }
            last = record.zxid;
            count += 1;
        }
        let header = &self.header;
        if (count, last, crc) != (header.records, header.last, header.chain_after) {
            return Err((self.offset, "the batch's header disagrees with its records".into()));
        }
        Ok(())
    }

    /// Its records; an error is a file offset and what is wrong there.
    pub fn records(&self) -> Records<'_> {
        Records {
            batch: self,
            at: BATCH_HEADER,
        }
    }
}

/// One record of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Where its header begins in the file.
    pub offset: u64,
    /// The transaction.
    pub zxid: Zxid,
    /// What was appended.
    pub payload: &'a [u8],
    /// Its chained crc as stored.
    pub crc: u32,
}

/// The records of a batch, in order.
pub struct Records<'a> {
    batch: &'a Batch,
    at: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, (u64, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        let data = &self.batch.data;
        if self.at == data.len() {
            return None;
        }
        let offset = self.batch.offset + file_offset(self.at as u64);
        let rest = &data[self.at..];
        let head = rest.get(..RECORD_HEADER).map(RecordHeader::decode);
        let end = head.map(|head| RECORD_HEADER + head.length as usize);
        let (Some(head), Some(end)) = (head, end.filter(|end| *end <= rest.len())) else {
            self.at = data.len();
            return Some(Err((offset, "the record reaches beyond its batch".into())));
        };
        self.at += end;
        Some(Ok(Record {
            offset,
            zxid: head.zxid,
            payload: &rest[RECORD_HEADER..end],
            crc: head.crc,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], offset: u64) -> Batch {
        let header = BatchHeader::decode(bytes).unwrap();
        let sectors = (header.bytes as usize).div_ceil(SECTOR_DATA) * SECTOR;
        Batch::new(header, offset, &bytes[..sectors])
    }

    #[test]
    fn records_of_every_length_around_a_sector_come_back() {
        let sealer = Sealer::new(1, 1);
        for length in (0..1100).chain([4096, 70_000, 5 << 20]) {
            let payload: Vec<u8> = (0..length).map(|at| (at % 251) as u8 + 1).collect();
            let mut open = OpenBatch::new(AlignedBuffer::with_capacity(0), Zxid(8), 77);
            let (left, right) = payload.split_at(length / 3);
            open.append(Zxid(9), &[left, right]);
            open.append(Zxid(10), &[b"x"]);
            assert_eq!(open.zxids(), (Zxid(9), Zxid(10)));
            let file_bytes = open.file_bytes();
            let buffer = open.seal(sealer, 0, 4096);
            assert_eq!(buffer.len() as u64, file_bytes);
            let batch = read(&buffer, 4096);
            batch.check(Zxid(8), 77).unwrap();
            assert_eq!(batch.end(), 4096 + file_bytes);
            let records: Vec<_> = batch.records().map(Result::unwrap).collect();
            assert_eq!((records[0].zxid, records[0].payload), (Zxid(9), &payload[..]));
            assert_eq!((records[1].zxid, records[1].payload), (Zxid(10), &b"x"[..]));
        }
    }

    #[test]
    fn a_batch_that_continues_something_else_is_refused() {
        let mut open = OpenBatch::new(AlignedBuffer::with_capacity(0), Zxid(8), 77);
        open.append(Zxid(9), &[b"abc"]);
        let buffer = open.seal(Sealer::new(1, 1), 0, 0);
        let batch = read(&buffer, 0);
        assert!(batch.check(Zxid(8), 77).is_ok());
        assert!(batch.check(Zxid(8), 78).is_err(), "another chain");
        assert!(batch.check(Zxid(7), 77).is_err(), "a hole");
    }
}
