"""Replies that break the protocol: an error that says so, or the right data; never wrong data."""

from __future__ import annotations

import math
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_btrdb.client import errors
from airflow_provider_btrdb.testing import RunningServer
from airflow_provider_btrdb.testing.faults import Corrupt
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

pytestmark = pytest.mark.anyio

UUID = uuid4()
READS = ["RawValues", "ArrowRawValues", "Windows", "AlignedWindows"]
POINTS = [(time, float(time)) for time in range(35)]
"""Four pages."""


@pytest.fixture(params=READS)
def rpc(request: pytest.FixtureRequest) -> str:
    """How the points are read."""
    return str(request.param)


def read(stream: Any, rpc: str, end: int = 64) -> Any:
    """Pairs of time and value; windows of one point have that point's."""
    if rpc == "Windows":
        return stream.windows(0, end, 1)
    return stream.aligned_windows(0, end, 0) if rpc == "AlignedWindows" else stream.values(0, end)


def pairs(found: Any) -> list[tuple[int, float]]:
    return [(row[0], row[1]) if isinstance(row, tuple) else (row.time, row.mean) for row in found]


@pytest.fixture
async def filled(connected: Any, done: Any, btrdb: RunningServer, collection: str, rpc: str) -> Any:
    db = await connected(btrdb.endpoint, arrow="on" if rpc.startswith("Arrow") else "off")
    stream = await done(db.create(uuid4(), collection, {"name": "s"}))
    await done(stream.insert(POINTS))
    btrdb.calls.clear()
    return stream


@pytest.mark.parametrize("message", [1, 2, 4])
async def test_a_page_of_another_version_ends_the_read(
    done: Any, btrdb: RunningServer, filled: Any, rpc: str, message: int
) -> None:
    with btrdb.faults.inject(rpc, Corrupt("version", message)) as fault, pytest.raises(errors.ProtocolError):
        await done(read(filled, rpc))
    assert (fault.fired, btrdb.calls.counts()) == (1, {rpc: 1})


@pytest.mark.parametrize("message", [1, 2, 4])
@pytest.mark.parametrize("rpc", ["RawValues", "Windows", "AlignedWindows"], indirect=True)
async def test_garbage_ends_the_read(done: Any, btrdb: RunningServer, filled: Any, rpc: str, message: int) -> None:
    with btrdb.faults.inject(rpc, Corrupt("garbage", message)) as fault, pytest.raises(errors.ProtocolError):
        await done(read(filled, rpc))
    assert (fault.fired, btrdb.calls.counts()) == (1, {rpc: 1})


@pytest.mark.parametrize("message", [1, 4])
async def test_an_empty_status_is_no_failure(
    done: Any, btrdb: RunningServer, filled: Any, rpc: str, message: int
) -> None:
    with btrdb.faults.inject(rpc, Corrupt("status", message)) as fault:
        assert pairs(await done(read(filled, rpc))) == POINTS
    assert (fault.fired, btrdb.calls.counts()) == (1, {rpc: 1})


@pytest.mark.parametrize("message", [2, 4])
async def test_an_empty_page_without_version_ends_the_read(
    done: Any, btrdb: RunningServer, filled: Any, rpc: str, message: int
) -> None:
    with btrdb.faults.inject(rpc, Corrupt("nothing", message)) as fault, pytest.raises(errors.ProtocolError):
        await done(read(filled, rpc))
    assert (fault.fired, btrdb.calls.counts()) == (1, {rpc: 1})


# ---------------------------------------------------------------- pages that no server of ours would send


def raw(points: list[tuple[int, float]], version: int = 11, **more: Any) -> Any:
    values = [pb.RawPoint(time=time, value=value) for time, value in points]
    return pb.RawValuesResponse(version_major=version, values=values, **more)


def arrow(points: list[tuple[int, float]], version: int = 11, **more: Any) -> Any:
    times = pa.array([time for time, _ in points], pa.timestamp("ns", tz="UTC"))
    table = pa.table({"time": times, "value": pa.array([value for _, value in points], pa.float64())})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return pb.ArrowRawValuesResponse(version_major=version, arrow_bytes=sink.getvalue().to_pybytes(), **more)


