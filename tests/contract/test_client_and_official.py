"""Our client beside the official one: what one writes the other reads, and both give the same answers."""

from __future__ import annotations

import warnings
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb.client import connect, connect_async, errors

pytestmark = pytest.mark.anyio

MIN, MAX = -(16 << 56), (48 << 56) - 1
VALUES = [0.0, -0.0, 5e-324, -5e-324, 1.7976931348623157e308, -1.7976931348623157e308, 0.1, 2.0**53 + 2, -1.0]
POINTS = sorted(
    [(time, value) for time, value in zip(range(-4, 5), VALUES, strict=True)]
    + [(MIN, 1.0), (MAX - 1, 2.0), (0, 0.0), (0, -0.0), (0, 0.0), (10**18 + 1, 3.0)],
    key=lambda point: point[0],
)
"""Extremes of time and value, zeros of both signs, negative times, and time 0 four times."""
TEXTS = {
    "plain": "x",
    "empty": "",
    "umlaut": "ünï",
    "kanji": "電力",
    "emoji": "⚡",
    "spaces": " a  b ",
    "long": "y" * 250,
}


def bits(points: Any) -> list[tuple[int, str]]:
    return [(time, float(value).hex()) for time, value in points]


def theirs(pairs: Any) -> list[tuple[int, float]]:
    return [(point.time, point.value) for point, _ in pairs]


# ---------------------------------------------------------------- what one writes the other reads


async def test_their_points_are_read_by_us(db: Any, done: Any, official: Any, collection: str) -> None:
    stream = official.create(uuid4(), collection, {"name": "s"})
    stream.insert(POINTS)
    ours = await done(db.stream_from_uuid(stream.uuid))
    assert bits(await done(ours.values())) == bits(POINTS)


async def test_our_points_are_read_by_them(official: Any, filled: Any) -> None:
    stream = await filled(POINTS)
    assert bits(theirs(official.stream_from_uuid(stream.uuid).values(MIN, MAX))) == bits(POINTS)


@pytest.mark.parametrize("policy", ["never", "equal", "retain", "replace"])
async def test_merge_policies_mean_the_same(db: Any, done: Any, official: Any, collection: str, policy: str) -> None:
    first, second = [(1, 1.0), (2, 2.0), (2, 2.0)], [(2, 2.0), (2, 3.0), (1, 1.0), (0, 0.0)]
    ours = await done(db.create(uuid4(), collection, {"name": "ours"}))
    other = official.create(uuid4(), collection, {"name": "theirs"})
    for points in (first, second):
        assert await done(ours.insert(points, policy)) == other.insert(points, merge=policy)
    assert bits(await done(ours.values())) == bits(theirs(other.values(MIN, MAX)))


async def test_their_metadata_is_read_by_us(db: Any, done: Any, official: Any, collection: str) -> None:
    """Text that the official client's own JSON habit leaves alone."""
    tags = {"name": "äb", "unit": "°C", "ingress": "", "distiller": "d"}
    stream = official.create(uuid4(), collection, tags, dict(TEXTS))
    ours = await done(db.stream_from_uuid(stream.uuid))
    await done(ours.refresh())
    assert (ours.collection, ours.tags, ours.annotations) == (collection, tags, TEXTS)
    official.ep.setStreamAnnotations(stream.uuid, 1, {"null": None, "empty": ""}, ["long"])
    await done(ours.refresh())
    assert ours.annotations == {key: TEXTS[key] for key in TEXTS if key != "long"} | {"null": None}
    assert ours.property_version == 2


async def test_our_metadata_is_read_by_them(db: Any, done: Any, official: Any, collection: str) -> None:
    stream = await done(db.create(uuid4(), collection, {"name": "äb", "unit": "°C"}, {**TEXTS, "null": None}))
    other = official.stream_from_uuid(stream.uuid)
    assert other.collection == collection
    assert other.tags() == {"name": "äb", "unit": "°C", "ingress": "", "distiller": ""}
    _, version, tags, annotations, _ = official.ep.streamInfo(stream.uuid, False, True)
    assert (version, tags["name"]) == (1, "äb")
    assert {key: annotations[key] for key in TEXTS} == TEXTS
    assert await done(stream.update({"unit": "K"}, {"plain": "new"}, collection + "/moved")) == 3
    again = official.stream_from_uuid(stream.uuid)
    assert (again.collection, again.unit, again.annotations()[1]) == (collection + "/moved", "K", 3)


async def test_their_changes_of_tags_are_seen(done: Any, official: Any, collection: str, filled: Any) -> None:
    stream = await filled(POINTS)
    official.stream_from_uuid(stream.uuid).update(tags={"name": "renamed"}, collection=collection + "/moved")
    with pytest.raises(errors.PropertyVersionMismatch):
        await done(stream.update({"unit": "A"}))
    await done(stream.refresh())
    assert (stream.name, stream.collection, stream.property_version) == ("renamed", collection + "/moved", 2)


