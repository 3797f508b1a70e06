"""None of the known faults of the official client is ours.

Test `test_w7_...` shows that fault W-7 of the list is not ours. Two have a test elsewhere, with a server made for them:
`test_a_server_6_0_is_read_in_arrow_too` (W-29, tests/faults/test_client_wrong_pages.py) and
`test_every_call_has_a_deadline` (W-1 for each call, tests/faults/test_client_deadlines.py).

| fault | what the official client does | fault | what the official client does |
|---|---|---|---|
| 1 | waits for ever | 17 | types of annotations depend on the path |
| 2 | lets gRPC's errors out | 18 | null becomes "" |
| 3 | judges errors by their text | 19 | compare-and-set silently off |
| 4 | ends its repeats with an AttributeError | 20 | pinned versions not used |
| 5 | repeats what is permanent | 21 | endless loop at time 0 |
| 6 | is not idempotent, stores half an insert | 22 | loses duplicates, start=0, str in set |
| 7 | configures logging at import | 23 | inexact times |
| 8 | warns at every connect | 24 | crashes on windows without points |
| 9 | TLS by port number, no IPv6, no lists | 25 | units of time columns ignored |
| 10 | leaks a thread pool a connection | 26 | counts approximately |
| 11 | is not thread-safe | 27 | repr() calls the server |
| 12 | has no asyncio and no bulk calls | 28 | misreads identifiers and wildcards |
| 13 | reads metadata from disk at every call | 29 | no Arrow with servers 6.x |
| 14 | needs pyarrow and pandas without saying so | 30 | keeps everything in memory |
| 15 | installs `tests`, depends on grpcio-tools | 31 | superlinear rows() |
| 16 | corrupts the text of annotations | 32 | cannot travel to workers of Ray 2 |
"""

from __future__ import annotations

import gc
import importlib.metadata
import logging
import pickle
import re
import socket
import subprocess
import sys
import threading
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from tenacity import wait_fixed

from airflow_provider_btrdb.client import ConnectionConfig, Points, connect, connect_async, errors
from airflow_provider_btrdb.client._sync import calls as sync_calls
from airflow_provider_btrdb.client.policy import Budget
from airflow_provider_btrdb.testing import RunningServer, devserver
from airflow_provider_btrdb.testing.faults import Answer, LoseReply, Refuse

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def faulty() -> Any:
    """A server in this process whose replies can be lost."""
    with devserver() as server:
        yield server


def bits(points: Any) -> list[tuple[int, str]]:
    return [(time, float(value).hex()) for time, value in points]


def code(text: str) -> str:
    """Run Python in a process of its own; what it prints."""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


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
            connect(f"127.0.0.1:{unused.getsockname()[1]}", retry_total=0, connect_timeout=60)


@pytest.mark.parametrize("text", ["[404] stream does not exist, honestly", "500", "failed to connect", "code 417"])
def test_w3_numbers_decide_not_texts(faulty: RunningServer, text: str) -> None:
    with connect(faulty.endpoint) as db, faulty.faults.inject("Info", Answer(407, text)) as fault:
        with pytest.raises(errors.InvalidCollectionError, match=re.escape(text)):
            db.info()
        assert fault.fired == 1


