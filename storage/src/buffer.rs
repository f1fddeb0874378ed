//! A growing buffer whose bytes begin on a 4 KiB boundary, as O_DIRECT asks for.
//! Invariant: all bytes from the begin to the length, a multiple of 4 KiB, are defined; new ones are zero.

use std::ops::{Deref, DerefMut};

use crate::format::BLOCK;

/// Bytes that begin on a 4 KiB boundary; the length is a multiple of 4 KiB.
pub struct AlignedBuffer {
    backing: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// An empty buffer that grows to `bytes` without moving.
    pub fn with_capacity(bytes: usize) -> AlignedBuffer {
        let backing = vec![0; bytes.next_multiple_of(BLOCK) + BLOCK];
        let start = backing.as_ptr().align_offset(BLOCK);
        assert!(start < BLOCK, "an address of bytes can be aligned");
        AlignedBuffer {
            backing,
            start,
            length: 0,
        }
    }

    /// How far it grows without moving.
    pub fn capacity(&self) -> usize {
        (self.backing.len() - self.start) / BLOCK * BLOCK
    }

    /// Grows with zeros to `bytes`, rounded up to whole blocks; never shrinks.
    pub fn grow(&mut self, bytes: usize) {
        let length = bytes.next_multiple_of(BLOCK);
        if length > self.capacity() {
            let mut larger = AlignedBuffer::with_capacity(length.max(2 * self.capacity()));
            larger.length = self.length;
            larger.copy_from_slice(self);
            *self = larger;
        }
        if length > self.length {
            let (from, to) = (self.start + self.length, self.start + length);
            self.backing[from..to].fill(0);
            self.length = length;
        }
    }

    /// Forgets the bytes, keeps the memory.
    pub fn clear(&mut self) {
        self.length = 0;
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.backing[self.start..self.start + self.length]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.backing[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_aligned_and_zeroed_and_keeps_its_bytes() {
        let mut buffer = AlignedBuffer::with_capacity(1);
        for round in 1..=40 {
            buffer.grow(round * 1000);
            assert_eq!(buffer.as_ptr().align_offset(BLOCK), 0);
            assert_eq!(buffer.len(), (round * 1000).next_multiple_of(BLOCK));
            assert!(buffer[round * 1000 - 1..].iter().all(|byte| *byte == 0));
            buffer[..round * 1000].fill(round as u8);
        }
        buffer.clear();
        buffer.grow(100_000);
        assert!(buffer.iter().all(|byte| *byte == 0), "old bytes do not come back");
    }
}
