//! A server in this process: configuration, logging, data directory, port, and then serving to the end.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use storage::engine::{DIRECTORY, Tense, Weight};
use tracing_subscriber::EnvFilter;

use super::{ADMIN, DATA_DIRECTORY, Failure, INVALID, UNEXPECTED, background, files};
use crate::io::Engine;
use crate::server::config::{self, Config, EngineChoice, Flags, Level, Refusal};
use crate::server::import;
use crate::server::serve::{Prepared, ServeError};

/// Serves what a configuration file says.
pub fn with_file(path: &Path) -> Result<(), Failure> {
    serve(config::load(path, &flags(), Engine::probe).map_err(refused)?)
}

/// Serves the built-in defaults.
pub fn defaults(port: Option<u16>, data: Option<PathBuf>) -> Result<(), Failure> {
    let config = config::from_bytes(
        config::EMBEDDED_NAME,
        config::EMBEDDED.as_bytes(),
        &flags(),
        Engine::probe,
    );
    let mut config = config.map_err(refused)?;
    if let Some(port) = port {
        config.options.listen.set_port(port);
        config.options.shown.client_port = i32::from(port);
    }
    if let Some(data) = data {
        (config.options.data_dir, config.options.log_dir) = (data.clone(), data);
    }
    serve(config)
}

fn refused(refusal: Refusal) -> Failure {
    Failure::new(INVALID, refusal.to_string())
}

/// The JVM flags of ZooKeeper's scripts, in the order in which `zkServer.sh` puts them: the last wins.
pub fn flags() -> Vec<Flags> {
    let mut flags: Vec<Flags> = ["SERVER_JVMFLAGS", "JVMFLAGS"]
        .into_iter()
        .filter_map(|variable| files::variable(variable).map(|text| (variable, text)))
        .collect();
    if files::variable(NO_AUTOCREATE).is_some() {
        flags.push((NO_AUTOCREATE, "-Dzookeeper.datadir.autocreate=false".into()));
    }
    flags
}

/// Set to anything, the scripts forbid to make a data directory.
const NO_AUTOCREATE: &str = "ZOO_DATADIR_AUTOCREATE_DISABLE";

fn serve(config: Config) -> Result<(), Failure> {
    if background::is_child() {
        background::detach().map_err(|error| Failure::new(UNEXPECTED, format!("a new session: {error}")))?;
    }
    start_log(config.log.as_deref())?;
    tell(&config);
    let data_dir = &config.options.data_dir;
    if !config.autocreate && !data_dir.is_dir() {
        return Err(Failure::new(
            DATA_DIRECTORY,
            format!(
                "Unable to access datadir, exiting abnormally\n  {} is not there, and datadir.autocreate=false forbids \
                 to make it",
                data_dir.display()
            ),
        ));
    }
    import::first_start(&config.options).map_err(|why| not_started(ServeError::Data(why)))?;
    let what = match &config.options.ensemble {
        None => "a standalone server".to_owned(),
        Some(ensemble) => format!("{} of {}", ensemble.me, ensemble.members.len()),
    };
    let prepared = Prepared::new(config.options).map_err(not_started)?;
    let address = prepared
        .address()
        .map_err(|error| Failure::new(UNEXPECTED, format!("the client port: {error}")))?;
    tracing::info!(report = %prepared.report, "recovered");
    for (weight, line) in prepared.report.lines(Tense::Done) {
        match weight {
            Weight::Info => tracing::info!("{line}"),
            Weight::Warn => tracing::warn!("{line}"),
        }
    }
    let screen = screen(address, prepared.paths(), &config.engine, &what);
    prepared.serve(move || welcome(&screen)).map_err(not_started)
}

/// Tells whoever started this that it serves.
fn welcome(screen: &str) {
    if !background::is_child() {
        return show(screen);
    }
    tracing::info!("{screen}");
    if let Err(error) = background::announce() {
        tracing::warn!(%error, "standard output stays a pipe that nobody reads");
    }
}

