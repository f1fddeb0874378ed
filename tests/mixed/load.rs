//! The load: sessions of this test's own client and of kazoo and Apache's Java client, all the while, and their history.
//!
//! A load goes through three states. While it runs, operations go on, whatever happens to servers. Quiet, it holds its
//! sessions with pings and changes nothing, so that trees can be compared. Ended, it has closed them and gives the history.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

use tempfile::TempDir;

use super::foreign::{java, kazoo};
use super::history::Record;
use super::words::{CREATE, NODE_EXISTS, PERSISTENT, create};
use super::worker::{Kind, Worker};
use crate::peers::{Attach, RawClient, wait_until};

/// What a load consists of.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Sessions of this test's own client that do everything.
    pub writers: usize,
    /// Sessions of kazoo.
    pub kazoo: usize,
    /// Sessions of the Java client.
    pub java: usize,
    /// What every session asks for, ms.
    pub timeout_ms: i32,
    /// Between two operations of a writer.
    pub pause: Duration,
}

/// Shared with the workers.
pub struct Signals {
    /// No more operations.
    pub quiet: AtomicBool,
    /// Close the sessions.
    pub end: AtomicBool,
    /// Workers that are quiet.
    quieted: AtomicUsize,
    /// Acknowledged writes of this test's own clients.
    pub acknowledged: AtomicU64,
}

/// A running load.
pub struct Load {
    signals: Arc<Signals>,
    workers: Vec<JoinHandle<Vec<Record>>>,
    foreign: Vec<Foreign>,
    directory: TempDir,
}

/// A client in another language.
struct Foreign {
    child: Child,
    answers: mpsc::Receiver<String>,
    history: PathBuf,
    complaints: PathBuf,
}

/// How long clients may take to come to rest: the longest wait for an answer, and a server to go on with.
const REST_MAX: Duration = Duration::from_secs(60);

/// Nodes that are there before anything else, and their first data.
pub const GROUND: &[&str] = &[
    "/load",
    "/load/reg",
    "/load/counter",
    "/load/pair",
    "/load/seq",
    "/load/eph",
    "/load/reg/0",
    "/load/reg/1",
    "/load/reg/2",
    "/load/reg/3",
    "/load/counter/0",
    "/load/counter/1",
    "/load/pair/0",
    "/load/pair/0/left",
    "/load/pair/0/right",
    "/load/pair/1",
    "/load/pair/1/left",
    "/load/pair/1/right",
];

impl Load {
    /// Lays the ground and begins.
    pub fn begin(addresses: &[SocketAddr], crowd: Crowd, seed: u64) -> Self {
        lay_ground(addresses);
        let directory = TempDir::with_prefix("mixed-load-").expect("temporary directory");
        let signals = Arc::new(Signals {
            quiet: AtomicBool::new(false),
            end: AtomicBool::new(false),
            quieted: AtomicUsize::new(0),
            acknowledged: AtomicU64::new(0),
        });
        let kinds = std::iter::repeat_n(Kind::Writer, crowd.writers).chain([Kind::Idle, Kind::Comer, Kind::Looker]);
        let worker = |(number, kind): (usize, Kind)| {
            let (signals, addresses) = (signals.clone(), addresses.to_vec());
            thread::spawn(move || {
                let mut worker = Worker::new(kind, number, &addresses, &crowd, seed, &signals);
                worker.work();
                signals.quieted.fetch_add(1, SeqCst);
                worker.hold();
                worker.finish()
            })
        };
        let workers = kinds.enumerate().map(|(number, kind)| worker((number, kind))).collect();
        let mut foreign = Vec::new();
        let hosts: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        let hosts = hosts.join(",");
        if crowd.kazoo > 0 {
            let history = directory.path().join("kazoo");
            foreign.push(Foreign::spawn(
                kazoo(&hosts, crowd.timeout_ms, crowd.kazoo, &history),
                history,
            ));
        }
        if crowd.java > 0 {
            let history = directory.path().join("java");
            foreign.push(Foreign::spawn(
                java(&hosts, crowd.timeout_ms, crowd.java, &history),
                history,
            ));
        }
        Self {
            signals,
            workers,
            foreign,
            directory,
        }
    }

