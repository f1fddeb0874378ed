//! A server's side towards its clients: what a core does in production, without sockets.
//!
//! A write goes to the member at once; a read waits behind the writes of its connection that are not answered. A
//! published batch fires watches before it answers, and answers before the view moves on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ringkeeper::base::Zxid;
use ringkeeper::replica::member::Input;
use ringkeeper::replica::session::Heart;
use ringkeeper::replica::{Answer, Answered, Origin, Published, WriteRequest};
use ringkeeper::tree::View;
use ringkeeper::tree::acl::{Policy, authorize};
use ringkeeper::tree::apply::What;
use ringkeeper::tree::watch::Watches;
use ringkeeper::wire::acl::{ALL, Acl, Id, READ, write_list};
use ringkeeper::wire::event::EventType;
use ringkeeper::wire::jute::{Reader, Writer};
use ringkeeper::wire::reply::WriteReply;
use ringkeeper::wire::request::Op;

use super::bug::Bug;
use super::model::{Access, Ask, Said};

/// What a client says.
#[derive(Clone, Debug)]
pub enum ToServer {
    Connect {
        who: usize,
        session: i64,
        seen: Zxid,
        timeout_ms: i32,
    },
    Request {
        xid: i32,
        ask: Ask,
    },
    /// It has closed its end.
    End,
}

/// What a client is told.
#[derive(Clone, Debug, Hash)]
pub enum ToClient {
    Connected {
        session: i64,
    },
    /// The session is over.
    Refused,
    Reply {
        xid: i32,
        zxid: Zxid,
        said: Said,
    },
    Event {
        path: String,
        zxid: Zxid,
    },
    /// The server has closed its end.
    End,
}

struct Conn {
    session: i64,
    /// Whom its client has proved to be.
    who: usize,
    ids: Arc<[Id]>,
    heart: Heart,
    is_open: bool,
    /// Writes and syncs that are not answered, and reads behind them.
    queue: VecDeque<(i32, Option<Ask>)>,
}

/// The connections of one server.
pub struct Core {
    pub view: View,
    watches: Watches,
    conns: BTreeMap<u32, Conn>,
    /// The last write of a connection that is gone.
    pub stale: Option<WriteRequest>,
    bug: Option<Bug>,
}

/// What is to be said, and to whom.
pub type Told = Vec<(u32, ToClient)>;

impl Core {
    pub fn new(view: View, bug: Option<Bug>) -> Core {
        Core {
            view,
            watches: Watches::default(),
            conns: BTreeMap::new(),
            stale: None,
            bug,
        }
    }

    /// The session of an open connection.
    pub fn session(&self, id: u32) -> Option<i64> {
        let conn = self.conns.get(&id).filter(|conn| conn.is_open)?;
        Some(conn.session)
    }

    /// A client said something; gives what the member is to hear of it.
    pub fn hear(&mut self, id: u32, said: ToServer, now_ms: u64, told: &mut Told) -> Option<Input> {
        match said {
            ToServer::Connect {
                who,
                session,
                seen,
                timeout_ms,
            } => self.connect((id, who), (session, seen, timeout_ms), told),
            ToServer::Request { xid, ask } => self.request(id, xid, ask, now_ms, told),
            ToServer::End => self.forget(id),
        }
    }

    fn connect(
        &mut self,
        (id, who): (u32, usize),
        (session, seen, timeout_ms): (i64, Zxid, i32),
        told: &mut Told,
    ) -> Option<Input> {
        if seen > self.view.totals().zxid {
            // C4: it has seen more than is here.
            told.push((id, ToClient::End));
            return None;
        }
        let heart = Heart::default();
        let conn = Conn {
            session,
            who,
            ids: Arc::new([identity(who)]),
            heart: heart.clone(),
            is_open: false,
            queue: VecDeque::new(),
        };
        self.conns.insert(id, conn);
        let origin = origin(id);
        Some(match session {
            0 => Input::Open {
                origin,
                timeout_ms,
                heart,
            },
            session => Input::Attach {
                origin,
                session,
                timeout_ms,
                heart,
            },
        })
    }

    fn request(&mut self, id: u32, xid: i32, ask: Ask, now_ms: u64, told: &mut Told) -> Option<Input> {
        let conn = self.conns.get_mut(&id).filter(|conn| conn.is_open)?;
        conn.heart.beat(now_ms);
        let asks_here = ask != Ask::Sync || self.bug == Some(Bug::SyncAnsweredHere);
        if !ask.is_write() && asks_here {
            match conn.queue.is_empty() || self.bug == Some(Bug::ReadOvertakes) {
                true => self.read(id, xid, &ask, told),
                false => conn.queue.push_back((xid, Some(ask))),
            }
            return None;
        }
        let behind_reads = conn.queue.iter().any(|(_, read)| read.is_some());
        conn.queue.push_back((xid, None));
        let (op, body) = encode(conn.who, &ask);
        Some(Input::Write(WriteRequest {
            origin: origin(id),
            session: conn.session,
            xid,
            op,
            body: body.into(),
            ids: Arc::clone(&conn.ids),
            behind_reads,
        }))
    }

