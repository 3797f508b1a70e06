"""Rules about one stream at a time: what is wrong with the values of its fields, here and in SQL. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias
from uuid import UUID

from airflow_provider_btrdb.audit.fields import Sql, shown
from airflow_provider_btrdb.audit.patterns import in_postgres
from airflow_provider_btrdb.audit.suites import Allowed, Matches, RefersTo, Required, RowRule

Explain: TypeAlias = Callable[[Sequence[str | None]], str | None]
"""Takes the values of the rule's fields, in their order; None where nothing is wrong."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def explain(rule: RowRule) -> Explain:
    """What is wrong with a stream."""
    if isinstance(rule, Required):
        return _lacking(rule)
    tests: list[tuple[str, Callable[[str], object], str]] = []
    if isinstance(rule, Allowed):
        for field, texts in rule.values:
            tests.append((field, frozenset(texts).__contains__, f"is none of {', '.join(map(shown, texts[:8]))}"))
    else:
        for field, pattern in rule.patterns:
            tests.append((field, re.compile(pattern).search, f"does not match {pattern}"))

    def found(values: Sequence[str | None]) -> str | None:
        said = None
        for value, (field, test, wrong) in zip(values, tests, strict=True):
            if value is not None and not test(value):
                sentence = f"{field} is {shown(value)}, which {wrong}"
                said = sentence if said is None else f"{said}; {sentence}"
        return said

    return found


def _lacking(rule: Required) -> Explain:
    def found(values: Sequence[str | None]) -> str | None:
        if all(values):
            return None
        return f"lacks {', '.join(f for f, value in zip(rule.fields, values, strict=True) if not value)}"

    return found


def broken_in_sql(rule: RowRule | RefersTo, sql: Sql) -> str | None:
    """A condition that holds for the streams that break the rule, never NULL; None where SQL may see it otherwise."""
    tests: list[str] = []
    if isinstance(rule, Required):
        tests = [f"coalesce({sql.value(field)}, '') = ''" for field in rule.fields]
    elif isinstance(rule, Allowed):
        for field, texts in rule.values:
            tests.append(f"coalesce({sql.value(field)} <> ALL({sql.any_of(texts)}), false)")
    elif isinstance(rule, Matches):
        for field, pattern in rule.patterns:
            same = in_postgres(pattern)
            if same is None:
                return None
            tests.append(f"coalesce({sql.value(field)} !~ {sql.text(same)}, false)")
    else:
        value = sql.value(rule.field)
        # The inner table shows nothing but `id`, so that the fields in `value` are those of the outer one.
        ids = "(SELECT uuid::text AS id FROM streams) AS target"
        missing = f"NOT EXISTS (SELECT 1 FROM {ids} WHERE target.id = lower({value}))"  # noqa: S608 - our words
        tests.append(f"({value} IS NOT NULL AND {missing})")
    return f"({' OR '.join(tests)})"


def target_of(value: str) -> bytes | None:
    """The 16 bytes of a uuid in its usual form, in either case; None for other texts."""
    return UUID(value).bytes if _UUID.fullmatch(value) else None


def dangling(field: str, value: str) -> str:
    """What is wrong with a reference that leads nowhere."""
    if target_of(value) is None:
        return f"{field} is {shown(value)}, which is no uuid"
    return f"{field} is {shown(value)}, and this key sees no such stream"
