//! Clients: each has a session and a connection, asks a few things at once, and goes elsewhere when nobody answers.
//!
//! A connection keeps its order in both directions. A client numbers its requests once in its session, whatever
//! connection they go over, and never asks again for what it has no answer to.

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;

use ringkeeper::base::Zxid;
use ringkeeper::wire::reply::WriteReply;

use super::core::{ToClient, ToServer};
use super::history::History;
use super::model::{Access, Ask, Said};
use super::network::Life;
use super::random::Random;
use super::server::Work;
use super::world::{Event, World};

/// A connection between a client and a server's life.
pub struct Channel {
    client: usize,
    server: Life,
    /// The client's end, the server's end.
    open: [bool; 2],
    /// When the last word on its way arrives: to the client, to the server.
    last_ms: [u64; 2],
}

/// A client.
pub struct Client {
    pub session: i64,
    timeout_ms: i32,
    xid: i32,
    channel: Option<u32>,
    is_open: bool,
    /// The newest state it has seen.
    seen: Zxid,
    heard_ms: u64,
    server: usize,
    /// Requests without an answer, in order, by their numbers and places in the history.
    waiting: VecDeque<(i32, usize)>,
    /// Watches of this connection that have not fired, by path.
    watches: BTreeMap<String, usize>,
    /// It has asked for the end of its session, and asks for nothing more in it.
    is_closing: bool,
    /// It asks nothing any more.
    pub is_gone: bool,
}

impl Client {
    pub fn new(timeout_ms: i32) -> Client {
        Client {
            session: 0,
            timeout_ms,
            xid: 0,
            channel: None,
            is_open: false,
            seen: Zxid::ZERO,
            heard_ms: 0,
            server: 0,
            waiting: VecDeque::new(),
            watches: BTreeMap::new(),
            is_closing: false,
            is_gone: false,
        }
    }
}

impl World {
    /// A client's turn.
    pub fn ask(&mut self, client: usize) {
        if self.clients[client].is_gone {
            return;
        }
        let pause = 1 + self.random.below(self.think_ms) as u64;
        self.at(pause, Event::Ask(client));
        let me = &self.clients[client];
        if me.channel.is_none() {
            return self.dial_in(client);
        }
        let silent_ms = self.now_ms - me.heard_ms;
        let impatient = silent_ms > me.timeout_ms as u64 * 2 / 3;
        // Sometimes it goes elsewhere with what it asked still on the way.
        if impatient || self.random.chance(2) {
            self.leave(client);
            return self.dial_in(client);
        }
        if !self.clients[client].is_open || self.clients[client].is_closing {
            return;
        }
        for _ in 0..1 + self.random.below(3) {
            let ask = draw(&mut self.random);
            self.clients[client].is_closing = ask == Ask::Close;
            self.request(client, ask);
            if self.clients[client].is_closing {
                break;
            }
        }
    }

    fn dial_in(&mut self, client: usize) {
        let server = match self.random.chance(20) || self.servers[self.clients[client].server].member.is_none() {
            true => self.random.below(self.servers.len()),
            false => self.clients[client].server,
        };
        self.clients[client].server = server;
        if !self.servers[server].is_serving() {
            // Refused, or nobody is there.
            self.clients[client].server = self.random.below(self.servers.len());
            return;
        }
        self.channel_count += 1;
        let (id, life) = (self.channel_count, self.life(server));
        self.channels.insert(
            id,
            Channel {
                client,
                server: life,
                open: [true, true],
                last_ms: [0, 0],
            },
        );
        let me = &mut self.clients[client];
        (me.channel, me.is_open, me.heard_ms) = (Some(id), false, self.now_ms);
        let connect = ToServer::Connect {
            who: client,
            session: me.session,
            seen: me.seen,
            timeout_ms: me.timeout_ms,
        };
        self.say(id, connect);
    }

