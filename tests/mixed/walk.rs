//! Every node of every server, and whether they are the same.
//!
//! Sessions are opened on all servers first, then each walk begins with a sync: if the zxid did not move in between, all
//! trees are of one zxid and must be equal to the byte.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::history::now_us;
use super::words::{CHILDREN, CLOSE, GET, GET_ACL, SYNC, names_and_stat, path_only, read};
use crate::peers::jute::{In, Stat};
use crate::peers::{Attach, RawClient, Received};

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its data.
    pub data: String,
    /// Its Stat.
    pub stat: Stat,
    /// Its ACL.
    pub acl: Vec<(i32, String, String)>,
}

/// A tree at one zxid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The zxid of the last reply.
    pub zxid: i64,
    /// By path.
    pub nodes: BTreeMap<String, Node>,
}

/// What all servers have, and the time in which it was read.
pub struct Walked {
    /// Before.
    pub from_us: u64,
    /// After.
    pub until_us: u64,
    /// The tree.
    pub tree: Tree,
}

/// How long the servers may take to come to one zxid after the load is quiet.
const SETTLE_MAX: Duration = Duration::from_secs(40);

/// Walks every server until all have the same zxid, and says how they differ if they do.
pub fn walk_all(addresses: &[SocketAddr]) -> Result<Walked, String> {
    let deadline = Instant::now() + SETTLE_MAX;
    let mut last = String::new();
    while Instant::now() < deadline {
        match attempt(addresses) {
            Ok(walked) => return walked,
            Err(reason) => last = reason,
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    Err(format!(
        "the servers come to no common zxid within {SETTLE_MAX:?}: {last}"
    ))
}

/// The outer error is one that time may heal.
fn attempt(addresses: &[SocketAddr]) -> Result<Result<Walked, String>, String> {
    let mut walkers = Vec::new();
    for address in addresses {
        walkers.push(Walker::open(*address)?);
    }
    let from_us = now_us();
    let mut trees = Vec::new();
    for walker in &mut walkers {
        trees.push(walker.walk().ok_or_else(|| format!("{} went away", walker.address))?);
    }
    let until_us = now_us();
    for walker in &mut walkers {
        walker.ask(CLOSE, &[]);
    }
    let zxids: Vec<String> = trees.iter().map(|tree| format!("{:#x}", tree.zxid)).collect();
    if trees.iter().any(|tree| tree.zxid != trees[0].zxid) {
        return Err(format!("zxids {zxids:?}"));
    }
    let tree = trees.remove(0);
    let differing = trees
        .iter()
        .zip(&addresses[1..])
        .find(|(other, _)| other.nodes != tree.nodes);
    if let Some((other, address)) = differing {
        return Ok(Err(format!(
            "{} and {address} differ at zxid {}: {}",
            addresses[0],
            zxids[0],
            difference(&tree, other)
        )));
    }
    Ok(Ok(Walked {
        from_us,
        until_us,
        tree,
    }))
}

fn difference(one: &Tree, other: &Tree) -> String {
    let mut paths: Vec<&String> = one.nodes.keys().chain(other.nodes.keys()).collect();
    paths.sort();
    paths.dedup();
    let differing = paths
        .into_iter()
        .filter(|path| one.nodes.get(*path) != other.nodes.get(*path));
    let told = |path: &String| {
        format!(
            "\n  {path}: {:?}\n  {path}: {:?}",
            one.nodes.get(path),
            other.nodes.get(path)
        )
    };
    differing.take(5).map(told).collect()
}

struct Walker {
    address: SocketAddr,
    client: RawClient,
    xid: i32,
    zxid: i64,
}

impl Walker {
    fn open(address: SocketAddr) -> Result<Self, String> {
        let mut client = RawClient::dial(address).map_err(|error| format!("{address}: {error}"))?;
        match client.handshake(&Attach::default()) {
            Received::Got(_) => Ok(Self {
                address,
                client,
                xid: 0,
                zxid: 0,
            }),
            other => Err(format!("{address}: {other:?}")),
        }
    }

    fn ask(&mut self, op: i32, body: &[u8]) -> Option<Vec<u8>> {
        self.xid += 1;
        self.client.send(self.xid, op, body);
        loop {
            match self.client.packet() {
                Received::Got(packet) if packet.xid == self.xid => {
                    self.zxid = self.zxid.max(packet.zxid);
                    return (packet.err == 0).then_some(packet.body);
                }
                Received::Got(_) => {}
                _ => return None,
            }
        }
    }

    fn walk(&mut self) -> Option<Tree> {
        self.ask(SYNC, &path_only("/"))?;
        let mut nodes = BTreeMap::new();
        let mut todo = vec!["/".to_owned()];
        while let Some(path) = todo.pop() {
            // Every server sets this node itself, with its own clock.
            if path == "/zookeeper/config" {
                continue;
            }
            let (names, _) = names_and_stat(&self.ask(CHILDREN, &read(&path))?)?;
            let above = if path == "/" { "" } else { &path };
            todo.extend(names.iter().map(|name| format!("{above}/{name}")));
            let body = self.ask(GET, &read(&path))?;
            let mut input = In::new(&body);
            let data = String::from_utf8_lossy(input.buffer()?.unwrap_or_default()).into_owned();
            let stat = input.stat()?;
            let acl = In::new(&self.ask(GET_ACL, &path_only(&path))?).acls()?;
            nodes.insert(path, Node { data, stat, acl });
        }
        Some(Tree { zxid: self.zxid, nodes })
    }
}
