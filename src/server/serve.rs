//! From options to a running server, and its orderly end.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam::utils::CachePadded;
use storage::engine::{Engine as Storage, Report};
use storage::log::Log;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::admin;
use super::core::Core;
use super::doors::Repeated;
use super::member::Host;
use super::message::{ToCore, ToWriter};
use super::options::{Ensemble, Options};
use super::peers::Listeners;
use super::secret::{SessionKeys, random_bytes};
use super::shared::{CorePort, Opened, Shared};
use super::snapshots;
use super::socketless::Socketless;
use super::start::Timed;
use super::writer::Writer;
use crate::base::Epoch;
use crate::io::listen::{self, Bound};
use crate::io::{Clock, processor, run};
use crate::replica::Now;
use crate::replica::Replica;
use crate::replica::member::{self, Member};
use crate::replica::recover::Recovery;
use crate::tree::View;
use crate::zab;

/// Why a server did not start, or how it ended.
#[derive(Debug)]
pub enum ServeError {
    /// The data directory cannot be used; the text says which file and what to do.
    Data(String),
    /// The address cannot be listened on.
    Listen(std::net::SocketAddr, std::io::Error),
    /// The operating system refused something else.
    System(&'static str, std::io::Error),
    /// An address for other servers cannot be listened on.
    Peers(String, std::io::Error),
    /// The admin server's address cannot be listened on.
    Admin(std::net::SocketAddr, std::io::Error),
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ServeError::Data(text) => write!(f, "{text}"),
            ServeError::Listen(address, error) => write!(
                f,
                "cannot listen on {address}: {error}; is another server running there?"
            ),
            ServeError::System(what, error) => write!(f, "{what}: {error}"),
            ServeError::Peers(address, error) => write!(
                f,
                "cannot listen on {address} for other servers: {error}; it is this server's own server.N line (myid says \
                 which), and must be an address of this machine that nobody else listens on"
            ),
            ServeError::Admin(address, error) => write!(
                f,
                "cannot listen on {address} for the admin server: {error}; is another server running there? Its port is \
                 admin.serverPort, and admin.enableServer=false does without it"
            ),
        }
    }
}

/// A recovered server that already holds its port and its directory.
pub struct Prepared {
    shared: Arc<Shared>,
    storage: Arc<Storage>,
    brain: Brain,
    log: Log,
    bound: Bound,
    admin: Option<std::net::TcpListener>,
    /// What was found on the disk.
    pub report: Report,
}

/// Who decides what is written.
enum Brain {
    /// A standalone server.
    Alone(Box<Replica>),
    /// One of several, with its two ports.
    Member(Box<Member>, Listeners),
}

impl Brain {
    fn view(&self) -> View {
        match self {
            Brain::Alone(replica) => replica.view(),
            Brain::Member(member, _) => member.view(),
        }
    }

    /// Its loop, on the loop that calls this.
    async fn run(self, shared: Arc<Shared>, storage: Arc<Storage>, log: Log) -> std::io::Result<()> {
        match self {
            Brain::Alone(replica) => Writer::new(shared, storage, *replica, log)?.run().await,
            Brain::Member(member, listeners) => Host::new(shared, storage, *member, log, listeners)?.run().await,
        }
        Ok(())
    }
}

impl Prepared {
    /// Opens the data directory, recovers the tree and binds the port. No thread serves yet.
    pub fn new(options: Options) -> Result<Prepared, ServeError> {
        let bound =
            listen::bind(options.listen, options.backlog).map_err(|error| ServeError::Listen(options.listen, error))?;
        let admin = options.admin.as_ref().map(|admin| {
            std::net::TcpListener::bind(admin.listen).map_err(|error| ServeError::Admin(admin.listen, error))
        });
        let admin = admin.transpose()?;
        let clock = Clock::default();
        let seed = u64::from_ne_bytes(random_bytes::<8>().map_err(|error| ServeError::System("/dev/urandom", error))?);
        let listeners = options.ensemble.as_deref().map(Listeners::bind).transpose();
        let listeners = listeners.map_err(|(address, error)| ServeError::Peers(address, error))?;
        let store = storage_options(&options);
        let recovery = Recovery::new(options.features.clone(), seed).of_store(&store);
        let recovery = match options.ensemble {
            None => recovery,
            Some(_) => recovery.holding_back(HELD_BACK, HELD_BACK_BYTES),
        };
        let mut timed = Timed::new(recovery, clock);
        let (storage, log, report) =
            Storage::open(store, &mut timed).map_err(|error| ServeError::Data(error.to_string()))?;
        if let Some(doubt) = timed.doubt() {
            tracing::warn!("{doubt}");
        }
        let start = timed.numbers();
        let now = Now {
            ms: clock.ms(),
            wall_ms: clock.wall_ms(),
        };
        let keys = match options.ensemble {
            None => SessionKeys::open(storage.data_path()).map_err(|error| ServeError::Data(error.to_string()))?,
            Some(_) => SessionKeys::shared(),
        };
        let brain = match (&options.ensemble, listeners) {
            (Some(ensemble), Some(listeners)) => {
                let member = member(&options, ensemble, &storage, timed, now)?;
                Brain::Member(Box::new(member), listeners)
            }
            _ => Brain::Alone(Box::new(Replica::new(timed.finish(), options.desk, now))),
        };
        let opened = Opened {
            data_path: storage.data_path().into(),
            log_path: storage.log_path().into(),
            durable: log.durable(),
            replayed: (report.replayed, report.replayed_bytes),
            start,
        };
        let shared = Shared::new(options, keys, clock, opened);
        Ok(Prepared {
            shared,
            storage: Arc::new(storage),
            brain,
            log,
            bound,
            admin,
            report,
        })
    }

