//! Java's default watcher: one receiver for all that the shell watches (`ZKWatchManager`).
//!
//! The crate gives each watch its own receiver, Java notifies the one watcher once per message of the server. So each
//! receiver is a task here, and an event that several of them bring is printed once; the zxid tells it from the next.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use zookeeper_client::{EventType, OneshotWatcher, PersistentWatcher, WatchedEvent};

use super::screen::{Event, Screen};

/// How many events are remembered to know a repeated one; several receivers of one message run within moments.
const RECENT_COUNT_MAX: usize = 64;

/// Time for events that came before a removal to be printed before it.
pub const LAST_WORDS: Duration = Duration::from_millis(20);

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Data or existence, once.
    Data,
    /// The children's names, once.
    Child,
    /// addWatch, of either mode.
    Persistent,
    /// addWatch PERSISTENT_RECURSIVE.
    Recursive,
}

impl Kind {
    /// The event a removal makes (`ZKWatchManager#removeWatcher`).
    fn removed(self) -> &'static str {
        match self {
            Kind::Child => "ChildWatchRemoved",
            Kind::Data => "DataWatchRemoved",
            Kind::Persistent | Kind::Recursive => "PersistentWatchRemoved",
        }
    }
}

struct Watch {
    id: u64,
    kind: Kind,
    path: String,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Registry {
    watches: Vec<Watch>,
    next_id: u64,
    recent: VecDeque<(String, String, i64)>,
}

/// All watches of a session.
pub struct Watches {
    screen: Arc<Screen>,
    registry: Mutex<Registry>,
}

impl Watches {
    /// None yet.
    pub fn new(screen: Arc<Screen>) -> Watches {
        Watches {
            screen,
            registry: Mutex::default(),
        }
    }

    /// Takes up a watch that fires once.
    pub fn once(self: &Arc<Watches>, kind: Kind, path: &str, watcher: OneshotWatcher) {
        let watches = self.clone();
        self.add(kind, path, |id| async move {
            let event = watcher.changed().await;
            watches.forget(id);
            watches.fire(&event);
        });
    }

    /// Takes up a watch that stays. One on the same path takes the place of the former, as on the server.
    pub fn persistent(self: &Arc<Watches>, kind: Kind, path: &str, mut watcher: PersistentWatcher) {
        let watches = self.clone();
        self.add(kind, path, |_| async move {
            loop {
                let event = watcher.changed().await;
                watches.fire(&event);
                if event.event_type == EventType::Session && event.session_state.is_terminated() {
                    return;
                }
            }
        });
    }

    /// Drops the watches of these kinds on a path; the crate tells the server. Gives whether there was any, and
    /// prints what Java's client says of each kind.
    pub async fn remove(&self, path: &str, kinds: &[Kind]) -> bool {
        self.let_events_arrive().await;
        let found = self.take(|watch| watch.path == path && kinds.contains(&watch.kind));
        let mut names: Vec<&str> = found.iter().map(|watch| watch.kind.removed()).collect();
        names.sort_unstable();
        names.dedup();
        drop_all(found).await;
        for name in &names {
            self.screen.event(&Event::node(name, path, -1));
        }
        !names.is_empty()
    }

    /// Drops all watches without a word; for the end of a session.
    pub async fn forget_all(&self) {
        self.let_events_arrive().await;
        drop_all(self.take(|_| true)).await;
    }

    /// A watch whose event came before its removal has fired and is gone; its task only needs a turn.
    async fn let_events_arrive(&self) {
        if !self.lock().watches.is_empty() {
            tokio::time::sleep(LAST_WORDS).await;
        }
    }

    fn add<F>(&self, kind: Kind, path: &str, task: impl FnOnce(u64) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut registry = self.lock();
        let id = registry.next_id;
        registry.next_id += 1;
        // Spawned under the lock: the task cannot forget itself before it is known.
        let task = tokio::spawn(task(id));
        registry.watches.push(Watch {
            id,
            kind,
            path: path.into(),
            task,
        });
    }

    fn take(&self, which: impl Fn(&Watch) -> bool) -> Vec<Watch> {
        let mut registry = self.lock();
        let (taken, kept) = std::mem::take(&mut registry.watches).into_iter().partition(which);
        registry.watches = kept;
        taken
    }

    fn forget(&self, id: u64) {
        self.lock().watches.retain(|watch| watch.id != id);
    }

    fn fire(&self, event: &WatchedEvent) {
        if event.event_type == EventType::Session {
            return; // The session speaks for itself.
        }
        let event = Event::node(event.event_type, &event.path, event.zxid);
        if event.zxid == -1 || self.is_new(&event) {
            self.screen.event(&event);
        }
    }

    fn is_new(&self, event: &Event) -> bool {
        let key = (event.kind.clone(), event.path.clone().unwrap_or_default(), event.zxid);
        let recent = &mut self.lock().recent;
        if recent.contains(&key) {
            return false;
        }
        if recent.len() == RECENT_COUNT_MAX {
            recent.pop_front();
        }
        recent.push_back(key);
        true
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().expect("no panic under this lock")
    }
}

/// Ends the tasks and waits until their receivers are gone, so that the crate's removal precedes the next request.
async fn drop_all(watches: Vec<Watch>) {
    for watch in watches {
        watch.task.abort();
        let _ = watch.task.await;
    }
}
