//! `RingServer`: this workspace's server binary under test.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::Peer;
use super::process::{Process, free_port};

/// Which input/output engine the server is told to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The ring.
    Uring,
    /// The fallback.
    Epoll,
}

impl Engine {
    /// Its name in `ringkeeper.engine`.
    pub fn key(self) -> &'static str {
        match self {
            Engine::Uring => "io_uring",
            Engine::Epoll => "epoll",
        }
    }
}

/// A Ringkeeper process on a free loopback port with its own temporary directory.
pub struct RingServer {
    /// The first, so that it ends before its directory goes.
    process: Option<Process>,
    directory: TempDir,
    port: u16,
    engine: Engine,
    flags: String,
}

impl RingServer {
    /// Starts a server. `lines` are added to a configuration of `tickTime`, `dataDir` (`<dir>/data`), client port and
    /// address, and engine; the same key in `lines` takes the place of the given one. `{dir}` in a line is the
    /// server's directory.
    pub fn launch(engine: Engine, lines: &[&str]) -> Self {
        Self::launch_with(engine, lines, &[])
    }

    /// The same with `key=value` pairs that ZooKeeper takes as system properties only.
    pub fn launch_with(engine: Engine, lines: &[&str], properties: &[&str]) -> Self {
        let directory = TempDir::with_prefix("ringkeeper-").expect("temporary directory");
        let port = free_port();
        // Two loops, so that what cores tell each other is tested on any machine.
        let own = [("ringkeeper.engine", engine.key()), ("ringkeeper.cores", "2")];
        let text = configuration(directory.path(), port, &own, lines);
        fs::write(directory.path().join("zoo.cfg"), text).expect("zoo.cfg");
        let mut server = Self {
            directory,
            port,
            engine,
            flags: properties.iter().map(|property| format!("-D{property} ")).collect(),
            process: None,
        };
        server.start();
        server
    }
}

impl Peer for RingServer {
    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn name(&self) -> String {
        format!("ringkeeper/{}", self.engine.key())
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn kill9(&mut self) {
        self.process.take().expect("a running server").kill9();
    }

    fn terminate(&mut self) -> Option<i32> {
        self.process.take().expect("a running server").terminate()
    }

    fn start(&mut self) {
        assert!(self.process.is_none(), "the server runs already");
        let mut command = Command::new(server_binary());
        command
            .env("SERVER_JVMFLAGS", &self.flags)
            .arg("start-foreground")
            .arg(self.directory.path().join("zoo.cfg"));
        let mut process = Process::spawn(&mut command, &self.directory.path().join("output.log"));
        let address = self.address();
        process.wait_ready(Duration::from_secs(20), || {
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        });
        self.process = Some(process);
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().expect("a running server").pid()
    }

    fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.path().join("output.log")).unwrap_or_default()).into_owned()
    }
}

/// The server's program: cargo names it to this package's tests; tests of other packages find it beside themselves.
pub(super) fn server_binary() -> PathBuf {
    if let Some(program) = option_env!("CARGO_BIN_EXE_zk-server") {
        return program.into();
    }
    let test = std::env::current_exe().expect("the test's own path");
    let program = test.ancestors().nth(2).expect("target directory").join("zk-server");
    assert!(
        program.exists(),
        "{} is missing: cargo build --bin zk-server",
        program.display()
    );
    program
}

/// The text of a zoo.cfg: the fixed keys, `more`, then `lines`, where a later key replaces an earlier one.
pub(super) fn configuration(directory: &Path, port: u16, more: &[(&str, &str)], lines: &[&str]) -> String {
    let data = directory.join("data");
    fs::create_dir_all(&data).expect("dataDir");
    let mut keys: Vec<(String, String)> = vec![
        ("tickTime".into(), "2000".into()),
        ("dataDir".into(), data.display().to_string()),
        ("clientPort".into(), port.to_string()),
        ("clientPortAddress".into(), "127.0.0.1".into()),
        ("maxClientCnxns".into(), "0".into()),
    ];
    keys.extend(more.iter().map(|(key, value)| (key.to_string(), value.to_string())));
    for line in lines {
        let (key, value) = line
            .split_once('=')
            .unwrap_or_else(|| panic!("no '=' in configuration line {line:?}"));
        let value = value.replace("{dir}", &directory.display().to_string());
        keys.retain(|(old, _)| old != key);
        keys.push((key.into(), value));
    }
    keys.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}
