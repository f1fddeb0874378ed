//! The shell against Apache ZooKeeper 3.9.5's own: the same lines through both, and what they print compared.
//!
//! Each shell works on a fresh server, so paths, sequence numbers and versions agree. What cannot agree is rubbed out
//! by `normal` (times, zxids, session states while connecting); what differs on purpose stands in `ACCEPTED` with
//! its reason, and there the text of ours is asserted instead.

#[path = "../../tests/peers/mod.rs"]
mod peers;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use regex::Regex;

use peers::{Engine, JavaServer, Peer, RingServer, cache_dir, wait_until, zookeeper_jars};

/// A line of a script at which events in flight get time to be printed. The end of a script is one, too.
const PAUSE: &str = "#pause\n";
/// That time: Apache prints events from a thread of its own.
const EVENTS_SETTLE: Duration = Duration::from_millis(300);

/// What a shell left behind.
#[derive(Debug)]
struct Ran {
    out: String,
    err: String,
    exit: Option<i32>,
}

/// A shell under comparison: gives the command that starts it.
type Shell = fn() -> Command;

fn ours() -> Command {
    Command::new(env!("CARGO_BIN_EXE_zk-cli"))
}

fn apache() -> Command {
    let mut command = Command::new("java");
    let classpath = format!("{}/*:{}/*", zookeeper_jars().display(), jline().display());
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", &classpath]);
    command.arg("org.apache.zookeeper.ZooKeeperMain");
    command
}

/// Apache's shell needs jline, which the server does not.
fn jline() -> PathBuf {
    cache_dir("jline-3.25.1", |directory| {
        let url = "https://repo1.maven.org/maven2/org/jline/jline/3.25.1/jline-3.25.1.jar";
        let got = Command::new("mvn")
            .args([
                "-B",
                "-q",
                "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy",
            ])
            .args([
                "-Dartifact=org.jline:jline:3.25.1:jar".into(),
                format!("-DoutputDirectory={}", directory.display()),
            ])
            .current_dir(directory)
            .output()
            .expect("'mvn' is missing: install Maven 3 (Debian: maven)");
        assert!(
            directory.join("jline-3.25.1.jar").exists(),
            "Maven could not fetch {url}: {}",
            String::from_utf8_lossy(&got.stdout)
        );
    })
}

/// Runs a shell on a server, with words behind the options and lines on standard input.
fn run(shell: Shell, server: &dyn Peer, words: &[&str], lines: &str) -> Ran {
    let mut command = shell();
    command
        .arg("-server")
        .arg(server.address().to_string())
        .args(words)
        .env("TZ", "UTC");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {:?}: {error}", command.get_program()));
    let mut stdin = child.stdin.take().expect("piped");
    let (out, err) = (gather(child.stdout.take()), gather(child.stderr.take()));
    let port = server.address().port().to_string();
    let mut sent = 0;
    for part in lines.split_inclusive(PAUSE) {
        let part = part.trim_end_matches(PAUSE);
        sent += part.lines().count();
        // A shell that quit reads no more.
        let _ = stdin.write_all(part.replace("PORT", &port).as_bytes());
        let prompt = format!(") {sent}] ");
        let caught_up = || out.text().contains(&prompt) || child.try_wait().is_ok_and(|ended| ended.is_some());
        assert!(
            wait_until(Duration::from_secs(60), caught_up),
            "{prompt:?} never came: {}",
            out.text()
        );
        std::thread::sleep(EVENTS_SETTLE);
    }
    drop(stdin);
    let exit = child.wait().expect("the shell's end").code();
    let text = |gathered: Gathered| gathered.all().replace(&port, "PORT");
    Ran {
        out: text(out),
        err: text(err),
        exit,
    }
}

/// What a pipe brings, while it comes.
struct Gathered {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

fn gather(pipe: Option<impl Read + Send + 'static>) -> Gathered {
    let mut pipe = pipe.expect("piped");
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let into = bytes.clone();
    let reader = std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut chunk) {
            into.lock().unwrap().extend_from_slice(&chunk[..count]);
        }
    });
    Gathered { bytes, reader }
}

impl Gathered {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// Everything, once the pipe has closed.
    fn all(self) -> String {
        self.reader.join().expect("the reader");
        String::from_utf8(self.bytes.lock().unwrap().clone()).expect("UTF-8")
    }
}

/// A command that answers otherwise on purpose.
struct Accepted {
    /// The line.
    line: &'static str,
    /// What ours prints.
    ours: &'static str,
    /// Why.
    #[allow(dead_code)]
    why: &'static str,
}

