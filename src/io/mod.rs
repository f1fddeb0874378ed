//! Pipes: the only room that names tokio-uring and its fallback.
//!
//! Two engines, one face. On [`Engine::Uring`] a loop's sockets and log go through its own ring; on
//! [`Engine::Epoll`] the same code runs on tokio's epoll, and the log's writes on a thread of their own.
//! tokio-uring's known faults are contained here (dependencies.md 1): a pending read is never dropped, only ended
//! by [`Stream::shutdown`]; accepting is tokio's, then handed over; [`breathe`] lets the ring submit when a task
//! could stay ready; ports are bound without SO_REUSEPORT.
//!
//! Nothing here knows what the bytes mean.

pub mod bell;
pub mod clock;
pub mod disk;
pub mod listen;
pub mod memory;
pub mod peer;
pub mod processor;
pub mod runtime;
pub mod stream;

pub use bell::Inbox;
pub use clock::Clock;
pub use disk::LogDevice;
pub use memory::allow_huge_pages;
pub use peer::PeerListener;
pub use runtime::{Engine, breathe, run};
pub use stream::Stream;
