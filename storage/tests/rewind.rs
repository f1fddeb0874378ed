//! Power cuts while a member's log is cut back, while a leader's state is installed, and around its epochs: at every
//! operation, in every way in which the disk can lose what was not synced. A truncation and an installation happen as a
//! whole or not at all; what is appended afterwards, in a later epoch, is kept like everything else.

mod log_common;

use std::sync::Arc;

use log_common::cuts::{Bounds, Known, Plan, walk};
use log_common::server::{Layout, Server};
use log_common::{Seen, entries, payload};
use storage::Zxid;
use storage::check::{self, Progress, Verdict};
use storage::sim::SimDisk;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a store holds: a state it began with, the transactions behind it, and the two epochs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct History {
    base: Zxid,
    records: Vec<Zxid>,
    epochs: (u32, u32),
}

impl History {
    fn last(&self) -> Zxid {
        self.records.last().copied().unwrap_or(self.base)
    }

    /// Whether this is what was recovered: a snapshot on the way, and every record behind it.
    fn is(&self, seen: &Seen, epochs: (u32, u32)) -> bool {
        let snapshot = seen.snapshot.unwrap_or(Zxid::ZERO);
        let known = snapshot == self.base || self.records.contains(&snapshot);
        let behind: Vec<Zxid> = self.records.iter().copied().filter(|zxid| *zxid > snapshot).collect();
        let recovered: Vec<Zxid> = seen.records.iter().map(|(zxid, _)| *zxid).collect();
        let whole = seen.records.iter().all(|(zxid, bytes)| *bytes == payload(*zxid));
        known && behind == recovered && whole && epochs == self.epochs
    }
}

/// A life on the simulated disk, and what the store may hold after each of its steps.
struct Life {
    server: Server,
    layout: Layout,
    /// By the number of the step: what it began with, and whether it may be found half done.
    steps: Vec<(History, bool)>,
    now: History,
}

impl Life {
    fn begin(layout: Layout) -> Life {
        let disk = SimDisk::default();
        let (server, ..) = Server::start(&disk, layout).unwrap();
        let now = History::default();
        Life {
            server,
            layout,
            steps: vec![(now.clone(), false)],
            now,
        }
    }

    fn done(&mut self, now: History, may_be_half_done: bool) {
        self.now = now.clone();
        self.steps.push((now, may_be_half_done));
        self.server.disk.mark(self.steps.len() as u64 - 1);
    }

    /// Batches of `size` records each, in an epoch.
    fn append(&mut self, epoch: u32, count: u32, size: usize) {
        let mut next = self.now.last();
        let zxids: Vec<Zxid> = (0..count)
            .map(|_| {
                next = if next.epoch() == epoch {
                    next.next()
                } else {
                    Zxid::new(epoch, 1)
                };
                next
            })
            .collect();
        for batch in zxids.chunks(size) {
            let mut now = self.now.clone();
            for zxid in batch {
                self.server.log.append(*zxid, &[&payload(*zxid)]);
                now.records.push(*zxid);
            }
            let write = self.server.log.next_write().unwrap().perform().unwrap();
            self.server.log.written(write);
            self.done(now, false);
        }
    }

    fn truncate(&mut self, zxid: Zxid) {
        self.server.engine.truncate(&mut self.server.log, zxid).unwrap();
        let mut now = self.now.clone();
        now.records.retain(|record| *record <= zxid);
        assert_eq!(now.last(), zxid, "a transaction of the history");
        self.done(now, false);
    }

    fn install(&mut self, zxid: Zxid) {
        let all = entries(zxid);
        let mut all = all.iter().map(|(key, value)| (&key[..], &value[..]));
        let received = self.server.engine.receive(zxid, 1, b"meta", &mut all).unwrap();
        self.server.engine.install(&mut self.server.log, &received).unwrap();
        let now = History {
            base: zxid,
            records: Vec::new(),
            ..self.now.clone()
        };
        self.done(now, false);
    }

    fn set_epochs(&mut self, accepted: u32, current: u32) {
        self.server.engine.set_epochs(accepted, current).unwrap();
        let epochs = (accepted, current);
        self.done(
            History {
                epochs,
                ..self.now.clone()
            },
            false,
        );
    }

    fn restart(self, kill: bool) -> Life {
        let Life {
            server,
            layout,
            steps,
            now,
        } = self;
        let disk = server.disk.clone();
        if kill {
            server.kill();
        } else {
            server.stop();
        }
        let (server, _, seen) = Server::start(&disk, layout).unwrap();
        assert!(now.is(&seen, server.engine.epochs()), "{now:?}, {seen:?}");
        Life {
            server,
            layout,
            steps,
            now,
        }
    }
}

