"""Subscriptions, in both modes: no point is lost whatever breaks, and one comes twice only where calls change.

A writer that inserts when the change of calls is over, and waits for each point, leaves nothing for it to repeat: then
every point comes exactly once.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID, uuid4

import grpc
import numpy as np
import pytest

from airflow_provider_btrdb.client import Points, connect
from airflow_provider_btrdb.client._aio import subscription as async_subscription
from airflow_provider_btrdb.client._sync import subscription as sync_subscription
from airflow_provider_btrdb.devserver.errors import StatusError
from airflow_provider_btrdb.devserver.limits import Limits
from airflow_provider_btrdb.devserver.subscriptions import Hub, Subscriber
from airflow_provider_btrdb.testing import RunningServer, devserver, devserver_process
from airflow_provider_btrdb.testing.faults import Answer, CutAfter, Refuse

pytestmark = pytest.mark.anyio


# ---------------------------------------------------------------- calls that break

POINTS = [*((n, n / 2) for n in range(-3, 10)), (4, 2.0), (4, 2.0), (0, -0.0)]
"""Sixteen inserts; one point three times, and both zeros."""


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_calls_that_are_cut_lose_and_repeat_nothing(
    btrdb: RunningServer, writer: Any, follow: Any, seams: Any, after: int, bits: Any
) -> None:
    """The message at which a call is cut never arrives: its point comes out of the gap between the calls."""
    with btrdb.faults.inject("Subscribe", CutAfter(after), last=4) as fault:
        follower = follow()
        for number, point in enumerate(POINTS):
            seams.wait(1 + min(number // (after + 1), 4))
            writer.insert([point])
            follower.wait_for(writer.uuid, POINTS[: number + 1])
        seams.wait(5)
    assert fault.fired == 4
    assert follower.came(writer.uuid) == bits(POINTS)
    assert seams.outcomes() == ["UNAVAILABLE"] * 4


@pytest.mark.parametrize(
    "refusal",
    [Refuse(), Refuse(grpc.StatusCode.CANCELLED), Refuse(grpc.StatusCode.RESOURCE_EXHAUSTED), Answer(405), Answer(419)],
)
async def test_calls_that_are_refused_for_a_while_lose_nothing(
    btrdb: RunningServer,
    writer: Any,
    follow: Any,
    seams: Any,
    monkeypatch: pytest.MonkeyPatch,
    refusal: Any,
    bits: Any,
    until: Any,
) -> None:
    """The first point is written and read while every call is refused, so it comes out of a gap, and once."""
    for module in (async_subscription, sync_subscription):
        monkeypatch.setattr(module, "UNCLEAR_ENDS", 10**6)  # gRPC with coroutines may hide any number of them
    with btrdb.faults.inject("Subscribe", refusal, last=10**6) as fault:
        follower = follow()
        until(lambda: fault.fired, "the first call was refused")
        writer.insert([(1, 1.0)])
        follower.wait_for(writer.uuid, [(1, 1.0)])
        until(lambda: fault.fired >= 3, "three calls were refused")
    until(lambda: seams.listening, "a call is listened to")
    seams.wait(fault.fired + 1, listening=1)
    writer.insert([(2, 2.0)])
    follower.wait_for(writer.uuid, [(2, 2.0)])
    assert follower.came(writer.uuid) == bits([(1, 1.0), (2, 2.0)])


async def test_reading_the_gap_may_break_too(
    btrdb: RunningServer, writer: Any, follow: Any, seams: Any, bits: Any
) -> None:
    points = [(n, float(n)) for n in range(25)]  # three pages
    with btrdb.faults.inject("Subscribe", CutAfter(0)) as cut:
        follower = follow()
        seams.wait(1)
        with (
            btrdb.faults.inject("StreamInfo", Refuse(), last=2) as version,
            btrdb.faults.inject("Changes", CutAfter(0)) as changes,
            btrdb.faults.inject("ArrowRawValues", CutAfter(1)) as values,
        ):
            writer.insert(points)
            follower.wait_for(writer.uuid, points)
    assert [fault.fired for fault in (cut, version, changes, values)] == [1, 2, 1, 1]
    assert follower.came(writer.uuid) == bits(points)


async def test_a_call_that_the_server_takes_late_hides_points_only_until_the_next_one(
    writer: Any, follow: Any, seams: Any, monkeypatch: pytest.MonkeyPatch, bits: Any, until: Any
) -> None:
    """The gap was looked into and nobody listened yet: what came then is found at the next change of calls."""
    listen = Hub.follow
    late: list[tuple[asyncio.AbstractEventLoop, Subscriber]] = []

    def listen_but_not_at_once(hub: Hub, subscriber: Subscriber, uuids: Iterable[UUID]) -> None:
        if late:
            listen(hub, subscriber, uuids)
        else:
            late.append((asyncio.get_running_loop(), subscriber))

    monkeypatch.setattr(Hub, "follow", listen_but_not_at_once)
    follower = follow()
    until(lambda: late, "the first call is there")
    seams.wait(1, listening=0)
    writer.insert([(1, 1.0)])
    assert follower.came(writer.uuid) == Counter()
    ((loop, subscriber),) = late
    loop.call_soon_threadsafe(subscriber.fail, StatusError(grpc.StatusCode.UNAVAILABLE, "the first call ends"))
    follower.wait_for(writer.uuid, [(1, 1.0)])
    seams.wait(2, listening=1)
    assert follower.came(writer.uuid) == bits([(1, 1.0)])
    assert seams.outcomes() == ["UNAVAILABLE"]


# ---------------------------------------------------------------- calls that are replaced


async def test_fresh_calls_replace_old_ones(
    btrdb: RunningServer, writer: Any, follow: Any, seams: Any, monkeypatch: pytest.MonkeyPatch, bits: Any, until: Any
) -> None:
    for module in (async_subscription, sync_subscription):
        monkeypatch.setattr(module, "RENEWAL", 0.3)
        monkeypatch.setattr(module, "PAUSE", 0.1)  # a third of the time nobody listens
    follower = follow()
    until(lambda: seams.listening, "a call is listened to")  # on a slow machine it need not be the first
    points = []
    while btrdb.calls.count("Subscribe") < 6:
        points.append((len(points), float(len(points))))
        writer.insert(points[-1:])
        time.sleep(0.01)
    follower.wait_for(writer.uuid, points)
    came = follower.came(writer.uuid)
    assert set(came) == set(bits(points))
    assert max(came.values()) <= 2
    until(lambda: len(seams.outcomes()) >= 5, "the first five have ended at the server")
    assert "OK" not in seams.outcomes()  # their time was up, and the server was told


async def test_a_slow_reader_is_cut_off_and_loses_nothing(mode: str, seams: Any, until: Any, new_follower: Any) -> None:
    """The server ends the call of a reader who falls behind; what it had for him is read from the gap."""
    with devserver(limits=Limits(subscriber_bytes=1_000_000)) as server, connect(server.endpoint) as db:
        stream = db.create(uuid4(), "c", {"name": "s"})
        follower = new_follower(mode, server.endpoint, [stream.uuid])
        until(lambda: seams.listening == 1, "it listens")
        follower.may_read.clear()
        for begin in range(0, 2_000_000, 50_000):  # 32 MB, more than gRPC reads ahead
            stream.insert(Points(np.arange(begin, begin + 50_000), np.full(50_000, 0.5)))
        sent = 2_000_000
        follower.may_read.set()
        stream.insert([(sent, 0.5)])
        until(lambda: follower.error or follower.times(stream.uuid).max(initial=0) >= sent, "the last one came")
        follower.stop(lambda: stream.insert([(10**15, 0.0)]))
    assert follower.error is None
    assert seams.outcomes().count("RESOURCE_EXHAUSTED") == 1
    came, often = np.unique(follower.times(stream.uuid), return_counts=True)
    assert came[came < 10**15].tolist() == list(range(sent + 1))
    assert often[came < 10**15].max() <= 2


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with devserver_process(data=tmp_path_factory.mktemp("server") / "data") as running:
        yield running


async def test_a_server_that_dies_loses_nothing(mortal: Any, mode: str, bits: Any, new_follower: Any) -> None:
    with connect(mortal.endpoint) as db:
        one, two, other = (db.create(uuid4(), f"c/{uuid4()}", {"name": "x"}) for _ in range(3))
        one.insert([(0, 0.0)])  # before the subscription, so it does not come
        follower = new_follower(mode, mortal.endpoint, [one.uuid, two.uuid])
        follower.wait_until_it_listens(two)
        one.insert([(5, 1.0), (3, -0.0), (5, 1.0)])
        two.insert([(1, 1.0)])
        other.insert([(1, 7.0)])
        follower.wait_for(one.uuid, [(5, 1.0), (3, -0.0), (5, 1.0)])
        follower.wait_for(two.uuid, [(1, 1.0)])

        mortal.kill()
        mortal.start()
        two.insert([(9, 9.0)], "replace")
        follower.wait_for(two.uuid, [(9, 9.0)])
        times = itertools.count(2 * 10**15)
        follower.stop(lambda: one.insert([(next(times), 1.0)], "replace"))
    assert follower.came(one.uuid) == bits([(5, 1.0), (3, -0.0), (5, 1.0)])
    assert set(follower.came(two.uuid)) == {(1, "0x1.0000000000000p+0"), (9, "0x1.2000000000000p+3")}
    assert max(follower.came(two.uuid).values()) <= 2
