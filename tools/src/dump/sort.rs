//! Sorting in bounded memory, whatever the count of records.
//!
//! Records are gathered up to a limit of bytes; what is more is sorted and written to a temporary file as a run, and at
//! the end the runs are merged. The file has no name (a killed tool leaves nothing behind) and lies where `TMPDIR`
//! says. Equal keys come out in the order in which they went in.
//!
//! Memory ≤ the limit while records go in (one larger than that is kept alone), and while they come out half of it for
//! the runs' buffers, of at least 4 KiB each: with 64 MiB that is enough for runs of 500 GB.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;

/// What a record costs beside its bytes: the place that is sorted in its stead.
const PLACE_BYTES: usize = size_of::<Place>();
/// A record's lengths in a run.
const HEAD_BYTES: usize = 8;
/// The least and the most that is read of a run at once.
const BUFFER_BYTES: (usize, usize) = (4 << 10, 256 << 10);

/// Takes records in any order.
pub struct Sorter {
    memory: usize,
    gathered: Gathered,
    runs: Option<Runs>,
}

/// Gives records in the order of their keys.
pub struct Sorted(From);

enum From {
    Memory { gathered: Gathered, next: usize },
    Runs(Merge),
}

#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where a record's key begins; its value is behind it.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    key: u32,
    value: u32,
}

struct Runs {
    file: BufWriter<File>,
    /// Where each run ends; it begins where the one before ends.
    ends: Vec<u64>,
    written: u64,
}

impl Sorter {
    /// Holds at most `memory` bytes of records.
    pub fn new(memory: usize) -> Sorter {
        Sorter {
            memory,
            gathered: Gathered::default(),
            runs: None,
        }
    }

    /// Takes a record. Its value comes in parts, which are laid end to end.
    ///
    /// # Errors
    /// What writing the temporary file met.
    pub fn push(&mut self, key: &[u8], value: &[&[u8]]) -> io::Result<()> {
        let length: usize = value.iter().map(|part| part.len()).sum();
        let more = key.len() + length + PLACE_BYTES;
        let gathered = &self.gathered;
        if gathered.size() > 0 && gathered.size() + more > self.memory {
            self.spill()?;
        }
        self.gathered.push(key, value, length, self.memory);
        Ok(())
    }

    /// Everything was pushed.
    ///
    /// # Errors
    /// As [`Sorter::push`].
    pub fn finish(mut self) -> io::Result<Sorted> {
        if self.runs.is_some() {
            self.spill()?;
        }
        match self.runs.take() {
            Some(runs) => {
                self.gathered = Gathered::default();
                Ok(Sorted(From::Runs(Merge::new(runs, self.memory / 2)?)))
            }
            None => {
                self.gathered.sort();
                Ok(Sorted(From::Memory {
                    gathered: self.gathered,
                    next: 0,
                }))
            }
        }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.gathered.sort();
        let runs = match &mut self.runs {
            Some(runs) => runs,
            none => none.insert(Runs::new()?),
        };
        runs.add(&self.gathered).map_err(of_the_file)?;
        self.gathered.clear(self.memory);
        Ok(())
    }
}

fn of_the_file(error: io::Error) -> io::Error {
    let place = std::env::temp_dir();
    let text = format!(
        "a temporary file in {}: {error}; TMPDIR chooses another place, --memory lets more be done without one",
        place.display()
    );
    io::Error::new(error.kind(), text)
}

impl Gathered {
    fn size(&self) -> usize {
        self.bytes.len() + self.places.len() * PLACE_BYTES
    }

    fn push(&mut self, key: &[u8], value: &[&[u8]], length: usize, memory: usize) {
        if self.bytes.capacity() == 0 {
            // Once and whole: a vector that doubles holds up to three times what is in it. Untouched pages cost nothing.
            self.bytes.reserve_exact(memory);
            self.places.reserve_exact(memory / PLACE_BYTES / 4);
        }
        self.places.push(Place {
            at: self.bytes.len(),
            key: u32::try_from(key.len()).expect("a key is no longer than an entry of a snapshot"),
            value: u32::try_from(length).expect("a value is no longer than an entry of a snapshot"),
        });
        self.bytes.extend_from_slice(key);
        value.iter().for_each(|part| self.bytes.extend_from_slice(part));
    }

