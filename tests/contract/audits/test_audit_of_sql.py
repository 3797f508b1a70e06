"""SQL of the user's own on a server: as a check, as a selection, and where no SQL is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_btrdb.audit import (
    load_last,
)
from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.testing import RunningServer


def test_queries_of_the_user(
    db: BTrDB, server: RunningServer, place: str, make_stream: Any, make_audit: Any, told: Any
) -> None:
    stream = make_stream(db, place, "bad", unit="x")
    make_stream(db, place, "good")
    like = f"collection LIKE '{place}%'"
    checks = [
        {"sql": f"SELECT collection, name, uuid, unit FROM streams WHERE {like} AND unit = 'x';"},
        {"sql": "SELECT nothing FROM streams"},
        {"required": "annotations.k", "select": {"sql": f"SELECT uuid FROM streams WHERE {like} AND unit = 'x'"}},
        {"matches": {"unit": r"\d"}, "select": {"sql": f"SELECT uuid FROM streams WHERE {like} AND unit = 'x'"}},
        {"required": "unit", "select": {"sql": "SELECT name FROM streams"}},
        {"required": "unit", "name": "fine"},
    ]
    result = make_audit(db, place, *checks)
    fine = result.checks[-1]
    assert (fine.outcome, fine.checked) == ("pass", 2)
    if not result.sql:
        assert [check.outcome for check in result.checks[:-1]] == ["skipped"] * 5
        assert result.outcome == "pass"
        assert result.checks[0].message == "is SQL, and the server answers none to this key"
        assert result.checks[2].message == "selects by SQL, and the server answers none to this key"
        strict = make_audit(db, place, *checks, top={"without_sql": "error"})
        assert [check.outcome for check in strict.checks[:-1]] == ["error"] * 5
        unasked = make_audit(db, place, *checks, use_sql=False)
        assert unasked.checks[0].message == "is SQL, and none is to be asked"
        return
    rows, unknown, selected, searched, no_uuid, _ = result.checks
    (failure,) = rows.sample
    assert (failure.collection, failure.name, failure.uuid) == (f"{place}a", "bad", str(stream.uuid))
    assert (failure.message, rows.outcome, rows.checked) == ("unit 'x'", "fail", None)
    assert (unknown.outcome, unknown.message) == (
        "error",
        'the server refuses the query: column "nothing" does not exist',
    )
    assert (selected.outcome, selected.checked, told(selected)) == ("fail", 1, {"bad": "lacks annotations.k"})
    assert (searched.how, searched.checked, set(told(searched))) == ("listing", 1, {"bad"})
    assert (no_uuid.outcome, "refuses the query that selects streams" in no_uuid.message) == ("error", True)


def test_a_suite_that_selects_by_sql(
    db: BTrDB, server: RunningServer, place: str, tmp_path: Path, make_stream: Any, make_audit: Any, told: Any
) -> None:
    for name in "abc":
        make_stream(db, place, name, unit="V" if name == "a" else "")
    top = {"select": {"prefix": place, "sql": "SELECT uuid FROM streams WHERE name <> 'c'"}}
    first = make_audit(db, place, top=top, folder=tmp_path)
    if first.sql:
        assert (first.coverage.streams, told(first.checks[0])) == (2, {"b": "lacks unit"})
    server.calls.clear()
    unasked = make_audit(db, place, top=top, last=load_last(tmp_path, "s"), use_sql=False)
    assert (unasked.checks[0].outcome, unasked.outcome) == ("skipped", "error")
    assert unasked.coverage.message == "the suite selects by SQL, and none is to be asked"
    assert unasked.coverage.baseline_streams == first.coverage.baseline_streams
    assert server.calls.records() == []
    refused = make_audit(db, place, top={"select": {"sql": "SELECT nothing FROM streams"}})
    assert (refused.outcome, refused.coverage.streams) == ("error", 0)
    if refused.sql:
        assert refused.checks[0].message == refused.coverage.message
        assert refused.coverage.message.startswith("the server refuses the query that selects streams: ")


def test_a_write_is_refused_by_the_server_too(db: BTrDB, server: RunningServer, place: str, make_stream: Any) -> None:
    """Where our own look at the text would let it pass."""
    from airflow_provider_btrdb.audit.asking import REFUSED, rows_of
    from airflow_provider_btrdb.audit.pushed import Statement

    make_stream(db, place, "a")
    for text in ("DELETE FROM streams", "SELECT lo_create(0)", "SELECT 1 INTO made"):
        with pytest.raises(REFUSED):
            db.run(lambda calls, text=text: rows_of(calls, Statement(text, [])))
    assert db.count_streams(place) == 1
