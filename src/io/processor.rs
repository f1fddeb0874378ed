//! On which processors a thread runs.
//!
//! A pinned loop stays on one of those that the process may use. Threads inherit that from who starts them, so a helper
//! of a loop asks for all of them again.

use std::io;
use std::sync::OnceLock;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors that this process may use, as they were before the first loop was pinned.
static ALLOWED: OnceLock<CpuSet> = OnceLock::new();

fn allowed() -> io::Result<CpuSet> {
    if let Some(allowed) = ALLOWED.get() {
        return Ok(*allowed);
    }
    let found = sched_getaffinity(None)?;
    Ok(*ALLOWED.get_or_init(|| found))
}

/// Numbers of the processors that this process may use.
pub fn numbers() -> io::Result<Vec<usize>> {
    let allowed = allowed()?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect())
}

/// Keeps the calling thread on the `index`th of them, counted in turn. Gives its number.
pub fn pin(index: usize) -> io::Result<usize> {
    let numbers = numbers()?;
    let number = numbers[index % numbers.len()];
    pin_to(&[number])?;
    Ok(number)
}

/// Keeps the calling thread, and those that it starts from now on, on some processors.
pub fn pin_to(numbers: &[usize]) -> io::Result<()> {
    allowed()?;
    let mut set = CpuSet::new();
    numbers.iter().for_each(|number| set.set(*number));
    Ok(sched_setaffinity(None, &set)?)
}

/// Lets the calling thread run on all of them again.
pub fn unpin() {
    if let Some(allowed) = ALLOWED.get() {
        // Where that is refused the thread stays where it is, which is no harm but to speed.
        let _ = sched_setaffinity(None, allowed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_threads_helper_may_run_anywhere() {
        let all = numbers().unwrap();
        let here = || sched_getaffinity(None).unwrap().count() as usize;
        std::thread::spawn(move || {
            assert_eq!(pin(all.len()).unwrap(), all[0], "counted in turn");
            assert_eq!(here(), 1);
            let helper = move || {
                let before = here();
                unpin();
                (before, here())
            };
            assert_eq!(std::thread::spawn(helper).join().unwrap(), (1, all.len()));
        })
        .join()
        .unwrap();
    }
}
