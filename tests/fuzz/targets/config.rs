//! Any bytes as a `zoo.cfg`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::config::read_any(bytes));
