//! Every pointer of the trie: leaves, branches, and the walks over them.
//!
//! ```text
//! leaf    key length u32 · value length u32 · key · value                     one allocation per entry
//! branch  generation u64 · bitmap u32 · count u32 · count slots of 8 bytes     children in bitmap order
//! equals  the same, bitmap 0: leaves whose hashes are equal
//! ```
//!
//! A [`Slot`] is a tagged pointer: 0 is nothing, the lowest bit marks a leaf; both kinds are 8-aligned.
//!
//! What every `unsafe` here rests on, kept by `mod.rs`:
//! * **alive**: a slot that can be reached from the head, from an open checkpoint, or from a version that is not
//!   older than some pin, points to memory that has not been freed;
//! * **frozen**: a branch is written only by the writer and only while no version and no open checkpoint reaches it
//!   (its generation is the head's), so a reader never sees a write;
//! * **once**: a piece is freed once, by `Trie::reclaim`, `discard`, `rollback`, or with the last owner.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;

const LEAF: usize = 1;
const ALIGN: usize = 8;

#[repr(C)]
struct LeafHead {
    key_len: u32,
    value_len: u32,
}

#[repr(C)]
struct BranchHead {
    generation: u64,
    bitmap: u32,
    count: u32,
}

const LEAF_HEAD: usize = size_of::<LeafHead>();
const BRANCH_HEAD: usize = size_of::<BranchHead>();

/// Nothing, a leaf, or a branch.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Slot(*mut u8);

// SAFETY: a slot is an address; sending it gives nobody leave to look behind it. Whoever does look argues **alive**
// and **frozen**, and a version reaches another thread through a channel or a lock, after its last write.
unsafe impl Send for Slot {}
// SAFETY: as above; a shared slot is only copied.
unsafe impl Sync for Slot {}

/// One allocation.
#[derive(Clone, Copy)]
pub struct Piece(Slot);

fn leaf_layout(key_len: usize, value_len: usize) -> Layout {
    Layout::from_size_align(LEAF_HEAD + key_len + value_len, ALIGN).expect("an entry is far smaller than memory")
}

