//! `Member`: one server of an ensemble, Ringkeeper or Apache ZooKeeper, told who it is by an ordinary `zoo.cfg`.
//!
//! A member keeps its number, its ports and its directory for as long as the test runs; the program that serves them
//! may change while it is down. Starting does not wait: a member answers nobody before a majority is there.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::java::zookeeper_jars;
use super::process::{Process, free_port};
use super::ring::server_binary;

/// Whose program a member runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// Apache ZooKeeper 3.9.5.
    Apache,
    /// This workspace's server.
    Ringkeeper,
}

/// Where a member is found, by its peers and by clients.
#[derive(Clone, Debug)]
pub struct Place {
    /// The address that it listens on.
    pub host: IpAddr,
    /// Its quorum, election and client ports.
    pub ports: [u16; 3],
    /// The network namespace that it lives in, if it is not the test's own.
    pub namespace: Option<String>,
}

impl Place {
    /// Free ports on loopback.
    pub fn loopback() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            ports: [free_port(), free_port(), free_port()],
            namespace: None,
        }
    }

    /// What follows `server.N=`.
    pub fn line(&self, is_observer: bool) -> String {
        let role = if is_observer { "observer" } else { "participant" };
        let [quorum, election, client] = self.ports;
        format!("{0}:{quorum}:{election}:{role};{0}:{client}", self.host)
    }
}

/// A server of an ensemble.
pub struct Member {
    /// Its number, `myid`.
    pub id: u32,
    /// Whose program it runs now.
    pub make: Make,
    /// Of the JVM, if it is one.
    pub heap_megabytes: u32,
    /// Whether the JVM leaves out what makes it fast later: for tests that start many and measure none.
    pub starts_quickly: bool,
    /// Whether it ever ran Apache ZooKeeper.
    pub was_apache: bool,
    /// Where.
    pub place: Place,
    /// Holds `zoo.cfg`, the output of all its lives, and what `dataDir` names.
    directory: PathBuf,
    /// The whole `zoo.cfg` but for `dataDir`.
    configuration: String,
    /// Jars beside ZooKeeper's own: a logger.
    jars: Vec<PathBuf>,
    process: Option<Process>,
}

impl Member {
    /// A member that does not run yet. `configuration` is a `zoo.cfg` without `dataDir`.
    pub fn new(id: u32, make: Make, place: Place, directory: &Path, configuration: String, jars: &[PathBuf]) -> Self {
        let member = Self {
            id,
            make,
            heap_megabytes: 512,
            starts_quickly: true,
            was_apache: false,
            place,
            directory: directory.into(),
            configuration,
            jars: jars.to_vec(),
            process: None,
        };
        member.empty_data();
        member
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        (self.place.host, self.place.ports[2]).into()
    }

    /// `1/apache`, for messages.
    pub fn name(&self) -> String {
        let make = if self.make == Make::Apache {
            "apache"
        } else {
            "ringkeeper"
        };
        format!("{}/{make}", self.id)
    }

    /// What `dataDir` names.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// A data directory with nothing but `myid`.
    fn empty_data(&self) {
        fs::create_dir_all(self.data()).expect("dataDir");
        fs::write(self.data().join("myid"), format!("{}\n", self.id)).expect("myid");
    }

    /// Moves the data aside, for good, and leaves an empty directory with `myid`; gives where the data is now.
    pub fn set_data_aside(&mut self) -> PathBuf {
        assert!(self.process.is_none(), "{} runs", self.name());
        let taken = |number: &u32| !self.directory.join(format!("data.{number}")).exists();
        let number = (1..).find(taken).expect("a free name");
        let aside = self.directory.join(format!("data.{number}"));
        fs::rename(self.data(), &aside).expect("data set aside");
        self.empty_data();
        aside
    }

