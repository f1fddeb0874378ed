//! A Kafka controller's failover in ZooKeeper mode: a new session elects itself and reads everything.
//!
//! One round: multi that makes `/controller` and moves `/controller_epoch`; the brokers and their data; the topics,
//! each with a watch; the state of every partition, thousands of requests on the wire at once; `exists` with a watch
//! on every topic's partitions; and new leaders for a third of the partitions, each a multi of a check of the epoch and
//! a setData of the state. A round's time is the time in which a real cluster has no controller.

use std::io;
use std::time::Instant;

use ringkeeper::wire::acl::{Acl, write_list};
use ringkeeper::wire::jute::Writer;

use super::conn::{Incoming, Session};
use super::crowd::{Crowd, PATIENCE};
use super::drive::measured;
use super::fill::Errands;
use super::measure::Seen;
use super::mix::Kind;
use super::plan::Plan;
use super::process::thread_cpu_us;
use super::requests::{write_create, write_set};
use super::stage::{Pulse, Stage};

/// The name of a round in reports.
pub const ROUND: &str = "failover";
const BROKERS: u32 = 3;
const PARTITIONS_PER_TOPIC: u32 = 10;
const NODE_EXISTS: i32 = -110;

/// The znodes, all below the load's root.
struct Cluster<'a> {
    root: &'a str,
    partitions: u32,
    state: &'a [u8],
}

impl Cluster<'_> {
    fn topics(&self) -> u32 {
        self.partitions.div_ceil(PARTITIONS_PER_TOPIC)
    }

    fn topic(&self, topic: u32) -> String {
        format!("{}/brokers/topics/topic-{topic}", self.root)
    }

    fn partition(&self, partition: u32) -> String {
        let topic = self.topic(partition / PARTITIONS_PER_TOPIC);
        format!("{topic}/partitions/{}", partition % PARTITIONS_PER_TOPIC)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    /// Every znode with its data, ancestors first.
    fn znodes(&self) -> Vec<(String, &[u8])> {
        let fixed = ["", "/brokers", "/brokers/ids", "/brokers/topics", "/controller_epoch"];
        let mut all: Vec<(String, &[u8])> = fixed.iter().map(|path| (self.at(path), &b"0"[..])).collect();
        all.extend((0..BROKERS).map(|id| (self.at(&format!("/brokers/ids/{id}")), self.state)));
        for topic in 0..self.topics() {
            all.push((self.topic(topic), self.state));
            all.push((format!("{}/partitions", self.topic(topic)), b""));
        }
        for partition in 0..self.partitions {
            all.push((self.partition(partition), b""));
            all.push((format!("{}/state", self.partition(partition)), self.state));
        }
        all
    }

    fn fill(&self, errands: &mut Errands) -> io::Result<()> {
        let mut failed = 0;
        let mut note = |_, err, _: &[u8]| {
            if err != 0 && err != NODE_EXISTS {
                failed = err;
            }
        };
        for (path, data) in self.znodes() {
            errands.send(1, |w| write_create(w, &path, data, 0))?;
            errands.drain(500, &mut note)?;
        }
        errands.drain(0, &mut note)?;
        match failed {
            0 => Ok(()),
            code => Err(io::Error::other(format!(
                "laying out the cluster failed with error code {code}"
            ))),
        }
    }

    /// The requests of a failover, in stages: each stage is sent when the one before is answered.
    fn script(&self) -> Vec<Vec<Request>> {
        let read = |kind, path: String, watch| Request { kind, path, watch };
        let topics = || (0..self.topics()).map(|topic| self.topic(topic));
        let states = || (0..self.partitions).map(|number| format!("{}/state", self.partition(number)));
        vec![
            vec![read(Kind::Create, self.at("/controller"), false)],
            vec![read(Kind::Children, self.at("/brokers/ids"), true)],
            (0..BROKERS)
                .map(|id| read(Kind::Get, self.at(&format!("/brokers/ids/{id}")), false))
                .collect(),
            vec![read(Kind::Children, self.at("/brokers/topics"), true)],
            topics().map(|path| read(Kind::Get, path, true)).collect(),
            states().map(|path| read(Kind::Get, path, false)).collect(),
            topics()
                .map(|path| read(Kind::Exists, format!("{path}/partitions"), true))
                .collect(),
            states().step_by(3).map(|path| read(Kind::Multi, path, false)).collect(),
        ]
    }

    fn write(&self, request: &Request, w: &mut Writer<'_>) {
        let op = |w: &mut Writer<'_>, opcode| {
            w.int(opcode);
            w.bool(false);
            w.int(-1);
        };
        let end = |w: &mut Writer<'_>| {
            w.int(-1);
            w.bool(true);
            w.int(-1);
        };
        match request.kind {
            Kind::Create => {
                op(w, 1);
                w.text(&request.path);
                w.buffer(Some(self.state));
                write_list(w, &[Acl::anyone(31)]);
                w.int(1);
                op(w, 5);
                write_set(w, &self.at("/controller_epoch"), b"1");
                end(w);
            }
            Kind::Multi => {
                op(w, 13);
                w.text(&self.at("/controller_epoch"));
                w.int(-1);
                op(w, 5);
                write_set(w, &request.path, self.state);
                end(w);
            }
            _ => {
                w.text(&request.path);
                w.bool(request.watch);
            }
        }
    }
}

