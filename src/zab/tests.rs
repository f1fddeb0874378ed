//! Sentences about whole servers: a few cores, their messages handed over one by one, their disks as fast as the
//! sentence wants. What a seed can find is the simulator's (`tests/simulation.rs`); here stands what must be so.

use bytes::Bytes;

use super::*;
use crate::base::{Epoch, ServerId, Zxid};

const TICK_MS: u64 = 100;

fn z(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(epoch, counter)
}

fn entry(epoch: u32, counter: u32) -> Proposal {
    Proposal {
        zxid: z(epoch, counter),
        txn: Bytes::new(),
    }
}

fn disk(accepted: u32, current: u32, entries: &[(u32, u32)]) -> Recovered {
    Recovered {
        accepted: Epoch(accepted),
        current: Epoch(current),
        base: Zxid::ZERO,
        entries: entries.iter().map(|(epoch, counter)| entry(*epoch, *counter)).collect(),
        trusted: true,
    }
}

/// One core and what it said last.
struct Server {
    node: Node,
    now_ms: u64,
    stored: Mark,
}

impl Server {
    fn start(me: i64, voters: i64, found: Recovered) -> (Server, Vec<Output>) {
        let quorum = Quorum::majority((1..=voters).map(ServerId));
        let settings = Settings {
            tick_ms: TICK_MS,
            ..Settings::new(ServerId(me), quorum)
        };
        let (node, outputs) = Node::start(settings, found, 0).unwrap();
        let stored = Mark::default();
        let mut server = Server {
            node,
            now_ms: 0,
            stored,
        };
        server.note(&outputs);
        (server, outputs)
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        let outputs = self.node.step(input, self.now_ms);
        self.note(&outputs);
        outputs
    }

    fn note(&mut self, outputs: &[Output]) {
        let marks = outputs.iter().filter_map(|output| match output {
            Output::Store { mark, .. } => Some(*mark),
            _ => None,
        });
        self.stored = marks.last().unwrap_or(self.stored);
    }

    /// Everything stored so far is durable.
    fn sync(&mut self) -> Vec<Output> {
        self.step(Input::Durable(self.stored))
    }

    fn wait(&mut self, ms: u64) -> Vec<Output> {
        let until_ms = self.now_ms + ms;
        let mut outputs = Vec::new();
        while self.node.deadline_ms() <= until_ms {
            self.now_ms = self.node.deadline_ms().max(self.now_ms);
            outputs.extend(self.step(Input::Tick));
        }
        self.now_ms = until_ms;
        outputs
    }

    fn hear(&mut self, from: i64, state: State, vote: Vote, round: i64) -> Vec<Output> {
        let version = vote::NOTIFICATION_VERSION;
        let notification = Notification {
            state,
            vote,
            round,
            version,
        };
        self.step(Input::Notified(ServerId(from), notification))
    }

    fn leader_says(&mut self, message: FromLeader) -> Vec<Output> {
        self.step(Input::FromLeader(LINK, message))
    }

    fn learner_says(&mut self, link: Link, message: FromLearner) -> Vec<Output> {
        self.step(Input::FromLearner(link, message))
    }
}

const LINK: Link = Link(1);

fn vote(peer_epoch: i64, zxid: Zxid, leader: i64) -> Vote {
    Vote {
        leader: ServerId(leader),
        zxid: zxid.0 as i64,
        peer_epoch,
    }
}

fn sent(outputs: &[Output]) -> Vec<Message> {
    let sends = outputs.iter().filter_map(|output| match output {
        Output::Send { message, .. } => Some(message.clone()),
        _ => None,
    });
    sends.collect()
}

fn leader_said(outputs: &[Output], link: Link) -> Vec<FromLeader> {
    let sends = outputs.iter().filter_map(|output| match output {
        Output::Send {
            link: to,
            message: Message::FromLeader(message),
        } if *to == link => Some(message.clone()),
        _ => None,
    });
    sends.collect()
}

fn delivered(outputs: &[Output]) -> Vec<Zxid> {
    let delivers = outputs.iter().filter_map(|output| match output {
        Output::Deliver(proposal) => Some(proposal.zxid),
        _ => None,
    });
    delivers.collect()
}

fn why(outputs: &[Output]) -> Option<Why> {
    outputs.iter().find_map(|output| match output {
        Output::Event(Event::Looking { why, .. }) => Some(*why),
        _ => None,
    })
}

