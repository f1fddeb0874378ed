//! Configuration, from the outside: every key of ZooKeeper 3.9.5 has a fate, every bad value a message, and what
//! `conf/` holds can be loaded. The names are the test's own list, so that no key can fall out of the table unseen.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use ringkeeper::io::Engine;
use ringkeeper::server::config::keys::{self, Fate, Mark, Set};
use ringkeeper::server::config::{self, Config, Flags, Level, Refusal};

/// Name, weight (m must, s should, j about the JVM).
const NAMES: &str = include_str!("config/keys.txt");

fn names() -> Vec<(char, &'static str)> {
    let lines = NAMES.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').expect("weight and name"))
        .map(|(weight, name)| (weight.chars().next().unwrap(), name))
        .collect()
}

fn ring() -> std::io::Result<()> {
    Ok(())
}

fn no_ring() -> std::io::Result<()> {
    Err(std::io::Error::from_raw_os_error(1))
}

fn load_with(text: &str, flags: &[(&'static str, &str)]) -> Result<Config, Refusal> {
    let flags: Vec<Flags> = flags
        .iter()
        .map(|(variable, text)| (*variable, text.to_string()))
        .collect();
    config::from_bytes("zoo.cfg", text.as_bytes(), &flags, ring)
}

/// The text after two lines that a configuration must have.
fn load(text: &str) -> Result<Config, Refusal> {
    load_with(&format!("{BASE}{text}"), &[])
}

const BASE: &str = "dataDir=/nowhere\nclientPort=2181\n";

fn loaded(text: &str) -> Config {
    load(text).unwrap_or_else(|refusal| panic!("{text:?}: {refusal}"))
}

fn warnings(config: &Config) -> Vec<&str> {
    let told = config.notes.told.iter();
    told.filter(|(level, _)| *level == Level::Warn)
        .map(|(_, text)| text.as_str())
        .collect()
}

fn infos(config: &Config) -> Vec<&str> {
    let told = config.notes.told.iter();
    told.filter(|(level, _)| *level == Level::Info)
        .map(|(_, text)| text.as_str())
        .collect()
}

/// Asserts that the text is refused with exactly these problems.
#[track_caller]
fn check(text: &str, expect: &[&str]) {
    match load(text) {
        Ok(_) => panic!("{text:?} was loaded"),
        Err(refusal) => assert_eq!(refusal.problems, expect, "{text:?}"),
    }
}

#[test]
fn every_key_of_zookeeper_is_in_the_table_once() {
    let names = names();
    assert_eq!(names.len(), 254);
    let listed: BTreeSet<_> = names.iter().map(|(_, name)| *name).collect();
    let table: BTreeSet<_> = keys::zookeeper().map(|key| key.name).collect();
    assert_eq!(listed, table);
    assert_eq!(keys::zookeeper().count(), 254, "no name twice");
}

#[test]
fn every_key_has_the_fate_its_weight_asks_for() {
    for (weight, name) in names() {
        let key = keys::zookeeper().find(|key| key.name == name).expect(name);
        let mark = match weight {
            'm' => Mark::Must,
            's' => Mark::Should,
            _ => Mark::Internal,
        };
        assert_eq!(key.mark, mark, "{name}");
        match (key.mark, key.fate) {
            (Mark::Must, Fate::Ignored(_)) => panic!("{name} is only warned about"),
            (Mark::Must | Mark::Should, fate) => assert_ne!(fate, Fate::Jvm, "{name}"),
            (Mark::Internal, fate) => assert_eq!(fate, Fate::Jvm, "{name}"),
        }
    }
}

#[test]
fn every_default_is_a_value_of_its_kind() {
    for key in keys::all().filter(|key| !key.default.is_empty()) {
        assert_eq!(key.kind.check(key.default), Ok(()), "{}", key.name);
    }
}

/// A value that asks for something, whatever the key.
fn other_value(key: &keys::Key) -> &'static str {
    use keys::Kind::*;
    if key.name == "group.X" {
        return "1:2:3";
    }
    match key.kind {
        Int(min, max) => ["7", "2181", "3", "-1"]
            .into_iter()
            .find(|text| !key.is_default(text) && (min..=max).contains(&text.parse().unwrap()))
            .unwrap_or("3"),
        Real => "0.7",
        Bool => {
            if key.is_default("true") {
                "false"
            } else {
                "true"
            }
        }
        YesNo => {
            if key.is_default("yes") {
                "no"
            } else {
                "yes"
            }
        }
        Word(words) => words
            .iter()
            .find(|word| !word.is_empty() && !key.is_default(word))
            .unwrap_or(&words[0]),
        Path => "/nowhere/at/all",
        Host => "127.0.0.1",
        Hex => "a",
        Text | Secret => "something",
    }
}

fn member_name(key: &keys::Key) -> String {
    match key.name {
        "server.N" | "group.X" | "weight.N" | "authProvider.N" => key.name.replace(['N', 'X'], "1"),
        name => name.replace('*', "dir"),
    }
}

/// Writes each key where it may be written, with a value that asks for something, and looks what is said about it.
#[test]
fn each_key_does_what_its_fate_says() {
    for key in keys::all() {
        let (name, value) = (member_name(key), other_value(key));
        let result = match key.set {
            Set::Raw => load_with(BASE, &[("JVMFLAGS", &format!("-D{name}={value}"))]),
            _ => load(&format!("{name}={value}")),
        };
        let about = |texts: &[String]| texts.iter().any(|text| text.contains(&name));
        match (key.fate, result) {
            (Fate::Refused(why), Err(refusal)) => {
                let told = refusal
                    .problems
                    .iter()
                    .any(|text| text.contains(&name) && text.contains(why));
                assert!(told, "{name}: {refusal}");
            }
            (Fate::Refused(_), Ok(_)) => panic!("{name}={value} was not refused"),
            (Fate::Ignored(why), Ok(config)) => {
                assert!(
                    warnings(&config)
                        .iter()
                        .any(|text| text.contains(&name) && text.contains(why)),
                    "{name}"
                );
            }
            (Fate::Jvm, Ok(config)) => {
                assert_eq!(
                    infos(&config).iter().filter(|text| text.contains(&name)).count(),
                    1,
                    "{name}"
                );
                assert_eq!(warnings(&config), [""; 0], "{name}");
            }
            (Fate::Idle(_), Ok(config)) => assert_eq!(warnings(&config), [""; 0], "{name}"),
            // Keys that are checked against others or the file system speak for themselves.
            (Fate::Acts, Err(refusal)) => assert!(about(&refusal.problems), "{name}: {refusal}"),
            (Fate::Acts, Ok(_)) => {}
            (fate, Err(refusal)) => panic!("{name}, {fate:?}: {refusal}"),
        }
    }
}

/// The default of every key is accepted without a word, however little is built.
#[test]
fn defaults_written_out_change_nothing() {
    let quiet = |key: &&keys::Key| key.set != Set::Raw && !key.default.is_empty() && key.fate != Fate::Jvm;
    for key in keys::all()
        .filter(quiet)
        .filter(|key| key.name != "autopurge.purgeInterval")
    {
        let default = if key.name == "admin.enableServer" {
            "false"
        } else {
            key.default
        };
        let config = loaded(&format!("{}={default}", member_name(key)));
        assert_eq!(warnings(&config), [""; 0], "{}", key.name);
    }
}

#[test]
fn bad_values_name_file_line_key_value_and_what_is_allowed() {
    check(
        "tickTime=soon",
        &["zoo.cfg, line 3: tickTime=soon is not allowed; allowed is a whole number from 1 to 2147483647"],
    );
    check(
        "\n\ntickTime : 0",
        &["zoo.cfg, line 5: tickTime=0 is not allowed; allowed is a whole number from 1 to 2147483647"],
    );
    check(
        "localSessionsEnabled=yes",
        &["zoo.cfg, line 3: localSessionsEnabled=yes is not allowed; allowed is true or false"],
    );
    check(
        "forceSync=NO",
        &["zoo.cfg, line 3: forceSync=NO is not allowed; allowed is yes or no, in lower case"],
    );
    check(
        "electionAlg=0",
        &["zoo.cfg, line 3: electionAlg=0 is not allowed; allowed is only 3"],
    );
    check(
        "peerType=voter",
        &["zoo.cfg, line 3: peerType=voter is not allowed; allowed is one of participant, observer"],
    );
    check(
        "ringkeeper.engine=iocp",
        &["zoo.cfg, line 3: ringkeeper.engine=iocp is not allowed; allowed is one of auto, io_uring, epoll"],
    );
    check(
        "snapSizeLimitInKb=0",
        &[
            "zoo.cfg, line 3: snapSizeLimitInKb=0: is not allowed; allowed is a number of KB, or a negative one for no limit",
        ],
    );
    check(
        "version=xyz",
        &["zoo.cfg, line 3: version=xyz is not allowed; allowed is a number in hexadecimal digits"],
    );
    check(
        "a=\\u12",
        &[
            "zoo.cfg, line 3: \\u must be followed by four hexadecimal digits",
            "zoo.cfg: dataDir is not set",
            "zoo.cfg: clientPort is not set, so no client could connect",
        ],
    );
    check(
        "ringkeeper.color=1",
        &[
            "zoo.cfg, line 3: there is no key ringkeeper.color; there are ringkeeper.engine, ringkeeper.cores, ringkeeper.pinCores, ringkeeper.segmentMegabytes, ringkeeper.lowWaterMegabytes, ringkeeper.snapshotBytesPerSecond, ringkeeper.purge, ringkeeper.retainHours, ringkeeper.retainMegabytes, ringkeeper.log",
        ],
    );
    check(
        "clientPort=65536\nmaxClientCnxns=many",
        &[
            "zoo.cfg, line 3: clientPort=65536 is not allowed; allowed is a whole number from 0 to 65535",
            "zoo.cfg, line 4: maxClientCnxns=many is not allowed; allowed is a whole number from -2147483648 to 2147483647",
        ],
    );
}

#[test]
fn keys_that_do_not_go_together() {
    check(
        "minSessionTimeout=9000\nmaxSessionTimeout=8000",
        &[
            "zoo.cfg, line 3: minSessionTimeout=9000: minSessionTimeout must not be larger than maxSessionTimeout, but 9000 > 8000",
        ],
    );
    check(
        "enforce.auth.enabled=true",
        &["zoo.cfg, line 3: enforce.auth.enabled=true: enforce.auth.schemes must be set too"],
    );
    check(
        "enforce.auth.enabled=true\nenforce.auth.schemes=ip, sasl",
        &[
            "zoo.cfg, line 4: enforce.auth.schemes=ip, sasl: the scheme sasl is not available; allowed is a list of ip and digest",
        ],
    );
    check(
        "standaloneEnabled=false",
        &[
            "zoo.cfg, line 3: standaloneEnabled=false: standaloneEnabled=false asks for an ensemble, but no server.N is a participant",
        ],
    );
    check(
        "server.1=a:1:2:observer",
        &["zoo.cfg: observers need a quorum of participants"],
    );
    check(
        "server.1=a:1:2\nserver.2=b:1:2:observer",
        &["zoo.cfg: observers need a quorum of participants"],
    );
    check(
        "server.1=a:1:1",
        &["zoo.cfg, line 3: server.1=a:1:1: the quorum port and the election port must differ"],
    );
    check(
        "server.1=a:1",
        &[
            "zoo.cfg, line 3: server.1=a:1: allowed is host:port:electionPort[:participant|observer][;[clientHost:]clientPort]",
        ],
    );
    check(
        "server.one=a:1:2",
        &["zoo.cfg, line 3: server.one=a:1:2: what stands after server. must be a whole number"],
    );
    check(
        "server.1=a:1:2|b:1:2",
        &["zoo.cfg, line 3: server.1=a:1:2|b:1:2: several addresses need multiAddress.enabled=true"],
    );
    let without = |text: &str| load_with(text, &[]).err().expect("refused").problems;
    assert_eq!(
        without(""),
        [
            "zoo.cfg: dataDir is not set",
            "zoo.cfg: clientPort is not set, so no client could connect"
        ]
    );
    assert_eq!(
        without("dataDir=/d\nclientPortAddress=::1"),
        ["zoo.cfg, line 2: clientPortAddress=::1: clientPort is not set"]
    );
}

#[test]
fn classes_that_are_not_built_in_are_refused_and_a_secret_is_never_shown() {
    for text in [
        "serverCnxnFactory=com.example.Factory",
        "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
        "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
        "metricsProvider.className=com.example.Metrics",
    ] {
        let problems = load(text).err().unwrap_or_else(|| panic!("{text}")).problems;
        assert!(
            problems.len() == 1 && problems[0].starts_with(&format!("zoo.cfg, line 3: {text}: ")),
            "{problems:?}"
        );
    }
    check(
        "ssl.keyStore.password=hunter2",
        &[
            "zoo.cfg, line 3: ssl.keyStore.password=(not shown): TLS is not built yet, and a plaintext server must not look like an encrypted one",
        ],
    );
    loaded(
        "authProvider.7=org.apache.zookeeper.server.auth.DigestAuthenticationProvider\nserverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
    );
}

#[test]
fn names_that_are_no_keys_are_warnings() {
    for (text, part) in [
        (
            "tickTme=1",
            "zoo.cfg, line 3: tickTme is no key of ZooKeeper 3.9.5; did you mean tickTime?",
        ),
        ("requestThrottleLimit=1", "did you mean request_throttle_max_requests?"),
        (
            "zookeeper.snapCount=5",
            "zookeeper.snapCount has no effect, as in ZooKeeper; in this file it is written snapCount",
        ),
        (
            "jute.maxbuffer=9",
            "jute.maxbuffer has no effect in this file, as in ZooKeeper; set it with SERVER_JVMFLAGS=-Djute.maxbuffer=...",
        ),
        ("a.b.c.d=9", "a.b.c.d is no key of ZooKeeper 3.9.5 and has no effect"),
        (
            "tickTime=1\ntickTime=2",
            "zoo.cfg, line 4: tickTime is written again; line 3 no longer counts",
        ),
        (
            "dataDir=data",
            "zoo.cfg, line 3: dataDir=data: is below the directory the server is started in; write ./data",
        ),
        ("dataDir=~/zk", "nothing is expanded, as in ZooKeeper"),
        (
            "autopurge.purgeInterval=0",
            "nothing is ever removed, so the disk will fill up",
        ),
        (
            "autopurge.snapRetainCount=1",
            "at least 3 snapshots are kept, as in ZooKeeper",
        ),
        ("snapCount=1", "is taken as 2, as in ZooKeeper"),
    ] {
        let config = loaded(text);
        assert!(
            warnings(&config).iter().any(|warning| warning.contains(part)),
            "{text}: {:?}",
            warnings(&config)
        );
    }
    let old = loaded("requireClientAuthScheme=sasl\njaasLoginRenew=3600000");
    assert_eq!(warnings(&old), [""; 0]);
}

#[test]
fn what_is_about_java_is_noted_in_one_line() {
    let text = format!("{BASE}nio.numWorkerThreads=4\ncommitProcessor.numWorkerThreads=2\njvm.pause.monitor=true");
    let config = load_with(
        &text,
        &[("SERVER_JVMFLAGS", "-Xmx1g -XX:+UseG1GC -Dcom.sun.management.jmxremote")],
    )
    .unwrap();
    let notes: Vec<_> = infos(&config)
        .into_iter()
        .filter(|text| text.contains("JVM"))
        .map(str::to_owned)
        .collect();
    assert_eq!(
        notes,
        [
            "these are about the JVM or ZooKeeper's insides and have no meaning here: -Xmx1g, -XX:+UseG1GC, \
        -Dcom.sun.management.jmxremote, commitProcessor.numWorkerThreads, jvm.pause.monitor, nio.numWorkerThreads"
        ]
    );
    assert_eq!(warnings(&config), [""; 0]);
}

#[test]
fn what_the_server_is_told() {
    let all = "tickTime=1000\nmaxSessionTimeout=50000\nclientPortAddress=127.0.0.1\ndataLogDir=/log\nmaxClientCnxns=0\n\
               maxCnxns=7\nsnapCount=10\nsnapSizeLimitInKb=8\nforceSync=no\nfsync.warningthresholdms=5\n\
               extendedTypesEnabled=TRUE\nenforceQuota=true\nskipACL=yes\nglobalOutstandingLimit=9\nmaxBatchSize=3\n\
               nio.sessionlessCnxnTimeout=77\n4lw.commands.whitelist=ruok, stat\nclientPortListenBacklog=12\n\
               clientTcpKeepAlive=true\ndigest.enabled=false\nreconfigEnabled=true\npreAllocSize=2048\n\
               DigestAuthenticationProvider.superDigest=super:x\nringkeeper.cores=3\nringkeeper.pinCores=true\nringkeeper.engine=epoll\n\
               ringkeeper.lowWaterMegabytes=7\nringkeeper.snapshotBytesPerSecond=1000\nenforce.auth.enabled=true\nenforce.auth.schemes=digest , ip\n";
    let options = loaded(all).options;
    assert_eq!(options.listen.to_string(), "127.0.0.1:2181");
    assert_eq!(
        (options.data_dir.as_path(), options.log_dir.as_path()),
        (Path::new("/nowhere"), Path::new("/log"))
    );
    assert_eq!(options.session_timeout_ms, (2000, 50000));
    assert_eq!(
        (options.per_ip_max, options.connections_max, options.outstanding_max),
        (0, 7, 9)
    );
    assert_eq!(
        (options.snap_count, options.snap_bytes, options.snap_rate),
        (10, Some(8192), Some(1000))
    );
    assert_eq!(
        (options.force_sync, options.sync_warning_ms, options.batch_max),
        (false, 5, 3)
    );
    assert_eq!(
        (options.segment_bytes, options.low_water, options.sessionless_ms),
        (2 << 20, 7 << 20, 77)
    );
    assert_eq!(
        (options.backlog, options.shown.backlog, options.keep_alive),
        (12, 12, true)
    );
    assert_eq!(
        (options.cores, options.pin_cores, options.engine),
        (3, true, Engine::Epoll)
    );
    assert_eq!(options.words.as_deref(), Some("ruok, stat"));
    assert_eq!(options.required_schemes, ["digest", "ip"]);
    assert!(options.features.extended_types && !options.features.digest);
    assert!(options.features.policy.skip_acl && options.features.policy.super_digest.as_deref() == Some("super:x"));
    assert!(options.desk.enforce_quota && options.desk.reconfig_enabled);
    assert_eq!(options.desk.tick_ms, 1000);
}

#[test]
fn what_the_server_is_told_by_default() {
    let options = loaded("").options;
    assert!(options.listen.ip().is_unspecified());
    assert_eq!(options.log_dir, options.data_dir);
    assert_eq!(options.session_timeout_ms, (6000, 60000));
    assert_eq!(
        (options.per_ip_max, options.connections_max, options.outstanding_max),
        (60, 0, 1000)
    );
    assert_eq!(
        (options.snap_count, options.snap_bytes, options.snap_rate),
        (100_000, Some(4 << 30), Some(64 << 20))
    );
    assert_eq!(
        (options.force_sync, options.sync_warning_ms, options.batch_max),
        (true, 1000, 1000)
    );
    assert_eq!(
        (options.segment_bytes, options.frame_bytes_max, options.sessionless_ms),
        (64 << 20, 0xF_FFFF, 10_000)
    );
    assert_eq!(options.purge_every, Some(Duration::from_secs(3600)));
    assert_eq!(
        (options.retain_snapshots, options.retain_age_s, options.retain_bytes),
        (3, None, None)
    );
    assert_eq!(
        (options.backlog, options.shown.backlog, options.shown.max_client_cnxns),
        (50, -1, 60)
    );
    assert_eq!((options.words, options.required_schemes.len()), (None, 0));
    assert!(options.features.digest && !options.features.extended_types && !options.features.policy.skip_acl);
    assert_eq!(
        (options.desk.reap.interval_ms, options.desk.reap.per_minute_max),
        (60_000, 10_000)
    );
}

#[test]
fn purging_is_on_unless_somebody_said_no() {
    for (text, on) in [
        ("", true),
        ("autopurge.purgeInterval=1", true),
        ("autopurge.purgeInterval=0", false),
        ("autopurge.purgeInterval=-1", false),
        ("autopurge.purgeInterval=0\nringkeeper.purge=true", true),
        ("ringkeeper.purge=false", false),
        ("autopurge.purgeInterval=1\nringkeeper.purge=false", false),
    ] {
        assert_eq!(loaded(text).options.purge_every.is_some(), on, "{text}");
    }
    let options =
        loaded("autopurge.purgeInterval=24\nringkeeper.retainHours=72\nringkeeper.retainMegabytes=1000").options;
    assert_eq!(options.purge_every, Some(Duration::from_secs(24 * 3600)));
    assert_eq!(
        (options.retain_age_s, options.retain_bytes),
        (Some(72 * 3600), Some(1000 << 20))
    );
}

#[test]
fn flags_set_properties_and_the_file_wins() {
    let flags = [
        (
            "SERVER_JVMFLAGS",
            "-Djute.maxbuffer=0x200000 -Dzookeeper.snapCount=7 -Dzookeeper.maxCnxns=3",
        ),
        ("JVMFLAGS", "-Dzookeeper.maxCnxns=4"),
    ];
    let options = load_with(&format!("{BASE}snapCount=9"), &flags).unwrap().options;
    assert_eq!(
        (options.frame_bytes_max, options.snap_count, options.connections_max),
        (0x20_0000, 9, 4)
    );
    let bad = load_with(BASE, &[("JVMFLAGS", "-Djute.maxbuffer=big")])
        .err()
        .expect("refused");
    assert_eq!(
        bad.problems,
        ["JVMFLAGS: jute.maxbuffer=big is not allowed; allowed is a whole number from 1024 to 1073741824"]
    );
    let idle = load_with(BASE, &[("JVMFLAGS", "-Dzookeeper.clientPort=1 -Dzookeeper.snapCont=5")]).unwrap();
    assert_eq!(
        warnings(&idle),
        [
            "JVMFLAGS: -Dzookeeper.clientPort has no effect, as in ZooKeeper; write clientPort in the file",
            "JVMFLAGS: -Dzookeeper.snapCont is no property of ZooKeeper 3.9.5; did you mean that of snapCount?",
        ]
    );
}

#[test]
fn the_engine_is_the_one_that_can_be_had() {
    let with = |text: &str, probe| config::from_bytes("zoo.cfg", format!("{BASE}{text}").as_bytes(), &[], probe);
    assert_eq!(with("", ring).unwrap().options.engine, Engine::Uring);
    assert_eq!(
        with("ringkeeper.engine=io_uring", ring).unwrap().options.engine,
        Engine::Uring
    );
    let fallen = with("ringkeeper.engine=auto", no_ring).unwrap();
    assert_eq!(fallen.options.engine, Engine::Epoll);
    assert!(fallen.engine.refused.expect("told why").contains("not permitted"));
    assert_eq!(with("ringkeeper.engine=epoll", no_ring).unwrap().engine.refused, None);
    let refused = with("ringkeeper.engine=io_uring", no_ring)
        .err()
        .expect("refused")
        .problems;
    assert_eq!(refused.len(), 1);
    assert!(refused[0].starts_with("zoo.cfg, line 3: ringkeeper.engine=io_uring: the kernel refuses io_uring ("));
}

#[test]
fn several_server_lines_are_an_ensemble() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display().to_string();
    let base = format!("dataDir={data}\nclientPort=2181\n");
    let three = "server.1=a:2888:3888\nserver.2=b:2888:3888;2181\nserver.3=::1:1:2\n".replace("::1", "[::1]");
    let limits = "initLimit=10\nsyncLimit=5\n";
    let problems = |text: &str| load_with(text, &[]).err().expect("refused").problems;
    let refused = problems(&format!("{base}{three}"));
    assert_eq!(
        refused[0],
        "zoo.cfg: initLimit is not set, and a server of an ensemble needs it"
    );
    assert_eq!(
        refused[1],
        "zoo.cfg: syncLimit is not set, and a server of an ensemble needs it"
    );
    let advice = format!("If it is server 1: mkdir -p {data} && echo 1 > {data}/myid   (the numbers here are 1, 2, 3)");
    assert!(refused[2].ends_with(&advice), "{}", refused[2]);
    let myid = |text: &str| std::fs::write(dir.path().join("myid"), text).unwrap();
    myid("7\n");
    let refused = problems(&format!("{base}{limits}{three}"));
    assert!(
        refused[0].starts_with("zoo.cfg: My id 7 not in the peer list"),
        "{refused:?}"
    );
    myid("256\n");
    let refused = problems(&format!("{base}{limits}{three}"));
    assert!(refused[0].ends_with("line 1: 256 is outside 1..255"), "{refused:?}");
    // The largest number, but where it is the first byte of TTL nodes' owners.
    myid("255\n");
    let largest = format!("{base}{limits}{}", three.replace("server.3", "server.255"));
    let options = load_with(&largest, &[])
        .unwrap_or_else(|refusal| panic!("{refusal}"))
        .options;
    assert_eq!(options.desk.server_id, 255);
    let refused = problems(&format!("{largest}extendedTypesEnabled=true\n"));
    assert!(refused[0].ends_with("line 1: 255 is outside 1..254"), "{refused:?}");
    myid("0\n");
    let refused = problems(&format!("{base}{limits}{three}"));
    assert!(refused[0].ends_with("line 1: 0 is outside 1..255"), "{refused:?}");
    myid("2\n");
    let of = |text: &str| {
        let config = load_with(&format!("{base}{limits}{text}"), &[]);
        config.unwrap_or_else(|refusal| panic!("{refusal}")).options
    };
    let options = of(&three);
    assert_eq!((options.shown.server_id, options.desk.server_id), (2, 2));
    let ensemble = options.ensemble.expect("an ensemble");
    assert_eq!(
        ensemble.config_text,
        "server.1=a:2888:3888:participant\nserver.2=b:2888:3888:participant;0.0.0.0:2181\n\
         server.3=[::1]:1:2:participant\nversion=0"
    );
    assert_eq!(
        (ensemble.init_limit, ensemble.sync_limit, ensemble.connect_ms),
        (10, 5, 5000)
    );
    assert!(ensemble.leader_serves && !ensemble.everywhere && ensemble.bind_retries == 3);
    let ensemble = of(&format!("{three}quorumListenOnAllIPs=true\nelectionPortBindRetry=7\n"));
    let ensemble = ensemble.ensemble.expect("an ensemble");
    assert!(ensemble.everywhere && ensemble.bind_retries == 7);
    // Weights and groups, and an observer.
    let groups = "group.1=1:2\ngroup.2=3\nweight.1=0\nserver.4=d:1:2:observer\nleaderServes=no\ncnxTimeout=7\n";
    let ensemble = of(&format!("{three}{groups}")).ensemble.expect("an ensemble");
    assert!(!ensemble.leader_serves && ensemble.connect_ms == 7);
    assert!(!ensemble.quorum.is_voter(ringkeeper::base::ServerId(4)));
    assert!(!ensemble.quorum.is_eligible(ringkeeper::base::ServerId(1)));
    assert!(
        ensemble
            .config_text
            .contains("\ngroup.1=1:2\ngroup.2=3\nweight.1=0\nversion=0")
    );
    let refused = problems(&format!("{base}{limits}{three}group.1=1:2\n"));
    assert_eq!(refused, ["zoo.cfg: Server 3 is not in a group"]);
    let refused = problems(&format!("{base}{limits}{three}electionAlg=1\n"));
    assert!(refused[0].contains("electionAlg=1"), "{refused:?}");
    // The name of a dynamic file ends with the membership's version.
    let dynamic = dir.path().join("zoo.cfg.dynamic.1a");
    std::fs::write(&dynamic, &three).unwrap();
    let ensemble = of(&format!("dynamicConfigFile={}\n", dynamic.display()))
        .ensemble
        .expect("an ensemble");
    assert!(ensemble.config_version == 0x1a && ensemble.config_text.ends_with("version=1a"));
    // One alone, if it is to be an ensemble.
    let one = "server.2=b:2888:3888;2181\n";
    assert!(of(one).ensemble.is_none());
    assert!(of(&format!("{one}standaloneEnabled=false\n")).ensemble.is_some());
}