const ACCEPTED: &[Accepted] = &[
    Accepted {
        line: "getAllChildrenNumber /zookeeper",
        ours: "^Not connected$",
        why: "it follows refused credentials: Apache's client learns of the refusal before it or through it, as the \
              threads fall; ours always before",
    },
    Accepted {
        line: "version",
        ours: r"^ZooKeeper CLI version: 3\.9\.5-ringkeeper-\d+\.\d+\.\d+$",
        why: "Apache prints the commit and the day of its build; ours names itself",
    },
    Accepted {
        line: "get /nodes/eph",
        ours: "^$",
        why: "zookeeper-client cannot write a null value, and an ephemeral must belong to the shell's own session: \
              Apache's holds null, ours is empty",
    },
];

static PROMPT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\[zk: 127\.0\.0\.1:PORT\(([A-Z_]+)\) (\d+)\] ").unwrap());
/// The two parts of an event; Apache's threads may print a prompt between them.
static HEADING: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\n?WATCHER::\n").unwrap());
static EVENT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\n?(WatchedEvent [^\n]*)\n").unwrap());

/// Rubs out what no two runs share.
fn normal(text: &str) -> String {
    static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let rule = |pattern: &str, by| (Regex::new(pattern).unwrap(), by);
        vec![
            rule(r"(?m)\b([cm]time = ).*$", "${1}DATE"),
            rule(r"(?m)\b([cmp]Zxid = 0x)[1-9a-f][0-9a-f]*$", "${1}N"),
            rule(r"(?m)\b(ephemeralOwner = 0x)[1-9a-f][0-9a-f]*$", "${1}N"),
            rule(r" zxid: \d+", " zxid: N"),
        ]
    });
    RULES.iter().fold(text.to_owned(), |text, (pattern, by)| {
        pattern.replace_all(&text, *by).into_owned()
    })
}

/// The events of an output, sorted, for they come at their own time; and the rest.
fn events_and_rest(out: &str) -> (Vec<String>, String) {
    let out = HEADING.replace_all(&normal(out), "").into_owned();
    let mut events: Vec<String> = EVENT.captures_iter(&out).map(|found| found[1].to_owned()).collect();
    events.sort();
    (events, EVENT.replace_all(&out, "").into_owned())
}

/// What stands behind each prompt: state, number, text. CONNECTING is a matter of speed.
fn segments(rest: &str) -> Vec<(String, usize, String)> {
    let marks: Vec<_> = PROMPT.captures_iter(rest).collect();
    let ends = marks
        .iter()
        .skip(1)
        .map(|mark| mark.get(0).unwrap().start())
        .chain([rest.len()]);
    let segment = |(mark, end): (&regex::Captures<'_>, usize)| {
        let text = rest[mark.get(0).unwrap().end()..end].trim_matches('\n').to_owned();
        (
            mark[1].replace("CONNECTING", "CONNECTED"),
            mark[2].parse().unwrap(),
            sorted_sets(&text),
        )
    };
    marks.iter().zip(ends).map(segment).collect()
}

/// getEphemerals and whoami come in the order of a hash set.
fn sorted_sets(text: &str) -> String {
    if let Some(users) = text.strip_prefix("Auth scheme: User\n") {
        let mut users: Vec<&str> = users.lines().collect();
        users.sort_unstable();
        return users.join("\n");
    }
    let Some(inner) = text.strip_prefix("[/").and_then(|text| text.strip_suffix(']')) else {
        return text.to_owned();
    };
    let mut paths: Vec<&str> = inner.split(", /").collect();
    paths.sort_unstable();
    format!("[/{}]", paths.join(", /"))
}

/// Complaints without the JVM's own and jline's.
fn complaints(err: &str) -> Vec<String> {
    let noise = [
        "SLF4J",
        "WARNING: Unable to create a system terminal",
        // The other way in which Apache's may answer the first accepted line.
        "KeeperErrorCode = AuthFailed for /zookeeper",
    ];
    normal(err)
        .lines()
        .filter(|line| !noise.iter().any(|noise| line.starts_with(noise)) && !line.contains("org.jline.utils.Log logr"))
        .map(str::to_owned)
        .collect()
}

