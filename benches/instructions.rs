//! Instructions of each operation, counted by callgrind: a figure that a noisy machine does not touch.
//!
//! The program runs itself under valgrind, where every load below is measured alone, and compares each with the figure
//! that is written down here. More than [`TOLERANCE_PERCENT`] above is a failure: either find what it is, or write the
//! new figure down and say why. As much below is told too, so that the figures keep meaning something.
//!
//! `cargo bench --bench instructions`; `-- --profile DIR` keeps callgrind's files for `callgrind_annotate`. Only what
//! runs in user space is counted, and on the calling thread alone; system calls and the disk are `zk-bench`'s subject.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use ringkeeper::server::socketless::{Socketless, request};
use ringkeeper::wire::acl::{Acl, write_list};
use ringkeeper::wire::jute::Writer;
use ringkeeper::wire::reply::{ReplyHeader, write_data};
use ringkeeper::wire::request::{Op, Request, RequestHeader};
use ringkeeper::wire::stat::Stat;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is measured, and instructions per operation on x86-64, with rustc 1.95 and valgrind 3.19.
const RECORDED: &[(&str, u64)] = &[
    ("decode getData", 260),
    ("encode getData 1 KB", 417),
    ("ping", 1_039),
    ("exists", 1_927),
    ("getData 1 KB", 2_086),
    ("getData 1 KB, 16 at a time", 1_857),
    ("getChildren of 100", 3_812),
    ("getChildren2 of 100", 3_971),
    ("setData 1 KB, alone", 21_130),
    ("setData 1 KB, 32 at a time", 14_664),
    ("create 100 B, 32 at a time", 17_168),
    ("delete 100 B, 32 at a time", 14_928),
    ("multi of 10 sets of 1 KB, 4 at a time", 131_019),
];

/// The seed of a tree is random, and with it the depth at which a key lies.
const TOLERANCE_PERCENT: u64 = 5;

/// Set for the program that valgrind runs.
const INSIDE: &str = "RINGKEEPER_COUNTED";

const ZNODES: usize = 1000;
const ROUNDS: usize = 64;

