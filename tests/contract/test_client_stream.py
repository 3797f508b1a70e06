"""Streams beyond values and insert: windows, nearest, count, changes, delete, update, obliterate; in both modes."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from airflow_provider_btrdb.client import Points, errors
from airflow_provider_btrdb.client.models import Point

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stream(db: Any, done: Any, collection: str) -> Any:
    return await done(db.create(uuid4(), collection, {"name": "x", "unit": "V"}, {"a": "1", "b": "2"}))


RANDOM = np.random.default_rng(118)
POINTS = Points.from_columns(np.sort(RANDOM.integers(-5_000, 5_000, 3_000)), RANDOM.normal(size=3_000))


def expected_windows(start: int, end: int, width: int) -> list[tuple[int, float, float, float, int, float]]:
    """Straight from the definition, window by window."""
    rows = []
    for begin in range(start, end - width + 1, width):
        inside = POINTS.values[(POINTS.times >= begin) & (POINTS.times < begin + width)]
        if len(inside):
            rows.append((begin, inside.min(), inside.mean(), inside.max(), len(inside), inside.std()))
    return rows


def check(windows: Any, expected: list[Any]) -> None:
    columns = list(zip(*expected, strict=True)) if expected else [[]] * 6
    assert windows.times.tolist() == list(columns[0])
    assert windows.count.tolist() == list(columns[4])
    for name, column in zip(("min", "mean", "max", "stddev"), (*columns[1:4], columns[5]), strict=True):
        np.testing.assert_allclose(getattr(windows, name), column, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("start", "end", "width"), [(-5000, 5000, 100), (-4999, 4000, 7), (-100, 100, 201), (6000, 9000, 10), (0, 5000, 1)]
)
async def test_windows(done: Any, stream: Any, start: int, end: int, width: int) -> None:
    await done(stream.insert(POINTS))
    check(await done(stream.windows(start, end, width)), expected_windows(start, end, width))


@pytest.mark.parametrize(
    ("start", "end", "pointwidth"), [(-5000, 5000, 6), (-4999, 4999, 0), (-1, 1, 3), (5, 6, 4), (-(2**40), 2**40, 35)]
)
async def test_aligned_windows(done: Any, stream: Any, start: int, end: int, pointwidth: int) -> None:
    await done(stream.insert(POINTS))
    step = 2**pointwidth
    windows = await done(stream.aligned_windows(start, end, pointwidth))
    check(windows, expected_windows(start // step * step, end // step * step, step) if pointwidth < 30 else [
        (begin, inside.min(), inside.mean(), inside.max(), len(inside), inside.std())
        for begin, inside in ((-step, POINTS.values[POINTS.times < 0]), (0, POINTS.values[POINTS.times >= 0]))
    ])  # fmt: skip


async def test_windows_iterate_and_convert(done: Any, stream: Any) -> None:
    for library in ("pandas", "polars", "pyarrow"):
        pytest.importorskip(library, reason=f"needs {library}")
    await done(stream.insert([(0, 1.0), (1, 3.0), (10, 5.0)]))
    windows = await done(stream.windows(0, 20, 10))
    first, second = windows
    assert (first.time, first.min, first.mean, first.max, first.count, first.stddev) == (0, 1.0, 2.0, 3.0, 2, 1.0)
    assert (second.time, second.stddev) == (10, 0.0)
    assert windows.to_arrow().column_names == ["time", "min", "mean", "max", "count", "stddev"]
    assert windows.to_pandas()["mean"].tolist() == [2.0, 5.0]
    assert windows.to_polars()["count"].to_list() == [2, 1]


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("windows", (0, 10, 0), errors.InvalidPointWidthError),
        ("windows", (0, 10, 2**63), errors.InvalidPointWidthError),
        ("windows", (0, 10, 1, 64), errors.InvalidPointWidthError),
        ("windows", (10, 0, 1), errors.InvalidTimeRangeError),
        ("aligned_windows", (0, 10, 64), errors.InvalidPointWidthError),
        ("aligned_windows", (10, 0, 1), errors.InvalidTimeRangeError),
        ("changes", (12, 11), errors.InvalidVersionsError),
        ("delete", (10, 10), errors.InvalidTimeRangeError),
    ],
)
async def test_senseless_ranges(done: Any, stream: Any, method: str, arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        await done(getattr(stream, method)(*arguments))


async def test_nearest_and_its_friends(done: Any, stream: Any) -> None:
    assert await done(stream.nearest(0)) is None
    assert [await done(method()) for method in (stream.earliest, stream.latest, stream.current)] == [None] * 3
    future = 3_000_000_000_000_000_000
    await done(stream.insert([(-10, 1.0), (10, -0.0), (future, 2.0)]))
    assert await done(stream.nearest(10)) == Point(10, 0.0)
    assert await done(stream.nearest(11)) == Point(future, 2.0)
    assert await done(stream.nearest(10, backward=True)) == Point(-10, 1.0)
    assert await done(stream.nearest("1970-01-01T00:00:00.00000001Z")) == Point(10, 0.0)
    assert await done(stream.earliest()) == Point(-10, 1.0)
    assert await done(stream.latest()) == Point(future, 2.0)
    assert await done(stream.current()) == Point(10, 0.0)


async def test_count_is_exact_unless_told_otherwise(done: Any, stream: Any) -> None:
    assert await done(stream.count()) == 0
    await done(stream.insert(POINTS))
    assert await done(stream.count()) == 3000
    inside = int(((POINTS.times >= -37) & (POINTS.times < 1001)).sum())
    assert await done(stream.count(-37, 1001)) == inside
    assert await done(stream.count(0, 1)) == int((POINTS.times == 0).sum())
    assert abs(await done(stream.count(-37, 1001, approximate=True)) - inside) < 60


async def test_changes_delete_and_old_versions(done: Any, stream: Any) -> None:
    one = await done(stream.insert([(0, 1.0), (100, 2.0)]))
    two = await done(stream.insert([(200, 3.0)]))
    three = await done(stream.delete(50, 150))
    assert (two, three) == (one + 1, one + 2)
    assert [time for time, _ in await done(stream.values())] == [0, 200]
    assert [time for time, _ in await done(stream.values(version=two))] == [0, 100, 200]
    changed = await done(stream.changes(two))
    assert changed
    assert all(any(start <= time < end for start, end in changed) for time in (100,))
    assert not any(start <= 200 < end for start, end in changed)
    assert await done(stream.changes(three)) == []
    assert await done(stream.flush()) == three
    assert await done(stream.delete(5000, 6000, repeat=False)) == three + 1
    with pytest.raises(errors.VersionNotAvailableError):
        await done(stream.values(version=99))


# ---------------------------------------------------------------- metadata


async def test_update_changes_what_is_mentioned(db: Any, done: Any, stream: Any, collection: str) -> None:
    version = await done(
        stream.update(
            tags={"unit": "A"},
            annotations={"a": None, "c": "3"},
            collection=collection + "/moved",
            remove_annotations=["b"],
        )
    )
    assert version == stream.property_version == 3
    (found,) = await done(db.streams(stream.uuid))
    for handle in (stream, found):
        assert handle.collection == collection + "/moved"
        assert handle.tags == {"name": "x", "unit": "A", "ingress": "", "distiller": ""}
        assert handle.annotations == {"a": None, "c": "3"}


async def test_update_of_an_unread_handle_still_compares(db: Any, done: Any, stream: Any) -> None:
    handle = await done(db.stream_from_uuid(stream.uuid))
    assert await done(handle.update(annotations={"k": "v"})) == 2
    with pytest.raises(errors.PropertyVersionMismatch):
        await done(stream.update(tags={"unit": "W"}))
    await done(stream.refresh())
    assert stream.unit == "V"
    assert await done(stream.update(tags={"unit": "W"}, remove_tags=["ingress"])) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "nothing to update"),
        ({"annotations": {"n": 1}}, "annotation 'n' is 1"),
        ({"tags": {"unit": None}}, "tag 'unit' is None"),
        ({"collection": ""}, "collection is empty"),
        ({"annotations": {"a": "x"}, "remove_annotations": ["a"]}, "'a' is both set and removed"),
    ],
)
async def test_senseless_updates_change_nothing(done: Any, stream: Any, arguments: Any, words: str) -> None:
    with pytest.raises(errors.InputError, match=words):
        await done(stream.update(**arguments))
    await done(stream.refresh())
    assert stream.property_version == 1


async def test_an_update_done_half_says_so(done: Any, stream: Any) -> None:
    with pytest.raises(
        errors.PartialUpdateError, match="tags and collection are changed, annotations are not"
    ) as caught:
        await done(stream.update(tags={"unit": "W"}, annotations={"k" * 300: "v"}))
    assert caught.value.done == ("tags",)
    await done(stream.refresh())
    assert (stream.unit, stream.property_version) == ("W", 2)


async def test_obliterate_is_for_good(db: Any, done: Any, stream: Any, collection: str) -> None:
    await done(stream.obliterate())
    assert await done(stream.exists()) is False
    with pytest.raises(errors.StreamNotFoundError):
        await done(stream.obliterate())
    with pytest.raises(errors.RecycledUuidError):
        await done(db.create(stream.uuid, collection, {"name": "x"}))
