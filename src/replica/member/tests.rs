//! Sentences about a few members whose packets are handed over at once: what is written anywhere is seen everywhere,
//! who loses the lead goes back to what was seen, and a session is on one server. What a seed can find is the
//! simulator's (`tests/simulation.rs`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use storage::apache::snapshot;

use super::*;
use crate::base::{Epoch, ServerId};
use crate::replica::input::{Answer, Answered, Origin};
use crate::replica::reap::ReapSettings;
use crate::replica::session::Heart;
use crate::tree::Features;
use crate::tree::apache::{self, Building};
use crate::tree::key::Kind;
use crate::wire::error::ErrorCode;
use crate::wire::jute::Writer;
use crate::wire::reply::WriteReply;
use crate::zab::{Mark, Quorum};

const TICK_MS: u64 = 100;

fn features() -> Features {
    Features {
        digest: true,
        extended_types: true,
        ..Features::default()
    }
}

fn settings(me: usize, voters: usize) -> Settings {
    let quorum = Quorum::majority((1..=voters as i64).map(ServerId));
    Settings {
        zab: zab::Settings {
            tick_ms: TICK_MS,
            kept_count: 20,
            ..zab::Settings::new(ServerId(me as i64 + 1), quorum)
        },
        desk: crate::replica::Settings {
            tick_ms: TICK_MS,
            enforce_quota: true,
            reconfig_enabled: false,
            reap: ReapSettings {
                interval_ms: 60_000,
                per_minute_max: 10_000,
                never_used_ms: 0,
            },
            server_id: me as u8 + 1,
        },
        config: format!("server.{me}"),
    }
}

/// What a server's host has: its cores' view, what its clients heard, its disk.
struct Host {
    member: Option<Member>,
    view: View,
    heard: Vec<(Origin, Answer)>,
    fired: usize,
    attached: Vec<(Origin, bool)>,
    displaced: Vec<Origin>,
    log: Vec<Proposal>,
    base: View,
    epochs: (Epoch, Epoch),
    stored: Mark,
    /// Its disk stands still.
    stuck: bool,
    mismatches: usize,
    installs: usize,
}

/// A few members, and packets between them that wait for nothing but a cut.
struct Net {
    hosts: Vec<Host>,
    voters: usize,
    links: BTreeMap<Link, (usize, usize)>,
    link_count: u64,
    queue: VecDeque<(usize, Input)>,
    cut: BTreeSet<usize>,
    now_ms: u64,
    /// Of connections whose clients are there as long as that is said.
    hearts: Vec<Heart>,
    clients_live: bool,
}

fn origin(connection: u32) -> Origin {
    Origin {
        core: 0,
        connection,
        generation: 1,
    }
}

fn fresh(disk: &Host, me: usize, voters: usize, now: Now) -> Member {
    let tree = through_a_stream(&disk.base, disk.base.totals().zxid);
    let found = Recovered {
        accepted: disk.epochs.0,
        current: disk.epochs.1,
        base: tree.totals().zxid,
        entries: disk.log.clone(),
        trusted: true,
    };
    Member::start(settings(me, voters), tree, found, now).unwrap()
}

/// As SNAP carries it.
fn through_a_stream(view: &View, zxid: Zxid) -> Tree {
    let begin = |sessions| snapshot::Writer::stream(Vec::new(), sessions);
    let writer = apache::write(view, begin, &mut |_| {}).unwrap();
    let bytes = writer.finish_stream().unwrap();
    let mut reader = snapshot::Reader::stream(&bytes[..]).unwrap();
    let mut building = Building::new(view.seed(), features());
    building.read(&mut reader, zxid, &mut |_| {}).unwrap();
    reader.finish().unwrap();
    building.finish(zxid).unwrap().tree
}

