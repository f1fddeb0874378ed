//! Every node, session and ACL of a snapshot, one line each.

use std::io;
use std::path::Path;

use ringkeeper::tree::Totals;
use ringkeeper::tree::node::{Node, Owner, Payload};
use ringkeeper::tree::session::SessionRecord;
use ringkeeper::wire::show::{AclText, Escaped};

use super::Arguments;
use super::nodes::{Carried, Gather, InOrder, Kept};
use super::read::{self, Item, Kinds, Means, Refused, Snapshot, type_of};
use crate::dump::filter::Filters;
use crate::dump::output::{Object, Output, acl, data, hex, quoted, time};

/// Of the memory for sorting, what the nodes get: a quarter is the reader's own.
const fn share(memory: usize) -> usize {
    memory / 4 * 3
}

/// Reads a snapshot and prints its lines; nothing of one that is damaged.
///
/// # Errors
/// What the output or a temporary file returned.
pub fn print(
    file: &Path,
    arguments: &Arguments,
    means: &Means<'_>,
    output: &mut Output<'_>,
) -> io::Result<Result<Snapshot, Refused>> {
    let carried = Carried {
        bytes: arguments.data,
        hash: None,
    };
    let filters = &arguments.filters;
    let mut gather = Gather::new(share(means.memory), carried);
    let read = read::read(file, means, &mut |item, kinds| {
        let wanted = !arguments.quiet && filters.wants_item(&item, kinds);
        if wanted { gather.push(&item) } else { Ok(()) }
    })?;
    means.progress.end();
    let snapshot = match read {
        Ok(snapshot) => snapshot,
        Err(refused) => return Ok(Err(refused)),
    };
    if !arguments.quiet {
        let lines = Lines {
            snapshot: &snapshot,
            arguments,
        };
        lines.print(file, gather.finish()?, output)?;
    }
    Ok(Ok(snapshot))
}

impl Filters {
    /// Whether a node is wanted.
    pub fn wants_node(&self, path: &str, node: &Node<'_>, owner: Owner) -> bool {
        let of_session = match owner {
            Owner::Session(session) => self.wants_session(session),
            _ => self.session.is_none(),
        };
        of_session
            && self.wants_type(&[type_of(owner)])
            && self.wants_zxid(&[node.stat.czxid, node.stat.mzxid, node.stat.pzxid])
            && self.wants_path([path].into_iter())
    }

    /// Whether a piece of a node is wanted; of data that lie apart only the path is known.
    pub fn wants_item(&self, item: &Item<'_>, kinds: Kinds) -> bool {
        match item {
            Item::Node(path, node) => self.wants_node(path, node, kinds.owner(node)),
            Item::Data(path, _) => self.wants_path([*path].into_iter()),
        }
    }

    /// Whether what has neither path nor zxid is wanted: a filter hides what it cannot match.
    pub fn wants_tables(&self) -> bool {
        self.zxid.is_none() && self.path.is_none()
    }
}

/// The lines of one snapshot.
struct Lines<'a> {
    snapshot: &'a Snapshot,
    arguments: &'a Arguments,
}

impl Lines<'_> {
    fn print(&self, file: &Path, mut nodes: InOrder, output: &mut Output<'_>) -> io::Result<()> {
        let filters = &self.arguments.filters;
        if filters.wants_type(&["snapshot"]) {
            output.line(|| self.head_text(file), || self.head_object(file))?;
        }
        let data = self.arguments.data;
        while let Some(kept) = nodes.next()? {
            output.line(
                || node_text(self.snapshot, &kept, data),
                || node_object(self.snapshot, &kept, data),
            )?;
        }
        if filters.wants_tables() {
            self.tables(output)?;
        }
        Ok(())
    }

    fn tables(&self, output: &mut Output<'_>) -> io::Result<()> {
        let filters = &self.arguments.filters;
        if filters.wants_type(&["session"]) {
            let wanted = |(id, _): &(&i64, &SessionRecord)| filters.wants_session(**id);
            for (id, record) in self.snapshot.sessions.iter().filter(wanted) {
                output.line(
                    || session_text("session", *id, record),
                    || session_object("session", *id, record),
                )?;
            }
        }
        if filters.session.is_none() && filters.wants_type(&["acl"]) {
            for row in self.snapshot.acls.values() {
                let text = || format!("acl {} users={} {}", row.id, row.users, AclText(&row.entries));
                let object = || {
                    Object::of_type("acl")
                        .with("aclId", row.id)
                        .with("users", row.users)
                        .with("acl", acl(&row.entries))
                };
                output.line(text, object)?;
            }
        }
        Ok(())
    }

    fn head_text(&self, file: &Path) -> String {
        let Totals {
            zxid,
            nodes,
            sessions,
            ephemerals,
            containers,
            ttls,
            bytes,
            digest,
            ..
        } = self.snapshot.totals;
        format!(
            "snapshot {} zxid={zxid} nodes={nodes} sessions={sessions} ephemerals={ephemerals} containers={containers} \
             ttls={ttls} dataBytes={bytes} digest=0x{digest:x}",
            file.display()
        )
    }

    fn head_object(&self, file: &Path) -> Object {
        let totals = &self.snapshot.totals;
        Object::of_type("snapshot")
            .with("file", file.display().to_string())
            .with_id("zxid", totals.zxid.0 as i64)
            .with("nodes", totals.nodes)
            .with("sessions", totals.sessions)
            .with("ephemerals", totals.ephemerals)
            .with("containers", totals.containers)
            .with("ttls", totals.ttls)
            .with("dataBytes", totals.bytes)
            .with_id("digest", totals.digest as i64)
    }
}

