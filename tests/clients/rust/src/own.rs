//! What this client has beyond the common steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use tokio::time::timeout;
use zookeeper_client::{
    Acls, AddWatchMode, Client, CreateMode, Error, EventType, LockOptions, LockPrefix, MultiReadResult, SessionState,
};

use crate::stage::{EPHEMERAL, PERSISTENT, ROOT, Stage, direct, fails, is, show, soon, variable};

pub async fn play(stage: &Stage) {
    show("session-handed-over", session_handed_over(stage)).await;
    show("containers-and-ttl", containers_and_ttl(stage)).await;
    show("persistent-watches", persistent_watches(stage)).await;
    show("multi-read", multi_read(stage)).await;
    show("chroot", chroot(stage)).await;
    show("counts-and-lists", counts_and_lists(stage)).await;
    show("lock", lock(stage)).await;
    show("lock-fences-writes", lock_fences_writes(stage)).await;
    show("sync", async { stage.zk.sync(ROOT).await.unwrap() }).await;
}

/// A session outlives the client that opened it, and the client that takes it over owns its nodes.
async fn session_handed_over(stage: &Stage) {
    let path = format!("{ROOT}/handed-over");
    let server = variable("ZK_SERVER");
    let first = Client::connector().with_detached().connect(&server).await.unwrap();
    first.create(&path, b"", &EPHEMERAL).await.unwrap();
    let mut states = first.state_watcher();
    let session = first.into_session();
    assert_eq!(soon(states.changed()).await, SessionState::Closed);
    let second = Client::connector()
        .with_session(session.clone())
        .connect(&server)
        .await
        .unwrap();
    assert_eq!(second.session_id(), session.id());
    assert_eq!(second.list_ephemerals(ROOT).await.unwrap(), [path.as_str()]);
    drop(second);
    stage.until_gone(&path).await;
}

async fn containers_and_ttl(stage: &Stage) {
    let (container, ttl) = (format!("{ROOT}/container"), format!("{ROOT}/ttl"));
    let options = CreateMode::Container.with_acls(Acls::anyone_all());
    stage.zk.create(&container, b"", &options).await.unwrap();
    let child = stage.make("container/child", "").await;
    let options = PERSISTENT.with_ttl(Duration::from_millis(300));
    stage.zk.create(&ttl, b"", &options).await.unwrap();
    stage.until_gone(&ttl).await;
    assert!(stage.exists(&container).await, "it has a child");
    stage.zk.delete(&child, None).await.unwrap();
    stage.until_gone(&container).await;
}

async fn persistent_watches(stage: &Stage) {
    let base = stage.make("persistent", "").await;
    let child = format!("{base}/child");
    let watching = direct(10_000).await;
    let mut node = watching.watch(&base, AddWatchMode::Persistent).await.unwrap();
    let mut tree = watching
        .watch(&format!("{base}/child"), AddWatchMode::PersistentRecursive)
        .await
        .unwrap();
    for _ in 0..3 {
        let (made, _) = stage.zk.create(&child, b"", &PERSISTENT).await.unwrap();
        let (leaf, _) = stage
            .zk
            .create(&format!("{child}/leaf"), b"", &PERSISTENT)
            .await
            .unwrap();
        let wrote = stage.zk.set_data(&base, b"", None).await.unwrap();
        stage.zk.delete(&format!("{child}/leaf"), None).await.unwrap();
        stage.zk.delete(&child, None).await.unwrap();
        let after = stage.stat(&base).await.pzxid;
        is(
            &soon(node.changed()).await,
            EventType::NodeChildrenChanged,
            &base,
            made.czxid,
        );
        is(
            &soon(node.changed()).await,
            EventType::NodeDataChanged,
            &base,
            wrote.mzxid,
        );
        is(
            &soon(node.changed()).await,
            EventType::NodeChildrenChanged,
            &base,
            after,
        );
        is(&soon(tree.changed()).await, EventType::NodeCreated, &child, made.czxid);
        is(
            &soon(tree.changed()).await,
            EventType::NodeCreated,
            &format!("{child}/leaf"),
            leaf.czxid,
        );
        assert_eq!(soon(tree.changed()).await.path, format!("{child}/leaf"));
        is(&soon(tree.changed()).await, EventType::NodeDeleted, &child, after);
    }
    watching.sync(&base).await.unwrap();
    assert!(timeout(Duration::ZERO, tree.changed()).await.is_err(), "no event twice");
}

