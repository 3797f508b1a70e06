"""Reading points at a version: which chunks, then their contents, a few at a time.

A chunk never changes, and stays when something replaces it; so a read needs no transaction: the list of chunks is the
snapshot. Only Obliterate removes chunks, and a read that misses one says so.
"""

from __future__ import annotations

import uuid as uuidlib
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import numpy as np

from airflow_provider_btrdb.devserver import chunks, merge
from airflow_provider_btrdb.devserver.database import Database
from airflow_provider_btrdb.devserver.errors import Refusal, no_such_stream
from airflow_provider_btrdb.devserver.merge import NO_POINTS, Points
from airflow_provider_btrdb.devserver.schema import FIRST_VERSION, LIVE
from airflow_provider_btrdb.protocol import Code

Allow = Callable[[str], None]
"""Raises unless the caller may act on the stream's collection."""

FETCH_POINTS = 4 * chunks.CHUNK_POINTS


class ChunkRef(NamedTuple):
    """A chunk without its contents."""

    cid: int
    tmin: int
    tmax: int
    n: int


class Extent(NamedTuple):
    """The chunks of a stream at one version that overlap a range of time, sorted."""

    sid: int
    version: int
    chunks: list[ChunkRef]


_HEAD = f"""
SELECT s.sid, s.version, s.collection, c.cid, c.tmin, c.tmax, c.n FROM btrdb.stream s
LEFT JOIN btrdb.chunk c ON c.sid = s.sid AND c.vto = {LIVE} AND c.tmin < %s AND c.tmax >= %s
WHERE s.uuid = %s ORDER BY c.tmin
"""  # noqa: S608 - our own constant: a parameter would hide the partial index from the planner
_OLD = """
SELECT s.sid, s.version, s.collection, c.cid, c.tmin, c.tmax, c.n FROM btrdb.stream s
LEFT JOIN btrdb.chunk c ON c.sid = s.sid AND c.tmin < %s AND c.tmax >= %s AND c.vfrom <= %s AND c.vto > %s
WHERE s.uuid = %s ORDER BY c.tmin
"""


class PointReader:
    """Reads of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def version(self, uuid: uuidlib.UUID, allow: Allow) -> int:
        """The newest version of a stream."""
        rows = await self._database.fetch("SELECT version, collection FROM btrdb.stream WHERE uuid = %s", [uuid])
        if not rows:
            raise no_such_stream()
        allow(rows[0][1])
        return int(rows[0][0])

    async def extent(self, uuid: uuidlib.UUID, version: int, start: int, end: int, allow: Allow) -> Extent:
        """What [start, end) touches at `version`; 0 is the newest."""
        rows = await (
            self._database.fetch(_OLD, [end, start, version, version, uuid])
            if 0 < version < LIVE
            else self._database.fetch(_HEAD, [end, start, uuid])
        )
        if not rows:
            raise no_such_stream()
        sid, newest, collection = rows[0][:3]
        allow(collection)
        if version and not FIRST_VERSION <= version <= newest:
            raise Refusal(Code.VERSION_NOT_AVAILABLE, f"version {version} is not available")
        found = [ChunkRef(*row[3:]) for row in rows if row[3] is not None]
        return Extent(sid, version or newest, found)

    async def load(self, cids: list[int]) -> dict[int, Points]:
        """Contents of chunks."""
        rows = await self._database.fetch("SELECT cid, n, data FROM btrdb.chunk WHERE cid = ANY(%s)", [cids])
        if len(rows) < len(cids):
            raise no_such_stream()  # obliterated while we read
        return {cid: chunks.decode(data, count) for cid, count, data in rows}

    async def blocks(self, extent: Extent, start: int, end: int, fetch: int = FETCH_POINTS) -> AsyncIterator[Points]:
        """The points of [start, end), in stretches of a few chunks: at most `fetch` points, or one chunk."""
        group: list[ChunkRef] = []
        size = 0
        for ref in [*extent.chunks, None]:
            if ref is None or (group and size + ref.n > fetch):
                if group:
                    contents = await self.load([member.cid for member in group])
                    points = merge.join([contents[member.cid] for member in group])
                    first, last = np.searchsorted(points.t, [start, end])
                    if first < last:
                        yield points.take(slice(int(first), int(last)))
                group, size = [], 0
            if ref is not None:
                group.append(ref)
                size += ref.n

    async def nearest(
        self, uuid: uuidlib.UUID, version: int, time: int, *, backward: bool, allow: Allow
    ) -> tuple[int, int, float]:
        """Version, time and value of the first point at or after `time`, or of the last before it."""
        start, end = (-LIVE, time) if backward else (time, LIVE)
        extent = await self.extent(uuid, version, start, end, allow)
        if not extent.chunks:
            raise Refusal(Code.NO_SUCH_POINT, "no such point")
        ref = extent.chunks[-1 if backward else 0]
        points = (await self.load([ref.cid]))[ref.cid]
        index = int(np.searchsorted(points.t, time)) - (1 if backward else 0)
        return extent.version, int(points.t[index]), float(points.v[index])


async def paged(blocks: AsyncIterator[Points], size: int) -> AsyncIterator[Points]:
    """The same points in pages of exactly `size` but the last; one empty page if there are none."""
    left = NO_POINTS
    some = False
    async for block in blocks:
        points = merge.join([left, block]) if len(left.t) else block
        whole = len(points.t) - len(points.t) % size
        for first in range(0, whole, size):
            some = True
            yield points.take(slice(first, first + size))
        left = points.take(slice(whole, None))
    if len(left.t) or not some:
        yield left