# ---------------------------------------------------------------- equal answers on one server


async def test_equal_answers_about_the_catalogue(db: Any, done: Any, official: Any, collection: str) -> None:
    for name, unit, notes in (("a", "V", {"k": "1"}), ("b", "V", {"k": "2", "only": "b"}), ("c", "A", {})):
        await done(db.create(uuid4(), f"{collection}/{name}", {"name": name, "unit": unit}, notes))
    info = await done(db.info())
    assert {key: getattr(official.info(), key, official.info().get(key)) for key in ("majorVersion", "build")} == {
        key: info[key] for key in ("majorVersion", "build")
    }
    assert await done(db.list_collections(collection)) == official.list_collections(collection)
    assert await done(db.collection_metadata(collection)) == official.collection_metadata(collection)
    for how in (
        {},
        {"is_collection_prefix": False},
        {"tags": {"unit": "V"}},
        {"tags": {"unit": "X"}},
        {"annotations": {"k": "2"}},
        {"annotations": {"k": None}},
        {"tags": {"unit": "V"}, "annotations": {"only": None}},
    ):
        mine = await done(db.streams_in_collection(collection, **how))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = official.streams_in_collection(collection, **how)
        assert [stream.uuid for stream in mine] == [stream.uuid for stream in other], how
        assert [stream.tags for stream in mine] == [stream.tags() for stream in other], how
    names = [f"{collection}/{name}/{name}" for name in "abc"]
    assert [s.uuid for s in await done(db.streams(*names))] == [s.uuid for s in official.streams(*names)]
    assert await done(db.list_unique_names(collection)) == sorted(official.list_unique_names(collection))
    assert await done(db.list_unique_units(collection)) == sorted(official.list_unique_units(collection))
    assert await done(db.list_unique_annotations(collection)) == sorted(official.list_unique_annotations(collection))
    statement = "SELECT name, unit, annotations FROM streams WHERE collection LIKE $1 ORDER BY name"
    assert await done(db.query(statement, [collection + "%"])) == official.query(statement, [collection + "%"])


async def test_equal_answers_about_points(done: Any, official: Any, filled: Any) -> None:
    stream = await filled(POINTS)
    other = official.stream_from_uuid(stream.uuid)
    assert await done(stream.version()) == other.version() == 11
    for start, end in ((MIN, 2**60), (0, MAX), (0, 1), (-3, 4), (1, 10**18), (50, 60)):
        assert bits(await done(stream.values(start, end))) == bits(theirs(other.values(start, end)))
        assert await done(stream.count(start, end)) == other.count(start, end, precise=True)
    for time in (MIN, -5, 0, 1, 5, MAX - 1):
        for backward in (False, True):
            found, known = await done(stream.nearest(time, backward=backward)), other.nearest(time, 0, backward)
            assert (found and bits([found])) == (known and bits([(known[0].time, known[0].value)]))
    assert (await done(stream.earliest())).time == other.earliest()[0].time == MIN
    assert (await done(stream.latest())).time == other.latest()[0].time == MAX - 1
    assert await done(stream.current()) == await done(stream.nearest(10**18 + 2, backward=True))
    assert (await done(stream.current())).time == other.current()[0].time


async def test_equal_windows(done: Any, official: Any, filled: Any) -> None:
    points = [(n * 7 - 50, float(n % 5)) for n in range(200)]
    stream = await filled(points)
    other = official.stream_from_uuid(stream.uuid)

    def rows(windows: Any) -> list[tuple[Any, ...]]:
        return [(w.time, w.min, w.mean, w.max, w.count, w.stddev) for w in windows]

    for width in (1, 10, 64, 1000, 10**6):
        known = [row for row, _ in other.windows(-47, 1333, width)]
        assert rows(await done(stream.windows(-47, 1333, width))) == rows(known)
    for pointwidth in (0, 3, 6, 20):
        known = [row for row, _ in other.aligned_windows(-47, 1333, pointwidth)]
        assert rows(await done(stream.aligned_windows(-47, 1333, pointwidth))) == rows(known)


async def test_equal_changes(done: Any, official: Any, filled: Any) -> None:
    stream = await filled([(100, 1.0), (200, 2.0)])
    await done(stream.insert([(5000, 1.0)]))
    await done(stream.delete(150, 250))
    for first, last, resolution in ((10, 0, 0), (10, 11, 0), (11, 13, 0), (12, 13, 5), (1, 0, 63), (13, 13, 0)):
        pages = official.ep.changes(stream.uuid, first, last, resolution)
        known = [(changed.start, changed.end) for ranges, _ in pages for changed in ranges]
        assert await done(stream.changes(first, last, resolution)) == known


