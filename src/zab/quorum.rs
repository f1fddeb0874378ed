//! Who votes, and which sets of voters decide (`QuorumMaj`, `QuorumHierarchical`).
//!
//! A majority is one group in which everybody weighs 1. Invariant: any two sets that are quorums have a voter in
//! common. Servers that do not vote never count, whatever set they stand in.

use std::collections::BTreeMap;
use std::fmt;

use crate::base::ServerId;

/// The voters, in groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    groups: Vec<Group>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    weights: BTreeMap<ServerId, u64>,
    total: u64,
}

/// Why groups and weights make no quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuorumError {
    /// A server stands in two groups.
    Twice(ServerId),
    /// A weight for a server that is in no group.
    Groupless(ServerId),
    /// Nobody has a weight above zero.
    Weightless,
}

impl fmt::Display for QuorumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QuorumError::Twice(id) => write!(f, "{id} is in two groups"),
            QuorumError::Groupless(id) => write!(f, "{id} has a weight but is in no group"),
            QuorumError::Weightless => write!(f, "no voter has a weight above 0"),
        }
    }
}

impl std::error::Error for QuorumError {}

impl Quorum {
    /// More than half of the voters decide.
    pub fn majority(voters: impl IntoIterator<Item = ServerId>) -> Quorum {
        let group = Group::new(voters.into_iter().map(|id| (id, 1)).collect());
        assert!(group.total > 0, "an ensemble has voters");
        Quorum { groups: vec![group] }
    }

    /// More than half of the weight in more than half of the groups decides. A weight that is not given is 1.
    pub fn groups(groups: &[Vec<ServerId>], weights: &BTreeMap<ServerId, u64>) -> Result<Quorum, QuorumError> {
        let mut seen = BTreeMap::new();
        for id in groups.iter().flatten() {
            if seen.insert(*id, ()).is_some() {
                return Err(QuorumError::Twice(*id));
            }
        }
        if let Some(id) = weights.keys().find(|id| !seen.contains_key(id)) {
            return Err(QuorumError::Groupless(*id));
        }
        let weigh = |id: &ServerId| (*id, weights.get(id).copied().unwrap_or(1));
        let groups: Vec<Group> = groups
            .iter()
            .map(|members| Group::new(members.iter().map(weigh).collect()))
            .collect();
        if groups.iter().all(|group| group.total == 0) {
            return Err(QuorumError::Weightless);
        }
        Ok(Quorum { groups })
    }

    /// Every voter, those without weight included.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> {
        self.groups.iter().flat_map(|group| group.weights.keys().copied())
    }

    /// Whether a server votes.
    pub fn is_voter(&self, id: ServerId) -> bool {
        self.groups.iter().any(|group| group.weights.contains_key(&id))
    }

    /// Whether a server may be elected: a voter without weight may not (traps.md T-65).
    pub fn is_eligible(&self, id: ServerId) -> bool {
        let weight = self.groups.iter().find_map(|group| group.weights.get(&id));
        weight.is_some_and(|weight| *weight > 0)
    }

    /// Whether the voters that support something are a quorum.
    pub fn decides(&self, supports: impl Fn(ServerId) -> bool) -> bool {
        let counted = self.groups.iter().filter(|group| group.total > 0);
        let won = counted.clone().filter(|group| group.is_won(&supports)).count();
        won > counted.count() / 2
    }
}

impl Group {
    fn new(weights: BTreeMap<ServerId, u64>) -> Group {
        let total = weights.values().sum();
        Group { weights, total }
    }

    fn is_won(&self, supports: &impl Fn(ServerId) -> bool) -> bool {
        let supporters = self.weights.iter().filter(|(id, _)| supports(**id));
        supporters.map(|(_, weight)| weight).sum::<u64>() > self.total / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(numbers: &[i64]) -> Vec<ServerId> {
        numbers.iter().copied().map(ServerId).collect()
    }

    #[track_caller]
    fn check(quorum: &Quorum, supporters: &[i64], decides: bool) {
        let set = ids(supporters);
        assert_eq!(quorum.decides(|id| set.contains(&id)), decides, "{supporters:?}");
    }

    #[test]
    fn majorities() {
        let three = Quorum::majority(ids(&[1, 2, 3]));
        check(&three, &[1], false);
        check(&three, &[1, 3], true);
        check(&three, &[1, 4, 5], false);
        let four = Quorum::majority(ids(&[1, 2, 3, 4]));
        check(&four, &[1, 2], false);
        check(&four, &[1, 2, 4], true);
        check(&Quorum::majority(ids(&[1])), &[1], true);
    }

    #[test]
    fn groups_and_weights() {
        let groups = [ids(&[1, 2, 3]), ids(&[4, 5, 6]), ids(&[7, 8, 9])];
        let even = Quorum::groups(&groups, &BTreeMap::new()).unwrap();
        check(&even, &[1, 2, 4, 5], true);
        check(&even, &[1, 2, 3, 4, 7], false);
        // The third group weighs nothing and is not counted; server 1 outweighs its neighbours.
        let weights = [(1, 5), (7, 0), (8, 0), (9, 0)].map(|(id, weight)| (ServerId(id), weight));
        let uneven = Quorum::groups(&groups, &BTreeMap::from(weights)).unwrap();
        check(&uneven, &[1, 4, 5], true);
        check(&uneven, &[1, 7, 8, 9], false);
        assert!(!uneven.is_eligible(ServerId(7)) && uneven.is_voter(ServerId(7)));
        assert!(uneven.is_eligible(ServerId(4)) && !uneven.is_eligible(ServerId(10)));
    }

    #[test]
    fn groups_that_make_no_quorum() {
        let none = BTreeMap::new();
        let twice = Quorum::groups(&[ids(&[1, 2]), ids(&[2])], &none);
        assert_eq!(twice, Err(QuorumError::Twice(ServerId(2))));
        let groupless = Quorum::groups(&[ids(&[1])], &BTreeMap::from([(ServerId(9), 1)]));
        assert_eq!(groupless, Err(QuorumError::Groupless(ServerId(9))));
        let weightless = Quorum::groups(&[ids(&[1])], &BTreeMap::from([(ServerId(1), 0)]));
        assert_eq!(weightless, Err(QuorumError::Weightless));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn two_quorums_meet(sizes in proptest::collection::vec(1..4usize, 1..4), weights in proptest::collection::vec(0..4u64, 12), a in any::<u16>(), b in any::<u16>()) {
            let mut next = 0;
            let groups: Vec<Vec<ServerId>> = sizes.iter().map(|size| {
                (0..*size).map(|_| { next += 1; ServerId(next) }).collect()
            }).collect();
            let weights = (1..=next).map(|id| (ServerId(id), weights[id as usize - 1])).collect();
            if let Ok(quorum) = Quorum::groups(&groups, &weights) {
                let within = |set: u16| move |id: ServerId| set & 1 << id.0 != 0;
                if quorum.decides(within(a)) && quorum.decides(within(b)) {
                    prop_assert!(quorum.voters().any(|id| within(a & b)(id)));
                }
            }
        }
    }
}
