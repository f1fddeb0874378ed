//! Single faults at rest: every file, sector and field of a store, each damaged in every way, one at a time; and reads
//! that fail. Each case ends in one of these, or the test fails:
//!
//! * **harmless**: the store opens, holds all that was acknowledged, byte for byte, and opens again;
//! * **passed over**: the same, and the report names the damaged snapshot that was not needed;
//! * **refused**: the start names file, offset (where bytes are wrong) and the way out, and changes nothing;
//! * **cut and told**: the last batch of a *killed* server has lost whole sectors to zeros. Nothing can tell this from a
//!   write that a crash tore, so it is cut, and the report says which transactions. Counted apart, and allowed nowhere
//!   else; a server that ended in order has none of it.
//! * **looks unwritten**: the same where *all* of that batch is zero: it looks as if it had never been written, and no
//!   file of one server can tell. The limit of what one server can promise; counted apart, and allowed nowhere else.

mod log_common;

mod faults {
    pub mod places;
    pub mod store;
}

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use faults::places::{Place, Seals, places};
use faults::store::{Stage, Stored};
use storage::format::{BLOCK, SECTOR};
use storage::sim::{Image, SimDisk};

/// What became of the cases, by fault and place; and those that ended in none of the ways allowed.
#[derive(Default)]
struct Table(BTreeMap<(String, String), BTreeMap<&'static str, u64>>, Vec<String>);

const OUTCOMES: [&str; 5] = ["harmless", "passed over", "refused", "cut and told", "looks unwritten"];

impl Table {
    fn count(&mut self, fault: &str, place: &str, outcome: &'static str) {
        assert!(OUTCOMES.contains(&outcome));
        let row = self.0.entry((fault.into(), place.into())).or_default();
        *row.entry(outcome).or_default() += 1;
    }

    fn of(&self, outcome: &str) -> u64 {
        self.0.values().filter_map(|row| row.get(outcome)).sum()
    }

    fn print(&self) {
        println!(
            "{:<28}{:<28}{}",
            "fault",
            "place",
            OUTCOMES.map(|outcome| format!("{outcome:>17}")).concat()
        );
        for ((fault, place), row) in &self.0 {
            let counts = OUTCOMES.map(|outcome| format!("{:>17}", row.get(outcome).copied().unwrap_or(0)));
            println!("{fault:<28}{place:<28}{}", counts.concat());
        }
        let sums = OUTCOMES.map(|outcome| format!("{} {outcome}", self.of(outcome)));
        println!("{}; {} that are none of these", sums.join(", "), self.1.len());
    }
}

/// One fault.
struct Case<'c> {
    stored: &'c Stored,
    fault: &'c str,
    place: &'c str,
    /// Every file that the fault touched: a refusal must name one of them, or the log segment next to it.
    touched: &'c [&'c Path],
    /// Whether it takes away whole sectors of the last batch of a killed server, and nothing else.
    doubtful: bool,
    /// Whether it takes away all of that batch.
    erases: bool,
    what: String,
}

