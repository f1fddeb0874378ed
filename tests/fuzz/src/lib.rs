//! What the fuzz targets do with their bytes: one module for each reader, one function each.
//!
//! Checksums would keep the fuzzer out of everything behind them, so a reader that checks them is given the bytes
//! twice: as they are, and **mended**, with every checksum made right and every length, count and zxid left as the
//! fuzzer made it. A reader may refuse anything; it must not panic, hang, take memory that the bytes do not account
//! for, or hand out what contradicts itself: those are asserted here, the rest is libFuzzer's to see.

pub mod apache_log;
pub mod apache_snapshot;
pub mod config;
pub mod election;
pub mod log;
pub mod manifest;
pub mod quorum;
pub mod snapshot;
