//! Any bytes as a log segment: read as they are, and once more with their checksums made right.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::log::read_any(bytes));
