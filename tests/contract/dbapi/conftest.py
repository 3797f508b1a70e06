"""PEP 249 connections: over the server of all contract tests, and over one in this process that can go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from airflow_provider_btrdb.client import BTrDB, connect, dbapi
from airflow_provider_btrdb.devserver.limits import Limits
from airflow_provider_btrdb.testing import RunningServer, devserver


@pytest.fixture(scope="module")
def db(target: Any) -> Iterator[BTrDB]:
    with connect(target.endpoint, target.api_key) as connection:
        yield connection


@pytest.fixture
def connection(db: BTrDB) -> Iterator[dbapi.Connection]:
    with dbapi.connect(db) as opened:
        yield opened


@pytest.fixture
def cursor(connection: dbapi.Connection) -> dbapi.Cursor:
    return connection.cursor()


@pytest.fixture(scope="module")
def streams(db: BTrDB) -> tuple[str, list[UUID]]:
    """A collection of three streams, and their uuids by name."""
    collection = f"contract-test/{uuid4()}"
    uuids = [uuid4() for _ in range(3)]
    for number, uuid in enumerate(uuids):
        db.create(uuid, collection, {"name": f"s{number}", "unit": "100%s"}, {"number": str(number), "none": None})
    return collection, uuids


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """A server in this process, which can go wrong on purpose and counts its calls; it runs one query at a time."""
    with devserver(limits=Limits(sql_concurrency=1)) as running:
        yield running


@pytest.fixture(scope="module")
def faulty_db(server: RunningServer) -> Iterator[BTrDB]:
    with connect(server.endpoint, retry_total=0) as connection:
        yield connection


@pytest.fixture
def faulty(server: RunningServer, faulty_db: BTrDB) -> Iterator[dbapi.Connection]:
    with dbapi.connect(faulty_db) as opened:
        server.calls.clear()
        yield opened


@pytest.fixture(scope="session")
def names() -> Any:
    """The names of a cursor's columns."""

    def of(cursor: dbapi.Cursor) -> list[str]:
        assert cursor.description is not None
        assert all(len(column) == 7 and column[1:] == (None,) * 6 for column in cursor.description)
        return [column[0] for column in cursor.description]

    return of


@pytest.fixture(scope="session")
def many() -> str:
    """A statement with more rows than fit into the buffers on the way."""
    return "SELECT n, repeat('x', 1000) AS filler FROM generate_series(1, 100000) AS n"
