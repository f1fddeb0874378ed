//! A well-formed request becomes a change of the tree, or an error (`PrepRequestProcessor#pRequest2Txn`).
//!
//! Checks run against the head, in Java's order, because the first failure is what the client reads.

use std::collections::HashMap;

use crate::base::path::{self, is_special};
use crate::tree::Tree;
use crate::tree::acl::authorize;
use crate::tree::node::{Node, Owner, TTL_MAX};
use crate::tree::quota::{Track, Verdict, judge, limits_path, stats_path};
use crate::wire::acl::{ADMIN, CREATE, DELETE, Id, READ, WRITE};
use crate::wire::error::ErrorCode;
use crate::wire::jute::Text;
use crate::wire::request::{Create, CreateKind, WriteOp};
use crate::wire::txn::{Change, CreateTxn};

/// Who asks.
pub struct Caller<'a> {
    /// Whether the session is alive: the check has its place in the order.
    pub session: Result<(), ErrorCode>,
    /// The connection's identities.
    pub ids: &'a [Id],
}

/// What quotas are judged by.
#[derive(Default)]
pub struct QuotaRules {
    /// `enforceQuota`.
    pub enforced: bool,
    /// Usage as it was before a multi began: inside one, earlier operations do not count yet.
    pub before: HashMap<String, Track>,
}

/// Turns one operation into a change.
pub fn prepare(tree: &Tree, caller: &Caller<'_>, quotas: &QuotaRules, op: &WriteOp<'_>) -> Result<Change, ErrorCode> {
    Desk { tree, caller, quotas }.prepare(op)
}

struct Desk<'a> {
    tree: &'a Tree,
    caller: &'a Caller<'a>,
    quotas: &'a QuotaRules,
}

/// Where a path must not be null Java's code throws, and the client reads a marshalling error.
fn present<'p>(path: &'p Option<Text<'_>>) -> Result<&'p str, ErrorCode> {
    path.as_deref().ok_or(ErrorCode::MarshallingError)
}

fn valid<'p>(path: &'p Option<Text<'_>>) -> Result<&'p str, ErrorCode> {
    // Java's PathUtils#validatePath refuses null with the same exception as any other bad path.
    let path = path.as_deref().ok_or(ErrorCode::BadArguments)?;
    path::validate(path).map_err(|_| ErrorCode::BadArguments)?;
    Ok(path)
}

/// The next version, if the expected one is right; −1 expects nothing. Wraps as Java's does.
fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected != -1 && expected != current {
        Err(ErrorCode::BadVersion)
    } else {
        Ok(current.wrapping_add(1))
    }
}

