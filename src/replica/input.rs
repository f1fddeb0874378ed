//! What comes to the writing desk and what leaves it: closed sets.

use std::sync::Arc;

use bytes::Bytes;

use crate::tree::Version;
use crate::tree::apply::Fired;
use crate::wire::acl::Id;
use crate::wire::reply::WriteReply;
use crate::wire::request::Op;

/// The connection that asked. A core numbers its connections anew after they close; the generation tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Origin {
    pub core: u16,
    pub connection: u32,
    pub generation: u32,
}

/// A write of a session, well formed.
#[derive(Clone, Debug)]
pub struct WriteRequest {
    /// Who waits for the answer.
    pub origin: Origin,
    /// The session.
    pub session: i64,
    /// The request's number.
    pub xid: i32,
    /// What it is.
    pub op: Op,
    /// The record, which has been decoded once without trouble.
    pub body: Bytes,
    /// The connection's identities when it asked.
    pub ids: Arc<[Id]>,
    /// Reads of the same connection wait between the write before this one and this one: a version ends there.
    pub behind_reads: bool,
}

/// What an origin is told once its transaction is durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The reply to a write.
    Reply {
        /// The request's number.
        xid: i32,
        /// The reply.
        reply: WriteReply,
    },
    /// A new session.
    Opened {
        /// Its id.
        session: i64,
    },
    /// The reply to closeSession; the connection ends after it.
    Closed {
        /// The request's number.
        xid: i32,
    },
    /// The session expired, or went to another server; the connection ends without a word.
    Expired,
    /// The reply to sync: everything that was decided before it is visible.
    Synced {
        /// The request's number.
        xid: i32,
        /// The reply's record, which is the request's.
        path: Bytes,
    },
}

/// An answer on its way.
#[derive(Clone, Debug, Hash)]
pub struct Answered {
    /// To whom.
    pub origin: Origin,
    /// The transaction it rests on.
    pub zxid: i64,
    /// What is said.
    pub answer: Answer,
}

/// A batch that became durable: what every core is told at once.
pub struct Published {
    /// The state after its last transaction.
    pub version: Version,
    /// What happened, in zxid order.
    pub fired: Vec<Fired>,
    /// Who is answered what, in zxid order.
    pub answers: Vec<Answered>,
}
