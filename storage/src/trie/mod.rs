//! The versioned map: byte keys to byte values, one writer, any number of readers, versions that never change.
//!
//! A 32-way hash trie without reference counts. Every branch carries the *generation* in which it was made. The
//! writer changes a branch in place only while it carries the head's generation, and copies it otherwise; sealing
//! the head gives a [`Version`] and begins the next generation. What a copy replaced is *retired*, not freed:
//!
//! ```text
//! piece retired in generation g   is reachable from versions < g only
//! reader pinned at p              may look at, and advance to, versions ≥ p
//! hence freed when                g ≤ every pin (without a reader: at once; a new one begins at the head)
//!                                 and no frozen pin sees it (`kept`)
//! ```
//!
//! So a reader pays one store per [`Reader::advance`], which a server does once per turn of its loop, and a read
//! pays nothing. A version by itself pins nothing: it can only be used by advancing a reader whose pin is not newer,
//! and such a pin already holds everything that the version reaches. Readers come only from the writer, pinned at
//! what was just sealed, or as clones of a reader, pinned where that one is.
//!
//! A reader that will not advance any more can be frozen ([`Reader::freeze`]): a snapshot's, which looks at one version
//! for many seconds. The writer keeps for it what that version reaches and frees the rest, which is most: the upper
//! branches of the many versions that came and went meanwhile.
//!
//! A [`Checkpoint`] begins a generation too, so that everything from before it is copied on the first change; going
//! back frees what was made since and takes back what was retired since. [`Trie::return_to`] goes back further, to a
//! version that a reader looks into: what was made since is retired now, as other readers may see it, and what was
//! retired since and belongs to that version is live again.
//!
//! Keys are placed by a seeded hash, so nobody outside can choose colliding keys; equal hashes share a collision
//! piece below the last level. The seed is told ([`Trie::seed`]) because entries that are put in the order of
//! [`Trie::iter`] touch memory in order: loading a snapshot that way is several times faster, and [`Bulk`] builds from
//! it on several threads.
//!
//! `raw` holds every pointer; here, `unsafe` is only where something is freed or changed in place, with the reason why
//! nobody can reach it.

mod bulk;
mod kept;
mod pins;
mod raw;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use siphasher::sip::SipHasher13;

pub use bulk::{Bulk, Disorder, Part};
use kept::{Kept, Retired};
use pins::{Frozen, Pin, Pins};
use raw::{Piece, Slot};

/// Bits of the hash that one level uses.
const LEVEL_BITS: u32 = 5;
/// Levels before the hash is used up; below them equal hashes lie side by side.
const LEVELS: u32 = 64_u32.div_ceil(LEVEL_BITS);

/// What readers keep alive: the pins, and whatever the writer left behind.
struct Shared {
    id: u64,
    pins: Pins,
    estate: Mutex<Vec<Estate>>,
}

/// The pieces of a dropped writer: everything below a root, and single retired ones.
struct Estate {
    root: Slot,
    retired: VecDeque<Retired>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        for estate in self.estate.get_mut().drain(..) {
            // SAFETY: the writer left these and is gone, and so is the last reader: each held this `Shared`. What is
            // retired is no longer below the root, so each piece is freed once.
            unsafe {
                for (_, piece) in estate.retired {
                    piece.free();
                }
                estate.root.free_below();
            }
        }
    }
}

/// The writer's head.
pub struct Trie {
    seed: u64,
    root: Slot,
    len: usize,
    bytes: usize,
    /// Of what is made now; everything that carries a smaller one is frozen.
    generation: u64,
    last_sealed: u64,
    retired: VecDeque<Retired>,
    /// What only frozen readers still look at.
    kept: Kept,
    /// The frozen pins of the last look at all pins.
    frozen: Vec<Frozen>,
    /// While a checkpoint is open: what was made since.
    made: Option<Vec<Piece>>,
    /// From where to where the head has gone back: versions behind the first generation, up to the second.
    given_up: Vec<(u64, u64)>,
    shared: Arc<Shared>,
    hash: fn(u64, &[u8]) -> u64,
}

