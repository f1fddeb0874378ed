//! `check`: a data directory looked at without a server; what was found and what a start would do, for people or as JSON.
//!
//! What is found is the engine's to say (`storage::check`), which changes nothing; here are words, exit statuses and a
//! line of progress. With `--deep` a start's own target is built, so that transactions that do not decode or lead to
//! another digest are found too.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use clap::Args;
use storage::check::{Check, CheckedSegment, CheckedSnapshot, Progress, SegmentEnd, Start, Verdict};
use storage::disk::RealDisk;
use storage::engine::{OpenError, Options, Recover, Report, Tense};
use storage::{Zxid, check};

use super::{Failure, files, foreground};
use crate::replica::recover::Recovery;
use crate::server::admin::json::{Fields, Json};
use crate::tree::Features;

/// A start would open the store, but something is not in order.
const REPAIRS: u8 = 1;
/// A start would be refused.
const REFUSED: u8 = 2;
/// Nothing can be said: wrong arguments, a file that cannot be read, a server that has the directory.
pub const UNKNOWN: u8 = 3;

/// How often the line of progress is written.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// What to look at, and how.
#[derive(Args)]
pub struct CheckArguments {
    #[command(flatten)]
    place: Place,
    /// Decode and apply every transaction too, and compare digests; needs the memory of a server
    #[arg(long)]
    deep: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Where a store is.
#[derive(Args)]
pub struct Place {
    /// A configuration file, or dataDir itself [default: ZOOCFG, or zoo.cfg]
    #[arg(value_name = "CFG|DIR")]
    place: Option<PathBuf>,
    /// dataLogDir, if it is not dataDir
    #[arg(value_name = "LOGDIR")]
    log: Option<PathBuf>,
}

impl Place {
    /// How a start would open it, as far as directories go.
    pub fn store(&self, config_directory: Option<PathBuf>) -> Result<Options, Failure> {
        let (data_dir, log_dir) = self.directories(config_directory)?;
        Ok(Options {
            data_dir,
            log_dir,
            ..Options::default()
        })
    }

    /// `dataDir` and `dataLogDir`.
    fn directories(&self, config_directory: Option<PathBuf>) -> Result<(PathBuf, PathBuf), Failure> {
        if let Some(data) = self.place.as_ref().filter(|place| place.is_dir()) {
            let log = self.log.as_ref().unwrap_or(data);
            return Ok((above(data), above(log)));
        }
        let fail = |text: String| Failure::new(UNKNOWN, text);
        let config = files::config(config_directory, self.place.as_deref());
        if self.log.is_some() {
            return Err(fail(format!(
                "{} is no directory, and LOGDIR goes with one",
                config.display()
            )));
        }
        let written =
            files::written(&config).map_err(|error| fail(format!("{} cannot be read: {error}", config.display())))?;
        let path = |name: &str| written.get(name).map(|setting| PathBuf::from(&setting.value));
        let data = path("dataDir").ok_or_else(|| fail(format!("{}: dataDir is not set", config.display())))?;
        if !data.is_dir() {
            return Err(fail(format!(
                "{}: dataDir={} is not there",
                config.display(),
                data.display()
            )));
        }
        let log = path("dataLogDir").unwrap_or_else(|| data.clone());
        Ok((data, log))
    }
}

/// Who names the store's own directory means the one above it.
fn above(directory: &Path) -> PathBuf {
    let is_store = directory
        .file_name()
        .is_some_and(|name| name == storage::engine::DIRECTORY);
    let above = directory.parent().filter(|_| is_store);
    above.unwrap_or(directory).to_path_buf()
}

/// Looks, tells, and gives the verdict as the exit status.
pub fn check(arguments: &CheckArguments, config_directory: Option<PathBuf>) -> Result<(), Failure> {
    let options = arguments.place.store(config_directory)?;
    let (data, log) = (&options.data_dir, &options.log_dir);
    let fail = |error: OpenError| Failure::new(UNKNOWN, unknown(&error));
    let mut recovery = Recovery::new(features(), 0).of_store(&options);
    let found = watched(|progress| {
        let target: &mut dyn Recover = match arguments.deep {
            true => &mut recovery,
            false => &mut Shallow,
        };
        check::check(&RealDisk, (data, log), options.load_threads, target, progress)
    });
    let found = found.map_err(fail)?;
    let foreign = matches!(found.start, Start::Empty)
        .then(|| foreground::foreign_data([data, log]))
        .flatten();
    let doubt = recovery.doubt();
    let told = Told { found, foreign, doubt };
    let text = match arguments.json {
        true => Json::Map(told.fields()).print(),
        false => told.text(),
    };
    let mut out = std::io::stdout().lock();
    // Nobody may be reading: the status tells the verdict all the same.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    match told.verdict() {
        Verdict::Clean => Ok(()),
        Verdict::Repairs => Err(Failure::silent(REPAIRS)),
        Verdict::Refused => Err(Failure::silent(REFUSED)),
    }
}

