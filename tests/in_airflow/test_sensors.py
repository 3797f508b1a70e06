"""The sensors with a real server: poking and deferring ask the same and give the same answer."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)

from airflow_provider_btrdb._airflow import AirflowFailException
from airflow_provider_btrdb.client import BTrDB, connect
from airflow_provider_btrdb.sensors.streams import StreamExistsSensor, StreamFreshnessSensor, StreamVersionSensor
from airflow_provider_btrdb.testing import devserver
from airflow_provider_btrdb.testing.faults import Refuse

pytestmark = pytest.mark.usefixtures("connection")

BOTH = pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferrable"])
SECOND = 1_000_000_000


def run(cls: Any, *, deferrable: bool, meanwhile: Callable[[], object] | None = None, **arguments: Any) -> Any:
    """The sensor's result. `meanwhile` happens once it is certain that the first look was in vain."""
    given = {"poke_interval": 0.1, "timeout": 100, **arguments}
    sensor = cls(task_id="t", deferrable=deferrable, **given)
    if deferrable:
        try:
            return sensor.execute({})
        except TaskDeferred as deferred:
            if meanwhile is not None:
                meanwhile()
            return finish(sensor, deferred)
    looked = threading.Event()
    look = sensor.poke

    def poke(context: Any) -> Any:
        answer = look(context)
        if not answer.is_done and meanwhile is not None and not looked.is_set():
            looked.set()
            meanwhile()
        return answer

    sensor.poke = poke
    return sensor.execute({})


def finish(sensor: Any, deferred: TaskDeferred) -> Any:
    """As the triggerer and the worker do it: through JSON, and the trigger imported anew."""
    path, kwargs = deferred.trigger.serialize()
    assert path == f"{type(deferred.trigger).__module__}.{type(deferred.trigger).__name__}"
    trigger = type(deferred.trigger)(**json.loads(json.dumps(kwargs)))
    assert trigger.serialize() == (path, kwargs)

    async def event() -> Any:
        async with asyncio.timeout(200):
            return (await anext(aiter(trigger.run()))).payload

    payload = json.loads(json.dumps(asyncio.run(event())))
    return getattr(sensor, deferred.method_name)({}, payload)


@pytest.fixture
def stream(db: BTrDB, collection: str) -> Any:
    return db.create(uuid4(), collection, {"name": "x"}, {"k": "v"})


# ---------------------------------------------------------------- StreamExistsSensor


@BOTH
def test_names_uuids_and_counts_are_waited_for(db: BTrDB, collection: str, deferrable: bool) -> None:
    uuid = uuid4()

    def create() -> None:
        db.create(uuid, collection, {"name": "x"}, {"k": "v"})

    named = run(StreamExistsSensor, deferrable=deferrable, stream=f"{collection}/x", meanwhile=create)
    assert named == {"found": 1}
    both = [f"{collection}/x", str(uuid), f"{collection}/y"]
    second = uuid4()
    assert run(
        StreamExistsSensor, deferrable=deferrable, stream=both,
        meanwhile=lambda: db.create(second, collection, {"name": "y"}),
    ) == {"found": 3}  # fmt: skip
    assert run(
        StreamExistsSensor, deferrable=deferrable, collection=collection, tags={"name": None},
        annotations={"k": None}, min_count="2",
        meanwhile=lambda: db.create(uuid4(), f"{collection}/below", {"name": "z"}, {"k": None}),
    ) == {"found": 2}  # fmt: skip


@BOTH
def test_what_is_there_needs_no_waiting(stream: Any, collection: str, deferrable: bool) -> None:
    assert run(StreamExistsSensor, deferrable=deferrable, stream=str(stream.uuid)) == {"found": 1}
    assert run(StreamExistsSensor, deferrable=deferrable, collection=collection) == {"found": 1}


@BOTH
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "give either stream or collection"),
        ({"stream": "a/b", "collection": "a"}, "give either stream or collection"),
        ({"stream": []}, "the list of streams to wait for is empty"),
        ({"stream": "a/b", "min_count": 2}, "go with collection"),
        ({"stream": "a/b", "tags": {"name": "b"}}, "go with collection"),
        ({"collection": "a", "min_count": "many"}, "min_count is 'many' and must be a whole number"),
        ({"collection": "a", "min_count": "2.5"}, "must be a whole number"),
        ({"collection": "a", "tags": {"nam": "x"}}, "408"),
        ({"stream": "neither"}, "neither a uuid nor collection/name"),
    ],
)
def test_the_sensor_must_know_what_to_wait_for(arguments: dict[str, Any], words: str, deferrable: bool) -> None:
    with pytest.raises(AirflowFailException, match=words):
        run(StreamExistsSensor, deferrable=deferrable, **arguments)