def windows(points: list[tuple[int, float]], version: int = 11, **more: Any) -> Any:
    rows = [pb.StatPoint(time=time, min=value, mean=value, max=value, count=1) for time, value in points]
    return pb.WindowsResponse(version_major=version, values=rows, **more)


MAKE = {"RawValues": raw, "ArrowRawValues": arrow, "Windows": windows, "AlignedWindows": windows}
WRONG: dict[str, list[list[tuple[int, float]]]] = {
    "unordered in a page": [[(3, 1.0), (2, 1.0)]],
    "unordered between pages": [[(2, 1.0), (3, 1.0)], [(2, 1.0)]],
    "before the start": [[(-1, 1.0), (2, 1.0)]],
    "at the end": [[(2, 1.0), (10, 1.0)]],
    "far outside": [[(2, 1.0)], [(2**62, 1.0)]],
    "far before": [[(-(2**63), 1.0)]],
}


@pytest.fixture
async def scripted(connected: Any, done: Any, script: Any, rpc: str) -> Any:
    db = await connected(script.endpoint, arrow="on" if rpc.startswith("Arrow") else "off", retry_total=60.0)
    return await done(db.stream_from_uuid(UUID))


@pytest.mark.parametrize("pages", list(WRONG.values()), ids=list(WRONG))
async def test_points_that_do_not_belong_there_end_the_read(
    done: Any, script: Any, scripted: Any, rpc: str, pages: list[list[tuple[int, float]]]
) -> None:
    messages = [MAKE[rpc](page) for page in pages]
    script.on[rpc] = lambda request, number: iter(messages)
    with pytest.raises(errors.ProtocolError, match="wrong page"):
        await done(read(scripted, rpc, end=10))
    assert len(script.requests[rpc]) == 1


async def test_a_status_after_pages_is_an_error(done: Any, script: Any, scripted: Any, rpc: str) -> None:
    stat = pb.Status(code=450, msg="pruned meanwhile")
    script.on[rpc] = lambda request, number: iter([MAKE[rpc]([(1, 1.0)]), MAKE[rpc]([], 0, stat=stat)])
    with pytest.raises(errors.VersionNotAvailableError, match="pruned meanwhile"):
        await done(read(scripted, rpc))
    assert len(script.requests[rpc]) == 1


async def test_a_status_beside_points_is_an_error_too(done: Any, script: Any, scripted: Any, rpc: str) -> None:
    script.on[rpc] = lambda request, number: iter([MAKE[rpc]([(1, 1.0)], stat=pb.Status(code=500, msg="broken"))])
    with pytest.raises(errors.ServerError, match="broken"):
        await done(read(scripted, rpc))


async def test_a_passing_status_after_pages_resumes(done: Any, script: Any, scripted: Any, rpc: str) -> None:
    """WrongEndpoint in the middle: the next attempt gets what is left, at the version of the first page."""
    stored = [(1, 1.0), (2, 2.0), (3, 0.0)]

    def answer(request: Any, number: int) -> Any:
        left = [point for point in stored if point[0] >= request.start]
        if number > 1:
            assert request.version_major == 11
            return iter([MAKE[rpc](left)])
        return iter([MAKE[rpc](left[:2]), MAKE[rpc]([], 0, stat=pb.Status(code=405))])

    script.on[rpc] = answer
    assert pairs(await done(read(scripted, rpc))) == stored
    assert len(script.requests[rpc]) == 2


@pytest.fixture
async def unread(connected: Any, done: Any, script: Any) -> Any:
    return await done((await connected(script.endpoint, retry_total=60.0)).stream_from_uuid(UUID))


async def test_windows_off_the_grid_end_the_read(done: Any, script: Any, unread: Any) -> None:
    script.on["Windows"] = lambda request, number: iter([windows([(3, 1.0), (24, 1.0)])])
    with pytest.raises(errors.ProtocolError, match="off the grid"):
        await done(unread.windows(3, 100, 10))
    script.on["AlignedWindows"] = lambda request, number: iter([windows([(0, 1.0), (12, 1.0)])])
    with pytest.raises(errors.ProtocolError, match="off the grid"):
        await done(unread.aligned_windows(0, 64, 3))