fn branch_layout(count: usize) -> Layout {
    Layout::from_size_align(BRANCH_HEAD + count * size_of::<Slot>(), ALIGN).expect("a branch has few children")
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: both layouts above have at least their head's bytes, so the size is not 0.
    NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

impl Slot {
    /// No child.
    pub const NOTHING: Slot = Slot(std::ptr::null_mut());

    /// A new entry; the value is its parts, one after another.
    pub fn leaf(key: &[u8], parts: &[&[u8]]) -> Slot {
        let value_len: usize = parts.iter().map(|part| part.len()).sum();
        let as_u32 = |len: usize| u32::try_from(len).expect("keys and values are smaller than 4 GiB");
        let head = LeafHead {
            key_len: as_u32(key.len()),
            value_len: as_u32(value_len),
        };
        let at = allocate(leaf_layout(key.len(), value_len));
        // SAFETY: the allocation is new, 8-aligned and holds head, key and all parts, which are written one after
        // another inside it; the sources are live slices elsewhere.
        unsafe {
            at.cast::<LeafHead>().write(head);
            let mut to = at.add(LEAF_HEAD);
            for part in [key].iter().chain(parts) {
                to.copy_from_nonoverlapping(NonNull::from(*part).cast(), part.len());
                to = to.add(part.len());
            }
        }
        Slot(at.as_ptr().map_addr(|address| address | LEAF))
    }

    /// A new branch; children must be in the order of their indices.
    pub fn branch(children: &[(u32, Slot)], generation: u64) -> Slot {
        let bitmap = children.iter().fold(0, |bitmap, (index, _)| bitmap | 1 << index);
        Slot::new_branch(
            bitmap,
            generation,
            children.iter().map(|(_, child)| *child),
            children.len(),
        )
    }

    /// New leaves with equal hashes.
    pub fn equals(leaves: &[Slot], generation: u64) -> Slot {
        Slot::new_branch(0, generation, leaves.iter().copied(), leaves.len())
    }

    fn new_branch(bitmap: u32, generation: u64, children: impl Iterator<Item = Slot>, count: usize) -> Slot {
        let at = allocate(branch_layout(count));
        let mut written = 0;
        // SAFETY: the allocation is new, 8-aligned and holds the head and `count` slots; the assertion below and
        // `take` keep the writes inside and make them complete.
        unsafe {
            at.cast::<BranchHead>().write(BranchHead {
                generation,
                bitmap,
                count: count as u32,
            });
            for child in children.take(count) {
                at.add(BRANCH_HEAD).cast::<Slot>().add(written).write(child);
                written += 1;
            }
        }
        assert_eq!(written, count, "a branch has all of its children");
        Slot(at.as_ptr())
    }

    /// Whether there is nothing.
    pub fn is_nothing(self) -> bool {
        self.0.is_null()
    }

    /// Whether it is an entry.
    pub fn is_leaf(self) -> bool {
        self.0.addr() & LEAF != 0
    }

    /// The allocation.
    pub fn piece(self) -> Piece {
        debug_assert!(!self.is_nothing());
        Piece(self)
    }

    fn pointer<T>(self) -> *mut T {
        self.0.map_addr(|address| address & !LEAF).cast()
    }

    fn leaf_parts<'a>(self) -> (&'a [u8], &'a [u8]) {
        debug_assert!(self.is_leaf());
        let at = self.pointer::<u8>();
        // SAFETY: alive; a leaf is written once, before anybody else has its slot, so head, key and value are
        // initialised and never change. The lifetime is the caller's: `find` and `Walk` tie it to the reader.
        unsafe {
            let head = at.cast::<LeafHead>().read();
            let (key_len, value_len) = (head.key_len as usize, head.value_len as usize);
            let key = std::slice::from_raw_parts(at.add(LEAF_HEAD), key_len);
            (key, std::slice::from_raw_parts(at.add(LEAF_HEAD + key_len), value_len))
        }
    }

    /// An entry's key. Used by the writer on slots of the head only, between two changes.
    pub fn key<'a>(self) -> &'a [u8] {
        self.leaf_parts().0
    }

    fn head(self) -> BranchHead {
        debug_assert!(!self.is_leaf() && !self.is_nothing());
        // SAFETY: alive; the head of a branch is written once, when it is made.
        unsafe { self.pointer::<BranchHead>().read() }
    }

    /// The generation of a branch.
    pub fn generation(self) -> u64 {
        self.head().generation
    }

    /// A branch's children. Used by the writer on the head between two changes, and by walks over frozen branches.
    pub fn children<'a>(self) -> &'a [Slot] {
        let count = self.head().count as usize;
        // SAFETY: alive, and all `count` slots were written when the branch was made. The writer does not hold the
        // slice across `set_child`; a reader's branches are frozen.
        unsafe { std::slice::from_raw_parts(self.pointer::<u8>().add(BRANCH_HEAD).cast::<Slot>(), count) }
    }

    /// A branch's children with their indices.
    pub fn numbered_children(self) -> impl Iterator<Item = (u32, Slot)> {
        let bitmap = self.head().bitmap;
        let indices = (0..u32::BITS).filter(move |index| bitmap & 1 << index != 0);
        indices.zip(self.children().iter().copied())
    }

    fn place(bitmap: u32, index: u32) -> usize {
        (bitmap & ((1 << index) - 1)).count_ones() as usize
    }

    /// The child with an index.
    pub fn child(self, index: u32) -> Option<Slot> {
        let head = self.head();
        if head.bitmap & 1 << index == 0 {
            return None;
        }
        // SAFETY: alive; the bit is set, so its place is below the count of children.
        Some(unsafe {
            self.pointer::<u8>()
                .add(BRANCH_HEAD)
                .cast::<Slot>()
                .add(Slot::place(head.bitmap, index))
                .read()
        })
    }

    /// Asks for the memory behind the slot, which will be looked at soon: the first two cache lines, where a small
    /// branch, the middle of a full one, or an entry's key lies.
    fn prefetch(self) {
        for line in 0..2 {
            // Nothing can be read through this address; it may also lie behind the end of a small piece.
            let at = self.pointer::<i8>().wrapping_byte_add(line * 64);
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            // SAFETY: a prefetch is a hint that loads nothing and faults on no address.
            unsafe {
                use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                _mm_prefetch::<_MM_HINT_T0>(at);
            }
            #[cfg(all(target_arch = "aarch64", not(miri)))]
            // SAFETY: as above; the instruction changes neither memory nor registers nor flags.
            unsafe {
                std::arch::asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags, readonly));
            }
            #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
            let _ = at;
        }
    }

    /// Changes a child in place.
    ///
    /// # Safety
    /// The branch is not frozen: it was made in the head's generation, by the caller, who alone reaches it.
    pub unsafe fn set_child(self, index: u32, child: Slot) {
        let bitmap = self.head().bitmap;
        assert!(
            bitmap & 1 << index != 0,
            "only a child that is there is changed in place"
        );
        // SAFETY: alive; not frozen, as the caller promises; the bit is set, so the place is below the count.
        unsafe {
            self.pointer::<u8>()
                .add(BRANCH_HEAD)
                .cast::<Slot>()
                .add(Slot::place(bitmap, index))
                .write(child)
        }
    }

    /// The same children in a new branch.
    pub fn copy(self, generation: u64) -> Slot {
        let (bitmap, children) = (self.head().bitmap, self.children());
        Slot::new_branch(bitmap, generation, children.iter().copied(), children.len())
    }

    /// A new branch with one child more.
    pub fn with_child(self, index: u32, child: Slot, generation: u64) -> Slot {
        let (bitmap, children) = (self.head().bitmap, self.children());
        let (before, after) = children.split_at(Slot::place(bitmap, index));
        let all = before.iter().copied().chain([child]).chain(after.iter().copied());
        Slot::new_branch(bitmap | 1 << index, generation, all, children.len() + 1)
    }

    /// A new branch with one child less.
    pub fn without_child(self, index: u32, generation: u64) -> Slot {
        let (bitmap, children) = (self.head().bitmap, self.children());
        let place = Slot::place(bitmap, index);
        let rest = children[..place].iter().chain(&children[place + 1..]).copied();
        Slot::new_branch(bitmap & !(1 << index), generation, rest, children.len() - 1)
    }

    /// Every branch from here on that is newer than a generation, and every entry right below one of those; an entry
    /// may be older all the same.
    pub fn pieces_since(self, generation: u64, pieces: &mut Vec<Piece>) {
        if self.is_nothing() {
            return;
        }
        if self.is_leaf() {
            return pieces.push(self.piece());
        }
        // What is old hangs on old branches only.
        if self.generation() > generation {
            pieces.push(self.piece());
            self.children()
                .iter()
                .for_each(|child| child.pieces_since(generation, pieces));
        }
    }

    /// Frees everything that can be reached from here. Gives the bytes.
    ///
    /// # Safety
    /// Once, and nobody reaches any of it any more.
    pub unsafe fn free_below(self) -> usize {
        if self.is_nothing() {
            return 0;
        }
        let mut bytes = 0;
        if !self.is_leaf() {
            // SAFETY: a piece hangs in one place of a tree, so each child is freed once, and before its branch.
            bytes += self
                .children()
                .iter()
                .map(|child| unsafe { child.free_below() })
                .sum::<usize>();
        }
        // SAFETY: the caller's promise.
        bytes + unsafe { self.piece().free() }
    }
}

