//! The watches of one core's connections (`WatchManager`).
//!
//! Two tables: data (getData, exists, addWatch) and child (getChildren, persistent addWatch). A registration is
//! a set of modes per connection and path; firing clears only the one-shot mode. Recursive watches live in the
//! data table and match by prefix. Order between connections means nothing; order on one is the caller's.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use crate::base::path;
use crate::wire::event::EventType;
use crate::wire::request::{AddWatchMode, WatcherType};

/// A connection, as the core numbers them.
pub type Watcher = u32;

const ONE_SHOT: u8 = 1;
const PERSISTENT: u8 = 2;
const RECURSIVE: u8 = 4;

/// A path's number in its table; given anew when nobody watches it any more.
type PathId = u32;

/// Watchers and numbers of paths are ours, and small: no stranger chooses them, so a quick hash serves. Paths are the
/// clients', and hashed with a secret.
type ByWatcher<V> = HashMap<Watcher, V, FxBuildHasher>;

#[derive(Debug, Default)]
struct Watched {
    path: Arc<str>,
    modes: ByWatcher<u8>,
}

#[derive(Debug, Default)]
struct Table {
    ids: HashMap<Arc<str>, PathId>,
    paths: Vec<Watched>,
    free: Vec<PathId>,
    by_watcher: ByWatcher<HashSet<PathId, FxBuildHasher>>,
    /// How many registrations are recursive: while 0, nothing looks at ancestors.
    recursive: usize,
    /// Registrations in all.
    count: usize,
}

impl Table {
    fn add(&mut self, path: &str, watcher: Watcher, mode: u8) {
        let id = self.ids.get(path).copied().unwrap_or_else(|| self.number(path));
        let modes = self.paths[id as usize].modes.entry(watcher).or_default();
        if *modes == 0 {
            self.count += 1;
            self.by_watcher.entry(watcher).or_default().insert(id);
        }
        self.recursive += (mode & !*modes & RECURSIVE != 0) as usize;
        *modes |= mode;
    }

    fn number(&mut self, path: &str) -> PathId {
        let path: Arc<str> = path.into();
        let watched = Watched {
            path: Arc::clone(&path),
            modes: ByWatcher::default(),
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.paths[id as usize] = watched;
                id
            }
            None => {
                self.paths.push(watched);
                self.paths.len() as PathId - 1
            }
        };
        self.ids.insert(path, id);
        id
    }

    fn watched(&self, path: &str) -> Option<&Watched> {
        self.ids.get(path).map(|id| &self.paths[*id as usize])
    }

    fn modes(&self, path: &str, watcher: Watcher) -> u8 {
        let modes = self.watched(path).and_then(|watched| watched.modes.get(&watcher));
        modes.copied().unwrap_or(0)
    }

    fn clear(&mut self, path: &str, watcher: Watcher, mode: u8) {
        let Some(&id) = self.ids.get(path) else { return };
        let Some(modes) = self.paths[id as usize].modes.get_mut(&watcher) else {
            return;
        };
        self.recursive -= (*modes & mode & RECURSIVE != 0) as usize;
        *modes &= !mode;
        if *modes == 0 {
            self.paths[id as usize].modes.remove(&watcher);
            self.forget(id, watcher);
            self.let_go(id);
        }
    }

    /// A registration is gone from its path: the watcher has one less.
    fn forget(&mut self, id: PathId, watcher: Watcher) {
        self.count -= 1;
        if let Some(ids) = self.by_watcher.get_mut(&watcher) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_watcher.remove(&watcher);
            }
        }
    }

    /// Gives a path's number back if nobody watches it.
    fn let_go(&mut self, id: PathId) {
        if self.paths[id as usize].modes.is_empty() {
            let watched = std::mem::take(&mut self.paths[id as usize]);
            self.ids.remove(&watched.path);
            self.free.push(id);
        }
    }

    fn close(&mut self, watcher: Watcher) {
        for id in self.by_watcher.remove(&watcher).unwrap_or_default() {
            let modes = self.paths[id as usize].modes.remove(&watcher).unwrap_or(0);
            self.recursive -= (modes & RECURSIVE != 0) as usize;
            self.count -= 1;
            self.let_go(id);
        }
    }

    /// Collects who is to be told of something at `changed`, and clears the one-shot registrations there.
    fn trigger(&mut self, changed: &str, told: &mut Vec<Watcher>) {
        let Some(&id) = self.ids.get(changed) else { return };
        let mut modes = std::mem::take(&mut self.paths[id as usize].modes);
        told.extend(modes.keys());
        modes.retain(|watcher, modes| {
            *modes &= !ONE_SHOT;
            if *modes == 0 {
                self.forget(id, *watcher);
            }
            *modes != 0
        });
        self.paths[id as usize].modes = modes;
        self.let_go(id);
    }

    fn trigger_recursive(&self, changed: &str, told: &mut Vec<Watcher>) {
        if self.recursive == 0 {
            return;
        }
        let above = path::ancestors_and_self(changed)
            .skip(1)
            .chain((changed != "/").then_some("/"));
        for watched in above.filter_map(|ancestor| self.watched(ancestor)) {
            let recursive = watched.modes.iter().filter(|(_, modes)| **modes & RECURSIVE != 0);
            told.extend(recursive.map(|(watcher, _)| *watcher));
        }
    }
}

