//! The admin HTTP server, black box: ours on both engines, and Apache ZooKeeper 3.9.5 beside it with the same state
//! built in both. An answer is compared key by key in its order, and its values wherever both must have the same.

mod peers;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use peers::jute::Out;
use peers::{Attach, Engine, JavaServer, Peer, RawClient, RingServer, free_port, wait_until};

const CREATE: i32 = 1;
const EXISTS: i32 = 3;
const SET_DATA: i32 = 5;

/// More than there are transactions between two entries of the digest log.
const WRITES: i32 = 140;

/// What came back: status, head and body.
struct Page {
    status: u16,
    head: String,
    body: String,
    bytes: Vec<u8>,
}

impl Page {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn ask(admin: SocketAddr, method: &str, path: &str, headers: &str) -> Page {
    let mut stream = TcpStream::connect(admin).expect("connect to the admin server");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    let request = format!("{method} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("send");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer");
    let end = answer.windows(4).position(|end| end == b"\r\n\r\n").expect("a head");
    let bytes = answer.split_off(end + 4);
    let head = String::from_utf8(answer).expect("a head of text");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Page {
        status: status.expect("a status"),
        head: head.to_ascii_lowercase(),
        body: String::from_utf8_lossy(&bytes).into(),
        bytes,
    }
}

fn get(admin: SocketAddr, command: &str) -> String {
    let page = ask(admin, "GET", &format!("/commands/{command}"), "");
    assert_eq!(page.status, 200, "{command}: {}", page.body);
    assert!(page.head.contains("content-type: application/json"), "{}", page.head);
    page.body
}

fn lines(port: u16) -> Vec<String> {
    vec![
        "admin.enableServer=true".into(),
        "admin.serverAddress=127.0.0.1".into(),
        format!("admin.serverPort={port}"),
    ]
}

fn ring(engine: Engine, more: &[&str]) -> (RingServer, SocketAddr) {
    let port = free_port();
    let own = lines(port);
    let all: Vec<&str> = own.iter().map(String::as_str).chain(more.iter().copied()).collect();
    (RingServer::launch(engine, &all), (Ipv4Addr::LOCALHOST, port).into())
}

fn java() -> (JavaServer, SocketAddr) {
    let port = free_port();
    let own = lines(port);
    let all: Vec<&str> = own.iter().map(String::as_str).collect();
    (JavaServer::launch(&all, &[]), (Ipv4Addr::LOCALHOST, port).into())
}

/// One client with an ephemeral node, two data watches, and enough writes for a digest.
fn build_state(server: &dyn Peer) -> RawClient {
    let (mut client, _) = RawClient::open(server.address(), &Attach::default());
    let create = Out::default().string("/held").buffer(b"x").int(1).int(31);
    let create = create.string("world").string("anyone").int(1).0;
    assert_eq!(client.call(1, CREATE, &create, &mut Vec::new()).err, 0);
    let body = Out::default().string("/held").buffer(b"y").int(-1).0;
    for xid in 4..4 + WRITES {
        assert_eq!(client.call(xid, SET_DATA, &body, &mut Vec::new()).err, 0);
    }
    for (xid, path, err) in [(2, "/held", 0), (3, "/absent", -101)] {
        let body = Out::default().string(path).bool(true).0;
        assert_eq!(client.call(xid, EXISTS, &body, &mut Vec::new()).err, err);
    }
    client
}

/// Every number, session id, path of the machine and version taken out: what stays must be the same, byte by byte.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for line in text.lines() {
        let is_place = [
            "data_dir",
            "data_log_dir",
            "version",
            "initial_configuration",
            "java.io.tmpdir",
        ];
        match line.split_once(" : ") {
            Some((key, value)) if is_place.contains(&key.trim().trim_matches('"')) => {
                shape.push_str(&format!("{key} : _{}", if value.ends_with(',') { "," } else { "" }));
            }
            _ => shape.push_str(line),
        }
        shape.push('\n');
    }
    let mut out = String::new();
    for letter in shape.chars() {
        match letter {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            letter => out.push(letter),
        }
    }
    out.replace("-#", "#").replace("#.#", "#").replace("\"ffff#\"", "\"#\"")
}

fn sorted(shape: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = shape.lines().map(|line| line.trim_end_matches(',')).collect();
    lines.sort_unstable();
    lines
}

/// Answers whose shape depends on nothing but what [`build_state`] built.
const SAME: [&str; 22] = [
    "configuration",
    "connection_stat_reset",
    "conf",
    "connections",
    "dirs",
    "dump",
    "get_trace_mask",
    "hash",
    "is_read_only",
    "leader",
    "observer_connection_stat_reset",
    "observers",
    "ruok",
    "server_stats",
    "set_trace_mask",
    "set_trace_mask?traceMask=x",
    "set_trace_mask?other=1&traceMask=258",
    "stats",
    "voting_view",
    "watch_summary",
    "zabstate",
    "nosuch",
];

