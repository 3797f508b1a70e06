"""Runs that are stored, and what changed since the last one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_btrdb.audit import (
    CheckResult,
    load,
    load_last,
    runs,
    summary,
)
from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.client.errors import InputError


def test_new_fixed_and_still(db: BTrDB, place: str, tmp_path: Path, make_stream: Any, make_audit: Any) -> None:
    streams = {name: make_stream(db, place, name, unit=unit) for name, unit in (("a", ""), ("b", ""), ("c", "V"))}

    def run() -> CheckResult:
        last = load_last(tmp_path, "s")
        return make_audit(db, place, {"required": "unit"}, folder=tmp_path, last=last).checks[0]

    assert run().comparison is None
    for name, unit in (("a", "V"), ("c", "")):
        streams[name].update(tags={"unit": unit})
    compared = run().comparison
    assert compared is not None
    assert (compared.new, compared.fixed, compared.still) == (1, 1, 1)
    assert [failure.name for failure in compared.new_sample] == ["c"]
    assert [failure.name for failure in compared.fixed_sample] == ["a"]
    assert compared.fixed_sample[0].message == "lacks unit"
    lines = [json.loads(line) for line in (next(runs(tmp_path)) / "failures.jsonl").read_text().splitlines()]
    assert [(line["check"], line["name"]) for line in lines] == [("required unit", "b"), ("required unit", "c")]


def test_what_is_stored(db: BTrDB, place: str, tmp_path: Path, make_stream: Any, make_audit: Any) -> None:
    for number in range(30):
        make_stream(db, place, f"n{number:02d}", unit="", collection="ab"[number % 3 == 0])
    result = make_audit(db, place, {"required": "unit", "sample": 4}, folder=tmp_path)
    (check,) = result.checks
    assert (check.failed, check.stored, len(check.sample), check.percent) == (30, 30, 4, 100.0)
    assert [(one.collection, one.streams, one.failures) for one in result.places] == [
        (f"{place}a", 20, 20),
        (f"{place}b", 10, 10),
    ]
    (folder,) = runs(tmp_path)
    assert [json.loads(line) for line in (folder / "collections.jsonl").read_text().splitlines()] == [
        [f"{place}a", 20],
        [f"{place}b", 10],
    ]
    assert summary(result)["failures"] == 30
    assert load_last(tmp_path, "another") is None
    (folder / "run.json").write_text('{"format": 2}')
    with pytest.raises(InputError, match="is no run of this version"):
        load(folder)


def test_too_many_failures_are_counted_and_not_compared(
    db: BTrDB, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_stream: Any, make_audit: Any
) -> None:
    from airflow_provider_btrdb.audit import findings

    monkeypatch.setattr(findings, "MOST_STORED", 2)
    for name in "abcd":
        make_stream(db, place, name, unit="")
    for _ in range(2):
        last = load_last(tmp_path, "s")
        check = make_audit(db, place, folder=tmp_path, last=last).checks[0]
        assert (check.failed, check.stored, check.comparison) == (4, 2, None)
    for stream in db.streams(f"{place}a/b", f"{place}a/c", f"{place}a/d"):
        stream.update(tags={"unit": "V"})
    after = []
    for _ in range(2):
        last = load_last(tmp_path, "s")
        after.append(make_audit(db, place, folder=tmp_path, last=last).checks[0])
    assert [(check.failed, check.stored) for check in after] == [(1, 1)] * 2
    assert [check.comparison is None for check in after] == [True, False], "the run before did not know all"


def test_a_thousand_checks_that_all_fail_fill_no_disk(
    db: BTrDB, place: str, monkeypatch: pytest.MonkeyPatch, make_stream: Any, make_audit: Any
) -> None:
    from airflow_provider_btrdb.audit import findings

    monkeypatch.setattr(findings, "MOST_OF_RUN", 5)
    for name in "abcd":
        make_stream(db, place, name, unit="")
    for use_sql in (True, False):
        result = make_audit(db, place, *[{"required": "unit", "sample": 2}] * 4, use_sql=use_sql)
        assert [(check.failed, len(check.sample)) for check in result.checks] == [(4, 2)] * 4
        assert sum(check.stored for check in result.checks) <= 5 + 4 * 2


def test_a_run_that_was_not_stored_to_the_end_is_none(
    db: BTrDB, place: str, tmp_path: Path, make_stream: Any, make_audit: Any
) -> None:
    make_stream(db, place, "a", unit="")
    first = make_audit(db, place, folder=tmp_path)
    make_audit(db, place, folder=tmp_path)
    (next(runs(tmp_path)) / "run.json").unlink()
    last = load_last(tmp_path, "s")
    assert last is not None
    assert last.result == first
