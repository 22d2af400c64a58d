"""Leads most well-formed requests to accounts, holds, entries and pages that are there, so that more is met than refusals.

The others, and every request that is malformed on purpose, go as they were made.
"""

import itertools
import os
import random
import uuid

import schemathesis

PEOPLE = ["anna:eur", "boris:eur"]
# Frozen, unfrozen and closed, which would end the others' business.
ACTED_ON = "acted:eur"
ACTS = {"freeze_account", "unfreeze_account", "close_account"}
REFERENCES = {"account", "from", "to"}
# Limits and fees that are set at random would end everybody's business, so they are those of nobody and of another currency.
NOBODY, ELSEWHERE = "client:nobody", "CHF"

dice = random.Random(os.environ.get("SEED"))
commands, holds, cursors = [], [], {}
versions = itertools.count(1)


def remember(seen, value):
    if value:
        seen.append(value)
        del seen[:-200]


def lead(body, account):
    """Fills in accounts that are there, and money that they have."""
    for name in REFERENCES & body.keys():
        body[name] = account()
    for name in ("amount", "at_most"):
        if name in body:
            body[name] = f"0.0{dice.randint(1, 9)}"
    if "currency" in body:
        body["currency"] = ELSEWHERE if "kind" in body and "version" in body else "EUR"
    if "version" in body:
        body["version"] = next(versions)
        if "owner" in body:
            body["owner"] = NOBODY
        for name in ("per_transfer", "daily", "monthly", "fixed", "min"):
            if body.get(name):
                body[name] = f"{dice.randint(1, 9)}.00"
    if "zone" in body:
        body["zone"] = "Europe/Berlin"
        if dice.random() < 0.7:
            body.pop("starts", None)
            body.pop("tz_version", None)
    for optional in ("fee", "effective_on"):
        if dice.random() < 0.7:
            body.pop(optional, None)
    if body.get("hold") and holds:
        body["hold"] = dice.choice(holds)
    if body.get("entry") and commands:
        body["entry"] = dice.choice(commands)
    for inner in body.get("postings") or []:
        if isinstance(inner, dict):
            lead(inner, account)


@schemathesis.hook
def before_call(context, case, kwargs):
    if not case.meta or not case.meta.generation.mode.is_positive or dice.random() < 0.3:
        return
    operation = case.operation.definition.raw.get("operationId")
    account = (lambda: ACTED_ON) if operation in ACTS else (lambda: dice.choice(PEOPLE))
    path, query, body = case.path_parameters or {}, case.query or {}, case.body
    if "book" in path:
        path["book"] = 1
    if "account" in path:
        path["account"] = account()
    if "hold" in path and holds:
        path["hold"] = dice.choice(holds)
    if "command" in path and commands:
        path["command"] = dice.choice(commands)
    if "owner" in path:
        path["owner"] = NOBODY if case.method.upper() == "POST" else "client:anna"
    if "account" in query:
        query["account"] = account()
    if dice.random() < 0.7:
        query.pop("dry_run", None)
    for name in ("min_sequence", "at_sequence", "after_sequence"):
        if name in query and dice.random() < 0.7:
            query[name] = dice.randint(0, 20)
    if "limit" in query and dice.random() < 0.9:
        query["limit"] = dice.randint(1, 20)
    if "cursor" in query:
        if cursors.get(operation):
            query.clear()
            query.update(dice.choice(cursors[operation]))
        else:
            del query["cursor"]
    if case.method.upper() != "POST":
        return
    items = body.get("items", []) if isinstance(body, dict) else []
    for one in items if operation == "post_batch" else [body]:
        if not isinstance(one, dict):
            continue
        lead(one, account)
        if operation == "post_batch":
            one.pop("id", None)
            one["idempotency_key"] = str(uuid.UUID(int=dice.getrandbits(128)))
        elif not one.get("id") or one["id"][14:15] == "8":
            one.pop("id", None)
    if operation != "post_batch":
        headers = case.headers
        if isinstance(body, dict) and body.get("id"):
            headers.pop("Idempotency-Key", None)
        elif "Idempotency-Key" not in headers:
            headers["Idempotency-Key"] = str(uuid.UUID(int=dice.getrandbits(128)))


@schemathesis.hook
def after_call(context, case, response):
    if response.status_code not in (200, 201) or "json" not in response.headers.get("content-type", [""])[0]:
        return
    answer = response.json()
    operation = case.operation.definition.raw.get("operationId")
    if isinstance(answer, dict) and answer.get("dry_run"):
        return
    for verdict in answer.get("results", [answer]) if isinstance(answer, dict) else []:
        if verdict.get("verdict") == "accepted":
            remember(commands, verdict["command_id"])
            remember(holds, verdict.get("hold"))
    for name in ("next_cursor", "end_cursor"):
        if answer.get(name):
            again = {key: value for key, value in (case.query or {}).items() if key in ("type", "account", "order", "limit")}
            remember(cursors.setdefault(operation, []), {**again, "cursor": answer[name]})
