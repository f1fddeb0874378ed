//! Power cuts on a real ext4: a server under load, its file system shut down under it without a last flush, mounted
//! again, and everything that was acknowledged is there.
//!
//! The file system lies in a sparse file behind a loop device. `EXT4_IOC_SHUTDOWN` with its no-flush flag stops it as a
//! power cut would: what was not synced is gone, names included. What the disk itself was given is kept, so a disk that
//! lies about its cache is not part of this; the simulated one (`storage/tests/log_crash.rs`) forgets more.
//! `RINGKEEPER_POWER_CUTS` sets the rounds. Where the system permits no loop device or mount, the test says so and why.

mod peers;

mod crash {
    pub mod ledger;
    pub mod writer;
}

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, thread};

use crash::ledger::Ledger;
use crash::writer::Writer;
use peers::jute::Out;
use peers::{Attach, Engine, Peer, RawClient, RingServer, wait_until};
use tempfile::TempDir;

/// Writers at a time; each owns the subtree `/w<number>`.
const WRITERS: usize = 4;

/// Room for several log segments, which are filled with zeros; the file is sparse until then.
const DISK_BYTES: u64 = 1 << 30;

/// An ext4 in a file of its own, unmounted and gone with its guard.
struct Ext4 {
    directory: TempDir,
    mounted: bool,
}

/// Why there is no such file system here.
type NotPermitted = String;

