//! Clients: each writes through a server, waits no longer than its pause, and sometimes goes to another.
//!
//! An operation has a number of its own and is sent once, so it is decided once or never. What was acknowledged to
//! anybody before one is sent must be decided before it.

use std::collections::VecDeque;

use bytes::Bytes;
use ringkeeper::base::Zxid;
use ringkeeper::zab::{Input, Serving};

use super::world::{Event, World};

/// A client: one write at a time, then a pause.
#[derive(Default)]
pub struct Client {
    /// The write it waits for, and what had been acknowledged to anybody when it asked.
    pub waits: Option<(u64, Zxid)>,
    pub asked_count: u64,
    pub server: usize,
}

impl World {
    pub fn ask(&mut self, client: usize) {
        let pause = 1 + self.random.below(self.think_ms) as u64;
        let server = match self.random.chance(20) {
            true => self.random.below(self.servers.len()),
            false => self.clients[client].server,
        };
        self.at(pause, Event::Ask(client));
        let (asked, me) = (self.check.asked(), &mut self.clients[client]);
        me.server = server;
        me.asked_count += 1;
        let operation = (client as u64) << 40 | me.asked_count;
        me.waits = Some((operation, asked));
        let host = &mut self.servers[server];
        let txn = Bytes::copy_from_slice(&operation.to_be_bytes());
        let input = match host.serving() {
            Serving::Nobody => {
                me.server = self.random.below(self.servers.len());
                return;
            }
            Serving::AsLeader(_) if host.paused => return,
            Serving::AsLeader(_) => {
                let mut inputs = VecDeque::new();
                self.propose(server, txn, &mut inputs);
                inputs.pop_front().expect("a leader proposes")
            }
            Serving::AsFollower(_) | Serving::AsObserver(_) => Input::Forward(txn),
        };
        self.servers[server].asked.insert(operation, client);
        self.feed(server, input, None);
    }

    pub fn answer(&mut self, client: usize, operation: u64, zxid: Zxid) {
        if let Some((_, asked)) = self.clients[client].waits.take_if(|(waits, _)| *waits == operation) {
            self.check.answered(asked, zxid, operation);
            self.tally.acknowledged += 1;
        }
    }
}
