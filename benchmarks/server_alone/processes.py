"""Samples of the server as a process: how long it takes to be ready, and what it holds."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_provider_btrdb.testing import ServerProcess, devserver_process

IDLE_SECONDS = 3.0
Sample = dict[str, Any]
Run = Callable[[str, int, str], Sample]
"""Case, size and endpoint -> a sample of server_alone.clients."""


@contextmanager
def _fresh() -> Iterator[tuple[ServerProcess, float]]:
    """A server in a new directory, and how long it took to be ready."""
    with tempfile.TemporaryDirectory(prefix="btrdb-benchmark-", ignore_cleanup_errors=True) as directory:
        began = time.perf_counter()
        with devserver_process(data=Path(directory) / "data", durability="full") as process:
            yield process, time.perf_counter() - began


def start_cold(size: int, run: Run) -> Sample:
    """The directory is made, initdb runs."""
    with _fresh() as (_, seconds):
        return {"wall": seconds, "compared": size}


def start_warm(size: int, run: Run) -> Sample:
    """It was shut down in order."""
    with _fresh() as (process, _):
        assert process.terminate() == 0
        return {"wall": _start(process), "compared": size}


def start_killed(size: int, run: Run) -> Sample:
    """PostgreSQL replays what it had not written to its tables; then every stream is there."""
    with _fresh() as (process, _):
        written = run("create-64", size, process.endpoint)
        assert written["compared"] == size
        process.kill()
        seconds = _start(process)
        return {"wall": seconds, "compared": run("count", size, process.endpoint)["compared"]}


def _start(process: ServerProcess) -> float:
    began = time.perf_counter()
    process.start()
    return time.perf_counter() - began


def memory(size: int, run: Run) -> Sample:
    """Proportional set size: a page that two processes share counts half in each."""
    with _fresh() as (process, _):
        time.sleep(IDLE_SECONDS)
        kilobytes = sum(map(_pss, family(process.pid)))
        return {"mb": kilobytes / 1024, "compared": size}


def family(pid: int) -> list[int]:
    """A process and all that come from it."""
    found = [pid]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _parent(entry) == pid:
            found += family(int(entry.name))
    return found


def _parent(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended
        return None


def _pss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


CASES: dict[str, Callable[[int, Run], Sample]] = {
    "start-cold": start_cold,
    "start-warm": start_warm,
    "start-killed": start_killed,
    "memory": memory,
}
