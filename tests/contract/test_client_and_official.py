"""Our client beside the official one: the same data, the same answers, and none of its known faults.

Tests called `test_w7_...` show that the fault with that number in the list of the official client's faults is not ours.
"""

from __future__ import annotations

import importlib.metadata
import logging
import re
import socket
import subprocess
import sys
import threading
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest

from airflow_provider_btrdb.client import ConnectionConfig, Points, connect, connect_async, errors
from airflow_provider_btrdb.testing import RunningServer, devserver
from airflow_provider_btrdb.testing.faults import Answer, LoseReply, Refuse

btrdb = pytest.importorskip("btrdb", reason="needs the official client")

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


@pytest.fixture
def official(target: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield btrdb.connect(target.endpoint, apikey=target.api_key)


@pytest.fixture(scope="module")
def faulty() -> Any:
    """A server in this process whose replies can be lost."""
    with devserver() as server:
        yield server


def bits(points: Any) -> list[tuple[int, str]]:
    return [(time, float(value).hex()) for time, value in points]


def theirs(pairs: Any) -> list[tuple[int, float]]:
    return [(point.time, point.value) for point, _ in pairs]


def code(text: str) -> str:
    """Run Python in a process of its own; what it prints."""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def filled(db: Any, done: Any, collection: str, points: Any = POINTS) -> Any:
    stream = await done(db.create(uuid4(), collection, {"name": "s", "unit": "V"}, {"site": "north"}))
    await done(stream.insert(points))
    return stream


# ---------------------------------------------------------------- what one writes the other reads


async def test_their_points_are_read_by_us(db: Any, done: Any, official: Any, collection: str) -> None:
    stream = official.create(uuid4(), collection, {"name": "s"})
    stream.insert(POINTS)
    ours = await done(db.stream_from_uuid(stream.uuid))
    assert bits(await done(ours.values())) == bits(POINTS)


async def test_our_points_are_read_by_them(db: Any, done: Any, official: Any, collection: str) -> None:
    stream = await filled(db, done, collection)
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


async def test_their_changes_of_tags_are_seen(db: Any, done: Any, official: Any, collection: str) -> None:
    stream = await filled(db, done, collection)
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


async def test_equal_answers_about_points(db: Any, done: Any, official: Any, collection: str) -> None:
    stream = await filled(db, done, collection)
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


async def test_equal_windows(db: Any, done: Any, official: Any, collection: str) -> None:
    points = [(n * 7 - 50, float(n % 5)) for n in range(200)]
    stream = await filled(db, done, collection, points)
    other = official.stream_from_uuid(stream.uuid)

    def rows(windows: Any) -> list[tuple[Any, ...]]:
        return [(w.time, w.min, w.mean, w.max, w.count, w.stddev) for w in windows]

    for width in (1, 10, 64, 1000, 10**6):
        known = [row for row, _ in other.windows(-47, 1333, width)]
        assert rows(await done(stream.windows(-47, 1333, width))) == rows(known)
    for pointwidth in (0, 3, 6, 20):
        known = [row for row, _ in other.aligned_windows(-47, 1333, pointwidth)]
        assert rows(await done(stream.aligned_windows(-47, 1333, pointwidth))) == rows(known)


async def test_equal_changes(db: Any, done: Any, official: Any, collection: str) -> None:
    stream = await filled(db, done, collection, [(100, 1.0), (200, 2.0)])
    await done(stream.insert([(5000, 1.0)]))
    await done(stream.delete(150, 250))
    for first, last, resolution in ((10, 0, 0), (10, 11, 0), (11, 13, 0), (12, 13, 5), (1, 0, 63), (13, 13, 0)):
        pages = official.ep.changes(stream.uuid, first, last, resolution)
        known = [(changed.start, changed.end) for ranges, _ in pages for changed in ranges]
        assert await done(stream.changes(first, last, resolution)) == known


async def test_equal_versions_and_removals(db: Any, done: Any, official: Any, collection: str) -> None:
    ours, other = await filled(db, done, collection), official.create(uuid4(), collection, {"name": "theirs"})
    other.insert(POINTS)
    assert await done(ours.delete(-3, 2)) == other.delete(-3, 2)
    assert await done(ours.flush()) == (other.flush() or other.version())
    assert bits(await done(ours.values(version=11))) == bits(theirs(other.values(MIN, MAX, 11))) == bits(POINTS)
    await done(ours.obliterate())
    other.obliterate()
    assert await done(db.list_collections(collection)) == official.list_collections(collection) == []


# ---------------------------------------------------------------- the faults of the official client


async def test_w1_nothing_waits_for_ever(done: Any, one_loop: None) -> None:
    """A server that accepts and never says a word. (That every call has a deadline is a test of its own.)"""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = f"127.0.0.1:{silent.getsockname()[1]}"
        for opening in (connect, connect_async):
            with pytest.raises((errors.DeadlineExceededError, errors.ServerUnavailableError)):
                await done(opening(endpoint, connect_timeout=0.3, retry_total=0))


async def test_w2_failures_have_classes(db: Any, done: Any, target: Any) -> None:
    unknown = await done(db.stream_from_uuid(uuid4()))
    assert await done(unknown.exists()) is False
    with pytest.raises(errors.StreamNotFoundError):
        await done(unknown.version())
    with pytest.raises(errors.AuthenticationError):
        connect(target.endpoint, "wrong")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(errors.ServerUnavailableError):
            connect(f"127.0.0.1:{unused.getsockname()[1]}", retry_total=0, connect_timeout=2)


@pytest.mark.parametrize("text", ["[404] stream does not exist, honestly", "500", "failed to connect", "code 417"])
def test_w3_numbers_decide_not_texts(faulty: RunningServer, text: str) -> None:
    with connect(faulty.endpoint) as db, faulty.faults.inject("Info", Answer(407, text)) as fault:
        with pytest.raises(errors.InvalidCollectionError, match=re.escape(text)):
            db.info()
        assert fault.fired == 1


def test_w4_w5_attempts_end_with_the_servers_error(faulty: RunningServer) -> None:
    """A lasting error is met once; a passing one is the error at the end."""
    with connect(faulty.endpoint, retry_total=0.5) as db:
        with faulty.faults.inject("Info", Answer(417), last=99) as lasting, pytest.raises(errors.StreamExistsError):
            db.info()
        with faulty.faults.inject("Info", Refuse(), last=99) as passing, pytest.raises(errors.ServerUnavailableError):
            db.info()
    assert lasting.fired == 1
    assert passing.fired > 1


def test_w6_a_create_whose_reply_is_lost_is_a_success(faulty: RunningServer, collection: str) -> None:
    with connect(faulty.endpoint) as db, faulty.faults.inject("Create", LoseReply()) as fault:
        stream = db.create(uuid4(), collection, {"name": "x"})
        assert (fault.fired, [found.uuid for found in db.streams_in_collection(collection)]) == (1, [stream.uuid])


async def test_w6_nothing_is_stored_of_an_insert_with_a_bad_point(db: Any, done: Any, collection: str) -> None:
    stream = await done(db.create(uuid4(), collection, {"name": "s"}))
    points = Points(np.arange(60_000), np.zeros(60_000))
    points.values[-1] = np.nan
    with pytest.raises(errors.BadValueError, match="point 59999"):
        await done(stream.insert(points))
    assert await done(stream.count()) == 0


def test_w7_w13_importing_and_calling_leave_logging_and_metadata_alone(target: Any) -> None:
    key = f", {target.api_key!r}" if target.api_key else ""
    script = (
        "import logging, importlib.metadata as metadata\n"
        "from airflow_provider_btrdb.client import connect\n"
        "def refuse(name): raise AssertionError('metadata is read from disk')\n"
        "metadata.version = metadata.distribution = refuse\n"
        f"with connect({target.endpoint!r}{key}) as db:\n"
        "    db.info(); db.list_collections('none'); db.create_many([])\n"
        "print(len(logging.getLogger().handlers), logging.getLogger().level)"
    )
    assert code(script) == f"0 {logging.WARNING}"


async def test_w8_no_call_warns(db: Any, done: Any, target: Any, collection: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        connect(target.endpoint, target.api_key).close()
        await filled(db, done, collection)
        assert len(await done(db.streams_in_collection(collection))) == 1


def test_w9_tls_and_addresses_are_what_the_caller_says() -> None:
    assert ConnectionConfig(endpoint="db.example:4411").tls is None
    for endpoint in ("[::1]:4410", "[fe80::1]:4411", "one:4410,two:4410"):
        assert ConnectionConfig(endpoint=endpoint).endpoint == endpoint
    for endpoint in ("db.example:4410", "[2001:db8::1]:4411", "127.0.0.1:4410,db.example:4410"):
        with pytest.raises(errors.InputError, match="clear text"):
            ConnectionConfig(endpoint=endpoint, api_key="k")


def test_w10_connections_close(target: Any) -> None:
    connect(target.endpoint, target.api_key).close()
    before = threading.active_count()
    for _ in range(30):
        with connect(target.endpoint, target.api_key) as db:
            db.info()
    assert threading.active_count() <= before + 2


def test_w11_one_client_serves_many_threads(target: Any, collection: str) -> None:
    with connect(target.endpoint, target.api_key) as db, ThreadPoolExecutor(8) as pool:

        def work(number: int) -> list[tuple[int, float]]:
            stream = db.create(uuid4(), collection, {"name": f"s{number}"})
            stream.insert([(number, float(number))])
            return list(stream.values())

        assert list(pool.map(work, range(40))) == [[(number, float(number))] for number in range(40)]


async def test_w12_there_is_asyncio_and_bulk_work(db: Any, done: Any, collection: str) -> None:
    rows = [{"collection": collection, "name": f"s{number}"} for number in range(200)]
    results = await done(db.create_many(rows))
    assert [(result.outcome, result.spec.name) for result in results] == [("created", row["name"]) for row in rows]


def test_w14_nothing_optional_is_needed(target: Any, collection: str) -> None:
    key = f", {target.api_key!r}" if target.api_key else ""
    script = (
        "import importlib.abc, sys, uuid\n"
        "class Missing(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name in ('pyarrow', 'pandas', 'polars', 'certifi', 'btrdb', 'yaml'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from airflow_provider_btrdb.client import connect\n"
        f"with connect({target.endpoint!r}{key}) as db:\n"
        f"    stream = db.create(uuid.uuid4(), {collection!r}, {{'name': 's'}})\n"
        "    stream.insert([(0, 0.0), (1, 1.5)])\n"
        "    print(list(stream.values()), stream.count(), len(stream.windows(0, 2, 1)))"
    )
    assert code(script) == "[(0, 0.0), (1, 1.5)] 2 2"


def test_w15_the_package_brings_nothing_strange() -> None:
    needed = " ".join(importlib.metadata.requires("airflow-provider-btrdb") or ())
    assert "grpcio-tools" not in needed
    assert not re.search(r"(^| )btrdb\b", needed)


async def test_w16_w17_w18_annotations_are_what_was_written(db: Any, done: Any, collection: str) -> None:
    notes = {"a": "ünï", "b": 'q"\\\n', "c": "123", "d": "true", "e": "null", "f": "NaN", "g": None, "h": ""}
    stream = await done(db.create(uuid4(), collection, {"name": "s"}, notes))
    (found,) = await done(db.streams_in_collection(collection))
    refreshed = await done(db.stream_from_uuid(stream.uuid))
    await done(refreshed.refresh())
    assert stream.annotations == found.annotations == refreshed.annotations == notes
    for refused in ({"a": 1}, {"a": True}, {"a": 1.5}, {"a": ["x"]}):
        with pytest.raises(errors.InputError, match="'a'"):
            await done(stream.update(annotations=refused))
        with pytest.raises(errors.InputError, match="'a'"):
            await done(db.create(uuid4(), collection, {"name": "t"}, refused))
    await done(stream.update(annotations={"c": "124", "h": None}))
    assert stream.annotations == {**notes, "c": "124", "h": None}


async def test_w19_compare_and_set_is_never_off(db: Any, done: Any, official: Any, collection: str) -> None:
    stream = await filled(db, done, collection)
    handle = await done(db.stream_from_uuid(stream.uuid))
    await done(handle.refresh())
    official.ep.setStreamAnnotations(stream.uuid, 0, {"by": "another"}, [])
    with pytest.raises(errors.PropertyVersionMismatch):
        await done(handle.update({"unit": "A"}, collection=collection))
    fresh = await done(db.stream_from_uuid(stream.uuid))
    assert await done(fresh.update({"unit": "A"})) == 3


async def test_w20_pinned_versions_are_used(db: Any, done: Any, collection: str) -> None:
    stream = await filled(db, done, collection, [(1, 1.0)])
    pinned = (await done((await done(db.streams(stream.uuid))).pin_versions())).filter(0, 10)
    await done(stream.insert([(2, 2.0)]))
    assert [list(points) for points in await done(pinned.values())] == [[(1, 1.0)]]
    assert (len(await done(pinned.to_arrow())), len(await done(pinned.to_pandas()))) == (1, 1)
    assert len(await done(pinned.to_polars())) == 1
    assert await done(pinned.count()) == 1


async def test_w21_w22_time_zero_and_duplicates_survive(db: Any, done: Any, collection: str) -> None:
    points = [(0, 0.0), (0, -0.0), (0, 1.0), (3, 3.0)]
    stream = await filled(db, done, collection, points)
    found = await done(db.streams(stream.uuid))
    assert [bits(values) for values in await done(found.filter(start=0).values())] == [bits(points)]
    assert len(await done(found.filter(0, 1).to_pandas())) == 3
    assert (await done(found.filter(0, 10).to_arrow())).num_rows == 4
    assert len(await done(found.filter(start=1).to_polars())) == 1
    assert str(stream.uuid) in found
    assert len(found.filter(name="nobody").filter(name="nobody")) == 0


async def test_w23_times_are_exact(db: Any, done: Any, collection: str) -> None:
    exact = 1_577_836_800_654_321_235
    stream = await filled(db, done, collection, [(exact, 1.0)])
    for time in (
        exact,
        np.int64(exact),
        np.datetime64(exact, "ns"),
        pd.Timestamp(exact, tz="UTC"),
        "2020-01-01T00:00:00.654321235Z",
    ):
        assert [point[0] for point in await done(stream.values(time, exact + 1))] == [exact]
        assert len(await done(stream.values(0, time))) == 0
    microseconds = datetime(2020, 1, 1, 0, 0, 0, 654321, tzinfo=UTC)
    assert (await done(stream.nearest(microseconds))).time == exact
    assert await done(stream.count(microseconds, exact)) == 0
    with pytest.raises(errors.InputError, match="time zone"):
        await done(stream.values(microseconds.replace(tzinfo=None)))


async def test_w24_windows_without_points_are_tables(db: Any, done: Any, collection: str) -> None:
    stream = await done(db.create(uuid4(), collection, {"name": "s"}))
    for found in (await done(stream.windows(0, 100, 10)), await done(stream.aligned_windows(0, 128, 3))):
        assert found.to_arrow().column_names == ["time", "min", "mean", "max", "count", "stddev"]
        assert (len(found), found.to_arrow().num_rows, len(found.to_pandas())) == (0, 0, 0)


async def test_w25_the_unit_of_a_time_column_counts(db: Any, done: Any, collection: str) -> None:
    """pandas 3 makes microseconds; the numbers below are not nanoseconds."""
    day = 1_577_836_800 * 10**9
    stream = await done(db.create(uuid4(), collection, {"name": "s"}))
    for unit in ("s", "ms", "us", "ns"):
        column = np.array(["2020-01-01"], f"datetime64[{unit}]")
        await done(stream.insert(Points.from_columns(column, [1.0]), "replace"))
        stamps = pd.Series(column).dt.tz_localize("UTC")
        await done(stream.insert(zip(stamps, [1.0], strict=True), "replace"))
    assert list(await done(stream.values())) == [(day, 1.0)]


async def test_w26_counts_are_exact(db: Any, done: Any, collection: str) -> None:
    stream = await filled(db, done, collection, [(n, 1.0) for n in range(10)])
    assert [await done(stream.count(*span)) for span in ((0, 1), (3, 5), (1, 10), (0, 10), (-5, 50))] == [
        1,
        2,
        9,
        10,
        10,
    ]
    assert await done(stream.count()) == 10


async def test_w27_repr_asks_nobody(db: Any, done: Any, collection: str) -> None:
    stream = await done(db.create(uuid4(), collection))
    handle = await done(db.stream_from_uuid(uuid4()))
    shown = await done(db.streams(stream.uuid))
    await done(db.close())
    assert str(stream.uuid) in repr(stream)
    assert str(handle.uuid) in repr(handle)
    assert "1 stream" in repr(shown)
    assert repr(db)


async def test_w28_identifiers_are_read_right(db: Any, done: Any, collection: str) -> None:
    named = f"{collection}/{uuid4()}"
    stream = await done(db.create(uuid4(), named, {"name": "x", "unit": "a_b"}))
    for identifier in (str(stream.uuid).upper(), f"{named}/x", stream.uuid.hex):
        assert [found.uuid for found in await done(db.streams(identifier))] == [stream.uuid]
    other = await done(db.create(uuid4(), named, {"name": "x", "unit": "other"}))
    with pytest.raises(errors.AmbiguousStreamError, match=str(other.uuid)):
        await done(db.streams(f"{named}/x"))
    assert await done(db.list_unique_names(collection.replace("-", "_"))) == []
    assert await done(db.list_unique_units("%" + collection[1:])) == []


async def test_w30_reading_page_by_page_keeps_one_page(db: Any, done: Any, collection: str) -> None:
    count = 500_000
    stream = await done(db.create(uuid4(), collection, {"name": "s"}))
    await done(stream.insert(Points(np.arange(count), np.ones(count))))
    tracemalloc.start()
    seen = 0
    pages = stream.values_iter()
    if hasattr(pages, "__aiter__"):
        async for page in pages:
            seen += len(page)
    else:
        for page in pages:
            seen += len(page)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == count
    assert peak < 16 * count  # what all points take in two columns; a page, its message and its table take 3 MB


@pytest.mark.parametrize("what", ["rows", "table"])
def test_w31_ten_times_the_points_are_ten_times_the_work(target: Any, collection: str, what: str) -> None:
    """Work is counted in calls of functions, so that no clock is asked."""
    with connect(target.endpoint, target.api_key) as db:

        def calls(count: int) -> int:
            stream = db.create(uuid4(), collection, {"name": f"{what} {count}"})
            stream.insert([(n, 1.0) for n in range(count)])
            found, made = db.streams(stream.uuid), [0]

            def count_call(*_: Any) -> None:
                made[0] += 1

            sys.setprofile(count_call)
            try:
                assert len(list(found[0].values()) if what == "rows" else found.to_pandas()) == count
            finally:
                sys.setprofile(None)
            return made[0]

        calls(10)
        assert calls(20_000) <= 12 * calls(2_000)


async def test_counting_all_of_time(db: Any, done: Any, official: Any, collection: str) -> None:
    stream = await filled(db, done, collection)
    assert await done(stream.count()) == len(POINTS)
    assert official.stream_from_uuid(stream.uuid).count(MIN, MAX, precise=True) == len(POINTS)
    assert len(await done(stream.windows(MIN, MAX, MAX - MIN))) == 1
