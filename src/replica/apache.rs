//! From a data directory of Apache ZooKeeper to a tree: a snapshot, then the log behind it, as Java restores them
//! (`FileTxnSnapLog#restore`), but with what Java lets pass held against the files.
//!
//! * A newest snapshot that is not whole is passed over, as after every kill, and named. The one before it serves only
//!   with a log without gaps, so the state is the same.
//! * A snapshot that was written while transactions went on needs the log up to the end of its writing. How far that
//!   was is told by its digest, by its last zxid and by the newest transaction that left a trace in a node; a log that
//!   ends earlier is refused.
//! * Digests, of the snapshot and of each transaction, are compared; the last comparison decides. One before may
//!   differ: a snapshot may hold half of the transaction that was being applied when it ended.
//!
//! Invariant: the directory is only read.

use std::fmt;
use std::path::PathBuf;

use storage::Zxid;
use storage::apache::directory::{Directory, Replayed, SnapshotFile, TornLog};
use storage::apache::log::Record;
use storage::apache::snapshot::Trailer;
use storage::apache::{FileError, ReadError};

use crate::tree::apache::{Building, dead_sessions, digests_in_other_charsets, missing_acl};
use crate::tree::{Features, Tree};
use crate::wire::txn::{DIGEST_VERSION, Txn, TxnHeader};

/// Replaced pieces of the tree are freed after so many transactions.
const RECLAIM_EVERY: u64 = 1024;

/// How a directory is read.
#[derive(Clone)]
pub struct Options {
    /// How transactions apply. Digests are computed whatever it says, to be compared.
    pub features: Features,
    /// For the order of the trie.
    pub seed: u64,
    /// `snapshot.trust.empty`: logs without any snapshot are a whole history.
    pub trust_empty: bool,
    /// A snapshot whose log is missing is taken as it is, whatever transactions it holds in part.
    pub allow_fuzzy: bool,
    /// A tree whose digest is another than Java's is taken.
    pub allow_other_digest: bool,
}

/// What became of the directory.
pub struct Recovered {
    /// The tree, at its last transaction.
    pub tree: Tree,
    /// What was found, for people.
    pub report: Report,
}

/// What was found on the way.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The last transaction.
    pub zxid: Zxid,
    /// The snapshot that it began from.
    pub snapshot: Option<PathBuf>,
    /// Newer ones that were passed over, each with its reason.
    pub passed_over: Vec<String>,
    /// Transactions behind it, and in how many logs.
    pub replayed: u64,
    /// Log files read.
    pub logs: u64,
    /// Torn ends that were passed over.
    pub torn: Vec<TornLog>,
    /// Files that nothing reads.
    pub strangers: Vec<PathBuf>,
    /// Digests that were compared and equal.
    pub digests_equal: u64,
    /// What the digests say in the end.
    pub digest: DigestVerdict,
    /// Nodes.
    pub nodes: u64,
    /// Sessions.
    pub sessions: u32,
    /// Ephemerals of sessions that were gone; removed.
    pub orphans: usize,
    /// The snapshot may hold parts of later transactions, and this was allowed.
    pub fuzzy: bool,
}

/// What comparing digests came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DigestVerdict {
    /// There was none to compare with.
    #[default]
    None,
    /// The last one is the tree's.
    Equal(Zxid),
    /// It is the tree's, if paths are digested in the charset of a JVM that was not UTF-8.
    OtherCharset(Zxid),
    /// It differs, and there are paths of which only that JVM knows the bytes.
    Unknown(Zxid),
    /// It differs, which was allowed.
    Different(Zxid),
}

