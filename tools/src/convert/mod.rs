//! `zk-convert`: a data directory of Apache ZooKeeper becomes one of Ringkeeper, and back.
//!
//! Both ways read only, write aside and give the whole its name last: what a crash or a full disk leaves is no store and
//! no data directory, and the same command can be given again. What is there is never overwritten. The trees are the
//! same on both sides, to the last Stat; sessions, their ephemerals and ACLs go along.

mod export;
mod import;
mod progress;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "zk-convert",
    version,
    about = "Converts data directories between Apache ZooKeeper and Ringkeeper"
)]
#[command(
    after_help = "The servers on both sides must be stopped. Nothing that is there is changed or overwritten.\n\n\
    Exit status: 0 done, 1 refused (standard error says why and what to do), 2 wrong usage.\n\n\
    Examples:\n  \
    zk-convert import --from /var/lib/zookeeper --to /var/lib/ringkeeper\n  \
    zk-convert export --from /var/lib/ringkeeper --to /var/lib/zookeeper --compression gz"
)]
struct Arguments {
    #[command(subcommand)]
    way: Way,
}

#[derive(Subcommand)]
enum Way {
    /// From Apache ZooKeeper 3.4 to 3.9 to Ringkeeper
    ///
    /// Reads the newest whole snapshot (plain, gz or snappy) and the logs behind it, checks every checksum, that no
    /// transaction is missing, and the tree's digest, and writes one Ringkeeper snapshot at exactly the last zxid.
    /// zk-server does the same by itself when it starts on such a directory.
    Import(import::Import),
    /// From Ringkeeper to Apache ZooKeeper
    ///
    /// Writes a snapshot at exactly the last zxid, with all its seals, and the files that say the epoch, so that Apache
    /// ZooKeeper 3.9 starts on the directory.
    Export(export::Export),
}

/// Where to read and where to write.
#[derive(Args, Clone, Debug)]
struct Places {
    /// The data directory to read (dataDir)
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Its log directory (dataLogDir), if that is another
    #[arg(long, value_name = "DIR")]
    from_log: Option<PathBuf>,
    /// The data directory to make
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Its log directory, if that is to be another
    #[arg(long, value_name = "DIR")]
    to_log: Option<PathBuf>,
}

impl Places {
    fn log_read(&self) -> &Path {
        self.from_log.as_ref().unwrap_or(&self.from)
    }

    fn log_made(&self) -> &Path {
        self.to_log.as_ref().unwrap_or(&self.to)
    }

    fn check_from(&self) -> Result<(), String> {
        for directory in [&*self.from, self.log_read()] {
            if !directory.is_dir() {
                return Err(format!("{} is no directory", directory.display()));
            }
        }
        Ok(())
    }
}

/// Runs the tool.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let done = match Arguments::parse_from(arguments).way {
        Way::Import(import) => import.run(),
        Way::Export(export) => export.run(),
    };
    match done {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("zk-convert: {why}");
            ExitCode::FAILURE
        }
    }
}

/// A number nobody can foresee, for the order of the trie.
fn random() -> Result<u64, String> {
    use storage::disk::Disk;
    storage::disk::RealDisk
        .random()
        .map_err(|error| format!("/dev/urandom: {error}"))
}
