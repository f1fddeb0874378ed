//! What a client may ask: opcodes, headers and request records.
//!
//! Every request body is decoded completely on the connection that brought it, before it is given a zxid or
//! touches anything shared (traps.md T-01). Decoding answers only "well formed?"; whether the request makes
//! sense is the writing desk's question.

use super::acl::AclRequest;
use super::jute::{DecodeError, Decoded, Reader, Text};

macro_rules! opcodes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $lop:literal;)*) => {
        /// The opcodes a client may send.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum Op { $($(#[$doc])* $name = $code,)* }

        impl Op {
            /// Every opcode.
            pub const ALL: &[Op] = &[$(Op::$name,)*];

            /// The opcode of a number. Codes that only servers use among themselves are not in the list:
            /// they are answered as unknown (client-protocol.md 22).
            pub fn from_code(code: i32) -> Option<Op> {
                match code { $($code => Some(Op::$name),)* _ => None }
            }

            /// The word for the last operation in the four-letter word `cons`.
            pub fn last_op(self) -> &'static str {
                match self { $(Op::$name => $lop,)* }
            }
        }
    };
}

opcodes! {
    /// create, answered with the path.
    Create = 1, "CREA";
    /// delete.
    Delete = 2, "DELE";
    /// exists.
    Exists = 3, "EXIS";
    /// getData.
    GetData = 4, "GETD";
    /// setData.
    SetData = 5, "SETD";
    /// getACL.
    GetAcl = 6, "GETA";
    /// setACL.
    SetAcl = 7, "SETA";
    /// getChildren, names only.
    GetChildren = 8, "GETC";
    /// sync.
    Sync = 9, "SYNC";
    /// ping.
    Ping = 11, "PING";
    /// getChildren with the Stat.
    GetChildren2 = 12, "GETC";
    /// A transaction.
    Multi = 14, "MULT";
    /// create, answered with path and Stat.
    Create2 = 15, "CREA";
    /// Reconfiguration.
    Reconfig = 16, "RECO";
    /// Is such a watch there?
    CheckWatches = 17, "CHKW";
    /// Remove watches.
    RemoveWatches = 18, "REMW";
    /// Create a container.
    CreateContainer = 19, "CREA";
    /// Create a node with a time to live.
    CreateTtl = 21, "CREA";
    /// Several reads in one.
    MultiRead = 22, "MLTR";
    /// Credentials.
    Auth = 100, "NA";
    /// Watches of a client that reconnects.
    SetWatches = 101, "SETW";
    /// A SASL token.
    Sasl = 102, "NA";
    /// The session's own ephemerals.
    GetEphemerals = 103, "GETE";
    /// The number of all descendants.
    GetAllChildrenNumber = 104, "GETACN";
    /// Watches of a client that reconnects, persistent ones included.
    SetWatches2 = 105, "STW2";
    /// A persistent watch.
    AddWatch = 106, "ADDW";
    /// The connection's identities.
    WhoAmI = 107, "HOMI";
    /// The end of the session.
    CloseSession = -11, "CLOS";
}

impl Op {
    /// Whether it becomes a transaction, and so goes to whoever leads.
    pub fn is_write(self) -> bool {
        matches!(
            self,
            Op::Create
                | Op::Create2
                | Op::CreateContainer
                | Op::CreateTtl
                | Op::Delete
                | Op::SetData
                | Op::SetAcl
                | Op::Multi
                | Op::Reconfig
                | Op::CloseSession
        )
    }
}

/// The eight bytes before every request record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Chosen by the client, echoed.
    pub xid: i32,
    /// The opcode as sent, known or not.
    pub code: i32,
}

impl RequestHeader {
    /// Reads it and gives the record's bytes.
    pub fn split(frame: &[u8]) -> Decoded<(RequestHeader, &[u8])> {
        let mut r = Reader::new(frame);
        let header = RequestHeader {
            xid: r.int()?,
            code: r.int()?,
        };
        Ok((header, r.rest()))
    }
}

/// Which kind of create was asked for: it decides the transaction and the form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateKind {
    /// Answered with the path.
    Plain,
    /// Answered with path and Stat.
    WithStat,
    /// A container, answered with path and Stat.
    Container,
    /// With a time to live, answered with path and Stat.
    Ttl,
}

/// A create of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Create<'a> {
    pub kind: CreateKind,
    pub path: Option<Text<'a>>,
    pub data: Option<&'a [u8]>,
    pub acl: Option<Vec<AclRequest<'a>>>,
    pub flags: i32,
    /// −1 for the kinds that have none.
    pub ttl: i64,
}

