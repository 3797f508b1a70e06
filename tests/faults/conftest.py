"""One server that goes wrong as each test wants, and the client in both modes over it."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import grpc
import pytest

from airflow_provider_btrdb.client import connect, connect_async
from airflow_provider_btrdb.devserver.limits import Limits
from airflow_provider_btrdb.protocol import METHODS, SERVICE, Kind
from airflow_provider_btrdb.testing import RunningServer, devserver

PAGE = 10
"""Points and windows of one page of the server, in both forms."""


@pytest.fixture(scope="session")
def faulty() -> Iterator[RunningServer]:
    """Small pages, so that few points make many of them."""
    with devserver(
        limits=Limits(raw_page_points=PAGE, arrow_page_points=PAGE, descriptor_page=4, sql_page_bytes=1000)
    ) as running:
        yield running


@pytest.fixture
def btrdb(faulty: RunningServer) -> RunningServer:
    """The server with an empty log of calls."""
    faulty.calls.clear()
    return faulty


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def connected(mode: str, one_loop: None) -> AsyncIterator[Any]:
    """`await connected(endpoint, **options)`: a client of the test's mode, closed at its end."""
    opened = []

    async def open_one(endpoint: str, **options: Any) -> Any:
        db = connect(endpoint, **options) if mode == "sync" else await connect_async(endpoint, **options)
        opened.append(db)
        return db

    yield open_one
    for db in opened:
        closing = db.close()
        if closing is not None:
            await closing


@pytest.fixture
async def db(connected: Any, btrdb: RunningServer) -> Any:
    """A BTrDB or an AsyncBTrDB; tests await what it returns with `done` and read its iterators with `items`."""
    connection = await connected(btrdb.endpoint)
    btrdb.calls.clear()
    return connection


@pytest.fixture
def collection() -> str:
    """A collection of the test's own."""
    return f"faults/{uuid4()}"


@pytest.fixture
async def stream(db: Any, done: Any, collection: str, btrdb: RunningServer) -> Any:
    """A new stream without points, its creation not in the log."""
    made = await done(db.create(uuid4(), collection, {"name": "s"}))
    btrdb.calls.clear()
    return made


@pytest.fixture
def eventually() -> Any:
    """Wait until a condition holds; the limit only ends a test that has failed."""

    async def wait(condition: Callable[[], Any]) -> None:
        for _ in range(4800):
            if condition():
                return
            await asyncio.sleep(0.025)
        pytest.fail("it did not come true")

    return wait


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Commands that are started can be interrupted: the background of a shell ignores SIGINT, and they inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Ends(logging.Handler):
    """How calls ended at the server, from its debug log, and how many were under way at once."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__()
        self._server = server
        self._ended = 0
        self.most = 0
        """The most calls under way at once, since `begin`."""
        self.outcomes: list[tuple[str, str]] = []
        """Method and OK, CANCELLED or the name of an error, in order of their ends."""

    def begin(self) -> None:
        """Count from now on; nothing is under way."""
        self._server.calls.clear()
        self._ended = self.most = 0
        self.outcomes.clear()

    def emit(self, record: logging.LogRecord) -> None:
        facts = getattr(record, "facts", None)
        if facts is not None:
            # Between two ends calls only begin, so the most are under way just before an end.
            self.most = max(self.most, len(self._server.calls.records()) - self._ended)
            self._ended += 1
            self.outcomes.append((facts["method"], facts["outcome"]))


@pytest.fixture
def ends(btrdb: RunningServer, db: Any) -> Iterator[Ends]:
    """Watches from the moment when the client is connected."""
    watched = logging.getLogger("airflow_provider_btrdb.devserver")
    handler, level = Ends(btrdb), watched.level
    watched.addHandler(handler)
    watched.setLevel(logging.DEBUG)
    yield handler
    watched.removeHandler(handler)
    watched.setLevel(level)


class Script:
    """A server that answers with `on[method](request, number of the call)`: pages that no real server would send.

    A call with many requests is answered after its first one.
    """

    def __init__(self) -> None:
        self.on: dict[str, Callable[[Any, int], Any]] = {}
        self.requests: dict[str, list[Any]] = {}
        self._workers = ThreadPoolExecutor(max_workers=8)
        self._server = grpc.server(self._workers)
        kinds = {
            Kind.UNARY: grpc.unary_unary_rpc_method_handler,
            Kind.SERVER_STREAM: grpc.unary_stream_rpc_method_handler,
            Kind.BIDI_STREAM: grpc.stream_stream_rpc_method_handler,
        }
        handlers = {
            method.name: kinds[method.kind](self._answer(method.name), method.request.FromString, _bytes)
            for method in METHODS.values()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        self.endpoint = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self.on["Info"] = lambda request, number: METHODS["Info"].response(major_version=5, minor_version=31)
        self._server.start()

    def _answer(self, name: str) -> Any:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            asked = self.requests.setdefault(name, [])
            asked.append(next(request) if METHODS[name].kind is Kind.BIDI_STREAM else request)
            reply = self.on[name](asked[-1], len(asked))
            if isinstance(reply, grpc.StatusCode):
                context.abort(reply, "scripted")
            return reply

        return answer

    def stop(self) -> None:
        self._server.stop(None).wait()
        self._workers.shutdown()


def _bytes(message: Any) -> bytes:
    return message if isinstance(message, bytes) else bytes(message.SerializeToString())


@pytest.fixture
def script() -> Iterator[Script]:
    server = Script()
    yield server
    server.stop()
