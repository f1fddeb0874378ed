//! The shell `zk-cli`: ZooKeeper's `zkCli.sh` of 3.9.5 (`org.apache.zookeeper.ZooKeeperMain`), word for word.
//!
//! A line goes `words` → `options` → one function in `command` → an [`answer::Answer`], which `answer` alone turns
//! into text or JSON. The session is the crate `zookeeper-client`'s; `session` keeps its state the way Java shows it
//! and `watches` plays Java's one default watcher, which that crate does not have.
//!
//! Caveats, each for a reason:
//! * `zookeeper-client` cannot tell a null value from an empty one. [`side`] therefore opens a second connection to
//!   write a null (`create /x`) and to look whether an empty value is null (`get /x`, which then prints `null`).
//!   An ephemeral node must belong to the shell's own session: created without data it holds an empty value.
//! * Leaving without `quit` or `close` leaves the session to time out, as in Java; its ephemerals live on until then.
//! * A number that is none (`delete -v x /a`) kills Java's shell with a stack trace. Here it is an error of one line.

pub mod answer;
pub mod catalog;
pub mod command;
pub mod editor;
pub mod failure;
pub mod launch;
pub mod options;
pub mod quota;
pub mod reconfig_file;
pub mod screen;
pub mod session;
pub mod shell;
pub mod show;
pub mod side;
pub mod watches;
pub mod words;

use launch::Launch;

/// Runs the shell with the words behind the program's name. Gives the exit status: 0, 1 for a failed command,
/// 127 for an unknown one (`ZooKeeperMain#run`).
pub fn main(arguments: impl Iterator<Item = String>) -> i32 {
    let (launch, complaint) = Launch::parse(arguments);
    if let Some(complaint) = complaint {
        eprintln!("{complaint}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => shell::run(&runtime, launch),
        Err(error) => {
            eprintln!("cannot start the runtime: {error}");
            1
        }
    }
}
