//! From Apache ZooKeeper to Ringkeeper: read, check, then one snapshot and a manifest.

use clap::Args;
use ringkeeper::replica::apache::{self, Progress, Recovered};
use ringkeeper::tree::Features;
use storage::apache::Directory;
use storage::disk::RealDisk;
use storage::engine::Options;
use storage::import::{self, State};

use super::progress::Line;
use super::{Places, random};

/// What is to be done.
#[derive(Args, Clone, Debug)]
pub struct Import {
    #[command(flatten)]
    places: Places,
    /// Take logs without any snapshot for a whole history (snapshot.trust.empty); only servers before 3.5.3 leave such
    #[arg(long)]
    trust_empty_snapshot: bool,
    /// Take a snapshot whose logs are missing, although it may hold parts of later transactions
    #[arg(long)]
    allow_fuzzy: bool,
    /// Take the tree although its digest is not the one that ZooKeeper noted
    #[arg(long)]
    allow_other_digest: bool,
}

impl Import {
    /// Does it; what is to be told, or why not.
    pub fn run(&self) -> Result<String, String> {
        let places = &self.places;
        places.check_from()?;
        let options = Options {
            data_dir: places.to.clone(),
            log_dir: places.log_made().to_owned(),
            ..Options::default()
        };
        // Before the long part.
        if let Some(found) = import::find_store(&RealDisk, &options).map_err(|error| error.to_string())? {
            return Err(import::ImportError::There(found).to_string());
        }
        let directory = Directory::list(&places.from, places.log_read()).map_err(|error| error.to_string())?;
        let mut line = Line::new();
        let Recovered { mut tree, report } =
            apache::recover(&directory, &self.wish()?, &mut |progress| show(&mut line, progress))
                .map_err(|refusal| refusal.to_string())?;
        let view = tree.view();
        let mut written = 0;
        let mut entries = view.entries().inspect(|_| {
            written += 1;
            line.show("entries written", written, None);
        });
        let state = State {
            zxid: report.zxid,
            seed: view.seed(),
            meta: &view.meta(),
            entries: &mut entries,
        };
        let imported = import::import(&options, state, None).map_err(|error| error.to_string())?;
        let took = line.elapsed().as_secs_f64();
        Ok(format!(
            "read     {report}\nwrote    {}, {}\ntook     {took:.1} s",
            imported.path.display(),
            imported.summary
        ))
    }

    fn wish(&self) -> Result<apache::Options, String> {
        // A server that does not know times to live refuses to make such nodes: where there are some, it knew them.
        let features = Features {
            extended_types: true,
            digest: true,
            ..Features::default()
        };
        Ok(apache::Options {
            features,
            seed: random()?,
            trust_empty: self.trust_empty_snapshot,
            allow_fuzzy: self.allow_fuzzy,
            allow_other_digest: self.allow_other_digest,
        })
    }
}

fn show(line: &mut Line, progress: Progress) {
    match progress {
        Progress::Snapshot { nodes, read, length } => {
            line.show("nodes read", nodes, Some(read as f64 / length.max(1) as f64));
        }
        Progress::Log { replayed } => line.show("transactions replayed", replayed, None),
    }
}
