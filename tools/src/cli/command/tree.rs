//! Commands about subtrees: ls, deleteall, getAllChildrenNumber, getEphemerals (`ZKUtil`).

use std::collections::VecDeque;

use ringkeeper::wire::error::ErrorCode;
use zookeeper_client::Client;

use super::Context;
use crate::cli::answer::Answer;
use crate::cli::failure::{Failure, Outcome, at, path_ok};
use crate::cli::options::Parsed;
use crate::cli::watches::Kind;

/// Deletions in one multi (`DeleteAllCommand#exec`).
const BATCH_COUNT: i32 = 1000;

pub(super) async fn ls(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let path = &line.args[1];
    path_ok(path)?;
    let watch = line.has("w");
    if line.has("R") {
        return Ok(Answer::Tree(visit(path, watch, cx).await?));
    }
    let client = cx.client(path).await?;
    let (mut names, stat) = if watch {
        let (names, stat, watcher) = client.get_and_watch_children(path).await.map_err(at(path))?;
        cx.session.watches.once(Kind::Child, path, watcher);
        (names, stat)
    } else {
        client.get_children(path).await.map_err(at(path))?
    };
    names.sort_unstable();
    Ok(Answer::Children(names, line.has("s").then_some(stat)))
}

/// The paths of a subtree, a node's children before their children (`ZKUtil#visitSubTreeDFS`).
pub(super) async fn visit(path: &str, watch: bool, cx: &Context<'_>) -> Outcome<Vec<String>> {
    let client = cx.client(path).await?;
    if watch {
        let (_, _, watcher) = client.get_and_watch_data(path).await.map_err(at(path))?;
        cx.session.watches.once(Kind::Data, path, watcher);
    } else {
        client.get_data(path).await.map_err(at(path))?;
    }
    let mut found = vec![path.to_owned()];
    let mut open = vec![path.to_owned()];
    while let Some(node) = open.pop() {
        let mut names = match children(&client, &node, watch, cx).await {
            // Deleted since it was listed.
            Err(failure) if failure.is(ErrorCode::NoNode) => continue,
            other => other?,
        };
        names.sort_unstable();
        let paths: Vec<String> = names.iter().map(|name| child(&node, name)).collect();
        open.extend(paths.iter().rev().cloned());
        found.extend(paths);
    }
    Ok(found)
}

async fn children(client: &Client, path: &str, watch: bool, cx: &Context<'_>) -> Outcome<Vec<String>> {
    if !watch {
        return client.list_children(path).await.map_err(at(path));
    }
    let (names, watcher) = client.list_and_watch_children(path).await.map_err(at(path))?;
    cx.session.watches.once(Kind::Child, path, watcher);
    Ok(names)
}

/// The path of a child.
pub(super) fn child(parent: &str, name: &str) -> String {
    if parent == "/" {
        format!("/{name}")
    } else {
        format!("{parent}/{name}")
    }
}

pub(super) async fn deleteall(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let batch = match line.value("b").map(str::parse::<i32>) {
        None => BATCH_COUNT,
        Some(Ok(batch)) => batch,
        Some(Err(_)) => return Err(Failure::new("-b argument must be an int value")),
    };
    let path = &line.args[1];
    path_ok(path)?;
    let client = cx.client(path).await?;
    let mut tree = list_breadth_first(&client, path).await?;
    // The leaves first.
    tree.reverse();
    if batch <= 0 {
        for node in &tree {
            client.delete(node, None).await.map_err(at(node))?;
        }
        return Ok(Answer::Nothing);
    }
    if !delete_in_batches(&client, &tree, batch.unsigned_abs() as usize).await {
        cx.aside.note("Failed to delete some node(s) in the subtree!");
    }
    Ok(Answer::Nothing)
}

/// Whether every batch went through; the first that does not is the last.
async fn delete_in_batches(client: &Client, nodes: &[String], batch: usize) -> bool {
    for nodes in nodes.chunks(batch) {
        let mut multi = client.new_multi_writer();
        let gathered = nodes.iter().try_for_each(|node| multi.add_delete(node, None));
        if gathered.is_err() || multi.commit().await.is_err() {
            return false;
        }
    }
    true
}

async fn list_breadth_first(client: &Client, root: &str) -> Outcome<Vec<String>> {
    let mut tree = vec![root.to_owned()];
    let mut queue = VecDeque::from([root.to_owned()]);
    while let Some(node) = queue.pop_front() {
        for name in client.list_children(&node).await.map_err(at(&node))? {
            let path = child(&node, &name);
            queue.push_back(path.clone());
            tree.push(path);
        }
    }
    Ok(tree)
}

pub(super) async fn get_all_children_number(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let path = &line.args[1];
    path_ok(path)?;
    let count = cx
        .client(path)
        .await?
        .count_descendants_number(path)
        .await
        .map_err(at(path))?;
    Ok(Answer::Number(count))
}

pub(super) async fn get_ephemerals(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let path = line.args.get(1).map_or("/", String::as_str);
    path_ok(path)?;
    let paths = cx.client(path).await?.list_ephemerals(path).await.map_err(at(path))?;
    Ok(Answer::Ephemerals(paths))
}
