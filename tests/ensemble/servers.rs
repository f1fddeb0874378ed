//! An ensemble of real processes on loopback, and a client whose session moves between them.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::peers::jute::{In, Out};
use crate::peers::{Attach, Packet, Process, RawClient, Received, free_port};

/// How long anything may take that should happen soon.
pub const SOON: Duration = Duration::from_secs(30);

/// One server.
pub struct Server {
    pub id: usize,
    pub directory: PathBuf,
    pub client: SocketAddr,
    pub quorum: u16,
    pub election: u16,
    process: Option<Process>,
}

/// Servers 1 to n; those behind the voters are observers.
pub struct Ensemble {
    pub servers: Vec<Server>,
    flags: String,
    directory: TempDir,
}

impl Ensemble {
    /// Writes the configurations and starts all; `lines` go into each file.
    pub fn launch(voters: usize, observers: usize, lines: &str) -> Ensemble {
        let mut ensemble = Ensemble::prepare(voters, observers, lines);
        for id in 1..=voters + observers {
            ensemble.start(id);
        }
        ensemble.wait_serving(&(1..=voters + observers).collect::<Vec<_>>());
        ensemble
    }

    /// Only writes them.
    pub fn prepare(voters: usize, observers: usize, lines: &str) -> Ensemble {
        let place = |server: &Server| format!("127.0.0.1:{}:{}", server.quorum, server.election);
        Ensemble::prepare_at(voters, observers, lines, place)
    }

    /// The same with another text behind each `server.N=`.
    pub fn prepare_at(voters: usize, observers: usize, lines: &str, place: impl Fn(&Server) -> String) -> Ensemble {
        let directory = TempDir::with_prefix("ringkeeper-ensemble-").expect("temporary directory");
        let port = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut servers: Vec<Server> = (1..=voters + observers)
            .map(|id| Server {
                id,
                directory: directory.path().join(id.to_string()),
                client: port(),
                quorum: free_port(),
                election: free_port(),
                process: None,
            })
            .collect();
        let member = |server: &Server| {
            let role = if server.id > voters { ":observer" } else { "" };
            format!("server.{}={}{role}\n", server.id, place(server))
        };
        let members: String = servers.iter().map(member).collect();
        for server in &mut servers {
            let data = server.directory.join("data");
            fs::create_dir_all(&data).expect("dataDir");
            fs::write(data.join("myid"), format!("{}\n", server.id)).expect("myid");
            let (data, log) = (data.display(), server.directory.join("log"));
            let text = format!(
                "tickTime=1000\ninitLimit=10\nsyncLimit=3\nminSessionTimeout=2000\ndataDir={data}\ndataLogDir={}\n\
                 clientPort={}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n4lw.commands.whitelist=*\n\
                 ringkeeper.segmentMegabytes=4\nringkeeper.lowWaterMegabytes=0\n{lines}\n{members}",
                log.display(),
                server.client.port()
            );
            fs::write(server.directory.join("zoo.cfg"), text).expect("zoo.cfg");
        }
        Ensemble {
            servers,
            flags: String::new(),
            directory,
        }
    }

    /// What ZooKeeper only takes from the JVM.
    pub fn flags(&mut self, flags: &str) {
        self.flags = flags.into();
    }

