//! `JavaServer`: Apache ZooKeeper 3.9.5, the reference, fetched once from Maven Central by Maven itself.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::Peer;
use super::cache::cache_dir;
use super::process::{Process, free_port};
use super::ring::configuration;

/// The jars that a server needs, its admin server included; everything else comes by their own declarations. The
/// versions of all but the first are those of ZooKeeper 3.9.5's pom, which declares them as provided.
const POM: &str = include_str!("../../tools/apache-zookeeper.pom.xml");

/// The Maven plugin that copies them, pinned like the rest.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// The directory with ZooKeeper 3.9.5 and what it needs, as `*.jar`; downloaded on the first call ever.
pub fn zookeeper_jars() -> PathBuf {
    cache_dir("zookeeper-3.9.5-with-jetty", |directory| {
        fs::write(directory.join("pom.xml"), POM).expect("pom.xml");
        let output = Command::new("mvn")
            .args(["-B", "-q", COPY])
            .arg(format!("-DoutputDirectory={}", directory.display()))
            .current_dir(directory)
            .output()
            .expect("'mvn' is missing: install Maven 3 (Debian: maven)");
        assert!(
            output.status.success() && directory.join("zookeeper-3.9.5.jar").exists(),
            "Maven could not fetch Apache ZooKeeper 3.9.5:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    })
}

/// An Apache ZooKeeper process on a free loopback port with its own temporary directory.
pub struct JavaServer {
    /// The first, so that it ends before its directory goes.
    process: Option<Process>,
    directory: TempDir,
    port: u16,
    properties: Vec<String>,
}

impl JavaServer {
    /// Starts a server. `lines` are added to its zoo.cfg (see `RingServer::launch`), `properties` are `key=value` pairs
    /// given to the JVM with `-D`.
    pub fn launch(lines: &[&str], properties: &[&str]) -> Self {
        let directory = TempDir::with_prefix("apache-").expect("temporary directory");
        let port = free_port();
        let text = configuration(directory.path(), port, &[("admin.enableServer", "false")], lines);
        fs::write(directory.path().join("zoo.cfg"), text).expect("zoo.cfg");
        let properties = properties.iter().map(|property| format!("-D{property}")).collect();
        let mut server = Self {
            directory,
            port,
            properties,
            process: None,
        };
        server.start();
        server
    }
}

impl Peer for JavaServer {
    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn name(&self) -> String {
        "apache-3.9.5".into()
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
        let quick = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
        let mut command = java_command(&quick, &self.properties, &self.directory.path().join("zoo.cfg"));
        command.current_dir(self.directory.path());
        let mut process = Process::spawn(&mut command, &self.directory.path().join("output.log"));
        let address = self.address();
        process.wait_ready(Duration::from_secs(60), || serves(address));
        self.process = Some(process);
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().expect("a running server").pid()
    }

    fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.path().join("output.log")).unwrap_or_default()).into_owned()
    }
}

/// What starts Apache ZooKeeper with a configuration, in a JVM with those flags and `-Dkey=value` properties.
pub fn java_command(flags: &[&str], properties: &[String], config: &Path) -> Command {
    let classpath = format!("{}/*", zookeeper_jars().display());
    assert!(
        Command::new("java").arg("-version").output().is_ok(),
        "'java' is missing: install a JDK 17 (Debian: openjdk-17-jdk-headless)"
    );
    let mut command = Command::new("java");
    command
        .args(flags)
        .args(properties)
        .args(["-cp", &classpath, "org.apache.zookeeper.server.quorum.QuorumPeerMain"])
        .arg(config);
    command
}

/// Whether the server answers `srvr` with a mode. It accepts connections before it serves, and drops them.
fn serves(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"srvr")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains("Mode:"))
}
