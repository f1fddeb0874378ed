//! `Cluster`: two brokers, the three servers that keep their metadata, and the driver that uses them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::broker::Broker;
use super::driver::Driver;
use crate::parts::ensemble::{Ensemble, Plan};
use crate::parts::words::{CHILDREN, CLOSE, GET, NO_NODE, SYNC};
use crate::peers::jute::{In, Out};
use crate::peers::{Attach, Make, Member, RawClient, wait_until};

/// `zookeeper.session.timeout.ms`.
pub const SESSION_MS: u64 = 8_000;
/// How long anything may take that should happen soon.
pub const SOON: Duration = Duration::from_secs(60);

/// Brokers and servers.
pub struct Cluster {
    /// Whose servers they are.
    pub make: Make,
    /// The three servers.
    pub ensemble: Ensemble,
    /// By index; the id is one more.
    pub brokers: Vec<Broker>,
    /// What uses them.
    pub driver: Driver,
    directory: TempDir,
}

impl Cluster {
    /// Three servers of this make and two brokers with their metadata in them.
    pub fn launch(make: Make) -> Self {
        Self::launch_through(make, |servers| servers.to_vec(), |_| {}, |_| {})
    }

    /// The same; brokers connect to what `way` makes of the servers' addresses; servers and brokers are changed first.
    pub fn launch_through(
        make: Make,
        way: impl FnOnce(&[SocketAddr]) -> Vec<SocketAddr>,
        server: impl Fn(&mut Member),
        with: impl Fn(&mut Broker),
    ) -> Self {
        let mut ensemble = Ensemble::lay_out(&Plan {
            makes: &[make; 3],
            observers: &[],
            lines: &["tickTime=1000", "initLimit=20", "syncLimit=5"],
            places: Vec::new(),
        });
        for member in &mut ensemble.members {
            member.heap_megabytes = 256;
            server(member);
            member.start();
        }
        ensemble.wait_all("the first start");
        let directory = TempDir::with_prefix("kafka-").expect("temporary directory");
        let servers: Vec<String> = way(&ensemble.addresses()).iter().map(SocketAddr::to_string).collect();
        let mut brokers: Vec<Broker> = (1..=2).map(|id| Broker::new(id, directory.path())).collect();
        for broker in &mut brokers {
            with(broker);
            broker.configure(zookeeper_mode(broker, &servers.join(",")));
            broker.start();
        }
        brokers.iter_mut().for_each(Broker::wait_started);
        let driver = Driver::start(&bootstrap(&brokers), directory.path());
        Self {
            make,
            ensemble,
            brokers,
            driver,
            directory,
        }
    }

    /// `zookeeper.connect` without proxies and chroot.
    pub fn servers(&self) -> String {
        let addresses: Vec<String> = self.ensemble.addresses().iter().map(SocketAddr::to_string).collect();
        addresses.join(",")
    }

    /// `--bootstrap-server`.
    pub fn bootstrap(&self) -> String {
        bootstrap(&self.brokers)
    }

    /// Where everything of this cluster is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// One of Kafka's tools on the brokers.
    #[track_caller]
    pub fn tool(&mut self, class: &str, arguments: &[&str]) -> String {
        let brokers = self.bootstrap();
        self.driver
            .tool(class, &[&["--bootstrap-server", &brokers], arguments].concat())
    }

    /// A node below the chroot, if it is there: its data and its version.
    pub fn node(&self, path: &str) -> Option<(String, i32)> {
        let body = Out::new().string(&format!("/kafka{path}")).bool(false).0;
        let (err, body) = self.ask_servers(GET, &body);
        match err {
            0 => {
                let mut input = In::new(&body);
                let data = input.buffer().expect("data").unwrap_or_default().to_vec();
                input.long();
                input.long();
                input.long();
                input.long();
                Some((
                    String::from_utf8_lossy(&data).into_owned(),
                    input.int().expect("a version"),
                ))
            }
            NO_NODE => None,
            other => panic!("{path}: {other}"),
        }
    }

    /// The number of children of a node below the chroot.
    pub fn children(&self, path: &str) -> usize {
        let (err, body) = self.ask_servers(CHILDREN, &Out::new().string(&format!("/kafka{path}")).bool(false).0);
        assert_eq!(err, 0, "children of {path}");
        In::new(&body).int().expect("a count") as usize
    }

    /// Asks the first server that serves, in a session that is closed again, after a sync.
    fn ask_servers(&self, op: i32, body: &[u8]) -> (i32, Vec<u8>) {
        let mut events = Vec::new();
        let serving = || {
            self.ensemble
                .members
                .iter()
                .find(|member| member.is_up() && member.mode().is_some())
        };
        assert!(wait_until(SOON, || serving().is_some()), "no server serves");
        let (mut client, _) = RawClient::open(serving().expect("it serves").address(), &Attach::default());
        client.call(1, SYNC, &Out::new().string("/").0, &mut events);
        let reply = client.call(2, op, body, &mut events);
        client.call(3, CLOSE, &[], &mut events);
        (reply.err, reply.body)
    }

