//! Four-letter words on a client's connection: who is asked for the answer, and what is then said.
//!
//! The core that took the word asks the other cores and the writer by message, puts their reports together, writes
//! the text (`wire::four_letter`) and ends the connection. Until then nothing is read from it: netcat closes its side
//! right after the word and still wants the answer.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::conn::{Conn, Stage};
use super::core::Core;
use super::host;
use super::message::{CoreReport, LearnerReport, MemberReport, ToCore, ToWriter, Want, WriterReport};
use super::metrics::CoreNumbers;
use super::options::Ensemble;
use super::shared::Mode;
use crate::tree::View;
use crate::tree::quota::{Track, limits_path, stats_path};
use crate::wire::four_letter::{
    self, ConfLines, ConfMember, ConnectionDue, DumpLines, Gauges, Monitor, QuotaLine, ServerLines, Word,
};

fn conf_member(ensemble: &Ensemble) -> ConfMember {
    let own = ensemble.member(ensemble.me);
    let ports = |hosts: Vec<(String, u16)>| {
        let ports: Vec<String> = hosts.iter().map(|(_, port)| port.to_string()).collect();
        ports.join("|")
    };
    ConfMember {
        init_limit: ensemble.init_limit,
        sync_limit: ensemble.sync_limit,
        election_port: ports(own.election_hosts()),
        quorum_port: ports(own.quorum_hosts()),
        peer_type: u8::from(!own.participant),
        membership: ensemble.config_text.clone(),
    }
}

/// The bytes of an answer that the Java server sends, and counts, as one packet.
const PACKET_BYTES: usize = 8192;

pub(super) const NUMBERS: Want = Want {
    numbers: true,
    connections: false,
    watches: false,
};
pub(super) const CONNECTIONS: Want = Want {
    numbers: false,
    connections: true,
    watches: false,
};
const WATCHES: Want = Want {
    numbers: false,
    connections: false,
    watches: true,
};

impl Core {
    /// If the first bytes are a four-letter word, has it answered and the connection ended. Gives the bytes that are
    /// needed to go on, or `None` if they are no word.
    pub(super) fn try_word(self: &Rc<Core>, conn: &Rc<Conn>, bytes: &[u8]) -> Option<usize> {
        let word = Word::at_front(bytes)?;
        let allowed = self.shared.words.allows(word);
        let mask = bytes.get(4..).and_then(|rest| rest.first_chunk::<8>());
        match word {
            // Nothing can be executed for it, and as a length it is negative.
            Word::TelnetClose if allowed => return None,
            Word::Stmk if allowed && mask.is_none() => return Some(12),
            _ => {}
        }
        conn.stats.note_received();
        self.numbers.borrow_mut().note_received(4);
        conn.set_stage(Stage::Asked);
        tracing::debug!(peer = %conn.peer, word = word.name(), allowed, "a four-letter word");
        if let Some(mask) = mask.filter(|_| allowed && word == Word::Stmk) {
            self.shared
                .trace_mask
                .store(i64::from_be_bytes(*mask), Ordering::Relaxed);
        }
        let (core, conn) = (Rc::clone(self), Rc::clone(conn));
        tokio::task::spawn_local(async move {
            let text = if allowed {
                core.answer_word(word).await
            } else {
                word.refusal()
            };
            core.say(&conn, &text);
        });
        Some(4)
    }

    fn say(&self, conn: &Conn, text: &str) {
        conn.out.borrow_mut().extend_from_slice(text.as_bytes());
        let packets = text.len().div_ceil(PACKET_BYTES) as u64;
        conn.stats.note_sent(packets);
        conn.touched_ms.set(self.shared.clock.ms());
        self.numbers.borrow_mut().sent += packets;
        // Wakes the connection's own task, which sends, forgets and closes.
        conn.set_stage(Stage::Ending);
    }

