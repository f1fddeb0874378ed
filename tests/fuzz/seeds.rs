//! Writes the seeds anew, with the writers of the product: `seeds DIR` fills `DIR/<target>/`.
//! Run it when a format changes; `tests/fuzz.rs` names the command.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringkeeper::wire;
use ringkeeper::wire::election::{Address, InitialMessage, Notification, SenderState};
use ringkeeper::wire::quorum::{FromLeader, FromLearner, LearnerInfo, PROTOCOL_VERSION, Touch};
use ringkeeper::wire::txn::{Change, CreateTxn, Txn, TxnHeader};
use storage::Zxid;
use storage::apache::snapshot::{DIGEST_VERSION, Digest, Node, Writer};
use storage::apache::{self, Acl, Compression, OPEN_ACL, Stat};
use storage::engine::{Engine, Options, Recover};
use storage::sim::SimDisk;

fn main() {
    let directory = std::env::args_os().nth(1).map(PathBuf::from).expect("usage: seeds DIR");
    let store = store();
    for (path, bytes) in &store {
        let name = path.file_name().expect("a file").to_str().expect("a name of ours");
        let target = match name.split('.').next() {
            Some("log") => "log",
            Some("snapshot") => "snapshot",
            Some("manifest") => "manifest",
            _ => continue,
        };
        keep(&directory, target, name, bytes);
    }
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conf");
    for entry in std::fs::read_dir(samples).expect("conf") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a file").to_str().expect("a name of ours");
        keep(&directory, "config", name, &std::fs::read(&path).expect("a sample"));
    }
    for (name, bytes) in apache_snapshots() {
        keep(&directory, "apache_snapshot", name, &bytes);
    }
    keep(&directory, "apache_log", "log.1", &apache_log());
    keep(&directory, "config", "every-key", every_key().as_bytes());
    keep(&directory, "quorum", "leader", &leader_says());
    keep(&directory, "quorum", "learner", &learner_says());
    for (name, bytes) in election() {
        keep(&directory, "election", name, &bytes);
    }
}

fn keep(directory: &Path, target: &str, name: &str, bytes: &[u8]) {
    let directory = directory.join(target);
    std::fs::create_dir_all(&directory).expect("the seeds' directory");
    std::fs::write(directory.join(name), bytes).expect("a seed");
}

/// A snapshot with a session, two ACLs and five nodes: as it is, packed in each way, and without its last part.
fn apache_snapshots() -> Vec<(&'static str, Vec<u8>)> {
    let entry = |perms, scheme: &str, id: &str| Acl {
        perms,
        scheme: Some(scheme.into()),
        id: Some(id.into()),
    };
    let mut writer = Writer::file(Vec::new(), 1).expect("memory takes all");
    writer.session(0x1122, 30_000).expect("memory takes all");
    writer.begin_acls(2).expect("memory takes all");
    writer
        .acl(1, &[entry(31, "world", "anyone")])
        .expect("memory takes all");
    let two = [entry(1, "digest", "a:b"), entry(3, "ip", "10.0.0.0/8")];
    writer.acl(2, &two).expect("memory takes all");
    for (path, data, acl, owner) in [
        ("", None, OPEN_ACL, 0),
        ("/a", Some(&b"data"[..]), 1, 0),
        ("/a/\u{f6}", Some(b""), 2, 0x1122),
        ("/c", None, 1, i64::MIN),
        ("/t", Some(b"x"), 1, 0xff << 56 | 5000),
    ] {
        let stat = Stat {
            owner,
            version: 3,
            mzxid: 7,
            ..Stat::default()
        };
        writer.node(&Node { path, data, acl, stat }).expect("memory takes all");
    }
    let digest = Digest {
        zxid: 7,
        version: DIGEST_VERSION,
        digest: 0x1234_5678_9abc,
    };
    let (plain, _) = writer.finish(&digest, 8).expect("memory takes all");
    let pack = |packing: Compression| {
        let mut packer = packing.writer(Vec::new()).expect("memory takes all");
        packer.write_all(&plain).expect("memory takes all");
        packer.finish().expect("memory takes all")
    };
    let older = plain[..plain.len() - 21].to_vec();
    vec![
        ("snapshot.8.gz", pack(Compression::Gzip)),
        ("snapshot.8.snappy", pack(Compression::Snappy)),
        ("snapshot.8-before-3.9", older),
        ("snapshot.8", plain.clone()),
    ]
}

