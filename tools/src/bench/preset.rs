//! Loads that are known by name.

use super::mix::Mix;
use super::plan::Load;

/// A load known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// The ZooKeeper paper's: 1 KB, 250 clients with 100 requests in flight, reads swept from 0 to 100 per cent
    Paper,
    /// RaftKeeper's: 100 B, 100 clients; only create, then create 10, set 40, get 40, delete 10 per cent
    Raftkeeper,
    /// A Kafka controller's failover: elect, then read every topic and partition, pipelined
    Kafka,
    /// Throughput over time while servers are killed and return (--server)
    Failover,
    /// Many sessions that only ping
    Idle,
    /// One change, many watchers
    Watch,
    /// Sessions opened and closed as fast as it goes
    Storm,
}

/// What a preset decides; the command line may say otherwise.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Shape {
    pub name: String,
    pub read_percent: Option<u32>,
    pub load: Load,
    pub mix: Mix,
    pub connections: u32,
    pub in_flight: u32,
    pub nodes: u32,
    pub size: u32,
    pub warm_up: f64,
    pub duration: f64,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            name: String::new(),
            read_percent: None,
            load: Load::Mix,
            mix: Mix::reads(90),
            connections: 32,
            in_flight: 1,
            nodes: 1000,
            size: 1024,
            warm_up: 2.0,
            duration: 10.0,
        }
    }
}

impl Preset {
    /// The loads, in order.
    pub fn shapes(self, watchers: usize) -> Vec<Shape> {
        let shape = Shape::default;
        match self {
            Preset::Paper => (0..=10).map(|tenth| paper(tenth * 10)).collect(),
            Preset::Raftkeeper => {
                let of = |name: &str, mix: &str| Shape {
                    name: name.into(),
                    mix: mix.parse().expect("it is one"),
                    connections: 100,
                    size: 100,
                    ..shape()
                };
                vec![
                    of("create", "create=1"),
                    of("mixed", "create=10,set=40,get=40,delete=10"),
                ]
            }
            Preset::Kafka => vec![Shape {
                load: Load::Kafka,
                connections: 1,
                in_flight: 1000,
                nodes: 10_000,
                size: 100,
                ..shape()
            }],
            Preset::Failover => vec![Shape {
                in_flight: 4,
                duration: 26.0,
                ..shape()
            }],
            Preset::Idle => vec![Shape {
                load: Load::Idle,
                connections: 5000,
                duration: 20.0,
                ..shape()
            }],
            Preset::Watch => vec![Shape {
                load: Load::Watch(watchers),
                connections: 100,
                size: 100,
                ..shape()
            }],
            Preset::Storm => vec![Shape {
                load: Load::Storm,
                connections: 64,
                ..shape()
            }],
        }
    }
}

/// Hunt, Konar, Junqueira and Reed, "ZooKeeper: Wait-free coordination for Internet-scale systems", 2010, section 5.
fn paper(read_percent: u32) -> Shape {
    Shape {
        name: format!("{read_percent} % reads"),
        read_percent: Some(read_percent),
        mix: Mix::reads(read_percent),
        connections: 250,
        in_flight: 100,
        warm_up: 1.0,
        duration: 4.0,
        ..Shape::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_loads() {
        use clap::ValueEnum;
        for preset in Preset::value_variants() {
            assert!(!preset.shapes(10).is_empty(), "{preset:?}");
        }
        let paper = Preset::Paper.shapes(0);
        assert_eq!((paper.len(), paper[0].mix.to_string().as_str()), (11, "get=0,set=100"));
    }
}
