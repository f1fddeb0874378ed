//! `salvage`: what a damaged store still holds, written as a new store into another directory.
//!
//! The way on for who has no copy and accepts the loss: the newest whole snapshot and the log behind it, up to the
//! first damage. The damaged store is only read. The new one is a snapshot and nothing else, at the zxid reached.

use std::path::PathBuf;

use clap::Args;
use storage::check;
use storage::disk::RealDisk;
use storage::engine::{DIRECTORY, Engine, OpenError, Options};
use storage::error::Remains;

use super::check::{Place, UNKNOWN, features};
use super::{DATA_DIRECTORY, Failure, UNEXPECTED};
use crate::replica::recover::Recovery;

/// From where, and where to.
#[derive(Args)]
pub struct SalvageArguments {
    #[command(flatten)]
    place: Place,
    /// The new dataDir (and dataLogDir); must not hold a store
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// Writes what is left, and says what is lost.
pub fn salvage(arguments: &SalvageArguments, config_directory: Option<PathBuf>) -> Result<(), Failure> {
    let store = arguments.place.store(config_directory)?;
    let (data, log) = (&store.data_dir, &store.log_dir);
    let target = arguments.to.join(DIRECTORY);
    if target.exists() {
        return Err(Failure::new(
            DATA_DIRECTORY,
            format!(
                "{} is there already; name a directory without a store",
                target.display()
            ),
        ));
    }
    let refused = |error: OpenError| Failure::new(DATA_DIRECTORY, error.to_string());
    let gather = |before, recovery: &mut Recovery| {
        check::salvage(&RealDisk, (data, log), store.load_threads, before, recovery).map_err(refused)
    };
    let seed = seed()?;
    let fresh = || Recovery::new(features(), seed).of_store(&store);
    let mut recovery = fresh();
    let mut remains = gather(None, &mut recovery)?;
    if recovery.is_beyond(reached(&remains)) {
        // The last transaction was refused after it was applied: once more, without it.
        let before = reached(&remains).next();
        recovery = fresh();
        remains = gather(Some(before), &mut recovery)?;
    }
    let Some(remains) = remains.filter(|remains| remains.reached.0 > 0) else {
        let text = format!("{} holds nothing that could be saved", data.join(DIRECTORY).display());
        return Err(Failure::new(DATA_DIRECTORY, text));
    };
    write(recovery, &remains, arguments)
}

fn reached(remains: &Option<Remains>) -> storage::Zxid {
    remains.as_ref().map_or(storage::Zxid::ZERO, |remains| remains.reached)
}

fn seed() -> Result<u64, Failure> {
    let bytes = crate::server::secret::random_bytes::<8>();
    let bytes = bytes.map_err(|error| Failure::new(UNEXPECTED, format!("/dev/urandom: {error}")))?;
    Ok(u64::from_ne_bytes(bytes))
}

fn write(recovery: Recovery, remains: &Remains, arguments: &SalvageArguments) -> Result<(), Failure> {
    let options = Options {
        data_dir: arguments.to.clone(),
        log_dir: arguments.to.clone(),
        ..Options::default()
    };
    let mut nothing = Recovery::new(features(), 0);
    let opened = Engine::open(options, &mut nothing);
    let (engine, _log, _report) = opened.map_err(|error| Failure::new(DATA_DIRECTORY, error.to_string()))?;
    let doubt = recovery.doubt();
    let view = recovery.finish().view();
    let written = engine.write_snapshot(remains.reached, view.seed(), &view.meta(), &mut view.entries(), None);
    let written = written.map_err(|error| Failure::new(UNKNOWN, error.to_string()))?;
    let known = remains.known.max(remains.reached);
    println!(
        "Saved the state at zxid {}: {} nodes in {written}",
        remains.reached,
        view.totals().nodes
    );
    match remains.is_all() {
        true => println!("Nothing that the damaged store's files know of is missing."),
        false => println!("What followed is lost: the damaged store's files name transactions up to zxid {known}."),
    }
    if let Some(doubt) = doubt {
        println!("Take care: {doubt}.");
    }
    println!(
        "Start a server with dataDir={} (and no other dataLogDir) to go on with it.",
        arguments.to.display()
    );
    Ok(())
}
