//! A log read record by record, and told apart: its clean end, a torn one, and damage.
//!
//! Where records should be and are not, Java ends the file and says nothing. What counts here is what stands behind:
//! a log is written from the front, so where nothing but zeros follows, a last write did not arrive; where a whole record
//! follows, something in the middle was lost, and that is damage.

use std::io::BufRead;

use super::super::input::Input;
use super::super::{BUFFER_BYTES_MAX, ReadError};
use super::{End, HEADER_BYTES, MAGIC, RECORD_HEAD_BYTES, Record, TRAILER, TXN_HEADER_BYTES, TxnHeader};
use crate::Zxid;

/// Reads a log. After an error it must not be asked for more.
pub struct Reader<R> {
    input: Input<R>,
    after: Option<Zxid>,
    end: Option<End>,
    payload: Vec<u8>,
}

/// The unit in which disks tear writes.
const SECTOR: u64 = 512;

/// A part of a sector counts as lost only if it has so many zeros: shorter ones occur in good records.
const LOST_BYTES_MIN: usize = 16;

/// How far behind a hole whole records are looked for.
const SEARCH_BYTES_MAX: usize = 64 << 20;

impl<R: BufRead> Reader<R> {
    /// Begins with a file's first byte. A file that is empty, or of which the header did not arrive whole, is a torn
    /// log without records: Java leaves it so when it is killed right after it began the file.
    ///
    /// # Errors
    /// [`ReadError::Foreign`] if it is no log.
    pub fn open(bytes: R) -> Result<Reader<R>, ReadError> {
        let mut reader = Reader {
            input: Input::new(bytes),
            after: None,
            end: None,
            payload: Vec::new(),
        };
        let mut head = [0; HEADER_BYTES];
        let filled = reader.input.up_to(&mut head, "the header")?;
        let head = &head[..filled];
        let is_blank = head.iter().all(|byte| *byte == 0);
        let begins = head.starts_with(MAGIC) || MAGIC.starts_with(head);
        if filled == HEADER_BYTES && head.starts_with(MAGIC) {
            return Ok(reader);
        }
        let blank_to_the_end = is_blank && !reader.input.skip_zeros("the header")?.1;
        if blank_to_the_end || (filled < HEADER_BYTES && begins) {
            let bytes = if is_blank { 0 } else { filled as u64 };
            let why = "its header did not arrive whole";
            reader.end = Some(torn(0, bytes, why));
            return Ok(reader);
        }
        Err(ReadError::Foreign {
            wanted: "transaction log of Apache ZooKeeper",
            begins: head[..filled.min(8)].to_vec(),
        })
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// How the log ends, once [`Reader::next`] gave `None`.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The next record; `None` at the end, however it is.
    ///
    /// # Errors
    /// [`ReadError::Damaged`], with the offset of the record.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        if self.end.is_some() {
            return Ok(None);
        }
        let offset = self.input.offset();
        match self.record(offset)? {
            Step::Record => {
                let header = TxnHeader::of(&self.payload).expect("its length was checked");
                self.after = Some(Zxid(header.zxid as u64));
                Ok(Some(Record {
                    offset,
                    header,
                    payload: &self.payload,
                }))
            }
            Step::End(end) => {
                self.end = Some(end);
                Ok(None)
            }
        }
    }

    fn record(&mut self, offset: u64) -> Result<Step, ReadError> {
        let mut head = [0; RECORD_HEAD_BYTES];
        let filled = self.input.up_to(&mut head, "a record")?;
        if filled == 0 {
            return Ok(Step::End(End::Clean { offset }));
        }
        if head.iter().all(|byte| *byte == 0) {
            return self.hole(offset, filled as u64);
        }
        if filled < head.len() {
            return Ok(Step::End(torn(
                offset,
                filled as u64,
                "the file ends inside a record's head",
            )));
        }
        let (sum, length) = head.split_first_chunk::<8>().expect("twelve bytes");
        let (sum, length) = (
            u64::from_be_bytes(*sum),
            i32::from_be_bytes(*length.first_chunk().expect("four")),
        );
        if length == 0 && sum >> 32 == 0 {
            return self.torn_if_last(
                offset,
                8,
                "the length of the record did not arrive",
                "the length of a record is 0",
            );
        }
        let in_bounds = usize::try_from(length)
            .ok()
            .filter(|length| (TXN_HEADER_BYTES..=BUFFER_BYTES_MAX).contains(length));
        let (0, Some(length)) = (sum >> 32, in_bounds) else {
            return Err(self.damaged(offset, format!("no record begins with {}", head.escape_ascii())));
        };
        self.payload.clear();
        let came = self.input.append(&mut self.payload, length, "a record")?;
        let mut trailer = [0];
        if came < length || self.input.up_to(&mut trailer, "a record's trailer")? == 0 {
            let bytes = (RECORD_HEAD_BYTES + came) as u64;
            return Ok(Step::End(torn(offset, bytes, "the file ends inside the record")));
        }
        self.judge(offset, &head, sum as u32, trailer[0])
    }

    /// A record came at full length: it is good, or the last of what was written, or damaged.
    fn judge(&mut self, offset: u64, head: &[u8], sum: u32, trailer: u8) -> Result<Step, ReadError> {
        let found = simd_adler32::adler32(&self.payload.as_slice());
        if (found, trailer) == (sum, TRAILER) {
            return Ok(Step::Record);
        }
        let claims = TxnHeader::of(&self.payload).map_or(0, |header| header.zxid);
        let why = if found == sum {
            format!("the record of zxid 0x{claims:x} ends with {trailer:02x}, not {TRAILER:02x}")
        } else {
            format!("the record (of zxid 0x{claims:x}, it says) should have Adler-32 {sum:08x}, it has {found:08x}")
        };
        let written = [head, &self.payload, &[trailer]].concat();
        let bytes = written.len() - written.iter().rev().take_while(|byte| **byte == 0).count();
        if !(trailer == 0 || lost_a_sector(offset, &written)) {
            return Err(self.damaged(offset, why));
        }
        self.torn_if_last(offset, bytes as u64, &format!("a part of it is zeros: {why}"), &why)
    }

    /// Something is missing here. If nothing follows, the last write did not arrive; else it is damage.
    fn torn_if_last(&mut self, offset: u64, bytes: u64, torn_why: &str, damage: &str) -> Result<Step, ReadError> {
        match self.input.skip_zeros("the end of the log")? {
            (_, false) => Ok(Step::End(torn(offset, bytes, torn_why))),
            (_, true) => Err(self.damaged(offset, format!("{damage}, and more follows"))),
        }
    }

    /// Zeros where a record should begin: space that was never written, unless something follows.
    fn hole(&mut self, offset: u64, zeros: u64) -> Result<Step, ReadError> {
        let (more, follows) = self.input.skip_zeros("the end of the log")?;
        let zeros = zeros + more;
        if !follows {
            return Ok(Step::End(End::Preallocated { offset, bytes: zeros }));
        }
        // A record begins with at least four zeros.
        let base = self.input.offset() - 8;
        let mut rest = vec![0; 8];
        self.input.append(&mut rest, SEARCH_BYTES_MAX, "what follows zeros")?;
        if let Some((at, zxid)) = find_record(&rest) {
            let at = base + at as u64;
            return Err(self.damaged(
                offset,
                format!(
                    "{zeros} bytes of zeros stand where records should be, and at offset {at} the record of zxid \
                     {zxid} follows: what was between is lost, and Apache ZooKeeper would end the file here without a word"
                ),
            ));
        }
        let last = rest
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last as u64 + 1);
        let why = "zeros, then bytes that hold no whole record";
        Ok(Step::End(torn(offset, base + last - offset, why)))
    }

    fn damaged(&self, offset: u64, why: String) -> ReadError {
        ReadError::Damaged {
            offset,
            after: self.after,
            why,
        }
    }
}

