"""How an audit gets to its answers: SQL, one pass, reading again; and what the answers say."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.testing import RunningServer

S = 1_000_000_000
NOW = 1_700_000_000 * S


def test_the_cheapest_way(db: BTrDB, server: RunningServer, place: str, make_stream: Any, make_audit: Any) -> None:
    make_stream(db, place, "a", annotation="x")
    checks = [
        {"required": "unit"}, {"allowed": {"unit": ["V"]}}, {"matches": {"name": "^a$"}}, {"unique": "name"},
        {"consistent": {"field": "unit", "by": "name"}}, {"refers_to": "annotations.of"},
        {"count_between": {"least": 1}}, {"rare_keys": "1%"},
    ]  # fmt: skip
    server.calls.clear()
    result = make_audit(db, place, *checks)
    counts = dict(server.calls.counts())
    assert {check.outcome for check in result.checks} == {"pass"}
    if result.sql:
        # is it served, seven checks, how many were looked at, coverage
        assert counts == {"SQLQuery": 10, "GetMetadataUsage": 1}
        assert {check.how for check in result.checks} == {"sql", "metadata"}
    else:
        assert counts == {"SQLQuery": 1, "LookupStreams": 1, "GetMetadataUsage": 1}
        assert {check.how for check in result.checks} == {"listing", "metadata"}
    server.calls.clear()
    make_audit(db, place, *checks, {"matches": {"name": r"\w"}}, use_sql=False)
    assert dict(server.calls.counts()) == {"LookupStreams": 1, "GetMetadataUsage": 1}


def test_a_thousand_checks(db: BTrDB, place: str, make_stream: Any, make_audit: Any) -> None:
    make_stream(db, place, "a")
    result = make_audit(db, place, *({"allowed": {"name": [str(number)]}} for number in range(1000)))
    assert result.counts["fail"] == 1000
    assert len(str(result.error())) < 2000


def test_rare_keys_name_the_key_that_was_meant(db: BTrDB, place: str, make_stream: Any, one_check: Any) -> None:
    for number in range(20):
        make_stream(db, place, f"n{number}", **({"site": "x"} if number else {"stie": "x"}))
    check = one_check(db, place, {"rare_keys": "6%"})
    assert [failure.message for failure in check.sample] == [
        "the annotation 'stie' is in 1 of 20 streams; 'site' is in 19"
    ]
    assert (check.checked, check.failed) == (2, 1)


def test_references_lead_out_of_the_selection(
    db: BTrDB, place: str, make_stream: Any, one_check: Any, told: Any
) -> None:
    outside = make_stream(db, f"audit/{uuid4()}", "target")
    gone = make_stream(db, f"audit/{uuid4()}", "gone")
    gone.obliterate()
    for name, text in (
        ("out", str(outside.uuid)), ("capitals", str(outside.uuid).upper()), ("gone", str(gone.uuid)), ("bare", "x")
    ):  # fmt: skip
        make_stream(db, place, name, **{"of": text})
    make_stream(db, place, "none")
    check = one_check(db, place, {"refers_to": "annotations.of"})
    assert told(check) == {
        "gone": f"annotations.of is '{gone.uuid}', and this key sees no such stream",
        "bare": "annotations.of is 'x', which is no uuid",
    }
    assert (check.checked, check.failed) == (5, 2)


def test_groups_that_differ_say_how(db: BTrDB, place: str, make_stream: Any, one_check: Any) -> None:
    for number, unit in enumerate(["V", "V", "V", "A", "A", "kV", "mV"]):
        make_stream(db, place, f"n{number}", unit=unit, phase="1")
    make_stream(db, place, "other", unit="A", phase="2")
    make_stream(db, place, "none", unit="A")
    check = one_check(db, place, {"consistent": {"field": "unit", "by": "annotations.phase"}})
    (failure,) = check.sample
    assert failure.message.startswith("unit differs where annotations.phase '1': 'V' in 3, 'A' in 2, ")
    assert failure.message.endswith("V' in 1 streams, and 1 more values")
    assert (check.unit, check.checked, check.failed, len(failure.uuids)) == ("groups", 2, 1, 3)


@pytest.mark.parametrize("asked", [0, 10_000])
def test_of_many_failures_the_first_are_told_and_all_are_counted(
    db: BTrDB,
    server: RunningServer,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    asked: int,
    make_stream: Any,
    make_audit: Any,
) -> None:
    from airflow_provider_btrdb.audit import again, groups

    monkeypatch.setattr(groups, "MOST_GROUPS", 2)
    monkeypatch.setattr(again, "MOST_GROUPS", 2)
    monkeypatch.setattr(again, "MOST_ASKED", asked)
    outside = make_stream(db, f"audit/{uuid4()}", "target")
    for number in range(10):
        unit, name = "VA"[number % 2], f"n{number // 2}"
        make_stream(db, place, name, unit=unit, of=str(uuid4()), to=str(outside.uuid))
    server.calls.clear()
    checks = [{"unique": "name"}, {"consistent": {"field": "unit", "by": "name"}}]
    checks += [{"refers_to": "annotations.of"}, {"refers_to": "annotations.to"}]
    result = make_audit(db, place, *checks, use_sql=False)
    assert [(check.checked, check.failed, check.stored) for check in result.checks] == [
        (5, 5, 2), (5, 5, 2), (10, 10, 2), (10, 0, 0),
    ]  # fmt: skip
    counts = server.calls.counts()
    assert (counts["LookupStreams"], counts["SQLQuery"]) == (1 if asked else 2, 0)


def test_what_sql_cannot_select_is_listed(
    db: BTrDB, place: str, make_stream: Any, make_audit: Any, one_check: Any, told: Any
) -> None:
    make_stream(db, place, "n1", [(NOW - S, 1.0)])
    make_stream(db, place, "n2", unit="")
    make_stream(db, place, "other", unit="")
    where = {"name": {"matches": r"^n\d$"}}
    fresh = one_check(db, place, {"fresh": "1h", "where": where})
    assert (fresh.checked, set(told(fresh))) == (2, {"n2"})
    result = make_audit(
        db, place, {"required": "unit"}, {"fresh": "1h"}, top={"select": {"prefix": place, "where": where}}
    )
    assert (result.coverage.streams, result.coverage.message) == (2, "2 streams in 1 collections are seen")
    assert [(check.how, set(told(check))) for check in result.checks] == [("listing", {"n2"}), ("points", {"n2"})]


def test_progress_of_points(db: BTrDB, place: str, make_stream: Any, make_audit: Any) -> None:
    for name in "abc":
        make_stream(db, place, name)
    told: list[tuple[int, int]] = []
    make_audit(db, place, {"fresh": "1h"}, progress=lambda done, total: told.append((done, total)))
    assert told == [(3, 3)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_audit(db, place, {"fresh": "1h"}, progress=stop)
    assert make_audit(db, place, {"fresh": "1h"}).checks[0].failed == 3


def test_failures_that_are_allowed(db: BTrDB, place: str, make_stream: Any, make_audit: Any) -> None:
    make_stream(db, place, "a", unit="")
    for name in "bcd":
        make_stream(db, place, name)
    allowed, warned, failed = make_audit(
        db, place, {"required": "unit", "severity": "warn", "warn_if": "> 25%"},
        {"required": "unit", "error_if": "> 25%"}, {"required": "unit", "error_if": ">= 25%"},
    ).checks  # fmt: skip
    assert (allowed.outcome, allowed.message) == ("pass", "1 of 4 streams fail, and warn_if is > 25%")
    assert (warned.outcome, failed.outcome) == ("warn", "fail")
