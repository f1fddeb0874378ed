//! Every image that a power cut can leave along a trace, each with what it must hold.
//!
//! Between two syncs a disk may keep any part of what it was given. Where that is up to [`SUBSETS_MAX`] writes and
//! changes of names, every subset of them is made, and where it is up to so many sectors, every subset of the sectors;
//! of larger writes each cut, each lost and each single sector; and a number of random choices on top.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};

use storage::sim::{Crash, Image, Op, Pending};

use super::server::APPENDED;

/// 2 to the power of this is how many subsets are made.
pub const SUBSETS_MAX: usize = 8;

/// What the disk must hold at a point of the trace.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Bounds {
    pub acknowledged: u64,
    pub appended: u64,
}

impl Bounds {
    /// Before the first record.
    pub const NONE: Bounds = Bounds {
        acknowledged: 0,
        appended: 0,
    };
}

/// A store's first image, and all that was done to it.
pub type Trace = (Image, Vec<Op>);

/// What a walk makes.
#[derive(Clone, Copy)]
pub struct Plan<'p> {
    /// Random choices at each point.
    pub random: u64,
    /// Of so many walkers, this one: they take the points in turn.
    pub share: (usize, usize),
    /// Images that need not be made again.
    pub known: &'p Known,
}

/// Images that were made, told apart by their bytes and what they must hold.
#[derive(Default)]
pub struct Known(Mutex<HashSet<u64>>);

impl Known {
    fn is_new(&self, image: &Image, bounds: Bounds, sums: &Sums) -> bool {
        let mut hasher = DefaultHasher::new();
        bounds.hash(&mut hasher);
        for (path, bytes) in &image.files {
            (path, bytes.len(), sums.of(bytes)).hash(&mut hasher);
        }
        self.0.lock().expect("no walker panicked").insert(hasher.finish())
    }
}

/// Checksums of the files at a point that no pending write touches: most of each image.
struct Sums(HashMap<*const Vec<u8>, u32>);

impl Sums {
    fn at(crash: &Crash) -> Sums {
        let durable = crash.image(&|_, _| false, &|_| true);
        let sum = |bytes: &Arc<Vec<u8>>| (Arc::as_ptr(bytes), crc32c::crc32c(bytes));
        Sums(durable.files.values().map(sum).collect())
    }

    fn of(&self, bytes: &Arc<Vec<u8>>) -> u32 {
        let known = self.0.get(&Arc::as_ptr(bytes)).copied();
        known.unwrap_or_else(|| crc32c::crc32c(bytes))
    }
}

/// Takes an image, what it must hold, and how it came about.
pub type Each<'e> = dyn FnMut(Image, Bounds, &dyn Fn() -> String) + 'e;

/// How many points of a trace were cut in every way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Walked {
    /// Points at which every subset of writes and names was made.
    pub exhaustive: u64,
    /// Points with more of them than that.
    pub sampled: u64,
}

/// Walks along a trace and gives every image that is not known yet.
pub fn walk((start, trace): &Trace, plan: Plan<'_>, mut bounds: Bounds, each: &mut Each<'_>) -> Walked {
    let mut crash = Crash::new(start);
    let mut walked = Walked::default();
    for (point, op) in trace.iter().enumerate() {
        match op {
            Op::Mark(note) if note & APPENDED != 0 => bounds.appended = bounds.appended.max(note & !APPENDED),
            Op::Mark(note) => bounds.acknowledged = *note,
            _ => {}
        }
        crash.begin(op);
        if point % plan.share.1 == plan.share.0 {
            let cut = Cut {
                crash: &crash,
                sums: Sums::at(&crash),
                plan,
                bounds,
                point,
                of: trace.len(),
            };
            match cut.images(each) {
                true => walked.exhaustive += 1,
                false => walked.sampled += 1,
            }
        }
        crash.end(op);
    }
    walked
}

/// A power cut at one point.
struct Cut<'c> {
    crash: &'c Crash,
    sums: Sums,
    plan: Plan<'c>,
    bounds: Bounds,
    point: usize,
    of: usize,
}