/// The digest is compared where the transaction has one, whatever a configuration says.
pub fn features() -> Features {
    Features {
        digest: true,
        ..Features::default()
    }
}

fn unknown(error: &OpenError) -> String {
    match error {
        OpenError::Locked { .. } => format!(
            "{error}. A running server's directory cannot be checked: half a write would look like damage. Its snapshots \
             can: snapdump FILE"
        ),
        _ => error.to_string(),
    }
}

/// Takes everything and builds nothing.
struct Shallow;

impl Recover for Shallow {
    fn begin_snapshot(&mut self, _zxid: Zxid, _seed: u64, _meta: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn entry(&mut self, _key: &[u8], _value: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn end_snapshot(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn record(&mut self, _zxid: Zxid, _payload: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// Works, with a line of progress on a terminal.
fn watched<T: Send>(work: impl FnOnce(&Progress) -> T) -> T {
    let progress = Progress::default();
    let (done, waiting) = channel::<()>();
    std::thread::scope(|scope| {
        let progress = &progress;
        if std::io::stderr().is_terminal() {
            scope.spawn(move || {
                let begun = Instant::now();
                while waiting.recv_timeout(PROGRESS_EVERY) == Err(RecvTimeoutError::Timeout) {
                    eprint!("\r\x1b[K{}", progress_line(progress, begun.elapsed()));
                }
                eprint!("\r\x1b[K");
            });
        }
        let result = work(progress);
        drop(done);
        result
    })
}

fn progress_line(progress: &Progress, elapsed: Duration) -> String {
    let [bytes, total] = [&progress.bytes, &progress.bytes_total].map(|count| count.load(Relaxed) >> 20);
    let [entries, records] = [&progress.entries, &progress.records].map(|count| count.load(Relaxed));
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate = bytes as f64 / seconds;
    let left = total.saturating_sub(bytes) as f64 / rate.max(0.001);
    let left = if bytes > 0 {
        format!("{left:.0} s left")
    } else {
        "beginning".into()
    };
    format!(
        "checking: {bytes} of {total} MB, {rate:.0} MB/s, {left}; {entries} entries and {records} transactions, {:.0}/s",
        (entries + records) as f64 / seconds
    )
}

/// What is told, in either form.
struct Told {
    found: Check,
    /// Data of Apache ZooKeeper where there is no store: a start would import it.
    foreign: Option<PathBuf>,
    /// What the replay forgave.
    doubt: Option<String>,
}

impl Told {
    fn verdict(&self) -> Verdict {
        match &self.foreign {
            Some(_) => Verdict::Repairs,
            None => self.found.verdict(),
        }
    }

    fn text(&self) -> String {
        let Check { data, log, .. } = &self.found;
        let mut lines = vec![match data == log {
            true => data.display().to_string(),
            false => format!("{} and {}", data.display(), log.display()),
        }];
        if let Some(manifest) = &self.found.manifest {
            lines.push(format!(
                "  manifest    store {:x}, generation {}: {} snapshots, {} log segments",
                manifest.store,
                manifest.generation,
                manifest.snapshots.len(),
                manifest.segments.len()
            ));
        }
        lines.extend(self.found.snapshots.iter().map(snapshot_line));
        lines.extend(self.found.segments.iter().map(segment_line));
        lines.extend(self.doubt.iter().map(|doubt| format!("  digests     {doubt}")));
        lines.extend(self.start());
        lines.push(match self.verdict() {
            Verdict::Clean => "Clean.".into(),
            Verdict::Repairs => "A start would go on, but not everything is in order (exit status 1).".into(),
            Verdict::Refused => "A start would be refused (exit status 2).".into(),
        });
        lines.join("\n")
    }

    /// What a start would do.
    fn start(&self) -> Vec<String> {
        match (&self.found.start, &self.foreign) {
            (_, Some(path)) => vec![format!(
                "There is no store, but data of Apache ZooKeeper ({}): a start would import it, if it is whole, and go \
                 on from there.",
                path.display()
            )],
            (Start::Empty, None) => vec!["There is no store: a start would begin with an EMPTY tree.".into()],
            (Start::Refused(error), None) => vec![format!("A start would be refused: {error}")],
            (Start::Opens(report), None) => {
                let repairs = report
                    .lines(Tense::Would)
                    .into_iter()
                    .map(|(_, line)| format!("  {line}"));
                std::iter::once(opens(report)).chain(repairs).collect()
            }
        }
    }

    fn fields(&self) -> Fields {
        let verdict = match self.verdict() {
            Verdict::Clean => "clean",
            Verdict::Repairs => "repairs",
            Verdict::Refused => "refused",
        };
        let manifest = self.found.manifest.as_ref().map_or(Json::Null, |manifest| {
            Json::Map(vec![
                field("store", Json::text(format!("{:x}", manifest.store))),
                field("generation", Json::int(manifest.generation)),
            ])
        });
        vec![
            field("verdict", Json::text(verdict)),
            field("data", path(&self.found.data)),
            field("log", path(&self.found.log)),
            field("manifest", manifest),
            field(
                "snapshots",
                Json::list(self.found.snapshots.iter().map(snapshot_fields)),
            ),
            field("segments", Json::list(self.found.segments.iter().map(segment_fields))),
            field("start", self.start_fields()),
        ]
    }

    fn start_fields(&self) -> Json {
        let refused = |text: String| {
            vec![
                field("outcome", Json::text("refused")),
                field("error", Json::text(text)),
            ]
        };
        Json::Map(match (&self.found.start, &self.foreign) {
            (_, Some(found)) => vec![field("outcome", Json::text("imports")), field("found", path(found))],
            (Start::Empty, None) => vec![field("outcome", Json::text("empty"))],
            (Start::Refused(error), None) => refused(error.to_string()),
            (Start::Opens(report), None) => {
                let repairs = report.lines(Tense::Would).into_iter();
                let snapshot = report.snapshot.as_ref();
                vec![
                    field("outcome", Json::text("opens")),
                    field("snapshot", snapshot.map_or(Json::Null, |snapshot| zxid(snapshot.zxid))),
                    field("entries", Json::int(snapshot.map_or(0, |snapshot| snapshot.entries))),
                    field("replays", Json::int(report.replayed)),
                    field("segments_read", Json::int(report.segments)),
                    field("zxid", zxid(report.zxid)),
                    field("repairs", Json::list(repairs.map(|(_, line)| Json::text(line)))),
                ]
            }
        })
    }
}

fn opens(report: &Report) -> String {
    let from = match &report.snapshot {
        Some(snapshot) => format!("load {} ({} entries)", snapshot.path.display(), snapshot.entries),
        None => "begin with an empty tree, as there is no snapshot".into(),
    };
    format!(
        "A start would {from}, replay {} transactions from {} log segments, and go on at zxid {}.",
        report.replayed, report.segments, report.zxid
    )
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn snapshot_line(snapshot: &CheckedSnapshot) -> String {
    let name = name(&snapshot.path);
    match (&snapshot.entries, snapshot.leads_to) {
        (Err(why), _) => format!("  {name}   DAMAGED: {why}"),
        (Ok(entries), leads_to) => {
            let usable = match leads_to {
                Some((end, true)) => format!("the log from it is complete, to zxid {end}"),
                Some((end, false)) => format!("THE LOG FROM IT ENDS at zxid {end}, before the end of the log"),
                None => "not usable".into(),
            };
            format!("  {name}   {entries} entries, {} bytes; {usable}", snapshot.bytes)
        }
    }
}

fn segment_line(segment: &CheckedSegment) -> String {
    let name = name(&segment.path);
    let holds = match segment.zxids {
        Some((first, last)) => format!("{} transactions, zxid {first} to {last}", segment.records),
        None => "no transactions".into(),
    };
    let needed = if segment.is_needed {
        ""
    } else {
        "; not needed by a start"
    };
    match &segment.end {
        SegmentEnd::Clean => format!("  {name}   {holds}{needed}"),
        SegmentEnd::Torn(torn) => format!("  {name}   {holds}; TORN at offset {}{needed}", torn.offset),
        SegmentEnd::Damaged { offset, reason } => {
            format!("  {name}   {holds}; DAMAGED at offset {offset}: {reason}{needed}")
        }
        SegmentEnd::Missing => format!("  {name}   MISSING{needed}"),
    }
}

fn field(key: &str, value: Json) -> (String, Json) {
    (key.into(), value)
}

fn path(path: &Path) -> Json {
    Json::text(path.display().to_string())
}

fn zxid(zxid: Zxid) -> Json {
    Json::text(zxid.to_string())
}

fn snapshot_fields(snapshot: &CheckedSnapshot) -> Json {
    let (entries, damage) = match &snapshot.entries {
        Ok(entries) => (Json::int(*entries), Json::Null),
        Err(why) => (Json::Null, Json::text(why)),
    };
    let (leads_to, is_complete) = match snapshot.leads_to {
        Some((end, is_complete)) => (zxid(end), Json::Bool(is_complete)),
        None => (Json::Null, Json::Bool(false)),
    };
    Json::Map(vec![
        field("file", path(&snapshot.path)),
        field("zxid", zxid(snapshot.zxid)),
        field("bytes", Json::int(snapshot.bytes)),
        field("entries", entries),
        field("damage", damage),
        field("log_leads_to", leads_to),
        field("log_is_complete", is_complete),
    ])
}

fn segment_fields(segment: &CheckedSegment) -> Json {
    let (end, offset, damage) = match &segment.end {
        SegmentEnd::Clean => ("clean", Json::Null, Json::Null),
        SegmentEnd::Torn(torn) => ("torn", Json::int(torn.offset), Json::text(torn.to_string())),
        SegmentEnd::Damaged { offset, reason } => ("damaged", Json::int(*offset), Json::text(reason)),
        SegmentEnd::Missing => ("missing", Json::Null, Json::Null),
    };
    let or_null = |value: Option<Zxid>| value.map_or(Json::Null, zxid);
    Json::Map(vec![
        field("file", path(&segment.path)),
        field("number", Json::int(segment.listed.number)),
        field("bytes", Json::int(segment.bytes)),
        field("transactions", Json::int(segment.records)),
        field("first", or_null(segment.zxids.map(|(first, _)| first))),
        field("last", or_null(segment.zxids.map(|(_, last)| last))),
        field("end", Json::text(end)),
        field("offset", offset),
        field("damage", damage),
        field("is_needed", Json::Bool(segment.is_needed)),
    ])
}
