//! A disk that fills up under a running server, on real file systems: what is refused, what goes on, that it passes by
//! itself when there is room again, and that what was acknowledged outlives kills on the way.
//!
//! The file systems are tiny and the test's own (`mount`). Where mounting is not allowed the reason is printed.

#[path = "full_disk/mount.rs"]
mod mount;
mod peers;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use mount::{Mount, text};
use peers::jute::{In, Out};
use peers::{Attach, Engine, Packet, Peer, Process, RawClient, Received, RingServer, free_port, wait_until};

const SYSTEM_ERROR: i32 = -1;
const NO_NODE: i32 = -101;

/// The statuses of a server that cannot write its log: an I/O error, and no space left.
const LOG_FAILED: i32 = 21;
const LOG_FULL: i32 = 22;

const CREATE: i32 = 1;
const DELETE: i32 = 2;
const EXISTS: i32 = 3;
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
const SET_ACL: i32 = 7;
const MULTI: i32 = 14;
const CLOSE: i32 = -11;

const OPEN: (i32, &str, &str) = (31, "world", "anyone");

fn create(path: &str, data: &[u8], flags: i32) -> Vec<u8> {
    Out::new().string(path).buffer(data).acls(&[OPEN]).int(flags).0
}

fn read(path: &str) -> Vec<u8> {
    Out::new().string(path).bool(false).0
}

fn delete(path: &str) -> Vec<u8> {
    Out::new().string(path).int(-1).0
}

struct Client {
    raw: RawClient,
    xid: i32,
}

impl Client {
    fn open(address: SocketAddr, timeout_ms: i32) -> Client {
        let attach = Attach {
            timeout_ms,
            ..Attach::default()
        };
        let (raw, opened) = RawClient::open(address, &attach);
        assert_ne!(opened.session, 0, "a session");
        Client { raw, xid: 0 }
    }

    fn call(&mut self, op: i32, body: &[u8]) -> Packet {
        self.xid += 1;
        self.raw.call(self.xid, op, body, &mut Vec::new())
    }

    fn err(&mut self, op: i32, body: &[u8]) -> i32 {
        self.call(op, body).err
    }

    fn close(mut self) {
        assert_eq!(self.err(CLOSE, &[]), 0, "a session can always be closed");
    }

    fn ping(&mut self) {
        self.raw.send(-2, 11, &[]);
        let pong = self.raw.packet().expect("the pong");
        assert_eq!((pong.xid, pong.err), (-2, 0));
    }
}

fn word(address: SocketAddr, word: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection for a word");
    stream.write_all(word.as_bytes()).expect("the word");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the answer");
    text
}

/// One of our own numbers in `mntr`.
fn number(address: SocketAddr, name: &str) -> u64 {
    let text = word(address, "mntr");
    let key = format!("zk_ringkeeper_{name}\t");
    let line = text.lines().find_map(|line| line.strip_prefix(&key));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
        .parse()
        .expect("a number")
}

/// A server whose data lies on the mount, with segments of a megabyte.
fn launch(mount: &Mount, engine: Engine, more: &[&str]) -> RingServer {
    let data = format!("dataDir={}", mount.path().join("data").display());
    let mut lines = vec![
        data.as_str(),
        "ringkeeper.segmentMegabytes=1",
        "ringkeeper.lowWaterMegabytes=8",
        "4lw.commands.whitelist=*",
        "tickTime=200",
        "maxSessionTimeout=60000",
    ];
    lines.extend(more);
    let server = RingServer::launch(engine, &lines);
    let whole = wait_until(Duration::from_secs(20), || {
        number(server.address(), "log_reserve_segments") == 2
    });
    assert!(whole, "the reserve is laid out:\n{}", server.output());
    server
}

fn lines_with(server: &RingServer, words: &str) -> Vec<String> {
    let output = server.output();
    output
        .lines()
        .filter(|line| line.contains(words))
        .map(str::to_owned)
        .collect()
}

