"""The law of a read: however its pages are cut and wherever it breaks, what is handed out is what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_btrdb.client.cursor import PointCursor
from airflow_provider_btrdb.client.errors import ProtocolError
from airflow_provider_btrdb.client.models import Points
from airflow_provider_btrdb.client.pages import Page
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

UUID_ = UUID("0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a")
VERSION = 12

Pairs = list[tuple[int, float]]


def _page(pairs: Pairs, version: int = VERSION) -> Page[Points]:
    times = np.array([time for time, _ in pairs], np.int64)
    return Page(Points(times, np.array([value for _, value in pairs], np.float64)), version, 0, None)


class Server:
    """Answers a request as BTrDB does: the points of [start, end) at the version asked for, in pages of any size."""

    def __init__(self, stored: Pairs, sizes: Iterator[int]) -> None:
        self._stored = stored
        self._sizes = sizes
        self.requests: list[pb.RawValuesParams] = []

    def answer(self, request: pb.RawValuesParams) -> Iterator[Page[Points]]:
        self.requests.append(request)
        assert request.uuid == UUID_.bytes
        wanted = [(time, value) for time, value in self._stored if request.start <= time < request.end]
        if not wanted:
            yield _page([])
        while wanted:
            size = next(self._sizes)
            yield _page(wanted[:size])
            wanted = wanted[size:]


def _read(stored: Pairs, sizes: Iterator[int], cuts: list[int], start: int, end: int) -> tuple[Pairs, Server]:
    """All that a read hands out, cut off after as many pages as `cuts` says, attempt by attempt."""
    cursor = PointCursor(UUID_, start, end)
    server = Server(stored, sizes)
    got: Pairs = []
    for cut in [*cuts, 10**9]:
        for number, page in enumerate(server.answer(cursor.request())):
            if number == cut:
                break
            got += list(cursor.accept(page))
        else:
            return got, server
    raise AssertionError("the last attempt is never cut")


def _numbered(times: list[int]) -> Pairs:
    """Points with these times in order, each with a value of its own."""
    return [(time, float(number)) for number, time in enumerate(sorted(times))]


# Few different times: most points share theirs with others.
STORED = st.lists(st.integers(-3, 12), max_size=60).map(_numbered)


@given(STORED, st.lists(st.integers(0, 7), min_size=1, max_size=8), st.lists(st.integers(0, 6), max_size=8))
@example(_numbered([5] * 9), [3], [1, 1, 1, 1])
@example(_numbered([0, 0, 1, 1, 2, 2]), [2], [1, 1, 1])
@example(_numbered([0, 0, 1, 1, 2, 2]), [0, 2], [2, 2, 2])
@example([], [1], [0, 0])
@settings(max_examples=500, deadline=None)
def test_what_is_handed_out_is_what_is_stored(stored: Pairs, sizes: list[int], cuts: list[int]) -> None:
    def cycle() -> Iterator[int]:
        while True:
            yield from sizes
            yield 1  # so that a list of zeros ends

    start, end = -1, 11
    got, server = _read(stored, cycle(), cuts, start, end)
    assert got == [(time, value) for time, value in stored if start <= time < end]
    assert [request.end for request in server.requests] == [end] * len(server.requests)
    assert server.requests[0].start == start
    assert server.requests[0].version_major == 0
    assert all(
        request.start <= later.start for request, later in zip(server.requests, server.requests[1:], strict=False)
    )


def test_a_resumed_read_asks_for_the_pinned_version_from_the_last_time() -> None:
    cursor = PointCursor(UUID_, 0, 100)
    assert (cursor.version, cursor.request().version_major, cursor.request().start) == (0, 0, 0)
    cursor.accept(_page([(5, 1.0), (7, 2.0)]))
    request = cursor.request()
    assert (cursor.version, request.version_major, request.start, request.end) == (VERSION, VERSION, 7, 100)
    assert list(cursor.accept(_page([(7, 2.0), (7, 3.0), (8, 4.0)]))) == [(7, 3.0), (8, 4.0)]


def test_a_read_broken_before_its_first_point_starts_again() -> None:
    cursor = PointCursor(UUID_, 0, 100)
    cursor.request()
    assert len(cursor.accept(_page([]))) == 0
    assert cursor.request().start == 0
    assert cursor.request().version_major == VERSION


def test_points_of_the_last_time_may_come_in_several_pages_again() -> None:
    cursor = PointCursor(UUID_, 0, 100)
    cursor.request()
    cursor.accept(_page([(7, 1.0), (7, 2.0)]))
    cursor.accept(_page([(7, 3.0)]))
    cursor.request()
    assert [len(cursor.accept(_page([(7, float(number))]))) for number in (1, 2, 3, 4)] == [0, 0, 0, 1]
    cursor.request()
    assert list(cursor.accept(_page([(7, 1.0), (7, 2.0), (7, 3.0), (7, 4.0), (7, 5.0)]))) == [(7, 5.0)]


# ---------------------------------------------------------------- wrong pages


def _after(pairs: Pairs, version: int = 0) -> PointCursor:
    cursor = PointCursor(UUID_, 0, 100, version)
    cursor.request()
    if pairs:
        cursor.accept(_page(pairs))
    return cursor


@pytest.mark.parametrize(
    "pairs",
    [
        [(5, 1.0), (4, 1.0)],
        [(-1, 1.0)],
        [(100, 1.0)],
        [(5, 1.0), (100, 1.0)],
        [(-1, 1.0), (5, 1.0)],
        [(1, 1.0), (9, 1.0), (8, 1.0), (10, 1.0)],
    ],
)
def test_points_out_of_order_or_range_are_refused(pairs: Pairs) -> None:
    with pytest.raises(ProtocolError, match="out of order or outside the range asked for"):
        _after([]).accept(_page(pairs))


def test_the_ends_of_a_range_are_inside_and_outside() -> None:
    assert len(_after([]).accept(_page([(0, 1.0), (99, 1.0)]))) == 2


def test_a_page_may_not_go_back_behind_the_one_before() -> None:
    with pytest.raises(ProtocolError, match="out of order"):
        _after([(5, 1.0)]).accept(_page([(4, 1.0)]))
    assert len(_after([(5, 1.0)]).accept(_page([(5, 2.0)]))) == 1


@pytest.mark.parametrize("asked", [0, VERSION])
def test_another_version_is_refused(asked: int) -> None:
    cursor = _after([(5, 1.0)], asked)
    with pytest.raises(ProtocolError, match="version 12 was asked for and version 13 came") as caught:
        cursor.accept(_page([(6, 1.0)], VERSION + 1))
    assert caught.value.uuid == str(UUID_)


def test_another_version_on_the_first_page_is_refused() -> None:
    with pytest.raises(ProtocolError, match="version 11 was asked for and version 12 came"):
        _after([], 11).accept(_page([]))


def test_a_resumed_read_that_brings_fewer_points_of_the_last_time_is_refused() -> None:
    """At one version the points handed out must still be there; if not, which are new is unknown."""
    cursor = _after([(5, 1.0), (5, 2.0), (5, 3.0)])
    cursor.request()
    with pytest.raises(ProtocolError, match="wrong page"):
        cursor.accept(_page([(5, 1.0), (6, 9.0)]))
