"""Runs of audits on Airflow's object storage: any path with the methods of pathlib will do."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_btrdb.audit import load_last, parse_suite, run_suite, runs, store
from airflow_provider_btrdb.client import connect
from airflow_provider_btrdb.report import store_pages
from airflow_provider_btrdb.testing import devserver


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every file that is opened on object storage; what is written is there once it is closed."""
    files: list[Any] = []
    open_it = ObjectStoragePath.open

    def noted(path: Any, *arguments: Any, **more: Any) -> Any:
        files.append(open_it(path, *arguments, **more))
        return files[-1]

    monkeypatch.setattr(ObjectStoragePath, "open", noted)
    return files


@pytest.mark.parametrize("formats", [("jsonl", "jsonl"), ("jsonl", "parquet"), ("parquet", "jsonl")])
def test_a_run_is_stored_and_compared_on_object_storage(
    tmp_path: Path, opened: list[Any], formats: tuple[str, str]
) -> None:
    folder = ObjectStoragePath(str(tmp_path / "runs"))
    suite = parse_suite("name: s\nchecks:\n- required: unit")
    with devserver() as server, connect(server.endpoint) as db:
        db.create(uuid4(), "a", {"name": "s"})
        for number, failures in enumerate(formats):
            last = load_last(folder, "s")
            assert (last is not None) is bool(number)
            audit = db.run(run_suite(suite, last=last))
            store(audit, folder, failures=failures)
            store_pages(folder, audit.result)
            audit.close()
    assert opened
    assert all(file.closed for file in opened)
    assert [path.name for path in sorted(tmp_path.glob("runs/*/failures.*"))] == [f"failures.{one}" for one in formats]
    assert len(list(runs(folder))) == 2
    comparison = audit.result.checks[0].comparison
    assert comparison is not None
    assert (comparison.new, comparison.fixed, comparison.still) == (0, 0, 1)
    assert (tmp_path / "runs" / "index.html").read_text().count("/report.html") == 2
    assert audit.result.run_id in (tmp_path / "runs" / audit.result.run_id / "report.html").read_text()
