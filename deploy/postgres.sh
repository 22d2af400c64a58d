#!/usr/bin/env bash
# A PostgreSQL server of one's own on loopback, with data that may be thrown away: for tests, and for `make up`.
#
#   deploy/postgres.sh start FOLDER PORT    makes FOLDER if it is not there, starts, waits until it answers
#   deploy/postgres.sh stop FOLDER          stops it, fast and clean
#   deploy/postgres.sh kill FOLDER          kills it with signal 9, as a crash would
#
# User, password and database are all `doppia`. Settings are PostgreSQL's own: what it acknowledges is flushed.
set -euo pipefail

fail() { echo "postgres.sh: $*" >&2; exit 1; }

act=${1:-} folder=${2:-} port=${3:-}
[ -n "$folder" ] || fail "usage: postgres.sh start FOLDER PORT | stop FOLDER | kill FOLDER"

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true)
[ -n "$bin" ] || bin=$(dirname "$(command -v initdb || true)")
[ -x "$bin/initdb" ] || fail "PostgreSQL is not installed: apt-get install postgresql"

# PostgreSQL does not run as root.
as=()
if [ "$(id -u)" -eq 0 ]; then
    id postgres >/dev/null 2>&1 || fail "there is no user postgres to run the server as"
    as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
fi

case $act in
start)
    [ -n "$port" ] || fail "start needs a port"
    # One that answers; a file of a server that was killed means nothing.
    if [ -s "$folder/postmaster.pid" ] && "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; then
        echo "postgres.sh: a server runs in $folder already" >&2
        exit 0
    fi
    if [ ! -s "$folder/PG_VERSION" ]; then
        mkdir -p "$folder"
        [ ${#as[@]} -eq 0 ] || chown postgres "$folder"
        chmod 700 "$folder"
        password=$(mktemp)
        echo doppia >"$password"
        chmod 644 "$password"
        (cd / && "${as[@]}" "$bin/initdb" -D "$folder" -U doppia --pwfile="$password" --auth=scram-sha-256 \
            --encoding=UTF8 --locale=C --no-sync >/dev/null)
        rm -f "$password"
        fresh=1
    fi
    # After a crash, what is left of the old server may take a moment to go.
    for try in 1 2 3 4 5 6 7 8 9 10; do
        if (cd / && "${as[@]}" "$bin/pg_ctl" -D "$folder" -w -t 60 -s -l "$folder/server.log" \
            -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$folder -c recovery_init_sync_method=syncfs ${POSTGRES_OPTIONS:-}" \
            start >/dev/null 2>&1); then
            break
        fi
        [ "$try" -lt 10 ] || { tail -20 "$folder/server.log" >&2; fail "the server does not start"; }
        sleep 0.5
    done
    if [ -n "${fresh:-}" ]; then
        PGPASSWORD=doppia "$bin/psql" -q -h 127.0.0.1 -p "$port" -U doppia -d postgres -c 'CREATE DATABASE doppia' >/dev/null
    fi
    ;;
stop)
    [ ! -s "$folder/postmaster.pid" ] || (cd / && "${as[@]}" "$bin/pg_ctl" -D "$folder" -m fast -w -s stop >/dev/null) || true
    ;;
kill)
    # The postmaster and all of its servers: a machine that lost its power has none of them left.
    [ -s "$folder/postmaster.pid" ] || exit 0
    main=$(head -1 "$folder/postmaster.pid")
    servers=$(pgrep -P "$main" || true)
    kill -9 "$main" $servers 2>/dev/null || true
    ;;
*) fail "what is $act?" ;;
esac
