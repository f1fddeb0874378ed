//! The commands that talk to a server: one function each, named as typed.
//!
//! A function gets its words parted and checked for number, and gives an [`Answer`]. Order of checks follows the Java
//! class, for it decides which of two complaints is printed.

mod acl;
mod admin;
mod node;
mod tree;
mod watch;

use std::sync::Arc;

use ringkeeper::wire::error::ErrorCode;
use zookeeper_client::Client;

use super::answer::Answer;
use super::catalog::Command;
use super::failure::{Failure, Outcome, keeper};
use super::options::{self, Parsed};
use super::quota;
use super::screen::Screen;
use super::session::Session;

pub use acl::parse_acl;
pub use admin::VERSION;

/// What a command works with.
pub struct Context<'a> {
    /// The session.
    pub session: &'a mut Session,
    /// The sticky mode of addWatch: once given, it is the next one's default (an oddity of `AddWatchCommand`).
    pub watch_mode: &'a mut watch::Mode,
    /// Output beside the answer.
    pub aside: &'a mut Aside,
}

/// What a command says beside its answer: at once in text, gathered for JSON.
pub struct Aside {
    screen: Arc<Screen>,
    /// Lines of standard error.
    pub notes: Vec<String>,
    /// Lines of standard output.
    pub messages: Vec<String>,
}

impl Aside {
    /// Nothing said yet.
    pub fn new(screen: Arc<Screen>) -> Aside {
        Aside {
            screen,
            notes: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// To standard error.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
        if !self.screen.json {
            self.screen.complain(self.notes.last().expect("just pushed"));
        }
    }

    /// To standard output.
    pub fn message(&mut self, text: impl Into<String>) {
        self.messages.push(text.into());
        if !self.screen.json {
            self.screen.line(self.messages.last().expect("just pushed"));
        }
    }
}

pub use watch::Mode;

/// Runs one command of the catalog that needs a session. `words` begins with its name.
///
/// # Errors
/// What zkCli prints on standard error, with the exit status.
pub async fn run(command: &'static Command, words: &[String], cx: &mut Context<'_>) -> Outcome<Answer> {
    match command.name {
        // These two never look at their words.
        "close" => {
            cx.session.close().await;
            return Ok(Answer::Nothing);
        }
        "whoami" => return admin::whoami(cx).await,
        _ => {}
    }
    let line = part(command, words, cx)?;
    match command.name {
        "addWatch" => watch::add_watch(&line, cx).await,
        "addauth" => admin::addauth(&line, cx).await,
        "config" => admin::config(&line, cx).await,
        "create" => node::create(&line, cx).await,
        "delete" => node::delete(&line, cx).await,
        "deleteall" => tree::deleteall(&line, cx).await,
        "delquota" => quota::delquota(&line, cx).await,
        "get" => node::get(&line, cx).await,
        "getAcl" => acl::get_acl(&line, cx).await,
        "getAllChildrenNumber" => tree::get_all_children_number(&line, cx).await,
        "getEphemerals" => tree::get_ephemerals(&line, cx).await,
        "listquota" => quota::listquota(&line, cx).await,
        "ls" => tree::ls(&line, cx).await,
        "reconfig" => admin::reconfig(command, &line, cx).await,
        "removewatches" => watch::remove_watches(&line, cx).await,
        "set" => node::set(&line, cx).await,
        "setAcl" => acl::set_acl(&line, cx).await,
        "setquota" => quota::setquota(&line, cx).await,
        "stat" => node::stat(&line, cx).await,
        "sync" => admin::sync(&line, cx).await,
        "version" => Ok(Answer::Version(VERSION.into())),
        other => unreachable!("{other} is the shell's own or not in the catalog"),
    }
}

/// Parts the words and checks how many there are.
fn part(command: &'static Command, words: &[String], cx: &mut Context<'_>) -> Outcome<Parsed> {
    let usage = || Failure::new(command.usage_text());
    let parse = |words: &[String]| options::parse(command.specs, command.group, words).map_err(Failure::new);
    let mut line = parse(words)?;
    if command.name == "ls" && line.has("?") {
        cx.aside.message(format!(
            "usage: ls [options] path\n{}",
            options::help(command.specs).trim_end()
        ));
    }
    let (least, most) = arg_counts(command.name);
    if line.args.len() < least || line.args.len() > most {
        return Err(usage());
    }
    if line.args.len() > 2
        && let Some(instead) = deprecated(command.name)
    {
        cx.aside.note(instead);
        if command.name != "delete" {
            let mut words = words.to_vec();
            words[2] = "-w".into();
            line = parse(&words)?;
        }
    }
    if line.args.len() < least {
        return Err(usage());
    }
    Ok(line)
}

/// The least and the greatest number of words without a dash, the command's name included.
fn arg_counts(name: &str) -> (usize, usize) {
    match name {
        "config" | "getEphemerals" | "reconfig" => (1, usize::MAX),
        "version" => (1, 1),
        "addWatch" => (2, 2),
        "set" | "setAcl" => (3, usize::MAX),
        _ => (2, usize::MAX),
    }
}

/// The complaint about a form from before 3.5 (`retainCompatibility` of each class).
fn deprecated(name: &str) -> Option<String> {
    let (old, new) = match name {
        "ls" => ("ls path [watch]", "ls [-w] path"),
        "get" => ("get path [watch]", "get [-s] [-w] path"),
        "stat" => ("stat path [watch]", "stat [-w] path"),
        "delete" => ("delete path [version]", "delete [-v version] path"),
        _ => return None,
    };
    Some(format!("'{old}' has been deprecated. Please use '{new}' instead."))
}

impl Context<'_> {
    /// The client, for a request about `path`.
    pub async fn client(&self, path: &str) -> Outcome<Client> {
        self.session.client(path).await
    }
}

/// The option `-v`, or any version.
fn version(line: &Parsed) -> Outcome<Option<i32>> {
    let Some(text) = line.value("v") else {
        return Ok(None);
    };
    let version: i32 = text.parse().map_err(|_| Failure::number(text))?;
    Ok((version != -1).then_some(version))
}

fn no_node(path: &str) -> Failure {
    keeper(ErrorCode::NoNode.code(), Some(path))
}
