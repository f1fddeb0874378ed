//! The server binary, `zk-server`. All it does is in [`ringkeeper::server::launch`].

use std::process::ExitCode;

/// A trie is many small nodes that one thread makes and others drop; this allocator is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A server that panics anywhere ends at once: by the profile, and where tests choose another, by this.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
    ringkeeper::server::launch::main()
}
