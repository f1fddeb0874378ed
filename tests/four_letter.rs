//! Four-letter words and connection limits, black box: our server on both engines, and Apache ZooKeeper 3.9.5 beside
//! it with the same state built in both. Answers are compared line by line after times, session ids, latencies,
//! ports and versions were taken out; what may differ otherwise is written down in [`same_answers_as_apache`].

mod peers;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use peers::jute::Out;
use peers::{Attach, Engine, JavaServer, Peer, RawClient, RingServer, wait_until};
use ringkeeper::wire::four_letter::{NOT_MEASURED, Word};

const ALL_WORDS: &str = "4lw.commands.whitelist=*";
const CREATE: i32 = 1;
const EXISTS: i32 = 3;
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
const GET_CHILDREN: i32 = 8;
const PING: i32 = 11;
const ADD_WATCH: i32 = 106;

/// Sends `parts` one after the other, closes the sending side if asked to, and gives all that comes back. A reset
/// after the answer is an end like any other.
fn probe(address: SocketAddr, parts: &[&[u8]], half_close: bool) -> String {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_nodelay(true).expect("nodelay");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            std::thread::sleep(Duration::from_millis(30));
        }
        stream.write_all(part).expect("send");
    }
    if half_close {
        stream.shutdown(Shutdown::Write).expect("half close");
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("no end of the answer: {error}"),
        _ => String::from_utf8(answer).expect("text"),
    }
}

fn ask(server: &dyn Peer, word: &str) -> String {
    probe(server.address(), &[word.as_bytes()], false)
}

fn on_both(lines: &[&str], test: impl Fn(&RingServer)) {
    for engine in [Engine::Uring, Engine::Epoll] {
        test(&RingServer::launch(engine, lines));
    }
}

#[test]
fn only_srvr_is_answered_unless_configured() {
    on_both(&[], |server| {
        assert!(ask(server, "srvr").contains("\nMode: standalone\n"));
        for (word, bytes, name) in Word::ALL {
            if word != Word::Srvr {
                let refusal = format!("{name} is not executed because it is not in the whitelist.\n");
                assert_eq!(probe(server.address(), &[&bytes], false), refusal);
            }
        }
        for unknown in ["kill", "reqs", "RUOK", "srv\n"] {
            assert_eq!(ask(server, unknown), "", "a frame length out of bounds");
        }
    });
    on_both(&["4lw.commands.whitelist=ruok, mntr"], |server| {
        assert_eq!(ask(server, "ruok"), "imok");
        assert!(ask(server, "mntr").contains("\nzk_server_state\tstandalone\n"));
        assert!(ask(server, "srvr").contains("Mode:"));
        assert!(ask(server, "stat").ends_with("whitelist.\n"));
    });
}

#[test]
fn a_word_may_come_in_any_shape() {
    on_both(&[ALL_WORDS], |server| {
        let address = server.address();
        for half_close in [false, true] {
            assert_eq!(probe(address, &[b"ruok"], half_close), "imok");
            assert_eq!(probe(address, &[b"ruok\n"], half_close), "imok");
            assert_eq!(probe(address, &[b"ruok\r\nmore of it"], half_close), "imok");
            assert_eq!(probe(address, &[b"r", b"uo", b"k"], half_close), "imok");
            assert!(probe(address, &[b"mn", b"tr\n"], half_close).contains("zk_znode_count\t5\n"));
        }
        // What comes after the end resets the connection, and the answer survives it.
        assert_eq!(probe(address, &[b"ruok", b"\n"], false), "imok");
        assert_eq!(probe(address, &[b"gtmk"], false), "306");
        assert_eq!(probe(address, &[b"stmk\0\0\0\0\0\0", b"\x01\x02"], true), "258");
        assert_eq!(probe(address, &[b"gtmk"], false), "258");
        assert_eq!(probe(address, &[b"stmk\0\0"], true), "", "no mask, no answer");
        assert_eq!(
            probe(address, &[&[0xff, 0xf4, 0xff, 0xfd]], false),
            "",
            "whitelisted, but nothing to execute"
        );
        let mut session = RawClient::open(address, &Attach::default()).0;
        session.send_bytes(b"ruok");
        assert_eq!(
            session.frame(),
            peers::Received::Closed,
            "after the handshake it is a frame's length"
        );
    });
}

