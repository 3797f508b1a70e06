"""What SQL answers on PostgreSQL and what the pass finds are equal, whatever the streams hold."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_btrdb.audit import Suite, parse_suite, run_suite
from airflow_provider_btrdb.audit.fields import Sql
from airflow_provider_btrdb.audit.patterns import in_postgres
from airflow_provider_btrdb.audit.pushed import statement_of
from airflow_provider_btrdb.client import BTrDB, connect
from airflow_provider_btrdb.testing import RunningServer, devserver

TEXTS = st.one_of(
    st.sampled_from(["", "V", "v", "volts", "Volts", " volts", "a'b", 'q"x', "\\", "é", "e\u0301", "İ", "ß", "k", "\u212a", "x\n", "\n", "%", "_", "$1", "null", "0", "{}", "=>"]),  # noqa: E501
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=6),
)  # fmt: skip
COLLECTIONS = ["law/a", "law/b", "law/a/é", "law/a'b", "law/A", "lawless", "law/*", "law/a\nb"]


def catalogue(seed: int, texts: list[str]) -> list[Any]:
    """Fifteen streams that often share what they have: hypothesis alone makes few that do."""
    chance = random.Random(seed)
    few = ["", "V", "v", "A", *texts]
    references = [str(UUID(int=chance.randrange(1, 25) << 64)) for _ in range(3)]
    references += [references[0].upper(), references[0].replace("-", ""), f"{{{references[0]}}}", *few]
    return [
        (
            chance.choice(COLLECTIONS),
            chance.choice(few),
            chance.choice(few),
            {key: chance.choice([None, *few]) for key in ("site", "Site", "k'y") if chance.random() < 0.5},
            chance.choice(references) if chance.random() < 0.7 else None,
        )
        for _ in range(15)
    ]


STREAMS = st.builds(catalogue, st.integers(0, 2**32), st.lists(TEXTS, max_size=4))
FIELDS = st.sampled_from(["collection", "name", "unit", "ingress", "uuid", "annotations.site", "annotations.k'y", "annotations.ref"])  # fmt: skip  # noqa: E501
GROUPED = ["collection", "name", "unit", "annotations.site"]
GROUPS = st.lists(st.sampled_from(GROUPED), min_size=1, max_size=2, unique=True)
SAFE = "abV01 _/'\"-.*+?|()[]^${},\\n"
PATTERNS = st.one_of(
    st.sampled_from(["^V", "volts$", "[a-z]+", "^$", "a|b", "(V|v)olts", ".", "^.$", "x?", "\\.", "[^/]", "\n", "(?i)v", "\\d", "^a|b$", "(?=V)", "v{1,2}", "é"]),  # noqa: E501
    st.text(SAFE, min_size=1, max_size=6),
)  # fmt: skip


def compiles(pattern: str) -> bool:
    import re
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            re.compile(pattern)
        except (re.error, RecursionError):
            return False
    return True


PATTERNS = PATTERNS.filter(compiles)
LISTS = st.lists(TEXTS, min_size=1, max_size=3)
KEYS = st.lists(FIELDS, min_size=1, max_size=2, unique=True)
TESTS = st.one_of(st.none(), st.booleans(), TEXTS, LISTS, PATTERNS.map(lambda pattern: {"matches": pattern}))
WHERE = st.dictionaries(FIELDS, st.one_of(TESTS, TESTS.map(lambda test: {"not": test})), min_size=1, max_size=2)
RULES = st.one_of(
    KEYS.map(lambda fields: {"required": fields}),
    st.dictionaries(FIELDS, LISTS, min_size=1, max_size=2).map(lambda values: {"allowed": values}),
    st.dictionaries(FIELDS, PATTERNS, min_size=1, max_size=2).map(lambda values: {"matches": values}),
    GROUPS.map(lambda fields: {"unique": fields}),
    st.tuples(st.permutations(GROUPED), st.integers(2, 3)).map(
        lambda two: {"consistent": {"field": two[0][0], "by": two[0][1 : two[1]]}}
    ),
    st.just({"refers_to": "annotations.ref"}),
    st.integers(0, 2).map(lambda least: {"count_between": {"least": least, "most": least + 1}}),
)
CHECKS = st.tuples(RULES, st.one_of(st.none(), st.none(), WHERE)).map(lambda two: two[0] if two[1] is None else {**two[0], "where": two[1]})  # fmt: skip  # noqa: E501
SELECTS = st.one_of(
    st.just({}),
    st.sampled_from([{"prefix": "law/"}, {"prefix": "law/a"}, {"glob": "law/*"}, {"glob": "law/**"}, {"glob": "law/?"}, {"glob": "law/a'b"}]),  # noqa: E501
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with devserver() as running:
        yield running


@pytest.fixture(scope="module")
def db(server: RunningServer) -> Iterator[BTrDB]:
    with connect(server.endpoint) as connection:
        yield connection


@pytest.fixture(scope="module")
def tables(server: RunningServer) -> Iterator[psycopg.Connection[Any]]:
    """One connection for all catalogues: PostgreSQL ends a closed one some time later, and has few."""
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        yield connection


def stored(tables: psycopg.Connection[Any], streams: list[Any]) -> None:
    """The catalogue, and nothing else. Tags that the server takes for equal are told apart by the distiller."""
    rows = []
    for number, (collection, name, unit, notes, reference) in enumerate(streams, start=1):
        all_notes = {**notes, **({} if reference is None else {"ref": reference})}
        pairs = [part for pair in all_notes.items() for part in pair]
        rows.append((UUID(int=number << 64), collection, name, unit, str(number), pairs))
    with tables.cursor() as cursor:
        cursor.execute("DELETE FROM btrdb.stream")
        cursor.executemany(
            "INSERT INTO btrdb.stream (uuid, collection, name, unit, ingress, distiller, annotations) "
            "VALUES (%s, %s, %s, %s, '', %s, coalesce(public.hstore(%s::text[]), ''))",
            rows,
        )


def suite_of(checks: list[Any], select: dict[str, Any]) -> Suite:
    return parse_suite(json.dumps({"select": select, "checks": checks}), "json")


def found(db: BTrDB, suite: Suite, *, use_sql: bool) -> Any:
    audit = db.run(run_suite(suite, use_sql=use_sql))
    try:
        failures = sorted(audit.failures.lines())
        checks = [(check.outcome, check.checked, check.failed, check.message) for check in audit.result.checks]
        return checks, failures, audit.collections
    finally:
        audit.close()


def test_sql_and_the_pass_find_the_same(tables: psycopg.Connection[Any], db: BTrDB) -> None:
    failures: Counter[str] = Counter()

    @given(STREAMS, st.lists(CHECKS, min_size=1, max_size=5), SELECTS)
    @settings(max_examples=150, deadline=None)
    def law(streams: list[Any], checks: list[Any], select: dict[str, Any]) -> None:
        stored(tables, streams)
        suite = suite_of(checks, select)
        by_sql = found(db, suite, use_sql=True)
        assert by_sql == found(db, suite, use_sql=False)
        for check, (_, _, failed, _) in zip(suite.checks, by_sql[0], strict=True):
            failures[check.kind] += failed

    kinds = ("required", "allowed", "matches", "unique", "consistent", "refers_to", "count_between")
    for _ in range(5):  # chance leaves a rule out of one round in thirty
        law()
        if min(failures[kind] for kind in kinds) > 10:
            return
    raise AssertionError(f"the law hardly looks at some rules: {failures}")


@given(PATTERNS, st.lists(st.one_of(TEXTS, st.text(SAFE, max_size=8)), min_size=1, max_size=20))
@settings(max_examples=600, deadline=None)
def test_a_translated_pattern_means_the_same(db: BTrDB, pattern: str, texts: list[str]) -> None:
    import re

    same = in_postgres(pattern)
    if same is None:
        return
    sql = Sql()
    tests = ", ".join(f"{sql.text(text)} ~ {sql.text(same)} AS t{n}" for n, text in enumerate(texts))
    (row,) = db.query(f"SELECT {tests}", sql.texts)
    assert list(row.values()) == [re.search(pattern, text) is not None for text in texts]


def test_the_patterns_that_people_write_are_translated() -> None:
    for pattern in ("^[LC][123](MAG|ANG)$", "^grid/bus[0-9]{3}$", "volts", "^a.*b$", "[^/]+", "(?:a|b)c?"):
        assert in_postgres(pattern) is not None, pattern
    for pattern in (r"\d", "(?i)a", "a*?", "(?=a)", r"(a)\1", "^a|b", "[[:alpha:]]", "é", "a" * 201, r"\bx"):
        assert in_postgres(pattern) is None, pattern


def test_statements_answer_with_failures_and_nothing_else(tables: psycopg.Connection[Any], db: BTrDB) -> None:
    """Streams that pass cost no rows: Python would leave them out, so that no result would show it."""
    streams = [
        ("law", name, unit, {"site": "x"} if unit else {}, None) for name, unit in (("a", ""), ("b", "V"), ("c", "A"))
    ]
    stored(tables, streams)
    checks = [
        {"required": "unit"}, {"allowed": {"unit": ["V"]}}, {"matches": {"unit": "^V$"}},
        {"refers_to": "annotations.site"}, {"refers_to": "annotations.ref"}, {"allowed": {"annotations.k": ["V"]}},
        {"unique": "unit"}, {"consistent": {"field": "unit", "by": "collection"}},
    ]  # fmt: skip
    names = []
    for check in suite_of(checks, {}).checks:
        statement = statement_of(check)
        assert statement is not None
        rows = db.query(statement.text, statement.params)
        names.append("".join(str(row.get("name") or row.get("value") or "-") for row in rows))
    assert names == ["a", "c", "c", "bc", "", "", "-", "AV"]
