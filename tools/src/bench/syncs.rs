//! Whether a server really syncs what it acknowledges: figures of writes mean something else if it does not.
//!
//! Evidence, the strongest first: a local server's configuration and command line say `forceSync=no`; the server's own
//! count of syncs (`mntr`, `zk_cnt_fsynctime`) rises, or not, with a write made for this; a local configuration
//! that says nothing else. Without any, it cannot be told, and that is said.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fill::Errands;
use super::process;
use super::requests::write_create;

/// The verdict on all servers of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Syncs {
    /// And how it is known.
    On(String),
    /// And where it says so.
    Off(String),
    /// And why not.
    Unknown(String),
}

impl Syncs {
    /// The first line of every report.
    pub fn line(&self) -> String {
        match self {
            Syncs::On(why) => format!("syncs: on ({why})"),
            Syncs::Off(why) => format!("SYNCS ARE OFF: acknowledged writes are not durable ({why})"),
            Syncs::Unknown(why) => format!("syncs: cannot be told ({why})"),
        }
    }

    /// `on`, `off` or `unknown`.
    pub fn word(&self) -> &'static str {
        match self {
            Syncs::On(_) => "on",
            Syncs::Off(_) => "off",
            Syncs::Unknown(_) => "unknown",
        }
    }
}

/// Judges all servers; the worst verdict stands. `pids` belong to the addresses, in order, as far as there are any.
pub fn judge(addresses: &[SocketAddr], pids: &[u32]) -> Syncs {
    let verdicts = addresses.iter().enumerate().map(|(index, address)| {
        let local = address
            .ip()
            .is_loopback()
            .then(|| process::listener(address.port()))
            .flatten();
        of(*address, pids.get(index).copied().or(local))
    });
    let badness = |syncs: &Syncs| match syncs {
        Syncs::On(_) => 0,
        Syncs::Unknown(_) => 1,
        Syncs::Off(_) => 2,
    };
    verdicts.max_by_key(badness).expect("a load has servers")
}

fn of(address: SocketAddr, pid: Option<u32>) -> Syncs {
    let said = pid.and_then(Said::of);
    if let Some(off) = said.as_ref().and_then(Said::off) {
        return Syncs::Off(off);
    }
    match observed(address) {
        Ok(Some(count)) if count > 0 => Syncs::On(format!("{address} counts its syncs, and a write raised the count")),
        Ok(Some(_)) => Syncs::Off(format!(
            "{address} counts its syncs, and a write did not raise the count"
        )),
        Ok(None) | Err(_) => match (said, pid) {
            (Some(said), _) => Syncs::On(format!("{} does not turn them off", said.source())),
            (None, Some(pid)) => Syncs::Unknown(format!(
                "process {pid} shows no configuration, and {address} does not answer mntr"
            )),
            (None, None) => Syncs::Unknown(format!(
                "{address} is not local, or its process is hidden, and does not answer mntr"
            )),
        },
    }
}

/// What a local server was told.
struct Said {
    file: Option<(PathBuf, String)>,
    words: String,
}

impl Said {
    /// Of a process: its command line, the variables with JVM flags, and the configuration file that it names.
    fn of(pid: u32) -> Option<Said> {
        let text = |name: &str| {
            let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', "\n")
        };
        let (line, environment) = (text("cmdline"), text("environ"));
        let directory = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let flags = environment
            .lines()
            .filter(|variable| variable.starts_with("SERVER_JVMFLAGS=") || variable.starts_with("JVMFLAGS="));
        let is_flag = |word: &str| word.starts_with("-D");
        let words = line.lines().filter(|word| is_flag(word)).chain(flags);
        let words = words.collect::<Vec<_>>().join("\n");
        // The first word is the program itself.
        let mut paths = line
            .lines()
            .skip(1)
            .map(|word| directory.join(word))
            .filter(|path| path.is_file());
        let with_data = |path: PathBuf| {
            let text = fs::read_to_string(&path).ok()?;
            text.contains("dataDir").then_some((path, text))
        };
        let file = paths.find_map(with_data);
        (file.is_some() || !words.is_empty()).then_some(Said { file, words })
    }

