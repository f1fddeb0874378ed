//! What a read costs beside its instructions: no allocation, and no write to anything that cores share.
//!
//! The allocator of this program counts, per thread and in all; on demand it gives out memory of a region that can be
//! write-protected. A server is set up inside that region, its core and connection outside, and reads are answered while
//! the region is frozen: whatever they would write to there, a counter, a lock, a reference count, ends the program with
//! one line. So nothing on the read path bounces between cores, however many there are.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use ringkeeper::io::Engine;
use ringkeeper::server::serve::Prepared;
use ringkeeper::server::socketless::{Socketless, connect_request, quiet_options, request};
use ringkeeper::wire::acl::{Acl, write_list};
use ringkeeper::wire::request::Op;

/// Counts, and hands out what can be frozen.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static MINE: Cell<u64> = const { Cell::new(0) };
    static IS_CLIENT: Cell<bool> = const { Cell::new(false) };
    static FREEZABLE: Cell<bool> = const { Cell::new(false) };
}

/// Allocations of all threads that are no clients.
static ALL: AtomicU64 = AtomicU64::new(0);

/// The region, as large as it will ever be, and how much of it is given out.
static REGION: AtomicPtr<u8> = AtomicPtr::new(null_mut());
static USED: AtomicUsize = AtomicUsize::new(0);
const REGION_BYTES: usize = 64 << 20;

/// The thread that must not write to the region while it is frozen; 0 is none.
static READER: AtomicU64 = AtomicU64::new(0);

fn in_region(at: *mut u8) -> bool {
    let region = REGION.load(Ordering::Relaxed);
    !region.is_null() && (region.addr()..region.addr() + REGION_BYTES).contains(&at.addr())
}

// SAFETY: memory comes from the system's allocator, or from a part of the region that is given out once and never
// taken back.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MINE.set(MINE.get() + 1);
        if !IS_CLIENT.get() {
            ALL.fetch_add(1, Ordering::Relaxed);
        }
        if !FREEZABLE.get() {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc(layout) };
        }
        let bytes = layout.size() + layout.align();
        let from = USED.fetch_add(bytes, Ordering::Relaxed);
        assert!(from + bytes <= REGION_BYTES, "the region is large enough");
        // SAFETY: inside the region, as was just asserted.
        unsafe {
            let at = REGION.load(Ordering::Relaxed).add(from);
            at.add(at.align_offset(layout.align()))
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if !in_region(at) {
            // SAFETY: the caller's promise, and it is the system's.
            unsafe { System.dealloc(at, layout) }
        }
    }
}

/// The tests share the counters and the region.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What `make` allocates lies in the region.
fn freezable<T>(make: impl FnOnce() -> T) -> T {
    if REGION.load(Ordering::Relaxed).is_null() {
        // SAFETY: a new anonymous mapping touches nobody's memory.
        let region = unsafe {
            libc::mmap(
                null_mut(),
                REGION_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(region, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        REGION.store(region.cast(), Ordering::Relaxed);
    }
    FREEZABLE.set(true);
    let made = make();
    FREEZABLE.set(false);
    made
}

fn thread_id() -> u64 {
    // SAFETY: it has no conditions.
    unsafe { libc::gettid() as u64 }
}

fn protect(protection: i32) {
    let region = REGION.load(Ordering::Relaxed);
    // SAFETY: the region is ours; who writes to it while it is read-only meets `trespassed`.
    let failed = unsafe { libc::mprotect(region.cast(), REGION_BYTES, protection) };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
}

const TRESPASS: &str = "read_path: a read wrote to memory that cores share\n";

/// A write to the frozen region. The reader's ends the program; a helper of the storage (it looks at the disk's room
/// once a second) gets its page back.
extern "C" fn trespassed(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel gives a whole siginfo with the address; only calls that a signal handler may make are made.
    unsafe {
        let at = (*info).si_addr().cast::<u8>();
        if !in_region(at) || thread_id() == READER.load(Ordering::Relaxed) {
            libc::write(2, TRESPASS.as_ptr().cast(), TRESPASS.len());
            libc::abort();
        }
        let page = at.map_addr(|address| address & !4095);
        libc::mprotect(page.cast(), 4096, libc::PROT_READ | libc::PROT_WRITE);
    }
}

/// Runs `reads` while nothing in the region may be written by this thread.
fn while_frozen(reads: impl FnOnce()) {
    // SAFETY: a zeroed sigaction is one with nothing set; the handler has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = trespassed as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGSEGV, &action, null_mut()), 0);
    }
    READER.store(thread_id(), Ordering::Relaxed);
    protect(libc::PROT_READ);
    reads();
    protect(libc::PROT_READ | libc::PROT_WRITE);
    READER.store(0, Ordering::Relaxed);
}

fn create(path: &str, data: &[u8]) -> Vec<u8> {
    request(1, Op::Create, |w| {
        w.text(path);
        w.buffer(Some(data));
        write_list(w, &[Acl::anyone(31)]);
        w.int(0);
    })
}

fn look(op: Op, path: &str, watch: bool) -> Vec<u8> {
    request(1, op, |w| {
        w.text(path);
        w.bool(watch);
    })
}

/// `/data` with 1 KB and `/family` with 100 children, as frames.
fn layout() -> Vec<Vec<u8>> {
    let child = |number| create(&format!("/family/child-{number:04}"), b"");
    let tops = [create("/data", &[b'x'; 1024]), create("/family", b"")];
    tops.into_iter().chain((0..100).map(child)).collect()
}

/// What a client reads, and the name of it.
fn reads() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("ping", request(-2, Op::Ping, |_| ())),
        ("exists", look(Op::Exists, "/data", false)),
        ("exists, nobody there", look(Op::Exists, "/nobody", false)),
        ("getData", look(Op::GetData, "/data", false)),
        ("getChildren", look(Op::GetChildren, "/family", false)),
        ("getChildren2", look(Op::GetChildren2, "/family", false)),
        ("16 getData at a time", look(Op::GetData, "/data", false).repeat(16)),
    ]
}

