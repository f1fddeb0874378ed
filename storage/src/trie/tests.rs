//! The trie against a plain map, its versions against copies of that map, and its memory against a count.
//!
//! All of it runs under Miri, on fewer cases, which sees every read of freed memory and every leak:
//! `MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-strict-provenance" cargo +nightly miri test -p ringkeeper-storage --lib trie`.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use proptest::prelude::*;

use super::{Bulk, Checkpoint, Disorder, Part, Reader, Slot, Trie, Version, sip};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// A hash with only a few values, so that every kind of collision happens.
fn weak(_: u64, key: &[u8]) -> u64 {
    let spread = key
        .iter()
        .fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte as u64));
    match spread % 3 {
        0 => 0,
        1 => spread % 7,
        _ => (spread % 5) << 60 | 0x0fff_ffff_ffff_ffff,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, Vec<u8>),
    Remove(u8),
    Checkpoint,
    Rollback,
    Commit,
    Seal,
    Advance(u8),
    CloneReader(u8),
    Freeze(u8),
    DropReader(u8),
    ReturnTo(u8),
    Reclaim(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (any::<u8>(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(key, value)| Step::Put(key, value)),
        5 => any::<u8>().prop_map(Step::Remove),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Rollback),
        1 => Just(Step::Commit),
        3 => Just(Step::Seal),
        3 => any::<u8>().prop_map(Step::Advance),
        1 => any::<u8>().prop_map(Step::CloneReader),
        1 => any::<u8>().prop_map(Step::Freeze),
        1 => any::<u8>().prop_map(Step::DropReader),
        1 => any::<u8>().prop_map(Step::ReturnTo),
        2 => any::<u8>().prop_map(Step::Reclaim),
    ];
    prop::collection::vec(step, 0..if cfg!(miri) { 40 } else { 300 })
}

fn key(number: u8) -> Vec<u8> {
    format!("/a/key/{}", number % 64).into_bytes()
}

fn check_reader(reader: &Reader, model: &Model) {
    assert_eq!(reader.len(), model.len());
    let mut found: Vec<_> = reader.iter().collect();
    found.sort();
    assert!(
        found
            .into_iter()
            .eq(model.iter().map(|(key, value)| (&key[..], &value[..])))
    );
    model
        .iter()
        .for_each(|(key, value)| assert_eq!(reader.get(key), Some(&value[..])));
    assert_eq!(reader.get(b"/never/there"), None);
    // Every key that the steps can make, there or not, and one chunk that is not full.
    let keys: Vec<Vec<u8>> = (0..=64).map(key).collect();
    let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    let mut asked = 0;
    reader.get_many(&keys, |place, value| {
        assert_eq!((place, value), (asked, model.get(keys[place]).map(|value| &value[..])));
        asked += 1;
    });
    assert_eq!(asked, keys.len());
}

/// The pieces below a root, by where they are.
fn weigh(slot: &Slot, pieces: &mut HashMap<usize, usize>) {
    if slot.is_nothing() {
        return;
    }
    pieces.insert(slot.piece().address(), slot.piece().bytes());
    if !slot.is_leaf() {
        slot.children().iter().for_each(|child| weigh(child, pieces));
    }
}

/// With every reader at the head or frozen, what is allocated is exactly what the head and the frozen versions reach.
fn check_memory<'a>(trie: &mut Trie, readers: impl Iterator<Item = &'a Reader>) {
    trie.reclaim(usize::MAX);
    let mut pieces = HashMap::new();
    weigh(&trie.root, &mut pieces);
    readers.for_each(|reader| weigh(&reader.root, &mut pieces));
    assert_eq!(trie.bytes(), pieces.values().sum::<usize>());
}