/// A point that the head can go back to.
#[must_use = "a checkpoint is either kept or gone back to"]
pub struct Checkpoint {
    trie_id: u64,
    root: Slot,
    len: usize,
    bytes: usize,
    retired_count: usize,
    generation: u64,
}

/// A sealed state of the map. To look into it, advance a [`Reader`] to it.
#[derive(Clone, Copy)]
pub struct Version {
    trie_id: u64,
    root: Slot,
    len: usize,
    generation: u64,
}

/// A handle that looks into one version and keeps it, and every newer one, alive.
pub struct Reader {
    seed: u64,
    root: Slot,
    len: usize,
    pin: Pin,
    shared: Arc<Shared>,
    hash: fn(u64, &[u8]) -> u64,
}

fn sip(seed: u64, key: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(seed, 0x7269_6e67_6b65_6570);
    hasher.write(key);
    hasher.finish()
}

/// The child number of `hash` at `level`.
fn index(hash: u64, level: u32) -> u32 {
    ((hash >> (level * LEVEL_BITS)) & 31) as u32
}

impl Trie {
    /// An empty map. The seed should be random where keys come from strangers.
    pub fn new(seed: u64) -> Trie {
        Trie::with_hash(seed, sip)
    }

    fn with_hash(seed: u64, hash: fn(u64, &[u8]) -> u64) -> Trie {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let shared = Shared {
            id,
            pins: Pins::default(),
            estate: Mutex::default(),
        };
        Trie {
            seed,
            root: Slot::NOTHING,
            len: 0,
            bytes: 0,
            generation: 1,
            last_sealed: 0,
            retired: VecDeque::new(),
            kept: Kept::default(),
            frozen: Vec::new(),
            made: None,
            given_up: Vec::new(),
            shared: Arc::new(shared),
            hash,
        }
    }

