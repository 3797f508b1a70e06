"""Inserts whose replies are lost: every point exactly once, or an error that says how many are certainly stored."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import grpc
import numpy as np
import pytest

from airflow_provider_btrdb.client import Points, errors
from airflow_provider_btrdb.testing import RunningServer
from airflow_provider_btrdb.testing.faults import Answer, LoseReply, Refuse

pytestmark = pytest.mark.anyio

LOST = LoseReply()
BATCH = 50_000


def ramp(count: int) -> Points:
    return Points(np.arange(1, count + 1, dtype=np.int64), np.arange(count, dtype=np.float64))


@pytest.mark.parametrize(
    "failure", [LOST, Refuse(), LoseReply(grpc.StatusCode.CANCELLED)], ids=["committed", "refused", "cancelled"]
)
async def test_never_is_not_repeated(done: Any, btrdb: RunningServer, stream: Any, failure: Any) -> None:
    """UNAVAILABLE looks the same in all cases, so in none may the points be sent again."""
    with (
        btrdb.faults.inject("Insert", failure) as fault,
        pytest.raises(errors.InsertInterruptedError, match="0 of 2 points are certainly stored") as caught,
    ):
        await done(stream.insert([(1, 1.0), (2, 2.0)]))
    assert (fault.fired, btrdb.calls.count("Insert")) == (1, 1)
    error = caught.value
    assert (error.stored, error.total, error.reply_lost, error.retryable) == (0, 2, True, False)
    assert isinstance(error.__cause__, errors.ServerUnavailableError)
    assert await done(stream.count()) == (0 if isinstance(failure, Refuse) else 2)


@pytest.mark.parametrize(("failure", "there"), [(LOST, 2 * BATCH), (Refuse(), BATCH), (Answer(500), BATCH)])
async def test_never_says_how_many_points_of_several_batches_are_stored(
    done: Any, btrdb: RunningServer, stream: Any, failure: Any, there: int
) -> None:
    with (
        btrdb.faults.inject("Insert", failure, first=2) as fault,
        pytest.raises(errors.InsertInterruptedError, match="50000 of 120000 points are certainly stored") as caught,
    ):
        await done(stream.insert(ramp(120_000)))
    assert (fault.fired, btrdb.calls.count("Insert")) == (1, 2)
    error = caught.value
    assert (error.stored, error.total, error.reply_lost) == (BATCH, 120_000, not isinstance(failure, Answer))
    assert not error.retryable
    assert await done(stream.count()) == there
    points = list(await done(stream.values(BATCH - 1, BATCH + 3)))
    assert points == [(time, time - 1.0) for time in range(BATCH - 1, BATCH + 3) if time <= there]


@pytest.mark.parametrize("merge", ["equal", "retain", "replace"])
@pytest.mark.parametrize("lost", [(1, 1), (1, 3), (2, 2), (3, 4)], ids=lambda calls: f"calls {calls[0]} to {calls[1]}")
async def test_the_other_policies_are_repeated_and_store_every_point_once(
    done: Any, btrdb: RunningServer, stream: Any, merge: str, lost: tuple[int, int]
) -> None:
    points = ramp(2 * BATCH + 7)
    with btrdb.faults.inject("Insert", LOST, first=lost[0], last=lost[1]) as fault:
        await done(stream.insert(points, merge))
    repeats = lost[1] - lost[0] + 1
    assert (fault.fired, btrdb.calls.count("Insert")) == (repeats, 3 + repeats)
    assert await done(stream.count()) == len(points)
    for edge in (1, BATCH, 2 * BATCH, len(points)):
        stored = list(await done(stream.values(edge - 2, edge + 2)))
        assert stored == [(time, time - 1.0) for time in range(edge - 2, edge + 2) if 1 <= time <= len(points)]


@pytest.mark.parametrize(
    ("merge", "expected"),
    [
        ("equal", [(5, 0.0), (5, 1.0), (5, 2.0), (6, -0.0)]),
        ("retain", [(5, 0.0), (6, -0.0)]),
        ("replace", [(5, 1.0), (6, -0.0)]),
    ],
)
async def test_repeats_over_points_that_were_there_before(
    done: Any, btrdb: RunningServer, stream: Any, merge: str, expected: list[tuple[int, float]]
) -> None:
    """The same state as of one insert, with time taken already, and with equal times inside the call."""
    await done(stream.insert([(5, 0.0)]))
    btrdb.calls.clear()
    with btrdb.faults.inject("Insert", LOST, last=2) as fault:
        await done(stream.insert([(5, 1.0), (6, -0.0), (5, 2.0), (5, 1.0)], merge))
    assert (fault.fired, btrdb.calls.count("Insert")) == (2, 3)
    stored = await done(stream.values())
    assert stored.times.tolist() == [time for time, _ in expected]
    assert sorted(map(repr, stored)) == sorted(map(repr, expected))


async def test_insert_many_with_lost_replies(db: Any, done: Any, btrdb: RunningServer, collection: str) -> None:
    """Under "never" only the rows whose replies were lost fail; under "replace" none does."""
    streams = [await done(db.create(uuid4(), collection, {"name": f"s{number}"})) for number in range(6)]
    rows = [(stream, [(1, 1.0), (2, 0.0)]) for stream in streams]
    btrdb.calls.clear()
    with btrdb.faults.inject("Insert", LOST, first=2, last=3) as fault:
        results = await done(db.insert_many(rows))
    assert (fault.fired, btrdb.calls.count("Insert")) == (2, 6)
    assert sorted(result.outcome for result in results) == ["failed"] * 2 + ["ok"] * 4
    assert all(result.error is None or result.error.reply_lost for result in results)
    assert [await done(stream.count()) for stream in streams] == [2] * 6
    with btrdb.faults.inject("Insert", LOST, first=2, last=3) as fault:
        results = await done(db.insert_many(rows, "replace"))
    assert (fault.fired, [result.outcome for result in results]) == (2, ["ok"] * 6)
    assert [await done(stream.count()) for stream in streams] == [2] * 6


async def test_an_insert_counts_on_nothing_it_was_not_told(done: Any, btrdb: RunningServer, stream: Any) -> None:
    """The last batch of three is lost for good: two are certain, although the third is stored."""
    with (
        btrdb.faults.inject("Insert", LOST, first=3) as fault,
        pytest.raises(errors.InsertInterruptedError) as caught,
    ):
        await done(stream.insert(ramp(2 * BATCH + 1)))
    assert (fault.fired, caught.value.stored, caught.value.total) == (1, 2 * BATCH, 2 * BATCH + 1)
    assert await done(stream.count()) == 2 * BATCH + 1
