#!/usr/bin/env bash
# PostgreSQL and Apache Kafka of one's own on loopback, to try Doppia on: `make up` and `make down`. Their data goes with them.
#
#   deploy/servers.sh up      starts both, or says that they run
#   deploy/servers.sh roles   starts two gateways, a writer, a standby, a projector and a relay over them (target/release/ledgerd)
#   deploy/servers.sh down    stops all and deletes their data
#
# Ports: POSTGRES_PORT (54320), KAFKA_PORT (19092; the controller's is the one after it). Folder: SERVERS, in the folder for
# temporary files, since PostgreSQL does not run as root and its user must get there.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${SERVERS:-${TMPDIR:-/tmp}/doppia-servers-$(id -u)}
postgres=${POSTGRES_PORT:-54320} kafka=${KAFKA_PORT:-19092}

case ${1:-} in
up)
    mkdir -p "$folder"
    chmod 755 "$folder"
    deploy/postgres.sh start "$folder/postgres" "$postgres"
    deploy/kafka.sh start "$folder/kafka" "$kafka"
    cat <<END
PostgreSQL   postgres://doppia:doppia@127.0.0.1:$postgres/doppia
Kafka        127.0.0.1:$kafka

  ledgerd migrate --journal postgres://doppia:doppia@127.0.0.1:$postgres/doppia
  ledgerd serve --journal postgres://doppia:doppia@127.0.0.1:$postgres/doppia --data ./data-postgres

  ledgerd migrate --journal kafka://127.0.0.1:$kafka/bank --allow-unsafe-server
  ledgerd serve --journal kafka://127.0.0.1:$kafka/bank --allow-unsafe-server --data ./data-kafka

deploy/servers.sh roles starts the roles of a book in processes of their own over PostgreSQL (docs/roles.md).
make down stops all and deletes what they hold.
END
    ;;
roles)
    [ -d "$folder/kafka" ] || { echo "servers.sh: start PostgreSQL and Kafka first: servers.sh up" >&2; exit 1; }
    ledgerd=$PWD/target/release/ledgerd
    roles=$folder/roles
    mkdir -p "$roles"
    cd "$roles"
    [ -s secret ] || (umask 077; head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >secret)
    export DOPPIA_JOURNAL__URL=postgres://doppia:doppia@127.0.0.1:$postgres/doppia DOPPIA_CLUSTER__SECRET_FILE=$roles/secret
    "$ledgerd" migrate
    "$ledgerd" kafka topics --kafka 127.0.0.1:$kafka
    start() { # NAME PORT arguments
        "$ledgerd" serve --data "$1" --listen "127.0.0.1:$2" "${@:3}" >"$1.log" 2>&1 &
        echo $! >"$1.pid"
        echo "$1  http://127.0.0.1:$2  $roles/$1.log"
    }
    writers=http://127.0.0.1:7091,http://127.0.0.1:7092
    start writer-1 7081 --roles writer --standby --grpc-listen 127.0.0.1:7091
    for try in $(seq 100); do [ -s writer-1/admin.key ] && break; sleep 0.1; done
    start writer-2 7082 --roles writer --standby --grpc-listen 127.0.0.1:7092
    start projector 7083 --roles projector --read-models postgres
    start relay 7084 --roles relay --kafka 127.0.0.1:$kafka
    start gateway-1 7071 --roles api --read-models postgres --writers $writers
    start gateway-2 7072 --roles api --read-models postgres --writers $writers
    echo "the first key: $roles/writer-1/admin.key"
    ;;
down)
    for pid in "$folder"/roles/*.pid; do
        [ ! -e "$pid" ] || kill "$(cat "$pid")" 2>/dev/null || true
    done
    deploy/kafka.sh stop "$folder/kafka"
    deploy/postgres.sh stop "$folder/postgres"
    rm -rf "$folder"
    ;;
*)
    echo "usage: servers.sh up | roles | down" >&2
    exit 1
    ;;
esac
