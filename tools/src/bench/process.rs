//! What processes and threads cost, read from `/proc`.
//!
//! A process's `stat` counts every thread, those that ended too, but in hundredths of a second; `schedstat` of each
//! thread counts nanoseconds, but vanishes with its thread. The nanoseconds are used unless the hundredths show that
//! they miss something.

use std::collections::HashMap;
use std::fs;

/// Linux shows ticks of a hundredth of a second to every program (USER_HZ).
const TICK_US: u64 = 10_000;

/// A reading of a process's counters.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    ticks: u64,
    thread_ns: HashMap<u32, u64>,
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
            ticks: ticks(11) + ticks(12),
            thread_ns: thread_ns(pid),
            resident_bytes: field(&read("status")?, "VmRSS:").unwrap_or(0) * 1024,
            written_bytes: written,
        })
    }

    /// Microseconds of CPU, user and system, of all threads since `earlier`.
    pub fn cpu_us_since(&self, earlier: &Usage) -> u64 {
        let in_ticks = self.ticks.saturating_sub(earlier.ticks) * TICK_US;
        let before = |thread: &u32| earlier.thread_ns.get(thread).copied().unwrap_or(0);
        let of_thread = |(thread, ns): (&u32, &u64)| ns.saturating_sub(before(thread));
        let in_ns = self.thread_ns.iter().map(of_thread).sum::<u64>() / 1000;
        // More than rounding at both ends and a tick per running thread: threads ended meanwhile.
        if in_ticks > in_ns + 4 * TICK_US {
            in_ticks
        } else {
            in_ns
        }
    }
}

fn thread_ns(pid: u32) -> HashMap<u32, u64> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return HashMap::new();
    };
    let of_thread = |entry: fs::DirEntry| {
        let thread = entry.file_name().to_str()?.parse().ok()?;
        Some((
            thread,
            first_number(&fs::read_to_string(entry.path().join("schedstat")).ok()?)?,
        ))
    };
    threads.flatten().filter_map(of_thread).collect()
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

fn field(text: &str, name: &str) -> Option<u64> {
    first_number(text.lines().find_map(|line| line.strip_prefix(name))?)
}

/// CPU time of the calling thread so far, in microseconds; 0 where the kernel does not tell.
pub fn thread_cpu_us() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    first_number(&text).unwrap_or(0) / 1000
}

/// What all processors of the machine did, in ticks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine {
    idle: u64,
    stolen: u64,
    all: u64,
}

impl Machine {
    /// Reads it; zeros where that may not be read.
    pub fn now() -> Machine {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
        let at = |index: usize| ticks.get(index).copied().unwrap_or(0);
        // Guest time is inside user time already.
        Machine {
            idle: at(3) + at(4),
            stolen: at(7),
            all: ticks.iter().take(8).sum(),
        }
    }

    /// The shares that were idle, and stolen by the machine's host, since `earlier`.
    pub fn shares_since(&self, earlier: &Machine) -> (f64, f64) {
        let all = self.all.saturating_sub(earlier.all).max(1) as f64;
        let share = |now: u64, then: u64| now.saturating_sub(then) as f64 / all;
        (share(self.idle, earlier.idle), share(self.stolen, earlier.stolen))
    }
}

/// The process on this machine that listens on a TCP port, if it may be seen.
pub fn listener(port: u16) -> Option<u32> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let text = fs::read_to_string(table).ok()?;
        text.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (_, of_line) = fields.get(1)?.rsplit_once(':')?;
            // 0A is LISTEN.
            let is_it = u16::from_str_radix(of_line, 16) == Ok(port) && fields.get(3) == Some(&"0A");
            is_it.then(|| fields.get(9).copied().unwrap_or_default().to_owned())
        })
    })?;
    let wanted = format!("socket:[{inode}]");
    let has_socket = |pid: u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
        files
            .flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()))
    };
    let processes = fs::read_dir("/proc").ok()?;
    let mut pids = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(|pid| has_socket(*pid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn this_process_has_memory_and_burns_time() {
        let (before, machine) = (Usage::of(std::process::id()).unwrap(), Machine::now());
        let mine = thread_cpu_us();
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(200) {
            std::hint::spin_loop();
        }
        // The kernel books a thread's time when it leaves the processor.
        std::thread::sleep(Duration::from_millis(1));
        let after = Usage::of(std::process::id()).unwrap();
        assert!(after.resident_bytes > 100_000, "{after:?}");
        // A busy machine may take most of the time away, but not all.
        assert!(after.cpu_us_since(&before) > 20_000, "{before:?} {after:?}");
        assert!(thread_cpu_us() - mine > 20_000);
        assert!(Machine::now().shares_since(&machine).0 <= 1.0);
        assert!(Usage::of(0).unwrap_err().starts_with("--pid 0"));
    }

    #[test]
    fn a_thread_that_ended_is_not_forgotten() {
        let reading = |ticks, threads: &[(u32, u64)]| Usage {
            ticks,
            thread_ns: threads.iter().copied().collect(),
            ..Usage::default()
        };
        let before = reading(100, &[(1, 1_000_000)]);
        assert_eq!(reading(101, &[(1, 8_000_000)]).cpu_us_since(&before), 7_000);
        assert_eq!(reading(150, &[(1, 8_000_000)]).cpu_us_since(&before), 500_000);
    }

    #[test]
    fn listeners_are_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(listener(port), Some(std::process::id()));
    }
}
