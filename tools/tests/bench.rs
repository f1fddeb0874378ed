//! `zk-bench` as a user runs it, against Ringkeeper and Apache ZooKeeper 3.9.5.
//!
//! What it says it did must be what the servers say was done: packets received, transactions, watches fired. What it
//! says about latency must be true of a server that is known to stand still. The rest is what users see: presets,
//! plots, the live line, comparisons.

#[path = "../../tests/peers/mod.rs"]
mod peers;

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use peers::{Engine, JavaServer, Peer, RingServer, wait_until};

/// Of Ringkeeper and ZooKeeper alike: many connections, all words.
const LINES: &[&str] = &["4lw.commands.whitelist=*"];

fn ring() -> RingServer {
    RingServer::launch(Engine::Epoll, LINES)
}

fn java() -> JavaServer {
    JavaServer::launch(LINES, &[])
}

fn zk_bench(words: &str) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_zk-bench"))
        .args(words.split_whitespace())
        .current_dir(std::env::temp_dir())
        .output()
        .expect("zk-bench");
    assert!(
        output.status.success(),
        "zk-bench {words}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs with `--json` against a server.
fn run(server: &dyn Peer, words: &str) -> Value {
    let output = zk_bench(&format!(
        "run --hosts {} --pid {} --json {words}",
        server.address(),
        server.pid()
    ));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error} in {}", text(&output)))
}

/// What the server counts.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Counters {
    packets: u64,
    zxid: u64,
    znodes: u64,
    ephemerals: u64,
    sessions_asked: u64,
    data_watches_fired: u64,
}

