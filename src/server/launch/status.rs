//! `status`, `print-cmd` and `version`: words that start and stop nothing.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use super::{Failure, INVALID, UNEXPECTED, files};
use crate::server::config::ensemble::Members;
use crate::server::config::{Notes, Written};

/// How long a server may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Asks the server of this configuration for its mode, with the four-letter word `srvr`.
pub fn status(config: &Path) -> Result<(), Failure> {
    let written = files::written(config)
        .map_err(|error| Failure::new(INVALID, format!("{} cannot be read: {error}", config.display())))?;
    let Some((host, port)) = client_address(&written) else {
        println!("Client port not found. Looking for secureClientPort in the static config.");
        println!("Unable to find either secure or unsecure client port in any configs. Terminating.");
        return Err(Failure::silent(UNEXPECTED));
    };
    println!("Client port found: {port}. Client address: {host}. Client SSL: false.");
    let answer = ask(&host, port).unwrap_or_default();
    match answer.lines().find(|line| line.contains("Mode")) {
        Some(mode) => {
            println!("{mode}");
            Ok(())
        }
        None => {
            println!("Error contacting service. It is probably not running.");
            Err(Failure::silent(UNEXPECTED))
        }
    }
}

/// As written, without asking whether it could be resolved.
fn client_address(written: &Written) -> Option<(String, u16)> {
    if written.get("clientPort").is_some() {
        let host = written
            .get("clientPortAddress")
            .map_or("localhost", |setting| &setting.value);
        return Some((host.to_owned(), written.int("clientPort") as u16));
    }
    let myid = std::fs::read_to_string(Path::new(written.text("dataDir")).join("myid")).unwrap_or_default();
    let Ok(id) = myid.trim().parse() else {
        println!("myid could not be determined, will not able to locate clientPort in the server configs.");
        return None;
    };
    Members::read(written, &mut Notes::default()).get(id)?.client.clone()
}

fn ask(host: &str, port: u16) -> std::io::Result<String> {
    let mut last = std::io::ErrorKind::AddrNotAvailable.into();
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ANSWER_LIMIT) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(ANSWER_LIMIT))?;
                stream.write_all(b"srvr")?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                return Ok(answer);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What `start` runs.
pub fn print_cmd(config: &Path) {
    let program = std::env::current_exe().unwrap_or_else(|_| "zk-server".into());
    let (program, config, out) = (program.display(), config.display(), files::out_file());
    println!(
        "\"{program}\" start-foreground \"{config}\" > \"{}\" 2>&1 < /dev/null",
        out.display()
    );
}

/// The release whose behaviour this is, in the form scripts look for, and then what it really is.
pub fn version() {
    println!("Apache ZooKeeper, version 3.9.5 2026-02-11 20:15 UTC");
    println!(
        "This is Ringkeeper {}, which speaks that release's protocols.",
        env!("CARGO_PKG_VERSION")
    );
}
