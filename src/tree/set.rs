//! Sets of names in the trie: a node's children, a session's ephemerals, all containers, all TTL nodes.
//!
//! A set of `count` names lies in `buckets(count)` values, grown and shrunk one bucket at a time (linear
//! hashing), so that a change copies some thirty names and a listing is a concatenation: each bucket already
//! is what the wire wants, a length and bytes for each name. The owner keeps the count.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use storage::trie::Trie;

use super::key::{Key, Kind, Look};

/// Names in a bucket on average. 32 names of 10 bytes are 450 bytes to copy for a change, and 15 bytes a child.
const NAMES_PER_BUCKET: u32 = 32;

/// Whose names: the kind of set and its owner.
#[derive(Clone, Copy, Debug)]
pub struct Set<'a> {
    /// The kind of the buckets' keys.
    pub kind: Kind,
    /// The owner's name.
    pub owner: &'a [u8],
    /// How many names there are.
    pub count: u32,
}

fn buckets(count: u32) -> u32 {
    count.div_ceil(NAMES_PER_BUCKET).max(1)
}

fn bucket_of(hash: u64, buckets: u32) -> u32 {
    let level = buckets.next_power_of_two();
    let index = hash as u32 & (level - 1);
    if index < buckets {
        index
    } else {
        index & (level / 2 - 1)
    }
}

fn hash(seed: u64, name: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(seed, 0x7261_6e67);
    hasher.write(name);
    hasher.finish()
}

/// The names of a bucket.
pub fn names(mut bucket: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bucket.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        bucket = rest;
        Some(name)
    })
}

fn push(bucket: &mut Vec<u8>, name: &[u8]) {
    bucket.extend_from_slice(&(name.len() as u32).to_be_bytes());
    bucket.extend_from_slice(name);
}

impl Set<'_> {
    fn key(&self, bucket: u32) -> Key {
        Key::bucket(self.kind, self.owner, bucket)
    }

    fn bucket<'t>(&self, look: &'t impl Look, bucket: u32) -> &'t [u8] {
        look.look(self.key(bucket).bytes()).unwrap_or_default()
    }

    /// Every bucket's bytes, which laid end to end are the names in wire form.
    pub fn for_each_bucket<'t>(&self, look: &'t impl Look, mut visit: impl FnMut(&'t [u8])) {
        if self.count > 0 {
            (0..buckets(self.count)).for_each(|bucket| visit(self.bucket(look, bucket)));
        }
    }

    /// Every name.
    pub fn for_each<'t>(&self, look: &'t impl Look, mut visit: impl FnMut(&'t [u8])) {
        self.for_each_bucket(look, |bucket| names(bucket).for_each(&mut visit));
    }

    /// Whether a name is in the set.
    pub fn contains(&self, look: &impl Look, name: &[u8]) -> bool {
        let bucket = bucket_of(hash(look.seed(), name), buckets(self.count));
        names(self.bucket(look, bucket)).any(|n| n == name)
    }

    /// Adds a name; false if it was there. The owner's count is the caller's to raise.
    pub fn insert(&self, trie: &mut Trie, name: &[u8]) -> bool {
        let bucket = bucket_of(hash(trie.seed(), name), buckets(self.count));
        let mut bytes = self.bucket(trie, bucket).to_vec();
        if names(&bytes).any(|n| n == name) {
            return false;
        }
        push(&mut bytes, name);
        self.store(trie, bucket, &bytes);
        let (old, new) = (buckets(self.count), buckets(self.count + 1));
        if new > old {
            self.split(trie, old);
        }
        true
    }

    /// Removes a name; false if it was not there. The owner's count is the caller's to lower.
    pub fn remove(&self, trie: &mut Trie, name: &[u8]) -> bool {
        if self.count == 0 {
            return false;
        }
        let bucket = bucket_of(hash(trie.seed(), name), buckets(self.count));
        let bytes = self.bucket(trie, bucket).to_vec();
        let mut kept = Vec::with_capacity(bytes.len());
        names(&bytes).filter(|n| *n != name).for_each(|n| push(&mut kept, n));
        if kept.len() == bytes.len() {
            return false;
        }
        self.store(trie, bucket, &kept);
        let (old, new) = (buckets(self.count), buckets(self.count - 1));
        if new < old {
            self.merge(trie, new);
        }
        true
    }

    fn store(&self, trie: &mut Trie, bucket: u32, bytes: &[u8]) {
        if bytes.is_empty() {
            trie.remove(self.key(bucket).bytes());
        } else {
            trie.put(self.key(bucket).bytes(), &[bytes]);
        }
    }

    /// Moves to the new last bucket what hashes there.
    fn split(&self, trie: &mut Trie, last: u32) {
        let seed = trie.seed();
        let parent = last & ((last + 1).next_power_of_two() / 2 - 1);
        let bytes = self.bucket(trie, parent).to_vec();
        let (mut kept, mut moved) = (Vec::with_capacity(bytes.len()), Vec::new());
        for name in names(&bytes) {
            let goes = bucket_of(hash(seed, name), last + 1) == last;
            push(if goes { &mut moved } else { &mut kept }, name);
        }
        self.store(trie, parent, &kept);
        self.store(trie, last, &moved);
    }

    /// Puts the last bucket's names back where they came from.
    fn merge(&self, trie: &mut Trie, last: u32) {
        let parent = last & ((last + 1).next_power_of_two() / 2 - 1);
        let bytes = [self.bucket(trie, parent), self.bucket(trie, last)].concat();
        self.store(trie, parent, &bytes);
        self.store(trie, last, &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn behaves_as_a_set_while_it_grows_and_shrinks() {
        let mut trie = Trie::new(7);
        let mut model = BTreeSet::new();
        let mut set = Set {
            kind: Kind::Children,
            owner: b"/p",
            count: 0,
        };
        let mut state = 1u64;
        for step in 0..6000 {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let name = format!("child-{}", (state >> 33) % 700).into_bytes();
            let growing = step < 3000;
            if (state >> 20) % 10 < if growing { 8 } else { 2 } {
                let inserted = set.insert(&mut trie, &name);
                assert_eq!(inserted, model.insert(name));
                set.count += inserted as u32;
            } else {
                assert_eq!(set.contains(&trie, &name), model.contains(&name));
                let removed = set.remove(&mut trie, &name);
                assert_eq!(removed, model.remove(&name));
                set.count -= removed as u32;
            }
            if step % 97 == 0 {
                let mut found = BTreeSet::new();
                set.for_each(&trie, |n| assert!(found.insert(n.to_vec())));
                assert_eq!(found, model, "step {step}");
            }
        }
        for name in model {
            assert!(set.remove(&mut trie, &name));
            set.count -= 1;
        }
        assert_eq!((set.count, trie.len()), (0, 0), "an empty set leaves nothing behind");
    }
}
