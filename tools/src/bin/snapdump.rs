//! Prints and checks snapshots; see `ringkeeper_tools::dump::snapshot`.

use std::io;
use std::process::ExitCode;

use ringkeeper_tools::dump::{self, snapshot};

fn main() -> ExitCode {
    dump::main(std::env::args_os(), |arguments: &snapshot::Arguments| {
        snapshot::run(arguments, &mut io::stdout().lock(), &mut io::stderr().lock())
    })
}
