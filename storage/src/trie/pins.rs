//! Which generations readers still look at.
//!
//! A pin that moves is one number in a cache line of its own, written by its reader and read by the writer; its reader
//! looks at that generation and may go to any newer one. A *frozen* pin stays: its reader looks at that one version and
//! at no other, so that what came after it need not be kept for its sake. Nothing leads from frozen back to moving.
//! The lists of both are behind a lock that only making, freezing, dropping and looking at pins takes.

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

use super::raw::Slot;

type Cell = Arc<CachePadded<AtomicU64>>;

/// All pins of one trie.
pub struct Pins {
    lists: Mutex<Lists>,
}

#[derive(Default)]
struct Lists {
    moving: Vec<Cell>,
    frozen: Vec<Frozen>,
}

/// A version that a frozen pin holds.
#[derive(Clone, Copy)]
pub struct Frozen {
    /// Its number.
    pub generation: u64,
    /// What is in it.
    pub root: Slot,
}

impl Default for Pins {
    fn default() -> Pins {
        Pins {
            lists: Mutex::new(Lists::default()),
        }
    }
}

/// One reader's.
pub struct Pin {
    /// `None` if it is frozen.
    cell: Option<Cell>,
    generation: u64,
}

impl Pins {
    /// A new pin that moves. The caller must hold that generation already: it is the writer, or has an older or equal
    /// pin that moves.
    pub fn pin(&self, generation: u64) -> Pin {
        let cell = Arc::new(CachePadded::new(AtomicU64::new(generation)));
        self.lock(|lists| lists.moving.push(Arc::clone(&cell)));
        Pin {
            cell: Some(cell),
            generation,
        }
    }

    /// Another pin of the same kind at the same place.
    pub fn another(&self, pin: &Pin, root: Slot) -> Pin {
        let generation = pin.generation;
        if !pin.is_frozen() {
            return self.pin(generation);
        }
        self.lock(|lists| lists.frozen.push(Frozen { generation, root }));
        Pin { cell: None, generation }
    }

    /// The pin will not move any more; `root` is what is in its version.
    pub fn freeze(&self, pin: &mut Pin, root: Slot) {
        if let Some(cell) = pin.cell.take() {
            let generation = pin.generation;
            self.lock(|lists| {
                lists.frozen.push(Frozen { generation, root });
                lists.remove(&cell);
            });
        }
    }

    /// Gives a pin up.
    pub fn unpin(&self, pin: &Pin) {
        self.lock(|lists| match &pin.cell {
            Some(cell) => lists.remove(cell),
            None => lists.remove_frozen(pin.generation),
        });
    }

    /// The oldest generation that a pin which moves is at, the largest number if there is none; all frozen ones go to
    /// the list.
    pub fn look(&self, frozen: &mut Vec<Frozen>) -> u64 {
        frozen.clear();
        // Acquire, against the Release in `move_to`: what a reader read before it moved happened before the
        // writer frees it.
        self.lock(|lists| {
            frozen.extend_from_slice(&lists.frozen);
            let moving = lists.moving.iter().map(|cell| cell.load(Ordering::Acquire));
            moving.min().unwrap_or(u64::MAX)
        })
    }

    fn lock<R>(&self, act: impl FnOnce(&mut Lists) -> R) -> R {
        #[cfg(loom)]
        return act(&mut self.lists.lock().unwrap());
        #[cfg(not(loom))]
        act(&mut self.lists.lock())
    }
}

impl Lists {
    fn remove(&mut self, cell: &Cell) {
        let at = self.moving.iter().position(|other| Arc::ptr_eq(other, cell));
        self.moving
            .swap_remove(at.expect("a pin is in the list until it is given up"));
    }

    fn remove_frozen(&mut self, generation: u64) {
        let at = self.frozen.iter().position(|frozen| frozen.generation == generation);
        self.frozen
            .swap_remove(at.expect("a frozen pin is in the list until it is given up"));
    }
}

impl Pin {
    /// The pinned generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it will not move any more.
    pub fn is_frozen(&self) -> bool {
        self.cell.is_none()
    }

    /// Moves on; older generations may be freed from now on.
    pub fn move_to(&mut self, generation: u64) {
        let cell = self.cell.as_ref().expect("a frozen reader stays where it is");
        self.generation = generation;
        cell.store(generation, Ordering::Release);
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
                if !freed && pins.look(&mut Vec::new()) >= 2 {
                    // SAFETY: nobody may look any more: what the model checks.
                    piece.with_mut(|value| unsafe { *value = 0 });
                    freed = true;
                }
                thread::yield_now();
            }
            reader.join().unwrap();
            assert_eq!(pins.look(&mut Vec::new()), u64::MAX);
        });
    }

    /// Two pieces, one of version 1 and one of version 2, each replaced in the next generation. A reader freezes one pin
    /// at 1 and moves another to 2; the writer frees each piece when no pin lies in its life, and may free the newer
    /// one while 1 is still frozen.
    #[test]
    fn nothing_is_freed_under_a_frozen_reader() {
        loom::model(|| {
            let pins = Arc::new(Pins::default());
            let pieces = Arc::new([UnsafeCell::new(1u64), UnsafeCell::new(2u64)]);
            let (mut frozen, mut moving) = (pins.pin(1), pins.pin(1));
            let reader = {
                let (pins, pieces) = (Arc::clone(&pins), Arc::clone(&pieces));
                // SAFETY: pinned at that version: what the model checks.
                let look =
                    move |place: usize| pieces[place].with(|value| unsafe { assert_eq!(*value, place as u64 + 1) });
                thread::spawn(move || {
                    pins.freeze(&mut frozen, Slot::NOTHING);
                    moving.move_to(2);
                    look(1);
                    pins.unpin(&moving);
                    look(0);
                    pins.unpin(&frozen);
                })
            };
            let (mut freed, mut pinned) = ([false; 2], Vec::new());
            for _ in 0..2 {
                let oldest = pins.look(&mut pinned);
                for (place, freed) in freed.iter_mut().enumerate() {
                    let life = place as u64 + 1..place as u64 + 2;
                    let is_seen = pinned.iter().any(|frozen| life.contains(&frozen.generation));
                    if !*freed && life.end <= oldest && !is_seen {
                        // SAFETY: nobody may look any more: what the model checks.
                        pieces[place].with_mut(|value| unsafe { *value = 0 });
                        *freed = true;
                    }
                }
                thread::yield_now();
            }
            reader.join().unwrap();
            assert_eq!((pins.look(&mut pinned), pinned.len()), (u64::MAX, 0));
        });
    }
}
