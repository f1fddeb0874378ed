//! A transaction as a line, for people or for programs.

use ringkeeper::wire::show;
use ringkeeper::wire::txn::{Change, CreateTxn, Txn, TxnHeader};
use serde_json::Value;
use storage::log::LogItem;

use super::changes;
use crate::dump::output::{Object, acl, data, quoted, time};

/// For people.
pub fn line_text(header: &TxnHeader, txn: &Txn, with_data: bool) -> String {
    let mut text = format!(
        "{} zxid=0x{:x} session=0x{:x} cxid=0x{:x} {txn}",
        time(header.time_ms),
        header.zxid,
        header.session,
        header.cxid
    );
    if with_data {
        for bytes in changes(txn).iter().filter_map(data_of).flatten() {
            text.push(' ');
            text.push_str(&quoted(bytes));
        }
    }
    text
}

/// A change's data, if it is one that has them; they may be null.
fn data_of(change: &Change) -> Option<Option<&[u8]>> {
    match change {
        Change::Create { data, .. } | Change::SetData { data, .. } => Some(data.as_deref()),
        _ => None,
    }
}

/// For programs.
pub fn line_object(item: &LogItem<'_>, header: &TxnHeader, txn: &Txn, digest: Option<u64>, with_data: bool) -> Object {
    let object = match txn {
        Txn::Change(change) => change_object(change, with_data),
        Txn::Multi(changes) => {
            let changes: Vec<Value> = changes
                .iter()
                .map(|change| change_object(change, with_data).into())
                .collect();
            Object::of_type("multi").with("changes", changes)
        }
        Txn::CreateSession { timeout_ms } => Object::of_type("createSession").with("timeout", *timeout_ms),
        Txn::CloseSession { paths } => Object::of_type("closeSession").with("paths", paths.clone()),
        Txn::Error(code) => Object::of_type("error").with("code", *code),
    };
    let object = object
        .with("file", item.file.display().to_string())
        .with("offset", item.offset)
        .with_id("zxid", header.zxid)
        .with_id("session", header.session)
        .with("cxid", header.cxid)
        .with("time", header.time_ms);
    match digest {
        Some(digest) => object.with_id("digest", digest as i64),
        None => object,
    }
}

fn change_object(change: &Change, with_data: bool) -> Object {
    let mut object = Object::of_type(show::type_name(change.code()));
    if let Some(path) = change.path() {
        object = object.with("path", path);
    }
    if let Some(bytes) = data_of(change) {
        object = object.with("dataLength", bytes.map(<[u8]>::len));
        if with_data {
            object = object.with("data", data(bytes));
        }
    }
    match change {
        Change::Create {
            acl: entries,
            kind,
            parent_cversion,
            ..
        } => {
            let object = object
                .with("acl", acl(entries))
                .with("parentCversion", *parent_cversion);
            match kind {
                CreateTxn::Plain { ephemeral } | CreateTxn::WithStat { ephemeral } => {
                    object.with("ephemeral", *ephemeral)
                }
                CreateTxn::Ttl(ttl) => object.with("ttl", *ttl),
                CreateTxn::Container => object,
            }
        }
        Change::SetData { version, .. } | Change::Check { version, .. } => object.with("version", *version),
        Change::SetAcl {
            acl: entries, version, ..
        } => object.with("acl", acl(entries)).with("version", *version),
        Change::Error(code) => object.with("code", *code),
        Change::Delete { .. } | Change::DeleteContainer { .. } => object,
    }
}
