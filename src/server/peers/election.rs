//! The election port: one connection for each pair of servers, and on it the newest notification (`QuorumCnxManager`).
//!
//! Who dials a server with a larger number introduces itself, hangs up and is dialled back: of two connections the one
//! survives that the larger dialled. Each peer has one slot; a notification takes the place of one that has not left.
//! A new connection begins with the slot, or with what was sent last: the old connection may have lost it (traps.md
//! T-72). Nobody waits for anybody else: every dial and every introduction is a task with a limit of its own.
//!
//! A refused dial says that the peer is down, and is told at once, so that an election does not wait for the dead.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

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

/// Introductions under way at most; of more, the oldest is hung up on: who lives has long said who it is.
const INTRODUCTIONS_MAX: usize = 128;

/// All peers' connections.
pub struct Election {
    shared: Arc<Shared>,
    ensemble: Arc<Ensemble>,
    peers: BTreeMap<ServerId, Rc<Peer>>,
    /// Each is rung to end it.
    introductions: RefCell<VecDeque<Rc<Notify>>>,
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
    /// Rung to end the connection that it belongs to.
    current: RefCell<Option<Rc<Notify>>>,
    dialling: Cell<bool>,
}

impl Election {
    /// Nobody is connected yet.
    pub fn new(shared: Arc<Shared>, ensemble: Arc<Ensemble>) -> Rc<Election> {
        let others = ensemble.members.iter().filter(|member| member.id != ensemble.me);
        let peer = |id| Peer {
            id,
            slot: RefCell::default(),
            last: RefCell::default(),
            filled: Notify::new(),
            adopted: Notify::new(),
            current: RefCell::default(),
            dialling: Cell::new(false),
        };
        let peers = others.map(|member| (member.id, Rc::new(peer(member.id)))).collect();
        let grumble = Grumble::new("election port", shared.clock);
        Rc::new(Election {
            shared,
            ensemble,
            peers,
            introductions: RefCell::default(),
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

    /// The election is over here: what was said in it and has not left would only mislead who comes later.
    pub fn settle(&self) {
        let of_election = |notification: &mut Notification| notification.state == State::Looking;
        for peer in self.peers.values() {
            peer.slot.borrow_mut().take_if(of_election);
            peer.last.borrow_mut().take_if(of_election);
        }
    }

    /// Dials until the slot is empty, or for so many times.
    fn dial(self: &Rc<Election>, peer: &Rc<Peer>) {
        if peer.dialling.replace(true) {
            return;
        }
        let (election, peer) = (Rc::clone(self), Rc::clone(peer));
        tokio::task::spawn_local(async move {
            let mut wait_ms = AGAIN_MS;
            for _ in 0..ATTEMPTS {
                election.dial_once(&peer).await;
                if peer.current.borrow().is_some() || peer.slot.borrow().is_none() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                wait_ms = (wait_ms * 2).min(AGAIN_MS_MAX);
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
        let hung_up = tokio::time::timeout(limit, stream.read(&mut [0])).await;
        if matches!(hung_up, Ok(Ok(_))) && peer.current.borrow().is_none() {
            // A peer that lives dials back now.
            let limit = Duration::from_millis(DIAL_BACK_MS);
            let _ = tokio::time::timeout(limit, peer.adopted.notified()).await;
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
            let read = tokio::select! {
                read = introduced(stream) => read,
                () = tokio::time::sleep(limit) => Err("it does not say who it is".into()),
                () = end.notified() => Err("it does not say who it is, and others come".into()),
            };
            let mut introductions = election.introductions.borrow_mut();
            introductions.retain(|other| !Rc::ptr_eq(other, &end));
            drop(introductions);
            match read {
                Ok((stream, message, rest)) => election.met(stream, from, &message, rest),
                Err(why) => election.grumble.say(from.ip(), &why),
            }
        });
    }

    fn met(self: &Rc<Election>, stream: TcpStream, from: SocketAddr, message: &InitialMessage, rest: Vec<u8>) {
        let id = ServerId(message.server);
        if id == self.ensemble.me {
            let why = format!("it calls itself {id}, which is this server's own number (myid)");
            return self.grumble.say(from.ip(), &why);
        }
        let Some(peer) = self.peers.get(&id) else {
            let why = format!("it calls itself {id}, which no server.N line names");
            return self.grumble.say(from.ip(), &why);
        };
        if id > self.ensemble.me {
            return self.adopt(peer, stream, rest);
        }
        // The connection that this server dials is the one that survives. One that is there stays until then: who
        // only claims to be that peer must not cost it its connection.
        drop(stream);
        self.dial(peer);
    }

    /// Takes a connection over in the place of any other.
    fn adopt(self: &Rc<Election>, peer: &Rc<Peer>, stream: TcpStream, rest: Vec<u8>) {
        let end = Rc::new(Notify::new());
        if let Some(before) = peer.current.borrow_mut().replace(Rc::clone(&end)) {
            before.notify_one();
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
                () = end.notified() => {}
                why = election.hear(&peer, reader, rest) => tracing::debug!(peer = peer.id.0, why, "the election connection ended"),
                error = election.tell(&peer, writer) => tracing::debug!(peer = peer.id.0, %error, "the election connection broke"),
            }
            let mine = peer
                .current
                .borrow()
                .as_ref()
                .is_some_and(|current| Rc::ptr_eq(current, &end));
            if mine {
                peer.current.take();
                if peer.slot.borrow().is_some() {
                    election.dial(&peer);
                }
            }
        });
    }

    async fn tell(&self, peer: &Peer, mut writer: OwnedWriteHalf) -> std::io::Error {
        loop {
            let next = peer.slot.borrow_mut().take();
            let Some(notification) = next else {
                peer.filled.notified().await;
                continue;
            };
            let mut bytes = Vec::new();
            spoken(&notification).append(&self.ensemble.config_text, &mut bytes);
            let sent = writer.write_all(&bytes).await;
            *peer.last.borrow_mut() = Some(notification);
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
