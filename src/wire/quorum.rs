//! The packets between a leader and its learners on the quorum port (`QuorumPacket`, `LearnerInfo`).
//!
//! Packets follow each other without a frame, so [`front`] finds where the first one ends; every length is checked
//! against its bound before a byte of it is waited for. What a packet means depends on who sent it: [`FromLeader`]
//! and [`FromLearner`] are its two doors. An unknown type is an error of the second step, not of the first: Java
//! passes over packets that it does not know, and so may the caller.

use std::fmt;

mod leader;
mod learner;

pub use leader::FromLeader;
pub use learner::{FromLearner, LearnerInfo, Touch};

use super::acl::Id;
use super::jute::{DecodeError, Reader, Writer};

/// The protocol version that both sides name: Zab 1.0 with LEADERINFO and ACKEPOCH.
pub const PROTOCOL_VERSION: i32 = 0x1_0000;

/// The longest data of one packet: `jute.maxbuffer` and as much again, as Java allows by default
/// (`BinaryInputArchive#checkLength`).
pub const DATA_BYTES_MAX: usize = 2_097_150;

/// Identities of one connection that a REQUEST may carry, and the bytes of each of their two texts. Java has no
/// bound of its own here; a client has a handful.
pub const IDS_MAX: usize = 1024;
/// See [`IDS_MAX`].
pub const ID_BYTES_MAX: usize = 64 * 1024;

/// The numbers of the packet types.
#[allow(missing_docs)]
pub mod kind {
    pub const REQUEST: i32 = 1;
    pub const PROPOSAL: i32 = 2;
    pub const ACK: i32 = 3;
    pub const COMMIT: i32 = 4;
    pub const PING: i32 = 5;
    pub const REVALIDATE: i32 = 6;
    pub const SYNC: i32 = 7;
    pub const INFORM: i32 = 8;
    pub const COMMITANDACTIVATE: i32 = 9;
    pub const NEWLEADER: i32 = 10;
    pub const FOLLOWERINFO: i32 = 11;
    pub const UPTODATE: i32 = 12;
    pub const DIFF: i32 = 13;
    pub const TRUNC: i32 = 14;
    pub const SNAP: i32 = 15;
    pub const OBSERVERINFO: i32 = 16;
    pub const LEADERINFO: i32 = 17;
    pub const ACKEPOCH: i32 = 18;
    pub const INFORMANDACTIVATE: i32 = 19;
}

/// A packet as it lies on the wire: four fields, none of them understood yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumPacket<'a> {
    /// One of [`kind`], or a number nobody knows.
    pub kind: i32,
    /// A zxid, or −1 where none is meant.
    pub zxid: i64,
    /// The body.
    pub data: Option<&'a [u8]>,
    /// Only in REQUEST and echoes of it.
    pub ids: Option<Vec<Id>>,
}

/// Why bytes are no packet, or a packet makes no sense from this side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketError {
    /// A length below −1 or above its bound.
    Length {
        /// Of what.
        field: &'static str,
        /// What was claimed.
        length: i32,
        /// The bound.
        max: usize,
    },
    /// A type that the sender's side never sends, or that nobody knows.
    Unexpected(i32),
    /// A body that its type does not allow.
    Body {
        /// The packet's type.
        kind: i32,
        /// What was wrong.
        error: DecodeError,
    },
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PacketError::Length { field, length, max } => {
                write!(f, "quorum packet: {field} of {length} is outside −1..={max}")
            }
            PacketError::Unexpected(kind) => write!(f, "quorum packet of type {kind} is not expected from this side"),
            PacketError::Body { kind, error } => write!(f, "quorum packet of type {kind}: {error}"),
        }
    }
}

impl std::error::Error for PacketError {}

/// What the front of a receive buffer holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Front<'a> {
    /// A whole packet and the bytes to drop afterwards.
    Whole {
        /// The packet.
        packet: QuorumPacket<'a>,
        /// How many bytes it took.
        consumed: usize,
    },
    /// Not whole yet.
    Partial {
        /// Buffer length at which it is worth looking again.
        needed: usize,
    },
}

/// Looks at the front of a receive buffer.
pub fn front(buffer: &[u8]) -> Result<Front<'_>, PacketError> {
    let mut r = Reader::new(buffer);
    match read(&mut r) {
        Ok(packet) => Ok(Front::Whole {
            packet,
            consumed: buffer.len() - r.rest().len(),
        }),
        Err(Stop::Short { needed, left }) => Ok(Front::Partial {
            needed: buffer.len() - left + needed,
        }),
        Err(Stop::Bad(error)) => Err(error),
    }
}

