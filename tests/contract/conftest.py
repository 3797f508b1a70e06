"""One server for all contract tests of a worker, and the client in both modes over it.

With BTRDB_TEST_ENDPOINT (and BTRDB_TEST_API_KEY) set, the client tests run against that server instead of ours. They
touch collections below `contract-test/` only.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb.client import BTrDB, connect, connect_async
from airflow_provider_btrdb.testing import RunningServer, devserver, devserver_process


@dataclass(frozen=True)
class Target:
    endpoint: str
    api_key: str | None


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    endpoint = os.environ.get("BTRDB_TEST_ENDPOINT")
    if endpoint:
        yield Target(endpoint, os.environ.get("BTRDB_TEST_API_KEY"))
        return
    # A process of its own: two asyncio loops with gRPC in one process make older grpcio log spurious errors.
    with devserver_process(api_key="contract-key") as server:
        yield Target(server.endpoint, "contract-key")


@pytest.fixture(params=["sync", "async"])
async def db(request: pytest.FixtureRequest, target: Target, one_loop: None) -> AsyncIterator[Any]:
    """A BTrDB or an AsyncBTrDB; tests await what it returns with `done` and read its iterators with `items`."""
    if request.param == "sync":
        with connect(target.endpoint, target.api_key) as connection:
            yield connection
    else:
        async with await connect_async(target.endpoint, target.api_key) as connection:
            yield connection


@pytest.fixture
def collection() -> str:
    """A collection of the test's own."""
    return f"contract-test/{uuid4()}"


@pytest.fixture
def official(target: Target) -> Any:
    """A connection of the official client to the same server."""
    btrdb = pytest.importorskip("btrdb", reason="needs the official client")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return btrdb.connect(target.endpoint, apikey=target.api_key)


@pytest.fixture
def filled(db: Any, done: Any, collection: str) -> Any:
    """`await filled(points)`: a new stream `s` in V with these points."""

    async def make(points: Any) -> Any:
        stream = await done(db.create(uuid4(), collection, {"name": "s", "unit": "V"}, {"site": "north"}))
        await done(stream.insert(points))
        return stream

    return make


@pytest.fixture
def closed_port() -> Iterator[Any]:
    """`closed_port()`: a port of this machine where nobody listens, nor begins to before the end of the test."""
    with contextlib.ExitStack() as stack:

        def taken() -> int:
            place = stack.enter_context(socket.socket())
            place.bind(("127.0.0.1", 0))
            return int(place.getsockname()[1])

        yield taken


@pytest.fixture(scope="session")
def wait_until() -> Any:
    """`wait_until(condition)`: return once it holds; the limit only ends a test that has failed."""

    def wait(condition: Callable[[], Any]) -> None:
        for _ in range(2400):
            if condition():
                return
            time.sleep(0.05)
        pytest.fail("it did not come true")

    return wait


@pytest.fixture(scope="session")
def tls_endpoint(certificate: tuple[Path, Path]) -> Iterator[str]:
    with devserver_process(api_key="tls-key", tls=certificate) as server:
        yield server.endpoint


# ---------------------------------------------------------------- commands


@pytest.fixture(scope="module")
def keyed_server() -> Iterator[RunningServer]:
    """A server that wants an API key, for commands."""
    with devserver(api_key="the-key") as running:
        yield running


@pytest.fixture
def keyed_db(keyed_server: RunningServer) -> Iterator[BTrDB]:
    """What a command has done there."""
    with connect(keyed_server.endpoint, "the-key") as connection:
        yield connection


@pytest.fixture
def run_command(
    keyed_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """`run_command(main, "plan", "streams.yaml", ...)` in a folder of the test's own: exit status, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THE_KEY", "the-key")

    def run_it(main: Callable[[list[str]], int], name: str, *arguments: str) -> tuple[int, str, str]:
        try:
            status = main([name, "--endpoint", keyed_server.endpoint, "--api-key-env", "THE_KEY", *arguments])
        except SystemExit as end:
            status = int(str(end.code))
        out, err = capsys.readouterr()
        return status, out, err

    return run_it
