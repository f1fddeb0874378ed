//! The dump tools on the files of Apache ZooKeeper: written here as it writes them, and by Apache ZooKeeper 3.9.5.

mod dump_store;
#[path = "../../tests/peers/mod.rs"]
mod peers;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use ringkeeper::tree::key::Kind;
use ringkeeper::tree::node::{Node, Payload};
use ringkeeper::tree::session::SessionRecord;
use ringkeeper::tree::{Tree, tree};
use storage::apache::log::Writer as LogWriter;
use storage::apache::snapshot::{self as format, Writer};
use storage::apache::{Acl, Compression, OPEN_ACL, Stat};

use dump_store::{Answer, header, history, json_lines, logdump, snapdump, store, tree_after, write_snapshot};
use peers::{JavaServer, Peer};

/// A tree's snapshot as Apache ZooKeeper writes it, unpacked.
fn apache_snapshot(tree: &mut Tree) -> Vec<u8> {
    let view = tree.view();
    let (mut nodes, mut large, mut acls, mut sessions) = (BTreeMap::new(), HashMap::new(), Vec::new(), Vec::new());
    for (key, value) in view.entries() {
        let name = &key[1..];
        let text = || std::str::from_utf8(name).unwrap().to_owned();
        match Kind::of(key[0]) {
            // By path with a zero for the slash: depth first.
            Some(Kind::Node) => drop(nodes.insert(text().replace('/', "\0"), Node::decode(value))),
            Some(Kind::Data) => drop(large.insert(text(), value)),
            Some(Kind::Acl) => acls.push((
                u32::from_be_bytes(name.try_into().unwrap()),
                tree::decode_acl(value).unwrap().1,
            )),
            Some(Kind::Session) => {
                sessions.push((
                    i64::from_be_bytes(name.try_into().unwrap()),
                    SessionRecord::decode(value).unwrap(),
                ));
            }
            _ => {}
        }
    }
    let mut writer = Writer::file(Vec::new(), sessions.len()).unwrap();
    for (id, record) in sessions {
        writer.session(id, record.timeout_ms).unwrap();
    }
    writer.begin_acls(acls.len()).unwrap();
    for (id, entries) in acls {
        let entry = |acl: ringkeeper::wire::acl::Acl| Acl {
            perms: acl.perms,
            scheme: Some(acl.id.scheme),
            id: Some(acl.id.id),
        };
        let entries: Vec<Acl> = entries.into_iter().map(entry).collect();
        writer.acl(id.into(), &entries).unwrap();
    }
    for (key, node) in nodes {
        let (path, s) = (key.replace('\0', "/"), node.stat);
        let data = match node.payload {
            Payload::Null => None,
            Payload::Inline(bytes) => Some(bytes),
            Payload::Large(_) => Some(large[&path]),
        };
        let stat = Stat {
            czxid: s.czxid,
            mzxid: s.mzxid,
            ctime: s.ctime,
            mtime: s.mtime,
            version: s.version,
            cversion: s.cversion,
            aversion: s.aversion,
            owner: s.owner,
            pzxid: s.pzxid,
        };
        let acl = if node.acl.0 == 0 { OPEN_ACL } else { node.acl.0.into() };
        writer
            .node(&format::Node {
                path: &path,
                data,
                acl,
                stat,
            })
            .unwrap();
    }
    let zxid = view.totals().zxid.0 as i64;
    let digest = format::Digest {
        zxid,
        version: 2,
        digest: view.totals().digest,
    };
    writer.finish(&digest, zxid).unwrap().0
}

