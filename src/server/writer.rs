//! The writer's loop: drives the writing desk with messages, the log and time.
//!
//! Group commit without a timer (design.md D5): while one batch is being made durable, whatever arrives forms the
//! next. The first failed write or sync ends the process: an fsync error cannot be retried (reliability.md 0.2).

use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use storage::Zxid;
use storage::engine::{Engine as Storage, Level, Room};
use storage::log::{Log, LogWrite};

use super::message::{ToCore, ToWriter, WriterReport};
use super::metrics::WriterNumbers;
use super::publish;
use super::shared::Shared;
use super::snapshots::Trigger;
use crate::io::runtime::BREATHE_EVERY;
use crate::io::{LogDevice, breathe};
use crate::replica::Now;
use crate::replica::{Origin, Replica};

/// The exit status when the log cannot be written for another reason than the next one.
pub const EXIT_LOG_FAILED: i32 = 21;
/// The exit status when there is no space left for the log: neither on the disk nor in its reserve.
pub const EXIT_LOG_FULL: i32 = 22;

/// Pieces of old versions freed in each turn: so many, and a share of what waits, so that no load outruns it.
pub(super) const RECLAIM_MIN: usize = 256;
pub(super) const RECLAIM_SHARE: usize = 4;

/// What the writer owns.
pub struct Writer {
    shared: Arc<Shared>,
    storage: Arc<Storage>,
    replica: Replica,
    log: Log,
    device: Rc<LogDevice>,
    trigger: Trigger,
    level: Level,
    writing: bool,
    batch_count: usize,
    batch_started_ms: u64,
    stopping: Vec<tokio::sync::oneshot::Sender<()>>,
    numbers: WriterNumbers,
}

impl crate::replica::Log for Log {
    fn append(&mut self, zxid: Zxid, payload: &[u8]) {
        Log::append(self, zxid, &[payload]);
    }
}

impl Writer {
    /// Puts the writer together; it runs on the loop that calls [`Writer::run`].
    pub fn new(shared: Arc<Shared>, storage: Arc<Storage>, replica: Replica, log: Log) -> std::io::Result<Writer> {
        let device = Rc::new(LogDevice::open(shared.options.engine)?);
        let trigger = Trigger::of(&shared);
        let stopping = Vec::new();
        let numbers = WriterNumbers::new(&shared.opened.start);
        Ok(Writer {
            shared,
            storage,
            replica,
            log,
            device,
            trigger,
            level: Level::Enough,
            writing: false,
            batch_count: 0,
            batch_started_ms: 0,
            stopping,
            numbers,
        })
    }

    /// The loop; ends when told to stop and everything is durable.
    pub async fn run(mut self) {
        loop {
            self.drain();
            self.tick();
            self.start_write();
            if !self.writing && !self.stopping.is_empty() {
                for done in self.stopping {
                    let _ = done.send(());
                }
                return;
            }
            self.reclaim();
            if self.shared.writer.is_empty() {
                let due = self.shared.clock.at(self.replica.next_tick_ms(self.shared.clock.ms()));
                let wait = due
                    .saturating_duration_since(std::time::Instant::now())
                    .max(Duration::from_millis(1));
                let _ = tokio::time::timeout(wait, self.shared.writer.rung()).await;
            } else {
                breathe().await;
            }
        }
    }

    /// Handles what was asked and makes it durable with blocking calls, batch after batch, for who has no loop.
    pub(super) fn work_off(&mut self) {
        while !self.shared.writer.is_empty() {
            self.drain();
            if let Some(write) = self.next_write() {
                match write.perform() {
                    Ok(write) => self.written(write),
                    Err(error) => give_up(&error),
                }
            }
            self.reclaim();
        }
    }

    fn reclaim(&mut self) {
        self.replica
            .reclaim(RECLAIM_MIN + self.replica.retired() / RECLAIM_SHARE);
    }

