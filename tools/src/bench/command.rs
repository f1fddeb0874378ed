//! `zk-bench`'s commands, from arguments to what is printed.

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use ringkeeper::io::Engine;
use serde_json::{Value, json};

use super::args::{RunArgs, Step, seconds};
use super::compare::Round;
use super::failover::{self, Act, Script};
use super::floor::Sizes;
use super::plan::{Load, Plan};
use super::plot::Chart;
use super::preset::Preset;
use super::servers::Running;
use super::stage::Outcome;
use super::syncs::{self, Syncs};
use super::{compare as comparison, figures, fill as filling, floor as floors, plot, report};

/// `zk-bench compare`'s arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct CompareArgs {
    /// Starts server A; {port} becomes a free port, {dir} a fresh directory. `ringkeeper` and `zookeeper` alone stand
    /// for `zk-bench serve …`: zk-server, and Apache ZooKeeper 3.9.5 as Maven fetches it
    #[arg(long)]
    pub a: String,
    /// Starts server B
    #[arg(long)]
    pub b: String,
    /// Rounds of A and B
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Servers of each side: more than 1 make an ensemble. A command of several words is then given {id} and {servers}
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub members: u32,
    /// Where the servers' directories are made; syncs go to this disk
    #[arg(long, default_value = ".")]
    pub below: PathBuf,
    /// The load
    #[command(flatten)]
    pub load: RunArgs,
}

/// `zk-bench floor`'s arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct FloorArgs {
    /// The directory whose disk is measured
    #[arg(long, default_value = ".")]
    pub below: PathBuf,
    /// The load, and with --server CMD a server that is measured beside the echo
    #[command(flatten)]
    pub load: RunArgs,
}

/// Thousands of connections need as many descriptors, here and in the servers that are started.
pub fn allow_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused, the shell's limit stays; who needs more gets an error that says so.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// `zk-bench run`.
pub fn run(args: &RunArgs) -> Result<(), String> {
    let mut steps = args.steps()?;
    let mut servers = Vec::new();
    if args.preset == Some(Preset::Failover) {
        servers = failover::start(&args.server, &steps[0].plan.addresses, Path::new("."))?;
        let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
        steps
            .iter_mut()
            .for_each(|step| step.plan.addresses = addresses.clone());
    } else if !args.server.is_empty() {
        return Err("--server belongs to --preset failover".into());
    }
    let pids: Vec<u32> = match servers.is_empty() {
        true => args.pid.clone(),
        false => servers.iter().map(Running::pid).collect(),
    };
    let syncs = syncs::judge(&steps[0].plan.addresses, &pids);
    announce(&syncs, args.json);
    let mut results = Vec::new();
    let mut acts = Vec::new();
    for step in steps {
        if !args.no_fill {
            lay_out(&step.plan)?;
        }
        let outcome = if servers.is_empty() {
            step.plan.run(&args.pid, true)?
        } else {
            let script = Script {
                kill_every: seconds("--kill-every", args.kill_every)?,
                down: seconds("--down", args.down)?,
            };
            let (outcome, done) = failover::run(&step.plan, script, &mut servers, true)?;
            acts = done;
            outcome
        };
        if !args.json {
            println!("{}", report::table(&step, &outcome));
        }
        results.push((step, outcome));
    }
    show(args, &syncs, &results, &acts)
}

fn announce(syncs: &Syncs, is_json: bool) {
    if is_json {
        eprintln!("{}", syncs.line());
    } else {
        println!("{}", syncs.line());
    }
}

fn show(args: &RunArgs, syncs: &Syncs, results: &[(Step, Outcome)], acts: &[Act]) -> Result<(), String> {
    let outages = results
        .first()
        .map(|(_, outcome)| failover::outages(&outcome.seen.intervals, outcome.seconds, acts))
        .unwrap_or_default();
    if args.json {
        let mut all: Vec<Value> = results
            .iter()
            .map(|(step, outcome)| report::json(step, outcome, syncs))
            .collect();
        if !acts.is_empty() {
            all[0]["failover"] = failover::json(acts, &outages);
        }
        let value = if all.len() == 1 {
            all.remove(0)
        } else {
            json!({"steps": all})
        };
        println!("{value}");
    } else if !acts.is_empty() {
        print!("{}", failover::table(&outages));
    } else if results.len() > 1 {
        print!("{}", steps_table(results));
    }
    if let Some(path) = &args.plot {
        let (_, outcome) = &results[0];
        let line = results[0].0.plan.line();
        let subtitle = match results.len() {
            1 => format!("{line}; {:.0} s", outcome.seconds),
            count => format!("{count} loads of {:.0} s; the first: {line}", outcome.seconds),
        };
        write_plot(path, &figures::of_run(results, acts, subtitle))?;
    }
    Ok(())
}

