//! Every byte of a log segment, written once: sectors and their seals, the segment's header, a batch, a record.
//!
//! All numbers are little endian. A segment is a file of zero-filled 4 KiB blocks; a block is eight **sectors** of 512
//! bytes, the unit a disk writes whole or not at all. A written sector carries 508 bytes of data and a **seal**: the
//! crc32c of the segment's salt and number, the sector's own offset, whether a batch begins in it, and its data. So a
//! sector is at any time one of three things, and recovery (see `recover`) rests on telling them apart:
//!
//! | sector | is |
//! |---|---|
//! | all zero | never written: segments are zero-filled, also when recycled, before they are used |
//! | seal right | written by us, for this very place of this very segment |
//! | anything else | damage: no crash leaves it, because sectors are written whole |
//!
//! The first block holds the segment header, alone. Each **batch** begins on a block, so writing one never touches a
//! block that was acknowledged; it is one write, and the next one starts only when it is durable. Its data (without
//! the seals) is the batch header, then records back to back, then zeros. A record's crc32c covers length, zxid and
//! payload and goes on from the record before it, over batches and segments: a hole, a swap or a foreign record breaks
//! the chain. A batch of no records is a **close mark**: all before it was durable when the log was closed.

use crate::Zxid;

/// What a disk writes whole or not at all.
pub const SECTOR: usize = 512;
/// The data bytes of a sector; the seal has the rest.
pub const SECTOR_DATA: usize = SECTOR - 4;
/// What a batch begins on and is padded to; also what O_DIRECT asks for.
pub const BLOCK: usize = 4096;
/// Where the first batch of a segment begins.
pub const BATCHES: u64 = BLOCK as u64;
/// Bytes of a batch header.
pub const BATCH_HEADER: usize = 40;
/// Bytes of a record header.
pub const RECORD_HEADER: usize = 16;
/// The longest payload of a record: no request is larger, and a damaged length must not ask for the earth.
pub const PAYLOAD_MAX: usize = 1 << 30;

const SEGMENT_MAGIC: &[u8; 8] = b"RKLOG001";
const SEGMENT_HEADER: usize = 76;
const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"RKB1");

const _: () = assert!(BLOCK.is_multiple_of(SECTOR));
const _: () = assert!(SEGMENT_HEADER <= SECTOR_DATA && BATCH_HEADER <= SECTOR_DATA);

/// Bytes up to the last one that is not zero.
pub fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// A sector that was never written.
pub const ZERO_SECTOR: [u8; SECTOR] = [0; SECTOR];

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Rounds up to whole blocks.
pub const fn blocks_up(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK as u64)
}

/// How many bytes of file `data` bytes take, padded to whole blocks.
pub const fn file_bytes(data: u64) -> u64 {
    blocks_up(data.div_ceil(SECTOR_DATA as u64) * SECTOR as u64)
}

/// Where in the file, from the batch's begin, its data byte `at` lies.
pub const fn file_offset(at: u64) -> u64 {
    at / SECTOR_DATA as u64 * SECTOR as u64 + at % SECTOR_DATA as u64
}

/// Seals and checks the sectors of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealer(u32);

impl Sealer {
    /// For the segment of that salt and number.
    pub fn new(salt: u64, number: u64) -> Sealer {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&salt.to_le_bytes());
        key[8..].copy_from_slice(&number.to_le_bytes());
        Sealer(crc32c::crc32c(&key))
    }

    /// For the header, which is read before salt and number are known.
    pub fn header() -> Sealer {
        Sealer(crc32c::crc32c(SEGMENT_MAGIC))
    }

    fn seal_of(self, data: &[u8], offset: u64, head: bool) -> u32 {
        let place = (offset << 1 | head as u64).to_le_bytes();
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(self.0, &place), data);
        // Never zero, so that a written sector is never all zero.
        crc.max(1)
    }

    /// Writes the seal of a sector at `offset`; `head` if a batch begins in it.
    pub fn seal(self, sector: &mut [u8], offset: u64, head: bool) {
        let (data, seal) = sector.split_at_mut(SECTOR_DATA);
        seal.copy_from_slice(&self.seal_of(data, offset, head).to_le_bytes());
    }

    /// Whether the sector is one of ours, written for this place.
    pub fn is_sealed(self, sector: &[u8], offset: u64, head: bool) -> bool {
        u32_at(sector, SECTOR_DATA) == self.seal_of(&sector[..SECTOR_DATA], offset, head)
    }
}

