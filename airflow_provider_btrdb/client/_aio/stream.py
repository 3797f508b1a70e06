"""A handle on one stream: its metadata as last read, its points, its inserts."""

from __future__ import annotations

import time as clock
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any
from uuid import UUID

from airflow_provider_btrdb.client import rpcs
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client._aio.reads import resumed
from airflow_provider_btrdb.client.codec import from_key_values
from airflow_provider_btrdb.client.codec import request as request_of
from airflow_provider_btrdb.client.columns import INSERT_BATCH, Gathered, check_insertable, in_batches, joined_windows
from airflow_provider_btrdb.client.cursor import ArrowPointCursor, PointCursor, WindowCursor
from airflow_provider_btrdb.client.errors import (
    BTrDBError,
    InsertInterruptedError,
    InvalidPointWidthError,
    InvalidTimeRangeError,
    MetadataNotLoadedError,
    NoSuchPointError,
    PartialUpdateError,
    PropertyVersionMismatch,
    ProtocolError,
    StreamNotFoundError,
)
from airflow_provider_btrdb.client.identity import uuid_of
from airflow_provider_btrdb.client.models import MergePolicy, Point, Points, Windows
from airflow_provider_btrdb.client.pages import InsertRequests
from airflow_provider_btrdb.client.rpcs import Rpc
from airflow_provider_btrdb.client.times import TimeLike, time_range, to_ns
from airflow_provider_btrdb.client.updates import Update
from airflow_provider_btrdb.protocol import MAX_TIME_NS, MIN_TIME_NS
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