    async fn answer_word(self: &Rc<Core>, word: Word) -> String {
        let mut out = String::new();
        if self.shared.mode() == Mode::Nobody {
            match word {
                Word::Ruok | Word::Envi | Word::Gtmk | Word::Stmk => {}
                Word::Isro => return "null".into(),
                Word::Hash => return four_letter::NOT_SERVING.trim_end().into(),
                _ => return four_letter::NOT_SERVING.into(),
            }
        }
        match word {
            Word::Ruok => out.push_str("imok"),
            Word::Isro => out.push_str(match self.shared.mode() {
                Mode::ReadOnly => "ro",
                _ => "rw",
            }),
            Word::Gtmk | Word::Stmk => out = self.shared.trace_mask.load(Ordering::Relaxed).to_string(),
            Word::Srvr => {
                let (reports, member) = (self.ask(NUMBERS).await, self.ask_member().await);
                four_letter::append_server(&mut out, &self.server_lines(&reports, member.as_ref()));
            }
            Word::Stat => {
                let reports = self
                    .ask(Want {
                        connections: true,
                        ..NUMBERS
                    })
                    .await;
                let lines = self.server_lines(&reports, self.ask_member().await.as_ref());
                four_letter::append_stat(&mut out, &connections(reports), &lines);
            }
            Word::Cons => four_letter::append_connections(&mut out, &connections(self.ask(CONNECTIONS).await)),
            Word::Srst => {
                self.reset_numbers();
                out.push_str("Server stats reset.\n");
            }
            Word::Crst => {
                self.reset_all_connections();
                out.push_str("Connection stats reset.\n");
            }
            Word::Conf => four_letter::append_conf(&mut out, &self.conf_lines()),
            Word::Envi => four_letter::append_environment(&mut out, &host::environment()),
            Word::Dirs => {
                let (data, log) = self.directory_bytes();
                four_letter::append_dirs(&mut out, data, log);
            }
            Word::Dump => four_letter::append_dump(&mut out, &self.dump_lines().await),
            Word::Wchs => four_letter::append_watch_summary(&mut out, &self.data_watches().await),
            Word::Wchc => four_letter::append_by_session(&mut out, &self.data_watches().await),
            Word::Wchp => four_letter::append_by_path(&mut out, &self.data_watches().await),
            Word::Hash => {
                let digests = self.ask_writer().await.map(|report| report.digests);
                four_letter::append_digests(&mut out, &digests.unwrap_or_default());
            }
            Word::Mntr => match self.ask_writer().await {
                Some(writer) => self.monitor(&self.ask(NUMBERS).await, &writer).append(&mut out),
                None => out.push_str(four_letter::NOT_SERVING),
            },
            Word::TelnetClose => unreachable!("it is never allowed"),
        }
        out
    }

