//! `zk-cli` at a terminal: completion of commands and paths, the history file, events above the edited line.
//!
//! `script` (util-linux) gives the terminal.

#[path = "../../tests/peers/mod.rs"]
mod peers;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use peers::{Engine, Peer, RingServer, wait_until};

/// A shell at a terminal of its own; it dies with this guard.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    seen: Arc<Mutex<String>>,
}

impl Terminal {
    fn open(server: &dyn Peer, home: &Path) -> Terminal {
        let shell = format!("{} -server {}", env!("CARGO_BIN_EXE_zk-cli"), server.address());
        let mut child = Command::new("script")
            .args(["-qec", &shell, "/dev/null"])
            .env("HOME", home)
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("'script' is missing: install util-linux (Debian: bsdutils)");
        let (keys, mut pipe) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let seen = Arc::new(Mutex::new(String::new()));
        let into = seen.clone();
        std::thread::spawn(move || {
            let mut chunk = [0; 1024];
            while let Ok(count @ 1..) = pipe.read(&mut chunk) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..count]));
            }
        });
        let terminal = Terminal { child, keys, seen };
        terminal.expect("CONNECT");
        terminal
    }

    fn type_keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal");
        self.keys.flush().expect("the terminal");
    }

    /// Waits until the terminal shows the text.
    fn expect(&self, text: &str) {
        let shown = wait_until(Duration::from_secs(20), || self.seen.lock().unwrap().contains(text));
        assert!(
            shown,
            "{text:?} never came; the terminal shows:\n{}",
            self.seen.lock().unwrap()
        );
    }

    fn quit(mut self) {
        self.type_keys("quit\r");
        let ended = wait_until(Duration::from_secs(20), || {
            self.child.try_wait().is_ok_and(|ended| ended.is_some())
        });
        assert!(ended, "quit did not end the shell: {}", self.seen.lock().unwrap());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn tab_completes_and_the_history_outlives_the_shell() {
    let server = RingServer::launch(Engine::Epoll, &[]);
    let home = tempfile::tempdir().expect("a home");
    let mut terminal = Terminal::open(&server, home.path());
    terminal.type_keys("create /completed-by-tab first\r");
    terminal.expect("Created /completed-by-tab");
    // `getAl` has one end, and so has `/com`.
    terminal.type_keys("getAl\t /com\t\r");
    terminal.expect("getAllChildrenNumber /completed-by-tab");
    terminal.expect("\n0\r\n");
    terminal.type_keys("get -w /com\t\r");
    terminal.expect("\nfirst\r\n");
    terminal.type_keys("set /com\t second\r");
    terminal.expect("type:NodeDataChanged path:/completed-by-tab");
    terminal.quit();

    let file = std::fs::read_to_string(home.path().join(".zk-cli-history")).expect("the history file");
    assert!(file.contains("getAllChildrenNumber /completed-by-tab\n"), "{file}");
    assert!(
        file.contains("set /completed-by-tab second\n") && file.ends_with("quit\n"),
        "{file}"
    );

    let mut again = Terminal::open(&server, home.path());
    // Five lines up from the new one: quit, set, get, getAllChildrenNumber, create.
    again.type_keys("\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\r");
    again.expect("Node already exists: /completed-by-tab");
    again.quit();
}
