"""How things end: cancelled calls at the server, closed and forked clients, threads, and errors that travel."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import random
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import grpc
import numpy as np
import pytest

from airflow_provider_btrdb.client import Points, connect, connect_async, errors
from airflow_provider_btrdb.testing import RunningServer, devserver
from airflow_provider_btrdb.testing.faults import Answer, CutAfter, Delay, LoseReply, Refuse

pytestmark = pytest.mark.anyio

FOREVER = Delay(3600)


class Interrupt(BaseException):
    """What ends a task from outside, as KeyboardInterrupt or Airflow's timeout do."""


LONG = 250_000
"""Points: twice as many bytes as the 2 MiB that the client lets the server send ahead of a reader, in the smaller form.

So a call that is left ends by that, however long its reader has stood still."""


@pytest.fixture(scope="module")
def long(faulty: RunningServer) -> UUID:
    """A stream of so many points."""
    with connect(faulty.endpoint) as db:
        stream = db.create(uuid4(), f"faults/{uuid4()}", {"name": "long"})
        stream.insert(Points(np.arange(LONG), np.full(LONG, 0.5)))
    return stream.uuid


# ---------------------------------------------------------------- calls end at the server


@pytest.mark.parametrize("arrow", ["on", "off"])
@pytest.mark.parametrize("way", ["close", "break", "throw", "forget"])
async def test_an_abandoned_read_ends_at_the_server(
    connected: Any, done: Any, btrdb: RunningServer, long: UUID, ends: Any, eventually: Any, way: str, arrow: str
) -> None:
    db = await connected(btrdb.endpoint, arrow=arrow)
    stream = await done(db.stream_from_uuid(long))
    ends.begin()
    method = "ArrowRawValues" if arrow == "on" else "RawValues"
    with btrdb.faults.inject(method, CutAfter(10**6)) as never:
        await abandon(stream.values_iter(0, LONG), way)
        if way == "forget":
            gc.collect()
        await eventually(lambda: ends.outcomes)
    ((ended, outcome),) = ends.outcomes
    assert (ended, never.seen, never.fired) == (method, 1, 0)
    assert outcome != "OK"


async def abandon(pages: Any, way: str) -> None:
    if hasattr(pages, "__anext__"):
        await anext(pages)
        if way == "close":
            await pages.aclose()
        elif way == "break":
            async for _ in pages:
                break
        elif way == "throw":
            with pytest.raises(Interrupt):
                await pages.athrow(Interrupt())
        return
    next(pages)
    if way == "close":
        pages.close()
    elif way == "break":
        for _ in pages:
            break
    elif way == "throw":
        with pytest.raises(Interrupt):
            pages.throw(Interrupt())


@pytest.mark.parametrize("call", ["query_iter", "lookup_iter"])
async def test_an_abandoned_listing_ends_at_the_server(
    db: Any, done: Any, btrdb: RunningServer, collection: str, ends: Any, eventually: Any, call: str
) -> None:
    if call == "query_iter":
        rows = db.query_iter("SELECT repeat('x', 900) AS pad FROM generate_series(1, 20000)")
    else:
        wide = {f"pad{n}": "x" * 250 for n in range(160)}  # 4 MB in all: again more than is sent ahead
        await done(db.create_many({"collection": collection, "name": f"s{n}", "annotations": wide} for n in range(100)))
        ends.begin()
        rows = db.lookup_iter(collection)
    await abandon(rows, "close")
    await eventually(lambda: ends.outcomes)
    assert ends.outcomes[0][1] != "OK"
    assert len(ends.outcomes) == 1


@pytest.mark.parametrize("call", ["info", "insert", "values", "query", "create_many", "counts"])
async def test_a_cancelled_task_ends_its_call_at_the_server(
    one_loop: None, btrdb: RunningServer, collection: str, ends: Any, eventually: Any, call: str
) -> None:
    methods = {"info": "Info", "insert": "Insert", "values": "RawValues", "query": "SQLQuery"}
    method = methods.get(call, "Create" if call == "create_many" else "Windows")
    async with await connect_async(btrdb.endpoint, arrow="off") as db:
        stream = await db.create(uuid4(), collection, {"name": "s"})
        await stream.insert([(1, 1.0)])
        found = await db.streams(stream.uuid)
        ends.begin()
        with btrdb.faults.inject(method, FOREVER) as fault:
            work = {
                "info": db.info,
                "insert": lambda: stream.insert([(2, 2.0)]),
                "values": stream.values,
                "query": lambda: db.query("SELECT 1"),
                "create_many": lambda: db.create_many([{"collection": collection, "name": "x"}]),
                "counts": found.counts,
            }[call]
            task = asyncio.ensure_future(work())
            await eventually(lambda: fault.fired)
            assert not [outcome for name, outcome in ends.outcomes if name == method]
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await eventually(lambda: (method, "CANCELLED") in ends.outcomes)
            assert fault.fired == 1
        assert await db.count_streams(collection) == 1  # the connection is as good as before
        assert await stream.count() == 1


