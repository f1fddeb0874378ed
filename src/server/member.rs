//! The writer's loop of a server that is one of several: drives the member with its peers, its disk, its clients and
//! time.
//!
//! A turn takes what is in the inbox, then does what the member wants in that order: what goes over one connection, to
//! the disk and to the cores keeps its order. The disk's operations are made durable one after the other
//! (`Disk`); the first one that fails ends the process, as in a standalone server (`writer`).

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use storage::Zxid;
use storage::engine::{Engine as Storage, Level};
use storage::log::{Log, LogWrite};

use super::message::{MemberReport, ToCore, ToWriter, WriterReport};
use super::metrics::WriterNumbers;
use super::options::Ensemble;
use super::peers::{Listeners, Peers};
use super::publish;
use super::shared::{Mode, Shared};
use super::snapshots::Trigger;
use super::writer::{RECLAIM_MIN, RECLAIM_SHARE, give_up, write_soon};
use crate::base::ServerId;
use crate::io::runtime::BREATHE_EVERY;
use crate::io::{LogDevice, breathe};
use crate::replica::member::{Input, Member, Output, Store};
use crate::replica::{Now, Origin};
use crate::wire::four_letter::Summary;
use crate::zab::{Event, How, Mark, Serving, State};

/// How long a server looks for a leader before it serves those who only want to read.
const READ_ONLY_AFTER_MS: u64 = 2000;

/// What the loop owns.
pub struct Host {
    shared: Arc<Shared>,
    ensemble: Arc<Ensemble>,
    storage: Arc<Storage>,
    member: Member,
    peers: Rc<Peers>,
    disk: Disk,
    trigger: Trigger,
    level: Level,
    stopping: Vec<tokio::sync::oneshot::Sender<()>>,
    numbers: WriterNumbers,
    counts: Counts,
}

/// What a member counts beside what a standalone server does.
struct Counts {
    looking: u64,
    /// When the last election began.
    looking_ms: u64,
    /// Proposed here, or received.
    proposals: u64,
    received: u64,
    commits: u64,
    diffs: u64,
    snaps: u64,
    revalidations: u64,
    elections: Summary,
    synced: Summary,
    unavailable: Summary,
    /// Bytes of the last proposal, the smallest, the largest.
    sizes: [i64; 3],
    /// Since when nobody was served.
    idle_since: Instant,
    leading_since: Option<Instant>,
    leader: Option<ServerId>,
    elected_at: Instant,
    delivered: Zxid,
}

impl Counts {
    fn new(delivered: Zxid) -> Counts {
        let now = Instant::now();
        Counts {
            looking: 0,
            looking_ms: 0,
            proposals: 0,
            received: 0,
            commits: 0,
            diffs: 0,
            snaps: 0,
            revalidations: 0,
            elections: Summary::default(),
            synced: Summary::default(),
            unavailable: Summary::default(),
            sizes: [-1; 3],
            idle_since: now,
            leading_since: None,
            leader: None,
            elected_at: now,
            delivered,
        }
    }

    fn proposed(&mut self, bytes: i64) {
        self.proposals += 1;
        let [_, min, max] = self.sizes;
        self.sizes = [bytes, if min < 0 { bytes } else { min.min(bytes) }, max.max(bytes)];
    }

    /// Transactions that became visible.
    fn delivered(&mut self, zxid: Zxid) {
        let before = std::mem::replace(&mut self.delivered, zxid);
        self.commits += match zxid.epoch() == before.epoch() {
            true => u64::from(zxid.counter().saturating_sub(before.counter())),
            false => u64::from(zxid.counter()),
        };
    }
}

impl Host {
    /// Puts the host together; it runs on the loop that calls [`Host::run`].
    ///
    /// # Errors
    /// The log's device cannot be had.
    pub fn new(
        shared: Arc<Shared>,
        storage: Arc<Storage>,
        member: Member,
        log: Log,
        listeners: Listeners,
    ) -> std::io::Result<Host> {
        let ensemble = Arc::clone(shared.options.ensemble.as_ref().expect("it is one of several"));
        let disk = Disk {
            shared: Arc::clone(&shared),
            storage: Arc::clone(&storage),
            device: Rc::new(LogDevice::open(shared.options.engine)?),
            log: Some(log),
            waiting: VecDeque::new(),
            appended: VecDeque::new(),
            writing: false,
            started_ms: 0,
        };
        let trigger = Trigger::of(&shared);
        let shared_durable = shared.opened.durable;
        Ok(Host {
            peers: Peers::start(&shared, &ensemble, listeners, member.node().notification()),
            numbers: WriterNumbers::new(&shared.opened.start),
            shared,
            ensemble,
            storage,
            member,
            disk,
            trigger,
            level: Level::Enough,
            stopping: Vec::new(),
            counts: Counts::new(shared_durable),
        })
    }