    /// Where everything of it is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn server(&self, id: usize) -> &Server {
        &self.servers[id - 1]
    }

    fn process(&mut self, id: usize) -> &mut Process {
        self.servers[id - 1].process.as_mut().expect("it runs")
    }

    /// Starts one; does not wait for it.
    pub fn start(&mut self, id: usize) {
        self.start_by(id, &[]);
    }

    /// The same as the last words of another command.
    pub fn start_by(&mut self, id: usize, command: &[&str]) {
        let server = &mut self.servers[id - 1];
        assert!(server.process.is_none(), "server {id} runs already");
        let words = [command, &[env!("CARGO_BIN_EXE_zk-server"), "start-foreground"]].concat();
        let mut command = Command::new(words[0]);
        command.env("SERVER_JVMFLAGS", &self.flags);
        command.args(&words[1..]).arg(server.directory.join("zoo.cfg"));
        server.process = Some(Process::spawn(&mut command, &server.directory.join("output.log")));
    }

    /// Starts another server with the number of one that is there, at another address of this machine and with nothing in
    /// its directory. Gives it, and where its output is.
    pub fn start_double(&self, id: usize) -> (Process, PathBuf) {
        let server = self.server(id);
        let text = fs::read_to_string(server.directory.join("zoo.cfg")).expect("zoo.cfg");
        let directory = server.directory.with_file_name(format!("double-of-{id}"));
        let (theirs, ours) = (server.directory.display().to_string(), directory.display().to_string());
        let text = text
            .replace(&theirs, &ours)
            .replace(&format!("server.{id}=127.0.0.1:"), &format!("server.{id}=127.0.0.2:"))
            .replace(
                &format!("clientPort={}\n", server.client.port()),
                &format!("clientPort={}\n", free_port()),
            );
        fs::create_dir_all(directory.join("data")).expect("dataDir");
        fs::write(directory.join("data/myid"), format!("{id}\n")).expect("myid");
        fs::write(directory.join("zoo.cfg"), text).expect("zoo.cfg");
        let mut command = Command::new(env!("CARGO_BIN_EXE_zk-server"));
        command.arg("start-foreground").arg(directory.join("zoo.cfg"));
        let output = directory.join("output.log");
        (Process::spawn(&mut command, &output), output)
    }

    /// How it ended by itself, if it did; it may be started again then.
    pub fn ended(&mut self, id: usize) -> Option<Option<i32>> {
        let code = self.process(id).ended()?;
        self.servers[id - 1].process = None;
        Some(code)
    }

    pub fn kill9(&mut self, id: usize) {
        self.servers[id - 1].process.take().expect("it runs").kill9();
    }

    /// SIGTERM; it must end in order.
    pub fn terminate(&mut self, id: usize) {
        let code = self.servers[id - 1].process.take().expect("it runs").terminate();
        assert_eq!(code, Some(0), "server {id}");
    }

    /// SIGSTOP or SIGCONT.
    pub fn signal(&mut self, id: usize, signal: &str) {
        let pid = self.process(id).pid();
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{signal} {pid}")])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot signal server {id}");
    }

    pub fn output(&self, id: usize) -> String {
        let path = self.servers[id - 1].directory.join("output.log");
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }

    /// `leader`, `follower`, `observer`, or why it is none.
    pub fn mode(&self, id: usize) -> String {
        let answer = word(self.server(id).client, "srvr").unwrap_or_default();
        let mode = answer.lines().find_map(|line| line.strip_prefix("Mode: "));
        mode.unwrap_or("none").to_owned()
    }

    /// Waits until each of them serves, and one of them as the leader; gives that one.
    #[track_caller]
    pub fn wait_serving(&mut self, ids: &[usize]) -> usize {
        let deadline = Instant::now() + SOON;
        loop {
            let modes: Vec<String> = ids.iter().map(|id| self.mode(*id)).collect();
            let leads = modes.iter().filter(|mode| *mode == "leader").count();
            if leads == 1 && modes.iter().all(|mode| mode != "none") {
                let at = modes.iter().position(|mode| mode == "leader").expect("one leads");
                return ids[at];
            }
            for id in ids {
                if let Some(process) = &mut self.servers[id - 1].process
                    && let Some(code) = process.ended()
                {
                    panic!("server {id} ended with {code:?}:\n{}", self.output(*id));
                }
            }
            if Instant::now() > deadline {
                let outputs: Vec<String> = ids.iter().map(|id| format!("--- {id}\n{}", self.output(*id))).collect();
                panic!(
                    "after {SOON:?} the servers {ids:?} are {modes:?}\n{}",
                    outputs.join("\n")
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The answer to a four-letter word.
pub fn word(address: SocketAddr, word: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(word.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A value of `mntr`.
pub fn metric(address: SocketAddr, name: &str) -> Option<String> {
    let answer = word(address, "mntr")?;
    let line = answer
        .lines()
        .find_map(|line| line.strip_prefix(&format!("zk_{name}\t")));
    line.map(str::to_owned)
}

const CREATE: i32 = 1;
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
const GET_CHILDREN: i32 = 8;
const SYNC: i32 = 9;
const CLOSE: i32 = -11;

/// A client with a session, wherever it is connected.
pub struct Client {
    connection: Option<RawClient>,
    attach: Attach,
    xid: i32,
    events: Vec<Packet>,
}

impl Client {
    /// A new session.
    #[track_caller]
    pub fn open(address: SocketAddr, timeout_ms: i32) -> Client {
        let mut client = Client {
            connection: None,
            attach: Attach {
                timeout_ms,
                ..Attach::default()
            },
            xid: 0,
            events: Vec::new(),
        };
        let deadline = Instant::now() + SOON;
        while !client.connect(address) {
            assert!(Instant::now() < deadline, "no session at {address}");
            std::thread::sleep(Duration::from_millis(5));
        }
        client
    }

    /// A session of a server without a leader.
    #[track_caller]
    pub fn open_read_only(address: SocketAddr, timeout_ms: i32) -> Client {
        let attach = Attach {
            timeout_ms,
            read_only: Some(true),
            ..Attach::default()
        };
        let (connection, opened) = RawClient::open(address, &attach);
        assert_eq!(opened.read_only, Some(true));
        Client {
            connection: Some(connection),
            attach,
            xid: 0,
            events: Vec::new(),
        }
    }

    /// The error of a write.
    pub fn try_set_error(&mut self, path: &str, data: &[u8]) -> i32 {
        self.call(SET_DATA, &Out::new().string(path).buffer(data).int(-1).0).err
    }

    pub fn session(&self) -> i64 {
        self.attach.session
    }

    /// Connects with its session, if the server takes it. Panics if the session is over.
    #[track_caller]
    pub fn connect(&mut self, address: SocketAddr) -> bool {
        self.connection = None;
        let Ok(mut connection) = RawClient::dial(address) else {
            return false;
        };
        let Received::Got(opened) = connection.handshake(&self.attach) else {
            return false;
        };
        assert!(opened.timeout_ms > 0, "the session 0x{:x} is over", self.attach.session);
        self.attach.session = opened.session;
        self.attach.password = Some(opened.password);
        self.connection = Some(connection);
        true
    }

    /// Connects to one of several, until one takes it.
    #[track_caller]
    pub fn reconnect(&mut self, addresses: &[SocketAddr]) {
        let deadline = Instant::now() + SOON;
        while !addresses.iter().any(|address| self.connect(*address)) {
            assert!(Instant::now() < deadline, "none of {addresses:?} takes the session");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A request; `None` if the connection broke.
    pub fn try_call(&mut self, op: i32, body: &[u8]) -> Option<Packet> {
        self.xid += 1;
        let connection = self.connection.as_mut()?;
        connection.send(self.xid, op, body);
        loop {
            match connection.packet() {
                Received::Got(packet) if packet.xid == -1 => self.events.push(packet),
                Received::Got(packet) => {
                    assert_eq!(packet.xid, self.xid, "{packet:?}");
                    if packet.zxid > 0 {
                        assert!(
                            packet.zxid >= self.attach.last_zxid,
                            "{packet:?} behind 0x{:x}",
                            self.attach.last_zxid
                        );
                        self.attach.last_zxid = packet.zxid;
                    }
                    return Some(packet);
                }
                Received::Closed | Received::Silence => {
                    self.connection = None;
                    return None;
                }
            }
        }
    }

    #[track_caller]
    fn call(&mut self, op: i32, body: &[u8]) -> Packet {
        self.try_call(op, body).expect("an answer")
    }

    #[track_caller]
    pub fn create(&mut self, path: &str, data: &[u8], ephemeral: bool) {
        let reply = self.call(CREATE, &create(path, data, ephemeral));
        assert_eq!(reply.err, 0, "create {path}");
    }

    /// Asks for a node and does not wait for the answer.
    pub fn send_create(&mut self, path: &str, data: &[u8]) {
        self.xid += 1;
        let connection = self.connection.as_mut().expect("a connection");
        connection.send(self.xid, CREATE, &create(path, data, false));
    }

    #[track_caller]
    pub fn set(&mut self, path: &str, data: &[u8]) {
        assert!(self.try_set(path, data), "set {path}");
    }

    /// Whether it was acknowledged.
    pub fn try_set(&mut self, path: &str, data: &[u8]) -> bool {
        let reply = self.try_call(SET_DATA, &Out::new().string(path).buffer(data).int(-1).0);
        reply.is_some_and(|reply| reply.err == 0)
    }

    /// The data, if the node is there.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Option<Vec<u8>> {
        let reply = self.call(GET_DATA, &Out::new().string(path).bool(false).0);
        match reply.err {
            0 => In::new(&reply.body).buffer().flatten().map(<[u8]>::to_vec),
            -101 => None,
            other => panic!("get {path}: {other}"),
        }
    }

    /// Names, sorted.
    #[track_caller]
    pub fn children(&mut self, path: &str) -> Vec<String> {
        let reply = self.call(GET_CHILDREN, &Out::new().string(path).bool(false).0);
        assert_eq!(reply.err, 0, "children of {path}");
        let mut input = In::new(&reply.body);
        let count = input.int().expect("a count");
        let name = |_| String::from_utf8(input.buffer().flatten().expect("a name").to_vec()).expect("a text");
        let mut names: Vec<String> = (0..count).map(name).collect();
        names.sort();
        names
    }

    #[track_caller]
    pub fn sync(&mut self) {
        assert_eq!(self.call(SYNC, &Out::new().string("/").0).err, 0, "sync");
    }

    #[track_caller]
    pub fn close(mut self) {
        assert_eq!(self.call(CLOSE, &[]).err, 0, "close");
    }

    /// What it has seen last.
    pub fn last_zxid(&self) -> i64 {
        self.attach.last_zxid
    }

    /// Pretends to have seen more.
    pub fn pretend(&mut self, zxid: i64) {
        self.attach.last_zxid = zxid;
    }
}

fn create(path: &str, data: &[u8], ephemeral: bool) -> Vec<u8> {
    Out::new()
        .string(path)
        .buffer(data)
        .acls(&[(31, "world", "anyone")])
        .int(i32::from(ephemeral))
        .0
}