    /// What the placing of keys rests on.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes allocated for the head and everything that is retired and not freed.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The value of a key in the head.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        raw::find(&self.root, (self.hash)(self.seed, key), key)
    }

    /// All entries of the head, in trie order.
    pub fn iter(&self) -> Iter<'_> {
        Iter(raw::Walk::new(&self.root))
    }

    /// Puts a value, given in parts, under a key.
    pub fn put(&mut self, key: &[u8], parts: &[&[u8]]) {
        let hash = (self.hash)(self.seed, key);
        let leaf = Slot::leaf(key, parts);
        self.made(leaf);
        let root = self.root;
        let (root, replaced) = self.put_below(root, hash, 0, key, leaf);
        self.root = root;
        self.len += !replaced as usize;
    }

    /// Removes a key. False if it was not there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let hash = (self.hash)(self.seed, key);
        // Looked for first: a path is copied only when something will change.
        if raw::find(&self.root, hash, key).is_none() {
            return false;
        }
        self.root = self.remove_below(self.root, hash, 0, key);
        self.len -= 1;
        true
    }

    fn put_below(&mut self, slot: Slot, hash: u64, level: u32, key: &[u8], leaf: Slot) -> (Slot, bool) {
        if slot.is_nothing() {
            return (leaf, false);
        }
        if slot.is_leaf() {
            if slot.key() == key {
                self.retire(slot);
                return (leaf, true);
            }
            let other = (self.hash)(self.seed, slot.key());
            return (self.part(slot, other, leaf, hash, level), false);
        }
        if level == LEVELS {
            return self.put_among_equals(slot, key, leaf);
        }
        let index = index(hash, level);
        match slot.child(index) {
            None => (
                self.replaced(slot, slot.with_child(index, leaf, self.generation)),
                false,
            ),
            Some(child) => {
                let (new, replaced) = self.put_below(child, hash, level + 1, key, leaf);
                (self.with_changed(slot, index, child, new), replaced)
            }
        }
    }

    /// Two leaves with different keys under one slot: branches until their hashes part.
    fn part(&mut self, a: Slot, a_hash: u64, b: Slot, b_hash: u64, level: u32) -> Slot {
        let made = if level == LEVELS {
            Slot::equals(&[a, b], self.generation)
        } else {
            let (a_index, b_index) = (index(a_hash, level), index(b_hash, level));
            if a_index == b_index {
                let below = self.part(a, a_hash, b, b_hash, level + 1);
                Slot::branch(&[(a_index, below)], self.generation)
            } else {
                let mut children = [(a_index, a), (b_index, b)];
                children.sort_by_key(|(index, _)| *index);
                Slot::branch(&children, self.generation)
            }
        };
        self.made(made);
        made
    }

    fn put_among_equals(&mut self, slot: Slot, key: &[u8], leaf: Slot) -> (Slot, bool) {
        let mut leaves = slot.children().to_vec();
        let at = leaves.iter().position(|other| other.key() == key);
        match at {
            Some(at) => {
                self.retire(leaves[at]);
                leaves[at] = leaf;
            }
            None => leaves.push(leaf),
        }
        let new = Slot::equals(&leaves, self.generation);
        (self.replaced(slot, new), at.is_some())
    }

    fn remove_below(&mut self, slot: Slot, hash: u64, level: u32, key: &[u8]) -> Slot {
        if slot.is_leaf() {
            assert!(slot.key() == key, "the key was found a moment ago");
            self.retire(slot);
            return Slot::NOTHING;
        }
        if level == LEVELS {
            let at = slot
                .children()
                .iter()
                .position(|leaf| leaf.key() == key)
                .expect("the key was found a moment ago");
            let mut leaves = slot.children().to_vec();
            self.retire(leaves.remove(at));
            return match leaves[..] {
                [last] => {
                    self.discard(slot);
                    last
                }
                _ => self.replaced(slot, Slot::equals(&leaves, self.generation)),
            };
        }
        let index = index(hash, level);
        let child = slot.child(index).expect("the key was found a moment ago");
        let new = self.remove_below(child, hash, level + 1, key);
        let holds_one_leaf = new.is_leaf() && slot.children().len() == 1;
        if !new.is_nothing() && !holds_one_leaf {
            return self.with_changed(slot, index, child, new);
        }
        // Fewer children: a branch that would hold a single leaf, or nothing, gives way to it.
        let rest: Vec<Slot> = slot
            .children()
            .iter()
            .copied()
            .filter(|other| *other != child)
            .collect();
        match (new.is_nothing(), &rest[..]) {
            (true, []) => self.gave_way(slot, Slot::NOTHING),
            (true, [last]) if last.is_leaf() => self.gave_way(slot, *last),
            (true, _) => self.replaced(slot, slot.without_child(index, self.generation)),
            (false, _) => self.gave_way(slot, new),
        }
    }

    fn gave_way(&mut self, slot: Slot, to: Slot) -> Slot {
        self.discard(slot);
        to
    }

    /// A branch whose child became another: in place if the branch is of this generation.
    fn with_changed(&mut self, slot: Slot, index: u32, old: Slot, new: Slot) -> Slot {
        if old == new {
            return slot;
        }
        if slot.generation() == self.generation {
            // SAFETY: sealing and checkpoints begin a generation, so neither a version nor a checkpoint reaches it.
            unsafe { slot.set_child(index, new) };
            return slot;
        }
        let copy = slot.copy(self.generation);
        // SAFETY: made a moment ago, and reached by nobody else.
        unsafe { copy.set_child(index, new) };
        self.replaced(slot, copy)
    }

    fn replaced(&mut self, old: Slot, new: Slot) -> Slot {
        self.made(new);
        self.discard(old);
        new
    }

    fn made(&mut self, slot: Slot) {
        self.bytes += slot.piece().bytes();
        if let Some(made) = &mut self.made {
            made.push(slot.piece());
        }
    }

    /// Gives up a branch. One that was made since the last seal has never been seen by a reader.
    fn discard(&mut self, slot: Slot) {
        if slot.generation() > self.last_sealed && self.made.is_none() {
            // SAFETY: no version reaches it because it was made since the last seal, no checkpoint because none is
            // open, and the head no longer does; it is in no list, because nothing is made a note of.
            self.bytes -= unsafe { slot.piece().free() };
        } else {
            self.retire(slot);
        }
    }

    fn retire(&mut self, slot: Slot) {
        self.retired.push_back((self.generation, slot.piece()));
    }

    /// Marks a point to go back to. One at a time.
    pub fn checkpoint(&mut self) -> Checkpoint {
        assert!(self.made.is_none(), "one checkpoint at a time");
        self.generation += 1;
        self.made = Some(Vec::new());
        Checkpoint {
            trie_id: self.shared.id,
            root: self.root,
            len: self.len,
            bytes: self.bytes,
            retired_count: self.retired.len(),
            generation: self.generation,
        }
    }

    /// Drops everything since the checkpoint.
    pub fn rollback(&mut self, to: Checkpoint) {
        let made = self.close(&to);
        // What was made and retired since lies in both lists; the list of what was made frees each once.
        self.retired.truncate(to.retired_count);
        for piece in made {
            // SAFETY: nothing was sealed since the checkpoint, so only the head reached it, and the head goes back to
            // a root that is older. `discard` and `reclaim` free nothing while a checkpoint is open.
            unsafe { piece.free() };
        }
        (self.root, self.len, self.bytes) = (to.root, to.len, to.bytes);
    }

    /// Makes the head what a reader looks into, whatever was sealed since. Costs what was changed since. The reader's
    /// version must not be one that the head has gone back from before: it is on no way to the head.
    pub fn return_to(&mut self, reader: &Reader) {
        assert_eq!(reader.shared.id, self.shared.id, "a reader of another trie");
        assert!(self.made.is_none(), "a checkpoint is closed before the head goes back");
        let then = reader.pin.generation();
        let is_left = |(from, to): &(u64, u64)| *from < then && then <= *to;
        assert!(!self.given_up.iter().any(is_left), "version {then} was given up");
        self.seal();
        self.given_up.retain(|(from, _)| *from < then);
        self.given_up.push((then, self.last_sealed));
        // What was retired since is still there: the reader's pin has kept it. On the way from its version to the head
        // each piece was made once and retired once, so a branch that is old enough belongs to it.
        let retired_since = self.retired.partition_point(|(generation, _)| *generation <= then);
        let mut made_since = Vec::new();
        self.root.pieces_since(then, &mut made_since);
        let (root, hash, seed) = (reader.root, self.hash, self.seed);
        let belongs = |piece: Piece| piece.belongs_to(&root, then, |key| hash(seed, key));
        let gone: Vec<(u64, Piece)> = self.retired.drain(retired_since..).collect();
        self.retired
            .extend(gone.into_iter().filter(|(_, piece)| !belongs(*piece)));
        let replaced = made_since.into_iter().filter(|piece| !belongs(*piece));
        self.retired.extend(replaced.map(|piece| (self.generation, piece)));
        (self.root, self.len) = (root, reader.len);
    }

    /// Keeps everything since the checkpoint.
    pub fn commit(&mut self, checkpoint: Checkpoint) {
        self.close(&checkpoint);
    }

    /// Ends the time of a checkpoint: gives what was made since.
    fn close(&mut self, checkpoint: &Checkpoint) -> Vec<Piece> {
        assert_eq!(checkpoint.trie_id, self.shared.id, "a checkpoint of another trie");
        assert_eq!(
            checkpoint.generation, self.generation,
            "a checkpoint is closed before the head is sealed"
        );
        self.made.take().expect("a checkpoint is open")
    }

    /// Makes the head a version that never changes again.
    pub fn seal(&mut self) -> Version {
        assert!(self.made.is_none(), "a checkpoint is closed before the head is sealed");
        self.last_sealed = self.generation;
        self.generation += 1;
        Version {
            trie_id: self.shared.id,
            root: self.root,
            len: self.len,
            generation: self.last_sealed,
        }
    }

    /// A reader of the head as it is now, which is sealed for that.
    pub fn reader(&mut self) -> Reader {
        let version = self.seal();
        Reader {
            seed: self.seed,
            root: version.root,
            len: version.len,
            pin: self.shared.pins.pin(version.generation),
            shared: Arc::clone(&self.shared),
            hash: self.hash,
        }
    }

    /// Looks at no more than `budget` pieces that may have no reader any more, and frees those that have none. Gives how
    /// many.
    pub fn reclaim(&mut self, budget: usize) -> usize {
        assert!(self.made.is_none(), "nothing is freed while a checkpoint is open");
        let bound = self.shared.pins.look(&mut self.frozen);
        self.kept.give_back(&self.frozen);
        let mut freed = 0;
        for _ in 0..budget {
            let next = self.retired.pop_front_if(|(generation, _)| *generation <= bound);
            let Some((generation, piece)) = next.or_else(|| self.kept.pop()) else {
                break;
            };
            if let Some(pin) = kept::seen_by(&self.frozen, generation, piece, |key| (self.hash)(self.seed, key)) {
                self.kept.put(pin, (generation, piece));
                continue;
            }
            // SAFETY: it is reachable from versions below `generation` only, and no reader that moves looks at or can
            // advance to one of those: all such pins are newer or equal, and a new one is the newest version's or a
            // copy of one. No frozen reader's version reaches it, and those read nothing else.
            self.bytes -= unsafe { piece.free() };
            freed += 1;
        }
        freed
    }

    /// Pieces that are retired and will be freed as soon as readers that move have moved on, and the writer gets to it.
    pub fn retired_len(&self) -> usize {
        self.retired.len() + self.kept.given_back_len()
    }
}

