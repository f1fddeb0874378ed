//! What breaks, and when: drawn from the seed, over the first part of its history.
//!
//! Then everything heals, and the ensemble must find together within a bound: one leader, everybody in step with it,
//! new writes through every server, all states equal (Z12).

use ringkeeper::replica::member::Input;
use ringkeeper::tree::Totals;
use ringkeeper::zab::Serving;

use super::world::{Event, TIMEOUT_TICKS, World};

/// A fault, or its end.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Something new is drawn.
    Draw,
    Restart(usize),
    /// Who has most to lose loses power for a moment.
    Flicker,
    Resume(usize),
    FastDisk(usize),
    Heal,
}

/// Between two faults pass so many ticks, at most.
const TICKS_BETWEEN: usize = 8;
/// And a fault lasts so many, at most.
const TICKS_OF_ONE: usize = 16;

impl World {
    /// Lets things break for so long.
    pub fn disturb(&mut self, for_ms: u64) {
        self.at(self.tick_ms * 3, Event::Fault(Fault::Draw));
        self.run(for_ms, |_| false);
    }

    /// Heals everything, and waits until the ensemble has found together.
    pub fn converge(&mut self) {
        self.is_calm = true;
        self.heal();
        for server in 0..self.servers.len() {
            self.resume(server);
            self.start(server);
        }
        let (from_ms, before) = (self.now_ms, self.history.acknowledged_count);
        // A leader without followers and a learner without a leader give up after initLimit; half-open connections
        // of a power failure are noticed after syncLimit.
        let bound_ms = self.tick_ms * 60 + 10_000;
        let found = self.run(from_ms + bound_ms, |world| {
            world.history.acknowledged_count >= before + 10 && world.is_in_step()
        });
        assert!(
            found,
            "Z12: no agreement {bound_ms} ms after everything healed: {:?}",
            self.standing()
        );
        self.tally.converged_ms = self.now_ms - from_ms;
        // Nobody asks any more: sessions end when their time is over (C12), and all states become equal.
        self.send_clients_home();
        let quiet_ms = self.now_ms + self.tick_ms * (TIMEOUT_TICKS + 6);
        self.run(quiet_ms, |_| false);
        let states: Vec<_> = self.servers.iter().map(|host| host.applied).collect();
        assert!(
            states.iter().all(|state| *state == states[0]),
            "Z12: states differ at rest: {states:?}"
        );
        for host in &self.servers {
            let (totals, first) = (host.view().totals(), self.servers[0].view().totals());
            let sums = |totals: &Totals| (totals.digest, totals.nodes, totals.ephemerals, totals.sessions);
            assert_eq!(sums(totals), sums(first), "Z11: states differ at rest");
            assert_eq!(totals.sessions, 0, "C12: a session lives on without its client");
        }
    }

    fn is_in_step(&self) -> bool {
        let mut epochs = self.servers.iter().map(|host| match host.serves {
            Serving::Nobody => None,
            Serving::AsLeader(epoch) | Serving::AsFollower(epoch) | Serving::AsObserver(epoch) => Some(epoch),
        });
        let first = epochs.next().expect("there are servers");
        let leaders = self
            .servers
            .iter()
            .filter(|host| matches!(host.serves, Serving::AsLeader(_)));
        first.is_some() && epochs.all(|epoch| epoch == first) && leaders.count() == 1
    }

    fn standing(&self) -> Vec<Serving> {
        self.servers.iter().map(|host| host.serves).collect()
    }

    fn heal(&mut self) {
        self.network.heal();
        self.servers.iter_mut().for_each(|host| host.disk.slow_ms = 0);
        self.look_again();
    }