    fn record(&self, place: &Place) -> (&[u8], &[u8]) {
        let (key, value) = (place.key as usize, place.value as usize);
        self.bytes[place.at..][..key + value].split_at(key)
    }

    fn sort(&mut self) {
        let mut places = std::mem::take(&mut self.places);
        // By place among equals: as they came.
        places.sort_unstable_by(|a, b| self.record(a).0.cmp(self.record(b).0).then(a.at.cmp(&b.at)));
        self.places = places;
    }

    /// Empties it; the room of a record above the limit is given back.
    fn clear(&mut self, memory: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(memory);
        self.places.clear();
    }
}

impl Runs {
    fn new() -> io::Result<Runs> {
        Ok(Runs {
            file: BufWriter::with_capacity(256 << 10, tempfile::tempfile().map_err(of_the_file)?),
            ends: Vec::new(),
            written: 0,
        })
    }

    fn add(&mut self, gathered: &Gathered) -> io::Result<()> {
        for place in &gathered.places {
            let (key, value) = gathered.record(place);
            self.file.write_all(&place.key.to_le_bytes())?;
            self.file.write_all(&place.value.to_le_bytes())?;
            self.file.write_all(key)?;
            self.file.write_all(value)?;
            self.written += (HEAD_BYTES + key.len() + value.len()) as u64;
        }
        self.ends.push(self.written);
        Ok(())
    }
}

impl Sorted {
    /// The next record: its key and its value.
    ///
    /// # Errors
    /// What reading the temporary file met.
    #[allow(clippy::should_implement_trait, reason = "it lends")]
    pub fn next(&mut self) -> io::Result<Option<(&[u8], &[u8])>> {
        match &mut self.0 {
            From::Memory { gathered, next } => {
                let place = gathered.places.get(*next);
                *next += 1;
                Ok(place.map(|place| gathered.record(place)))
            }
            From::Runs(merge) => merge.next().map_err(of_the_file),
        }
    }
}

/// Runs, merged: a heap of them by their next record.
struct Merge {
    file: File,
    runs: Vec<Run>,
    heap: Vec<usize>,
    /// Whether the heap's first run has given its record.
    given: bool,
}

impl Merge {
    fn new(runs: Runs, memory: usize) -> io::Result<Merge> {
        let ends = runs.ends;
        let file = runs
            .file
            .into_inner()
            .map_err(|error| of_the_file(error.into_error()))?;
        let buffer = (memory / ends.len()).clamp(BUFFER_BYTES.0, BUFFER_BYTES.1);
        let begins = std::iter::once(0).chain(ends.iter().copied());
        let mut merge = Merge {
            file,
            runs: begins
                .zip(&ends)
                .map(|(from, to)| Run::new(from, *to, buffer))
                .collect(),
            heap: Vec::new(),
            given: false,
        };
        for index in 0..merge.runs.len() {
            if merge.runs[index].advance(&merge.file).map_err(of_the_file)? {
                merge.heap.push(index);
            }
        }
        for index in (0..merge.heap.len() / 2).rev() {
            merge.sink(index);
        }
        Ok(merge)
    }

    fn next(&mut self) -> io::Result<Option<(&[u8], &[u8])>> {
        if self.given {
            let first = self.heap[0];
            if !self.runs[first].advance(&self.file)? {
                self.heap.swap_remove(0);
            }
            self.sink(0);
        }
        self.given = !self.heap.is_empty();
        Ok(self.heap.first().map(|first| self.runs[*first].record()))
    }

    /// Moves the run at an index of the heap down to where it belongs.
    fn sink(&mut self, mut index: usize) {
        loop {
            let children = 2 * index + 1..(2 * index + 3).min(self.heap.len());
            let Some(least) = children.min_by(|a, b| self.order(*a, *b)) else {
                return;
            };
            if self.order(index, least) == Ordering::Less {
                return;
            }
            self.heap.swap(index, least);
            index = least;
        }
    }