/// Why a directory is not used. It was only read.
#[derive(Debug)]
pub enum Refusal {
    /// There is nothing in it.
    Empty(Directory),
    /// There are logs, but no snapshot.
    NoSnapshot(PathBuf),
    /// No snapshot can be used.
    Snapshots(Vec<String>),
    /// A log is damaged, or a part of the history is missing.
    Damaged(FileError),
    /// A snapshot was written while transactions went on, and their log is missing.
    Fuzzy {
        /// The snapshot.
        file: PathBuf,
        /// Its zxid.
        zxid: Zxid,
        /// What it may hold a part of.
        needs: Zxid,
        /// Where the log ends.
        reached: Zxid,
    },
    /// A node's ACL is nowhere.
    MissingAcl {
        /// The snapshot.
        file: PathBuf,
        /// The node.
        node: String,
        /// The number it names.
        number: String,
    },
    /// The tree is not the one that Java had.
    Digest {
        /// After this transaction.
        zxid: Zxid,
        /// Ours.
        mine: u64,
        /// Java's.
        theirs: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Empty(directory) => write!(
                f,
                "there is neither a snapshot nor a log of Apache ZooKeeper in {} and {}",
                directory.snapshot_dir.display(),
                directory.log_dir.display()
            )?,
            Refusal::NoSnapshot(log) => write!(
                f,
                "{} is there, but no snapshot: without one, what stood before the log is unknown. Put the newest \
                 snapshot back; or, if the log goes back to the very beginning (ZooKeeper before 3.5.3 could leave it \
                 so), set snapshot.trust.empty=true",
                log.display()
            )?,
            Refusal::Snapshots(reasons) => write!(
                f,
                "no snapshot can be used: {}. Put a whole one back, with the logs behind it",
                reasons.join("; ")
            )?,
            Refusal::Damaged(error) => write!(
                f,
                "{error}. Put the file back from a copy or from another server of the ensemble; a log can be repaired \
                 with ZooKeeper's own TxnLogToolkit"
            )?,
            Refusal::Fuzzy {
                file,
                zxid,
                needs,
                reached,
            } => write!(
                f,
                "{} was written while transactions went on: it may hold parts of those from {} to {needs}, and is the \
                 state of no moment without their log, which ends at zxid {reached}. Put the log files behind zxid \
                 {zxid} next to it (dataLogDir); zk-convert import --allow-fuzzy takes it as it is",
                file.display(),
                zxid.next()
            )?,
            Refusal::MissingAcl { file, node, number } => write!(
                f,
                "{}: the node {node} names the ACL {number}, which neither the snapshot nor the log behind it has. Use \
                 another snapshot, or have setAcl called for the node on the old server and try again",
                file.display()
            )?,
            Refusal::Digest { zxid, mine, theirs } => write!(
                f,
                "at zxid {zxid} the tree's digest is {mine:x}, and {theirs:x} on the server that wrote the files: they \
                 are not what it had. Use the files of another server of the ensemble; zk-convert import \
                 --allow-other-digest takes the tree as it is"
            )?,
        }
        write!(f, ". Nothing was changed.")
    }
}

impl std::error::Error for Refusal {}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many nodes of the snapshot, and bytes of its file, of so many.
    Snapshot {
        /// Nodes read.
        nodes: u64,
        /// Bytes of the file that were read.
        read: u64,
        /// Bytes of the file.
        length: u64,
    },
    /// So many transactions of the log.
    Log {
        /// Transactions applied.
        replayed: u64,
    },
}

