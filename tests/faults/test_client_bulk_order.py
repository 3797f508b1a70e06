"""Bulk calls whose parts end in any order: results in the order given, every step told, one budget for all."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from airflow_provider_btrdb.client import bulk, errors
from airflow_provider_btrdb.client.policy import Budget
from airflow_provider_btrdb.testing import RunningServer
from airflow_provider_btrdb.testing.faults import Answer, Delay, LoseReply

pytestmark = pytest.mark.anyio

COUNT = 150
METHODS = {"create_many": "Create", "update_many": "SetStreamAnnotations", "insert_many": "Insert"}


@pytest.fixture
async def streams(db: Any, done: Any, collection: str) -> list[UUID]:
    rows = [{"collection": f"{collection}/there", "name": f"s{number}"} for number in range(COUNT)]
    return [result.uuid for result in await done(db.create_many(rows))]


def work(name: str, streams: list[UUID], collection: str) -> list[Any]:
    if name == "create_many":
        return [{"collection": f"{collection}/new", "name": f"s{number}"} for number in range(COUNT)]
    if name == "update_many":
        return [(uuid, {"annotations": {"n": str(number)}}) for number, uuid in enumerate(streams)]
    return [(uuid, [(number, float(number))]) for number, uuid in enumerate(streams)]


@pytest.mark.parametrize("name", list(METHODS))
async def test_results_come_in_the_order_given(
    db: Any, done: Any, btrdb: RunningServer, streams: list[UUID], collection: str, name: str
) -> None:
    """The first ten take longest, three are refused, and some replies are lost; repeats come after all of these."""
    told: list[tuple[int, int]] = []
    items = work(name, streams, collection)
    method = METHODS[name]
    options = {"merge": "replace"} if name == "insert_many" else {}
    with (
        btrdb.faults.inject(method, Delay(0.4), last=10) as delayed,
        btrdb.faults.inject(method, LoseReply(), first=20, last=24) as lost,
        btrdb.faults.inject(method, Answer(409, "refused"), first=11, last=13) as refused,
    ):
        results = await done(
            getattr(db, name)(items, progress=lambda finished, total: told.append((finished, total)), **options)
        )
    assert (delayed.fired, lost.fired, refused.fired) == (10, 5, 3)
    assert told == [(step, COUNT) for step in range(1, COUNT + 1)]
    good = [result.outcome != "failed" for result in results]
    assert good.count(False) == 3
    assert {type(result.error) for result in results if result.error} == {errors.InvalidTagValueError}
    if name == "create_many":
        assert [result.spec.name for result in results] == [item["name"] for item in items]
        assert {result.outcome for result in results} == {"created", "failed"}
        assert await done(db.count_streams(f"{collection}/new")) == COUNT - 3
        return
    assert [result.uuid for result in results] == streams
    found = await done(db.streams(streams))
    if name == "update_many":
        assert [stream.annotations for stream in found] == [
            {"n": str(number)} if ok else {} for number, ok in enumerate(good)
        ]
    else:
        assert [list(points) for points in await done(found.values())] == [
            [(number, float(number))] if ok else [] for number, ok in enumerate(good)
        ]


@pytest.mark.parametrize("name", list(METHODS))
async def test_one_budget_for_all(
    connected: Any,
    done: Any,
    btrdb: RunningServer,
    streams: list[UUID],
    collection: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two at a time, a quarter of a second each: after a second no further one begins, and those that began are done.

    By the clock of the budget alone, which every call that arrives moves on."""
    db = await connected(btrdb.endpoint, max_in_flight=2)
    with btrdb.faults.inject(METHODS[name], Delay(0.05), last=10**6) as fault:
        monkeypatch.setattr(bulk, "Budget", partial(Budget, clock=lambda: fault.fired / 4))
        results = await done(getattr(db, name)(work(name, streams, collection), seconds=1.0))
        begun = fault.fired
    failed = [result for result in results if result.outcome == "failed"]
    assert 4 <= begun <= 5
    assert len(failed) == COUNT - begun
    assert results[: len(results) - len(failed)] == [result for result in results if result.outcome != "failed"]
    assert {type(result.error) for result in failed} == {errors.DeadlineExceededError}
    assert {"not tried: the 1 s for the whole operation were over"} == {result.error.message for result in failed}


async def test_reads_of_a_set_come_in_the_order_of_its_streams(
    db: Any, done: Any, btrdb: RunningServer, streams: list[UUID]
) -> None:
    await done(db.insert_many((uuid, [(0, float(number))] * (number % 5)) for number, uuid in enumerate(streams)))
    found = await done(db.streams(streams))
    with btrdb.faults.inject("Windows", Delay(0.4), last=10) as fault:
        assert await done(found.counts()) == [number % 5 for number in range(COUNT)]
    assert fault.fired == 10
    with btrdb.faults.inject("StreamInfo", Answer(404), first=3) as gone, pytest.raises(errors.StreamNotFoundError):
        await done(found.versions())
    assert gone.fired == 1
    unknown = await done(db.stream_from_uuid(uuid4()))
    assert await done(unknown.exists()) is False
