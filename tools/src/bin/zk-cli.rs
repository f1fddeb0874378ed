//! `zk-cli`: the shell that `zkCli.sh` starts. Everything lives in [`ringkeeper_tools::cli`].

fn main() {
    std::process::exit(ringkeeper_tools::cli::main(std::env::args().skip(1)));
}
