//! The election port: one connection for each pair of servers, and on it the newest notification (`QuorumCnxManager`).
//!
//! Who dials a server with a larger number introduces itself, hangs up and is dialled back: of two connections the one
//! survives that the larger dialled. Each peer has one slot; a notification takes the place of one that has not left.
//! A new connection begins with the slot, or with what was sent last: the old connection may have lost it (traps.md
//! T-72). Nobody waits for anybody else: every dial and every introduction is a task with a limit of its own.
//!
//! A refused dial says that the peer is down, and is told at once, so that an election does not wait for the dead. Nothing
//! else says it: who hangs up may only be about to dial back. So a connection that ends by itself is dialled for.
//!
//! Who claims the number of a peer that is connected waits until that connection has ended, or has proved to be alive: of
//! two servers with one number the second one costs the first nothing. A peer that starts again has closed its old
//! connection; one behind a network that lost it acknowledges nothing.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::grumble::Grumble;
use crate::base::ServerId;
use crate::io::{PeerListener, peer};
use crate::replica::member::Input;
use crate::server::message::ToWriter;
use crate::server::options::Ensemble;
use crate::server::shared::Shared;
use crate::wire::election::{self, Address, Initial, InitialMessage, SenderState};
use crate::wire::frame::Front;
use crate::zab::{Notification, State, Vote};

/// How often an unsent notification is dialled for, and how long apart: doubled each time up to the last.
const ATTEMPTS: u32 = 12;
const AGAIN_MS: u64 = 5;
const AGAIN_MS_MAX: u64 = 2000;

/// How long a larger peer may take to hang up on who introduced itself, and then to dial back, before it is introduced
/// to again. Often it has died with connections in its backlog.
const HANG_UP_MS: u64 = 1000;
const DIAL_BACK_MS: u64 = 50;

/// How long a connection is given to end, or to acknowledge what is sent for a proof; and how long a proof is waited for.
const PROOF_MS: u64 = 250;
const PROOF_MS_MAX: u64 = 1000;

/// A connection that the peer ended is dialled for after so long: the one that takes its place may be a moment behind.
/// And not more often than once in so long: on a Java server two with one number take each other's connections away.
/// Doubled, up to so many times, while connections end so soon that nothing is heard on them.
const REPLACED_MS: u64 = 2;
const LASTING_MS: u64 = 200;
const DOUBLED_MAX: u32 = 5;

/// Introductions under way at most; of more, the oldest is hung up on: who lives has long said who it is.
const INTRODUCTIONS_MAX: usize = 128;

/// All peers' connections.
pub struct Election {
    shared: Arc<Shared>,
    ensemble: Arc<Ensemble>,
    peers: BTreeMap<ServerId, Rc<Peer>>,
    /// Each is rung to end it.
    introductions: RefCell<VecDeque<Rc<Notify>>>,
    /// What this server would say now.
    own: Cell<Notification>,
    grumble: Grumble,
}

/// One peer.
struct Peer {
    id: ServerId,
    /// What has not left yet.
    slot: RefCell<Option<Notification>>,
    /// What left last.
    last: RefCell<Option<Notification>>,
    /// Rung when the slot is filled.
    filled: Notify,
    /// Rung when there is a new connection.
    adopted: Notify,
    current: RefCell<Option<Rc<Connection>>>,
    /// Rung when the current connection ended by itself, and when it proved to be alive.
    ended: Notify,
    alive: Notify,
    dialling: Cell<bool>,
    /// Connections in a row that ended soon, since something was heard.
    short: Cell<u32>,
    /// Rung to dial again at once.
    hurry: Notify,
}

/// One connection.
#[derive(Default)]
struct Connection {
    /// Rung to end it.
    replaced: Notify,
    /// Rung to have it proved.
    doubted: Notify,
}

impl Peer {
    /// Whether the current connection, if there is one, leads to somebody: it is given a moment to end.
    async fn is_alive(&self) -> bool {
        let current = self.current.borrow().clone();
        let Some(current) = current else { return false };
        current.doubted.notify_one();
        let proof = async {
            tokio::select! {
                () = self.ended.notified() => false,
                () = self.alive.notified() => true,
            }
        };
        let limit = Duration::from_millis(PROOF_MS_MAX);
        timeout(limit, proof).await.unwrap_or(false)
    }

    /// What was said in an election that is over goes unsaid.
    fn drop_stale(&self) {
        self.slot
            .borrow_mut()
            .take_if(|notification| is_of_election(notification));
    }
}