/// Runs the steps on a trie and on plain maps; every pinned reader must always equal its copy.
fn play(mut trie: Trie, steps: Vec<Step>) {
    let mut model = Model::new();
    let mut open: Option<(Checkpoint, Model)> = None;
    let mut sealed: Vec<(Version, Model)> = Vec::new();
    let mut readers: Vec<(Reader, Model)> = vec![(trie.reader(), Model::new())];
    let mut given_up: Vec<std::ops::RangeInclusive<u64>> = Vec::new();
    for step in steps {
        match step {
            Step::Put(number, value) => {
                let (front, back) = value.split_at(value.len() / 2);
                trie.put(&key(number), &[front, back]);
                model.insert(key(number), value);
            }
            Step::Remove(number) => assert_eq!(trie.remove(&key(number)), model.remove(&key(number)).is_some()),
            Step::Checkpoint if open.is_none() => open = Some((trie.checkpoint(), model.clone())),
            Step::Rollback => {
                if let Some((checkpoint, before)) = open.take() {
                    trie.rollback(checkpoint);
                    model = before;
                }
            }
            Step::Commit => {
                if let Some((checkpoint, _)) = open.take() {
                    trie.commit(checkpoint);
                }
            }
            Step::Seal if open.is_none() => sealed.push((trie.seal(), model.clone())),
            Step::Advance(number) if !readers.is_empty() && !sealed.is_empty() => {
                let count = readers.len();
                let (reader, its) = &mut readers[number as usize / 7 % count];
                let (version, content) = &sealed[number as usize % sealed.len()];
                if version.generation() >= reader.generation() && !reader.pin.is_frozen() {
                    reader.advance(version);
                    *its = content.clone();
                }
            }
            Step::CloneReader(number) if !readers.is_empty() && readers.len() < 8 => {
                let (reader, its) = &readers[number as usize % readers.len()];
                let pair = (reader.clone(), its.clone());
                readers.push(pair);
                readers.rotate_right(1);
            }
            Step::Freeze(number) if !readers.is_empty() => {
                let (reader, its) = readers.swap_remove(number as usize % readers.len());
                readers.push((reader.freeze(), its));
            }
            Step::DropReader(number) if !readers.is_empty() => {
                drop(readers.swap_remove(number as usize % readers.len()))
            }
            Step::ReturnTo(number) if open.is_none() && !readers.is_empty() => {
                let (reader, its) = &readers[number as usize % readers.len()];
                let then = reader.generation();
                if !given_up.iter().any(|versions| versions.contains(&then)) {
                    let newest = trie.seal().generation();
                    trie.return_to(reader);
                    model = its.clone();
                    given_up.push(then + 1..=newest);
                }
            }
            Step::Reclaim(budget) if open.is_none() => {
                assert!(trie.reclaim(budget as usize) <= budget as usize);
                if budget % 4 == 0 {
                    let version = trie.seal();
                    let moving = readers.iter_mut().filter(|(reader, _)| !reader.pin.is_frozen());
                    for (reader, its) in moving {
                        reader.advance(&version);
                        *its = model.clone();
                    }
                    check_memory(&mut trie, readers.iter().map(|(reader, _)| reader));
                }
            }
            _ => {}
        }
        assert_eq!(trie.len(), model.len());
        assert!(model.iter().all(|(key, value)| trie.get(key) == Some(&value[..])));
        readers.iter().for_each(|(reader, its)| check_reader(reader, its));
        if readers.is_empty() && open.is_none() {
            readers.push((trie.reader(), model.clone()));
        }
    }
    if let Some((checkpoint, _)) = open {
        trie.commit(checkpoint);
    }
    let reader = trie.reader();
    drop(trie);
    // Readers outlive the writer.
    check_reader(&reader, &model);
    readers.iter().for_each(|(reader, its)| check_reader(reader, its));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 300 }, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_maps_and_copies(steps in steps()) {
        play(Trie::new(42), steps);
    }

    #[test]
    fn behaves_so_when_hashes_collide(steps in steps()) {
        play(Trie::with_hash(0, weak), steps);
    }
}

#[test]
fn everything_retired_is_freed_and_nothing_else_is_left() {
    let mut trie = Trie::with_hash(0, weak);
    let empty = trie.bytes();
    for round in 0..20u32 {
        for number in 0..64 {
            trie.put(&key(number), &[&round.to_be_bytes()]);
        }
        trie.seal();
        let checkpoint = trie.checkpoint();
        (0..64).step_by(3).for_each(|number| assert!(trie.remove(&key(number))));
        if round % 2 == 0 {
            trie.rollback(checkpoint)
        } else {
            trie.commit(checkpoint)
        }
    }
    let removed = (0..64).filter(|number| trie.remove(&key(*number))).count();
    assert!(removed > 40 && trie.retired_len() > 0);
    trie.seal();
    trie.reclaim(usize::MAX);
    assert_eq!(
        (trie.len(), trie.retired_len(), trie.bytes()),
        (0, 0, empty),
        "every byte was given back"
    );
}