// Elections.

#[test]
fn a_server_alone_leads_as_soon_as_its_disk_has_it() {
    let (mut server, outputs) = Server::start(1, 1, disk(0, 0, &[(0, 1)]));
    assert_eq!(
        (server.node.state(), server.node.serving()),
        (State::Leading, Serving::Nobody)
    );
    assert_eq!(delivered(&outputs), []);
    let outputs = server.sync();
    assert_eq!(server.node.serving(), Serving::AsLeader(Epoch(1)));
    assert_eq!(delivered(&outputs), [z(0, 1)]);
    // T-76: its own acknowledgement is one like another's.
    assert_eq!(delivered(&server.step(Input::Propose(z(1, 1), Bytes::new()))), []);
    assert_eq!(delivered(&server.sync()), [z(1, 1)]);
}

#[test]
fn the_wait_for_something_better_ends_when_every_voter_was_heard() {
    let (mut server, _) = Server::start(3, 3, disk(1, 1, &[(1, 1)]));
    let mine = vote(1, z(1, 1), 3);
    server.hear(1, State::Looking, mine, 1);
    assert_eq!(server.node.state(), State::Looking, "server 2 may know better");
    server.hear(2, State::Looking, vote(1, Zxid::ZERO, 2), 1);
    assert_eq!(server.node.state(), State::Leading);

    let (mut server, _) = Server::start(3, 3, disk(1, 1, &[(1, 1)]));
    server.hear(1, State::Looking, mine, 1);
    server.step(Input::Gone(ServerId(2)));
    assert_eq!(server.node.state(), State::Leading, "or is known to be down");

    let (mut server, _) = Server::start(3, 3, disk(1, 1, &[(1, 1)]));
    server.hear(1, State::Looking, mine, 1);
    server.wait(199);
    assert_eq!(server.node.state(), State::Looking);
    server.wait(1);
    assert_eq!(server.node.state(), State::Leading, "or has had 200 ms");
}

#[test]
fn a_better_vote_is_adopted_and_told_to_all() {
    let (mut server, _) = Server::start(3, 3, disk(1, 1, &[(1, 1)]));
    let better = vote(1, z(1, 2), 1);
    let outputs = server.hear(1, State::Looking, better, 1);
    let told: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Notify { to, notification } => Some((to.0, notification.vote)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(1, better), (2, better)]);
}

#[test]
fn a_newer_round_begins_from_ones_own_vote() {
    let (mut server, _) = Server::start(2, 3, disk(1, 1, &[(1, 1)]));
    server.hear(1, State::Looking, vote(1, z(1, 9), 1), 1);
    // Server 1 has gone since; in the next round nobody speaks of it.
    let outputs = server.hear(3, State::Looking, vote(1, Zxid::ZERO, 3), 2);
    let told = outputs.iter().find_map(|output| match output {
        Output::Notify { notification, .. } => Some((notification.vote, notification.round)),
        _ => None,
    });
    assert_eq!(told, Some((vote(1, z(1, 1), 2), 2)));
}

#[test]
fn an_ensemble_is_joined_on_its_leaders_own_word_only() {
    let (mut server, _) = Server::start(3, 3, disk(1, 1, &[(1, 1)]));
    let settled = vote(4, z(1, 1), 1);
    server.hear(2, State::Following, settled, 9);
    assert_eq!(server.node.state(), State::Looking);
    // T-62: no word of server 1 itself, so it may be dead.
    server.hear(2, State::Following, settled, 9);
    assert_eq!(server.node.state(), State::Looking);
    let outputs = server.hear(1, State::Leading, settled, 9);
    assert_eq!(server.node.state(), State::Following);
    assert!(outputs.contains(&Output::Connect(ServerId(1))));
}

#[test]
fn settled_votes_must_name_the_same_epoch() {
    let (mut server, _) = Server::start(4, 4, disk(1, 1, &[]));
    server.hear(2, State::Following, vote(3, z(1, 1), 1), 9);
    server.hear(3, State::Following, vote(4, z(1, 1), 1), 9);
    server.hear(1, State::Leading, vote(4, z(1, 1), 1), 9);
    assert_eq!(
        server.node.state(),
        State::Looking,
        "server 2's word is of an older epoch"
    );
    server.hear(2, State::Following, vote(4, z(1, 1), 1), 9);
    assert_eq!(server.node.state(), State::Following);
}

