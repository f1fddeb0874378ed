//! The network: connections that keep their order, election mail that only keeps its newest, and what is cut.
//!
//! A cut is one-way. What is sent into one waits, as in TCP, until the cut heals or the connection ends; nobody is
//! told, unless what stands between them resets the connections, as a firewall does. A crash tells the other end, or,
//! when power fails, does not. Election mail can also get lost: it stands for frames that a broken connection took
//! along. And it can come a second time, long after: frames of a connection that another has replaced, or the last word
//! that is said again on a new one (T-73).

use std::collections::{BTreeMap, VecDeque};

use ringkeeper::replica::member::Packet;
use ringkeeper::zab::{Link, Notification};

use super::check::Applied;

/// What travels on a connection.
pub enum Parcel {
    /// A packet, and the state that follows a SNAP.
    Packet(Packet, Option<Applied>),
    /// The other end closed.
    End,
}

/// A server's life: its place and how often it has been started.
pub type Life = (usize, u32);

/// One direction of a connection.
#[derive(Default)]
pub struct Lane {
    pub queue: VecDeque<(u64, Parcel)>,
    /// Whether an event is on its way that will look at the queue.
    pub awaited: bool,
}

pub struct Connection {
    /// Who dialled, who was dialled.
    pub ends: [Life; 2],
    pub open: [bool; 2],
    /// From the first end, from the second.
    pub lanes: [Lane; 2],
}

pub struct Network {
    /// `cut[from][to]`.
    pub cut: Vec<Vec<bool>>,
    pub connections: BTreeMap<Link, Connection>,
    /// The newest mail from one to another that has not arrived.
    pub mail: Vec<Vec<Option<Notification>>>,
    /// Mail that gets lost, in percent.
    pub loss_percent: usize,
    /// Mail that comes once more, long after, in percent: T-73.
    pub ghost_percent: usize,
    /// The longest delay, in ms.
    pub delay_ms: usize,
    link_count: u64,
}

impl Network {
    pub fn new(server_count: usize) -> Network {
        Network {
            cut: vec![vec![false; server_count]; server_count],
            connections: BTreeMap::new(),
            mail: vec![vec![None; server_count]; server_count],
            loss_percent: 0,
            ghost_percent: 0,
            delay_ms: 3,
            link_count: 0,
        }
    }

    pub fn connect(&mut self, dialler: Life, dialled: Life) -> Link {
        self.link_count += 1;
        let link = Link(self.link_count);
        let connection = Connection {
            ends: [dialler, dialled],
            open: [true, true],
            lanes: Default::default(),
        };
        self.connections.insert(link, connection);
        link
    }

    /// Which end of a connection a server is.
    pub fn end_of(&self, link: Link, server: usize) -> Option<usize> {
        let connection = self.connections.get(&link)?;
        connection.ends.iter().position(|(at, _)| *at == server)
    }

    /// The connections a server has an open end of.
    pub fn of(&self, server: usize) -> Vec<Link> {
        let mine = self
            .connections
            .iter()
            .filter(|(_, connection)| (0..2).any(|end| connection.ends[end].0 == server && connection.open[end]));
        mine.map(|(link, _)| *link).collect()
    }

    /// Whether something sent by this end arrives now.
    pub fn passes(&self, link: Link, end: usize) -> bool {
        let ends = self.connections[&link].ends;
        !self.cut[ends[end].0][ends[1 - end].0]
    }

    pub fn heal(&mut self) {
        self.cut.iter_mut().flatten().for_each(|cut| *cut = false);
        (self.loss_percent, self.ghost_percent) = (0, 0);
        self.delay_ms = 3;
    }
}