    /// The loop; ends when told to stop and everything is durable.
    pub async fn run(mut self) {
        loop {
            // Time first: who was stopped for long must not go on as what it was.
            self.tick();
            self.drain();
            self.obey();
            self.disk.go_on();
            if !self.stopping.is_empty() && self.disk.is_idle() {
                for done in self.stopping {
                    let _ = done.send(());
                }
                return;
            }
            self.member.reclaim(RECLAIM_MIN + self.member.retired() / RECLAIM_SHARE);
            if self.shared.writer.is_empty() {
                let due_ms = self.member.deadline_ms(self.shared.clock.ms());
                let due = self
                    .shared
                    .clock
                    .at(due_ms.min(self.read_only_due_ms().unwrap_or(u64::MAX)));
                let wait = due
                    .saturating_duration_since(Instant::now())
                    .max(Duration::from_millis(1));
                let _ = tokio::time::timeout(wait, self.shared.writer.rung()).await;
            } else {
                breathe().await;
            }
        }
    }

    fn now(&self) -> Now {
        Now {
            ms: self.shared.clock.ms(),
            wall_ms: self.shared.clock.wall_ms(),
        }
    }

    fn drain(&mut self) {
        let now = self.now();
        for _ in 0..BREATHE_EVERY {
            let Some(message) = self.shared.writer.pop() else { break };
            self.handle(message, now);
        }
    }

    fn handle(&mut self, message: ToWriter, now: Now) {
        let input = match message {
            ToWriter::Member(input) => {
                match &input {
                    Input::Closed(link) => self.peers.forget(*link),
                    Input::Revalidate(..) => self.counts.revalidations += 1,
                    _ => {}
                }
                input
            }
            ToWriter::Write(request) => {
                self.numbers.asked += 1;
                Input::Write(request)
            }
            ToWriter::Open {
                origin,
                timeout_ms,
                heart,
            } => {
                self.numbers.asked += 1;
                Input::Open {
                    origin,
                    timeout_ms,
                    heart,
                }
            }
            ToWriter::Attach {
                origin,
                session,
                timeout_ms,
                heart,
            } => Input::Attach {
                origin,
                session,
                timeout_ms,
                heart,
            },
            ToWriter::Detach { origin, session } => Input::Detach { origin, session },
            ToWriter::Written(Ok(write)) => match self.written(write) {
                Some(mark) => Input::Durable(mark),
                None => return,
            },
            ToWriter::Written(Err(error)) | ToWriter::Stored(_, Err(error)) => give_up(&error),
            ToWriter::Stored(mark, Ok(log)) => {
                self.disk.stored(log);
                Input::Durable(mark)
            }
            ToWriter::Room(room) => {
                if self.level != room.level {
                    tracing::warn!("the room on the disks: {room}");
                }
                self.level = room.level;
                Input::Room(room.level)
            }
            other => return self.handle_other(other, now),
        };
        self.member.step(input, now);
    }

    /// What concerns no member.
    fn handle_other(&mut self, message: ToWriter, now: Now) {
        match message {
            ToWriter::Snapshot(asked) => {
                if self.trigger.ask_for(asked) {
                    self.snapshot();
                }
            }
            ToWriter::SnapshotDone(took_ms) => {
                took_ms.into_iter().for_each(|ms| self.numbers.snapshots.add(ms));
                if self.trigger.ended(took_ms, now.ms) {
                    self.snapshot();
                }
            }
            ToWriter::Report(answer) => drop(answer.send(self.report())),
            ToWriter::ResetNumbers => self.numbers = WriterNumbers::default(),
            ToWriter::Stop(done) => self.stopping.push(done),
            _ => unreachable!("it was an input"),
        }
    }

