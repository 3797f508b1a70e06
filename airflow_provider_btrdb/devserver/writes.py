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
SELECT s.sid, s.version, s.collection, c.* FROM btrdb.stream s LEFT JOIN LATERAL (
    (SELECT cid, tmin, tmax, n FROM btrdb.chunk
     WHERE sid = s.sid AND vto = {LIVE} AND tmin < %s ORDER BY tmin DESC LIMIT {NEIGHBOURS})
    UNION ALL
    (SELECT cid, tmin, tmax, n FROM btrdb.chunk WHERE sid = s.sid AND vto = {LIVE} AND tmin BETWEEN %s AND %s)
    UNION ALL
    (SELECT cid, tmin, tmax, n FROM btrdb.chunk
     WHERE sid = s.sid AND vto = {LIVE} AND tmin > %s ORDER BY tmin LIMIT {NEIGHBOURS})
) c ON true WHERE s.uuid = %s ORDER BY c.tmin
"""  # noqa: S608 - our own constants: a parameter would hide the partial index from the planner
# `%b` asks for PostgreSQL's binary form: as text, chunks would be escaped byte by byte.
_REWRITE = """
WITH dead AS (UPDATE btrdb.chunk SET vto = %(version)s WHERE cid = ANY(%(dead)s))
INSERT INTO btrdb.chunk (sid, tmin, tmax, n, vfrom, vto, data)
SELECT %(sid)s, tmin, tmax, n, %(version)s, %(live)s, data
FROM unnest(%(tmins)s::bigint[], %(tmaxs)s::bigint[], %(counts)s::int[], %(data)b::bytea[])
    AS fresh (tmin, tmax, n, data)
"""
# One statement is one trip and one commit.
_FINISH = _REWRITE.replace(
    "WITH ",
    """WITH
