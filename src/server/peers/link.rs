//! A connection on the quorum port: packets out in order, a snapshot's stream among them, and packets in.
//!
//! What one turn of the member's loop gives is gathered and leaves with one write. A snapshot is written by a thread
//! that reads a pinned view, and what follows it waits behind it; the other way round, a thread builds a tree of what
//! comes, and the packet that began it is handed over when the tree is whole. Lengths are judged before they are
//! waited for (`wire::quorum::front`), so a peer costs no more memory than its largest packet.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc};

use super::grumble::Grumble;
use super::snap;
use super::words::{self, Heard};
use crate::base::{ServerId, Zxid};
use crate::replica::member::{Input, Packet};
use crate::server::message::ToWriter;
use crate::server::options::Ensemble;
use crate::server::shared::Shared;
use crate::tree::View;
use crate::wire::quorum::{Front, front};
use crate::zab::{FromLeader, FromLearner, Link, Message};

/// What a peer may leave unread: above it the connection is closed, and the peer comes back for a snapshot.
const UNSENT_BYTES_MAX: usize = 512 << 20;

/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;

/// The first buffer: an introduction fits.
const FIRST_BYTES: usize = 4 << 10;

/// Which end of the connection this server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It was dialled: a learner is at the other end.
    Leader,
    /// It dialled.
    Learner,
}

/// One connection.
pub struct Wire {
    /// Its number.
    pub link: Link,
    side: Side,
    /// The other end's address.
    pub from: SocketAddr,
    shared: Arc<Shared>,
    ensemble: Arc<Ensemble>,
    out: RefCell<VecDeque<Piece>>,
    unsent: Cell<usize>,
    /// Rung when there is something to send.
    filled: Notify,
    /// Rung when it is over.
    over: Notify,
    closed: Cell<bool>,
    /// What the last PING from the leader said, for the answer.
    pinged: Cell<i64>,
    /// A learner's number and whether it only observes, once it has said so.
    pub learner: Cell<Option<(ServerId, bool)>>,
    /// A learner was told UPTODATE.
    pub synced: Cell<bool>,
    /// Bytes that left, and since when.
    sent: Cell<u64>,
    begun: Instant,
    grumble: Rc<Grumble>,
}

/// Something to be sent.
enum Piece {
    Bytes(Vec<u8>),
    /// As it is written, until the sender goes.
    Stream(mpsc::Receiver<Vec<u8>>),
}

impl Wire {
    /// Begins to read and to write.
    pub fn start(
        link: Link,
        side: Side,
        stream: TcpStream,
        from: SocketAddr,
        shared: &Arc<Shared>,
        ensemble: &Arc<Ensemble>,
        grumble: &Rc<Grumble>,
    ) -> Rc<Wire> {
        let wire = Rc::new(Wire {
            link,
            side,
            from,
            shared: Arc::clone(shared),
            ensemble: Arc::clone(ensemble),
            out: RefCell::default(),
            unsent: Cell::new(0),
            filled: Notify::new(),
            over: Notify::new(),
            closed: Cell::new(false),
            pinged: Cell::new(0),
            learner: Cell::new(None),
            synced: Cell::new(false),
            sent: Cell::new(0),
            begun: Instant::now(),
            grumble: Rc::clone(grumble),
        });
        let (reader, writer) = stream.into_split();
        let task = Rc::clone(&wire);
        tokio::task::spawn_local(async move {
            let why = tokio::select! {
                () = task.over.notified() => None,
                why = task.hear(reader) => Some(why),
                error = task.tell(writer) => Some(error.to_string()),
            };
            // One that this server closed is not told of again.
            if let Some(why) = why.filter(|_| !task.closed.replace(true)) {
                // Whoever was never taken in as a learner may come again and again.
                match task.side == Side::Leader && !task.synced.get() {
                    true => task.grumble.say(task.from.ip(), &why),
                    false => tracing::info!(peer = %task.from, why, "a connection between servers ended"),
                }
                task.shared.writer.send(ToWriter::Member(Input::Closed(task.link)));
            }
            task.out.borrow_mut().clear();
        });
        wire
    }

    /// Whether a learner is at the other end that has not said who it is.
    pub fn is_unknown(&self) -> bool {
        self.side == Side::Leader && self.learner.get().is_none()
    }

    /// Nothing more is sent or heard.
    pub fn close(&self) {
        self.closed.set(true);
        self.over.notify_one();
    }

    /// Sends a packet behind all others.
    pub fn send(&self, packet: Packet) {
        if self.closed.get() {
            return;
        }
        match packet {
            Packet::Snap(zxid, view) => self.send_snapshot(zxid, view),
            packet => {
                if let Packet::Zab(Message::FromLeader(FromLeader::UpToDate)) = packet {
                    self.synced.set(true);
                    let (server, bytes) = (self.learner.get().map_or(-1, |(id, _)| id.0), self.sent.get());
                    let ms = self.begun.elapsed().as_millis() as u64;
                    tracing::info!(server, bytes, ms, "a learner is in step");
                }
                self.put(|out| words::append(out, packet, &self.ensemble, self.pinged.get()));
            }
        }
        self.filled.notify_one();
        if self.unsent.get() > UNSENT_BYTES_MAX {
            tracing::warn!(peer = %self.from, "a server does not read what it is sent; its connection is closed");
            self.close();
            self.shared.writer.send(ToWriter::Member(Input::Closed(self.link)));
        }
    }

