//! Nodes on their way from the order of a file to the order of their paths.
//!
//! A parent comes right before what is below it, and names are compared whole (`/a/b` before `/a-c`): the keys have a
//! zero where the path has a slash, which no name can hold. Data are carried only when they will be printed; to
//! compare them a hash of 128 bits is enough.

use std::hash::Hasher;
use std::io;

use ringkeeper::tree::node::{Node, Payload};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::read::Item;
use crate::dump::sort::{Sorted, Sorter};

/// What the first byte of a record says.
const NODE: u8 = 0;
const DATA: u8 = 1;
const HASH_BYTES: usize = 16;

/// What is carried of the data.
#[derive(Clone, Copy, Debug)]
pub struct Carried {
    /// The bytes.
    pub bytes: bool,
    /// Their hash, under these keys.
    pub hash: Option<(u64, u64)>,
}

/// Takes nodes in any order.
pub struct Gather {
    sorter: Sorter,
    carried: Carried,
    key: Vec<u8>,
}

/// Gives nodes in the order of their paths.
pub struct InOrder {
    sorted: Sorted,
    /// The record that was read to see whether it belongs to the one before.
    ahead: Option<(Vec<u8>, Vec<u8>)>,
}

/// A node that was carried.
#[derive(Debug)]
pub struct Kept {
    /// Its path; the root's is empty.
    pub path: String,
    /// The hash of its data, if that was carried; 0 for none.
    pub hash: u128,
    value: Vec<u8>,
    apart: Option<Vec<u8>>,
}

/// The key that sorts a path.
pub fn order_key(path: &str, key: &mut Vec<u8>) {
    key.clear();
    key.extend(path.bytes().map(|byte| if byte == b'/' { 0 } else { byte }));
}

/// The path of a key.
pub fn path_of(key: &[u8]) -> String {
    let bytes = key.iter().map(|byte| if *byte == 0 { b'/' } else { *byte }).collect();
    String::from_utf8(bytes).expect("it was text when it came")
}

impl Gather {
    /// Sorts in so much memory.
    pub fn new(memory: usize, carried: Carried) -> Gather {
        Gather {
            sorter: Sorter::new(memory),
            carried,
            key: Vec::new(),
        }
    }

    /// Takes a node, or data that lie apart.
    ///
    /// # Errors
    /// What writing the temporary file met.
    pub fn push(&mut self, item: &Item<'_>) -> io::Result<()> {
        order_key(item.path(), &mut self.key);
        match item {
            Item::Node(_, node) => self.node(node),
            Item::Data(..) if !self.carried.bytes && self.carried.hash.is_none() => Ok(()),
            Item::Data(_, bytes) => {
                // Right behind its node, before anything below that.
                self.key.push(0);
                let hash = self.hash(bytes);
                let bytes = if self.carried.bytes { bytes } else { &[][..] };
                self.sorter.push(&self.key, &[&[DATA], &hash, bytes])
            }
        }
    }

    fn node(&mut self, node: &Node<'_>) -> io::Result<()> {
        let (mut node, mut hash) = (*node, [0; HASH_BYTES]);
        if let Payload::Inline(bytes) = node.payload {
            hash = self.hash(bytes);
            if !self.carried.bytes {
                node.payload = Payload::Large(u32::try_from(bytes.len()).expect("a snapshot's entries are shorter"));
            }
        }
        let (header, data) = node.encode();
        self.sorter.push(&self.key, &[&[NODE], &hash, header.bytes(), data])
    }

    fn hash(&self, bytes: &[u8]) -> [u8; HASH_BYTES] {
        let Some((k0, k1)) = self.carried.hash else {
            return [0; HASH_BYTES];
        };
        let mut hasher = SipHasher13::new_with_keys(k0, k1);
        hasher.write(bytes);
        hasher.finish128().as_u128().to_le_bytes()
    }

    /// Everything was pushed.
    ///
    /// # Errors
    /// As [`Gather::push`].
    pub fn finish(self) -> io::Result<InOrder> {
        Ok(InOrder {
            sorted: self.sorter.finish()?,
            ahead: None,
        })
    }
}

