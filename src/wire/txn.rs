//! Transactions as peers speak them and as the log keeps them: TxnHeader, record, digest.
//!
//! A transaction is what a checked request becomes; applying one never fails for reasons of the world.

use super::acl::{Acl, read_list, write_list};
use super::jute::{DecodeError, Decoded, Reader, Writer};

/// The 32 bytes before every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TxnHeader {
    pub session: i64,
    pub cxid: i32,
    pub zxid: i64,
    /// The leader's wall clock, ms.
    pub time_ms: i64,
}

/// One change of the tree, alone or inside a multi.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Change {
    Create {
        path: String,
        data: Option<Vec<u8>>,
        acl: Vec<Acl>,
        kind: CreateTxn,
        parent_cversion: i32,
    },
    Delete {
        path: String,
    },
    /// Deleted by the server's own reaper.
    DeleteContainer {
        path: String,
    },
    SetData {
        path: String,
        data: Option<Vec<u8>>,
        version: i32,
    },
    SetAcl {
        path: String,
        acl: Vec<Acl>,
        version: i32,
    },
    /// Changes nothing; `version` is the one found + 1.
    Check {
        path: String,
        version: i32,
    },
    /// Inside a failed multi.
    Error(i32),
}

/// What a create makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CreateTxn {
    /// Opcode 1.
    Plain {
        ephemeral: bool,
    },
    /// Opcode 15.
    WithStat {
        ephemeral: bool,
    },
    Container,
    Ttl(i64),
}

/// A transaction's record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Txn {
    Change(Change),
    Multi(Vec<Change>),
    CreateSession {
        timeout_ms: i32,
    },
    /// `None` from servers that do not list the paths.
    CloseSession {
        paths: Option<Vec<String>>,
    },
    Error(i32),
}

/// The tree's digest after a transaction, in the form of version 2 (`DigestCalculator`).
pub const DIGEST_VERSION: i32 = 2;

impl Change {
    /// The opcode that stands for it.
    pub fn code(&self) -> i32 {
        match self {
            Change::Create {
                kind: CreateTxn::Plain { .. },
                ..
            } => 1,
            Change::Create {
                kind: CreateTxn::WithStat { .. },
                ..
            } => 15,
            Change::Create {
                kind: CreateTxn::Container,
                ..
            } => 19,
            Change::Create {
                kind: CreateTxn::Ttl(_),
                ..
            } => 21,
            Change::Delete { .. } => 2,
            Change::DeleteContainer { .. } => 20,
            Change::SetData { .. } => 5,
            Change::SetAcl { .. } => 7,
            Change::Check { .. } => 13,
            Change::Error(_) => -1,
        }
    }

