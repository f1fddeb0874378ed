//! What is done to an ensemble, round by round, and what must come back after each.
//!
//! A round picks a fault from its seed, lets it act, heals it, and waits until every member serves and writes go on.
//! Histories are checked by the caller, once, over all rounds.

use std::fmt;
use std::time::Duration;

use super::ensemble::Ensemble;
use super::load::Load;
use super::mount::Mount;
use super::net::Net;
use super::random::Random;
use crate::peers::wait_until;

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// kill -9 of the leader.
    KillLeader,
    /// kill -9 of a follower.
    KillFollower,
    /// kill -9 of the leader and of followers until no majority is left.
    KillMajority,
    /// kill -9 of every server at once.
    KillAll,
    /// SIGSTOP of the leader.
    PauseLeader,
    /// SIGSTOP of a follower.
    PauseFollower,
    /// The leader reaches nobody, clients neither.
    IsolateLeader,
    /// A follower reaches nobody.
    IsolateFollower,
    /// The leader and one follower do not reach each other; everybody else reaches both.
    CutPair,
    /// What the leader sends to a follower is lost; the other way is open.
    MuteLeader,
    /// The leader and a minority on one side, a majority on the other; clients reach all.
    Split,
    /// The leader's disk fills up to the last byte.
    FillLeader,
    /// A follower's disk does.
    FillFollower,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Faults in rounds.
pub struct Rounds<'r> {
    /// For messages.
    pub what: &'r str,
    /// What may be picked; each equally often.
    pub faults: &'r [Fault],
    /// How long pauses and cuts last.
    pub lasting: Duration,
    /// Where members are cut off from each other.
    pub net: Option<Net>,
    /// What the members' data is on, if it can be full.
    pub disks: Vec<Mount>,
    /// Members that ended because their disk was full.
    pub ended: u32,
    /// Where all random choices begin.
    pub seed: u64,
    /// All of them.
    pub random: Random,
}

/// Writes that show that an ensemble serves.
const WRITES: u64 = 20;
const GO_ON_MAX: Duration = Duration::from_secs(40);
const SERVE_MAX: Duration = Duration::from_secs(60);

