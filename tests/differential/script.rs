//! What is done to both servers: a script is a list of steps over a few connections ("slots").
//!
//! A script names nothing that a server chose: a zxid is "the last one, three steps ago", a session is "the one that
//! slot 2 holds". So the same script can be sent to two servers, and any part of it can be left out.

use std::fmt;

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Step {
    /// Hang up slot `slot` and open a new session there.
    Open {
        slot: usize,
        timeout_ms: i32,
        password: Option<Vec<u8>>,
        read_only: Option<bool>,
        last_zxid: Zxid,
    },
    /// Connect slot `slot` to the session that slot `of` holds; the slots then hold the same session.
    Attach {
        slot: usize,
        of: usize,
        password: Password,
        timeout_ms: i32,
        last_zxid: Zxid,
    },
    /// Close slot `slot`'s connection without a closeSession.
    HangUp { slot: usize },
    /// Send requests in one write, then await one reply for each.
    Requests { slot: usize, requests: Vec<Request> },
    /// Send bytes that are no request, then await the end of the connection.
    Garbage { slot: usize, fresh: bool, bytes: Vec<u8> },
    /// Hang up `slot` and poll with `exists path` through `via` until its session expired and took `path` with it.
    Expire { slot: usize, via: usize, path: String },
    /// Close every session, as super delete every node that is not there at first, and put "/" back.
    Clean,
}

/// One request frame after its length.
#[derive(Clone, Debug)]
pub struct Request {
    /// The header's xid; never -1, which is the events' own.
    pub xid: i32,
    /// The header's type.
    pub op: i32,
    /// What follows the header.
    pub body: Body,
    /// For people: what the body says.
    pub note: String,
}

/// Bytes with zxids left open.
#[derive(Clone, Debug, Default)]
pub struct Body(pub Vec<Piece>);

/// A part of a body.
#[derive(Clone, Debug)]
pub enum Piece {
    /// As they are.
    Bytes(Vec<u8>),
    /// A long.
    Zxid(Zxid),
}

/// A zxid that both servers can be told, though their zxids differ.
#[derive(Clone, Copy, Debug)]
pub enum Zxid {
    /// 0.
    Zero,
    /// The server's last known zxid so many steps ago.
    Ago(usize),
    /// `i64::MAX`.
    Future,
}

/// Which password a re-attach shows.
#[derive(Clone, Copy, Debug)]
pub enum Password {
    /// The session's own.
    Right,
    /// The session's own with one bit turned.
    Wrong,
    /// No bytes at all.
    Empty,
    /// A null buffer.
    Null,
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self(vec![Piece::Bytes(bytes)])
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Step::Open {
                slot,
                timeout_ms,
                password,
                read_only,
                last_zxid,
            } => write!(
                f,
                "{slot}: open timeout={timeout_ms} password={:?} readOnly={read_only:?} lastZxidSeen={last_zxid:?}",
                password.as_ref().map(Vec::len)
            ),
            Step::Attach {
                slot,
                of,
                password,
                timeout_ms,
                last_zxid,
            } => write!(
                f,
                "{slot}: attach to session of {of} password={password:?} timeout={timeout_ms} lastZxidSeen={last_zxid:?}"
            ),
            Step::HangUp { slot } => write!(f, "{slot}: hang up"),
            Step::Requests { slot, requests } => {
                let texts: Vec<String> = requests.iter().map(Request::to_string).collect();
                write!(f, "{slot}: {}", texts.join(" ; "))
            }
            Step::Garbage { slot, fresh, bytes } => {
                let shown = &bytes[..bytes.len().min(40)];
                let fresh = if *fresh { " on a fresh connection" } else { "" };
                write!(f, "{slot}: garbage{fresh}, {} bytes {shown:02x?}", bytes.len())
            }
            Step::Expire { slot, via, path } => write!(f, "{slot}: let the session expire, {via} looks at {path}"),
            Step::Clean => write!(f, "clean up"),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "xid={} op={} {}", self.xid, self.op, self.note)
    }
}
