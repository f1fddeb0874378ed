//! Any bytes as a log of Apache ZooKeeper: read as they are, and once more with their checksums made right.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::apache_log::read_any(bytes));
