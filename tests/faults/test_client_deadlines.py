"""Time and load: every call ends, one budget holds all attempts, and a server that asks for fewer calls gets fewer."""

from __future__ import annotations

import re
import socket
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import uuid4

import grpc
import pytest
from tenacity import wait_fixed

from airflow_provider_btrdb.catalog.snapshot import Scope, read
from airflow_provider_btrdb.client import Stream, StreamSet, connect, connect_async, errors
from airflow_provider_btrdb.client._aio import calls as async_calls
from airflow_provider_btrdb.client._aio import reads as async_reads
from airflow_provider_btrdb.client._sync import calls as sync_calls
from airflow_provider_btrdb.client._sync import reads as sync_reads
from airflow_provider_btrdb.client.policy import Budget
from airflow_provider_btrdb.client.questions import Known, VersionOf
from airflow_provider_btrdb.testing import RunningServer
from airflow_provider_btrdb.testing.faults import Delay, Refuse

pytestmark = pytest.mark.anyio

FOREVER = Delay(3600)

# Every public method of the connection, a stream and a set: how it is called, by name.
ON_DATABASE: dict[str, Any] = {
    "info": lambda db, s: db.info(),
    "check": lambda db, s: db.check(),
    "create": lambda db, s: db.create(uuid4(), s.collection, {"name": "created"}),
    "create_many": lambda db, s: db.create_many([{"collection": s.collection, "name": "bulk"}]),
    "update_many": lambda db, s: db.update_many([(s, {"tags": {"unit": "A"}, "annotations": {"a": "b"}})]),
    "insert_many": lambda db, s: db.insert_many([(s, [(7, 7.0)])]),
    "stream_from_uuid": lambda db, s: db.stream_from_uuid(s.uuid),
    "streams": lambda db, s: db.streams(s.uuid, f"{s.collection}/s"),
    "streams_in_collection": lambda db, s: db.streams_in_collection(s.collection),
    "lookup_iter": lambda db, s: db.lookup_iter(s.collection),
    "missing": lambda db, s: db.missing(uuid4(), s.uuid),
    "count_streams": lambda db, s: db.count_streams(s.collection),
    "list_collections": lambda db, s: db.list_collections(s.collection),
    "collection_metadata": lambda db, s: db.collection_metadata(s.collection),
    "query": lambda db, s: db.query("SELECT 1 AS one"),
    "query_iter": lambda db, s: db.query_iter("SELECT 1 AS one"),
    "query_pages": lambda db, s: db.query_pages("SELECT 1 AS one"),
    "serves_sql": lambda db, s: db.serves_sql(),
    "list_unique_names": lambda db, s: db.list_unique_names(s.collection),
    "list_unique_units": lambda db, s: db.list_unique_units(s.collection),
    "list_unique_annotations": lambda db, s: db.list_unique_annotations(s.collection),
    "run": lambda db, s: db.run(read(Scope.of([s.collection], ()))),
    "ask_many": lambda db, s: db.ask_many([Known(s.uuid), VersionOf(s.uuid)]),
    "subscribe": None,  # a test of its own: it never ends by itself
    "use_api_key": None,  # asks nobody
    "close": None,
}
ON_STREAM: dict[str, Any] = {
    "refresh": lambda s: s.refresh(),
    "exists": lambda s: s.exists(),
    "version": lambda s: s.version(),
    "values": lambda s: s.values(0, 10),
    "values_iter": lambda s: s.values_iter(0, 10),
    "windows": lambda s: s.windows(0, 10, 5),
    "aligned_windows": lambda s: s.aligned_windows(0, 16, 3),
    "nearest": lambda s: s.nearest(0),
    "earliest": lambda s: s.earliest(),
    "latest": lambda s: s.latest(),
    "current": lambda s: s.current(),
    "first": lambda s: s.first(),
    "last": lambda s: s.last(),
    "count": lambda s: s.count(),
    "changes": lambda s: s.changes(1),
    "insert": lambda s: s.insert([(1, 1.0)]),
    "delete": lambda s: s.delete(0, 1),
    "flush": lambda s: s.flush(),
    "update": lambda s: s.update({"unit": "V"}, {"k": "v"}),
    "obliterate": lambda s: s.obliterate(),
    "subscribe": None,
}
ON_SET: dict[str, Any] = {
    "filter": lambda found: found.filter(0, 100),
    "pin_versions": lambda found: found.pin_versions(),
    "versions": lambda found: found.versions(),
    "values": lambda found: found.values(),
    "windows": lambda found: found.windows(5),
    "aligned_windows": lambda found: found.aligned_windows(3),
    "count": lambda found: found.count(),
    "counts": lambda found: found.counts(),
    "earliest": lambda found: found.earliest(),
    "latest": lambda found: found.latest(),
    "describe": lambda found: found.describe(),
    "to_arrow": lambda found: found.to_arrow(),
    "to_pandas": lambda found: found.to_pandas(),
    "to_polars": lambda found: found.to_polars(),
    "insert": lambda found: found.insert({found[0]: [(2, 2.0)]}),
    "index": None,  # of Sequence; asks nobody
}


