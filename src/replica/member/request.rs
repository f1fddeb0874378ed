//! REQUEST: a learner's client's write, as it travels to the leader. The packet goes through agreement unread.

use bytes::Bytes;

use crate::wire::acl::Id;
use crate::wire::quorum::{FromLearner, Front, front};

/// A request, taken out of its packet.
pub struct Request<'a> {
    pub session: i64,
    pub cxid: i32,
    pub opcode: i32,
    pub body: &'a [u8],
    pub ids: Vec<Id>,
}

/// The packet.
pub fn write(session: i64, cxid: i32, opcode: i32, body: &[u8], ids: &[Id]) -> Bytes {
    let mut packet = Vec::with_capacity(64 + body.len());
    FromLearner::Request {
        session,
        cxid,
        opcode,
        body,
        ids: ids.to_vec(),
    }
    .append(&mut packet);
    packet.into()
}

/// What is in a packet.
pub fn read(packet: &[u8]) -> Result<Request<'_>, String> {
    let whole = match front(packet) {
        Ok(Front::Whole { packet, .. }) => packet,
        Ok(_) => return Err("a request's packet is not whole".into()),
        Err(error) => return Err(format!("a request's packet does not decode: {error}")),
    };
    match FromLearner::read(&whole) {
        Ok(FromLearner::Request {
            session,
            cxid,
            opcode,
            body,
            ids,
        }) => Ok(Request {
            session,
            cxid,
            opcode,
            body,
            ids,
        }),
        Ok(_) => Err("a packet of another kind stands for a request".into()),
        Err(error) => Err(format!("a request's packet does not decode: {error}")),
    }
}
