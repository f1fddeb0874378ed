//! Commands about the session and the ensemble: addauth, whoami, sync, config, reconfig, version.

use zookeeper_client::EnsembleUpdate;

use super::Context;
use crate::cli::answer::Answer;
use crate::cli::catalog::Command;
use crate::cli::failure::{Failure, Outcome, at, code_of, path_ok};
use crate::cli::options::Parsed;
use crate::cli::reconfig_file;

/// What `version` prints: the ZooKeeper release whose shell this is, and who built it.
pub const VERSION: &str = concat!("3.9.5-ringkeeper-", env!("CARGO_PKG_VERSION"));

pub(super) async fn addauth(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let scheme = &line.args[1];
    let auth = line.args.get(2).cloned().unwrap_or_default().into_bytes();
    let client = cx.client("").await?;
    // A refusal ends the session, which the event tells; the command itself never fails (`ZooKeeper#addAuthInfo`).
    match client.auth(scheme, &auth).await {
        Ok(()) => {
            let mut credentials = cx.session.credentials.lock().expect("no panic under this lock");
            credentials.push((scheme.clone(), auth));
        }
        Err(_) => cx.session.wait_for_end().await,
    }
    Ok(Answer::Nothing)
}

pub(super) async fn whoami(cx: &mut Context<'_>) -> Outcome<Answer> {
    let users = cx.client("").await?.list_auth_users().await.map_err(at(""))?;
    Ok(Answer::Identities(
        users
            .iter()
            .map(|user| (user.scheme().into(), user.user().into()))
            .collect(),
    ))
}

pub(super) async fn sync(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let path = &line.args[1];
    path_ok(path)?;
    let synced = match cx.client(path).await {
        Ok(client) => client.sync(path).await.map_err(|error| code_of(&error)),
        Err(failure) => Err(failure.code.unwrap_or_default()),
    };
    Ok(Answer::Sync(synced.err().unwrap_or(0)))
}

pub(super) async fn config(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    const PATH: &str = "/zookeeper/config";
    let client = cx.client(PATH).await?;
    let (data, stat) = if line.has("w") {
        let (data, stat, watcher) = client.get_and_watch_config().await.map_err(at(PATH))?;
        cx.session.watches.once(crate::cli::watches::Kind::Data, PATH, watcher);
        (data, stat)
    } else {
        client.get_config().await.map_err(at(PATH))?
    };
    let text = String::from_utf8_lossy(&data).into_owned();
    let text = if line.has("c") {
        reconfig_file::client_connect_string(&text)
    } else {
        text
    };
    Ok(Answer::Config(text, line.has("s").then_some(stat)))
}

pub(super) async fn reconfig(command: &Command, line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let [file, members, add, remove] = ["file", "members", "add", "remove"].map(|name| line.value(name));
    if file.or(members).or(add).or(remove).is_none() {
        return Err(Failure::new(command.usage_text()));
    }
    let version = match line.value("v").map(|text| i64::from_str_radix(text, 16)) {
        None | Some(Ok(-1)) => None,
        Some(Ok(version)) => Some(version),
        Some(Err(_)) => return Err(Failure::new("-v must be followed by a long (configuration version)")),
    };
    if file.or(members).is_some() && add.or(remove).is_some() {
        return Err(Failure::new(
            "Can't use -file or -members together with -add or -remove (mixing incremental and non-incremental modes \
             is not allowed)",
        ));
    }
    if file.and(members).is_some() {
        return Err(Failure::new(
            "Can't use -file and -members together (conflicting non-incremental modes)",
        ));
    }
    let ensemble = match file {
        Some(file) => Some(reconfig_file::members(file)?),
        None => members.map(str::to_lowercase),
    };
    let [add, remove] = [add, remove].map(|list| list.map(str::to_lowercase).unwrap_or_default());
    let update = match &ensemble {
        Some(ensemble) => EnsembleUpdate::New {
            ensemble: std::iter::once(ensemble.as_str()),
        },
        None => EnsembleUpdate::Incremental {
            joinings: std::iter::once(add.as_str()),
            leavings: std::iter::once(remove.as_str()),
        },
    };
    let request = cx.client("").await?.update_ensemble(update, version);
    let (data, stat) = request.await.map_err(at(""))?;
    let text = String::from_utf8_lossy(&data).into_owned();
    Ok(Answer::Reconfigured(text, line.has("s").then_some(stat)))
}
