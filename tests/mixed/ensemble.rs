//! `Ensemble`: members of either make on free loopback ports or in network namespaces, and what tests do to them.
//!
//! Directories, numbers and ports stay; processes come and go. Everything that waits has a limit and fails with what
//! each member says of itself. A member that ends by itself fails the next wait.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::cache::{jars, run};
use crate::peers::jute::In;
use crate::peers::{Make, Member, Place, last_lines, wait_until};

/// How long members may take until they serve: a busy machine starts JVMs slowly.
const SERVE_MAX: Duration = Duration::from_secs(60);

/// What an ensemble is made of.
pub struct Plan<'p> {
    /// Whose program each member runs; member `i` has the number `i + 1`.
    pub makes: &'p [Make],
    /// The numbers of the observers.
    pub observers: &'p [u32],
    /// Lines of `zoo.cfg` beside the members, the directory and what is fixed here.
    pub lines: &'p [&'p str],
    /// Where they are; empty means free loopback ports.
    pub places: Vec<Place>,
}

/// How a Ringkeeper member becomes a Java one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// On an empty directory: the leader sends a snapshot.
    Empty,
    /// On what `zk-convert export` makes of its store.
    Exported,
}

/// The servers.
pub struct Ensemble {
    /// By index; the number is one more.
    pub members: Vec<Member>,
    directory: TempDir,
}

impl Ensemble {
    /// Lays out directories and configurations; nothing runs yet.
    pub fn lay_out(plan: &Plan) -> Self {
        let directory = TempDir::with_prefix("ensemble-").expect("temporary directory");
        let places = match plan.places.is_empty() {
            true => plan.makes.iter().map(|_| Place::loopback()).collect(),
            false => plan.places.clone(),
        };
        let servers: String = places
            .iter()
            .zip(1..)
            .map(|(place, id)| format!("server.{id}={}\n", place.line(plan.observers.contains(&id))))
            .collect();
        let logger = [logger()];
        let member = |(place, id): (&Place, u32)| {
            let mut text = String::from(
                "tickTime=1000\ninitLimit=20\nsyncLimit=4\nmaxClientCnxns=0\nadmin.enableServer=false\n\
                 4lw.commands.whitelist=*\n",
            );
            for line in plan.lines {
                let (key, _) = line.split_once('=').expect("key=value");
                let kept: Vec<&str> = text
                    .lines()
                    .filter(|old| !old.starts_with(&format!("{key}=")))
                    .collect();
                text = format!("{}\n{line}\n", kept.join("\n"));
            }
            if plan.observers.contains(&id) {
                text.push_str("peerType=observer\n");
            }
            // Both of Ringkeeper's ways to the kernel are members; Java takes the key for a property of its own.
            let engine = if id % 2 == 0 { "epoll" } else { "io_uring" };
            text.push_str(&format!("ringkeeper.engine={engine}\n{servers}"));
            let home = directory.path().join(id.to_string());
            let make = plan.makes[id as usize - 1];
            Member::new(id, make, place.clone(), &home, text, &logger)
        };
        let members = places.iter().zip(1..).map(member).collect();
        Self { members, directory }
    }

    /// Lays out, starts all and waits until all serve.
    pub fn launch(plan: &Plan) -> Self {
        let mut ensemble = Self::lay_out(plan);
        for member in &mut ensemble.members {
            member.start();
        }
        ensemble.wait_all("the first start");
        ensemble
    }

    /// The same, such that the member with the highest number leads: it wins among empty servers, and nobody is asked
    /// before it runs.
    pub fn launch_led_by_last_voter(plan: &Plan) -> Self {
        let mut ensemble = Self::lay_out(plan);
        let voters: Vec<usize> = (0..plan.makes.len())
            .filter(|index| !plan.observers.contains(&(*index as u32 + 1)))
            .collect();
        let last = *voters.last().expect("a voter");
        // A majority with the last one in it, then the others.
        let (first, rest): (Vec<usize>, Vec<usize>) =
            (0..plan.makes.len()).partition(|index| voters[voters.len() / 2..].contains(index));
        first.into_iter().for_each(|index| ensemble.members[index].start());
        let leads = || ensemble.members[last].mode().as_deref() == Some("leader");
        assert!(
            wait_until(SERVE_MAX, leads),
            "{}",
            ensemble.state("member with the highest number leads")
        );
        rest.into_iter().for_each(|index| ensemble.members[index].start());
        ensemble.wait_all("the first start");
        ensemble
    }

