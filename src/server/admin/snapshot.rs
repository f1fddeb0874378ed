//! The admin command `snapshot` (`Commands.SnapshotCommand`): who may run it, how often, and its answer.
//!
//! The file that is sent is Ringkeeper's own snapshot, which `snapdump` reads; ZooKeeper's servers do not. Identities
//! come from the header and the connection's own address alone: no other header is believed (reliability.md 5.1).

use std::sync::Arc;

use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Request, StatusCode, body::Incoming};
use tokio::sync::oneshot;

use super::body::Content;
use super::command::Command;
use super::json::{Fields, Json};
use super::{Admin, Page, completed, failed, page, parameter};
use crate::server::conn::java_address;
use crate::server::core::Core;
use crate::server::message::{ToCore, ToWriter};
use crate::wire::acl::{ALL, Id};

/// So many in an interval, and the interval begins with the first that finds it over (`RateLimiter`).
#[derive(Debug)]
pub struct RateLimiter {
    interval_ms: u64,
    begun_ms: u64,
    is_used: bool,
}

impl RateLimiter {
    /// One in each interval.
    pub fn new(interval_ms: u64, now_ms: u64) -> RateLimiter {
        RateLimiter {
            interval_ms,
            begun_ms: now_ms,
            is_used: false,
        }
    }

    /// Whether one more may pass.
    pub fn allow(&mut self, now_ms: u64) -> bool {
        if now_ms > self.begun_ms + self.interval_ms {
            (self.begun_ms, self.is_used) = (now_ms, false);
        }
        !std::mem::replace(&mut self.is_used, true)
    }
}

/// A refusal: its status and what it says.
pub type Refused = (StatusCode, &'static str);

/// Whether the request may run a guarded command: all five permissions on the root node (`Commands#handleAuthorization`).
pub async fn authorize(admin: &Admin, headers: &HeaderMap, peer: &std::net::SocketAddr) -> Result<(), Refused> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        return Err((StatusCode::UNAUTHORIZED, "Auth info is missing for the command"));
    };
    let ids = identities(admin, header.as_bytes(), peer);
    let ids = ids.ok_or((StatusCode::UNAUTHORIZED, "Not authenticated"))?;
    let (answer, told) = oneshot::channel();
    admin.shared.cores[0].inbox.send(ToCore::MayDoAll(ids, answer));
    match told.await {
        Ok(true) => Ok(()),
        Ok(false) => Err((StatusCode::FORBIDDEN, "Not authorized")),
        Err(_) => Err((StatusCode::INTERNAL_SERVER_ERROR, "Error occurred during auth")),
    }
}

/// The header is a scheme and, for some, one word of credentials (`Commands#handleAuthentication`).
fn identities(admin: &Admin, header: &[u8], peer: &std::net::SocketAddr) -> Option<Vec<Id>> {
    let text = std::str::from_utf8(header).ok()?;
    let (scheme, auth) = match *text.trim_end_matches(' ').split(' ').collect::<Vec<_>>() {
        [scheme] => (scheme, None),
        [scheme, auth] => (scheme, Some(auth.as_bytes())),
        _ => return None,
    };
    let policy = &admin.shared.options.features.policy;
    policy.authenticate(scheme, auth, &java_address(peer))
}

impl Core {
    /// Whether these identities have each of the five permissions on the root node.
    pub fn may_do_all(&self, ids: &[Id]) -> bool {
        let view = self.view.borrow();
        let policy = &self.shared.options.features.policy;
        let each = |acl| {
            let mut bits = (0..5).map(|bit| 1 << bit).filter(|bit| ALL & bit != 0);
            bits.all(|bit| view.allows(policy, acl, bit, ids))
        };
        view.node("/").is_some_and(|root| each(root.acl))
    }
}

/// Takes a snapshot and answers with its file, or without it.
pub async fn run(admin: &Arc<Admin>, request: &Request<Incoming>) -> Page {
    let none = |status| json(status, completed(Command::Snapshot, Vec::new()));
    let Some(limiter) = &admin.snapshots else {
        tracing::warn!("a snapshot was asked for, and admin.snapshot.enabled=false");
        return none(StatusCode::SERVICE_UNAVAILABLE);
    };
    if !limiter.lock().allow(admin.shared.clock.ms()) {
        tracing::warn!("a snapshot was asked for too soon after another (admin.rateLimiterIntervalInMS)");
        return none(StatusCode::TOO_MANY_REQUESTS);
    }
    let streaming = request.uri().query().and_then(|query| parameter(query, "streaming"));
    let streaming = streaming.is_none_or(|text| text.eq_ignore_ascii_case("true"));
    let (answer, told) = oneshot::channel();
    admin.shared.writer.send(ToWriter::Snapshot(Some(answer)));
    let taken = match told.await {
        Ok(Ok(taken)) => taken,
        // Said in the log where it happened.
        Ok(Err(_)) | Err(_) => return none(StatusCode::INTERNAL_SERVER_ERROR),
    };
    let mut answer = match streaming {
        true => page(
            StatusCode::OK,
            Some("application/octet-stream"),
            Content::file(taken.file, taken.bytes),
        ),
        false => none(StatusCode::OK),
    };
    let headers = answer.headers_mut();
    let zxid = format!("0x{:x}", taken.zxid.0);
    headers.insert("last_zxid", zxid.parse().expect("hexadecimal digits"));
    headers.insert("snapshot_size", taken.bytes.into());
    answer
}

/// `restore` would have to replace the tree under its readers: it is answered as where it is disabled, with the reason.
pub fn restore() -> Page {
    let why = "this command is not built; stop the server and restore dataDir and dataLogDir instead";
    json(StatusCode::SERVICE_UNAVAILABLE, failed(Command::Restore.name(), why))
}

fn json(status: StatusCode, fields: Fields) -> Page {
    page(
        status,
        Some("application/json"),
        Content::text(Json::Map(fields).print()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_passes_in_each_interval() {
        let mut limiter = RateLimiter::new(300, 1000);
        let passed: Vec<bool> = [1000, 1001, 1300, 1301, 1302, 1601, 1602]
            .map(|ms| limiter.allow(ms))
            .into();
        assert_eq!(passed, [true, false, false, true, false, false, true]);
        let mut free = RateLimiter::new(0, 1000);
        assert!(free.allow(1000) && free.allow(1001) && !free.allow(1001));
    }
}