/// One change, alone or inside a multi. A null path is well formed; it is refused later, with a zxid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum WriteOp<'a> {
    Create(Create<'a>),
    Delete {
        path: Option<Text<'a>>,
        version: i32,
    },
    SetData {
        path: Option<Text<'a>>,
        data: Option<&'a [u8]>,
        version: i32,
    },
    SetAcl {
        path: Option<Text<'a>>,
        acl: Option<Vec<AclRequest<'a>>>,
        version: i32,
    },
    /// Only inside a multi.
    Check {
        path: Option<Text<'a>>,
        version: i32,
    },
}

/// A read inside a multiRead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ReadOp<'a> {
    GetData { path: Option<Text<'a>> },
    GetChildren { path: Option<Text<'a>> },
}

/// The watches a reconnecting client brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SetWatches<'a> {
    pub relative_zxid: i64,
    pub data: Vec<Text<'a>>,
    pub exist: Vec<Text<'a>>,
    pub child: Vec<Text<'a>>,
    pub persistent: Vec<Text<'a>>,
    pub persistent_recursive: Vec<Text<'a>>,
}

/// A well-formed request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Request<'a> {
    Write(WriteOp<'a>),
    Multi(Vec<WriteOp<'a>>),
    MultiRead(Vec<ReadOp<'a>>),
    Reconfig,
    CloseSession,
    /// Answered with the path it came with, null or not.
    Sync {
        path: Option<Text<'a>>,
    },
    Exists {
        path: Text<'a>,
        watch: bool,
    },
    GetData {
        path: Text<'a>,
        watch: bool,
    },
    GetChildren {
        path: Text<'a>,
        watch: bool,
        with_stat: bool,
    },
    GetAcl {
        path: Text<'a>,
    },
    GetAllChildrenNumber {
        path: Text<'a>,
    },
    GetEphemerals {
        prefix: Option<Text<'a>>,
    },
    WhoAmI,
    Ping,
    CheckWatches {
        path: Text<'a>,
        kind: WatcherType,
    },
    RemoveWatches {
        path: Text<'a>,
        kind: WatcherType,
    },
    AddWatch {
        path: Text<'a>,
        mode: AddWatchMode,
    },
    SetWatches(SetWatches<'a>),
    Auth {
        scheme: Option<Text<'a>>,
        auth: Option<&'a [u8]>,
    },
    Sasl {
        token: Option<&'a [u8]>,
    },
}

/// Which watches checkWatches and removeWatches mean (`Watcher.WatcherType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum WatcherType {
    Children = 1,
    Data = 2,
    Any = 3,
    Persistent = 4,
    PersistentRecursive = 5,
}

impl WatcherType {
    fn read(r: &mut Reader<'_>) -> Decoded<WatcherType> {
        match r.int()? {
            1 => Ok(WatcherType::Children),
            2 => Ok(WatcherType::Data),
            3 => Ok(WatcherType::Any),
            4 => Ok(WatcherType::Persistent),
            5 => Ok(WatcherType::PersistentRecursive),
            other => Err(DecodeError::Unknown("watcher type", other)),
        }
    }
}

/// The modes of addWatch (`ZooDefs.AddWatchModes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum AddWatchMode {
    Persistent = 0,
    PersistentRecursive = 1,
}

impl AddWatchMode {
    fn read(r: &mut Reader<'_>) -> Decoded<AddWatchMode> {
        match r.int()? {
            0 => Ok(AddWatchMode::Persistent),
            1 => Ok(AddWatchMode::PersistentRecursive),
            other => Err(DecodeError::Unknown("watch mode", other)),
        }
    }
}

impl<'a> Request<'a> {
    /// Decodes the record behind a header.
    pub fn read(op: Op, body: &'a [u8]) -> Decoded<Request<'a>> {
        let r = &mut Reader::new(body);
        Ok(match op {
            Op::Create => Request::Write(WriteOp::Create(read_create(r, CreateKind::Plain)?)),
            Op::Create2 => Request::Write(WriteOp::Create(read_create(r, CreateKind::WithStat)?)),
            Op::CreateContainer => Request::Write(WriteOp::Create(read_create(r, CreateKind::Container)?)),
            Op::CreateTtl => Request::Write(WriteOp::Create(read_create(r, CreateKind::Ttl)?)),
            Op::Delete => Request::Write(WriteOp::Delete {
                path: r.text()?,
                version: r.int()?,
            }),
            Op::SetData => Request::Write(WriteOp::SetData {
                path: r.text()?,
                data: r.buffer()?,
                version: r.int()?,
            }),
            Op::SetAcl => Request::Write(WriteOp::SetAcl {
                path: r.text()?,
                acl: r.vector(AclRequest::read)?,
                version: r.int()?,
            }),
            Op::Multi => Request::Multi(read_multi(r, read_write_op)?),
            Op::MultiRead => Request::MultiRead(read_multi(r, read_read_op)?),
            Op::Reconfig => {
                let _members = (r.text()?, r.text()?, r.text()?, r.long()?);
                Request::Reconfig
            }
            Op::CloseSession => Request::CloseSession,
            Op::Sync => Request::Sync { path: r.text()? },
            Op::Exists => Request::Exists {
                path: r.some_text("path")?,
                watch: r.bool()?,
            },
            Op::GetData => Request::GetData {
                path: r.some_text("path")?,
                watch: r.bool()?,
            },
            Op::GetChildren => Request::GetChildren {
                path: r.some_text("path")?,
                watch: r.bool()?,
                with_stat: false,
            },
            Op::GetChildren2 => Request::GetChildren {
                path: r.some_text("path")?,
                watch: r.bool()?,
                with_stat: true,
            },
            Op::GetAcl => Request::GetAcl {
                path: r.some_text("path")?,
            },
            Op::GetAllChildrenNumber => Request::GetAllChildrenNumber {
                path: r.some_text("path")?,
            },
            Op::GetEphemerals => Request::GetEphemerals { prefix: r.text()? },
            Op::WhoAmI => Request::WhoAmI,
            Op::Ping => Request::Ping,
            Op::CheckWatches => Request::CheckWatches {
                path: r.some_text("path")?,
                kind: WatcherType::read(r)?,
            },
            Op::RemoveWatches => Request::RemoveWatches {
                path: r.some_text("path")?,
                kind: WatcherType::read(r)?,
            },
            Op::AddWatch => Request::AddWatch {
                path: r.some_text("path")?,
                mode: AddWatchMode::read(r)?,
            },
            Op::SetWatches => Request::SetWatches(read_set_watches(r, false)?),
            Op::SetWatches2 => Request::SetWatches(read_set_watches(r, true)?),
            Op::Auth => {
                let _type = r.int()?;
                Request::Auth {
                    scheme: r.text()?,
                    auth: r.buffer()?,
                }
            }
            Op::Sasl => Request::Sasl { token: r.buffer()? },
        })
    }
}

fn read_create<'a>(r: &mut Reader<'a>, kind: CreateKind) -> Decoded<Create<'a>> {
    Ok(Create {
        kind,
        path: r.text()?,
        data: r.buffer()?,
        acl: r.vector(AclRequest::read)?,
        flags: r.int()?,
        ttl: if kind == CreateKind::Ttl { r.long()? } else { -1 },
    })
}

