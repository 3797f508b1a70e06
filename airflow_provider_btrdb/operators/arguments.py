"""What operators make of their arguments once templates are rendered: lists of names, intervals, failures of many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_btrdb._airflow import AirflowFailException, failure, worth_a_retry

if TYPE_CHECKING:
    from airflow_provider_btrdb.client import BTrDBError

NO_INTERVAL = (
    "a DAG scheduled by a bare cron text has no data interval in Airflow 3: "
    "use schedule=CronDataIntervalTimetable(..., timezone=...)"
)


def names(streams: Any, argument: str = "streams") -> list[str]:
    """One uuid or `collection/name`, or an iterable of them -> a list that is not empty."""
    if isinstance(streams, str) or not isinstance(streams, Iterable) or isinstance(streams, Mapping):
        streams = [streams]
    listed = [str(stream) if stream is not None else "" for stream in streams]
    if not listed or not all(listed):
        raise AirflowFailException(f"{argument} is {streams!r}: name at least one stream, as a uuid or collection/name")
    return listed


def rows(given: Any, argument: str) -> list[Any]:
    """One row or an iterable of rows -> a list."""
    if isinstance(given, Mapping):
        return [given]
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise AirflowFailException(f"{argument} is {given!r} and must be a row or a list of rows")
    return list(given)


def interval(start: Any, end: Any) -> tuple[int, int]:
    """A half-open interval [start, end) in nanoseconds. Fails for good when it is missing, empty or reversed."""
    from airflow_provider_btrdb._airflow import airflow_errors
    from airflow_provider_btrdb.client.times import format_ns, to_ns

    for name, time in (("start", start), ("end", end)):
        if time in (None, "", "None"):
            raise AirflowFailException(f"the interval has no {name}: {NO_INTERVAL}")
    with airflow_errors():
        start_ns, end_ns = to_ns(_number(start), "start"), to_ns(_number(end), "end")
    if start_ns == end_ns:
        raise AirflowFailException(f"the interval is empty, start and end are {format_ns(start_ns)}: {NO_INTERVAL}")
    if start_ns > end_ns:
        raise AirflowFailException(f"the interval is reversed: {format_ns(start_ns)} is after {format_ns(end_ns)}")
    return start_ns, end_ns


def _number(time: Any) -> Any:
    """Templates make text of nanoseconds too."""
    return int(time) if isinstance(time, str) and time.strip().lstrip("-").isdecimal() else time


def failures(failed: Sequence[tuple[str, BTrDBError]], total: int, log: Any) -> Exception:
    """One exception for the streams that failed; all are in the log. Worth a retry only when each of them is."""
    for name, error in failed:
        log.error("%s: %s", name, error)
    first = "; ".join(f"{name}: {error}" for name, error in failed[:3])
    more = f" and {len(failed) - 3} more, see the log" if len(failed) > 3 else ""
    retryable = all(worth_a_retry(error) for _, error in failed)
    return failure(f"{len(failed)} of {total} streams failed: {first}{more}", retryable=retryable)
