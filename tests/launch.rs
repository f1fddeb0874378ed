//! The program `zk-server`, from the outside: its words, its texts, its exit statuses, and how it ends.
//!
//! Each test has a directory and a port of its own. A server in the background is ended by its pid file when the test
//! is over, however it is over.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getsid, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_zk-server");

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(20);

struct Place {
    dir: tempfile::TempDir,
    port: u16,
}

impl Place {
    fn new() -> Place {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let place = Place {
            dir: tempfile::tempdir().unwrap(),
            port,
        };
        place.configure("");
        place
    }

    /// Writes the configuration, with `more` at its end.
    fn configure(&self, more: &str) {
        let text = format!(
            "tickTime=2000\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\n{more}",
            self.data().display(),
            self.port
        );
        fs::write(self.cfg(), text).unwrap();
    }

    fn cfg(&self) -> PathBuf {
        self.dir.path().join("zoo.cfg")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn pid_file(&self) -> PathBuf {
        self.data().join("zookeeper_server.pid")
    }

    fn pid(&self) -> i32 {
        fs::read_to_string(self.pid_file())
            .unwrap()
            .parse()
            .expect("a number and nothing else")
    }

    /// A command in this place, with none of the caller's ZooKeeper environment.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars() {
            if name.starts_with("ZOO") || name.ends_with("JVMFLAGS") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.dir.path())
            .env("ZOO_LOG_DIR", self.dir.path().join("logs"))
            .env("USER", "me")
            .env("HOSTNAME", "here")
            .stdin(Stdio::null());
        command
    }

    fn word(&self, word: &str) -> Command {
        let mut command = self.command(Path::new(PROGRAM));
        command.arg(word).arg(self.cfg());
        command
    }

    #[track_caller]
    fn check(&self, word: &str, status: i32, stdout: &str) -> String {
        check(self.word(word), status, stdout)
    }

    /// The first line of `status`.
    fn found(&self) -> String {
        format!(
            "Client port found: {}. Client address: 127.0.0.1. Client SSL: false.\n",
            self.port
        )
    }

    fn accepts(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    fn foreground(&self) -> Foreground {
        Foreground::start(self.word("start-foreground"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(pid) = fs::read_to_string(self.pid_file())
            .ok()
            .and_then(|text| text.parse().ok())
        else {
            return;
        };
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        if program == Path::new(PROGRAM) {
            let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}

/// A server that is this test's child.
struct Foreground {
    child: Child,
    screen: Vec<String>,
}

impl Foreground {
    /// Returns when the start screen is there, which is after the port is bound.
    fn start(mut command: Command) -> Foreground {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.as_mut().unwrap());
        let mut screen: Vec<String> = Vec::new();
        for line in out.lines().map(Result::unwrap) {
            screen.push(line);
            if screen.last().unwrap().contains("stop with") {
                return Foreground { child, screen };
            }
        }
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        panic!("it ended: {:?}: {told}", child.wait());
    }

    fn screen(&self) -> String {
        self.screen.join("\n")
    }

    /// Exit status and standard error after a signal.
    fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let begin = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < LIMIT, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut told = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        (self.child.wait().unwrap().code(), told)
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs to the end, which must come in time, and compares status and standard output; returns standard error.
#[track_caller]
fn check(mut command: Command, status: i32, stdout: &str) -> String {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = Pid::from_child(&child);
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        let late = ended.recv_timeout(LIMIT).is_err();
        late && kill_process(id, Signal::KILL).is_ok()
    });
    let (mut out, mut told) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    // The process is not waited for until nobody can kill its number any more.
    let _ = done.send(());
    assert!(!guard.join().unwrap(), "{command:?} did not end: {out}{told}");
    let found = child.wait().unwrap().code();
    assert_eq!((found, out.as_str()), (Some(status), stdout), "{command:?}: {told}");
    told
}

#[test]
fn start_stop_and_start_again() {
    let place = Place::new();
    let told = place.check("start", 0, "Starting zookeeper ... STARTED\n");
    assert_eq!(told, format!("Using config: {}\n", place.cfg().display()));
    assert!(place.accepts(), "STARTED means that it answers");
    let pid = Pid::from_raw(place.pid()).unwrap();
    assert_eq!(getsid(Some(pid)).unwrap(), pid, "it left the terminal's session");

    place.check(
        "start",
        1,
        &format!("Starting zookeeper ... already running as process {}.\n", place.pid()),
    );
    let old = place.pid();
    place.check(
        "restart",
        0,
        "Stopping zookeeper ... STOPPED\nStarting zookeeper ... STARTED\n",
    );
    assert_ne!(place.pid(), old);
    assert!(place.accepts());

    place.check("stop", 0, "Stopping zookeeper ... STOPPED\n");
    assert!(!place.accepts() && !place.pid_file().exists());
    let none = format!(
        "no zookeeper to stop (could not find file {})\n",
        place.pid_file().display()
    );
    place.check("stop", 0, &format!("Stopping zookeeper ... {none}"));
    let log = fs::read_to_string(place.dir.path().join("logs/zookeeper-me-server-here.out")).unwrap();
    assert!(log.contains("is ready") && log.contains("SIGTERM"), "{log}");
}

#[test]
fn status_tells_the_mode_of_what_answers() {
    let place = Place::new();
    let nobody = format!(
        "{}Error contacting service. It is probably not running.\n",
        place.found()
    );
    place.check("status", 1, &nobody);
    let server = place.foreground();
    place.check("status", 0, &format!("{}Mode: standalone\n", place.found()));
    assert_eq!(server.end(Signal::TERM).0, Some(0));
    // `srvr` is answered whatever the whitelist says (`FourLetterCommands#isEnabled`): status depends on it.
    place.configure("4lw.commands.whitelist=ruok\n");
    let _server = place.foreground();
    place.check("status", 0, &format!("{}Mode: standalone\n", place.found()));
}

/// Whatever speaks the word `srvr`: the line is what the server says, not what this program believes.
#[test]
fn status_asks_for_srvr() {
    let place = Place::new();
    let listener = TcpListener::bind(("127.0.0.1", place.port)).unwrap();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).unwrap();
        stream
            .write_all(b"Zookeeper version: 1\nMode: observer\nNode count: 5\n")
            .unwrap();
        word
    });
    place.check("status", 0, &format!("{}Mode: observer\n", place.found()));
    assert_eq!(&other.join().unwrap(), b"srvr");
}

