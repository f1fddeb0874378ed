//! The trace of a run: everything that members say and that clients hear, in one hash, so that two runs of a seed can
//! be held against each other.
//!
//! Values go into the hash as they are. They become text only where every step is to be told: making text of them
//! took a seventh of a run.

use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use ringkeeper::replica::member::{Output, Packet, Store};

use super::check::mix;
use super::world::World;

/// The trace's hash.
pub struct Mixer(u64);

impl Mixer {
    pub fn new(seed: u64) -> Mixer {
        Mixer(seed)
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let last = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.write_u64(last);
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = mix(self.0, word);
    }
    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }
    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}

impl World {
    /// A member says something.
    pub fn trace(&mut self, server: usize, output: &Output) {
        let hash = &mut self.hash;
        (self.now_ms, server, discriminant(output)).hash(hash);
        match output {
            Output::Notify { to, notification } => (to, notification).hash(hash),
            Output::Connect(to) => to.hash(hash),
            Output::Close(link) => link.hash(hash),
            Output::Send { link, packet } => {
                (link, discriminant(packet)).hash(hash);
                match packet {
                    Packet::Zab(message) => message.hash(hash),
                    Packet::Snap(zxid, view) => (zxid, view.totals()).hash(hash),
                    Packet::Ping(touched) => touched.hash(hash),
                    Packet::Revalidate(touch) => touch.hash(hash),
                    Packet::Revalidated { session, valid } => (session, valid).hash(hash),
                }
            }
            Output::Store { mark, store } => {
                (mark, discriminant(store)).hash(hash);
                match store {
                    Store::Append(proposal) => proposal.zxid.hash(hash),
                    Store::Truncate(zxid) => zxid.hash(hash),
                    Store::Install(zxid, view) => (zxid, view.totals()).hash(hash),
                    Store::AcceptedEpoch(epoch) | Store::CurrentEpoch(epoch) => epoch.hash(hash),
                }
            }
            Output::Serving(serving) => serving.hash(hash),
            Output::Published(published) => {
                let fired = published.fired.len();
                (published.version.totals, fired, &published.answers).hash(hash);
            }
            Output::Replaced(view) => view.totals().hash(hash),
            Output::Answer(answered) => answered.hash(hash),
            Output::Attached {
                origin,
                session,
                timeout_ms,
                accepted,
            } => (origin, session, timeout_ms, accepted).hash(hash),
            Output::Displace(origin) => origin.hash(hash),
            Output::Event(said) => said.hash(hash),
            Output::Unreadable { link, zxid, why } => (link, zxid, why).hash(hash),
            Output::Mismatch { zxid, here, there } => (zxid, here, there).hash(hash),
        }
        if self.loud && !matches!(output, Output::Notify { .. }) {
            println!("{:>8} {} {}", self.now_ms, server + 1, told(output));
        }
    }
}

/// For people.
fn told(output: &Output) -> String {
    match output {
        Output::Notify { to, notification } => format!("{to} {notification:?}"),
        Output::Send { link, packet } => match packet {
            Packet::Zab(message) => format!("{link:?} {message:?}"),
            Packet::Snap(zxid, view) => format!("{link:?} SNAP {zxid} {:?}", view.totals()),
            Packet::Ping(touched) => format!("{link:?} PING {touched:?}"),
            Packet::Revalidate(touch) => format!("{link:?} REVALIDATE {touch:?}"),
            Packet::Revalidated { session, valid } => format!("{link:?} REVALIDATE 0x{session:x} {valid}"),
        },
        Output::Store { mark, store } => match store {
            Store::Append(proposal) => format!("{mark:?} append {}", proposal.zxid),
            Store::Truncate(zxid) => format!("{mark:?} truncate {zxid}"),
            Store::Install(zxid, _) => format!("{mark:?} install {zxid}"),
            Store::AcceptedEpoch(epoch) => format!("{mark:?} accepted {epoch}"),
            Store::CurrentEpoch(epoch) => format!("{mark:?} current {epoch}"),
        },
        Output::Published(published) => {
            let totals = &published.version.totals;
            format!("published {totals:?} {} {:?}", published.fired.len(), published.answers)
        }
        Output::Replaced(view) => format!("replaced {:?}", view.totals()),
        Output::Connect(to) => format!("connect {to}"),
        Output::Close(link) => format!("close {link:?}"),
        Output::Serving(serving) => format!("{serving:?}"),
        Output::Answer(answered) => format!("{answered:?}"),
        Output::Attached {
            origin,
            session,
            accepted,
            ..
        } => format!("{origin:?} 0x{session:x} {accepted}"),
        Output::Displace(origin) => format!("displace {origin:?}"),
        Output::Event(said) => said.to_string(),
        Output::Unreadable { why, .. } => why.clone(),
        Output::Mismatch { zxid, .. } => format!("mismatch {zxid}"),
    }
}