impl Net {
    /// Voters, and observers behind them.
    fn new(voters: usize, observers: usize) -> Net {
        let mut net = Net {
            hosts: Vec::new(),
            voters,
            links: BTreeMap::new(),
            link_count: 0,
            queue: VecDeque::new(),
            cut: BTreeSet::new(),
            now_ms: 1000,
            hearts: Vec::new(),
            clients_live: true,
        };
        for _ in 0..voters + observers {
            let mut tree = Tree::new(7, features());
            net.hosts.push(Host {
                member: None,
                view: tree.view(),
                heard: Vec::new(),
                fired: 0,
                attached: Vec::new(),
                displaced: Vec::new(),
                log: Vec::new(),
                base: tree.view(),
                epochs: (Epoch(0), Epoch(0)),
                stored: Mark(0),
                stuck: false,
                mismatches: 0,
                installs: 0,
            });
        }
        (0..voters + observers).for_each(|server| net.start(server));
        net.run();
        net.wait(20 * TICK_MS);
        net
    }

    fn now(&self) -> Now {
        Now {
            ms: self.now_ms,
            wall_ms: 1_700_000_000_000 + self.now_ms as i64,
        }
    }

    fn start(&mut self, server: usize) {
        let member = fresh(&self.hosts[server], server, self.voters, self.now());
        self.hosts[server].view = member.view();
        self.hosts[server].member = Some(member);
        self.hosts[server].stored = Mark(0);
        self.obey(server);
    }

    /// Killed: what was stored stays.
    fn kill(&mut self, server: usize) {
        self.hosts[server].member = None;
        self.queue.retain(|(to, _)| *to != server);
        let links = self
            .links
            .iter()
            .filter(|(_, ends)| ends.0 == server || ends.1 == server);
        for (link, ends) in links.map(|(link, ends)| (*link, *ends)).collect::<Vec<_>>() {
            self.links.remove(&link);
            let other = if ends.0 == server { ends.1 } else { ends.0 };
            self.queue.push_back((other, Input::Closed(link)));
        }
    }

    fn step(&mut self, server: usize, input: Input) {
        let now = self.now();
        if let Some(member) = &mut self.hosts[server].member {
            member.step(input, now);
            self.obey(server);
        }
    }

    fn run(&mut self) {
        let mut count = 0;
        while let Some((server, input)) = self.queue.pop_front() {
            self.step(server, input);
            count += 1;
            assert!(count < 100_000, "it never comes to rest");
        }
    }