#[test]
fn going_back_far_gives_back_what_was_made_and_keeps_what_was_there() {
    for hash in [sip, weak] {
        let mut trie = Trie::with_hash(3, hash);
        let empty = trie.bytes();
        (0..64).for_each(|number| trie.put(&key(number), &[b"published"]));
        let mut published = trie.reader();
        trie.reclaim(usize::MAX);
        let before = trie.bytes();
        for round in 0..5u8 {
            (0..64).step_by(3).for_each(|number| assert!(trie.remove(&key(number))));
            (0..64)
                .step_by(2)
                .for_each(|number| trie.put(&key(number), &[&[round]]));
            let version = trie.seal();
            // A second reader looks at what is given up, and a third follows it there later.
            let other = trie.reader();
            (0..64).for_each(|number| trie.put(&key(number), &[b"unsealed"]));
            trie.return_to(&published);
            let mut third = published.clone();
            third.advance(&version);
            assert_eq!(other.get(&key(0)), Some(&[round][..]));
            assert!(third.iter().eq(other.iter()));
            drop((other, third));
            assert!((0..64).all(|number| trie.get(&key(number)) == Some(b"published")));
            assert_eq!(trie.len(), 64);
            published.advance(&trie.seal());
            trie.reclaim(usize::MAX);
            assert_eq!((trie.retired_len(), trie.bytes()), (0, before), "round {round}");
        }
        (0..64).for_each(|number| assert!(trie.remove(&key(number))));
        published.advance(&trie.seal());
        trie.reclaim(usize::MAX);
        assert_eq!((trie.len(), trie.retired_len(), trie.bytes()), (0, 0, empty));
    }
}

#[test]
#[should_panic(expected = "was given up")]
fn a_version_that_was_given_up_is_no_way_back() {
    let mut trie = Trie::new(3);
    trie.put(b"k", &[b"1"]);
    let first = trie.reader();
    trie.put(b"k", &[b"2"]);
    let second = trie.reader();
    trie.return_to(&first);
    trie.return_to(&second);
}

#[test]
fn a_pinned_reader_holds_what_it_needs_and_no_more() {
    let mut trie = Trie::new(1);
    trie.put(b"k", &[b"0"]);
    let mut reader = trie.reader();
    for round in 0..100u32 {
        trie.put(b"k", &[&round.to_be_bytes()]);
        trie.seal();
    }
    assert_eq!(trie.reclaim(usize::MAX), 0, "the oldest version is pinned");
    assert_eq!(reader.get(b"k"), Some(&b"0"[..]));
    let newest = trie.seal();
    reader.advance(&newest);
    assert!(trie.reclaim(usize::MAX) >= 100);
    assert_eq!(reader.get(b"k"), Some(&99u32.to_be_bytes()[..]));
    assert_eq!(trie.reclaim(usize::MAX), 0);
}

/// What a snapshot costs, however long it takes and however much is written meanwhile.
#[test]
fn a_frozen_reader_holds_its_version_and_no_more() {
    const KEYS: u32 = if cfg!(miri) { 60 } else { 5000 };
    let mut trie = Trie::new(1);
    (0..KEYS).for_each(|number| trie.put(&number.to_be_bytes(), &[b"what was there at first"]));
    let mut reader = trie.reader();
    let frozen = reader.clone().freeze();
    let then = trie.bytes();
    let mut most = 0;
    for round in 0..20u32 {
        for number in 0..KEYS {
            // One in three is removed in odd rounds and comes back in even ones.
            match (number + round) % 3 * (round % 2) {
                1 => assert!(trie.remove(&number.to_be_bytes())),
                _ => trie.put(&number.to_be_bytes(), &[b"round ", &round.to_be_bytes()]),
            }
            if number % 50 == 0 {
                reader.advance(&trie.seal());
                trie.reclaim(usize::MAX);
                most = most.max(trie.bytes());
            }
        }
        reader.advance(&trie.seal());
        check_memory(&mut trie, [&reader, &frozen].into_iter());
        assert_eq!(trie.retired_len(), 0, "nothing waits for a reader that moves");
    }
    assert_eq!(frozen.len(), KEYS as usize);
    assert!(frozen.iter().all(|(_, value)| value == b"what was there at first"));
    // The version that is held, the tree, and what the moving reader had not left yet.
    assert!(
        most < 2 * then + then / 10,
        "{most} bytes, {then} when the version was frozen"
    );
    let clone = frozen.clone();
    drop(frozen);
    assert_eq!(trie.reclaim(usize::MAX), 0, "a clone stays where it is too");
    drop(clone);
    assert_eq!(trie.reclaim(10), 10, "a few at a time");
    assert!(trie.retired_len() > KEYS as usize / 2);
    check_memory(&mut trie, [&reader].into_iter());
}

