//! What the machine and the file system tell about this process, for `envi`, `conf`, `dirs` and `mntr`.
//!
//! Everything is read from `/proc` and the directories when it is asked for; what cannot be read is left empty or 0.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::wire::four_letter::Environment;

/// For `envi`. Memory is the process's: `total` what it holds, `max` what machine or cgroup allow, `free` what it
/// could still get.
pub fn environment() -> Environment {
    let line = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let memory = line("/proc/meminfo");
    let machine = kilobytes(&memory, "MemTotal:");
    let group = line("/sys/fs/cgroup/memory.max").parse().unwrap_or(u64::MAX);
    let memory_max = machine.min(group);
    let memory_total = kilobytes(&line("/proc/self/status"), "VmRSS:");
    let memory_free = kilobytes(&memory, "MemAvailable:").min(memory_max.saturating_sub(memory_total));
    let (user_name, user_home) = user();
    Environment {
        host_name: line("/proc/sys/kernel/hostname"),
        temp_dir: std::env::temp_dir().display().to_string(),
        os_version: line("/proc/sys/kernel/osrelease"),
        user_name,
        user_home,
        user_dir: std::env::current_dir().unwrap_or_default().display().to_string(),
        memory_free,
        memory_max,
        memory_total,
    }
}

/// Bytes of the line that starts with `key`.
fn kilobytes(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

/// Name and home of the user that the process runs as.
fn user() -> (String, String) {
    let Ok(own) = fs::metadata("/proc/self") else {
        return Default::default();
    };
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let id = fields.get(2)?.parse::<u32>().ok()?;
        (id == own.uid()).then(|| {
            (
                fields[0].to_owned(),
                fields.get(5).copied().unwrap_or_default().to_owned(),
            )
        })
    });
    entry.unwrap_or_default()
}

/// File descriptors: open, and allowed.
pub fn files() -> (u64, u64) {
    let open = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let max = line
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    (open, max)
}

/// Bytes of all files below a directory (`ZooKeeperServer#getDirSize`).
pub fn directory_bytes(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => directory_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process() {
        let environment = environment();
        assert!(
            !environment.host_name.is_empty() && !environment.os_version.is_empty(),
            "{environment:?}"
        );
        assert!(
            environment.memory_total > 0 && environment.memory_total <= environment.memory_max,
            "{environment:?}"
        );
        let (open, max) = files();
        assert!(open > 2 && open < max, "{open} of {max}");
    }

    #[test]
    fn directories_are_summed_to_the_bottom() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("below")).unwrap();
        fs::write(directory.path().join("a"), [0; 10]).unwrap();
        fs::write(directory.path().join("below/b"), [0; 5]).unwrap();
        assert_eq!(directory_bytes(directory.path()), 15);
        assert_eq!(directory_bytes(&directory.path().join("absent")), 0);
    }
}
