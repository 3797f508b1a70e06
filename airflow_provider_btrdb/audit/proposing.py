"""A suite that fits what a catalogue looks like today, to begin with and to correct by hand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from airflow_provider_btrdb.audit.fields import Seen
from airflow_provider_btrdb.audit.listing import Pass
from airflow_provider_btrdb.audit.selectors import Selector
from airflow_provider_btrdb.catalog.streams import ANNOTATION
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client.bulk import Work
from airflow_provider_btrdb.protocol import TAG_KEYS

FEW = 20
"""A field with so few values has them by some rule."""
MOST_KEYS = 200
"""Annotation keys that are looked at."""
MOSTLY = 0.9
"""What so many streams have, all should have."""
RARE = 0.01
"""A value that fewer streams have is left out of the allowed ones: it may be misspelt."""


class _Field:
    """The values of a field, as long as they are few."""

    def __init__(self) -> None:
        self.there = 0
        self.values: Counter[str] = Counter()

    def add(self, value: str) -> None:
        self.there += 1
        if len(self.values) <= FEW:
            self.values[value] += 1


def propose_suite(prefix: str = "") -> Work[str]:
    """The text of a suite for everything below a prefix; run it on a connection. Reads the catalogue once."""

    async def work(calls: AsyncCalls) -> str:
        fields: dict[str, _Field] = {key: _Field() for key in TAG_KEYS}
        collections: Counter[str] = Counter()

        def see(seen: Seen) -> None:
            collections[seen.collection] += 1
            _add(fields, seen)

        one_pass = Pass(lambda query: frozenset())
        one_pass.watch(Selector(), see)
        await one_pass.run(calls, prefix)
        return _text(prefix, fields, collections)

    return work


def _add(fields: dict[str, _Field], seen: Seen) -> None:
    for key, value in seen.tags.items():
        if value and key in fields:
            fields[key].add(value)
    for key, value in seen.annotations.items():
        name = f"{ANNOTATION}{key}"
        if value and (name in fields or len(fields) < MOST_KEYS):
            fields.setdefault(name, _Field()).add(value)


def _text(prefix: str, fields: dict[str, _Field], collections: Counter[str]) -> str:
    streams = collections.total()
    required = [name for name, field in fields.items() if streams and field.there >= MOSTLY * streams]
    lines = [
        "# Proposed from what the catalogue looks like today: read it, and correct it.",
        f"name: {_quoted(prefix.strip('/') or 'all streams')}",
        f"select: {{prefix: {_quoted(prefix)}}}",
        f"expect_at_least: {{streams: {streams}, collections: {len(collections)}}}",
        "checks:",
        "- unique: [collection, name]",
        "  severity: warn",
    ]
    if required:
        lines.append(f"- required: [{', '.join(map(_quoted, required))}]")
    for name, field in fields.items():
        allowed = [value for value, count in field.values.items() if count >= RARE * field.there]
        if name != "name" and 0 < len(field.values) <= FEW and len(allowed) < field.there / 3:
            lines.append(f"- allowed: {{{_quoted(name)}: [{', '.join(map(_quoted, sorted(allowed)))}]}}")
    sizes = set(collections.values())
    if len(sizes) == 1 and len(collections) > 1:
        lines.append(f"- count_between: {{least: {min(sizes)}, most: {max(sizes)}}}")
    lines += ["- rare_keys: 1%", "  severity: warn"]
    return "\n".join(lines) + "\n"


_quoted: Callable[[Any], str] = json.dumps
"""JSON's texts are YAML's, whatever is in them."""
