//! What is done to a cluster, in this order, whoever's servers it runs on; each step fails for itself.

use std::fs;
use std::time::Instant;

use super::broker::Broker;
use super::cluster::{Cluster, SOON};
use super::logs::{Kinds, kinds};
use super::migration::migrate;
use super::trouble;
use crate::peers::{Make, Member, wait_until};

/// Kafka's own tools, by their classes.
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const ACLS: &str = "kafka.admin.AclCommand";
const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";

/// The topic whose records must never be lost, and its partitions.
pub const RECORDS: &str = "records";
const PARTITIONS: usize = 200;
/// Records of the first step; later ones add theirs.
const FIRST: usize = 100_000;

/// What is done, and what must hold then.
type Step = fn(&mut Play);

/// One play of the scenario.
pub struct Play {
    /// The cluster it is played on.
    pub cluster: Cluster,
    /// How many records were acknowledged so far: those from 0 on.
    records: usize,
    since: Instant,
    /// What the brokers logged about trouble, as long as their metadata was in the servers.
    pub kinds: Kinds,
}

/// Plays everything; the cluster is stopped at the end, its logs are still there.
pub fn play(make: Make) -> Play {
    let mut play = Play::begin(make);
    play.told("started");
    let steps: [(&str, Step); 13] = [
        ("200 partitions, 100,000 records", produce_and_consume),
        ("a topic's configuration is altered", alter_configuration),
        ("partitions are added", add_partitions),
        ("partitions are reassigned", reassign),
        ("SCRAM credentials and ACLs", credentials_and_acls),
        ("a topic is deleted", delete_topic),
        ("kill -9 of the leader while producing", trouble::kill_the_leader),
        ("servers restarted one by one while producing", trouble::restart_servers),
        ("kill -9 of all servers while producing", trouble::kill_all_servers),
        ("kill -9 of the controller", trouble::kill_the_controller),
        (
            "the controller's session expires by SIGSTOP",
            trouble::expire_the_controller,
        ),
        ("everything stopped and started again", trouble::stop_all_and_start),
        ("epochs of controllers", trouble::controllers_in_order),
    ];
    for (name, step) in steps {
        step(&mut play);
        play.cluster.all_alive(name);
        play.told(name);
    }
    play.kinds = kinds(&play.cluster.brokers);
    if make == Make::Ringkeeper {
        leave_for_kraft(&mut play);
    } else {
        trouble::take_over(&mut play);
        play.cluster.all_alive("the take-over");
        play.told("taken over by Ringkeeper");
        stop(&mut play.cluster);
    }
    play.told("stopped");
    play
}

impl Play {
    /// A cluster that was just started.
    pub fn begin(make: Make) -> Self {
        let since = Instant::now();
        Self {
            cluster: Cluster::launch(make),
            records: 0,
            since,
            kinds: Kinds::new(),
        }
    }

    /// Tells how long it took so far.
    pub fn told(&self, what: &str) {
        println!(
            "{:>6.1} s {:?}: {what}",
            self.since.elapsed().as_secs_f64(),
            self.cluster.make
        );
    }

    /// Sends so many more records in the background; `produced` waits for the acknowledgements of all of them.
    pub fn produce(&mut self, count: usize, rate: usize) {
        let (from, count, rate) = (self.records.to_string(), count.to_string(), rate.to_string());
        self.cluster
            .driver
            .ask(&["produce", "more", RECORDS, &from, &count, &rate]);
    }

    /// All of them must be acknowledged.
    pub fn produced(&mut self, count: usize) {
        let acknowledged = self.cluster.driver.ask(&["produced", "more"]);
        assert_eq!(acknowledged, count.to_string(), "records that were acknowledged");
        self.records += count;
    }

