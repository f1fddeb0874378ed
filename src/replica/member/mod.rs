//! A member of an ensemble as one value: agreement ([`Node`]), the writing desk ([`Replica`]), and the clients of this
//! server between the two. Inputs go in, outputs come out in the order in which they are obeyed; no I/O.
//!
//! Who does what:
//! * As a leader, a write of a client here or of a learner's becomes a transaction of the head at once; it is proposed,
//!   and published when it is decided. `published ≤ decided ≤ prepared`; the disk votes like a learner's.
//! * As a learner (`learning`), a write goes to the leader, and what is decided is applied as it comes. The answer to
//!   the client is made from the transaction with its session and number.
//! * Without a leader nobody is served: what waits is dropped, the head is what clients saw last.
//!
//! What a start finds, and why it is enough: the end of the log is kept out of the tree and in memory (`Recovery`), as
//! much as learners may lack; everything before it is applied, decided or not. So a TRUNC to a point in that end only
//! shortens a list. One that goes further back would need a tree that is nowhere: [`Node`] refuses it by itself and asks
//! for a SNAP, which is right wherever TRUNC is. It takes a former leader that alone logged more than that, then died,
//! and still nothing is read from the disk a second time. What was applied and is not known to be decided is seen by
//! nobody before a leader has confirmed it: only then is anybody served.

mod input;
mod learning;
mod request;

use std::collections::VecDeque;

use bytes::Bytes;

pub use input::{Input, Output, Packet, RequestPacket, Store};

use self::learning::Learning;
use super::desk::{Log, Now, Replica};
use super::input::{Published, WriteRequest};
use super::recover::decode;
use super::role::{Decoded, Forwarded};
use super::session::Sessions;
use crate::base::Zxid;
use crate::tree::{Tree, Version, View};
use crate::wire::request::Op;
use crate::zab::{self, FromLeader, FromLearner, Link, Message, Node, Proposal, Recovered, Serving, StartError, State};

/// Configuration of a member.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of agreement.
    pub zab: zab::Settings,
    /// Of the desk.
    pub desk: super::Settings,
    /// The membership, as clients read it in `/zookeeper/config`. Each server has it from its own configuration
    /// (`ZKDatabase#initConfigInZKDatabase`); none if it is empty.
    pub config: String,
}

/// A member of an ensemble.
pub struct Member {
    node: Node,
    desk: Replica,
    serving: Serving,
    /// As a leader: everything up to here is decided.
    decided: Zxid,
    /// As a leader: sessions opened or closed by transactions that nobody sees yet.
    turned: VecDeque<(Zxid, i64)>,
    learning: Learning,
    config: String,
    /// A leader's state, while its SNAP is being handled.
    received: Option<Box<Tree>>,
    /// What a leader proposed and is not decided, taken apart once.
    proposed: VecDeque<Decoded>,
    outputs: Vec<Output>,
    mismatches: u64,
    /// What the last comparison of digests found while nobody is served: the transaction, and the digest here and there.
    doubt: Option<(i64, u64, u64)>,
    expired: u64,
}

/// Transactions on their way from the desk to agreement.
#[derive(Default)]
struct Prepared(Vec<(Zxid, Bytes)>);

impl Log for Prepared {
    fn append(&mut self, zxid: Zxid, payload: &[u8]) {
        self.0.push((zxid, Bytes::copy_from_slice(payload)));
    }
}

impl Member {
    /// Starts with a tree and what the log holds behind it; [`Member::take`] gives what is to be done first.
    pub fn start(settings: Settings, mut tree: Tree, found: Recovered, now: Now) -> Result<Member, StartError> {
        assert_eq!(
            tree.totals().zxid,
            found.base,
            "the tree is the state that the entries follow"
        );
        let (node, outputs) = Node::start(settings.zab, found, now.ms)?;
        tree.set_config(&settings.config, now.wall_ms);
        let mut member = Member {
            node,
            desk: Replica::without_sessions(tree, settings.desk, now),
            serving: Serving::Nobody,
            decided: Zxid::ZERO,
            turned: VecDeque::new(),
            learning: Learning::default(),
            config: settings.config,
            received: None,
            proposed: VecDeque::new(),
            outputs: Vec::new(),
            mismatches: 0,
            doubt: None,
            expired: 0,
        };
        member.obey_all(outputs, now);
        Ok(member)
    }

