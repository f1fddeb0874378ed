//! Packets of the quorum port as agreement means them, and back: only the mapping, in both directions.
//!
//! Here are the fields that agreement knows nothing of: protocol versions, the membership's text in NEWLEADER, -1 for
//! "not counted" and "nothing to go by". What a packet type does not allow closes the connection with a line.

use bytes::Bytes;

use crate::base::{Epoch, ServerId, Zxid};
use crate::replica::member::{Input, Packet};
use crate::server::options::Ensemble;
use crate::wire::quorum::{FromLeader, FromLearner, LearnerInfo, PROTOCOL_VERSION, PacketError, QuorumPacket, Touch};
use crate::zab::{self, Link, Message, Proposal};

/// What a packet says.
pub enum Heard {
    /// Nothing that is known: newer servers may say more.
    Nothing,
    /// This, in order.
    Inputs(Vec<Input>),
    /// A snapshot at this zxid follows.
    Snap(Zxid),
}

/// The code of a sync, which is forwarded like a write and is none.
const SYNC: i32 = 9;

/// Appends a packet; not SNAP's. `pinged` is what the leader's last PING said.
pub fn append(out: &mut Vec<u8>, packet: Packet, ensemble: &Ensemble, pinged: i64) {
    match packet {
        Packet::Zab(Message::FromLeader(message)) => append_from_leader(out, &message, &ensemble.config_text),
        Packet::Zab(Message::FromLearner(message)) => append_from_learner(out, message, ensemble, pinged),
        Packet::Ping(touched) => FromLearner::Ping { zxid: pinged, touched }.append(out),
        Packet::Revalidate(Touch { session, timeout_ms }) => {
            FromLearner::Revalidate { session, timeout_ms }.append(out)
        }
        Packet::Revalidated { session, valid } => FromLeader::Revalidate { session, valid }.append(out),
        Packet::Snap(..) => unreachable!("a snapshot is more than a packet"),
    }
}

/// Appends SNAP.
pub fn append_snap(out: &mut Vec<u8>, zxid: Zxid) {
    FromLeader::Snap(zxid.0 as i64).append(out);
}

fn append_from_leader(out: &mut Vec<u8>, message: &zab::FromLeader, config: &str) {
    let wire = |zxid: Zxid| zxid.0 as i64;
    match message {
        zab::FromLeader::Info(epoch) => FromLeader::LeaderInfo {
            epoch_zxid: wire(epoch.zxid()),
            version: PROTOCOL_VERSION,
        },
        zab::FromLeader::Diff(zxid) => FromLeader::Diff(wire(*zxid)),
        zab::FromLeader::Trunc(zxid) => FromLeader::Trunc(wire(*zxid)),
        zab::FromLeader::Snap(_) => unreachable!("a snapshot is more than a packet"),
        zab::FromLeader::Proposal(Proposal { zxid, txn }) => FromLeader::Proposal { zxid: wire(*zxid), txn },
        zab::FromLeader::Commit(zxid) => FromLeader::Commit(wire(*zxid)),
        zab::FromLeader::Inform(Proposal { zxid, txn }) => FromLeader::Inform { zxid: wire(*zxid), txn },
        zab::FromLeader::NewLeader(epoch) => FromLeader::NewLeader {
            epoch_zxid: wire(epoch.zxid()),
            config: Some(config.into()),
        },
        zab::FromLeader::UpToDate => FromLeader::UpToDate,
        zab::FromLeader::Ping(zxid) => FromLeader::Ping(wire(*zxid)),
        zab::FromLeader::Sync => FromLeader::Sync,
    }
    .append(out);
}

fn append_from_learner(out: &mut Vec<u8>, message: zab::FromLearner, ensemble: &Ensemble, pinged: i64) {
    match message {
        zab::FromLearner::Info {
            server,
            observer,
            accepted,
        } => FromLearner::Info {
            observer,
            accepted_epoch: i64::from(accepted.0),
            info: LearnerInfo {
                server: server.0,
                version: PROTOCOL_VERSION,
                config_version: ensemble.config_version,
            },
        }
        .append(out),
        zab::FromLearner::AckEpoch { current, last } => FromLearner::AckEpoch {
            last_zxid: last.map_or(-1, |zxid| zxid.0 as i64),
            current_epoch: current.map_or(-1, |epoch| epoch.0 as i32),
        }
        .append(out),
        zab::FromLearner::Ack(zxid) => FromLearner::Ack(zxid.0 as i64).append(out),
        zab::FromLearner::Ping => FromLearner::Ping {
            zxid: pinged,
            touched: Vec::new(),
        }
        .append(out),
        zab::FromLearner::Request(packet) | zab::FromLearner::SyncRequest(packet) => out.extend_from_slice(&packet),
    }
}

