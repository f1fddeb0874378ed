//! Who says what to whom: election mail and connections at work, on the network's terms (`network.rs`).
//!
//! Every message is looked at when it leaves: what an acknowledgement or a promise says must be on the sender's disk.

use ringkeeper::base::Zxid;
use ringkeeper::replica::member::{Input, Packet};
use ringkeeper::tree::apache::{self, Building};
use ringkeeper::tree::{Tree, View};
use ringkeeper::zab::{FromLeader, FromLearner, Link, Message, Notification, Serving};
use storage::apache::snapshot;

use super::check::Applied;
use super::network::{Life, Parcel};
use super::server::{Work, features, id};
use super::world::{Event, World};

/// A dial into a cut is given up after so long.
const DIAL_MS: u64 = 1000;

impl World {
    pub fn post(&mut self, from: usize, to: usize, notification: Notification) {
        if self.random.chance(self.network.loss_percent) {
            return;
        }
        if self.random.chance(self.network.ghost_percent) {
            let late_ms = self.random.below(10 * self.tick_ms as usize) as u64;
            self.at(late_ms, Event::Ghost(from, to, notification));
        }
        let awaited = self.network.mail[from][to].replace(notification).is_some();
        if !awaited {
            let delay = self.delay();
            self.at(delay, Event::Mail(from, to));
        }
    }

    pub fn mail(&mut self, from: usize, to: usize) {
        if self.network.cut[from][to] {
            // It stays, as the newest word, until the cut heals.
            return;
        }
        let Some(notification) = self.network.mail[from][to].take() else {
            return;
        };
        if self.servers[to].is_up() {
            self.feed(to, Input::Notified(id(from), notification));
        } else {
            let (life, delay) = (self.life(from), self.delay());
            self.at(delay, Event::Gone(life, to));
        }
    }

    pub fn dial(&mut self, from: Life, to: usize) {
        let cut = self.network.cut[from.0][to] || self.network.cut[to][from.0];
        if cut || self.servers[to].paused {
            self.at(DIAL_MS, Event::NotConnected(from, to));
        } else if !self.servers[to].is_up() {
            self.at(1, Event::NotConnected(from, to));
        } else {
            let link = self.network.connect(from, self.life(to));
            self.feed(to, Input::Accepted(link));
            self.feed(from.0, Input::Connected(id(to), link));
        }
    }

    pub fn send(&mut self, server: usize, link: Link, packet: Packet) {
        let Some(end) = self.network.end_of(link, server) else {
            return;
        };
        let there = self.network.connections[&link].ends[1 - end].0;
        self.said_ms[server][there] = self.now_ms;
        let state = match &packet {
            Packet::Zab(message) => {
                self.leaves(server, link, message);
                None
            }
            Packet::Revalidated { session, valid: true } => {
                self.servers[server].sessions.attach(*session, false, self.now_ms);
                None
            }
            Packet::Snap(zxid, _) => Some(self.state_at(server, *zxid)),
            _ => None,
        };
        self.put(link, end, Parcel::Packet(packet, state));
    }

    /// A message is about to leave: what it says must be true.
    pub fn leaves(&mut self, server: usize, link: Link, message: &Message) {
        let image = &self.servers[server].disk.image;
        match message {
            Message::FromLearner(FromLearner::Ack(zxid)) => self.check.acknowledges(server, *zxid, image),
            Message::FromLearner(FromLearner::AckEpoch { .. }) => {
                let accepted = self.servers[server].member().node().ledger().accepted();
                self.check.promises(server, accepted, image);
            }
            Message::FromLeader(FromLeader::Info(epoch)) => self.check.promises(server, *epoch, image),
            Message::FromLeader(FromLeader::NewLeader(epoch)) => {
                let node = self.servers[server].member().node();
                if !matches!(node.serving(), Serving::AsLeader(_)) {
                    let last = node.ledger().last();
                    let first = self.state_at(server, last);
                    self.check.begins(server, *epoch, first);
                }
            }
            _ => {}
        }
        assert!(self.network.connections.contains_key(&link));
    }

    /// The state that a SNAP carries: what clients see, and, before there is a quorum, the log behind it.
    pub fn state_at(&mut self, server: usize, zxid: Zxid) -> Applied {
        let host = &self.servers[server];
        let mut state = host.applied;
        for entry in &host.disk.between(state.zxid, zxid) {
            self.check.reaches(state, entry);
            state.apply(entry);
        }
        // The zxid that an epoch begins with is no transaction's.
        assert!(
            state.zxid == zxid || zxid.counter() == 0,
            "the state of a SNAP: {} is not {zxid}",
            state.zxid
        );
        state
    }

    pub fn put(&mut self, link: Link, end: usize, parcel: Parcel) {
        let delay = self.delay();
        let passes = self.network.passes(link, end);
        let lane = &mut self.network.connections.get_mut(&link).expect("it is there").lanes[end];
        let before_ms = lane.queue.back().map_or(0, |(at_ms, _)| *at_ms);
        let at_ms = (self.now_ms + delay).max(before_ms);
        lane.queue.push_back((at_ms, parcel));
        if passes && !lane.awaited {
            lane.awaited = true;
            self.at(at_ms - self.now_ms, Event::Pump(link, end));
        }
    }

