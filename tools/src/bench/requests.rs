//! Composes the requests of a mix: which znode, which record, and what a connection has made itself.
//!
//! A connection's own nodes lie below `<root>/own` and carry its session's id, so that no two connections and no two
//! runs meet, and `children` of the load's znodes stays what the layout says.

use std::collections::VecDeque;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use ringkeeper::wire::acl::{Acl, write_list};
use ringkeeper::wire::jute::{Reader, Writer};

use super::conn::{Answer, Conn};
use super::keys::{Chooser, Paths};
use super::mix::Kind;
use super::plan::Plan;

/// Sequential nodes that a connection keeps.
const SEQUENTIAL_KEPT: usize = 16;
const EPHEMERAL: i32 = 1;
const EPHEMERAL_SEQUENTIAL: i32 = 3;

/// A create request's record.
pub fn write_create(w: &mut Writer<'_>, path: &str, data: &[u8], flags: i32) {
    w.text(path);
    w.buffer(Some(data));
    write_list(w, &[Acl::anyone(31)]);
    w.int(flags);
}

/// A setData request's record, whatever the version.
pub fn write_set(w: &mut Writer<'_>, path: &str, data: &[u8]) {
    w.text(path);
    w.buffer(Some(data));
    w.int(-1);
}

/// A multi of setData on each path.
pub fn write_sets<'p>(w: &mut Writer<'_>, paths: impl Iterator<Item = &'p str>, data: &[u8]) {
    for path in paths {
        w.int(5);
        w.bool(false);
        w.int(-1);
        write_set(w, path, data);
    }
    w.int(-1);
    w.bool(true);
    w.int(-1);
}

/// What a connection made and did not delete yet, by serial number or name.
#[derive(Debug, Default)]
pub struct Own {
    next: u32,
    plain: VecDeque<u32>,
    ephemeral: VecDeque<u32>,
    sequential: VecDeque<String>,
}

impl Own {
    /// The connection ended: what is there is not known any more. Gives how many persistent nodes stay.
    pub fn forget(&mut self) -> usize {
        self.next += 1_000_000;
        self.ephemeral.clear();
        self.sequential.clear();
        std::mem::take(&mut self.plain).len()
    }

    /// Persistent nodes that are there.
    pub fn plain_count(&self) -> usize {
        self.plain.len()
    }

    /// Takes the name of a sequential node from its answer.
    pub fn note(&mut self, answer: &Answer<'_>) {
        if answer.request.kind == Kind::Sequential
            && answer.err == 0
            && let Ok(Some(path)) = Reader::new(answer.body).buffer()
        {
            self.sequential.push_back(String::from_utf8_lossy(path).into_owned());
        }
    }
}

/// Draws operations and writes their requests.
pub struct Composer<'a> {
    plan: &'a Plan,
    paths: &'a Paths,
    random: SmallRng,
    chooser: Chooser,
}

impl<'a> Composer<'a> {
    /// For thread `index`, whose choices differ from the others'.
    pub fn new(plan: &'a Plan, paths: &'a Paths, index: usize) -> Composer<'a> {
        Composer {
            plan,
            paths,
            random: SmallRng::seed_from_u64(plan.seed.wrapping_mul(1_000_003) + index as u64),
            chooser: Chooser::new(plan.skew, plan.layout.count),
        }
    }

    /// Appends one request of the mix and tells what it is.
    pub fn issue(&mut self, conn: &mut Conn, own: &mut Own, due_us: u64) -> Kind {
        let picked = self.plan.mix.pick(&mut self.random);
        match picked {
            Kind::Get | Kind::Exists | Kind::Children | Kind::Set | Kind::Multi | Kind::Ping => {
                self.issue_on_key(picked, conn, due_us);
                picked
            }
            Kind::Create => self.create(conn, own, Kind::Create, due_us),
            Kind::Delete | Kind::Churn => match own.plain.pop_front() {
                Some(serial) => self.delete(conn, &self.own_path(conn, serial), due_us),
                None => self.create(conn, own, Kind::Create, due_us),
            },
            Kind::Ephemeral => match own.ephemeral.pop_front() {
                Some(serial) => self.delete(conn, &self.own_path(conn, serial), due_us),
                None => self.create(conn, own, Kind::Ephemeral, due_us),
            },
            Kind::Sequential if own.sequential.len() >= SEQUENTIAL_KEPT => {
                let oldest = own.sequential.pop_front().expect("it holds some");
                self.delete(conn, &oldest, due_us)
            }
            Kind::Sequential => self.create(conn, own, Kind::Sequential, due_us),
            Kind::Event | Kind::Connect | Kind::Close => unreachable!("a mix does not hold {picked:?}"),
        }
    }

    fn issue_on_key(&mut self, kind: Kind, conn: &mut Conn, due_us: u64) {
        let (paths, data) = (self.paths, &self.plan.data);
        let key = self.chooser.next(&mut self.random);
        match kind {
            Kind::Get | Kind::Exists => {
                let opcode = if kind == Kind::Get { 4 } else { 3 };
                conn.request(opcode, kind, due_us, true, |w| {
                    w.text(&paths.leaf(key));
                    w.bool(false);
                });
            }
            Kind::Children => conn.request(12, kind, due_us, true, |w| {
                w.text(&paths.layout().parent(key));
                w.bool(false);
            }),
            Kind::Set => conn.request(5, kind, due_us, true, |w| write_set(w, &paths.leaf(key), data)),
            Kind::Multi => {
                let others = (1..self.plan.multi).map(|_| self.chooser.next(&mut self.random));
                let keys: Vec<_> = [key].into_iter().chain(others).map(|key| paths.leaf(key)).collect();
                conn.request(14, kind, due_us, true, |w| {
                    write_sets(w, keys.iter().map(AsRef::as_ref), data);
                });
            }
            _ => conn.request(11, Kind::Ping, due_us, true, |_| {}),
        }
    }

    fn create(&self, conn: &mut Conn, own: &mut Own, kind: Kind, due_us: u64) -> Kind {
        let flags = match kind {
            Kind::Ephemeral => EPHEMERAL,
            Kind::Sequential => EPHEMERAL_SEQUENTIAL,
            _ => 0,
        };
        let path = self.own_path(conn, own.next);
        match kind {
            Kind::Create => own.plain.push_back(own.next),
            Kind::Ephemeral => own.ephemeral.push_back(own.next),
            _ => {}
        }
        own.next += 1;
        conn.request(1, kind, due_us, true, |w| {
            write_create(w, &path, &self.plan.data, flags)
        });
        kind
    }

    fn delete(&self, conn: &mut Conn, path: &str, due_us: u64) -> Kind {
        conn.request(2, Kind::Delete, due_us, true, |w| {
            w.text(path);
            w.int(-1);
        });
        Kind::Delete
    }

    /// Deletes the nodes of a churn that are left, uncounted. `create` means to leave its nodes.
    pub fn clear_up(&self, conn: &mut Conn, own: &mut Own) {
        if self.plan.mix.holds(Kind::Create) {
            return;
        }
        while let Some(serial) = own.plain.pop_front() {
            let path = self.own_path(conn, serial);
            conn.request(2, Kind::Delete, 0, false, |w| {
                w.text(&path);
                w.int(-1);
            });
        }
    }

    fn own_path(&self, conn: &Conn, serial: u32) -> String {
        format!("{}/{:016x}-{serial}", self.plan.layout.own(), conn.session.id)
    }
}
