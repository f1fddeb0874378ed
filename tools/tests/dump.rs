//! `logdump` and `snapdump` as people run them: what they print, what they pass over, and what their status says.

mod dump_store;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ringkeeper::tree::Tree;
use ringkeeper::wire::acl::Acl;
use ringkeeper::wire::txn::{CreateTxn, Txn};
use storage::Zxid;
use storage::engine::{Engine, Options};

use dump_store::{Answer, Empty, append, create, features, header, json_lines, logdump, snapdump, store, tree_after};

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// The first words of every line: its type and its name.
fn heads(answer: &Answer) -> Vec<String> {
    let head = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    answer.out.lines().map(head).collect()
}

/// A data directory with one snapshot, of all but the last transaction; and the snapshot.
fn data_dir() -> (tempfile::TempDir, PathBuf) {
    let store = store();
    (store.dir, store.snapshot)
}

/// Regenerate it from the left side of a failure, and commit only a difference that you can explain.
const SNAPSHOT_LINES: &str = include_str!("golden/snapdump.txt");

#[test]
fn a_snapshot_in_lines() {
    let (dir, file) = data_dir();
    let answer = snapdump(&file, &["--data"]);
    let out = answer.out.replace(dir.path().to_str().unwrap(), "DIR");
    let out = out.replace(&"\\x07".repeat(70_000), "(\\x07 70000 times)");
    assert_eq!(out, SNAPSHOT_LINES);
    assert_eq!(answer.status, 0, "{}", answer.err);
    let summary = answer.err.trim_end().rsplit_once(", ").unwrap().0;
    assert!(
        summary.ends_with("snapshot.0000000100000009: zxid 0x100000009, 9 nodes, 1 session, 2 ACLs"),
        "{}",
        answer.err
    );
    assert!(answer.err.ends_with(": clean\n"), "{}", answer.err);
}

#[test]
fn the_log_in_lines() {
    let store = store();
    for given in [
        store.dir.path().join("log"),
        store.segment.parent().unwrap().to_owned(),
        store.segment.clone(),
    ] {
        let answer = logdump(&given, &["--data"]);
        let out = answer.out.replace(&"\\x07".repeat(70_000), "(\\x07 70000 times)");
        assert_eq!(out, include_str!("golden/logdump.txt"));
        let summary = "10 transactions from zxid 0x100000001, the last is 0x10000000a: clean";
        assert_eq!(
            (answer.status, answer.err),
            (0, format!("{}: {summary}\n", given.display()))
        );
    }
}

#[test]
fn logdump_filters() {
    let store = store();
    let all = "1 2 3 4 5 6 7 8 9 10";
    for (options, wanted) in [
        (&["--zxid", "0x100000003..0x100000005"][..], "3 4 5"),
        (&["--zxid", "..0x100000002"], "1 2"),
        (&["--zxid", "4294967305.."], "9 10"),
        (&["--path", "/a"], "2 3 5 7 10"),
        (&["--path", "/a/e"], "5 10"),
        (&["--path", "/t"], "6 7 8"),
        (&["--path", "/"], "2 3 4 5 6 7 8 10"),
        (&["--session", "0x1000000000000001"], all),
        (&["--session", "1152921504606846977"], all),
        (&["--session", "5"], ""),
        (&["--type", "create,create2"], "2 3 5"),
        (&["--type", "delete"], "7"),
        (&["--type", "multi,error"], "7 9"),
        (&["--type", "createTTL", "--zxid", "..0x100000007", "--path", "/t"], "6"),
        (&["--type", "createSession,closeSession"], "1 10"),
        (&["-q"], ""),
        (&[], all),
    ] {
        let answer = logdump(&store.segment, &[&["--json"], options].concat());
        let zxid = |line: &serde_json::Value| {
            let zxid = u64::from_str_radix(&line["zxid"].as_str().unwrap()[2..], 16).unwrap();
            Zxid(zxid).counter().to_string()
        };
        let zxids: Vec<String> = json_lines(&answer).iter().map(zxid).collect();
        assert_eq!(zxids.join(" "), wanted, "{options:?}");
        assert_eq!(answer.status, 0, "{options:?}: {}", answer.err);
        if !zxids.is_empty() && wanted != all {
            assert!(answer.err.contains(&format!(
                "10 transactions from zxid 0x100000001 ({} printed)",
                zxids.len()
            )));
        }
    }
}

