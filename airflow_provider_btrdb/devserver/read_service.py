"""The handlers that read points."""

from __future__ import annotations

import uuid as uuidlib
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

from airflow_provider_btrdb.devserver import arrow, checks, export, merge, multi, pages, windows
from airflow_provider_btrdb.devserver.changes import ChangeReader
from airflow_provider_btrdb.devserver.database import Database
from airflow_provider_btrdb.devserver.dispatch import Call
from airflow_provider_btrdb.devserver.errors import Refusal
from airflow_provider_btrdb.devserver.limits import Limits
from airflow_provider_btrdb.devserver.points import PointReader, paged
from airflow_provider_btrdb.protocol import MAX_TIME_NS, MIN_TIME_NS, Code
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

MAX_SNAP_PERIOD = 1 << 60
CELLS_PER_PAGE = 500_000
"""Bounds a page of ArrowMultiValues, whatever the number of its columns (4 MB)."""

WindowRequest = pb.WindowsParams | pb.AlignedWindowsParams


class ReadService:
    """Reads; nothing is held in memory but a few chunks of each stream."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._reader = PointReader(database)
        self._changes = ChangeReader(database, self._reader)
        self._limits = limits

    def unary(self) -> dict[str, Callable[[Call, Any], Coroutine[Any, Any, Any]]]:
        """Handlers by method."""
        return {"Nearest": self.nearest}

    def streams(self) -> dict[str, Callable[[Call, Any], AsyncIterator[Any]]]:
        """Handlers by method."""
        return {
            "RawValues": self.raw_values,
            "ArrowRawValues": self.arrow_raw_values,
            "ArrowMultiValues": self.arrow_multi_values,
            "Windows": self.plain_windows,
            "AlignedWindows": self.plain_windows,
            "ArrowWindows": partial(self.arrow_windows, pb.ArrowWindowsResponse),
            "ArrowAlignedWindows": partial(self.arrow_windows, pb.ArrowAlignedWindowsResponse),
            "Changes": self.changes,
            "GenerateCSV": self.generate_csv,
        }

    async def nearest(self, call: Call, request: pb.NearestParams) -> pb.NearestResponse:
        """Forward includes the time asked for, backward does not."""
        uuid = checks.stream_uuid(request.uuid)
        checks.single_time(request.time)
        version, time, value = await self._reader.nearest(
            uuid, request.version_major, request.time, backward=request.backward, allow=call.may("read")
        )
        return pb.NearestResponse(version_major=version, value=pb.RawPoint(time=time, value=value))

    async def raw_values(self, call: Call, request: pb.RawValuesParams) -> AsyncIterator[bytes]:
        """Pages in order of time; one empty page if there is no point."""
        uuid = checks.stream_uuid(request.uuid)
        checks.time_range(request.start, request.end)
        extent = await self._reader.extent(uuid, request.version_major, request.start, request.end, call.may("read"))
        blocks = self._reader.blocks(extent, request.start, request.end)
        async for page in paged(blocks, self._limits.raw_page_points):
            yield pages.raw_values(page, extent.version)

    async def arrow_raw_values(
        self, call: Call, request: pb.ArrowRawValuesParams
    ) -> AsyncIterator[pb.ArrowRawValuesResponse]:
        """The same in columns, cast to the caller's template if there is one."""
        uuid = checks.stream_uuid(request.uuid)
        checks.time_range(request.start, request.end)
        wanted = arrow.template(request.template_bytes, 2)
        extent = await self._reader.extent(uuid, request.version_major, request.start, request.end, call.may("read"))
        blocks = self._reader.blocks(extent, request.start, request.end)
        async for page in paged(blocks, self._limits.arrow_page_points):
            data = arrow.page(arrow.RAW_SCHEMA, [page.t, page.v], wanted)
            yield pb.ArrowRawValuesResponse(version_major=extent.version, arrow_bytes=data)

    async def plain_windows(self, call: Call, request: WindowRequest) -> AsyncIterator[bytes]:
        """Windows and AlignedWindows: pages without the empty ones; one empty page if there is none."""
        version, rows = await self._window_rows(call, request)
        async for page in windows.paged(rows, self._limits.raw_page_points):
            yield pages.windows(page, version)

    async def arrow_windows(self, response: Any, call: Call, request: WindowRequest) -> AsyncIterator[Any]:
        """ArrowWindows and ArrowAlignedWindows."""
        version, rows = await self._window_rows(call, request)
        async for page in windows.paged(rows, self._limits.arrow_page_points):
            yield response(version_major=version, arrow_bytes=arrow.window_page(page))

    async def _window_rows(self, call: Call, request: WindowRequest) -> tuple[int, AsyncIterator[windows.Rows]]:
        uuid, version = checks.stream_uuid(request.uuid), request.version_major
        if isinstance(request, pb.WindowsParams):
            shape = request.width, request.depth
            return await self._folded(call, uuid, request.start, request.end, version, stepped=shape)
        return await self._folded(call, uuid, request.start, request.end, version, point_width=request.point_width)

    async def _folded(
        self,
        call: Call,
        uuid: uuidlib.UUID,
        start: int,
        end: int,
        version: int,
        *,
        stepped: tuple[int, int] | None = None,
        point_width: int = 0,
    ) -> tuple[int, AsyncIterator[windows.Rows]]:
        """Version and rows, either of windows of (width, depth) from start or of aligned windows."""
        if stepped is not None:
            checks.window_width(*stepped)
        else:
            checks.point_width(point_width)
        checks.time_range(start, end)
        if stepped is not None:
            start, end = windows.stepped_range(start, end, stepped[0])
            # A width of 2^63 fits no int64, and no range either: there is nothing to fold then.
            window_of = windows.stepped(start, min(stepped[0], MAX_TIME_NS - MIN_TIME_NS))
        else:
            start, end = windows.aligned_range(start, end, point_width)
            window_of = windows.aligned(point_width)
        extent = await self._reader.extent(uuid, version, start, end, call.may("read"))
        return extent.version, windows.fold(self._reader.blocks(extent, start, end), window_of)

    async def changes(self, call: Call, request: pb.ChangesParams) -> AsyncIterator[pb.ChangesResponse]:
        """Pages of ranges; one empty page if nothing changed."""
        uuid = checks.stream_uuid(request.uuid)
        checks.point_width(request.resolution, "resolution")
        version, ranges = await self._changes.between(
            uuid, request.from_major, request.to_major, request.resolution, call.may("read")
        )
        size = self._limits.descriptor_page
        for first in range(0, max(len(ranges), 1), size):
            part = [pb.ChangedRange(start=start, end=end) for start, end in ranges[first : first + size]]
            yield pb.ChangesResponse(version_major=version, ranges=part)

    async def arrow_multi_values(
        self, call: Call, request: pb.ArrowMultiValuesParams
    ) -> AsyncIterator[pb.ArrowMultiValuesResponse]:
        """One row per time at which any of the streams has a point."""
        uuids = [checks.stream_uuid(raw) for raw in request.uuids]
        versions = list(request.version_majors) or [0] * len(uuids)
        self._check_streams(len(uuids))
        if len(versions) != len(uuids):
            raise Refusal(Code.WRONG_ARGUMENTS, "there must be one version per stream")
        start, end, period = request.start, request.end, request.snap_period_ns
        checks.time_range(start, end)
        if not 0 <= period <= MAX_SNAP_PERIOD:
            raise Refusal(Code.INVALID_PARAMETER, "invalid snap period")
        schema = arrow.multi_schema([str(uuid) for uuid in uuids])
        wanted = arrow.template(request.template_bytes, len(schema))
        low = max(start - period // 2, MIN_TIME_NS)
        sources = []
        for uuid, version in zip(uuids, versions, strict=True):
            extent = await self._reader.extent(uuid, version, low, end, call.may("read"))
            blocks = self._reader.blocks(extent, low, end, fetch=1)
            sources.append(multi.snapped(blocks, period, start, end) if period else multi.distinct(blocks))
        size = max(1, min(self._limits.arrow_page_points, CELLS_PER_PAGE // len(schema)))
        empty = True
        async for parts in multi.side_by_side(sources):
            columns = multi.table(parts)
            for first in range(0, len(columns[0]), size):
                empty = False
                data = arrow.page(schema, [column[first : first + size] for column in columns], wanted)
                yield pb.ArrowMultiValuesResponse(arrow_bytes=data)
        if empty:
            yield pb.ArrowMultiValuesResponse(
                arrow_bytes=arrow.page(schema, [merge.NO_POINTS.v for _ in schema], wanted)
            )

    async def generate_csv(self, call: Call, request: pb.GenerateCSVParams) -> AsyncIterator[pb.GenerateCSVResponse]:
        """A header, then one row per message."""
        self._check_streams(len(request.streams))
        checks.time_range(request.start_time, request.end_time)
        raw = request.query_type == pb.GenerateCSVParams.RAW_QUERY
        labels, sources = [], []
        for stream in request.streams:
            version, source = await self._csv_source(call, request, stream)
            labels.append(f"{stream.label}, ver. {version}" if request.include_versions else stream.label)
            sources.append(source)
        fields = export.RAW_FIELDS if raw else export.WINDOW_FIELDS
        yield export.header(labels, fields)
        async for line in export.lines(sources, fields):
            yield line

    async def _csv_source(
        self, call: Call, request: pb.GenerateCSVParams, stream: pb.StreamCSVConfig
    ) -> tuple[int, AsyncIterator[multi.Rows]]:
        uuid, start, end = checks.stream_uuid(stream.uuid), request.start_time, request.end_time
        if request.query_type == pb.GenerateCSVParams.RAW_QUERY:
            extent = await self._reader.extent(uuid, stream.version, start, end, call.may("read"))
            return extent.version, multi.raw_rows(self._reader.blocks(extent, start, end, fetch=1))
        if request.query_type == pb.GenerateCSVParams.WINDOWS_QUERY:
            shape = request.window_size, request.depth
            return await self._folded(call, uuid, start, end, stream.version, stepped=shape)
        if request.query_type == pb.GenerateCSVParams.ALIGNED_WINDOWS_QUERY:
            return await self._folded(call, uuid, start, end, stream.version, point_width=request.depth)
        raise Refusal(Code.WRONG_ARGUMENTS, "unknown query type")

    def _check_streams(self, count: int) -> None:
        if not 1 <= count <= self._limits.multi_streams:
            raise Refusal(Code.WRONG_ARGUMENTS, f"between 1 and {self._limits.multi_streams} streams, not {count}")