impl<'a> Rounds<'a> {
    /// Faults that are over at once, on members whose network and disks are the machine's.
    pub fn of(what: &'a str, faults: &'a [Fault], seed: u64) -> Rounds<'a> {
        Rounds {
            what,
            faults,
            lasting: Duration::ZERO,
            net: None,
            disks: Vec::new(),
            ended: 0,
            seed,
            random: Random::new(seed),
        }
    }

    /// Plays so many rounds. Gives how often each fault was played.
    pub fn play(&mut self, count: u64, ensemble: &mut Ensemble, load: &Load) -> String {
        let mut played: Vec<(Fault, u32)> = self.faults.iter().map(|fault| (*fault, 0)).collect();
        let first = self.seed as usize;
        for round in 0..count {
            // In turn, so that few rounds show every fault.
            let pick = (first + round as usize) % self.faults.len();
            let fault = self.faults[pick];
            let what = format!("{} round {round} (seed {}): {fault}", self.what, self.seed);
            self.round(fault, &what, ensemble, load);
            played[pick].1 += 1;
        }
        let played: Vec<String> = played.iter().map(|(fault, times)| format!("{fault} {times}")).collect();
        played.join(", ")
    }

    fn round(&mut self, fault: Fault, what: &str, ensemble: &mut Ensemble, load: &Load) {
        let leader = ensemble.wait_all(what);
        self.expect_writes(ensemble, load, &format!("{what}: before"));
        let count = ensemble.members.len();
        let mut others: Vec<usize> = (0..count).filter(|index| *index != leader).collect();
        let rotate = self.random.below(others.len());
        others.rotate_left(rotate);
        let follower = others[0];
        std::thread::sleep(Duration::from_millis(self.random.below(150) as u64));
        match fault {
            Fault::KillLeader => self.kill(&[leader], what, ensemble, load),
            Fault::KillFollower => self.kill(&[follower], what, ensemble, load),
            Fault::KillMajority => {
                let mut killed = others[..count / 2].to_vec();
                killed.push(leader);
                self.kill(&killed, what, ensemble, load);
            }
            Fault::KillAll => self.kill(&(0..count).collect::<Vec<_>>(), what, ensemble, load),
            Fault::PauseLeader => self.pause(leader, what, ensemble, load),
            Fault::PauseFollower => self.pause(follower, what, ensemble, load),
            Fault::IsolateLeader => self.cut(what, ensemble, load, |net| net.isolate(leader)),
            Fault::IsolateFollower => self.cut(what, ensemble, load, |net| net.isolate(follower)),
            Fault::MuteLeader => self.cut(what, ensemble, load, |net| net.mute(leader, follower)),
            Fault::CutPair => self.cut(what, ensemble, load, |net| {
                net.mute(leader, follower);
                net.mute(follower, leader);
            }),
            Fault::FillLeader => self.fill(leader, true, what, ensemble, load),
            Fault::FillFollower => self.fill(follower, false, what, ensemble, load),
            Fault::Split => {
                let mut minority = others[..(count - 1) / 2 - 1].to_vec();
                minority.push(leader);
                self.cut(what, ensemble, load, |net| {
                    for one in &minority {
                        for other in (0..count).filter(|other| !minority.contains(other)) {
                            net.mute(*one, other);
                            net.mute(other, *one);
                        }
                    }
                });
            }
        }
        ensemble.wait_all_for(&format!("{what}: all serve again"), SERVE_MAX);
        self.expect_writes(ensemble, load, &format!("{what}: after"));
    }

    /// Kills them in the same moment; where a majority is left, writes go on without them. Then all come back.
    fn kill(&mut self, indices: &[usize], what: &str, ensemble: &mut Ensemble, load: &Load) {
        indices.iter().for_each(|index| ensemble.members[*index].kill9());
        if indices.len() <= (ensemble.members.len() - 1) / 2 {
            self.expect_writes(ensemble, load, &format!("{what}: meanwhile"));
        } else {
            std::thread::sleep(Duration::from_millis(self.random.below(300) as u64));
        }
        indices.iter().for_each(|index| ensemble.members[*index].start());
    }

    fn pause(&mut self, index: usize, what: &str, ensemble: &mut Ensemble, load: &Load) {
        ensemble.members[index].signal("STOP");
        let begun = std::time::Instant::now();
        self.expect_writes(ensemble, load, &format!("{what}: meanwhile"));
        std::thread::sleep(self.lasting.saturating_sub(begun.elapsed()));
        ensemble.members[index].signal("CONT");
        self.expect_one_leader(what, ensemble);
    }

    /// No byte is free on a member's disk for a while. A leader refuses what would add, or ends; a follower goes on for as
    /// long as its reserve lasts, and ends then. One that ended is started again when there is room.
    fn fill(&mut self, index: usize, is_leader: bool, what: &str, ensemble: &mut Ensemble, load: &Load) {
        let refused = |ensemble: &Ensemble| -> Option<u64> {
            let count = ensemble.members[index].mntr();
            count.get("zk_ringkeeper_writes_refused")?.parse().ok()
        };
        let before = refused(ensemble).expect("a count of refused writes");
        let ballast = self.disks[index].ballast("ballast", 0);
        let begun = std::time::Instant::now();
        while begun.elapsed() < self.lasting {
            // Without this follower there is a quorum, whatever it does.
            if !is_leader {
                self.expect_writes(ensemble, load, &format!("{what}: meanwhile"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let has_refused = refused(ensemble).is_some_and(|count| count > before);
        std::fs::remove_file(ballast).expect("the ballast");
        // It may be on its way out.
        let mut ended = None;
        wait_until(Duration::from_millis(500), || {
            ended = ensemble.members[index].reap();
            ended.is_some()
        });
        assert!(
            !is_leader || has_refused || ended.is_some(),
            "{}",
            ensemble.state(&format!("{what}: nobody noticed that the leader's disk is full"))
        );
        if let Some(status) = ended {
            let name = ensemble.members[index].name();
            let is_full = matches!(status, Some(21 | 22));
            assert!(
                is_full,
                "{}",
                ensemble.state(&format!(
                    "{what}: {name} ended with {status:?}, not because its disk is full"
                ))
            );
            self.ended += 1;
            ensemble.members[index].start();
        }
    }

    fn cut(&mut self, what: &str, ensemble: &mut Ensemble, load: &Load, act: impl FnOnce(&mut Net)) {
        let net = self.net.as_mut().expect("a network to cut");
        act(net);
        let begun = std::time::Instant::now();
        self.expect_writes(ensemble, load, &format!("{what}: meanwhile"));
        std::thread::sleep(self.lasting.saturating_sub(begun.elapsed()));
        self.net.as_mut().expect("a network to mend").mend();
        self.expect_one_leader(what, ensemble);
    }

    /// A leader that was away finds out that it is none.
    fn expect_one_leader(&self, what: &str, ensemble: &mut Ensemble) {
        let one = || ensemble.leader().is_some();
        assert!(
            wait_until(SERVE_MAX, one),
            "{}",
            ensemble.state(&format!("{what}: one leader"))
        );
    }

    fn expect_writes(&self, ensemble: &Ensemble, load: &Load, what: &str) {
        if load.goes_on(WRITES, GO_ON_MAX).is_none() {
            panic!(
                "{}",
                ensemble.state(&format!("{what}: {WRITES} writes within {GO_ON_MAX:?}"))
            );
        }
    }
}