/// A node's length of data in words.
pub fn length_text(node: &Node<'_>) -> String {
    match node.payload {
        Payload::Null => "null".to_owned(),
        payload => format!("{} bytes", payload.length()),
    }
}

/// A node for people.
pub fn node_text(snapshot: &Snapshot, kept: &Kept, with_data: bool) -> String {
    let node = kept.node();
    let (owner, stat) = (snapshot.kinds.owner(&node), node.client_stat(snapshot.kinds.extended));
    let mut text = format!(
        "{} {} data={} acl={} children={} version={} cversion={} aversion={} czxid={} mzxid={} pzxid={} ctime={} \
         mtime={}",
        type_of(owner),
        Escaped(ringkeeper::base::path::shown(&kept.path)),
        length_text(&node),
        AclText(&snapshot.acl(node.acl)),
        stat.num_children,
        stat.version,
        stat.cversion,
        stat.aversion,
        hex(stat.czxid),
        hex(stat.mzxid),
        hex(stat.pzxid),
        time(stat.ctime),
        time(stat.mtime)
    );
    match owner {
        Owner::Session(session) => text.push_str(&format!(" owner=0x{session:x}")),
        Owner::Ttl(ttl) => text.push_str(&format!(" ttl={ttl}ms")),
        Owner::Nobody | Owner::Container => {}
    }
    if let Some(bytes) = kept.data().filter(|_| with_data) {
        text.push(' ');
        text.push_str(&quoted(bytes));
    }
    text
}

/// A node for programs.
pub fn node_object(snapshot: &Snapshot, kept: &Kept, with_data: bool) -> Object {
    let node = kept.node();
    let (owner, stat) = (snapshot.kinds.owner(&node), node.client_stat(snapshot.kinds.extended));
    let length = (node.payload != Payload::Null).then(|| node.payload.length());
    let object = Object::of_type(type_of(owner))
        .with("path", ringkeeper::base::path::shown(&kept.path))
        .with("dataLength", length)
        .with("acl", acl(&snapshot.acl(node.acl)))
        .with("aclId", snapshot.acl_number(node.acl))
        .with("children", stat.num_children)
        .with("version", stat.version)
        .with("cversion", stat.cversion)
        .with("aversion", stat.aversion)
        .with_id("czxid", stat.czxid)
        .with_id("mzxid", stat.mzxid)
        .with_id("pzxid", stat.pzxid)
        .with("ctime", stat.ctime)
        .with("mtime", stat.mtime);
    let object = match owner {
        Owner::Session(session) => object.with_id("owner", session),
        Owner::Ttl(ttl) => object.with("ttl", ttl),
        Owner::Nobody | Owner::Container => object,
    };
    match with_data {
        true => object.with("data", data(kept.data())),
        false => object,
    }
}

/// A session for people.
pub fn session_text(word: &str, id: i64, record: &SessionRecord) -> String {
    format!(
        "{word} 0x{id:x} timeout={}ms ephemerals={}",
        record.timeout_ms, record.ephemerals
    )
}

/// A session for programs.
pub fn session_object(word: &str, id: i64, record: &SessionRecord) -> Object {
    Object::of_type(word)
        .with_id("session", id)
        .with("timeout", record.timeout_ms)
        .with("ephemerals", record.ephemerals)
}
