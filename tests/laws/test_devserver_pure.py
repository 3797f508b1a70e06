"""Laws of the server's pure parts: pages, chunks, windows, several streams side by side."""

from __future__ import annotations

import asyncio
import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_btrdb.devserver import arrow, changes, chunks, export, merge, multi, pages, windows
from airflow_provider_btrdb.devserver.merge import Points
from airflow_provider_btrdb.protocol import MAX_TIME_NS, MIN_TIME_NS
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

TIMES = st.integers(MIN_TIME_NS, MAX_TIME_NS - 2)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
POINTS = st.lists(st.tuples(TIMES, FLOATS), max_size=60)


def points_of(pairs):
    return Points(np.array([t for t, _ in pairs], np.int64), np.array([v for _, v in pairs], np.float64))


async def blocks_of(points, sizes):
    """The same points in stretches; one time is never parted, as in chunks."""
    start = 0
    while start < len(points.t):
        end = min(start + next(sizes), len(points.t))
        while end < len(points.t) and points.t[end] == points.t[end - 1]:
            end += 1
        yield points.take(slice(start, end))
        start = end


def collect(source):
    async def all_of():
        return [item async for item in source]

    return asyncio.run(all_of())


def cycle(sizes):
    while True:
        yield from sizes


@settings(deadline=None)
@given(POINTS, st.integers(0, 2**64 - 1))
def test_a_page_of_points_is_the_message(pairs, version):
    message = pb.RawValuesResponse.FromString(pages.raw_values(points_of(pairs), version))
    assert message.version_major == version
    assert not message.HasField("stat")
    assert [(point.time, point.value) for point in message.values] == pairs


@settings(deadline=None)
@given(st.lists(st.tuples(TIMES, *[FLOATS] * 3, st.integers(0, 2**64 - 1), FLOATS), max_size=20))
def test_a_page_of_windows_is_the_message(rows):
    message = pb.WindowsResponse.FromString(pages.windows(np.array(rows, pages.WINDOW_DTYPE), 7))
    assert message.version_major == 7
    assert [(r.time, r.min, r.mean, r.max, r.count, r.stddev) for r in message.values] == rows


@settings(deadline=None)
@given(POINTS, st.sampled_from(list(pb.MergePolicy.values())), st.booleans(), st.booleans(), st.binary(max_size=20))
def test_an_insert_is_read_as_protobuf_reads_it(pairs, policy, sync, rounding, uuid):
    request = pb.InsertParams(uuid=uuid, sync=sync, merge_policy=policy)
    if rounding:
        request.rounding.bits = 3
    request.values.extend(pb.RawPoint(time=t, value=v) for t, v in pairs)
    message, points = pages.insert_params(request.SerializeToString())
    assert list(zip(points.t.tolist(), points.v.tolist(), strict=True)) == pairs
    for field in ("uuid", "sync", "merge_policy", "rounding"):
        assert getattr(message, field) == getattr(request, field)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_an_insert_for_both_or_for_none(raw):
    try:
        expected = pb.InsertParams.FromString(raw)
    except Exception as error:
        with pytest.raises(type(error)):
            pages.insert_params(raw)
        return
    _, points = pages.insert_params(raw)
    np.testing.assert_array_equal(points.t, [point.time for point in expected.values])
    np.testing.assert_array_equal(points.v, [point.value for point in expected.values])


@settings(deadline=None)
@given(st.lists(st.integers(1, 20_000), max_size=60))
def test_fused_chunks_are_neighbours_and_not_too_large(sizes):
    runs = chunks.fuse(sizes)
    assert all(last - first > 1 for first, last in runs)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(runs))
    assert all(sum(sizes[first:last]) <= chunks.CHUNK_POINTS for first, last in runs)