#[test]
#[should_panic(expected = "a frozen reader stays where it is")]
fn a_frozen_reader_does_not_advance() {
    let mut trie = Trie::new(1);
    let mut reader = trie.reader().freeze();
    reader.advance(&trie.seal());
}

#[test]
fn a_path_is_copied_once_in_a_generation() {
    let mut trie = Trie::new(1);
    (0..1000u32).for_each(|number| trie.put(&number.to_be_bytes(), &[b"old"]));
    let _reader = trie.reader();
    (0..50).for_each(|_| trie.put(&7u32.to_be_bytes(), &[b"new"]));
    let retired = trie.retired_len();
    assert!((51..60).contains(&retired), "50 leaves and one path, not {retired}");
}

#[test]
fn what_was_added_and_removed_leaves_the_same_shape() {
    let mut trie = Trie::new(1);
    (0..1000u32).for_each(|number| trie.put(&number.to_be_bytes(), &[b"v"]));
    let before = trie.bytes();
    (1000..3000u32).for_each(|number| trie.put(&number.to_be_bytes(), &[b"v"]));
    (1000..3000u32).for_each(|number| assert!(trie.remove(&number.to_be_bytes())));
    trie.reclaim(usize::MAX);
    assert_eq!(
        trie.bytes(),
        before,
        "a branch that would hold a single leaf gives way to it"
    );
}

#[test]
fn without_a_reader_nothing_is_held_not_even_by_versions() {
    let mut trie = Trie::new(1);
    trie.put(b"k", &[b"0"]);
    let _version = trie.seal();
    trie.put(b"k", &[b"1"]);
    assert_eq!(
        (trie.retired_len(), trie.reclaim(usize::MAX)),
        (1, 1),
        "the old leaf, before the next seal"
    );
    assert_eq!(trie.get(b"k"), Some(&b"1"[..]));
    assert_eq!(
        trie.reader().get(b"k"),
        Some(&b"1"[..]),
        "a new reader begins at the head"
    );
}

#[test]
#[should_panic(expected = "a reader went back")]
fn a_reader_never_goes_back() {
    let mut trie = Trie::new(1);
    let (old, mut reader) = (trie.seal(), trie.reader());
    reader.advance(&old);
}

#[test]
#[should_panic(expected = "a version of another trie")]
fn a_version_belongs_to_its_trie() {
    let (mut one, mut other) = (Trie::new(1), Trie::new(1));
    one.reader().advance(&other.seal());
}

#[test]
#[should_panic(expected = "a checkpoint of another trie")]
fn a_checkpoint_belongs_to_its_trie() {
    let (mut one, mut other) = (Trie::new(1), Trie::new(1));
    let (_kept, foreign) = (one.checkpoint(), other.checkpoint());
    one.rollback(foreign);
}

/// A part's own or the trie's hash, seed bound.
type Hash = fn(&[u8]) -> u64;

