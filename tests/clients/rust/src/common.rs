//! The steps every client of `tests/clients` shows, in their order.
//!
//! An event's zxid is compared with that of the change it tells of: 3.9 servers send it, and this client hands it on.

use std::time::Duration;

use tokio::time::timeout;
use zookeeper_client::{
    Acl, Acls, AuthId, Client, CreateMode, Error, EventType, MultiWriteError, MultiWriteResult, Permission,
    SessionState, Stat,
};

use crate::stage::{
    EPHEMERAL, PERSISTENT, ROOT, SEQUENTIAL, Stage, direct, event, event_now, fails, is, show, through_proxy,
    until_state, variable,
};

pub async fn play(stage: &mut Stage) {
    show("connect", connect(stage)).await;
    show("create-kinds", create_kinds(stage)).await;
    show("versions", versions(stage)).await;
    show("children", children(stage)).await;
    show("watches-in-order", watches_in_order(stage)).await;
    show("ephemeral-vanishes", ephemeral_vanishes(stage)).await;
    show("sequential", sequential(stage)).await;
    show("multi-succeeds", multi_succeeds(stage)).await;
    show("multi-fails-whole", multi_fails_whole(stage)).await;
    show("errors-are-mapped", errors_are_mapped(stage)).await;
    show("auth-and-acl", auth_and_acl(stage)).await;
    show("large-data", large_data(stage)).await;
    show("pipelined", pipelined(stage)).await;
    show("cut-keeps-session", cut_keeps_session(stage)).await;
    show("cut-resets-watches", cut_resets_watches(stage)).await;
    show("restart-keeps-session", restart_keeps_session(stage)).await;
    show("session-expires", session_expires(stage)).await;
}

async fn connect(stage: &Stage) {
    assert_ne!(stage.zk.session_id().0, 0);
    assert_eq!(stage.zk.session_timeout(), Duration::from_secs(10));
    stage.zk.create(ROOT, b"", &PERSISTENT).await.unwrap();
}

async fn create_kinds(stage: &Stage) {
    let zk = &stage.zk;
    let base = stage.make("kinds", "persistent").await;
    let (made, _) = zk.create(&format!("{base}/ephemeral"), b"e", &EPHEMERAL).await.unwrap();
    assert_eq!(made.ephemeral_owner, zk.session_id().0);
    assert_eq!(made, stage.stat(&format!("{base}/ephemeral")).await);
    let (_, number) = zk.create(&format!("{base}/seq-"), b"", &SEQUENTIAL).await.unwrap();
    assert_eq!(number.to_string(), "0000000001");
    let both = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    let (_, number) = zk.create(&format!("{base}/both-"), b"", &both).await.unwrap();
    assert_eq!(number.into_i64(), 2);
    let found = stage.stat(&base).await;
    assert_eq!(
        (found.data_length, found.num_children, found.ephemeral_owner),
        (10, 3, 0)
    );
}

async fn versions(stage: &Stage) {
    let zk = &stage.zk;
    let path = stage.make("versions", "zero").await;
    assert_eq!(zk.set_data(&path, b"one", Some(0)).await.unwrap().version, 1);
    fails(Error::BadVersion, zk.set_data(&path, b"", Some(0)).await);
    assert_eq!(zk.set_data(&path, b"", None).await.unwrap().version, 2);
    let (data, found) = zk.get_data(&path).await.unwrap();
    assert!(data.is_empty() && found.mzxid > found.czxid);
    fails(Error::BadVersion, zk.delete(&path, Some(1)).await);
    zk.delete(&path, Some(2)).await.unwrap();
    assert!(!stage.exists(&path).await);
}

async fn children(stage: &Stage) {
    let base = stage.make("children", "").await;
    for name in ["b", "a", "ünïcode-節点"] {
        stage.make(&format!("children/{name}"), "").await;
    }
    let (mut names, found) = stage.zk.get_children(&base).await.unwrap();
    names.sort();
    assert_eq!(names, ["a", "b", "ünïcode-節点"]);
    assert_eq!((found.cversion, found.num_children), (3, 3));
    let mut listed = stage.zk.list_children(&base).await.unwrap();
    listed.sort();
    assert_eq!(listed, names);
    fails(Error::NotEmpty, stage.zk.delete(&base, None).await);
}