#[test]
fn same_answers_as_apache() {
    let (apache, theirs) = java();
    let _held = build_state(&apache);
    for engine in [Engine::Uring, Engine::Epoll] {
        let (server, ours) = ring(engine, &[]);
        let _client = build_state(&server);
        // The other engine's turn has reset Apache's connection; and one closed then may still be listed.
        [ours, theirs].iter().for_each(|admin| drop(get(*admin, "crst")));
        let alone = || get(theirs, "cons").matches("remote_socket_address").count() == 1;
        assert!(wait_until(Duration::from_secs(10), alone), "{}", get(theirs, "cons"));
        assert_eq!(shape(&get(ours, "cons")), shape(&get(theirs, "cons")));
        // Connections that have not said anything yet are listed too.
        let _silent = [&server as &dyn Peer, &apache].map(|peer| TcpStream::connect(peer.address()).expect("connect"));
        for (admin, count) in [(ours, 2), (theirs, 2)] {
            let told = || get(admin, "cons").matches("remote_socket_address").count() == count;
            assert!(wait_until(Duration::from_secs(10), told), "{}", get(admin, "cons"));
        }
        for command in SAME {
            let (mine, apaches) = (shape(&get(ours, command)), shape(&get(theirs, command)));
            match command {
                // In these Java's order differs from run to run: connections are a hash set, and the fields of
                // `server_stats` come as the JVM's reflection finds them.
                "connections" | "server_stats" | "stats" => assert_eq!(sorted(&mine), sorted(&apaches), "{command}"),
                // A bucket of Java's that a session has left stays until its time comes (`ExpiryQueue#poll`).
                "dump" => {
                    let used = |text: &str| text.replace("    \"#\" : [ ],\n", "");
                    assert_eq!(used(&mine), used(&apaches), "{command}");
                }
                _ => assert_eq!(mine, apaches, "{command}"),
            }
        }
        for exact in [
            "ruok",
            "zabstate",
            "voting_view",
            "leader",
            "watch_summary",
            "get_trace_mask",
        ] {
            assert_eq!(get(ours, exact), get(theirs, exact));
        }
        for listed in ["watches", "watches_by_path"] {
            let mut shapes = [ours, theirs].map(|admin| {
                let mut letters: Vec<char> = shape(&get(admin, listed)).chars().collect();
                letters.sort_unstable();
                letters
            });
            let [mine, apaches] = &mut shapes;
            assert_eq!(mine, apaches, "{listed}");
        }
        let keys = |text: String| -> Vec<String> {
            let parsed = text.lines().filter_map(|line| line.split_once(" : "));
            parsed.map(|(key, _)| key.trim().to_owned()).collect()
        };
        assert_eq!(keys(get(ours, "environment")), keys(get(theirs, "environment")));
        assert_eq!(keys(get(ours, "last_snapshot")), keys(get(theirs, "last_snapshot")));
        let (mine, apaches) = (keys(get(ours, "monitor")), keys(get(theirs, "monitor")));
        let is_own = |key: &&String| key.contains("ringkeeper_");
        let unknown: Vec<&String> = mine
            .iter()
            .filter(|key| !apaches.contains(key) && !is_own(key))
            .collect();
        assert_eq!(mine.iter().filter(is_own).count(), 6);
        assert!(
            unknown.is_empty() && mine.len() > 150,
            "{} keys, {unknown:?}",
            mine.len()
        );
        assert_eq!(mine[..2], apaches[..2]);
        for (method, path, headers) in [
            ("GET", "/commands", ""),
            ("GET", "/commands/", ""),
            ("POST", "/commands", ""),
            ("GET", "/commands/snapshot", ""),
            ("GET", "/commands/snap", ""),
            ("GET", "/commands/snapshot", "Authorization: nosuch\r\n"),
            ("GET", "/commands/snapshot", "Authorization: world anyone\r\n"),
            ("GET", "/commands/snap", "Authorization: digest\r\n"),
            ("GET", "/commands/snapshot", "Authorization: digest a b\r\n"),
            ("POST", "/commands/restore", "Content-Length: 0\r\n"),
            (
                "POST",
                "/commands/restore",
                "Authorization: nosuch\r\nContent-Length: 0\r\n",
            ),
        ] {
            let (mine, apaches) = (ask(ours, method, path, headers), ask(theirs, method, path, headers));
            assert_eq!(
                (mine.status, mine.body),
                (apaches.status, apaches.body),
                "{method} {path}"
            );
        }
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/commandsx"),
            ("POST", "/commands/ruok"),
            ("PUT", "/commands/ruok"),
            ("DELETE", "/commands/ruok"),
            ("TRACE", "/commands/ruok"),
            ("HEAD", "/commands/ruok"),
            ("GET", "/commands/restore"),
        ] {
            let (mine, apaches) = (ask(ours, method, path, ""), ask(theirs, method, path, ""));
            assert_eq!(mine.status, apaches.status, "{method} {path}");
        }
    }
}

