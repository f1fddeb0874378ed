//! What is retired and kept for frozen readers only.
//!
//! ```text
//! a version v reaches a piece that was made in b and retired in r      only if b ≤ v < r
//! ```
//!
//! A branch carries its b. A leaf does not, because eight bytes in each entry are too much for what they would save: for
//! it the writer goes down the frozen version and looks whether this very leaf hangs there. So what is kept is exactly
//! what some frozen version reaches, never more than all of it; nothing here is looked at while there is no such pin.
//!
//! What one frozen pin keeps lies in one group. When the pin is gone the group is given back: its pieces are looked at
//! again, a few at a time, and go to the group of another pin that sees them or are freed by `mod.rs`.

use super::pins::Frozen;
use super::raw::{self, Piece};

/// A piece and the generation in which it was retired.
pub type Retired = (u64, Piece);

/// All that is kept.
#[derive(Default)]
pub struct Kept {
    /// By the generation of a frozen pin that sees them.
    groups: Vec<(u64, Pile)>,
    /// Of pins that are gone.
    given_back: Pile,
}

/// Pieces in parts of one size, because a large list that grows would hold up the writer while it is copied.
#[derive(Default)]
struct Pile(Vec<Vec<Retired>>);

const PART: usize = 4096;

impl Kept {
    /// Keeps a piece for a frozen pin's generation.
    pub fn put(&mut self, pin: u64, retired: Retired) {
        let at = self.groups.iter().position(|(generation, _)| *generation == pin);
        let at = at.unwrap_or_else(|| {
            self.groups.push((pin, Pile::default()));
            self.groups.len() - 1
        });
        self.groups[at].1.push(retired);
    }

    /// Gives back what was kept for pins that are not there any more.
    pub fn give_back(&mut self, frozen: &[Frozen]) {
        let is_gone = |group: &(u64, Pile)| frozen.iter().all(|pin| pin.generation != group.0);
        while let Some(at) = self.groups.iter().position(is_gone) {
            let (_, pile) = self.groups.swap_remove(at);
            self.given_back.0.extend(pile.0);
        }
    }

    /// One piece of what was given back, to be looked at again.
    pub fn pop(&mut self) -> Option<Retired> {
        self.given_back.pop()
    }

    /// How many pieces were given back.
    pub fn given_back_len(&self) -> usize {
        self.given_back.0.iter().map(Vec::len).sum()
    }

    /// Everything, once the writer goes.
    pub fn take_all(&mut self) -> impl Iterator<Item = Retired> {
        let groups = std::mem::take(&mut self.groups).into_iter().map(|(_, pile)| pile);
        let piles = groups.chain([std::mem::take(&mut self.given_back)]);
        piles.flat_map(|pile| pile.0).flatten()
    }
}

impl Pile {
    fn push(&mut self, retired: Retired) {
        match self.0.last_mut() {
            Some(part) if part.len() < PART => part.push(retired),
            _ => {
                let mut part = Vec::with_capacity(PART);
                part.push(retired);
                self.0.push(part);
            }
        }
    }

    fn pop(&mut self) -> Option<Retired> {
        let part = self.0.last_mut()?;
        let last = part.pop();
        if part.is_empty() {
            self.0.pop();
        }
        last
    }
}

/// The generation of a frozen pin that sees the piece. `hash` is that of a key.
pub fn seen_by(frozen: &[Frozen], retired: u64, piece: Piece, hash: impl Fn(&[u8]) -> u64) -> Option<u64> {
    let sees = |pin: &&Frozen| {
        pin.generation < retired
            && match piece.generation() {
                Some(made) => made <= pin.generation,
                None => raw::holds(pin.root, hash(piece.key()), piece),
            }
    };
    frozen.iter().find(sees).map(|pin| pin.generation)
}
