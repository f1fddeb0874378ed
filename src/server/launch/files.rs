//! Which files a word is about: the configuration, the pid file, the log. Found as `zkEnv.sh` and `zkServer.sh` find
//! them, from the same environment variables.

use std::env;
use std::path::{Path, PathBuf};

use crate::server::config::{Notes, Written};

/// A variable that is set and not empty, as the scripts test them.
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The configuration file that a word's argument means. A bare name lies in the configuration directory, or else here;
/// anything with a slash is a path. No argument means `ZOOCFG`, or else `zoo.cfg`.
pub fn config(directory: Option<PathBuf>, argument: Option<&Path>) -> PathBuf {
    let named = argument
        .map(Path::to_owned)
        .or_else(|| variable("ZOOCFG").map(PathBuf::from));
    let named = named.unwrap_or_else(|| "zoo.cfg".into());
    if named.components().count() > 1 {
        return named;
    }
    let there = directory.unwrap_or_else(config_directory).join(&named);
    if !there.is_file() && named.is_file() {
        named
    } else {
        there
    }
}

/// `ZOOCFGDIR`, or `conf` next to the directory the program lies in, or here, or else `etc/zookeeper` there.
fn config_directory() -> PathBuf {
    if let Some(directory) = variable("ZOOCFGDIR") {
        return directory.into();
    }
    let prefix = prefix();
    let conf = [prefix.join("conf"), PathBuf::from("conf")];
    conf.into_iter()
        .find(|path| path.is_dir())
        .unwrap_or_else(|| prefix.join("etc/zookeeper"))
}

/// The directory above the program's.
fn prefix() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    program
        .parent()
        .and_then(Path::parent)
        .unwrap_or(Path::new("."))
        .to_owned()
}

/// What was written, problems aside: `stop` must work with a configuration that would not start.
pub fn written(config: &Path) -> std::io::Result<Written> {
    let bytes = std::fs::read(config)?;
    Ok(Written::read(
        &config.display().to_string(),
        &bytes,
        &[],
        &mut Notes::default(),
    ))
}

/// `ZOOPIDFILE`, or `zookeeper_server.pid` in the data directory. `None` if neither is written.
pub fn pid_file(written: &Written) -> Option<PathBuf> {
    let in_data = || {
        written
            .get("dataDir")
            .map(|dir| Path::new(&dir.value).join("zookeeper_server.pid"))
    };
    variable("ZOOPIDFILE").map(PathBuf::from).or_else(in_data)
}

/// Where a server in the background writes what it logs: `zookeeper-<user>-server-<host>.out` in `ZOO_LOG_DIR`.
pub fn out_file() -> PathBuf {
    let directory = variable("ZOO_LOG_DIR").map_or_else(|| prefix().join("logs"), PathBuf::from);
    let user = variable("USER").unwrap_or_default();
    let host = variable("HOSTNAME")
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
        .unwrap_or_default();
    directory.join(format!("zookeeper-{user}-server-{}.out", host.trim()))
}
