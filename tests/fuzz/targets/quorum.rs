//! Any bytes as what comes in on a connection between a leader and a learner.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::quorum::read_any(bytes));
