//! What a local server's process cost, read from `/proc`.

use std::fs;

/// A reading of a process's counters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time, user and system, in microseconds.
    pub cpu_us: u64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Bytes sent to the block layer since the process began, or 0 where that may not be read.
    pub written_bytes: u64,
}

impl Usage {
    /// Reads them.
    pub fn of(pid: u32) -> Result<Usage, String> {
        let read = |name: &str| {
            fs::read_to_string(format!("/proc/{pid}/{name}")).map_err(|error| format!("--pid {pid}: {name}: {error}"))
        };
        let stat = read("stat")?;
        // The command's name is in parentheses and may hold anything.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest)
            .split_whitespace()
            .collect();
        let ticks = |index: usize| {
            fields
                .get(index)
                .and_then(|field| field.parse::<u64>().ok())
                .unwrap_or(0)
        };
        let written = read("io").ok().and_then(|io| field(&io, "write_bytes:")).unwrap_or(0);
        Ok(Usage {
            // Linux shows ticks of a hundredth of a second to every program (USER_HZ).
            cpu_us: (ticks(11) + ticks(12)) * 10_000,
            resident_bytes: field(&read("status")?, "VmRSS:").unwrap_or(0) * 1024,
            written_bytes: written,
        })
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident_bytes > 100_000, "{usage:?}");
        assert!(Usage::of(0).unwrap_err().starts_with("--pid 0"));
    }
}
