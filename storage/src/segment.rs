//! One segment's file, from the moment the log decides to begin it.
//!
//! Beginning a segment does file work that no event loop should wait for, so it is put off until [`prepare`]:
//!
//! | step | a crash behind it leaves | recovery |
//! |---|---|---|
//! | 1. take a zero-filled, synced spare | a temporary file | removes it |
//! | 2. write the header, synced | the same | removes it |
//! | 3. rename it, sync the directory | a segment without a batch that the manifest does not list | removes it |
//! | 4. list it in the manifest, synced | a listed segment without a batch | takes it off the manifest and removes it |
//! | 5. batches | see `scan` | |
//!
//! Invariant: no batch is written before step 4, so a segment that is not listed holds nothing acknowledged.
//!
//! [`prepare`]: SegmentFile::prepare

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::disk::{Access, DiskFile, context};
use crate::format::{SegmentHeader, segment_name};
use crate::manifest::ListedSegment;
use crate::store::Store;

/// A segment's file; it exists and may be written to once [`SegmentFile::prepare`] has returned.
pub struct SegmentFile {
    path: PathBuf,
    header: SegmentHeader,
    /// The bytes that it cannot do without; `header.bytes` is what it should have.
    least: u64,
    store: Arc<Store>,
    opened: OnceLock<Opened>,
    preparing: Mutex<()>,
}

struct Opened {
    file: Arc<dyn DiskFile>,
    bytes: u64,
}

impl SegmentFile {
    /// One that is yet to be begun, with `header.bytes` if there is room for them, else with `least`.
    pub(crate) fn new(store: Arc<Store>, header: SegmentHeader, least: u64) -> SegmentFile {
        SegmentFile {
            path: store.log.join(segment_name(header.first)),
            header,
            least,
            store,
            opened: OnceLock::new(),
            preparing: Mutex::new(()),
        }
    }

    /// One that recovery found, to be continued.
    pub(crate) fn reopen(store: Arc<Store>, header: SegmentHeader) -> io::Result<SegmentFile> {
        let least = header.bytes;
        let segment = SegmentFile::new(store, header, least);
        let file = open_log(&segment.store, &segment.path, None)?;
        let bytes = segment.header.bytes;
        segment.opened.get_or_init(|| Opened { file, bytes });
        Ok(segment)
    }

    /// Does what is left to do before the first batch; at once if nothing is. May wait for the disk: call it where
    /// that is allowed, before the write. On an error the log must not be written to again.
    pub fn prepare(&self) -> io::Result<()> {
        let _one = self.preparing.lock();
        if self.is_prepared() {
            return Ok(());
        }
        let store = &*self.store;
        let spare = store.ahead.take(self.header.bytes, self.least)?;
        let header = SegmentHeader {
            bytes: spare.bytes,
            ..self.header.clone()
        };
        let mut block = crate::buffer::AlignedBuffer::with_capacity(crate::format::BLOCK);
        block.grow(crate::format::BLOCK);
        block.copy_from_slice(&header.encode());
        let file = open_log(store, &spare.path, Some(&block))?;
        let listed = ListedSegment {
            number: header.number,
            first: header.first,
            base: header.base,
        };
        if store
            .manifest
            .lock()
            .segments
            .iter()
            .any(|other| other.first == listed.first)
        {
            let text = format!("{}: there is a segment of that name already", self.path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        store
            .disk
            .rename(&spare.path, &self.path)
            .and_then(|()| store.disk.sync_dir(&store.log))
            .map_err(context("cannot rename a segment to", &self.path))?;
        store.update_in_need(|manifest| {
            manifest.segments.push(listed);
            // Its base says the same from now on.
            manifest.cut = None;
        })?;
        let bytes = spare.bytes;
        self.opened.get_or_init(|| Opened { file, bytes });
        Ok(())
    }

    /// Whether [`SegmentFile::prepare`] would return at once.
    pub fn is_prepared(&self) -> bool {
        self.opened.get().is_some()
    }

    /// The file, for who writes through a ring. Panics before [`SegmentFile::prepare`], and on a simulated disk.
    pub fn file(&self) -> &File {
        self.opened().file.os_file().expect("a segment on a real disk")
    }

    /// Whether a write is durable only after fdatasync.
    pub fn needs_sync(&self) -> bool {
        self.opened().file.needs_sync()
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn disk_file(&self) -> &dyn DiskFile {
        &*self.opened().file
    }

    pub(crate) fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The file's length.
    pub(crate) fn bytes(&self) -> u64 {
        self.opened().bytes
    }

    fn opened(&self) -> &Opened {
        self.opened
            .get()
            .expect("a segment is prepared before it is written to")
    }
}

/// Opens a segment for batches, and writes its first block if that is given. Some file systems take O_DIRECT when a
/// file is opened and refuse it when it is written to: the first write decides.
fn open_log(store: &Store, path: &Path, header: Option<&[u8]>) -> io::Result<Arc<dyn DiskFile>> {
    let write = |access| -> io::Result<Arc<dyn DiskFile>> {
        let file = store.disk.open(path, access)?;
        if let Some(header) = header {
            file.write_at(header, 0)?;
            if file.needs_sync() {
                file.sync()?;
            }
        }
        Ok(file)
    };
    let opened = match (write(store.options.access), store.options.access) {
        (Err(error), Access::Log { direct: true, sync }) if error.raw_os_error() == Some(libc::EINVAL) => {
            write(Access::Log { direct: false, sync })
        }
        (opened, _) => opened,
    };
    opened.map_err(context("cannot begin the segment", path))
}