    fn now(&self) -> Now {
        Now {
            ms: self.shared.clock.ms(),
            wall_ms: self.shared.clock.wall_ms(),
        }
    }

    /// Handles messages, but no more at a time than the ring can wait for.
    fn drain(&mut self) {
        let now = self.now();
        let mut handled = 0;
        while handled < BREATHE_EVERY && self.batch_count < self.shared.options.batch_max {
            let Some(message) = self.shared.writer.pop() else { break };
            handled += 1;
            self.handle(message, now);
        }
        if handled == 0 && self.batch_count >= self.shared.options.batch_max {
            // The open batch is full: only its predecessor's end may pass.
            if let Some(message) = self.shared.writer.pop() {
                self.handle(message, now);
            }
        }
        for answered in self.replica.take_unlogged() {
            self.tell(answered.origin, ToCore::Answer(answered));
        }
    }

    fn handle(&mut self, message: ToWriter, now: Now) {
        match message {
            ToWriter::Write(request) => {
                self.numbers.asked += 1;
                let before_ms = self.shared.clock.ms();
                match self.replica.write(&request, now, &mut self.log) {
                    true => self.batch_count += 1,
                    false => self.numbers.refused += 1,
                }
                self.numbers.prepares.add(self.shared.clock.ms() - before_ms);
            }
            ToWriter::Open { origin, .. } if !self.replica.takes_sessions() => {
                self.numbers.refused += 1;
                self.tell(origin, ToCore::Displace(origin));
            }
            ToWriter::Open {
                origin,
                timeout_ms,
                heart,
            } => {
                self.batch_count += 1;
                self.numbers.asked += 1;
                self.replica.open_session(origin, timeout_ms, heart, now, &mut self.log);
            }
            ToWriter::Attach {
                origin,
                session,
                timeout_ms,
                heart,
            } => {
                let attached = self.replica.attach(session, timeout_ms, heart, origin, now);
                if let Ok(Some(old)) = attached {
                    self.tell(old, ToCore::Displace(old));
                }
                self.tell(
                    origin,
                    ToCore::Attached {
                        origin,
                        session,
                        timeout_ms,
                        accepted: attached.is_ok(),
                    },
                );
            }
            ToWriter::Detach { origin, session } => self.replica.detach(session, origin),
            ToWriter::Written(Ok(write)) => self.written(write),
            ToWriter::Written(Err(error)) => give_up(&error),
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
            ToWriter::Room(room) => self.room_changed(&room),
            ToWriter::Report(answer) => drop(answer.send(self.report())),
            ToWriter::ResetNumbers => self.numbers = WriterNumbers::default(),
            ToWriter::Stop(done) => self.stopping.push(done),
            ToWriter::Member(_) | ToWriter::Stored(..) => unreachable!("a standalone server has no peers"),
        }
    }

    fn report(&self) -> WriterReport {
        WriterReport {
            sessions: self.replica.sessions().due().into_iter().collect(),
            quotas: self.replica.quota_paths(),
            digests: self.replica.digests(),
            numbers: self.numbers.clone(),
            room: self.storage.room(),
            member: None,
        }
    }

    fn tell(&self, origin: Origin, message: ToCore) {
        self.shared.cores[origin.core as usize].inbox.send(message);
    }

    fn tick(&mut self) {
        let now = self.now();
        if now.ms >= self.replica.next_tick_ms(now.ms) {
            let expired = self.replica.tick(now, &mut self.log);
            self.numbers.sessions_expired += expired as u64;
            if expired > 0 {
                tracing::info!(expired, "sessions expired");
            }
        }
        if self.trigger.is_due_again(now.ms) {
            self.snapshot();
        }
    }

