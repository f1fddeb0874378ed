//! What ZooKeeper is, in the plainest form that can be written down: a sorted map of nodes and a set of sessions.
//!
//! It answers requests, not transactions, so what servers make of a request is judged by something that has nothing to
//! do with them.

use std::collections::{BTreeMap, BTreeSet};

use ringkeeper::wire::error::ErrorCode;
use ringkeeper::wire::reply::{OpResult, WriteReply};
use ringkeeper::wire::stat::Stat;

/// Who may do what with a node, beside the client that made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everybody everything.
    #[default]
    All,
    /// Others may read it.
    Read,
    /// Others nothing.
    Nothing,
}

/// A node's access, and the client that made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    access: Access,
    maker: usize,
}

impl Guard {
    pub fn may_read(self, who: usize) -> bool {
        self.access != Access::Nothing || self.maker == who
    }

    fn may_write(self, who: usize) -> bool {
        self.access == Access::All || self.maker == who
    }
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Create {
        path: String,
        data: Vec<u8>,
        flags: i32,
        access: Access,
    },
    Delete {
        path: String,
        version: i32,
    },
    Set {
        path: String,
        data: Vec<u8>,
        version: i32,
    },
    Check {
        path: String,
        version: i32,
    },
    Multi(Vec<Ask>),
    Close,
    Sync,
    Get {
        path: String,
        watch: bool,
    },
    Exists {
        path: String,
        watch: bool,
    },
    Children {
        path: String,
    },
}

impl Ask {
    /// Whether it becomes a transaction.
    pub fn is_write(&self) -> bool {
        !matches!(
            self,
            Ask::Sync | Ask::Get { .. } | Ask::Exists { .. } | Ask::Children { .. }
        )
    }
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Said {
    Write(WriteReply),
    Synced,
    Node(Option<(Stat, Vec<u8>)>),
    Stat(Option<Stat>),
    Children(Option<Vec<String>>),
    /// It may not know.
    NoAuth,
}

#[derive(Clone, Debug, Default)]
struct Node {
    data: Vec<u8>,
    stat: Stat,
    guard: Guard,
    /// How many children were ever created.
    created: i32,
    children: BTreeSet<String>,
}

/// The whole state.
pub struct Model {
    nodes: BTreeMap<String, Node>,
    pub sessions: BTreeSet<i64>,
    /// When something happened that a data watch hears of, by path, and whose node it was.
    pub news: BTreeMap<String, Vec<(i64, Guard)>>,
    /// During a multi: what nodes were before it, and whose news it made.
    undo: Option<Vec<(String, Option<Node>)>>,
}

/// Who asks, and when it is done.
#[derive(Clone, Copy)]
pub struct Turn {
    pub who: usize,
    pub session: i64,
    pub zxid: i64,
    pub time_ms: i64,
}

type Done<T> = Result<T, ErrorCode>;

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) => "/",
        Some(at) => &path[..at],
        None => unreachable!("{path} is absolute"),
    }
}

impl Model {
    pub fn new() -> Model {
        let node = |children: &[&str]| Node {
            children: children.iter().map(|name| name.to_string()).collect(),
            ..Node::default()
        };
        let nodes = BTreeMap::from([("/".to_owned(), node(&["zookeeper"]))]);
        Model {
            nodes,
            sessions: BTreeSet::new(),
            news: BTreeMap::new(),
            undo: None,
        }
    }

    /// Carries a write out. What fails changes nothing.
    pub fn write(&mut self, turn: Turn, ask: &Ask) -> WriteReply {
        if !self.sessions.contains(&turn.session) {
            return match ask {
                Ask::Multi(asks) => failed(asks.len(), 0, ErrorCode::SessionExpired),
                _ => WriteReply::Error(ErrorCode::SessionExpired),
            };
        }
        match ask {
            Ask::Multi(asks) => self.multi(turn, asks),
            ask => match self.one(turn, ask) {
                Ok(OpResult::Create(path)) => WriteReply::Path(path),
                Ok(OpResult::SetData(stat)) => WriteReply::Stat(stat),
                Ok(_) => WriteReply::Nothing,
                Err(code) => WriteReply::Error(code),
            },
        }
    }

    fn multi(&mut self, turn: Turn, asks: &[Ask]) -> WriteReply {
        self.undo = Some(Vec::new());
        let mut results = Vec::new();
        for (index, ask) in asks.iter().enumerate() {
            match self.one(turn, ask) {
                Ok(result) => results.push(result),
                Err(code) => {
                    self.go_back(turn.zxid);
                    return failed(asks.len(), index, code);
                }
            }
        }
        self.undo = None;
        WriteReply::Multi(results)
    }

    fn go_back(&mut self, zxid: i64) {
        for (path, before) in self.undo.take().expect("a multi is under way").into_iter().rev() {
            if let Some(news) = self.news.get_mut(&path) {
                news.retain(|(at, _)| *at != zxid);
            }
            match before {
                Some(node) => self.nodes.insert(path, node),
                None => self.nodes.remove(&path),
            };
        }
    }

    /// A node is about to change.
    fn touch(&mut self, path: &str) {
        if let Some(undo) = &mut self.undo {
            undo.push((path.to_owned(), self.nodes.get(path).cloned()));
        }
    }

