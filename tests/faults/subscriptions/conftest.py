"""Who follows streams, on a thread of its own, and changes of calls as the server sees them."""

from __future__ import annotations

import asyncio
import functools
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from airflow_provider_btrdb.client import Points, connect, connect_async
from airflow_provider_btrdb.devserver.subscriptions import Hub
from airflow_provider_btrdb.testing import RunningServer


def bits_of(points: Iterable[tuple[int, float]]) -> Counter[tuple[int, str]]:
    """How often each point is there, with 0.0 and -0.0 apart."""
    return Counter((at, float(value).hex()) for at, value in points)


def wait_until(condition: Callable[[], Any], what: str) -> None:
    """The limit only ends a test that has failed."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError(f"it did not come true: {what}")


@functools.cache
def loop_of_followers() -> asyncio.AbstractEventLoop:
    """One for all, never closed: what gRPC still has for a closed loop is an error in the other loops."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


class Follower:
    """A subscription read on a thread of its own, with a connection of its own; what came so far, by uuid."""

    def __init__(self, mode: str, endpoint: str, uuids: list[UUID]) -> None:
        self._items: dict[UUID, list[Points]] = {uuid: [] for uuid in uuids}
        self.error: BaseException | None = None
        self.db: Any = None
        self.may_read = threading.Event()
        """Cleared: it is slow, and takes no further item."""
        self.may_read.set()
        self._stop = threading.Event()
        work = {"sync": self._follow, "async": self._follow_on_loop}[mode]
        self._thread = threading.Thread(target=self._guarded, args=(work, endpoint, uuids), daemon=True)
        self._thread.start()

    def _guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except BaseException as error:
            self.error = error

    def _keep(self, uuid: UUID, points: Points) -> bool:
        self._items[uuid].append(points)
        return self._stop.is_set()

    def _follow(self, endpoint: str, uuids: list[UUID]) -> None:
        with connect(endpoint) as self.db:
            for uuid, points in self.db.subscribe(*uuids):
                if self._keep(uuid, points):
                    return
                self.may_read.wait()

    def _follow_on_loop(self, *arguments: Any) -> None:
        asyncio.run_coroutine_threadsafe(self._follow_async(*arguments), loop_of_followers()).result()

    async def _follow_async(self, endpoint: str, uuids: list[UUID]) -> None:
        async with await connect_async(endpoint) as self.db:
            async for uuid, points in self.db.subscribe(*uuids):
                if self._keep(uuid, points):
                    return
                await asyncio.to_thread(self.may_read.wait)

    def came(self, uuid: UUID, before: int = 10**15) -> Counter[tuple[int, str]]:
        """What came of a stream, up to the times that tests poke with."""
        found = bits_of(point for points in tuple(self._items[uuid]) for point in points)
        return Counter({point: count for point, count in found.items() if point[0] < before})

    def times(self, uuid: UUID) -> Any:
        """The times that came of a stream, as they came."""
        return np.concatenate([np.empty(0, np.int64), *(points.times for points in tuple(self._items[uuid]))])

    def wait_for(self, uuid: UUID, points: Iterable[tuple[int, float]]) -> None:
        wanted = bits_of(points)
        wait_until(lambda: self.error or not wanted - self.came(uuid), "all points have come")
        if self.error is not None:
            raise self.error

    def wait_until_it_listens(self, stream: Any) -> None:
        """Insert until something comes twice: the first may be of the gap, found while no call is listened to yet."""
        times = itertools.count(10**15)
        wait_until(
            lambda: (
                stream.insert([(next(times), 0.0)]),
                time.sleep(0.1),
                self.error or len(self._items[stream.uuid]) > 1,
            )[-1],
            "it listens",
        )

    def ended(self) -> BaseException | None:
        """Wait until it ends by itself; the error that ended it."""
        wait_until(lambda: not self._thread.is_alive(), "it ends")
        return self.error

    def stop(self, poke: Callable[[], Any]) -> None:
        """The next item ends it."""
        self._stop.set()
        self.may_read.set()
        wait_until(lambda: (poke(), self._thread.join(0.1), not self._thread.is_alive())[-1], "it ends")


class Seams:
    """Changes of calls, as the server sees them."""

    def __init__(self, server: RunningServer, ends: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self._server = server
        self._ends = ends
        self.listening = 0
        follow = Hub.follow

        def counted(hub: Hub, *arguments: Any) -> None:
            follow(hub, *arguments)
            self.listening += 1

        monkeypatch.setattr(Hub, "follow", counted)

    def wait(self, calls: int, listening: int | None = None) -> None:
        """So many calls were made, so many of them were listened to, and the gap before the last was looked into."""
        looks = 1 + calls  # the first one, before the first call, shows where to begin
        wait_until(
            lambda: (
                self._server.calls.count("Subscribe") == calls
                and self.listening == (calls if listening is None else listening)
                and self._ends.outcomes.count(("StreamInfo", "OK")) == looks
            ),
            f"{calls} calls",
        )

    def outcomes(self) -> list[str]:
        """How calls ended, in order."""
        return [outcome for method, outcome in self._ends.outcomes if method == "Subscribe"]


@pytest.fixture
def seams(btrdb: RunningServer, ends: Any, stream: Any, monkeypatch: pytest.MonkeyPatch) -> Seams:
    ends.begin()
    return Seams(btrdb, ends, monkeypatch)


@pytest.fixture
def writer(btrdb: RunningServer, stream: Any, seams: Seams) -> Iterator[Any]:
    """The stream of the test in a client that writes."""
    with connect(btrdb.endpoint) as db:
        yield db.stream_from_uuid(stream.uuid)


@pytest.fixture
def follow(mode: str, btrdb: RunningServer, writer: Any) -> Iterator[Callable[[], Follower]]:
    """Begin to follow the stream; that ends with the test."""
    started: list[Follower] = []

    def start() -> Follower:
        started.append(Follower(mode, btrdb.endpoint, [writer.uuid]))
        return started[-1]

    yield start
    times = itertools.count(10**15)
    for follower in started:
        follower.stop(lambda: writer.insert([(next(times), 0.0)]))


@pytest.fixture
def new_follower() -> type[Follower]:
    """`new_follower(mode, endpoint, uuids)`: who ends by itself, or is told to by the test."""
    return Follower


@pytest.fixture
def until() -> Callable[[Callable[[], Any], str], None]:
    """`until(condition, "what it means")`."""
    return wait_until


@pytest.fixture
def bits() -> Callable[[Iterable[tuple[int, float]]], Counter[tuple[int, str]]]:
    """`bits(points)`: how often each point is there."""
    return bits_of
