//! The admin HTTP server (`JettyAdminServer`): `GET /commands` lists the commands, `GET /commands/<name>` runs one.
//!
//! It has a thread and an event loop of its own, so that no operator's tool is ever in the way of a client; what it
//! tells is gathered by the first core, as for the four-letter words, and asked for by message.
//!
//! Unlike ZooKeeper's it runs only where `admin.enableServer=true` is written.

pub mod answer;
pub mod body;
pub mod command;
mod ensemble;
pub mod json;
pub mod snapshot;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use body::Content;
use command::{COMMANDS, Command};
use json::{Fields, Json};
use snapshot::RateLimiter;

use super::message::ToCore;
use super::shared::Shared;

/// What the configuration says about it.
#[derive(Clone, Debug)]
pub struct AdminOptions {
    /// `admin.serverAddress` and `admin.serverPort`.
    pub listen: SocketAddr,
    /// `admin.commandURL`, without a slash at its end.
    pub url: String,
    /// `admin.idleTimeout`: how long a connection may take to send a request's head, and stay without one. `None` is
    /// no limit.
    pub idle: Option<Duration>,
    /// How often a snapshot may be asked for (`admin.rateLimiterIntervalInMS`); `None` is never
    /// (`admin.snapshot.enabled`).
    pub snapshot_every: Option<Duration>,
    /// The configuration file's text, for `initial_configuration`.
    pub file: String,
}

/// What the commands share.
pub struct Admin {
    shared: Arc<Shared>,
    snapshots: Option<Mutex<RateLimiter>>,
}

/// Serves for ever.
pub fn run(listener: TcpListener, shared: Arc<Shared>) -> std::io::Result<()> {
    crate::io::processor::unpin();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(listener, shared))
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut builder = http1::Builder::new();
    let options = shared.options.admin.as_ref().expect("it is configured");
    builder.timer(TokioTimer::new()).header_read_timeout(options.idle);
    let limiter = |interval: Duration| Mutex::new(RateLimiter::new(interval.as_millis() as u64, shared.clock.ms()));
    let admin = Arc::new(Admin {
        snapshots: options.snapshot_every.map(limiter),
        shared: Arc::clone(&shared),
    });
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many files, or a client that is gone already: neither ends the server.
                tracing::warn!(%error, "the admin server could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let admin = Arc::clone(&admin);
        let service = service_fn(move |request| {
            let admin = Arc::clone(&admin);
            async move { Ok::<_, Infallible>(respond(&admin, &request, &peer).await) }
        });
        let connection = builder.serve_connection(TokioIo::new(socket), service);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "an admin connection ended");
            }
        });
    }
}

type Page = Response<Content>;

async fn respond(admin: &Arc<Admin>, request: &Request<Incoming>, peer: &SocketAddr) -> Page {
    let url = &admin.shared.options.admin.as_ref().expect("it is configured").url;
    let is_post = match *request.method() {
        Method::GET | Method::HEAD => false,
        Method::POST => true,
        Method::TRACE => return empty(StatusCode::FORBIDDEN),
        _ => return empty(StatusCode::METHOD_NOT_ALLOWED),
    };
    match request.uri().path().strip_prefix(url.as_str()) {
        Some("" | "/") => page(StatusCode::OK, None, Content::text(links(url))),
        Some(rest) if rest.starts_with('/') => run_command(admin, &rest[1..], request, peer, is_post).await,
        _ => empty(StatusCode::NOT_FOUND),
    }
}

/// `Commands#runCommand`. An empty page where Java shows an error page.
async fn run_command(
    admin: &Arc<Admin>,
    name: &str,
    request: &Request<Incoming>,
    peer: &SocketAddr,
    is_post: bool,
) -> Page {
    let json = |status, fields| {
        page(
            status,
            Some("application/json"),
            Content::text(Json::Map(fields).print()),
        )
    };
    let Some(command) = Command::named(name) else {
        return json(StatusCode::OK, failed(name, &format!("Unknown command: {name}")));
    };
    if command.is_guarded()
        && let Err((status, why)) = snapshot::authorize(admin, request.headers(), peer).await
    {
        return json(status, failed(name, why));
    }
    if is_post != (command == Command::Restore) {
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    }
    match command {
        Command::Snapshot => return snapshot::run(admin, request).await,
        Command::Restore => return snapshot::restore(),
        _ => {}
    }
    let mask = request.uri().query().and_then(|query| parameter(query, "traceMask"));
    let (answer, told) = oneshot::channel();
    admin.shared.cores[0].inbox.send(ToCore::Admin(command, mask, answer));
    let fields = told
        .await
        .unwrap_or_else(|_| failed(command.name(), answer::NOT_SERVING));
    json(StatusCode::OK, completed(command, fields))
}

/// The value of a query parameter, the first one if there are several.
fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
        .next()
}

fn failed(name: &str, error: &str) -> Fields {
    vec![
        ("command".into(), Json::text(name)),
        ("error".into(), Json::text(error)),
    ]
}

/// Adds what every answer has: `command`, and `error` unless the command set one (`CommandResponse#toMap`).
fn completed(command: Command, mut fields: Fields) -> Fields {
    let has = |fields: &Fields, name: &str| fields.iter().any(|(key, _)| key == name);
    if !has(&fields, "command") {
        fields.push(("command".into(), Json::text(command.name())));
    }
    if !has(&fields, "error") {
        fields.push(("error".into(), Json::Null));
    }
    fields
}

fn links(url: &str) -> String {
    let link = |names: &[&str]| format!("<a href=\"{url}/{0}\">{0}</a>\n<br/>\n", names[0]);
    COMMANDS.iter().map(|(_, names)| link(names)).collect()
}

fn empty(status: StatusCode) -> Page {
    page(status, None, Content::text(String::new()))
}

fn page(status: StatusCode, kind: Option<&'static str>, body: Content) -> Page {
    let mut page = Response::new(body);
    *page.status_mut() = status;
    if let Some(kind) = kind {
        page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    page
}