impl Drop for Trie {
    fn drop(&mut self) {
        // An open checkpoint's pieces are reachable from the root or retired, like all others.
        let estate = Estate {
            root: std::mem::replace(&mut self.root, Slot::NOTHING),
            retired: std::mem::take(&mut self.retired)
                .into_iter()
                .chain(self.kept.take_all())
                .collect(),
        };
        self.shared.estate.lock().push(estate);
    }
}

impl Version {
    /// Its number; newer versions have larger ones.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Reader {
    /// Moves to a newer version of the same trie.
    ///
    /// # Panics
    /// If it is frozen.
    pub fn advance(&mut self, to: &Version) {
        assert!(!self.pin.is_frozen(), "a frozen reader stays where it is");
        assert_eq!(to.trie_id, self.shared.id, "a version of another trie");
        assert!(
            to.generation >= self.pin.generation(),
            "a reader went back from {} to {}",
            self.pin.generation(),
            to.generation
        );
        (self.root, self.len) = (to.root, to.len);
        self.pin.move_to(to.generation);
    }

    /// Stays at this version from now on, and so do its clones: much less is kept for it than for one that may move.
    pub fn freeze(mut self) -> Reader {
        self.shared.pins.freeze(&mut self.pin, self.root);
        self
    }

    /// The version it looks into.
    pub fn generation(&self) -> u64 {
        self.pin.generation()
    }

