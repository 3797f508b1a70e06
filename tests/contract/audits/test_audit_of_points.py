"""Checks of points on a server: what each finds, what it asks, and what happens to streams that cannot be read."""

from __future__ import annotations

from typing import Any

import grpc

from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.testing import RunningServer
from airflow_provider_btrdb.testing.faults import Fault, Refuse

S = 1_000_000_000
NOW = 1_700_000_000 * S
DAY = 86_400 * S


def every(seconds: float, start: int, end: int, value: Any = 1.0) -> list[tuple[int, float]]:
    step = int(seconds * S)
    return [(at, value(at) if callable(value) else value) for at in range(start, end, step)]


def test_fresh(db: BTrDB, place: str, make_stream: Any, one_check: Any, told: Any) -> None:
    make_stream(db, place, "new", [(NOW - 60 * S, 1.0), (NOW + DAY, 1.0)])
    make_stream(db, place, "exact", [(NOW - 600 * S, 1.0)])
    make_stream(db, place, "old", [(NOW - 601 * S, 1.0)])
    make_stream(db, place, "future", [(NOW + DAY, 1.0)])
    make_stream(db, place, "empty")
    check = one_check(db, place, {"fresh": "10m"})
    assert told(check) == {
        "old": "has no point since 2023-11-14T22:03:19.000000000Z, 10m1s ago",
        "future": "has no point before now",
        "empty": "has no point before now",
    }
    assert (check.outcome, check.checked, check.failed, check.how) == ("fail", 5, 3, "points")
    assert [failure.name for failure in check.sample] == ["empty", "future", "old"]


def test_not_empty_and_not_in_future(db: BTrDB, place: str, make_stream: Any, make_audit: Any, told: Any) -> None:
    make_stream(db, place, "old", [(NOW - 2 * DAY, 1.0)])
    make_stream(db, place, "new", [(NOW - S, 1.0)])
    make_stream(db, place, "soon", [(NOW + 60 * S, 1.0)])
    make_stream(db, place, "future", [(NOW - S, 1.0), (NOW + 60 * S + 1, 1.0)])
    make_stream(db, place, "empty")
    ever, lately, future = make_audit(
        db, place, {"not_empty": True}, {"not_empty": {"last": "1d"}}, {"not_in_future": {"tolerance": "60s"}}
    ).checks
    assert told(ever) == {"empty": "has no points"}
    assert told(lately) == dict.fromkeys(("old", "soon", "empty"), "has no point in the last 1d")
    assert told(future) == {"future": "has a point of 2023-11-14T22:14:20.000000001Z, which is in the future"}


def test_each_question_is_asked_once_for_all_checks(
    db: BTrDB, server: RunningServer, place: str, make_stream: Any, make_audit: Any
) -> None:
    make_stream(db, place, "a", [(NOW - S, 1.0)])
    server.calls.clear()
    checks = [{"fresh": "1h"}, {"fresh": "1m"}, {"not_empty": True}, {"not_empty": {"last": "1h"}}]
    make_audit(db, place, *checks)
    make_audit(db, place, *({"in_range": {"min": 0}} for _ in range(3)))
    counts = server.calls.counts()
    assert (counts["Nearest"], counts["AlignedWindows"]) == (1, 1)
    assert not counts.keys() & {"RawValues", "ArrowRawValues"}


def test_complete_lists_its_gaps(db: BTrDB, place: str, make_stream: Any, one_check: Any, told: Any) -> None:
    start = NOW - 2 * 3600 * S
    whole = every(0.1, start, NOW)
    make_stream(db, place, "whole", whole)
    make_stream(db, place, "gap", [point for point in whole if not NOW - 1800 * S <= point[0] < NOW - 1200 * S])
    make_stream(db, place, "doubled", [*whole[::2], *whole[::2]])
    make_stream(db, place, "almost", whole[: len(whole) // 2] + whole[len(whole) // 2 + 600 :])
    make_stream(db, place, "empty")
    check = one_check(db, place, {"complete": {"rate": 10, "last": "1h", "warn_below": 99.9, "error_below": 95}})
    told = told(check)
    assert set(told) == {"gap", "almost", "empty"}
    assert told["empty"].startswith("has 0.00% of its points; gaps: ")
    percent = float(told["gap"].removeprefix("has ").partition("%")[0])
    assert 82 < percent < 85
    assert "; gaps: 2023-11-14T21:4" in told["gap"]
    assert {failure.name: failure.severity for failure in check.sample}["almost"] == "warn"
    assert (check.outcome, check.hard) == ("fail", check.failed - 1)


def test_in_range_and_flatline(db: BTrDB, place: str, make_stream: Any, make_audit: Any, told: Any) -> None:
    start, end = NOW - DAY, NOW
    make_stream(db, place, "sine", every(60, start, end, lambda at: 50 + at // S // 60 % 7 / 10))
    make_stream(
        db, place, "peak", [*every(60, start, end, lambda at: 50 + at // S // 60 % 7 / 10), (NOW - 7200 * S, 61.5)]
    )
    make_stream(
        db,
        place,
        "stuck",
        every(60, start, end, lambda at: 50.0 if at > NOW - 3 * 3600 * S else float(at // S // 60 % 47)),
    )
    make_stream(db, place, "low", [(NOW - 3600 * S, -1.0), (NOW - 1800 * S, 50.0)])
    make_stream(db, place, "before", [(NOW - 3 * DAY, 1e9)])
    ranged, flat = make_audit(
        db, place, {"in_range": {"min": 0, "max": 60, "last": "12h"}}, {"flatline": {"longer_than": "2h"}}
    ).checks
    assert {name: message.partition(", in the window of ")[0] for name, message in told(ranged).items()} == {
        "peak": "has the value 61.5, above 60",
        "low": "has the value -1, below 0",
    }
    assert set(told(flat)) == {"stuck"}
    assert told(flat)["stuck"].startswith("is 50 for 2h")


def test_streams_that_cannot_be_read_make_an_error_and_no_pass(
    db: BTrDB, server: RunningServer, place: str, make_stream: Any, make_audit: Any
) -> None:
    make_stream(db, place, "a", [(NOW - S, 1.0)])
    make_stream(db, place, "b", [(NOW - DAY, 1.0)])
    fault = server.faults.add(Fault("Nearest", Refuse(grpc.StatusCode.PERMISSION_DENIED), first=1, last=1))
    try:
        fresh, units = make_audit(db, place, {"fresh": "1h"}, {"required": "unit"}, top={"name": "x"}).checks
    finally:
        server.faults.remove(fault)
    assert (fresh.outcome, fresh.checked) == ("error", 1)
    assert "the points of 1 streams could not be read: " in fresh.message
    assert units.outcome == "pass"
