//! Throughput while servers are killed and return.
//!
//! The servers are started by commands and killed in turn with SIGKILL; a killed one stays away for a while and is
//! started by the same command on the same directory. The clients behave as ZooKeeper's do (see [`super::drive`]).

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::drive;
use super::measure::{INTERVAL_MS, Seen};
use super::plan::Plan;
use super::servers::Running;
use super::stage::{self, Outcome, Stage};

/// When servers go and return.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// From the beginning, or a kill, to the next kill.
    pub kill_every: Duration,
    /// Until the killed server is started again.
    pub down: Duration,
}

/// Something that was done to a server, and when, in seconds of the measured time.
#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    /// The server's number, from 1.
    pub server: usize,
    /// Killed, or started again.
    pub is_kill: bool,
    /// Seconds since measuring began.
    pub at_s: f64,
}

/// What clients saw of one kill, until the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Outage {
    /// The server's number.
    pub server: usize,
    /// When.
    pub at_s: f64,
    /// The longest time without any answer.
    pub silent_ms: u64,
    /// In all, the time with less than half of the throughput before.
    pub below_half_ms: u64,
    /// Answers per second in the two seconds before.
    pub before_per_second: f64,
}

/// Starts every server and tells where they are. Commands without `{port}` are the hosts', in order.
pub fn start(commands: &[String], hosts: &[SocketAddr], below: &Path) -> Result<Vec<Running>, String> {
    if commands.is_empty() {
        return Err("the failover preset needs --server CMD, once per server".into());
    }
    // Members of an ensemble answer nobody before a majority is there: all are begun before any is waited for.
    std::thread::scope(|scope| {
        let starting: Vec<_> = commands
            .iter()
            .enumerate()
            .map(|(index, command)| scope.spawn(move || Running::start(command, below, hosts.get(index).copied())))
            .collect();
        let joined = starting
            .into_iter()
            .map(|start| start.join().expect("it does not panic"));
        joined
            .map(|running| running.map_err(|error| error.to_string()))
            .collect()
    })
}

/// Runs the plan's mix while the script plays.
pub fn run(plan: &Plan, script: Script, servers: &mut [Running], live: bool) -> Result<(Outcome, Vec<Act>), String> {
    let mut acts = Ok(Vec::new());
    let outcome = stage::conduct(&[], (plan.warm_up, plan.duration), live, |stage| {
        std::thread::scope(|scope| {
            let player = scope.spawn(|| play(script, servers, stage, plan.duration));
            let seen: Result<Seen, String> = drive::run(plan, stage);
            acts = player.join().expect("the player does not panic");
            seen
        })
    })?;
    let acts = acts.map_err(|error| format!("a server could not be started again: {error}"))?;
    Ok((outcome, acts))
}

fn play(script: Script, servers: &mut [Running], stage: &Stage, duration: Duration) -> io::Result<Vec<Act>> {
    let tick = || std::thread::sleep(Duration::from_millis(5));
    let begun = loop {
        match stage.begun() {
            Some(begun) => break begun,
            None if stage.has_ended() => return Ok(Vec::new()),
            None => tick(),
        }
    };
    let mut acts = Vec::new();
    for number in 0.. {
        let kill_at = script.kill_every * (number + 1);
        let start_at = kill_at + script.down;
        // A kill whose end would not be seen says nothing.
        if start_at + script.down.min(Duration::from_secs(1)) > duration {
            break;
        }
        let server = number as usize % servers.len();
        for (is_kill, at) in [(true, kill_at), (false, start_at)] {
            while begun.elapsed() < at && !stage.has_ended() {
                tick();
            }
            if is_kill {
                servers[server].kill();
            } else {
                servers[server].start_again()?;
            }
            acts.push(Act {
                server: server + 1,
                is_kill,
                at_s: Instant::now().duration_since(begun).as_secs_f64(),
            });
        }
    }
    Ok(acts)
}

/// What the answers per interval say about each kill.
pub fn outages(intervals: &[u64], seconds: f64, acts: &[Act]) -> Vec<Outage> {
    let interval_s = INTERVAL_MS as f64 / 1000.0;
    let index = |at_s: f64| (at_s / interval_s) as usize;
    // After the last answer there are no intervals: they are silent.
    let at = |index: usize| intervals.get(index).copied().unwrap_or(0);
    let kills: Vec<&Act> = acts.iter().filter(|act| act.is_kill).collect();
    let outage = |(number, act): (usize, &&Act)| {
        let from = index(act.at_s);
        let until = kills.get(number + 1).map_or(index(seconds), |next| index(next.at_s));
        let before: Vec<u64> = (from.saturating_sub(20)..from).map(at).collect();
        let usual = before.iter().sum::<u64>() as f64 / before.len().max(1) as f64;
        let during: Vec<u64> = (from + 1..until).map(at).collect();
        let silent = during.split(|count| *count > 0).map(<[u64]>::len).max().unwrap_or(0);
        let below = during.iter().filter(|count| (**count as f64) < usual / 2.0).count();
        Outage {
            server: act.server,
            at_s: act.at_s,
            silent_ms: silent as u64 * INTERVAL_MS,
            below_half_ms: below as u64 * INTERVAL_MS,
            before_per_second: usual / interval_s,
        }
    };
    kills.iter().enumerate().map(outage).collect()
}

/// For people.
pub fn table(outages: &[Outage]) -> String {
    let mut text = format!(
        "{:<10}{:>12}{:>16}{:>22}{:>20}\n",
        "killed", "at s", "before, per s", "longest silence ms", "below half, ms"
    );
    for outage in outages {
        text.push_str(&format!(
            "{:<10}{:>12.1}{:>16.0}{:>22}{:>20}\n",
            format!("server {}", outage.server),
            outage.at_s,
            outage.before_per_second,
            outage.silent_ms,
            outage.below_half_ms
        ));
    }
    text
}

/// For programs.
pub fn json(acts: &[Act], outages: &[Outage]) -> Value {
    let acts = acts
        .iter()
        .map(|act| json!({"server": act.server, "act": if act.is_kill { "kill" } else { "start" }, "at_s": act.at_s}));
    let outages = outages.iter().map(|outage| {
        json!({"server": outage.server, "at_s": outage.at_s, "silent_ms": outage.silent_ms,
               "below_half_ms": outage.below_half_ms, "before_per_second": outage.before_per_second})
    });
    json!({"acts": acts.collect::<Vec<_>>(), "outages": outages.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_are_read_off_the_intervals() {
        let mut intervals = vec![100; 60];
        intervals[31..41].fill(0);
        intervals[41..44].fill(20);
        let act = |server, is_kill, at_s| Act { server, is_kill, at_s };
        let acts = [act(1, true, 3.05), act(1, false, 4.0), act(2, true, 5.5)];
        let found = outages(&intervals, 6.0, &acts);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].silent_ms, found[0].below_half_ms), (1000, 1300));
        assert_eq!(found[0].before_per_second, 1000.0);
        assert_eq!((found[1].server, found[1].silent_ms), (2, 0));
    }
}
