//! Writes the seeds anew, with the writers of the product: `seeds DIR` fills `DIR/<target>/`.
//! Run it when a format changes; `tests/fuzz.rs` names the command.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    writer.acl(1, &[entry(31, "world", "anyone")]).expect("memory takes all");
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
                log.append(zxid, &[&vec![b'a' + record as u8; (batch * 217 + record * 90) as usize]]);
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
