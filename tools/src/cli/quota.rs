//! Quotas: the nodes under `/zookeeper/quota`, which the client keeps (`SetQuotaCommand`, `DelQuotaCommand`,
//! `ListQuotaCommand`, `StatsTrack`, `Quotas`).

use std::collections::BTreeMap;
use std::fmt;

use ringkeeper::wire::error::ErrorCode;
use zookeeper_client::{Acls, Client, CreateMode, Error};

use super::answer::Answer;
use super::command::Context;
use super::failure::{Failure, Outcome, at, path_ok};
use super::options::Parsed;

const ROOT: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const USAGE: &str = "zookeeper_stats";

/// A limit or a usage: names and numbers, `count` and `bytes` always first. −1 is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Track(BTreeMap<String, i64>);

impl Track {
    /// Reads the text of a node; what is no number counts as none.
    pub fn parse(text: &[u8]) -> Track {
        let text = String::from_utf8_lossy(text);
        let pairs = text.split([',', ';']).filter_map(|pair| {
            let mut parts = pair.split('=');
            Some((parts.next()?.to_owned(), parts.next()?.parse().unwrap_or(-1)))
        });
        Track(pairs.collect())
    }

    fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(-1)
    }

    fn set(&mut self, name: &str, value: i64) {
        self.0.insert(name.into(), value);
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "count={},bytes={}", self.get("count"), self.get("bytes"))?;
        let mut others = self
            .0
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "count" | "bytes"))
            .peekable();
        if others.peek().is_some() {
            write!(f, "=")?; // Old readers stop here.
        }
        others.try_for_each(|(name, value)| write!(f, ";{name}={value}"))
    }
}

/// Option letter and the name its limit has.
const FLAGS: [(&str, &str); 4] = [
    ("n", "count"),
    ("b", "bytes"),
    ("N", "countHardLimit"),
    ("B", "byteHardLimit"),
];

fn limits_path(path: &str) -> String {
    format!("{ROOT}{path}/{LIMITS}")
}

fn usage_path(path: &str) -> String {
    format!("{ROOT}{path}/{USAGE}")
}

pub(super) async fn listquota(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let path = &line.args[1];
    let (limits, usage) = (limits_path(path), usage_path(path));
    cx.aside.note(format!("absolute path is {limits}"));
    path_ok(&limits)?;
    let client = cx.client(&limits).await?;
    let found = match read(&client, &limits).await {
        Ok(limits) => read(&client, &usage).await.map(|usage| (limits, usage)),
        Err(failure) => Err(failure),
    };
    match found {
        Ok((limits, usage)) => Ok(Answer::Quota(path.clone(), limits.to_string(), usage.to_string())),
        Err(failure) if failure.is(ErrorCode::NoNode) => {
            cx.aside.note(format!("quota for {path} does not exist."));
            Ok(Answer::Nothing)
        }
        Err(failure) => Err(failure),
    }
}

pub(super) async fn setquota(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let path = &line.args[1];
    if path.starts_with(ROOT) {
        cx.aside.note(format!("cannot set a quota under the path: {ROOT}"));
        return Ok(Answer::Nothing);
    }
    let mut wish = Track::default();
    for (flag, name) in FLAGS {
        wish.set(name, -1);
        if let Some(text) = line.value(flag) {
            match wanted_limit(name, text) {
                Ok(limit) => wish.set(name, limit),
                Err(complaint) => {
                    cx.aside.note(complaint);
                    return Ok(Answer::Nothing);
                }
            }
        }
    }
    path_ok(path)?;
    let client = cx.client(path).await?;
    if client.check_stat(path).await.map_err(at(path))?.is_none() {
        return Err(Failure::new(format!("{path} does not exist.")));
    }
    refuse_nested(&client, path).await?;
    make_parents(&client, path).await?;
    write_limits(&client, path, wish, cx).await
}

/// The number behind an option (`SetQuotaCommand#checkOptionValue`).
fn wanted_limit(name: &str, text: &str) -> Result<i64, String> {
    let is_count = name.starts_with("count");
    let number = if is_count {
        text.parse::<i32>().map(i64::from)
    } else {
        text.parse::<i64>()
    };
    match number {
        Err(_) => Err("NumberFormatException happens when parsing the option value".into()),
        Ok(count) if is_count && count <= 0 => Err("the num quota must be greater than zero".into()),
        Ok(bytes) if bytes < 0 => Err("the bytes quota must be greater than or equal to zero".into()),
        Ok(limit) => Ok(limit),
    }
}

async fn write_limits(client: &Client, path: &str, wish: Track, cx: &mut Context<'_>) -> Outcome<Answer> {
    let (limits, usage) = (limits_path(path), usage_path(path));
    let before = client.check_stat(&limits).await.map_err(at(&limits))?;
    if before.is_none() {
        let open = CreateMode::Persistent.with_acls(Acls::anyone_all());
        client
            .create(&limits, wish.to_string().as_bytes(), &open)
            .await
            .map_err(at(&limits))?;
        client
            .create(&usage, b"count=0,bytes=0", &open)
            .await
            .map_err(at(&usage))?;
        let (limits, usage) = (read(client, &limits).await?, read(client, &usage).await?);
        warn(&limits, &usage, cx);
        return Ok(Answer::Nothing);
    }
    let mut merged = read(client, &limits).await?;
    for (_, name) in FLAGS {
        if wish.get(name) > -1 {
            merged.set(name, wish.get(name));
        }
    }
    warn(&merged, &read(client, &usage).await?, cx);
    client
        .set_data(&limits, merged.to_string().as_bytes(), None)
        .await
        .map_err(at(&limits))?;
    Ok(Answer::Nothing)
}

