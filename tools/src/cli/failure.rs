//! Why a command failed, in zkCli's words (`CliException` and its children, `KeeperException`, `PathUtils`).
//!
//! An error code becomes text in one place only, [`keeper`]; paths are checked here before a request leaves, as Java's
//! client does, because the server would answer differently.

use ringkeeper::wire::error::ErrorCode;
use zookeeper_client::Error;

/// What a client says when the connection broke under a request; no server sends it.
pub const CONNECTION_LOSS: i32 = -4;
/// What a client says of a request that took too long.
pub const OPERATION_TIMEOUT: i32 = -7;

/// A failed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What stands on standard error.
    pub text: String,
    /// The exit status: 1, or 127 for an unknown command.
    pub exit: i32,
    /// The server's error code, where one decided.
    pub code: Option<i32>,
}

/// What a command gives.
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// A failure found in the shell itself.
    pub fn new(text: impl Into<String>) -> Failure {
        Failure {
            text: text.into(),
            exit: 1,
            code: None,
        }
    }

    /// An unknown command.
    pub fn not_found(name: &str) -> Failure {
        Failure {
            text: format!("Command not found: Command not found {name}"),
            exit: 127,
            code: None,
        }
    }

    /// A number that is none.
    pub fn number(text: &str) -> Failure {
        Failure::new(format!("java.lang.NumberFormatException: For input string: \"{text}\""))
    }

    /// Whether the server said so.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.code == Some(code.code())
    }
}

/// Turns the crate's error into a failure that names `path`.
pub fn at(path: &str) -> impl Fn(Error) -> Failure + '_ {
    move |error| keeper(code_of(&error), Some(path))
}

/// The text of an error code (`CliWrapperException#getMessage`). `None` is Java's null path.
pub fn keeper(code: i32, path: Option<&str>) -> Failure {
    let shown = path.unwrap_or("null");
    let known = ErrorCode::from_code(code);
    let text = match known {
        Some(ErrorCode::NoNode) => format!("Node does not exist: {shown}"),
        Some(ErrorCode::NoChildrenForEphemerals) => format!("Ephemerals cannot have children: {shown}"),
        Some(ErrorCode::NodeExists) => format!("Node already exists: {shown}"),
        Some(ErrorCode::NotEmpty) => format!("Node not empty: {shown}"),
        Some(ErrorCode::NotReadOnly) => format!("Not a read-only call: {shown}"),
        Some(ErrorCode::InvalidAcl) => format!("Acl is not valid : {shown}"),
        Some(ErrorCode::NoAuth) => format!("Insufficient permission : {shown}"),
        Some(ErrorCode::BadArguments) => format!("Arguments are not valid : {shown}"),
        Some(ErrorCode::BadVersion) => format!("version No is not valid : {shown}"),
        Some(ErrorCode::QuotaExceeded) => format!("Quota has exceeded : {shown}"),
        Some(ErrorCode::ReconfigInProgress) => {
            "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)".into()
        }
        Some(ErrorCode::NewConfigNoQuorum) => "No quorum of new config is connected and up-to-date with the leader of \
             last commmitted config - try invoking reconfiguration after new servers are connected and synced"
            .into(),
        _ => keeper_message(code, path),
    };
    Failure {
        text,
        exit: 1,
        code: Some(code),
    }
}

/// `KeeperException#getMessage`.
pub fn keeper_message(code: i32, path: Option<&str>) -> String {
    let name = match (ErrorCode::from_code(code), code) {
        (Some(known), _) => known.java_name(),
        (None, CONNECTION_LOSS) => "ConnectionLoss",
        (None, OPERATION_TIMEOUT) => "OperationTimeout",
        _ => return format!("KeeperErrorCode = Unknown error {code}"),
    };
    match path {
        Some(path) if !path.is_empty() => format!("KeeperErrorCode = {name} for {path}"),
        _ => format!("KeeperErrorCode = {name}"),
    }
}

