"""A server in this process that fails as each test of the loops wants, the client in both modes over it.

And a reader of pages.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import grpc
import pytest

from airflow_provider_btrdb.client import AsyncBTrDB, BTrDB, ConnectionConfig
from airflow_provider_btrdb.client.policy import Budget
from airflow_provider_btrdb.protocol import METHODS, SERVICE, Kind

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
        self.db = self.connected(retry_total=250.0)

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
        return event.wait(120) if self.mode == "sync" else bool(self.run(asyncio.to_thread(event.wait, 120)))

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
def slow_calls(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """To budgets, every call that arrives takes 100 seconds, and nothing else takes any: speed decides nothing."""

    def budget(total: float) -> Budget:
        return Budget(total, lambda: 100.0 * server.calls.total())

    for mode in ("_sync", "_aio"):
        for module in ("calls", "reads"):
            monkeypatch.setattr(f"airflow_provider_btrdb.client.{mode}.{module}.Budget", budget)


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


class Seen(HTMLParser):
    """Elements with their attributes, and the text of each kind of element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(html)
        self.close()
        assert self.open == [], "every element that was opened is closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


@pytest.fixture
def seen_in() -> type[Seen]:
    """`seen_in(html)`: what a page has."""
    return Seen
