//! `start`, `stop` and `restart`: a server in the background, known by its pid file.
//!
//! `start` runs this program again with `start-foreground`, its standard output a pipe, its standard error the log
//! file. The child leaves the terminal's session ([`detach`]) and says one word on the pipe once it serves
//! ([`announce`]); then the pipe becomes the log file too. So `STARTED` means that the port answers, and a child that
//! ends before that has its last words shown. That is stricter than `zkServer.sh`, which looks after a second whether
//! the process is still there.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::files;
use super::process::Running;
use super::{Failure, INVALID, UNEXPECTED};

/// Set in the environment of a child that shall leave its session.
const IN_BACKGROUND: &str = "RINGKEEPER_IN_BACKGROUND";

/// How long `start` waits for the child to serve: after that it is still recovering, which is no failure.
const START_LIMIT: Duration = Duration::from_secs(120);

/// How long `stop` waits for the process to end.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Lines of the log shown when a start fails.
const LAST_LINES: usize = 20;

/// Starts a server in the background; returns when it serves.
pub fn start(config: &Path) -> Result<(), Failure> {
    say("Starting zookeeper ... ");
    let pid_file = pid_file(config)?;
    if let Some(Running { pid }) = Running::find(&pid_file) {
        say(&format!("already running as process {pid}.\n"));
        return Err(Failure::silent(UNEXPECTED));
    }
    let out = files::out_file();
    let mut child = spawn(config, &pid_file, &out).map_err(|error| {
        say("SERVER DID NOT START\n");
        Failure::new(UNEXPECTED, error)
    })?;
    if let Err(error) = fs::write(&pid_file, child.id().to_string()) {
        say("FAILED TO WRITE PID\n");
        let (_, _) = (child.kill(), child.wait());
        return Err(Failure::new(UNEXPECTED, format!("{}: {error}", pid_file.display())));
    }
    match wait_until_ready(&mut child) {
        Ready::Yes => {
            say("STARTED\n");
            Ok(())
        }
        Ready::NotYet => {
            say("STARTED\n");
            eprintln!(
                "The server is still recovering its data and does not answer yet; see {}",
                out.display()
            );
            Ok(())
        }
        Ready::Ended => {
            let status = child
                .wait()
                .map_or_else(|error| error.to_string(), |status| status.to_string());
            let _ = fs::remove_file(&pid_file);
            say("FAILED TO START\n");
            Err(Failure::new(
                UNEXPECTED,
                format!(
                    "The server ended ({status}). The end of {}:\n{}",
                    out.display(),
                    last_lines(&out)
                ),
            ))
        }
    }
}

/// Ends the server of the pid file. That there is none is no failure, as in `zkServer.sh`.
pub fn stop(config: &Path) -> Result<(), Failure> {
    say("Stopping zookeeper ... ");
    let pid_file = pid_file(config)?;
    if !pid_file.is_file() {
        say(&format!(
            "no zookeeper to stop (could not find file {})\n",
            pid_file.display()
        ));
        return Ok(());
    }
    let Some(running) = Running::find(&pid_file) else {
        say(&format!(
            "no zookeeper to stop (the process of {} has ended)\n",
            pid_file.display()
        ));
        return remove(&pid_file);
    };
    match running.end(STOP_LIMIT) {
        Ok(true) => {
            let done = remove(&pid_file);
            say("STOPPED\n");
            done
        }
        Ok(false) => {
            say("STILL RUNNING\n");
            let seconds = STOP_LIMIT.as_secs();
            Err(Failure::new(
                UNEXPECTED,
                format!(
                    "process {} has not ended {seconds} s after SIGTERM; its pid file stays",
                    running.pid
                ),
            ))
        }
        Err(error) => {
            say("FAILED\n");
            Err(Failure::new(
                UNEXPECTED,
                format!("process {} cannot be sent SIGTERM: {error}", running.pid),
            ))
        }
    }
}

/// `stop`, then `start`.
pub fn restart(config: &Path) -> Result<(), Failure> {
    stop(config)?;
    start(config)
}

fn pid_file(config: &Path) -> Result<PathBuf, Failure> {
    let found = match files::written(config) {
        Ok(written) => files::pid_file(&written).ok_or("dataDir is not set, so there is no pid file".to_owned()),
        Err(error) => Err(format!("cannot be read: {error}")),
    };
    found.map_err(|why| {
        say("\n");
        Failure::new(INVALID, format!("{}: {why}", config.display()))
    })
}

fn remove(pid_file: &Path) -> Result<(), Failure> {
    fs::remove_file(pid_file).map_err(|error| Failure::new(UNEXPECTED, format!("{}: {error}", pid_file.display())))
}

fn spawn(config: &Path, pid_file: &Path, out: &Path) -> Result<Child, String> {
    if files::variable("ZOO_DATADIR_AUTOCREATE_DISABLE").is_some() && !pid_file.parent().is_some_and(Path::is_dir) {
        return Err(format!(
            "the directory of {} is not there, and none may be made",
            pid_file.display()
        ));
    }
    let directories = [pid_file.parent(), out.parent()];
    for directory in directories.into_iter().flatten() {
        fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    let log = File::create(out).map_err(|error| format!("{}: {error}", out.display()))?;
    let program = std::env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
    Command::new(&program)
        .arg("start-foreground")
        .arg(std::path::absolute(config).unwrap_or_else(|_| config.to_owned()))
        .env(IN_BACKGROUND, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))
}

enum Ready {
    Yes,
    NotYet,
    Ended,
}

/// The first byte on the pipe is the word, its end is the child's.
fn wait_until_ready(child: &mut Child) -> Ready {
    let mut pipe = child.stdout.take().expect("it was piped");
    let (heard, listen) = mpsc::channel();
    std::thread::spawn(move || heard.send(matches!(pipe.read(&mut [0]), Ok(1))));
    match listen.recv_timeout(START_LIMIT) {
        Ok(true) => Ready::Yes,
        Ok(false) | Err(RecvTimeoutError::Disconnected) => Ready::Ended,
        Err(RecvTimeoutError::Timeout) => Ready::NotYet,
    }
}

fn last_lines(file: &Path) -> String {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LAST_LINES);
    lines[from..]
        .iter()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether this process is the child of a `start`.
pub fn is_child() -> bool {
    files::variable(IN_BACKGROUND).is_some()
}

/// Leaves the session of the terminal, so that closing it sends no SIGHUP.
pub fn detach() -> io::Result<()> {
    rustix::process::setsid().map(drop).map_err(io::Error::from)
}

/// Tells `start` that this server serves, and lets go of the pipe to it.
pub fn announce() -> io::Result<()> {
    let mut out = io::stdout().lock();
    // Whoever started us may have given up waiting, and the server serves all the same.
    let _ = out.write_all(b"\n").and_then(|()| out.flush());
    rustix::stdio::dup2_stdout(io::stderr()).map_err(io::Error::from)
}

fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