#[test]
fn who_does_not_read_the_answer_is_closed() {
    let lines = [ALL_WORDS, "nio.sessionlessCnxnTimeout=1000"];
    on_both(&lines, |server| {
        let (mut holder, _) = RawClient::open(server.address(), &Attach::default());
        // The answer to wchc is made larger than what the kernel holds for a reader that sleeps.
        let long = "x".repeat(60_000);
        for index in 0..400 {
            let body = path(&format!("/{long}{index}")).bool(true).0;
            assert_eq!(holder.call(index, EXISTS, &body, &mut Vec::new()).err, -101);
        }
        let mut sleeper = TcpStream::connect(server.address()).expect("connect");
        sleeper.write_all(b"wchc").expect("send");
        let alive = || number(&ask(server, "mntr"), "zk_num_alive_connections");
        assert_eq!(alive(), 3, "the holder, the sleeper and the asking one");
        assert!(
            wait_until(Duration::from_secs(10), || alive() == 2),
            "the sleeper is closed"
        );
        assert_eq!(number(&ask(server, "mntr"), "zk_sessionless_connections_expired"), 1);
        let whole = ask(server, "wchc").len();
        assert!(whole > 24_000_000, "{whole} bytes for one who reads");
    });
}

#[test]
fn limits_hold_and_places_come_back() {
    on_both(&[ALL_WORDS, "maxClientCnxns=3"], |server| {
        // The connection that looked whether the server is there may not be gone yet.
        let alone = || ask(server, "mntr").contains("zk_num_alive_connections\t1\n");
        assert!(wait_until(Duration::from_secs(5), alone), "nobody but the asking one");
        let open = || RawClient::open(server.address(), &Attach::default()).0;
        let held = [open(), open(), open()];
        for _ in 0..20 {
            let mut refused = RawClient::dial(server.address()).expect("the kernel accepts");
            assert_eq!(refused.frame(), peers::Received::Closed);
        }
        let [first, ..] = held;
        first.hang_up();
        let rejected = || number(&ask(server, "mntr"), "zk_connection_rejected");
        assert!(
            wait_until(Duration::from_secs(5), || !ask(server, "mntr").is_empty()),
            "a free place"
        );
        assert!(rejected() >= 20);
        assert_eq!(
            number(&ask(server, "mntr"), "zk_num_alive_connections"),
            3,
            "two sessions and the asking one"
        );
        let warnings = server
            .output()
            .matches("Too many connections from /127.0.0.1 - max is 3")
            .count();
        assert!(
            (1..10).contains(&warnings),
            "{warnings} lines for 20 refusals:\n{}",
            server.output()
        );
        assert_eq!(ask(server, "srst"), "Server stats reset.\n");
        assert_eq!(rejected(), 0);
        // The place of a word is free when its end is seen.
        for _ in 0..50 {
            assert_eq!(ask(server, "ruok"), "imok");
        }
    });
    on_both(&[ALL_WORDS, "maxClientCnxns=0", "maxCnxns=1"], |server| {
        assert!(
            wait_until(Duration::from_secs(5), || ask(server, "ruok") == "imok"),
            "the only place"
        );
        let held = RawClient::open(server.address(), &Attach::default()).0;
        assert_eq!(
            RawClient::dial(server.address()).expect("dial").frame(),
            peers::Received::Closed
        );
        assert!(
            server.output().contains("Too many connections max allowed is 1"),
            "{}",
            server.output()
        );
        held.hang_up();
        assert!(
            wait_until(Duration::from_secs(5), || ask(server, "ruok") == "imok"),
            "the place"
        );
    });
}

/// The value of a `mntr` line.
#[track_caller]
fn number(mntr: &str, key: &str) -> i64 {
    let value = mntr.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('\t'));
    value
        .unwrap_or_else(|| panic!("{key} in:\n{mntr}"))
        .parse()
        .expect("a number")
}

