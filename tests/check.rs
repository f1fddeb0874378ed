//! `zk-server check` and `salvage`, black box: a store that a real server wrote, copied and damaged in every way that
//! reliability.md 3.1 names. What the check says of a start is what the start then says itself, word for word; nothing
//! that is looked at is changed.

mod peers;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use peers::jute::Out;
use peers::{Attach, Engine, Peer, RawClient, RingServer, wait_until};
use storage::Zxid;
use storage::engine::{Options, Recover};
use storage::log::{LogReader, Verdict};

/// What a batch begins on.
const BLOCK: usize = 4096;

/// Nodes of 9,000 bytes: some 110 fill a segment of a megabyte.
const NODE_BYTES: usize = 9000;

const STORE: &str = "ringkeeper-1";

fn create(client: &mut RawClient, index: usize) {
    let body = Out::new()
        .string(&format!("/n{index}"))
        .buffer(&[b'd'; NODE_BYTES])
        .acls(&[(31, "world", "anyone")])
        .int(0)
        .0;
    assert_eq!(client.call(index as i32, 1, &body, &mut Vec::new()).err, 0, "/n{index}");
}

/// Asks by signal, and waits until it is told.
fn snapshot(server: &RingServer) {
    let taken = || server.output().matches("snapshot taken").count();
    let before = taken();
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -USR1 {}", server.pid())])
        .status();
    assert!(sent.is_ok_and(|status| status.success()));
    let told = || taken() > before;
    assert!(wait_until(Duration::from_secs(20), told), "{}", server.output());
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A data directory that a server left: 350 nodes over several segments, and two snapshots with 100 and 250 of them.
/// One server ends in order, the other is killed.
fn written(killed: bool) -> &'static Path {
    static STORES: [OnceLock<PathBuf>; 2] = [const { OnceLock::new() }; 2];
    STORES[usize::from(killed)].get_or_init(|| {
        let more = ["ringkeeper.segmentMegabytes=1", "ringkeeper.purge=false"];
        let mut server = RingServer::launch(Engine::Epoll, &more);
        let (mut client, _) = RawClient::open(server.address(), &Attach::default());
        (0..100).for_each(|index| create(&mut client, index));
        snapshot(&server);
        (100..250).for_each(|index| create(&mut client, index));
        snapshot(&server);
        (250..350).for_each(|index| create(&mut client, index));
        match killed {
            true => server.kill9(),
            false => assert_eq!(server.terminate(), Some(0)),
        }
        let kept = tempfile::tempdir().expect("a directory").keep();
        copy(&server.directory().join("data"), &kept.join("data"));
        kept
    })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(fs::copy(from, to).expect("a copy")),
        }
    }
}

/// A copy of such a store, to be damaged.
struct Store {
    directory: tempfile::TempDir,
}

impl Store {
    fn new(killed: bool) -> Store {
        let directory = tempfile::tempdir().expect("a directory");
        copy(&written(killed).join("data"), &directory.path().join("data"));
        Store { directory }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.data().join(STORE).join(name)
    }

    /// Names that begin so, oldest first.
    fn files(&self, prefix: &str) -> Vec<String> {
        let all = names(&self.data().join(STORE));
        all.into_iter().filter(|name| name.starts_with(prefix)).collect()
    }

    fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.file(name)).expect(name);
        edit(&mut bytes);
        fs::write(self.file(name), bytes).expect(name);
    }

    /// Where the batches of a segment begin: the blocks with a head.
    fn batches(&self, name: &str) -> Vec<usize> {
        let bytes = fs::read(self.file(name)).expect(name);
        let blocks = (BLOCK..bytes.len()).step_by(BLOCK);
        blocks.filter(|at| bytes[*at..].starts_with(b"RKB1")).collect()
    }

    /// Runs the check; asserts that no byte and no time of any file changed.
    fn check(&self, more: &[&str]) -> (i32, String) {
        let before = self.image();
        let output = run(&[&["check", self.data().to_str().unwrap()], more].concat());
        assert_eq!(self.image(), before, "a check changes nothing");
        let text = String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().expect("a status"), text)
    }

    fn image(&self) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
        let directory = self.data().join(STORE);
        let one = |name: String| {
            let path = directory.join(&name);
            let modified = fs::metadata(&path)
                .and_then(|metadata| metadata.modified())
                .expect(&name);
            (name, (fs::read(path).unwrap(), modified))
        };
        names(&directory).into_iter().map(one).collect()
    }

    /// Starts a server that must refuse, and gives what it said.
    fn refused_start(&self) -> String {
        let config = self.directory.path().join("zoo.cfg");
        let text = format!(
            "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nringkeeper.engine=epoll\n",
            self.data().display(),
            peers::free_port()
        );
        fs::write(&config, text).expect("zoo.cfg");
        let output = run(&["start-foreground", config.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        said
    }
}

fn run(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_zk-server")).args(arguments).output();
    output.expect("zk-server")
}

#[test]
fn a_clean_store_is_clean_and_told_in_full() {
    let store = Store::new(false);
    for more in [&[][..], &["--deep"]] {
        let (status, text) = store.check(more);
        assert_eq!(status, 0, "{text}");
        assert!(text.ends_with("Clean.\n"), "{text}");
        assert_eq!(
            text.matches("the log from it is complete, to zxid").count(),
            2,
            "{text}"
        );
        assert!(
            text.contains("A start would load") && text.contains("transactions from"),
            "{text}"
        );
    }
    let (status, text) = store.check(&["--json"]);
    assert_eq!(status, 0);
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["verdict"], "clean");
    let (snapshots, segments) = (
        value["snapshots"].as_array().unwrap(),
        value["segments"].as_array().unwrap(),
    );
    assert!(snapshots.len() == 2 && segments.len() >= 3, "{text}");
    // A session and 350 nodes; its end is not waited for.
    let end = Zxid(351);
    assert_eq!(value["start"]["zxid"], end.to_string());
    assert!(
        snapshots
            .iter()
            .all(|snapshot| snapshot["log_leads_to"] == end.to_string())
    );
    let transactions: u64 = segments
        .iter()
        .map(|segment| segment["transactions"].as_u64().unwrap())
        .sum();
    assert_eq!(transactions, end.0);
    assert_eq!(
        value["start"]["replays"],
        end.0 - 251,
        "behind the snapshot with 250 nodes"
    );
    assert!(!segments[0]["is_needed"].as_bool().unwrap());
    // By its configuration, and by the store's own directory.
    let config = store.directory.path().join("c.cfg");
    fs::write(&config, format!("dataDir={}\n", store.data().display())).unwrap();
    for place in [config, store.data().join(STORE)] {
        let output = run(&["check", place.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", place.display());
    }
}

#[test]
fn nothing_and_nonsense_are_told_apart() {
    let empty = tempfile::tempdir().unwrap();
    let place = empty.path().to_str().unwrap();
    let output = run(&["check", place]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("EMPTY tree"));
    assert!(names(empty.path()).is_empty(), "nothing was made");
    for arguments in [
        &["check", "/nowhere/zoo.cfg"][..],
        &["check", "--shallow"],
        &["check", "/nowhere", "/nowhere"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    fs::create_dir(empty.path().join("version-2")).unwrap();
    fs::write(empty.path().join("version-2/snapshot.0"), "ZKSN").unwrap();
    let output = run(&["check", place]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("data of Apache ZooKeeper"), "{said}");
}

#[test]
fn a_running_servers_directory_is_left_alone() {
    let mut server = RingServer::launch(Engine::Epoll, &[]);
    serves(&server);
    let data = server.directory().join("data");
    let output = run(&["check", data.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    let holder = format!("in use by process {}", server.pid());
    assert!(
        said.contains(&holder) && said.contains("A running server's directory cannot be checked"),
        "{said}"
    );
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(run(&["check", data.to_str().unwrap()]).status.code(), Some(0));
}

#[test]
fn a_torn_end_is_foretold_cut_and_gone() {
    let store = Store::new(true);
    let last = store.files("log.").pop().expect("a segment");
    let torn = *store.batches(&last).last().expect("a batch");
    store.edit(&last, |bytes| bytes[torn + 512..torn + 1024].fill(0));
    let (status, text) = store.check(&[]);
    assert_eq!(status, 1, "{text}");
    let extent = format!("{}, offset {torn}, ", store.file(&last).display());
    assert!(
        text.contains(&format!("the torn end of the log would be cut: {extent}")),
        "{text}"
    );
    assert!(text.contains("(zxid 0x15f to 0x15f;"), "{text}");
    assert!(text.contains("go on at zxid 0x15e"), "{text}");
    assert!(
        text.contains(&format!("{last}   ")) && text.contains(&format!("TORN at offset {torn}")),
        "{text}"
    );
    let mut server = adopt(&store);
    let line = server.output();
    let line = line
        .lines()
        .find(|line| line.contains("the torn end of the log was cut"))
        .expect("told");
    assert!(line.contains("WARN") && line.contains(&extent), "{line}");
    assert_eq!(server.terminate(), Some(0));
    let (status, text) = store.check(&[]);
    assert_eq!(status, 0, "{text}");
}

/// A server on the store.
fn adopt(store: &Store) -> RingServer {
    let line = format!("dataDir={}", store.data().display());
    let server = RingServer::launch(Engine::Epoll, &[&line]);
    serves(&server);
    server
}

/// A port is bound before the directory is taken and signals are heeded: who serves a session has done both.
fn serves(server: &RingServer) {
    drop(RawClient::open(server.address(), &Attach::default()));
}

/// A kind of damage: what is done, and what must be said of it.
struct Case {
    what: &'static str,
    status: i32,
    damage: fn(&Store) -> PathBuf,
    /// Beside the damaged file's name.
    says: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        what: "a bad record",
        status: 2,
        damage: |store| {
            let name = store.files("log.").pop().unwrap();
            let batch = store.batches(&name)[3];
            store.edit(&name, |bytes| bytes[batch + 700] ^= 4);
            store.file(&name)
        },
        says: &[
            "is damaged at offset",
            "(behind zxid 0x",
            "does not match its seal",
            "is the newest whole snapshot, and the log leads to zxid 0x",
            "to 0x15f or more would be lost",
            "zk-server salvage",
        ],
    },
    Case {
        what: "a hole",
        status: 2,
        damage: |store| {
            let name = store.files("log.").pop().unwrap();
            let batches = store.batches(&name);
            store.edit(&name, |bytes| bytes[batches[3]..batches[4]].fill(0));
            store.file(&name)
        },
        says: &["a batch is missing here that was durable: a later one begins at offset"],
    },
    Case {
        what: "swapped records",
        status: 2,
        damage: |store| {
            let name = store.files("log.").pop().unwrap();
            let batches = store.batches(&name);
            store.edit(&name, |bytes| {
                let (left, right) = bytes.split_at_mut(batches[4]);
                left[batches[3]..].swap_with_slice(&mut right[..batches[4] - batches[3]]);
            });
            store.file(&name)
        },
        says: &["does not match its seal"],
    },
    Case {
        what: "a duplicated record",
        status: 2,
        damage: |store| {
            let name = store.files("log.").pop().unwrap();
            let batches = store.batches(&name);
            store.edit(&name, |bytes| bytes.copy_within(batches[3]..batches[4], batches[4]));
            store.file(&name)
        },
        says: &["does not match its seal"],
    },
    Case {
        what: "another segment under the name",
        status: 2,
        damage: |store| {
            let names = store.files("log.");
            let (other, name) = (&names[0], &names[1]);
            fs::copy(store.file(other), store.file(name)).unwrap();
            store.file(name)
        },
        says: &[
            "at offset 0",
            "it is segment 1 of store",
            "Some other file was put in its place",
        ],
    },
    Case {
        what: "a segment of another server",
        status: 2,
        damage: |store| {
            let name = store.files("log.").pop().unwrap();
            let other = written(true).join("data").join(STORE);
            let theirs = names(&other)
                .into_iter()
                .rfind(|name| name.starts_with("log."))
                .unwrap();
            fs::copy(other.join(theirs), store.file(&name)).unwrap();
            store.file(&name)
        },
        says: &["at offset 0", " of store ", "Some other file was put in its place"],
    },
    Case {
        what: "a missing segment",
        status: 2,
        damage: |store| {
            let name = store.files("log.").pop().unwrap();
            fs::remove_file(store.file(&name)).unwrap();
            store.file(&name)
        },
        says: &["is missing", "manifest lists it", "or more would be lost"],
    },
    Case {
        what: "a rotten newest snapshot, an older one and the log",
        status: 1,
        damage: |store| {
            let name = store.files("snapshot.").pop().unwrap();
            store.edit(&name, |bytes| bytes[300] ^= 1);
            store.file(&name)
        },
        says: &[
            "a damaged snapshot would be passed over and renamed to *.damaged",
            "damaged at offset",
            "go on at zxid 0x15f",
        ],
    },
    Case {
        what: "a rotten older snapshot",
        status: 1,
        damage: |store| {
            let name = store.files("snapshot.").remove(0);
            store.edit(&name, |bytes| bytes[300] ^= 1);
            store.file(&name)
        },
        says: &["DAMAGED", "go on at zxid 0x15f"],
    },
    Case {
        what: "damage in a segment that no start reads",
        status: 1,
        damage: |store| {
            let name = store.files("log.").remove(1);
            let batch = store.batches(&name)[3];
            store.edit(&name, |bytes| bytes[batch + 700] ^= 4);
            store.file(&name)
        },
        says: &["DAMAGED at offset", "not needed by a start", "THE LOG FROM IT ENDS"],
    },
    Case {
        what: "a missing snapshot, an older one and the log",
        status: 2,
        damage: |store| {
            let name = store.files("snapshot.").pop().unwrap();
            fs::remove_file(store.file(&name)).unwrap();
            store.file(&name)
        },
        says: &[
            "is missing",
            "nothing that the files know of would be lost",
            "put an empty file in its place",
        ],
    },
    Case {
        what: "no manifest",
        status: 2,
        damage: |store| {
            fs::remove_file(store.file("manifest")).unwrap();
            store.file("manifest")
        },
        says: &["is missing", "so there was a store", "Put the newest manifest back"],
    },
    Case {
        what: "nothing but the session secret",
        status: 2,
        damage: |store| {
            for name in names(&store.data().join(STORE)) {
                if name != "session-secret" {
                    fs::remove_file(store.file(&name)).unwrap();
                }
            }
            store.file("manifest")
        },
        says: &["session-secret is there, so there was a store"],
    },
    Case {
        what: "a rotten manifest",
        status: 2,
        damage: |store| {
            store.edit("manifest", |bytes| bytes[40] ^= 1);
            store.file("manifest")
        },
        says: &["the checksum at the end does not match", "Put the newest manifest back"],
    },
    Case {
        what: "a manifest from an older copy",
        status: 2,
        damage: |store| {
            store.edit("manifest", |bytes| {
                let text = String::from_utf8(bytes.clone()).unwrap();
                let lines: Vec<&str> = text.lines().collect();
                // Without the last segment, and with its checksum.
                let kept = lines[..lines.len() - 2].join("\n") + "\n";
                let crc = crc32c(kept.as_bytes());
                *bytes = format!("{kept}crc32c {crc:08x}\n").into_bytes();
            });
            let last = store.files("log.").pop().unwrap();
            store.file(&last)
        },
        says: &["the manifest is older than the log", "this one is from an older copy"],
    },
    Case {
        what: "leftovers of interrupted steps",
        status: 1,
        damage: |store| {
            for name in ["manifest.tmp", "ahead.7.tmp", "snapshot.00000000000000aa.tmp"] {
                fs::write(store.file(name), "left by a crash").unwrap();
            }
            fs::write(store.file("snapshot.00000000000000bb.unlisted"), "set aside").unwrap();
            store.file("ahead.7.tmp")
        },
        says: &[
            "manifest.tmp: a file that was half written when the server ended, would be removed",
            "ahead.7.tmp: a log segment that was made ahead, would be removed",
            "snapshot.00000000000000aa.tmp: a file that was half written",
            "bb.unlisted: a snapshot that an earlier start set aside, would be removed",
        ],
    },
];

/// As the manifest has it: a bit at a time, so that the test does not lean on the engine's own.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1));
    !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[test]
fn every_damage_is_named_with_its_way_out_and_the_start_says_the_same() {
    for case in CASES {
        let store = Store::new(false);
        let damaged = (case.damage)(&store);
        let (status, text) = store.check(&[]);
        assert_eq!(status, case.status, "{}: {text}", case.what);
        let name = damaged.file_name().unwrap().to_str().unwrap();
        assert!(text.contains(name), "{}: {text}", case.what);
        case.says
            .iter()
            .for_each(|part| assert!(text.contains(part), "{}: {part:?} is not in\n{text}", case.what));
        let (_, json) = store.check(&["--json"]);
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let line = |line: &str| {
            println!("{}\n    {line}", case.what);
        };
        if case.status == 2 {
            let error = value["start"]["error"].as_str().expect("why");
            line(error);
            assert!(text.contains(error), "{}: {text}", case.what);
            let before = store.image();
            let said = store.refused_start();
            assert!(
                said.contains(error),
                "{}: the start says\n{said}\nand not\n{error}",
                case.what
            );
            let without_lock = |mut image: BTreeMap<String, (Vec<u8>, SystemTime)>| {
                image.remove("lock");
                image
            };
            assert_eq!(without_lock(store.image()), without_lock(before), "{}", case.what);
        } else {
            assert_eq!(value["verdict"], "repairs", "{}", case.what);
            line(text.lines().last().unwrap());
        }
    }
}

#[test]
fn the_way_out_of_a_lost_snapshot_works() {
    let store = Store::new(false);
    let name = store.files("snapshot.").pop().unwrap();
    fs::write(store.file(&name), "").unwrap();
    let (status, text) = store.check(&["--deep"]);
    assert_eq!(status, 1, "{text}");
    assert!(
        text.contains("passed over") && text.contains("go on at zxid 0x15f"),
        "{text}"
    );
    let mut server = adopt(&store);
    let (mut client, _) = RawClient::open(server.address(), &Attach::default());
    assert_has(&mut client, 0..350);
    assert_eq!(server.terminate(), Some(0));
    assert!(store.file(&format!("{name}.damaged")).exists());
}

fn assert_has(client: &mut RawClient, nodes: std::ops::Range<usize>) {
    for index in nodes {
        let body = Out::new().string(&format!("/n{index}")).bool(false).0;
        assert_eq!(client.call(index as i32, 3, &body, &mut Vec::new()).err, 0, "/n{index}");
    }
}

/// Takes everything.
struct Nobody;

impl Recover for Nobody {
    fn begin_snapshot(&mut self, _: Zxid, _: u64, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
    fn entry(&mut self, _: &[u8], _: &[u8]) -> Result<(), String> {
        Ok(())
    }
    fn end_snapshot(&mut self) -> Result<(), String> {
        Ok(())
    }
    fn record(&mut self, _: Zxid, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn deep_finds_what_checksums_cannot() {
    let store = Store::new(false);
    let options = Options {
        data_dir: store.data(),
        log_dir: store.data(),
        ..Options::default()
    };
    let (engine, mut log, report) = storage::engine::Engine::open(options, &mut Nobody).expect("opened");
    let zxid = report.zxid.next();
    log.append(zxid, &[b"no transaction of anybody's"]);
    let write = log.next_write().unwrap().perform().expect("written");
    log.written(write);
    drop((log, engine));
    assert_eq!(store.check(&[]).0, 0, "every checksum is right");
    let (status, text) = store.check(&["--deep"]);
    assert_eq!(status, 2, "{text}");
    for part in [
        &format!("zxid {zxid}: its checksums are right, but it cannot be applied"),
        "Start the release that wrote it",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(store.refused_start().contains("its checksums are right"));
    let saved = salvage(&store);
    let (mut server, said) = saved;
    assert!(said.contains("Saved the state at zxid 0x15f"), "{said}");
    let (mut client, _) = RawClient::open(server.address(), &Attach::default());
    assert_has(&mut client, 0..350);
    assert_eq!(server.terminate(), Some(0));
}

/// Salvages into a new directory, checks it, and starts a server there.
fn salvage(store: &Store) -> (RingServer, String) {
    let before = store.image();
    let to = store.directory.path().join("saved");
    let arguments = ["salvage", store.data().to_str().unwrap(), "--to", to.to_str().unwrap()].map(String::from);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = run(&arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(store.image(), before, "the damaged store is only read");
    assert_eq!(run(&arguments).status.code(), Some(3), "a store is never written over");
    assert_eq!(run(&["check", to.to_str().unwrap(), "--deep"]).status.code(), Some(0));
    let line = format!("dataDir={}", to.display());
    (RingServer::launch(Engine::Epoll, &[&line]), said)
}

#[test]
fn what_is_whole_can_be_salvaged() {
    let store = Store::new(false);
    let name = store.files("log.").pop().unwrap();
    let batch = store.batches(&name)[3];
    store.edit(&name, |bytes| bytes[batch + 700] ^= 4);
    // The last transaction before the damage, from the log itself.
    let mut last = Zxid::ZERO;
    let read = LogReader::read(&store.data().join(STORE), &mut |item| last = item.zxid).expect("read");
    assert!(matches!(read, Verdict::Corrupt { .. }), "{read:?}");
    let (mut server, said) = salvage(&store);
    assert!(said.contains(&format!("Saved the state at zxid {last}:")), "{said}");
    assert!(said.contains("transactions up to zxid 0x15f"), "{said}");
    let (mut client, _) = RawClient::open(server.address(), &Attach::default());
    let nodes = last.0 as usize - 1;
    assert!((250..349).contains(&nodes), "{nodes}");
    assert_has(&mut client, 0..nodes);
    let body = Out::new().string(&format!("/n{nodes}")).bool(false).0;
    assert_eq!(
        client.call(9999, 3, &body, &mut Vec::new()).err,
        -101,
        "what was lost is not there"
    );
    create(&mut client, nodes);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn without_the_log_a_rotten_snapshot_is_refused_and_says_what_is_missing() {
    // A byte limit that nothing fits: one snapshot stays, with the log behind it.
    let more = ["ringkeeper.segmentMegabytes=1", "ringkeeper.retainMegabytes=1"];
    let mut server = RingServer::launch(Engine::Epoll, &more);
    let (mut client, _) = RawClient::open(server.address(), &Attach::default());
    (0..150).for_each(|index| create(&mut client, index));
    snapshot(&server);
    (150..300).for_each(|index| create(&mut client, index));
    snapshot(&server);
    let told = server.output();
    let purge = told
        .lines()
        .rfind(|line| line.contains("snapshot taken"))
        .expect("told");
    assert!(
        purge.contains("purged ") && purge.contains(" log segments (zxid 0x"),
        "{purge}"
    );
    assert_eq!(server.terminate(), Some(0));
    let store = Store {
        directory: tempfile::tempdir().unwrap(),
    };
    copy(&server.directory().join("data"), &store.data());
    let snapshots = store.files("snapshot.");
    assert_eq!(snapshots.len(), 1);
    assert_eq!(store.check(&[]).0, 0);
    store.edit(&snapshots[0], |bytes| bytes[300] ^= 1);
    let (status, text) = store.check(&[]);
    assert_eq!(status, 2, "{text}");
    for part in [
        "Without it there is no whole snapshot, and no log from the beginning; it goes on only behind zxid 0x",
        "is damaged, and without it the log reaches only zxid 0x0",
        "restore dataDir and dataLogDir together from one backup",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}