/// Entries in trie order, cut into parts at those places.
fn joined(hash: Hash, empty: Trie, entries: &[(&[u8], &[u8])], cuts: &[usize]) -> Result<Trie, Disorder> {
    let mut bulk = Bulk::new(empty.seed());
    let mut from = 0;
    for to in cuts.iter().copied().chain([entries.len()]) {
        bulk.push(Part::with_hash(entries[from..to].iter().copied(), hash)?)?;
        from = to;
    }
    Ok(bulk.fill(empty))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 256 }))]

    /// However the entries of a trie are cut into parts, joining them gives the same trie; it can be changed, and
    /// frees what it holds.
    #[test]
    fn parts_join_to_the_same_trie(
        keys in prop::collection::btree_set(prop::collection::vec(0u8..6, 0..5), 0..if cfg!(miri) { 30 } else { 300 }),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        colliding in any::<bool>(),
    ) {
        let (hash, empty): (Hash, fn() -> Trie) = match colliding {
            true => (|key| weak(0, key), || Trie::with_hash(0, weak)),
            false => (|key| sip(7, key), || Trie::new(7)),
        };
        let mut one_by_one = empty();
        keys.iter().for_each(|key| one_by_one.put(key, &[b"value of ", key]));
        let entries: Vec<_> = one_by_one.iter().collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(entries.len() + 1)).collect();
        cuts.sort_unstable();
        let mut trie = joined(hash, empty(), &entries, &cuts).unwrap();
        prop_assert_eq!((trie.len(), trie.bytes()), (one_by_one.len(), one_by_one.bytes()));
        prop_assert!(trie.iter().eq(entries.iter().copied()));
        for key in &keys {
            prop_assert_eq!(trie.get(key), one_by_one.get(key));
        }
        for (number, key) in keys.iter().enumerate() {
            match number % 3 {
                0 => prop_assert!(trie.remove(key)),
                1 => trie.put(key, &[b"another"]),
                _ => trie.put(&[&key[..], b"and more"].concat(), &[b"new"]),
            }
        }
        let reader = trie.reader();
        prop_assert_eq!(reader.iter().count(), reader.len());
        // The wrong order, within a part and between two, is refused.
        if let [first, .., last] = entries[..] && hash(first.0) != hash(last.0) {
            prop_assert!(joined(hash, empty(), &[last, first], &[]).is_err());
            prop_assert!(joined(hash, empty(), &[last, first], &[1]).is_err());
        }
        // So is a key that is there twice.
        if let [.., last] = entries[..] {
            prop_assert!(joined(hash, empty(), &[last, last], &[]).is_err());
            prop_assert!(joined(hash, empty(), &[last, last], &[1]).is_err());
        }
    }
}

/// Readers on their own threads follow a writer; each version's entries all say the same number.
#[test]
fn readers_on_other_threads_see_whole_versions() {
    const KEYS: u32 = if cfg!(miri) { 20 } else { 300 };
    const ROUNDS: u32 = match (cfg!(miri), cfg!(debug_assertions)) {
        (true, _) => 40,
        (_, true) => 300,
        _ => 3000,
    };
    let mut trie = Trie::new(9);
    let (stop, looked) = (AtomicBool::new(false), AtomicU64::new(0));
    let name = |number: u32| number.wrapping_mul(2_654_435_761).to_be_bytes();
    (0..KEYS).for_each(|number| trie.put(&name(number), &[&0u32.to_be_bytes()]));
    std::thread::scope(|scope| {
        let mut queues = Vec::new();
        for _ in 0..3 {
            let (queue, versions) = mpsc::channel::<Version>();
            queues.push(queue);
            let (mut reader, stop, looked) = (trie.reader(), &stop, &looked);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Some(version) = versions.try_iter().last() {
                        reader.advance(&version);
                    }
                    let first = reader.get(&name(0)).expect("every key is always there").to_vec();
                    for number in 0..KEYS {
                        assert_eq!(reader.get(&name(number)), Some(&first[..]), "a half version");
                    }
                    let clone = reader.clone().freeze();
                    assert!(clone.iter().all(|(_, value)| value == first));
                    looked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 1..=ROUNDS {
            for number in 0..KEYS {
                trie.put(&name(number), &[&round.to_be_bytes()]);
            }
            if round % 5 == 0 {
                let checkpoint = trie.checkpoint();
                (0..KEYS).for_each(|number| assert!(trie.remove(&name(number))));
                trie.rollback(checkpoint);
            }
            let version = trie.seal();
            queues
                .iter()
                .for_each(|queue| queue.send(version).expect("the readers run"));
            trie.reclaim(2 * KEYS as usize);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(looked.into_inner() > 10, "the readers had their turns");
    trie.seal();
    trie.reclaim(usize::MAX);
    assert_eq!(trie.retired_len(), 0);
}
