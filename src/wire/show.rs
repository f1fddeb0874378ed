//! The one printer of transactions for logs, tools and transcripts.
//!
//! Names are those that ZooKeeper's own tools print (`Request#op2String`, `TxnLogToolkit`). Bytes that are
//! not plain text are escaped, so that a path can never forge a line.

use std::fmt::{self, Write};

use super::acl::Acl;
use super::txn::{Change, CreateTxn, Txn};

/// The name of a transaction type.
pub fn type_name(code: i32) -> &'static str {
    match code {
        1 => "create",
        2 => "delete",
        5 => "setData",
        7 => "setACL",
        13 => "check",
        14 => "multi",
        15 => "create2",
        16 => "reconfig",
        19 => "createContainer",
        20 => "deleteContainer",
        21 => "createTTL",
        -1 => "error",
        -10 => "createSession",
        -11 => "closeSession",
        _ => "unknown",
    }
}

/// Permission letters in ZooKeeper's order.
pub fn perms(perms: i32) -> String {
    [(4, 'c'), (8, 'd'), (1, 'r'), (2, 'w'), (16, 'a')]
        .iter()
        .filter(|(bit, _)| perms & bit != 0)
        .map(|(_, c)| c)
        .collect()
}

/// Text with control characters and backslashes escaped.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                ' '..='~' if c != '\\' => f.write_char(c)?,
                _ if c.is_alphanumeric() => f.write_char(c)?,
                _ => write!(f, "{}", c.escape_default())?,
            }
        }
        Ok(())
    }
}

/// A list of entries as `scheme:id:perms`, with commas between.
pub struct AclText<'a>(pub &'a [Acl]);

impl fmt::Display for AclText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, acl) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(
                f,
                "{comma}{}:{}:{}",
                Escaped(&acl.id.scheme),
                Escaped(&acl.id.id),
                perms(acl.perms)
            )?;
        }
        Ok(())
    }
}

fn data_length(data: &Option<Vec<u8>>) -> String {
    data.as_ref()
        .map_or("null".into(), |data| format!("{} bytes", data.len()))
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", type_name(self.code()))?;
        if let Some(path) = self.path() {
            write!(f, " {}", Escaped(path))?;
        }
        match self {
            Change::Create {
                data,
                acl,
                kind,
                parent_cversion,
                ..
            } => {
                write!(
                    f,
                    " data={} acl={} parentCVersion={parent_cversion}",
                    data_length(data),
                    AclText(acl)
                )?;
                match kind {
                    CreateTxn::Plain { ephemeral: true } | CreateTxn::WithStat { ephemeral: true } => {
                        write!(f, " ephemeral")
                    }
                    CreateTxn::Ttl(ttl) => write!(f, " ttl={ttl}ms"),
                    _ => Ok(()),
                }
            }
            Change::SetData { data, version, .. } => write!(f, " data={} version={version}", data_length(data)),
            Change::SetAcl { acl, version, .. } => write!(f, " acl={} aversion={version}", AclText(acl)),
            Change::Check { version, .. } => write!(f, " version={version}"),
            Change::Error(code) => write!(f, " {code}"),
            Change::Delete { .. } | Change::DeleteContainer { .. } => Ok(()),
        }
    }
}

impl fmt::Display for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Txn::Change(change) => change.fmt(f),
            Txn::Multi(changes) => {
                write!(f, "multi")?;
                changes.iter().try_for_each(|change| write!(f, " [{change}]"))
            }
            Txn::CreateSession { timeout_ms } => write!(f, "createSession timeout={timeout_ms}ms"),
            Txn::CloseSession { paths } => {
                write!(f, "closeSession")?;
                paths
                    .iter()
                    .flatten()
                    .try_for_each(|path| write!(f, " {}", Escaped(path)))
            }
            Txn::Error(code) => write!(f, "error {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_forge_a_line() {
        assert_eq!(
            Txn::Change(Change::Delete {
                path: "/a\nzxid\\é".into()
            })
            .to_string(),
            "delete /a\\nzxid\\\\é"
        );
        assert_eq!(perms(31), "cdrwa");
    }
}