    /// Hands over what has arrived from one end of a connection.
    pub fn pump(&mut self, link: Link, end: usize) {
        if let Some(connection) = self.network.connections.get_mut(&link) {
            connection.lanes[end].awaited = false;
        }
        while let Some(connection) = self.network.connections.get_mut(&link) {
            let queue = &mut connection.lanes[end].queue;
            let Some((at_ms, _)) = queue.front() else { break };
            let at_ms = *at_ms;
            if !self.network.passes(link, end) {
                return;
            }
            let connection = self.network.connections.get_mut(&link).expect("it is there");
            if at_ms > self.now_ms {
                connection.lanes[end].awaited = true;
                self.at(at_ms - self.now_ms, Event::Pump(link, end));
                return;
            }
            let (_, parcel) = connection.lanes[end].queue.pop_front().expect("it was just seen");
            self.hand_over(link, end, parcel);
        }
    }

    pub fn hand_over(&mut self, link: Link, end: usize, parcel: Parcel) {
        let connection = self.network.connections.get_mut(&link).expect("it is there");
        let receiver = connection.ends[1 - end];
        if !connection.open[1 - end] {
            // Sent to an end that is gone: the sender is told, once it can be.
            if connection.open[end] && matches!(parcel, Parcel::Packet(..)) && self.servers[receiver.0].is_up() {
                self.put(link, 1 - end, Parcel::End);
            }
            return;
        }
        match parcel {
            Parcel::End => {
                connection.open[1 - end] = false;
                if connection.open == [false, false] {
                    self.network.connections.remove(&link);
                }
                self.feed(receiver.0, Input::Closed(link));
            }
            Parcel::Packet(packet, state) => self.arrived(receiver.0, link, packet, state),
        }
    }

    fn arrived(&mut self, server: usize, link: Link, packet: Packet, state: Option<Applied>) {
        let input = match packet {
            Packet::Zab(Message::FromLeader(message)) => Input::FromLeader(link, message),
            Packet::Zab(Message::FromLearner(message)) => Input::FromLearner(link, self.learner_says(message)),
            Packet::Snap(zxid, view) => {
                let tree = through_a_stream(&view, zxid);
                return self.work(server, Work::Input(Input::Snap(link, zxid, Box::new(tree)), state));
            }
            Packet::Ping(touched) => {
                self.feed(server, Input::Touched(link, touched));
                Input::FromLearner(link, FromLearner::Ping)
            }
            Packet::Revalidate(touch) => Input::Revalidate(link, touch),
            Packet::Revalidated { session, valid } => Input::Revalidated { link, session, valid },
        };
        self.feed(server, input);
    }

    /// A server closes its end, or its machine does so for it.
    pub fn hang_up(&mut self, link: Link, server: usize, tells: bool) {
        let Some(end) = self.network.end_of(link, server) else {
            return;
        };
        let connection = self.network.connections.get_mut(&link).expect("it is there");
        connection.open[end] = false;
        if connection.open == [false, false] {
            self.network.connections.remove(&link);
        } else if tells {
            self.put(link, end, Parcel::End);
        }
    }

    /// A connection is reset: both ends learn of it at once, and what was on its way is gone.
    pub fn reset(&mut self, link: Link) {
        let Some(connection) = self.network.connections.remove(&link) else {
            return;
        };
        for end in (0..2).filter(|end| connection.open[*end]) {
            let life = connection.ends[end];
            if self.lives(life) {
                self.feed(life.0, Input::Closed(link));
            }
        }
    }

    /// Cuts have changed: what waits goes on.
    pub fn look_again(&mut self) {
        let mut waiting = Vec::new();
        for (link, connection) in &self.network.connections {
            for end in 0..2 {
                let lane = &connection.lanes[end];
                if !lane.awaited && !lane.queue.is_empty() && self.network.passes(*link, end) {
                    waiting.push((*link, end));
                }
            }
        }
        for (link, end) in waiting {
            self.network.connections.get_mut(&link).expect("it is there").lanes[end].awaited = true;
            let delay = self.delay();
            self.at(delay, Event::Pump(link, end));
        }
        for from in 0..self.servers.len() {
            for to in 0..self.servers.len() {
                if self.network.mail[from][to].is_some() {
                    let delay = self.delay();
                    self.at(delay, Event::Mail(from, to));
                }
            }
        }
    }
}

/// As SNAP carries a state.
fn through_a_stream(view: &View, zxid: Zxid) -> Tree {
    let begin = |sessions| snapshot::Writer::stream(Vec::new(), sessions);
    let writer = apache::write(view, begin, &mut |_| {}).expect("it goes into memory");
    let bytes = writer.finish_stream().expect("it goes into memory");
    let mut reader = snapshot::Reader::stream(&bytes[..]).expect("it was just written");
    let mut building = Building::new(7, features());
    building
        .read(&mut reader, zxid, &mut |_| {})
        .expect("it was just written");
    reader.finish().expect("it was just written");
    building.finish(zxid).expect("it is a tree").tree
}