fn pack(form: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut packer = form.writer(Vec::new()).unwrap();
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn diff(from: &Path, to: &Path, options: &[&str]) -> Answer {
    snapdump(to, &[&["--diff"], options, &[from.to_str().unwrap()]].concat())
}

/// The payloads of the history, each with the digest behind it.
fn payloads() -> Vec<Vec<u8>> {
    let txns = history();
    (0..txns.len())
        .map(|index| {
            let mut payload = Vec::new();
            let digest = tree_after(index + 1).totals().digest;
            txns[index].append(&header(index), Some(digest), &mut payload);
            payload
        })
        .collect()
}

fn apache_log(payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = LogWriter::new(Vec::new()).unwrap();
    payloads.iter().for_each(|payload| writer.append(payload).unwrap());
    writer.into_inner()
}

/// A `version-2` below a directory, with a log in two files and a snapshot.
fn version_2() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let version = dir.path().join("version-2");
    std::fs::create_dir(&version).unwrap();
    let payloads = payloads();
    // Java leaves the space that it set aside.
    let first = [apache_log(&payloads[..6]), vec![0; 100_000]].concat();
    std::fs::write(version.join("log.100000001"), first).unwrap();
    std::fs::write(version.join("log.100000007"), apache_log(&payloads[6..])).unwrap();
    std::fs::write(version.join("snapshot.100000009"), apache_snapshot(&mut tree_after(9))).unwrap();
    std::fs::write(version.join("snapshot.9.tmp"), b"half").unwrap();
    (dir, version)
}

#[test]
fn a_snapshot_in_the_same_lines_as_ours_however_it_is_packed() {
    let own = tempfile::tempdir().unwrap();
    let own = own.path().join("snapshot.0000000100000009");
    std::fs::create_dir_all(own.parent().unwrap()).unwrap();
    write_snapshot(&mut tree_after(9), &own);
    let dir = tempfile::tempdir().unwrap();
    let bytes = apache_snapshot(&mut tree_after(9));
    for form in Compression::ALL {
        let file = dir.path().join(format!("snapshot.100000009{}", form.suffix()));
        std::fs::write(&file, pack(form, &bytes)).unwrap();
        for options in [
            &["--data"][..],
            &["--data", "--json"],
            &["--path", "/a"],
            &["--session", "1152921504606846977"],
            &["--summary"],
            &["--summary", "--json"],
        ] {
            let (theirs, ours) = (snapdump(&file, options), snapdump(&own, options));
            let same_name = |text: &str, file: &Path| text.replace(file.to_str().unwrap(), "FILE");
            assert_eq!(
                same_name(&theirs.out, &file),
                same_name(&ours.out, &own),
                "{form:?} {options:?}"
            );
            assert_eq!((theirs.status, ours.status), (0, 0), "{}{}", theirs.err, ours.err);
            assert!(theirs.err.contains("Apache ZooKeeper's: clean"), "{}", theirs.err);
        }
        for (from, to) in [(&own, &file), (&file, &own)] {
            let answer = diff(from, to, &["--data"]);
            assert_eq!(
                (answer.status, answer.out.lines().count()),
                (0, 1),
                "{form:?}: {}{}",
                answer.out,
                answer.err
            );
        }
        let earlier = dir.path().join("earlier");
        write_snapshot(&mut tree_after(7), &earlier);
        let answer = diff(&earlier, &file, &[]);
        let words: Vec<&str> = answer.out.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(
            (answer.status, words.join(" ")),
            (4, "stat created diff".into()),
            "{}",
            answer.out
        );
    }
}