    fn one(&mut self, turn: Turn, ask: &Ask) -> Done<OpResult> {
        match ask {
            Ask::Create {
                path,
                data,
                flags,
                access,
            } => self.create(turn, path, (data, *access), *flags),
            Ask::Delete { path, version } => {
                self.allow(parent(path), |above| above.may_write(turn.who))?;
                self.expect(path, *version)?;
                if !self.nodes[path].children.is_empty() {
                    return Err(ErrorCode::NotEmpty);
                }
                self.remove(path, turn.zxid);
                Ok(OpResult::Delete)
            }
            Ask::Set { path, data, version } => {
                self.allow(path, |node| node.may_write(turn.who))?;
                self.expect(path, *version)?;
                self.touch(path);
                let node = self.nodes.get_mut(path).expect("it was just looked at");
                node.data = data.clone();
                node.stat.version += 1;
                (node.stat.mzxid, node.stat.mtime) = (turn.zxid, turn.time_ms);
                self.note(path, turn.zxid, self.nodes[path].guard);
                Ok(OpResult::SetData(self.stat(path).expect("it is there")))
            }
            Ask::Check { path, version } => {
                self.allow(path, |node| node.may_read(turn.who))?;
                self.expect(path, *version)?;
                Ok(OpResult::Check)
            }
            other => unreachable!("{other:?} changes nothing by itself"),
        }
    }

    fn create(&mut self, turn: Turn, path: &str, what: (&[u8], Access), flags: i32) -> Done<OpResult> {
        let (data, access) = what;
        let above = parent(path).to_owned();
        self.allow(&above, |above| above.may_write(turn.who))?;
        let node = self.nodes.get(&above).ok_or(ErrorCode::NoNode)?;
        let path = match flags & 2 != 0 {
            true => format!("{path}{:010}", node.created),
            false => path.to_owned(),
        };
        if self.nodes.contains_key(&path) {
            return Err(ErrorCode::NodeExists);
        }
        if node.stat.ephemeral_owner != 0 {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        self.touch(&above);
        self.touch(&path);
        let node = self.nodes.get_mut(&above).expect("it was just looked at");
        node.created += 1;
        node.stat.pzxid = turn.zxid;
        node.children
            .insert(path[path.rfind('/').expect("absolute") + 1..].to_owned());
        let stat = Stat {
            czxid: turn.zxid,
            mzxid: turn.zxid,
            pzxid: turn.zxid,
            ctime: turn.time_ms,
            mtime: turn.time_ms,
            ephemeral_owner: if flags & 1 != 0 { turn.session } else { 0 },
            ..Stat::default()
        };
        let node = Node {
            data: data.to_vec(),
            stat,
            guard: Guard {
                access,
                maker: turn.who,
            },
            ..Node::default()
        };
        let guard = node.guard;
        self.nodes.insert(path.clone(), node);
        self.note(&path, turn.zxid, guard);
        Ok(OpResult::Create(path))
    }

    fn allow(&self, path: &str, may: impl Fn(Guard) -> bool) -> Done<()> {
        let node = self.nodes.get(path).ok_or(ErrorCode::NoNode)?;
        if may(node.guard) {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }

    fn expect(&self, path: &str, version: i32) -> Done<()> {
        let node = self.nodes.get(path).ok_or(ErrorCode::NoNode)?;
        match version == -1 || version == node.stat.version {
            true => Ok(()),
            false => Err(ErrorCode::BadVersion),
        }
    }

    fn remove(&mut self, path: &str, zxid: i64) {
        self.touch(path);
        self.touch(parent(path));
        let removed = self.nodes.remove(path).expect("it was just looked at");
        let above = self.nodes.get_mut(parent(path)).expect("a parent is there");
        above.children.remove(&path[path.rfind('/').expect("absolute") + 1..]);
        above.stat.pzxid = zxid;
        self.note(path, zxid, removed.guard);
    }

    fn note(&mut self, path: &str, zxid: i64, guard: Guard) {
        self.news.entry(path.to_owned()).or_default().push((zxid, guard));
    }

    /// A session's ephemerals, sorted.
    pub fn ephemerals(&self, session: i64) -> Vec<String> {
        let mine = self
            .nodes
            .iter()
            .filter(|(_, node)| node.stat.ephemeral_owner == session);
        mine.map(|(path, _)| path.clone()).collect()
    }

    /// The end of a session.
    pub fn close(&mut self, session: i64, zxid: i64) {
        self.sessions.remove(&session);
        for path in self.ephemerals(session) {
            self.remove(&path, zxid);
        }
    }

    /// Answers a read. Whether a node exists is no secret.
    pub fn read(&self, who: usize, ask: &Ask) -> Said {
        if let Ask::Get { path, .. } | Ask::Children { path } = ask
            && self.nodes.get(path).is_some_and(|node| !node.guard.may_read(who))
        {
            return Said::NoAuth;
        }
        match ask {
            Ask::Get { path, .. } => {
                let node = self.nodes.get(path);
                Said::Node(node.map(|node| (self.stat(path).expect("it is there"), node.data.clone())))
            }
            Ask::Exists { path, .. } => Said::Stat(self.stat(path)),
            Ask::Children { path } => {
                let names = |node: &Node| node.children.iter().cloned().collect();
                Said::Children(self.nodes.get(path).map(names))
            }
            other => unreachable!("{other:?} is no read"),
        }
    }

    /// As clients see it: the version of children counts their creations and deletions.
    fn stat(&self, path: &str) -> Option<Stat> {
        let node = self.nodes.get(path)?;
        let count = node.children.len() as i32;
        Some(Stat {
            cversion: 2 * node.created - count,
            data_length: node.data.len() as i32,
            num_children: count,
            ..node.stat
        })
    }
}

fn failed(count: usize, at: usize, code: ErrorCode) -> WriteReply {
    let result = |index| match index {
        index if index < at => OpResult::Error(0),
        index if index == at => OpResult::Error(code.code()),
        _ => OpResult::Error(ErrorCode::RuntimeInconsistency.code()),
    };
    WriteReply::Multi((0..count).map(result).collect())
}
