//! Membership texts on the client's side: the file of `reconfig -file`, and the connect string of `config -c`.
//!
//! The server checks a membership again and has the last word; here only what Java's client refuses is refused.

use std::collections::BTreeMap;

use super::failure::{Failure, Outcome};

/// The members of a file, as the request carries them (`ReconfigCommand#parse`).
///
/// # Errors
/// A file that cannot be read.
pub fn members(file: &str) -> Outcome<String> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "No such file or directory".to_owned(),
            std::io::ErrorKind::PermissionDenied => "Permission denied".to_owned(),
            _ => error.to_string(),
        };
        Failure::new(format!("Error processing {file}{file} ({reason})"))
    })?;
    let kept = properties(&text).into_iter().filter(|(key, _)| {
        let kind = key.split('.').next().unwrap_or_default();
        matches!(kind, "server" | "group" | "weight")
    });
    let lines: Vec<String> = kept.map(|(key, value)| format!("{key}={value}")).collect();
    Ok(lines.join("\n"))
}

/// `<version> host:port,...` of a configuration (`ConfigUtils#getClientConfigStr`). Servers without a client address
/// leave their comma.
pub fn client_connect_string(config: &str) -> String {
    let properties = properties(config);
    let version = properties.get("version").cloned().unwrap_or_default();
    let servers = properties.iter().filter(|(key, _)| key.starts_with("server."));
    let addresses: Vec<String> = servers.map(|(_, value)| client_address(value)).collect();
    format!("{version} {}", addresses.join(","))
}

/// The part of `host:port:port:role;clientHost:clientPort` that clients connect to; any host when none is said.
fn client_address(server: &str) -> String {
    let Some((_, client)) = server.split_once(';') else {
        return String::new();
    };
    let client = client.split('|').next().unwrap_or(client);
    if client.contains(':') {
        client.to_owned()
    } else {
        format!("0.0.0.0:{client}")
    }
}

fn properties(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with(['#', '!']))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_strings_come_from_client_addresses() {
        let config = "server.1=h1:1:2:participant;0.0.0.0:2181\nserver.2=h2:1:2;2182\nversion=1a";
        assert_eq!(client_connect_string(config), "1a 0.0.0.0:2181,0.0.0.0:2182");
        assert_eq!(client_connect_string(""), " ");
    }
}
