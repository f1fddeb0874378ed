//! What the dump tools tell of a whole: `snapdump --summary` and `--diff`, `logdump --stats`; and what they cost.

mod dump_store;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringkeeper::tree::Tree;
use ringkeeper::wire::acl::Acl;
use ringkeeper::wire::txn::{Change, CreateTxn, Txn, TxnHeader};
use serde_json::{Value, json};
use storage::Zxid;
use storage::engine::{Engine, Options};

use dump_store::{
    Answer, Empty, append, create, expect_golden, features, json_lines, logdump, snapdump, store, tree_of,
    write_snapshot,
};

fn diff(from: &Path, to: &Path, options: &[&str]) -> Answer {
    snapdump(to, &[&["--diff"], options, &[from.to_str().unwrap()]].concat())
}

/// A log of the engine's in a directory: a batch for each transaction, each with its header.
fn write_log(dir: &Path, segment_bytes: u64, txns: impl Iterator<Item = (TxnHeader, Txn)>) {
    let options = Options {
        data_dir: dir.to_owned(),
        log_dir: dir.to_owned(),
        segment_bytes,
        segment_bytes_first: segment_bytes,
        background: false,
        purge: false,
        ..Options::default()
    };
    let (engine, mut log, _) = Engine::open(options, &mut Empty).unwrap();
    for (header, txn) in txns {
        let mut payload = Vec::new();
        txn.append(&header, None, &mut payload);
        append(&mut log, Zxid(header.zxid as u64), &payload);
    }
    drop((log, engine));
}