/// Why reading stopped: more bytes will help, or nothing will.
enum Stop {
    Short { needed: usize, left: usize },
    Bad(PacketError),
}

impl From<DecodeError> for Stop {
    fn from(error: DecodeError) -> Stop {
        match error {
            DecodeError::Short { needed, left } => Stop::Short { needed, left },
            _ => unreachable!("lengths are checked before they are read: {error}"),
        }
    }
}

fn read<'a>(r: &mut Reader<'a>) -> Result<QuorumPacket<'a>, Stop> {
    Ok(QuorumPacket {
        kind: r.int()?,
        zxid: r.long()?,
        data: bounded(r, "data length", DATA_BYTES_MAX)?,
        ids: ids(r)?,
    })
}

/// A byte string whose length is judged before it is waited for.
fn bounded<'a>(r: &mut Reader<'a>, field: &'static str, max: usize) -> Result<Option<&'a [u8]>, Stop> {
    checked(*r, field, max)?;
    Ok(r.buffer()?)
}

fn checked(mut ahead: Reader<'_>, field: &'static str, max: usize) -> Result<i32, Stop> {
    let length = ahead.int()?;
    if length < -1 || length > max as i32 {
        return Err(Stop::Bad(PacketError::Length { field, length, max }));
    }
    Ok(length)
}

fn ids(r: &mut Reader<'_>) -> Result<Option<Vec<Id>>, Stop> {
    let count = checked(*r, "identity count", IDS_MAX)?;
    r.int()?;
    if count == -1 {
        return Ok(None);
    }
    let mut ids = Vec::new();
    for _ in 0..count {
        let scheme = bounded(r, "scheme length", ID_BYTES_MAX)?;
        let id = bounded(r, "identity length", ID_BYTES_MAX)?;
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"")).into_owned();
        ids.push(Id::new(text(scheme), text(id)));
    }
    Ok(Some(ids))
}

/// Appends a packet.
fn append(out: &mut Vec<u8>, kind: i32, zxid: i64, data: Option<&[u8]>, ids: Option<&[Id]>) {
    assert!(
        data.is_none_or(|data| data.len() <= DATA_BYTES_MAX),
        "a packet's data is within its bound"
    );
    let mut w = Writer::new(out);
    w.int(kind);
    w.long(zxid);
    w.buffer(data);
    match ids {
        None => w.int(-1),
        Some(ids) => w.vector(ids.iter(), |w, id| {
            w.text(&id.scheme);
            w.text(&id.id);
        }),
    }
}

/// A body's bytes where the type must have one.
fn body<'a>(packet: &QuorumPacket<'a>) -> Result<Reader<'a>, PacketError> {
    packet.data.map(Reader::new).ok_or(PacketError::Body {
        kind: packet.kind,
        error: DecodeError::Null("data"),
    })
}