impl Ext4 {
    fn new() -> Result<Ext4, NotPermitted> {
        let directory = TempDir::with_prefix("ringkeeper-ext4-").expect("a temporary directory");
        let image = File::create(directory.path().join("image")).expect("an image");
        image.set_len(DISK_BYTES).expect("a sparse image");
        std::fs::create_dir(directory.path().join("mounted")).expect("a mount point");
        let mut disk = Ext4 {
            directory,
            mounted: false,
        };
        let made = tool("mkfs.ext4", "e2fsprogs", &["-q", "-F"], &[&disk.image()]);
        assert!(made.is_ok(), "mkfs.ext4: {made:?}");
        disk.mount()?;
        Ok(disk)
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    /// The loop device goes with the mount (`mount -o loop` says so to the kernel).
    fn mount(&mut self) -> Result<(), NotPermitted> {
        // Somebody else may take the free loop device that mount found, between its two steps.
        for _ in 0..3 {
            match tool("mount", "mount", &["-o", "loop"], &[&self.image(), &self.root()]) {
                Ok(()) => {
                    self.mounted = true;
                    return Ok(());
                }
                Err(said) if said.contains("overlapping loop device") || said.contains("busy") => {}
                Err(said) => return Err(said),
            }
        }
        Err("no loop device was free three times".into())
    }

    /// The power goes.
    fn cut(&self) {
        use rustix::ioctl::{Opcode, Setter, ioctl, opcode};
        /// `_IOR('X', 125, __u32)`, which the kernel reads from all the same.
        const SHUTDOWN: Opcode = opcode::read::<u32>(b'X', 125);
        /// `EXT4_GOING_FLAGS_NOLOGFLUSH`.
        const WITHOUT_FLUSH: u32 = 2;
        let root = File::open(self.root()).expect("the mounted file system");
        // SAFETY: the request takes a pointer to a u32 that the kernel reads during the call and does not keep, which
        // is what `Setter` hands over; the descriptor is an ext4's, whose request this is.
        let done = unsafe { ioctl(&root, Setter::<SHUTDOWN, u32>::new(WITHOUT_FLUSH)) };
        done.expect("EXT4_IOC_SHUTDOWN");
    }

    fn unmount(&mut self) {
        let said = tool("umount", "mount", &[], &[&self.root()]);
        assert!(said.is_ok(), "umount: {said:?}");
        self.mounted = false;
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        if self.mounted && tool("umount", "mount", &[], &[&self.root()]).is_err() {
            // Somebody still has a file open: the mount goes when they do.
            let _ = tool("umount", "mount", &["-l"], &[&self.root()]);
        }
    }
}

/// Runs a tool; what it said if it failed. A tool that is not there fails the test with its package.
fn tool(name: &str, package: &str, options: &[&str], paths: &[&Path]) -> Result<(), String> {
    let output = Command::new(name).args(options).args(paths).output();
    let output = output.unwrap_or_else(|error| panic!("{name} cannot be run ({error}): install {package}"));
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// A file system, or a word about why not. Only a refusal by the system excuses the test.
fn disk_or_reason(test: &str) -> Option<Ext4> {
    match Ext4::new() {
        Ok(disk) => Some(disk),
        Err(said) => {
            let refusals = [
                "ermission denied",
                "not permitted",
                "superuser",
                "failed to setup loop device",
                "no loop device",
                "unknown filesystem type",
            ];
            assert!(refusals.iter().any(|refusal| said.contains(refusal)), "mount: {said}");
            println!("{test}: NOT RUN, a loop device with an ext4 is not permitted here: {said}");
            None
        }
    }
}

/// The ways in which a server keeps its data.
const WAYS: [(Engine, &[&str]); 4] = [
    (Engine::Uring, &["dataLogDir={disk}/log"]),
    (Engine::Epoll, &[]),
    (
        Engine::Uring,
        &[
            "snapCount=300",
            "autopurge.snapRetainCount=3",
            "autopurge.purgeInterval=1",
        ],
    ),
    (Engine::Epoll, &["dataLogDir={disk}/log", "snapCount=300"]),
];

#[test]
fn acknowledged_writes_survive_power_cuts_on_ext4() {
    let rounds = env::var("RINGKEEPER_POWER_CUTS").map_or(20, |text| text.parse::<usize>().expect("a number"));
    let started = Instant::now();
    let (mut cuts, mut acknowledged) = (0, 0);
    for (way, (engine, lines)) in WAYS.iter().enumerate() {
        let Some(mut disk) = disk_or_reason("power cuts") else {
            return;
        };
        let share = rounds / WAYS.len() + usize::from(way < rounds % WAYS.len());
        acknowledged += cut_again_and_again(&mut disk, *engine, lines, share, 0x9e37 + way as u64);
        cuts += share;
    }
    println!(
        "{cuts} power cuts on ext4, {acknowledged} acknowledged writes checked, none lost, in {:.0} s",
        started.elapsed().as_secs_f64()
    );
    assert!(acknowledged > 10 * cuts, "the writers hardly wrote: {acknowledged}");
}

/// Cuts one server's power `rounds` times; gives how many acknowledged writes were found again.
fn cut_again_and_again(disk: &mut Ext4, engine: Engine, lines: &[&str], rounds: usize, mut random: u64) -> usize {
    let root = disk.root().display().to_string();
    let mut lines: Vec<String> = lines.iter().map(|line| line.replace("{disk}", &root)).collect();
    lines.extend([
        format!("dataDir={root}/data"),
        "tickTime=200".into(),
        "minSessionTimeout=400".into(),
    ]);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut server = RingServer::launch(engine, &lines);
    // The port is open before the store is: only a session says that the server serves.
    drop(RawClient::open(server.address(), &Attach::default()));
    let mut ledgers: Vec<Ledger> = (0..WRITERS).map(Ledger::new).collect();
    let (mut highest, mut acknowledged) = (0, 0);
    for round in 0..rounds {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let load = Duration::from_millis(100 + random % 500);
        ledgers = under_load(disk, &mut server, ledgers, random, load);
        disk.unmount();
        disk.mount().expect("the file system that was mounted before");
        server.start();
        let what = format!("{} {lines:?} round {round}", engine.key());
        let (mut reader, _) = RawClient::open(server.address(), &Attach::default());
        highest = ledgers.iter().map(Ledger::highest_zxid).fold(highest, i64::max);
        for ledger in &mut ledgers {
            acknowledged += ledger.check(&mut reader, &what);
        }
        let reply = reader.call(1, 5, &Out::new().string("/").buffer(b"").int(-1).0, &mut Vec::new());
        assert!(
            reply.err == 0 && reply.zxid > highest,
            "{what}: zxid {:#x} after {highest:#x}",
            reply.zxid
        );
        highest = reply.zxid;
        reader.send(9, -11, &[]);
    }
    println!(
        "{} {lines:?}: {rounds} cuts, {acknowledged} acknowledged writes",
        engine.key()
    );
    server.kill9();
    acknowledged
}

/// Lets every writer write, cuts the power after `load`, and gives the ledgers back. The server, whose log cannot be
/// written any more, must end by itself.
fn under_load(disk: &Ext4, server: &mut RingServer, ledgers: Vec<Ledger>, seed: u64, load: Duration) -> Vec<Ledger> {
    let address = server.address();
    let threads: Vec<_> = ledgers
        .into_iter()
        .enumerate()
        .map(|(index, ledger)| thread::spawn(move || Writer::new(address, ledger, seed ^ index as u64).run()))
        .collect();
    thread::sleep(load);
    let before = server.output().matches("the log cannot be written").count();
    disk.cut();
    let told = || server.output().matches("the log cannot be written").count() > before;
    assert!(
        wait_until(Duration::from_secs(10), told),
        "10 s after its disk went, the server has not said so:\n{}",
        server.output()
    );
    let ledgers = threads
        .into_iter()
        .map(|thread| thread.join().expect("a writer"))
        .collect();
    server.kill9();
    ledgers
}

/// The test of the test: without syncs (`forceSync=no`) the same cut loses what was acknowledged, and it is seen.
#[test]
fn a_power_cut_on_ext4_takes_what_was_not_synced() {
    let Some(mut disk) = disk_or_reason("a power cut without syncs") else {
        return;
    };
    let data = format!("dataDir={}", disk.root().join("data").display());
    let mut server = RingServer::launch(Engine::Epoll, &[&data, "forceSync=no"]);
    let (mut client, _) = RawClient::open(server.address(), &Attach::default());
    const CREATES: u64 = 200;
    for number in 0..CREATES {
        let create = Out::new()
            .string(&format!("/n{number}"))
            .buffer(b"data")
            .acls(&[(31, "world", "anyone")])
            .int(0);
        assert_eq!(client.call(number as i32, 1, &create.0, &mut Vec::new()).err, 0);
    }
    disk.cut();
    server.kill9();
    disk.unmount();
    disk.mount().expect("the file system that was mounted before");
    let mut found = 0;
    let log = disk.root().join("data/ringkeeper-1");
    let verdict = storage::log::LogReader::read(&log, &mut |_| found += 1);
    println!("forceSync=no: {CREATES} acknowledged, {found} in the log after the cut ({verdict:?})");
    assert!(found < CREATES, "the cut took nothing");
}
