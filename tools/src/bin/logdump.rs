//! Prints and checks the log; see `ringkeeper_tools::dump::log`.

use std::io;
use std::process::ExitCode;

use ringkeeper_tools::dump::{self, log};

fn main() -> ExitCode {
    dump::main(std::env::args_os(), |arguments: &log::Arguments| {
        log::run(arguments, &mut io::stdout().lock(), &mut io::stderr().lock())
    })
}