fn ask(server: &dyn Peer, word: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(server.address()).expect("the server");
    stream.write_all(word.as_bytes()).expect("a word");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn counters(server: &dyn Peer) -> Counters {
    let mntr = ask(server, "mntr");
    let number = |name: &str| -> u64 {
        let line = mntr.lines().find_map(|line| line.strip_prefix(&format!("{name}\t")));
        let line = line.unwrap_or_else(|| panic!("{} has no {name}:\n{mntr}", server.name()));
        line.trim().parse::<f64>().expect("a number") as u64
    };
    let srvr = ask(server, "srvr");
    let zxid = srvr
        .lines()
        .find_map(|line| line.strip_prefix("Zxid: 0x"))
        .expect("Zxid");
    Counters {
        packets: number("zk_packets_received"),
        zxid: u64::from_str_radix(zxid, 16).expect("hexadecimal"),
        znodes: number("zk_znode_count"),
        ephemerals: number("zk_ephemerals_count"),
        sessions_asked: number("zk_connection_request_count"),
        data_watches_fired: number("zk_sum_node_changed_watch_count"),
    }
}

fn sent(result: &Value, kind: &str) -> u64 {
    result["sent_in_all"][kind].as_u64().unwrap_or(0)
}

/// Every operation of the mix, counted by both sides.
fn operations_agree(server: &dyn Peer) {
    let mix = "get=5,exists=2,children=1,set=2,churn=2,ephemeral=2,sequential=2,multi=1,ping=1";
    zk_bench(&format!("fill --hosts {} --nodes 100 --size 100", server.address()));
    let before = counters(server);
    let result = run(
        server,
        &format!(
            "--no-fill --nodes 100 --size 100 --connections 7 --in-flight 5 --threads 2 --warm-up 0.2 --duration 0.8 --mix {mix}"
        ),
    );
    let after = counters(server);
    let name = server.name();
    assert_eq!(result["errors"].as_array().map(Vec::len), Some(0), "{name}: {result}");
    assert_eq!(result["syncs"], "on", "{name}: {result}");
    for kind in [
        "get",
        "exists",
        "children",
        "set",
        "create",
        "delete",
        "ephemeral",
        "sequential",
        "multi",
        "ping",
    ] {
        let count = result["operations"][kind]["count"].as_u64().unwrap_or(0);
        assert!(count > 0, "{name}: no {kind} was answered");
        assert!(count <= sent(&result, kind), "{name}: {kind}");
    }
    let all: u64 = result["sent_in_all"]
        .as_object()
        .expect("an object")
        .values()
        .flat_map(Value::as_u64)
        .sum();
    // The look at the syncs before the load: two mntr, and a session with one create. Then mntr and srvr of `before`
    // after its count was taken, and the mntr of `after`.
    assert_eq!(
        after.packets - before.packets,
        all + 2 + 3 + 2,
        "{name}: {before:?} {after:?} {result}"
    );
    let writes: u64 = [
        "set",
        "create",
        "delete",
        "ephemeral",
        "sequential",
        "multi",
        "connect",
        "close",
    ]
    .iter()
    .map(|kind| sent(&result, kind))
    .sum();
    assert_eq!(after.zxid - before.zxid, writes + 3, "{name}: transactions");
    assert_eq!(
        (after.znodes, after.ephemerals),
        (before.znodes, 0),
        "{name}: nothing stays"
    );
    assert_eq!(sent(&result, "connect"), 7, "{name}");
    let cpu_us = result["servers"][0]["cpu_us"].as_u64().expect("the server's CPU");
    assert!(cpu_us > 1000, "{name}: {cpu_us} µs");
}

/// Events, sessions and pings, counted by both sides.
fn other_loads_agree(server: &dyn Peer) {
    let name = server.name();
    let before = counters(server);
    let result = run(
        server,
        "--preset watch --watchers 60 --connections 6 --warm-up 0 --duration 0.4",
    );
    let after = counters(server);
    let events = result["operations"]["event"]["count"].as_u64().expect("events");
    let changes = result["rounds"]["latency"]["count"].as_u64().expect("rounds");
    assert!(
        changes > 0 && events == changes * 60,
        "{name}: {events} events of {changes} changes"
    );
    assert_eq!(after.data_watches_fired - before.data_watches_fired, events, "{name}");

    let result = run(server, "--preset storm --connections 8 --warm-up 0.1 --duration 0.4");
    let end = counters(server);
    let sessions = sent(&result, "connect");
    assert!(result["operations"]["connect"]["count"].as_u64().expect("sessions") <= sessions);
    // And one that looks at the syncs.
    assert_eq!(end.sessions_asked - after.sessions_asked, sessions + 1, "{name}");
    assert_eq!(
        end.zxid - after.zxid,
        2 * sessions + 3,
        "{name}: each session was opened and closed"
    );

    let result = run(
        server,
        "--preset idle --connections 30 --session-timeout 6000 --warm-up 0 --duration 1",
    );
    let pings = result["operations"]["ping"]["count"].as_u64().expect("pings");
    assert!(
        (12..=18).contains(&pings),
        "{name}: 30 sessions ping each 2 s: {pings} in a second"
    );

    let result = run(
        server,
        "--preset kafka --nodes 90 --in-flight 50 --warm-up 0 --duration 0.3",
    );
    let rounds = result["rounds"]["latency"]["count"].as_u64().expect("failovers");
    // Brokers, topics and states are read; every third partition gets a leader, and one multi elects.
    assert_eq!(sent(&result, "get"), rounds * (3 + 9 + 90), "{name}");
    assert_eq!(sent(&result, "multi"), rounds * (1 + 30), "{name}");
    assert_eq!(result["errors"].as_array().map(Vec::len), Some(0), "{name}: {result}");
}

#[test]
fn operations_agree_with_ringkeeper_s_counters() {
    operations_agree(&ring());
}

#[test]
fn operations_agree_with_apache_zookeeper_s_counters() {
    operations_agree(&java());
}

#[test]
fn other_loads_agree_with_ringkeeper_s_counters() {
    other_loads_agree(&ring());
}

#[test]
fn other_loads_agree_with_apache_zookeeper_s_counters() {
    other_loads_agree(&java());
}

/// No coordinated omission: a server that stands still for a second is charged for every request due meanwhile.
#[test]
fn an_open_loop_sees_a_pause() {
    let server = ring();
    let pid = server.pid();
    let signal = move |name: &str| {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIG{name} to {pid}");
    };
    let pause = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1200));
        signal("STOP");
        std::thread::sleep(Duration::from_secs(1));
        signal("CONT");
    });
    let result = run(
        &server,
        "--rate 500 --read-percent 100 --nodes 10 --connections 4 --warm-up 0.2 --duration 3",
    );
    pause.join().expect("the pause");
    let count = result["all"]["count"].as_u64().expect("a count");
    assert!((1400..=1510).contains(&count), "500 per second for 3 s: {count}");
    // A third of all requests was due in the pause; they waited between 1 s and nothing.
    let us = |name: &str| result["all"][name].as_u64().expect("a latency");
    assert!(us("max_us") > 900_000 && us("p90_us") > 500_000, "{}", result["all"]);
    assert!(us("p50_us") < 400_000, "{}", result["all"]);
}

