//! What comes to a member of an ensemble and what leaves it: closed sets, in the host's hands as plain values.
//!
//! Invariant: outputs are obeyed in the order in which they come. What goes over one connection, to the disk, and to
//! the cores keeps that order; between the three nothing waits but for what a rule below names.

use bytes::Bytes;
use storage::engine::Level;

use super::super::input::{Answered, Origin, Published, WriteRequest};
use super::super::session::Heart;
use crate::base::Epoch;
use crate::base::{ServerId, Zxid};
use crate::tree::{Tree, View};
use crate::wire::quorum::Touch;
use crate::zab::{Event, FromLeader, FromLearner, Link, Mark, Message, Notification, Proposal, Serving};

/// Everything that can happen to a member.
pub enum Input {
    /// The time of `Member::deadline_ms` has come. Too early does no harm.
    Tick,
    /// A notification came to the election port, from this server.
    Notified(ServerId, Notification),
    /// This server's election port refuses connections: it is down.
    Gone(ServerId),
    /// A server answered [`Output::Connect`].
    Connected(ServerId, Link),
    /// It did not.
    NotConnected(ServerId),
    /// Somebody dialled the quorum port.
    Accepted(Link),
    /// A connection broke, other than by [`Output::Close`].
    Closed(Link),
    /// A leader's packet, but SNAP and REVALIDATE.
    FromLeader(Link, FromLeader),
    /// A leader's SNAP whose whole stream has come, as a tree that was finished with SNAP's zxid.
    Snap(Link, Zxid, Box<Tree>),
    /// A leader's REVALIDATE: whether a session is alive.
    Revalidated {
        /// Over which connection.
        link: Link,
        /// The session.
        session: i64,
        /// The answer.
        valid: bool,
    },
    /// A learner's packet, but REVALIDATE.
    FromLearner(Link, FromLearner),
    /// The sessions in a learner's PING; before the PING itself.
    Touched(Link, Vec<Touch>),
    /// A learner's REVALIDATE: a client came to it with this session.
    Revalidate(Link, Touch),
    /// Every disk operation up to this one is durable.
    Durable(Mark),

    /// A client of this server writes, or asks for a sync.
    Write(WriteRequest),
    /// A connection wants a new session.
    Open {
        /// Which.
        origin: Origin,
        /// The negotiated timeout.
        timeout_ms: i32,
        /// Beaten by the core whenever it hears of the client.
        heart: Heart,
    },
    /// A connection comes with a session whose password is right.
    Attach {
        /// Which.
        origin: Origin,
        /// The session.
        session: i64,
        /// The negotiated timeout.
        timeout_ms: i32,
        /// As above.
        heart: Heart,
    },
    /// A connection with a session, or one that asked for one, is gone.
    Detach {
        /// Which.
        origin: Origin,
        /// Its session; 0 if it had none yet.
        session: i64,
    },
    /// How much room the disk has from now on.
    Room(Level),
}

/// What the host is to do.
pub enum Output {
    /// A notification for another server's election port; it takes the place of one that has not left yet.
    Notify {
        /// To whom.
        to: ServerId,
        /// What.
        notification: Notification,
    },
    /// Dial this server's quorum port.
    Connect(ServerId),
    /// Close this connection; nothing more is expected of it.
    Close(Link),
    /// A packet, behind those sent on the same connection before.
    Send {
        /// Over which connection.
        link: Link,
        /// What.
        packet: Packet,
    },
    /// Something for the disk, behind what was given before it.
    Store {
        /// Its number: to come back as [`Input::Durable`].
        mark: Mark,
        /// What.
        store: Store,
    },
    /// From here on. With [`Serving::Nobody`] every client connection of every core is closed.
    Serving(Serving),
    /// Something became visible: for every core, at once.
    Published(Published),
    /// The whole state is another: every core takes a clone of this view in place of its own. Nobody is served then.
    Replaced(View),
    /// An answer that no published batch carries, behind the batches before it.
    Answer(Answered),
    /// The answer to [`Input::Attach`], unless the connection went or nobody is served any more.
    Attached {
        /// The connection.
        origin: Origin,
        /// The session.
        session: i64,
        /// The negotiated timeout.
        timeout_ms: i32,
        /// Whether the session is alive.
        accepted: bool,
    },
    /// A connection must go: its session is another's now, or it cannot be given one.
    Displace(Origin),
    /// For the log and the metrics.
    Event(Event),
    /// What came over a connection makes no sense: a line for the log.
    Unreadable {
        /// Over which.
        link: Link,
        /// The transaction, or the last one before a request.
        zxid: Zxid,
        /// What is wrong.
        why: String,
    },
    /// A transaction led to another digest than its author's.
    Mismatch {
        /// Which.
        zxid: i64,
        /// What the tree says here.
        here: u64,
        /// What came with it.
        there: u64,
    },
}

/// What goes over a connection between servers.
pub enum Packet {
    /// Everything of agreement but what stands below.
    Zab(Message),
    /// SNAP with this zxid, and behind it the stream of this view, before anything else on the connection.
    Snap(Zxid, View),
    /// A learner's PING, with the sessions its clients kept alive since the last one.
    Ping(Vec<Touch>),
    /// A learner asks whether a session is alive.
    Revalidate(Touch),
    /// A leader's answer to that.
    Revalidated {
        /// The session.
        session: i64,
        /// Whether it is alive.
        valid: bool,
    },
}

/// Something for the disk.
pub enum Store {
    /// Behind the last record of the log.
    Append(Proposal),
    /// Every record behind this zxid is removed, and every snapshot; the zxid itself is there.
    Truncate(Zxid),
    /// This view, which is the state at this zxid, becomes the snapshot, and the log begins anew behind it.
    Install(Zxid, View),
    /// The promise not to follow an older leader.
    AcceptedEpoch(Epoch),
    /// The epoch whose first history is in the log.
    CurrentEpoch(Epoch),
}

/// Bytes of a forwarded request: the REQUEST packet as it travels (`wire::quorum`).
pub type RequestPacket = Bytes;