    fn tick(&mut self) {
        let now = self.now();
        if now.ms >= self.member.deadline_ms(now.ms) {
            self.member.step(Input::Tick, now);
        }
        if self.trigger.is_due_again(now.ms) {
            self.snapshot();
        }
        if self.read_only_due_ms().is_some_and(|due_ms| due_ms <= now.ms) {
            self.shared.set_mode(Mode::ReadOnly, true);
            tracing::warn!("no leader for a while: who only wants to read is served, from what this server has");
        }
    }

    /// When reading clients are to be served without a leader (`QuorumPeer#run`, LOOKING).
    fn read_only_due_ms(&self) -> Option<u64> {
        let looks = self.shared.mode() == Mode::Nobody && self.member.node().state() == State::Looking;
        let after_ms = READ_ONLY_AFTER_MS.max(self.ensemble.tick_ms);
        (looks && self.shared.options.read_only_mode).then_some(self.counts.looking_ms + after_ms)
    }

    /// Does what the member wants, in its order.
    fn obey(&mut self) {
        let mut wake = vec![false; self.shared.cores.len()];
        let crowded = self.member.retired() > publish::RETIRED_MAX;
        for output in self.member.take() {
            match output {
                Output::Notify { to, notification } => self.peers.notify(to, notification),
                Output::Connect(to) => self.peers.connect(to),
                Output::Close(link) => self.peers.close(link),
                Output::Send { link, packet } => self.peers.send(link, packet),
                Output::Store { mark, store } => {
                    if let Store::Append(proposal) = &store {
                        match self.member.node().state() {
                            State::Leading => self.counts.proposed(proposal.txn.len() as i64),
                            _ => self.counts.received += 1,
                        }
                    }
                    self.disk.waiting.push_back((mark, store));
                }
                Output::Serving(serving) => self.serve(serving),
                Output::Published(published) => {
                    self.counts.delivered(published.version.totals.zxid);
                    publish::hand_out(&self.shared, published, crowded, &mut wake);
                }
                Output::Replaced(view) => self.tell_all(|| ToCore::Replace(view.clone())),
                Output::Answer(answered) => self.tell(answered.origin, ToCore::Answer(answered)),
                Output::Attached {
                    origin,
                    session,
                    timeout_ms,
                    accepted,
                } => self.tell(
                    origin,
                    ToCore::Attached {
                        origin,
                        session,
                        timeout_ms,
                        accepted,
                    },
                ),
                Output::Displace(origin) => self.tell(origin, ToCore::Displace(origin)),
                Output::Event(event) => self.note(&event),
                Output::Unreadable { link, zxid, why } => {
                    let peer = self.peers.name(link);
                    tracing::warn!(peer, %zxid, "a server sent what makes no sense: {why}");
                }
                Output::Mismatch { zxid, here, there } => {
                    let zxid = Zxid(zxid as u64);
                    let (here, there) = (format!("{here:x}"), format!("{there:x}"));
                    tracing::error!(%zxid, here, there, "the tree's digest here is not its leader's");
                }
            }
        }
        publish::ring(&self.shared, wake);
        let own = self.member.node().notification();
        let state = own.state;
        self.peers.set_own(own);
        if state != State::Looking && self.shared.mode() == Mode::ReadOnly {
            self.shared.set_mode(Mode::Nobody, false);
            self.tell_all(|| ToCore::HangUp);
        }
    }

    fn tell(&self, origin: Origin, message: ToCore) {
        self.shared.cores[origin.core as usize].inbox.send(message);
    }

    fn tell_all(&self, message: impl Fn() -> ToCore) {
        self.shared.cores.iter().for_each(|port| port.inbox.send(message()));
    }

    fn serve(&mut self, serving: Serving) {
        let mode = match serving {
            Serving::Nobody => Mode::Nobody,
            Serving::AsLeader(_) => Mode::Leader,
            Serving::AsFollower(_) => Mode::Follower,
            Serving::AsObserver(_) => Mode::Observer,
        };
        let welcome = match mode {
            Mode::Nobody => false,
            Mode::Leader => self.ensemble.leader_serves,
            _ => true,
        };
        // Who only reads without a leader has a session that nobody else knows.
        let was_read_only = self.shared.mode() == Mode::ReadOnly;
        self.shared.set_mode(mode, welcome);
        if !welcome || was_read_only {
            self.tell_all(|| ToCore::HangUp);
        }
        let now = Instant::now();
        self.counts.leading_since = (mode == Mode::Leader).then_some(now);
        if mode == Mode::Nobody {
            self.counts.idle_since = now;
            return;
        }
        let ms = (now - self.counts.idle_since).as_millis() as u64;
        self.counts.unavailable.add(ms);
        self.counts
            .synced
            .add((now - self.counts.elected_at).as_millis() as u64);
        let (mode, epoch) = (mode.name(), self.member.node().ledger().current().0);
        let zxid = self.member.view().totals().zxid;
        tracing::info!(epoch, %zxid, ms, "clients are served, as {mode}");
    }

