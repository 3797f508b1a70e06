"""What operators make of their arguments once templates are rendered, and what they say of many streams."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from airflow_provider_btrdb._airflow import AirflowFailException, failure, worth_a_retry

if TYPE_CHECKING:
    from airflow_provider_btrdb.client import BTrDBError

PROGRESS_SECONDS = 5.0
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


def as_json(given: Mapping[str, Any], key: str, what: str) -> str:
    """A document that is data already, as JSON in which line 7 is the seventh item of the list at `key`."""
    try:
        rest = json.dumps({name: value for name, value in given.items() if name != key})
        listed = given.get(key)
        items = ",\n".join(map(json.dumps, listed)) if isinstance(listed, list) else json.dumps(listed)
    except (TypeError, ValueError) as error:
        raise AirflowFailException(f"the {what} is no data that JSON can hold: {error}") from None
    value = f"[{items}]" if isinstance(listed, list) else items
    return f"{{{json.dumps(key)}: {value}{', ' if rest != '{}' else ''}{rest[1:]}"


def shard(number: Any, count: Any) -> tuple[int, int] | None:
    """The arguments `shard` and `shards`; None where neither is given. Fails for good when they make no sense."""
    if number is None and count is None:
        return None
    try:
        part, parts = int(number), int(count)
    except (TypeError, ValueError):
        part, parts = 0, 0
    if not 0 <= part < parts:
        raise AirflowFailException(
            f"shard is {number!r} of shards {count!r}: give both as whole numbers, shard counted from 0"
        )
    return part, parts


def truth(given: Any, argument: str) -> bool:
    """A bool, or the text that a template makes of one."""
    said = {"true": True, "false": False}.get(str(given).lower())
    if said is None:
        raise AirflowFailException(f"{argument} is {given!r} and must be True or False")
    return said


def browsable(url: str | None) -> str:
    """`browse_url`; "" where there is none.

    It becomes a link on Airflow's pages, where `javascript:...` would act for whoever follows it.
    """
    if url and not url.lower().startswith(("http://", "https://", "/")):
        raise AirflowFailException(f"browse_url is {url!r} and must begin with https://, http:// or /")
    return url or ""


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


def progress(log: Any) -> Callable[[int, int], None]:
    """Takes how many of how many streams are done, and logs it every few seconds."""
    last = monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if monotonic() - last >= PROGRESS_SECONDS:
            last = monotonic()
            log.info("%d of %d streams", done, total)

    return tell