    /// What is refused from now on, and a line about it.
    fn room_changed(&mut self, room: &Room) {
        let (before, refused) = (std::mem::replace(&mut self.level, room.level), self.numbers.refused);
        self.replica.set_level(room.level);
        let opened = &self.shared.opened;
        let (log, data) = (opened.log_path.display(), opened.data_path.display());
        match room.level {
            Level::Enough if before == Level::Enough => {}
            Level::Enough => {
                tracing::warn!(
                    refused,
                    "there is room again, and new writes are taken: {room}; log {log}, snapshots {data}"
                )
            }
            Level::Low => tracing::warn!(
                "the disk is nearly full: new writes are refused with SystemError until there is room: {room}; \
                 log {log}, snapshots {data}"
            ),
            Level::Last => tracing::warn!(
                "the last log segment in reserve is in use: all but closes and expiries is refused, new sessions \
                 included: {room}; log {log}, snapshots {data}"
            ),
        }
        let ends_low = before != Level::Enough && room.level == Level::Enough;
        // One that was put off is taken at once; and one more lets the oldest go, and the log that only it needed.
        let helps = before == Level::Enough && room.level != Level::Enough && self.storage.would_purge();
        if (ends_low && self.trigger.is_put_off()) || (helps && !self.trigger.is_running()) {
            self.trigger.begin();
            self.snapshot();
        }
    }

    /// The open batch, unless there is none or one is on its way.
    fn next_write(&mut self) -> Option<LogWrite> {
        if self.writing {
            return None;
        }
        let write = self.log.next_write()?;
        self.replica.seal();
        self.writing = true;
        self.batch_count = 0;
        self.batch_started_ms = self.shared.clock.ms();
        Some(write)
    }

    /// Sends the open batch to the disk.
    fn start_write(&mut self) {
        let Some(write) = self.next_write() else { return };
        write_soon(&self.device, &self.shared, write);
    }

    /// A batch is durable: it is published.
    fn written(&mut self, write: LogWrite) {
        self.writing = false;
        let took_ms = self.shared.clock.ms() - self.batch_started_ms;
        self.numbers.note_sync(took_ms, self.shared.options.sync_warning_ms);
        let (first, bytes) = (write.first, write.record_bytes);
        let durable = self.log.written(write);
        let transactions = durable.0 - first.0 + 1;
        self.numbers.batches.add(transactions);
        self.numbers.logged += transactions;
        // The next batch goes out before this one's news: the disk is the slower of the two.
        self.start_write();
        self.publish(durable);
        if self.trigger.logged(transactions, bytes) {
            self.snapshot();
        }
    }

    /// Everything that is durable becomes visible, version by version; each core is woken once at most.
    fn publish(&mut self, durable: Zxid) {
        let mut wake = vec![false; self.shared.cores.len()];
        let crowded = self.replica.retired() > publish::RETIRED_MAX;
        while let Some(published) = self.replica.durable(durable) {
            publish::hand_out(&self.shared, published, crowded, &mut wake);
        }
        publish::ring(&self.shared, wake);
    }

    fn snapshot(&mut self) {
        self.trigger.take(&self.storage, &self.shared, self.replica.view());
    }
}

/// Sends a batch to the disk; its end comes back as a message.
pub(super) fn write_soon(device: &Rc<LogDevice>, shared: &Arc<Shared>, write: LogWrite) {
    let (device, shared) = (Rc::clone(device), Arc::clone(shared));
    let description = format!("{write}");
    tokio::task::spawn_local(async move {
        let result = device.write(write).await;
        let result = result.map_err(|error| std::io::Error::new(error.kind(), format!("{description}: {error}")));
        shared.writer.send(ToWriter::Written(result));
    });
}

/// One line, then the end: what was not acknowledged may or may not be on the disk, and nobody may be told more.
pub(super) fn give_up(error: &std::io::Error) -> ! {
    let status = if storage::disk::is_full(error) {
        EXIT_LOG_FULL
    } else {
        EXIT_LOG_FAILED
    };
    // Standard error may be a file on the same disk; a panic about that would change the status.
    let _ = writeln!(
        std::io::stderr(),
        "ringkeeper: the log cannot be written, so this server stops: {error}"
    );
    std::process::exit(status)
}