#[test]
fn one_server_line_is_a_standalone_server_on_its_port() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display().to_string();
    std::fs::write(dir.path().join("myid"), "5\n").unwrap();
    let text = format!("dataDir={data}\nserver.5=localhost:2888:3888:participant;127.0.0.1:2199");
    assert_eq!(
        load_with(&text, &[]).unwrap().options.listen.to_string(),
        "127.0.0.1:2199"
    );
    let conflict = load_with(&format!("{text}\nclientPort=2181"), &[])
        .err()
        .expect("refused")
        .problems;
    assert_eq!(
        conflict,
        ["zoo.cfg, line 3: clientPort=2181: this server's server.N line says 127.0.0.1:2199; the two must agree"]
    );

    let dynamic = dir.path().join("zoo.cfg.dynamic.100000000");
    std::fs::write(&dynamic, "server.5=localhost:2888:3888;2198\n").unwrap();
    let text = format!("dataDir={data}\ndynamicConfigFile={}\n", dynamic.display());
    assert_eq!(
        load_with(&text, &[]).unwrap().options.listen.to_string(),
        "0.0.0.0:2198"
    );
    let both = load_with(&format!("{text}weight.5=1"), &[])
        .err()
        .expect("refused")
        .problems;
    assert_eq!(
        both,
        ["zoo.cfg, line 3: weight.5 must be in the file that dynamicConfigFile names, and only there"]
    );
    std::fs::write(&dynamic, "server.5=localhost:2888:3888;2198\nversion=1\ntickTime=3").unwrap();
    let at = dynamic.display();
    assert_eq!(
        load_with(&text, &[]).err().expect("refused").problems,
        [
            format!("{at}, line 2: version must not be in this file: its name ends with it"),
            format!("{at}, line 3: tickTime is none of server.N, group.X and weight.N"),
        ]
    );

    std::fs::write(dir.path().join("myid"), "five").unwrap();
    let bad = load_with(&format!("dataDir={data}\nclientPort=1"), &[])
        .err()
        .expect("refused")
        .problems;
    assert_eq!(bad, [format!("{data}/myid, line 1: \"five\" is not a number")]);
}

