"""Whether a load is stored already, against the plain definition, for any pages."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_btrdb.client import MergePolicy, Points
from airflow_provider_btrdb.ingest import stored as module
from airflow_provider_btrdb.ingest.stored import all_stored, to_store

PAIRS = st.lists(st.tuples(st.integers(-3, 6), st.sampled_from([0.0, -0.0, 1.0, 2.0])), max_size=12)


def bits(points: Points) -> Counter[tuple[int, str]]:
    return Counter((time, value.hex()) for time, value in points)


def pages_of(points: Points, size: int) -> list[Points]:
    return [Points(points.times[at : at + size], points.values[at : at + size]) for at in range(0, len(points), size)]


@settings(deadline=None)
@given(PAIRS, PAIRS, st.integers(1, 4))
def test_all_stored_is_inclusion_of_multisets(wanted: list, others: list, size: int) -> None:
    load = to_store(Points.of(wanted), MergePolicy.NEVER)
    for pairs in (others, wanted + others, wanted):
        held = to_store(Points.of(pairs), MergePolicy.NEVER)
        inside = pages_of(held, size)
        assert all_stored(load, inside) == (not bits(load) - bits(held))


@settings(deadline=None)
@given(PAIRS)
def test_to_store_keeps_what_the_policy_keeps(pairs: list) -> None:
    points = Points.of(pairs)
    first: dict[int, str] = {}
    last: dict[int, str] = {}
    for time, value in points:
        first.setdefault(time, value.hex())
        last[time] = value.hex()
    assert bits(to_store(points, MergePolicy.NEVER)) == bits(points)
    assert bits(to_store(points, MergePolicy.EQUAL)) == Counter(set(bits(points)))
    assert bits(to_store(points, MergePolicy.RETAIN)) == Counter(first.items())
    assert bits(to_store(points, MergePolicy.REPLACE)) == Counter(last.items())
    assert (to_store(points, MergePolicy.NEVER).times[1:] >= to_store(points, MergePolicy.NEVER).times[:-1]).all()


def test_very_many_foreign_points_end_the_comparison(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "FOREIGN_AT_LEAST", 10)
    load = Points.of([(0, 1.0)])
    read = []

    def pages():  # type: ignore[no-untyped-def]
        for number in range(100):
            read.append(number)
            yield Points.of([(0, float(number))] * 4)

    assert all_stored(load, pages()) is False
    assert len(read) == 3
