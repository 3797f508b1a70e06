"""Pure work on columns of points: checks before an insert, batches, joining pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any
from uuid import UUID

import numpy as np

from airflow_provider_btrdb.client.errors import BadValueError, InvalidTimeRangeError
from airflow_provider_btrdb.client.models import Points, Windows
from airflow_provider_btrdb.client.times import format_ns
from airflow_provider_btrdb.protocol import MAX_TIME_NS, MIN_TIME_NS

INSERT_BATCH = 50_000
"""Points of one Insert call; the official clients send as many, so every server takes them."""


def check_insertable(points: Points, uuid: UUID) -> None:
    """Raises BadValueError or InvalidTimeRangeError naming the first point that BTrDB cannot store."""
    for number, part in enumerate(in_batches(points)):  # what is found out of all points at once takes their memory
        _check_part(part, number * INSERT_BATCH, uuid)


def _check_part(points: Points, begin: int, uuid: UUID) -> None:
    finite = np.isfinite(points.values)
    if not finite.all():
        at = int(np.argmin(finite))
        raise BadValueError(
            f"point {begin + at} at {format_ns(int(points.times[at]))} is {points.values[at]}; BTrDB stores finite "
            "values only, so leave missing points out",
            uuid=uuid,
        )
    inside = (points.times >= MIN_TIME_NS) & (points.times < MAX_TIME_NS - 1)
    if not inside.all():
        at = int(np.argmin(inside))
        raise InvalidTimeRangeError(
            f"point {begin + at} has the time {int(points.times[at])} ns, outside what BTrDB can hold "
            f"({format_ns(MIN_TIME_NS)} to {format_ns(MAX_TIME_NS - 1)}): are these nanoseconds?",
            uuid=uuid,
        )


def in_batches(points: Points, size: int = INSERT_BATCH) -> Iterator[Points]:
    """Consecutive parts of at most `size` points; views, not copies."""
    for at in range(0, len(points), size):
        yield Points(points.times[at : at + size], points.values[at : at + size])


class Gathered:
    """Pages of points become one: two columns that grow in place, so that no page is held until the last has come."""

    def __init__(self) -> None:
        self._times = np.empty(0, np.int64)
        self._values = np.empty(0, np.float64)
        self._size = 0

    def add(self, page: Points) -> None:
        """Copy a page behind what is there."""
        end = self._size + len(page)
        if end > len(self._times):
            self._resize(max(end, len(self._times) * 9 // 8))
        self._times[self._size : end] = page.times
        self._values[self._size : end] = page.values
        self._size = end

    def points(self) -> Points:
        """All of them, in their order."""
        self._resize(self._size)
        return Points(self._times, self._values)

    def _resize(self, size: int) -> None:
        # Nobody else has seen the columns yet, so they may move.
        self._times.resize(size, refcheck=False)
        self._values.resize(size, refcheck=False)


def joined_points(pages: Sequence[Points]) -> Points:
    """One Points of all pages, in their order."""
    if not pages:
        return Points(np.empty(0, np.int64), np.empty(0, np.float64))
    if len(pages) == 1:
        return pages[0]
    return Points(np.concatenate([page.times for page in pages]), np.concatenate([page.values for page in pages]))


def joined_windows(pages: Sequence[Windows]) -> Windows:
    """One Windows of all pages, in their order."""
    if not pages:
        numbers = np.empty(0, np.float64)
        return Windows(np.empty(0, np.int64), numbers, numbers, numbers, np.empty(0, np.uint64), numbers)
    if len(pages) == 1:
        return pages[0]
    names = [field.name for field in fields(Windows)]
    return Windows(*(np.concatenate([getattr(page, name) for page in pages]) for name in names))


def without(points: Points, known: Points) -> Points:
    """The points that are not among the known ones, each known point taking away one equal point; in their order."""
    if len(points) == 0 or len(known) == 0:
        return points
    ours, theirs = _numbered(points), _numbered(known)
    new = ~np.isin(ours, theirs)
    return Points(points.times[new], points.values[new])


def _numbered(points: Points) -> Any:
    """Every point as one comparable item: time, bits of the value, and how many equal ones stand before it."""
    rows = np.empty(len(points), np.dtype([("time", ">i8"), ("bits", ">u8"), ("nth", ">u8")]))
    order = np.lexsort((points.values.view(np.uint64), points.times))
    times, bits = points.times[order], points.values.view(np.uint64)[order]
    first = np.r_[True, (times[1:] != times[:-1]) | (bits[1:] != bits[:-1])]
    nth = np.arange(len(points)) - np.maximum.accumulate(np.where(first, np.arange(len(points)), 0))
    rows["time"][order], rows["bits"][order], rows["nth"][order] = times, bits, nth
    return rows.view("V24")