class AsyncStream:
    """A stream of a BTrDB connection.

    Properties never call the server: they show what the handle was made with or what `refresh()` read, and raise
    MetadataNotLoadedError when that is nothing (a handle made by `stream_from_uuid`).
    """

    __slots__ = ("_calls", "_descriptor", "_uuid")

    def __init__(self, calls: AsyncCalls, uuid: UUID | None, descriptor: pb.StreamDescriptor | None = None) -> None:
        """One of `uuid` and `descriptor` is needed. Few of many handles are asked for their uuid: it is made then."""
        self._calls = calls
        self._uuid = uuid
        self._descriptor = descriptor

    def __repr__(self) -> str:
        known = "" if self._descriptor is None else f" {self.collection}/{self.name}"
        return f"<{type(self).__name__} {self.uuid}{known}>"

    def __eq__(self, other: object) -> bool:
        """Handles of one uuid at one endpoint are equal."""
        if not isinstance(other, AsyncStream):
            return NotImplemented
        return self.uuid == other.uuid and self._calls.config.endpoint == other._calls.config.endpoint

    def __hash__(self) -> int:
        return hash(self.uuid)

    @property
    def uuid(self) -> UUID:
        """The stream's identity."""
        if self._uuid is None:
            self._uuid = uuid_of(self._loaded().uuid)
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
        reply = await self._stream_info(pb.StreamInfoParams(uuid=self.uuid.bytes, omit_version=True))
        if reply.descriptor.uuid != self.uuid.bytes:
            raise self._lacking("StreamInfo", "the descriptor of this stream")
        self._descriptor = reply.descriptor

    async def exists(self) -> bool:
        """Does the server know the uuid? Of a stream that the key may not read: False or PermissionDeniedError."""
        try:
            await self.refresh()
        except StreamNotFoundError:
            return False
        return True

    async def version(self) -> int:
        """The newest version of the data; every insert and delete makes a new one."""
        reply = await self._stream_info(pb.StreamInfoParams(uuid=self.uuid.bytes, omit_descriptor=True))
        return self._version_of(reply, "StreamInfo")

    async def values(self, start: TimeLike | None = None, end: TimeLike | None = None, version: int = 0) -> Points:
        """All points with start <= time < end, by time; duplicates in the order in which they were inserted.

        None stands for the beginning or the end of time; version 0 is the newest. Raises StreamNotFoundError,
        InvalidTimeRangeError, VersionNotAvailableError.
        """
        gathered = Gathered()
        async for page in self.values_iter(start, end, version):
            gathered.add(page)
        return gathered.points()

    async def values_iter(
        self, start: TimeLike | None = None, end: TimeLike | None = None, version: int = 0
    ) -> AsyncIterator[Points]:
        """The same page by page, all at one version, in bounded memory.

        A read that breaks off goes on after the last point that was handed out: no gap, no point twice.
        """
        start_ns, end_ns = time_range(start, end)
        arrow = await self._calls.prefers_arrow()
        make, rpc = (ArrowPointCursor, rpcs.ARROW_RAW_VALUES) if arrow else (PointCursor, rpcs.RAW_VALUES)
        # Closing this must end the call now, not when the collector finds what it reads from.
        async with aclosing(resumed(self._calls, rpc, make(self.uuid, start_ns, end_ns, version))) as pages:
            async for points in pages:
                yield points

    async def windows(self, start: TimeLike, end: TimeLike, width: int, depth: int = 0, version: int = 0) -> Windows:
        """Statistics of windows of `width` nanoseconds, the first one at `start`; empty windows are left out.

        A last window that `end` would cut is not part of the result. `depth` is accepted for BTrDB's sake and is
        always 0 on the wire, as v5 servers compute exactly. Raises InvalidTimeRangeError, InvalidPointWidthError.
        """
        start_ns, end_ns = time_range(start, end)
        if not isinstance(width, int) or not 0 < width < 2**63:
            raise InvalidPointWidthError(f"a window is {width} ns wide and must be 1 to 2**63 - 1", uuid=self.uuid)
        if not 0 <= depth < 64:
            raise InvalidPointWidthError(f"depth is {depth} and must be 0 to 63", uuid=self.uuid)
        cursor = WindowCursor(self.uuid, start_ns, end_ns, version, width, aligned_to=None)
        return joined_windows([page async for page in resumed(self._calls, rpcs.WINDOWS, cursor)])

    async def aligned_windows(self, start: TimeLike, end: TimeLike, pointwidth: int, version: int = 0) -> Windows:
        """Statistics of windows of 2**pointwidth nanoseconds that start at multiples of it; much faster than `windows`.

        `start` and `end` are rounded down to such multiples. Empty windows are left out. Raises
        InvalidTimeRangeError, InvalidPointWidthError.
        """
        start_ns, end_ns = time_range(start, end)
        if not isinstance(pointwidth, int) or not 0 <= pointwidth < 64:
            raise InvalidPointWidthError(f"point width is {pointwidth} and must be 0 to 63", uuid=self.uuid)
        step = 1 << pointwidth
        first, last = start_ns - start_ns % step, end_ns - end_ns % step
        if first >= last:
            if start_ns >= end_ns:
                raise InvalidTimeRangeError(f"start {start_ns} is not before end {end_ns}", uuid=self.uuid)
            return joined_windows([])
        cursor = WindowCursor(self.uuid, first, last, version, step, aligned_to=pointwidth)
        return joined_windows([page async for page in resumed(self._calls, rpcs.ALIGNED_WINDOWS, cursor)])

    async def nearest(self, time: TimeLike, version: int = 0, backward: bool = False) -> Point | None:
        """The first point at or after `time`, or with `backward` the last one before it; None if there is none."""
        request = request_of(
            pb.NearestParams, uuid=self.uuid.bytes, time=to_ns(time), version_major=version, backward=backward
        )
        try:
            reply = await self._calls.unary(rpcs.NEAREST, request, uuid=self.uuid)
        except NoSuchPointError:
            return None
        if not reply.HasField("value"):
            raise self._lacking("Nearest", "a point")
        if (reply.value.time >= request.time) is backward:
            raise self._lacking("Nearest", "a point in the direction asked for")
        return Point(reply.value.time, reply.value.value)

    async def earliest(self, version: int = 0) -> Point | None:
        """The first point; None in an empty stream."""
        return await self.nearest(MIN_TIME_NS, version)

    async def latest(self, version: int = 0) -> Point | None:
        """The last point; None in an empty stream."""
        return await self.nearest(MAX_TIME_NS - 1, version, backward=True)

    async def current(self, version: int = 0) -> Point | None:
        """The last point that is not in the future; None if there is none."""
        return await self.nearest(clock.time_ns(), version, backward=True)

    async def first(self, start: TimeLike | None = None, end: TimeLike | None = None, version: int = 0) -> Point | None:
        """The first point with start <= time < end; None if there is none."""
        start_ns, end_ns = time_range(start, end)
        point = await self.nearest(start_ns, version)
        return point if point is not None and point.time < end_ns else None

    async def last(self, start: TimeLike | None = None, end: TimeLike | None = None, version: int = 0) -> Point | None:
        """The last point with start <= time < end; None if there is none."""
        start_ns, end_ns = time_range(start, end)
        point = await self.nearest(end_ns, version, backward=True)
        return point if point is not None and point.time >= start_ns else None

    async def count(
        self,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        version: int = 0,
        *,
        approximate: bool = False,
    ) -> int:
        """How many points have start <= time < end.

        `approximate=True` counts aligned windows instead, which is faster on a large stream and may be off by the
        points of the two windows at the edges.
        """
        start_ns, end_ns = time_range(start, end)
        if not approximate:
            windows = await self.windows(start_ns, end_ns, max(end_ns - start_ns, 1), version=version)
        else:
            pointwidth = max((end_ns - start_ns).bit_length() - 5, 0)
            windows = await self.aligned_windows(start_ns, end_ns, pointwidth, version)
        return int(windows.count.sum())

    async def changes(self, from_version: int, to_version: int = 0, resolution: int = 0) -> list[tuple[int, int]]:
        """Half-open ranges [start, end) of nanoseconds in which points changed after one version and up to another.

        Version 0 as `to_version` is the newest. Ranges are sorted, do not touch, and are grown to multiples of
        2**resolution nanoseconds. Raises InvalidVersionsError.
        """
        request = request_of(
            pb.ChangesParams, uuid=self.uuid.bytes, from_major=from_version, to_major=to_version, resolution=resolution
        )
        pages = await self._calls.listing(rpcs.CHANGES, request, lambda page: [page], uuid=self.uuid)
        if not pages or not all(page.version_major for page in pages):
            raise self._lacking("Changes", "a version")
        return [(changed.start, changed.end) for page in pages for changed in page.ranges]

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
        check_insertable(columns, self.uuid)
        rpc = rpcs.INSERT_ONCE if policy is MergePolicy.NEVER else rpcs.INSERT_AGAIN
        if len(columns) == 0:
            return await self.version()
        stored = 0
        version = 0
        requests = InsertRequests(self.uuid, policy, min(len(columns), INSERT_BATCH))
        for batch in in_batches(columns):
            try:
                reply = await self._calls.unary(rpc, requests.encode(batch), uuid=self.uuid)
            except BTrDBError as error:
                twice = policy is MergePolicy.NEVER and (stored > 0 or error.reply_lost)
                if stored == 0 and not twice:
                    raise  # nothing is stored, or storing it again changes nothing
                raise self._interrupted(error, stored, len(columns), error.retryable and not twice) from error
            stored += len(batch)
            version = self._version_of(reply, "Insert")
        return version

    async def subscribe(self) -> AsyncIterator[Points]:
        """Points of this stream as they are inserted, from now on; see `BTrDB.subscribe`. Needs the extra `arrow`."""
        from airflow_provider_btrdb.client._aio.subscription import subscription

        async with aclosing(subscription(self._calls, [self.uuid])) as items:
            async for _, points in items:
                yield points

    async def delete(self, start: TimeLike, end: TimeLike, *, repeat: bool = True) -> int:
        """Remove the points with start <= time < end; returns the new version (there is one even if nothing matched).

        A call whose reply was lost is made again, which would also remove what another writer has put into the range
        in between; `repeat=False` turns that off. Raises InvalidTimeRangeError.
        """
        start_ns, end_ns = time_range(start, end)
        request = request_of(pb.DeleteParams, uuid=self.uuid.bytes, start=start_ns, end=end_ns)
        rpc = rpcs.DELETE_AGAIN if repeat else rpcs.DELETE_ONCE
        return self._version_of(await self._calls.unary(rpc, request, uuid=self.uuid), "Delete")

    async def flush(self) -> int:
        """Have buffered points committed, on servers that buffer; returns the version."""
        request = pb.FlushParams(uuid=self.uuid.bytes)
        return self._version_of(await self._calls.unary(rpcs.FLUSH, request, uuid=self.uuid), "Flush")

    async def obliterate(self) -> None:
        """Remove the stream for good; its uuid can never be used again. Raises StreamNotFoundError and others."""
        request = request_of(pb.ObliterateParams, uuid=self.uuid.bytes)
        try:
            await self._calls.unary(rpcs.OBLITERATE, request, uuid=self.uuid)
        except StreamNotFoundError as error:
            if not error.reply_lost:  # otherwise an earlier attempt did it
                raise

    async def update(
        self,
        tags: Mapping[str, str] | None = None,
        annotations: Mapping[str, str | None] | None = None,
        collection: str | None = None,
        *,
        remove_tags: Iterable[str] = (),
        remove_annotations: Iterable[str] = (),
    ) -> int:
        """Change tags, collection and annotations; what is not mentioned stays. Returns the new property version.

        The change is made only if the stream still has the property version that this handle last read (it is read
        now if it never was); otherwise PropertyVersionMismatch, and `refresh()` shows what is there. Tags and
        annotations are two calls: if the second fails after the first was done, PartialUpdateError says so.
        """
        change = Update.of(tags, collection, annotations, remove_tags, remove_annotations)
        if self._descriptor is None:
            await self.refresh()
        expected = self.property_version
        if change.changes_tags:
            request: Any = change.tags_request(self.uuid.bytes, expected)
            await self._change(rpcs.SET_TAGS, request, change.tags_hold)
            self._descriptor = change.with_tags(self._loaded())
            expected += 1
        if change.changes_annotations:
            request = change.annotations_request(self.uuid.bytes, expected)
            try:
                await self._change(rpcs.SET_ANNOTATIONS, request, change.annotations_hold)
            except BTrDBError as error:
                if not change.changes_tags:
                    raise
                raise PartialUpdateError(
                    f"tags and collection are changed, annotations are not: {error.message}",
                    done=("tags",),
                    method=error.method,
                    endpoint=error.endpoint,
                    uuid=self.uuid,
                    server_code=error.server_code,
                ) from error
            self._descriptor = change.with_annotations(self._loaded())
        return self.property_version

    async def _change(self, rpc: Rpc, request: Any, holds: Callable[[pb.StreamDescriptor], bool]) -> None:
        """One compare-and-set; after a lost reply a mismatch may be our own change, which reading tells."""
        try:
            await self._calls.unary(rpc, request, uuid=self.uuid)
        except PropertyVersionMismatch as error:
            if not error.reply_lost:
                raise
            found = AsyncStream(self._calls, self.uuid)  # not into this handle: nobody has looked at it yet
            await found.refresh()
            if found.property_version != request.expected_property_version + 1 or not holds(found._loaded()):
                raise

    def _interrupted(self, error: BTrDBError, stored: int, total: int, retryable: bool) -> InsertInterruptedError:
        interrupted = InsertInterruptedError(
            f"{stored} of {total} points are certainly stored, then: {error.message}",
            stored=stored,
            total=total,
            retryable=retryable,
            method="Insert",
            endpoint=self._calls.config.endpoint,
            uuid=self.uuid,
        )
        interrupted.reply_lost = error.reply_lost
        return interrupted

    async def _stream_info(self, request: pb.StreamInfoParams) -> pb.StreamInfoResponse:
        reply: pb.StreamInfoResponse = await self._calls.unary(rpcs.STREAM_INFO, request, uuid=self.uuid)
        return reply

    def _version_of(self, reply: Any, method: str) -> int:
        if not reply.version_major:
            raise self._lacking(method, "a version")
        return int(reply.version_major)

    def _lacking(self, method: str, what: str) -> ProtocolError:
        return ProtocolError(
            f"the server's reply lacks {what}",
            method=method,
            endpoint=self._calls.config.endpoint,
            uuid=self.uuid,
        )

    def _loaded(self) -> pb.StreamDescriptor:
        if self._descriptor is None:
            raise MetadataNotLoadedError(f"the metadata of stream {self.uuid} has not been read: call refresh() first")
        return self._descriptor
