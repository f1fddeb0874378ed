//! The ensemble, its network and its clients in one queue of events: virtual time, one thread, one seed.
//!
//! An event is handled completely before the next, and everything that is random comes from the seed's generator, so
//! a seed is a history. Everything that members say, and that clients hear, goes into a hash, which is the same whenever
//! the seed is run again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::hash::Hasher;

use ringkeeper::replica::member::{Input, Member, Output, Store};
use ringkeeper::replica::{Answer, Now, Published};
use ringkeeper::zab::{Event as Said, How, Link, Mark, Notification, Proposal, Serving, Why};

use super::bug::Bug;
use super::check::Checker;
use super::client::{Channel, Client};
use super::core::{Core, ToClient, ToServer};
use super::disk::Stored;
use super::expiry::{self, Turn};
use super::faults::Fault;
use super::history::History;
use super::network::{Life, Network};
use super::random::Random;
use super::server::{Server, Work, id, place, settings};
use super::trace::Mixer;

/// A server takes a snapshot of its own each time it has delivered so many transactions.
const SNAPSHOT_EVERY: usize = 60;

/// The longest session timeout, in ticks.
pub const TIMEOUT_TICKS: u64 = 12;

/// Something that will happen.
pub enum Event {
    Wake(Life),
    Synced(Life),
    Mail(usize, usize),
    /// The same word again, long after: a connection that was given up hands it in late.
    Ghost(usize, usize, Notification),
    Gone(Life, usize),
    Dial(Life, usize),
    NotConnected(Life, usize),
    Pump(Link, usize),
    Fault(Fault),
    Ask(usize),
    /// A client's word arrives.
    Said(u32, ToServer),
    /// A server's word to a client arrives.
    Told(u32, ToClient),
    /// A turn that was left open ends.
    Turn(Life),
}

struct Due(u64, u64, Event);

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// What a run says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub trace: u64,
    pub virtual_ms: u64,
    pub steps: u64,
    pub decided: usize,
    pub acknowledged: usize,
    pub epochs: usize,
    pub snaps: usize,
    pub truncs: usize,
    pub diffs: usize,
    pub crashes: usize,
    pub reads: usize,
    pub events: usize,
    pub sessions_expired: usize,
    pub moved: usize,
    pub converged_ms: u64,
    /// Leaders that began to serve when a later epoch had begun without their knowing.
    pub overtaken: usize,
}

pub struct World {
    pub now_ms: u64,
    queue: BinaryHeap<Reverse<Due>>,
    event_count: u64,
    pub servers: Vec<Server>,
    pub voter_count: usize,
    pub tick_ms: u64,
    pub network: Network,
    pub check: Checker,
    pub random: Random,
    pub clients: Vec<Client>,
    pub channels: BTreeMap<u32, Channel>,
    pub channel_count: u32,
    pub history: History,
    /// A client's pause, in ms.
    pub think_ms: usize,
    pub tally: Tally,
    pub bug: Option<Bug>,
    /// What was agreed with each session.
    timeouts: BTreeMap<i64, u64>,
    /// When a server last said something to another, as its learner: `said_ms[from][to]`.
    pub said_ms: Vec<Vec<u64>>,
    /// Whether nothing breaks any more.
    pub is_calm: bool,
    /// Whether every step is printed.
    pub loud: bool,
    pub hash: Mixer,
}

impl World {
    pub fn new(seed: u64, bug: Option<Bug>) -> World {
        let mut random = Random::new(seed);
        let voter_count = random.of(&[3, 3, 5]);
        let observers = random.below(2);
        let tick_ms = random.of(&[200, 500, 2000]);
        let server_count = voter_count + observers;
        let mut world = World {
            now_ms: 0,
            queue: BinaryHeap::new(),
            event_count: 0,
            servers: (0..server_count).map(|_| Server::new(bug)).collect(),
            voter_count,
            tick_ms,
            network: Network::new(server_count),
            check: Checker::new((0..voter_count).collect(), server_count),
            clients: Vec::new(),
            channels: BTreeMap::new(),
            channel_count: 0,
            history: History::new(),
            think_ms: random.of(&[100, 300, 600]),
            random,
            tally: Tally::default(),
            bug,
            timeouts: BTreeMap::new(),
            said_ms: vec![vec![0; server_count]; server_count],
            is_calm: false,
            loud: false,
            hash: Mixer::new(seed),
        };
        for server in 0..server_count {
            world.start(server);
        }
        for client in 0..3 {
            let timeout_ms = tick_ms as i32 * world.random.of(&[5, 8, TIMEOUT_TICKS as i32]);
            world.clients.push(Client::new(timeout_ms));
            world.at(1 + client as u64, Event::Ask(client));
        }
        world
    }

