//! `zk-bench`: a load generator for any server that speaks ZooKeeper's client protocol.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ringkeeper::io::Engine;
use ringkeeper_tools::bench::args::RunArgs;
use ringkeeper_tools::bench::floor::Sizes;
use ringkeeper_tools::bench::scale::ScaleArgs;
use ringkeeper_tools::bench::servers::{self, Product};
use ringkeeper_tools::bench::table::TableArgs;
use ringkeeper_tools::bench::{command, floor, scale, table};

/// A load generator for any server that speaks ZooKeeper's client protocol
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Puts a load on servers and prints throughput and latencies
    Run(RunArgs),
    /// Only lays out the znodes of a load
    Fill(RunArgs),
    /// Deletes everything below --root
    Clean(RunArgs),
    /// Starts two servers in turn, A B A B, and prints the ratios with their spread
    Compare(command::CompareArgs),
    /// Measures what no server can beat here: an echo of equal frames, and the disk's sync
    Floor(command::FloorArgs),
    /// Starts Ringkeeper with more and more pinned cores and prints what an operation costs on each
    Scale(ScaleArgs),
    /// Compares Ringkeeper with Apache ZooKeeper in every load of Ringkeeper's targets; prints a Markdown table
    Table(TableArgs),
    /// Becomes a server, for compare: writes a zoo.cfg with the product's defaults into --dir and runs it
    Serve(ServeArgs),
    /// The echo that `floor` measures
    #[command(hide = true)]
    Echo(EchoArgs),
}

#[derive(clap::Args)]
struct ServeArgs {
    #[arg(value_enum)]
    product: Product,
    #[arg(long)]
    port: u16,
    #[arg(long)]
    dir: PathBuf,
    /// A line more for zoo.cfg, such as snapCount=10000
    #[arg(long)]
    line: Vec<String>,
    /// This member's number in an ensemble whose server.N stand in --line
    #[arg(long)]
    id: Option<u32>,
}

#[derive(clap::Args)]
struct EchoArgs {
    #[arg(long, default_value = "io_uring")]
    engine: String,
    #[arg(long)]
    port: u16,
    #[command(flatten)]
    sizes: Sizes,
}

fn main() -> ExitCode {
    command::allow_many_files();
    let result = match Args::parse().command {
        Command::Run(args) => command::run(&args),
        Command::Fill(args) => command::fill(&args),
        Command::Clean(args) => command::clean(&args),
        Command::Compare(args) => command::compare(&args),
        Command::Floor(args) => command::floor(&args),
        Command::Scale(args) => scale::run(&args),
        Command::Table(args) => table::run(&args),
        Command::Serve(args) => {
            let error = servers::serve(args.product, args.port, &args.dir, &args.line, args.id);
            Err(format!("serve: {error}"))
        }
        Command::Echo(args) => echo(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zk-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn echo(args: &EchoArgs) -> Result<(), String> {
    let engine = if args.engine == "epoll" {
        Engine::Epoll
    } else {
        Engine::Uring
    };
    let address = ([127, 0, 0, 1], args.port).into();
    floor::echo(engine, address, args.sizes).map_err(|error| format!("echo on {address}: {error}"))
}
