//! What a learner says to its leader, in both directions of the codec.
//!
//! Invariant: a PING's data is never null, not even without sessions (traps.md T-23: Java's handler dies of it);
//! from others null is taken for empty.

use super::{DATA_BYTES_MAX, PacketError, QuorumPacket, append, body, kind, named};
use crate::wire::acl::Id;
use crate::wire::jute::{Decoded, Reader, Writer};

/// Who connects (`LearnerInfo`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnerInfo {
    /// Its number.
    pub server: i64,
    /// The protocol it speaks.
    pub version: i32,
    /// The version of the membership it knows.
    pub config_version: i64,
}

/// A session that a learner's client kept alive since the last PING.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Touch {
    pub session: i64,
    pub timeout_ms: i32,
}

const TOUCH_BYTES: usize = 12;

/// A learner's packet, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FromLearner<'a> {
    /// FOLLOWERINFO or OBSERVERINFO, the first packet. `accepted_epoch` is what the zxid's upper half says.
    Info {
        observer: bool,
        accepted_epoch: i64,
        info: LearnerInfo,
    },
    /// `current_epoch` −1: the epoch was accepted before, do not count me. `last_zxid` −1: I have nothing to go by.
    AckEpoch {
        last_zxid: i64,
        current_epoch: i32,
    },
    /// Of a proposal, or of NEWLEADER with its epoch's zxid.
    Ack(i64),
    Ping {
        zxid: i64,
        touched: Vec<Touch>,
    },
    Revalidate {
        session: i64,
        timeout_ms: i32,
    },
    /// A client's write, its body as the client sent it.
    Request {
        session: i64,
        cxid: i32,
        opcode: i32,
        body: &'a [u8],
        ids: Vec<Id>,
    },
}

impl<'a> FromLearner<'a> {
    /// Reads a packet that came from a learner.
    pub fn read(packet: &QuorumPacket<'a>) -> Result<FromLearner<'a>, PacketError> {
        Ok(match packet.kind {
            kind::FOLLOWERINFO | kind::OBSERVERINFO => FromLearner::Info {
                observer: packet.kind == kind::OBSERVERINFO,
                accepted_epoch: packet.zxid >> 32,
                info: named(packet, LearnerInfo::read(body(packet)?))?,
            },
            kind::ACKEPOCH => FromLearner::AckEpoch {
                last_zxid: packet.zxid,
                current_epoch: named(packet, body(packet)?.int())?,
            },
            kind::ACK => FromLearner::Ack(packet.zxid),
            kind::PING => FromLearner::Ping {
                zxid: packet.zxid,
                touched: named(packet, touches(packet.data.unwrap_or(b"")))?,
            },
            kind::REVALIDATE => {
                let mut r = body(packet)?;
                FromLearner::Revalidate {
                    session: named(packet, r.long())?,
                    timeout_ms: named(packet, r.int())?,
                }
            }
            kind::REQUEST => {
                let mut r = body(packet)?;
                FromLearner::Request {
                    session: named(packet, r.long())?,
                    cxid: named(packet, r.int())?,
                    opcode: named(packet, r.int())?,
                    body: r.rest(),
                    ids: packet.ids.clone().unwrap_or_default(),
                }
            }
            other => return Err(PacketError::Unexpected(other)),
        })
    }

    /// Appends the packet.
    pub fn append(&self, out: &mut Vec<u8>) {
        match self {
            FromLearner::Info {
                observer,
                accepted_epoch,
                info,
            } => {
                let kind = if *observer {
                    kind::OBSERVERINFO
                } else {
                    kind::FOLLOWERINFO
                };
                let data = write(|w| info.write(w));
                append(out, kind, accepted_epoch << 32, Some(&data), None);
            }
            FromLearner::AckEpoch {
                last_zxid,
                current_epoch,
            } => append(
                out,
                kind::ACKEPOCH,
                *last_zxid,
                Some(&current_epoch.to_be_bytes()),
                None,
            ),
            FromLearner::Ack(zxid) => append(out, kind::ACK, *zxid, None, None),
            FromLearner::Ping { zxid, touched } => {
                let data = write(|w| {
                    for touch in touched {
                        w.long(touch.session);
                        w.int(touch.timeout_ms);
                    }
                });
                append(out, kind::PING, *zxid, Some(&data), None);
            }
            FromLearner::Revalidate { session, timeout_ms } => {
                let data = write(|w| {
                    w.long(*session);
                    w.int(*timeout_ms);
                });
                append(out, kind::REVALIDATE, -1, Some(&data), None);
            }
            FromLearner::Request {
                session,
                cxid,
                opcode,
                body,
                ids,
            } => {
                let data = write(|w| {
                    w.long(*session);
                    w.int(*cxid);
                    w.int(*opcode);
                    w.raw(body);
                });
                append(out, kind::REQUEST, -1, Some(&data), Some(ids));
            }
        }
    }
}

impl LearnerInfo {
    /// Positional: what an older learner leaves out has its old meaning (`LearnerHandler#run`).
    fn read(mut r: Reader<'_>) -> Decoded<LearnerInfo> {
        Ok(LearnerInfo {
            server: r.long()?,
            version: if r.rest().len() >= 4 { r.int()? } else { 1 },
            config_version: if r.rest().len() >= 8 { r.long()? } else { 0 },
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.long(self.server);
        w.int(self.version);
        w.long(self.config_version);
    }
}

fn touches(data: &[u8]) -> Decoded<Vec<Touch>> {
    let mut r = Reader::new(data);
    let mut touched = Vec::with_capacity(data.len() / TOUCH_BYTES);
    while !r.rest().is_empty() {
        touched.push(Touch {
            session: r.long()?,
            timeout_ms: r.int()?,
        });
    }
    Ok(touched)
}

fn write(fields: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut data = Vec::new();
    fields(&mut Writer::new(&mut data));
    data
}

// A REQUEST's three numbers fit beside the largest body that a client may send.
const _: () = assert!(crate::base::limits::FRAME_BYTES_MAX + 16 <= DATA_BYTES_MAX);
