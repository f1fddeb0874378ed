#!/bin/sh
# zkCli.sh for Ringkeeper: hands its arguments to zk-cli, which lies next to this file, in the build directory of this
# source tree, or in PATH.

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1

for candidate in "$here/zk-cli" "$here/../target/release/zk-cli" "$(command -v zk-cli 2>/dev/null)"; do
    if [ -n "$candidate" ] && [ -x "$candidate" ]; then
        exec "$candidate" "$@"
    fi
done
echo "zk-cli is not in $here, $here/../target/release or PATH; cargo build --release --workspace makes it." >&2
exit 1