impl InOrder {
    /// The next node.
    ///
    /// # Errors
    /// What reading the temporary file met.
    #[allow(clippy::should_implement_trait, reason = "it fails")]
    pub fn next(&mut self) -> io::Result<Option<Kept>> {
        while let Some((key, value)) = self.record()? {
            // Data whose node was not wanted, or is not there, which is told as a problem.
            if value[0] == DATA {
                continue;
            }
            let mut kept = Kept {
                path: path_of(&key),
                hash: hash_in(&value),
                value,
                apart: None,
            };
            self.ahead = self.record()?;
            let is_its =
                |ahead: &mut (Vec<u8>, Vec<u8>)| ahead.1[0] == DATA && ahead.0.split_last() == Some((&0, &key));
            if let Some((_, mut data)) = self.ahead.take_if(is_its) {
                kept.hash = hash_in(&data);
                data.drain(..1 + HASH_BYTES);
                kept.apart = Some(data);
            }
            return Ok(Some(kept));
        }
        Ok(None)
    }

    fn record(&mut self) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        if self.ahead.is_some() {
            return Ok(self.ahead.take());
        }
        let record = self.sorted.next()?;
        Ok(record.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }
}

fn hash_in(value: &[u8]) -> u128 {
    u128::from_le_bytes(value[1..][..HASH_BYTES].try_into().expect("sixteen bytes"))
}

impl Kept {
    /// What the snapshot holds of it.
    pub fn node(&self) -> Node<'_> {
        Node::decode(&self.value[1 + HASH_BYTES..])
    }

    /// Its data, if they were carried and are not null.
    pub fn data(&self) -> Option<&[u8]> {
        match self.node().payload {
            Payload::Null => None,
            Payload::Inline(bytes) => Some(bytes),
            Payload::Large(_) => self.apart.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ringkeeper::tree::node::{AclId, Persisted};

    use super::*;

    fn node(payload: Payload<'_>) -> Node<'_> {
        Node {
            acl: AclId(2),
            stat: Persisted::created(7, 8, 0),
            children: 0,
            payload,
        }
    }

    fn in_order(memory: usize, carried: Carried) -> Vec<Kept> {
        let mut gather = Gather::new(memory, carried);
        let large = vec![5; 5000];
        for item in [
            Item::Node("/a-c", node(Payload::Inline(b"x"))),
            Item::Data("/a", &large),
            Item::Node("/a/b", node(Payload::Null)),
            Item::Data("/gone", b"of nobody"),
            Item::Node("", node(Payload::Large(5))),
            Item::Node("/a", node(Payload::Large(5000))),
            Item::Node("/é", node(Payload::Inline(b""))),
            Item::Data("", b"zebra"),
        ] {
            gather.push(&item).unwrap();
        }
        let (mut order, mut all) = (gather.finish().unwrap(), Vec::new());
        while let Some(kept) = order.next().unwrap() {
            all.push(kept);
        }
        all
    }

    #[test]
    fn nodes_come_by_path_with_their_data() {
        for memory in [1, 1 << 20] {
            let bytes = Carried {
                bytes: true,
                hash: None,
            };
            let found = in_order(memory, bytes);
            let large = vec![5; 5000];
            let told: Vec<_> = found.iter().map(|kept| (kept.path.as_str(), kept.data())).collect();
            let wanted = [
                ("", Some(&b"zebra"[..])),
                ("/a", Some(&large)),
                ("/a/b", None),
                ("/a-c", Some(b"x")),
                ("/é", Some(b"")),
            ];
            assert_eq!(told, wanted);
            assert!(found.iter().all(|kept| kept.node().acl == AclId(2) && kept.hash == 0));
        }
    }

    #[test]
    fn hashes_stand_for_data_wherever_they_lie() {
        let hash = Carried {
            bytes: false,
            hash: Some((1, 2)),
        };
        let found = in_order(1 << 20, hash);
        let lengths: Vec<_> = found.iter().map(|kept| kept.node().payload.length()).collect();
        assert_eq!(lengths, [5, 5000, 0, 1, 0]);
        let gather = Gather::new(100, hash);
        let wanted = [&b"zebra"[..], &[5; 5000], b"", b"x", b""].map(|bytes| gather.hash(bytes));
        for (index, kept) in found.iter().enumerate() {
            let none = kept.node().payload == Payload::Null;
            assert_eq!(kept.hash, if none { 0 } else { u128::from_le_bytes(wanted[index]) });
        }
    }
}
