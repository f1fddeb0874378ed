//! Jute's binary encoding: a borrowing [`Reader`] and a [`Writer`] that appends to a byte vector.
//!
//! Bytes left over after a record are ignored by the protocol, so a reader never insists on its end.
//! The odd corners are Java's: text is read as UTF-8 with replacement, and written with characters
//! outside the basic plane as two three-byte surrogates (`BinaryOutputArchive#stringToByteBuffer`).

use std::borrow::Cow;
use std::fmt;

/// Text as it came: borrowed when it was clean UTF-8.
pub type Text<'a> = Cow<'a, str>;

/// Why bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// So many more bytes were needed than were there.
    Short {
        /// Bytes the field needs.
        needed: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// A length that is negative (other than −1) or larger than the frame.
    Length(i32),
    /// A field whose value no decoder knows, by name.
    Unknown(&'static str, i32),
    /// A field that must not be null was.
    Null(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Short { needed, left } => write!(f, "{needed} bytes needed, {left} left"),
            DecodeError::Length(length) => write!(f, "impossible length {length}"),
            DecodeError::Unknown(field, value) => write!(f, "unknown {field} {value}"),
            DecodeError::Null(field) => write!(f, "{field} must not be null"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// What decoding gives.
pub type Decoded<T> = Result<T, DecodeError>;

/// Reads fields in order from borrowed bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, needed: usize) -> Decoded<&'a [u8]> {
        match self.rest.split_at_checked(needed) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(DecodeError::Short {
                needed,
                left: self.rest.len(),
            }),
        }
    }

    fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take gave N bytes"))
    }

    /// One byte; anything but 0 is true.
    pub fn bool(&mut self) -> Decoded<bool> {
        Ok(self.array::<1>()?[0] != 0)
    }

    /// Four bytes, big-endian.
    pub fn int(&mut self) -> Decoded<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// Eight bytes, big-endian.
    pub fn long(&mut self) -> Decoded<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A byte string; −1 is null.
    pub fn buffer(&mut self) -> Decoded<Option<&'a [u8]>> {
        match self.int()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| DecodeError::Length(length))?;
                self.take(length).map(Some)
            }
        }
    }

    /// Text; −1 is null. Bytes that are no UTF-8 become replacement characters, as in Java.
    pub fn text(&mut self) -> Decoded<Option<Text<'a>>> {
        // Clean text is told several bytes at a time; from_utf8_lossy looks at each.
        let clean = |bytes| std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
        Ok(self.buffer()?.map(clean))
    }

    /// Text that must be there.
    pub fn some_text(&mut self, field: &'static str) -> Decoded<Text<'a>> {
        self.text()?.ok_or(DecodeError::Null(field))
    }

    /// A vector; −1 is null, and any other negative count is empty (`BinaryIndex#done`).
    pub fn vector<T>(&mut self, mut element: impl FnMut(&mut Reader<'a>) -> Decoded<T>) -> Decoded<Option<Vec<T>>> {
        let count = self.int()?;
        if count == -1 {
            return Ok(None);
        }
        // Never more capacity than the bytes that came could fill: a count is only a claim.
        let mut elements = Vec::with_capacity((count.max(0) as usize).min(self.rest.len() / 4));
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }
}

/// Appends fields in order.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { out }
    }

    /// One byte.
    pub fn bool(&mut self, value: bool) {
        self.out.push(value as u8);
    }

    /// Four bytes, big-endian.
    pub fn int(&mut self, value: i32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    /// Eight bytes, big-endian.
    pub fn long(&mut self, value: i64) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    /// Bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A byte string or null.
    pub fn buffer(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            None => self.int(-1),
            Some(bytes) => {
                self.int(bytes.len() as i32);
                self.raw(bytes);
            }
        }
    }

    /// A byte string that is written in place: its length comes last, and nothing is copied.
    pub fn buffer_of(&mut self, fill: impl FnOnce(&mut Writer<'_>)) {
        let start = self.out.len();
        self.int(0);
        fill(&mut Writer::new(self.out));
        let length = self.out.len() - start - 4;
        let field = i32::try_from(length).expect("a byte string is smaller than 2 GiB");
        self.out[start..start + 4].copy_from_slice(&field.to_be_bytes());
    }

    /// Text.
    pub fn text(&mut self, text: &str) {
        if text.is_ascii() || text.bytes().all(|b| b < 0xF0) {
            self.buffer(Some(text.as_bytes()));
        } else {
            self.surrogates(text);
        }
    }

    /// Text or null.
    pub fn maybe_text(&mut self, text: Option<&str>) {
        match text {
            None => self.int(-1),
            Some(text) => self.text(text),
        }
    }

    #[cold]
    fn surrogates(&mut self, text: &str) {
        let mut bytes = Vec::with_capacity(text.len() * 3 / 2);
        for unit in text.encode_utf16() {
            match unit {
                0..0x80 => bytes.push(unit as u8),
                0x80..0x800 => bytes.extend([0xC0 | (unit >> 6) as u8, 0x80 | (unit & 0x3F) as u8]),
                _ => bytes.extend([
                    0xE0 | (unit >> 12) as u8,
                    0x80 | (unit >> 6 & 0x3F) as u8,
                    0x80 | (unit & 0x3F) as u8,
                ]),
            }
        }
        self.buffer(Some(&bytes));
    }

    /// A count and its elements.
    pub fn vector<T>(
        &mut self,
        elements: impl ExactSizeIterator<Item = T>,
        mut element: impl FnMut(&mut Writer<'_>, T),
    ) {
        self.int(elements.len() as i32);
        for e in elements {
            element(self, e);
        }
    }

    /// The bytes written so far, with whatever stood before them.
    pub fn written(&self) -> usize {
        self.out.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_round_trip_and_nulls_are_minus_one() {
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        w.bool(true);
        w.int(-2);
        w.long(i64::MIN);
        w.buffer(None);
        w.buffer(Some(b""));
        w.text("añ");
        w.vector([1, 2].into_iter(), |w, n| w.int(n));
        let mut r = Reader::new(&out);
        assert_eq!((r.bool(), r.int(), r.long()), (Ok(true), Ok(-2), Ok(i64::MIN)));
        assert_eq!((r.buffer(), r.buffer()), (Ok(None), Ok(Some(&b""[..]))));
        assert_eq!(r.text().unwrap().unwrap(), "añ");
        assert_eq!(r.vector(|r| r.int()), Ok(Some(vec![1, 2])));
        assert_eq!(r.int(), Err(DecodeError::Short { needed: 4, left: 0 }));
    }

    #[test]
    fn lengths_are_only_claims() {
        assert_eq!(
            Reader::new(&(-2i32).to_be_bytes()).buffer(),
            Err(DecodeError::Length(-2))
        );
        assert_eq!(
            Reader::new(&(-2i32).to_be_bytes()).vector(|r| r.int()),
            Ok(Some(vec![]))
        );
        assert_eq!(Reader::new(&(-1i32).to_be_bytes()).vector(|r| r.int()), Ok(None));
        assert!(Reader::new(&i32::MAX.to_be_bytes()).vector(|r| r.int()).is_err());
    }

    #[test]
    fn supplementary_characters_are_two_surrogates() {
        let mut out = Vec::new();
        Writer::new(&mut out).text("😀");
        assert_eq!(out, [0, 0, 0, 6, 0xED, 0xA0, 0xBD, 0xED, 0xB8, 0x80]);
    }
}
