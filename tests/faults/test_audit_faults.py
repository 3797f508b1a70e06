"""Audits on servers that fail: what may pass later is raised, and what will not stays with its check."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest

from airflow_provider_btrdb.audit import Audit, RunResult, run_suite
from airflow_provider_btrdb.audit.reading import parse_suite
from airflow_provider_btrdb.client import connect
from airflow_provider_btrdb.client.errors import AuthenticationError, BTrDBError
from airflow_provider_btrdb.protocol import Code
from airflow_provider_btrdb.testing import RunningServer
from airflow_provider_btrdb.testing.faults import Answer, CutAfter, Delay, Fault, Refuse

pytestmark = pytest.mark.anyio

CHECKS = [
    {"required": "unit"},
    {"unique": "name"},
    {"refers_to": "annotations.of"},
    {"rare_keys": "1%"},
    {"fresh": "1h"},
    {"complete": {"rate": 1, "warn_below": 99}},
]


async def catalogue(db: Any, done: Any, place: str) -> None:
    """Twelve streams: three pages of a listing. Six of them lack a unit, and all share their name with another."""
    for number in range(12):
        tags = {"name": f"n{number // 2}", "unit": "V" * (number % 2)}
        await done(db.create(uuid4(), place, tags, {"of": str(uuid4())}))


async def made(db: Any, done: Any, place: str, checks: Any, **options: Any) -> RunResult:
    suite = parse_suite(json.dumps({"select": {"prefix": place}, "checks": checks}), "json")
    audit: Audit = await done(db.run(run_suite(suite, **options)))
    audit.close()
    return audit.result


async def audit(db: Any, done: Any, place: str, checks: Any = CHECKS, **options: Any) -> dict[str, tuple[str, int]]:
    result = await made(db, done, place, checks, **options)
    return {check.kind: (check.outcome, check.failed) for check in result.checks}


ALL = {
    "required": ("fail", 6), "unique": ("fail", 6), "refers_to": ("fail", 12), "rare_keys": ("pass", 0),
    "fresh": ("fail", 12), "complete": ("warn", 12),
}  # fmt: skip


@pytest.mark.parametrize("use_sql", [True, False])
async def test_lost_replies_and_short_failures_change_nothing(
    db: Any, done: Any, btrdb: RunningServer, collection: str, use_sql: bool
) -> None:
    await catalogue(db, done, collection)
    methods = ("SQLQuery", "LookupStreams", "GetMetadataUsage", "StreamInfo", "Nearest", "AlignedWindows")
    faults = [btrdb.faults.add(Fault(method, Refuse(grpc.StatusCode.UNAVAILABLE), first=1)) for method in methods]
    try:
        assert await audit(db, done, collection, use_sql=use_sql) == ALL
    finally:
        for fault in faults:
            btrdb.faults.remove(fault)
    assert sum(fault.fired for fault in faults) >= 4


@pytest.mark.parametrize(
    ("method", "use_sql"),
    [
        ("SQLQuery", True),
        ("LookupStreams", False),
        ("GetMetadataUsage", True),
        ("Nearest", True),
        ("AlignedWindows", True),
    ],
)
async def test_a_connection_that_stays_broken_is_raised_as_what_may_pass(
    connected: Any, done: Any, btrdb: RunningServer, collection: str, method: str, use_sql: bool
) -> None:
    db = await connected(btrdb.endpoint, retry_total=0)
    await catalogue(db, done, collection)
    with (
        btrdb.faults.inject(method, Refuse(grpc.StatusCode.UNAVAILABLE), last=10_000),
        pytest.raises(BTrDBError) as caught,
    ):
        await audit(db, done, collection, use_sql=use_sql)
    assert caught.value.retryable
    assert await audit(db, done, collection, use_sql=use_sql) == ALL


async def test_a_listing_that_is_cut_is_no_smaller_catalogue(
    db: Any, done: Any, btrdb: RunningServer, collection: str
) -> None:
    await catalogue(db, done, collection)
    with btrdb.faults.inject("LookupStreams", CutAfter(1)), pytest.raises(BTrDBError) as caught:
        await audit(db, done, collection, use_sql=False)
    assert caught.value.retryable


async def test_what_sql_refuses_the_pass_finds(db: Any, done: Any, btrdb: RunningServer, collection: str) -> None:
    await catalogue(db, done, collection)
    refused = Fault(
        "SQLQuery", Answer(Code.BAD_SQL, "canceling statement due to statement timeout"), first=2, last=10_000
    )
    btrdb.faults.add(refused)
    try:
        assert await audit(db, done, collection) == ALL
    finally:
        btrdb.faults.remove(refused)
    assert refused.fired >= 3


async def test_what_sql_does_not_count_the_pass_counts(
    db: Any, done: Any, btrdb: RunningServer, collection: str
) -> None:
    await catalogue(db, done, collection)
    busy = Answer(Code.BAD_SQL, "canceling statement due to statement timeout")
    suite = {"error_if": "> 50%", "required": "unit"}
    with btrdb.faults.inject("SQLQuery", busy, first=3, last=3) as refused:
        (check,) = (await made(db, done, collection, [suite])).checks
    assert (check.outcome, check.how, check.checked, check.failed) == ("warn", "sql", 12, 6)
    assert refused.fired == 1


async def test_an_answer_that_breaks_off_is_no_pass(db: Any, done: Any, btrdb: RunningServer, collection: str) -> None:
    """A second look would tell the failures of the first page twice."""
    for number in range(40):
        await done(db.create(uuid4(), collection, {"name": f"n{number}"}))
    refuse = CutAfter(1, grpc.StatusCode.PERMISSION_DENIED)
    with btrdb.faults.inject("SQLQuery", refuse, first=2, last=2):
        (check,) = (await made(db, done, collection, [{"required": "unit"}])).checks
    assert check.outcome == "error"
    assert check.message.startswith("the server broke off its answer: ")
    assert 0 < check.failed < 40


async def test_interrupted_it_says_so_and_stores_nothing(
    btrdb: RunningServer, tmp_path: Path, eventually: Any, interruptible: None
) -> None:
    place = f"interrupted/{uuid4()}"
    (tmp_path / "suite.yaml").write_text(f"select: {{prefix: {place}}}\nchecks:\n- fresh: 1h\n- required: unit\n")
    with connect(btrdb.endpoint) as db:
        for number in range(40):
            db.create(uuid4(), place, {"name": f"n{number}"})
    command = [sys.executable, "-m", "airflow_provider_btrdb.cli.audit", "run", str(tmp_path / "suite.yaml")]
    command += ["--endpoint", btrdb.endpoint, "--max-in-flight", "2", "--store", str(tmp_path / "runs")]
    with btrdb.faults.inject("Nearest", Delay(3600), first=4, last=1_000_000):  # it cannot come to its end
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        await eventually(lambda: btrdb.calls.counts()["Nearest"] > 4 or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate()
    assert (process.returncode, printed) == (1, b"")
    assert errors == b"btrdb-audit: interrupted; nothing was stored\n"
    assert not (tmp_path / "runs").exists()


async def test_a_refused_key_is_raised(db: Any, done: Any, btrdb: RunningServer, collection: str) -> None:
    await catalogue(db, done, collection)
    refuse = Refuse(grpc.StatusCode.UNAUTHENTICATED)
    with btrdb.faults.inject("Nearest", refuse, last=10_000), pytest.raises(AuthenticationError):
        await audit(db, done, collection)


async def test_a_stream_that_goes_meanwhile_is_no_failure(
    db: Any, done: Any, btrdb: RunningServer, collection: str
) -> None:
    await catalogue(db, done, collection)
    gone = Answer(Code.NO_SUCH_STREAM, "stream does not exist")
    with btrdb.faults.inject("Nearest", gone, first=1, last=3):
        assert (await audit(db, done, collection, [{"fresh": "1h"}]))["fresh"] == ("fail", 9)


async def test_annotation_keys_that_nobody_counts(db: Any, done: Any, btrdb: RunningServer, collection: str) -> None:
    await catalogue(db, done, collection)
    with btrdb.faults.inject("GetMetadataUsage", Refuse(grpc.StatusCode.UNIMPLEMENTED), last=99):
        assert await audit(db, done, collection) == {**ALL, "rare_keys": ("error", 0)}


@pytest.mark.parametrize("use_sql", [True, False])
async def test_the_cap_holds(
    connected: Any, done: Any, btrdb: RunningServer, collection: str, ends: Any, use_sql: bool
) -> None:
    db = await connected(btrdb.endpoint, max_in_flight=3)
    await catalogue(db, done, collection)
    ends.begin()
    slow = [Fault(method, Delay(0.05), last=10_000) for method in ("Nearest", "AlignedWindows", "StreamInfo")]
    slow.append(Fault("Nearest", Delay(1.0), last=3))  # long enough for three to meet, however slowly they come
    try:
        for fault in slow:
            btrdb.faults.add(fault)
        assert await audit(db, done, collection, use_sql=use_sql) == ALL
    finally:
        for fault in slow:
            btrdb.faults.remove(fault)
    assert ends.most == 3