    /// Orders something after some time.
    pub fn at(&mut self, after_ms: u64, event: Event) {
        self.event_count += 1;
        let due = Due(self.now_ms + after_ms, self.event_count, event);
        self.queue.push(Reverse(due));
    }

    /// Lets time pass until then, or until `done` says so; gives whether it did.
    pub fn run(&mut self, until_ms: u64, done: impl Fn(&World) -> bool) -> bool {
        while let Some(Reverse(Due(at_ms, ..))) = self.queue.peek() {
            if *at_ms > until_ms {
                break;
            }
            let Reverse(Due(at_ms, _, event)) = self.queue.pop().expect("it was just seen");
            self.now_ms = at_ms;
            self.handle(event);
            if done(self) {
                return true;
            }
        }
        self.now_ms = until_ms;
        done(self)
    }

    /// What two runs of a seed must agree in: the trace, the time, the number of steps.
    pub fn so_far(&self) -> (u64, u64, u64) {
        (self.hash.finish(), self.now_ms, self.tally.steps)
    }

    /// What the run amounts to, once all that clients were told has been judged.
    pub fn finish(mut self) -> Tally {
        let decided = self.check.decided();
        self.history.judge(&decided);
        (self.tally.trace, self.tally.virtual_ms, self.tally.steps) = self.so_far();
        self.tally.acknowledged = self.history.acknowledged_count;
        (self.tally.reads, self.tally.events) = (self.history.reads, self.history.events);
        (self.tally.sessions_expired, self.tally.moved) = (self.history.expired, self.history.moved);
        self.tally.decided = self.check.decided_count();
        self.tally.epochs = self.check.epoch_count();
        self.tally
    }

    pub fn delay(&mut self) -> u64 {
        1 + self.random.below(self.network.delay_ms) as u64
    }

    pub fn lives(&self, life: Life) -> bool {
        self.servers[life.0].is_up() && self.servers[life.0].life == life.1
    }

