//! An event loop on the thread that asks for one.

use std::future::Future;
use std::io;

use tokio::task::LocalSet;

/// Which kernel interface the loops stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// io_uring through tokio-uring.
    Uring,
    /// epoll through tokio.
    Epoll,
}

impl Engine {
    /// Tells whether the kernel lets us have a ring, by making one.
    pub fn probe() -> io::Result<()> {
        tokio_uring::Runtime::new(tokio_uring::builder().entries(8)).map(drop)
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Uring => "io_uring",
            Engine::Epoll => "epoll",
        }
    }
}

/// Submission entries of a loop's ring; the completion queue has twice as many and the kernel keeps what overflows.
const RING_ENTRIES: u32 = 4096;

/// Runs a future, and the local tasks it spawns, to the future's end.
pub fn run<F: Future>(engine: Engine, future: F) -> io::Result<F::Output> {
    match engine {
        Engine::Uring => {
            let runtime = tokio_uring::Runtime::new(tokio_uring::builder().entries(RING_ENTRIES))?;
            Ok(runtime.block_on(async move {
                ON_RING.set(true);
                future.await
            }))
        }
        Engine::Epoll => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(LocalSet::new().block_on(&runtime, future))
        }
    }
}

thread_local! {
    static ON_RING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Lets the loop look after its I/O. A ring submits only when its thread parks; a task that can stay ready
/// calls this at least every [`BREATHE_EVERY`] items, or everybody else's I/O starves.
pub async fn breathe() {
    if ON_RING.get() {
        // A no-op is its own submission: waiting for it makes the thread park.
        let _ = tokio_uring::no_op().await;
    } else {
        tokio::task::yield_now().await;
    }
}

/// How many messages a task may handle before it must [`breathe`].
pub const BREATHE_EVERY: usize = 128;
