//! What a refusal says, case by case: what is wrong, how far the rest reaches, and what to do.

use std::path::PathBuf;

use storage::Zxid;
use storage::engine::OpenError;
use storage::error::{Remains, WayOut};

#[track_caller]
fn check(error: OpenError, expect: &str) {
    assert_eq!(error.to_string(), expect);
}

fn log() -> PathBuf {
    PathBuf::from("/log/log.0000000000000015")
}

fn snapshot() -> PathBuf {
    PathBuf::from("/data/snapshot.0000000000000030")
}

/// A whole snapshot, a log that leads on from it, and files that tell of more.
fn remains(snapshot: u64, reached: u64, resumes: Option<u64>, known: u64) -> Remains {
    Remains {
        snapshot: Some(Zxid(snapshot)).filter(|zxid| zxid.0 > 0),
        reached: Zxid(reached),
        resumes: resumes.map(Zxid),
        known: Zxid(known),
    }
}

#[test]
fn a_damaged_log_tells_what_would_be_lost() {
    let corrupt = |way_out| OpenError::Corrupt {
        file: log(),
        offset: 8192,
        after: Some(Zxid(0x20)),
        reason: "the sector does not match its seal".into(),
        way_out: Box::new(way_out),
    };
    check(
        corrupt(WayOut::Log(remains(0x10, 0x20, None, 0x30))),
        "/log/log.0000000000000015 is damaged at offset 8192 (behind zxid 0x20): the sector does not match its seal. \
         Nothing was changed. Without it, snapshot.0000000000000010 is the newest whole snapshot, and the log leads to \
         zxid 0x20: zxid 0x21 to 0x30 or more would be lost. Put the file back as it was, or restore dataDir and \
         dataLogDir together from one backup; to go on with the state at zxid 0x20 and lose the rest, write it to a new \
         directory with zk-server salvage; or, to begin with an empty tree, move the ringkeeper-1 directories of both \
         away.",
    );
    check(
        corrupt(WayOut::Misplaced(remains(0, 0x14, Some(0x20), 0x30))),
        "/log/log.0000000000000015 is damaged at offset 8192 (behind zxid 0x20): the sector does not match its seal. \
         Nothing was changed. Some other file was put in its place. Without it there is no whole snapshot, and the log \
         leads to zxid 0x14; it goes on only behind zxid 0x20: zxid 0x15 to 0x30 or more would be lost. Put the right \
         file back, or restore dataDir and dataLogDir together from one backup; to go on with the state at zxid 0x14 and \
         lose the rest, write it to a new directory with zk-server salvage; or, to begin with an empty tree, move the \
         ringkeeper-1 directories of both away.",
    );
    check(
        corrupt(WayOut::OlderManifest),
        "/log/log.0000000000000015 is damaged at offset 8192 (behind zxid 0x20): the sector does not match its seal. \
         Nothing was changed. Put back the manifest that was there last: this one is from an older copy of dataDir; or \
         restore dataDir and dataLogDir together from one backup; or, to begin with an empty tree, move the ringkeeper-1 \
         directories of both away.",
    );
}

#[test]
fn a_lost_snapshot_tells_whether_an_older_one_and_the_log_would_do() {
    let missing = |way_out| OpenError::Missing {
        file: snapshot(),
        because: "/data/manifest lists it".into(),
        way_out: Box::new(way_out),
    };
    check(
        missing(WayOut::Snapshot(remains(0x10, 0x30, None, 0x30))),
        "/data/snapshot.0000000000000030 is missing: /data/manifest lists it. Nothing was changed. Without it, \
         snapshot.0000000000000010 is the newest whole snapshot, and the log leads to zxid 0x30: nothing that the files \
         know of would be lost. Put the file back as it was, or, if it is lost for good, put an empty file in its place: \
         a damaged snapshot is passed over where an older state and the log suffice; or restore dataDir and dataLogDir \
         together from one backup.",
    );
    let damaged = OpenError::Snapshot {
        file: snapshot(),
        reasons: vec!["/data/snapshot.0000000000000030: rotten".into()],
        reached: Zxid(0x10),
        way_out: Box::new(WayOut::Snapshot(remains(0x10, 0x10, Some(0x20), 0x30))),
    };
    check(
        damaged,
        "/data/snapshot.0000000000000030 is damaged, and without it the log reaches only zxid 0x10: \
         /data/snapshot.0000000000000030: rotten. Nothing was changed. Without it, snapshot.0000000000000010 is the \
         newest whole snapshot, and the log leads to zxid 0x10; it goes on only behind zxid 0x20: zxid 0x11 to 0x30 or \
         more would be lost. Put the file back as it was, or restore dataDir and dataLogDir together from one backup; to \
         go on with the state at zxid 0x10 and lose the rest, write it to a new directory with zk-server salvage; or, to \
         begin with an empty tree, move the ringkeeper-1 directories of both away.",
    );
    check(
        missing(WayOut::Manifest),
        "/data/snapshot.0000000000000030 is missing: /data/manifest lists it. Nothing was changed. Put the newest \
         manifest back (it is a text file of a few lines), or restore dataDir and dataLogDir together from one backup; \
         or, to begin with an empty tree, move the ringkeeper-1 directories of both away.",
    );
}

#[test]
fn a_transaction_that_cannot_be_applied_tells_of_another_program() {
    let refused = OpenError::Refused {
        file: log(),
        offset: 4096,
        zxid: Zxid(0x21),
        reason: "the transaction does not decode".into(),
        way_out: Box::new(WayOut::Program(remains(0x10, 0x20, None, 0x21))),
    };
    check(
        refused,
        "/log/log.0000000000000015, offset 4096, zxid 0x21: its checksums are right, but it cannot be applied: the \
         transaction does not decode. Nothing was changed. Without it, snapshot.0000000000000010 is the newest whole \
         snapshot, and the log leads to zxid 0x20: zxid 0x21 or more would be lost. Start the release that wrote it, or \
         restore dataDir and dataLogDir together from one backup; to go on with the state at zxid 0x20 and lose the \
         rest, write it to a new directory with zk-server salvage; or, to begin with an empty tree, move the \
         ringkeeper-1 directories of both away.",
    );
}