    pub fn life(&self, server: usize) -> Life {
        (server, self.servers[server].life)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Wake(life) if self.lives(life) => {
                let server = &mut self.servers[life.0];
                server.wake_ms = u64::MAX;
                self.feed(life.0, Input::Tick);
            }
            Event::Synced(life) if self.lives(life) => self.synced(life.0),
            Event::Mail(from, to) => self.mail(from, to),
            Event::Ghost(from, to, notification) if self.servers[to].is_up() => {
                self.feed(to, Input::Notified(id(from), notification));
            }
            Event::Gone(life, about) if self.lives(life) => self.feed(life.0, Input::Gone(id(about))),
            Event::Dial(life, to) if self.lives(life) => self.dial(life, to),
            Event::NotConnected(life, to) if self.lives(life) => self.feed(life.0, Input::NotConnected(id(to))),
            Event::Pump(link, end) => self.pump(link, end),
            Event::Fault(fault) => self.fault(fault),
            Event::Ask(client) => self.ask(client),
            Event::Said(id, said) => self.arrives(id, said),
            Event::Told(id, said) => self.hears(id, said),
            Event::Turn(life) if self.lives(life) => self.work(life.0, Work::Turn),
            _ => {}
        }
    }

    fn now(&self) -> Now {
        Now {
            ms: self.now_ms,
            wall_ms: 1_700_000_000_000 + self.now_ms as i64,
        }
    }

    // Servers.

    /// Starts a server with what its disk holds.
    pub fn start(&mut self, server: usize) {
        if self.servers[server].is_up() {
            return;
        }
        let settings = settings(server, self.voter_count, self.tick_ms, self.bug);
        let held = 10 + self.random.below(50);
        let (now, host) = (self.now(), &mut self.servers[server]);
        self.check.recovers(server, &host.disk.image);
        host.life += 1;
        host.told = Mark(0);
        let (tree, found) = host.disk.image.recovered(held);
        host.applied = host.disk.image.base;
        for entry in host.disk.between(host.applied.zxid, found.base) {
            self.check.reaches(host.applied, &entry);
            host.applied.apply(&entry);
        }
        let member = Member::start(settings, tree, found, now);
        let member = member.unwrap_or_else(|error| panic!("server {server} cannot start: {error}"));
        host.core = Some(Core::new(member.view(), self.bug));
        host.member = Some(member);
        self.end_turn(server, &mut VecDeque::new());
        self.order_wake(server);
    }

    /// Kills a server; its peers and clients learn of it, unless power failed.
    pub fn crash(&mut self, server: usize, tells: bool) {
        if !self.servers[server].is_up() {
            return;
        }
        self.tally.crashes += 1;
        let life = self.life(server);
        self.servers[server].stop();
        self.servers[server].disk.crash(&mut self.random);
        for link in self.network.of(server) {
            self.hang_up(link, server, tells);
        }
        self.drop_channels(life, tells);
        self.network.mail[server].fill(None);
    }

    pub fn pause(&mut self, server: usize) {
        let host = &mut self.servers[server];
        if !host.paused {
            (host.paused, host.paused_ms) = (host.is_up(), self.now_ms);
        }
    }

    pub fn resume(&mut self, server: usize) {
        let host = &mut self.servers[server];
        let stood_ms = self.now_ms - host.paused_ms;
        // A shorter pause is nothing that a server could tell from a busy moment.
        if std::mem::take(&mut host.paused) {
            match stood_ms > 2 * self.tick_ms {
                true => host.sessions.stood_still(stood_ms, self.tick_ms, self.now_ms),
                false => host.sessions.stumbled(stood_ms, self.now_ms),
            }
        }
        while let Some(work) = self.servers[server].backlog.pop_front() {
            self.work(server, work);
        }
    }

    /// Hands an input to a member, and does what it says.
    pub fn feed(&mut self, server: usize, input: Input) {
        self.work(server, Work::Input(input, None));
    }

    /// A server has something to do. Now and then its turn stays open for a moment, and more comes into it.
    pub fn work(&mut self, server: usize, work: Work) {
        let host = &mut self.servers[server];
        if host.paused {
            host.backlog.push_back(work);
            return;
        }
        let mut inputs = VecDeque::new();
        let from_client = matches!(work, Work::Client(..));
        match work {
            Work::Input(input, state) => {
                host.received = state.or(host.received.take());
                if let (Input::Touched(_, touched), true) = (&input, host.leads()) {
                    let now_ms = self.now_ms;
                    let each = touched.iter();
                    each.for_each(|touch| host.sessions.touch(touch.session, now_ms));
                }
                inputs.push_back(input);
            }
            Work::Client(id, said) => {
                let (now_ms, mut told) = (self.now_ms, Vec::new());
                let Some(core) = &mut host.core else { return };
                if let (ToServer::Request { .. }, Some(session)) = (&said, core.session(id)) {
                    host.sessions.client(session, now_ms);
                }
                inputs.extend(core.hear(id, said, now_ms, &mut told));
                self.tell(server, told);
            }
            Work::Turn => {}
        }
        while let Some(input) = inputs.pop_front() {
            let now = self.now();
            let Some(member) = &mut self.servers[server].member else {
                return;
            };
            self.tally.steps += 1;
            member.step(input, now);
            if from_client && inputs.is_empty() && !self.servers[server].in_turn && self.random.chance(30) {
                self.servers[server].in_turn = true;
                let life = self.life(server);
                return self.at(1, Event::Turn(life));
            }
            self.end_turn(server, &mut inputs);
        }
        self.end_turn(server, &mut inputs);
        if !inputs.is_empty() {
            inputs.into_iter().for_each(|input| self.feed(server, input));
        }
        self.order_wake(server);
    }

    fn order_wake(&mut self, server: usize) {
        let life = self.life(server);
        let now_ms = self.now_ms;
        let host = &mut self.servers[server];
        let Some(member) = &host.member else { return };
        let deadline_ms = member.deadline_ms(now_ms);
        if deadline_ms < host.wake_ms {
            host.wake_ms = deadline_ms;
            self.at(deadline_ms.saturating_sub(self.now_ms), Event::Wake(life));
        }
    }

    fn end_turn(&mut self, server: usize, inputs: &mut VecDeque<Input>) {
        let host = &mut self.servers[server];
        host.in_turn = false;
        let Some(member) = &mut host.member else { return };
        let outputs = member.take();
        self.obey(server, outputs, inputs);
        self.servers[server].received = None;
    }

    fn obey(&mut self, server: usize, outputs: Vec<Output>, inputs: &mut VecDeque<Input>) {
        let mut outputs = VecDeque::from(self.twist(outputs));
        while let Some(output) = outputs.pop_front() {
            self.trace(server, &output);
            match output {
                Output::Notify { to, notification } => self.post(server, place(to), notification),
                Output::Connect(to) => {
                    let (life, delay) = (self.life(server), self.delay());
                    self.at(delay, Event::Dial(life, place(to)));
                }
                Output::Close(link) => self.hang_up(link, server, true),
                Output::Send { link, packet } => self.send(server, link, packet),
                Output::Store { mark, store } => self.store(server, mark, store, inputs),
                Output::Serving(serving) => self.serve(server, serving, inputs),
                Output::Published(published) => self.publish(server, published),
                Output::Replaced(view) => {
                    self.check.digests(server, view.totals().zxid, view.totals().digest);
                    self.servers[server].core().view = view;
                }
                Output::Answer(answered) => {
                    let mut told = Vec::new();
                    self.servers[server].core().tell_alone(answered, &mut told);
                    self.tell(server, told);
                }
                Output::Attached {
                    origin,
                    session,
                    accepted,
                    ..
                } => {
                    let (now_ms, mut told) = (self.now_ms, Vec::new());
                    let host = &mut self.servers[server];
                    if accepted && host.leads() {
                        host.sessions.attach(session, true, now_ms);
                    }
                    let core = host.core();
                    core.attached(origin.connection, session, accepted, now_ms, &mut told);
                    self.tell(server, told);
                }
                Output::Displace(origin) => {
                    let mut told = Vec::new();
                    inputs.extend(self.servers[server].core().end(origin.connection, &mut told));
                    self.tell(server, told);
                }
                Output::Event(said) => self.said(said),
                Output::Unreadable { why, .. } => panic!("server {server} cannot read: {why}"),
                Output::Mismatch { zxid, here, there } => {
                    panic!("Z11: server {server} has {here:x} at 0x{zxid:x}, its author had {there:x}")
                }
            }
        }
    }

    fn said(&mut self, said: Said) {
        match said {
            Said::Synchronising { how: How::Snap, .. } => self.tally.snaps += 1,
            Said::Synchronising { how: How::Trunc(_), .. } => self.tally.truncs += 1,
            Said::Synchronising { how: How::Diff, .. } => self.tally.diffs += 1,
            Said::Looking {
                why: why @ (Why::Gap { .. } | Why::Protocol(_)),
                ..
            } => {
                panic!("T-03: a leader's stream was refused: {why}")
            }
            Said::Dropped { why, .. }
                if why.contains("turn") || why.contains("acknowledge") && !why.contains("too long") =>
            {
                panic!("T-06: a learner was refused: {why}")
            }
            _ => {}
        }
    }

    fn serve(&mut self, server: usize, serving: Serving, inputs: &mut VecDeque<Input>) {
        self.servers[server].serves = serving;
        let applied = self.servers[server].applied;
        match serving {
            Serving::Nobody => {
                let mut told = Vec::new();
                inputs.extend(self.servers[server].core().end_all(&mut told));
                self.tell(server, told);
            }
            Serving::AsLeader(epoch) => {
                // For so long a leader may hear nothing of its quorum, and a tick until it looks.
                let settings = settings(server, self.voter_count, self.tick_ms, None);
                let patience_ms = settings.zab.sync_ms() + self.tick_ms;
                let spoke =
                    |voter: &usize| *voter == server || self.now_ms - self.said_ms[*voter][server] <= patience_ms;
                let has_quorum = (0..self.voter_count).filter(spoke).count() > self.voter_count / 2;
                self.tally.overtaken += self.check.leads(server, epoch, applied, has_quorum, &self.servers) as usize;
                self.servers[server].sessions.begin(self.now_ms);
            }
            Serving::AsFollower(_) | Serving::AsObserver(_) => self.check.shows(server, applied),
        }
        // A word of a connection that was closed with the last leader comes late.
        if let (true, Some(stale)) = (self.random.chance(30), self.servers[server].core().stale.take()) {
            inputs.push_back(Input::Write(stale));
        }
    }

    /// Transactions become visible, in one version.
    fn publish(&mut self, server: usize, published: Published) {
        let totals = published.version.totals;
        let host = &mut self.servers[server];
        let entries = host.disk.between(host.applied.zxid, totals.zxid);
        for proposal in &entries {
            let host = &mut self.servers[server];
            let before = host.applied;
            host.applied.apply(proposal);
            host.delivered_count += 1;
            self.check.delivers(server, before, proposal, &self.servers);
        }
        let host = &mut self.servers[server];
        let applied = host.applied;
        assert!(
            applied.zxid == totals.zxid || totals.zxid.counter() == 0,
            "Z1: server {server} shows {} and has {}",
            totals.zxid,
            applied.zxid
        );
        self.check.digests(server, totals.zxid, totals.digest);
        let mut told = Vec::new();
        let leads = host.leads();
        for answered in published.answers.iter().filter(|_| leads) {
            if let Answer::Opened { session } = answered.answer {
                host.sessions.is_here(session);
            }
        }
        host.core().publish(published, &mut told);
        if !entries.is_empty()
            && host.delivered_count / SNAPSHOT_EVERY != (host.delivered_count - entries.len()) / SNAPSHOT_EVERY
        {
            let view = host.view().clone();
            host.disk.image.snapshot(applied, view);
        }
        if let Some(member) = &mut host.member {
            member.reclaim(64);
        }
        self.tell(server, told);
    }

    // Disks.

    fn store(&mut self, server: usize, mark: Mark, what: Store, inputs: &mut VecDeque<Input>) {
        if let Store::Truncate(keeps) | Store::Install(keeps, _) = what {
            let to_be = self.servers[server].disk.to_be();
            self.check.removes(server, keeps, &to_be, &self.servers);
        }
        let host = &mut self.servers[server];
        let installed = matches!(what, Store::Install(..)).then(|| host.received.expect("a state came with SNAP"));
        if let Some(installed) = installed {
            host.applied = installed;
        }
        let leads = match host.serves {
            Serving::AsLeader(epoch) => Some(epoch),
            _ => None,
        };
        if let (Some(epoch), Store::Append(proposal)) = (leads, &what) {
            self.check.proposes(server, epoch, proposal);
            self.turn(server, proposal);
        }
        let lies = match (self.bug, &what) {
            (Some(Bug::AckBeforeDurable), Store::Append(_)) => leads.is_none(),
            (Some(Bug::SelfAckBeforeDurable), Store::Append(_)) => leads.is_some(),
            (Some(Bug::NewLeaderAckBeforeDurable), Store::CurrentEpoch(_)) => true,
            _ => false,
        };
        let host = &mut self.servers[server];
        host.disk.submit(Stored { mark, what, installed });
        if lies {
            host.told = mark;
            inputs.push_back(Input::Durable(mark));
        }
        self.sync(server);
    }

    /// C12: sessions begin, and end by themselves, at their leader.
    fn turn(&mut self, server: usize, proposal: &Proposal) {
        let sessions = &mut self.servers[server].sessions;
        match expiry::turn(proposal) {
            Some(Turn::Begins(session, timeout_ms)) => {
                self.timeouts.insert(session, timeout_ms);
                sessions.attach(session, false, self.now_ms);
            }
            Some(Turn::Expires(session)) => {
                sessions.expires(session, self.timeouts[&session], self.tick_ms, self.now_ms);
            }
            None => {}
        }
    }

    fn sync(&mut self, server: usize) {
        let life = self.life(server);
        if let Some(took_ms) = self.servers[server].disk.sync(&mut self.random) {
            self.at(took_ms, Event::Synced(life));
        }
    }

    fn synced(&mut self, server: usize) {
        let host = &mut self.servers[server];
        let mark = host.disk.synced();
        self.sync(server);
        let host = &mut self.servers[server];
        if mark > host.told {
            host.told = mark;
            self.feed(server, Input::Durable(mark));
        }
    }
}
