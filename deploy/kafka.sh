#!/usr/bin/env bash
# A real Apache Kafka of one node (KRaft) on loopback, with data that may be thrown away: for tests, and for `make up`.
# Needs Java 17 and, once, Maven for the broker's jars.
#
#   deploy/kafka.sh jars                 fetches the broker's jars into target/kafka/, if they are not there
#   deploy/kafka.sh start FOLDER PORT    makes FOLDER if it is not there, starts, waits until it answers (PORT+1 is its controller's)
#   deploy/kafka.sh stop FOLDER          stops it, clean
#   deploy/kafka.sh kill FOLDER          kills it with signal 9, as a crash would
#
# KAFKA_HEAP (768m) is the most memory its heap takes; CONTROLLER_PORT another port for the controller; KAFKA_PROPERTIES more
# lines for its configuration.
set -euo pipefail

fail() { echo "kafka.sh: $*" >&2; exit 1; }

here=$(cd "$(dirname "$0")" && pwd)
jars=${KAFKA_JARS:-$(dirname "$here")/target/kafka}

fetch() {
    cmp --silent "$here/kafka/pom.xml" "$jars/pom.xml" && return
    command -v mvn >/dev/null 2>&1 || fail "the broker's jars are not there, and Maven, which fetches them, is not installed: apt-get install maven"
    rm -rf "$jars"
    mkdir -p "$jars"
    mvn -q -B -ntp -f "$here/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$jars/libs"
    cp "$here/kafka/pom.xml" "$jars/pom.xml"
}

act=${1:-} folder=${2:-} port=${3:-}
[ "$act" = jars ] && { fetch; exit; }
[ -n "$folder" ] || fail "usage: kafka.sh jars | start FOLDER PORT | stop FOLDER | kill FOLDER"

# The process of the broker, if it is alive.
running() {
    [ -s "$folder/kafka.pid" ] || return 1
    pid=$(cat "$folder/kafka.pid")
    grep -qa kafka.Kafka "/proc/$pid/cmdline" 2>/dev/null
}

gone() { # waits until the broker is no more
    for _ in $(seq 1 600); do
        running || return 0
        sleep 0.1
    done
    return 1
}

case $act in
start)
    [ -n "$port" ] || fail "start needs a port"
    command -v java >/dev/null 2>&1 || fail "Java is not installed: apt-get install default-jre-headless"
    running && { echo "kafka.sh: a broker runs in $folder already" >&2; exit 0; }
    fetch
    mkdir -p "$folder"
    folder=$(cd "$folder" && pwd)
    run=(java -Xms256m "-Xmx${KAFKA_HEAP:-768m}" -XX:+UseSerialGC -XX:TieredStopAtLevel=${KAFKA_JIT:-4} -Djava.awt.headless=true
        "-Dlog4j2.configurationFile=$here/kafka/log4j2.properties" -cp "$jars/libs/*")
    sed -e "s|@PORT@|$port|g" -e "s|@CONTROLLER@|${CONTROLLER_PORT:-$((port + 1))}|g" -e "s|@FOLDER@|$folder|g" \
        "$here/kafka/server.properties.in" >"$folder/server.properties"
    printf '%s\n' "${KAFKA_PROPERTIES:-}" >>"$folder/server.properties"
    if [ ! -s "$folder/data/meta.properties" ]; then
        id=$("${run[@]}" kafka.tools.StorageTool random-uuid 2>/dev/null | tail -1)
        "${run[@]}" kafka.tools.StorageTool format -t "$id" -c "$folder/server.properties" >"$folder/kafka.log" 2>&1 ||
            { tail -20 "$folder/kafka.log" >&2; fail "the broker's folder can't be made"; }
    fi
    nohup setsid "${run[@]}" kafka.Kafka "$folder/server.properties" >"$folder/kafka.log" 2>&1 </dev/null &
    echo $! >"$folder/kafka.pid"
    for _ in $(seq 1 1200); do
        grep -q 'Kafka Server started' "$folder/kafka.log" && exit 0
        kill -0 "$(cat "$folder/kafka.pid")" 2>/dev/null || { tail -20 "$folder/kafka.log" >&2; fail "the broker does not start"; }
        sleep 0.1
    done
    tail -20 "$folder/kafka.log" >&2
    fail "the broker does not come up within two minutes"
    ;;
stop)
    running || exit 0
    kill "$pid"
    gone || { kill -9 "$pid"; gone; }
    ;;
kill)
    running || exit 0
    kill -9 "$pid"
    gone
    ;;
*) fail "what is $act?" ;;
esac
