"""Reading points: what the development server puts on the wire, message by message."""

from __future__ import annotations

import itertools
import uuid

import numpy as np
import pyarrow as pa

from airflow_provider_btrdb.protocol import MAX_TIME_NS, METHODS, MIN_TIME_NS
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


def test_an_empty_read_is_one_page_with_the_version(wire, stream):
    (page,) = wire.call("RawValues", pb.RawValuesParams(uuid=stream, start=0, end=10))
    assert page == pb.RawValuesResponse(version_major=10)
    for method, request in [
        ("Windows", pb.WindowsParams(uuid=stream, start=0, end=10, width=3)),
        ("AlignedWindows", pb.AlignedWindowsParams(uuid=stream, start=0, end=10, point_width=1)),
        ("Changes", pb.ChangesParams(uuid=stream)),
    ]:
        (page,) = wire.call(method, request)
        assert page == METHODS[method].response(version_major=10)
    for method, request, columns in [
        ("ArrowRawValues", pb.ArrowRawValuesParams(uuid=stream, start=0, end=10), 2),
        ("ArrowWindows", pb.WindowsParams(uuid=stream, start=0, end=10, width=3), 6),
        ("ArrowAlignedWindows", pb.AlignedWindowsParams(uuid=stream, start=0, end=10, point_width=1), 6),
        ("ArrowMultiValues", pb.ArrowMultiValuesParams(uuids=[stream, stream], start=0, end=10), 3),
    ]:
        (page,) = wire.call(method, request)
        assert not page.HasField("stat")
        table = pa.ipc.open_stream(page.arrow_bytes).read_all()
        assert (table.num_rows, table.num_columns) == (0, columns)


def test_pages_have_five_thousand_points_and_arrow_fifty_thousand(wire, stream):
    for first in range(0, 120_000, 40_000):
        table = wire.arrow_table(range(first, first + 40_000), np.arange(40_000.0))
        wire.call("ArrowInsert", pb.ArrowInsertParams(uuid=stream, arrow_bytes=table))
    pages = wire.call("RawValues", pb.RawValuesParams(uuid=stream, start=0, end=12_345))
    assert [len(page.values) for page in pages] == [5_000, 5_000, 2_345]
    assert {page.version_major for page in pages} == {13}
    assert [p.time for page in pages for p in page.values] == list(range(12_345))
    pages = wire.call("ArrowRawValues", pb.ArrowRawValuesParams(uuid=stream, start=0, end=120_000))
    assert [pa.ipc.open_stream(page.arrow_bytes).read_all().num_rows for page in pages] == [50_000, 50_000, 20_000]
    pages = wire.call("AlignedWindows", pb.AlignedWindowsParams(uuid=stream, start=0, end=10_001))
    assert [len(page.values) for page in pages] == [5_000, 5_000, 1]