impl Desk<'_> {
    fn prepare(&self, op: &WriteOp<'_>) -> Result<Change, ErrorCode> {
        match op {
            WriteOp::Create(create) => self.create(create),
            WriteOp::Delete { path, version } => self.delete(path, *version),
            WriteOp::SetData { path, data, version } => self.set_data(path, *data, *version),
            WriteOp::SetAcl { path, acl, version } => {
                self.caller.session?;
                let path = valid(path)?;
                let acl = self.tree.features().policy.fix_up(acl.as_deref(), self.caller.ids)?;
                let node = self.found(path)?;
                self.allowed(&node, ADMIN)?;
                let version = next_version(node.stat.aversion, *version)?;
                Ok(Change::SetAcl {
                    path: path.to_owned(),
                    acl,
                    version,
                })
            }
            WriteOp::Check { path, version } => {
                self.caller.session?;
                let path = valid(path)?;
                let node = self.found(path)?;
                self.allowed(&node, READ)?;
                let version = next_version(node.stat.version, *version)?;
                Ok(Change::Check {
                    path: path.to_owned(),
                    version,
                })
            }
        }
    }

    fn found(&self, path: &str) -> Result<Node<'_>, ErrorCode> {
        self.tree.node(path).ok_or(ErrorCode::NoNode)
    }

    fn allowed(&self, node: &Node<'_>, perm: i32) -> Result<(), ErrorCode> {
        let allowed = authorize(
            &self.tree.features().policy,
            self.tree.acl(node.acl),
            perm,
            self.caller.ids,
        );
        if allowed { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    fn create(&self, create: &Create<'_>) -> Result<Change, ErrorCode> {
        let extended = self.tree.features().extended_types;
        let mode = Mode::of(create.flags).ok_or(ErrorCode::BadArguments)?;
        // The path is read before the mode is judged, but its absence shows only after the session check.
        if mode.ttl && !extended {
            return Err(ErrorCode::Unimplemented);
        }
        let ttl_fits = if mode.ttl {
            (1..=TTL_MAX).contains(&create.ttl)
        } else {
            create.ttl < 0
        };
        if !ttl_fits || (create.kind == CreateKind::Ttl && !mode.ttl) {
            return Err(ErrorCode::BadArguments);
        }
        self.caller.session?;
        let asked = present(&create.path)?;
        let parent_path = path::parent(asked)
            .filter(|_| !asked.contains('\0'))
            .ok_or(ErrorCode::BadArguments)?;
        let acl = self
            .tree
            .features()
            .policy
            .fix_up(create.acl.as_deref(), self.caller.ids)?;
        let parent = self.found(parent_path)?;
        self.allowed(&parent, CREATE)?;
        let cversion = parent.stat.cversion;
        let path = if mode.sequential {
            format!("{asked}{}", sequence(cversion))
        } else {
            asked.to_owned()
        };
        path::validate(&path).map_err(|_| ErrorCode::BadArguments)?;
        if self.tree.node(&path).is_some() {
            return Err(ErrorCode::NodeExists);
        }
        if let Owner::Session(_) = Owner::of(parent.stat.owner, extended) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        self.quota(&path, create.data.map_or(0, <[u8]>::len) as i64, 1)?;
        let ephemeral = mode.ephemeral;
        let kind = match create.kind {
            CreateKind::Plain => CreateTxn::Plain { ephemeral },
            CreateKind::WithStat => CreateTxn::WithStat { ephemeral },
            CreateKind::Container => CreateTxn::Container,
            CreateKind::Ttl => CreateTxn::Ttl(create.ttl),
        };
        let parent_cversion = cversion.wrapping_add(1);
        Ok(Change::Create {
            path,
            data: create.data.map(<[u8]>::to_vec),
            acl,
            kind,
            parent_cversion,
        })
    }

    fn delete(&self, path: &Option<Text<'_>>, version: i32) -> Result<Change, ErrorCode> {
        self.caller.session?;
        let path = present(path)?;
        let refused = path.contains('\0') || is_special(path);
        let parent_path = path::parent(path).filter(|_| !refused).ok_or(ErrorCode::BadArguments)?;
        let parent = self.found(parent_path)?;
        self.allowed(&parent, DELETE)?;
        let node = self.found(path)?;
        next_version(node.stat.version, version)?;
        if node.children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        Ok(Change::Delete { path: path.to_owned() })
    }

    fn set_data(&self, path: &Option<Text<'_>>, data: Option<&[u8]>, version: i32) -> Result<Change, ErrorCode> {
        self.caller.session?;
        let path = valid(path)?;
        let node = self.found(path)?;
        self.allowed(&node, WRITE)?;
        self.quota(
            path,
            data.map_or(0, <[u8]>::len) as i64 - node.payload.length() as i64,
            0,
        )?;
        let version = next_version(node.stat.version, version)?;
        Ok(Change::SetData {
            path: path.to_owned(),
            data: data.map(<[u8]>::to_vec),
            version,
        })
    }

    fn quota(&self, path: &str, bytes: i64, count: i64) -> Result<(), ErrorCode> {
        if !self.quotas.enforced {
            return Ok(());
        }
        let Some(prefix) = self.tree.quotas().over(path) else {
            return Ok(());
        };
        let Some(limits) = track(self.tree, &limits_path(prefix))? else {
            return Ok(());
        };
        let usage = match self.quotas.before.get(prefix) {
            Some(usage) => Some(usage.clone()),
            None => track(self.tree, &stats_path(prefix))?,
        };
        let Some(usage) = usage else { return Ok(()) };
        match judge(&limits, &usage, count, bytes) {
            Verdict::Hard => Err(ErrorCode::QuotaExceeded),
            Verdict::Soft | Verdict::Within => Ok(()),
        }
    }
}

/// The text of a quota node; `None` if there is no such node.
fn track(tree: &Tree, path: &str) -> Result<Option<Track>, ErrorCode> {
    let Some(node) = tree.node(path) else { return Ok(None) };
    Track::parse(tree.data_of(path, &node))
        .map(Some)
        .ok_or(ErrorCode::MarshallingError)
}

/// Whether a change would pass a soft limit: a line in the log, whether quotas are enforced or not matters not.
pub fn usage_before(tree: &Tree, ops: &[WriteOp<'_>]) -> HashMap<String, Track> {
    let path = |op: &WriteOp<'_>| match op {
        WriteOp::Create(create) => create.path.as_deref().map(str::to_owned),
        WriteOp::SetData { path, .. } => path.as_deref().map(str::to_owned),
        _ => None,
    };
    let mut before = HashMap::new();
    for path in ops.iter().filter_map(path) {
        let Some(prefix) = tree.quotas().over(&path) else {
            continue;
        };
        if let Ok(Some(usage)) = track(tree, &stats_path(prefix)) {
            before.entry(prefix.to_owned()).or_insert(usage);
        }
    }
    before
}

/// The ten digits of a sequential name; a negative counter keeps its sign (`String.format("%010d")`).
fn sequence(cversion: i32) -> String {
    format!("{cversion:010}")
}

/// What create flags mean (`CreateMode#fromFlag`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mode {
    ephemeral: bool,
    sequential: bool,
    ttl: bool,
}