    /// Where clients connect, in the members' order.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(Member::address).collect()
    }

    /// Who leads, if it is exactly one.
    pub fn leader(&self) -> Option<usize> {
        let leads =
            |index: &usize| self.members[*index].is_up() && self.members[*index].mode().as_deref() == Some("leader");
        let leaders: Vec<usize> = (0..self.members.len()).filter(leads).collect();
        match leaders[..] {
            [leader] => Some(leader),
            _ => None,
        }
    }

    /// Waits until every running member serves, one of them as leader; gives that one.
    pub fn wait_all(&mut self, what: &str) -> usize {
        self.wait_all_for(what, SERVE_MAX)
    }

    /// The same with a limit.
    pub fn wait_all_for(&mut self, what: &str, limit: Duration) -> usize {
        let up: Vec<usize> = (0..self.members.len())
            .filter(|index| self.members[*index].is_up())
            .collect();
        let deadline = Instant::now() + limit;
        loop {
            if let Some(died) = self.members.iter_mut().find_map(Member::died) {
                panic!("{what}: {died}\n{}", self.state(what));
            }
            let modes: Vec<Option<String>> = up.iter().map(|index| self.members[*index].mode()).collect();
            let leaders: Vec<usize> = (0..up.len())
                .filter(|at| modes[*at].as_deref() == Some("leader"))
                .collect();
            if modes.iter().all(Option::is_some) && leaders.len() == 1 {
                return up[leaders[0]];
            }
            assert!(Instant::now() < deadline, "{}", self.state(what));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the leader until this member leads. The killed ones come back.
    pub fn crown(&mut self, index: usize) {
        for _ in 0..12 {
            let leader = self.wait_all("a leader to be deposed");
            if leader == index {
                return;
            }
            self.members[leader].kill9();
            self.wait_all("the election of another leader");
            self.members[leader].start();
        }
        panic!("{}", self.state(&format!("member {} leads", index + 1)));
    }

    /// Brings a stopped member back as the other make. Java's directory stays for Ringkeeper's first start to import;
    /// Ringkeeper's is set aside for Java (`how`).
    pub fn turn(&mut self, index: usize, make: Make, how: Return) {
        let member = &mut self.members[index];
        assert!(!member.is_up(), "{} runs", member.name());
        if member.make == Make::Ringkeeper && make == Make::Apache {
            let aside = member.set_data_aside();
            if how == Return::Exported {
                run(Command::new(beside_the_server("zk-convert"))
                    .arg("export")
                    .arg("--from")
                    .arg(&aside)
                    .arg("--to")
                    .arg(member.data()));
            }
        }
        member.make = make;
    }

    /// What each member says of itself: the reason given with every failure.
    pub fn state(&self, awaited: &str) -> String {
        let mut text = format!("awaited in vain: {awaited}");
        for member in &self.members {
            let up = if member.is_up() { "up" } else { "down" };
            text.push_str(&format!(
                "\n=== {} ({up}, {:?}):\n{}",
                member.name(),
                member.mode(),
                tail(member)
            ));
        }
        text.push_str(&format!("\n{}", self.keep_logs()));
        text
    }

    /// Copies outputs, and with `RINGKEEPER_KEEP_DATA` all directories, to where the next `cargo clean` finds them, and says where.
    pub fn keep_logs(&self) -> String {
        let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "mixed-{}-{}",
            std::process::id(),
            self.directory
                .path()
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or("x")
        ));
        let _ = fs::create_dir_all(&to);
        for member in &self.members {
            let _ = fs::copy(member.log_path(), to.join(format!("{}.log", member.id)));
        }
        if std::env::var_os("RINGKEEPER_KEEP_DATA").is_some() {
            let copied = Command::new("cp")
                .args(["--recursive", "--sparse=always"])
                .arg(self.directory.path())
                .arg(&to)
                .status();
            assert!(
                copied.is_ok_and(|status| status.success()),
                "cannot copy {}",
                self.directory.path().display()
            );
        }
        format!("logs: {}", to.display())
    }

    /// What Java members found wrong with digests, and what else no member may ever say.
    pub fn complaints(&self) -> Vec<String> {
        let mut found = Vec::new();
        for member in &self.members {
            let said = self.bad_lines(member);
            found.extend(said.iter().take(3).map(|line| format!("{}: {line}", member.name())));
            if !member.is_up() {
                continue;
            }
            match member.mntr().get("zk_digest_mismatches_count").map(String::as_str) {
                None => found.push(format!(
                    "{}: mntr does not say zk_digest_mismatches_count",
                    member.name()
                )),
                Some("0") => {}
                Some(_) if said.is_empty() && MISMATCHES.iter().any(|words| member.output().contains(words)) => {}
                Some(count) => found.push(format!("{}: zk_digest_mismatches_count {count}", member.name())),
            }
        }
        found
    }

    /// How learners were brought into step, by what their leaders wrote to their logs, ours and Java's.
    pub fn syncs(&self) -> String {
        const KINDS: [(&str, &str, &str); 3] = [
            ("DIFF", " gets DIFF ", "Sending DIFF zxid="),
            ("TRUNC", " gets TRUNC ", "Sending TRUNC zxid"),
            ("SNAP", " gets SNAP ", "Sending snapshot last zxid of peer"),
        ];
        let logs: Vec<String> = self.members.iter().map(Member::output).collect();
        let count = |words: &str| -> usize { logs.iter().map(|log| log.matches(words).count()).sum() };
        let told = KINDS.map(|(kind, ours, theirs)| format!("{kind} {}+{}", count(ours), count(theirs)));
        format!("syncs by ours+Java: {}", told.join(", "))
    }

    /// How many setData transactions with a digest a Java member's log holds: only those can be found wrong.
    pub fn digests_logged(&self, index: usize) -> usize {
        let files = fs::read_dir(self.members[index].data().join("version-2")).expect("a Java member's directory");
        let logs = files
            .flatten()
            .filter(|file| file.file_name().to_string_lossy().starts_with("log."));
        logs.map(|log| digests(&fs::read(log.path()).expect("a log"))).sum()
    }

    /// Lines that no member may write. One kind is Java's own fault and left out: a Java leader sends a snapshot while
    /// writes go on in it, under a zxid from before, so that a Java learner finds the digests of the next transactions wrong
    /// until it is in step (`DataTree#compareDigest`). Ours does not compare before that.
    fn bad_lines(&self, member: &Member) -> Vec<String> {
        let java_leaders: Vec<String> = self
            .members
            .iter()
            .filter(|other| other.was_apache)
            .map(|other| format!("{}:{}", other.place.host, other.place.ports[0]))
            .collect();
        let is_of_java = |text: &str| {
            java_leaders
                .iter()
                .any(|leader| text.split([' ', '/']).any(|word| word == leader))
        };
        let (mut leader_is_java, mut is_in_snapshot) = (false, false);
        let mut found = Vec::new();
        for line in member.output().lines() {
            if let Some((_, address)) = line.split_once("Successfully connected to leader, using address: ") {
                leader_is_java = is_of_java(address);
                is_in_snapshot = false;
            } else if line.contains("Getting a snapshot from leader") {
                is_in_snapshot = true;
            } else if line.contains("Peer state changed: ") && line.ends_with("broadcast") {
                is_in_snapshot = false;
            }
            let is_mismatch = MISMATCHES.iter().any(|words| line.contains(words));
            let is_bad = line.contains("panicked at") || line.contains("OutOfMemoryError");
            let is_java_s = MISMATCHES[..2].iter().any(|words| line.contains(words));
            if is_bad || (is_mismatch && !(is_java_s && leader_is_java && is_in_snapshot)) {
                found.push(line.to_owned());
            }
        }
        found
    }
}

