#!/bin/bash
# Proves that the tests notice a ledger that goes wrong: builds the test programs with the switches of
# event-schemas/src/sabotage.rs, sees them green with none turned on, then turns on one after the other and wants red.
set -euo pipefail
cd "$(dirname "$0")/.."

# Switch, crate, test program, and a filter of its tests where not all are wanted.
table='
SegmentSyncSkipped   stores        stores          segments::tests::crash
AnchorSyncSkipped    stores        stores          segments::tests::faults
FailedSyncRetried    stores        stores          segments::tests::faults
ChainUnchecked       stores        stores          segments::tests::refusals
DamageAccepted       stores        segments_damage
AnsweredEarly        ledger-core   engine
AppliedTwice         projections   tables
EventSkipped         projections   tables
CheckpointLost       projections   alarms
FundsIgnored         ledger-core   rules
HoldIgnored          ledger-core   rules
CaptureAboveHold     ledger-core   rules
CaptureAtDeadline    ledger-core   rules
ReversedTwice        ledger-core   rules
UnbalancedAccepted   ledger-core   rules
FreezeIgnored        ledger-core   rules
LimitIgnored         ledger-core   rules
FeeRoundedUp         ledger-core   rules
PeriodIgnored        ledger-core   rules
CustomerRoundedUp    ledger-core   rules
StaleSheetAccepted   ledger-core   rules
IdForgotten          stores        ids
ConflictUnnoticed    ledger-core   engine
TimeBackwards        ledger-core   engine
DigestUnchecked      ledger-core   engine
StrangerActs         commands-api  holds
CursorOfAnother      commands-api  commands_api    cursor
'

log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
"${CARGO:-cargo}" test --release --no-run --no-default-features \
    --features event-schemas/sabotage,stores/segments \
    -p event-schemas -p ledger-core -p projections -p stores -p commands-api 2>&1 | tee "$log/build" | grep -E '^(warning|error)' || true
# Cargo tells of each program it built: `Executable tests/rules.rs (/…/rules-0123456789abcdef)`.
program() { sed -nE "s|^ *Executable .*\((.*/$1-[0-9a-f]{16})\)$|$(pwd)/\1|p" "$log/build" | sed "s|^$(pwd)//|/|"; }

# Runs a row's tests: 0 if they are green and there are any, 1 if one is red, 2 if they did not get that far.
run() {
    local found code=0
    found=$(program "$2")
    [ -x "$found" ] || { echo "no test program $2 of $1" >&2; return 2; }
    (cd "$1" && timeout 600 "$found" ${3:+"$3"}) >"$log/out" 2>&1 || code=$?
    case $code in
        0) grep -qE '^test result: ok\. [1-9]' "$log/out" || return 2 ;;
        101) grep -q '^test result: FAILED' "$log/out" && return 1 || return 2 ;;
        *) return 2 ;;
    esac
}

bad=0
while read -r crate test filter; do
    unset DOPPIA_SABOTAGE
    run "$crate" "$test" "$filter" || { bad=$((bad + 1)); echo "not green unharmed: $crate $test $filter"; tail -5 "$log/out"; }
done < <(awk 'NF { print $2, $3, $4 }' <<<"$table" | sort -u)
[ $bad = 0 ] || exit 1

caught=0 switches=0
while read -r switch crate test filter; do
    switches=$((switches + 1)) code=0
    DOPPIA_SABOTAGE=$switch run "$crate" "$test" "$filter" || code=$?
    if [ $code = 1 ]; then
        caught=$((caught + 1))
        echo "caught  $switch: $(sed -nE 's/^test (.*) \.\.\. FAILED$/\1/p' "$log/out" | head -1)"
    else
        echo "MISSED  $switch by $crate $test $filter"
    fi
done < <(awk 'NF' <<<"$table")

# Every switch that there is has a row.
declared=$(sed -nE '/^pub enum Switch/,/^}/s/^    ([A-Z][A-Za-z]+),$/\1/p' event-schemas/src/sabotage.rs | wc -l)
echo "$caught of $declared caught"
[ "$caught" = "$switches" ] && [ "$switches" = "$declared" ] && [ "$declared" -ge 20 ]
