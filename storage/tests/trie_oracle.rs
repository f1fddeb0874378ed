//! The trie against `imbl`, the reference-counted map that it replaces: large maps, many versions held at once.
//!
//! The unit tests try every kind of step on small maps; here three levels of branches fill up and empty again.

use std::collections::VecDeque;

use storage::trie::{Reader, Trie};

type Oracle = imbl::HashMap<Vec<u8>, Vec<u8>>;

const STEPS: u64 = if cfg!(debug_assertions) { 60_000 } else { 400_000 };
const KEYS: u64 = 20_000;
const HELD_VERSIONS: usize = 12;

/// SplitMix64: the steps are the same in every run of one seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("/services/region-{}/instance-{number}", number % 7).into_bytes()
}

fn change(trie: &mut Trie, oracle: &mut Oracle, random: &mut Random, removals: u64) {
    let key = key(random.below(KEYS));
    if random.below(10) < removals {
        assert_eq!(trie.remove(&key), oracle.remove(&key).is_some());
    } else {
        let value = vec![random.below(256) as u8; random.below(40) as usize];
        trie.put(&key, &[&value]);
        oracle.insert(key, value);
    }
}

fn compare(reader: &Reader, oracle: &Oracle) {
    assert_eq!(reader.len(), oracle.len());
    let mut count = 0;
    for (key, value) in reader.iter() {
        assert_eq!(oracle.get(key).map(|value| &value[..]), Some(value));
        count += 1;
    }
    assert_eq!(count, oracle.len(), "each entry comes once");
}

#[test]
fn a_dozen_held_versions_of_a_large_map_stay_what_they_were() {
    let seed = 0x5eed;
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let (mut trie, mut oracle) = (Trie::new(seed), Oracle::new());
    let mut held: VecDeque<(Reader, Oracle)> = VecDeque::new();
    for step in 0..STEPS {
        // The map fills in the first and third quarter and empties in the others.
        let removals = if (step * 4 / STEPS).is_multiple_of(2) { 2 } else { 9 };
        change(&mut trie, &mut oracle, &mut random, removals);
        if random.below(500) == 0 {
            let (checkpoint, before) = (trie.checkpoint(), oracle.clone());
            (0..100).for_each(|_| change(&mut trie, &mut oracle, &mut random, 5));
            if random.below(2) == 0 {
                trie.rollback(checkpoint);
                oracle = before;
            } else {
                trie.commit(checkpoint);
            }
        }
        if random.below(STEPS / 150) == 0 {
            if held.len() == HELD_VERSIONS {
                let place = random.below(held.len() as u64) as usize;
                let (reader, then) = held.remove(place).expect("a dozen are held");
                compare(&reader, &then);
            }
            held.push_back((trie.reader(), oracle.clone()));
        }
        if random.below(STEPS / 60) == 0 {
            // A leadership that is lost: several versions are sealed, and given up.
            let (reader, then) = (trie.reader(), oracle.clone());
            for _ in 0..random.below(4) {
                (0..300).for_each(|_| change(&mut trie, &mut oracle, &mut random, 5));
                trie.seal();
            }
            trie.return_to(&reader);
            oracle = then;
        }
        trie.reclaim(3);
    }
    held.iter().for_each(|(reader, then)| compare(reader, then));
    drop(held);
    trie.seal();
    trie.reclaim(usize::MAX);
    assert_eq!(trie.retired_len(), 0, "nobody looks at old versions any more");

    // Entries in trie order load into a map of the same order.
    let reader = trie.reader();
    compare(&reader, &oracle);
    let mut loaded = Trie::new(trie.seed());
    reader.iter().for_each(|(key, value)| loaded.put(key, &[value]));
    assert!(loaded.iter().eq(reader.iter()), "loading keeps the order");
}