struct Request {
    kind: Kind,
    path: String,
    watch: bool,
}

impl Request {
    fn opcode(&self) -> i32 {
        match self.kind {
            Kind::Get => 4,
            Kind::Exists => 3,
            Kind::Children => 8,
            _ => 14,
        }
    }

    /// The election is a multi like the others.
    fn kind(&self) -> Kind {
        if self.kind == Kind::Create {
            Kind::Multi
        } else {
            self.kind
        }
    }
}

/// Runs failovers for the planned time.
pub fn run(plan: &Plan, stage: &Stage) -> Result<Seen, String> {
    failovers(plan, stage).map_err(|error| format!("controller failover: {error}"))
}

fn failovers(plan: &Plan, stage: &Stage) -> io::Result<Seen> {
    let cluster = Cluster {
        root: &plan.layout.root,
        partitions: plan.layout.count,
        state: &plan.data,
    };
    let mut errands = Errands::open(plan.addresses[0])?;
    cluster.fill(&mut errands)?;
    errands.close()?;
    let mut seen = Seen::default();
    let (clock, mut begun, mut cpu_us) = (Instant::now(), None, 0);
    let mut pulse = Pulse::default();
    for number in 0.. {
        if begun.is_none() && clock.elapsed() >= plan.warm_up {
            stage.begin().map_err(io::Error::other)?;
            (begun, cpu_us) = (Some(Instant::now()), thread_cpu_us());
        }
        if begun.is_some_and(|begun: Instant| begun.elapsed() >= plan.duration) {
            break;
        }
        let address = plan.addresses[number % plan.addresses.len()];
        let started = Instant::now();
        let mut crowd = Crowd::gather(&[address], 1, &Session::new(plan.session_timeout_ms))?;
        seen.sent(Kind::Connect);
        for requests in cluster.script() {
            answer_all(&cluster, &requests, &mut crowd, plan, |answer, now_us| {
                let latency_us = now_us.saturating_sub(answer.request.due_us);
                pulse.answer(latency_us, answer.err);
                seen.sent(answer.request.kind);
                if let Some(begun) = begun {
                    seen.answer(measured(&answer, latency_us, begun.elapsed().as_millis() as u64));
                }
            })?;
        }
        if begun.is_some() {
            seen.round(ROUND, started.elapsed().as_micros() as u64);
        }
        stage.pulse(&mut pulse);
        crowd.close()?;
        seen.sent(Kind::Close);
    }
    seen.thread_cpu_us.push(thread_cpu_us().saturating_sub(cpu_us));
    stage.end().map_err(io::Error::other)?;
    Ok(seen)
}

/// Sends requests with at most the planned number on their way, until all are answered.
fn answer_all(
    cluster: &Cluster<'_>,
    requests: &[Request],
    crowd: &mut Crowd,
    plan: &Plan,
    mut each: impl FnMut(super::conn::Answer<'_>, u64),
) -> io::Result<()> {
    let clock = Instant::now();
    let mut waiting = requests.iter();
    let mut left = requests.len();
    while left > 0 {
        let conn = crowd.conn(0).expect("it is not lost");
        while conn.in_flight() < plan.in_flight {
            let Some(request) = waiting.next() else {
                break;
            };
            let due_us = clock.elapsed().as_micros() as u64;
            conn.request(request.opcode(), request.kind(), due_us, true, |w| {
                cluster.write(request, w);
            });
        }
        crowd.flush(0)?;
        let before = left;
        crowd.turn_whole(PATIENCE, |_, incoming| {
            if let Incoming::Answer(answer) = incoming {
                left -= 1;
                each(answer, clock.elapsed().as_micros() as u64);
            }
        })?;
        if left == before && clock.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("no answer within {PATIENCE:?}")));
        }
    }
    Ok(())
}
