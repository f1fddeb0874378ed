//! Where downloads live between runs: pinned, complete or absent, safe against parallel test binaries.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// `$RINGKEEPER_CACHE`, else `~/.cache/ringkeeper`.
pub fn cache_root() -> PathBuf {
    if let Some(root) = std::env::var_os("RINGKEEPER_CACHE") {
        return root.into();
    }
    let home = std::env::var_os("HOME").expect("HOME or RINGKEEPER_CACHE must be set: downloads are kept there");
    Path::new(&home).join(".cache/ringkeeper")
}

/// The directory `name` of the cache, filled by `fill` unless an earlier run filled it: `.complete` is written after
/// `fill` returned, and a lock file keeps other processes out meanwhile. A half-filled directory is emptied first.
pub fn cache_dir(name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let root = cache_root();
    fs::create_dir_all(&root).unwrap_or_else(|error| panic!("cannot make {}: {error}", root.display()));
    let directory = root.join(name);
    let lock = File::create(root.join(format!("{name}.lock"))).expect("lock file of the cache");
    lock.lock().expect("lock of the cache");
    let marker = directory.join(".complete");
    if !marker.exists() {
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("cache directory");
        fill(&directory);
        fs::write(&marker, name).expect("marker of the cache");
    }
    directory
}