fn main() -> ExitCode {
    if std::env::var_os(INSIDE).is_some() {
        Loads::new().run();
        return ExitCode::SUCCESS;
    }
    match count() {
        Ok(counted) => judge(&counted),
        Err(why) => {
            eprintln!("instructions: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs this program under callgrind. Gives instructions per operation in the order of [`RECORDED`].
fn count() -> Result<Vec<u64>, String> {
    let args: Vec<String> = std::env::args().collect();
    let kept = args.iter().position(|arg| arg == "--profile").map(|at| at + 1);
    let kept: Option<PathBuf> = kept.map(|at| args.get(at).expect("--profile DIR").into());
    let temporary = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
    let directory = kept.as_deref().unwrap_or(temporary.path());
    fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["-q", "--tool=callgrind", "--collect-atstart=no"])
        .args(["--toggle-collect=ringkeeper_counted", "--dump-after=ringkeeper_counted"])
        .arg(format!("--callgrind-out-file={}", directory.join("out").display()))
        .arg(program)
        .env(INSIDE, "1");
    let status = valgrind
        .status()
        .map_err(|error| format!("valgrind does not run ({error}): install it (Debian: valgrind)"))?;
    if !status.success() {
        return Err(format!("the program under valgrind ended with {status}"));
    }
    let total = |index: usize| total(&directory.join(format!("out.{}", index + 1)));
    (0..RECORDED.len())
        .map(|index| Ok(total(index)? / ROUNDS as u64))
        .collect()
}

/// The instructions of one of callgrind's files.
fn total(path: &Path) -> Result<u64, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("totals: "));
    line.and_then(|total| total.trim().parse().ok())
        .ok_or_else(|| format!("{}: no line of totals", path.display()))
}

fn judge(counted: &[u64]) -> ExitCode {
    let is_comparable = cfg!(target_arch = "x86_64");
    if !is_comparable {
        println!("instructions: the figures were written down on x86-64; here they are only told");
    }
    let mut grown = false;
    println!("{:<40}{:>10}{:>10}", "instructions per operation", "recorded", "now");
    for ((name, recorded), now) in RECORDED.iter().zip(counted) {
        let word = match now {
            _ if !is_comparable => "",
            now if now * 100 > recorded * (100 + TOLERANCE_PERCENT) => {
                grown = true;
                "  GROWN"
            }
            now if now * 100 < recorded * (100 - TOLERANCE_PERCENT) => "  less: write the new figure down",
            _ => "",
        };
        println!("{name:<40}{recorded:>10}{now:>10}{word}");
    }
    if grown {
        eprintln!(
            "instructions: more than {TOLERANCE_PERCENT} % above what was recorded, see the top of benches/instructions.rs"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// What callgrind collects from, and dumps after.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ringkeeper_counted(load: &mut dyn_load::Load<'_>) {
    (load.0)();
}

/// A thin pointer's worth of a closure, for a function with a C name.
mod dyn_load {
    pub struct Load<'a>(pub &'a mut dyn FnMut());
}

/// A server with something in it, and what is measured of it.
struct Loads {
    server: Socketless,
    measured: usize,
    _directory: tempfile::TempDir,
}

fn path(number: usize) -> String {
    format!("/bench/znode-{:07}", number % ZNODES)
}

fn set(w: &mut Writer<'_>, number: usize, byte: u8) {
    w.text(&path(number * 7));
    w.buffer(Some(&[byte; 1024]));
    w.int(-1);
}

fn create(w: &mut Writer<'_>, path: &str, data: &[u8]) {
    w.text(path);
    w.buffer(Some(data));
    write_list(w, &[Acl::anyone(31)]);
    w.int(0);
}

fn look(op: Op, path: &str) -> Vec<u8> {
    request(1, op, |w| {
        w.text(path);
        w.bool(false);
    })
}

impl Loads {
    fn new() -> Loads {
        let directory = tempfile::tempdir().expect("a directory");
        let mut server = Socketless::below(directory.path()).expect("a server");
        let mut lay_out = |path: &str, data: &[u8]| assert_eq!(server.ask(Op::Create, |w| create(w, path, data)), 0);
        lay_out("/bench", b"");
        (0..ZNODES).for_each(|number| lay_out(&path(number), &[b'x'; 1024]));
        lay_out("/family", b"");
        (0..100).for_each(|number| lay_out(&format!("/family/child-{number:04}"), b""));
        lay_out("/churn", b"");
        Loads {
            server,
            measured: 0,
            _directory: directory,
        }
    }

    fn run(mut self) {
        let frame = look(Op::GetData, &path(77));
        self.measure("decode getData", || {
            let (header, body) = RequestHeader::split(black_box(&frame[4..])).expect("it is whole");
            let op = Op::from_code(header.code).expect("it is known");
            assert!(matches!(
                black_box(Request::read(op, body)),
                Ok(Request::GetData { .. })
            ));
        });
        let (mut out, data, stat) = (Vec::with_capacity(4096), [b'x'; 1024], Stat::default());
        self.measure("encode getData 1 KB", || {
            out.clear();
            let header = ReplyHeader {
                xid: 1,
                zxid: 1,
                err: 0,
            };
            header.append(&mut out, |w| write_data(w, Some(black_box(&data)), black_box(&stat)));
            black_box(&out);
        });
        let ping = request(-2, Op::Ping, |_| ());
        self.measure_requests("ping", 1, false, |_| ping.clone());
        self.measure_requests("exists", 1, false, |number| look(Op::Exists, &path(number * 7)));
        self.measure_requests("getData 1 KB", 1, false, |number| look(Op::GetData, &path(number * 7)));
        self.measure_requests("getData 1 KB, 16 at a time", 16, false, |number| {
            look(Op::GetData, &path(number * 7))
        });
        self.measure_requests("getChildren of 100", 1, false, |_| look(Op::GetChildren, "/family"));
        self.measure_requests("getChildren2 of 100", 1, false, |_| look(Op::GetChildren2, "/family"));
        let sets = |number: usize| request(1, Op::SetData, |w| set(w, number, number as u8));
        self.measure_requests("setData 1 KB, alone", 1, true, sets);
        self.measure_requests("setData 1 KB, 32 at a time", 32, true, sets);
        let churned = |number: usize| format!("/churn/node-{number:010}");
        self.measure_requests("create 100 B, 32 at a time", 32, true, |number| {
            request(1, Op::Create, |w| create(w, &churned(number), &[b'x'; 100]))
        });
        self.measure_requests("delete 100 B, 32 at a time", 32, true, |number| {
            request(1, Op::Delete, |w| {
                w.text(&churned(number));
                w.int(-1);
            })
        });
        self.measure_requests("multi of 10 sets of 1 KB, 4 at a time", 4, true, |number| {
            request(1, Op::Multi, |w| {
                for place in 0..10 {
                    w.int(Op::SetData as i32);
                    w.bool(false);
                    w.int(-1);
                    set(w, number * 10 + place, number as u8);
                }
                w.int(-1);
                w.bool(true);
                w.int(-1);
            })
        });
        assert_eq!(
            self.measured,
            RECORDED.len(),
            "everything that is recorded was measured"
        );
    }

    /// [`ROUNDS`] times the same thing.
    fn measure(&mut self, name: &str, mut operation: impl FnMut()) {
        assert_eq!(name, RECORDED[self.measured].0, "measured in the recorded order");
        self.measured += 1;
        operation();
        let mut all = || (0..ROUNDS).for_each(|_| operation());
        ringkeeper_counted(&mut dyn_load::Load(&mut all));
    }

    /// [`ROUNDS`] requests, some at a time, after a warm-up of as many reads, or of writes to nowhere.
    fn measure_requests(&mut self, name: &str, at_a_time: usize, writes: bool, frame: impl Fn(usize) -> Vec<u8>) {
        assert_eq!(name, RECORDED[self.measured].0, "measured in the recorded order");
        self.measured += 1;
        let batches: Vec<Vec<u8>> = (0..ROUNDS / at_a_time)
            .map(|batch| {
                (0..at_a_time)
                    .flat_map(|place| frame(batch * at_a_time + place))
                    .collect()
            })
            .collect();
        let server = &mut self.server;
        let mut ask = |batch: &[u8]| {
            server.feed(batch);
            if writes {
                server.commit();
            }
            server.replies(|replies| assert!(black_box(replies).len() >= 20 * at_a_time));
        };
        if writes {
            let refused = request(1, Op::Delete, |w| {
                w.text("/nobody");
                w.int(-1);
            });
            (0..3).for_each(|_| ask(&refused.repeat(at_a_time)));
        } else {
            batches.iter().for_each(|batch| ask(batch));
        }
        let mut all = || batches.iter().for_each(|batch| ask(batch));
        ringkeeper_counted(&mut dyn_load::Load(&mut all));
    }
}
