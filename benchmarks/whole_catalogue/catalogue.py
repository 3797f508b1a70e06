"""Streams as functions of a position, with faults among them, and how many failures each check must find."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg

A_COLLECTION = 1_000
"""Streams of each collection."""
STEP = 10_007
"""So far apart are faults of one kind; a prime, so that they fall on many collections and names."""
FRESH_S, STALE_EVERY = 3_600, 1_000
"""Points are so old; one stream of so many has an older one."""
SUITE = f"""\
name: whole catalogue
select: {{prefix: grid/}}
checks:
- required: [unit, annotations.site, annotations.phase]
- allowed: {{unit: [volts, amps, deg, Hz]}}
- allowed: {{annotations.phase: [A, B, C]}}
- matches: {{name: "^channel[0-9]{{3}}$"}}
- matches: {{annotations.number: "^[0-9]+$"}}
- unique: [collection, name]
- consistent: {{field: unit, by: [name]}}
- refers_to: annotations.reference
- count_between: {{least: {A_COLLECTION}, most: {A_COLLECTION}}}
- rare_keys: 1%
"""
FRESH = """\
name: fresh points
select: {prefix: grid/}
checks:
- fresh: 1d
"""


def uuid_of(number: int) -> UUID:
    """Of the stream at a position."""
    return UUID(int=0xA0D1 << 112 | number)


def fault_of(number: int) -> int:
    """Which of nine faults the stream has; 0 is none."""
    kind = number % STEP
    return kind if 1 <= kind <= 9 else 0


def row(number: int) -> tuple[str, dict[str, str], dict[str, str]]:
    """Collection, tags, annotations."""
    fault, place = fault_of(number), number % A_COLLECTION
    tags = {
        "name": f"channel{place:03d}",
        "unit": ("volts", "amps", "deg", "Hz")[number % 4],
        "ingress": "benchmark",
        "distiller": "",
    }
    annotations = {
        "site": f"site {number // A_COLLECTION % 50}",
        "phase": "ABC"[number % 3],
        "number": str(number),
        "reference": str(uuid_of(number // 2)),
    }
    if fault in (1, 2):
        tags["unit"] = ("", "Volts")[fault - 1]
    elif fault == 3:
        annotations["phase"] = "D"
    elif fault == 4:
        tags["name"] = tags["name"].title()
    elif fault == 5:
        annotations["number"] = f"no {number}"
    elif fault in (6, 7):
        annotations["reference"] = ("nowhere", str(UUID(int=number)))[fault - 6]
    elif fault == 8:
        tags["name"] = f"channel{(place - 1) % A_COLLECTION:03d}"
    elif fault == 9:
        annotations["stie"] = annotations.pop("site")
    return f"grid/substation{number // A_COLLECTION:04d}", tags, annotations


def expected(streams: int) -> list[int]:
    """Failures of each check of `SUITE`, in their order, from the positions of the faults alone."""
    at = {fault: range(fault, streams, STEP) for fault in range(1, 10)}
    names = {number % A_COLLECTION for number in at[2]} | {(number - 1) % A_COLLECTION for number in at[8]}
    return [
        len(at[1]) + len(at[9]), len(at[2]), len(at[3]), len(at[4]), len(at[5]), len(at[8]), len(names),
        len(at[6]) + len(at[7]), 0, 1,
    ]  # fmt: skip


def plant(dsn: str, streams: int) -> None:
    """Put the streams into the server's PostgreSQL by COPY: nobody measures how they came there."""
    into = "COPY btrdb.stream (uuid, collection, name, unit, ingress, distiller, annotations) FROM STDIN"
    with psycopg.connect(dsn, autocommit=True) as connection:
        with connection.cursor() as cursor, cursor.copy(into) as copy:
            for number in range(streams):
                collection, tags, annotations = row(number)
                pairs = ",".join(f'"{key}"=>"{value}"' for key, value in annotations.items())
                copy.write_row((uuid_of(number), collection, *tags.values(), pairs))
        connection.execute("VACUUM ANALYZE btrdb.stream")
        connection.execute("CHECKPOINT")


def plant_points(dsn: str, streams: int) -> None:
    """Give every stream the points of the first one, and some of them those of the second, which are older."""
    copied = """
        INSERT INTO btrdb.chunk (sid, tmin, tmax, n, vfrom, vto, data)
        SELECT other.sid, tmin, tmax, n, vfrom, vto, data FROM btrdb.stream AS other, btrdb.chunk AS chunk
        WHERE chunk.sid = (SELECT sid FROM btrdb.stream WHERE uuid = %s) AND other.uuid = ANY(%s)
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        for number, others in _sharing(streams):
            connection.execute(copied, [uuid_of(number), [uuid_of(other) for other in others]])
        connection.execute("UPDATE btrdb.stream SET version = 11 WHERE version = 10")
        connection.execute("VACUUM ANALYZE btrdb.stream, btrdb.chunk")
        connection.execute("CHECKPOINT")


def _sharing(streams: int) -> Iterator[tuple[int, list[int]]]:
    old = set(stale(streams))
    yield 0, [number for number in range(2, streams) if number not in old]
    yield 1, [number for number in range(2, streams) if number in old]


def stale(streams: int) -> range:
    """The streams whose points are older than a day; the second is the first of them."""
    return range(1, streams, STALE_EVERY)


def found(result: Any) -> list[int]:
    """Failures of each check of a result."""
    return [check.failed for check in result.checks]
