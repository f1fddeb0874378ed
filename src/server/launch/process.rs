//! The process a pid file names: whether it is there, whether it is a server of ours, and asking it to end.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// The name of the program's file.
const PROGRAM: &str = "zk-server";

/// A running zk-server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its process id.
    pub pid: i32,
}

impl Running {
    /// The server that a pid file names, unless it ended or its number belongs to another program by now.
    pub fn find(pid_file: &Path) -> Option<Running> {
        let pid = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
        let found = Running { pid };
        found.is_ours().then_some(found)
    }

    /// Whether the program behind the number is zk-server. The link of a process that ended cannot be read; that of
    /// one whose program was replaced by a new version ends in ` (deleted)`.
    fn is_ours(self) -> bool {
        let program = fs::read_link(format!("/proc/{}/exe", self.pid)).unwrap_or_default();
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        name.trim_end_matches(" (deleted)") == PROGRAM
    }

    /// Sends SIGTERM and waits for the end; `false` if it has not come within `limit`.
    pub fn end(self, limit: Duration) -> io::Result<bool> {
        let pid = Pid::from_raw(self.pid).ok_or(io::ErrorKind::InvalidInput)?;
        match kill_process(pid, Signal::TERM) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
        let begin = Instant::now();
        while self.is_ours() {
            if begin.elapsed() > limit {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(true)
    }
}