async fn watches_in_order(stage: &Stage) {
    let zk = &stage.zk;
    let path = format!("{ROOT}/watched");
    let (none, created) = zk.check_and_watch_stat(&path).await.unwrap();
    assert!(none.is_none());
    let (made, _) = zk.create(&path, b"", &PERSISTENT).await.unwrap();
    is(&event_now(created).await, EventType::NodeCreated, &path, made.czxid);
    let (_, _, changed) = zk.get_and_watch_data(&path).await.unwrap();
    let (_, grown) = zk.list_and_watch_children(&path).await.unwrap();
    let (child, _) = zk.create(&format!("{path}/child"), b"", &PERSISTENT).await.unwrap();
    is(
        &event_now(grown).await,
        EventType::NodeChildrenChanged,
        &path,
        child.czxid,
    );
    let mut changed = Box::pin(changed.changed());
    assert!(
        timeout(Duration::ZERO, &mut changed).await.is_err(),
        "a child is no data"
    );
    let wrote = zk.set_data(&path, b"", None).await.unwrap();
    let told = timeout(Duration::ZERO, changed)
        .await
        .expect("the event came after the reply");
    is(&told, EventType::NodeDataChanged, &path, wrote.mzxid);
    for _ in 0..100 {
        let (_, _, changed) = zk.get_and_watch_data(&path).await.unwrap();
        let wrote = zk.set_data(&path, b"", None).await.unwrap();
        is(
            &event_now(changed).await,
            EventType::NodeDataChanged,
            &path,
            wrote.mzxid,
        );
    }
    zk.delete(&format!("{path}/child"), None).await.unwrap();
    let (_, gone) = zk.check_and_watch_stat(&path).await.unwrap();
    zk.delete(&path, None).await.unwrap();
    assert_eq!(event_now(gone).await.event_type, EventType::NodeDeleted);
}

async fn ephemeral_vanishes(stage: &Stage) {
    let path = format!("{ROOT}/short-lived");
    let other = direct(10_000).await;
    other.create(&path, b"", &EPHEMERAL).await.unwrap();
    let below = stage.zk.create(&format!("{path}/child"), b"", &PERSISTENT).await;
    fails(Error::NoChildrenForEphemerals, below);
    let (_, gone) = stage.zk.check_and_watch_stat(&path).await.unwrap();
    // The last handle of a client closes its session.
    drop(other);
    assert_eq!(event(gone).await.event_type, EventType::NodeDeleted);
    assert!(!stage.exists(&path).await);
}

async fn sequential(stage: &Stage) {
    let base = stage.make("sequence", "").await;
    let prefix = format!("{base}/n-");
    // Requests leave in the order of the calls, not of the awaits.
    let sent: Vec<_> = (0..100).map(|_| stage.zk.create(&prefix, b"", &SEQUENTIAL)).collect();
    for (number, reply) in sent.into_iter().enumerate() {
        assert_eq!(reply.await.unwrap().1.into_i64(), number as i64);
    }
    assert!(stage.exists(&format!("{prefix}0000000099")).await);
}

async fn multi_succeeds(stage: &Stage) {
    let base = stage.make("multi", "").await;
    let (a, s) = (format!("{base}/a"), format!("{base}/s-"));
    let mut writer = stage.zk.new_multi_writer();
    writer.add_check_version(&base, 0).unwrap();
    writer.add_create(&a, b"1", &PERSISTENT).unwrap();
    writer.add_create(&s, b"", &SEQUENTIAL).unwrap();
    writer.add_set_data(&a, b"22", Some(0)).unwrap();
    writer.add_delete(&a, Some(1)).unwrap();
    let results = writer.commit().await.unwrap();
    let [check, create, sequential, set, delete] = &results[..] else {
        panic!("{results:?}")
    };
    assert_eq!((check, delete), (&MultiWriteResult::Check, &MultiWriteResult::Delete));
    assert!(
        matches!(create, MultiWriteResult::Create { path, .. } if *path == a),
        "{create:?}"
    );
    let numbered = format!("{s}0000000001");
    assert!(
        matches!(sequential, MultiWriteResult::Create { path, .. } if *path == numbered),
        "{sequential:?}"
    );
    let MultiWriteResult::SetData {
        stat: Stat {
            version: 1,
            data_length: 2,
            mzxid,
            ..
        },
    } = set
    else {
        panic!("{set:?}")
    };
    assert_eq!(
        stage.stat(&numbered).await.czxid,
        *mzxid,
        "one multi is one transaction"
    );
    assert_eq!(stage.zk.list_children(&base).await.unwrap(), ["s-0000000001"]);
}

async fn multi_fails_whole(stage: &Stage) {
    let base = stage.make("multi-fails", "").await;
    let before = stage.stat(&base).await;
    let mut writer = stage.zk.new_multi_writer();
    writer.add_create(&format!("{base}/a"), b"", &PERSISTENT).unwrap();
    writer.add_set_data(&base, b"", None).unwrap();
    writer.add_check_version(&base, 7).unwrap();
    writer.add_create(&format!("{base}/b"), b"", &PERSISTENT).unwrap();
    let failure = writer.commit().await.unwrap_err();
    let expected = MultiWriteError::OperationFailed {
        index: 2,
        source: Error::BadVersion,
    };
    assert_eq!(failure, expected);
    assert_eq!(stage.stat(&base).await, before);
}

