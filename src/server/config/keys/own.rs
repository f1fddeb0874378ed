//! Ringkeeper's own keys: what ZooKeeper has no word for. All begin with `ringkeeper.`.

use super::{Fate::*, Key, Kind::*, Mark::*, Set::*, key};

/// In the order of `conf/zoo_sample.cfg`.
pub const KEYS: &[Key] = &[
    // Which kernel interface the event loops stand on. `auto` takes io_uring where the kernel lets it.
    key(
        Own,
        "ringkeeper.engine",
        Word(&["auto", "io_uring", "epoll"]),
        "auto",
        Should,
        Acts,
    ),
    // Event loops for clients; 0 is one per processor but one.
    key(Own, "ringkeeper.cores", Int(0, 256), "0", Should, Acts),
    // Whether each event loop stays on one processor of those the process may use.
    key(Own, "ringkeeper.pinCores", Bool, "false", Should, Acts),
    // The size of a log segment, which is laid out in full when it is made. Wins over preAllocSize.
    key(Own, "ringkeeper.segmentMegabytes", Int(1, 1024), "64", Should, Acts),
    // Free space below which new writes are refused, on the file system of dataDir or dataLogDir; 0 is no mark.
    key(
        Own,
        "ringkeeper.lowWaterMegabytes",
        Int(0, 1 << 20),
        "128",
        Should,
        Acts,
    ),
    // How fast a snapshot may be written, so that it does not take the disk from the log; 0 is no limit. 64 MiB a second
    // is five million znodes in a few seconds, compressed as they are.
    key(
        Own,
        "ringkeeper.snapshotBytesPerSecond",
        Int(0, 1 << 40),
        "67108864",
        Should,
        Acts,
    ),
    // Whether old snapshots and logs are removed. Wins over autopurge.purgeInterval.
    key(Own, "ringkeeper.purge", Bool, "true", Should, Acts),
    // Hours after which a snapshot goes, with the log that only it needs; the newest stays. 0 is no limit.
    key(Own, "ringkeeper.retainHours", Int(0, 1 << 20), "0", Should, Acts),
    // MB of snapshots and log above which the oldest go; the newest snapshot and its log stay. 0 is no limit.
    key(Own, "ringkeeper.retainMegabytes", Int(0, 1 << 30), "0", Should, Acts),
    // What is logged, in the words of RUST_LOG, which wins.
    key(Own, "ringkeeper.log", Text, "info", Should, Acts),
];
