//! The quorum port: packet after packet, each through both doors, with the transactions and requests that are in them.
//!
//! A receive buffer that is not whole yet must say that it needs more than it has, or the connection would turn in
//! place; what is understood is written again and read as the same.

use ringkeeper::wire::quorum::{FromLeader, FromLearner, Front, QuorumPacket, front};
use ringkeeper::wire::request::{Op, Request};
use ringkeeper::wire::txn::Txn;

/// Reads packets until the bytes end or make no sense.
pub fn read_any(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(found) = front(rest) {
        match found {
            Front::Whole { packet, consumed } => {
                assert!((1..=rest.len()).contains(&consumed), "{consumed} of {}", rest.len());
                from_leader(&packet);
                from_learner(&packet);
                rest = &rest[consumed..];
            }
            Front::Partial { needed } => {
                assert!(needed > rest.len(), "{needed} are needed, {} are there", rest.len());
                return;
            }
        }
    }
}

fn from_leader(packet: &QuorumPacket<'_>) {
    let Ok(message) = FromLeader::read(packet) else { return };
    let mut out = Vec::new();
    message.append(&mut out);
    assert_eq!(FromLeader::read(&whole(&out)), Ok(message.clone()));
    if let FromLeader::Proposal { txn, .. } | FromLeader::Inform { txn, .. } = message
        && let Ok((header, txn, digest)) = Txn::read(txn)
    {
        let mut out = Vec::new();
        txn.append(&header, digest, &mut out);
        let (again, ..) = Txn::read(&out).expect("what was written can be read");
        assert_eq!(again, header);
    }
}

fn from_learner(packet: &QuorumPacket<'_>) {
    let Ok(message) = FromLearner::read(packet) else { return };
    let mut out = Vec::new();
    message.append(&mut out);
    let again = FromLearner::read(&whole(&out));
    // Java writes what is outside the basic plane as two surrogates, and reads these as no text.
    let is_plain = |text: &str| text.chars().all(|c| c <= '\u{ffff}');
    if !matches!(&message, FromLearner::Request { ids, .. } if !ids.iter().all(|id| is_plain(&id.scheme) && is_plain(&id.id)))
    {
        assert_eq!(again, Ok(message.clone()));
    }
    if let FromLearner::Request { opcode, body, .. } = message
        && let Some(op) = Op::from_code(opcode)
    {
        // It may be refused; it must not panic.
        let _ = Request::read(op, body);
    }
}

fn whole(bytes: &[u8]) -> QuorumPacket<'_> {
    match front(bytes) {
        Ok(Front::Whole { packet, consumed }) if consumed == bytes.len() => packet,
        other => panic!("what was written is {other:?}"),
    }
}
