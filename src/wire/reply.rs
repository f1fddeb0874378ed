//! Reply headers and reply records.
//!
//! A reply is built where the answer is known and written straight into the connection's output.

use super::acl::{Acl, Id, write_list};
use super::error::ErrorCode;
use super::frame;
use super::jute::Writer;
use super::stat::Stat;

/// The 16 bytes before every reply record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyHeader {
    /// The request's.
    pub xid: i32,
    /// The newest transaction that the reply may show; 0 for auth, −1 for unknown opcodes.
    pub zxid: i64,
    /// 0 or why not.
    pub err: i32,
}

impl ReplyHeader {
    fn write(&self, w: &mut Writer<'_>) {
        w.int(self.xid);
        w.long(self.zxid);
        w.int(self.err);
    }

    /// Appends a frame with this header and what `body` writes. Gives its length.
    pub fn append(&self, out: &mut Vec<u8>, body: impl FnOnce(&mut Writer<'_>)) -> usize {
        frame::append(out, |out| {
            let mut w = Writer::new(out);
            self.write(&mut w);
            body(&mut w);
        })
    }
}

/// The answer to a write, before its xid and zxid are known to the connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WriteReply {
    /// create: the path it got.
    Path(String),
    /// create2, container and TTL.
    PathAndStat(String, Stat),
    /// setData and setACL.
    Stat(Stat),
    /// delete and closeSession.
    Nothing,
    /// multi: a result for each operation.
    Multi(Vec<OpResult>),
    /// The request failed.
    Error(ErrorCode),
}

/// The result of one operation of a multi or multiRead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum OpResult {
    Create(String),
    Create2(String, Stat),
    Delete,
    SetData(Stat),
    Check,
    /// An error, or 0 for the operations before the one that failed.
    Error(i32),
}

impl WriteReply {
    /// Appends the whole frame. Gives its length.
    pub fn append(&self, out: &mut Vec<u8>, xid: i32, zxid: i64) -> usize {
        let err = if let WriteReply::Error(code) = self {
            code.code()
        } else {
            0
        };
        ReplyHeader { xid, zxid, err }.append(out, |w| match self {
            WriteReply::Path(path) => w.text(path),
            WriteReply::PathAndStat(path, stat) => {
                w.text(path);
                stat.write(w);
            }
            WriteReply::Stat(stat) => stat.write(w),
            WriteReply::Multi(results) => {
                results.iter().for_each(|result| result.write(w));
                write_multi_end(w);
            }
            WriteReply::Nothing | WriteReply::Error(_) => {}
        })
    }
}

impl OpResult {
    fn write(&self, w: &mut Writer<'_>) {
        match self {
            OpResult::Create(path) => {
                write_multi_header(w, 1, 0);
                w.text(path);
            }
            OpResult::Create2(path, stat) => {
                write_multi_header(w, 15, 0);
                w.text(path);
                stat.write(w);
            }
            OpResult::Delete => write_multi_header(w, 2, 0),
            OpResult::SetData(stat) => {
                write_multi_header(w, 5, 0);
                stat.write(w);
            }
            OpResult::Check => write_multi_header(w, 13, 0),
            OpResult::Error(code) => write_multi_error(w, *code),
        }
    }
}

/// The header before each result (`MultiHeader`).
pub fn write_multi_header(w: &mut Writer<'_>, code: i32, err: i32) {
    w.int(code);
    w.bool(false);
    w.int(err);
}

/// An error result: the code stands in the header and again as the body.
pub fn write_multi_error(w: &mut Writer<'_>, code: i32) {
    write_multi_header(w, -1, code);
    w.int(code);
}

/// The mark behind the last result.
pub fn write_multi_end(w: &mut Writer<'_>) {
    w.int(-1);
    w.bool(true);
    w.int(-1);
}

/// getData's record.
pub fn write_data(w: &mut Writer<'_>, data: Option<&[u8]>, stat: &Stat) {
    w.buffer(data);
    stat.write(w);
}

/// getACL's record.
pub fn write_acl(w: &mut Writer<'_>, acl: &[Acl], stat: &Stat) {
    write_list(w, acl);
    stat.write(w);
}

/// whoAmI's record: scheme and user of each identity.
pub fn write_who_am_i(w: &mut Writer<'_>, identities: &[Id]) {
    w.vector(identities.iter(), |w, id| {
        w.text(&id.scheme);
        w.text(if id.scheme == "digest" {
            id.id.split(':').next().unwrap_or_default()
        } else {
            &id.id
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        WriteReply::Path("/a".into()).append(&mut out, 7, 9);
        assert_eq!(out, b"\0\0\0\x16\0\0\0\x07\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x02/a");
        out.clear();
        WriteReply::Error(ErrorCode::NoNode).append(&mut out, 7, 9);
        assert_eq!(out, b"\0\0\0\x10\0\0\0\x07\0\0\0\0\0\0\0\x09\xff\xff\xff\x9b");
        out.clear();
        WriteReply::Multi(vec![OpResult::Error(0), OpResult::Error(-101)]).append(&mut out, 1, 2);
        assert_eq!(out[20..33], *b"\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0");
        assert_eq!(out[33..46], *b"\xff\xff\xff\xff\0\xff\xff\xff\x9b\xff\xff\xff\x9b");
        assert_eq!(out[46..], *b"\xff\xff\xff\xff\x01\xff\xff\xff\xff");
    }

    #[test]
    fn who_am_i_hides_the_hash() {
        let mut out = Vec::new();
        write_who_am_i(
            &mut Writer::new(&mut out),
            &[Id::new("digest", "u:hash"), Id::new("ip", "127.0.0.1")],
        );
        assert_eq!(
            out,
            b"\0\0\0\x02\0\0\0\x06digest\0\0\0\x01u\0\0\0\x02ip\0\0\0\x09127.0.0.1"
        );
    }
}
