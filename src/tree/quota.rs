//! Quotas: the text of limits and usage (`StatsTrack`), and the paths that have one (`PathTrie`).

use std::collections::{BTreeMap, HashSet};

use crate::base::path::{QUOTA, ancestors_and_self};

/// The name of a limits node.
pub const LIMITS: &str = "zookeeper_limits";
/// The name of a usage node.
pub const STATS: &str = "zookeeper_stats";

/// The limits node of a path.
pub fn limits_path(path: &str) -> String {
    format!("{QUOTA}{path}/{LIMITS}")
}

/// The usage node of a path.
pub fn stats_path(path: &str) -> String {
    format!("{QUOTA}{path}/{STATS}")
}

/// If `path` is a quota node called `name`, the path that it is about.
pub fn subject<'p>(path: &'p str, name: &str) -> Option<&'p str> {
    path.strip_prefix(QUOTA)?.strip_suffix(name)?.strip_suffix('/')
}

/// Limits or usage. −1 is "not set".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Track {
    values: BTreeMap<String, i64>,
}

impl Track {
    /// Usage as the server writes it.
    pub fn usage(count: i64, bytes: i64) -> Track {
        Track {
            values: BTreeMap::from([("count".into(), count), ("bytes".into(), bytes)]),
        }
    }

    /// Reads the text; `None` where Java's parser would throw.
    pub fn parse(text: &[u8]) -> Option<Track> {
        let text = String::from_utf8_lossy(text);
        let mut track = Track::default();
        if text.is_empty() {
            return Some(track);
        }
        for pair in text.split([',', ';']).filter(|pair| !pair.is_empty()) {
            let mut parts = pair.split('=');
            let (key, value) = (parts.next()?, parts.next()?);
            let value = if value.is_empty() { -1 } else { value.parse().ok()? };
            track.values.insert(key.to_owned(), value);
        }
        Some(track)
    }

    fn get(&self, key: &str) -> i64 {
        self.values.get(key).copied().unwrap_or(-1)
    }

    /// Nodes, or the soft limit of them.
    pub fn count(&self) -> i64 {
        self.get("count")
    }

    /// Bytes, or the soft limit of them.
    pub fn bytes(&self) -> i64 {
        self.get("bytes")
    }

    /// The hard limit of nodes.
    pub fn count_hard(&self) -> i64 {
        self.get("countHardLimit")
    }

    /// The hard limit of bytes.
    pub fn bytes_hard(&self) -> i64 {
        self.get("byteHardLimit")
    }

    /// Changes the usage.
    pub fn add(&mut self, count: i64, bytes: i64) {
        let (count, bytes) = (self.count() + count, self.bytes() + bytes);
        self.values.insert("count".into(), count);
        self.values.insert("bytes".into(), bytes);
    }

    /// The text (`StatsTrack#toString`): the two old keys first, an `=`, then the others sorted.
    pub fn text(&self) -> String {
        let mut text = format!("count={},bytes={}", self.count(), self.bytes());
        let mut others = self
            .values
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "count" | "bytes"))
            .peekable();
        if others.peek().is_some() {
            text.push('=');
        }
        others.for_each(|(key, value)| text.push_str(&format!(";{key}={value}")));
        text
    }
}

/// What a change would do to a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Within,
    /// Over a soft limit: a line in the log.
    Soft,
    /// Over a hard limit: refused.
    Hard,
}

/// Judges a change of `count` nodes and `bytes` bytes (`ZooKeeperServer#checkQuota`).
pub fn judge(limits: &Track, usage: &Track, count: i64, bytes: i64) -> Verdict {
    let one = |delta: i64, now: i64, soft: i64, hard: i64| {
        if delta == 0 || (soft < 0 && hard < 0) {
            return Verdict::Within;
        }
        let (limit, over) = if hard > -1 {
            (hard, Verdict::Hard)
        } else {
            (soft, Verdict::Soft)
        };
        if now + delta > limit { over } else { Verdict::Within }
    };
    match one(count, usage.count(), limits.count(), limits.count_hard()) {
        Verdict::Hard => Verdict::Hard,
        nodes => match one(bytes, usage.bytes(), limits.bytes(), limits.bytes_hard()) {
            Verdict::Within => nodes,
            bytes => bytes,
        },
    }
}

/// The paths that have limits. Derived from the tree, kept by the writer.
#[derive(Clone, Debug, Default)]
pub struct QuotaPaths {
    paths: HashSet<String>,
}

impl QuotaPaths {
    /// Adds a path; false if it was there.
    pub fn add(&mut self, path: &str) -> bool {
        self.paths.insert(path.to_owned())
    }

    /// Removes a path; false if it was not there.
    pub fn remove(&mut self, path: &str) -> bool {
        self.paths.remove(path)
    }

    /// The deepest path with a quota at or above `path`.
    pub fn over<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.paths.is_empty() {
            return None;
        }
        ancestors_and_self(path).find(|prefix| self.paths.contains(*prefix))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_javas() {
        let limits = Track::parse(b"count=3,bytes=100=;byteHardLimit=-1;countHardLimit=-1").unwrap();
        assert_eq!((limits.count(), limits.bytes(), limits.bytes_hard()), (3, 100, -1));
        assert_eq!(limits.text(), "count=3,bytes=100=;byteHardLimit=-1;countHardLimit=-1");
        assert_eq!(Track::usage(7, 10).text(), "count=7,bytes=10");
        assert_eq!(Track::parse(b"count"), None);
        assert_eq!(Track::parse(b"count=x"), None);
        assert_eq!(Track::parse(b"").unwrap().text(), "count=-1,bytes=-1");
    }

    #[test]
    fn the_deepest_quota_rules() {
        let mut quotas = QuotaPaths::default();
        quotas.add("/a");
        quotas.add("/a/b");
        assert_eq!(quotas.over("/a/b/c"), Some("/a/b"));
        assert_eq!(quotas.over("/a/bc"), Some("/a"));
        assert_eq!(quotas.over("/x"), None);
        assert_eq!(subject("/zookeeper/quota/a/b/zookeeper_limits", LIMITS), Some("/a/b"));
        assert_eq!(subject("/zookeeper/quota/zookeeper_limits", LIMITS), Some(""));
        assert_eq!(subject("/zookeeper/quota/a/zookeeper_limitsx", LIMITS), None);
    }

    #[test]
    fn hard_wins_over_soft() {
        let limits = Track::parse(b"count=1,bytes=-1,countHardLimit=5").unwrap();
        assert_eq!(judge(&limits, &Track::usage(3, 0), 1, 9), Verdict::Within);
        assert_eq!(judge(&limits, &Track::usage(5, 0), 1, 0), Verdict::Hard);
        let soft = Track::parse(b"count=1,bytes=10").unwrap();
        assert_eq!(judge(&soft, &Track::usage(1, 0), 1, 0), Verdict::Soft);
        assert_eq!(judge(&soft, &Track::usage(1, 10), 0, 1), Verdict::Soft);
        assert_eq!(judge(&soft, &Track::usage(9, 99), 0, 0), Verdict::Within);
    }
}
