"""Suites from text: what each form means, and every fault with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_btrdb.audit import Suite, SuiteError, judge, parse_suite, read_suite, suites
from airflow_provider_btrdb.audit.durations import NS, duration_ns, duration_text
from airflow_provider_btrdb.audit.selectors import Condition, Selector
from airflow_provider_btrdb.audit.sqlcheck import query_of
from airflow_provider_btrdb.audit.thresholds import Threshold
from airflow_provider_btrdb.client.errors import InputError

DAY = 86_400 * NS


def one(check: dict[str, Any], **top: Any) -> suites.Check:
    (made,) = parse_suite(json.dumps({**top, "checks": [check]}), "json").checks
    return made


def faults(text: str) -> list[str]:
    with pytest.raises(SuiteError) as caught:
        parse_suite(text)
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ({"required": "unit"}, suites.Required(fields=("unit",))),
        ({"required": ["unit", "annotations.a b"]}, suites.Required(fields=("unit", "annotations.a b"))),
        ({"allowed": {"unit": ["V", "A"]}}, suites.Allowed(values=(("unit", ("V", "A")),))),
        ({"matches": {"name": "^L"}}, suites.Matches(patterns=(("name", "^L"),))),
        ({"unique": ["collection", "name"]}, suites.Unique(fields=("collection", "name"))),
        ({"consistent": {"field": "unit", "by": "name"}}, suites.Consistent(field="unit", by=("name",))),
        ({"refers_to": "annotations.of"}, suites.RefersTo(field="annotations.of")),
        ({"count_between": {"least": 2}}, suites.CountBetween(least=2, most=None)),
        ({"count_between": {"most": 2}}, suites.CountBetween(least=0, most=2)),
        ({"sql": "SELECT 1; -- so"}, suites.Sql(query="SELECT 1")),
        ({"rare_keys": "1%"}, suites.RareKeys(below=1.0)),
        ({"rare_keys": {"below": 0.5}}, suites.RareKeys(below=0.5)),
        ({"fresh": "10m"}, suites.Fresh(within_ns=600 * NS)),
        ({"fresh": {"within": 90}}, suites.Fresh(within_ns=90 * NS)),
        ({"not_empty": True}, suites.NotEmpty(last_ns=None)),
        ({"not_empty": {"last": "1d"}}, suites.NotEmpty(last_ns=DAY)),
        ({"complete": {"rate": 30, "warn_below": 99.9}}, suites.Complete(rate=30, last_ns=DAY, warn_below=99.9)),
        (
            {"complete": {"rate": 0.5, "last": "2d", "warn_below": "99.9%", "error_below": 90}},
            suites.Complete(rate=0.5, last_ns=2 * DAY, warn_below=99.9, error_below=90),
        ),
        ({"in_range": {"min": -1, "max": 2.5}}, suites.InRange(least=-1, most=2.5, last_ns=DAY)),
        ({"not_in_future": True}, suites.NotInFuture(tolerance_ns=60 * NS)),
        ({"not_in_future": {"tolerance": "1h30m"}}, suites.NotInFuture(tolerance_ns=5400 * NS)),
        ({"flatline": {"longer_than": "1h"}}, suites.Flatline(longer_than_ns=3600 * NS, last_ns=DAY)),
    ],
    ids=str,
)
def test_every_form_of_every_rule(written: dict[str, Any], rule: suites.Rule) -> None:
    assert one(written).rule == rule


def test_what_a_check_says_and_what_it_takes_from_the_suite() -> None:
    check = one(
        {
            "fresh": "1h", "name": "pmus", "owner": "us", "description": "why", "severity": "error", "sample": 3,
            "warn_if": "> 0", "error_if": ">= 1.5%",
            "select": {"glob": "grid/*/pmu", "sql": "SELECT uuid FROM streams"},
            "where": {
                "unit": "V", "name": ["a", "b"], "ingress": None, "distiller": False, "annotations.a": True,
                "annotations.b": {"matches": "x"}, "annotations.c": {"not": "y"},
                "annotations.d": {"not": {"not": "z"}},
            },
        },
        select={"prefix": "grid/", "where": {"unit": "V"}},
        defaults={"owner": "them", "severity": "warn"},
    )  # fmt: skip
    assert (check.name, check.owner, check.description, check.severity, check.sample) == (
        "pmus",
        "us",
        "why",
        "error",
        3,
    )
    assert (check.warn_if, check.error_if) == (Threshold(0), Threshold(1.5, percent=True, or_equal=True))
    assert check.selector == Selector(
        prefixes=("grid/",),
        globs=("grid/*/pmu",),
        conditions=(
            Condition("unit", "equals", ("V",)),
            Condition("name", "equals", ("a", "b")),
            Condition("ingress", "has", negated=True),
            Condition("distiller", "has", negated=True),
            Condition("annotations.a", "has"),
            Condition("annotations.b", "matches", ("x",)),
            Condition("annotations.c", "equals", ("y",), negated=True),
            Condition("annotations.d", "equals", ("z",)),
        ),
        queries=("SELECT uuid FROM streams",),
    )
    assert one({"fresh": "1h"}, defaults={"owner": "them", "severity": "warn"}).severity == "warn"


def test_the_top_and_names(tmp_path: Path) -> None:
    text = """\