/// What every server under comparison is made to hold, and the clients that hold it.
struct State {
    _clients: [RawClient; 2],
    /// Session ids as they print, with what takes their place.
    names: Vec<(String, &'static str)>,
}

fn path(path: &str) -> Out {
    Out::new().buffer(path.as_bytes())
}

fn create(path_: &str, data: &[u8], flags: i32) -> Vec<u8> {
    let anyone = |out: Out| out.int(1).int(31).buffer(b"world").buffer(b"anyone");
    anyone(path(path_).buffer(data)).int(flags).0
}

fn build(server: &dyn Peer) -> State {
    assert_eq!(ask(server, "srst"), "Server stats reset.\n");
    let (mut one, first) = RawClient::open(server.address(), &Attach::default());
    let (mut two, second) = RawClient::open(
        server.address(),
        &Attach {
            timeout_ms: 20_000,
            ..Attach::default()
        },
    );
    let mut events = Vec::new();
    let mut xid = 0;
    let mut call = |client: &mut RawClient, op: i32, body: Vec<u8>| {
        xid += 1;
        client.call(xid, op, &body, &mut events).err
    };
    for path in ["/app", "/app/a", "/zookeeper/quota/app"] {
        assert_eq!(call(&mut one, CREATE, create(path, b"data", 0)), 0);
    }
    let limits = b"count=5,bytes=-1=;byteHardLimit=2000;countHardLimit=-1";
    assert_eq!(
        call(
            &mut one,
            CREATE,
            create("/zookeeper/quota/app/zookeeper_limits", limits, 0)
        ),
        0
    );
    assert_eq!(
        call(
            &mut one,
            CREATE,
            create("/zookeeper/quota/app/zookeeper_stats", b"count=2,bytes=8", 0)
        ),
        0
    );
    assert_eq!(call(&mut one, CREATE, create("/app/e1", b"", 1)), 0);
    assert_eq!(call(&mut one, CREATE, create("/app/e2", b"", 1)), 0);
    assert_eq!(call(&mut two, CREATE, create("/app/e3", b"", 1)), 0);
    assert_eq!(call(&mut one, CREATE, create("/app/a", b"", 0)), -110);
    assert_eq!(call(&mut one, GET_DATA, path("/app").bool(true).0), 0);
    assert_eq!(call(&mut one, EXISTS, path("/absent").bool(true).0), -101);
    assert_eq!(call(&mut one, GET_CHILDREN, path("/app").bool(true).0), 0);
    assert_eq!(call(&mut two, ADD_WATCH, path("/app").int(1).0), 0);
    assert_eq!(call(&mut two, GET_DATA, path("/app/a").bool(true).0), 0);
    assert_eq!(call(&mut two, SET_DATA, path("/app/a").buffer(b"longer").int(-1).0), 0);
    for index in 0..120 {
        assert_eq!(call(&mut one, CREATE, create(&format!("/n{index}"), b"", 0)), 0);
    }
    assert_eq!(one.call(-2, PING, &[], &mut Vec::new()).err, 0);
    assert_eq!(events.len(), 1, "the change of /app/a: {events:?}");
    let name = |id: i64, name| (format!("0x{id:x}"), name);
    State {
        _clients: [one, two],
        names: vec![name(first.session, "0xONE"), name(second.session, "0xTWO")],
    }
}

#[test]
fn a_restart_keeps_digests_and_counts_what_it_replayed() {
    for engine in [Engine::Uring, Engine::Epoll] {
        let mut server = RingServer::launch(engine, &[ALL_WORDS]);
        let state = build(&server);
        let (digests, before) = (ask(&server, "hash"), ask(&server, "mntr"));
        assert!(digests.starts_with("80: "), "{digests}");
        assert_eq!(number(&before, "zk_sum_startup_txns_loaded"), 0);
        let nodes = number(&before, "zk_znode_count");
        drop(state);
        server.kill9();
        server.start();
        let after = ask(&server, "mntr");
        assert_eq!(ask(&server, "hash"), digests, "the same tree, so the same digest");
        assert_eq!(number(&after, "zk_sum_startup_txns_loaded"), 0x84, "every transaction");
        assert_eq!(
            (number(&after, "zk_znode_count"), number(&after, "zk_ephemerals_count")),
            (nodes, 3)
        );
        assert_eq!(number(&after, "zk_cnt_fsynctime"), 0, "counts begin with the process");
        let dump = ask(&server, "dump");
        assert!(
            dump.contains(")/(2):\n"),
            "two sessions wait for their clients:\n{dump}"
        );
        assert!(dump.contains("Sessions with Ephemerals (2):\n"), "{dump}");
    }
}

/// Puts `X` where digits (and dots) follow `key`.
fn blank(line: &str, key: &str) -> String {
    match line.split_once(key) {
        None => line.to_owned(),
        Some((before, after)) => {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '/' | '-' | 'E'));
            format!("{before}{key}X{rest}")
        }
    }
}

