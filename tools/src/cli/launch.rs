//! What the words behind `zkCli.sh` ask for (`ZooKeeperMain.MyCommandOptions#parseOptions`).
//!
//! Words with an unknown dash are passed over, as in Java; the first word without a dash begins the one command to
//! run. `--json` is ours.

use std::time::Duration;

use super::failure::{Failure, Outcome};

/// The launch line, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// `host:port[,...][/chroot]`.
    pub server: String,
    /// The session timeout asked for.
    pub timeout: Duration,
    /// Whether a read-only server will do.
    pub read_only: bool,
    /// Whether to block until the session stands.
    pub wait_for_connection: bool,
    /// A file of client properties.
    pub client_configuration: Option<String>,
    /// One JSON object for each command instead of text.
    pub json: bool,
    /// The command to run, or none for a shell.
    pub command: Vec<String>,
}

impl Default for Launch {
    fn default() -> Launch {
        Launch {
            server: "localhost:2181".into(),
            timeout: Duration::from_millis(30_000),
            read_only: false,
            wait_for_connection: false,
            client_configuration: None,
            json: false,
            command: Vec::new(),
        }
    }
}

impl Launch {
    /// Reads the words. A missing value is complained about and ends the reading; what was read by then holds.
    pub fn parse(words: impl Iterator<Item = String>) -> (Launch, Option<String>) {
        let mut launch = Launch::default();
        let mut words = words;
        while let Some(word) = words.next() {
            if !word.starts_with('-') {
                launch.command = std::iter::once(word).chain(words).collect();
                return (launch, None);
            }
            if let Err(complaint) = launch.option(&word, &mut words) {
                return (launch, Some(complaint));
            }
        }
        (launch, None)
    }

    fn option(&mut self, word: &str, rest: &mut impl Iterator<Item = String>) -> Result<(), String> {
        let mut value = || rest.next().ok_or(format!("Error: no argument found for option {word}"));
        match word {
            "-server" => self.server = value()?,
            "-timeout" => {
                let text = value()?;
                let ms = text
                    .parse::<u32>()
                    .map_err(|_| format!("For input string: \"{text}\""))?;
                self.timeout = Duration::from_millis(ms.into());
            }
            "-client-configuration" => self.client_configuration = Some(value()?),
            "-r" => self.read_only = true,
            "-waitforconnection" => self.wait_for_connection = true,
            "--json" => self.json = true,
            _ => {}
        }
        Ok(())
    }
}

/// Looks into the file of `-client-configuration` (`ZKClientConfig`).
///
/// # Errors
/// A file that cannot be read (Java's exit status 2), and a wish for TLS, which this shell does not have: connecting
/// in the clear instead would be worse than not connecting.
pub fn check_client_configuration(launch: &Launch) -> Outcome<()> {
    let Some(file) = &launch.client_configuration else {
        return Ok(());
    };
    let text = std::fs::read_to_string(file).map_err(|error| Failure {
        text: format!("Error while processing {file}: {error}"),
        exit: 2,
        code: None,
    })?;
    let wants_tls = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .any(|(key, value)| key.trim() == "zookeeper.client.secure" && value.trim().eq_ignore_ascii_case("true"));
    if wants_tls {
        return Err(Failure::new("zookeeper.client.secure=true: zk-cli has no TLS"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> (Launch, Option<String>) {
        Launch::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_end_where_the_command_begins() {
        let (launch, complaint) = parse("-server h:1/c -timeout 7 -r -zz -waitforconnection ls -server /x");
        assert_eq!(complaint, None);
        assert_eq!((launch.server.as_str(), launch.timeout.as_millis()), ("h:1/c", 7));
        assert!(launch.read_only && launch.wait_for_connection && !launch.json);
        assert_eq!(launch.command, ["ls", "-server", "/x"]);
    }

    #[test]
    fn a_missing_value_is_named() {
        let (launch, complaint) = parse("--json -server");
        assert_eq!(
            complaint.as_deref(),
            Some("Error: no argument found for option -server")
        );
        assert_eq!((launch.server.as_str(), launch.json), ("localhost:2181", true));
    }
}
