//! The first start on a data directory of Apache ZooKeeper: what is there becomes a store, once, and stays as it was.
//!
//! Only where there is no store yet. After that the old files are passed over with one line: they are a way back, not a
//! second truth.

use std::time::{Duration, Instant};

use storage::apache::Directory;
use storage::disk::RealDisk;
use storage::import::{self, State};

use super::options::Options;
use super::secret::random_bytes;
use super::serve::storage_options;
use crate::replica::apache::{self, Progress};

/// How often a long import says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Imports what Apache ZooKeeper left in the configured directories, if there is anything and no store yet.
///
/// # Errors
/// Why not, with the file; then nothing was changed.
pub fn first_start(options: &Options) -> Result<(), String> {
    let storage = storage_options(options);
    let directory = Directory::list(&options.data_dir, &options.log_dir).map_err(|error| error.to_string())?;
    if directory.is_empty() {
        return Ok(());
    }
    let store = import::find_store(&RealDisk, &storage).map_err(|error| error.to_string())?;
    if let Some(store) = store {
        tracing::info!(
            "{} holds files of Apache ZooKeeper: passed over, because there is a store already ({})",
            directory.snapshot_dir.display(),
            store.display()
        );
        return Ok(());
    }
    tracing::info!(
        snapshots = directory.snapshots.len(),
        logs = directory.logs.len(),
        "{} holds data of Apache ZooKeeper and there is no store yet: importing it; the files stay as they are",
        directory.snapshot_dir.display()
    );
    let started = Instant::now();
    let wish = apache::Options {
        features: options.features.clone(),
        seed: u64::from_ne_bytes(random_bytes::<8>().map_err(|error| format!("/dev/urandom: {error}"))?),
        trust_empty: options.trust_empty,
        allow_fuzzy: false,
        allow_other_digest: false,
    };
    let mut last = started;
    let mut tell = |progress| {
        if last.elapsed() > TELL_EVERY {
            last = Instant::now();
            tell(progress, started.elapsed());
        }
    };
    let apache::Recovered { mut tree, report } =
        apache::recover(&directory, &wish, &mut tell).map_err(|refusal| refusal.to_string())?;
    let view = tree.view();
    let state = State {
        zxid: report.zxid,
        seed: view.seed(),
        meta: &view.meta(),
        entries: &mut view.entries(),
    };
    let imported = import::import(&storage, state, options.snap_rate).map_err(|error| error.to_string())?;
    tracing::info!(
        zxid = %report.zxid,
        nodes = report.nodes,
        ms = started.elapsed().as_millis() as u64,
        "imported from Apache ZooKeeper: {report}; now {}, {}",
        imported.path.display(),
        imported.summary
    );
    Ok(())
}

fn tell(progress: Progress, elapsed: Duration) {
    let per_second = |count: u64| (count as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
    match progress {
        Progress::Snapshot { nodes, read, length } => tracing::info!(
            "importing: {}% of the snapshot, {nodes} nodes, {} a second",
            read * 100 / length.max(1),
            per_second(nodes)
        ),
        Progress::Log { replayed } => tracing::info!(
            "importing: {replayed} transactions of the log, {} a second",
            per_second(replayed)
        ),
    }
}
