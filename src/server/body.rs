//! A request's record on its way: most are read and forgotten where they lie in the receive buffer; those that go
//! to the writer, or wait behind a write, are kept.
//!
//! The first record that is kept copies what is left of the receive buffer once; every later one of the same buffer
//! is a slice of that copy. A client that sends writes many at a time so costs one allocation per read of its
//! socket instead of one per write.

use std::cell::OnceCell;
use std::ops::Deref;

use bytes::Bytes;

/// What one look at a receive buffer keeps of it.
pub struct Keeper<'a> {
    received: &'a [u8],
    /// Where the copy begins, and the copy.
    kept: OnceCell<(usize, Bytes)>,
}

impl<'a> Keeper<'a> {
    /// For everything that a look at the buffer finds.
    pub fn new(received: &'a [u8]) -> Keeper<'a> {
        Keeper {
            received,
            kept: OnceCell::new(),
        }
    }

    fn keep(&self, part: &[u8]) -> Bytes {
        if part.is_empty() {
            return Bytes::new();
        }
        let start = self
            .received
            .element_offset(&part[0])
            .expect("a record lies in its receive buffer");
        let (from, copy) = self
            .kept
            .get_or_init(|| (start, Bytes::copy_from_slice(&self.received[start..])));
        // Records are kept in the order in which they lie.
        copy.slice(start - from..start - from + part.len())
    }
}

/// A record where it was received.
#[derive(Clone, Copy)]
pub struct Body<'a> {
    part: &'a [u8],
    keeper: &'a Keeper<'a>,
}

impl<'a> Body<'a> {
    /// A part of what the keeper looks at.
    pub fn new(part: &'a [u8], keeper: &'a Keeper<'a>) -> Body<'a> {
        Body { part, keeper }
    }

    /// The record for later.
    pub fn keep(self) -> Bytes {
        self.keeper.keep(self.part)
    }
}

impl Deref for Body<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_copy_serves_all_that_is_kept() {
        let received = b"..first..second";
        let keeper = Keeper::new(received);
        let first = Body::new(&received[2..7], &keeper).keep();
        let second = Body::new(&received[9..15], &keeper).keep();
        assert_eq!((&first[..], &second[..]), (&b"first"[..], &b"second"[..]));
        let apart = second.as_ptr() as usize - first.as_ptr() as usize;
        assert_eq!(apart, 7, "slices of the same copy");
        let none = Body::new(&received[15..], &keeper);
        assert!(none.is_empty() && none.keep().is_empty());
    }
}