    fn request(&mut self, client: usize, ask: Ask) {
        let me = &mut self.clients[client];
        me.xid += 1;
        let (xid, id) = (me.xid, me.channel.expect("it is connected"));
        let index = self.history.asks(client, me.session, xid, ask.clone());
        me.waiting.push_back((xid, index));
        self.say(id, ToServer::Request { xid, ask });
    }

    /// A client gives its connection up, without a word about what it waits for.
    pub fn leave(&mut self, client: usize) {
        let me = &mut self.clients[client];
        let Some(id) = me.channel.take() else { return };
        me.is_open = false;
        me.waiting.clear();
        me.watches.clear();
        if std::mem::take(&mut me.is_closing) {
            // Whether the session is over or not, this client is through with it.
            (me.session, me.xid) = (0, 0);
        }
        self.say(id, ToServer::End);
        self.close_end(id, 0);
    }

    fn say(&mut self, id: u32, said: ToServer) {
        let delay = self.delay();
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        let at_ms = (self.now_ms + delay).max(channel.last_ms[1]);
        channel.last_ms[1] = at_ms;
        self.at(at_ms - self.now_ms, Event::Said(id, said));
    }

    /// A server says something to a client.
    pub fn tell(&mut self, server: usize, told: Vec<(u32, ToClient)>) {
        let life = self.life(server);
        for (id, said) in told {
            let delay = self.delay();
            let Some(channel) = self.channels.get_mut(&id).filter(|channel| channel.server == life) else {
                continue;
            };
            let at_ms = (self.now_ms + delay).max(channel.last_ms[0]);
            channel.last_ms[0] = at_ms;
            let ends = matches!(said, ToClient::End | ToClient::Refused);
            self.at(at_ms - self.now_ms, Event::Told(id, said));
            if ends {
                self.close_end(id, 1);
            }
        }
    }

    fn close_end(&mut self, id: u32, end: usize) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.open[end] = false;
        }
    }

    /// A server's machine closes all its connections, or does not even do that.
    pub fn drop_channels(&mut self, life: Life, tells: bool) {
        let there = self
            .channels
            .iter()
            .filter(|(_, channel)| channel.server == life && channel.open[1]);
        for id in there.map(|(id, _)| *id).collect::<Vec<u32>>() {
            self.close_end(id, 1);
            if tells {
                let delay = self.delay();
                let at_ms = (self.now_ms + delay).max(self.channels[&id].last_ms[0]);
                self.at(at_ms - self.now_ms, Event::Told(id, ToClient::End));
            }
        }
    }

    /// What a client said arrives.
    pub fn arrives(&mut self, id: u32, said: ToServer) {
        let Some(channel) = self.channels.get(&id) else { return };
        let (server, life) = channel.server;
        let ends = matches!(said, ToServer::End);
        if channel.open[1] && self.servers[server].is_up() && self.servers[server].life == life {
            self.work(server, Work::Client(id, said));
        }
        if ends {
            self.channels.remove(&id);
        }
    }

    /// What a server said arrives.
    pub fn hears(&mut self, id: u32, said: ToClient) {
        let Some(channel) = self.channels.get(&id).filter(|channel| channel.open[0]) else {
            return;
        };
        let client = channel.client;
        if self.clients[client].channel != Some(id) {
            return;
        }
        (client, &said).hash(&mut self.hash);
        let now_ms = self.now_ms;
        let me = &mut self.clients[client];
        me.heard_ms = now_ms;
        match said {
            ToClient::Connected { session } => {
                assert!(me.session == 0 || me.session == session, "a client keeps its session");
                (me.session, me.is_open) = (session, true);
            }
            ToClient::Refused => {
                // A new life.
                *me = Client {
                    server: me.server,
                    seen: me.seen,
                    is_gone: me.is_gone,
                    ..Client::new(me.timeout_ms)
                };
                self.channels.remove(&id);
            }
            ToClient::End => {
                self.leave(client);
                self.clients[client].server = self.random.below(self.servers.len());
            }
            ToClient::Event { path, zxid } => me.event(&mut self.history, &path, zxid),
            ToClient::Reply { xid, zxid, said } => {
                if me.reply(&mut self.history, xid, zxid, said) {
                    self.leave(client);
                }
            }
        }
    }

    /// Nobody asks anything any more; sessions are left to themselves.
    pub fn send_clients_home(&mut self) {
        for client in 0..self.clients.len() {
            self.clients[client].is_gone = true;
        }
    }
}

