"""The loops around RPCs, in both modes, against a server in this process that fails as each test wants."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import grpc
import numpy as np
import pytest

from airflow_provider_btrdb.client import AsyncBTrDB, BTrDB, ConnectionConfig, Points, errors
from airflow_provider_btrdb.protocol import METHODS, SERVICE, Kind
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

GONE = (grpc.StatusCode.UNAVAILABLE, "gone")
UUID_ = UUID("0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a")

Handler = Callable[[Any, grpc.ServicerContext, int], Any]


class Server:
    """Answers a method with `on[method](request, context, number of the call)`; remembers all requests."""

    def __init__(self) -> None:
        self.on: dict[str, Handler] = {}
        self.calls: Counter[str] = Counter()
        self.requests: list[Any] = []
        self.time_left: list[float] = []
        self.ended = threading.Event()
        """The call that was under way last has ended at the server."""
        self._workers = ThreadPoolExecutor(max_workers=8)
        self._server = grpc.server(self._workers)
        kinds = {
            Kind.UNARY: grpc.unary_unary_rpc_method_handler,
            Kind.SERVER_STREAM: grpc.unary_stream_rpc_method_handler,
        }
        handlers = {
            method.name: kinds[method.kind](
                self._answer(method.name, method.kind), method.request.FromString, method.response.SerializeToString
            )
            for method in METHODS.values()
            if method.kind in kinds
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()
        self._workers.shutdown()

    def _answer(self, name: str, kind: Kind) -> Any:
        def begin(request: Any, context: grpc.ServicerContext) -> Any:
            self.calls[name] += 1
            self.requests.append(request)
            self.time_left.append(context.time_remaining())
            context.add_callback(self.ended.set)
            return self.on[name](request, context, self.calls[name])

        def pages(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            yield from begin(request, context)

        return begin if kind is Kind.UNARY else pages


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


class Client:
    """One client of either mode, driven the same way: `run` gives results, `taken` the first items of an iterator."""

    def __init__(self, mode: str, port: int) -> None:
        self.mode = mode
        self._endpoint = f"127.0.0.1:{port}"
        self._loop = asyncio.new_event_loop()
        self._opened: list[Any] = []
        self.db = self.connected(retry_total=5.0)

    def connected(self, **settings: Any) -> Any:
        config = ConnectionConfig(endpoint=self._endpoint, **{"arrow": "off", **settings})
        self._opened.append(BTrDB(config) if self.mode == "sync" else self._loop.run_until_complete(_opened(config)))
        return self._opened[-1]

    def run(self, result: Any) -> Any:
        return self._loop.run_until_complete(result) if inspect.isawaitable(result) else result

    def taken(self, items: Any, count: int | None = None) -> list[Any]:
        if self.mode == "async":
            return self.run(_taken(items, count))  # type: ignore[no-any-return]
        found = []
        for item in items:
            found.append(item)
            if len(found) == count:
                items.close()
                break
        return found

    def stream(self, db: Any = None) -> Any:
        return self.run((db or self.db).stream_from_uuid(UUID_))

    def waited(self, event: threading.Event) -> bool:
        """The event came while the loop of an asynchronous client went on."""
        return event.wait(20) if self.mode == "sync" else bool(self.run(asyncio.to_thread(event.wait, 20)))

    def close(self) -> None:
        for db in self._opened:
            self.run(db.close())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


async def _opened(config: ConnectionConfig) -> AsyncBTrDB:
    return AsyncBTrDB(config)


async def _taken(items: AsyncIterator[Any], count: int | None) -> list[Any]:
    found = []
    async for item in items:
        found.append(item)
        if len(found) == count:
            await items.aclose()  # type: ignore[attr-defined]
            break
    return found


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, server: Server) -> Iterator[Client]:
    client = Client(request.param, server.port)
    yield client
    client.close()


@pytest.fixture
def kept(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every server stream that the client opens stays referenced and has minutes left: only cancelling ends it."""
    client.db = client.connected(retry_total=0.0)
    kept: list[Any] = []
    opened = client.db._calls._open_once

    def keep(*arguments: Any) -> Any:
        stream = opened(*arguments)
        kept.append(stream)
        return stream

    async def keep_async(*arguments: Any) -> Any:
        kept.append(await opened(*arguments))
        return kept[-1]

    monkeypatch.setattr(client.db._calls, "_open_once", keep if client.mode == "sync" else keep_async)
    return kept


def _pages(*rows: list[bytes]) -> list[pb.SQLQueryResponse]:
    return [pb.SQLQueryResponse(rows=list(page)) for page in rows]