#[test]
fn the_log_in_the_same_lines_as_ours() {
    let (dir, version) = version_2();
    for given in [dir.path(), &version] {
        let answer = logdump(given, &["--data"]);
        let out = answer.out.replace(&"\\x07".repeat(70_000), "(\\x07 70000 times)");
        assert_eq!(out, include_str!("golden/logdump.txt"));
        assert_eq!(answer.status, 0, "{}", answer.err);
        let summary = ": 10 transactions from zxid 0x100000001, the last is 0x10000000a (Apache ZooKeeper's): clean\n";
        assert!(answer.err.ends_with(summary), "{}", answer.err);
    }
    let answer = snapdump(dir.path(), &["--type", "snapshot"]);
    assert!(
        answer.status == 0
            && answer
                .out
                .contains("version-2/snapshot.100000009 zxid=0x100000009 nodes=9"),
        "{}",
        answer.out
    );
    // Sizes and times are those of our log: the same statistics but for the file's name.
    let ours = store();
    for options in [&["--stats", "--json"][..], &["--stats", "--json", "--path", "/t"]] {
        let mut both = [
            &json_lines(&logdump(dir.path(), options))[0],
            &json_lines(&logdump(&ours.segment, options))[0],
        ]
        .map(Clone::clone);
        // Ours has no digest behind an error; the bytes of all else are the same.
        for stats in &mut both {
            for key in [
                "file",
                "bytes",
                "bytesPerTransaction",
                "topSessions",
                "intervals",
                "types",
            ] {
                assert!(stats.as_object_mut().unwrap().remove(key).is_some(), "{key}");
            }
        }
        assert_eq!(both[0], both[1]);
    }
}

#[test]
fn damage_is_told_by_place_and_status() {
    let (dir, version) = version_2();
    let snapshot = version.join("snapshot.100000009");
    let good = std::fs::read(&snapshot).unwrap();
    for form in Compression::ALL {
        let file = dir.path().join(format!("snapshot.100000009{}", form.suffix()));
        let mut flipped = good.clone();
        // In the data of the large node, so that only the seal tells.
        let place = good.windows(64).position(|window| window == [7; 64]).unwrap() + 10;
        flipped[place] ^= 1;
        let packed = pack(form, &good);
        for (bytes, said) in [
            (pack(form, &flipped), "the snapshot is damaged at offset "),
            (packed[..packed.len() - 30].to_vec(), "the snapshot "),
            (pack(form, &good[..good.len() / 2]), "the snapshot ends at offset "),
        ] {
            std::fs::write(&file, bytes).unwrap();
            for options in [&[][..], &["--summary"]] {
                let answer = snapdump(&file, options);
                assert_eq!(
                    (answer.status, answer.out.as_str()),
                    (2, ""),
                    "{form:?}: {}",
                    answer.err
                );
                assert!(
                    answer.err.contains(said) && answer.err.contains("offset"),
                    "{form:?}: {}",
                    answer.err
                );
            }
        }
    }
    // A tree that is not the digest's, under right seals.
    let mut tree = tree_after(9);
    let other = apache_snapshot(&mut tree_after(8));
    let said = tree.view().totals().zxid;
    std::fs::write(dir.path().join("snapshot.100000008"), &other).unwrap();
    let answer = snapdump(&dir.path().join("snapshot.100000008"), &["-q"]);
    assert_eq!(answer.status, 0, "{said}: {}", answer.err);
    // The same bytes under an earlier name hold transactions that came later.
    std::fs::write(dir.path().join("snapshot.100000003"), &other).unwrap();
    let answer = snapdump(&dir.path().join("snapshot.100000003"), &["-q"]);
    assert!(
        answer.err.contains(
            "fuzzy: written while transactions up to 0x100000008 went on, whole only with the log from 0x100000004 on"
        ),
        "{}",
        answer.err
    );

    let log = version.join("log.100000007");
    let good = std::fs::read(&log).unwrap();
    let status = |bytes: &[u8]| {
        std::fs::write(&log, bytes).unwrap();
        let answer = logdump(dir.path(), &["--stats"]);
        (answer.status, answer.err)
    };
    let (torn, err) = status(&good[..good.len() - 3]);
    assert!(
        torn == 1 && err.contains("9 transactions") && err.contains("TORN tail"),
        "{err}"
    );
    let mut flipped = good.clone();
    flipped[40] ^= 1;
    let (corrupt, err) = status(&flipped);
    assert!(
        corrupt == 2 && err.contains(&format!("{} at offset 16", log.display())),
        "{err}"
    );
    let (gap, err) = status(&apache_log(&payloads()[7..]));
    assert!(
        gap == 2 && err.contains("0x100000008 stands behind that of 0x100000006"),
        "{err}"
    );
    std::fs::write(&log, b"").unwrap();
    assert_eq!(
        logdump(dir.path(), &["-q"]).status,
        1,
        "a file that was only just begun"
    );
}