impl Mode {
    fn of(flags: i32) -> Option<Mode> {
        let mode = |ephemeral, sequential, ttl| {
            Some(Mode {
                ephemeral,
                sequential,
                ttl,
            })
        };
        match flags {
            0 | 4 => mode(false, false, false),
            1 => mode(true, false, false),
            2 => mode(false, true, false),
            3 => mode(true, true, false),
            5 => mode(false, false, true),
            6 => mode(false, true, true),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Features;
    use crate::tree::apply::Fired;
    use crate::wire::acl::AclRequest;
    use crate::wire::txn::{Txn, TxnHeader};

    struct Bench {
        tree: Tree,
        zxid: i64,
    }

    impl Bench {
        fn new() -> Bench {
            Bench {
                tree: Tree::new(
                    1,
                    Features {
                        extended_types: true,
                        ..Features::default()
                    },
                ),
                zxid: 0,
            }
        }

        fn ask(&self, op: &WriteOp<'_>) -> Result<Change, ErrorCode> {
            let caller = Caller {
                session: Ok(()),
                ids: &[Id::new("ip", "127.0.0.1")],
            };
            prepare(
                &self.tree,
                &caller,
                &QuotaRules {
                    enforced: true,
                    ..QuotaRules::default()
                },
                op,
            )
        }

        fn run(&mut self, op: &WriteOp<'_>) -> Result<Change, ErrorCode> {
            let change = self.ask(op)?;
            self.zxid += 1;
            let header = TxnHeader {
                session: 7,
                cxid: 1,
                zxid: self.zxid,
                time_ms: 1,
            };
            self.tree
                .apply(&header, &Txn::Change(change.clone()), &mut Vec::<Fired>::new());
            Ok(change)
        }
    }

    fn create(path: &'static str, flags: i32) -> WriteOp<'static> {
        let anyone = AclRequest {
            perms: 31,
            scheme: Some("world".into()),
            id: Some("anyone".into()),
        };
        let path = Some(path.into());
        WriteOp::Create(Create {
            kind: CreateKind::Plain,
            path,
            data: Some(b""),
            acl: Some(vec![anyone]),
            flags,
            ttl: -1,
        })
    }

    fn delete(path: &'static str) -> WriteOp<'static> {
        WriteOp::Delete {
            path: Some(path.into()),
            version: -1,
        }
    }

    #[test]
    fn the_first_failure_is_the_answer() {
        let mut bench = Bench::new();
        bench.run(&create("/a", 0)).unwrap();
        bench.run(&create("/e", 1)).unwrap();
        let cases = [
            (create("/a", 0), ErrorCode::NodeExists),
            (create("/", 0), ErrorCode::NodeExists),
            (create("", 0), ErrorCode::BadArguments),
            (create("a", 0), ErrorCode::BadArguments),
            (create("/x/y", 0), ErrorCode::NoNode),
            (create("/a//", 2), ErrorCode::NoNode),
            (create("/b/", 0), ErrorCode::NoNode),
            (create("/a/..", 0), ErrorCode::BadArguments),
            (create("/e/c", 0), ErrorCode::NoChildrenForEphemerals),
            (create("/b", 7), ErrorCode::BadArguments),
            (create("/b", 5), ErrorCode::BadArguments),
            (delete("/"), ErrorCode::BadArguments),
            (delete("/zookeeper/config"), ErrorCode::BadArguments),
            (delete("/zookeeper/none"), ErrorCode::NoNode),
            (
                WriteOp::SetData {
                    path: Some("/zookeeper/config".into()),
                    data: None,
                    version: -1,
                },
                ErrorCode::NoAuth,
            ),
            (
                WriteOp::SetData {
                    path: Some("/a".into()),
                    data: None,
                    version: 3,
                },
                ErrorCode::BadVersion,
            ),
            (
                WriteOp::Check {
                    path: Some("/q".into()),
                    version: 0,
                },
                ErrorCode::NoNode,
            ),
            (WriteOp::Delete { path: None, version: 0 }, ErrorCode::MarshallingError),
        ];
        for (op, error) in cases {
            assert_eq!(bench.ask(&op), Err(error), "{op:?}");
        }
        bench.run(&create("/a/b", 0)).unwrap();
        assert_eq!(bench.ask(&delete("/a")), Err(ErrorCode::NotEmpty));
    }

    #[test]
    fn sequential_names_count_creations() {
        let mut bench = Bench::new();
        bench.run(&create("/q", 0)).unwrap();
        let path = |change: Change| change.path().unwrap().to_owned();
        assert_eq!(path(bench.run(&create("/q/n", 2)).unwrap()), "/q/n0000000000");
        bench.run(&create("/q/x", 0)).unwrap();
        bench.run(&delete("/q/x")).unwrap();
        assert_eq!(path(bench.run(&create("/q/", 3)).unwrap()), "/q/0000000002");
        assert_eq!(sequence(i32::MIN), "-2147483648");
        assert_eq!(sequence(-5), "-000000005");
    }
}
