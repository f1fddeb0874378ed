//! Which znode an operation goes to: names, depth and distribution.

use std::borrow::Cow;

use rand::{Rng, RngExt};
use rand_distr::{Distribution, Zipf};

/// The znodes of a load: `count` leaves below `root`, spread over `depth` levels of parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The node below which everything lies.
    pub root: String,
    /// Leaves.
    pub count: u32,
    /// Levels of parents between root and leaf; 1 puts every leaf right below the root.
    pub depth: u32,
}

/// Parents on one level have so many children.
const FAN_OUT: u32 = 16;

impl Layout {
    /// The parent of leaf `index`.
    pub fn parent(&self, index: u32) -> String {
        let mut path = self.root.clone();
        let mut rest = index;
        for _ in 1..self.depth {
            path.push_str(&format!("/p{}", rest % FAN_OUT));
            rest /= FAN_OUT;
        }
        path
    }

    /// Leaf `index`; its name is as long as the largest.
    pub fn leaf(&self, index: u32) -> String {
        let digits = self.count.saturating_sub(1).max(1).ilog10() as usize + 1;
        format!("{}/n{index:0digits$}", self.parent(index))
    }

    /// The node below which connections make nodes of their own.
    pub fn own(&self) -> String {
        format!("{}/own", self.root)
    }

    /// Every parent, ancestors first, each once.
    pub fn parents(&self) -> Vec<String> {
        let mut all = std::collections::BTreeSet::from([self.root.clone(), self.own()]);
        let distinct = FAN_OUT.saturating_pow(self.depth - 1).min(self.count);
        for index in 0..distinct {
            let parent = self.parent(index);
            let ends = parent.match_indices('/').map(|(at, _)| at).chain([parent.len()]);
            all.extend(
                ends.filter(|end| *end > self.root.len())
                    .map(|end| parent[..end].to_owned()),
            );
        }
        all.into_iter().collect()
    }
}

/// The paths of a layout's leaves: kept ready where they are not too many, because writing one anew costs the
/// generator as much as all else that a request needs.
#[derive(Debug)]
pub struct Paths {
    layout: Layout,
    ready: Vec<Box<str>>,
}

/// So many paths are kept.
const PATHS_READY_MAX: u32 = 200_000;

impl Paths {
    /// Of a layout.
    pub fn new(layout: &Layout) -> Paths {
        let count = if layout.count > PATHS_READY_MAX {
            0
        } else {
            layout.count
        };
        Paths {
            layout: layout.clone(),
            ready: (0..count).map(|index| layout.leaf(index).into()).collect(),
        }
    }

    /// Leaf `index`.
    pub fn leaf(&self, index: u32) -> Cow<'_, str> {
        match self.ready.get(index as usize) {
            Some(path) => Cow::Borrowed(path),
            None => Cow::Owned(self.layout.leaf(index)),
        }
    }

    /// Whose paths they are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

/// How often which key is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Skew {
    /// All alike.
    Uniform,
    /// A few are hot: the k-th most popular with a share of 1/k^s.
    Zipf(f64),
}

impl std::str::FromStr for Skew {
    type Err = String;

    /// `uniform`, `zipf` or `zipf:EXPONENT`.
    fn from_str(text: &str) -> Result<Skew, String> {
        match text.split_once(':').unwrap_or((text, "0.99")) {
            ("uniform", _) => Ok(Skew::Uniform),
            ("zipf", exponent) => match exponent.parse() {
                Ok(s) if s > 0.0 && s < 10.0 => Ok(Skew::Zipf(s)),
                _ => Err(format!("'{exponent}' is no exponent between 0 and 10")),
            },
            _ => Err(format!(
                "'{text}' is no key distribution; use uniform, zipf or zipf:EXPONENT"
            )),
        }
    }
}

/// Draws keys.
#[derive(Clone, Debug)]
pub enum Chooser {
    /// Of so many.
    Uniform(u32),
    /// By popularity; the popular ones are spread over all keys.
    Zipf(u32, Zipf<f64>),
}

impl Chooser {
    /// For `count` keys.
    pub fn new(skew: Skew, count: u32) -> Chooser {
        match skew {
            Skew::Uniform => Chooser::Uniform(count),
            Skew::Zipf(s) => Chooser::Zipf(
                count,
                Zipf::new(count as f64, s).expect("count and exponent were checked"),
            ),
        }
    }

    /// The next key.
    pub fn next(&self, random: &mut impl Rng) -> u32 {
        match self {
            Chooser::Uniform(count) => random.random_range(0..*count),
            Chooser::Zipf(count, zipf) => {
                let rank = zipf.sample(random) as u64 - 1;
                // A multiplication by an odd prime spreads the ranks, so that neighbours are not hot together.
                (rank.wrapping_mul(2_654_435_761) % *count as u64) as u32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn every_leaf_has_its_parent_in_the_list() {
        for depth in 1..4 {
            let layout = Layout {
                root: "/bench".into(),
                count: 1000,
                depth,
            };
            let parents = layout.parents();
            assert!(
                (0..1000).all(|index| parents.contains(&layout.parent(index))),
                "depth {depth}"
            );
            assert!(parents.windows(2).all(|pair| pair[0] < pair[1]), "ancestors come first");
            assert_eq!(layout.leaf(7).matches('/').count() as u32, depth + 1);
        }
    }

    #[test]
    fn zipf_is_skewed_and_uniform_is_not() {
        let mut random = rand::rngs::SmallRng::seed_from_u64(3);
        let mut hottest = |skew| {
            let chooser = Chooser::new(skew, 1000);
            let mut counts = vec![0u32; 1000];
            (0..100_000).for_each(|_| counts[chooser.next(&mut random) as usize] += 1);
            counts.into_iter().max().unwrap()
        };
        assert!(hottest(Skew::Uniform) < 200);
        assert!(hottest("zipf".parse().unwrap()) > 5_000);
        assert!("zipf:0".parse::<Skew>().is_err());
    }
}
