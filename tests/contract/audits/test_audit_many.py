"""Suites of a thousand checks on a server: what they find, what they ask, and in what portions."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb.audit import SuiteError, parse_suite, pointing, running
from airflow_provider_btrdb.cli import audit as command
from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.report import audit_page, page_html
from airflow_provider_btrdb.testing import RunningServer

STREAMS = 30


@pytest.fixture
def seeded(db: BTrDB, place: str) -> str:
    """Thirty streams in three collections: ten names and a unit for each, the last one without; no points."""

    def row(number: int) -> dict[str, Any]:
        unit = "" if number == STREAMS - 1 else f"u{number % 10}"
        notes = {"to": str(uuid4())}
        return {"collection": f"{place}{number // 10}", "name": f"n{number % 10}", "unit": unit, "annotations": notes}

    db.create_many([row(number) for number in range(STREAMS)])
    return place


def rule(number: int) -> dict[str, Any]:
    """Of a thousand, each kind in turn; those of many streams together are four hundred."""
    others = {"name": {"not": f"x{number}"}}
    return [
        {"required": ["unit", f"annotations.k{number}"]},
        {"allowed": {"unit": [f"u{digit}" for digit in range(9)]}, "where": others},
        {"matches": {"name": r"^n\d$"}, "where": others},
        {"count_between": {"least": 10}, "where": {"name": f"n{number % 10}"}},
        {"unique": "name", "where": others},
        {"consistent": {"field": "collection", "by": "name"}, "where": others},
        {"consistent": {"field": "unit", "by": "name"}, "where": others},
        {"refers_to": "annotations.to", "where": others},
        {"fresh": "1h", "where": {**others, "unit": False}},
        {"not_empty": True, "where": {"name": f"n{number // 10 % 10}"}},
    ][number % 10]


FOUND = [30, 2, 0, 3, 10, 10, 0, 30, 1, 3]
"""Failures of each kind: `n9` has its unit twice and no more, so that it is consistent."""


def test_a_thousand_checks_find_what_each_finds(
    db: BTrDB, server: RunningServer, seeded: str, make_audit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = [*map(rule, range(1000)), {"unique": "name"}]
    server.calls.clear()
    result = make_audit(db, seeded, *checks)
    counts = server.calls.counts()
    assert [check.failed for check in result.checks] == [*FOUND * 100, 10]
    assert {check.outcome for check in result.checks} == {"pass", "fail"}
    assert counts["Nearest"] == 2 * STREAMS, "one question of each stream for `not_empty`, two answers where empty"
    assert counts["LookupStreams"] == (1 if result.sql else 2)
    assert len(page_html(audit_page(result))) < 1_500_000
    if result.sql:
        # Is it served, seven kinds and one check more, 201 selections counted by fifties, coverage, 110 of points.
        assert counts["SQLQuery"] == 1 + 701 + 5 + 1 + 110
        return
    # What `unique`, `consistent` and `refers_to` tell of is read once for all of them; so are missing references.
    assert counts["StreamInfo"] <= 2 * STREAMS
    monkeypatch.setattr(running, "MOST_KEPT", 0)
    server.calls.clear()
    again = make_audit(db, seeded, *checks)
    assert again.checks == result.checks
    assert server.calls.counts()["LookupStreams"] == 400 / running.KEPT_AT_ONCE + 1


def test_checks_of_points_are_made_in_portions(
    db: BTrDB, seeded: str, make_audit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = [{"fresh": "1h"}, {"fresh": "1h", "where": {"name": "n1"}}, {"not_empty": True, "where": {"unit": True}}]
    whole = make_audit(db, seeded, *checks)
    monkeypatch.setattr(pointing, "MOST_ANSWERS", 36)
    told: list[tuple[int, int]] = []
    assert make_audit(db, seeded, *checks, progress=lambda *step: told.append(step)).checks == whole.checks
    assert told == [(12, 30), (24, 30), (30, 30)]
    assert [check.failed for check in whole.checks] == [30, 3, 29]


def test_a_thousand_faulty_checks_are_all_told(run_command: Any) -> None:
    faults = [
        ("- requird: unit", "requird: there is no such check; did you mean 'required'?"),
        ("- matches: {name: '('}", "matches: name: '(' is no regular expression: missing )"),
        ("- unique: colection", "unique: there is no field 'colection'; did you mean 'collection'?"),
        ("- sql: DELETE FROM streams", "sql: DELETE writes, and an audit only reads"),
        ("- required: unit", ""),
    ]
    text = "checks:\n" + "".join(f"{line}\n" for line, _ in faults) * 200
    with pytest.raises(SuiteError) as caught:
        parse_suite(text)
    told = [str(fault) for fault in caught.value.faults]
    expected = [(at, said) for at, (_, said) in enumerate(faults * 200, start=2) if said]
    assert len(told) == len(expected) == 800
    for one, (line, said) in zip(told, expected, strict=True):
        assert one.startswith(f"suite, line {line}, {said}")
    Path("suite.yaml").write_text(text)
    status, out, err = run_command(command.main, "run", "suite.yaml")
    assert (status, out) == (command.FAULT, "")
    assert all(f"line {line}, " in err for line, _ in expected)


def test_what_only_the_server_can_refuse_is_an_error_of_its_check(db: BTrDB, seeded: str, make_audit: Any) -> None:
    queries = ["SELECT nothing FROM streams", "SELECT lo_create(0)", "SELECT 1 FROM nowhere", "SELECT 1 +"]
    result = make_audit(db, seeded, *({"sql": query} for query in queries), {"required": "name"})
    *refused, good = result.checks
    assert good.outcome == "pass"
    assert {check.outcome for check in refused} == ({"error"} if result.sql else {"skipped"})
    for check, said in zip(
        refused, ['"nothing" does not exist', "", '"nowhere" does not exist', "syntax"], strict=True
    ):
        assert not result.sql or (check.message.startswith("the server refuses the query: ") and said in check.message)