fn warn(limits: &Track, usage: &Track, cx: &mut Context<'_>) {
    for (what, soft, hard) in [
        ("count", "count", "countHardLimit"),
        ("bytes", "bytes", "byteHardLimit"),
    ] {
        let used = usage.get(what);
        if [soft, hard].iter().any(|name| (0..used).contains(&limits.get(name))) {
            let text = format!("[Warning]: the {what} quota you create is less than the existing {what}:{used}");
            cx.aside.message(text);
        }
    }
}

/// A quota may not stand above or below another (`SetQuotaCommand#checkIfChildQuota`, `#checkIfParentQuota`).
async fn refuse_nested(client: &Client, path: &str) -> Outcome<()> {
    let own = format!("{ROOT}{path}");
    let mut open = vec![own.clone()];
    while let Some(node) = open.pop() {
        let names = names(client, &node).await?;
        if node != own && names.iter().any(|name| name == LIMITS) {
            return Err(Failure::new(format!(
                "{path} has a child {} which has a quota",
                &node[ROOT.len()..]
            )));
        }
        open.extend(names.iter().map(|name| format!("{node}/{name}")));
    }
    let slashes = path.char_indices().skip(1).filter(|(_, c)| *c == '/');
    for (end, _) in slashes {
        let above = format!("{ROOT}{}", &path[..end]);
        let names = names(client, &above).await?;
        if names.is_empty() {
            return Ok(());
        }
        if names.iter().any(|name| name == LIMITS) {
            return Err(Failure::new(format!(
                "{path} has a parent {} which has a quota",
                &path[..end]
            )));
        }
    }
    Ok(())
}

/// The children's names; none of a node that is not there.
async fn names(client: &Client, path: &str) -> Outcome<Vec<String>> {
    match client.list_children(path).await {
        Err(Error::NoNode) => Ok(Vec::new()),
        other => other.map_err(at(path)),
    }
}

async fn make_parents(client: &Client, path: &str) -> Outcome<()> {
    let open = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let ends = path
        .char_indices()
        .skip(1)
        .filter(|(_, c)| *c == '/')
        .map(|(at, _)| at)
        .chain([path.len()]);
    for end in ends {
        if path == "/" {
            continue;
        }
        let node = format!("{ROOT}{}", &path[..end]);
        match client.create(&node, b"", &open).await {
            Ok(_) | Err(Error::NodeExists) => {}
            Err(error) => return Err(at(&node)(error)),
        }
    }
    Ok(())
}

pub(super) async fn delquota(line: &Parsed, cx: &mut Context<'_>) -> Outcome<Answer> {
    let path = &line.args[1];
    let limits = limits_path(path);
    path_ok(&limits)?;
    let client = cx.client(&limits).await?;
    if client.check_stat(&limits).await.map_err(at(&limits))?.is_none() {
        cx.aside.message(format!("Quota does not exist for {path}"));
        return Ok(Answer::Nothing);
    }
    let cleared: Vec<&str> = FLAGS
        .iter()
        .filter(|(flag, _)| line.has(flag))
        .map(|(_, name)| *name)
        .collect();
    let done = if cleared.is_empty() {
        remove(&client, path).await
    } else {
        let mut track = read(&client, &limits).await?;
        cleared.iter().for_each(|name| track.set(name, -1));
        client
            .set_data(&limits, track.to_string().as_bytes(), None)
            .await
            .map(|_| ())
            .map_err(at(&limits))
    };
    match done {
        Err(failure) if failure.is(ErrorCode::NoNode) => {
            cx.aside.note(format!("quota for {path} does not exist."));
            Ok(Answer::Nothing)
        }
        other => other.map(|()| Answer::Nothing),
    }
}

/// Deletes the quota's nodes, then every parent that has become empty (`DelQuotaCommand#trimProcQuotas`).
async fn remove(client: &Client, path: &str) -> Outcome<()> {
    let mut node = format!("{ROOT}{path}");
    for name in client.list_children(&node).await.map_err(at(&node))? {
        let child = format!("{node}/{name}");
        client.delete(&child, None).await.map_err(at(&child))?;
    }
    while node != ROOT && client.list_children(&node).await.map_err(at(&node))?.is_empty() {
        client.delete(&node, None).await.map_err(at(&node))?;
        node.truncate(node.rfind('/').unwrap_or(0));
    }
    Ok(())
}

async fn read(client: &Client, path: &str) -> Outcome<Track> {
    let (data, _) = client.get_data(path).await.map_err(at(path))?;
    Ok(Track::parse(&data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_keep_their_text() {
        for text in [
            "count=7,bytes=10",
            "count=3,bytes=100=;byteHardLimit=-1;countHardLimit=-1",
        ] {
            assert_eq!(Track::parse(text.as_bytes()).to_string(), text);
        }
        assert_eq!(Track::parse(b"").to_string(), "count=-1,bytes=-1");
    }

    #[test]
    fn limits_have_their_ranges() {
        assert_eq!(
            wanted_limit("count", "0"),
            Err("the num quota must be greater than zero".into())
        );
        assert_eq!(wanted_limit("bytes", "0"), Ok(0));
        assert!(
            wanted_limit("countHardLimit", "3000000000")
                .unwrap_err()
                .starts_with("NumberFormat")
        );
        assert_eq!(wanted_limit("byteHardLimit", "3000000000"), Ok(3_000_000_000));
    }
}
