//! Keys of the transaction log, of snapshots and of purging.

use super::{AMONG_SERVERS, BATCHES, INT_MAX, LONG_MAX, ONE_FORM, SNAP_KB};
use super::{Fate::*, I32, I64, Key, Kind::*, Mark::*, Set::*, key};

/// In the order of the manual.
pub const KEYS: &[Key] = &[
    key(Passed, "preAllocSize", Int(1, 4 << 20), "65536", Must, Acts),
    key(Passed, "snapCount", I32, "100000", Must, Acts),
    key(Passed, "snapSizeLimitInKb", SNAP_KB, "4194304", Must, Acts),
    key(Passed, "txnLogSizeLimitInKb", Int(-1, 1 << 42), "-1", Should, Acts),
    key(Passed, "commitLogCount", I32, "500", Must, Idle(AMONG_SERVERS)),
    key(Passed, "snapshotSizeFactor", Real, "0.33", Should, Idle(AMONG_SERVERS)),
    key(Passed, "forceSync", YesNo, "yes", Must, Acts),
    key(Passed, "fsync.warningthresholdms", Int(0, LONG_MAX), "1000", Must, Acts),
    key(Passed, "flushDelay", I64, "0", Should, Ignored(BATCHES)),
    key(Passed, "maxWriteQueuePollTime", I64, "", Should, Ignored(BATCHES)),
    key(Passed, "maxBatchSize", Int(1, INT_MAX), "1000", Should, Acts),
    key(
        Passed,
        "snapshot.compression.method",
        Word(&["", "gz", "snappy"]),
        "",
        Should,
        Ignored(ONE_FORM),
    ),
    key(Passed, "snapshot.trust.empty", Bool, "false", Must, Acts),
    key(
        Passed,
        "serializeLastProcessedZxid.enabled",
        Bool,
        "true",
        Should,
        Ignored(ONE_FORM),
    ),
    key(
        Passed,
        "closeSessionTxn.enabled",
        Bool,
        "true",
        Should,
        Ignored(ONE_FORM),
    ),
    key(Direct, "autopurge.snapRetainCount", I32, "3", Must, Acts),
    key(Direct, "autopurge.purgeInterval", I32, "0", Must, Acts),
];
