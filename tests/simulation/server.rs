//! A host for one member: what `server/` is in production, with simulated disk, clock and connections.

use std::collections::{BTreeMap, VecDeque};

use ringkeeper::base::ServerId;
use ringkeeper::replica::member::{Input, Member, Settings};
use ringkeeper::replica::reap::ReapSettings;
use ringkeeper::tree::{Features, View};
use ringkeeper::zab::{self, Mark, Quorum, Serving};

use super::bug::Bug;
use super::check::Applied;
use super::core::{Core, ToServer};
use super::disk::Disk;
use super::expiry::Told;

/// Something that a server is to handle.
pub enum Work {
    /// For its member; with the state behind a SNAP.
    Input(Input, Option<Applied>),
    /// From a client.
    Client(u32, ToServer),
    /// The end of a turn that was left open.
    Turn,
}

/// A server, running or not.
pub struct Server {
    pub member: Option<Member>,
    pub core: Option<Core>,
    /// How often it has been started: what was meant for an earlier life never reaches a later one.
    pub life: u32,
    pub paused: bool,
    /// What came in while it was paused.
    pub backlog: VecDeque<Work>,
    pub disk: Disk,
    /// What the member has been told of the disk.
    pub told: Mark,
    /// Whom it serves, as far as its outputs have been obeyed.
    pub serves: Serving,
    /// What its clients see.
    pub applied: Applied,
    /// A received state whose SNAP is being handled.
    pub received: Option<Applied>,
    /// As a leader: what it was told of sessions.
    pub sessions: Told,
    /// Since when it stands still.
    pub paused_ms: u64,
    /// When the next tick was ordered.
    pub wake_ms: u64,
    pub delivered_count: usize,
    /// Whether a turn is open: its outputs have not been asked for.
    pub in_turn: bool,
}

impl Server {
    pub fn new(bug: Option<Bug>) -> Server {
        Server {
            member: None,
            core: None,
            life: 0,
            paused: false,
            backlog: VecDeque::new(),
            disk: Disk::new(bug),
            told: Mark(0),
            serves: Serving::Nobody,
            applied: Applied::default(),
            received: None,
            sessions: Told::default(),
            paused_ms: 0,
            wake_ms: u64::MAX,
            delivered_count: 0,
            in_turn: false,
        }
    }

    pub fn is_up(&self) -> bool {
        self.member.is_some()
    }

    pub fn is_serving(&self) -> bool {
        self.serves != Serving::Nobody
    }

    pub fn leads(&self) -> bool {
        matches!(self.serves, Serving::AsLeader(_))
    }

    pub fn member(&self) -> &Member {
        self.member.as_ref().expect("it runs")
    }

    pub fn core(&mut self) -> &mut Core {
        self.core.as_mut().expect("it runs")
    }

    pub fn view(&self) -> &View {
        &self.core.as_ref().expect("it runs").view
    }

    /// Power is lost.
    pub fn stop(&mut self) {
        (self.member, self.core) = (None, None);
        self.serves = Serving::Nobody;
        (self.paused, self.in_turn) = (false, false);
        self.backlog.clear();
        self.received = None;
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

/// How transactions apply, on all servers alike.
pub fn features() -> Features {
    Features {
        digest: true,
        extended_types: true,
        ..Features::default()
    }
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
        zab: zab::Settings {
            tick_ms,
            notification_ms_max: 4 * tick_ms,
            kept_count: 30,
            ..zab::Settings::new(me, quorum)
        },
        desk: ringkeeper::replica::Settings {
            tick_ms,
            enforce_quota: true,
            reconfig_enabled: false,
            reap: ReapSettings {
                interval_ms: 60_000,
                per_minute_max: 10_000,
                never_used_ms: 0,
            },
            server_id: server as u8 + 1,
        },
        config: format!("server.{}", server + 1),
    }
}