    /// Something happened.
    pub fn step(&mut self, input: Input, now: Now) {
        // A leader that has slept too long is none: it finds that out before it answers or hears anybody.
        if self.node.state() == State::Leading && self.node.deadline_ms() <= now.ms {
            self.feed(zab::Input::Tick, now);
        }
        match input {
            Input::Tick => self.tick(now),
            Input::Notified(from, notification) => self.feed(zab::Input::Notified(from, notification), now),
            Input::Gone(server) => self.feed(zab::Input::Gone(server), now),
            Input::Connected(server, link) => self.feed(zab::Input::Connected(server, link), now),
            Input::NotConnected(server) => self.feed(zab::Input::NotConnected(server), now),
            Input::Accepted(link) => self.feed(zab::Input::Accepted(link), now),
            Input::Closed(link) => self.feed(zab::Input::Closed(link), now),
            Input::FromLeader(link, message) => self.hear_leader(link, message, now),
            Input::Snap(link, zxid, tree) => {
                self.received = Some(tree);
                self.feed(zab::Input::FromLeader(link, FromLeader::Snap(zxid)), now);
                self.received = None;
            }
            Input::Revalidated { link, session, valid } => self.revalidated(link, session, valid),
            Input::FromLearner(link, message) => self.feed(zab::Input::FromLearner(link, message), now),
            Input::Touched(_, touched) if self.leads() => {
                let each = touched.into_iter();
                each.for_each(|touch| self.desk.touch(touch.session, touch.timeout_ms, now));
            }
            Input::Touched(..) => {}
            Input::Revalidate(link, touch) => self.revalidate(link, touch, now),
            Input::Durable(mark) => self.feed(zab::Input::Durable(mark), now),
            Input::Write(request) => self.write(&request, now),
            Input::Open {
                origin,
                timeout_ms,
                heart,
            } => self.open(origin, timeout_ms, heart, now),
            Input::Attach {
                origin,
                session,
                timeout_ms,
                heart,
            } => self.attach(origin, session, timeout_ms, heart, now),
            Input::Detach { origin, session } => self.detach(origin, session),
            Input::Room(level) => self.desk.set_level(level),
        }
    }

    /// Ends a turn: what is decided becomes visible. Gives everything that is to be done, in order.
    pub fn take(&mut self) -> Vec<Output> {
        self.publish();
        std::mem::take(&mut self.outputs)
    }

    /// When [`Input::Tick`] is due.
    pub fn deadline_ms(&self, now_ms: u64) -> u64 {
        let deadline_ms = self.node.deadline_ms();
        match self.leads() {
            true => deadline_ms.min(self.desk.next_tick_ms(now_ms)),
            false => deadline_ms,
        }
    }

    /// A view pinned at what clients see.
    pub fn view(&self) -> View {
        self.desk.view()
    }

    /// Agreement: what this server is, whom it serves, what is logged and decided.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// As a leader: all live sessions.
    pub fn sessions(&self) -> &Sessions {
        self.desk.sessions()
    }

    /// Paths that have a quota.
    pub fn quota_paths(&self) -> Vec<String> {
        self.desk.quota_paths()
    }

    /// The tree's digest after every 128th transaction that clients can see, oldest first.
    pub fn digests(&self) -> Vec<(i64, u64)> {
        self.desk.digests()
    }

    /// Transactions that are applied and not visible.
    pub fn waiting(&self) -> usize {
        self.desk.waiting()
    }

    /// Transactions that led to another digest than their author's.
    pub fn digest_mismatches(&self) -> u64 {
        self.mismatches
    }

    /// Sessions that this server has found to be over.
    pub fn sessions_expired(&self) -> u64 {
        self.expired
    }

    /// Pieces of old versions that wait for the last core to move on.
    pub fn retired(&self) -> usize {
        self.desk.retired()
    }

    /// Frees what no core can see any more.
    pub fn reclaim(&mut self, budget: usize) -> usize {
        self.desk.reclaim(budget)
    }

    fn leads(&self) -> bool {
        matches!(self.serving, Serving::AsLeader(_))
    }

    fn tick(&mut self, now: Now) {
        if self.node.deadline_ms() <= now.ms {
            self.feed(zab::Input::Tick, now);
        }
        if self.leads() && self.desk.next_tick_ms(now.ms) <= now.ms {
            let mut prepared = Prepared::default();
            self.expired += self.desk.tick(now, &mut prepared) as u64;
            self.propose(prepared, now);
        }
    }

    // Agreement.

    fn feed(&mut self, input: zab::Input, now: Now) {
        let outputs = self.node.step(input, now.ms);
        self.obey_all(outputs, now);
    }

