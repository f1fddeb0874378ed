//! ZooKeeper's own files, with Apache ZooKeeper 3.9.5 itself on both sides.
//!
//! A server of its own is filled with 100,000 random nodes of every kind while it takes snapshots, and killed. What it
//! leaves is imported, and both servers must show the same tree to a client with all rights: paths, data, Stats, ACLs. The
//! way back is taken with each packing, and Apache ZooKeeper must start on what was exported, find its digest right, and
//! show the same tree again. Every snapshot that was written under load must lead to the same tree with the log behind
//! it. Memory of what was shown is not trusted: digests that Java wrote into its log are compared on the way.

#[path = "../../tests/peers/mod.rs"]
mod peers;

#[path = "apache_files/load.rs"]
mod load;
#[path = "apache_files/walk.rs"]
mod walk;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringkeeper::replica::apache::{DigestVerdict, Options, Recovered, Report, recover};
use ringkeeper::tree::{Features, apache::digest_of};
use storage::apache::Directory;
use storage::apache::directory::parse_snapshot_name;

use load::Load;
use peers::{Engine, JavaServer, Peer, RingServer};
use walk::{SUPER, same, walk};

const NODES: usize = 100_000;

/// Of the snapshots that are written meanwhile, so many are tried.
const SNAPSHOTS_TRIED: usize = 5;

/// The configuration of every server here: sessions live on while servers are changed, all words are answered.
const LINES: &[&str] = &[
    "maxSessionTimeout=600000",
    "minSessionTimeout=4000",
    "4lw.commands.whitelist=*",
    "snapCount=16000",
];

/// What both servers are told: nothing is reaped, TTL nodes exist, somebody has all rights, logs are small.
fn properties(more: &[&str]) -> Vec<String> {
    let superuser = format!("zookeeper.DigestAuthenticationProvider.superDigest={SUPER}");
    let fixed = [
        "zookeeper.extendedTypesEnabled=true",
        "znode.container.checkIntervalMs=3600000",
        "zookeeper.preAllocSize=1024",
        &superuser,
    ];
    fixed.iter().chain(more).map(|text| text.to_string()).collect()
}

fn java(data: &Path, more: &[&str]) -> JavaServer {
    let mut own = vec!["file.encoding=UTF-8"];
    own.extend(more);
    let properties = properties(&own);
    let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
    let at = format!("dataDir={}", data.display());
    let lines: Vec<&str> = LINES.iter().copied().chain([at.as_str()]).collect();
    JavaServer::launch(&lines, &properties)
}

fn ring(data: &Path) -> RingServer {
    let properties = properties(&[]);
    let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
    let at = format!("dataDir={}", data.display());
    let lines: Vec<&str> = LINES.iter().copied().chain([at.as_str()]).collect();
    RingServer::launch_with(Engine::Epoll, &lines, &properties)
}

/// Copies a data directory that no server has open.
fn copy(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) {
    let (from, to) = (from.join("version-2"), to.join("version-2"));
    fs::create_dir_all(&to).expect("a directory");
    for entry in fs::read_dir(from).expect("version-2") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
        if wanted(&name) {
            fs::copy(&path, to.join(name)).expect("copied");
        }
    }
}

fn convert(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_zk-convert")).args(arguments).output();
    output.expect("zk-convert runs")
}

#[track_caller]
fn converted(arguments: &[&str]) -> String {
    let output = convert(arguments);
    let (told, why) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{arguments:?}: {told}{why}");
    told.into_owned()
}

fn options() -> Options {
    Options {
        features: Features {
            extended_types: true,
            digest: true,
            ..Features::default()
        },
        seed: 7,
        trust_empty: false,
        allow_fuzzy: false,
        allow_other_digest: false,
    }
}

/// What a directory holds, by the library, and its digest over all nodes.
#[track_caller]
fn read(data: &Path) -> (Report, u64) {
    let directory = Directory::list(data, data).expect("listed");
    let recovered = recover(&directory, &options(), &mut |_| {});
    let Recovered { mut tree, report } = recovered.unwrap_or_else(|refusal| panic!("{}: {refusal}", data.display()));
    let sum = digest_of(&tree.view());
    assert_eq!(
        sum,
        tree.totals().digest,
        "the sum over all nodes is the one that was kept"
    );
    (report, sum)
}