#[test]
fn every_answer_is_json_and_tells_the_truth() {
    for engine in [Engine::Uring, Engine::Epoll] {
        let (server, admin) = ring(engine, &["ringkeeper.cores=3"]);
        let _client = build_state(&server);
        let page = ask(admin, "GET", "/commands", "").body;
        let names = page
            .lines()
            .filter_map(|line| line.strip_suffix("</a>")?.split('>').nth(1));
        for name in names.filter(|name| !["snapshot", "restore"].contains(name)) {
            let value: serde_json::Value = serde_json::from_str(&get(admin, name)).expect("JSON");
            assert_eq!(value["command"], name);
            assert_eq!(
                value["error"].is_null(),
                !["leader", "set_trace_mask"].contains(&name),
                "{value}"
            );
        }
        let value = |command: &str| -> serde_json::Value { serde_json::from_str(&get(admin, command)).expect("JSON") };
        build_state_is_told(&value);
        let file = value("initial_configuration");
        let written = std::fs::read_to_string(server.directory().join("zoo.cfg")).expect("zoo.cfg");
        assert_eq!(file["initial_configuration"], written);
        let headers = "Authorization: ip\r\nContent-Length: 0\r\n";
        let restore = ask(admin, "POST", "/commands/restore", headers);
        assert_eq!(restore.status, 503, "{}", restore.body);
        assert!(restore.body.contains("this command is not built"), "{}", restore.body);
    }
}

fn build_state_is_told(value: &dyn Fn(&str) -> serde_json::Value) {
    // Read before the resets, which `GET` of every command has already run once: only gauges are left.
    let monitor = value("monitor");
    assert_eq!(
        (&monitor["znode_count"], &monitor["watch_count"]),
        (&6.into(), &2.into())
    );
    assert_eq!(
        (&monitor["ephemerals_count"], &monitor["num_alive_connections"]),
        (&1.into(), &1.into())
    );
    let connections = value("cons");
    let session = connections["connections"][0]["session_id"].as_i64().expect("a session");
    let session = session.to_string();
    let ephemerals = value("dump");
    assert_eq!(
        ephemerals["session_id_to_ephemeral_paths"][&session],
        serde_json::json!(["/held"])
    );
    let digests = value("hash");
    assert_eq!(digests["digests"][0]["digest_version"], 2, "{digests}");
    let watches = value("wchc");
    assert_eq!(
        watches["session_id_to_watched_paths"][&session],
        serde_json::json!(["/absent", "/held"])
    );
    assert_eq!(value("srvr")["node_count"], 6);
    assert_eq!(value("stmk?traceMask=258")["tracemask"], 258);
    assert_eq!(value("gtmk")["tracemask"], 258);
}

/// What an admin server says of a snapshot: status, what is told of the file, and the text where no file is sent.
fn asked(admin: SocketAddr, query: &str, headers: &str) -> (u16, Option<String>, bool, String) {
    let page = ask(admin, "GET", &format!("/commands/snapshot{query}"), headers);
    let kind = page
        .header("content-type")
        .expect("a type")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let is_file = kind == "application/octet-stream";
    assert!(is_file || kind == "application/json", "{kind}");
    let size = page
        .header("snapshot_size")
        .map(|size| size.parse::<usize>().expect("a number"));
    assert!(!is_file || size == Some(page.bytes.len()), "{}", page.head);
    let text = if is_file { String::new() } else { page.body.clone() };
    (page.status, page.header("last_zxid").map(String::from), is_file, text)
}

