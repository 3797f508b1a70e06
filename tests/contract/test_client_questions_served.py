"""Many questions and few calls, with SQL and without."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from airflow_provider_btrdb.client import AsyncBTrDB, BTrDB, ConnectionConfig, connect
from airflow_provider_btrdb.client.errors import PermissionDeniedError, StreamNotFoundError
from airflow_provider_btrdb.client.models import Point
from airflow_provider_btrdb.client.questions import (
    MOST_CALLS,
    Counted,
    Known,
    Named,
    NewestOf,
    Question,
    VersionOf,
    VisibleUnder,
)
from airflow_provider_btrdb.testing import devserver

MANY = 300


@pytest.fixture(scope="module", params=[True, False], ids=["with-sql", "without-sql"])
def asked_server(request: pytest.FixtureRequest) -> Iterator[Any]:
    with devserver(sql=request.param) as server:
        yield server


@pytest.fixture(scope="module")
def client(asked_server: Any) -> Iterator[BTrDB]:
    with connect(asked_server.endpoint) as db:
        yield db


@pytest.fixture
def place(client: BTrDB) -> str:
    collection = f"asked/{uuid4()}"
    rows = [
        {
            "collection": f"{collection}/{number % 5}",
            "name": f"s{number}",
            "unit": "VA"[number % 2],
            "annotations": {"n": str(number % 3), "none": None},
        }
        for number in range(MANY)
    ]
    assert {result.outcome for result in client.create_many(rows)} == {"created"}
    return collection


def questions(client: BTrDB, place: str, step: int) -> dict[Question, Any]:
    """Questions with their answers; a larger step leaves fewer."""
    streams = client.streams_in_collection(place)
    expected: dict[Question, Any] = {}
    for stream in sorted(streams, key=lambda stream: int(stream.name[1:]))[::step]:
        expected[Known(stream.uuid)] = True
        expected[Known(uuid4())] = False
        expected[Named(stream.collection, stream.name)] = True
        expected[Named(stream.collection, f"{stream.name}-not")] = False
        expected[Named(f"{stream.collection}-not", stream.name)] = False
    counts = [
        ({}, {}, 60), ({"unit": "V"}, {}, 30), ({}, {"n": "1"}, 20), ({"unit": None}, {"none": None}, 60),
        ({}, {"none": ""}, 0), ({"name": "s0"}, {}, None),
    ]  # fmt: skip
    for number in range(5)[:: max(step // 50, 1)]:
        for tags, noted, count in counts:
            question = Counted(f"{place}/{number}", frozenset(tags.items()), frozenset(noted.items()))
            expected[question] = int(number == 0) if count is None else count
        expected[VisibleUnder(f"{place}/{number}")] = True
        expected[VisibleUnder(f"{place}/{number}-not")] = False
    return expected


@pytest.mark.parametrize("step", [1, 100, 300])
def test_answers_are_the_same_however_many_there_are(client: BTrDB, place: str, step: int) -> None:
    expected = questions(client, place, step)
    assert client.ask_many(expected) == expected


def test_existence_takes_few_calls(asked_server: Any, client: BTrDB, place: str) -> None:
    expected = questions(client, place, 1)
    asked_server.calls.clear()
    client.ask_many(expected)
    counts = asked_server.calls.counts()
    if counts["StreamInfo"]:  # without SQL there is no way to ask for many uuids
        assert counts.pop("StreamInfo") == 2 * MANY
        assert counts.pop("SQLQuery") == 2  # both refused
    assert counts.total() <= MOST_CALLS == 10


def test_equal_questions_are_asked_once(asked_server: Any, client: BTrDB, place: str) -> None:
    asked_server.calls.clear()
    assert client.ask_many([Named(place, "x")] * 1000) == {Named(place, "x"): False}
    assert asked_server.calls.counts() == {"LookupStreams": 1}


def test_versions_and_newest_points_fail_one_by_one(asked_server: Any, client: BTrDB, place: str) -> None:
    first, second, *_ = client.streams_in_collection(place)
    first.insert([(5, 1.5), (7, 2.5)])
    absent = uuid4()
    asked_server.calls.clear()
    answers = client.ask_many(
        kind(uuid) for uuid in (first.uuid, second.uuid, absent) for kind in (VersionOf, NewestOf)
    )
    assert asked_server.calls.counts() == {"StreamInfo": 3, "Nearest": 3}
    assert isinstance(answers.pop(VersionOf(absent)), StreamNotFoundError)
    assert isinstance(answers.pop(NewestOf(absent)), StreamNotFoundError)
    assert answers == {
        VersionOf(first.uuid): 11, NewestOf(first.uuid): Point(7, 2.5),
        VersionOf(second.uuid): 10, NewestOf(second.uuid): None,
    }  # fmt: skip


def test_asyncio_has_it_too_and_keeps_to_the_limit(asked_server: Any, client: BTrDB, place: str) -> None:
    streams = [stream.uuid for stream in client.streams_in_collection(place)]

    async def ask() -> dict[Question, Any]:
        async with AsyncBTrDB(ConnectionConfig(endpoint=asked_server.endpoint, max_in_flight=8)) as db:
            return await db.ask_many(VersionOf(uuid) for uuid in streams)

    assert asyncio.run(ask()) == {VersionOf(uuid): 10 for uuid in streams}


def test_a_key_sees_what_it_may_see() -> None:
    keys = {
        "keys": {
            "all": {"key": "all", "read": [""], "insert": [""]},
            "some": {"key": "some", "read": ["seen"]},
        }
    }
    with devserver(keys=keys) as server, connect(server.endpoint, "all") as db, connect(server.endpoint, "some") as few:
        seen, hidden = UUID(int=1), UUID(int=2)
        db.create(seen, "seen/a", {"name": "x"})
        db.create(hidden, "hidden/a", {"name": "x"})
        names = [Named("seen/a", "x"), Named("hidden/a", "x")]
        asked = [*names, Counted(""), VisibleUnder("seen"), VisibleUnder("hidden")]
        assert [few.ask_many(asked)[question] for question in asked] == [True, False, 1, True, False]
        many = [Known(uuid4()) for _ in range(10)]
        answers = few.ask_many([Known(seen), Known(hidden), *many])
        assert answers[Known(seen)] is True
        assert isinstance(answers[Known(hidden)], PermissionDeniedError)
        assert not any(answers[question] for question in many)