impl Client {
    fn event(&mut self, history: &mut History, path: &str, zxid: Zxid) {
        self.sees(zxid);
        let watch = self.watches.remove(path);
        history.fires(watch.unwrap_or_else(|| panic!("C9: nobody watches {path}")), zxid);
    }

    /// Gives whether the session is over.
    fn reply(&mut self, history: &mut History, xid: i32, zxid: Zxid, said: Said) -> bool {
        let (first, index) = self.waiting.pop_front().expect("C1: an answer to nothing");
        assert_eq!(first, xid, "C1: answers come in the order of the requests");
        self.sees(zxid);
        for watch in self.watches.values() {
            history.passes(*watch, zxid);
        }
        let watched = match (history.ask(index), &said) {
            (Ask::Get { path, watch: true }, Said::Node(Some(_))) | (Ask::Exists { path, watch: true }, _) => {
                Some(path.clone())
            }
            _ => None,
        };
        if let Some(path) = watched {
            match self.watches.get(&path) {
                Some(watch) => history.watches_again(*watch, zxid),
                None => {
                    let watch = history.watches(index, &path, zxid);
                    self.watches.insert(path, watch);
                }
            }
        }
        let closed = *history.ask(index) == Ask::Close && said == Said::Write(WriteReply::Nothing);
        history.hears(index, zxid, said);
        closed
    }

    /// C4: a client never goes back, wherever it is connected.
    fn sees(&mut self, zxid: Zxid) {
        assert!(
            zxid >= self.seen,
            "C4: a client that has seen {} is shown {zxid}",
            self.seen
        );
        self.seen = zxid;
    }
}

/// A few paths, so that clients meet.
fn path(random: &mut Random) -> String {
    let top = random.of(&["/a", "/b", "/c"]);
    match random.below(3) {
        0 => top.to_owned(),
        _ => format!("{top}/{}", random.below(5)),
    }
}

fn access(random: &mut Random) -> Access {
    match random.below(10) {
        0 => Access::Read,
        1 => Access::Nothing,
        _ => Access::All,
    }
}

fn draw_write(random: &mut Random) -> Ask {
    let data = vec![random.below(256) as u8; random.below(12)];
    let version = if random.chance(30) { random.below(4) as i32 } else { -1 };
    match random.below(10) {
        0..3 => Ask::Create {
            path: path(random),
            data,
            flags: if random.chance(25) { 1 } else { 0 },
            access: access(random),
        },
        3..5 => Ask::Create {
            path: format!("{}/s-", random.of(&["/a", "/b"])),
            data,
            flags: random.of(&[2, 3, 3, 3]),
            access: access(random),
        },
        5..8 => Ask::Set {
            path: path(random),
            data,
            version,
        },
        _ => Ask::Delete {
            path: path(random),
            version,
        },
    }
}

fn draw(random: &mut Random) -> Ask {
    let watch = random.chance(30);
    match random.below(100) {
        0..50 => draw_write(random),
        50..60 => Ask::Multi((0..1 + random.below(4)).map(|_| draw_part(random)).collect()),
        60..72 => Ask::Get {
            path: path(random),
            watch,
        },
        72..80 => Ask::Exists {
            path: path(random),
            watch,
        },
        80..90 => Ask::Children { path: path(random) },
        90..98 => Ask::Sync,
        98 => Ask::Close,
        _ => Ask::Children { path: "/".into() },
    }
}

fn draw_part(random: &mut Random) -> Ask {
    match random.chance(25) {
        true => Ask::Check {
            path: path(random),
            version: -1,
        },
        false => draw_write(random),
    }
}
