//! What a stopped server's store holds, as a data directory that Apache ZooKeeper starts on.
//!
//! One snapshot and the epochs, as `zk-convert export` writes them; that its files are right is shown by its own tests,
//! here a start that answers the read is enough. ZooKeeper has no log to replay then, ours has: the comparison is in its
//! favour.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use ringkeeper::replica::recover::Recovery;
use ringkeeper::tree::{Features, apache};
use storage::apache::Compression;
use storage::apache::directory::{VERSION_DIRECTORY, snapshot_name};
use storage::apache::snapshot::{DIGEST_VERSION, Digest, Writer};
use storage::engine::{Engine, Options};

/// Reads the store of `data_dir` and writes it below `to`. Gives the snapshot's name.
pub fn export(data_dir: &Path, to: &Path) -> String {
    let options = Options {
        data_dir: data_dir.into(),
        log_dir: data_dir.into(),
        ..Options::default()
    };
    let features = Features {
        digest: true,
        ..Features::default()
    };
    let mut recovery = Recovery::new(features, 1);
    Engine::read(&options, &mut recovery).unwrap_or_else(|error| panic!("{error}"));
    let mut tree = recovery.finish();
    let view = tree.view();
    let zxid = view.totals().zxid;
    let directory = to.join(VERSION_DIRECTORY);
    fs::create_dir_all(&directory).expect("a directory");
    for name in ["acceptedEpoch", "currentEpoch"] {
        fs::write(directory.join(name), zxid.epoch().to_string()).expect("an epoch");
    }
    let name = snapshot_name(zxid, Compression::None);
    let file = BufWriter::with_capacity(1 << 20, File::create(directory.join(&name)).expect("a snapshot"));
    let written = apache::write(&view, |sessions| Writer::file(file, sessions), &mut |_| {});
    let digest = Digest {
        zxid: zxid.0 as i64,
        version: DIGEST_VERSION,
        digest: apache::digest_of(&view),
    };
    let (out, _) = written
        .and_then(|writer| writer.finish(&digest, zxid.0 as i64))
        .expect("the snapshot is written");
    let file = out.into_inner().expect("the snapshot's last bytes");
    file.sync_all().expect("the snapshot is durable");
    name
}

/// Removes what Java's start wrote itself: the next one is to meet what the first met.
pub fn forget_starts(directory: &Path, exported: &str) {
    for entry in fs::read_dir(directory.join(VERSION_DIRECTORY)).expect("version-2") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        let is_own = |prefix: &str| name.starts_with(prefix) && name != exported;
        if is_own("snapshot.") || is_own("log.") {
            fs::remove_file(&path).expect("removed");
        }
    }
}