@settings(deadline=None)
@given(st.lists(st.integers(1, 100), min_size=1, max_size=400))
def test_appending_leaves_few_chunks(batches):
    sizes: list[int] = []
    for batch in batches:
        sizes.append(batch)
        for first, last in reversed(chunks.fuse(sizes)):
            sizes[first:last] = [sum(sizes[first:last])]
    assert sum(sizes) == sum(batches)
    assert len(sizes) <= 5 * chunks.FAN_OUT


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 1)), min_size=1, max_size=200))
def test_cut_parts_no_time(pairs):
    points = points_of(sorted(pairs, key=lambda pair: pair[0]))
    limit = chunks.CHUNK_POINTS
    try:
        chunks.CHUNK_POINTS = 7
        pieces = chunks.cut(points)
    finally:
        chunks.CHUNK_POINTS = limit
    assert merge.join(pieces).t.tolist() == points.t.tolist()
    assert all(a.t[-1] < b.t[0] for a, b in itertools.pairwise(pieces))
    assert all(len(piece.t) <= 7 or piece.t[0] == piece.t[-1] for piece in pieces)


@settings(deadline=None)
@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=300, unique=True))
def test_ranges_cover_exactly_what_they_should(times):
    sorted_times = np.array(sorted(times), np.int64)
    los, his = merge.ranges(sorted_times, sorted_times)
    assert len(los) <= merge.MAX_RANGES
    assert all(any(lo <= t < hi for lo, hi in zip(los, his, strict=True)) for t in sorted_times)
    assert set(los) <= set(sorted_times.tolist())
    assert {hi - 1 for hi in his} <= set(sorted_times.tolist())
    assert all(end <= start for end, start in zip(his[:-1], los[1:], strict=True)), "what lies between is left out"


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-500, 500), st.integers(1, 50)), max_size=20),
    st.integers(0, 63),
)
def test_united_ranges(pairs, resolution):
    los = np.array([lo for lo, _ in pairs], np.int64)
    his = np.array([lo + length for lo, length in pairs], np.int64)
    united = list(changes._united(los, his, resolution))
    cell = 1 << resolution
    expected = {c for lo, length in pairs for c in range(lo // cell, (lo + length - 1) // cell + 1)}
    clamp = (1 << 63) - 1
    assert sum(-(-(hi - lo) // cell) for lo, hi in united) == len(expected)
    assert all(lo % cell == 0 and (hi % cell == 0 or hi == clamp) for lo, hi in united)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(united))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6)), min_size=1, max_size=300),
    st.lists(st.integers(1, 50), min_size=1),
    st.integers(0, 22),
)
def test_windows_are_what_numpy_says(pairs, sizes, width):
    points = points_of(sorted(pairs, key=lambda pair: pair[0]))
    rows = collect(windows.fold(blocks_of(points, cycle(sizes)), windows.aligned(width)))
    rows = np.concatenate(rows)
    starts = points.t >> width << width
    assert rows["time"].tolist() == np.unique(starts).tolist()
    for row in rows:
        values = points.v[starts == row["time"]]
        assert row["count"] == len(values)
        assert (row["min"], row["max"]) == (values.min(), values.max())
        assert row["mean"] == pytest.approx(values.mean(), rel=1e-9, abs=1e-6)
        assert row["stddev"] == pytest.approx(values.std(), rel=1e-6, abs=1e-4)


def test_stddev_does_not_lose_its_digits():
    points = Points(np.arange(10_000), 1e9 + np.tile([0.0, 1.0], 5_000))
    (rows,) = collect(windows.fold(blocks_of(points, cycle([7])), windows.aligned(40)))
    assert rows["stddev"].tolist() == pytest.approx([0.5], rel=1e-6)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), FLOATS), max_size=300), st.integers(1, 40), st.integers(1, 10**6))
