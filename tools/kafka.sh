#!/bin/sh
# kafka.sh: an Apache Kafka 3.9 cluster on Ringkeeper, to try. Without a word it fetches Kafka by its Maven coordinates
# (once, into ~/.cache/ringkeeper), starts three Ringkeeper servers and two brokers on free loopback ports, says what to
# type next, and stops all of them, by their process ids, when it is ended (Ctrl-C). With a word it runs one of Kafka's
# own tools against that cluster. The data stays in $RINGKEEPER_KAFKA_DIR (./ringkeeper-kafka); the next start has it.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
version=3.9.2
dir=${RINGKEEPER_KAFKA_DIR:-./ringkeeper-kafka}
cache=${RINGKEEPER_CACHE:-${HOME:?HOME or RINGKEEPER_CACHE must be set: downloads are kept there}/.cache/ringkeeper}
jars=$cache/kafka-$version

die() {
    echo "kafka.sh: $*" >&2
    exit 1
}

usage() {
    cat <<END
Usage: tools/kafka.sh [WORD ...]

  (nothing)            start three Ringkeeper servers and two Kafka $version brokers; Ctrl-C ends them
  stop                 end them from another terminal
  topics ARGS          kafka-topics of that cluster: --list, --describe, --create --topic T --partitions 10 ...
  configs ARGS         kafka-configs
  acls ARGS            kafka-acls
  reassign ARGS        kafka-reassign-partitions
  produce TOPIC        a record for each line that is typed
  consume TOPIC        all records of a topic, and those to come
  zk ARGS              zk-cli: what Kafka keeps in Ringkeeper, e.g. zk ls /kafka/brokers/ids

RINGKEEPER_KAFKA_DIR names the directory of the cluster (now $dir), RINGKEEPER_SERVER the zk-server to run.
END
}

need() {
    command -v "$1" >/dev/null 2>&1 || die "'$1' is missing: install $2"
}

# --- Kafka, by its coordinates ---------------------------------------------------------------------------------------

fetch_kafka() {
    need java "a JDK 17 (Debian: openjdk-17-jdk-headless)"
    [ -e "$jars/.complete" ] && return
    need mvn "Maven 3 (Debian: maven)"
    need flock "util-linux"
    echo "Fetching Apache Kafka $version into $jars (60 MB, once) ..."
    mkdir -p "$cache"
    # The tests fill the same directory, under the same lock.
    (
        # `set -e` is off on the left of `||`.
        flock 9 || exit 1
        [ -e "$jars/.complete" ] && exit 0
        rm -rf "$jars" && mkdir -p "$jars" && mvn -B -q -f "$here/apache-kafka.pom.xml" \
            org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies "-DoutputDirectory=$jars" &&
            echo "kafka-$version" >"$jars/.complete"
    ) 9>"$jars.lock" || die "Maven could not fetch Apache Kafka $version; its words are above"
}

java_tool() {
    fetch_kafka
    class=$1
    shift
    exec java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto \
        "-Dlog4j.configuration=file:$dir/tools.properties" -cp "$jars/*" "$class" "$@"
}

# Where the running cluster is: `brokers` and `servers`.
find_cluster() {
    [ -r "$dir/running" ] || die "no cluster runs in $dir: start one with tools/kafka.sh in another terminal"
    dir=$(CDPATH='' cd -- "$dir" && pwd)
    # shellcheck disable=SC1091
    . "$dir/running"
}

# --- the three servers and the two brokers ---------------------------------------------------------------------------

find_server() {
    for candidate in "${RINGKEEPER_SERVER:-}" "$here/zk-server" "$here/../target/release/zk-server" "$(command -v zk-server 2>/dev/null)"; do
        if [ -n "$candidate" ] && [ -x "$candidate" ]; then
            server=$candidate
            return
        fi
    done
    die "zk-server is not in $here, $here/../target/release or PATH; cargo build --release makes it"
}

# Ports that nobody listens on, from 21810 upwards; `port` is the next one.
last_port=21809
next_port() {
    while :; do
        last_port=$((last_port + 1))
        [ $last_port -lt 30000 ] || die "no free port between 21810 and 30000"
        if ! awk -v port="$(printf '%04X' $last_port)" \
            '$4 == "0A" { sub(/.*:/, "", $2); if ($2 == port) { found = 1 } } END { exit !found }' \
            /proc/net/tcp /proc/net/tcp6 2>/dev/null; then
            port=$last_port
            return
        fi
    done
}

