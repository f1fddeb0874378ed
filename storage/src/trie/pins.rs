//! Which generations readers still look at.
//!
//! A pin is one number in a cache line of its own, written by its reader and read by the writer. The list of pins
//! is behind a lock that only making, dropping and counting pins takes.

#[cfg(loom)]
use loom::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};
#[cfg(not(loom))]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crossbeam::utils::CachePadded;
#[cfg(not(loom))]
use parking_lot::Mutex;

type Cell = Arc<CachePadded<AtomicU64>>;

/// All pins of one trie.
pub struct Pins {
    cells: Mutex<Vec<Cell>>,
}

impl Default for Pins {
    fn default() -> Pins {
        Pins {
            cells: Mutex::new(Vec::new()),
        }
    }
}

/// One reader's.
pub struct Pin {
    cell: Cell,
    generation: u64,
}

impl Pins {
    /// A new pin. The caller must hold that generation already: it is the writer, or has an older or equal pin.
    pub fn pin(&self, generation: u64) -> Pin {
        let cell = Arc::new(CachePadded::new(AtomicU64::new(generation)));
        self.lock(|cells| cells.push(Arc::clone(&cell)));
        Pin { cell, generation }
    }

    /// Gives a pin up.
    pub fn unpin(&self, pin: &Pin) {
        self.lock(|cells| {
            let at = cells
                .iter()
                .position(|cell| Arc::ptr_eq(cell, &pin.cell))
                .expect("a pin is in the list until it is given up");
            cells.swap_remove(at);
        });
    }

    /// The oldest generation that is pinned; the largest number if none is.
    pub fn oldest(&self) -> u64 {
        // Acquire, against the Release in `move_to`: what a reader read before it moved happened before the
        // writer frees it.
        self.lock(|cells| {
            cells
                .iter()
                .map(|cell| cell.load(Ordering::Acquire))
                .min()
                .unwrap_or(u64::MAX)
        })
    }

    fn lock<R>(&self, act: impl FnOnce(&mut Vec<Cell>) -> R) -> R {
        #[cfg(loom)]
        return act(&mut self.cells.lock().unwrap());
        #[cfg(not(loom))]
        act(&mut self.cells.lock())
    }
}

impl Pin {
    /// The pinned generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Moves on; older generations may be freed from now on.
    pub fn move_to(&mut self, generation: u64) {
        self.generation = generation;
        self.cell.store(generation, Ordering::Release);
    }
}

/// The protocol, explored exhaustively: `RUSTFLAGS="--cfg loom" cargo test -p ringkeeper-storage --release --lib pins`.
#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::thread;

    /// The writer replaces the piece of version 1 in generation 2 and frees it when it may; a reader pinned at 1
    /// looks, makes a clone, moves on. loom reports any look at a piece that is being freed.
    #[test]
    fn nothing_is_freed_under_a_reader() {
        loom::model(|| {
            let pins = Arc::new(Pins::default());
            let piece = Arc::new(UnsafeCell::new(1u64));
            let mut pin = pins.pin(1);
            let reader = {
                let (pins, piece) = (Arc::clone(&pins), Arc::clone(&piece));
                thread::spawn(move || {
                    let clone = pins.pin(pin.generation());
                    // SAFETY: pinned at 1, so the piece of version 1 is there: what the model checks.
                    piece.with(|value| unsafe { assert_eq!(*value, 1) });
                    pin.move_to(2);
                    // SAFETY: the clone still pins 1.
                    piece.with(|value| unsafe { assert_eq!(*value, 1) });
                    pins.unpin(&clone);
                    pins.unpin(&pin);
                })
            };
            let mut freed = false;
            for _ in 0..2 {
                if !freed && pins.oldest() >= 2 {
                    // SAFETY: nobody may look any more: what the model checks.
                    piece.with_mut(|value| unsafe { *value = 0 });
                    freed = true;
                }
                thread::yield_now();
            }
            reader.join().unwrap();
            assert_eq!(pins.oldest(), u64::MAX);
        });
    }
}
