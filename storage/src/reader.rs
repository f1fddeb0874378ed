//! The log as files, for tools and for recovery: segments in order, each continued by the next.
//!
//! Reads only; takes no lock and knows no manifest, so it also reads a copied file or a running server's directory (of
//! which it may see a batch half written, as a torn end).

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::Zxid;
use crate::disk::{Disk, RealDisk};
use crate::format::{SegmentHeader, parse_segment_name};
use crate::scan::{End, SegmentScan, Step, Torn};

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct LogItem<'a> {
    /// The file it is in.
    pub file: &'a Path,
    /// Where its header begins in the file.
    pub offset: u64,
    /// The transaction.
    pub zxid: Zxid,
    /// What was appended.
    pub payload: &'a [u8],
}

/// How the reading ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that was written is there.
    Clean {
        /// Records read.
        records: u64,
        /// The last one's zxid.
        last: Zxid,
    },
    /// The last write did not arrive as a whole.
    Torn {
        /// In which file.
        file: PathBuf,
        /// Where the write begins.
        offset: u64,
        /// Bytes from there to the last one of it that arrived.
        bytes: u64,
        /// Its transactions, first and last, if its head arrived.
        zxids: Option<(Zxid, Zxid)>,
    },
    /// Something that was written is not there any more, or something else is.
    Corrupt {
        /// In which file.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
}

/// Reads segments in order and checks that each continues the one before.
pub struct LogReader<'d> {
    disk: &'d dyn Disk,
    before: Option<Before>,
    records: u64,
    last: Zxid,
}

/// What the next segment must continue.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    pub path: PathBuf,
    pub header: SegmentHeader,
    /// Where its batches end.
    pub end: u64,
    pub batches: u32,
    /// The last zxid logged in it or before it.
    pub logged: Zxid,
    pub chain: u32,
    pub torn: Option<Torn>,
}

/// Why reading stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    Io(io::Error),
    Corrupt {
        file: PathBuf,
        offset: u64,
        reason: String,
    },
    /// Who takes the records refused one.
    Refused {
        offset: u64,
        zxid: Zxid,
        reason: String,
    },
}