def test_w4_w5_attempts_end_with_the_servers_error(faulty: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lasting error is met once; a passing one is the error at the end, once no further pause fits.

    Only pauses take time here, and they are not slept, so that it does not matter how long an attempt takes.
    """
    now = [0.0]
    monkeypatch.setattr(sync_calls, "Budget", lambda total: Budget(total, lambda: now[0]))
    monkeypatch.setattr(sync_calls, "PAUSES", wait_fixed(70))
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=lambda seconds: now.append(now.pop() + seconds)))
    with connect(faulty.endpoint, retry_total=120) as db:
        with faulty.faults.inject("Info", Answer(417), last=99) as lasting, pytest.raises(errors.StreamExistsError):
            db.info()
        with faulty.faults.inject("Info", Refuse(), last=99) as passing, pytest.raises(errors.ServerUnavailableError):
            db.info()
    assert (lasting.fired, passing.fired, now) == (1, 2, [70])


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


async def test_w8_no_call_warns(db: Any, done: Any, target: Any, collection: str, filled: Any) -> None:
    gc.collect()  # what other tests have left behind would warn in here
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        connect(target.endpoint, target.api_key).close()
        await filled([(1, 1.0)])
        assert len(await done(db.streams_in_collection(collection))) == 1


def test_w9_tls_and_addresses_are_what_the_caller_says() -> None:
    assert ConnectionConfig(endpoint="db.example:4411").tls is None
    for endpoint in ("[::1]:4410", "[fe80::1]:4411", "one:4410,two:4410"):
        assert ConnectionConfig(endpoint=endpoint).endpoint == endpoint
    for endpoint in ("db.example:4410", "[2001:db8::1]:4411", "127.0.0.1:4410,db.example:4410"):
        with pytest.raises(errors.InputError, match="clear text"):
            ConnectionConfig(endpoint=endpoint, api_key="k")


def test_w10_connections_close(target: Any, wait_until: Any) -> None:
    connect(target.endpoint, target.api_key).close()
    before = threading.active_count()
    for _ in range(30):
        with connect(target.endpoint, target.api_key) as db:
            db.info()
    wait_until(lambda: threading.active_count() <= before + 2)


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


async def test_w19_compare_and_set_is_never_off(
    db: Any, done: Any, official: Any, collection: str, filled: Any
) -> None:
    stream = await filled([(1, 1.0)])
    handle = await done(db.stream_from_uuid(stream.uuid))
    await done(handle.refresh())
    official.ep.setStreamAnnotations(stream.uuid, 0, {"by": "another"}, [])
    with pytest.raises(errors.PropertyVersionMismatch):
        await done(handle.update({"unit": "A"}, collection=collection))
    fresh = await done(db.stream_from_uuid(stream.uuid))
    assert await done(fresh.update({"unit": "A"})) == 3


async def test_w20_pinned_versions_are_used(db: Any, done: Any, filled: Any) -> None:
    stream = await filled([(1, 1.0)])
    pinned = (await done((await done(db.streams(stream.uuid))).pin_versions())).filter(0, 10)
    await done(stream.insert([(2, 2.0)]))
    assert [list(points) for points in await done(pinned.values())] == [[(1, 1.0)]]
    assert (len(await done(pinned.to_arrow())), len(await done(pinned.to_pandas()))) == (1, 1)
    assert len(await done(pinned.to_polars())) == 1
    assert await done(pinned.count()) == 1


async def test_w21_w22_time_zero_and_duplicates_survive(db: Any, done: Any, filled: Any) -> None:
    points = [(0, 0.0), (0, -0.0), (0, 1.0), (3, 3.0)]
    stream = await filled(points)
    found = await done(db.streams(stream.uuid))
    assert [bits(values) for values in await done(found.filter(start=0).values())] == [bits(points)]
    assert len(await done(found.filter(0, 1).to_pandas())) == 3
    assert (await done(found.filter(0, 10).to_arrow())).num_rows == 4
    assert len(await done(found.filter(start=1).to_polars())) == 1
    assert str(stream.uuid) in found
    assert len(found.filter(name="nobody").filter(name="nobody")) == 0


async def test_w23_times_are_exact(done: Any, filled: Any) -> None:
    exact = 1_577_836_800_654_321_235
    stream = await filled([(exact, 1.0)])
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


async def test_w26_counts_are_exact(done: Any, filled: Any) -> None:
    stream = await filled([(n, 1.0) for n in range(10)])
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


def test_w32_what_makes_a_connection_travels_to_another_process(target: Any) -> None:
    """Whatever carries work elsewhere pickles its arguments: a configuration goes, and the connection is made there."""
    config = ConnectionConfig(endpoint=target.endpoint, api_key=target.api_key)
    sent = pickle.dumps(config).hex()
    script = (
        "import pickle\n"
        "from airflow_provider_btrdb.client import BTrDB\n"
        f"with BTrDB(pickle.loads(bytes.fromhex({sent!r}))) as db:\n"
        "    print(db.info()['majorVersion'])"
    )
    assert code(script) == "5"


def test_every_fault_of_the_list_has_a_test() -> None:
    places = [Path(__file__), *Path(__file__).parent.parent.glob("faults/test_client_*.py")]
    tests = "\n".join(re.findall(r"def (test_\w+)", "".join(place.read_text() for place in places)))
    here = {int(number) for name in tests.split() for number in re.findall(r"_w(\d+)(?=_)", name)}
    assert "test_a_server_6_0_is_read_in_arrow_too" in tests
    assert "test_every_call_has_a_deadline" in tests
    assert here | {29} == set(range(1, 33))