#[test]
fn the_log_in_json_has_the_documented_keys() {
    let store = store();
    let lines = json_lines(&logdump(&store.segment, &["--json"]));
    let with_data = json_lines(&logdump(&store.segment, &["--json", "--data"]));
    assert_eq!((lines.len(), with_data.len()), (10, 10));
    let every = ["cxid", "digest", "file", "offset", "session", "time", "type", "zxid"];
    let create = "acl dataLength parentCversion path";
    let wanted = [
        "timeout".to_owned(),
        format!("{create} ephemeral"),
        format!("{create} ephemeral"),
        create.to_owned(),
        format!("{create} ephemeral"),
        format!("{create} ttl"),
        "changes".to_owned(),
        format!("{create} ttl"),
        "code".to_owned(),
        "paths".to_owned(),
    ];
    for ((line, with_data), own) in lines.iter().zip(&with_data).zip(&wanted) {
        let mut wanted: Vec<&str> = every.into_iter().chain(own.split(' ')).collect();
        wanted.retain(|key| *key != "digest" || line["type"] != "error");
        wanted.sort_unstable();
        assert_eq!(keys(line), wanted.join(" "), "{line}");
        if line.get("dataLength").is_some() {
            wanted.push("data");
            wanted.sort_unstable();
        }
        assert_eq!(keys(with_data), wanted.join(" "));
    }
    assert_eq!(keys(&with_data[6]["changes"][0]), "data dataLength path type version");
    assert_eq!(keys(&with_data[6]["changes"][1]), "path type");
    assert_eq!(with_data[6]["changes"][0]["data"], "dHdv");
    assert_eq!(with_data[2]["data"], serde_json::Value::Null);
    assert_eq!(with_data[9]["paths"], serde_json::json!(["/a/e"]));
    assert_eq!(lines[0]["file"], store.segment.to_str().unwrap());
    let offsets: Vec<u64> = lines.iter().map(|line| line["offset"].as_u64().unwrap()).collect();
    assert!(offsets.is_sorted() && offsets[0] > 4096, "{offsets:?}");
    // The snapshot was taken of the same history: the digests of the two tools meet.
    let snapshot = json_lines(&snapdump(&store.snapshot, &["--json", "--type", "snapshot"]));
    // An error changes nothing and carries no digest.
    assert_eq!(
        (&snapshot[0]["zxid"], &snapshot[0]["digest"]),
        (&lines[8]["zxid"], &lines[7]["digest"])
    );
}

/// Where each record of a log begins.
fn offsets(segment: &Path) -> Vec<usize> {
    let lines = json_lines(&logdump(segment, &["--json"]));
    lines
        .iter()
        .map(|line| line["offset"].as_u64().unwrap() as usize)
        .collect()
}

#[test]
fn the_help_names_every_key_and_every_type() {
    let store = store();
    for (answer, help) in [
        (
            logdump(&store.segment, &["--json", "--data"]),
            logdump(&store.segment, &["--help"]),
        ),
        (
            snapdump(&store.snapshot, &["--json", "--data"]),
            snapdump(&store.snapshot, &["--help"]),
        ),
    ] {
        let (_, documented) = help.out.split_once("JSON lines").expect("a list of keys");
        let words = |text: &str| -> Vec<String> {
            text.split(|c: char| !c.is_ascii_alphanumeric())
                .map(str::to_owned)
                .collect()
        };
        let (documented, all) = (words(documented), words(&help.out));
        for line in json_lines(&answer) {
            let missing: Vec<String> = words(&keys(&line))
                .into_iter()
                .filter(|key| !documented.contains(key))
                .collect();
            // `type` is said of every line, above the list.
            assert!(missing.iter().all(|key| key == "type"), "{missing:?}: {}", help.out);
            assert!(all.contains(&line["type"].as_str().unwrap().to_owned()), "{line}");
        }
    }
}

#[test]
fn a_torn_tail_is_status_one() {
    let store = store();
    let mut bytes = std::fs::read(&store.segment).unwrap();
    // Of the fourth batch, 70 KB, its first sector came; nothing else of it, and no later one was written.
    let batch = offsets(&store.segment)[3] / 4096 * 4096;
    bytes[batch + 512..].fill(0);
    std::fs::write(&store.segment, &bytes).unwrap();
    let answer = logdump(&store.dir.path().join("log"), &["--type", "create"]);
    assert_eq!(answer.status, 1, "{}", answer.err);
    assert_eq!(answer.out.lines().count(), 1, "{}", answer.out);
    let torn = "3 transactions from zxid 0x100000001 (1 printed): TORN tail of zxids 0x100000004 to 0x100000004: ";
    let place = format!(
        " of {} from offset {batch} on; recovery cuts it\n",
        store.segment.display()
    );
    assert!(
        answer.err.contains(torn) && answer.err.ends_with(&place),
        "{}",
        answer.err
    );
}

