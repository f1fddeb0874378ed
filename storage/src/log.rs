//! The transaction log as its writer sees it: append, take the next write, say that it was done.
//!
//! Group commit without a timer: at most one [`LogWrite`] is on its way; what is appended meanwhile forms the next.
//! The positions, ordered, and asserted below: `durable ≤ in flight ≤ appended`. The log does no I/O by itself: the
//! caller performs the write, on a ring or a thread, and the first error ends the log (design.md D9).

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::Zxid;
pub use crate::buffer::AlignedBuffer;
use crate::disk::Access;
use crate::format::{self, BATCHES, SegmentHeader};
pub use crate::reader::{LogItem, LogReader, Verdict};
use crate::record::OpenBatch;
pub use crate::segment::SegmentFile;
use crate::store::Store;

/// Memory a batch begins with.
const BUFFER: usize = 64 << 10;

/// A buffer that grew beyond this is not kept.
const BUFFER_KEPT_MAX: usize = 4 << 20;

/// One batch on its way to the disk: prepare the segment, write the buffer at the offset, sync if the file needs it.
pub struct LogWrite {
    /// Where to. [`SegmentFile::prepare`] comes first.
    pub file: Arc<SegmentFile>,
    /// Where in it, bytes.
    pub offset: u64,
    /// What.
    pub buffer: AlignedBuffer,
    /// Bytes of the records in it, without seals and padding.
    pub record_bytes: u64,
    /// The first transaction in it.
    pub first: Zxid,
    /// The last one.
    pub last: Zxid,
}

impl LogWrite {
    /// Does it all with blocking calls. An error names no file: [`LogWrite`]'s `Display` does.
    pub fn perform(self) -> io::Result<LogWrite> {
        self.file.prepare()?;
        let file = self.file.disk_file();
        file.write_at(&self.buffer, self.offset)?;
        if file.needs_sync() {
            file.sync()?;
        }
        Ok(self)
    }
}

impl fmt::Display for LogWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogWrite {
            offset, first, last, ..
        } = self;
        let (path, bytes) = (self.file.path().display(), self.buffer.len());
        write!(f, "{path}, offset {offset}, {bytes} bytes, zxid {first} to {last}")
    }
}

impl fmt::Debug for LogWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogWrite({self})")
    }
}

/// Where the log goes on after recovery.
pub(crate) struct Tail {
    /// The segment to go on in, and where; `None` begins a new one.
    pub segment: Option<Arc<SegmentFile>>,
    /// Where the batches of the last segment end.
    pub offset: u64,
    /// Batches in the last segment.
    pub index: u32,
    /// Number of the last segment, 0 if there is none.
    pub number: u64,
    /// The last zxid that was logged.
    pub logged: Zxid,
    /// The crc of the last record.
    pub chain: u32,
    /// The state, which the next record follows.
    pub state: Zxid,
}

/// The log, open for appending. Dropped in good order, it leaves a close mark.
pub struct Log {
    store: Arc<Store>,
    tail: Tail,
    open: OpenBatch,
    spare_buffer: Option<AlignedBuffer>,
    appended: Zxid,
    durable: Zxid,
    /// The last zxid of the write that is on its way.
    in_flight: Option<Zxid>,
    wrote: bool,
}

impl Log {
    pub(crate) fn new(store: Arc<Store>, tail: Tail) -> Log {
        let open = OpenBatch::new(AlignedBuffer::with_capacity(BUFFER), tail.state, tail.chain);
        let (appended, durable) = (tail.state, tail.state);
        let log = Log {
            store,
            tail,
            open,
            spare_buffer: Some(AlignedBuffer::with_capacity(BUFFER)),
            appended,
            durable,
            in_flight: None,
            wrote: false,
        };
        log.look_ahead();
        log
    }

    /// Adds a transaction to the open batch; its payload is the parts, one after the other. Panics if the zxid is
    /// neither the next nor the begin of a later epoch: such a log could not be recovered.
    pub fn append(&mut self, zxid: Zxid, parts: &[&[u8]]) {
        assert!(
            format::follows(self.appended, zxid),
            "zxid {zxid} appended behind {}",
            self.appended
        );
        self.open.append(zxid, parts);
        self.appended = zxid;
    }

    /// The last transaction that is durable.
    pub fn durable(&self) -> Zxid {
        self.durable
    }

    /// The last transaction appended.
    pub fn appended(&self) -> Zxid {
        self.appended
    }