    fn order(&self, a: usize, b: usize) -> Ordering {
        let (a, b) = (self.heap[a], self.heap[b]);
        // Among equals the earlier run first: as they came.
        self.runs[a].record().0.cmp(self.runs[b].record().0).then(a.cmp(&b))
    }
}

/// A run while it is read.
struct Run {
    /// What is not yet in the buffer.
    from: u64,
    to: u64,
    buffer: Vec<u8>,
    capacity: usize,
    /// Where the record is in the buffer, and how long its key and value are.
    at: usize,
    key: usize,
    value: usize,
}

impl Run {
    fn new(from: u64, to: u64, capacity: usize) -> Run {
        Run {
            from,
            to,
            buffer: Vec::new(),
            capacity,
            at: 0,
            key: 0,
            value: 0,
        }
    }

    fn record(&self) -> (&[u8], &[u8]) {
        self.buffer[self.at..][..self.key + self.value].split_at(self.key)
    }

    /// Goes to the next record; false at the end.
    fn advance(&mut self, file: &File) -> io::Result<bool> {
        self.at += self.key + self.value;
        (self.key, self.value) = (0, 0);
        if self.at == self.buffer.len() && self.from == self.to {
            return Ok(false);
        }
        self.need(HEAD_BYTES, file)?;
        let length = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes")) as usize;
        let head = &self.buffer[self.at..][..HEAD_BYTES];
        let (key, value) = (length(&head[..4]), length(&head[4..]));
        self.at += HEAD_BYTES;
        self.need(key + value, file)?;
        (self.key, self.value) = (key, value);
        Ok(true)
    }

    /// Has so many bytes in the buffer.
    fn need(&mut self, bytes: usize, file: &File) -> io::Result<()> {
        if self.buffer.len() - self.at >= bytes {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let have = self.buffer.len();
        let wanted = bytes.max(self.capacity) - have;
        let more = usize::try_from(self.to - self.from).map_or(wanted, |left| left.min(wanted));
        self.buffer.shrink_to(bytes.max(self.capacity));
        self.buffer.reserve_exact(more);
        self.buffer.resize(have + more, 0);
        file.read_exact_at(&mut self.buffer[have..], self.from)?;
        self.from += more as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records from a small generator: many equal keys, some long, one longer than all memory.
    fn records(count: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut state = 88_172_645_463_325_252u64;
        let mut record = |number: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let key = format!("/{:x}", state % (count / 2)).into_bytes();
            let length = if number == count / 3 {
                40_000
            } else {
                state as usize % 90
            };
            (key, [&number.to_le_bytes()[..], &vec![number as u8; length]].concat())
        };
        (0..count).map(&mut record).collect()
    }

    #[test]
    fn runs_and_memory_give_what_a_stable_sort_gives() {
        let mut wanted = records(3000);
        for (memory, runs) in [(16 << 20, false), (20_000, true), (600, true)] {
            let mut sorter = Sorter::new(memory);
            for (key, value) in records(3000) {
                let (head, tail) = value.split_at(3);
                sorter.push(&key, &[head, tail]).unwrap();
                assert!(sorter.gathered.size() <= memory.max(41_000), "the limit holds");
            }
            assert_eq!(sorter.runs.is_some(), runs, "{memory}");
            let mut sorted = sorter.finish().unwrap();
            let mut found = Vec::new();
            while let Some((key, value)) = sorted.next().unwrap() {
                found.push((key.to_vec(), value.to_vec()));
            }
            wanted.sort_by(|a, b| a.0.cmp(&b.0));
            assert_eq!(found.len(), wanted.len());
            assert!(found == wanted, "with {memory} bytes");
            assert!(sorted.next().unwrap().is_none(), "the end stays the end");
        }
    }

    #[test]
    fn nothing_sorts_to_nothing() {
        assert!(Sorter::new(100).finish().unwrap().next().unwrap().is_none());
    }
}