#[test]
fn who_lost_its_disk_neither_wins_nor_decides() {
    let amnesia = Recovered {
        trusted: false,
        ..disk(0, 0, &[])
    };
    let (mut server, _) = Server::start(3, 3, amnesia);
    for from in [1, 2] {
        server.hear(from, State::Looking, vote(0, Zxid::ZERO, 3), 1);
        server.hear(from, State::Looking, vote(1, z(1, 1), from), 1);
    }
    server.wait(1000);
    assert_eq!(server.node.state(), State::Looking);
}

// Learners.

/// A follower of three that has just promised epoch 2 to server 3.
fn promised(found: Recovered) -> Server {
    let (mut server, _) = Server::start(1, 3, found);
    let settled = vote(1, z(1, 9), 3);
    server.hear(2, State::Following, settled, 1);
    server.hear(3, State::Leading, settled, 1);
    server.step(Input::Connected(ServerId(3), LINK));
    let outputs = server.leader_says(FromLeader::Info(Epoch(2)));
    assert_eq!(sent(&outputs), [], "the promise is stored before it is given");
    let ack = FromLearner::AckEpoch {
        current: Some(Epoch(1)),
        last: Some(server.node.ledger().last()),
    };
    assert_eq!(sent(&server.sync()), [ack.into()]);
    server
}

fn ack(zxid: Zxid) -> Message {
    FromLearner::Ack(zxid).into()
}

#[test]
fn history_then_epoch_then_acknowledgement() {
    let mut server = promised(disk(1, 1, &[(1, 1)]));
    server.leader_says(FromLeader::Diff(z(1, 2)));
    server.leader_says(FromLeader::Proposal(entry(1, 2)));
    server.leader_says(FromLeader::Commit(z(1, 2)));
    let outputs = server.leader_says(FromLeader::NewLeader(Epoch(2)));
    assert_eq!(sent(&outputs), []);
    // T-05, T-06: promise 1, append 2, current epoch 3.
    assert_eq!(server.stored, Mark(3));
    assert_eq!(
        sent(&server.step(Input::Durable(Mark(2)))),
        [],
        "the history alone is not enough"
    );
    let outputs = server.sync();
    assert_eq!(sent(&outputs), [ack(z(2, 0))]);
    assert_eq!(delivered(&outputs), [], "the leader has no quorum yet");
    let outputs = server.leader_says(FromLeader::UpToDate);
    assert_eq!(delivered(&outputs), [z(1, 1), z(1, 2)]);
    assert_eq!(server.node.serving(), Serving::AsFollower(Epoch(2)));
}

#[test]
fn proposals_under_way_are_acknowledged_after_uptodate_only() {
    // T-04: the COMMIT that comes right after NEWLEADER finds its proposal.
    let mut server = promised(disk(1, 1, &[(1, 1)]));
    server.leader_says(FromLeader::Diff(z(1, 1)));
    server.leader_says(FromLeader::Proposal(entry(2, 1)));
    server.leader_says(FromLeader::NewLeader(Epoch(2)));
    server.leader_says(FromLeader::Commit(z(2, 1)));
    server.leader_says(FromLeader::Proposal(entry(2, 2)));
    assert_eq!(sent(&server.sync()), [ack(z(2, 0))]);
    let outputs = server.leader_says(FromLeader::UpToDate);
    assert_eq!(sent(&outputs), [ack(z(2, 0)), ack(z(2, 1)), ack(z(2, 2))]);
    assert_eq!(delivered(&outputs), [z(1, 1), z(2, 1)]);
    assert_eq!(delivered(&server.leader_says(FromLeader::Commit(z(2, 2)))), [z(2, 2)]);
}

#[test]
fn a_proposal_is_acknowledged_when_it_is_durable() {
    let mut server = promised(disk(1, 1, &[(1, 1)]));
    server.leader_says(FromLeader::Diff(z(1, 1)));
    server.leader_says(FromLeader::NewLeader(Epoch(2)));
    server.sync();
    server.leader_says(FromLeader::UpToDate);
    let outputs = server.leader_says(FromLeader::Proposal(entry(2, 1)));
    assert_eq!(sent(&outputs), []);
    // A quorum may be faster than this disk.
    assert_eq!(delivered(&server.leader_says(FromLeader::Commit(z(2, 1)))), [z(2, 1)]);
    assert_eq!(sent(&server.sync()), [ack(z(2, 1))]);
}

