//! A node's value in the trie.
//!
//! ```text
//! flags u8 · acl u32 · FRESH: czxid i64, ctime i64
//!                    · else : czxid mzxid ctime mtime i64, version cversion aversion i32, owner i64, pzxid i64, children u32
//!          · LARGE: data length u32 (the bytes lie under their own key) · else: the data
//! ```
//! Most nodes are leaves that nobody has changed since their creation: those need 21 bytes before their data
//! instead of 69, which is what keeps a million of them below 330 bytes each.

use crate::base::limits::LARGE_DATA_BYTES;
use crate::wire::stat::Stat;

const FRESH: u8 = 1;
const NULL: u8 = 2;
const LARGE: u8 = 4;

const FULL_HEADER_BYTES: usize = 1 + 4 + 4 * 8 + 3 * 4 + 2 * 8 + 4;
const HEADER_BYTES_MAX: usize = FULL_HEADER_BYTES + 4;

/// The owner that marks containers (`EphemeralType#CONTAINER_EPHEMERAL_OWNER`).
pub const CONTAINER_OWNER: i64 = i64::MIN;
/// The top byte that marks TTL nodes.
const TTL_MARK: u64 = 0xFF << 56;
/// The longest time to live: 40 bits of milliseconds.
pub const TTL_MAX: i64 = (1 << 40) - 1;

/// The number of an ACL; 0 is world:anyone with all permissions and is stored nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AclId(pub u32);

/// The Stat as it is stored; what clients see is computed from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Persisted {
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    /// Counts creations of children only.
    pub cversion: i32,
    pub aversion: i32,
    pub owner: i64,
    pub pzxid: i64,
}

/// Where the data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// There is none, which is not the same as none at all.
    Null,
    /// Beside the Stat.
    Inline(&'a [u8]),
    /// Under its own key; so many bytes.
    Large(u32),
}

/// A node as found in the trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node<'a> {
    /// Its ACL.
    pub acl: AclId,
    /// Its Stat.
    pub stat: Persisted,
    /// How many children it has.
    pub children: u32,
    /// Its data.
    pub payload: Payload<'a>,
}

/// What an owner field means (`EphemeralType#get`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Persistent.
    Nobody,
    /// Ephemeral, of this session.
    Session(i64),
    /// A container.
    Container,
    /// A node with a time to live, ms.
    Ttl(i64),
}

impl Owner {
    /// Reads an owner field. Without the extended types a TTL mark is a session like any other.
    pub fn of(owner: i64, extended_types: bool) -> Owner {
        match owner {
            0 => Owner::Nobody,
            CONTAINER_OWNER => Owner::Container,
            _ if extended_types && owner as u64 & TTL_MARK == TTL_MARK => Owner::Ttl(owner & TTL_MAX),
            _ => Owner::Session(owner),
        }
    }

    /// The field for a time to live.
    pub fn ttl_field(ttl: i64) -> i64 {
        (TTL_MARK | ttl as u64) as i64
    }
}

impl Persisted {
    /// A new node's (`DataTree#createStat`).
    pub fn created(zxid: i64, time_ms: i64, owner: i64) -> Persisted {
        Persisted {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time_ms,
            mtime: time_ms,
            owner,
            ..Persisted::default()
        }
    }

    fn is_fresh(&self) -> bool {
        *self == Persisted::created(self.czxid, self.ctime, 0)
    }
}