@pytest.fixture
def two_of_five(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server with five prefixes, and a connection whose key sees two of them."""
    keys = {
        "keys": {
            "all": {"key": "all", "read": [""], "insert": [""]},
            "two": {"key": "two", "read": ["p1", "p2"], "insert": [""]},
        }
    }
    with devserver(keys=keys) as server, connect(server.endpoint, "all") as db:
        host, port = server.endpoint.split(":")
        text = {"conn_type": "btrdb", "host": host, "port": int(port), "password": "two"}
        monkeypatch.setenv("AIRFLOW_CONN_TWO", json.dumps(text))
        yield db


@BOTH
def test_a_key_that_sees_two_of_five_prefixes_never_gets_a_false_green(two_of_five: BTrDB, deferrable: bool) -> None:
    hidden = uuid4()
    two_of_five.create_many([{"collection": f"p{number}/a", "name": "x"} for number in range(1, 6)])
    two_of_five.create(hidden, "p3/b", {"name": "y"})

    def look(**arguments: Any) -> Any:
        return run(StreamExistsSensor, deferrable=deferrable, btrdb_conn_id="two", timeout=0.2, **arguments)

    assert look(collection="", min_count=2) == {"found": 2}
    assert look(stream=["p1/a/x", "p2/a/x"], require_visible_prefix="p1/") == {"found": 2}
    for hopeless in ({"stream": "p3/a/x"}, {"collection": "p4"}, {"collection": "", "min_count": 3}):
        with pytest.raises(AirflowSensorTimeout):
            look(**hopeless)
        with pytest.raises(AirflowFailException, match="no stream below 'p3/' is visible to this key"):
            look(**hopeless, require_visible_prefix="p3/")
    with pytest.raises(AirflowFailException, match='permission "read" on "p3/b"'):
        look(stream=str(hidden))
    assert look(stream="p1/a/x", require_visible_prefix="") == {"found": 1}


@BOTH
def test_a_key_that_loses_its_prefix_meanwhile_ends_the_waiting(two_of_five: BTrDB, deferrable: bool) -> None:
    seen = two_of_five.create(uuid4(), "p1/a", {"name": "x"})
    with pytest.raises(AirflowFailException, match="no stream below 'p1' is visible to this key"):
        run(
            StreamExistsSensor, deferrable=deferrable, btrdb_conn_id="two", stream="p1/a/y",
            require_visible_prefix="p1", meanwhile=lambda: seen.update(collection="p5/a"),
        )  # fmt: skip


# ---------------------------------------------------------------- StreamVersionSensor


@BOTH
def test_a_new_version_is_waited_for(stream: Any, collection: str, deferrable: bool) -> None:
    for name in (str(stream.uuid), f"{collection}/x"):
        before = stream.version()
        result = run(
            StreamVersionSensor, deferrable=deferrable, stream=name, version=str(before),
            meanwhile=lambda: stream.insert([(7, 1.0)]),
        )  # fmt: skip
        assert result == {"uuid": str(stream.uuid), "from_version": before, "version": before + 1}


@BOTH
def test_an_old_version_needs_no_waiting(stream: Any, deferrable: bool) -> None:
    result = run(StreamVersionSensor, deferrable=deferrable, stream=str(stream.uuid), version=9)
    assert result == {"uuid": str(stream.uuid), "from_version": 9, "version": 10}


@BOTH
@pytest.mark.parametrize(
    ("stream", "version", "words"),
    [
        ("COLLECTION/nobody", 1, "no stream is called .*or this key may not see it"),
        ("00000000-0000-0000-0000-000000000001", 1, "code 404"),
        ("neither", 1, "neither a uuid nor collection/name"),
        ("COLLECTION/x", "newest", "version is 'newest' and must be a whole number"),
    ],
)
@pytest.mark.usefixtures("stream")
def test_a_version_of_nothing_fails(collection: str, stream: str, version: Any, words: str, deferrable: bool) -> None:
    with pytest.raises(AirflowFailException, match=words):
        run(
            StreamVersionSensor, deferrable=deferrable, stream=stream.replace("COLLECTION", collection), version=version
        )


@BOTH
def test_a_stream_that_is_obliterated_meanwhile_fails(stream: Any, deferrable: bool) -> None:
    with pytest.raises(AirflowFailException, match="code 404"):
        run(
            StreamVersionSensor, deferrable=deferrable, stream=str(stream.uuid), version=10,
            meanwhile=stream.obliterate,
        )  # fmt: skip


# ---------------------------------------------------------------- StreamFreshnessSensor


@BOTH
def test_a_young_point_is_waited_for(stream: Any, deferrable: bool) -> None:
    now = time.time_ns()
    stream.insert([(now - 3600 * SECOND, 1.0)])
    result = run(
        StreamFreshnessSensor, deferrable=deferrable, stream=str(stream.uuid), younger_than=timedelta(minutes=30),
        meanwhile=lambda: stream.insert([(now - 60 * SECOND, 2.0)]),
    )  # fmt: skip
    assert result == {"uuid": str(stream.uuid), "newest_ns": now - 60 * SECOND}
    again = run(StreamFreshnessSensor, deferrable=deferrable, stream=str(stream.uuid), younger_than="1800")
    assert again == result


@BOTH
def test_an_empty_stream_is_waited_for(stream: Any, deferrable: bool) -> None:
    arguments = {"deferrable": deferrable, "stream": str(stream.uuid), "younger_than": 600}
    with pytest.raises(AirflowSensorTimeout):
        run(StreamFreshnessSensor, timeout=0.2, **arguments)
    now = time.time_ns()
    assert run(StreamFreshnessSensor, meanwhile=lambda: stream.insert([(now, 1.0)]), **arguments)["newest_ns"] == now


@BOTH
def test_a_point_in_the_future_is_an_error_of_its_own(stream: Any, deferrable: bool) -> None:
    def insert_future() -> None:
        stream.insert([(time.time_ns() + 3600 * SECOND, 1.0)])

    arguments = {"deferrable": deferrable, "stream": str(stream.uuid), "younger_than": 60}
    with pytest.raises(AirflowFailException, match="in the future: its age says nothing"):
        run(StreamFreshnessSensor, meanwhile=insert_future, **arguments)
    with pytest.raises(AirflowFailException, match="in the future"):
        run(StreamFreshnessSensor, **arguments)
    assert run(StreamFreshnessSensor, clock_skew=timedelta(hours=2), **arguments)


@pytest.mark.parametrize("limit", ["soon", -1, float("nan"), float("inf"), None])
def test_a_limit_that_is_none_fails(stream: Any, limit: Any) -> None:
    with pytest.raises(AirflowFailException, match="must be a timedelta or a number of seconds"):
        run(StreamFreshnessSensor, deferrable=False, stream=str(stream.uuid), younger_than=limit)


# ---------------------------------------------------------------- all of them


@BOTH
def test_an_outage_is_waited_for(server: Any, stream: Any, collection: str, deferrable: bool) -> None:
    arguments = {"deferrable": deferrable, "btrdb_conn_id": "impatient"}
    with server.faults.inject("LookupStreams", Refuse(), first=1, last=3) as fault:
        assert run(StreamExistsSensor, stream=f"{collection}/x", **arguments) == {"found": 1}
    assert fault.fired == 3
    for name, method in ((str(stream.uuid), "StreamInfo"), (f"{collection}/x", "LookupStreams")):
        with server.faults.inject(method, Refuse(), first=1, last=3) as fault:
            assert run(StreamVersionSensor, stream=name, version=9, **arguments)["version"] == 10
        assert fault.fired == 3


@BOTH
def test_an_outage_that_lasts_is_a_timeout(server: Any, stream: Any, collection: str, deferrable: bool) -> None:
    arguments = {"deferrable": deferrable, "btrdb_conn_id": "impatient", "timeout": 0.5, "version": 9}
    with server.faults.inject("LookupStreams", Refuse(), first=1, last=1000), pytest.raises(AirflowSensorTimeout):
        run(StreamVersionSensor, stream=f"{collection}/x", **arguments)
    with server.faults.inject("StreamInfo", Refuse(), first=1, last=1000), pytest.raises(AirflowSensorTimeout):
        run(StreamVersionSensor, stream=str(stream.uuid), **arguments)


@BOTH
def test_soft_fail_skips(stream: Any, deferrable: bool) -> None:
    with pytest.raises(AirflowSkipException):
        run(StreamExistsSensor, deferrable=deferrable, stream="neither", soft_fail=True)


def test_deadlines_are_absolute_and_the_shorter_one_counts(stream: Any) -> None:
    def deferred(**limits: Any) -> tuple[Any, TaskDeferred]:
        sensor = StreamVersionSensor(
            task_id="t", stream=str(stream.uuid), version=10, deferrable=True, poke_interval=7, **limits
        )
        with pytest.raises(TaskDeferred) as caught:
            sensor.execute({})
        return sensor, caught.value

    timeout = {"status": "timeout", "message": "m"}
    for limits, seconds, error in (
        ({"timeout": 77}, 77, AirflowSensorTimeout),
        ({"timeout": 77, "execution_timeout": timedelta(seconds=50)}, 50, AirflowTaskTimeout),
        ({"timeout": 77, "execution_timeout": timedelta(seconds=90)}, 77, AirflowSensorTimeout),
    ):
        before = time.time()
        sensor, value = deferred(**limits)
        assert value.method_name == "execute_complete"
        assert value.timeout.total_seconds() == seconds + 2 * 7 + 60
        kwargs = value.trigger.serialize()[1]
        assert before + seconds <= kwargs.pop("end_time") <= time.time() + seconds
        assert kwargs == {
            "uuid": str(stream.uuid), "version": 10, "btrdb_conn_id": "btrdb_default", "poll_interval": 7,
        }  # fmt: skip
        with pytest.raises(error):
            sensor.execute_complete({}, timeout)


@pytest.mark.parametrize(
    "event",
    [None, {}, "success", {"status": "success"}, {"status": "success", "found": "1"}, {"status": "done", "found": 1},
     {"status": "success", "found": 1, "more": 2}],
)  # fmt: skip
def test_a_malformed_event_fails_the_task(event: Any) -> None:
    with pytest.raises(AirflowFailException, match="unknown shape"):
        StreamExistsSensor(task_id="t", stream="a/b").execute_complete({}, event)


def test_an_error_event_fails_the_task_with_its_words() -> None:
    with pytest.raises(AirflowFailException, match="the reason"):
        StreamExistsSensor(task_id="t", stream="a/b").execute_complete({}, {"status": "error", "message": "the reason"})
