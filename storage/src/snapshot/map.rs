//! A snapshot file as memory. The engine's one `unsafe` outside the trie.
//!
//! Mapped rather than read, so that loading a large snapshot on several threads neither copies it nor holds it twice.
//! The price: a file that is shortened while it is mapped, or a sector that cannot be read, is no error but SIGBUS. So
//! the first mapping installs a handler that ends the process with a line that names the file and with
//! [`EXIT_MAP_LOST`]; a SIGBUS anywhere else goes to whoever had the signal before.
//!
//! The handler may do only what is safe inside a signal: it reads atomics, calls write(2), sigaction(2) and _exit(2),
//! and neither allocates nor locks. What it looks at are [`Place`]s: leaked once, used again and again, never freed.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::sync::{Once, OnceLock};

use memmap2::{Advice, Mmap};

/// The exit status of a process whose mapped snapshot was lost under it.
pub const EXIT_MAP_LOST: i32 = 22;

/// The bytes of a file, for as long as this lives.
#[derive(Debug)]
pub struct Mapped {
    // Dropped in this order: a place names a mapping only while that is there.
    _place: Claim,
    bytes: Mmap,
}

/// Maps a file for reading from front to back.
///
/// # Errors
/// What opening or mapping met.
pub fn map(path: &Path) -> io::Result<Mapped> {
    let file = File::open(path)?;
    // SAFETY: the memory must not change while it is borrowed as bytes. A snapshot is written under a temporary name
    // and renamed when it is whole; nothing in Ringkeeper writes to it, shortens it or re-uses it afterwards, it is
    // only ever unlinked, which leaves a mapping intact. An operator who overwrites it in place while a server starts
    // breaks this; the checksums, verified over the same mapping that is then used, turn that into a refusal, and a
    // shortened file into SIGBUS, which ends the process: in no case is a wrong tree served in silence.
    // WHY not read(2): twice the memory at start-up, of a file as large as a server's whole state.
    let bytes = unsafe { Mmap::map(&file)? };
    // Only advice: a kernel that cannot take it reads the file all the same.
    let _ = bytes.advise(Advice::Sequential);
    install();
    Ok(Mapped {
        _place: Claim::new(&bytes, path),
        bytes,
    })
}

impl Deref for Mapped {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The longest path that is told whole; of a longer one the end is.
const NAME_BYTES: usize = 512;

/// Where a mapping is and which file it is of. Lives for ever, in a list that only grows at its head.
#[derive(Debug)]
struct Place {
    taken: AtomicBool,
    start: AtomicUsize,
    /// 0 while it names nothing; written last when it is claimed, first when it is given back.
    length: AtomicUsize,
    name_length: AtomicUsize,
    name: [AtomicU8; NAME_BYTES],
    next: *const Place,
}

static PLACES: AtomicPtr<Place> = AtomicPtr::new(std::ptr::null_mut());

/// A place in use.
#[derive(Debug)]
struct Claim(&'static Place);

// SAFETY: all of a place but `next` are atomics, and `next` is written before the place is shared and never again.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

/// Every place there is.
fn places() -> impl Iterator<Item = &'static Place> {
    let mut next = PLACES.load(SeqCst).cast_const();
    std::iter::from_fn(move || {
        // SAFETY: the pointers of the list are null or come from `Box::leak`: what they point to lives for ever and
        // is only read.
        let place = unsafe { next.as_ref() }?;
        next = place.next;
        Some(place)
    })
}

impl Claim {
    fn new(bytes: &[u8], path: &Path) -> Claim {
        let free = places().find(|place| !place.taken.swap(true, SeqCst));
        let place = free.unwrap_or_else(Place::add);
        let name = path.as_os_str().as_bytes();
        let name = &name[name.len().saturating_sub(NAME_BYTES)..];
        name.iter()
            .zip(&place.name)
            .for_each(|(byte, at)| at.store(*byte, SeqCst));
        place.name_length.store(name.len(), SeqCst);
        place.start.store(bytes.as_ptr() as usize, SeqCst);
        place.length.store(bytes.len(), SeqCst);
        Claim(place)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.length.store(0, SeqCst);
        self.0.taken.store(false, SeqCst);
    }
}

impl Place {
    /// A new one, taken.
    fn add() -> &'static Place {
        let place = Box::leak(Box::new(Place {
            taken: AtomicBool::new(true),
            start: AtomicUsize::new(0),
            length: AtomicUsize::new(0),
            name_length: AtomicUsize::new(0),
            name: [const { AtomicU8::new(0) }; NAME_BYTES],
            next: std::ptr::null(),
        }));
        loop {
            let head = PLACES.load(SeqCst);
            place.next = head;
            if PLACES.compare_exchange(head, place, SeqCst, SeqCst).is_ok() {
                return place;
            }
        }
    }
}

