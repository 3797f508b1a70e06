"""Checks of points as pure decisions over windows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from airflow_provider_btrdb.audit.points import MOST_WINDOWS, Broken, flat, gaps_of, incomplete, out_of_range, span
from airflow_provider_btrdb.audit.suites import Complete, Flatline, InRange
from airflow_provider_btrdb.client.models import Windows

S = 1_000_000_000
DAY = 86_400 * S
NOW = 1_700_000_000 * S


def windows(*rows: tuple[int, float, float, int]) -> Windows:
    """Of (time, min, max, count)."""
    times, least, most, count = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [], [])
    middle = np.array(least, float)
    return Windows(
        np.array(times, np.int64), middle, middle, np.array(most, float), np.array(count, np.uint64), middle * 0
    )


def complete(counts: dict[int, int], number: int = 10, **bounds: float) -> Broken | None:
    """Ten windows of 100 points each."""
    rule = Complete(rate=100.0, last_ns=number * S, **bounds)  # type: ignore[arg-type]
    found = windows(*((at * S, 0.0, 1.0, count) for at, count in counts.items()))
    return incomplete(rule, found, 0, number * S, S)


def test_complete_counts_what_is_missing() -> None:
    whole = dict.fromkeys(range(10), 100)
    assert complete(whole, warn_below=100) is None
    broken = complete({**whole, 3: 90}, warn_below=99.5)
    assert broken == Broken(
        "has 99.00% of its points; gaps: 1970-01-01T00:00:03.000000000Z to 1970-01-01T00:00:04.000000000Z (10 missing)",
        warns=True,
    )
    assert complete({**whole, 3: 90}, warn_below=99) is None
    assert complete({**whole, 3: 90}, error_below=99.5) == broken._replace(warns=False)
    assert complete({**whole, 3: 90}, warn_below=99.9, error_below=99) == broken
    assert complete({}, error_below=1) is not None


def test_too_many_points_of_one_time_hide_no_gap() -> None:
    broken = complete({**dict.fromkeys(range(10), 200), 3: 0}, warn_below=99)
    assert broken is not None
    assert broken.message.startswith("has 90.00% of its points")


def counted(rate: float, last_ns: int, keep: float) -> tuple[Complete, Windows, int, int, int]:
    """The windows of a stream of which so many points are there, the others missing here and there."""
    rule = Complete(rate=rate, last_ns=last_ns, warn_below=99.9)
    start, end, width = span(rule, NOW)
    at = (np.arange(math.floor((end - start) * rate / S)) + 0.25) * S / rate
    at = at[np.floor(np.arange(len(at)) * keep) != np.floor((np.arange(len(at)) + 1) * keep)]
    counts = np.bincount((at // (1 << width)).astype(int), minlength=(end - start) >> width)
    found = windows(*((start + (n << width), 0.0, 1.0, count) for n, count in enumerate(counts.tolist())))
    return rule, found, start, end, 1 << width


@pytest.mark.parametrize("rate", [1 / 60, 0.7, 10, 29.97, 30, 120])
@pytest.mark.parametrize("last", [3 * 3600 * S, DAY])
def test_what_is_missing_here_and_there_is_missed_whatever_the_windows(rate: float, last: int) -> None:
    assert incomplete(*counted(rate, last, 1.0)) is None
    broken = incomplete(*counted(rate, last, 0.99))
    assert broken is not None
    assert 98 < float(broken.message.removeprefix("has ").partition("%")[0]) < 99.5


def test_a_lack_without_a_gap_is_told_as_that() -> None:
    rule = Complete(rate=100.9, last_ns=10 * S, warn_below=99.9)
    found = windows(*((at * S, 0.0, 1.0, 100) for at in range(10)))
    assert incomplete(rule, found, 0, 10 * S, S) == Broken("has 99.10% of its points, without a gap", warns=True)


def test_almost_all_is_not_told_as_all() -> None:
    counts = dict.fromkeys(range(1000), 100)
    broken = complete({**counts, 5: 99}, number=1000, warn_below=100)
    assert broken is not None
    assert broken.message.startswith("has 99.99% of its points")


def test_gaps_join_and_the_largest_come_first() -> None:
    missing = np.array([1, 0, 5, 5, 0, 9, 0, 2])
    assert gaps_of(missing, 100, 10) == [(120, 140, 10), (150, 160, 9), (170, 180, 2), (100, 110, 1)]
    assert gaps_of(np.array([0, -1, 0]), 0, 1) == []


def test_in_range_names_the_worst() -> None:
    rule = InRange(least=0, most=10, last_ns=DAY)
    assert out_of_range(rule, windows((0, 0.0, 10.0, 1))) is None
    assert out_of_range(rule, windows()) is None
    found = out_of_range(rule, windows((0, -1.0, 11.0, 1), (S, -2.0, 3.0, 1)))
    assert found is not None
    assert found.message == "has the value -2, below 0, in the window of 1970-01-01T00:00:01.000000000Z"
    assert out_of_range(InRange(most=10, last_ns=DAY), windows((0, -1.0, 5.0, 1))) is None


@pytest.mark.parametrize(
    ("rows", "length"),
    [
        ([(0, 1.0, 1.0, 5), (1, 1.0, 1.0, 5), (2, 1.0, 1.0, 5)], 3),
        ([(0, 1.0, 1.0, 5), (1, 2.0, 2.0, 5), (2, 1.0, 1.0, 5)], 1),
        ([(0, 1.0, 1.0, 5), (1, 1.0, 1.5, 5), (2, 1.0, 1.0, 5)], 1),
        ([(0, 1.0, 1.0, 5), (7, 1.0, 1.0, 5)], 8),
        ([(0, 1.0, 1.0, 1)], 0),
        ([], 0),
    ],
)
def test_flat_stretches(rows: list[tuple[int, float, float, int]], length: int) -> None:
    found = windows(*((at * S, least, most, count) for at, least, most, count in rows))
    for longer in range(1, 10):
        broken = flat(Flatline(longer_than_ns=longer * S, last_ns=DAY), found, S)
        assert (broken is not None) is (length >= longer), longer
        assert broken is None or broken.message == f"is 1 for {length}s from 1970-01-01T00:00:00.000000000Z on"


@pytest.mark.parametrize("rate", [0.01, 0.5, 1, 30, 120, 1e6])
@pytest.mark.parametrize("last", [2 * 60 * S, 3600 * S, DAY, 365 * DAY])
def test_spans_are_bounded_and_meet(rate: float, last: int) -> None:
    rules = [InRange(least=0, last_ns=last), Flatline(longer_than_ns=last // 10, last_ns=last)]
    if last * rate >= 128 * S:
        rules.append(Complete(rate=rate, last_ns=last, warn_below=99))  # type: ignore[arg-type]
    for rule in rules:
        start, end, width = span(rule, NOW)
        assert 1 <= (end - start) >> width <= MOST_WINDOWS + 1
        assert start % (1 << width) == end % (1 << width) == 0
        assert NOW - (1 << width) < end <= NOW
        assert span(rule, NOW + last)[0] == end, "the next run begins where this one ends"
        if isinstance(rule, Complete):
            assert math.floor(rate * (1 << width) / S) >= 32