impl<'a> Payload<'a> {
    /// Data as it is to be stored.
    pub fn of(data: Option<&'a [u8]>) -> Payload<'a> {
        match data {
            None => Payload::Null,
            Some(bytes) if bytes.len() < LARGE_DATA_BYTES => Payload::Inline(bytes),
            Some(bytes) => Payload::Large(u32::try_from(bytes.len()).expect("a frame bounds the data")),
        }
    }

    /// Its length in bytes.
    pub fn length(&self) -> usize {
        match self {
            Payload::Null => 0,
            Payload::Inline(bytes) => bytes.len(),
            Payload::Large(length) => *length as usize,
        }
    }
}

impl<'a> Node<'a> {
    /// Reads a value; the trie holds only what [`Node::encode`] made.
    pub fn decode(value: &'a [u8]) -> Node<'a> {
        Node::try_decode(value).expect("a node's value is whole")
    }

    /// Reads a value that may have been damaged; for snapshots.
    pub fn try_decode(value: &'a [u8]) -> Option<Node<'a>> {
        let mut at = Cursor(value);
        let flags = at.u8()?;
        let acl = AclId(at.u32()?);
        let (stat, children) = if flags & FRESH != 0 {
            (Persisted::created(at.i64()?, at.i64()?, 0), 0)
        } else {
            let (czxid, mzxid, ctime, mtime) = (at.i64()?, at.i64()?, at.i64()?, at.i64()?);
            let (version, cversion, aversion) = (at.u32()? as i32, at.u32()? as i32, at.u32()? as i32);
            let (owner, pzxid) = (at.i64()?, at.i64()?);
            (
                Persisted {
                    czxid,
                    mzxid,
                    ctime,
                    mtime,
                    version,
                    cversion,
                    aversion,
                    owner,
                    pzxid,
                },
                at.u32()?,
            )
        };
        let payload = match flags & (NULL | LARGE) {
            NULL => Payload::Null,
            LARGE => Payload::Large(at.u32()?),
            _ => Payload::Inline(at.0),
        };
        Some(Node {
            acl,
            stat,
            children,
            payload,
        })
    }

    /// Gives the value's header and the bytes behind it, to be stored together.
    pub fn encode(&self) -> (Header, &'a [u8]) {
        let mut header = Header {
            bytes: [0; HEADER_BYTES_MAX],
            length: 0,
        };
        let fresh = self.children == 0 && self.stat.is_fresh();
        let (kind, data) = match self.payload {
            Payload::Null => (NULL, &[][..]),
            Payload::Inline(bytes) => (0, bytes),
            Payload::Large(_) => (LARGE, &[][..]),
        };
        header.push(&[kind | if fresh { FRESH } else { 0 }]);
        header.push(&self.acl.0.to_be_bytes());
        let s = &self.stat;
        if fresh {
            header.push(&s.czxid.to_be_bytes());
            header.push(&s.ctime.to_be_bytes());
        } else {
            [s.czxid, s.mzxid, s.ctime, s.mtime]
                .iter()
                .for_each(|long| header.push(&long.to_be_bytes()));
            [s.version, s.cversion, s.aversion]
                .iter()
                .for_each(|int| header.push(&int.to_be_bytes()));
            [s.owner, s.pzxid]
                .iter()
                .for_each(|long| header.push(&long.to_be_bytes()));
            header.push(&self.children.to_be_bytes());
        }
        if let Payload::Large(length) = self.payload {
            header.push(&length.to_be_bytes());
        }
        (header, data)
    }

    /// The Stat that clients see (`DataNode#copyStat`).
    pub fn client_stat(&self, extended_types: bool) -> Stat {
        let s = &self.stat;
        let ephemeral_owner = match Owner::of(s.owner, extended_types) {
            Owner::Session(session) => session,
            _ => 0,
        };
        Stat {
            czxid: s.czxid,
            mzxid: s.mzxid,
            ctime: s.ctime,
            mtime: s.mtime,
            version: s.version,
            // Stored: creations. Shown: creations and deletions.
            cversion: s.cversion.wrapping_mul(2).wrapping_sub(self.children as i32),
            aversion: s.aversion,
            ephemeral_owner,
            data_length: self.payload.length() as i32,
            num_children: self.children as i32,
            pzxid: s.pzxid,
        }
    }
}

/// The bytes before a node's data.
pub struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    length: usize,
}

impl Header {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    /// What was pushed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }
    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }
    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }
    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(node: Node<'_>) -> usize {
        let (header, data) = node.encode();
        let value = [header.bytes(), data].concat();
        assert_eq!(Node::decode(&value), node);
        for cut in 0..header.bytes().len() {
            assert_eq!(Node::try_decode(&value[..cut]), None, "cut at {cut}");
        }
        header.bytes().len()
    }

    #[test]
    fn fresh_nodes_are_small_and_all_round_trip() {
        let stat = Persisted::created(5, 6, 0);
        let fresh = Node {
            acl: AclId(3),
            stat,
            children: 0,
            payload: Payload::Inline(b"abc"),
        };
        assert_eq!(round_trip(fresh), 21);
        assert_eq!(round_trip(Node { children: 1, ..fresh }), FULL_HEADER_BYTES);
        assert_eq!(
            round_trip(Node {
                stat: Persisted { version: 1, ..stat },
                ..fresh
            }),
            FULL_HEADER_BYTES
        );
        round_trip(Node {
            payload: Payload::Null,
            ..fresh
        });
        round_trip(Node {
            payload: Payload::Large(70_000),
            ..fresh
        });
        round_trip(Node {
            stat: Persisted {
                owner: -5,
                mtime: i64::MIN,
                ..stat
            },
            ..fresh
        });
    }

    #[test]
    fn owners() {
        assert_eq!(Owner::of(0, true), Owner::Nobody);
        assert_eq!(Owner::of(CONTAINER_OWNER, false), Owner::Container);
        assert_eq!(Owner::of(Owner::ttl_field(77), true), Owner::Ttl(77));
        assert_eq!(
            Owner::of(Owner::ttl_field(77), false),
            Owner::Session(Owner::ttl_field(77))
        );
        assert_eq!(Owner::of(0x1000, true), Owner::Session(0x1000));
    }

    #[test]
    fn clients_see_both_creations_and_deletions_of_children() {
        let stat = Persisted {
            cversion: 5,
            ..Persisted::default()
        };
        let node = Node {
            acl: AclId(0),
            stat,
            children: 2,
            payload: Payload::Null,
        };
        assert_eq!(node.client_stat(false).cversion, 8);
    }
}