/// Runs the shell of this package on commands, and expects them to succeed.
fn shell(server: &dyn Peer, commands: &[String]) {
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        let mut cli = Command::new(env!("CARGO_BIN_EXE_zk-cli"));
        let output = cli
            .arg("-server")
            .arg(server.address().to_string())
            .args(&words)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn what_apache_zookeeper_itself_wrote() {
    let properties = [
        "zookeeper.snapshot.compression.method=snappy",
        "zookeeper.extendedTypesEnabled=true",
    ];
    let mut server = JavaServer::launch(&[], &properties);
    let before = ["create /kept old", "create /gone x", "create /parent", "create -c /box"];
    shell(&server, &before.map(String::from));
    server.terminate();
    // Java takes a snapshot whenever it starts.
    server.start();
    let after = [
        "set /kept new",
        "delete /gone",
        "create /parent/child data",
        "create -t 60000 /short",
        "setAcl /parent world:anyone:r",
    ];
    shell(&server, &after.map(String::from));
    server.terminate();
    server.start();
    server.terminate();
    let data = server.directory().join("data");
    let version = data.join("version-2");
    let newest = json_lines(&snapdump(&data, &["--json"]));
    let paths: Vec<String> = newest
        .iter()
        .filter_map(|line| Some(format!("{} {}", line["type"].as_str()?, line["path"].as_str()?)))
        .collect();
    let wanted = [
        "persistent /",
        "container /box",
        "persistent /kept",
        "persistent /parent",
        "persistent /parent/child",
        "ttl /short",
        "persistent /zookeeper",
        "persistent /zookeeper/config",
        "persistent /zookeeper/quota",
    ];
    assert_eq!(paths, wanted);
    let mut snapshots: Vec<PathBuf> = std::fs::read_dir(&version)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    snapshots.retain(|path| path.extension().is_some_and(|extension| extension == "snappy"));
    snapshots.sort_by_key(|path| u64::from_str_radix(path.to_str().unwrap().rsplit('.').nth(1).unwrap(), 16).unwrap());
    assert!(snapshots.len() >= 3, "{snapshots:?}");
    let answer = diff(
        &snapshots[snapshots.len() - 2],
        &snapshots[snapshots.len() - 1],
        &["--json"],
    );
    assert_eq!(answer.status, 4, "{}", answer.err);
    let lines = json_lines(&answer);
    let changed: Vec<String> = lines
        .iter()
        .filter_map(|line| Some(format!("{} {}", line["type"].as_str()?, line["path"].as_str()?)))
        .collect();
    assert_eq!(
        changed,
        [
            "stat /",
            "deleted /gone",
            "data /kept",
            "acl /parent",
            "created /parent/child",
            "created /short"
        ]
    );
    // The digests that Java logged with each transaction are those of its snapshots.
    let txns = json_lines(&logdump(&data, &["--json"]));
    let head = &newest[0];
    let digest = txns
        .iter()
        .rev()
        .find_map(|txn| txn.get("digest"))
        .expect("Java keeps digests");
    assert_eq!(&head["digest"], digest);
    let stats = &json_lines(&logdump(&data, &["--stats", "--json"]))[0];
    assert_eq!(stats["transactions"].as_u64(), Some(txns.len() as u64));
    let sessions: BTreeSet<&str> = txns.iter().filter_map(|txn| txn["session"].as_str()).collect();
    assert_eq!(stats["sessions"].as_u64(), Some(sessions.len() as u64));
    assert!(sessions.len() >= 9, "one for each command at least: {sessions:?}");
}