def methods_of(thing: type) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_") and callable(getattr(thing, name))}


async def finish(done: Any, items: Any, result: Any) -> None:
    result = await done(result)
    if hasattr(result, "__aiter__") or hasattr(result, "__next__"):
        await items(result)


async def test_every_call_has_a_deadline(
    db: Any, done: Any, items: Any, btrdb: RunningServer, stream: Any, mode: str
) -> None:
    found = (await done(db.streams(stream.uuid))).filter(0, 100)
    assert methods_of(type(db)) == set(ON_DATABASE)
    assert methods_of(type(stream)) == set(ON_STREAM)
    assert methods_of(type(found)) == set(ON_SET)
    for name, call in ON_DATABASE.items():
        if call is not None:
            await finish(done, items, call(db, stream))
            assert btrdb.calls.without_deadline() == [], name
    for name, call in ON_SET.items():
        if call is not None:
            await finish(done, items, call(found))
            assert btrdb.calls.without_deadline() == [], name
    for name, call in ON_STREAM.items():
        if call is not None:
            await finish(done, items, call(stream))
            assert btrdb.calls.without_deadline() == [], name
    offered = {"Info", "Create", "StreamInfo", "SetStreamTags", "SetStreamAnnotations", "LookupStreams", "SQLQuery"}
    offered |= {"ListCollections", "GetMetadataUsage", "Insert", "Delete", "Flush", "Obliterate", "Nearest", "Changes"}
    assert set(btrdb.calls.counts()) >= offered | {"Windows", "AlignedWindows"}
    assert all(0 < record.seconds_left < 601 for record in btrdb.calls.records() if record.seconds_left is not None)


class Attempts:
    """Counts the calls of one method that a client begins, and is the clock of its budgets: 0.6 s for each, a pause of
    0.3 s between two. So a machine that stands still changes nothing, and a call may time out on its way."""

    def __init__(self, link: Any, method: str) -> None:
        self.made = 0
        self._stub, self._method = link.stub, method
        link.stub = self.stub

    def stub(self, rpc: Any) -> Any:
        self.made += rpc.name == self._method
        return self._stub(rpc)

    def seconds(self) -> float:
        return 0.6 * self.made + 0.3 * max(0, self.made - 1)