    fn wait(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.now_ms += 10;
            let now = self.now();
            if self.clients_live {
                self.hearts.iter().for_each(|heart| heart.beat(now.ms));
            }
            for server in 0..self.hosts.len() {
                let due = |member: &Member| member.deadline_ms(now.ms) <= now.ms;
                if self.hosts[server].member.as_ref().is_some_and(due) {
                    self.queue.push_back((server, Input::Tick));
                }
            }
            self.run();
        }
    }

    fn reach(&self, from: usize, to: usize) -> bool {
        self.hosts[to].member.is_some() && !self.cut.contains(&from) && !self.cut.contains(&to)
    }

    fn obey(&mut self, server: usize) {
        let outputs = self.hosts[server].member.as_mut().expect("it runs").take();
        for output in outputs {
            match output {
                Output::Notify { to, notification } => {
                    let to = to.0 as usize - 1;
                    let input = match self.reach(server, to) {
                        true => (to, Input::Notified(ServerId(server as i64 + 1), notification)),
                        false => (server, Input::Gone(ServerId(to as i64 + 1))),
                    };
                    self.queue.push_back(input);
                }
                Output::Connect(id) => self.connect(server, id),
                Output::Close(link) => self.hang_up(server, link),
                Output::Send { link, packet } => self.send(server, link, packet),
                Output::Store { mark, store } => self.store(server, mark, store),
                Output::Published(published) => {
                    let host = &mut self.hosts[server];
                    host.fired += published.fired.len();
                    let answers = published.answers.into_iter();
                    host.heard
                        .extend(answers.map(|Answered { origin, answer, .. }| (origin, answer)));
                    host.view.advance(&published.version);
                }
                Output::Replaced(view) => self.hosts[server].view = view,
                Output::Answer(answered) => self.hosts[server].heard.push((answered.origin, answered.answer)),
                Output::Attached { origin, accepted, .. } => self.hosts[server].attached.push((origin, accepted)),
                Output::Displace(origin) => self.hosts[server].displaced.push(origin),
                Output::Mismatch { .. } => self.hosts[server].mismatches += 1,
                Output::Unreadable { why, .. } => panic!("{why}"),
                Output::Serving(_) | Output::Event(_) => {}
            }
        }
    }

    fn connect(&mut self, server: usize, id: ServerId) {
        let to = id.0 as usize - 1;
        if !self.reach(server, to) {
            return self.queue.push_back((server, Input::NotConnected(id)));
        }
        self.link_count += 1;
        let link = Link(self.link_count);
        self.links.insert(link, (server, to));
        self.queue.push_back((to, Input::Accepted(link)));
        self.queue.push_back((server, Input::Connected(id, link)));
    }

    fn hang_up(&mut self, server: usize, link: Link) {
        if let Some((a, b)) = self.links.remove(&link) {
            let other = if a == server { b } else { a };
            self.queue.push_back((other, Input::Closed(link)));
        }
    }

    fn send(&mut self, server: usize, link: Link, packet: Packet) {
        let Some((a, b)) = self.links.get(&link).copied() else {
            return;
        };
        let to = if a == server { b } else { a };
        if !self.reach(server, to) {
            return;
        }
        let mut post = |input| self.queue.push_back((to, input));
        match packet {
            Packet::Zab(Message::FromLeader(message)) => post(Input::FromLeader(link, message)),
            Packet::Zab(Message::FromLearner(message)) => post(Input::FromLearner(link, message)),
            Packet::Snap(zxid, view) => {
                let tree = through_a_stream(&view, zxid);
                post(Input::Snap(link, zxid, Box::new(tree)));
            }
            Packet::Ping(touched) => {
                post(Input::Touched(link, touched));
                post(Input::FromLearner(link, FromLearner::Ping));
            }
            Packet::Revalidate(touch) => post(Input::Revalidate(link, touch)),
            Packet::Revalidated { session, valid } => post(Input::Revalidated { link, session, valid }),
        }
    }

    fn store(&mut self, server: usize, mark: Mark, store: Store) {
        let host = &mut self.hosts[server];
        match store {
            Store::Append(proposal) => host.log.push(proposal),
            Store::Truncate(zxid) => host.log.retain(|entry| entry.zxid <= zxid),
            Store::Install(zxid, view) => {
                assert_eq!(view.totals().zxid, zxid);
                (host.base, host.installs) = (view, host.installs + 1);
                host.log.clear();
            }
            Store::AcceptedEpoch(epoch) => host.epochs.0 = epoch,
            Store::CurrentEpoch(epoch) => host.epochs.1 = epoch,
        }
        host.stored = mark;
        if !host.stuck {
            self.queue.push_back((server, Input::Durable(mark)));
        }
    }

    fn member(&self, server: usize) -> &Member {
        self.hosts[server].member.as_ref().expect("it runs")
    }

    fn leader(&self) -> usize {
        let leads = |server: &usize| {
            let member = self.hosts[*server].member.as_ref();
            member.is_some_and(Member::leads) && !self.cut.contains(server)
        };
        let leaders: Vec<usize> = (0..self.hosts.len()).filter(leads).collect();
        assert_eq!(leaders.len(), 1, "one leads");
        leaders[0]
    }

    fn follower(&self) -> usize {
        let leader = self.leader();
        (0..self.voters)
            .find(|server| *server != leader && self.hosts[*server].member.is_some())
            .expect("there is another voter")
    }

    // Clients.

    fn heart(&mut self) -> Heart {
        let heart = Heart::default();
        self.hearts.push(heart.clone());
        heart
    }

    fn open(&mut self, server: usize, connection: u32) -> i64 {
        let input = Input::Open {
            origin: origin(connection),
            timeout_ms: 1000,
            heart: self.heart(),
        };
        self.step(server, input);
        self.run();
        match self.hosts[server].heard.last() {
            Some((to, Answer::Opened { session })) if *to == origin(connection) => *session,
            other => panic!("a session is opened: {other:?}"),
        }
    }

    fn attach(&mut self, server: usize, connection: u32, session: i64) -> bool {
        let input = Input::Attach {
            origin: origin(connection),
            session,
            timeout_ms: 1000,
            heart: self.heart(),
        };
        self.step(server, input);
        self.run();
        let (to, accepted) = *self.hosts[server].attached.last().expect("it is answered");
        assert_eq!(to, origin(connection));
        accepted
    }

    fn ask(&mut self, server: usize, who: (u32, i64, i32), op: Op, body: Vec<u8>) {
        let (connection, session, xid) = who;
        let request = WriteRequest {
            origin: origin(connection),
            session,
            xid,
            op,
            body: body.into(),
            ids: Arc::new([]),
            behind_reads: false,
        };
        self.step(server, Input::Write(request));
    }

    /// What the connection heard last.
    fn answer(&self, server: usize, connection: u32) -> Option<&Answer> {
        let mine = self.hosts[server]
            .heard
            .iter()
            .filter(|(to, _)| *to == origin(connection));
        mine.last().map(|(_, answer)| answer)
    }

    /// Every server that runs shows the same.
    fn agree(&self) {
        let up = self.hosts.iter().filter(|host| host.member.is_some());
        let seen = up.map(|host| (host.view.totals().zxid, host.view.totals().digest, seen(&host.view)));
        let seen: Vec<_> = seen.collect();
        assert!(seen.iter().all(|other| *other == seen[0]), "all show the same");
        assert!(self.hosts.iter().all(|host| host.mismatches == 0), "no digest differs");
    }
}

