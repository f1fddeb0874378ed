//! What the tools share.

pub mod bench;
pub mod dump;