impl Election {
    /// Nobody is connected yet.
    pub fn new(shared: Arc<Shared>, ensemble: Arc<Ensemble>, own: Notification) -> Rc<Election> {
        let others = ensemble.members.iter().filter(|member| member.id != ensemble.me);
        let peer = |id| Peer {
            id,
            slot: RefCell::default(),
            last: RefCell::default(),
            filled: Notify::new(),
            adopted: Notify::new(),
            current: RefCell::default(),
            ended: Notify::new(),
            alive: Notify::new(),
            dialling: Cell::new(false),
            short: Cell::new(0),
            hurry: Notify::new(),
        };
        let peers = others.map(|member| (member.id, Rc::new(peer(member.id)))).collect();
        let grumble = Grumble::new("election port", shared.clock);
        Rc::new(Election {
            shared,
            ensemble,
            peers,
            introductions: RefCell::default(),
            own: Cell::new(own),
            grumble,
        })
    }

    /// Accepts for ever.
    pub fn listen(self: &Rc<Election>, listener: PeerListener) {
        let election = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let keep_alive = election.ensemble.keep_alive;
            let each = |stream, from| election.accepted(stream, from);
            if let Err(error) = listener.accept_each(keep_alive, each).await {
                crate::server::serve::fatal("the election port", &error);
            }
        });
    }

    /// Tells a peer something, by and by.
    pub fn notify(self: &Rc<Election>, to: ServerId, notification: Notification) {
        let Some(peer) = self.peers.get(&to) else { return };
        *peer.slot.borrow_mut() = Some(notification);
        peer.filled.notify_one();
        if peer.current.borrow().is_none() {
            self.dial(peer);
        }
    }

    /// What this server would say now, if it was asked.
    pub fn set_own(&self, own: Notification) {
        let before = self.own.replace(own).state;
        if self.is_settled() && own.state != before {
            self.settle();
        }
    }

    /// What this server is doing now.
    pub fn state(&self) -> State {
        self.own.get().state
    }

    /// Nobody is elected here now.
    fn is_settled(&self) -> bool {
        self.state() != State::Looking
    }

    /// The election is over here: what was said in it and has not left would only mislead who comes later, and so would
    /// what was said before it, as a server with another leader: a leader that starts again took that for its election.
    /// Who is connected still gets it: it may be the very vote that the winner waits for.
    fn settle(&self) {
        for peer in self.peers.values() {
            if peer.current.borrow().is_none() {
                peer.drop_stale();
            }
            peer.last.borrow_mut().take();
        }
    }

    /// Dials until the slot is empty, or for so many times.
    fn dial(self: &Rc<Election>, peer: &Rc<Peer>) {
        if peer.dialling.replace(true) {
            // It may be asleep between two attempts, and an election waits for its answer.
            return peer.hurry.notify_one();
        }
        let (election, peer) = (Rc::clone(self), Rc::clone(peer));
        tokio::task::spawn_local(async move {
            let (mut wait_ms, mut attempts) = (AGAIN_MS, 0);
            while attempts < ATTEMPTS {
                attempts += 1;
                election.dial_once(&peer).await;
                if peer.current.borrow().is_some() || peer.slot.borrow().is_none() {
                    break;
                }
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(wait_ms)) => wait_ms = (wait_ms * 2).min(AGAIN_MS_MAX),
                    () = peer.hurry.notified() => (wait_ms, attempts) = (AGAIN_MS, 0),
                }
                if peer.current.borrow().is_some() {
                    break;
                }
            }
            peer.dialling.set(false);
        });
    }

    async fn dial_once(self: &Rc<Election>, peer: &Rc<Peer>) {
        let hosts = self.ensemble.member(peer.id).election_hosts();
        let limit = Duration::from_millis(self.ensemble.connect_ms);
        let mut stream = match peer::dial(&hosts, limit, self.ensemble.keep_alive).await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(peer = peer.id.0, %error, "the election port cannot be reached");
                if error.kind() == std::io::ErrorKind::ConnectionRefused {
                    self.shared.writer.send(ToWriter::Member(Input::Gone(peer.id)));
                }
                return;
            }
        };
        // In one write: a Java acceptor reads the text with a single call.
        let mut bytes = Vec::new();
        self.introduction().append(&mut bytes);
        if let Err(error) = stream.write_all(&bytes).await {
            return tracing::debug!(peer = peer.id.0, %error, "an introduction did not arrive");
        }
        if peer.id < self.ensemble.me {
            return self.adopt(peer, stream, Vec::new());
        }
        let limit = Duration::from_millis(HANG_UP_MS);
        let hung_up = timeout(limit, stream.read(&mut [0])).await;
        if matches!(hung_up, Ok(Ok(_))) && peer.current.borrow().is_none() {
            // A peer that lives dials back now.
            let limit = Duration::from_millis(DIAL_BACK_MS);
            let _ = timeout(limit, peer.adopted.notified()).await;
        }
    }

    /// A wildcard is never sent: nobody could dial it (traps.md T-67).
    fn introduction(&self) -> InitialMessage {
        let own = self.ensemble.member(self.ensemble.me).election_hosts();
        let addresses = own.into_iter().map(|(host, port)| Address { host, port });
        let mut addresses: Vec<Address> = addresses.collect();
        // Version 2 is for those who configured it: older servers do not know it (T-66).
        addresses.truncate(if self.ensemble.several { usize::MAX } else { 1 });
        InitialMessage {
            server: self.ensemble.me.0,
            addresses,
        }
    }

    fn accepted(self: &Rc<Election>, stream: TcpStream, from: SocketAddr) {
        let end = Rc::new(Notify::new());
        let mut introductions = self.introductions.borrow_mut();
        if introductions.len() >= INTRODUCTIONS_MAX
            && let Some(oldest) = introductions.pop_front()
        {
            oldest.notify_one();
        }
        introductions.push_back(Rc::clone(&end));
        let election = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let limit = Duration::from_millis(election.ensemble.introduction_ms);
            let met = async {
                let introduced = timeout(limit, introduced(stream)).await;
                let (stream, message, rest) = introduced.unwrap_or_else(|_| Err("it does not say who it is".into()))?;
                election.met(stream, &message, rest).await
            };
            let met = tokio::select! {
                met = met => met,
                () = end.notified() => Err("it does not say who it is, and others come".into()),
            };
            let mut introductions = election.introductions.borrow_mut();
            introductions.retain(|other| !Rc::ptr_eq(other, &end));
            drop(introductions);
            if let Err(why) = met {
                election.grumble.say(from.ip(), &why);
            }
        });
    }

    async fn met(self: &Rc<Election>, stream: TcpStream, who: &InitialMessage, rest: Vec<u8>) -> Result<(), String> {
        let id = ServerId(who.server);
        if id == self.ensemble.me {
            return Err(format!(
                "it calls itself {id}, which is this server's own number (myid)"
            ));
        }
        let Some(peer) = self.peers.get(&id) else {
            return Err(format!("it calls itself {id}, which no server.N line names"));
        };
        if peer.is_alive().await {
            let at = who
                .addresses
                .first()
                .map(|first| format!(" at {first}"))
                .unwrap_or_default();
            return Err(format!(
                "it calls itself {id}{at}, and {id} is connected: no two servers may have one number (myid)"
            ));
        }
        if id > self.ensemble.me {
            self.adopt(peer, stream, rest);
        } else {
            // The connection that this server dials is the one that survives.
            drop(stream);
            self.dial(peer);
        }
        Ok(())
    }

    /// Takes a connection over in the place of any other.
    fn adopt(self: &Rc<Election>, peer: &Rc<Peer>, stream: TcpStream, rest: Vec<u8>) {
        let (connection, since) = (Rc::new(Connection::default()), Instant::now());
        if let Some(before) = peer.current.borrow_mut().replace(Rc::clone(&connection)) {
            before.replaced.notify_one();
        }
        peer.adopted.notify_waiters();
        let (election, peer) = (Rc::clone(self), Rc::clone(peer));
        tokio::task::spawn_local(async move {
            if peer.slot.borrow().is_none() {
                let last = *peer.last.borrow();
                *peer.slot.borrow_mut() = last;
            }
            let (reader, writer) = stream.into_split();
            tokio::select! {
                () = connection.replaced.notified() => {}
                why = election.hear(&peer, reader, rest) => tracing::debug!(peer = peer.id.0, why, "the election connection ended"),
                error = election.tell(&peer, &connection, writer) => tracing::debug!(peer = peer.id.0, %error, "the election connection broke"),
            }
            let current = peer.current.borrow().clone();
            if current.is_some_and(|current| Rc::ptr_eq(&current, &connection)) {
                peer.current.take();
                peer.ended.notify_waiters();
                if election.is_settled() {
                    peer.drop_stale();
                }
                election.follow_up(&peer, since.elapsed()).await;
            }
        });
    }

    /// A connection ended by itself after so long. Its end may be all that is ever heard of a peer that died, and what was
    /// sent last may be lost with it: the dial either is refused, which tells an election not to wait, or makes a new
    /// connection.
    async fn follow_up(self: &Rc<Election>, peer: &Rc<Peer>, lasted: Duration) {
        let short = peer.short.get();
        let lasting = Duration::from_millis(LASTING_MS << short.min(DOUBLED_MAX));
        peer.short.set(if lasted < lasting { short + 1 } else { 0 });
        let soonest = lasting.saturating_sub(lasted);
        tokio::time::sleep(soonest.max(Duration::from_millis(REPLACED_MS))).await;
        if peer.current.borrow().is_none() {
            self.dial(peer);
        }
    }

    async fn tell(&self, peer: &Peer, connection: &Connection, mut writer: OwnedWriteHalf) -> std::io::Error {
        let mut proof = None;
        loop {
            let next = peer.slot.borrow_mut().take();
            let Some(notification) = next else {
                tokio::select! {
                    () = peer.filled.notified() => {}
                    () = connection.doubted.notified(), if proof.is_none() => {
                        peer.slot.borrow_mut().get_or_insert(self.own.get());
                        proof = Some(tokio::time::Instant::now() + Duration::from_millis(PROOF_MS));
                    }
                    () = tokio::time::sleep_until(proof.unwrap_or_else(tokio::time::Instant::now)), if proof.is_some() => {
                        proof = None;
                        if peer::unacknowledged(writer.as_ref()).is_none_or(|bytes| bytes > 0) {
                            return std::io::Error::new(std::io::ErrorKind::TimedOut, "nothing is acknowledged");
                        }
                        peer.alive.notify_waiters();
                    }
                }
                continue;
            };
            let mut bytes = Vec::new();
            spoken(&notification).append(&self.ensemble.config_text, &mut bytes);
            let sent = writer.write_all(&bytes).await;
            let stale = self.is_settled() && is_of_election(&notification);
            *peer.last.borrow_mut() = Some(notification).filter(|_| !stale);
            if let Err(error) = sent {
                return error;
            }
        }
    }

    async fn hear(&self, peer: &Peer, mut reader: OwnedReadHalf, mut buffer: Vec<u8>) -> String {
        loop {
            let mut done = 0;
            loop {
                match election::front(&buffer[done..]) {
                    Front::Whole { frame, consumed } => {
                        self.heard(peer, frame);
                        done += consumed;
                    }
                    Front::Partial { .. } => break,
                    Front::Impossible(length) => {
                        let why = format!("{} sends a frame of {length} bytes", peer.id);
                        if let Ok(from) = reader.peer_addr() {
                            self.grumble.say(from.ip(), &why);
                        }
                        return why;
                    }
                }
            }
            buffer.drain(..done);
            match reader.read_buf(&mut buffer).await {
                Ok(0) => return "it hung up".into(),
                Ok(_) => {}
                Err(error) => return error.to_string(),
            }
        }
    }

    /// A frame that makes no sense is dropped, and the connection stays (`FastLeaderElection.WorkerReceiver#run`).
    fn heard(&self, peer: &Peer, frame: &[u8]) {
        peer.short.set(0);
        match election::Notification::read(frame) {
            Ok(heard) => {
                let notification = understood(&heard);
                let input = Input::Notified(peer.id, notification);
                self.shared.writer.send(ToWriter::Member(input));
            }
            Err(error) => tracing::warn!(peer = peer.id.0, %error, "a notification is not understood"),
        }
    }
}