    /// Starts the program that it is made of, and does not wait.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name());
        self.was_apache |= self.make == Make::Apache;
        let file = self.directory.join("zoo.cfg");
        let text = format!("{}dataDir={}\n", self.configuration, self.data().display());
        fs::write(&file, text).expect("zoo.cfg");
        let mut words: Vec<String> = match &self.place.namespace {
            Some(name) => ["ip", "netns", "exec", name].map(String::from).to_vec(),
            None => Vec::new(),
        };
        match self.make {
            Make::Ringkeeper => words.extend([server_binary().display().to_string(), "start-foreground".into()]),
            Make::Apache => words.extend(self.java()),
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(file).current_dir(&self.directory);
        self.process = Some(Process::spawn(&mut command, &self.log_path()));
    }

    fn java(&self) -> Vec<String> {
        let mut classpath = format!("{}/*", zookeeper_jars().display());
        self.jars
            .iter()
            .for_each(|jar| classpath.push_str(&format!(":{}", jar.display())));
        let quick: &[&str] = match self.starts_quickly {
            true => &["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
            false => &[],
        };
        let heap = format!("-Xmx{}m", self.heap_megabytes);
        let others = [
            "-Dfile.encoding=UTF-8",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            "-cp",
            &classpath,
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        ];
        let words = ["java", &heap].into_iter().chain(quick.iter().copied()).chain(others);
        words.map(String::from).collect()
    }

    /// Whether it was started and not stopped by the test.
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Whether its process ended although nobody ended it, and how.
    pub fn died(&mut self) -> Option<String> {
        let ended = self.process.as_mut()?.ended()?;
        Some(match ended {
            Some(status) => format!("{} ended with status {status}", self.name()),
            None => format!("{} was ended by a signal", self.name()),
        })
    }

    /// The exit status if its process ended although nobody ended it; it may be started again then.
    pub fn reap(&mut self) -> Option<Option<i32>> {
        let status = self.process.as_mut()?.ended()?;
        self.process = None;
        Some(status)
    }

    /// Moves what `dataDir` names to another place, before the first start.
    pub fn move_data(&self, to: &Path) {
        assert!(self.process.is_none(), "{} runs", self.name());
        fs::create_dir_all(to).expect("a directory");
        fs::copy(self.data().join("myid"), to.join("myid")).expect("myid");
        fs::remove_dir_all(self.data()).expect("the empty directory");
        std::os::unix::fs::symlink(to, self.data()).expect("a link in its place");
    }

    /// SIGKILL, and wait.
    pub fn kill9(&mut self) {
        self.process.take().expect("a running member").kill9();
    }

    /// SIGTERM, and wait.
    pub fn terminate(&mut self) -> Option<i32> {
        self.process.take().expect("a running member").terminate()
    }

    /// The same, and it must end in order. A JVM does with 143.
    #[track_caller]
    pub fn end_in_order(&mut self) {
        let (name, code) = (self.name(), self.terminate());
        assert!(matches!(code, Some(0 | 143)), "{name} ended with {code:?}");
    }

    /// Sends a signal by its short name.
    pub fn signal(&self, name: &str) {
        self.process.as_ref().expect("a running member").signal(name);
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("a running member").pid()
    }

    /// Where its output goes, over all its lives.
    pub fn log_path(&self) -> PathBuf {
        self.directory.join("output.log")
    }

    /// What it wrote to its output so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// `leader`, `follower`, `observer` …, while it serves.
    pub fn mode(&self) -> Option<String> {
        let answer = four_letter(self.address(), "srvr").ok()?;
        let mode = answer.lines().find_map(|line| line.strip_prefix("Mode: "))?;
        Some(mode.to_owned())
    }

    /// What `mntr` says, by key.
    pub fn mntr(&self) -> BTreeMap<String, String> {
        let answer = four_letter(self.address(), "mntr").unwrap_or_default();
        let pair = |line: &str| line.split_once('\t').map(|(key, value)| (key.into(), value.into()));
        answer.lines().filter_map(pair).collect()
    }
}

/// Asks a four-letter word. A member accepts connections before it serves, and drops them or says so.
pub fn four_letter(address: SocketAddr, word: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
