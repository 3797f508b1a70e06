"""Write modes, intervals and reruns of BTrDBInsertOperator; DeleteRangeOperator."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pendulum
import pytest

from airflow_provider_btrdb._airflow import AirflowFailException, BTrDBTransientException
from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.operators.points import BTrDBInsertOperator, DeleteRangeOperator
from airflow_provider_btrdb.testing.faults import Delay, LoseReply

pytestmark = pytest.mark.usefixtures("connection")

DAY = 86_400_000_000_000
FIRST = datetime(2024, 3, 1, tzinfo=UTC)
FIRST_NS = int(FIRST.timestamp()) * 1_000_000_000


@pytest.fixture
def stream(db: BTrDB, collection: str) -> Any:
    db.create_many([{"collection": collection, "name": "a"}])
    return db.streams(f"{collection}/a")[0]


@pytest.fixture
def week(tmp_path: Path) -> Path:
    """Seven days of four points each, the first of every day at midnight."""
    lines = [f"{FIRST_NS + number * DAY // 4},{number}.5" for number in range(28)]
    path = tmp_path / "week.csv"
    path.write_text("t,a\n" + "\n".join(lines) + "\n")
    return path


def load(week: Path, stream: Any, day: int | None = None, **arguments: Any) -> Any:
    if day is not None:
        arguments = {"start": FIRST + timedelta(days=day), "end": FIRST + timedelta(days=day + 1), **arguments}
    return BTrDBInsertOperator(
        task_id="t", files=str(week), columns={"a": str(stream.uuid)}, time_columns="t", time_format="ns", **arguments
    ).execute({})


def test_an_interval_is_half_open(week: Path, stream: Any) -> None:
    result = load(week, stream, day=2)
    assert (result["points"], result["inserted"], result["outside"]) == (4, 4, 24)
    times = stream.values().times.tolist()
    assert times == [FIRST_NS + 2 * DAY + number * DAY // 4 for number in range(4)]


@pytest.mark.parametrize("mode", ["replace_range", "replace", "retain", "equal"])
def test_a_backfill_twice_side_by_side_and_reversed_gives_equal_points(
    week: Path, stream: Any, mode: str, pool: Any
) -> None:
    days = list(range(7))
    results = list(pool(7).map(lambda day: load(week, stream, day, write_mode=mode), days))
    assert [result["inserted"] for result in results] == [4] * 7
    points, version = stream.values(), stream.version()
    assert len(points) == 28
    for day in reversed(days):
        assert load(week, stream, day, write_mode=mode)["inserted"] == 0
    assert (stream.values(), stream.version()) == (points, version)


def test_replace_range_takes_away_what_the_file_no_longer_has(week: Path, stream: Any) -> None:
    stream.insert([(FIRST_NS + DAY + 7, 1.0), (FIRST_NS + DAY - 1, 2.0), (FIRST_NS + 2 * DAY, 3.0)])
    assert load(week, stream, day=1, write_mode="replace_range")["inserted"] == 4
    held = list(stream.values())
    assert (FIRST_NS + DAY + 7, 1.0) not in held
    assert {(FIRST_NS + DAY - 1, 2.0), (FIRST_NS + 2 * DAY, 3.0)} <= set(held)
    assert len(held) == 6


def test_replace_range_empties_an_interval_for_which_there_are_no_points(tmp_path: Path, stream: Any) -> None:
    stream.insert([(FIRST_NS + 1, 1.0), (FIRST_NS + DAY, 2.0)])
    empty = tmp_path / "empty.csv"
    empty.write_text("t,a\n")
    load(empty, stream, day=0, write_mode="replace_range")
    assert list(stream.values()) == [(FIRST_NS + DAY, 2.0)]


def test_replace_range_takes_all_files_together(tmp_path: Path, stream: Any) -> None:
    """The second file must not remove what the first one has brought."""
    paths = []
    for number in range(3):
        paths.append(str(tmp_path / f"{number}.csv"))
        Path(paths[-1]).write_text(f"t,a\n{FIRST_NS + number},{number}\n{FIRST_NS + 99},{number}\n")
    operator = BTrDBInsertOperator(
        task_id="t", files=paths, columns={"a": str(stream.uuid)}, time_columns="t", time_format="ns",
        write_mode="replace_range", start=str(FIRST_NS), end="{{ 1 }}",
    )  # fmt: skip
    operator.end = str(FIRST_NS + 100)
    assert operator.execute({})["inserted"] == 4
    assert list(stream.values()) == [(FIRST_NS, 0.0), (FIRST_NS + 1, 1.0), (FIRST_NS + 2, 2.0), (FIRST_NS + 99, 2.0)]


def test_replace_range_counts_what_is_there_afterwards(
    server: Any, week: Path, db: BTrDB, stream: Any, pool: Any
) -> None:
    """Somebody who inserts into the interval between the two writes is noticed, and the next try mends it."""
    other = db.stream_from_uuid(stream.uuid)
    for seconds in (2, 8, 25):
        server.calls.clear()
        with server.faults.inject("Insert", Delay(seconds)):
            started = time.monotonic()
            task = pool(1).submit(load, week, stream, 0, write_mode="replace_range")
            while not server.calls.count("Insert"):  # the first one waits at the server, the other's does not
                assert not task.done()
                time.sleep(0.01)
            other.insert([(FIRST_NS + 5, 9.0)])
            between = time.monotonic() - started < seconds
            error = task.exception()
        if between:  # else the machine stalled, and the other may have been the last
            break
    assert isinstance(error, BTrDBTransientException)
    assert "holds 5 points in the interval after 4 were put there" in str(error)
    load(week, stream, 0, write_mode="replace_range")
    assert len(stream.values()) == 4


def test_replace_range_survives_lost_replies(server: Any, week: Path, stream: Any) -> None:
    for method in ("Delete", "Insert"):
        stream.insert([(FIRST_NS + 5, 9.0)])
        with server.faults.inject(method, LoseReply()) as fault:
            load(week, stream, 0, write_mode="replace_range")
        assert fault.fired == 1
        assert len(stream.values()) == 4


@pytest.mark.parametrize("mode", ["replace_range", "replace"])
@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (FIRST, FIRST, "the interval is empty.*CronDataIntervalTimetable"),
        ("2024-03-01 00:00:00+00:00", "2024-03-01T00:00:00Z", "the interval is empty.*CronDataIntervalTimetable"),
        ("", "", "the interval has no start.*CronDataIntervalTimetable"),
        ("2024-03-01T00:00:00Z", "None", "the interval has no end.*CronDataIntervalTimetable"),
        (FIRST, FIRST - timedelta(days=1), "the interval is reversed"),
        ("yesterday", "today", "start 'yesterday' is not RFC 3339"),
    ],
)
def test_an_interval_that_is_none_fails_in_one_sentence(
    week: Path, stream: Any, mode: str, start: Any, end: Any, words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words) as caught:
        load(week, stream, write_mode=mode, start=start, end=end)
    assert "\n" not in str(caught.value)
    with pytest.raises(AirflowFailException, match=words):
        DeleteRangeOperator(task_id="t", streams=str(stream.uuid), start=start, end=end).execute({})
    assert stream.version() == 10


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_airflows_own_times_are_taken(week: Path, stream: Any, zone: str) -> None:
    start = pendulum.instance(FIRST).in_timezone(zone)
    load(week, stream, start=start, end=start.add(days=1, microseconds=1))
    assert stream.values().times.tolist() == [FIRST_NS + number * DAY // 4 for number in range(5)]


def test_replace_range_says_which_interval_it_lacks(week: Path, stream: Any) -> None:
    with pytest.raises(AirflowFailException, match='write_mode="replace_range" needs start and end'):
        load(week, stream, write_mode="replace_range")


def test_one_end_is_not_enough(week: Path, stream: Any) -> None:
    with pytest.raises(AirflowFailException, match="the interval has no end"):
        load(week, stream, start=FIRST)


def test_never_and_retries_do_not_go_together(week: Path, stream: Any) -> None:
    with pytest.raises(AirflowFailException, match=r"with retries=2.*set retries=0"):
        load(week, stream, write_mode="never", retries=2)
    assert load(week, stream, write_mode="never", retries=0)["inserted"] == 28


# ---------------------------------------------------------------- DeleteRangeOperator


def test_delete_removes_a_half_open_interval_once(week: Path, stream: Any, collection: str) -> None:
    load(week, stream)
    operator = DeleteRangeOperator(
        task_id="t", streams=[f"{collection}/a", str(stream.uuid)], start=FIRST, end=FIRST + timedelta(days=6)
    )
    expected = {"streams": 2, "deleted": 24, "start_ns": FIRST_NS, "end_ns": FIRST_NS + 6 * DAY}
    assert operator.execute({}) == expected
    assert stream.values().times.tolist() == [FIRST_NS + 6 * DAY + number * DAY // 4 for number in range(4)]
    version = stream.version()
    assert operator.execute({}) == {**expected, "deleted": 0}
    assert stream.version() == version


def test_delete_touches_nothing_unless_all_streams_are_there(week: Path, stream: Any, collection: str) -> None:
    load(week, stream)
    names = [f"{collection}/a", f"{collection}/b"]
    with pytest.raises(AirflowFailException, match=f"no stream is called {collection}/b"):
        DeleteRangeOperator(task_id="t", streams=names, start=0, end=FIRST_NS + DAY).execute({})
    assert stream.count() == 28
