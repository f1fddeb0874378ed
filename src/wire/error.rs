//! The error codes of the protocol (`KeeperException.Code`): a closed set, because a Java client throws on any other.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $java:literal;)*) => {
        /// An error code that may stand in a reply.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum ErrorCode { $($(#[$doc])* $name = $code,)* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name,)*];

            /// The code of a number, if it is one.
            pub fn from_code(code: i32) -> Option<ErrorCode> {
                match code { $($code => Some(ErrorCode::$name),)* _ => None }
            }

            /// The name that Java's `KeeperErrorCode = …` texts carry.
            pub fn java_name(self) -> &'static str {
                match self { $(ErrorCode::$name => $java,)* }
            }
        }
    };
}

codes! {
    /// No error.
    Ok = 0, "ok";
    /// The server takes no new writes, because its disk is nearly full; nothing was done.
    ///
    /// Of the codes that could say so, it is the only one that every client takes as the plain failure of one request.
    /// Java before 3.7 has no name for −125 (quota) and −127 (throttled) and throws a NullPointerException or an
    /// IllegalArgumentException in the caller's face; kazoo before 2.11 raises in the thread that reads its connection,
    /// which ends the client; node-zookeeper-client throws out of its socket's handler, which ends the process. −7
    /// (timeout) is known to all and retried by Curator and kazoo, but a background write that Curator gives up on
    /// makes it report a lost connection, upon which its leaders step down: a full disk must not unseat who holds a
    /// lock. −1 is never sent by Apache's server, so that who meets it knows where to look.
    SystemError = -1, "SystemError";
    /// In the results of a failed multi: an operation after the failing one.
    RuntimeInconsistency = -2, "RuntimeInconsistency";
    /// A record that could not be decoded.
    MarshallingError = -5, "MarshallingError";
    /// An operation this server does not have.
    Unimplemented = -6, "Unimplemented";
    /// Arguments that make no sense.
    BadArguments = -8, "BadArguments";
    /// A new configuration without a connected quorum.
    NewConfigNoQuorum = -13, "NewConfigNoQuorum";
    /// Another reconfiguration is under way.
    ReconfigInProgress = -14, "ReconfigInProgress";
    /// The node is not there.
    NoNode = -101, "NoNode";
    /// The ACL does not allow it.
    NoAuth = -102, "NoAuth";
    /// The version is another.
    BadVersion = -103, "BadVersion";
    /// An ephemeral node cannot be a parent.
    NoChildrenForEphemerals = -108, "NoChildrenForEphemerals";
    /// The node is there already.
    NodeExists = -110, "NodeExists";
    /// The node has children.
    NotEmpty = -111, "Directory not empty";
    /// The session is gone.
    SessionExpired = -112, "Session expired";
    /// An ACL that cannot be.
    InvalidAcl = -114, "InvalidACL";
    /// Credentials were refused.
    AuthFailed = -115, "AuthFailed";
    /// The session is owned by another connection; closes instead of being sent.
    SessionMoved = -118, "Session moved";
    /// A write on a read-only server.
    NotReadOnly = -119, "Not a read-only call";
    /// An ephemeral node on a session that only this server knows.
    EphemeralOnLocalSession = -120, "Ephemeral node on local session";
    /// No such watch.
    NoWatcher = -121, "No such watcher";
    /// Reconfiguration is switched off.
    ReconfigDisabled = -123, "Reconfig is disabled";
    /// The server wants authenticated sessions.
    SessionClosedRequireAuth = -124, "Session closed because client failed to authenticate";
    /// A hard quota.
    QuotaExceeded = -125, "Quota has exceeded";
    /// The request waited too long in a queue.
    ThrottledOp = -127, "Op throttled due to high load";
}

impl ErrorCode {
    /// The number on the wire.
    pub fn code(self) -> i32 {
        self as i32
    }
}
