"""Thousands of small inserts and deletes into one stream: compaction may change how they lie, never what is read."""

from __future__ import annotations

import io
import random
import tempfile
import time
import uuid
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
import pyarrow as pa

from airflow_provider_btrdb.testing import devserver_process
from airflow_provider_btrdb.testing.wire import WireClient
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

SNAPSHOTS = 10
CHUNKS = 100
"""More live chunks than that were not compacted: 300,000 points fill 19."""
STEP_NS = 33_333_333
Points = dict[int, float]


class Feed:
    """A meter of a noisy value: mostly in order, sometimes late, sent again, or corrected."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._clock, self._level = 0, 60.0
        self.points: Points = {}

    def next(self, raw: bytes) -> tuple[str, Any]:
        """A request; the model is as the stream must be after it."""
        dice = self._chance.random()
        if dice < 0.02 and self.points:
            start = self._chance.randrange(self._clock) * STEP_NS
            end = start + self._chance.randrange(1, 100) * STEP_NS
            for time_ns in range(start, end, STEP_NS):
                self.points.pop(time_ns, None)
            return "Delete", pb.DeleteParams(uuid=raw, start=start, end=end)
        count = self._chance.randrange(1, 60)
        first = self._clock if dice < 0.8 else self._chance.randrange(self._clock + 1)
        self._clock = max(self._clock, first + count)
        fresh = {(first + n) * STEP_NS: self._value() for n in range(count)}
        if fresh.keys() & self.points.keys():
            policy = self._chance.choice([pb.REPLACE, pb.RETAIN])
        else:
            policy = self._chance.choice([pb.NEVER, pb.EQUAL, pb.REPLACE, pb.RETAIN])
        for time_ns, value in fresh.items():
            if policy != pb.RETAIN or time_ns not in self.points:
                self.points[time_ns] = value
        values = [pb.RawPoint(time=time_ns, value=value) for time_ns, value in fresh.items()]
        self._chance.shuffle(values)
        return "Insert", pb.InsertParams(uuid=raw, values=values, merge_policy=policy)

    def _value(self) -> float:
        self._level += self._chance.gauss(0, 0.01)
        return self._level


def run(inserts: int, seed: int) -> dict[str, Any]:
    """So many writes, and what was found."""
    wrong: list[str] = []
    feed, raw = Feed(seed), uuid.uuid4().bytes
    snapshots: dict[int, Points] = {}
    with (
        tempfile.TemporaryDirectory(prefix="btrdb-soak-", ignore_cleanup_errors=True) as directory,
        devserver_process(data=Path(directory) / "data", durability="full") as process,
        WireClient(process.endpoint) as wire,
    ):
        wire.call("Create", pb.CreateParams(uuid=raw, collection="soak/inserts"))
        began = time.monotonic()
        for version in range(11, 11 + inserts):
            method, request = feed.next(raw)
            answer = wire.call(method, request)
            if answer.HasField("stat") or answer.version_major != version:
                wrong.append(f"{method} {version} answered {answer}")
                break
            if version % max(1, inserts // SNAPSHOTS) == 0:
                snapshots[version] = dict(feed.points)
        rate = inserts / (time.monotonic() - began)
        times = []
        for _ in range(5):
            began = time.monotonic()
            table = _table(wire, raw, 0)
            times.append(time.monotonic() - began)
        if _points(table) != _sorted(feed.points):
            wrong.append("the newest version has other points than were written")
        wrong += [
            f"version {version} has other points than it had"
            for version, points in snapshots.items()
            if _points(_table(wire, raw, version)) != _sorted(points)
        ]
        chunks = _live_chunks(process.data)
        if chunks > CHUNKS:
            wrong.append(f"{chunks} live chunks were left")
    return {
        "writes": inserts,
        "points": len(feed.points),
        "old_versions_compared": len(snapshots),
        "live_chunks": chunks,
        "writes_per_second": round(rate),
        "read_of_all_ms": round(median(times) * 1000, 1),
        "wrong": wrong,
    }


def _sorted(points: Points) -> list[tuple[int, float]]:
    return sorted(points.items())


def _table(wire: WireClient, raw: bytes, version: int) -> Any:
    request = pb.ArrowRawValuesParams(uuid=raw, start=-1, end=10**18, version_major=version)
    pages = wire.call("ArrowRawValues", request)
    return pa.concat_tables([pa.ipc.open_stream(io.BytesIO(page.arrow_bytes)).read_all() for page in pages])


def _points(table: Any) -> list[tuple[int, float]]:
    return list(zip(table["time"].cast("int64").to_pylist(), table["value"].to_pylist(), strict=True))


def _live_chunks(data: Path) -> int:
    """Looked up behind the server's back."""
    where = psycopg.conninfo.make_conninfo(
        host=(data / "sockets").read_text(),
        user="btrdb_owner",
        password=(data / "secret").read_text(),
        dbname="btrdb",
    )
    with psycopg.connect(where) as connection:
        row = connection.execute("SELECT count(*) FROM btrdb.chunk WHERE vto = 9223372036854775807").fetchone()
    assert row is not None
    return int(row[0])
