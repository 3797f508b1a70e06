"""One sample: a fresh process that calls the server, compares what came of it, and prints seconds as JSON.

    python -m server_alone.clients CASE SIZE ENDPOINT

All of it is bare gRPC: what is measured is the server, with a client that takes as little as a client can. Requests are
made beforehand; replies are parsed within the time, and compared by value after it.
"""

from __future__ import annotations

import asyncio
import gc
import io
import json
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import grpc.aio
import numpy as np
import pyarrow as pa
from side_by_side import data
from side_by_side.work import as_values, same_page

from airflow_provider_btrdb.protocol import METHODS
from airflow_provider_btrdb.testing.wire import WireClient
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb
from server_alone.seeds import COLLECTION, COUNTED, STREAMS, seed


class Create:
    """`size` streams, `FLIGHT` calls at a time."""

    FLIGHT = 64

    def __init__(self, size: int, wire: WireClient, endpoint: str) -> None:
        self._wire, self._endpoint = wire, endpoint
        self._prefix = f"create/{uuid4().hex}"
        self._streams = [(uuid4(), *data.stream(number, self._prefix)[1:]) for number in range(size)]
        self._requests = [_create(*stream) for stream in self._streams]

    def run(self) -> float:
        return asyncio.run(self._all())

    async def _all(self) -> float:
        async with grpc.aio.insecure_channel(self._endpoint) as channel:
            create = channel.unary_unary(METHODS["Create"].path)
            await channel.unary_unary(METHODS["Info"].path)(b"")  # the connection is there
            waiting = iter(self._requests)

            async def worker() -> None:
                for request in waiting:
                    assert await create(request) == b""

            began = time.perf_counter()
            await asyncio.gather(*(worker() for _ in range(self.FLIGHT)))
            return time.perf_counter() - began

    def compare(self) -> int:
        found = list(_lookup(self._wire, f"{self._prefix}/"))
        assert sorted(found) == sorted(self._streams)
        return len(found)


class CreateAlone(Create):
    FLIGHT = 1


class Lookup:
    """All streams below a prefix."""

    def __init__(self, size: int, wire: WireClient, endpoint: str) -> None:
        self._wire, self._size = wire, size

    def run(self) -> float:
        request = pb.LookupStreamsParams(collection=COLLECTION, is_collection_prefix=True)
        began = time.perf_counter()
        self._pages = self._wire.call("LookupStreams", request)
        return time.perf_counter() - began

    def compare(self) -> int:
        found = [as_values(stream) for page in self._pages for stream in page.results]
        first = STREAMS // 10 * COUNTED
        assert sorted(found) == sorted(seed(number) for number in range(first, first + self._size))
        return len(found)


