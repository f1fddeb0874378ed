//! The ensemble, its network and its clients in one queue of events: virtual time, one thread, one seed.
//!
//! An event is handled completely before the next, and everything that is random comes from the seed's generator, so
//! a seed is a history. Every input and output goes into a hash, which is the same whenever the seed is run again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use ringkeeper::base::Zxid;
use ringkeeper::zab::{Event as Told, How, Input, Link, Mark, Node, Output, Proposal, Serving, Store, Why};

use super::bug::Bug;
use super::check::{Applied, Checker, mix};
use super::client::Client;
use super::disk::{Image, Stored};
use super::faults::Fault;
use super::network::{Life, Network};
use super::random::Random;
use super::server::{Server, id, place, settings};

/// A server takes a snapshot of its own each time it has delivered so many transactions.
const SNAPSHOT_EVERY: usize = 60;

/// Something that will happen.
pub enum Event {
    Wake(Life),
    Synced(Life),
    Mail(usize, usize),
    Gone(Life, usize),
    Dial(Life, usize),
    NotConnected(Life, usize),
    Pump(Link, usize),
    Fault(Fault),
    Ask(usize),
    Answer(usize, u64, Zxid),
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
    pub converged_ms: u64,
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
    /// A client's pause, in ms.
    pub think_ms: usize,
    pub tally: Tally,
    pub bug: Option<Bug>,
    /// Whether nothing breaks any more.
    pub is_calm: bool,
    /// Whether every step is printed.
    pub loud: bool,
    hash: Mixer,
}

