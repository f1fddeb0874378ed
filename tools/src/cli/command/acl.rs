//! getAcl and setAcl, and the text of an ACL (`AclParser`).

use zookeeper_client::{Acl, AuthId};

use super::tree::visit;
use super::{Aside, Context, version};
use crate::cli::answer::Answer;
use crate::cli::failure::{Outcome, at, code_of, keeper, keeper_message, path_ok};
use crate::cli::options::Parsed;
use crate::cli::show;
use ringkeeper::wire::error::ErrorCode;

pub(super) async fn get_acl(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let path = &line.args[1];
    path_ok(path)?;
    let (entries, stat) = cx.client(path).await?.get_acl(path).await.map_err(at(path))?;
    Ok(Answer::Acl(entries, line.has("s").then_some(stat)))
}

pub(super) async fn set_acl(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let path = &line.args[1];
    let acl = parse_acl(&line.args[2], cx.aside);
    let version = version(line)?;
    path_ok(path)?;
    if line.has("R") {
        return set_recursively(path, &acl, version, cx).await;
    }
    // Java's client refuses an empty list itself and then names no path.
    if acl.is_empty() {
        return Err(keeper(ErrorCode::InvalidAcl.code(), None));
    }
    let stat = cx
        .client(path)
        .await?
        .set_acl(path, &acl, version)
        .await
        .map_err(at(path))?;
    Ok(if line.has("s") {
        Answer::Stat(stat)
    } else {
        Answer::Nothing
    })
}

async fn set_recursively(path: &str, acl: &[Acl], version: Option<i32>, cx: &mut Context<'_>) -> Outcome<Answer> {
    let client = cx.client(path).await?;
    for node in visit(path, false, cx).await? {
        let set = if acl.is_empty() {
            Err((ErrorCode::InvalidAcl.code(), None))
        } else {
            let set = client.set_acl(&node, acl, version).await;
            set.map_err(|error| (code_of(&error), Some(node.as_str())))
        };
        if let Err((code, path)) = set {
            cx.aside.message(keeper_message(code, path));
        }
    }
    Ok(Answer::Nothing)
}

/// Reads `scheme:id:perms,...`. An entry without this form is left out, a letter without a meaning too, each with a
/// complaint.
pub fn parse_acl(text: &str, aside: &mut Aside) -> Vec<Acl> {
    let mut acl = Vec::new();
    for entry in text.split(',') {
        match (entry.find(':'), entry.rfind(':')) {
            (Some(first), Some(last)) if first < last => {
                let id = AuthId::new(&entry[..first], &entry[first + 1..last]);
                acl.push(Acl::new(show::permission(perm_bits(&entry[last + 1..], aside)), id));
            }
            _ => aside.note(format!("{entry} does not have the form scheme:id:perm")),
        }
    }
    acl
}

fn perm_bits(letters: &str, aside: &mut Aside) -> i32 {
    letters.chars().fold(0, |bits, letter| {
        bits | match letter {
            'r' => 1,
            'w' => 2,
            'c' => 4,
            'd' => 8,
            'a' => 16,
            other => {
                aside.note(format!("Unknown perm type: {other}"));
                0
            }
        }
    })
}