/// The crate's error as the number Java's client would have seen.
pub fn code_of(error: &Error) -> i32 {
    let code = match error {
        Error::UnexpectedErrorCode(code) => return *code,
        Error::BadArguments(_) => ErrorCode::BadArguments,
        Error::NoNode => ErrorCode::NoNode,
        Error::NoAuth => ErrorCode::NoAuth,
        Error::BadVersion => ErrorCode::BadVersion,
        Error::NoChildrenForEphemerals => ErrorCode::NoChildrenForEphemerals,
        Error::NodeExists => ErrorCode::NodeExists,
        Error::NotEmpty => ErrorCode::NotEmpty,
        Error::SessionExpired | Error::ClientClosed => ErrorCode::SessionExpired,
        Error::InvalidAcl => ErrorCode::InvalidAcl,
        Error::AuthFailed => ErrorCode::AuthFailed,
        Error::SessionMoved => ErrorCode::SessionMoved,
        Error::NotReadOnly => ErrorCode::NotReadOnly,
        Error::NoWatcher => ErrorCode::NoWatcher,
        Error::QuotaExceeded => ErrorCode::QuotaExceeded,
        Error::Throttled => ErrorCode::ThrottledOp,
        Error::MarshallingError | Error::UnmarshalError { .. } => ErrorCode::MarshallingError,
        Error::Unimplemented => ErrorCode::Unimplemented,
        Error::ReconfigDisabled => ErrorCode::ReconfigDisabled,
        Error::RuntimeInconsistent => ErrorCode::RuntimeInconsistency,
        Error::Timeout => return OPERATION_TIMEOUT,
        _ => return CONNECTION_LOSS,
    };
    code.code()
}

/// Checks a path as Java's client does before it sends (`PathUtils#validatePath`).
pub fn path_ok(path: &str) -> Outcome<()> {
    match path_fault(path) {
        Some(text) => Err(Failure::new(text)),
        None => Ok(()),
    }
}

/// The same for a create: a sequential path may end in a slash.
pub fn create_path_ok(path: &str, sequential: bool) -> Outcome<()> {
    if sequential {
        path_ok(&format!("{path}1"))
    } else {
        path_ok(path)
    }
}

fn path_fault(path: &str) -> Option<String> {
    let chars: Vec<char> = path.chars().collect();
    match (chars.first(), chars.len()) {
        (None, _) => return Some("Path length must be > 0".into()),
        (Some('/'), 1) => return None,
        (Some('/'), _) => {}
        _ => return Some("Path must start with / character".into()),
    }
    if chars.last() == Some(&'/') {
        return Some("Path must not end with / character".into());
    }
    let reason = (1..chars.len()).find_map(|at| character_fault(&chars, at))?;
    Some(format!("Invalid path string \"{path}\" caused by {reason}"))
}

fn character_fault(chars: &[char], at: usize) -> Option<String> {
    let before = chars[at - 1];
    let name_ends = chars.get(at + 1).is_none_or(|&c| c == '/');
    match chars[at] {
        '\0' => Some(format!("null character not allowed @{at}")),
        '/' if before == '/' => Some(format!("empty node name specified @{at}")),
        '.' if before == '.' && chars[at - 2] == '/' && name_ends => Some(format!("relative paths not allowed @{at}")),
        '.' if before == '/' && name_ends => Some(format!("relative paths not allowed @{at}")),
        '\u{1}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}' => {
            Some(format!("invalid character @{at}"))
        }
        // Beyond the first plane Java sees a surrogate.
        c if c > '\u{ffff}' => Some(format!("invalid character @{at}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_refused_in_javas_words() {
        for (path, text) in [
            ("", "Path length must be > 0"),
            ("a", "Path must start with / character"),
            ("/a/", "Path must not end with / character"),
            (
                "/a//b",
                "Invalid path string \"/a//b\" caused by empty node name specified @3",
            ),
            (
                "/a/../b",
                "Invalid path string \"/a/../b\" caused by relative paths not allowed @4",
            ),
            (
                "/a/.",
                "Invalid path string \"/a/.\" caused by relative paths not allowed @3",
            ),
            (
                "/a\u{1}",
                "Invalid path string \"/a\u{1}\" caused by invalid character @2",
            ),
        ] {
            assert_eq!(path_ok(path).unwrap_err().text, text);
        }
        for path in ["/", "/a", "/a/b.c", "/..a", "/a b"] {
            assert_eq!(path_ok(path), Ok(()), "{path}");
        }
        assert_eq!(create_path_ok("/a/", true), Ok(()));
    }

    #[test]
    fn codes_speak_as_java_does() {
        assert_eq!(keeper(-101, Some("/x")).text, "Node does not exist: /x");
        assert_eq!(
            keeper(-121, Some("/x")).text,
            "KeeperErrorCode = No such watcher for /x"
        );
        assert_eq!(keeper(-123, Some("")).text, "KeeperErrorCode = Reconfig is disabled");
        assert_eq!(keeper(-114, None).text, "Acl is not valid : null");
        assert_eq!(keeper(-4, Some("/")).text, "KeeperErrorCode = ConnectionLoss for /");
    }
}
