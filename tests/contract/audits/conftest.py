"""A server that answers SQL and one that does not, for every test of audits; and suites that are made on them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb.audit import CheckResult, RunResult, load, parse_suite, run_suite, store
from airflow_provider_btrdb.client import BTrDB, connect
from airflow_provider_btrdb.testing import RunningServer, devserver

AUDIT_NOW_NS = 1_700_000_000 * 1_000_000_000
AUDIT_KEYS = {
    "keys": {
        "all": {"key": "all-key", "read": [""], "insert": [""], "obliterate": [""], "delete": [""]},
        "half": {"key": "half-key", "read": ["audit/seen"]},
    }
}


@pytest.fixture(scope="module", params=[True, False], ids=["sql", "no-sql"])
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """A server that answers SQL, and one that does not."""
    with devserver(sql=request.param, keys=AUDIT_KEYS) as running:
        yield running


@pytest.fixture
def db(server: RunningServer) -> Iterator[BTrDB]:
    with connect(server.endpoint, "all-key") as connection:
        yield connection


@pytest.fixture
def place() -> str:
    """What the collections of a test begin with."""
    return f"audit/{uuid4()}/"


@pytest.fixture
def make_stream() -> Any:
    """`make_stream(db, place, "name", points, unit="V", site="north")`: a new stream in V of the collection `a`."""

    def make(db: BTrDB, place: str, name: str, points: Any = (), collection: str = "a", **more: Any) -> Any:
        tags = {"name": name, "unit": more.pop("unit", "V")}
        stream = db.create(uuid4(), f"{place}{collection}", tags, more)
        if points:
            stream.insert(points)
        return stream

    return make


@pytest.fixture
def make_audit() -> Any:
    """`make_audit(db, place, *checks, top={...}, folder=...)`: the result of a suite `s`; with a folder, stored."""

    def made(db: BTrDB, place: str, *checks: Any, top: Any = None, folder: Path | None = None, **options: Any) -> Any:
        data = {"name": "s", "select": {"prefix": place}, **(top or {}), "checks": checks or [{"required": "unit"}]}
        suite = parse_suite(json.dumps(data), "json")
        audit = db.run(run_suite(suite, **{"now_ns": AUDIT_NOW_NS, **options}))
        try:
            if folder is not None:
                assert load(store(audit, folder)) == audit.result
            result: RunResult = audit.result
            return result
        finally:
            audit.close()

    return made


@pytest.fixture
def one_check(make_audit: Any) -> Any:
    """`one_check(db, place, check)`: what became of it."""

    def one(db: BTrDB, place: str, check: Any, **options: Any) -> CheckResult:
        found: CheckResult = make_audit(db, place, check, **options).checks[0]
        return found

    return one


@pytest.fixture
def told() -> Any:
    """`told(check)`: the names of streams that fail, and why."""
    return lambda check: {failure.name: failure.message for failure in check.sample}
