//! The server from outside, once on io_uring and once on epoll: what only time, load and limits bring out.
//!
//! Replies field by field are the differential test's subject; here are sessions that expire and move, nodes that
//! are reaped, frames at the limit, pipelines deeper than the server wants, and a restart under all of it.

mod peers;

use std::time::{Duration, Instant};

use peers::jute::{In, Out};
use peers::{Attach, Engine, Packet, Peer, RawClient, Received, RingServer, wait_until};

const OPEN: (i32, &str, &str) = (31, "world", "anyone");

fn create(path: &str, data: &[u8], flags: i32) -> Vec<u8> {
    Out::new().string(path).buffer(data).acls(&[OPEN]).int(flags).0
}

fn path_and_watch(path: &str, watch: bool) -> Vec<u8> {
    Out::new().string(path).bool(watch).0
}

fn set(path: &str, data: &[u8]) -> Vec<u8> {
    Out::new().string(path).buffer(data).int(-1).0
}

/// A client that counts its requests and keeps its events.
struct Client {
    raw: RawClient,
    xid: i32,
    events: Vec<Packet>,
    session: i64,
    password: Vec<u8>,
    timeout_ms: i32,
}

impl Client {
    fn open(server: &RingServer, timeout_ms: i32) -> Client {
        Client::attach(
            server,
            &Attach {
                timeout_ms,
                ..Attach::default()
            },
        )
    }

    fn attach(server: &RingServer, attach: &Attach) -> Client {
        let (raw, opened) = RawClient::open(server.address(), attach);
        Client {
            raw,
            xid: 0,
            events: Vec::new(),
            session: opened.session,
            password: opened.password,
            timeout_ms: opened.timeout_ms,
        }
    }

    fn call(&mut self, op: i32, body: &[u8]) -> Packet {
        self.xid += 1;
        self.raw.call(self.xid, op, body, &mut self.events)
    }

    #[track_caller]
    fn ok(&mut self, op: i32, body: &[u8]) -> Vec<u8> {
        let reply = self.call(op, body);
        assert_eq!(reply.err, 0, "{reply:?}");
        reply.body
    }

    fn exists(&mut self, path: &str) -> bool {
        match self.call(3, &path_and_watch(path, false)).err {
            0 => true,
            -101 => false,
            other => panic!("exists {path}: {other}"),
        }
    }

    fn data(&mut self, path: &str) -> Vec<u8> {
        let body = self.ok(4, &path_and_watch(path, false));
        In::new(&body).buffer().flatten().expect("data").to_vec()
    }
}

/// A line that begins with `-D` is a system property.
fn on_both(lines: &[&str], scenario: impl Fn(&mut RingServer)) {
    for engine in [Engine::Uring, Engine::Epoll] {
        let (properties, lines): (Vec<&str>, Vec<&str>) = lines.iter().partition(|line| line.starts_with("-D"));
        let properties: Vec<&str> = properties.iter().map(|property| &property[2..]).collect();
        let mut server = RingServer::launch_with(engine, &lines, &properties);
        let named = wait_until(Duration::from_secs(10), || server.output().contains(engine.key()));
        assert!(
            named,
            "the server names its engine:
{}",
            server.output()
        );
        scenario(&mut server);
        assert_eq!(server.terminate(), Some(0), "an orderly end:\n{}", server.output());
    }
}

#[test]
fn a_session_expires_by_tick_and_takes_its_ephemerals_along() {
    on_both(&["tickTime=200"], |server| {
        let mut watcher = Client::open(server, 20_000);
        let mut dying = Client::open(server, 1);
        assert_eq!(
            (dying.timeout_ms, watcher.timeout_ms),
            (400, 4000),
            "between two and twenty ticks"
        );
        dying.ok(1, &create("/dying", b"", 1));
        assert!(watcher.call(3, &path_and_watch("/dying", true)).err == 0);
        let started = Instant::now();
        // Deleted by the server, told by the watch; the connection of the expired session is closed.
        let event = watcher.raw.packet().expect("the event of the deletion");
        assert_eq!((event.xid, In::new(&event.body).int()), (-1, Some(2)), "NodeDeleted");
        let waited = started.elapsed();
        assert!(
            waited > Duration::from_millis(200) && waited < Duration::from_secs(3),
            "{waited:?}"
        );
        assert_eq!(dying.raw.packet(), Received::Closed);
        assert!(!watcher.exists("/dying"));
        let again = Attach {
            session: dying.session,
            password: Some(dying.password.clone()),
            ..Attach::default()
        };
        let (_, refused) = RawClient::open(server.address(), &again);
        assert_eq!(
            (refused.timeout_ms, refused.session),
            (0, 0),
            "an expired session is not given back"
        );
    });
}

