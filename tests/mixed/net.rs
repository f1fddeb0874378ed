//! A network of a test's own: a bridge, and a namespace for every member, so that they can be cut off from each other.
//!
//! Making namespaces is root's right, and some containers refuse it to root too: then [`Net::new`] gives the reason, and
//! the test prints it instead of showing anything. The test itself, its clients too, is on the bridge's own address.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use crate::peers::Place;

/// Bridge and namespaces; gone with their guard.
pub struct Net {
    /// Distinguishes networks of one machine.
    tag: u8,
    count: usize,
    /// What was cut, as commands that mend it.
    cuts: Vec<Vec<String>>,
}

impl Net {
    /// A network of so many members.
    pub fn new(count: usize) -> Result<Self, String> {
        // The first tag whose bridge can be made: other tests may have theirs.
        let start = std::process::id() as u8;
        let mut reason = String::new();
        for step in 0..20 {
            let tag = start.wrapping_add(step).clamp(1, 254);
            match ip(&["link", "add", &bridge(tag), "type", "bridge"]) {
                Ok(()) => {
                    return Self {
                        tag,
                        count,
                        cuts: Vec::new(),
                    }
                    .furnished();
                }
                Err(said) => reason = said,
            }
        }
        Err(reason)
    }

    fn furnished(self) -> Result<Self, String> {
        let bridge = bridge(self.tag);
        ip(&["addr", "add", &format!("{}/24", self.host(254)), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for number in 1..=self.count {
            let (namespace, link) = (self.namespace(number), self.link(number));
            ip(&["netns", "add", &namespace])?;
            ip(&[
                "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &namespace,
            ])?;
            ip(&["link", "set", &link, "master", &bridge, "up"])?;
            let address = format!("{}/24", self.host(number as u8));
            ip(&["-n", &namespace, "addr", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
            ip(&["-n", &namespace, "link", "set", "eth0", "up"])?;
        }
        Ok(self)
    }

    /// Where the members are.
    pub fn places(&self) -> Vec<Place> {
        let place = |number: usize| Place {
            host: self.host(number as u8),
            ports: [2888, 3888, 2181],
            namespace: Some(self.namespace(number)),
        };
        (1..=self.count).map(place).collect()
    }

    /// Takes a member off the bridge: nobody reaches it, clients neither.
    pub fn isolate(&mut self, index: usize) {
        let link = self.link(index + 1);
        must(ip(&["link", "set", &link, "nomaster"]));
        self.cuts
            .push(words(&["link", "set", &link, "master", &bridge(self.tag)]));
    }

    /// Drops what one member sends to another. Nothing that needs an answer works any more in either direction.
    pub fn mute(&mut self, from: usize, to: usize) {
        let (namespace, address) = (self.namespace(from + 1), self.host(to as u8 + 1).to_string());
        must(ip(&["-n", &namespace, "route", "add", "blackhole", &address]));
        self.cuts
            .push(words(&["-n", &namespace, "route", "del", "blackhole", &address]));
    }

    /// Mends everything.
    pub fn mend(&mut self) {
        for cut in self.cuts.drain(..) {
            let cut: Vec<&str> = cut.iter().map(String::as_str).collect();
            must(ip(&cut));
        }
    }

    fn host(&self, number: u8) -> IpAddr {
        Ipv4Addr::new(10, 213, self.tag, number).into()
    }

    fn namespace(&self, number: usize) -> String {
        format!("rk{}-{number}", self.tag)
    }

    fn link(&self, number: usize) -> String {
        format!("rk{}v{number}", self.tag)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for number in 1..=self.count {
            // Its end of the pair goes with it.
            let _ = ip(&["netns", "del", &self.namespace(number)]);
            let _ = ip(&["link", "del", &self.link(number)]);
        }
        let _ = ip(&["link", "del", &bridge(self.tag)]);
    }
}

fn bridge(tag: u8) -> String {
    format!("rkbr{tag}")
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What worked once works again.
fn must(result: Result<(), String>) {
    result.unwrap_or_else(|reason| panic!("{reason}"));
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .unwrap_or_else(|_| panic!("'ip' is missing: install iproute2 (Debian: iproute2)"));
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "ip {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
