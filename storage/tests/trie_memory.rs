//! The trie gives back every byte, whoever is the last to go: counted by the allocator.
//!
//! One test alone in its process, so that nobody else allocates while it counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

use storage::trie::Trie;

struct Counting;

static LIVE_BYTES: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live_bytes() -> isize {
    LIVE_BYTES.load(Ordering::Relaxed)
}

fn key(number: u32) -> [u8; 8] {
    (u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

/// Puts, replaces, removes, goes back and keeps, seals and reclaims.
fn work(trie: &mut Trie, round: u32) {
    for number in 0..500 {
        trie.put(&key(number), &[b"value of round ", &round.to_be_bytes()]);
    }
    let checkpoint = trie.checkpoint();
    for number in 0..200 {
        assert!(trie.remove(&key(number * 2)));
        trie.put(&key(1_000 + number), &[b"later"]);
        trie.put(&key(1_000 + number), &[b"and again"]);
    }
    if round.is_multiple_of(2) {
        trie.rollback(checkpoint);
    } else {
        trie.commit(checkpoint);
    }
    trie.reclaim(100);
}

/// One life of a trie and its readers; `writer_first` says who goes first.
fn life(writer_first: bool, checkpoint_left_open: bool) {
    let mut trie = Trie::new(3);
    let mut readers = vec![trie.reader()];
    for round in 0..8 {
        work(&mut trie, round);
        let version = trie.seal();
        let mut newest = readers[0].clone();
        newest.advance(&version);
        readers.push(if round % 3 == 0 { newest.freeze() } else { newest });
    }
    if checkpoint_left_open {
        // Never closed: as when the writer's thread ends in the middle of a multi.
        let _forgotten = trie.checkpoint();
        (0..50).for_each(|number| assert!(trie.remove(&key(number * 2 + 1))));
        trie.put(b"new", &[b"entry"]);
    }
    assert!(trie.retired_len() > 500, "the oldest reader holds old versions");
    let (trie, readers) = if writer_first {
        drop(trie);
        (None, readers)
    } else {
        (Some(trie), readers)
    };
    // The readers still look, on other threads, and the last of them cleans up there. One after another and joined:
    // a thread that is only just ending, or a lock that is waited for, has memory of its own.
    for reader in readers {
        let look = move || assert_eq!(reader.iter().count(), reader.len());
        std::thread::spawn(look).join().expect("every version is whole");
    }
    drop(trie);
}

#[test]
fn every_byte_is_given_back_whoever_goes_last() {
    // Threads, locks and the test's own output allocate once for good: the first round is not counted.
    life(true, true);
    let before = live_bytes();
    for (writer_first, open) in [(true, false), (true, true), (false, false), (false, true)] {
        life(writer_first, open);
        assert_eq!(
            live_bytes(),
            before,
            "writer first: {writer_first}, checkpoint left open: {open}"
        );
    }

    let mut trie = Trie::new(3);
    let (empty, asked_empty) = (live_bytes(), trie.bytes() as isize);
    (0..10_000).for_each(|number| trie.put(&key(number), &[b"value"]));
    assert_eq!(
        trie.bytes() as isize - asked_empty,
        live_bytes() - empty,
        "`bytes` says what the allocator gave"
    );
    (0..10_000).for_each(|number| assert!(trie.remove(&key(number))));
    trie.seal();
    trie.reclaim(usize::MAX);
    assert_eq!(
        (trie.bytes(), trie.retired_len()),
        (0, 0),
        "an empty trie has no pieces"
    );
}
