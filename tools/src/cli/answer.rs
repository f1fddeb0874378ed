//! What a command found, and its two forms: zkCli's text and `--json`.
//!
//! A JSON line always has `command`, `ok` and `exit`; on failure `error` and, where the server decided, `code`; then
//! the keys of the answer below. `notes` holds what the text form says on standard error beside the result and
//! `messages` what it says on standard output; both are absent when empty. An event is a line of its own:
//! `{"event": {"state", "type", "path", "zxid"}}`, `path` null for the session.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use zookeeper_client::{Acl, Stat};

use super::failure::Failure;
use super::show;

/// How `get` shows a value in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As UTF-8.
    Plain,
    /// `-b`.
    Base64,
    /// `-x`.
    Hex,
}

/// The result of a command that went well. The JSON keys stand with each.
#[derive(Clone, Debug)]
pub enum Answer {
    /// No keys.
    Nothing,
    /// `path`: the path the node got.
    Created(String),
    /// `data` (text, or null) or, where it is not UTF-8 or `-b` asked, `dataBase64`; `stat` with `-s`.
    Data(Option<Vec<u8>>, Form, Option<Stat>),
    /// `children`, sorted; `stat` with `-s`.
    Children(Vec<String>, Option<Stat>),
    /// `paths`.
    Tree(Vec<String>),
    /// `paths`.
    Ephemerals(Vec<String>),
    /// `stat`.
    Stat(Stat),
    /// `acl`: list of `{scheme, id, perms}`; `stat` with `-s`.
    Acl(Vec<Acl>, Option<Stat>),
    /// `count`.
    Number(usize),
    /// `quota` and `usage`: the two texts, and `path`.
    Quota(String, String, String),
    /// `config`: the text, or with `-c` the connect string; `stat` with `-s`.
    Config(String, Option<Stat>),
    /// `config`, `stat` with `-s`.
    Reconfigured(String, Option<Stat>),
    /// `rc`: 0 when in sync.
    Sync(i32),
    /// `version`.
    Version(String),
    /// `identities`: list of `{scheme, user}`.
    Identities(Vec<(String, String)>),
    /// `history`: list of `{number, line}`.
    History(Vec<(usize, String)>),
    /// `printwatches`: whether events are printed.
    PrintWatches(bool),
    /// `connected`: false.
    NotConnected,
}

impl Answer {
    /// What stands on standard output, line ends included.
    pub fn text(&self) -> String {
        let with_stat = |text: String, stat: &Option<Stat>| text + &stat.as_ref().map(show::stat).unwrap_or_default();
        let lines = |items: &[String]| items.iter().map(|item| format!("{item}\n")).collect();
        match self {
            Answer::Nothing | Answer::Created(_) => String::new(),
            Answer::Data(data, form, stat) => with_stat(data_text(data.as_deref(), *form) + "\n", stat),
            Answer::Children(names, stat) => with_stat(format!("[{}]\n", names.join(", ")), stat),
            Answer::Tree(paths) => lines(paths),
            Answer::Ephemerals(paths) => format!("[{}]\n", paths.join(", ")),
            Answer::Stat(stat) => show::stat(stat),
            Answer::Acl(entries, stat) => with_stat(show::acl(entries), stat),
            Answer::Number(count) => format!("{count}\n"),
            Answer::Quota(path, limits, usage) => {
                format!("Output quota for {path} {limits}\nOutput stat for {path} {usage}\n")
            }
            Answer::Config(text, stat) => with_stat(format!("{text}\n"), stat),
            Answer::Reconfigured(text, stat) => with_stat(format!("Committed new configuration:\n{text}\n"), stat),
            Answer::Sync(0) => "Sync is OK\n".into(),
            Answer::Sync(rc) => format!("Sync has failed. rc={rc}\n"),
            Answer::Version(version) => format!("ZooKeeper CLI version: {version}\n"),
            Answer::Identities(users) => {
                let users: String = users
                    .iter()
                    .map(|(scheme, user)| format!("{scheme}: {user}\n"))
                    .collect();
                format!("Auth scheme: User\n{users}")
            }
            Answer::History(entries) => entries
                .iter()
                .map(|(number, line)| format!("{number} - {line}\n"))
                .collect(),
            Answer::PrintWatches(on) => format!("printwatches is {}\n", if *on { "on" } else { "off" }),
            Answer::NotConnected => "Not connected\n".into(),
        }
    }

