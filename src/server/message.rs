//! What cores and the writer tell each other: closed sets.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use storage::engine::Room;
use storage::log::{Log, LogWrite};
use tokio::sync::oneshot;

use super::admin::{command::Command, json::Fields};
use super::doors::Place;
use super::metrics::{CoreNumbers, WriterNumbers};
use super::snapshots::Asked;
use crate::base::ServerId;
use crate::replica::member::Input;
use crate::replica::session::Heart;
use crate::replica::{Answered, Origin, WriteRequest};
use crate::tree::apply::Fired;
use crate::tree::{Version, View};
use crate::wire::acl::Id;
use crate::wire::four_letter::{Connection, Summary};
use crate::zab::Mark;

/// To the writer.
#[allow(missing_docs)]
pub enum ToWriter {
    /// A session's write.
    Write(WriteRequest),
    /// A client wants a new session.
    Open {
        origin: Origin,
        timeout_ms: i32,
        heart: Heart,
    },
    /// A client comes back to a session; its password was right.
    Attach {
        origin: Origin,
        session: i64,
        timeout_ms: i32,
        heart: Heart,
    },
    /// A connection with a session is gone.
    Detach { origin: Origin, session: i64 },
    /// A batch is durable, or the disk failed.
    Written(std::io::Result<LogWrite>),
    /// Somebody wants a snapshot now, and perhaps to be told of it.
    Snapshot(Option<Asked>),
    /// A snapshot is done, in so many ms, or failed.
    SnapshotDone(Option<u64>),
    /// The room on the disks has another level.
    Room(Room),
    /// For the four-letter words.
    Report(oneshot::Sender<WriterReport>),
    /// Counts start anew (`srst`).
    ResetNumbers,
    /// Finish what is in the log and say so.
    Stop(oneshot::Sender<()>),
    /// Something came from another server of the ensemble.
    Member(Input),
    /// A disk operation of a member other than an append is durable; with the log, if it was lent.
    Stored(Mark, std::io::Result<Option<Box<Log>>>),
}

/// To a core.
#[allow(missing_docs)]
pub enum ToCore {
    /// A connection to serve.
    Accepted {
        socket: TcpStream,
        peer: SocketAddr,
        place: Place,
    },
    /// A published batch.
    Batch(Batch),
    /// An answer that no batch carries.
    Answer(Answered),
    /// The answer to an attachment.
    Attached {
        origin: Origin,
        session: i64,
        timeout_ms: i32,
        accepted: bool,
    },
    /// A connection must go: its session is elsewhere.
    Displace(Origin),
    /// Nobody is served any more: every connection with a session ends.
    HangUp,
    /// The whole state is another; nobody is served meanwhile.
    Replace(View),
    /// For the four-letter words.
    Report(Want, oneshot::Sender<CoreReport>),
    /// An admin command, with `set_trace_mask`'s parameter; only the first core gets any.
    Admin(Command, Option<String>, oneshot::Sender<Fields>),
    /// Whether these identities may do everything with the root node.
    MayDoAll(Vec<Id>, oneshot::Sender<bool>),
    /// Counts start anew (`srst`).
    ResetNumbers,
    /// The counts of every connection start anew (`crst`).
    ResetConnections,
}

/// What a core is told of a published batch: all that happened, and its own answers.
pub struct Batch {
    /// Counted from 1.
    pub number: u64,
    /// The state afterwards.
    pub version: Version,
    /// What happened, in zxid order; shared by all cores.
    pub fired: Arc<Vec<Fired>>,
    /// This core's answers, in zxid order.
    pub answers: Vec<Answered>,
}

/// What a four-letter word wants to know of a core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Want {
    pub numbers: bool,
    pub connections: bool,
    pub watches: bool,
}

/// What a core tells; what was not wanted is empty.
#[derive(Default)]
pub struct CoreReport {
    /// Its counts.
    pub numbers: CoreNumbers,
    /// Registrations in both watch tables.
    pub watch_count: usize,
    /// Its connections, with the monotonic ms at which each would be dropped.
    pub connections: Vec<(u64, Connection)>,
    /// The data watches of its connections.
    pub watches: Vec<WatchReport>,
}

/// One connection's data watches.
pub struct WatchReport {
    /// Its session.
    pub session: i64,
    /// What it watches.
    pub paths: Vec<String>,
}

/// What the writer tells.
pub struct WriterReport {
    /// Sessions by due time, monotonic ms.
    pub sessions: Vec<(u64, Vec<i64>)>,
    /// Paths with a quota.
    pub quotas: Vec<String>,
    /// Digests of the tree after every 128th transaction that clients can see, oldest first.
    pub digests: Vec<(i64, u64)>,
    /// Its counts.
    pub numbers: WriterNumbers,
    /// The room on the disks at the last look.
    pub room: Room,
    /// Of a server of an ensemble.
    pub member: Option<MemberReport>,
}

/// What a server of an ensemble tells of it.
#[derive(Clone, Debug, Default)]
pub struct MemberReport {
    /// What it tells its peers that it is doing, and how far it is.
    pub peer_state: String,
    /// Whom it has for a leader.
    pub leader: Option<ServerId>,
    /// The epoch whose history it has.
    pub epoch: u32,
    /// As a leader: those that are connected, each with whether it is in step.
    pub learners: Vec<(LearnerReport, bool)>,
    /// As a leader: since when, ms.
    pub leader_uptime_ms: u64,
    /// As a leader: bytes of the last proposal, the smallest, the largest; −1 before the first.
    pub proposals: [i64; 3],
    /// Transactions whose digest was another here.
    pub digest_mismatches: u64,
    /// What it counts, by the names of `mntr`.
    pub counters: Vec<(&'static str, u64)>,
    /// Times, by the names of `mntr`.
    pub times: Vec<(&'static str, Summary)>,
}

/// A learner that is connected to this leader.
#[derive(Clone, Copy, Debug)]
pub struct LearnerReport {
    /// Its number.
    pub server: ServerId,
    /// Whether it only observes.
    pub observer: bool,
    /// From where.
    pub from: SocketAddr,
}