expect_at_least: {streams: 5, collections: 2}
allow_drop: 1%
without_sql: skip
checks:
- required: unit
- required: unit
- required: unit
  name: mine
- not_empty: true
"""
    (tmp_path / "nightly.yaml").write_text(text)
    suite = read_suite(tmp_path / "nightly.yaml")
    assert [check.name for check in suite.checks] == ["required unit", "required unit 2", "mine", "not_empty"]
    assert (suite.name, suite.expect_streams, suite.expect_collections) == ("nightly", 5, 2)
    assert (suite.allow_drop, suite.without_sql) == (Threshold(1, percent=True), "skip")
    assert parse_suite("{expect_at_least: 7, checks: [{not_empty: true}]}").expect_streams == 7


def test_all_faults_in_one_go_with_their_lines() -> None:
    told = faults("""\
nam: x
select: {prefx: grid/}
defaults: {severty: warn}
allow_drop: much
checks:
- requird: [unit]
- required: [unitt]
- allowed: {unit: [5], name: V, nome: [a]}
- matches: {name: "(("}
- unique: []
- unique: [name]
  wher: {unit: V}
- unique: [name]
  where: {unit: {matchs: x}, nome: V, annotations.a: {not: {matches: "("}}}
- consistent: {field: unit}
- count_between: {least: 3, most: 2}
- fresh: 10x
- complete: {rate: 30}
- complete: {rate: 0.001, last: 1h, warn_below: 99}
- in_range: {min: 2, max: 1}
- flatline: 1h
- not_empty: {last: 0s}
- rare_keys: 1%
  where: {unit: V}
- required: unit
  severity: warn
  error_if: "> 1"
- required: unit
  warn_if: many
- fresh: 1h
  not_empty: true
- {name: nothing}
- 5
- fresh: 1h
  name: x
- fresh: 2h
  name: x
- complete: {rate: 30, warn_below: 90, error_below: 95}
- required: unit
  sample: 1001
