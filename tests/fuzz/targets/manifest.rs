//! Any bytes as a manifest: read as they are, and once more with the checksum made right.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::manifest::read_any(bytes));
