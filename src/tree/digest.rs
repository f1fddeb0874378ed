//! The tree's digest as a Java server computes it, because a Java follower checks ours (`DigestCalculator`, version 2).
//!
//! A node's digest is a CRC-32 over path, data and stored Stat; the tree's is their sum modulo 2^64. Nodes below
//! `/zookeeper` count nothing, `/zookeeper` itself does, and the ACL is not covered.
//!
//! A share that is kept in its node (four bytes), so that a change need not read the old data again, won nothing: 15.6 µs of
//! processor time instead of 15.7 for a multi of ten sets of 1 KB, 2.72 instead of 2.69 for a set, medians of four
//! alternations.

use super::node::Persisted;
use crate::base::path::{ZOOKEEPER, canonical};

/// One node's share.
pub fn node(path: &str, data: &[u8], stat: &Persisted) -> u64 {
    node_of_bytes(path, canonical(path).as_bytes(), data, stat)
}

/// The same where the path was digested as other bytes than its own: a JVM does so whose charset is not UTF-8.
pub fn node_of_bytes(path: &str, path_bytes: &[u8], data: &[u8], stat: &Persisted) -> u64 {
    if path.strip_prefix(ZOOKEEPER).is_some_and(|rest| rest.starts_with('/')) {
        return 0;
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(path_bytes);
    crc.update(data);
    let mut bytes = [0; 60];
    let longs = [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime];
    for (chunk, long) in bytes.chunks_exact_mut(8).zip(longs) {
        chunk.copy_from_slice(&long.to_be_bytes());
    }
    for (chunk, int) in bytes[40..52]
        .chunks_exact_mut(4)
        .zip([stat.version, stat.cversion, stat.aversion])
    {
        chunk.copy_from_slice(&int.to_be_bytes());
    }
    bytes[52..].copy_from_slice(&stat.owner.to_be_bytes());
    crc.update(&bytes);
    u64::from(crc.finalize())
}

/// The part of a share that needs no Stat, for who meets a node's data apart from its Stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// CRC-32 of path and data.
    pub crc: u32,
    /// Bytes of both.
    pub bytes: u64,
}

impl Named {
    /// Begins a share.
    pub fn new(path: &str, data: &[u8]) -> Named {
        let path = canonical(path);
        let mut crc = crc32fast::Hasher::new();
        crc.update(path.as_bytes());
        crc.update(data);
        Named {
            crc: crc.finalize(),
            bytes: (path.len() + data.len()) as u64,
        }
    }

    /// The whole share; the path is the one that it began with.
    pub fn node(self, path: &str, stat: &Persisted) -> u64 {
        if path.strip_prefix(ZOOKEEPER).is_some_and(|rest| rest.starts_with('/')) {
            return 0;
        }
        // Without path and data a share is the CRC of the Stat's 60 bytes.
        let of_stat = node("", b"", stat) as u32;
        let mut crc = crc32fast::Hasher::new_with_initial_len(self.crc, self.bytes);
        crc.combine(&crc32fast::Hasher::new_with_initial_len(of_stat, 60));
        u64::from(crc.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn javas_vectors() {
        let zero = Persisted::default();
        assert_eq!(node("", b"", &zero), 0x0412_8908);
        assert_eq!(node("/", b"", &zero), 0x0412_8908);
        assert_eq!(node("/zookeeper", b"", &zero), 0x4DB4_4D58);
        assert_eq!(node("/zookeeper/quota", b"", &zero), 0);
        let x = Persisted {
            czxid: 7,
            mzxid: 7,
            pzxid: 7,
            ctime: 1000,
            mtime: 1000,
            ..zero
        };
        assert_eq!(node("/x", b"v", &x), 0x881D_91B2);
        assert_eq!(Named::new("/x", b"v").node("/x", &x), 0x881D_91B2);
        assert_eq!(Named::new("/zookeeper/quota", b"v").node("/zookeeper/quota", &x), 0);
        assert_eq!(
            node(
                "",
                b"",
                &Persisted {
                    cversion: 1,
                    pzxid: 7,
                    ..zero
                }
            ),
            0xEDB6_3952
        );
    }
}
