//! The words that list things: `dump`, `wchs`, `wchc`, `wchp`, `conf`, `envi`, `dirs` and `hash`.
//!
//! The Java server prints sets in hash order; here they come sorted, so that two answers can be compared.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use super::VERSION;
use super::stats::java_socket;

/// What `dump` tells.
#[derive(Clone, Debug, Default)]
pub struct DumpLines {
    /// Sessions by the wall clock ms at which they expire.
    pub sessions: BTreeMap<i64, Vec<i64>>,
    /// Ephemeral nodes by owner.
    pub ephemerals: BTreeMap<i64, Vec<String>>,
    /// Connections by the wall clock ms at which they would be dropped.
    pub connections: BTreeMap<i64, Vec<ConnectionDue>>,
}

/// A connection in `dump`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ConnectionDue {
    pub peer: SocketAddr,
    /// 0 without one.
    pub session: i64,
}

/// The answer to `dump` of a server that tracks sessions itself (`SessionTrackerImpl#dumpSessions`).
pub fn append_dump(out: &mut String, lines: &DumpLines) {
    out.push_str("SessionTracker dump:\nSession ");
    append_due(out, &lines.sessions, |session| format!("0x{session:x}"));
    let _ = writeln!(
        out,
        "ephemeral nodes dump:\nSessions with Ephemerals ({}):",
        lines.ephemerals.len()
    );
    for (session, paths) in &lines.ephemerals {
        let _ = writeln!(out, "0x{session:x}:");
        append_paths(out, paths);
    }
    out.push_str("Connections dump:\nConnections ");
    append_due(out, &lines.connections, |connection| {
        format!(
            "ip: {} sessionId: 0x{:x}",
            java_socket(&connection.peer),
            connection.session
        )
    });
}

/// `ExpiryQueue#dump`.
fn append_due<T>(out: &mut String, due: &BTreeMap<i64, Vec<T>>, show: impl Fn(&T) -> String) {
    let count: usize = due.values().map(Vec::len).sum();
    let _ = writeln!(out, "Sets ({})/({count}):", due.len());
    for (wall_ms, items) in due {
        let _ = writeln!(out, "{} expire at {}:", items.len(), java_date(*wall_ms));
        items.iter().for_each(|item| {
            let _ = writeln!(out, "\t{}", show(item));
        });
    }
}

fn append_paths(out: &mut String, paths: &[String]) {
    paths.iter().for_each(|path| {
        let _ = writeln!(out, "\t{path}");
    });
}

/// The answer to `wchs` (`WatchManager#toString`): sessions and what they watch.
pub fn append_watch_summary(out: &mut String, watches: &BTreeMap<i64, Vec<String>>) {
    let paths: std::collections::HashSet<&str> = watches.values().flatten().map(String::as_str).collect();
    let total: usize = watches.values().map(Vec::len).sum();
    let _ = writeln!(
        out,
        "{} connections watching {} paths\nTotal watches:{total}",
        watches.len(),
        paths.len()
    );
}

/// The answer to `wchc`.
pub fn append_by_session(out: &mut String, watches: &BTreeMap<i64, Vec<String>>) {
    for (session, paths) in watches {
        let _ = writeln!(out, "0x{session:x}");
        append_paths(out, paths);
    }
    out.push('\n');
}

/// The answer to `wchp`.
pub fn append_by_path(out: &mut String, watches: &BTreeMap<i64, Vec<String>>) {
    let mut by_path: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (session, paths) in watches {
        paths
            .iter()
            .for_each(|path| by_path.entry(path).or_default().push(*session));
    }
    for (path, sessions) in by_path {
        let _ = writeln!(out, "{path}");
        sessions.iter().for_each(|session| {
            let _ = writeln!(out, "\t0x{session:x}");
        });
    }
    out.push('\n');
}

/// What `conf` tells (`ZooKeeperServer#dumpConf`, `QuorumZooKeeperServer#dumpConf`).
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct ConfLines {
    /// −1 where there is none.
    pub client_port: i32,
    pub data_dir: String,
    pub data_dir_bytes: u64,
    pub log_dir: String,
    pub log_dir_bytes: u64,
    pub tick_ms: i32,
    pub max_client_cnxns: i32,
    pub session_timeout_ms: (i32, i32),
    pub backlog: i32,
    pub server_id: i64,
    /// What a server of an ensemble tells more.
    pub member: Option<ConfMember>,
}

/// The lines of a server of an ensemble.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct ConfMember {
    pub init_limit: u64,
    pub sync_limit: u64,
    /// Several are joined.
    pub election_port: String,
    pub quorum_port: String,
    /// 0 votes, 1 does not.
    pub peer_type: u8,
    /// Ends without a line feed.
    pub membership: String,
}