fn ask(server: &mut Socketless, frames: &[u8]) {
    server.feed(frames);
    server.replies(|replies| assert!(replies.len() >= 20, "an answer"));
}

#[test]
fn a_read_allocates_nothing() {
    let _alone = alone();
    let directory = tempfile::tempdir().expect("a directory");
    let mut server = Socketless::below(directory.path()).expect("a server");
    for frame in layout() {
        server.feed(&frame);
        server.commit();
        server.replies(|_| ());
    }
    for (name, frames) in reads() {
        (0..3).for_each(|_| ask(&mut server, &frames));
        let before = MINE.get();
        (0..1000).for_each(|_| ask(&mut server, &frames));
        assert_eq!(MINE.get() - before, 0, "allocations of 1000 times {name}");
    }
    let before = MINE.get();
    server.feed(&create("/one-more", b""));
    server.commit();
    assert!(MINE.get() > before, "the counter counts");
}

/// Set for a run that is to fail: a write is sent while all is frozen.
const PLANTED: &str = "RINGKEEPER_PLANTED_WRITE";

#[test]
fn a_read_writes_to_nothing_that_cores_share() {
    let _alone = alone();
    let directory = tempfile::tempdir().expect("a directory");
    let options = quiet_options(directory.path());
    // What all cores share, and the tree, can be frozen; the core, its connection and their buffers cannot.
    let prepared = freezable(|| Prepared::new(options).expect("a server"));
    let mut server = prepared.without_sockets().expect("a server");
    for frame in layout() {
        server.feed(&frame);
        freezable(|| server.commit());
        server.replies(|_| ());
    }
    let watched = look(Op::GetData, "/data", true);
    // A core's first watch tells the writer to wake it; and buffers grow before it counts.
    ask(&mut server, &watched);
    ask(&mut server, &look(Op::GetChildren2, "/family", false).repeat(16));
    while_frozen(|| {
        for (_, frames) in reads() {
            (0..100).for_each(|_| ask(&mut server, &frames));
        }
        (0..100).for_each(|_| ask(&mut server, &watched));
        if std::env::var_os(PLANTED).is_some() {
            server.feed(&create("/planted", b""));
        }
    });
    // Thawed, all goes on.
    server.feed(&create("/one-more", b""));
    server.commit();
    server.replies(|reply| assert_eq!(reply[16..20], [0; 4], "no error"));
}

#[test]
fn a_planted_write_is_found() {
    let _alone = alone();
    let me = std::env::current_exe().expect("this program");
    let output = std::process::Command::new(me)
        .args(["--exact", "a_read_writes_to_nothing_that_cores_share", "--nocapture"])
        .env(PLANTED, "1")
        .output()
        .expect("this program runs again");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(TRESPASS.trim()), "{said}");
}

/// Allocations per getData of a server on its own thread, one request in flight over loopback.
fn over_a_socket(engine: Engine) -> f64 {
    const WARM_UP: usize = 500;
    const READS: usize = 2000;
    IS_CLIENT.set(true);
    let directory = tempfile::tempdir().expect("a directory");
    let mut options = quiet_options(directory.path());
    options.engine = engine;
    let prepared = Prepared::new(options).expect("a server");
    let address = prepared.address().expect("it listens");
    let (told, ready) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        prepared
            .serve(move || told.send(()).expect("the client waits"))
            .expect("it serves")
    });
    ready.recv().expect("it starts");
    let mut socket = TcpStream::connect(address).expect("it accepts");
    socket.set_nodelay(true).expect("an option of every socket");
    let mut reply = vec![0; 4096];
    let mut call = |frame: &[u8]| {
        socket.write_all(frame).expect("the server reads");
        socket.read_exact(&mut reply[..4]).expect("the server answers");
        let bytes = u32::from_be_bytes(reply[..4].try_into().expect("four")) as usize;
        socket.read_exact(&mut reply[4..4 + bytes]).expect("the server answers");
    };
    call(&connect_request());
    call(&create("/data", &[b'x'; 1024]));
    let read = look(Op::GetData, "/data", false);
    (0..WARM_UP).for_each(|_| call(&read));
    let before = ALL.load(Ordering::Relaxed);
    (0..READS).for_each(|_| call(&read));
    let counted = ALL.load(Ordering::Relaxed) - before;
    call(&create("/one-more", b""));
    assert!(
        ALL.load(Ordering::Relaxed) - before > counted,
        "the counter counts the server's threads"
    );
    // SAFETY: the server heeds SIGTERM, which ends it in order.
    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
    server.join().expect("an orderly end");
    counted as f64 / READS as f64
}

/// Everything of the server is counted, its helpers too, which allocate when they look around once a second. Neither
/// tokio's epoll nor tokio-uring allocates for an operation once it is warm: tasks wait in place, and the ring's list of
/// operations reuses its entries.
#[test]
fn a_read_over_a_socket_allocates_next_to_nothing() {
    let _alone = alone();
    for (engine, most) in [(Engine::Epoll, 0.05), (Engine::Uring, 0.05)] {
        if engine == Engine::Uring
            && let Err(error) = Engine::probe()
        {
            println!("not measured on io_uring, which the kernel refuses: {error}");
            continue;
        }
        let each = over_a_socket(engine);
        println!("{}: {each:.3} allocations per getData", engine.name());
        assert!(
            each <= most,
            "{}: {each} allocations per getData, {most} at most",
            engine.name()
        );
    }
}