def _values(points: list[tuple[int, float]], version: int = 11) -> pb.RawValuesResponse:
    return pb.RawValuesResponse(version_major=version, values=[pb.RawPoint(time=t, value=v) for t, v in points])


# ---------------------------------------------------------------- calls with one reply


def test_a_passing_failure_is_repeated(server: Server, client: Client) -> None:
    def info(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        if number < 3:
            context.abort(*GONE)
        return pb.InfoResponse(major_version=5, minor_version=31, build="5.31.0")

    server.on["Info"] = info
    assert client.run(client.db.info()) == {"majorVersion": 5, "minorVersion": 31, "build": "5.31.0"}
    assert server.calls["Info"] == 3


def test_info_has_its_numbers_even_where_they_are_zero(server: Server, client: Client) -> None:
    server.on["Info"] = lambda *_: pb.InfoResponse(major_version=6, build="6.0.0")
    assert client.run(client.db.info())["minorVersion"] == 0


@pytest.mark.parametrize("code", [404, 417, 500])
def test_a_lasting_failure_is_not_repeated(server: Server, client: Client, code: int) -> None:
    server.on["Info"] = lambda *_: pb.InfoResponse(stat=pb.Status(code=code, msg="no"))
    with pytest.raises(errors.BTrDBError, match="no") as caught:
        client.run(client.db.info())
    assert (server.calls["Info"], caught.value.server_code) == (1, code)


def test_a_passing_failure_in_a_status_is_repeated(server: Server, client: Client) -> None:
    def info(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        return pb.InfoResponse(major_version=5, stat=pb.Status(code=419) if number == 1 else None)

    server.on["Info"] = info
    client.run(client.db.info())
    assert server.calls["Info"] == 2


def test_without_a_budget_nothing_is_repeated(server: Server, client: Client) -> None:
    server.on["Info"] = lambda request, context, number: context.abort(*GONE)
    with pytest.raises(errors.ServerUnavailableError):
        client.run(client.connected(retry_total=0.0).info())
    assert server.calls["Info"] == 1


def test_a_budget_ends_with_the_last_error(server: Server, client: Client) -> None:
    server.on["Info"] = lambda request, context, number: context.abort(*GONE)
    with pytest.raises((errors.ServerUnavailableError, errors.DeadlineExceededError)) as caught:
        client.run(client.connected(retry_total=3.0).info())
    assert caught.value.reply_lost
    assert server.calls["Info"] > 1


def test_every_attempt_has_a_deadline(server: Server, client: Client) -> None:
    server.on["Info"] = lambda *_: pb.InfoResponse(major_version=5)
    server.on["SQLQuery"] = lambda *_: iter(())
    db = client.connected(retry_total=500.0, request_timeout=40.0, stream_timeout=90.0, connect_timeout=7.0)
    client.run(db.info())
    client.run(db.check())
    client.run(db.query("select 1"))
    assert [limit - 5 < left < limit + 1 for left, limit in zip(server.time_left, (40, 7, 90), strict=True)] == [
        True
    ] * 3


def test_an_attempt_gets_no_more_than_the_budget_has_left(server: Server, client: Client) -> None:
    server.on["Info"] = lambda *_: pb.InfoResponse(major_version=5)
    client.run(client.connected(retry_total=3.0).info())
    assert server.time_left[0] < 4.0
    client.run(client.connected(retry_total=0.0).info())
    assert server.time_left[1] > 4.0


def test_a_server_that_never_answers_is_given_up(server: Server, client: Client) -> None:
    over = threading.Event()
    server.on["Info"] = lambda *_: over.wait(30)
    try:
        with pytest.raises(errors.DeadlineExceededError) as caught:
            client.run(client.connected(retry_total=0.0, request_timeout=0.2).info())
    finally:
        over.set()
    assert caught.value.reply_lost


def test_a_check_ends_within_its_own_time(server: Server, client: Client) -> None:
    """Somebody waits for `connect()`: its budget is connect_timeout, not that of a task, which would see the server
    come back.
    """

    def back_after_some_seconds(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        if number < 9:
            context.abort(*GONE)
        return pb.InfoResponse(major_version=5)

    server.on["Info"] = back_after_some_seconds
    with pytest.raises(errors.ServerUnavailableError):
        client.run(client.connected(retry_total=500.0, connect_timeout=0.3).check())


def test_an_older_server_is_refused(server: Server, client: Client) -> None:
    server.on["Info"] = lambda *_: pb.InfoResponse(major_version=4, minor_version=15, build="4.15.0")
    with pytest.raises(errors.NotSupportedError, match=r"BTrDB 4\.15 \(4\.15\.0\); version 5 or newer"):
        client.run(client.db.check())


def test_the_key_travels_with_calls_of_every_kind(server: Server, client: Client) -> None:
    seen: list[Any] = []

    def keep(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        seen.append(dict(context.invocation_metadata()).get("authorization"))
        return pb.InfoResponse(major_version=5)

    def keep_pages(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        keep(request, context, number)
        return iter(())

    server.on.update(Info=keep, SQLQuery=keep_pages)
    db = client.connected(api_key="k3y")
    client.run(db.info())
    client.run(db.query("select 1"))
    client.run(client.db.info())
    assert seen == ["Bearer k3y", "Bearer k3y", None]


# ---------------------------------------------------------------- creating


def _lost_then(code: int) -> Handler:
    def create(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        if number == 1:
            context.abort(*GONE)
        return pb.CreateResponse(stat=pb.Status(code=code, msg="taken"))

    return create


def _holds(collection: str, name: str) -> Handler:
    tags = [pb.KeyOptValue(key=k, val=pb.OptValue(value=v)) for k, v in {"name": name, "unit": ""}.items()]
    descriptor = pb.StreamDescriptor(uuid=UUID_.bytes, collection=collection, tags=tags, property_version=1)
    return lambda *_: pb.StreamInfoResponse(descriptor=descriptor)


@pytest.mark.parametrize("code", [417, 418])
def test_a_create_whose_reply_was_lost_finds_its_own_work(server: Server, client: Client, code: int) -> None:
    server.on.update(Create=_lost_then(code), StreamInfo=_holds("a", "n"))
    stream = client.run(client.db.create(UUID_, "a", {"name": "n"}))
    assert (stream.uuid, stream.collection, stream.name, stream.property_version) == (UUID_, "a", "n", 1)
    assert server.calls["Create"] == 2


@pytest.mark.parametrize("other", [("b", "n"), ("a", "m")])
def test_a_create_whose_reply_was_lost_does_not_take_anothers_work(
    server: Server, client: Client, other: tuple[str, str]
) -> None:
    server.on.update(Create=_lost_then(417), StreamInfo=_holds(*other))
    with pytest.raises(errors.StreamExistsError, match="taken"):
        client.run(client.db.create(UUID_, "a", {"name": "n"}))


def test_a_stream_that_was_there_before_is_an_error_though_it_is_the_same(server: Server, client: Client) -> None:
    server.on["Create"] = lambda *_: pb.CreateResponse(stat=pb.Status(code=417, msg="taken"))
    server.on["StreamInfo"] = _holds("a", "n")
    with pytest.raises(errors.StreamExistsError):
        client.run(client.db.create(UUID_, "a", {"name": "n"}))
    assert server.calls["StreamInfo"] == 0


# ---------------------------------------------------------------- listings


@pytest.mark.parametrize("failure", [GONE, None], ids=["status", "stat"])
def test_a_listing_that_fails_before_its_first_row_is_repeated(server: Server, client: Client, failure: Any) -> None:
    def query(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        if number == 1:
            if failure:
                context.abort(*failure)
            yield pb.SQLQueryResponse(stat=pb.Status(code=440))
            return
        yield from _pages([b'{"n":1}', b'{"n":2}'], [], [b'{"n":3}'])

    server.on["SQLQuery"] = query
    assert [row["n"] for row in client.taken(client.db.query_iter("x", ["p"]))] == [1, 2, 3]
    assert (server.calls["SQLQuery"], server.requests[-1].query, server.requests[-1].params) == (2, "x", ["p"])


def _breaks_once(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
    yield from _pages([b'{"n":1}'])
    if number == 1:
        context.abort(*GONE)
    yield from _pages([b'{"n":2}'])


def test_a_listing_that_breaks_off_later_says_so(server: Server, client: Client) -> None:
    server.on["SQLQuery"] = _breaks_once
    rows = client.db.query_iter("x")
    with pytest.raises(
        errors.StreamInterruptedError, match="SQLQuery broke off after rows had been handed out"
    ) as caught:
        client.taken(rows)
    assert isinstance(caught.value.__cause__, errors.ServerUnavailableError)
    assert (caught.value.retryable, server.calls["SQLQuery"]) == (True, 1)


def test_a_list_starts_again_when_its_listing_breaks_off(server: Server, client: Client) -> None:
    """Nobody has seen a row of a list that is not complete, so a new listing loses nothing."""
    server.on["SQLQuery"] = _breaks_once
    assert client.run(client.db.query("x")) == [{"n": 1}, {"n": 2}]
    assert server.calls["SQLQuery"] == 2


def test_lists_of_streams_and_collections_start_again_too(server: Server, client: Client) -> None:
    def lookup(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        yield pb.LookupStreamsResponse(results=[pb.StreamDescriptor(uuid=UUID_.bytes, collection="a")])
        if number % 2:
            context.abort(*GONE)

    def collections(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        yield pb.ListCollectionsResponse(collections=["a"])
        if number == 1:
            context.abort(*GONE)
        yield pb.ListCollectionsResponse(collections=["b"])

    server.on.update(LookupStreams=lookup, ListCollections=collections)
    assert [stream.uuid for stream in client.run(client.db.streams_in_collection("a"))] == [UUID_]
    assert client.run(client.db.list_collections()) == ["a", "b"]


def test_a_lasting_failure_of_a_later_page_is_itself(server: Server, client: Client) -> None:
    def query(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        yield from _pages([b'{"n":1}'])
        yield pb.SQLQueryResponse(stat=pb.Status(code=441, msg="bad"))

    server.on["SQLQuery"] = query
    with pytest.raises(errors.BadSqlError, match="bad"):
        client.run(client.db.query("x"))


def test_an_abandoned_listing_ends_at_the_server(server: Server, client: Client, kept: list[Any]) -> None:
    def endless(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        while context.is_active():
            yield from _pages([b'{"n":1}'])

    server.on["SQLQuery"] = endless
    assert client.taken(client.db.query_iter("x"), 1) == [{"n": 1}]
    assert client.waited(server.ended)
    assert len(kept) == 1


# ---------------------------------------------------------------- reading points


def test_a_read_goes_on_where_it_broke(server: Server, client: Client) -> None:
    stored = [(1, 1.0), (2, 2.0), (2, 0.0), (2, 2.5), (3, 3.0)]

    def values(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        left = [point for point in stored if request.start <= point[0] < request.end]
        if number < 4:
            yield _values(left[: number + 1])
            context.abort(*GONE)
        yield _values(left)

    server.on["RawValues"] = values
    assert list(client.run(client.stream().values(0, 10))) == stored
    asked = [(request.start, request.end, request.version_major) for request in server.requests]
    assert asked == [(0, 10, 0), (2, 10, 11), (2, 10, 11), (3, 10, 11)]


def test_a_status_in_a_later_page_ends_a_read(server: Server, client: Client) -> None:
    def values(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        yield _values([(1, 1.0)])
        yield pb.RawValuesResponse(stat=pb.Status(code=450, msg="pruned"))

    server.on["RawValues"] = values
    pages = client.stream().values_iter(0, 10, 7) if client.mode == "sync" else client.stream().values_iter(0, 10)
    with pytest.raises(errors.BTrDBError):
        client.taken(pages)
    with pytest.raises(errors.VersionNotAvailableError, match="pruned"):
        client.run(client.stream().values(0, 10))


def test_a_read_that_gets_nowhere_ends_with_its_budget(server: Server, client: Client) -> None:
    def values(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        yield _values([(1, 1.0)])
        context.abort(*GONE)

    server.on["RawValues"] = values
    with pytest.raises((errors.ServerUnavailableError, errors.DeadlineExceededError)):
        client.run(client.stream(client.connected(retry_total=0.3)).values(0, 10))
    assert server.calls["RawValues"] > 1


def test_an_abandoned_read_ends_at_the_server(server: Server, client: Client, kept: list[Any]) -> None:
    def endless(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        at = 0
        while context.is_active():
            at += 1
            yield _values([(at, 1.0)])

    server.on["RawValues"] = endless
    assert len(client.taken(client.stream().values_iter(0), 2)) == 2
    assert client.waited(server.ended)
    assert len(kept) == 1


# ---------------------------------------------------------------- inserting


def _stored(request: Any, context: grpc.ServicerContext, number: int) -> Any:
    return pb.InsertResponse(version_major=10 + number)


def test_an_insert_goes_in_batches(server: Server, client: Client) -> None:
    server.on["Insert"] = _stored
    points = Points(np.arange(1, 100_002, dtype=np.int64), np.ones(100_001))
    assert client.run(client.stream().insert(points)) == 13
    assert [len(request.values) for request in server.requests] == [50_000, 50_000, 1]
    assert server.requests[2].values[0].time == 100_001


def test_an_insert_of_nothing_tells_the_version(server: Server, client: Client) -> None:
    server.on["StreamInfo"] = lambda *_: pb.StreamInfoResponse(version_major=17)
    assert client.run(client.stream().insert([])) == 17
    assert server.calls["Insert"] == 0


@pytest.mark.parametrize(("merge", "calls"), [("never", 1), ("equal", 2), ("retain", 2), ("replace", 2)])
def test_only_inserts_that_keep_no_duplicates_are_repeated(
    server: Server, client: Client, merge: str, calls: int
) -> None:
    def insert(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        if number == 1:
            context.abort(*GONE)
        return _stored(request, context, number)

    server.on["Insert"] = insert
    if merge == "never":
        with pytest.raises(errors.BTrDBError, match="gone") as caught:
            client.run(client.stream().insert([(1, 1.0)], merge))
        assert caught.value.reply_lost
    else:
        assert client.run(client.stream().insert([(1, 1.0)], merge)) == 12
    assert server.calls["Insert"] == calls


def _second_batch_fails(request: Any, context: grpc.ServicerContext, number: int) -> Any:
    if number > 1:
        context.abort(*GONE)
    return _stored(request, context, number)


@pytest.mark.parametrize("merge", ["never", "replace"])
def test_an_insert_that_stops_half_way_says_how_far_it_came(server: Server, client: Client, merge: str) -> None:
    server.on["Insert"] = _second_batch_fails
    points = Points(np.arange(1, 60_001, dtype=np.int64), np.ones(60_000))
    stream = client.stream(client.connected(retry_total=2.0))
    with pytest.raises(errors.InsertInterruptedError, match="50000 of 60000 points are certainly stored") as caught:
        client.run(stream.insert(points, merge))
    error = caught.value
    assert (error.stored, error.total, error.reply_lost, error.uuid) == (50_000, 60_000, True, str(UUID_))
    assert isinstance(error.__cause__, errors.ServerUnavailableError)


@pytest.mark.parametrize(
    ("merge", "count", "retryable"),
    [("never", 1, False), ("never", 60_000, False), ("replace", 60_000, True), ("replace", 1, True)],
)
def test_an_insert_invites_a_repeat_only_where_nothing_is_stored_twice(
    server: Server, client: Client, merge: str, count: int, retryable: bool
) -> None:
    """What is retryable is run again by Airflow, so a lost reply under "never" must not be."""
    server.on["Insert"] = (
        _second_batch_fails if count > 50_000 else lambda request, context, number: context.abort(*GONE)
    )
    points = Points(np.arange(1, count + 1, dtype=np.int64), np.ones(count))
    with pytest.raises(errors.BTrDBError) as caught:
        client.run(client.stream(client.connected(retry_total=0.2)).insert(points, merge))
    assert caught.value.retryable is retryable
    assert caught.value.reply_lost


def test_nothing_is_sent_when_one_point_is_bad(server: Server, client: Client) -> None:
    points = Points(np.arange(1, 60_001, dtype=np.int64), np.ones(60_000))
    points.values[-1] = np.nan
    with pytest.raises(errors.BadValueError, match="point 59999"):
        client.run(client.stream().insert(points))
    assert server.requests == []


# ---------------------------------------------------------------- arguments that no message can hold


@pytest.mark.parametrize(
    "call",
    [
        lambda db, stream: db.create(uuid4(), "a", {"name": 5}),
        lambda db, stream: db.create(uuid4(), "a", {5: "x"}),
        lambda db, stream: db.create(uuid4(), 5),
        lambda db, stream: db.create(uuid4(), "\ud800"),
        lambda db, stream: db.create(uuid4(), "a", {"name": "\ud800"}),
        lambda db, stream: db.query(5),
        lambda db, stream: db.list_collections(5),
        lambda db, stream: db.collection_metadata(5),
        lambda db, stream: db.streams_in_collection("a", tags={"name": 5}),
        lambda db, stream: stream.values(version=-1),
        lambda db, stream: stream.values(end=2**63),
    ],
    ids=[
        "tag value",
        "tag key",
        "collection",
        "collection text",
        "tag text",
        "sql",
        "prefix",
        "metadata prefix",
        "filter",
        "version",
        "end",
    ],
)
def test_arguments_that_no_message_can_hold_are_refused_as_ours(
    server: Server, client: Client, call: Callable[[Any, Any], Any]
) -> None:
    with pytest.raises((errors.InputError, errors.InvalidTimeRangeError)):
        client.run(call(client.db, client.stream()))
    assert server.requests == []