    /// What the placing of keys rests on.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        raw::find(&self.root, (self.hash)(self.seed, key), key)
    }

    /// The values of many keys, given in the keys' order with each key's place. The lookups wait for memory together,
    /// so that in a large map this costs a fifth of as many [`Reader::get`]s.
    pub fn get_many<'a>(&'a self, keys: &[&[u8]], mut each: impl FnMut(usize, Option<&'a [u8]>)) {
        let mut hashes = [0; raw::SIDE_BY_SIDE];
        let mut place = 0;
        for keys in keys.chunks(raw::SIDE_BY_SIDE) {
            let hashes = &mut hashes[..keys.len()];
            for (hash, key) in hashes.iter_mut().zip(keys) {
                *hash = (self.hash)(self.seed, key);
            }
            for value in &raw::find_many(&self.root, hashes, keys)[..keys.len()] {
                each(place, *value);
                place += 1;
            }
        }
    }

    /// All entries, in trie order.
    pub fn iter(&self) -> Iter<'_> {
        Iter(raw::Walk::new(&self.root))
    }
}

impl Clone for Reader {
    fn clone(&self) -> Reader {
        Reader {
            seed: self.seed,
            root: self.root,
            len: self.len,
            pin: self.shared.pins.another(&self.pin, self.root),
            shared: Arc::clone(&self.shared),
            hash: self.hash,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.pins.unpin(&self.pin);
    }
}

/// Entries in trie order: keys and values.
pub struct Iter<'a>(raw::Walk<'a>);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_entry()
    }
}
