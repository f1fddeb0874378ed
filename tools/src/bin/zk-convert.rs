//! Converts between Apache ZooKeeper's data directories and Ringkeeper's; see `ringkeeper_tools::convert`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringkeeper_tools::convert::main(std::env::args_os())
}
