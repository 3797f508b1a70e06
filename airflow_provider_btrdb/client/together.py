"""Reading several streams side by side, and laying their points out as one table."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import numpy as np

from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client._aio.stream import AsyncStream
from airflow_provider_btrdb.client.bulk import Work, in_flight
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.client.models import Points

R = TypeVar("R")
Pattern = str | re.Pattern[str]


def together(pairs: Sequence[tuple[UUID, int]], read: Callable[[AsyncStream, int], Awaitable[R]]) -> Work[list[R]]:
    """`read(stream, version)` for every pair of uuid and version, side by side; results in the order given.

    The first error ends all and is raised.
    """

    async def work(calls: AsyncCalls) -> list[R]:
        results: dict[int, R] = {}

        async def one(number: int) -> None:
            uuid, version = pairs[number]
            results[number] = await read(AsyncStream(calls, uuid), version)

        await in_flight(calls.config.max_in_flight, range(len(pairs)), one)
        return [results[number] for number in range(len(pairs))]

    return work


def matches(value: str | None, wanted: Pattern | None) -> bool:
    """Text equals text, a compiled pattern is searched for; None stands for any value."""
    if isinstance(wanted, re.Pattern):
        return value is not None and wanted.search(value) is not None
    if wanted is not None and not isinstance(wanted, str):
        raise InputError(f"{wanted!r} is neither text nor a compiled pattern")
    return wanted is None or value == wanted


def all_match(values: Mapping[str, str | None], wanted: Mapping[str, Pattern | None]) -> bool:
    """Does every key exist, with a value that matches?"""
    if not isinstance(wanted, Mapping):
        raise InputError(f"{wanted!r} is not a mapping of keys to text")
    return all(key in values and matches(values[key], pattern) for key, pattern in wanted.items())


def side_by_side(columns: Sequence[Points]) -> tuple[Any, list[Any], list[Any]]:
    """One sorted column of times, and for each input its values over it with a mask of where there is one.

    A time that a stream has several times gives several rows: the n-th point of that time stands in the n-th row.
    """
    keys = [_with_occurrence(points.times) for points in columns]
    rows = np.unique(np.concatenate(keys)) if keys else np.empty(0, _KEY)
    values, present = [], []
    for key, points in zip(keys, columns, strict=True):
        at = rows.searchsorted(key)
        column = np.full(len(rows), np.nan)
        mask = np.zeros(len(rows), bool)
        column[at], mask[at] = points.values, True
        values.append(column)
        present.append(mask)
    return rows["time"].copy(), values, present


_KEY = np.dtype([("time", "<i8"), ("nth", "<i8")])


def _with_occurrence(times: Any) -> Any:
    """Each time of a sorted column with how many equal ones stand before it."""
    keys = np.empty(len(times), _KEY)
    keys["time"] = times
    keys["nth"] = np.arange(len(times)) - times.searchsorted(times)
    return keys
