//! Admin commands about the ensemble: `leader`, `observers`, `voting_view`, `zabstate`. A standalone server answers them
//! too, as Java's does: it has none.

use std::rc::Rc;

use super::json::{Fields, Json};
use crate::server::core::Core;
use crate::server::options::PeerMember;
use crate::wire::four_letter::java_socket;

fn field(key: impl Into<String>, value: Json) -> (String, Json) {
    (key.into(), value)
}

impl Core {
    /// Who leads (`Commands.LeaderCommand`).
    pub(super) async fn leader(self: &Rc<Core>) -> Fields {
        let Some(ensemble) = &self.shared.options.ensemble else {
            return vec![field("error", Json::text("server is not initialized"))];
        };
        let leader = self.ask_member().await.and_then(|member| member.leader);
        let found = leader.and_then(|id| ensemble.find(id));
        let host = found.map_or("", |member| &member.addresses[0].host);
        vec![
            field("is_leader", Json::Bool(leader == Some(ensemble.me))),
            field("leader_id", Json::int(leader.map_or(-1, |id| id.0))),
            field("leader_ip", Json::text(host)),
        ]
    }

    /// The observers of a leader (`Commands.ObserverCommand`).
    pub(super) async fn observers(self: &Rc<Core>) -> Fields {
        let learners = self
            .ask_member()
            .await
            .map(|member| member.learners)
            .unwrap_or_default();
        let synced = learners.iter().filter(|(learner, synced)| learner.observer && *synced);
        let rows: Vec<Json> = synced
            .map(|(learner, _)| {
                Json::Map(vec![
                    field("remote_socket_address", Json::text(java_socket(&learner.from))),
                    field("sid", Json::int(learner.server.0)),
                ])
            })
            .collect();
        vec![
            field("synced_observers", Json::int(rows.len() as u64)),
            field("observers", Json::list(rows)),
        ]
    }

    /// Who votes (`Commands.VotingViewCommand`).
    pub(super) fn voting_view(&self) -> Fields {
        let members = self
            .shared
            .options
            .ensemble
            .iter()
            .flat_map(|ensemble| &ensemble.members);
        let voters = members.filter(|member| member.participant);
        let rows = voters.map(|member| field(member.id.0.to_string(), voter(member)));
        vec![field("current_config", Json::Map(rows.collect()))]
    }

    /// How far agreement is (`Commands.ZabStateCommand`).
    pub(super) async fn zab_state(self: &Rc<Core>) -> Fields {
        let Some(ensemble) = self.shared.options.ensemble.clone() else {
            return vec![field("voting", Json::Bool(false)), field("zabstate", Json::text(""))];
        };
        let member = self.ask_member().await.unwrap_or_default();
        let zxid = self.view.borrow().totals().zxid;
        let own = ensemble.member(ensemble.me);
        let state = member.peer_state.rsplit(" - ").next().unwrap_or_default().to_owned();
        vec![
            field("myid", Json::int(ensemble.me.0)),
            field("is_leader", Json::Bool(member.leader == Some(ensemble.me))),
            field("quorum_address", address(&own.quorum_hosts())),
            field("election_address", address(&own.election_hosts())),
            field("client_address", Json::text(client(own, self))),
            field("voting", Json::Bool(own.participant)),
            field("last_zxid", Json::text(format!("0x{:x}", zxid.0))),
            field("zab_epoch", Json::int(zxid.epoch())),
            field("zab_counter", Json::int(zxid.counter())),
            field("zabstate", Json::text(state)),
        ]
    }
}

fn texts(hosts: &[(String, u16)]) -> Vec<String> {
    hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect()
}

fn list(texts: &[String]) -> Json {
    Json::list(texts.iter().map(Json::text))
}

fn voter(member: &PeerMember) -> Json {
    let client = member.client.as_ref();
    let client = client.map_or(Json::text(""), |(host, port)| Json::text(format!("{host}:{port}")));
    Json::Map(vec![
        field("server_addresses", list(&texts(&member.quorum_hosts()))),
        field("election_addresses", list(&texts(&member.election_hosts()))),
        field("client_address", client),
        field("learner_type", Json::text("participant")),
    ])
}

fn client(own: &PeerMember, core: &Core) -> String {
    match &own.client {
        Some((host, port)) => format!("{host}:{port}"),
        None => core.shared.options.listen.to_string(),
    }
}

/// `MultipleAddresses` as its getters tell it.
fn address(hosts: &[(String, u16)]) -> Json {
    let all = texts(hosts);
    let one = all.first().cloned().unwrap_or_default();
    let wildcards: Vec<String> = hosts.iter().map(|(_, port)| format!("0.0.0.0:{port}")).collect();
    let names: Vec<String> = hosts.iter().map(|(host, _)| host.clone()).collect();
    Json::Map(vec![
        field("empty", Json::Bool(all.is_empty())),
        field("all_addresses", list(&all)),
        field("all_reachable_addresses", list(&all)),
        field("one", Json::text(&one)),
        field("reachable_address", Json::text(&one)),
        field("wildcard_addresses", list(&wildcards)),
        field("all_ports", Json::list(hosts.iter().map(|(_, port)| Json::int(*port)))),
        field("all_host_strings", list(&names)),
        field("all_reachable_addresses_or_all", list(&all)),
        field("reachable_or_one", Json::text(&one)),
    ])
}
