//! The members of an ensemble as the configuration names them, and whether they make one.
//!
//! `server.N` lines stand in the file itself or, with `dynamicConfigFile`, in a file of their own. One participant
//! alone is a standalone server while `standaloneEnabled` is true, and takes its client port from its line
//! (`QuorumPeerConfig#parseDynamicConfig`, `#setupClientPort`). What more of them mean is `membership`'s.

use std::collections::BTreeMap;

use super::notes::Notes;
use super::properties;
use super::written::{Place, Written};

/// Where one of a server's addresses is dialled by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// A name or a literal, without the brackets of IPv6.
    pub host: String,
    /// For learners.
    pub quorum: u16,
    /// For notifications.
    pub election: u16,
}

/// One `server.N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// `N`.
    pub id: i64,
    /// One, or several with `multiAddress.enabled`.
    pub addresses: Vec<PeerAddress>,
    /// Whether it votes.
    pub participant: bool,
    /// Host and port after the `;`.
    pub client: Option<(String, u16)>,
}

/// All members, and how the voters are grouped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// In the order of their lines.
    pub all: Vec<Member>,
    /// `group.X`: the numbers in each group.
    pub groups: BTreeMap<String, Vec<i64>>,
    /// `weight.N`.
    pub weights: BTreeMap<i64, u64>,
}

/// One line that may name a member.
struct Line {
    place: Place,
    name: String,
    value: String,
}

impl Members {
    /// Finds the members, and a problem for each line that names none.
    pub fn read(written: &Written, notes: &mut Notes) -> Members {
        let lines = if written.get("dynamicConfigFile").is_some() {
            dynamic_lines(written, notes)
        } else {
            static_lines(written)
        };
        let several = written.is("multiAddress.enabled");
        let mut members = Vec::new();
        for line in lines.iter().filter(|line| line.name.starts_with("server.")) {
            match member(&line.name, &line.value, several) {
                Ok(member) => members.push(member),
                Err(why) => notes.problem(format!("{}: {}={}: {why}", line.place, line.name, line.value)),
            }
        }
        let mut members = Members {
            all: members,
            ..Members::default()
        };
        let groups = lines.iter().filter(|line| !line.name.starts_with("server."));
        let mut wrong = Vec::new();
        for line in groups {
            if let Err(why) = members.group(&line.name, &line.value) {
                wrong.push(format!("{}: {}={}: {why}", line.place, line.name, line.value));
            }
        }
        if members.is_ensemble(written) {
            wrong.into_iter().for_each(|text| notes.problem(text));
        }
        members.check(written, notes);
        members
    }

    /// The member with this number.
    pub fn get(&self, id: i64) -> Option<&Member> {
        self.all.iter().find(|member| member.id == id)
    }

    /// Whether these are more than a standalone server, as far as the lines tell.
    pub fn is_ensemble(&self, written: &Written) -> bool {
        let participants = self.all.iter().filter(|member| member.participant).count();
        participants > 1 || participants == 1 && !written.is("standaloneEnabled")
    }

    fn group(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = |text: &str| -> Result<i64, String> {
            text.trim()
                .parse()
                .map_err(|_| format!("{text} is not a server's number"))
        };
        match name.strip_prefix("weight.") {
            Some(id) => {
                let weight = value.trim().parse().map_err(|_| format!("{value} is no weight"))?;
                self.weights.insert(number(id)?, weight);
            }
            None => {
                let group = value.split(':').map(number).collect::<Result<Vec<i64>, String>>()?;
                self.groups.insert(name.to_owned(), group);
            }
        }
        Ok(())
    }

    fn check(&self, written: &Written, notes: &mut Notes) {
        let alone_allowed = written.is("standaloneEnabled");
        let participants = self.all.iter().filter(|member| member.participant).count();
        let observers = self.all.len() - participants;
        match participants {
            0 if !alone_allowed => notes.problem(format!(
                "{}: standaloneEnabled=false asks for an ensemble, but no server.N is a participant",
                written.at("standaloneEnabled")
            )),
            0 if observers > 0 => {
                notes.problem(format!("{}: observers need a quorum of participants", written.file));
            }
            1 if observers > 0 && alone_allowed => {
                notes.problem(format!("{}: observers need a quorum of participants", written.file));
            }
            0 => {}
            1 if alone_allowed => {
                notes.info("only one server.N and standaloneEnabled=true: this is a standalone server".into());
            }
            _ => {}
        }
    }
}