impl Case<'_> {
    fn judge(&self, image: Image, table: &mut Table) {
        let disk = SimDisk::new(image.clone());
        let what = format!("{}: {} of {}: {}", self.stored.name, self.fault, self.place, self.what);
        // One case that is not as it must be does not hide the next.
        let outcome = catch_unwind(AssertUnwindSafe(|| match self.stored.open(&disk) {
            Ok((report, seen)) => self.judge_opened(&disk, report, seen.state().0, &what),
            Err(error) => {
                self.check_refusal(&error, &what);
                assert!(disk.live() == image, "{what}: refused, and something was changed");
                "refused"
            }
        }));
        match outcome {
            Ok(outcome) => table.count(self.fault, self.place, outcome),
            Err(_) => table.1.push(what),
        }
    }

    fn judge_opened(&self, disk: &SimDisk, report: storage::engine::Report, got: u64, what: &str) -> &'static str {
        let (state, text) = (self.stored.state, report.to_string());
        // What was settled stays so.
        let (again, seen) = self
            .stored
            .open(disk)
            .unwrap_or_else(|error| panic!("{what}: then {error}"));
        assert_eq!(seen.state().0, got, "{what}: then {again}");
        assert_eq!((&again.torn, again.damaged.len()), (&None, 0), "{what}: told once");
        if let Some(torn) = report.torn.as_ref().filter(|_| self.doubtful) {
            let last = self.stored.last_batch.as_ref().expect("a killed server's last batch");
            assert_eq!(
                (&torn.path, torn.offset),
                (&last.0, last.1.start as u64),
                "{what}: {text}"
            );
            assert!(text.contains("zxid") || torn.zxids.is_none(), "{what}: {text}");
            return "cut and told";
        }
        if self.erases && got < state {
            return "looks unwritten";
        }
        assert_eq!(got, state, "{what}: acknowledged transactions are gone: {text}");
        if report.damaged.is_empty() {
            return "harmless";
        }
        let told = self
            .touched
            .iter()
            .any(|path| text.contains(&path.display().to_string()));
        assert!(told && text.contains("offset"), "{what}: {text}");
        "passed over"
    }

    fn check_refusal(&self, error: &storage::engine::OpenError, what: &str) {
        use storage::engine::OpenError;
        let text = error.to_string();
        let named = |path: &&&Path| text.contains(&path.display().to_string());
        let in_log = self.touched.iter().any(|path| path.starts_with("/log"));
        let neighbour = in_log && text.contains("/log/ringkeeper-1/log.");
        // Of two files that contradict each other, either may be the wrong one.
        let manifest = self.touched.iter().any(|path| path.ends_with("manifest")) && text.contains("manifest");
        assert!(
            self.touched.iter().find(named).is_some() || neighbour || manifest,
            "{what}: {text}"
        );
        let io = matches!(error, OpenError::Io { .. });
        let placed = text.contains("offset") || io || matches!(error, OpenError::Missing { .. });
        assert!(placed, "{what}: {text}");
        let way_out = if io { "os error 5" } else { "restore dataDir" };
        assert!(text.contains(way_out), "{what}: {text}");
    }
}

/// Every fault of one place's bytes: the fault's name, what it does to the file, whether it only takes whole sectors.
fn spoil(bytes: &[u8], place: &Place) -> Vec<(&'static str, Vec<u8>, bool)> {
    let range = place.range.clone();
    let with = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = bytes.to_vec();
        change(&mut bytes[range.clone()]);
        bytes
    };
    let all = vec![
        ("first bit flipped", with(&|field| field[0] ^= 1), false),
        (
            "last bit flipped",
            with(&|field| *field.last_mut().unwrap() ^= 0x80),
            false,
        ),
        ("zeroed", with(&|field| field.fill(0)), place.is_sectors()),
        ("filled with ones", with(&|field| field.fill(0xff)), false),
        ("one more", with(&|field| field[0] = field[0].wrapping_add(1)), false),
    ];
    all.into_iter().filter(|(_, spoilt, _)| spoilt != bytes).collect()
}

/// Each field of each kind of record, with its seals and checksums as they were; and where the place lies under a seal,
/// once more with the seal made right: then what is behind the seal has to see it.
fn fields(stored: &Stored, table: &mut Table) {
    for path in stored.files() {
        let bytes = &stored.image.files[&path];
        for place in places(stored, &path) {
            for (fault, spoilt, whole_sectors) in spoil(bytes, &place) {
                let touches_last = stored.touches_last_batch(&path, &place.range);
                for resealed in [false, true] {
                    let mut spoilt = spoilt.clone();
                    // Whoever can seal can write a last batch that a crash might have torn: that is no fault of a disk.
                    if resealed && (touches_last || !Seals::of(stored, &path).renew(&mut spoilt, &place.range)) {
                        continue;
                    }
                    let fault = if resealed {
                        format!("{fault}, resealed")
                    } else {
                        fault.to_owned()
                    };
                    let mut image = stored.image.clone();
                    *image.bytes_mut(&path) = spoilt;
                    let case = Case {
                        stored,
                        fault: &fault,
                        place: &place.name,
                        touched: &[&path],
                        doubtful: !resealed && whole_sectors && touches_last,
                        erases: false,
                        what: format!("{} {:?}", path.display(), place.range),
                    };
                    case.judge(image, table);
                }
            }
        }
    }
}