/// Each file system with each engine; what cannot be mounted here is said.
fn on_each(scenario: impl Fn(&Mount, Engine, &str)) {
    for kind in ["tmpfs", "ext4"] {
        for engine in [Engine::Uring, Engine::Epoll] {
            let directory = tempfile::tempdir().expect("a directory");
            let made = match kind {
                "tmpfs" => Mount::tmpfs(48),
                _ => Mount::ext4(&directory.path().join("disk"), 64),
            };
            match made {
                Ok(mount) => {
                    let started = Instant::now();
                    let name = format!("{kind}, {}", engine.key());
                    scenario(&mount, engine, &name);
                    println!("{name}: {:.1} s", started.elapsed().as_secs_f64());
                    mount.unmount();
                }
                Err(reason) => println!("{kind}: nothing is shown here, because {reason}"),
            }
        }
    }
}

/// Creates nodes of 64 KB until the server refuses one. Gives how many it took.
fn fill(client: &mut Client) -> usize {
    let mut last_zxid = 0;
    for count in 0..10_000 {
        let reply = client.call(
            CREATE,
            &create(&format!("/f/n{count}"), &vec![count as u8; 64 << 10], 0),
        );
        if reply.err != 0 {
            assert_eq!((reply.err, reply.body.len()), (SYSTEM_ERROR, 0), "{reply:?}");
            assert_eq!(reply.zxid, last_zxid, "what is refused costs no zxid");
            return count;
        }
        last_zxid = reply.zxid;
    }
    panic!("the mark was never met");
}

fn assert_all_there(client: &mut Client, count: usize) {
    for index in 0..count {
        let reply = client.call(GET_DATA, &read(&format!("/f/n{index}")));
        assert_eq!(reply.err, 0, "/f/n{index} was acknowledged");
        let data = In::new(&reply.body).buffer().flatten().expect("data").to_vec();
        assert!(data.len() == 64 << 10 && data.iter().all(|byte| *byte == index as u8));
    }
}

#[test]
fn writes_end_and_come_back_while_reads_pings_and_closes_go_on() {
    on_each(|mount, engine, name| {
        let mut server = launch(mount, engine, &[]);
        let address = server.address();
        let mut client = Client::open(address, 60_000);
        assert_eq!(client.err(CREATE, &create("/f", b"", 0)), 0);
        assert_eq!(client.err(CREATE, &create("/old", b"", 0)), 0);
        assert_eq!(client.err(CREATE, &create("/older", b"", 0)), 0);
        let (mut closing, mut dying) = (Client::open(address, 60_000), Client::open(address, 400));
        assert_eq!(closing.err(CREATE, &create("/closing", b"", 1)), 0);
        assert_eq!(dying.err(CREATE, &create("/dying", b"", 1)), 0);

        let ballast = mount.ballast("ballast", 16 << 20);
        let count = fill(&mut client);
        assert!(
            mount.free() < 9 << 20 && count > 50,
            "{count} nodes, {} bytes free",
            mount.free()
        );
        refused_and_not_refused(&mut client, address);
        closing.close();
        let gone = |client: &mut Client, path: &str| client.err(EXISTS, &read(path)) == NO_NODE;
        assert!(gone(&mut client, "/closing"));
        assert!(
            wait_until(Duration::from_secs(10), || gone(&mut client, "/dying")),
            "sessions expire"
        );
        assert_eq!(
            lines_with(&server, "new writes are refused").len(),
            1,
            "{}",
            server.output()
        );

        // Others take the last byte; who was there still comes and goes, and a kill changes nothing.
        let brim = mount.ballast("brim", 0);
        (0..50).for_each(|_| Client::open(address, 60_000).close());
        server.kill9();
        server.start();
        let mut client = Client::open(address, 60_000);
        assert_all_there(&mut client, count);
        assert!(gone(&mut client, "/closing") && gone(&mut client, "/dying") && gone(&mut client, "/old"));
        assert_eq!(
            client.err(CREATE, &create("/f/new", b"", 0)),
            SYSTEM_ERROR,
            "from the first request on"
        );
        (0..50).for_each(|_| Client::open(address, 60_000).close());

        fs::remove_file(brim).expect("the last ballast");
        fs::remove_file(ballast).expect("the ballast");
        let began = Instant::now();
        let back = wait_until(Duration::from_secs(10), || {
            client.err(CREATE, &create("/f/new", b"", 0)) == 0
        });
        assert!(back, "writes come back by themselves:\n{}", server.output());
        println!(
            "{name}: {count} nodes taken, then refused; back {:.1} s after there was room",
            began.elapsed().as_secs_f64()
        );
        assert_eq!(number(address, "room_level"), 0);
        assert!(number(address, "writes_refused") > 0);
        assert_eq!(
            lines_with(&server, "there is room again").len(),
            1,
            "{}",
            server.output()
        );
        assert_eq!(server.terminate(), Some(0), "{}", server.output());
        server.start();
        let mut client = Client::open(address, 60_000);
        assert_all_there(&mut client, count);
        assert_eq!(client.err(EXISTS, &read("/f/new")), 0);
        assert_eq!(server.terminate(), Some(0));
    });
}

