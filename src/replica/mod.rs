//! The writing desk: requests become transactions here, and nowhere else.
//!
//! [`Replica`] is a value driven by calls and drained of outputs; it does no I/O. Its head runs ahead of the disk:
//! a request is checked and applied to the head at once, its transaction goes to the log, and its answer waits in
//! the [`pipeline`] until the log says that it is durable. Then the batch is published: version, changes, answers.
//!
//! The positions, once: `published ≤ durable ≤ prepared` ([`pipeline::Pipeline`] asserts them).

pub mod apache;
mod desk;
pub mod input;
pub mod pipeline;
pub mod prepare;
pub mod reap;
pub mod recover;
pub mod session;

pub use desk::{Log, Now, Replica, Settings};
pub use input::{Answer, Answered, Origin, Published, WriteRequest};