    fn note(&mut self, event: &Event) {
        let counts = &mut self.counts;
        match event {
            Event::Looking { .. } => {
                counts.looking += 1;
                counts.looking_ms = self.shared.clock.ms();
                counts.leader = None;
            }
            Event::Elected { vote, took_ms, .. } => {
                counts.elections.add(*took_ms);
                counts.leader = Some(vote.leader);
                counts.elected_at = Instant::now();
            }
            Event::Synchronising { how: How::Snap, .. } => counts.snaps += 1,
            Event::Synchronising { .. } => counts.diffs += 1,
            Event::Dropped { .. } => {}
            // As often as it likes to come, and one line for all of it.
            Event::SecondOne { link, .. } | Event::Stranger { link, .. } => return self.peers.refuse(*link, event),
        }
        tracing::info!("{event}");
    }

    /// A batch of the log is durable; gives the last operation that thereby is.
    fn written(&mut self, write: LogWrite) -> Option<Mark> {
        let took_ms = self.shared.clock.ms() - self.disk.started_ms;
        self.numbers.note_sync(took_ms, self.shared.options.sync_warning_ms);
        let bytes = write.record_bytes;
        let (mark, count) = self.disk.written(write);
        self.numbers.batches.add(count);
        self.numbers.logged += count;
        if self.trigger.logged(count, bytes) {
            self.snapshot();
        }
        mark
    }

    /// Only what is decided is in the view; while nobody is served that may be another leader's state soon.
    fn snapshot(&mut self) {
        if self.shared.mode() == Mode::Nobody {
            return self
                .trigger
                .put_off("this server has no leader", self.shared.clock.ms());
        }
        let view = self.member.view();
        // An epoch's beginning is no transaction: a log that is cut behind the last one takes such a snapshot away, and it
        // must not be the only one.
        if view.totals().zxid.counter() == 0 && !self.trigger.is_awaited() {
            return self
                .trigger
                .put_off("nothing is decided in this epoch", self.shared.clock.ms());
        }
        self.trigger.take(&self.storage, &self.shared, view);
    }

    fn report(&self) -> WriterReport {
        WriterReport {
            sessions: self.member.sessions().due().into_iter().collect(),
            quotas: self.member.quota_paths(),
            digests: self.member.digests(),
            numbers: self.numbers.clone(),
            room: self.storage.room(),
            member: Some(self.report_member()),
        }
    }

    fn report_member(&self) -> MemberReport {
        let (counts, node) = (&self.counts, self.member.node());
        let serves = self.shared.mode() != Mode::Nobody;
        let peer_state = match (node.state(), serves) {
            (State::Looking, _) => "looking - election",
            (State::Following, true) => "following - broadcast",
            (State::Following, false) => "following - synchronization",
            (State::Leading, true) => "leading - broadcast",
            (State::Leading, false) => "leading - discovery",
            (State::Observing, true) => "observing - broadcast",
            (State::Observing, false) => "observing - synchronization",
        };
        let leads = counts.leading_since.is_some();
        let of_leader = |count| if leads { count } else { 0 };
        let synced_as = match node.state() {
            State::Observing => "observer_sync_time",
            _ => "follower_sync_time",
        };
        MemberReport {
            peer_state: peer_state.into(),
            leader: counts.leader,
            epoch: node.ledger().current().0,
            learners: match leads {
                true => self.peers.learners(),
                false => Vec::new(),
            },
            leader_uptime_ms: counts
                .leading_since
                .map_or(0, |since| since.elapsed().as_millis() as u64),
            proposals: counts.sizes,
            digest_mismatches: self.member.digest_mismatches(),
            counters: vec![
                ("commit_count", of_leader(counts.commits)),
                ("diff_count", counts.diffs),
                (
                    "learner_commit_received_count",
                    counts.commits - of_leader(counts.commits),
                ),
                ("learner_proposal_received_count", counts.received),
                ("looking_count", counts.looking),
                ("proposal_count", counts.proposals),
                ("revalidate_count", counts.revalidations),
                ("snap_count", counts.snaps),
            ],
            times: vec![
                ("election_time", counts.elections),
                (synced_as, counts.synced),
                ("unavailable_time", counts.unavailable),
            ],
        }
    }
}

