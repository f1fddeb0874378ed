//! `zk-convert` from the outside, without a server: what it makes, what it says, what it refuses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use storage::apache::snapshot::{DIGEST_VERSION, Digest, Item, Node, Writer};
use storage::apache::{Acl, Compression, Directory, OPEN_ACL, Stat};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A directory of ZooKeeper's with one snapshot of zxid 0x100000005.
    fn apache(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.join("version-2")).expect("a directory");
        let mut bytes = snapshot();
        change(&mut bytes);
        fs::write(path.join("version-2/snapshot.100000005"), bytes).expect("a snapshot");
        path
    }
}

const ZXID: i64 = 0x1_0000_0005;

fn nodes() -> Vec<(&'static str, Option<&'static [u8]>, i64, Stat)> {
    let stat = |owner: i64, pzxid: i64| Stat {
        czxid: 5,
        mzxid: 6,
        ctime: 7,
        mtime: 8,
        version: -3,
        cversion: 4,
        aversion: 2,
        owner,
        pzxid,
    };
    vec![
        ("", Some(b""), OPEN_ACL, Stat::default()),
        ("/zookeeper", None, OPEN_ACL, Stat::default()),
        ("/a", None, 1, stat(0, ZXID)),
        ("/a/имя", Some(b""), 2, stat(0x77, 9)),
        ("/a/c", Some(b"c"), OPEN_ACL, stat(i64::MIN, 9)),
        ("/a/t", Some(&[5; 9000]), 2, stat((0xFF << 56) | 5000, 9)),
    ]
}

fn acls() -> Vec<(i64, Vec<Acl>)> {
    let entry = |perms, id: &str| Acl {
        perms,
        scheme: Some("digest".into()),
        id: Some(id.into()),
    };
    vec![
        (1, vec![entry(3, "u:h")]),
        (2, vec![entry(31, "имя:h"), entry(1, "x:y")]),
    ]
}

fn snapshot() -> Vec<u8> {
    let mut writer = Writer::file(Vec::new(), 1).unwrap();
    writer.session(0x77, 30_000).unwrap();
    writer.begin_acls(2).unwrap();
    acls()
        .iter()
        .for_each(|(id, entries)| writer.acl(*id, entries).unwrap());
    for (path, data, acl, stat) in nodes() {
        writer.node(&Node { path, data, acl, stat }).unwrap();
    }
    // No transaction was digested yet.
    let digest = Digest {
        zxid: 0,
        version: DIGEST_VERSION,
        digest: 0,
    };
    writer.finish(&digest, ZXID).unwrap().0
}

