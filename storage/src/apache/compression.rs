//! How a snapshot may be packed (`SnapStream`): not at all, as one gzip member, or as xerial's framing of Snappy.
//!
//! The framing: `82 "SNAPPY" 00`, two versions of four bytes, then blocks, each a length and that many bytes of raw
//! Snappy. Gzip's own checksum is verified when the end is reached; Snappy blocks have none, the seals inside do.

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

/// A form of packing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// The bytes as they are.
    #[default]
    None,
    /// `.gz`
    Gzip,
    /// `.snappy`
    Snappy,
}

/// How the framing begins.
const SNAPPY_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
/// Its version and the least that can read it.
const SNAPPY_VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// Bytes that xerial packs into a block.
const SNAPPY_BLOCK: usize = 32 << 10;
/// The largest block that is read. Java writes [`SNAPPY_BLOCK`] always.
const SNAPPY_BLOCK_MAX: usize = 16 << 20;
/// Unpacked bytes that are kept ready.
const READY_BYTES: usize = 64 << 10;

impl Compression {
    /// All of them.
    pub const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Snappy];

    /// What a file's name ends with.
    pub fn suffix(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Snappy => ".snappy",
        }
    }

    /// The value of `snapshot.compression.method`.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gz",
            Compression::Snappy => "snappy",
        }
    }

    /// Unpacks.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the bytes do not begin as they should.
    pub fn reader<'r>(self, packed: impl BufRead + 'r) -> io::Result<Box<dyn BufRead + 'r>> {
        Ok(match self {
            Compression::None => Box::new(packed),
            Compression::Gzip => Box::new(BufReader::with_capacity(READY_BYTES, MultiGzDecoder::new(packed))),
            Compression::Snappy => Box::new(BufReader::with_capacity(READY_BYTES, SnappyReader::new(packed)?)),
        })
    }

    /// Packs; the last bytes are written by [`Packer::finish`] only.
    ///
    /// # Errors
    /// What `out` returned.
    pub fn writer<W: Write>(self, mut out: W) -> io::Result<Packer<W>> {
        Ok(match self {
            Compression::None => Packer::None(out),
            Compression::Gzip => Packer::Gzip(GzEncoder::new(out, flate2::Compression::default())),
            Compression::Snappy => {
                out.write_all(&SNAPPY_MAGIC)?;
                out.write_all(&SNAPPY_VERSIONS)?;
                Packer::Snappy(SnappyWriter {
                    out,
                    block: Vec::with_capacity(SNAPPY_BLOCK),
                    packed: Vec::new(),
                })
            }
        })
    }
}

/// Packs what is written to it.
pub enum Packer<W: Write> {
    /// Passes it on.
    None(W),
    /// As gzip.
    Gzip(GzEncoder<W>),
    /// As Snappy blocks.
    Snappy(SnappyWriter<W>),
}