#[test]
fn damaged_data_of_apache_zookeeper_is_named_and_not_passed_over() {
    let place = Place::new();
    let theirs = place.data().join("version-2");
    fs::create_dir_all(&theirs).unwrap();
    fs::write(theirs.join("snapshot.0"), "ZKSN").unwrap();
    let told = place.check("start-foreground", 3, "");
    assert!(told.contains("importing it"), "{told}");
    assert!(
        told.contains("version-2/snapshot.0 ends at offset 4, inside a snapshot whose writing was never finished"),
        "{told}"
    );
    fs::remove_file(theirs.join("snapshot.0")).unwrap();
    drop(place.foreground());
}

/// Written by Apache ZooKeeper's own classes (disk-formats.md): an error of zxid 5, and of the first one, 1.
#[test]
fn logs_without_a_snapshot_need_to_be_trusted() {
    let place = Place::new();
    let theirs = place.data().join("version-2");
    fs::create_dir_all(&theirs).unwrap();
    let mut payload = vec![0; 36];
    payload[19] = 1;
    payload[28..32].fill(0xFF);
    let mut log = storage::apache::log::Writer::new(Vec::new()).unwrap();
    log.append(&payload).unwrap();
    fs::write(theirs.join("log.1"), log.into_inner()).unwrap();
    let told = place.check("start-foreground", 3, "");
    assert!(
        told.contains("log.1 is there, but no snapshot") && told.contains("snapshot.trust.empty=true"),
        "{told}"
    );
    place.configure("snapshot.trust.empty=true\n");
    drop(place.foreground());
    assert!(theirs.join("log.1").exists(), "the original stays");
    // The second start does not import again, and needs no trust.
    place.configure("");
    drop(place.foreground());
}

#[test]
fn a_start_that_fails_shows_why() {
    let place = Place::new();
    place.configure("syncLimit=often\n");
    let told = place.check("start", 1, "Starting zookeeper ... FAILED TO START\n");
    assert!(
        told.contains("line 5: syncLimit=often is not allowed; allowed is a whole number"),
        "{told}"
    );
    assert!(!place.pid_file().exists());
}