    /// The address clients find it at.
    pub fn address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.bound.address()
    }

    /// Where data and log lie.
    pub fn paths(&self) -> (&std::path::Path, &std::path::Path) {
        (self.storage.data_path(), self.storage.log_path())
    }

    /// The same server for one connection that is fed by hand; its port is given up.
    pub fn without_sockets(self) -> std::io::Result<Socketless> {
        match self.brain {
            Brain::Alone(replica) => Socketless::new(self.shared, self.storage, *replica, self.log),
            Brain::Member(..) => Err(std::io::Error::other("a member of an ensemble needs sockets")),
        }
    }

    /// Serves until SIGTERM or SIGINT. Runs `ready` once both are heeded: who is told that the server is there may
    /// end it in order from then on.
    pub fn serve(self, ready: impl FnOnce() + 'static) -> Result<(), ServeError> {
        let Prepared {
            shared,
            storage,
            brain,
            log,
            bound,
            admin,
            ..
        } = self;
        let engine = shared.options.engine;
        let writer_inbox = Arc::clone(&shared);
        storage.listen(Box::new(move |room| {
            writer_inbox.writer.send(ToWriter::Room(room.clone()))
        }));
        if let Some(interval) = shared.options.purge_every {
            let weak = Arc::downgrade(&storage);
            snapshots::purge_every(interval, weak).map_err(|error| ServeError::System("a thread", error))?;
        }
        let guest = shared.options.cores <= GUEST_CORES_MAX;
        let (cores, pins) = (shared.options.cores, shared.options.pin_cores);
        for index in 1..shared.options.cores {
            let (shared, view) = (Arc::clone(&shared), brain.view());
            spawn(format!("core-{index}"), move || {
                pin_if(pins, index);
                run(engine, async move { Core::new(index as u16, shared, view).run().await })
            })?;
        }
        let view = brain.view();
        let writer_shared = Arc::clone(&shared);
        let writer = move || brain.run(writer_shared, storage, log);
        let mut guest_writer = Some(writer);
        if !guest {
            let writer = guest_writer.take().expect("it is there");
            spawn("writer".into(), move || {
                pin_if(pins, cores);
                run(engine, async move {
                    if let Err(error) = writer().await {
                        fatal("the writer", &error);
                    }
                })
            })?;
        }
        let main = async move {
            if let Some(writer) = guest_writer {
                tokio::task::spawn_local(async move {
                    if let Err(error) = writer().await {
                        fatal("the writer", &error);
                    }
                });
            }
            let core = Core::new(0, Arc::clone(&shared), view);
            tokio::task::spawn_local(core.run());
            tokio::task::spawn_local(accept(Arc::clone(&shared), bound));
            let signals = StopSignals::new()?;
            tokio::task::spawn_local(snapshot_on_signal(
                signal(SignalKind::user_defined1())?,
                Arc::clone(&shared),
            ));
            if let Some(listener) = admin {
                let shared = Arc::clone(&shared);
                spawn("admin".into(), move || admin::run(listener, shared))
                    .map_err(|error| std::io::Error::other(error.to_string()))?;
            }
            ready();
            let signal = signals.first().await;
            tracing::info!(signal, "stopping: finishing the log");
            let (done, finished) = tokio::sync::oneshot::channel();
            shared.writer.send(ToWriter::Stop(done));
            let _ = finished.await;
            Ok::<(), std::io::Error>(())
        };
        pin_if(pins, 0);
        run(engine, main)
            .and_then(|result| result)
            .map_err(|error| ServeError::System("the first event loop", error))
    }
}

/// Transactions, and bytes of them, that a member keeps out of its tree at a start: they may have been nobody's but its
/// own, and its leader may tell it to forget them.
const HELD_BACK: usize = 1000;
const HELD_BACK_BYTES: usize = 32 << 20;

