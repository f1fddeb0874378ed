//! Every field of every kind of record, where it lies in a file; and the seals over them.

use std::ops::Range;
use std::path::Path;

use storage::format::{
    BATCH_HEADER, BATCHES, BLOCK, BatchHeader, RECORD_HEADER, RecordHeader, SECTOR, SECTOR_DATA, Sealer, SegmentHeader,
    file_bytes, file_offset,
};
use storage::snapshot::format::{self as snapshot, u32_at, u64_at};

use super::store::Stored;

/// A part of a file.
pub struct Place {
    pub name: String,
    pub range: Range<usize>,
}

impl Place {
    fn new(name: impl Into<String>, range: Range<usize>) -> Place {
        Place {
            name: name.into(),
            range,
        }
    }

    /// Whether it is made of whole sectors.
    pub fn is_sectors(&self) -> bool {
        self.range.start.is_multiple_of(SECTOR) && self.range.end.is_multiple_of(SECTOR)
    }
}

const SEGMENT_FIELDS: [(&str, Range<usize>); 12] = [
    ("magic", 0..8),
    ("store", 8..16),
    ("number", 16..24),
    ("salt", 24..32),
    ("first", 32..40),
    ("base", 40..48),
    ("bytes", 48..56),
    ("previous_last", 56..64),
    ("previous_end", 64..72),
    ("chain", 72..76),
    ("padding", 76..SECTOR_DATA),
    ("seal", SECTOR_DATA..SECTOR),
];

const BATCH_FIELDS: [(&str, Range<usize>); 8] = [
    ("magic", 0..4),
    ("index", 4..8),
    ("bytes", 8..12),
    ("records", 12..16),
    ("first", 16..24),
    ("last", 24..32),
    ("chain_before", 32..36),
    ("chain_after", 36..BATCH_HEADER),
];

const RECORD_FIELDS: [(&str, Range<usize>); 3] = [("length", 0..4), ("crc", 4..8), ("zxid", 8..RECORD_HEADER)];

/// The places of one file of a store.
pub fn places(stored: &Stored, path: &Path) -> Vec<Place> {
    let bytes = &stored.image.files[path];
    let name = path.file_name().expect("a name").to_string_lossy();
    match name.split('.').next() {
        Some("log") => segment(bytes),
        Some("snapshot") => of_snapshot(bytes),
        Some("manifest") => manifest(bytes),
        other => panic!("{other:?} is no file of a store"),
    }
}

fn segment(bytes: &[u8]) -> Vec<Place> {
    let named = |part: &str, at: usize, fields: &[(&str, Range<usize>)]| -> Vec<Place> {
        let place = |(field, range): &(&str, Range<usize>)| {
            Place::new(format!("{part} {field}"), at + range.start..at + range.end)
        };
        fields.iter().map(place).collect()
    };
    let mut places = named("segment", 0, &SEGMENT_FIELDS);
    places.push(Place::new("segment padding", SECTOR..BLOCK));
    let mut offset = BATCHES as usize;
    while let Some(Ok(header)) = bytes
        .get(offset..)
        .filter(|rest| !rest.is_empty())
        .map(BatchHeader::decode)
    {
        places.extend(named("batch", offset, &BATCH_FIELDS));
        let data = header.bytes as usize;
        let file = |at: usize| offset + file_offset(at as u64) as usize;
        let mut at = BATCH_HEADER;
        while at < data {
            // A field may go on behind a seal; what is before it is damaged then.
            for (field, range) in &RECORD_FIELDS {
                places.push(Place::new(
                    format!("record {field}"),
                    within_sector(file(at + range.start), range.len()),
                ));
            }
            let mut head = [0; RECORD_HEADER];
            (0..RECORD_HEADER).for_each(|index| head[index] = bytes[file(at + index)]);
            let length = RecordHeader::decode(&head).length as usize;
            if length > 0 {
                places.push(Place::new(
                    "record payload",
                    within_sector(file(at + RECORD_HEADER), length),
                ));
                places.push(Place::new(
                    "record payload's end",
                    file(at + RECORD_HEADER + length - 1)..file(at + RECORD_HEADER + length - 1) + 1,
                ));
            }
            at += RECORD_HEADER + length;
        }
        let sectors = data.div_ceil(SECTOR_DATA);
        for sector in 0..sectors {
            let begin = offset + sector * SECTOR;
            places.push(Place::new("batch seal", begin + SECTOR_DATA..begin + SECTOR));
        }
        let end = offset + file_bytes(u64::from(header.bytes)) as usize;
        if !data.is_multiple_of(SECTOR_DATA) {
            let sealed = offset + (sectors - 1) * SECTOR + SECTOR_DATA;
            places.push(Place::new("batch padding, sealed", file(data)..sealed));
        }
        if offset + sectors * SECTOR < end {
            places.push(Place::new("batch padding, zero", offset + sectors * SECTOR..end));
        }
        offset = end;
    }
    if offset < bytes.len() {
        places.push(Place::new("never written", offset..bytes.len()));
    }
    places
}