    /// Whether nothing is on its way and nothing waits to be.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.open.is_empty()
    }

    /// Goes on from another end. The log must be idle.
    pub(crate) fn resume(&mut self, tail: Tail) {
        assert!(self.is_idle(), "the log is idle");
        self.open = OpenBatch::new(AlignedBuffer::with_capacity(BUFFER), tail.state, tail.chain);
        (self.appended, self.durable) = (tail.state, tail.state);
        self.tail = tail;
        self.look_ahead();
    }

    /// Everything appended so far as one write; `None` if there is nothing, or a write is on its way.
    pub fn next_write(&mut self) -> Option<LogWrite> {
        if self.in_flight.is_some() || self.open.is_empty() {
            return None;
        }
        let (bytes, record_bytes) = (self.open.file_bytes(), self.open.record_bytes());
        let fits = |segment: &Arc<SegmentFile>| self.tail.offset + bytes <= segment.bytes();
        let file = match self.tail.segment.as_ref().filter(|segment| fits(segment)) {
            Some(segment) => Arc::clone(segment),
            None => self.begin_segment(bytes),
        };
        let (first, last) = self.open.zxids();
        let buffer = self
            .spare_buffer
            .take()
            .unwrap_or_else(|| AlignedBuffer::with_capacity(BUFFER));
        let next = OpenBatch::new(buffer, last, self.open.chain());
        let open = std::mem::replace(&mut self.open, next);
        let offset = self.tail.offset;
        self.tail.chain = open.chain();
        let buffer = open.seal(file.header().sealer(), self.tail.index, offset);
        assert_eq!(
            buffer.len() as u64,
            bytes,
            "a batch's size is known before it is sealed"
        );
        self.tail.offset += bytes;
        self.tail.index += 1;
        self.in_flight = Some(last);
        Some(LogWrite {
            file,
            offset,
            buffer,
            record_bytes,
            first,
            last,
        })
    }

    /// Says that the write was done, and durable. Gives the last durable transaction.
    pub fn written(&mut self, write: LogWrite) -> Zxid {
        assert_eq!(
            self.in_flight.take(),
            Some(write.last),
            "the write that was on its way is done"
        );
        assert!(
            write.file.is_prepared(),
            "{write}: written to a segment that is not in the manifest"
        );
        assert!(self.durable < write.first && write.last <= self.appended);
        self.durable = write.last;
        self.tail.logged = write.last;
        self.tail.state = write.last;
        self.wrote = true;
        if write.buffer.capacity() <= BUFFER_KEPT_MAX {
            self.spare_buffer = Some(write.buffer);
        }
        self.look_ahead();
        self.durable
    }

    /// The next segment, for a first batch of so many bytes.
    fn begin_segment(&mut self, bytes: u64) -> Arc<SegmentFile> {
        let number = self.tail.number + 1;
        let least = BATCHES + bytes;
        let header = SegmentHeader {
            store: self.store.store,
            number,
            salt: self.store.salt(number),
            first: self.open.zxids().0,
            base: self.tail.state,
            bytes: self.store.segment_bytes(number).max(least),
            previous_last: self.tail.logged,
            previous_end: self.tail.offset,
            chain: self.tail.chain,
        };
        let segment = Arc::new(SegmentFile::new(Arc::clone(&self.store), header, least));
        self.tail.segment = Some(Arc::clone(&segment));
        self.tail.number = number;
        self.tail.offset = BATCHES;
        self.tail.index = 0;
        segment
    }

    /// Has the next segment made when this one is half full.
    fn look_ahead(&self) {
        let half_full = |segment: &Arc<SegmentFile>| 2 * self.tail.offset >= segment.bytes();
        if self.tail.segment.as_ref().is_none_or(half_full) {
            self.store.ahead.want(self.store.segment_bytes(self.tail.number + 1));
        }
    }

    /// Has the manifest say how far the log led, if that is surely on the disk.
    fn note_end(&self) -> io::Result<()> {
        match self.store.options.access {
            Access::Log { sync: false, .. } => Ok(()),
            _ => self.store.update(|manifest| manifest.reached = self.durable),
        }
    }

    /// A batch without records: whatever is found missing before it was durable.
    fn close_mark(&mut self) -> Option<LogWrite> {
        let file = Arc::clone(self.tail.segment.as_ref()?);
        let mark = OpenBatch::new(AlignedBuffer::with_capacity(BUFFER), self.durable, self.tail.chain);
        if !file.is_prepared() || self.tail.offset + mark.file_bytes() > file.bytes() {
            return None;
        }
        let (first, last) = mark.zxids();
        let (offset, index) = (self.tail.offset, self.tail.index);
        let buffer = mark.seal(file.header().sealer(), index, offset);
        Some(LogWrite {
            file,
            offset,
            buffer,
            record_bytes: 0,
            first,
            last,
        })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if !self.wrote || self.in_flight.is_some() || !self.open.is_empty() {
            return;
        }
        // Nothing was promised about either: without them, the end is as sure as after a crash. A full segment has no
        // room for the mark; then the manifest alone tells.
        let marked = self.close_mark().map_or(Ok(()), |mark| mark.perform().map(drop));
        let _ = marked.and_then(|()| self.note_end());
    }
}
