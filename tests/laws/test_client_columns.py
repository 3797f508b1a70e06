"""Laws of columns of points: batches, joining, equality, the checks before an insert, other libraries' tables."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_btrdb.client.columns import (
    INSERT_BATCH,
    Gathered,
    check_insertable,
    in_batches,
    joined_points,
)
from airflow_provider_btrdb.client.errors import BadValueError, InputError, InvalidTimeRangeError
from airflow_provider_btrdb.client.models import Points
from airflow_provider_btrdb.protocol import MAX_TIME_NS, MIN_TIME_NS

UUID_ = UUID("0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a")
NOON_NS = 1_706_702_400_000_000_000


def _points(times: list[int], values: list[float] | None = None) -> Points:
    return Points(np.array(times, np.int64), np.array(values or [1.0] * len(times), np.float64))


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(1, 20))
def test_batches_are_the_whole_in_order(count: int, size: int) -> None:
    points = _points(list(range(count)), [float(number) for number in range(count)])
    batches = list(in_batches(points, size))
    assert joined_points(batches) == points
    assert all(0 < len(batch) <= size for batch in batches)
    assert all(len(batch) == size for batch in batches[:-1])


def test_a_batch_is_what_every_server_takes() -> None:
    points = _points(list(range(INSERT_BATCH + 1)))
    assert [len(batch) for batch in in_batches(points)] == [50_000, 1]


def test_no_pages_are_no_points() -> None:
    empty = joined_points([])
    assert (len(empty), empty.times.dtype, empty.values.dtype) == (0, np.int64, np.float64)


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), max_size=30))
def test_gathered_pages_are_the_joined_ones(sizes: list[int]) -> None:
    pages, begin = [], 0
    for size in sizes:
        pages.append(_points(list(range(begin, begin + size)), [number / 7 for number in range(begin, begin + size)]))
        begin += size
    gathered = Gathered()
    for page in pages:
        gathered.add(page)
    assert gathered.points() == joined_points(pages)


def test_a_bad_point_of_a_later_batch_is_named_by_its_place_in_all() -> None:
    count = INSERT_BATCH + 7
    points = Points(np.arange(count), np.ones(count))
    points.values[-1] = np.nan
    with pytest.raises(BadValueError, match=f"point {count - 1} at"):
        check_insertable(points, UUID_)
    points.values[-1], points.times[-1] = 1.0, MAX_TIME_NS
    with pytest.raises(InvalidTimeRangeError, match=f"point {count - 1} has the time"):
        check_insertable(points, UUID_)


# ---------------------------------------------------------------- equality


@settings(deadline=None)
@given(st.floats(width=64), st.floats(width=64), st.integers(-5, 5), st.integers(-5, 5))
def test_equal_points_have_equal_bits(one: float, two: float, at: int, later: int) -> None:
    same = at == later and np.float64(one).tobytes() == np.float64(two).tobytes()
    assert (_points([at], [one]) == _points([later], [two])) is same


def test_zeros_and_nans() -> None:
    assert _points([1], [0.0]) != _points([1], [-0.0])
    assert _points([1], [math.nan]) == _points([1], [math.nan])
    assert _points([1]) != _points([1, 1])
    assert _points([1]) != [(1, 1.0)]
    with pytest.raises(TypeError, match="unhashable"):
        hash(_points([1]))


# ---------------------------------------------------------------- before an insert


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_value_that_is_no_number_is_named(value: float, at: int) -> None:
    values = [1.0, 2.0, 3.0]
    values[at] = value
    with pytest.raises(BadValueError, match=f"point {at} at 1970-01-01T00:00:00.00000000{at}Z is {value}") as caught:
        check_insertable(_points([0, 1, 2], values), UUID_)
    assert caught.value.uuid == str(UUID_)


@pytest.mark.parametrize("time_ns", [MIN_TIME_NS - 1, MAX_TIME_NS - 1, MAX_TIME_NS, 2**63 - 1, -(2**63)])
def test_a_time_that_btrdb_cannot_hold_is_named(time_ns: int) -> None:
    with pytest.raises(InvalidTimeRangeError, match=f"point 1 has the time {time_ns} ns"):
        check_insertable(_points([0, time_ns, 2]), UUID_)


def test_the_first_and_the_last_time_can_be_stored() -> None:
    check_insertable(_points([MIN_TIME_NS, MAX_TIME_NS - 2, 0]), UUID_)
    check_insertable(_points([]), UUID_)
    check_insertable(_points([1], [1.7976931348623157e308]), UUID_)


# ---------------------------------------------------------------- making points


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(width=64))))
def test_pairs_and_back(pairs: list[tuple[int, float]]) -> None:
    points = Points.of(pairs)
    assert len(points) == len(pairs)
    assert points.times.tolist() == [time for time, _ in pairs]
    assert points.values.tobytes() == np.array([value for _, value in pairs], np.float64).tobytes()
    assert Points.of(points) is points
    assert Points.of(iter(list(points))) == points


def test_pairs_with_times_as_people_write_them() -> None:
    assert list(Points.of([("2024-01-31T12:00:00Z", 1), (np.datetime64(5, "ns"), True)])) == [(NOON_NS, 1.0), (5, 1.0)]


@pytest.mark.parametrize("pairs", [[("x", 1.0)], [(1, "x")], [(1.5, 1.0)], [(2**63, 1.0)], [(True, 1.0)], [(1, 1j)]])
def test_pairs_that_are_no_points(pairs: Any) -> None:
    with pytest.raises(InputError):
        Points.of(pairs)


@pytest.mark.parametrize("times", [[1, 2], (1, 2), np.array([1, 2]), np.array([1, 2], "u1"), np.array([1, 2], ">i8")])
def test_columns(times: Any) -> None:
    points = Points.from_columns(times, [1, 2.5])
    assert list(points) == [(1, 1.0), (2, 2.5)]
    assert (points.times.dtype, points.values.dtype) == (np.int64, np.float64)
    assert len(Points.from_columns([], [])) == 0


@pytest.mark.parametrize(
    ("times", "values"),
    [
        ([1, 2], [1.0]),
        ([], [1.0]),
        ([1], []),
        ([[1, 2]], [[1.0, 2.0]]),
        ([1.5], [1.0]),
        (np.array([1.0]), [1.0]),
        ([1], ["x"]),
        ([None], [1.0]),
        ([2**63], [1.0]),
        (5, 1.0),
    ],
)
def test_columns_that_are_no_points(times: Any, values: Any) -> None:
    with pytest.raises(InputError):
        Points.from_columns(times, values)


@pytest.mark.parametrize(
    "times",
    [
        np.array([1.5], object),
        [Decimal("1.5")],
        ["123"],
        [True],
        np.array([2**64 - 1], "u8"),
        np.array([5], "m8[s]"),
        np.array(["NaT"], "M8[us]"),
        np.array(["9999-01-01"], "M8[us]"),
        np.empty((0, 2), np.int64),
    ],
    ids=["object", "decimal", "text", "bool", "uint64", "timedelta", "NaT", "far", "flat"],
)
def test_times_that_would_change_on_the_way_are_refused(times: Any) -> None:
    with pytest.raises(InputError):
        Points.from_columns(times, [1.0] * len(times))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_columns_of_timestamps_keep_their_unit(unit: str) -> None:
    times = np.array(["2024-01-31T12:00:00"], f"datetime64[{unit}]")
    assert Points.from_columns(times, [1.0]).times.tolist() == [NOON_NS]


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_pandas_timestamps_keep_their_unit(zone: str | None, unit: str) -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    index = pd.DatetimeIndex(["2024-01-31T12:00:00"], tz="UTC").as_unit(unit).tz_convert(zone)
    for times in (index, pd.Series(index), index.array):
        assert Points.from_columns(times, [1.0]).times.tolist() == [NOON_NS]


@pytest.mark.parametrize(
    ("times", "values"),
    [
        (np.arange(3), np.ones(1)),
        (np.arange(3), np.ones(4)),
        (np.arange(3), [1.0, 1.0, 1.0]),
        (np.arange(3.0), np.ones(3)),
        (np.arange(3), np.ones(3, np.float32)),
        (np.ones((3, 1), np.int64), np.ones((3, 1))),
    ],
)
def test_points_are_two_columns_of_one_length(times: Any, values: Any) -> None:
    """One value beside many times would be written to all of them by numpy."""
    with pytest.raises(InputError):
        Points(times, values)


# ---------------------------------------------------------------- other libraries

TIMES = [MIN_TIME_NS, -1, 0, NOON_NS + 123]
VALUES = [0.0, -0.0, 1.5, math.inf]


def test_arrow() -> None:
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    table = _points(TIMES, VALUES).to_arrow()
    assert table.schema == pa.schema([("time", pa.timestamp("ns", tz="UTC")), ("value", pa.float64())])
    assert table["time"].cast(pa.int64()).to_pylist() == TIMES
    assert [math.copysign(1, value) for value in table["value"].to_pylist()] == [1, -1, 1, 1]
    assert _points([]).to_arrow().schema == table.schema


def test_pandas() -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    series = _points(TIMES, VALUES).to_pandas()
    assert str(series.index.dtype) == "datetime64[ns, UTC]"
    assert (series.index.name, series.name) == ("time", "value")
    assert [moment.value for moment in series.index] == TIMES
    assert series.tolist() == VALUES
    assert series.index[3] == pd.Timestamp("2024-01-31T12:00:00.000000123Z")
    assert Points.from_columns(series.index, series) == _points(TIMES, VALUES)
    assert len(_points([]).to_pandas()) == 0


def test_polars() -> None:
    pl = pytest.importorskip("polars", reason="needs polars")
    frame = _points(TIMES, VALUES).to_polars()
    assert frame.schema == {"time": pl.Datetime("ns", "UTC"), "value": pl.Float64()}
    assert frame["time"].to_physical().to_list() == TIMES
    assert frame["value"].to_list() == VALUES
    assert _points([]).to_polars().schema == frame.schema
