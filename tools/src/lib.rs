//! What the tools share.

pub mod bench;