impl Cut<'_> {
    /// All images; whether every subset of writes and names was among them.
    fn images(&self, each: &mut Each<'_>) -> bool {
        let (writes, names) = (self.crash.writes(), self.crash.name_count());
        let unsure = writes.len() + names;
        if unsure <= SUBSETS_MAX {
            for subset in 0..1u64 << unsure {
                let kept = |index: usize| subset >> index & 1 == 1;
                let how = || format!("writes and names {subset:b}");
                self.give(&|write, _| kept(write), &|name| kept(writes.len() + name), &how, each);
            }
        } else {
            self.some_subsets(unsure, each);
        }
        let sectors: usize = writes.iter().map(Pending::sectors).sum();
        if sectors <= SUBSETS_MAX {
            self.all_sectors(sectors, each);
        } else {
            (0..writes.len()).for_each(|write| self.tears(write, each));
        }
        self.random(each);
        unsure <= SUBSETS_MAX
    }

    fn some_subsets(&self, unsure: usize, each: &mut Each<'_>) {
        let writes = self.crash.writes().len();
        for limit in 0..=unsure {
            let kinds: [(&str, &dyn Fn(usize) -> bool); 4] = [
                ("before", &|index| index < limit),
                ("behind", &|index| index >= limit),
                ("all but", &|index| index != limit),
                ("only", &|index| index == limit),
            ];
            for (kind, kept) in kinds {
                let how = || format!("writes and names {kind} {limit} of {unsure}");
                self.give(&|write, _| kept(write), &|name| kept(writes + name), &how, each);
            }
        }
    }

    /// Every subset of all sectors, with all changes of names and without.
    fn all_sectors(&self, sectors: usize, each: &mut Each<'_>) {
        let begins: Vec<usize> = self
            .crash
            .writes()
            .iter()
            .scan(0, |begin, write| {
                Some(std::mem::replace(begin, *begin + write.sectors()))
            })
            .collect();
        for subset in 0..1u64 << sectors {
            for names in [true, false] {
                let how = || format!("sectors {subset:b}, names {names}");
                self.give(
                    &|write, at| subset >> (begins[write] + at) & 1 == 1,
                    &|_| names,
                    &how,
                    each,
                );
            }
        }
    }

    /// One write torn in every place, the others there.
    fn tears(&self, torn: usize, each: &mut Each<'_>) {
        let pending = &self.crash.writes()[torn];
        for cut in 0..pending.sectors() {
            let kinds: [(&str, &dyn Fn(usize) -> bool); 4] = [
                ("before", &|at| at < cut),
                ("behind", &|at| at > cut),
                ("all but", &|at| at != cut),
                ("only", &|at| at == cut),
            ];
            // A new segment that is filled with zeros has a temporary name: how far it came is enough.
            let count = if pending.fills() { 1 } else { kinds.len() };
            for (kind, kept) in &kinds[..count] {
                let how = || format!("write {torn}, sectors {kind} {cut}");
                self.give(&|write, at| write != torn || kept(at), &|_| true, &how, each);
            }
        }
    }

    fn random(&self, each: &mut Each<'_>) {
        for nth in 0..self.plan.random {
            let seed = mix(self.point as u64 ^ mix(nth));
            let coin = |write: usize, sector: usize| mix(seed ^ ((write as u64) << 32 | sector as u64)) & 1 == 0;
            let how = || format!("seed {seed:x}");
            self.give(&coin, &|name| coin(name, u32::MAX as usize), &how, each);
        }
    }

    fn give(
        &self,
        sector: &dyn Fn(usize, usize) -> bool,
        name: &dyn Fn(usize) -> bool,
        how: &dyn Fn() -> String,
        each: &mut Each<'_>,
    ) {
        let image = self.crash.image(sector, name);
        if self.plan.known.is_new(&image, self.bounds, &self.sums) {
            let (point, of) = (self.point, self.of);
            each(image, self.bounds, &|| format!("operation {point} of {of}, {}", how()));
        }
    }
}

/// splitmix64, of which every bit depends on every bit.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