impl<'d> LogReader<'d> {
    /// Reads one segment file, or all segments of a directory, and hands each record to `each`.
    ///
    /// # Errors
    /// What reading the files met. Damage is no error but a verdict.
    pub fn read(path: &Path, each: &mut dyn FnMut(LogItem<'_>)) -> io::Result<Verdict> {
        LogReader::read_on(&RealDisk, path, each)
    }

    /// The same, on any disk.
    ///
    /// # Errors
    /// As [`LogReader::read`].
    pub fn read_on(disk: &'d dyn Disk, path: &Path, each: &mut dyn FnMut(LogItem<'_>)) -> io::Result<Verdict> {
        let mut names = disk.list(path).unwrap_or_default();
        names.retain(|name| parse_segment_name(name).is_some());
        let files = if names.is_empty() && disk.length(path).is_ok() {
            vec![path.to_path_buf()]
        } else {
            names.iter().map(|name| path.join(name)).collect()
        };
        let mut take = |item: LogItem<'_>| {
            each(item);
            ControlFlow::Continue(())
        };
        let verdict = LogReader::read_files(disk, &files, &mut |_| {}, &mut take)?;
        Ok(verdict.expect("everything is taken"))
    }

    /// Reads these segments in this order, one in memory at a time; tells `begin` of each, and hands records to `each`
    /// until that breaks off: then there is no verdict.
    ///
    /// # Errors
    /// As [`LogReader::read`].
    pub fn read_files(
        disk: &'d dyn Disk,
        files: &[PathBuf],
        begin: &mut dyn FnMut(&Path),
        each: &mut dyn FnMut(LogItem<'_>) -> ControlFlow<()>,
    ) -> io::Result<Option<Verdict>> {
        let mut reader = LogReader::new(disk);
        for file in files {
            begin(file);
            let mut take = |item: LogItem<'_>| match each(item) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err("nobody takes records any more".to_owned()),
            };
            match reader.segment(file, &mut take) {
                Ok(()) => {}
                Err(Stop::Io(error)) => return Err(error),
                Err(Stop::Refused { .. }) => return Ok(None),
                Err(Stop::Corrupt { file, offset, reason }) => {
                    return Ok(Some(Verdict::Corrupt { file, offset, reason }));
                }
            }
        }
        Ok(Some(reader.verdict()))
    }

    pub(crate) fn new(disk: &'d dyn Disk) -> LogReader<'d> {
        LogReader {
            disk,
            before: None,
            records: 0,
            last: Zxid::ZERO,
        }
    }

    /// Reads the next segment; on success, [`LogReader::before`] tells its end.
    pub(crate) fn segment(
        &mut self,
        path: &Path,
        each: &mut dyn FnMut(LogItem<'_>) -> Result<(), String>,
    ) -> Result<(), Stop> {
        let (bytes, length) = self.disk.read_used(path).map_err(Stop::Io)?;
        let corrupt = |offset, reason| {
            let file = path.to_path_buf();
            Stop::Corrupt { file, offset, reason }
        };
        let header = SegmentHeader::decode(&bytes).map_err(|reason| corrupt(0, reason.into()))?;
        self.check_continues(path, &header)?;
        if header.bytes != length {
            let reason = format!("the file has {length} bytes, it was made with {}", header.bytes);
            let offset = header.bytes.min(length);
            return Err(corrupt(offset, reason));
        }
        let mut scan = SegmentScan::new(&bytes, &header);
        let mut logged = header.previous_last;
        let torn = loop {
            let batch = match scan.step() {
                Step::Batch(batch) => batch,
                Step::End(End::Clean) => break None,
                Step::End(End::Torn(torn)) => break Some(torn),
                Step::End(End::Corrupt { offset, reason }) => return Err(corrupt(offset, reason)),
            };
            for record in batch.records() {
                let record = record.expect("a checked batch");
                let (offset, zxid, payload) = (record.offset, record.zxid, record.payload);
                let item = LogItem {
                    file: path,
                    offset,
                    zxid,
                    payload,
                };
                each(item).map_err(|reason| Stop::Refused { offset, zxid, reason })?;
                self.records += 1;
                self.last = zxid;
                logged = zxid;
            }
        };
        self.before = Some(Before {
            path: path.to_path_buf(),
            header,
            end: scan.offset(),
            batches: scan.index(),
            logged,
            chain: scan.chain(),
            torn,
        });
        Ok(())
    }

    /// The last segment that was read.
    pub(crate) fn before(&self) -> Option<&Before> {
        self.before.as_ref()
    }

    /// Whether a segment continues the one that was read last. If that one lacks its end, the damage is there.
    pub(crate) fn check_continues(&self, path: &Path, header: &SegmentHeader) -> Result<(), Stop> {
        let Some(before) = &self.before else { return Ok(()) };
        let (store, number) = (before.header.store, before.header.number + 1);
        if (store, number) != (header.store, header.number) {
            let reason = format!(
                "it is segment {} of store {:x}, but the one before it is segment {} of store {store:x}",
                header.number,
                header.store,
                number - 1
            );
            let file = path.to_path_buf();
            return Err(Stop::Corrupt {
                file,
                offset: 0,
                reason,
            });
        }
        let end = (before.end, before.logged, before.chain);
        if before.torn.is_none() && end == (header.previous_end, header.previous_last, header.chain) {
            return Ok(());
        }
        let reason = format!(
            "batches are missing here that were durable: {} continues offset {}, zxid {}, and this one ends with zxid {}",
            path.display(),
            header.previous_end,
            header.previous_last,
            before.logged
        );
        let (file, offset) = (before.path.clone(), before.end);
        Err(Stop::Corrupt { file, offset, reason })
    }

    fn verdict(self) -> Verdict {
        match self.before {
            Some(Before {
                path, torn: Some(torn), ..
            }) => Verdict::Torn {
                file: path,
                offset: torn.offset,
                bytes: torn.bytes,
                zxids: torn.zxids,
            },
            _ => Verdict::Clean {
                records: self.records,
                last: self.last,
            },
        }
    }
}
