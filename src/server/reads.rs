//! Requests that this core answers alone (`FinalRequestProcessor`).
//!
//! Everything is answered from the core's view, and the reply's zxid is exactly that view's. A watch is registered
//! in the same turn, so that no change can fall between the two.

use std::rc::Rc;

use super::conn::{Conn, InFlight};
use super::core::Core;
use crate::tree::View;
use crate::tree::acl::{authorize, masked};
use crate::tree::node::Node;
use crate::wire::acl::{ADMIN, Id, READ};
use crate::wire::error::ErrorCode;
use crate::wire::event::{self, EventType};
use crate::wire::jute::Writer;
use crate::wire::reply::{self, ReplyHeader};
use crate::wire::request::{ReadOp, Request, SetWatches};

/// The xid of a ping's reply, whatever the ping's was.
const PING_XID: i32 = -2;

type Outcome = Result<(), ErrorCode>;

impl Core {
    /// Answers a request that changes nothing.
    pub(super) fn read(self: &Rc<Core>, conn: &Conn, xid: i32, request: &Request<'_>, ids: &[Id], asked: InFlight) {
        if let Request::SetWatches(watches) = request {
            self.set_watches(conn, watches, ids);
        }
        let view = self.view.borrow();
        let zxid = view.totals().zxid.0 as i64;
        let xid = if *request == Request::Ping { PING_XID } else { xid };
        let out = &mut *conn.out.borrow_mut();
        let start = out.len();
        let mut outcome = Ok(());
        let mut bytes = ReplyHeader { xid, zxid, err: 0 }.append(out, |w| {
            outcome = Reading {
                core: self,
                conn,
                view: &view,
                ids,
            }
            .answer(request, w);
        });
        if let Err(code) = outcome {
            out.truncate(start);
            bytes = ReplyHeader {
                xid,
                zxid,
                err: code.code(),
            }
            .append(out, |_| {});
        }
        self.done(conn, xid, zxid, bytes, asked);
    }

    /// The watches of a client that reconnects: what changed meanwhile is told at once, with zxid −1, before the
    /// reply; the rest is registered (`DataTree#setWatches`).
    fn set_watches(&self, conn: &Conn, set: &SetWatches<'_>, ids: &[Id]) {
        let view = self.view.borrow();
        let out = &mut *conn.out.borrow_mut();
        let mut watches = self.watches.borrow_mut();
        let policy = &self.shared.options.features.policy;
        let watcher = conn.origin.connection;
        let mut tell = |node: Option<&Node<'_>>, event: EventType, path: &str| {
            // A client is told nothing of a node that it may not read; what is gone has no ACL left to ask.
            if node.is_none_or(|node| view.allows(policy, node.acl, READ, ids)) {
                let bytes = event::append(out, -1, event, path);
                self.note_sent(conn, bytes, conn.heart.last());
                self.numbers.borrow_mut().watch_bytes += bytes as u64;
            }
        };
        for path in &set.data {
            match view.node(path) {
                None => tell(None, EventType::Deleted, path),
                Some(node) if node.stat.mzxid > set.relative_zxid => tell(Some(&node), EventType::DataChanged, path),
                Some(_) => watches.watch_data(path, watcher),
            }
        }
        for path in &set.exist {
            match view.node(path) {
                Some(node) => tell(Some(&node), EventType::Created, path),
                None => watches.watch_data(path, watcher),
            }
        }
        for path in &set.child {
            match view.node(path) {
                None => tell(None, EventType::Deleted, path),
                Some(node) if node.stat.pzxid > set.relative_zxid => {
                    tell(Some(&node), EventType::ChildrenChanged, path)
                }
                Some(_) => watches.watch_children(path, watcher),
            }
        }
        for path in &set.persistent {
            watches.add(path, watcher, crate::wire::request::AddWatchMode::Persistent);
        }
        for path in &set.persistent_recursive {
            watches.add(path, watcher, crate::wire::request::AddWatchMode::PersistentRecursive);
        }
        // The guard itself must go: what follows looks at the watches.
        drop(watches);
        self.note_watching();
    }
}

/// One read in the making.
struct Reading<'a> {
    core: &'a Core,
    conn: &'a Conn,
    view: &'a View,
    ids: &'a [Id],
}