/// Everything that a view shows, but what each server has from its own configuration.
fn seen(view: &View) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let entry = |(key, value): (&[u8], &[u8])| {
        let mut value = value.to_vec();
        if Kind::of(key[0]) == Some(Kind::Children) {
            // In the order in which they came, which a snapshot does not tell.
            let mut names: Vec<&[u8]> = crate::tree::set::names(&value).collect();
            names.sort_unstable();
            value = names.concat();
        }
        (key.to_vec(), value)
    };
    let entries = view.entries().map(entry);
    entries
        .filter(|(key, _)| !key.ends_with(b"/zookeeper/config"))
        .collect()
}

fn create(path: &str, flags: i32) -> Vec<u8> {
    let mut body = Vec::new();
    let mut w = Writer::new(&mut body);
    w.text(path);
    w.buffer(Some(b"data"));
    crate::wire::acl::write_list(&mut w, &[crate::wire::acl::Acl::anyone(31)]);
    w.int(flags);
    body
}

fn path_reply(path: &str, xid: i32) -> Answer {
    Answer::Reply {
        xid,
        reply: WriteReply::Path(path.into()),
    }
}

#[test]
fn members_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Member>();
    is_send::<Input>();
    is_send::<Output>();
}

#[test]
fn what_is_written_anywhere_is_seen_everywhere() {
    let mut net = Net::new(3, 1);
    let zxids: Vec<Zxid> = net.hosts.iter().map(|host| host.view.totals().zxid).collect();
    assert_eq!(
        zxids,
        [Epoch(1).zxid(); 4],
        "nobody shows less than the leader when an epoch begins"
    );
    for server in 0..4 {
        let session = net.open(server, 1);
        assert_eq!((session >> 56) as usize, server + 1, "the session's first server");
        net.ask(server, (1, session, 1), Op::Create, create(&format!("/at{server}"), 0));
        net.ask(server, (1, session, 2), Op::Create, create(&format!("/at{server}"), 0));
        net.ask(server, (1, session, 3), Op::Sync, b"path".to_vec());
        net.run();
        let heard = &net.hosts[server].heard[net.hosts[server].heard.len() - 3..];
        let exists = Answer::Reply {
            xid: 2,
            reply: WriteReply::Error(ErrorCode::NodeExists),
        };
        let synced = Answer::Synced {
            xid: 3,
            path: Bytes::from_static(b"path"),
        };
        let expect = [path_reply(&format!("/at{server}"), 1), exists, synced];
        assert_eq!(heard, expect.map(|answer| (origin(1), answer)));
    }
    net.wait(TICK_MS);
    net.agree();
    assert!(
        net.hosts.iter().all(|host| host.fired == 4),
        "each create, on each server"
    );
    for (server, host) in net.hosts.iter().enumerate() {
        let node = host.view.node("/zookeeper/config").unwrap();
        let text = host.view.data("/zookeeper/config", &node).unwrap();
        assert_eq!(text, format!("server.{server}").as_bytes());
    }
}

