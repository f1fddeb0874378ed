//! Which known key an unknown one was probably meant to be.

use super::keys;

/// The known key nearest to a name that is none, if one is near enough to be meant.
pub fn nearest(name: &str) -> Option<&'static str> {
    if let Some((_, right)) = keys::MISNAMED.iter().find(|(wrong, _)| *wrong == name) {
        return Some(right);
    }
    let lower = name.to_lowercase();
    // What is longer or shorter by more than may be wrong is further away than that: a name of kilobytes costs nothing.
    let alike_long = |key: &&keys::Key| key.name.len().abs_diff(lower.chars().count()) <= allowed(name);
    keys::all()
        .filter(alike_long)
        .map(|key| (distance(&lower, &key.name.to_lowercase()), key.name))
        .min()
        .filter(|(distance, _)| *distance <= allowed(name))
        .map(|(_, near)| near)
}

/// A third of a name may be wrong, but not its whole meaning.
fn allowed(name: &str) -> usize {
    (name.chars().count() / 3).clamp(1, 4)
}

/// Insertions, deletions, changes and swaps of neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expect) in [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("acb", "abc", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expect, "{a} {b}");
            assert_eq!(distance(b, a), expect, "{b} {a}");
        }
    }

    #[test]
    fn what_was_meant() {
        for (wrong, right) in [
            ("tickTme", Some("tickTime")),
            ("datadir", Some("dataDir")),
            ("autopurge.snapRetainCont", Some("autopurge.snapRetainCount")),
            ("4lw.comands.whitelist", Some("4lw.commands.whitelist")),
            ("requestThrottleLimit", Some("request_throttle_max_requests")),
            ("ringkeeper.engin", Some("ringkeeper.engine")),
            ("favouriteColour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(wrong), right, "{wrong}");
        }
    }
}