impl<'a> Reading<'a> {
    fn answer(&self, request: &Request<'_>, w: &mut Writer<'_>) -> Outcome {
        match request {
            Request::Ping | Request::SetWatches(_) => Ok(()),
            Request::Sync { path } => {
                w.maybe_text(path.as_deref());
                Ok(())
            }
            Request::Exists { path, watch } => self.exists(path, *watch, w),
            Request::GetData { path, watch } => {
                let node = self.readable(path)?;
                reply::write_data(w, self.view.data(path, &node), &self.view.stat(&node));
                self.watch(*watch, |watches, watcher| watches.watch_data(path, watcher));
                Ok(())
            }
            Request::GetChildren { path, watch, with_stat } => {
                let node = self.readable(path)?;
                self.view.write_children(path, &node, w);
                if *with_stat {
                    self.view.stat(&node).write(w);
                }
                self.watch(*watch, |watches, watcher| watches.watch_children(path, watcher));
                Ok(())
            }
            Request::GetAcl { path } => self.get_acl(path, w),
            Request::GetAllChildrenNumber { path } => {
                self.readable(path)?;
                w.int(self.view.all_children_number(path) as i32);
                Ok(())
            }
            Request::GetEphemerals { prefix } => {
                self.get_ephemerals(prefix.as_deref().unwrap_or_default(), w);
                Ok(())
            }
            Request::WhoAmI => {
                reply::write_who_am_i(w, self.ids);
                Ok(())
            }
            Request::CheckWatches { path, kind } => {
                let there = self
                    .core
                    .watches
                    .borrow()
                    .contains(path, self.conn.origin.connection, *kind);
                if there { Ok(()) } else { Err(ErrorCode::NoWatcher) }
            }
            Request::RemoveWatches { path, kind } => {
                let removed = self
                    .core
                    .watches
                    .borrow_mut()
                    .remove(path, self.conn.origin.connection, *kind);
                self.core.note_watching();
                if removed { Ok(()) } else { Err(ErrorCode::NoWatcher) }
            }
            Request::AddWatch { path, mode } => {
                self.watch(true, |watches, watcher| watches.add(path, watcher, *mode));
                w.int(0);
                Ok(())
            }
            Request::MultiRead(ops) => self.multi_read(ops, w),
            Request::Write(_)
            | Request::Multi(_)
            | Request::Reconfig
            | Request::CloseSession
            | Request::Auth { .. }
            | Request::Sasl { .. } => unreachable!("{request:?} is not answered here"),
        }
    }

    fn may(&self, node: &Node<'_>, perm: i32) -> Outcome {
        let policy = &self.core.shared.options.features.policy;
        if self.view.allows(policy, node.acl, perm, self.ids) {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }

    fn readable(&self, path: &str) -> Result<Node<'a>, ErrorCode> {
        let node = self.view.node(path).ok_or(ErrorCode::NoNode)?;
        self.may(&node, READ)?;
        Ok(node)
    }

    fn watch(&self, wanted: bool, register: impl FnOnce(&mut crate::tree::watch::Watches, u32)) {
        if wanted {
            register(&mut self.core.watches.borrow_mut(), self.conn.origin.connection);
            self.core.note_watching();
        }
    }

    /// The watch is registered whether the node is there or not, but not where it may not be read.
    fn exists(&self, path: &str, watch: bool, w: &mut Writer<'_>) -> Outcome {
        if path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        let node = self.view.node(path);
        if let Some(node) = &node {
            self.may(node, READ)?;
        }
        self.watch(watch, |watches, watcher| watches.watch_data(path, watcher));
        self.view.stat(&node.ok_or(ErrorCode::NoNode)?).write(w);
        Ok(())
    }

    fn get_acl(&self, path: &str, w: &mut Writer<'_>) -> Outcome {
        let node = self.view.node(path).ok_or(ErrorCode::NoNode)?;
        self.may(&node, READ | ADMIN)?;
        let acl = self.view.acl(node.acl);
        let policy = &self.core.shared.options.features.policy;
        let stat = self.view.stat(&node);
        if authorize(policy, &acl, ADMIN, self.ids) {
            reply::write_acl(w, &acl, &stat);
        } else {
            reply::write_acl(w, &masked(&acl), &stat);
        }
        Ok(())
    }

    fn get_ephemerals(&self, prefix: &str, w: &mut Writer<'_>) {
        let session = self.conn.session().expect("an open connection has a session");
        let mut paths = self.view.ephemerals(session);
        // Java's trim takes every character up to the space.
        let trimmed = prefix.trim_matches(|c| c <= ' ');
        if !trimmed.is_empty() && trimmed != "/" {
            paths.retain(|path| path.starts_with(prefix));
        }
        w.vector(paths.iter(), |w, path| w.text(path));
    }

    /// Each operation succeeds or fails alone; a null path spoils all.
    fn multi_read(&self, ops: &[ReadOp<'_>], w: &mut Writer<'_>) -> Outcome {
        for op in ops {
            let (ReadOp::GetData { path } | ReadOp::GetChildren { path }) = op;
            let path = path.as_deref().ok_or(ErrorCode::MarshallingError)?;
            match (self.readable(path), op) {
                (Err(code), _) => reply::write_multi_error(w, code.code()),
                (Ok(node), ReadOp::GetData { .. }) => {
                    reply::write_multi_header(w, 4, 0);
                    reply::write_data(w, self.view.data(path, &node), &self.view.stat(&node));
                }
                (Ok(node), ReadOp::GetChildren { .. }) => {
                    reply::write_multi_header(w, 8, 0);
                    self.view.write_children(path, &node, w);
                }
            }
        }
        reply::write_multi_end(w);
        Ok(())
    }
}
