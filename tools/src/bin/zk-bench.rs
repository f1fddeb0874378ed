//! `zk-bench`: a load generator for any server that speaks ZooKeeper's client protocol.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ringkeeper::io::Engine;
use ringkeeper_tools::bench::plan::{Plan, RunArgs};
use ringkeeper_tools::bench::{compare, fill, floor, report};

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
    /// Starts two servers in turn, A B A B, and prints the ratios with their spread
    Compare(CompareArgs),
    /// Measures what no server can beat here: an echo of equal frames, and the disk's sync
    Floor(FloorArgs),
    /// The echo that `floor` measures
    #[command(hide = true)]
    Echo(EchoArgs),
}

#[derive(clap::Args)]
struct CompareArgs {
    /// Starts server A; {port} becomes a free port, {dir} a fresh directory
    #[arg(long)]
    a: String,
    /// Starts server B
    #[arg(long)]
    b: String,
    /// Rounds of A and B
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Where the servers' directories are made; syncs go to this disk
    #[arg(long, default_value = ".")]
    below: PathBuf,
    #[command(flatten)]
    load: RunArgs,
}

#[derive(clap::Args)]
struct FloorArgs {
    /// The directory whose disk is measured
    #[arg(long, default_value = ".")]
    below: PathBuf,
    #[command(flatten)]
    load: RunArgs,
}

#[derive(clap::Args)]
struct EchoArgs {
    #[arg(long, default_value = "io_uring")]
    engine: String,
    #[arg(long)]
    port: u16,
    #[arg(long, default_value_t = 1096)]
    payload: u32,
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Run(args) => run(&args),
        Command::Fill(args) => args.plan().and_then(|plan| lay_out(&plan)),
        Command::Compare(args) => compare(&args),
        Command::Floor(args) => floor(&args),
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

fn lay_out(plan: &Plan) -> Result<(), String> {
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let progress = |done: u64| {
        if terminal {
            eprint!("\rzk-bench: {done} of {} znodes", plan.layout.count);
        }
    };
    let result = fill::fill(plan.addresses[0], &plan.layout, &plan.data, progress);
    if terminal {
        eprintln!();
    }
    result.map_err(|error| format!("{}: {error}", plan.addresses[0]))
}

fn run(args: &RunArgs) -> Result<(), String> {
    let plan = args.plan()?;
    if !args.no_fill {
        lay_out(&plan)?;
    }
    let result = compare::load(&plan, args.pid)?;
    if args.json {
        println!("{}", report::json(&plan, &result));
    } else {
        print!("{}", report::table(&plan, &result));
    }
    Ok(())
}

fn compare(args: &CompareArgs) -> Result<(), String> {
    let plan = args.load.plan()?;
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for number in 1..=args.rounds {
        for (name, command, rounds) in [("A", &args.a, &mut a), ("B", &args.b, &mut b)] {
            let round = compare::round(&plan, command, &args.below)?;
            eprintln!(
                "zk-bench: round {number} {name}: {:.0} operations per second, {:.2} µs CPU each",
                round.throughput, round.cpu_us
            );
            rounds.push(round);
        }
    }
    println!("A: {}\nB: {}", args.a, args.b);
    println!(
        "{} connections, {} in flight, {}, {} bytes; {} rounds",
        plan.connections,
        plan.in_flight,
        plan.mix,
        plan.data.len(),
        args.rounds
    );
    print!("{}", compare::table(&a, &b));
    Ok(())
}

fn floor(args: &FloorArgs) -> Result<(), String> {
    let seconds = std::time::Duration::from_secs_f64(args.load.duration.clamp(0.1, 3600.0));
    for (name, histogram) in
        floor::syncs(&args.below, seconds).map_err(|error| format!("{}: {error}", args.below.display()))?
    {
        let at = |percentile| histogram.value_at_percentile(percentile);
        println!(
            "4 KiB made durable by {name}: p50 {} µs, p99 {} µs, max {} µs",
            at(50.0),
            at(99.0),
            at(100.0)
        );
    }
    let me = std::env::current_exe().map_err(|error| error.to_string())?;
    for engine in ["io_uring", "epoll"] {
        let command = format!(
            "{} echo --engine {engine} --port {{port}} --payload {}",
            me.display(),
            args.load.size + 72
        );
        // The echo knows no znodes: there is nothing to lay out.
        let running = compare::Running::start(&command, &args.below).map_err(|error| error.to_string())?;
        let plan = Plan {
            addresses: vec![running.address],
            ..args.load.plan()?
        };
        let result = compare::load(&plan, Some(running.pid()))?;
        println!(
            "echo on {engine}, {} connections, {} in flight:",
            plan.connections, plan.in_flight
        );
        print!("{}", report::table(&plan, &result));
    }
    Ok(())
}

fn echo(args: &EchoArgs) -> Result<(), String> {
    let engine = if args.engine == "epoll" {
        Engine::Epoll
    } else {
        Engine::Uring
    };
    let address = ([127, 0, 0, 1], args.port).into();
    floor::echo(engine, address, args.payload as usize).map_err(|error| format!("echo on {address}: {error}"))
}