/// A member with what the disk holds.
fn member(
    options: &Options,
    ensemble: &Ensemble,
    storage: &Storage,
    timed: Timed,
    now: Now,
) -> Result<Member, ServeError> {
    let (tree, base, entries) = timed.finish_member();
    let is_empty = entries.is_empty();
    let last = entries.last().map_or(base, |entry| entry.zxid).epoch();
    let (accepted, current) = match storage.epochs() {
        // A store that was a standalone server's, or was imported (`QuorumPeer#loadDataBase`).
        (0, 0) => {
            let java = |name: &str| epoch_of_java(&options.data_dir, name).unwrap_or(0);
            let current = last.max(java("currentEpoch"));
            (current.max(java("acceptedEpoch")), current)
        }
        epochs => epochs,
    };
    let found = zab::Recovered {
        accepted: Epoch(accepted),
        current: Epoch(current),
        base,
        entries,
        trusted: base.0 > 0 || !is_empty || ensemble.trust_empty || is_initialized(&options.data_dir),
    };
    let settings = member::Settings {
        zab: ensemble.settings(),
        desk: options.desk,
        config: ensemble.config_text.clone(),
    };
    Member::start(settings, tree, found, now).map_err(|error| ServeError::Data(error.to_string()))
}

/// Whether somebody said that this empty directory is a new ensemble's (`zkServer-initialize.sh`). Said once.
fn is_initialized(data_dir: &std::path::Path) -> bool {
    std::fs::remove_file(data_dir.join("initialize")).is_ok()
}

/// What a Java server promised, if this store was made from its files.
fn epoch_of_java(data_dir: &std::path::Path, name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(data_dir.join("version-2").join(name)).ok()?;
    text.trim().parse().ok()
}

/// With so many cores or fewer the writer is a guest on the first loop: a wake costs more than it would win.
const GUEST_CORES_MAX: usize = 2;

/// Keeps the calling loop on a processor of its own, or says why it is not.
fn pin_if(wanted: bool, index: usize) {
    if wanted && let Err(error) = processor::pin(index) {
        tracing::warn!(index, %error, "an event loop could not be pinned to a processor");
    }
}

pub(super) fn storage_options(options: &Options) -> storage::engine::Options {
    storage::engine::Options {
        data_dir: options.data_dir.clone(),
        log_dir: options.log_dir.clone(),
        segment_bytes: options.segment_bytes,
        low_water: options.low_water,
        direct: true,
        retain_snapshots: options.retain_snapshots,
        retain_age_s: options.retain_age_s,
        retain_bytes: options.retain_bytes,
        wall_s: || Clock::default().wall_ms() as u64 / 1000,
        purge: options.purge_every.is_some(),
        fsync: options.force_sync,
        ..Default::default()
    }
}

fn spawn(name: String, work: impl FnOnce() -> std::io::Result<()> + Send + 'static) -> Result<(), ServeError> {
    let named = name.clone();
    let body = move || {
        if let Err(error) = work() {
            fatal(&named, &error);
        }
    };
    std::thread::Builder::new()
        .name(name)
        .spawn(body)
        .map(drop)
        .map_err(|error| ServeError::System("a thread", error))
}

/// A server without one of its threads is no server.
pub(super) fn fatal(what: &str, error: &std::io::Error) -> ! {
    tracing::error!(what, %error, "a thread ended, so this server stops");
    let _ = writeln!(
        std::io::stderr(),
        "ringkeeper: {what} ended, so this server stops: {error}"
    );
    std::process::exit(1)
}

/// Accepted connections go to the core that has the fewest; of equals, to the first, which may have the writer as a
/// guest: a lone client's write then wakes no other core (0.16 ms instead of 0.25).
async fn accept(shared: Arc<Shared>, bound: Bound) {
    let mut repeated = Repeated::default();
    let keep_alive = shared.options.keep_alive;
    let cores = Arc::clone(&shared);
    let each = move |socket, peer| {
        let options = &cores.options;
        let place = match cores.doors.enter(&peer, options.connections_max, options.per_ip_max) {
            Ok(place) => place,
            Err(refused) => {
                // The socket is dropped, which closes it.
                if let Some(line) = repeated.note(refused, cores.clock.ms()) {
                    tracing::warn!("{line}");
                }
                return;
            }
        };
        let by_load = |port: &&CachePadded<CorePort>| port.connections.load(Ordering::Relaxed);
        let port = cores.cores.iter().min_by_key(by_load).expect("a server has a core");
        port.connections.fetch_add(1, Ordering::Relaxed);
        port.inbox.send(ToCore::Accepted { socket, peer, place });
    };
    if let Err(error) = bound.accept_each(keep_alive, each).await {
        fatal("the listener", &error);
    }
}

/// SIGUSR1 asks for a snapshot.
async fn snapshot_on_signal(mut asked: Signal, shared: Arc<Shared>) {
    while asked.recv().await.is_some() {
        tracing::info!(signal = "SIGUSR1", "a snapshot is asked for");
        shared.writer.send(ToWriter::Snapshot(None));
    }
}

/// What ends a server in order. Heeded from when it is made, not only while it is awaited.
struct StopSignals {
    term: Signal,
    int: Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<StopSignals> {
        Ok(StopSignals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    async fn first(mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}