/// What a leader's packet says.
pub fn from_leader(link: Link, packet: &QuorumPacket<'_>) -> Result<Heard, String> {
    let read = match FromLeader::read(packet) {
        Err(PacketError::Unexpected(kind)) => return passed_over(kind),
        read => read.map_err(|error| error.to_string())?,
    };
    let proposal = |zxid, txn: &[u8]| {
        Ok::<Proposal, String>(Proposal {
            zxid: this(zxid)?,
            txn: Bytes::copy_from_slice(txn),
        })
    };
    let message = match read {
        FromLeader::LeaderInfo { epoch_zxid, version } => {
            if version < PROTOCOL_VERSION {
                return Err(format!(
                    "the leader speaks protocol {version:#x}, and {PROTOCOL_VERSION:#x} is needed"
                ));
            }
            zab::FromLeader::Info(epoch(epoch_zxid)?)
        }
        FromLeader::Diff(zxid) => zab::FromLeader::Diff(this(zxid)?),
        FromLeader::Trunc(zxid) => zab::FromLeader::Trunc(this(zxid)?),
        FromLeader::Snap(zxid) => return Ok(Heard::Snap(this(zxid)?)),
        FromLeader::Proposal { zxid, txn } => zab::FromLeader::Proposal(proposal(zxid, txn)?),
        // A membership that changes is not known here; its transaction is one like others.
        FromLeader::Commit(zxid) | FromLeader::CommitAndActivate { zxid, .. } => zab::FromLeader::Commit(this(zxid)?),
        FromLeader::Inform { zxid, txn } | FromLeader::InformAndActivate { zxid, txn, .. } => {
            zab::FromLeader::Inform(proposal(zxid, txn)?)
        }
        FromLeader::NewLeader { epoch_zxid, .. } => zab::FromLeader::NewLeader(epoch(epoch_zxid)?),
        FromLeader::UpToDate => zab::FromLeader::UpToDate,
        FromLeader::Ping(zxid) => zab::FromLeader::Ping(this(zxid)?),
        FromLeader::Sync => zab::FromLeader::Sync,
        FromLeader::Revalidate { session, valid } => {
            return Ok(Heard::Inputs(vec![Input::Revalidated { link, session, valid }]));
        }
    };
    Ok(Heard::Inputs(vec![Input::FromLeader(link, message)]))
}

/// What a learner's packet says; `raw` are its bytes as they came.
pub fn from_learner(
    link: Link,
    packet: &QuorumPacket<'_>,
    raw: impl FnOnce() -> Bytes,
    ensemble: &Ensemble,
) -> Result<Heard, String> {
    let read = match FromLearner::read(packet) {
        Err(PacketError::Unexpected(kind)) => return passed_over(kind),
        read => read.map_err(|error| error.to_string())?,
    };
    let message = match read {
        FromLearner::Info {
            observer,
            accepted_epoch,
            info,
        } => {
            check(&info, ensemble)?;
            let accepted =
                u32::try_from(accepted_epoch).map_err(|_| format!("an accepted epoch of {accepted_epoch}"))?;
            zab::FromLearner::Info {
                server: ServerId(info.server),
                observer,
                accepted: Epoch(accepted),
            }
        }
        FromLearner::AckEpoch {
            last_zxid,
            current_epoch,
        } => zab::FromLearner::AckEpoch {
            current: u32::try_from(current_epoch).ok().map(Epoch),
            last: match last_zxid {
                -1 => None,
                zxid => Some(this(zxid)?),
            },
        },
        FromLearner::Ack(zxid) => zab::FromLearner::Ack(this(zxid)?),
        FromLearner::Ping { touched, .. } => {
            let ping = Input::FromLearner(link, zab::FromLearner::Ping);
            return Ok(Heard::Inputs(match touched.is_empty() {
                true => vec![ping],
                false => vec![Input::Touched(link, touched), ping],
            }));
        }
        FromLearner::Revalidate { session, timeout_ms } => {
            return Ok(Heard::Inputs(vec![Input::Revalidate(
                link,
                Touch { session, timeout_ms },
            )]));
        }
        FromLearner::Request { opcode: SYNC, .. } => zab::FromLearner::SyncRequest(raw()),
        FromLearner::Request { .. } => zab::FromLearner::Request(raw()),
    };
    Ok(Heard::Inputs(vec![Input::FromLearner(link, message)]))
}

/// Whether a learner can be one of this ensemble.
fn check(info: &LearnerInfo, ensemble: &Ensemble) -> Result<(), String> {
    let id = ServerId(info.server);
    if id == ensemble.me {
        return Err(format!(
            "a learner calls itself {id}, which is this server's own number (myid)"
        ));
    }
    if ensemble.find(id).is_none() {
        return Err(format!("a learner calls itself {id}, which no server.N line names"));
    }
    if info.version < PROTOCOL_VERSION {
        let version = info.version;
        return Err(format!(
            "{id} speaks protocol {version:#x}, and {PROTOCOL_VERSION:#x} is needed"
        ));
    }
    if info.config_version > ensemble.config_version {
        let (theirs, ours) = (info.config_version, ensemble.config_version);
        return Err(format!(
            "{id} knows a membership of version {theirs:x}, and this server's is {ours:x}: give it the newer one"
        ));
    }
    Ok(())
}

fn passed_over(kind: i32) -> Result<Heard, String> {
    tracing::debug!(kind, "a quorum packet of an unknown type is passed over");
    Ok(Heard::Nothing)
}

fn this(zxid: i64) -> Result<Zxid, String> {
    u64::try_from(zxid).map(Zxid).map_err(|_| format!("a zxid of {zxid}"))
}

fn epoch(zxid: i64) -> Result<Epoch, String> {
    this(zxid).map(|zxid| Epoch(zxid.epoch()))
}
