//! What the steps share: the client that most of them use, the control port, and how to expect and to wait.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use zookeeper_client::{
    Acls, Client, CreateMode, CreateOptions, Error, EventType, OneshotWatcher, SessionState, Stat, WatchedEvent,
};

/// The node below which everything happens.
pub const ROOT: &str = "/rust-scenario";
pub const PERSISTENT: CreateOptions<'static> = CreateMode::Persistent.with_acls(Acls::anyone_all());
pub const EPHEMERAL: CreateOptions<'static> = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
pub const SEQUENTIAL: CreateOptions<'static> = CreateMode::PersistentSequential.with_acls(Acls::anyone_all());

/// How long an event or a state may take; a slow machine is given its time.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Stage {
    pub zk: Client,
    control: BufReader<TcpStream>,
}

impl Stage {
    pub async fn connect() -> Stage {
        let control = TcpStream::connect(variable("ZK_CONTROL")).await.unwrap();
        Stage {
            zk: direct(10_000).await,
            control: BufReader::new(control),
        }
    }

    /// Sends one command to the control port: cut, hold, release, stop, start or restart.
    pub async fn ask(&mut self, what: &str) {
        self.control
            .get_mut()
            .write_all(format!("{what}\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        self.control.read_line(&mut answer).await.unwrap();
        assert_eq!(answer, "ok\n");
    }

    /// A persistent node below [`ROOT`].
    pub async fn make(&self, name: &str, data: &str) -> String {
        let path = format!("{ROOT}/{name}");
        self.zk.create(&path, data.as_bytes(), &PERSISTENT).await.unwrap();
        path
    }

    pub async fn stat(&self, path: &str) -> Stat {
        self.zk
            .check_stat(path)
            .await
            .unwrap()
            .unwrap_or_else(|| panic!("{path} is gone"))
    }

    pub async fn exists(&self, path: &str) -> bool {
        self.zk.check_stat(path).await.unwrap().is_some()
    }

    pub async fn until_gone(&self, path: &str) {
        let end = Instant::now() + PATIENCE;
        while self.exists(path).await {
            assert!(Instant::now() < end, "{path} stays");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A client of the server itself.
pub async fn direct(session_timeout_ms: u64) -> Client {
    dial("ZK_SERVER", session_timeout_ms).await
}

/// A client whose connections the control port can break.
pub async fn through_proxy(session_timeout_ms: u64) -> Client {
    dial("ZK_PROXY", session_timeout_ms).await
}

async fn dial(which: &str, session_timeout_ms: u64) -> Client {
    Client::connector()
        .with_session_timeout(Duration::from_millis(session_timeout_ms))
        .connect(&variable(which))
        .await
        .unwrap()
}

pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// Prints the step's name once `step` is through.
pub async fn show(name: &str, step: impl Future<Output = ()>) {
    step.await;
    println!("ok {name}");
}

#[track_caller]
pub fn fails<T: Debug>(expected: Error, result: Result<T, Error>) {
    assert_eq!(result.unwrap_err(), expected);
}

/// The event that comes, be it now or later.
pub async fn event(watcher: OneshotWatcher) -> WatchedEvent {
    soon(watcher.changed()).await
}

/// The event that has come: a reply is handed over only after every event that precedes it.
pub async fn event_now(watcher: OneshotWatcher) -> WatchedEvent {
    timeout(Duration::ZERO, watcher.changed())
        .await
        .expect("the event came after the reply")
}

#[track_caller]
pub fn is(event: &WatchedEvent, kind: EventType, path: &str, zxid: i64) {
    assert_eq!((event.event_type, event.path.as_str(), event.zxid), (kind, path, zxid));
}

pub async fn until_state(client: &Client, state: SessionState) {
    let mut watcher = client.state_watcher();
    soon(async {
        while watcher.peek_state() != state {
            watcher.changed().await;
        }
    })
    .await;
}

pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("waited in vain")
}
