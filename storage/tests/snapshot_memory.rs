//! A snapshot far larger than its bound of memory is written and loaded within it.
//!
//! A test binary of its own: it reads the process's memory.

use std::io::{self, Write};

use storage::Zxid;
use storage::snapshot::{Reader, write};

const ENTRIES: u32 = 1_000_000;
const THREADS: usize = 4;
/// Three decoded blocks a thread, their frames' contexts, and what a writer holds: far below this.
const BYTES_MAX: u64 = 16 << 20;

/// Anonymous memory of this process now, in bytes; the mapped snapshot does not count.
fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon:"))
        .expect("since Linux 4.5");
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number");
    kib << 10
}

/// A file that notes the writer's memory.
struct Watched {
    file: std::fs::File,
    before: u64,
    most: u64,
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.most = self.most.max(anonymous_bytes().saturating_sub(self.before));
        self.file.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[test]
fn a_large_stream_needs_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot");
    let value = [b'v'; 200];
    let keys: Vec<[u8; 4]> = (0..ENTRIES).map(u32::to_be_bytes).collect();
    let mut entries = keys.iter().map(|key| (&key[..], &value[..]));
    let mut out = Watched {
        file: std::fs::File::create(&path).unwrap(),
        before: anonymous_bytes(),
        most: 0,
    };
    let summary = write(&mut out, Zxid(1), 0, b"", &mut entries, None).unwrap();
    assert!(summary.raw_bytes > 200_000_000, "{summary}");
    assert!(out.most < BYTES_MAX, "writing {summary} took {} bytes", out.most);

    let mapped = storage::snapshot::map(&path).unwrap();
    let before = anonymous_bytes();
    let (mut taken, mut most) = (0u32, 0);
    Reader::open(&mapped)
        .unwrap()
        .load(THREADS, &mut |key, _| {
            if taken % 100_000 == 0 {
                // A caller that dawdles: the threads run as far ahead as they are let.
                std::thread::sleep(std::time::Duration::from_millis(100));
                most = most.max(anonymous_bytes().saturating_sub(before));
            }
            assert_eq!(key, taken.to_be_bytes());
            taken += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(taken, ENTRIES);
    assert!(most < BYTES_MAX, "loading {summary} took {most} bytes");
    eprintln!(
        "{summary}; writing took {} bytes, loading on {THREADS} threads {most}",
        out.most
    );
}