/// Names the packet in an error of its body.
fn named<T>(packet: &QuorumPacket<'_>, read: Result<T, DecodeError>) -> Result<T, PacketError> {
    read.map_err(|error| PacketError::Body {
        kind: packet.kind,
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn whole(bytes: &[u8]) -> QuorumPacket<'_> {
        match front(bytes) {
            Ok(Front::Whole { packet, consumed }) if consumed == bytes.len() => packet,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn leader_says(message: FromLeader<'_>, golden: &str) {
        let mut out = Vec::new();
        message.append(&mut out);
        assert_eq!(out, hex(golden), "{message:?}");
        assert_eq!(FromLeader::read(&whole(&out)), Ok(message));
    }

    #[track_caller]
    fn learner_says(message: FromLearner<'_>, golden: &str) {
        let mut out = Vec::new();
        message.append(&mut out);
        assert_eq!(out, hex(golden), "{message:?}");
        assert_eq!(FromLearner::read(&whole(&out)), Ok(message));
    }

    #[test]
    fn golden_bytes_of_a_leader() {
        leader_says(FromLeader::UpToDate, "0000000c ffffffffffffffff ffffffff ffffffff");
        leader_says(
            FromLeader::LeaderInfo {
                epoch_zxid: 3 << 32,
                version: PROTOCOL_VERSION,
            },
            "00000011 0000000300000000 00000004 00010000 ffffffff",
        );
        leader_says(FromLeader::Diff(7), "0000000d 0000000000000007 ffffffff ffffffff");
        leader_says(FromLeader::Trunc(7), "0000000e 0000000000000007 ffffffff ffffffff");
        leader_says(FromLeader::Snap(7), "0000000f 0000000000000007 ffffffff ffffffff");
        leader_says(
            FromLeader::Proposal { zxid: 8, txn: b"ab" },
            "00000002 0000000000000008 00000002 6162 ffffffff",
        );
        leader_says(
            FromLeader::Inform { zxid: 8, txn: b"ab" },
            "00000008 0000000000000008 00000002 6162 ffffffff",
        );
        leader_says(FromLeader::Commit(8), "00000004 0000000000000008 ffffffff ffffffff");
        leader_says(
            FromLeader::CommitAndActivate { zxid: 8, leader: 3 },
            "00000009 0000000000000008 00000008 0000000000000003 ffffffff",
        );
        leader_says(
            FromLeader::InformAndActivate {
                zxid: 8,
                leader: 3,
                txn: b"ab",
            },
            "00000013 0000000000000008 0000000a 0000000000000003 6162 ffffffff",
        );
        leader_says(
            FromLeader::NewLeader {
                epoch_zxid: 1 << 32,
                config: Some("version=0".into()),
            },
            "0000000a 0000000100000000 00000009 76657273696f6e3d30 ffffffff",
        );
        leader_says(FromLeader::Ping(9), "00000005 0000000000000009 ffffffff ffffffff");
        leader_says(
            FromLeader::Revalidate {
                session: 5,
                valid: true,
            },
            "00000006 ffffffffffffffff 00000009 0000000000000005 01 ffffffff",
        );
        leader_says(FromLeader::Sync, "00000007 0000000000000000 ffffffff ffffffff");
    }

    #[test]
    fn golden_bytes_of_a_learner() {
        let info = LearnerInfo {
            server: 4,
            version: PROTOCOL_VERSION,
            config_version: 0,
        };
        // The first of these was recorded from a live 3.9.5 observer.
        learner_says(
            FromLearner::Info {
                observer: true,
                accepted_epoch: 0,
                info,
            },
            "00000010 0000000000000000 00000014 0000000000000004 00010000 0000000000000000 ffffffff",
        );
        learner_says(
            FromLearner::Info {
                observer: false,
                accepted_epoch: 2,
                info,
            },
            "0000000b 0000000200000000 00000014 0000000000000004 00010000 0000000000000000 ffffffff",
        );
        learner_says(
            FromLearner::AckEpoch {
                last_zxid: 6,
                current_epoch: -1,
            },
            "00000012 0000000000000006 00000004 ffffffff ffffffff",
        );
        learner_says(FromLearner::Ack(3 << 32), "00000003 0000000300000000 ffffffff ffffffff");
        learner_says(
            FromLearner::Ping {
                zxid: 9,
                touched: vec![],
            },
            "00000005 0000000000000009 00000000 ffffffff",
        );
        let touch = Touch {
            session: 1,
            timeout_ms: 2,
        };
        learner_says(
            FromLearner::Ping {
                zxid: 9,
                touched: vec![touch],
            },
            "00000005 0000000000000009 0000000c 0000000000000001 00000002 ffffffff",
        );
        learner_says(
            FromLearner::Revalidate {
                session: 5,
                timeout_ms: 6,
            },
            "00000006 ffffffffffffffff 0000000c 0000000000000005 00000006 ffffffff",
        );
        learner_says(
            FromLearner::Request {
                session: 5,
                cxid: 6,
                opcode: 1,
                body: b"ab",
                ids: vec![Id::new("ip", "::1")],
            },
            "00000001 ffffffffffffffff 00000012 0000000000000005 00000006 00000001 6162 00000001 00000002 6970 00000003 3a3a31",
        );
    }

    #[test]
    fn lengths_are_judged_before_they_are_waited_for() {
        let head = hex("00000002 0000000000000008");
        for (length, field) in [(-2, "data length"), (DATA_BYTES_MAX as i32 + 1, "data length")] {
            let bytes = [&head[..], &i32::to_be_bytes(length)].concat();
            let max = DATA_BYTES_MAX;
            assert_eq!(front(&bytes), Err(PacketError::Length { field, length, max }));
        }
        let most = [&head[..], &i32::to_be_bytes(DATA_BYTES_MAX as i32)].concat();
        assert_eq!(
            front(&most),
            Ok(Front::Partial {
                needed: 16 + DATA_BYTES_MAX
            })
        );
        let many = [&head[..], &hex("ffffffff 7fffffff")].concat();
        assert!(matches!(
            front(&many),
            Err(PacketError::Length {
                field: "identity count",
                ..
            })
        ));
    }

    #[test]
    fn each_side_has_its_own_words() {
        let mut out = Vec::new();
        FromLeader::UpToDate.append(&mut out);
        assert_eq!(
            FromLearner::read(&whole(&out)),
            Err(PacketError::Unexpected(kind::UPTODATE))
        );
        out.clear();
        append(&mut out, 99, 0, None, None);
        assert_eq!(FromLeader::read(&whole(&out)), Err(PacketError::Unexpected(99)));
        out.clear();
        append(&mut out, kind::ACKEPOCH, 0, None, None);
        let null = DecodeError::Null("data");
        assert_eq!(
            FromLearner::read(&whole(&out)).unwrap_err(),
            PacketError::Body {
                kind: kind::ACKEPOCH,
                error: null
            }
        );
    }

    #[test]
    fn older_learners_say_less_of_themselves() {
        let read = |data: &[u8]| {
            let mut out = Vec::new();
            append(&mut out, kind::FOLLOWERINFO, 5 << 32, Some(data), None);
            FromLearner::read(&whole(&out)).map(|message| match message {
                FromLearner::Info { info, .. } => (info.server, info.version, info.config_version),
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(read(&[0, 0, 0, 0, 0, 0, 0, 3]), Ok((3, 1, 0)));
        assert_eq!(
            read(&[0, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 0]),
            Ok((3, PROTOCOL_VERSION, 0))
        );
        assert!(read(&[0; 7]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_hurt(bytes in proptest::collection::vec(any::<u8>(), 0..200), known in 0..21i32, garbled in any::<bool>()) {
            let mut bytes = bytes;
            if garbled && bytes.len() > 20 {
                // A known type and small lengths reach further into the decoders than noise does.
                bytes[..4].copy_from_slice(&known.to_be_bytes());
                let data = (bytes.len() - 20).min(40) as i32;
                bytes[12..16].copy_from_slice(&data.to_be_bytes());
                bytes[16 + data as usize..20 + data as usize].copy_from_slice(&(-1i32).to_be_bytes());
            }
            match front(&bytes) {
                Ok(Front::Whole { packet, consumed }) => {
                    prop_assert!(consumed <= bytes.len());
                    let _ = (FromLeader::read(&packet), FromLearner::read(&packet));
                }
                Ok(Front::Partial { needed }) => prop_assert!(needed > bytes.len()),
                Err(_) => {}
            }
        }

        #[test]
        fn requests_round_trip_at_every_cut(
            (session, cxid, opcode) in any::<(i64, i32, i32)>(),
            body in proptest::collection::vec(any::<u8>(), 0..100),
            ids in proptest::collection::vec(("[a-z]{0,6}", "\\PC{0,8}"), 0..4),
        ) {
            // Characters beyond the basic plane are written as surrogates and read back as replacements, as in Java.
            let ids: Vec<Id> = ids.into_iter().map(|(scheme, id)| Id::new(scheme, id.replace(|c| c > '\u{ffff}', "?"))).collect();
            let request = FromLearner::Request { session, cxid, opcode, body: &body, ids };
            let mut out = Vec::new();
            request.append(&mut out);
            for cut in 0..out.len() {
                match front(&out[..cut]) {
                    Ok(Front::Partial { needed }) => prop_assert!(needed > cut && needed <= out.len()),
                    other => prop_assert!(false, "{:?} at {}", other, cut),
                }
            }
            prop_assert_eq!(FromLearner::read(&whole(&out)), Ok(request));
        }

        #[test]
        fn what_a_leader_says_round_trips(zxid in any::<i64>(), other in any::<i64>(), txn in proptest::collection::vec(any::<u8>(), 0..60), which in 0..6) {
            let message = match which {
                0 => FromLeader::Proposal { zxid, txn: &txn },
                1 => FromLeader::Inform { zxid, txn: &txn },
                2 => FromLeader::InformAndActivate { zxid, leader: other, txn: &txn },
                3 => FromLeader::CommitAndActivate { zxid, leader: other },
                4 => FromLeader::LeaderInfo { epoch_zxid: zxid, version: other as i32 },
                _ => FromLeader::Revalidate { session: other, valid: zxid % 2 == 0 },
            };
            let mut out = Vec::new();
            message.append(&mut out);
            prop_assert_eq!(FromLeader::read(&whole(&out)), Ok(message));
        }
    }
}