    /// What stands on standard error.
    pub fn complaint(&self) -> Option<String> {
        match self {
            Answer::Created(path) => Some(format!("Created {path}")),
            _ => None,
        }
    }

    fn keys(&self) -> Value {
        match self {
            Answer::Nothing => json!({}),
            Answer::Created(path) => json!({"path": path}),
            Answer::Data(data, form, stat) => with_stat_key(data_key(data.as_deref(), *form), stat),
            Answer::Children(names, stat) => with_stat_key(json!({"children": names}), stat),
            Answer::Tree(paths) | Answer::Ephemerals(paths) => json!({"paths": paths}),
            Answer::Stat(stat) => with_stat_key(json!({}), &Some(*stat)),
            Answer::Acl(entries, stat) => with_stat_key(json!({"acl": acl_key(entries)}), stat),
            Answer::Number(count) => json!({"count": count}),
            Answer::Quota(path, limits, usage) => json!({"path": path, "quota": limits, "usage": usage}),
            Answer::Config(text, stat) | Answer::Reconfigured(text, stat) => {
                with_stat_key(json!({"config": text}), stat)
            }
            Answer::Sync(rc) => json!({"rc": rc}),
            Answer::Version(version) => json!({"version": version}),
            Answer::Identities(users) => {
                let users: Vec<Value> = users
                    .iter()
                    .map(|(scheme, user)| json!({"scheme": scheme, "user": user}))
                    .collect();
                json!({"identities": users})
            }
            Answer::History(entries) => {
                let entries: Vec<Value> = entries
                    .iter()
                    .map(|(number, line)| json!({"number": number, "line": line}))
                    .collect();
                json!({"history": entries})
            }
            Answer::PrintWatches(on) => json!({"printwatches": on}),
            Answer::NotConnected => json!({"connected": false}),
        }
    }
}

/// The JSON line of a command.
pub fn json_line(command: &str, outcome: &Result<Answer, Failure>, notes: &[String], messages: &[String]) -> String {
    let mut line = Map::new();
    line.insert("command".into(), json!(command));
    line.insert("ok".into(), json!(outcome.is_ok()));
    match outcome {
        Ok(answer) => {
            line.insert("exit".into(), json!(0));
            if let Value::Object(keys) = answer.keys() {
                line.extend(keys);
            }
        }
        Err(failure) => {
            line.insert("exit".into(), json!(failure.exit));
            line.insert("error".into(), json!(failure.text));
            if let Some(code) = failure.code {
                line.insert("code".into(), json!(code));
            }
        }
    }
    for (key, texts) in [("notes", notes), ("messages", messages)] {
        if !texts.is_empty() {
            line.insert(key.into(), json!(texts));
        }
    }
    Value::Object(line).to_string()
}

fn data_text(data: Option<&[u8]>, form: Form) -> String {
    let data = data.unwrap_or(b"null");
    match form {
        Form::Plain => String::from_utf8_lossy(data).into_owned(),
        Form::Base64 => STANDARD.encode(data),
        Form::Hex => show::hex_dump(data),
    }
}

fn data_key(data: Option<&[u8]>, form: Form) -> Value {
    match data.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => json!({"data": null}),
        Some((_, Ok(text))) if form != Form::Base64 => json!({"data": text}),
        Some((bytes, _)) => json!({"dataBase64": STANDARD.encode(bytes)}),
    }
}

fn acl_key(entries: &[Acl]) -> Vec<Value> {
    let perms = |entry: &Acl| ringkeeper::wire::show::perms(show::bits(entry.permission()));
    entries
        .iter()
        .map(|entry| json!({"scheme": entry.scheme(), "id": entry.id(), "perms": perms(entry)}))
        .collect()
}

fn with_stat_key(mut keys: Value, stat: &Option<Stat>) -> Value {
    if let Some(stat) = stat {
        keys["stat"] = json!({
            "cZxid": stat.czxid, "ctime": stat.ctime, "mZxid": stat.mzxid, "mtime": stat.mtime, "pZxid": stat.pzxid,
            "cversion": stat.cversion, "dataVersion": stat.version, "aclVersion": stat.aversion,
            "ephemeralOwner": stat.ephemeral_owner, "dataLength": stat.data_length, "numChildren": stat.num_children,
        });
    }
    keys
}