/// Transactions of three lengths, and the space ahead that Java leaves.
fn apache_log() -> Vec<u8> {
    let mut writer = apache::log::Writer::new(Vec::new()).expect("memory takes all");
    for zxid in 1..=3i64 {
        let mut payload = vec![0; apache::log::TXN_HEADER_BYTES];
        payload[12..20].copy_from_slice(&zxid.to_be_bytes());
        payload.extend(vec![b'p'; zxid as usize * 50]);
        writer.append(&payload).expect("memory takes all");
    }
    let mut bytes = writer.into_inner();
    bytes.resize(bytes.len() + 600, 0);
    bytes
}

/// A configuration that names every key, each with its default, but for those that the target leaves out.
fn every_key() -> String {
    let keys = ringkeeper::server::config::keys::all();
    let inside = keys.filter(|key| !fuzz::config::OUTSIDE.contains(&key.name));
    inside.map(|key| format!("{}={}\n", key.name, key.default)).collect()
}

/// A session and what it makes, as a leader proposes it.
fn transactions() -> Vec<Vec<u8>> {
    let create = Change::Create {
        path: "/a".into(),
        data: Some(b"data".to_vec()),
        acl: vec![wire::acl::Acl::anyone(31)],
        kind: CreateTxn::Plain { ephemeral: true },
        parent_cversion: 1,
    };
    let set = Change::SetData {
        path: "/a".into(),
        data: None,
        version: 1,
    };
    let delete = Change::Delete { path: "/a".into() };
    let txns = [
        Txn::CreateSession { timeout_ms: 30_000 },
        Txn::Change(create.clone()),
        Txn::Multi(vec![create, set, delete]),
        Txn::Error(-101),
        Txn::CloseSession {
            paths: Some(vec!["/a".into()]),
        },
    ];
    let written = |(txn, zxid): (&Txn, i64)| {
        let header = TxnHeader {
            session: 0x1122,
            cxid: 3,
            zxid,
            time_ms: 1_700_000_000_000,
        };
        let mut out = Vec::new();
        txn.append(&header, Some(0x1234_5678), &mut out);
        out
    };
    txns.iter().zip(0x2_0000_0001..).map(written).collect()
}

/// Every packet of a leader, in the order of a learner's life.
fn leader_says() -> Vec<u8> {
    let (epoch_zxid, zxid) = (0x2_0000_0000, 0x2_0000_0001);
    let txns = transactions();
    let mut all = vec![
        FromLeader::LeaderInfo {
            epoch_zxid,
            version: PROTOCOL_VERSION,
        },
        FromLeader::Trunc(zxid),
        FromLeader::Diff(zxid),
        FromLeader::Snap(zxid),
        FromLeader::NewLeader {
            epoch_zxid,
            config: Some("server.1=a:2888:3888:participant\nversion=0".into()),
        },
        FromLeader::UpToDate,
        FromLeader::Ping(zxid),
        FromLeader::Sync,
        FromLeader::Revalidate {
            session: 0x1122,
            valid: true,
        },
        FromLeader::CommitAndActivate { zxid, leader: 2 },
        FromLeader::InformAndActivate {
            zxid,
            leader: 2,
            txn: &txns[0],
        },
    ];
    for (txn, zxid) in txns.iter().zip(zxid..) {
        all.extend([
            FromLeader::Proposal { zxid, txn },
            FromLeader::Commit(zxid),
            FromLeader::Inform { zxid, txn },
        ]);
    }
    let mut out = Vec::new();
    all.iter().for_each(|message| message.append(&mut out));
    out
}