#[test]
fn who_promised_this_epoch_before_is_not_counted_again() {
    let (mut server, _) = Server::start(1, 3, disk(2, 1, &[(1, 1)]));
    let settled = vote(1, z(1, 9), 3);
    server.hear(2, State::Following, settled, 1);
    server.hear(3, State::Leading, settled, 1);
    server.step(Input::Connected(ServerId(3), LINK));
    let outputs = server.leader_says(FromLeader::Info(Epoch(2)));
    let not_counted = FromLearner::AckEpoch {
        current: None,
        last: Some(z(1, 1)),
    };
    assert_eq!(sent(&outputs), [not_counted.into()]);
}

#[test]
fn an_older_leader_is_not_followed() {
    let (mut server, _) = Server::start(1, 3, disk(5, 1, &[(1, 1)]));
    let settled = vote(1, z(1, 9), 3);
    server.hear(2, State::Following, settled, 1);
    server.hear(3, State::Leading, settled, 1);
    server.step(Input::Connected(ServerId(3), LINK));
    let outputs = server.leader_says(FromLeader::Info(Epoch(2)));
    assert_eq!(why(&outputs), Some(Why::OldEpoch(Epoch(2))));
    assert!(outputs.contains(&Output::Close(LINK)));
}

#[test]
fn a_stream_with_a_gap_is_left_and_a_snapshot_asked_for() {
    // T-03.
    let mut server = promised(disk(1, 1, &[(1, 1)]));
    server.leader_says(FromLeader::Diff(z(1, 3)));
    let outputs = server.leader_says(FromLeader::Proposal(entry(1, 3)));
    let (last, next) = (z(1, 1), z(1, 3));
    assert_eq!(why(&outputs), Some(Why::Gap { last, next }));
    let settled = vote(1, z(1, 9), 3);
    server.hear(2, State::Following, settled, 1);
    server.hear(3, State::Leading, settled, 1);
    let link = Link(2);
    server.step(Input::Connected(ServerId(3), link));
    let outputs = server.step(Input::FromLeader(link, FromLeader::Info(Epoch(3))));
    assert_eq!(sent(&outputs), []);
    let asks = FromLearner::AckEpoch {
        current: Some(Epoch(1)),
        last: None,
    };
    assert_eq!(sent(&server.sync()), [asks.into()]);
}

#[test]
fn a_truncation_to_nowhere_is_refused() {
    // T-42: (1,2) is not in the log, so there is no telling what would be left.
    let mut server = promised(disk(1, 1, &[(1, 1)]));
    let outputs = server.leader_says(FromLeader::Trunc(z(1, 2)));
    assert_eq!(why(&outputs), Some(Why::CannotTruncate(z(1, 2))));
}

#[test]
fn what_a_snapshot_holds_may_be_sent_again() {
    // T-24.
    let mut server = promised(disk(1, 1, &[(1, 1)]));
    server.leader_says(FromLeader::Snap(z(2, 3)));
    server.leader_says(FromLeader::Proposal(entry(2, 3)));
    server.leader_says(FromLeader::Commit(z(2, 3)));
    server.leader_says(FromLeader::Proposal(entry(2, 4)));
    server.leader_says(FromLeader::Commit(z(2, 4)));
    server.leader_says(FromLeader::NewLeader(Epoch(2)));
    server.sync();
    assert_eq!(delivered(&server.leader_says(FromLeader::UpToDate)), [z(2, 4)]);
}

#[test]
fn a_silent_leader_is_left_after_synclimit() {
    let mut server = promised(disk(1, 1, &[(1, 1)]));
    server.leader_says(FromLeader::Diff(z(1, 1)));
    server.leader_says(FromLeader::NewLeader(Epoch(2)));
    server.sync();
    server.leader_says(FromLeader::UpToDate);
    server.wait(5 * TICK_MS - 1);
    assert_eq!(
        sent(&server.leader_says(FromLeader::Ping(z(1, 1)))),
        [FromLearner::Ping.into()]
    );
    assert_eq!(why(&server.wait(5 * TICK_MS - 1)), None);
    let outputs = server.wait(1);
    assert_eq!(why(&outputs), Some(Why::Silent(ServerId(3))));
    assert!(outputs.contains(&Output::Serving(Serving::Nobody)));
}