    fn put(&self, append: impl FnOnce(&mut Vec<u8>)) {
        let mut pieces = self.out.borrow_mut();
        if !matches!(pieces.back(), Some(Piece::Bytes(_))) {
            pieces.push_back(Piece::Bytes(Vec::new()));
        }
        let Some(Piece::Bytes(out)) = pieces.back_mut() else {
            unreachable!("it was just put there")
        };
        let before = out.len();
        append(out);
        self.unsent.set(self.unsent.get() + out.len() - before);
    }

    fn send_snapshot(&self, zxid: Zxid, view: View) {
        self.put(|out| words::append_snap(out, zxid));
        let (stream, written) = mpsc::channel(snap::CHUNKS);
        self.out.borrow_mut().push_back(Piece::Stream(written));
        if let Err(error) = snap::write(zxid, view, self.from, stream) {
            // The stream ends at once, which the learner sees.
            tracing::error!(%error, "no thread for a learner's snapshot");
            self.close();
            self.shared.writer.send(ToWriter::Member(Input::Closed(self.link)));
        }
    }

    async fn tell(&self, mut writer: OwnedWriteHalf) -> std::io::Error {
        loop {
            let next = self.out.borrow_mut().pop_front();
            let sent = match next {
                None => {
                    self.filled.notified().await;
                    continue;
                }
                Some(Piece::Bytes(bytes)) => {
                    let sent = writer.write_all(&bytes).await;
                    self.unsent.set(self.unsent.get() - bytes.len());
                    self.sent.set(self.sent.get() + bytes.len() as u64);
                    sent
                }
                Some(Piece::Stream(stream)) => self.tell_stream(&mut writer, stream).await,
            };
            if let Err(error) = sent {
                return error;
            }
        }
    }

    async fn tell_stream(
        &self,
        writer: &mut OwnedWriteHalf,
        mut stream: mpsc::Receiver<Vec<u8>>,
    ) -> std::io::Result<()> {
        let mut whole = false;
        while let Some(chunk) = stream.recv().await {
            // An empty chunk says that all of it was there.
            whole = chunk.is_empty();
            self.sent.set(self.sent.get() + chunk.len() as u64);
            writer.write_all(&chunk).await?;
        }
        match whole {
            true => Ok(()),
            false => Err(std::io::Error::other("the snapshot's thread ended before its end")),
        }
    }

    async fn hear(&self, mut reader: OwnedReadHalf) -> String {
        let mut buffer = Vec::with_capacity(FIRST_BYTES);
        loop {
            match self.take(&mut buffer) {
                Ok(None) => {}
                Ok(Some(zxid)) => {
                    let features = self.shared.options.features.clone();
                    match snap::read(zxid, self.from, &mut reader, std::mem::take(&mut buffer), features).await {
                        Ok((tree, rest)) => {
                            buffer = rest;
                            let input = Input::Snap(self.link, zxid, Box::new(tree));
                            self.shared.writer.send(ToWriter::Member(input));
                            continue;
                        }
                        Err(why) => return why,
                    }
                }
                Err(why) => return why,
            }
            if !self.is_unknown() && buffer.capacity() - buffer.len() < READ_BYTES / 2 {
                buffer.reserve(READ_BYTES);
            }
            match reader.read_buf(&mut buffer).await {
                Ok(0) => return "the other side hung up".into(),
                Ok(_) => {}
                Err(error) => return error.to_string(),
            }
        }
    }

    /// Hands over every whole packet at the front. Stops behind a SNAP, whose zxid it gives.
    fn take(&self, buffer: &mut Vec<u8>) -> Result<Option<Zxid>, String> {
        let mut done = 0;
        let mut snap = None;
        while snap.is_none() {
            let (packet, consumed) = match front(&buffer[done..]).map_err(|error| error.to_string())? {
                Front::Whole { packet, consumed } => (packet, consumed),
                Front::Partial { needed } => {
                    buffer.reserve(needed.saturating_sub(buffer.len() - done));
                    break;
                }
            };
            let raw = &buffer[done..done + consumed];
            let heard = match self.side {
                Side::Learner => words::from_leader(self.link, &packet),
                Side::Leader => words::from_learner(self.link, &packet, || Bytes::copy_from_slice(raw), &self.ensemble),
            };
            match heard? {
                Heard::Nothing => {}
                Heard::Snap(zxid) => snap = Some(zxid),
                Heard::Inputs(inputs) => {
                    match inputs.last() {
                        Some(Input::FromLeader(_, FromLeader::Ping(zxid))) => self.pinged.set(zxid.0 as i64),
                        Some(Input::FromLeader(_, FromLeader::Diff(zxid))) => {
                            tracing::info!(leader = %self.from, %zxid, "the leader sends DIFF: only what is missing");
                        }
                        Some(Input::FromLeader(_, FromLeader::Trunc(zxid))) => {
                            tracing::info!(leader = %self.from, %zxid, "the leader sends TRUNC: what follows is to be forgotten");
                        }
                        Some(Input::FromLearner(_, FromLearner::Info { server, observer, .. })) => {
                            self.learner.set(Some((*server, *observer)));
                        }
                        _ => {}
                    }
                    inputs
                        .into_iter()
                        .for_each(|input| self.shared.writer.push(ToWriter::Member(input)));
                }
            }
            done += consumed;
        }
        if done > 0 {
            self.shared.writer.ring();
            buffer.drain(..done);
        }
        Ok(snap)
    }
}
