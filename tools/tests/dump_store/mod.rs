//! What the tests of the dump tools share: running the tools, and a store with one transaction of every sort.
#![allow(dead_code, reason = "each test uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ringkeeper::tree::{Features, Tree};
use ringkeeper::wire::acl::{Acl, Id};
use ringkeeper::wire::txn::{Change, CreateTxn, Txn, TxnHeader};
use storage::Zxid;
use storage::engine::{Engine, Options, Recover};
use storage::log::Log;

pub const SESSION: i64 = 0x1000_0000_0000_0001;

/// A tool's answer.
pub struct Answer {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Answer {
        Answer {
            status: output.status.code().expect("ended by itself"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub fn snapdump(file: &Path, options: &[&str]) -> Answer {
    Command::new(env!("CARGO_BIN_EXE_snapdump"))
        .args(options)
        .arg(file)
        .output()
        .unwrap()
        .into()
}

pub fn logdump(file: &Path, options: &[&str]) -> Answer {
    Command::new(env!("CARGO_BIN_EXE_logdump"))
        .args(options)
        .arg(file)
        .output()
        .unwrap()
        .into()
}

pub fn create(path: &str, data: Option<&[u8]>, acl: Vec<Acl>, kind: CreateTxn) -> Change {
    Change::Create {
        path: path.into(),
        data: data.map(<[u8]>::to_vec),
        acl,
        kind,
        parent_cversion: -1,
    }
}

/// One transaction of every sort; the first has zxid 0x100000001.
pub fn history() -> Vec<Txn> {
    let open = || vec![Acl::anyone(31)];
    let local = vec![Acl {
        perms: 3,
        id: Id::new("ip", "10.0.0.0/8"),
    }];
    vec![
        Txn::CreateSession { timeout_ms: 4000 },
        Txn::Change(create(
            "/a",
            Some(b"one\n"),
            open(),
            CreateTxn::Plain { ephemeral: false },
        )),
        Txn::Change(create("/a/b", None, local, CreateTxn::WithStat { ephemeral: false })),
        Txn::Change(create("/a-c", Some(&[7; 70_000]), open(), CreateTxn::Container)),
        Txn::Change(create("/a/e", Some(b""), open(), CreateTxn::Plain { ephemeral: true })),
        Txn::Change(create("/t", Some(b"x"), open(), CreateTxn::Ttl(5000))),
        Txn::Multi(vec![
            Change::SetData {
                path: "/a".into(),
                data: Some(b"two".to_vec()),
                version: 1,
            },
            Change::Delete { path: "/t".into() },
        ]),
        Txn::Change(create("/t", Some(b"y"), open(), CreateTxn::Ttl(6000))),
        Txn::Error(-101),
        Txn::CloseSession {
            paths: Some(vec!["/a/e".into()]),
        },
    ]
}

pub fn header(index: usize) -> TxnHeader {
    TxnHeader {
        session: SESSION,
        cxid: index as i32,
        zxid: Zxid::new(1, 1 + index as u32).0 as i64,
        time_ms: 1_700_000_000_000 + index as i64,
    }
}

pub fn features() -> Features {
    Features {
        extended_types: true,
        digest: true,
        ..Features::default()
    }
}

/// The tree after the first `count` transactions.
pub fn tree_after(count: usize) -> Tree {
    let mut tree = Tree::new(7, features());
    for (index, txn) in history().iter().take(count).enumerate() {
        tree.apply(&header(index), txn, &mut Vec::new());
    }
    tree
}

/// Takes nothing: what is opened here is empty.
pub struct Empty;

impl Recover for Empty {
    fn begin_snapshot(&mut self, zxid: Zxid, _: u64, _: &[u8]) -> Result<(), String> {
        Err(format!("a snapshot of {zxid} in a new store"))
    }
    fn entry(&mut self, _: &[u8], _: &[u8]) -> Result<(), String> {
        unreachable!("no snapshot began")
    }
    fn end_snapshot(&mut self) -> Result<(), String> {
        unreachable!("no snapshot began")
    }
    fn record(&mut self, zxid: Zxid, _: &[u8]) -> Result<(), String> {
        Err(format!("a record {zxid} in a new store"))
    }
}

/// A store as the engine makes it: the whole history in its log, a batch for each transaction, and a snapshot before
/// the last one.
pub struct Store {
    pub dir: tempfile::TempDir,
    pub snapshot: PathBuf,
    pub segment: PathBuf,
}

pub fn store() -> Store {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: dir.path().join("data"),
        log_dir: dir.path().join("log"),
        segment_bytes: 4 << 20,
        segment_bytes_first: 1 << 20,
        background: false,
        purge: false,
        ..Options::default()
    };
    let (engine, mut log, _) = Engine::open(options, &mut Empty).unwrap();
    let mut tree = Tree::new(7, features());
    for (index, txn) in history().iter().enumerate() {
        if index == 9 {
            let view = tree.view();
            let (zxid, seed) = (view.totals().zxid, view.seed());
            engine
                .write_snapshot(zxid, seed, &view.meta(), &mut view.entries(), None)
                .unwrap();
        }
        let header = header(index);
        tree.apply(&header, txn, &mut Vec::new());
        let mut payload = Vec::new();
        txn.append(&header, Some(tree.totals().digest), &mut payload);
        append(&mut log, Zxid(header.zxid as u64), &payload);
    }
    let (data, log_path) = (engine.data_path().to_owned(), engine.log_path().to_owned());
    drop((log, engine));
    Store {
        snapshot: data.join("snapshot.0000000100000009"),
        segment: log_path.join("log.0000000100000001"),
        dir,
    }
}

pub fn append(log: &mut Log, zxid: Zxid, payload: &[u8]) {
    log.append(zxid, &[payload]);
    let write = log.next_write().expect("something was appended");
    let write = write.perform().unwrap();
    assert_eq!(log.written(write), zxid);
}

/// Every line of a tool that was asked for JSON.
pub fn json_lines(answer: &Answer) -> Vec<serde_json::Value> {
    answer
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A tree of another seed after the first `count` transactions: the same tree in another order.
pub fn tree_of(seed: u64, count: usize) -> Tree {
    let mut tree = Tree::new(seed, features());
    for (index, txn) in history().iter().take(count).enumerate() {
        tree.apply(&header(index), txn, &mut Vec::new());
    }
    tree
}

/// Writes a tree as a snapshot.
pub fn write_snapshot(tree: &mut Tree, file: &Path) {
    let view = tree.view();
    let mut out = std::io::BufWriter::new(std::fs::File::create(file).unwrap());
    let (zxid, seed) = (view.totals().zxid, view.seed());
    storage::snapshot::write(&mut out, zxid, seed, &view.meta(), &mut view.entries(), None).unwrap();
}

/// Holds a text against a golden file. One that differs is left beside the build, to be copied if it can be explained.
pub fn expect_golden(name: &str, found: &str) {
    let wanted = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let text = std::fs::read_to_string(&wanted).unwrap_or_default();
    if text != found {
        let left = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&left, found).unwrap();
        panic!(
            "{} is not what was found; that is in {}:\n{found}",
            wanted.display(),
            left.display()
        );
    }
}