/// Each kind of request while there is no room for new writes.
fn refused_and_not_refused(client: &mut Client, address: SocketAddr) {
    let data = |path: &str| Out::new().string(path).buffer(b"x").int(-1).0;
    let acl = Out::new().string("/f").acls(&[OPEN]).int(-1).0;
    // A create and a delete in one.
    let header = |op: i32| Out::new().int(op).bool(false).int(-1).0;
    let multi = Out::new()
        .raw(&header(CREATE))
        .raw(&create("/in-multi", b"", 0))
        .raw(&header(DELETE))
        .raw(&delete("/older"))
        .raw(&Out::new().int(-1).bool(true).int(-1).0)
        .0;
    for (op, body) in [
        (CREATE, create("/new", b"", 0)),
        (CREATE, create("/new", b"", 1)),
        // It would fail anyway; what is refused is not looked at.
        (CREATE, create("/f", b"", 0)),
        (SET_DATA, data("/f")),
        (SET_ACL, acl),
        (MULTI, multi),
    ] {
        let reply = client.call(op, &body);
        assert_eq!((reply.err, reply.body.len()), (SYSTEM_ERROR, 0), "{op}: {reply:?}");
    }
    assert_eq!(client.err(EXISTS, &read("/older")), 0, "nothing of a multi was done");
    client.ping();
    assert_eq!(client.err(GET_DATA, &read("/f/n0")), 0);
    // Answers keep their order, whether a transaction carries them or not.
    let first = client.xid + 1;
    let requests = [
        (DELETE, delete("/old"), 0),
        (CREATE, create("/new", b"", 0), SYSTEM_ERROR),
        (EXISTS, read("/old"), NO_NODE),
        (SET_DATA, data("/f"), SYSTEM_ERROR),
        (GET_DATA, read("/f"), 0),
    ];
    for (xid, (op, body, _)) in (first..).zip(&requests) {
        client.raw.send(xid, *op, body);
    }
    for (xid, (op, _, err)) in (first..).zip(&requests) {
        let reply = client.raw.packet().expect("a reply");
        assert_eq!((reply.xid, reply.err), (xid, *err), "{op}");
    }
    client.xid = first + requests.len() as i32;
    let mut newcomer = Client::open(address, 60_000);
    assert_eq!(newcomer.err(EXISTS, &read("/f")), 0, "a new session may read");
    newcomer.close();
    assert_eq!(
        (word(address, "ruok"), word(address, "isro")),
        ("imok".into(), "rw".into())
    );
    assert_eq!(number(address, "room_level"), 1);
    assert!(number(address, "writes_refused") >= 8);
}