async fn errors_are_mapped(stage: &Stage) {
    let zk = &stage.zk;
    let here = stage.make("errors", "").await;
    let none = format!("{here}/none");
    fails(Error::NodeExists, zk.create(&here, b"", &PERSISTENT).await);
    fails(
        Error::NoNode,
        zk.create(&format!("{none}/child"), b"", &PERSISTENT).await,
    );
    fails(Error::NoNode, zk.get_data(&none).await);
    fails(Error::NoNode, zk.set_data(&none, b"", None).await);
    fails(Error::NoNode, zk.delete(&none, None).await);
    fails(Error::NoNode, zk.get_children(&none).await);
    fails(Error::NoNode, zk.get_and_watch_data(&none).await);
    fails(Error::NoNode, zk.get_acl(&none).await);
    fails(Error::BadVersion, zk.set_acl(&here, &Acls::anyone_all(), Some(9)).await);
    let reserved = zk.delete("/zookeeper/config", None).await.unwrap_err();
    assert!(matches!(reserved, Error::BadArguments(_)), "{reserved:?}");
    let strange = [Acl::new(Permission::ALL, AuthId::new("no-such-scheme", "who"))];
    let path = format!("{here}/acl");
    let create = |acls| zk.create(&path, b"", &CreateMode::Persistent.with_acls(acls));
    fails(Error::InvalidAcl, create(Acls::new(&strange)).await);
    fails(Error::InvalidAcl, create(Acls::creator_all()).await);
}

async fn auth_and_acl(stage: &Stage) {
    let zk = &stage.zk;
    let path = format!("{ROOT}/secret");
    let owner = direct(10_000).await;
    owner.auth("digest", b"user:secret").await.unwrap();
    let private = CreateMode::Persistent.with_acls(Acls::creator_all());
    owner.create(&path, b"hidden", &private).await.unwrap();
    fails(Error::NoAuth, zk.get_data(&path).await);
    fails(Error::NoAuth, zk.set_data(&path, b"", None).await);
    fails(
        Error::NoAuth,
        zk.create(&format!("{path}/child"), b"", &PERSISTENT).await,
    );
    let (acls, _) = owner.get_acl(&path).await.unwrap();
    let [acl] = &acls[..] else { panic!("{acls:?}") };
    assert_eq!((acl.permission(), acl.scheme()), (Permission::ALL, "digest"));
    assert!(acl.id().starts_with("user:") && !acl.id().contains("secret"), "{acl:?}");
    assert_eq!(
        owner
            .set_acl(&path, &Acls::anyone_read(), Some(0))
            .await
            .unwrap()
            .aversion,
        1
    );
    assert_eq!(zk.get_data(&path).await.unwrap().0, b"hidden");
    fails(Error::NoAuth, zk.set_data(&path, b"", None).await);
    owner.auth("digest", b"super:test").await.unwrap();
    owner.set_data(&path, b"", None).await.unwrap();
    let stranger = direct(10_000).await;
    fails(Error::AuthFailed, stranger.auth("no-such-scheme", b"who").await);
    until_state(&stranger, SessionState::AuthFailed).await;
}

async fn large_data(stage: &Stage) {
    let path = stage.make("large", "").await;
    let large = b"0123456789abcdef".repeat(65_280);
    stage.zk.set_data(&path, &large, None).await.unwrap();
    assert!(stage.zk.get_data(&path).await.unwrap().0 == large);
    let other = direct(10_000).await;
    // The server closes on such a frame; whether the client sees that while it writes (broken pipe) or after is a race.
    let refused = other.set_data(&path, &vec![0; 1_100_000], None).await;
    assert!(
        matches!(refused, Err(Error::ConnectionLoss | Error::Custom(_))),
        "{refused:?}"
    );
    assert_eq!(stage.stat(&path).await.version, 1);
    stage.zk.delete(&path, None).await.unwrap();
}

async fn pipelined(stage: &Stage) {
    let path = stage.make("pipeline", "").await;
    let mut sent = Vec::new();
    for number in 1..=3000 {
        let data = format!("m{number}");
        let write = stage.zk.set_data(&path, data.as_bytes(), Some(number - 1));
        sent.push((number, data, write, stage.zk.get_data(&path)));
    }
    for (number, data, write, read) in sent {
        assert_eq!(write.await.unwrap().version, number);
        let (found, stat) = read.await.unwrap();
        assert_eq!((String::from_utf8(found).unwrap(), stat.version), (data, number));
    }
}

