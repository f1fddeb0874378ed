//! `zk-bench`: a load generator for any server that speaks ZooKeeper's client protocol.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ringkeeper_tools::bench::plan::{Plan, RunArgs};
use ringkeeper_tools::bench::process::Usage;
use ringkeeper_tools::bench::{drive, fill, report};

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
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Run(args) => run(&args),
        Command::Fill(args) => args.plan().and_then(|plan| lay_out(&plan)),
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
    // The server's counters are read when measuring begins and when it ends.
    let meter = args.pid.map(|pid| {
        let (warm_up, duration) = (plan.warm_up, plan.duration);
        std::thread::spawn(move || {
            std::thread::sleep(warm_up);
            let before = Usage::of(pid)?;
            std::thread::sleep(duration);
            Ok::<_, String>((before, Usage::of(pid)?))
        })
    });
    let seen = drive::run(&plan).map_err(|error| error.to_string())?;
    let usage = meter
        .map(|meter| meter.join().expect("the meter does not panic"))
        .transpose()?;
    let result = report::Result { seen, usage };
    if args.json {
        println!("{}", report::json(&plan, &result));
    } else {
        print!("{}", report::table(&plan, &result));
    }
    Ok(())
}