/// Who is to be told, each at most once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told(pub Vec<Watcher>);

/// The watches of one core.
#[derive(Debug, Default)]
pub struct Watches {
    data: Table,
    child: Table,
}

impl Watches {
    /// A one-shot watch of getData or exists.
    pub fn watch_data(&mut self, path: &str, watcher: Watcher) {
        self.data.add(path, watcher, ONE_SHOT);
    }

    /// A one-shot watch of getChildren.
    pub fn watch_children(&mut self, path: &str, watcher: Watcher) {
        self.child.add(path, watcher, ONE_SHOT);
    }

    /// addWatch.
    pub fn add(&mut self, path: &str, watcher: Watcher, mode: AddWatchMode) {
        match mode {
            AddWatchMode::Persistent => {
                self.data.add(path, watcher, PERSISTENT);
                self.child.add(path, watcher, PERSISTENT);
            }
            AddWatchMode::PersistentRecursive => self.data.add(path, watcher, RECURSIVE),
        }
    }

    /// Who hears of `event` at `path`. For a deletion both tables are asked, and nobody hears it twice.
    pub fn fire(&mut self, path: &str, event: EventType) -> Told {
        let mut told = Vec::new();
        match event {
            EventType::ChildrenChanged => self.child.trigger(path, &mut told),
            EventType::Created | EventType::DataChanged | EventType::Deleted => {
                self.data.trigger(path, &mut told);
                self.data.trigger_recursive(path, &mut told);
                if event == EventType::Deleted {
                    self.child.trigger(path, &mut told);
                }
            }
        }
        if told.len() > 1 {
            told.sort_unstable();
            told.dedup();
        }
        Told(told)
    }

    /// Whether nobody watches anything: then no change needs a look.
    pub fn is_empty(&self) -> bool {
        self.data.count + self.child.count == 0
    }

    /// checkWatches (`DataTree#containsWatcher`).
    pub fn contains(&self, path: &str, watcher: Watcher, kind: WatcherType) -> bool {
        let (data, child) = (self.data.modes(path, watcher), self.child.modes(path, watcher));
        match kind {
            WatcherType::Children => child & ONE_SHOT != 0,
            WatcherType::Data => data & ONE_SHOT != 0,
            WatcherType::Any => data | child != 0,
            WatcherType::Persistent => data & PERSISTENT != 0,
            WatcherType::PersistentRecursive => data & RECURSIVE != 0,
        }
    }