/// Breaks the client's connection and lets it come back.
async fn cut(stage: &mut Stage, other: &Client) {
    stage.ask("hold").await;
    until_state(other, SessionState::Disconnected).await;
    stage.ask("release").await;
    until_state(other, SessionState::SyncConnected).await;
}

async fn cut_keeps_session(stage: &mut Stage) {
    let path = format!("{ROOT}/cut");
    let other = through_proxy(10_000).await;
    other.auth("digest", b"user:secret").await.unwrap();
    other.create(&path, b"", &EPHEMERAL).await.unwrap();
    cut(stage, &other).await;
    assert_eq!(stage.stat(&path).await.ephemeral_owner, other.session_id().0);
    // Only the session that owns it may list it, and only one that authenticated anew may write as the user.
    assert_eq!(other.list_ephemerals(&path).await.unwrap(), [path.as_str()]);
    let private = CreateMode::Persistent.with_acls(Acls::creator_all());
    other.create(&format!("{ROOT}/by-user"), b"", &private).await.unwrap();
    drop(other);
    stage.until_gone(&path).await;
}

async fn cut_resets_watches(stage: &mut Stage) {
    let base = stage.make("resets", "").await;
    let data = stage.make("resets/data", "").await;
    let gone = stage.make("resets/gone", "").await;
    let quiet = stage.make("resets/quiet", "").await;
    let made = format!("{base}/made");
    let other = through_proxy(20_000).await;
    let (_, _, on_data) = other.get_and_watch_data(&data).await.unwrap();
    let (_, _, on_gone) = other.get_and_watch_data(&gone).await.unwrap();
    let (_, _, on_quiet) = other.get_and_watch_data(&quiet).await.unwrap();
    let (_, on_made) = other.check_and_watch_stat(&made).await.unwrap();
    let (_, on_base) = other.list_and_watch_children(&base).await.unwrap();
    stage.ask("hold").await;
    until_state(&other, SessionState::Disconnected).await;
    stage.zk.set_data(&data, b"", None).await.unwrap();
    stage.zk.delete(&gone, None).await.unwrap();
    stage.zk.create(&made, b"", &PERSISTENT).await.unwrap();
    stage.ask("release").await;
    for (watcher, kind, path) in [
        (on_data, EventType::NodeDataChanged, &data),
        (on_gone, EventType::NodeDeleted, &gone),
        (on_made, EventType::NodeCreated, &made),
        (on_base, EventType::NodeChildrenChanged, &base),
    ] {
        let told = event(watcher).await;
        assert_eq!((told.event_type, &told.path), (kind, path));
    }
    let wrote = stage.zk.set_data(&quiet, b"", None).await.unwrap();
    is(&event(on_quiet).await, EventType::NodeDataChanged, &quiet, wrote.mzxid);
}

async fn restart_keeps_session(stage: &mut Stage) {
    let path = format!("{ROOT}/restart");
    stage.zk = direct(30_000).await;
    let other = direct(30_000).await;
    other.create(&path, b"kept", &EPHEMERAL).await.unwrap();
    let before = stage.stat(ROOT).await;
    let (_, _, changed) = other.get_and_watch_data(&path).await.unwrap();
    stage.ask("stop").await;
    for client in [&stage.zk, &other] {
        until_state(client, SessionState::Disconnected).await;
    }
    stage.ask("start").await;
    for client in [&stage.zk, &other] {
        until_state(client, SessionState::SyncConnected).await;
    }
    assert_eq!(stage.stat(ROOT).await, before);
    assert_eq!(stage.stat(&path).await.ephemeral_owner, other.session_id().0);
    let wrote = stage.zk.set_data(&path, b"", None).await.unwrap();
    is(&event(changed).await, EventType::NodeDataChanged, &path, wrote.mzxid);
    drop(other);
    stage.until_gone(&path).await;
}

async fn session_expires(stage: &mut Stage) {
    let path = format!("{ROOT}/expires");
    let other = through_proxy(2_000).await;
    other.create(&path, b"", &EPHEMERAL).await.unwrap();
    stage.ask("hold").await;
    stage.until_gone(&path).await;
    stage.ask("release").await;
    until_state(&other, SessionState::Expired).await;
    // This client gives a session up by its own clock too, so the server is asked once more.
    let again = Client::connector().with_session(other.session().clone());
    fails(
        Error::SessionExpired,
        again.connect(&variable("ZK_SERVER")).await.map(drop),
    );
}