// The leader.

/// What a learner of the tests is.
#[derive(Clone, Copy)]
struct Learner {
    server: i64,
    observer: bool,
    accepted: u32,
    current: u32,
    last: Zxid,
}

const FOLLOWER: Learner = Learner {
    server: 1,
    observer: false,
    accepted: 1,
    current: 1,
    last: Zxid::new(1, 1),
};

/// Server 3 of three, elected, with nobody connected.
fn elected(found: Recovered) -> Server {
    let (mut server, _) = Server::start(3, 3, found);
    let mine = server.node.ledger().vote(ServerId(3));
    server.hear(1, State::Looking, mine, 1);
    server.hear(2, State::Looking, mine, 1);
    assert_eq!(server.node.state(), State::Leading);
    server
}

impl Server {
    fn greet(&mut self, link: Link, learner: Learner) -> Vec<Output> {
        self.step(Input::Accepted(link));
        let Learner {
            server,
            observer,
            accepted,
            ..
        } = learner;
        let (server, accepted) = (ServerId(server), Epoch(accepted));
        self.learner_says(
            link,
            FromLearner::Info {
                server,
                observer,
                accepted,
            },
        )
    }

    fn promise(&mut self, link: Link, learner: Learner) -> Vec<Output> {
        let current = Some(Epoch(learner.current));
        let last = Some(learner.last);
        self.learner_says(link, FromLearner::AckEpoch { current, last })
    }

    /// Through to UPTODATE.
    fn join(&mut self, link: Link, learner: Learner, epoch: Epoch) -> Vec<Output> {
        self.greet(link, learner);
        self.sync();
        self.promise(link, learner);
        self.learner_says(link, FromLearner::Ack(epoch.zxid()))
    }
}

/// Server 3 serves with server 1 in epoch 2.
fn serving() -> Server {
    let mut server = elected(disk(1, 1, &[(1, 1)]));
    let outputs = server.join(LINK, FOLLOWER, Epoch(2));
    assert_eq!(
        server.node.serving(),
        Serving::Nobody,
        "its own disk is a vote like another's"
    );
    assert_eq!(leader_said(&outputs, LINK), []);
    let outputs = server.sync();
    assert_eq!(server.node.serving(), Serving::AsLeader(Epoch(2)));
    assert_eq!(delivered(&outputs), [z(1, 1)]);
    assert_eq!(leader_said(&outputs, LINK), [FromLeader::UpToDate]);
    server
}

#[test]
fn a_new_epoch_is_above_every_promise_and_stored_before_it_is_proposed() {
    let mut server = elected(disk(1, 1, &[(1, 1)]));
    let outputs = server.greet(
        LINK,
        Learner {
            accepted: 6,
            ..FOLLOWER
        },
    );
    assert_eq!(sent(&outputs), []);
    assert_eq!(leader_said(&server.sync(), LINK), [FromLeader::Info(Epoch(7))]);
}

#[test]
fn who_is_outvoted_before_anybody_follows_looks_again() {
    // Server 3 is not reached yet, so 1 and 2 elect 2; then 3 comes, and 1 finds it better.
    let gathering = || {
        let (mut server, _) = Server::start(2, 3, disk(1, 1, &[(1, 1)]));
        server.step(Input::Gone(ServerId(3)));
        server.hear(1, State::Looking, vote(1, z(1, 1), 2), 1);
        assert_eq!(server.node.state(), State::Leading);
        let outputs = server.hear(3, State::Looking, vote(1, z(1, 1), 3), 1);
        assert_eq!(why(&outputs), None, "a late candidate alone is no reason");
        server
    };
    let mut server = gathering();
    let outputs = server.hear(1, State::Looking, vote(1, z(1, 1), 3), 1);
    assert_eq!(why(&outputs), Some(Why::Outvoted(ServerId(1))));
    // It is told of the new leader, and follows.
    server.hear(1, State::Following, vote(1, z(1, 1), 3), 1);
    server.hear(3, State::Leading, vote(1, z(1, 1), 3), 1);
    assert_eq!(server.node.state(), State::Following);
    // Not by what was said in another election, nor once a quorum has come.
    let mut server = gathering();
    assert_eq!(why(&server.hear(1, State::Looking, vote(1, z(1, 1), 3), 2)), None);
    server.greet(LINK, FOLLOWER);
    assert_eq!(why(&server.hear(1, State::Looking, vote(1, z(1, 1), 3), 1)), None);
}