write_server() { # number, client port
    mkdir -p "$dir/server-$1/data" "$dir/server-$1/log"
    echo "$1" >"$dir/server-$1/data/myid"
    cat >"$dir/server-$1/zoo.cfg" <<END
tickTime=2000
initLimit=10
syncLimit=5
dataDir=$dir/server-$1/data
dataLogDir=$dir/server-$1/log
clientPort=$2
clientPortAddress=127.0.0.1
admin.enableServer=false
maxClientCnxns=0
4lw.commands.whitelist=*
$members
END
}

write_broker() { # number, port
    mkdir -p "$dir/broker-$1"
    cat >"$dir/broker-$1/server.properties" <<END
broker.id=$1
listeners=PLAINTEXT://127.0.0.1:$2
zookeeper.connect=$servers/kafka
log.dirs=$dir/broker-$1/data
default.replication.factor=2
offsets.topic.replication.factor=2
transaction.state.log.replication.factor=2
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
# The last broker has nobody to hand its partitions to, and need not ask for long.
controlled.shutdown.retry.backoff.ms=500
# ACLs are kept in ZooKeeper too; without one, everybody may do everything.
authorizer.class.name=kafka.security.authorizer.AclAuthorizer
allow.everyone.if.no.acl.found=true
super.users=User:ANONYMOUS
END
}

write_loggers() {
    for name in broker tools; do
        level=INFO
        [ $name = broker ] || level=WARN
        cat >"$dir/$name.properties" <<END
log4j.rootLogger=$level, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.target=System.err
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %m (%c)%n
END
    done
}

# Starts a child in a session of its own, so that Ctrl-C reaches this script alone, which then ends them in order.
child() { # output, command ...
    output=$1
    shift
    setsid "$@" >>"$output" 2>&1 </dev/null 8>&- &
    pid=$!
}

# What runs so far, for `stop` and for who talks to it.
note_running() {
    cat >"$dir/running" <<END
script=$$
brokers=$brokers
servers=$servers
broker_pids='$brokers_up'
server_pids='$servers_up'
END
}

alive() {
    kill -0 "$1" 2>/dev/null
}

# Whether a process is this script or one of its children, and not another one that got the same number later.
is_ours() {
    grep -aqsF -e kafka.sh -e "$dir/" "/proc/$1/cmdline"
}

# Waits for a command to succeed; ends with the child's last words if the child dies or a minute passes.
await() { # what, process id, output, command ...
    what=$1 awaited=$2 output=$3
    shift 3
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return; fi
        if ! alive "$awaited"; then
            tail -n 20 "$output" >&2
            die "$what ended; the end of $output is above"
        fi
        sleep 0.2
    done
    tail -n 20 "$output" >&2
    die "$what did not serve within a minute; the end of $output is above"
}

# Ends processes: asks all, waits up to 30 s for each, then kills.
end() {
    for pid in "$@"; do kill -TERM "$pid" 2>/dev/null || :; done
    for pid in "$@"; do
        for _ in $(seq 300); do
            alive "$pid" || break
            sleep 0.1
        done
        if alive "$pid"; then kill -KILL "$pid" 2>/dev/null || :; fi
    done
}

brokers_up='' servers_up=''
stop_all() {
    trap '' INT TERM HUP
    [ -z "$brokers_up$servers_up" ] || echo "Stopping the brokers, then the servers ..."
    # Brokers first: they hand their partitions over and close their sessions.
    # shellcheck disable=SC2086
    end $brokers_up
    # shellcheck disable=SC2086
    end $servers_up
    rm -f "$dir/running"
    [ -z "$brokers_up$servers_up" ] || echo "All stopped. The data is in $dir; the next tools/kafka.sh has it again."
}

serves() {
    "$server" status "$dir/server-$1/zoo.cfg"
}

broker_started() {
    tail -n +"$2" "$1" | grep -q 'started (kafka.server.KafkaServer)'
}