fn read_set_watches<'a>(r: &mut Reader<'a>, persistent: bool) -> Decoded<SetWatches<'a>> {
    let mut watches = SetWatches {
        relative_zxid: r.long()?,
        ..SetWatches::default()
    };
    let list = |r: &mut Reader<'a>| {
        let paths = r.vector(|r| r.some_text("path"))?;
        paths.ok_or(DecodeError::Null("watch list"))
    };
    (watches.data, watches.exist, watches.child) = (list(r)?, list(r)?, list(r)?);
    if persistent {
        (watches.persistent, watches.persistent_recursive) = (list(r)?, list(r)?);
    }
    Ok(watches)
}

/// Operations until the header that says "done" (`MultiOperationRecord#deserialize`).
fn read_multi<'a, T>(r: &mut Reader<'a>, operation: impl Fn(&mut Reader<'a>, i32) -> Decoded<T>) -> Decoded<Vec<T>> {
    let mut operations = Vec::new();
    loop {
        let (code, done, _error) = (r.int()?, r.bool()?, r.int()?);
        if done {
            return Ok(operations);
        }
        operations.push(operation(r, code)?);
    }
}

fn read_write_op<'a>(r: &mut Reader<'a>, code: i32) -> Decoded<WriteOp<'a>> {
    Ok(match code {
        1 => WriteOp::Create(settle_kind(read_create(r, CreateKind::Plain)?)?),
        15 => WriteOp::Create(settle_kind(read_create(r, CreateKind::WithStat)?)?),
        19 => WriteOp::Create(settle_kind(read_create(r, CreateKind::Container)?)?),
        21 => WriteOp::Create(settle_ttl_kind(read_create(r, CreateKind::Ttl)?)?),
        2 => WriteOp::Delete {
            path: r.text()?,
            version: r.int()?,
        },
        5 => WriteOp::SetData {
            path: r.text()?,
            data: r.buffer()?,
            version: r.int()?,
        },
        13 => WriteOp::Check {
            path: r.text()?,
            version: r.int()?,
        },
        other => return Err(DecodeError::Unknown("operation in a multi", other)),
    })
}

