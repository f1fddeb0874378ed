//! Makes a failing script short: keeps leaving steps out as long as some difference stays.

use std::time::{Duration, Instant};

use super::script::Step;

/// The shortest script found within `limit` for which `fails` says so. `fails` runs it for real.
pub fn shrink(steps: &[Step], limit: Duration, mut fails: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let started = Instant::now();
    // The last step is the cleaning and stays.
    let (clean, kept) = steps.split_last().expect("a script with steps");
    let mut kept = kept.to_vec();
    let mut size = kept.len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        while start < kept.len() && started.elapsed() < limit {
            let end = (start + size).min(kept.len());
            let mut shorter = kept.clone();
            shorter.drain(start..end);
            let script: Vec<Step> = shorter.iter().chain([clean]).cloned().collect();
            if fails(&script) {
                kept = shorter;
            } else {
                start = end;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    kept.iter().chain([clean]).cloned().collect()
}
