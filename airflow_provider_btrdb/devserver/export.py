"""GenerateCSV: rows of text, several streams side by side."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import numpy as np

from airflow_provider_btrdb.devserver.multi import Rows, side_by_side
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

TIME_COLUMNS = ("Timestamp (ns)", "Human-Readable Time (UTC)")
RAW_FIELDS = ("value",)
WINDOW_FIELDS = ("min", "mean", "max", "count")
_EPOCH = datetime.datetime(1970, 1, 1)


def header(labels: Sequence[str], fields: Sequence[str]) -> pb.GenerateCSVResponse:
    """The first row: one column per stream for points, four for windows."""
    row = [*TIME_COLUMNS]
    for label in labels:
        row += [label] if fields == RAW_FIELDS else [f"{label} ({field.capitalize()})" for field in fields]
    return pb.GenerateCSVResponse(is_header=True, row=row)


async def lines(sources: Sequence[AsyncIterator[Rows]], fields: Sequence[str]) -> AsyncIterator[pb.GenerateCSVResponse]:
    """One message per row; a stream without a row of that time has empty cells.

    Several points of one time take as many rows, so that none is lost.
    """
    async for parts in side_by_side(sources):
        cells: dict[tuple[int, int], list[str]] = {}
        for index, part in enumerate(parts):
            for key, texts in _texts(part, fields):
                row = cells.setdefault(key, [""] * (len(fields) * len(sources)))
                row[index * len(fields) : (index + 1) * len(fields)] = texts
        for time, rank in sorted(cells):
            yield pb.GenerateCSVResponse(row=[str(time), rfc3339(time), *cells[time, rank]])


def _texts(part: Rows, fields: Sequence[str]) -> Iterator[tuple[tuple[int, int], list[str]]]:
    """Time and rank among rows of that time, and the row's cells."""
    times = part["time"]
    ranks = np.arange(len(times)) - np.searchsorted(times, times)
    columns: list[list[Any]] = [part[field].tolist() for field in fields] if len(part) else []
    for time, rank, *values in zip(times.tolist(), ranks.tolist(), *columns, strict=True):
        yield (time, rank), [str(value) if isinstance(value, int) else f"{value:f}" for value in values]


def rfc3339(time_ns: int) -> str:
    """Nanoseconds as text in UTC; a fraction only if there is one, without trailing zeros."""
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    text = (_EPOCH + datetime.timedelta(seconds=seconds)).isoformat()
    return f"{text}.{fraction:09d}".rstrip("0") + "Z" if fraction else f"{text}Z"
