"""What users write for each rule, as pydantic models that make the rule's value."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import PlainValidator, model_validator

from airflow_provider_btrdb.audit import suites
from airflow_provider_btrdb.audit.durations import NS
from airflow_provider_btrdb.audit.written import (
    DAY,
    Count,
    Duration,
    FieldName,
    FieldNames,
    Number,
    Percent,
    Query,
    Rate,
    by_field,
    pattern,
    texts,
)
from airflow_provider_btrdb.documents.problems import Written, refused


class RuleWritten(Written):
    """The argument of a rule: a mapping of these fields, or one value for the field `short`."""

    rule: ClassVar[type[Any]]
    short: ClassVar[str | None] = None
    """The field that a value alone stands for."""
    whole: ClassVar[bool] = False
    """Is the argument always that one value?"""
    bare: ClassVar[bool] = False
    """May the argument be just `true`?"""

    def value(self) -> suites.Rule:
        """The rule."""
        made: suites.Rule = self.rule(**dict(self))
        return made


class _Required(RuleWritten):
    rule, short, whole = suites.Required, "fields", True
    fields: FieldNames


class _Allowed(RuleWritten):
    rule, short, whole = suites.Allowed, "values", True
    values: Annotated[Any, PlainValidator(by_field(texts, "lists of texts"))]


class _Matches(RuleWritten):
    rule, short, whole = suites.Matches, "patterns", True
    patterns: Annotated[Any, PlainValidator(by_field(pattern, "regular expressions"))]


class _Unique(RuleWritten):
    rule, short, whole = suites.Unique, "fields", True
    fields: FieldNames


class _Consistent(RuleWritten):
    rule = suites.Consistent
    field: FieldName
    by: FieldNames


class _RefersTo(RuleWritten):
    rule, short, whole = suites.RefersTo, "field", True
    field: FieldName


class _CountBetween(RuleWritten):
    rule = suites.CountBetween
    least: Count = 0
    most: Count | None = None

    @model_validator(mode="after")
    def _sensible(self) -> _CountBetween:
        if self.most is None and self.least == 0:
            raise refused("needs least, most or both")
        if self.most is not None and self.most < self.least:
            raise refused(f"has most {self.most} below least {self.least}")
        return self


class _Sql(RuleWritten):
    rule, short, whole = suites.Sql, "query", True
    query: Query


class _RareKeys(RuleWritten):
    rule, short = suites.RareKeys, "below"
    below: Percent


class _Fresh(RuleWritten):
    rule, short = suites.Fresh, "within"
    within: Duration

    def value(self) -> suites.Rule:
        return suites.Fresh(within_ns=self.within)


class _NotEmpty(RuleWritten):
    rule, bare = suites.NotEmpty, True
    last: Duration | None = None

    def value(self) -> suites.Rule:
        return suites.NotEmpty(last_ns=self.last)


class _Complete(RuleWritten):
    rule = suites.Complete
    rate: Rate
    last: Duration = DAY
    warn_below: Percent | None = None
    error_below: Percent | None = None

    @model_validator(mode="after")
    def _sensible(self) -> _Complete:
        if self.warn_below is None and self.error_below is None:
            raise refused("needs warn_below, error_below or both")
        if self.warn_below is not None and self.error_below is not None and self.error_below > self.warn_below:
            raise refused(f"has error_below {self.error_below:g} above warn_below {self.warn_below:g}")
        if self.last * self.rate < 2 * POINTS_OF_A_WINDOW * NS:
            raise refused(f"expects only {self.last * self.rate / NS:g} points, too few to judge: give a longer last")
        return self

    def value(self) -> suites.Rule:
        return suites.Complete(
            rate=self.rate, last_ns=self.last, warn_below=self.warn_below, error_below=self.error_below
        )


class _InRange(RuleWritten):
    rule = suites.InRange
    min: Number | None = None
    max: Number | None = None
    last: Duration = DAY

    @model_validator(mode="after")
    def _sensible(self) -> _InRange:
        if self.min is None and self.max is None:
            raise refused("needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise refused(f"has min {self.min:g} above max {self.max:g}")
        return self

    def value(self) -> suites.Rule:
        return suites.InRange(least=self.min, most=self.max, last_ns=self.last)


class _NotInFuture(RuleWritten):
    rule, bare = suites.NotInFuture, True
    tolerance: Duration = 60 * NS

    def value(self) -> suites.Rule:
        return suites.NotInFuture(tolerance_ns=self.tolerance)


class _Flatline(RuleWritten):
    rule = suites.Flatline
    longer_than: Duration
    last: Duration = DAY

    @model_validator(mode="after")
    def _sensible(self) -> _Flatline:
        if self.longer_than > self.last:
            raise refused("has longer_than above last")
        return self

    def value(self) -> suites.Rule:
        return suites.Flatline(longer_than_ns=self.longer_than, last_ns=self.last)


POINTS_OF_A_WINDOW = 64
"""`complete` counts in windows of so many points at least; see `points`."""
RULES: dict[str, type[RuleWritten]] = {
    "required": _Required,
    "allowed": _Allowed,
    "matches": _Matches,
    "unique": _Unique,
    "consistent": _Consistent,
    "refers_to": _RefersTo,
    "count_between": _CountBetween,
    "sql": _Sql,
    "rare_keys": _RareKeys,
    "fresh": _Fresh,
    "not_empty": _NotEmpty,
    "complete": _Complete,
    "in_range": _InRange,
    "not_in_future": _NotInFuture,
    "flatline": _Flatline,
}


def argument_of(kind: str, given: Any) -> tuple[dict[str, Any], bool]:
    """The argument of a rule as its fields, and whether it was one value for all."""
    model = RULES[kind]
    if model.whole:
        return {str(model.short): given}, True
    if model.bare and given is True:
        return {}, True
    if isinstance(given, dict):
        return given, False
    if model.short is None:
        fields = ", ".join(model.model_fields)
        raise TypeError(f"must be a mapping of {fields}{' or true' if model.bare else ''}")
    return {model.short: given}, True
