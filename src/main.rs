//! The server binary, `zk-server`. All it does is in [`ringkeeper::server::launch`].

use std::process::ExitCode;

/// A trie is many small nodes that one thread makes and others drop; this allocator is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ringkeeper::server::launch::main()
}