op AS (INSERT INTO btrdb.op (sid, version, los, his) VALUES (%(sid)s, %(version)s, %(los)s, %(his)s)),
stream AS (UPDATE btrdb.stream SET version = %(version)s WHERE sid = %(sid)s),
""",
)


class Piece(NamedTuple):
    """A stretch of a stream: a chunk, points that go into it, or points between chunks."""

    chunk: ChunkRef | None
    fresh: Points = NO_POINTS


class Change(NamedTuple):
    """What a write does to a part of a stream."""

    dead: list[int]
    """Chunks that end with the new version."""
    fresh: list[Points]
    """Chunks that begin with it."""
    lows: merge.Times
    highs: merge.Times
    """Sorted, disjoint stretches [low, high] in which something changed."""


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
        if not len(points.t):
            return await self.version(uuid, allow)
        new = merge.arrange(points.t, points.v, policy)
        async with self._locks.hold(uuid), self._database.connection() as connection:
            sid, version, refs = await _around(connection, uuid, int(new.t[0]), int(new.t[-1]), allow)
            pieces = _deal(refs, new)
            segments = [pieces[first : first + SEGMENT] for first in range(0, len(pieces), SEGMENT)]
            async with connection.transaction() if len(segments) > 1 else contextlib.nullcontext():
                touched = []
                for segment in segments[:-1]:
                    change = await _merged(connection, segment, policy)
                    touched.append(change.lows)
                    await _write(connection, _REWRITE, sid, version + 1, change)
                change = await _merged(connection, segments[-1], policy)
                times = np.concatenate([*touched, change.lows])
                await _write(connection, _FINISH, sid, version + 1, change._replace(lows=times, highs=times))
            self._hub.inserted(uuid, points)
            return version + 1

    async def delete(self, uuid: uuidlib.UUID, start: int, end: int, allow: Allow) -> int:
        """Remove the points of [start, end); always a new version, also if there were none."""
        async with self._locks.hold(uuid), self._database.connection() as connection:
            sid, version, refs = await _around(connection, uuid, start, end - 1, allow)
            change = await _without(connection, refs, start, end)
            await _write(connection, _FINISH, sid, version + 1, change)
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


async def _state(connection: Connection, uuid: uuidlib.UUID, allow: Allow) -> tuple[int, int]:
    row = await (await connection.execute(_STATE, [uuid], binary=True)).fetchone()
    if row is None:
        raise no_such_stream()
    allow(row[2])
    return int(row[0]), int(row[1])


async def _around(
    connection: Connection, uuid: uuidlib.UUID, low: int, high: int, allow: Allow
) -> tuple[int, int, list[ChunkRef]]:
    """Stream, version, and the live chunks of [low, high] with their neighbours on either side, sorted."""
    cursor = await connection.execute(_AROUND.encode(), [low, low, high, high, uuid], binary=True)
    rows = await cursor.fetchall()
    if not rows:
        raise no_such_stream()
    allow(rows[0][2])
    return rows[0][0], rows[0][1], [ChunkRef(*row[3:]) for row in rows if row[3] is not None]


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


async def _merged(connection: Connection, pieces: list[Piece], policy: int) -> Change:
    """New points brought into neighbouring pieces."""
    contents = await _load(connection, [piece.chunk for piece in pieces if piece.chunk and len(piece.fresh.t)])
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
    times = np.concatenate(touched)
    return await _fused(connection, stretches, contents, Change(dead, [], times, times))


async def _without(connection: Connection, refs: list[ChunkRef], start: int, end: int) -> Change:
    """A stretch taken out of neighbouring chunks."""
    hit = {ref.cid for ref in refs if ref.tmin < end and ref.tmax >= start}
    contents = await _load(
        connection, [ref for ref in refs if ref.cid in hit and (ref.tmin < start or ref.tmax >= end)]
    )
    stretches: list[Stretch] = []
    dead: list[int] = []
    lows, highs = [NO_POINTS.t], [NO_POINTS.t]
    for ref in refs:
        points = contents.get(ref.cid)
        first, last = (int(at) for at in np.searchsorted(points.t, [start, end])) if points else (0, 0)
        if ref.cid not in hit or (points and first == last):
            stretches.append(Stretch(ref.n, chunk=ref))
            continue
        dead.append(ref.cid)
        if points:
            kept = (points.take(slice(0, first)), points.take(slice(last, None)))
            stretches += [Stretch(len(part.t), fresh=part) for part in kept if len(part.t)]
        lows.append(points.t[first:last] if points else np.array([ref.tmin]))
        highs.append(points.t[first:last] if points else np.array([ref.tmax]))
    return await _fused(connection, stretches, contents, Change(dead, [], np.concatenate(lows), np.concatenate(highs)))


async def _fused(
    connection: Connection, stretches: list[Stretch], contents: dict[int, Points], change: Change
) -> Change:
    """The change with its fresh chunks, after neighbours that are too small became one."""
    runs = chunks.fuse([stretch.size for stretch in stretches])
    joined = [stretch.chunk for first, last in runs for stretch in stretches[first:last] if stretch.chunk]
    contents = contents | await _load(connection, [ref for ref in joined if ref.cid not in contents])
    fresh: list[Points] = []
    done = 0
    for first, last in [*runs, (len(stretches), len(stretches))]:
        fresh += [stretch.fresh for stretch in stretches[done:first] if not stretch.chunk]
        parts = [contents[part.chunk.cid] if part.chunk else part.fresh for part in stretches[first:last]]
        fresh += chunks.cut(merge.join(parts))
        done = last
    return change._replace(dead=change.dead + [ref.cid for ref in joined], fresh=fresh)


async def _write(connection: Connection, statement: str, sid: int, version: int, change: Change) -> None:
    los, his = merge.ranges(change.lows, change.highs)
    params: dict[str, Any] = {
        "sid": sid,
        "version": version,
        "dead": change.dead,
        "live": LIVE,
        "tmins": [int(part.t[0]) for part in change.fresh],
        "tmaxs": [int(part.t[-1]) for part in change.fresh],
        "counts": [len(part.t) for part in change.fresh],
        "data": [chunks.encode(part) for part in change.fresh],
    }
    if statement is _FINISH:
        params |= {"los": los, "his": his}
    await connection.cursor(binary=True).execute(statement.encode(), params)
