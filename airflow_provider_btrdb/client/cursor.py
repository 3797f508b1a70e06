"""Where a read of raw points stands: what to ask for next, and which points of a page are new. Pure; no I/O.

A read that broke off goes on at the version that its first page pinned, from the time of the last point on, leaving
out as many points of that time as were handed out already (several points may share a time).
"""

from __future__ import annotations

from uuid import UUID

from airflow_provider_btrdb.client.codec import Page
from airflow_provider_btrdb.client.errors import ProtocolError
from airflow_provider_btrdb.client.models import Points
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


class ReadCursor:
    """The state of one read of [start_ns, end_ns) of a stream; version 0 is the newest."""

    def __init__(self, uuid: UUID, start_ns: int, end_ns: int, version: int = 0) -> None:
        self._uuid = uuid
        self._start = start_ns
        self._end = end_ns
        self.version = version
        """The version asked for; the one that is read, once a page has arrived."""
        self._last: int | None = None
        self._delivered_at_last = 0
        self._to_skip = 0

    def request(self) -> pb.RawValuesParams:
        """The request for all that has not been handed out yet; called once for each attempt."""
        self._to_skip = self._delivered_at_last
        start = self._start if self._last is None else self._last
        return pb.RawValuesParams(uuid=self._uuid.bytes, start=start, end=self._end, version_major=self.version)

    def accept(self, page: Page) -> Points:
        """The new points of a page. Raises ProtocolError when the page is not one of this read."""
        self._pin(page.version)
        points = self._without_delivered(page.points)
        if len(points) == 0:
            return points
        self._check_order(points)
        last = int(points.times[-1])
        at_last = len(points) - int(points.times.searchsorted(last))
        self._delivered_at_last = at_last + (self._delivered_at_last if last == self._last else 0)
        self._last = last
        return points

    def _pin(self, version: int) -> None:
        if self.version == 0:
            self.version = version
        elif version != self.version:
            raise self._wrong(f"version {self.version} was asked for and version {version} came")

    def _without_delivered(self, points: Points) -> Points:
        if self._last is None or self._to_skip == 0 or len(points) == 0:
            return points
        known = int(points.times.searchsorted(self._last, side="right"))
        skipped = min(known, self._to_skip)
        self._to_skip = self._to_skip - skipped if skipped == len(points) else 0
        return Points(points.times[skipped:], points.values[skipped:])

    def _check_order(self, points: Points) -> None:
        lowest = self._start if self._last is None else self._last
        first, last = int(points.times[0]), int(points.times[-1])
        if first < lowest or last >= self._end or (points.times[1:] < points.times[:-1]).any():
            raise self._wrong("its points are out of order or outside the range asked for")

    def _wrong(self, what: str) -> ProtocolError:
        return ProtocolError(f"the server sent a wrong page: {what}", method="RawValues", uuid=str(self._uuid))
