"""Failures in words, the same whether SQL or the pass has found them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from airflow_provider_btrdb.audit.fields import shown
from airflow_provider_btrdb.audit.findings import Findings
from airflow_provider_btrdb.audit.suites import Consistent, CountBetween, RareKeys, Unique
from airflow_provider_btrdb.client.identity import uuid_of

VALUES_TOLD = 3


def add_stream(
    findings: Findings, uuid: bytes, collection: str, name: str, message: str, *, warns: bool = False
) -> None:
    """A failure of one stream."""
    text = str(uuid_of(uuid))
    findings.add((text,), message, warns=warns, collection=collection, name=name, uuid=text)


def add_counts(rule: CountBetween, findings: Findings, counts: Iterable[tuple[str, int]]) -> int:
    """Failures of `count_between`; how many collections there are."""
    total = 0
    for collection, count in counts:
        total += 1
        if count < rule.least or (rule.most is not None and count > rule.most):
            bounds = f"at least {rule.least}" if rule.most is None else f"{rule.least} to {rule.most}"
            findings.add((collection,), f"has {count} streams where {bounds} are wanted", collection=collection)
    return total


def add_unique(rule: Unique, findings: Findings, key: tuple[str, ...], count: int, uuids: tuple[str, str]) -> None:
    """Several streams have one key; `uuids` are the least and the largest of theirs."""
    said = ", ".join(f"{field} {shown(value)}" for field, value in zip(rule.fields, key, strict=True))
    findings.add(key, f"{count} streams have {said}", uuids=uuids, **_place(rule.fields, key, uuids[0]))


def add_consistent(
    rule: Consistent, findings: Findings, key: tuple[str, ...], values: list[tuple[str, int, str]], *, kinds: int
) -> None:
    """A group has `kinds` values: triples of a value, how many streams have it, and the least of their uuids."""
    ordered = sorted(values, key=lambda one: (-one[1], one[2]))
    told = ", ".join(f"{shown(value)} in {count}" for value, count, _ in ordered[:VALUES_TOLD])
    rest = kinds - VALUES_TOLD
    where = ", ".join(f"{field} {shown(value)}" for field, value in zip(rule.by, key, strict=True))
    message = f"{rule.field} differs where {where}: {told} streams{f', and {rest} more values' if rest > 0 else ''}"
    uuids = tuple(uuid for _, _, uuid in ordered[:VALUES_TOLD])
    # The stream to look at first is one with the rarest value that is told.
    findings.add(key, message, uuids=uuids, **_place(rule.by, key, uuids[-1]))


def add_rare_keys(rule: RareKeys, findings: Findings, keys: Mapping[str, int], streams: int) -> int:
    """Failures of `rare_keys`, each with the common key that looks like it; how many keys there are."""
    rare = {key for key, count in keys.items() if 100 * count < rule.below * streams}
    common = [key for key in keys if key not in rare]
    for key in sorted(rare):
        close = get_close_matches(key, common, n=1)
        hint = f"; {shown(close[0])} is in {keys[close[0]]}" if close else ""
        findings.add((key,), f"the annotation {shown(key)} is in {keys[key]} of {streams} streams{hint}")
    return len(keys)


def _place(fields: tuple[str, ...], key: tuple[str, ...], uuid: str) -> dict[str, Any]:
    """Collection and name, where the key has them."""
    known = dict(zip(fields, key, strict=True))
    return {"collection": known.get("collection", ""), "name": known.get("name", ""), "uuid": uuid}
