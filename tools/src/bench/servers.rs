//! Servers that zk-bench starts: by any command, or by two that it knows, Ringkeeper and Apache ZooKeeper 3.9.5.
//!
//! `{port}` in a command becomes a free loopback port and `{dir}` a directory, both kept over a restart. A command of
//! the single word `ringkeeper` or `zookeeper` stands for `zk-bench serve …`, which writes a `zoo.cfg` and becomes the
//! server. Both get the same file: each product's defaults, except that one address may have many connections.

use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::conn::{Conn, Session};

/// Servers get so long to answer.
const START_MAX: Duration = Duration::from_secs(60);
/// And so long to end when they are asked to.
const STOP_MAX: Duration = Duration::from_secs(20);

/// A started server; stopped when dropped.
pub struct Running {
    command: String,
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// How long it took to answer a first session.
    pub start_ms: f64,
    directory: TempDir,
}

impl Running {
    /// Runs `command` by the shell. `below` is where its directory is made; without `{port}` in the command it is
    /// expected on `address`.
    pub fn start(command: &str, below: &Path, address: Option<SocketAddr>) -> io::Result<Running> {
        let directory = tempfile::Builder::new().prefix("zk-bench-").tempdir_in(below)?;
        let path = directory.path().canonicalize()?;
        let address = match address {
            Some(address) if !command.contains("{port}") && known(command).is_none() => address,
            _ => free_address()?,
        };
        let known = known(command);
        let command = known
            .as_deref()
            .unwrap_or(command)
            .replace("{port}", &address.port().to_string())
            .replace("{dir}", &path.display().to_string());
        let started = Instant::now();
        let mut running = Running {
            child: spawn(&command, &path)?,
            command,
            address,
            start_ms: 0.0,
            directory,
        };
        running.wait(started)?;
        Ok(running)
    }

    fn wait(&mut self, started: Instant) -> io::Result<()> {
        while started.elapsed() < START_MAX {
            // A server may accept before it serves, and drop what it accepted.
            let session = Session::new(30_000);
            if TcpStream::connect(self.address).is_ok()
                && Conn::open(self.address, session, Duration::from_secs(5)).is_ok()
            {
                self.start_ms = started.elapsed().as_secs_f64() * 1000.0;
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!(
                    "'{}' ended with {status}:\n{}",
                    self.command,
                    self.output_tail()
                )));
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Err(io::Error::other(format!(
            "'{}' did not answer on {} within {START_MAX:?}:\n{}",
            self.command,
            self.address,
            self.output_tail()
        )))
    }

    fn output_tail(&self) -> String {
        let mut log = Vec::new();
        // Lossy: a server may write anything.
        let _ = fs::File::open(self.directory.path().join(LOG)).and_then(|mut file| file.read_to_end(&mut log));
        let log = String::from_utf8_lossy(&log);
        let tail: Vec<&str> = log.lines().rev().take(8).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and wait.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, on the same port and directory, and does not wait until it answers.
    pub fn start_again(&mut self) -> io::Result<()> {
        self.child = spawn(&self.command, self.directory.path())?;
        Ok(())
    }

    fn stop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(&pid).status();
        let asked = Instant::now();
        while asked.elapsed() < STOP_MAX {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.stop();
        }
    }
}

/// Starts a single server, or with more `members` an ensemble: then `{id}` in a command of several words is the member's
/// number, `{port}` its client port, and `{servers}` stands for the `server.N` lines as `--line` arguments of
/// `zk-bench serve`.
pub fn start_all(command: &str, below: &Path, members: u32) -> io::Result<Vec<Running>> {
    if members <= 1 {
        return Ok(vec![Running::start(command, below, None)?]);
    }
    let command = match known(command) {
        Some(known) => format!("{known} --id {{id}} {{servers}}"),
        None if command.contains("{id}") && command.contains("{servers}") => command.to_owned(),
        None => {
            return Err(io::Error::other(
                "a member of an ensemble needs {id} and {servers} in its command, or one of the known words",
            ));
        }
    };
    let free = || free_address().map(|address| address.port());
    let mut lines = String::from("--line initLimit=10 --line syncLimit=5");
    let mut clients = Vec::new();
    for id in 1..=members {
        lines.push_str(&format!(" --line server.{id}=127.0.0.1:{}:{}", free()?, free()?));
        clients.push(free_address()?);
    }
    // Nobody answers before a majority is there: all are begun before any is waited for.
    std::thread::scope(|scope| {
        let (command, lines) = (&command, &lines);
        let start = |(address, id): (SocketAddr, u32)| {
            let command = command
                .replace("{id}", &id.to_string())
                .replace("{servers}", lines)
                .replace("{port}", &address.port().to_string());
            scope.spawn(move || Running::start(&command, below, Some(address)))
        };
        let starting: Vec<_> = clients.into_iter().zip(1..).map(start).collect();
        let started = starting
            .into_iter()
            .map(|start| start.join().expect("it does not panic"));
        started.collect()
    })
}

/// What a server writes.
const LOG: &str = "server.log";