#[test]
fn a_session_moves_with_its_password_and_survives_a_restart() {
    on_both(&[], |server| {
        let mut first = Client::open(server, 30_000);
        first.ok(1, &create("/moving", b"x", 1));
        let attach = Attach {
            session: first.session,
            password: Some(first.password.clone()),
            ..Attach::default()
        };
        let mut second = Client::attach(server, &attach);
        assert_eq!((second.session, second.timeout_ms), (first.session, 30_000));
        assert_eq!(first.raw.packet(), Received::Closed, "the session is elsewhere now");
        assert!(second.exists("/moving"));
        let wrong = Attach {
            password: Some(vec![7; 16]),
            ..attach.clone()
        };
        let (_, refused) = RawClient::open(server.address(), &wrong);
        assert_eq!((refused.timeout_ms, refused.session), (0, 0));
        server.kill9();
        server.start();
        let mut third = Client::attach(server, &attach);
        assert_eq!(third.session, first.session, "sessions are durable");
        let body = third.ok(103, &Out::new().null().0);
        assert_eq!(In::new(&body).strings(), Some(vec!["/moving".to_owned()]));
        third.ok(-11, &[]);
        assert_eq!(third.raw.packet(), Received::Closed);
        assert!(!Client::open(server, 30_000).exists("/moving"));
    });
}

#[test]
fn containers_and_ttl_nodes_are_reaped() {
    let lines = ["extendedTypesEnabled=true", "-Dznode.container.checkIntervalMs=100"];
    on_both(&lines, |server| {
        let mut client = Client::open(server, 30_000);
        client.ok(19, &create("/container", b"", 4));
        client.ok(1, &create("/container/child", b"", 0));
        client.ok(21, &Out::new().raw(&create("/ttl", b"", 5)).long(300).0);
        assert!(client.exists("/ttl") && client.exists("/container"));
        client.ok(2, &Out::new().string("/container/child").int(-1).0);
        assert!(
            wait_until(Duration::from_secs(10), || !client.exists("/container")),
            "an emptied container goes"
        );
        assert!(
            wait_until(Duration::from_secs(10), || !client.exists("/ttl")),
            "a TTL node goes"
        );
        client.ok(19, &create("/never-used", b"", 4));
        std::thread::sleep(Duration::from_millis(400));
        assert!(client.exists("/never-used"), "a container that never had a child stays");
    });
}

#[test]
fn frames_up_to_the_limit_pass_and_larger_ones_end_the_connection() {
    on_both(&["-Djute.maxbuffer=200000"], |server| {
        let mut client = Client::open(server, 30_000);
        let overhead = create("/big", b"", 0).len() + 8;
        let data = vec![b'z'; 200_000 - overhead];
        client.ok(1, &create("/big", &data, 0));
        assert_eq!(client.data("/big"), data);
        client.xid += 1;
        client.raw.send(client.xid, 5, &set("/big", &vec![b'y'; 200_001]));
        assert_eq!(client.raw.packet(), Received::Closed);
        let attach = Attach {
            session: client.session,
            password: Some(client.password.clone()),
            ..Attach::default()
        };
        let mut again = Client::attach(server, &attach);
        assert_eq!(again.data("/big"), data, "nothing was changed");
        again.raw.send_bytes(&(-5i32).to_be_bytes());
        assert_eq!(again.raw.packet(), Received::Closed);
    });
}

/// Back-pressure: far more requests than the server keeps in process are all answered, in order, and none is dropped.
#[test]
fn a_pipeline_deeper_than_the_limit_is_answered_in_order() {
    const REQUESTS: i32 = 20_000;
    on_both(&["globalOutstandingLimit=50"], |server| {
        let (mut client, _) = RawClient::open(server.address(), &Attach::default());
        assert_eq!(client.call(1, 1, &create("/counter", b"-1", 0), &mut Vec::new()).err, 0);
        let mut writer = client.duplicate();
        let sender = std::thread::spawn(move || {
            for xid in 0..REQUESTS {
                match xid % 4 {
                    3 => writer.send(xid, 4, &path_and_watch("/counter", false)),
                    _ => writer.send(xid, 5, &set("/counter", xid.to_string().as_bytes())),
                }
            }
        });
        let mut last_zxid = 0;
        for xid in 0..REQUESTS {
            let reply = client.packet().expect("a reply");
            assert_eq!((reply.xid, reply.err), (xid, 0), "in order");
            assert!(reply.zxid >= last_zxid, "a session never goes back in time");
            last_zxid = reply.zxid;
            if xid % 4 == 3 {
                let found = In::new(&reply.body).buffer().flatten().expect("data").to_vec();
                assert_eq!(
                    found,
                    (xid - 1).to_string().into_bytes(),
                    "a read sees the write before it"
                );
            }
        }
        sender.join().expect("the sender");
    });
}