""")
    expected = [
        "line 1, nam: there is no such field; did you mean 'name'?",
        "line 2, select.prefx: there is no such field",
        "line 3, defaults.severty: there is no such field",
        "line 4, allow_drop: is 'much' and must be a number or a percentage",
        "line 6, requird: there is no such check; did you mean 'required'?",
        "line 7, required: there is no field 'unitt'; did you mean 'unit'? known are collection, name,",
        "line 8, allowed: unit: is 5 and must be text: write \"5\"; name: is 'V' and must be a list of texts",
        "line 9, matches: name: '((' is no regular expression: missing )",
        "line 10, unique: names no field",
        "line 12, wher: there is no such field of a check; did you mean 'where'?",
        "line 14, where: unit: {'matchs': 'x'} is no test; did you mean 'matches'? known are matches, not; "
        "nome: there is no field 'nome'; did you mean 'name'? known are collection, name, unit, ingress, distiller, "
        "uuid, annotations.KEY; annotations.a: '(' is no regular expression: missing )",
        "line 15, consistent.by: is missing",
        "line 16, count_between: has most 2 below least 3",
        "line 17, fresh: is '10x' and must be a length of time, such as 90s, 10m, 1h30m or 7d",
        "line 18, complete: needs warn_below, error_below or both",
        "line 19, complete: expects only 3.6 points, too few to judge: give a longer last",
        "line 20, in_range: has min 2 above max 1",
        "line 21, flatline: must be a mapping of longer_than, last",
        "line 22, not_empty.last: is '0s' and must be a length of time",
        "line 23, rare_keys: looks at everything below a prefix: leave out glob, where and sql",
        "line 27, error_if: counts for severity error only, and this check warns",
        "line 29, warn_if: is 'many' and must be a condition on failures, such as '> 0', '>= 10' or '> 1%'",
        "line 30: has fresh and not_empty: one check has one rule",
        "line 32: has no rule; known are required, allowed",
        "line 33: is 5 and must be a mapping such as required: [unit]",
        "line 37, name: 'x' is the name of an earlier check",
        "line 38, complete: has error_below 95 above warn_below 90",
        "line 40, sample: is 1001 and must be at most 1000",
    ]
    assert [line for line, want in zip(told, expected, strict=True) if not line.startswith(f"suite, {want}")] == []


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ({"required": ["unit", "unit"]}, "names unit twice"),
        ({"required": "annotations."}, "there is no field 'annotations.'"),
        ({"allowed": ["V"]}, "is ['V'] and must map fields to lists of texts"),
        ({"allowed": {"unit": ["a\0"]}}, "unit: is 'a\\x00', which no stream can hold"),
        ({"count_between": {}}, "needs least, most or both"),
        ({"complete": {"rate": 0, "warn_below": 1}}, "is 0 and must be points in a second, more than 0"),
        ({"complete": {"rate": 1, "warn_below": "all"}}, "is 'all' and must be a percentage above 0"),
        ({"complete": {"rate": 1, "warn_below": 101}}, "is 101 and must be a percentage above 0"),
        ({"in_range": {}}, "needs min, max or both"),
        ({"in_range": {"min": float("inf")}}, "and must be a number"),
        ({"flatline": {"longer_than": "2d"}}, "has longer_than above last"),
        ({"required": "unit", "severity": "fatal"}, "is 'fatal' and must be warn or error"),
        ({"required": "unit", "sample": -1}, "is -1 and must be a whole number"),
        ({"rare_keys": 0}, "is 0 and must be a percentage above 0"),
        ({"fresh": 0}, "is 0 and must be a length of time"),
    ],
    ids=str,
)
def test_what_makes_no_check(check: dict[str, Any], said: str) -> None:
    with pytest.raises(SuiteError) as caught:
        one(check)
    (fault,) = caught.value.faults
    assert said in fault.message


def test_what_a_suite_does_without_sql() -> None:
    assert parse_suite("checks: [{fresh: 1h}]").without_sql == "skip"
    with pytest.raises(SuiteError, match="is 'never' and must be error or skip"):
        one({"fresh": "1h"}, without_sql="never")


def test_plain_texts_that_yaml_takes_for_numbers_and_dates() -> None:
    told = faults("""\
name: 2024-01-01
expect_at_least: 0123
checks:
- allowed: {unit: [007]}
- fresh: 010
- required: 2024-01-01
- required: unit
  where: {annotations.x: 007}