    /// removeWatches (`DataTree#removeWatch`); false if there was no such watch.
    pub fn remove(&mut self, path: &str, watcher: Watcher, kind: WatcherType) -> bool {
        let (data, child) = (self.data.modes(path, watcher), self.child.modes(path, watcher));
        let (from_data, from_child) = match kind {
            WatcherType::Children => (0, child & ONE_SHOT),
            WatcherType::Data => (data & ONE_SHOT, 0),
            WatcherType::Any => (data, child),
            WatcherType::Persistent => (data & PERSISTENT, child & PERSISTENT),
            WatcherType::PersistentRecursive => (data & RECURSIVE, 0),
        };
        self.data.clear(path, watcher, from_data);
        self.child.clear(path, watcher, from_child);
        from_data | from_child != 0
    }

    /// Forgets a connection.
    pub fn close(&mut self, watcher: Watcher) {
        self.data.close(watcher);
        self.child.close(watcher);
    }

    /// Registrations in both tables (`DataTree#getWatchCount`).
    pub fn count(&self) -> usize {
        self.data.count + self.child.count
    }

    /// The data table's paths by connection, for wchs, wchc and wchp.
    pub fn data_by_watcher(&self) -> impl Iterator<Item = (Watcher, impl Iterator<Item = &str>)> {
        let path = |id: &PathId| &*self.data.paths[*id as usize].path;
        let by_watcher = self.data.by_watcher.iter();
        by_watcher.map(move |(watcher, ids)| (*watcher, ids.iter().map(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(watches: &mut Watches, path: &str, event: EventType) -> Vec<Watcher> {
        watches.fire(path, event).0
    }

    #[test]
    fn one_shot_fires_once() {
        let mut w = Watches::default();
        w.watch_data("/a", 1);
        w.watch_data("/a", 1);
        w.watch_data("/a", 2);
        assert_eq!(w.count(), 2);
        assert_eq!(told(&mut w, "/a", EventType::ChildrenChanged), []);
        assert_eq!(told(&mut w, "/a", EventType::DataChanged), [1, 2]);
        assert_eq!(told(&mut w, "/a", EventType::DataChanged), []);
        assert!(w.is_empty());
    }

    #[test]
    fn a_deletion_is_told_once_and_spends_both() {
        let mut w = Watches::default();
        w.watch_data("/a", 1);
        w.watch_children("/a", 1);
        assert_eq!(told(&mut w, "/a", EventType::Deleted), [1]);
        assert!(w.is_empty());
    }

    #[test]
    fn persistent_and_recursive_stay() {
        let mut w = Watches::default();
        w.add("/a", 1, AddWatchMode::Persistent);
        w.add("/a", 2, AddWatchMode::PersistentRecursive);
        w.add("/", 2, AddWatchMode::PersistentRecursive);
        w.watch_data("/a", 1);
        for _ in 0..2 {
            assert_eq!(told(&mut w, "/a", EventType::DataChanged), [1, 2]);
            assert_eq!(told(&mut w, "/a/b/c", EventType::Created), [2]);
            assert_eq!(told(&mut w, "/a", EventType::ChildrenChanged), [1]);
            assert_eq!(told(&mut w, "/x", EventType::Created), [2]);
            assert_eq!(told(&mut w, "/", EventType::DataChanged), [2]);
        }
        assert!(w.contains("/a", 1, WatcherType::Persistent));
        assert!(!w.contains("/a", 1, WatcherType::Data), "the one-shot is spent");
        assert!(w.remove("/a", 1, WatcherType::Persistent));
        assert!(!w.remove("/a", 1, WatcherType::Any));
        assert!(w.remove("/a", 2, WatcherType::PersistentRecursive));
        w.close(2);
        assert!(w.is_empty());
        assert_eq!(
            (w.data.recursive, w.data.ids.len(), w.child.by_watcher.len()),
            (0, 0, 0)
        );
    }
}
