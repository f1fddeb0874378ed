//! From ZooKeeper mode to KRaft, to its end, as Kafka's own guide says it: a controller that reads everything from the
//! servers and writes back to them, brokers restarted into the migration, restarted into KRaft, and the controller
//! restarted without the servers, which are stopped then.

use super::broker::Broker;
use super::cluster::{Cluster, SOON, common, listeners, zookeeper_mode};
use crate::peers::{Member, free_port, wait_until};

/// The KRaft controller's `node.id`; it must not be a broker's.
const CONTROLLER: u32 = 3000;

/// The protocols of all listeners of brokers and controller.
const PROTOCOLS: &str = "PLAINTEXT:PLAINTEXT,LOGIN:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT";

/// Migrates a running cluster. Its servers are stopped at the end, and it lives on without them.
pub fn migrate(cluster: &mut Cluster) -> Broker {
    let mut controller = Broker::new(CONTROLLER, cluster.directory());
    controller.port = free_port();
    let quorum = format!(
        "controller.quorum.voters={CONTROLLER}@127.0.0.1:{}\ncontroller.listener.names=CONTROLLER\n",
        controller.port
    );
    let servers = format!(
        "zookeeper.metadata.migration.enable=true\nzookeeper.connect={}/kafka\n",
        cluster.servers()
    );
    controller.configure(controller_alone(&controller, &quorum) + &servers);
    format(cluster, &controller);
    controller.start();
    controller.wait_started();

    restart_brokers(cluster, |cluster, broker| {
        zookeeper_mode(broker, &cluster.servers()).replace(
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,LOGIN:SASL_PLAINTEXT",
            &format!("listener.security.protocol.map={PROTOCOLS}"),
        ) + &quorum
            + "zookeeper.metadata.migration.enable=true\n"
    });
    controller.wait_said("Completed migration of metadata from ZooKeeper to KRaft", SOON);
    cluster.wait_whole("brokers in the migration");
    assert_eq!(
        cluster.controller(),
        Some(CONTROLLER),
        "whose epoch fences the old controllers"
    );
    assert!(cluster.node("/migration").is_some(), "/migration");
    // As long as the migration can be undone, what happens in KRaft is written to the servers too.
    cluster.driver.ask(&["create", "dual", "1", "6", "2"]);
    let is_written = || cluster.node("/brokers/topics/dual/partitions/5/state").is_some();
    assert!(
        wait_until(SOON, is_written),
        "a topic made in KRaft is not written to the servers"
    );

    restart_brokers(cluster, |_, broker| {
        format!(
            "process.roles=broker\nnode.id={}\n{}{quorum}\
             inter.broker.listener.name=PLAINTEXT\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n{}",
            broker.id,
            listeners(broker, PROTOCOLS),
            common()
        )
    });
    cluster.wait_whole("brokers in KRaft mode");
    controller.terminate();
    controller.configure(controller_alone(&controller, &quorum));
    controller.start();
    controller.wait_started();
    cluster.ensemble.members.iter_mut().for_each(Member::end_in_order);
    cluster.driver.ask(&["create", "after", "1", "6", "2"]);
    cluster.wait_whole("without servers");
    controller
}

/// `server.properties` of a controller that needs no servers.
fn controller_alone(controller: &Broker, quorum: &str) -> String {
    format!(
        "process.roles=controller\nnode.id={CONTROLLER}\n{quorum}\
         listeners=CONTROLLER://127.0.0.1:{}\n\
         listener.security.protocol.map={PROTOCOLS}\n\
         inter.broker.listener.name=PLAINTEXT\n\
         authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n{}",
        controller.port,
        common()
    )
}

/// A KRaft node's directory is made by a tool, with the id of the cluster that is there.
fn format(cluster: &mut Cluster, controller: &Broker) {
    let (text, _) = cluster.node("/cluster/id").expect("/cluster/id");
    let id = text
        .split('"')
        .rfind(|part| part.len() == 22)
        .unwrap_or_else(|| panic!("no id in {text}"));
    let file = controller.write_properties().display().to_string();
    cluster.driver.tool(
        "kafka.tools.StorageTool",
        &["format", "--cluster-id", id, "--config", &file],
    );
}

/// One after the other, each with what `properties` gives it.
fn restart_brokers(cluster: &mut Cluster, properties: impl Fn(&Cluster, &Broker) -> String) {
    for index in 0..cluster.brokers.len() {
        let text = properties(cluster, &cluster.brokers[index]);
        let broker = &mut cluster.brokers[index];
        broker.terminate();
        broker.configure(text);
        broker.start();
        broker.wait_started();
        // The other one is restarted when this one can take over.
        cluster.wait_whole("a restarted broker");
    }
}