    fn source(&self) -> String {
        match &self.file {
            Some((path, _)) => path.display().to_string(),
            None => "the command line".into(),
        }
    }

    /// Where it says that nothing is synced. A line of the file takes the place of the command line's.
    fn off(&self) -> Option<String> {
        if let Some((path, text)) = &self.file {
            if let Some(value) = key(text, "forceSync") {
                return (value == "no").then(|| format!("forceSync=no in {}", path.display()));
            }
            let log = key(text, "dataLogDir").or_else(|| key(text, "dataDir"));
            if let Some(log) = log.filter(|log| is_memory(Path::new(log))) {
                return Some(format!("{log} lies in memory (tmpfs)"));
            }
        }
        let has = self.words.contains("-Dzookeeper.forceSync=no");
        has.then(|| "-Dzookeeper.forceSync=no".to_owned())
    }
}

fn key<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    // The last line with a key is the one that counts.
    let lines = text.lines().rev().filter_map(|line| line.trim().split_once('='));
    lines
        .filter(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
        .next()
}

/// Whether a directory is on a file system that keeps nothing when the machine ends.
pub fn is_memory(directory: &Path) -> bool {
    const TMPFS: rustix::fs::FsWord = 0x0102_1994;
    const RAMFS: rustix::fs::FsWord = 0x8584_58f6;
    let of = rustix::fs::statfs(directory).map(|stat| stat.f_type);
    matches!(of, Ok(TMPFS | RAMFS))
}

/// By how much a write raises the server's count of syncs; `None` when it does not tell one.
fn observed(address: SocketAddr) -> io::Result<Option<u64>> {
    let count = || -> io::Result<Option<u64>> { Ok(metric(&word(address, "mntr")?, "zk_cnt_fsynctime")) };
    let Some(before) = count()? else {
        return Ok(None);
    };
    let mut errands = Errands::open(address)?;
    let path = format!("/zk-bench-sync-{:x}", std::process::id());
    // Ephemeral: it goes with the session. A refusal (an ACL on /) is logged too in ZooKeeper, but not here.
    let (err, _) = errands.call(1, |w| write_create(w, &path, b"", 1))?;
    errands.close()?;
    let after = count()?.unwrap_or(before);
    Ok((err == 0).then_some(after.saturating_sub(before)))
}

/// A number of `mntr`'s.
pub fn metric(text: &str, name: &str) -> Option<u64> {
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    let value = lines
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value.trim())
        .next()?;
    value.parse::<f64>().ok().map(|value| value as u64)
}

/// The answer to a four-letter word.
pub fn word(address: SocketAddr, word: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(file: &str, words: &str) -> Option<String> {
        let file = (!file.is_empty()).then(|| (PathBuf::from("zoo.cfg"), file.to_owned()));
        Said {
            file,
            words: words.into(),
        }
        .off()
    }

    #[test]
    fn files_and_flags_say_it() {
        assert_eq!(
            said("dataDir=/d\nforceSync = no\n", ""),
            Some("forceSync=no in zoo.cfg".into())
        );
        assert_eq!(
            said("dataDir=/d\n", "-Dzookeeper.forceSync=no"),
            Some("-Dzookeeper.forceSync=no".into())
        );
        assert_eq!(said("dataDir=/d\nforceSync=yes\n", "-Dzookeeper.forceSync=no"), None);
        assert_eq!(said("dataDir=/d\n#forceSync=no\n", ""), None);
        assert!(said("dataDir=/dev/shm\n", "").is_none_or(|why| why.contains("tmpfs")));
    }

    #[test]
    fn metrics_are_read() {
        let text = "zk_version\t3.9.5\nzk_cnt_fsynctime\t17\nzk_avg_latency\t0.5\n";
        assert_eq!(metric(text, "zk_cnt_fsynctime"), Some(17));
        assert_eq!(metric(text, "zk_version"), None);
        assert_eq!(metric(text, "zk_none"), None);
    }
}