/// Data and log on file systems of their own, and only one of them full: it is as if both were, on either side, and a
/// kill on the way changes nothing.
#[test]
fn either_of_two_disks_may_be_the_full_one() {
    for (engine, log_is_full) in [(Engine::Uring, true), (Engine::Uring, false), (Engine::Epoll, true)] {
        let (data, log) = match (Mount::tmpfs(48), Mount::tmpfs(48)) {
            (Ok(data), Ok(log)) => (data, log),
            (Err(reason), _) | (_, Err(reason)) => return println!("nothing is shown here, because {reason}"),
        };
        let log_dir = format!("dataLogDir={}", log.path().join("log").display());
        let mut server = launch(&data, engine, &[&log_dir]);
        let address = server.address();
        let mut client = Client::open(address, 60_000);
        assert_eq!(client.err(CREATE, &create("/f", b"", 0)), 0);
        let (full, other) = if log_is_full { (&log, &data) } else { (&data, &log) };
        let brim = full.ballast("brim", 0);
        // Until the engine looks, writes go on.
        let mut count = 0;
        let refused = wait_until(Duration::from_secs(10), || {
            let err = client.err(CREATE, &create(&format!("/f/n{count}"), b"", 0));
            count += usize::from(err == 0);
            assert!(err == 0 || err == SYSTEM_ERROR, "{err}");
            err == SYSTEM_ERROR
        });
        assert!(refused, "{}", server.output());
        assert!(
            full.free() < 8 << 20 && other.free() > 16 << 20,
            "{} free",
            other.free()
        );
        let said = lines_with(&server, "new writes are refused");
        assert_eq!(said.len(), 1, "{}", server.output());
        println!("{}", said[0]);
        (0..20).for_each(|_| Client::open(address, 60_000).close());

        server.kill9();
        server.start();
        let mut client = Client::open(address, 60_000);
        let is_there = |client: &mut Client, index: usize| client.err(EXISTS, &read(&format!("/f/n{index}"))) == 0;
        assert!(
            (0..count).all(|index| is_there(&mut client, index)),
            "acknowledged is acknowledged"
        );
        assert_eq!(client.err(CREATE, &create("/f/new", b"", 0)), SYSTEM_ERROR);
        fs::remove_file(brim).expect("the ballast");
        let back = wait_until(Duration::from_secs(10), || {
            client.err(CREATE, &create("/f/new", b"", 0)) == 0
        });
        assert!(back, "writes come back by themselves:\n{}", server.output());
        assert_eq!(server.terminate(), Some(0), "{}", server.output());
        drop(server);
        data.unmount();
        log.unmount();
    }
}

/// What the reserve is for, to its end: closes go on, then the process ends and says that the disk is full.
#[test]
fn closes_use_up_the_reserve_and_then_the_server_ends() {
    const SESSIONS: usize = 400;
    for engine in [Engine::Uring, Engine::Epoll] {
        let mount = match Mount::tmpfs(48) {
            Ok(mount) => mount,
            Err(reason) => return println!("nothing is shown here, because {reason}"),
        };
        let server = launch(&mount, engine, &[]);
        let address = server.address();
        let mut client = Client::open(address, 60_000);
        let nodes: Vec<String> = (0..1000).map(|index| format!("/n{index}")).collect();
        for path in &nodes {
            assert_eq!(client.err(CREATE, &create(path, b"", 0)), 0);
        }
        let mut sessions: Vec<Client> = (0..SESSIONS).map(|_| Client::open(address, 60_000)).collect();
        for (index, session) in sessions.iter_mut().enumerate() {
            assert_eq!(session.err(CREATE, &create(&format!("/e{index}"), b"", 1)), 0);
        }
        mount.ballast("brim", 0);
        // Deletes go on until the last segment is in use.
        let mut deleted = 0;
        let refused = nodes.iter().any(|path| {
            let err = client.err(DELETE, &delete(path));
            assert!(err == 0 || err == SYSTEM_ERROR, "{err}");
            deleted += usize::from(err == 0);
            err == SYSTEM_ERROR
        });
        assert!(refused, "{deleted} deletes, and no end:\n{}", server.output());
        assert_eq!(number(address, "room_level"), 2);
        assert_eq!(lines_with(&server, "the last log segment in reserve").len(), 1);
        let mut newcomer = RawClient::dial(address).expect("a connection");
        assert_eq!(
            newcomer.handshake(&Attach::default()),
            Received::Closed,
            "no new session"
        );
        assert_eq!(client.err(EXISTS, &read("/e0")), 0, "reads go on");
        let mut closed = 0;
        let ended = sessions.iter_mut().any(|session| {
            session.xid += 1;
            session.raw.send(session.xid, CLOSE, &[]);
            let answered = matches!(session.raw.packet(), Received::Got(reply) if reply.err == 0);
            closed += usize::from(answered);
            !answered
        });
        let began = Instant::now();
        assert!(ended, "{closed} closes, and no end");
        ends_with(&server, &[(LOG_FULL, "No space left on device")], began);
        println!(
            "{}: {deleted} deletes, then {closed} closes through the reserve",
            engine.key()
        );
        assert!(closed > 100, "{closed}");
        fs::remove_file(mount.path().join("brim")).expect("the ballast");
        let again = restarted(&mount, engine);
        let mut client = Client::open(again.address(), 60_000);
        for index in 0..SESSIONS {
            let is_there = client.err(EXISTS, &read(&format!("/e{index}"))) == 0;
            assert!(!is_there || index >= closed, "/e{index}: its close was acknowledged");
        }
        for path in nodes.iter().take(deleted) {
            assert_eq!(
                client.err(EXISTS, &read(path)),
                NO_NODE,
                "{path}: its delete was acknowledged"
            );
        }
        assert_eq!(
            client.err(EXISTS, &read(&nodes[deleted])),
            0,
            "{}: its delete was refused",
            nodes[deleted]
        );
        drop((server, again));
        mount.unmount();
    }
}