enum Step {
    Record,
    End(End),
}

fn torn(offset: u64, bytes: u64, why: &str) -> End {
    End::Torn {
        offset,
        bytes,
        why: why.to_owned(),
    }
}

/// Whether all that a record has in one sector is zeros.
fn lost_a_sector(offset: u64, written: &[u8]) -> bool {
    let first = (SECTOR - offset % SECTOR) as usize;
    let (head, rest) = written.split_at(first.min(written.len()));
    std::iter::once(head)
        .chain(rest.chunks(SECTOR as usize))
        .any(|part| part.len() >= LOST_BYTES_MIN && part.iter().all(|byte| *byte == 0))
}

/// The first whole record in the bytes, wherever it begins.
fn find_record(bytes: &[u8]) -> Option<(usize, Zxid)> {
    // What a length claims is summed only so often: bytes made to look like heads must not cost a day.
    let mut budget = 4 * SEARCH_BYTES_MAX;
    for at in 0..bytes.len().saturating_sub(RECORD_HEAD_BYTES + TXN_HEADER_BYTES) {
        let head = &bytes[at..at + RECORD_HEAD_BYTES];
        if head[..4] != [0; 4] || head[4..8] == [0; 4] {
            continue;
        }
        let length = u32::from_be_bytes(*head[8..].first_chunk().expect("four bytes")) as usize;
        let behind = &bytes[at + RECORD_HEAD_BYTES..];
        if !(TXN_HEADER_BYTES..behind.len()).contains(&length) || behind[length] != TRAILER {
            continue;
        }
        budget = budget.checked_sub(length)?;
        let payload = &behind[..length];
        if simd_adler32::adler32(&payload).to_be_bytes() == head[4..8] {
            return Some((at, Zxid(TxnHeader::of(payload)?.zxid as u64)));
        }
    }
    None
}