/// The answer to `conf`. There is no secure port yet, so it is −1.
pub fn append_conf(out: &mut String, lines: &ConfLines) {
    let (min, max) = lines.session_timeout_ms;
    let _ = write!(
        out,
        "clientPort={}\nsecureClientPort=-1\ndataDir={}\ndataDirSize={}\ndataLogDir={}\ndataLogSize={}\ntickTime={}\n\
         maxClientCnxns={}\nminSessionTimeout={min}\nmaxSessionTimeout={max}\nclientPortListenBacklog={}\nserverId={}\n",
        lines.client_port,
        lines.data_dir,
        lines.data_dir_bytes,
        lines.log_dir,
        lines.log_dir_bytes,
        lines.tick_ms,
        lines.max_client_cnxns,
        lines.backlog,
        lines.server_id,
    );
    if let Some(member) = &lines.member {
        let _ = write!(
            out,
            "initLimit={}\nsyncLimit={}\nelectionAlg=3\nelectionPort={}\nquorumPort={}\npeerType={}\nmembership: \n{}",
            member.init_limit,
            member.sync_limit,
            member.election_port,
            member.quorum_port,
            member.peer_type,
            member.membership,
        );
    }
}

/// What `envi` tells. The keys are Java's; where only a Java machine has a value it is `<NA>`, which Java prints
/// for what is not set. Empty texts print as `<NA>` too.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Environment {
    pub host_name: String,
    pub temp_dir: String,
    pub os_version: String,
    pub user_name: String,
    pub user_home: String,
    pub user_dir: String,
    /// What the system could still give this process.
    pub memory_free: u64,
    /// What this process may use at most.
    pub memory_max: u64,
    /// What it uses now.
    pub memory_total: u64,
}

/// The answer to `envi` (`Environment#list`).
pub fn append_environment(out: &mut String, environment: &Environment) {
    out.push_str("Environment:\n");
    for (key, value) in environment_entries(environment) {
        let _ = writeln!(out, "{key}={value}");
    }
}

/// Keys and values of the environment, in order.
pub fn environment_entries(environment: &Environment) -> Vec<(&'static str, String)> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        other => other,
    };
    let megabytes = |bytes: u64| format!("{}MB", bytes >> 20);
    let (free, max, total) = (
        megabytes(environment.memory_free),
        megabytes(environment.memory_max),
        megabytes(environment.memory_total),
    );
    let lines = [
        ("zookeeper.version", VERSION),
        ("host.name", &environment.host_name),
        ("java.version", ""),
        ("java.vendor", ""),
        ("java.home", ""),
        ("java.class.path", ""),
        ("java.library.path", ""),
        ("java.io.tmpdir", &environment.temp_dir),
        ("java.compiler", ""),
        ("os.name", "Linux"),
        ("os.arch", arch),
        ("os.version", &environment.os_version),
        ("user.name", &environment.user_name),
        ("user.home", &environment.user_home),
        ("user.dir", &environment.user_dir),
        ("os.memory.free", &free),
        ("os.memory.max", &max),
        ("os.memory.total", &total),
    ];
    let shown = |value: &str| if value.is_empty() { "<NA>" } else { value }.to_owned();
    lines.into_iter().map(|(key, value)| (key, shown(value))).collect()
}

/// The answer to `dirs`.
pub fn append_dirs(out: &mut String, data_dir_bytes: u64, log_dir_bytes: u64) {
    let _ = write!(out, "datadir_size: {data_dir_bytes}\nlogdir_size: {log_dir_bytes}\n");
}

/// The answer to `hash`: zxid and tree digest, oldest first.
pub fn append_digests(out: &mut String, digests: &[(i64, u64)]) {
    for (zxid, digest) in digests {
        let _ = writeln!(out, "{zxid:x}: {}", *digest as i64);
    }
}