fn sample() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/zoo_sample.cfg")).unwrap()
}

/// `#key=value` without a space is an example; `# text` is prose.
fn uncommented(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with([' ', '#']) => rest.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_loads_without_a_warning_as_it_is_and_uncommented() {
    for text in [sample(), uncommented(&sample())] {
        let config = load_with(&text, &[]).unwrap_or_else(|refusal| panic!("{refusal}"));
        assert_eq!(warnings(&config), [""; 0]);
    }
}

/// What is commented out is what happens anyway, but for the examples that have no default to show.
#[test]
fn the_sample_shows_the_defaults() {
    let no_default = [
        "dataLogDir",
        "clientPortAddress",
        "serverCnxnFactory",
        "autopurge.purgeInterval",
        "DigestAuthenticationProvider.superDigest",
        "authProvider.1",
        "enforce.auth.schemes",
        "4lw.commands.whitelist",
        "metricsProvider.className",
        "server.1",
    ];
    for line in sample()
        .lines()
        .filter(|line| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1)
    {
        let (name, value) = line[1..].split_once('=').unwrap_or_else(|| panic!("{line}"));
        let key = keys::in_file(name).unwrap_or_else(|| panic!("{line}"));
        assert!(
            key.is_default(value) || no_default.contains(&name),
            "{line}: the default is {}",
            key.default
        );
    }
}

#[test]
fn the_sample_has_every_key_that_acts() {
    let text = sample();
    for key in keys::all().filter(|key| key.fate == Fate::Acts && key.name != "version") {
        let name = member_name(key);
        let shown = text.contains(&format!("\n{name}=")) || text.contains(&format!("\n#{name}="));
        let told = key.set == Set::Raw && text.contains(&format!("#   {name} "));
        assert!(
            shown || told || name == "dynamicConfigFile",
            "{name} is not in conf/zoo_sample.cfg"
        );
    }
}

#[test]
fn what_is_built_in_loads_without_a_warning() {
    let config = config::from_bytes(config::EMBEDDED_NAME, config::EMBEDDED.as_bytes(), &[], ring).unwrap();
    assert_eq!(warnings(&config), [""; 0]);
    assert_eq!(config.options.data_dir, Path::new("./ringkeeper-data"));
    assert_eq!(config.options.listen.port(), 2181);
}

/// The file ZooKeeper ships and the one Kafka ships must start here.
#[test]
fn files_that_people_have() {
    let shipped = "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/tmp/zookeeper\nclientPort=2181\n";
    assert_eq!(warnings(&load_with(shipped, &[]).unwrap()), [""; 0]);
    let kafka = "dataDir=/tmp/zookeeper\nclientPort=2181\nmaxClientCnxns=0\nadmin.enableServer=false\n";
    let config = load_with(kafka, &[]).unwrap();
    assert_eq!(warnings(&config), [""; 0]);
    assert!(config.options.admin.is_none());
    let docker = "dataDir=/data\ndataLogDir=/datalog\ntickTime=2000\ninitLimit=5\nsyncLimit=2\n\
                  autopurge.snapRetainCount=3\nautopurge.purgeInterval=0\nmaxClientCnxns=60\nstandaloneEnabled=true\n\
                  admin.enableServer=true\nserver.1=localhost:2888:3888;2181\n";
    // Its image writes dataDir/myid, from which the client port follows; here the port is named instead.
    let config = load_with(&format!("{docker}clientPort=2181\n"), &[]).unwrap();
    let told = warnings(&config);
    assert!(
        told.len() == 1 && told[0].contains("autopurge.purgeInterval=0"),
        "{told:?}"
    );
    let admin = config.options.admin.expect("it is asked for");
    assert_eq!(
        (admin.listen.to_string().as_str(), admin.url.as_str()),
        ("0.0.0.0:8080", "/commands")
    );
    assert_eq!(admin.idle, Some(std::time::Duration::from_secs(30)));
    check(
        "admin.enableServer=true\nadmin.commandURL=commands",
        &["zoo.cfg, line 4: admin.commandURL=commands: must begin with / and be longer"],
    );
}
