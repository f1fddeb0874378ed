//! Which operations a load is made of, and in which shares.

use rand::{Rng, RngExt};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $mixed:literal;)*) => {
        /// An operation that a load can hold.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Kind] = &[$(Kind::$name,)*];

            /// Its word on the command line and in reports.
            pub fn word(self) -> &'static str {
                match self { $(Kind::$name => $word,)* }
            }

            /// Whether a mix may hold it; the others are parts of other loads.
            pub fn is_mixed(self) -> bool {
                match self { $(Kind::$name => $mixed,)* }
            }
        }
    };
}

kinds! {
    /// getData.
    Get = "get", true;
    /// exists.
    Exists = "exists", true;
    /// getChildren2 of a parent of the key.
    Children = "children", true;
    /// setData.
    Set = "set", true;
    /// create of a persistent node of this connection's own.
    Create = "create", true;
    /// delete of this connection's oldest own node; if it has none, a create.
    Delete = "delete", true;
    /// create and delete of a persistent node in turn; reported as these.
    Churn = "churn", true;
    /// create of an ephemeral node and its delete in turn; only the delete is reported apart.
    Ephemeral = "ephemeral", true;
    /// create of a sequential ephemeral node; each connection keeps a few and deletes the oldest.
    Sequential = "sequential", true;
    /// A multi of several setData.
    Multi = "multi", true;
    /// ping.
    Ping = "ping", true;
    /// A watch event.
    Event = "event", false;
    /// The connection and the session, until the server gave it.
    Connect = "connect", false;
    /// closeSession.
    Close = "close", false;
}

/// Kinds and their weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    shares: Vec<(Kind, u32)>,
    total: u32,
}

impl Mix {
    /// Of weights; at least one must be above 0.
    pub fn new(shares: Vec<(Kind, u32)>) -> Result<Mix, String> {
        let total = shares.iter().map(|(_, weight)| weight).sum();
        if total == 0 {
            return Err("a mix needs at least one operation with a weight above 0".into());
        }
        Ok(Mix { shares, total })
    }

    /// Reads and writes by percentage.
    pub fn reads(percent: u32) -> Mix {
        let percent = percent.min(100);
        Mix::new(vec![(Kind::Get, percent), (Kind::Set, 100 - percent)]).expect("the shares make 100")
    }

    /// Whether it holds such an operation.
    pub fn holds(&self, kind: Kind) -> bool {
        self.shares.iter().any(|(mine, weight)| *mine == kind && *weight > 0)
    }

    /// One of them, by weight.
    pub fn pick(&self, random: &mut impl Rng) -> Kind {
        let mut point = random.random_range(0..self.total);
        for (kind, weight) in &self.shares {
            match point.checked_sub(*weight) {
                Some(rest) => point = rest,
                None => return *kind,
            }
        }
        unreachable!("the weights make the total")
    }
}

impl std::str::FromStr for Mix {
    type Err = String;

    /// `get=10,set=1`; a word alone weighs 1.
    fn from_str(text: &str) -> Result<Mix, String> {
        let share = |part: &str| {
            let (word, weight) = part.split_once('=').unwrap_or((part, "1"));
            let mixed = || Kind::ALL.iter().filter(|kind| kind.is_mixed());
            let kind = mixed().find(|kind| kind.word() == word.trim());
            let known: Vec<&str> = mixed().map(|kind| kind.word()).collect();
            let kind = kind.ok_or_else(|| format!("unknown operation '{word}'; known: {}", known.join(", ")))?;
            let weight = weight
                .trim()
                .parse()
                .map_err(|_| format!("'{weight}' is no weight for {word}"))?;
            Ok::<(Kind, u32), String>((*kind, weight))
        };
        Mix::new(text.split(',').map(share).collect::<Result<_, _>>()?)
    }
}

impl std::fmt::Display for Mix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shares: Vec<String> = self
            .shares
            .iter()
            .map(|(kind, weight)| format!("{}={weight}", kind.word()))
            .collect();
        f.write_str(&shares.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn mixes_are_read_and_shown() {
        let mix: Mix = "get=10,set=1".parse().unwrap();
        assert_eq!(mix.to_string(), "get=10,set=1");
        assert!(
            "grab=1"
                .parse::<Mix>()
                .unwrap_err()
                .contains("unknown operation 'grab'; known: get, exists")
        );
        assert!("event".parse::<Mix>().is_err(), "part of another load");
        assert!("get=0".parse::<Mix>().is_err());
        assert!("get=x".parse::<Mix>().unwrap_err().contains("no weight"));
    }

    #[test]
    fn shares_are_kept() {
        let (mix, mut random) = (
            "get=3,set=1".parse::<Mix>().unwrap(),
            rand::rngs::SmallRng::seed_from_u64(1),
        );
        let gets = (0..40_000).filter(|_| mix.pick(&mut random) == Kind::Get).count();
        assert!((29_500..30_500).contains(&gets), "{gets}");
    }
}
