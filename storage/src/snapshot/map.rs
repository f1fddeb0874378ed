//! A snapshot file as memory. The engine's one `unsafe` outside the trie.
//!
//! Mapped rather than read, so that loading a large snapshot on several threads neither copies it nor holds it twice.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::{Advice, Mmap, UncheckedAdvice};

/// The bytes of a file, for as long as this lives.
#[derive(Debug)]
pub struct Mapped {
    bytes: Mmap,
}

/// Maps a file for reading from front to back.
///
/// # Errors
/// What opening or mapping met.
pub fn map(path: &Path) -> io::Result<Mapped> {
    let file = File::open(path)?;
    // SAFETY: the memory must not change while it is borrowed as bytes. A snapshot is written under a temporary name
    // and renamed when it is whole; nothing in Ringkeeper writes to it, shortens it or re-uses it afterwards, it is
    // only ever unlinked, which leaves a mapping intact. An operator who overwrites it in place while a server starts
    // breaks this; the checksums, verified over the same mapping that is then used, turn that into a refusal, and a
    // shortened file into SIGBUS, which ends the process: in no case is a wrong tree served in silence.
    // WHY not read(2): twice the memory at start-up, of a file as large as a server's whole state.
    let bytes = unsafe { Mmap::map(&file)? };
    // Only advice: a kernel that cannot take it reads the file all the same.
    let _ = bytes.advise(Advice::Sequential);
    Ok(Mapped { bytes })
}

impl Mapped {
    /// The process needs the bytes before `offset` no longer: their pages stop counting as its memory. They can still
    /// be read, from the file.
    pub fn release(&self, offset: usize) {
        let length = offset.min(self.bytes.len());
        // SAFETY: on this mapping, shared and never written, DONTNEED loses nothing: a page that is touched again
        // comes from the page cache with the same bytes. (Only private pages that were changed would be lost.)
        // WHY not leave it to the kernel: it drops pages under pressure, not before, and a tool that reads a file of
        // 10 GB should not look like one that holds 10 GB.
        let advised = unsafe { self.bytes.unchecked_advise_range(UncheckedAdvice::DontNeed, 0, length) };
        // Only advice, as above.
        let _ = advised;
    }
}

impl Deref for Mapped {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}