/// The echo's frames are as long as those of real servers, for every operation.
#[test]
fn the_floor_is_of_equal_frames() {
    let mix = "get,exists,children,set,churn,ephemeral,sequential,multi,ping";
    let output = zk_bench(&format!(
        "floor --server ringkeeper --server zookeeper --nodes 40 --size 300 --multi 3 --in-flight 2 --connections 4 \
         --warm-up 0 --duration 0.3 --mix {mix}"
    ));
    let text = text(&output);
    assert!(text.contains("ringkeeper: frames have the echo's sizes"), "{text}");
    assert!(text.contains("zookeeper: frames have the echo's sizes"), "{text}");
    assert!(
        text.contains("4 KiB made durable by write and fdatasync: p50"),
        "{text}"
    );
}

/// The first line says whether acknowledged writes are durable.
#[test]
fn syncs_that_are_off_are_told_first() {
    let first_line = |server: &dyn Peer| {
        let output = zk_bench(&format!(
            "run --hosts {} --nodes 1 --connections 1 --warm-up 0 --duration 0.1",
            server.address()
        ));
        text(&output).lines().next().unwrap_or_default().to_owned()
    };
    let off = RingServer::launch(Engine::Epoll, &["forceSync=no"]);
    let line = first_line(&off);
    assert!(line.starts_with("SYNCS ARE OFF") && line.contains("zoo.cfg"), "{line}");
    let silent = RingServer::launch(Engine::Epoll, &[]);
    let line = first_line(&silent);
    assert!(
        line.starts_with("syncs: on") && line.contains("zoo.cfg does not turn them off"),
        "{line}"
    );
    let off = JavaServer::launch(LINES, &["zookeeper.forceSync=no"]);
    let line = first_line(&off);
    assert!(
        line.starts_with("SYNCS ARE OFF") && line.contains("forceSync=no"),
        "{line}"
    );
}

/// The comparison that users type, in both of its outputs.
#[test]
fn two_servers_are_compared() {
    let output =
        zk_bench("compare --a ringkeeper --b zookeeper --rounds 1 --json --nodes 50 --warm-up 0.1 --duration 0.4");
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&result["a"]["syncs"], &result["b"]["syncs"]),
        (&"on".into(), &"on".into())
    );
    for figure in [
        "operations per second",
        "CPU µs per operation",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "resident MiB",
        "start to first reply ms",
    ] {
        let (a, b, ratio) = ["a", "b", "ratio"]
            .map(|side| result["figures"][figure][side]["median"].as_f64())
            .into();
        let (a, b, ratio) = (a.expect(figure), b.expect(figure), ratio.expect(figure));
        assert!(
            a > 0.0 && b > 0.0 && (ratio - a / b).abs() < 1e-9,
            "{figure}: {a} {b} {ratio}"
        );
    }
    let output = zk_bench(
        "compare --a ringkeeper --b ringkeeper --rounds 2 --preset storm --connections 4 --warm-up 0 --duration 0.2",
    );
    let text = text(&output);
    assert!(text.starts_with("A: syncs: on"), "{text}");
    assert!(
        text.contains("operations per second") && text.contains("quartiles"),
        "{text}"
    );
}

/// Servers are killed and return; clients go on, and the gap is seen and drawn.
#[test]
fn a_failover_is_seen() {
    let plot = tempfile::NamedTempFile::new().expect("a file");
    let output = zk_bench(&format!(
        "run --preset failover --server ringkeeper --nodes 20 --warm-up 0.2 --duration 3 --kill-every 1 --down 0.6 --json --plot {}",
        plot.path().display()
    ));
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let outages = result["failover"]["outages"].as_array().expect("outages");
    assert_eq!(outages.len(), 1, "{}", result["failover"]);
    let silent_ms = outages[0]["silent_ms"].as_u64().expect("silence");
    assert!((500..1900).contains(&silent_ms), "{}", result["failover"]);
    assert!(result["lost_connections"].as_u64() >= Some(32), "{result}");
    let counts: Vec<u64> = result["intervals"]
        .as_array()
        .expect("intervals")
        .iter()
        .flat_map(Value::as_u64)
        .collect();
    assert!(
        counts.len() > 25 && counts[counts.len() - 3] > 0,
        "answers came again: {counts:?}"
    );
    let svg = fs::read_to_string(plot.path()).expect("the plot");
    for part in ["kill 1", "start 1", "Throughput over time", "latency, ms", "</svg>"] {
        assert!(svg.contains(part), "no '{part}' in the plot");
    }
}