def test_a_step_counts_from_its_start(pairs, size, width):
    points = points_of(sorted(pairs, key=lambda pair: pair[0]))
    rows = collect(windows.fold(blocks_of(points, cycle([size])), windows.stepped(-17, width)))
    times = [int(t) for part in rows for t in part["time"]]
    assert times == sorted({-17 + (t + 17) // width * width for t in points.t.tolist()})


STREAM = st.lists(st.tuples(st.integers(-200, 200), st.floats(-10, 10)), max_size=60).map(
    lambda pairs: sorted(pairs, key=lambda pair: pair[0])
)


@settings(deadline=None)
@given(st.lists(STREAM, min_size=1, max_size=4), st.lists(st.integers(1, 20), min_size=1))
def test_streams_side_by_side(streams, sizes):
    sources = [multi.distinct(blocks_of(points_of(pairs), cycle(sizes))) for pairs in streams]
    rows = {}
    last = None
    for parts in collect(multi.side_by_side(sources)):
        times, *columns = multi.table(parts)
        assert last is None or not len(times) or times[0] > last
        last = times[-1] if len(times) else last
        for index, time in enumerate(times.tolist()):
            rows[time] = [column[index] for column in columns]
    firsts = [dict(reversed(pairs)) for pairs in streams]
    assert sorted(rows) == sorted(set().union(*firsts))
    for time, row in rows.items():
        for value, first in zip(row, firsts, strict=True):
            assert value == first[time] if time in first else math.isnan(value)


@settings(deadline=None)
@given(
    STREAM, st.lists(st.integers(1, 20), min_size=1), st.integers(1, 60), st.integers(-150, 150), st.integers(1, 200)
)
def test_snapping_takes_the_nearest(pairs, sizes, period, start, length):
    source = multi.snapped(blocks_of(points_of(pairs), cycle(sizes)), period, start, start + length)
    got = [(int(row["time"]), float(row["value"])) for part in collect(source) for row in part]
    cells: dict[int, tuple[int, int, float]] = {}
    for time, value in pairs:
        # g - p/2 <= t < g + p/2, in integers
        (cell,) = [
            g * period for g in range(-500, 500) if 2 * g * period - period <= 2 * time < 2 * g * period + period
        ]
        best = cells.get(cell)
        if best is None or (abs(time - cell), time) < best[:2]:
            cells[cell] = (abs(time - cell), time, value)
    assert got == [(cell, cells[cell][2]) for cell in sorted(cells) if start <= cell < start + length]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_of_two_that_are_equally_near_the_earlier_wins(size):
    pairs = [(6, 1.0), (14, 2.0), (17, 3.0), (23, 4.0), (24, 5.0)]
    (first, *rest) = collect(multi.snapped(blocks_of(points_of(pairs), cycle([size])), 10, 0, 100))
    got = [row for part in (first, *rest) for row in part.tolist()]
    assert got == [(10, 1.0), (20, 3.0)]


@pytest.mark.parametrize("period", range(1, 13))
def test_a_point_belongs_to_the_cell_around_it(period):
    for time in range(-30, 31):
        (rows,) = collect(multi.snapped(blocks_of(points_of([(time, 1.0)]), cycle([1])), period, -100, 100))
        (cell,) = rows["time"].tolist()
        assert cell % period == 0
        assert 2 * cell - period <= 2 * time < 2 * cell + period


@settings(deadline=None)
@given(st.integers(MIN_TIME_NS, MAX_TIME_NS))
def test_times_as_text_come_back(time_ns):
    text = export.rfc3339(time_ns)
    assert text.endswith("Z")
    head, _, fraction = text.removesuffix("Z").partition(".")
    assert int(np.datetime64(head, "s").astype(np.int64)) * 10**9 + int(fraction.ljust(9, "0") or 0) == time_ns
    assert not fraction.endswith("0")


@settings(deadline=None)
@given(FLOATS, st.integers(0, 52))
def test_rounded_values_lose_bits_and_stay_near(value, bits):
    (rounded,) = merge.round_bits(np.array([value]), bits).tolist()
    raw = np.array([rounded]).view(np.uint64)[0]
    assert math.isfinite(rounded)
    assert int(raw) % (1 << bits) == 0 or rounded == value
    assert abs(rounded - value) <= math.ulp(value) * 2**bits


@settings(max_examples=30, deadline=None)
@given(POINTS)
def test_arrow_points_come_back(pairs):
    points = points_of(pairs)
    again = arrow.inserted(arrow.page(arrow.RAW_SCHEMA, [points.t, points.v]), 100)
    assert again.t.tolist() == points.t.tolist()
    assert again.v.tolist() == points.v.tolist()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_arrow_times_of_every_unit(unit, zone):
    batch = pa.table({"a": pa.array([1, 2]).cast(pa.timestamp(unit, zone)), "b": pa.array([1, 2], pa.int32())})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_table(batch)
    points = arrow.inserted(sink.getvalue().to_pybytes(), 10)
    scale = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    assert points.t.tolist() == [scale, 2 * scale]
    assert points.v.tolist() == [1.0, 2.0]
