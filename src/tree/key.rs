//! Keys of the trie: one byte for the kind, then the name, then for set buckets a number.
//!
//! Two keys of one kind and one length have names of one length, so no name can pass for another.

use storage::trie::{Reader, Trie};

/// What lies under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A node's Stat, ACL and (small) data; named by its path, the root by the empty text.
    Node = b'n',
    /// A node's data, when it is large.
    Data = b'd',
    /// A bucket of a node's children.
    Children = b'c',
    /// An ACL, named by its number.
    Acl = b'a',
    /// A session, named by its id.
    Session = b's',
    /// A bucket of a session's ephemerals.
    Ephemerals = b'e',
    /// A bucket of the paths of all containers; no name.
    Containers = b'x',
    /// A bucket of the paths of all TTL nodes; no name.
    Ttls = b't',
}

impl Kind {
    /// The kind that a key's first byte says; `None` for any other byte.
    pub fn of(byte: u8) -> Option<Kind> {
        use Kind::*;
        let all = [Node, Data, Children, Acl, Session, Ephemerals, Containers, Ttls];
        all.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Keys up to this length are built without the heap.
const INLINE_BYTES: usize = 192;

/// A key, built on the stack when it is of the usual length.
pub struct Key {
    inline: [u8; INLINE_BYTES],
    length: usize,
    heap: Vec<u8>,
}

impl Key {
    /// A key without a bucket number.
    pub fn new(kind: Kind, name: &[u8]) -> Key {
        Key::build(kind, name, &[])
    }

    /// The key of a node.
    pub fn node(path: &str) -> Key {
        Key::new(Kind::Node, crate::base::path::canonical(path).as_bytes())
    }

    /// The key of a bucket.
    pub fn bucket(kind: Kind, name: &[u8], bucket: u32) -> Key {
        Key::build(kind, name, &bucket.to_be_bytes())
    }

    fn build(kind: Kind, name: &[u8], suffix: &[u8]) -> Key {
        let length = 1 + name.len() + suffix.len();
        let mut key = Key {
            inline: [0; INLINE_BYTES],
            length,
            heap: Vec::new(),
        };
        if length > INLINE_BYTES {
            key.heap = vec![0; length];
        }
        let bytes = if length > INLINE_BYTES {
            &mut key.heap[..]
        } else {
            &mut key.inline[..length]
        };
        bytes[0] = kind as u8;
        bytes[1..1 + name.len()].copy_from_slice(name);
        bytes[1 + name.len()..].copy_from_slice(suffix);
        key
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        if self.heap.is_empty() {
            &self.inline[..self.length]
        } else {
            &self.heap
        }
    }
}

/// Whatever keys can be looked up in: the writer's head or a core's pinned version.
pub trait Look {
    /// The value under a key.
    fn look(&self, key: &[u8]) -> Option<&[u8]>;
    /// The seed that places names in buckets.
    fn seed(&self) -> u64;
}

impl Look for Trie {
    fn look(&self, key: &[u8]) -> Option<&[u8]> {
        self.get(key)
    }
    fn seed(&self) -> u64 {
        Trie::seed(self)
    }
}

impl Look for Reader {
    fn look(&self, key: &[u8]) -> Option<&[u8]> {
        self.get(key)
    }
    fn seed(&self) -> u64 {
        Reader::seed(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_keys_are_alike() {
        assert_eq!(Key::node("/").bytes(), b"n");
        assert_eq!(Key::node("/a").bytes(), b"n/a");
        let long = format!("/{}", "x".repeat(500));
        assert_eq!(Key::node(&long).bytes()[1..], *long.as_bytes());
        assert_eq!(Key::bucket(Kind::Children, b"/a", 258).bytes(), b"c/a\0\0\x01\x02");
    }
}
