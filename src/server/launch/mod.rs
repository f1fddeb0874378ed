//! `zk-server`: the words of `zkServer.sh`, and a server on built-in defaults when there is no word at all.
//!
//! Exit statuses are ZooKeeper's: 0 done, 1 unexpected error or not running, 2 bad arguments or configuration, 3 data
//! directory unusable, 4 no admin server; and Ringkeeper's: 21 the log could not be written or synced, 22 there was no
//! space left for it (`writer`). What a person asked for goes to standard output, all else to standard error.

mod background;
mod check;
mod files;
mod foreground;
mod process;
mod salvage;
mod status;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::io::allow_huge_pages;

use check::CheckArguments;
use salvage::SalvageArguments;

/// A failure that ends the program: what to say and with which status.
#[derive(Debug)]
pub struct Failure {
    /// One paragraph.
    pub text: String,
    /// The process's exit status.
    pub status: u8,
}

impl Failure {
    fn new(status: u8, text: impl Into<String>) -> Failure {
        Failure {
            text: text.into(),
            status,
        }
    }

    /// Everything was said already.
    fn silent(status: u8) -> Failure {
        Failure::new(status, "")
    }
}

/// `ExitCode.UNEXPECTED_ERROR`.
const UNEXPECTED: u8 = 1;
/// `ExitCode.INVALID_INVOCATION`.
const INVALID: u8 = 2;
/// `ExitCode.UNABLE_TO_ACCESS_DATADIR`.
const DATA_DIRECTORY: u8 = 3;
/// `ExitCode.ERROR_STARTING_ADMIN_SERVER`.
const ADMIN: u8 = 4;

#[derive(Parser)]
#[command(
    name = "zk-server",
    version,
    about = "Ringkeeper, a coordination server that speaks ZooKeeper's protocols"
)]
#[command(after_help = "Without a word a standalone server starts on built-in defaults.\n\n\
    Exit statuses: 0 done, 1 unexpected error or not running, 2 bad arguments or configuration, \
    3 data directory unusable, 4 no admin server, 21 the log could not be written or synced (an I/O error), \
    22 no space left for the log, 23 a snapshot was lost while it was read. check has its own.\n\n\
    SIGUSR1 makes a server take a snapshot.\n\n\
    Environment: ZOOCFGDIR, ZOOCFG, ZOOPIDFILE, ZOO_LOG_DIR, ZOO_DATADIR_AUTOCREATE_DISABLE, SERVER_JVMFLAGS, \
    JVMFLAGS (as zkServer.sh has them), RUST_LOG.")]
struct Arguments {
    #[command(subcommand)]
    word: Option<Word>,
    /// The directory of configuration files, instead of ZOOCFGDIR
    #[arg(long = "config", value_name = "DIR", global = true)]
    directory: Option<PathBuf>,
    /// Without a word: the client port instead of 2181
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Without a word: the data directory instead of ./ringkeeper-data
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Args)]
struct Cfg {
    /// A path, or a name in the configuration directory [default: ZOOCFG, or zoo.cfg]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Word {
    /// Serve in the background
    Start(Cfg),
    /// Serve until SIGTERM or SIGINT
    StartForeground(Cfg),
    /// End the server in the background
    Stop(Cfg),
    /// Stop, then start
    Restart(Cfg),
    /// Tell the mode of the running server
    Status(Cfg),
    /// Print what start runs
    PrintCmd(Cfg),
    /// Print the version
    Version(Cfg),
    /// Verify a data directory without starting, and tell what a start would do
    #[command(
        after_help = "Exit statuses: 0 all is clean, 1 a start would go on but not all is in order (it would cut \
        a torn end or remove leftovers, or a file that it does not need is damaged, or there is no store yet), 2 a \
        start would be refused, 3 bad arguments, a file that cannot be read, or a server that runs there."
    )]
    Check(CheckArguments),
    /// Write what a damaged data directory still holds to a new one
    Salvage(SalvageArguments),
    /// No longer a word of ZooKeeper
    #[command(hide = true)]
    Upgrade(Cfg),
}

/// Runs the program.
pub fn main() -> ExitCode {
    // Before anything is allocated that would lie in one; a tree that grows large gets them (`start::mind_pages`).
    allow_huge_pages(false);
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Of a check, 2 would be a verdict.
        Err(error) if error.use_stderr() && std::env::args().any(|word| word == "check") => {
            let _ = error.print();
            return ExitCode::from(check::UNKNOWN);
        }
        Err(error) => error.exit(),
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.text.is_empty() {
                let _ = writeln!(std::io::stderr(), "{}", failure.text);
            }
            ExitCode::from(failure.status)
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let directory = arguments.directory;
    let file = |cfg: Cfg| {
        let file = files::config(directory.clone(), cfg.config.as_deref());
        // Nobody may be able to read it, such as on a full disk, which is no reason to stop.
        let _ = writeln!(std::io::stderr(), "Using config: {}", file.display());
        file
    };
    match arguments.word {
        None => foreground::defaults(arguments.port, arguments.data),
        Some(Word::Start(cfg)) => background::start(&file(cfg)),
        Some(Word::StartForeground(cfg)) => foreground::with_file(&file(cfg)),
        Some(Word::Stop(cfg)) => background::stop(&file(cfg)),
        Some(Word::Restart(cfg)) => background::restart(&file(cfg)),
        Some(Word::Status(cfg)) => status::status(&file(cfg)),
        Some(Word::PrintCmd(cfg)) => {
            status::print_cmd(&file(cfg));
            Ok(())
        }
        Some(Word::Version(cfg)) => {
            file(cfg);
            status::version();
            Ok(())
        }
        Some(Word::Check(arguments)) => check::check(&arguments, directory.clone()),
        Some(Word::Salvage(arguments)) => salvage::salvage(&arguments, directory.clone()),
        Some(Word::Upgrade(_)) => Err(Failure::new(
            INVALID,
            "upgrade is no word of ZooKeeper since 3.5, nor of zk-server; allowed are start, start-foreground, stop, \
             version, restart, status and print-cmd",
        )),
    }
}