/// Compares one piped session command by command. Gives what differs.
fn compare(name: &str, script: &str, theirs: &Ran, ours: &Ran) -> Vec<String> {
    let ((their_events, their_rest), (our_events, our_rest)) =
        (events_and_rest(&theirs.out), events_and_rest(&ours.out));
    let (their_segments, our_segments) = (segments(&their_rest), segments(&our_rest));
    let lines: Vec<&str> = script.lines().filter(|line| *line != PAUSE.trim_end()).collect();
    let mut accepted_count = 0;
    let mut differences = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let (Some(their), Some(our)) = (their_segments.get(at), our_segments.get(at)) else {
            differences.push(format!(
                "{line}: there {:?}, here {:?}",
                their_segments.get(at),
                our_segments.get(at)
            ));
            continue;
        };
        if let Some(accepted) = ACCEPTED.iter().find(|accepted| accepted.line == *line) {
            assert!(
                Regex::new(accepted.ours).unwrap().is_match(&our.2),
                "{name}: {line} gave {:?}",
                our.2
            );
            accepted_count += 1;
        } else if their != our {
            differences.push(format!("{line}\n--- Apache\n{their:?}\n--- ours\n{our:?}"));
        }
    }
    assert!(accepted_count < lines.len() / 4, "{name}: more accepted than compared");
    let before = |rest: &str| rest.split("[zk: ").next().unwrap_or_default().trim_end().to_owned();
    let wholes = [
        (
            "prompts",
            their_segments.len().to_string(),
            our_segments.len().to_string(),
        ),
        ("events", their_events.join("\n"), our_events.join("\n")),
        (
            "standard error",
            complaints(&theirs.err).join("\n"),
            complaints(&ours.err).join("\n"),
        ),
        ("exit status", format!("{:?}", theirs.exit), format!("{:?}", ours.exit)),
        ("greeting", before(&their_rest), before(&our_rest)),
    ];
    let unequal = wholes.into_iter().filter(|(_, their, our)| their != our);
    differences.extend(unequal.map(|(what, their, our)| format!("{what}\n--- Apache\n{their}\n--- ours\n{our}")));
    differences
        .into_iter()
        .map(|text| format!("=== {name}: {text}"))
        .collect()
}

const SCRIPTS: &[(&str, &str)] = &[
    ("usage and options", include_str!("cli_scripts/usage.txt")),
    ("nodes", include_str!("cli_scripts/nodes.txt")),
    ("watches", include_str!("cli_scripts/watches.txt")),
    ("acl and quota", include_str!("cli_scripts/acl_quota.txt")),
    ("session and ensemble", include_str!("cli_scripts/session.txt")),
];

const SINGLE: &[&[&str]] = &[
    &["ls", "/"],
    &["get", "/none"],
    &["create", "/single", "two words"],
    &["get", "/single"],
    &["nonsense"],
    &["set", "/single"],
    &[
        "-waitforconnection",
        "-r",
        "-timeout",
        "9000",
        "-unknown",
        "stat",
        "/none",
    ],
];

fn java() -> JavaServer {
    JavaServer::launch(&[], &["zookeeper.extendedTypesEnabled=true"])
}

fn compare_all(theirs: &dyn Peer, ours_on: &dyn Peer) {
    let mut differences = Vec::new();
    for (name, script) in SCRIPTS {
        let there = run(apache, theirs, &[], script);
        let here = run(ours, ours_on, &[], script);
        differences.extend(compare(&format!("{name} on {}", ours_on.name()), script, &there, &here));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    for words in SINGLE {
        let (there, here) = (run(apache, theirs, words, ""), run(ours, ours_on, words, ""));
        assert_eq!(events_and_rest(&there.out), events_and_rest(&here.out), "{words:?}");
        assert_eq!(complaints(&there.err), complaints(&here.err), "{words:?}");
        assert_eq!(there.exit, here.exit, "{words:?}");
    }
}

#[test]
fn every_command_says_what_apaches_says() {
    compare_all(&java(), &java());
}

#[test]
fn and_on_our_own_server() {
    let ring = RingServer::launch(Engine::Epoll, &["extendedTypesEnabled=true"]);
    compare_all(&java(), &ring);
}

#[test]
fn the_scripts_use_every_command_and_option() {
    let lines: Vec<&str> = SCRIPTS.iter().flat_map(|(_, script)| script.lines()).collect();
    for command in ringkeeper_tools::cli::catalog::COMMANDS {
        let uses = |line: &&&str| line.split(' ').next() == Some(command.name);
        assert!(lines.iter().any(|line| uses(&line)), "{} is not tried", command.name);
        for spec in command.specs {
            let dashed = format!("-{}", spec.name);
            let tried = lines
                .iter()
                .filter(uses)
                .any(|line| line.split(' ').any(|word| word == dashed));
            assert!(tried, "{} {dashed} is not tried", command.name);
        }
    }
}
