//! What cores and the writer tell each other: closed sets.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use storage::log::LogWrite;
use tokio::sync::oneshot;

use crate::replica::session::Heart;
use crate::replica::{Answered, Origin, WriteRequest};
use crate::tree::Version;
use crate::tree::apply::Fired;

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
    /// A snapshot is done.
    SnapshotDone,
    /// For the four-letter word `dump`.
    Report(oneshot::Sender<SessionReport>),
    /// Finish what is in the log and say so.
    Stop(oneshot::Sender<()>),
}

/// To a core.
#[allow(missing_docs)]
pub enum ToCore {
    /// A connection to serve.
    Accepted { socket: TcpStream, peer: SocketAddr },
    /// A published batch.
    Batch(Batch),
    /// The answer to an attachment.
    Attached {
        origin: Origin,
        session: i64,
        timeout_ms: i32,
        accepted: bool,
    },
    /// A connection must go: its session is elsewhere.
    Displace(Origin),
    /// For the four-letter words about watches.
    Watches(oneshot::Sender<Vec<WatchReport>>),
}

/// What a core is told of a published batch: all that happened, and its own answers.
pub struct Batch {
    /// The state afterwards.
    pub version: Version,
    /// What happened, in zxid order; shared by all cores.
    pub fired: Arc<Vec<Fired>>,
    /// This core's answers, in zxid order.
    pub answers: Vec<Answered>,
}

/// One connection's data watches.
pub struct WatchReport {
    /// Its session.
    pub session: i64,
    /// What it watches.
    pub paths: Vec<String>,
}

/// The sessions as the writer knows them.
pub struct SessionReport {
    /// Due time (monotonic ms) and sessions.
    pub buckets: Vec<(u64, Vec<i64>)>,
}