impl Piece {
    fn layout(self) -> Layout {
        if self.0.is_leaf() {
            let (key, value) = self.0.leaf_parts();
            leaf_layout(key.len(), value.len())
        } else {
            branch_layout(self.0.head().count as usize)
        }
    }

    /// Whether it is part of the version below a root, that of a generation since which it has been in the trie.
    pub fn belongs_to(self, root: &Slot, generation: u64, hash: impl Fn(&[u8]) -> u64) -> bool {
        if !self.0.is_leaf() {
            return self.0.generation() <= generation;
        }
        let key = self.0.key();
        find_leaf(root, hash(key), key) == Some(self.0)
    }

    /// Its size.
    pub fn bytes(self) -> usize {
        self.layout().size()
    }

    /// The generation of a branch; a leaf does not carry one.
    pub fn generation(self) -> Option<u64> {
        (!self.0.is_leaf()).then(|| self.0.generation())
    }

    /// An entry's key, as [`Slot::key`].
    pub fn key<'a>(self) -> &'a [u8] {
        self.0.key()
    }

    /// Where it is.
    #[cfg(test)]
    pub fn address(self) -> usize {
        self.0.0.addr()
    }

    /// Frees it, not what it points to. Gives its bytes.
    ///
    /// # Safety
    /// Once, and nobody reaches it any more.
    pub unsafe fn free(self) -> usize {
        let layout = self.layout();
        // SAFETY: once, as the caller promises; allocated by `allocate` with this very layout, which is told by its unchanged head.
        unsafe { dealloc(self.0.pointer(), layout) };
        layout.size()
    }
}