    /// Asks one of Kafka's tools until it answers so: a broker that did not do a thing itself hears of it a little later.
    #[track_caller]
    fn described(&mut self, class: &str, arguments: &[&str], enough: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + SOON;
        loop {
            let said = self.cluster.tool(class, arguments);
            if enough(&said) {
                return;
            }
            assert!(Instant::now() < deadline, "{arguments:?} still says\n{said}");
        }
    }

    /// Every record that was ever acknowledged is there, once.
    pub fn consume_all(&mut self) {
        let said = self
            .cluster
            .driver
            .ask(&["consume", RECORDS, &self.records.to_string()]);
        assert_eq!(said, "missing 0, twice 0, strange 0", "of {} records", self.records);
    }
}

fn produce_and_consume(play: &mut Play) {
    let count = PARTITIONS.to_string();
    play.cluster.driver.ask(&["create", RECORDS, "1", &count, "2"]);
    play.cluster.wait_whole("a new topic");
    play.produce(FIRST, 0);
    play.produced(FIRST);
    play.consume_all();
    play.described(TOPICS, &["--describe", "--topic", RECORDS], |said| {
        said.contains("PartitionCount: 200\tReplicationFactor: 2") && said.matches("Isr: ").count() == PARTITIONS
    });
    assert_eq!(play.cluster.children("/brokers/topics/records/partitions"), PARTITIONS);
}

fn alter_configuration(play: &mut Play) {
    play.cluster
        .driver
        .ask(&["config", RECORDS, "max.message.bytes", "777777"]);
    let describe = ["--describe", "--entity-type", "topics", "--entity-name", RECORDS];
    play.described(CONFIGS, &describe, |said| said.contains("max.message.bytes=777777"));
    let (text, _) = play.cluster.node("/config/topics/records").expect("a configuration");
    assert!(text.contains("\"max.message.bytes\":\"777777\""), "{text}");
}

fn add_partitions(play: &mut Play) {
    play.cluster.driver.ask(&["create", "grows", "1", "4", "2"]);
    play.cluster.driver.ask(&["partitions", "grows", "12"]);
    play.described(TOPICS, &["--describe", "--topic", "grows"], |said| {
        said.contains("PartitionCount: 12\t")
    });
    play.cluster.wait_whole("added partitions");
    assert_eq!(play.cluster.children("/brokers/topics/grows/partitions"), 12);
}

fn reassign(play: &mut Play) {
    let moves: Vec<String> = (0..12)
        .map(|partition| {
            let to = if partition < 6 { "2" } else { "2,1" };
            format!("{{\"topic\":\"grows\",\"partition\":{partition},\"replicas\":[{to}]}}")
        })
        .collect();
    let file = play.cluster.directory().join("moves.json");
    fs::write(&file, format!("{{\"version\":1,\"partitions\":[{}]}}", moves.join(","))).expect("moves.json");
    let file = file.display().to_string();
    let plan = ["--reassignment-json-file", &file];
    play.cluster.tool(REASSIGN, &[&plan[..], &["--execute"]].concat());
    play.described(REASSIGN, &[&plan[..], &["--verify"]].concat(), |said| {
        said.matches("is completed").count() == 12
    });
    play.described(TOPICS, &["--describe", "--topic", "grows"], |said| {
        said.matches("Replicas: 2\t").count() == 6 && said.matches("Replicas: 2,1\t").count() == 6
    });
    let (topic, _) = play.cluster.node("/brokers/topics/grows").expect("the topic");
    for nothing in ["\"adding_replicas\":{}", "\"removing_replicas\":{}"] {
        assert!(topic.contains(nothing), "{topic}");
    }
}

