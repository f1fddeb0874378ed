//! Commands about one node: create, get, set, stat, delete.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringkeeper::wire;
use ringkeeper::wire::error::ErrorCode;
use ringkeeper::wire::request::Op;
use zookeeper_client::{Acl, Acls, CreateMode};

use super::{Context, no_node, parse_acl, version};
use crate::cli::answer::{Answer, Form};
use crate::cli::failure::{Failure, Outcome, at, create_path_ok, keeper, keeper_message, path_ok};
use crate::cli::options::Parsed;
use crate::cli::show;
use crate::cli::side::{self, NullCreate};
use crate::cli::watches::Kind;

/// The longest time to live, in ms (`EphemeralType.TTL#maxValue`).
const TTL_MS_MAX: i64 = 0xff_ffff_ffff;

/// What `create`'s options come to.
struct Wish {
    mode: CreateMode,
    ttl_ms: i64,
}

impl Wish {
    fn of(line: &Parsed) -> Outcome<Wish> {
        let [e, s, c, t] = ["e", "s", "c", "t"].map(|name| line.has(name));
        let refuse = |text: &str| Err(Failure::new(text));
        if c && (e || s) {
            return refuse("-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.");
        }
        let ttl_ms = match line.value("t").map(str::parse::<i64>) {
            None => 0,
            Some(Ok(ttl)) => ttl,
            Some(Err(_)) => return refuse("-t argument must be a long value"),
        };
        if t && e {
            return refuse("TTLs cannot be used with Ephemeral znodes");
        }
        if t && c {
            return refuse("TTLs cannot be used with Container znodes");
        }
        if t && !(1..=TTL_MS_MAX).contains(&ttl_ms) {
            return refuse(&format!("ttl must be positive and cannot be larger than: {TTL_MS_MAX}"));
        }
        let mode = match (e, s, c) {
            (true, true, _) => CreateMode::EphemeralSequential,
            (true, false, _) => CreateMode::Ephemeral,
            (false, true, _) => CreateMode::PersistentSequential,
            (false, false, true) => CreateMode::Container,
            (false, false, false) => CreateMode::Persistent,
        };
        Ok(Wish { mode, ttl_ms })
    }

    fn is_sequential(&self) -> bool {
        matches!(
            self.mode,
            CreateMode::PersistentSequential | CreateMode::EphemeralSequential
        )
    }

    fn is_ephemeral(&self) -> bool {
        matches!(self.mode, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    /// Opcode and flag on the wire.
    fn coded(&self) -> (Op, i32) {
        match (self.mode, self.ttl_ms > 0) {
            (CreateMode::Container, _) => (Op::CreateContainer, 4),
            (CreateMode::PersistentSequential, true) => (Op::CreateTtl, 6),
            (CreateMode::PersistentSequential, false) => (Op::Create2, 2),
            (_, true) => (Op::CreateTtl, 5),
            _ => (Op::Create2, 0),
        }
    }
}

pub(super) async fn create(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let wish = Wish::of(line)?;
    let path = &line.args[1];
    let acl = match line.args.get(3) {
        Some(text) => parse_acl(text, cx.aside),
        None => Acls::anyone_all().to_vec(),
    };
    create_path_ok(path, wish.is_sequential())?;
    if acl.is_empty() {
        return refuse_acl(None, cx);
    }
    let client = cx.client(path).await?;
    let data = line.args.get(2).map(String::as_bytes);
    let created = match data {
        None if !wish.is_ephemeral() => create_null(path, &wish, &acl, cx).await,
        _ if path == "/" => Err(keeper(ErrorCode::NodeExists.code(), Some(path))),
        _ => {
            let mut options = wish.mode.with_acls(Acls::new(&acl));
            if wish.ttl_ms > 0 {
                options = options.with_ttl(Duration::from_millis(wish.ttl_ms.unsigned_abs()));
            }
            let created = client
                .create(path, data.unwrap_or_default(), &options)
                .await
                .map_err(at(path));
            created.map(|(_, sequence)| {
                if wish.is_sequential() {
                    format!("{path}{sequence}")
                } else {
                    path.clone()
                }
            })
        }
    };
    match created {
        Err(failure) if failure.is(ErrorCode::InvalidAcl) => refuse_acl(Some(path), cx),
        Err(failure) if failure.is(ErrorCode::EphemeralOnLocalSession) => {
            cx.aside.note("Unable to create ephemeral node on a local session");
            Err(failure)
        }
        other => other.map(Answer::Created),
    }
}

/// A refused ACL is complained about twice (`CreateCommand#exec`).
fn refuse_acl(path: Option<&str>, cx: &mut Context<'_>) -> Outcome<Answer> {
    let code = ErrorCode::InvalidAcl.code();
    cx.aside.note(keeper_message(code, path));
    Err(keeper(code, path))
}

async fn create_null(path: &str, wish: &Wish, acl: &[Acl], cx: &Context<'_>) -> Outcome<String> {
    let (op, flags) = wish.coded();
    let acl = acl.iter().map(|entry| wire::acl::Acl {
        perms: show::bits(entry.permission()),
        id: wire::acl::Id::new(entry.scheme(), entry.id()),
    });
    let create = NullCreate {
        path: path.to_owned(),
        acl: acl.collect(),
        flags,
        op,
        ttl: wish.ttl_ms,
    };
    side::create_null(cx.session, create)
        .await
        .map_err(|code| keeper(code, Some(path)))
}

pub(super) async fn get(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let path = &line.args[1];
    path_ok(path)?;
    let client = cx.client(path).await?;
    let (data, stat) = if line.has("w") {
        let (data, stat, watcher) = client.get_and_watch_data(path).await.map_err(at(path))?;
        cx.session.watches.once(Kind::Data, path, watcher);
        (data, stat)
    } else {
        client.get_data(path).await.map_err(at(path))?
    };
    let is_null = data.is_empty() && side::is_null(cx.session, path).await.unwrap_or(false);
    let form = match (line.has("x"), line.has("b")) {
        (true, _) => Form::Hex,
        (false, true) => Form::Base64,
        (false, false) => Form::Plain,
    };
    Ok(Answer::Data(
        (!is_null).then_some(data),
        form,
        line.has("s").then_some(stat),
    ))
}

pub(super) async fn set(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let (path, text) = (&line.args[1], &line.args[2]);
    let data = if line.has("b") {
        STANDARD
            .decode(text)
            .map_err(|error| Failure::new(format!("java.lang.IllegalArgumentException: {error}")))?
    } else {
        text.clone().into_bytes()
    };
    let version = version(line)?;
    path_ok(path)?;
    let stat = cx
        .client(path)
        .await?
        .set_data(path, &data, version)
        .await
        .map_err(at(path))?;
    Ok(if line.has("s") {
        Answer::Stat(stat)
    } else {
        Answer::Nothing
    })
}

pub(super) async fn stat(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let path = &line.args[1];
    path_ok(path)?;
    let client = cx.client(path).await?;
    let stat = if line.has("w") {
        let (stat, watcher) = client.check_and_watch_stat(path).await.map_err(at(path))?;
        cx.session.watches.once(Kind::Data, path, watcher);
        stat
    } else {
        client.check_stat(path).await.map_err(at(path))?
    };
    stat.map(Answer::Stat).ok_or_else(|| no_node(path))
}

pub(super) async fn delete(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let path = &line.args[1];
    let version = version(line)?;
    path_ok(path)?;
    cx.client(path).await?.delete(path, version).await.map_err(at(path))?;
    Ok(Answer::Nothing)
}
