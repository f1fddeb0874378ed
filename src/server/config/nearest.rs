//! Which known key an unknown one was probably meant to be.

use std::sync::LazyLock;

use super::keys;

/// A known key in lower case.
struct Known {
    name: &'static str,
    lower: Vec<char>,
    letters: u64,
}

/// The known key nearest to a name that is none, if one is near enough to be meant.
pub fn nearest(name: &str) -> Option<&'static str> {
    static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| keys::all().map(|key| known(key.name)).collect());
    if let Some((_, right)) = keys::MISNAMED.iter().find(|(wrong, _)| *wrong == name) {
        return Some(right);
    }
    let lower: Vec<char> = name.to_lowercase().chars().collect();
    let (letters, most) = (letters(&lower), allowed(name));
    // What is longer or shorter by more than may be wrong is further away than that, and so is what has more letters
    // that the other has not: a file of kilobytes of nonsense is told quickly.
    let may_be = |known: &&Known| {
        let only = |a: u64, b: u64| (a & !b).count_ones() as usize;
        known.lower.len().abs_diff(lower.len()) <= most
            && only(known.letters, letters).max(only(letters, known.letters)) <= most
    };
    KNOWN
        .iter()
        .filter(may_be)
        .filter_map(|known| Some((distance(&lower, &known.lower, most)?, known.name)))
        .min()
        .map(|(_, near)| near)
}

fn known(name: &'static str) -> Known {
    let lower: Vec<char> = name.to_lowercase().chars().collect();
    Known {
        name,
        letters: letters(&lower),
        lower,
    }
}

/// Which letters there are, as bits; some share one.
fn letters(name: &[char]) -> u64 {
    name.iter().fold(0, |letters, c| letters | 1 << (*c as u32 % 64))
}

/// A third of a name may be wrong, but not its whole meaning.
fn allowed(name: &str) -> usize {
    (name.chars().count() / 3).clamp(1, 4)
}

/// Insertions, deletions, changes and swaps of neighbours (optimal string alignment), if these are `most` at most: only
/// what lies that near to the diagonal is looked at, and no more of it once a whole row is further away.
fn distance(a: &[char], b: &[char], most: usize) -> Option<usize> {
    let far = most + 1;
    let mut before = vec![far; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).map(|j| j.min(far)).collect();
    let mut row = before.clone();
    for i in 1..=a.len() {
        row.fill(far);
        row[0] = i.min(far);
        for j in i.saturating_sub(most).max(1)..=(i + most).min(b.len()) {
            let change = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row[j] = best.min(far);
        }
        // A swap reaches back over one row.
        if row.iter().chain(&last).all(|distance| *distance == far) {
            return None;
        }
        std::mem::swap(&mut before, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    Some(last[b.len()]).filter(|distance| *distance <= most)
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
            ("abcdef", "badcfe", 3),
            ("tickTime", "syncLimit", 7),
        ] {
            let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
            for most in 0..5 {
                let expect = Some(expect).filter(|expect| *expect <= most);
                assert_eq!(distance(&a, &b, most), expect, "{a:?} {b:?} {most}");
                assert_eq!(distance(&b, &a, most), expect, "{b:?} {a:?} {most}");
            }
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
