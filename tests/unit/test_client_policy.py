"""Decisions about time and repetition, and the repeat rule of every RPC."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tenacity import Retrying, stop_never

from airflow_provider_btrdb.client import errors, rpcs
from airflow_provider_btrdb.client.policy import PAUSES, Budget, Repeat, SpentBudget, may_repeat, retry_when
from airflow_provider_btrdb.protocol import METHODS


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_budget_runs_out_and_never_below_nothing(clock: Clock) -> None:
    budget = Budget(10.0, clock)
    assert budget.left() == 10.0
    clock.now += 4
    assert budget.left() == 6.0
    clock.now += 6
    assert budget.left() == 0.0
    clock.now += 100
    assert budget.left() == 0.0


def test_a_renewed_budget_is_whole_again(clock: Clock) -> None:
    budget = Budget(10.0, clock)
    clock.now += 9
    budget.renew()
    assert budget.left() == 10.0
    clock.now += 1
    assert budget.left() == 9.0


def test_a_budget_takes_the_monotonic_clock() -> None:
    import time

    assert Budget(1.0).clock is time.monotonic


@pytest.mark.parametrize(("pause", "spent"), [(0.0, False), (5.9, False), (6.0, True), (6.1, True)])
def test_a_pause_must_end_within_the_budget(clock: Clock, pause: float, spent: bool) -> None:
    budget = Budget(10.0, clock)
    clock.now += 4
    state: Any = SimpleNamespace(upcoming_sleep=pause)
    assert SpentBudget(budget)(state) is spent


def test_tenacity_knows_the_pause_before_it_asks_whether_to_stop(clock: Clock) -> None:
    """The law that SpentBudget rests on, with real tenacity and a clock that only the pauses move."""
    budget = Budget(60.0, clock)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.now += seconds

    attempts = 0

    def fail() -> None:
        nonlocal attempts
        attempts += 1
        raise errors.ServerUnavailableError("gone")

    retrying = Retrying(stop=SpentBudget(budget), wait=PAUSES, retry=retry_when(Repeat.YES), reraise=True, sleep=sleep)
    with pytest.raises(errors.ServerUnavailableError):
        retrying(fail)
    assert attempts == len(pauses) + 1
    assert attempts > 5
    assert sum(pauses) < 60.0
    assert max(pauses) <= 10.0
    assert pauses[0] <= 0.1


def test_pauses_grow_to_ten_seconds_with_full_jitter() -> None:
    def longest(attempt: int) -> float:
        state: Any = SimpleNamespace(attempt_number=attempt)
        drawn = [PAUSES(state) for _ in range(300)]
        assert min(drawn) < max(drawn) / 2
        return max(drawn)

    assert 0.05 < longest(1) <= 0.1
    assert 0.2 < longest(3) <= 0.4
    assert 5 < longest(30) <= 10


PASSING = errors.ServerUnavailableError("x")
LASTING = errors.StreamNotFoundError("x")


@pytest.mark.parametrize(
    ("repeat", "expected"),
    [
        (Repeat.YES, True),
        (Repeat.VERIFY, True),
        (Repeat.RESUME, True),
        (Repeat.UNTIL_FIRST_ROW, True),
        (Repeat.NO, False),
    ],
)
def test_what_may_be_repeated(repeat: Repeat, expected: bool) -> None:
    assert may_repeat(PASSING, repeat) is expected
    assert may_repeat(LASTING, repeat) is False
    assert may_repeat(ValueError("x"), repeat) is False
    state: Any = SimpleNamespace(outcome=SimpleNamespace(failed=True, exception=lambda: PASSING))
    assert retry_when(repeat)(state) is expected


def test_every_repeat_rule_is_tested_above() -> None:
    assert set(Repeat) == {Repeat.YES, Repeat.VERIFY, Repeat.RESUME, Repeat.UNTIL_FIRST_ROW, Repeat.NO}
    assert isinstance(Retrying().stop, type(stop_never))


def test_rules_of_the_rpcs() -> None:
    table = {name: rpc for name, rpc in vars(rpcs).items() if isinstance(rpc, rpcs.Rpc)}
    assert {name: (rpc.name, rpc.repeat.name) for name, rpc in table.items()} == {
        "INFO": ("Info", "YES"),
        "CREATE": ("Create", "VERIFY"),
        "STREAM_INFO": ("StreamInfo", "YES"),
        "LOOKUP_STREAMS": ("LookupStreams", "UNTIL_FIRST_ROW"),
        "LIST_COLLECTIONS": ("ListCollections", "UNTIL_FIRST_ROW"),
        "METADATA_USAGE": ("GetMetadataUsage", "YES"),
        "SQL_QUERY": ("SQLQuery", "UNTIL_FIRST_ROW"),
        "RAW_VALUES": ("RawValues", "RESUME"),
        "INSERT_ONCE": ("Insert", "NO"),
        "INSERT_AGAIN": ("Insert", "YES"),
        "ARROW_RAW_VALUES": ("ArrowRawValues", "RESUME"),
        "WINDOWS": ("Windows", "RESUME"),
        "ALIGNED_WINDOWS": ("AlignedWindows", "RESUME"),
        "NEAREST": ("Nearest", "YES"),
        "CHANGES": ("Changes", "UNTIL_FIRST_ROW"),
        "FLUSH": ("Flush", "YES"),
        "SET_TAGS": ("SetStreamTags", "VERIFY"),
        "SET_ANNOTATIONS": ("SetStreamAnnotations", "VERIFY"),
        "OBLITERATE": ("Obliterate", "VERIFY"),
        "DELETE_AGAIN": ("Delete", "YES"),
        "DELETE_ONCE": ("Delete", "NO"),
        "SUBSCRIBE": ("Subscribe", "NO"),
    }
    for rpc in table.values():
        assert rpc.method is METHODS[rpc.name]
        assert rpc.raw_request is (rpc.name == "Insert")
        assert rpc.raw_response is (rpc.name in ("RawValues", "ArrowRawValues", "Windows", "AlignedWindows"))
