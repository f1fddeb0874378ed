//! The shell's session: a client of the crate, and its state under the names Java shows in the prompt.
//!
//! One task per session connects, again and again every second as Java's `SendThread` does, and then follows the
//! crate's state. A command that comes while no server answers fails with ConnectionLoss once an attempt has failed;
//! one that comes first waits. The event is printed before the client is handed out, so `SyncConnected` always stands
//! before the first result.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use zookeeper_client::{Client, Error, SessionState, StateWatcher};

use super::failure::{CONNECTION_LOSS, Failure, Outcome, keeper};
use super::launch::Launch;
use super::screen::{Event, Screen};
use super::watches::Watches;
use ringkeeper::wire::error::ErrorCode;

/// Pause between two attempts to connect (`ClientCnxn.SendThread#startConnect` sleeps up to one second).
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long a command waits for a lost connection to come back before it reports the loss.
const RECONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// How long `close` waits for the server's answer.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// How long a refused session may take to end.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// The states of `ZooKeeper.States` that a shell can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum State {
    Connecting,
    Connected,
    ConnectedReadOnly,
    Closed,
    AuthFailed,
}

impl State {
    /// Java's name.
    pub fn name(self) -> &'static str {
        match self {
            State::Connecting => "CONNECTING",
            State::Connected => "CONNECTED",
            State::ConnectedReadOnly => "CONNECTEDREADONLY",
            State::Closed => "CLOSED",
            State::AuthFailed => "AUTH_FAILED",
        }
    }

    /// `ZooKeeper.States#isAlive`.
    pub fn is_alive(self) -> bool {
        !matches!(self, State::Closed | State::AuthFailed)
    }

    fn is_connected(self) -> bool {
        matches!(self, State::Connected | State::ConnectedReadOnly)
    }
}

impl From<SessionState> for State {
    fn from(state: SessionState) -> State {
        match state {
            SessionState::Disconnected => State::Connecting,
            SessionState::SyncConnected => State::Connected,
            SessionState::ConnectedReadOnly => State::ConnectedReadOnly,
            SessionState::AuthFailed => State::AuthFailed,
            SessionState::Expired | SessionState::Closed => State::Closed,
        }
    }
}

/// What is known of the session now.
#[derive(Clone)]
struct View {
    state: State,
    client: Option<Client>,
    failed_attempts: u64,
}

/// A look at a session: it never waits and keeps no client alive.
#[derive(Clone)]
pub struct Peek(Arc<watch::Sender<View>>);

impl Peek {
    /// The client, if connected now.
    pub fn client(&self) -> Option<Client> {
        let view = self.0.borrow();
        view.client.clone().filter(|_| view.state.is_connected())
    }
}

/// A session, from the wish for one to its end.
pub struct Session {
    /// The connect string.
    pub server: String,
    /// The timeout asked for.
    pub timeout: Duration,
    /// Credentials given so far, for the second connection of [`super::side`].
    pub credentials: Mutex<Vec<(String, Vec<u8>)>>,
    /// The default watcher.
    pub watches: Arc<Watches>,
    screen: Arc<Screen>,
    view: Arc<watch::Sender<View>>,
    follower: JoinHandle<()>,
}

impl Session {
    /// Begins to connect. Must be called inside the runtime.
    pub fn open(server: &str, launch: &Launch, screen: &Arc<Screen>) -> Session {
        let view = Arc::new(watch::Sender::new(View {
            state: State::Connecting,
            client: None,
            failed_attempts: 0,
        }));
        let follow = Follow {
            server: server.into(),
            timeout: launch.timeout,
            read_only: launch.read_only,
            screen: screen.clone(),
            view: view.clone(),
        };
        Session {
            server: server.into(),
            timeout: launch.timeout,
            credentials: Mutex::default(),
            watches: Arc::new(Watches::new(screen.clone())),
            screen: screen.clone(),
            follower: tokio::spawn(follow.run()),
            view,
        }
    }

    /// A look at the session for another thread.
    pub fn peek(&self) -> Peek {
        Peek(self.view.clone())
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.view.borrow().state
    }