/// Reads a directory.
///
/// # Errors
/// [`Refusal`]
pub fn recover(
    directory: &Directory,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Recovered, Refusal> {
    if directory.is_empty() {
        return Err(Refusal::Empty(directory.clone()));
    }
    let mut report = Report {
        strangers: directory.strangers.clone(),
        ..Report::default()
    };
    let mut run = match load_newest(directory, options, &mut report, progress)? {
        Some(run) => run,
        None => {
            if !options.trust_empty {
                return Err(Refusal::NoSnapshot(directory.logs[0].path.clone()));
            }
            Run::from_nothing(options)
        }
    };
    let replayed = directory
        .replay(run.state, &mut |record| run.record(record, progress))
        .map_err(Refusal::Damaged)?;
    run.settle(replayed, options, report)
}

fn features(options: &Options) -> Features {
    Features {
        digest: true,
        ..options.features.clone()
    }
}

/// The newest snapshot that is whole. `None` if there is none at all.
fn load_newest(
    directory: &Directory,
    options: &Options,
    report: &mut Report,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Run>, Refusal> {
    for file in directory.snapshots.iter().rev() {
        match load(file, options, progress) {
            Ok(run) => {
                report.snapshot = Some(file.path.clone());
                return Ok(Some(run));
            }
            Err(error) => report.passed_over.push(error.to_string()),
        }
    }
    match report.passed_over.is_empty() {
        true => Ok(None),
        false => Err(Refusal::Snapshots(report.passed_over.clone())),
    }
}

fn load(file: &SnapshotFile, options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Run, FileError> {
    let fail = |error: ReadError| error.of(&file.path);
    file.check_whole()?;
    let mut opened = file.open()?;
    let mut building = Building::new(options.seed, features(options));
    let (read, length) = (opened.read, opened.length);
    let mut told = |nodes| {
        let read = read.load(std::sync::atomic::Ordering::Relaxed);
        progress(Progress::Snapshot { nodes, read, length });
    };
    building
        .read(&mut opened.reader, file.zxid, &mut told)
        .and_then(|()| opened.reader.finish())
        .and_then(|trailer| {
            let offset = opened.reader.offset();
            let zxid = file.zxid;
            let built = building.finish(zxid);
            let built = built.map_err(|why| ReadError::Refused { offset, zxid, why })?;
            Ok(Run::from_snapshot(file, &trailer, built))
        })
        .map_err(fail)
}

/// A tree while the log is applied to it.
struct Run {
    tree: Tree,
    state: Zxid,
    /// The snapshot and its zxid, and the newest transaction that it may hold a part of.
    snapshot: Option<(PathBuf, Zxid)>,
    needs: Zxid,
    /// The snapshot's digest, to be compared when its transaction is reached.
    awaited: Option<(Zxid, u64)>,
    equal: u64,
    last: Option<Compared>,
    replayed: u64,
}

#[derive(Clone, Copy)]
struct Compared {
    zxid: Zxid,
    mine: u64,
    theirs: u64,
}

impl Run {
    fn from_nothing(options: &Options) -> Run {
        Run {
            tree: Tree::new(options.seed, features(options)),
            state: Zxid::ZERO,
            snapshot: None,
            needs: Zxid::ZERO,
            awaited: None,
            equal: 0,
            last: None,
            replayed: 0,
        }
    }

    fn from_snapshot(file: &SnapshotFile, trailer: &Trailer, built: crate::tree::apache::Built) -> Run {
        let as_zxid = |zxid: i64| Zxid(zxid.max(0) as u64);
        // One of an older epoch's last transaction stands in the snapshot of a leader that has just begun its own.
        let digest = trailer
            .digest
            .filter(|digest| digest.zxid > 0 && as_zxid(digest.zxid) >= file.zxid);
        let comparable = digest.filter(|digest| digest.version == DIGEST_VERSION);
        let needs = [
            digest.map(|digest| as_zxid(digest.zxid)),
            trailer.last_zxid.map(as_zxid),
        ];
        let mut run = Run {
            tree: built.tree,
            state: file.zxid,
            snapshot: Some((file.path.clone(), file.zxid)),
            needs: needs.into_iter().flatten().fold(built.newest.max(file.zxid), Zxid::max),
            awaited: comparable.map(|digest| (as_zxid(digest.zxid), digest.digest)),
            equal: 0,
            last: None,
            replayed: 0,
        };
        run.reach(file.zxid);
        run
    }

    fn record(&mut self, record: &Record<'_>, progress: &mut dyn FnMut(Progress)) -> Result<(), String> {
        let (header, txn, digest) =
            Txn::read(record.payload).map_err(|error| format!("the transaction does not decode: {error}"))?;
        let zxid = Zxid(header.zxid as u64);
        self.tree.apply(&header, &txn, &mut Vec::new());
        self.state = zxid;
        self.reach(zxid);
        if let Some(theirs) = digest
            && self.awaited.is_none()
        {
            self.compare(zxid, theirs);
        }
        self.replayed += 1;
        if self.replayed.is_multiple_of(RECLAIM_EVERY) {
            self.tree.reclaim(usize::MAX);
            progress(Progress::Log {
                replayed: self.replayed,
            });
        }
        Ok(())
    }

    /// Compares the snapshot's digest when the tree is where it was taken (`DataTree#compareSnapshotDigests`).
    fn reach(&mut self, zxid: Zxid) {
        if let Some((_, theirs)) = self.awaited.take_if(|(awaited, _)| *awaited <= zxid) {
            self.compare(zxid, theirs);
        }
    }

    fn compare(&mut self, zxid: Zxid, theirs: u64) {
        let mine = self.tree.totals().digest;
        self.equal += u64::from(mine == theirs);
        self.last = Some(Compared { zxid, mine, theirs });
    }

    /// All that was read is held against itself.
    fn settle(mut self, replayed: Replayed, options: &Options, mut report: Report) -> Result<Recovered, Refusal> {
        if let (Some((file, zxid)), true) = (&self.snapshot, replayed.last < self.needs) {
            if !options.allow_fuzzy {
                return Err(Refusal::Fuzzy {
                    file: file.clone(),
                    zxid: *zxid,
                    needs: self.needs,
                    reached: replayed.last,
                });
            }
            report.fuzzy = true;
        }
        let view = self.tree.view();
        if let (Some((file, _)), Some((node, number))) = (&self.snapshot, missing_acl(&view)) {
            let file = file.clone();
            return Err(Refusal::MissingAcl { file, node, number });
        }
        report.digest = self.digest_verdict(options.allow_other_digest || report.fuzzy)?;
        drop(view);
        report.orphans = self.remove_orphans();
        self.tree.reclaim(usize::MAX);
        let totals = *self.tree.totals();
        (report.zxid, report.nodes, report.sessions) = (totals.zxid, totals.nodes, totals.sessions);
        (report.replayed, report.logs) = (replayed.records, replayed.files);
        report.torn = replayed.torn;
        report.digests_equal = self.equal;
        if !options.features.digest {
            self.tree.keep_no_digest();
        }
        Ok(Recovered {
            tree: self.tree,
            report,
        })
    }

    fn digest_verdict(&mut self, allowed: bool) -> Result<DigestVerdict, Refusal> {
        // Before the end of the snapshot's writing a comparison says nothing.
        let Some(Compared { zxid, mine, theirs }) = self.last.filter(|last| last.zxid >= self.needs) else {
            return Ok(DigestVerdict::None);
        };
        if mine == theirs {
            return Ok(DigestVerdict::Equal(zxid));
        }
        match digests_in_other_charsets(&self.tree.view()) {
            // What follows the last comparison changed nothing, or it would have been compared.
            Some(others) if others.contains(&theirs) => Ok(DigestVerdict::OtherCharset(zxid)),
            Some(_) => Ok(DigestVerdict::Unknown(zxid)),
            None if allowed => Ok(DigestVerdict::Different(zxid)),
            None => Err(Refusal::Digest { zxid, mine, theirs }),
        }
    }

    /// What sessions own that are gone is removed, as when Java starts (`ZooKeeperServer#loadData`).
    fn remove_orphans(&mut self) -> usize {
        let before = self.tree.totals().ephemerals;
        for session in dead_sessions(&self.tree.view()) {
            let header = TxnHeader {
                session,
                cxid: 0,
                zxid: self.state.0 as i64,
                time_ms: 0,
            };
            self.tree
                .apply(&header, &Txn::CloseSession { paths: None }, &mut Vec::new());
        }
        (before - self.tree.totals().ephemerals) as usize
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.snapshot {
            Some(path) => write!(f, "{}", path.display())?,
            None => write!(f, "no snapshot")?,
        }
        write!(
            f,
            ", {} transactions from {} logs: zxid {}, {} nodes, {} sessions",
            self.replayed, self.logs, self.zxid, self.nodes, self.sessions
        )?;
        match self.digest {
            DigestVerdict::None => write!(f, "; there was no digest to compare with")?,
            DigestVerdict::Equal(zxid) => write!(
                f,
                "; the digest is Java's ({} compared, the last at zxid {zxid})",
                self.digests_equal
            )?,
            DigestVerdict::OtherCharset(zxid) => {
                write!(f, "; the digest at zxid {zxid} is Java's, whose charset was not UTF-8")?
            }
            DigestVerdict::Unknown(zxid) => write!(
                f,
                "; the digest at zxid {zxid} differs, and cannot be checked: there are paths beyond ASCII, which a JVM \
                 digests in its own charset"
            )?,
            DigestVerdict::Different(zxid) => write!(f, "; the digest at zxid {zxid} DIFFERS from Java's")?,
        }
        if self.fuzzy {
            write!(
                f,
                "; the log is MISSING that the snapshot needs: it may hold parts of transactions"
            )?;
        }
        if self.orphans > 0 {
            write!(
                f,
                "; {} ephemerals of sessions that are gone were left out",
                self.orphans
            )?;
        }
        self.passed_over
            .iter()
            .try_for_each(|why| write!(f, "; passed over: {why}"))?;
        self.torn.iter().try_for_each(|torn| write!(f, "; {torn}"))?;
        self.strangers
            .iter()
            .try_for_each(|path| write!(f, "; not read: {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use storage::apache::directory::{log_name, snapshot_name};
    use storage::apache::{Compression, log, snapshot};

    use super::*;
    use crate::tree::apache as tree_apache;
    use crate::wire::acl::{ALL, Acl};
    use crate::wire::txn::{Change, CreateTxn};

    fn options() -> Options {
        Options {
            features: Features {
                extended_types: true,
                digest: true,
                ..Features::default()
            },
            seed: 1,
            trust_empty: false,
            allow_fuzzy: false,
            allow_other_digest: false,
        }
    }

    const SESSION: i64 = 0x99;

    /// A history: a tree, and each transaction as Java logs it.
    struct History {
        tree: Tree,
        payloads: Vec<Vec<u8>>,
    }

    impl History {
        fn new(txns: &[Txn]) -> History {
            let mut history = History {
                tree: Tree::new(5, options().features),
                payloads: Vec::new(),
            };
            txns.iter().for_each(|txn| history.push(txn));
            history
        }

        fn push(&mut self, txn: &Txn) {
            let mut txn = txn.clone();
            if let Txn::Change(Change::Create {
                path, parent_cversion, ..
            }) = &mut txn
            {
                // As a leader counts; without it (before 3.4) a replay would count twice.
                let parent = self.tree.node(crate::base::path::parent(path).unwrap()).unwrap();
                *parent_cversion = parent.stat.cversion + 1;
            }
            let header = TxnHeader {
                session: SESSION,
                cxid: 0,
                zxid: self.payloads.len() as i64 + 1,
                time_ms: 1000,
            };
            self.tree.apply(&header, &txn, &mut vec![]);
            let digest = self.tree.totals().digest;
            let mut payload = Vec::new();
            txn.append(&header, Some(digest), &mut payload);
            self.payloads.push(payload);
        }
    }

    fn create(path: &str, ephemeral: bool) -> Txn {
        Txn::Change(Change::Create {
            path: path.into(),
            data: Some(path.as_bytes().to_vec()),
            acl: vec![Acl::anyone(ALL)],
            kind: CreateTxn::Plain { ephemeral },
            parent_cversion: -1,
        })
    }

    fn delete(path: &str) -> Txn {
        Txn::Change(Change::Delete { path: path.into() })
    }

    fn set(path: &str, version: i32) -> Txn {
        Txn::Change(Change::SetData {
            path: path.into(),
            data: Some(vec![version as u8; 3]),
            version,
        })
    }

    /// Creates, deletes, creates again, changes: what a walk under load may meet in any state.
    fn busy() -> Vec<Txn> {
        vec![
            Txn::CreateSession { timeout_ms: 5000 },
            create("/a", false),
            create("/a/b", false),
            create("/e", true),
            set("/a/b", 1),
            delete("/a/b"),
            create("/a/b", false),
            create("/a/c", true),
            set("/a/b", 1),
            Txn::Error(-101),
            Txn::Multi(vec![
                Change::Delete { path: "/a/c".into() },
                Change::Check {
                    path: "/a".into(),
                    version: 1,
                },
            ]),
            create("/f", true),
            set("/a", 1),
        ]
    }

    fn digest_of(tree: &Tree, zxid: u64) -> snapshot::Digest {
        snapshot::Digest {
            zxid: zxid as i64,
            version: DIGEST_VERSION,
            digest: tree.totals().digest,
        }
    }

    /// Writes a tree under the name of a zxid: later than it, if the name is to lie about what is in it.
    fn put_snapshot(place: &Path, named: u64, tree: &mut Tree, digest: snapshot::Digest, last: u64) {
        let view = tree.view();
        let begin = |sessions| snapshot::Writer::file(Vec::new(), sessions);
        let writer = tree_apache::write(&view, begin, &mut |_| {}).unwrap();
        let (bytes, _) = writer.finish(&digest, last as i64).unwrap();
        fs::write(place.join(snapshot_name(Zxid(named), Compression::None)), bytes).unwrap();
    }

    fn put_log(place: &Path, payloads: &[Vec<u8>]) {
        let mut writer = log::Writer::new(Vec::new()).unwrap();
        payloads.iter().for_each(|payload| writer.append(payload).unwrap());
        let first = log::TxnHeader::of(&payloads[0]).unwrap().zxid;
        fs::write(place.join(log_name(Zxid(first as u64))), writer.into_inner()).unwrap();
    }

    fn read(place: &Path, options: &Options) -> Result<Recovered, Refusal> {
        recover(&Directory::list(place, place).unwrap(), options, &mut |_| {})
    }

    #[track_caller]
    fn refused(place: &Path) -> String {
        read(place, &options()).err().expect("it is refused").to_string()
    }

    /// A snapshot of any name with the state of any later transaction is the fuzziest there is.
    #[test]
    fn replay_from_every_fuzzy_snapshot_gives_one_tree() {
        let all = busy();
        let want = History::new(&all);
        for named in 1..=all.len() {
            for state in named..=all.len() {
                let dir = tempfile::tempdir().unwrap();
                let mut then = History::new(&all[..state]);
                let digest = digest_of(&then.tree, state as u64);
                put_snapshot(dir.path(), named as u64, &mut then.tree, digest, state as u64);
                put_log(dir.path(), &want.payloads);
                let Recovered { tree, report } = read(dir.path(), &options()).unwrap();
                let what = format!("the state of {state} under the name of {named}: {report}");
                let (mut mine, mut theirs) = (*tree.totals(), *want.tree.totals());
                (mine.acl_newest, theirs.acl_newest) = (0, 0);
                assert_eq!(mine, theirs, "{what}");
                assert_eq!(report.digest, DigestVerdict::Equal(Zxid(all.len() as u64)), "{what}");
                // Without the log it is the state of no moment, unless nothing came in between.
                fs::remove_file(dir.path().join("log.1")).unwrap();
                if state > named {
                    let told = refused(dir.path());
                    assert!(
                        told.contains(&format!("parts of those from 0x{:x} to 0x{state:x}", named + 1)),
                        "{told}"
                    );
                    let allowed = Options {
                        allow_fuzzy: true,
                        ..options()
                    };
                    assert!(read(dir.path(), &allowed).unwrap().report.fuzzy);
                } else {
                    assert_eq!(read(dir.path(), &options()).unwrap().report.zxid, Zxid(named as u64));
                }
            }
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let all = busy();
        let want = History::new(&all);
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path();
        assert!(refused(place).contains("neither a snapshot nor a log"));
        put_log(place, &want.payloads[..6]);
        assert!(refused(place).contains("log.1 is there, but no snapshot"));
        let trusted = Options {
            trust_empty: true,
            ..options()
        };
        assert_eq!(read(place, &trusted).unwrap().report.zxid, Zxid(6));
        // A gap, between logs and behind the snapshot.
        let mut then = History::new(&all[..2]);
        let digest = digest_of(&then.tree, 2);
        put_snapshot(place, 2, &mut then.tree, digest, 2);
        put_log(place, &want.payloads[8..]);
        assert!(refused(place).contains("log.9 is damaged at offset 16 (behind zxid 0x6)"));
        fs::remove_file(place.join("log.1")).unwrap();
        assert!(refused(place).contains("the record of zxid 0x9 does not follow 0x2"));
    }

    #[test]
    fn damage_is_named_and_an_older_snapshot_serves_only_with_the_whole_log() {
        let all = busy();
        let want = History::new(&all);
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path();
        for zxid in [3, 8] {
            let mut then = History::new(&all[..zxid]);
            let digest = digest_of(&then.tree, zxid as u64);
            put_snapshot(place, zxid as u64, &mut then.tree, digest, zxid as u64);
        }
        put_log(place, &want.payloads[3..]);
        let newest = place.join("snapshot.8");
        let whole = fs::read(&newest).unwrap();
        let mut damaged = whole.clone();
        damaged[200] ^= 1;
        fs::write(&newest, &damaged).unwrap();
        let Recovered { report, .. } = read(place, &options()).unwrap();
        assert_eq!((report.zxid, report.replayed), (Zxid(13), 10));
        assert!(
            report.to_string().contains("passed over: ") && report.passed_over[0].contains("snapshot.8 is damaged")
        );
        // A log that begins behind the damaged snapshot does not reach back to the older one.
        fs::remove_file(place.join("log.4")).unwrap();
        put_log(place, &want.payloads[8..]);
        assert!(refused(place).contains("0x9 does not follow 0x3"));
        fs::remove_file(place.join("snapshot.3")).unwrap();
        assert!(refused(place).contains("no snapshot can be used"));
        fs::write(&newest, &whole).unwrap();
        read(place, &options()).unwrap();
        // A log's bit, and a transaction of a type that nobody knows.
        let path = place.join("log.9");
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[60] ^= 1;
        fs::write(&path, bad).unwrap();
        assert!(refused(place).contains("log.9 is damaged at offset 16: the record"));
        fs::remove_file(&path).unwrap();
        let mut unknown = want.payloads[8].clone();
        unknown[31] = 77;
        put_log(place, &[unknown]);
        let told = refused(place);
        assert!(
            told.contains("offset 16, zxid 0x9") && told.contains("unknown transaction type 77"),
            "{told}"
        );
    }

    #[test]
    fn another_digest_is_refused_if_it_is_the_last_word() {
        let all = busy();
        let want = History::new(&all);
        let dir = tempfile::tempdir().unwrap();
        let mut then = History::new(&all[..4]);
        let wrong = snapshot::Digest {
            digest: 1,
            ..digest_of(&then.tree, 4)
        };
        put_snapshot(dir.path(), 4, &mut then.tree, wrong, 4);
        let told = refused(dir.path());
        assert!(
            told.contains("at zxid 0x4") && told.contains("and 1 on the server"),
            "{told}"
        );
        let allowed = Options {
            allow_other_digest: true,
            ..options()
        };
        assert_eq!(
            read(dir.path(), &allowed).unwrap().report.digest,
            DigestVerdict::Different(Zxid(4))
        );
        // A transaction that was being applied when the digest was noted: the next ones say that all is well.
        put_log(dir.path(), &want.payloads[4..]);
        assert_eq!(
            read(dir.path(), &options()).unwrap().report.digest,
            DigestVerdict::Equal(Zxid(13))
        );
    }

    #[test]
    fn old_closes_take_what_the_session_owns_and_orphans_go() {
        let mut all = busy();
        all.push(Txn::CloseSession { paths: None });
        let want = History::new(&all);
        let dir = tempfile::tempdir().unwrap();
        let mut then = History::new(&all[..4]);
        let digest = digest_of(&then.tree, 4);
        put_snapshot(dir.path(), 4, &mut then.tree, digest, 4);
        put_log(dir.path(), &want.payloads[4..]);
        let Recovered { tree, report } = read(dir.path(), &options()).unwrap();
        assert_eq!((report.sessions, report.orphans, tree.totals().ephemerals), (0, 0, 0));
        // An ephemeral of a session that nobody knows: ZooKeeper removes it at start.
        let mut orphaned = History::new(&all[1..4]);
        let dir = tempfile::tempdir().unwrap();
        let digest = digest_of(&orphaned.tree, 3);
        put_snapshot(dir.path(), 3, &mut orphaned.tree, digest, 3);
        let Recovered { tree, report } = read(dir.path(), &options()).unwrap();
        assert_eq!((report.orphans, report.digest), (1, DigestVerdict::Equal(Zxid(3))));
        assert!(tree.node("/e").is_none() && tree.node("/a/b").is_some());
    }
}
