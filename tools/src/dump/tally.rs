//! Sums by key in bounded memory, and the largest of many.
//!
//! A [`Tally`] keeps its sums in a table up to a limit of bytes; when that is full, the table goes to a [`Sorter`] and
//! a new one begins. At the end the parts of each key meet again, so the sums are exact however many keys there are.

use std::collections::{BTreeSet, HashMap};
use std::io;

use super::sort::Sorter;

/// What a key costs beside its bytes: its pointer, its sum, and the room that a table leaves free.
const ROW_BYTES: usize = 64;

/// Something that adds up, and can be put down and taken up again.
pub trait Sum {
    /// Adds another one.
    fn add(&mut self, other: Self);
    /// Its bytes.
    fn encode(&self) -> Vec<u8>;
    /// The sum that gave these bytes.
    fn decode(bytes: &[u8]) -> Self;
}

/// Sums by key.
pub struct Tally<S> {
    memory: usize,
    held: usize,
    table: HashMap<Box<[u8]>, S>,
    full: Option<Sorter>,
}

impl<S: Sum> Tally<S> {
    /// Holds at most `memory` bytes of sums.
    pub fn new(memory: usize) -> Tally<S> {
        Tally {
            memory,
            held: 0,
            table: HashMap::new(),
            full: None,
        }
    }

    /// Adds to a key's sum.
    ///
    /// # Errors
    /// What writing the temporary file met.
    pub fn add(&mut self, key: &[u8], sum: S) -> io::Result<()> {
        if let Some(there) = self.table.get_mut(key) {
            there.add(sum);
            return Ok(());
        }
        let more = key.len() + size_of::<S>() + ROW_BYTES;
        if self.held + more > self.memory / 2 && !self.table.is_empty() {
            self.spill()?;
        }
        self.held += more;
        self.table.insert(key.into(), sum);
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        let sorter = self.full.get_or_insert_with(|| Sorter::new(self.memory / 2));
        for (key, sum) in self.table.drain() {
            sorter.push(&key, &[&sum.encode()])?;
        }
        self.held = 0;
        Ok(())
    }

    /// Gives every key and its sum, in the order of the keys.
    ///
    /// # Errors
    /// What the temporary file met, and what `each` returned.
    pub fn finish(mut self, each: &mut dyn FnMut(&[u8], S) -> io::Result<()>) -> io::Result<()> {
        if self.full.is_none() {
            let mut rows: Vec<_> = self.table.into_iter().collect();
            rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            return rows.into_iter().try_for_each(|(key, sum)| each(&key, sum));
        }
        self.spill()?;
        let mut sorted = self.full.expect("it was just there").finish()?;
        let mut open: Option<(Vec<u8>, S)> = None;
        while let Some((key, value)) = sorted.next()? {
            let sum = S::decode(value);
            match &mut open {
                Some((before, there)) if before == key => there.add(sum),
                _ => {
                    if let Some((key, sum)) = open.replace((key.to_vec(), sum)) {
                        each(&key, sum)?;
                    }
                }
            }
        }
        open.map_or(Ok(()), |(key, sum)| each(&key, sum))
    }
}

/// The `count` largest of what was offered, each with its size; among equals those that sort first.
pub struct Top<T> {
    count: usize,
    rows: BTreeSet<(std::cmp::Reverse<u64>, T)>,
}

impl<T: Ord> Top<T> {
    /// Keeps so many.
    pub fn new(count: usize) -> Top<T> {
        Top {
            count,
            rows: BTreeSet::new(),
        }
    }

    /// Offers one; it is only made if it is large enough to be kept.
    pub fn offer(&mut self, size: u64, what: impl FnOnce() -> T) {
        let full = self.rows.len() == self.count;
        if full && self.rows.last().is_none_or(|(least, _)| size < least.0) {
            return;
        }
        self.rows.insert((std::cmp::Reverse(size), what()));
        if self.rows.len() > self.count {
            self.rows.pop_last();
        }
    }

    /// What was kept, largest first.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (u64, &T)> {
        self.rows.iter().map(|(size, what)| (size.0, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Sum for u64 {
        fn add(&mut self, other: u64) {
            *self += other;
        }
        fn encode(&self) -> Vec<u8> {
            self.to_le_bytes().to_vec()
        }
        fn decode(bytes: &[u8]) -> u64 {
            u64::from_le_bytes(bytes.try_into().unwrap())
        }
    }

    #[test]
    fn sums_are_exact_with_any_memory() {
        for memory in [1 << 20, 3000, 10] {
            let mut tally = Tally::new(memory);
            for number in 0..2000u64 {
                tally.add(format!("{:03}", number % 300).as_bytes(), number).unwrap();
                assert!(tally.held <= memory.max(100), "the limit holds");
            }
            assert_eq!(tally.full.is_some(), memory < 1 << 20);
            let mut found = Vec::new();
            let mut take = |key: &[u8], sum| {
                found.push((String::from_utf8(key.to_vec()).unwrap(), sum));
                Ok(())
            };
            tally.finish(&mut take).unwrap();
            let sum = |rest: u64| (0..2000).filter(|number| number % 300 == rest).sum::<u64>();
            let wanted: Vec<_> = (0..300).map(|rest| (format!("{rest:03}"), sum(rest))).collect();
            assert_eq!(found, wanted, "with {memory} bytes");
        }
    }

    #[test]
    fn the_largest_are_kept() {
        let mut top = Top::new(3);
        for (size, name) in [(5, "e"), (9, "z"), (9, "a"), (1, "x"), (5, "d"), (7, "s")] {
            top.offer(size, || name);
        }
        let rows: Vec<_> = top.rows().collect();
        assert_eq!(rows, [(9, &"a"), (9, &"z"), (7, &"s")]);
        let mut none = Top::new(0);
        none.offer(5, || "e");
        assert_eq!(none.rows().len(), 0);
    }
}