/// One credential by the tool that writes to the servers itself, one through the brokers; and what each may do.
fn credentials_and_acls(play: &mut Play) {
    let zookeeper = format!("{}/kafka", play.cluster.servers());
    play.cluster.driver.tool(
        CONFIGS,
        &[
            "--zookeeper",
            &zookeeper,
            "--alter",
            "--entity-type",
            "users",
            "--entity-name",
            "alice",
            "--add-config",
            "SCRAM-SHA-256=[iterations=4096,password=alices]",
        ],
    );
    play.cluster.driver.ask(&["scram", "bob", "bobs"]);
    play.cluster.driver.ask(&["create", "secret", "1", "2", "2"]);
    play.cluster.tool(
        ACLS,
        &[
            "--add",
            "--allow-principal",
            "User:alice",
            "--operation",
            "Write",
            "--operation",
            "Describe",
            "--topic",
            "secret",
        ],
    );
    play.cluster.tool(
        ACLS,
        &[
            "--add",
            "--allow-principal",
            "User:carol",
            "--operation",
            "Read",
            "--group",
            "*",
        ],
    );
    credentials_and_acls_are_there(play);
}

/// Records, configurations, credentials and ACLs, after whatever happened.
pub fn everything_is_there(play: &mut Play) {
    play.consume_all();
    play.described(TOPICS, &["--describe", "--topic", RECORDS], |said| {
        said.contains("PartitionCount: 200\tReplicationFactor: 2\tConfigs: max.message.bytes=777777")
    });
    credentials_and_acls_are_there(play);
}

fn credentials_and_acls_are_there(play: &mut Play) {
    play.described(CONFIGS, &["--describe", "--entity-type", "users"], |said| {
        ["alice", "bob"]
            .iter()
            .all(|user| said.contains(&format!("user-principal '{user}'")))
    });
    let acls = [
        "User:alice",
        "operation=WRITE",
        "name=secret",
        "User:carol",
        "resourceType=GROUP, name=*",
    ];
    play.described(ACLS, &["--list"], |said| acls.iter().all(|part| said.contains(part)));
    let listener = format!("127.0.0.1:{}", play.cluster.brokers[0].login_port);
    let mut write_as = |user: &str, password: &str| {
        play.cluster
            .driver
            .try_ask(&["write-as", user, password, &listener, "secret"])
    };
    // Each broker hears of credentials and ACLs by a watch.
    assert!(
        wait_until(SOON, || write_as("alice", "alices").is_ok()),
        "{:?}",
        write_as("alice", "alices")
    );
    let mut refused = String::new();
    let is_unauthorized = || {
        refused = write_as("bob", "bobs").expect_err("no ACL for bob");
        refused.contains("TopicAuthorizationException")
    };
    assert!(wait_until(SOON, is_unauthorized), "{refused}");
    let refused = write_as("alice", "bobs").expect_err("not alice's password");
    assert!(refused.contains("SaslAuthenticationException"), "{refused}");
}

fn delete_topic(play: &mut Play) {
    play.cluster.driver.ask(&["delete", "grows"]);
    let is_gone = || play.cluster.node("/brokers/topics/grows").is_none();
    assert!(wait_until(SOON, is_gone), "the topic stays");
    let done = || play.cluster.children("/admin/delete_topics") == 0;
    assert!(wait_until(SOON, done), "/admin/delete_topics is not empty");
    assert_eq!(play.cluster.node("/config/topics/grows"), None);
    let listed = play.cluster.tool(TOPICS, &["--list"]);
    let listed: Vec<&str> = listed.lines().collect();
    assert!(listed.contains(&RECORDS) && !listed.contains(&"grows"), "{listed:?}");
}

/// Brokers first, then the servers, all in order.
pub fn stop(cluster: &mut Cluster) {
    cluster.brokers.iter_mut().for_each(Broker::terminate);
    cluster.ensemble.members.iter_mut().for_each(Member::end_in_order);
}

/// Nobody is locked in: the cluster goes to KRaft with everything that it has.
fn leave_for_kraft(play: &mut Play) {
    let mut controller = migrate(&mut play.cluster);
    play.told("migrated to KRaft");
    everything_is_there(play);
    play.cluster.all_alive("after the migration");
    play.cluster.brokers.iter_mut().for_each(Broker::terminate);
    controller.terminate();
}
