"""Streams whose points are looked at: each once, in portions, with everybody who wants it."""

from __future__ import annotations

from airflow_provider_btrdb.audit.listing import Target, Targets
from airflow_provider_btrdb.audit.selectors import Selector

A, B = Selector(prefixes=("a",)), Selector(prefixes=("b",))


def target(number: int) -> Target:
    return Target(number.to_bytes(16), "c", str(number))


def test_portions_keep_the_order_and_name_who_takes_a_stream() -> None:
    targets = Targets()
    for number in range(5):
        targets.add(A, target(number))
    for number in (7, 4, 2, 6, 0):
        targets.add(B, target(number))
    parts = list(targets.parts(3))
    assert [[one.name for one in part] for part in parts] == [["0", "1", "2"], ["3", "4", "7"], ["6"]]
    taken = {one.name: who for part in parts for one, who in part.items()}
    assert taken == {"0": [A, B], "1": [A], "2": [A, B], "3": [A], "4": [A, B], "7": [B], "6": [B]}
    assert (len(targets), len(list(targets.parts(100)))) == (7, 1)
    assert list(Targets().parts(3)) == []