/// So many bytes from an offset, as far as its sector's data goes.
fn within_sector(begin: usize, length: usize) -> Range<usize> {
    let data_end = begin / SECTOR * SECTOR + SECTOR_DATA;
    begin..(begin + length).min(data_end)
}

fn of_snapshot(bytes: &[u8]) -> Vec<Place> {
    let mut places = Vec::new();
    let mut part = |name: &str, rows: &[snapshot::Row], at: usize| {
        let place =
            |(field, range, _): &snapshot::Row| Place::new(format!("{name} {field}"), at + range.start..at + range.end);
        places.extend(rows.iter().map(place));
    };
    part("snapshot header", snapshot::header::ROWS, 0);
    let blocks_at = snapshot::header::BYTES + u32_at(bytes, snapshot::header::META_LENGTH) as usize;
    let trailer_at = bytes.len() - snapshot::trailer::BYTES;
    part("snapshot trailer", snapshot::trailer::ROWS, trailer_at);
    let blocks = u64_at(&bytes[trailer_at..], snapshot::trailer::BLOCKS) as usize;
    let index_at = trailer_at - blocks * snapshot::index::BYTES;
    let mut frames = Vec::new();
    let mut block_at = blocks_at;
    for block in 0..blocks {
        let row_at = index_at + block * snapshot::index::BYTES;
        part("snapshot index", snapshot::index::ROWS, row_at);
        part("snapshot block", snapshot::block::ROWS, block_at);
        let frame_at = block_at + snapshot::block::BYTES;
        let stored = u32_at(&bytes[row_at..], snapshot::index::STORED_LENGTH) as usize;
        frames.push(Place::new("snapshot frame", frame_at..frame_at + stored));
        block_at = frame_at + stored;
    }
    places.push(Place::new("snapshot meta", snapshot::header::BYTES..blocks_at));
    places.extend(frames);
    places
}

/// Each word of each line, and each line's end.
fn manifest(bytes: &[u8]) -> Vec<Place> {
    let mut places = Vec::new();
    let mut begin = 0;
    let mut line = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        if !matches!(byte, b' ' | b'\n') {
            continue;
        }
        let word = String::from_utf8_lossy(&bytes[begin..at]);
        if line.is_empty() {
            line = word.into_owned();
            places.push(Place::new("manifest keyword", begin..at));
        } else {
            places.push(Place::new(format!("manifest {line}"), begin..at));
        }
        places.push(Place::new("manifest space", at..at + 1));
        begin = at + 1;
        if *byte == b'\n' {
            line.clear();
        }
    }
    places
}

/// The seals of one segment, to be made right again over damage. Other files have none here.
pub struct Seals(Option<Sealer>);

impl Seals {
    /// Of that file.
    pub fn of(stored: &Stored, path: &Path) -> Seals {
        let is_segment = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("log."));
        let header = is_segment.then(|| SegmentHeader::decode(&stored.image.files[path]).expect("a sound segment"));
        Seals(header.map(|header| header.sealer()))
    }

    /// Seals the sector of a damaged place anew. False where that says nothing: no seal is over it, or it is the seal.
    pub fn renew(&self, bytes: &mut [u8], place: &Range<usize>) -> bool {
        let Some(sealer) = self.0 else { return false };
        let sector = place.start / SECTOR;
        let is_seal = place.start % SECTOR >= SECTOR_DATA;
        if is_seal || place.end > (sector + 1) * SECTOR {
            return false;
        }
        let offset = (sector * SECTOR) as u64;
        let bytes = &mut bytes[sector * SECTOR..(sector + 1) * SECTOR];
        let was_sealed = bytes[SECTOR_DATA..].iter().any(|byte| *byte != 0);
        if !was_sealed {
            return false;
        }
        match sector {
            0 => Sealer::header().seal(bytes, offset, true),
            _ => {
                let head = offset.is_multiple_of(BLOCK as u64) && bytes.starts_with(b"RKB1");
                sealer.seal(bytes, offset, head);
            }
        }
        true
    }
}