#[test]
fn a_snapshot_on_demand_as_apache_takes_it() {
    let (apache, theirs) = java();
    let _held = build_state(&apache);
    for engine in [Engine::Uring, Engine::Epoll] {
        let (server, ours) = ring(engine, &[]);
        let _client = build_state(&server);
        for (query, headers) in [
            ("", "Authorization: ip\r\n"),
            ("?streaming=true", "Authorization: digest who:knows\r\n"),
            ("?streaming=false", "Authorization: ip\r\n"),
            ("?streaming=no", "Authorization: ip\r\n"),
        ] {
            // More than the interval, which ZooKeeper takes as 300 ms.
            std::thread::sleep(Duration::from_millis(350));
            let [mine, apaches] = [ours, theirs].map(|admin| asked(admin, query, headers));
            assert_eq!((mine.0, mine.2, &mine.3), (apaches.0, apaches.2, &apaches.3), "{query}");
            assert_eq!(mine.0, 200);
            let zxid = mine.1.expect("last_zxid");
            assert_eq!(Some(&zxid), apaches.1.as_ref(), "{query}");
            // At once again: too soon.
            let [mine, apaches] = [ours, theirs].map(|admin| asked(admin, query, headers));
            assert_eq!(mine, apaches, "{query}");
            assert_eq!(mine.0, 429);
        }
        // The file that was sent is the one in the directory, and whole.
        std::thread::sleep(Duration::from_millis(350));
        let page = ask(ours, "GET", "/commands/snap", "Authorization: ip\r\n");
        let reader = storage::snapshot::Reader::open(&page.bytes).expect("a snapshot");
        assert_eq!(
            Some(format!("0x{:x}", reader.zxid().0).as_str()),
            page.header("last_zxid")
        );
        assert!(get(ours, "lsnp").contains(&format!("\"zxid\" : \"{:x}\"", reader.zxid().0)));
        let mut entries = 0;
        let mut count = |_: &[u8], _: &[u8]| {
            entries += 1;
            Ok(())
        };
        reader.load(1, &mut count).expect("every block");
        assert_eq!(entries, reader.entry_count());
    }
}

#[test]
fn a_snapshot_needs_every_permission_on_the_root_and_can_be_turned_off() {
    const SET_ACL: i32 = 7;
    let (server, admin) = ring(Engine::Epoll, &["admin.rateLimiterIntervalInMS=0"]);
    let (mut client, _) = RawClient::open(server.address(), &Attach::default());
    let user = "digest user:smGaoVKd/cQkjm7b88GyorAUz20=";
    let (scheme, id) = user.split_once(' ').unwrap();
    // All but ADMIN for the user, and all for another.
    let body = Out::new()
        .string("/")
        .acls(&[(15, scheme, id), (31, "ip", "10.1.2.3")])
        .int(-1)
        .0;
    assert_eq!(client.call(1, SET_ACL, &body, &mut Vec::new()).err, 0);
    let forged = "Authorization: ip\r\nX-Forwarded-For: 10.1.2.3\r\n";
    for headers in ["Authorization: ip\r\n", "Authorization: digest user:pass\r\n", forged] {
        let (status, zxid, _, text) = asked(admin, "", headers);
        assert_eq!((status, zxid), (403, None), "{headers}: {text}");
        assert!(text.contains("\"error\" : \"Not authorized\""), "{text}");
    }
    let (off, admin) = ring(Engine::Epoll, &["admin.snapshot.enabled=false"]);
    let (status, _, _, text) = asked(admin, "", "Authorization: ip\r\n");
    assert_eq!(status, 503);
    assert!(text.contains("\"error\" : null"), "{text}");
    assert!(!off.output().contains("snapshot taken"));
}

#[test]
fn another_url_and_connections_that_idle() {
    let more = ["admin.commandURL=/zk/admin", "admin.idleTimeout=300"];
    for engine in [Engine::Uring, Engine::Epoll] {
        let (_server, admin) = ring(engine, &more);
        assert_eq!(ask(admin, "GET", "/commands/ruok", "").status, 404);
        assert_eq!(ask(admin, "GET", "/zk/admin/ruok", "").status, 200);
        assert!(
            ask(admin, "GET", "/zk/admin", "")
                .body
                .starts_with("<a href=\"/zk/admin/configuration\">")
        );
        let mut idle = TcpStream::connect(admin).expect("connect");
        idle.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
        let begun = Instant::now();
        idle.read_to_end(&mut Vec::new()).expect("closed by the server");
        assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_taken_port_stops_the_start_and_off_means_off() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let port = taken.local_addr().expect("address").port();
    let directory = tempfile::tempdir().expect("directory");
    let text = format!(
        "dataDir={0}/data\nclientPort={1}\nclientPortAddress=127.0.0.1\n{2}\n",
        directory.path().display(),
        free_port(),
        lines(port).join("\n")
    );
    let file = directory.path().join("zoo.cfg");
    std::fs::write(&file, text).expect("zoo.cfg");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_zk-server"))
        .arg("start-foreground")
        .arg(&file)
        .output()
        .expect("the server");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        said.contains(&format!("cannot listen on 127.0.0.1:{port} for the admin server")),
        "{said}"
    );

    let port = free_port();
    let only_port = format!("admin.serverPort={port}");
    let _server = RingServer::launch(Engine::Epoll, &[&only_port, "admin.serverAddress=127.0.0.1"]);
    assert!(
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(),
        "off unless it is written"
    );
}
