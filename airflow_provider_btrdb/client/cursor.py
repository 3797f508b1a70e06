"""Where a read of points or windows stands: what to ask for next, and what of a page is new. Pure; no I/O.

A read that broke off goes on at the version that its first page pinned: points from the time of the last one on,
leaving out as many of that time as were handed out already (several points may share a time); windows after the last
complete one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic
from uuid import UUID

from airflow_provider_btrdb.client.codec import request as request_of
from airflow_provider_btrdb.client.errors import ProtocolError, StreamInterruptedError
from airflow_provider_btrdb.client.models import Points, Windows
from airflow_provider_btrdb.client.pages import Page, T, decode_arrow_points, decode_points, decode_windows
from airflow_provider_btrdb.protocol import MIN_TIME_NS
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


class Cursor(ABC, Generic[T]):
    """The state of one read of [start_ns, end_ns) of a stream; version 0 is the newest."""

    def __init__(self, uuid: UUID, start_ns: int, end_ns: int, version: int) -> None:
        self.uuid = uuid
        self.start = start_ns
        self.end = end_ns
        self.version = version
        """The version asked for; the one that is read, once a page has arrived."""
        self._asked = version
        self._buffered = 0

    @property
    def wire_version(self) -> int:
        """What to ask for: the pinned version, unless points were read that the server still buffers beside it."""
        return self._asked if self._buffered else self.version

    @abstractmethod
    def request(self) -> Any:
        """The request for all that has not been handed out yet; called once for each attempt."""

    @abstractmethod
    def decode(self, reply: bytes) -> Page[T]:
        """The bytes of a reply -> a page."""

    @abstractmethod
    def accept(self, page: Page[T]) -> T:
        """What is new of a page. Raises ProtocolError when the page is not one of this read."""

    @property
    def complete(self) -> bool:
        """Is there nothing left to ask for?"""
        return False

    def pin(self, page: Page[T]) -> None:
        """Hold the version of the first page; every other page must have it too.

        Servers that buffer inserts answer a read of the newest version with the buffer merged in, and say so by a
        minor version; that state cannot be asked for again, so a read that broke off may only go on while it lasts.
        """
        if page.version == 0:
            raise self.wrong("it has no version")
        if self.version in (0, page.version) and self._buffered in (0, page.minor):
            self.version, self._buffered = page.version, page.minor
        elif self._buffered:
            raise StreamInterruptedError("the stream changed while the read was broken off", uuid=str(self.uuid))
        else:
            raise self.wrong(f"version {self.version} was asked for and version {page.version} came")

    def wrong(self, what: str) -> ProtocolError:
        """The error for a page that does not belong here."""
        return ProtocolError(f"the server sent a wrong page: {what}", uuid=str(self.uuid))


class PointCursor(Cursor[Points]):
    """A read of raw points."""

    def __init__(self, uuid: UUID, start_ns: int, end_ns: int, version: int = 0) -> None:
        super().__init__(uuid, start_ns, end_ns, version)
        self._last: int | None = None
        self._delivered_at_last = 0
        self._to_skip = 0

    def request(self) -> Any:
        """From the last time on, if there is one."""
        self._to_skip = self._delivered_at_last
        start = self.start if self._last is None else self._last
        return request_of(
            pb.RawValuesParams, uuid=self.uuid.bytes, start=start, end=self.end, version_major=self.wire_version
        )

    def decode(self, reply: bytes) -> Page[Points]:
        """See `pages`."""
        return decode_points(reply)

    def accept(self, page: Page[Points]) -> Points:
        """The points that were not handed out yet."""
        self.pin(page)
        points = self._without_delivered(page.columns)
        if len(points) == 0:
            return points
        self._check_order(points)
        last = int(points.times[-1])
        at_last = len(points) - int(points.times.searchsorted(last))
        self._delivered_at_last = at_last + (self._delivered_at_last if last == self._last else 0)
        self._last = last
        return points

    def _without_delivered(self, points: Points) -> Points:
        if self._last is None or self._to_skip == 0 or len(points) == 0:
            return points
        known = int(points.times.searchsorted(self._last, side="right"))
        skipped = min(known, self._to_skip)
        if skipped < len(points) and skipped < self._to_skip:
            raise self.wrong("points that were handed out already are gone")
        self._to_skip = self._to_skip - skipped if skipped == len(points) else 0
        return Points(points.times[skipped:], points.values[skipped:])

    def _check_order(self, points: Points) -> None:
        lowest = self.start if self._last is None else self._last
        first, last = int(points.times[0]), int(points.times[-1])
        if first < lowest or last >= self.end or (points.times[1:] < points.times[:-1]).any():
            raise self.wrong("its points are out of order or outside the range asked for")


class ArrowPointCursor(PointCursor):
    """A read of raw points in Arrow."""

    def request(self) -> Any:
        """The same as for RawPoints."""
        plain = super().request()
        return pb.ArrowRawValuesParams(
            uuid=plain.uuid, start=plain.start, end=plain.end, version_major=plain.version_major
        )

    def decode(self, reply: bytes) -> Page[Points]:
        """See `pages`."""
        return decode_arrow_points(reply)


class WindowCursor(Cursor[Windows]):
    """A read of windows of one width; every start is `start_ns` plus a multiple of `width_ns`."""

    def __init__(
        self, uuid: UUID, start_ns: int, end_ns: int, version: int, width_ns: int, *, aligned_to: int | None
    ) -> None:
        super().__init__(uuid, start_ns, end_ns, version)
        self._width = width_ns
        self._point_width = aligned_to

    def request(self) -> Any:
        """From the end of the last window on: `start` moves with every page."""
        common: dict[str, Any] = {
            "uuid": self.uuid.bytes,
            "start": max(self.start, MIN_TIME_NS),  # rounding down may have left the times that BTrDB takes
            "end": self.end,
            "version_major": self.wire_version,
        }
        if self._point_width is not None:
            return request_of(pb.AlignedWindowsParams, **common, point_width=self._point_width)
        return request_of(pb.WindowsParams, **common, width=self._width)

    def decode(self, reply: bytes) -> Page[Windows]:
        """See `pages`."""
        return decode_windows(reply)

    @property
    def complete(self) -> bool:
        """The last window ended where the range does."""
        return self.start + self._width > self.end

    def accept(self, page: Page[Windows]) -> Windows:
        """All windows of a page."""
        self.pin(page)
        windows = page.columns
        if len(windows):
            first, last = int(windows.times[0]), int(windows.times[-1])
            # A width from 2**62 on is over what int64 can count with, and there are three such windows at most.
            off_grid = self._width < 2**62 and ((windows.times - self.start) % self._width).any()
            if first < self.start or last + self._width > self.end or off_grid or self._unordered(windows):
                raise self.wrong("its windows are out of order, off the grid or outside the range asked for")
            self.start = last + self._width
        return windows

    @staticmethod
    def _unordered(windows: Windows) -> bool:
        return bool((windows.times[1:] <= windows.times[:-1]).any())
