//! A host for one core: what `server/` will be in production, with simulated disk, clock and connections.

use std::collections::{BTreeMap, VecDeque};

use ringkeeper::base::ServerId;
use ringkeeper::zab::{Input, Mark, Node, Quorum, Serving, Settings};

use super::bug::Bug;
use super::check::Applied;
use super::disk::Disk;

/// A server, running or not.
pub struct Server {
    pub node: Option<Node>,
    /// How often it has been started: what was meant for an earlier life never reaches a later one.
    pub life: u32,
    pub paused: bool,
    /// What came in while it was paused, with the state behind a SNAP.
    pub backlog: VecDeque<(Input, Option<Applied>)>,
    pub disk: Disk,
    /// What the core has been told of the disk.
    pub told: Mark,
    /// What its clients see.
    pub applied: Applied,
    /// A received state whose SNAP is being handled.
    pub received: Option<Applied>,
    /// The client operations it has to answer.
    pub asked: BTreeMap<u64, usize>,
    /// When the next tick was ordered.
    pub wake_ms: u64,
    pub delivered_count: usize,
}

impl Server {
    pub fn new(bug: Option<Bug>) -> Server {
        Server {
            node: None,
            life: 0,
            paused: false,
            backlog: VecDeque::new(),
            disk: Disk::new(bug),
            told: Mark(0),
            applied: Applied::default(),
            received: None,
            asked: BTreeMap::new(),
            wake_ms: u64::MAX,
            delivered_count: 0,
        }
    }

    pub fn is_up(&self) -> bool {
        self.node.is_some()
    }

    pub fn serving(&self) -> Serving {
        self.node.as_ref().map_or(Serving::Nobody, Node::serving)
    }

    /// Power is lost.
    pub fn stop(&mut self) {
        self.node = None;
        self.paused = false;
        self.backlog.clear();
        self.received = None;
        self.asked.clear();
        self.wake_ms = u64::MAX;
    }
}

/// Servers are numbered from 1 on the wire and from 0 here.
pub fn id(server: usize) -> ServerId {
    ServerId(server as i64 + 1)
}

pub fn place(id: ServerId) -> usize {
    (id.0 - 1) as usize
}

/// What one seed's servers are started with.
pub fn settings(server: usize, voter_count: usize, tick_ms: u64, bug: Option<Bug>) -> Settings {
    let voters: Vec<ServerId> = (0..voter_count).map(id).collect();
    let me = id(server);
    let quorum = match bug {
        // This server's own vote weighs as much as two, in its own eyes.
        Some(Bug::QuorumTooSmall) if server < voter_count => {
            Quorum::groups(&[voters], &BTreeMap::from([(me, 2 + voter_count as u64 % 2)])).expect("a quorum")
        }
        _ => Quorum::majority(voters),
    };
    Settings {
        tick_ms,
        notification_ms_max: 4 * tick_ms,
        kept_count: 30,
        ..Settings::new(me, quorum)
    }
}