async def test_empty_windows_are_dropped_wherever_they_stand(done: Any, script: Any, unread: Any) -> None:
    page = windows([(0, 0.0), (10, 5.0), (20, 0.0)])
    page.values[0].count = page.values[2].count = 0
    script.on["Windows"] = lambda request, number: iter([page])
    assert pairs(await done(unread.windows(0, 100, 10))) == [(10, 5.0)]


async def test_a_stddev_of_nan_is_handed_on(done: Any, script: Any, unread: Any) -> None:
    """Servers that buffer send it for points not committed yet."""
    page = windows([(0, 1.0)])
    page.values[0].stddev = math.nan
    script.on["Windows"] = lambda request, number: iter([page])
    (row,) = await done(unread.windows(0, 10, 10))
    assert np.isnan(row.stddev)


@pytest.mark.parametrize("garbage", [b"", b"\x00" * 8, b"ARROW1\x00\x00", b"\xff\xff\xff\xff\x10\x00\x00\x00cut short"])
async def test_bytes_that_are_no_arrow_end_the_read(connected: Any, done: Any, script: Any, garbage: bytes) -> None:
    """Empty bytes are a page without points; anything else that is no table is an error of ours."""
    stream = await done((await connected(script.endpoint, arrow="on")).stream_from_uuid(UUID))
    page = pb.ArrowRawValuesResponse(version_major=11, arrow_bytes=garbage)
    script.on["ArrowRawValues"] = lambda request, number: iter([page])
    if not garbage:
        assert len(await done(stream.values(0, 10))) == 0
        return
    with pytest.raises(errors.ProtocolError, match="Arrow page"):
        await done(stream.values(0, 10))


async def test_arrow_columns_of_another_kind_end_the_read(connected: Any, done: Any, script: Any) -> None:
    stream = await done((await connected(script.endpoint, arrow="on")).stream_from_uuid(UUID))
    table = pa.table({"time": pa.array([1, 2], pa.timestamp("us", tz="UTC")), "value": pa.array([1.0, 2.0])})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    page = pb.ArrowRawValuesResponse(version_major=11, arrow_bytes=sink.getvalue().to_pybytes())
    script.on["ArrowRawValues"] = lambda request, number: iter([page])
    with pytest.raises(errors.ProtocolError, match="Arrow page"):
        await done(stream.values(0, 10))


async def test_a_row_of_sql_that_is_no_json(connected: Any, done: Any, script: Any) -> None:
    db = await connected(script.endpoint)
    script.on["SQLQuery"] = lambda request, number: iter([pb.SQLQueryResponse(rows=[b'{"a": 1}', b"{"])])
    with pytest.raises(errors.ProtocolError, match="not JSON"):
        await done(db.query("SELECT 1"))


async def test_a_server_6_0_is_read_in_arrow_too(connected: Any, done: Any, script: Any) -> None:
    """Fault W-29 of the official client: it compares minor versions without looking at the major one."""
    script.on["Info"] = lambda request, number: pb.InfoResponse(major_version=6, minor_version=0)
    page = arrow([(1, 1.0)])
    script.on["ArrowRawValues"] = lambda request, number: iter([page])
    stream = await done((await connected(script.endpoint, arrow="on")).stream_from_uuid(UUID))
    assert list(await done(stream.values(0, 10))) == [(1, 1.0)]


@pytest.mark.parametrize("cut", [8, 100, -20, -1])
async def test_arrow_that_ends_early_ends_the_read(connected: Any, done: Any, script: Any, cut: int) -> None:
    stream = await done((await connected(script.endpoint, arrow="on")).stream_from_uuid(UUID))
    page = arrow([(n, 1.0) for n in range(9)])
    whole = page.arrow_bytes
    page.arrow_bytes = whole[:cut]
    script.on["ArrowRawValues"] = lambda request, number: iter([page])
    try:
        found = await done(stream.values(0, 10))
    except errors.ProtocolError:
        return
    assert len(found) == 9, "points are missing, and nothing said so"
