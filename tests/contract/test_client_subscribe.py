"""Subscriptions, in both modes: points as they come, also across a server that dies and calls that are renewed."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from airflow_provider_btrdb.client import connect, connect_async, errors
from airflow_provider_btrdb.client._aio import subscription as async_subscription
from airflow_provider_btrdb.client._sync import subscription as sync_subscription
from airflow_provider_btrdb.testing import devserver_process


class Follower:
    """A subscription read on a thread of its own; what came so far, by uuid."""

    def __init__(self, mode: str, endpoint: str, uuids: list[UUID]) -> None:
        self.came: dict[UUID, Counter[tuple[int, float]]] = {uuid: Counter() for uuid in uuids}
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._iterator: Any = None
        run = {"sync": self._follow, "async": lambda *arguments: asyncio.run(self._follow_async(*arguments))}[mode]
        self._thread = threading.Thread(target=self._guarded, args=(run, endpoint, uuids), daemon=True)
        self._thread.start()

    def _guarded(self, run: Callable[..., None], *arguments: Any) -> None:
        try:
            run(*arguments)
        except BaseException as error:
            self.error = error

    def _follow(self, endpoint: str, uuids: list[UUID]) -> None:
        with connect(endpoint) as db:
            for uuid, points in db.subscribe(*uuids):
                self.came[uuid].update(points)
                if self._stop.is_set():
                    return

    async def _follow_async(self, endpoint: str, uuids: list[UUID]) -> None:
        async with await connect_async(endpoint) as db:
            async for uuid, points in db.subscribe(*uuids):
                self.came[uuid].update(points)
                if self._stop.is_set():
                    return

    def wait_for(self, uuid: UUID, points: list[tuple[int, float]]) -> None:
        for _ in range(600):
            if self.error is not None:
                raise self.error
            if not Counter(points) - self.came[uuid]:
                return
            time.sleep(0.05)
        raise AssertionError(f"never came: {Counter(points) - self.came[uuid]}")

    def stop(self, poke: Callable[[], Any]) -> None:
        """The next item ends it."""
        self._stop.set()
        for _ in range(200):
            poke()
            self._thread.join(0.1)
            if not self._thread.is_alive():
                return
        raise AssertionError("the subscription did not end")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with devserver_process(data=tmp_path_factory.mktemp("server") / "data") as running:
        yield running


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_points_come_as_they_are_inserted_and_survive_a_dead_server(server: Any, mode: str) -> None:
    with connect(server.endpoint) as db:
        one, two, other = (db.create(uuid4(), f"c/{uuid4()}", {"name": "x"}) for _ in range(3))
        one.insert([(0, 0.0)])  # before the subscription, so it does not come
        follower = Follower(mode, server.endpoint, [one.uuid, two.uuid])
        time.sleep(0.5)
        one.insert([(5, 1.0), (3, -0.0), (5, 1.0)])
        two.insert([(1, 1.0)])
        other.insert([(1, 7.0)])
        follower.wait_for(one.uuid, [(5, 1.0), (3, -0.0), (5, 1.0)])
        follower.wait_for(two.uuid, [(1, 1.0)])

        server.kill()
        server.start()
        two.insert([(9, 9.0)], "replace")
        follower.wait_for(two.uuid, [(9, 9.0)])
        times = itertools.count(100)
        follower.stop(lambda: one.insert([(next(times), 1.0)], "replace"))
    early = {point: count for point, count in follower.came[one.uuid].items() if point[0] < 100}
    assert early == {(5, 1.0): 2, (3, 0.0): 1}
    assert set(follower.came[two.uuid]) == {(1, 1.0), (9, 9.0)}


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_renewed_calls_lose_nothing(server: Any, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (async_subscription, sync_subscription):
        monkeypatch.setattr(module, "RENEWAL", 0.3)
        monkeypatch.setattr(module, "PAUSE", 0.1)  # a third of the time nobody listens
    with connect(server.endpoint) as db:
        stream = db.create(uuid4(), f"c/{uuid4()}", {"name": "x"})
        follower = Follower(mode, server.endpoint, [stream.uuid])
        time.sleep(0.2)
        points = [(number, float(number)) for number in range(60)]
        for point in points:
            stream.insert([point], "replace")
            time.sleep(0.02)
        follower.wait_for(stream.uuid, points)
        times = itertools.count(1000)
        follower.stop(lambda: stream.insert([(next(times), 1.0)], "replace"))
    assert set(points) <= set(follower.came[stream.uuid])
    assert max(follower.came[stream.uuid].values()) <= 2  # a few come twice, where one call follows another


def test_unknown_streams_and_empty_subscriptions_are_errors(server: Any) -> None:
    with connect(server.endpoint) as db:
        with pytest.raises(errors.StreamNotFoundError):
            next(iter(db.subscribe(uuid4())))
        with pytest.raises(errors.InputError, match="nothing to subscribe to"):
            next(iter(db.subscribe()))
