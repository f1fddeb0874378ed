//! What brokers log about trouble (warnings, errors, exceptions, expired sessions), in kinds: the lines without their
//! numbers. The kinds of two runs are compared; one that tells of the metadata's servers and that only Ringkeeper's run has
//! must be explained here.

use std::collections::BTreeMap;

use super::broker::Broker;

/// Kinds, and how often each was seen.
pub type Kinds = BTreeMap<String, usize>;

/// What may be in one run and not in the other, or more often, and why.
const EXPLAINED: &[(&str, &str)] = &[
    (
        "(kafka.server.ReplicaFetcherThread)",
        "between brokers: what a follower has under way when the other broker is killed, stopped or not told yet is chance",
    ),
    (
        "(kafka.controller.RequestSendThread)",
        "between brokers: requests of a controller that is being stopped, or to a broker that is down",
    ),
    (
        "(org.apache.kafka.clients.NetworkClient)",
        "between brokers: how often a broker that is down is tried depends on how long it takes to come back",
    ),
    (
        "java.io.IOException: C",
        "between brokers: the exceptions of the lines before",
    ),
    (
        "java.lang.InterruptedException",
        "a controller's thread is ended while it sends",
    ),
    (
        "(kafka.server.KafkaServer)",
        "between brokers: the last broker has nobody to hand its partitions to",
    ),
    (
        "(state.change.logger)",
        "between brokers: partitions whose other replica is down",
    ),
    (
        "StateChangeFailedException",
        "between brokers: the exceptions of the lines before",
    ),
    (
        "Closing socket connection",
        "a JVM accepts clients some time before it serves them, and drops them: more attempts on ZooKeeper; Ringkeeper \
         begins to listen when it can serve",
    ),
    ("EndOfStreamException", "the same, seen by the client"),
    (
        "java.net.ConnectException: Connection refused",
        "the same, while nobody listens",
    ),
    (
        "SessionTimeoutException",
        "the broker that was stopped for longer than its session",
    ),
    ("Client session timed out", "the same"),
    (
        "java.net.SocketException: Connection reset",
        "a killed server's connections end so, or with an orderly end",
    ),
];

/// What must be as often in both runs: what a session's end costs Kafka.
const EQUAL: &[&str] = &["Session expired.", "Unable to reconnect to ZooKeeper service"];

/// Of all brokers.
pub fn kinds(brokers: &[Broker]) -> Kinds {
    let mut kinds = Kinds::new();
    for broker in brokers {
        for line in broker.output().lines() {
            if let Some(kind) = kind(line) {
                *kinds.entry(kind).or_default() += 1;
            }
        }
    }
    kinds
}

/// The kind of a line that tells of trouble.
fn kind(line: &str) -> Option<String> {
    let is_dated = line.len() > 24 && line.as_bytes()[4] == b'-' && line.as_bytes()[23] == b' ';
    let text = match is_dated {
        true => {
            let text = line.get(24..)?;
            let is_trouble = ["WARN ", "ERROR ", "FATAL "]
                .iter()
                .any(|level| text.starts_with(level));
            if !is_trouble && !text.contains("Session expired.") {
                return None;
            }
            text
        }
        false => {
            let word = line.strip_prefix("Caused by: ").unwrap_or(line);
            let class = word.split([':', ' ']).next()?;
            let is_class = class.ends_with("Exception") || class.ends_with("Error");
            if !is_class || line.starts_with(char::is_whitespace) {
                return None;
            }
            word
        }
    };
    Some(without_chances(text))
}