start() {
    need setsid "util-linux"
    need flock "util-linux"
    find_server
    fetch_kafka
    mkdir -p "$dir"
    dir=$(CDPATH='' cd -- "$dir" && pwd)
    # Held as long as this script lives; not by what it starts.
    exec 8>"$dir/lock"
    flock -n 8 || die "a cluster is being started, or runs, in $dir already: tools/kafka.sh stop ends it"
    if [ -r "$dir/running" ]; then
        # shellcheck disable=SC1091
        . "$dir/running"
        for pid in $script $broker_pids $server_pids; do
            if is_ours "$pid"; then die "a part of a cluster runs in $dir already: tools/kafka.sh stop ends it"; fi
        done
    fi
    write_loggers
    trap stop_all EXIT
    trap 'exit 130' INT TERM HUP
    members='' servers='' clients='' brokers=''
    for number in 1 2 3; do
        next_port && quorum=$port
        next_port && election=$port
        next_port && clients="$clients $port"
        members="${members}server.$number=127.0.0.1:$quorum:$election
"
        servers="$servers${servers:+,}127.0.0.1:$port"
    done
    echo "Starting three Ringkeeper servers ..."
    number=0
    for port in $clients; do
        number=$((number + 1))
        write_server $number "$port"
        child "$dir/server-$number/output.log" "$server" start-foreground "$dir/server-$number/zoo.cfg"
        servers_up="$servers_up $pid"
        note_running
    done
    number=0
    for pid in $servers_up; do
        number=$((number + 1))
        await "Ringkeeper $number" "$pid" "$dir/server-$number/output.log" serves $number
    done
    echo "Starting two Kafka $version brokers (some ten seconds) ..."
    for number in 1 2; do
        next_port
        write_broker $number "$port"
        brokers="$brokers${brokers:+,}127.0.0.1:$port"
        touch "$dir/broker-$number/output.log"
        eval "from_$number=$(($(wc -l <"$dir/broker-$number/output.log") + 1))"
        child "$dir/broker-$number/output.log" java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
            "-Dlog4j.configuration=file:$dir/broker.properties" -cp "$jars/*" \
            kafka.Kafka "$dir/broker-$number/server.properties"
        brokers_up="$brokers_up $pid"
        note_running
    done
    number=0
    for pid in $brokers_up; do
        number=$((number + 1))
        eval "from=\$from_$number"
        await "broker $number" "$pid" "$dir/broker-$number/output.log" \
            broker_started "$dir/broker-$number/output.log" "$from"
    done
    greet
    # Any of them that ends by itself is worth a word; the others go on.
    told=''
    while :; do
        for pid in $servers_up $brokers_up; do
            if ! alive "$pid"; then
                case " $told " in
                *" $pid "*) ;;
                *)
                    told="$told $pid"
                    echo "Process $pid has ended."
                    ;;
                esac
            fi
        done
        sleep 1
    done
}

# From another terminal, or after somebody ended the script alone.
stop() {
    find_cluster
    if is_ours "$script"; then
        kill -TERM "$script"
        while is_ours "$script"; do sleep 0.1; done
        return
    fi
    for pid in $broker_pids; do if is_ours "$pid"; then brokers_up="$brokers_up $pid"; fi; done
    for pid in $server_pids; do if is_ours "$pid"; then servers_up="$servers_up $pid"; fi; done
    stop_all
}

greet() {
    cat <<END

Kafka $version runs on Ringkeeper.

  zookeeper.connect    $servers/kafka
  bootstrap.servers    $brokers
  process ids          servers$servers_up, brokers$brokers_up
  logs and data        $dir

Type in another terminal, in this directory:

  tools/kafka.sh topics --create --topic greetings --partitions 10
  echo hello | tools/kafka.sh produce greetings
  tools/kafka.sh consume greetings
  tools/kafka.sh topics --describe
  tools/kafka.sh zk ls /kafka/brokers/ids

Or kill -9 one of the servers, and see that nothing stops. Ctrl-C here ends everything.
END
}

# --- the words -------------------------------------------------------------------------------------------------------

word=${1:-start}
[ $# = 0 ] || shift
case $word in
start) start ;;
stop) stop ;;
topics) find_cluster && java_tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$brokers" "$@" ;;
configs) find_cluster && java_tool kafka.admin.ConfigCommand --bootstrap-server "$brokers" "$@" ;;
acls) find_cluster && java_tool kafka.admin.AclCommand --bootstrap-server "$brokers" "$@" ;;
reassign)
    find_cluster
    java_tool org.apache.kafka.tools.reassign.ReassignPartitionsCommand --bootstrap-server "$brokers" "$@"
    ;;
produce)
    find_cluster
    [ $# -gt 0 ] || die "produce needs a topic"
    topic=$1 && shift
    java_tool kafka.tools.ConsoleProducer --bootstrap-server "$brokers" --topic "$topic" "$@"
    ;;
consume)
    find_cluster
    [ $# -gt 0 ] || die "consume needs a topic"
    topic=$1 && shift
    java_tool org.apache.kafka.tools.consumer.ConsoleConsumer \
        --bootstrap-server "$brokers" --topic "$topic" --from-beginning "$@"
    ;;
zk) find_cluster && exec "$here/zkCli.sh" -server "${servers%%,*}" "$@" ;;
*)
    usage
    case $word in help | --help | -h) ;; *) exit 2 ;; esac
    ;;
esac
