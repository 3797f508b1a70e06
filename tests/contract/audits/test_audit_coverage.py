"""Coverage of audits on a server, and shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb.audit import (
    AuditError,
    RunResult,
    load_last,
    runs,
)
from airflow_provider_btrdb.client import BTrDB, connect
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.testing import RunningServer

S = 1_000_000_000
NOW = 1_700_000_000 * S
DAY = 86_400 * S


def test_coverage_comes_first(db: BTrDB, place: str, make_stream: Any, make_audit: Any) -> None:
    make_stream(db, place, "a")
    make_stream(db, place, "b", collection="b")
    good = make_audit(db, place, top={"expect_at_least": {"streams": 2, "collections": 2}})
    assert (good.outcome, good.coverage.streams, good.coverage.collections) == ("pass", 2, 2)
    assert good.coverage.message == "2 streams in 2 collections are seen"
    few = make_audit(db, place, top={"expect_at_least": {"streams": 3, "collections": 3}})
    assert few.outcome == "error"
    assert few.coverage.message == (
        "2 streams are seen, at least 3 are expected; 2 collections are seen, at least 3 are expected"
    )
    assert isinstance(few.error(), AuditError)
    none = make_audit(db, f"{place}nowhere")
    assert (none.outcome, none.checks[0].outcome) == ("error", "skipped")
    assert "there is nothing, or this key may not read it" in none.coverage.message


def test_the_result_knows_when_failures_count(db: BTrDB, place: str, make_stream: Any, one_check: Any) -> None:
    make_stream(db, place, "a")
    hard = one_check(db, place, {"required": "unit", "error_if": ">= 2", "warn_if": "> 0.5%"})
    soft = one_check(db, place, {"required": "unit", "severity": "warn"})
    assert [(check.error_if, check.warn_if) for check in (hard, soft)] == [(">= 2", "> 0.5%"), ("", "> 0")]


def test_a_drop_is_told_until_it_is_accepted(
    db: BTrDB, place: str, tmp_path: Path, make_stream: Any, make_audit: Any
) -> None:
    streams = [make_stream(db, place, name, collection=name) for name in "abcd"]

    def run(**options: Any) -> RunResult:
        return make_audit(db, place, folder=tmp_path, last=load_last(tmp_path, "s"), **options)

    first = run().coverage
    assert (first.before_streams, first.before_collections, first.baseline_streams) == (None, None, 4)
    assert (run().coverage.before_streams, run().outcome) == (4, "pass")
    streams[0].obliterate()
    for _ in range(2):
        dropped = run()
        assert dropped.coverage.message == "3 streams are seen, 4 were before; 3 collections are seen, 4 were before"
        assert (dropped.outcome, dropped.coverage.baseline_streams) == ("error", 4)
        assert (dropped.coverage.before_streams, dropped.coverage.before_collections) == (4, 4)
    assert len(list(runs(tmp_path))) == 5
    assert run(top={"allow_drop": "25%"}).outcome == "pass"
    streams[1].obliterate()
    lost = run()
    assert (lost.coverage.lost, lost.coverage.lost_count, lost.outcome) == ((f"{place}b",), 1, "error")
    accepted = run(accept_drop=True)
    assert (accepted.outcome, accepted.coverage.baseline_streams) == ("pass", 2)
    assert accepted.coverage.before_streams is None
    assert run().outcome == "pass"


def test_a_key_that_sees_less_is_no_green_audit(
    server: RunningServer, db: BTrDB, tmp_path: Path, make_stream: Any, make_audit: Any
) -> None:
    for place in ("audit/seen/", "audit/hidden/"):
        make_stream(db, f"{place}{uuid4()}", "x")
    make_audit(db, "audit/", folder=tmp_path)
    with connect(server.endpoint, "half-key") as half:
        result = make_audit(half, "audit/", last=load_last(tmp_path, "s"))
    assert (result.sql, result.outcome) == (False, "error")
    assert " were before" in result.coverage.message


def test_shards_together_look_at_every_stream_once(
    db: BTrDB, server: RunningServer, place: str, make_stream: Any, make_audit: Any, told: Any
) -> None:
    for name in "abcdefgh":
        make_stream(db, place, name, [(NOW - DAY, 1.0)], collection=name)
    parts = []
    for number in range(3):
        server.calls.clear()
        parts.append(make_audit(db, place, {"fresh": "1h"}, {"required": "unit"}, shard=(number, 3)))
        assert server.calls.counts()["Nearest"] == (parts[-1].checks[0].checked or 0)
    assert sorted(name for part in parts for name in told(part.checks[0])) == list("abcdefgh")
    assert [part.checks[1].outcome for part in parts] == ["pass", "skipped", "skipped"]
    assert parts[1].checks[1].message == "is made by shard 0"
    assert [part.run_id[-5:] for part in parts] == ["-0of3", "-1of3", "-2of3"]
    with pytest.raises(InputError, match="shards are counted from 0 to 2"):
        make_audit(db, place, shard=(3, 3))
