"""What users write in a suite, as pydantic models; each rule's model makes the value of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from airflow_provider_btrdb.audit.durations import NS, duration_ns
from airflow_provider_btrdb.audit.fields import FIELDS, is_field
from airflow_provider_btrdb.audit.selectors import Condition, Selector
from airflow_provider_btrdb.audit.sqlcheck import query_of
from airflow_provider_btrdb.audit.thresholds import Threshold
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.documents.faults import nearest
from airflow_provider_btrdb.documents.files import Unquoted
from airflow_provider_btrdb.documents.problems import Written, refused, shown

DAY = 86_400 * NS
TESTS = ("matches", "not")
"""Of a mapping that tests a field."""


# ---------------------------------------------------------------- values


def _text(value: Any, what: str = "text") -> str:
    if not isinstance(value, str):
        plain = isinstance(value, int | float | Unquoted) and not isinstance(value, bool)
        hint = f': write "{value}"' if plain else ""
        raise refused(f"is {shown(value)} and must be {what}{hint}")
    if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value):
        raise refused(f"is {shown(value)}, which no stream can hold")
    return value


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list) or not value:
        raise refused(f"is {shown(value)} and must be a list of texts")
    return tuple(_text(one) for one in value)


def _field(value: Any) -> str:
    if not (isinstance(value, str) and is_field(value)):
        raise refused(f"there is no field {shown(value)}{nearest(value, (*FIELDS, 'annotations.KEY'))}")
    return value


def _fields(value: Any) -> tuple[str, ...]:
    several = value if isinstance(value, list) else [value]
    if not several:
        raise refused("names no field")
    found = tuple(_field(one) for one in several)
    for one in found:
        if found.count(one) > 1:
            raise refused(f"names {one} twice")
    return found


def pattern(value: Any) -> str:
    """A regular expression of Python."""
    text = _text(value, "a regular expression")
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise refused(f"{shown(text)} is no regular expression: {error}") from None
    return text


def by_field(inner: Callable[[Any], Any], what: str) -> Callable[[Any], Any]:
    """A mapping of fields; `inner` reads what stands at each."""

    def read(value: Any) -> tuple[tuple[str, Any], ...]:
        if not isinstance(value, dict) or not value:
            raise refused(f"is {shown(value)} and must map fields to {what}")
        found, said = [], []
        for field, wanted in value.items():
            try:
                found.append((_field(field), inner(wanted)))
            except PydanticCustomError as error:
                said.append(f"{field}: {error.message()}")
        if said:
            raise refused("; ".join(said))
        return tuple(found)

    return read


def _query(value: Any) -> str:
    try:
        return query_of(_text(value, "a query"))
    except InputError as error:
        raise refused(error.message) from None


def _duration(value: Any) -> int:
    ns = value * NS if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
    ns = duration_ns(value) if isinstance(value, str) else ns
    if ns is None or ns > 36_500 * DAY:
        raise refused(f"is {shown(value)} and must be a length of time, such as 90s, 10m, 1h30m or 7d")
    return ns


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise refused(f"is {shown(value)} and must be a number")
    return float(value)


def _rate(value: Any) -> float:
    rate = _number(value)
    if not 1e-6 <= rate <= 1e9:
        raise refused(f"is {shown(value)} and must be points in a second, more than 0")
    return rate


def _percent(value: Any) -> float:
    text = value.strip().removesuffix("%") if isinstance(value, str) else value
    try:
        percent = float(text) if not isinstance(text, bool) else math.nan
    except (TypeError, ValueError):
        percent = math.nan
    if not 0 < percent <= 100:
        raise refused(f"is {shown(value)} and must be a percentage above 0, such as 99.9 or 1%")
    return percent


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise refused(f"is {shown(value)} and must be a whole number, 0 or more")
    return value


def _sample(value: Any) -> int:
    if _count(value) > 1000:
        raise refused(f"is {value} and must be at most 1000")
    return int(value)


def _threshold(value: Any) -> Threshold:
    found = Threshold.parse(value) if isinstance(value, str) else None
    if found is None:
        raise refused(f"is {shown(value)} and must be a condition on failures, such as '> 0', '>= 10' or '> 1%'")
    return found


def _drop(value: Any) -> Threshold:
    found = Threshold.parse(f"> {value}") if isinstance(value, int | str) and not isinstance(value, bool) else None
    if found is None:
        raise refused(f"is {shown(value)} and must be a number or a percentage, such as 5 or 1%")
    return found


def conditions(value: Any) -> tuple[Condition, ...]:
    """Tests of fields, all of which must hold."""
    return tuple(Condition(field, *test) for field, test in by_field(_test, "tests")(value))


def _test(wanted: Any) -> tuple[Literal["equals", "has", "matches"], tuple[str, ...], bool]:
    """What a condition has beside its field."""
    if wanted is None or isinstance(wanted, bool):
        return "has", (), not wanted
    if isinstance(wanted, dict):
        if len(wanted) != 1 or next(iter(wanted)) not in TESTS:
            raise refused(f"{shown(wanted)} is no test{nearest(next(iter(wanted), ''), TESTS)}")
        ((test, inner),) = wanted.items()
        if test == "matches":
            return "matches", (pattern(inner),), False
        kind, found, negated = _test(inner)
        return kind, found, not negated
    return "equals", texts(wanted) if isinstance(wanted, list) else (_text(wanted),), False


def _expected(value: Any) -> dict[str, int]:
    given = value if isinstance(value, dict) else {"streams": value}
    for key in given:
        if key not in ("streams", "collections"):
            raise refused(f"there is no {key!r} to count{nearest(key, ('streams', 'collections'))}")
    return {key: _count(count) for key, count in given.items()}


Text: TypeAlias = Annotated[str, PlainValidator(_text)]
FieldName: TypeAlias = Annotated[str, PlainValidator(_field)]
FieldNames: TypeAlias = Annotated[tuple[str, ...], PlainValidator(_fields)]
Duration: TypeAlias = Annotated[int, PlainValidator(_duration)]
Number: TypeAlias = Annotated[float, PlainValidator(_number)]
Rate: TypeAlias = Annotated[float, PlainValidator(_rate)]
Percent: TypeAlias = Annotated[float, PlainValidator(_percent)]
Count: TypeAlias = Annotated[int, PlainValidator(_count)]
Conditions: TypeAlias = Annotated[tuple[Condition, ...], PlainValidator(conditions)]
Query: TypeAlias = Annotated[str, PlainValidator(_query)]
When: TypeAlias = Annotated[Threshold, PlainValidator(_threshold)]


# ---------------------------------------------------------------- the top, and what all checks have


class Select(Written):
    """Which streams."""

    prefix: Text | None = None
    glob: Text | None = None
    where: Conditions = ()
    sql: Query | None = None

    def selector(self) -> Selector:
        """As a value."""
        return Selector(
            prefixes=(self.prefix,) if self.prefix else (),
            globs=(self.glob,) if self.glob else (),
            conditions=self.where,
            queries=(self.sql,) if self.sql else (),
        )


def _severity(value: Any) -> Any:
    if value not in ("warn", "error"):
        raise refused(f"is {shown(value)} and must be warn or error")
    return value


class Defaults(Written):
    """What checks have unless they say otherwise."""

    owner: Text = ""
    severity: Annotated[Literal["warn", "error"], PlainValidator(_severity)] = "error"
    sample: Annotated[int, PlainValidator(_sample)] = 20


class Common(Defaults):
    """What a check has beside its rule."""

    name: Text = ""
    description: Text = ""
    warn_if: When | None = None
    error_if: When | None = None
    select: Select = Field(default_factory=Select)
    where: Conditions = ()


def _without_sql(value: Any) -> Any:
    if value not in ("error", "skip"):
        raise refused(f"is {shown(value)} and must be error or skip")
    return value


class Top(Written):
    """The top of a file, without its checks."""

    name: Text = ""
    description: Text = ""
    select: Select = Field(default_factory=Select)
    expect_at_least: Annotated[dict[str, int], PlainValidator(_expected)] = Field(default_factory=dict)
    allow_drop: Annotated[Threshold | None, PlainValidator(_drop)] = None
    without_sql: Annotated[Literal["error", "skip"], PlainValidator(_without_sql)] = "skip"
    defaults: Defaults = Field(default_factory=Defaults)


CHECKS = "checks"
TOP_FIELDS = (*Top.model_fields, CHECKS)
COMMON_FIELDS = tuple(Common.model_fields)
SELECT_FIELDS = tuple(Select.model_fields)
