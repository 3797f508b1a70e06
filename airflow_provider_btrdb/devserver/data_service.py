"""The handlers of points: plain pages and single answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

import numpy as np

from airflow_provider_btrdb.devserver import checks, merge, pages
from airflow_provider_btrdb.devserver.database import Database
from airflow_provider_btrdb.devserver.dispatch import Call
from airflow_provider_btrdb.devserver.errors import Refusal
from airflow_provider_btrdb.devserver.limits import Limits
from airflow_provider_btrdb.devserver.merge import Points
from airflow_provider_btrdb.devserver.points import PointReader, paged
from airflow_provider_btrdb.devserver.writes import PointWriter, StreamLocks
from airflow_provider_btrdb.protocol import MAX_TIME_NS, MIN_TIME_NS, Code
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

Finish = Callable[[Coroutine[Any, Any, Any]], Coroutine[Any, Any, Any]]


class DataService:
    """Reads and writes of points."""

    def __init__(self, database: Database, limits: Limits, finish: Finish) -> None:
        self._reader = PointReader(database)
        self._writer = PointWriter(database, StreamLocks())
        self._limits = limits
        self._finish = finish

    def unary(self) -> dict[str, Callable[[Call, Any], Coroutine[Any, Any, Any]]]:
        """Handlers by method."""
        return {"Insert": self.insert, "Delete": self.delete, "Flush": self.flush, "Nearest": self.nearest}

    def streams(self) -> dict[str, Callable[[Call, Any], AsyncIterator[Any]]]:
        """Handlers by method."""
        return {"RawValues": self.raw_values}

    async def insert(self, call: Call, raw: bytes) -> pb.InsertResponse:
        """One commit; an empty list is none."""
        request, points = pages.insert_params(raw)
        return await self._insert(call, request, points)

    async def _insert(
        self, call: Call, request: pb.InsertParams | pb.ArrowInsertParams, points: Points
    ) -> pb.InsertResponse:
        uuid = checks.stream_uuid(request.uuid)
        checks.merge_policy(request.merge_policy)
        points = _insertable(points, request.rounding, self._limits.insert_points)
        allow = partial(call.grant.require, "insert")
        version = await self._finish(self._writer.insert(uuid, points, request.merge_policy, allow))
        return pb.InsertResponse(version_major=version)

    async def delete(self, call: Call, request: pb.DeleteParams) -> pb.DeleteResponse:
        """[start, end); always a new version."""
        uuid = checks.stream_uuid(request.uuid)
        checks.time_range(request.start, request.end)
        allow = partial(call.grant.require, "delete")
        version = await self._finish(self._writer.delete(uuid, request.start, request.end, allow))
        return pb.DeleteResponse(version_major=version)

    async def flush(self, call: Call, request: pb.FlushParams) -> pb.FlushResponse:
        """Every insert has committed already: only the version is told."""
        uuid = checks.stream_uuid(request.uuid)
        version = await self._writer.version(uuid, partial(call.grant.require, "insert"))
        return pb.FlushResponse(version_major=version)

    async def nearest(self, call: Call, request: pb.NearestParams) -> pb.NearestResponse:
        """Forward includes the time asked for, backward does not."""
        uuid = checks.stream_uuid(request.uuid)
        checks.single_time(request.time)
        version, time, value = await self._reader.nearest(
            uuid,
            request.version_major,
            request.time,
            backward=request.backward,
            allow=partial(call.grant.require, "read"),
        )
        return pb.NearestResponse(version_major=version, value=pb.RawPoint(time=time, value=value))

    async def raw_values(self, call: Call, request: pb.RawValuesParams) -> AsyncIterator[bytes]:
        """Pages in order of time; one empty page if there is no point."""
        uuid = checks.stream_uuid(request.uuid)
        checks.time_range(request.start, request.end)
        extent = await self._reader.extent(
            uuid, request.version_major, request.start, request.end, partial(call.grant.require, "read")
        )
        blocks = self._reader.blocks(extent, request.start, request.end)
        async for page in paged(blocks, self._limits.raw_page_points):
            yield pages.raw_values(page, extent.version)


def _insertable(points: Points, rounding: pb.RoundSpec, most: int) -> Points:
    """The points as they are stored, or a refusal of all of them."""
    if len(points.t) > most:
        raise Refusal(Code.INSERT_TOO_BIG, f"insert of {len(points.t)} points is too big, at most {most} are taken")
    if len(points.t) and (int(points.t.min()) < MIN_TIME_NS or int(points.t.max()) >= MAX_TIME_NS - 1):
        raise Refusal(Code.INVALID_TIME_RANGE, "insert contains points outside valid time interval")
    if bool(np.isnan(points.v).any()):
        raise Refusal(Code.BAD_VALUE, "insert contains NaN values")
    if bool(np.isinf(points.v).any()):
        raise Refusal(Code.BAD_VALUE, "insert contains Inf values")
    if not rounding.HasField("spec"):
        return points
    if not 0 <= rounding.bits <= 52:
        raise Refusal(Code.INVALID_PARAMETER, "rounding must be to 0 to 52 bits")
    return Points(points.t, merge.round_bits(points.v, rounding.bits))