def test_bad_requests_for_points(wire, stream):
    unknown = uuid.uuid4().bytes
    no_utf8 = wire.arrow_table([1], [1.0]).replace(b"value", b"val\xff\xff")
    for method, request, code in [
        ("Insert", pb.InsertParams(uuid=unknown, values=[pb.RawPoint()]), 404),
        ("Insert", pb.InsertParams(uuid=unknown), 404),
        ("Insert", pb.InsertParams(uuid=b"x"), 421),
        ("Insert", pb.InsertParams(uuid=stream, merge_policy=9), 421),
        ("Insert", pb.InsertParams(uuid=stream, rounding=pb.RoundSpec(bits=53)), 438),
        ("ArrowInsert", pb.ArrowInsertParams(uuid=stream, arrow_bytes=b"nonsense"), 438),
        ("ArrowInsert", pb.ArrowInsertParams(uuid=stream), 438),
        ("ArrowInsert", pb.ArrowInsertParams(uuid=stream, arrow_bytes=wire.arrow_table([1], ["x"])), 438),
        ("ArrowInsert", pb.ArrowInsertParams(uuid=stream, arrow_bytes=no_utf8), 438),
        ("ArrowInsert", pb.ArrowInsertParams(uuid=stream, arrow_bytes=wire.arrow_table([1], [1.0], z=[1])), 438),
        (
            "ArrowInsert",
            pb.ArrowInsertParams(uuid=stream, arrow_bytes=wire.arrow_table([1], pa.array([None], "double"))),
            425,
        ),
        ("Delete", pb.DeleteParams(uuid=stream, start=5, end=5), 413),
        ("Delete", pb.DeleteParams(uuid=stream, start=MIN_TIME_NS - 1, end=5), 413),
        ("Delete", pb.DeleteParams(uuid=unknown, start=1, end=5), 404),
        ("Flush", pb.FlushParams(uuid=unknown), 404),
        ("RawValues", pb.RawValuesParams(uuid=stream, start=0, end=MAX_TIME_NS), 413),
        ("RawValues", pb.RawValuesParams(uuid=stream, start=2, end=1), 413),
        ("RawValues", pb.RawValuesParams(uuid=stream, start=1, end=2, version_major=11), 450),
        ("RawValues", pb.RawValuesParams(uuid=stream, start=1, end=2, version_major=9), 450),
        ("RawValues", pb.RawValuesParams(uuid=stream, start=1, end=2, version_major=2**64 - 1), 450),
        ("RawValues", pb.RawValuesParams(uuid=unknown, start=1, end=2), 404),
        ("ArrowRawValues", pb.ArrowRawValuesParams(uuid=stream, start=1, end=2, template_bytes=b"x"), 438),
        ("AlignedWindows", pb.AlignedWindowsParams(uuid=stream, start=1, end=2, point_width=64), 415),
        ("Windows", pb.WindowsParams(uuid=stream, start=1, end=2, width=0), 415),
        ("Windows", pb.WindowsParams(uuid=stream, start=1, end=2, width=2**63 + 1), 415),
        ("Windows", pb.WindowsParams(uuid=stream, start=1, end=2, width=1, depth=64), 415),
        ("Nearest", pb.NearestParams(uuid=stream, time=MAX_TIME_NS), 413),
        ("Nearest", pb.NearestParams(uuid=stream, time=0), 401),
        ("Nearest", pb.NearestParams(uuid=unknown, time=0), 404),
        ("Changes", pb.ChangesParams(uuid=stream, from_major=11, to_major=10), 427),
        ("Changes", pb.ChangesParams(uuid=stream, to_major=11), 450),
        ("Changes", pb.ChangesParams(uuid=stream, resolution=64), 415),
        ("ArrowMultiValues", pb.ArrowMultiValuesParams(start=0, end=1), 421),
        ("ArrowMultiValues", pb.ArrowMultiValuesParams(uuids=[stream], version_majors=[0, 0], start=0, end=1), 421),
        ("ArrowMultiValues", pb.ArrowMultiValuesParams(uuids=[stream], start=0, end=1, snap_period_ns=-1), 438),
        ("ArrowMultiValues", pb.ArrowMultiValuesParams(uuids=[unknown], start=0, end=1), 404),
        ("GenerateCSV", pb.GenerateCSVParams(start_time=0, end_time=1), 421),
    ]:
        assert wire.refused(method, request) == code, (method, request)


def test_windows_leave_out_what_is_empty_and_what_the_end_cuts(wire, stream):
    wire.insert(stream, (-8, 1.0), (0, 2.0), (9, 3.0), (16, 4.0), (20, 5.0))

    def aligned(start, end, width):
        request = pb.AlignedWindowsParams(uuid=stream, start=start, end=end, point_width=width)
        return [(r.time, r.count) for page in wire.call("AlignedWindows", request) for r in page.values]

    assert aligned(-9, 24, 3) == [(-8, 1), (0, 1), (8, 1), (16, 2)]
    assert aligned(-7, 23, 3) == [(-8, 1), (0, 1), (8, 1)], "both ends are floored"
    assert aligned(1, 2, 3) == []
    assert aligned(0, 1, 0) == [(0, 1)]
    request = pb.WindowsParams(uuid=stream, start=-9, end=20, width=10)
    rows = [(r.time, r.count) for page in wire.call("Windows", request) for r in page.values]
    assert rows == [(-9, 2), (1, 1)]
    request.depth = 33
    assert [(r.time, r.count) for page in wire.call("Windows", request) for r in page.values] == rows


def test_windows_of_an_old_version(wire, stream):
    wire.insert(stream, (1, 1.0))
    wire.insert(stream, (2, 3.0))
    request = pb.AlignedWindowsParams(uuid=stream, start=0, end=8, point_width=3, version_major=11)
    (page,) = wire.call("AlignedWindows", request)
    assert (page.version_major, page.values[0].count) == (11, 1)


def test_several_streams(wire, collection):
    a, b = (wire.create(collection, name=name) for name in "ab")
    wire.insert(a, (1, 1.0), (1, 7.0), (3, 3.0))
    wire.insert(b, (2, 2.0), (3, 30.0))
    wire.insert(b, (4, 4.0))

    def table(**request):
        pages = wire.call("ArrowMultiValues", pb.ArrowMultiValuesParams(uuids=[a, b], start=0, end=10, **request))
        parts = [pa.ipc.open_stream(page.arrow_bytes).read_all() for page in pages]
        return pa.concat_tables(parts)

    got = table()
    assert got.column_names == ["time", str(uuid.UUID(bytes=a)), str(uuid.UUID(bytes=b))]
    assert [field.nullable for field in got.schema] == [False] * 3
    assert got.column(0).cast(pa.int64()).to_pylist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(got.column(1).to_numpy(), [1.0, np.nan, 3.0, np.nan])
    np.testing.assert_array_equal(got.column(2).to_numpy(), [np.nan, 2.0, 30.0, 4.0])
    assert table(version_majors=[0, 11]).column(0).cast(pa.int64()).to_pylist() == [1, 2, 3]
    template = pa.schema([("t", pa.int64()), pa.field("x", pa.float32(), False), ("y", pa.float64())])
    got = table(template_bytes=template.serialize().to_pybytes())
    assert got.schema == template
    short = pa.schema([("t", pa.int64())]).serialize().to_pybytes()
    request = pb.ArrowMultiValuesParams(uuids=[a, b], start=0, end=10, template_bytes=short)
    assert wire.refused("ArrowMultiValues", request) == 438