class SqlExact:
    """One stream of a million, again and again; the median of the times."""

    QUERY = "SELECT * FROM streams WHERE collection = $1 AND name = $2"

    def __init__(self, size: int, wire: WireClient, endpoint: str) -> None:
        self._wire = wire
        self._wanted = [seed(number) for number in range(7, STREAMS, STREAMS // size)][:size]
        self._ask(self._wanted[0])  # PostgreSQL starts a process for the first query

    def _ask(self, stream: data.StreamValues) -> Any:
        return self._wire.call("SQLQuery", pb.SQLQueryParams(query=self.QUERY, params=[stream[1], stream[2]["name"]]))

    def run(self) -> float:
        times, self._answers = [], []
        for stream in self._wanted:
            began = time.perf_counter()
            self._answers.append(self._ask(stream))
            times.append(time.perf_counter() - began)
        return median(times)

    def compare(self) -> int:
        for (uuid, collection, tags, pairs), (page,) in zip(self._wanted, self._answers, strict=True):
            (row,) = map(json.loads, page.rows)
            wanted = {"uuid": str(uuid), "collection": collection, **tags, "annotations": pairs}
            assert row == wanted | {"property_version": 1}
        return len(self._answers)


class SqlGrouped:
    """The streams of each collection, counted."""

    QUERY = "SELECT collection, count(*) AS n FROM streams GROUP BY collection ORDER BY collection"

    def __init__(self, size: int, wire: WireClient, endpoint: str) -> None:
        self._wire, self._size = wire, size

    def run(self) -> float:
        began = time.perf_counter()
        self._pages = self._wire.call("SQLQuery", pb.SQLQueryParams(query=self.QUERY))
        return time.perf_counter() - began

    def compare(self) -> int:
        rows = [json.loads(row) for page in self._pages for row in page.rows]
        names = sorted({seed(number)[1] for number in range(0, STREAMS, STREAMS // self._size)})
        assert rows == [{"collection": name, "n": STREAMS // self._size} for name in names]
        return len(rows)


class ArrowInsert:
    """50,000 points a call, one call after another, into a stream of its own."""

    def __init__(self, size: int, wire: WireClient, endpoint: str) -> None:
        self._wire, self._size, self._uuid = wire, size, uuid4()
        new_stream(wire, self._uuid)
        self._requests = list(_inserts(self._uuid, size))

    def run(self) -> float:
        began = time.perf_counter()
        for request in self._requests:
            assert not self._wire.call("ArrowInsert", request).HasField("stat")
        return time.perf_counter() - began

    def compare(self) -> int:
        return _compare(_read(self._wire, self._uuid, self._size))


class ArrowRead:
    """All points of a stream, as columns."""

    def __init__(self, size: int, wire: WireClient, endpoint: str) -> None:
        self._wire, self._size, self._endpoint, self._uuid = wire, size, endpoint, uuid4()
        new_stream(wire, self._uuid)
        self._fill()

    def _fill(self) -> None:
        for request in _inserts(self._uuid, self._size):
            assert not self._wire.call("ArrowInsert", request).HasField("stat")

    def run(self) -> float:
        began = time.perf_counter()
        self._tables = _read(self._wire, self._uuid, self._size)
        return time.perf_counter() - began

    def compare(self) -> int:
        return _compare(self._tables)


class HeadRead(ArrowRead):
    """The same of a stream that was filled with 10,000 small inserts, 16 at a time."""

    INSERTS = 10_000

    def _fill(self) -> None:
        asyncio.run(self._insert())

    async def _insert(self) -> None:
        async with grpc.aio.insecure_channel(self._endpoint) as channel:
            insert = channel.unary_unary(METHODS["Insert"].path, response_deserializer=pb.InsertResponse.FromString)
            share = self._size // self.INSERTS
            waiting = iter(range(0, self._size, share))

            async def worker() -> None:
                for begin in waiting:
                    times, values = data.points(begin, begin + share)
                    points = [
                        pb.RawPoint(time=t, value=v) for t, v in zip(times.tolist(), values.tolist(), strict=True)
                    ]
                    request = pb.InsertParams(uuid=self._uuid.bytes, values=points)
                    assert not (await insert(request.SerializeToString())).HasField("stat")

            await asyncio.gather(*(worker() for _ in range(16)))


class Count:
    """Every stream that `Create` ever made; not timed."""

    def __init__(self, size: int, wire: WireClient, endpoint: str) -> None:
        self._wire, self._size = wire, size

    def run(self) -> float:
        return 0.0

    def compare(self) -> int:
        found = [stream[1:] for stream in _lookup(self._wire, "create/")]
        prefix = found[0][0].rpartition("/")[0]
        assert found == [data.stream(number, prefix)[1:] for number in range(self._size)]
        return len(found)


def new_stream(wire: WireClient, uuid: UUID) -> None:
    """A stream for points."""
    request = pb.CreateParams(uuid=uuid.bytes, collection=f"points/{uuid}")
    assert wire.call("Create", request) == pb.CreateResponse()


def _create(uuid: UUID, collection: str, tags: dict[str, str], annotations: dict[str, str]) -> bytes:
    request = pb.CreateParams(
        uuid=uuid.bytes, collection=collection, tags=_pairs(tags), annotations=_pairs(annotations)
    )
    return bytes(request.SerializeToString())


def _pairs(values: dict[str, str]) -> list[pb.KeyOptValue]:
    return [pb.KeyOptValue(key=key, val=pb.OptValue(value=value)) for key, value in values.items()]


def _lookup(wire: WireClient, prefix: str) -> Iterator[data.StreamValues]:
    for page in wire.call("LookupStreams", pb.LookupStreamsParams(collection=prefix, is_collection_prefix=True)):
        yield from map(as_values, page.results)


def _inserts(uuid: UUID, size: int) -> Iterator[pb.ArrowInsertParams]:
    for begin in range(0, size, data.ARROW_POINTS_A_PAGE):
        end = min(begin + data.ARROW_POINTS_A_PAGE, size)
        yield pb.ArrowInsertParams(uuid=uuid.bytes, arrow_bytes=_table(begin, end))


def _table(begin: int, end: int) -> bytes:
    times, values = data.points(begin, end)
    table = pa.table({"time": pa.array(times, pa.timestamp("ns", tz="UTC")), "value": pa.array(values)})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _read(wire: WireClient, uuid: UUID, size: int) -> list[Any]:
    request = pb.ArrowRawValuesParams(uuid=uuid.bytes, start=data.FIRST_NS, end=data.end_ns(size))
    return [pa.ipc.open_stream(page.arrow_bytes).read_all() for page in wire.start("ArrowRawValues", request)]


def _compare(tables: list[Any]) -> int:
    done = 0
    for table in tables:
        done = same_page(np.asarray(table["time"].cast("int64")), np.asarray(table["value"]), done)
    return done


CASES: dict[str, Any] = {
    "create-1": CreateAlone,
    "create-64": Create,
    "lookup": Lookup,
    "sql-exact": SqlExact,
    "sql-grouped": SqlGrouped,
    "arrow-insert": ArrowInsert,
    "arrow-read": ArrowRead,
    "head-read": HeadRead,
    "count": Count,
}


def main(case: str, size: str, endpoint: str) -> None:
    """Print one line of JSON: seconds of wall time, and how many items were compared."""
    with WireClient(endpoint) as wire:
        work = CASES[case](int(size), wire, endpoint)
        gc.collect()
        gc.freeze()  # what was prepared is nobody's garbage
        wall = work.run()
        print(json.dumps({"wall": wall, "compared": work.compare()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
