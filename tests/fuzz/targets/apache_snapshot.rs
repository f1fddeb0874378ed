//! Any bytes as a snapshot of Apache ZooKeeper: read as they are, and once more with their checksums made right.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::apache_snapshot::read_any(bytes));