/// Who had SIGBUS before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: `sigaction` is plain integers and pointers, for which zeros are values; both calls get pointers to
        // such structs that live, and the handler has the signature that SA_SIGINFO asks for. WHY: the kernel tells of
        // a lost page in no other way.
        unsafe {
            let mut before: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut before);
            let _ = BEFORE.set(before);
            let mut ours: libc::sigaction = std::mem::zeroed();
            ours.sa_sigaction = on_sigbus as *const () as usize;
            ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGBUS, &ours, std::ptr::null_mut());
        }
    });
}

/// Runs on the thread that touched the page, in the middle of anything.
extern "C" fn on_sigbus(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a siginfo of its own that lives as long as the handler runs; an address
    // is a field of every SIGBUS, and means something where the code is positive: then the kernel itself sent it.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let inside = |place: &&Place| {
        let offset = address.wrapping_sub(place.start.load(SeqCst));
        offset < place.length.load(SeqCst)
    };
    if let Some(place) = places().find(inside).filter(|_| code > 0) {
        end(place, address.wrapping_sub(place.start.load(SeqCst)));
    }
    // Not ours: whoever had the signal has it again, and gets it when the instruction is tried again.
    if let Some(before) = BEFORE.get() {
        // SAFETY: `before` is what sigaction(2) itself gave, and reading a set OnceLock is a load of an atomic.
        unsafe { libc::sigaction(libc::SIGBUS, before, std::ptr::null_mut()) };
    }
}

/// Says which file, and ends the process.
fn end(place: &Place, offset: usize) -> ! {
    // Built on the stack: 512 bytes of name and two sentences.
    let mut line = [0_u8; NAME_BYTES + 256];
    let mut used = 0;
    let mut put = |bytes: &mut dyn Iterator<Item = u8>| {
        for byte in bytes.take(line.len() - used) {
            line[used] = byte;
            used += 1;
        }
    };
    put(&mut b"ringkeeper: ".iter().copied());
    let length = place.name_length.load(SeqCst);
    put(&mut place.name.iter().take(length).map(|byte| byte.load(SeqCst)));
    put(&mut b", offset ".iter().copied());
    put(&mut decimal(offset));
    put(
        &mut b": the file was shortened while it was being read, or its disk cannot read it (SIGBUS); this process \
             stops. Bring the file back from a copy\n"
            .iter()
            .copied(),
    );
    // SAFETY: both calls are on the list of async-signal-safe ones; the bytes are ours.
    unsafe {
        libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), used);
        libc::_exit(EXIT_MAP_LOST)
    }
}

/// Digits without an allocation.
fn decimal(number: usize) -> impl Iterator<Item = u8> {
    let digits = number.checked_ilog10().unwrap_or(0);
    (0..=digits)
        .rev()
        .map(move |power| b'0' + (number / 10_usize.pow(power) % 10) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits() {
        for number in [0, 7, 10, 99, 100, 4096, usize::MAX] {
            let text: Vec<u8> = decimal(number).collect();
            assert_eq!(String::from_utf8(text).unwrap(), number.to_string());
        }
    }

    #[test]
    fn places_are_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, [7; 10]).unwrap();
        let names = |bytes: &[u8]| {
            let start = bytes.as_ptr() as usize;
            places()
                .filter(|place| place.start.load(SeqCst) == start && place.length.load(SeqCst) == 10)
                .count()
        };
        let held = map(&path).unwrap();
        assert_eq!((&*held, names(&held)), (&[7; 10][..], 1));
        for _ in 0..100 {
            drop(map(&path).unwrap());
        }
        // Other tests map files too, but never a hundred at a time.
        assert!(places().count() < 50, "{}", places().count());
    }
}