/// An answer without what two servers cannot have in common. Groups (a line and the indented ones below it) are
/// sorted, since the Java server prints sets in hash order.
fn normalised(answer: &str, state: &State) -> Vec<String> {
    let mut groups: Vec<Vec<String>> = Vec::new();
    for line in answer.split_inclusive('\n') {
        let mut line = line.to_owned();
        for (id, name) in &state.names {
            line = line.replace(id, name);
        }
        for key in [
            "127.0.0.1:",
            ",est=",
            ",lresp=",
            ",llat=",
            ",minlat=",
            ",avglat=",
            ",maxlat=",
        ] {
            line = blank(&line, key);
        }
        line = blank(&line, "Latency min/avg/max: ");
        if line.starts_with("Zookeeper version: 3.9.5-") {
            line = "Zookeeper version: 3.9.5-X\n".into();
        }
        if line.contains(" Sets (") {
            // Java counts buckets that are empty already.
            line = blank(&line, " Sets (");
        }
        // Two sessions may fall into one bucket or two: only what is in them counts.
        if line.contains(" expire at ") {
            continue;
        }
        match groups.last_mut() {
            Some(group) if line.starts_with('\t') => group.push(line),
            _ => groups.push(vec![line]),
        }
    }
    groups.iter_mut().for_each(|group| group[1..].sort());
    // Whole sections of `dump` have an order; what is listed below them has none.
    let ordered = |group: &Vec<String>| !(group[0].starts_with("0x") || group[0].starts_with([' ', '/']));
    let mut start = 0;
    while start < groups.len() {
        let end = (start..groups.len())
            .find(|index| ordered(&groups[*index]))
            .unwrap_or(groups.len());
        groups[start..end].sort();
        start = end.max(start) + 1;
    }
    groups.concat()
}

/// Accepted differences, each where it is dealt with:
/// - sets come sorted from us and in hash order from Java (`normalised`);
/// - Java lists and counts expiry buckets that are empty already, and which of two neighbouring buckets a session is
///   in depends on the moment: of `dump` only what is in the buckets is compared (`normalised`);
/// - `envi` has the same keys; what only a JVM has is `<NA>` (`compare_keys`);
/// - `conf` and `dirs` name other directories of another size, and ports differ (`compare_keys`);
/// - `hash` has the same zxids, but digests cover times and session ids (`compare_hash`);
/// - `mntr` leaves out what is listed in `NOT_MEASURED` (`compare_monitors`).
#[test]
fn same_answers_as_apache() {
    for engine in [Engine::Uring, Engine::Epoll] {
        let java = JavaServer::launch(&[ALL_WORDS], &[]);
        let ring = RingServer::launch(engine, &[ALL_WORDS]);
        let (theirs, ours) = (build(&java), build(&ring));
        for word in [
            "stat", "srvr", "cons", "dump", "wchs", "wchc", "wchp", "ruok", "isro", "gtmk",
        ] {
            assert_eq!(
                normalised(&ask(&ring, word), &ours),
                normalised(&ask(&java, word), &theirs),
                "{word} of {}",
                ring.name()
            );
        }
        compare_keys(&ring, &java);
        compare_hash(&ring, &java);
        compare_monitors(&ask(&ring, "mntr"), &ask(&java, "mntr"));
        for word in ["crst", "cons", "srst"] {
            assert_eq!(
                normalised(&ask(&ring, word), &ours),
                normalised(&ask(&java, word), &theirs),
                "{word}"
            );
        }
    }
}

