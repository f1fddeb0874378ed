//! A trie from entries that come in its own order: parts on several threads, then one joined to the next.
//!
//! Entry by entry, [`Trie::put`] makes a leaf's branch anew for each leaf that joins it, on one thread. In trie order
//! no branch needs to be made twice: the entries below it lie side by side. So a [`Part`] is built of a run of entries
//! from the leaves up, each branch once, and joining two runs that lie side by side changes only the branches on their
//! common border, a few for each of the runs.
//!
//! Trie order is the order of the hash's groups of five bits, the lowest first: [`rank`] turns it into the order of
//! numbers. Invariant: every leaf of a part has a rank from its `first` to its `last`, and they only grow from part to
//! part; where they do not, the entries are not in this seed's order and are refused, never sorted in silence.

use super::raw::Slot;
use super::{LEVEL_BITS, LEVELS, Trie, index, sip};

/// The generation of a new trie's head: what is built in it may be changed in place until it is sealed.
const GENERATION: u64 = 1;

/// The trie of a run of entries.
pub struct Part {
    root: Slot,
    len: usize,
    bytes: usize,
    first: u64,
    last: u64,
}

/// Parts joined so far.
pub struct Bulk {
    seed: u64,
    joined: Part,
}

/// Entries that are not in the trie's order, or twice there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disorder;

/// A leaf and its place in the order.
type Ranked = (u64, Slot);

impl Part {
    /// Of entries in the order of the seed.
    ///
    /// # Errors
    /// [`Disorder`]: they are not, or a key is there twice.
    pub fn new<'e>(seed: u64, entries: impl Iterator<Item = (&'e [u8], &'e [u8])>) -> Result<Part, Disorder> {
        Part::with_hash(entries, |key| sip(seed, key))
    }

    pub(super) fn with_hash<'e>(
        entries: impl Iterator<Item = (&'e [u8], &'e [u8])>,
        hash: impl Fn(&[u8]) -> u64,
    ) -> Result<Part, Disorder> {
        let mut leaves = Leaves(Vec::with_capacity(entries.size_hint().0));
        let mut part = Part::empty();
        for (key, value) in entries {
            let rank = rank(hash(key));
            let follows = leaves.0.last().is_none_or(|(last, _)| *last <= rank);
            let equals = leaves.0.iter().rev().take_while(|(last, _)| *last == rank);
            if !follows || equals.into_iter().any(|(_, leaf)| leaf.key() == key) {
                return Err(Disorder);
            }
            let leaf = Slot::leaf(key, &[value]);
            part.bytes += leaf.piece().bytes();
            leaves.0.push((rank, leaf));
        }
        let leaves = std::mem::take(&mut leaves.0);
        if let (Some((first, _)), Some((last, _))) = (leaves.first(), leaves.last()) {
            (part.first, part.last, part.len) = (*first, *last, leaves.len());
            part.root = part.build(&leaves, 0);
        }
        Ok(part)
    }

    fn empty() -> Part {
        Part {
            root: Slot::NOTHING,
            len: 0,
            bytes: 0,
            first: 0,
            last: 0,
        }
    }

    /// One slot for leaves that are alike above `level`.
    fn build(&mut self, leaves: &[Ranked], level: u32) -> Slot {
        if let [(_, leaf)] = leaves {
            return *leaf;
        }
        let made = if level == LEVELS {
            let equals: Vec<Slot> = leaves.iter().map(|(_, leaf)| *leaf).collect();
            Slot::equals(&equals, GENERATION)
        } else {
            let mut children = [(0, Slot::NOTHING); 1 << LEVEL_BITS];
            let mut count = 0;
            for group in leaves.chunk_by(|(a, _), (b, _)| digit(*a, level) == digit(*b, level)) {
                children[count] = (digit(group[0].0, level), self.build(group, level + 1));
                count += 1;
            }
            Slot::branch(&children[..count], GENERATION)
        };
        self.bytes += made.piece().bytes();
        made
    }

    /// Takes over the entries of the part behind this one.
    fn join(&mut self, mut next: Part) -> Result<(), Disorder> {
        if next.len == 0 {
            return Ok(());
        }
        if self.len == 0 {
            std::mem::swap(self, &mut next);
            return Ok(());
        }
        if self.last > next.first || (self.last == next.first && self.shares_a_key(&next)) {
            return Err(Disorder);
        }
        let root = std::mem::replace(&mut next.root, Slot::NOTHING);
        self.bytes += next.bytes;
        self.root = self.border(self.root, root, 0, self.last, next.first);
        self.len += next.len;
        self.last = next.last;
        Ok(())
    }

    /// Whether the leaves of the last rank here and of the first rank there have a key in common.
    fn shares_a_key(&self, next: &Part) -> bool {
        let ours = equals_at(self.root, self.last);
        let theirs = equals_at(next.root, next.first);
        ours.iter().any(|a| theirs.iter().any(|b| a.key() == b.key()))
    }

    /// One slot for two of one place. All leaves of `a` come before those of `b`; `last` is the rank of its last one,
    /// `first` that of the other's first one.
    fn border(&mut self, a: Slot, b: Slot, level: u32, last: u64, first: u64) -> Slot {
        if level == LEVELS {
            let equals = [leaves_of(&a), leaves_of(&b)].concat();
            let made = Slot::equals(&equals, GENERATION);
            return self.replaced(&[a, b], made);
        }
        let mut children = children_of(&a, digit(last, level));
        let mut behind = children_of(&b, digit(first, level));
        if digit(last, level) == digit(first, level) {
            let (at, left) = children.pop().expect("a slot has children, or is one");
            let (_, right) = behind.remove(0);
            children.push((at, self.border(left, right, level + 1, last, first)));
        }
        children.extend(behind);
        let made = Slot::branch(&children, GENERATION);
        self.replaced(&[a, b], made)
    }

    /// Accounts for a new branch and frees those that it stands for.
    fn replaced(&mut self, old: &[Slot], new: Slot) -> Slot {
        self.bytes += new.piece().bytes();
        for slot in old.iter().filter(|slot| !slot.is_leaf()) {
            // SAFETY: made by `build` or `border` for this part or the one that was joined to it, whose root was taken;
            // no reader has ever seen it, and its children hang below the new branch now. Once: it hangs nowhere.
            self.bytes -= unsafe { slot.piece().free() };
        }
        new
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let root = std::mem::replace(&mut self.root, Slot::NOTHING);
        // SAFETY: what a part holds is reached through its root alone, and who takes the root leaves nothing there.
        unsafe { root.free_below() };
    }
}

