//! The writing desk: requests become transactions here, and nowhere else.
//!
//! [`Replica`] is a value driven by calls and drained of outputs; it does no I/O. Its head runs ahead of the disk:
//! a request is checked and applied to the head at once, its transaction goes to the log, and its answer waits in
//! the [`pipeline`] until the log says that it is durable. Then the batch is published: version, changes, answers.
//!
//! The positions, once: `published ≤ durable ≤ prepared` ([`pipeline::Pipeline`] asserts them). In an ensemble
//! "decided" stands in the place of "durable", and a [`member::Member`] brings the desk and agreement together.

pub mod apache;
mod desk;
pub mod input;
pub mod member;
pub mod pipeline;
pub mod prepare;
pub mod reap;
pub mod recover;
mod role;
pub mod session;

pub use desk::{Log, Now, Replica, Settings};
pub use input::{Answer, Answered, Origin, Published, WriteRequest};
