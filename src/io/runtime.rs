//! An event loop on the thread that asks for one.
//!
//! How a ring is set up was decided by measurement: CPU per read of a server under `zk-bench run --read-percent 100`, 32
//! connections with 1 and with 16 requests in flight, 1 KB, medians of 5 alternations on a busy 2-core machine, Linux 6.18:
//!
//! | ring | 1 in flight | 16 in flight |
//! |---|---|---|
//! | as it is by default | 6.15 µs | 0.85 µs |
//! | cooperative task running | 5.39 µs | 0.79 µs |
//! | **the same, and a single issuer** | 4.57 µs | 0.65 µs |
//! | epoll instead | 5.75 µs | 0.72 µs |
//!
//! Deferred task running cannot be had: completions then wait for a call that asks for events, and tokio-uring, which
//! sleeps in epoll, never makes one; a server with it answers nothing. Multi-shot receives are not offered by
//! tokio-uring 0.5, and would need buffers that the kernel chooses. Its fixed buffers are, and were not measured: they
//! spare the kernel the look-up of pages, which a socket that copies its bytes does not need, and a frame's buffer must
//! grow, which a fixed one does not.

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
        ring(8).map(drop)
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

/// A ring whose completions wait until its thread enters the kernel by itself, instead of interrupting it, and which only
/// that thread may use: both spare the kernel work. Kernels before 6.0 refuse that, and give a plain one.
fn ring(entries: u32) -> io::Result<tokio_uring::Runtime> {
    let mut lean = tokio_uring::uring_builder();
    lean.setup_coop_taskrun().setup_single_issuer();
    let made = tokio_uring::Runtime::new(tokio_uring::builder().entries(entries).uring_builder(&lean));
    match made {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            tokio_uring::Runtime::new(tokio_uring::builder().entries(entries))
        }
        made => made,
    }
}

/// Runs a future, and the local tasks it spawns, to the future's end.
pub fn run<F: Future>(engine: Engine, future: F) -> io::Result<F::Output> {
    match engine {
        Engine::Uring => {
            let runtime = ring(RING_ENTRIES)?;
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