- matches: {name: 007}
- in_range: {max: 1_0}
""")
    assert told == [
        'suite, line 1, name: is 2024-01-01 and must be text: write "2024-01-01"',
        "suite, line 2, expect_at_least: is 0123 and must be a whole number, 0 or more",
        'suite, line 4, allowed: unit: is 007 and must be text: write "007"',
        "suite, line 5, fresh: is 010 and must be a length of time, such as 90s, 10m, 1h30m or 7d",
        "suite, line 6, required: there is no field 2024-01-01; known are collection, name, unit, ingress, distiller, "
        "uuid, annotations.KEY",
        'suite, line 8, where: annotations.x: is 007 and must be text: write "007"',
        'suite, line 9, matches: name: is 007 and must be a regular expression: write "007"',
        "suite, line 10, in_range.max: is 1_0 and must be a number",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "must be a mapping with a list of checks"),
        ("name: x", "checks: is missing"),
        ("checks: []", "line 1, checks: must be a list of checks"),
        ("checks: {required: unit}", "line 1, checks: must be a list of checks"),
        ("a: [", "no YAML"),
        ("checks:\n- required: unit\n  required: name", "line 3, required: stands there twice"),
        (
            "expect_at_least: {stream: 1}\nchecks: [{fresh: 1h}]",
            "line 1, expect_at_least: there is no 'stream' to count",
        ),
    ],
)
def test_what_is_no_suite(text: str, said: str) -> None:
    (told,) = faults(text)
    assert said in told


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("DELETE FROM streams", "DELETE writes, and an audit only reads"),
        ("  -- so\n drop table streams", "DROP writes"),
        ("WITH x AS (INSERT INTO a VALUES (1) RETURNING *) SELECT * FROM x", "has INSERT, which writes"),
        ("SELECT * INTO copy_of FROM streams", "has INTO, which writes"),
        ("SELECT 1; DELETE FROM streams", "has more than one statement"),
        ("SELECT 1 FOR UPDATE", "has UPDATE, which writes"),
        ("EXPLAIN SELECT 1", "begins with 'EXPLAIN' and must be a query"),
        ("SELECT 1) q, (SELECT 2", "has parentheses that do not match"),
        ("SELECT (1", "has parentheses that do not match"),
        ("SELECT $1", "has the parameter $1, and nobody gives it a value"),
        ("", "the SQL statement is empty"),
        ("/* nothing */ ;", "the SQL statement is empty"),
    ],
)  # fmt: skip
def test_sql_that_is_no_query_is_refused_before_anything_runs(query: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        query_of(query)
    assert said in str(caught.value)
    for check in ({"sql": query}, {"fresh": "1h", "select": {"sql": query}}):
        with pytest.raises(SuiteError) as caught:
            one(check)
        assert said in str(caught.value)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 'delete', \"update\" FROM streams -- drop",
        "with x as (select 1) select * from x",
        "(SELECT 1) UNION (SELECT 2)",
        "TABLE streams;",
        "SELECT $$ insert ) $$, E'\\') drop' /* ) */",
        "SELECT s.comment, s.set FROM x AS s",
    ],
)
def test_queries_stay_what_they_are(query: str) -> None:
    assert query_of(query) in query


def test_rules_of_sql_checks() -> None:
    for more, said in (({"warn_if": "> 1%"}, "no share"), ({"where": {"unit": "V"}}, "leave out select and where")):
        with pytest.raises(SuiteError, match=said):
            one({"sql": "SELECT 1", **more})


def test_a_thousand_checks_are_read() -> None:
    suite: Suite = parse_suite("checks:\n" + "- required: [unit]\n" * 1000)
    assert len({check.name for check in suite.checks}) == 1000


@pytest.mark.parametrize(
    ("text", "ns"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("7d", 604_800), ("1d2h3m4s", 93_784), ("0s", None), ("", None),
     ("1.5h", None), ("m", None), ("10", None), ("1m1h", None), ("-1s", None)],
)  # fmt: skip
def test_lengths_of_time(text: str, ns: int | None) -> None:
    assert duration_ns(text) == (None if ns is None else ns * NS)


@pytest.mark.parametrize(("seconds", "text"), [(59, "59s"), (5400, "1h30m"), (90_061, "1d1h"), (0.25, "250ms")])
def test_lengths_of_time_in_words(seconds: float, text: str) -> None:
    assert duration_text(int(seconds * NS)) == text


@pytest.mark.parametrize(
    ("text", "count", "total", "holds"),
    [
        ("> 0", 1, 10, True), ("> 0", 0, 10, False), (">= 0", 0, 10, False), ("> 3", 3, 10, False),
        (">= 3", 3, 10, True),
        ("> 1%", 3, 300, False), (">= 1%", 3, 300, True), ("> 1%", 4, 300, True), ("> 0.1%", 1, 1000, False),
        (">29%", 29, 100, False), ("> 1%", 1, None, True), (">= 0.07%", 7, 10_000, True), ("> 0.07%", 7, 10_000, False),
        (">= 0.07%", 6, 10_000, False), ("> 0.55%", 11, 2_000, False),
    ],
)  # fmt: skip
def test_thresholds(text: str, count: int, total: int | None, holds: bool) -> None:
    threshold = Threshold.parse(text)
    assert threshold is not None
    assert threshold.holds(count, total) is holds
    assert Threshold.parse(str(threshold)) == threshold


def test_thresholds_are_told_as_they_were_written() -> None:
    texts = ["> 0", ">= 1234567", "> 0.07%", ">= 29%"]
    assert [str(Threshold.parse(text)) for text in texts] == texts


@pytest.mark.parametrize("text", ["0", "< 1", "> ", "> 1.5", "> -1", "> 1 %%", "= 1"])
def test_what_is_no_threshold(text: str) -> None:
    assert Threshold.parse(text) is None


@pytest.mark.parametrize(
    ("options", "failed", "hard", "outcome"),
    [
        ({}, 0, 0, "pass"), ({}, 1, 1, "fail"), ({}, 1, 0, "warn"),
        ({"severity": "warn"}, 1, 0, "warn"), ({"severity": "warn"}, 1, 1, "warn"),
        ({"error_if": "> 5"}, 5, 5, "warn"), ({"error_if": "> 5"}, 6, 6, "fail"),
        ({"error_if": "> 5", "warn_if": "> 2"}, 2, 2, "pass"), ({"warn_if": "> 2", "severity": "warn"}, 2, 2, "pass"),
        ({"error_if": "> 50%"}, 50, 50, "warn"), ({"error_if": "> 50%"}, 51, 51, "fail"),
    ],
)  # fmt: skip
def test_what_failures_amount_to(options: dict[str, Any], failed: int, hard: int, outcome: str) -> None:
    assert judge(one({"required": "unit", **options}), failed=failed, hard=hard, checked=100) == outcome
