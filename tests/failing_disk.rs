//! The first log write that fails ends the process, with one line and a status of its own; what was acknowledged before
//! is there at the next start, and nothing that was not acknowledged is claimed.
//!
//! The failure is a limit on file size (`prlimit`, with SIGXFSZ ignored) in the middle of a segment, so that a write
//! really fails in the kernel. What a full disk does is `full_disk`'s subject.

mod peers;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use peers::jute::Out;
use peers::{Attach, Process, RawClient, Received, free_port, wait_until};

/// The status of a server that cannot write its log, though there is room for it.
const LOG_FAILED: i32 = 21;

fn server(directory: &Path, port: u16, engine: &str) -> Process {
    let config = directory.join("zoo.cfg");
    let text = format!(
        "clientPort={port}\nclientPortAddress=127.0.0.1\ndataDir={}\nringkeeper.engine={engine}\n",
        directory.join("data").display()
    );
    std::fs::write(&config, text).expect("zoo.cfg");
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg("trap '' XFSZ; exec \"$0\" start-foreground \"$1\"")
        .arg(env!("CARGO_BIN_EXE_zk-server"))
        .arg(&config);
    let mut process = Process::spawn(&mut command, &directory.join("output.log"));
    let address = ([127, 0, 0, 1], port).into();
    process.wait_ready(Duration::from_secs(20), || RawClient::dial(address).is_ok());
    process
}

/// The shell has no word for another process; util-linux has.
fn limit_file_size(pid: u32, bytes: u64) {
    let mut command = Command::new("prlimit");
    command
        .arg(format!("--pid={pid}"))
        .arg(format!("--fsize={bytes}:{bytes}"));
    let status = command
        .status()
        .unwrap_or_else(|error| panic!("prlimit: {error}; apt-get install util-linux"));
    assert!(status.success(), "prlimit");
}

#[test]
fn a_log_that_cannot_be_written_ends_the_server_and_loses_nothing() {
    for engine in ["io_uring", "epoll"] {
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let address = ([127, 0, 0, 1], port).into();
        let mut limited = server(directory.path(), port, engine);
        let (mut client, _) = RawClient::open(address, &Attach::default());
        let mut acknowledged = 0;
        loop {
            if acknowledged == 20 {
                // Half a megabyte: some hundred batches further in the first segment.
                limit_file_size(limited.pid(), 512 << 10);
            }
            let path = format!("/n{acknowledged}");
            let body = Out::new()
                .string(&path)
                .buffer(&[b'd'; 900])
                .acls(&[(31, "world", "anyone")])
                .int(0)
                .0;
            client.send(acknowledged, 1, &body);
            match client.packet() {
                Received::Got(reply) => assert_eq!((reply.xid, reply.err), (acknowledged, 0)),
                Received::Closed => break,
                Received::Silence => panic!("neither an answer nor an end:\n{}", limited.output()),
            }
            acknowledged += 1;
            assert!(acknowledged < 1000, "the limit was never met");
        }
        let mut status = None;
        assert!(
            wait_until(Duration::from_secs(10), || {
                status = limited.ended();
                status.is_some()
            }),
            "the process ends"
        );
        let output = limited.output();
        assert_eq!(status.flatten(), Some(LOG_FAILED), "{output}");
        let line = output
            .lines()
            .find(|line| line.starts_with("ringkeeper: the log cannot be written"))
            .expect(&output);
        assert!(
            line.contains("offset") && line.contains("zxid") && line.contains("File too large"),
            "{line}"
        );
        println!("{engine}: {acknowledged} acknowledged, then: {line}");
        assert!(acknowledged > 20, "{acknowledged}");

        let mut free = server(directory.path(), port, engine);
        let (mut client, _) = RawClient::open(address, &Attach::default());
        for index in 0..acknowledged {
            let body = Out::new().string(&format!("/n{index}")).bool(false).0;
            assert_eq!(
                client.call(index, 3, &body, &mut Vec::new()).err,
                0,
                "/n{index} was acknowledged"
            );
        }
        assert_eq!(free.terminate(), Some(0));
    }
}
