//! What no server can beat on this machine: an echo of equal frames on the same I/O layer, and the disk's own sync.

use std::fs::OpenOptions;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use ringkeeper::io::{Engine, Stream, listen, run};
use ringkeeper::wire::frame::{self, Front};

/// Answers every frame with a reply header of the same xid and `payload` bytes; the first with a session.
/// Prints its port and runs until it is killed.
pub fn echo(engine: Engine, address: SocketAddr, payload: usize) -> io::Result<()> {
    run(engine, async move {
        let bound = listen::bind(address, 1024)?;
        let answer: Rc<[u8]> = vec![b'x'; payload].into();
        bound
            .accept_each(false, move |socket, _| {
                let answer = Rc::clone(&answer);
                if let Ok(stream) = Stream::adopt(engine, socket) {
                    tokio::task::spawn_local(serve(stream, answer));
                }
            })
            .await
    })?
}

async fn serve(stream: Stream, answer: Rc<[u8]>) {
    let mut input = Vec::with_capacity(64 * 1024);
    let mut out = Vec::with_capacity(64 * 1024);
    let mut is_open = false;
    loop {
        let result;
        input.reserve(4096);
        (result, input) = stream.read(input).await;
        if !matches!(result, Ok(count) if count > 0) {
            return;
        }
        let mut done = 0;
        while let Front::Whole { frame, consumed } = frame::front(&input[done..], 1 << 20) {
            frame::append(&mut out, |out| {
                if is_open {
                    out.extend_from_slice(&frame[..4]);
                    out.extend_from_slice(&[0; 12]);
                    out.extend_from_slice(&answer);
                } else {
                    out.extend_from_slice(&[0; 37]);
                }
            });
            is_open = true;
            done += consumed;
        }
        input.drain(..done);
        let result;
        (result, out) = stream.write_all(out).await;
        out.clear();
        if result.is_err() {
            return;
        }
    }
}

/// Latencies in microseconds of one durable 4 KiB write after another to a zero-filled file: `write` and
/// `fdatasync`, and O_DIRECT with O_DSYNC where the file system has it.
pub fn syncs(directory: &Path, for_time: Duration) -> io::Result<Vec<(&'static str, Histogram<u64>)>> {
    let file = tempfile::Builder::new()
        .prefix("zk-bench-sync-")
        .tempfile_in(directory)?;
    const BLOCKS: u64 = 1024;
    file.as_file().write_all_at(&vec![0; 4096 * BLOCKS as usize], 0)?;
    file.as_file().sync_all()?;
    let mut all = Vec::new();
    let buffered = |block: u64| {
        file.as_file()
            .write_all_at(&[1; 4096], block * 4096)
            .and_then(|()| file.as_file().sync_data())
    };
    all.push(("write and fdatasync", timed(for_time, buffered)?));
    let opened = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_DIRECT | libc::O_DSYNC)
        .open(file.path());
    if let Ok(direct) = opened {
        // An aligned block inside a buffer of two.
        let buffer = vec![2u8; 8192];
        let start = buffer.as_ptr().align_offset(4096);
        let write = |block: u64| direct.write_all_at(&buffer[start..start + 4096], block * 4096);
        if write(0).is_ok() {
            all.push(("O_DIRECT and O_DSYNC", timed(for_time, write)?));
        }
    }
    return Ok(all);

    fn timed(for_time: Duration, write: impl Fn(u64) -> io::Result<()>) -> io::Result<Histogram<u64>> {
        let mut histogram = Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are fixed");
        let started = Instant::now();
        let mut block = 0;
        while started.elapsed() < for_time {
            let before = Instant::now();
            write(block % BLOCKS)?;
            histogram
                .record((before.elapsed().as_micros() as u64).max(1))
                .expect("it is inside the bounds");
            block += 1;
        }
        Ok(histogram)
    }
}

/// A loopback address with a free port.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