/// The disk's operations, made durable in the order in which they were given.
///
/// Appends gather in the log while one of its writes is on its way; any other operation waits until the log is idle,
/// is done on a thread, and holds up what follows it.
struct Disk {
    shared: Arc<Shared>,
    storage: Arc<Storage>,
    device: Rc<LogDevice>,
    /// Lent to the thread that cuts it or begins it anew.
    log: Option<Log>,
    /// Not begun yet, but for a first one that is no append and is under way.
    waiting: VecDeque<(Mark, Store)>,
    /// In the log, not durable yet.
    appended: VecDeque<(Zxid, Mark)>,
    /// A batch, or another operation, is on its way.
    writing: bool,
    started_ms: u64,
}

impl Disk {
    /// Whether everything that was given is durable.
    fn is_idle(&self) -> bool {
        !self.writing && self.waiting.is_empty() && self.appended.is_empty()
    }

    /// Begins what can be begun.
    fn go_on(&mut self) {
        let Some(log) = &mut self.log else { return };
        while let Some((mark, Store::Append(proposal))) = self
            .waiting
            .pop_front_if(|(_, store)| matches!(store, Store::Append(_)))
        {
            log.append(proposal.zxid, &[&proposal.txn]);
            self.appended.push_back((proposal.zxid, mark));
        }
        if self.writing {
            return;
        }
        if let Some(write) = log.next_write() {
            self.writing = true;
            self.started_ms = self.shared.clock.ms();
            return write_soon(&self.device, &self.shared, write);
        }
        if let Some((mark, store)) = self.waiting.pop_front() {
            self.writing = true;
            self.perform(mark, store);
        }
    }

    /// The log is idle, and nothing else is under way.
    fn perform(&mut self, mark: Mark, store: Store) {
        let (shared, storage) = (Arc::clone(&self.shared), Arc::clone(&self.storage));
        let (accepted, current) = storage.epochs();
        let log = match store {
            Store::Truncate(_) | Store::Install(..) => self.log.take().map(Box::new),
            _ => None,
        };
        let work = move || -> std::io::Result<Option<Box<Log>>> {
            let mut log = log;
            match store {
                Store::Append(_) => unreachable!("appends go to the log"),
                Store::AcceptedEpoch(epoch) => storage.set_epochs(epoch.0, current)?,
                Store::CurrentEpoch(epoch) => storage.set_epochs(accepted.max(epoch.0), epoch.0)?,
                Store::Truncate(zxid) => {
                    let begun = Instant::now();
                    storage.truncate(log.as_mut().expect("it was lent"), zxid)?;
                    let ms = begun.elapsed().as_millis() as u64;
                    tracing::info!(%zxid, ms, "the log was cut behind what the leader has");
                }
                Store::Install(zxid, view) => {
                    crate::io::processor::unpin();
                    let begun = Instant::now();
                    let received = storage.receive(zxid, view.seed(), &view.meta(), &mut view.entries())?;
                    storage.install(log.as_mut().expect("it was lent"), &received)?;
                    let ms = begun.elapsed().as_millis() as u64;
                    tracing::info!(%zxid, ms, "the leader's state took the place of snapshots and log: {}", received.path.display());
                }
            }
            Ok(log)
        };
        tokio::task::spawn_blocking(move || shared.writer.send(ToWriter::Stored(mark, work())));
    }

    /// A batch is durable; gives the last operation that thereby is, and how many transactions it had.
    fn written(&mut self, write: LogWrite) -> (Option<Mark>, u64) {
        self.writing = false;
        let log = self.log.as_mut().expect("a batch of it was on its way");
        let durable = log.written(write);
        let (mut last, mut count) = (None, 0);
        while let Some((_, mark)) = self.appended.pop_front_if(|(zxid, _)| *zxid <= durable) {
            (last, count) = (Some(mark), count + 1);
        }
        // The next batch goes out before this one's news: the disk is the slower of the two.
        self.go_on();
        (last, count)
    }

    /// Another operation is durable.
    fn stored(&mut self, log: Option<Box<Log>>) {
        self.writing = false;
        if let Some(log) = log {
            self.log = Some(*log);
        }
        self.go_on();
    }
}