#[test]
fn damage_in_the_log_is_told_by_place_and_status() {
    let store = store();
    let good = std::fs::read(&store.segment).unwrap();
    let offsets = offsets(&store.segment);
    // In the data of the large node, sectors behind its head.
    let place = offsets[3] + 10_000;
    let mut flipped = good.clone();
    flipped[place] ^= 1;
    std::fs::write(&store.segment, &flipped).unwrap();
    let answer = logdump(&store.segment, &[]);
    assert_eq!(answer.status, 2, "{}", answer.err);
    assert_eq!(
        answer.out.lines().count(),
        3,
        "what is before the damage is told: {}",
        answer.out
    );
    assert!(
        answer
            .err
            .contains(&format!("CORRUPT: {} at offset ", store.segment.display())),
        "{}",
        answer.err
    );
    let told: usize = answer
        .err
        .split("at offset ")
        .nth(1)
        .unwrap()
        .split(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!((told..told + 512).contains(&place), "damage at {place}, told {told}");

    for (bytes, said) in [
        (&b""[..], "CORRUPT"),
        (b"ZKLG\0\0\0\x02", "CORRUPT"),
        (&good[..good.len() - 1], "CORRUPT"),
    ] {
        std::fs::write(&store.segment, bytes).unwrap();
        let answer = logdump(&store.segment, &[]);
        assert_eq!(answer.status, 2, "{}", answer.err);
        assert!(answer.err.contains(said), "{}", answer.err);
    }
}

#[test]
fn records_without_sense_are_corruption() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: dir.path().to_owned(),
        log_dir: dir.path().to_owned(),
        segment_bytes: 1 << 20,
        segment_bytes_first: 1 << 20,
        background: false,
        ..Options::default()
    };
    let (engine, mut log, _) = Engine::open(options, &mut Empty).unwrap();
    append(&mut log, Zxid(1), b"no transaction");
    let mut payload = Vec::new();
    Txn::Error(-1).append(&header(0), None, &mut payload);
    append(&mut log, Zxid(2), &payload);
    drop((log, engine));
    let answer = logdump(dir.path(), &[]);
    assert_eq!((answer.status, answer.out.as_str()), (2, ""), "{}", answer.err);
    assert!(
        answer
            .err
            .contains("the transaction does not decode: 8 bytes needed, 2 left"),
        "{}",
        answer.err
    );
    assert!(
        answer
            .err
            .contains("the record says 0x2, the transaction in it 0x100000001"),
        "{}",
        answer.err
    );
}

#[test]
fn the_worst_file_decides() {
    let store = store();
    let missing = store.dir.path().join("none");
    let good = store.segment.to_str().unwrap();
    assert_eq!(logdump(&missing, &[]).status, 3);
    assert_eq!(logdump(&missing, &["-q", good]).status, 3);
    assert_eq!(logdump(&store.segment, &["-q", good]).status, 0);
    let broken = store.dir.path().join("broken");
    std::fs::write(&broken, b"").unwrap();
    assert_eq!(logdump(&store.segment, &["-q", broken.to_str().unwrap()]).status, 2);
    let answer = logdump(store.dir.path(), &[]);
    assert_eq!(answer.status, 3);
    assert!(
        answer.err.contains("no log segment in this directory"),
        "{}",
        answer.err
    );
    assert_eq!(logdump(&store.segment, &["--type", "reconfigure"]).status, 3);
}

