//! The dump tools on the directories of a `zk-server` that runs, and of one that was killed: what clients were
//! acknowledged is in the log, and the snapshot agrees with the log on the digest.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ringkeeper::wire::acl::{Acl, write_list};
use ringkeeper::wire::jute::{Reader, Writer};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);
const CREATES: usize = 60;

/// The server's program: beside the tools. `cargo test --workspace` builds both; alone, this test builds its own.
fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_logdump")).with_file_name("zk-server");
    if !program.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--package", "ringkeeper", "--bin", "zk-server"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let status = build.status().expect("cargo runs");
        assert!(
            status.success() && program.exists(),
            "{build:?} should make {}",
            program.display()
        );
    }
    program
}

/// A server of its own directory and port; killed when the test is over, however it is over.
struct Server {
    dir: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl Server {
    fn start() -> Server {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cfg = dir.path().join("zoo.cfg");
        let data = dir.path().join("data");
        let text = format!(
            "tickTime=2000\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nsnapCount=20\n",
            data.display()
        );
        std::fs::write(&cfg, text).unwrap();
        let log = std::fs::File::create(dir.path().join("output.log")).unwrap();
        let process = Command::new(program())
            .arg("start-foreground")
            .arg(&cfg)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Server { dir, port, process };
        server.until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Waits, and shows the server's own words if it was in vain.
    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let started = Instant::now();
        while !holds() {
            if started.elapsed() > LIMIT {
                let output = std::fs::read_to_string(self.dir.path().join("output.log")).unwrap_or_default();
                panic!("{what}: not within {LIMIT:?}; the server says:\n{output}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill9(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A session that sends one request at a time.
struct Client(TcpStream);

impl Client {
    fn connect(port: u16) -> Client {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let mut client = Client(socket);
        let answer = client.call(|w| {
            w.int(0);
            w.long(0);
            w.int(30_000);
            w.long(0);
            w.buffer(Some(&[0; 16]));
            w.bool(false);
        });
        let mut r = Reader::new(&answer);
        assert_eq!(r.int(), Ok(0), "protocol version");
        assert!(r.int().unwrap() > 0, "a timeout");
        client
    }

    /// Creates a persistent node and gives its zxid.
    fn create(&mut self, xid: i32, path: &str, data: &[u8]) -> i64 {
        self.write(xid, 1, |w| {
            w.text(path);
            w.buffer(Some(data));
            write_list(w, &[Acl::anyone(31)]);
            w.int(0);
        })
    }

    /// Sends a write that must succeed, and gives its zxid.
    fn write(&mut self, xid: i32, opcode: i32, write: impl FnOnce(&mut Writer<'_>)) -> i64 {
        let answer = self.call(|w| {
            w.int(xid);
            w.int(opcode);
            write(w);
        });
        let mut r = Reader::new(&answer);
        assert_eq!(r.int(), Ok(xid));
        let zxid = r.long().unwrap();
        assert_eq!(r.int(), Ok(0), "no error");
        zxid
    }

    fn call(&mut self, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut body = Vec::new();
        write(&mut Writer::new(&mut body));
        let length = (body.len() as u32).to_be_bytes();
        self.0.write_all(&[&length[..], &body].concat()).unwrap();
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut answer).unwrap();
        answer
    }
}

fn run(tool: &str, options: &[&str], given: &Path) -> Output {
    Command::new(tool).args(options).arg(given).output().unwrap()
}

/// The JSON lines of a tool that must find everything clean.
fn lines(tool: &str, options: &[&str], given: &Path) -> Vec<Value> {
    let output = run(tool, &[&["--json", "--data"], options].concat(), given);
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(0), "{tool}: {err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const LOGDUMP: &str = env!("CARGO_BIN_EXE_logdump");
const SNAPDUMP: &str = env!("CARGO_BIN_EXE_snapdump");

/// What was acknowledged is told; gives every transaction of the log.
fn check_log(data: &Path, created: &[(String, i64)]) -> Vec<Value> {
    let txns = lines(LOGDUMP, &[], data);
    let told: Vec<(String, i64)> = txns
        .iter()
        .filter(|txn| txn["type"] == "create")
        .map(|txn| {
            let zxid = i64::from_str_radix(&txn["zxid"].as_str().unwrap()[2..], 16).unwrap();
            (txn["path"].as_str().unwrap().to_owned(), zxid)
        })
        .collect();
    assert_eq!(told, created);
    txns
}

/// The newest snapshot holds what the log says was created up to its zxid, and has the log's digest.
fn check_snapshot(data: &Path, created: &[(String, i64)], txns: &[Value]) {
    let head = &lines(SNAPDUMP, &["--type", "snapshot"], data)[0];
    let zxid = head["zxid"].as_str().unwrap();
    let txn = txns
        .iter()
        .find(|txn| txn["zxid"] == zxid)
        .expect("a snapshot is taken of a logged state");
    assert!(txn["digest"].is_string(), "the server keeps digests: {txn}");
    assert_eq!(head["digest"], txn["digest"]);
    let last = i64::from_str_radix(&zxid[2..], 16).unwrap();
    let mut wanted: Vec<&str> = created
        .iter()
        .filter(|(_, zxid)| *zxid <= last)
        .map(|(path, _)| &**path)
        .collect();
    wanted.sort_unstable();
    // This very file: the server may have finished another one meanwhile.
    let file = Path::new(head["file"].as_str().unwrap());
    let nodes = lines(SNAPDUMP, &["--type", "persistent", "--zxid", "1.."], file);
    let found: Vec<&str> = nodes
        .iter()
        .map(|node| node["path"].as_str().unwrap())
        .filter(|path| *path != "/")
        .collect();
    assert_eq!(found, wanted);
    assert!(
        found.len() >= 10,
        "half of snapCount were created before the first snapshot: {found:?}"
    );
}

#[test]
fn a_running_and_a_killed_servers_directories() {
    let mut server = Server::start();
    let data = server.data();
    let mut client = Client::connect(server.port);
    let created: Vec<(String, i64)> = (0..CREATES)
        .map(|n| {
            let path = format!("/node-{n:02}");
            let zxid = client.create(n as i32 + 1, &path, path.as_bytes());
            (path, zxid)
        })
        .collect();
    server.until("a snapshot is there", || {
        run(SNAPDUMP, &["-q"], &data).status.code() == Some(0)
    });
    let txns = check_log(&data, &created);
    check_snapshot(&data, &created, &txns);
    server.kill9();
    let txns = check_log(&data, &created);
    check_snapshot(&data, &created, &txns);
    drop(client);
}

/// What a node is, as far as this test changes it: when it was created, its data's version, its ACL's.
type State = std::collections::BTreeMap<String, (i64, i32, i32)>;

#[test]
fn the_difference_of_two_snapshots_is_what_was_done_between_them() {
    let server = Server::start();
    let data = server.data();
    let mut client = Client::connect(server.port);
    let (mut state, mut states): (State, Vec<(i64, State)>) = Default::default();
    // Of each seven nodes one is set, one is deleted, one is deleted and created again, one gets another ACL.
    for n in 0..210 {
        let of = |n: i32| format!("/n{n:03}");
        let (path, xid) = (of(n), n * 10 + 1);
        let zxid = client.create(xid, &path, b"first");
        state.insert(path.clone(), (zxid, 0, 0));
        states.push((zxid, state.clone()));
        // The node before was perhaps in a snapshot already, this one is not.
        let before = of(n - 50);
        if !state.contains_key(&before) {
            continue;
        }
        if n % 7 == 1 || n % 7 == 2 {
            let zxid = client.write(xid + 1, 2, |w| {
                w.text(&before);
                w.int(-1);
            });
            state.remove(&before);
            states.push((zxid, state.clone()));
        }
        let zxid = match n % 7 {
            0 => client.write(xid + 2, 5, |w| {
                w.text(&before);
                w.buffer(Some(b"second"));
                w.int(0);
            }),
            2 => client.create(xid + 2, &before, b"first"),
            3 => client.write(xid + 2, 7, |w| {
                w.text(&before);
                write_list(w, &[Acl::anyone(31), Acl::anyone(1)]);
                w.int(0);
            }),
            _ => continue,
        };
        let then = state.get(&before).copied().unwrap_or_default();
        let now = match n % 7 {
            0 => (then.0, 1, 0),
            2 => (zxid, 0, 0),
            _ => (then.0, 0, 1),
        };
        state.insert(before, now);
        states.push((zxid, state.clone()));
    }
    let snapshots = || -> Vec<(i64, PathBuf)> {
        let heads = lines(SNAPDUMP, &["--all", "--type", "snapshot"], &data);
        let head = |head: &Value| {
            let zxid = i64::from_str_radix(&head["zxid"].as_str().unwrap()[2..], 16).unwrap();
            (zxid, PathBuf::from(head["file"].as_str().unwrap()))
        };
        heads.iter().map(head).collect()
    };
    server.until("two snapshots are there", || {
        run(SNAPDUMP, &["-q"], &data).status.code() == Some(0) && snapshots().len() >= 2
    });
    let found = snapshots();
    let ((from, from_file), (to, to_file)) = (&found[0], &found[found.len() - 1]);
    let at = |zxid: &i64| {
        states
            .iter()
            .rev()
            .find(|(done, _)| done <= zxid)
            .expect("a state")
            .1
            .clone()
    };
    let (old, new) = (at(from), at(to));
    let mut wanted: Vec<String> = Vec::new();
    let all: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for path in all {
        let word = match (old.get(path), new.get(path)) {
            (Some(old), Some(new)) if old.0 != new.0 => "recreated",
            (Some(old), Some(new)) if old.1 != new.1 => "data",
            (Some(old), Some(new)) if old.2 != new.2 => "acl",
            (Some(_), None) => "deleted",
            (None, Some(_)) => "created",
            _ => continue,
        };
        wanted.push(format!("{word} {path}"));
    }
    let output = run(SNAPDUMP, &["--diff", "--json", from_file.to_str().unwrap()], to_file);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        output.status.code(),
        Some(4),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<String> = told
        .iter()
        .filter(|line| line["path"].as_str().is_some_and(|path| path.starts_with("/n")))
        .map(|line| format!("{} {}", line["type"].as_str().unwrap(), line["path"].as_str().unwrap()))
        .collect();
    assert_eq!(told, wanted, "{} to {}", from_file.display(), to_file.display());
    for word in ["created", "deleted", "data"] {
        assert!(
            wanted.iter().any(|line| line.starts_with(word)),
            "nothing was {word}: {wanted:?}"
        );
    }
}
