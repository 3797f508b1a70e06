"""What the server is given, as functions of a position: every result is compared with it by value.

The first points of a stream, streams of a catalogue, rows of an answer, and the streams that are to be created.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

STREAM = UUID("6f1d5e2c-5a41-4c1e-9f43-0d2f4f7f7c11")
FIRST_NS = 1_700_000_000_000_000_000
STEP_NS = 8_333_333
"""120 points a second, as phasor measurement units send them."""
VERSION = 7
"""The version of the data that the recorded server answers with."""

POINTS_A_PAGE = 5_000
ARROW_POINTS_A_PAGE = 50_000
STREAMS_A_PAGE = 1_000
ROWS_A_PAGE = 1_000
RECORDED = 100_000
"""Streams and rows beyond that many repeat the first ones."""

StreamValues = tuple[UUID, str, dict[str, str], dict[str, str]]
"""uuid, collection, tags, annotations"""


def points(begin: int, end: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Times and values of the points number `begin` to `end` (without it); no value is 0."""
    numbers = np.arange(begin, end, dtype=np.int64)
    return FIRST_NS + numbers * STEP_NS, 60.0 + np.sin(numbers * 0.001)


def end_ns(count: int) -> int:
    """The end of the range that holds the first `count` points."""
    return FIRST_NS + count * STEP_NS


def points_before(end: int) -> int:
    """The inverse of `end_ns`."""
    return (end - FIRST_NS) // STEP_NS


def collection(count: int) -> str:
    """The prefix under which the recorded server has `count` streams."""
    return f"recorded/{count:07d}"


def stream(number: int, prefix: str) -> StreamValues:
    """A stream with four tags and three annotations."""
    number %= RECORDED
    return (
        UUID(int=0x51D0 << 112 | number),
        f"{prefix}/substation{number // 1_000:04d}",
        {
            "name": f"L{number % 1_000:03d}MAG",
            "unit": ("volts", "amps", "degrees")[number % 3],
            "ingress": "gateway-eu-1",
            "distiller": "",
        },
        {"phase": "ABC"[number % 3], "device": f"PMU {number // 12}", "location": '{"lat": 48.2, "lon": 16.4}'},
    )


def row(number: int) -> dict[str, Any]:
    """A row of an answer to SQL."""
    number %= RECORDED
    uuid, where, tags, annotations = stream(number, "recorded")
    return {
        "uuid": str(uuid),
        "collection": where,
        "name": tags["name"],
        "unit": tags["unit"],
        "ingress": tags["ingress"],
        "property_version": number,
        "annotations": annotations,
    }


def row_json(number: int) -> bytes:
    """The same row as the server sends it."""
    return json.dumps(row(number)).encode()


def wanted(count: int, prefix: str) -> list[dict[str, Any]]:
    """Streams to be created, as rows of a manifest; 1,000 a collection."""
    rows = []
    for number in range(count):
        _, where, tags, annotations = stream(number, prefix)
        rows.append({"collection": where, **tags, "annotations": annotations})
    return rows
