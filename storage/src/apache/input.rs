//! The small big-endian reader of both formats: counts bytes and keeps the running Adler-32 of everything taken.
//!
//! Nothing is read ahead of what was asked for, so that the bytes behind a snapshot in a stream stay the caller's.

use std::io::{BufRead, Read};

use simd_adler32::Adler32;

use super::{BUFFER_BYTES_MAX, ReadError, text};

/// Bytes in order, counted and summed.
pub(super) struct Input<R> {
    inner: R,
    offset: u64,
    sum: Adler32,
}

type Taken<T> = Result<T, ReadError>;

impl<R: BufRead> Input<R> {
    pub fn new(inner: R) -> Input<R> {
        Input {
            inner,
            offset: 0,
            sum: Adler32::new(),
        }
    }

    /// Bytes taken so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Adler-32 of all bytes taken so far, as the formats store it.
    pub fn checksum(&self) -> i64 {
        i64::from(self.sum.finish())
    }

    /// Gives back the source, at the first byte that was not taken.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// Fills the buffer as far as bytes are left, and says how far.
    pub fn up_to(&mut self, buffer: &mut [u8], inside: &'static str) -> Taken<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ReadError::from_io(self.offset + filled as u64, error, inside)),
            }
        }
        self.took(&buffer[..filled]);
        Ok(filled)
    }

    fn took(&mut self, bytes: &[u8]) {
        self.sum.write(bytes);
        self.offset += bytes.len() as u64;
    }

    pub fn exact<const N: usize>(&mut self, inside: &'static str) -> Taken<[u8; N]> {
        let mut bytes = [0; N];
        match self.up_to(&mut bytes, inside)? {
            filled if filled == N => Ok(bytes),
            _ => Err(self.ends(inside)),
        }
    }

    pub fn int(&mut self, inside: &'static str) -> Taken<i32> {
        self.exact(inside).map(i32::from_be_bytes)
    }

    pub fn long(&mut self, inside: &'static str) -> Taken<i64> {
        self.exact(inside).map(i64::from_be_bytes)
    }

    /// Appends so many bytes; memory grows only with what comes. Fewer than asked for are left in `into`.
    pub fn append(&mut self, into: &mut Vec<u8>, count: usize, inside: &'static str) -> Taken<usize> {
        let before = into.len();
        let read = self.inner.by_ref().take(count as u64).read_to_end(into);
        let taken = into.len() - before;
        // Not through `took`: the bytes are in `into` already.
        self.sum.write(&into[before..]);
        self.offset += taken as u64;
        read.map_err(|error| ReadError::from_io(self.offset, error, inside))?;
        Ok(taken)
    }

    /// A byte string into `into`, replacing what it held. False for null.
    pub fn buffer(&mut self, into: &mut Vec<u8>, inside: &'static str) -> Taken<bool> {
        into.clear();
        let at = self.offset;
        match self.int(inside)? {
            -1 => Ok(false),
            length => {
                let count = usize::try_from(length).ok().filter(|count| *count <= BUFFER_BYTES_MAX);
                let Some(count) = count else {
                    return Err(ReadError::damaged(at, format!("the length of {inside} is {length}")));
                };
                if self.append(into, count, inside)? < count {
                    return Err(self.ends(inside));
                }
                Ok(true)
            }
        }
    }

    /// Text; `None` for null.
    pub fn text(&mut self, scratch: &mut Vec<u8>, inside: &'static str) -> Taken<Option<String>> {
        let at = self.offset;
        if !self.buffer(scratch, inside)? {
            return Ok(None);
        }
        match text::decode(scratch) {
            Some(text) => Ok(Some(text.into_owned())),
            None => Err(not_text(at, inside, scratch)),
        }
    }

    /// Takes zero bytes, and says how many and whether something follows them.
    pub fn skip_zeros(&mut self, inside: &'static str) -> Taken<(u64, bool)> {
        let mut zeros = 0;
        loop {
            let bytes = match self.inner.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ReadError::from_io(self.offset, error, inside)),
            };
            if bytes.is_empty() {
                return Ok((zeros, false));
            }
            let count = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
            let follows = count < bytes.len();
            self.sum.write(&bytes[..count]);
            self.inner.consume(count);
            self.offset += count as u64;
            zeros += count as u64;
            if follows {
                return Ok((zeros, true));
            }
        }
    }

    pub fn ends(&self, inside: &'static str) -> ReadError {
        ReadError::Ends {
            offset: self.offset,
            inside,
        }
    }
}

pub(super) fn not_text(offset: u64, inside: &str, bytes: &[u8]) -> ReadError {
    let shown = &bytes[..bytes.len().min(80)];
    ReadError::damaged(offset, format!("{inside} \"{}\" is no text", shown.escape_ascii()))
}
