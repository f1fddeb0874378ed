//! A published batch on its way to every core.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::message::{Batch, ToCore};
use super::shared::Shared;
use super::start::mind_pages;
use crate::replica::{Answered, Published};

/// A core that sleeps is woken for the sake of memory when so many batches wait for it, or when it holds back so
/// many retired pieces: a million creates while one of two cores slept cost 400 B a znode instead of 240.
const BACKLOG_MAX: usize = 64;
/// See `BACKLOG_MAX`.
pub const RETIRED_MAX: usize = 16 * 1024;

/// Puts a batch into every inbox; each core is woken once at most, by [`ring`].
pub fn hand_out(shared: &Shared, published: Published, crowded: bool, wake: &mut [bool]) {
    let Published {
        version,
        fired,
        answers,
    } = published;
    let fired = Arc::new(fired);
    let number = shared.handed() + 1;
    let mut by_core: Vec<Vec<Answered>> = shared.cores.iter().map(|_| Vec::new()).collect();
    for answered in answers {
        by_core[answered.origin.core as usize].push(answered);
    }
    for ((port, answers), wake) in shared.cores.iter().zip(by_core).zip(wake) {
        let answered = !answers.is_empty();
        port.inbox.push(ToCore::Batch(Batch {
            number,
            version: version.clone(),
            fired: Arc::clone(&fired),
            answers,
        }));
        // Looked at after the push: a watch that was registered before it is seen here, one that is registered
        // after it belongs to a core that will look into its inbox by itself.
        let news = !fired.is_empty() && port.watching.load(Ordering::SeqCst);
        *wake |= answered || news || crowded || port.inbox.len() > BACKLOG_MAX;
    }
    mind_pages(&version.totals);
    shared.hand(number);
}

/// Wakes those who have something to do.
pub fn ring(shared: &Shared, wake: Vec<bool>) {
    let ports = shared.cores.iter().zip(wake);
    ports.filter(|(_, wake)| *wake).for_each(|(port, _)| port.inbox.ring());
}
