//! What no server can beat on this machine: an echo of equal frames on the same I/O layer, and the disk's own sync.
//!
//! The echo answers each opcode with as many bytes as a server that has the load's znodes; requests come from the
//! same generator and are equal anyway. That the sizes are right is checked against real servers by the tests, and by
//! `zk-bench floor --server`.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use ringkeeper::io::{Engine, Stream, listen, run};
use ringkeeper::wire::frame::{self, Front};
use ringkeeper::wire::jute::Writer;

use super::measure::{Frames, new_histogram};
use super::mix::Kind;
use super::plan::Plan;

/// Bytes of a Stat.
const STAT: usize = 68;
/// Bytes of the header before each result of a multi, and of the one behind the last.
const RESULT: usize = 9;

/// Bytes behind the reply header, by operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct Sizes {
    /// Of getData
    #[arg(long, default_value_t = 1096)]
    pub get: usize,
    /// Of getChildren2
    #[arg(long, default_value_t = 72)]
    pub children: usize,
    /// Of a multi
    #[arg(long, default_value_t = 779)]
    pub multi: usize,
}

impl Sizes {
    /// Of a load's replies.
    pub fn of(plan: &Plan) -> Sizes {
        let layout = &plan.layout;
        let parent = layout.parent(0);
        let siblings = (0..layout.count).filter(|index| layout.parent(*index) == parent);
        let name = layout.leaf(0).len() - parent.len() - 1;
        // Below the root lies the node with the connections' own nodes, too.
        let own = if layout.depth == 1 { 4 + "own".len() } else { 0 };
        Sizes {
            get: 4 + plan.data.len() + STAT,
            children: 4 + siblings.count() * (4 + name) + own + STAT,
            multi: plan.multi as usize * (RESULT + STAT) + RESULT,
        }
    }

    /// As arguments of `zk-bench echo`.
    pub fn arguments(&self) -> String {
        format!("--get {} --children {} --multi {}", self.get, self.children, self.multi)
    }
}

/// Where the sizes of a load's frames differ between the echo and a server.
pub fn differences(echo: &BTreeMap<Kind, Frames>, server: &BTreeMap<Kind, Frames>) -> Vec<String> {
    let mean = |frames: &Frames| {
        let count = frames.count.max(1);
        (frames.request_bytes / count, frames.reply_bytes / count)
    };
    let pairs = echo
        .iter()
        .filter_map(|(kind, frames)| Some((kind, mean(frames), mean(server.get(kind)?))));
    // Own nodes have serial numbers in their names, and more of these digits on the faster side.
    let tolerance = |kind: &Kind| match kind {
        Kind::Create | Kind::Delete | Kind::Ephemeral | Kind::Sequential => 12,
        _ => 0,
    };
    let differ = |kind: &Kind, echo: u64, server: u64| echo.abs_diff(server) > tolerance(kind);
    pairs
        .filter(|(kind, echo, server)| differ(kind, echo.0, server.0) || differ(kind, echo.1, server.1))
        .map(|(kind, echo, server)| {
            format!(
                "{}: the echo's frames have {} and {} bytes, the server's {} and {}",
                kind.word(),
                echo.0,
                echo.1,
                server.0,
                server.1
            )
        })
        .collect()
}

/// Answers every frame with a reply header of the same xid and as many bytes as a server would; the first with a
/// session. Runs until it is killed.
pub fn echo(engine: Engine, address: SocketAddr, sizes: Sizes) -> io::Result<()> {
    run(engine, async move {
        let bound = listen::bind(address, 1024)?;
        let longest = sizes.get.max(sizes.children).max(sizes.multi).max(STAT);
        let bytes: Rc<[u8]> = vec![b'x'; longest].into();
        bound
            .accept_each(false, move |socket, _| {
                let bytes = Rc::clone(&bytes);
                if let Ok(stream) = Stream::adopt(engine, socket) {
                    tokio::task::spawn_local(serve(stream, sizes, bytes));
                }
            })
            .await
    })?
}

async fn serve(stream: Stream, sizes: Sizes, bytes: Rc<[u8]>) {
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
        while let Front::Whole { frame, consumed } = frame::front(&input[done..], 16 << 20) {
            frame::append(&mut out, |out| {
                if is_open {
                    answer(out, frame, sizes, &bytes);
                } else {
                    open(out);
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

fn open(out: &mut Vec<u8>) {
    let mut w = Writer::new(out);
    w.int(0);
    w.int(30_000);
    w.long(1);
    w.buffer(Some(&[0; 16]));
    w.bool(false);
}

fn answer(out: &mut Vec<u8>, request: &[u8], sizes: Sizes, bytes: &[u8]) {
    let word = |at: usize| {
        request
            .get(at..at + 4)
            .map_or(0, |word| i32::from_be_bytes(word.try_into().expect("four")))
    };
    out.extend_from_slice(&request[..4.min(request.len())]);
    out.extend_from_slice(&[0; 12]);
    let size = match word(4) {
        4 => sizes.get,
        12 => sizes.children,
        14 => sizes.multi,
        3 | 5 => STAT,
        1 => {
            // The path comes back, with ten digits more if it was to be sequential.
            let length = word(8).max(0) as usize;
            let path = request.get(12..12 + length).unwrap_or_default();
            let is_sequential = request.last().is_some_and(|flags| flags & 2 != 0);
            let digits: &[u8] = if is_sequential { b"0000000000" } else { b"" };
            out.extend_from_slice(&((path.len() + digits.len()) as i32).to_be_bytes());
            out.extend_from_slice(path);
            out.extend_from_slice(digits);
            0
        }
        _ => 0,
    };
    out.extend_from_slice(&bytes[..size]);
}

/// A way to make 4 KiB durable.
pub const FDATASYNC: &str = "write and fdatasync";
/// Another one.
pub const DIRECT: &str = "O_DIRECT and O_DSYNC";

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
    all.push((FDATASYNC, timed(for_time, BLOCKS, buffered)?));
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
            all.push((DIRECT, timed(for_time, BLOCKS, write)?));
        }
    }
    Ok(all)
}

fn timed(for_time: Duration, blocks: u64, write: impl Fn(u64) -> io::Result<()>) -> io::Result<Histogram<u64>> {
    let mut histogram = new_histogram();
    let started = Instant::now();
    let mut block = 0;
    while started.elapsed() < for_time {
        let before = Instant::now();
        write(block % blocks)?;
        histogram.saturating_record((before.elapsed().as_micros() as u64).max(1));
        block += 1;
    }
    Ok(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_sizes_are_told() {
        let of = |kind, request_bytes, reply_bytes| {
            let frames = Frames {
                count: 1,
                request_bytes,
                reply_bytes,
            };
            BTreeMap::from([(kind, frames)])
        };
        assert!(differences(&of(Kind::Get, 30, 1116), &of(Kind::Get, 30, 1116)).is_empty());
        let told = differences(&of(Kind::Get, 30, 1116), &of(Kind::Get, 30, 92));
        assert_eq!(
            told,
            ["get: the echo's frames have 30 and 1116 bytes, the server's 30 and 92"]
        );
        assert!(differences(&of(Kind::Delete, 58, 20), &of(Kind::Delete, 52, 20)).is_empty());
    }
}