    fn read(&mut self, id: u32, xid: i32, ask: &Ask, told: &mut Told) {
        let zxid = self.view.totals().zxid;
        let said = self.answer(&self.conns[&id].ids, ask);
        match ask {
            Ask::Get { path, watch: true } if matches!(said, Said::Node(Some(_))) => self.watches.watch_data(path, id),
            Ask::Exists { path, watch: true } => self.watches.watch_data(path, id),
            _ => {}
        }
        told.push((id, ToClient::Reply { xid, zxid, said }));
    }

    fn answer(&self, ids: &[Id], ask: &Ask) -> Said {
        if let Ask::Get { path, .. } | Ask::Children { path } = ask
            && let Some(node) = self.view.node(path)
            && !authorize(&Policy::default(), &self.view.acl(node.acl), READ, ids)
        {
            return Said::NoAuth;
        }
        match ask {
            Ask::Get { path, .. } => Said::Node(self.view.node(path).map(|node| {
                let data = self.view.data(path, &node).unwrap_or_default().to_vec();
                (self.view.stat(&node), data)
            })),
            Ask::Exists { path, .. } => Said::Stat(self.view.node(path).map(|node| self.view.stat(&node))),
            Ask::Children { path } => Said::Children(self.view.node(path).map(|node| {
                let mut bytes = Vec::new();
                self.view.write_children(path, &node, &mut Writer::new(&mut bytes));
                let names = Reader::new(&bytes).vector(|r| r.some_text("name").map(String::from));
                let mut names = names.expect("names").expect("a list");
                names.sort_unstable();
                names
            })),
            Ask::Sync => Said::Synced,
            other => unreachable!("{other:?} is no read"),
        }
    }

    /// A batch became visible.
    pub fn publish(&mut self, published: Published, told: &mut Told) {
        let Published {
            version,
            fired,
            answers,
        } = published;
        let mut fired = fired.into_iter().peekable();
        let mut answered = Vec::new();
        let mut late = Vec::new();
        for answer in answers {
            while let Some(change) = fired.next_if(|change| change.zxid <= answer.zxid) {
                let event = (change.zxid, change.what, change.path, change.acl);
                match self.bug == Some(Bug::EventLate) {
                    true => late.push(event),
                    false => self.fire(event, told),
                }
            }
            answered.push(answer.origin.connection);
            self.tell(answer, told);
        }
        late.into_iter().for_each(|event| self.fire(event, told));
        for change in fired {
            self.fire((change.zxid, change.what, change.path, change.acl), told);
        }
        self.view.advance(&version);
        answered.into_iter().for_each(|id| self.resume(id, told));
    }

    /// An answer that no batch carries.
    pub fn tell_alone(&mut self, answered: Answered, told: &mut Told) {
        let id = answered.origin.connection;
        self.tell(answered, told);
        self.resume(id, told);
    }

    /// The registration is spent even where the news may not be told.
    fn fire(&mut self, (zxid, what, path, acl): (i64, What, Box<str>, Option<Arc<[Acl]>>), told: &mut Told) {
        let event = match what {
            What::Created => EventType::Created,
            What::Deleted => EventType::Deleted,
            What::DataChanged => EventType::DataChanged,
        };
        let zxid = Zxid(zxid as u64);
        for id in self.watches.fire(&path, event).0 {
            let may_know = |conn: &Conn| {
                let allowed = |acl: &Arc<[Acl]>| authorize(&Policy::default(), acl, READ, &conn.ids);
                acl.as_ref().is_none_or(allowed) || self.bug == Some(Bug::EventUnchecked)
            };
            if self.conns.get(&id).is_some_and(|conn| conn.is_open && may_know(conn)) {
                let path = path.to_string();
                told.push((id, ToClient::Event { path, zxid }));
            }
        }
    }