    /// Asks every core, this one first. A core that ends meanwhile is left out: the whole server is about to.
    pub(super) async fn ask(self: &Rc<Core>, want: Want) -> Vec<CoreReport> {
        let others = self
            .shared
            .cores
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != self.index as usize);
        let asked: Vec<_> = others
            .map(|(_, port)| {
                let (answer, told) = oneshot::channel();
                port.inbox.send(ToCore::Report(want, answer));
                told
            })
            .collect();
        let mut reports = vec![self.report(want)];
        for told in asked {
            reports.extend(told.await);
        }
        reports
    }

    /// Asks the writer; `None` when it has stopped.
    pub(super) async fn ask_writer(&self) -> Option<WriterReport> {
        let (answer, told) = oneshot::channel();
        self.shared.writer.send(ToWriter::Report(answer));
        told.await.ok()
    }

    /// What the writer knows of the ensemble, if there is one.
    pub(super) async fn ask_member(&self) -> Option<MemberReport> {
        match self.shared.options.ensemble {
            Some(_) => self.ask_writer().await?.member,
            None => None,
        }
    }

    pub(super) fn reset_numbers(&self) {
        self.others().for_each(|port| port.inbox.send(ToCore::ResetNumbers));
        self.numbers.take();
        self.shared.writer.send(ToWriter::ResetNumbers);
        self.shared.doors.reset();
    }

    pub(super) fn reset_all_connections(&self) {
        self.others().for_each(|port| port.inbox.send(ToCore::ResetConnections));
        self.reset_connections();
    }

    fn others(&self) -> impl Iterator<Item = &super::shared::CorePort> {
        let own = self.index as usize;
        self.shared
            .cores
            .iter()
            .enumerate()
            .filter(move |(index, _)| *index != own)
            .map(|(_, port)| &**port)
    }

    pub(super) fn server_lines(&self, reports: &[CoreReport], member: Option<&MemberReport>) -> ServerLines {
        let numbers = merged(reports);
        let view = self.view.borrow();
        ServerLines {
            latency: numbers.latency,
            received: numbers.received,
            sent: numbers.sent,
            connections: self.shared.doors.alive(),
            outstanding: self.shared.outstanding(),
            zxid: view.totals().zxid.0 as i64,
            mode: self.shared.mode().name(),
            nodes: nodes_shown(&view),
            proposals: member
                .filter(|_| self.shared.mode() == Mode::Leader)
                .map(|member| member.proposals),
        }
    }

    pub(super) fn directory_bytes(&self) -> (u64, u64) {
        let opened = &self.shared.opened;
        (
            host::directory_bytes(&opened.data_path),
            host::directory_bytes(&opened.log_path),
        )
    }

    pub(super) fn conf_lines(&self) -> ConfLines {
        let (options, opened) = (&self.shared.options, &self.shared.opened);
        let absolute = |path: &Path| {
            std::path::absolute(path)
                .unwrap_or_else(|_| path.into())
                .display()
                .to_string()
        };
        let (data_dir_bytes, log_dir_bytes) = self.directory_bytes();
        ConfLines {
            client_port: options.shown.client_port,
            data_dir: absolute(&opened.data_path),
            data_dir_bytes,
            log_dir: absolute(&opened.log_path),
            log_dir_bytes,
            tick_ms: options.shown.tick_ms,
            max_client_cnxns: options.shown.max_client_cnxns,
            session_timeout_ms: options.session_timeout_ms,
            backlog: options.shown.backlog,
            server_id: options.shown.server_id,
            member: options.ensemble.as_deref().map(conf_member),
        }
    }

    pub(super) async fn dump_lines(self: &Rc<Core>) -> DumpLines {
        let writer = self.ask_writer().await;
        let reports = self.ask(CONNECTIONS).await;
        let (now_ms, wall_ms) = (self.shared.clock.ms() as i64, self.shared.clock.wall_ms());
        let wall = |due_ms: u64| wall_ms - now_ms + due_ms as i64;
        let mut lines = DumpLines::default();
        let view = self.view.borrow();
        for (due_ms, sessions) in writer.map(|writer| writer.sessions).unwrap_or_default() {
            for session in &sessions {
                let mut paths = view.ephemerals(*session);
                if !paths.is_empty() {
                    paths.sort_unstable();
                    lines.ephemerals.insert(*session, paths);
                }
            }
            lines.sessions.insert(wall(due_ms), sessions);
        }
        for (due_ms, connection) in reports.into_iter().flat_map(|report| report.connections) {
            let session = connection.served.session;
            let due = lines.connections.entry(wall(due_ms)).or_default();
            due.push(ConnectionDue {
                peer: connection.peer,
                session,
            });
        }
        lines
    }

    pub(super) async fn data_watches(self: &Rc<Core>) -> BTreeMap<i64, Vec<String>> {
        let reports = self.ask(WATCHES).await;
        let mut watches: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for report in reports.into_iter().flat_map(|report| report.watches) {
            watches.entry(report.session).or_default().extend(report.paths);
        }
        watches.values_mut().for_each(|paths| paths.sort_unstable());
        watches
    }

    pub(super) fn monitor(&self, reports: &[CoreReport], writer: &WriterReport) -> Monitor {
        let (cores, numbers) = (merged(reports), &writer.numbers);
        let [created, deleted, changed, children] = cores.told;
        let mut counters = vec![
            ("bytes_received_count", cores.bytes_received),
            ("cnxn_closed_without_zk_server_running", cores.unserved),
            ("connection_drop_count", cores.drops),
            ("connection_rejected", self.shared.doors.rejected()),
            ("connection_request_count", cores.connection_requests),
            ("connection_revalidate_count", cores.revalidations),
            // A digest that does not match ends recovery, and an error that cannot be recovered from the process.
            (
                "digest_mismatches_count",
                writer.member.as_ref().map_or(0, |member| member.digest_mismatches),
            ),
            ("prep_processor_request_queued", numbers.asked),
            ("response_bytes", cores.response_bytes),
            ("sessionless_connections_expired", cores.sessionless_expired),
            ("stale_sessions_expired", numbers.sessions_expired),
            ("sync_processor_request_queued", numbers.logged),
            ("unrecoverable_error_count", 0),
            ("watch_bytes", cores.watch_bytes),
        ];
        let mut summaries = vec![
            ("dbinittime", numbers.init),
            ("fsynctime", numbers.syncs.quantiles().summary),
            ("node_changed_watch_count", changed),
            ("node_children_watch_count", children),
            ("node_created_watch_count", created),
            ("node_deleted_watch_count", deleted),
            ("prep_process_time", numbers.prepares),
            ("snapshottime", numbers.snapshots),
            ("startup_snap_load_time", numbers.snapshot_loads),
            ("startup_txns_load_time", numbers.replays),
            ("startup_txns_loaded", numbers.replayed),
            ("sync_processor_batch_size", numbers.batches),
        ];
        let quantiles = vec![
            ("readlatency", cores.reads.quantiles()),
            ("sync_processor_queue_flush_time_ms", numbers.syncs.quantiles()),
            ("updatelatency", cores.updates.quantiles()),
        ];
        let mut member_gauges = Vec::new();
        if let (Some(ensemble), Some(member)) = (&self.shared.options.ensemble, &writer.member) {
            counters.extend(&member.counters);
            summaries.extend(&member.times);
            member_gauges = self.member_gauges(ensemble, member);
        }
        let watches = reports.iter().map(|report| report.watch_count as u64).sum();
        let (gauges, quotas) = (self.gauges(&cores, watches), self.quota_lines(&writer.quotas));
        Monitor {
            mode: self.shared.mode().name(),
            peer_state: writer.member.as_ref().map(|member| member.peer_state.clone()),
            member_gauges,
            gauges,
            quotas,
            own: own_lines(writer),
            counters,
            summaries,
            quantiles,
        }
    }

    /// `Leader` and `QuorumPeer` register these.
    fn member_gauges(&self, ensemble: &Ensemble, member: &MemberReport) -> Vec<(&'static str, i64)> {
        let mut gauges = vec![("quorum_size", ensemble.quorum.voters().count() as i64)];
        if self.shared.mode() != Mode::Leader {
            return gauges;
        }
        let count = |wanted: &dyn Fn(&LearnerReport) -> bool| {
            let synced = member
                .learners
                .iter()
                .filter(|(learner, synced)| *synced && wanted(learner));
            synced.count() as i64
        };
        let votes = |learner: &LearnerReport| ensemble.quorum.is_voter(learner.server);
        let [last, min, max] = member.proposals;
        gauges.extend([
            ("learners", member.learners.len() as i64),
            (
                "synced_followers",
                count(&|learner| !learner.observer && votes(learner)),
            ),
            (
                "synced_non_voting_followers",
                count(&|learner| !learner.observer && !votes(learner)),
            ),
            ("synced_observers", count(&|learner| learner.observer)),
            // Who asks is answered when what was proposed before is decided: nobody waits for longer than a write.
            ("pending_syncs", 0),
            ("leader_uptime", member.leader_uptime_ms as i64),
            ("last_proposal_size", last),
            ("max_proposal_size", max),
            ("min_proposal_size", min),
        ]);
        gauges
    }

    fn gauges(&self, cores: &CoreNumbers, watches: u64) -> Gauges {
        let (open_files, open_files_max) = host::files();
        let view = self.view.borrow();
        let totals = view.totals();
        Gauges {
            approximate_data_size: bytes_shown(&view),
            ephemerals: totals.ephemerals.into(),
            global_sessions: totals.sessions.into(),
            latency: cores.latency,
            response_sizes: cores.response_sizes(),
            alive_connections: self.shared.doors.alive() as u64,
            open_files,
            open_files_max,
            outstanding: self.shared.outstanding() as u64,
            received: cores.received,
            sent: cores.sent,
            uptime_ms: self.shared.clock.ms(),
            watches,
            nodes: nodes_shown(&view),
        }
    }

    /// Limits and usage, summed by the first part of the path (`QuotaMetricsUtils`). A hard limit goes before a soft.
    fn quota_lines(&self, paths: &[String]) -> Vec<QuotaLine> {
        let mut sums: BTreeMap<(&'static str, String), i64> = BTreeMap::new();
        for subject in paths {
            let Some(namespace) = subject.split('/').nth(1).filter(|name| !name.is_empty()) else {
                continue;
            };
            let mut add = |metric, number| *sums.entry((metric, namespace.to_owned())).or_default() += number;
            let hard = |hard, soft| if hard > -1 { hard } else { soft };
            if let Some(limits) = self.track(&limits_path(subject)) {
                add(
                    "quota_count_limit_per_namespace",
                    hard(limits.count_hard(), limits.count()),
                );
                add(
                    "quota_bytes_limit_per_namespace",
                    hard(limits.bytes_hard(), limits.bytes()),
                );
            }
            if let Some(usage) = self.track(&stats_path(subject)) {
                add("quota_count_usage_per_namespace", usage.count());
                add("quota_bytes_usage_per_namespace", usage.bytes());
            }
        }
        sums.into_iter()
            .map(|((metric, namespace), number)| (metric, namespace, number))
            .collect()
    }

    fn track(&self, path: &str) -> Option<Track> {
        let view = self.view.borrow();
        let node = view.node(path)?;
        Track::parse(view.data(path, &node)?)
    }
}