/// Each sector and block: zeroed, swapped with the next, written over the next (a write that went astray).
fn sectors(stored: &Stored, table: &mut Table) {
    for path in stored.files() {
        let bytes = &stored.image.files[&path];
        for (unit, name) in [(SECTOR, "sector"), (BLOCK, "block")] {
            for at in (0..bytes.len()).step_by(unit) {
                let here = at..(at + unit).min(bytes.len());
                let next = here.end..(here.end + here.len()).min(bytes.len());
                let mut zeroed = bytes.to_vec();
                zeroed[here.clone()].fill(0);
                let mut cases = vec![("zeroed", zeroed)];
                if next.len() == here.len() {
                    let mut copied = bytes.to_vec();
                    copied.copy_within(here.clone(), next.start);
                    let mut swapped = bytes.to_vec();
                    let (left, right) = swapped[here.start..next.end].split_at_mut(unit);
                    left.swap_with_slice(right);
                    cases.extend([("duplicated", copied), ("swapped", swapped)]);
                }
                for (fault, spoilt) in cases {
                    if spoilt == **bytes {
                        continue;
                    }
                    // A sector of zeros that lands in the last batch is the doubtful case too.
                    let zeros_land = fault == "zeroed" || bytes[here.clone()].iter().all(|byte| *byte == 0);
                    let place = format!("{name} of {}", kind(&path));
                    let mut image = stored.image.clone();
                    *image.bytes_mut(&path) = spoilt;
                    let case = Case {
                        stored,
                        fault,
                        place: &place,
                        touched: &[&path],
                        doubtful: zeros_land && stored.touches_last_batch(&path, &(here.start..next.end)),
                        erases: fault == "zeroed" && stored.covers_last_batch(&path, &here),
                        what: format!("{} {here:?}", path.display()),
                    };
                    case.judge(image, table);
                }
            }
        }
    }
}

/// Each file as a whole: gone, empty, cut, grown, another store's, another's of its kind, under a second name, an older
/// copy of itself.
fn whole_files(stored: &Stored, other: &Stored, table: &mut Table) {
    let files = stored.files();
    for path in &files {
        let bytes = &stored.image.files[path];
        let mut one = |fault: &str, touched: &[&Path], what: String, change: &dyn Fn(&mut Image)| {
            let mut image = stored.image.clone();
            change(&mut image);
            if image == stored.image {
                return;
            }
            let (place, doubtful) = (kind(path), false);
            let case = Case {
                stored,
                fault,
                place: &place,
                touched,
                doubtful,
                erases: false,
                what,
            };
            case.judge(image, table);
        };
        let put = |image: &mut Image, bytes: &[u8]| *image.bytes_mut(path) = bytes.to_vec();
        let name = path.display();
        one("missing", &[path], format!("{name}"), &|image| {
            drop(image.files.remove(path))
        });
        one("empty", &[path], format!("{name}"), &|image| put(image, b""));
        let step = (bytes.len() / 24).max(1);
        for length in (1..bytes.len()).step_by(step) {
            one("cut", &[path], format!("{name} to {length}"), &|image| {
                put(image, &bytes[..length])
            });
        }
        for more in [&[0][..], &[7], &[0; SECTOR], &[0; BLOCK], &[9; BLOCK]] {
            one("grown", &[path], format!("{name} by {}", more.len()), &|image| {
                put(image, &[bytes, more].concat())
            });
        }
        if let Some(foreign) = other.image.files.get(path) {
            one("another store's", &[path], format!("{name}"), &|image| {
                put(image, foreign)
            });
        }
        for (age, older) in stored.older.iter().enumerate() {
            // The last segment's end is sealed by nothing if the server was killed: told by nobody, and the README says so.
            let untold = stored.last_batch.as_ref().is_some_and(|last| last.0 == *path);
            if let Some(older) = older.files.get(path).filter(|_| !untold) {
                one("older copy", &[path], format!("{name}, {age}"), &|image| {
                    put(image, older)
                });
            }
        }
        for second in files
            .iter()
            .filter(|second| *second > path && kind(second) == kind(path))
        {
            let both: [&Path; 2] = [path, second];
            one(
                "swapped with another",
                &both,
                format!("{name} and {}", second.display()),
                &|image| {
                    let (first, other) = (image.files[path].clone(), image.files[second].clone());
                    image.files.extend([(path.clone(), other), (second.clone(), first)]);
                },
            );
            one(
                "copied over another",
                &both,
                format!("{name} over {}", second.display()),
                &|image| {
                    image.files.insert(second.clone(), Arc::clone(bytes));
                },
            );
        }
        for second in second_names(path) {
            one(
                "under a second name",
                &[path, &second],
                format!("{name} as {}", second.display()),
                &|image| {
                    image.files.insert(second.clone(), Arc::clone(bytes));
                },
            );
        }
    }
}