    fn tell(&mut self, Answered { origin, zxid, answer }: Answered, told: &mut Told) {
        let id = origin.connection;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let zxid = Zxid(zxid as u64);
        let (xid, said) = match answer {
            Answer::Reply { xid, reply } => (xid, Said::Write(reply)),
            Answer::Closed { xid } => (xid, Said::Write(WriteReply::Nothing)),
            Answer::Synced { xid, .. } => (xid, Said::Synced),
            Answer::Opened { session } => {
                (conn.session, conn.is_open) = (session, true);
                return told.push((id, ToClient::Connected { session }));
            }
            Answer::Expired => {
                self.end(id, told);
                return;
            }
        };
        let (first, read) = conn.queue.pop_front().expect("somebody waits for an answer");
        assert!(
            first == xid && read.is_none(),
            "C1: the answer to {xid} comes while {first} is in front of it"
        );
        told.push((id, ToClient::Reply { xid, zxid, said }));
    }

    fn resume(&mut self, id: u32, told: &mut Told) {
        while let Some(conn) = self.conns.get_mut(&id) {
            let Some((xid, Some(ask))) = conn.queue.pop_front_if(|(_, read)| read.is_some()) else {
                return;
            };
            self.read(id, xid, &ask, told);
        }
    }

    /// The member has answered an attachment.
    pub fn attached(&mut self, id: u32, session: i64, accepted: bool, now_ms: u64, told: &mut Told) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        assert!(!conn.is_open && conn.session == session, "it asked for that session");
        if accepted {
            conn.is_open = true;
            conn.heart.beat(now_ms);
            told.push((id, ToClient::Connected { session }));
        } else {
            told.push((id, ToClient::Refused));
            self.conns.remove(&id);
        }
    }

    /// A connection is closed from here.
    pub fn end(&mut self, id: u32, told: &mut Told) -> Option<Input> {
        told.push((id, ToClient::End));
        self.forget(id)
    }

    fn forget(&mut self, id: u32) -> Option<Input> {
        let conn = self.conns.remove(&id)?;
        self.watches.close(id);
        if let Some((xid, None)) = conn.queue.back() {
            let ask = Ask::Delete {
                path: "/a".into(),
                version: -1,
            };
            let (op, body) = encode(conn.who, &ask);
            self.stale = Some(WriteRequest {
                origin: origin(id),
                session: conn.session,
                xid: *xid,
                op,
                body: body.into(),
                ids: conn.ids,
                behind_reads: false,
            });
        }
        Some(Input::Detach {
            origin: origin(id),
            session: conn.session,
        })
    }

    /// Nobody is served any more.
    pub fn end_all(&mut self, told: &mut Told) -> Vec<Input> {
        let ids: Vec<u32> = self.conns.keys().copied().collect();
        ids.into_iter().filter_map(|id| self.end(id, told)).collect()
    }
}

pub fn origin(id: u32) -> Origin {
    Origin {
        core: 0,
        connection: id,
        generation: 1,
    }
}

/// What a client's credentials prove.
fn identity(who: usize) -> Id {
    Id::new("digest", format!("client{who}:proved"))
}

/// The request as it travels.
fn encode(who: usize, ask: &Ask) -> (Op, Vec<u8>) {
    let mut body = Vec::new();
    let mut w = Writer::new(&mut body);
    let op = match ask {
        Ask::Multi(asks) => {
            for ask in asks {
                let (op, record) = encode_one(who, ask);
                w.int(op);
                w.bool(false);
                w.int(-1);
                w.raw(&record);
            }
            w.int(-1);
            w.bool(true);
            w.int(-1);
            Op::Multi
        }
        Ask::Close => Op::CloseSession,
        Ask::Sync => {
            w.text("/");
            Op::Sync
        }
        ask => {
            let (code, record) = encode_one(who, ask);
            return (Op::from_code(code).expect("a client's opcode"), record);
        }
    };
    (op, body)
}

fn encode_one(who: usize, ask: &Ask) -> (i32, Vec<u8>) {
    let mut body = Vec::new();
    let mut w = Writer::new(&mut body);
    let code = match ask {
        Ask::Create {
            path,
            data,
            flags,
            access,
        } => {
            w.text(path);
            w.buffer(Some(data));
            let own = Acl {
                perms: ALL,
                id: identity(who),
            };
            match access {
                Access::All => write_list(&mut w, &[Acl::anyone(ALL)]),
                Access::Read => write_list(&mut w, &[Acl::anyone(READ), own]),
                Access::Nothing => write_list(&mut w, &[own]),
            }
            w.int(*flags);
            1
        }
        Ask::Delete { path, version } => {
            w.text(path);
            w.int(*version);
            2
        }
        Ask::Set { path, data, version } => {
            w.text(path);
            w.buffer(Some(data));
            w.int(*version);
            5
        }
        Ask::Check { path, version } => {
            w.text(path);
            w.int(*version);
            13
        }
        other => unreachable!("{other:?} is no operation of a multi"),
    };
    (code, body)
}