#[test]
fn a_summary_for_people_and_for_programs() {
    let store = store();
    let answer = snapdump(&store.snapshot, &["--summary", "--top", "3", "--depth", "1"]);
    assert_eq!(answer.status, 0, "{}", answer.err);
    let text = answer.out.replace(store.dir.path().to_str().unwrap(), "DIR");
    expect_golden("snapdump-summary.txt", &text);

    let lines = json_lines(&snapdump(&store.snapshot, &["--summary", "--json", "--depth", "2"]));
    let [summary] = &lines[..] else {
        panic!("one line: {lines:?}")
    };
    let kinds = ["nodes", "persistent", "ephemerals", "containers", "ttls"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!(kinds, [9, 6, 1, 1, 1]);
    assert_eq!(
        (&summary["dataBytes"], &summary["pathBytes"]),
        (&json!(70_004), &json!(59))
    );
    let head = &json_lines(&snapdump(&store.snapshot, &["--json", "--type", "snapshot"]))[0];
    assert_eq!((&summary["zxid"], &summary["nodes"]), (&head["zxid"], &head["nodes"]));
    assert_eq!(
        summary["subtreesByNodes"][0],
        json!({"path": "/", "nodes": 9, "bytes": 70_063})
    );
    assert_eq!(
        summary["subtreesByNodes"][1],
        json!({"path": "/a", "nodes": 3, "bytes": 13})
    );
    assert_eq!(
        summary["subtreesByBytes"][1],
        json!({"path": "/a-c", "nodes": 1, "bytes": 70_004})
    );
    assert_eq!(
        summary["largestNodes"][0],
        json!({"path": "/a-c", "dataLength": 70_000})
    );
    assert_eq!(summary["mostChildren"][0], json!({"path": "/", "children": 4}));
    assert_eq!(
        summary["topSessions"],
        json!([{"session": "0x1000000000000001", "timeout": 4000, "ephemerals": 1}])
    );
    assert_eq!(
        (&summary["orphans"], &summary["emptyContainers"], &summary["ttlMin"]),
        (&json!(0), &json!(1), &json!(6000))
    );
    assert_eq!(summary["topAcls"].as_array().unwrap().len(), 3);
    assert_eq!(summary["topAcls"][0]["nodes"], 7);

    // With a prefix, depth is counted from it, and only what is below counts.
    let below = &json_lines(&snapdump(
        &store.snapshot,
        &["--summary", "--json", "--depth", "1", "--path", "/a"],
    ))[0];
    let paths: Vec<&str> = below["subtreesByNodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["path"].as_str().unwrap())
        .collect();
    assert_eq!((below["nodes"].as_u64(), paths), (Some(3), vec!["/a", "/a/b", "/a/e"]));
}

#[test]
fn the_help_names_every_key_of_the_reports() {
    let store = store();
    for (answer, help) in [
        (
            snapdump(&store.snapshot, &["--summary", "--json"]),
            snapdump(&store.snapshot, &["--help"]),
        ),
        (
            logdump(&store.segment, &["--stats", "--json"]),
            logdump(&store.segment, &["--help"]),
        ),
    ] {
        let words: Vec<&str> = help.out.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        for key in json_lines(&answer)[0]
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| *key != "type")
        {
            assert!(words.contains(&key.as_str()), "{key} is not in {}", help.out);
        }
    }
}

#[test]
fn what_changed_between_two_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("snapshot.5"), dir.path().join("snapshot.a"));
    write_snapshot(&mut tree_of(7, 6), &from);
    let mut tree = tree_of(99, 10);
    let header = |counter: u32| TxnHeader {
        session: 0x77,
        cxid: 0,
        zxid: Zxid::new(1, counter).0 as i64,
        time_ms: 1_700_000_100_000,
    };
    let local = Change::SetAcl {
        path: "/a/b".into(),
        acl: vec![Acl::anyone(1)],
        version: 1,
    };
    tree.apply(&header(11), &Txn::Change(local), &mut vec![]);
    let same = Change::SetData {
        path: "/a-c".into(),
        data: Some(vec![7; 70_000]),
        version: 1,
    };
    tree.apply(&header(12), &Txn::Change(same), &mut vec![]);
    tree.apply(&header(13), &Txn::CreateSession { timeout_ms: 9000 }, &mut vec![]);
    let new = create(
        "/a/new",
        Some(b"n"),
        vec![Acl::anyone(31)],
        CreateTxn::Plain { ephemeral: true },
    );
    tree.apply(&header(14), &Txn::Change(new), &mut vec![]);
    write_snapshot(&mut tree, &to);

    let answer = diff(&to, &from, &[]);
    assert_eq!(answer.status, 4, "the other way round they differ too: {}", answer.err);
    let answer = diff(&from, &to, &[]);
    assert_eq!(answer.status, 4, "{}", answer.err);
    let text = answer.out.replace(dir.path().to_str().unwrap(), "DIR");
    expect_golden("snapdump-diff.txt", &text);
    assert!(answer.err.contains("they differ: "), "{}", answer.err);

    let lines = json_lines(&diff(&from, &to, &["--json", "--data"]));
    let told: Vec<String> = lines
        .iter()
        .map(|line| {
            format!(
                "{} {}",
                line["type"].as_str().unwrap(),
                line["path"].as_str().or(line["session"].as_str()).unwrap_or("-")
            )
        })
        .collect();
    let wanted = [
        "stat /",
        "data /a",
        "acl /a/b",
        "deleted /a/e",
        "created /a/new",
        "data /a-c",
        "recreated /t",
        "sessionCreated 0x77",
        "sessionClosed 0x1000000000000001",
        "diff -",
    ];
    assert_eq!(told, wanted);
    assert_eq!(
        (&lines[1]["from"]["data"], &lines[1]["to"]["data"]),
        (&json!("b25lCg=="), &json!("dHdv"))
    );
    assert_eq!(
        (&lines[1]["from"]["version"], &lines[1]["to"]["version"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(lines[1]["changed"], json!(["data", "stat"]));
    assert_eq!(
        (&lines[5]["sameBytes"], &lines[5]["to"]["version"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(lines[9]["created"], 1);
    assert_eq!(lines[9]["from"]["zxid"], "0x100000006");

    // Filters, by path, by type (also inside `changed`), by session; and nothing but the status.
    for (options, wanted) in [
        (&["--path", "/a", "--type", "deleted,created"][..], "deleted created"),
        (&["--type", "stat"], "stat data recreated"),
        (
            &["--session", "0x77", "--type", "created,sessionCreated"],
            "created sessionCreated",
        ),
        (&["--zxid", "0x10000000b", "--type", "acl,data,stat"], ""),
        (&["--path", "/zookeeper"], "diff"),
        (&["--quiet"], ""),
    ] {
        let answer = diff(&from, &to, options);
        let words: Vec<&str> = answer.out.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(words.join(" "), wanted, "{options:?}");
        let differs = !wanted.is_empty() && wanted != "diff" || options == ["--quiet"];
        assert_eq!(
            answer.status,
            if differs { 4 } else { 0 },
            "{options:?}: {}",
            answer.err
        );
    }
}

#[test]
fn equal_trees_do_not_differ_whatever_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("snapshot.1"), dir.path().join("snapshot.2"));
    write_snapshot(&mut tree_of(1, 10), &one);
    write_snapshot(&mut tree_of(2, 10), &other);
    assert_ne!(std::fs::read(&one).unwrap(), std::fs::read(&other).unwrap());
    for options in [&[][..], &["--data"], &["--memory", "1"]] {
        let answer = diff(&one, &other, options);
        assert_eq!(answer.status, 0, "{}", answer.err);
        assert!(
            answer.out.starts_with("diff ") && answer.out.lines().count() == 1,
            "{}",
            answer.out
        );
    }
    // One that is damaged, one that is not there, one too many.
    let mut bytes = std::fs::read(&other).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&other, &bytes).unwrap();
    let answer = diff(&one, &other, &[]);
    assert_eq!((answer.status, answer.out.as_str()), (2, ""), "{}", answer.err);
    assert!(answer.err.contains("damaged at offset"), "{}", answer.err);
    assert_eq!(diff(&one, &dir.path().join("none"), &[]).status, 3);
    assert_eq!(diff(&one, &other, &[one.to_str().unwrap()]).status, 3);
    assert_eq!(snapdump(&other, &["--summary"]).status, 2);
}

#[test]
fn the_stats_of_a_small_log() {
    let store = store();
    let answer = logdump(&store.segment, &["--stats"]);
    assert_eq!(answer.status, 0, "{}", answer.err);
    let text = answer.out.replace(store.dir.path().to_str().unwrap(), "DIR");
    expect_golden("logdump-stats.txt", &text);
    let multi = &json_lines(&logdump(&store.segment, &["--stats", "--json", "--type", "multi"]))[0];
    assert_eq!(
        (&multi["transactions"], &multi["zxidFirst"]),
        (&json!(1), &json!("0x100000007"))
    );
    assert_eq!(
        multi["changesInMultis"],
        json!([{"name": "delete", "count": 1}, {"name": "setData", "count": 1}])
    );
}

#[test]
fn the_stats_of_a_known_log() {
    const START: i64 = 1_700_000_000_000;
    let dir = tempfile::tempdir().unwrap();
    // Four a second for 150 seconds, of three sessions; and in one second twenty more.
    let regular = (0..600i64).map(|n| (n % 3, START + n * 250));
    let burst = (0..20i64).map(|n| (2, START + 150_000 + n * 10));
    let all: Vec<(i64, i64)> = regular.chain(burst).collect();
    let txns = all.iter().enumerate().map(|(index, (session, time_ms))| {
        let header = TxnHeader {
            session: 10 + session,
            cxid: 1,
            zxid: Zxid::new(3, 1 + index as u32).0 as i64,
            time_ms: *time_ms,
        };
        let txn = match session {
            0 => Txn::Change(Change::SetData {
                path: "/a".into(),
                data: Some(vec![1; 1000]),
                version: 1,
            }),
            1 => Txn::Change(create(
                &format!("/n{index}"),
                None,
                vec![Acl::anyone(31)],
                CreateTxn::Container,
            )),
            _ => Txn::Error(-110),
        };
        (header, txn)
    });
    write_log(dir.path(), 1 << 20, txns);
    let stats = &json_lines(&logdump(dir.path(), &["--stats", "--json", "--top", "2"]))[0];
    assert_eq!(
        (&stats["transactions"], &stats["sessions"], &stats["epochs"]),
        (&json!(620), &json!(3), &json!(1))
    );
    assert_eq!(stats["spanMs"], 150_190);
    assert_eq!(
        stats["perSecond"],
        json!({"mean": 4.1, "peak": 20, "peakTime": START + 150_000})
    );
    let types: Vec<(&str, u64)> = stats["types"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["name"].as_str().unwrap(), row["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(types, [("error", 220), ("createContainer", 200), ("setData", 200)]);
    assert_eq!(stats["errors"], json!([{"code": -110, "count": 220}]));
    let sessions = stats["topSessions"].as_array().unwrap();
    assert_eq!(
        (sessions.len(), &sessions[0]["session"], &sessions[0]["count"]),
        (2, &json!("0xc"), &json!(220))
    );
    assert_eq!(
        (&sessions[0]["zxidFirst"], &sessions[0]["timeLast"]),
        (&json!("0x300000003"), &json!(START + 150_190))
    );
    // A header is 32 bytes, an error 4 more; setData has 4 + 2 + 4 + 1000 + 4.
    let bytes = |name: &str| {
        stats["types"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["name"] == name)
            .unwrap()["bytes"]
            .as_u64()
            .unwrap()
    };
    assert_eq!((bytes("error"), bytes("setData")), (220 * 36, 200 * (32 + 1014)));
    let sizes = &stats["bytesPerTransaction"];
    assert_eq!(
        (sizes["p50"].as_u64().unwrap() < 100, &sizes["max"]),
        (true, &json!(1046))
    );
    assert!((1046..=1047).contains(&sizes["p99"].as_u64().unwrap()), "{sizes}");
    // 151 seconds make sixteen intervals of ten: the first has forty, the last the twenty.
    assert_eq!(stats["intervalMs"], 10_000);
    let intervals = stats["intervals"].as_array().unwrap();
    let count = |row: &Value| row["count"].as_u64().unwrap();
    assert_eq!(
        (intervals.len(), count(&intervals[0]), count(&intervals[15])),
        (16, 40, 20)
    );
    assert_eq!(intervals.iter().map(count).sum::<u64>(), 620);
    assert_eq!(intervals[0]["time"], START);
}

/// Runs a tool to its end, its lines thrown away; gives its status and the most memory it had.
fn peak_bytes(mut command: Command) -> (i32, u64) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    loop {
        peak = peak.max(high_water(&child));
        if let Some(status) = child.try_wait().unwrap() {
            return (status.code().expect("ended by itself"), peak);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The most memory that a process has had so far, files mapped into it included.
fn high_water(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |line| {
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    })
}

fn tool(program: &str, options: &[&str], files: &[&Path]) -> Command {
    let mut command = Command::new(program);
    command.args(options).args(files);
    command
}

/// A snapshot of so many nodes: 100 bytes of data that do not compress, paths of some 30.
fn large_snapshot(nodes: u32, file: &Path) {
    let mut tree = Tree::new(7, features());
    let mut state = 1u64;
    let mut fired = Vec::new();
    for n in 0..nodes {
        let header = TxnHeader {
            session: 1,
            cxid: 0,
            zxid: i64::from(n) + 1,
            time_ms: 1_700_000_000_000,
        };
        let mut data = [0; 104];
        for chunk in data.chunks_exact_mut(8) {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            chunk.copy_from_slice(&(state >> 5).to_le_bytes());
        }
        let path = match n {
            0..100 => format!("/group-{n:02}"),
            _ => format!("/group-{:02}/application-{n:012}", n % 100),
        };
        let change = create(
            &path,
            Some(&data[..100]),
            vec![Acl::anyone(31)],
            CreateTxn::Plain { ephemeral: false },
        );
        tree.apply(&header, &Txn::Change(change), &mut fired);
        fired.clear();
    }
    write_snapshot(&mut tree, file);
}

#[test]
fn a_large_snapshot_and_a_long_log_take_little_memory() {
    const MIB: u64 = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let (small, large) = (dir.path().join("snapshot.1"), dir.path().join("snapshot.2"));
    large_snapshot(50_000, &small);
    large_snapshot(500_000, &large);
    let snapdump = env!("CARGO_BIN_EXE_snapdump");
    for (options, files, wanted) in [
        (&["--memory", "8", "--data"][..], &[&*large][..], 0),
        (&["--memory", "8"], &[&*large], 0),
        (&["--memory", "8", "--summary"], &[&*large], 0),
        (&["--memory", "8", "--summary", "--depth", "9"], &[&*large], 0),
        (&["--memory", "8", "--diff"], &[&*small, &*large], 4),
    ] {
        let (status, peak) = peak_bytes(tool(snapdump, options, files));
        let bytes = large.metadata().unwrap().len();
        println!(
            "snapdump {options:?}: {} MiB at most, the file has {}",
            peak / MIB,
            bytes / MIB
        );
        assert_eq!(status, wanted, "{options:?}");
        // The file and what is in it are 50 and 100 MiB.
        assert!(bytes > 48 * MIB, "the test is of a large file: {bytes}");
        assert!((2 * MIB..40 * MIB).contains(&peak), "{options:?} took {peak} bytes");
    }

    let log = dir.path().join("log");
    let txns = (0..1500u32).map(|n| {
        let header = TxnHeader {
            session: i64::from(n),
            cxid: 0,
            zxid: Zxid::new(1, n + 1).0 as i64,
            time_ms: i64::from(n),
        };
        (
            header,
            Txn::Change(Change::SetData {
                path: "/a".into(),
                data: Some(vec![n as u8; 50_000]),
                version: 1,
            }),
        )
    });
    write_log(&log, 4 * MIB, txns);
    let segments = std::fs::read_dir(log.join("ringkeeper-1")).unwrap().count();
    assert!(segments > 10, "{segments} files");
    for options in [&["--stats"][..], &["--data"]] {
        let (status, peak) = peak_bytes(tool(env!("CARGO_BIN_EXE_logdump"), options, &[&log]));
        println!(
            "logdump {options:?}: {} MiB at most, 75 MB in {segments} files",
            peak / MIB
        );
        assert_eq!(status, 0);
        assert!((2 * MIB..32 * MIB).contains(&peak), "{options:?} took {peak} bytes");
    }

    // The same large file at a terminal: a bar with rate and what is left, unless it is not wanted or not seen.
    for (ending, bar) in [("", true), (" --no-progress", false), (" 2>/dev/null", false)] {
        let shell = format!("stty cols 120; {snapdump} -q {}{ending}", large.display());
        let mut script = Command::new("script");
        let script = script
            .args(["-qec", &shell, "/dev/null"])
            .env("TERM", "xterm")
            .stdin(Stdio::null());
        let output = script
            .output()
            .expect("'script' is missing: install util-linux (Debian: bsdutils)");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert_eq!(shown.contains("snapshot.2 ["), bar, "{ending:?}: {shown}");
        assert_eq!(
            shown.contains("iB/s") && shown.contains(" left"),
            bar,
            "{ending:?}: {shown}"
        );
    }
    let piped = Command::new(snapdump).arg("-q").arg(&large).output().unwrap();
    let err = String::from_utf8(piped.stderr).unwrap();
    assert!(
        !err.contains("iB/s") && err.lines().count() == 1,
        "no terminal, no bar: {err}"
    );
}
