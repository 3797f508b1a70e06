"""Files of audits that are whole or not there: on a full disk, and under the eyes of a reader."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airflow_provider_btrdb.audit import Audit, Coverage, RunResult, load_last, runs, store
from airflow_provider_btrdb.audit.files import write_whole
from airflow_provider_btrdb.audit.findings import Spool


@contextmanager
def disk_with(most: int) -> Iterator[None]:
    """Files cannot grow beyond so many bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def audit(number: int) -> Audit:
    result = RunResult(
        run_id=f"2026010{number}T000000.000000Z",
        suite="s",
        began=f"2026-01-0{number}T00:00:00Z",
        seconds=1.0,
        sql=True,
        coverage=Coverage(outcome="pass", message="x" * 1000, collections=1, streams=1),
        checks=(),
    )
    return Audit(result, Spool(), {"c": 1})


def test_a_disk_that_is_full_leaves_no_run_that_stops_later_audits(tmp_path: Path) -> None:
    first, second = audit(1), audit(2)
    store(first, tmp_path)
    with disk_with(100), pytest.raises(OSError, match="File too large"):
        store(second, tmp_path)
    assert [place.name for place in runs(tmp_path)] == [first.result.run_id]
    last = load_last(tmp_path, "s")
    assert last is not None
    assert last.result == first.result
    assert store(second, tmp_path) == next(runs(tmp_path))
    assert {file.name for file in (tmp_path / second.result.run_id).iterdir()} == {
        "run.json", "failures.jsonl", "collections.jsonl",
    }  # fmt: skip


def test_who_reads_while_others_write_gets_a_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "index.html"
    write_whole(file, b"long" * 1000)
    with file.open("rb") as reader:
        write_whole(file, b"short")
        assert reader.read() == b"long" * 1000
    assert file.read_bytes() == b"short"
    with disk_with(100), pytest.raises(OSError, match="File too large"):
        write_whole(file, b"long" * 1000)
    assert file.read_bytes() == b"short"
    assert list(tmp_path.iterdir()) == [file]