/// Names that a copy of the file may have been given.
fn second_names(path: &Path) -> Vec<PathBuf> {
    let digits: &[&str] = &[
        "0000000000000000",
        "0000000000000001",
        "00000000000000ff",
        "0000000300000001",
    ];
    let prefix = match kind(path).as_str() {
        "a log segment" => "log.",
        "a snapshot" => "snapshot.",
        _ => return vec![path.with_extension("tmp"), path.with_extension("old")],
    };
    let names = digits
        .iter()
        .map(|digits| path.with_file_name(format!("{prefix}{digits}")));
    names.filter(|name| name != path).collect()
}

/// A file, or a directory's list, that cannot be read.
fn reads(stored: &Stored, table: &mut Table) {
    let mut paths = stored.files();
    paths.extend(["/data/ringkeeper-1".into(), "/log/ringkeeper-1".into()]);
    for path in paths {
        let disk = SimDisk::new(stored.image.clone());
        disk.fail_reads_of(&path);
        let case = Case {
            stored,
            fault: "EIO when read",
            place: &kind(&path),
            touched: &[&path],
            doubtful: false,
            erases: false,
            what: path.display().to_string(),
        };
        // Read twice by the case, so that the error must be met again.
        match stored.open(&disk) {
            Ok((report, seen)) => {
                assert_eq!(seen.state().0, stored.state, "{}: {report}", case.what);
                table.count(case.fault, case.place, "harmless");
            }
            Err(error) => {
                case.check_refusal(&error, &case.what);
                assert!(
                    disk.live() == stored.image,
                    "{}: refused, and something was changed",
                    case.what
                );
                table.count(case.fault, case.place, "refused");
            }
        }
    }
}

fn kind(path: &Path) -> String {
    let name = path.file_name().expect("a name").to_string_lossy();
    let kind = match name.split('.').next() {
        Some("log") => "a log segment",
        Some("snapshot") => "a snapshot",
        Some("manifest") => "the manifest",
        _ => "a directory",
    };
    kind.into()
}

#[test]
fn every_single_fault_is_harmless_or_told() {
    let mut table = Table::default();
    for stage in Stage::ALL {
        let (stored, other) = (Stored::new(stage, 1), Stored::new(stage, 2));
        assert_eq!(
            stored.files(),
            other.files(),
            "two servers with the same history have the same names"
        );
        fields(&stored, &mut table);
        sectors(&stored, &mut table);
        whole_files(&stored, &other, &mut table);
        reads(&stored, &mut table);
    }
    table.print();
    let cases: u64 = OUTCOMES.iter().map(|outcome| table.of(outcome)).sum();
    println!("{cases} single faults");
    assert!(
        table.1.is_empty(),
        "{} violations, see above:\n{}",
        table.1.len(),
        table.1.join("\n")
    );
    assert!(cases >= 2000, "{cases}");
    assert!(table.of("refused") > 1000 && table.of("passed over") > 100 && table.of("harmless") > 100);
}
