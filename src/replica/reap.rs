//! The reaper of containers and TTL nodes (`ContainerManager`).

use std::collections::VecDeque;

use crate::tree::Tree;
use crate::tree::View;
use crate::tree::node::Owner;

/// When and how fast.
#[derive(Clone, Copy, Debug)]
pub struct ReapSettings {
    /// `znode.container.checkIntervalMs`.
    pub interval_ms: u64,
    /// `znode.container.maxPerMinute`.
    pub per_minute_max: u32,
    /// `znode.container.maxNeverUsedIntervalMs`; 0 is never.
    pub never_used_ms: u64,
}

/// The reaper's queue.
pub struct Reaper {
    settings: ReapSettings,
    next_check_ms: u64,
    next_delete_ms: u64,
    candidates: VecDeque<String>,
}

impl Reaper {
    /// The first check comes an interval after the start.
    pub fn new(settings: ReapSettings, now_ms: u64) -> Reaper {
        Reaper {
            settings,
            next_check_ms: now_ms + settings.interval_ms,
            next_delete_ms: now_ms,
            candidates: VecDeque::new(),
        }
    }

    /// When it wants to be called next.
    pub fn next_ms(&self) -> u64 {
        if self.candidates.is_empty() {
            self.next_check_ms
        } else {
            self.next_delete_ms
        }
    }

    /// The paths to delete now; the caller checks each against the head with [`is_due`].
    pub fn due(&mut self, view: &View, tree: &Tree, now_ms: u64, wall_ms: i64) -> Vec<String> {
        if now_ms >= self.next_check_ms && self.candidates.is_empty() {
            self.next_check_ms = now_ms + self.settings.interval_ms;
            let due = |path: &String| is_due(tree, path, wall_ms, self.settings.never_used_ms);
            self.candidates.extend(view.reapable().into_iter().filter(due));
            self.next_delete_ms = self.next_delete_ms.max(now_ms);
        }
        let pause_ms = (60_000 / u64::from(self.settings.per_minute_max.max(1))).max(1);
        let mut paths = Vec::new();
        while now_ms >= self.next_delete_ms {
            let Some(path) = self.candidates.pop_front() else { break };
            self.next_delete_ms += pause_ms;
            paths.push(path);
        }
        paths
    }

    /// The settings.
    pub fn settings(&self) -> &ReapSettings {
        &self.settings
    }
}

/// Whether a node's time is over: no children, and a container that was used or a TTL that has passed.
pub fn is_due(tree: &Tree, path: &str, wall_ms: i64, never_used_ms: u64) -> bool {
    let Some(node) = tree.node(path) else { return false };
    if node.children > 0 {
        return false;
    }
    match Owner::of(node.stat.owner, tree.features().extended_types) {
        Owner::Container => {
            let unused = never_used_ms > 0 && wall_ms.saturating_sub(node.stat.ctime) > never_used_ms as i64;
            node.stat.cversion > 0 || unused
        }
        Owner::Ttl(ttl) => wall_ms.saturating_sub(node.stat.mtime) > ttl,
        Owner::Nobody | Owner::Session(_) => false,
    }
}