    /// Acknowledged writes of this test's own clients so far.
    pub fn acknowledged(&self) -> u64 {
        self.signals.acknowledged.load(SeqCst)
    }

    /// Waits for that many acknowledged writes more, and gives how long it took; `None` when they did not come.
    pub fn goes_on(&self, writes: u64, limit: Duration) -> Option<Duration> {
        let (begun, before) = (Instant::now(), self.acknowledged());
        wait_until(limit, || self.acknowledged() >= before + writes).then(|| begun.elapsed())
    }

    /// Ends the operations and waits until none is on its way.
    pub fn quiet(&mut self) {
        self.signals.quiet.store(true, SeqCst);
        for foreign in &mut self.foreign {
            foreign.tell("quiet");
        }
        let rests = || self.signals.quieted.load(SeqCst) >= self.workers.len();
        assert!(
            wait_until(REST_MAX, rests),
            "some client of the load does not come to rest"
        );
    }

    /// Closes the sessions and gives the whole history.
    pub fn end(mut self) -> Vec<Record> {
        self.signals.end.store(true, SeqCst);
        let mut history: Vec<Record> = self
            .workers
            .drain(..)
            .flat_map(|worker| worker.join().expect("a worker of the load"))
            .collect();
        for foreign in &mut self.foreign {
            foreign.tell("end");
            let text = fs::read_to_string(&foreign.history).expect("a client's history");
            let records = text
                .lines()
                .map(|line| Record::parse(line).unwrap_or_else(|error| panic!("{error}")));
            history.extend(records);
        }
        if let Some(path) = env::var_os("RINGKEEPER_HISTORY") {
            let lines: String = history.iter().map(|record| format!("{record}\n")).collect();
            fs::write(&path, lines).expect("RINGKEEPER_HISTORY");
        }
        history
    }
}

impl Foreign {
    fn spawn(mut command: Command, history: PathBuf) -> Self {
        let complaints = history.with_extension("errors");
        let errors = fs::File::create(&complaints).expect("a file for errors");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let out = child.stdout.take().expect("its output");
        let (line, answers) = mpsc::channel();
        thread::spawn(move || {
            for said in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = line.send(said);
            }
        });
        Self {
            child,
            answers,
            history,
            complaints,
        }
    }

    /// Says a word and waits for its echo.
    fn tell(&mut self, word: &str) {
        let said = writeln!(self.child.stdin.as_mut().expect("its input"), "{word}");
        let answer = self.answers.recv_timeout(REST_MAX);
        let is_answered = said.is_ok() && answer.as_deref().is_ok_and(|answer| answer == word);
        assert!(
            is_answered,
            "{} answered {answer:?} to {word:?}:\n{}",
            self.history.display(),
            fs::read_to_string(&self.complaints).unwrap_or_default()
        );
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // After a failure the workers end by themselves; nobody waits for them.
        self.signals.quiet.store(true, SeqCst);
        self.signals.end.store(true, SeqCst);
        let _ = self.directory.path();
    }
}

/// Creates [`GROUND`] at the first server that takes it.
fn lay_ground(addresses: &[SocketAddr]) {
    let (mut client, _) = RawClient::open(addresses[0], &Attach::default());
    for (path, xid) in GROUND.iter().zip(1..) {
        let data = if path.starts_with("/load/counter/") {
            "0.ground"
        } else {
            "ground"
        };
        let reply = client.call(xid, CREATE, &create(path, data, PERSISTENT), &mut Vec::new());
        assert!(matches!(reply.err, 0 | NODE_EXISTS), "create {path}: {}", reply.err);
    }
    client.send(99, super::words::CLOSE, &[]);
    let _ = client.packet();
}
