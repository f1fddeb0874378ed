//! Everything that a client with all rights can see of a tree.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::peers::jute::{In, Out, Stat};
use super::peers::{Attach, RawClient, framed};

const GET_DATA: i32 = 4;
const GET_ACL: i32 = 6;
const GET_CHILDREN: i32 = 8;
const AUTH: i32 = 100;

/// `super:secret`, for `zookeeper.DigestAuthenticationProvider.superDigest`.
pub const SUPER: &str = "super:lK75jTNcA+U9vtVEw5vB51mj/w4=";

/// Paths asked about before the answers are read.
const WINDOW: usize = 500;

/// A node as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Null is not empty.
    pub data: Option<Vec<u8>>,
    /// All of it.
    pub stat: Stat,
    /// In its order.
    pub acl: Vec<(i32, String, String)>,
}

/// Walks the whole tree.
pub fn walk(address: SocketAddr) -> BTreeMap<String, Seen> {
    let (mut client, _) = RawClient::open(address, &Attach::default());
    let auth = Out::new().int(0).string("digest").buffer(b"super:secret").0;
    client.send(-4, AUTH, &auth);
    assert_eq!(client.packet().expect("an answer to the credentials").err, 0);
    let mut seen = BTreeMap::new();
    let mut waiting = vec!["/".to_owned()];
    while !waiting.is_empty() {
        let batch = waiting.split_off(waiting.len().saturating_sub(WINDOW));
        let asked = batch.iter().flat_map(|path| {
            let (data, acl) = (Out::new().string(path).bool(false), Out::new().string(path));
            [(GET_DATA, data.0), (GET_ACL, acl.0)]
        });
        send(&mut client, asked);
        let mut parents = Vec::new();
        for path in batch {
            let (data, acl) = (answer(&mut client, &path), answer(&mut client, &path));
            let mut input = In::new(&data);
            let data = input.buffer().expect("data").map(<[u8]>::to_vec);
            let stat = input.stat().expect("a Stat");
            let acl = In::new(&acl).acls().expect("an ACL");
            if stat.num_children > 0 {
                parents.push((path.clone(), stat.num_children as usize));
            }
            assert_eq!(
                seen.insert(path.clone(), Seen { data, stat, acl }),
                None,
                "{path} twice"
            );
        }
        let asked = parents
            .iter()
            .map(|(path, _)| (GET_CHILDREN, Out::new().string(path).bool(false).0));
        send(&mut client, asked);
        for (path, count) in parents {
            let children = In::new(&answer(&mut client, &path)).strings().expect("names");
            assert_eq!(count, children.len(), "{path}");
            let above = if path == "/" { "" } else { &path };
            waiting.extend(children.iter().map(|name| format!("{above}/{name}")));
        }
    }
    seen
}

/// Many requests in one write.
fn send(client: &mut RawClient, requests: impl Iterator<Item = (i32, Vec<u8>)>) {
    let framed = |(op, body): (i32, Vec<u8>)| framed(1, op, &body);
    client.send_bytes(&requests.flat_map(framed).collect::<Vec<u8>>());
}

#[track_caller]
fn answer(client: &mut RawClient, path: &str) -> Vec<u8> {
    let packet = client.packet().expect("an answer");
    assert_eq!(packet.err, 0, "{path}");
    packet.body
}

/// Fails with the first nodes that differ.
#[track_caller]
pub fn same(what: &str, left: &BTreeMap<String, Seen>, right: &BTreeMap<String, Seen>) {
    let paths: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let mut differ = paths.into_iter().filter(|path| left.get(*path) != right.get(*path));
    let mut told: Vec<String> = differ
        .by_ref()
        .take(5)
        .map(|path| format!("{path}:\n  {:?}\n  {:?}", left.get(path), right.get(path)))
        .collect();
    let more = differ.count();
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    assert!(
        told.is_empty(),
        "{what}: {} and {} nodes;\n{}",
        left.len(),
        right.len(),
        told.join("\n")
    );
}