/// How full the disks are. What a file system does not tell is left out.
fn own_lines(writer: &WriterReport) -> Vec<(&'static str, u64)> {
    let room = &writer.room;
    let free = [("log_free_bytes", room.log_free), ("data_free_bytes", room.data_free)];
    let mut lines = vec![
        ("room_level", room.level as u64),
        ("low_water_bytes", room.low_water),
        ("log_reserve_segments", room.reserve as u64),
        ("writes_refused", writer.numbers.refused),
    ];
    lines.extend(free.into_iter().filter_map(|(name, bytes)| Some((name, bytes?))));
    lines
}

pub(super) fn merged(reports: &[CoreReport]) -> CoreNumbers {
    let mut numbers = CoreNumbers::default();
    reports.iter().for_each(|report| numbers.merge(&report.numbers));
    numbers
}

pub(super) fn connections(reports: Vec<CoreReport>) -> Vec<four_letter::Connection> {
    reports
        .into_iter()
        .flat_map(|report| report.connections)
        .map(|(_, connection)| connection)
        .collect()
}

/// Bytes of paths and data; the root counts with its second name (see [`nodes_shown`]).
fn bytes_shown(view: &View) -> u64 {
    view.totals().bytes + "/".len() as u64
}

/// Java keeps the root under two names, and counts both (`DataTree#getNodeCount`).
fn nodes_shown(view: &View) -> u64 {
    view.totals().nodes + 1
}