/// One line per step, as the tables have that presets reproduce.
fn steps_table(results: &[(Step, Outcome)]) -> String {
    let mut text = format!(
        "{:<16}{:>16}{:>12}{:>12}{:>12}{:>18}\n",
        "load", "operations/s", "p50 ms", "p99 ms", "p99.9 ms", "server CPU µs/op"
    );
    for (step, outcome) in results {
        let all = outcome.seen.all();
        let ms = |percentile| all.value_at_percentile(percentile) as f64 / 1000.0;
        let costs = report::costs(step, outcome);
        let cpu = match costs.is_empty() {
            true => "-".to_owned(),
            false => format!("{:.2}", costs.iter().map(|cost| cost.cpu_us_per_op).sum::<f64>()),
        };
        text.push_str(&format!(
            "{:<16}{:>16.0}{:>12.3}{:>12.3}{:>12.3}{cpu:>18}\n",
            step.name,
            all.len() as f64 / outcome.seconds,
            ms(50.0),
            ms(99.0),
            ms(99.9)
        ));
    }
    text
}

fn write_plot(path: &Path, chart: &Chart) -> Result<(), String> {
    fs::write(path, plot::svg(chart)).map_err(|error| format!("--plot {}: {error}", path.display()))
}

/// `zk-bench fill`.
pub fn fill(args: &RunArgs) -> Result<(), String> {
    args.steps()?.iter().try_for_each(|step| lay_out(&step.plan))
}

fn lay_out(plan: &Plan) -> Result<(), String> {
    let terminal = std::io::stderr().is_terminal();
    let progress = |done: u64| {
        if terminal {
            eprint!("\r\x1b[Klaying out: {done} of {} znodes", plan.layout.count);
        }
    };
    let result = plan.fill(progress);
    if terminal {
        eprint!("\r\x1b[K");
    }
    result
}

/// `zk-bench clean`.
pub fn clean(args: &RunArgs) -> Result<(), String> {
    let step = args.steps()?.remove(0);
    let address = step.plan.addresses[0];
    let count = filling::clean(address, &step.plan.layout.root).map_err(|error| format!("{address}: {error}"))?;
    println!("{count} znodes deleted");
    Ok(())
}

/// `zk-bench compare`.
pub fn compare(args: &CompareArgs) -> Result<(), String> {
    if args.load.preset == Some(Preset::Failover) || !args.load.server.is_empty() || !args.load.pid.is_empty() {
        return Err("compare starts its servers itself: --preset failover, --server and --pid belong to run".into());
    }
    let steps = args.load.steps()?;
    let (mut a, mut b): (Vec<Round>, Vec<Round>) = (Vec::new(), Vec::new());
    for number in 1..=args.rounds {
        for (name, command, rounds) in [("A", &args.a, &mut a), ("B", &args.b, &mut b)] {
            let round = comparison::round(&steps, command, &args.below, args.members)
                .map_err(|error| format!("'{command}': {error}"))?;
            if number == 1 {
                announce_side(name, &round.syncs, args.load.json);
            }
            let shown = round
                .figures
                .iter()
                .take(2)
                .map(|(name, value)| format!("{} {name}", comparison::short(*value)));
            eprintln!(
                "zk-bench: round {number} {name}: {}",
                shown.collect::<Vec<_>>().join(", ")
            );
            rounds.push(round);
        }
    }
    let compared = comparison::compared(&a, &b);
    if args.load.json {
        let mut value = comparison::json([&args.a, &args.b], &a, &b, &compared);
        value["load"] = steps.iter().map(|step| step.plan.line()).collect::<Vec<_>>().into();
        println!("{value}");
    } else {
        println!("A: {}\nB: {}", args.a, args.b);
        println!("{} rounds of each, in turn; {}", args.rounds, steps[0].plan.line());
        if steps.len() > 1 {
            let all_steps = compared.iter().filter(|one| !one.name.contains(": "));
            println!("and so on, {} loads; all figures with --json", steps.len());
            print!("{}", comparison::steps_table(&steps, &compared));
            print!("{}", comparison::table(all_steps));
        } else {
            print!("{}", comparison::table(compared.iter()));
        }
        for (name, rounds) in [("A", &a), ("B", &b)] {
            let warnings = rounds.iter().flat_map(|round| &round.warnings);
            let warnings: std::collections::BTreeSet<&String> = warnings.collect();
            // Digits differ from round to round; the first of each kind is enough.
            warnings
                .iter()
                .take(3)
                .for_each(|warning| println!("WARNING ({name}): {warning}"));
        }
    }
    match &args.load.plot {
        Some(path) => plot_compared(path, args, &steps, &a, &b),
        None => Ok(()),
    }
}

fn announce_side(name: &str, syncs: &Syncs, is_json: bool) {
    let line = format!("{name}: {}", syncs.line());
    if is_json {
        eprintln!("{line}");
    } else {
        println!("{line}");
    }
}