    /// A fault begins or ends. The end of one may come after everything has healed, and then does no harm.
    pub fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Draw if self.is_calm => {}
            Fault::Draw => self.draw(),
            Fault::Flicker if self.is_calm => {}
            Fault::Flicker => self.flicker(),
            Fault::Restart(server) => self.start(server),
            Fault::Resume(server) => self.resume(server),
            Fault::FastDisk(server) => self.servers[server].disk.slow_ms = 0,
            Fault::Heal => {
                self.network.heal();
                self.look_again();
            }
        }
    }

    fn draw(&mut self) {
        let next_ms = self.ticks(TICKS_BETWEEN);
        self.at(next_ms, Event::Fault(Fault::Draw));
        let lasts_ms = self.ticks(TICKS_OF_ONE);
        let victim = self.victim();
        // Misfortunes come together: the next one meets servers that are busy with this one.
        if self.random.chance(25) {
            let soon_ms = self.random.below(250) as u64;
            self.at(soon_ms, Event::Fault(Fault::Flicker));
        }
        match self.random.below(12) {
            0..4 => {
                let tells = self.random.chance(60);
                self.crash(victim, tells);
                self.at(lasts_ms, Event::Fault(Fault::Restart(victim)));
            }
            4 => {
                // All at once: what survives is what was synced.
                for server in 0..self.servers.len() {
                    self.crash(server, true);
                    let back_ms = self.ticks(4);
                    self.at(back_ms, Event::Fault(Fault::Restart(server)));
                }
            }
            5 => {
                self.pause(victim);
                self.at(lasts_ms, Event::Fault(Fault::Resume(victim)));
            }
            6 => {
                self.servers[victim].disk.slow_ms = 1 + self.ticks(2);
                self.at(lasts_ms, Event::Fault(Fault::FastDisk(victim)));
            }
            7 => {
                // A connection breaks; both ends learn of it.
                let links = self.network.of(victim);
                if let Some(link) = links.get(self.random.below(links.len().max(1))) {
                    self.hang_up(*link, victim, true);
                    self.feed(victim, Input::Closed(*link));
                }
            }
            8 => {
                // One against all others, both ways or one way; its connections hang, or are reset.
                if self.random.chance(50) {
                    let links = self.network.of(victim);
                    links.into_iter().for_each(|link| self.reset(link));
                }
                let ways = self.random.below(3);
                for other in (0..self.servers.len()).filter(|other| *other != victim) {
                    self.network.cut[victim][other] |= ways != 1;
                    self.network.cut[other][victim] |= ways != 2;
                }
                self.at(lasts_ms, Event::Fault(Fault::Heal));
            }
            9 => {
                // Some pairs, some directions.
                for from in 0..self.servers.len() {
                    for to in (0..self.servers.len()).filter(|to| *to != from) {
                        self.network.cut[from][to] |= self.random.chance(30);
                    }
                }
                self.at(lasts_ms, Event::Fault(Fault::Heal));
            }
            10 => {
                self.network.ghost_percent = self.random.below(30);
                self.at(lasts_ms, Event::Fault(Fault::Heal));
            }
            _ => {
                self.network.loss_percent = self.random.below(60);
                self.network.delay_ms = 1 + self.random.below(60);
                self.at(lasts_ms, Event::Fault(Fault::Heal));
            }
        }
    }

    /// A server that is killed and back at once, before the others have gone on without it.
    fn flicker(&mut self) {
        let up = (0..self.servers.len()).filter(|server| self.servers[*server].is_up());
        let Some(victim) = up.max_by_key(|server| self.servers[*server].disk.waiting_count()) else {
            return;
        };
        let tells = self.random.chance(60);
        self.crash(victim, tells);
        let back_ms = 1 + self.random.below(150) as u64;
        self.at(back_ms, Event::Fault(Fault::Restart(victim)));
    }

    /// Anybody, but more often the leader.
    fn victim(&mut self) -> usize {
        let leader = self
            .servers
            .iter()
            .position(|host| matches!(host.serves, Serving::AsLeader(_)));
        match leader {
            Some(leader) if self.random.chance(40) => leader,
            _ => self.random.below(self.servers.len()),
        }
    }

    fn ticks(&mut self, most: usize) -> u64 {
        self.random.below(most * self.tick_ms as usize) as u64 + 1
    }
}
