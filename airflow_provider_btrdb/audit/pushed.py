"""Rules as SQL, for servers that answer it: statements, and what their rows mean. Pure.

Each gives what the pass of `listing` finds; a law compares the two on PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from airflow_provider_btrdb.audit.fields import Sql, shown
from airflow_provider_btrdb.audit.findings import Findings
from airflow_provider_btrdb.audit.rows import broken_in_sql, dangling, explain
from airflow_provider_btrdb.audit.selectors import Selector
from airflow_provider_btrdb.audit.suites import Check, Consistent, CountBetween, RefersTo, RowRule, Unique
from airflow_provider_btrdb.audit.telling import add_consistent, add_counts, add_stream, add_unique

ORDER = 'ORDER BY collection COLLATE "C", name COLLATE "C", uuid'


class Statement(NamedTuple):
    """SQL and its parameters."""

    text: str
    params: list[str]


def statement_of(check: Check) -> Statement | None:
    """The failures of a check; None where SQL may see them otherwise, and for what is no matter of SQL."""
    rule, sql = check.rule, Sql()
    selected = check.selector.sql(sql)
    if selected is None:
        return None
    text: str | None = None
    if isinstance(rule, RowRule | RefersTo):
        broken = broken_in_sql(rule, sql)
        if broken is not None:
            fields = "".join(f", {sql.value(field)} AS f{n}" for n, field in enumerate(rule.fields))
            text = (
                f"SELECT uuid::text AS uuid, collection, name{fields} FROM streams "  # noqa: S608 - texts are parameters
                f"WHERE {selected} AND {broken} {ORDER}"
            )
    elif isinstance(rule, Unique):
        text = _unique(rule, selected, sql)
    elif isinstance(rule, Consistent):
        text = _consistent(rule, selected, sql)
    elif isinstance(rule, CountBetween):
        inside = check.selector.of_collections.sql(sql)
        text = (
            f"SELECT collection, count(*) FILTER (WHERE {selected}) AS n FROM streams "  # noqa: S608 - as above
            f'WHERE {inside} GROUP BY collection ORDER BY collection COLLATE "C"'
        )
    return None if text is None else Statement(text, sql.texts)


def _unique(rule: Unique, selected: str, sql: Sql) -> str:
    values = [sql.value(field) for field in rule.fields]
    fields = ", ".join(f"{value} AS f{n}" for n, value in enumerate(values))
    there = " AND ".join(f"{value} IS NOT NULL" for value in values)
    numbers = ", ".join(str(n + 1) for n in range(len(values)))
    return (
        f"WITH g AS (SELECT {fields}, count(*) AS n, min(uuid::text) AS least, max(uuid::text) AS most FROM streams "  # noqa: S608 - texts are parameters
        f"WHERE {selected} AND {there} GROUP BY {numbers}) "
        "SELECT total.checked, g.* FROM (SELECT count(*) AS checked FROM g) AS total LEFT JOIN g ON g.n > 1"
    )


def _consistent(rule: Consistent, selected: str, sql: Sql) -> str:
    by = [sql.value(field) for field in rule.by]
    value = sql.value(rule.field)
    fields = ", ".join(f"{one} AS f{n}" for n, one in enumerate(by))
    there = " AND ".join(f"{one} IS NOT NULL" for one in (value, *by))
    numbers = ", ".join(str(n + 1) for n in range(len(by) + 1))
    names = ", ".join(f"f{n}" for n in range(len(by)))
    return (
        f"WITH v AS (SELECT {fields}, {value} AS value, count(*) AS n, min(uuid::text) AS least FROM streams "  # noqa: S608 - texts are parameters
        f"WHERE {selected} AND {there} GROUP BY {numbers}), "
        f"g AS (SELECT {names} FROM v GROUP BY {names}), "
        f"b AS (SELECT *, count(*) OVER (PARTITION BY {names}) AS kinds FROM v) "
        "SELECT total.checked, b.* FROM (SELECT count(*) AS checked FROM g) AS total LEFT JOIN b ON b.kinds > 1"
    )


def count_of(selectors: list[Selector]) -> Statement | None:
    """How many streams each selector takes, as `c0`, `c1` ... of one row."""
    sql = Sql()
    tests = [selector.sql(sql) for selector in selectors]
    if None in tests:
        return None
    counts = ", ".join(f"count(*) FILTER (WHERE {test}) AS c{n}" for n, test in enumerate(tests))
    return Statement(f"SELECT {counts} FROM streams", sql.texts)  # noqa: S608 - texts are parameters


def collections_of(selector: Selector) -> Statement | None:
    """Collections, and how many streams each has."""
    sql = Sql()
    test = selector.sql(sql)
    if test is None:
        return None
    return Statement(f"SELECT collection, count(*) AS n FROM streams WHERE {test} GROUP BY collection", sql.texts)  # noqa: S608 - as above


def targets_of(selector: Selector) -> Statement | None:
    """Streams whose points are looked at."""
    sql = Sql()
    test = selector.sql(sql)
    if test is None:
        return None
    return Statement(
        f"SELECT uuid::text AS uuid, collection, name FROM streams WHERE {test} {ORDER}",  # noqa: S608 - as above
        sql.texts,
    )


def add_rows(check: Check, findings: Findings, rows: Iterable[Mapping[str, Any]]) -> int | None:
    """Failures that the rows of `statement_of` mean; how many were looked at, where they tell that."""
    rule = check.rule
    if isinstance(rule, CountBetween):
        return add_counts(rule, findings, ((row["collection"], row["n"]) for row in rows))
    if isinstance(rule, Unique):
        return _add_unique(rule, findings, rows)
    if isinstance(rule, Consistent):
        return _add_consistent(rule, findings, rows)
    assert isinstance(rule, RowRule | RefersTo)
    told = None if isinstance(rule, RefersTo) else explain(rule)
    for row in rows:
        values = [row[f"f{n}"] for n in range(len(rule.fields))]
        message = dangling(rule.fields[0], values[0]) if told is None else told(values)
        # A None is a server whose SQL is not PostgreSQL's: Python's word counts.
        if message is not None:
            add_stream(findings, UUID(row["uuid"]).bytes, row["collection"], row["name"], message)
    return None


def _add_unique(rule: Unique, findings: Findings, rows: Iterable[Mapping[str, Any]]) -> int:
    checked = 0
    for row in rows:
        checked = row["checked"]
        if row["n"] is not None:
            key = tuple(row[f"f{n}"] for n in range(len(rule.fields)))
            add_unique(rule, findings, key, row["n"], (row["least"], row["most"]))
    return checked


def _add_consistent(rule: Consistent, findings: Findings, rows: Iterable[Mapping[str, Any]]) -> int:
    checked, found = 0, dict[tuple[str, ...], list[tuple[str, int, str]]]()
    for row in rows:
        checked = row["checked"]
        if row["n"] is not None:
            key = tuple(row[f"f{n}"] for n in range(len(rule.by)))
            found.setdefault(key, []).append((row["value"], row["n"], row["least"]))
    for key, values in found.items():
        add_consistent(rule, findings, key, values, kinds=len(values))
    return checked


def total(check: Check, before: int | None, of_page: int | None) -> int | None:
    """How many were looked at, after one more page: `count_between` has a row for each, others say it in each row."""
    if before is None or of_page is None:
        return of_page
    return before + of_page if isinstance(check.rule, CountBetween) else max(before, of_page)


def add_row(findings: Findings, row: Mapping[str, Any]) -> None:
    """A row of the user's own query: it is a failure, and its columns say what is wrong."""
    place: dict[str, Any] = {key: str(row[key]) for key in ("collection", "name", "uuid") if row.get(key) is not None}
    said = ", ".join(f"{key} {shown(value)}" for key, value in row.items() if key not in place)
    findings.add(tuple(map(str, row.values())), said or "the query finds it", **place)
