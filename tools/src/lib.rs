//! What the tools share.

pub mod bench;
pub mod cli;
pub mod convert;
pub mod dump;