/// The trace's hash.
#[derive(Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = mix(self.0, word);
    }
    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }
    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
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
            clients: (0..3).map(|_| Client::default()).collect(),
            think_ms: random.of(&[100, 300, 600]),
            random,
            tally: Tally::default(),
            bug,
            is_calm: false,
            loud: false,
            hash: Mixer(seed),
        };
        for server in 0..server_count {
            world.start(server);
        }
        for client in 0..world.clients.len() {
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

    /// What the run amounts to.
    pub fn finish(mut self) -> Tally {
        self.check.once();
        self.tally.trace = self.hash.finish();
        self.tally.virtual_ms = self.now_ms;
        self.tally.decided = self.check.decided_count();
        self.tally.epochs = self.check.epoch_count();
        self.tally
    }

    pub fn delay(&mut self) -> u64 {
        1 + self.random.below(self.network.delay_ms) as u64
    }

    fn lives(&self, life: Life) -> bool {
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
                self.feed(life.0, Input::Tick, None);
            }
            Event::Synced(life) if self.lives(life) => self.synced(life.0),
            Event::Mail(from, to) => self.mail(from, to),
            Event::Gone(life, about) if self.lives(life) => self.feed(life.0, Input::Gone(id(about)), None),
            Event::Dial(life, to) if self.lives(life) => self.dial(life, to),
            Event::NotConnected(life, to) if self.lives(life) => self.feed(life.0, Input::NotConnected(id(to)), None),
            Event::Pump(link, end) => self.pump(link, end),
            Event::Fault(fault) => self.fault(fault),
            Event::Ask(client) if client < self.clients.len() => self.ask(client),
            Event::Answer(client, operation, zxid) if client < self.clients.len() => {
                self.answer(client, operation, zxid)
            }
            _ => {}
        }
    }

    // Servers.

    /// Starts a server with what its disk holds.
    pub fn start(&mut self, server: usize) {
        let settings = settings(server, self.voter_count, self.tick_ms, self.bug);
        let host = &mut self.servers[server];
        if host.is_up() {
            return;
        }
        self.check.recovers(server, &host.disk.image);
        host.life += 1;
        host.told = Mark(0);
        host.applied = host.disk.image.base;
        let (node, outputs) = Node::start(settings, host.disk.image.recovered(), self.now_ms)
            .unwrap_or_else(|error| panic!("server {server} cannot start: {error}"));
        host.node = Some(node);
        self.obey(server, outputs, &mut VecDeque::new());
        self.order_wake(server);
    }

    /// Kills a server; its peers learn of it, unless power failed.
    pub fn crash(&mut self, server: usize, tells: bool) {
        if !self.servers[server].is_up() {
            return;
        }
        self.tally.crashes += 1;
        self.servers[server].stop();
        self.servers[server].disk.crash(&mut self.random);
        for link in self.network.of(server) {
            self.hang_up(link, server, tells);
        }
        self.network.mail[server].fill(None);
    }

    pub fn pause(&mut self, server: usize) {
        self.servers[server].paused = self.servers[server].is_up();
    }

    pub fn resume(&mut self, server: usize) {
        self.servers[server].paused = false;
        while let Some((input, state)) = self.servers[server].backlog.pop_front() {
            self.feed(server, input, state);
        }
    }

    /// Hands an input to a core, and does what it says.
    pub fn feed(&mut self, server: usize, input: Input, state: Option<Applied>) {
        let host = &mut self.servers[server];
        if host.paused {
            host.backlog.push_back((input, state));
            return;
        }
        host.received = state;
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(node) = &mut self.servers[server].node else {
                return;
            };
            (server, &input).hash(&mut self.hash);
            if self.loud {
                println!("{:>8} {} ← {input:?}", self.now_ms, server + 1);
            }
            self.tally.steps += 1;
            let outputs = node.step(input, self.now_ms);
            self.obey(server, outputs, &mut inputs);
        }
        self.order_wake(server);
    }

    fn order_wake(&mut self, server: usize) {
        let life = self.life(server);
        let host = &mut self.servers[server];
        let deadline_ms = host.node.as_ref().expect("it runs").deadline_ms();
        if deadline_ms < host.wake_ms {
            host.wake_ms = deadline_ms;
            self.at(deadline_ms.saturating_sub(self.now_ms), Event::Wake(life));
        }
    }

    fn obey(&mut self, server: usize, outputs: Vec<Output>, inputs: &mut VecDeque<Input>) {
        outputs.hash(&mut self.hash);
        let mut outputs = VecDeque::from(self.twist(outputs));
        while let Some(output) = outputs.pop_front() {
            if self.loud && !matches!(output, Output::Notify { .. }) {
                println!("{:>8} {} → {output:?}", self.now_ms, server + 1);
            }
            match output {
                Output::Notify { to, notification } => self.post(server, place(to), notification),
                Output::Connect(to) => {
                    let (life, delay) = (self.life(server), self.delay());
                    self.at(delay, Event::Dial(life, place(to)));
                }
                Output::Close(link) => self.hang_up(link, server, true),
                Output::Send { link, message } => self.send(server, link, message),
                Output::Store { mark, store } => self.store(server, mark, store, inputs),
                Output::Deliver(proposal) => self.deliver(server, &proposal),
                Output::Serving(serving) => self.serve(server, serving),
                Output::Request { request, .. } => self.propose(server, request, inputs),
                Output::Synced => {}
                Output::Event(told) => self.told(told),
            }
        }
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Synchronising { how: How::Snap, .. } => self.tally.snaps += 1,
            Told::Synchronising { how: How::Trunc(_), .. } => self.tally.truncs += 1,
            Told::Synchronising { how: How::Diff, .. } => self.tally.diffs += 1,
            Told::Looking {
                why: why @ (Why::Gap { .. } | Why::Protocol(_)),
                ..
            } => {
                panic!("T-03: a leader's stream was refused: {why}")
            }
            Told::Dropped { why, .. }
                if why.contains("turn") || why.contains("acknowledge") && !why.contains("too long") =>
            {
                panic!("T-06: a learner was refused: {why}")
            }
            _ => {}
        }
    }

    fn serve(&mut self, server: usize, serving: Serving) {
        let applied = self.servers[server].applied;
        match serving {
            Serving::Nobody => self.servers[server].asked.clear(),
            Serving::AsLeader(epoch) => {
                let images: Vec<&Image> = self.servers.iter().map(|host| &host.disk.image).collect();
                self.check.leads(server, epoch, applied, &images);
            }
            Serving::AsFollower(_) | Serving::AsObserver(_) => self.check.shows(server, applied),
        }
    }

    fn deliver(&mut self, server: usize, proposal: &Proposal) {
        let host = &mut self.servers[server];
        let before = host.applied;
        host.applied.apply(proposal);
        host.delivered_count += 1;
        let applied = host.applied;
        let images: Vec<&Image> = self.servers.iter().map(|host| &host.disk.image).collect();
        self.check.delivers(server, before, proposal, &images);
        let host = &mut self.servers[server];
        if host.delivered_count.is_multiple_of(SNAPSHOT_EVERY) {
            host.disk.image.snapshot(applied);
        }
        let operation = super::check::id_of(proposal);
        if let Some(client) = host.asked.remove(&operation) {
            let delay = self.delay();
            self.at(delay, Event::Answer(client, operation, proposal.zxid));
        }
    }

    pub fn propose(&mut self, server: usize, txn: Bytes, inputs: &mut VecDeque<Input>) {
        let host = &self.servers[server];
        let Serving::AsLeader(epoch) = host.serving() else {
            return;
        };
        // Several requests of one step are numbered before the first of them is proposed.
        let waiting = inputs
            .iter()
            .filter(|input| matches!(input, Input::Propose(..)))
            .count() as u64;
        let last = host.node.as_ref().expect("it runs").ledger().last().max(epoch.zxid());
        let zxid = Zxid(last.0 + 1 + waiting);
        let proposal = Proposal { zxid, txn };
        self.check.proposes(server, epoch, &proposal);
        inputs.push_back(Input::Propose(zxid, proposal.txn));
    }

    // Disks.

    fn store(&mut self, server: usize, mark: Mark, what: Store, inputs: &mut VecDeque<Input>) {
        if let Store::Truncate(keeps) | Store::Install(keeps) = what {
            let images: Vec<&Image> = self.servers.iter().map(|host| &host.disk.image).collect();
            let to_be = self.servers[server].disk.to_be();
            self.check.removes(server, keeps, &to_be, &images);
        }
        let host = &mut self.servers[server];
        let installed = matches!(what, Store::Install(_)).then(|| host.received.expect("a state came with SNAP"));
        if let Some(installed) = installed {
            host.applied = installed;
        }
        let leads = matches!(host.serving(), Serving::AsLeader(_));
        let lies = match (self.bug, &what) {
            (Some(Bug::AckBeforeDurable), Store::Append(_)) => !leads,
            (Some(Bug::SelfAckBeforeDurable), Store::Append(_)) => leads,
            (Some(Bug::NewLeaderAckBeforeDurable), Store::CurrentEpoch(_)) => true,
            _ => false,
        };
        host.disk.submit(Stored { mark, what, installed });
        if lies {
            host.told = mark;
            inputs.push_back(Input::Durable(mark));
        }
        self.sync(server);
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
            self.feed(server, Input::Durable(mark), None);
        }
    }
}