/// The first block of a segment: who it is and what it continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The store it belongs to: a segment of another server is refused.
    pub store: u64,
    /// Counts the store's segments from 1.
    pub number: u64,
    /// Drawn for each use of the file; part of every seal in it.
    pub salt: u64,
    /// The first zxid it was made for; names the file.
    pub first: Zxid,
    /// The zxid of the state that its first record is applied to. Above `previous_last` where a snapshot lies between.
    pub base: Zxid,
    /// Length of the file.
    pub bytes: u64,
    /// The last zxid in the segment before, `Zxid::ZERO` if there is none.
    pub previous_last: Zxid,
    /// Where the batches of the segment before end, 0 if there is none.
    pub previous_end: u64,
    /// The crc of the last record in the segment before, 0 if there is none.
    pub chain: u32,
}

impl SegmentHeader {
    /// The block as it lies on the disk.
    pub fn encode(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let fields = [
            self.store,
            self.number,
            self.salt,
            self.first.0,
            self.base.0,
            self.bytes,
        ];
        block[..8].copy_from_slice(SEGMENT_MAGIC);
        let after = [self.previous_last.0, self.previous_end];
        for (index, field) in fields.into_iter().chain(after).enumerate() {
            block[8 + 8 * index..16 + 8 * index].copy_from_slice(&field.to_le_bytes());
        }
        block[72..76].copy_from_slice(&self.chain.to_le_bytes());
        Sealer::header().seal(&mut block[..SECTOR], 0, true);
        block
    }

    /// Reads it back; the text says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<SegmentHeader, &'static str> {
        let Some(sector) = bytes.get(..SECTOR) else {
            return Err("shorter than a segment's header");
        };
        if sector == ZERO_SECTOR {
            return Err("the segment's header is all zero");
        }
        if !sector.starts_with(SEGMENT_MAGIC) {
            return Err("does not begin like a segment of this version");
        }
        if !Sealer::header().is_sealed(sector, 0, true) {
            return Err("the segment's header does not match its checksum");
        }
        Ok(SegmentHeader {
            store: u64_at(sector, 8),
            number: u64_at(sector, 16),
            salt: u64_at(sector, 24),
            first: Zxid(u64_at(sector, 32)),
            base: Zxid(u64_at(sector, 40)),
            bytes: u64_at(sector, 48),
            previous_last: Zxid(u64_at(sector, 56)),
            previous_end: u64_at(sector, 64),
            chain: u32_at(sector, 72),
        })
    }

    /// What seals its sectors.
    pub fn sealer(&self) -> Sealer {
        Sealer::new(self.salt, self.number)
    }
}

/// The head of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Counts the segment's batches from 0.
    pub index: u32,
    /// Data bytes, this header included, seals and padding not.
    pub bytes: u32,
    /// Records; 0 is a close mark.
    pub records: u32,
    /// The first record's zxid; of a close mark, the last one before it.
    pub first: Zxid,
    /// The last record's zxid.
    pub last: Zxid,
    /// The crc of the record before the first.
    pub chain_before: u32,
    /// The crc of the last record.
    pub chain_after: u32,
}

impl BatchHeader {
    /// As it lies at the begin of the batch's data.
    pub fn encode(&self) -> [u8; BATCH_HEADER] {
        let mut bytes = [0; BATCH_HEADER];
        for (index, field) in [BATCH_MAGIC, self.index, self.bytes, self.records]
            .into_iter()
            .enumerate()
        {
            bytes[4 * index..4 * index + 4].copy_from_slice(&field.to_le_bytes());
        }
        bytes[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.last.0.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.chain_before.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.chain_after.to_le_bytes());
        bytes
    }

