"""One server for all contract tests of a worker, and the client in both modes over it.

With BTRDB_TEST_ENDPOINT (and BTRDB_TEST_API_KEY) set, the client tests run against that server instead of ours. They
touch collections below `contract-test/` only.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb.client import connect, connect_async
from airflow_provider_btrdb.testing import devserver_process


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


@pytest.fixture(scope="session")
def tls_endpoint(certificate: tuple[Path, Path]) -> Iterator[str]:
    with devserver_process(api_key="tls-key", tls=certificate) as server:
        yield server.endpoint
