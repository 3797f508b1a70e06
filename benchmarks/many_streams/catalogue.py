"""The streams that are to be there, as functions of a position, and the files that say so."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STREAMS = 100_000
A_COLLECTION = 100
"""Streams of each collection."""
ANNOTATIONS = ("site", "phase", "number")


def row(number: int, prefix: str) -> dict[str, Any]:
    """Collection, three tags, three annotations."""
    place = number // A_COLLECTION
    return {
        "collection": f"{prefix}/substation{place:04d}",
        "name": f"channel{number % A_COLLECTION:03d}",
        "unit": ("volts", "amps", "deg", "Hz")[number % 4],
        "ingress": "benchmark",
        "annotations": {"site": f"site {place % 50}", "phase": "ABC"[number % 3], "number": str(number)},
    }


def values(collection: str, tags: Mapping[str, str], annotations: Mapping[str, str | None]) -> tuple[Any, ...]:
    """What is compared of a stream that was read."""
    return collection, tags["name"], tags["unit"], tags["ingress"], tuple(sorted(annotations.items()))


def wanted(count: int, prefix: str) -> set[tuple[Any, ...]]:
    """`values` of the first streams."""
    return {
        values(entry["collection"], entry, entry["annotations"])
        for entry in (row(number, prefix) for number in range(count))
    }


def write_csv(path: Path, prefix: str) -> None:
    """All streams as a table."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["collection", "name", "unit", "ingress", *(f"annotations.{key}" for key in ANNOTATIONS)])
        for number in range(STREAMS):
            entry = row(number, prefix)
            table.writerow(
                [entry[key] for key in ("collection", "name", "unit", "ingress")]
                + [entry["annotations"][key] for key in ANNOTATIONS]
            )


def write_short_yaml(path: Path, prefix: str) -> None:
    """The same in ten lines."""
    path.write_text(f"""\
prefixes: [{prefix}/]
defaults: {{ingress: benchmark}}
streams:
  - for_each: {{place: 0..999, channel: 0..99}}
    collection: "{prefix}/substation{{{{ '%04d' % place }}}}"
    name: "channel{{{{ '%03d' % channel }}}}"
    unit: "{{{{ ('volts', 'amps', 'deg', 'Hz')[channel % 4] }}}}"
    annotations:
      site: "site {{{{ place % 50 }}}}"
      phase: "{{{{ 'ABC'[(place * 100 + channel) % 3] }}}}"
      number: "{{{{ place * 100 + channel }}}}"
""")