#[test]
fn observers_make_no_quorum() {
    // T-19.
    let mut server = elected(disk(1, 1, &[(1, 1)]));
    for (link, number) in [(Link(1), 1), (Link(2), 2), (Link(3), 7)] {
        let observer = Learner {
            server: number,
            observer: true,
            ..FOLLOWER
        };
        server.greet(link, observer);
    }
    assert_eq!(server.node.ledger().accepted(), Epoch(1));
    assert_eq!(why(&server.wait(10 * TICK_MS)), Some(Why::NoQuorum));
}

#[test]
fn a_leader_gives_way_to_more_history_while_promises_are_collected() {
    let mut server = elected(disk(1, 1, &[(1, 1)]));
    let ahead = Learner {
        last: z(1, 2),
        ..FOLLOWER
    };
    server.greet(LINK, ahead);
    server.sync();
    assert_eq!(why(&server.promise(LINK, ahead)), Some(Why::Ahead(ServerId(1))));
    // Later the decision has been made, and what is ahead is cut.
    let mut server = serving();
    server.greet(Link(2), Learner { server: 2, ..ahead });
    let outputs = server.promise(Link(2), Learner { server: 2, ..ahead });
    assert_eq!(leader_said(&outputs, Link(2))[0], FromLeader::Trunc(z(1, 1)));
}

#[test]
fn commits_follow_a_quorum_in_order() {
    let mut server = serving();
    let outputs = server.step(Input::Propose(z(2, 1), Bytes::new()));
    assert_eq!(leader_said(&outputs, LINK), [FromLeader::Proposal(entry(2, 1))]);
    server.step(Input::Propose(z(2, 2), Bytes::new()));
    // Two of three have both, though not this disk: that is a quorum only with it.
    assert_eq!(delivered(&server.learner_says(LINK, FromLearner::Ack(z(2, 1)))), []);
    server.learner_says(LINK, FromLearner::Ack(z(2, 2)));
    let outputs = server.sync();
    assert_eq!(delivered(&outputs), [z(2, 1), z(2, 2)]);
    assert_eq!(
        leader_said(&outputs, LINK),
        [FromLeader::Commit(z(2, 1)), FromLeader::Commit(z(2, 2))]
    );
}

#[test]
fn a_quorum_without_the_leaders_disk_is_enough() {
    let mut server = serving();
    server.join(Link(2), Learner { server: 2, ..FOLLOWER }, Epoch(2));
    server.step(Input::Propose(z(2, 1), Bytes::new()));
    assert_eq!(delivered(&server.learner_says(LINK, FromLearner::Ack(z(2, 1)))), []);
    assert_eq!(
        delivered(&server.learner_says(Link(2), FromLearner::Ack(z(2, 1)))),
        [z(2, 1)]
    );
}

#[test]
fn an_observer_is_told_what_is_decided() {
    let mut server = serving();
    let observer = Learner {
        server: 9,
        observer: true,
        ..FOLLOWER
    };
    server.step(Input::Propose(z(2, 1), Bytes::new()));
    server.join(Link(9), observer, Epoch(2));
    let outputs = server.learner_says(LINK, FromLearner::Ack(z(2, 1)));
    assert_eq!(leader_said(&outputs, Link(9)), [FromLeader::Inform(entry(2, 1))]);
}

#[test]
fn a_sync_waits_for_what_was_proposed_before_it() {
    let mut server = serving();
    let outputs = server.learner_says(LINK, FromLearner::SyncRequest(Bytes::new()));
    assert_eq!(leader_said(&outputs, LINK), [FromLeader::Sync]);
    server.step(Input::Propose(z(2, 1), Bytes::new()));
    assert_eq!(
        sent(&server.learner_says(LINK, FromLearner::SyncRequest(Bytes::new()))),
        []
    );
    server.step(Input::Propose(z(2, 2), Bytes::new()));
    server.learner_says(LINK, FromLearner::Ack(z(2, 2)));
    let outputs = server.sync();
    let (first, second) = (FromLeader::Commit(z(2, 1)), FromLeader::Commit(z(2, 2)));
    assert_eq!(leader_said(&outputs, LINK), [first, FromLeader::Sync, second]);
}

