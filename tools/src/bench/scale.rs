//! `zk-bench scale`: what a second client core is worth, and what it costs.
//!
//! Starts Ringkeeper anew for each number of cores, each core pinned to a processor of its own, with the generator on
//! the processors that are left, and puts the same load on each in turn. Where none is left the generator shares the
//! server's, and throughput alone says little: what must then hold is that an operation costs no more CPU with more
//! cores, because nothing on its path is shared between them.

use std::path::PathBuf;

use ringkeeper::io::processor;
use serde_json::json;

use super::args::{RunArgs, Step};
use super::compare::{Spread, measure};
use super::plan::Load;
use super::report;
use super::servers::Running;

/// `zk-bench scale`'s arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct ScaleArgs {
    /// Client cores of the server, each pinned; one column per number
    #[arg(long, value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub cores: Vec<u32>,
    /// Rounds of all numbers in turn; medians are shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Fails if an operation costs more CPU than with the first number of cores, by more than so many per cent
    #[arg(long)]
    pub allow: Option<f64>,
    /// Where the servers' directories are made
    #[arg(long, default_value = ".")]
    pub below: PathBuf,
    /// The load; only reads unless something else is said
    #[command(flatten)]
    pub load: RunArgs,
}

/// The figures of one number of cores.
#[derive(Clone, Debug, Default)]
struct Column {
    cores: u32,
    per_second: Vec<f64>,
    cpu_us_per_op: Vec<f64>,
    processors: Vec<f64>,
}

impl Column {
    fn median(values: &[f64]) -> f64 {
        Spread::of(values.to_vec()).median
    }

    fn cpu(&self) -> f64 {
        Column::median(&self.cpu_us_per_op)
    }
}

/// Runs it.
pub fn run(args: &ScaleArgs) -> Result<(), String> {
    let mut load = args.load.clone();
    if load.mix.is_none() && load.read_percent.is_none() {
        load.read_percent = Some(100);
    }
    let mut steps = load.steps()?;
    let step = steps.remove(0);
    if step.plan.load != Load::Mix || !steps.is_empty() || !load.server.is_empty() || !load.pid.is_empty() {
        return Err(
            "scale starts Ringkeeper itself and measures one mix; leave out --preset, --server and --pid".into(),
        );
    }
    let mut columns: Vec<Column> = args
        .cores
        .iter()
        .map(|cores| Column {
            cores: *cores,
            ..Column::default()
        })
        .collect();
    for _ in 0..args.rounds {
        for column in &mut columns {
            round(&step, args, column)?;
        }
    }
    let shared = args
        .cores
        .iter()
        .any(|cores| left(*cores).is_ok_and(|left| left.is_empty()));
    match args.load.json {
        true => println!("{}", as_json(&step, &columns, shared)),
        false => print!("{}", table(&step, args.rounds, &columns, shared)),
    }
    judge(&columns, args.allow)
}

/// Processors that the server's cores leave to the generator.
fn left(cores: u32) -> Result<Vec<usize>, String> {
    let all = processor::numbers().map_err(|error| format!("which processors there are: {error}"))?;
    Ok(all.into_iter().skip(cores as usize).collect())
}

fn round(step: &Step, args: &ScaleArgs, column: &mut Column) -> Result<(), String> {
    let me = std::env::current_exe().map_err(|error| error.to_string())?;
    let command = format!(
        "'{}' serve ringkeeper --port {{port}} --dir {{dir}} --line ringkeeper.cores={} --line ringkeeper.pinCores=true",
        me.display(),
        column.cores
    );
    // Asked before this thread is pinned; the server would inherit that.
    let left = left(column.cores)?;
    let running = Running::start(&command, &args.below, None).map_err(|error| error.to_string())?;
    if !left.is_empty() {
        processor::pin_to(&left).map_err(|error| format!("the generator cannot be pinned: {error}"))?;
    }
    let measured = measure(step, &running);
    processor::unpin();
    let (step, outcome) = measured?;
    let cost = report::costs(&step, &outcome).remove(0);
    let per_second = outcome.seen.count() as f64 / outcome.seconds;
    eprintln!(
        "zk-bench: {} cores: {per_second:.0} a second, {:.3} µs CPU each",
        column.cores, cost.cpu_us_per_op
    );
    column.per_second.push(per_second);
    column.cpu_us_per_op.push(cost.cpu_us_per_op);
    column.processors.push(cost.processors);
    Ok(())
}

fn table(step: &Step, rounds: u32, columns: &[Column], shared: bool) -> String {
    let mut text = format!("{}; medians of {rounds} rounds in turn\n", step.plan.line());
    text.push_str(&format!("{:<32}", "client cores, each pinned"));
    columns
        .iter()
        .for_each(|column| text.push_str(&format!("{:>12}", column.cores)));
    let mut row = |name: &str, value: &dyn Fn(&Column) -> String| {
        text.push_str(&format!("\n{name:<32}"));
        columns
            .iter()
            .for_each(|column| text.push_str(&format!("{:>12}", value(column))));
    };
    row("operations per second", &|column| {
        format!("{:.0}", Column::median(&column.per_second))
    });
    row("server CPU µs per operation", &|column| format!("{:.3}", column.cpu()));
    row("operations per CPU-second", &|column| {
        format!("{:.0}", 1e6 / column.cpu())
    });
    row("server's processors busy", &|column| {
        format!("{:.2}", Column::median(&column.processors))
    });
    row("CPU per operation, to the first", &|column| {
        format!("{:+.1} %", 100.0 * (column.cpu() / columns[0].cpu() - 1.0))
    });
    text.push('\n');
    if shared {
        text.push_str("the generator shares the server's processors: look at CPU per operation, not at throughput\n");
    }
    text
}

fn as_json(step: &Step, columns: &[Column], shared: bool) -> serde_json::Value {
    let column = |column: &Column| {
        json!({
            "cores": column.cores,
            "operations_per_second": column.per_second,
            "cpu_us_per_operation": column.cpu_us_per_op,
            "processors": column.processors,
        })
    };
    let columns: Vec<_> = columns.iter().map(column).collect();
    json!({"load": step.plan.line(), "generator_shares_processors": shared, "columns": columns})
}

/// Whether more cores make an operation dearer than is allowed.
fn judge(columns: &[Column], allow: Option<f64>) -> Result<(), String> {
    let Some(allow) = allow else { return Ok(()) };
    let (first, most) = (columns[0].cpu(), columns[0].cpu() * (1.0 + allow / 100.0));
    match columns.iter().find(|column| column.cpu() > most) {
        Some(dear) => Err(format!(
            "an operation costs {:.3} µs CPU on {} cores and {first:.3} on {}: more than {allow} % above",
            dear.cpu(),
            dear.cores,
            columns[0].cores
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dearer_operations_are_named() {
        let column = |cores, cpu: f64| Column {
            cores,
            cpu_us_per_op: vec![cpu],
            ..Column::default()
        };
        let columns = [column(1, 2.0), column(2, 2.1)];
        assert_eq!(judge(&columns, None), Ok(()));
        assert_eq!(judge(&columns, Some(6.0)), Ok(()));
        let told = judge(&columns, Some(4.0)).unwrap_err();
        assert_eq!(
            told,
            "an operation costs 2.100 µs CPU on 2 cores and 2.000 on 1: more than 4 % above"
        );
    }
}
