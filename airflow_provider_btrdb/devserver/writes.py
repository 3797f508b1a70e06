"""Writing points: one commit per insert and delete, and compaction inside the same commit.

The server is the only writer of its database, and a stream has one writer at a time; so the state that a writer reads
stays true until it commits.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid as uuidlib
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import numpy as np

from airflow_provider_btrdb.devserver import chunks, merge
from airflow_provider_btrdb.devserver.database import Connection, Database
from airflow_provider_btrdb.devserver.errors import no_such_stream
from airflow_provider_btrdb.devserver.merge import NO_POINTS, Points
from airflow_provider_btrdb.devserver.points import Allow, ChunkRef
from airflow_provider_btrdb.devserver.schema import LIVE
from airflow_provider_btrdb.devserver.subscriptions import Hub

NEIGHBOURS = 40
"""Chunks on either side that compaction looks at; more than a full run of every size class."""
SEGMENT = 64
"""Chunks that are in memory at the same time."""

_STATE = "SELECT sid, version, collection FROM btrdb.stream WHERE uuid = %s"
_AROUND = f"""
(SELECT cid, tmin, tmax, n FROM btrdb.chunk WHERE sid = %s AND vto = {LIVE} AND tmin < %s ORDER BY tmin DESC LIMIT %s)
UNION ALL
(SELECT cid, tmin, tmax, n FROM btrdb.chunk WHERE sid = %s AND vto = {LIVE} AND tmin BETWEEN %s AND %s)
UNION ALL
(SELECT cid, tmin, tmax, n FROM btrdb.chunk WHERE sid = %s AND vto = {LIVE} AND tmin > %s ORDER BY tmin LIMIT %s)
ORDER BY tmin
"""  # noqa: S608 - our own constant: a parameter would hide the partial index from the planner
_REWRITE = """
WITH dead AS (UPDATE btrdb.chunk SET vto = %s WHERE cid = ANY(%s))
INSERT INTO btrdb.chunk (sid, tmin, tmax, n, vfrom, vto, data)
SELECT %s, tmin, tmax, n, %s, %s, data FROM unnest(%s::bigint[], %s::bigint[], %s::int[], %s::bytea[])
    AS fresh (tmin, tmax, n, data)
