"""Sets of streams and bulk operations, in both modes."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from airflow_provider_btrdb.client import Points, connect, connect_async, errors
from airflow_provider_btrdb.client.models import Point

pytestmark = pytest.mark.anyio

VOLTS = [(0, 0.0), (5, -0.0), (5, 1.0), (5, 1.0), (9, 3.0)]
AMPS = [(5, 7.0), (10, 8.0)]


@pytest.fixture
async def streams(db: Any, done: Any, collection: str) -> Any:
    """Two streams with points and one without."""
    rows = [
        {"collection": collection, "name": "L1", "unit": "volts", "annotations": {"bus": "1", "note": None}},
        {"collection": collection, "name": "C1", "unit": "amps", "annotations": {"bus": "2"}},
        {"collection": collection, "name": "empty", "unit": "volts"},
    ]
    results = await done(db.create_many(rows))
    found = await done(db.streams(result.uuid for result in results))
    await done(found.insert({found[0]: VOLTS, str(found[1].uuid): AMPS}))
    return found


async def test_a_set_is_a_sequence(db: Any, streams: Any) -> None:
    assert len(streams) == 3
    assert [stream.name for stream in streams[::-1]] == ["empty", "C1", "L1"]
    assert streams[0] in streams
    assert streams[0].uuid in streams
    assert str(streams[0].uuid).upper() in streams
    assert uuid4() not in streams
    assert "nonsense" not in streams
    assert repr(streams).endswith("of 3 streams>")


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ({}, ["L1", "C1", "empty"]),
        ({"unit": "volts"}, ["L1", "empty"]),
        ({"unit": "Volts"}, []),
        ({"name": re.compile("1$")}, ["L1", "C1"]),
        ({"tags": {"unit": "amps", "name": re.compile("C")}}, ["C1"]),
        ({"annotations": {"bus": None}}, ["L1", "C1"]),
        ({"annotations": {"bus": "2"}}, ["C1"]),
        ({"annotations": {"note": re.compile("")}}, []),
        ({"collection": re.compile("^nowhere")}, []),
    ],
)
async def test_filter(streams: Any, where: dict[str, Any], names: list[str]) -> None:
    assert [stream.name for stream in streams.filter(**where)] == names
    assert len(streams) == 3


async def test_every_read_uses_the_range(done: Any, streams: Any) -> None:
    ranged = streams.filter(start=0, end=10)
    assert [list(points) for points in await done(ranged.values())] == [VOLTS, AMPS[:1], []]
    assert await done(ranged.counts()) == [5, 1, 0]
    assert await done(ranged.count()) == 6
    assert await done(ranged.earliest()) == [Point(0, 0.0), Point(5, 7.0), None]
    assert await done(ranged.latest()) == [Point(9, 3.0), Point(5, 7.0), None]
    assert await done(ranged.filter(start=6).earliest()) == [Point(9, 3.0), None, None]
    assert await done(ranged.filter(end=5).latest()) == [Point(0, 0.0), None, None]
    assert [windows.count.tolist() for windows in await done(ranged.windows(5))] == [[1, 4], [1], []]
    assert [windows.times.tolist() for windows in await done(ranged.aligned_windows(1))] == [[0, 4, 8], [4], []]
    with pytest.raises(errors.InputError, match="filter"):
        await done(streams.windows(5))


async def test_every_read_uses_the_pinned_versions(done: Any, streams: Any) -> None:
    pinned = await done(streams.pin_versions())
    assert await done(pinned.versions()) == [11, 11, 10]
    await done(streams.insert({streams[0]: [(-1, 9.0)], streams[2]: [(1, 1.0)]}, "replace"))
    assert await done(streams.versions()) == [12, 11, 11]
    for chosen in (pinned, pinned.filter(start=-5, end=20), pinned[:], pinned.filter(name=re.compile("."))):
        ranged = chosen.filter(start=-5, end=20)
        assert [len(points) for points in await done(chosen.values())] == [5, 2, 0]
        assert await done(chosen.counts()) == [5, 2, 0]
        assert await done(chosen.earliest()) == [Point(0, 0.0), Point(5, 7.0), None]
        assert await done(chosen.latest()) == [Point(9, 3.0), Point(10, 8.0), None]
        assert [int(windows.count.sum()) for windows in await done(ranged.windows(25))] == [5, 2, 0]
        assert [int(windows.count.sum()) for windows in await done(ranged.aligned_windows(0))] == [5, 2, 0]
        assert [row["version"] for row in await done(chosen.describe())] == [11, 11, 10]


async def test_tables_use_the_pinned_versions_too(done: Any, streams: Any) -> None:
    for library in ("pandas", "polars", "pyarrow"):
        pytest.importorskip(library, reason=f"needs {library}")
    pinned = await done(streams.pin_versions())
    await done(streams.insert({streams[0]: [(-1, 9.0)], streams[2]: [(1, 1.0)]}, "replace"))
    for chosen in (pinned, pinned.filter(start=-5, end=20), pinned[:]):
        assert (await done(chosen.to_pandas())).notna().sum().tolist() == [5, 2, 0]
        table, frame = await done(chosen.to_arrow()), await done(chosen.to_polars())
        assert [len(table) - column.null_count for column in table.columns[1:]] == [5, 2, 0]
        assert [len(frame) - column.null_count() for column in frame.iter_columns()][1:] == [5, 2, 0]


async def test_tables_keep_duplicates_and_gaps(done: Any, streams: Any, collection: str) -> None:
    for library in ("pandas", "polars", "pyarrow"):
        pytest.importorskip(library, reason=f"needs {library}")
    frame = await done(streams.to_pandas())
    assert frame.columns.tolist() == [f"{collection}/{name}" for name in ("L1", "C1", "empty")]
    assert frame.index.astype("int64").tolist() == [0, 5, 5, 5, 9, 10]
    assert frame[f"{collection}/L1"].dropna().tolist() == [0.0, -0.0, 1.0, 1.0, 3.0]
    table = await done(streams.to_arrow())
    assert table.column("time").cast("int64").to_pylist() == [0, 5, 5, 5, 9, 10]
    assert table.column(f"{collection}/C1").to_pylist() == [None, 7.0, None, None, None, 8.0]
    polars = await done(streams.to_polars())
    assert polars["time"].cast(int).to_list() == [0, 5, 5, 5, 9, 10]
    assert polars[f"{collection}/C1"].to_list() == [None, 7.0, None, None, None, 8.0]
    assert (await done(streams[:0].to_pandas())).shape == (0, 0)


async def test_streams_of_one_name_have_columns_of_their_own(done: Any, db: Any, collection: str) -> None:
    pytest.importorskip("pandas", reason="needs pandas")
    pair = [await done(db.create(uuid4(), collection, {"name": "x", "unit": unit})) for unit in "VA"]
    both = await done(db.streams(stream.uuid for stream in pair))
    frame = await done(both.to_pandas())
    assert frame.columns.tolist() == [f"{collection}/x {stream.uuid}" for stream in pair]


async def test_describe(done: Any, streams: Any, collection: str) -> None:
    rows = await done(streams.describe())
    assert rows[0] == {
        "uuid": str(streams[0].uuid),
        "collection": collection,
        "name": "L1",
        "unit": "volts",
        "version": 11,
        "count": 5,
        "earliest": 0,
        "latest": 9,
    }
    assert (rows[2]["count"], rows[2]["earliest"], rows[2]["latest"]) == (0, None, None)


async def test_inserting_beside_the_set_is_refused(done: Any, streams: Any) -> None:
    with pytest.raises(errors.InputError, match="not in this set"):
        await done(streams[:1].insert({streams[1]: [(1, 1.0)]}))


# ---------------------------------------------------------------- bulk


async def test_update_many(db: Any, done: Any, streams: Any) -> None:
    stranger = uuid4()
    told: list[tuple[int, int]] = []
    results = await done(
        db.update_many(
            [
                (streams[0], {"annotations": {"k": "v"}}),
                (stranger, {"tags": {"unit": "W"}}),
                (str(streams[1].uuid), {"tags": {"unit": "mA"}, "remove_annotations": ["bus"]}),
            ],
            progress=lambda *step: told.append(step),
        )
    )
    assert [(result.outcome, result.version) for result in results] == [("ok", 2), ("failed", 0), ("ok", 3)]
    assert isinstance(results[1].error, errors.StreamNotFoundError)
    assert results[1].uuid == stranger
    assert told == [(1, 3), (2, 3), (3, 3)]
    (changed,) = await done(db.streams(streams[1].uuid))
    assert (changed.unit, changed.annotations) == ("mA", {})
    with pytest.raises(errors.InputError, match="item 1: update has no 'tag'"):
        await done(db.update_many([(streams[0], {"tag": {"unit": "W"}})]))


async def test_insert_many(db: Any, done: Any, streams: Any) -> None:
    results = await done(
        db.insert_many([(streams[0], [(1, 1.0)]), (streams[1], [(1, float("nan"))]), (uuid4(), [(1, 1.0)])], "replace")
    )
    assert [result.outcome for result in results] == ["ok", "failed", "failed"]
    assert results[0].version == 12
    assert isinstance(results[1].error, errors.BadValueError)
    assert isinstance(results[2].error, errors.StreamNotFoundError)
    with pytest.raises(errors.InputError, match="item 1: uuid 'x'"):
        await done(db.insert_many([("x", [(1, 1.0)])]))


async def test_what_is_not_begun_in_time_fails_and_is_named(db: Any, done: Any, collection: str) -> None:
    rows = [{"collection": collection, "name": str(number)} for number in range(10)]
    results = await done(db.create_many(rows, seconds=0))
    assert {result.outcome for result in results} == {"failed"}
    assert "not tried" in str(results[0].error)
    assert await done(db.count_streams(collection)) == 0


async def test_arrow_and_raw_points_read_the_same(target: Any, one_loop: None, collection: str) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    rng = np.random.default_rng(7)
    points = Points.from_columns(
        np.sort(rng.integers(-(2**60), 2**61, 120_000) // 10**13 * 10**13),
        rng.choice([0.0, -0.0, 1.5, 5e-324], 120_000),
    )
    results = []
    for arrow in ("on", "off"):
        with connect(target.endpoint, target.api_key, arrow=arrow) as db:
            if not results:
                stream = db.create(uuid4(), collection, {"name": "x"})
                stream.insert(points)
                empty = db.create(uuid4(), collection, {"name": "empty"})
            assert len(db.stream_from_uuid(empty.uuid).values()) == 0
            results.append(db.stream_from_uuid(stream.uuid).values())
            results.append(db.stream_from_uuid(stream.uuid).values(-(2**59), 2**60, version=12))
        async with await connect_async(target.endpoint, target.api_key, arrow=arrow) as other:
            results.append(await (await other.stream_from_uuid(stream.uuid)).values())
    assert results[0] == points
    assert results[2] == results[0] == results[3] == results[5]
    assert results[1] == results[4]
    assert 0 < len(results[1]) < len(points)
