#!/bin/sh
# zkServer.sh for Ringkeeper: takes the words of ZooKeeper's script and hands them to zk-server, which lies next to this
# file, in the build directory of this source tree, or in PATH. Like ZooKeeper's, it reads zookeeper-env.sh and java.env
# from the configuration directory, and answers a word it does not know with its usage and status 0.

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1

server=
for candidate in "$here/zk-server" "$here/../target/release/zk-server" "$(command -v zk-server 2>/dev/null)"; do
    if [ -n "$candidate" ] && [ -x "$candidate" ]; then
        server=$candidate
        break
    fi
done
if [ -z "$server" ]; then
    echo "zk-server is not in $here, $here/../target/release or PATH; cargo build --release makes it." >&2
    exit 1
fi

if [ "$1" = "--config" ] && [ $# -gt 1 ]; then
    ZOOCFGDIR=$2
    shift 2
fi
if [ -z "$ZOOCFGDIR" ]; then
    if [ -e "$here/../conf" ]; then ZOOCFGDIR=$here/../conf; else ZOOCFGDIR=$here/../etc/zookeeper; fi
fi
ZOO_LOG_DIR=${ZOO_LOG_DIR:-$here/../logs}

for file in "$ZOOCFGDIR/zookeeper-env.sh" "$ZOOCFGDIR/java.env"; do
    # shellcheck disable=SC1090
    if [ -f "$file" ]; then . "$file"; fi
done

# What those files may set without exporting it.
export ZOOCFGDIR ZOO_LOG_DIR
for name in ZOOCFG ZOOPIDFILE ZOO_DATADIR_AUTOCREATE_DISABLE SERVER_JVMFLAGS JVMFLAGS; do
    eval "if [ -n \"\${$name}\" ]; then export $name; fi"
done

case $1 in
start | start-foreground | stop | version | restart | status | print-cmd)
    exec "$server" "$@"
    ;;
*)
    echo "Usage: $0 [--config <conf-dir>] {start|start-foreground|stop|version|restart|status|print-cmd}" >&2
    ;;
esac
