//! `Broker`: one Kafka process (a broker, or the KRaft controller of a migration) with a directory and ports of its own.
//!
//! Its number, ports and data stay over all its lives; its configuration may change while it is down.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::jars::{classpath, logger};
use crate::peers::{Process, free_port, last_lines, wait_until};

/// How long a broker may take until it serves, on a busy machine.
const START_MAX: Duration = Duration::from_secs(90);

/// So many lines of its output say why it failed.
const LAST: usize = 40;

/// A Kafka process.
pub struct Broker {
    /// `broker.id`.
    pub id: u32,
    /// Of the listener without a login.
    pub port: u16,
    /// Of the listener that asks for SCRAM.
    pub login_port: u16,
    /// Of the JVM.
    pub heap_megabytes: u32,
    directory: PathBuf,
    properties: String,
    process: Option<Process>,
    /// Where the output of the present life begins.
    output_from: usize,
}

impl Broker {
    /// A broker that keeps its metadata in ZooKeeper; it does not run yet.
    pub fn new(id: u32, directory: &Path) -> Self {
        let broker = Self {
            id,
            port: free_port(),
            login_port: free_port(),
            heap_megabytes: 384,
            directory: directory.join(format!("broker-{id}")),
            properties: String::new(),
            process: None,
            output_from: 0,
        };
        fs::create_dir_all(&broker.directory).expect("a broker's directory");
        fs::write(broker.directory.join("log4j.properties"), logger("INFO")).expect("log4j.properties");
        broker
    }

    /// The whole `server.properties` of its next start; `log.dirs` is added.
    pub fn configure(&mut self, properties: String) {
        self.properties = properties;
    }

    /// Where its data is.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Writes its configuration to a file, and gives that.
    pub fn write_properties(&self) -> PathBuf {
        let file = self.directory.join("server.properties");
        let text = format!("{}\nlog.dirs={}\n", self.properties, self.data().display());
        fs::write(&file, text).expect("server.properties");
        file
    }

    /// Starts it, and does not wait.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "broker {} runs already", self.id);
        self.output_from = self.output().len();
        let file = self.write_properties();
        let mut command = Command::new("java");
        command
            .arg(format!("-Xmx{}m", self.heap_megabytes))
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.timezone=UTC"])
            .arg(format!(
                "-Dlog4j.configuration=file:{}/log4j.properties",
                self.directory.display()
            ))
            .args(["-cp", &classpath(), "kafka.Kafka"])
            .arg(file)
            .current_dir(&self.directory);
        self.process = Some(Process::spawn(&mut command, &self.log_path()));
    }

    /// Waits until its present life said this.
    #[track_caller]
    pub fn wait_said(&mut self, words: &str, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.has_said(words) {
            if let Some(died) = self.died() {
                panic!("awaited {words:?}: {died}\n{}", last_lines(&self.output(), LAST));
            }
            assert!(
                Instant::now() < deadline,
                "broker {} did not say {words:?} within {limit:?}:\n{}",
                self.id,
                last_lines(&self.output(), LAST)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until it serves.
    #[track_caller]
    pub fn wait_started(&mut self) {
        self.wait_said(" started (kafka.server.", START_MAX);
    }

    /// Whether it said so in its present life.
    pub fn has_said(&self, words: &str) -> bool {
        self.output()[self.output_from..].contains(words)
    }

    /// How it ended, if nobody ended it.
    pub fn died(&mut self) -> Option<String> {
        let ended = self.process.as_mut()?.ended()?;
        Some(format!("broker {} ended by itself, with {ended:?}", self.id))
    }

    /// Whether it was started and not ended by the test.
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// SIGKILL, and wait.
    pub fn kill9(&mut self) {
        self.process.take().expect("a running broker").kill9();
    }

    /// SIGTERM; it may take as long as it needs to hand its partitions over.
    #[track_caller]
    pub fn terminate(&mut self) {
        let mut process = self.process.take().expect("a running broker");
        process.signal("TERM");
        assert!(
            wait_until(Duration::from_secs(60), || process.ended().is_some()),
            "broker {} did not end within a minute of SIGTERM:\n{}",
            self.id,
            last_lines(&self.output(), LAST)
        );
    }

    /// Sends a signal by its short name.
    pub fn signal(&self, name: &str) {
        self.process.as_ref().expect("a running broker").signal(name);
    }

    /// Where its output goes, over all its lives.
    pub fn log_path(&self) -> PathBuf {
        self.directory.join("output.log")
    }

    /// What it wrote, over all its lives.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }
}
