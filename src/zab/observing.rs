//! A server without a vote in step with its leader (`Observer#processPacket`): what it is told is decided already.
//!
//! It logs what it delivers, but acknowledges nothing, and no quorum ever waits for it.

use super::common::Common;
use super::event::Why;
use super::message::{FromLeader, FromLearner, Link};
use super::node::Role;
use super::output::{Output, Serving};
use super::uplink::Uplink;
use crate::base::ServerId;

/// Up to date.
#[derive(Debug)]
pub struct Observing(pub(super) Uplink);

impl Observing {
    /// Serves clients.
    pub fn start(common: &mut Common, leader: ServerId, link: Link, now_ms: u64) -> Role {
        common.serve(Serving::AsObserver(common.ledger.current()));
        Role::Observing(Observing(Uplink::new(common, leader, link, now_ms)))
    }

    /// The leader said something.
    pub fn hear(mut self, common: &mut Common, message: FromLeader, now_ms: u64) -> Role {
        self.0.heard(common, now_ms);
        match self.handle(common, message) {
            Ok(()) => Role::Observing(self),
            Err(why) => self.0.end(common, why, now_ms),
        }
    }

    fn handle(&self, common: &mut Common, message: FromLeader) -> Result<(), Why> {
        match message {
            FromLeader::Inform(proposal) => {
                let (last, next) = (common.ledger.last(), proposal.zxid);
                if !common.ledger.continues_with(next) {
                    return Err(common.distrust(Why::Gap { last, next }));
                }
                common.ledger.append(proposal, &mut common.out);
                common.ledger.commit(next, &mut common.out);
            }
            FromLeader::Ping(_) => self.0.ask(common, FromLearner::Ping),
            FromLeader::Sync => common.out.push(Output::Synced),
            _ => return Err(Why::Protocol("an observer is told only what is decided")),
        }
        Ok(())
    }
}