fn is_about_members(name: &str) -> bool {
    ["server.", "group", "weight"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

fn static_lines(written: &Written) -> Vec<Line> {
    written
        .all()
        .filter(|setting| is_about_members(&setting.name))
        .map(|setting| Line {
            place: setting.place.clone(),
            name: setting.name.clone(),
            value: setting.value.clone(),
        })
        .collect()
}

fn dynamic_lines(written: &Written, notes: &mut Notes) -> Vec<Line> {
    for setting in written.all().filter(|setting| is_about_members(&setting.name)) {
        notes.problem(format!(
            "{}: {} must be in the file that dynamicConfigFile names, and only there",
            setting.place, setting.name
        ));
    }
    let file = written.text("dynamicConfigFile").to_owned();
    let bytes = match std::fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) => {
            notes.problem(format!("{}: cannot be read: {error}", written.at("dynamicConfigFile")));
            return Vec::new();
        }
    };
    let entries = match properties::parse(&bytes) {
        Ok(entries) => entries,
        Err(bad) => {
            notes.problem(format!(
                "{file}, line {}: \\u must be followed by four hexadecimal digits",
                bad.line
            ));
            return Vec::new();
        }
    };
    let mut lines = Vec::new();
    for entry in entries {
        let place = Place::Line(file.clone(), entry.line);
        if is_about_members(&entry.key) {
            lines.push(Line {
                place,
                name: entry.key,
                value: entry.value,
            });
        } else if entry.key == "version" {
            notes.problem(format!(
                "{place}: version must not be in this file: its name ends with it"
            ));
        } else {
            notes.problem(format!(
                "{place}: {} is none of server.N, group.X and weight.N",
                entry.key
            ));
        }
    }
    lines
}

const FORM: &str = "allowed is host:port:electionPort[:participant|observer][;[clientHost:]clientPort]";

/// Parses one line (`QuorumPeer.QuorumServer#initializeWithAddressString`).
fn member(name: &str, value: &str, several: bool) -> Result<Member, String> {
    let id = name.strip_prefix("server.").and_then(|id| id.parse().ok());
    let id = id.ok_or("what stands after server. must be a whole number")?;
    let mut halves = value.split(';');
    let (servers, client) = (halves.next().unwrap_or(""), halves.next());
    if halves.next().is_some() {
        return Err(FORM.into());
    }
    let addresses: Vec<&str> = servers.split('|').collect();
    if addresses.len() > 1 && !several {
        return Err("several addresses need multiAddress.enabled=true".into());
    }
    let mut roles = addresses
        .iter()
        .map(|address| role(address))
        .collect::<Result<Vec<bool>, String>>()?;
    roles.dedup();
    match roles[..] {
        [participant] => Ok(Member {
            id,
            participant,
            addresses: addresses
                .iter()
                .map(|address| place(address))
                .collect::<Result<_, String>>()?,
            client: client.filter(|text| !text.is_empty()).map(client_address).transpose()?,
        }),
        _ => Err("all addresses of a server must have the same role".into()),
    }
}

/// Whether `host:port:electionPort[:role]` is a participant's.
fn role(address: &str) -> Result<bool, String> {
    let parts = split_host(address);
    let [_, quorum, election, role @ ..] = &parts[..] else {
        return Err(FORM.into());
    };
    if port(quorum)? == port(election)? {
        return Err("the quorum port and the election port must differ".into());
    }
    match role {
        [] => Ok(true),
        [role] if role.trim().eq_ignore_ascii_case("participant") => Ok(true),
        [role] if role.trim().eq_ignore_ascii_case("observer") => Ok(false),
        _ => Err(FORM.into()),
    }
}

fn place(address: &str) -> Result<PeerAddress, String> {
    match &split_host(address)[..] {
        [host, quorum, election, ..] => Ok(PeerAddress {
            host: host.clone(),
            quorum: port(quorum)?,
            election: port(election)?,
        }),
        _ => Err(FORM.into()),
    }
}

fn client_address(text: &str) -> Result<(String, u16), String> {
    match &split_host(text)[..] {
        [only] => Ok(("0.0.0.0".into(), port(only)?)),
        [host, number] => Ok((host.clone(), port(number)?)),
        _ => Err(FORM.into()),
    }
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("{text} is no port; {FORM}"))
}

/// Splits at colons, but not within the brackets of an IPv6 address (`ConfigUtils#getHostAndPort`).
fn split_host(text: &str) -> Vec<String> {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        let rest = rest
            .strip_prefix(':')
            .map_or(vec![], |rest| rest.split(':').map(str::to_owned).collect());
        return std::iter::once(host.to_owned()).chain(rest).collect();
    }
    text.split(':').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, participant: bool, client: Option<(&str, u16)>) {
        let read = member("server.7", value, false).unwrap();
        let client = client.map(|(host, port)| (host.to_owned(), port));
        assert_eq!(
            (read.id, read.participant, read.client),
            (7, participant, client),
            "{value}"
        );
        let [PeerAddress { quorum, election, .. }] = read.addresses[..] else {
            panic!("one address")
        };
        assert_eq!((quorum, election), (2888, 3888));
    }

    #[test]
    fn members() {
        check("a:2888:3888", true, None);
        check("a:2888:3888;2181", true, Some(("0.0.0.0", 2181)));
        check("a:2888:3888:OBSERVER;b:2181", false, Some(("b", 2181)));
        check("[::1]:2888:3888:participant;[::1]:2181", true, Some(("::1", 2181)));
    }

    #[test]
    fn several_addresses() {
        let of = |value| member("server.7", value, true).map(|member| member.participant);
        assert_eq!(of("a:1:2|b:1:2"), Ok(true));
        assert_eq!(of("a:1:2:observer|b:1:2:observer"), Ok(false));
        assert!(of("a:1:2:observer|b:1:2").is_err());
    }
}
