"""The client with nothing but its own dependencies: all but other libraries' tables works, and those name the command.

`.ci/run bare` runs this file where pyarrow, pandas and polars are not installed. Elsewhere they are hidden from imports
for the length of each test.
"""

from __future__ import annotations

import re
import sys
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from airflow_provider_btrdb.client import Points, connect, connect_async, dbapi, errors

pytestmark = pytest.mark.anyio

POINTS = [(-5, 0.0), (0, -0.0), (0, 0.0), (0, -0.0), (7, 5e-324), (8, 1.5)]
COMMAND = "pip install 'airflow-provider-btrdb[{}]'"
EXTRAS = {"to_arrow": "arrow", "to_pandas": "pandas", "to_polars": "polars"}


@pytest.fixture(autouse=True)
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyarrow", "pandas", "polars"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ImportError):
            __import__(name)


@pytest.fixture
async def stream(db: Any, done: Any, collection: str) -> Any:
    made = await done(db.create(uuid4(), collection, {"name": "s", "unit": "V"}, {"site": "north"}))
    await done(made.insert(POINTS))
    return made


def bits(points: Any) -> list[tuple[int, str]]:
    return [(time, float(value).hex()) for time, value in points]


async def test_points_are_written_and_read(db: Any, done: Any, items: Any, stream: Any) -> None:
    points = await done(stream.values())
    assert bits(points) == bits(POINTS)
    assert (points.times.dtype, points.values.dtype) == (np.int64, np.float64)
    assert bits(pair for page in await items(stream.values_iter(-5, 8)) for pair in page) == bits(POINTS[:-1])
    stamps = np.array(["2020-01-01T00:00:00", "2020-01-01T00:00:01"], "datetime64[us]")
    await done(stream.insert(Points.from_columns(stamps, [3.0, 4.0]), "replace"))
    assert await done(stream.count("2020-01-01T00:00:00Z", "2020-01-01T00:00:01Z")) == 1
    assert (await done(stream.nearest(1))).time == 7
    assert [(await done(stream.earliest())).time, (await done(stream.latest())).value] == [-5, 4.0]
    assert await done(stream.delete(0, 1)) == await done(stream.version())
    assert await done(stream.changes(12)) != []
    assert await done(stream.count()) == 5


async def test_many_points_over_many_pages(done: Any, stream: Any) -> None:
    times = np.arange(10, 120_010)
    await done(stream.insert(Points(times, np.sqrt(times))))
    read = await done(stream.values(10))
    assert read == Points(times, np.sqrt(times))


async def test_windows_of_both_kinds(done: Any, stream: Any) -> None:
    windows = await done(stream.windows(-5, 10, 5))
    assert [(w.time, w.count, w.min, w.max) for w in windows] == [
        (-5, 1, 0.0, 0.0),
        (0, 3, 0.0, 0.0),
        (5, 2, 5e-324, 1.5),
    ]
    aligned = await done(stream.aligned_windows(-8, 16, 3))
    assert (aligned.times.tolist(), aligned.count.tolist()) == ([-8, 0, 8], [1, 4, 1])


async def test_streams_are_found_changed_and_described(db: Any, done: Any, items: Any, stream: Any) -> None:
    collection = stream.collection
    assert [found.uuid for found in await done(db.streams(f"{collection}/s"))] == [stream.uuid]
    assert [found.uuid for found in await items(db.lookup_iter(collection, annotations={"site": None}))] == [
        stream.uuid
    ]
    assert await done(stream.update({"unit": "kV"}, {"site": None})) == 3
    assert await done(db.list_unique_units(collection)) == ["kV"]
    results = await done(db.create_many([{"collection": collection, "name": name} for name in ("s", "t")]))
    assert [result.outcome for result in results] == ["existed", "created"]
    written = await done(db.insert_many([(result.uuid, [(20, 1.0)]) for result in results]))
    assert [result.outcome for result in written] == ["ok", "ok"]


async def test_sql(db: Any, done: Any, items: Any, stream: Any) -> None:
    statement = "SELECT name, annotations FROM streams WHERE collection = $1"
    rows = [{"name": "s", "annotations": {"site": "north"}}]
    assert await done(db.query(statement, [stream.collection])) == rows
    assert await items(db.query_iter(statement, [stream.collection])) == rows


def test_sql_as_pep_249(target: Any) -> None:
    with connect(target.endpoint, target.api_key) as db, dbapi.connect(db) as connection:
        cursor = connection.cursor().execute("SELECT %s::int AS a, 'b' AS b", [1])
        assert ([column[0] for column in cursor.description], cursor.fetchall()) == (["a", "b"], [(1, "b")])


async def test_sets_of_streams(db: Any, done: Any, stream: Any) -> None:
    other = await done(db.create(uuid4(), stream.collection, {"name": "t"}))
    found = (await done((await done(db.streams(stream.uuid, other.uuid))).pin_versions())).filter(-5, 16)
    await done(stream.insert([(1, 1.0)]))
    assert [bits(points) for points in await done(found.values())] == [bits(POINTS), []]
    assert await done(found.counts()) == [6, 0]
    assert [point and point.time for point in await done(found.earliest())] == [-5, None]
    assert [len(windows) for windows in await done(found.windows(5))] == [3, 0]
    assert [len(windows) for windows in await done(found.aligned_windows(3))] == [3, 0]
    assert [row["count"] for row in await done(found.describe())] == [6, 0]


@pytest.mark.parametrize(("method", "extra"), EXTRAS.items())
async def test_tables_of_other_libraries_name_the_command(
    db: Any, done: Any, stream: Any, method: str, extra: str
) -> None:
    for holder in (
        await done(stream.values()),
        await done(stream.windows(0, 10, 5)),
        await done(db.streams(stream.uuid)),
    ):
        with pytest.raises(errors.MissingExtraError, match=re.escape(COMMAND.format(extra))):
            await done(getattr(holder, method)())


@pytest.mark.parametrize("of", ["connection", "stream"])
async def test_following_streams_names_the_command_at_once(db: Any, next_of: Any, stream: Any, of: str) -> None:
    """What is followed comes in Arrow only. The error does not wait for the first insert."""
    followed = db.subscribe(stream) if of == "connection" else stream.subscribe()
    with pytest.raises(errors.MissingExtraError, match=re.escape(COMMAND.format("arrow"))):
        await next_of(followed)


async def test_asking_for_arrow_names_the_command(target: Any, one_loop: None, stream: Any) -> None:
    with (
        connect(target.endpoint, target.api_key, arrow="on") as db,
        pytest.raises(errors.MissingExtraError, match=re.escape(COMMAND.format("arrow"))),
    ):
        db.stream_from_uuid(stream.uuid).values()
    async with await connect_async(target.endpoint, target.api_key, arrow="on") as other:
        with pytest.raises(errors.MissingExtraError, match=re.escape(COMMAND.format("arrow"))):
            await (await other.stream_from_uuid(stream.uuid)).values()
