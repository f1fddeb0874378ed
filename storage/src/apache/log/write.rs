//! A log written as Apache ZooKeeper writes it, without space ahead.

use std::io::{self, Write};

use super::{MAGIC, TRAILER, TXN_HEADER_BYTES, TxnHeader, VERSION};

/// The longest payload that Java reads back with its defaults (`jute.maxbuffer` and as much again).
pub const PAYLOAD_BYTES_MAX: usize = 2_097_150;

/// Writes a log. The file's name is the zxid of the first record.
pub struct Writer<W> {
    out: W,
    last: Option<i64>,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// What `out` returned.
    pub fn new(mut out: W) -> io::Result<Writer<W>> {
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_be_bytes())?;
        // The dbid of every log; snapshots have another.
        out.write_all(&0i64.to_be_bytes())?;
        Ok(Writer { out, last: None })
    }

    /// Writes a transaction: header, record and digest as peers speak them.
    ///
    /// # Errors
    /// What the output returned; [`io::ErrorKind::InvalidInput`] for a payload that Java would not read back, or that
    /// does not ascend.
    pub fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        let invalid = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        let Some(header) = TxnHeader::of(payload) else {
            return invalid(format!(
                "a transaction of {} bytes; {TXN_HEADER_BYTES} are its header",
                payload.len()
            ));
        };
        if payload.len() > PAYLOAD_BYTES_MAX {
            return invalid(format!(
                "the transaction of zxid 0x{:x} has {} bytes; Apache ZooKeeper reads at most {PAYLOAD_BYTES_MAX} \
                 unless jute.maxbuffer is raised",
                header.zxid,
                payload.len()
            ));
        }
        if self.last.is_some_and(|last| header.zxid as u64 <= last as u64) {
            return invalid(format!("zxid 0x{:x} does not ascend", header.zxid));
        }
        self.last = Some(header.zxid);
        self.out
            .write_all(&u64::from(simd_adler32::adler32(&payload)).to_be_bytes())?;
        self.out.write_all(&(payload.len() as u32).to_be_bytes())?;
        self.out.write_all(payload)?;
        self.out.write_all(&[TRAILER])
    }

    /// Gives back the output.
    pub fn into_inner(self) -> W {
        self.out
    }
}