/// Every packet of a learner.
fn learner_says() -> Vec<u8> {
    let info = LearnerInfo {
        server: 2,
        version: PROTOCOL_VERSION,
        config_version: 0,
    };
    let touch = Touch {
        session: 0x1122,
        timeout_ms: 30_000,
    };
    let of_info = |observer| FromLearner::Info {
        observer,
        accepted_epoch: 1,
        info,
    };
    let request = |opcode, body| FromLearner::Request {
        session: 0x1122,
        cxid: 7,
        opcode,
        body,
        ids: vec![
            wire::acl::Id::new("ip", "127.0.0.1"),
            wire::acl::Id::new("digest", "a:b"),
        ],
    };
    let path = b"\0\0\0\x02/a\xff\xff\xff\xff";
    let all = [
        of_info(false),
        of_info(true),
        FromLearner::AckEpoch {
            last_zxid: 0x1_0000_0005,
            current_epoch: 1,
        },
        FromLearner::Ack(0x2_0000_0000),
        FromLearner::Ping {
            zxid: 0x2_0000_0001,
            touched: vec![touch, touch],
        },
        FromLearner::Revalidate {
            session: 0x1122,
            timeout_ms: 30_000,
        },
        request(2, path),
        request(9, path),
        request(-11, b""),
    ];
    let mut out = Vec::new();
    all.iter().for_each(|message| message.append(&mut out));
    out
}

/// Introductions in the three forms, with notifications behind them.
fn election() -> Vec<(&'static str, Vec<u8>)> {
    let address = |host: &str| Address {
        host: host.into(),
        port: 3888,
    };
    let notification = |state, config: &str| {
        let mut out = Vec::new();
        let notification = Notification {
            state,
            leader: 3,
            zxid: 0x1_0000_0005,
            round: 2,
            peer_epoch: 1,
            version: 2,
            config: None,
        };
        notification.append(config, &mut out);
        out
    };
    let behind = [
        notification(SenderState::Looking, "version=0"),
        notification(SenderState::Following, ""),
        // Of a server before 3.5: without a version, and without a peer epoch.
        [&[0, 0, 0, 40][..], &[0; 40]].concat(),
        [&[0, 0, 0, 28][..], &[0; 28]].concat(),
    ]
    .concat();
    let first = |addresses: Vec<Address>| {
        let mut out = Vec::new();
        InitialMessage { server: 2, addresses }.append(&mut out);
        [out, behind.clone()].concat()
    };
    vec![
        ("one-address", first(vec![address("a.example")])),
        ("two-addresses", first(vec![address("10.0.0.1"), address("fe80::1")])),
        ("number-alone", [&2i64.to_be_bytes()[..], &behind].concat()),
    ]
}

struct Nothing;

impl Recover for Nothing {
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

/// The files of a small store: records of several lengths and epochs, close marks, three snapshots.
fn store() -> Vec<(PathBuf, Arc<Vec<u8>>)> {
    let disk = SimDisk::default();
    let options = Options {
        data_dir: "/data".into(),
        log_dir: "/log".into(),
        segment_bytes: 16 << 10,
        segment_bytes_first: 12 << 10,
        purge: false,
        background: false,
        load_threads: 1,
        ..Options::default()
    };
    for run in 0..3u32 {
        let opened = Engine::open_on(Arc::new(disk.clone()), options.clone(), &mut Nothing);
        let (engine, mut log, _) = opened.expect("a sound disk opens");
        for batch in 0..4u32 {
            for record in 0..=batch {
                let zxid = match record {
                    0 if batch == 0 => Zxid::new(run + 1, 1),
                    _ => log.appended().next(),
                };
                log.append(
                    zxid,
                    &[&vec![b'a' + record as u8; (batch * 217 + record * 90) as usize]],
                );
            }
            let write = log.next_write().expect("a batch");
            log.written(write.perform().expect("the simulated disk writes"));
        }
        let mut entries = (0..run * 40).map(|index| (&b"n/services/a"[..(index % 12) as usize], &b"value"[..]));
        engine
            .write_snapshot(log.durable(), 7, b"meta", &mut entries, None)
            .expect("the simulated disk writes");
    }
    disk.live().files.into_iter().collect()
}