/// A snapshot or log of Apache ZooKeeper where there is none of ours: somebody means to go on with it.
pub fn foreign_data(directories: [&Path; 2]) -> Option<PathBuf> {
    if directories.iter().any(|directory| directory.join(DIRECTORY).exists()) {
        return None;
    }
    let files = directories
        .iter()
        .filter_map(|directory| std::fs::read_dir(directory.join("version-2")).ok());
    files.flatten().flatten().map(|file| file.path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("snapshot.") || name.starts_with("log.")
    })
}

fn not_started(error: ServeError) -> Failure {
    match error {
        ServeError::Data(_) => Failure::new(
            DATA_DIRECTORY,
            format!("Unable to access datadir, exiting abnormally\n  {error}"),
        ),
        ServeError::Admin(..) => Failure::new(
            ADMIN,
            format!("Unable to start AdminServer, exiting abnormally\n  {error}"),
        ),
        ServeError::Listen(..) | ServeError::Peers(..) | ServeError::System(..) => Failure::new(
            UNEXPECTED,
            format!("Unexpected exception, exiting abnormally\n  {error}"),
        ),
    }
}

/// Log lines go to standard error; `RUST_LOG` says which, or else `ringkeeper.log`, or else all from `info` up.
fn start_log(key: Option<&str>) -> Result<(), Failure> {
    let (source, words) = match (std::env::var("RUST_LOG"), key) {
        (Ok(words), _) => ("RUST_LOG", words),
        (Err(_), Some(words)) => ("ringkeeper.log", words.to_owned()),
        (Err(_), None) => ("", "info".to_owned()),
    };
    let filter = EnvFilter::try_new(&words).map_err(|error| {
        Failure::new(
            INVALID,
            format!(
                "{source}={words}: {error}; allowed is a level (error, warn, info, debug, trace) or target=level,..."
            ),
        )
    })?;
    // A second subscriber in one process is a test's; the first stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        // It would be said on standard error, with a panic where that is on a full disk.
        .log_internal_errors(false)
        .try_init();
    Ok(())
}

fn tell(config: &Config) {
    for (level, text) in &config.notes.told {
        match level {
            Level::Info => tracing::info!("{text}"),
            Level::Warn => tracing::warn!("{text}"),
        }
    }
    let options = &config.options;
    if !options.force_sync {
        tracing::warn!("forceSync=no: a power failure can lose writes that clients were told are done");
    }
    if options.features.policy.skip_acl {
        tracing::warn!("skipACL=yes: every client may do everything");
    }
}

/// What a person needs to know, once.
fn screen(address: SocketAddr, paths: (&Path, &Path), engine: &EngineChoice, what: &str) -> String {
    let everywhere = address.ip().is_unspecified();
    let host = if everywhere {
        "127.0.0.1".to_owned()
    } else {
        address.ip().to_string()
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let listens = if everywhere {
        format!("port {} on all addresses", address.port())
    } else {
        address.to_string()
    };
    let runs = match &engine.refused {
        None => engine.engine.name().to_owned(),
        Some(why) => format!("{} (io_uring is refused here: {why})", engine.engine.name()),
    };
    let shown = |path: &Path| {
        std::path::absolute(path)
            .unwrap_or_else(|_| path.to_owned())
            .display()
            .to_string()
    };
    format!(
        "Ringkeeper {version} is ready: {what} that speaks ZooKeeper 3.9.\n\
         \n\
         \x20 listening on   {listens}\n\
         \x20 data           {data}\n\
         \x20 log            {log}\n\
         \x20 I/O            {runs}\n\
         \n\
         \x20 connect with   zk-cli -server {host}:{port}    (or ZooKeeper's zkCli.sh -server {host}:{port})\n\
         \x20 stop with      Ctrl-C, or kill {pid}\n",
        version = env!("CARGO_PKG_VERSION"),
        data = shown(paths.0),
        log = shown(paths.1),
        port = address.port(),
        pid = std::process::id(),
    )
}

/// Nobody may be reading, which is no reason to stop.
fn show(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