/// Sessions, then every node with its ACL's entries, sorted.
fn contents(data: &Path) -> Vec<String> {
    let directory = Directory::list(data, data).expect("listed");
    let [file] = &directory.snapshots[..] else {
        panic!("{:?}", directory.snapshots)
    };
    let mut opened = file.open().expect("a snapshot");
    let (mut all, mut table) = (Vec::new(), std::collections::HashMap::new());
    while let Some(item) = opened.reader.next().expect("an item") {
        match item {
            Item::Session { id, timeout_ms } => all.push(format!("session {id} {timeout_ms}")),
            Item::Acl { id, entries } => drop(table.insert(id, entries)),
            Item::Node(Node { path, data, acl, stat }) => {
                all.push(format!("{path} {data:?} {:?} {stat:?}", table.get(&acl)));
            }
        }
    }
    assert_eq!(opened.reader.finish().expect("seals").seals, 3);
    all.sort();
    all
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_zk-convert"))
        .args(arguments)
        .output()
        .expect("zk-convert runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[track_caller]
fn done(arguments: &[&str]) -> String {
    let (code, told, why) = run(arguments);
    assert_eq!(code, Some(0), "{told}{why}");
    told
}

#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let (code, told, why) = run(arguments);
    assert_eq!((code, told.as_str()), (Some(1), ""), "{why}");
    why
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn there_and_back_in_every_packing_nothing_is_lost() {
    let place = Place::new();
    let from = place.apache("from", |_| {});
    let (ours, our_log) = (place.path("ours"), place.path("our-log"));
    let told = done(&[
        "import",
        "--from",
        text(&from),
        "--to",
        text(&ours),
        "--to-log",
        text(&our_log),
    ]);
    assert!(told.contains("zxid 0x100000005, 6 nodes, 1 sessions"), "{told}");
    for packing in Compression::ALL {
        let (to, to_log) = (
            place.path(packing.name()),
            place.path(&format!("{}-log", packing.name())),
        );
        let told = done(&[
            "export",
            "--from",
            text(&ours),
            "--from-log",
            text(&our_log),
            "--to",
            text(&to),
            "--to-log",
            text(&to_log),
            "--compression",
            packing.name(),
        ]);
        assert!(
            told.contains(&format!("snapshot.100000005{}", packing.suffix())),
            "{told}"
        );
        assert_eq!(contents(&to), contents(&from), "{packing:?}");
        let version = to.join("version-2");
        for epoch in ["acceptedEpoch", "currentEpoch"] {
            assert_eq!(fs::read_to_string(version.join(epoch)).unwrap(), "1");
        }
        assert!(to_log.join("version-2").is_dir() && !to.join("version-2.tmp").exists());
        // And once more through us.
        let again = place.path(&format!("again-{}", packing.name()));
        let told = done(&["import", "--from", text(&version), "--to", text(&again)]);
        assert!(
            told.contains("the digest is Java's (1 compared, the last at zxid 0x100000005)"),
            "{told}"
        );
    }
}

#[test]
fn nothing_that_is_there_is_overwritten() {
    let place = Place::new();
    let from = place.apache("from", |_| {});
    let ours = place.path("ours");
    let import = ["import", "--from", text(&from), "--to", text(&ours)];
    done(&import);
    let told = refused(&import);
    assert!(told.contains("a store is not overwritten"), "{told}");
    let export = |to: &Path| refused(&["export", "--from", text(&ours), "--to", text(to)]);
    assert!(export(&from).contains("snapshot.100000005 is there: a data directory is not overwritten"));
    let empty = place.path("empty");
    fs::create_dir_all(empty.join("version-2")).unwrap();
    assert!(export(&empty).contains("version-2 is there"));
    // What a crash left of an export is made anew.
    let crashed = place.path("crashed");
    fs::create_dir_all(crashed.join("version-2.tmp")).unwrap();
    fs::write(crashed.join("version-2.tmp/snapshot.100000005"), "half of it").unwrap();
    done(&["export", "--from", text(&ours), "--to", text(&crashed)]);
    assert_eq!(contents(&crashed), contents(&from));
}

#[test]
fn damage_is_named_and_leaves_nothing() {
    let place = Place::new();
    let ours = place.path("ours");
    let import = |from: &Path| {
        let told = refused(&["import", "--from", text(from), "--to", text(&ours)]);
        assert!(!ours.exists(), "a refusal leaves nothing");
        told
    };
    let told = import(&place.apache("flipped", |bytes| bytes[400] ^= 1));
    assert!(
        told.contains("snapshot.100000005 is damaged at offset") && told.contains("Nothing was changed"),
        "{told}"
    );
    let told = import(&place.apache("cut", |bytes| bytes.truncate(500)));
    assert!(
        told.contains("ends at offset 500, inside a snapshot whose writing was never finished"),
        "{told}"
    );
    let told = import(&place.apache("foreign", |bytes| bytes[..4].copy_from_slice(b"GIF8")));
    assert!(
        told.contains("is no snapshot of Apache ZooKeeper: it begins with \"GIF8"),
        "{told}"
    );
    assert!(import(&place.path("nowhere")).contains("is no directory"));
    assert!(import(place.0.path()).contains("neither a snapshot nor a log of Apache ZooKeeper"));
    let to = place.path("to");
    let told = refused(&["export", "--from", text(place.0.path()), "--to", text(&to)]);
    assert!(told.contains("manifest is missing"), "{told}");
    assert!(!to.join("version-2").exists());
}

#[test]
fn help_is_friendly_and_slips_are_told() {
    let (code, told, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    for word in ["import", "export", "Examples:", "Exit status: 0 done"] {
        assert!(told.contains(word), "{word} in {told}");
    }
    let (code, _, why) = run(&["import", "--from", "x"]);
    assert_eq!(code, Some(2));
    assert!(why.contains("--to <DIR>"), "{why}");
    let (code, _, why) = run(&["export", "--from", "x", "--to", "y", "--compression", "zip"]);
    assert!(code == Some(2) && why.contains("none, gz, snappy"), "{why}");
}