/// The entry with a key below `root`.
fn find_leaf(root: &Slot, hash: u64, key: &[u8]) -> Option<Slot> {
    let (mut slot, mut rest) = (*root, hash);
    for _ in 0..super::LEVELS {
        if slot.is_nothing() || slot.is_leaf() {
            break;
        }
        slot = slot.child((rest & 31) as u32)?;
        rest >>= super::LEVEL_BITS;
    }
    let leaves = match slot {
        Slot::NOTHING => return None,
        leaf if leaf.is_leaf() => return (leaf.key() == key).then_some(leaf),
        equals => equals.children(),
    };
    leaves.iter().copied().find(|leaf| leaf.key() == key)
}

/// The value of a key below `root`, for as long as the root is borrowed: from a trie, or from a pinned reader.
pub fn find<'a>(root: &'a Slot, hash: u64, key: &[u8]) -> Option<&'a [u8]> {
    let mut slot = *root;
    let mut rest = hash;
    for _ in 0..super::LEVELS {
        if slot.is_nothing() {
            return None;
        }
        if slot.is_leaf() {
            return matching(slot, key);
        }
        slot = slot.child((rest & 31) as u32)?;
        rest >>= super::LEVEL_BITS;
    }
    if slot.is_leaf() {
        return matching(slot, key);
    }
    slot.children().iter().find_map(|leaf| matching(*leaf, key))
}

/// Whether that very leaf hangs below `root`, which is alive.
pub fn holds(root: Slot, hash: u64, leaf: Piece) -> bool {
    let mut slot = root;
    for level in 0..super::LEVELS {
        if slot.is_nothing() || slot.is_leaf() {
            return slot == leaf.0;
        }
        match slot.child(super::index(hash, level)) {
            Some(child) => slot = child,
            None => return false,
        }
    }
    slot == leaf.0 || !slot.is_leaf() && slot.children().contains(&leaf.0)
}

/// How many lookups of [`find_many`] go down side by side: as many cache misses as a core can have open, roughly.
pub const SIDE_BY_SIDE: usize = 16;

/// Several values at once: every lookup takes one step and asks for the memory of its next, so that they wait for
/// memory together and not one after another. Hashes and keys belong together; at most [`SIDE_BY_SIDE`] of them.
pub fn find_many<'a>(root: &'a Slot, hashes: &[u64], keys: &[&[u8]]) -> [Option<&'a [u8]>; SIDE_BY_SIDE] {
    assert!(
        hashes.len() == keys.len() && keys.len() <= SIDE_BY_SIDE,
        "{} hashes and {} keys",
        hashes.len(),
        keys.len()
    );
    let mut slots = [*root; SIDE_BY_SIDE];
    for level in 0..super::LEVELS {
        let mut on_the_way = false;
        for (slot, hash) in slots.iter_mut().zip(hashes) {
            if !slot.is_nothing() && !slot.is_leaf() {
                *slot = slot.child(super::index(*hash, level)).unwrap_or(Slot::NOTHING);
                slot.prefetch();
                on_the_way = true;
            }
        }
        if !on_the_way {
            break;
        }
    }
    let mut found = [None; SIDE_BY_SIDE];
    for ((found, slot), key) in found.iter_mut().zip(slots).zip(keys) {
        *found = match slot {
            Slot::NOTHING => None,
            leaf if leaf.is_leaf() => matching(leaf, key),
            equals => equals.children().iter().find_map(|leaf| matching(*leaf, key)),
        };
    }
    found
}

fn matching<'a>(leaf: Slot, key: &[u8]) -> Option<&'a [u8]> {
    let (found, value) = leaf.leaf_parts();
    (found == key).then_some(value)
}

/// A walk over all entries.
pub struct Walk<'a> {
    /// Branches on the way down, and what is left of each.
    stack: Vec<std::slice::Iter<'a, Slot>>,
    first: Option<Slot>,
    root: PhantomData<&'a Slot>,
}

impl<'a> Walk<'a> {
    /// From a root that stays borrowed.
    pub fn new(root: &'a Slot) -> Walk<'a> {
        Walk {
            stack: Vec::new(),
            first: (!root.is_nothing()).then_some(*root),
            root: PhantomData,
        }
    }

    /// The next entry.
    pub fn next_entry(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        loop {
            let slot = match self.first.take() {
                Some(first) => first,
                None => match self.stack.last_mut()?.next() {
                    Some(slot) => *slot,
                    None => {
                        self.stack.pop();
                        continue;
                    }
                },
            };
            if slot.is_leaf() {
                return Some(slot.leaf_parts());
            }
            self.stack.push(slot.children().iter());
        }
    }
}