/// Numbers become `#`, partitions lose their topic, and what a request carried is cut away but for the logger's name.
fn without_chances(text: &str) -> String {
    let logger = text
        .rfind(" (")
        .filter(|_| text.ends_with(')'))
        .map_or("", |at| &text[at..]);
    let said = &text[..text.len() - logger.len()];
    let said = said.split(" (type=").next().expect("a first part");
    let mut out = String::new();
    for word in said.split(' ') {
        let is_partition = word.rsplit_once('-').is_some_and(|(_, number)| {
            let number = number.trim_end_matches(['.', ',', ';']);
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        let word = if is_partition { "PARTITION" } else { word };
        let mut word = match word.find("0x") {
            Some(at) => format!("{}#", &word[..at]),
            None => word.to_owned(),
        };
        while let Some(at) = word.find(|c: char| c.is_ascii_digit()) {
            let end = word[at..]
                .find(|c: char| !c.is_ascii_digit())
                .map_or(word.len(), |length| at + length);
            word.replace_range(at..end, "#");
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&word.replace("localhost/", "/"));
    }
    out.push_str(logger);
    out
}

/// Whether a kind tells of the metadata's servers, or of who keeps it in them. What else brokers say to each other depends
/// on the moment in which one of them was killed.
fn is_of_servers(kind: &str) -> bool {
    [
        "zookeeper",
        "ZooKeeper",
        "kafka.zk",
        "KeeperException",
        "KafkaController",
        "Session",
    ]
    .iter()
    .any(|word| kind.contains(word))
}

/// Prints the kinds that differ, each with its reason; gives those without one, and what must be equal and is not.
pub fn compare(ours: &Kinds, theirs: &Kinds) -> Vec<String> {
    let mut wrong = Vec::new();
    println!("What Kafka logged, on Ringkeeper and on Apache ZooKeeper (kinds that differ):");
    let all: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    for kind in all {
        let [our_count, their_count] = [ours, theirs].map(|kinds| kinds.get(kind).copied().unwrap_or(0));
        if our_count == their_count {
            continue;
        }
        let reason = EXPLAINED
            .iter()
            .find(|(part, _)| kind.contains(part))
            .map(|(_, reason)| *reason);
        println!(
            "{our_count:>6} {their_count:>6}  {kind}\n               {}",
            reason.unwrap_or("not explained")
        );
        if reason.is_none() && their_count == 0 && is_of_servers(kind) {
            wrong.push(format!(
                "only on Ringkeeper, {our_count} times, and not explained: {kind}"
            ));
        }
    }
    for part in EQUAL {
        let count = |kinds: &Kinds| -> usize {
            kinds
                .iter()
                .filter(|(kind, _)| kind.contains(part))
                .map(|(_, count)| count)
                .sum()
        };
        if count(ours) != count(theirs) {
            wrong.push(format!(
                "{part:?}: {} times on Ringkeeper, {} on ZooKeeper",
                count(ours),
                count(theirs)
            ));
        }
    }
    wrong
}

#[test]
fn lines_have_kinds() {
    let check = |line: &str, expected: Option<&str>| assert_eq!(kind(line).as_deref(), expected, "{line}");
    check(
        "2026-11-25 17:34:42,585 WARN Session 0x1a213c5c9c20001 for server localhost/127.0.0.1:20943, Closing socket connection. (org.apache.zookeeper.ClientCnxn)",
        Some("WARN Session # for server /#.#.#.#:#, Closing socket connection. (org.apache.zookeeper.ClientCnxn)"),
    );
    check(
        "2026-11-25 17:34:42,585 WARN [RequestSendThread controllerId=1] Controller 1 epoch 3 fails to send request (type=LeaderAndIsRequest, x=1) to broker 2 (kafka.controller.RequestSendThread)",
        Some(
            "WARN [RequestSendThread controllerId=#] Controller # epoch # fails to send request (kafka.controller.RequestSendThread)",
        ),
    );
    check(
        "2026-11-25 17:34:42,585 WARN Partition records-12. (a.B)",
        Some("WARN Partition PARTITION (a.B)"),
    );
    check("2026-11-25 17:34:42,585 INFO all is well (a.B)", None);
    check(
        "2026-11-25 17:34:42,585 INFO [ZooKeeperClient Kafka server] Session expired. (kafka.zookeeper.ZooKeeperClient)",
        Some("INFO [ZooKeeperClient Kafka server] Session expired. (kafka.zookeeper.ZooKeeperClient)"),
    );
    check("\tat java.lang.Thread.run(Thread.java:1)", None);
    check(
        "Caused by: java.io.IOException: gone 7",
        Some("java.io.IOException: gone #"),
    );
}

#[test]
fn what_only_ringkeeper_has_must_be_explained() {
    let kinds = |text: &str| Kinds::from([(text.to_owned(), 1)]);
    let odd = "WARN odd (kafka.zk.KafkaZkClient)";
    assert_eq!(compare(&kinds(odd), &kinds(odd)), [""; 0]);
    assert_eq!(compare(&kinds(odd), &Kinds::new()).len(), 1);
    assert_eq!(compare(&kinds("WARN odd (a.B)"), &Kinds::new()), [""; 0]);
    assert_eq!(compare(&Kinds::new(), &kinds("WARN odd (a.B)")), [""; 0]);
    assert_eq!(compare(&kinds("EndOfStreamException: x"), &Kinds::new()), [""; 0]);
    assert_eq!(compare(&Kinds::new(), &kinds("INFO Session expired. (a.B)")).len(), 1);
}
