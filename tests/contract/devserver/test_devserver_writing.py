"""Writing points: what the development server puts on the wire, message by message."""

from __future__ import annotations

import uuid

import pytest

from airflow_provider_btrdb.protocol import MAX_TIME_NS, METHODS, MIN_TIME_NS
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


def test_every_insert_is_a_version_and_an_empty_one_is_none(wire, stream):
    assert wire.insert(stream, (1, 1.0)) == 11
    assert wire.insert(stream) == 11
    assert wire.insert(stream, (1, 1.0), policy=pb.RETAIN) == 12, "also if every point is dropped"
    answer = wire.call("Flush", pb.FlushParams(uuid=stream))
    assert (answer.version_major, answer.version_minor) == (12, 0)
    assert wire.call("Delete", pb.DeleteParams(uuid=stream, start=5, end=6)).version_major == 13
    assert wire.call("ArrowInsert", pb.ArrowInsertParams(uuid=stream, arrow_bytes=wire.arrow_table([], [0.0][:0]))) == (
        pb.InsertResponse(version_major=13)
    )


def test_duplicates_stay_in_the_order_of_insertion(wire, stream):
    wire.insert(stream, (5, 3.0), (5, 1.0), (4, 9.0))
    wire.insert(stream, (5, 2.0), (5, 0.0))
    assert wire.read(stream) == [(4, 9.0), (5, 3.0), (5, 1.0), (5, 2.0), (5, 0.0)]
    forward = wire.call("Nearest", pb.NearestParams(uuid=stream, time=5))
    backward = wire.call("Nearest", pb.NearestParams(uuid=stream, time=6, backward=True))
    assert (forward.value.value, backward.value.value) == (3.0, 0.0)


def test_retain_keeps_the_first_and_replace_the_last_of_one_batch(wire, collection):
    for policy, expected in [(pb.RETAIN, 1.0), (pb.REPLACE, 3.0)]:
        raw = wire.create(collection, name=str(policy))
        wire.insert(raw, (5, 1.0), (5, 2.0), (5, 3.0), policy=policy)
        assert wire.read(raw) == [(5, expected)]


def test_points_at_the_ends_of_time(wire, stream):
    wire.insert(stream, (MIN_TIME_NS, 1.0), (MAX_TIME_NS - 2, 2.0), (0, 0.0))
    assert wire.read(stream) == [(MIN_TIME_NS, 1.0), (0, 0.0), (MAX_TIME_NS - 2, 2.0)]
    request = pb.AlignedWindowsParams(uuid=stream, start=MIN_TIME_NS, end=MAX_TIME_NS - 1, point_width=63)
    (page,) = wire.call("AlignedWindows", request)
    assert [(row.time, row.count) for row in page.values] == [(-(2**63), 1)]
    request = pb.WindowsParams(uuid=stream, start=MIN_TIME_NS, end=MAX_TIME_NS - 1, width=2**61)
    (page,) = wire.call("Windows", request)
    assert [(row.time, row.count) for row in page.values] == [(MIN_TIME_NS, 2)]
    request.width = 2**63
    (page,) = wire.call("Windows", request)
    assert list(page.values) == []


@pytest.mark.parametrize(
    ("points", "code"),
    [
        ([(MIN_TIME_NS - 1, 1.0)], 413),
        ([(MAX_TIME_NS - 1, 1.0)], 413),
        ([(1, 1.0), (2, float("nan"))], 425),
        ([(1, 1.0), (2, float("-inf"))], 425),
        ([(n, 1.0) for n in range(100_001)], 414),
    ],
)
def test_a_bad_insert_is_refused_as_a_whole(wire, stream, points, code):
    values = [pb.RawPoint(time=time, value=value) for time, value in points]
    assert wire.refused("Insert", pb.InsertParams(uuid=stream, values=values)) == code
    table = wire.arrow_table([time for time, _ in points], [value for _, value in points])
    assert wire.refused("ArrowInsert", pb.ArrowInsertParams(uuid=stream, arrow_bytes=table)) == code
    assert wire.info(stream).version_major == 10


def test_rounding(wire, stream):
    values = [pb.RawPoint(time=1, value=1.0 + 2.0**-52)]
    request = pb.InsertParams(uuid=stream, values=values, rounding=pb.RoundSpec(bits=10))
    wire.call("Insert", request)
    assert wire.read(stream) == [(1, 1.0)]


def test_a_thousand_small_inserts_read_fast_because_they_are_few_chunks(wire, stream, btrdb_devserver):
    send = wire.channel.unary_unary(METHODS["Insert"].path, pb.InsertParams.SerializeToString)
    calls = [
        send.future(pb.InsertParams(uuid=stream, values=[pb.RawPoint(time=n, value=1.0)]), timeout=120)
        for n in range(1_000)
    ]
    for call in calls:
        call.result()
    assert [time for time, _ in wire.read(stream)] == list(range(1_000))
    assert wire.info(stream).version_major == 1_010
    rows = btrdb_devserver.sql_as_owner(
        "SELECT count(*) FILTER (WHERE vto = 9223372036854775807), count(*) FROM btrdb.chunk c "
        "JOIN btrdb.stream s USING (sid) WHERE s.uuid = %s",
        [uuid.UUID(bytes=stream)],
    )
    live, ever = rows[0]
    assert live < 40
    assert ever >= 1_000, "old versions keep their chunks"
    old = wire.read(stream, version=510)
    assert len(old) == 500
    assert old == sorted(old)
