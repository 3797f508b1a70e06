"""Delimited text files -> columns of points.

Owns how times and numbers are written in such files; knows nothing of connections. A file is read whole: its columns
stand in memory together, 16 bytes a point.
"""

from __future__ import annotations

import csv
import math
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.client.models import Points
from airflow_provider_btrdb.client.times import to_ns
from airflow_provider_btrdb.protocol import MAX_TIME_NS, MIN_TIME_NS

_END_OF_DAY = re.compile(r"(?<![\d:])24:00(?=(?::00)?(?:[^\d:]|$))")
"""Hour 24 of a clock; `10:24:00` is another thing."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_EXTRA = "\0"
"""Where DictReader puts cells beyond the named columns; csv refuses this character in a name."""
_DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFormat:
    """How a file writes times and missing values."""

    time_columns: Sequence[str]
    """Their texts, joined by one space, are the time."""
    time_format: str = "rfc3339"
    """A `strptime` format, `rfc3339`, or `ns` for int nanoseconds. 24:00 is 00:00 of the next day."""
    utc_offset_hours: float = 0.0
    """Added to UTC gives the file's clock; for formats that say no offset themselves."""
    missing: Sequence[str] = ("",)
    """Texts that stand for no value; a missing value is not a point."""
    skip_lines: int = 0
    """Lines before the one with the column names."""
    delimiter: str = ","


@dataclass(slots=True)
class Table:
    """The columns of one file: points by column name, and how many cells were missing."""

    columns: dict[str, Points] = field(default_factory=dict)
    missing_cells: int = 0


def read_table(path: str | Path, columns: Iterable[str], how: TableFormat) -> Table:
    """Read these columns of a file. Raises InputError naming the file, and where there is one the line and column."""
    wanted = list(dict.fromkeys(columns))
    times: dict[str, list[int]] = {name: [] for name in wanted}
    values: dict[str, list[float]] = {name: [] for name in wanted}
    table = Table()
    missing = frozenset(how.missing)
    for line, row in _rows(path, [*how.time_columns, *wanted], how):
        time_ns = _time(row, how, path, line)
        for name in wanted:
            text = row[name].strip()
            if text in missing:
                table.missing_cells += 1
                continue
            values[name].append(_number(text, path, line, name))
            times[name].append(time_ns)
    table.columns = {name: Points.from_columns(times[name], values[name]) for name in wanted}
    return table


def _rows(path: str | Path, needed: Sequence[str], how: TableFormat) -> Iterator[tuple[int, Mapping[str, str]]]:
    if len(how.delimiter) != 1 or how.delimiter in '"\r\n':
        raise InputError(f"the delimiter is {how.delimiter!r} and must be one character")
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            for _ in range(how.skip_lines):
                next(file, None)
            reader = csv.DictReader(file, delimiter=how.delimiter, restkey=_EXTRA, restval=None)
            _check_columns(path, reader.fieldnames or (), needed)
            for row in reader:
                if _EXTRA in row or None in row.values():
                    which = "more" if _EXTRA in row else "fewer"
                    at = reader.line_num + how.skip_lines
                    raise InputError(f"{path}, line {at}: the row has {which} cells than there are column names")
                yield reader.line_num + how.skip_lines, row
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text") from None
    except csv.Error as error:
        raise InputError(f"{path} is not a table: {error}") from None


def _check_columns(path: str | Path, present: Sequence[str], needed: Sequence[str]) -> None:
    for name in needed:
        if name not in present:
            raise InputError(f"{path} has no column {name!r}; it has {', '.join(present) or 'none'}")
        if present.count(name) > 1:
            raise InputError(f"{path} has two columns called {name!r}")


def _number(text: str, path: str | Path, line: int, name: str) -> float:
    if _NUMBER.fullmatch(text) is None:  # float() would also take 1_000 and digits of other scripts
        raise InputError(f"{path}, line {line}: {name} is {reprlib.repr(text)}, which is not a number")
    number = float(text)
    if not math.isfinite(number):
        raise InputError(f"{path}, line {line}: {name} is {reprlib.repr(text)}; BTrDB stores finite numbers only")
    return number


def _time(row: Mapping[str, str], how: TableFormat, path: str | Path, line: int) -> int:
    text = " ".join(row[name].strip() for name in how.time_columns)
    try:
        time_ns = _parsed(text, how)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}, line {line}: {error}") from None
    if not MIN_TIME_NS <= time_ns < MAX_TIME_NS - 1:
        raise InputError(f"{path}, line {line}: the time {text!r} is outside what BTrDB can hold (1933 to 2079)")
    return time_ns


def _parsed(text: str, how: TableFormat) -> int:
    if how.time_format == "ns":
        if re.fullmatch(r"[+-]?[0-9]+", text) is None:
            raise InputError(f"{text!r} is not a whole number of nanoseconds")
        return int(text)
    if how.time_format == "rfc3339":
        return to_ns(text)
    at_midnight, ends = _END_OF_DAY.subn("00:00", text)
    return _from_clock(at_midnight, how) + ends * _DAY_NS


def _from_clock(text: str, how: TableFormat) -> int:
    moment = datetime.strptime(text, how.time_format)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone(timedelta(hours=how.utc_offset_hours)))
    return to_ns(moment.astimezone(UTC))