/// `conf` and `dirs` line by line but for places and sizes; `envi` by its keys, since its values are the machine's.
fn compare_keys(ring: &RingServer, java: &JavaServer) {
    let key = |line: &str, cut: char| line.split(cut).next().unwrap_or_default().to_owned();
    let keys = |answer: String, cut| answer.lines().map(|line| key(line, cut)).collect::<Vec<_>>();
    for (word, cut) in [("envi", '='), ("dirs", ' '), ("conf", '=')] {
        assert_eq!(keys(ask(ring, word), cut), keys(ask(java, word), cut), "{word}");
    }
    let placed = ["clientPort=", "dataDir=", "dataDirSize=", "dataLogDir=", "dataLogSize="];
    let settings = |answer: String| -> Vec<String> {
        let plain = |line: &&str| !placed.iter().any(|key| line.starts_with(key));
        answer.lines().filter(plain).map(str::to_owned).collect()
    };
    assert_eq!(settings(ask(ring, "conf")), settings(ask(java, "conf")));
}

/// Digests cover times and session ids, so only the zxids can be equal.
fn compare_hash(ring: &RingServer, java: &JavaServer) {
    let zxids = |answer: String| -> Vec<String> {
        let zxid = |line: &str| line.split_once(": ").expect("zxid: digest").0.to_owned();
        answer.lines().map(zxid).collect()
    };
    let ours = zxids(ask(ring, "hash"));
    assert_eq!(ours, zxids(ask(java, "hash")));
    assert_eq!(ours, ["80"]);
}

/// Every key of ours is one of theirs, but for those that say so; theirs are ours or listed with a reason; and what the same requests must bring
/// to the same number does.
fn compare_monitors(ours: &str, theirs: &str) {
    let lines = |answer: &str| -> BTreeMap<String, String> {
        let pair = |line: &str| {
            line.split_once('\t')
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
        };
        answer.lines().map(|line| pair(line).expect("key and value")).collect()
    };
    let (ours, theirs) = (lines(ours), lines(theirs));
    let (own, known): (Vec<&String>, Vec<&String>) = ours.keys().partition(|key| key.starts_with("zk_ringkeeper_"));
    assert_eq!(own.len(), 6, "{own:?}");
    let unknown: Vec<_> = known.into_iter().filter(|key| !theirs.contains_key(*key)).collect();
    assert!(unknown.is_empty(), "keys that ZooKeeper does not have: {unknown:?}");
    let mut used = BTreeSet::new();
    for key in theirs.keys().filter(|key| !ours.contains_key(*key)) {
        let listed = NOT_MEASURED.iter().find(|(name, _)| key.ends_with(&format!("_{name}")));
        let (name, _) = listed.unwrap_or_else(|| panic!("{key} is neither printed nor listed in NOT_MEASURED"));
        used.insert(*name);
    }
    for (name, _) in NOT_MEASURED {
        let printed = ours
            .keys()
            .any(|key| key == &format!("zk_{name}") || key == &format!("zk_cnt_{name}"));
        assert!(!printed, "{name} is listed as not measured, but printed");
        let sets = [
            "_per_namespace",
            "ack_latency",
            "learner_handler_qp_size",
            "learner_handler_qp_time_ms",
        ];
        assert!(
            used.contains(name) || sets.iter().any(|end| name.ends_with(end)),
            "{name} is no metric of 3.9.5"
        );
    }
    let equal = [
        "server_state",
        "znode_count",
        "watch_count",
        "ephemerals_count",
        "approximate_data_size",
        "num_alive_connections",
        "outstanding_requests",
        "packets_received",
        "global_sessions",
        "local_sessions",
        "connection_drop_probability",
        "bytes_received_count",
        "connection_request_count",
        "connection_revalidate_count",
        "response_bytes",
        "watch_bytes",
        "last_client_response_size",
        "min_client_response_size",
        "max_client_response_size",
        "cnt_readlatency",
        "cnt_updatelatency",
        "cnt_node_changed_watch_count",
        "sum_node_changed_watch_count",
        "cnt_node_children_watch_count",
        "cnt_node_created_watch_count",
        "cnt_node_deleted_watch_count",
        "stale_sessions_expired",
        "app_quota_count_limit_per_namespace",
        "app_quota_bytes_limit_per_namespace",
        "app_quota_count_usage_per_namespace",
        "app_quota_bytes_usage_per_namespace",
    ];
    let differing: Vec<String> = equal
        .iter()
        .map(|name| format!("zk_{name}"))
        .filter(|key| ours.get(key) != theirs.get(key) || !ours.contains_key(key))
        .map(|key| format!("{key}: ours {:?}, theirs {:?}", ours.get(&key), theirs.get(&key)))
        .collect();
    assert!(differing.is_empty(), "{differing:#?}");
}