#[test]
fn snapdump_filters() {
    let (_dir, file) = data_dir();
    let nodes = "persistent,ephemeral,container,ttl";
    for (options, wanted) in [
        (
            &["--path", "/a"][..],
            "snapshot, persistent /a, persistent /a/b, ephemeral /a/e",
        ),
        (
            &["--path", "/a", "--type", nodes, "--zxid", "0x100000005.."],
            "persistent /a, ephemeral /a/e",
        ),
        (
            &["--zxid", "..0x100000003", "--type", nodes, "--path", "/a"],
            "persistent /a, persistent /a/b",
        ),
        (&["--zxid", "4294967300", "--type", nodes], "container /a-c"),
        (
            &["--session", "0x1000000000000001"],
            "snapshot, ephemeral /a/e, session 0x1000000000000001",
        ),
        (&["--session", "2"], "snapshot"),
        (&["--type", "session,acl"], "session 0x1000000000000001, acl 1, acl 2"),
        (&["--type", "ttl"], "ttl /t"),
        (&["--path", "/none", "--type", nodes], ""),
        (&["--quiet"], ""),
    ] {
        let answer = snapdump(&file, options);
        let heads: Vec<String> = heads(&answer)
            .into_iter()
            .map(|head| {
                if head.starts_with("snapshot ") {
                    "snapshot".into()
                } else {
                    head
                }
            })
            .collect();
        assert_eq!(heads.join(", "), wanted, "{options:?}");
        assert_eq!(answer.status, 0, "{options:?}: {}", answer.err);
    }
}

fn keys(object: &serde_json::Value) -> String {
    let keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.join(" ")
}

#[test]
fn a_snapshot_in_json_has_the_documented_keys() {
    let (_dir, file) = data_dir();
    let plain = snapdump(&file, &["--json"]);
    assert_eq!(plain.status, 0, "{}", plain.err);
    let node = "acl aclId aversion children ctime cversion czxid dataLength mtime mzxid path pzxid type version";
    let with = |key: &str| {
        let mut keys: Vec<&str> = node.split(' ').chain([key]).collect();
        keys.sort_unstable();
        keys.join(" ")
    };
    let lines = json_lines(&plain);
    assert_eq!(lines.len(), SNAPSHOT_LINES.lines().count());
    for line in &lines {
        let wanted = match line["type"].as_str().unwrap() {
            "snapshot" => "containers dataBytes digest ephemerals file nodes sessions ttls type zxid".to_owned(),
            "persistent" | "container" => node.to_owned(),
            "ephemeral" => with("owner"),
            "ttl" => with("ttl"),
            "session" => "ephemerals session timeout type".to_owned(),
            "acl" => "acl aclId type users".to_owned(),
            other => panic!("type {other}"),
        };
        assert_eq!(keys(line), wanted, "{line}");
    }
    let data = json_lines(&snapdump(&file, &["--json", "--data", "--path", "/a"]));
    let found: Vec<_> = data[1..]
        .iter()
        .map(|line| (line["path"].as_str().unwrap(), &line["data"], &line["dataLength"]))
        .collect();
    let (two, nothing, zero) = (serde_json::json!("dHdv"), serde_json::json!(""), serde_json::json!(0));
    let null = serde_json::Value::Null;
    assert_eq!(
        found,
        [
            ("/a", &two, &serde_json::json!(3)),
            ("/a/b", &null, &null),
            ("/a/e", &nothing, &zero)
        ]
    );
    assert_eq!(
        data[2]["acl"],
        serde_json::json!([{"scheme": "ip", "id": "10.0.0.0/8", "perms": "rw"}])
    );
    assert_eq!(data[3]["owner"], "0x1000000000000001");
}

#[test]
fn a_directory_means_its_newest_snapshot() {
    let (dir, file) = data_dir();
    let older = file.with_file_name("snapshot.0000000100000008");
    std::fs::copy(&file, &older).unwrap();
    std::fs::write(file.with_file_name("snapshot.000000020000000a.tmp"), b"half").unwrap();
    let summaries = |options: &[&str], given: &Path| {
        let answer = snapdump(given, options);
        assert_eq!(answer.status, 0, "{}", answer.err);
        let name = |line: &str| line[line.find("snapshot.").unwrap()..][..25].to_owned();
        answer.err.lines().map(name).collect::<Vec<_>>().join(" ")
    };
    for given in [dir.path().join("data").as_path(), file.parent().unwrap()] {
        assert_eq!(summaries(&["-q"], given), "snapshot.0000000100000009");
        assert_eq!(
            summaries(&["-q", "--all"], given),
            "snapshot.0000000100000008 snapshot.0000000100000009"
        );
    }
}

#[test]
fn snapdump_tells_damage_by_place_and_status() {
    let (_dir, file) = data_dir();
    let good = std::fs::read(&file).unwrap();
    let check = |bytes: &[u8], said: &str| {
        std::fs::write(&file, bytes).unwrap();
        let answer = snapdump(&file, &[]);
        assert_eq!(answer.status, 2, "{}", answer.err);
        assert!(answer.err.contains(said), "{} lacks {said:?}", answer.err);
        assert_eq!(answer.out, "", "nothing of a damaged snapshot is told as true");
    };
    let mut flipped = good.clone();
    flipped[200] ^= 1;
    check(&flipped, "damaged at offset 93");
    check(
        &good[..good.len() - 1],
        &format!("ends at offset {} without a trailer", good.len() - 1),
    );
    check(b"", "is empty");
    check(b"ZKSN\0\0\0\x02", "the snapshot ends at offset 8, inside the header");
}

