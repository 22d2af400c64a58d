#!/usr/bin/env bash
# PostgreSQL and Apache Kafka of one's own on loopback, to try Doppia on: `make up` and `make down`. Their data goes with them.
#
#   deploy/servers.sh up      starts both, or says that they run
#   deploy/servers.sh down    stops both and deletes their data
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

make down stops both and deletes what they hold.
END
    ;;
down)
    deploy/kafka.sh stop "$folder/kafka"
    deploy/postgres.sh stop "$folder/postgres"
    rm -rf "$folder"
    ;;
*)
    echo "usage: servers.sh up | down" >&2
    exit 1
    ;;
esac