def test_snapping_looks_half_a_period_before_the_start(wire, stream):
    wire.insert(stream, (94, 1.0), (95, 2.0), (104, 3.0), (116, 4.0), (124, 5.0))
    request = pb.ArrowMultiValuesParams(uuids=[stream], start=100, end=120, snap_period_ns=10)
    (page,) = wire.call("ArrowMultiValues", request)
    table = pa.ipc.open_stream(page.arrow_bytes).read_all()
    assert table.column(0).cast(pa.int64()).to_pylist() == [100]
    assert table.column(1).to_pylist() == [3.0], "the nearest of 95 and 104; 116 belongs to 120"
    request.start, request.end = 90, 95
    (page,) = wire.call("ArrowMultiValues", request)
    assert pa.ipc.open_stream(page.arrow_bytes).read_all().column(1).to_pylist() == [1.0]
    wire.call("Delete", pb.DeleteParams(uuid=stream, start=100, end=110))
    request.start, request.end = 100, 120
    (page,) = wire.call("ArrowMultiValues", request)
    assert pa.ipc.open_stream(page.arrow_bytes).read_all().column(1).to_pylist() == [2.0]


def test_changes(wire, stream):
    wire.insert(stream, (100, 1.0), (5_000, 2.0))
    wire.insert(stream, (200, 1.0))
    wire.call("Delete", pb.DeleteParams(uuid=stream, start=0, end=150))

    def ranges(after, upto, resolution=0):
        request = pb.ChangesParams(uuid=stream, from_major=after, to_major=upto, resolution=resolution)
        (page,) = wire.call("Changes", request)
        return page.version_major, [(r.start, r.end) for r in page.ranges]

    assert ranges(0, 0) == (13, [(100, 101), (200, 201), (5_000, 5_001)])
    assert ranges(10, 11) == (11, [(100, 101), (5_000, 5_001)])
    assert ranges(11, 12) == (12, [(200, 201)])
    assert ranges(12, 13) == (13, [(100, 101)])
    assert ranges(13, 13) == (13, [])
    assert ranges(0, 0, 8) == (13, [(0, 256), (4_864, 5_120)])
    assert ranges(0, 0, 63) == (13, [(0, 2**63 - 1)])


def test_csv(wire, collection):
    a, b = (wire.create(collection, name=name) for name in "ab")
    wire.insert(a, (0, 1.0), (0, 2.0), (1_500_000_000, 3.0))
    wire.insert(b, (0, 5.0))

    def rows(kind, **request):
        streams = [pb.StreamCSVConfig(label="A", uuid=a), pb.StreamCSVConfig(label="B", uuid=b, version=10)]
        params = pb.GenerateCSVParams(query_type=kind, start_time=-16, end_time=2**31, streams=streams, **request)
        messages = wire.call("GenerateCSV", params)
        assert [message.is_header for message in messages] == [True] + [False] * (len(messages) - 1)
        return [list(message.row) for message in messages]

    time_columns = ["Timestamp (ns)", "Human-Readable Time (UTC)"]
    assert rows(pb.GenerateCSVParams.RAW_QUERY, include_versions=True) == [
        [*time_columns, "A, ver. 11", "B, ver. 10"],
        ["0", "1970-01-01T00:00:00Z", "1.000000", ""],
        ["0", "1970-01-01T00:00:00Z", "2.000000", ""],
        ["1500000000", "1970-01-01T00:00:01.5Z", "3.000000", ""],
    ]
    columns = [f"{label} ({what})" for label, what in itertools.product("AB", ("Min", "Mean", "Max", "Count"))]
    row = ["1.000000", "1.500000", "2.000000", "2", "", "", "", ""]
    assert rows(pb.GenerateCSVParams.ALIGNED_WINDOWS_QUERY, depth=4) == [
        [*time_columns, *columns],
        ["0", "1970-01-01T00:00:00Z", *row],
        ["1500000000", "1970-01-01T00:00:01.5Z", "3.000000", "3.000000", "3.000000", "1", "", "", "", ""],
    ]
    assert rows(pb.GenerateCSVParams.WINDOWS_QUERY, window_size=16)[1] == ["0", "1970-01-01T00:00:00Z", *row]