#[test]
fn snapdump_tells_contents_that_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("snapshot.1");
    let view = tree_after(9).view();
    let check = |said: &str, change: &dyn Fn(&mut Entries)| {
        let mut entries: Vec<_> = view
            .entries()
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect();
        change(&mut entries);
        let mut pairs = entries.iter().map(|(key, value)| (&key[..], &value[..]));
        let mut out = std::fs::File::create(&file).unwrap();
        storage::snapshot::write(&mut out, view.totals().zxid, 7, &view.meta(), &mut pairs, None).unwrap();
        let answer = snapdump(&file, &["-q"]);
        assert_eq!(answer.status, if said == "clean" { 0 } else { 2 }, "{}", answer.err);
        assert!(answer.err.contains(said), "{} lacks {said:?}", answer.err);
    };
    let without = |key: &'static [u8]| move |entries: &mut Entries| entries.retain(|(k, _)| k != key);
    let changed = |key: &'static [u8], value: &'static [u8]| {
        move |entries: &mut Entries| {
            entries.iter_mut().find(|(k, _)| k == key).expect("it is there").1 = value.to_vec();
        }
    };
    check("clean", &|_| {});
    check("its totals say 9 nodes, its entries 8", &without(b"n/a/b"));
    check("its digest should be", &changed(b"d/a-c", &[8; 70_000]));
    check("/a-c has a node but no data", &without(b"d/a-c"));
    check(
        "node /a-c should have 70000 bytes of data, 3 are there",
        &changed(b"d/a-c", b"abc"),
    );
    check("ACL 2 is used by a node and not there", &without(b"a\0\0\0\x02"));
    check("1 sessions, its entries 0", &without(b"s\x10\0\0\0\0\0\0\x01"));
    check("lists), its entries 6", &without(b"c/a\0\0\0\0"));
    check("node /a/b is not whole", &changed(b"n/a/b", b"\0"));
    check("is of no known kind", &|entries| entries.push((b"?".to_vec(), vec![])));
}

#[test]
fn wrong_usage_is_status_three_and_help_is_not() {
    let (dir, file) = data_dir();
    for (options, said) in [
        (&["--zxid", "7..3"][..], "0x7 is above 0x3"),
        (&["--zxid", "seven"], "hexadecimal ones begin with 0x"),
        (&["--path", "a"], "must start with '/'"),
        (
            &["--type", "node"],
            "there is no type \"node\"; the types are snapshot, persistent",
        ),
        (&["--nonsense"], "unexpected argument"),
    ] {
        let answer = snapdump(&file, options);
        assert_eq!(answer.status, 3, "{options:?}: {}", answer.err);
        assert!(answer.err.contains(said), "{options:?}: {}", answer.err);
    }
    assert_eq!(snapdump(&dir.path().join("none"), &[]).status, 3);
    let empty = tempfile::tempdir().unwrap();
    let answer = snapdump(empty.path(), &[]);
    assert_eq!(answer.status, 3);
    assert!(answer.err.contains("no snapshot in this directory"), "{}", answer.err);
    let help = snapdump(&file, &["--help"]);
    assert_eq!((help.status, help.err.as_str()), (0, ""));
    assert!(
        help.out
            .contains("Exit status: 0 all clean, 1 a log with a torn tail, 2 corruption, 3"),
        "{}",
        help.out
    );
}

#[test]
fn a_closed_pipe_is_success() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("snapshot.1");
    let mut tree = Tree::new(7, features());
    for n in 0..20_000 {
        let change = create(
            &format!("/n{n}"),
            None,
            vec![Acl::anyone(31)],
            CreateTxn::Plain { ephemeral: false },
        );
        tree.apply(&header(n), &Txn::Change(change), &mut Vec::new());
    }
    let view = tree.view();
    let mut out = std::fs::File::create(&file).unwrap();
    storage::snapshot::write(&mut out, view.totals().zxid, 7, &view.meta(), &mut view.entries(), None).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_snapdump"))
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let answer = child.wait_with_output().unwrap();
    assert_eq!(
        answer.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&answer.stderr)
    );
}