/// Another server on the data of one that ended by itself.
fn restarted(mount: &Mount, engine: Engine) -> RingServer {
    launch(mount, engine, &[])
}

/// Waits for the end of a server by itself: its status, one line about it, and soon.
fn ends_with(server: &RingServer, allowed: &[(i32, &str)], began: Instant) {
    let pid = server.pid();
    let status = format!("/proc/{pid}/stat");
    // A zombie until its guard waits for it.
    let is_over = || fs::read_to_string(&status).map_or(true, |text| text.contains(") Z "));
    assert!(wait_until(Duration::from_secs(10), is_over), "{}", server.output());
    let took = began.elapsed();
    let exit = fs::read_to_string(&status).expect("a zombie's numbers");
    let code = exit
        .trim()
        .rsplit(' ')
        .next()
        .and_then(|text| text.parse::<i32>().ok())
        .expect("its exit code")
        >> 8;
    let lines = lines_with(server, "the log cannot be written");
    assert_eq!(lines.len(), 1, "one line: {lines:?}\n{}", server.output());
    let fits = allowed
        .iter()
        .any(|(status, words)| *status == code && lines[0].contains(words));
    assert!(fits, "status {code}, of {allowed:?}: {}", lines[0]);
    for part in ["ringkeeper-1/", "offset ", "zxid ", "(os error "] {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
    assert!(took < Duration::from_secs(1), "it took {took:?} to end");
    println!("status {code} after {:.3} s: {}", took.as_secs_f64(), lines[0]);
}

/// A device that promised more than it has: blocks of zeros are given back, and the next write to them finds none. So
/// do thin volumes. The error is the kernel's own.
#[test]
fn a_write_that_the_device_refuses_ends_the_server_at_once() {
    for engine in [Engine::Uring, Engine::Epoll] {
        let below = match Mount::tmpfs(40) {
            Ok(mount) => mount,
            Err(reason) => return println!("nothing is shown here, because {reason}"),
        };
        let image = below.path().join("disk");
        let mount = match Mount::ext4(&image, 64) {
            Ok(mount) => mount,
            Err(reason) => return println!("nothing is shown here, because {reason}"),
        };
        let server = launch(&mount, engine, &["ringkeeper.lowWaterMegabytes=0"]);
        let mut client = Client::open(server.address(), 60_000);
        let mut acknowledged = 0;
        let next = |client: &mut Client, acknowledged: &mut i32| {
            client.xid += 1;
            client.raw.send(
                client.xid,
                CREATE,
                &create(&format!("/n{acknowledged}"), &[b'd'; 900], 0),
            );
            let answered = matches!(client.raw.packet(), Received::Got(reply) if reply.err == 0);
            *acknowledged += i32::from(answered);
            answered
        };
        while acknowledged < 20 {
            assert!(next(&mut client, &mut acknowledged));
        }
        mount::run("sync", &[]).expect("sync");
        mount::run("fallocate", &["--dig-holes", text(&image)]).expect("holes");
        below.ballast("brim", 0);
        let mut began = Instant::now();
        while next(&mut client, &mut acknowledged) {
            assert!(acknowledged < 5000, "the device took everything");
            began = Instant::now();
        }
        let allowed = [
            (LOG_FAILED, "Input/output error"),
            (LOG_FULL, "No space left on device"),
        ];
        ends_with(&server, &allowed, began);
        drop(server);
        mount.unmount();
        fs::remove_file(below.path().join("brim")).expect("the ballast");
        let mount = Mount::image(&image).unwrap_or_else(|error| panic!("the disk again: {error}"));
        let again = restarted(&mount, engine);
        let mut client = Client::open(again.address(), 60_000);
        for index in 0..acknowledged {
            assert_eq!(
                client.err(EXISTS, &read(&format!("/n{index}"))),
                0,
                "/n{index} was acknowledged"
            );
        }
        println!("{}: {acknowledged} acknowledged are all there", engine.key());
        drop(again);
        mount.unmount();
        below.unmount();
    }
}

/// `EXT4_IOC_SHUTDOWN` without a flush: from then on the file system answers with EIO, and what it had not made durable
/// is lost, as by a power cut.
const SHUTDOWN: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

#[test]
fn a_file_system_that_gives_up_ends_the_server_with_a_status_of_its_own() {
    for engine in [Engine::Uring, Engine::Epoll] {
        let directory = tempfile::tempdir().expect("a directory");
        let image = directory.path().join("disk");
        let mount = match Mount::ext4(&image, 64) {
            Ok(mount) => mount,
            Err(reason) => return println!("nothing is shown here, because {reason}"),
        };
        let server = launch(&mount, engine, &[]);
        let mut client = Client::open(server.address(), 60_000);
        for index in 0..50 {
            assert_eq!(client.err(CREATE, &create(&format!("/n{index}"), b"", 0)), 0);
        }
        mount::run("python3", &["-c", SHUTDOWN, text(mount.path())]).expect("the shutdown");
        let began = Instant::now();
        client.xid += 1;
        client.raw.send(client.xid, CREATE, &create("/lost", b"", 0));
        assert_eq!(
            client.raw.packet(),
            Received::Closed,
            "nothing of the batch is acknowledged"
        );
        ends_with(&server, &[(LOG_FAILED, "Input/output error")], began);
        drop(server);
        mount.unmount();
        let mount = Mount::image(&image).unwrap_or_else(|error| panic!("the disk again: {error}"));
        let again = restarted(&mount, engine);
        let mut client = Client::open(again.address(), 60_000);
        for index in 0..50 {
            assert_eq!(
                client.err(EXISTS, &read(&format!("/n{index}"))),
                0,
                "/n{index} was acknowledged"
            );
        }
        drop(again);
        mount.unmount();
    }
}

/// Creates small nodes until the output has the words so often.
fn create_until(server: &RingServer, client: &mut Client, prefix: &str, words: &str, times: usize) {
    let mut index = 0;
    while lines_with(server, words).len() < times {
        assert_eq!(
            client.err(CREATE, &create(&format!("{prefix}{index}"), b"", 0)),
            0,
            "{}",
            server.output()
        );
        index += 1;
        // A snapshot takes its time, and its thread stands back.
        std::thread::sleep(Duration::from_millis(5));
        assert!(index < 2000, "{words:?} was never said:\n{}", server.output());
    }
}

#[test]
fn a_snapshot_that_fills_the_disk_leaves_nothing_behind_and_another_is_taken() {
    let mount = match Mount::tmpfs(48) {
        Ok(mount) => mount,
        Err(reason) => return println!("nothing is shown here, because {reason}"),
    };
    let mut server = launch(
        &mount,
        Engine::Epoll,
        &["snapCount=200", "ringkeeper.lowWaterMegabytes=0"],
    );
    let mut client = Client::open(server.address(), 60_000);
    create_until(&server, &mut client, "/a", "snapshot taken", 1);
    // 60 transactions are too few for the next one. They do not compress, so the guess from the last is far too small.
    let mut random = 42u64;
    for index in 0..60 {
        let data: Vec<u8> = (0..64 << 10)
            .map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random as u8
            })
            .collect();
        assert_eq!(client.err(CREATE, &create(&format!("/big{index}"), &data, 0)), 0);
    }
    let ballast = mount.ballast("ballast", 3 << 20);
    create_until(&server, &mut client, "/b", "taking a snapshot failed", 1);
    let failed = lines_with(&server, "taking a snapshot failed");
    assert!(failed[0].contains("No space left on device"), "{failed:?}");
    let temporary = || {
        let names = fs::read_dir(mount.path().join("data/ringkeeper-1")).expect("the data directory");
        let names = names.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
        names
            .filter(|name| name.starts_with("snapshot.") && name.ends_with(".tmp"))
            .count()
    };
    assert_eq!(temporary(), 0, "what was written of it is gone");
    client.ping();
    fs::remove_file(ballast).expect("the ballast");
    create_until(&server, &mut client, "/c", "snapshot taken", 2);
    // Now the guess is right: the next one is not even begun.
    let ballast = mount.ballast("ballast", 9 << 19);
    create_until(
        &server,
        &mut client,
        "/d",
        "no snapshot is taken until there is room",
        1,
    );
    for index in 0..250 {
        assert_eq!(client.err(CREATE, &create(&format!("/e{index}"), b"", 0)), 0);
    }
    assert_eq!(
        lines_with(&server, "no snapshot is taken until there is room").len(),
        1,
        "it is said once"
    );
    fs::remove_file(ballast).expect("the ballast");
    create_until(&server, &mut client, "/g", "snapshot taken", 3);
    assert_eq!(server.terminate(), Some(0));
    server.start();
    let mut client = Client::open(server.address(), 60_000);
    for path in ["/a0", "/big59", "/b0", "/c0", "/d0", "/e249"] {
        assert_eq!(client.err(EXISTS, &read(path)), 0, "{path}");
    }
    drop(server);
    mount.unmount();
}