    /// The path it touches, if any.
    pub fn path(&self) -> Option<&str> {
        match self {
            Change::Create { path, .. }
            | Change::Delete { path }
            | Change::DeleteContainer { path }
            | Change::SetData { path, .. }
            | Change::SetAcl { path, .. }
            | Change::Check { path, .. } => Some(path),
            Change::Error(_) => None,
        }
    }

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            Change::Create {
                path,
                data,
                acl,
                kind,
                parent_cversion,
            } => {
                w.text(path);
                w.buffer(data.as_deref());
                write_list(w, acl);
                match kind {
                    CreateTxn::Plain { ephemeral } | CreateTxn::WithStat { ephemeral } => {
                        w.bool(*ephemeral);
                        w.int(*parent_cversion);
                    }
                    CreateTxn::Container => w.int(*parent_cversion),
                    CreateTxn::Ttl(ttl) => {
                        w.int(*parent_cversion);
                        w.long(*ttl);
                    }
                }
            }
            Change::Delete { path } | Change::DeleteContainer { path } => w.text(path),
            Change::SetData { path, data, version } => {
                w.text(path);
                w.buffer(data.as_deref());
                w.int(*version);
            }
            Change::SetAcl { path, acl, version } => {
                w.text(path);
                write_list(w, acl);
                w.int(*version);
            }
            Change::Check { path, version } => {
                w.text(path);
                w.int(*version);
            }
            Change::Error(code) => w.int(*code),
        }
    }

    fn read(code: i32, r: &mut Reader<'_>) -> Decoded<Change> {
        let path = |r: &mut Reader<'_>| r.some_text("path").map(String::from);
        let data = |r: &mut Reader<'_>| r.buffer().map(|data| data.map(<[u8]>::to_vec));
        Ok(match code {
            1 | 15 | 19 | 21 => Change::read_create(code, r)?,
            2 => Change::Delete { path: path(r)? },
            20 => Change::DeleteContainer { path: path(r)? },
            5 | 16 => Change::SetData {
                path: path(r)?,
                data: data(r)?,
                version: r.int()?,
            },
            7 => Change::SetAcl {
                path: path(r)?,
                acl: read_list(r)?,
                version: r.int()?,
            },
            13 => Change::Check {
                path: path(r)?,
                version: r.int()?,
            },
            -1 => Change::Error(r.int()?),
            other => return Err(DecodeError::Unknown("transaction type", other)),
        })
    }

    fn read_create(code: i32, r: &mut Reader<'_>) -> Decoded<Change> {
        let path = r.some_text("path")?.into_owned();
        let data = r.buffer()?.map(<[u8]>::to_vec);
        let acl = read_list(r)?;
        let (kind, parent_cversion) = match code {
            1 | 15 => {
                let ephemeral = r.bool()?;
                let kind = if code == 1 {
                    CreateTxn::Plain { ephemeral }
                } else {
                    CreateTxn::WithStat { ephemeral }
                };
                // Before 3.4 there was no parentCVersion (`CreateTxnV0`).
                (kind, r.int().unwrap_or(-1))
            }
            19 => (CreateTxn::Container, r.int()?),
            _ => {
                let parent_cversion = r.int()?;
                (CreateTxn::Ttl(r.long()?), parent_cversion)
            }
        };
        Ok(Change::Create {
            path,
            data,
            acl,
            kind,
            parent_cversion,
        })
    }
}

impl Txn {
    /// The type in the header.
    pub fn code(&self) -> i32 {
        match self {
            Txn::Change(change) => change.code(),
            Txn::Multi(_) => 14,
            Txn::CreateSession { .. } => -10,
            Txn::CloseSession { .. } => -11,
            Txn::Error(_) => -1,
        }
    }

    /// Appends header, record and, unless it is an error, the digest.
    pub fn append(&self, header: &TxnHeader, digest: Option<u64>, out: &mut Vec<u8>) {
        let mut w = Writer::new(out);
        w.long(header.session);
        w.int(header.cxid);
        w.long(header.zxid);
        w.long(header.time_ms);
        w.int(self.code());
        match self {
            Txn::Change(change) => change.write(&mut w),
            Txn::Multi(changes) => w.vector(changes.iter(), |w, change| {
                w.int(change.code());
                w.buffer_of(|w| change.write(w));
            }),
            Txn::CreateSession { timeout_ms } => w.int(*timeout_ms),
            Txn::CloseSession { paths } => {
                if let Some(paths) = paths {
                    w.vector(paths.iter(), |w, path| w.text(path));
                }
            }
            Txn::Error(code) => w.int(*code),
        }
        if let (Some(digest), false) = (digest, matches!(self, Txn::Error(_))) {
            w.int(DIGEST_VERSION);
            w.long(digest as i64);
        }
    }

    /// Reads header, record and the digest where there is one.
    pub fn read(bytes: &[u8]) -> Decoded<(TxnHeader, Txn, Option<u64>)> {
        let r = &mut Reader::new(bytes);
        let header = TxnHeader {
            session: r.long()?,
            cxid: r.int()?,
            zxid: r.long()?,
            time_ms: r.long()?,
        };
        let code = r.int()?;
        let txn = match code {
            -1 => Txn::Error(r.int()?),
            -10 => Txn::CreateSession { timeout_ms: r.int()? },
            -11 => Txn::CloseSession { paths: read_paths(r)? },
            14 => Txn::Multi(r.vector(read_sub_txn)?.unwrap_or_default()),
            13 => return Err(DecodeError::Unknown("transaction type", code)),
            _ => Txn::Change(Change::read(code, r)?),
        };
        let digest = match (r.int(), r.long()) {
            (Ok(DIGEST_VERSION), Ok(digest)) => Some(digest as u64),
            _ => None,
        };
        Ok((header, txn, digest))
    }
}

