"""Subscriptions, in both modes: no point is lost whatever breaks, and one comes twice only where calls change.

A writer that inserts when the change of calls is over, and waits for each point, leaves nothing for it to repeat: then
every point comes exactly once.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from uuid import UUID, uuid4

import grpc
import numpy as np
import pytest

from airflow_provider_btrdb.client import Points, connect, connect_async, errors
from airflow_provider_btrdb.client._aio import subscription as async_subscription
from airflow_provider_btrdb.client._sync import subscription as sync_subscription
from airflow_provider_btrdb.devserver.errors import StatusError
from airflow_provider_btrdb.devserver.limits import Limits
from airflow_provider_btrdb.devserver.subscriptions import Hub, Subscriber
from airflow_provider_btrdb.testing import RunningServer, devserver, devserver_process
from airflow_provider_btrdb.testing.faults import Answer, Corrupt, CutAfter, Refuse
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

pytestmark = pytest.mark.anyio


def bits(points: Iterable[tuple[int, float]]) -> Counter[tuple[int, str]]:
    """How often each point is there, with 0.0 and -0.0 apart."""
    return Counter((at, float(value).hex()) for at, value in points)


def until(condition: Callable[[], Any], what: str) -> None:
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
        found = bits(point for points in tuple(self._items[uuid]) for point in points)
        return Counter({point: count for point, count in found.items() if point[0] < before})

    def times(self, uuid: UUID) -> Any:
        """The times that came of a stream, as they came."""
        return np.concatenate([np.empty(0, np.int64), *(points.times for points in tuple(self._items[uuid]))])

    def wait_for(self, uuid: UUID, points: Iterable[tuple[int, float]]) -> None:
        wanted = bits(points)
        until(lambda: self.error or not wanted - self.came(uuid), "all points have come")
        if self.error is not None:
            raise self.error

    def wait_until_it_listens(self, stream: Any) -> None:
        """Insert until something comes twice: the first may be of the gap, found while no call is listened to yet."""
        times = itertools.count(10**15)
        until(
            lambda: (
                stream.insert([(next(times), 0.0)]),
                time.sleep(0.1),
                self.error or len(self._items[stream.uuid]) > 1,
            )[-1],
            "it listens",
        )

    def ended(self) -> BaseException | None:
        """Wait until it ends by itself; the error that ended it."""
        until(lambda: not self._thread.is_alive(), "it ends")
        return self.error

    def stop(self, poke: Callable[[], Any]) -> None:
        """The next item ends it."""
        self._stop.set()
        self.may_read.set()
        until(lambda: (poke(), self._thread.join(0.1), not self._thread.is_alive())[-1], "it ends")


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
        until(
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


# ---------------------------------------------------------------- calls that break

POINTS = [*((n, n / 2) for n in range(-3, 10)), (4, 2.0), (4, 2.0), (0, -0.0)]
"""Sixteen inserts; one point three times, and both zeros."""


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_calls_that_are_cut_lose_and_repeat_nothing(
    btrdb: RunningServer, writer: Any, follow: Any, seams: Seams, after: int
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
    btrdb: RunningServer, writer: Any, follow: Any, seams: Seams, monkeypatch: pytest.MonkeyPatch, refusal: Any
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


async def test_reading_the_gap_may_break_too(btrdb: RunningServer, writer: Any, follow: Any, seams: Seams) -> None:
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
    writer: Any, follow: Any, seams: Seams, monkeypatch: pytest.MonkeyPatch
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


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, errors.PermissionDeniedError),
        (grpc.StatusCode.UNAUTHENTICATED, errors.AuthenticationError),
        (grpc.StatusCode.UNIMPLEMENTED, errors.NotSupportedError),
        (404, errors.StreamNotFoundError),
    ],
)
async def test_what_will_not_pass_is_an_error_at_once(
    mode: str, script: Any, failure: grpc.StatusCode | int, error: type[Exception]
) -> None:
    """A server that has read what it was asked for, so that gRPC shows what it said."""
    script.on["StreamInfo"] = lambda request, number: pb.StreamInfoResponse(version_major=10)
    refusal = pb.SubscriptionResp(stat=pb.Status(code=failure, msg="no")) if isinstance(failure, int) else failure
    script.on["Subscribe"] = lambda request, number: iter([refusal]) if isinstance(failure, int) else refusal
    assert type(Follower(mode, script.endpoint, [uuid4()]).ended()) is error
    assert len(script.requests["Subscribe"]) == 1


async def test_ends_that_tell_nothing_are_not_met_for_ever(btrdb: RunningServer, mode: str, writer: Any) -> None:
    """gRPC with coroutines may show INTERNAL for any end that comes at once, so a few are given another chance."""
    with btrdb.faults.inject("Subscribe", Refuse(grpc.StatusCode.INTERNAL), last=99) as fault:
        assert type(Follower(mode, btrdb.endpoint, [writer.uuid]).ended()) is errors.ServerError
    assert (fault.fired, btrdb.calls.count("Subscribe")) == (10, 10)


async def test_a_refusal_that_was_hidden_is_found(btrdb: RunningServer, mode: str, writer: Any) -> None:
    """INTERNAL plays the hidden ones, and gRPC may make one of the last; what comes of points is in the tests above."""
    with (
        btrdb.faults.inject("Subscribe", Refuse(grpc.StatusCode.INTERNAL), last=8) as hidden,
        btrdb.faults.inject("Subscribe", Answer(405), first=9, last=9) as shown,
    ):
        follower = Follower(mode, btrdb.endpoint, [writer.uuid])
        until(lambda: btrdb.calls.count("Subscribe") == 10, "the tenth call is made")
        follower.wait_until_it_listens(writer)
        follower.stop(lambda: writer.insert([(2 * 10**15, 0.0)], "replace"))
    assert (hidden.fired, shown.fired) == (8, 1)


@pytest.mark.parametrize("what", ["garbage", "uuid", "nothing"])
async def test_a_message_that_does_not_belong_there_is_an_error(
    btrdb: RunningServer, mode: str, writer: Any, seams: Seams, what: Any
) -> None:
    with btrdb.faults.inject("Subscribe", Corrupt(what)) as fault:
        follower = Follower(mode, btrdb.endpoint, [writer.uuid])
        seams.wait(1)
        writer.insert([(1, 1.0)])
        assert isinstance(follower.ended(), errors.ProtocolError)
    assert (fault.fired, btrdb.calls.count("Subscribe")) == (1, 1)
    assert follower.came(writer.uuid) == Counter()


async def test_an_obliterated_stream_is_an_error(btrdb: RunningServer, mode: str, writer: Any, seams: Seams) -> None:
    follower = Follower(mode, btrdb.endpoint, [writer.uuid])
    seams.wait(1)
    writer.obliterate()
    assert isinstance(follower.ended(), errors.StreamNotFoundError)


# ---------------------------------------------------------------- calls that are replaced


async def test_fresh_calls_replace_old_ones(
    btrdb: RunningServer, writer: Any, follow: Any, seams: Seams, monkeypatch: pytest.MonkeyPatch
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


async def test_a_slow_reader_is_cut_off_and_loses_nothing(mode: str, seams: Seams) -> None:
    """The server ends the call of a reader who falls behind; what it had for him is read from the gap."""
    with devserver(limits=Limits(subscriber_bytes=1_000_000)) as server, connect(server.endpoint) as db:
        stream = db.create(uuid4(), "c", {"name": "s"})
        follower = Follower(mode, server.endpoint, [stream.uuid])
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


async def test_a_server_that_dies_loses_nothing(mortal: Any, mode: str) -> None:
    with connect(mortal.endpoint) as db:
        one, two, other = (db.create(uuid4(), f"c/{uuid4()}", {"name": "x"}) for _ in range(3))
        one.insert([(0, 0.0)])  # before the subscription, so it does not come
        follower = Follower(mode, mortal.endpoint, [one.uuid, two.uuid])
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


# ---------------------------------------------------------------- the end


async def test_an_abandoned_subscription_ends_at_the_server(
    db: Any, done: Any, next_of: Any, writer: Any, seams: Seams, eventually: Any
) -> None:
    followed = (await done(db.stream_from_uuid(writer.uuid))).subscribe()
    first = asyncio.ensure_future(asyncio.to_thread(next, followed) if hasattr(followed, "close") else anext(followed))
    await eventually(lambda: seams.listening)
    await asyncio.to_thread(writer.insert, [(1, 1.0)])
    assert list(await first) == [(1, 1.0)]
    if hasattr(followed, "aclose"):
        await followed.aclose()
    else:
        followed.close()
    await eventually(seams.outcomes)
    assert seams.outcomes() == ["CANCELLED"]


async def test_a_cancelled_task_ends_its_subscription_at_the_server(
    one_loop: None, btrdb: RunningServer, writer: Any, seams: Seams, eventually: Any
) -> None:
    async with await connect_async(btrdb.endpoint) as db:
        waiting = asyncio.ensure_future(anext(db.subscribe(writer.uuid)))
        await eventually(lambda: seams.listening)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await eventually(seams.outcomes)
        assert seams.outcomes() == ["CANCELLED"]


def test_a_closed_connection_ends_its_subscription(btrdb: RunningServer, writer: Any, seams: Seams) -> None:
    follower = Follower("sync", btrdb.endpoint, [writer.uuid])
    seams.wait(1)
    follower.db.close()
    assert isinstance(follower.ended(), errors.ClientUnusableError)
    until(lambda: seams.outcomes() == ["CANCELLED"], "the server was told")


async def test_unknown_streams_and_empty_subscriptions_are_errors(db: Any, done: Any, next_of: Any) -> None:
    with pytest.raises(errors.StreamNotFoundError):
        await next_of(db.subscribe(uuid4()))
    with pytest.raises(errors.InputError, match="nothing to subscribe to"):
        await next_of(db.subscribe())