#[test]
fn a_late_learner_gets_decided_pairs_then_open_proposals_then_newleader() {
    let mut server = serving();
    for counter in 1..=2 {
        server.step(Input::Propose(z(2, counter), Bytes::new()));
    }
    server.learner_says(LINK, FromLearner::Ack(z(2, 1)));
    server.sync();
    let late = Learner { server: 2, ..FOLLOWER };
    server.greet(Link(2), late);
    let outputs = server.promise(Link(2), late);
    let expected = [
        FromLeader::Diff(z(2, 1)),
        FromLeader::Proposal(entry(2, 1)),
        FromLeader::Commit(z(2, 1)),
        FromLeader::Proposal(entry(2, 2)),
        FromLeader::NewLeader(Epoch(2)),
    ];
    assert_eq!(leader_said(&outputs, Link(2)), expected);
    // It is registered: what is decided meanwhile reaches it before UPTODATE.
    let outputs = server.learner_says(LINK, FromLearner::Ack(z(2, 2)));
    assert_eq!(leader_said(&outputs, Link(2)), [FromLeader::Commit(z(2, 2))]);
}

#[test]
fn a_leader_without_its_quorum_resigns() {
    let mut server = serving();
    server.step(Input::Closed(LINK));
    let outputs = server.wait(TICK_MS);
    assert_eq!(why(&outputs), Some(Why::LostQuorum));
    assert!(outputs.contains(&Output::Serving(Serving::Nobody)));
    let mut server = serving();
    assert_eq!(
        why(&server.wait(7 * TICK_MS)),
        Some(Why::LostQuorum),
        "or when it is silent"
    );
}

#[test]
fn a_voter_that_promised_more_starts_a_new_epoch() {
    // T-22: it could never follow this one.
    let mut server = serving();
    let promised = Learner {
        server: 2,
        accepted: 5,
        ..FOLLOWER
    };
    assert_eq!(
        why(&server.greet(Link(2), promised)),
        Some(Why::PromisedMore(ServerId(2)))
    );
}

#[test]
fn the_last_counter_ends_the_epoch() {
    // T-25. Nobody counts that far here, so the check is asked directly.
    let mut server = serving();
    let outputs = server.step(Input::Propose(z(2, u32::MAX), Bytes::new()));
    assert_eq!(why(&outputs), Some(Why::Rollover));
}

#[test]
fn a_server_that_dials_again_replaces_itself() {
    let mut server = serving();
    server.now_ms += TICK_MS;
    let outputs = server.greet(Link(5), FOLLOWER);
    assert!(outputs.contains(&Output::Close(LINK)));
    let outputs = server.greet(Link(6), Learner { server: 3, ..FOLLOWER });
    assert!(
        outputs.contains(&Output::Close(Link(6))),
        "nobody else has this server's number"
    );
}

#[test]
fn a_second_server_with_a_number_does_not_push_the_first_one_out() {
    let mut server = serving();
    for link in 5..9 {
        server.now_ms += TICK_MS / 2;
        server.learner_says(LINK, FromLearner::Ping);
        server.now_ms += TICK_MS / 2 - 1;
        let outputs = server.greet(Link(link), FOLLOWER);
        let told = outputs
            .iter()
            .any(|output| matches!(output, Output::Event(Event::SecondOne { .. })));
        assert!(told && outputs.contains(&Output::Close(Link(link))), "{outputs:?}");
        assert!(!outputs.contains(&Output::Close(LINK)));
    }
    server.step(Input::Propose(z(2, 1), Bytes::new()));
    server.sync();
    server.learner_says(LINK, FromLearner::Ack(z(2, 1)));
    assert_eq!(server.node.ledger().delivered(), z(2, 1), "the first one still counts");
}

#[test]
fn who_began_later_is_told_again_what_it_forgot() {
    let (mut server, _) = Server::start(1, 3, disk(1, 1, &[(1, 1), (1, 2)]));
    // A vote that is worse than the own one, which its author must have been told before it looked for a leader.
    let outputs = server.hear(2, State::Looking, vote(1, z(1, 1), 2), 1);
    let told = outputs
        .iter()
        .filter(|output| matches!(output, Output::Notify { to: ServerId(2), .. }));
    assert_eq!(told.count(), 1, "{outputs:?}");
    // Who agrees is told nothing: it would go on for ever.
    let outputs = server.hear(2, State::Looking, vote(1, z(1, 2), 1), 1);
    assert!(
        !outputs.iter().any(|output| matches!(output, Output::Notify { .. })),
        "{outputs:?}"
    );
}