#[test]
fn who_loses_the_lead_goes_back_to_what_was_seen() {
    let mut net = Net::new(3, 0);
    let leader = net.leader();
    let session = net.open(leader, 1);
    net.ask(leader, (1, session, 1), Op::Create, create("/kept", 0));
    net.ask(leader, (1, session, 2), Op::Create, create("/kept/e", 1));
    net.run();
    let before = seen(&net.hosts[leader].view);
    // Alone, it goes on preparing for a while.
    net.cut.insert(leader);
    net.ask(leader, (1, session, 3), Op::Create, create("/lost", 0));
    net.ask(leader, (1, session, 4), Op::Create, create("/kept/s-", 2));
    net.ask(leader, (1, session, 5), Op::CloseSession, Vec::new());
    let other = Input::Open {
        origin: origin(2),
        timeout_ms: 1000,
        heart: Heart::default(),
    };
    net.step(leader, other);
    net.run();
    assert_eq!(net.member(leader).waiting(), 4);
    assert_eq!(seen(&net.hosts[leader].view), before, "nobody sees what is not decided");
    net.wait(10 * TICK_MS);
    assert_eq!(net.member(leader).node().serving(), Serving::Nobody);
    assert_eq!(net.member(leader).waiting(), 0);
    assert_eq!(seen(&net.hosts[leader].view), before);
    assert_eq!(
        net.hosts[leader].log.len(),
        7,
        "the log keeps it until a leader says otherwise"
    );
    // The others have gone on without it; the session is alive, and what it asked for never was.
    let newer = net.leader();
    assert!(net.attach(newer, 3, session));
    net.ask(newer, (3, session, 6), Op::Create, create("/kept/s-", 3));
    net.run();
    assert_eq!(net.answer(newer, 3), Some(&path_reply("/kept/s-0000000001", 6)));
    net.cut.clear();
    net.wait(60 * TICK_MS);
    assert_eq!(net.leader(), newer);
    net.agree();
    assert_eq!(net.hosts[leader].installs, 0, "a TRUNC was enough");
    assert_eq!(net.hosts[leader].log.len(), net.hosts[newer].log.len());
}

#[test]
fn what_was_decided_without_being_seen_stays() {
    // A leader whose version holds more than what is decided of it when it loses its part.
    let mut net = Net::new(3, 0);
    let leader = net.leader();
    let session = net.open(leader, 1);
    net.run();
    let zxid = net.member(leader).node().ledger().last();
    let now = net.now();
    let write = |xid: i32| WriteRequest {
        origin: origin(1),
        session,
        xid,
        op: Op::Create,
        body: create(&format!("/n{xid}"), 0).into(),
        ids: Arc::new([]),
        behind_reads: false,
    };
    net.hosts[leader].stuck = true;
    let member = net.hosts[leader].member.as_mut().unwrap();
    (1..=3).for_each(|xid| member.step(Input::Write(write(xid)), now));
    net.obey(leader);
    // Of three in one version, two are acknowledged by both others.
    let links: Vec<Link> = net.links.keys().copied().collect();
    net.queue.clear();
    let two = Zxid(zxid.0 + 2);
    for link in links {
        net.step(leader, Input::FromLearner(link, FromLearner::Ack(two)));
    }
    net.queue.clear();
    let ledger = net.member(leader).node().ledger();
    assert_eq!((ledger.delivered(), ledger.shown()), (two, zxid));
    assert!(
        net.hosts[leader].view.node("/n1").is_none(),
        "half a version is not seen"
    );
    net.cut.insert(leader);
    net.wait(10 * TICK_MS);
    let ledger = net.member(leader).node().ledger();
    assert_eq!((ledger.delivered(), ledger.shown()), (two, two));
    let view = &net.hosts[leader].view;
    assert!(view.node("/n2").is_some() && view.node("/n3").is_none());
}

