"""Every way in which people write a time -> int nanoseconds since the Unix epoch, exact to the nanosecond."""

from __future__ import annotations

import operator
import re
from datetime import UTC, datetime, timedelta
from typing import Any, SupportsIndex, TypeAlias

from airflow_provider_btrdb.client.errors import InputError, InvalidTimeRangeError
from airflow_provider_btrdb.protocol import MAX_TIME_NS, MIN_TIME_NS

TimeLike: TypeAlias = "int | SupportsIndex | datetime | str | Any"
"""int ns, aware datetime, pandas.Timestamp, numpy.datetime64 (UTC by definition) or RFC 3339 text."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_RFC3339 = re.compile(
    r"^(?P<head>\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,9}))?(?P<offset>[Zz]|[+-]\d\d:\d\d)$",
    re.ASCII,
)


def to_ns(time: TimeLike, name: str = "time") -> int:
    """Nanoseconds since the epoch; raises InputError naming the argument `name` and what was given."""
    if type(time).__name__ in ("bool", "bool_"):  # numpy's too, of which older releases make an index
        raise InputError(f"{name} is {time!r}, which is not a time")
    if isinstance(time, int):
        return time
    if isinstance(time, str):
        return _from_text(time, name)
    if isinstance(time, datetime):
        return _from_datetime(time, name)
    if type(time).__name__ == "datetime64" and type(time).__module__ == "numpy":
        return _from_datetime64(time, name)
    if not getattr(time, "ndim", 0):  # older numpy takes an array of one integer for an index
        try:
            return operator.index(time)  # numpy integers
        except TypeError:
            pass
    raise InputError(
        f"{name} is a {type(time).__name__}; give int nanoseconds, an aware datetime, a pandas or numpy timestamp, "
        "or RFC 3339 text"
    )


def time_range(start: TimeLike | None, end: TimeLike | None) -> tuple[int, int]:
    """A half-open range [start, end) in nanoseconds; None stands for the beginning or the end of time."""
    start_ns = MIN_TIME_NS if start is None else to_ns(start, "start")
    end_ns = MAX_TIME_NS - 1 if end is None else to_ns(end, "end")
    for name, time_ns in (("start", start_ns), ("end", end_ns)):
        if not -(2**63) <= time_ns < 2**63:
            raise InvalidTimeRangeError(
                f"{name} is {time_ns} ns since 1970, outside what BTrDB can hold "
                f"({format_ns(MIN_TIME_NS)} to {format_ns(MAX_TIME_NS - 1)})"
            )
    return start_ns, end_ns


def format_ns(time_ns: int) -> str:
    """RFC 3339 text in UTC with nine digits of fraction; the inverse of `to_ns`."""
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    return f"{(_EPOCH + timedelta(seconds=seconds)).strftime('%Y-%m-%dT%H:%M:%S')}.{fraction:09d}Z"


def _from_datetime(time: datetime, name: str) -> int:
    if time.tzinfo is None or time.utcoffset() is None:
        raise InputError(f"{name} {time.isoformat()} has no time zone: say which one, for example with tzinfo=UTC")
    as_unit = getattr(time, "as_unit", None)
    if as_unit is not None:  # a pandas.Timestamp keeps nanoseconds that datetime arithmetic would drop
        try:
            return int(as_unit("ns").value)
        except ValueError:
            raise InputError(f"{name} {time.isoformat()} cannot be held in int64 nanoseconds") from None
    if type(time) is not datetime:  # pendulum's, which Airflow hands out, divides in its own way
        time = datetime.fromisoformat(time.isoformat())
    return (time - _EPOCH) // _MICROSECOND * 1000


def _from_text(text: str, name: str) -> int:
    match = _RFC3339.match(text.strip())
    if match is None:
        raise InputError(f"{name} {text!r} is not RFC 3339 with an offset, such as 2024-01-31T12:00:00.5Z")
    offset = "+00:00" if match["offset"] in "Zz" else match["offset"]
    try:
        whole = datetime.fromisoformat(match["head"] + offset)
    except ValueError as error:
        raise InputError(f"{name} {text!r}: {error}") from None
    return (whole - _EPOCH) // timedelta(seconds=1) * 1_000_000_000 + int((match["fraction"] or "0").ljust(9, "0"))


def _from_datetime64(time: Any, name: str) -> int:
    whole = time.astype("datetime64[ns]")
    if str(whole) == "NaT" or whole.astype(time.dtype) != time:
        raise InputError(f"{name} {time!r} cannot be held in int64 nanoseconds")
    return int(whole.astype("int64"))