@pytest.mark.parametrize("method", ["Info", "StreamInfo", "Insert", "RawValues", "LookupStreams", "Windows"])
@pytest.mark.parametrize(("retry_total", "attempts"), [(0.0, 1), (1.8, 2)])
async def test_a_server_that_never_answers(
    connected: Any,
    done: Any,
    btrdb: RunningServer,
    stream: Any,
    method: str,
    retry_total: float,
    attempts: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One attempt without a budget; with one, as many as fit into it and never one more.

    Two attempts of 0.6 s and a pause take 1.5 s, and another pause ends with the budget.
    """
    limits = {"request_timeout": 0.6, "stream_timeout": 0.6, "retry_total": retry_total, "arrow": "off"}
    db = await connected(btrdb.endpoint, **limits)
    mine = await done(db.stream_from_uuid(stream.uuid))
    calls = {
        "Info": db.info,
        "StreamInfo": mine.version,
        "Insert": lambda: mine.insert([(1, 1.0)]),
        "RawValues": lambda: mine.values(0, 10),
        "LookupStreams": lambda: db.streams_in_collection("faults"),
        "Windows": mine.count,
    }
    begun = Attempts(db._calls._link, method)
    for module in (async_calls, sync_calls):
        monkeypatch.setattr(module, "PAUSES", wait_fixed(0.3))
    for module in (async_calls, sync_calls, async_reads, sync_reads):
        monkeypatch.setattr(module, "Budget", partial(Budget, clock=begun.seconds))
    btrdb.calls.clear()
    kind = errors.InsertInterruptedError if method == "Insert" else errors.DeadlineExceededError
    with btrdb.faults.inject(method, FOREVER, last=100), pytest.raises(kind) as caught:
        await done(calls[method]())
    slow = caught.value.__cause__ if method == "Insert" else caught.value
    assert begun.made == (1 if method == "Insert" else attempts)
    assert caught.value.reply_lost
    assert isinstance(slow, TimeoutError)
    assert all(0 < (record.seconds_left or 0) < 0.7 for record in btrdb.calls.records(method))  # gRPC rounds up


async def test_a_deadline_after_the_work_is_done_repeats_nothing_unsafe(
    connected: Any, done: Any, btrdb: RunningServer, stream: Any
) -> None:
    """The first attempt waits for ever and has stored nothing; with "replace" the second one stores all, once."""
    db = await connected(btrdb.endpoint, request_timeout=1.0)
    mine = await done(db.stream_from_uuid(stream.uuid))
    with btrdb.faults.inject("Insert", FOREVER) as fault:
        await done(mine.insert([(1, 1.0), (2, 0.0)], "replace"))
    assert fault.fired == 1
    assert btrdb.calls.count("Insert") >= 2  # more, where the machine stood still for longer than a call may take
    assert list(await done(mine.values(0, 10))) == [(1, 1.0), (2, 0.0)]


@pytest.mark.parametrize("times", [1, 3])
async def test_without_repeats_every_refusal_is_an_error(
    connected: Any, done: Any, btrdb: RunningServer, stream: Any, times: int
) -> None:
    db = await connected(btrdb.endpoint, retry_total=0)
    btrdb.calls.clear()
    with btrdb.faults.inject("GetMetadataUsage", Refuse(), last=times) as fault:
        for _ in range(times):
            with pytest.raises(errors.ServerUnavailableError):
                await done(db.collection_metadata("x"))
        await done(db.collection_metadata("x"))
    assert (fault.fired, btrdb.calls.count("GetMetadataUsage")) == (times, times + 1)


async def test_one_budget_for_all_attempts(
    connected: Any, done: Any, btrdb: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt takes 20 s by the clock of the budget and is refused; the next one is told what is left."""
    db = await connected(btrdb.endpoint, request_timeout=300.0, retry_total=100.0)
    btrdb.calls.clear()
    with btrdb.faults.inject("Info", Refuse(), last=3) as refused:
        for module in (async_calls, sync_calls):
            monkeypatch.setattr(module, "Budget", partial(Budget, clock=lambda: 20.0 * refused.fired))
        await done(db.info())
    left = [record.seconds_left or 300 for record in btrdb.calls.records("Info")]
    assert (refused.fired, len(left)) == (3, 4)
    assert all(seconds < 110 - 20 * number for number, seconds in enumerate(left)), left  # gRPC rounds up


@pytest.mark.parametrize("answers", [False, True], ids=["silent", "nobody"])
async def test_connecting_to_what_is_no_server(mode: str, done: Any, answers: bool) -> None:
    """Somebody who accepts and says nothing, and a port where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
        if not answers:
            listener.listen()
        opening = connect if mode == "sync" else connect_async
        with pytest.raises((errors.DeadlineExceededError, errors.ServerUnavailableError), match=re.escape(endpoint)):
            await done(opening(endpoint, connect_timeout=0.5, retry_total=0))


# ---------------------------------------------------------------- load


async def test_a_server_that_asks_for_fewer_calls_gets_fewer_and_all_is_done(
    connected: Any, done: Any, btrdb: RunningServer, collection: str
) -> None:
    db = await connected(btrdb.endpoint, max_in_flight=2)
    pacer = db._calls.pacer
    assert pacer.interval == 0
    slowest = 0.0

    def progress(finished: int, total: int) -> None:
        nonlocal slowest
        slowest = max(slowest, pacer.interval)

    btrdb.calls.clear()
    refuse = Refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down")
    with btrdb.faults.inject("Create", refuse, first=3, last=5) as fault:
        specs = [{"collection": collection, "name": f"s{n}"} for n in range(30)]
        results = await done(db.create_many(specs, progress=progress))
    assert [result.outcome for result in results] == ["created"] * 30
    assert (fault.fired, btrdb.calls.count("Create")) == (3, 33)
    assert slowest > 0
    assert pacer.interval < slowest


async def test_no_more_calls_under_way_than_allowed(
    connected: Any, done: Any, btrdb: RunningServer, collection: str, ends: Any, eventually: Any
) -> None:
    db = await connected(btrdb.endpoint, max_in_flight=3)
    ends.begin()
    with (
        btrdb.faults.inject("Create", Delay(1.0), last=3),  # long enough for three to meet, however slowly they come
        btrdb.faults.inject("Create", Delay(0.05), last=20) as fault,
    ):
        await done(db.create_many({"collection": collection, "name": f"s{n}"} for n in range(20)))
    await eventually(lambda: len(ends.outcomes) >= 21)
    assert (fault.fired, ends.most) == (20, 3)


async def test_many_calls_are_under_way_at_once(
    db: Any, done: Any, btrdb: RunningServer, collection: str, ends: Any, eventually: Any
) -> None:
    """The opposite of the test above: bulk work is not done one by one."""
    ends.begin()
    with btrdb.faults.inject("Create", Delay(1.0), last=40) as fault:
        await done(db.create_many({"collection": collection, "name": f"s{n}"} for n in range(40)))
    await eventually(lambda: len(ends.outcomes) >= 41)
    assert fault.fired == 40
    assert ends.most > 20


async def test_the_rate_that_was_set_is_kept(connected: Any, done: Any, btrdb: RunningServer) -> None:
    """Places in the row are handed out one interval apart, whatever the clock of this machine says."""
    db = await connected(btrdb.endpoint, max_rps=50)
    times = []
    original = db._calls.pacer.delay

    def delay() -> float:
        waiting = original()
        times.append(db._calls.pacer._next)
        return waiting

    db._calls.pacer.delay = delay
    for _ in range(10):
        await done(db.info())
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(gaps) == 9
    assert min(gaps) > 0.0199


def test_the_walk_is_over_the_sync_classes_too() -> None:
    assert methods_of(Stream) == set(ON_STREAM)
    assert methods_of(StreamSet) == set(ON_SET)