#[test]
fn the_head_goes_back_whatever_it_was_used_for() {
    let mut net = Net::new(3, 0);
    let leader = net.leader();
    let session = net.open(leader, 1);
    let mut acl_body = Vec::new();
    let mut w = Writer::new(&mut acl_body);
    w.text("/acl");
    w.buffer(None);
    crate::wire::acl::write_list(&mut w, &[crate::wire::acl::Acl::anyone(1)]);
    w.int(0);
    net.cut.insert(leader);
    net.ask(leader, (1, session, 1), Op::Create, create("/q", 0));
    net.ask(leader, (1, session, 2), Op::Create, create("/zookeeper/quota/q", 0));
    let limits = "/zookeeper/quota/q/zookeeper_limits";
    net.ask(leader, (1, session, 3), Op::Create, create(limits, 0));
    net.ask(leader, (1, session, 4), Op::Create, acl_body);
    net.ask(leader, (1, session, 5), Op::Create, create("/e", 1));
    net.run();
    assert_eq!(net.member(leader).quota_paths(), ["/q"]);
    net.wait(10 * TICK_MS);
    assert_eq!(net.member(leader).quota_paths(), [""; 0]);
    // The others' history is taken over, with an ACL of the same number and an ephemeral of the same session.
    let newer = net.leader();
    assert!(net.attach(newer, 3, session));
    net.ask(newer, (3, session, 6), Op::Create, create("/e", 1));
    net.run();
    net.cut.clear();
    net.wait(60 * TICK_MS);
    net.agree();
    let view = &net.hosts[leader].view;
    assert_eq!(view.ephemerals(session), ["/e"]);
    assert!(view.node("/acl").is_none());
}

#[test]
fn a_session_is_on_one_server() {
    let mut net = Net::new(3, 0);
    let (leader, follower) = (net.leader(), net.follower());
    let session = net.open(follower, 1);
    // It goes to the leader; what its old connection says is nobody's word any more.
    assert!(net.attach(leader, 2, session));
    net.ask(follower, (1, session, 1), Op::Create, create("/old", 0));
    net.run();
    assert_eq!(
        net.answer(follower, 1),
        Some(&Answer::Expired),
        "moved, and told without a word"
    );
    assert!(net.hosts[leader].view.node("/old").is_none());
    net.ask(leader, (2, session, 1), Op::Create, create("/new", 0));
    net.run();
    assert_eq!(net.answer(leader, 2), Some(&path_reply("/new", 1)));
    // And back: the connection here is told to go.
    assert!(net.attach(follower, 3, session));
    assert_eq!(net.hosts[leader].displaced, [origin(2)]);
    net.ask(leader, (2, session, 2), Op::Create, create("/old", 0));
    net.run();
    assert!(net.hosts[leader].view.node("/old").is_none());
    assert!(!net.attach(follower, 4, 77), "a session that never was");
    net.agree();
}