/// W1: who hears of a change hears of it before it can see the data that came with it; on any core.
#[test]
fn an_event_comes_before_what_it_is_about() {
    on_both(&[], |server| {
        let mut writer = Client::open(server, 30_000);
        writer.ok(1, &create("/w", b"0", 0));
        let mut watchers: Vec<Client> = (0..6).map(|_| Client::open(server, 30_000)).collect();
        for round in 1..=200 {
            for watcher in &mut watchers {
                watcher.ok(4, &path_and_watch("/w", true));
            }
            writer.ok(5, &set("/w", round.to_string().as_bytes()));
            for watcher in &mut watchers {
                // Asked after the write was acknowledged: the newest data, and the event in front of it.
                watcher.events.clear();
                let found = watcher.data("/w");
                assert_eq!(
                    found,
                    round.to_string().into_bytes(),
                    "an acknowledged write is seen on every core"
                );
                assert_eq!(watcher.events.len(), 1, "one event, before the reply");
            }
        }
    });
}

#[test]
fn pings_keep_a_session_alive_and_are_answered_at_once() {
    on_both(&["tickTime=100"], |server| {
        let mut client = Client::open(server, 200);
        client.ok(1, &create("/alive", b"", 1));
        for _ in 0..15 {
            std::thread::sleep(Duration::from_millis(80));
            client.raw.send(-2, 11, &[]);
            let pong = client.raw.packet().expect("the pong");
            assert_eq!((pong.xid, pong.err), (-2, 0));
        }
        assert!(client.exists("/alive"));
    });
}

#[test]
fn many_connections_come_and_go() {
    on_both(&[], |server| {
        for _ in 0..5 {
            let mut clients: Vec<Client> = (0..100).map(|_| Client::open(server, 30_000)).collect();
            let mut sessions: Vec<i64> = clients.iter().map(|client| client.session).collect();
            sessions.sort_unstable();
            sessions.dedup();
            assert_eq!(sessions.len(), 100, "every session has an id of its own");
            clients.iter_mut().for_each(|client| assert!(client.exists("/")));
        }
        // Some that say nothing, and some that go in the middle of a frame.
        let silent: Vec<RawClient> = (0..20)
            .map(|_| RawClient::dial(server.address()).expect("a connection"))
            .collect();
        for mut client in silent {
            client.send_bytes(&[0, 0, 0]);
            client.hang_up();
        }
        assert!(Client::open(server, 30_000).exists("/"));
    });
}

/// The processors that each thread of a process may use, by the thread's name.
fn processors_by_thread(pid: u32) -> Vec<(String, String)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the server runs");
    let of = |task: std::fs::DirEntry| {
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        };
        Some((field("Name:")?, field("Cpus_allowed_list:")?))
    };
    tasks.flatten().filter_map(of).collect()
}

/// Where there is but one processor, all of this is true and says little; the test says so.
#[test]
fn pinned_cores_have_a_processor_each_and_helpers_have_all() {
    on_both(&["ringkeeper.cores=2", "ringkeeper.pinCores=true"], |server| {
        let mut clients: Vec<Client> = (0..2).map(|_| Client::open(server, 30_000)).collect();
        clients.iter_mut().for_each(|client| assert!(client.exists("/")));
        let threads = processors_by_thread(server.pid());
        let of = |name: &str| {
            threads
                .iter()
                .find(|(thread, _)| thread == name)
                .map(|(_, list)| &**list)
        };
        let (first, second) = (of("zk-server"), of("core-1"));
        let (first, second) = (first.expect("the first core"), second.expect("the second core"));
        let is_one = |list: &str| list.parse::<usize>().is_ok();
        assert!(is_one(first) && is_one(second), "{threads:?}");
        match std::thread::available_parallelism().map_or(1, usize::from) {
            1 => println!("there is only one processor here"),
            _ => {
                assert_ne!(first, second, "{threads:?}");
                assert_ne!(of("log-ahead"), Some(first), "a helper may run anywhere: {threads:?}");
            }
        }
    });
}