    /// The client, once there is one. `path` is what the failure names.
    ///
    /// # Errors
    /// ConnectionLoss after a failed attempt or a lost connection, and what ended the session.
    pub async fn client(&self, path: &str) -> Outcome<Client> {
        let lost = || keeper(CONNECTION_LOSS, Some(path));
        let mut views = self.view.subscribe();
        let failed = views.borrow().failed_attempts;
        let first = views
            .wait_for(|view| view.client.is_some() || !view.state.is_alive() || view.failed_attempts > failed)
            .await
            .map_err(|_| lost())?
            .clone();
        match (first.state, first.client) {
            (State::AuthFailed, _) => Err(keeper(ErrorCode::AuthFailed.code(), Some(path))),
            (State::Closed, _) => Err(keeper(ErrorCode::SessionExpired.code(), Some(path))),
            (_, None) => Err(lost()),
            (state, Some(client)) if state.is_connected() => Ok(client),
            (_, Some(client)) => {
                let back = views.wait_for(|view| view.state.is_connected());
                match tokio::time::timeout(RECONNECT_PATIENCE, back).await {
                    Ok(Ok(_)) => Ok(client),
                    _ => Err(lost()),
                }
            }
        }
    }

    /// Blocks until the session stands (`-waitforconnection`).
    ///
    /// # Errors
    /// ConnectionLoss when the session timeout passes first.
    pub async fn wait_until_connected(&self) -> Outcome<()> {
        let mut views = self.view.subscribe();
        let stands = views.wait_for(|view| view.client.is_some());
        match tokio::time::timeout(self.timeout, stands).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Failure::new(
                "java.io.IOException: org.apache.zookeeper.KeeperException$ConnectionLossException: \
                KeeperErrorCode = ConnectionLoss",
            )),
        }
    }

    /// Waits a moment for a session that is ending to have ended.
    pub async fn wait_for_end(&self) {
        let mut views = self.view.subscribe();
        let ended = views.wait_for(|view| !view.state.is_alive());
        let _ = tokio::time::timeout(END_PATIENCE, ended).await;
    }

    /// Closes the session; the server deletes its ephemerals (`ZooKeeper#close`). Nothing on a dead one.
    pub async fn close(&mut self) {
        if !self.state().is_alive() {
            return;
        }
        self.watches.forget_all().await;
        let had_client = self.view.borrow().client.is_some();
        // The last clone of the client goes here; the crate then sends closeSession.
        self.view.send_modify(|view| view.client = None);
        let ended = had_client && tokio::time::timeout(CLOSE_PATIENCE, &mut self.follower).await.is_ok();
        if !ended {
            self.follower.abort();
            self.view.send_modify(|view| view.state = State::Closed);
            self.screen.event(&Event::session("Closed"));
        }
    }
}

struct Follow {
    server: String,
    timeout: Duration,
    read_only: bool,
    screen: Arc<Screen>,
    view: Arc<watch::Sender<View>>,
}

impl Follow {
    async fn run(self) {
        if let Some(states) = self.connect().await {
            self.follow(states).await;
        }
    }

    async fn connect(&self) -> Option<StateWatcher> {
        loop {
            let connector = Client::connector()
                .with_session_timeout(self.timeout)
                .with_readonly(self.read_only)
                .with_fail_eagerly();
            match connector.connect(&self.server).await {
                Ok(client) => {
                    let mut states = client.state_watcher();
                    self.screen.event(&Event::session(states.peek_state()));
                    let state = State::from(states.state());
                    self.view
                        .send_modify(|view| (view.state, view.client) = (state, Some(client)));
                    return Some(states);
                }
                Err(Error::BadArguments(reason)) => {
                    self.screen
                        .complain(&format!("Invalid connect string {:?}: {reason}", self.server));
                    self.view.send_modify(|view| view.state = State::Closed);
                    return None;
                }
                Err(_) => self.view.send_modify(|view| view.failed_attempts += 1),
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn follow(&self, mut states: StateWatcher) {
        loop {
            let state = states.changed().await;
            self.screen.event(&Event::session(state));
            self.view.send_modify(|view| {
                view.state = State::from(state);
                if state.is_terminated() {
                    view.client = None;
                }
            });
            if state.is_terminated() {
                return;
            }
        }
    }
}