    /// Reads it back from a sector whose seal was right.
    pub fn decode(data: &[u8]) -> Result<BatchHeader, &'static str> {
        if u32_at(data, 0) != BATCH_MAGIC {
            return Err("no batch begins here");
        }
        let header = BatchHeader {
            index: u32_at(data, 4),
            bytes: u32_at(data, 8),
            records: u32_at(data, 12),
            first: Zxid(u64_at(data, 16)),
            last: Zxid(u64_at(data, 24)),
            chain_before: u32_at(data, 32),
            chain_after: u32_at(data, 36),
        };
        if (header.bytes as usize) < BATCH_HEADER {
            return Err("a batch shorter than its header");
        }
        Ok(header)
    }
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of payload.
    pub length: u32,
    /// See [`chain`].
    pub crc: u32,
    /// The transaction.
    pub zxid: Zxid,
}

impl RecordHeader {
    /// As it lies before the payload.
    pub fn encode(&self) -> [u8; RECORD_HEADER] {
        let mut bytes = [0; RECORD_HEADER];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.crc.to_le_bytes());
        bytes[8..].copy_from_slice(&self.zxid.0.to_le_bytes());
        bytes
    }

    /// Reads it back.
    pub fn decode(bytes: &[u8]) -> RecordHeader {
        RecordHeader {
            length: u32_at(bytes, 0),
            crc: u32_at(bytes, 4),
            zxid: Zxid(u64_at(bytes, 8)),
        }
    }
}

/// A record's crc32c: over length, zxid and payload, continued from the record before it.
pub fn chain(before: u32, zxid: Zxid, length: u32, parts: &[&[u8]]) -> u32 {
    let mut head = [0; 12];
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..].copy_from_slice(&zxid.0.to_le_bytes());
    let crc = crc32c::crc32c_append(before, &head);
    parts.iter().fold(crc, |crc, part| crc32c::crc32c_append(crc, part))
}

/// Whether a record of `next` may stand behind one of `last`: the next counter, or the begin of a later epoch.
pub fn follows(last: Zxid, next: Zxid) -> bool {
    next.is_right_behind(last) || next.epoch() > last.epoch() || (last == Zxid::ZERO && next > last)
}

/// `log.` and the first zxid in sixteen hexadecimal digits, so that names sort like zxids.
pub fn segment_name(first: Zxid) -> String {
    format!("log.{:016x}", first.0)
}

/// The zxid in a segment's name.
pub fn parse_segment_name(name: &str) -> Option<Zxid> {
    parse_name(name, "log.")
}

/// `snapshot.` and its zxid in sixteen hexadecimal digits.
pub fn snapshot_name(zxid: Zxid) -> String {
    format!("snapshot.{:016x}", zxid.0)
}

/// The zxid in a snapshot's name.
pub fn parse_snapshot_name(name: &str) -> Option<Zxid> {
    parse_name(name, "snapshot.")
}

