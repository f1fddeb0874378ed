//! The `Stat` of a node as clients see it: 68 bytes.

use super::jute::{Decoded, Reader, Writer};

/// What clients are told of a node besides its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Stat {
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    pub cversion: i32,
    pub aversion: i32,
    pub ephemeral_owner: i64,
    pub data_length: i32,
    pub num_children: i32,
    pub pzxid: i64,
}

impl Stat {
    /// Its size on the wire.
    pub const BYTES: usize = 68;

    /// Appends it.
    pub fn write(&self, w: &mut Writer<'_>) {
        let before = w.written();
        for long in [self.czxid, self.mzxid, self.ctime, self.mtime] {
            w.long(long);
        }
        for int in [self.version, self.cversion, self.aversion] {
            w.int(int);
        }
        w.long(self.ephemeral_owner);
        w.int(self.data_length);
        w.int(self.num_children);
        w.long(self.pzxid);
        debug_assert_eq!(w.written() - before, Stat::BYTES);
    }

    /// Reads it.
    pub fn read(r: &mut Reader<'_>) -> Decoded<Stat> {
        Ok(Stat {
            czxid: r.long()?,
            mzxid: r.long()?,
            ctime: r.long()?,
            mtime: r.long()?,
            version: r.int()?,
            cversion: r.int()?,
            aversion: r.int()?,
            ephemeral_owner: r.long()?,
            data_length: r.int()?,
            num_children: r.int()?,
            pzxid: r.long()?,
        })
    }
}
