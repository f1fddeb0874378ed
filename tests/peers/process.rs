//! A child process with a guard: it never outlives the test, and its output is shown when the test fails.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A running child whose output goes to a file.
pub struct Process {
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Spawns `command` with both output streams appended to `output`.
    pub fn spawn(command: &mut Command, output: &Path) -> Self {
        let open = || {
            File::options()
                .create(true)
                .append(true)
                .open(output)
                .expect("output file of a child")
        };
        command.stdin(Stdio::null()).stdout(open()).stderr(open());
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {:?}: {error}", command.get_program()));
        Self {
            child,
            output: output.into(),
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the child wrote so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// The exit code, once it ended. A child ended by a signal gives `Some(None)`.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        self.child
            .try_wait()
            .expect("wait for a child")
            .map(|status| status.code())
    }

    /// SIGKILL, and wait.
    pub fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by its short name: `STOP`, `CONT`, `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id();
        // The shell's own `kill`: no `unsafe`, and no tool that a system may lack. The child is not waited for yet, so
        // the id is still its own.
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot signal process {pid}");
    }

    /// SIGTERM, and wait up to 10 s; then SIGKILL and a failure.
    pub fn terminate(&mut self) -> Option<i32> {
        let pid = self.child.id();
        self.signal("TERM");
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(code) = self.ended() {
                return code;
            }
            if Instant::now() > deadline {
                self.kill9();
                panic!(
                    "process {pid} did not end within 10 s of SIGTERM; its output:\n{}",
                    self.output()
                );
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until `ready` says so; fails with the child's output when it ends or `limit` passes first.
    pub fn wait_ready(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) {
        let deadline = Instant::now() + limit;
        while !ready() {
            if let Some(code) = self.ended() {
                panic!(
                    "the server ended with {code:?} before it served; its output:\n{}",
                    self.output()
                );
            }
            if Instant::now() > deadline {
                let output = self.output();
                self.kill9();
                panic!("the server did not serve within {limit:?}; its output:\n{output}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
        if thread::panicking() {
            let output = self.output();
            let tail: Vec<&str> = output.lines().rev().take(40).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            eprintln!("--- last output of {} ---\n{}", self.output.display(), tail.join("\n"));
        }
    }
}

/// A loopback port that nobody listens on, below the range from which the kernel takes ports for outgoing
/// connections: such a port cannot be taken by a client between this call and the server's bind.
pub fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Parallel test binaries start at different places.
    let start = (std::process::id().wrapping_mul(7919) % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (u32::from(start) + u32::from(step)).rem_euclid(u32::from(COUNT)) as u16;
        if TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok() {
            return port;
        }
    }
    panic!("no free loopback port between {FIRST} and {}", FIRST + COUNT);
}

/// Polls `check` every 5 ms until it is true or `limit` passed; the last verdict.
pub fn wait_until(limit: Duration, mut check: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if check() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The end of an output.
pub fn last_lines(output: &str, count: usize) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