fn is_of_election(notification: &Notification) -> bool {
    notification.state == State::Looking
}

/// Reads the first message; gives the stream back, and the bytes behind it.
async fn introduced(mut stream: TcpStream) -> Result<(TcpStream, InitialMessage, Vec<u8>), String> {
    let mut buffer = Vec::with_capacity(256);
    loop {
        match InitialMessage::front(&buffer).map_err(|error| error.to_string())? {
            Initial::Whole { message, consumed } => {
                buffer.drain(..consumed);
                return Ok((stream, message, buffer));
            }
            Initial::Partial { needed } => buffer.reserve(needed),
        }
        match stream.read_buf(&mut buffer).await {
            Ok(0) => return Err("it hung up before it said who it is".into()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn spoken(notification: &Notification) -> election::Notification {
    let state = match notification.state {
        State::Looking => SenderState::Looking,
        State::Following => SenderState::Following,
        State::Leading => SenderState::Leading,
        State::Observing => SenderState::Observing,
    };
    election::Notification {
        state,
        leader: notification.vote.leader.0,
        zxid: notification.vote.zxid,
        round: notification.round,
        peer_epoch: notification.vote.peer_epoch,
        version: notification.version,
        config: None,
    }
}

fn understood(heard: &election::Notification) -> Notification {
    let state = match heard.state {
        SenderState::Looking => State::Looking,
        SenderState::Following => State::Following,
        SenderState::Leading => State::Leading,
        SenderState::Observing => State::Observing,
    };
    Notification {
        state,
        vote: Vote {
            leader: ServerId(heard.leader),
            zxid: heard.zxid,
            peer_epoch: heard.peer_epoch,
        },
        round: heard.round,
        version: heard.version,
    }
}