/// Leaves that hang below nothing yet.
struct Leaves(Vec<Ranked>);

impl Drop for Leaves {
    fn drop(&mut self) {
        for (_, leaf) in self.0.drain(..) {
            // SAFETY: made by `Part::with_hash`, which gave up before it hung them below anything.
            unsafe { leaf.piece().free() };
        }
    }
}

impl Bulk {
    /// Of nothing yet.
    pub fn new(seed: u64) -> Bulk {
        Bulk {
            seed,
            joined: Part::empty(),
        }
    }

    /// Adds the part that comes next.
    ///
    /// # Errors
    /// [`Disorder`]: it does not lie behind what was joined.
    pub fn push(&mut self, part: Part) -> Result<(), Disorder> {
        self.joined.join(part)
    }

    /// The trie of all of it.
    pub fn finish(self) -> Trie {
        let empty = Trie::new(self.seed);
        self.fill(empty)
    }

    pub(super) fn fill(mut self, mut trie: Trie) -> Trie {
        assert!(
            trie.root.is_nothing() && trie.generation == GENERATION,
            "a new trie's head takes what was joined"
        );
        trie.root = std::mem::replace(&mut self.joined.root, Slot::NOTHING);
        (trie.len, trie.bytes) = (self.joined.len, self.joined.bytes);
        trie
    }
}

/// The hash's groups of bits with the first one on top, so that trie order is the order of numbers.
fn rank(hash: u64) -> u64 {
    (0..LEVELS).fold(0, |rank, level| {
        let bits = LEVEL_BITS.min(64 - level * LEVEL_BITS);
        rank << bits | u64::from(index(hash, level))
    })
}

/// The child number of a rank at `level`.
fn digit(rank: u64, level: u32) -> u32 {
    let below = 64 - (level * LEVEL_BITS + LEVEL_BITS).min(64);
    let bits = LEVEL_BITS.min(64 - level * LEVEL_BITS);
    (rank >> below) as u32 & ((1 << bits) - 1)
}

/// A branch's children with their numbers; a leaf is the one child of a branch that is not there, with the number given.
fn children_of(slot: &Slot, of_leaf: u32) -> Vec<(u32, Slot)> {
    match slot.is_leaf() {
        true => vec![(of_leaf, *slot)],
        false => slot.numbered_children().collect(),
    }
}

/// Leaves with equal hashes, of which there may be one.
fn leaves_of(slot: &Slot) -> &[Slot] {
    match slot.is_leaf() {
        true => std::slice::from_ref(slot),
        false => slot.children(),
    }
}

/// The leaves of a rank, which is that of a leaf below the root.
fn equals_at(root: Slot, rank: u64) -> Vec<Slot> {
    let mut slot = root;
    for level in 0..LEVELS {
        if slot.is_leaf() {
            break;
        }
        slot = slot.child(digit(rank, level)).expect("a leaf of that rank");
    }
    leaves_of(&slot).to_vec()
}
