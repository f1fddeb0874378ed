//! `zk-server`: the words of `zkServer.sh`, and a server on built-in defaults when there is no word at all.
//!
//! Exit statuses are ZooKeeper's: 0 done, 1 unexpected error or not running, 2 bad arguments or configuration, 3 data
//! directory unusable. What a person asked for goes to standard output, all else to standard error.

mod foreground;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
}

/// `ExitCode.UNEXPECTED_ERROR`.
const UNEXPECTED: u8 = 1;
/// `ExitCode.INVALID_INVOCATION`.
const INVALID: u8 = 2;
/// `ExitCode.UNABLE_TO_ACCESS_DATADIR`.
const DATA_DIRECTORY: u8 = 3;

#[derive(Parser)]
#[command(
    name = "zk-server",
    version,
    about = "Ringkeeper, a coordination server that speaks ZooKeeper's protocols"
)]
struct Arguments {
    #[command(subcommand)]
    word: Option<Word>,
    /// Without a word: the client port instead of 2181
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Without a word: the data directory instead of ./ringkeeper-data
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Word {
    /// Serve until SIGTERM or SIGINT
    StartForeground {
        /// A path, or a name in ZOOCFGDIR; default: ZOOCFG or zoo.cfg
        config: Option<PathBuf>,
    },
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.word {
        None => foreground::defaults(arguments.port, arguments.data),
        Some(Word::StartForeground { config }) => foreground::with_file(&config.unwrap_or("zoo.cfg".into())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", failure.text);
            ExitCode::from(failure.status)
        }
    }
}