async fn multi_read(stage: &Stage) {
    let base = stage.make("multi-read", "data").await;
    stage.make("multi-read/child", "").await;
    let mut reader = stage.zk.new_multi_reader();
    reader.add_get_data(&base).unwrap();
    reader.add_get_data(&format!("{base}/none")).unwrap();
    reader.add_get_children(&base).unwrap();
    let results = reader.commit().await.unwrap();
    let [
        MultiReadResult::Data { data, stat },
        MultiReadResult::Error { err },
        MultiReadResult::Children { children },
    ] = &results[..]
    else {
        panic!("{results:?}")
    };
    assert_eq!(
        (&data[..], err, &children[..]),
        (&b"data"[..], &Error::NoNode, &["child".to_string()][..])
    );
    assert_eq!(*stat, stage.stat(&base).await);
}

async fn chroot(stage: &Stage) {
    stage.make("jail", "").await;
    let inside = Client::connect(&format!("{}{ROOT}/jail", variable("ZK_SERVER")))
        .await
        .unwrap();
    let (_, watcher) = inside.list_and_watch_children("/").await.unwrap();
    inside.create("/node", b"", &PERSISTENT).await.unwrap();
    assert_eq!(soon(watcher.changed()).await.path, "/");
    assert!(stage.exists(&format!("{ROOT}/jail/node")).await);
    inside.mkdir("/a/b/c", &PERSISTENT).await.unwrap();
    assert_eq!(inside.count_descendants_number("/").await.unwrap(), 4);
}

async fn counts_and_lists(stage: &Stage) {
    let other = direct(10_000).await;
    for number in 0..3 {
        other
            .create(&format!("{ROOT}/listed-{number}"), b"", &EPHEMERAL)
            .await
            .unwrap();
    }
    let mut listed = other.list_ephemerals(ROOT).await.unwrap();
    listed.sort();
    assert_eq!(listed, [0, 1, 2].map(|number| format!("{ROOT}/listed-{number}")));
    other.auth("digest", b"user:secret").await.unwrap();
    let users: Vec<_> = other.list_auth_users().await.unwrap();
    let users: Vec<_> = users.iter().map(|user| (user.scheme(), user.user())).collect();
    assert!(
        users.contains(&("digest", "user")) && users.contains(&("ip", "127.0.0.1")),
        "{users:?}"
    );
    assert!(stage.zk.list_ephemerals(ROOT).await.unwrap().is_empty());
}

/// Five sessions contend five times each; a counter that only holders raise and lower never shows two.
async fn lock(stage: &Stage) {
    let base = stage.make("lock", "").await;
    let inside = Arc::new(AtomicU32::new(0));
    let turns = Arc::new(AtomicU32::new(0));
    let workers: Vec<_> = (0..5)
        .map(|_| tokio::spawn(contend(base.clone(), inside.clone(), turns.clone())))
        .collect();
    for worker in workers {
        soon(worker).await.unwrap();
    }
    assert_eq!(turns.load(SeqCst), 25);
}

async fn contend(base: String, inside: Arc<AtomicU32>, turns: Arc<AtomicU32>) {
    let mine = direct(10_000).await;
    let options = LockOptions::new(Acls::anyone_all());
    for _ in 0..5 {
        let prefix = LockPrefix::new_curator(&base, "lock-").unwrap();
        let held = mine.lock(prefix, b"", options.clone()).await.unwrap();
        assert_eq!(inside.fetch_add(1, SeqCst), 0, "two hold the lock");
        held.set_data(&base, b"", None).await.unwrap();
        turns.fetch_add(1, SeqCst);
        inside.fetch_sub(1, SeqCst);
    }
}

/// Writes of a holder are multis that check its node: a holder that lost it without knowing writes nothing.
async fn lock_fences_writes(stage: &Stage) {
    let data = stage.make("fenced", "").await;
    let prefix = format!("{ROOT}/fence/n-");
    let prefix = LockPrefix::new_shared(&prefix).unwrap();
    let options = LockOptions::new(Acls::anyone_all())
        .with_ancestor_options(PERSISTENT)
        .unwrap();
    let held = stage.zk.lock(prefix, b"", options).await.unwrap();
    assert_eq!(held.lock_path(), format!("{ROOT}/fence/n-0000000000"));
    assert_eq!(held.set_data(&data, b"mine", None).await.unwrap().version, 1);
    stage.zk.delete(held.lock_path(), None).await.unwrap();
    fails(Error::RuntimeInconsistent, held.set_data(&data, b"late", None).await);
    assert_eq!(stage.zk.get_data(&data).await.unwrap().0, b"mine");
}