/// Everything that a rewind can meet: cuts within a segment, at its end, before segments, to a snapshot, twice in a row,
/// behind a restart; installations over a log, over nothing, of the zxid that is there.
fn workload(layout: Layout) -> Life {
    let mut life = Life::begin(layout);
    let z = Zxid::new;
    life.set_epochs(1, 0);
    life.append(1, 12, 4);
    life.set_epochs(1, 1);
    life.truncate(z(1, 7));
    life.append(2, 5, 2);
    let mut life = life.restart(true);
    life.truncate(z(2, 2));
    let mut life = life.restart(false);
    life.append(2, 30, 6);
    life.server.snapshot();
    life.append(2, 30, 7);
    life.truncate(z(2, 31));
    life.truncate(z(2, 30));
    let mut life = life.restart(true);
    life.set_epochs(5, 1);
    life.append(5, 3, 1);
    life.server.snapshot();
    life.append(5, 40, 9);
    life.truncate(z(5, 3));
    life.append(5, 2, 2);
    life.install(z(7, 9));
    life.set_epochs(7, 7);
    let mut life = life.restart(false);
    life.append(7, 4, 2);
    life.truncate(z(7, 9));
    life.append(8, 2, 2);
    let mut life = life.restart(true);
    life.install(z(7, 9));
    life.install(z(8, 0));
    life.append(8, 3, 3);
    life.restart(true)
}

#[test]
fn a_rewind_happens_as_a_whole_or_not_at_all() {
    for layout in [Layout::DIRECT, Layout::SYNCED] {
        let life = workload(layout);
        let trace = life.server.disk.trace();
        let known = Known::default();
        let plan = Plan {
            random: 6,
            share: (0, 1),
            known: &known,
        };
        let (mut images, mut before, mut after, mut recoveries) = (0u64, 0u64, 0u64, 0u64);
        walk(&trace, plan, Bounds::NONE, &mut |image, bounds, what| {
            let step = bounds.acknowledged as usize;
            let opened = check(SimDisk::new(image.clone()), &life, step, what);
            images += 1;
            match opened {
                true => before += 1,
                false => after += 1,
            }
            if images % 61 == 0 {
                let disk = SimDisk::new(image);
                drop(Server::start(&disk, layout).map(|(server, ..)| server.kill()));
                let plan = Plan { random: 1, ..plan };
                walk(&disk.trace(), plan, Bounds::NONE, &mut |image, _, inside| {
                    recoveries += 1;
                    let what = || format!("{}, then recovery cut at {}", what(), inside());
                    check(SimDisk::new(image), &life, step, &what);
                });
            }
        });
        println!("{layout:?}: {images} images, {before} before and {after} after a step; {recoveries} of recoveries");
        assert!(
            before > 200 && after > 20 && recoveries > 200,
            "{images} {before} {after} {recoveries}"
        );
    }
}

/// Opens an image: it holds what it held before the step that was under way, or after it. It goes on in a later epoch,
/// and that is there after another start. Gives whether it was before.
fn check(disk: SimDisk, life: &Life, step: usize, what: &dyn Fn() -> String) -> bool {
    let verdict = check::check(
        &disk,
        (
            "/data".as_ref(),
            if life.layout.one_directory { "/data" } else { "/log" }.as_ref(),
        ),
        1,
        &mut Seen::default(),
        &Progress::default(),
    );
    let verdict = verdict.unwrap_or_else(|error| panic!("{}: {error}", what())).verdict();
    assert_ne!(verdict, Verdict::Refused, "{}", what());
    let opened = Server::start(&disk, life.layout);
    let (mut server, report, seen) = opened.unwrap_or_else(|error| panic!("{}: refused: {error}", what()));
    let epochs = server.engine.epochs();
    let history = life.steps[step..]
        .iter()
        .take(2)
        .find(|(history, _)| history.is(&seen, epochs));
    let Some((history, _)) = history else {
        panic!(
            "{}: neither {:?} nor what follows, but {seen:?}, {epochs:?}, {report}",
            what(),
            life.steps[step].0
        )
    };
    assert_eq!(server.log.durable(), history.last(), "{}", what());
    let next = Zxid::new(9, 1);
    server.log.append(next, &[&payload(next)]);
    let write = server.log.next_write().unwrap().perform().unwrap();
    server.log.written(write);
    server.kill();
    let (mut server, report, seen) =
        Server::start(&disk, life.layout).unwrap_or_else(|error| panic!("{}: then {error}", what()));
    let mut longer = history.clone();
    longer.records.push(next);
    assert!(longer.is(&seen, epochs), "{}: then {seen:?}, {report}", what());
    // And once more back, to where it was.
    server.engine.truncate(&mut server.log, history.last()).unwrap();
    server.stop();
    let (server, report, seen) =
        Server::start(&disk, life.layout).unwrap_or_else(|error| panic!("{}: and back: {error}", what()));
    assert!(history.is(&seen, epochs), "{}: and back {seen:?}, {report}", what());
    server.kill();
    *history == life.steps[step].0
}

/// What is not in the log is no place to cut, and nothing has changed then.
#[test]
fn a_cut_at_what_is_not_there_is_refused() {
    let mut life = Life::begin(Layout::DIRECT);
    life.append(1, 5, 5);
    life.append(3, 5, 5);
    for (epoch, counter) in [(2, 1), (1, 6), (3, 0), (0, 1)] {
        let refused = life
            .server
            .engine
            .truncate(&mut life.server.log, Zxid::new(epoch, counter));
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("is not in it"), "{text}");
    }
    let mut life = life.restart(false);
    life.append(3, 1, 1);
    let Life { server, .. } = life;
    let disk = Arc::new(server.disk.clone());
    server.stop();
    let (.., seen) = Server::start(&disk, Layout::DIRECT).unwrap();
    assert_eq!(seen.records.len(), 11);
}