#[test]
fn words_out_of_turn_cost_only_the_one_who_says_them() {
    let mut server = serving();
    server.step(Input::Accepted(Link(7)));
    let outputs = server.learner_says(Link(7), FromLearner::Ack(z(2, 1)));
    let told = Output::Event(Event::Stranger {
        link: Link(7),
        why: "it spoke out of turn",
    });
    assert_eq!(outputs, [told, Output::Close(Link(7))]);
    let outputs = server.learner_says(LINK, FromLearner::Ack(z(2, 9)));
    assert!(
        outputs.contains(&Output::Close(LINK)),
        "it acknowledged what was never proposed"
    );
    assert_eq!(server.node.serving(), Serving::AsLeader(Epoch(2)));
}

#[test]
fn every_event_is_one_line() {
    let (_, outputs) = Server::start(1, 1, disk(0, 0, &[]));
    let lines = outputs.iter().filter_map(|output| match output {
        Output::Event(event) => Some(event.to_string()),
        _ => None,
    });
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            "looking for a leader in round 1: it has just started",
            "server 1 is to lead, elected in round 1 with epoch 0 and zxid 0x0 after 0 ms",
        ]
    );
}

#[test]
fn who_was_found_gone_before_an_election_is_not_waited_for() {
    let (mut server, _) = Server::start(1, 3, disk(1, 1, &[(1, 1)]));
    let settled = vote(1, z(1, 9), 3);
    server.hear(2, State::Following, settled, 1);
    server.hear(3, State::Leading, settled, 1);
    server.step(Input::Connected(ServerId(3), LINK));
    // The election port of the leader is found closed first, then the connection to it breaks.
    server.step(Input::Gone(ServerId(3)));
    server.leader_says(FromLeader::Info(Epoch(2)));
    server.sync();
    server.step(Input::Closed(LINK));
    assert_eq!(server.node.state(), State::Looking);
    server.hear(2, State::Looking, vote(1, z(1, 1), 1), 2);
    assert_eq!(server.node.state(), State::Leading, "everybody who is there has spoken");
}

#[test]
fn a_leader_that_has_slept_asks_at_once_whether_it_still_leads() {
    let mut server = serving();
    let slept_ms = server.node.deadline_ms() - server.now_ms + 5 * TICK_MS;
    server.now_ms += slept_ms;
    let outputs = server.step(Input::Tick);
    assert_eq!(why(&outputs), Some(Why::LostQuorum));
    assert_eq!(server.node.serving(), Serving::Nobody);
}

/// Server 3 of three has sent NEWLEADER to server 1, its own history is on its disk, and then it sleeps.
fn slept_over_newleader(ms: u64) -> (Server, Vec<Output>) {
    let mut server = elected(disk(1, 1, &[(1, 1)]));
    server.greet(LINK, FOLLOWER);
    server.sync();
    server.promise(LINK, FOLLOWER);
    server.sync();
    server.now_ms += ms;
    let outputs = server.step(Input::Tick);
    (server, outputs)
}

#[test]
fn a_leader_that_has_slept_begins_no_epoch_before_it_knows_who_left() {
    let ack = FromLearner::Ack(Epoch(2).zxid());
    let (mut server, _) = slept_over_newleader(3 * TICK_MS);
    server.learner_says(LINK, ack.clone());
    assert_eq!(server.node.serving(), Serving::Nobody);
    server.step(Input::Closed(LINK));
    server.wait(TICK_MS);
    assert_eq!(server.node.serving(), Serving::Nobody, "what it heard was said before");

    let (mut server, _) = slept_over_newleader(3 * TICK_MS);
    server.learner_says(LINK, ack.clone());
    let outputs = server.wait(TICK_MS / 2);
    assert_eq!(server.node.serving(), Serving::AsLeader(Epoch(2)), "nobody left");
    assert_eq!(leader_said(&outputs, LINK).last(), Some(&FromLeader::UpToDate));

    let (mut server, outputs) = slept_over_newleader(6 * TICK_MS);
    assert_eq!(why(&outputs), Some(Why::NoQuorum), "nobody waits for so long");
    server.learner_says(LINK, ack);
    assert_eq!(server.node.serving(), Serving::Nobody);
}
