//! Huge pages: none while a tree is small, since each costs 2 MiB whatever lies in it; all the kernel gives once it has
//! grown, since reads of a large tree miss the page table's cache.
//!
//! A server without data held 16.8 MiB with them and holds 8.6 without. The allocator asks for them itself; here is only
//! whether the process may have any, and what becomes of the small pages from before.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use memmap2::{Advice, MmapMut};

static ALLOWED: AtomicBool = AtomicBool::new(true);

/// Whether pages that are touched from now on may be huge; where they may again, those that are there become huge one by
/// one in the background. A kernel that cannot say no is none to mind.
pub fn allow_huge_pages(allow: bool) {
    // Relaxed: the flag only spares the call; twice the same does no harm.
    if ALLOWED.swap(allow, Ordering::Relaxed) == allow {
        return;
    }
    let _ = rustix::thread::disable_transparent_huge_pages(!allow);
    if allow {
        let work = || match collapse_all() {
            Ok(collapsed) => tracing::debug!(collapsed, "small pages became huge ones"),
            Err(error) => tracing::debug!(%error, "pages stay small"),
        };
        // Without the thread they stay small: reads are somewhat slower, and nothing is wrong.
        let _ = thread::Builder::new().name("pages".into()).spawn(work);
    }
}

const PAGE: usize = 4 << 10;
const HUGE: usize = 2 << 20;
/// So many of the 512 pages of a huge one must be in use, or it would cost more memory than it is worth.
const USED_MIN: usize = 448;
/// A server that has just started has its first clients to mind.
const DELAY: Duration = Duration::from_secs(1);
/// Who reads in a range waits while it becomes huge. For so many times as long nobody does: a million znodes take some 6 s,
/// in which the p99 of 750,000 reads a second was 1.7 to 1.8 ms instead of 0.8 to 0.9.
const PAUSES: u32 = 10;

/// Makes huge pages of small ones, once, and tells of how many ranges.
fn collapse_all() -> io::Result<usize> {
    super::processor::unpin();
    thread::sleep(DELAY);
    if rustix::param::page_size() != PAGE {
        return Err(io::Error::other("this machine's pages are of another size"));
    }
    let mut ranges = Vec::new();
    for line in BufReader::new(File::open("/proc/self/maps")?).lines() {
        ranges.extend(huge_ranges(&line?));
    }
    let pages = File::open("/proc/self/pagemap")?;
    let mut collapsed = 0;
    for start in ranges {
        if used(&pages, start)? < USED_MIN {
            continue;
        }
        let begun = Instant::now();
        warm_up()?;
        match collapse(start) {
            Ok(()) => collapsed += 1,
            // The kernel has none, or is older than 6.1.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
            // The kernel is at work on one of its pages, none huge is free, or the range is gone.
            Err(_) => {}
        }
        thread::sleep(begun.elapsed() * PAUSES);
    }
    Ok(collapsed)
}

/// Where huge pages could begin in a line of `/proc/self/maps`: none unless it is memory of this process alone, without a
/// file, that may be written.
fn huge_ranges(line: &str) -> impl Iterator<Item = usize> + use<> {
    let mut words = line.split_ascii_whitespace();
    let (range, rights, inode) = (words.next(), words.next(), words.nth(2));
    let is_plain = (rights, inode, words.next()) == (Some("rw-p"), Some("0"), None);
    let range = range.filter(|_| is_plain).and_then(parse_range).unwrap_or(0..0);
    (range.start.next_multiple_of(HUGE)..range.end)
        .step_by(HUGE)
        .filter(move |start| start + HUGE <= range.end)
}

fn parse_range(text: &str) -> Option<Range<usize>> {
    let (start, end) = text.split_once('-')?;
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

/// How many small pages of a huge one are in memory: each has 64 bits in `/proc/self/pagemap`, the highest says so.
fn used(pages: &File, start: usize) -> io::Result<usize> {
    let mut words = [0; HUGE / PAGE * 8];
    pages.read_exact_at(&mut words, (start / PAGE * 8) as u64)?;
    Ok(words.chunks_exact(8).filter(|word| word[7] & 0x80 != 0).count())
}

/// Touches a huge page and frees it: the kernel hands it out next. Where a hypervisor has to bring it first, that takes 4 ms,
/// for which nobody waits here, while everybody who reads in a range waits for its [`collapse`].
fn warm_up() -> io::Result<()> {
    let mut memory = MmapMut::map_anon(2 * HUGE)?;
    memory.advise(Advice::HugePage)?;
    let at = memory.as_ptr().align_offset(HUGE);
    memory[at] = 1;
    Ok(())
}

fn collapse(start: usize) -> io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut::<libc::c_void>(start);
    // SAFETY: MADV_COLLAPSE changes neither what memory holds nor whether it is there, whoever uses it and whatever lies
    // there by now; a range that is not mapped is an error.
    match unsafe { libc::madvise(start, HUGE, libc::MADV_COLLAPSE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pages_become_a_huge_one_and_keep_what_they_hold() {
        let mut memory = MmapMut::map_anon(2 * HUGE).unwrap();
        memory.advise(Advice::NoHugePage).unwrap();
        let at = memory.as_ptr().align_offset(HUGE);
        let range = at..at + HUGE;
        memory[at..at + HUGE / 2].fill(7);
        let pages = File::open("/proc/self/pagemap").unwrap();
        let start = memory[at..].as_ptr().expose_provenance();
        assert_eq!(used(&pages, start).unwrap(), HUGE / PAGE / 2);
        memory[range.clone()].fill(7);
        assert_eq!(used(&pages, start).unwrap(), HUGE / PAGE);
        memory.advise(Advice::HugePage).unwrap();
        warm_up().unwrap();
        match collapse(start) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return println!("shows no more: this kernel makes no huge pages of small ones: {error}");
            }
            Err(error) => panic!("{error}"),
        }
        assert!(memory[range].iter().all(|byte| *byte == 7));
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert!(maps.lines().flat_map(huge_ranges).any(|range| range == start));
    }

    #[test]
    fn only_whole_ranges_of_plain_memory_count() {
        let ranges = |line| huge_ranges(line).collect::<Vec<_>>();
        assert_eq!(
            ranges("7f0000100000-7f0000700000 rw-p 00000000 00:00 0 "),
            [0x7f0000200000, 0x7f0000400000]
        );
        assert_eq!(
            ranges("7f0000200000-7f0000400000 rw-p 00000000 00:00 0"),
            [0x7f0000200000]
        );
        assert_eq!(ranges("7f0000200000-7f00003ff000 rw-p 00000000 00:00 0"), [0; 0]);
        assert_eq!(ranges("7f0000200000-7f0000400000 r--p 00000000 00:00 0"), [0; 0]);
        assert_eq!(
            ranges("7f0000200000-7f0000400000 rw-p 00000000 08:01 77 /a file"),
            [0; 0]
        );
        assert_eq!(
            ranges("7f0000200000-7f0000400000 rw-p 00000000 00:00 0 [stack]"),
            [0; 0]
        );
        assert_eq!(ranges(""), [0; 0]);
    }
}