fn ask(server: &dyn Peer, word: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).expect("connect");
    stream.write_all(word.as_bytes()).expect("send");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// Java counts what it finds different; it says so nowhere else.
#[track_caller]
fn no_mismatch(server: &JavaServer) {
    let told = ask(server, "mntr");
    let line = told.lines().find(|line| line.contains("digest_mismatches_count"));
    assert_eq!(line, Some("zk_digest_mismatches_count\t0"), "{told}");
}

struct Clock(Instant);

impl Clock {
    fn lap(&mut self, what: &str) {
        println!("{:6.1} s  {what}", self.0.elapsed().as_secs_f64());
        self.0 = Instant::now();
    }
}

/// Fills a server from four sessions at once, ends one of them, and kills the server while the others go on.
fn fill_and_kill(server: &mut JavaServer, nodes: usize, seed: u64) {
    let stop = AtomicBool::new(false);
    let address = server.address();
    std::thread::scope(|scope| {
        for churner in 0..2u64 {
            let stop = &stop;
            scope.spawn(move || {
                let mut load = Load::new(address, seed + 100 + churner, &format!("/churn-{seed}-{churner}"));
                while !stop.load(Ordering::Relaxed) && !load.broken {
                    load.step();
                    // Two requests in a millisecond, beside the main stream.
                    std::thread::sleep(Duration::from_micros(500));
                }
            });
        }
        let mut closed = Load::new(address, seed + 1, &format!("/closed-{seed}"));
        (0..nodes / 50).for_each(|_| closed.step());
        closed.close();
        let mut main = Load::new(address, seed, &format!("/main-{seed}"));
        // Not every answer is a node more.
        while main.done < nodes * 5 / 4 {
            main.step();
        }
        server.kill9();
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_hundred_thousand_nodes_there_and_back() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = |name: &str| -> PathBuf { place.path().join(name) };
    let mut clock = Clock(Instant::now());
    let theirs = dir("apache");
    fs::create_dir_all(&theirs).expect("a directory");
    let mut server = java(&theirs, &[]);
    clock.lap("Apache ZooKeeper started");
    fill_and_kill(&mut server, NODES, 1);
    clock.lap("filled, and killed under load");

    let (report, digest) = read(&theirs);
    println!("          {report}");
    assert!(matches!(report.digest, DigestVerdict::Equal(_)), "{report}");
    assert!(report.nodes as usize > NODES && report.digests_equal > 0, "{report}");
    every_snapshot_leads_there(&theirs, &dir("one"), &report, digest);
    clock.lap("the same tree from every snapshot and the log behind it");

    let imported = dir("imported");
    let told = converted(&["import", "--from", text(&theirs), "--to", text(&imported)]);
    assert!(told.contains("the digest is Java's"), "{told}");
    let again = convert(&["import", "--from", text(&theirs), "--to", text(&imported)]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("not overwritten"));
    clock.lap("imported by zk-convert");

    // Java's own recovery of the same files; its start writes a snapshot, packed with gzip.
    let gz = dir("gz");
    copy(&theirs, &gz, |_| true);
    let mut server = java(&gz, &["zookeeper.snapshot.compression.method=gz"]);
    no_mismatch(&server);
    let want = walk(server.address());
    clock.lap("walked through Apache ZooKeeper's tree");
    let mut mine = ring(&imported);
    let have = walk(mine.address());
    same("Apache ZooKeeper, and Ringkeeper after the import", &want, &have);
    let kinds = [
        have.values().filter(|seen| seen.stat.ephemeral_owner != 0).count(),
        have.values().filter(|seen| seen.data.is_none()).count(),
        have.values().filter(|seen| seen.stat.data_length == 100_000).count(),
        have.keys().filter(|path| !path.is_ascii()).count(),
    ];
    println!(
        "          {} nodes; ephemeral, null, large, beyond ASCII: {kinds:?}",
        have.len()
    );
    assert!(kinds.iter().all(|count| *count > 20), "{kinds:?}");
    assert_eq!(mine.terminate(), Some(0));
    clock.lap("walked through Ringkeeper's: the same");

    // More load on Java, with packed snapshots; Ringkeeper starts on what it leaves.
    fill_and_kill(&mut server, NODES / 10, 2);
    let packed = starts_on(&gz, &dir("started-gz"), ".gz");
    let snappy = dir("snappy");
    copy(&gz, &snappy, |_| true);
    let mut server = java(&snappy, &["zookeeper.snapshot.compression.method=snappy"]);
    fill_and_kill(&mut server, NODES / 10, 3);
    let more = starts_on(&snappy, &dir("started-snappy"), ".snappy");
    assert!(more > packed);
    clock.lap("Ringkeeper started on directories with gz and snappy snapshots");

    for packing in ["none", "gz", "snappy"] {
        let exported = dir(&format!("exported-{packing}"));
        let arguments = [
            "export",
            "--from",
            text(&imported),
            "--to",
            text(&exported),
            "--compression",
            packing,
        ];
        let told = converted(&[&arguments[..], &["--with-log"]].concat());
        assert!(!convert(&arguments).status.success(), "{packing}: overwritten");
        let (report, after) = read(&exported);
        let digest_now = format!("digest {after:x}");
        assert!(
            told.contains(&digest_now) && report.digest == DigestVerdict::Equal(report.zxid),
            "{told}\n{report}"
        );
        let mut server = java(&exported, &[]);
        no_mismatch(&server);
        if packing == "gz" {
            same("Apache ZooKeeper before and after", &want, &walk(server.address()));
        }
        // What it writes from here on carries the digest that it computes from our file.
        let mut load = Load::new(server.address(), 9, "/after");
        (0..300).for_each(|_| load.step());
        load.drain();
        assert!(server.terminate().is_some());
        let (report, _) = read(&exported);
        assert!(
            matches!(report.digest, DigestVerdict::Equal(at) if at.0 > 300),
            "{report}"
        );
        assert!(report.digests_equal >= 1, "{report}");
        clock.lap(&format!("Apache ZooKeeper went on from the export ({packing})"));
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Each snapshot alone with all logs gives the same tree, at the same transaction; some were written under load.
fn every_snapshot_leads_there(from: &Path, to: &Path, want: &Report, digest: u64) {
    copy(from, to, |name| name.starts_with("log."));
    let directory = Directory::list(from, from).expect("listed");
    let (mut whole, mut fuzzy) = (0, 0);
    // The newest, and some of each age.
    let step = directory.snapshots.len().div_ceil(SNAPSHOTS_TRIED).max(1);
    for file in directory.snapshots.iter().rev().step_by(step) {
        if file.check_whole().is_err() {
            continue;
        }
        let mut opened = file.open().expect("a snapshot");
        while opened.reader.next().expect("an item").is_some() {}
        let trailer = opened.reader.finish().expect("seals");
        assert_eq!(trailer.seals, 3);
        whole += 1;
        fuzzy += usize::from(trailer.last_zxid.expect("a zxid") as u64 > file.zxid.0);
        let alone = to.join("version-2").join(file.path.file_name().expect("a name"));
        fs::copy(&file.path, &alone).expect("copied");
        let (report, sum) = read(to);
        assert_eq!((report.zxid, sum), (want.zxid, digest), "{}", file.path.display());
        fs::remove_file(alone).expect("removed");
    }
    println!("          {whole} snapshots, {fuzzy} of them written under load");
    assert!(whole >= 3 && fuzzy >= 1, "{whole} and {fuzzy}");
    // Without the log behind it, none of those is a state.
    if let Some(newest) = want.snapshot.as_ref().filter(|_| want.replayed > 0) {
        let name = newest.file_name().expect("a name").to_str().expect("UTF-8");
        let (zxid, _) = parse_snapshot_name(name).expect("a snapshot's name");
        println!("          the newest whole one: zxid {zxid} of {}", want.zxid);
    }
}

/// Ringkeeper starts on a copy of a directory, leaves the originals alone, and imports only once. Gives the zxid.
fn starts_on(from: &Path, to: &Path, suffix: &str) -> u64 {
    let (report, digest) = read(from);
    let snapshot = report.snapshot.as_ref().expect("a snapshot");
    assert!(text(snapshot).ends_with(suffix), "{report}");
    assert!(matches!(report.digest, DigestVerdict::Equal(_)), "{report}");
    copy(from, to, |_| true);
    let before = listing(to);
    let mut server = ring(to);
    let told = server.output();
    assert!(told.contains("imported from Apache ZooKeeper"), "{told}");
    assert!(told.contains(&format!("zxid={}", report.zxid)), "{told}");
    server.terminate();
    server.start();
    assert!(
        server
            .output()
            .contains("passed over, because there is a store already"),
        "{}",
        server.output()
    );
    server.terminate();
    assert_eq!(listing(to), before, "the originals stay");
    // What Ringkeeper holds now, on the way back.
    let back = to.join("back");
    let told = converted(&["export", "--from", text(to), "--to", text(&back)]);
    assert!(told.contains(&format!("digest {digest:x}")), "{told}");
    report.zxid.0
}

fn listing(data: &Path) -> Vec<(String, u64)> {
    let files = fs::read_dir(data.join("version-2")).expect("version-2").flatten();
    let mut all: Vec<(String, u64)> = files
        .map(|file| {
            (
                file.file_name().to_string_lossy().into_owned(),
                file.metadata().expect("its size").len(),
            )
        })
        .collect();
    all.sort();
    all
}

/// The log that an export writes is one that Apache ZooKeeper replays: from an older snapshot it leads to the same tree
/// as the newest one does.
#[test]
fn an_exported_log_is_replayed_by_apache_zookeeper() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = |name: &str| -> PathBuf { place.path().join(name) };
    let (ours, early, late) = (dir("ours"), dir("early"), dir("late"));
    let mut server = ring(&ours);
    let change = |server: &RingServer, seed: u64, base: &str| {
        let mut load = Load::new(server.address(), seed, base);
        (0..600).for_each(|_| load.step());
        load.drain();
    };
    change(&server, 11, "/early");
    assert_eq!(server.terminate(), Some(0));
    converted(&["export", "--from", text(&ours), "--to", text(&early)]);
    let (before, _) = read(&early);
    server.start();
    change(&server, 12, "/late");
    let want = walk(server.address());
    assert_eq!(server.terminate(), Some(0));

    let told = converted(&["export", "--from", text(&ours), "--to", text(&late), "--with-log"]);
    let (report, digest) = read(&late);
    assert!(report.digest == DigestVerdict::Equal(report.zxid), "{report}");
    // No snapshot of ours was due: the log begins with the first transaction.
    let count = format!("log.1, {} transactions", report.zxid.0);
    assert!(told.contains(&count) && report.zxid.0 > before.zxid.0 + 300, "{told}");
    fs::copy(late.join("version-2/log.1"), early.join("version-2/log.1")).expect("copied");
    let (replayed, same_digest) = read(&early);
    assert_eq!((replayed.zxid, same_digest), (report.zxid, digest));
    assert_eq!(replayed.replayed, report.zxid.0 - before.zxid.0, "{replayed}");
    for (data, what) in [(&late, "the newest snapshot"), (&early, "an older one and the log")] {
        let server = java(data, &[]);
        no_mismatch(&server);
        same(
            &format!("Ringkeeper, and Apache ZooKeeper on {what}"),
            &want,
            &walk(server.address()),
        );
    }
}

/// A JVM whose charset is not UTF-8 digests paths as other bytes; the import finds out, and takes the tree.
#[test]
fn a_jvm_of_another_charset() {
    let place = tempfile::tempdir().expect("a directory");
    let mut server = java(place.path(), &["file.encoding=US-ASCII"]);
    let mut load = Load::new(server.address(), 5, "/имя");
    (0..500).for_each(|_| load.step());
    load.drain();
    server.kill9();
    let (report, _) = read(place.path());
    assert!(matches!(report.digest, DigestVerdict::OtherCharset(_)), "{report}");
}