impl<W: Write> Packer<W> {
    /// Writes what is left and gives back what was written to.
    ///
    /// # Errors
    /// What it returned.
    pub fn finish(self) -> io::Result<W> {
        let mut out = match self {
            Packer::None(out) => out,
            Packer::Gzip(packer) => packer.finish()?,
            Packer::Snappy(mut packer) => {
                packer.end_block()?;
                packer.out
            }
        };
        out.flush()?;
        Ok(out)
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Packer::None(out) => out.write(bytes),
            Packer::Gzip(packer) => packer.write(bytes),
            Packer::Snappy(packer) => packer.push(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Blocks of Snappy under xerial's framing.
pub struct SnappyWriter<W> {
    out: W,
    block: Vec<u8>,
    packed: Vec<u8>,
}

impl<W: Write> SnappyWriter<W> {
    fn push(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(SNAPPY_BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == SNAPPY_BLOCK {
            self.end_block()?;
        }
        Ok(count)
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.packed.resize(snap::raw::max_compress_len(self.block.len()), 0);
        let length = snap::raw::Encoder::new()
            .compress(&self.block, &mut self.packed)
            .map_err(io::Error::other)?;
        self.out.write_all(&(length as u32).to_be_bytes())?;
        self.out.write_all(&self.packed[..length])?;
        self.block.clear();
        Ok(())
    }
}

struct SnappyReader<R> {
    packed: R,
    chunk: Vec<u8>,
    block: Vec<u8>,
    given: usize,
}

impl<R: BufRead> SnappyReader<R> {
    fn new(mut packed: R) -> io::Result<SnappyReader<R>> {
        let mut head = [0; 16];
        packed.read_exact(&mut head)?;
        if head[..8] != SNAPPY_MAGIC {
            return Err(invalid("it does not begin as xerial's Snappy does"));
        }
        Ok(SnappyReader {
            packed,
            chunk: Vec::new(),
            block: Vec::new(),
            given: 0,
        })
    }

    /// Unpacks the next block; false at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        if self.packed.fill_buf()?.is_empty() {
            return Ok(false);
        }
        let mut length = [0; 4];
        self.packed.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > snap::raw::max_compress_len(SNAPPY_BLOCK_MAX) {
            return Err(invalid(&format!("a Snappy block claims {length} bytes")));
        }
        self.chunk.clear();
        self.packed.by_ref().take(length as u64).read_to_end(&mut self.chunk)?;
        if self.chunk.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let raw = snap::raw::decompress_len(&self.chunk).map_err(|error| invalid(&error.to_string()))?;
        // Snappy's densest code copies 64 bytes with 3: a claim above that is a lie, and not worth its memory.
        if raw > SNAPPY_BLOCK_MAX || raw / 32 > length {
            return Err(invalid(&format!(
                "a Snappy block of {length} bytes claims to hold {raw}"
            )));
        }
        self.block.resize(raw, 0);
        snap::raw::Decoder::new()
            .decompress(&self.chunk, &mut self.block)
            .map_err(|error| invalid(&error.to_string()))?;
        self.given = 0;
        Ok(true)
    }
}

impl<R: BufRead> Read for SnappyReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.given == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let left = &self.block[self.given..];
        let count = left.len().min(into.len());
        into[..count].copy_from_slice(&left[..count]);
        self.given += count;
        Ok(count)
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(form: Compression, packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        form.reader(packed)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let text: Vec<u8> = (0..200_000u32).flat_map(|n| (n / 7).to_be_bytes()).collect();
        for form in Compression::ALL {
            for length in [0, 1, SNAPPY_BLOCK - 1, SNAPPY_BLOCK, SNAPPY_BLOCK + 1, text.len()] {
                let mut packer = form.writer(Vec::new()).unwrap();
                packer.write_all(&text[..length]).unwrap();
                let packed = packer.finish().unwrap();
                assert_eq!(unpack(form, &packed).unwrap(), &text[..length], "{form:?} {length}");
            }
        }
    }

    #[test]
    fn cut_and_foreign_bytes_are_refused() {
        for form in [Compression::Gzip, Compression::Snappy] {
            let mut packer = form.writer(Vec::new()).unwrap();
            packer.write_all(&[7; 1000]).unwrap();
            let packed = packer.finish().unwrap();
            for length in 0..packed.len() {
                // A Snappy stream that ends before its first block holds nothing.
                let nothing = form == Compression::Snappy && length == 16;
                assert_eq!(
                    unpack(form, &packed[..length]).is_ok(),
                    nothing,
                    "{form:?} cut at {length}"
                );
            }
            assert!(unpack(form, b"ZKSN and more bytes").is_err());
        }
    }

    #[test]
    fn a_block_claims_no_more_than_it_can_hold() {
        let mut bytes = [&SNAPPY_MAGIC[..], &SNAPPY_VERSIONS].concat();
        bytes.extend([0xFF, 0xFF, 0xFF, 0xFF]);
        assert!(unpack(Compression::Snappy, &bytes).is_err());
        bytes.truncate(16);
        // A length of 8 MiB in a chunk of five bytes.
        bytes.extend([0, 0, 0, 5, 0x80, 0x80, 0x80, 0x04, 0]);
        assert!(
            unpack(Compression::Snappy, &bytes)
                .unwrap_err()
                .to_string()
                .contains("claims")
        );
    }
}
