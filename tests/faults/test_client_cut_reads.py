"""Reads that break off: the points exactly, at one version, wherever and however often the stream is cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import grpc
import pytest

from airflow_provider_btrdb.client import errors
from airflow_provider_btrdb.testing import RunningServer
from airflow_provider_btrdb.testing.faults import Answer, CutAfter, Delay, Fault, LoseReply, Refuse
from airflow_provider_btrdb.testing.wire import WireClient
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

pytestmark = pytest.mark.anyio

POINTS = (
    [(time, time / 2) for time in range(-7, 8)]  # time 0 and value 0.0 among them
    + [(10, float(n)) for n in range(37)]  # one time over five pages of ten points
    + [(11, -0.0), (11, 0.0), (12, 5e-324), (13, 1.7976931348623157e308)]
    + [(20, 1.0)] * 6
)
"""62 points, seven pages."""
PAGES = 7


@pytest.fixture(params=["RawValues", "ArrowRawValues"])
def rpc(request: pytest.FixtureRequest) -> str:
    """How points are read."""
    return str(request.param)


@pytest.fixture
async def filled(connected: Any, done: Any, btrdb: RunningServer, collection: str, rpc: str) -> Any:
    db = await connected(btrdb.endpoint, arrow="off" if rpc == "RawValues" else "on")
    stream = await done(db.create(uuid4(), collection, {"name": "s"}))
    await done(stream.insert(POINTS))
    btrdb.calls.clear()
    return stream


@pytest.fixture
def wire(btrdb: RunningServer) -> Iterator[WireClient]:
    with WireClient(btrdb.endpoint) as client:
        yield client


def bits(points: Any) -> list[tuple[int, str]]:
    """Comparable, with 0.0 and -0.0 apart."""
    return [(time, float(value).hex()) for time, value in points]


# ---------------------------------------------------------------- raw points


@pytest.mark.parametrize("after", range(PAGES + 1))
async def test_points_survive_a_cut_at_any_page(
    done: Any, btrdb: RunningServer, filled: Any, rpc: str, after: int
) -> None:
    with btrdb.faults.inject(rpc, CutAfter(after)) as fault:
        points = await done(filled.values(-100, 100))
    assert (fault.fired, btrdb.calls.counts()) == (1, {rpc: 2})
    assert bits(points) == bits(POINTS)


@pytest.mark.parametrize(
    "cuts", [[1, 1, 1], [3, 3, 3], [0, 6, 0, 1], [4, 5, 1], [PAGES, 1, 1]], ids=lambda cuts: "-".join(map(str, cuts))
)
async def test_points_survive_many_cuts(
    done: Any, btrdb: RunningServer, filled: Any, rpc: str, cuts: list[int]
) -> None:
    """A resumed read begins at a time whose points were handed out in part, and is cut again inside them."""
    faults = [btrdb.faults.add(Fault(rpc, CutAfter(pages), first=at)) for at, pages in enumerate(cuts, start=1)]
    points = await done(filled.values(-100, 100))
    for fault in faults:
        btrdb.faults.remove(fault)
    assert ([fault.fired for fault in faults], btrdb.calls.count(rpc)) == ([1] * len(cuts), len(cuts) + 1)
    assert bits(points) == bits(POINTS)


@pytest.mark.parametrize(
    "refusal",
    [Refuse(), Refuse(grpc.StatusCode.CANCELLED), Answer(405), Answer(419), Refuse(grpc.StatusCode.RESOURCE_EXHAUSTED)],
)
async def test_points_survive_refusals_of_the_resumed_read(
    done: Any, btrdb: RunningServer, filled: Any, rpc: str, refusal: Any
) -> None:
    with (
        btrdb.faults.inject(rpc, CutAfter(4)) as cut,
        btrdb.faults.inject(rpc, refusal, first=2, last=3) as refused,
    ):
        points = await done(filled.values(-100, 100))
    assert (cut.fired, refused.fired, btrdb.calls.count(rpc)) == (1, 2, 4)
    assert bits(points) == bits(POINTS)


@pytest.mark.parametrize("after", [1, 3, PAGES])
async def test_another_writer_in_between_changes_nothing(
    done: Any, next_of: Any, items: Any, btrdb: RunningServer, filled: Any, rpc: str, wire: WireClient, after: int
) -> None:
    """The version of the first page is read to the end, though the stream has a newer one when the read goes on."""
    with btrdb.faults.inject(rpc, CutAfter(after)) as fault:
        pages = filled.values_iter(-100, 100)
        first = await next_of(pages)
        more = [pb.RawPoint(time=time, value=99.0) for time in (-50, -1, 10, 11, 99)]
        wire.call("Insert", pb.InsertParams(uuid=filled.uuid.bytes, values=more))
        wire.call("Delete", pb.DeleteParams(uuid=filled.uuid.bytes, start=10, end=11))
        rest = await items(pages)
    assert (fault.fired, btrdb.calls.count(rpc)) == (1, 2)
    assert bits(point for page in [first, *rest] for point in page) == bits(POINTS)
    assert all(len(page) for page in rest)


async def test_a_read_that_dies_on_the_way_keeps_its_error(
    done: Any, btrdb: RunningServer, filled: Any, rpc: str
) -> None:
    with (
        btrdb.faults.inject(rpc, CutAfter(2)) as cut,
        btrdb.faults.inject(rpc, Answer(450, "pruned"), first=2) as pruned,
        pytest.raises(errors.VersionNotAvailableError, match="pruned"),
    ):
        await done(filled.values(-100, 100))
    assert (cut.fired, pruned.fired, btrdb.calls.count(rpc)) == (1, 1, 2)


async def test_a_page_that_comes_too_late_is_asked_for_again(
    connected: Any, done: Any, btrdb: RunningServer, filled: Any, rpc: str
) -> None:
    db = await connected(btrdb.endpoint, stream_timeout=1.0, arrow="off" if rpc == "RawValues" else "on")
    stream = await done(db.stream_from_uuid(filled.uuid))
    with btrdb.faults.inject(rpc, Delay(3600)) as fault:
        points = await done(stream.values(-100, 100))
    assert fault.fired == 1
    assert btrdb.calls.count(rpc) >= 2  # more, where the machine stood still for longer than a call may take
    assert bits(points) == bits(POINTS)


async def test_a_lasting_status_is_not_repeated(done: Any, btrdb: RunningServer, filled: Any, rpc: str) -> None:
    cut = CutAfter(1, grpc.StatusCode.PERMISSION_DENIED, "no")
    with btrdb.faults.inject(rpc, cut) as fault, pytest.raises(errors.PermissionDeniedError):
        await done(filled.values(-100, 100))
    assert (fault.fired, btrdb.calls.count(rpc)) == (1, 1)


# ---------------------------------------------------------------- windows


@pytest.fixture
async def hourly(stream: Any, done: Any, btrdb: RunningServer) -> Any:
    """Sixty windows of 16 ns with gaps: six pages, the last one full."""
    await done(stream.insert([(64 * (n // 2) + 16 * (n % 2) + k, n - k) for n in range(60) for k in range(3)]))
    btrdb.calls.clear()
    return stream


def rows(windows: Any) -> list[tuple[Any, ...]]:
    return [(w.time, w.min, w.mean, w.max, w.count) for w in windows]


WINDOW_ROWS = [(64 * (n // 2) + 16 * (n % 2), n - 2.0, n - 1.0, float(n), 3) for n in range(60)]


@pytest.mark.parametrize("after", range(7))
@pytest.mark.parametrize("method", ["Windows", "AlignedWindows"])
async def test_windows_survive_a_cut_at_any_page(
    done: Any, btrdb: RunningServer, hourly: Any, method: str, after: int
) -> None:
    with btrdb.faults.inject(method, CutAfter(after)) as fault:
        windows = await done(hourly.windows(0, 2048, 16) if method == "Windows" else hourly.aligned_windows(0, 2048, 4))
    assert (fault.fired, btrdb.calls.counts()) == (1, {method: 2})
    assert rows(windows) == WINDOW_ROWS


@pytest.mark.parametrize("method", ["Windows", "AlignedWindows"])
async def test_windows_survive_many_cuts_and_another_writer(
    done: Any, btrdb: RunningServer, hourly: Any, wire: WireClient, method: str
) -> None:
    """Every attempt ends after one page; the pinned version is asked for although it is no longer the newest."""
    version = await done(hourly.version())
    wire.call("Insert", pb.InsertParams(uuid=hourly.uuid.bytes, values=[pb.RawPoint(time=1000, value=1e9)]))
    btrdb.calls.clear()
    with btrdb.faults.inject(method, CutAfter(1), last=5) as fault:
        if method == "Windows":
            windows = await done(hourly.windows(0, 2048, 16, version=version))
        else:
            windows = await done(hourly.aligned_windows(0, 2048, 4, version))
    assert (fault.fired, btrdb.calls.count(method)) == (5, 6)
    assert rows(windows) == WINDOW_ROWS


async def test_windows_that_do_not_fill_the_range(done: Any, btrdb: RunningServer, hourly: Any) -> None:
    """From an odd start, with a last window that the end would cut."""
    whole = rows(await done(hourly.windows(3, 2040, 17)))
    with btrdb.faults.inject("Windows", CutAfter(1), last=3) as fault:
        assert rows(await done(hourly.windows(3, 2040, 17))) == whole
    assert fault.fired == 3
    assert all((row[0] - 3) % 17 == 0 for row in whole)


# ---------------------------------------------------------------- listings


LISTINGS = {
    "LookupStreams": ("streams_in_collection", "lookup_iter"),
    "ListCollections": ("list_collections", None),
    "SQLQuery": ("query", "query_iter"),
}
NAMES = [f"s{number}" for number in range(10)]
SQL = "SELECT DISTINCT name, repeat('x', 60), n FROM streams, generate_series(1, 5) AS n WHERE collection LIKE '{}/%'"


@pytest.fixture
async def listed(db: Any, done: Any, btrdb: RunningServer, collection: str) -> Any:
    """Ten streams, each in a collection of its own: three pages of every listing. Returns a caller of them."""
    for name in NAMES:
        await done(db.create(uuid4(), f"{collection}/{name}", {"name": name}))
    btrdb.calls.clear()

    def call(name: str) -> Any:
        what = SQL.format(collection) + " ORDER BY name, n" if name.startswith("query") else f"{collection}/"
        return getattr(db, name)(what)

    return call


def names(found: list[Any]) -> list[str]:
    """What every listing says of the same streams; SQL says it five times."""
    rows = [f"{row['name']} {row['n']}" for row in found if isinstance(row, dict)]
    assert rows == [f"{name} {n}" for name in NAMES for n in range(1, 6)][: len(rows)]
    if rows:
        return list(dict.fromkeys(row.split()[0] for row in rows))
    return [row.rpartition("/")[2] if isinstance(row, str) else row.name for row in found]


@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("method", list(LISTINGS))
async def test_lists_start_again_and_have_every_row_once(
    done: Any, btrdb: RunningServer, listed: Any, method: str, after: int
) -> None:
    with btrdb.faults.inject(method, CutAfter(after), last=2) as fault:
        found = await done(listed(LISTINGS[method][0]))
    assert (fault.fired, btrdb.calls.counts()) == (2, {method: 3})
    assert names(found) == NAMES


@pytest.mark.parametrize("method", ["LookupStreams", "SQLQuery"])
async def test_iterators_start_again_before_the_first_row(
    items: Any, btrdb: RunningServer, listed: Any, method: str
) -> None:
    with btrdb.faults.inject(method, CutAfter(0), last=2) as fault:
        found = await items(listed(LISTINGS[method][1]))
    assert (fault.fired, btrdb.calls.counts()) == (2, {method: 3})
    assert names(found) == NAMES


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("method", ["LookupStreams", "SQLQuery"])
async def test_iterators_that_break_off_later_say_so(
    next_of: Any, btrdb: RunningServer, listed: Any, method: str, after: int
) -> None:
    iterator = listed(LISTINGS[method][1])
    found = []
    with btrdb.faults.inject(method, CutAfter(after)) as fault, pytest.raises(errors.StreamInterruptedError) as caught:  # noqa: PT012
        while True:
            found.append(await next_of(iterator))
    assert (fault.fired, btrdb.calls.counts()) == (1, {method: 1})
    assert caught.value.retryable
    assert isinstance(caught.value.__cause__, errors.ServerUnavailableError)
    seen = names(found)
    assert seen != []
    assert seen == NAMES[: len(seen)]


async def test_a_listing_whose_end_is_lost_after_all_rows(done: Any, btrdb: RunningServer, listed: Any) -> None:
    with btrdb.faults.inject("LookupStreams", LoseReply()) as fault:
        assert names(await done(listed("streams_in_collection"))) == NAMES
    assert (fault.fired, btrdb.calls.count("LookupStreams")) == (1, 2)


async def test_changes_start_again(done: Any, btrdb: RunningServer, stream: Any) -> None:
    """Nine ranges, three pages."""
    await done(stream.insert([(n * 1000, 1.0) for n in range(9)]))
    whole = await done(stream.changes(10))
    assert len(whole) == 9
    btrdb.calls.clear()
    with btrdb.faults.inject("Changes", CutAfter(2), last=2) as fault:
        assert await done(stream.changes(10)) == whole
    assert (fault.fired, btrdb.calls.count("Changes")) == (2, 3)


async def test_counting_and_unique_names_start_again(
    db: Any, done: Any, btrdb: RunningServer, listed: Any, collection: str
) -> None:
    with btrdb.faults.inject("LookupStreams", CutAfter(2)) as fault:
        assert await done(db.count_streams(f"{collection}/")) == len(NAMES)
    assert (fault.fired, btrdb.calls.count("LookupStreams")) == (1, 2)


@pytest.mark.parametrize("method", ["Windows", "AlignedWindows"])
async def test_a_cut_after_the_last_window_of_the_range(
    done: Any, btrdb: RunningServer, hourly: Any, method: str
) -> None:
    """Nothing is left to ask for: the last window ends where the range does."""
    with btrdb.faults.inject(method, CutAfter(6)) as fault:
        windows = await done(hourly.windows(0, 1888, 16) if method == "Windows" else hourly.aligned_windows(0, 1888, 4))
    # The client has all windows and ends the call; the server may or may not have come to its cut by then.
    assert (fault.seen, fault.fired <= 1, btrdb.calls.count(method)) == (1, True, 1)
    assert rows(windows) == WINDOW_ROWS
