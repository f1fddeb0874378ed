//! The requests that the load sends and the answers that it looks at, as bytes.

use crate::peers::jute::{In, Out, Stat};

pub const CREATE: i32 = 1;
pub const DELETE: i32 = 2;
pub const GET: i32 = 4;
pub const SET: i32 = 5;
pub const GET_ACL: i32 = 6;
pub const SYNC: i32 = 9;
pub const PING: i32 = 11;
pub const CHILDREN: i32 = 12;
pub const CHECK: i32 = 13;
pub const MULTI: i32 = 14;
pub const CREATE2: i32 = 15;
pub const MULTI_READ: i32 = 22;
pub const CLOSE: i32 = -11;

/// Flags of a create.
pub const PERSISTENT: i32 = 0;
pub const EPHEMERAL: i32 = 1;
pub const SEQUENTIAL: i32 = 2;

pub const NO_NODE: i32 = -101;
pub const BAD_VERSION: i32 = -103;
pub const NODE_EXISTS: i32 = -110;

/// create, create2.
pub fn create(path: &str, data: &str, flags: i32) -> Vec<u8> {
    Out::new()
        .string(path)
        .buffer(data.as_bytes())
        .acls(&[(31, "world", "anyone")])
        .int(flags)
        .0
}

/// setData, and with another opcode delete and check without the data.
pub fn set(path: &str, data: &str, version: i32) -> Vec<u8> {
    Out::new().string(path).buffer(data.as_bytes()).int(version).0
}

/// delete, check.
pub fn delete(path: &str, version: i32) -> Vec<u8> {
    Out::new().string(path).int(version).0
}

/// getData, getChildren2, exists: no watch.
pub fn read(path: &str) -> Vec<u8> {
    Out::new().string(path).bool(false).0
}

/// sync, getACL.
pub fn path_only(path: &str) -> Vec<u8> {
    Out::new().string(path).0
}

/// A multi or multiRead of (opcode, record).
pub fn multi(parts: &[(i32, Vec<u8>)]) -> Vec<u8> {
    let out = parts.iter().fold(Out::new(), |out, (op, record)| {
        out.int(*op).bool(false).int(-1).raw(record)
    });
    out.int(-1).bool(true).int(-1).0
}

/// The data and Stat of a getData.
pub fn data_and_stat(body: &[u8]) -> Option<(String, Stat)> {
    let mut input = In::new(body);
    let data = input.buffer()?.unwrap_or_default();
    Some((String::from_utf8_lossy(data).into_owned(), input.stat()?))
}

/// The path and Stat of a create2.
pub fn path_and_stat(body: &[u8]) -> Option<(String, Stat)> {
    let mut input = In::new(body);
    Some((input.string()?, input.stat()?))
}

/// The children and Stat of a getChildren2.
pub fn names_and_stat(body: &[u8]) -> Option<(Vec<String>, Stat)> {
    let mut input = In::new(body);
    Some((input.strings()?, input.stat()?))
}

/// The Stats of a multi of setData.
pub fn stats_of_sets(body: &[u8]) -> Option<Vec<Stat>> {
    results(body, |input| input.stat())
}

/// The data and Stats of a multiRead of getData.
pub fn multi_reads(body: &[u8]) -> Option<Vec<(String, Stat)>> {
    results(body, |input| {
        let data = input.buffer()?.unwrap_or_default();
        Some((String::from_utf8_lossy(data).into_owned(), input.stat()?))
    })
}

/// The results of a multi without errors, up to its closing header.
fn results<T>(body: &[u8], mut result: impl FnMut(&mut In) -> Option<T>) -> Option<Vec<T>> {
    let mut input = In::new(body);
    let mut all = Vec::new();
    loop {
        let (op, is_last, _err) = (input.int()?, input.bool()?, input.int()?);
        if is_last {
            return Some(all);
        }
        if op == -1 {
            return None;
        }
        all.push(result(&mut input)?);
    }
}