/// A sweep of both servers: each place is the median of its rounds.
fn plot_compared(path: &Path, args: &CompareArgs, steps: &[Step], a: &[Round], b: &[Round]) -> Result<(), String> {
    let medians = |rounds: &[Round]| -> Vec<figures::Point> {
        let place = |index: usize| {
            let median = |value: fn(&figures::Point) -> f64| {
                let values = rounds.iter().map(|round| value(&round.points[index]));
                comparison::Spread::of(values.collect()).median
            };
            figures::Point {
                read_percent: rounds[0].points[index].read_percent,
                per_second: median(|point| point.per_second),
                p50_ms: median(|point| point.p50_ms),
                p99_ms: median(|point| point.p99_ms),
            }
        };
        (0..rounds[0].points.len()).map(place).collect()
    };
    if a[0].points.is_empty() {
        return Err("--plot of a comparison needs a sweep: --preset paper".into());
    }
    let name = |command: &str, otherwise: &str| match command.split_whitespace().count() {
        1 => command.to_owned(),
        _ => otherwise.to_owned(),
    };
    let (name_a, name_b) = (name(&args.a, "A"), name(&args.b, "B"));
    let chart = Chart {
        title: format!("{name_a} and {name_b}"),
        subtitle: format!(
            "medians of {} rounds in turn; the first load: {}",
            args.rounds,
            steps[0].plan.line()
        ),
        panels: figures::sweep(&[(&name_a, medians(a)), (&name_b, medians(b))]),
    };
    write_plot(path, &chart)
}

/// `zk-bench floor`.
pub fn floor(args: &FloorArgs) -> Result<(), String> {
    let mut steps = args.load.steps()?;
    let step = steps.remove(0);
    if step.plan.load != Load::Mix || !steps.is_empty() {
        return Err("floor measures one mix; leave out --preset".into());
    }
    let mut report = json!({});
    for (name, histogram) in
        floors::syncs(&args.below, step.plan.duration).map_err(|error| format!("{}: {error}", args.below.display()))?
    {
        let at = |percentile| histogram.value_at_percentile(percentile);
        report["sync"][name] = json!({"p50_us": at(50.0), "p99_us": at(99.0), "max_us": at(100.0)});
        if !args.load.json {
            println!(
                "4 KiB made durable by {name}: p50 {} µs, p99 {} µs, max {} µs",
                at(50.0),
                at(99.0),
                at(100.0)
            );
        }
    }
    let mut echoes = Vec::new();
    for engine in [Engine::Uring, Engine::Epoll] {
        if engine == Engine::Uring && Engine::probe().is_err() {
            eprintln!("zk-bench: the kernel refuses io_uring here; only epoll is measured");
            continue;
        }
        let (echo_step, outcome) = echo(&step, engine, &args.below)?;
        if !args.load.json {
            println!("echo on {}:\n{}", engine.name(), report::table(&echo_step, &outcome));
        }
        let unknown = Syncs::Unknown("an echo writes nothing".into());
        report["echo"][engine.name()] = report::json(&echo_step, &outcome, &unknown);
        echoes.push((engine, outcome));
    }
    for command in &args.load.server {
        let running = Running::start(command, &args.below, None).map_err(|error| error.to_string())?;
        let (step, outcome) = comparison::measure(&step, &running)?;
        let wrong = floors::differences(&echoes[0].1.seen.frames, &outcome.seen.frames);
        if !wrong.is_empty() {
            return Err(format!("the floor is not of equal frames: {}", wrong.join("; ")));
        }
        let syncs = syncs::judge(&step.plan.addresses, &[running.pid()]);
        let cpu = |outcome: &Outcome| report::costs(&step, outcome)[0].cpu_us_per_op;
        if !args.load.json {
            println!(
                "{command}: frames have the echo's sizes\n{}",
                report::table(&step, &outcome)
            );
            for (engine, echo) in &echoes {
                let times = cpu(&outcome) / cpu(echo);
                println!("CPU per operation: {times:.2} × the echo on {}", engine.name());
            }
        }
        report["server"] = report::json(&step, &outcome, &syncs);
    }
    if args.load.json {
        println!("{report}");
    }
    Ok(())
}

/// Runs a mix against an echo of equal frames.
pub fn echo(step: &Step, engine: Engine, below: &Path) -> Result<(Step, Outcome), String> {
    let me = std::env::current_exe().map_err(|error| error.to_string())?;
    let command = format!(
        "'{}' echo --engine {} --port {{port}} {}",
        me.display(),
        engine.name(),
        Sizes::of(&step.plan).arguments()
    );
    let running = Running::start(&command, below, None).map_err(|error| error.to_string())?;
    let mut step = step.clone();
    step.plan.addresses = vec![running.address];
    // The echo knows no znodes: there is nothing to lay out.
    let outcome = step.plan.run(&[running.pid()], false)?;
    Ok((step, outcome))
}
