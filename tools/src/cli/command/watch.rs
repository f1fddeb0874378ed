//! addWatch and removewatches.

use ringkeeper::wire::error::ErrorCode;
use zookeeper_client::AddWatchMode;

use super::Context;
use crate::cli::answer::Answer;
use crate::cli::catalog;
use crate::cli::failure::{Failure, Outcome, at, keeper, path_ok};
use crate::cli::options::Parsed;
use crate::cli::watches::Kind;

/// The default mode of the next addWatch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Mode {
    Persistent,
    #[default]
    PersistentRecursive,
}

pub(super) async fn add_watch(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let path = &line.args[1];
    if let Some(name) = line.value("m") {
        *cx.watch_mode = match name.to_uppercase().as_str() {
            "PERSISTENT" => Mode::Persistent,
            "PERSISTENT_RECURSIVE" => Mode::PersistentRecursive,
            _ => {
                return Err(Failure::new(
                    catalog::find("addWatch").expect("in the table").usage_text(),
                ));
            }
        };
    }
    path_ok(path)?;
    let (mode, kind) = match cx.watch_mode {
        Mode::Persistent => (AddWatchMode::Persistent, Kind::Persistent),
        Mode::PersistentRecursive => (AddWatchMode::PersistentRecursive, Kind::Recursive),
    };
    let watcher = cx.client(path).await?.watch(path, mode).await.map_err(at(path))?;
    cx.session.watches.persistent(kind, path, watcher);
    Ok(Answer::Nothing)
}

pub(super) async fn remove_watches(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let path = &line.args[1];
    let kinds: &[Kind] = match ["c", "d", "p", "r"].into_iter().find(|name| line.has(name)) {
        Some("c") => &[Kind::Child],
        Some("d") => &[Kind::Data],
        Some("p") => &[Kind::Persistent],
        Some("r") => &[Kind::Recursive],
        _ => &[Kind::Child, Kind::Data, Kind::Persistent, Kind::Recursive],
    };
    path_ok(path)?;
    if !line.has("l") {
        cx.client(path).await?;
    }
    if !cx.session.watches.remove(path, kinds).await {
        return Err(keeper(ErrorCode::NoWatcher.code(), Some(path)));
    }
    Ok(Answer::Nothing)
}
