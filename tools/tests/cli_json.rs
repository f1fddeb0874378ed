//! `zk-cli --json` on our own server: one object a line, with the keys that `cli/answer.rs` documents; and the exit
//! statuses that scripts depend on.

#[path = "../../tests/peers/mod.rs"]
mod peers;

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use peers::{Engine, Peer, RingServer};

fn session(server: &dyn Peer, lines: &[&str]) -> Vec<Value> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_zk-cli"))
        .args(["--json", "-server", &server.address().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("zk-cli");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all((lines.join("\n") + "\n").as_bytes()).expect("write");
    drop(stdin);
    let output = child.wait_with_output().expect("output");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

/// The names of an object's keys, sorted.
fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

const STAT: [&str; 11] = [
    "aclVersion",
    "cZxid",
    "ctime",
    "cversion",
    "dataLength",
    "dataVersion",
    "ephemeralOwner",
    "mZxid",
    "mtime",
    "numChildren",
    "pZxid",
];

#[test]
fn every_answer_has_its_keys() {
    let server = RingServer::launch(Engine::Epoll, &[]);
    let table: &[(&str, &[&str])] = &[
        ("create /j data", &["path"]),
        ("create /null", &["path"]),
        ("get /j", &["data"]),
        ("get -s /j", &["data", "stat"]),
        ("get -b /j", &["dataBase64"]),
        ("ls /", &["children"]),
        ("ls -s /", &["children", "stat"]),
        ("ls -R /j", &["paths"]),
        ("stat /j", &["stat"]),
        ("getAcl /j", &["acl"]),
        ("getAcl -s /j", &["acl", "stat"]),
        ("getAllChildrenNumber /", &["count"]),
        ("getEphemerals", &["paths"]),
        ("setquota -n 1 /j", &[]),
        ("listquota /j", &["notes", "path", "quota", "usage"]),
        ("delquota /j", &[]),
        ("delquota /j", &["messages"]),
        ("config", &["config"]),
        ("sync /j", &["rc"]),
        ("version", &["version"]),
        ("whoami", &["identities"]),
        ("history", &["history"]),
        ("printwatches", &["printwatches"]),
        ("set -s /j x", &["stat"]),
        ("delete /j", &[]),
    ];
    let lines: Vec<&str> = table.iter().map(|(line, _)| *line).collect();
    let answers: Vec<Value> = session(&server, &lines)
        .into_iter()
        .filter(|answer| answer.get("event").is_none())
        .collect();
    assert_eq!(answers.len(), table.len());
    for ((line, expected), answer) in table.iter().zip(&answers) {
        let mut expected = [&["command", "exit", "ok"], *expected].concat();
        expected.sort_unstable();
        assert_eq!(keys(answer), expected, "{line}");
        assert_eq!((&answer["ok"], &answer["exit"]), (&json!(true), &json!(0)), "{line}");
        assert_eq!(answer["command"], json!(line.split(' ').next()), "{line}");
        if let Some(stat) = answer.get("stat") {
            assert_eq!(keys(stat), STAT, "{line}");
        }
    }
    assert_eq!(answers[2]["data"], "data");
    assert_eq!(answers[4]["dataBase64"], "ZGF0YQ==");
    assert_eq!(
        answers[9]["acl"],
        json!([{"scheme": "world", "id": "anyone", "perms": "cdrwa"}])
    );
}

#[test]
fn failures_and_events_are_objects_too() {
    let server = RingServer::launch(Engine::Epoll, &[]);
    let answers = session(
        &server,
        &[
            "create /n",
            "get /n",
            "get /nope",
            "nonsense",
            "get -w /n",
            "set /n x",
            "sync /n",
            "removewatches /n",
            "quit",
        ],
    );
    let of = |command: &str| {
        answers
            .iter()
            .find(|answer| answer["command"] == command)
            .expect(command)
    };
    let null = answers.iter().find(|answer| answer["command"] == "get").unwrap();
    assert_eq!(null["data"], Value::Null, "a value that was never given is null");
    let missing = answers
        .iter()
        .find(|answer| answer["error"] == "Node does not exist: /nope")
        .expect("the failure");
    assert_eq!(
        (&missing["ok"], &missing["exit"], &missing["code"]),
        (&json!(false), &json!(1), &json!(-101))
    );
    assert_eq!(of("nonsense")["exit"], 127);
    assert_eq!(of("removewatches")["error"], "KeeperErrorCode = No such watcher for /n");
    let events: Vec<&Value> = answers.iter().filter_map(|answer| answer.get("event")).collect();
    assert_eq!(
        *events[0],
        json!({"state": "SyncConnected", "type": "None", "path": null, "zxid": -1})
    );
    assert!(
        events
            .iter()
            .any(|event| event["type"] == "NodeDataChanged" && event["path"] == "/n"),
        "{events:?}"
    );
    assert_eq!(events.last().unwrap()["state"], "Closed", "quit closes the session");
    assert!(
        events
            .iter()
            .all(|event| keys(event) == ["path", "state", "type", "zxid"])
    );
}

#[test]
fn ephemerals_go_with_quit_and_stay_without() {
    let server = RingServer::launch(Engine::Epoll, &[]);
    session(&server, &["create -e /kept x"]);
    session(&server, &["create -e /gone x", "quit"]);
    let answers = session(&server, &["ls /"]);
    let listed = answers
        .iter()
        .find(|answer| answer["command"] == "ls")
        .expect("the list");
    assert_eq!(listed["children"], json!(["kept", "zookeeper"]));
}

#[test]
fn a_server_that_is_not_there_is_a_lost_connection() {
    let output = Command::new(env!("CARGO_BIN_EXE_zk-cli"))
        .args([
            "--json",
            "-server",
            &format!("127.0.0.1:{}", peers::free_port()),
            "ls",
            "/",
        ])
        .output()
        .expect("zk-cli");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(answer["error"], "KeeperErrorCode = ConnectionLoss for /");
    assert_eq!(output.status.code(), Some(1));
}