    fn obey_all(&mut self, outputs: Vec<zab::Output>, now: Now) {
        for output in outputs {
            self.obey(output, now);
        }
    }

    fn obey(&mut self, output: zab::Output, now: Now) {
        let output = match output {
            zab::Output::Notify { to, notification } => Output::Notify { to, notification },
            zab::Output::Connect(to) => Output::Connect(to),
            zab::Output::Close(link) => Output::Close(link),
            zab::Output::Send { link, message } => {
                let packet = self.packet(message, now);
                Output::Send { link, packet }
            }
            zab::Output::Store { mark, store } => {
                let store = self.store(store, now);
                Output::Store { mark, store }
            }
            zab::Output::Event(event) => Output::Event(event),
            zab::Output::Deliver(proposal) => return self.deliver(&proposal, now),
            zab::Output::Serving(serving) => return self.serve(serving, now),
            zab::Output::Request { link, request } => return self.write_for(link, &request, now),
            zab::Output::Synced => return self.synced(),
        };
        self.outputs.push(output);
    }

    fn packet(&mut self, message: Message, now: Now) -> Packet {
        match message {
            Message::FromLeader(FromLeader::Snap(zxid)) => Packet::Snap(zxid, self.state_at(zxid)),
            Message::FromLearner(FromLearner::Ping) => Packet::Ping(self.learning.touched(now)),
            message => Packet::Zab(message),
        }
    }

    /// The state that a SNAP carries: what clients see, or, before there is a quorum, that with the whole log.
    fn state_at(&mut self, zxid: Zxid) -> View {
        if self.leads() {
            assert_eq!(
                zxid,
                self.node.ledger().shown(),
                "a serving leader's SNAP is what clients see"
            );
            return self.desk.view();
        }
        self.publish();
        let ledger = self.node.ledger();
        let behind = ledger.history().after(ledger.delivered());
        let behind: Vec<Decoded> = behind.take_while(|entry| entry.zxid <= zxid).map(take_apart).collect();
        match behind.is_empty() {
            true => self.desk.view(),
            false => self.desk.view_with(behind.iter()),
        }
    }

    fn store(&mut self, store: zab::Store, now: Now) -> Store {
        match store {
            zab::Store::Append(proposal) => Store::Append(proposal),
            zab::Store::Truncate(zxid) => {
                self.proposed.clear();
                Store::Truncate(zxid)
            }
            zab::Store::Install(zxid) => {
                self.proposed.clear();
                let mut tree = self.received.take().expect("a SNAP comes with its state");
                tree.set_config(&self.config, now.wall_ms);
                assert_eq!(tree.totals().zxid, zxid, "the state is that of the SNAP");
                self.doubt = None;
                let view = self.desk.install(*tree);
                self.outputs.push(Output::Replaced(view.clone()));
                Store::Install(zxid, view)
            }
            zab::Store::AcceptedEpoch(epoch) => Store::AcceptedEpoch(epoch),
            zab::Store::CurrentEpoch(epoch) => Store::CurrentEpoch(epoch),
        }
    }

    /// A leader's packet. A transaction that cannot be read is no history: that leader is left.
    fn hear_leader(&mut self, link: Link, message: FromLeader, now: Now) {
        if let FromLeader::Proposal(proposal) | FromLeader::Inform(proposal) = &message {
            match decode(proposal.zxid, &proposal.txn) {
                Ok(decoded) => self.proposed.push_back(decoded),
                Err(why) => {
                    let zxid = proposal.zxid;
                    self.outputs.push(Output::Unreadable { link, zxid, why });
                    self.outputs.push(Output::Close(link));
                    return self.feed(zab::Input::Closed(link), now);
                }
            }
        }
        self.feed(zab::Input::FromLeader(link, message), now);
    }

    /// Decided: as a leader it is in the head already, as a learner it is applied now.
    fn deliver(&mut self, proposal: &Proposal, now: Now) {
        if self.leads() {
            self.decided = proposal.zxid;
            return;
        }
        let zxid = proposal.zxid.0 as i64;
        while self.proposed.pop_front_if(|(header, ..)| header.zxid < zxid).is_some() {}
        let decoded = self.proposed.pop_front_if(|(header, ..)| header.zxid == zxid);
        let decoded = decoded.unwrap_or_else(|| take_apart(proposal));
        self.apply(&decoded, now);
    }

