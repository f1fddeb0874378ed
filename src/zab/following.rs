//! A voter in step with its leader (`Follower#processPacket`): logs proposals, acknowledges them when they are
//! durable, delivers what is committed.
//!
//! Proposals come without gaps and commits in the order of the proposals; anything else ends the role, as a broken
//! stream cannot be repaired but by a new synchronisation.

use super::common::Common;
use super::event::Why;
use super::message::{FromLeader, FromLearner, Link};
use super::node::Role;
use super::output::{Output, Serving};
use super::uplink::Uplink;
use crate::base::ServerId;

/// Up to date.
#[derive(Debug)]
pub struct Following(pub(super) Uplink);

impl Following {
    /// Serves clients.
    pub fn start(common: &mut Common, leader: ServerId, link: Link, now_ms: u64) -> Role {
        common.serve(Serving::AsFollower(common.ledger.current()));
        Role::Following(Following(Uplink::new(common, leader, link, now_ms)))
    }

    /// The leader said something.
    pub fn hear(mut self, common: &mut Common, message: FromLeader, now_ms: u64) -> Role {
        self.0.heard(common, now_ms);
        match self.handle(common, message) {
            Ok(()) => Role::Following(self),
            Err(why) => self.0.end(common, why, now_ms),
        }
    }

    fn handle(&self, common: &mut Common, message: FromLeader) -> Result<(), Why> {
        match message {
            FromLeader::Proposal(proposal) => {
                let (last, next) = (common.ledger.last(), proposal.zxid);
                if !common.ledger.continues_with(next) {
                    return Err(common.distrust(Why::Gap { last, next }));
                }
                common.ledger.append(proposal, &mut common.out);
                common.out.send_when_durable(self.0.link(), FromLearner::Ack(next));
            }
            FromLeader::Commit(zxid) => {
                if common.ledger.next_undecided() != Some(zxid) {
                    return Err(Why::Protocol("COMMIT out of order"));
                }
                common.ledger.commit(zxid, &mut common.out);
            }
            FromLeader::Ping(_) => self.0.ask(common, FromLearner::Ping),
            FromLeader::Sync => common.out.push(Output::Synced),
            _ => return Err(Why::Protocol("a word of the synchronisation after it")),
        }
        Ok(())
    }
}
