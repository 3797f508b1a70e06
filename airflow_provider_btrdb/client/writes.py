"""Changing and filling many streams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Literal
from uuid import UUID

from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client._aio.stream import AsyncStream
from airflow_provider_btrdb.client.bulk import Work, each
from airflow_provider_btrdb.client.errors import BTrDBError, InputError, PartialUpdateError, PropertyVersionMismatch
from airflow_provider_btrdb.client.identity import parse_uuid
from airflow_provider_btrdb.client.models import MergePolicy, Points, Progress, WriteResult
from airflow_provider_btrdb.client.updates import Update

SETTLE_ATTEMPTS = 8
"""Each time somebody else was faster, so of eight at once the last one comes through."""


def update_many(
    items: Iterable[tuple[Any, Mapping[str, Any]]],
    progress: Progress | None,
    seconds: float | None,
    *,
    settle: bool = False,
) -> Work[list[WriteResult]]:
    """See `BTrDB.update_many`."""
    pairs = [(_uuid(stream, number), dict(change)) for number, (stream, change) in enumerate(items, start=1)]
    for number, (_, change) in enumerate(pairs, start=1):
        unknown = change.keys() - _UPDATE_ARGUMENTS
        if unknown:
            raise InputError(f"item {number}: update has no {min(unknown)!r}; it has {', '.join(_UPDATE_ARGUMENTS)}")

    async def work(calls: AsyncCalls) -> list[WriteResult]:
        async def one(pair: tuple[UUID, dict[str, Any]]) -> WriteResult:
            if settle:
                return await _settled(AsyncStream(calls, pair[0]), pair[1])
            return WriteResult(uuid=pair[0], outcome="ok", version=await AsyncStream(calls, pair[0]).update(**pair[1]))

        return await each(calls, pairs, one, _failed, progress=progress, seconds=seconds)

    return work


def insert_many(
    items: Iterable[tuple[Any, Any]], merge: MergePolicy | str, progress: Progress | None, seconds: float | None
) -> Work[list[WriteResult]]:
    """See `BTrDB.insert_many`."""
    policy = MergePolicy.parse(merge)
    pairs = [(_uuid(stream, number), Points.of(points)) for number, (stream, points) in enumerate(items, start=1)]

    async def work(calls: AsyncCalls) -> list[WriteResult]:
        async def one(pair: tuple[UUID, Points]) -> WriteResult:
            version = await AsyncStream(calls, pair[0]).insert(pair[1], policy)
            return WriteResult(uuid=pair[0], outcome="ok", version=version)

        return await each(calls, pairs, one, _failed, progress=progress, seconds=seconds)

    return work


async def _settled(stream: AsyncStream, arguments: Mapping[str, Any]) -> WriteResult:
    """Make the stream what the arguments say, whoever else changes it meanwhile."""
    nothing = {"tags": None, "collection": None, "annotations": None, "remove_tags": (), "remove_annotations": ()}
    change = Update.of(**{**nothing, **arguments})
    for attempt in range(SETTLE_ATTEMPTS):
        await stream.refresh()
        left = change.left_to_do(stream._loaded())
        if left is None:
            outcome: Literal["ok", "unchanged"] = "ok" if attempt else "unchanged"
            return WriteResult(uuid=stream.uuid, outcome=outcome, version=stream.property_version)
        try:
            return WriteResult(uuid=stream.uuid, outcome="ok", version=await stream.update(**asdict(left)))
        except (PropertyVersionMismatch, PartialUpdateError) as error:
            met = isinstance(error, PropertyVersionMismatch) or isinstance(error.__cause__, PropertyVersionMismatch)
            if not met or attempt == SETTLE_ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


_UPDATE_ARGUMENTS = ("tags", "annotations", "collection", "remove_tags", "remove_annotations")


def _uuid(stream: Any, number: int) -> UUID:
    return parse_uuid(getattr(stream, "uuid", stream), f"item {number}: uuid")


def _failed(pair: tuple[UUID, Any], error: BTrDBError) -> WriteResult:
    return WriteResult(uuid=pair[0], outcome="failed", error=error)