#[test]
fn a_session_lives_as_long_as_its_client_is_heard_of() {
    let mut net = Net::new(3, 0);
    let follower = net.follower();
    let heart = Heart::default();
    let input = Input::Open {
        origin: origin(1),
        timeout_ms: 1000,
        heart: heart.clone(),
    };
    net.step(follower, input);
    net.run();
    let Some(Answer::Opened { session }) = net.answer(follower, 1).cloned() else {
        panic!("opened")
    };
    net.ask(follower, (1, session, 1), Op::Create, create("/e", 1));
    for _ in 0..30 {
        heart.beat(net.now_ms);
        net.wait(TICK_MS);
    }
    assert!(net.hosts[follower].view.node("/e").is_some());
    net.wait(900);
    assert!(net.hosts[follower].view.node("/e").is_some());
    net.wait(500);
    assert!(net.hosts[follower].view.node("/e").is_none(), "its time was over");
    assert_eq!(net.answer(follower, 1), Some(&Answer::Expired));
    net.agree();
}

#[test]
fn a_new_leader_gives_every_session_its_full_time() {
    let mut net = Net::new(3, 0);
    let (leader, follower) = (net.leader(), net.follower());
    net.clients_live = false;
    let session = net.open(follower, 1);
    net.wait(800);
    net.kill(leader);
    net.wait(500);
    let newer = net.leader();
    assert!(net.hosts[newer].view.sessions().iter().any(|(id, _)| *id == session));
    assert!(net.attach(newer, 2, session));
    net.wait(1500);
    assert!(net.hosts[newer].view.sessions().is_empty());
}

#[test]
fn who_comes_late_gets_what_it_lacks() {
    let mut net = Net::new(3, 1);
    let leader = net.leader();
    let session = net.open(leader, 1);
    let follower = net.follower();
    net.kill(follower);
    net.kill(3);
    for xid in 1..=50 {
        net.ask(
            leader,
            (1, session, xid),
            Op::Create,
            create(&format!("/n{xid}"), (xid % 2) * 2),
        );
        net.run();
    }
    for server in [follower, 3] {
        net.start(server);
        net.wait(30 * TICK_MS);
        assert_eq!(net.hosts[server].installs, 1, "more than is kept in memory");
    }
    net.agree();
    // What it got is what it starts with again.
    net.kill(follower);
    net.ask(leader, (1, session, 51), Op::Create, create("/last", 0));
    net.run();
    net.start(follower);
    net.wait(30 * TICK_MS);
    assert_eq!(net.hosts[follower].installs, 1, "a DIFF this time");
    net.agree();
    // All at once.
    (0..4).for_each(|server| net.kill(server));
    net.queue.clear();
    (0..4).for_each(|server| net.start(server));
    net.wait(60 * TICK_MS);
    net.agree();
    assert!(net.hosts[0].view.node("/last").is_some());
}

#[test]
fn before_there_is_a_quorum_a_snapshot_holds_the_whole_log() {
    let mut net = Net::new(3, 0);
    let leader = net.leader();
    let session = net.open(leader, 1);
    for xid in 1..=5 {
        net.ask(leader, (1, session, xid), Op::Create, create(&format!("/n{xid}"), 0));
    }
    net.run();
    (0..3).for_each(|server| net.kill(server));
    net.queue.clear();
    // One lost its disk and says so; another is the leader to be, with all of its log still to be confirmed.
    let lost = (leader + 1) % 3;
    let mut empty = Tree::new(8, features());
    (net.hosts[lost].base, net.hosts[lost].epochs) = (empty.view(), (Epoch(0), Epoch(0)));
    net.hosts[lost].log.clear();
    net.start(leader);
    let now = net.now();
    let found = Recovered {
        accepted: Epoch(0),
        current: Epoch(0),
        base: Zxid::ZERO,
        entries: Vec::new(),
        trusted: false,
    };
    let member = Member::start(settings(lost, 3), Tree::new(8, features()), found, now).unwrap();
    net.hosts[lost].view = member.view();
    net.hosts[lost].member = Some(member);
    net.obey(lost);
    net.wait(20 * TICK_MS);
    // It follows, but does not count: the third decides.
    net.start((leader + 2) % 3);
    net.wait(60 * TICK_MS);
    assert_eq!(net.hosts[lost].installs, 1);
    net.agree();
    assert!(net.hosts[lost].view.node("/n5").is_some());
}