fn parse_name(name: &str, prefix: &str) -> Option<Zxid> {
    let digits = name.strip_prefix(prefix).filter(|digits| digits.len() == 16)?;
    let lower = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    lower.then(|| u64::from_str_radix(digits, 16).ok().map(Zxid)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn header() -> SegmentHeader {
        SegmentHeader {
            store: 0x1122334455667788,
            number: 7,
            salt: 0xfeed,
            first: Zxid::new(2, 1),
            base: Zxid::new(1, 9),
            bytes: 64 << 20,
            previous_last: Zxid::new(1, 8),
            previous_end: 0x5000,
            chain: 0xdeadbeef,
        }
    }

    /// The layout is a promise to files that exist: a change here needs a new magic.
    #[test]
    fn segment_header_bytes() {
        let block = header().encode();
        let want = concat!(
            "524b4c4f47303031",
            "8877665544332211",
            "0700000000000000",
            "edfe000000000000",
            "0100000002000000",
            "0900000001000000",
            "0000000400000000",
            "0800000001000000",
            "0050000000000000",
            "efbeadde",
        );
        assert_eq!(hex(&block[..SEGMENT_HEADER]), want);
        assert!(block[SEGMENT_HEADER..SECTOR_DATA].iter().all(|byte| *byte == 0));
        assert_eq!(hex(&block[SECTOR_DATA..SECTOR]), "9ca78af2");
        assert!(block[SECTOR..].iter().all(|byte| *byte == 0));
        assert_eq!(SegmentHeader::decode(&block), Ok(header()));
    }

    #[test]
    fn batch_and_record_header_bytes() {
        let batch = BatchHeader {
            index: 3,
            bytes: 100,
            records: 2,
            first: Zxid(5),
            last: Zxid(6),
            chain_before: 1,
            chain_after: 0xabcd,
        };
        let want = "524b423103000000640000000200000005000000000000000600000000000000010000 00cdab0000".replace(' ', "");
        assert_eq!(hex(&batch.encode()), want);
        assert_eq!(BatchHeader::decode(&batch.encode()), Ok(batch));
        let crc = chain(0, Zxid(5), 3, &[b"a", b"bc"]);
        assert_eq!(crc, crc32c::crc32c(b"\x03\0\0\0\x05\0\0\0\0\0\0\0abc"));
        let record = RecordHeader {
            length: 3,
            crc: 0x01020304,
            zxid: Zxid(5),
        };
        assert_eq!(hex(&record.encode()), "03000000040302010500000000000000");
        assert_eq!(RecordHeader::decode(&record.encode()), record);
    }

    #[test]
    fn any_flipped_bit_of_the_header_sector_is_seen() {
        let block = header().encode();
        for bit in 0..SECTOR * 8 {
            let mut damaged = block;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_seal_holds_for_one_place_only() {
        let sealer = Sealer::new(1, 2);
        let mut sector = [7; SECTOR];
        sealer.seal(&mut sector, 4096, true);
        assert!(sealer.is_sealed(&sector, 4096, true));
        assert!(!sealer.is_sealed(&sector, 4096, false));
        assert!(!sealer.is_sealed(&sector, 8192, true));
        assert!(!Sealer::new(1, 3).is_sealed(&sector, 4096, true));
        assert!(!Sealer::new(2, 2).is_sealed(&sector, 4096, true));
    }

    #[test]
    fn zxids_follow_by_counter_or_epoch() {
        for (last, next, want) in [
            (Zxid::ZERO, Zxid(1), true),
            (Zxid::ZERO, Zxid(9), true),
            (Zxid::ZERO, Zxid::ZERO, false),
            (Zxid(4), Zxid(5), true),
            (Zxid(4), Zxid(6), false),
            (Zxid(4), Zxid(4), false),
            (Zxid(4), Zxid::new(1, 1), true),
            (Zxid::new(2, 1), Zxid::new(1, 9), false),
        ] {
            assert_eq!(follows(last, next), want, "{last} {next}");
        }
    }

    #[test]
    fn names_go_there_and_back() {
        assert_eq!(segment_name(Zxid::new(1, 0xab)), "log.00000001000000ab");
        assert_eq!(parse_segment_name("log.00000001000000ab"), Some(Zxid::new(1, 0xab)));
        assert_eq!(parse_snapshot_name(&snapshot_name(Zxid(7))), Some(Zxid(7)));
        for name in [
            "log.1",
            "log.00000001000000AB",
            "log.+0000001000000ab",
            "snapshot.0000000000000001.tmp",
            "lock",
        ] {
            assert_eq!(
                (parse_segment_name(name), parse_snapshot_name(name)),
                (None, None),
                "{name}"
            );
        }
    }
}