#[test]
fn a_pid_file_of_another_program_is_nobodys() {
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    fs::write(place.pid_file(), std::process::id().to_string()).unwrap();
    let gone = format!(
        "no zookeeper to stop (the process of {} has ended)\n",
        place.pid_file().display()
    );
    place.check("stop", 0, &format!("Stopping zookeeper ... {gone}"));
    fs::write(place.pid_file(), std::process::id().to_string()).unwrap();
    place.check("start", 0, "Starting zookeeper ... STARTED\n");
    assert_ne!(place.pid() as u32, std::process::id());
    place.check("stop", 0, "Stopping zookeeper ... STOPPED\n");
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let place = Place::new();
    let first = place.foreground();
    let other = Place::new();
    let cfg = format!("dataDir={}\nclientPort={}\n", place.data().display(), other.port);
    fs::write(other.cfg(), cfg).unwrap();
    let told = other.check("start-foreground", 3, "");
    assert!(told.contains("Unable to access datadir, exiting abnormally"), "{told}");
    assert!(told.contains(&place.data().display().to_string()), "{told}");
    assert!(place.accepts(), "the first is not disturbed");
    assert_eq!(first.end(Signal::TERM).0, Some(0));
}

#[test]
fn a_port_in_use_is_told() {
    let place = Place::new();
    let _taken = TcpListener::bind(("127.0.0.1", place.port)).unwrap();
    let told = place.check("start-foreground", 1, "");
    let expect = format!("cannot listen on 127.0.0.1:{}: ", place.port);
    assert!(
        told.contains(&expect) && told.contains("is another server running there?"),
        "{told}"
    );
}

#[test]
fn a_bad_configuration_ends_with_2() {
    let place = Place::new();
    place.configure("minSessionTimeout=x\nsecureClientPort=2281\n");
    let cfg = place.cfg().display().to_string();
    let told = place.check("start-foreground", 2, "");
    let expect = format!(
        "Using config: {cfg}\n\
         Invalid config, exiting abnormally\n  \
         {cfg}, line 5: minSessionTimeout=x is not allowed; allowed is a whole number from -1 to 2147483647\n  \
         {cfg}, line 6: secureClientPort=2281: TLS is not built yet, and a plaintext server must not look like an \
         encrypted one\n"
    );
    assert_eq!(told, expect);
    assert!(!place.data().exists(), "nothing was touched");
}

#[test]
fn a_configuration_that_is_not_there_ends_with_2() {
    let place = Place::new();
    fs::remove_file(place.cfg()).unwrap();
    for (word, said) in [
        ("start-foreground", ""),
        ("status", ""),
        ("start", "Starting zookeeper ... \n"),
    ] {
        let told = place.check(word, 2, said);
        assert!(
            told.contains(&format!("{}", place.cfg().display())) && told.contains("No such file"),
            "{told}"
        );
    }
}

#[test]
fn a_data_directory_that_may_not_be_made_ends_with_3() {
    let place = Place::new();
    place.configure("datadir.autocreate=false\n");
    let told = place.check("start-foreground", 3, "");
    assert!(told.contains("datadir.autocreate=false forbids"), "{told}");
    assert!(!place.data().exists());
}

#[test]
fn signals_end_it_in_order() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let place = Place::new();
        let server = place.foreground();
        let (status, told) = server.end(signal);
        assert_eq!(status, Some(0), "{told}");
        assert!(told.contains(name), "{told}");
        drop(place.foreground());
    }
}

#[test]
fn without_a_word_it_serves_and_says_how_to_reach_it() {
    let place = Place::new();
    let mut command = place.command(Path::new(PROGRAM));
    command.arg("--port").arg(place.port.to_string());
    let server = Foreground::start(command);
    let (port, data) = (
        place.port,
        place.dir.path().join("ringkeeper-data").display().to_string(),
    );
    let screen = server.screen();
    for part in [
        "is ready: a standalone server that speaks ZooKeeper 3.9.",
        &format!("listening on   port {port} on all addresses"),
        &format!("data           {data}"),
        &format!("log            {data}"),
        "I/O            ",
        &format!("zk-cli -server 127.0.0.1:{port} "),
    ] {
        assert!(screen.contains(part), "{part:?} is not in\n{screen}");
    }
    assert!(place.accepts());
    assert_eq!(server.end(Signal::TERM).0, Some(0));
}

#[test]
fn the_engine_is_the_keys() {
    let place = Place::new();
    place.configure("ringkeeper.engine=epoll\n");
    let server = place.foreground();
    assert!(server.screen().contains("I/O            epoll"), "{}", server.screen());
    assert!(place.accepts());
}

#[test]
fn the_log_is_as_loud_as_the_key_says() {
    let place = Place::new();
    place.configure("ringkeeper.log=warn\ntickTme=1\n");
    let (_, told) = place.foreground().end(Signal::TERM);
    assert!(
        told.contains("did you mean tickTime?") && !told.contains("INFO"),
        "{told}"
    );
    place.configure("ringkeeper.log=a=b=c\n");
    let told = place.check("start-foreground", 2, "");
    assert!(
        told.contains("ringkeeper.log=a=b=c: ") && told.contains("allowed is a level"),
        "{told}"
    );
}

