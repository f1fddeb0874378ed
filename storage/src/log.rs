//! STAND-IN
#![allow(missing_docs)]
use crate::Zxid;
use std::sync::Arc;
pub struct SegmentFile(std::fs::File);
impl SegmentFile {
    pub fn file(&self) -> &std::fs::File {
        &self.0
    }
    pub fn needs_sync(&self) -> bool {
        true
    }
}
pub struct AlignedBuffer(Vec<u8>);
impl std::ops::Deref for AlignedBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}
pub struct LogWrite {
    pub file: Arc<SegmentFile>,
    pub offset: u64,
    pub buffer: AlignedBuffer,
    pub first: Zxid,
    pub last: Zxid,
}
impl std::fmt::Display for LogWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{}", self.first, self.last)
    }
}
impl LogWrite {
    pub fn perform(self) -> std::io::Result<LogWrite> {
        use std::os::unix::fs::FileExt;
        self.file.0.write_all_at(&self.buffer, self.offset)?;
        self.file.0.sync_data()?;
        Ok(self)
    }
}
pub struct Log {
    file: Arc<SegmentFile>,
    offset: u64,
    open: Vec<u8>,
    first: Zxid,
    appended: Zxid,
    durable: Zxid,
}
impl Log {
    pub fn new() -> Log {
        let f = std::fs::File::create(format!("/tmp/standin-{}", std::process::id())).unwrap();
        Log {
            file: Arc::new(SegmentFile(f)),
            offset: 0,
            open: vec![],
            first: Zxid::ZERO,
            appended: Zxid::ZERO,
            durable: Zxid::ZERO,
        }
    }
    pub fn append(&mut self, zxid: Zxid, parts: &[&[u8]]) {
        if self.open.is_empty() {
            self.first = zxid
        }
        self.open.extend(parts.concat());
        self.appended = zxid;
    }
    pub fn durable(&self) -> Zxid {
        self.durable
    }
    pub fn next_write(&mut self) -> Option<LogWrite> {
        if self.open.is_empty() {
            return None;
        }
        let b = std::mem::take(&mut self.open);
        let o = self.offset;
        self.offset += b.len() as u64;
        Some(LogWrite {
            file: self.file.clone(),
            offset: o,
            buffer: AlignedBuffer(b),
            first: self.first,
            last: self.appended,
        })
    }
    pub fn written(&mut self, w: LogWrite) -> Zxid {
        self.durable = w.last;
        w.last
    }
}