fn read_read_op<'a>(r: &mut Reader<'a>, code: i32) -> Decoded<ReadOp<'a>> {
    let path = match code {
        4 | 8 => r.text()?,
        other => return Err(DecodeError::Unknown("operation in a multiRead", other)),
    };
    let _watch = r.bool()?;
    Ok(if code == 4 {
        ReadOp::GetData { path }
    } else {
        ReadOp::GetChildren { path }
    })
}

/// In a multi the flags decide the kind, and flags without a meaning spoil the whole request (`Op.Create#getOpcode`).
fn settle_kind(mut create: Create<'_>) -> Decoded<Create<'_>> {
    require_acl(&create)?;
    match create.flags {
        0..=3 => {}
        4 => create.kind = CreateKind::Container,
        other => return Err(DecodeError::Unknown("create flag", other)),
    }
    Ok(create)
}

/// A createTTL whose flags ask for no time to live is an ordinary create in a multi (`Op#create`).
fn settle_ttl_kind(mut create: Create<'_>) -> Decoded<Create<'_>> {
    match create.flags {
        5 | 6 => return Ok(create),
        4 => (create.kind, create.ttl) = (CreateKind::Container, -1),
        _ => (create.kind, create.ttl) = (CreateKind::Plain, -1),
    }
    Ok(create)
}

/// A null ACL list does not decode in a multi (`CreateOptions#newBuilder` wants one), though it does alone and in a
/// createTTL, whatever its flags.
fn require_acl(create: &Create<'_>) -> Decoded<()> {
    match create.acl {
        Some(_) => Ok(()),
        None => Err(DecodeError::Null("acl")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::jute::Writer;
    use super::*;

    fn bytes(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut Writer::new(&mut out));
        out
    }

    #[test]
    fn headers_need_eight_bytes() {
        assert!(RequestHeader::split(&[0; 7]).is_err());
        let (header, body) = RequestHeader::split(b"\0\0\0\x05\0\0\0\x0brest").unwrap();
        assert_eq!((header, body), (RequestHeader { xid: 5, code: 11 }, &b"rest"[..]));
    }

    #[test]
    fn server_internal_codes_are_unknown() {
        for code in [0, -1, 10, 13, 20, -10, 23, 99, 108] {
            assert_eq!(Op::from_code(code), None, "{code}");
        }
        for op in Op::ALL {
            assert_eq!(Op::from_code(*op as i32), Some(*op));
        }
    }

    #[test]
    fn create_reads_its_fields_in_order() {
        let body = bytes(|w| {
            w.text("/a");
            w.buffer(Some(b"d"));
            w.vector([()].into_iter(), |w, ()| {
                w.int(31);
                w.text("world");
                w.text("anyone");
            });
            w.int(3);
        });
        let Request::Write(WriteOp::Create(create)) = Request::read(Op::Create2, &body).unwrap() else {
            panic!()
        };
        assert_eq!((create.kind, create.flags, create.ttl), (CreateKind::WithStat, 3, -1));
        assert_eq!((create.path.as_deref(), create.data), (Some("/a"), Some(&b"d"[..])));
        assert_eq!(create.acl.unwrap()[0].perms, 31);
        assert!(Request::read(Op::CreateTtl, &body).is_err(), "the ttl is missing");
        for cut in 0..body.len() {
            assert!(Request::read(Op::Create, &body[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_multi_ends_at_its_mark_and_takes_no_reads() {
        let end = |w: &mut Writer<'_>| {
            w.int(-1);
            w.bool(true);
            w.int(-1);
        };
        assert_eq!(Request::read(Op::Multi, &bytes(end)), Ok(Request::Multi(vec![])));
        let read = bytes(|w| {
            w.int(4);
            w.bool(false);
            w.int(-1);
            w.text("/a");
            w.bool(false);
            end(w);
        });
        assert!(Request::read(Op::Multi, &read).is_err());
        assert!(matches!(Request::read(Op::MultiRead, &read), Ok(Request::MultiRead(ops)) if ops.len() == 1));
    }

    #[test]
    fn null_watch_lists_are_refused() {
        let body = bytes(|w| {
            w.long(1);
            w.int(-1);
        });
        assert_eq!(
            Request::read(Op::SetWatches, &body),
            Err(DecodeError::Null("watch list"))
        );
    }
}