#[test]
fn files_are_found_as_the_scripts_find_them() {
    let place = Place::new();
    let other = place.dir.path().join("elsewhere.pid");
    let mut start = place.command(Path::new(PROGRAM));
    start
        .args(["start", "zoo.cfg"])
        .current_dir("/")
        .env("ZOOCFGDIR", place.dir.path())
        .env("ZOOPIDFILE", &other);
    check(start, 0, "Starting zookeeper ... STARTED\n");
    assert!(other.is_file() && !place.pid_file().exists());
    let mut stop = place.command(Path::new(PROGRAM));
    stop.args(["--config"])
        .arg(place.dir.path())
        .arg("stop")
        .current_dir("/")
        .env("ZOOPIDFILE", &other);
    check(stop, 0, "Stopping zookeeper ... STOPPED\n");
    assert!(!other.exists());
}

#[test]
fn words_that_start_nothing() {
    let place = Place::new();
    let told = place.check(
        "version",
        0,
        &format!(
            "Apache ZooKeeper, version 3.9.5 2026-02-11 20:15 UTC\n\
             This is Ringkeeper {}, which speaks that release's protocols.\n",
            env!("CARGO_PKG_VERSION")
        ),
    );
    assert!(told.starts_with("Using config: "));
    let (cfg, logs) = (place.cfg(), place.dir.path().join("logs/zookeeper-me-server-here.out"));
    let command = format!(
        "\"{PROGRAM}\" start-foreground \"{}\" > \"{}\" 2>&1 < /dev/null\n",
        cfg.display(),
        logs.display()
    );
    place.check("print-cmd", 0, &command);
    assert!(place.check("upgrade", 2, "").contains("upgrade is no word"));
    assert!(place.check("strat", 2, "").contains("unrecognized subcommand 'strat'"));
    fs::write(place.cfg(), "dataDir=/nowhere\n").unwrap();
    place.check(
        "status",
        1,
        "myid could not be determined, will not able to locate clientPort in the server configs.\n\
         Client port not found. Looking for secureClientPort in the static config.\n\
         Unable to find either secure or unsecure client port in any configs. Terminating.\n",
    );
}

#[test]
fn the_script_takes_the_same_words() {
    let place = Place::new();
    let bin = place.dir.path().join("bin");
    let conf = place.dir.path().join("conf");
    fs::create_dir(&bin).unwrap();
    fs::create_dir(&conf).unwrap();
    fs::rename(place.cfg(), conf.join("zoo.cfg")).unwrap();
    fs::write(
        conf.join("zookeeper-env.sh"),
        format!("ZOOPIDFILE={}\n", place.pid_file().display()),
    )
    .unwrap();
    std::os::unix::fs::symlink(PROGRAM, bin.join("zk-server")).unwrap();
    let script = bin.join("zkServer.sh");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/zkServer.sh"), &script).unwrap();
    let word = |word: &str| {
        let mut command = place.command(&script);
        command.arg(word).env_remove("ZOO_LOG_DIR");
        command
    };
    check(word("start"), 0, "Starting zookeeper ... STARTED\n");
    assert!(place.accepts());
    assert!(place.dir.path().join("logs/zookeeper-me-server-here.out").is_file());
    check(word("stop"), 0, "Stopping zookeeper ... STOPPED\n");
    let usage = check(word("strat"), 0, "");
    assert_eq!(
        usage,
        format!(
            "Usage: {} [--config <conf-dir>] {{start|start-foreground|stop|version|restart|status|print-cmd}}\n",
            script.display()
        )
    );
}

#[test]
fn the_client_script_hands_on_its_arguments() {
    let place = Place::new();
    let script = place.dir.path().join("zkCli.sh");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/zkCli.sh"), &script).unwrap();
    let mut alone = place.command(&script);
    alone.env("PATH", "/usr/bin:/bin");
    assert!(check(alone, 1, "").contains("zk-cli is not in "));
    let client = place.dir.path().join("zk-cli");
    fs::write(&client, "#!/bin/sh\nprintf '<%s>' \"$@\"\nexit 7\n").unwrap();
    fs::set_permissions(&client, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = place.command(&script);
    command.args(["-server", "a:1", "create", "/a", "two words"]);
    check(command, 7, "<-server><a:1><create></a><two words>");
}