/// `java.util.Date#toString`, in UTC: the server reads no time zone.
fn java_date(wall_ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds = wall_ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (weekday, month) = (DAYS[days.rem_euclid(7) as usize], MONTHS[month as usize - 1]);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

/// Year, month and day of a day since 1970, in the Gregorian calendar: eras of 400 years that start in March, so
/// that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + (month <= 2) as i64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(append: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        append(&mut out);
        out
    }

    #[test]
    fn dates() {
        assert_eq!(java_date(0), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(java_date(1_795_419_374_999), "Mon Nov 23 07:36:14 UTC 2026");
        assert_eq!(java_date(951_782_400_000), "Tue Feb 29 00:00:00 UTC 2000");
        assert_eq!(java_date(4_107_542_399_000), "Sun Feb 28 23:59:59 UTC 2100");
        assert_eq!(java_date(4_107_542_400_000), "Mon Mar 01 00:00:00 UTC 2100");
    }

    #[test]
    fn dump() {
        let peer = "127.0.0.1:1234".parse().unwrap();
        let lines = DumpLines {
            sessions: BTreeMap::from([(0, vec![0x10]), (2000, vec![-1, 0x11])]),
            ephemerals: BTreeMap::from([(0x10, vec!["/a".into(), "/b".into()])]),
            connections: BTreeMap::from([(10_000, vec![ConnectionDue { peer, session: 0 }])]),
        };
        assert_eq!(
            said(|out| append_dump(out, &lines)),
            "SessionTracker dump:\nSession Sets (2)/(3):\n1 expire at Thu Jan 01 00:00:00 UTC 1970:\n\t0x10\n\
             2 expire at Thu Jan 01 00:00:02 UTC 1970:\n\t0xffffffffffffffff\n\t0x11\n\
             ephemeral nodes dump:\nSessions with Ephemerals (1):\n0x10:\n\t/a\n\t/b\n\
             Connections dump:\nConnections Sets (1)/(1):\n1 expire at Thu Jan 01 00:00:10 UTC 1970:\n\
             \tip: /127.0.0.1:1234 sessionId: 0x0\n"
        );
        assert_eq!(
            said(|out| append_dump(out, &DumpLines::default())),
            "SessionTracker dump:\nSession Sets (0)/(0):\nephemeral nodes dump:\nSessions with Ephemerals (0):\n\
             Connections dump:\nConnections Sets (0)/(0):\n"
        );
    }

    #[test]
    fn watches() {
        let watches = BTreeMap::from([(0x1a, vec!["/a".to_owned(), "/b".into()]), (0x2b, vec!["/a".into()])]);
        assert_eq!(
            said(|out| append_watch_summary(out, &watches)),
            "2 connections watching 2 paths\nTotal watches:3\n"
        );
        assert_eq!(
            said(|out| append_by_session(out, &watches)),
            "0x1a\n\t/a\n\t/b\n0x2b\n\t/a\n\n"
        );
        assert_eq!(
            said(|out| append_by_path(out, &watches)),
            "/a\n\t0x1a\n\t0x2b\n/b\n\t0x1a\n\n"
        );
        let none = BTreeMap::new();
        assert_eq!(
            said(|out| append_watch_summary(out, &none)),
            "0 connections watching 0 paths\nTotal watches:0\n"
        );
        assert_eq!(said(|out| append_by_session(out, &none)), "\n");
        assert_eq!(said(|out| append_by_path(out, &none)), "\n");
    }

    #[test]
    fn conf() {
        let lines = ConfLines {
            client_port: 2181,
            data_dir: "/d/version-2".into(),
            data_dir_bytes: 1,
            log_dir: "/l/version-2".into(),
            log_dir_bytes: 2,
            tick_ms: 2000,
            max_client_cnxns: 60,
            session_timeout_ms: (4000, 40_000),
            backlog: -1,
            server_id: 0,
            member: None,
        };
        assert_eq!(
            said(|out| append_conf(out, &lines)),
            "clientPort=2181\nsecureClientPort=-1\ndataDir=/d/version-2\ndataDirSize=1\ndataLogDir=/l/version-2\n\
             dataLogSize=2\ntickTime=2000\nmaxClientCnxns=60\nminSessionTimeout=4000\nmaxSessionTimeout=40000\n\
             clientPortListenBacklog=-1\nserverId=0\n"
        );
    }

    #[test]
    fn envi() {
        let environment = Environment {
            host_name: "h".into(),
            temp_dir: "/tmp".into(),
            os_version: "6.1".into(),
            user_name: "u".into(),
            user_home: "/home/u".into(),
            user_dir: "/".into(),
            memory_free: 3 << 20,
            memory_max: (5 << 20) - 1,
            memory_total: 1 << 20,
        };
        let text = said(|out| append_environment(out, &environment));
        let expected = format!(
            "Environment:\nzookeeper.version={VERSION}\nhost.name=h\njava.version=<NA>\njava.vendor=<NA>\njava.home=<NA>\n\
             java.class.path=<NA>\njava.library.path=<NA>\njava.io.tmpdir=/tmp\njava.compiler=<NA>\nos.name=Linux\nos.arch="
        );
        assert!(text.starts_with(&expected), "{text}");
        let end = "\nos.version=6.1\nuser.name=u\nuser.home=/home/u\nuser.dir=/\nos.memory.free=3MB\nos.memory.max=4MB\n\
                   os.memory.total=1MB\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn dirs_and_hash() {
        assert_eq!(said(|out| append_dirs(out, 7, 8)), "datadir_size: 7\nlogdir_size: 8\n");
        assert_eq!(
            said(|out| append_digests(out, &[(0x80, 5), (0x100, u64::MAX)])),
            "80: 5\n100: -1\n"
        );
        assert_eq!(said(|out| append_digests(out, &[])), "");
    }
}