    /// The id of the broker that is the controller, by the ephemeral node.
    pub fn controller(&self) -> Option<u32> {
        let (text, _) = self.node("/controller")?;
        let (_, rest) = text.split_once("\"brokerid\":")?;
        rest.split([',', '}']).next()?.trim().parse().ok()
    }

    /// The controller's epoch.
    pub fn controller_epoch(&self) -> u32 {
        let (text, _) = self.node("/controller_epoch").expect("/controller_epoch");
        text.parse().expect("a number")
    }

    /// Waits until another broker than this is the controller; gives it.
    #[track_caller]
    pub fn wait_other_controller(&self, old: u32) -> u32 {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(controller) = self.controller().filter(|controller| *controller != old) {
                return controller;
            }
            assert!(Instant::now() < deadline, "broker {old} stays the controller");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until every partition has a leader, and all its replicas in step.
    #[track_caller]
    pub fn wait_whole(&mut self, what: &str) {
        self.wait_leaders(what, |said| {
            let (_, whole) = said.split_once("whole ").expect("a count");
            let (whole, all) = whole.split_once(" of ").expect("a count");
            // A broker that has just started knows of no topic.
            whole == all && all != "0" && !said.contains("-1=")
        });
    }

    /// Waits until what the driver says of the leaders satisfies.
    #[track_caller]
    pub fn wait_leaders(&mut self, what: &str, enough: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            let said = self.driver.try_ask(&["leaders"]).unwrap_or_else(|error| error);
            if said.starts_with("leaders") && enough(&said) {
                return said;
            }
            self.all_alive(what);
            assert!(Instant::now() < deadline, "{what}: {said}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Fails if anything ended that the test did not end.
    #[track_caller]
    pub fn all_alive(&mut self, what: &str) {
        let died = self.brokers.iter_mut().find_map(Broker::died);
        let died = died.or_else(|| self.ensemble.members.iter_mut().find_map(|member| member.died()));
        assert!(died.is_none(), "{what}: {}", died.unwrap_or_default());
    }

    /// Copies all outputs to where the next `cargo clean` finds them, and says where.
    pub fn keep_logs(&self) -> String {
        let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kafka-{}-{:?}", std::process::id(), self.make));
        let _ = fs::create_dir_all(&to);
        for broker in &self.brokers {
            let _ = fs::copy(broker.log_path(), to.join(format!("broker-{}.log", broker.id)));
        }
        for member in &self.ensemble.members {
            let _ = fs::copy(member.log_path(), to.join(format!("server-{}.log", member.id)));
        }
        let _ = fs::copy(self.directory().join("driver.log"), to.join("driver.log"));
        format!("logs: {}", to.display())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("RINGKEEPER_KEEP_LOGS").is_some() {
            eprintln!("{:?}: {}", self.make, self.keep_logs());
        }
    }
}

fn bootstrap(brokers: &[Broker]) -> String {
    let addresses: Vec<String> = brokers
        .iter()
        .map(|broker| format!("127.0.0.1:{}", broker.port))
        .collect();
    addresses.join(",")
}

/// `server.properties` with the metadata in ZooKeeper; all values that differ from Kafka's defaults make it smaller, or
/// quicker to notice a dead broker.
pub fn zookeeper_mode(broker: &Broker, servers: &str) -> String {
    format!(
        "broker.id={}\n{}\
         zookeeper.connect={servers}/kafka\n\
         zookeeper.session.timeout.ms={SESSION_MS}\n\
         zookeeper.connection.timeout.ms=30000\n\
         inter.broker.listener.name=PLAINTEXT\n\
         authorizer.class.name=kafka.security.authorizer.AclAuthorizer\n{}",
        broker.id,
        listeners(broker, "PLAINTEXT:PLAINTEXT,LOGIN:SASL_PLAINTEXT"),
        common()
    )
}

/// Two listeners: one for everybody, one that asks for a SCRAM login.
pub fn listeners(broker: &Broker, protocols: &str) -> String {
    format!(
        "listeners=PLAINTEXT://127.0.0.1:{},LOGIN://127.0.0.1:{}\n\
         listener.security.protocol.map={protocols}\n\
         sasl.enabled.mechanisms=SCRAM-SHA-256\n\
         listener.name.login.scram-sha-256.sasl.jaas.config=\
         org.apache.kafka.common.security.scram.ScramLoginModule required;\n",
        broker.port, broker.login_port
    )
}

/// What brokers have in common, whatever keeps their metadata.
pub fn common() -> String {
    "super.users=User:ANONYMOUS\n\
     auto.create.topics.enable=false\n\
     default.replication.factor=2\n\
     offsets.topic.replication.factor=2\n\
     offsets.topic.num.partitions=4\n\
     transaction.state.log.replication.factor=2\n\
     transaction.state.log.num.partitions=4\n\
     transaction.state.log.min.isr=1\n\
     num.network.threads=2\n\
     num.io.threads=4\n\
     background.threads=2\n\
     num.recovery.threads.per.data.dir=2\n\
     log.cleaner.dedupe.buffer.size=4194304\n\
     log.cleaner.io.buffer.size=65536\n\
     log.index.size.max.bytes=65536\n\
     replica.lag.time.max.ms=10000\n\
     group.initial.rebalance.delay.ms=0\n\
     controlled.shutdown.retry.backoff.ms=500\n"
        .into()
}
