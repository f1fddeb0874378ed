//! What a leader says to a learner, in both directions of the codec.
//!
//! Zxid fields without a meaning carry what a live 3.9.5 leader puts there: −1 in UPTODATE and REVALIDATE, 0 in SYNC.

use super::{PacketError, QuorumPacket, append, body, kind, named};
use crate::wire::jute::{Text, Writer};

/// A leader's packet, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FromLeader<'a> {
    /// LEADERINFO: the epoch that the leader proposes.
    LeaderInfo {
        epoch_zxid: i64,
        version: i32,
    },
    /// The learner's history is a prefix of the leader's.
    Diff(i64),
    /// The learner must forget what follows this zxid.
    Trunc(i64),
    /// A snapshot at this zxid follows on the same stream.
    Snap(i64),
    /// Header, record and digest of a transaction to be logged and acknowledged.
    Proposal {
        zxid: i64,
        txn: &'a [u8],
    },
    Commit(i64),
    /// Commits a reconfiguration.
    CommitAndActivate {
        zxid: i64,
        leader: i64,
    },
    /// A committed transaction, to an observer.
    Inform {
        zxid: i64,
        txn: &'a [u8],
    },
    /// A committed reconfiguration, to an observer.
    InformAndActivate {
        zxid: i64,
        leader: i64,
        txn: &'a [u8],
    },
    /// The end of what the learner lacked. Data of at most one byte is no configuration.
    NewLeader {
        epoch_zxid: i64,
        config: Option<Text<'a>>,
    },
    /// A quorum follows; the learner may serve.
    UpToDate,
    Ping(i64),
    /// Whether a session is alive, for a client that came to the learner with it.
    Revalidate {
        session: i64,
        valid: bool,
    },
    /// Everything committed before the learner's `sync` has been sent.
    Sync,
}

impl<'a> FromLeader<'a> {
    /// Reads a packet that came from a leader.
    pub fn read(packet: &QuorumPacket<'a>) -> Result<FromLeader<'a>, PacketError> {
        let zxid = packet.zxid;
        Ok(match packet.kind {
            kind::LEADERINFO => FromLeader::LeaderInfo {
                epoch_zxid: zxid,
                version: named(packet, body(packet)?.int())?,
            },
            kind::DIFF => FromLeader::Diff(zxid),
            kind::TRUNC => FromLeader::Trunc(zxid),
            kind::SNAP => FromLeader::Snap(zxid),
            kind::PROPOSAL => FromLeader::Proposal {
                zxid,
                txn: body(packet)?.rest(),
            },
            kind::COMMIT => FromLeader::Commit(zxid),
            kind::COMMITANDACTIVATE => FromLeader::CommitAndActivate {
                zxid,
                leader: named(packet, body(packet)?.long())?,
            },
            kind::INFORM => FromLeader::Inform {
                zxid,
                txn: body(packet)?.rest(),
            },
            kind::INFORMANDACTIVATE => {
                let mut r = body(packet)?;
                FromLeader::InformAndActivate {
                    zxid,
                    leader: named(packet, r.long())?,
                    txn: r.rest(),
                }
            }
            kind::NEWLEADER => FromLeader::NewLeader {
                epoch_zxid: zxid,
                config: packet.data.filter(|data| data.len() > 1).map(String::from_utf8_lossy),
            },
            kind::UPTODATE => FromLeader::UpToDate,
            kind::PING => FromLeader::Ping(zxid),
            kind::REVALIDATE => {
                let mut r = body(packet)?;
                FromLeader::Revalidate {
                    session: named(packet, r.long())?,
                    valid: named(packet, r.bool())?,
                }
            }
            kind::SYNC => FromLeader::Sync,
            other => return Err(PacketError::Unexpected(other)),
        })
    }

    /// Appends the packet.
    pub fn append(&self, out: &mut Vec<u8>) {
        match self {
            FromLeader::LeaderInfo { epoch_zxid, version } => {
                append(out, kind::LEADERINFO, *epoch_zxid, Some(&version.to_be_bytes()), None);
            }
            FromLeader::Diff(zxid) => append(out, kind::DIFF, *zxid, None, None),
            FromLeader::Trunc(zxid) => append(out, kind::TRUNC, *zxid, None, None),
            FromLeader::Snap(zxid) => append(out, kind::SNAP, *zxid, None, None),
            FromLeader::Proposal { zxid, txn } => append(out, kind::PROPOSAL, *zxid, Some(txn), None),
            FromLeader::Commit(zxid) => append(out, kind::COMMIT, *zxid, None, None),
            FromLeader::CommitAndActivate { zxid, leader } => {
                append(out, kind::COMMITANDACTIVATE, *zxid, Some(&leader.to_be_bytes()), None);
            }
            FromLeader::Inform { zxid, txn } => append(out, kind::INFORM, *zxid, Some(txn), None),
            FromLeader::InformAndActivate { zxid, leader, txn } => {
                let data = [&leader.to_be_bytes(), *txn].concat();
                append(out, kind::INFORMANDACTIVATE, *zxid, Some(&data), None);
            }
            FromLeader::NewLeader { epoch_zxid, config } => {
                let config = config.as_ref().map(|text| text.as_bytes());
                append(out, kind::NEWLEADER, *epoch_zxid, config, None);
            }
            FromLeader::UpToDate => append(out, kind::UPTODATE, -1, None, None),
            FromLeader::Ping(zxid) => append(out, kind::PING, *zxid, None, None),
            FromLeader::Revalidate { session, valid } => {
                let mut data = Vec::with_capacity(9);
                let mut w = Writer::new(&mut data);
                w.long(*session);
                w.bool(*valid);
                append(out, kind::REVALIDATE, -1, Some(&data), None);
            }
            FromLeader::Sync => append(out, kind::SYNC, 0, None, None),
        }
    }
}