    fn serve(&mut self, serving: Serving, now: Now) {
        self.publish();
        let before = std::mem::replace(&mut self.serving, serving);
        if serving != Serving::Nobody {
            self.tell_doubt();
        }
        match serving {
            Serving::Nobody => {
                if let Serving::AsLeader(_) = before {
                    self.give_up(now);
                }
                self.learning = Learning::default();
            }
            Serving::AsLeader(epoch) => {
                let version = self.desk.lead(epoch, now);
                self.decided = epoch.zxid();
                self.show_epoch(version);
            }
            Serving::AsFollower(epoch) | Serving::AsObserver(epoch) => {
                self.learning.begin(now);
                let version = self.desk.follow(epoch);
                version.into_iter().for_each(|version| self.show_epoch(version));
            }
        }
        self.outputs.push(Output::Serving(serving));
    }

    /// A version without news, before anybody is served in a new epoch.
    fn show_epoch(&mut self, version: Version) {
        self.outputs.push(Output::Published(Published {
            version,
            fired: Vec::new(),
            answers: Vec::new(),
        }));
    }

    /// Back to what is decided: the head returns to what clients see, and what was decided behind that is applied.
    fn give_up(&mut self, now: Now) {
        let ledger = self.node.ledger();
        let behind = ledger.history().after(ledger.shown());
        let behind: Vec<Decoded> = behind.map(take_apart).collect();
        let delivered = ledger.delivered().0 as i64;
        self.desk
            .give_up(self.turned.drain(..).map(|(_, session)| session), now);
        for decoded in behind.iter().take_while(|(header, ..)| header.zxid <= delivered) {
            self.apply(decoded, now);
        }
        self.publish();
    }

    /// Everything that is decided becomes visible.
    fn publish(&mut self) {
        self.desk.seal_open();
        let unlogged = self.desk.take_unlogged().into_iter();
        self.outputs.extend(unlogged.map(Output::Answer));
        let through = if self.leads() {
            self.decided
        } else {
            self.desk.last_prepared()
        };
        let mut shown = false;
        while let Some(published) = self.desk.durable(through) {
            self.outputs.push(Output::Published(published));
            shown = true;
        }
        if shown {
            let shown = self.desk.last_published();
            while self.turned.pop_front_if(|(zxid, _)| *zxid <= shown).is_some() {}
            self.node.show(shown);
        }
    }

    // As a leader.

    /// Hands to agreement what the desk prepared, as long as this server leads.
    fn propose(&mut self, prepared: Prepared, now: Now) {
        let turned = prepared.0.iter().filter_map(|(zxid, txn)| Some((*zxid, turned(txn)?)));
        self.turned.extend(turned);
        for (zxid, txn) in prepared.0 {
            if self.leads() {
                self.feed(zab::Input::Propose(zxid, txn), now);
            }
        }
    }

    fn write(&mut self, request: &WriteRequest, now: Now) {
        if !self.leads() {
            return self.forward(request, now);
        }
        // Of a connection that has lost its session since, or was closed with the last leader.
        if self.desk.sessions().owner(request.session) != Some(request.origin) {
            return;
        }
        if request.op == Op::Sync {
            return self.desk.sync(request);
        }
        let mut prepared = Prepared::default();
        self.desk.write(request, now, &mut prepared);
        self.propose(prepared, now);
    }

    fn write_for(&mut self, link: Link, packet: &[u8], now: Now) {
        let mut prepared = Prepared::default();
        match request::read(packet) {
            Ok(request) => {
                let forwarded = Forwarded {
                    session: request.session,
                    cxid: request.cxid,
                    opcode: request.opcode,
                    body: request.body,
                    ids: &request.ids,
                };
                self.desk.write_for(link, &forwarded, now, &mut prepared);
            }
            Err(why) => {
                // Nobody could be answered.
                let zxid = self.desk.last_prepared();
                self.outputs.push(Output::Unreadable { link, zxid, why });
            }
        }
        self.propose(prepared, now);
    }
}

/// The session that a transaction opens or closes.
fn turned(txn: &[u8]) -> Option<i64> {
    let (session, kind) = (txn.first_chunk::<8>()?, txn.get(28..)?.first_chunk::<4>()?);
    matches!(i32::from_be_bytes(*kind), -10 | -11).then(|| i64::from_be_bytes(*session))
}

/// A transaction that was found to be whole when it came in.
fn take_apart(proposal: &Proposal) -> Decoded {
    decode(proposal.zxid, &proposal.txn).unwrap_or_else(|why| panic!("{}: {why}", proposal.zxid))
}

#[cfg(test)]
mod tests;