"""
_ADVANCE = """
WITH op AS (INSERT INTO btrdb.op (sid, version, los, his) VALUES (%s, %s, %s, %s))
UPDATE btrdb.stream SET version = %s WHERE sid = %s
"""


class Piece(NamedTuple):
    """A stretch of a stream: a chunk, points that go into it, or points between chunks."""

    chunk: ChunkRef | None
    fresh: Points = NO_POINTS


class Commit(NamedTuple):
    """What is being written: a version of a stream."""

    connection: Connection
    sid: int
    version: int


class Stretch(NamedTuple):
    """A part of a stream after a write: a chunk that stays, or points that are not stored yet."""

    size: int
    chunk: ChunkRef | None = None
    fresh: Points = NO_POINTS


class StreamLocks:
    """One writer per stream, without occupying a connection while it waits."""

    def __init__(self) -> None:
        self._locks: dict[uuidlib.UUID, tuple[asyncio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def hold(self, uuid: uuidlib.UUID) -> AsyncIterator[None]:
        """Be the writer of a stream."""
        lock, waiting = self._locks.get(uuid, (asyncio.Lock(), 0))
        self._locks[uuid] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks[uuid]
            if waiting == 1:
                del self._locks[uuid]
            else:
                self._locks[uuid] = lock, waiting - 1


class PointWriter:
    """Writes of one database."""

    def __init__(self, database: Database, locks: StreamLocks, hub: Hub) -> None:
        self._database = database
        self._locks = locks
        self._hub = hub

    async def insert(self, uuid: uuidlib.UUID, points: Points, policy: int, allow: Allow) -> int:
        """Commit points in the order sent; returns the new version, or the old one if there was nothing to insert."""
        new = merge.arrange(points.t, points.v, policy)
        async with self._locks.hold(uuid), self._database.connection() as connection:
            sid, version = await _state(connection, uuid, allow)
            if not len(new.t):
                return version
            refs = await _around(connection, sid, int(new.t[0]), int(new.t[-1]))
            pieces = _deal(refs, new)
            touched = []
            commit = Commit(connection, sid, version + 1)
            async with _together(connection, len(pieces)):
                for first in range(0, len(pieces), SEGMENT):
                    segment = pieces[first : first + SEGMENT]
                    touched.append(await _merge_segment(commit, segment, policy))
                times = np.concatenate(touched)
                await _advance(commit, *merge.ranges(times, times))
            self._hub.inserted(uuid, points)
            return version + 1

    async def delete(self, uuid: uuidlib.UUID, start: int, end: int, allow: Allow) -> int:
        """Remove the points of [start, end); always a new version, also if there were none."""
        async with self._locks.hold(uuid), self._database.connection() as connection:
            sid, version = await _state(connection, uuid, allow)
            refs = await _around(connection, sid, start, end - 1)
            hit = {ref.cid for ref in refs if ref.tmin < end and ref.tmax >= start}
            partly = [ref for ref in refs if ref.cid in hit and (ref.tmin < start or ref.tmax >= end)]
            contents = await _load(connection, partly)
            stretches: list[Stretch] = []
            gone: list[tuple[merge.Times, merge.Times]] = []
            dead: list[int] = []
            for ref in refs:
                if ref.cid not in hit:
                    stretches.append(Stretch(ref.n, chunk=ref))
                    continue
                lows, highs = np.array([ref.tmin]), np.array([ref.tmax])
                if ref.cid in contents:
                    points = contents[ref.cid]
                    first, last = (int(at) for at in np.searchsorted(points.t, [start, end]))
                    lows = highs = points.t[first:last]
                    if first == last:
                        stretches.append(Stretch(ref.n, chunk=ref))
                        continue
                    kept = (points.take(slice(0, first)), points.take(slice(last, None)))
                    stretches += [Stretch(len(part.t), fresh=part) for part in kept if len(part.t)]
                gone.append((lows, highs))
                dead.append(ref.cid)
            commit = Commit(connection, sid, version + 1)
            async with _together(connection, 1):
                await _store(commit, stretches, dead, contents)
                lows = np.concatenate([NO_POINTS.t, *(low for low, _ in gone)])
                highs = np.concatenate([NO_POINTS.t, *(high for _, high in gone)])
                await _advance(commit, *merge.ranges(lows, highs))
            return version + 1

    async def version(self, uuid: uuidlib.UUID, allow: Allow) -> int:
        """The newest version, once every earlier write of the stream is in."""
        async with self._locks.hold(uuid), self._database.connection() as connection:
            return (await _state(connection, uuid, allow))[1]

    async def obliterate(self, uuid: uuidlib.UUID, allow: Allow) -> None:
        """Remove a stream with everything it ever held; its uuid is spent for good."""
        async with self._locks.hold(uuid), self._database.connection() as connection:
            sid, _ = await _state(connection, uuid, allow)
            async with connection.transaction():
                await connection.execute("INSERT INTO btrdb.tombstone VALUES (%s)", [uuid])
                await connection.execute("DELETE FROM btrdb.chunk WHERE sid = %s", [sid])
                await connection.execute("DELETE FROM btrdb.stream WHERE sid = %s", [sid])
            self._hub.obliterated(uuid)


@contextlib.asynccontextmanager
async def _together(connection: Connection, pieces: int) -> AsyncIterator[None]:
    """One transaction; what needs no answer in between goes out in one trip if there is little of it."""
    if pieces <= SEGMENT:
        async with connection.pipeline(), connection.transaction():
            yield
    else:
        async with connection.transaction():
            yield


async def _state(connection: Connection, uuid: uuidlib.UUID, allow: Allow) -> tuple[int, int]:
    row = await (await connection.execute(_STATE, [uuid], binary=True)).fetchone()
    if row is None:
        raise no_such_stream()
    allow(row[2])
    return int(row[0]), int(row[1])


async def _around(
    connection: Connection, sid: int, low: int, high: int, neighbours: int = NEIGHBOURS
) -> list[ChunkRef]:
    """Live chunks of [low, high] and the nearest on either side, sorted."""
    cursor = await connection.execute(
        _AROUND.encode(), [sid, low, neighbours, sid, low, high, sid, high, neighbours], binary=True
    )
    return [ChunkRef(*row) for row in await cursor.fetchall()]


async def _load(connection: Connection, refs: list[ChunkRef]) -> dict[int, Points]:
    if not refs:
        return {}
    cursor = await connection.execute(
        "SELECT cid, n, data FROM btrdb.chunk WHERE cid = ANY(%s)", [[ref.cid for ref in refs]], binary=True
    )
    return {cid: chunks.decode(data, count) for cid, count, data in await cursor.fetchall()}


def _deal(refs: list[ChunkRef], new: Points) -> list[Piece]:
    """Chunks and new points in order of time."""
    tmins = np.array([ref.tmin for ref in refs], np.int64)
    tmaxs = np.array([ref.tmax for ref in refs], np.int64)
    pieces: list[Piece] = []
    done = 0
    for share in chunks.place(tmins, tmaxs, new.t):
        pieces += [Piece(ref) for ref in refs[done : share.before]]
        fresh = new.take(slice(share.first, share.last))
        done = share.before
        if share.chunk is None:
            pieces.append(Piece(None, fresh))
        else:
            pieces.append(Piece(refs[share.chunk], fresh))
            done += 1
    return pieces + [Piece(ref) for ref in refs[done:]]


async def _merge_segment(commit: Commit, pieces: list[Piece], policy: int) -> merge.Times:
    """Write what changes among neighbouring pieces; returns the times at which something changed."""
    contents = await _load(commit.connection, [piece.chunk for piece in pieces if piece.chunk and len(piece.fresh.t)])
    stretches: list[Stretch] = []
    dead: list[int] = []
    touched = [NO_POINTS.t]
    for chunk, fresh in pieces:
        merged = merge.merge(contents.get(chunk.cid, NO_POINTS) if chunk else NO_POINTS, fresh, policy)
        touched.append(merged.touched)
        if chunk and not len(merged.touched):
            stretches.append(Stretch(chunk.n, chunk=chunk))
            continue
        if chunk:
            dead.append(chunk.cid)
        stretches += [Stretch(len(part.t), fresh=part) for part in chunks.cut(merged.points)]
    await _store(commit, stretches, dead, contents)
    return np.concatenate(touched)


async def _store(commit: Commit, stretches: list[Stretch], dead: list[int], contents: dict[int, Points]) -> None:
    """Write the fresh stretches and close the dead chunks, after fusing neighbours that are too small."""
    runs = chunks.fuse([stretch.size for stretch in stretches])
    joined = [stretch.chunk for first, last in runs for stretch in stretches[first:last] if stretch.chunk]
    contents = contents | await _load(commit.connection, [ref for ref in joined if ref.cid not in contents])
    fresh: list[Points] = []
    done = 0
    for first, last in [*runs, (len(stretches), len(stretches))]:
        fresh += [stretch.fresh for stretch in stretches[done:first] if not stretch.chunk]
        parts = [contents[part.chunk.cid] if part.chunk else part.fresh for part in stretches[first:last]]
        fresh += chunks.cut(merge.join(parts))
        done = last
    dead = dead + [ref.cid for ref in joined]
    if not dead and not fresh:
        return
    params: list[Any] = [commit.version, dead, commit.sid, commit.version, LIVE]
    params += [[int(part.t[0]) for part in fresh], [int(part.t[-1]) for part in fresh]]
    params += [[len(part.t) for part in fresh], [chunks.encode(part) for part in fresh]]
    await commit.connection.cursor(binary=True).execute(_REWRITE, params)


async def _advance(commit: Commit, los: list[int], his: list[int]) -> None:
    sid, version = commit.sid, commit.version
    await commit.connection.execute(_ADVANCE, [sid, version, los, his, version, sid])