fn read_sub_txn(r: &mut Reader<'_>) -> Decoded<Change> {
    let code = r.int()?;
    let record = r.buffer()?.ok_or(DecodeError::Null("record"))?;
    Change::read(code, &mut Reader::new(record))
}

/// Nothing at all means that the writer did not list its paths (`closeSessionTxn.enabled=false`).
fn read_paths(r: &mut Reader<'_>) -> Decoded<Option<Vec<String>>> {
    if r.rest().is_empty() || is_digest_only(r.rest()) {
        return Ok(None);
    }
    r.vector(|r| r.some_text("path").map(String::from))
}

/// A server that does not list its paths and keeps digests writes the digest alone. As a list it would be of two paths
/// in eight bytes, which none is. (Java itself misreads it.)
fn is_digest_only(rest: &[u8]) -> bool {
    rest.len() == 12 && rest[..4] == DIGEST_VERSION.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: TxnHeader = TxnHeader {
        session: 1,
        cxid: 2,
        zxid: 3,
        time_ms: 4,
    };

    fn round_trip(txn: Txn) -> Vec<u8> {
        let mut out = Vec::new();
        let digest = (!matches!(txn, Txn::Error(_))).then_some(77);
        txn.append(&HEADER, digest, &mut out);
        assert_eq!(Txn::read(&out).unwrap(), (HEADER, txn, digest));
        out
    }

    #[test]
    fn every_record_round_trips() {
        let create = |kind| Change::Create {
            path: "/a".into(),
            data: None,
            acl: vec![Acl::anyone(31)],
            kind,
            parent_cversion: 1,
        };
        let changes = vec![
            create(CreateTxn::Plain { ephemeral: true }),
            create(CreateTxn::WithStat { ephemeral: false }),
            create(CreateTxn::Container),
            create(CreateTxn::Ttl(5)),
            Change::Delete { path: "/a".into() },
            Change::DeleteContainer { path: "/a".into() },
            Change::SetData {
                path: "/a".into(),
                data: Some(vec![1]),
                version: 9,
            },
            Change::SetAcl {
                path: "/a".into(),
                acl: vec![],
                version: 2,
            },
        ];
        for change in &changes {
            round_trip(Txn::Change(change.clone()));
        }
        let mut inside = changes;
        inside.push(Change::Check {
            path: "/a".into(),
            version: 1,
        });
        inside.push(Change::Error(-101));
        round_trip(Txn::Multi(inside));
        round_trip(Txn::CreateSession { timeout_ms: 4000 });
        round_trip(Txn::CloseSession {
            paths: Some(vec!["/e".into()]),
        });
        round_trip(Txn::Error(-110));
    }

    #[test]
    fn sizes_seen_on_a_live_server() {
        assert_eq!(round_trip(Txn::CreateSession { timeout_ms: 1 }).len(), 48);
        assert_eq!(round_trip(Txn::CloseSession { paths: Some(vec![]) }).len(), 48);
        assert_eq!(round_trip(Txn::Error(-101)).len(), 36);
        let set = Change::SetData {
            path: "/".into(),
            data: Some(vec![0; 8]),
            version: 1,
        };
        assert_eq!(round_trip(Txn::Change(set)).len(), 65);
    }

    #[test]
    fn a_digest_behind_a_close_without_paths_is_no_list() {
        let out = round_trip(Txn::CloseSession { paths: None });
        assert_eq!(out.len(), 44);
    }

    #[test]
    fn golden_bytes() {
        let out = round_trip(Txn::CreateSession { timeout_ms: 30_000 });
        assert_eq!(
            out,
            b"\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04\xff\xff\xff\xf6\0\0\x75\x30\0\0\0\x02\0\0\0\0\0\0\0\x4d"
        );
    }
}