/// Tables that presets reproduce, and their plots; then all znodes go.
#[test]
fn presets_sweep_and_clean_up() {
    let server = ring();
    let at = server.address();
    let plot = tempfile::NamedTempFile::new().expect("a file");
    let output = zk_bench(&format!(
        "run --preset paper --hosts {at} --connections 4 --in-flight 4 --nodes 20 --warm-up 0 --duration 0.1 --plot {}",
        plot.path().display()
    ));
    let lines = text(&output);
    let lines: Vec<&str> = lines.lines().rev().take(11).collect();
    assert!(
        lines[0].starts_with("100 % reads") && lines[10].starts_with("0 % reads"),
        "{lines:?}"
    );
    let svg = fs::read_to_string(plot.path()).expect("the plot");
    assert!(svg.contains("Throughput by share of reads") && svg.matches("<circle").count() >= 33);
    let output = zk_bench(&format!(
        "run --preset raftkeeper --hosts {at} --connections 4 --warm-up 0 --duration 0.2"
    ));
    let shown = text(&output);
    assert!(shown.contains("create=10,set=40,get=40,delete=10"), "{shown}");
    assert!(shown.contains("`zk-bench clean` removes them"), "{shown}");
    let cleaned = text(&zk_bench(&format!("clean --hosts {at}")));
    let deleted: u64 = cleaned
        .split(' ')
        .next()
        .and_then(|count| count.parse().ok())
        .expect("a count");
    assert!(deleted > 1000, "{cleaned}");
    // ZooKeeper's own three and /.
    assert!(
        wait_until(Duration::from_secs(5), || counters(&server).znodes <= 5),
        "{:?}",
        counters(&server)
    );
}

/// At a terminal a line tells how it goes. `script` (util-linux) gives the terminal.
#[test]
fn a_live_line_at_a_terminal() {
    let server = ring();
    let command = format!(
        "{} run --hosts {} --nodes 10 --warm-up 0.3 --duration 1.2",
        env!("CARGO_BIN_EXE_zk-bench"),
        server.address()
    );
    let output = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .output()
        .expect("'script' is missing: install util-linux (Debian: bsdutils)");
    let shown = text(&output);
    for part in ["warming up: ", "/s, p99 ", " ms, 0 errors, ", " s left"] {
        assert!(shown.contains(part), "no '{part}' in {shown:?}");
    }
}

/// Every row of the targets' table runs; here one part of it.
#[test]
fn the_table_is_markdown() {
    let output = zk_bench("table --quick --only start");
    let text = text(&output);
    let row = text.lines().find(|line| line.starts_with("| start without data |"));
    let row = row.unwrap_or_else(|| panic!("no row in {text}"));
    assert!(
        row.contains("≤ 1 × 50 ms") && (row.contains("pass") || row.contains("**miss**")),
        "{row}"
    );
    assert!(text.contains("**A quick run"), "{text}");
}

/// What cannot be is refused with a hint.
#[test]
fn wrong_words_are_refused() {
    for (words, hint) in [
        ("run --mix grab=1", "known: get, exists"),
        (
            "run --preset watch --watchers 100000 --connections 2",
            "use more --connections",
        ),
        ("run --preset idle --rate 5", "this preset has its own pace"),
        ("run --preset failover", "needs --server"),
        (
            "compare --a false --b false --duration 0.1",
            "ended with exit status: 1",
        ),
        ("run --hosts 127.0.0.1:1 --duration 0.1", "127.0.0.1:1"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_zk-bench"))
            .args(words.split_whitespace())
            .current_dir(std::env::temp_dir())
            .output()
            .expect("zk-bench");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(hint), "{words}: {said}");
    }
}

/// Two numbers of pinned cores, the same load on each.
#[test]
fn more_cores_are_measured_in_turn() {
    let output = zk_bench("scale --cores 1,2 --rounds 1 --duration 1 --warm-up 0.3 --nodes 50 --connections 8 --json");
    let value: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let columns = value["columns"].as_array().expect("columns");
    assert_eq!(columns.len(), 2);
    for (column, cores) in columns.iter().zip([1.0, 2.0]) {
        let first = |name: &str| column[name][0].as_f64().expect("a figure");
        assert_eq!(column["cores"].as_f64(), Some(cores));
        assert!(
            first("operations_per_second") > 100.0 && first("cpu_us_per_operation") > 0.0,
            "{column}"
        );
        // Loops that are pinned keep no more processors busy than they are; helpers do next to nothing beside reads.
        assert!(first("processors") < cores + 0.3, "{column}");
    }
    assert!(
        value["load"].as_str().is_some_and(|load| load.contains("get")),
        "{value}"
    );
}
