//! Any bytes as what comes in on the election port.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::election::read_any(bytes));