fn spawn(command: &str, directory: &Path) -> io::Result<Child> {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(directory.join(LOG))?;
    Command::new("sh")
        .args(["-c", &format!("exec {command}")])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

/// A loopback address with a free port.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// A server that `zk-bench serve` can become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Product {
    /// The zk-server next to this program, or in PATH
    Ringkeeper,
    /// Apache ZooKeeper 3.9.5, fetched by Maven on the first call ever; needs a JDK 17; runs with -Xmx2g
    Zookeeper,
}

/// The command that a single word stands for.
fn known(command: &str) -> Option<String> {
    let word = command.trim();
    if !matches!(word, "ringkeeper" | "zookeeper") {
        return None;
    }
    let me = std::env::current_exe().ok()?;
    Some(format!("'{}' serve {word} --port {{port}} --dir {{dir}}", me.display()))
}

/// Becomes the server; returns only when that fails. `lines` are added to its `zoo.cfg`, and
/// a member of an ensemble has its `id`.
pub fn serve(product: Product, port: u16, directory: &Path, lines: &[String], id: Option<u32>) -> io::Error {
    let become_it = || -> io::Result<io::Error> {
        fs::create_dir_all(directory.join("data"))?;
        let directory = directory.canonicalize()?;
        let file = directory.join("zoo.cfg");
        let data = directory.join("data");
        let mut text = format!(
            "tickTime=2000\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n\
             admin.enableServer=false\n4lw.commands.whitelist=*\n",
            data.display()
        );
        lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
        fs::write(&file, text)?;
        if let Some(id) = id {
            fs::write(data.join("myid"), format!("{id}\n"))?;
        }
        Ok(match product {
            Product::Ringkeeper => Command::new(ringkeeper()?).arg("start-foreground").arg(&file).exec(),
            Product::Zookeeper => zookeeper(&directory, &file)?.exec(),
        })
    };
    become_it().unwrap_or_else(|error| error)
}

fn ringkeeper() -> io::Result<PathBuf> {
    let me = std::env::current_exe()?;
    // Next to this program, or one level up: tests run in `deps`.
    let beside = me
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("zk-server"));
    Ok(beside
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| "zk-server".into()))
}

/// The jars of a standalone server: what Maven is told.
const POM: &str = include_str!("../../apache-zookeeper.pom.xml");
/// The Maven plugin that copies them, pinned like the rest.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";
/// Without a logger among the jars it writes no log at all, which costs it less than its distribution's defaults.
fn zookeeper(directory: &Path, file: &Path) -> io::Result<Command> {
    let jars = zookeeper_jars()?;
    let mut command = Command::new("java");
    command
        .args(["-Xmx2g", "-cp", &format!("{}/*", jars.display())])
        .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
        .arg(file)
        .current_dir(directory);
    Ok(command)
}

/// The directory with ZooKeeper 3.9.5 and what it needs: `$RINGKEEPER_CACHE`, else `~/.cache/ringkeeper`, which the
/// project's tests use too. Filled by Maven on the first call ever, complete or absent.
pub fn zookeeper_jars() -> io::Result<PathBuf> {
    let root = match (std::env::var_os("RINGKEEPER_CACHE"), std::env::var_os("HOME")) {
        (Some(root), _) => PathBuf::from(root),
        (None, Some(home)) => Path::new(&home).join(".cache/ringkeeper"),
        (None, None) => {
            return Err(io::Error::other(
                "HOME or RINGKEEPER_CACHE must be set: downloads are kept there",
            ));
        }
    };
    const NAME: &str = "zookeeper-3.9.5-with-jetty";
    let directory = root.join(NAME);
    fs::create_dir_all(&root)?;
    let lock = fs::File::create(root.join(format!("{NAME}.lock")))?;
    lock.lock()?;
    let marker = directory.join(".complete");
    if marker.exists() {
        return Ok(directory);
    }
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("pom.xml"), POM)?;
    let output = Command::new("mvn")
        .args(["-B", "-q", COPY])
        .arg(format!("-DoutputDirectory={}", directory.display()))
        .current_dir(&directory)
        .output()
        .map_err(|error| io::Error::other(format!("'mvn' is missing: install Maven 3 (Debian: maven): {error}")))?;
    if !output.status.success() || !directory.join("zookeeper-3.9.5.jar").exists() {
        return Err(io::Error::other(format!(
            "Maven could not fetch Apache ZooKeeper 3.9.5:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    fs::write(&marker, NAME)?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_ends_is_named() {
        let error = Running::start("echo no such thing; exit 3", Path::new("/tmp"), None)
            .err()
            .expect("it ends");
        assert!(error.to_string().contains("ended with exit status: "), "{error}");
        assert!(error.to_string().contains("no such thing"), "{error}");
    }

    #[test]
    fn two_words_are_known() {
        assert!(
            known("zookeeper")
                .expect("known")
                .ends_with("serve zookeeper --port {port} --dir {dir}")
        );
        assert_eq!(known("zk-server start-foreground {dir}/zoo.cfg"), None);
    }
}
