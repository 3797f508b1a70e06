"""Bulk calls that end in unusual ways end all the same."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from typing import Any
from uuid import uuid4

import grpc
import pytest

from airflow_provider_btrdb.client import AsyncBTrDB, BTrDB, ConnectionConfig, connect, connect_async, errors
from airflow_provider_btrdb.client.policy import Pacer
from airflow_provider_btrdb.testing import RunningServer, devserver
from airflow_provider_btrdb.testing.faults import Delay, Refuse

pytestmark = pytest.mark.anyio


def in_a_thread(work: Any) -> Any:
    """The result or exception of the work; a test that hangs fails instead."""
    out: list[Any] = []

    def run() -> None:
        try:
            out.append(work())
        except BaseException as error:
            out.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(120)
    assert out, "it hangs"
    return out[0]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_from_a_progress_callback(
    btrdb: RunningServer, collection: str, kind: type[BaseException]
) -> None:
    def progress(finished: int, total: int) -> None:
        raise kind("stop")

    db = connect(btrdb.endpoint)
    specs = [{"collection": collection, "name": "x"}]
    assert isinstance(in_a_thread(lambda: db.create_many(specs, progress=progress)), kind)
    assert [result.outcome for result in in_a_thread(lambda: db.create_many(specs))] == ["existed"]
    in_a_thread(db.close)


def test_a_bulk_call_inside_a_progress_callback_is_refused(btrdb: RunningServer, collection: str) -> None:
    db = connect(btrdb.endpoint)
    specs = [{"collection": collection, "name": "x"}]
    error = in_a_thread(lambda: db.create_many(specs, progress=lambda *_: db.create_many(specs)))
    assert isinstance(error, errors.ClientUnusableError)
    in_a_thread(db.close)


async def test_closing_during_calls_is_an_error_of_ours(
    btrdb: RunningServer, collection: str, eventually: Any, one_loop: None
) -> None:
    db = await connect_async(btrdb.endpoint)
    with (
        btrdb.faults.inject("Create", Delay(3600), last=9) as creates,
        btrdb.faults.inject("Info", Delay(3600)) as info,
    ):
        tasks = [
            asyncio.ensure_future(db.create_many([{"collection": collection, "name": f"s{n}"} for n in range(3)])),
            asyncio.ensure_future(db.info()),
        ]
        await eventually(lambda: creates.fired == 3 and info.fired == 1)
        await db.close()
        for task in tasks:
            try:
                results = await asyncio.wait_for(task, 120)
            except errors.ClientUnusableError:
                continue
            assert {type(result.error) for result in results} == {errors.ClientUnusableError}


FORKED = """
    import os, signal, sys
    from airflow_provider_btrdb.client import connect, errors
    db = connect(sys.argv[1])
    if sys.argv[2] == "used":
        db.create_many([])
    child = os.fork()
    if child == 0:
        signal.alarm(100)
        try:
            db.create_many([{"collection": "faults/forked", "name": "x"}])
        except errors.ClientUnusableError:
            os._exit(0)
        os._exit(1)
    os._exit(0 if os.waitpid(child, 0)[1] == 0 else 1)
"""


@pytest.mark.parametrize("before", ["used", "unused"])
def test_bulk_work_is_refused_after_a_fork(btrdb: RunningServer, before: str) -> None:
    script = textwrap.dedent(FORKED)
    command = [sys.executable, "-c", script, btrdb.endpoint, before]
    assert subprocess.run(command, timeout=120, check=False).returncode == 0


async def test_one_burst_of_refusals_slows_down_once(
    connected: Any, done: Any, btrdb: RunningServer, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that were under way together are one answer of the server, not sixty-four.

    By a clock that stands still: a slow machine may take any time to read sixty-four refusals.
    """
    db = await connected(btrdb.endpoint)
    monkeypatch.setattr(db._calls.pacer, "_clock", lambda: 0.0)
    slowest = 0.0

    def progress(finished: int, total: int) -> None:
        nonlocal slowest
        slowest = max(slowest, db._calls.pacer.interval)

    specs = [{"collection": collection, "name": f"s{n}", "uuid": uuid4()} for n in range(100)]
    with btrdb.faults.inject("Create", Refuse(grpc.StatusCode.RESOURCE_EXHAUSTED), last=64) as fault:
        results = await done(db.create_many(specs, progress=progress))
    assert fault.fired == 64
    assert Counter(result.outcome for result in results) == {"created": 100}
    assert 0 < slowest <= Pacer.FIRST_BRAKE


async def test_many_calls_meet_a_changed_key(mode: str, one_loop: None, collection: str) -> None:
    """All were refused with the old key; one of them fetches the new one, all are made again with it."""
    with devserver(api_key="new") as server:
        config = ConnectionConfig(endpoint=server.endpoint, api_key="old")
        specs = [{"collection": collection, "name": f"s{n}", "uuid": uuid4()} for n in range(30)]
        if mode == "sync":
            with BTrDB(config, new_api_key=lambda: "new") as db:
                results = db.create_many(specs)
        else:
            async with AsyncBTrDB(config, new_api_key=lambda: "new") as db:
                results = await db.create_many(specs)
    assert Counter(result.outcome for result in results) == {"created": 30}