@pytest.mark.parametrize("error", [Interrupt, RuntimeError])
async def test_what_a_progress_callback_raises_ends_a_bulk_call(
    db: Any, done: Any, btrdb: RunningServer, collection: str, error: type[BaseException]
) -> None:
    def progress(finished: int, total: int) -> None:
        if finished == 3:
            raise error("enough")

    specs = [{"collection": collection, "name": f"s{n}"} for n in range(300)]
    with btrdb.faults.inject("Create", Delay(0.02), last=10**6) as fault:
        with pytest.raises(error, match="enough"):
            await done(db.create_many(specs, progress=progress))
        begun = fault.fired
    assert 3 <= begun < 300
    results = await done(db.create_many(specs))  # the same connection does what is left
    assert {result.outcome for result in results} == {"existed", "created"}
    assert await done(db.count_streams(collection)) == 300


async def test_a_waiting_thread_that_is_interrupted_ends_its_bulk_call(
    btrdb: RunningServer, collection: str, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a signal does it: the exception comes up where the thread waits for the result."""
    from concurrent.futures import Future

    def interrupted(self: Any, timeout: float | None = None) -> Any:
        for _ in range(2400):
            if fault.fired >= 4:
                raise KeyboardInterrupt
            threading.Event().wait(0.05)
        raise AssertionError

    with connect(btrdb.endpoint, max_in_flight=4) as db:
        db.create_many([])
        with btrdb.faults.inject("Create", FOREVER, last=100) as fault:
            monkeypatch.setattr(Future, "result", interrupted)
            with pytest.raises(KeyboardInterrupt):
                db.create_many([{"collection": collection, "name": f"s{n}"} for n in range(20)])
            monkeypatch.undo()
            assert fault.fired == 4
        assert [result.outcome for result in db.create_many([{"collection": collection, "name": "s0"}])] == ["created"]


# ---------------------------------------------------------------- the end of a client


USES: dict[str, Any] = {
    "info": lambda db, stream: db.info(),
    "query": lambda db, stream: db.query("SELECT 1"),
    "create_many": lambda db, stream: db.create_many([{"collection": "faults/closed", "name": "x"}]),
    "values": lambda db, stream: stream.values(),
    "insert": lambda db, stream: stream.insert([(1, 1.0)]),
}


@pytest.mark.parametrize("use", list(USES))
async def test_a_closed_client_says_so(db: Any, done: Any, btrdb: RunningServer, stream: Any, use: str) -> None:
    await done(db.close())
    with pytest.raises(errors.ClientUnusableError, match="closed"):
        await done(USES[use](db, stream))
    await done(db.close())
    assert btrdb.calls.counts() == {}


async def test_a_hundred_connections_leave_nothing_behind(
    one_loop: None, btrdb: RunningServer, collection: str, eventually: Any
) -> None:
    def cycle(number: int) -> None:
        with connect(btrdb.endpoint) as db:
            db.info()
            if number % 10 == 0:
                db.create_many([{"collection": collection, "name": f"s{number}"}])

    def open_files() -> int:
        return len(os.listdir(f"/proc/{os.getpid()}/fd"))

    for number in range(10):
        cycle(number)
    gc.collect()
    threads, files = threading.active_count(), open_files()
    for number in range(100):
        cycle(number)
    gc.collect()
    # gRPC closes its sockets, of which a connection has two in this process, after it has said so.
    await eventually(lambda: threading.active_count() <= threads + 2 and open_files() <= files + 10)


async def test_a_hundred_async_connections_leave_nothing_behind(
    one_loop: None, btrdb: RunningServer, eventually: Any
) -> None:
    threads, tasks = threading.active_count(), len(asyncio.all_tasks())
    for _ in range(100):
        async with await connect_async(btrdb.endpoint) as db:
            await db.info()
    gc.collect()
    await eventually(lambda: threading.active_count() <= threads + 2 and len(asyncio.all_tasks()) <= tasks + 1)


FORKED = """
    import os, sys
    from airflow_provider_btrdb.client import connect, errors

    db = connect(sys.argv[1])
    stream = db.stream_from_uuid("0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a")
    child = os.fork()
    if child == 0:
        for use in (db.info, lambda: db.query("SELECT 1"), stream.values, lambda: stream.insert([(1, 1.0)])):
            try:
                use()
            except errors.ClientUnusableError as error:
                assert "forked" in str(error)
            else:
                os._exit(1)
        db.close()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    db.info()
    db.close()
    sys.exit(status)
"""


def test_a_client_is_not_used_after_a_fork(btrdb: RunningServer) -> None:
    """In the child every use is an error that says why; the parent's connection goes on."""
    script = textwrap.dedent(FORKED)
    finished = subprocess.run(
        [sys.executable, "-c", script, btrdb.endpoint], timeout=120, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr


# ---------------------------------------------------------------- threads


def test_eight_threads_on_one_client(btrdb: RunningServer, collection: str) -> None:
    """Mixed calls with faults among them; every thread finds exactly what it has written."""
    rounds = 12
    with connect(btrdb.endpoint) as db:

        def work(number: int) -> list[Any]:
            dice = random.Random(number)
            mine = db.create(uuid4(), f"{collection}/{number}", {"name": f"s{number}"})
            expected: list[tuple[int, float]] = []
            for turn in range(rounds):
                points = [(turn * 100 + n, dice.random()) for n in range(dice.randrange(1, 40))]
                mine.insert(points, "replace")
                expected += points
                assert list(mine.values()) == expected
                assert mine.count() == len(expected)
                assert db.query("SELECT count(*) AS n FROM streams WHERE uuid = $1", [mine.uuid]) == [{"n": 1}]
                (again,) = db.create_many([{"collection": f"{collection}/{number}", "name": f"s{number}"}])
                assert (again.outcome, again.uuid) == ("existed", mine.uuid)
                mine.update(annotations={"turn": str(turn)})
                latest = mine.latest()
                assert latest is not None
                assert latest.time == expected[-1][0]
            assert mine.annotations == {"turn": str(rounds - 1)}
            return expected

        with (
            btrdb.faults.inject("Insert", LoseReply(), first=5, last=15) as lost,
            btrdb.faults.inject("Nearest", Refuse(), first=3, last=9) as refused,
            ThreadPoolExecutor(8) as pool,
        ):
            results = list(pool.map(work, range(8)))
        assert (lost.fired, refused.fired) == (11, 7)
        assert db.count_streams(collection) == 8
        assert sum(map(len, results)) == sum(db.streams_in_collection(collection)[n].count() for n in range(8))


# ---------------------------------------------------------------- errors


SENTINEL = "s3cret-SENTINEL-key-0123456789"

FAILURES: list[Any] = [
    *(Refuse(code, "why") for code in grpc.StatusCode if code is not grpc.StatusCode.OK),
    *(Answer(code, "why") for code in [*range(401, 460), 500, 501, 502, 4711]),
]


@pytest.fixture(scope="module")
def keyed() -> Any:
    with devserver(api_key=SENTINEL) as server:
        yield server


async def test_every_error_travels_and_carries_no_key(connected: Any, done: Any, keyed: RunningServer) -> None:
    db = await connected(keyed.endpoint, api_key=SENTINEL, retry_total=0)
    kinds = set()
    for failure in FAILURES:
        stream = await done(db.stream_from_uuid(uuid4()))
        with keyed.faults.inject("StreamInfo", failure) as fault, pytest.raises(errors.BTrDBError) as caught:
            await done(stream.version())
        assert fault.fired == 1
        error = caught.value
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
        assert copy.args == error.args
        shown = f"{error!s} {error!r} {vars(error)} {error.args} {pickle.dumps(error)!r} {error.__cause__!r}"
        assert SENTINEL not in shown
        kinds.add(type(error))
    assert len(kinds) > 25
    assert SENTINEL not in f"{db!r} {db.config!r} {vars(db.config) if hasattr(db.config, '__dict__') else ''}"


async def test_a_refused_key_is_not_shown(mode: str, done: Any, one_loop: None, keyed: RunningServer) -> None:
    opening = connect if mode == "sync" else connect_async
    with pytest.raises(errors.AuthenticationError, match="invalid api key") as caught:
        await done(opening(keyed.endpoint, "wrong-" + SENTINEL))
    assert SENTINEL not in repr(caught.value) + str(caught.value) + repr(pickle.dumps(caught.value))
