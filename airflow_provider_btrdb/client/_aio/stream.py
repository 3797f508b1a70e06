"""A handle on one stream: its metadata as last read, its points, its inserts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any
from uuid import UUID

from airflow_provider_btrdb.client import rpcs
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client.codec import decode_page, encode_insert, from_key_values
from airflow_provider_btrdb.client.columns import check_insertable, concatenated, in_batches
from airflow_provider_btrdb.client.cursor import ReadCursor
from airflow_provider_btrdb.client.errors import (
    BTrDBError,
    InsertInterruptedError,
    MetadataNotLoadedError,
    StreamNotFoundError,
)
from airflow_provider_btrdb.client.models import MergePolicy, Points
from airflow_provider_btrdb.client.policy import Budget, may_repeat
from airflow_provider_btrdb.client.status import error_from_stat
from airflow_provider_btrdb.client.times import TimeLike, time_range
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


class AsyncStream:
    """A stream of a BTrDB connection.

    Properties never call the server: they show what the handle was made with or what `refresh()` read, and raise
    MetadataNotLoadedError when that is nothing (a handle made by `stream_from_uuid`).
    """

    def __init__(self, calls: AsyncCalls, uuid: UUID, descriptor: pb.StreamDescriptor | None = None) -> None:
        self._calls = calls
        self._uuid = uuid
        self._descriptor = descriptor

    def __repr__(self) -> str:
        known = "" if self._descriptor is None else f" {self.collection}/{self.name}"
        return f"<{type(self).__name__} {self._uuid}{known}>"

    def __eq__(self, other: object) -> bool:
        """Handles of one uuid at one endpoint are equal."""
        if not isinstance(other, AsyncStream):
            return NotImplemented
        return self._uuid == other._uuid and self._calls.config.endpoint == other._calls.config.endpoint

    def __hash__(self) -> int:
        return hash(self._uuid)

    @property
    def uuid(self) -> UUID:
        """The stream's identity."""
        return self._uuid

    @property
    def collection(self) -> str:
        """The path of the collection, for example `grid/substation1`."""
        return self._loaded().collection

    @property
    def name(self) -> str:
        """The tag `name`."""
        return self.tags.get("name") or ""

    @property
    def unit(self) -> str:
        """The tag `unit`."""
        return self.tags.get("unit") or ""

    @property
    def tags(self) -> dict[str, str | None]:
        """All tags: name, unit, ingress, distiller."""
        return from_key_values(self._loaded().tags)

    @property
    def annotations(self) -> dict[str, str | None]:
        """Annotations exactly as stored: text stays text, null is None."""
        return from_key_values(self._loaded().annotations)

    @property
    def property_version(self) -> int:
        """The version of tags and annotations: 1 at creation, one more with every change."""
        return self._loaded().property_version

    async def refresh(self) -> None:
        """Read tags, annotations, collection and property version. Raises StreamNotFoundError."""
        reply = await self._stream_info(pb.StreamInfoParams(uuid=self._uuid.bytes, omit_version=True))
        self._descriptor = reply.descriptor

    async def exists(self) -> bool:
        """Does the server know the uuid? False also for a stream that this key may not see."""
        try:
            await self.refresh()
        except StreamNotFoundError:
            return False
        return True

    async def version(self) -> int:
        """The newest version of the data; every insert and delete makes a new one."""
        reply = await self._stream_info(pb.StreamInfoParams(uuid=self._uuid.bytes, omit_descriptor=True))
        return int(reply.version_major)

    async def values(self, start: TimeLike | None = None, end: TimeLike | None = None, version: int = 0) -> Points:
        """All points with start <= time < end, by time; duplicates in the order in which they were inserted.

        None stands for the beginning or the end of time; version 0 is the newest. Raises StreamNotFoundError,
        InvalidTimeRangeError, VersionNotAvailableError.
        """
        return concatenated([page async for page in self.values_iter(start, end, version)])

    async def values_iter(
        self, start: TimeLike | None = None, end: TimeLike | None = None, version: int = 0
    ) -> AsyncIterator[Points]:
        """The same page by page, all at one version, in bounded memory.

        A read that breaks off goes on after the last point that was handed out: no gap, no point twice.
        """
        start_ns, end_ns = time_range(start, end)
        cursor = ReadCursor(self._uuid, start_ns, end_ns, version)
        budget = Budget(self._calls.config.retry_total)
        broken: BTrDBError | None = None
        while True:
            stream = await self._calls.open(
                rpcs.RAW_VALUES, cursor.request(), budget, uuid=str(self._uuid), after=broken
            )
            try:
                while stream.page is not None:
                    points = self._checked(cursor, stream.page)
                    if len(points):
                        yield points
                        budget.renew()
                    await stream.advance()
                return
            except BTrDBError as error:
                if not may_repeat(error, rpcs.RAW_VALUES.repeat):
                    raise
                broken = error
            finally:
                stream.cancel()

    async def insert(
        self, points: Points | Iterable[tuple[Any, float]], merge: MergePolicy | str = MergePolicy.NEVER
    ) -> int:
        """Store points, given as Points or as (time, value) pairs in any order; returns the new version.

        `merge` says what happens at a time that is already taken. With "never" a call whose reply was lost is not
        repeated, because the points could be stored twice; the others are. Everything is checked before anything is
        sent: BadValueError for NaN and infinity, InvalidTimeRangeError for times that BTrDB cannot hold. Raises
        InsertInterruptedError when some of several batches were stored.
        """
        columns = Points.of(points)
        policy = MergePolicy.parse(merge)
        check_insertable(columns, str(self._uuid))
        rpc = rpcs.INSERT_ONCE if policy is MergePolicy.NEVER else rpcs.INSERT_AGAIN
        if len(columns) == 0:
            return await self.version()
        stored = 0
        version = 0
        for batch in in_batches(columns):
            try:
                reply = await self._calls.unary(rpc, encode_insert(self._uuid, batch, policy), uuid=str(self._uuid))
            except BTrDBError as error:
                if stored == 0 and len(batch) == len(columns):
                    raise
                raise self._interrupted(error, stored, len(columns)) from error
            stored += len(batch)
            version = int(reply.version_major)
        return version

    def _interrupted(self, error: BTrDBError, stored: int, total: int) -> InsertInterruptedError:
        interrupted = InsertInterruptedError(
            f"{stored} of {total} points are certainly stored, then: {error.message}",
            stored=stored,
            total=total,
            method="Insert",
            endpoint=self._calls.config.endpoint,
            uuid=str(self._uuid),
        )
        interrupted.reply_lost = error.reply_lost
        return interrupted

    def _checked(self, cursor: ReadCursor, data: bytes) -> Points:
        page = decode_page(data)
        if page.stat is not None and page.stat.code:
            raise error_from_stat(page.stat, rpcs.RAW_VALUES.name, self._calls.config, str(self._uuid))
        return cursor.accept(page)

    async def _stream_info(self, request: pb.StreamInfoParams) -> pb.StreamInfoResponse:
        reply: pb.StreamInfoResponse = await self._calls.unary(rpcs.STREAM_INFO, request, uuid=str(self._uuid))
        return reply

    def _loaded(self) -> pb.StreamDescriptor:
        if self._descriptor is None:
            raise MetadataNotLoadedError(f"the metadata of stream {self._uuid} has not been read: call refresh() first")
        return self._descriptor