/// Starts a server that must not start. Gives its status and what it said.
fn refused(command: &mut Command, directory: &Path, data: &Path) -> (Option<i32>, String) {
    let config = directory.join("zoo.cfg");
    let text = format!(
        "clientPort={}\nclientPortAddress=127.0.0.1\ndataDir={}\n",
        free_port(),
        data.display()
    );
    fs::write(&config, text).expect("zoo.cfg");
    command.arg("start-foreground").arg(&config);
    let mut process = Process::spawn(command, &directory.join("output.log"));
    let mut status = None;
    wait_until(Duration::from_secs(20), || {
        status = process.ended();
        status.is_some()
    });
    let output = process.output();
    (status.unwrap_or_else(|| panic!("it serves:\n{output}")), output)
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_at_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let mount = match Mount::tmpfs(48) {
        Ok(mount) => mount,
        Err(reason) => return println!("nothing is shown here, because {reason}"),
    };
    let mut server = launch(&mount, Engine::Epoll, &[]);
    assert_eq!(server.terminate(), Some(0));
    let data = mount.path().join("data");
    let store = data.join("ringkeeper-1");

    // Somebody else's directory. The program is copied to where everybody can run it.
    let nobody = tempfile::tempdir().expect("a directory");
    let program = nobody.path().join("zk-server");
    fs::copy(env!("CARGO_BIN_EXE_zk-server"), &program).expect("the program");
    mount::run("chmod", &["755", text(nobody.path())]).expect("chmod");
    mount::run("chmod", &["-R", "a+rwX", text(&store)]).expect("chmod");
    mount::run("chmod", &["755", text(&store), text(&data)]).expect("chmod");
    let outside = mount.path().parent().expect("the mount's directory").to_owned();
    mount::run("chmod", &["755", text(&outside)]).expect("chmod");
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program);
    refused_because(&mut command, nobody.path(), &data, "Permission denied");

    mount.remount_read_only().unwrap_or_else(|error| panic!("{error}"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_zk-server"));
    refused_because(&mut command, directory.path(), &data, "Read-only file system");
    mount.unmount();
}

/// It names the directory and what the operating system said of it.
fn refused_because(command: &mut Command, directory: &Path, data: &Path, why: &str) {
    let (status, output) = refused(command, directory, data);
    let line = output.lines().find(|line| line.contains(why)).expect(&output);
    assert_eq!(status, Some(3), "{output}");
    let store = data.join("ringkeeper-1");
    let what = format!("cannot create, write, sync and remove a file in {}", store.display());
    assert!(line.contains(&what), "{line}");
    println!("{line}");
}

/// Standard error is often a file on the disk that is full.
#[test]
fn a_server_whose_output_cannot_be_written_serves() {
    let directory = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let config = directory.path().join("zoo.cfg");
    let text = format!(
        "clientPort={port}\nclientPortAddress=127.0.0.1\ndataDir={}\n",
        directory.path().join("data").display()
    );
    fs::write(&config, text).expect("zoo.cfg");
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec \"$0\" start-foreground \"$1\" >/dev/full 2>/dev/full"])
        .arg(env!("CARGO_BIN_EXE_zk-server"))
        .arg(&config);
    let mut process = Process::spawn(&mut command, &directory.path().join("output.log"));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    process.wait_ready(Duration::from_secs(20), || RawClient::dial(address).is_ok());
    let mut client = Client::open(address, 60_000);
    assert_eq!(client.err(CREATE, &create("/silent", b"", 0)), 0);
    assert_eq!(process.terminate(), Some(0));
}
