"""A plan as the bytes of a file: JSON, one change on a line, the same bytes for the same plan."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache

from pydantic import TypeAdapter, ValidationError

from airflow_provider_btrdb.catalog.shards import checked_shard
from airflow_provider_btrdb.catalog.streams import ANNOTATION, printable
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.protocol import TAG_KEYS
from airflow_provider_btrdb.provision.plans import PROBLEMS, Change, Plan

_FIELDS = ("collection", *TAG_KEYS)


@cache
def _plan() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)


@cache
def _change() -> TypeAdapter[Change]:
    return TypeAdapter(Change)


def plan_bytes(plan: Plan) -> bytes:
    """UTF-8 JSON. Equal plans give equal bytes, so that their SHA-256 stands for what was approved."""
    head = _plan().dump_json(plan, exclude={"changes"})
    change = _change()
    lines = b",\n".join([change.dump_json(one, exclude_defaults=True) for one in plan.changes])
    return b'%s,"changes":[\n%s\n]}\n' % (head[:-1], lines)


def sha256_of(data: bytes) -> str:
    """The hash of a plan's bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def load_plan(data: bytes, sha256: str | None = None) -> Plan:
    """The inverse of `plan_bytes`. Raises InputError for other bytes than those with this hash, and for no plan."""
    if sha256 is not None and sha256_of(data) != sha256.strip().lower():
        raise InputError(f"this is not the plan that was approved: its SHA-256 is {sha256_of(data)}, not {sha256}")
    try:
        plan = _plan().validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(printable(f"this is no plan: {f'{where}: ' if where else ''}{first['msg']}")) from None
    checked_shard(plan.shard)
    for change in plan.changes:
        for wrong in _faults(change):
            raise InputError(printable(f"this is no plan: {change.path}: {wrong}"))
    return plan


def _faults(change: Change) -> Iterator[str]:
    """What would let a change do something else than its line in the plan says."""
    for difference in change.differences:
        if difference.field not in _FIELDS and not difference.field.startswith(ANNOTATION):
            yield f"a stream has no field {difference.field!r}"
    if change.kind in PROBLEMS:
        return
    if change.kind == "create":
        if change.property_version:
            yield "a stream that is to be created has no property version"
    elif not 1 <= change.property_version < 1 << 64:
        # To the server 0 means: whatever the version is now.
        yield f"{change.property_version} is no property version"
    if change.kind in ("update", "move") and not change.differences:
        yield f"nothing to {change.kind}"
