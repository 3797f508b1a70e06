"""The handlers that write points, and the one that follows writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc
import numpy as np

from airflow_provider_btrdb.devserver import arrow, checks, merge, pages
from airflow_provider_btrdb.devserver.database import Database
from airflow_provider_btrdb.devserver.dispatch import Call
from airflow_provider_btrdb.devserver.errors import Refusal, StatusError
from airflow_provider_btrdb.devserver.limits import Limits
from airflow_provider_btrdb.devserver.merge import Points
from airflow_provider_btrdb.devserver.points import PointReader
from airflow_provider_btrdb.devserver.subscriptions import Hub, Subscriber
from airflow_provider_btrdb.devserver.writes import PointWriter, StreamLocks
from airflow_provider_btrdb.protocol import MAX_TIME_NS, MIN_TIME_NS, Code
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

Finish = Callable[[Coroutine[Any, Any, Any]], Coroutine[Any, Any, Any]]


class WriteService:
    """Inserts, deletes, and who follows them. `finish` runs a write to its end whatever happens to its caller."""

    def __init__(self, database: Database, limits: Limits, finish: Finish) -> None:
        self._hub = Hub()
        self._reader = PointReader(database)
        self._writer = PointWriter(database, StreamLocks(), self._hub)
        self._limits = limits
        self._finish = finish

    def unary(self) -> dict[str, Callable[[Call, Any], Coroutine[Any, Any, Any]]]:
        """Handlers by method."""
        return {
            "Insert": self.insert,
            "ArrowInsert": self.arrow_insert,
            "Delete": self.delete,
            "Flush": self.flush,
            "Obliterate": self.obliterate,
        }

    def streams(self) -> dict[str, Callable[[Call, Any], AsyncIterator[Any]]]:
        """Handlers by method."""
        return {"Subscribe": self.subscribe}

    async def insert(self, call: Call, raw: bytes) -> pb.InsertResponse:
        """One commit; an empty list is none."""
        request, points = pages.insert_params(raw)
        return await self._insert(call, request, points)

    async def arrow_insert(self, call: Call, request: pb.ArrowInsertParams) -> pb.InsertResponse:
        """The same from columns."""
        return await self._insert(call, request, arrow.inserted(request.arrow_bytes, self._limits.insert_points))

    async def _insert(
        self, call: Call, request: pb.InsertParams | pb.ArrowInsertParams, points: Points
    ) -> pb.InsertResponse:
        uuid = checks.stream_uuid(request.uuid)
        checks.merge_policy(request.merge_policy)
        points = _insertable(points, request.rounding, self._limits.insert_points)
        version = await self._finish(self._writer.insert(uuid, points, request.merge_policy, call.may("insert")))
        return pb.InsertResponse(version_major=version)

    async def delete(self, call: Call, request: pb.DeleteParams) -> pb.DeleteResponse:
        """[start, end); always a new version."""
        uuid = checks.stream_uuid(request.uuid)
        checks.time_range(request.start, request.end)
        version = await self._finish(self._writer.delete(uuid, request.start, request.end, call.may("delete")))
        return pb.DeleteResponse(version_major=version)

    async def flush(self, call: Call, request: pb.FlushParams) -> pb.FlushResponse:
        """Every insert has committed already: only the version is told."""
        version = await self._writer.version(checks.stream_uuid(request.uuid), call.may("insert"))
        return pb.FlushResponse(version_major=version)

    async def obliterate(self, call: Call, request: pb.ObliterateParams) -> pb.ObliterateResponse:
        """The stream, its points and its history; the uuid can never be used again."""
        await self._finish(self._writer.obliterate(checks.stream_uuid(request.uuid), call.may("obliterate")))
        return pb.ObliterateResponse()

    async def subscribe(self, call: Call, updates: AsyncIterator[bytes]) -> AsyncIterator[pb.SubscriptionResp]:
        """Inserts of the wanted streams from now on, until the caller goes away.

        The initial metadata is sent when the first update has taken effect. A caller that closes its side goes on
        receiving.
        """
        subscriber = Subscriber(self._limits.subscriber_bytes)
        reading = asyncio.create_task(self._follow(call, subscriber, updates))
        ending = asyncio.create_task(call.draining.wait())
        reading.add_done_callback(lambda task: _pass_on(task, subscriber))
        ending.add_done_callback(
            lambda _: subscriber.fail(StatusError(grpc.StatusCode.UNAVAILABLE, "the server is shutting down"))
        )
        try:
            while True:
                yield await subscriber.next()
        finally:
            reading.cancel()
            ending.cancel()
            self._hub.leave(subscriber, subscriber.uuids)

    async def _follow(self, call: Call, subscriber: Subscriber, updates: AsyncIterator[bytes]) -> None:
        accepted = False
        async for raw in updates:
            update = pb.SubscriptionUpdate.FromString(raw)
            uuids = {checks.stream_uuid(uuid) for uuid in update.uuids}
            if update.op == pb.REMOVE_UUIDS:
                self._hub.leave(subscriber, uuids)
            elif update.op == pb.ADD_UUIDS:
                if len(subscriber.uuids | uuids) > self._limits.subscriptions:
                    most = self._limits.subscriptions
                    raise Refusal(Code.RESOURCE_DEPLETED, f"a call may follow at most {most} streams")
                for uuid in uuids:
                    await self._reader.version(uuid, call.may("read"))
                self._hub.follow(subscriber, uuids)
            else:
                raise Refusal(Code.WRONG_ARGUMENTS, "unknown subscription update")
            if not accepted:
                accepted = True
                await call.accept()


def _pass_on(reading: asyncio.Task[None], subscriber: Subscriber) -> None:
    """What goes wrong with the updates ends the call."""
    if not reading.cancelled() and (error := reading.exception()) is not None:
        subscriber.fail(error)


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
