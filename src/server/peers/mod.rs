//! The other servers of the ensemble, as sockets: the election port and the quorum port, on the loop of the writer.
//!
//! Nothing is decided here. What comes is put into the writer's inbox as the member's inputs; what the member wants
//! sent, dialled and closed is done. Whoever dials the quorum port while nobody leads waits at the door for a moment:
//! the winner of an election is dialled as soon as its voters know, which may be before it knows itself.

pub mod election;
pub mod grumble;
pub mod link;
pub mod snap;
pub mod words;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use self::election::Election;
use self::grumble::Grumble;
use self::link::{Side, Wire};
use crate::base::ServerId;
use crate::io::{PeerListener, peer};
use crate::replica::member::{Input, Packet};
use crate::server::message::{LearnerReport, ToWriter};
use crate::server::options::Ensemble;
use crate::server::shared::Shared;
use crate::zab::{Link, Notification, State};

/// Connections that wait at the door at most, and for how long.
const DOOR_MAX: usize = 64;
const DOOR_MS: u64 = 5000;

/// Learners that have not said who they are, at most.
const UNKNOWN_MAX: usize = 128;

/// Both ports, bound before any loop runs.
pub struct Listeners {
    /// Notifications.
    pub election: Vec<PeerListener>,
    /// A leader's learners.
    pub quorum: Vec<PeerListener>,
}

impl Listeners {
    /// Binds the ports of the own `server.N` line. A port that is taken is tried again, as
    /// `electionPortBindRetry` says: it may be the last run's.
    ///
    /// # Errors
    /// Which address, and why.
    pub fn bind(ensemble: &Ensemble) -> Result<Listeners, (String, std::io::Error)> {
        let own = ensemble.member(ensemble.me);
        let bind = |hosts: Vec<(String, u16)>| {
            let one = |(host, port): (String, u16)| {
                bind_again(&host, port, ensemble).map_err(|error| (format!("{host}:{port}"), error))
            };
            hosts.into_iter().map(one).collect::<Result<Vec<PeerListener>, _>>()
        };
        Ok(Listeners {
            election: bind(own.election_hosts())?,
            quorum: bind(own.quorum_hosts())?,
        })
    }
}

/// Between two attempts to bind a port.
const BIND_AGAIN: Duration = Duration::from_secs(1);

fn bind_again(host: &str, port: u16, ensemble: &Ensemble) -> std::io::Result<PeerListener> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match PeerListener::bind(host, port, ensemble.everywhere) {
            Err(error) if ensemble.bind_retries == 0 || attempts < ensemble.bind_retries => {
                tracing::warn!(host, port, %error, "a port for other servers cannot be bound; it is tried again");
                std::thread::sleep(BIND_AGAIN);
            }
            bound => return bound,
        }
    }
}

/// The other servers.
pub struct Peers {
    shared: Arc<Shared>,
    ensemble: Arc<Ensemble>,
    election: Rc<Election>,
    wires: RefCell<HashMap<Link, Rc<Wire>>>,
    next: Cell<u64>,
    /// Who dialled while nobody led.
    door: RefCell<Vec<(TcpStream, SocketAddr, u64)>>,
    grumble: Rc<Grumble>,
}

impl Peers {
    /// Listens from now on.
    pub fn start(shared: &Arc<Shared>, ensemble: &Arc<Ensemble>, listeners: Listeners, own: Notification) -> Rc<Peers> {
        let election = Election::new(Arc::clone(shared), Arc::clone(ensemble), own);
        let peers = Rc::new(Peers {
            shared: Arc::clone(shared),
            ensemble: Arc::clone(ensemble),
            election,
            wires: RefCell::default(),
            next: Cell::new(1),
            door: RefCell::default(),
            grumble: Rc::new(Grumble::new("quorum port", shared.clock)),
        });
        for listener in listeners.election {
            peers.election.listen(listener);
        }
        for listener in listeners.quorum {
            let peers = Rc::clone(&peers);
            tokio::task::spawn_local(async move {
                let keep_alive = peers.ensemble.keep_alive;
                let each = |stream, from| peers.accepted(stream, from);
                if let Err(error) = listener.accept_each(keep_alive, each).await {
                    crate::server::serve::fatal("the quorum port", &error);
                }
            });
        }
        peers
    }

    /// What this server is doing now, as it tells others: it decides about those at the door.
    pub fn set_own(&self, own: Notification) {
        let (before, state) = (self.election.state(), own.state);
        self.election.set_own(own);
        if state == before || state == State::Looking {
            return;
        }
        let waiting = std::mem::take(&mut *self.door.borrow_mut());
        if state == State::Leading {
            waiting
                .into_iter()
                .for_each(|(stream, from, _)| self.admit(stream, from));
        }
    }