/// How a Java server says it (`DataTree#reportDigestMismatch`), and how ours does.
const MISMATCHES: [&str; 3] = [
    "Digests are not matching",
    "digest mismatch",
    "the tree's digest here is not its leader's",
];

/// Of ZooKeeper's log: a header, then records of checksum, length, header and transaction, and a byte that ends them.
fn digests(log: &[u8]) -> usize {
    const SET_DATA: i32 = 5;
    let mut input = In::new(log.get(16..).unwrap_or_default());
    let mut count = 0;
    while let Some(Some(record)) = input.long().and_then(|_checksum| input.buffer()) {
        let mut record = In::new(record);
        let mut has_digest = || {
            let (_session, _cxid) = (record.long()?, record.int()?);
            let (_zxid, _time, kind) = (record.long()?, record.long()?, record.int()?);
            if kind != SET_DATA {
                return None;
            }
            let (_path, _data, _version) = (record.buffer()?, record.buffer()?, record.int()?);
            // Its version and the sum.
            Some(record.int()? == 2 && record.long().is_some())
        };
        count += usize::from(has_digest() == Some(true));
        // The byte that ends a record.
        input.bool();
    }
    count
}

fn tail(member: &Member) -> String {
    last_lines(&member.output(), 25)
}

/// Curator comes with a logger; ZooKeeper's own jars are fetched without one.
fn logger() -> PathBuf {
    let lib = jars().parent().expect("lib").join("slf4j-simple-2.0.13.jar");
    assert!(lib.exists(), "{} is missing", lib.display());
    lib
}

/// A program of this workspace: where the server is.
pub fn beside_the_server(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_zk-server")).with_file_name(name);
    assert!(
        path.exists(),
        "{} is missing: cargo build --release --workspace (cargo test --workspace builds it)",
        path.display()
    );
    path
}