async def test_equal_versions_and_removals(db: Any, done: Any, official: Any, collection: str, filled: Any) -> None:
    ours, other = await filled(POINTS), official.create(uuid4(), collection, {"name": "theirs"})
    other.insert(POINTS)
    assert await done(ours.delete(-3, 2)) == other.delete(-3, 2)
    assert await done(ours.flush()) == (other.flush() or other.version())
    assert bits(await done(ours.values(version=11))) == bits(theirs(other.values(MIN, MAX, 11))) == bits(POINTS)
    await done(ours.obliterate())
    other.obliterate()
    assert await done(db.list_collections(collection)) == official.list_collections(collection) == []


async def test_counting_all_of_time(done: Any, official: Any, filled: Any) -> None:
    stream = await filled(POINTS)
    assert await done(stream.count()) == len(POINTS)
    assert official.stream_from_uuid(stream.uuid).count(MIN, MAX, precise=True) == len(POINTS)
    assert len(await done(stream.windows(MIN, MAX, MAX - MIN))) == 1


# ---------------------------------------------------------------- tables


async def test_their_tables_are_read_by_us(
    target: Any, done: Any, official: Any, collection: str, one_loop: None
) -> None:
    """Written as Arrow, read in Arrow and as RawPoints, in both modes."""
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    times, values = zip(*POINTS, strict=True)
    stream = official.create(uuid4(), collection, {"name": "s"})
    stream.arrow_insert(pa.table([pa.array(times, pa.timestamp("ns", "UTC")), pa.array(values)], ["time", "value"]))
    for opening in (connect, connect_async):
        for arrow in ("on", "off"):
            db = await done(opening(target.endpoint, target.api_key, arrow=arrow))
            assert bits(await done((await done(db.stream_from_uuid(stream.uuid))).values())) == bits(POINTS)
            await done(db.close())


async def test_our_points_are_tables_there(done: Any, official: Any, filled: Any) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    stream = await filled(POINTS)
    other = official.stream_from_uuid(stream.uuid)
    table = other.arrow_values(MIN, MAX)
    assert bits(zip(table["time"].cast("int64").to_pylist(), table["value"].to_pylist(), strict=True)) == bits(POINTS)
    mine = (await done(stream.values())).to_arrow()
    assert mine["time"].cast("int64").to_pylist() == table["time"].cast("int64").to_pylist()
    known = other.arrow_windows(-4, 8, 3)
    found = (await done(stream.windows(-4, 8, 3))).to_arrow()
    assert [found[name].to_pylist() for name in found.column_names] == [
        known[name].to_pylist() for name in known.column_names
    ]


async def test_what_they_remove_and_change_is_seen_by_us(db: Any, done: Any, official: Any, filled: Any) -> None:
    stream = await filled(POINTS)
    other = official.stream_from_uuid(stream.uuid)
    assert other.delete(-3, 2) == await done(stream.version()) == 12
    assert bits(await done(stream.values())) == bits(point for point in POINTS if not -3 <= point[0] < 2)
    assert bits(await done(stream.values(version=11))) == bits(POINTS)
    other.refresh_metadata()
    other.update(annotations={"site": "south", "more": "x"}, replace=True)
    await done(stream.refresh())
    assert stream.annotations == {"site": "south", "more": "x"}
    other.obliterate()
    assert await done(stream.exists()) is False
    with pytest.raises(errors.RecycledUuidError):
        await done(db.create(stream.uuid, stream.collection, {"name": "again"}))


async def test_what_we_remove_and_change_is_seen_by_them(done: Any, official: Any, filled: Any) -> None:
    stream = await filled(POINTS)
    other = official.stream_from_uuid(stream.uuid)
    assert await done(stream.delete(-3, 2)) == other.version() == 12
    assert bits(theirs(other.values(MIN, MAX))) == bits(point for point in POINTS if not -3 <= point[0] < 2)
    await done(stream.update({"unit": "A"}, {"more": "x"}, remove_annotations=["site"], remove_tags=["name"]))
    other.refresh_metadata()
    assert (other.tags()["unit"], other.tags()["name"], other.annotations()[0]) == ("A", "", {"more": "x"})
    await done(stream.obliterate())
    with pytest.raises(official_errors()):
        other.refresh_metadata()


def official_errors() -> tuple[type[Exception], ...]:
    """What the official client raises for a stream that is not there."""
    import btrdb.exceptions
    import grpc

    return btrdb.exceptions.BTrDBError, grpc.RpcError
