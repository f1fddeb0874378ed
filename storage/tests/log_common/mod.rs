//! A state whose every part can be foreseen from its zxid: what recovery hands over is compared with it.
#![allow(dead_code)] // each test binary uses its part

pub mod cuts;
pub mod server;

use storage::Zxid;
use storage::engine::Recover;

/// What the record of a zxid holds: of any length, up to several sectors, and told from every other.
pub fn payload(zxid: Zxid) -> Vec<u8> {
    // Some are larger than a whole segment of the tests that roll often.
    let rolls_often = matches!(env!("CARGO_CRATE_NAME"), "log_crash" | "faults");
    let large = if rolls_often && zxid.0 % 89 == 88 { 45_000 } else { 0 };
    let length = (zxid.0.wrapping_mul(2654435761) >> 7) % 1500 + large;
    let mut bytes = format!("record {zxid} ").into_bytes();
    bytes.extend((0..length).map(|at| (zxid.0 + at) as u8));
    bytes
}

/// The entries of the snapshot at a zxid. Some snapshots take several writes.
pub fn entries(zxid: Zxid) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = small_entries(zxid);
    if zxid.0.is_multiple_of(300) {
        let noise =
            |seed: u64| (0..100_000).map(move |at: u64| ((at ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8);
        entries.extend((0..3).map(|seed| (format!("noise {seed}").into_bytes(), noise(seed).collect())));
    }
    entries
}

fn small_entries(zxid: Zxid) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entry = |index| {
        (
            format!("key {index}").into_bytes(),
            format!("value at {zxid}").into_bytes(),
        )
    };
    (0..5).map(entry).collect()
}

/// Everything that was recovered.
#[derive(Default, Debug)]
pub struct Seen {
    /// The snapshot's zxid, once it was whole.
    pub snapshot: Option<Zxid>,
    /// Zxid and payload of each record.
    pub records: Vec<(Zxid, Vec<u8>)>,
    loading: Vec<(Vec<u8>, Vec<u8>)>,
    loading_zxid: Zxid,
}

impl Recover for Seen {
    fn begin_snapshot(&mut self, zxid: Zxid, _seed: u64, _meta: &[u8]) -> Result<(), String> {
        assert!(
            self.records.is_empty() && self.snapshot.is_none(),
            "a snapshot comes first"
        );
        self.loading.clear();
        self.loading_zxid = zxid;
        Ok(())
    }

    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.loading.push((key.to_vec(), value.to_vec()));
        Ok(())
    }

    fn end_snapshot(&mut self) -> Result<(), String> {
        assert_eq!(self.loading, entries(self.loading_zxid), "the snapshot's entries");
        self.snapshot = Some(self.loading_zxid);
        Ok(())
    }

    fn record(&mut self, zxid: Zxid, payload: &[u8]) -> Result<(), String> {
        self.records.push((zxid, payload.to_vec()));
        Ok(())
    }
}

impl Seen {
    /// The state's zxid; asserts that snapshot and records are one history, each record with its own payload.
    pub fn state(&self) -> Zxid {
        let mut state = self.snapshot.unwrap_or(Zxid::ZERO);
        for (zxid, bytes) in &self.records {
            assert_eq!(*zxid, state.next(), "a record out of order");
            assert_eq!(*bytes, payload(*zxid), "the payload of {zxid}");
            state = *zxid;
        }
        state
    }

    /// Asserts the state.
    pub fn assert_is(&self, zxid: u64) {
        assert_eq!(self.state(), Zxid(zxid));
    }
}
