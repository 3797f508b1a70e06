"""An apply that is killed goes on where it was: the same end, and nothing made twice."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb.client import BTrDB, ConnectionConfig
from airflow_provider_btrdb.client.identity import derived_uuid
from airflow_provider_btrdb.provision import Plan, apply_plan, make_plan, plan_bytes, spec_from_rows
from airflow_provider_btrdb.testing import RunningServer
from airflow_provider_btrdb.testing.faults import Delay, Fault

pytestmark = pytest.mark.anyio

WRITES = ("Create", "SetStreamTags", "SetStreamAnnotations")
KILLS = 20


def started(server: RunningServer, file: Path, stderr: int | None = None) -> subprocess.Popen[bytes]:
    """The real command, in a process of its own."""
    command = [sys.executable, "-m", "airflow_provider_btrdb.cli.provision", "apply", str(file)]
    command += ["--endpoint", server.endpoint, "--max-in-flight", "4"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, env=environment)


def writes(server: RunningServer) -> int:
    counts = server.calls.counts()
    return sum(counts[method] for method in WRITES)


@contextlib.contextmanager
def held(server: RunningServer, after: int) -> Iterator[None]:
    """Of each kind of write so many are made and all further ones wait: no command comes to its end."""
    faults = [Fault(method, Delay(3600), first=after + 1, last=1_000_000) for method in WRITES]
    for fault in faults:
        server.faults.add(fault)
    try:
        yield
    finally:
        for fault in faults:
            server.faults.remove(fault)


async def killed(server: RunningServer, file: Path, after: int, eventually: Any) -> None:
    """Kill the command when so many of its writes have arrived at the server."""
    server.calls.clear()
    with held(server, after):
        process = started(server, file)
        try:
            await eventually(lambda: writes(server) >= after or process.poll() is not None)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == -signal.SIGKILL, "it must be killed before its end"


async def test_killed_at_twenty_random_points_and_finished(
    btrdb: RunningServer, tmp_path: Path, eventually: Any
) -> None:
    """One plan; each run of it is killed somewhere, and the last one may end."""
    place, chance = f"killed/{uuid4()}", random.Random(20)
    fresh, changed = [f"new{n}" for n in range(80)], [f"old{n}" for n in range(40)]
    with BTrDB(ConnectionConfig(endpoint=btrdb.endpoint)) as db:
        for name in changed:
            db.create(derived_uuid(place, name), place, {"name": name, "unit": "V"})
        rows = [
            {"collection": place, "name": name, "unit": "A", "annotations": {"k": name}} for name in fresh + changed
        ]
        spec = spec_from_rows(rows, prefixes=[place])
        plan = db.run(make_plan(spec))
        file = tmp_path / "plan.json"
        file.write_bytes(plan_bytes(plan))
        for _ in range(KILLS):
            await killed(btrdb, file, chance.randint(1, 8), eventually)
        half_way = db.run(make_plan(spec))
        assert half_way.verdict == "changes", "the runs must have been killed before their end"
        assert half_way.unchanged > 0, "and after their beginning"
        last = started(btrdb, file)
        assert last.wait() == 0
        assert db.run(make_plan(spec)).verdict == "empty"
        assert {one.name: (one.uuid, one.annotations, one.property_version) for one in db.lookup_iter(place)} == {
            name: (derived_uuid(place, name), {"k": name}, 1 if name in fresh else 3) for name in fresh + changed
        }


async def test_a_shard_whose_worker_was_killed_is_finished_by_another(
    btrdb: RunningServer, tmp_path: Path, eventually: Any
) -> None:
    """64 shards; the worker of the fullest one dies in the middle, and every stream is there exactly once."""
    place = f"shards/{uuid4()}"
    rows = [{"collection": f"{place}/{n % 70}", "name": f"s{n}"} for n in range(280)]
    spec = spec_from_rows(rows, prefixes=[place])
    with BTrDB(ConnectionConfig(endpoint=btrdb.endpoint)) as db:
        plans: list[Plan] = [db.run(make_plan(spec, shard=(number, 64))) for number in range(64)]
        fullest = max(plans, key=lambda plan: len(plan.changes))
        file = tmp_path / "plan.json"
        file.write_bytes(plan_bytes(fullest))
        await killed(btrdb, file, len(fullest.changes) // 2, eventually)
        applied = [db.run(apply_plan(plan)) for plan in plans]
        assert [one.error() for one in applied] == [None] * 64
        assert Counter(result.uuid for one in applied for result in one.results).most_common(1)[0][1] == 1
        assert sorted(one.name for one in db.lookup_iter(place)) == sorted(row["name"] for row in rows)
        assert db.run(make_plan(spec, prune=True)).verdict == "empty"


async def test_interrupted_it_says_so_and_goes_on_later(
    btrdb: RunningServer, tmp_path: Path, eventually: Any, interruptible: None
) -> None:
    place = f"interrupted/{uuid4()}"
    with BTrDB(ConnectionConfig(endpoint=btrdb.endpoint)) as db:
        plan = db.run(make_plan(spec_from_rows([{"collection": place, "name": f"s{n}"} for n in range(60)])))
        file = tmp_path / "plan.json"
        file.write_bytes(plan_bytes(plan))
        btrdb.calls.clear()
        with held(btrdb, 8):
            process = started(btrdb, file, stderr=subprocess.PIPE)
            await eventually(lambda: writes(btrdb) > 8 or process.poll() is not None)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate()
        assert (process.returncode, errors) == (
            1, b"btrdb-provision: interrupted; the same command goes on where it stopped\n",
        )  # fmt: skip
        assert 0 < db.count_streams(place) < 60
        assert db.run(apply_plan(plan)).error() is None
        assert db.count_streams(place) == 60


def test_a_terminal_sees_a_bar(btrdb: RunningServer, tmp_path: Path) -> None:
    with BTrDB(ConnectionConfig(endpoint=btrdb.endpoint)) as db:
        plan = db.run(make_plan(spec_from_rows([{"collection": f"bar/{uuid4()}", "name": "s"}])))
    file = tmp_path / "plan.json"
    file.write_bytes(plan_bytes(plan))
    ours, theirs = pty.openpty()
    process = started(btrdb, file, stderr=theirs)
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # what Linux says when the other end is closed
        while part := os.read(ours, 4096):
            seen += part
    os.close(ours)
    assert process.wait() == 0
    assert b"applying" in seen
    assert b"1/1" in seen
