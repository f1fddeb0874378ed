//! Reply bodies and events as text: every field by name, in wire order, with the names that stand for chosen values.
//!
//! What ZooKeeper leaves unordered (children, ephemerals, whoAmI) is sorted. A body that does not read as its op's
//! record, or has bytes left over, is shown as hex: such a reply is equal only to the very same bytes.

use crate::peers::Packet;
use crate::peers::jute::{In, Stat};

use super::run::Names;

/// An event's record.
pub fn event(packet: &Packet) -> String {
    let mut input = In::new(&packet.body);
    let fields = (|| Some((input.int()?, input.int()?, input.string()?)))();
    match fields {
        Some((kind, state, path)) if input.rest().is_empty() && packet.err == 0 => {
            format!("type={kind} state={state} path={path:?}")
        }
        _ => format!("err={} undecodable {:02x?}", packet.err, packet.body),
    }
}

/// The body of the reply to an `op`.
pub fn body(op: Option<i32>, packet: &Packet, names: &mut Names) -> String {
    if packet.body.is_empty() {
        return String::new();
    }
    let mut input = In::new(&packet.body);
    match op.and_then(|op| record(op, &mut input, names)) {
        Some(text) if input.rest().is_empty() => text,
        _ => format!("undecodable {:02x?}", packet.body),
    }
}

fn record(op: i32, input: &mut In, names: &mut Names) -> Option<String> {
    Some(match op {
        1 | 9 => format!("path={:?}", input.string()?),
        3 | 5 | 7 => stat(input, names)?,
        4 | 16 => format!("data={} {}", data(input)?, stat(input, names)?),
        6 => {
            let acl = input.acls()?;
            format!("acl={acl:?} {}", stat(input, names)?)
        }
        8 | 103 => format!("names={:?}", sorted(input.strings()?)),
        12 => {
            let children = sorted(input.strings()?);
            format!("names={children:?} {}", stat(input, names)?)
        }
        14 | 22 => results(input, names)?,
        15 | 19 | 21 => format!("path={:?} {}", input.string()?, stat(input, names)?),
        102 => format!("token={}", data(input)?),
        104 => format!("count={}", input.int()?),
        106 => format!("err={}", input.int()?),
        107 => {
            let count = usize::try_from(input.int()?).ok()?;
            let infos: Option<Vec<_>> = (0..count).map(|_| Some((input.string()?, input.string()?))).collect();
            let mut infos = infos?;
            infos.sort();
            format!("{infos:?}")
        }
        _ => return None,
    })
}

/// A MultiResponse, result by result.
fn results(input: &mut In, names: &mut Names) -> Option<String> {
    let mut texts = Vec::new();
    loop {
        let (kind, done, err) = (input.int()?, input.bool()?, input.int()?);
        if done {
            texts.push(format!("end type={kind} err={err}"));
            return Some(texts.join(" | "));
        }
        let fields = match kind {
            -1 => format!("code={}", input.int()?),
            2 | 13 => String::new(),
            1 | 4 | 5 | 8 | 15 => record(kind, input, names)?,
            _ => return None,
        };
        texts.push(format!("type={kind} err={err} {fields}"));
    }
}

fn stat(input: &mut In, names: &mut Names) -> Option<String> {
    let Stat {
        czxid,
        mzxid,
        ctime,
        mtime,
        version,
        cversion,
        aversion,
        ephemeral_owner,
        ..
    } = {
        let mut ahead = input.clone();
        ahead.stat()?
    };
    let Stat {
        data_length,
        num_children,
        pzxid,
        ..
    } = input.stat()?;
    Some(format!(
        "czxid={} mzxid={} ctime={} mtime={} version={version} cversion={cversion} aversion={aversion} owner={} \
         dataLength={data_length} numChildren={num_children} pzxid={}",
        names.zxid(czxid),
        names.zxid(mzxid),
        names.time(ctime),
        names.time(mtime),
        names.session(ephemeral_owner),
        names.zxid(pzxid)
    ))
}

/// Data as text: short ones in full, long ones by length and a sum over all bytes.
fn data(input: &mut In) -> Option<String> {
    Some(match input.buffer()? {
        None => "null".into(),
        Some(bytes) if bytes.len() <= 120 => format!("{:?}", String::from_utf8_lossy(bytes)),
        Some(bytes) => {
            let sum = bytes
                .iter()
                .fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
            format!("{} bytes, sum {sum:x}", bytes.len())
        }
    })
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}
