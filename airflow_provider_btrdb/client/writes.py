"""Changing and filling many streams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client._aio.stream import AsyncStream
from airflow_provider_btrdb.client.bulk import Work, each
from airflow_provider_btrdb.client.errors import BTrDBError, InputError
from airflow_provider_btrdb.client.identity import parse_uuid
from airflow_provider_btrdb.client.models import MergePolicy, Points, Progress, WriteResult


def update_many(
    items: Iterable[tuple[Any, Mapping[str, Any]]], progress: Progress | None, seconds: float | None
) -> Work[list[WriteResult]]:
    """See `BTrDB.update_many`."""
    pairs = [(_uuid(stream, number), dict(change)) for number, (stream, change) in enumerate(items, start=1)]
    for number, (_, change) in enumerate(pairs, start=1):
        unknown = change.keys() - _UPDATE_ARGUMENTS
        if unknown:
            raise InputError(f"item {number}: update has no {min(unknown)!r}; it has {', '.join(_UPDATE_ARGUMENTS)}")

    async def work(calls: AsyncCalls) -> list[WriteResult]:
        async def one(pair: tuple[UUID, dict[str, Any]]) -> WriteResult:
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


_UPDATE_ARGUMENTS = ("tags", "annotations", "collection", "remove_tags", "remove_annotations")


def _uuid(stream: Any, number: int) -> UUID:
    return parse_uuid(getattr(stream, "uuid", stream), f"item {number}: uuid")


def _failed(pair: tuple[UUID, Any], error: BTrDBError) -> WriteResult:
    return WriteResult(uuid=pair[0], outcome="failed", error=error)
