//! What must hold among servers, checked as it happens: Z1 to Z11 of the notes on reliability.
//!
//! The checker sees everything: what every disk holds, what every server shows its clients. It keeps the one order in
//! which transactions were decided, by whoever delivered each first; every server's states must be points of it.

use std::collections::BTreeMap;

use ringkeeper::base::{Epoch, Zxid};
use ringkeeper::zab::Proposal;

use super::disk::Image;
use super::server::Server;

/// A state that clients see: how many transactions are in it, a chain over all of them, the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Applied {
    pub count: usize,
    pub chain: u64,
    pub zxid: Zxid,
}

impl Applied {
    pub fn apply(&mut self, proposal: &Proposal) {
        self.count += 1;
        self.chain = mix(mix(self.chain, proposal.zxid.0), id_of(proposal));
        self.zxid = proposal.zxid;
    }
}

/// splitmix64's step over both.
pub fn mix(a: u64, b: u64) -> u64 {
    let mut mixed = a.rotate_left(23) ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ mixed >> 31
}

/// What a transaction is told by: session, request, place, time.
pub fn id_of(proposal: &Proposal) -> u64 {
    let header = proposal
        .txn
        .first_chunk::<32>()
        .expect("a transaction begins with its header");
    let words = header
        .chunks(8)
        .map(|word| u64::from_be_bytes(word.try_into().expect("eight bytes")));
    words.fold(0, mix)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Decided {
    zxid: Zxid,
    id: u64,
    chain: u64,
}

impl Decided {
    fn by(before: u64, proposal: &Proposal) -> Decided {
        let (zxid, id) = (proposal.zxid, id_of(proposal));
        let chain = mix(mix(before, zxid.0), id);
        Decided { zxid, id, chain }
    }
}

/// Everything ever seen.
pub struct Checker {
    voters: Vec<usize>,
    proposed: BTreeMap<Zxid, (u64, Proposal)>,
    decided: Vec<Decided>,
    /// States that were handed out before they were decided, by their chain: from which chain, by which transaction.
    reached: BTreeMap<u64, (u64, Decided)>,
    leaders: BTreeMap<Epoch, usize>,
    /// The end of the history that each epoch begins with.
    first: BTreeMap<Epoch, Zxid>,
    promised: Vec<Epoch>,
    entered: Vec<Epoch>,
    digests: BTreeMap<Zxid, u64>,
}

impl Checker {
    pub fn new(voters: Vec<usize>, server_count: usize) -> Checker {
        Checker {
            voters,
            proposed: BTreeMap::new(),
            decided: Vec::new(),
            reached: BTreeMap::new(),
            leaders: BTreeMap::new(),
            first: BTreeMap::new(),
            promised: vec![Epoch(0); server_count],
            entered: vec![Epoch(0); server_count],
            digests: BTreeMap::new(),
        }
    }

    pub fn decided_count(&self) -> usize {
        self.decided.len()
    }

    pub fn epoch_count(&self) -> usize {
        self.leaders.len()
    }

    /// Z1, Z4: a leader proposes the next zxid of its own epoch, once.
    pub fn proposes(&mut self, server: usize, epoch: Epoch, proposal: &Proposal) {
        let (zxid, id) = (proposal.zxid, id_of(proposal));
        assert_eq!(zxid.epoch(), epoch.0, "Z4: server {server} proposes {zxid} in {epoch}");
        assert_eq!(
            self.leaders.get(&epoch),
            Some(&server),
            "Z7: server {server} proposes {zxid}"
        );
        let before = self.proposed.insert(zxid, (id, proposal.clone()));
        assert!(before.is_none(), "Z1: {zxid} is proposed twice");
        let previous = Zxid(zxid.0 - 1);
        assert!(
            previous == epoch.zxid() || self.proposed.contains_key(&previous),
            "Z4: {zxid} is proposed without {previous}"
        );
    }

    /// A state goes into a snapshot that is handed out; it may be decided without being delivered one by one.
    pub fn reaches(&mut self, before: Applied, proposal: &Proposal) {
        let decided = Decided::by(before.chain, proposal);
        self.reached.insert(decided.chain, (before.chain, decided));
    }

    /// Z1 to Z5, Z10: a server in the state `before` shows a transaction to its clients.
    pub fn delivers(&mut self, server: usize, before: Applied, proposal: &Proposal, servers: &[Server]) {
        let delivered = Decided::by(before.chain, proposal);
        if let Some(known) = self.decided.get(before.count) {
            let number = before.count + 1;
            assert_eq!(*known, delivered, "Z2: server {server} delivers as number {number}");
            return;
        }
        self.catch_up(server, before, servers);
        let chain = self.decided.last().map_or(0, |last| last.chain);
        assert_eq!(
            chain, before.chain,
            "Z2: server {server} delivers {} behind another history",
            proposal.zxid
        );
        self.decide(server, delivered, servers);
    }

    /// What a snapshot brought is decided as soon as it is shown.
    fn catch_up(&mut self, server: usize, shown: Applied, servers: &[Server]) {
        let mut missing = Vec::new();
        let mut chain = shown.chain;
        while self.decided.len() + missing.len() < shown.count {
            let Some((before, decided)) = self.reached.get(&chain) else {
                panic!(
                    "Z2: server {server} shows {} transactions, {} are decided",
                    shown.count,
                    self.decided.len()
                );
            };
            missing.push(*decided);
            chain = *before;
        }
        for decided in missing.into_iter().rev() {
            self.decide(server, decided, servers);
        }
    }

    fn decide(&mut self, server: usize, next: Decided, servers: &[Server]) {
        let (zxid, id) = (next.zxid, next.id);
        assert_eq!(
            self.proposed.get(&zxid).map(|(id, _)| *id),
            Some(id),
            "Z1: server {server} delivers {zxid}, which nobody proposed"
        );
        let last = self.decided.last().map_or(Zxid::ZERO, |last| last.zxid);
        assert!(last < zxid, "Z5: {zxid} is decided behind {last}");
        let continues = last.epoch() == zxid.epoch() && zxid.0 == last.0 + 1;
        let begins = last.epoch() < zxid.epoch() && zxid.counter() == 1;
        assert!(continues || begins, "Z4: {zxid} is decided behind {last}");
        let copies = self
            .voters
            .iter()
            .filter(|voter| servers[**voter].disk.image.holds(zxid, id))
            .count();
        assert!(
            copies > self.voters.len() / 2,
            "Z10: {zxid} is decided by server {server} with {copies} durable copies"
        );
        self.decided.push(next);
    }

    /// Z6 to Z8: a leader begins to serve, with everything that was decided before and nothing else. Gives whether a
    /// later epoch has begun without its knowing. Only what a quorum has said within syncLimit excuses that: nobody can
    /// know what others did in the meantime.
    pub fn leads(
        &mut self,
        server: usize,
        epoch: Epoch,
        applied: Applied,
        has_quorum: bool,
        servers: &[Server],
    ) -> bool {
        let before = self.leaders.insert(epoch, server);
        assert!(
            before.is_none_or(|other| other == server),
            "Z7: servers {before:?} and {server} lead in {epoch}"
        );
        self.catch_up(server, applied, servers);
        let own = self.decided.partition_point(|decided| decided.zxid.epoch() <= epoch.0);
        let is_overtaken = own < self.decided.len();
        assert!(
            applied.count == own && (has_quorum || !is_overtaken),
            "Z8: the leader of {epoch}, server {server}, has {} of {} decided transactions, {own} before its own epoch",
            applied.count,
            self.decided.len()
        );
        self.shows(server, applied);
        is_overtaken
    }

    /// Z2, Z11: a server begins to serve in a state that is a point of the one order.
    pub fn shows(&self, server: usize, applied: Applied) {
        let Some(index) = applied.count.checked_sub(1) else {
            return;
        };
        let known = self.decided.get(index).map(|known| (known.zxid, known.chain));
        assert_eq!(
            known,
            Some((applied.zxid, applied.chain)),
            "Z2: what server {server} shows"
        );
    }

    /// Z6, Z8: the history that an epoch begins with, as its leader hands it out, has all that earlier ones decided:
    /// a quorum has promised to decide nothing more in them.
    pub fn begins(&mut self, server: usize, epoch: Epoch, first: Applied) {
        let count = self.decided.partition_point(|decided| decided.zxid.epoch() < epoch.0);
        let mut chain = first.chain;
        for _ in count..first.count {
            let Some((before, _)) = self.reached.get(&chain) else {
                panic!("Z8: server {server} begins {epoch} with what nobody decided and no log holds");
            };
            chain = *before;
        }
        let decided = count.checked_sub(1).map_or(0, |last| self.decided[last].chain);
        assert!(
            first.count >= count && chain == decided,
            "Z8: server {server} begins {epoch} with {} transactions up to {}, and {count} are decided",
            first.count,
            first.zxid
        );
        self.first.entry(epoch).or_insert(first.zxid);
    }

    /// Z9: a promise leaves.
    pub fn promises(&mut self, server: usize, epoch: Epoch, image: &Image) {
        assert!(
            image.accepted >= epoch,
            "Z9: server {server} promises {epoch}, but its disk says {}",
            image.accepted
        );
        self.promised[server] = self.promised[server].max(epoch);
    }

    /// Z9: an ACK leaves.
    pub fn acknowledges(&mut self, server: usize, zxid: Zxid, image: &Image) {
        if zxid.counter() > 0 {
            let id = self
                .proposed
                .get(&zxid)
                .map(|(id, _)| *id)
                .expect("only what was proposed is acknowledged");
            assert!(
                image.holds(zxid, id),
                "Z9: server {server} acknowledges {zxid}, but its disk ends at {}",
                image.last()
            );
            return;
        }
        let epoch = Epoch(zxid.epoch());
        assert!(
            image.current >= epoch,
            "Z9: server {server} acknowledges {epoch}, but its disk says {}",
            image.current
        );
        self.entered[server] = self.entered[server].max(epoch);
        self.has_first(server, epoch, image);
    }

    /// Z9: what a server finds when it starts again.
    pub fn recovers(&self, server: usize, image: &Image) {
        let (accepted, current) = (self.promised[server], self.entered[server]);
        assert!(
            image.accepted >= accepted,
            "Z9: server {server} promised {accepted} and finds {}",
            image.accepted
        );
        assert!(
            image.current >= current,
            "Z9: server {server} acknowledged {current} and finds {}",
            image.current
        );
        if self.leaders.contains_key(&image.current) {
            self.has_first(server, image.current, image);
        }
    }

    fn has_first(&self, server: usize, epoch: Epoch, image: &Image) {
        if let Some(first) = self.first.get(&epoch) {
            assert!(
                image.last() >= *first,
                "Z9: server {server} is in {epoch}, which begins with {first}, but its disk ends at {}",
                image.last()
            );
        }
    }

    /// Z8: what is decided stays on a quorum's disks. A follower that comes back in the same epoch is told to forget
    /// open proposals, which may be decided on others' disks while it does so; it gets them again.
    pub fn removes(&self, server: usize, keeps: Zxid, to_be: &Image, servers: &[Server]) {
        for entry in to_be.log.iter().filter(|entry| entry.zxid > keeps) {
            let (zxid, id) = (entry.zxid, id_of(entry));
            let found = self.decided.binary_search_by_key(&zxid, |decided| decided.zxid);
            if !found.is_ok_and(|index| self.decided[index].id == id) {
                continue;
            }
            let others = self.voters.iter().filter(|voter| **voter != server);
            let copies = others
                .filter(|voter| servers[**voter].disk.image.holds(zxid, id))
                .count();
            assert!(
                copies > self.voters.len() / 2,
                "Z8: server {server} removes {zxid}, which is decided, and {copies} others have it"
            );
        }
        let base = to_be.base;
        let known = base.count.checked_sub(1).and_then(|index| self.decided.get(index));
        let is_decided = known.is_some_and(|known| known.chain == base.chain);
        assert!(
            base.zxid <= keeps || !is_decided,
            "Z8: server {server} goes back from {} to {keeps}",
            base.zxid
        );
    }

    /// Z11: the same zxid is the same state everywhere.
    pub fn digests(&mut self, server: usize, zxid: Zxid, digest: u64) {
        let known = *self.digests.entry(zxid).or_insert(digest);
        assert_eq!(known, digest, "Z11: the state at {zxid} on server {server}");
    }

    /// Everything that was decided, in order.
    pub fn decided(&self) -> Vec<Proposal> {
        let proposal = |decided: &Decided| self.proposed[&decided.zxid].1.clone();
        self.decided.iter().map(proposal).collect()
    }
}