    /// Puts a notification into its peer's slot.
    pub fn notify(&self, to: ServerId, notification: Notification) {
        self.election.notify(to, notification);
    }

    /// Dials a peer's quorum port.
    pub fn connect(self: &Rc<Peers>, to: ServerId) {
        let peers = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let Some(member) = peers.ensemble.find(to) else {
                return peers.shared.writer.send(ToWriter::Member(Input::NotConnected(to)));
            };
            let limit = Duration::from_millis(peers.ensemble.connect_ms);
            let dialled = peer::dial(&member.quorum_hosts(), limit, peers.ensemble.keep_alive).await;
            match dialled.and_then(|stream| Ok((stream.peer_addr()?, stream))) {
                Ok((from, stream)) => {
                    let link = peers.wire(Side::Learner, stream, from);
                    peers.shared.writer.send(ToWriter::Member(Input::Connected(to, link)));
                }
                Err(error) => {
                    tracing::debug!(peer = to.0, %error, "the quorum port cannot be reached");
                    peers.shared.writer.send(ToWriter::Member(Input::NotConnected(to)));
                }
            }
        });
    }

    /// Sends a packet; a connection that is gone takes nothing.
    pub fn send(&self, link: Link, packet: Packet) {
        if let Some(wire) = self.wires.borrow().get(&link) {
            wire.send(packet);
        }
    }

    /// Closes a connection.
    pub fn close(&self, link: Link) {
        if let Some(wire) = self.wires.borrow_mut().remove(&link) {
            wire.close();
        }
    }

    /// A connection that ended by itself is forgotten.
    pub fn forget(&self, link: Link) {
        self.wires.borrow_mut().remove(&link);
    }

    /// Says why a connection is about to be closed.
    pub fn refuse(&self, link: Link, why: &dyn std::fmt::Display) {
        if let Some(wire) = self.wires.borrow().get(&link) {
            self.grumble.say(wire.from.ip(), why);
        }
    }

    /// The learners that are connected, each with whether it was told that it is in step.
    pub fn learners(&self) -> Vec<(LearnerReport, bool)> {
        let wires = self.wires.borrow();
        let learner = |wire: &Rc<Wire>| {
            let (server, observer) = wire.learner.get()?;
            let from = wire.from;
            Some((LearnerReport { server, observer, from }, wire.synced.get()))
        };
        let mut learners: Vec<_> = wires.values().filter_map(learner).collect();
        learners.sort_by_key(|(learner, _)| learner.server);
        learners
    }

    /// The other end's address, for people.
    pub fn name(&self, link: Link) -> String {
        let wires = self.wires.borrow();
        wires
            .get(&link)
            .map_or_else(|| format!("{link:?}"), |wire| wire.from.to_string())
    }

    fn accepted(&self, stream: TcpStream, from: SocketAddr) {
        match self.election.state() {
            State::Leading => self.admit(stream, from),
            State::Looking => {
                let (mut door, now_ms) = (self.door.borrow_mut(), self.shared.clock.ms());
                door.retain(|(_, _, since_ms)| now_ms < since_ms + DOOR_MS);
                if door.len() >= DOOR_MAX {
                    let (_, oldest, _) = door.remove(0);
                    self.grumble.say(oldest.ip(), &"too many others wait for a leader");
                }
                door.push((stream, from, now_ms));
            }
            // It is told at once that nobody leads here, and looks again.
            State::Following | State::Observing => {}
        }
    }

    fn admit(&self, stream: TcpStream, from: SocketAddr) {
        self.make_room();
        let link = self.wire(Side::Leader, stream, from);
        self.shared.writer.send(ToWriter::Member(Input::Accepted(link)));
    }

    /// Of those who have not said who they are, the oldest goes when they are too many.
    fn make_room(&self) {
        let mut wires = self.wires.borrow_mut();
        let unknown = |wire: &&Rc<Wire>| wire.is_unknown();
        let (count, oldest) = (
            wires.values().filter(unknown).count(),
            wires.values().filter(unknown).map(|wire| wire.link).min(),
        );
        if let Some(wire) = oldest
            .filter(|_| count >= UNKNOWN_MAX)
            .and_then(|link| wires.remove(&link))
        {
            self.grumble
                .say(wire.from.ip(), &"it does not say who it is, and others come");
            wire.close();
            self.shared.writer.send(ToWriter::Member(Input::Closed(wire.link)));
        }
    }

    fn wire(&self, side: Side, stream: TcpStream, from: SocketAddr) -> Link {
        let link = Link(self.next.get());
        self.next.set(link.0 + 1);
        let wire = Wire::start(link, side, stream, from, &self.shared, &self.ensemble, &self.grumble);
        self.wires.borrow_mut().insert(link, wire);
        link
    }
}
